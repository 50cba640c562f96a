//! What stopped a packet: AWS's code, a sentence, and the call that would open it.
//!
//! <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>

use super::rows::{Found, Rows, acl_decision, route_decision};
use super::{Pass, Side, component, of_eni, path_packet};
use crate::eval::Walked;
use crate::packet::{Fate, Packet};
use crate::program::Route;
use fogbank_types::VpcId;
use fogbank_types::diagnosis::{Explanation, PathComponent};
use fogbank_types::ec2::{Eni, NetworkAclEntry, RouteTarget, ZoneFaultKind};
use std::net::IpAddr;

/// Which of a router's gates it was, in the order of the way.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before anything else: forged source, failed zone, no public address, a peer without rights.
    Entry,
    Egress,
    AclOut,
    Route,
    AclIn,
    Ingress,
    /// The router's own addresses.
    Platform,
}

pub(super) struct Cause {
    pub place: Place,
    chain: Option<String>,
}

impl Cause {
    /// The kernel routes before its forward gates act, so a packet without a route says nothing of groups.
    pub fn of(pass: &Pass<'_>) -> Self {
        let place = match pass.dropped_by {
            Some(chain) => place_of(chain),
            None => Place::Route,
        };
        Self {
            place,
            chain: pass.dropped_by.map(str::to_owned),
        }
    }
}

/// The chains that `compile` writes into a VPC's tables.
fn place_of(chain: &str) -> Place {
    let is_group = chain.starts_with("sg-") || chain.starts_with("list-");
    match chain {
        "egress" => Place::Egress,
        "ingress" => Place::Ingress,
        "input" => Place::Platform,
        _ if is_group && chain.ends_with("-out") => Place::Egress,
        _ if is_group => Place::Ingress,
        _ if chain.starts_with("subnet-") && chain.ends_with("-out") => Place::AclOut,
        _ if chain.starts_with("subnet-") => Place::AclIn,
        _ => Place::Entry,
    }
}

/// An explanation without the parts that most don't have.
fn because(code: &str, text: String, component: PathComponent, packet: Packet) -> Explanation {
    Explanation {
        code: code.to_owned(),
        text,
        remedy: None,
        component: Some(component),
        rule_owner: None,
        egress: None,
        decided_by: None,
        packet: Some(path_packet(packet)),
    }
}

pub(super) fn in_vpc(
    rows: &Rows<'_>,
    vpc_id: &VpcId,
    cause: &Cause,
    pass: &Pass<'_>,
    packet: Packet,
    from: Option<&Side>,
    to: Option<&Side>,
) -> Explanation {
    match (cause.place, from, to) {
        (Place::Egress, Some(Side::Eni(eni)), _) => group(rows, eni, packet, true),
        (Place::Ingress, _, Some(Side::Eni(eni))) => group(rows, eni, packet, false),
        (Place::AclOut, Some(Side::Eni(eni)), _) => acl(rows, eni, packet, true),
        (Place::AclIn, _, Some(Side::Eni(eni))) => acl(rows, eni, packet, false),
        (Place::Route, Some(Side::Eni(eni)), _) => route(rows, eni, pass, packet),
        (Place::Route, Some(Side::Peering(_)), _) => entry(rows, vpc_id, cause, packet, from, to),
        (Place::Route, Some(_), _) => because(
            "NO_POSSIBLE_DESTINATION",
            format!("no interface of {vpc_id} has {}", packet.destination),
            component(vpc_id.as_str(), Some(vpc_id), None),
            packet,
        ),
        (Place::Entry, ..) => entry(rows, vpc_id, cause, packet, from, to),
        (Place::Platform, ..) => because(
            "NO_PATH",
            format!(
                "{} answers DNS on port 53 and HTTP on port 80 alone, and only inside the VPC",
                packet.destination
            ),
            component(vpc_id.as_str(), Some(vpc_id), None),
            packet,
        ),
        _ => because(
            "NO_PATH",
            format!(
                "the router of {vpc_id} drops it ({})",
                cause.chain.as_deref().unwrap_or("no route")
            ),
            component(vpc_id.as_str(), Some(vpc_id), None),
            packet,
        ),
    }
}

fn group(rows: &Rows<'_>, eni: &Eni, packet: Packet, egress: bool) -> Explanation {
    let groups: Vec<&str> = eni.groups.iter().map(|group| group.as_str()).collect();
    let peer = peer_of(packet, egress);
    let (kind, word) = if egress {
        ("egress", "to")
    } else {
        ("ingress", "from")
    };
    let text = format!(
        "no {kind} rule of {} allows {} {word} {peer}",
        groups.join(", "),
        traffic(packet)
    );
    let remedy = groups.first().map(|group| {
        format!(
            "aws ec2 authorize-security-group-{kind} --group-id {group} --ip-permissions '{}'",
            permission(rows, eni, packet, peer)
        )
    });
    Explanation {
        remedy,
        rule_owner: groups.first().map(|&group| group.to_owned()),
        egress: Some(egress),
        ..because(
            "ENI_SG_RULES_MISMATCH",
            text,
            of_eni(eni, eni.eni_id.as_str()),
            packet,
        )
    }
}

/// The narrowest permission: the peer's group if it has one here, else its address.
fn permission(rows: &Rows<'_>, eni: &Eni, packet: Packet, peer: IpAddr) -> String {
    let mut enis = rows.snapshot.enis.all();
    let near = enis.find(|other| {
        other.vpc_id == eni.vpc_id && other.all_addresses().any(|address| address == peer)
    });
    let source = match (near.and_then(|other| other.groups.first()), peer) {
        (Some(group), _) => format!("UserIdGroupPairs=[{{GroupId={group}}}]"),
        (None, IpAddr::V4(peer)) => format!("IpRanges=[{{CidrIp={peer}/32}}]"),
        (None, IpAddr::V6(peer)) => format!("Ipv6Ranges=[{{CidrIpv6={peer}/128}}]"),
    };
    let (protocol, from, to) = ports(packet);
    match (from, to) {
        (Some(from), Some(to)) => {
            format!("IpProtocol={protocol},FromPort={from},ToPort={to},{source}")
        }
        _ => format!("IpProtocol={protocol},{source}"),
    }
}

/// Protocol as rules name it, and from and to port or ICMP's type and code.
fn ports(packet: Packet) -> (String, Option<u16>, Option<u16>) {
    let port = Some(packet.detail);
    match packet.protocol {
        6 => ("tcp".to_owned(), port, port),
        17 => ("udp".to_owned(), port, port),
        1 => (
            "icmp".to_owned(),
            Some(packet.detail >> 8),
            Some(packet.detail & 0xff),
        ),
        58 => (
            "icmpv6".to_owned(),
            Some(packet.detail >> 8),
            Some(packet.detail & 0xff),
        ),
        other => (other.to_string(), None, None),
    }
}

/// For people: `tcp 8080`, `icmp type 8`.
pub fn traffic(packet: Packet) -> String {
    match ports(packet) {
        (protocol, Some(kind), _) if protocol.starts_with("icmp") => {
            format!("{protocol} type {kind}")
        }
        (protocol, Some(port), _) => format!("{protocol} {port}"),
        (protocol, ..) => format!("protocol {protocol}"),
    }
}

fn peer_of(packet: Packet, egress: bool) -> IpAddr {
    if egress {
        packet.destination
    } else {
        packet.source
    }
}

fn acl(rows: &Rows<'_>, eni: &Eni, packet: Packet, egress: bool) -> Explanation {
    let at = of_eni(eni, eni.subnet_id.as_str());
    let Some((acl, deciding)) = rows.acl_entry(eni, packet, egress) else {
        let text = format!("{} has no network ACL", eni.subnet_id);
        return because("SUBNET_ACL_RESTRICTION", text, at, packet);
    };
    let peer = peer_of(packet, egress);
    let side = if egress { "outbound" } else { "inbound" };
    let word = if egress { "to" } else { "from" };
    let entry = deciding.map_or("the last rule (*)".to_owned(), |e| {
        format!("rule {}", e.number)
    });
    let text = format!(
        "{entry} of {} denies {} {word} {peer} {side}, at the border of {}",
        acl.network_acl_id,
        traffic(packet),
        eni.subnet_id
    );
    let entries = acl.entries.iter().filter(|e| e.egress == egress);
    let remedy = free_number(entries, deciding).map(|number| {
        let direction = if egress { "--egress" } else { "--ingress" };
        let block = match peer {
            IpAddr::V4(peer) => format!("--cidr-block {peer}/32"),
            IpAddr::V6(peer) => format!("--ipv6-cidr-block {peer}/128"),
        };
        let (_, from, to) = ports(packet);
        let which = match (packet.protocol, from, to) {
            (1 | 58, Some(kind), Some(code)) => format!(" --icmp-type-code Type={kind},Code={code}"),
            (_, Some(from), Some(to)) => format!(" --port-range From={from},To={to}"),
            _ => String::new(),
        };
        format!(
            "aws ec2 create-network-acl-entry --network-acl-id {} --rule-number {number} {direction} --protocol {}{which} {block} --rule-action allow",
            acl.network_acl_id, packet.protocol
        )
    });
    Explanation {
        remedy,
        rule_owner: Some(acl.network_acl_id.to_string()),
        egress: Some(egress),
        decided_by: Some(acl_decision(acl, deciding, egress)),
        ..because("SUBNET_ACL_RESTRICTION", text, at, packet)
    }
}

/// A number that comes before the entry that decides, if there is room.
fn free_number<'a>(
    entries: impl Iterator<Item = &'a NetworkAclEntry>,
    deciding: Option<&NetworkAclEntry>,
) -> Option<u16> {
    let taken: Vec<u16> = entries.map(|entry| entry.number).collect();
    match deciding {
        None => (1..=32_766)
            .map(|n: u16| n.saturating_mul(10))
            .find(|n| !taken.contains(n)),
        Some(entry) => (1..entry.number).rev().find(|n| !taken.contains(n)),
    }
}

fn route(rows: &Rows<'_>, eni: &Eni, pass: &Pass<'_>, packet: Packet) -> Explanation {
    let destination = packet.destination;
    let found = rows.route(eni, destination);
    let table = rows
        .subnet(eni)
        .and_then(|subnet| rows.snapshot.route_table_of(subnet));
    let table_id = table.map_or("no route table", |table| table.route_table_id.as_str());
    let at = component(table_id, Some(&eni.vpc_id), Some(&eni.subnet_id));
    match found {
        Some(Found { target: None, .. }) => because(
            "NO_POSSIBLE_DESTINATION",
            format!(
                "{destination} is an address of {} that no interface has",
                eni.vpc_id
            ),
            component(eni.vpc_id.as_str(), Some(&eni.vpc_id), None),
            packet,
        ),
        Some(found) if !pass.unrouted || matches!(pass.route, Some((_, _, Route::Blackhole))) => {
            dead_route(rows, eni, &found, packet, at)
        }
        _ => Explanation {
            remedy: way(rows, eni, destination).map(|target| {
                let block = match destination {
                    IpAddr::V4(_) => "--destination-cidr-block 0.0.0.0/0".to_owned(),
                    IpAddr::V6(_) => "--destination-ipv6-cidr-block ::/0".to_owned(),
                };
                format!("aws ec2 create-route --route-table-id {table_id} {block} {target}")
            }),
            rule_owner: Some(table_id.to_owned()),
            ..because(
                "NO_ROUTE_TO_DESTINATION",
                format!(
                    "{table_id}, the route table of {}, has no route to {destination}",
                    eni.subnet_id
                ),
                at,
                packet,
            )
        },
    }
}

fn dead_route(
    rows: &Rows<'_>,
    eni: &Eni,
    found: &Found<'_>,
    packet: Packet,
    at: PathComponent,
) -> Explanation {
    let target = found.target.as_ref().map_or("local", |target| target.id());
    let alive = found
        .target
        .as_ref()
        .is_some_and(|target| rows.snapshot.target_is_alive(found.table, target));
    let why = if alive {
        "whose target does not work now".to_owned()
    } else {
        "which is a blackhole: its target is gone or detached".to_owned()
    };
    let flag = if packet.destination.is_ipv4() {
        "--destination-cidr-block"
    } else {
        "--destination-ipv6-cidr-block"
    };
    let remedy = (!found.destination.starts_with("pl-"))
        .then(|| way(rows, eni, packet.destination))
        .flatten()
        .map(|new| {
            format!(
                "aws ec2 replace-route --route-table-id {} {flag} {} {new}",
                found.table.route_table_id, found.destination
            )
        });
    Explanation {
        remedy,
        rule_owner: Some(found.table.route_table_id.to_string()),
        decided_by: Some(route_decision(found)),
        ..because(
            "BAD_STATE_ROUTE",
            format!(
                "{} is routed by {} to {target} ({}), {why}",
                packet.destination, found.destination, found.table.route_table_id
            ),
            at,
            packet,
        )
    }
}

/// A target of this VPC that would lead there: a peering connection to whoever has the address, else a gateway.
fn way(rows: &Rows<'_>, eni: &Eni, destination: IpAddr) -> Option<String> {
    let snapshot = rows.snapshot;
    let peering = snapshot.peerings.all().find(|peering| {
        let far = peering.sides(&eni.scope, &eni.vpc_id).map(|(_, far)| far);
        let vpc = far.and_then(|far| snapshot.vpcs.get(&far.scope, &far.vpc_id));
        let target = RouteTarget::VpcPeeringConnection(peering.peering_id.clone());
        let alive = snapshot
            .subnets
            .get(&eni.scope, &eni.subnet_id)
            .and_then(|subnet| snapshot.route_table_of(subnet))
            .is_some_and(|table| snapshot.target_is_alive(table, &target));
        alive && vpc.is_some_and(|vpc| vpc.all_blocks().any(|b| b.contains(destination)))
    });
    if let Some(peering) = peering {
        return Some(format!(
            "--vpc-peering-connection-id {}",
            peering.peering_id
        ));
    }
    let gateway = rows.internet_gateway(&eni.vpc_id);
    let has_public = match destination {
        IpAddr::V4(_) => snapshot.public_ip(eni, eni.private_ip).is_some(),
        IpAddr::V6(_) => !eni.ipv6_addresses.is_empty(),
    };
    if let Some(gateway) = gateway
        && has_public
    {
        return Some(format!("--gateway-id {gateway}"));
    }
    let mut nats = snapshot.nat_gateways.in_scope(&eni.scope);
    let nat = nats.find(|nat| {
        nat.vpc_id == eni.vpc_id
            && nat.public_ip.is_some()
            && nat.state == fogbank_types::ec2::NatGatewayState::Available
    });
    nat.filter(|_| destination.is_ipv4())
        .map(|nat| format!("--nat-gateway-id {}", nat.nat_gateway_id))
}

/// Stopped before groups and ACLs are asked.
fn entry(
    rows: &Rows<'_>,
    vpc_id: &VpcId,
    cause: &Cause,
    packet: Packet,
    from: Option<&Side>,
    to: Option<&Side>,
) -> Explanation {
    let interfaces = [from, to]
        .into_iter()
        .flatten()
        .filter_map(|side| match side {
            Side::Eni(eni) => Some(eni.as_ref()),
            _ => None,
        });
    for eni in interfaces {
        let fault = rows.snapshot.zone_fault(&eni.zone);
        if let Some(kind @ (ZoneFaultKind::Failed | ZoneFaultKind::Isolated)) = fault {
            let word = if kind == ZoneFaultKind::Failed {
                "has failed"
            } else {
                "is isolated"
            };
            return Explanation {
                remedy: Some(format!("fogbank zone restore {}", eni.zone)),
                ..because(
                    "BAD_STATE",
                    format!("zone {} {word}", eni.zone),
                    of_eni(eni, eni.eni_id.as_str()),
                    packet,
                )
            };
        }
    }
    match (from, to) {
        (Some(Side::Eni(eni)), Some(Side::InternetGateway)) => {
            let text = format!(
                "{} has no public address, so the internet gateway drops what it sends",
                packet.source
            );
            let remedy = packet.source.is_ipv4().then(|| {
                format!("aws ec2 associate-address --network-interface-id {} --allocation-id $(aws ec2 allocate-address --query AllocationId --output text)", eni.eni_id)
            });
            Explanation {
                remedy,
                ..because(
                    "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS",
                    text,
                    of_eni(eni, eni.eni_id.as_str()),
                    packet,
                )
            }
        }
        (Some(Side::InternetGateway), _) => because(
            "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS",
            format!(
                "the internet gateway lets nothing new in to {}: no public address of {vpc_id}, or its subnet's way out is an egress-only gateway",
                packet.destination
            ),
            component(
                rows.internet_gateway(vpc_id).unwrap_or(vpc_id.as_str()),
                Some(vpc_id),
                None,
            ),
            packet,
        ),
        (Some(Side::Peering(id)), _) | (_, Some(Side::Peering(id))) => because(
            "PCX_REQUIRES_ADDRESS_IN_VPC_CIDR",
            format!(
                "{id} carries only packets between the blocks of its two VPCs: not to gateways, endpoints or third networks"
            ),
            component(id, Some(vpc_id), None),
            packet,
        ),
        (Some(Side::Eni(eni)), _) if cause.chain.as_deref() == Some("source") => because(
            "ENI_SOURCE_DEST_CHECK_RESTRICTION",
            format!(
                "{} may not send from {}, which is not its address, while its source/destination check is on",
                eni.eni_id, packet.source
            ),
            of_eni(eni, eni.eni_id.as_str()),
            packet,
        ),
        (_, Some(Side::Eni(eni))) => because(
            "ENI_SOURCE_DEST_CHECK_RESTRICTION",
            format!(
                "{} is not an address of {}, whose source/destination check is on",
                packet.destination, eni.eni_id
            ),
            of_eni(eni, eni.eni_id.as_str()),
            packet,
        ),
        _ => because(
            "NO_PATH",
            format!(
                "the router of {vpc_id} drops it ({})",
                cause.chain.as_deref().unwrap_or("no route")
            ),
            component(vpc_id.as_str(), Some(vpc_id), None),
            packet,
        ),
    }
}

/// In an interface's own namespace: nobody takes what it sends, or a NAT gateway does not translate it.
pub(super) fn at_interface(eni: &Eni, pass: &Pass<'_>, walked: &Walked) -> Explanation {
    let destination = pass.after.destination;
    let (code, text) = if pass.from.is_none() {
        let text = format!(
            "no interface of {} has {destination} ({})",
            eni.vpc_id,
            reason(walked)
        );
        ("NO_POSSIBLE_DESTINATION", text)
    } else {
        let text = format!(
            "{} does not pass it on: a NAT gateway carries TCP, UDP and ICMP that its VPC's interfaces open ({})",
            eni.eni_id,
            reason(walked)
        );
        ("PROTOCOL_RESTRICTION", text)
    };
    because(code, text, of_eni(eni, eni.eni_id.as_str()), pass.after)
}

pub(super) fn at_edge(pass: &Pass<'_>, walked: &Walked) -> Explanation {
    because(
        "NO_POSSIBLE_DESTINATION",
        format!(
            "nothing answers at {} ({})",
            pass.after.destination,
            reason(walked)
        ),
        component("internet", None, None),
        pass.after,
    )
}

pub(super) fn unnamed(walked: &Walked) -> Explanation {
    because(
        "NO_PATH",
        format!("dropped: {}", reason(walked)),
        component("unknown", None, None),
        walked.packet,
    )
}

fn reason(walked: &Walked) -> &str {
    match &walked.fate {
        Fate::Dropped(reason) => reason,
        Fate::Delivered { .. } => "delivered",
    }
}
