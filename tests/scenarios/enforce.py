"""A region that lets nobody in without a key: its root, a user, a role and a task by boto3, the AWS CLI and bare requests;
what is wrong with a request is refused in AWS's words, and so is what IAM does not allow: by policies of users, roles,
sessions, secrets and endpoints, across accounts, and for what starts a task; the endpoint with TLS; no secret lies readable
in its data folder."""
import datetime, hashlib, hmac, json, os, re, signal, socket, ssl, subprocess, urllib.parse, uuid

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from host import Tasks, equal, error_code, root_key, sh, wait, way_out

ONCE = Config(retries={"max_attempts": 0, "total_max_attempts": 1}, read_timeout=60)
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}},
                                                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]}


def allow(*actions):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]})


def session(key, secret, token=None):
    return boto3.Session(key, secret, token, region_name="us-east-1")


def client(endpoint, credentials, service, region="us-east-1", verify=None):
    return session(*credentials).client(service, region_name=region, endpoint_url=endpoint, config=ONCE, verify=verify)


def signature(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def request(endpoint, credentials, body, service="sts", region="us-east-1", at=None, send=None, change=lambda headers: headers):
    """A POST that is signed here: (status, error code). `send` goes out instead of the body that was signed."""
    key, secret = credentials[:2]
    stamp = (at or datetime.datetime.now(datetime.timezone.utc)).strftime("%Y%m%dT%H%M%SZ")
    host = urllib.parse.urlsplit(endpoint).netloc
    headers = {"host": host, "x-amz-date": stamp}
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    names = ";".join(sorted(headers))
    canonical = "\n".join(["POST", "/", "", *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, hashlib.sha256(body.encode()).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature(secret, scope, text)}"
    payload = (send or body).encode()
    headers = change({**headers, "content-type": "application/x-www-form-urlencoded", "content-length": str(len(payload)), "connection": "close"})
    address = host.rsplit(":", 1)
    with socket.create_connection((address[0], int(address[1])), 5) as connection:
        connection.sendall(("POST / HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode() + payload)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert b"\r\ndate: " in answer.lower(), "clients correct their clocks by it"
    code = re.search(rb"<Code>(\w+)</Code>", answer)
    return int(answer.split()[1]), code and code[1].decode()


def refusals(endpoint, root):
    """Bare requests, one thing wrong with each."""
    whoami = "Action=GetCallerIdentity&Version=2011-06-15"
    now = datetime.datetime.now(datetime.timezone.utc)
    hours = datetime.timedelta(hours=1)
    equal("a good request", request(endpoint, root, whoami), (200, None))
    for what, answer, expected in (
            ("wrong secret", request(endpoint, (root[0], "x" * 40), whoami), (403, "SignatureDoesNotMatch")),
            ("unknown key", request(endpoint, ("AKIAQNZGKIQY56JQ7WML", root[1]), whoami), (403, "InvalidClientTokenId")),
            ("any key of old", request(endpoint, ("test", "test"), whoami), (403, "InvalidClientTokenId")),
            ("an account's number", request(endpoint, ("000000000000", "test"), whoami), (403, "InvalidClientTokenId")),
            ("an hour late", request(endpoint, root, whoami, at=now - hours), (403, "SignatureDoesNotMatch")),
            ("an hour early", request(endpoint, root, whoami, at=now + hours), (403, "SignatureDoesNotMatch")),
            ("late, for EC2", request(endpoint, root, "Action=DescribeVpcs&Version=2016-11-15", service="ec2", at=now - hours), (400, "RequestExpired")),
            ("another body", request(endpoint, root, whoami, send=whoami.replace("06", "07")), (403, "SignatureDoesNotMatch")),
            ("a region that is none", request(endpoint, root, whoami, region="mars-1"), (403, "SignatureDoesNotMatch")),
            ("another region of a global service", request(endpoint, root, "Action=ListUsers&Version=2010-05-08", service="iam", region="eu-west-1"), (403, "SignatureDoesNotMatch")),
            ("a header that is not signed", request(endpoint, root, whoami, change=lambda h: {**h, "x-amz-any": "1"}), (403, "SignatureDoesNotMatch")),
            ("a token that is none", request(endpoint, root, whoami, change=lambda h: {**h, "x-amz-security-token": "AAAA"}), (403, "InvalidClientTokenId")),
            ("two dates", request(endpoint, root, whoami, change=lambda h: {**h, "X-Amz-Date": "20200101T000000Z"}), (400, "IncompleteSignature")),
            ("no signature", request(endpoint, root, whoami, change=lambda h: {n: v for n, v in h.items() if n != "authorization"}), (403, "MissingAuthenticationToken"))):
        equal(what, answer, expected)
    for service, call, expected in (("ec2", "describe_vpcs", "AuthFailure"), ("ecs", "list_clusters", "UnrecognizedClientException"), ("route53", "list_hosted_zones", "InvalidClientTokenId"),
                                    ("cloudwatch", "list_metrics", "UnrecognizedClientException")):
        equal(f"an unknown key at {service}", error_code(getattr(client(endpoint, ("test", "test"), service), call)), expected)
    for service, call, expected in (("ec2", "describe_vpcs", "AuthFailure"), ("ecs", "list_clusters", "InvalidSignatureException"), ("route53", "list_hosted_zones", "SignatureDoesNotMatch")):
        equal(f"a wrong secret at {service}", error_code(getattr(client(endpoint, (root[0], "wrong"), service), call)), expected)


def presigned(endpoint, credentials, seconds=60, host=None, action="GetCallerIdentity"):
    made = AWSRequest("GET", f"{host or endpoint}/?Action={action}&Version=2011-06-15")
    SigV4QueryAuth(Credentials(*credentials), "sts", "us-east-1", expires=seconds).add_auth(made)
    return made.url


def fetch(url, *more):
    """(status, body) by curl."""
    said = subprocess.run(["curl", "-s", "--noproxy", "*", "-w", "\n%{http_code}", *more, url], stdout=subprocess.PIPE, text=True).stdout
    body, _, status = said.rpartition("\n")
    return int(status), body


def people(endpoint, root):
    """A user with a key, a role that they assume, and what becomes of both. Gives the secrets that were made."""
    iam, sts = client(endpoint, root, "iam"), client(endpoint, root, "sts")
    equal("the root", sts.get_caller_identity()["Arn"], "arn:aws:iam::000000000000:root")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = (key["AccessKeyId"], key["SecretAccessKey"])
    equal("the user", client(endpoint, ann, "sts").get_caller_identity()["Arn"], "arn:aws:iam::000000000000:user/ann")
    equal("without a policy", error_code(client(endpoint, ann, "ec2").describe_vpcs), "UnauthorizedOperation")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=allow("ec2:DescribeVpcs", "sts:AssumeRole", "sts:GetSessionToken"))
    client(endpoint, ann, "ec2").describe_vpcs()
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=allow("ec2:*", "iam:ListUsers"))
    assumed = client(endpoint, ann, "sts").assume_role(RoleArn=role, RoleSessionName="night", Policy=allow("ec2:DescribeSubnets"))["Credentials"]
    reader = (assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"])
    equal("the session", client(endpoint, reader, "sts").get_caller_identity()["Arn"], "arn:aws:sts::000000000000:assumed-role/reader/night")
    client(endpoint, reader, "ec2").describe_subnets()
    equal("what the session's policy leaves out", error_code(client(endpoint, reader, "ec2").describe_vpcs), "UnauthorizedOperation")
    equal("a session without its token", error_code(client(endpoint, reader[:2], "ecs").list_clusters), "UnrecognizedClientException")
    equal("another's token", error_code(client(endpoint, (ann[0], ann[1], reader[2]), "ecs").list_clusters), "UnrecognizedClientException")
    equal("a changed token", error_code(client(endpoint, (*reader[:2], reader[2][:-8] + "AAAAAAA="), "ecs").list_clusters), "UnrecognizedClientException")
    own = client(endpoint, ann, "sts").get_session_token()["Credentials"]
    own = (own["AccessKeyId"], own["SecretAccessKey"], own["SessionToken"])
    equal("a user's session", client(endpoint, own, "sts").get_caller_identity()["Arn"], "arn:aws:iam::000000000000:user/ann")
    status, body = fetch(presigned(endpoint, own))
    assert status == 200 and "user/ann" in body, body
    status, body = fetch(presigned(endpoint, ann).replace("2011-06-15", "2011-06-16"))
    assert status == 403 and "SignatureDoesNotMatch" in body, body
    iam.update_access_key(UserName="ann", AccessKeyId=ann[0], Status="Inactive")
    equal("an inactive key", error_code(client(endpoint, ann, "ecs").list_clusters), "UnrecognizedClientException")
    iam.delete_role_policy(RoleName="reader", PolicyName="p")
    iam.delete_role(RoleName="reader")
    equal("a session of a role that is gone", error_code(client(endpoint, reader, "ec2").describe_subnets), "AuthFailure")
    return [root[1], ann[1]]


OWN = "arn:aws:iam::000000000000"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **s} for s in statements]})


def denied(call, **arguments):
    """(error code, message) of a refused call."""
    try:
        call(**arguments)
    except ClientError as e:
        return e.response["Error"]["Code"], e.response["Error"]["Message"]
    raise AssertionError(f"{arguments} was let through")


def person(endpoint, root, name, *statements):
    iam = client(endpoint, root, "iam")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def assume(endpoint, credentials, role, **more):
    given = client(endpoint, credentials, "sts").assume_role(RoleArn=role, RoleSessionName="me", **more)["Credentials"]
    return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]


def permissions(endpoint, root):
    """IAM is asked for every call: what nobody allows is refused in AWS's words, by every protocol."""
    iam, ec2 = client(endpoint, root, "iam"), client(endpoint, root, "ec2")
    bob = person(endpoint, root, "bob", {"Action": ["ec2:DescribeVpcs", "ecs:*", "sts:DecodeAuthorizationMessage"]}, {"Effect": "Deny", "Action": "ecs:DeleteCluster"})
    by = lambda service, who=bob: client(endpoint, who, service)
    user = f"User: {OWN}:user/bob is not authorized to perform:"
    by("ec2").describe_vpcs()
    for service, call, arguments, code, action, resource in (
            ("ecs", "delete_cluster", {"cluster": "x"}, "AccessDeniedException", "ecs:DeleteCluster", "arn:aws:ecs:us-east-1:000000000000:cluster/x"),
            ("logs", "describe_log_groups", {}, "AccessDeniedException", "logs:DescribeLogGroups", "arn:aws:logs:us-east-1:000000000000:log-group::log-stream:"),
            ("route53", "list_hosted_zones", {}, "AccessDenied", "route53:ListHostedZones", "*"),
            ("iam", "get_user", {"UserName": "ann"}, "AccessDenied", "iam:GetUser", f"{OWN}:user/ann"),
            ("elbv2", "describe_load_balancers", {}, "AccessDenied", "elasticloadbalancing:DescribeLoadBalancers", "*"),
            ("secretsmanager", "list_secrets", {}, "AccessDeniedException", "secretsmanager:ListSecrets", "*")):
        said = denied(getattr(by(service), call), **arguments)
        why = "with an explicit deny in an identity-based policy" if action == "ecs:DeleteCluster" else f"because no identity-based policy allows the {action} action"
        equal(f"{service} {call}", said, (code, f"{user} {action} on resource: {resource} {why}"))
    # EC2 says it sealed, and tells it to whoever may read it; a dry run says what a real one would.
    code, message = denied(by("ec2").create_vpc, CidrBlock="10.7.0.0/16")
    text, _, encoded = message.partition(". Encoded authorization failure message: ")
    equal("EC2's refusal", (code, text), ("UnauthorizedOperation", f"You are not authorized to perform this operation. {user} ec2:CreateVpc on resource: arn:aws:ec2:us-east-1:000000000000:vpc/* because no identity-based policy allows the ec2:CreateVpc action"))
    told = json.loads(by("sts").decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])
    equal("the message", (told["allowed"], told["context"]["action"], told["context"]["principal"]["arn"]), (False, "ec2:CreateVpc", f"{OWN}:user/bob"))
    equal("a changed message", denied(by("sts").decode_authorization_message, EncodedMessage=encoded[:-4])[0], "InvalidAuthorizationMessageException")
    equal("a dry run", denied(by("ec2").describe_vpcs, DryRun=True)[0], "DryRunOperation")
    equal("a dry run of what is denied", denied(by("ec2").create_vpc, CidrBlock="10.7.0.0/16", DryRun=True)[0], "UnauthorizedOperation")
    # What changes counts for the next call.
    iam.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=policy({"Action": "logs:DescribeLogGroups"}))
    by("logs").describe_log_groups()
    iam.delete_user_policy(UserName="bob", PolicyName="q")
    equal("a policy that was taken away", denied(by("logs").describe_log_groups)[0], "AccessDeniedException")
    # A cluster's name is judged however it is given.
    carl = person(endpoint, root, "carl", {"Action": "ecs:DescribeClusters", "Resource": "arn:aws:ecs:us-east-1:000000000000:cluster/mine"})
    for name, region, expected in (("mine", "us-east-1", None), ("other", "us-east-1", "AccessDeniedException"), ("arn:aws:ecs:us-east-1:000000000000:cluster/mine", "eu-west-1", "AccessDeniedException")):
        equal(f"{name} in {region}", error_code(client(endpoint, carl, "ecs", region).describe_clusters, clusters=[name]), expected)
    # A role that is handed over must be passed.
    iam.create_role(RoleName="passed", AssumeRolePolicyDocument=json.dumps(TRUST))
    register = lambda: by("ecs").register_task_definition(family="f", taskRoleArn=f"{OWN}:role/passed", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[{"name": "a", "image": "a"}])
    equal("passing a role", denied(register)[1], f"{user} iam:PassRole on resource: {OWN}:role/passed because no identity-based policy allows the iam:PassRole action")
    iam.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=policy({"Action": "iam:PassRole", "Resource": f"{OWN}:role/passed", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}))
    register()
    # A boundary takes away, and so does a session's policy; both with the root's, who has no limit.
    boundary = iam.create_policy(PolicyName="boundary", PolicyDocument=policy({"Action": ["ec2:Describe*", "sts:*"]}))["Policy"]["Arn"]
    bounded = iam.create_role(RoleName="bounded", AssumeRolePolicyDocument=json.dumps(TRUST), PermissionsBoundary=boundary)["Role"]["Arn"]
    iam.put_role_policy(RoleName="bounded", PolicyName="p", PolicyDocument=policy({"Action": "*"}))
    equal("the root assumes no role", denied(client(endpoint, root, "sts").assume_role, RoleArn=bounded, RoleSessionName="me"), ("AccessDenied", "Roles may not be assumed by root accounts."))
    equal("nor does who may not", denied(by("sts").assume_role, RoleArn=bounded, RoleSessionName="me"), ("AccessDenied", f"{user} sts:AssumeRole on resource: {bounded} because no identity-based policy allows the sts:AssumeRole action"))
    iam.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=policy({"Action": "sts:AssumeRole"}))
    limited = assume(endpoint, bob, bounded)
    by("ec2", limited).describe_vpcs()
    equal("beyond the boundary", denied(by("logs", limited).describe_log_groups)[1],
          "User: arn:aws:sts::000000000000:assumed-role/bounded/me is not authorized to perform: logs:DescribeLogGroups on resource: arn:aws:logs:us-east-1:000000000000:log-group::log-stream: because no permissions boundary allows the logs:DescribeLogGroups action")
    session = assume(endpoint, bob, bounded, Policy=policy({"Action": "ec2:DescribeSubnets"}))
    by("ec2", session).describe_subnets()
    assert "because no session policy allows" in denied(by("ec2", session).describe_vpcs)[1]
    own = client(endpoint, bob, "sts").get_session_token()["Credentials"]
    own = (own["AccessKeyId"], own["SecretAccessKey"], own["SessionToken"])
    by("ec2", own).describe_vpcs()
    equal("IAM with a session of one's own", denied(by("iam", own).list_users)[0], "InvalidClientTokenId")
    # A secret's own policy lets in, and keeps out.
    secrets = client(endpoint, root, "secretsmanager")
    secret = secrets.create_secret(Name="shared", SecretString="v")["ARN"]
    equal("a secret", denied(by("secretsmanager").get_secret_value, SecretId="shared")[0], "AccessDeniedException")
    secrets.put_resource_policy(SecretId="shared", ResourcePolicy=policy({"Action": "secretsmanager:GetSecretValue", "Principal": {"AWS": f"{OWN}:user/bob"}}))
    equal("by its policy", by("secretsmanager").get_secret_value(SecretId="shared")["SecretString"], "v")
    secrets.put_resource_policy(SecretId="shared", ResourcePolicy=policy({"Effect": "Deny", "Action": "secretsmanager:GetSecretValue", "Principal": "*"}))
    equal("its policy denies everybody", denied(client(endpoint, root, "secretsmanager").get_secret_value, SecretId="shared"), ("AccessDeniedException", f"User: {OWN}:root is not authorized to perform: secretsmanager:GetSecretValue on resource: {secret} with an explicit deny in a resource-based policy"))
    return bob


def accounts(region, endpoint, root, bob):
    """Two accounts: both sides must allow."""
    other = "111122223333"
    theirs = root_key(region.cli("root-key", "--account", other).splitlines())
    equal("the other's root", client(endpoint, theirs, "sts").get_caller_identity()["Arn"], f"arn:aws:iam::{other}:root")
    iam = client(endpoint, theirs, "iam")
    trust = lambda principal: json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}, "Condition": {"StringEquals": {"sts:ExternalId": "42"}}}]})
    role = iam.create_role(RoleName="guest", AssumeRolePolicyDocument=trust(f"{OWN}:root"))["Role"]["Arn"]
    iam.put_role_policy(RoleName="guest", PolicyName="p", PolicyDocument=policy({"Action": "ec2:DescribeVpcs"}))
    guest = assume(endpoint, bob, role, ExternalId="42")
    equal("who it is there", client(endpoint, guest, "sts").get_caller_identity()["Account"], other)
    vpcs = client(endpoint, guest, "ec2").describe_vpcs()["Vpcs"]
    assert vpcs and all(vpc["OwnerId"] == other for vpc in vpcs), vpcs
    equal("what else there is", denied(client(endpoint, guest, "ec2").describe_subnets)[0], "UnauthorizedOperation")
    refused = ("AccessDenied", f"User: {OWN}:user/bob is not authorized to perform: sts:AssumeRole on resource: {role}")
    equal("without the external id", denied(client(endpoint, bob, "sts").assume_role, RoleArn=role, RoleSessionName="me"), refused)
    # A secret of the other account's: its policy and one's own.
    secrets = client(endpoint, theirs, "secretsmanager")
    secret = secrets.create_secret(Name="lent", SecretString="v")["ARN"]
    ours = client(endpoint, root, "iam")
    read = lambda: denied(client(endpoint, bob, "secretsmanager").get_secret_value, SecretId=secret)
    secrets.put_resource_policy(SecretId=secret, ResourcePolicy=policy({"Action": "secretsmanager:GetSecretValue", "Principal": {"AWS": f"{OWN}:root"}}))
    equal("a secret that only its account lends", read()[0], "AccessDeniedException")
    ours.put_user_policy(UserName="bob", PolicyName="r", PolicyDocument=policy({"Action": "secretsmanager:GetSecretValue", "Resource": secret}))
    equal("a secret that both allow", client(endpoint, bob, "secretsmanager").get_secret_value(SecretId=secret)["SecretString"], "v")
    secrets.delete_resource_policy(SecretId=secret)
    equal("a secret that is not lent", read(), ("AccessDeniedException", f"User: {OWN}:user/bob is not authorized to perform: secretsmanager:GetSecretValue on resource: {secret} because no resource-based policy allows the secretsmanager:GetSecretValue action"))
    ours.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=policy({"Action": "ec2:DescribeVpcs"}))
    equal("without a policy of one's own", denied(client(endpoint, bob, "sts").assume_role, RoleArn=role, RoleSessionName="me", ExternalId="42")[0], "AccessDenied")
    ours.put_user_policy(UserName="bob", PolicyName="q", PolicyDocument=policy({"Action": "sts:AssumeRole"}))
    iam.update_assume_role_policy(RoleName="guest", PolicyDocument=trust(f"{OWN}:user/ann"))
    equal("without trust", denied(client(endpoint, bob, "sts").assume_role, RoleArn=role, RoleSessionName="me", ExternalId="42"), refused)
    equal("a role that is not there", denied(client(endpoint, bob, "sts").assume_role, RoleArn=f"{role}s", RoleSessionName="me")[0], "AccessDenied")


def operator(host, region, endpoint):
    """fogbank's own paths are for the host's root."""
    equal("from the network", fetch(f"{endpoint}/_fogbank/status")[0], 403)
    equal("by the socket", fetch("http://localhost/_fogbank/status", "--unix-socket", f"/run/fogbank/{region.instance}/operator.sock")[0], 200)
    assert region.status()["config"]["auth"] == "enforce" if "config" in region.status() else True
    for name in ("operator.sock", "door.sock"):
        mode = os.stat(f"/run/fogbank/{region.instance}/{name}").st_mode & 0o777
        equal(f"mode of {name}", oct(mode), oct(0o600))


def registry(endpoint, root):
    """Docker's login: the password of GetAuthorizationToken, worth what its owner is."""
    ecr = client(endpoint, root, "ecr")
    repositories = {r["repositoryName"] for r in ecr.describe_repositories()["repositories"]}
    assert "probe" in repositories, repositories
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    tags = f"{endpoint}/v2/probe/tags/list"
    equal("without a password", fetch(tags)[0], 401)
    equal("with any password", fetch(tags, "-u", "AWS:password")[0], 401)
    status, body = fetch(tags, "-H", f"Authorization: Basic {token}")
    assert status == 200 and "1" in json.loads(body)["tags"], body


def task(host, region, endpoint, root):
    """A task calls the region's services from inside its network, by its role."""
    ec2, iam, logs = (client(endpoint, root, service) for service in ("ec2", "iam", "logs"))
    region.client = lambda service, *_, **__: client(endpoint, root, service)
    role = iam.create_role(RoleName="task", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="task", PolicyName="p", PolicyDocument=allow("logs:DescribeLogGroups"))
    iam.create_role(RoleName="execution", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(RoleName="execution", PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    way_out(ec2, vpc)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"][0]["GroupId"]
    tasks = Tasks(host, region, [subnet], [group], public=True)
    definition = tasks.ecs.register_task_definition(
        family="own", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", taskRoleArn=role,
        executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=[{
            "name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/probe:1", "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "/probes", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}}])["taskDefinition"]["taskDefinitionArn"]
    code, said = tasks.run("wget -qO- 169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", definition=definition)
    equal("the task's credentials", code, 0)
    given = json.loads(said)
    own = (given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
    client(endpoint, own, "logs").describe_log_groups()
    equal("what its role does not allow", error_code(client(endpoint, own, "ecs").list_clusters), "AccessDeniedException")
    service = "http://sts.us-east-1.amazonaws.com"
    code, said = tasks.run(f"wget -qO- '{presigned(endpoint, own, host=service)}'")
    assert code == 0 and "assumed-role/task/" in said, (code, said)
    code, said = tasks.run(f"wget -qO- '{presigned(endpoint, (*own[:1], 'wrong', own[2]), host=service)}'")
    assert code != 0, "a wrong secret at a door"
    execution(endpoint, root, tasks)
    through_an_endpoint(endpoint, root, tasks, vpc, own)


def execution(endpoint, root, tasks):
    """What starts a task is done by its execution role: what that may not, fails in AWS's words."""
    iam, secrets, ssm = (client(endpoint, root, service) for service in ("iam", "secretsmanager", "ssm"))
    secret = secrets.create_secret(Name="injected", SecretString="hidden")["ARN"]
    ssm.put_parameter(Name="/injected", Type="SecureString", Value="hidden")
    definition = tasks.define(secrets=[{"name": "S", "valueFrom": secret}, {"name": "P", "valueFrom": "/injected"}])
    arn = tasks.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]["executionRoleArn"]

    def reason(what, definition=definition):
        started = tasks.start(["true"], definition=definition)
        said = tasks.ended(started).get("stoppedReason", "")
        session = f"arn:aws:sts::000000000000:assumed-role/execution/{started.rsplit('/', 1)[1]}"
        assert f"AccessDeniedException: User: {session} is not authorized to perform: {what}" in said, said
        return said

    started = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve"
    assert reason("ssm:GetParameters on resource: arn:aws:ssm:us-east-1:000000000000:parameter/injected").startswith(f"{started} secrets from ssm")
    iam.put_role_policy(RoleName="execution", PolicyName="p", PolicyDocument=policy({"Action": "ssm:GetParameters"}))
    assert reason(f"secretsmanager:GetSecretValue on resource: {secret}").startswith(f"{started} secret from asm")
    iam.put_role_policy(RoleName="execution", PolicyName="p", PolicyDocument=policy({"Action": ["ssm:GetParameters", "secretsmanager:GetSecretValue"]}))
    equal("the secrets", tasks.run("echo $S $P", definition=definition), (0, "hidden hidden"))
    plain = tasks.define()
    iam.detach_role_policy(RoleName="execution", PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    assert reason("ecr:GetAuthorizationToken on resource: *", plain).startswith(f"{started} ecr registry auth")
    iam.put_role_policy(RoleName="execution", PolicyName="p", PolicyDocument=policy({"Action": "ecr:*"}))
    assert "failed to create Cloudwatch log stream" in reason("logs:CreateLogStream on resource: arn:aws:logs:us-east-1:000000000000:log-group:/probes:log-stream:p/main/", plain)
    iam.attach_role_policy(RoleName="execution", PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    iam.update_assume_role_policy(RoleName="execution", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]}))
    said = tasks.ended(tasks.start(["true"], definition=plain))["stoppedReason"]
    assert said.startswith(f"ECS was unable to assume the role '{arn}'"), said
    iam.update_assume_role_policy(RoleName="execution", PolicyDocument=json.dumps(TRUST))


def through_an_endpoint(endpoint, root, tasks, vpc, own):
    """An interface endpoint has a policy of its own, and policies can ask which way a call came."""
    iam, ec2 = client(endpoint, root, "iam"), client(endpoint, root, "ec2")
    iam.create_role(RoleName="inner", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="task", PolicyName="p", PolicyDocument=policy({"Action": "sts:AssumeRole", "Condition": {"StringLike": {"aws:SourceVpce": "vpce-*"}, "StringEquals": {"aws:SourceVpc": vpc}}}))
    made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.us-east-1.sts", VpcEndpointType="Interface", SubnetIds=tasks.subnets, SecurityGroupIds=tasks.groups, PrivateDnsEnabled=True)["VpcEndpoint"]["VpcEndpointId"]
    ec2.authorize_security_group_ingress(GroupId=tasks.groups[0], IpPermissions=[{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}])
    wait("the endpoint", lambda: ec2.describe_vpc_endpoints(VpcEndpointIds=[made])["VpcEndpoints"][0]["State"] == "available", 30)
    host = "http://sts.us-east-1.amazonaws.com"
    assumed = lambda host=None: presigned(endpoint, own, host=host, action=f"AssumeRole&RoleSessionName=me&RoleArn={urllib.parse.quote(OWN + ':role/inner', safe='')}")
    status, body = fetch(assumed())
    assert status == 403 and "AccessDenied" in body, f"from elsewhere: {body}"
    code, said = tasks.run(f"wget -qO- '{assumed(host)}'")
    assert code == 0 and "assumed-role/inner/me" in said, (code, said)
    ec2.modify_vpc_endpoint(VpcEndpointId=made, PolicyDocument=policy({"Action": "sts:GetCallerIdentity", "Principal": "*"}))
    code, said = tasks.run(f"wget -qO- '{assumed(host)}'; wget -qO- '{presigned(endpoint, own, host=host)}'")
    assert code == 0 and "assumed-role/inner" not in said and "assumed-role/task/" in said, (code, said)


def aws(endpoint, credentials, *arguments, ca=None):
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": credentials[0], "AWS_SECRET_ACCESS_KEY": credentials[1], "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
    if ca:
        environment["AWS_CA_BUNDLE"] = ca
    return subprocess.run(["aws", "--endpoint-url", endpoint, "--output", "text", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def encrypted(host, region, root):
    """The same region with TLS, its state as it was."""
    endpoint = "https://127.0.0.1:4566"
    ca = os.path.join(host.folder, "ca.pem")
    open(ca, "w").write(region.cli("ca"))
    equal("curl", fetch(f"{endpoint}/_fogbank/status", "--cacert", ca)[0], 403)
    equal("curl, which does not trust it", fetch(endpoint)[0], 0)
    equal("by another name", fetch("https://localhost:4566/_fogbank/status", "--cacert", ca)[0], 403)
    said = aws(endpoint, root, "sts", "get-caller-identity", "--query", "Arn", ca=ca)
    equal("the AWS CLI", said.stdout.strip(), "arn:aws:iam::000000000000:root")
    said = aws(endpoint, (root[0], "wrong"), "sts", "get-caller-identity", ca=ca)
    assert said.returncode != 0 and "SignatureDoesNotMatch" in said.stdout, said.stdout
    client(endpoint, root, "ec2", verify=ca).describe_vpcs()
    region.status()


def readable(folder, secrets):
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            content = open(path, "rb").read()
            for secret in secrets:
                assert secret.encode() not in content, f"{path} has a secret in it"


def scenario(host):
    data = os.path.join(host.folder, "data")
    said = subprocess.run([host.fogbank, "up", "--instance", host.instance, "--endpoint", "0.0.0.0:4566", "--auth", "off"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert said.returncode != 0 and "not a loopback address" in said.stdout, said.stdout
    value = f"secret-{uuid.uuid4()}"
    with host.region("--auth", "enforce", data=data) as region:
        endpoint, root = region.endpoint, root_key(region.lines)
        assert root, region.lines
        assert any("authentication: enforced" in line for line in region.lines), region.lines
        refusals(endpoint, root)
        secrets = people(endpoint, root)
        bob = permissions(endpoint, root)
        accounts(region, endpoint, root, bob)
        client(endpoint, root, "secretsmanager").create_secret(Name="s", SecretString=value)
        client(endpoint, root, "ssm").put_parameter(Name="/p", Type="SecureString", Value=value)
        task(host, region, endpoint, root)
        registry(endpoint, root)
        operator(host, region, endpoint)
        code = aws(endpoint, root, "ec2", "describe-vpcs")
        equal("the AWS CLI", code.returncode, 0)
        another = root_key(region.cli("root-key").splitlines())
        equal("another root key", client(endpoint, another, "sts").get_caller_identity()["Arn"], "arn:aws:iam::000000000000:root")
        secrets += [another[1], value]
    readable(data, secrets)
    equal("who may read the key", oct(os.stat(os.path.join(data, "store.key")).st_mode & 0o777), oct(0o600))
    with host.region("--auth", "enforce", "--tls", data=data) as region:
        equal("a root key shown again", root_key(region.lines), {})
        encrypted(host, region, root)
        verify = os.path.join(host.folder, "ca.pem")
        found = client("https://127.0.0.1:4566", root, "secretsmanager", verify=verify).get_secret_value(SecretId="s")
        equal("the secret", found["SecretString"], value)
    # Without its key the state is told to be so, not thrown away.
    os.rename(os.path.join(data, "store.key"), os.path.join(data, "kept"))
    said = subprocess.run([host.fogbank, "up", "--instance", host.instance, "--data", data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert said.returncode != 0 and "store.key" in said.stdout, said.stdout
    os.rename(os.path.join(data, "kept"), os.path.join(data, "store.key"))
