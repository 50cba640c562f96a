//! Where AWS's own services live in the region's network, and by which names.
//!
//! Every region has one front for its services at public addresses of its own (the first of the
//! public pool, see `RegionConfig::service_address`), as AWS's public endpoints are on the
//! internet: reached through an internet gateway or NAT, or privately through a VPC endpoint.

use crate::{IpCidr, Ipv4Cidr, Ipv6Cidr, PrefixListId, RegionConfig};

/// A service that this region serves, as PrivateLink and DNS know it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct AwsService {
    /// Last part of `com.amazonaws.<region>.<name>`.
    pub endpoint: &'static str,
    /// The host name before `.<region>.amazonaws.com`; `*.` for any one label in front.
    pub host: &'static str,
    /// Interface endpoints serve it (their own address in the VPC).
    pub interface: bool,
    /// Gateway endpoints serve it (a prefix list in route tables).
    pub gateway: bool,
}

const fn interface(endpoint: &'static str, host: &'static str) -> AwsService {
    AwsService {
        endpoint,
        host,
        interface: true,
        gateway: false,
    }
}

/// <https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>
///
/// `s3` holds image layers only (fact PEER-2); nobody answers at `dynamodb`'s address.
pub const AWS_SERVICES: &[AwsService] = &[
    interface("acm", "acm"),
    interface("application-autoscaling", "application-autoscaling"),
    // DiscoverInstances is asked at a host of its own.
    interface("data-servicediscovery", "data-servicediscovery"),
    interface("ec2", "ec2"),
    interface("ecr.api", "api.ecr"),
    interface("ecr.dkr", "*.dkr.ecr"),
    interface("ecs", "ecs"),
    interface("elasticloadbalancing", "elasticloadbalancing"),
    interface("logs", "logs"),
    interface("monitoring", "monitoring"),
    interface("secretsmanager", "secretsmanager"),
    interface("servicediscovery", "servicediscovery"),
    interface("ssm", "ssm"),
    interface("sts", "sts"),
    AwsService {
        endpoint: "s3",
        host: "s3",
        interface: true,
        gateway: true,
    },
    AwsService {
        endpoint: "dynamodb",
        host: "dynamodb",
        interface: false,
        gateway: true,
    },
];

/// Of `com.amazonaws.<region>.<name>`.
pub fn by_service_name(region: &str, service_name: &str) -> Option<&'static AwsService> {
    let name = service_name
        .strip_prefix("com.amazonaws.")?
        .strip_prefix(region)?
        .strip_prefix('.')?;
    AWS_SERVICES.iter().find(|service| service.endpoint == name)
}

/// The service whose endpoint has that host name (without a final dot) in that region.
pub fn by_host(region: &str, host: &str) -> Option<&'static AwsService> {
    let rest = host
        .strip_suffix(".amazonaws.com")?
        .strip_suffix(region)?
        .strip_suffix('.')?;
    AWS_SERVICES.iter().find(|service| service.is_host(rest))
}

impl AwsService {
    /// `com.amazonaws.<region>.<name>`
    pub fn service_name(&self, region: &str) -> String {
        format!("com.amazonaws.{region}.{}", self.endpoint)
    }

    /// `<host>.<region>.amazonaws.com`, with `*.` if it stands for many.
    pub fn dns_name(&self, region: &str) -> String {
        format!("{}.{region}.amazonaws.com", self.host)
    }

    /// Where its endpoints have their own names: `<host>.<region>.vpce.amazonaws.com`.
    pub fn endpoint_domain(&self, region: &str) -> String {
        let host = self.host.trim_start_matches("*.");
        format!("{host}.{region}.vpce.amazonaws.com")
    }

    fn is_host(&self, rest: &str) -> bool {
        match self.host.strip_prefix("*.") {
            None => rest == self.host,
            Some(parent) => rest
                .strip_suffix(parent)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        }
    }
}

/// A prefix list of AWS's own: one for each service with gateway endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsPrefixList {
    pub id: PrefixListId,
    /// `com.amazonaws.<region>.<service>`
    pub name: String,
    pub blocks: Vec<IpCidr>,
}

/// AWS's own prefix lists of a region. Their ids follow from their names alone.
pub fn prefix_lists(region: &str, config: &RegionConfig) -> Vec<AwsPrefixList> {
    AWS_SERVICES
        .iter()
        .filter(|service| service.gateway)
        .map(|service| {
            let name = service.service_name(region);
            let v4 = Ipv4Cidr::host(config.service_address(service));
            let v6 = Ipv6Cidr::host(config.service_address_v6(service));
            AwsPrefixList {
                id: prefix_list_id(&name),
                name,
                blocks: vec![v4.into(), v6.into()],
            }
        })
        .collect()
}

/// AWS's lists of what has no address in this region, with their weights: rules and routes may name them, and match
/// nothing. <https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>
fn absent_prefix_lists(region: &str) -> [(String, usize); 2] {
    let cloudfront = "com.amazonaws.global.cloudfront.origin-facing".to_owned();
    let lattice = format!("com.amazonaws.{region}.vpc-lattice");
    [(cloudfront, 55), (lattice, 10)]
}

/// Every list of AWS's own that rules and routes may name: `prefix_lists` and those without addresses here.
pub fn managed_prefix_lists(region: &str, config: &RegionConfig) -> Vec<AwsPrefixList> {
    let mut lists = prefix_lists(region, config);
    let absent = absent_prefix_lists(region).into_iter();
    lists.extend(absent.map(|(name, _)| AwsPrefixList {
        id: prefix_list_id(&name),
        name,
        blocks: Vec::new(),
    }));
    lists
}

/// How many rules or routes a list of AWS's own counts as.
pub fn prefix_list_weight(region: &str, id: &PrefixListId) -> usize {
    absent_prefix_lists(region)
        .iter()
        .find(|(name, _)| prefix_list_id(name) == *id)
        .map_or(1, |(_, weight)| *weight)
}

/// The id of AWS's prefix list of that name: 8 digits, as the real ones have.
pub fn prefix_list_id(service_name: &str) -> PrefixListId {
    let mut hash = 0x811c_9dc5u32;
    for byte in service_name.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    PrefixListId::parse(&format!("pl-{hash:08x}")).expect("eight digits are an id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_without_addresses_weigh_what_they_do_in_aws() {
        let cloudfront = prefix_list_id("com.amazonaws.global.cloudfront.origin-facing");
        assert_eq!(prefix_list_weight("us-east-1", &cloudfront), 55);
        let s3 = prefix_list_id("com.amazonaws.us-east-1.s3");
        assert_eq!(prefix_list_weight("us-east-1", &s3), 1);
    }

    #[test]
    fn names_lead_to_services() {
        let service = by_service_name("us-east-1", "com.amazonaws.us-east-1.ecr.dkr").unwrap();
        assert_eq!(
            service.dns_name("us-east-1"),
            "*.dkr.ecr.us-east-1.amazonaws.com"
        );
        let found = by_host("us-east-1", "123456789012.dkr.ecr.us-east-1.amazonaws.com");
        assert_eq!(found, Some(service));
        for host in [
            "dkr.ecr.us-east-1.amazonaws.com",
            "ssm.secretsmanager.us-east-1.amazonaws.com",
            "logs.eu-west-1.amazonaws.com",
            "x.com",
        ] {
            assert_eq!(by_host("us-east-1", host), None, "{host}");
        }
        assert!(by_service_name("us-east-1", "com.amazonaws.us-east-1.mars").is_none());
    }
}
