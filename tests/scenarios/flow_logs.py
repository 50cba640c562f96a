"""VPC flow logs: what tasks send and get is in CloudWatch Logs, accepted and rejected, in AWS's words; in the default and in a
custom format, of a VPC and of one subnet; through a NAT gateway; a killed node goes on; and a flow log that goes leaves what
it had told."""
import json, os, signal, time
from host import Tasks, connect, equal, error_code, wait

SERVER = "mkdir -p /tmp/www; echo hello > /tmp/www/index.html; exec busybox httpd -f -p 8080 -h /tmp/www"
ROLE = "arn:aws:iam::000000000000:role/flow-logs"
CUSTOM = "interface-id flow-direction action pkt-srcaddr pkt-dstaddr srcport dstport tcp-flags traffic-path az-id ecs-task-id version log-status subnet-id"


class Network:
    """A VPC with two public subnets; tasks in them have public addresses."""

    def __init__(self, host, region):
        self.ec2, self.ecs, self.logs, iam = region.clients("ec2", "ecs", "logs", "iam")
        iam.create_role(RoleName="flow-logs", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
        ec2 = self.ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone="us-east-1" + "ab"[n])["Subnet"]["SubnetId"] for n in range(2)]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"][0]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.clients = ec2.create_security_group(GroupName="clients", Description="clients", VpcId=self.vpc)["GroupId"]
        self.servers = ec2.create_security_group(GroupName="servers", Description="servers", VpcId=self.vpc)["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=self.servers, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        self.definition = Tasks(host, region, self.subnets, [self.clients]).define()

    def add_private_subnet(self):
        """A third subnet, whose way out is a NAT gateway: (its id, the gateway's interface and addresses)."""
        ec2 = self.ec2
        nat = ec2.create_nat_gateway(SubnetId=self.subnets[0], AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
        subnet = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.9.10.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        self.subnets.append(subnet)
        return ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["NatGatewayAddresses"][0]

    def start(self, command, subnet, group):
        """(task id, eni id, private address, public address) once it runs."""
        task = self.ecs.run_task(cluster="probes", taskDefinition=self.definition, launchType="FARGATE",
                                 overrides={"containerOverrides": [{"name": "main", "command": ["sh", "-c", command]}]},
                                 networkConfiguration={"awsvpcConfiguration": {"subnets": [self.subnets[subnet]], "securityGroups": [group], "assignPublicIp": "ENABLED"}})["tasks"][0]
        found = wait("the task runs", lambda: (t := self.ecs.describe_tasks(cluster="probes", tasks=[task["taskArn"]])["tasks"][0])["lastStatus"] in ("RUNNING", "STOPPED") and t)
        assert "stoppedReason" not in found or found["lastStatus"] == "STOPPED" and found["containers"][0].get("exitCode") is not None, found
        details = {d["name"]: d["value"] for d in found["attachments"][0]["details"]}
        eni = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"]
        public = eni[0].get("Association", {}).get("PublicIp") if eni else None
        return task["taskArn"].rsplit("/", 1)[1], details["networkInterfaceId"], details["privateIPv4Address"], public

    def run(self, command, subnet=0):
        """Runs it until its end: (eni id, private address)."""
        _, eni, address, _ = self.start(command, subnet, self.clients)
        wait("the command ends", lambda: not self.ec2.describe_network_interfaces(Filters=[{"Name": "network-interface-id", "Values": [eni]}])["NetworkInterfaces"], 30)
        return eni, address

    def log(self, resource, kind, traffic, group, **settings):
        made = self.ec2.create_flow_logs(ResourceIds=[resource], ResourceType=kind, TrafficType=traffic, LogDestinationType="cloud-watch-logs",
                                         LogGroupName=group, DeliverLogsPermissionArn=ROLE, MaxAggregationInterval=60, **settings)
        equal("unsuccessful", made["Unsuccessful"], [])
        return made["FlowLogIds"][0]

    def records(self, group, **filters):
        """Every record so far, as lists of words."""
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, **filters)
        return [e["message"].split() for page in pages for e in page["events"]]


def scenario(host):
    # An interval of 60 s is one second here.
    with host.region("--speed", "60") as region:
        net = Network(host, region)
        server_task, server, address, public = net.start(SERVER, 1, net.servers)
        wait("the server answers", lambda: connect(public, 8080) == "ok")
        whole = net.log(net.vpc, "VPC", "ALL", "/flows/vpc")
        part = net.log(net.subnets[1], "Subnet", "REJECT", "/flows/rejects", LogFormat=" ".join(f"${{{f}}}" for f in CUSTOM.split()))
        equal("the same again", error_code(net.log, resource=net.vpc, kind="VPC", traffic="ALL", group="/flows/vpc"), "FlowLogAlreadyExists")

        # Accepted by one port, rejected by another; and a name is asked for, which is nobody's traffic.
        client, source = net.run(f"sleep 0.5; wget -q -O /dev/null http://{address}:8080/; echo | nc -w 1 {address} 22; nslookup {address} >/dev/null; /bin/ping -c 1 -W 1 {address}")
        default = lambda: net.records("/flows/vpc")
        of = lambda eni, action, port: [r for r in default() if r[2] == eni and r[12] == action and port in r[5:7]]
        accepted = wait("accepted records of the server", lambda: len(found := [r for r in of(server, "ACCEPT", "8080") if source in r[3:5]]) >= 2 and found)
        for words in accepted:
            equal("words of a default record", len(words), 14)
            equal("version, account, protocol, status", (words[0], words[1], words[7], words[13]), ("2", "000000000000", "6", "OK"))
            assert int(words[8]) >= 3 and int(words[9]) > 100 and int(words[10]) <= int(words[11]), words
        equal("both ways", sorted((r[3], r[4]) for r in accepted), sorted([(source, address), (address, source)]))
        rejected = wait("a rejected record", lambda: of(server, "REJECT", "22"))
        equal("who was rejected", rejected[0][3:7:2] + rejected[0][4:5], [source, rejected[0][5], address])
        equal("its sender let it out", [r[3:5] for r in wait("the sender's record", lambda: of(client, "ACCEPT", "22"))], [[source, address]])
        wait("the sender's side of what was accepted", lambda: len(of(client, "ACCEPT", "8080")) >= 2)
        pings = wait("a rejected ping", lambda: [r for r in default() if r[2] == server and r[7] == "1"])
        equal("ports of a ping", (pings[0][5:7], pings[0][12]), (["0", "0"], "REJECT"))
        equal("the resolver's traffic", [r for r in default() if "10.9.0.2" in r or "53" in r[5:7]], [])

        # The custom format of one subnet: rejected only, of the server's interface only.
        custom = wait("custom records", lambda: [r for r in net.records("/flows/rejects") if "REJECT" in r and "22" in r[5:7]])
        row = dict(zip(CUSTOM.split(), custom[0]))
        expected = {"interface-id": server, "flow-direction": "ingress", "action": "REJECT", "pkt-srcaddr": source, "pkt-dstaddr": address, "dstport": "22", "tcp-flags": "2",
                    "traffic-path": "-", "az-id": "use1-az2", "ecs-task-id": server_task, "version": "7", "log-status": "OK", "subnet-id": net.subnets[1]}
        equal("a custom record", {k: row[k] for k in expected}, expected)
        equal("actions of a flow log of rejects", {r[2] for r in net.records("/flows/rejects")} - {"-"}, {"REJECT"})
        streams = [s["logStreamName"] for s in net.logs.describe_log_streams(logGroupName="/flows/rejects")["logStreams"]]
        equal("a stream for each interface of the subnet", streams, [f"{server}-reject"])

        # From the internet: the interface's own address, whatever the client knows.
        equal("from outside", connect(public, 8080), "ok")
        outside = wait("its record", lambda: [r for r in of(server, "ACCEPT", "8080") if r[4] == address and not r[3].startswith("10.9.")])
        assert all(r[3].startswith("198.18.") for r in outside), outside
        wait("an interval without traffic", lambda: [r for r in default() if r[2] == server and r[13] == "NODATA"])
        nodata = [r for r in default() if r[13] == "NODATA"][0]
        equal("what it does not have", nodata[3:10] + nodata[12:13], ["-"] * 8)

        # Through a NAT gateway: its interface has both sides, the packets' own ends in the pkt- fields, as in AWS's example.
        gateway = net.add_private_subnet()
        nat, inside, outside = gateway["NetworkInterfaceId"], gateway["PrivateIp"], gateway["PublicIp"]
        fields = "interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr flow-direction traffic-path action"
        both = net.log(net.vpc, "VPC", "ACCEPT", "/flows/nat", LogFormat=" ".join(f"${{{f}}}" for f in fields.split()))
        behind, private = net.run(f"sleep 0.5; wget -q -O /dev/null http://{public}:8080/", subnet=2)
        expected = {(nat, private, inside, private, public, "ingress", "-"), (nat, inside, public, inside, public, "egress", "8"),
                    (nat, public, inside, public, inside, "ingress", "-"), (nat, inside, private, public, private, "egress", "1"),
                    (behind, private, public, private, public, "egress", "1"), (behind, public, private, public, private, "ingress", "-"),
                    (server, outside, address, outside, address, "ingress", "-"), (server, address, outside, address, outside, "egress", "8")}
        told = lambda: {tuple(r[:7]) for r in net.records("/flows/nat")}
        try:
            wait("records of NAT", lambda: told() >= expected)
        except AssertionError:
            equal("records of NAT", sorted(r for r in told() if r[0] in (nat, behind, server) and r[1] != "-"), sorted(expected))
        net.ec2.delete_flow_logs(FlowLogIds=[both])

        # A node that is killed: the next one goes on, and says that it does not know what was meanwhile.
        os.kill(region.pid("node"), signal.SIGKILL)
        wait("it goes on", lambda: [r for r in default() if r[2] == server and r[13] == "SKIPDATA"])
        seen = len(of(server, "ACCEPT", "8080"))
        equal("from outside", connect(public, 8080), "ok")
        wait("more records", lambda: len(of(server, "ACCEPT", "8080")) > seen)

        # An ACL that lets requests in and no reply out: accepted one way, rejected the other.
        acl = net.ec2.create_network_acl(VpcId=net.vpc)["NetworkAcl"]["NetworkAclId"]
        net.ec2.create_network_acl_entry(NetworkAclId=acl, RuleNumber=100, Protocol="-1", RuleAction="allow", Egress=False, CidrBlock="0.0.0.0/0")
        own = [a for a in net.ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [net.subnets[1]]}])["NetworkAcls"][0]["Associations"] if a["SubnetId"] == net.subnets[1]][0]
        net.ec2.replace_network_acl_association(AssociationId=own["NetworkAclAssociationId"], NetworkAclId=acl)
        stopped, second = net.run(f"sleep 0.5; echo | nc -w 1 {address} 8080")
        replies = wait("a rejected reply", lambda: [r for r in of(server, "REJECT", "8080") if r[4] == second])
        equal("the reply", (replies[0][3], replies[0][5]), (address, "8080"))
        assert [r for r in of(server, "ACCEPT", "8080") if r[3] == second], "the request came in"
        equal("an accepted reply", [r for r in of(server, "ACCEPT", "8080") if r[4] == second], [])
        equal("at the client", [r for r in default() if r[2] == stopped and r[4] == second and r[5] == "8080"], [])

        # By pattern, and by stream.
        found = net.records("/flows/vpc", filterPattern="REJECT", logStreamNamePrefix=server)
        assert found and all(r[12] == "REJECT" and r[2] == server for r in found), found

        # A flow log that goes: no more records, and the old ones stay.
        net.ec2.delete_flow_logs(FlowLogIds=[whole])
        # What was gathered until then is still told; then an interface without traffic would say so every second.
        time.sleep(1)
        before = len(default())
        time.sleep(2.5)
        equal("records after its end", len(default()), before)
        equal("flow logs", [f["FlowLogId"] for f in net.ec2.describe_flow_logs()["FlowLogs"]], [part])
        assert of(server, "ACCEPT", "8080"), "records stay"
