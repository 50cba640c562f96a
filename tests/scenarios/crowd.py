"""300 tasks at once: all run, each with an address of its own at which it answers; the API stays quick meanwhile; then all are
stopped, and what they had in the kernel is gone."""
import os, socket, statistics, struct, threading, time
from concurrent.futures import ThreadPoolExecutor
from host import Tasks, equal, wait
from scenarios.paths import Vpc

COUNT, SINGLE = 300, 100


class Latency:
    """How long a small call takes, all the time."""

    def __init__(self, ecs):
        self.ecs, self.took_ms, self.ending = ecs, [], False

    def work(self):
        while not self.ending:
            began = time.perf_counter()
            self.ecs.describe_clusters(clusters=["probes"])
            self.took_ms.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.05)

    def __enter__(self):
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join(30)

    def text(self):
        ordered = sorted(self.took_ms)
        return f"p50 {statistics.median(ordered):.0f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.0f}, n {len(ordered)}"


def answers(address):
    """The host name that the program at an address says."""
    for _ in range(100):
        try:
            with socket.create_connection((address, 8080), 5) as connection:
                return connection.recv(100).decode().strip()
        except OSError:
            time.sleep(0.05)


def groups(host):
    """Of tasks: what lies below the instance's own group."""
    return [line for line in host.kernel()["cgroups"] if f"fogbank/{host.instance}/" in line]


def scenario(host):
    with host.region("--speed", "10") as region:
        vpc = Vpc(region, "10.0.0.0/16")
        tasks = Tasks(host, region, vpc.public[:1], [vpc.group], public=True)
        subnet = vpc.ec2.create_subnet(VpcId=vpc.id, CidrBlock="10.0.64.0/20", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        table = vpc.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": vpc.public[:1]}])["RouteTables"][0]["RouteTableId"]
        vpc.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        ecs = region.client("ecs")
        definition = ecs.register_task_definition(
            family="crowd", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", executionRoleArn="arn:aws:iam::000000000000:role/execution",
            containerDefinitions=[{"name": "main", "image": "probe:1", "essential": True, "stopTimeout": 2,
                                   "command": ["sh", "-c", "while true; do hostname | nc -l -p 8080; done"]}])["taskDefinition"]["taskDefinitionArn"]
        network = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [vpc.group], "assignPublicIp": "ENABLED"}}
        with Latency(region.client("ecs")) as latency:
            began = time.monotonic()
            # Two thirds by a service, one third by RunTask, ten a call, as AWS allows.
            ecs.create_service(cluster="probes", serviceName="crowd", taskDefinition=definition, desiredCount=COUNT - SINGLE, launchType="FARGATE", networkConfiguration=network)
            def ten(_):
                answer = ecs.run_task(cluster="probes", taskDefinition=definition, launchType="FARGATE", count=10, networkConfiguration=network)
                equal("failures of RunTask", answer["failures"], [])
            with ThreadPoolExecutor(5) as pool:
                list(pool.map(ten, range(SINGLE // 10)))

            def described():
                arns = [arn for page in ecs.get_paginator("list_tasks").paginate(cluster="probes") for arn in page["taskArns"]]
                return [t for n in range(0, len(arns), 100) for t in ecs.describe_tasks(cluster="probes", tasks=arns[n:n + 100])["tasks"]]
            def running():
                found = described()
                bad = [(t["stoppedReason"], t["containers"][0].get("reason")) for t in found if t.get("stoppedReason")]
                equal("tasks that stopped", bad[:3], [])
                done = sum(t["lastStatus"] == "RUNNING" for t in found)
                if done < COUNT:
                    time.sleep(0.5)
                return done == COUNT and found
            found = wait(f"{COUNT} tasks are RUNNING", running, 150)
            took = time.monotonic() - began
            print(f"{COUNT} tasks RUNNING after {took:.1f} s ({COUNT / took:.0f} a second); DescribeClusters meanwhile {latency.text()}", flush=True)

        details = [{d["name"]: d["value"] for d in t["attachments"][0]["details"]} for t in found]
        addresses = [d["privateIPv4Address"] for d in details]
        equal("addresses", len(set(addresses)), COUNT)
        shown = [eni for page in vpc.ec2.get_paginator("describe_network_interfaces").paginate(Filters=[{"Name": "subnet-id", "Values": [subnet]}]) for eni in page["NetworkInterfaces"]]
        equal("addresses of the interfaces", sorted(e["PrivateIpAddress"] for e in shown), sorted(addresses))
        public = {e["NetworkInterfaceId"]: e["Association"]["PublicIp"] for e in shown}
        equal("public addresses", len(set(public.values())), COUNT)
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(answers, (public[d["networkInterfaceId"]] for d in details)))
        # Each task's host name is its private address, as on AWS.
        expected = [f"ip-{a.replace('.', '-')}.ec2.internal" for a in addresses]
        wrong = [(n, e) for n, e in zip(names, expected) if n != e]
        equal("what they say at their addresses", wrong[:3], [])
        print(f"each of {COUNT} answers at its own address", flush=True)

        began = time.monotonic()
        ecs.update_service(cluster="probes", service="crowd", desiredCount=0)
        ecs.delete_service(cluster="probes", service="crowd", force=True)
        stop = lambda t: ecs.stop_task(cluster="probes", task=t["taskArn"])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(stop, (t for t in found if not t.get("startedBy", "").startswith("ecs-svc"))))
        print(f"told to stop after {time.monotonic() - began:.1f} s", flush=True)
        wait("no task is left", lambda: not described() or time.sleep(0.3), 90)
        print(f"no task is listed after {time.monotonic() - began:.1f} s", flush=True)
        wait("the tasks' groups and shims are gone", lambda: not groups(host) and not host.subcommands("shim"), 30)
        gone = lambda: [e for e in vpc.ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet]}])["NetworkInterfaces"]] == []
        wait("the interfaces are gone", gone, 30)
        print(f"all stopped after {time.monotonic() - began:.1f} s", flush=True)
