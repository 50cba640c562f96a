"""A region that lets nobody in without a key: its root, a user, a role and a task by boto3, the AWS CLI and bare requests;
what is wrong with a request is refused in AWS's words; the endpoint with TLS; no secret lies readable in its data folder."""
import datetime, hashlib, hmac, json, os, re, signal, socket, ssl, subprocess, urllib.parse, uuid

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

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


def presigned(endpoint, credentials, seconds=60, host=None):
    made = AWSRequest("GET", f"{host or endpoint}/?Action=GetCallerIdentity&Version=2011-06-15")
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
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
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
    return tasks


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
