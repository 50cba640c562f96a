//! How much an account may have (fact ALB-9), enforced here and told by DescribeAccountLimits.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
//!
//! Every number can be set for the region (`RegionConfig::quotas`, `fogbank up --quota`), by the name that
//! DescribeAccountLimits gives it or by AWS's quota code.

use fogbank_types::RegionConfig;

macro_rules! limits {
    ($($name:ident: $told:literal = $default:literal $(, $code:literal)?;)*) => {
        /// Limits of one account in one region.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $(pub $name: usize,)*
        }

        impl Limits {
            /// What a new AWS account has.
            pub const AWS: Self = Self { $($name: $default,)* };

            /// Every name that a limit can be set by.
            pub const NAMES: &[&str] = &[$($told, $($code,)?)*];

            /// Those of this region: AWS's, except where its configuration says otherwise.
            pub fn of(config: &RegionConfig) -> Self {
                if config.quotas.is_empty() {
                    return Self::AWS;
                }
                Self {
                    $($name: {
                        let set = config.quotas.get($told);
                        $(let set = set.or_else(|| config.quotas.get($code));)?
                        set.map_or($default, |number| *number as usize)
                    },)*
                }
            }

            /// Name and value, as DescribeAccountLimits tells them.
            pub fn told(&self) -> Vec<(&'static str, usize)> {
                vec![$(($told, self.$name),)*]
            }
        }
    };
}

limits! {
    load_balancers: "application-load-balancers" = 50, "L-53DA6B97";
    listeners_per_load_balancer: "listeners-per-application-load-balancer" = 50, "L-B6DF7632";
    rules_per_load_balancer: "rules-per-application-load-balancer" = 100;
    certificates_per_load_balancer: "certificates-per-application-load-balancer" = 25;
    target_groups: "target-groups" = 3000, "L-B22855CB";
    target_groups_per_load_balancer: "target-groups-per-application-load-balancer" = 100, "L-822D1B1B";
    target_groups_per_action: "target-groups-per-action-on-application-load-balancer" = 5;
    targets_per_load_balancer: "targets-per-application-load-balancer" = 1000, "L-7E6692B2";
    condition_values_per_rule: "condition-values-per-alb-rule" = 5;
    wildcards_per_rule: "condition-wildcards-per-alb-rule" = 5;
    trust_stores: "trust-stores" = 20;
    lists_per_trust_store: "revocation-lists-per-trust-store" = 30;
    revoked_per_trust_store: "revocation-entries-per-trust-store" = 500000;
    certificates_per_trust_store: "ca-certificates-per-trust-store" = 25;
}

/// "Listeners using mutual TLS in verify mode, per load balancer"; it can't be raised.
pub const VERIFYING_LISTENERS_PER_LOAD_BALANCER: usize = 2;
/// "Certificate authority certificate bundle size", and the size of a revocation list file.
pub const CA_BUNDLE_MAX_BYTES: usize = 16 * 1024;
pub const REVOCATION_LIST_MAX_BYTES: usize = 50 * 1024 * 1024;

/// What DescribeAccountLimits tells of load balancers that this region has not: none may be made.
pub const NOT_OFFERED: &[&str] = &[
    "network-load-balancers",
    "listeners-per-network-load-balancer",
    "targets-per-network-load-balancer",
    "targets-per-availability-zone-per-network-load-balancer",
    "target-groups-per-action-on-network-load-balancer",
    "certificates-per-network-load-balancer",
    "gateway-load-balancers",
    "gateway-load-balancers-per-vpc",
    "geneve-target-groups",
    "targets-per-availability-zone-per-gateway-load-balancer",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;

    #[test]
    fn a_limit_is_set_by_name_or_by_code() {
        let mut config = test_config();
        assert_eq!(Limits::of(&config), Limits::AWS);
        config
            .quotas
            .insert("rules-per-application-load-balancer".to_owned(), 200);
        config.quotas.insert("L-53DA6B97".to_owned(), 9);
        let limits = Limits::of(&config);
        assert_eq!(
            (limits.rules_per_load_balancer, limits.load_balancers),
            (200, 9)
        );
        assert_eq!(limits.target_groups, 3000);
        assert!(limits.told().contains(&("application-load-balancers", 9)));
    }
}
