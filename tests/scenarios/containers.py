"""What happens to a task's containers, by boto3 alone: a sidecar that must be healthy first, secrets, a shared volume, a restart policy,
and a name of Cloud Map that another task resolves."""
import json
from host import Tasks, equal, wait
from scenarios.paths import Vpc

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/probe:1"
LOG = {"logDriver": "awslogs", "options": {"awslogs-group": "/probes", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}


def define(tasks, family, containers, **more):
    return tasks.ecs.register_task_definition(
        family=family, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=containers, **more)["taskDefinition"]["taskDefinitionArn"]


def said(tasks, arn, container="main"):
    stream = f"p/{container}/" + arn.rsplit("/", 1)[1]
    return [e["message"] for e in tasks.logs.get_log_events(logGroupName="/probes", logStreamName=stream, startFromHead=True)["events"]]


def together(region, tasks):
    """The main container starts when the sidecar is healthy, with secrets in its environment and the sidecar's file in its volume."""
    ssm, secrets = region.clients("ssm", "secretsmanager")
    ssm.put_parameter(Name="/shop/level", Value="high", Type="SecureString")
    secret = secrets.create_secret(Name="database", SecretString=json.dumps({"user": "shop", "password": "s3cret"}))["ARN"]
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    arn = tasks.start(None, define(tasks, "together", [
        {"name": "main", "image": IMAGE, "essential": True, "logConfiguration": LOG, "mountPoints": mount,
         "command": ["sh", "-c", "cat /shared/made; echo $LEVEL $PASSWORD"], "dependsOn": [{"containerName": "side", "condition": "HEALTHY"}],
         "secrets": [{"name": "LEVEL", "valueFrom": "/shop/level"}, {"name": "PASSWORD", "valueFrom": secret + ":password::"}]},
        {"name": "side", "image": IMAGE, "essential": False, "mountPoints": mount, "stopTimeout": 2,
         "command": ["sh", "-c", "sleep 1; echo made by the sidecar > /shared/made; sleep 1000"],
         "healthCheck": {"command": ["CMD-SHELL", "test -e /shared/made"], "interval": 5, "timeout": 2, "retries": 3, "startPeriod": 10}}],
        volumes=[{"name": "shared"}]))
    task = tasks.ended(arn)
    codes = {c["name"]: c.get("exitCode") for c in task["containers"]}
    equal("exit code of main", (codes["main"], task["stopCode"]), (0, "EssentialContainerExited"))
    equal("what main said", said(tasks, arn), ["made by the sidecar", "high s3cret"])
    missing = tasks.ended(tasks.start(None, define(tasks, "missing", [
        {"name": "main", "image": IMAGE, "essential": True, "secrets": [{"name": "X", "valueFrom": "/shop/none"}]}])))
    equal("stop code without the parameter", missing["stopCode"], "TaskFailedToStart")
    assert missing["stoppedReason"].startswith("ResourceInitializationError: unable to pull secrets"), missing["stoppedReason"]


def again(tasks):
    """A container that its policy starts again ends the task only when it is stopped."""
    arn = tasks.start(None, define(tasks, "again", [
        {"name": "main", "image": IMAGE, "essential": True, "command": ["sleep", "1000"], "stopTimeout": 2},
        {"name": "worker", "image": IMAGE, "essential": False, "logConfiguration": LOG, "command": ["sh", "-c", "echo turn; sleep 8; exit 3"],
         "restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}]))
    wait("the worker has its third turn", lambda: tasks.describe(arn)["lastStatus"] == "RUNNING" and said(tasks, arn, "worker").count("turn") >= 3, 60)
    tasks.ecs.stop_task(cluster="probes", task=arn)
    tasks.ended(arn)


def unhealthy(tasks):
    """An unhealthy task of a service is replaced."""
    definition = define(tasks, "sick", [{"name": "main", "image": IMAGE, "essential": True, "stopTimeout": 2, "command": ["sleep", "1000"],
                                         "healthCheck": {"command": ["CMD", "false"], "interval": 5, "timeout": 2, "retries": 1}}])
    tasks.ecs.create_service(cluster="probes", serviceName="sick", taskDefinition=definition, desiredCount=1, launchType="FARGATE",
                             networkConfiguration={"awsvpcConfiguration": {"subnets": tasks.subnets}})
    shown = tasks.ecs.describe_services(cluster="probes", services=["sick"])["services"][0]["networkConfiguration"]["awsvpcConfiguration"]
    equal("groups of a service that names none", shown["securityGroups"], [])
    stopped = lambda: tasks.ecs.list_tasks(cluster="probes", serviceName="sick", desiredStatus="STOPPED")["taskArns"]
    first = tasks.describe(wait("an unhealthy task is stopped", stopped, 60)[0])
    assert "unhealthy" in first["stoppedReason"] or "health" in first["stoppedReason"], first["stoppedReason"]
    tasks.ecs.delete_service(cluster="probes", service="sick", force=True)


def discovered(region, vpc, tasks):
    """A service's tasks are found by their name of Cloud Map."""
    names = region.client("servicediscovery")
    names.create_private_dns_namespace(Name="shop.local", Vpc=vpc.id)
    namespace = wait("the namespace", lambda: names.list_namespaces()["Namespaces"])[0]["Id"]
    registry = names.create_service(Name="api", NamespaceId=namespace, DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 5}]})["Service"]
    tasks.ecs.create_service(cluster="probes", serviceName="named", taskDefinition=define(tasks, "named", [
        {"name": "main", "image": IMAGE, "essential": True, "stopTimeout": 2, "command": ["sleep", "1000"]}]), desiredCount=2, launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": tasks.subnets, "securityGroups": tasks.groups}}, serviceRegistries=[{"registryArn": registry["Arn"]}])
    instances = wait("both are instances", lambda: (i := names.list_instances(ServiceId=registry["Id"])["Instances"]) and len(i) == 2 and i)
    expected = sorted(i["Attributes"]["AWS_INSTANCE_IPV4"] for i in instances)
    # As on AWS, a registered instance's record comes a moment later.
    asked = "n=0; until nslookup api.shop.local > /tmp/said || [ $n = 50 ]; do n=$((n + 1)); sleep 0.1; done; cat /tmp/said; [ $n != 50 ]"
    code, text = tasks.run(asked)
    found = sorted({line.split()[-1] for line in text.splitlines() if line.startswith("Address") and ":53" not in line})
    equal("addresses of api.shop.local", (code, [f for f in found if f in expected]), (0, expected))

    tasks.ecs.delete_service(cluster="probes", service="named", force=True)
    wait("no instance is left", lambda: not names.list_instances(ServiceId=registry["Id"])["Instances"])


def scenario(host):
    with host.region("--speed", "10") as region:
        vpc = Vpc(region, "10.0.0.0/16")
        tasks = Tasks(host, region, [vpc.private[0]], [vpc.group])
        together(region, tasks)
        again(tasks)
        unhealthy(tasks)
        discovered(region, vpc, tasks)
