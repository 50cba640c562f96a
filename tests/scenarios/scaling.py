"""A service under load: target tracking scales it out and in from its real CPU use and from requests; a step policy, a
schedule, a Spot interruption; and what all of it would have cost."""
import datetime, json, os, time
from host import Load, busybox_layer, docker_archive, equal, error_code, wait, way_out

SPEED = 20
TARGET = dict(ServiceNamespace="ecs", ScalableDimension="ecs:service:DesiredCount")


class World:
    def __init__(self, host, region):
        self.region = region
        self.ec2, self.ecs, self.scaling, self.cloudwatch = region.clients("ec2", "ecs", "application-autoscaling", "cloudwatch")
        vpc = self.ec2.create_vpc(CidrBlock="10.70.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.70.0.0/24")["Subnet"]["SubnetId"]
        way_out(self.ec2, vpc)
        path = os.path.join(host.folder, "worker.tar")
        docker_archive(path, "worker:1", [busybox_layer([("bin/grep", ("symlink", "busybox")), ("bin/rm", ("symlink", "busybox")), ("bin/printf", ("symlink", "busybox"))])])
        region.cli("image", "load", path)
        self.ecs.create_cluster(clusterName="work", capacityProviders=["FARGATE", "FARGATE_SPOT"], settings=[{"name": "containerInsights", "value": "enabled"}])

    def service(self, name, command, count=1, **more):
        self.ecs.register_task_definition(
            family=name, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
            executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=[{
                "name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/worker:1", "essential": True, "command": ["sh", "-c", command]}])
        more = more or {"launchType": "FARGATE"}
        self.ecs.create_service(cluster="work", serviceName=name, taskDefinition=name, desiredCount=count, networkConfiguration={
            "awsvpcConfiguration": {"subnets": [self.subnet], "assignPublicIp": "ENABLED"}}, **more)
        wait(f"{name} runs", lambda: self.counts(name) == (count, count), 30)

    def counts(self, name):
        found = self.ecs.describe_services(cluster="work", services=[name])["services"][0]
        return found["desiredCount"], found["runningCount"]

    def register(self, name, least, most):
        return self.scaling.register_scalable_target(**TARGET, ResourceId=f"service/work/{name}", MinCapacity=least, MaxCapacity=most)

    def activities(self, name, **more):
        return self.scaling.describe_scaling_activities(ServiceNamespace="ecs", ResourceId=f"service/work/{name}", **more)["ScalingActivities"]

    def remove(self, name):
        self.scaling.deregister_scalable_target(**TARGET, ResourceId=f"service/work/{name}")
        self.ecs.delete_service(cluster="work", service=name, force=True)


def tracking(world):
    """CPU: four tasks at the most, one at the least."""
    # It burns for a while and then rests, in each task by itself.
    burning = "touch /tmp/burn; trap 'exit 0' TERM; n=0; while true; do if [ $n -lt 600 ]; then i=0; while [ $i -lt 4000 ]; do i=$((i+1)); done; n=$((n+1)); else sleep 0.2; fi; done"
    world.service("cpu", burning)
    arn = world.register("cpu", 1, 4)["ScalableTargetARN"]
    world.scaling.tag_resource(ResourceARN=arn, Tags={"stage": "one"})
    equal("tags", world.scaling.list_tags_for_resource(ResourceARN=arn)["Tags"], {"stage": "one"})
    made = world.scaling.put_scaling_policy(
        **TARGET, ResourceId="service/work/cpu", PolicyName="cpu50", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 50.0, "ScaleOutCooldown": 60, "ScaleInCooldown": 60, "PredefinedMetricSpecification": {
            "PredefinedMetricType": "ECSServiceAverageCPUUtilization"}})
    names = sorted(a["AlarmName"] for a in made["Alarms"])
    assert [n.rsplit("-", 5)[0] for n in names] == ["TargetTracking-service/work/cpu-AlarmHigh", "TargetTracking-service/work/cpu-AlarmLow"], names
    alarms = world.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    equal("alarms", sorted((a["EvaluationPeriods"], a["Threshold"], a["MetricName"]) for a in alarms), [(3, 50.0, "CPUUtilization"), (15, 45.0, "CPUUtilization")])
    started = time.monotonic()
    wait("the load scales it out", lambda: world.counts("cpu")[0] >= 2, 60)
    print(f"scaled out after {time.monotonic() - started:.1f} s (3 minutes at speed {SPEED} are 9 s)")
    out = world.activities("cpu")[-1]
    assert out["Cause"] == f"monitor alarm {names[0]} in state ALARM triggered policy cpu50", out
    wait("the activity is over", lambda: any(a["StatusCode"] == "Successful" and "successfully fulfilled by ecs" in a["StatusMessage"] for a in world.activities("cpu")), 30)
    wait("it has come to an end of its bounds or its load", lambda: world.counts("cpu")[0] >= 2 and world.counts("cpu")[0] == world.counts("cpu")[1], 60)
    wait("idle tasks scale it in", lambda: world.counts("cpu") == (1, 1), 240)
    print(f"scaled in again after {time.monotonic() - started:.1f} s;", [a["Description"] for a in world.activities("cpu")])
    assert any(names[1] in a["Cause"] for a in world.activities("cpu"))
    # What was seen: real counters, per service and for Container Insights.
    now = datetime.datetime.now(datetime.timezone.utc)
    span = dict(StartTime=now - datetime.timedelta(minutes=30), EndTime=now + datetime.timedelta(minutes=1), Period=3600)
    of = lambda space, name, statistic, **d: world.cloudwatch.get_metric_statistics(
        Namespace=space, MetricName=name, Statistics=[statistic], Dimensions=[{"Name": k, "Value": v} for k, v in d.items()], **span)["Datapoints"]
    high = of("AWS/ECS", "CPUUtilization", "Maximum", ClusterName="work", ServiceName="cpu")[0]["Maximum"]
    assert 50 < high < 130, high
    memory = of("AWS/ECS", "MemoryUtilization", "Average", ClusterName="work", ServiceName="cpu")[0]["Average"]
    assert 0 < memory < 20, memory
    assert of("ECS/ContainerInsights", "RunningTaskCount", "Maximum", ClusterName="work", ServiceName="cpu")[0]["Maximum"] >= 2
    assert of("ECS/ContainerInsights", "CpuUtilized", "Maximum", ClusterName="work")[0]["Maximum"] > 128
    print(f"CPU at most {high:.0f} %, memory {memory:.1f} % on average")
    world.remove("cpu")
    equal("alarms go with their policy", world.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"], [])


def steps(world):
    """An alarm on a metric of one's own invokes a step policy; a schedule sets bounds."""
    world.service("steps", "trap 'exit 0' TERM; while true; do sleep 0.2; done")
    world.register("steps", 1, 5)
    policy = world.scaling.put_scaling_policy(
        **TARGET, ResourceId="service/work/steps", PolicyName="more", PolicyType="StepScaling", StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "Cooldown": 3600, "StepAdjustments": [
                {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 3}]})["PolicyARN"]
    world.cloudwatch.put_metric_alarm(
        AlarmName="deep", Namespace="Shop", MetricName="Depth", Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=100,
        ComparisonOperator="GreaterThanThreshold", AlarmActions=[policy])
    ends = time.monotonic() + 60
    while world.counts("steps")[0] != 4:
        assert time.monotonic() < ends, world.activities("steps", IncludeNotScaledActivities=True)
        world.cloudwatch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Depth", "Value": 115, "StorageResolution": 1}])
        time.sleep(0.5)
    equal("why", world.activities("steps")[0]["Cause"], "monitor alarm deep in state ALARM triggered policy more")
    described = world.scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId="service/work/steps")["ScalingPolicies"][0]
    equal("alarms of the policy", [a["AlarmName"] for a in described["Alarms"]], ["deep"])
    world.cloudwatch.delete_alarms(AlarmNames=["deep"])

    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
    world.scaling.put_scheduled_action(
        **TARGET, ResourceId="service/work/steps", ScheduledActionName="night", Schedule=f"at({at:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 2})
    wait("the schedule lowers it", lambda: world.counts("steps") == (2, 2), 40)
    causes = [a["Cause"] for a in world.activities("steps")]
    assert "scheduled action name night was triggered" in causes and "maximum capacity was set to 2" in causes, causes
    equal("predictive", error_code(world.scaling.put_scaling_policy, **TARGET, ResourceId="service/work/steps", PolicyName="p", PolicyType="PredictiveScaling"), "ValidationException")
    equal("an unknown service", error_code(world.register, name="gone", least=1, most=2), "ValidationException")
    world.remove("steps")


def spot(world):
    """Spot capacity is taken away; the service gets its task back."""
    world.service("spot", "trap 'echo told; exit 0' TERM; while true; do sleep 0.2; done", 2, capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    before = world.ecs.list_tasks(cluster="work", serviceName="spot")["taskArns"]
    told = world.region.cli("spot", "interrupt", before[0].rsplit("/", 1)[1])
    assert "is interrupted" in told, told
    stopped = wait("the task is over", lambda: (t := world.ecs.describe_tasks(cluster="work", tasks=[before[0]])["tasks"][0])["lastStatus"] == "STOPPED" and t, 30)
    equal("why", (stopped["stopCode"], stopped["stoppedReason"]), ("SpotInterruption", "Your Spot Task was interrupted."))
    equal("exit code", stopped["containers"][0]["exitCode"], 0)
    wait("it is replaced", lambda: world.counts("spot") == (2, 2) and before[0] not in world.ecs.list_tasks(cluster="work", serviceName="spot")["taskArns"], 30)
    assert "no running task" in world.region.cli("spot", "interrupt", "nothing", check=False)
    world.ecs.delete_service(cluster="work", service="spot", force=True)


def scenario(host):
    with host.region("--speed", str(SPEED)) as region:
        world = World(host, region)
        spot(world)
        steps(world)
        tracking(world)
        bill = json.loads(region.cli("bill", "--json"))
        lines = {l["name"]: l for l in bill["lines"]}
        assert lines["service:work/spot"]["resources"] == 3, lines
        assert lines["service:work/spot"]["usage"]["fargate-spot-x86-vcpu-hour"] >= 3 * 0.25 / 60, lines
        assert lines["service:work/cpu"]["cost"] > 0 and abs(bill["total"] - sum(l["cost"] for l in bill["lines"])) < 1e-9
        text = region.cli("bill", "--by", "task")
        assert "total, at prices of us-east-1" in text, text
        print(region.cli("bill"))
