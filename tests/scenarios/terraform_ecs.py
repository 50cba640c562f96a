"""tests/terraform_ecs: clusters, capacity providers, a rolling service with its guards and one that shifts traffic: applied, changed, destroyed."""
from host import equal, wait
from scenarios.terraform import Terraform, find_mirror, push


def scenario(host):
    if not (mirror := find_mirror()):
        return
    with host.region("--speed", "20") as region:
        terraform = Terraform(host, region, mirror, "tests/terraform_ecs")
        terraform.run("init", "-input=false")
        terraform.apply("-target=aws_ecr_repository.api")
        # An output is there once a whole apply has been; the repository's address follows from its name.
        ecr, ecs, elb = region.clients("ecr", "ecs", "elbv2")
        push(host, region, ecr.describe_repositories(repositoryNames=["shift"])["repositories"][0]["repositoryUri"])
        terraform.apply()
        terraform.unchanged()
        providers = [t["capacityProviderName"] for t in tasks(ecs, "rolling")]
        equal("capacity by base and weight", sorted(providers), ["FARGATE", "FARGATE_SPOT"])
        equal("traffic", weights(elb), {"blue": 100, "green": 0})
        shift(ecs, elb)
        terraform.unchanged()
        terraform.apply("-var=changed=true")
        terraform.unchanged("-var=changed=true")
        equal("traffic after a canary deployment", weights(elb), {"blue": 100, "green": 0})
        equal("tasks", len(tasks(ecs, "rolling")), 3)
        deployment, = [d for d in ecs.list_service_deployments(cluster="shift", service="canary")["serviceDeployments"]][:1]
        equal("service deployment", deployment["status"], "SUCCESSFUL")
        terraform.run("destroy", "-auto-approve", "-input=false", "-parallelism=20")
        status = region.status()
        print("unbuilt operations that Terraform called:", status["unbuilt_operations_called"])
        assert status["empty"], status["resources"]


def shift(ecs, elb):
    """Gives the service a canary strategy, and goes from the first group to the second."""
    balancer = ecs.describe_services(cluster="shift", services=["canary"])["services"][0]["loadBalancers"][0]
    green, = elb.describe_target_groups(Names=["green"])["TargetGroups"]
    balancer["advancedConfiguration"] = {
        "alternateTargetGroupArn": green["TargetGroupArn"], "productionListenerRule": rule(elb)["RuleArn"],
        "roleArn": "arn:aws:iam::000000000000:role/shift"}
    ecs.update_service(cluster="shift", service="canary", loadBalancers=[balancer], deploymentConfiguration={
        "strategy": "CANARY", "bakeTimeInMinutes": 1, "canaryConfiguration": {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 1}})
    deployment = ecs.list_service_deployments(cluster="shift", service="canary")["serviceDeployments"][0]["serviceDeploymentArn"]
    seen = []

    def done():
        described, = ecs.describe_service_deployments(serviceDeploymentArns=[deployment])["serviceDeployments"]
        now = weights(elb)["green"]
        if now not in seen:
            seen.append(now)
        return described["status"] == "SUCCESSFUL"

    wait("the traffic is shifted", done, 60)
    equal("weights of the new group", seen, [0, 20, 100])


def tasks(ecs, service):
    arns = ecs.list_tasks(cluster="shift", serviceName=service)["taskArns"]
    return ecs.describe_tasks(cluster="shift", tasks=arns)["tasks"]


def rule(elb):
    balancer = elb.describe_load_balancers(Names=["shift"])["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"][0]["ListenerArn"]
    return next(r for r in elb.describe_rules(ListenerArn=listener)["Rules"] if r["Priority"] == "1")


def weights(elb):
    groups = rule(elb)["Actions"][0]["ForwardConfig"]["TargetGroups"]
    return {g["TargetGroupArn"].split("/")[1]: g["Weight"] for g in groups}
