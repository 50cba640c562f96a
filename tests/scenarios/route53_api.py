"""Every operation of Route 53 that is about zones and records, called well and badly: records of every policy come back as
they were given and page in AWS's order, the name server answers by them, nothing that is refused changes anything."""
from botocore import xform_name
from botocore.exceptions import ClientError
from host import ROOT, equal, wait

#: What others' scenarios call.
ELSEWHERE = {o for o in ["CreateHealthCheck", "GetHealthCheck", "UpdateHealthCheck", "DeleteHealthCheck", "ListHealthChecks", "GetHealthCheckStatus",
                         "GetHealthCheckLastFailureReason", "GetHealthCheckCount", "GetCheckerIpRanges", "EnableHostedZoneDNSSEC",
                         "DisableHostedZoneDNSSEC", "CreateKeySigningKey", "ActivateKeySigningKey", "DeactivateKeySigningKey", "DeleteKeySigningKey"]}
#: Operations that nothing can be wrong with.
NEVER_BAD = {"GetHostedZoneCount"}
NOBODY = "01234567-89ab-cdef-0123-456789abcdef"


class Api:
    def __init__(self, client):
        self.client, self.good, self.bad, self.wrong = client, set(), set(), []

    def call(self, operation, **arguments):
        answer = getattr(self.client, xform_name(operation))(**arguments)
        answer.pop("ResponseMetadata")
        self.good.add(operation)
        return answer

    def refused(self, operation, code, client=None, **arguments):
        self.bad.add(operation)
        try:
            getattr(client or self.client, xform_name(operation))(**arguments)
            found = "no error"
        except ClientError as e:
            found = e.response["Error"]["Code"]
            if found == code:
                return
            found += ": " + e.response["Error"]["Message"]
        print(f"wrong: {operation} {arguments}: {found} instead of {code}", flush=True)
        self.wrong.append(f"{operation}: {found} instead of {code}")

    def change(self, zone, *changes):
        batch = {"Changes": [{"Action": verb, "ResourceRecordSet": record} for verb, record in changes], "Comment": "a batch"}
        id = self.call("ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"]["Id"]
        wait("the change is in sync", lambda: self.call("GetChange", Id=id)["ChangeInfo"]["Status"] == "INSYNC")

    def change_refused(self, zone, code, *changes):
        batch = {"Changes": [{"Action": verb, "ResourceRecordSet": record} for verb, record in changes]}
        self.refused("ChangeResourceRecordSets", code, HostedZoneId=zone, ChangeBatch=batch)


def record(name, identifier=None, value="192.0.2.1", kind="A", **policy):
    made = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}], **policy}
    return {**made, "SetIdentifier": identifier} if identifier else made


def policies(collection):
    """Two sets of each policy that go together."""
    return {
        "weighted": [{"Weight": 0}, {"Weight": 255}],
        "latency": [{"Region": "eu-west-1"}, {"Region": "us-east-1"}],
        "geo": [{"GeoLocation": {"ContinentCode": "EU"}}, {"GeoLocation": {"CountryCode": "*"}},
                {"GeoLocation": {"CountryCode": "US", "SubdivisionCode": "WA"}}],
        "near": [{"GeoProximityLocation": {"AWSRegion": "us-east-1", "Bias": -20}},
                 {"GeoProximityLocation": {"Coordinates": {"Latitude": "49.22", "Longitude": "-74.01"}, "Bias": 0}},
                 {"GeoProximityLocation": {"LocalZoneGroup": "us-west-2-lax-1", "Bias": 99}}],
        "many": [{"MultiValueAnswer": True}, {"MultiValueAnswer": True}],
        "cidr": [{"CidrRoutingConfig": {"CollectionId": collection, "LocationName": "office"}},
                 {"CidrRoutingConfig": {"CollectionId": collection, "LocationName": "*"}}],
    }


def zones(api):
    made = api.call("CreateHostedZone", Name="Example.TEST", CallerReference="one", HostedZoneConfig={"Comment": "first", "PrivateZone": False})
    zone = made["HostedZone"]["Id"]
    equal("name servers", len(made["DelegationSet"]["NameServers"]), 4)
    api.refused("CreateHostedZone", "HostedZoneAlreadyExists", Name="example.test", CallerReference="one")
    api.refused("CreateHostedZone", "InvalidDomainName", Name="a..b", CallerReference="two")
    api.refused("CreateHostedZone", "NoSuchDelegationSet", Name="b.test", CallerReference="two", DelegationSetId="N0NOBODY")
    api.call("GetHostedZone", Id=zone)
    api.call("ListHostedZones", MaxItems="1")
    api.call("ListHostedZonesByName", DNSName="example.test", MaxItems="1")
    api.call("GetHostedZoneCount")
    api.call("UpdateHostedZoneComment", Id=zone, Comment="changed")
    api.call("GetDNSSEC", HostedZoneId=zone)
    for operation in ["GetHostedZone", "DeleteHostedZone", "UpdateHostedZoneComment"]:
        api.refused(operation, "NoSuchHostedZone", Id="Z0NOBODY")
    api.refused("GetDNSSEC", "NoSuchHostedZone", HostedZoneId="Z0NOBODY")
    api.refused("ListHostedZones", "NoSuchDelegationSet", DelegationSetId="N0NOBODY")
    api.refused("ListHostedZonesByName", "InvalidInput", HostedZoneId=zone)
    api.refused("GetChange", "NoSuchChange", Id="C0NOBODY")
    return zone


def collections(api):
    made = api.call("CreateCidrCollection", Name="offices", CallerReference="one")["Collection"]
    id = made["Id"]
    equal("its ARN", made["Arn"], f"arn:aws:route53:::cidrcollection/{id}")
    api.refused("CreateCidrCollection", "CidrCollectionAlreadyExistsException", Name="offices", CallerReference="two")
    put = lambda location, *blocks: [{"LocationName": location, "Action": "PUT", "CidrList": list(blocks)}]
    api.call("ChangeCidrCollection", Id=id, CollectionVersion=1, Changes=put("office", "203.0.113.0/24", "2001:db8::/48"))
    api.refused("ChangeCidrCollection", "CidrCollectionVersionMismatchException", Id=id, CollectionVersion=1, Changes=put("a", "10.0.0.0/8"))
    api.refused("ChangeCidrCollection", "CidrBlockInUseException", Id=id, Changes=put("a", "203.0.113.0/24"))
    api.refused("ChangeCidrCollection", "InvalidInput", Id=id, Changes=put("a", "10.0.0.0/25"))
    api.refused("ChangeCidrCollection", "NoSuchCidrCollectionException", Id=NOBODY, Changes=put("a", "10.0.0.0/8"))
    equal("collections", [(c["Name"], c["Version"]) for c in api.call("ListCidrCollections", MaxResults="1")["CidrCollections"]], [("offices", 2)])
    api.refused("ListCidrCollections", "InvalidPaginationToken", NextToken="nonsense")
    equal("locations", api.call("ListCidrLocations", CollectionId=id)["CidrLocations"], [{"LocationName": "office"}])
    page = api.call("ListCidrBlocks", CollectionId=id, LocationName="office", MaxResults="1")
    rest = api.call("ListCidrBlocks", CollectionId=id, LocationName="office", NextToken=page["NextToken"])
    equal("blocks", [b["CidrBlock"] for b in page["CidrBlocks"] + rest["CidrBlocks"]], ["2001:db8::/48", "203.0.113.0/24"])
    api.refused("ListCidrLocations", "NoSuchCidrCollectionException", CollectionId=NOBODY)
    api.refused("ListCidrBlocks", "NoSuchCidrLocationException", CollectionId=id, LocationName="home")
    api.refused("DeleteCidrCollection", "CidrCollectionInUseException", Id=id)
    api.refused("DeleteCidrCollection", "NoSuchCidrCollectionException", Id=NOBODY)
    return id


def records(api, zone, collection):
    name = lambda policy: f"{policy}.example.test."
    made = {policy: [record(name(policy), f"set-{n}", f"192.0.2.{n + 1}", **p) for n, p in enumerate(sets)]
            for policy, sets in policies(collection).items()}
    api.change(zone, *(("CREATE", r) for sets in made.values() for r in sets))
    for policy, sets in made.items():
        found = api.call("ListResourceRecordSets", HostedZoneId=zone, StartRecordName=name(policy), StartRecordType="A",
                         StartRecordIdentifier="set-1", MaxItems=str(len(sets) - 1))
        equal(f"{policy}, from the second set on", found["ResourceRecordSets"], sets[1:])
    whole = api.call("ListResourceRecordSets", HostedZoneId=zone)["ResourceRecordSets"]
    pages, start = [], {}
    while True:
        page = api.call("ListResourceRecordSets", HostedZoneId=zone, MaxItems="2", **start)
        pages += page["ResourceRecordSets"]
        if not page["IsTruncated"]:
            break
        start = {f"Start{k[4:]}": v for k, v in page.items() if k in ("NextRecordName", "NextRecordType", "NextRecordIdentifier")}
    equal("pages of two", pages, whole)
    for policy, sets in made.items():
        simple = record(name(policy))
        api.change_refused(zone, "InvalidChangeBatch", ("CREATE", simple))
        api.change_refused(zone, "InvalidChangeBatch", ("CREATE", sets[0]))
        api.change_refused(zone, "InvalidChangeBatch", ("DELETE", {**sets[0], "TTL": 61}))
        api.change_refused(zone, "InvalidInput", ("CREATE", {k: v for k, v in sets[0].items() if k != "SetIdentifier"}))
        if policy in ("latency", "geo", "cidr"):
            api.change_refused(zone, "InvalidChangeBatch", ("CREATE", {**sets[0], "SetIdentifier": "third"}))
        if policy != "weighted":
            api.change_refused(zone, "InvalidChangeBatch", ("CREATE", record(name(policy), "third", Weight=1)))
    api.change_refused(zone, "InvalidInput", ("CREATE", record("a.example.test", "x")))
    api.change_refused(zone, "InvalidInput", ("CREATE", record("a.example.test", "x", Failover="PRIMARY")))
    api.change_refused(zone, "NoSuchHealthCheck", ("CREATE", record("a.example.test", "x", Weight=1, HealthCheckId=NOBODY)))
    api.change_refused(zone, "InvalidChangeBatch", ("CREATE", record("a.example.test", "x", GeoLocation={"CountryCode": "ZZ"})))
    api.change_refused("Z0NOBODY", "NoSuchHostedZone", ("CREATE", record("a.example.test")))
    api.refused("ListResourceRecordSets", "InvalidInput", HostedZoneId=zone, StartRecordType="A")
    api.refused("CreateQueryLoggingConfig", "NoSuchCloudWatchLogsLogGroup", HostedZoneId=zone,
                CloudWatchLogsLogGroupArn="arn:aws:logs:us-east-1:000000000000:log-group:/aws/route53/none")
    api.refused("DeleteHostedZone", "HostedZoneNotEmpty", Id=zone)
    equal("what refused calls left", api.call("ListResourceRecordSets", HostedZoneId=zone)["ResourceRecordSets"], whole)
    return made


def answers(api, zone):
    ask = lambda name, kind="A", **more: api.call("TestDNSAnswer", HostedZoneId=zone, RecordName=name, RecordType=kind, **more)
    by_client = lambda client: ask("cidr.example.test", EDNS0ClientSubnetIP=client, EDNS0ClientSubnetMask="24")["RecordData"]
    equal("a client of the office", by_client("203.0.113.9"), ["192.0.2.1"])
    equal("a client of elsewhere", by_client("198.51.100.9"), ["192.0.2.2"])
    equal("a resolver of the office", ask("cidr.example.test", ResolverIP="203.0.113.9")["RecordData"], ["192.0.2.1"])
    equal("a weight of zero", ask("weighted.example.test")["RecordData"], ["192.0.2.2"])
    equal("many values", sorted(ask("many.example.test")["RecordData"]), ["192.0.2.1", "192.0.2.2"])
    none = ask("none.example.test")
    equal("no such name", (none["ResponseCode"], none["RecordData"], none["Protocol"]), ("NXDOMAIN", [], "UDP"))
    api.change(zone, ("CREATE", record("text.example.test", value='"say \\"hi\\"" "\\001;"', kind="TXT")))
    equal("a text", ask("text.example.test", "TXT")["RecordData"], ['"say \\"hi\\"" "\\001;"'])
    api.refused("TestDNSAnswer", "NoSuchHostedZone", HostedZoneId="Z0NOBODY", RecordName="a.test", RecordType="A")
    api.refused("TestDNSAnswer", "InvalidInput", HostedZoneId=zone, RecordName="a.test", RecordType="A")
    api.change(zone, ("DELETE", record("text.example.test", value='"say \\"hi\\"" "\\001;"', kind="TXT")))


def delegation(api, zone):
    made = api.call("CreateReusableDelegationSet", CallerReference="one")["DelegationSet"]
    api.refused("CreateReusableDelegationSet", "DelegationSetAlreadyCreated", CallerReference="one")
    api.refused("CreateReusableDelegationSet", "HostedZoneNotFound", CallerReference="two", HostedZoneId="Z0NOBODY")
    equal("the set", api.call("GetReusableDelegationSet", Id=made["Id"])["DelegationSet"], made)
    equal("sets", api.call("ListReusableDelegationSets", MaxItems="1")["DelegationSets"], [made])
    api.refused("ListReusableDelegationSets", "InvalidInput", MaxItems="x")
    user = api.call("CreateHostedZone", Name="shared.test", CallerReference="shared", DelegationSetId=made["Id"])
    equal("the zone's servers", user["DelegationSet"]["NameServers"], made["NameServers"])
    api.refused("CreateHostedZone", "ConflictingDomainExists", Name="a.shared.test", CallerReference="a", DelegationSetId=made["Id"])
    equal("zones of the set", [z["Name"] for z in api.call("ListHostedZones", DelegationSetId=made["Id"])["HostedZones"]], ["shared.test."])
    api.refused("DeleteReusableDelegationSet", "DelegationSetInUse", Id=made["Id"])
    api.call("DeleteHostedZone", Id=user["HostedZone"]["Id"])
    api.call("DeleteReusableDelegationSet", Id=made["Id"])
    for operation in ["GetReusableDelegationSet", "DeleteReusableDelegationSet"]:
        api.refused(operation, "NoSuchDelegationSet", Id=made["Id"])


def private(api, region, zone):
    ec2, = region.clients("ec2")
    other = region.client("route53", key="111111111111"), region.client("ec2", key="111111111111")
    vpcs = [{"VPCRegion": "us-east-1", "VPCId": c.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]} for c in (ec2, ec2, other[1])]
    own, second, foreign = vpcs
    corp = api.call("CreateHostedZone", Name="corp.test", CallerReference="corp", VPC=own)["HostedZone"]["Id"]
    api.call("AssociateVPCWithHostedZone", HostedZoneId=corp, VPC=second, Comment="second")
    api.refused("AssociateVPCWithHostedZone", "ConflictingDomainExists", HostedZoneId=corp, VPC=second)
    api.refused("AssociateVPCWithHostedZone", "PublicZoneVPCAssociation", HostedZoneId=zone, VPC=second)
    api.refused("AssociateVPCWithHostedZone", "NotAuthorizedException", client=other[0], HostedZoneId=corp, VPC=foreign)
    api.call("CreateVPCAssociationAuthorization", HostedZoneId=corp, VPC=foreign)
    api.refused("CreateVPCAssociationAuthorization", "InvalidVPCId", HostedZoneId=corp, VPC={**foreign, "VPCId": "vpc-0123456789abcdef0"})
    equal("authorizations", api.call("ListVPCAssociationAuthorizations", HostedZoneId=corp)["VPCs"], [foreign])
    api.refused("ListVPCAssociationAuthorizations", "NoSuchHostedZone", HostedZoneId="Z0NOBODY")
    other[0].associate_vpc_with_hosted_zone(HostedZoneId=corp, VPC=foreign)
    seen = other[0].list_hosted_zones_by_vpc(VPCId=foreign["VPCId"], VPCRegion="us-east-1")["HostedZoneSummaries"]
    equal("zones of the other account's VPC", [(z["Name"], z["Owner"]) for z in seen], [("corp.test.", {"OwningAccount": "000000000000"})])
    api.call("ListHostedZonesByVPC", **own)
    api.refused("ListHostedZonesByVPC", "InvalidInput", VPCId="vpc-0123456789abcdef0", VPCRegion="us-east-1")
    api.call("DeleteVPCAssociationAuthorization", HostedZoneId=corp, VPC=foreign)
    api.refused("DeleteVPCAssociationAuthorization", "VPCAssociationAuthorizationNotFound", HostedZoneId=corp, VPC=foreign)
    near = record("near.corp.test", "x", GeoProximityLocation={"AWSRegion": "us-east-1"})
    api.change_refused(corp, "InvalidChangeBatch", ("CREATE", near))
    api.refused("TestDNSAnswer", "InvalidInput", HostedZoneId=corp, RecordName="corp.test", RecordType="NS")
    equal("VPCs of the zone", api.call("GetHostedZoneLimit", HostedZoneId=corp, Type="MAX_VPCS_ASSOCIATED_BY_ZONE")["Count"], 3)
    api.refused("GetHostedZoneLimit", "HostedZoneNotPrivate", HostedZoneId=zone, Type="MAX_VPCS_ASSOCIATED_BY_ZONE")
    for vpc in (second, foreign):
        api.call("DisassociateVPCFromHostedZone", HostedZoneId=corp, VPC=vpc)
    api.refused("DisassociateVPCFromHostedZone", "LastVPCAssociation", HostedZoneId=corp, VPC=own)
    api.call("DeleteHostedZone", Id=corp)


def settings(api, region, zone):
    logs, = region.clients("logs")
    logs.create_log_group(logGroupName="/aws/route53/example")
    arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/route53/example"
    made = api.call("CreateQueryLoggingConfig", HostedZoneId=zone, CloudWatchLogsLogGroupArn=arn)["QueryLoggingConfig"]
    api.refused("CreateQueryLoggingConfig", "QueryLoggingConfigAlreadyExists", HostedZoneId=zone, CloudWatchLogsLogGroupArn=arn)
    api.refused("CreateQueryLoggingConfig", "InvalidInput", HostedZoneId=zone, CloudWatchLogsLogGroupArn=arn.replace("us-east-1", "eu-west-1"))
    equal("the configuration", api.call("GetQueryLoggingConfig", Id=made["Id"])["QueryLoggingConfig"], made)
    equal("configurations", api.call("ListQueryLoggingConfigs", HostedZoneId=zone, MaxResults="1")["QueryLoggingConfigs"], [made])
    api.refused("ListQueryLoggingConfigs", "NoSuchHostedZone", HostedZoneId="Z0NOBODY")
    api.call("DeleteQueryLoggingConfig", Id=made["Id"])
    for operation in ["GetQueryLoggingConfig", "DeleteQueryLoggingConfig"]:
        api.refused(operation, "NoSuchQueryLoggingConfig", Id=made["Id"])
    equal("a place", api.call("GetGeoLocation", CountryCode="US", SubdivisionCode="WA")["GeoLocationDetails"],
          {"CountryCode": "US", "CountryName": "United States", "SubdivisionCode": "WA", "SubdivisionName": "Washington"})
    api.refused("GetGeoLocation", "NoSuchGeoLocation", CountryCode="ZZ")
    places, start = [], {}
    while True:
        page = api.call("ListGeoLocations", MaxItems="50", **start)
        places += page["GeoLocationDetailsList"]
        if not page["IsTruncated"]:
            break
        start = {f"Start{k[4:]}": v for k, v in page.items() if k in ("NextContinentCode", "NextCountryCode", "NextSubdivisionCode")}
    equal("places", (len(places), len({str(p) for p in places}), places[0]), (304, 304, {"ContinentCode": "AF", "ContinentName": "Africa"}))
    api.refused("ListGeoLocations", "InvalidInput", StartSubdivisionCode="WA")
    equal("zones at most", api.call("GetAccountLimit", Type="MAX_HOSTED_ZONES_BY_OWNER")["Limit"]["Value"], 500)
    api.refused("GetAccountLimit", "InvalidInput", Type="MAX_OF_ALL")
    api.call("ChangeTagsForResource", ResourceType="hostedzone", ResourceId=zone.rsplit("/")[-1], AddTags=[{"Key": "a", "Value": "b"}])
    api.refused("ChangeTagsForResource", "NoSuchHostedZone", ResourceType="hostedzone", ResourceId="Z0NOBODY", RemoveTagKeys=["a"])
    api.call("ListTagsForResource", ResourceType="hostedzone", ResourceId=zone.rsplit("/")[-1])
    api.refused("ListTagsForResource", "NoSuchHostedZone", ResourceType="hostedzone", ResourceId="Z0NOBODY")
    api.call("ListTagsForResources", ResourceType="hostedzone", ResourceIds=[zone.rsplit("/")[-1]])
    api.refused("ListTagsForResources", "NoSuchHostedZone", ResourceType="hostedzone", ResourceIds=["Z0NOBODY"])


def scenario(host):
    with host.region("--speed", "20") as region:
        client, = region.clients("route53")
        api = Api(client)
        zone = zones(api)
        collection = collections(api)
        made = records(api, zone, collection)
        answers(api, zone)
        delegation(api, zone)
        private(api, region, zone)
        settings(api, region, zone)
        api.refused("ChangeCidrCollection", "CidrBlockInUseException", Id=collection, Changes=[
            {"LocationName": "office", "Action": "DELETE_IF_EXISTS", "CidrList": ["203.0.113.0/24", "2001:db8::/48"]}])
        api.change(zone, *(("DELETE", r) for sets in made.values() for r in sets))
        api.call("ChangeCidrCollection", Id=collection, Changes=[
            {"LocationName": "office", "Action": "DELETE_IF_EXISTS", "CidrList": ["203.0.113.0/24", "2001:db8::/48"]}])
        api.call("DeleteCidrCollection", Id=collection)
        api.call("DeleteHostedZone", Id=zone)
        wanted = {o for line in open(ROOT / "models/operations.txt") if line.startswith("route53:") for o in line.split()[1:]} - ELSEWHERE
        equal("what was wrong", api.wrong, [])
        equal("operations that were not called well", wanted - api.good, set())
        equal("operations that were not called badly", wanted - api.bad - NEVER_BAD, set())
