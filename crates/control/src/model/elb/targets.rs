//! Targets: registering, deregistering, and what is known of their health (facts TGT-1, TGT-2, TGT-5 to TGT-9).
//!
//! Called by `api::elbv2` and by ECS, whose services register their tasks. A target that is deregistered drains
//! (if anything could send to it) and is removed by `reconcile::target_draining`.
//!
//! AWS does not say how it makes one state of what several nodes see. Here: all living nodes that would send to
//! the target must call it healthy; one that calls it unhealthy makes it unhealthy. So `healthy` means that a
//! request is answered whichever node gets it.

use super::attributes::delay_ms;
use super::limits::Limits;
use super::{Refusal, arns, invalid, target_group_attributes, usage};
use crate::model::tx::Tx;
use fogbank_types::ec2::{Eni, EniOwner, Subnet, Vpc};
use fogbank_types::elb::{LoadBalancer, LoadBalancerZone, Target, TargetGroup};
use fogbank_types::status::{Health, TargetState};
use fogbank_types::{IpCidr, Scope, Snapshot, Timestamp};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Blocks outside the VPC that may hold targets: RFC 1918 and RFC 6598.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-type>
const ALLOWED_OUTSIDE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// A target as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget {
    pub ip: IpAddr,
    /// `None` = the group's port.
    pub port: Option<u16>,
    /// A zone's name or `all`.
    pub zone: Option<String>,
}

impl NamedTarget {
    /// Addresses come as text. An instance id is never found: this region has no instances.
    pub fn parse(
        group: &TargetGroup,
        id: &str,
        port: Option<u16>,
        zone: Option<String>,
    ) -> Result<Self, Refusal> {
        if group.target_type == "instance" {
            return Err(Refusal::InvalidTarget(format!(
                "The following targets are not in a running state and cannot be registered: '{id}'"
            )));
        }
        let (family, ip) = match group.ip_address_type.as_str() {
            "ipv6" => ("IPv6", id.parse().map(IpAddr::V6).ok()),
            _ => ("IPv4", id.parse().map(IpAddr::V4).ok()),
        };
        let ip = ip.ok_or_else(|| {
            invalid(format!(
                "The IP address '{id}' is not a valid {family} address"
            ))
        })?;
        Ok(Self { ip, port, zone })
    }
}

/// What a load balancer thinks of a target, over all its nodes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum State {
    Initial,
    Healthy,
    Unhealthy,
    Unused,
    Draining,
    Unavailable,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A target with its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetReport {
    pub ip: IpAddr,
    pub port: u16,
    /// `None` = `all`, outside the VPC.
    pub zone: Option<String>,
    pub state: State,
    pub reason: Option<String>,
    pub description: Option<String>,
}

/// Registers addresses in the group's VPC. Registering one that is there already changes nothing; one that drains is back.
pub fn register(
    tx: &mut Tx,
    scope: &Scope,
    target_group_arn: &str,
    targets: &[(Ipv4Addr, u16)],
) -> Result<(), Refusal> {
    let named: Vec<_> = targets.iter().map(plainly).collect();
    register_named(tx, scope, target_group_arn, &named)
}

/// Starts draining. Targets that are not registered are passed over, as AWS does.
pub fn deregister(
    tx: &mut Tx,
    scope: &Scope,
    target_group_arn: &str,
    targets: &[(Ipv4Addr, u16)],
) -> Result<(), Refusal> {
    let named: Vec<_> = targets.iter().map(plainly).collect();
    deregister_named(tx, scope, target_group_arn, &named)
}

fn plainly((ip, port): &(Ipv4Addr, u16)) -> NamedTarget {
    NamedTarget {
        ip: IpAddr::V4(*ip),
        port: Some(*port),
        zone: None,
    }
}

/// As `register`, with the port and zone that the caller may leave out. All or none.
pub fn register_named(
    tx: &mut Tx,
    scope: &Scope,
    target_group_arn: &str,
    targets: &[NamedTarget],
) -> Result<(), Refusal> {
    let mut group = TargetGroup::clone(arns::find_target_group(
        tx.snapshot(),
        scope,
        target_group_arn,
    )?);
    for named in targets {
        let zone = zone_of(tx.snapshot(), scope, &group, named)?;
        let port = named.port.unwrap_or(group.port);
        let known = group
            .targets
            .iter_mut()
            .find(|t| t.ip == named.ip && t.port == port);
        match known {
            Some(target) if target.draining_since.is_some() => {
                target.draining_since = None;
                target.registered_at = tx.now();
            }
            Some(_) => {}
            None => group.targets.push(Target {
                ip: named.ip,
                port,
                zone,
                registered_at: tx.now(),
                draining_since: None,
            }),
        }
    }
    if group.targets.len() > Limits::of(tx.config()).targets_per_load_balancer {
        return Err(Refusal::TooManyTargets(group.arn));
    }
    put_if_changed(tx, scope, group);
    Ok(())
}

/// As `deregister`; a target without a port means the group's.
pub fn deregister_named(
    tx: &mut Tx,
    scope: &Scope,
    target_group_arn: &str,
    targets: &[NamedTarget],
) -> Result<(), Refusal> {
    let mut group = TargetGroup::clone(arns::find_target_group(
        tx.snapshot(),
        scope,
        target_group_arn,
    )?);
    let now = tx.now();
    let port = group.port;
    let meant = |target: &Target| {
        let same = |n: &NamedTarget| n.ip == target.ip && n.port.unwrap_or(port) == target.port;
        targets.iter().any(same)
    };
    // A group that no listener uses has nothing to drain (`unused` goes straight away).
    let used = usage::load_balancer_of(tx.snapshot(), scope, target_group_arn).is_some();
    if used && delay_ms(&group) > 0 {
        for target in group.targets.iter_mut().filter(|t| meant(t)) {
            target.draining_since.get_or_insert(now);
        }
    } else {
        group.targets.retain(|target| !meant(target));
    }
    put_if_changed(tx, scope, group);
    Ok(())
}

fn put_if_changed(tx: &mut Tx, scope: &Scope, group: TargetGroup) {
    let before = tx.snapshot().target_groups.get(scope, &group.arn);
    if before.is_none_or(|before| **before != group) {
        tx.put(group);
    }
}

/// Removes the targets whose delay has passed; says when the next one is due.
pub fn finish_draining(tx: &mut Tx) -> Option<Timestamp> {
    let mut next: Option<Timestamp> = None;
    let draining: Vec<TargetGroup> = tx
        .snapshot()
        .target_groups
        .all()
        .filter(|g| g.targets.iter().any(|t| t.draining_since.is_some()))
        .map(|g| TargetGroup::clone(g))
        .collect();
    for mut group in draining {
        let delay = tx.config().scaled_ms(delay_ms(&group)) as i64;
        let now = tx.now();
        let before = group.targets.len();
        group.targets.retain(|target| {
            let Some(since) = target.draining_since else {
                return true;
            };
            let due = since.plus_ms(delay);
            if due > now {
                next = Some(next.map_or(due, |n| n.min(due)));
            }
            due > now
        });
        if group.targets.len() != before {
            tx.put(group);
        }
    }
    next
}

/// The zone that a target counts for, or why it can't be one.
fn zone_of(
    snapshot: &Snapshot,
    scope: &Scope,
    group: &TargetGroup,
    named: &NamedTarget,
) -> Result<Option<String>, Refusal> {
    let ip = named.ip;
    let vpc = snapshot.vpcs.get(scope, &group.vpc_id);
    if vpc.is_some_and(|vpc| holds(vpc, ip)) {
        return zone_inside(snapshot, scope, group, named).map(Some);
    }
    // IPv6 targets outside the VPC are not AWS's either: every block is public.
    let allowed = ALLOWED_OUTSIDE.iter().any(|(base, length)| {
        let block = IpCidr::containing(IpAddr::V4(*base), *length);
        block.is_some_and(|block| block.contains(ip))
    });
    if !allowed {
        return Err(invalid(format!(
            "The IP address '{ip}' is not within the VPC '{}' and not in an allowed private address range",
            group.vpc_id
        )));
    }
    match named.zone.as_deref() {
        Some("all") => Ok(None),
        _ => Err(invalid(format!(
            "The IP address '{ip}' is outside the VPC '{}': the Availability Zone must be 'all'",
            group.vpc_id
        ))),
    }
}

fn holds(vpc: &Vpc, ip: IpAddr) -> bool {
    vpc.all_blocks().any(|block| block.contains(ip))
}

fn is_in(subnet: &Subnet, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => subnet.cidr_block.contains(ip),
        IpAddr::V6(ip) => subnet.ipv6_block().is_some_and(|block| block.contains(ip)),
    }
}

fn zone_inside(
    snapshot: &Snapshot,
    scope: &Scope,
    group: &TargetGroup,
    named: &NamedTarget,
) -> Result<String, Refusal> {
    let ip = named.ip;
    let subnet: &Subnet = snapshot
        .subnets
        .in_scope(scope)
        .find(|s| s.vpc_id == group.vpc_id && is_in(s, ip))
        .ok_or_else(|| {
            Refusal::InvalidTarget(format!(
                "The following targets are not in a subnet of the target group VPC '{}': '{ip}'",
                group.vpc_id
            ))
        })?;
    let balancer_owns = |eni: &std::sync::Arc<Eni>| {
        matches!(eni.owner, EniOwner::LoadBalancer(_)) && eni.all_addresses().any(|own| own == ip)
    };
    let mut enis = snapshot.enis.in_scope(scope);
    if enis.any(|eni| eni.vpc_id == group.vpc_id && balancer_owns(eni)) {
        return Err(Refusal::InvalidTarget(format!(
            "The following targets are in use by a load balancer: '{ip}'"
        )));
    }
    match named.zone.as_deref() {
        Some(zone) if zone != subnet.zone && zone != "all" => Err(invalid(format!(
            "The IP address '{ip}' is not in the Availability Zone '{zone}'"
        ))),
        _ => Ok(subnet.zone.clone()),
    }
}

/// The registered targets of a group and what its load balancer's nodes think of them.
pub fn health(snapshot: &Snapshot, group: &TargetGroup) -> Vec<TargetReport> {
    let user = usage::load_balancer_of(snapshot, &group.scope, &group.arn)
        .and_then(|arn| snapshot.load_balancers.get(&group.scope, arn));
    let nodes = user.map_or_else(Vec::new, |user| nodes(snapshot, user, group));
    let report = |target: &Target| {
        let (state, reason, description) = match user {
            _ if target.draining_since.is_some() => draining(),
            None => {
                unused("Target group is not configured to receive traffic from the load balancer")
            }
            Some(load_balancer) => state_of(&nodes, load_balancer, group, target),
        };
        TargetReport {
            ip: target.ip,
            port: target.port,
            zone: target.zone.clone(),
            state,
            reason,
            description,
        }
    };
    group.targets.iter().map(report).collect()
}

type Verdict = (State, Option<String>, Option<String>);

fn verdict(state: State, reason: &str, description: &str) -> Verdict {
    (state, Some(reason.to_owned()), Some(description.to_owned()))
}

fn draining() -> Verdict {
    verdict(
        State::Draining,
        "Target.DeregistrationInProgress",
        "Target deregistration is in progress",
    )
}

fn unused(description: &str) -> Verdict {
    verdict(State::Unused, "Target.NotInUse", description)
}

/// What is said of a target that was asked about and is not registered.
pub fn not_registered() -> Verdict {
    verdict(
        State::Unused,
        "Target.NotRegistered",
        "Target is not registered to the target group",
    )
}

/// What one node of a load balancer says of a group's targets.
struct Node<'a> {
    zone: &'a str,
    lives: bool,
    targets: HashMap<(IpAddr, u16), &'a TargetState>,
}

/// Read once for all targets: a group may have a thousand.
fn nodes<'a>(
    snapshot: &'a Snapshot,
    load_balancer: &'a LoadBalancer,
    group: &TargetGroup,
) -> Vec<Node<'a>> {
    let node = |zone: &'a LoadBalancerZone| {
        let id = format!("{}/{}", group.arn, zone.eni_id);
        let row = snapshot.target_health.get(&group.scope, id);
        let states = row.iter().flat_map(|row| &row.targets);
        let mut targets = HashMap::new();
        for state in states {
            targets.entry((state.ip, state.port)).or_insert(state);
        }
        Node {
            zone: &zone.zone,
            lives: snapshot
                .load_balancer_nodes
                .contains(&group.scope, &zone.eni_id),
            targets,
        }
    };
    load_balancer.zones.iter().map(node).collect()
}

fn state_of(
    nodes: &[Node<'_>],
    load_balancer: &LoadBalancer,
    group: &TargetGroup,
    target: &Target,
) -> Verdict {
    let zone_is_enabled = |zone: &String| load_balancer.zones.iter().any(|z| z.zone == *zone);
    if !target.zone.as_ref().is_none_or(zone_is_enabled) {
        return unused(
            "Target is in an Availability Zone that is not enabled for the load balancer",
        );
    }
    if !group.health_check.enabled {
        return verdict(
            State::Unavailable,
            "Target.HealthCheckDisabled",
            "Health checks are disabled for this target",
        );
    }
    let cross_zone = target_group_attributes::cross_zone(group);
    let sends = |zone: &str| cross_zone || target.zone.as_deref().is_none_or(|own| own == zone);
    let mut seen = Vec::new();
    for node in nodes.iter().filter(|node| sends(node.zone)) {
        let known = node.targets.get(&(target.ip, target.port)).copied();
        // A node that is gone has no say; one that lives and has not checked yet has.
        if node.lives || known.is_some() {
            seen.push(known);
        }
    }
    combined(&seen)
}

/// One state of many: unhealthy before initial before unavailable before healthy.
fn combined(seen: &[Option<&TargetState>]) -> Verdict {
    let first = |health: Health| seen.iter().flatten().find(|s| s.health == health);
    let say =
        |state: State, from: &TargetState| (state, from.reason.clone(), from.description.clone());
    if let Some(from) = first(Health::Unhealthy) {
        return say(State::Unhealthy, from);
    }
    if seen.is_empty() || seen.iter().all(Option::is_none) {
        return verdict(
            State::Initial,
            "Elb.RegistrationInProgress",
            "Target registration is in progress",
        );
    }
    if let Some(from) = first(Health::Initial) {
        return say(State::Initial, from);
    }
    if seen.iter().any(Option::is_none) {
        return verdict(
            State::Initial,
            "Elb.InitialHealthChecking",
            "Initial health checks in progress",
        );
    }
    match first(Health::Unavailable) {
        Some(from) => say(State::Unavailable, from),
        None => (State::Healthy, None, None),
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
