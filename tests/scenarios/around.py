"""Around a task: its metadata and stats, the credentials of its role with which real clients call AWS's services by their own names,
commands executed inside (ECS Exec, by the protocol of AWS's session manager plugin), and its logs."""
import json, os, subprocess, sys
from host import Tasks, equal, sh, wait, way_out

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
ENDPOINT = "http://169.254.170.2"

# A file of ten MB in a terminal's lines, and one of every byte.
FILES = "busybox dd if=/dev/zero bs=1024 count=10240 2>/dev/null | busybox tr '\\0' x > /tmp/big; i=0; while [ $i -lt 256 ]; do printf \\\\$(busybox printf %03o $i); i=$((i+1)); done > /tmp/bytes; "

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
    return private, group, tables[private], nat


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


# ECS Exec as AWS's CLI and its session manager plugin speak it (github.com/aws/session-manager-plugin), from the protocol alone.
class Plugin:
    KINDS = {"output": 1, "size": 3, "request": 5, "response": 6, "complete": 7, "flag": 10, "exit": 12}

    def __init__(self, session, token=None, version="1.2.650.0", client=True):
        import base64, hashlib, socket, urllib.parse
        url = urllib.parse.urlsplit(session["streamUrl"])
        self.socket = socket.create_connection((url.hostname, url.port), 20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.exactly(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert accept in head, head
        self.sent, self.expected, self.text, self.closed, self.exit = 0, 0, b"", None, None
        opening = {"MessageSchemaVersion": "1.0", "RequestId": "a", "TokenValue": token or session["tokenValue"], "ClientId": "b", "ClientVersion": version}
        self.frame(1, json.dumps(opening).encode())

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def frame(self, opcode, payload):
        import struct
        mask, size = os.urandom(4), len(payload)
        head = bytes([0x80 | opcode]) + (bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def message(self, kind, sequence, payload_type, payload, flags=0):
        import hashlib, struct, uuid
        name, identity = kind.encode().ljust(32), uuid.uuid4().bytes
        body = struct.pack(">I", 116) + name + struct.pack(">IQqQ", 1, 1503434274948, sequence, flags) + identity[8:] + identity[:8]
        return body + hashlib.sha256(payload).digest() + struct.pack(">II", payload_type, len(payload)) + payload

    def send(self, kind, payload):
        self.frame(2, self.message("input_stream_data", self.sent, self.KINDS[kind], payload))
        self.sent += 1

    def size(self, columns, rows):
        self.send("size", json.dumps({"cols": columns, "rows": rows}).encode())

    def receive(self):
        """One message; acknowledged if it is of the stream. False when the channel is closed."""
        import hashlib, struct
        try:
            first, second = self.exactly(2)
        except (EOFError, ConnectionError):
            return False
        size = second & 127
        size = struct.unpack(">H", self.exactly(2))[0] if size == 126 else struct.unpack(">Q", self.exactly(8))[0] if size == 127 else size
        data = self.exactly(size)
        if first & 15 == 8:
            return False
        equal("kind of frame", first, 0x82)
        (head,), kind = struct.unpack(">I", data[:4]), data[4:36].strip().decode()
        sequence, = struct.unpack(">q", data[48:56])
        payload_type, size = struct.unpack(">II", data[112:120])
        payload = data[head + 4:]
        equal("the payload", (len(payload), hashlib.sha256(payload).digest()), (size, data[80:112]))
        if kind == "channel_closed":
            self.closed = json.loads(payload)
        if kind == "output_stream_data":
            self.frame(2, self.message("acknowledge", 0, 0, json.dumps({
                "AcknowledgedMessageType": kind, "AcknowledgedMessageId": "x", "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": True}).encode(), 3))
            equal("sequence", sequence, self.expected)
            self.expected += 1
            if payload_type == self.KINDS["request"]:
                action, = json.loads(payload)["RequestedClientActions"]
                equal("session type", (action["ActionType"], action["ActionParameters"]["SessionType"]), ("SessionType", "Standard_Stream"))
                self.send("response", json.dumps({"ClientVersion": "1.2.650.0", "ProcessedClientActions": [
                    {"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""}], "Errors": None}).encode())
            elif payload_type == self.KINDS["output"]:
                self.text += payload
            elif payload_type == self.KINDS["exit"]:
                self.exit = int(payload)
        return True

    def until(self, wanted, seconds=20):
        import time
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < deadline and self.receive(), (wanted, self.text[-300:], self.closed)
        found, wanted, self.text = self.text.partition(wanted)
        return found + wanted

    def end(self):
        while self.receive():
            pass
        return self.closed


def executed(region, tasks, arn):
    """Commands in a container: what they are and have, resizes, signals, much output, several sessions, ends."""
    call = lambda command, **more: tasks.ecs.execute_command(cluster="probes", task=arn, command=command, interactive=True, **more)
    wait("the agent runs", lambda: tasks.describe(arn)["containers"][0]["managedAgents"][0]["lastStatus"] == "RUNNING")
    answer = call("/bin/sh")
    assert answer["session"]["sessionId"].startswith("ecs-execute-command-") and answer["containerName"] == "main", answer
    one = Plugin(answer["session"])
    one.size(132, 43)
    one.until(b"# ")
    one.send("output", b"echo in-$((40+2)) $(id -u) $(hostname) $MARK $(cat /proc/1/cmdline | head -c 5)\r")
    said = one.until(b"\r\nin-42 0 ")
    said += one.until(b"# ")
    assert b"marked" in said, said
    one.send("output", b"busybox stty size; busybox tty; busybox grep -E 'CapBnd|Seccomp:' /proc/self/status /proc/1/status\r")
    said = one.until(b"/proc/1/status:Seccomp")
    assert b"43 132" in said and b"/dev/pts/" in said, said
    bounds = {line.split()[-1] for line in said.splitlines() if line.startswith(b"/proc") and b"CapBnd" in line}
    equal("capabilities like the container's", len(bounds), 1)
    one.until(b"# ")
    one.size(80, 24)
    one.send("output", b"sleep 1; busybox stty size\r")
    one.until(b"24 80")
    one.until(b"# ")
    one.send("output", b"sleep 100\r")
    one.until(b"sleep 100\r\n")
    one.send("output", b"\x03")
    one.until(b"# ")

    # A token opens one channel; another session's opens none; so does none at all.
    for token in (None, "AAAA"):
        closed = Plugin(answer["session"], token)
        equal("refused", (closed.receive(), closed.text), (False, b""))
    # Two sessions at a time; ten MB and every byte.
    two = Plugin(call("cat /tmp/big")["session"], version="fogbank-test")
    assert two.end() is not None, "the channel is closed"
    equal("ten MB", (len(two.text), two.exit), (10 << 20, 0))
    binary = Plugin(call("sh -c 'busybox stty raw -echo; cat /tmp/bytes; exit 7'")["session"], version="fogbank-test")
    binary.end()
    equal("binary bytes", (binary.text, binary.exit), (bytes(range(256)), 7))
    missing = Plugin(call("/no/such/program")["session"])
    assert "no such file" in missing.end()["Output"], missing.closed
    one.send("output", b"exit\r")
    equal("the session", one.end()["SessionId"], answer["session"]["sessionId"])
    three = Plugin(call("sh")["session"])
    three.until(b"# ")
    three.send("flag", (2).to_bytes(4, "big"))
    assert three.end() is not None

    from host import error_code
    equal("not interactive", error_code(tasks.ecs.execute_command, cluster="probes", task=arn, command="sh", interactive=False), "InvalidParameterException")
    equal("no such container", error_code(tasks.ecs.execute_command, cluster="probes", task=arn, command="sh", interactive=True, container="x"), "InvalidParameterException")
    other = tasks.start(["sleep", "1000"])
    wait("it runs", lambda: tasks.describe(other)["lastStatus"] == "RUNNING")
    equal("not enabled", error_code(tasks.ecs.execute_command, cluster="probes", task=other, command="sh", interactive=True), "InvalidParameterException")

    # Our own command line; a pipe is as good as a terminal.
    cli = lambda *words: subprocess.run([tasks.host.fogbank, "exec", "--instance", region.instance, arn.rsplit("/", 1)[1][:8], "--", *words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)
    done = cli("sh", "-c", "echo it\\'s \"$MARK\"; exit 3")
    equal("fogbank exec", (done.returncode, done.stdout.strip()), (3, "it's marked"))

    # The command ends with its container.
    last = Plugin(call("sh")["session"])
    last.until(b"# ")
    tasks.ecs.stop_task(cluster="probes", task=arn)
    assert last.end() is not None
    equal("a task that has stopped", error_code(tasks.ecs.execute_command, cluster="probes", task=arn, command="sh", interactive=True), "InvalidParameterException")


def logs(host, region, tasks):
    """Options of awslogs, and the command line."""
    def define(**options):
        return tasks.define(logConfiguration={"logDriver": "awslogs", "options": {
            "awslogs-group": "/made", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "m", "awslogs-create-group": "true", **options}})
    def said(arn):
        stream = f"m/main/{arn.rsplit('/', 1)[1]}"
        return [e["message"] for e in tasks.logs.get_log_events(logGroupName="/made", logStreamName=stream, startFromHead=True)["events"]]
    definition = define(**{"awslogs-datetime-format": "\\[%Y-%m-%d"})
    arn = tasks.start(["sh", "-c", "echo '[2026-11-23 one'; echo '  two'; echo '[2026-11-23 three'"], definition)
    tasks.ended(arn)
    equal("events of several lines", said(arn), ["[2026-11-23 one\n  two\n", "[2026-11-23 three\n"])
    for options, text in (({"awslogs-multiline-pattern": "("}, "could not parse"), ({"mode": "x"}, "invalid mode")):
        reason = tasks.ended(tasks.start(["true"], define(**options)))["stoppedReason"]
        assert "ResourceInitializationError" in reason and text in reason, reason

    # A flood is bounded on the disk, and ends when the task does.
    flood = tasks.start(["sh", "-c", "while :; do cat /bin/busybox; done"], define(**{"max-buffer-size": "1m"}))
    wait("the flood runs", lambda: tasks.describe(flood)["lastStatus"] == "RUNNING")
    import glob, time
    time.sleep(3)
    folders = glob.glob(f"/run/fogbank/{region.instance}/data/logs/{flood.rsplit('/', 1)[1]}-*")
    written = sum(os.path.getsize(os.path.join(f, name)) for f in folders for name in os.listdir(f))
    assert 0 < written < 120 << 20, written
    shim = [p for p in os.listdir("/proc") if p.isdigit() and f"tasks/{flood.rsplit('/', 1)[1]}".encode() in open(f"/proc/{p}/cmdline", "rb").read()]
    resident = max(int(open(f"/proc/{p}/statm").read().split()[1]) * 4096 for p in shim)
    assert resident < 100 << 20, resident
    tasks.ecs.stop_task(cluster="probes", task=flood)

    followed = tasks.start(["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done; sleep 100"])
    wait("it runs", lambda: tasks.describe(followed)["lastStatus"] == "RUNNING")
    short = followed.rsplit("/", 1)[1][:8]
    reader = subprocess.Popen([host.fogbank, "logs", "-f", short, "--instance", region.instance], stdout=subprocess.PIPE, text=True)
    lines = [reader.stdout.readline() for _ in range(3)]
    reader.kill()
    reader.wait()
    assert all(f"main {short} line {n + 1}" in line for n, line in enumerate(lines)), lines
    assert "line 2" in region.cli("logs", short) and "three" in region.cli("logs", "/made", "--since", "1h")
    equal("nothing of that name", subprocess.run([host.fogbank, "logs", "nothing", "--instance", region.instance], stderr=subprocess.PIPE).returncode, 1)


def protected(host, region, tasks, subnet, group, definition):
    """A service's task protects itself by the agent's endpoint; one of no service can't."""
    tasks.ecs.create_service(cluster="probes", serviceName="kept", taskDefinition=definition, desiredCount=1, launchType="FARGATE",
                             networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}})
    arn = wait("its task", lambda: tasks.ecs.list_tasks(cluster="probes", serviceName="kept")["taskArns"])[0]
    inside = Inside(host, region, tasks, arn)
    state = f"/api/{inside.id}/task-protection/v1/state"
    equal("at first", inside.fetch(state)[0], [200, {"protection": {"ProtectionEnabled": False, "TaskArn": arn}}])
    (status, said), = inside.fetch('PUT {"ProtectionEnabled": true, "ExpiresInMinutes": 60} ' + state)
    equal("protected", (status, said["protection"]["ProtectionEnabled"], said["protection"]["ExpirationDate"][-1]), (200, True, "Z"))
    equal("as ECS says", [t["protectionEnabled"] for t in tasks.ecs.get_task_protection(cluster="probes", tasks=[arn])["protectedTasks"]], [True])
    for bad in ("{}", "no JSON", '{"ProtectionEnabled": true, "ExpiresInMinutes": 100000}'):
        status, said = inside.fetch(f"PUT {bad} {state}")[0]
        equal(f"{bad}", (status, said["error"]["Code"]), (400, "InvalidParameterException"))
    equal("off", inside.fetch('PUT {"ProtectionEnabled": false} ' + state)[0][1]["protection"]["ProtectionEnabled"], False)


def scenario(host):
    with host.region("--speed", "10") as region:
        ec2, iam = region.clients("ec2", "iam")
        subnet, group, table, nat = network(ec2)
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

        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
        busy = tasks.ecs.run_task(cluster="probes", taskDefinition=definition, launchType="FARGATE", enableExecuteCommand=True,
                                  overrides={"containerOverrides": [{"name": "main", "environment": [{"name": "MARK", "value": "marked"}], "command": ["sh", "-c", FILES + "exec sleep 1000"]}]},
                                  networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}})["tasks"][0]["taskArn"]
        executed(region, tasks, busy)
        logs(host, region, tasks)
        protected(host, region, tasks, subnet, group, tasks.define(command=["sleep", "1000"]))
