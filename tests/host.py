#!/usr/bin/env python3
"""A host for one scenario: a network and mount namespace of its own, and regions on it.

Started by run.py under unshare. Prepares the namespace (loopback up, /run empty), loads the scenario and calls its
`scenario(host)`. When that returns, everything of fogbank must be gone from the kernel; what is left is an error. Ends
only the processes that it started.
"""
import argparse, contextlib, gzip, hashlib, importlib.util, io, json, os, pathlib, re, shutil, signal, socket, struct, subprocess, sys, tarfile, tempfile, threading, time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICES = "sts ec2 elbv2 ecs ecr route53 iam logs".split()


def sh(*command, check=True):
    return subprocess.run(command, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def wait(what, probe, seconds=20):
    """Polls until the probe gives something true; gives that."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def equal(what, found, expected):
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def command_line(pid):
    """A process's words, [b""] for one in a container: the memory of a fork bomb's process may not be readable for minutes."""
    if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid"):
        return [b""]
    return open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")


def error_code(call, **arguments):
    """The AWS error code that the call is refused with, or None."""
    try:
        call(**arguments)
    except ClientError as e:
        return e.response["Error"]["Code"]


def connect(ip, port=80, timeout=2):
    """'ok', 'refused' or 'timeout': what becomes of a TCP connection."""
    try:
        socket.create_connection((ip, port), timeout).close()
        return "ok"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "timeout"


def http_get(ip, path="/", host="x", port=80, timeout=5):
    """(status, body); status 0 when no answer came."""
    try:
        with socket.create_connection((ip, port), timeout) as s:
            s.settimeout(timeout)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode(errors="replace").strip()
    except (OSError, IndexError, ValueError) as e:
        return 0, type(e).__name__


def root_key(lines):
    """The key that a region with --auth enforce shows at its first start, and `fogbank root-key`: (id, secret); {} if there is none."""
    found = dict(re.findall(r"export (AWS_\w+)=(\S+)", "\n".join(lines)))
    return found and (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])


class Region:
    """`fogbank up` and clients for it."""

    def __init__(self, host, options=(), instance=None, data=None, environment=None):
        self.host, self.instance = host, instance or host.instance
        self.command = [host.fogbank, "up", "--instance", self.instance]
        self.command += ["--data", data] if data else ["--ephemeral"]
        self.command += list(options)
        self.environment = environment
        self.endpoint, self.dns = "http://127.0.0.1:4566", ("127.0.0.1", 4553)
        self.process = None

    def start(self):
        started = time.monotonic()
        self.log = open(os.path.join(self.host.folder, f"{self.instance}.log"), "ab")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, "FOGBANK_LOG": "info", **(self.environment or {})})
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("ready"):
                self.ready_ms = (time.monotonic() - started) * 1000
                # Nobody reads on; a full pipe must not stop it.
                threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True).start()
                return self
        raise AssertionError(f"no region: exit {self.process.wait()}\n" + "\n".join(self.lines) + "\n" + self.logs())

    def logs(self, lines=60):
        with open(os.path.join(self.host.folder, f"{self.instance}.log"), errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def stop(self, how=signal.SIGTERM, seconds=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(seconds)
        return self.process.returncode if self.process else None

    def client(self, service, region="us-east-1", key="test"):
        return boto3.Session(key, "secret", region_name=region).client(
            service, endpoint_url=self.endpoint, config=Config(retries={"max_attempts": 0, "total_max_attempts": 1}, read_timeout=120))

    def clients(self, *services):
        return [self.client(service) for service in services or SERVICES]

    def cli(self, *arguments, check=True):
        return sh(self.host.fogbank, *arguments, "--instance", self.instance, check=check)

    def status(self):
        return json.loads(self.cli("status", "--json"))

    def pid(self, name):
        return int(pathlib.Path(f"/run/fogbank/{self.instance}/{name}.pid").read_text().split()[0])

    def resolve(self, name, kind=1):
        """(rcode, [addresses or raw data]) of one UDP query."""
        query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
        query += b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".")) + b"\0" + struct.pack(">HH", kind, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.sendto(query, self.dns)
            try:
                reply = s.recv(4096)
            except socket.timeout:
                return None, []
        answers, at = [], len(query)
        for _ in range(struct.unpack(">H", reply[6:8])[0]):
            while reply[at] and reply[at] < 0xC0:
                at += reply[at] + 1
            at += 1 if reply[at] == 0 else 2
            found, _, _, length = struct.unpack(">HHIH", reply[at:at + 10])
            if found == kind:
                data = reply[at + 10:at + 10 + length]
                answers.append(socket.inet_ntoa(data) if kind == 1 else data)
            at += 10 + length
        return reply[3] & 15, answers


def layer(entries):
    """A tar layer of (name, content | None for a folder | ('symlink' | 'link' | 'device', target))."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, tuple):
                kind, target = content
                info.type = {"symlink": tarfile.SYMTYPE, "link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}[kind]
                if kind == "device":
                    info.devmajor, info.devminor, info.mode = 1, 1, 0o666
                else:
                    info.linkname = target
            else:
                info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def program(name):
    """A program of this machine with the libraries that it is linked with, as entries of a layer."""
    path = shutil.which(name)
    libraries = [word for word in sh("ldd", path).split() if word.startswith("/")]
    return [(f"bin/{name}", open(path, "rb").read()), *((library.lstrip("/"), open(library, "rb").read()) for library in libraries)]


def busybox_layer(extra=()):
    # Busybox's own ping wants a raw socket, which no task has (decision 21); /bin/ping is iputils', which does not.
    applets = "sh cat echo env head hostname id ip ls mkdir mknod mount nc nslookup ps sleep stat test touch true wget".split()
    return layer([("bin/busybox", open(os.path.realpath("/bin/busybox"), "rb").read()), *((f"bin/{a}", ("symlink", "busybox")) for a in applets),
                  *program("ping"), ("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n"), ("tmp", None), *extra])


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image_config(layers, **config):
    return json.dumps({"architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine), "os": "linux",
                       "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config},
                       "rootfs": {"type": "layers", "diff_ids": [digest(l) for l in layers]}}).encode()


def docker_archive(path, name, layers, **config):
    """What `docker save` writes."""
    text = image_config(layers, **config)
    files = [(f"{n}/layer.tar", l) for n, l in enumerate(layers)] + [("config.json", text)]
    files.append(("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": [n for n, _ in files[:-1]]}]).encode()))
    with open(path, "wb") as out:
        out.write(layer(files))


def oci_archive(path, name, layers, **config):
    """An OCI image layout in a tar."""
    text = image_config(layers, **config)
    packed = [gzip.compress(l, mtime=0) for l in layers]
    blob = lambda data, kind: {"mediaType": kind, "digest": digest(data), "size": len(data)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": blob(text, "application/vnd.oci.image.config.v1+json"),
                           "layers": [blob(p, "application/vnd.oci.image.layer.v1.tar+gzip") for p in packed]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [{**blob(manifest, "application/vnd.oci.image.manifest.v1+json"),
                                                           "annotations": {"org.opencontainers.image.ref.name": name}}]}).encode()
    files = [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), ("index.json", index)]
    files += [("blobs/sha256/" + digest(d)[7:], d) for d in (text, manifest, *packed)]
    with open(path, "wb") as out:
        out.write(layer(files))


def way_out(ec2, vpc):
    """Internet gateway and default route for a whole VPC: without one no task gets its image."""
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}])["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)


class Tasks:
    """Tasks that run one command and end: probes into a VPC from inside."""

    def __init__(self, host, region, subnets, groups, public=False):
        self.host, self.region, self.subnets, self.groups, self.public = host, region, subnets, groups, public
        self.ecs, self.logs = region.clients("ecs", "logs")
        self.ecs.create_cluster(clusterName="probes")
        self.logs.create_log_group(logGroupName="/probes")
        path = os.path.join(host.folder, "probe.tar")
        docker_archive(path, "probe:1", [busybox_layer()])
        region.cli("image", "load", path)

    def define(self, image="000000000000.dkr.ecr.us-east-1.amazonaws.com/probe:1", **container):
        return self.ecs.register_task_definition(
            family="probe", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
            executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=[{
                "name": "main", "image": image, "essential": True, "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "/probes", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}, **container}],
        )["taskDefinition"]["taskDefinitionArn"]

    def start(self, command, definition=None, subnet=0, groups=None):
        answer = self.ecs.run_task(
            cluster="probes", taskDefinition=definition or self.define(), launchType="FARGATE",
            overrides={"containerOverrides": [{"name": "main", "command": command}]} if command else {},
            networkConfiguration={"awsvpcConfiguration": {"subnets": [self.subnets[subnet]], "securityGroups": groups or self.groups,
                                                          "assignPublicIp": "ENABLED" if self.public else "DISABLED"}})
        assert not answer["failures"], answer["failures"]
        return answer["tasks"][0]["taskArn"]

    def describe(self, arn):
        return self.ecs.describe_tasks(cluster="probes", tasks=[arn])["tasks"][0]

    def ended(self, arn, seconds=40):
        return wait("the probe ends", lambda: (t := self.describe(arn))["lastStatus"] == "STOPPED" and t, seconds)

    def run(self, *command, **where):
        """(exit code, output) of a shell command inside the VPC."""
        task = self.ended(self.start(["sh", "-c", " ".join(command)], **where))
        stream = "p/main/" + task["taskArn"].rsplit("/", 1)[1]
        events = self.logs.get_log_events(logGroupName="/probes", logStreamName=stream, startFromHead=True)["events"]
        return task["containers"][0].get("exitCode"), "\n".join(e["message"] for e in events)


class Load:
    """Requests through the load balancer, one after the other and a connection each, until the block ends. Not one may
    fail."""

    def __init__(self, addresses, path="/health", host="api.shop.test"):
        self.addresses, self.path, self.host = addresses, path, host
        self.answers, self.failures, self.ending = 0, [], False

    def work(self):
        number = 0
        while not self.ending:
            started = time.monotonic()
            status, body = http_get(self.addresses[number % len(self.addresses)], self.path, self.host)
            number += 1
            if status == 200:
                self.answers += 1
            else:
                self.failures.append((status, body, round(time.monotonic() - started, 3), f"at {time.time():.2f}"))

    def __enter__(self):
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(4)]
        [t.start() for t in self.threads]
        return self

    def __exit__(self, *_):
        self.ending = True
        [t.join(10) for t in self.threads]
        assert not self.failures, f"{len(self.failures)} of {self.answers + len(self.failures)} requests failed: {self.failures[:5]}"
        assert self.answers > 0, "no request was made"

    def more(self, count=50):
        """Waits until so many more requests were answered."""
        goal = self.answers + count
        wait(f"{count} more answers", lambda: self.answers >= goal or self.failures)


class Host:
    """What a scenario gets."""

    def __init__(self, fogbank, instance, api):
        self.fogbank, self.instance, self.api = fogbank, instance, api
        self.folder = tempfile.mkdtemp(prefix="fogbank-test-")
        self.regions = []

    @contextlib.contextmanager
    def region(self, *options, **settings):
        """A region that is down and leaves nothing in the kernel when the block ends."""
        before = self.kernel()
        region = Region(self, options, **settings)
        self.regions.append(region)
        try:
            yield region.start()
        except BaseException:
            print("--- the region's log\n" + region.logs())
            raise
        finally:
            started = time.monotonic()
            code = region.stop()
            took = time.monotonic() - started
        equal("exit code of fogbank up", code, 0)
        # Each process gets ten seconds before it is killed: nobody should need them.
        assert took < 8, f"the region took {took:.1f} s to go down"
        self.same_kernel(before)

    def kernel(self):
        """What fogbank could leave behind on this host."""
        cgroups = [line for line in sh("find", "/sys/fs/cgroup", "-type", "d", "-path", f"*fogbank/{self.instance}*", check=False).splitlines() if line.startswith("/")]
        mounts = [line.split()[1] for line in open("/proc/self/mounts")]
        processes = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    words = command_line(entry)
                    if b"fogbank" in words[0] and any(self.instance.encode() in w or self.folder.encode() in w for w in words[1:]):
                        processes.append(b" ".join(words).decode(errors="replace"))
        # The kernel gives every device of the host an IPv6 address of its own a moment after it is up.
        routes = [line for line in sh("ip", "route", "show", "table", "all").splitlines() if "fe80:" not in line and "ff00:" not in line]
        return {"namespaces": sh("ip", "netns", "list"), "links": sorted(l["ifname"] for l in json.loads(sh("ip", "-j", "link"))),
                "routes": routes, "rules": sh("ip", "rule"), "nftables": sh("nft", "list", "ruleset"),
                "mounts": sorted(mounts), "cgroups": cgroups, "processes": sorted(processes), "run": sorted(os.listdir("/run"))}

    def same_kernel(self, before):
        # A namespace that was given up dies a moment later, with its links.
        deadline = time.monotonic() + 5
        while (after := self.kernel()) != before and time.monotonic() < deadline:
            time.sleep(0.02)
        for what, found in after.items():
            if what == "run":
                found, before[what] = [n for n in found if n not in ("netns", "fogbank")], [n for n in before[what] if n not in ("netns", "fogbank")]
            equal(f"left in the kernel: {what}", found, before[what])

    def shop(self, region, count=2):
        """Deploys the example API (examples/api/deploy.py) and waits until it serves; gives the deployment."""
        sys.path.insert(0, str(ROOT / "examples/api"))
        import deploy
        shop = deploy.Shop(region.endpoint, "us-east-1")
        shop.network()
        shop.groups()
        shop.image(self.api)
        shop.balancer()
        shop.service(count)
        shop.name()
        shop.wait(count, 30)
        shop.addresses = wait("the alias record answers", lambda: (a := region.resolve("api.shop.test")[1]) and len(a) == 2 and a)
        return shop

    def pids(self, program):
        """Processes with this program's name, as it stands in their command line."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if not self.ours(entry):
                        continue
                    words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
                    if words[0].decode(errors="replace").endswith(program):
                        found[int(entry)] = words
        return set(found)

    def subcommands(self, name):
        """Processes of this host's regions by their subcommand: control, node, dns, alb, shim."""
        found = set()
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    words = command_line(entry)
                    if b"fogbank" in words[0] and words[1] == name.encode() and any(f"/{self.instance}/".encode() in w or self.folder.encode() in w for w in words[2:]):
                        found.add(int(entry))
        return found

    def ours(self, pid):
        """Whether a process lives in a cgroup of this host's region: other scenarios run at the same time."""
        with contextlib.suppress(OSError):
            return f"fogbank/{self.instance}/" in open(f"/proc/{pid}/cgroup").read()
        return False

    def architecture(self, region, *arguments):
        """Runs the acceptance program; gives its output. None where it is not on this machine."""
        program = ROOT.parent / "shared/acceptance/architecture.py"
        if not program.exists():
            print(f"note: {program} is not on this machine; the scenario goes without it")
            return None
        done = subprocess.run([sys.executable, str(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0 and ", 0 failed" in done.stdout, done.stdout
        return done.stdout


def prepare():
    """Makes a fresh network and mount namespace usable."""
    sh("ip", "link", "set", "lo", "up")
    sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.mkdir("/run/netns")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--instance", required=True)
    arguments.add_argument("--api", required=True, help="the static orders-api program")
    arguments.add_argument("scenario")
    args = arguments.parse_args()
    prepare()
    sys.modules["host"] = sys.modules["__main__"]
    spec = importlib.util.spec_from_file_location("scenario", args.scenario)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    spec.loader.exec_module(module)
    host = Host(args.fogbank, args.instance, args.api)
    try:
        module.scenario(host)
    finally:
        for region in host.regions:
            if region.stop() is None:
                continue
        shutil.rmtree(host.folder, ignore_errors=True)
    print("ok")


if __name__ == "__main__":
    main()
