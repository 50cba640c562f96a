//! Attributes of target groups (facts TGT-9 to TGT-13).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html>

use super::attributes::{self, Attribute, Values};
use super::load_balancer_attributes::table;
use super::{Refusal, arns, invalid};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::elb::TargetGroup;

/// In the order of AWS's answers.
pub static TABLE: &[Attribute] = table! {
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count" = "1", Values::Number(1, 1000);
    "stickiness.enabled" = "false", Values::Boolean;
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage" = "off",
        Values::OffOr(1, 100);
    "deregistration_delay.timeout_seconds" = "300", Values::Number(0, 3600);
    "target_group_health.dns_failover.minimum_healthy_targets.count" = "1", Values::OffOr(1, 1000);
    "stickiness.type" = "lb_cookie", Values::OneOf(&["lb_cookie", "app_cookie"]);
    "stickiness.lb_cookie.duration_seconds" = "86400", Values::Number(1, 604_800);
    "slow_start.duration_seconds" = "0", Values::ZeroOr(30, 900);
    "stickiness.app_cookie.duration_seconds" = "86400", Values::Number(1, 604_800);
    "target_group_health.dns_failover.minimum_healthy_targets.percentage" = "off",
        Values::OffOr(1, 100);
    "stickiness.app_cookie.cookie_name" = "", Values::Text;
    "load_balancing.cross_zone.enabled" = "use_load_balancer_configuration",
        Values::OneOf(&["true", "false", "use_load_balancer_configuration"]);
    "load_balancing.algorithm.type" = "round_robin",
        Values::OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]);
    "load_balancing.algorithm.anomaly_mitigation" = "off", Values::OneOf(&["on", "off"]);
};

pub fn value<'a>(group: &'a TargetGroup, key: &'static str) -> &'a str {
    attributes::value(TABLE, &group.attributes, key)
}

pub fn all(group: &TargetGroup) -> Vec<(String, String)> {
    attributes::all(TABLE, &group.attributes)
}

/// Whether nodes send to targets of other zones too; the load balancer's own setting is always on (fact ALB-6).
pub fn cross_zone(group: &TargetGroup) -> bool {
    value(group, "load_balancing.cross_zone.enabled") != "false"
}

/// Whether a client comes back to the target it had.
pub fn is_sticky(group: &TargetGroup) -> bool {
    value(group, "stickiness.enabled") == "true"
}

/// What the attributes may not be together (facts TGT-10 to TGT-12).
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>
fn check_together(group: &TargetGroup) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::InvalidConfigurationRequest(text.to_owned()));
    let algorithm = value(group, "load_balancing.algorithm.type");
    let slow = value(group, "slow_start.duration_seconds") != "0";
    if slow && algorithm != "round_robin" {
        return refused(
            "Slow start mode is only supported with the load balancing algorithm 'round_robin'",
        );
    }
    let mitigates = value(group, "load_balancing.algorithm.anomaly_mitigation") == "on";
    if mitigates && algorithm != "weighted_random" {
        return refused(
            "Anomaly mitigation is only supported with the load balancing algorithm 'weighted_random'",
        );
    }
    if is_sticky(group) && !cross_zone(group) {
        return refused("Stickiness is not supported when cross-zone load balancing is off");
    }
    check_application_cookie(group)?;
    let health = |part: &str, key: &'static str| {
        let own = group.attributes.get(&format!(
            "target_group_health.{part}.minimum_healthy_targets.{key}"
        ));
        own.and_then(|value| value.parse::<u32>().ok())
    };
    // "The threshold for DNS failover must be greater than or equal to the threshold for routing failover."
    for key in ["count", "percentage"] {
        let (dns, routing) = (
            health("dns_failover", key),
            health("unhealthy_state_routing", key),
        );
        if dns.zip(routing).is_some_and(|(dns, routing)| dns < routing) {
            return refused(
                "The DNS failover threshold must be greater than or equal to the routing failover threshold",
            );
        }
    }
    Ok(())
}

/// The name of a cookie that the application sets: given if it is needed, and none of the load balancer's own.
fn check_application_cookie(group: &TargetGroup) -> Result<(), Refusal> {
    let name = value(group, "stickiness.app_cookie.cookie_name");
    let needed = is_sticky(group) && value(group, "stickiness.type") == "app_cookie";
    if name.is_empty() {
        return if needed {
            Err(Refusal::InvalidConfigurationRequest(
                "A cookie name must be specified for stickiness type 'app_cookie'".to_owned(),
            ))
        } else {
            Ok(())
        };
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    // AWSALB is the beginning of all names that are reserved: AWSALB, AWSALBAPP, AWSALBTG.
    if name.starts_with("AWSALB") || name.len() > 256 || !name.bytes().all(token) {
        return Err(invalid(format!(
            "Cookie name '{name}' is reserved or not valid"
        )));
    }
    Ok(())
}

/// All changes or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    changes: &[(String, String)],
) -> Result<TargetGroup, Refusal> {
    let mut row = TargetGroup::clone(arns::find_target_group(tx.snapshot(), scope, arn)?);
    row.attributes = attributes::changed(TABLE, "target group", &row.attributes, changes)?;
    check_together(&row)?;
    tx.put(row.clone());
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    #[test]
    fn delay_and_cross_zone_follow_the_attributes() {
        let mut region = Region::new();
        let group = region.target_group("api");
        let scope = region.scope.clone();
        assert!(cross_zone(&group));
        assert_eq!(attributes::delay_ms(&group), 300_000);
        let changes = [
            (
                "deregistration_delay.timeout_seconds".to_owned(),
                "2".to_owned(),
            ),
            (
                "load_balancing.cross_zone.enabled".to_owned(),
                "false".to_owned(),
            ),
        ];
        let group = modify(&mut region.tx, &scope, &group.arn, &changes).unwrap();
        assert!(!cross_zone(&group));
        assert_eq!(attributes::delay_ms(&group), 2000);
    }

    #[test]
    fn attributes_that_do_not_go_together_are_refused() {
        let mut region = Region::new();
        let arn = region.target_group("api").arn;
        let scope = region.scope.clone();
        let mut set = |pairs: &[(&str, &str)]| {
            let changes: Vec<_> = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            modify(&mut region.tx, &scope, &arn, &changes)
        };
        let algorithm = "load_balancing.algorithm.type";
        let cookie = "stickiness.app_cookie.cookie_name";
        let slow = "slow_start.duration_seconds";
        for bad in [
            &[(slow, "30"), (algorithm, "least_outstanding_requests")][..],
            &[(slow, "29")],
            &[("load_balancing.algorithm.anomaly_mitigation", "on")],
            &[
                ("stickiness.enabled", "true"),
                ("load_balancing.cross_zone.enabled", "false"),
            ],
            &[
                ("stickiness.enabled", "true"),
                ("stickiness.type", "app_cookie"),
            ],
            &[(cookie, "AWSALBTG")],
            &[(cookie, "a;b")],
            &[("stickiness.lb_cookie.duration_seconds", "604801")],
            &[
                (
                    "target_group_health.dns_failover.minimum_healthy_targets.count",
                    "2",
                ),
                (
                    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
                    "3",
                ),
            ],
        ] {
            assert!(set(bad).is_err(), "{bad:?}");
        }
        for good in [
            &[(slow, "30")][..],
            &[
                (slow, "0"),
                (algorithm, "weighted_random"),
                ("load_balancing.algorithm.anomaly_mitigation", "on"),
            ],
            &[
                ("stickiness.enabled", "true"),
                ("stickiness.type", "app_cookie"),
                (cookie, "SESSION"),
            ],
            &[(
                "target_group_health.dns_failover.minimum_healthy_targets.count",
                "off",
            )],
        ] {
            set(good).unwrap_or_else(|refusal| panic!("{good:?}: {refusal}"));
        }
    }
}
