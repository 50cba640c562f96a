//! EC2 as a client sees it: form bodies in, XML out, through routing, handlers, rules and a store in memory.

use crate::Engine;
use crate::api::{ApiError, Caller, Context, Handlers};
use crate::model::tx::test_config;
use fogbank_store::Memory;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// A control plane without a host.
struct Region {
    engine: Arc<Engine>,
    handlers: Handlers,
    /// Dropped with the region, which ends its runtime.
    _stop: Sender<()>,
}

impl Region {
    fn start() -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let engine = Engine::start(Arc::new(Memory::new()), test_config())
                    .await
                    .unwrap();
                send.send(engine).unwrap();
                let _ = tokio::task::spawn_blocking(move || stopped.recv()).await;
            });
        });
        Self {
            engine: receive.recv().unwrap(),
            handlers: Handlers::all(),
            _stop: stop,
        }
    }

    /// Status and body of the answer to an action with its parameters.
    fn send(&self, action: &str, parameters: &str) -> (u16, String) {
        let body = format!("Action={action}&Version=2016-11-15&{parameters}");
        let authorization = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/ec2/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=00";
        let request = http::Request::builder()
            .method("POST")
            .uri("/")
            .header("authorization", authorization)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let call = match fogbank_wire::route(&parts, body.as_bytes()) {
            Ok(call) => call,
            Err(refused) => return text(refused.response()),
        };
        let caller = Caller {
            account: "000000000000".to_owned(),
            region: call.region.clone(),
            access_key: call.access_key.clone(),
            request_id: call.request_id.clone(),
            host: "localhost".to_owned(),
        };
        let context = Context::new(caller, self.engine.clone());
        let operation = call.operation;
        let handler = self
            .handlers
            .get(operation.service, operation.name)
            .expect("the operation is served");
        text(match (handler.run)(&context, call.input) {
            Ok(output) => fogbank_wire::encode_output(operation, output, &call.request_id),
            Err(ApiError(error)) => {
                fogbank_wire::encode_error(operation.service, &error, &call.request_id)
            }
        })
    }

    #[track_caller]
    fn ok(&self, action: &str, parameters: &str) -> String {
        let (status, body) = self.send(action, parameters);
        assert_eq!(status, 200, "{action} {parameters}: {body}");
        body
    }

    /// The code of a refusal.
    #[track_caller]
    fn code(&self, action: &str, parameters: &str) -> String {
        let (status, body) = self.send(action, parameters);
        assert_ne!(status, 200, "{action} {parameters}: {body}");
        element(&body, "Code")
    }

    fn vpc(&self) -> String {
        element(&self.ok("CreateVpc", "CidrBlock=10.0.0.0/16"), "vpcId")
    }

    fn subnet(&self, vpc: &str, block: &str) -> String {
        element(
            &self.ok("CreateSubnet", &format!("VpcId={vpc}&CidrBlock={block}")),
            "subnetId",
        )
    }

    fn group(&self, vpc: &str, name: &str) -> String {
        let parameters = format!("VpcId={vpc}&GroupName={name}&GroupDescription={name}");
        element(&self.ok("CreateSecurityGroup", &parameters), "groupId")
    }

    fn gateway(&self, vpc: &str) -> String {
        let gateway = element(&self.ok("CreateInternetGateway", ""), "internetGatewayId");
        self.ok(
            "AttachInternetGateway",
            &format!("InternetGatewayId={gateway}&VpcId={vpc}"),
        );
        gateway
    }
}

fn text(response: http::Response<bytes::Bytes>) -> (u16, String) {
    (
        response.status().as_u16(),
        String::from_utf8(response.body().to_vec()).unwrap(),
    )
}

/// Texts of all elements of that name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned()))
        .collect()
}

#[track_caller]
fn element(xml: &str, name: &str) -> String {
    elements(xml, name)
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("no <{name}> in {xml}"))
}

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
            "CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true".to_owned(),
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
            "InvalidParameterValue",
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
        [subnet.clone()]
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

#[test]
fn a_rule_is_answered_shown_and_revoked() {
    let region = Region::start();
    let vpc = region.vpc();
    let (web, api) = (region.group(&vpc, "web"), region.group(&vpc, "api"));
    let rule = "IpPermissions.1.IpProtocol=6&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&\
                IpPermissions.1.IpRanges.1.CidrIp=10.0.0.1/8&IpPermissions.1.IpRanges.1.Description=inside";
    let group_rule = format!(
        "IpPermissions.2.IpProtocol=tcp&IpPermissions.2.FromPort=80&IpPermissions.2.ToPort=80&\
         IpPermissions.2.Groups.1.GroupId={api}"
    );
    let added = region.ok(
        "AuthorizeSecurityGroupIngress",
        &format!("GroupId={web}&{rule}&{group_rule}"),
    );
    assert_eq!(element(&added, "return"), "true");
    let ids = elements(&added, "securityGroupRuleId");
    assert_eq!(
        (ids.len(), elements(&added, "cidrIpv4")),
        (2, vec!["10.0.0.0/8".to_owned()])
    );
    let shown = region.ok("DescribeSecurityGroups", &format!("GroupId.1={web}"));
    let ingress = shown.split("<ipPermissionsEgress>").next().unwrap();
    assert_eq!(
        elements(ingress, "ipProtocol"),
        ["tcp"],
        "one permission for one traffic"
    );
    assert_eq!(
        (element(ingress, "cidrIp"), element(ingress, "userId")),
        ("10.0.0.0/8".to_owned(), "000000000000".to_owned())
    );
    assert_eq!(
        region.code(
            "AuthorizeSecurityGroupIngress",
            &format!("GroupId={web}&{rule}")
        ),
        "InvalidPermission.Duplicate"
    );
    let listed = region.ok(
        "DescribeSecurityGroupRules",
        &format!("Filter.1.Name=group-id&Filter.1.Value.1={web}"),
    );
    assert_eq!(elements(&listed, "securityGroupRuleId").len(), 3);
    region.ok(
        "RevokeSecurityGroupIngress",
        &format!("GroupId={web}&SecurityGroupRuleId.1={}", ids[1]),
    );
    region.ok(
        "RevokeSecurityGroupIngress",
        &format!("GroupId={web}&{rule}"),
    );
    assert_eq!(
        region.code(
            "RevokeSecurityGroupIngress",
            &format!("GroupId={web}&{rule}")
        ),
        "InvalidPermission.NotFound"
    );
    assert_eq!(
        region.code(
            "DescribeSecurityGroupRules",
            &format!("SecurityGroupRuleId.1={}", ids[0])
        ),
        "InvalidSecurityGroupRuleId.NotFound"
    );
}

/// What Terraform does with every new group: both default egress rules go, and the second was never there.
#[test]
fn the_ipv6_default_rule_is_not_there() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let all = format!("GroupId={group}&IpPermissions.1.IpProtocol=-1&IpPermissions.1");
    region.ok(
        "RevokeSecurityGroupEgress",
        &format!("{all}.IpRanges.1.CidrIp=0.0.0.0/0"),
    );
    assert_eq!(
        region.code(
            "RevokeSecurityGroupEgress",
            &format!("{all}.Ipv6Ranges.1.CidrIpv6=::/0")
        ),
        "InvalidPermission.NotFound"
    );
    for unbuilt in [
        "Ipv6Ranges.1.CidrIpv6=::/0",
        "PrefixListIds.1.PrefixListId=pl-12345678",
    ] {
        assert_eq!(
            region.code("AuthorizeSecurityGroupEgress", &format!("{all}.{unbuilt}")),
            "InvalidParameterValue",
            "{unbuilt}"
        );
    }
}

#[test]
fn bad_permissions_change_nothing() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let before = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}&"));
    let p = "IpPermissions.1";
    for (rest, code) in [
        (String::new(), "MissingParameter"),
        (
            format!("{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=1"),
            "MissingParameter",
        ),
        (
            format!("{p}.IpRanges.1.CidrIp=0.0.0.0/0"),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=tcp&{p}.IpRanges.1.CidrIp=0.0.0.0/0"),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcpx&{p}.FromPort=1&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=2&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=65536&{p}.IpRanges.1.CidrIp=0.0.0.0/0"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{p}.IpProtocol=tcp&{p}.FromPort=1&{p}.ToPort=1&{p}.IpRanges.1.CidrIp=300.0.0.0/8"
            ),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=-1&{p}.Ipv6Ranges.1.CidrIpv6=10.0.0.0/8"),
            "InvalidParameterValue",
        ),
        (
            format!("{p}.IpProtocol=-1&{p}.Groups.1.GroupId=web"),
            "InvalidGroupId.Malformed",
        ),
        (
            format!(
                "{p}.IpProtocol=-1&{p}.Groups.1.GroupId={group}&{p}.Groups.1.UserId=111111111111"
            ),
            "InvalidGroup.NotFound",
        ),
    ] {
        let parameters = format!("GroupId={group}&{rest}");
        assert_eq!(
            region.code("AuthorizeSecurityGroupIngress", &parameters),
            code,
            "{rest}"
        );
    }
    let after = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}&"));
    let groups = |xml: &str| element(xml, "securityGroupInfo");
    assert_eq!(groups(&after), groups(&before));
}

#[test]
fn plain_parameters_make_a_rule_and_a_modified_one_keeps_its_id() {
    let region = Region::start();
    let vpc = region.vpc();
    let group = region.group(&vpc, "web");
    let plain = format!("GroupId={group}&IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=10.0.0.0/8");
    let id = element(
        &region.ok("AuthorizeSecurityGroupIngress", &plain),
        "securityGroupRuleId",
    );
    let r = "SecurityGroupRule.1";
    let change = format!(
        "GroupId={group}&{r}.SecurityGroupRuleId={id}&{r}.SecurityGroupRule.IpProtocol=udp&{r}.SecurityGroupRule.FromPort=53&\
         {r}.SecurityGroupRule.ToPort=53&{r}.SecurityGroupRule.CidrIpv4=10.1.0.0/16"
    );
    region.ok("ModifySecurityGroupRules", &change);
    let shown = region.ok(
        "DescribeSecurityGroupRules",
        &format!("SecurityGroupRuleId.1={id}"),
    );
    let seen = (
        element(&shown, "ipProtocol"),
        element(&shown, "fromPort"),
        element(&shown, "cidrIpv4"),
    );
    assert_eq!(
        seen,
        ("udp".to_owned(), "53".to_owned(), "10.1.0.0/16".to_owned())
    );
    let described = format!(
        "GroupId={group}&SecurityGroupRuleDescription.1.SecurityGroupRuleId={id}&SecurityGroupRuleDescription.1.Description=dns"
    );
    region.ok("UpdateSecurityGroupRuleDescriptionsIngress", &described);
    assert_eq!(
        element(
            &region.ok(
                "DescribeSecurityGroupRules",
                &format!("SecurityGroupRuleId.1={id}")
            ),
            "description"
        ),
        "dns"
    );
    assert_eq!(
        region.code(
            "DescribeSecurityGroupRules",
            "Filter.1.Name=group-id&Filter.1.Value.1=web"
        ),
        "InvalidGroupId.Malformed"
    );
}

#[test]
fn acls_show_the_last_entry_and_take_subnets() {
    let region = Region::start();
    let vpc = region.vpc();
    let subnet = region.subnet(&vpc, "10.0.0.0/24");
    let acl = element(
        &region.ok("CreateNetworkAcl", &format!("VpcId={vpc}")),
        "networkAclId",
    );
    let entry = format!("NetworkAclId={acl}&RuleNumber=100&Egress=false");
    let allow = format!(
        "{entry}&RuleAction=allow&Protocol=6&PortRange.From=80&PortRange.To=80&CidrBlock=0.0.0.0/0"
    );
    region.ok("CreateNetworkAclEntry", &allow);
    assert_eq!(
        region.code("CreateNetworkAclEntry", &allow),
        "NetworkAclEntryAlreadyExists"
    );
    region.ok(
        "ReplaceNetworkAclEntry",
        &format!("{entry}&RuleAction=deny&Protocol=-1&CidrBlock=10.0.0.0/8"),
    );
    let shown = region.ok("DescribeNetworkAcls", &format!("NetworkAclId.1={acl}"));
    assert_eq!(elements(&shown, "ruleNumber"), ["32767", "100", "32767"]);
    assert_eq!(elements(&shown, "ruleAction"), ["deny", "deny", "deny"]);
    let of_subnet = format!("Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}");
    let default = region.ok("DescribeNetworkAcls", &of_subnet);
    assert_eq!(element(&default, "default"), "true");
    let association = element(&default, "networkAclAssociationId");
    region.ok(
        "ReplaceNetworkAclAssociation",
        &format!("AssociationId={association}&NetworkAclId={acl}"),
    );
    assert_eq!(
        element(&region.ok("DescribeNetworkAcls", &of_subnet), "default"),
        "false"
    );
    assert_eq!(
        region.code("DeleteNetworkAcl", &format!("NetworkAclId={acl}")),
        "DependencyViolation"
    );
    region.ok("DeleteNetworkAclEntry", &entry);
    assert_eq!(
        region.code("DeleteNetworkAclEntry", &entry),
        "InvalidNetworkAclEntry.NotFound"
    );
}

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
