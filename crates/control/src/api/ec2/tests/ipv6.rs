//! Both families on the wire: blocks of VPCs and subnets, gateways, interfaces; and the default VPC.

use super::*;
use fogbank_wire::Service;

/// A VPC with IPv6, its block, and the association's id.
fn dual_stack(region: &Region) -> (String, String, String) {
    let made = region.ok(
        "CreateVpc",
        "CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true",
    );
    let set = element(&made, "ipv6CidrBlockAssociationSet");
    (
        element(&made, "vpcId"),
        element(&set, "ipv6CidrBlock"),
        element(&set, "associationId"),
    )
}

/// The `n`th /64 of a /56 like `2001:db8:1812:3100::/56`.
fn part(block: &str, n: u8) -> String {
    let block: fogbank_types::Ipv6Cidr = block.parse().unwrap();
    block.subnet(64, n.into()).unwrap().to_string()
}

#[test]
fn a_vpc_gains_and_loses_blocks_of_both_families() {
    let region = Region::start();
    let vpc = region.vpc();
    let associate = |rest: &str| region.ok("AssociateVpcCidrBlock", &format!("VpcId={vpc}&{rest}"));
    let v4 = associate("CidrBlock=10.1.0.0/16");
    assert_eq!(element(&v4, "state"), "associating");
    let v6 = associate("AmazonProvidedIpv6CidrBlock=true");
    assert_eq!(element(&v6, "ipv6Pool"), "Amazon");
    let v6_id = element(&v6, "associationId");
    let filter = |name: &str, value: &str| {
        let shown = region.ok(
            "DescribeVpcs",
            &format!("Filter.1.Name={name}&Filter.1.Value.1={value}"),
        );
        elements(&shown, "vpcId").len()
    };
    assert_eq!(
        filter("ipv6-cidr-block-association.association-id", &v6_id),
        1
    );
    assert_eq!(filter("ipv6-cidr-block-association.state", "assoc*"), 1);
    assert_eq!(
        filter("cidr-block-association.cidr-block", "10.1.0.0/16"),
        1
    );
    for id in [element(&v4, "associationId"), v6_id.clone()] {
        let gone = region.ok("DisassociateVpcCidrBlock", &format!("AssociationId={id}"));
        assert_eq!(element(&gone, "state"), "disassociating");
    }
    assert_eq!(
        filter("ipv6-cidr-block-association.association-id", &v6_id),
        0
    );
    for (parameters, code) in [
        (format!("VpcId={vpc}"), "MissingParameter"),
        (
            format!("VpcId={vpc}&CidrBlock=10.2.0.0/16&AmazonProvidedIpv6CidrBlock=true"),
            "InvalidParameterCombination",
        ),
        (
            "VpcId=vpc-12345678&CidrBlock=10.2.0.0/16".to_owned(),
            "InvalidVpcID.NotFound",
        ),
    ] {
        assert_eq!(region.code("AssociateVpcCidrBlock", &parameters), code);
    }
    assert_eq!(
        region.code(
            "DisassociateVpcCidrBlock",
            &format!("AssociationId={v6_id}")
        ),
        "InvalidVpcCidrBlockAssociationID.NotFound"
    );
}

#[test]
fn a_subnet_gives_its_interfaces_ipv6() {
    let region = Region::start();
    let (vpc, block, _) = dual_stack(&region);
    let own = part(&block, 5);
    let made = region.ok(
        "CreateSubnet",
        &format!("VpcId={vpc}&CidrBlock=10.0.0.0/24&Ipv6CidrBlock={own}"),
    );
    let subnet = element(&made, "subnetId");
    assert_eq!(element(&made, "ipv6CidrBlock"), own);
    region.ok(
        "ModifySubnetAttribute",
        &format!("SubnetId={subnet}&AssignIpv6AddressOnCreation.Value=true"),
    );
    let shown = region.ok("DescribeSubnets", &format!("SubnetId.1={subnet}"));
    assert_eq!(element(&shown, "assignIpv6AddressOnCreation"), "true");
    let interface = region.ok("CreateNetworkInterface", &format!("SubnetId={subnet}"));
    let eni = element(&interface, "networkInterfaceId");
    let first = element(&element(&interface, "ipv6AddressesSet"), "ipv6Address");
    let given = region.ok(
        "AssignIpv6Addresses",
        &format!("NetworkInterfaceId={eni}&Ipv6AddressCount=2"),
    );
    assert_eq!(elements(&given, "item").len(), 2);
    let found = region.ok(
        "DescribeNetworkInterfaces",
        &format!("Filter.1.Name=ipv6-addresses.ipv6-address&Filter.1.Value.1={first}"),
    );
    assert_eq!(element(&found, "networkInterfaceId"), eni);
    let association = element(
        &element(&shown, "ipv6CidrBlockAssociationSet"),
        "associationId",
    );
    assert_eq!(
        region.code(
            "DisassociateSubnetCidrBlock",
            &format!("AssociationId={association}")
        ),
        "InvalidCidrBlock.InUse"
    );
    region.ok(
        "UnassignIpv6Addresses",
        &format!("NetworkInterfaceId={eni}&Ipv6Addresses.1={first}"),
    );
    region.ok(
        "DeleteNetworkInterface",
        &format!("NetworkInterfaceId={eni}"),
    );
    let gone = region.ok(
        "DisassociateSubnetCidrBlock",
        &format!("AssociationId={association}"),
    );
    assert_eq!(element(&gone, "state"), "disassociating");
    let again = region.ok(
        "AssociateSubnetCidrBlock",
        &format!("SubnetId={subnet}&Ipv6CidrBlock={own}"),
    );
    assert_eq!(element(&again, "state"), "associating");
}

#[test]
fn an_egress_only_gateway_lives_and_dies() {
    let region = Region::start();
    let (vpc, ..) = dual_stack(&region);
    let tags = "TagSpecification.1.ResourceType=egress-only-internet-gateway&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b";
    let made = region.ok(
        "CreateEgressOnlyInternetGateway",
        &format!("VpcId={vpc}&ClientToken=t&{tags}"),
    );
    let id = element(&made, "egressOnlyInternetGatewayId");
    assert_eq!(element(&made, "state"), "attached");
    let found = region.ok(
        "DescribeEgressOnlyInternetGateways",
        "Filter.1.Name=tag:a&Filter.1.Value.1=b",
    );
    assert_eq!(element(&found, "egressOnlyInternetGatewayId"), id);
    assert_eq!(
        region.code("DeleteVpc", &format!("VpcId={vpc}")),
        "DependencyViolation"
    );
    let parameters = format!("EgressOnlyInternetGatewayId={id}");
    region.ok("DeleteEgressOnlyInternetGateway", &parameters);
    assert_eq!(
        region.code("DeleteEgressOnlyInternetGateway", &parameters),
        "InvalidGatewayID.NotFound"
    );
    region.ok("DeleteVpc", &format!("VpcId={vpc}"));
}

#[test]
fn the_first_call_finds_a_default_vpc() {
    let region = Region::start();
    let context = region.context();
    assert!(!context.is_settled(Service::Ec2) && context.is_settled(Service::Iam));
    context.settle().unwrap();
    context.settle().unwrap();
    assert!(context.is_settled(Service::Ecs));
    let shown = region.ok(
        "DescribeVpcs",
        "Filter.1.Name=is-default&Filter.1.Value.1=true",
    );
    let vpc = element(&shown, "vpcId");
    assert_eq!(elements(&shown, "vpcId").len(), 1);
    let subnets = region.ok(
        "DescribeSubnets",
        "Filter.1.Name=default-for-az&Filter.1.Value.1=true",
    );
    assert_eq!(elements(&subnets, "subnetId").len(), 6);
    let account = region.ok("DescribeAccountAttributes", "AttributeName.1=default-vpc");
    assert_eq!(element(&account, "attributeValue"), vpc);
    let group = region.ok("CreateSecurityGroup", "GroupName=web&GroupDescription=web");
    let group = element(&group, "groupId");
    let shown = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}"));
    assert_eq!(element(&shown, "vpcId"), vpc);
    for (action, parameters, code) in [
        ("CreateDefaultVpc", "", "DefaultVpcAlreadyExists"),
        (
            "CreateDefaultSubnet",
            "AvailabilityZone=us-east-1a",
            "DefaultSubnetAlreadyExistsInAvailabilityZone",
        ),
        ("CreateDefaultSubnet", "", "MissingParameter"),
    ] {
        assert_eq!(region.code(action, parameters), code, "{action}");
    }
    // Four more make the quota of five.
    for n in 0..4 {
        region.ok("CreateVpc", &format!("CidrBlock=10.{n}.0.0/16"));
    }
    assert_eq!(
        region.code("CreateVpc", "CidrBlock=10.9.0.0/16"),
        "VpcLimitExceeded"
    );
}

#[test]
fn an_ipv6_only_subnet_is_refused_for_the_right_reason() {
    let region = Region::start();
    let vpc = region.vpc();
    let code = |rest: &str| {
        let parameters = format!("VpcId={vpc}&Ipv6Native=true{rest}");
        region.code("CreateSubnet", &parameters)
    };
    assert_eq!(code(""), "MissingParameter");
    assert_eq!(code("&CidrBlock=10.0.0.0/24"), "MissingParameter");
    assert_eq!(
        code("&CidrBlock=10.0.0.0/24&Ipv6CidrBlock=2001:db8::/64"),
        "InvalidParameterCombination"
    );
}
