//! Who uses a target group: the load balancers whose listeners and rules forward to it.
//!
//! A group belongs to one load balancer at most (fact TGT-2); nothing is stored for that, the actions say it.

use fogbank_types::elb::{Action, ActionKind};
use fogbank_types::{Scope, Snapshot};
use std::collections::{BTreeMap, BTreeSet};

/// The target groups that an action forwards to.
pub fn forwarded(action: &Action) -> impl Iterator<Item = &str> {
    let groups = match &action.kind {
        ActionKind::Forward { groups, .. } => groups.as_slice(),
        ActionKind::Redirect { .. }
        | ActionKind::FixedResponse { .. }
        | ActionKind::AuthenticateOidc(_)
        | ActionKind::JwtValidation(_) => &[],
    };
    groups.iter().map(|group| group.target_group_arn.as_str())
}

/// Every target group in use, with the load balancers that use it.
pub fn index(snapshot: &Snapshot, scope: &Scope) -> BTreeMap<String, BTreeSet<String>> {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |actions: &[Action], load_balancer_arn: &str| {
        for group in actions.iter().flat_map(forwarded) {
            let of_group = users.entry(group.to_owned()).or_default();
            of_group.insert(load_balancer_arn.to_owned());
        }
    };
    for listener in snapshot.listeners.in_scope(scope) {
        note(&listener.default_actions, &listener.load_balancer_arn);
    }
    for rule in snapshot.listener_rules.in_scope(scope) {
        if let Some(listener) = snapshot.listeners.get(scope, &rule.listener_arn) {
            note(&rule.actions, &listener.load_balancer_arn);
        }
    }
    users
}

/// The load balancer that uses the group, if any.
pub fn load_balancer_of(snapshot: &Snapshot, scope: &Scope, group_arn: &str) -> Option<String> {
    let names = |actions: &[Action]| actions.iter().flat_map(forwarded).any(|g| g == group_arn);
    let by_default = snapshot
        .listeners
        .in_scope(scope)
        .find(|listener| names(&listener.default_actions));
    if let Some(listener) = by_default {
        return Some(listener.load_balancer_arn.clone());
    }
    snapshot
        .listener_rules
        .in_scope(scope)
        .filter(|rule| names(&rule.actions))
        .find_map(|rule| snapshot.listeners.get(scope, &rule.listener_arn))
        .map(|listener| listener.load_balancer_arn.clone())
}

/// The target groups that a load balancer forwards to.
pub fn groups_of(snapshot: &Snapshot, scope: &Scope, load_balancer_arn: &str) -> BTreeSet<String> {
    index(snapshot, scope)
        .into_iter()
        .filter(|(_, users)| users.contains(load_balancer_arn))
        .map(|(group, _)| group)
        .collect()
}

/// The ARNs of the load balancers whose listeners have the certificate: what Certificate Manager calls InUseBy, and
/// why it does not delete it.
pub fn of_certificate(snapshot: &Snapshot, scope: &Scope, certificate_arn: &str) -> Vec<String> {
    let users: BTreeSet<String> = snapshot
        .listeners
        .in_scope(scope)
        .filter(|listener| listener.certificates.iter().any(|c| c == certificate_arn))
        .map(|listener| listener.load_balancer_arn.clone())
        .collect();
    users.into_iter().collect()
}

/// The ARNs of the listeners that verify clients with the trust store.
pub fn of_trust_store(snapshot: &Snapshot, scope: &Scope, trust_store_arn: &str) -> Vec<String> {
    let names = |listener: &&std::sync::Arc<fogbank_types::elb::Listener>| {
        let mutual = listener.mutual_authentication.as_ref();
        mutual.and_then(|m| m.trust_store_arn.as_deref()) == Some(trust_store_arn)
    };
    let listeners = snapshot.listeners.in_scope(scope).filter(names);
    listeners.map(|listener| listener.arn.clone()).collect()
}
