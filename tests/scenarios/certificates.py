"""Certificate Manager: imports made by OpenSSL, requests proved by Route 53 and issued by the region's authority, and what is
refused. `tests/terraform_acm` is applied, changed and destroyed by Terraform."""
import os, pathlib, shutil, socket, ssl, stat, subprocess, threading

from botocore.exceptions import ClientError
from host import ROOT, equal, error_code, wait
from scenarios.terraform import life


def openssl(folder, *arguments, check=True, text=None):
    done = subprocess.run(["openssl", *arguments], cwd=folder, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 or not check, f"openssl {arguments}: {done.stdout}"
    return done.stdout


def read(folder, name):
    return pathlib.Path(folder, name).read_bytes()


def authority(folder):
    """An authority with an intermediate, and a leaf of it for two names."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "root.key", "-out", "root.crt", "-days", "30", "-subj", "/O=Roots/CN=Root")
    for name, issuer, subject, extensions in (
            ("middle", "root", "/O=Middle Men/CN=Middle", "basicConstraints=critical,CA:TRUE"),
            ("leaf", "middle", "/CN=import.test", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:import.test,DNS:*.import.test\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth"),
            ("again", "middle", "/CN=import.test", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:import.test,DNS:new.import.test\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth")):
        if name == "again":
            shutil.copy(os.path.join(folder, "leaf.key"), os.path.join(folder, "again.key"))
            openssl(folder, "req", "-new", "-key", "again.key", "-out", f"{name}.csr", "-subj", subject)
        else:
            openssl(folder, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        pathlib.Path(folder, f"{name}.cnf").write_text(extensions)
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-out", f"{name}.crt", "-days", "20", "-extfile", f"{name}.cnf")
    pathlib.Path(folder, "chain.crt").write_bytes(read(folder, "middle.crt") + read(folder, "root.crt"))


def detail(acm, arn):
    return acm.describe_certificate(CertificateArn=arn)["Certificate"]


def imports(acm, folder):
    authority(folder)
    leaf, key, chain = (read(folder, name) for name in ("leaf.crt", "leaf.key", "chain.crt"))
    arn = acm.import_certificate(Certificate=leaf, PrivateKey=key, CertificateChain=chain, Tags=[{"Key": "a", "Value": "1"}])["CertificateArn"]
    shown = detail(acm, arn)
    for name, expected in (("Status", "ISSUED"), ("Type", "IMPORTED"), ("KeyAlgorithm", "RSA-2048"), ("DomainName", "import.test"), ("Issuer", "Middle Men"), ("Subject", "CN=import.test"),
                           ("SignatureAlgorithm", "SHA256WITHRSA"), ("SubjectAlternativeNames", ["import.test", "*.import.test"]), ("InUseBy", []), ("RenewalEligibility", "INELIGIBLE"),
                           ("KeyUsages", [{"Name": "DIGITAL_SIGNATURE"}, {"Name": "KEY_ENCIPHERMENT"}]), ("ExtendedKeyUsages", [{"Name": "TLS_WEB_SERVER_AUTHENTICATION", "OID": "1.3.6.1.5.5.7.3.1"}])):
        equal(name, shown[name], expected)
    serial = openssl(folder, "x509", "-in", "leaf.crt", "-noout", "-serial").strip().partition("=")[2].lower()
    equal("Serial", shown["Serial"].replace(":", ""), serial)
    got = acm.get_certificate(CertificateArn=arn)
    equal("certificate", got["Certificate"].encode(), leaf)
    equal("chain", got["CertificateChain"].encode(), chain)
    # The same name again: another certificate. The same ARN again: the same one, with new content.
    other = acm.import_certificate(Certificate=leaf, PrivateKey=key, CertificateChain=chain)["CertificateArn"]
    assert other != arn
    equal("imported again", acm.import_certificate(CertificateArn=arn, Certificate=read(folder, "again.crt"), PrivateKey=key, CertificateChain=chain)["CertificateArn"], arn)
    equal("new names", detail(acm, arn)["SubjectAlternativeNames"], ["import.test", "new.import.test"])
    equal("tags stay", acm.list_tags_for_certificate(CertificateArn=arn)["Tags"], [{"Key": "a", "Value": "1"}])
    openssl(folder, "ecparam", "-name", "secp384r1", "-genkey", "-out", "ec.key")
    openssl(folder, "req", "-x509", "-key", "ec.key", "-out", "ec.crt", "-days", "9", "-subj", "/CN=ec.test", "-addext", "subjectAltName=DNS:ec.test")
    elliptic = acm.import_certificate(Certificate=read(folder, "ec.crt"), PrivateKey=read(folder, "ec.key"))["CertificateArn"]
    listed = lambda **more: {each["CertificateArn"] for each in acm.list_certificates(**more)["CertificateSummaryList"]}
    equal("RSA by default", listed(), {arn, other})
    equal("other key types are asked for", listed(Includes={"keyTypes": ["EC_secp384r1"]}), {elliptic})
    equal("by usage", listed(Includes={"extendedKeyUsage": ["CODE_SIGNING"]}), set())
    bad_imports(acm, folder, arn, leaf, key, chain)
    for each in (other, elliptic):
        acm.delete_certificate(CertificateArn=each)
    return arn


def bad_imports(acm, folder, arn, leaf, key, chain):
    openssl(folder, "pkcs8", "-topk8", "-in", "leaf.key", "-out", "secret.key", "-passout", "pass:secret")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "short.key", "-out", "short.crt", "-days", "-1", "-subj", "/CN=gone.test", check=False)
    secret, wrong = read(folder, "secret.key"), read(folder, "middle.key")
    before = len(acm.list_certificates()["CertificateSummaryList"])
    for what, arguments, words in (
            ("an encrypted key", {"PrivateKey": secret}, "encrypted"),
            ("another's key", {"PrivateKey": wrong}, "does not match"),
            ("no key", {"PrivateKey": b"garbage"}, "PEM"),
            ("no certificate", {"Certificate": b"garbage"}, "PEM"),
            ("two certificates", {"Certificate": leaf + chain}, "more than one certificate"),
            ("a chain upside down", {"CertificateChain": read(folder, "root.crt") + read(folder, "middle.crt")}, "certificate chain"),
            ("a chain of another", {"CertificateChain": read(folder, "ec.crt")}, "certificate chain"),
            ("no chain", {"CertificateChain": None}, "self signed"),
            ("tags again", {"CertificateArn": arn, "Tags": [{"Key": "a", "Value": "b"}]}, "re-import"),
            ("an unknown ARN", {"CertificateArn": arn[:-1] + ("0" if arn[-1] != "0" else "1")}, "Could not find")):
        arguments = {"Certificate": leaf, "PrivateKey": key, "CertificateChain": chain, **arguments}
        try:
            acm.import_certificate(**{name: value for name, value in arguments.items() if value is not None})
            raise AssertionError(f"{what} was taken")
        except ClientError as e:
            error = e.response["Error"]
            equal(what, error["Code"], "ResourceNotFoundException" if what == "an unknown ARN" else "ValidationException")
            assert words in error["Message"], (what, error["Message"])
            assert "PRIVATE" not in error["Message"] and key.decode()[40:80] not in error["Message"], what
    equal("nothing was taken", len(acm.list_certificates()["CertificateSummaryList"]), before)


def records(acm, arn):
    options = detail(acm, arn)["DomainValidationOptions"]
    return {option["ResourceRecord"]["Name"]: option["ResourceRecord"]["Value"] for option in options}


def publish(r53, zone, found, action="UPSERT"):
    r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": action, "ResourceRecordSet": {"Name": name, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": value}]}} for name, value in found.items()]})


def issued(acm, arn):
    acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return wait("the certificate is issued", lambda: (shown := detail(acm, arn))["Status"] == "ISSUED" and shown, 60)


def handshake(folder, authority_file, certificate, key, name):
    """TLS with that certificate, and a client that trusts the region's authority alone: the names it sees."""
    for file, text in (("served.crt", certificate), ("served.key", key)):
        pathlib.Path(folder, file).write_text(text)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(os.path.join(folder, "served.crt"), os.path.join(folder, "served.key"), "secret pass")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer():
            connection, _ = listener.accept()
            try:
                server.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()
        threading.Thread(target=answer, daemon=True).start()
        client = ssl.create_default_context(cafile=authority_file)
        with socket.create_connection(listener.getsockname()) as connection, client.wrap_socket(connection, server_hostname=name) as secured:
            return [value for _, value in secured.getpeercert()["subjectAltName"]]


def requests(acm, r53, region, folder):
    authority_file = os.path.join(folder, "authority.crt")
    pathlib.Path(authority_file).write_text(region.cli("ca"))
    zone = r53.create_hosted_zone(Name="shop.test", CallerReference="1")["HostedZone"]["Id"]
    token = {"IdempotencyToken": "once"}
    ask = lambda name, **more: acm.request_certificate(DomainName=name, ValidationMethod="DNS", **more)["CertificateArn"]
    arn = ask("shop.test", SubjectAlternativeNames=["*.shop.test", "api.shop.test"], Options={"Export": "ENABLED"}, **token)
    equal("the same token", ask("shop.test", SubjectAlternativeNames=["*.shop.test", "api.shop.test"], Options={"Export": "ENABLED"}, **token), arn)
    pending = detail(acm, arn)
    equal("status", pending["Status"], "PENDING_VALIDATION")
    found = records(acm, arn)
    equal("one record for a domain and its wildcard", len(found), 2)
    assert all(name.endswith(".shop.test.") and value.endswith(".acm-validations.aws.") for name, value in found.items()), found
    equal("not there yet", error_code(acm.get_certificate, CertificateArn=arn), "RequestInProgressException")
    first, *others = found.items()
    publish(r53, zone, dict([first]))
    half = lambda: sorted(option["ValidationStatus"] for option in detail(acm, arn)["DomainValidationOptions"])
    wait("one domain is proved", lambda: half().count("SUCCESS") in (1, 2))
    equal("which is not enough", detail(acm, arn)["Status"], "PENDING_VALIDATION")
    publish(r53, zone, dict(others))
    shown = issued(acm, arn)
    equal("type", (shown["Type"], shown["KeyAlgorithm"]), ("AMAZON_ISSUED", "RSA-2048"))
    got = acm.get_certificate(CertificateArn=arn)
    pathlib.Path(folder, "issued.crt").write_text(got["Certificate"])
    assert "OK" in openssl(folder, "verify", "-CAfile", authority_file, "-purpose", "sslserver", "-verify_hostname", "x.shop.test", "issued.crt")
    equal("the chain ends at what `fogbank ca` prints", got["CertificateChain"], pathlib.Path(authority_file).read_text())
    text = openssl(folder, "x509", "-in", "issued.crt", "-noout", "-text")
    for words in ("DNS:shop.test, DNS:*.shop.test, DNS:api.shop.test", "Public-Key: (2048 bit)", "CA:FALSE", "TLS Web Server Authentication"):
        assert words in text, (words, text)
    passphrase = b"secret pass"
    exported = acm.export_certificate(CertificateArn=arn, Passphrase=passphrase)
    assert exported["PrivateKey"].startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----"), exported["PrivateKey"][:40]
    names = handshake(folder, authority_file, exported["Certificate"], exported["PrivateKey"], "www.shop.test")
    equal("names in the handshake", names, ["shop.test", "*.shop.test", "api.shop.test"])
    # The record stays; another certificate for the domain needs no new one, whatever its key.
    for algorithm, bits in (("EC_prime256v1", "(256 bit)"), ("EC_secp384r1", "(384 bit)")):
        other = ask("shop.test", KeyAlgorithm=algorithm)
        equal("the same record", records(acm, other).items() <= found.items(), True)
        issued(acm, other)
        pathlib.Path(folder, "other.crt").write_text(acm.get_certificate(CertificateArn=other)["Certificate"])
        assert bits in openssl(folder, "x509", "-in", "other.crt", "-noout", "-text")
        acm.delete_certificate(CertificateArn=other)
    # A renewal at will, since it was exported: the same ARN, another certificate.
    serial = shown["Serial"]
    acm.renew_certificate(CertificateArn=arn)
    renewed = wait("it is renewed", lambda: (new := detail(acm, arn)).get("RenewalSummary", {}).get("RenewalStatus") == "SUCCESS" and new, 60)
    assert renewed["Serial"] != serial
    refusals(acm, arn)
    return zone, arn, found


def refusals(acm, arn):
    for what, call, arguments, code in (
            ("no domain name", acm.request_certificate, {"DomainName": "-.test"}, "ValidationException"),
            ("an address", acm.request_certificate, {"DomainName": "192.0.2.1"}, "ValidationException"),
            ("too long a name", acm.request_certificate, {"DomainName": "a" * 60 + ".example.test"}, "ValidationException"),
            ("too many names", acm.request_certificate, {"DomainName": "a.test", "SubjectAlternativeNames": [f"{n}.test.com" for n in range(10)]}, "LimitExceededException"),
            ("an unknown key", acm.request_certificate, {"DomainName": "a.test", "KeyAlgorithm": "RSA_4096"}, "ValidationException"),
            ("a tag of AWS's", acm.request_certificate, {"DomainName": "a.test", "Tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidTagException"),
            ("another's mail", acm.request_certificate, {"DomainName": "a.test", "DomainValidationOptions": [{"DomainName": "a.test", "ValidationDomain": "b.test"}]}, "InvalidDomainValidationOptionsException"),
            ("no ARN", acm.describe_certificate, {"CertificateArn": "arn:aws:acm:us-east-1:1"}, "ValidationException"),
            ("an unknown ARN", acm.describe_certificate, {"CertificateArn": arn[:-12] + "0" * 12}, "ResourceNotFoundException"),
            ("an unknown ARN", acm.delete_certificate, {"CertificateArn": arn[:-12] + "0" * 12}, "ResourceNotFoundException"),
            ("sorting without order", acm.list_certificates, {"SortBy": "CREATED_AT"}, "InvalidArgsException"),
            ("a token of nobody", acm.list_certificates, {"NextToken": "garbage"}, "ValidationException"),
            ("no mail for DNS", acm.resend_validation_email, {"CertificateArn": arn, "Domain": "shop.test", "ValidationDomain": "shop.test"}, "InvalidStateException"),
            ("a passphrase with #", acm.export_certificate, {"CertificateArn": arn, "Passphrase": b"se#ret"}, "ValidationException")):
        equal(f"{what}", error_code(call, **arguments), code)


def tags_and_pages(acm):
    made = [acm.request_certificate(DomainName=f"{n}.pages.test")["CertificateArn"] for n in range(5)]
    pages = acm.get_paginator("list_certificates").paginate(CertificateStatuses=["PENDING_VALIDATION"], PaginationConfig={"PageSize": 2})
    sizes = [len(page["CertificateSummaryList"]) for page in pages]
    equal("pages", sizes, [2, 2, 1])
    arn = made[0]
    equal("mail by default", detail(acm, arn)["DomainValidationOptions"][0]["ValidationMethod"], "EMAIL")
    acm.resend_validation_email(CertificateArn=arn, Domain="0.pages.test", ValidationDomain="pages.test")
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b"}])
    equal("tags", acm.list_tags_for_certificate(CertificateArn=arn)["Tags"], [{"Key": "a", "Value": "1"}])
    equal("fifty tags are the most", error_code(acm.add_tags_to_certificate, CertificateArn=arn, Tags=[{"Key": f"k{n}"} for n in range(50)]), "TooManyTagsException")
    equal("expiry is heard of", acm.get_account_configuration()["ExpiryEvents"]["DaysBeforeExpiry"], 45)
    acm.put_account_configuration(ExpiryEvents={"DaysBeforeExpiry": 30}, IdempotencyToken="a")
    equal("as chosen", acm.get_account_configuration()["ExpiryEvents"]["DaysBeforeExpiry"], 30)
    for each in made:
        acm.delete_certificate(CertificateArn=each)


def in_use(region, acm, arn):
    """A certificate on a listener stays, with or without being the default."""
    ec2, elb = region.clients("ec2", "elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"] for n, zone in enumerate("ab")]
    balancer = elb.create_load_balancer(Name="tls", Subnets=subnets, Scheme="internal")["LoadBalancers"][0]["LoadBalancerArn"]
    listener = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": arn}],
                                   DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}])["Listeners"][0]["ListenerArn"]
    equal("InUseBy", detail(acm, arn)["InUseBy"], [balancer])
    equal("in the list", [each["InUse"] for each in acm.list_certificates()["CertificateSummaryList"] if each["CertificateArn"] == arn], [True])
    equal("in use", error_code(acm.delete_certificate, CertificateArn=arn), "ResourceInUseException")
    elb.delete_listener(ListenerArn=listener)
    equal("no longer", detail(acm, arn)["InUseBy"], [])
    elb.delete_load_balancer(LoadBalancerArn=balancer)


def private(region, folder):
    """Keys are in files and behind sockets of root's alone, and in no log."""
    assert pathlib.Path(folder, "leaf.key").read_text().splitlines()[1] not in region.logs(100_000)
    run = pathlib.Path("/run/fogbank", region.instance)
    equal("the store's socket", stat.S_IMODE((run / "store.sock").stat().st_mode), 0o600)


def kept(host):
    """What is on disk outlives a restart, and its files are root's alone; nobody waits for a record for ever."""
    data = os.path.join(host.folder, "data")
    # 72 hours take 26 s.
    with host.region("--speed", "10000", data=data) as region:
        acm, r53 = region.clients("acm", "route53")
        late = acm.request_certificate(DomainName="late.test", ValidationMethod="DNS")["CertificateArn"]
        zone = r53.create_hosted_zone(Name="fast.test", CallerReference="1")["HostedZone"]["Id"]
        arn = acm.request_certificate(DomainName="fast.test", ValidationMethod="DNS")["CertificateArn"]
        r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
            {"Action": "CREATE", "ResourceRecordSet": {"Name": "fast.test", "Type": "CAA", "TTL": 60, "ResourceRecords": [{"Value": '0 issue "letsencrypt.org"'}]}}]})
        publish(r53, zone, records(acm, arn))
        failed = wait("a CAA record for others fails it", lambda: (shown := detail(acm, arn))["Status"] == "FAILED" and shown)
        equal("reason", failed["FailureReason"], "CAA_ERROR")
        other = acm.request_certificate(DomainName="a.fast.test", ValidationMethod="DNS", KeyAlgorithm="EC_prime256v1")["CertificateArn"]
        r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
            {"Action": "UPSERT", "ResourceRecordSet": {"Name": "fast.test", "Type": "CAA", "TTL": 60, "ResourceRecords": [{"Value": '0 issue "amazon.com"'}]}}]})
        publish(r53, zone, records(acm, other))
        before = issued(acm, other)
        wait("it times out", lambda: detail(acm, late)["Status"] == "VALIDATION_TIMED_OUT", 60)
        equal("and failed", detail(acm, late)["DomainValidationOptions"][0]["ValidationStatus"], "FAILED")
    # Those of certificates lie in the store, which is sealed; the authority's own is root's.
    files = [path for path in pathlib.Path(data).rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    equal("files with a readable key", [str(path.relative_to(data)) for path in files], ["ca/key.pem"])
    for path in [*files, *pathlib.Path(data).glob("store*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, (path, oct(path.stat().st_mode))
    with host.region(data=data) as region:
        acm, = region.clients("acm")
        equal("after a restart", [detail(acm, each)["Status"] for each in (late, arn, other)], ["VALIDATION_TIMED_OUT", "FAILED", "ISSUED"])
        equal("the same certificate", detail(acm, other)["Serial"], before["Serial"])


def terraform(host, made):
    """The folder needs certificates to import."""
    folder = os.path.join(host.folder, "terraform_acm")
    shutil.copytree(ROOT / "tests/terraform_acm", folder)
    for source, name in (("leaf.key", "leaf.key"), ("leaf.crt", "leaf.crt"), ("again.crt", "leaf_again.crt"), ("chain.crt", "authority.crt")):
        shutil.copy(os.path.join(made, source), os.path.join(folder, name))
    life(host, folder)


def scenario(host):
    folder = os.path.join(host.folder, "pki")
    os.mkdir(folder)
    with host.region() as region:
        acm, r53 = region.clients("acm", "route53")
        imported = imports(acm, folder)
        requests(acm, r53, region, folder)
        tags_and_pages(acm)
        in_use(region, acm, imported)
        private(region, folder)
        acm.delete_certificate(CertificateArn=imported)
    kept(host)
    terraform(host, folder)
