#!/usr/bin/env python3
"""Measures the network's figures of docs/figures.md: what a packet, a rule change and an interface cost.

    bench_network.py --fogbank target/release/fogbank --xtask target/debug/xtask [--rounds N] [--enis N]

A real region (`fogbank up`, all its processes) in namespaces of its own. Its interfaces are made with the API and given
to the host as the scheduler gives a task's: by the row's `host`. So each is a real namespace with its pair, rules and
routes, without a container in it. Traffic between two of them is measured in turns with a plain veth pair between two
namespaces, and said as the ratio of the medians.
"""
import argparse, contextlib, ctypes, http.client, json, os, pathlib, re, shutil, signal, socket, statistics, struct, subprocess, sys, threading, time, urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ACCOUNT, REGION = "000000000000", "us-east-1"
PORT, UDP_PORT = 5201, 5300
RULES_EACH_WAY, GROUPS_EACH = 30, 5
SMALL = 10


def report(what, value, goal=""):
    print(f"{what:66} {value}{'   goal ' + goal if goal else ''}", flush=True)


def p(values, part):
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) * part // 100]


class Store:
    """The region's store by its socket, as node and dns speak to it (crates/store/src/remote/codec.rs)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(b"fogbank\x01")
        self.buffer, self.number = b"", 0

    def send(self, kind, payload):
        self.number += 1
        self.socket.sendall(struct.pack("<IQB", 9 + len(payload), self.number, kind) + payload)

    def take(self, count):
        while len(self.buffer) < count:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the store is gone")
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def reply(self):
        length, _, kind = struct.unpack("<IQB", self.take(13))
        return kind, Reader(self.take(length - 9))

    @staticmethod
    def text(value):
        data = value if isinstance(value, bytes) else value.encode()
        return struct.pack("<I", len(data)) + data

    def get(self, key):
        self.send(1, self.text(key))
        kind, reader = self.reply()
        assert kind == 2, kind
        return reader.entry()[1] if reader.u8() else None

    def list(self, prefix):
        """([(key, row)], revision)"""
        self.send(2, self.text(prefix))
        found, more = [], True
        while more:
            kind, reader = self.reply()
            assert kind == 3, kind
            revision, more = reader.u64(), reader.u8()
            found += [reader.entry() for _ in range(reader.u32())]
        return found, revision

    def put(self, rows):
        """One transaction; gives its revision."""
        ops = b"".join(b"\0" + self.text(key) + self.text(json.dumps(row)) + struct.pack("<Q", 0) for key, row in rows)
        self.send(3, struct.pack("<II", 0, len(rows)) + ops)
        kind, reader = self.reply()
        assert kind == 4 and reader.u8() == 0, kind
        return reader.u64()

    def watch(self, after):
        """Batches, each [(key, row or None)]."""
        self.send(7, struct.pack("<Q", after))
        kind, _ = self.reply()
        assert kind == 6, kind
        while True:
            _, reader = self.reply()
            reader.u64()
            events = []
            for _ in range(reader.u32()):
                key = reader.bytes().decode()
                events.append((key, json.loads(reader.bytes()) if reader.u8() else None))
            yield events


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form, size):
        self.at += size
        return struct.unpack_from(form, self.data, self.at - size)[0]

    def u8(self):
        return self.number("<B", 1)

    def u32(self):
        return self.number("<I", 4)

    def u64(self):
        return self.number("<Q", 8)

    def bytes(self):
        length = self.u32()
        self.at += length
        return self.data[self.at - length:self.at]

    def entry(self):
        key, value = self.bytes().decode(), json.loads(self.bytes())
        self.u64(), self.u64()
        return key, value


class Applied:
    """What revision the host has applied, told as it is: by a watch of its status row."""

    def __init__(self, path):
        self.path, self.changed, self.revision, self.host, self.reports = path, threading.Condition(), 0, None, 0
        rows, revision = Store(path).list("status-host/")
        for _, row in rows:
            self.revision, self.host = row["applied"], row["host"]
        threading.Thread(target=self.follow, args=(revision,), daemon=True).start()

    def follow(self, revision):
        with contextlib.suppress(ConnectionError):
            for events in Store(self.path).watch(revision):
                for key, row in events:
                    if key.startswith("status-host/"):
                        with self.changed:
                            # No row: gone with its lease, as a node died.
                            if row:
                                self.revision, self.host, self.reports = row["applied"], row["host"], self.reports + 1
                            self.changed.notify_all()

    def wait(self, revision, seconds=120):
        with self.changed:
            assert self.changed.wait_for(lambda: self.revision >= revision, seconds), f"revision {revision} is not applied"

    def wait_report(self, after):
        with self.changed:
            assert self.changed.wait_for(lambda: self.reports > after, 60), "no node reports"


class Api:
    """Calls without a client library's own cost: one kept connection, form bodies."""

    def __init__(self):
        self.connect()
        self.headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization":
                        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=" + "0" * 64}

    def connect(self):
        """Before a measurement: the server ends connections that have been idle for long."""
        self.connection = http.client.HTTPConnection("127.0.0.1", 4566)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __call__(self, action, wanted=None, **parameters):
        """Gives the text of the first such element of the answer."""
        body = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15", **{k.replace("_", "."): v for k, v in parameters.items()}})
        self.connection.request("POST", "/", body, self.headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return re.search(f"<{wanted}>([^<]*)<", text).group(1) if wanted else text

    def rules(self, action, group, rules):
        parameters = {"GroupId": group}
        for n, (protocol, low, high, peer) in enumerate(rules, 1):
            start = f"IpPermissions_{n}_"
            parameters |= {start + "IpProtocol": protocol, start + "FromPort": low, start + "ToPort": high}
            parameters |= {start + "Groups_1_GroupId": peer} if peer.startswith("sg-") else {start + "IpRanges_1_CidrIp": peer}
        self(action, **parameters)


class End:
    """A namespace that traffic starts from or ends at."""

    def __init__(self, name, address):
        self.path, self.address = f"/run/netns/{name}", address

    def command(self, *command):
        return ["nsenter", f"--net={self.path}", *command]

    def socket(self, kind):
        """A socket of that namespace; it stays one when its maker has left."""
        made = []

        def make():
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(self.path, os.O_RDONLY)
            if libc.setns(fd, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.close(fd)
            made.append(socket.socket(socket.AF_INET, kind))
        thread = threading.Thread(target=make)
        thread.start(), thread.join()
        return made[0]


class Pair:
    """Two ends; traffic goes from the first to the second."""

    def __init__(self, xtask, client, server):
        self.xtask, self.client, self.server, self.serving = xtask, client, server, []

    def serve(self):
        for kind, port in (("echo", PORT), ("sink", PORT + 1)):
            process = subprocess.Popen(self.server.command(self.xtask, "traffic", kind, f"{self.server.address}:{port}"), stdout=subprocess.PIPE, text=True,
                                       preexec_fn=pin(1) if kind == "echo" else None)
            assert process.stdout.readline() == "ready\n"
            self.serving.append(process)

    def close(self):
        for process in self.serving:
            process.kill()
            process.wait()

    def run(self, kind, *arguments):
        port = PORT + 1 if kind == "bulk" else PORT
        command = self.client.command(self.xtask, "traffic", kind, f"{self.server.address}:{port}", *map(str, arguments))
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, preexec_fn=pin(0) if kind != "bulk" else None).stdout)

    def mtu(self, size):
        for end in (self.client, self.server):
            subprocess.run(end.command("ip", "link", "set", "eth0", "mtu", str(size)), check=True)


def pin(cpu):
    """Both ends of a dialogue have a processor each, always the same: else the scheduler's choice is what is measured."""
    count = os.cpu_count()
    return lambda: os.sched_setaffinity(0, {cpu % count})


def plain_pair(xtask):
    """A veth pair between two namespaces and nothing else."""
    sh = lambda *command: subprocess.run(command, check=True)
    ends = [End("plain-0", "192.0.2.1"), End("plain-1", "192.0.2.2")]
    for n, end in enumerate(ends):
        sh("ip", "netns", "add", f"plain-{n}")
    sh("ip", "link", "add", "eth0", "netns", "plain-0", "mtu", "9001", "type", "veth", "peer", "name", "eth0", "netns", "plain-1", "mtu", "9001")
    for end in ends:
        sh(*end.command("ip", "address", "add", end.address + "/24", "dev", "eth0"))
        sh(*end.command("ip", "link", "set", "eth0", "up"))
        sh(*end.command("ip", "link", "set", "lo", "up"))
    return Pair(xtask, *ends)


class Network:
    """A VPC that grows."""

    def __init__(self, region, xtask):
        self.region, self.xtask, self.api = region, xtask, Api()
        path = f"/run/fogbank/{region.instance}/store.sock"
        self.store, self.applied = Store(path), Applied(path)
        api = self.api
        self.vpc = api("CreateVpc", "vpcId", CidrBlock="10.0.0.0/16")
        self.subnet = api("CreateSubnet", "subnetId", VpcId=self.vpc, CidrBlock="10.0.16.0/20", AvailabilityZone="us-east-1a")
        self.open = self.group("open")
        api.rules("AuthorizeSecurityGroupIngress", self.open, [("tcp", PORT, PORT + 1, "10.0.0.0/16")])
        self.enis, self.groups, self.rules = [], [], 1
        self.attach([self.make_eni([self.open]) for _ in range(SMALL)])

    def group(self, name):
        return self.api("CreateSecurityGroup", "groupId", GroupName=name, GroupDescription=name, VpcId=self.vpc)

    def make_eni(self, groups):
        """(id, address) of one that no host has."""
        named = {f"SecurityGroupId_{n}": group for n, group in enumerate(groups, 1)}
        text = self.api("CreateNetworkInterface", SubnetId=self.subnet, **named)
        field = lambda name: re.search(f"<{name}>([^<]*)<", text).group(1)
        return field("networkInterfaceId"), field("privateIpAddress")

    def place(self, enis, host):
        """Gives interfaces to the host, or takes them from it; until that acts."""
        rows = [(key, self.store.get(key)) for key in (f"eni/{ACCOUNT}/{REGION}/{eni}" for eni, _ in enis)]
        started = time.perf_counter()
        revision = self.store.put([(key, {**row, "host": host}) for key, row in rows])
        self.applied.wait(revision)
        return (time.perf_counter() - started) * 1e3

    def attach(self, enis):
        started = time.perf_counter()
        for at in range(0, len(enis), 100):
            self.place(enis[at:at + 100], self.applied.host)
        self.enis += enis
        return (time.perf_counter() - started) * 1e3

    def end(self, number):
        eni, address = self.enis[number]
        return End(f"fog-{self.region.instance}-{eni.removeprefix('eni-')}", address)

    def pair(self, client, server):
        return Pair(self.xtask, self.end(client), self.end(server))

    def grow(self, enis, rules):
        """To so many interfaces of five groups each. The rule that lets the measured traffic pass is the last one of the last
        group, at either end."""
        self.api.connect()
        count = max(GROUPS_EACH, rules // (2 * RULES_EACH_WAY))
        self.groups = [self.group(f"large-{n}") for n in range(count)]
        for number, group in enumerate(self.groups):
            peer = self.groups[(number + 1) % count]
            rules = [("tcp", 10000 + 7 * n, 10000 + 7 * n + number % 5, peer if n % 10 == 9 else f"10.{n}.{number % 256}.0/24")
                     for n in range(RULES_EACH_WAY - 1)]
            rules.append(("tcp", PORT, PORT + 1, "10.0.0.0/16") if number % GROUPS_EACH == 4 else ("tcp", 443, 443, "10.9.0.0/16"))
            self.api.rules("AuthorizeSecurityGroupIngress", group, rules)
            self.api.rules("AuthorizeSecurityGroupEgress", group, rules)
            self.api("RevokeSecurityGroupEgress", GroupId=group, IpPermissions_1_IpProtocol="-1", IpPermissions_1_IpRanges_1_CidrIp="0.0.0.0/0")
        self.rules += count * 2 * RULES_EACH_WAY
        of = lambda n: [self.groups[(n // 5 * GROUPS_EACH + k) % (count // GROUPS_EACH * GROUPS_EACH)] for k in range(GROUPS_EACH)]
        new = [self.make_eni(of(n)) for n in range(enis - len(self.enis))]
        first = len(self.enis)
        took = self.attach(new)
        # In the same group of five: the first two of them, and what they share.
        return first, first + 1, of(0)[-1], took


def pss_kib(instance):
    """Proportional set size of the region's processes, by the program's subcommand."""
    sizes = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
            if words[0].endswith(b"fogbank") and any(instance.encode() in word for word in words):
                sizes[words[1].decode()] = int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{entry}/smaps_rollup").read(), re.M).group(1)) + sizes.get(words[1].decode(), 0)
    return sizes


def kernel_kib():
    """Memory of the whole machine's kernel that namespaces, devices and rules are made of."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", open("/proc/meminfo").read(), re.M))
    return {name: int(found[name]) for name in ("Slab", "Percpu", "VmallocUsed", "MemAvailable")}


def cpu_us(pid):
    """Time that a process's threads have had of the processors."""
    return sum(int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0]) for thread in os.listdir(f"/proc/{pid}/task")) / 1e3


def in_turns(rounds, named, measure):
    """Each in each round, one after the other: what the machine does meanwhile hits all."""
    found = {name: [] for name in named}
    for number in range(rounds):
        names = list(named)
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(measure(named[name]))
    return found


def ratio(found, base, name, unit, goal):
    """Of the medians; how far single rounds are apart stands beside it."""
    each = sorted(mine / plain for mine, plain in zip(found[name], found[base]))
    mine, plain = statistics.median(found[name]), statistics.median(found[base])
    return f"{mine / plain:.3f}  ({mine:.1f} to {plain:.1f} {unit}; rounds {each[0]:.2f} to {each[-1]:.2f}, n {len(each)})", goal


def throughput(plain, pair, rounds):
    for mtu in (9001, 1500):
        plain.mtu(mtu), pair.mtu(mtu)
        for streams in (1, 4):
            found = in_turns(rounds, {"plain": plain, "eni": pair}, lambda each: each.run("bulk", streams, 700)["gbit_s"])
            report(f"TCP throughput, {streams} stream{'s'[:streams - 1]}, MTU {mtu}, ratio", *ratio(found, "plain", "eni", "Gbit/s", ">= 0.95"))
    plain.mtu(9001), pair.mtu(9001)


def dialogue(plain, pair, rounds, size, goals):
    for kind, what, count in (("request", "request/response p50", 3000), ("connect", "connect + request p50", 1000)):
        found = in_turns(rounds, {"plain": plain, "eni": pair}, lambda each: each.run(kind, count)["p50_us"])
        report(f"{what}, {size}, ratio", *ratio(found, "plain", "eni", "us", goals.get(kind, "")))


def rule_changes(network, client, server, group, rounds, size):
    """From the call to a packet's fate: a datagram that none has answered is judged by the rules alone, each anew."""
    network.api.connect()
    source, sink = client.socket(socket.SOCK_DGRAM), server.socket(socket.SOCK_DGRAM)
    # Its port is open to the group's own way out for the time of the measurement.
    out = [("udp", UDP_PORT, UDP_PORT, "0.0.0.0/0")]
    network.api.rules("AuthorizeSecurityGroupEgress", group, out)
    sink.bind((server.address, UDP_PORT))
    parameters = [("udp", UDP_PORT, UDP_PORT, "10.0.0.0/16")]

    def arrives(patience):
        source.sendto(b"?", (server.address, UDP_PORT))
        sink.settimeout(patience)
        try:
            sink.recv(16)
            return True
        except TimeoutError:
            return False
    opened, closed, late = [], [], 0
    for number in range(rounds + 3):
        started = time.perf_counter()
        network.api.rules("AuthorizeSecurityGroupIngress", group, parameters)
        while not arrives(0.001):
            late += 1
        opened.append((time.perf_counter() - started) * 1e3)
        started = time.perf_counter()
        network.api.rules("RevokeSecurityGroupIngress", group, parameters)
        took = time.perf_counter() - started
        while arrives(0.002):
            took, late = time.perf_counter() - started, late + 1
        closed.append(took * 1e3)
    network.api.rules("RevokeSecurityGroupEgress", group, out)
    source.close(), sink.close()
    for what, times in (("authorise", opened[3:]), ("revoke", closed[3:])):
        report(f"{what}, API call to effect on packets, {size}", f"p50 {p(times, 50):.2f} ms, p99 {p(times, 99):.2f} ms (n {len(times)}, {late} packets late)", "p50 2 ms")
    return p(opened[3:], 50), p(closed[3:], 50)


def attachments(network, groups, rounds, size):
    """From the row to the report that it acts; each time another interface, one at a time."""
    network.api.connect()
    enis = [network.make_eni(groups) for _ in range(rounds)]
    times = {}
    for what, host in (("came", network.applied.host), ("went", None)):
        times[what] = []
        for eni in enis:
            time.sleep(0.02)  # the host is at rest, as before any change
            times[what].append(network.place([eni], host))
    for eni, _ in enis:
        network.api("DeleteNetworkInterface", NetworkInterfaceId=eni)
    came, went = times["came"], times["went"]
    report(f"ENI attach, row to kernel, {size}", f"p50 {p(came, 50):.2f} ms, p90 {p(came, 90):.2f} ms (n {rounds}); detach p50 {p(went, 50):.2f} ms", "2.5 ms")


def flow_logs(network, plain, pair, rounds):
    """Connections with flow logs and without, in turns."""
    session = network.region
    iam, logs, ec2 = session.clients("iam", "logs", "ec2")
    iam.create_role(RoleName="flow", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
    logs.create_log_group(logGroupName="/flow")
    count, costs = 1000, {"without": [], "with": []}

    def measure(how):
        made = []
        if how == "with":
            made = ec2.create_flow_logs(ResourceIds=[network.vpc], ResourceType="VPC", TrafficType="ALL", LogGroupName="/flow",
                                        DeliverLogsPermissionArn=f"arn:aws:iam::{ACCOUNT}:role/flow")["FlowLogIds"]
        time.sleep(0.2)  # the change is over
        before = cpu_us(session.pid("node"))
        found = pair.run("connect", count)["p50_us"]
        if made:
            # A flow log that ends writes what it has gathered.
            ec2.delete_flow_logs(FlowLogIds=made)
        time.sleep(0.5)
        costs[how].append((cpu_us(session.pid("node")) - before) / count)
        return found
    found = in_turns(rounds, {"without": "without", "with": "with"}, measure)
    without, logged = statistics.median(found["without"]), statistics.median(found["with"])
    report("flow logs, connect + request p50 with to without", f"{logged / without:.3f}  ({logged:.1f} to {without:.1f} us, n {rounds})")
    streams = logs.describe_log_streams(logGroupName="/flow")["logStreams"]
    told = sum(len(logs.get_log_events(logGroupName="/flow", logStreamName=each["logStreamName"], startFromHead=True)["events"]) for each in streams)
    report("flow logs, processor time of node per connection, records and all", f"{statistics.median(costs['with']):.1f} us (without {statistics.median(costs['without']):.1f}; {told} records read back)")


def restart_of_node(network, count):
    """Killed; the supervisor starts another, which finds the kernel as it was and looks through all of it."""
    reports, started = network.applied.reports, time.perf_counter()
    os.kill(network.region.pid("node"), signal.SIGKILL)
    network.applied.wait_report(reports)
    report(f"restart of node at {count} ENIs: killed until it reports again", f"{time.perf_counter() - started:.2f} s")


def measure(host, xtask, rounds, enis):
    plain = plain_pair(xtask)
    data = os.path.join(host.folder, "data")
    import host as harness
    region = harness.Region(host, data=data)
    host.regions.append(region)
    pairs = [plain]
    try:
        region.start()
        network = Network(region, xtask)
        pair = network.pair(0, 1)
        pairs.append(pair)
        plain.serve(), pair.serve()
        size = f"{SMALL} ENIs"
        throughput(plain, pair, rounds)
        dialogue(plain, pair, rounds, size + ", 1 group", {"request": "<= 1.08"})
        flow_logs(network, plain, pair, rounds)
        few = rule_changes(network, network.end(0), network.end(1), network.open, 15 * rounds, size)
        attachments(network, [network.open], 4 * rounds, size)

        memory, kernel = pss_kib(region.instance), kernel_kib()
        client, server, group, took = network.grow(enis, 10200)
        size = f"{enis} ENIs, {network.rules} rules"
        report(f"{enis - SMALL} ENIs more, row to kernel", f"{took / 1e3:.2f} s, {took / (enis - SMALL):.2f} ms each")
        large = network.pair(client, server)
        pairs.append(large)
        large.serve()
        dialogue(plain, large, rounds, size + ", 5 groups of 60", {"request": "<= 1.08", "connect": "<= 1.35"})
        many = rule_changes(network, network.end(client), network.end(server), group, 15 * rounds, size)
        report("authorise and revoke, p50 of the large size to the small", f"{many[0] / few[0]:.2f} and {many[1] / few[1]:.2f}", "< 2")
        attachments(network, network.groups[:GROUPS_EACH], 4 * rounds, size)
        after, grown = pss_kib(region.instance), kernel_kib()
        report(f"memory of all processes, PSS, {size}", f"{sum(after.values()) / 1024:.1f} MiB " + ", ".join(
            f"{name} {kib / 1024:.1f}" for name, kib in sorted(after.items())) + f"; with {SMALL}: {sum(memory.values()) / 1024:.1f}")
        report("memory of the machine's kernel for them", ", ".join(
            f"{name} {(grown[name] - kernel[name]) / 1024:+.0f} MiB" for name in kernel))
        restart_of_node(network, enis)
        report("the data plane meanwhile", f"connect + request p50 {large.run('connect', 500)['p50_us']:.0f} us")
        for each in pairs[1:]:
            each.close()
        started = time.perf_counter()
        region.stop()
        report(f"the whole region goes down, {enis} ENIs", f"{time.perf_counter() - started:.2f} s")
        rebuild(harness, host, data, xtask, network, client, server, enis, pairs)
    finally:
        for each in pairs:
            each.close()
        for each in host.regions:
            each.stop()


def rebuild(harness, host, data, xtask, network, client, server, enis, pairs):
    """From the rows alone: the kernel has nothing of it."""
    started = time.perf_counter()
    region = harness.Region(host, data=data)
    host.regions.append(region)
    region.start()
    ready = time.perf_counter() - started
    applied = Applied(f"/run/fogbank/{region.instance}/store.sock")
    applied.wait(1)
    built = time.perf_counter() - started
    pair = network.pair(client, server)
    pairs.append(pair)
    pair.serve()
    pair.run("connect", 100)
    found = len(os.listdir("/run/netns"))
    report(f"start with {enis} ENIs from nothing in the kernel", f"all act after {built:.2f} s (ready after {ready:.2f} s, {found} namespaces)")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--xtask", required=True)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--enis", type=int, default=1000)
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if not args.inside:
        return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--inside"]).returncode
    sys.path.insert(0, str(HERE))
    import host
    host.prepare()
    here = host.Host(os.path.abspath(args.fogbank), f"w{os.getpid() % 100000}", None)
    started = time.monotonic()
    try:
        measure(here, os.path.abspath(args.xtask), args.rounds, args.enis)
    finally:
        shutil.rmtree(here.folder, ignore_errors=True)
    report("load of the machine in this minute, and how long it all took", f"{os.getloadavg()[0]:.1f}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
