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
    pub tags: Tags,
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

/// The CNAME record that proves a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainValidation {
    pub domain_name: String,
    /// With a trailing dot, as ACM gives it.
    pub record_name: String,
    pub record_value: String,
    /// `PENDING_VALIDATION`, `SUCCESS` or `FAILED`.
    pub status: String,
}
