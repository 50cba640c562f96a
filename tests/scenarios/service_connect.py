"""Service Connect: tasks call each other by names that their proxies balance, by HTTP and by plain TCP; a task that is killed, a rolling
deployment and a node that is killed lose no request, a security group that forbids it lets none through."""
import datetime, json, os, signal, subprocess, sys, boto3
from botocore.config import Config
from host import busybox_layer, docker_archive, equal, error_code, wait, way_out

REPOSITORY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
LOG = {"logDriver": "awslogs", "options": {"awslogs-group": "/shop", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "s"}}

# Requests in the namespace of a task, as its programs send them: each on a connection of its own, until the file is there. Progress goes
# to a file, whole lines only.
LOAD = """
import http.client, json, os, sys, threading
address, port, stop, progress = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
lock, seen, failures = threading.Lock(), {}, []
def work():
    while not os.path.exists(stop):
        try:
            connection = http.client.HTTPConnection(address, port, timeout=20)
            connection.request("GET", "/whoami", headers={"X-Amzn-Trace-Id": "Root=mine"})
            answer = connection.getresponse()
            body = answer.read()
            status = answer.status
            connection.close()
        except Exception as e:
            status, body = 0, repr(e).encode()
        with lock:
            if status == 200:
                task = json.loads(body)
                assert task["trace"] == "Root=mine" and task["client"] is None, task
                seen[task["address"]] = seen.get(task["address"], 0) + 1
            else:
                failures.append([status, body.decode()])
            with open(progress + ".new", "w") as f:
                json.dump([seen, failures], f)
            os.rename(progress + ".new", progress)
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
ONCE = """
import http.client, sys
try:
    connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    print(answer.status, answer.read().decode().strip())
except OSError as e:
    print(0, type(e).__name__)
"""


class Inside:
    """What the programs of a task see, for a program of this machine: its network."""

    def __init__(self, host, region, eni):
        self.host, self.namespace = host, f"fog-{region.instance}-{eni.removeprefix('eni-')}"

    def once(self, address, port):
        done = subprocess.run(["ip", "netns", "exec", self.namespace, sys.executable, "-c", ONCE, address, str(port)], stdout=subprocess.PIPE, text=True, timeout=60)
        status, _, body = done.stdout.strip().partition(" ")
        return int(status), body


class Load:
    def __init__(self, inside, address, port):
        self.stop, self.progress = (os.path.join(inside.host.folder, f"load-{port}-{n}") for n in ("stop", "progress"))
        self.command = ["ip", "netns", "exec", inside.namespace, sys.executable, "-c", LOAD, address, str(port), self.stop, self.progress]

    def told(self):
        try:
            with open(self.progress) as f:
                return json.load(f)
        except FileNotFoundError:
            return {}, []

    def answers(self):
        return sum(self.told()[0].values())

    def more(self, count=60):
        goal = self.answers() + count
        wait(f"{count} more answers", lambda: self.answers() >= goal or self.told()[1], 30)

    def __enter__(self):
        self.process = subprocess.Popen(self.command)
        return self

    def __exit__(self, *_):
        open(self.stop, "w").close()
        self.process.wait(30)
        seen, failures = self.told()
        assert not failures, f"{len(failures)} of {len(failures) + sum(seen.values())} requests failed: {failures[:3]}"


def network(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"] for n, zone in enumerate("ab")]
    way_out(ec2, vpc)
    group = lambda name: ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    client, backend = group("client"), group("backend")
    rule = lambda port: [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": [{"GroupId": client}]}]
    for port in (8080, 15000):
        ec2.authorize_security_group_ingress(GroupId=backend, IpPermissions=rule(port))
    return subnets, client, backend, rule


def define(ecs, family, containers):
    return ecs.register_task_definition(
        family=family, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=containers)["taskDefinition"]["taskDefinitionArn"]


def create(ecs, name, definition, count, connect, subnets, group):
    return ecs.create_service(
        cluster="shop", serviceName=name, taskDefinition=definition, desiredCount=count, launchType="FARGATE", serviceConnectConfiguration=connect,
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [group], "assignPublicIp": "ENABLED"}})["service"]


def proxies(region):
    """Pid of each proxy, by its task."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{entry}/cmdline", "rb").read().decode().split("\0")
        except OSError:
            continue
        if words[1:2] == ["connect"] and f"/{region.instance}/" in words[3]:
            found[words[5]] = int(entry)
    return found


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def scenario(host):
    with host.region("--speed", "10") as region:
        ec2, ecs, logs, ecr = region.clients("ec2", "ecs", "logs", "ecr")
        # Without the prefix that boto3 puts before the endpoint's name.
        discovery = boto3.Session("test", "secret", region_name="us-east-1").client(
            "servicediscovery", endpoint_url=region.endpoint, config=Config(inject_host_prefix=False))
        subnets, client_group, backend_group, rule = network(ec2)
        logs.create_log_group(logGroupName="/shop")
        for name, layers in (("probe:1", [busybox_layer()]),):
            path = os.path.join(host.folder, "image.tar")
            docker_archive(path, name, layers)
            region.cli("image", "load", path)
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "examples/api"))
        import deploy
        uri = ecr.create_repository(repositoryName="orders")["repository"]["repositoryUri"]
        deploy.push(region.endpoint, ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"], uri, "1", host.api)

        cluster = ecs.create_cluster(clusterName="shop", serviceConnectDefaults={"namespace": "shop"})["cluster"]
        namespace, = discovery.list_namespaces()["Namespaces"]
        equal("the namespace that ECS made", (namespace["Name"], namespace["Type"], namespace["Arn"]), ("shop", "HTTP", cluster["serviceConnectDefaults"]["namespace"]))

        api = lambda name, port, **mapping: {"name": name, "image": f"{uri}:1", "essential": True, "stopTimeout": 2, "environment": [{"name": "PORT", "value": str(port)}],
                                             "portMappings": [{"containerPort": port, "name": name, **mapping}]}
        backend = define(ecs, "backend", [api("web", 8080, appProtocol="http"), api("raw", 9000)])
        connect = {"enabled": True, "services": [
            {"portName": "web", "discoveryName": "backend", "clientAliases": [{"port": 8080, "dnsName": "backend"}]},
            {"portName": "raw", "clientAliases": [{"port": 9000, "dnsName": "raw.shop"}], "ingressPortOverride": 15000}]}
        equal("a port that is none", error_code(create, ecs=ecs, name="x", definition=backend, count=0, subnets=subnets, group=backend_group,
                                                connect={"enabled": True, "services": [{"portName": "none"}]}), "InvalidParameterException")
        create(ecs, "backend", backend, 3, connect, subnets, backend_group)
        client = define(ecs, "client", [{"name": "main", "image": f"{REPOSITORY}/probe:1", "essential": True, "stopTimeout": 2, "logConfiguration": LOG, "command": [
            "sh", "-c", "cat /etc/hosts; until wget -qO- http://backend:8080/whoami; do sleep 1; done; sleep 100000"]}])
        create(ecs, "client", client, 1, {"enabled": True}, subnets, client_group)

        service = lambda name: ecs.describe_services(cluster="shop", services=[name])["services"][0]
        steady = lambda name: (s := service(name)) and len(s["deployments"]) == 1 and s["runningCount"] == s["desiredCount"] and s["deployments"][0]["rolloutState"] == "COMPLETED" and s
        for name in ("backend", "client"):
            wait(f"{name} is steady", lambda: steady(name), 60)
        deployment, = service("backend")["deployments"]
        equal("the configuration", deployment["serviceConnectConfiguration"], connect)
        equal("its services in Cloud Map", {r["discoveryName"] for r in deployment["serviceConnectResources"]}, {"backend", "raw"})
        equal("services of the namespace", len(ecs.list_services_by_namespace(namespace="shop")["serviceArns"]), 2)
        instances = lambda name: {i["Attributes"]["AWS_INSTANCE_IPV4"] for i in discovery.discover_instances(NamespaceName="shop", ServiceName=name)["Instances"]}
        equal("instances", len(instances("backend")), 3)

        task, = ecs.describe_tasks(cluster="shop", tasks=ecs.list_tasks(cluster="shop", serviceName="client")["taskArns"])["tasks"]
        said = lambda: [e["message"] for e in logs.get_log_events(logGroupName="/shop", logStreamName="s/main/" + task["taskArn"].rsplit("/", 1)[1], startFromHead=True)["events"]]
        wait("a program called backend by its name", lambda: any('"address"' in line for line in said()))
        names = {line.split()[1]: line.split()[0] for line in said() if line.startswith("127.255.")}
        equal("names in the hosts file", sorted(names), ["backend", "raw.shop"])
        eni = next(d["value"] for d in task["attachments"][0]["details"] if d["name"] == "networkInterfaceId")
        inside = Inside(host, region, eni)

        equal("a port that the name has not", inside.once(names["backend"], 81)[0], 0)
        equal("by TCP, through the proxies of both", inside.once(names["raw.shop"], 9000)[0], 200)
        with Load(inside, names["backend"], 8080) as load:
            load.more(90)
            seen = load.told()[0]
            equal("who answers", set(seen), instances("backend"))
            assert max(seen.values()) <= 2 * min(seen.values()), seen
            before = proxies(region)
            equal("proxies", len(before), 4)
            print(f"proxies use {sorted(pss_kib(pid) for pid in before.values())} KiB (PSS)")

            victim = sorted(host.pids("orders-api"))[0]
            os.kill(victim, signal.SIGKILL)
            load.more()
            wait("another takes its place", lambda: steady("backend") and len(instances("backend")) == 3, 40)
            print(f"a task was killed: {load.answers()} answers, none failed")

            client_proxy = proxies(region)[task["taskArn"].rsplit("/", 1)[1]]
            os.kill(region.pid("node"), signal.SIGKILL)
            load.more()
            first = instances("backend")
            ecs.update_service(cluster="shop", service="backend", forceNewDeployment=True)
            wait("the new deployment is complete", lambda: steady("backend") and not first & instances("backend") and len(instances("backend")) == 3, 60)
            load.more()
            equal("the client's proxy", proxies(region)[task["taskArn"].rsplit("/", 1)[1]], client_proxy)
            print(f"deployed anew, and the node was killed: {load.answers()} answers, none failed")

        watch, = region.clients("cloudwatch")
        dimensions = lambda name, value, service: [{"Name": n, "Value": v} for n, v in ((name, value), ("ClusterName", "shop"), ("ServiceName", service))]

        def total(metric, *where):
            now = datetime.datetime.now(datetime.timezone.utc)
            points = watch.get_metric_statistics(Namespace="AWS/ECS", MetricName=metric, Dimensions=dimensions(*where), Period=60, Statistics=["Sum"],
                                                 StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=1))["Datapoints"]
            return sum(p["Sum"] for p in points)
        wait("what was called", lambda: total("RequestCount", "DiscoveryName", "backend", "backend") > 0, 30)
        wait("who called", lambda: total("HTTPCode_Target_2XX_Count", "TargetDiscoveryName", "backend", "client") > 0, 30)

        ec2.revoke_security_group_ingress(GroupId=backend_group, IpPermissions=rule(15000))
        equal("forbidden by the security group", inside.once(names["raw.shop"], 9000)[0], 0)
        ec2.authorize_security_group_ingress(GroupId=backend_group, IpPermissions=rule(15000))
        wait("allowed again", lambda: inside.once(names["raw.shop"], 9000)[0] == 200, 30)

        ecs.update_service(cluster="shop", service="backend", desiredCount=0)
        wait("nobody is left", lambda: not instances("backend"), 30)
        wait("nobody answers", lambda: inside.once(names["backend"], 8080) == (503, "no healthy upstream"), 30)
        for name in ("client", "backend"):
            ecs.delete_service(cluster="shop", service=name, force=True)
        wait("no proxy is left", lambda: not proxies(region), 30)
        wait("ECS's services left Cloud Map", lambda: not discovery.list_services()["Services"], 30)
