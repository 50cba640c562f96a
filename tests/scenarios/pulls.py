"""Images of registries on the internet: pulled over the task's own network, with the real docker-registry of Debian as the
registry, in a namespace that is the internet."""
import contextlib, os, subprocess, sys
from host import Tasks, busybox_layer, docker_archive, equal, sh, wait
from scenarios.paths import Vpc

WORLD, NAME = "203.0.113.1", "registry.example.com"

# Answers for the one name; everything else does not exist.
RESOLVER = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{WORLD}", 53))
print("listening", flush=True)
name = b"".join(bytes([len(p)]) + p for p in b"{NAME}".split(b".")) + b"\\0"
while True:
    q, peer = s.recvfrom(4096)
    end = q.index(b"\\0", 12) + 5
    known = q[12:end].lower() == name + b"\\0\\1\\0\\1"
    head = q[:2] + (b"\\x81\\x80" if q[12:end - 4].lower() == name else b"\\x81\\x83") + b"\\0\\1" + (b"\\0\\1" if known else b"\\0\\0") + b"\\0\\0\\0\\0"
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("{WORLD}") if known else b""
    s.sendto(head + q[12:end] + answer, peer)
"""

# Passes TCP on to the registry; the first three connections that bring more than 200 kB are cut there.
CUTTER = f"""
import socket, threading
s = socket.create_server(("{WORLD}", 8443))
print("listening", flush=True)
left = 3
def copy(a, b, count=None):
    global left
    done = 0
    try:
        while data := a.recv(16384):
            done += len(data)
            if count and done > count and left > 0:
                left -= 1
                print("cut", flush=True)
                break
            b.sendall(data)
    except OSError: pass
    for x in (a, b):
        try: x.shutdown(socket.SHUT_RDWR)
        except OSError: pass
while True:
    c, _ = s.accept()
    u = socket.create_connection(("{WORLD}", 443))
    threading.Thread(target=copy, args=(c, u), daemon=True).start()
    threading.Thread(target=copy, args=(u, c, 200_000), daemon=True).start()
"""


def certificate(folder, name, ca=None):
    """A key and a certificate for the name; signed by itself unless there is an authority."""
    key, cert = (os.path.join(folder, f"{name}.{end}") for end in ("key", "pem"))
    sign = ["-CA", ca[1], "-CAkey", ca[0]] if ca else []
    # An authority is one by OpenSSL's own defaults for self-signed certificates.
    kind = ["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"] if ca else []
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
       "-keyout", key, "-out", cert, *sign, *kind)
    return key, cert


@contextlib.contextmanager
def world(folder):
    """The internet: a registry, a resolver, and the host's belief in the registry's authority."""
    ca = certificate(folder, "authority")
    key, cert = certificate(folder, NAME, ca)
    trusted = os.path.join(folder, "trusted.pem")
    with open(trusted, "w") as out:
        out.write(open(ca[1]).read())
    resolv = os.path.join(folder, "resolv.conf")
    with open(resolv, "w") as out:
        out.write(f"nameserver {WORLD}\n")
    for source, target in ((trusted, "/etc/ssl/certs/ca-certificates.crt"), (resolv, "/etc/resolv.conf")):
        sh("mount", "--bind", source, target)
    sh("ip", "netns", "add", "world")
    sh("ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", "world")
    for where, address in (([], "203.0.113.2/24"), (["-n", "world"], f"{WORLD}/24")):
        sh("ip", *where, "addr", "add", address, "dev", "wan")
        sh("ip", *where, "link", "set", "wan", "up")
    sh("ip", "-n", "world", "link", "set", "lo", "up")
    config = os.path.join(folder, "registry.yml")
    with open(config, "w") as out:
        out.write(f"""version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "{WORLD}:443", tls: {{certificate: {cert}, key: {key}}}}}
""")
    # The same images behind a password: bcrypt of "s3cret".
    users, guarded = os.path.join(folder, "users"), os.path.join(folder, "guarded.yml")
    with open(users, "w") as out:
        out.write("shop:$2b$05$jHs/Hiw0h13ftjAYlvPECuE7TYCSYpGpL6E7l2cBs/pULw./hd3du\n")
    with open(guarded, "w") as out:
        out.write(open(config).read().replace(":443", ":5443") + f"auth: {{htpasswd: {{realm: shop, path: {users}}}}}\n")
    inside = ["ip", "netns", "exec", "world"]
    servers = [subprocess.Popen([*inside, "docker-registry", "serve", each], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in (config, guarded)]
    try:
        for text in (RESOLVER, CUTTER):
            server = subprocess.Popen([*inside, sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
            servers.append(server)
            server.stdout.readline()
        wait("the registry", lambda: subprocess.run([*inside, "curl", "-sk", f"https://{WORLD}/v2/"], stdout=subprocess.DEVNULL).returncode == 0)
        yield servers[-1]
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        sh("ip", "netns", "del", "world", check=False)
        for target in ("/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf"):
            sh("umount", target, check=False)


def push(host, name, text, *options):
    """An image that says a text, pushed by skopeo."""
    path = os.path.join(host.folder, "push.tar")
    # Random bytes, so that the layer stays large when packed.
    docker_archive(path, "push:1", [busybox_layer([("text", text.encode()), ("ballast", os.urandom(3_000_000))])], Cmd=["cat", "/text"])
    sh("ip", "netns", "exec", "world", "skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", *options,
       f"docker-archive:{path}", f"docker://{WORLD}/{name}")


def said(tasks, image, **container):
    """What a task of the image says; its reason if it did not start."""
    task = tasks.ended(tasks.start(None, tasks.define(image, **container)))
    if "exitCode" not in task["containers"][0]:
        return task["stoppedReason"]
    stream = "p/main/" + task["taskArn"].rsplit("/", 1)[1]
    events = tasks.logs.get_log_events(logGroupName="/probes", logStreamName=stream, startFromHead=True)["events"]
    return "\n".join(e["message"] for e in events)


def scenario(host):
    with world(host.folder) as cutter, host.region("--speed", "10", "--internet", "host") as region:
        push(host, "team/api:1", "one")
        vpc = Vpc(region, "10.0.0.0/16")
        tasks = Tasks(host, region, [vpc.private[0]], [vpc.group])
        equal("from a private subnet through NAT", said(tasks, f"{NAME}/team/api:1"), "one")
        push(host, "team/api:1", "two")
        equal("a tag that was moved", said(tasks, f"{NAME}/team/api:1"), "two")
        push(host, "team/zstd:1", "packed", "--dest-compress-format", "zstd", "--format", "oci")
        equal("layers packed with zstd", said(tasks, f"{NAME}/team/zstd:1"), "packed")
        push(host, "team/cut:1", "whole")
        equal("a download that broke off thrice", said(tasks, f"{NAME}:8443/team/cut:1"), "whole")
        equal("connections cut", [cutter.stdout.readline().strip() for _ in range(3)], ["cut"] * 3)
        behind = f"{NAME}:5443/team/api:1"
        denied = said(tasks, behind)
        assert "CannotPullContainerError" in denied and "pull access denied" in denied, denied
        secrets = region.client("secretsmanager")
        right = secrets.create_secret(Name="right", SecretString='{"username": "shop", "password": "s3cret"}')["ARN"]
        secrets.create_secret(Name="wrong", SecretString='{"username": "shop", "password": "guess"}')
        equal("with the registry's password", said(tasks, behind, repositoryCredentials={"credentialsParameter": right}), "two")
        wrong = said(tasks, behind, repositoryCredentials={"credentialsParameter": "wrong"})
        assert "pull access denied" in wrong and "guess" not in wrong, wrong
        none = said(tasks, behind, repositoryCredentials={"credentialsParameter": right.replace(":right", ":none")})
        assert none.startswith("ResourceInitializationError: unable to pull secrets or registry auth"), none
        missing = said(tasks, f"{NAME}/team/api:none")
        assert missing.startswith("CannotPullContainerError: ") and missing.endswith(f"{NAME}/team/api:none: not found"), missing
        unknown = said(tasks, "nowhere.example.com/api:1")
        assert "CannotPullContainerError" in unknown and "nowhere.example.com" in unknown and "no such host" in unknown, unknown
        strange = said(tasks, f"{WORLD}/team/api:1")
        assert "CannotPullContainerError" in strange and "certificate" in strange, strange
        # The subnet's own way carries the pull: without one there is none.
        vpc.ec2.delete_nat_gateway(NatGatewayId=vpc.ec2.describe_nat_gateways()["NatGateways"][0]["NatGatewayId"])
        cut_off = said(tasks, f"{NAME}/team/api:1")
        assert "CannotPullContainerError" in cut_off and "i/o timeout" in cut_off, cut_off
