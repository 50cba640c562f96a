//! VPC peering, routes over it and groups across it.

use super::*;

const OTHER: &str = "111111111111";

impl Region {
    #[track_caller]
    fn other_ok(&self, action: &str, parameters: &str) -> String {
        let (status, body) = self.send_as(OTHER, "us-east-1", action, parameters);
        assert_eq!(status, 200, "{action} {parameters}: {body}");
        body
    }

    /// Our VPC, the other account's, and the request between them.
    fn request(&self) -> (String, String, String) {
        let ours = self.vpc();
        let theirs = element(
            &self.other_ok("CreateVpc", "CidrBlock=10.1.0.0/16"),
            "vpcId",
        );
        let parameters = format!("VpcId={ours}&PeerVpcId={theirs}&PeerOwnerId={OTHER}");
        let made = self.ok("CreateVpcPeeringConnection", &parameters);
        (ours, theirs, element(&made, "vpcPeeringConnectionId"))
    }

    fn peering_status(&self, id: &str) -> String {
        let parameters = format!("VpcPeeringConnectionId.1={id}");
        let shown = self.ok("DescribeVpcPeeringConnections", &parameters);
        element(&element(&shown, "status"), "code")
    }
}

#[test]
fn a_request_is_accepted_by_the_other_account_and_seen_by_both() {
    let region = Region::start();
    let (ours, theirs, id) = region.request();
    assert_eq!(region.peering_status(&id), "pending-acceptance");
    let one = format!("VpcPeeringConnectionId={id}");
    assert_eq!(
        region.code("AcceptVpcPeeringConnection", &one),
        "OperationNotPermitted"
    );
    region.other_ok("AcceptVpcPeeringConnection", &one);
    assert_eq!(region.peering_status(&id), "active");
    let filter = format!("Filter.1.Name=requester-vpc-info.vpc-id&Filter.1.Value.1={ours}");
    let seen = region.other_ok("DescribeVpcPeeringConnections", &filter);
    let accepter = element(&seen, "accepterVpcInfo");
    assert_eq!(
        (
            element(&accepter, "vpcId"),
            element(&accepter, "cidrBlock").contains("10.1.0.0/16")
        ),
        (theirs, true)
    );
    region.ok(
        "ModifyVpcPeeringConnectionOptions",
        &format!("{one}&RequesterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc=true"),
    );
    region.ok("DeleteVpcPeeringConnection", &one);
    assert_eq!(region.peering_status(&id), "deleted");
    assert_eq!(
        region.code("DeleteVpcPeeringConnection", &one),
        "InvalidStateTransition"
    );
    assert_eq!(
        region.code(
            "DescribeVpcPeeringConnections",
            "VpcPeeringConnectionId.1=pcx-12345678"
        ),
        "InvalidVpcPeeringConnectionID.NotFound"
    );
}

#[test]
fn a_route_over_a_peering_is_a_blackhole_unless_it_is_active() {
    let region = Region::start();
    let (ours, _, id) = region.request();
    let table = element(
        &region.ok("CreateRouteTable", &format!("VpcId={ours}")),
        "routeTableId",
    );
    region.ok(
        "CreateRoute",
        &format!(
            "RouteTableId={table}&DestinationCidrBlock=10.1.0.0/16&VpcPeeringConnectionId={id}"
        ),
    );
    let state = || {
        let filter = format!("Filter.1.Name=route.vpc-peering-connection-id&Filter.1.Value.1={id}");
        let shown = region.ok("DescribeRouteTables", &filter);
        let routes = element(&shown, "routeSet");
        elements(&routes, "state").pop().unwrap()
    };
    assert_eq!(state(), "blackhole");
    let one = format!("VpcPeeringConnectionId={id}");
    region.other_ok("AcceptVpcPeeringConnection", &one);
    assert_eq!(state(), "active");
    region.ok("DeleteVpcPeeringConnection", &one);
    assert_eq!(state(), "blackhole");
}

#[test]
fn groups_of_a_peer_are_named_told_and_turn_stale() {
    let region = Region::start();
    let (ours, theirs, id) = region.request();
    let one = format!("VpcPeeringConnectionId={id}");
    region.other_ok("AcceptVpcPeeringConnection", &one);
    let group = region.group(&ours, "web");
    let new = format!("VpcId={theirs}&GroupName=app&GroupDescription=app");
    let peers = element(&region.other_ok("CreateSecurityGroup", &new), "groupId");
    let p = "IpPermissions.1";
    let rule = |owner: &str| {
        format!(
            "GroupId={group}&{p}.IpProtocol=-1&{p}.Groups.1.GroupId={peers}&{p}.Groups.1.UserId={owner}"
        )
    };
    assert_eq!(
        region.code("AuthorizeSecurityGroupIngress", &rule("222222222222")),
        "InvalidGroup.NotFound"
    );
    region.ok("AuthorizeSecurityGroupIngress", &rule(OTHER));
    let shown = region.ok("DescribeSecurityGroups", &format!("GroupId.1={group}"));
    let pair = element(&shown, "groups");
    assert_eq!(
        (
            element(&pair, "userId"),
            element(&pair, "vpcId"),
            element(&pair, "peeringStatus")
        ),
        (OTHER.to_owned(), theirs.clone(), "active".to_owned())
    );
    let references = region.other_ok(
        "DescribeSecurityGroupReferences",
        &format!("GroupId.1={peers}"),
    );
    assert_eq!(element(&references, "referencingVpcId"), ours);
    let stale = || {
        let shown = region.ok("DescribeStaleSecurityGroups", &format!("VpcId={ours}"));
        elements(&shown, "groupName")
    };
    assert!(stale().is_empty());
    region.other_ok("DeleteSecurityGroup", &format!("GroupId={peers}"));
    assert_eq!(stale(), ["web"]);
    region.ok("RevokeSecurityGroupIngress", &rule(OTHER));
    assert!(stale().is_empty());
}

#[test]
fn routes_of_ipv6_lead_out_by_the_egress_only_gateway() {
    let region = Region::start();
    let parameters = "CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true";
    let vpc = element(&region.ok("CreateVpc", parameters), "vpcId");
    let made = region.ok("CreateEgressOnlyInternetGateway", &format!("VpcId={vpc}"));
    let gateway = element(&made, "egressOnlyInternetGatewayId");
    let table = element(
        &region.ok("CreateRouteTable", &format!("VpcId={vpc}")),
        "routeTableId",
    );
    let to = format!("RouteTableId={table}&EgressOnlyInternetGatewayId={gateway}");
    assert_eq!(
        region.code(
            "CreateRoute",
            &format!("{to}&DestinationCidrBlock=0.0.0.0/0")
        ),
        "InvalidParameterValue"
    );
    region.ok(
        "CreateRoute",
        &format!("{to}&DestinationIpv6CidrBlock=::/0"),
    );
    let shown = region.ok("DescribeRouteTables", &format!("RouteTableId.1={table}"));
    assert_eq!(element(&shown, "egressOnlyInternetGatewayId"), gateway);
    let destinations = elements(&shown, "destinationIpv6CidrBlock");
    assert_eq!((destinations.len(), destinations[1].as_str()), (2, "::/0"));
    region.ok(
        "DeleteRoute",
        &format!("RouteTableId={table}&DestinationIpv6CidrBlock=::/0"),
    );
}
