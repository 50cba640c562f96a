//! Accounts, regions and zones.

use serde::{Deserialize, Serialize};

/// The account and region that a resource belongs to. IAM and Route 53 rows have region `global`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    pub account: String,
    pub region: String,
}

impl Scope {
    pub fn new(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            region: region.into(),
        }
    }

    /// The same account, for services that know no region.
    pub fn global(&self) -> Self {
        Self {
            account: self.account.clone(),
            region: "global".to_owned(),
        }
    }

    /// `arn:<partition>:<service>:<region>:<account>:<resource>`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let region = if self.region == "global" {
            ""
        } else {
            &self.region
        };
        format!(
            "arn:{}:{service}:{region}:{}:{resource}",
            partition(&self.region),
            self.account
        )
    }
}

/// `aws`, `aws-cn` or `aws-us-gov`.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// An Availability Zone. <https://docs.aws.amazon.com/ram/latest/userguide/working-with-az-ids.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// `us-east-1a`
    pub name: String,
    /// `use1-az1`, the same for every account.
    pub id: String,
}

/// Region, the prefix of its zone ids, and the numbers of the zones a, b, c... (facts REG-2, REG-3).
const REGIONS: &[(&str, &str, &[u8])] = &[
    ("us-east-1", "use1", &[1, 2, 3, 4, 5, 6]),
    ("us-east-2", "use2", &[1, 2, 3]),
    ("us-west-1", "usw1", &[1, 3]),
    ("us-west-2", "usw2", &[1, 2, 3, 4]),
    ("ca-central-1", "cac1", &[1, 2, 4]),
    ("ca-west-1", "caw1", &[1, 2, 3]),
    ("sa-east-1", "sae1", &[1, 2, 3]),
    ("mx-central-1", "mxc1", &[1, 2, 3]),
    ("eu-west-1", "euw1", &[1, 2, 3]),
    ("eu-west-2", "euw2", &[1, 2, 3]),
    ("eu-west-3", "euw3", &[1, 2, 3]),
    ("eu-central-1", "euc1", &[1, 2, 3]),
    ("eu-central-2", "euc2", &[1, 2, 3]),
    ("eu-north-1", "eun1", &[1, 2, 3]),
    ("eu-south-1", "eus1", &[1, 2, 3]),
    ("eu-south-2", "eus2", &[1, 2, 3]),
    ("ap-south-1", "aps1", &[1, 2, 3]),
    ("ap-south-2", "aps2", &[1, 2, 3]),
    ("ap-northeast-1", "apne1", &[1, 2, 4]),
    ("ap-northeast-2", "apne2", &[1, 2, 3, 4]),
    ("ap-northeast-3", "apne3", &[1, 2, 3]),
    ("ap-southeast-1", "apse1", &[1, 2, 3]),
    ("ap-southeast-2", "apse2", &[1, 2, 3]),
    ("ap-southeast-3", "apse3", &[1, 2, 3]),
    ("ap-southeast-4", "apse4", &[1, 2, 3]),
    ("ap-east-1", "ape1", &[1, 2, 3]),
    ("me-south-1", "mes1", &[1, 2, 3]),
    ("me-central-1", "mec1", &[1, 2, 3]),
    ("il-central-1", "ilc1", &[1, 2, 3]),
    ("af-south-1", "afs1", &[1, 2, 3]),
];

/// The names of all regions.
pub fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, _, _)| *name)
}

/// The zones of a region in order of their letters; empty for a region that does not exist.
pub fn zones(region: &str) -> Vec<Zone> {
    let Some((name, prefix, numbers)) = REGIONS.iter().find(|(name, _, _)| *name == region) else {
        return Vec::new();
    };
    (b'a'..)
        .zip(*numbers)
        .map(|(letter, number)| Zone {
            name: format!("{name}{}", char::from(letter)),
            id: format!("{prefix}-az{number}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn us_east_1_has_six_zones() {
        let zones = zones("us-east-1");
        assert_eq!(zones.len(), 6);
        assert_eq!(
            (zones[5].name.as_str(), zones[5].id.as_str()),
            ("us-east-1f", "use1-az6")
        );
    }

    #[test]
    fn an_unknown_region_has_no_zone() {
        assert!(zones("mars-1").is_empty());
    }
}
