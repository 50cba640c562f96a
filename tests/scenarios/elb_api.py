"""Every operation of Elastic Load Balancing v2, called well and badly: with ARNs of nobody and that are none, with values
outside their ranges, in states that forbid the call; nothing that is refused may change anything. Logs that are turned on
try their bucket; what a trust store keeps is given back."""
import pathlib, urllib.request
from botocore import xform_name
from botocore.exceptions import ClientError
from host import equal
from scenarios import terraform_elb

#: Operations that have nothing to succeed on: resources can't be shared here.
NEVER_GOOD = {"GetResourcePolicy", "DeleteSharedTrustStoreAssociation"}
NOBODY = "0123456789abcdef"


class Api:
    def __init__(self, elb):
        self.elb, self.good, self.bad, self.wrong = elb, set(), set(), []

    def call(self, operation, **arguments):
        answer = getattr(self.elb, xform_name(operation))(**arguments)
        answer.pop("ResponseMetadata")
        self.good.add(operation)
        return answer

    def refused(self, operation, code, **arguments):
        self.bad.add(operation)
        try:
            getattr(self.elb, xform_name(operation))(**arguments)
            found = "no error"
        except ClientError as e:
            found = e.response["Error"]["Code"]
            if found == code:
                return
            found += ": " + e.response["Error"]["Message"]
        self.wrong.append(f"{operation} {arguments}: {found} instead of {code}")


def network(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    six = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}",
                                 Ipv6CidrBlock=six.replace("00::/56", f"{n:02x}::/64"))["Subnet"]["SubnetId"] for n, zone in enumerate("abc")]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway)
    group = ec2.create_security_group(GroupName="elb", Description="elb", VpcId=vpc)["GroupId"]
    return vpc, subnets, group


def fixed(status="200", **more):
    return {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status}, **more}


def forward(*groups, **more):
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": 1} for arn in groups]}, **more}


OIDC = {"Issuer": "https://idp.example/", "AuthorizationEndpoint": "https://idp.example/a", "TokenEndpoint": "https://idp.example/t",
        "UserInfoEndpoint": "https://idp.example/u", "ClientId": "c", "ClientSecret": "s"}


def login(**changes):
    config = {**OIDC, **changes}
    return {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {k: v for k, v in config.items() if v is not None}}


def load_balancers(api, vpc, subnets, group, buckets):
    create = lambda name, **more: api.call("CreateLoadBalancer", Name=name, Subnets=subnets[:2], **more)["LoadBalancers"][0]["LoadBalancerArn"]
    arn = create("main")
    equal("the same again", create("main"), arn)
    gone = arn.replace("/main/", "/gone/")
    api.refused("CreateLoadBalancer", "DuplicateLoadBalancerName", Name="main", Subnets=subnets[:2], Scheme="internal")
    api.refused("CreateLoadBalancer", "ValidationError", Name="-a", Subnets=subnets[:2])
    api.refused("CreateLoadBalancer", "ValidationError", Name="a", Subnets=subnets[:1])
    api.refused("CreateLoadBalancer", "SubnetNotFound", Name="a", Subnets=["subnet-" + NOBODY + "0"] * 2)
    api.refused("CreateLoadBalancer", "ValidationError", Name="a", Subnets=subnets[:2], IpAddressType="six")
    api.refused("CreateLoadBalancer", "ValidationError", Name="a", Subnets=subnets[:2], Type="network")
    equal("described", [lb["LoadBalancerName"] for lb in api.call("DescribeLoadBalancers", Names=["main"])["LoadBalancers"]], ["main"])
    api.refused("DescribeLoadBalancers", "LoadBalancerNotFound", LoadBalancerArns=[gone])
    api.refused("DescribeLoadBalancers", "ValidationError", LoadBalancerArns=["nonsense"])

    api.call("SetIpAddressType", LoadBalancerArn=arn, IpAddressType="dualstack")
    api.refused("SetIpAddressType", "ValidationError", LoadBalancerArn=arn, IpAddressType="six")
    api.refused("SetIpAddressType", "LoadBalancerNotFound", LoadBalancerArn=gone, IpAddressType="ipv4")
    equal("zones", len(api.call("SetSubnets", LoadBalancerArn=arn, Subnets=subnets)["AvailabilityZones"]), 3)
    api.refused("SetSubnets", "ValidationError", LoadBalancerArn=arn, Subnets=subnets[:1])
    api.call("SetSecurityGroups", LoadBalancerArn=arn, SecurityGroups=[group])
    api.refused("SetSecurityGroups", "InvalidSecurityGroup", LoadBalancerArn=arn, SecurityGroups=["sg-" + NOBODY + "0"])

    attribute = lambda key, value: [{"Key": key, "Value": value}]
    modify = lambda **pairs: api.call("ModifyLoadBalancerAttributes", LoadBalancerArn=arn,
                                      Attributes=[{"Key": k.replace("__", "."), "Value": v} for k, v in pairs.items()])
    modify(access_logs__s3__enabled="true", access_logs__s3__bucket="logs", access_logs__s3__prefix="a/b")
    assert (buckets / "logs/a/b/AWSLogs/000000000000/ELBAccessLogTestFile").is_file()
    for key, value, code in [("idle_timeout.timeout_seconds", "0", "ValidationError"), ("nope", "1", "ValidationError"),
                             ("connection_logs.s3.enabled", "true", "InvalidConfigurationRequest"), ("access_logs.s3.bucket", "../x", "ValidationError"),
                             ("load_balancing.cross_zone.enabled", "false", "ValidationError")]:
        api.refused("ModifyLoadBalancerAttributes", code, LoadBalancerArn=arn, Attributes=attribute(key, value))
    shown = {a["Key"]: a["Value"] for a in api.call("DescribeLoadBalancerAttributes", LoadBalancerArn=arn)["Attributes"]}
    equal("unchanged", (shown["idle_timeout.timeout_seconds"], shown["connection_logs.s3.enabled"]), ("60", "false"))
    api.refused("DescribeLoadBalancerAttributes", "LoadBalancerNotFound", LoadBalancerArn=gone)
    api.call("DescribeCapacityReservation", LoadBalancerArn=arn)
    api.refused("DescribeCapacityReservation", "LoadBalancerNotFound", LoadBalancerArn=gone)
    api.call("ModifyCapacityReservation", LoadBalancerArn=arn, ResetCapacityReservation=True)
    api.refused("ModifyCapacityReservation", "InsufficientCapacity", LoadBalancerArn=arn, MinimumLoadBalancerCapacity={"CapacityUnits": 500})
    api.call("ModifyIpPools", LoadBalancerArn=arn, RemoveIpamPools=["ipv4"])
    api.refused("ModifyIpPools", "LoadBalancerNotFound", LoadBalancerArn=gone, RemoveIpamPools=["ipv4"])
    return arn, gone


def target_groups(api, vpc):
    def create(name, **more):
        wanted = {"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip", **more}
        return api.call("CreateTargetGroup", **wanted)["TargetGroups"][0]
    plain, other = create("plain")["TargetGroupArn"], create("other", Protocol="HTTPS", ProtocolVersion="HTTP2")["TargetGroupArn"]
    grpc = create("grpc", ProtocolVersion="GRPC")
    equal("gRPC's matcher", (grpc["Matcher"], grpc["HealthCheckPath"]), ({"GrpcCode": "12"}, "/AWS.ALB/healthcheck"))
    six = create("six", IpAddressType="ipv6")["TargetGroupArn"]
    bad = lambda code, **more: api.refused("CreateTargetGroup", code, **{"Name": "bad", "Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip", **more})
    bad("DuplicateTargetGroupName", Name="plain", Port=81)
    bad("ValidationError", ProtocolVersion="HTTP3")
    bad("ValidationError", Protocol="TCP")
    bad("ValidationError", TargetType="lambda")
    bad("ValidationError", VpcId="vpc-" + NOBODY + "0")
    bad("ValidationError", ProtocolVersion="GRPC", Matcher={"HttpCode": "200"})
    bad("ValidationError", Matcher={"HttpCode": "200-500"})
    bad("ValidationError", HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=5)
    gone = plain.replace("/plain/", "/gone/")
    api.call("ModifyTargetGroup", TargetGroupArn=grpc["TargetGroupArn"], Matcher={"GrpcCode": "0-99"})
    api.refused("ModifyTargetGroup", "ValidationError", TargetGroupArn=plain, Matcher={"GrpcCode": "0"})
    api.refused("ModifyTargetGroup", "TargetGroupNotFound", TargetGroupArn=gone)
    api.call("DescribeTargetGroups", Names=["plain"])
    api.refused("DescribeTargetGroups", "TargetGroupNotFound", TargetGroupArns=[gone])
    modify = lambda pairs: {"TargetGroupArn": plain, "Attributes": [{"Key": k, "Value": v} for k, v in pairs.items()]}
    api.call("ModifyTargetGroupAttributes", **modify({"slow_start.duration_seconds": "30"}))
    for code, pairs in [("InvalidConfigurationRequest", {"load_balancing.algorithm.type": "least_outstanding_requests"}),
                        ("InvalidConfigurationRequest", {"load_balancing.algorithm.anomaly_mitigation": "on"}),
                        ("ValidationError", {"stickiness.app_cookie.cookie_name": "AWSALBTG"}),
                        ("ValidationError", {"deregistration_delay.timeout_seconds": "3601"})]:
        api.refused("ModifyTargetGroupAttributes", code, **modify(pairs))
    equal("attributes", len(api.call("DescribeTargetGroupAttributes", TargetGroupArn=plain)["Attributes"]), 14)
    api.refused("DescribeTargetGroupAttributes", "TargetGroupNotFound", TargetGroupArn=gone)
    targets = lambda *ips: {"TargetGroupArn": plain, "Targets": [{"Id": ip} for ip in ips]}
    api.call("RegisterTargets", **targets("10.0.0.99"))
    api.refused("RegisterTargets", "ValidationError", **targets("8.8.8.8"))
    api.refused("RegisterTargets", "ValidationError", TargetGroupArn=six, Targets=[{"Id": "10.0.0.9"}])
    equal("targets", len(api.call("DescribeTargetHealth", TargetGroupArn=plain)["TargetHealthDescriptions"]), 1)
    api.refused("DescribeTargetHealth", "TargetGroupNotFound", TargetGroupArn=gone)
    api.call("DeregisterTargets", **targets("10.0.0.99"))
    api.refused("DeregisterTargets", "TargetGroupNotFound", TargetGroupArn=gone, Targets=[{"Id": "10.0.0.9"}])
    return plain, other, grpc["TargetGroupArn"], six, gone


def trust_stores(api, bundles):
    terraform_elb.authority(bundles, "one")
    bundle = {"CaCertificatesBundleS3Bucket": "bundles", "CaCertificatesBundleS3Key": "one.pem"}
    arn = api.call("CreateTrustStore", Name="clients", **bundle)["TrustStores"][0]["TrustStoreArn"]
    gone = arn.replace("/clients/", "/gone/")
    api.refused("CreateTrustStore", "DuplicateTrustStoreName", Name="clients", **bundle)
    api.refused("CreateTrustStore", "CaCertificatesBundleNotFound", Name="x", **{**bundle, "CaCertificatesBundleS3Key": "none"})
    api.refused("CreateTrustStore", "CaCertificatesBundleNotFound", Name="x", **{**bundle, "CaCertificatesBundleS3Key": "../../secret"})
    api.refused("CreateTrustStore", "InvalidCaCertificatesBundle", Name="x", **{**bundle, "CaCertificatesBundleS3Key": "revoked.pem"})
    api.call("ModifyTrustStore", TrustStoreArn=arn, **bundle)
    api.refused("ModifyTrustStore", "TrustStoreNotFound", TrustStoreArn=gone, **bundle)
    equal("authorities", api.call("DescribeTrustStores", Names=["clients"])["TrustStores"][0]["NumberOfCaCertificates"], 1)
    api.refused("DescribeTrustStores", "TrustStoreNotFound", TrustStoreArns=[gone])
    content = lambda key: [{"S3Bucket": "bundles", "S3Key": key, "RevocationType": "CRL"}]
    one = api.call("AddTrustStoreRevocations", TrustStoreArn=arn, RevocationContents=content("revoked.pem"))["TrustStoreRevocations"][0]["RevocationId"]
    api.refused("AddTrustStoreRevocations", "RevocationContentNotFound", TrustStoreArn=arn, RevocationContents=content("none"))
    api.refused("AddTrustStoreRevocations", "InvalidRevocationContent", TrustStoreArn=arn, RevocationContents=content("one.pem"))
    api.call("DescribeTrustStoreRevocations", TrustStoreArn=arn, RevocationIds=[one])
    api.refused("DescribeTrustStoreRevocations", "RevocationIdNotFound", TrustStoreArn=arn, RevocationIds=[one + 1])
    for operation, arguments, text in [("GetTrustStoreCaCertificatesBundle", {}, b"BEGIN CERTIFICATE"), ("GetTrustStoreRevocationContent", {"RevocationId": one}, b"BEGIN X509 CRL")]:
        with urllib.request.urlopen(api.call(operation, TrustStoreArn=arn, **arguments)["Location"]) as given:
            assert text in given.read(), operation
        api.refused(operation, "TrustStoreNotFound", TrustStoreArn=gone, **arguments)
    api.refused("GetResourcePolicy", "ResourceNotFound", ResourceArn=arn)
    return arn, gone, one


def listeners(api, lb, groups, certificates, store):
    plain, other, grpc, six, _ = groups
    create = lambda port, protocol="HTTP", **more: {"LoadBalancerArn": lb, "Port": port, "Protocol": protocol, "DefaultActions": [fixed()], **more}
    http = api.call("CreateListener", **create(80))["Listeners"][0]["ListenerArn"]
    own = {"Certificates": [{"CertificateArn": certificates[0]}]}
    made = api.call("CreateListener", **create(443, "HTTPS", **own))["Listeners"][0]
    equal("defaults", (made["SslPolicy"], made["MutualAuthentication"]), ("ELBSecurityPolicy-2016-08", {"Mode": "off"}))
    https, gone = made["ListenerArn"], made["ListenerArn"][:-16] + NOBODY
    verify = {"MutualAuthentication": {"Mode": "verify", "TrustStoreArn": store}}
    bad = lambda code, *arguments, **more: api.refused("CreateListener", code, **create(*arguments, **more))
    bad("DuplicateListener", 80)
    bad("ValidationError", 444, "HTTPS")
    bad("CertificateNotFound", 444, "HTTPS", Certificates=[{"CertificateArn": certificates[0] + "0"}])
    bad("SSLPolicyNotFound", 444, "HTTPS", SslPolicy="none", **own)
    bad("ValidationError", 444, "HTTPS", AlpnPolicy=["HTTP2Only"], **own)
    bad("ValidationError", 444, "HTTP", **own)
    bad("ValidationError", 444, "TCP")
    bad("TrustStoreNotFound", 444, "HTTPS", **own, MutualAuthentication={"Mode": "verify", "TrustStoreArn": store.replace("/clients/", "/gone/")})
    bad("ValidationError", 444, "HTTPS", **own, MutualAuthentication={"Mode": "verify"})
    bad("InvalidConfigurationRequest", 444, DefaultActions=[forward(grpc)])
    bad("InvalidLoadBalancerAction", 444, DefaultActions=[login(), fixed(Order=2)])
    bad("ValidationError", 444, DefaultActions=[{"Type": "authenticate-cognito", "AuthenticateCognitoConfig": {"UserPoolArn": "a", "UserPoolClientId": "b", "UserPoolDomain": "c"}}])
    api.call("ModifyListener", ListenerArn=https, SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06", **verify)
    api.refused("ModifyListener", "ValidationError", ListenerArn=http, Protocol="HTTPS")
    api.refused("ModifyListener", "ListenerNotFound", ListenerArn=gone, Port=1)
    shown = api.call("DescribeListeners", ListenerArns=[https])["Listeners"][0]
    equal("verified", shown["MutualAuthentication"]["TrustStoreArn"], store)
    api.refused("DescribeListeners", "ListenerNotFound", ListenerArns=[gone])

    more = [{"CertificateArn": certificates[1]}]
    api.call("AddListenerCertificates", ListenerArn=https, Certificates=more)
    api.refused("AddListenerCertificates", "ValidationError", ListenerArn=http, Certificates=more)
    listed = api.call("DescribeListenerCertificates", ListenerArn=https)["Certificates"]
    equal("certificates", [(c["CertificateArn"], c["IsDefault"]) for c in listed], [(certificates[0], True), (certificates[1], False)])
    api.refused("DescribeListenerCertificates", "ListenerNotFound", ListenerArn=gone)
    api.refused("RemoveListenerCertificates", "OperationNotPermitted", ListenerArn=https, Certificates=own["Certificates"])
    api.call("RemoveListenerCertificates", ListenerArn=https, Certificates=more)

    attribute = lambda key, value: {"ListenerArn": https, "Attributes": [{"Key": f"routing.http.{key}", "Value": value}]}
    api.call("ModifyListenerAttributes", **attribute("response.x_frame_options.header_value", "DENY"))
    api.refused("ModifyListenerAttributes", "ValidationError", **attribute("response.x_frame_options.header_value", "MAYBE"))
    equal("attributes", len(api.call("DescribeListenerAttributes", ListenerArn=https)["Attributes"]), 19)
    api.refused("DescribeListenerAttributes", "ListenerNotFound", ListenerArn=gone)
    return http, https, gone


def rules(api, https, groups):
    plain, other, grpc, six, _ = groups
    path = lambda *values: {"Field": "path-pattern", "Values": list(values)}
    create = lambda priority, conditions, actions, **more: {"ListenerArn": https, "Priority": priority, "Conditions": conditions, "Actions": actions, **more}
    first = api.call("CreateRule", **create(1, [path("/a")], [login(), forward(plain, Order=2)]))["Rules"][0]
    assert "ClientSecret" not in first["Actions"][0]["AuthenticateOidcConfig"], first
    rewrite = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/a", "Replace": "/b"}]}}
    expressions = [{"Field": "host-header", "HostHeaderConfig": {"RegexValues": ["^a"]}}, {"Field": "path-pattern", "RegexValues": ["^/v[0-9]"]}]
    token = {"Type": "jwt-validation", "Order": 1, "JwtValidationConfig": {"JwksEndpoint": "https://idp.example/keys", "Issuer": "https://idp.example/"}}
    second = api.call("CreateRule", **create(2, expressions, [token, forward(other, Order=2)], Transforms=[rewrite]))["Rules"][0]
    equal("transforms", second["Transforms"], [rewrite])
    bad = lambda code, *arguments, **more: api.refused("CreateRule", code, **create(*arguments, **more))
    bad("PriorityInUse", 1, [path("/a")], [fixed()])
    bad("ValidationError", 50001, [path("/a")], [fixed()])
    bad("ValidationError", 9, [path("/a"), path("/b")], [fixed()])
    bad("ValidationError", 9, [path(*"/1 /2 /3 /4 /5 /6".split())], [fixed()])
    bad("ValidationError", 9, [{"Field": "path-pattern", "RegexValues": ["("]}], [fixed()])
    bad("ValidationError", 9, [path("/a")], [login(TokenEndpoint="http://idp.example"), fixed(Order=2)])
    bad("ValidationError", 9, [path("/a")], [login(ClientSecret=None), fixed(Order=2)])
    bad("InvalidLoadBalancerAction", 9, [path("/a")], [login(), forward(plain)])
    bad("InvalidLoadBalancerAction", 9, [path("/a")], [fixed(Order=1), fixed(Order=2)])
    bad("InvalidLoadBalancerAction", 9, [path("/a")], [{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTP", "StatusCode": "HTTP_301"}}])
    bad("ValidationError", 9, [path("/a")], [fixed()], Transforms=[rewrite, rewrite])
    arns = [first["RuleArn"], second["RuleArn"]]
    gone = arns[0][:-16] + NOBODY
    api.call("ModifyRule", RuleArn=arns[0], Actions=[login(ClientSecret=None, UseExistingClientSecret=True), fixed(Order=2)])
    equal("no transforms", api.call("ModifyRule", RuleArn=arns[1], ResetTransforms=True)["Rules"][0]["Transforms"], [])
    api.refused("ModifyRule", "RuleNotFound", RuleArn=gone, Conditions=[path("/a")])
    api.call("SetRulePriorities", RulePriorities=[{"RuleArn": arn, "Priority": 2 - n} for n, arn in enumerate(arns)])
    api.refused("SetRulePriorities", "PriorityInUse", RulePriorities=[{"RuleArn": arns[0], "Priority": 1}])
    described = api.call("DescribeRules", ListenerArn=https)["Rules"]
    equal("order", [r["Priority"] for r in described], ["1", "2", "default"])
    api.refused("DescribeRules", "RuleNotFound", RuleArns=[gone])
    api.refused("DeleteRule", "OperationNotPermitted", RuleArn=described[2]["RuleArn"])
    return arns


def scenario(host):
    with host.region("--speed", "20", "--quota", "listeners-per-application-load-balancer=3") as region:
        elb, ec2, acm = region.client("elbv2"), region.client("ec2"), region.client("acm")
        api, folder = Api(elb), pathlib.Path(host.folder)
        buckets = terraform_elb.buckets(region)
        (buckets / "bundles").mkdir(parents=True)
        openssl = terraform_elb.openssl
        certificates = []
        for name in ["one", "two"]:
            openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}.example.com", "-keyout", f"{name}.key", "-out", f"{name}.crt")
            certificates.append(acm.import_certificate(Certificate=(folder / f"{name}.crt").read_bytes(), PrivateKey=(folder / f"{name}.key").read_bytes())["CertificateArn"])
        vpc, subnets, group = network(ec2)
        lb, lb_gone = load_balancers(api, vpc, subnets, group, buckets)
        groups = target_groups(api, vpc)
        store, store_gone, revocation = trust_stores(api, buckets / "bundles")
        http, https, listener_gone = listeners(api, lb, groups, certificates, store)
        api.call("CreateListener", LoadBalancerArn=lb, Port=81, Protocol="HTTP", DefaultActions=[forward(groups[3])])
        api.refused("CreateListener", "TooManyListeners", LoadBalancerArn=lb, Port=99, Protocol="HTTP", DefaultActions=[fixed()])
        rule_arns = rules(api, https, groups)

        every = [lb, groups[0], https, rule_arns[0], store]
        api.call("AddTags", ResourceArns=every, Tags=[{"Key": "a", "Value": "1"}])
        api.refused("AddTags", "TargetGroupNotFound", ResourceArns=[groups[4]], Tags=[{"Key": "a", "Value": "1"}])
        equal("tags", [t["Tags"] for t in api.call("DescribeTags", ResourceArns=every)["TagDescriptions"]], [[{"Key": "a", "Value": "1"}]] * 5)
        api.refused("DescribeTags", "TrustStoreNotFound", ResourceArns=[store_gone])
        api.call("RemoveTags", ResourceArns=every, TagKeys=["a"])
        api.refused("RemoveTags", "LoadBalancerNotFound", ResourceArns=[lb_gone], TagKeys=["a"])
        equal("policies", len(api.call("DescribeSSLPolicies", Names=["ELBSecurityPolicy-2016-08"])["SslPolicies"]), 1)
        api.refused("DescribeSSLPolicies", "SSLPolicyNotFound", Names=["none"])
        limits = {l["Name"]: l["Max"] for l in api.call("DescribeAccountLimits")["Limits"]}
        equal("limits", (limits["listeners-per-application-load-balancer"], limits["network-load-balancers"]), ("3", "0"))
        api.refused("DescribeAccountLimits", "ValidationError", Marker="none")
        equal("associations", api.call("DescribeTrustStoreAssociations", TrustStoreArn=store)["TrustStoreAssociations"], [{"ResourceArn": lb}])
        api.refused("DescribeTrustStoreAssociations", "TrustStoreNotFound", TrustStoreArn=store_gone)
        api.refused("DeleteSharedTrustStoreAssociation", "DeleteAssociationSameAccount", TrustStoreArn=store, ResourceArn=lb)

        try:
            acm.delete_certificate(CertificateArn=certificates[0])
            api.wrong.append("a certificate in use was deleted")
        except ClientError as e:
            equal("a certificate in use", e.response["Error"]["Code"], "ResourceInUseException")
        api.refused("DeleteTrustStore", "TrustStoreInUse", TrustStoreArn=store)
        api.refused("DeleteTargetGroup", "ResourceInUse", TargetGroupArn=groups[1])
        api.refused("DeleteListener", "ListenerNotFound", ListenerArn=listener_gone)
        api.refused("DeleteLoadBalancer", "ValidationError", LoadBalancerArn="nonsense")
        api.call("DeleteRule", RuleArn=rule_arns[0])
        api.call("DeleteListener", ListenerArn=https)
        api.refused("RemoveListenerCertificates", "ListenerNotFound", ListenerArn=https, Certificates=[{"CertificateArn": certificates[0]}])
        api.call("RemoveTrustStoreRevocations", TrustStoreArn=store, RevocationIds=[revocation])
        api.refused("RemoveTrustStoreRevocations", "RevocationIdNotFound", TrustStoreArn=store, RevocationIds=[revocation])
        api.call("DeleteTrustStore", TrustStoreArn=store)
        api.call("DeleteLoadBalancer", LoadBalancerArn=lb)
        for arn in groups[:4]:
            api.call("DeleteTargetGroup", TargetGroupArn=arn)
        for arn in certificates:
            acm.delete_certificate(CertificateArn=arn)
        assert not api.wrong, "\n".join(api.wrong)
        every = set(elb.meta.service_model.operation_names)
        equal("not called well", sorted(every - api.good - NEVER_GOOD), [])
        equal("not called badly", sorted(every - api.bad), [])
