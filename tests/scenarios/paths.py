"""The other ways through the network: a task with a public address, an internal load balancer, out through NAT into another
VPC, private zones, and the same in another region and account."""
import json
from host import Tasks, connect, equal, error_code, http_get, wait

SERVER = "mkdir -p /tmp/www/cgi-bin; printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"; echo $HTTP_X_FORWARDED_FOR $REMOTE_ADDR' > /tmp/www/cgi-bin/who; chmod 755 /tmp/www/cgi-bin/who; exec busybox httpd -f -p 8080 -h /tmp/www"


class Vpc:
    """A VPC with a public and a private subnet in each of two zones, internet gateway and NAT gateway."""

    def __init__(self, region, block, where="us-east-1", key="test"):
        self.ec2, self.elb, self.ecs = (region.client(s, where, key) for s in ("ec2", "elbv2", "ecs"))
        ec2, two = self.ec2, block.rsplit(".", 2)[0]
        self.id = ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.id, EnableDnsHostnames={"Value": True})
        self.public, self.private = ([ec2.create_subnet(VpcId=self.id, CidrBlock=f"{two}.{n + base}.0/24", AvailabilityZone=where + "ab"[n])["Subnet"]["SubnetId"]
                                      for n in range(2)] for base in (0, 10))
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        address = ec2.allocate_address(Domain="vpc")
        self.nat_ip = address["PublicIp"]
        self.nat = ec2.create_nat_gateway(SubnetId=self.public[0], AllocationId=address["AllocationId"])["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[self.nat], WaiterConfig={"Delay": 1})
        for subnets, target in ((self.public, {"GatewayId": gateway}), (self.private, {"NatGatewayId": self.nat})):
            table = ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
            ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
            for subnet in subnets:
                ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        self.group = ec2.create_security_group(GroupName="all", Description="all", VpcId=self.id)["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])

    def run(self, definition, subnets, public="DISABLED", cluster="probes"):
        task = self.ecs.run_task(cluster=cluster, taskDefinition=definition, launchType="FARGATE",
                                 overrides={"containerOverrides": [{"name": "main", "command": ["sh", "-c", SERVER]}]},
                                 networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [self.group], "assignPublicIp": public}})["tasks"][0]
        running = wait("the server runs", lambda: (t := self.ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"][0])["lastStatus"] in ("RUNNING", "STOPPED") and t)
        equal("status of the server", (running["lastStatus"], running.get("stoppedReason")), ("RUNNING", None))
        details = {d["name"]: d["value"] for d in running["attachments"][0]["details"]}
        eni = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])["NetworkInterfaces"][0]
        return details["privateIPv4Address"], eni.get("Association", {}).get("PublicIp")

    def balance(self, name, ip, scheme):
        subnets = self.public if scheme == "internet-facing" else self.private
        lb = self.elb.create_load_balancer(Name=name, Subnets=subnets, SecurityGroups=[self.group], Scheme=scheme)["LoadBalancers"][0]
        group = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=self.id, TargetType="ip", Matcher={"HttpCode": "200-499"})["TargetGroups"][0]["TargetGroupArn"]
        listener = self.elb.create_listener(LoadBalancerArn=lb["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])["Listeners"][0]["ListenerArn"]
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": ip}])
        wait(f"the target of {name} is healthy", lambda: [t["TargetHealth"]["State"] for t in self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]] == ["healthy"])
        return lb, listener


def rules(vpc, listener, address):
    """Hosts, headers, redirects and weights."""
    make = lambda number, conditions, action: vpc.elb.create_rule(ListenerArn=listener, Priority=number, Conditions=conditions, Actions=[action])
    fixed = lambda code: {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": str(code), "ContentType": "text/plain", "MessageBody": str(code)}}
    make(1, [{"Field": "host-header", "Values": ["*.EXAMPLE.com"]}], fixed(210))
    make(2, [{"Field": "path-pattern", "Values": ["/img/*"]}, {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}}], fixed(211))
    make(3, [{"Field": "path-pattern", "Values": ["/old"]}], {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", "Path": "/new/#{path}"}})
    wait("the rules act", lambda: http_get(address, "/", "a.example.com")[0] == 210)
    equal("host", http_get(address, "/", "example.com")[0], 404)
    equal("path", http_get(address, "/img/a")[0], 211)
    equal("the path alone", http_get(address, "/img")[0], 404)
    equal("redirect", http_get(address, "/old")[0], 301)
    equal("priority in use", error_code(vpc.elb.create_rule, ListenerArn=listener, Priority=1, Conditions=[{"Field": "path-pattern", "Values": ["/x"]}], Actions=[fixed(200)]), "PriorityInUse")


def scenario(host):
    with host.region("--speed", "10") as region:
        one, two = Vpc(region, "10.1.0.0/16"), Vpc(region, "10.1.0.0/16")
        tasks = Tasks(host, region, one.private, [one.group])
        definition = tasks.define()

        # A task with a public address is reached at it, one without has none.
        private, public = two.run(definition, two.public[:1], "ENABLED")
        assert public and public.startswith("198.18."), public
        wait("from outside to a task", lambda: http_get(public, "/cgi-bin/who", port=8080)[0] == 200, 5)
        hidden, none = two.run(definition, two.private[:1])
        equal("public address of a private task", none, None)

        # From one VPC's private subnet to the other's load balancer: through NAT, under its Elastic IP.
        lb, listener = two.balance("front", private, "internet-facing")
        address = wait("the load balancer's name", lambda: region.resolve(lb["DNSName"])[1])[0]
        equal("an outsider's request", http_get(address, "/cgi-bin/who")[0], 200)
        code, text = tasks.run(f"wget -q -O - http://{address}/cgi-bin/who")
        equal("the source that the other VPC sees", (code, text.split()[0]), (0, one.nat_ip))
        code, text = tasks.run(f"wget -q -O - http://{lb['DNSName']}/cgi-bin/who")
        equal("by its name", code, 0)
        rules(two, listener, address)

        # An internal load balancer answers inside, by private addresses, and nobody outside.
        inner, _ = one.balance("inner", one.run(definition, one.private[:1])[0], "internal")
        found = wait("the internal name", lambda: region.resolve(inner["DNSName"])[1])
        assert all(ip.startswith("10.1.") for ip in found), found
        equal("inside", tasks.run(f"wget -q -O /dev/null http://{inner['DNSName']}/cgi-bin/who")[0], 0)

        # A private zone is seen in its VPC alone.
        r53, = region.clients("route53")
        zone = r53.create_hosted_zone(Name="corp.internal", CallerReference="1", VPC={"VPCRegion": "us-east-1", "VPCId": one.id})["HostedZone"]["Id"]
        r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": {
            "Name": "db.corp.internal", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.1.10.99"}]}}]})
        code, text = tasks.run("nslookup db.corp.internal")
        assert code == 0 and "10.1.10.99" in text, (code, text)
        tasks.subnets, tasks.groups = two.private, [two.group]
        equal("from the other VPC", tasks.run("nslookup db.corp.internal")[0], 1)
        equal("from outside", region.resolve("db.corp.internal")[1], [])

        # Without the NAT gateway there is no way out: not even to the registry.
        one.ec2.delete_nat_gateway(NatGatewayId=one.nat)
        tasks.subnets, tasks.groups = one.private, [one.group]
        lost = tasks.ended(tasks.start(["true"]))["stoppedReason"]
        assert "CannotPullContainerError" in lost and "BAD_STATE_ROUTE" in lost, lost

        # Another region and another account are worlds of their own, with their own zones and names.
        far = Vpc(region, "10.1.0.0/16", "eu-west-1", "111122223333")
        mine = region.client("ec2", "eu-west-1")
        equal("another account's VPCs", [v for v in mine.describe_vpcs()["Vpcs"] if not v["IsDefault"]], [])
        equal("account", region.client("sts", "eu-west-1", "111122223333").get_caller_identity()["Account"], "111122223333")
        equal("another region's VPCs", len([v for v in region.client("ec2").describe_vpcs()["Vpcs"] if not v["IsDefault"]]), 2)
        lb = far.elb.create_load_balancer(Name="far", Subnets=far.public, SecurityGroups=[far.group])["LoadBalancers"][0]
        assert ".eu-west-1.elb.amazonaws.com" in lb["DNSName"], lb["DNSName"]
        address = wait("the load balancer's name", lambda: region.resolve(lb["DNSName"])[1])[0]
        equal("a port without a listener", connect(address), "refused")
