#!/usr/bin/env python3
"""Measures tasks on this machine, side by side with runc and podman (Debian's) where they are installed.

    bench_tasks.py --fogbank target/release/fogbank --api target/.../orders-api [--rounds 20] [--tasks 1000] [--only start,many,deploy,unpack]

The region runs in namespaces of its own; speed 1. runc and podman run the same root and program, one after the other with
fogbank's tasks, in turns. runc and podman get no network; a task of fogbank's has its interface, address, rules and DNS.
"""
import argparse, concurrent.futures, gzip, json, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
CLUSTER = "probes"


def report(what, text, goal=""):
    print(f"{what:62} {text}  {goal}", flush=True)


def figures(values, unit="ms"):
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]
    return f"p50 {statistics.median(ordered):.1f} {unit}, p99 {at(0.99):.1f} (min {ordered[0]:.1f}, n {len(ordered)})"


def pss_mib(host):
    """Of the region's processes and its shims, by subcommand. Containers are not fogbank's memory."""
    sizes = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
                if not words[0].endswith(b"fogbank") or not any(host.instance.encode() in w for w in words[1:]):
                    continue
                pss = next(int(line.split()[1]) for line in open(f"/proc/{entry}/smaps_rollup") if line.startswith("Pss:"))
                name = words[1].decode()
                sizes[name] = sizes.get(name, 0) + pss / 1024
            except (OSError, StopIteration):
                pass
    return sizes


class Others:
    """runc and podman on a root that holds busybox."""

    def __init__(self, folder):
        self.folder = folder
        self.root = os.path.join(folder, "rootfs")
        os.makedirs(self.root + "/bin")
        shutil.copy(os.path.realpath("/bin/busybox"), self.root + "/bin/busybox")
        for applet in ("sh", "sleep", "true"):
            os.symlink("busybox", f"{self.root}/bin/{applet}")
        self.number = 0
        self.runc = shutil.which("runc")
        self.podman = shutil.which("podman")
        if self.runc:
            subprocess.run([self.runc, "spec", "--bundle", folder], check=True)
            spec = json.load(open(folder + "/config.json"))
            spec["process"].update(terminal=False, args=["sleep", "1000"])
            # As this machine's own container has it: a cgroup of its own, which is removed with the container.
            spec["linux"]["cgroupsPath"] = "/fogbank-bench"
            json.dump(spec, open(folder + "/config.json", "w"))
            if not self.works(self.runc_once):
                self.runc = None
        if self.podman:
            self.options = ["--root", folder + "/podman", "--runroot", folder + "/podman-run", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
            tar = subprocess.Popen(["tar", "-C", self.root, "-c", "."], stdout=subprocess.PIPE)
            subprocess.run([self.podman, *self.options, "import", "-q", "-", "bench:1"], stdin=tar.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not self.works(self.podman_once):
                self.podman = None

    def works(self, once):
        try:
            once()
            return True
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"note: {once.__name__.split('_')[0]} does not run here: {getattr(error, 'stderr', error)}")
            return False

    def runc_once(self):
        """Until the container's program runs, in ms."""
        self.number += 1
        name = f"fogbank-bench-{os.getpid()}-{self.number}"
        started = time.perf_counter()
        subprocess.run([self.runc, "run", "--detach", "--bundle", self.folder, name], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=open(self.folder + "/runc.err", "w"))
        took = (time.perf_counter() - started) * 1e3
        subprocess.run([self.runc, "delete", "--force", name], check=True)
        return took

    def podman_once(self):
        started = time.perf_counter()
        name = subprocess.run([self.podman, *self.options, "run", "--detach", "--network", "none", "--cgroups", "disabled", "--ulimit", "nofile=1024:1024", "bench:1", "sleep", "1000"],
                              check=True, capture_output=True, text=True).stdout.strip()
        took = (time.perf_counter() - started) * 1e3
        subprocess.run([self.podman, *self.options, "rm", "--force", "--time", "0", name], check=True, capture_output=True)
        return took


class Bench:
    def __init__(self, host, region, args):
        from host import Tasks
        from scenarios.paths import Vpc
        self.host, self.region, self.args = host, region, args
        self.vpc = Vpc(region, "10.0.0.0/16")
        self.tasks = Tasks(host, region, self.vpc.private, [self.vpc.group])
        self.ecs = region.client("ecs")
        # Room for thousands, by the same way out as the private subnets.
        table = self.vpc.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": self.vpc.private[:1]}])["RouteTables"][0]["RouteTableId"]
        self.subnet = self.vpc.ec2.create_subnet(VpcId=self.vpc.id, CidrBlock="10.0.64.0/18", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        self.vpc.ec2.associate_route_table(RouteTableId=table, SubnetId=self.subnet)
        self.definition = self.tasks.ecs.register_task_definition(
            family="idle", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", executionRoleArn="arn:aws:iam::000000000000:role/execution",
            containerDefinitions=[{"name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/probe:1", "essential": True,
                                   "stopTimeout": 2, "command": ["sleep", "100000"]}])["taskDefinition"]["taskDefinitionArn"]

    def run(self, client, count=1):
        answer = client.run_task(cluster=CLUSTER, taskDefinition=self.definition, launchType="FARGATE", count=count,
                                 networkConfiguration={"awsvpcConfiguration": {"subnets": [self.subnet], "securityGroups": [self.vpc.group]}})
        assert not answer["failures"], answer["failures"]
        return [task["taskArn"] for task in answer["tasks"]]

    def described(self, arns):
        found = []
        for start in range(0, len(arns), 100):
            found += self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns[start:start + 100])["tasks"]
        return found

    def running(self, arns, seconds=300):
        from host import wait
        wait("all run", lambda: all("startedAt" in t or t["lastStatus"] == "STOPPED" for t in self.described(arns)), seconds)
        tasks = self.described(arns)
        bad = [t.get("stoppedReason") for t in tasks if t["lastStatus"] != "RUNNING"]
        assert not bad, bad[:3]
        return tasks

    def stop(self, arns):
        from host import wait
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda arn: self.ecs.stop_task(cluster=CLUSTER, task=arn), arns))
        wait("all are stopped", lambda: all(t["lastStatus"] == "STOPPED" for t in self.described(arns)), 300)

    def one(self):
        """Call to exec, in ms, by the clock of this machine."""
        called = time.time() * 1e3
        arns = self.run(self.ecs)
        started = self.running(arns)[0]["startedAt"].timestamp() * 1e3 - called
        self.stop(arns)
        return started

    def start(self):
        others = Others(tempfile.mkdtemp(dir=self.host.folder))
        own, runc, podman = [], [], []
        self.one()
        for _ in range(self.args.rounds):
            own.append(self.one())
            if others.runc:
                runc.append(others.runc_once())
            if others.podman:
                podman.append(others.podman_once())
        report("RunTask to exec, one at a time", figures(own), "goal 40")
        for name, values in (("runc run --detach, no network", runc), ("podman run --detach, no network", podman)):
            if values:
                report(name, figures(values), f"fogbank to it {statistics.median(own) / statistics.median(values):.2f}")
        # A client takes boto3 200 ms to make, which are not the region's; and each has its connection.
        clients = [self.region.client("ecs") for _ in range(5)]
        [client.describe_clusters() for client in clients]
        times = []
        for _ in range(3):
            called = time.time() * 1e3
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                arns = sum(pool.map(lambda client: self.run(client, 10), clients), [])
            times += [t["startedAt"].timestamp() * 1e3 - called for t in self.running(arns)]
            self.stop(arns)
        report("RunTask to exec, 50 at once (5 calls of 10)", figures(times))

    def many(self):
        count = self.args.tasks
        before = pss_mib(self.host)
        started, arns, latencies = time.time(), [], []
        while len(arns) < count:
            arns += self.run(self.ecs, 10)
            called = time.perf_counter()
            self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns[:1])
            latencies.append((time.perf_counter() - called) * 1e3)
        tasks = self.running(arns, 900)
        last = max(t["startedAt"].timestamp() for t in tasks)
        report(f"{count} idle tasks: from the first call to the last exec", f"{last - started:.1f} s, {count / (last - started):.0f} tasks/s")
        report("DescribeTasks meanwhile (boto3's own time in it)", figures(latencies))
        time.sleep(2)
        after = pss_mib(self.host)
        grown = {name: round(after[name] - before.get(name, 0), 1) for name in after}
        report("memory of fogbank per running task, PSS", f"{sum(grown.values()) / count:.2f} MiB", f"goal 2; grown by {grown} MiB")
        latencies = []
        for _ in range(100):
            called = time.perf_counter()
            self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns[:1])
            latencies.append((time.perf_counter() - called) * 1e3)
        report(f"DescribeTasks beside {count} tasks", figures(latencies))
        started = time.time()
        self.stop(arns)
        report(f"StopTask of {count} until all are STOPPED", f"{time.time() - started:.1f} s")

    def unpack(self):
        """A layer of files of many sizes, as a real image has."""
        from host import docker_archive, layer
        entries, left, size = [], 200_000_000, 400
        while left > 0:
            content = os.urandom(size // 2) * 2
            entries.append((f"f{len(entries) % 97}/x{len(entries)}", content))
            left, size = left - len(content), size * 3 if size < 3_000_000 else 400
        folders = [(f"f{n}", None) for n in range(97)]
        path = os.path.join(self.host.folder, "large.tar")
        content = layer(folders + entries)
        docker_archive(path, "large:1", [content])
        mb = len(content) / 1e6
        started = time.perf_counter()
        self.region.cli("image", "load", path)
        loaded = time.perf_counter() - started
        definition, self.definition = self.definition, self.ecs.register_task_definition(
            family="large", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", executionRoleArn="arn:aws:iam::000000000000:role/execution",
            containerDefinitions=[{"name": "main", "image": "large:1", "essential": True, "command": ["/none"]}])["taskDefinition"]["taskDefinitionArn"]
        arn = self.run(self.ecs)[0]
        task = self.tasks.ended(arn, 120)
        self.definition = definition
        unpacked = (task["pullStoppedAt"] - task["pullStartedAt"]).total_seconds()
        report(f"image of {mb:.0f} MB, {len(entries)} files: load and unpack", f"{mb / (loaded + unpacked):.0f} MB/s (load {loaded:.2f} s, unpack {unpacked:.2f} s)")
        podman = shutil.which("podman")
        if podman:
            folder = tempfile.mkdtemp(dir=self.host.folder)
            started = time.perf_counter()
            done = subprocess.run([podman, "--root", folder + "/p", "--runroot", folder + "/r", "--events-backend", "none", "load", "-q", "-i", path], capture_output=True, text=True)
            took = time.perf_counter() - started
            if done.returncode == 0:
                report("podman load of the same archive", f"{mb / took:.0f} MB/s", f"fogbank to it {took / (loaded + unpacked):.2f}")
            else:
                print("note: podman load does not run here:", done.stderr.strip()[:200])

    def deploy(self):
        from host import Load, wait
        shop = self.host.shop(self.region, 20)
        service = lambda: shop.ecs.describe_services(cluster="orders", services=["orders"])["services"][0]
        with Load(shop.addresses) as load:
            load.more(50)
            started = time.monotonic()
            shop.ecs.update_service(cluster="orders", service="orders", forceNewDeployment=True)
            wait("the deployment is over", lambda: len(service()["deployments"]) == 1 and service()["deployments"][0]["rolloutState"] == "COMPLETED", 300)
            took = time.monotonic() - started
        report("rolling deploy of 20 tasks under load (speed 100)", f"{took:.1f} s, {load.answers} answers, {len(load.failures)} failed", "goal 0 failed")
        times = []
        for _ in range(5):
            arns = set(shop.ecs.list_tasks(cluster="orders")["taskArns"])
            victim = next(iter(self.host.pids("orders-api")))
            started = time.monotonic()
            os.kill(victim, 9)
            def healthy():
                states = [t["TargetHealth"]["State"] for t in shop.elb.describe_target_health(TargetGroupArn=shop.group)["TargetHealthDescriptions"]]
                fresh = set(shop.ecs.list_tasks(cluster="orders")["taskArns"]) - arns
                return fresh and states.count("healthy") == 20
            wait("the replacement is healthy", healthy, 60)
            times.append(time.monotonic() - started)
        report("task killed to its replacement healthy (speed 100)", f"median {statistics.median(times):.2f} s, n {len(times)}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--api", required=True)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--tasks", type=int, default=1000)
    arguments.add_argument("--only", default="start,many,deploy,unpack")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if not args.inside:
        return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--inside"]).returncode
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(HERE.parent / "examples/api"))
    import host as hosts
    hosts.prepare()
    host = hosts.Host(os.path.abspath(args.fogbank), f"t{os.getpid() % 100000}", os.path.abspath(args.api))
    for part in args.only.split(","):
        with host.region("--speed", "100" if part == "deploy" else "1") as region:
            getattr(Bench(host, region, args), part)()
            # What runc and podman leave in this namespace's own /run.
            for name in ("runc", "crun", "libpod"):
                shutil.rmtree(f"/run/{name}", ignore_errors=True)
    shutil.rmtree(host.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
