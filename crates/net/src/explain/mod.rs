//! Why a packet gets through or not: the way through the compiled program, told in AWS's nouns.
//!
//! One evaluator (`eval`) decides; this module only gives names to what it did, by looking rows up in
//! the snapshot that the program was compiled from. Called by `fogbank reach`, by the node for the
//! Reachability Analyzer and before image pulls, and by tests.
//!
//! What must stay true: nothing here decides. If the evaluator lets a packet pass, so says the answer,
//! even where no row can be named for it.
//!
//! <https://docs.aws.amazon.com/vpc/latest/reachability/how-reachability-analyzer-works.html>

mod blame;
mod party;
mod rows;

pub use blame::traffic;
pub use party::{Party, Question, Unclear, endpoint_addresses};

use crate::eval::{Event, Ruling, Step, Walked, walk, walk_back};
use crate::packet::{Endpoint, Fate, Packet};
use crate::program::{Program, Role, Route, RouteKey, RoutingRule};
use fogbank_types::diagnosis::{Decision, Explanation, PathComponent, PathHop, PathPacket};
use fogbank_types::ec2::{Eni, EniOwner};
use fogbank_types::{RegionConfig, Snapshot, VpcId};
use rows::Rows;
use std::sync::Arc;

/// The port that a client is taken to call from: the lowest of the range that IANA gives to them.
const CLIENT_PORT: u16 = 49_152;

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub packet: Packet,
    /// There and back.
    pub reachable: bool,
    pub forward: Vec<PathHop>,
    pub back: Vec<PathHop>,
    /// Why not; empty if reachable.
    pub explanations: Vec<Explanation>,
}

/// The way of the question's packet and of the reply to it.
pub fn explain(
    snapshot: &Snapshot,
    config: &RegionConfig,
    program: &Program,
    question: &Question,
) -> Answer {
    let rows = Rows::new(snapshot, config);
    let there = walk(program, config, &question.origin, question.packet, false);
    let (forward, mut explanations) = told(&rows, &there, false);
    let mut back = Vec::new();
    let reply = match question.packet.protocol {
        // Echo reply of both families.
        1 => 0,
        58 => 129 << 8,
        _ => CLIENT_PORT,
    };
    let mut returned = false;
    if let Some(walked) = walk_back(program, &there, reply) {
        let (hops, blocked) = told(&rows, &walked, true);
        returned = matches!(walked.fate, Fate::Delivered { .. });
        back = hops;
        explanations.extend(blocked.into_iter().map(|mut explanation| {
            explanation.text = format!("the reply is lost: {}", explanation.text);
            explanation
        }));
    }
    Answer {
        packet: question.packet,
        reachable: matches!(there.fate, Fate::Delivered { .. }) && returned,
        forward,
        back,
        explanations,
    }
}

/// One namespace's part of the way.
struct Pass<'a> {
    role: &'a Role,
    from: Option<&'a str>,
    to: Option<&'a str>,
    route: Option<(Option<&'a RoutingRule>, &'a RouteKey, &'a Route)>,
    unrouted: bool,
    /// Chain whose rule dropped it.
    dropped_by: Option<&'a str>,
    before: Packet,
    after: Packet,
}

fn passes(walked: &Walked) -> Vec<Pass<'_>> {
    let mut all: Vec<Pass<'_>> = Vec::new();
    for step in &walked.steps {
        if let Event::Arrived { device } = &step.event {
            all.push(Pass {
                role: &step.role,
                from: device.as_deref(),
                to: None,
                route: None,
                unrouted: false,
                dropped_by: None,
                before: step.packet,
                after: step.packet,
            });
        }
        if let Some(pass) = all.last_mut() {
            note(pass, step);
        }
    }
    all
}

fn note<'a>(pass: &mut Pass<'a>, step: &'a Step) {
    pass.after = step.packet;
    match &step.event {
        Event::Routed { rule, key, route } => {
            pass.route = Some((rule.as_ref(), key, route));
            pass.to = match route {
                Route::Blackhole => None,
                Route::Device(device) | Route::Via { device, .. } => Some(device),
            };
        }
        Event::Unrouted { .. } => pass.unrouted = true,
        Event::Rule {
            chain,
            ruling: Ruling::Drop,
            ..
        } => pass.dropped_by = Some(chain),
        _ => {}
    }
}

/// Where a VPC's device leads.
enum Side {
    Eni(Arc<Eni>),
    InternetGateway,
    /// The way to AWS's services that gateway endpoints open, by the endpoint's id.
    Endpoint(String),
    Peering(String),
}

/// Hops in order, and why it ended if it was dropped.
fn told(rows: &Rows<'_>, walked: &Walked, reply: bool) -> (Vec<PathHop>, Vec<Explanation>) {
    let mut hops = Vec::new();
    let mut explanations = Vec::new();
    let passes = passes(walked);
    let dropped = matches!(walked.fate, Fate::Dropped(_));
    for (index, pass) in passes.iter().enumerate() {
        let last = index + 1 == passes.len();
        let blocked = dropped && last;
        match pass.role {
            Role::Vpc(vpc_id) => {
                let found = through_vpc(rows, vpc_id, pass, (blocked, reply), &mut hops);
                explanations.extend(found);
            }
            Role::Eni(id) => {
                if let Some(eni) = rows.eni(id) {
                    hops.push(at_interface(eni, pass));
                    if blocked {
                        explanations.push(blame::at_interface(eni, pass, walked));
                    }
                }
            }
            Role::Edge | Role::Host => {
                let id = match &walked.fate {
                    Fate::Delivered {
                        to: Endpoint::Service(address),
                        ..
                    } if last => rows.service_name(*address),
                    _ => "internet".to_owned(),
                };
                let doubled = hops
                    .last()
                    .is_some_and(|hop: &PathHop| hop.component.id == id);
                if !doubled {
                    hops.push(hop(component(id, None, None), pass.after, None));
                }
                if blocked {
                    explanations.push(blame::at_edge(pass, walked));
                }
            }
        }
    }
    if dropped && explanations.is_empty() {
        explanations.push(blame::unnamed(walked));
    }
    (hops, explanations)
}

fn hop(component: PathComponent, packet: Packet, decided_by: Option<Decision>) -> PathHop {
    PathHop {
        component,
        packet: path_packet(packet),
        decided_by,
    }
}

fn path_packet(packet: Packet) -> PathPacket {
    PathPacket {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        detail: packet.detail,
    }
}

fn component(
    id: impl Into<String>,
    vpc_id: Option<&VpcId>,
    subnet_id: Option<&fogbank_types::SubnetId>,
) -> PathComponent {
    PathComponent {
        id: id.into(),
        vpc_id: vpc_id.cloned(),
        subnet_id: subnet_id.cloned(),
    }
}

fn of_eni(eni: &Eni, id: impl Into<String>) -> PathComponent {
    component(id, Some(&eni.vpc_id), Some(&eni.subnet_id))
}

/// The namespace of an interface: where the packet starts or ends, or a NAT gateway on its way.
fn at_interface(eni: &Eni, pass: &Pass<'_>) -> PathHop {
    let id = match &eni.owner {
        EniOwner::NatGateway(id) => id.to_string(),
        _ => eni.eni_id.to_string(),
    };
    hop(of_eni(eni, id), pass.after, None)
}

/// A VPC's router: groups, ACLs and routes in AWS's order (fact ACL-9).
fn through_vpc(
    rows: &Rows<'_>,
    vpc_id: &VpcId,
    pass: &Pass<'_>,
    (blocked, reply): (bool, bool),
    hops: &mut Vec<PathHop>,
) -> Option<Explanation> {
    let from = pass.from.and_then(|device| rows.side(vpc_id, device));
    let to = pass.to.and_then(|device| rows.side(vpc_id, device));
    // Inside, packets carry private addresses: as after translation on the way in, before it on the way out.
    let inside = if matches!(from, Some(Side::InternetGateway)) {
        pass.after
    } else {
        pass.before
    };
    let cause = blocked.then(|| blame::Cause::of(pass));
    let stops_at = |place: blame::Place| cause.as_ref().is_some_and(|cause| cause.place == place);
    let explain = |cause: &blame::Cause| {
        blame::in_vpc(
            rows,
            vpc_id,
            cause,
            pass,
            inside,
            from.as_ref(),
            to.as_ref(),
        )
    };
    if pass.to.is_none() && !blocked {
        // The router itself took it: neither groups nor ACLs filter the resolver and its like (fact VPC-11).
        hops.push(hop(
            component(vpc_id.as_str(), Some(vpc_id), None),
            inside,
            None,
        ));
        return None;
    }
    match &from {
        Some(Side::InternetGateway) => {
            let id = rows.internet_gateway(vpc_id).unwrap_or("internet gateway");
            hops.push(hop(component(id, Some(vpc_id), None), inside, None));
        }
        Some(Side::Peering(id) | Side::Endpoint(id)) => {
            hops.push(hop(component(id, Some(vpc_id), None), inside, None));
        }
        _ => {}
    }
    if stops_at(blame::Place::Entry) || stops_at(blame::Place::Platform) {
        return cause.as_ref().map(explain);
    }
    let crosses = match (&from, &to) {
        (Some(Side::Eni(a)), Some(Side::Eni(b))) => a.subnet_id != b.subnet_id,
        _ => true,
    };
    if let Some(Side::Eni(eni)) = &from {
        if stops_at(blame::Place::Egress) {
            return cause.as_ref().map(explain);
        }
        // The kernel routes first: what it cannot route was never shown to groups and ACLs.
        if stops_at(blame::Place::Route) {
            return cause.as_ref().map(explain);
        }
        hops.extend(rows.group_hop(eni, inside, true, reply));
        if stops_at(blame::Place::AclOut) {
            return cause.as_ref().map(explain);
        }
        if crosses {
            hops.extend(rows.acl_hop(eni, inside, true));
        }
        hops.extend(rows.route_hop(eni, inside));
    }
    match &to {
        Some(Side::Eni(eni)) => {
            if stops_at(blame::Place::AclIn) {
                return cause.as_ref().map(explain);
            }
            if crosses {
                hops.extend(rows.acl_hop(eni, inside, false));
            }
            if cause.is_none() {
                hops.extend(rows.group_hop(eni, inside, false, reply));
            }
        }
        Some(Side::InternetGateway | Side::Endpoint(_)) if cause.is_none() => {
            let id = rows.way_out(vpc_id, from.as_ref(), inside);
            hops.push(hop(component(id, Some(vpc_id), None), pass.after, None));
        }
        Some(Side::Peering(id)) if cause.is_none() => {
            hops.push(hop(component(id, Some(vpc_id), None), pass.after, None));
        }
        _ => {}
    }
    cause.as_ref().map(explain)
}
