"""`--internet host`: tasks reach the world outside through the host, masqueraded, if their routes lead there; nobody outside reaches
them or the host through them. The internet is a namespace of ours."""
import subprocess, sys
from host import Tasks, connect, equal, sh, wait
from scenarios.paths import Vpc

WORLD, WORLD_V6 = "203.0.113.1", "3fff::1"
SERVER = """
import socket
s = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    c, peer = s.accept()
    c.recv(65536)
    c.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + peer[0].removeprefix("::ffff:").encode())
    c.close()
"""


FORWARDING = "/proc/sys/net/ipv6/conf/all/forwarding"


def with_ipv6(vpc):
    """In the first private subnet, with an egress-only gateway beside its NAT gateway."""
    ec2, subnet = vpc.ec2, vpc.private[0]
    ec2.associate_vpc_cidr_block(VpcId=vpc.id, AmazonProvidedIpv6CidrBlock=True)
    block = wait("a block of IPv6", lambda: [a["Ipv6CidrBlock"] for a in ec2.describe_vpcs(VpcIds=[vpc.id])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"] if a["Ipv6CidrBlockState"]["State"] == "associated"])[0]
    ec2.associate_subnet_cidr_block(SubnetId=subnet, Ipv6CidrBlock=block.replace("::/56", "::/64"))
    gateway = ec2.create_egress_only_internet_gateway(VpcId=vpc.id)["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
    table = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=gateway)


def by_ipv6(tasks):
    """Only by a host that is a router of it already, and under the host's address."""
    fetch = f"echo | nc -w 2 {WORLD_V6} 80 | tail -n 1"
    before = open(FORWARDING).read()
    equal("IPv6 forwarding of the host, which nobody switched on", before, "0\n")
    equal("by a host that does not forward IPv6", tasks.run(fetch), (0, "nc: timed out"))
    open(FORWARDING, "w").write("1")
    try:
        equal("by one that does", tasks.run(fetch), (0, "3fff::2"))
    finally:
        open(FORWARDING, "w").write(before)


def scenario(host):
    sh("ip", "netns", "add", "world")
    sh("ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", "world")
    for where, address in (([], "203.0.113.2/24"), (["-n", "world"], f"{WORLD}/24")):
        sh("ip", *where, "addr", "add", address, "dev", "wan")
        sh("ip", *where, "link", "set", "wan", "up")
    for where, address in (([], "3fff::2/64"), (["-n", "world"], f"{WORLD_V6}/64")):
        sh("ip", *where, "addr", "add", address, "dev", "wan", "nodad")
    sh("ip", "route", "add", "default", "via", WORLD_V6)
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
            # It is RUNNING before its program listens.
            wait("the host reaches a public task", lambda: connect(public, 8080) == "ok")
            # Neither the world nor a task comes in by the host: what the host itself serves stays its own.
            seen = subprocess.run(["ip", "netns", "exec", "world", "ip", "route", "add", "198.18.0.0/16", "via", "203.0.113.2"]).returncode
            equal("route of the world", seen, 0)
            knock = f"import socket; socket.create_connection(('{public}', 8080), 1)"
            equal("the world to a public task", subprocess.run(["ip", "netns", "exec", "world", sys.executable, "-c", knock], stderr=subprocess.DEVNULL).returncode, 1)
            for own in ("203.0.113.2 4566", "198.18.255.254 4566"):
                equal(f"a task to the host at {own}", tasks.run(f"echo | nc -w 1 {own}")[0], 1)
            with_ipv6(vpc)
            by_ipv6(tasks)
        equal("ip_forward of the host", open("/proc/sys/net/ipv4/ip_forward").read(), forward)
    finally:
        server.terminate()
        server.wait()
        sh("ip", "netns", "del", "world", check=False)
