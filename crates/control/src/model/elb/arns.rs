//! ARNs of load balancers and what belongs to them, and the rows they name.
//!
//! An ARN of a listener holds that of its load balancer, an ARN of a rule that of its listener, so the rows
//! below a row are a range of the table. Callers: everything in `model::elb` and `api::elbv2`.

use super::{Refusal, invalid};
use fogbank_types::elb::{Listener, ListenerRule, LoadBalancer, TargetGroup, TrustStore};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

const SERVICE: &str = "elasticloadbalancing";

/// What an ARN is of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    LoadBalancer,
    TargetGroup,
    Listener,
    Rule,
    TrustStore,
}

pub fn load_balancer(scope: &Scope, name: &str, tail: &str) -> String {
    scope.arn(SERVICE, &format!("loadbalancer/app/{name}/{tail}"))
}

pub fn target_group(scope: &Scope, name: &str, tail: &str) -> String {
    scope.arn(SERVICE, &format!("targetgroup/{name}/{tail}"))
}

pub fn listener(load_balancer_arn: &str, tail: &str) -> String {
    format!("{}{tail}", listeners_prefix(load_balancer_arn))
}

pub fn rule(listener_arn: &str, tail: &str) -> String {
    format!("{}{tail}", rules_prefix(listener_arn))
}

pub fn trust_store(scope: &Scope, name: &str, tail: &str) -> String {
    scope.arn(SERVICE, &format!("truststore/{name}/{tail}"))
}

/// How the ARNs of a load balancer's listeners begin.
pub fn listeners_prefix(load_balancer_arn: &str) -> String {
    format!(
        "{}/",
        load_balancer_arn.replacen(":loadbalancer/", ":listener/", 1)
    )
}

/// How the ARNs of a listener's rules begin.
pub fn rules_prefix(listener_arn: &str) -> String {
    format!(
        "{}/",
        listener_arn.replacen(":listener/", ":listener-rule/", 1)
    )
}

/// The default rule is no row; its ARN follows from its listener's.
pub fn default_rule(listener_arn: &str) -> String {
    let tail = listener_arn.rsplit('/').next().unwrap_or("");
    let bits = u64::from_str_radix(tail, 16).unwrap_or(0);
    // An odd factor makes it one-to-one: two listeners never share a default rule.
    let mixed = (bits ^ 0x5bd1_e995_7f4a_7c15).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    rule(listener_arn, &format!("{mixed:016x}"))
}

/// What kind of ARN of this service it is, by its form.
pub fn kind(arn: &str) -> Option<Kind> {
    let mut parts = arn.splitn(6, ':');
    let well_formed = parts.next() == Some("arn")
        && parts.next().is_some_and(|p| p.starts_with("aws"))
        && parts.next() == Some(SERVICE);
    let resource = parts.nth(2).filter(|_| well_formed)?;
    let steps: Vec<&str> = resource.split('/').collect();
    if steps.iter().any(|step| step.is_empty()) {
        return None;
    }
    match steps.as_slice() {
        ["loadbalancer", "app" | "net" | "gwy", _, _] => Some(Kind::LoadBalancer),
        ["truststore", _, _] => Some(Kind::TrustStore),
        ["targetgroup", _, _] => Some(Kind::TargetGroup),
        ["listener", "app" | "net" | "gwy", _, _, _] => Some(Kind::Listener),
        ["listener-rule", "app" | "net", _, _, _, _] => Some(Kind::Rule),
        _ => None,
    }
}

/// Ends in what CloudWatch calls the resource: `app/<name>/<tail>`.
pub fn suffix(arn: &str) -> &str {
    arn.split_once(":loadbalancer/").map_or(arn, |(_, s)| s)
}

fn check(arn: &str, wanted: Kind, noun: &str) -> Result<(), Refusal> {
    if kind(arn) == Some(wanted) {
        Ok(())
    } else {
        Err(invalid(format!("'{arn}' is not a valid {noun} ARN")))
    }
}

pub fn find_load_balancer<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<LoadBalancer>, Refusal> {
    check(arn, Kind::LoadBalancer, "load balancer")?;
    let row = snapshot.load_balancers.get(scope, arn);
    row.ok_or(Refusal::LoadBalancerNotFound)
}

pub fn find_target_group<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<TargetGroup>, Refusal> {
    check(arn, Kind::TargetGroup, "target group")?;
    let row = snapshot.target_groups.get(scope, arn);
    row.ok_or(Refusal::TargetGroupNotFound)
}

pub fn find_listener<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<Listener>, Refusal> {
    check(arn, Kind::Listener, "listener")?;
    let row = snapshot.listeners.get(scope, arn);
    row.ok_or(Refusal::ListenerNotFound)
}

pub fn find_trust_store<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<TrustStore>, Refusal> {
    check(arn, Kind::TrustStore, "trust store")?;
    let row = snapshot.trust_stores.get(scope, arn);
    row.ok_or_else(|| Refusal::TrustStoreNotFound(arn.to_owned()))
}

/// A rule of its own, or the default rule of a listener.
pub enum FoundRule<'a> {
    Rule(&'a Arc<ListenerRule>),
    Default(&'a Arc<Listener>),
}

pub fn find_rule<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<FoundRule<'a>, Refusal> {
    check(arn, Kind::Rule, "listener rule")?;
    if let Some(rule) = snapshot.listener_rules.get(scope, arn) {
        return Ok(FoundRule::Rule(rule));
    }
    let parent = arn.rsplit_once('/').map_or(arn, |(parent, _)| parent);
    let listener_arn = parent.replacen(":listener-rule/", ":listener/", 1);
    snapshot
        .listeners
        .get(scope, &listener_arn)
        .filter(|listener| default_rule(&listener.arn) == arn)
        .map(FoundRule::Default)
        .ok_or(Refusal::RuleNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_have_awss_form() {
        let scope = Scope::new("000000000000", "us-east-1");
        let lb = load_balancer(&scope, "api", "0123456789abcdef");
        assert_eq!(
            lb,
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/api/0123456789abcdef"
        );
        assert_eq!(kind(&lb), Some(Kind::LoadBalancer));
        let l = listener(&lb, "1111111111111111");
        assert!(l.ends_with(":listener/app/api/0123456789abcdef/1111111111111111"));
        assert_eq!(kind(&l), Some(Kind::Listener));
        let r = rule(&l, "2222222222222222");
        assert!(r.ends_with(
            ":listener-rule/app/api/0123456789abcdef/1111111111111111/2222222222222222"
        ));
        assert_eq!(kind(&r), Some(Kind::Rule));
        assert_eq!(kind(&default_rule(&l)), Some(Kind::Rule));
        let store = trust_store(&scope, "clients", "0123456789abcdef");
        assert_eq!(kind(&store), Some(Kind::TrustStore));
        let group = target_group(&scope, "api", "0123456789abcdef");
        assert_eq!(kind(&group), Some(Kind::TargetGroup));
        assert_eq!(suffix(&lb), "app/api/0123456789abcdef");
    }

    #[test]
    fn other_texts_are_no_arns() {
        for text in [
            "",
            "api",
            "arn:aws:elasticloadbalancing:us-east-1:0:loadbalancer/app/api",
            "arn:aws:elasticloadbalancing:us-east-1:0:loadbalancer/app//x",
            "arn:aws:ec2:us-east-1:0:targetgroup/a/b",
            "arn:aws:elasticloadbalancing:us-east-1:0",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
