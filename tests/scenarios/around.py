"""Around a task: its metadata and stats, the credentials of its role with which real clients call AWS's services by their own names,
commands executed inside (ECS Exec, by the protocol of AWS's session manager plugin), and its logs."""
import json, os, subprocess, sys
from host import Tasks, equal, sh, wait, way_out

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
ENDPOINT = "http://169.254.170.2"

# Runs in the namespace of a task's interface: each line of the answer is one request's status and body.
FETCH = """
import json, sys, urllib.request, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for path in sys.argv[2:]:
    method, _, path = path.rpartition(" ")
    body = None
    if method.startswith("PUT"):
        method, body = "PUT", method[4:].encode()
    try:
        with opener.open(urllib.request.Request(sys.argv[1] + path, data=body, method=method or "GET"), timeout=5) as answer:
            print(json.dumps([answer.status, json.loads(answer.read())]))
    except urllib.error.HTTPError as e:
        print(json.dumps([e.code, json.loads(e.read() or b"null")]))
    except OSError as e:
        print(json.dumps([0, str(e)]))
"""
IDENTITY = """
import sys, boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
try:
    client = boto3.Session(region_name="us-east-1").client(sys.argv[2], verify=sys.argv[1], config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}))
    print(client.get_caller_identity()["Arn"] if sys.argv[2] == "sts" else sorted(client.list_clusters()["clusterArns"]))
except BotoCoreError as e:
    print(type(e).__name__)
"""


class Inside:
    """The namespace of a task's interface, where one has the task's address."""

    def __init__(self, host, region, tasks, arn):
        task = wait("the task runs", lambda: (t := tasks.describe(arn))["lastStatus"] in ("RUNNING", "STOPPED") and t, 40)
        equal("the task", (task["lastStatus"], task.get("stoppedReason")), ("RUNNING", None))
        self.task, self.id = task, task["containers"][0]["runtimeId"]
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        self.eni, self.address = details["networkInterfaceId"], details["privateIPv4Address"]
        self.namespace = f"fog-{region.instance}-{self.eni.removeprefix('eni-')}"
        self.resolv, self.ca = os.path.join(host.folder, "resolv.conf"), os.path.join(host.folder, "ca.pem")

    def python(self, script, *arguments, environment=()):
        bound = f'busybox mount -o bind {self.resolv} /etc/resolv.conf && exec "$@"'
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        done = subprocess.run(["ip", "netns", "exec", self.namespace, "sh", "-c", bound, "sh", sys.executable, "-c", script, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, env=clean | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(environment))
        assert done.returncode == 0, done.stderr[-600:]
        return done.stdout.strip()

    def fetch(self, *paths):
        return [json.loads(line) for line in self.python(FETCH, ENDPOINT, *paths).splitlines()]


def network(ec2):
    """A private subnet behind NAT, and one that leads nowhere once its tasks run."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    public, private = (ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"] for n in range(2))
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
    tables = {}
    for subnet, target in ((public, {"GatewayId": gateway}), (private, {"NatGatewayId": nat})):
        tables[subnet] = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=tables[subnet], DestinationCidrBlock="0.0.0.0/0", **target)
        ec2.associate_route_table(RouteTableId=tables[subnet], SubnetId=subnet)
    # No rule lets anything in, and none lets anything out: what is around a task needs none.
    group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
    return private, group, tables[private]


def metadata(inside, other, definition):
    """What AWS's documentation lists, and nothing of others."""
    base = f"/v4/{inside.id}"
    (status, container), (_, task), (_, tagged), (_, third) = inside.fetch(base, f"{base}/task", f"{base}/taskWithTags", f"/v3/{inside.id}")
    equal("status", status, 200)
    arn = inside.task["taskArn"]
    equal("the container", {k: container[k] for k in ("DockerId", "Name", "DockerName", "DesiredStatus", "KnownStatus", "Type", "ContainerARN", "Snapshotter")},
          {"DockerId": inside.id, "Name": "main", "DockerName": "main", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING", "Type": "NORMAL",
           "ContainerARN": inside.task["containers"][0]["containerArn"], "Snapshotter": "overlayfs"})
    equal("its labels", container["Labels"]["com.amazonaws.ecs.task-arn"], arn)
    assert container["ImageID"].startswith("sha256:") and container["StartedAt"].endswith("Z"), container
    network, = container["Networks"]
    equal("its network", {k: network[k] for k in ("NetworkMode", "IPv4Addresses", "AttachmentIndex", "IPv4SubnetCIDRBlock", "DomainNameServers", "SubnetGatewayIpv4Address")},
          {"NetworkMode": "awsvpc", "IPv4Addresses": [inside.address], "AttachmentIndex": 0, "IPv4SubnetCIDRBlock": "10.0.1.0/24",
           "DomainNameServers": ["10.0.0.2"], "SubnetGatewayIpv4Address": "10.0.1.1/24"})
    family, revision = definition.rsplit("/", 1)[1].split(":")
    equal("the task", {k: task[k] for k in ("Cluster", "TaskARN", "Family", "Revision", "DesiredStatus", "KnownStatus", "Limits", "AvailabilityZone", "LaunchType")},
          {"Cluster": inside.task["clusterArn"], "TaskARN": arn, "Family": family, "Revision": revision, "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
           "Limits": {"CPU": 0.25, "Memory": 512}, "AvailabilityZone": "us-east-1a", "LaunchType": "FARGATE"})
    equal("its containers", [c["DockerId"] for c in task["Containers"]], [inside.id])
    assert {"PullStartedAt", "PullStoppedAt", "ClockDrift", "EphemeralStorageMetrics"} <= set(task), sorted(task)
    equal("its tags", tagged.get("TaskTags"), {"team": "orders"})
    assert "ContainerARN" not in third and third["DockerId"] == inside.id, third

    (_, stats), (_, all_stats) = inside.fetch(f"{base}/stats", f"{base}/task/stats")
    equal("stats of all", list(all_stats), [inside.id])
    # The task's command keeps a CPU busy: 0.25 vCPU of it, as its limit has it.
    used = stats["cpu_stats"]["cpu_usage"]["total_usage"] - stats["precpu_stats"]["cpu_usage"]["total_usage"]
    whole = (stats["cpu_stats"]["system_cpu_usage"] - stats["precpu_stats"]["system_cpu_usage"]) / stats["cpu_stats"]["online_cpus"]
    assert 0.05 < used / whole < 0.5, (used, whole)
    assert 0 < stats["memory_stats"]["usage"] < 512 << 20, stats["memory_stats"]["usage"]
    assert stats["networks"]["eth0"]["rx_packets"] > 0 and stats["pids_stats"]["current"] >= 1, stats["networks"]

    for path, expected in ((f"/v4/{other.id}", 404), ("/v4/nobody/task", 404), (f"{base}/nothing", 404), ("/v2/metadata", 404), ("/", 404)):
        equal(path, inside.fetch(path)[0][0], expected)


def credentials(inside, other, uri):
    (status, given), = inside.fetch(uri)
    equal("credentials", (status, sorted(given)), (200, ["AccessKeyId", "Expiration", "RoleArn", "SecretAccessKey", "Token"]))
    equal("the role", given["RoleArn"], "arn:aws:iam::000000000000:role/app/orders")
    equal("the same again", inside.fetch(uri)[0][1]["Token"], given["Token"])
    equal("another task's", other.fetch(uri)[0][0], 400)
    equal("none of that id", inside.fetch("/v2/credentials/00000000-0000-4000-8000-000000000000")[0][0], 400)
    return given


def identity(inside, uri, expected, service="sts"):
    answer = inside.python(IDENTITY, inside.ca, service, environment={"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": uri}.items())
    equal(f"{service} inside", answer, expected)


def throttle(inside):
    codes = [status for status, _ in inside.fetch(*[f"/v4/{inside.id}"] * 150)]
    assert codes.count(429) > 20 and codes[:50].count(200) == 50, {c: codes.count(c) for c in codes}
    wait("it answers again", lambda: inside.fetch(f"/v4/{inside.id}")[0][0] == 200, 5)


def forged(inside, other):
    """A packet with another task's address leaves no interface but its own: no answer, whatever stands in it."""
    sh("ip", "netns", "exec", inside.namespace, "ip", "addr", "add", f"{other.address}/32", "dev", "eth0")
    script = f"import socket; s = socket.create_connection(('169.254.170.2', 80), 2, ('{other.address}', 0)); print('connected')"
    done = subprocess.run(["ip", "netns", "exec", inside.namespace, sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sh("ip", "netns", "exec", inside.namespace, "ip", "addr", "del", f"{other.address}/32", "dev", "eth0")
    assert done.returncode != 0 and "timed out" in done.stderr, (done.stdout, done.stderr)
    equal("afterwards", inside.fetch(f"/v4/{inside.id}")[0][0], 200)


def scenario(host):
    with host.region("--speed", "10") as region:
        ec2, iam = region.clients("ec2", "iam")
        subnet, group, table = network(ec2)
        tasks = Tasks(host, region, [subnet], [group])
        with open(os.path.join(host.folder, "ca.pem"), "w") as out:
            out.write(region.cli("ca"))
        with open(os.path.join(host.folder, "resolv.conf"), "w") as out:
            out.write("nameserver 10.0.0.2\noptions timeout:1 attempts:2\n")
        iam.create_role(RoleName="orders", Path="/app/", AssumeRolePolicyDocument=TRUST)
        iam.create_role(RoleName="other", AssumeRolePolicyDocument=TRUST.replace("ecs-tasks", "lambda"))

        def define(role):
            definition = tasks.ecs.describe_task_definition(taskDefinition=tasks.define())["taskDefinition"]
            keys = ("family", "networkMode", "cpu", "memory", "containerDefinitions", "requiresCompatibilities", "executionRoleArn")
            return tasks.ecs.register_task_definition(**{k: definition[k] for k in keys}, taskRoleArn=role)["taskDefinition"]["taskDefinitionArn"]

        definition = define("arn:aws:iam::000000000000:role/app/orders")
        arn = tasks.ecs.run_task(cluster="probes", taskDefinition=definition, launchType="FARGATE", tags=[{"key": "team", "value": "orders"}],
                                 overrides={"containerOverrides": [{"name": "main", "command": ["sh", "-c", "env; while :; do :; done"]}]},
                                 networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}})["tasks"][0]["taskArn"]
        inside, other = Inside(host, region, tasks, arn), Inside(host, region, tasks, tasks.start(["sleep", "1000"]))
        # Without a rule for what goes out as well.
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]

        stream = f"p/main/{arn.rsplit('/', 1)[1]}"
        events = wait("its environment", lambda: tasks.logs.get_log_events(logGroupName="/probes", logStreamName=stream, startFromHead=True)["events"])
        environment = dict(e["message"].partition("=")[::2] for e in events)
        uri = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        equal("what it is told", {k: environment.get(k) for k in ("ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI", "ECS_AGENT_URI", "AWS_EXECUTION_ENV", "AWS_REGION", "AWS_DEFAULT_REGION")},
              {"ECS_CONTAINER_METADATA_URI_V4": f"{ENDPOINT}/v4/{inside.id}", "ECS_CONTAINER_METADATA_URI": f"{ENDPOINT}/v3/{inside.id}", "ECS_AGENT_URI": f"{ENDPOINT}/api/{inside.id}",
               "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"})

        expected = f"arn:aws:sts::000000000000:assumed-role/orders/{arn.rsplit('/', 1)[1]}"
        identity(inside, uri, expected)
        identity(inside, uri, str([inside.task["clusterArn"]]), "ecs")
        ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
        metadata(inside, other, definition)
        given = credentials(inside, other, uri)
        identity(inside, uri, "ConnectTimeoutError")
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)
        identity(inside, uri, expected)
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
        identity(inside, uri, "ConnectTimeoutError")
        throttle(inside)
        forged(other, inside)

        # The credentials are the role's for everybody, and nobody's when something is changed in them.
        import boto3
        from botocore.exceptions import ClientError
        sts = lambda key, token: boto3.Session(key, given["SecretAccessKey"], token, region_name="us-east-1").client("sts", endpoint_url=region.endpoint)
        equal("outside", sts(given["AccessKeyId"], given["Token"]).get_caller_identity()["Arn"], expected)
        for key, token in ((given["AccessKeyId"], given["Token"][:-8] + "AAAAAAA="), ("ASIAAAAAAAAAAAAAAAAA", given["Token"])):
            try:
                sts(key, token).get_caller_identity()
                raise AssertionError("forged credentials are accepted")
            except ClientError as e:
                equal("refused", e.response["ResponseMetadata"]["HTTPStatusCode"], 403)

        # What the endpoint gives survives a restart of who gives it.
        before, _ = inside.fetch(uri)[0], os.kill(region.pid("node"), 9)
        after = wait("the endpoint is back", lambda: (a := inside.fetch(uri)[0])[0] == 200 and a)
        equal("the credentials after a restart", after[1]["AccessKeyId"], before[1]["AccessKeyId"])

        # A role that does not trust ECS, and one that is not there.
        for name in ("other", "nobody"):
            reason = tasks.ended(tasks.start(["true"], definition=define(f"arn:aws:iam::000000000000:role/{name}")))["stoppedReason"]
            assert reason.startswith("ECS was unable to assume the role"), reason
