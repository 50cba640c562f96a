"""A service is deployed again and again under load while the region's processes are killed at moments that a seed chooses.

Kills of control, node, dns and of `fogbank up` itself fail no request. Each deployment completes; at every look no two tasks have one
address, no more tasks run or begin than maximumPercent allows, no fewer run than minimumHealthyPercent asks. A killed shim takes its task with it, a killed
load balancer node its connections: then requests may fail, but all is whole again. FOGBANK_SEED and FOGBANK_ROUNDS choose others."""
import glob, os, random, signal, threading, time
from botocore.exceptions import BotoCoreError, ClientError
from host import Load, equal, http_get, wait

COUNT, DEPLOYMENTS = 4, 3


def patient(call, seconds=30):
    """The answer of a call that is made again while nobody answers it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            code = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 500
            if code < 500 or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Watch:
    """Looks at the service all the time and keeps what must never be seen. Each look is at one answer: one snapshot of the region."""

    def __init__(self, ecs, strict):
        self.ecs, self.strict, self.looks, self.wrong, self.ending = ecs, strict, 0, [], False

    def look(self):
        service = self.ecs.describe_services(cluster="orders", services=["orders"])["services"][0]
        running, pending = service["runningCount"], service["pendingCount"]
        if running + pending > 2 * COUNT:
            self.wrong.append(("above maximum", running, pending, time.time()))
        if self.strict and running < COUNT:
            self.wrong.append(("below minimum", running, pending, time.time()))
        arns = self.ecs.list_tasks(cluster="orders")["taskArns"]
        tasks = self.ecs.describe_tasks(cluster="orders", tasks=arns)["tasks"] if arns else []
        addresses = [d["value"] for t in tasks if t["lastStatus"] != "STOPPED" for a in t["attachments"] for d in a["details"] if d["name"] == "privateIPv4Address"]
        if len(set(addresses)) != len(addresses):
            self.wrong.append(("two with one address", sorted(addresses), time.time()))
        self.looks += 1

    def work(self):
        while not self.ending:
            try:
                self.look()
            except (BotoCoreError, ClientError):
                pass  # control is dead just now
            time.sleep(0.02)

    def __enter__(self):
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join(10)
        equal("what must never be seen", self.wrong, [])
        assert self.looks > 0, "nobody looked"


class Round:
    def __init__(self, host, region, shop, seed):
        self.host, self.region, self.shop, self.random = host, region, shop, random.Random(seed)
        self.began, self.killed = time.time(), []

    def note(self, name):
        self.killed.append(f"{name} {time.time():.2f}")

    def kill(self, name):
        if name == "up":
            self.region.process.kill()
            self.region.process.wait()
            self.note(name)
            self.region.start()
            return
        try:
            os.kill(self.region.pid(name), signal.SIGKILL)
            self.note(name)
        except (OSError, IndexError, ValueError):
            pass  # it was killed a moment ago and is not back yet

    def kill_one_of(self, program):
        """A shim, or the process of a load balancer node."""
        pids = sorted(self.host.subcommands(program))
        if pids:
            os.kill(self.random.choice(pids), signal.SIGKILL)
            self.note(program)

    def service(self):
        return patient(lambda: self.shop.ecs.describe_services(cluster="orders", services=["orders"]))["services"][0]

    def steady(self):
        service = self.service()
        first = service["deployments"][0]
        return len(service["deployments"]) == 1 and first["rolloutState"] == "COMPLETED" and service["runningCount"] == COUNT and service["pendingCount"] == 0 and service

    def deploy(self, kill, names):
        """A deployment to its end, with kills at random moments until then."""
        before = self.steady()["deployments"][0]["id"]
        patient(lambda: self.shop.ecs.update_service(cluster="orders", service="orders", forceNewDeployment=True))
        deadline = time.monotonic() + 90
        while not ((now := self.steady()) and now["deployments"][0]["id"] != before):
            assert time.monotonic() < deadline, ("the deployment does not complete", self.service()["deployments"], [e["message"] for e in self.service()["events"][:5]])
            # The last kills come early enough that a deployment can end between them.
            if time.monotonic() < deadline - 60:
                time.sleep(self.random.uniform(0.05, 1.2))
                kill(self.random.choice(names))
            else:
                time.sleep(0.05)

    def whole(self):
        """All is as if nothing had happened: four tasks, one process and one shim each, in the tasks' list and in the target group."""
        wait("as many programs as tasks", lambda: len(self.host.pids("orders-api")) == COUNT, 30)
        wait("as many shims as tasks", lambda: len(self.host.subcommands("shim")) == COUNT, 30)
        healthy = lambda: sorted(t["TargetHealth"]["State"] for t in patient(lambda: self.shop.elb.describe_target_health(TargetGroupArn=self.shop.group))["TargetHealthDescriptions"])
        wait("all targets are healthy", lambda: healthy() == ["healthy"] * COUNT, 30)


def play(host, region, shop, seed):
    it = Round(host, region, shop, seed)
    wait("the service is steady", it.steady, 60)
    try:
        with Watch(shop.ecs, True) as watch, Load(shop.addresses) as load:
            load.more()
            for _ in range(DEPLOYMENTS):
                it.deploy(it.kill, ["control", "node", "dns", "up", "node", "control"])
            it.whole()
            load.more()
        print(f"seed {seed}: {DEPLOYMENTS} deployments, {len(it.killed)} kills, {load.answers} answers, none failed, {watch.looks} looks, {time.time() - it.began:.1f} s", flush=True)
    except BaseException:
        print(f"seed {seed}: killed {it.killed}")
        raise
    try:
        with Watch(shop.ecs, False) as watch:
            it.deploy(lambda name: it.kill_one_of(name), ["shim", "alb"])
            wait("the service is steady after its shims and load balancer died", it.steady, 60)
            it.whole()
        # One that was killed begins with the targets that it knew last; it is back when every one of its targets answers.
        for address in shop.addresses:
            wait("a load balancer node that was killed is back", lambda: all(http_get(address, "/health", "api.shop.test")[0] == 200 for _ in range(8 * COUNT)))
        with Load(shop.addresses) as load:
            load.more()
        print(f"seed {seed}: whole after {it.killed[-9:]}", flush=True)
    except BaseException:
        print(f"seed {seed}: killed {it.killed}")
        raise


def forker(region):
    """The process that forks the shims: a child of some thread of the node's."""
    threads = glob.glob(f"/proc/{region.pid('node')}/task/*/children")
    children = [pid for thread in threads for pid in open(thread).read().split()]
    found = [pid for pid in children if open(f"/proc/{pid}/cmdline").read().split("\0")[1:2] == ["shims"]]
    return found and int(found[0])


def forks_again(host, region, shop):
    """When the process that forks the shims is killed, none of them ends and the next start has another."""
    before, shims = wait("there is one that forks", lambda: forker(region)), host.subcommands("shim")
    os.kill(before, signal.SIGKILL)
    wait("it is gone", lambda: not os.path.exists(f"/proc/{before}"))
    equal("shims that are left", host.subcommands("shim"), shims)
    shop.ecs.update_service(cluster="orders", service="orders", forceNewDeployment=True)
    wait("others run", lambda: len(left := host.subcommands("shim")) == COUNT and not left & shims, 60)
    assert forker(region) not in (before, []), "nobody forks"


def scenario(host):
    first, rounds = int(os.environ.get("FOGBANK_SEED", "5")), int(os.environ.get("FOGBANK_ROUNDS", "1"))
    with host.region("--speed", "10", data=os.path.join(host.folder, "data")) as region:
        shop = host.shop(region, COUNT)
        for seed in range(first, first + rounds):
            play(host, region, shop, seed)
        forks_again(host, region, shop)
