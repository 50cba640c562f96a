"""DNSSEC signing of Route 53: every operation well and badly, and delv, BIND's validator, on answers of every kind with nothing to
trust but the DS record that CreateKeySigningKey gives: positive, wildcard, alias, weighted, multivalue, CNAME, no data, no name,
delegations with and without keys; keys that are rolled, taken away, and zones that stop being signed."""
import json, os, re, shutil, subprocess
import boto3
from host import equal, error_code, wait

SERVICE = "dnssec-route53.amazonaws.com"
TEXTS = [f'"{"n" * 200}{n}"' for n in range(8)]


def policy(*actions, principal=SERVICE):
    own = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*", "Resource": "*"}
    signing = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": [f"kms:{a}" for a in actions], "Resource": "*",
               "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}, "ArnLike": {"aws:SourceArn": "arn:aws:route53:::hostedzone/*"}}}
    grant = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "kms:CreateGrant", "Resource": "*", "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}}
    return json.dumps({"Version": "2012-10-17", "Statement": [own, signing, grant]})


GOOD = policy("DescribeKey", "GetPublicKey", "Sign")


class Zones:
    def __init__(self, host, region):
        self.host, self.region = host, region
        self.route53, self.kms = region.clients("route53", "kms")
        self.references = 0

    def key(self, given=GOOD, **arguments):
        return self.kms.create_key(**{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "Policy": given, **arguments})["KeyMetadata"]["Arn"]

    def zone(self, name):
        self.references += 1
        made = self.route53.create_hosted_zone(Name=name, CallerReference=str(self.references))
        return made["HostedZone"]["Id"].rsplit("/")[-1], made["DelegationSet"]["NameServers"]

    def ksk(self, zone, name, arn=None, status="ACTIVE"):
        return self.route53.create_key_signing_key(HostedZoneId=zone, Name=name, CallerReference=name, KeyManagementServiceArn=arn or self.key(), Status=status)["KeySigningKey"]

    def signed(self, zone, name="first"):
        key = self.ksk(zone, name)
        self.done(self.route53.enable_hosted_zone_dnssec(HostedZoneId=zone))
        return key

    def done(self, answer):
        change = answer["ChangeInfo"]["Id"]
        wait("the change is in sync", lambda: self.route53.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")

    def put(self, zone, *records, action="UPSERT"):
        self.done(self.route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": r} for r in records]}))

    def status(self, zone):
        answer = self.route53.get_dnssec(HostedZoneId=zone)
        return answer["Status"]["ServeSignature"], {k["Name"]: k["Status"] for k in answer["KeySigningKeys"]}

    def delv(self, origin, key, name, kind="A"):
        """What the validator says of an answer, its first word on it, trusting that key alone."""
        anchors = os.path.join(self.host.folder, "anchors.conf")
        tag, algorithm, digest, value = key["DSRecord"].split()
        with open(anchors, "w") as f:
            f.write(f'trust-anchors {{ "{origin}" static-ds {tag} {algorithm} {digest} "{value}"; }};\n')
        address, port = self.region.dns
        done = subprocess.run(["delv", f"@{address}", "-p", str(port), "-a", anchors, f"+root={origin}", name, kind],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        words = [word for word in ("fully validated", "unsigned answer", "resolution failed") if word in done.stdout] or [done.stdout]
        return words[0] + (" absence" if "ncache" in done.stdout else ""), done.stdout

    def dig(self, name, kind="A", *options):
        address, port = self.region.dns
        return subprocess.run(["dig", f"@{address}", "-p", str(port), "+dnssec", "+norecurse", *options, name, kind],
                              stdout=subprocess.PIPE, text=True, timeout=60).stdout


def record(name, kind, *values, ttl=60, **more):
    return {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": v} for v in values], **more}


def alias(name, zone, target, kind="A"):
    return {"Name": name, "Type": kind, "AliasTarget": {"HostedZoneId": zone, "DNSName": target, "EvaluateTargetHealth": False}}


def refusals(zones):
    """Every rule and its code."""
    r, zone = zones.route53, zones.zone("rules.test")[0]
    arn = zones.key()
    create = lambda code, zone=zone, **more: equal(
        (code, more), error_code(r.create_key_signing_key, **{"HostedZoneId": zone, "Name": "first", "CallerReference": "1", "KeyManagementServiceArn": arn, "Status": "ACTIVE", **more}), code)
    equal("a new zone", zones.status(zone), ("NOT_SIGNING", {}))
    create("NoSuchHostedZone", zone="Z0NOBODY")
    create("InvalidSigningStatus", Status="DELETING")
    create("InvalidKeySigningKeyName", Name="with-dash")
    abroad = boto3.client("kms", region_name="eu-west-1", endpoint_url=zones.region.endpoint, aws_access_key_id="test", aws_secret_access_key="test")
    off = zones.key()
    zones.kms.disable_key(KeyId=off)
    for wrong in ("arn:x", arn[:-1] + ("0" if arn[-1] != "0" else "1"), zones.kms.create_key()["KeyMetadata"]["Arn"], off,
                  abroad.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Policy=GOOD)["KeyMetadata"]["Arn"],
                  zones.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"],
                  zones.key(policy("DescribeKey", "GetPublicKey")), zones.key(policy("DescribeKey", "GetPublicKey", "Sign", principal="ecs.amazonaws.com"))):
        create("InvalidKMSArn", KeyManagementServiceArn=wrong)
    for call in (r.enable_hosted_zone_dnssec, r.disable_hosted_zone_dnssec, r.get_dnssec):
        equal(call.__name__, error_code(call, HostedZoneId="Z0NOBODY"), "NoSuchHostedZone")
    equal("nothing to disable", error_code(r.disable_hosted_zone_dnssec, HostedZoneId=zone), "DNSSECNotFound")
    equal("no key", error_code(r.enable_hosted_zone_dnssec, HostedZoneId=zone), "KeySigningKeyWithActiveStatusNotFound")
    zones.ksk(zone, "first", arn, "INACTIVE")
    equal("no active key", error_code(r.enable_hosted_zone_dnssec, HostedZoneId=zone), "KeySigningKeyWithActiveStatusNotFound")
    create("KeySigningKeyAlreadyExists")
    create("KeySigningKeyAlreadyExists", Name="second")
    zones.ksk(zone, "second")
    create("TooManyKeySigningKeys", Name="third", KeyManagementServiceArn=zones.key())
    equal("keys", zones.status(zone), ("NOT_SIGNING", {"first": "INACTIVE", "second": "ACTIVE"}))
    for call in (r.activate_key_signing_key, r.deactivate_key_signing_key, r.delete_key_signing_key):
        equal(call.__name__, error_code(call, HostedZoneId=zone, Name="none"), "NoSuchKeySigningKey")
    equal("an active key stays", error_code(r.delete_key_signing_key, HostedZoneId=zone, Name="second"), "InvalidKeySigningKeyStatus")
    equal("a zone with keys stays", error_code(r.delete_hosted_zone, Id=zone), "HostedZoneNotEmpty")
    zones.done(r.enable_hosted_zone_dnssec(HostedZoneId=zone))
    equal("the only key", error_code(r.deactivate_key_signing_key, HostedZoneId=zone, Name="second"), "KeySigningKeyInUse")
    # Without its key of KMS a zone needs its owner.
    keys = {k["Name"]: k for k in r.get_dnssec(HostedZoneId=zone)["KeySigningKeys"]}
    zones.kms.disable_key(KeyId=keys["second"]["KmsArn"])
    equal("its owner is needed", zones.status(zone), ("ACTION_NEEDED", {"first": "INACTIVE", "second": "ACTION_NEEDED"}))
    zones.kms.enable_key(KeyId=keys["second"]["KmsArn"])
    equal("well again", zones.status(zone)[0], "SIGNING")
    zones.done(r.disable_hosted_zone_dnssec(HostedZoneId=zone))
    r.deactivate_key_signing_key(HostedZoneId=zone, Name="second")
    for name in ("first", "second"):
        zones.done(r.delete_key_signing_key(HostedZoneId=zone, Name=name))
    zones.done(r.delete_hosted_zone(Id=zone))
    vpc = zones.region.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private = r.create_hosted_zone(Name="p.test", CallerReference="p", VPC={"VPCRegion": "us-east-1", "VPCId": vpc})["HostedZone"]["Id"]
    create("InvalidArgument", zone=private)
    equal("private", (error_code(r.get_dnssec, HostedZoneId=private), error_code(r.enable_hosted_zone_dnssec, HostedZoneId=private)), ("InvalidArgument",) * 2)
    r.delete_hosted_zone(Id=private)


def facts(zones, key):
    """What is told of a key agrees with itself and with KMS."""
    equal("constants", {k: key[k] for k in ("Flag", "SigningAlgorithmMnemonic", "SigningAlgorithmType", "DigestAlgorithmMnemonic", "DigestAlgorithmType", "Status")},
          {"Flag": 257, "SigningAlgorithmMnemonic": "ECDSAP256SHA256", "SigningAlgorithmType": 13, "DigestAlgorithmMnemonic": "SHA-256", "DigestAlgorithmType": 2, "Status": "ACTIVE"})
    equal("DS", key["DSRecord"], f"{key['KeyTag']} 13 2 {key['DigestValue']}")
    equal("DNSKEY", key["DNSKEYRecord"], f"257 3 13 {key['PublicKey']}")
    import base64
    equal("KMS's key", zones.kms.get_public_key(KeyId=key["KmsArn"])["PublicKey"][-64:], base64.b64decode(key["PublicKey"]))


def answers(zones):
    zone, _ = zones.zone("signed.test")
    key = zones.signed(zone)
    facts(zones, key)
    equal("signing", zones.status(zone), ("SIGNING", {"first": "ACTIVE"}))
    zones.put(zone, record("www.signed.test", "A", "192.0.2.1", "192.0.2.2"), record("www.signed.test", "AAAA", "2001:db8::1"),
              record("*.wild.signed.test", "A", "192.0.2.3"), record("a.deep.signed.test", "A", "192.0.2.4"), record("big.signed.test", "TXT", *TEXTS),
              record("mail.signed.test", "MX", "10 Mail.Example.COM", "20 b.example.com"), record("srv.signed.test", "SRV", "1 2 3 www.signed.test"),
              record("long.signed.test", "A", "192.0.2.5", ttl=2_000_000), record("cname.signed.test", "CNAME", "www.signed.test"), record("lost.signed.test", "CNAME", "none.signed.test"),
              record("caa.signed.test", "CAA", '0 issue "x.test"'), record("naptr.signed.test", "NAPTR", '1 2 "U" "S" "!a!b!" .'),
              record("https.signed.test", "HTTPS", "1 . alpn=h2"),
              alias("signed.test", zone, "www.signed.test"), alias("alias.signed.test", zone, "www.signed.test"),
              record("geo.signed.test", "A", "192.0.2.6", SetIdentifier="1", GeoLocation={"CountryCode": "SE"}),
              *(record("weighted.signed.test", "A", f"192.0.2.{n}", SetIdentifier=str(n), Weight=n) for n in (1, 2, 3)),
              *(record("many.signed.test", "A", f"192.0.2.{n}", SetIdentifier=str(n), MultiValueAnswer=True) for n in range(1, 12)),
              record("far.signed.test", "NS", "ns.far.signed.test"), record("ns.far.signed.test", "A", "192.0.2.9"),
              record("safe.signed.test", "NS", "ns.elsewhere.example."), record("safe.signed.test", "DS", "12345 13 2 " + "AB" * 32))
    ask = lambda name, kind="A": zones.delv("signed.test", key, name, kind)
    ok, absent = "fully validated", "fully validated absence"
    for name, kind, expected in (
            ("www", "A", ok), ("WWW", "aaaa", ok), ("a.wild", "A", ok), ("b.c.wild", "A", ok), ("a.deep", "A", ok), ("big", "TXT", ok), ("mail", "MX", ok), ("srv", "SRV", ok),
            ("long", "A", ok), ("cname", "A", ok), ("cname", "CNAME", ok), ("caa", "CAA", ok), ("naptr", "NAPTR", ok), ("https", "HTTPS", ok), ("alias", "A", ok), ("safe", "DS", ok),
            ("www", "MX", absent), ("none", "A", absent), ("x.y.none", "TXT", absent), ("deep", "A", absent), ("a.wild", "MX", absent), ("lost", "A", absent),
            ("geo", "A", absent), ("far", "DS", absent)):
        found, output = ask(f"{name}.signed.test", kind)
        equal(f"{name} {kind}\n{output}", found, expected)
    for kind, expected in (("SOA", ok), ("NS", ok), ("DNSKEY", ok), ("A", ok), ("TXT", absent)):
        equal(f"apex {kind}", ask("signed.test", kind)[0], expected)
    for _ in range(6):
        for name in ("weighted", "many"):
            equal(name, ask(f"{name}.signed.test")[0], ok)
    wire(zones)
    return zone, key


def wire(zones):
    """What the packets hold."""
    plain = zones.dig("none.signed.test", "A", "+nodnssec")
    assert "NXDOMAIN" in plain and "RRSIG" not in plain and "NSEC" not in plain, plain
    compact = zones.dig("none.signed.test")
    assert "status: NOERROR" in compact and re.search(r"none\.signed\.test\.\s+\d+\s+IN\s+NSEC\s+\\000\.none\.signed\.test\. RRSIG NSEC", compact), compact
    assert "RRSIG" not in zones.dig("www.signed.test", "A", "+nodnssec")
    assert re.search(r"long\.signed\.test\.\s+604800\s+IN\s+A", zones.dig("long.signed.test", "A", "+nodnssec")), "a week at most"
    assert re.search(r"flags: qr aa;", zones.dig("www.signed.test")), "an authority says nothing of AD"
    referral = zones.dig("x.far.signed.test")
    assert re.search(r"far\.signed\.test\.\s+\d+\s+IN\s+NSEC\s+\S+ NS RRSIG NSEC", referral) and not re.search(r"RRSIG\s+NS ", referral) and not re.search(r"RRSIG\s+A ", referral), referral
    secure = zones.dig("x.safe.signed.test")
    assert re.search(r"safe\.signed\.test\.\s+\d+\s+IN\s+DS\s+12345", secure) and re.search(r"RRSIG\s+DS ", secure) and "NSEC" not in secure, secure
    cut = zones.dig("big.signed.test", "TXT", "+ignore")
    assert re.search(r"flags: qr aa tc;", cut) and "ANSWER: 0" in cut, cut
    keys = zones.dig("signed.test", "DNSKEY")
    assert len(re.findall(r"DNSKEY\s+25[67] 3 13", keys)) == 2 and len(re.findall(r"RRSIG\s+DNSKEY", keys)) == 1, keys
    assert re.search(r"none\.signed\.test\.\s+\d+\s+IN\s+NSEC", zones.dig("none.signed.test", "NSEC")), "NSEC itself can be asked for"


def dnspython(zones, key):
    """A second validator: dnspython, with the keys that the DS record vouches for."""
    try:
        import dns.dnssec, dns.message, dns.name, dns.query, dns.rdatatype
        import cryptography  # what it validates with
    except ImportError:
        print("note: dnspython with cryptography is not installed and was not run")
        return
    origin, (address, port) = dns.name.from_text("signed.test."), zones.region.dns

    def ask(name, kind):
        return dns.query.udp_with_fallback(dns.message.make_query(name, kind, want_dnssec=True), address, port=port, timeout=10)[0]
    keys = ask(origin, "DNSKEY").answer[0]
    vouched = [k for k in keys if dns.dnssec.make_ds(origin, k, "SHA256").to_text().upper() == key["DSRecord"]]
    equal("keys of the DS record", [(k.flags, dns.dnssec.key_id(k)) for k in vouched], [(257, key["KeyTag"])])
    checked = 0
    for name, kind in (("signed.test.", "DNSKEY"), ("signed.test.", "SOA"), ("www.signed.test.", "A"), ("x.wild.signed.test.", "A"), ("big.signed.test.", "TXT"), ("mail.signed.test.", "MX"),
                       ("naptr.signed.test.", "NAPTR"), ("cname.signed.test.", "A"), ("weighted.signed.test.", "A"), ("many.signed.test.", "A"), ("none.signed.test.", "A"), ("www.signed.test.", "CAA"),
                       ("x.far.signed.test.", "A"), ("x.safe.signed.test.", "A")):
        answer = ask(name, kind)
        sets = [s for section in (answer.answer, answer.authority) for s in section]
        signatures = {(s.name, s.covers): s for s in sets if s.rdtype == dns.rdatatype.RRSIG}
        for s in sets:
            if s.rdtype != dns.rdatatype.RRSIG and not (s.rdtype == dns.rdatatype.NS and not answer.answer):
                dns.dnssec.validate(s, signatures[s.name, s.rdtype], {origin: keys})
                checked += 1
    equal("sets that were validated", checked, 17)


def delegations(zones, parent, key):
    """Zones below, with the keys told by the parent and without."""
    child, servers = zones.zone("child.signed.test")
    lonely, lonely_servers = zones.zone("lonely.signed.test")
    ns = record("child.signed.test", "NS", *[s + "." for s in servers])
    zones.put(parent, {**ns, "ResourceRecords": ns["ResourceRecords"][:3]}, record("lonely.signed.test", "NS", *[s + "." for s in lonely_servers]))
    zones.put(child, record("www.child.signed.test", "A", "192.0.2.7"))
    zones.put(lonely, record("www.lonely.signed.test", "A", "192.0.2.8"))
    own = zones.ksk(child, "own")
    equal("the parent names other servers", error_code(zones.route53.enable_hosted_zone_dnssec, HostedZoneId=child), "HostedZonePartiallyDelegated")
    zones.put(parent, ns)
    zones.done(zones.route53.enable_hosted_zone_dnssec(HostedZoneId=child))
    ask = lambda name, kind="A": zones.delv("signed.test", key, name, kind)[0]
    equal("no DS yet", (ask("www.child.signed.test"), ask("child.signed.test", "DS")), ("unsigned answer", "fully validated absence"))
    ds = record("child.signed.test", "DS", own["DSRecord"])
    zones.put(parent, ds)
    equal("with DS", (ask("www.child.signed.test"), ask("no.child.signed.test"), ask("child.signed.test", "DS")), ("fully validated", "fully validated absence", "fully validated"))
    equal("without keys", ask("www.lonely.signed.test"), "unsigned answer")
    second = zones.ksk(child, "second")
    equal("vouched for", (error_code(zones.route53.disable_hosted_zone_dnssec, HostedZoneId=child),
                          error_code(zones.route53.deactivate_key_signing_key, HostedZoneId=child, Name="own")), ("KeySigningKeyInParentDSRecord",) * 2)
    zones.put(parent, record("child.signed.test", "DS", second["DSRecord"]))
    zones.done(zones.route53.deactivate_key_signing_key(HostedZoneId=child, Name="own"))
    equal("rolled", ask("www.child.signed.test"), "fully validated")
    zones.put(parent, ds)
    equal("the parent names a key that is gone", ask("www.child.signed.test"), "resolution failed")
    zones.put(parent, ds, action="DELETE")
    zones.done(zones.route53.disable_hosted_zone_dnssec(HostedZoneId=child))
    equal("no longer signed", (ask("www.child.signed.test"), zones.status(child)[0]), ("unsigned answer", "NOT_SIGNING"))
    assert "RRSIG" not in zones.dig("www.child.signed.test")


def rolling(zones, zone, first):
    """The zone's own keys: two, then the second alone, then none."""
    second = zones.ksk(zone, "second")
    judged = lambda: [zones.delv("signed.test", key, "www.signed.test")[0] for key in (first, second)]
    equal("both", judged(), ["fully validated"] * 2)
    zones.done(zones.route53.deactivate_key_signing_key(HostedZoneId=zone, Name="first"))
    equal("the second alone", judged(), ["resolution failed", "fully validated"])
    zones.done(zones.route53.activate_key_signing_key(HostedZoneId=zone, Name="first"))
    equal("both again", judged(), ["fully validated"] * 2)
    return second


def scenario(host):
    if not shutil.which("delv"):
        print("note: delv (bind9-dnsutils) is not on this machine; nothing was tested")
        return
    data = os.path.join(host.folder, "data")
    with host.region(data=data) as region:
        zones = Zones(host, region)
        refusals(zones)
        zone, key = answers(zones)
        dnspython(zones, key)
        delegations(zones, zone, key)
        second = rolling(zones, zone, key)
    with host.region(data=data) as region:
        zones = Zones(host, region)
        wait("answers after a restart", lambda: region.resolve("www.signed.test")[1])
        equal("after a restart", zones.delv("signed.test", second, "www.signed.test")[0], "fully validated")
        zones.done(zones.route53.disable_hosted_zone_dnssec(HostedZoneId=zone))
        equal("not signed, though trusted to be", zones.delv("signed.test", key, "www.signed.test")[0], "resolution failed")
        equal("its status", zones.status(zone)[0], "NOT_SIGNING")
