"""Sets right what moto's tests prepare and AWS would refuse, so that the rest of such a test is run.

A pytest plugin: `cargo xtask moto --mended` names it in PYTEST_PLUGINS. Only calls that prepare something are changed, each as the page
beside it asks; what a test looks at is not. Tests that pass with it and not without it stay in tests/moto-differences.md."""
import itertools, json

import botocore.client

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
numbers = itertools.count()
original = botocore.client.BaseClient._make_api_call


def beside(client, service):
    """A client of another service with the same region and credentials."""
    import boto3
    return boto3.client(service, region_name=client.meta.region_name)


def is_document(text):
    try:
        return bool(json.loads(text).get("Statement"))
    except (ValueError, AttributeError):
        return False


def create_load_balancer(client, parameters):
    """Security groups are of the load balancer's VPC, and one that faces the internet needs its gateway.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html"""
    ec2 = beside(client, "ec2")
    wanted = parameters.get("Subnets") or [m["SubnetId"] for m in parameters.get("SubnetMappings", [])]
    try:
        vpc = ec2.describe_subnets(SubnetIds=wanted[:1])["Subnets"][0]["VpcId"]
        groups = ec2.describe_security_groups(GroupIds=parameters.get("SecurityGroups", []))["SecurityGroups"] if parameters.get("SecurityGroups") else []
    except Exception:
        return
    if parameters.get("Scheme") != "internal":
        attached = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"]
        if not attached:
            gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
            ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    moved = []
    for group in groups:
        if group["VpcId"] != vpc:
            same = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [group["GroupName"]]}])["SecurityGroups"]
            group = same[0] if same else ec2.create_security_group(GroupName=group["GroupName"], Description="mended", VpcId=vpc)
        moved.append(group["GroupId"])
    if moved:
        parameters["SecurityGroups"] = moved


def create_subnet(client, parameters):
    """A subnet's IPv6 block is one of its VPC's. https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""
    if not str(parameters.get("Ipv6CidrBlock", "")).startswith("2001:db8"):
        return
    vpc = client.describe_vpcs(VpcIds=[parameters["VpcId"]])["Vpcs"][0]
    if not vpc.get("Ipv6CidrBlockAssociationSet"):
        original(client, "AssociateVpcCidrBlock", {"VpcId": parameters["VpcId"], "AmazonProvidedIpv6CidrBlock": True})
        vpc = client.describe_vpcs(VpcIds=[parameters["VpcId"]])["Vpcs"][0]
    parameters["Ipv6CidrBlock"] = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("::/56", "::/64")


def create_role(client, parameters):
    """A trust policy is a policy. https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html"""
    if not is_document(parameters.get("AssumeRolePolicyDocument", "")):
        parameters["AssumeRolePolicyDocument"] = TRUST
    mend_path(client, parameters)


def mend_path(client, parameters):
    """Paths begin and end with a slash. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"""
    path = parameters.get("Path")
    if path and not (path.startswith("/") and path.endswith("/")):
        parameters["Path"] = "/" + path.strip("/") + "/"


def create_hosted_zone(client, parameters):
    """A caller reference is used once. https://docs.aws.amazon.com/Route53/latest/APIReference/API_CreateHostedZone.html"""
    parameters["CallerReference"] = f"{parameters['CallerReference']}-{next(numbers)}"


def create_vpc_endpoint(client, parameters):
    """Interface | Gateway | .... https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcEndpoint.html"""
    if parameters.get("VpcEndpointType"):
        parameters["VpcEndpointType"] = parameters["VpcEndpointType"].capitalize()
    parameters["ServiceName"] = parameters["ServiceName"].replace("us-east-1", client.meta.region_name)


def mend_name(client, parameters):
    """Names of Cloud Map have no spaces. https://docs.aws.amazon.com/cloud-map/latest/api/API_CreateService.html"""
    parameters["Name"] = parameters["Name"].replace(" ", "-")


def mend_action(client, parameters):
    """allow | deny. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html"""
    parameters["RuleAction"] = parameters["RuleAction"].lower()


MENDED = {
    ("elbv2", "CreateLoadBalancer"): create_load_balancer,
    ("ec2", "CreateSubnet"): create_subnet,
    ("ec2", "CreateVpcEndpoint"): create_vpc_endpoint,
    ("ec2", "CreateNetworkAclEntry"): mend_action,
    ("ec2", "ReplaceNetworkAclEntry"): mend_action,
    ("iam", "CreateRole"): create_role,
    ("iam", "CreateInstanceProfile"): mend_path,
    ("iam", "CreateUser"): mend_path,
    ("iam", "CreateGroup"): mend_path,
    ("route53", "CreateHostedZone"): create_hosted_zone,
    ("servicediscovery", "CreateService"): mend_name,
}


def call(self, operation, parameters):
    mend = MENDED.get((self.meta.service_model.service_name, operation))
    if mend:
        parameters = dict(parameters)
        mend(self, parameters)
    return original(self, operation, parameters)


botocore.client.BaseClient._make_api_call = call
