#!/usr/bin/env python3
"""Deploys the reference architecture around the orders API, with nothing but AWS's API.

    deploy.py --binary target/x86_64-unknown-linux-gnu/release/orders-api [--endpoint http://127.0.0.1:4566]

Route 53 name -> internet gateway -> Application Load Balancer in public subnets of two zones -> two Fargate tasks in
private subnets, each hop guarded by security groups. Needs python3 with boto3. The image is made here, without Docker:
one layer with the static binary. Prints one JSON object with the addresses when all targets are healthy.
"""
import argparse, base64, gzip, hashlib, io, json, os, sys, tarfile, time, urllib.parse, urllib.request

import boto3
from botocore.config import Config

NAME = "orders"
ZONE = "shop.test"


def image_of(binary):
    """(config, layer) of an image that holds one static binary."""
    data = open(binary, "rb").read()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("orders-api")
        info.size, info.mode = len(data), 0o755
        tar.addfile(info, io.BytesIO(data))
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine), "os": "linux",
        "config": {"Entrypoint": ["/orders-api"], "Env": ["PORT=8080"], "User": "65534", "ExposedPorts": {"8080/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode()
    return config, gzip.compress(layer.getvalue(), compresslevel=1, mtime=0)


def push(endpoint, token, uri, tag, binary):
    """Pushes the image over the OCI distribution API at the region's endpoint."""
    host, _, repository = uri.partition("/")

    def call(method, path, data=None, kind="application/octet-stream"):
        url = endpoint + urllib.parse.urlsplit(path)._replace(scheme="", netloc="").geturl()
        return urllib.request.urlopen(urllib.request.Request(url, data, method=method, headers={
            "Host": host, "Authorization": "Basic " + token, "Content-Type": kind}))

    described = []
    for blob in image_of(binary):
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        place = call("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
        call("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, blob)
        described.append({"digest": digest, "size": len(blob)})
    config, layer = described
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **layer}]}
    call("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(manifest).encode(), manifest["mediaType"])


class Shop:
    """The whole deployment; each method makes one part of it."""

    def __init__(self, endpoint, region):
        session = boto3.Session(os.environ.get("AWS_ACCESS_KEY_ID", "test"), os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
                                region_name=region)
        config = Config(retries={"max_attempts": 2}, read_timeout=60)
        self.endpoint, self.region = endpoint.rstrip("/"), region
        self.ec2, self.elb, self.ecs, self.ecr, self.r53, self.iam, self.logs = (
            session.client(name, endpoint_url=endpoint, config=config)
            for name in "ec2 elbv2 ecs ecr route53 iam logs".split())

    def tags(self, kind, name):
        return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]

    def network(self):
        ec2 = self.ec2
        zones = [z["ZoneName"] for z in ec2.describe_availability_zones()["AvailabilityZones"]][:2]
        self.vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16", TagSpecifications=self.tags("vpc", NAME))["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        subnet = lambda kind, n, zone: ec2.create_subnet(
            VpcId=self.vpc, AvailabilityZone=zone, CidrBlock=f"10.20.{n}.0/24",
            TagSpecifications=self.tags("subnet", f"{kind}-{zone[-1]}"))["Subnet"]["SubnetId"]
        self.public = [subnet("public", n, zone) for n, zone in enumerate(zones)]
        self.private = [subnet("private", 10 + n, zone) for n, zone in enumerate(zones)]
        gateway = ec2.create_internet_gateway(TagSpecifications=self.tags("internet-gateway", NAME))["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        eip = ec2.allocate_address(Domain="vpc", TagSpecifications=self.tags("elastic-ip", NAME))["AllocationId"]
        nat = ec2.create_nat_gateway(SubnetId=self.public[0], AllocationId=eip)["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
        for subnets, target in ((self.public, {"GatewayId": gateway}), (self.private, {"NatGatewayId": nat})):
            table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
            ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
            for each in subnets:
                ec2.associate_route_table(RouteTableId=table, SubnetId=each)

    def groups(self):
        """Anyone may reach the load balancer; only the load balancer may reach the tasks."""
        make = lambda name: self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]
        self.sg_alb, self.sg_api = make(f"{NAME}-alb"), make(f"{NAME}-api")
        self.ec2.authorize_security_group_ingress(GroupId=self.sg_alb, IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        self.ec2.authorize_security_group_ingress(GroupId=self.sg_api, IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": self.sg_alb}]}])

    def image(self, binary):
        repository = self.ecr.create_repository(repositoryName=NAME)["repository"]["repositoryUri"]
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        push(self.endpoint, token, repository, "1", binary)
        role = self.iam.create_role(RoleName=f"{NAME}-execution", AssumeRolePolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                    "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}))["Role"]["Arn"]
        self.logs.create_log_group(logGroupName=f"/{NAME}")
        self.definition = self.ecs.register_task_definition(
            family=NAME, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
            executionRoleArn=role, containerDefinitions=[{
                "name": NAME, "image": f"{repository}:1", "essential": True, "portMappings": [{"containerPort": 8080}],
                "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": f"/{NAME}", "awslogs-region": self.region, "awslogs-stream-prefix": NAME}}}],
        )["taskDefinition"]["taskDefinitionArn"]

    def balancer(self):
        elb = self.elb
        self.lb = elb.create_load_balancer(Name=NAME, Subnets=self.public, SecurityGroups=[self.sg_alb],
                                           Scheme="internet-facing", Type="application")["LoadBalancers"][0]
        self.group = elb.create_target_group(
            Name=NAME, Protocol="HTTP", Port=8080, VpcId=self.vpc, TargetType="ip", HealthCheckPath="/health",
            HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
        elb.modify_target_group_attributes(TargetGroupArn=self.group, Attributes=[
            {"Key": "deregistration_delay.timeout_seconds", "Value": "5"}])
        elb.create_listener(LoadBalancerArn=self.lb["LoadBalancerArn"], Protocol="HTTP", Port=80,
                            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.group}])

    def service(self, count):
        self.ecs.create_cluster(clusterName=NAME)
        self.ecs.create_service(
            cluster=NAME, serviceName=NAME, taskDefinition=self.definition, desiredCount=count, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": self.private, "securityGroups": [self.sg_api],
                                                          "assignPublicIp": "DISABLED"}},
            loadBalancers=[{"targetGroupArn": self.group, "containerName": NAME, "containerPort": 8080}])

    def name(self):
        zone = self.r53.create_hosted_zone(Name=ZONE, CallerReference=str(time.time()))["HostedZone"]["Id"]
        self.r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{
            "Action": "CREATE", "ResourceRecordSet": {"Name": f"api.{ZONE}", "Type": "A", "AliasTarget": {
                "HostedZoneId": self.lb["CanonicalHostedZoneId"], "DNSName": self.lb["DNSName"], "EvaluateTargetHealth": True}}}]})

    def wait(self, count, seconds):
        deadline, shown = time.monotonic() + seconds, 0.0
        while True:
            health = self.elb.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
            healthy = [t["Target"]["Id"] for t in health if t["TargetHealth"]["State"] == "healthy"]
            if len(healthy) >= count:
                return healthy
            if time.monotonic() > deadline:
                events = self.ecs.describe_services(cluster=NAME, services=[NAME])["services"][0]["events"][:5]
                sys.exit(f"the targets are not healthy after {seconds} s: {health}\nservice events: {[e['message'] for e in events]}")
            if time.monotonic() - shown > 2:
                print(f"  waiting for targets: {len(healthy)} of {count} healthy", file=sys.stderr, flush=True)
                shown = time.monotonic()
            time.sleep(0.05)


def step(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", required=True, help="the static orders-api program")
    arguments.add_argument("--endpoint", default=os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"))
    arguments.add_argument("--region", default="us-east-1")
    arguments.add_argument("--count", type=int, default=2, help="tasks of the service")
    args = arguments.parse_args()
    shop, started = Shop(args.endpoint, args.region), time.monotonic()
    step("network: VPC, subnets in two zones, internet gateway, NAT gateway, routes")
    shop.network()
    step("security groups")
    shop.groups()
    step("image, role, log group, task definition")
    shop.image(args.binary)
    step("load balancer, target group, listener")
    shop.balancer()
    step(f"service with {args.count} tasks")
    shop.service(args.count)
    step("hosted zone and alias record")
    shop.name()
    healthy = shop.wait(args.count, 60)
    print(json.dumps({"name": f"api.{ZONE}", "load_balancer": shop.lb["DNSName"], "targets": healthy,
                      "seconds": round(time.monotonic() - started, 2)}))


if __name__ == "__main__":
    main()
