//! Rows of Certificate Manager.

use crate::*;
use serde::{Deserialize, Serialize};

/// A certificate with its private key: whoever reads this row can pose as its names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    pub scope: Scope,
    pub arn: String,
    /// The common name, or the first of its names.
    pub domain_name: String,
    /// All its names, `domain_name` first.
    pub names: Vec<String>,
    pub kind: CertificateKind,
    pub status: CertificateStatus,
    /// `DNS` or `EMAIL`; of requested ones.
    pub validation_method: Option<String>,
    pub validations: Vec<DomainValidation>,
    /// `RSA_2048`, `EC_prime256v1`...
    pub key_algorithm: String,
    pub transparency_logging: bool,
    /// `ENABLED` or `DISABLED`: of `Options.Export`.
    #[serde(default)]
    pub export: Option<String>,
    pub idempotency_token: Option<String>,
    pub failure_reason: Option<String>,
    /// From the moment it is issued or imported.
    pub material: Option<CertificateMaterial>,
    pub created_at: Timestamp,
    pub issued_at: Option<Timestamp>,
    pub imported_at: Option<Timestamp>,
    /// Since it was issued or renewed last, it has left the region with its key.
    #[serde(default)]
    pub exported_at: Option<Timestamp>,
    /// The last managed renewal, or the one that is going on.
    #[serde(default)]
    pub renewal: Option<Renewal>,
    pub tags: Tags,
}

/// A managed renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub status: RenewalStatus,
    pub reason: Option<String>,
    pub validations: Vec<DomainValidation>,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RenewalStatus {
    PendingAutoRenewal,
    PendingValidation,
    Success,
    Failed,
}

/// What an account has set for its certificates in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountConfiguration {
    pub scope: Scope,
    pub days_before_expiry: i32,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateMaterial {
    /// PEM.
    pub certificate: String,
    /// PEM, without the certificate itself.
    pub chain: Option<String>,
    /// PEM, unencrypted.
    pub private_key: String,
    /// Hexadecimal bytes with colons.
    pub serial: String,
    pub subject: String,
    pub issuer: String,
    pub signature_algorithm: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// ACM's names; empty: the certificate does not say.
    #[serde(default)]
    pub key_usages: Vec<String>,
    #[serde(default)]
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedKeyUsage {
    /// ACM's name, `CUSTOM` if it has none.
    pub name: String,
    pub oid: String,
}

/// Never the key.
impl std::fmt::Debug for CertificateMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateMaterial")
            .field("subject", &self.subject)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CertificateKind {
    Imported,
    AmazonIssued,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CertificateStatus {
    PendingValidation,
    Issued,
    Expired,
    ValidationTimedOut,
    Failed,
}

/// How a domain is proved: by a CNAME record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainValidation {
    pub domain_name: String,
    /// The domain that mails would go to; of method `EMAIL`.
    #[serde(default)]
    pub validation_domain: Option<String>,
    /// With a trailing dot, as ACM gives it; this and the value are empty for method `EMAIL`.
    pub record_name: String,
    pub record_value: String,
    /// `PENDING_VALIDATION`, `SUCCESS` or `FAILED`.
    pub status: String,
}
