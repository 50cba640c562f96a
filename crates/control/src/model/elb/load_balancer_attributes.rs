//! Attributes of Application Load Balancers (fact ALB-11).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html>

use super::attributes::{self, Attribute, Values};
use super::{Refusal, arns};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::elb::LoadBalancer;

macro_rules! table {
    ($($key:literal = $default:literal, $values:expr;)*) => {
        &[$(Attribute { key: $key, default: $default, values: $values }),*]
    };
}
pub(super) use table;

/// In the order of AWS's answers.
pub static TABLE: &[Attribute] = table! {
    "access_logs.s3.enabled" = "false", Values::OnlyDefault("Access logs");
    "access_logs.s3.bucket" = "", Values::Text;
    "access_logs.s3.prefix" = "", Values::Text;
    "health_check_logs.s3.enabled" = "false", Values::OnlyDefault("Health check logs");
    "health_check_logs.s3.bucket" = "", Values::Text;
    "health_check_logs.s3.prefix" = "", Values::Text;
    "idle_timeout.timeout_seconds" = "60", Values::Number(1, 4000);
    "deletion_protection.enabled" = "false", Values::Boolean;
    // Only for HTTPS listeners; without them both values mean the same.
    "routing.http2.enabled" = "true", Values::Boolean;
    "routing.http.drop_invalid_header_fields.enabled" = "false", Values::Boolean;
    "routing.http.xff_client_port.enabled" = "false", Values::Boolean;
    "routing.http.preserve_host_header.enabled" = "false", Values::Boolean;
    "routing.http.xff_header_processing.mode" = "append", Values::OneOf(&["append", "preserve", "remove"]);
    // Fixed at this level (fact ALB-6).
    "load_balancing.cross_zone.enabled" = "true", Values::OneOf(&["true"]);
    "routing.http.desync_mitigation_mode" = "defensive", Values::OneOf(&["monitor", "defensive", "strictest"]);
    "client_keep_alive.seconds" = "3600", Values::Number(60, 604_800);
    // Adds headers to requests that came by TLS; none does yet.
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled" = "false", Values::Boolean;
    // Without a web ACL, and there is none yet, both values mean the same.
    "waf.fail_open.enabled" = "false", Values::Boolean;
    "connection_logs.s3.enabled" = "false", Values::OnlyDefault("Connection logs");
    "connection_logs.s3.bucket" = "", Values::Text;
    "connection_logs.s3.prefix" = "", Values::Text;
    "zonal_shift.config.enabled" = "false", Values::OnlyDefault("Zonal shift");
};

pub fn value<'a>(load_balancer: &'a LoadBalancer, key: &'static str) -> &'a str {
    attributes::value(TABLE, &load_balancer.attributes, key)
}

pub fn all(load_balancer: &LoadBalancer) -> Vec<(String, String)> {
    attributes::all(TABLE, &load_balancer.attributes)
}

/// All changes or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    changes: &[(String, String)],
) -> Result<LoadBalancer, Refusal> {
    let mut row = LoadBalancer::clone(arns::find_load_balancer(tx.snapshot(), scope, arn)?);
    row.attributes = attributes::changed(TABLE, "load balancer", &row.attributes, changes)?;
    tx.put(row.clone());
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_set_that_terraform_writes_is_taken() {
        let mut region = Region::new();
        let arn = region.load_balancer("api").arn;
        let changes = [
            pair("access_logs.s3.enabled", "false"),
            pair("connection_logs.s3.enabled", "false"),
            pair("client_keep_alive.seconds", "3600"),
            pair("deletion_protection.enabled", "false"),
            pair("idle_timeout.timeout_seconds", "61"),
            pair("routing.http.desync_mitigation_mode", "defensive"),
            pair("routing.http.drop_invalid_header_fields.enabled", "false"),
            pair("routing.http.preserve_host_header.enabled", "false"),
            pair(
                "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
                "false",
            ),
            pair("routing.http.xff_client_port.enabled", "false"),
            pair("routing.http.xff_header_processing.mode", "append"),
            pair("routing.http2.enabled", "true"),
            pair("waf.fail_open.enabled", "false"),
            pair("zonal_shift.config.enabled", "false"),
        ];
        let scope = region.scope.clone();
        let row = modify(&mut region.tx, &scope, &arn, &changes).unwrap();
        assert_eq!(row.attributes.len(), 1);
        assert_eq!(value(&row, "idle_timeout.timeout_seconds"), "61");
        assert_eq!(all(&row).len(), TABLE.len());
    }

    #[test]
    fn one_bad_value_changes_nothing() {
        let mut region = Region::new();
        let arn = region.load_balancer("api").arn;
        let scope = region.scope.clone();
        for bad in [
            pair("idle_timeout.timeout_seconds", "4001"),
            pair("access_logs.s3.enabled", "true"),
            pair("load_balancing.cross_zone.enabled", "false"),
            pair("unknown.key", "1"),
        ] {
            let changes = [pair("routing.http2.enabled", "false"), bad];
            assert!(modify(&mut region.tx, &scope, &arn, &changes).is_err());
            let row = region
                .tx
                .snapshot()
                .load_balancers
                .get(&scope, &arn)
                .unwrap();
            assert!(row.attributes.is_empty());
        }
    }
}
