"""Bad input at every public entrance: refused in AWS's form, counted, and nothing changes."""
import hashlib, json, os, random, socket, urllib.error, urllib.request
from host import equal, error_code, wait


def raw(data, timeout=5):
    """What the endpoint answers to these bytes."""
    with socket.create_connection(("127.0.0.1", 4566), timeout) as s:
        s.settimeout(timeout)
        answer = b""
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                answer += chunk
        except OSError:
            pass
    return answer


def post(body, headers, path="/"):
    request = urllib.request.Request("http://127.0.0.1:4566" + path, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def signed(service, **headers):
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=" + "0" * 64, **headers}


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/x-amz-json-1.1"}


def http(region):
    for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET / HTTP/1.1\r\n" + b"a" * 200_000):
        answer = raw(garbage)
        assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:200]
    equal("a body of 17 MiB", post(b"x" * (17 << 20), signed("ec2", **FORM))[0], 413)
    chance = random.Random(7)
    for _ in range(200):
        raw(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 400))))


def calls(region):
    for service, target, media in (("ecs", "AmazonEC2ContainerServiceV20141113", JSON), ("ecr", "AmazonEC2ContainerRegistry_V20150921", JSON), ("logs", "Logs_20140328", JSON)):
        status, text = post(b"{}", signed(service, **media, **{"X-Amz-Target": f"{target}.MakeCoffee"}))
        assert status == 400 and "UnknownOperationException" in text, (status, text)
        for broken in (b"", b"{", b"[]", b'{"a":', b"\xff\xfe", b"[" * 100_000):
            status, text = post(broken, signed(service, **media, **{"X-Amz-Target": f"{target}.CreateCluster" if service == "ecs" else f"{target}.CreateRepository" if service == "ecr" else f"{target}.CreateLogGroup"}))
            # An empty body is an empty document, which an operation without required members takes.
            assert status == 400 or (service == "ecs" and broken == b""), (service, broken[:10], status, text)
    for service, version in (("ec2", "2016-11-15"), ("elasticloadbalancing", "2015-12-01"), ("iam", "2010-05-08"), ("sts", "2011-06-15")):
        status, text = post(f"Action=MakeCoffee&Version={version}".encode(), signed(service, **FORM))
        assert status == 400 and "InvalidAction" in text, (status, text)
    counted = region.status()["unbuilt_operations_called"]
    assert any("MakeCoffee" in name for name in counted), counted
    assert "MissingAuthenticationToken" in post(b"Action=ListRoles&Version=2010-05-08", FORM)[1]
    status, text = post(b"Action=DescribeVpcs&Version=2016-11-15&Filter.999999999.Name=a", signed("ec2", **FORM))
    assert status == 400, (status, text)


def parameters(region):
    ec2, elb, ecs, ecr, r53 = region.clients("ec2", "elbv2", "ecs", "ecr", "route53")
    for cidr in ("10.0.0.0/8", "10.0.0.0/29", "10.0.0.0", "300.0.0.0/16", "10.0.0.0/33", "", "x/16", "127.0.0.0/16", "::/16"):
        assert error_code(ec2.create_vpc, CidrBlock=cidr), cidr
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    for bad in ({"IpProtocol": "tcp", "FromPort": 80}, {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 80}, {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65536},
                {"IpProtocol": "tcpx", "FromPort": 1, "ToPort": 1}, {"IpProtocol": "tcp", "FromPort": -5, "ToPort": 1}, {"IpProtocol": "999"}):
        assert error_code(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[{**bad, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]), bad
    # One bad entry rejects the whole call.
    good = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}, {"CidrIp": "1.2.3.4/99"}]}
    assert error_code(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[good])
    equal("rules after refused calls", ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"], [])
    for wrong in ("vpc-xyz", "vpc-", "subnet-0123456789abcdef0"):
        assert error_code(ec2.describe_vpcs, VpcIds=[wrong]) in ("InvalidVpcID.NotFound", "InvalidVpcID.Malformed", "InvalidVpcId.Malformed"), wrong
    assert error_code(ecr.create_repository, repositoryName="../../etc") == "InvalidParameterException"
    assert error_code(ecs.create_cluster, clusterName="a/b") in ("InvalidParameterException", "ClientException")
    zone = r53.create_hosted_zone(Name="bad.test", CallerReference="1")["HostedZone"]["Id"]
    change = lambda kind, value, name="a.bad.test": error_code(r53.change_resource_record_sets, HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": "CREATE", "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}}]})
    for kind, value in (("A", "1.2.3"), ("A", "::1"), ("AAAA", "1.2.3.4"), ("MX", "mail"), ("TXT", "unquoted"), ("SRV", "1 2 3"), ("CAA", "x")):
        equal(f"{kind} {value}", change(kind, value), "InvalidChangeBatch")
    equal("a name outside the zone", change("A", "1.2.3.4", "a.other.test"), "InvalidChangeBatch")
    equal("records", len(r53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]), 2)
    r53.delete_hosted_zone(Id=zone)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_vpc(VpcId=vpc)


def dns(region):
    chance = random.Random(11)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(500):
            s.sendto(bytes(chance.randrange(256) for _ in range(chance.randrange(0, 600))), region.dns)
        s.sendto(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + b"\xc0\x0c" * 20, region.dns)
    rcode = wait("names are still answered", lambda: region.resolve("nowhere.example")[0])
    equal("a name outside every zone", rcode, 5)


def registry(region):
    ecr, = region.clients("ecr")
    ecr.create_repository(repositoryName="rr")
    host = {"Host": "000000000000.dkr.ecr.us-east-1.amazonaws.com", "Authorization": "Basic QVdTOng="}

    def call(method, path, data=None, **headers):
        request = urllib.request.Request("http://127.0.0.1:4566" + path, data, {**host, **headers}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()
        except urllib.error.URLError:
            return 413, {}, b""  # closed before all of the body was taken

    lie = "sha256:" + "0" * 64
    place = call("POST", "/v2/rr/blobs/uploads/", b"")[1]["Location"]
    place += ("&" if "?" in place else "?") + "digest=" + lie
    status, _, text = call("PUT", place.replace("http://", "").partition("/")[2].join(["/", ""]) if place.startswith("http") else place, b"not that")
    equal("a digest that lies", status, 400)
    equal("a blob that was refused is not there", call("HEAD", f"/v2/rr/blobs/{lie}")[0], 404)
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": lie, "size": 2}, "layers": []}
    status = call("PUT", "/v2/rr/manifests/1", json.dumps(manifest).encode(), **{"Content-Type": manifest["mediaType"]})[0]
    assert status in (400, 404), status
    for body in (b"", b"{", b"[]", b"x" * (9 << 20)):
        status = call("PUT", "/v2/rr/manifests/1", body, **{"Content-Type": manifest["mediaType"]})[0]
        assert 400 <= status < 500, status
    for path in ("/v2/..%2f..%2fetc/manifests/1", "/v2/nothing/manifests/1", "/v2/rr/blobs/sha256:../../x", "/v2/rr/blobs/uploads/..%2f..%2fx"):
        assert 400 <= call("GET", path)[0] < 500, path
    equal("images", ecr.list_images(repositoryName="rr")["imageIds"], [])
    ecr.delete_repository(repositoryName="rr")


def scenario(host):
    with host.region() as region:
        for part in (http, calls, parameters, dns, registry):
            part(region)
            print(f"{part.__name__}: all refused")
        ecs, = region.clients("ecs")
        ecs.delete_cluster(cluster="default")  # the one call that was good: an empty document
        equal("resources", region.status()["resources"], {})
        equal("restarts", [l for l in region.logs(1000).splitlines() if "starting it again" in l or "panicked" in l], [])
