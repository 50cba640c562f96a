//! Attributes of Application Load Balancers (fact ALB-11).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html>

use super::attributes::{self, Attribute, Values};
use super::{Refusal, arns, bucket_paths};
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
    "access_logs.s3.enabled" = "false", Values::Boolean;
    "access_logs.s3.bucket" = "", Values::Checked(bucket);
    "access_logs.s3.prefix" = "", Values::Checked(prefix);
    "health_check_logs.s3.enabled" = "false", Values::Boolean;
    "health_check_logs.s3.bucket" = "", Values::Checked(bucket);
    "health_check_logs.s3.prefix" = "", Values::Checked(prefix);
    "idle_timeout.timeout_seconds" = "60", Values::Number(1, 4000);
    "deletion_protection.enabled" = "false", Values::Boolean;
    "routing.http2.enabled" = "true", Values::Boolean;
    "routing.http.drop_invalid_header_fields.enabled" = "false", Values::Boolean;
    "routing.http.xff_client_port.enabled" = "false", Values::Boolean;
    "routing.http.preserve_host_header.enabled" = "false", Values::Boolean;
    "routing.http.xff_header_processing.mode" = "append", Values::OneOf(&["append", "preserve", "remove"]);
    // Fixed at this level (fact ALB-6).
    "load_balancing.cross_zone.enabled" = "true", Values::OneOf(&["true"]);
    "routing.http.desync_mitigation_mode" = "defensive", Values::OneOf(&["monitor", "defensive", "strictest"]);
    "client_keep_alive.seconds" = "3600", Values::Number(60, 604_800);
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled" = "false", Values::Boolean;
    // Without a web ACL, and there is none yet, both values mean the same.
    "waf.fail_open.enabled" = "false", Values::Boolean;
    "connection_logs.s3.enabled" = "false", Values::Boolean;
    "connection_logs.s3.bucket" = "", Values::Checked(bucket);
    "connection_logs.s3.prefix" = "", Values::Checked(prefix);
    // It lets Application Recovery Controller shift traffic; without that service both values mean the same.
    "zonal_shift.config.enabled" = "false", Values::Boolean;
};

pub fn value<'a>(load_balancer: &'a LoadBalancer, key: &'static str) -> &'a str {
    attributes::value(TABLE, &load_balancer.attributes, key)
}

pub fn all(load_balancer: &LoadBalancer) -> Vec<(String, String)> {
    attributes::all(TABLE, &load_balancer.attributes)
}

/// A kind of log that goes to a bucket.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LogKind {
    Access,
    Connection,
    HealthCheck,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBucket {
    pub bucket: String,
    pub prefix: String,
}

impl LogKind {
    pub const ALL: [Self; 3] = [Self::Access, Self::Connection, Self::HealthCheck];

    fn keys(self) -> [&'static str; 3] {
        match self {
            Self::Access => [
                "access_logs.s3.enabled",
                "access_logs.s3.bucket",
                "access_logs.s3.prefix",
            ],
            Self::Connection => [
                "connection_logs.s3.enabled",
                "connection_logs.s3.bucket",
                "connection_logs.s3.prefix",
            ],
            Self::HealthCheck => [
                "health_check_logs.s3.enabled",
                "health_check_logs.s3.bucket",
                "health_check_logs.s3.prefix",
            ],
        }
    }

    /// `None` = the log is off.
    pub fn bucket(self, load_balancer: &LoadBalancer) -> Option<LogBucket> {
        let [enabled, bucket, prefix] = self.keys().map(|key| value(load_balancer, key));
        (enabled == "true").then(|| LogBucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// The key of the file that AWS writes to try the bucket.
    /// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>
    pub fn test_file(self, to: &LogBucket, account: &str) -> String {
        let name = match self {
            Self::Access => "ELBAccessLogTestFile",
            Self::Connection => "ELBConnectionLogTestFile",
            Self::HealthCheck => "ELBHealthCheckLogTestFile",
        };
        let prefix = match to.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        format!("{prefix}AWSLogs/{account}/{name}")
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn bucket(name: &str) -> bool {
    name.is_empty() || bucket_paths::is_bucket(name)
}

/// "The prefix must not include AWSLogs"; and it must stay a path below the bucket.
fn prefix(text: &str) -> bool {
    text.is_empty()
        || (!text.contains("AWSLogs") && !text.ends_with('/') && bucket_paths::is_key(text))
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
    for kind in LogKind::ALL {
        if kind.bucket(&row).is_some_and(|to| to.bucket.is_empty()) {
            return Err(Refusal::InvalidConfigurationRequest(format!(
                "A bucket must be specified in '{}' to enable the log",
                kind.keys()[1]
            )));
        }
    }
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
            pair("access_logs.s3.bucket", "../logs"),
            pair("connection_logs.s3.prefix", "a/../b"),
            pair("health_check_logs.s3.prefix", "AWSLogs"),
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

    #[test]
    fn a_log_that_is_on_has_a_bucket_and_a_test_file() {
        let mut region = Region::new();
        let arn = region.load_balancer("api").arn;
        let scope = region.scope.clone();
        let changes = [
            pair("connection_logs.s3.enabled", "true"),
            pair("connection_logs.s3.bucket", "logs"),
            pair("connection_logs.s3.prefix", "a/b"),
        ];
        let row = modify(&mut region.tx, &scope, &arn, &changes).unwrap();
        assert_eq!(LogKind::Access.bucket(&row), None);
        let to = LogKind::Connection.bucket(&row).unwrap();
        assert_eq!(to.bucket, "logs");
        assert_eq!(
            LogKind::Connection.test_file(&to, "000000000000"),
            "a/b/AWSLogs/000000000000/ELBConnectionLogTestFile"
        );
    }
}
