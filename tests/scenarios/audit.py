"""The trail of a region that enforces: every call, by whom, with which parameters, allowed or not, found by each attribute of
LookupEvents, page by page, and no secret in it; and `fogbank iam explain` says of the same calls which statement decides."""
import datetime, json, os, subprocess, uuid

import boto3
from botocore.config import Config

from host import equal, error_code, root_key, wait

ONCE = Config(retries={"max_attempts": 0, "total_max_attempts": 1}, read_timeout=60)
ANN = "arn:aws:iam::000000000000:user/ann"


class Trail:
    def __init__(self, client):
        self.client = client

    def events(self, seconds=20, **attribute):
        """All events with that attribute, the newest first; waits until there is one, as the trail is written behind the calls."""
        wanted = [{"AttributeKey": key, "AttributeValue": value} for key, value in attribute.items()]

        def look():
            pages = self.client.get_paginator("lookup_events").paginate(LookupAttributes=wanted, PaginationConfig={"PageSize": 7})
            return [{**event, "told": json.loads(event["CloudTrailEvent"])} for page in pages for event in page["Events"]]
        return wait(f"events with {attribute}", look, seconds)

    def one(self, name, fits=lambda told: True):
        """The newest event of that name that fits."""
        return wait(f"an event {name}", lambda: next((e for e in self.events(EventName=name) if fits(e["told"])), None))


def allow(actions, **more):
    return {"Sid": "Mine", "Effect": "Allow", "Action": actions, "Resource": "*", **more}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def people(connect, root):
    """A user who may look at networks unless it is in another region, and a role that may nothing."""
    iam = connect(root, "iam")
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="look", PolicyDocument=document(
        allow(["ec2:Describe*", "sts:*", "secretsmanager:CreateSecret"]),
        {"Sid": "Here", "Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}}))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    role = iam.create_role(RoleName="idle", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ANN}}]}))["Role"]
    ann = (key["AccessKeyId"], key["SecretAccessKey"])
    given = connect(ann, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="night")["Credentials"]
    return ann, (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def told_of_calls(connect, trail, root, ann, session):
    ec2 = connect(ann, "ec2")
    vpc = connect(root, "ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = trail.one("CreateVpc")["told"]
    equal("what was asked", made["requestParameters"], {"cidrBlock": "10.9.0.0/16"})
    equal("by the root", (made["userIdentity"]["type"], made["userIdentity"]["arn"], made["readOnly"]), ("Root", "arn:aws:iam::000000000000:root", False))
    ec2.describe_vpcs(VpcIds=[vpc])
    looked = trail.one("DescribeVpcs")
    told = looked["told"]
    equal("by a user", (looked["Username"], looked["AccessKeyId"], looked["ReadOnly"], looked["EventSource"]), ("ann", ann[0], "true", "ec2.amazonaws.com"))
    equal("a user's identity", (told["userIdentity"]["type"], told["userIdentity"]["userName"], told["userIdentity"]["arn"]), ("IAMUser", "ann", ANN))
    assert "botocore" in told["userAgent"].lower() and told["sourceIPAddress"].startswith("127."), told
    # Refused by the policy, by the service, and for want of any permission.
    equal("a user may not", error_code(ec2.create_vpc, CidrBlock="10.8.0.0/16"), "UnauthorizedOperation")
    refused = trail.one("CreateVpc", lambda told: "errorCode" in told)["told"]
    assert refused["errorCode"] == "UnauthorizedOperation" and ANN in refused["errorMessage"], refused
    equal("no such VPC", error_code(connect(root, "ec2").delete_vpc, VpcId="vpc-0123456789abcdef0"), "InvalidVpcID.NotFound")
    equal("refused by the service", trail.one("DeleteVpc")["told"]["errorCode"], "InvalidVpcID.NotFound")
    equal("a role without policies", error_code(connect(session, "ecs").list_clusters), "AccessDeniedException")
    night = trail.one("ListClusters")
    identity = night["told"]["userIdentity"]
    equal("by a role", (night["Username"], identity["type"], identity["sessionContext"]["sessionIssuer"]["userName"]), ("night", "AssumedRole", "idle"))
    assumed = trail.one("AssumeRole")["told"]
    equal("an assumed role", assumed["requestParameters"]["roleSessionName"], "night")
    # A region of its own has events of its own; IAM's are where it lives.
    equal("in another region", error_code(connect(ann, "ec2", "eu-west-1").describe_vpcs), "UnauthorizedOperation")
    there = Trail(connect(root, "cloudtrail", "eu-west-1")).one("DescribeVpcs")["told"]
    equal("where", (there["awsRegion"], there["errorCode"]), ("eu-west-1", "UnauthorizedOperation"))
    assert all(e["told"]["awsRegion"] == "us-east-1" for e in trail.events(EventName="DescribeVpcs"))
    return vpc, looked


def attributes(trail, ann, vpc, looked):
    """Each attribute finds what has it, and nothing else."""
    for key, value, of in (
            ("EventId", looked["EventId"], lambda e: e["EventId"]), ("EventName", "DescribeVpcs", lambda e: e["EventName"]),
            ("EventSource", "ec2.amazonaws.com", lambda e: e["EventSource"]), ("ReadOnly", "false", lambda e: e["ReadOnly"]),
            ("Username", "ann", lambda e: e["Username"]), ("AccessKeyId", ann[0], lambda e: e["AccessKeyId"])):
        found = trail.events(**{key: value})
        assert found and {of(e) for e in found} == {value}, (key, value, [of(e) for e in found])
    equal("of one id", len(trail.events(EventId=looked["EventId"])), 1)
    assert looked["EventId"] in {e["EventId"] for e in trail.events(ResourceName=vpc)}
    client = trail.client
    equal("of nobody", client.lookup_events(LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "bob"}])["Events"], [])
    two = [{"AttributeKey": "Username", "AttributeValue": "ann"}, {"AttributeKey": "ReadOnly", "AttributeValue": "true"}]
    equal("two attributes", error_code(client.lookup_events, LookupAttributes=two), "InvalidLookupAttributesException")
    equal("a token of nobody", error_code(client.lookup_events, NextToken="x"), "InvalidNextTokenException")
    at = looked["EventTime"]
    hour = datetime.timedelta(hours=1)
    equal("time backwards", error_code(client.lookup_events, StartTime=at + hour, EndTime=at - hour), "InvalidTimeRangeException")
    equal("before all", client.lookup_events(EndTime=at - hour)["Events"], [])
    within = client.lookup_events(StartTime=at, EndTime=at)["Events"]
    assert looked["EventId"] in {e["EventId"] for e in within} and {e["EventTime"] for e in within} == {at}, within


def pages(connect, trail, root):
    """Forty calls, three at a time: each once, the newest first."""
    ssm = connect(root, "ssm")
    names = [f"/page/{n}" for n in range(40)]
    for name in names:
        ssm.put_parameter(Name=name, Value="v", Type="String")
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "PutParameter"}]

    def told():
        found = trail.client.get_paginator("lookup_events").paginate(LookupAttributes=wanted, PaginationConfig={"PageSize": 3})
        return [json.loads(e["CloudTrailEvent"])["requestParameters"]["name"] for page in found for e in page["Events"]]
    equal("all pages", wait("forty events", lambda: (lambda names: names if len(names) >= 40 else None)(told())), names[::-1])


def secrets(connect, trail, root, data):
    """Values that go over the wire and are nobody's business."""
    value = f"hush-{uuid.uuid4()}"
    manager, ssm, iam, acm = (connect(root, service) for service in ("secretsmanager", "ssm", "iam", "acm"))
    manager.create_secret(Name="one", SecretString=value)
    manager.put_secret_value(SecretId="one", SecretString=value + "2")
    manager.update_secret(SecretId="one", SecretBinary=(value + "3").encode())
    manager.get_secret_value(SecretId="one")
    ssm.put_parameter(Name="/hush", Value=value, Type="SecureString")
    ssm.get_parameter(Name="/hush", WithDecryption=True)
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]["SecretAccessKey"]
    ecs = connect(root, "ecs")
    ecs.register_task_definition(family="hush", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
                                 containerDefinitions=[{"name": "a", "image": "a", "environment": [{"name": "HUSH", "value": value}]}])
    equal("what a secret is told as", trail.one("CreateSecret")["told"]["requestParameters"]["secretString"], "HIDDEN_DUE_TO_SECURITY_REASONS")
    equal("a parameter's name", trail.one("PutParameter", lambda t: t["requestParameters"]["name"] == "/hush")["told"]["requestParameters"]["value"], "HIDDEN_DUE_TO_SECURITY_REASONS")
    trail.one("RegisterTaskDefinition")
    hidden = (value.encode(), key.encode())
    for place, _, names in os.walk(os.path.join(data, "trail")):
        for name in names:
            content = open(os.path.join(place, name), "rb").read()
            assert not any(h in content for h in hidden), os.path.join(place, name)


def explain(host, region, *arguments):
    found = subprocess.run([host.fogbank, "iam", "explain", *arguments, "--json", "--instance", region.instance], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return found.returncode, json.loads(found.stdout) if found.stdout else found.stderr


def explained(host, region):
    code, told = explain(host, region, "ann", "ec2:DescribeVpcs")
    equal("may", (code, told["decision"], told["principal"], [s["sid"] for s in told["statements"]]), (0, "allowed", ANN, ["Mine"]))
    code, told = explain(host, region, "ann", "ec2:DescribeVpcs", "--in", "eu-west-1")
    equal("elsewhere", (code, told["decision"], [s["sid"] for s in told["statements"]]), (1, "explicitDeny", ["Here"]))
    code, told = explain(host, region, "ann", "ec2:CreateVpc", "arn:aws:ec2:us-east-1:000000000000:vpc/*")
    equal("may not", (code, told["decision"], told["statements"]), (1, "implicitDeny", []))
    assert "because no identity-based policy allows the ec2:CreateVpc action" in told["refusal"], told
    code, told = explain(host, region, "role/idle", "ecs:ListClusters")
    equal("a role", (code, told["decision"]), (1, "implicitDeny"))
    code, told = explain(host, region, "root", "ec2:CreateVpc")
    equal("the root", (code, told["decision"]), (0, "allowed"))
    code, said = explain(host, region, "nobody", "ec2:CreateVpc")
    assert code == 2 and "nobody" in said, (code, said)
    text = subprocess.run([host.fogbank, "iam", "explain", "ann", "ec2:DescribeVpcs", "--instance", region.instance], stdout=subprocess.PIPE, text=True).stdout
    assert "look" in text and "Mine" in text, text


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--auth", "enforce", "--request-rates", "off", data=data) as region:
        root = root_key(region.lines)

        def connect(credentials, service, at="us-east-1"):
            return boto3.Session(*credentials, region_name=at).client(service, endpoint_url=region.endpoint, config=ONCE)
        trail = Trail(connect(root, "cloudtrail"))
        ann, session = people(connect, root)
        vpc, looked = told_of_calls(connect, trail, root, ann, session)
        attributes(trail, ann, vpc, looked)
        pages(connect, trail, root)
        secrets(connect, trail, root, data)
        explained(host, region)
    # It outlives the region.
    with host.region("--auth", "enforce", "--request-rates", "off", data=data) as region:
        trail = Trail(connect(root, "cloudtrail"))
        equal("after a restart", trail.events(EventId=looked["EventId"])[0]["told"], looked["told"])
