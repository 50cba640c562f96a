//! Quotas of a real account (fact ALB-9), enforced here and told by DescribeAccountLimits.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>

pub const LOAD_BALANCERS: usize = 50;
pub const LISTENERS_PER_LOAD_BALANCER: usize = 50;
pub const RULES_PER_LOAD_BALANCER: usize = 100;
pub const TARGET_GROUPS: usize = 3000;
pub const TARGET_GROUPS_PER_LOAD_BALANCER: usize = 100;
pub const TARGET_GROUPS_PER_ACTION: usize = 5;
pub const CONDITION_VALUES_PER_RULE: usize = 5;
pub const WILDCARDS_PER_RULE: usize = 5;
pub const TARGETS_PER_LOAD_BALANCER: usize = 1000;

/// Name and value, as DescribeAccountLimits names them.
pub const ALL: &[(&str, usize)] = &[
    ("target-groups", TARGET_GROUPS),
    (
        "targets-per-application-load-balancer",
        TARGETS_PER_LOAD_BALANCER,
    ),
    (
        "listeners-per-application-load-balancer",
        LISTENERS_PER_LOAD_BALANCER,
    ),
    (
        "rules-per-application-load-balancer",
        RULES_PER_LOAD_BALANCER,
    ),
    ("network-load-balancers", 50),
    ("targets-per-network-load-balancer", 3000),
    (
        "targets-per-availability-zone-per-network-load-balancer",
        500,
    ),
    ("listeners-per-network-load-balancer", 50),
    ("condition-values-per-alb-rule", CONDITION_VALUES_PER_RULE),
    ("condition-wildcards-per-alb-rule", WILDCARDS_PER_RULE),
    (
        "target-groups-per-application-load-balancer",
        TARGET_GROUPS_PER_LOAD_BALANCER,
    ),
    (
        "target-groups-per-action-on-application-load-balancer",
        TARGET_GROUPS_PER_ACTION,
    ),
    ("target-groups-per-action-on-network-load-balancer", 1),
    ("certificates-per-application-load-balancer", 25),
    ("certificates-per-network-load-balancer", 25),
    ("targets-per-target-group", 1000),
    (
        "target-id-registrations-per-application-load-balancer",
        1000,
    ),
    ("application-load-balancers", LOAD_BALANCERS),
    ("gateway-load-balancers", 100),
    ("gateway-load-balancers-per-vpc", 100),
    ("geneve-target-groups", 100),
    (
        "targets-per-availability-zone-per-gateway-load-balancer",
        300,
    ),
];
