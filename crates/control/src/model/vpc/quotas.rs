//! How much an account may have. <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
//!
//! Every number can be set for the region (`RegionConfig::quotas`), by its name here or by AWS's quota code.

use fogbank_types::RegionConfig;

macro_rules! quotas {
    ($($(#[$doc:meta])* $name:ident: $default:literal $(, $code:literal)?;)*) => {
        /// Limits of one account in one region.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub struct Quotas {
            $($(#[$doc])* pub $name: usize,)*
        }

        impl Quotas {
            /// What a new AWS account has (facts VPC-3, RTB-4, IGW-1, NAT-8, EIP-1, SG-4, ACL-4, PEER-1).
            pub const AWS: Self = Self { $($name: $default,)* };

            /// Every name that a quota can be set by: ours, and AWS's codes.
            pub const NAMES: &[&str] = &[$(stringify!($name), $($code,)?)*];

            /// Those of this region: AWS's, except where its configuration says otherwise.
            pub fn of(config: &RegionConfig) -> Self {
                if config.quotas.is_empty() {
                    return Self::AWS;
                }
                let set = Self {
                    $($name: {
                        let set = config.quotas.get(stringify!($name));
                        $(let set = set.or_else(|| config.quotas.get($code));)?
                        set.map_or($default, |number| *number as usize)
                    },)*
                };
                set.with_room_for_interfaces()
            }
        }
    };
}

quotas! {
    vpcs: 5, "L-F678F1CE";
    subnets_per_vpc: 200, "L-407747CB";
    ipv4_blocks_per_vpc: 5, "L-83CA0A9D";
    ipv6_blocks_per_vpc: 5, "L-085A6257";
    internet_gateways: 5, "L-A4707A72";
    egress_only_gateways: 5, "L-45FE3B85";
    route_tables_per_vpc: 200, "L-589F43AA";
    routes_per_table: 50, "L-93826ACB";
    nat_gateways_per_zone: 5, "L-FE5A380F";
    elastic_ips: 5, "L-0263D0A3";
    security_groups: 2500, "L-E79EC296";
    rules_per_group_and_direction: 60, "L-0EA8095F";
    groups_per_interface: 5, "L-2AFB9258";
    /// Rules of a group times groups of an interface.
    rules_per_interface: 1000;
    network_acls_per_vpc: 200, "L-B4A6D682";
    acl_entries_per_direction: 20, "L-2AEEBF1A";
    interfaces: 5000, "L-DF5E4CA3";
    prefix_lists: 100;
    entries_per_prefix_list: 1000;
    prefix_list_versions: 1000;
    peerings_per_vpc: 50, "L-7E9ECCDB";
    outstanding_peerings: 25, "L-DC9F7029";
    gateway_endpoints: 20, "L-1B52E74A";
    interface_endpoints_per_vpc: 50, "L-29B6F2EB";
    tags_per_resource: 50;
}

impl Quotas {
    /// The rules of a group times the groups of an interface stay within their product's limit (fact SG-4).
    fn with_room_for_interfaces(mut self) -> Self {
        let most = self.rules_per_interface / self.groups_per_interface.max(1);
        self.rules_per_group_and_direction = self.rules_per_group_and_direction.min(most);
        self
    }
}

/// AWS's quotas, for what has no configuration at hand.
pub const QUOTAS: Quotas = Quotas::AWS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tx::test_config;

    #[test]
    fn a_quota_is_set_by_name_or_by_code() {
        let mut config = test_config();
        assert_eq!(Quotas::of(&config), Quotas::AWS);
        config.quotas.insert("vpcs".to_owned(), 9);
        config.quotas.insert("L-93826ACB".to_owned(), 1000);
        let quotas = Quotas::of(&config);
        assert_eq!((quotas.vpcs, quotas.routes_per_table), (9, 1000));
        assert_eq!(quotas.elastic_ips, 5);
        assert!(Quotas::NAMES.contains(&"vpcs") && Quotas::NAMES.contains(&"L-93826ACB"));
    }

    #[test]
    fn rules_times_groups_stay_within_a_thousand() {
        let mut config = test_config();
        config.quotas.insert("L-0EA8095F".to_owned(), 200);
        assert_eq!(Quotas::of(&config).rules_per_group_and_direction, 200);
        config.quotas.insert("L-2AFB9258".to_owned(), 16);
        assert_eq!(Quotas::of(&config).rules_per_group_and_direction, 62);
    }
}
