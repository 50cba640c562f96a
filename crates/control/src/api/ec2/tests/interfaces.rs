//! Interfaces on the wire: addresses, attributes, attachments; names of addresses; what there is none of.

use super::*;

fn stage() -> (Region, String, String) {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let made = region.ok(
        "CreateNetworkInterface",
        &format!(
            "SubnetId={subnet}&PrivateIpAddress=10.0.0.10&ConnectionTrackingSpecification.UdpTimeout=30"
        ),
    );
    assert_eq!(element(&made, "udpTimeout"), "30");
    (region, subnet, element(&made, "networkInterfaceId"))
}

#[test]
fn secondary_addresses_come_and_go() {
    let (region, _, eni) = stage();
    let own = |rest: &str| format!("NetworkInterfaceId={eni}&{rest}");
    let given = region.ok(
        "AssignPrivateIpAddresses",
        &own("PrivateIpAddress.1=10.0.0.11&PrivateIpAddress.2=10.0.0.12"),
    );
    assert_eq!(
        elements(&given, "privateIpAddress"),
        ["10.0.0.11", "10.0.0.12"]
    );
    region.ok(
        "AssignPrivateIpAddresses",
        &own("SecondaryPrivateIpAddressCount=2"),
    );
    region.ok(
        "UnassignPrivateIpAddresses",
        &own("PrivateIpAddress.1=10.0.0.11"),
    );
    let shown = region.ok(
        "DescribeNetworkInterfaces",
        &format!("NetworkInterfaceId.1={eni}"),
    );
    assert_eq!(elements(&shown, "primary").len(), 4);
    for (action, rest, code) in [
        ("AssignPrivateIpAddresses", "", "MissingParameter"),
        (
            "AssignPrivateIpAddresses",
            "PrivateIpAddress.1=10.0.0.20&SecondaryPrivateIpAddressCount=1",
            "InvalidParameterCombination",
        ),
        (
            "AssignPrivateIpAddresses",
            "PrivateIpAddress.1=10.0.0.10",
            "InvalidIPAddress.InUse",
        ),
        (
            "UnassignPrivateIpAddresses",
            "PrivateIpAddress.1=10.0.0.10",
            "InvalidParameterValue",
        ),
        (
            "AssignIpv6Addresses",
            "Ipv6AddressCount=1",
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(region.code(action, &own(rest)), code, "{action} {rest}");
    }
}

#[test]
fn attributes_are_read_changed_and_reset() {
    let (region, _, eni) = stage();
    let own = |rest: &str| format!("NetworkInterfaceId={eni}&{rest}");
    let read = |name: &str| {
        region.ok(
            "DescribeNetworkInterfaceAttribute",
            &own(&format!("Attribute={name}")),
        )
    };
    region.ok(
        "ModifyNetworkInterfaceAttribute",
        &own("SourceDestCheck.Value=false"),
    );
    assert_eq!(element(&read("sourceDestCheck"), "value"), "false");
    region.ok(
        "ResetNetworkInterfaceAttribute",
        &own("SourceDestCheck=true"),
    );
    assert_eq!(element(&read("sourceDestCheck"), "value"), "true");
    region.ok(
        "ModifyNetworkInterfaceAttribute",
        &own("Description.Value=mine"),
    );
    assert_eq!(element(&read("description"), "value"), "mine");
    assert!(element(&read("groupSet"), "groupId").starts_with("sg-"));
    assert!(elements(&read("attachment"), "attachmentId").is_empty());
    assert_eq!(
        region.code(
            "DescribeNetworkInterfaceAttribute",
            &own("Attribute=nothing")
        ),
        "InvalidParameterValue"
    );
    assert_eq!(
        region.code(
            "ModifyNetworkInterfaceAttribute",
            &own("Attachment.AttachmentId=eni-attach-12345678&Attachment.DeleteOnTermination=true")
        ),
        "InvalidAttachmentID.NotFound"
    );
}

#[test]
fn nothing_can_be_attached_where_no_instance_is() {
    let (region, _, eni) = stage();
    for (action, parameters, code) in [
        (
            "AttachNetworkInterface",
            format!("NetworkInterfaceId={eni}&DeviceIndex=1&InstanceId=i-0123456789abcdef0"),
            "InvalidInstanceID.NotFound",
        ),
        (
            "AttachNetworkInterface",
            format!("NetworkInterfaceId={eni}&DeviceIndex=1&InstanceId=web"),
            "InvalidInstanceID.Malformed",
        ),
        (
            "DetachNetworkInterface",
            "AttachmentId=eni-attach-12345678".to_owned(),
            "InvalidAttachmentID.NotFound",
        ),
        (
            "DescribeInstances",
            "InstanceId.1=i-0123456789abcdef0".to_owned(),
            "InvalidInstanceID.NotFound",
        ),
        (
            "DescribeVpnGateways",
            "VpnGatewayId.1=vgw-12345678".to_owned(),
            "InvalidVpnGatewayID.NotFound",
        ),
    ] {
        assert_eq!(region.code(action, &parameters), code, "{action}");
    }
    assert!(elements(&region.ok("DescribeInstances", ""), "item").is_empty());
    let filter = "Filter.1.Name=attachment.state&Filter.1.Value.1=attached";
    assert!(elements(&region.ok("DescribeVpnGateways", filter), "item").is_empty());
}

#[test]
fn reservations_are_listed_by_family() {
    let (region, subnet, _) = stage();
    let make = |rest: &str| format!("SubnetId={subnet}&{rest}");
    let made = region.ok(
        "CreateSubnetCidrReservation",
        &make("Cidr=10.0.0.64/26&ReservationType=explicit&Description=db"),
    );
    let id = element(&made, "subnetCidrReservationId");
    assert!(id.starts_with("scr-"), "{id}");
    let listed = region.ok("GetSubnetCidrReservations", &format!("SubnetId={subnet}"));
    let v4 = element(&listed, "subnetIpv4CidrReservationSet");
    assert_eq!(element(&v4, "cidr"), "10.0.0.64/26");
    assert_eq!(
        region.code(
            "CreateSubnetCidrReservation",
            &make("Cidr=10.0.0.64/27&ReservationType=prefix")
        ),
        "InvalidParameterValue"
    );
    let parameters = format!("SubnetCidrReservationId={id}");
    region.ok("DeleteSubnetCidrReservation", &parameters);
    assert_eq!(
        region.code("DeleteSubnetCidrReservation", &parameters),
        "InvalidSubnetCidrReservationID.NotFound"
    );
}

#[test]
fn an_address_has_a_name_for_a_while() {
    let region = Region::start();
    let id = element(&region.ok("AllocateAddress", "Domain=vpc"), "allocationId");
    let attributes = || region.ok("DescribeAddressesAttribute", "Attribute=domain-name");
    assert!(elements(&attributes(), "ptrRecord").is_empty());
    region.ok(
        "ModifyAddressAttribute",
        &format!("AllocationId={id}&DomainName=mail.example.com"),
    );
    assert_eq!(element(&attributes(), "ptrRecord"), "mail.example.com.");
    region.ok(
        "ResetAddressAttribute",
        &format!("AllocationId={id}&Attribute=domain-name"),
    );
    assert!(elements(&attributes(), "ptrRecord").is_empty());
}

#[test]
fn a_token_names_one_interface() {
    let (region, subnet, _) = stage();
    let make = |ip: &str| format!("SubnetId={subnet}&PrivateIpAddress={ip}&ClientToken=t");
    let first = region.ok("CreateNetworkInterface", &make("10.0.0.20"));
    let again = region.ok("CreateNetworkInterface", &make("10.0.0.20"));
    assert_eq!(
        element(&first, "networkInterfaceId"),
        element(&again, "networkInterfaceId")
    );
    assert_eq!(
        region.code("CreateNetworkInterface", &make("10.0.0.21")),
        "IdempotentParameterMismatch"
    );
}

#[test]
fn listings_of_what_cannot_be_made_know_their_parameters() {
    let region = Region::start();
    region.ok(
        "DescribeVpnGateways",
        "Filter.1.Name=attachment.vpc-id&Filter.1.Value.1=vpc-1",
    );
    assert_eq!(
        region.code(
            "DescribeVpnGateways",
            "Filter.1.Name=colour&Filter.1.Value.1=red"
        ),
        "InvalidParameterValue"
    );
}
