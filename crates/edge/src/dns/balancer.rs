//! Addresses behind the names of load balancers (facts ALB-4, ALB-5).
//!
//! Compiled by `tables` from the load balancers, their interfaces and what their nodes think of the targets.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use fogbank_types::elb::{ActionKind, LoadBalancer, LoadBalancerState, TargetGroup};
use fogbank_types::status::{Health, TargetHealth};
use fogbank_types::{EniId, Snapshot};
use rustc_hash::FxBuildHasher;

use super::addresses::Addresses;
use super::name::Name;
use super::services::is_dark;

/// Fact ALB-4.
pub const TTL: u32 = 60;

/// What is behind the name of a load balancer.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub addresses: Addresses,
    /// To an alias that evaluates it (fact DNS-12): one that has no target group can have no sick one.
    pub is_healthy: bool,
}

/// The names of all load balancers.
pub fn compile(snapshot: &Snapshot) -> HashMap<Name, Balancer, FxBuildHasher> {
    let groups = groups_in_use(snapshot);
    let health = health_by_node(snapshot);
    let mut names = HashMap::default();
    for balancer in snapshot.load_balancers.all() {
        if balancer.state == LoadBalancerState::Failed {
            continue;
        }
        let used = groups.get(balancer.arn.as_str());
        let compiled = compile_one(snapshot, balancer, used, &health);
        for name in [
            balancer.dns_name.clone(),
            format!("dualstack.{}", balancer.dns_name),
        ] {
            match Name::parse(&name) {
                Ok(name) => {
                    names.insert(name, compiled.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, arn = %balancer.arn, "a load balancer has no name")
                }
            }
        }
    }
    names
}

type HealthByNode<'a> = HashMap<(&'a EniId, &'a str), &'a TargetHealth>;

fn health_by_node(snapshot: &Snapshot) -> HealthByNode<'_> {
    snapshot
        .target_health
        .all()
        .map(|row| ((&row.eni_id, row.target_group_arn.as_str()), &**row))
        .collect()
}

/// The target groups that a load balancer's listeners and rules forward to, by its ARN.
fn groups_in_use(snapshot: &Snapshot) -> HashMap<&str, BTreeSet<&str>> {
    let mut used: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut balancer_of = HashMap::new();
    for listener in snapshot.listeners.all() {
        balancer_of.insert(listener.arn.as_str(), listener.load_balancer_arn.as_str());
        let set = used.entry(&listener.load_balancer_arn).or_default();
        forwards(&listener.default_actions, set);
    }
    for rule in snapshot.listener_rules.all() {
        if let Some(balancer) = balancer_of.get(rule.listener_arn.as_str()) {
            forwards(&rule.actions, used.entry(balancer).or_default());
        }
    }
    used
}

fn forwards<'a>(actions: &'a [fogbank_types::elb::Action], into: &mut BTreeSet<&'a str>) {
    for action in actions {
        if let ActionKind::Forward { groups, .. } = &action.kind {
            into.extend(groups.iter().map(|group| group.target_group_arn.as_str()));
        }
    }
}

/// Public addresses of an internet-facing one, private addresses of an internal one, of the zones that can
/// serve. If none can, all are given that are not dark, or simply all: there is nothing better to try.
fn compile_one(
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    used: Option<&BTreeSet<&str>>,
    health: &HealthByNode<'_>,
) -> Balancer {
    let groups: Vec<_> = used
        .into_iter()
        .flatten()
        .filter_map(|arn| snapshot.target_groups.get(&balancer.scope, arn))
        .collect();
    let nodes: Vec<_> = balancer
        .zones
        .iter()
        .filter_map(|zone| {
            let eni = snapshot.enis.get(&balancer.scope, &zone.eni_id)?;
            let address = if balancer.internal {
                Some(eni.private_ip)
            } else {
                snapshot.public_ip(eni, eni.private_ip)
            };
            let mut all: Vec<IpAddr> = address.map(IpAddr::V4).into_iter().collect();
            if balancer.ip_address_type.starts_with("dualstack") {
                all.extend(eni.ipv6_addresses.iter().copied().map(IpAddr::V6));
            }
            let rank = if is_dark(snapshot, &zone.zone) {
                Rank::Dark
            } else if can_serve(&groups, &zone.eni_id, &zone.zone, health) {
                Rank::Serves
            } else {
                Rank::Idle
            };
            // `dualstack-without-public-ipv4` has IPv6 addresses only.
            (!all.is_empty()).then_some((all, rank))
        })
        .collect();
    let best = nodes.iter().map(|(_, rank)| *rank).max();
    let mut addresses = Addresses::default();
    for (all, rank) in nodes {
        if Some(rank) == best {
            addresses.extend(all);
        }
    }
    Balancer {
        addresses,
        is_healthy: groups.is_empty() || best == Some(Rank::Serves),
    }
}

/// How good an answer a node is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Its zone has failed: nobody reaches it (fact REG-6).
    Dark,
    /// It sees no healthy target.
    Idle,
    Serves,
}

/// Whether a node sees enough healthy targets in each group that has targets for it, and in one group at least.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-health>
fn can_serve(
    groups: &[&std::sync::Arc<TargetGroup>],
    node: &EniId,
    zone: &str,
    health: &HealthByNode<'_>,
) -> bool {
    let mut any = false;
    for group in groups {
        let crosses = group
            .attributes
            .get("load_balancing.cross_zone.enabled")
            .is_none_or(|value| value != "false");
        let targets: Vec<_> = group
            .targets
            .iter()
            .filter(|target| target.draining_since.is_none())
            .filter(|target| crosses || target.zone.as_deref().is_none_or(|z| z == zone))
            .collect();
        if targets.is_empty() {
            continue;
        }
        let Some(row) = health.get(&(node, group.arn.as_str())) else {
            return false;
        };
        let is_healthy = |target: &&&fogbank_types::elb::Target| {
            row.targets.iter().any(|state| {
                state.health == Health::Healthy
                    && (state.ip, state.port) == (target.ip, target.port)
            })
        };
        let healthy = targets.iter().filter(is_healthy).count();
        if !is_enough(group, healthy, targets.len()) {
            return false;
        }
        any = true;
    }
    any
}

/// Whether neither threshold of `target_group_health.dns_failover` is breached: one target, unless it says otherwise.
fn is_enough(group: &TargetGroup, healthy: usize, registered: usize) -> bool {
    let threshold = |kind: &str, default: usize| {
        let key = format!("target_group_health.dns_failover.minimum_healthy_targets.{kind}");
        let value = group.attributes.get(&key);
        value.map_or(default, |value| value.parse().unwrap_or(0))
    };
    let (count, percentage) = (threshold("count", 1), threshold("percentage", 0));
    healthy >= count && healthy * 100 >= percentage * registered
}
