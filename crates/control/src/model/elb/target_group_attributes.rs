//! Attributes of target groups (facts TGT-9 to TGT-13).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html>

use super::attributes::{self, Attribute, Values};
use super::load_balancer_attributes::table;
use super::{Refusal, arns};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::elb::TargetGroup;

/// In the order of AWS's answers.
pub static TABLE: &[Attribute] = table! {
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count" = "1", Values::Number(1, 1000);
    "stickiness.enabled" = "false", Values::OnlyDefault("Target stickiness");
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage" = "off",
        Values::OffOr(1, 100);
    "deregistration_delay.timeout_seconds" = "300", Values::Number(0, 3600);
    "target_group_health.dns_failover.minimum_healthy_targets.count" = "1",
        Values::OnlyDefault("A DNS failover minimum other than one target");
    "stickiness.type" = "lb_cookie", Values::OneOf(&["lb_cookie", "app_cookie"]);
    "stickiness.lb_cookie.duration_seconds" = "86400", Values::Number(1, 604_800);
    "slow_start.duration_seconds" = "0", Values::OnlyDefault("Slow start");
    "stickiness.app_cookie.duration_seconds" = "86400", Values::Number(1, 604_800);
    "target_group_health.dns_failover.minimum_healthy_targets.percentage" = "off",
        Values::OnlyDefault("A DNS failover minimum other than one target");
    "stickiness.app_cookie.cookie_name" = "", Values::Text;
    "load_balancing.cross_zone.enabled" = "use_load_balancer_configuration",
        Values::OneOf(&["true", "false", "use_load_balancer_configuration"]);
    "load_balancing.algorithm.type" = "round_robin",
        Values::OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]);
    "load_balancing.algorithm.anomaly_mitigation" = "off", Values::OnlyDefault("Anomaly mitigation");
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

/// All changes or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    changes: &[(String, String)],
) -> Result<TargetGroup, Refusal> {
    let mut row = TargetGroup::clone(arns::find_target_group(tx.snapshot(), scope, arn)?);
    row.attributes = attributes::changed(TABLE, "target group", &row.attributes, changes)?;
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
    fn what_the_proxy_cannot_do_yet_is_refused() {
        let mut region = Region::new();
        let arn = region.target_group("api").arn;
        let scope = region.scope.clone();
        for (key, value) in [
            ("stickiness.enabled", "true"),
            ("slow_start.duration_seconds", "30"),
        ] {
            let change = [(key.to_owned(), value.to_owned())];
            let refusal = modify(&mut region.tx, &scope, &arn, &change).unwrap_err();
            assert!(refusal.to_string().contains("not offered"), "{refusal}");
        }
    }
}
