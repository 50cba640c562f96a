//! Alias records: what they may point to (fact DNS-11).
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-choosing-alias-non-alias.html>

use super::names;
use crate::model::elb::zone_ids;
use fogbank_types::route53::{AliasTarget, RecordSet};

/// Hosted zone ids of what AWS has and this region does not.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("Z2FDTNDATAQYW2", "CloudFront"),
    ("Z2BJ6XQ5FK7U4H", "Global Accelerator"),
];

/// What is wrong with an alias on its own; whether a record of the same zone is there is for the batch to say.
pub fn problem(record: &RecordSet, alias: &AliasTarget) -> Option<String> {
    let AliasTarget {
        hosted_zone_id,
        dns_name,
        ..
    } = alias;
    let kind = &record.record_type;
    if *hosted_zone_id == record.zone_id {
        if matches!(kind.as_str(), "NS" | "SOA") {
            return Some(format!(
                "RRSet of type {kind} with DNS name {} cannot be an alias",
                record.name
            ));
        }
        if *dns_name == record.name {
            return Some(format!(
                "Tried to create an alias that targets itself: {dns_name}, type {kind}"
            ));
        }
        return None;
    }
    if let Some((_, what)) = NOT_OFFERED.iter().find(|(id, _)| id == hosted_zone_id) {
        return Some(format!(
            "An alias to {what} is not offered by this region yet"
        ));
    }
    let within = zone_ids::region_of(hosted_zone_id)
        .is_some_and(|region| is_load_balancer_name(dns_name, region));
    if !within {
        return Some(format!(
            "Tried to create an alias that targets {dns_name}, type {kind} in zone {hosted_zone_id}, but the alias target name does not lie within the target zone"
        ));
    }
    (!matches!(kind.as_str(), "A" | "AAAA")).then(|| {
        format!("Tried to create an alias that targets {dns_name}, type {kind} in zone {hosted_zone_id}, but that target was not found")
    })
}

fn is_load_balancer_name(name: &str, region: &str) -> bool {
    let zone = match fogbank_types::place::partition(region) {
        "aws-cn" => format!("elb.{region}.amazonaws.com.cn."),
        _ => format!("{region}.elb.amazonaws.com."),
    };
    names::is_within(name, &zone) && name != zone
}

#[cfg(test)]
mod tests {
    use super::super::fixture::record;
    use super::*;

    fn check(kind: &str, zone_id: &str, name: &str) -> Option<String> {
        let alias = AliasTarget {
            hosted_zone_id: zone_id.to_owned(),
            dns_name: name.to_owned(),
            evaluate_target_health: false,
        };
        problem(&record("ZONE", "www.example.com.", kind), &alias)
    }

    #[test]
    fn load_balancers_and_records_of_the_zone_are_good_targets() {
        let lb = "Z35SXDOTRQ7X7K";
        assert_eq!(check("A", lb, "api-1.us-east-1.elb.amazonaws.com."), None);
        assert_eq!(
            check("AAAA", lb, "dualstack.api-1.us-east-1.elb.amazonaws.com."),
            None
        );
        assert_eq!(check("A", "ZONE", "other.example.com."), None);
        assert_eq!(
            check("A", "Z1GDH35T77C1KE", "a.elb.cn-north-1.amazonaws.com.cn."),
            None
        );
    }

    #[test]
    fn others_are_not() {
        let lb = "Z35SXDOTRQ7X7K";
        for (kind, zone_id, name) in [
            ("A", lb, "api-1.eu-west-1.elb.amazonaws.com."),
            ("A", lb, "us-east-1.elb.amazonaws.com."),
            ("A", "ZUNKNOWN", "www.example.com."),
            ("A", "Z2FDTNDATAQYW2", "d1.cloudfront.net."),
            ("MX", lb, "api-1.us-east-1.elb.amazonaws.com."),
            ("NS", "ZONE", "other.example.com."),
            ("A", "ZONE", "www.example.com."),
        ] {
            assert!(
                check(kind, zone_id, name).is_some(),
                "{kind} {zone_id} {name}"
            );
        }
    }
}
