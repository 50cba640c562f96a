//! Networks, routes, gateways, addresses, interfaces, tags.

use super::*;

#[test]
fn a_vpc_is_shown_whole() {
    let region = Region::start();
    let tags = "TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=api";
    let vpc = element(
        &region.ok("CreateVpc", &format!("CidrBlock=10.0.0.1/16&{tags}")),
        "vpcId",
    );
    let shown = region.ok("DescribeVpcs", &format!("VpcId.1={vpc}"));
    assert_eq!(
        elements(&shown, "cidrBlock"),
        ["10.0.0.0/16", "10.0.0.0/16"],
        "of the VPC and of its association"
    );
    assert_eq!(elements(&shown, "state"), ["associated", "available"]);
    for (name, value) in [
        ("ownerId", "000000000000"),
        ("isDefault", "false"),
        ("instanceTenancy", "default"),
    ] {
        assert_eq!(element(&shown, name), value);
    }
    assert!(element(&shown, "dhcpOptionsId").starts_with("dopt-"));
    assert!(element(&shown, "associationId").starts_with("vpc-cidr-assoc-"));
    assert_eq!(
        element(&shown, "tagSet"),
        "<item><key>Name</key><value>api</value></item>"
    );
    for filter in ["tag:Name", "tag-value"] {
        let found = region.ok(
            "DescribeVpcs",
            &format!("Filter.1.Name={filter}&Filter.1.Value.1=a*i"),
        );
        assert_eq!(element(&found, "vpcId"), vpc);
    }
    let none = region.ok(
        "DescribeVpcs",
        "Filter.1.Name=cidr&Filter.1.Value.1=10.1.0.0/16",
    );
    assert!(elements(&none, "vpcId").is_empty());
    region.ok("DeleteVpc", &format!("VpcId={vpc}"));
    assert_eq!(
        region.code("DescribeVpcs", &format!("VpcId.1={vpc}")),
        "InvalidVpcID.NotFound"
    );
}

#[test]
fn attributes_of_a_vpc_read_back() {
    let region = Region::start();
    let vpc = region.vpc();
    let read = |name: &str| {
        element(
            &region.ok(
                "DescribeVpcAttribute",
                &format!("VpcId={vpc}&Attribute={name}"),
            ),
            "value",
        )
    };
    assert_eq!(
        (
            read("enableDnsSupport").as_str(),
            read("enableDnsHostnames").as_str()
        ),
        ("true", "false")
    );
    region.ok(
        "ModifyVpcAttribute",
        &format!("VpcId={vpc}&EnableDnsHostnames.Value=true"),
    );
    assert_eq!(read("enableDnsHostnames"), "true");
    assert_eq!(read("enableNetworkAddressUsageMetrics"), "false");
    let both = format!("VpcId={vpc}&EnableDnsHostnames.Value=true&EnableDnsSupport.Value=true");
    assert_eq!(
        region.code("ModifyVpcAttribute", &both),
        "InvalidParameterCombination"
    );
}

#[test]
fn a_dry_run_says_it_would_and_does_nothing() {
    let region = Region::start();
    let (status, body) = region.send("CreateVpc", "CidrBlock=10.0.0.0/16&DryRun=true");
    assert_eq!(
        (status, element(&body, "Code").as_str()),
        (412, "DryRunOperation")
    );
    assert!(region.engine.snapshot().vpcs.is_empty());
    assert_eq!(
        region.code("CreateVpc", "CidrBlock=10.0.0.0/8&DryRun=true"),
        "InvalidVpc.Range"
    );
    assert_eq!(
        region.code("DescribeVpcs", "DryRun=true"),
        "DryRunOperation"
    );
}

#[test]
fn malformed_calls_are_refused() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = |rest: &str| format!("VpcId={vpc}&{rest}");
    for (action, parameters, code) in [
        ("CreateVpc", "".to_owned(), "MissingParameter"),
        (
            "CreateVpc",
            "CidrBlock=300.0.0.0/8".to_owned(),
            "InvalidParameterValue",
        ),
        (
            "CreateVpc",
            "CidrBlock=10.0.0.0/16&Ipv6Pool=ipv6pool-ec2-1".to_owned(),
            "InvalidParameterValue",
        ),
        (
            "CreateSubnet",
            subnet("CidrBlock=10.0.0.0"),
            "InvalidParameterValue",
        ),
        (
            "CreateSubnet",
            subnet("CidrBlock=10.0.0.0/24&AvailabilityZone=us-west-2a"),
            "InvalidParameterValue",
        ),
        (
            "CreateSubnet",
            subnet("CidrBlock=10.0.0.0/24&Ipv6CidrBlock=2001:db8::/64"),
            "InvalidSubnet.Range",
        ),
        (
            "CreateSubnet",
            "VpcId=vpc-12345678&CidrBlock=10.0.0.0/24".to_owned(),
            "InvalidVpcID.NotFound",
        ),
        (
            "CreateSubnet",
            "VpcId=x&CidrBlock=10.0.0.0/24".to_owned(),
            "InvalidVpcID.Malformed",
        ),
        (
            "DescribeVpcs",
            "Filter.1.Name=nope&Filter.1.Value.1=x".to_owned(),
            "InvalidParameterValue",
        ),
        (
            "DescribeVpcs",
            "MaxResults=4".to_owned(),
            "InvalidParameterValue",
        ),
        ("DescribeVpcs", "NextToken=x".to_owned(), "InvalidNextToken"),
        (
            "DescribeVpcs",
            format!("VpcId.1={vpc}&MaxResults=5"),
            "InvalidParameterCombination",
        ),
        (
            "DescribeSubnets",
            "SubnetId.1=subnet-12345678".to_owned(),
            "InvalidSubnetID.NotFound",
        ),
        (
            "DescribeSecurityGroups",
            "GroupId.1=web".to_owned(),
            "InvalidGroupId.Malformed",
        ),
        (
            "CreateSecurityGroup",
            "GroupName=a&GroupDescription=a".to_owned(),
            "VPCIdNotSpecified",
        ),
        (
            "CreateTags",
            format!("ResourceId.1={vpc}&Tag.1.Key=aws:x&Tag.1.Value=1"),
            "InvalidParameterValue",
        ),
        (
            "AllocateAddress",
            "Domain=standard".to_owned(),
            "InvalidParameterValue",
        ),
        (
            "CreateNatGateway",
            "SubnetId=subnet-12345678".to_owned(),
            "MissingParameter",
        ),
    ] {
        assert_eq!(
            region.code(action, &parameters),
            code,
            "{action} {parameters}"
        );
    }
    let wrong = "TagSpecification.1.ResourceType=subnet&TagSpecification.1.Tag.1.Key=a";
    assert_eq!(
        region.code("CreateVpc", &format!("CidrBlock=10.1.0.0/16&{wrong}")),
        "InvalidParameter"
    );
    assert_eq!(region.engine.snapshot().vpcs.len(), 1);
}

#[test]
fn a_subnet_is_shown_whole() {
    let region = Region::start();
    let vpc = region.vpc();
    let made = region.ok(
        "CreateSubnet",
        &format!("VpcId={vpc}&CidrBlock=10.0.1.0/24&AvailabilityZoneId=use1-az2"),
    );
    let id = element(&made, "subnetId");
    for (name, value) in [
        ("availabilityZone", "us-east-1b".to_owned()),
        ("availabilityZoneId", "use1-az2".to_owned()),
        ("availableIpAddressCount", "251".to_owned()),
        (
            "subnetArn",
            format!("arn:aws:ec2:us-east-1:000000000000:subnet/{id}"),
        ),
        ("hostnameType", "ip-name".to_owned()),
        ("mapPublicIpOnLaunch", "false".to_owned()),
    ] {
        assert_eq!(element(&made, name), value);
    }
    region.ok(
        "ModifySubnetAttribute",
        &format!("SubnetId={id}&MapPublicIpOnLaunch.Value=true"),
    );
    region.ok(
        "ModifySubnetAttribute",
        &format!("SubnetId={id}&AssignIpv6AddressOnCreation.Value=false"),
    );
    let found = region.ok(
        "DescribeSubnets",
        "Filter.1.Name=map-public-ip-on-launch&Filter.1.Value.1=true&Filter.2.Name=availability-zone-id&Filter.2.Value.1=use1-az2",
    );
    assert_eq!(element(&found, "subnetId"), id);
    assert_eq!(
        region.code("ModifySubnetAttribute", &format!("SubnetId={id}")),
        "InvalidParameterCombination"
    );
}

#[test]
fn pages_give_every_subnet_once() {
    let region = Region::start();
    let vpc = region.vpc();
    for n in 0..12 {
        region.subnet(&vpc, &format!("10.0.{n}.0/24"));
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = region.ok("DescribeSubnets", &format!("MaxResults=5{token}"));
        seen.extend(elements(&page, "subnetId"));
        token = elements(&page, "nextToken")
            .first()
            .map_or(String::new(), |t| format!("&NextToken={t}"));
    }
    assert!(token.is_empty());
    seen.dedup();
    assert_eq!(seen.len(), 12);
}

#[test]
fn routes_and_associations_are_shown() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let gateway = region.gateway(&vpc);
    let made = region.ok("CreateRouteTable", &format!("VpcId={vpc}"));
    assert_eq!(element(&made, "gatewayId"), "local");
    let table = element(&made, "routeTableId");
    let route = format!("RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0");
    region.ok("CreateRoute", &format!("{route}&GatewayId={gateway}"));
    assert_eq!(
        region.code("CreateRoute", &format!("{route}&GatewayId={gateway}")),
        "RouteAlreadyExists"
    );
    assert_eq!(region.code("CreateRoute", &route), "MissingParameter");
    let association = element(
        &region.ok(
            "AssociateRouteTable",
            &format!("RouteTableId={table}&SubnetId={subnet}"),
        ),
        "associationId",
    );
    let by = |filter: &str, value: &str| {
        region.ok(
            "DescribeRouteTables",
            &format!("Filter.1.Name={filter}&Filter.1.Value.1={value}"),
        )
    };
    let shown = by("association.route-table-association-id", &association);
    assert_eq!(element(&shown, "routeTableId"), table);
    assert_eq!(
        elements(&shown, "origin"),
        ["CreateRouteTable", "CreateRoute"]
    );
    assert_eq!(element(&shown, "main"), "false");
    assert_eq!(elements(&by("association.main", "true"), "main"), ["true"]);
    assert_eq!(
        elements(&by("association.subnet-id", &subnet), "subnetId"),
        [subnet.as_str()]
    );
    region.ok(
        "DetachInternetGateway",
        &format!("InternetGatewayId={gateway}&VpcId={vpc}"),
    );
    assert_eq!(
        elements(&by("route.state", "blackhole"), "gatewayId"),
        ["local", &gateway]
    );
    let ipv6 = format!("RouteTableId={table}&DestinationIpv6CidrBlock=::/0");
    assert_eq!(
        region.code("CreateRoute", &format!("{ipv6}&GatewayId={gateway}")),
        "InvalidParameterValue"
    );
    assert_eq!(region.code("DeleteRoute", &ipv6), "InvalidRoute.NotFound");
    region.ok("DeleteRoute", &route);
    region.ok(
        "DisassociateRouteTable",
        &format!("AssociationId={association}"),
    );
    region.ok("DeleteRouteTable", &format!("RouteTableId={table}"));
    assert_eq!(
        region.code("DescribeRouteTables", &format!("RouteTableId.1={table}")),
        "InvalidRouteTableID.NotFound"
    );
}

#[test]
fn an_attached_gateway_is_available() {
    let region = Region::start();
    let vpc = region.vpc();
    let gateway = region.gateway(&vpc);
    let shown = region.ok(
        "DescribeInternetGateways",
        &format!("Filter.1.Name=attachment.vpc-id&Filter.1.Value.1={vpc}"),
    );
    assert_eq!(
        (
            element(&shown, "internetGatewayId"),
            element(&shown, "state")
        ),
        (gateway, "available".to_owned())
    );
}

#[test]
fn a_nat_gateway_holds_an_interface_of_its_own_kind() {
    let region = Region::start();
    let vpc = region.vpc();
    region.gateway(&vpc);
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let allocation = element(&region.ok("AllocateAddress", "Domain=vpc"), "allocationId");
    let made = region.ok(
        "CreateNatGateway",
        &format!("SubnetId={subnet}&AllocationId={allocation}&ClientToken=t"),
    );
    assert_eq!(element(&made, "state"), "pending");
    let nat = element(&made, "natGatewayId");
    let shown = region.ok(
        "DescribeNetworkInterfaces",
        "Filter.1.Name=interface-type&Filter.1.Value.1=nat_gateway",
    );
    assert_eq!(
        element(&shown, "description"),
        format!("Interface for NAT Gateway {nat}")
    );
    assert_eq!(
        (
            element(&shown, "requesterManaged").as_str(),
            element(&shown, "status").as_str()
        ),
        ("true", "attached")
    );
    let interface = element(&shown, "networkInterfaceId");
    let parameters = format!("NetworkInterfaceId={interface}");
    assert_eq!(
        region.code("DeleteNetworkInterface", &parameters),
        "InvalidParameterValue"
    );
    assert_eq!(
        region.code("ReleaseAddress", &format!("AllocationId={allocation}")),
        "InvalidIPAddress.InUse"
    );
    assert_eq!(
        region.code("DeleteVpc", &format!("VpcId={vpc}")),
        "DependencyViolation"
    );
    region.ok("DeleteNatGateway", &format!("NatGatewayId={nat}"));
    assert!(
        elements(
            &region.ok("DescribeNetworkInterfaces", ""),
            "networkInterfaceId"
        )
        .is_empty()
    );
    region.ok("ReleaseAddress", &format!("AllocationId={allocation}"));
    let state = region.ok("DescribeNatGateways", &format!("NatGatewayId.1={nat}"));
    assert_eq!(element(&state, "state"), "deleting");
    assert_eq!(
        region.code("DescribeNatGateways", "NatGatewayId.1=nat-12345678"),
        "NatGatewayNotFound"
    );
}

#[test]
fn addresses_go_to_interfaces_and_back() {
    let region = Region::start();
    let vpc = region.vpc();
    region.ok(
        "ModifyVpcAttribute",
        &format!("VpcId={vpc}&EnableDnsHostnames.Value=true"),
    );
    region.gateway(&vpc);
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let made = region.ok(
        "CreateNetworkInterface",
        &format!("SubnetId={subnet}&PrivateIpAddress=10.0.0.10&ClientToken=t"),
    );
    assert_eq!(
        element(&made, "privateDnsName"),
        "ip-10-0-0-10.ec2.internal"
    );
    let eni = element(&made, "networkInterfaceId");
    let again = region.ok(
        "CreateNetworkInterface",
        &format!("SubnetId={subnet}&PrivateIpAddress=10.0.0.10&ClientToken=t"),
    );
    assert_eq!(element(&again, "networkInterfaceId"), eni);
    let allocated = region.ok("AllocateAddress", "");
    let (allocation, public_ip) = (
        element(&allocated, "allocationId"),
        element(&allocated, "publicIp"),
    );
    assert_eq!(
        region.code("AssociateAddress", &format!("NetworkInterfaceId={eni}")),
        "MissingParameter"
    );
    let associated = region.ok(
        "AssociateAddress",
        &format!("AllocationId={allocation}&NetworkInterfaceId={eni}"),
    );
    let association = element(&associated, "associationId");
    let shown = region.ok(
        "DescribeNetworkInterfaces",
        &format!("Filter.1.Name=association.public-ip&Filter.1.Value.1={public_ip}"),
    );
    assert_eq!(element(&shown, "networkInterfaceId"), eni);
    let dashed = public_ip.replace('.', "-");
    assert_eq!(
        element(&shown, "publicDnsName"),
        format!("ec2-{dashed}.compute-1.amazonaws.com")
    );
    assert_eq!(
        element(
            &region.ok("DescribeAddresses", &format!("PublicIp.1={public_ip}")),
            "associationId"
        ),
        association
    );
    assert_eq!(
        region.code("DescribeAddresses", "PublicIp.1=1.2.3.4"),
        "InvalidAddress.NotFound"
    );
    region.ok(
        "DescribeAddressesAttribute",
        &format!("AllocationId.1={allocation}&Attribute=domain-name"),
    );
    region.ok(
        "DisassociateAddress",
        &format!("AssociationId={association}"),
    );
    assert_eq!(
        region.code(
            "DisassociateAddress",
            &format!("AssociationId={association}")
        ),
        "InvalidAssociationID.NotFound"
    );
    region.ok("ReleaseAddress", &format!("AllocationId={allocation}"));
    region.ok(
        "DeleteNetworkInterface",
        &format!("NetworkInterfaceId={eni}"),
    );
}

/// What Terraform does with every new group: both default egress rules go, and the second was never there.
#[test]
fn tags_come_go_and_are_found() {
    let region = Region::start();
    let vpc = region.vpc();
    region.ok(
        "CreateTags",
        &format!("ResourceId.1={vpc}&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value="),
    );
    let found = region.ok(
        "DescribeTags",
        &format!(
            "Filter.1.Name=resource-id&Filter.1.Value.1={vpc}&Filter.2.Name=key&Filter.2.Value.1=a"
        ),
    );
    assert_eq!(
        (element(&found, "resourceType"), element(&found, "value")),
        ("vpc".to_owned(), "1".to_owned())
    );
    region.ok(
        "DeleteTags",
        &format!("ResourceId.1={vpc}&Tag.1.Key=a&Tag.1.Value=2&Tag.2.Key=b"),
    );
    assert_eq!(elements(&region.ok("DescribeTags", ""), "key"), ["a"]);
    region.ok("DeleteTags", &format!("ResourceId.1={vpc}"));
    assert!(elements(&region.ok("DescribeTags", ""), "key").is_empty());
    assert_eq!(
        region.code("CreateTags", "Tag.1.Key=a&Tag.1.Value=1"),
        "MissingParameter"
    );
}

#[test]
fn zones_regions_and_limits_are_there_before_anything_else() {
    let region = Region::start();
    let zones = region.ok("DescribeAvailabilityZones", "");
    assert_eq!(elements(&zones, "zoneName").len(), 6);
    assert_eq!(elements(&zones, "zoneState")[0], "available");
    let one = region.ok(
        "DescribeAvailabilityZones",
        "Filter.1.Name=zone-id&Filter.1.Value.1=use1-az3",
    );
    assert_eq!(elements(&one, "zoneName"), ["us-east-1c"]);
    assert_eq!(
        region.code("DescribeAvailabilityZones", "ZoneName.1=us-west-2a"),
        "InvalidParameterValue"
    );
    let found = region.ok("DescribeRegions", "RegionName.1=eu-west-1");
    assert_eq!(
        element(&found, "regionEndpoint"),
        "ec2.eu-west-1.amazonaws.com"
    );
    let limits = region.ok("DescribeAccountAttributes", "AttributeName.1=default-vpc");
    assert_eq!(element(&limits, "attributeValue"), "none");
}

#[test]
fn dhcp_options_are_replaced_not_changed() {
    let region = Region::start();
    let vpc = region.vpc();
    let own = "DhcpConfiguration.1.Key=domain-name&DhcpConfiguration.1.Value.1=example.test";
    let set = element(&region.ok("CreateDhcpOptions", own), "dhcpOptionsId");
    region.ok(
        "AssociateDhcpOptions",
        &format!("VpcId={vpc}&DhcpOptionsId={set}"),
    );
    let using = format!("Filter.1.Name=dhcp-options-id&Filter.1.Value.1={set}");
    assert_eq!(element(&region.ok("DescribeVpcs", &using), "vpcId"), vpc);
    assert_eq!(
        region.code("DeleteDhcpOptions", &format!("DhcpOptionsId={set}")),
        "DependencyViolation"
    );
    region.ok(
        "AssociateDhcpOptions",
        &format!("VpcId={vpc}&DhcpOptionsId=default"),
    );
    region.ok("DeleteDhcpOptions", &format!("DhcpOptionsId={set}"));
    assert_eq!(
        region.code("DescribeDhcpOptions", &format!("DhcpOptionsId.1={set}")),
        "InvalidDhcpOptionID.NotFound"
    );
}
