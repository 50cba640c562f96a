//! What the Reachability Analyzer found, in AWS's shapes: components of the path, and explanations of what stops it.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_PathComponent.html>

use crate::model::vpc::{insights, permissions};
use fogbank_types::diagnosis::{
    Decision, Explanation as Why, PathComponent as Component, PathHop, PathPacket,
};
use fogbank_types::ec2::{NetworkAclEntry, RulePeer, SecurityGroupRule};
use fogbank_types::{
    EniId, NatGatewayId, NetworkAclId, RouteTableId, Scope, SecurityGroupId, SecurityGroupRuleId,
    Snapshot, Traffic, VpcEndpointId, VpcPeeringConnectionId,
};
use fogbank_wire::ec2::*;

/// An id with its ARN, and its name if the resource has one by tag.
fn component(scope: &Scope, id: &str) -> AnalysisComponent {
    AnalysisComponent {
        arn: insights::end_arn(scope, id),
        id: Some(id.to_owned()),
        ..AnalysisComponent::default()
    }
}

fn optional_component(scope: &Scope, id: Option<impl AsRef<str>>) -> Option<AnalysisComponent> {
    id.map(|id| component(scope, id.as_ref()))
}

fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

fn header(packet: &PathPacket) -> AnalysisPacketHeader {
    let port = i32::from(packet.detail);
    let ports = matches!(packet.protocol, 6 | 17).then(|| {
        vec![PortRange {
            from: Some(port),
            to: Some(port),
        }]
    });
    AnalysisPacketHeader {
        destination_addresses: Some(vec![packet.destination.to_string()]),
        destination_port_ranges: ports,
        protocol: Some(protocol_name(packet.protocol)),
        source_addresses: Some(vec![packet.source.to_string()]),
        ..AnalysisPacketHeader::default()
    }
}

fn port_range(traffic: Traffic) -> Option<PortRange> {
    let (from, to) = permissions::port_members(traffic);
    from.map(|from| PortRange {
        from: Some(from),
        to,
    })
}

fn direction(egress: bool) -> String {
    if egress { "egress" } else { "ingress" }.to_owned()
}

fn group_rule(
    snapshot: &Snapshot,
    scope: &Scope,
    group_id: &SecurityGroupId,
    rule_id: &SecurityGroupRuleId,
    egress: bool,
) -> AnalysisSecurityGroupRule {
    // A group of a peered VPC may be another account's.
    let group = snapshot.security_groups.get(scope, group_id).or_else(|| {
        snapshot
            .security_groups
            .all()
            .find(|group| group.group_id == *group_id)
    });
    let rule: Option<&SecurityGroupRule> =
        group.and_then(|group| group.rules.iter().find(|rule| rule.rule_id == *rule_id));
    let mut shown = AnalysisSecurityGroupRule {
        direction: Some(direction(egress)),
        security_group_id: Some(group_id.to_string()),
        ..AnalysisSecurityGroupRule::default()
    };
    let Some(rule) = rule else {
        return shown;
    };
    shown.port_range = port_range(rule.traffic);
    shown.protocol = Some(rule.traffic.protocol_name())
        .filter(|name| name != "-1")
        .or_else(|| Some("all".to_owned()));
    match &rule.peer {
        RulePeer::Ipv4(block) => shown.cidr = Some(block.to_string()),
        RulePeer::Ipv6(block) => shown.cidr = Some(block.to_string()),
        RulePeer::Group(peer) => shown.security_group_id = Some(peer.to_string()),
        RulePeer::PrefixList(list) => shown.prefix_list_id = Some(list.to_string()),
    }
    shown
}

fn acl_rule(
    snapshot: &Snapshot,
    network_acl_id: &NetworkAclId,
    number: u16,
    egress: bool,
    allow: bool,
) -> AnalysisAclRule {
    let acl = snapshot
        .network_acls
        .all()
        .find(|acl| acl.network_acl_id == *network_acl_id);
    let entry: Option<&NetworkAclEntry> = acl.and_then(|acl| {
        acl.entries
            .iter()
            .find(|entry| entry.number == number && entry.egress == egress)
    });
    let protocol = entry
        .map_or(Traffic::All, |entry| entry.traffic)
        .protocol_name();
    AnalysisAclRule {
        // The last entry, which denies all, is not stored.
        cidr: Some(entry.map_or_else(
            || "0.0.0.0/0".to_owned(),
            |entry| entry.cidr_block.to_string(),
        )),
        egress: Some(egress),
        port_range: entry.and_then(|entry| port_range(entry.traffic)),
        protocol: Some(if protocol == "-1" {
            "all".to_owned()
        } else {
            protocol
        }),
        rule_action: Some(if allow { "allow" } else { "deny" }.to_owned()),
        rule_number: Some(i32::from(number)),
    }
}

/// A route as the decision tells of it; its target goes into the member of its kind.
fn route(destination: &str, target: &str) -> AnalysisRouteTableRoute {
    let mut shown = AnalysisRouteTableRoute {
        origin: Some(
            if target == "local" {
                "createroutetable"
            } else {
                "createroute"
            }
            .to_owned(),
        ),
        state: Some("active".to_owned()),
        ..AnalysisRouteTableRoute::default()
    };
    if destination.starts_with("pl-") {
        shown.destination_prefix_list_id = Some(destination.to_owned());
    } else {
        shown.destination_cidr = Some(destination.to_owned());
    }
    let slot = match target.split_once('-').map(|(prefix, _)| prefix) {
        Some(EniId::PREFIX) => &mut shown.network_interface_id,
        Some(NatGatewayId::PREFIX) => &mut shown.nat_gateway_id,
        Some(VpcPeeringConnectionId::PREFIX) => &mut shown.vpc_peering_connection_id,
        Some("eigw") => &mut shown.egress_only_internet_gateway_id,
        // `local`, internet gateways and gateway endpoints.
        _ => &mut shown.gateway_id,
    };
    *slot = Some(target.to_owned());
    shown
}

/// The three members in which a rule of a component stands.
#[derive(Default)]
struct Rules {
    acl: Option<AnalysisAclRule>,
    group: Option<AnalysisSecurityGroupRule>,
    route: Option<AnalysisRouteTableRoute>,
}

fn rules(snapshot: &Snapshot, scope: &Scope, decision: Option<&Decision>) -> Rules {
    let mut rules = Rules::default();
    match decision {
        Some(Decision::GroupRule {
            group_id,
            rule_id,
            egress,
        }) => {
            rules.group = Some(group_rule(snapshot, scope, group_id, rule_id, *egress));
        }
        Some(Decision::AclEntry {
            network_acl_id,
            number,
            egress,
            allow,
        }) => {
            rules.acl = Some(acl_rule(snapshot, network_acl_id, *number, *egress, *allow));
        }
        Some(Decision::Route {
            destination,
            target,
            ..
        }) => {
            rules.route = Some(route(destination, target));
        }
        Some(Decision::Established) | None => {}
    }
    rules
}

/// The components in order. A component's inbound header is what the one before it let out.
pub fn hops(snapshot: &Snapshot, scope: &Scope, hops: &[PathHop]) -> Vec<PathComponent> {
    let mut before: Option<&PathPacket> = None;
    let mut components = Vec::with_capacity(hops.len());
    for (number, hop) in (1..).zip(hops) {
        let Rules { acl, group, route } = rules(snapshot, scope, hop.decided_by.as_ref());
        components.push(PathComponent {
            acl_rule: acl,
            component: Some(component(scope, &hop.component.id)),
            inbound_header: before.map(header),
            outbound_header: Some(header(&hop.packet)),
            route_table_route: route,
            security_group_rule: group,
            sequence_number: Some(number),
            subnet: optional_component(scope, hop.component.subnet_id.as_ref()),
            vpc: optional_component(scope, hop.component.vpc_id.as_ref()),
            ..PathComponent::default()
        });
        before = Some(&hop.packet);
    }
    components
}

/// Why the path is not there, by AWS's codes. The text for a person and the remedy have no member of AWS's; they are
/// told by `fogbank reach`.
pub fn explanations(snapshot: &Snapshot, scope: &Scope, all: &[Why]) -> Vec<Explanation> {
    all.iter()
        .map(|why| explanation(snapshot, scope, why))
        .collect()
}

fn explanation(snapshot: &Snapshot, scope: &Scope, why: &Why) -> Explanation {
    let Rules { acl, group, route } = rules(snapshot, scope, why.decided_by.as_ref());
    let mut shown = Explanation {
        acl_rule: acl,
        component: why.component.as_ref().map(|own| component(scope, &own.id)),
        direction: why.egress.map(direction),
        explanation_code: Some(why.code.clone()),
        packet_field: None,
        route_table_route: route,
        security_group_rule: group,
        ..Explanation::default()
    };
    if let Some(own) = &why.component {
        place(&mut shown, scope, own);
    }
    if let Some(owner) = &why.rule_owner {
        name(&mut shown, scope, owner);
    }
    if let Some(packet) = &why.packet {
        shown.address = Some(packet.destination.to_string());
        shown.port = matches!(packet.protocol, 6 | 17).then(|| i32::from(packet.detail));
        shown.protocols = Some(vec![protocol_name(packet.protocol)]);
    }
    shown
}

/// Where the component is; itself too, in the member of its kind.
fn place(shown: &mut Explanation, scope: &Scope, own: &Component) {
    shown.subnet = optional_component(scope, own.subnet_id.as_ref());
    shown.vpc = optional_component(scope, own.vpc_id.as_ref());
    name(shown, scope, &own.id);
}

fn name(shown: &mut Explanation, scope: &Scope, id: &str) {
    let own = Some(component(scope, id));
    match id.split_once('-').map(|(prefix, _)| prefix) {
        Some(EniId::PREFIX) => shown.network_interface = own,
        Some(SecurityGroupId::PREFIX) => {
            shown.security_groups = own.clone().map(|group| vec![group]);
            shown.security_group = own;
        }
        Some(NetworkAclId::PREFIX) => shown.acl = own,
        Some(RouteTableId::PREFIX) => shown.route_table = own,
        Some("igw") => shown.internet_gateway = own,
        Some(NatGatewayId::PREFIX) => shown.nat_gateway = own,
        Some(VpcEndpointId::PREFIX) => shown.vpc_endpoint = own,
        Some(VpcPeeringConnectionId::PREFIX) => shown.vpc_peering_connection = own,
        Some("pl") => shown.prefix_list = own,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn packet(port: u16) -> PathPacket {
        PathPacket {
            source: [10, 0, 0, 4].into(),
            destination: [10, 0, 1, 4].into(),
            protocol: 6,
            detail: port,
        }
    }

    fn hop(id: &str, decided_by: Option<Decision>) -> PathHop {
        let component = Component {
            id: id.to_owned(),
            vpc_id: None,
            subnet_id: None,
        };
        PathHop {
            component,
            packet: packet(443),
            decided_by,
        }
    }

    #[test]
    fn hops_are_numbered_and_carry_what_decided() {
        let table = RouteTableId::from_bits(1);
        let decided = Decision::Route {
            route_table_id: table.clone(),
            destination: "pl-12345678".to_owned(),
            target: "vpce-12345678".to_owned(),
        };
        let path = [
            hop("eni-12345678", None),
            hop(table.as_str(), Some(decided)),
        ];
        let shown = hops(&Snapshot::default(), &scope(), &path);
        assert_eq!(
            shown.iter().map(|c| c.sequence_number).collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
        assert!(shown[0].inbound_header.is_none());
        assert_eq!(shown[1].inbound_header, shown[0].outbound_header);
        let route = shown[1].route_table_route.clone().unwrap();
        assert_eq!(
            route.destination_prefix_list_id.as_deref(),
            Some("pl-12345678")
        );
        assert_eq!(route.gateway_id.as_deref(), Some("vpce-12345678"));
        assert_eq!(
            shown[0].component.clone().unwrap().arn.unwrap(),
            "arn:aws:ec2:us-east-1:000000000000:network-interface/eni-12345678"
        );
    }

    #[test]
    fn an_explanation_names_the_rule_and_its_owner() {
        let acl = NetworkAclId::from_bits(3);
        let why = Why {
            code: "SUBNET_ACL_RESTRICTION".to_owned(),
            text: String::new(),
            remedy: None,
            component: Some(hop("eni-12345678", None).component),
            rule_owner: Some(acl.to_string()),
            egress: Some(false),
            decided_by: Some(Decision::AclEntry {
                network_acl_id: acl.clone(),
                number: 32767,
                egress: false,
                allow: false,
            }),
            packet: Some(packet(443)),
        };
        let shown = explanations(&Snapshot::default(), &scope(), &[why]).remove(0);
        assert_eq!(
            shown.explanation_code.as_deref(),
            Some("SUBNET_ACL_RESTRICTION")
        );
        assert_eq!(shown.acl.unwrap().id.unwrap(), acl.as_str());
        let rule = shown.acl_rule.unwrap();
        assert_eq!(
            (rule.rule_number, rule.rule_action.as_deref()),
            (Some(32767), Some("deny"))
        );
        assert_eq!(
            (shown.direction.as_deref(), shown.port),
            (Some("ingress"), Some(443))
        );
        assert!(shown.network_interface.is_some());
    }
}
