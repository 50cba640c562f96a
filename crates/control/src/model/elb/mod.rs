//! Rules of Elastic Load Balancing v2 (Application Load Balancers), facts ALB, LST and TGT.
//!
//! Called by `api::elbv2`, by the reconcilers of load balancers and, for targets, by ECS. Pure: all change
//! goes through `Tx`. What must stay true: a target group is used by one load balancer at most; every action
//! names target groups that are there; priorities are unique in a listener; every zone of a load balancer has
//! one interface, which lives and dies with it.

pub mod actions;
pub mod arns;
pub mod attributes;
pub mod authentication;
pub mod bucket_paths;
pub mod conditions;
pub mod limits;
pub mod listener_attributes;
pub mod listener_tls;
pub mod listeners;
pub mod load_balancer_attributes;
pub mod load_balancers;
pub mod rules;
pub mod subnets;
pub mod tags;
pub mod target_group_attributes;
pub mod target_groups;
pub mod targets;
pub mod transforms;
pub mod trust_material;
pub mod trust_stores;
pub mod usage;
pub mod zone_ids;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod properties;

use crate::model::Refused;

/// Why a call of Elastic Load Balancing is refused. One variant per wire code; the text is AWS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("One or more load balancers not found")]
    LoadBalancerNotFound,
    #[error("One or more target groups not found")]
    TargetGroupNotFound,
    #[error("One or more listeners not found")]
    ListenerNotFound,
    #[error("One or more rules not found")]
    RuleNotFound,
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidConfigurationRequest(String),
    #[error("A load balancer with the same name '{0}' exists, but with different settings")]
    DuplicateLoadBalancerName(String),
    #[error("A target group with the same name '{0}' exists, but with different settings")]
    DuplicateTargetGroupName(String),
    #[error("A listener already exists on this port for this load balancer '{load_balancer_arn}'")]
    DuplicateListener { load_balancer_arn: String },
    #[error("{0}")]
    DuplicateTagKeys(String),
    #[error("{0}")]
    OperationNotPermitted(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("Priority '{0}' is currently in use")]
    PriorityInUse(u32),
    #[error("The subnet ID '{0}' is not valid")]
    SubnetNotFound(String),
    #[error("{0}")]
    InvalidSubnet(String),
    #[error("{0}")]
    InvalidSecurityGroup(String),
    #[error("{0}")]
    InvalidTarget(String),
    #[error("{0}")]
    InvalidLoadBalancerAction(String),
    #[error("{0}")]
    IncompatibleProtocols(String),
    #[error("SSL policies '{0}' not found")]
    SslPolicyNotFound(String),
    #[error("Certificate '{0}' not found")]
    CertificateNotFound(String),
    #[error(
        "The certificate '{0}' must have a fully-qualified domain name, a supported signature, and a supported key size."
    )]
    UnsupportedCertificate(String),
    #[error("The maximum number of certificates has been reached for load balancer '{0}'")]
    TooManyCertificates(String),
    #[error("Trust store '{0}' not found")]
    TrustStoreNotFound(String),
    #[error("A trust store with the name '{0}' already exists")]
    DuplicateTrustStoreName(String),
    #[error("The maximum number of trust stores has been reached")]
    TooManyTrustStores,
    #[error("Trust store '{0}' is currently in use by a listener")]
    TrustStoreInUse(String),
    #[error("{0}")]
    CaCertificatesBundleNotFound(String),
    #[error("{0}")]
    InvalidCaCertificatesBundle(String),
    #[error("{0}")]
    RevocationContentNotFound(String),
    #[error("{0}")]
    InvalidRevocationContent(String),
    #[error("Revocation ID '{0}' not found")]
    RevocationIdNotFound(i64),
    #[error("The maximum number of revocation entries has been reached for trust store '{0}'")]
    TooManyTrustStoreRevocationEntries(String),
    #[error("Trust store '{0}' is not associated with the resource")]
    AssociationNotFound(String),
    #[error("The trust store '{0}' and the resource belong to the same account")]
    DeleteAssociationSameAccount(String),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    InsufficientCapacity(String),
    #[error(
        "The following target groups cannot be associated with more than one load balancer: {0}"
    )]
    TargetGroupAssociationLimit(String),
    #[error("{0}")]
    TooManyActions(String),
    #[error("The maximum number of load balancers has been reached")]
    TooManyLoadBalancers,
    #[error("The maximum number of target groups has been reached")]
    TooManyTargetGroups,
    #[error("The maximum number of listeners has been reached on load balancer '{0}'")]
    TooManyListeners(String),
    #[error("The maximum number of rules has been reached on load balancer '{0}'")]
    TooManyRules(String),
    #[error("The maximum number of tags has been reached for resource '{0}'")]
    TooManyTags(String),
    #[error("The maximum number of targets has been reached for target group '{0}'")]
    TooManyTargets(String),
    #[error("The maximum number of unique target groups has been reached on load balancer '{0}'")]
    TooManyUniqueTargetGroupsPerLoadBalancer(String),
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::LoadBalancerNotFound => "LoadBalancerNotFound",
            Self::TargetGroupNotFound => "TargetGroupNotFound",
            Self::ListenerNotFound => "ListenerNotFound",
            Self::RuleNotFound => "RuleNotFound",
            Self::Validation(_) => "ValidationError",
            Self::InvalidConfigurationRequest(_) => "InvalidConfigurationRequest",
            Self::DuplicateLoadBalancerName(_) => "DuplicateLoadBalancerName",
            Self::DuplicateTargetGroupName(_) => "DuplicateTargetGroupName",
            Self::DuplicateListener { .. } => "DuplicateListener",
            Self::DuplicateTagKeys(_) => "DuplicateTagKeys",
            Self::OperationNotPermitted(_) => "OperationNotPermitted",
            Self::ResourceInUse(_) => "ResourceInUse",
            Self::PriorityInUse(_) => "PriorityInUse",
            Self::SubnetNotFound(_) => "SubnetNotFound",
            Self::InvalidSubnet(_) => "InvalidSubnet",
            Self::InvalidSecurityGroup(_) => "InvalidSecurityGroup",
            Self::InvalidTarget(_) => "InvalidTarget",
            Self::InvalidLoadBalancerAction(_) => "InvalidLoadBalancerAction",
            Self::IncompatibleProtocols(_) => "IncompatibleProtocols",
            Self::SslPolicyNotFound(_) => "SSLPolicyNotFound",
            Self::CertificateNotFound(_) => "CertificateNotFound",
            Self::UnsupportedCertificate(_) => "UnsupportedCertificate",
            Self::TooManyCertificates(_) => "TooManyCertificates",
            Self::TrustStoreNotFound(_) => "TrustStoreNotFound",
            Self::DuplicateTrustStoreName(_) => "DuplicateTrustStoreName",
            Self::TooManyTrustStores => "TooManyTrustStores",
            Self::TrustStoreInUse(_) => "TrustStoreInUse",
            Self::CaCertificatesBundleNotFound(_) => "CaCertificatesBundleNotFound",
            Self::InvalidCaCertificatesBundle(_) => "InvalidCaCertificatesBundle",
            Self::RevocationContentNotFound(_) => "RevocationContentNotFound",
            Self::InvalidRevocationContent(_) => "InvalidRevocationContent",
            Self::RevocationIdNotFound(_) => "RevocationIdNotFound",
            Self::TooManyTrustStoreRevocationEntries(_) => "TooManyTrustStoreRevocationEntries",
            Self::AssociationNotFound(_) => "AssociationNotFound",
            Self::DeleteAssociationSameAccount(_) => "DeleteAssociationSameAccount",
            Self::ResourceNotFound(_) => "ResourceNotFound",
            Self::InsufficientCapacity(_) => "InsufficientCapacity",
            Self::TargetGroupAssociationLimit(_) => "TargetGroupAssociationLimit",
            Self::TooManyActions(_) => "TooManyActions",
            Self::TooManyLoadBalancers => "TooManyLoadBalancers",
            Self::TooManyTargetGroups => "TooManyTargetGroups",
            Self::TooManyListeners(_) => "TooManyListeners",
            Self::TooManyRules(_) => "TooManyRules",
            Self::TooManyTags(_) => "TooManyTags",
            Self::TooManyTargets(_) => "TooManyTargets",
            Self::TooManyUniqueTargetGroupsPerLoadBalancer(_) => {
                "TooManyUniqueTargetGroupsPerLoadBalancer"
            }
        }
    }
}

/// A `ValidationError` with that text.
pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::Validation(text.into())
}

/// What AWS has and fogbank does not yet: said aloud, never stored and ignored.
pub fn not_offered(what: &str) -> Refusal {
    Refusal::Validation(format!("{what} is not offered by this region yet"))
}
