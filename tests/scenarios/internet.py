"""`--internet host`: tasks reach the world outside through the host, masqueraded, if their routes lead there; nobody outside reaches
them or the host through them. The internet is a namespace of ours."""
import subprocess, sys
from host import Tasks, connect, equal, sh
from scenarios.paths import Vpc

WORLD = "203.0.113.1"
SERVER = f"""
import socket
s = socket.create_server(("{WORLD}", 80))
print("listening", flush=True)
while True:
    c, peer = s.accept()
    c.recv(65536)
    c.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + peer[0].encode())
    c.close()
"""


def scenario(host):
    sh("ip", "netns", "add", "world")
    sh("ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", "world")
    for where, address in (([], "203.0.113.2/24"), (["-n", "world"], f"{WORLD}/24")):
        sh("ip", *where, "addr", "add", address, "dev", "wan")
        sh("ip", *where, "link", "set", "wan", "up")
    server = subprocess.Popen(["ip", "netns", "exec", "world", sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        forward = open("/proc/sys/net/ipv4/ip_forward").read()
        with host.region("--speed", "10", "--internet", "host") as region:
            vpc = Vpc(region, "10.0.0.0/16")
            tasks = Tasks(host, region, [vpc.private[0], vpc.public[0]], [vpc.group])
            fetch = f"wget -q -O - http://{WORLD}/"
            equal("from a private subnet through NAT", tasks.run(fetch), (0, "203.0.113.2"))
            lost = tasks.ended(tasks.start(["true"], subnet=1))["stoppedReason"]
            assert "CannotPullContainerError" in lost and "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS" in lost, f"from a public subnet without a public address: {lost}"
            ip, public = vpc.run(tasks.define(), vpc.public[:1], "ENABLED")
            equal("the host reaches a public task", connect(public, 8080), "ok")
            # Neither the world nor a task comes in by the host: what the host itself serves stays its own.
            seen = subprocess.run(["ip", "netns", "exec", "world", "ip", "route", "add", "198.18.0.0/16", "via", "203.0.113.2"]).returncode
            equal("route of the world", seen, 0)
            knock = f"import socket; socket.create_connection(('{public}', 8080), 1)"
            equal("the world to a public task", subprocess.run(["ip", "netns", "exec", "world", sys.executable, "-c", knock], stderr=subprocess.DEVNULL).returncode, 1)
            for own in ("203.0.113.2 4566", "198.18.255.254 4566"):
                equal(f"a task to the host at {own}", tasks.run(f"echo | nc -w 1 {own}")[0], 1)
        equal("ip_forward of the host", open("/proc/sys/net/ipv4/ip_forward").read(), forward)
    finally:
        server.terminate()
        server.wait()
        sh("ip", "netns", "del", "world", check=False)
