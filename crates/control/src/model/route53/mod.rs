//! Rules of Route 53: hosted zones, their records, and changes (facts DNS-1 to DNS-12, PHZ-1, PHZ-2).
//!
//! Called by `api::route53` and `reconcile::change_sync`. Rows have the account's global scope. What must stay true:
//! every zone has its NS and SOA at the apex; a CNAME is alone at its name; names are stored as AWS lists them, in
//! lower case, escaped, with a trailing dot; a batch of changes is made whole or not at all.

pub mod aliases;
pub mod authorizations;
pub mod batch;
pub mod changes;
pub mod check_targets;
pub mod cidr_collections;
pub mod delegation_sets;
pub mod geo_locations;
pub mod health_checks;
pub mod listing;
pub mod names;
pub mod policies;
pub mod query_logging;
pub mod signing;
pub mod tags;
pub mod values;
pub mod vpcs;
pub mod zones;

#[cfg(test)]
pub(crate) mod fixture;

use crate::model::Refused;

/// Why a call of Route 53 is refused. One variant per code; the text is AWS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("No hosted zone found with ID: {0}")]
    NoSuchHostedZone(String),
    #[error("Could not find resource with ID: {0}")]
    NoSuchChange(String),
    #[error("A health check with id {0} does not exist.")]
    NoSuchHealthCheck(String),
    #[error("The specified geographic location does not exist.")]
    NoSuchGeoLocation,
    #[error(
        "A health check with the specified caller reference exists already, with other settings."
    )]
    HealthCheckAlreadyExists,
    #[error("The health check has version {version}, not {seen}.")]
    HealthCheckVersionMismatch { seen: i64, version: i64 },
    #[error("Limits Exceeded: you have reached the maximum number of health checks")]
    TooManyHealthChecks,
    #[error("The specified delegation set does not exist: {0}")]
    NoSuchDelegationSet(String),
    #[error("A hosted zone has already been created with the specified caller reference.")]
    HostedZoneAlreadyExists,
    #[error(
        "The specified hosted zone contains non-required resource record sets and so cannot be deleted."
    )]
    HostedZoneNotEmpty,
    #[error("The specified hosted zone is a public hosted zone.")]
    HostedZoneNotPrivate,
    #[error("{0}")]
    InvalidDomainName(String),
    #[error("{0}")]
    InvalidInput(String),
    #[error("The VPC: {0} that you provided is not found")]
    InvalidVpcId(String),
    /// A message for each problem.
    #[error("[{}]", .0.join(", "))]
    InvalidChangeBatch(Vec<String>),
    #[error(
        "The VPC {vpc_id} in region {region} has already been associated with the hosted zone {zone_id} with the same domain name."
    )]
    ConflictingDomainExists {
        vpc_id: String,
        region: String,
        zone_id: String,
    },
    #[error(
        "The specified hosted zone is a public hosted zone and can't be associated with a VPC."
    )]
    PublicZoneVpcAssociation,
    #[error("The specified VPC is the last VPC that is associated with the private hosted zone.")]
    LastVpcAssociation,
    #[error("The VPC: {0} is not associated with the hosted zone")]
    VpcAssociationNotFound(String),
    #[error(
        "The VPC: {0} has not authorized the association with your hosted zone. To authorize it, the other account must create an authorization."
    )]
    NotAuthorized(String),
    #[error(
        "The resource hostedzone/{zone_id} can only be managed through AWS Cloud Map ({namespace_arn})"
    )]
    OwnedByCloudMap {
        zone_id: String,
        namespace_arn: String,
    },
    #[error("{0}")]
    LimitsExceeded(String),
    #[error(
        "A delegation set with the same owner and caller reference combination has already been created."
    )]
    DelegationSetAlreadyCreated,
    #[error("The specified delegation set has already been marked as reusable: {0}")]
    DelegationSetAlreadyReusable(String),
    #[error(
        "The specified delegation contains associated hosted zones which must be deleted before the reusable delegation set can be deleted: {0}"
    )]
    DelegationSetInUse(String),
    #[error("The specified HostedZone cannot be found: {0}")]
    HostedZoneNotFound(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error(
        "A CIDR collection with this name and a different caller reference already exists in this account."
    )]
    CidrCollectionAlreadyExists,
    #[error("This CIDR collection is in use, and isn't empty.")]
    CidrCollectionInUse,
    #[error(
        "The CIDR collection version you provided, doesn't match the one in the CollectionVersion parameter."
    )]
    CidrCollectionVersionMismatch,
    #[error("{0}")]
    CidrBlockInUse(String),
    #[error("The CIDR collection you specified, doesn't exist.")]
    NoSuchCidrCollection,
    #[error("The CIDR collection location doesn't match any locations in your account.")]
    NoSuchCidrLocation,
    #[error(
        "You've created the maximum number of authorizations that can be created for the specified hosted zone."
    )]
    TooManyVpcAssociationAuthorizations,
    #[error("The VPC that you specified is not authorized to be associated with the hosted zone.")]
    VpcAssociationAuthorizationNotFound,
    #[error("The specified CloudWatch Logs log group doesn't exist.")]
    NoSuchLogGroup,
    #[error("The query logging configuration does not exist")]
    NoSuchQueryLoggingConfig,
    #[error("A query logging configuration already exists for this hosted zone.")]
    QueryLoggingConfigAlreadyExists,
    #[error(
        "Cannot create hosted zone: the hosted zone {0}, whose name is the same, its parent's or its child's, shares name servers of the delegation set"
    )]
    ConflictingServers(String),
    #[error("The specified hosted zone contains DNSSEC Key Signing Keys and so cannot be deleted.")]
    SigningKeysLeft,
    #[error("The specified key-signing key (KSK) doesn't exist: {0}")]
    NoSuchKeySigningKey(String),
    #[error(
        "You've already created a key-signing key (KSK) with this name or with the same customer managed key ARN."
    )]
    KeySigningKeyAlreadyExists,
    #[error("You've reached the limit for the number of key-signing keys (KSKs).")]
    TooManyKeySigningKeys,
    #[error(
        "The key-signing key (KSK) name that you specified isn't a valid name. It may have letters, numbers and underscores."
    )]
    InvalidKeySigningKeyName,
    #[error("{0}")]
    InvalidKeySigningKeyStatus(String),
    #[error("The status '{0}' is not valid: it must be ACTIVE or INACTIVE.")]
    InvalidSigningStatus(String),
    #[error("{0}")]
    InvalidKmsArn(String),
    #[error(
        "The key-signing key (KSK) that you specified can't be deactivated because it's the only KSK for a currently-enabled DNSSEC. Disable DNSSEC signing, or add or enable another KSK."
    )]
    KeySigningKeyInUse,
    #[error("The key-signing key (KSK) is specified in a parent DS record.")]
    KeySigningKeyInParentDsRecord,
    #[error("A key-signing key (KSK) with ACTIVE status wasn't found.")]
    ActiveKeySigningKeyNotFound,
    #[error("The hosted zone doesn't have any DNSSEC resources.")]
    DnssecNotFound,
    #[error(
        "The hosted zone nameservers don't match the parent nameservers. The hosted zone and parent must have the same nameservers."
    )]
    HostedZonePartiallyDelegated,
    #[error("Limits Exceeded: you have reached the maximum number of hosted zones")]
    TooManyHostedZones,
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchHostedZone(_) => "NoSuchHostedZone",
            Self::NoSuchChange(_) => "NoSuchChange",
            Self::NoSuchHealthCheck(_) => "NoSuchHealthCheck",
            Self::NoSuchGeoLocation => "NoSuchGeoLocation",
            Self::HealthCheckAlreadyExists => "HealthCheckAlreadyExists",
            Self::HealthCheckVersionMismatch { .. } => "HealthCheckVersionMismatch",
            Self::TooManyHealthChecks => "TooManyHealthChecks",
            Self::NoSuchDelegationSet(_) => "NoSuchDelegationSet",
            Self::HostedZoneAlreadyExists => "HostedZoneAlreadyExists",
            Self::HostedZoneNotEmpty => "HostedZoneNotEmpty",
            Self::HostedZoneNotPrivate => "HostedZoneNotPrivate",
            Self::InvalidDomainName(_) => "InvalidDomainName",
            Self::InvalidInput(_) => "InvalidInput",
            Self::InvalidVpcId(_) => "InvalidVPCId",
            Self::InvalidChangeBatch(_) => "InvalidChangeBatch",
            Self::ConflictingDomainExists { .. } => "ConflictingDomainExists",
            Self::PublicZoneVpcAssociation => "PublicZoneVPCAssociation",
            Self::LastVpcAssociation => "LastVPCAssociation",
            Self::VpcAssociationNotFound(_) => "VPCAssociationNotFound",
            Self::NotAuthorized(_) => "NotAuthorizedException",
            Self::OwnedByCloudMap { .. } => "AccessDenied",
            Self::LimitsExceeded(_) => "LimitsExceeded",
            Self::DelegationSetAlreadyCreated => "DelegationSetAlreadyCreated",
            Self::DelegationSetAlreadyReusable(_) => "DelegationSetAlreadyReusable",
            Self::DelegationSetInUse(_) => "DelegationSetInUse",
            Self::HostedZoneNotFound(_) => "HostedZoneNotFound",
            Self::InvalidArgument(_) => "InvalidArgument",
            Self::CidrCollectionAlreadyExists => "CidrCollectionAlreadyExistsException",
            Self::CidrCollectionInUse => "CidrCollectionInUseException",
            Self::CidrCollectionVersionMismatch => "CidrCollectionVersionMismatchException",
            Self::CidrBlockInUse(_) => "CidrBlockInUseException",
            Self::NoSuchCidrCollection => "NoSuchCidrCollectionException",
            Self::NoSuchCidrLocation => "NoSuchCidrLocationException",
            Self::TooManyVpcAssociationAuthorizations => "TooManyVPCAssociationAuthorizations",
            Self::VpcAssociationAuthorizationNotFound => "VPCAssociationAuthorizationNotFound",
            Self::NoSuchLogGroup => "NoSuchCloudWatchLogsLogGroup",
            Self::NoSuchQueryLoggingConfig => "NoSuchQueryLoggingConfig",
            Self::QueryLoggingConfigAlreadyExists => "QueryLoggingConfigAlreadyExists",
            Self::ConflictingServers(_) => "ConflictingDomainExists",
            Self::TooManyHostedZones => "TooManyHostedZones",
            Self::SigningKeysLeft => "HostedZoneNotEmpty",
            Self::NoSuchKeySigningKey(_) => "NoSuchKeySigningKey",
            Self::KeySigningKeyAlreadyExists => "KeySigningKeyAlreadyExists",
            Self::TooManyKeySigningKeys => "TooManyKeySigningKeys",
            Self::InvalidKeySigningKeyName => "InvalidKeySigningKeyName",
            Self::InvalidKeySigningKeyStatus(_) => "InvalidKeySigningKeyStatus",
            Self::InvalidSigningStatus(_) => "InvalidSigningStatus",
            Self::InvalidKmsArn(_) => "InvalidKMSArn",
            Self::KeySigningKeyInUse => "KeySigningKeyInUse",
            Self::KeySigningKeyInParentDsRecord => "KeySigningKeyInParentDSRecord",
            Self::ActiveKeySigningKeyNotFound => "KeySigningKeyWithActiveStatusNotFound",
            Self::DnssecNotFound => "DNSSECNotFound",
            Self::HostedZonePartiallyDelegated => "HostedZonePartiallyDelegated",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::NoSuchHostedZone(_)
            | Self::NoSuchChange(_)
            | Self::NoSuchHealthCheck(_)
            | Self::NoSuchGeoLocation
            | Self::VpcAssociationNotFound(_)
            | Self::NoSuchCidrCollection
            | Self::NoSuchCidrLocation
            | Self::VpcAssociationAuthorizationNotFound
            | Self::NoSuchLogGroup
            | Self::NoSuchKeySigningKey(_)
            | Self::NoSuchQueryLoggingConfig => 404,
            Self::HostedZoneAlreadyExists
            | Self::CidrCollectionVersionMismatch
            | Self::QueryLoggingConfigAlreadyExists
            | Self::HealthCheckAlreadyExists
            | Self::KeySigningKeyAlreadyExists
            | Self::HealthCheckVersionMismatch { .. } => 409,
            Self::NotAuthorized(_) => 401,
            Self::OwnedByCloudMap { .. } => 403,
            _ => 400,
        }
    }
}

/// An `InvalidInput` with that text.
pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::InvalidInput(text.into())
}

/// What AWS has and fogbank does not yet: said aloud, never stored and ignored.
pub fn not_offered(what: &str) -> Refusal {
    Refusal::InvalidInput(format!("{what} is not offered by this region yet"))
}
