"""Every EC2 operation that is served, called well and badly: before a good call is let through, the same call is tried as a
dry run, with ids of nobody and with ids that are none; nothing of that may change anything. Then idempotent tokens, tags
on creation, filters with wildcards and pages."""
import re
from botocore import xform_name
from botocore.exceptions import ClientError
from host import ROOT, equal, wait

#: Codes of an unknown and of a malformed id. No malformed code: AWS looks such ids up like any other.
CODES = {
    "vpc": ("InvalidVpcID.NotFound", "InvalidVpcID.Malformed"), "subnet": ("InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed"),
    "igw": ("InvalidInternetGatewayID.NotFound", "InvalidInternetGatewayId.Malformed"), "eigw": ("InvalidGatewayID.NotFound", None),
    "rtb": ("InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed"), "rtbassoc": ("InvalidAssociationID.NotFound", None),
    "nat": ("NatGatewayNotFound", "NatGatewayMalformed"), "eipalloc": ("InvalidAllocationID.NotFound", None), "eipassoc": ("InvalidAssociationID.NotFound", None),
    "eni": ("InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed"), "sg": ("InvalidGroup.NotFound", "InvalidGroupId.Malformed"),
    "sgr": ("InvalidSecurityGroupRuleId.NotFound", "InvalidSecurityGroupRuleId.Malformed"), "acl": ("InvalidNetworkAclID.NotFound", None),
    "aclassoc": ("InvalidAssociationID.NotFound", None), "dopt": ("InvalidDhcpOptionID.NotFound", None), "pl": ("InvalidPrefixListID.NotFound", None),
    "vpc-cidr-assoc": ("InvalidVpcCidrBlockAssociationID.NotFound", None), "subnet-cidr-assoc": ("InvalidSubnetCidrBlockAssociationID.NotFound", None),
    "scr": ("InvalidSubnetCidrReservationID.NotFound", None), "pcx": ("InvalidVpcPeeringConnectionID.NotFound", "InvalidVpcPeeringConnectionId.Malformed"),
    "vpce": ("InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed"), "fl": ("InvalidFlowLogId.NotFound", None),
    "nip": ("InvalidNetworkInsightsPathId.NotFound", None), "nia": ("InvalidNetworkInsightsAnalysisId.NotFound", None),
}
#: Calls that word an unknown id in a way of their own.
OWN_CODES = {
    ("CreateRoute", "igw"): "InvalidGatewayID.NotFound", ("CreateRoute", "nat"): "InvalidNatGatewayID.NotFound", ("ReplaceRoute", "igw"): "InvalidGatewayID.NotFound",
    # The NAT gateway is made, and fails.
    ("CreateNatGateway", "eipalloc"): None, ("DetachInternetGateway", "vpc"): "Gateway.NotAttached", ("ReplaceRoute", "pl"): "InvalidRoute.NotFound",
    ("DeleteRoute", "pl"): "InvalidRoute.NotFound", ("CreateVpcEndpoint", "rtb"): "InvalidRouteTableId.NotFound", ("CreateVpcEndpoint", "subnet"): "InvalidSubnetId.NotFound",
    ("ModifyVpcEndpoint", "rtb"): "InvalidRouteTableId.NotFound",
}
ID = re.compile(r"([a-z]+(?:-cidr-assoc)?)-[0-9a-f]{17}$")
NOBODY = "0123456789abcdef0"


class Api:
    """Calls operations by their AWS names and collects what is wrong, so that one run shows all of it."""

    def __init__(self, ec2):
        self.ec2, self.good, self.bad, self.wrong = ec2, set(), set(), []

    def inputs(self, operation):
        return self.ec2.meta.service_model.operation_model(operation).input_shape.members

    def call(self, operation, **arguments):
        answer = getattr(self.ec2, xform_name(operation))(**arguments)
        answer.pop("ResponseMetadata")
        return answer

    def refused(self, operation, code, status=400, **arguments):
        """The call is refused with that code (one of several, parted by |)."""
        self.bad.add(operation)
        try:
            self.call(operation, **arguments)
            found = "no error"
        except ClientError as e:
            found = e.response["Error"]["Code"]
            if found in code.split("|"):
                found = None if e.response["ResponseMetadata"]["HTTPStatusCode"] == status else f"status {e.response['ResponseMetadata']['HTTPStatusCode']}"
            else:
                found += ": " + e.response["Error"]["Message"]
        if found:
            self.fault(f"{operation} {arguments}: {found}, not {code}")

    def fault(self, text):
        print(f"wrong: {text}", flush=True)
        self.wrong.append(text)

    def same(self, what, found, expected):
        if found != expected:
            self.fault(f"{what}: found {found!r}, expected {expected!r}")

    def do(self, operation, tag=None, differ=None, **arguments):
        """A good call, after every bad neighbour of it."""
        inputs = self.inputs(operation)
        if "DryRun" in inputs:
            self.refused(operation, "DryRunOperation", 412, **arguments, DryRun=True)
        for name, value in arguments.items():
            first = value[0] if isinstance(value, list) and value else value
            prefix = isinstance(first, str) and ID.match(first)
            if not prefix:
                continue
            prefix = prefix[1]
            usual, malformed = CODES[prefix]
            unknown = OWN_CODES.get((operation, prefix), OWN_CODES.get((operation, None), usual))
            if not unknown:
                continue
            instead = lambda text: {**arguments, name: [text] if isinstance(value, list) else text}
            self.refused(operation, unknown, **instead(f"{prefix}-{NOBODY}"))
            if malformed:
                # AWS tells malformed from unknown; which of them it says of an id of another kind differs by call.
                self.refused(operation, f"{malformed}|{usual}|{unknown}|InvalidParameterValue", **instead(f"{prefix}-xyz"))
                self.refused(operation, f"{malformed}|{usual}|{unknown}|InvalidParameterValue|InvalidID", **instead("nonsense"))
        if tag:
            self.refused(operation, "InvalidParameterValue|InvalidParameter", **arguments, TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}])
            self.refused(operation, "InvalidParameterValue|InvalidTagKey.Malformed", **arguments,
                         TagSpecifications=[{"ResourceType": tag, "Tags": [{"Key": "aws:a", "Value": "b"}]}])
            arguments["TagSpecifications"] = [{"ResourceType": tag, "Tags": [{"Key": "made-by", "Value": operation}]}]
        if "ClientToken" in inputs and (differ or tag):
            arguments["ClientToken"] = f"token-{operation}-{len(self.good)}"
        try:
            answer = self.call(operation, **arguments)
        except ClientError as e:
            raise AssertionError(f"{operation} {arguments}: {e}")
        self.good.add(operation)
        if "ClientToken" in arguments:
            again = self.call(operation, **arguments)
            self.same(f"{operation} with the same token: ids", sorted(ids_in(again)), sorted(ids_in(answer)))
            if differ:
                self.refused(operation, "IdempotentParameterMismatch", **{**arguments, **differ})
        if tag:
            found = self.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["made-by"]}, {"Name": "value", "Values": [operation]}])["Tags"]
            if not any(t["ResourceId"] in ids_in(answer) and t["ResourceType"] == tag for t in found):
                self.fault(f"{operation}: its tags are not there: {found}")
        return answer

    def listed(self, operation, key, ids=None, filters=(), member=None, other="Filters", **arguments):
        """A listing: by ids, filters with and without wildcards, pages. `filters`: (name, a value of what has this id)."""
        inputs = self.inputs(operation)
        whole = self.do(operation, **arguments)[key]
        of = lambda items: [i[member] if member else i for i in items]
        if ids:
            self.same(f"{operation} by id", of(self.do(operation, **{ids[0]: [ids[1]]}, **arguments)[key]), [ids[1]])
            if "MaxResults" in inputs and operation not in ("DescribeVpcEndpoints", "DescribeFlowLogs"):
                self.refused(operation, "InvalidParameterCombination", **{ids[0]: [ids[1]]}, MaxResults=10, **arguments)
        if other in inputs and operation != "DescribeInstances":  # which has none to filter
            self.refused(operation, "InvalidParameterValue", **{other: [{"Name": "colour", "Values": ["red"]}]}, **arguments)
            # Every name that AWS's own documentation has is known.
            for name in re.findall(r"<li> <p> <code>([^<]+)</code>", inputs[other].documentation):
                if (operation, name) != ("DescribeSecurityGroupRules", "group-id"):  # which is read as an id
                    api_name = "tag:a" if name.startswith("tag:") or name == "tag" else name
                    self.call(operation, **{other: [{"Name": api_name, "Values": ["nothing"]}]}, **arguments)
        for name, value in filters:
            by = lambda *values: of(self.call(operation, **{other: [{"Name": name, "Values": list(values)}]}, **arguments)[key])
            found = by(value)
            if not found or ids and ids[1] not in found:
                self.fault(f"{operation} {name}={value}: only {found}")
            for pattern in (value[:-1] + "?", value[:2] + "*", "*" + value[-2:], "*"):
                if not set(map(str, found)) <= set(map(str, by(pattern))):
                    self.fault(f"{operation} {name}={pattern}: not all that {value} has")
            self.same(f"{operation} {name}=nobody", by("nobody", "nobod?y", "no*body"), [])
            self.same(f"{operation} {name}={value} or nobody", by("nobody", value), found)
        if "MaxResults" in inputs:
            size, pages, token = inputs["MaxResults"].metadata.get("min", 1), [], {}
            while token is not None:
                answer = self.call(operation, **arguments, MaxResults=size, **token)
                assert len(answer[key]) <= size, f"{operation}: a page of {len(answer[key])}"
                pages += answer[key]
                token = {"NextToken": answer["NextToken"]} if "NextToken" in answer else None
            order = lambda items: sorted(map(repr, items))
            self.same(f"{operation}: the pages together", order(pages), order(whole))
            self.refused(operation, "InvalidNextToken", **arguments, MaxResults=size, NextToken="nonsense")
        return whole


def ids_in(value):
    """Every id that stands anywhere in an answer."""
    if isinstance(value, dict):
        return {i for k, v in value.items() if k != "ClientToken" for i in ids_in(v)}
    if isinstance(value, list):
        return {i for v in value for i in ids_in(v)}
    return {value} if isinstance(value, str) and ID.match(value) else set()


def networks(api):
    """VPCs, subnets, blocks, reservations, DHCP options; gives the ids that others build on."""
    do, refused = api.do, api.refused
    vpc = do("CreateVpc", tag="vpc", CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    peer = do("CreateVpc", CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    for cidr, code in (("10.0.0.0/15", "InvalidVpc.Range"), ("10.0.0.0/29", "InvalidVpc.Range"), ("10.0.0.0", "InvalidParameterValue"), ("x", "InvalidParameterValue")):
        refused("CreateVpc", code, CidrBlock=cidr)
    for name in ("EnableDnsHostnames", "EnableDnsSupport", "EnableNetworkAddressUsageMetrics"):
        do("ModifyVpcAttribute", VpcId=vpc, **{name: {"Value": True}})
        attribute = name[0].lower() + name[1:]
        api.same(attribute, do("DescribeVpcAttribute", VpcId=vpc, Attribute=attribute)[name], {"Value": True})
    refused("ModifyVpcAttribute", "InvalidParameterCombination", VpcId=vpc, EnableDnsHostnames={"Value": True}, EnableDnsSupport={"Value": True})
    refused("ModifyVpcTenancy", "InvalidParameterValue", VpcId=vpc, InstanceTenancy="dedicated")
    do("ModifyVpcTenancy", VpcId=vpc, InstanceTenancy="default")
    block = do("AssociateVpcCidrBlock", VpcId=vpc, CidrBlock="10.9.0.0/24")["CidrBlockAssociation"]["AssociationId"]
    refused("AssociateVpcCidrBlock", "InvalidVpc.Range", VpcId=vpc, CidrBlock="10.0.128.0/24")
    shown = wait("the block is associated", lambda: next(b for b in api.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"] if b["AssociationId"] == block))
    api.same("state of the block", shown["CidrBlockState"]["State"], "associated")
    primary = next(b["AssociationId"] for b in api.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"] if b["CidrBlock"] == "10.0.0.0/16")
    refused("DisassociateVpcCidrBlock", "OperationNotPermitted", AssociationId=primary)
    api.listed("DescribeVpcs", "Vpcs", ("VpcIds", vpc), [
        ("vpc-id", vpc), ("cidr", "10.0.0.0/16"), ("state", "available"), ("is-default", "false"), ("tag:made-by", "CreateVpc"), ("tag-key", "made-by"),
        ("cidr-block-association.association-id", block), ("cidr-block-association.cidr-block", "10.9.0.0/24"), ("cidr-block-association.state", "associated"),
        ("owner-id", "000000000000")], "VpcId")
    do("DisassociateVpcCidrBlock", AssociationId=block)

    ipv6 = api.call("DescribeVpcs", VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("::/56", "::/64")
    subnet = do("CreateSubnet", tag="subnet", VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
    second = do("CreateSubnet", VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZoneId="use1-az2")["Subnet"]["SubnetId"]
    for arguments, code in (({"CidrBlock": "10.0.0.128/25"}, "InvalidSubnet.Conflict"), ({"CidrBlock": "10.7.0.0/24"}, "InvalidSubnet.Range"),
                            ({"CidrBlock": "10.0.2.0/29"}, "InvalidSubnet.Range"), ({"CidrBlock": "10.0.2.0/24", "AvailabilityZone": "us-east-1z"}, "InvalidParameterValue")):
        refused("CreateSubnet", code, VpcId=vpc, **arguments)
    association = do("AssociateSubnetCidrBlock", SubnetId=subnet, Ipv6CidrBlock=ipv6)["Ipv6CidrBlockAssociation"]["AssociationId"]
    refused("AssociateSubnetCidrBlock", "InvalidSubnet.Range|InvalidParameterValue", SubnetId=second, Ipv6CidrBlock="2001:db8:ffff::/64")
    do("ModifySubnetAttribute", SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    api.listed("DescribeSubnets", "Subnets", ("SubnetIds", subnet), [
        ("vpc-id", vpc), ("subnet-id", subnet), ("availability-zone", "us-east-1a"), ("availability-zone-id", "use1-az1"), ("cidr-block", "10.0.0.0/24"),
        ("map-public-ip-on-launch", "true"), ("state", "available"), ("tag:made-by", "CreateSubnet"), ("default-for-az", "false"), ("available-ip-address-count", "251"),
        ("ipv6-cidr-block-association.ipv6-cidr-block", ipv6), ("ipv6-cidr-block-association.association-id", association)], "SubnetId")

    reservation = do("CreateSubnetCidrReservation", tag="subnet-cidr-reservation", SubnetId=subnet, Cidr="10.0.0.64/28", ReservationType="explicit")["SubnetCidrReservation"]["SubnetCidrReservationId"]
    for cidr in ("10.0.0.64/29", "10.3.0.0/28", "10.0.0.0"):
        refused("CreateSubnetCidrReservation", "InvalidParameterValue|InvalidCidr.Conflict|InvalidSubnetCidrReservation.Range|InvalidCidr.Range",
                SubnetId=subnet, Cidr=cidr, ReservationType="prefix")
    api.listed("GetSubnetCidrReservations", "SubnetIpv4CidrReservations", SubnetId=subnet, filters=[("reservationType", "explicit")])
    do("DeleteSubnetCidrReservation", SubnetCidrReservationId=reservation)

    options = do("CreateDhcpOptions", tag="dhcp-options", DhcpConfigurations=[{"Key": "domain-name", "Values": ["corp.test"]}])["DhcpOptions"]["DhcpOptionsId"]
    refused("CreateDhcpOptions", "InvalidParameterValue", DhcpConfigurations=[{"Key": "colour", "Values": ["red"]}])
    do("AssociateDhcpOptions", DhcpOptionsId=options, VpcId=vpc)
    api.listed("DescribeDhcpOptions", "DhcpOptions", ("DhcpOptionsIds", options), [("key", "domain-name"), ("value", "corp.test"), ("dhcp-options-id", options)], "DhcpOptionsId")
    refused("DeleteDhcpOptions", "DependencyViolation", DhcpOptionsId=options)
    do("AssociateDhcpOptions", DhcpOptionsId="default", VpcId=vpc)
    do("DeleteDhcpOptions", DhcpOptionsId=options)
    return vpc, peer, subnet, second, association


def groups(api, vpc, peer):
    do, refused = api.do, api.refused
    group = do("CreateSecurityGroup", tag="security-group", GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    other = do("CreateSecurityGroup", GroupName="other", Description="other", VpcId=vpc)["GroupId"]
    refused("CreateSecurityGroup", "InvalidGroup.Duplicate", GroupName="web", Description="web", VpcId=vpc)
    refused("CreateSecurityGroup", "InvalidParameterValue", GroupName="sg-web", Description="web", VpcId=vpc)
    http = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}], "UserIdGroupPairs": [{"GroupId": other}]}]
    rules = do("AuthorizeSecurityGroupIngress", tag="security-group-rule", GroupId=group, IpPermissions=http)["SecurityGroupRules"]
    refused("AuthorizeSecurityGroupIngress", "InvalidPermission.Duplicate", GroupId=group, IpPermissions=http)
    do("AuthorizeSecurityGroupEgress", tag="security-group-rule", GroupId=group, IpPermissions=http)
    refused("AuthorizeSecurityGroupEgress", "InvalidParameterValue", GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 9, "ToPort": 8, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    rule = next(r["SecurityGroupRuleId"] for r in rules if "CidrIpv4" in r)
    described = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "again"}]}]
    for way in ("Ingress", "Egress"):
        do(f"UpdateSecurityGroupRuleDescriptions{way}", GroupId=group, IpPermissions=described)
        refused(f"UpdateSecurityGroupRuleDescriptions{way}", "InvalidPermission.NotFound", GroupId=group,
                IpPermissions=[{"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}])
    api.same("description of the rule", do("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule])["SecurityGroupRules"][0].get("Description"), "again")
    change = {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "CidrIpv4": "10.0.0.0/8"}
    do("ModifySecurityGroupRules", GroupId=group, SecurityGroupRules=[{"SecurityGroupRuleId": rule, "SecurityGroupRule": change}])
    refused("ModifySecurityGroupRules", "InvalidSecurityGroupRuleId.NotFound", GroupId=group, SecurityGroupRules=[{"SecurityGroupRuleId": f"sgr-{NOBODY}", "SecurityGroupRule": change}])
    api.listed("DescribeSecurityGroupRules", "SecurityGroupRules", ("SecurityGroupRuleIds", rule), [
        ("security-group-rule-id", rule), ("tag:made-by", "AuthorizeSecurityGroupIngress")], "SecurityGroupRuleId")
    refused("DescribeSecurityGroupRules", "InvalidGroupId.Malformed", Filters=[{"Name": "group-id", "Values": ["nobody"]}])
    api.listed("DescribeSecurityGroups", "SecurityGroups", ("GroupIds", group), [
        ("group-id", group), ("group-name", "web"), ("vpc-id", vpc), ("description", "web"), ("ip-permission.cidr", "10.0.0.0/8"), ("ip-permission.from-port", "81"),
        ("ip-permission.group-id", other), ("ip-permission.protocol", "tcp"), ("egress.ip-permission.cidr", "10.0.0.0/8"), ("tag:made-by", "CreateSecurityGroup")], "GroupId")
    api.listed("GetSecurityGroupsForVpc", "SecurityGroupForVpcs", VpcId=vpc, filters=[("group-name", "web"), ("group-id", group), ("primary-vpc-id", vpc)], member="GroupId")
    api.same("references", do("DescribeSecurityGroupReferences", GroupId=[group])["SecurityGroupReferenceSet"], [])
    api.listed("DescribeStaleSecurityGroups", "StaleSecurityGroupSet", VpcId=vpc)
    refused("DeleteSecurityGroup", "DependencyViolation", GroupId=other)
    do("RevokeSecurityGroupIngress", GroupId=group, SecurityGroupRuleIds=[rule])
    refused("RevokeSecurityGroupIngress", "InvalidPermission.NotFound", GroupId=group, IpPermissions=described)
    do("RevokeSecurityGroupIngress", GroupId=group, IpPermissions=[{**http[0], "IpRanges": []}])
    do("RevokeSecurityGroupEgress", GroupId=group, IpPermissions=http)
    do("DeleteSecurityGroup", GroupId=other)
    default = api.call("DescribeSecurityGroups", Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}])["SecurityGroups"][0]["GroupId"]
    refused("DeleteSecurityGroup", "CannotDelete", GroupId=default)

    acl = do("CreateNetworkAcl", tag="network-acl", differ={"VpcId": peer}, VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    entry = {"NetworkAclId": acl, "RuleNumber": 100, "Egress": False}
    allow = {"Protocol": "6", "PortRange": {"From": 80, "To": 80}, "CidrBlock": "10.0.0.0/8", "RuleAction": "allow"}
    refused("ReplaceNetworkAclEntry", "InvalidNetworkAclEntry.NotFound", **entry, **allow)
    do("CreateNetworkAclEntry", **entry, **allow)
    refused("CreateNetworkAclEntry", "NetworkAclEntryAlreadyExists", **entry, **allow)
    do("ReplaceNetworkAclEntry", **entry, **{**allow, "RuleAction": "deny"})
    default = api.call("DescribeNetworkAcls", Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "default", "Values": ["true"]}])["NetworkAcls"][0]
    moved = do("ReplaceNetworkAclAssociation", AssociationId=default["Associations"][0]["NetworkAclAssociationId"], NetworkAclId=acl)["NewAssociationId"]
    api.listed("DescribeNetworkAcls", "NetworkAcls", ("NetworkAclIds", acl), [
        ("network-acl-id", acl), ("vpc-id", vpc), ("default", "false"), ("association.association-id", moved), ("association.network-acl-id", acl),
        ("association.subnet-id", default["Associations"][0]["SubnetId"]), ("entry.rule-number", "100"), ("entry.egress", "false"), ("entry.rule-action", "deny"),
        ("entry.cidr", "10.0.0.0/8"), ("tag:made-by", "CreateNetworkAcl")], "NetworkAclId")
    refused("DeleteNetworkAcl", "DependencyViolation", NetworkAclId=acl)
    do("ReplaceNetworkAclAssociation", AssociationId=moved, NetworkAclId=default["NetworkAclId"])
    do("DeleteNetworkAclEntry", **entry)
    refused("DeleteNetworkAclEntry", "InvalidNetworkAclEntry.NotFound", **entry)
    do("DeleteNetworkAcl", NetworkAclId=acl)
    refused("DeleteNetworkAcl", "InvalidParameterValue", NetworkAclId=default["NetworkAclId"])
    return group


def interfaces(api, vpc, subnet, second, group):
    do, refused = api.do, api.refused
    eni = do("CreateNetworkInterface", tag="network-interface", differ={"PrivateIpAddress": "10.0.0.20"}, SubnetId=subnet, Groups=[group], Description="mine",
             PrivateIpAddress="10.0.0.10")["NetworkInterface"]["NetworkInterfaceId"]
    refused("CreateNetworkInterface", "InvalidIPAddress.InUse", SubnetId=subnet, PrivateIpAddress="10.0.0.10")
    refused("CreateNetworkInterface", "InvalidParameterValue", SubnetId=subnet, PrivateIpAddress="10.0.1.10")
    do("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
    attribute = lambda name: do("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=eni, Attribute=name)
    api.same("sourceDestCheck", attribute("sourceDestCheck")["SourceDestCheck"], {"Value": False})
    do("ResetNetworkInterfaceAttribute", NetworkInterfaceId=eni, SourceDestCheck="true")
    api.same("sourceDestCheck", attribute("sourceDestCheck")["SourceDestCheck"], {"Value": True})
    refused("ModifyNetworkInterfaceAttribute", "InvalidParameterCombination", NetworkInterfaceId=eni, SourceDestCheck={"Value": False}, Description={"Value": "x"})
    do("AssignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.11"])
    refused("AssignPrivateIpAddresses", "InvalidParameterValue", NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.1.11"])
    given = do("AssignIpv6Addresses", NetworkInterfaceId=eni, Ipv6AddressCount=1)["AssignedIpv6Addresses"]
    refused("AssignIpv6Addresses", "InvalidParameterValue", NetworkInterfaceId=eni, Ipv6Addresses=["2001:db8:ffff::1"])
    api.listed("DescribeNetworkInterfaces", "NetworkInterfaces", ("NetworkInterfaceIds", eni), [
        ("network-interface-id", eni), ("subnet-id", subnet), ("group-id", group), ("group-name", "web"), ("description", "mine"), ("status", "available"),
        ("private-ip-address", "10.0.0.10"), ("addresses.private-ip-address", "10.0.0.11"), ("availability-zone", "us-east-1a"), ("requester-managed", "false"),
        ("interface-type", "interface"), ("source-dest-check", "true"), ("ipv6-addresses.ipv6-address", given[0]), ("tag:made-by", "CreateNetworkInterface")], "NetworkInterfaceId")
    do("UnassignPrivateIpAddresses", NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.11"])
    refused("UnassignPrivateIpAddresses", "InvalidParameterValue", NetworkInterfaceId=eni, PrivateIpAddresses=["10.0.0.10"])
    do("UnassignIpv6Addresses", NetworkInterfaceId=eni, Ipv6Addresses=given)
    refused("UnassignIpv6Addresses", "InvalidParameterValue", NetworkInterfaceId=eni, Ipv6Addresses=given)
    refused("AttachNetworkInterface", "InvalidInstanceID.NotFound", NetworkInterfaceId=eni, DeviceIndex=1, InstanceId=f"i-{NOBODY}")
    refused("AttachNetworkInterface", "InvalidInstanceID.Malformed", NetworkInterfaceId=eni, DeviceIndex=1, InstanceId="nonsense")
    refused("DetachNetworkInterface", "InvalidAttachmentID.NotFound", AttachmentId=f"eni-attach-{NOBODY}")
    refused("DescribeInstances", "InvalidInstanceID.NotFound", InstanceIds=[f"i-{NOBODY}"])
    api.same("instances", api.listed("DescribeInstances", "Reservations"), [])
    refused("DescribeVpnGateways", "InvalidVpnGatewayID.NotFound", VpnGatewayIds=[f"vgw-{NOBODY}"])
    api.same("VPN gateways", api.listed("DescribeVpnGateways", "VpnGateways"), [])

    address = do("AllocateAddress", tag="elastic-ip", Domain="vpc")
    allocation = address["AllocationId"]
    refused("AssociateAddress", "Gateway.NotAttached", AllocationId=allocation, NetworkInterfaceId=eni)
    gateway = api.call("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    api.call("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
    association = do("AssociateAddress", AllocationId=allocation, NetworkInterfaceId=eni)["AssociationId"]
    refused("AssociateAddress", "Resource.AlreadyAssociated", AllocationId=allocation, NetworkInterfaceId=do("CreateNetworkInterface", SubnetId=second)["NetworkInterface"]["NetworkInterfaceId"],
            AllowReassociation=False)
    api.listed("DescribeAddresses", "Addresses", ("AllocationIds", allocation), [
        ("allocation-id", allocation), ("association-id", association), ("public-ip", address["PublicIp"]), ("network-interface-id", eni), ("private-ip-address", "10.0.0.10"),
        ("domain", "vpc"), ("tag:made-by", "AllocateAddress")], "AllocationId")
    refused("DescribeAddresses", "InvalidAddress.NotFound", PublicIps=["198.51.100.1"])
    do("ModifyAddressAttribute", AllocationId=allocation, DomainName="mail.corp.test")
    api.same("the address' name", do("DescribeAddressesAttribute", AllocationIds=[allocation], Attribute="domain-name")["Addresses"][0]["PtrRecord"], "mail.corp.test.")
    api.listed("DescribeAddressesAttribute", "Addresses", Attribute="domain-name")
    do("ResetAddressAttribute", AllocationId=allocation, Attribute="domain-name")
    refused("ReleaseAddress", "InvalidIPAddress.InUse", AllocationId=allocation)
    do("DisassociateAddress", AssociationId=association)
    do("ReleaseAddress", AllocationId=allocation)
    do("DetachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
    do("DeleteInternetGateway", InternetGatewayId=gateway)
    return eni


def routes(api, vpc, peer, subnet, second):
    do, refused = api.do, api.refused
    gateway = do("CreateInternetGateway", tag="internet-gateway")["InternetGateway"]["InternetGatewayId"]
    refused("DetachInternetGateway", "Gateway.NotAttached", InternetGatewayId=gateway, VpcId=vpc)
    do("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
    refused("AttachInternetGateway", "Resource.AlreadyAssociated", InternetGatewayId=gateway, VpcId=peer)
    refused("DeleteInternetGateway", "DependencyViolation", InternetGatewayId=gateway)
    api.listed("DescribeInternetGateways", "InternetGateways", ("InternetGatewayIds", gateway), [
        ("internet-gateway-id", gateway), ("attachment.vpc-id", vpc), ("attachment.state", "available"), ("tag:made-by", "CreateInternetGateway"), ("owner-id", "000000000000")], "InternetGatewayId")
    outward = do("CreateEgressOnlyInternetGateway", tag="egress-only-internet-gateway", differ={"VpcId": peer}, VpcId=vpc)["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
    api.listed("DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGateways", ("EgressOnlyInternetGatewayIds", outward),
               [("tag:made-by", "CreateEgressOnlyInternetGateway")], "EgressOnlyInternetGatewayId")

    table = do("CreateRouteTable", tag="route-table", differ={"VpcId": peer}, VpcId=vpc)["RouteTable"]["RouteTableId"]
    prefixes = do("CreateManagedPrefixList", tag="prefix-list", differ={"PrefixListName": "homes"}, PrefixListName="offices", MaxEntries=3, AddressFamily="IPv4",
                  Entries=[{"Cidr": "203.0.113.0/24", "Description": "a"}])["PrefixList"]["PrefixListId"]
    for arguments, code in (({"PrefixListName": "com.amazonaws.x"}, "InvalidParameterValue|InvalidPrefixListName"), ({"AddressFamily": "IPv5"}, "InvalidParameterValue"),
                            ({"MaxEntries": 0}, "InvalidParameterValue"), ({"Entries": [{"Cidr": "2001:db8::/32"}]}, "InvalidParameterValue")):
        refused("CreateManagedPrefixList", code, **{"PrefixListName": "x", "AddressFamily": "IPv4", "MaxEntries": 2, **arguments})
    do("ModifyManagedPrefixList", PrefixListId=prefixes, CurrentVersion=1, AddEntries=[{"Cidr": "192.0.2.0/24"}])
    refused("ModifyManagedPrefixList", "PrefixListVersionMismatch", PrefixListId=prefixes, CurrentVersion=1, AddEntries=[{"Cidr": "192.0.3.0/24"}])
    api.same("entries", sorted(e["Cidr"] for e in api.listed("GetManagedPrefixListEntries", "Entries", PrefixListId=prefixes)), ["192.0.2.0/24", "203.0.113.0/24"])
    api.same("entries of version 1", [e["Cidr"] for e in do("GetManagedPrefixListEntries", PrefixListId=prefixes, TargetVersion=1)["Entries"]], ["203.0.113.0/24"])
    refused("RestoreManagedPrefixListVersion", "InvalidPrefixListVersion|InvalidParameterValue", PrefixListId=prefixes, PreviousVersion=9, CurrentVersion=2)
    do("RestoreManagedPrefixListVersion", PrefixListId=prefixes, PreviousVersion=1, CurrentVersion=2)
    api.listed("DescribeManagedPrefixLists", "PrefixLists", ("PrefixListIds", prefixes), [
        ("prefix-list-id", prefixes), ("prefix-list-name", "offices"), ("owner-id", "000000000000"), ("tag:made-by", "CreateManagedPrefixList")], "PrefixListId")

    for destination, target in ({"DestinationCidrBlock": "0.0.0.0/0"}, {"GatewayId": gateway}), ({"DestinationIpv6CidrBlock": "::/0"}, {"EgressOnlyInternetGatewayId": outward}), (
            {"DestinationPrefixListId": prefixes}, {"GatewayId": gateway}):
        do("CreateRoute", RouteTableId=table, **destination, **target)
        refused("CreateRoute", "RouteAlreadyExists", RouteTableId=table, **destination, **target)
    refused("CreateRoute", "InvalidParameterValue|InvalidParameterCombination", RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway, NatGatewayId=f"nat-{NOBODY}")
    refused("DeleteRoute", "InvalidParameterValue", RouteTableId=table, DestinationCidrBlock="10.0.0.0/16")
    refused("ReplaceRoute", "InvalidRoute.NotFound|InvalidParameterValue", RouteTableId=table, DestinationCidrBlock="192.0.2.0/24", GatewayId=gateway)
    api.same("a list in use is asked to go", api.call("DeleteManagedPrefixList", PrefixListId=prefixes)["PrefixList"]["State"], "delete-in-progress")
    api.same("and stays", api.call("DescribeManagedPrefixLists", PrefixListIds=[prefixes])["PrefixLists"][0]["State"], "delete-failed")
    refused("DeleteManagedPrefixList", "InvalidPrefixListID.NotFound|InvalidPrefixListId.NotFound", PrefixListId=f"pl-{NOBODY}")
    api.same("who uses the list", [a["ResourceId"] for a in api.listed("GetManagedPrefixListAssociations", "PrefixListAssociations", PrefixListId=prefixes)], [table])
    association = do("AssociateRouteTable", RouteTableId=table, SubnetId=subnet)["AssociationId"]
    spare = do("CreateRouteTable", VpcId=vpc)["RouteTable"]["RouteTableId"]
    refused("AssociateRouteTable", "Resource.AlreadyAssociated", RouteTableId=spare, SubnetId=subnet)
    refused("DeleteRouteTable", "DependencyViolation", RouteTableId=table)
    api.listed("DescribeRouteTables", "RouteTables", ("RouteTableIds", table), [
        ("route-table-id", table), ("vpc-id", vpc), ("association.subnet-id", subnet), ("association.route-table-association-id", association),
        ("route.destination-cidr-block", "0.0.0.0/0"), ("route.destination-ipv6-cidr-block", "::/0"), ("route.destination-prefix-list-id", prefixes), ("route.gateway-id", gateway),
        ("route.egress-only-internet-gateway-id", outward), ("route.state", "active"), ("route.origin", "CreateRoute"), ("tag:made-by", "CreateRouteTable")], "RouteTableId")

    allocation = do("AllocateAddress", Domain="vpc")["AllocationId"]
    nat = do("CreateNatGateway", tag="natgateway", differ={"SubnetId": second}, SubnetId=subnet, AllocationId=allocation)["NatGateway"]["NatGatewayId"]
    refused("CreateNatGateway", "MissingParameter|InvalidParameterCombination", SubnetId=subnet)
    wait("the NAT gateway is available", lambda: api.call("DescribeNatGateways", NatGatewayIds=[nat])["NatGateways"][0]["State"] == "available")
    api.listed("DescribeNatGateways", "NatGateways", ("NatGatewayIds", nat), [
        ("nat-gateway-id", nat), ("vpc-id", vpc), ("subnet-id", subnet), ("state", "available"), ("tag:made-by", "CreateNatGateway")], "NatGatewayId")
    api.call("ReplaceRoute", RouteTableId=spare, DestinationCidrBlock="10.0.0.0/16", LocalTarget=True)
    refused("DetachInternetGateway", "DependencyViolation", InternetGatewayId=gateway, VpcId=vpc)
    do("DeleteNatGateway", NatGatewayId=nat)
    wait("the NAT gateway is gone", lambda: api.call("DescribeNatGateways", NatGatewayIds=[nat])["NatGateways"][0]["State"] == "deleted")
    do("ReleaseAddress", AllocationId=allocation)

    do("ReplaceRoute", RouteTableId=table, DestinationPrefixListId=prefixes, GatewayId=gateway)
    moved = do("ReplaceRouteTableAssociation", AssociationId=association, RouteTableId=spare)["NewAssociationId"]
    do("DisassociateRouteTable", AssociationId=moved)
    for destination in {"DestinationCidrBlock": "0.0.0.0/0"}, {"DestinationIpv6CidrBlock": "::/0"}, {"DestinationPrefixListId": prefixes}:
        do("DeleteRoute", RouteTableId=table, **destination)
        refused("DeleteRoute", "InvalidRoute.NotFound", RouteTableId=table, **destination)
    do("DeleteManagedPrefixList", PrefixListId=prefixes)
    do("DeleteRouteTable", RouteTableId=spare)
    do("DeleteEgressOnlyInternetGateway", EgressOnlyInternetGatewayId=outward)
    return gateway, table


def peerings(api, vpc, peer):
    do, refused = api.do, api.refused
    overlap = api.call("CreateVpc", CidrBlock="10.0.0.0/20")["Vpc"]["VpcId"]
    refused("CreateVpcPeeringConnection", "InvalidParameterValue", VpcId=vpc, PeerVpcId=vpc)
    made = lambda: do("CreateVpcPeeringConnection", tag="vpc-peering-connection", VpcId=vpc, PeerVpcId=peer)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    first = made()
    wait("the peering waits", lambda: api.call("DescribeVpcPeeringConnections", VpcPeeringConnectionIds=[first])["VpcPeeringConnections"][0]["Status"]["Code"] == "pending-acceptance")
    do("RejectVpcPeeringConnection", VpcPeeringConnectionId=first)
    refused("AcceptVpcPeeringConnection", "InvalidStateTransition", VpcPeeringConnectionId=first)
    second = made()
    wait("the peering waits", lambda: api.call("DescribeVpcPeeringConnections", VpcPeeringConnectionIds=[second])["VpcPeeringConnections"][0]["Status"]["Code"] == "pending-acceptance")
    do("AcceptVpcPeeringConnection", VpcPeeringConnectionId=second)
    wait("the peering is active", lambda: api.call("DescribeVpcPeeringConnections", VpcPeeringConnectionIds=[second])["VpcPeeringConnections"][0]["Status"]["Code"] == "active")
    refused("RejectVpcPeeringConnection", "InvalidStateTransition", VpcPeeringConnectionId=second)
    do("ModifyVpcPeeringConnectionOptions", VpcPeeringConnectionId=second, RequesterPeeringConnectionOptions={"AllowDnsResolutionFromRemoteVpc": True})
    api.listed("DescribeVpcPeeringConnections", "VpcPeeringConnections", ("VpcPeeringConnectionIds", second), [
        ("vpc-peering-connection-id", second), ("status-code", "active"), ("requester-vpc-info.vpc-id", vpc), ("accepter-vpc-info.vpc-id", peer),
        ("accepter-vpc-info.cidr-block", "10.1.0.0/16"), ("requester-vpc-info.owner-id", "000000000000"), ("tag:made-by", "CreateVpcPeeringConnection")], "VpcPeeringConnectionId")
    refused("DeleteVpc", "DependencyViolation", VpcId=peer)
    do("DeleteVpcPeeringConnection", VpcPeeringConnectionId=second)
    # AWS makes the connection and lets it fail.
    failed = api.call("CreateVpcPeeringConnection", VpcId=vpc, PeerVpcId=overlap)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    wait("the peering of overlapping VPCs fails", lambda: api.call("DescribeVpcPeeringConnections", VpcPeeringConnectionIds=[failed])["VpcPeeringConnections"][0]["Status"]["Code"] == "failed")
    do("DeleteVpc", VpcId=overlap)


def services(api, logs, vpc, subnet, group, table, eni, gateway):
    """Endpoints, flow logs, the Reachability Analyzer."""
    do, refused = api.do, api.refused
    s3 = do("CreateVpcEndpoint", tag="vpc-endpoint", differ={"ServiceName": "com.amazonaws.us-east-1.dynamodb"}, VpcId=vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table])["VpcEndpoint"]["VpcEndpointId"]
    refused("CreateVpcEndpoint", "InvalidServiceName", VpcId=vpc, ServiceName="com.amazonaws.us-east-1.nothing")
    refused("CreateVpcEndpoint", "RouteAlreadyExists", VpcId=vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table])
    ecr = do("CreateVpcEndpoint", VpcId=vpc, ServiceName="com.amazonaws.us-east-1.ecr.api", VpcEndpointType="Interface", SubnetIds=[subnet], SecurityGroupIds=[group])["VpcEndpoint"]["VpcEndpointId"]
    wait("the endpoint is available", lambda: api.call("DescribeVpcEndpoints", VpcEndpointIds=[ecr])["VpcEndpoints"][0]["State"] == "available")
    do("ModifyVpcEndpoint", VpcEndpointId=s3, RemoveRouteTableIds=[table])
    do("ModifyVpcEndpoint", VpcEndpointId=s3, AddRouteTableIds=[table])
    refused("ModifyVpcEndpoint", "InvalidParameter|InvalidParameterValue|InvalidParameterCombination", VpcEndpointId=s3, AddSubnetIds=[subnet])
    api.listed("DescribeVpcEndpoints", "VpcEndpoints", ("VpcEndpointIds", ecr), [
        ("vpc-endpoint-id", ecr), ("vpc-id", vpc), ("service-name", "com.amazonaws.us-east-1.ecr.api"), ("vpc-endpoint-state", "available"), ("vpc-endpoint-type", "Interface")], "VpcEndpointId")
    api.listed("DescribeVpcEndpointServices", "ServiceDetails", filters=[("service-name", "com.amazonaws.us-east-1.s3"), ("service-type", "Gateway")], member="ServiceName")
    refused("DescribeVpcEndpointServices", "InvalidServiceName", ServiceNames=["com.amazonaws.us-east-1.nothing"])
    lists = api.listed("DescribePrefixLists", "PrefixLists", filters=[("prefix-list-name", "com.amazonaws.us-east-1.s3")], member="PrefixListName")
    refused("DescribePrefixLists", "InvalidPrefixListId.NotFound|InvalidPrefixListID.NotFound", PrefixListIds=[f"pl-{NOBODY}"])
    refused("DeleteRoute", "InvalidParameterValue", RouteTableId=table, DestinationPrefixListId=next(l["PrefixListId"] for l in lists if l["PrefixListName"].endswith(".s3")))
    refused("DeleteVpcEndpoints", "DryRunOperation", 412, VpcEndpointIds=[s3], DryRun=True)
    answer = api.call("DeleteVpcEndpoints", VpcEndpointIds=[s3, ecr, f"vpce-{NOBODY}"])["Unsuccessful"]
    api.good.add("DeleteVpcEndpoints")
    api.same("endpoints that were not deleted", [(u["ResourceId"], u["Error"]["Code"]) for u in answer], [(f"vpce-{NOBODY}", "InvalidVpcEndpoint.NotFound")])
    wait("the endpoints are gone", lambda: not api.call("DescribeVpcEndpoints")["VpcEndpoints"])

    logs.create_log_group(logGroupName="/flow")
    about = {"TrafficType": "ALL", "LogGroupName": "/flow", "DeliverLogsPermissionArn": "arn:aws:iam::000000000000:role/flow"}
    refused("CreateFlowLogs", "DryRunOperation", 412, **about, ResourceIds=[vpc], ResourceType="VPC", DryRun=True)
    log = do("CreateFlowLogs", tag="vpc-flow-log", differ={"TrafficType": "REJECT"}, **about, ResourceIds=[eni], ResourceType="NetworkInterface")["FlowLogIds"][0]
    refused("CreateFlowLogs", "FlowLogAlreadyExists", **about, ResourceIds=[eni], ResourceType="NetworkInterface")
    refused("CreateFlowLogs", "InvalidParameter", **about, ResourceIds=[vpc], ResourceType="VPC", MaxAggregationInterval=61)
    api.listed("DescribeFlowLogs", "FlowLogs", ("FlowLogIds", log), [
        ("flow-log-id", log), ("resource-id", eni), ("log-group-name", "/flow"), ("traffic-type", "ALL"), ("tag:made-by", "CreateFlowLogs")], "FlowLogId", "Filter")
    do("DeleteFlowLogs", FlowLogIds=[log])

    path = do("CreateNetworkInsightsPath", tag="network-insights-path", differ={"Protocol": "udp"}, Source=eni, Destination=gateway, Protocol="tcp")["NetworkInsightsPath"]["NetworkInsightsPathId"]
    refused("CreateNetworkInsightsPath", "InvalidParameterValue|InvalidParameter", Source="nonsense", Destination=gateway, Protocol="tcp", ClientToken="x")
    analysis = do("StartNetworkInsightsAnalysis", tag="network-insights-analysis", NetworkInsightsPathId=path)["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]
    wait("the analysis ends", lambda: api.call("DescribeNetworkInsightsAnalyses", NetworkInsightsAnalysisIds=[analysis])["NetworkInsightsAnalyses"][0]["Status"] == "succeeded")
    api.listed("DescribeNetworkInsightsPaths", "NetworkInsightsPaths", ("NetworkInsightsPathIds", path), [("source", eni), ("destination", gateway), ("protocol", "tcp")], "NetworkInsightsPathId")
    api.listed("DescribeNetworkInsightsAnalyses", "NetworkInsightsAnalyses", ("NetworkInsightsAnalysisIds", analysis), [("status", "succeeded")], "NetworkInsightsAnalysisId")
    refused("DeleteNetworkInsightsPath", "AnalysisExistsForNetworkInsightsPath", NetworkInsightsPathId=path)
    do("DeleteNetworkInsightsAnalysis", NetworkInsightsAnalysisId=analysis)
    do("DeleteNetworkInsightsPath", NetworkInsightsPathId=path)


def account(api, vpc):
    do, refused = api.do, api.refused
    refused("CreateDefaultVpc", "DefaultVpcAlreadyExists")
    refused("CreateDefaultSubnet", "DefaultSubnetAlreadyExistsInAvailabilityZone", AvailabilityZone="us-east-1a")
    refused("CreateDefaultSubnet", "InvalidParameterValue", AvailabilityZone="us-east-1z")
    default = api.call("DescribeSubnets", Filters=[{"Name": "default-for-az", "Values": ["true"]}, {"Name": "availability-zone", "Values": ["us-east-1b"]}])["Subnets"][0]
    do("DeleteSubnet", SubnetId=default["SubnetId"])
    api.same("block of the default subnet", do("CreateDefaultSubnet", AvailabilityZone="us-east-1b")["Subnet"]["CidrBlock"], default["CidrBlock"])
    for subnet in api.call("DescribeSubnets", Filters=[{"Name": "vpc-id", "Values": [default["VpcId"]]}])["Subnets"]:
        api.call("DeleteSubnet", SubnetId=subnet["SubnetId"])
    for gateway in api.call("DescribeInternetGateways", Filters=[{"Name": "attachment.vpc-id", "Values": [default["VpcId"]]}])["InternetGateways"]:
        do("DetachInternetGateway", InternetGatewayId=gateway["InternetGatewayId"], VpcId=default["VpcId"])
        do("DeleteInternetGateway", InternetGatewayId=gateway["InternetGatewayId"])
    do("DeleteVpc", VpcId=default["VpcId"])
    api.same("block of the default VPC", do("CreateDefaultVpc")["Vpc"]["CidrBlock"], "172.31.0.0/16")
    api.listed("DescribeAvailabilityZones", "AvailabilityZones", filters=[("zone-name", "us-east-1a"), ("zone-id", "use1-az1"), ("state", "available"), ("region-name", "us-east-1")], member="ZoneName")
    refused("DescribeAvailabilityZones", "InvalidParameterValue", ZoneNames=["us-east-1z"])
    api.listed("DescribeRegions", "Regions", filters=[("region-name", "us-east-1")], member="RegionName")
    refused("DescribeRegions", "InvalidParameterValue", RegionNames=["nowhere-1"])
    do("DescribeAccountAttributes", AttributeNames=["default-vpc"])
    do("CreateTags", Resources=[vpc], Tags=[{"Key": "colour", "Value": "red"}])
    refused("CreateTags", "InvalidParameterValue|InvalidTagKey.Malformed", Resources=[vpc], Tags=[{"Key": "aws:x", "Value": "y"}])
    refused("CreateTags", "InvalidID|InvalidVpcID.NotFound", Resources=[vpc, f"vpc-{NOBODY}"], Tags=[{"Key": "size", "Value": "big"}])
    api.listed("DescribeTags", "Tags", filters=[("key", "colour"), ("value", "red"), ("resource-id", vpc), ("resource-type", "vpc")])
    refused("DeleteTags", "DryRunOperation", 412, Resources=[vpc], Tags=[{"Key": "colour"}], DryRun=True)
    api.call("DeleteTags", Resources=[vpc], Tags=[{"Key": "colour"}])
    api.good.add("DeleteTags")


def scenario(host):
    with host.region("--speed", "100", "--quota", "vpcs=10") as region:
        ec2, logs = region.clients("ec2", "logs")
        api = Api(ec2)
        vpc, peer, subnet, second, association = networks(api)
        group = groups(api, vpc, peer)
        eni = interfaces(api, vpc, subnet, second, group)
        gateway, table = routes(api, vpc, peer, subnet, second)
        peerings(api, vpc, peer)
        services(api, logs, vpc, subnet, group, table, eni, gateway)
        account(api, vpc)
        # What is left goes in the order that AWS asks for.
        api.refused("DeleteSubnet", "DependencyViolation", SubnetId=subnet)
        api.refused("DeleteVpc", "DependencyViolation", VpcId=vpc)
        for each in api.call("DescribeNetworkInterfaces", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkInterfaces"]:
            api.do("DeleteNetworkInterface", NetworkInterfaceId=each["NetworkInterfaceId"])
        api.do("DisassociateSubnetCidrBlock", AssociationId=association)
        for operation, name, ids in (("DeleteSubnet", "SubnetId", [subnet, second]), ("DeleteRouteTable", "RouteTableId", [table]), ("DeleteSecurityGroup", "GroupId", [group])):
            for each in ids:
                api.do(operation, **{name: each})
        api.do("DetachInternetGateway", InternetGatewayId=gateway, VpcId=vpc)
        for each in vpc, peer:
            api.do("DeleteVpc", VpcId=each)
        served = {o for line in open(ROOT / "models/operations.txt") if line.startswith("ec2:") for o in line.split()[1:]}
        equal("operations that were not called well", served - api.good - {"AttachNetworkInterface", "DetachNetworkInterface"}, set())
        equal("operations that were not called badly", served - api.bad, set())
        print(f"{len(api.good)} operations called well, {len(api.bad)} badly")
        equal("answers that are wrong", len(api.wrong), 0)
