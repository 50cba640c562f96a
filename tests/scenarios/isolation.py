"""What a task finds around it, what it may not do, and whom it can reach: security groups and routes decide on packets."""
from host import Tasks, equal, sh, way_out


def network(region):
    """Two VPCs with the same block; in the first a public and a private subnet, NAT and internet gateway."""
    ec2, = region.clients("ec2")
    make = {}
    for name in ("one", "two"):
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"] for n in range(2)]
        group = ec2.create_security_group(GroupName="probe", Description="probe", VpcId=vpc)["GroupId"]
        make[name] = (vpc, subnets, group)
    way_out(ec2, make["two"][0])
    vpc, (public, private), _ = make["one"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    eip = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=eip["AllocationId"])["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
    for subnet, target in ((public, {"GatewayId": gateway}), (private, {"NatGatewayId": nat})):
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    return make


def scenario(host):
    with host.region("--speed", "10") as region:
        made = network(region)
        ec2, = region.clients("ec2")
        vpc, subnets, group = made["one"]
        tasks = Tasks(host, region, subnets, [group], public=True)
        listener = tasks.start(["sh", "-c", "while true; do echo hello | nc -l -p 8080; done"])

        def address(arn):
            details = {d["name"]: d["value"] for d in tasks.describe(arn)["attachments"][0]["details"]}
            return details.get("privateIPv4Address")
        from host import wait
        wait("the listener runs", lambda: tasks.describe(listener)["lastStatus"] == "RUNNING")
        target = address(listener)

        # Around a task.
        code, text = tasks.run("hostname; cat /etc/resolv.conf /etc/hosts; ip addr show eth0; ip route; id -u; env")
        for expected in ("nameserver 10.0.0.2", "127.0.0.1", "mtu 9001", "default via 10.0.0.1", "AWS_REGION=us-east-1"):
            assert expected in text, (expected, text)

        # What it may not do: no new mounts, devices, kernel settings; other processes are not seen.
        for attempt in ("mount -t tmpfs none /tmp", "mknod /tmp/null c 1 3 && cat /tmp/null", "echo 1 > /proc/sys/kernel/sysrq", "ls /proc/1/root/var/lib/fogbank",
                        "echo x > /proc/sysrq-trigger", "ip link set eth0 down", "ip addr add 10.0.0.99/24 dev eth0"):
            code, text = tasks.run(attempt)
            assert code != 0, (attempt, code, text)
        code, text = tasks.run("ps | head -20; test $(ps | grep -v -c -e PID -e ps) -le 4")
        equal(f"processes seen: {text}", code, 0)

        # Security groups decide, and members of a group are known by their addresses.
        knock = f"echo | nc -w 1 {target} 8080"
        equal("without a rule", tasks.run(knock)[0], 1)
        rule = [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": group}]}]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
        equal("with a rule for the group itself", tasks.run(knock)[0], 0)
        equal("from the other subnet", tasks.run(knock, subnet=1)[0], 0)
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        ec2.revoke_security_group_egress(GroupId=group, IpPermissions=everything)
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        equal("without egress, but to the registry", tasks.run(knock)[0], 1)
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everything)
        equal("ping without a rule", tasks.run(f"/bin/ping -c 1 -W 1 {target}")[0], 1)
        ping = [{"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "UserIdGroupPairs": [{"GroupId": group}]}]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=ping)
        equal("ping with a rule", tasks.run(f"/bin/ping -c 1 -W 1 {target}")[0], 0)

        # The other VPC has the same addresses and is another world.
        other = Tasks.__new__(Tasks)
        other.__dict__.update(tasks.__dict__)
        other.subnets, other.groups = made["two"][1], [made["two"][2]]
        equal("from the other VPC", other.run(knock)[0], 1)

        # Nobody reaches the host or the world outside; the resolver and only the resolver answers.
        for outside in ("192.0.2.2 80", "127.0.0.1 4566", "8.8.8.8 53"):
            for subnet in (0, 1):
                equal(f"{outside} from subnet {subnet}", tasks.run(f"echo | nc -w 1 {outside}", subnet=subnet)[0], 1)
        links = [line.split()[1] for line in sh("ip", "-o", "-4", "addr").splitlines()]
        for each in sh("ip", "-o", "-4", "addr").splitlines():
            ip = each.split()[3].partition("/")[0]
            if not ip.startswith("127."):
                code, text = tasks.run(f"echo | nc -w 1 {ip} 4566", subnet=1)
                equal(f"the host's own address {ip} ({links})", code, 1)
        equal("another VPC's names", tasks.run("nslookup nothing.example.test 10.0.0.2")[0], 1)
        tasks.ecs.stop_task(cluster="probes", task=listener)
        stopped = tasks.ended(listener)
        equal("stop code", stopped["stopCode"], "UserInitiated")
        equal("interfaces of tasks", [i["Description"] for i in ec2.describe_network_interfaces()["NetworkInterfaces"] if "attachment" in i["Description"]], [])
