#!/usr/bin/env python3
"""Measures the authoritative server beside Knot and NSD (Debian's): queries a second, processor time and latency, in turns.

    bench_dns.py --fogbank target/release/fogbank [--rounds 4] [--seconds 3] [--names 1000,100000]

Every server has one worker on one core, dnsperf the other one; all on loopback in a namespace of its own. Knot and NSD serve the same
names from a zone file. fogbank answers three kinds: simple records, weighted ones (two of each name) and aliases to a load balancer with
two nodes. Processor time is of the server's process alone. Half load is half of what the slowest served.
"""
import argparse, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
ZONE, BATCH = "bench.test", 400
TICK = os.sysconf("SC_CLK_TCK")


def name(number):
    return f"host-{number}.{ZONE}"


def address(number):
    return f"192.0.2.{number % 254 + 1}"


def zone_file(folder, count):
    path = os.path.join(folder, f"zone-{count}")
    with open(path, "w") as out:
        out.write(f"$ORIGIN {ZONE}.\n@ 900 IN SOA ns.{ZONE}. hostmaster.{ZONE}. 1 7200 900 1209600 86400\n@ 900 IN NS ns.{ZONE}.\nns 900 IN A 192.0.2.1\n")
        out.writelines(f"host-{n} 60 IN A {address(n)}\n" for n in range(count))
    return path


def knot(folder, zone):
    path = os.path.join(folder, "knot.conf")
    pathlib.Path(path).write_text(
        f"server:\n  rundir: {folder}\n  listen: 127.0.0.1@5301\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {folder}/knot-db\nlog:\n - target: stderr\n   any: error\nzone:\n - domain: {ZONE}\n   file: {zone}\n   zonefile-load: whole\n")
    return ["knotd", "-c", path], 5301


def nsd(folder, zone):
    path = os.path.join(folder, "nsd.conf")
    pathlib.Path(path).write_text(
        f'server:\n  ip-address: 127.0.0.1@5302\n  server-count: 1\n  username: ""\n  chroot: ""\n  database: ""\n  pidfile: "{folder}/nsd.pid"\n  xfrdfile: "{folder}/xfrd"\n'
        f'  zonelistfile: "{folder}/zonelist"\n  xfrdir: "{folder}"\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {zone}\n')
    return ["nsd", "-d", "-c", path], 5302


def family(pid):
    """The process and its descendants: NSD's server is a child."""
    found = [pid]
    for child in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [p for word in child.read_text().split() for p in family(int(word))]
    return found


def processor_s(pids):
    total = 0
    for pid in pids:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total / TICK


def pss_mib(pids):
    text = "".join(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(kib) for kib in re.findall(r"^Pss:\s+(\d+)", text, re.M)) / 1024


def pin(pids):
    for pid in pids:
        subprocess.run(["taskset", "-acp", "0", str(pid)], check=True, stdout=subprocess.DEVNULL)


class Served:
    def __init__(self, what, port, pids, queries):
        self.what, self.port, self.pids, self.queries = what, port, pids, queries
        self.rows = []

    def dnsperf(self, seconds, *more):
        said = subprocess.run(["taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", str(self.port), "-d", self.queries, "-l", str(seconds), "-c", "8", "-T", "1", "-q", "200", *more],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 60).stdout
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
        completed = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
        codes = re.search(r"Response codes:\s+(.*)", said)[1]
        assert re.match(r"NOERROR \d+ \(100\.00%\)", codes), f"{self.what}: {codes}"
        return rate, completed, said

    def round(self, seconds):
        before = processor_s(self.pids)
        rate, completed, _ = self.dnsperf(seconds)
        self.rows.append((rate, (processor_s(self.pids) - before) / completed * 1e6))

    def p99_us(self, seconds, rate):
        _, _, said = self.dnsperf(seconds, "-v", "-Q", str(rate))
        times = sorted(float(line.rsplit(" ", 1)[1]) for line in said.splitlines() if line.startswith("> NOERROR"))
        return times[int(len(times) * 0.99)] * 1e6

    def median(self):
        return [statistics.median(column) for column in zip(*self.rows)]


def queries(folder, what, names):
    path = os.path.join(folder, f"queries-{what}")
    pathlib.Path(path).write_text("".join(f"{one} A\n" for one in names))
    return path


def change(route53, zone_id, records):
    changes = [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]
    for at in range(0, len(changes), BATCH):
        route53.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": changes[at:at + BATCH]})


def simple(number):
    return {"Name": name(number), "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": address(number)}]}


def change_to_answer_ms(region, route53, zone_id, rounds):
    """From the call to the first answer that has it."""
    times = []
    for number in range(rounds):
        wanted = f"10.0.{number // 250}.{number % 250 + 1}"
        began = time.perf_counter()
        change(route53, zone_id, [{"Name": f"changing.{ZONE}", "Type": "A", "TTL": 1, "ResourceRecords": [{"Value": wanted}]}])
        while region.resolve(f"changing.{ZONE}")[1] != [wanted]:
            pass
        times.append((time.perf_counter() - began) * 1e3)
    return times


def measure(host, folder, count, rounds, seconds):
    from host import wait
    zone = zone_file(folder, count)
    servers, started = [], []
    try:
        for what, (command, port) in (("knot", knot(folder, zone)), ("nsd", nsd(folder, zone))):
            if not shutil.which(command[0]):
                print(f"{command[0]} is not on this machine")
                continue
            started.append(subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            servers.append(Served(what, port, [started[-1].pid], queries(folder, "plain", (name(n) for n in range(count)))))
        with host.region("--speed", "10", "--quota", "L-E209CC9F=200000") as region:
            dns = region.pid("dns")
            empty = pss_mib([dns])
            route53 = region.client("route53")
            zone_id = route53.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"]
            change(route53, zone_id, (simple(n) for n in range(count)))
            wait("the last name answers", lambda: region.resolve(name(count - 1))[1] == [address(count - 1)])
            grown = pss_mib([dns]) - empty
            weighted = [{"Name": f"w-{n}.{ZONE}", "Type": "A", "TTL": 60, "SetIdentifier": str(half), "Weight": 10, "ResourceRecords": [{"Value": f"192.0.2.{half + 1}"}]}
                        for n in range(1000) for half in range(2)]
            change(route53, zone_id, weighted)
            balancer = load_balancer(region)
            change(route53, zone_id, [{"Name": f"alias-{n}.{ZONE}", "Type": "A", "AliasTarget": {"HostedZoneId": balancer["CanonicalHostedZoneId"], "DNSName": balancer["DNSName"],
                                                                                          "EvaluateTargetHealth": False}} for n in range(1000)])
            wait("an alias answers", lambda: len(region.resolve(f"alias-999.{ZONE}")[1]) == 2)
            port = region.dns[1]
            servers.append(Served("simple", port, [dns], queries(folder, "plain", (name(n) for n in range(count)))))
            servers.append(Served("weighted", port, [dns], queries(folder, "weighted", (f"w-{n}.{ZONE}" for n in range(1000)))))
            servers.append(Served("alias", port, [dns], queries(folder, "alias", (f"alias-{n}.{ZONE}" for n in range(1000)))))
            for one in servers:
                if one.what in ("knot", "nsd"):
                    one.pids = family(one.pids[0])
                pin(one.pids)
            for _ in range(rounds):
                for one in servers:
                    one.round(seconds)
            medians = {one.what: one.median() for one in servers}
            for what, (rate, cost) in medians.items():
                print(f"{count:6} names  {what:9} {rate:9.0f} queries/s  {cost:6.2f} us of processor a query", flush=True)
            half = int(min(rate for rate, _ in medians.values()) / 2)
            for one in servers:
                print(f"{count:6} names  {one.what:9} p99 {one.p99_us(seconds, half):6.0f} us at {half} queries/s", flush=True)
            for other in ("knot", "nsd"):
                if other in medians:
                    ratios = ", ".join(f"{what} {medians[what][1] / medians[other][1]:.2f}" for what in ("simple", "alias", "weighted"))
                    print(f"{count:6} names  processor time a query beside {other}: {ratios}  {'goal 1.0, 1.0, 1.3' if other == 'knot' else ''}", flush=True)
            if count >= 10000:
                print(f"{count:6} names  memory of fogbank's DNS process: {grown / count * 1e5:.1f} MiB for 100,000 records", flush=True)
            times = sorted(change_to_answer_ms(region, route53, zone_id, 50))
            print(f"{count:6} names  a change, API call to answer: p50 {statistics.median(times):.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f}  goal 5", flush=True)
    finally:
        for process in started:
            process.terminate()
            process.wait(20)


def load_balancer(region):
    ec2, elbv2 = region.clients("ec2", "elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"] for n, zone in enumerate("ab")]
    return elbv2.create_load_balancer(Name="bench", Subnets=subnets)["LoadBalancers"][0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--names", default="1000,100000")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if not args.inside:
        return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--inside"]).returncode
    sys.path.insert(0, str(HERE))
    import host
    host.prepare()
    folder = tempfile.mkdtemp(prefix="fogbank-bench-")
    try:
        for count in map(int, args.names.split(",")):
            measure(host.Host(os.path.abspath(args.fogbank), f"b{os.getpid() % 100000}", None), folder, count, args.rounds, args.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
