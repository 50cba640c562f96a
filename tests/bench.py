#!/usr/bin/env python3
"""Measures the figures of docs/figures.md on this machine: medians of several rounds, release build.

    bench.py --fogbank target/release/fogbank --api target/x86_64-unknown-linux-gnu/release/orders-api [--build] [--rounds N]

The region runs in namespaces of its own. --build adds the times of a clean build and of a rebuild after one touched file.
"""
import argparse, http.client, json, os, pathlib, statistics, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
ROWS = []


def report(what, value, unit, goal=""):
    ROWS.append((what, value, unit, goal))
    print(f"{what:58} {value:>9} {unit:4} {goal}", flush=True)


def median(values):
    return round(statistics.median(values), 2)


def spread(values):
    ordered = sorted(values)
    return f"(min {ordered[0]:.2f}, p90 {ordered[int(len(ordered) * 0.9)]:.2f}, n {len(ordered)})"


def pss_kib(host):
    """Proportional set size of all processes of the region, by the program's subcommand."""
    sizes = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
                if not words[0].endswith(b"fogbank") or not any(host.instance.encode() in w for w in words):
                    continue
                for line in open(f"/proc/{entry}/smaps_rollup"):
                    if line.startswith("Pss:"):
                        name = words[1].decode()
                        sizes[name] = sizes.get(name, 0) + int(line.split()[1])
            except OSError:
                pass
    return sizes


class RawEc2:
    """Calls without a client library's own cost: one kept connection, form bodies."""

    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", 4566)
        self.connection.connect()
        import socket
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization":
                        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=" + "0" * 64}

    def call(self, action, group, port):
        body = (f"Action={action}&Version=2016-11-15&GroupId={group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort={port}"
                f"&IpPermissions.1.ToPort={port}&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0")
        self.connection.request("POST", "/", body, self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text


def rule_change(host, shop, rounds):
    """From the call to the first packet that is let in (a refused connection: it arrived, nobody listens)."""
    from host import connect
    raw, address, calls, effects = RawEc2(), shop.addresses[0], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        raw.call("AuthorizeSecurityGroupIngress", shop.sg_alb, 81)
        calls.append((time.perf_counter() - started) * 1e3)
        while connect(address, 81, 0.05) != "refused":
            pass
        effects.append((time.perf_counter() - started) * 1e3)
        raw.call("RevokeSecurityGroupIngress", shop.sg_alb, 81)
        assert connect(address, 81, 0.03) == "timeout", "a revoked rule acts at once"
    report("rule change, API call to its answer", median(calls), "ms", spread(calls))
    report("rule change, API call to effect on a packet", median(effects), "ms", "goal 5 " + spread(effects))


def run_task(shop, rounds):
    """From the RunTask call to the container's exec, by the region's own clock on the same machine."""
    from host import wait
    times = []
    definition = shop.definition
    network = {"awsvpcConfiguration": {"subnets": shop.private[:1], "securityGroups": [shop.sg_api], "assignPublicIp": "DISABLED"}}
    for _ in range(rounds):
        called = time.time() * 1e3
        arn = shop.ecs.run_task(cluster="orders", taskDefinition=definition, launchType="FARGATE", networkConfiguration=network)["tasks"][0]["taskArn"]
        task = wait("the task runs", lambda: (t := shop.ecs.describe_tasks(cluster="orders", tasks=[arn])["tasks"][0]) and "startedAt" in t and t)
        times.append(task["startedAt"].timestamp() * 1e3 - called)
        shop.ecs.stop_task(cluster="orders", task=arn)
    report("RunTask to the container's exec, image present", median(times), "ms", "goal 60 " + spread(times))


def scenario(host, rounds):
    ready = []
    for _ in range(rounds):
        with host.region() as region:
            ready.append(region.ready_ms)
            said = next(line for line in region.lines if line.startswith("ready"))
            ready[-1] = float(said.split()[2])
    report("up to ready", median(ready), "ms", "goal 100 " + spread(ready))
    report("binary size", round(os.path.getsize(host.fogbank) / 1e6, 1), "MB", "goal 30")
    with host.region() as region:
        time.sleep(2)  # idle, not just started
        sizes = pss_kib(host)
        report("memory of all processes idle, PSS", round(sum(sizes.values()) / 1024, 1), "MiB", f"goal 30 {sizes}")
    services = []
    for number in range(max(1, rounds // 3)):
        with host.region("--speed", "1") as region:
            import deploy
            shop = deploy.Shop(region.endpoint, "us-east-1")
            shop.network(), shop.groups(), shop.image(host.api), shop.balancer()
            started = time.monotonic()
            shop.service(2)
            shop.wait(2, 60)
            services.append(time.monotonic() - started)
            if number == 0:
                shop.name()
                from host import wait
                shop.addresses = wait("the alias answers", lambda: (a := region.resolve("api.shop.test")[1]) and len(a) == 2 and a)
                rule_change(host, shop, rounds * 5)
                run_task(shop, rounds * 2)
                sizes = pss_kib(host)
                report("memory with the reference architecture, PSS", round(sum(sizes.values()) / 1024, 1), "MiB", str(sizes))
    report("create_service to two healthy targets", median(services), "s", "goal 3 " + spread(services))


def builds():
    root = HERE.parent
    target = "/tmp/fogbank-bench-target"
    environment = {**os.environ, "CARGO_TARGET_DIR": target}
    subprocess.run(["rm", "-rf", target], check=True)

    def build(what):
        started = time.monotonic()
        subprocess.run(["cargo", "build", "--quiet", "-p", "fogbank"], cwd=root, env=environment, check=True)
        report(what, round(time.monotonic() - started, 1), "s")
    build("clean build (dev)")
    os.utime(root / "crates/control/src/model/vpc/subnets.rs")
    build("rebuild after touching one file of the model (dev)")
    subprocess.run(["rm", "-rf", target], check=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--api", required=True)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--build", action="store_true")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if not args.inside:
        if args.build:
            builds()
        return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--inside"]).returncode
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(HERE.parent / "examples/api"))
    import host
    host.prepare()
    scenario(host.Host(os.path.abspath(args.fogbank), f"b{os.getpid() % 100000}", os.path.abspath(args.api)), args.rounds)


if __name__ == "__main__":
    sys.exit(main())
