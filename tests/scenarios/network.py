"""Every way a packet may take in VPCs: both families, secondary blocks, peering, prefix lists, egress-only gateways, and
what cuts a connection that stands."""
import contextlib, socket
from host import Tasks, connect, equal, error_code, wait

ECHO = "busybox nc -ll -p 7000 -e cat & exec busybox httpd -f -p 8080 -h /tmp"


class Echo:
    """A connection that stays open: says whether it still carries bytes."""

    def __init__(self, address, port=7000):
        self.socket = socket.create_connection((address, port), 3)
        self.socket.settimeout(1)
        assert self.alive(), f"no echo from {address}"

    def alive(self):
        try:
            self.socket.sendall(b"x")
            return self.socket.recv(1) == b"x"
        except OSError:
            return False


class Network:
    """VPCs and tasks of one scenario."""

    def __init__(self, host, region):
        self.host, self.region = host, region
        self.ec2, self.ecs = region.clients("ec2", "ecs")

    def vpc(self, block, six=True):
        vpc = self.ec2.create_vpc(CidrBlock=block, AmazonProvidedIpv6CidrBlock=six)["Vpc"]
        self.ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": True})
        if six:
            vpc = self.ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]
            self.six = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
        return vpc["VpcId"]

    def subnet(self, vpc, block, six=None, zone="us-east-1a"):
        extra = {"Ipv6CidrBlock": six} if six else {}
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone, **extra)["Subnet"]["SubnetId"]
        if six:
            self.ec2.modify_subnet_attribute(SubnetId=subnet, AssignIpv6AddressOnCreation={"Value": True})
        return subnet

    def table(self, vpc, subnets, *routes):
        table = self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        for route in routes:
            self.ec2.create_route(RouteTableId=table, **route)
        for subnet in subnets:
            self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        return table

    def group(self, vpc, name):
        return self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]

    def server(self, subnet, group, public="DISABLED"):
        """An HTTP server on 8080 and an echo on 7000: its interface."""
        task = self.ecs.run_task(
            cluster="probes", taskDefinition=self.tasks.define(), launchType="FARGATE",
            overrides={"containerOverrides": [{"name": "main", "command": ["sh", "-c", ECHO]}]},
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": public}})["tasks"][0]
        running = wait("the server runs", lambda: (t := self.tasks.describe(task["taskArn"]))["lastStatus"] in ("RUNNING", "STOPPED") and t)
        equal("status of the server", (running["lastStatus"], running.get("stoppedReason")), ("RUNNING", None))
        details = {d["name"]: d["value"] for d in running["attachments"][0]["details"]}
        eni = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"][0]
        eni["six"] = next((a["Ipv6Address"] for a in eni["Ipv6Addresses"]), None)
        eni["public"] = eni.get("Association", {}).get("PublicIp")
        return eni

    def reaches(self, address, subnet, group, port=8080):
        """Whether a task of that subnet and group gets a connection."""
        host = f"[{address}]" if ":" in address else address
        self.tasks.subnets = [subnet]
        code, _ = self.tasks.run(f"busybox wget -T 2 -q -O /dev/null http://{host}:{port}/; r=$?; [ $r = 0 ] || busybox nc -w 2 {address} {port} </dev/null", groups=[group])
        return code == 0


def permission(port, **peers):
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peers}


def scenario(host):
    with host.region("--speed", "10", "--quota", "vpcs=10") as region:
        n = Network(host, region)
        n.tasks = Tasks(host, region, [], [])
        ec2 = n.ec2
        main = n.vpc("10.1.0.0/16")
        block = lambda i: n.six.replace("00::/56", f"{i:02x}::/64")
        public, private = n.subnet(main, "10.1.0.0/24", block(0)), n.subnet(main, "10.1.1.0/24", block(1), "us-east-1b")
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=main)
        outward = ec2.create_egress_only_internet_gateway(VpcId=main)["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
        address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
        n.table(main, [public], dict(DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway), dict(DestinationIpv6CidrBlock="::/0", GatewayId=gateway))
        inner = n.table(main, [private], dict(DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat),
                        dict(DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=outward))
        open_group, client = n.group(main, "open"), n.group(main, "client")
        ec2.authorize_security_group_ingress(GroupId=open_group, IpPermissions=[
            permission(p, IpRanges=[{"CidrIp": "0.0.0.0/0"}], Ipv6Ranges=[{"CidrIpv6": "::/0"}]) for p in (7000, 8080)])

        # IPv6: through the internet gateway both ways, through the egress-only one only outwards.
        front, back = n.server(public, open_group, "ENABLED"), n.server(private, open_group)
        assert front["six"] and back["six"], (front["six"], back["six"])
        # A task is RUNNING before its program listens.
        wait("from outside to the public subnet, IPv4", lambda: connect(front["public"], 8080) == "ok")
        equal("from outside to the public subnet, IPv6", connect(front["six"], 8080), "ok")
        equal("from outside through the egress-only gateway", connect(back["six"], 8080), "timeout")
        equal("inside, IPv6", n.reaches(front["six"], private, client), True)
        equal("inside, IPv4", n.reaches(front["PrivateIpAddress"], private, client), True)
        ec2.revoke_security_group_ingress(GroupId=open_group, IpPermissions=[permission(8080, Ipv6Ranges=[{"CidrIpv6": "::/0"}])])
        equal("the IPv6 rule alone is gone", (connect(front["six"], 8080), connect(front["public"], 8080)), ("timeout", "ok"))

        # What stands when its rule goes (facts SG-11, ACL-7): a rule for everyone is not tracked, a narrow one is.
        everyone = Echo(front["public"])
        ec2.revoke_security_group_ingress(GroupId=open_group, IpPermissions=[permission(7000, IpRanges=[{"CidrIp": "0.0.0.0/0"}])])
        wait("a connection by a rule for everyone is cut without it", lambda: not everyone.alive(), 3)
        ec2.authorize_security_group_ingress(GroupId=open_group, IpPermissions=[permission(7000, IpRanges=[{"CidrIp": "198.18.0.0/16"}])])
        narrow = Echo(front["public"])
        ec2.revoke_security_group_ingress(GroupId=open_group, IpPermissions=[permission(7000, IpRanges=[{"CidrIp": "198.18.0.0/16"}])])
        equal("a tracked connection without its rule", narrow.alive(), True)
        equal("a new one", connect(front["public"], 7000), "timeout")
        acl = next(a for a in ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [main]}])["NetworkAcls"] if a["IsDefault"])["NetworkAclId"]
        deny = dict(NetworkAclId=acl, RuleNumber=50, Egress=False)
        ec2.create_network_acl_entry(**deny, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0", PortRange={"From": 7000, "To": 7000})
        equal("a tracked connection against a network ACL", narrow.alive(), False)
        ec2.delete_network_acl_entry(**deny)

        # A prefix list in a rule: its entries count, as they are now.
        entry = lambda cidr: [{"Cidr": cidr}]
        made = ec2.create_managed_prefix_list(PrefixListName="clients", AddressFamily="IPv4", MaxEntries=5, Entries=entry("192.0.2.0/24"))["PrefixList"]
        listed = n.group(main, "listed")
        ec2.authorize_security_group_ingress(GroupId=listed, IpPermissions=[permission(8080, PrefixListIds=[{"PrefixListId": made["PrefixListId"]}])])
        guarded = n.server(public, listed, "ENABLED")
        equal("not on the list", connect(guarded["public"], 8080), "timeout")
        ec2.modify_managed_prefix_list(PrefixListId=made["PrefixListId"], CurrentVersion=made["Version"], AddEntries=entry("198.18.0.0/16"))
        equal("on the list", connect(guarded["public"], 8080), "ok")

        # A secondary block is as local as the first.
        ec2.associate_vpc_cidr_block(VpcId=main, CidrBlock="100.64.0.0/16")
        secondary = n.subnet(main, "100.64.1.0/24", zone="us-east-1c")
        n.table(main, [secondary], dict(DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat))
        equal("from the secondary block", n.reaches(back["PrivateIpAddress"], secondary, client), True)

        # Peering: with routes on both sides, by group, not across.
        other, third = n.vpc("10.2.0.0/16"), n.vpc("10.3.0.0/16", False)
        beside = n.subnet(other, "10.2.0.0/24")
        beyond = n.subnet(third, "10.3.0.0/24")
        peered = n.group(other, "peered")

        def peer(a, b):
            made = ec2.create_vpc_peering_connection(VpcId=a, PeerVpcId=b)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
            ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=made)
            return made
        link, far = peer(main, other), peer(other, third)
        equal("overlapping blocks", ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[
            ec2.create_vpc_peering_connection(VpcId=main, PeerVpcId=n.vpc("10.1.128.0/17", False))["VpcPeeringConnection"]["VpcPeeringConnectionId"]])
            ["VpcPeeringConnections"][0]["Status"]["Code"], "failed")
        ec2.authorize_security_group_ingress(GroupId=peered, IpPermissions=[permission(8080, UserIdGroupPairs=[{"GroupId": client}])])
        # Images must come from somewhere: the other VPCs have a way out of their own.
        for vpc, subnet in ((other, beside), (third, beyond)):
            out = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
            ec2.attach_internet_gateway(InternetGatewayId=out, VpcId=vpc)
        tables = {}
        for vpc, subnet in ((other, beside), (third, beyond)):
            out = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"][0]["InternetGatewayId"]
            tables[vpc] = n.table(vpc, [subnet], dict(DestinationCidrBlock="0.0.0.0/0", GatewayId=out))
        target = n.server(beside, peered, "ENABLED")
        equal("without routes", n.reaches(target["PrivateIpAddress"], private, client), False)
        ec2.create_route(RouteTableId=inner, DestinationCidrBlock="10.2.0.0/16", VpcPeeringConnectionId=link)
        equal("with a route there and none back", n.reaches(target["PrivateIpAddress"], private, client), False)
        ec2.create_route(RouteTableId=tables[other], DestinationCidrBlock="10.1.0.0/16", VpcPeeringConnectionId=link)
        equal("with routes both ways, by the group", n.reaches(target["PrivateIpAddress"], private, client), True)
        equal("another group", n.reaches(target["PrivateIpAddress"], private, open_group), False)
        # Through the middle VPC: no transit, whatever the routes say (fact PEER-1).
        ec2.create_route(RouteTableId=inner, DestinationCidrBlock="10.3.0.0/16", VpcPeeringConnectionId=link)
        ec2.create_route(RouteTableId=tables[other], DestinationCidrBlock="10.3.0.0/16", VpcPeeringConnectionId=far)
        ec2.create_route(RouteTableId=tables[third], DestinationCidrBlock="10.1.0.0/16", VpcPeeringConnectionId=far)
        all_in = n.group(third, "all")
        ec2.authorize_security_group_ingress(GroupId=all_in, IpPermissions=[permission(8080, IpRanges=[{"CidrIp": "0.0.0.0/0"}])])
        remote = n.server(beyond, all_in, "ENABLED")
        equal("transit", n.reaches(remote["PrivateIpAddress"], private, client), False)
        ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=link)
        state = {r.get("DestinationCidrBlock"): r["State"] for r in ec2.describe_route_tables(RouteTableIds=[inner])["RouteTables"][0]["Routes"]}
        equal("the route of a deleted peering connection", state["10.2.0.0/16"], "blackhole")
        equal("after it", n.reaches(target["PrivateIpAddress"], private, client), False)

        # Without a way to the registry a task does not start, as on AWS.
        closed = n.vpc("10.9.0.0/16", False)
        lonely = n.subnet(closed, "10.9.0.0/24")
        n.tasks.subnets = [lonely]
        task = n.tasks.ended(n.tasks.start(["true"], groups=[n.group(closed, "closed")]))
        assert "CannotPullContainerError" in task["stoppedReason"], task["stoppedReason"]
        equal("stop code", task["stopCode"], "TaskFailedToStart")
