//! Elastic Load Balancing v2: shapes to commands and rows to shapes. The rules stand in `model::elb`.

mod actions;
mod attributes;
mod conditions;
mod listeners;
mod load_balancers;
mod page;
mod rules;
mod ssl_policies;
mod tags;
mod target_groups;
mod targets;
mod transforms;
mod trust_stores;

#[cfg(test)]
mod tests;

super::handlers! { Elbv2:
    write CreateLoadBalancer => load_balancers::create,
    read DescribeLoadBalancers => load_balancers::describe,
    write DeleteLoadBalancer => load_balancers::delete,
    read DescribeLoadBalancerAttributes => attributes::describe_load_balancer,
    write ModifyLoadBalancerAttributes => attributes::modify_load_balancer,
    read DescribeCapacityReservation => load_balancers::describe_capacity_reservation,
    read ModifyCapacityReservation => load_balancers::modify_capacity_reservation,
    read ModifyIpPools => load_balancers::modify_ip_pools,
    write SetSecurityGroups => load_balancers::set_security_groups,
    write SetSubnets => load_balancers::set_subnets,
    write SetIpAddressType => load_balancers::set_ip_address_type,
    write CreateTargetGroup => target_groups::create,
    read DescribeTargetGroups => target_groups::describe,
    write ModifyTargetGroup => target_groups::modify,
    write DeleteTargetGroup => target_groups::delete,
    read DescribeTargetGroupAttributes => attributes::describe_target_group,
    write ModifyTargetGroupAttributes => attributes::modify_target_group,
    write RegisterTargets => targets::register,
    write DeregisterTargets => targets::deregister,
    read DescribeTargetHealth => targets::describe_health,
    write CreateListener => listeners::create,
    read DescribeListeners => listeners::describe,
    write ModifyListener => listeners::modify,
    write DeleteListener => listeners::delete,
    read DescribeListenerAttributes => attributes::describe_listener,
    write ModifyListenerAttributes => attributes::modify_listener,
    read DescribeListenerCertificates => listeners::describe_certificates,
    write AddListenerCertificates => listeners::add_certificates,
    write RemoveListenerCertificates => listeners::remove_certificates,
    write CreateRule => rules::create,
    read DescribeRules => rules::describe,
    write ModifyRule => rules::modify,
    write SetRulePriorities => rules::set_priorities,
    write DeleteRule => rules::delete,
    write CreateTrustStore => trust_stores::create,
    read DescribeTrustStores => trust_stores::describe,
    write ModifyTrustStore => trust_stores::modify,
    write DeleteTrustStore => trust_stores::delete,
    write AddTrustStoreRevocations => trust_stores::add_revocations,
    write RemoveTrustStoreRevocations => trust_stores::remove_revocations,
    read DescribeTrustStoreRevocations => trust_stores::describe_revocations,
    read DescribeTrustStoreAssociations => trust_stores::describe_associations,
    write GetTrustStoreCaCertificatesBundle => trust_stores::get_bundle,
    write GetTrustStoreRevocationContent => trust_stores::get_revocation_content,
    read DeleteSharedTrustStoreAssociation => trust_stores::delete_shared_association,
    read GetResourcePolicy => trust_stores::get_resource_policy,
    write AddTags => tags::add,
    write RemoveTags => tags::remove,
    read DescribeTags => tags::describe,
    read DescribeSSLPolicies => ssl_policies::describe,
    read DescribeAccountLimits => ssl_policies::describe_account_limits,
}
