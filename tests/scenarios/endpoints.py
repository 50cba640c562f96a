"""Ways to AWS's services from inside: by NAT, by interface and gateway endpoints, by nothing. Real clients (boto3, over TLS with the
region's own authority, with AWS's own names) run in the network namespaces of tasks."""
import json, os, socket, ssl, subprocess, sys
from host import Tasks, equal, sh, wait

CLIENT = """
import json, sys, boto3, socket, ssl, urllib.request, urllib.error
from botocore.config import Config
from botocore.exceptions import ClientError, BotoCoreError
service, call, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if service == "resolve":
    print(",".join(sorted({a[4][0] for a in socket.getaddrinfo(call, 443, socket.AF_INET, socket.SOCK_STREAM)})))
elif service == "ipv6":
    address = socket.getaddrinfo(call, 443, socket.AF_INET6, socket.SOCK_STREAM)[0][4]
    with socket.create_connection(address[:2], 3) as plain, ssl.create_default_context(cafile=options["ca"]).wrap_socket(plain, server_hostname=call) as tls:
        tls.sendall(b"GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
        print(address[0], tls.recv(12)[-3:].decode())
elif service == "registry":
    try:
        print(urllib.request.urlopen(call, timeout=3, context=ssl.create_default_context(cafile=options["ca"])).status)
    except urllib.error.HTTPError as e:
        print(e.code)
    except OSError as e:
        print(type(e).__name__)
else:
    given = options.pop("with_", {})
    client = boto3.Session("test", "secret", region_name=options.pop("region", "us-east-1")).client(
        service, verify=options.pop("ca"), config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}), **options)
    try:
        getattr(client, call)(**given)
        print("ok")
    except ClientError as e:
        print(e.response["Error"]["Code"])
    except BotoCoreError as e:
        print(type(e).__name__)
"""


class Inside:
    """A place in the network: the namespace of a task's interface, with the task's resolver."""

    def __init__(self, host, region, tasks, subnet):
        self.folder, self.ca = host.folder, os.path.join(host.folder, "ca.pem")
        arn = tasks.start(["sleep", "1000"], subnet=subnet)
        task = wait("the task runs", lambda: (t := tasks.describe(arn))["lastStatus"] in ("RUNNING", "STOPPED") and t, 40)
        equal("the task", (task["lastStatus"], task.get("stoppedReason")), ("RUNNING", None))
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        self.namespace = f"fog-{region.instance}-{details['networkInterfaceId'].removeprefix('eni-')}"
        self.resolv = os.path.join(host.folder, "resolv.conf")
        self.use_resolver()

    def use_resolver(self):
        with open(self.resolv, "w") as out:
            out.write("nameserver 10.0.0.2\noptions timeout:1 attempts:2\n")

    def python(self, *arguments):
        script = f'busybox mount -o bind {self.resolv} /etc/resolv.conf && exec "$@"'
        done = subprocess.run(["ip", "netns", "exec", self.namespace, "sh", "-c", script, "sh", sys.executable, "-c", CLIENT, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                              env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {"AWS_EC2_METADATA_DISABLED": "true"})
        return done.stdout.strip() or done.stderr[-300:]

    def call(self, service, operation, **options):
        return self.python(service, operation, json.dumps({"ca": self.ca, **options}))

    def resolve(self, name):
        return self.python("resolve", name, "{}")


def scenario(host):
    # With a state on disk, as control is killed.
    with host.region("--speed", "10", data=os.path.join(host.folder, "data")) as region:
        ec2, = region.clients("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        public, private, lonely = (ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"] for n in range(3))
        block = wait("a block of IPv6", lambda: [a["Ipv6CidrBlock"] for a in ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0].get("Ipv6CidrBlockAssociationSet", [])])[0]
        ec2.associate_subnet_cidr_block(SubnetId=private, Ipv6CidrBlock=block.replace("::/56", "::/64"))
        ec2.modify_subnet_attribute(SubnetId=private, AssignIpv6AddressOnCreation={"Value": True})
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
        tables = {}
        for subnet, target in ((public, {"GatewayId": gateway}), (private, {"NatGatewayId": nat}), (lonely, None)):
            tables[subnet] = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
            ec2.associate_route_table(RouteTableId=tables[subnet], SubnetId=subnet)
            if target:
                ec2.create_route(RouteTableId=tables[subnet], DestinationCidrBlock="0.0.0.0/0", **target)
        egress = ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
        ec2.create_route(RouteTableId=tables[private], DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=egress)
        group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
        door = ec2.create_security_group(GroupName="endpoints", Description="endpoints", VpcId=vpc)["GroupId"]
        https = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": group}]}]
        ec2.authorize_security_group_ingress(GroupId=door, IpPermissions=https)
        with open(os.path.join(host.folder, "ca.pem"), "w") as out:
            out.write(region.cli("ca"))
        tasks = Tasks(host, region, [private, lonely], [group])
        region.client("logs").create_log_group(logGroupName="/endpoints")

        # By NAT, at the public addresses.
        by_nat = Inside(host, region, tasks, 0)
        equal("logs by NAT", by_nat.resolve("logs.us-east-1.amazonaws.com"), "198.18.0.8")
        for service, operation in (("ec2", "describe_vpcs"), ("logs", "describe_log_groups"), ("ecs", "list_clusters"), ("sts", "get_caller_identity"),
                                   ("ecr", "describe_repositories"), ("elbv2", "describe_load_balancers"), ("iam", "list_roles"),
                                   ("ssm", "describe_parameters"), ("secretsmanager", "list_secrets"), ("servicediscovery", "list_namespaces")):
            equal(f"{service} by NAT", by_nat.call(service, operation), "ok")
        equal("ecs in another region", by_nat.call("ecs", "list_clusters", region="eu-west-1"), "ok")
        equal("by plain HTTP", by_nat.call("ec2", "describe_vpcs", endpoint_url="http://ec2.us-east-1.amazonaws.com"), "ok")
        equal("s3, which has no buckets", by_nat.call("s3", "list_buckets"), "MethodNotAllowed")
        equal("dynamodb, where nobody is", by_nat.call("dynamodb", "list_tables"), "EndpointConnectionError")
        registry = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
        signed = by_nat.python("registry", f"https://{registry}/v2/", json.dumps({"ca": by_nat.ca}))
        assert signed in ("200", "401"), signed
        reset = by_nat.python("registry", f"https://ec2.us-east-1.amazonaws.com/_fogbank/status", json.dumps({"ca": by_nat.ca}))
        equal("the region's own paths", reset, "404")

        # By IPv6 through an egress-only gateway, the name asked of the resolver's own IPv6 address as well.
        for server in ("10.0.0.2", "fd00:ec2::253"):
            with open(by_nat.resolv, "w") as out:
                out.write(f"nameserver {server}\n")
            address, _, status = by_nat.python("ipv6", "logs.us-east-1.api.aws", json.dumps({"ca": by_nat.ca})).partition(" ")
            assert address.endswith("::8") and status[:1] == "4", (server, address, status)
        by_nat.use_resolver()

        # The host knows the names as well; its certificates are for AWS's names only.
        equal("the name in public", region.resolve("logs.us-east-1.amazonaws.com"), (0, ["198.18.0.8"]))
        context = ssl.create_default_context(cafile=by_nat.ca)
        with socket.create_connection(("198.18.0.8", 443), 3) as plain, context.wrap_socket(plain, server_hostname="vpce-1-a.logs.us-east-1.vpce.amazonaws.com") as tls:
            tls.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            assert b" 4" in tls.recv(12), "an answer of the API"

        # By nothing: no image, so no task.
        arn = tasks.start(["true"], subnet=1)
        stopped = tasks.ended(arn)
        assert "CannotPullContainerError" in str(stopped) or "ResourceInitializationError" in str(stopped), stopped

        # By endpoints.
        def endpoint(service, **more):
            made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=f"com.amazonaws.us-east-1.{service}", **more)["VpcEndpoint"]
            def available():
                row = ec2.describe_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])["VpcEndpoints"][0]
                return row["State"] == "available" and row
            return wait(f"the endpoint of {service}", available)

        inside = {"VpcEndpointType": "Interface", "SubnetIds": [lonely], "SecurityGroupIds": [door], "PrivateDnsEnabled": True}
        made = {service: endpoint(service, **inside) for service in ("ecr.api", "ecr.dkr", "logs", "ssm", "secretsmanager", "servicediscovery", "data-servicediscovery")}
        made["s3"] = endpoint("s3", VpcEndpointType="Gateway", RouteTableIds=[tables[lonely]])
        by_endpoint = Inside(host, region, tasks, 1)
        own = ec2.describe_network_interfaces(NetworkInterfaceIds=made["logs"]["NetworkInterfaceIds"])["NetworkInterfaces"][0]["PrivateIpAddress"]
        for where in (by_endpoint, by_nat):
            wait("the name leads to the endpoint", lambda: where.resolve("logs.us-east-1.amazonaws.com") == own)
            equal("logs by its endpoint", where.call("logs", "describe_log_groups"), "ok")
            equal("the registry by its endpoint", where.python("registry", f"https://{registry}/v2/", json.dumps({"ca": where.ca})), signed)
        equal("ecr by its endpoint", by_endpoint.call("ecr", "describe_repositories"), "ok")
        for service, operation in (("ssm", "describe_parameters"), ("secretsmanager", "list_secrets"), ("servicediscovery", "list_namespaces")):
            equal(f"{service} by its endpoint", by_endpoint.call(service, operation), "ok")
        equal("another operation than the endpoint's service has", by_endpoint.call("ssm", "describe_parameters", endpoint_url="https://secretsmanager.us-east-1.amazonaws.com"), "UnknownOperationException")
        equal("instances by their own endpoint", by_endpoint.call("servicediscovery", "discover_instances", with_={"NamespaceName": "none", "ServiceName": "none"}), "NamespaceNotFound")
        equal("s3 by its gateway endpoint", by_endpoint.call("s3", "list_buckets"), "MethodNotAllowed")
        for service, operation in (("ec2", "describe_vpcs"), ("ecs", "list_clusters"), ("dynamodb", "list_tables")):
            equal(f"{service} without an endpoint", by_endpoint.call(service, operation), "ConnectTimeoutError")
        names = [entry["DnsName"] for entry in made["logs"]["DnsEntries"]]
        for name in names[:2]:
            if name.startswith("vpce-"):
                equal(f"by the endpoint's own name {name}", by_endpoint.call("logs", "describe_log_groups", endpoint_url=f"https://{name}"), "ok")
        other = by_endpoint.call("ecs", "list_clusters", endpoint_url="https://logs.us-east-1.amazonaws.com")
        assert other not in ("ok", "ConnectTimeoutError", "SSLError"), other
        other = by_endpoint.call("logs", "describe_log_groups", region="eu-west-1", endpoint_url="https://logs.us-east-1.amazonaws.com")
        assert other not in ("ok", "ConnectTimeoutError", "SSLError"), other

        # The endpoint's group decides.
        ec2.revoke_security_group_ingress(GroupId=door, IpPermissions=https)
        equal("with the group shut", by_endpoint.call("logs", "describe_log_groups"), "ConnectTimeoutError")
        ec2.authorize_security_group_ingress(GroupId=door, IpPermissions=https)
        equal("with the group open again", by_endpoint.call("logs", "describe_log_groups"), "ok")

        # The doors are back when their process is, and when control is.
        for name in ("services", "control"):
            before = region.pid(name)
            os.kill(before, 9)
            wait(f"another {name}", lambda: region.pid(name) != before)
            wait(f"logs after {name} died", lambda: by_endpoint.call("logs", "describe_log_groups") == "ok")

        # Without private names the public address is told, to which nothing leads.
        ec2.delete_vpc_endpoints(VpcEndpointIds=[row["VpcEndpointId"] for row in made.values()])
        wait("the name is public again", lambda: by_endpoint.resolve("logs.us-east-1.amazonaws.com") == "198.18.0.8")
        for service, operation in (("logs", "describe_log_groups"), ("s3", "list_buckets")):
            equal(f"{service} after the endpoints are gone", by_endpoint.call(service, operation), "ConnectTimeoutError")
        equal("by NAT again", by_nat.call("logs", "describe_log_groups"), "ok")
