//! Rows of Key Management Service: keys, their aliases and grants.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub scope: Scope,
    /// A UUID.
    pub id: String,
    pub description: String,
    /// AWS's own, made for a service on first use; else the account's.
    pub is_managed_by_aws: bool,
    pub is_enabled: bool,
    /// JSON text as given.
    pub policy: String,
    pub secret: KeySecret,
    #[serde(default)]
    pub spec: KeySpec,
    /// Oldest first, never empty: the last one encrypts, all decrypt.
    pub materials: Vec<KeyMaterial>,
    /// Of automatic rotation, if it is on.
    pub rotation_period_days: Option<i64>,
    /// Automatic rotation counts its days from here, if no rotation came since.
    pub rotation_enabled_at: Option<Timestamp>,
    pub deletion: Option<KeyDeletion>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// What a key is, and so what it is for.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeySpec {
    /// Encrypts and decrypts.
    #[default]
    SymmetricDefault,
    /// Signs and verifies; the key's secret is the private number.
    EccNistP256 {
        /// The public point: 4, and two coordinates of 32 octets each.
        point: Vec<u8>,
    },
}

impl KeySpec {
    /// AWS's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SymmetricDefault => "SYMMETRIC_DEFAULT",
            Self::EccNistP256 { .. } => "ECC_NIST_P256",
        }
    }

    /// AWS's name of what it is for.
    pub fn usage(&self) -> &'static str {
        match self {
            Self::SymmetricDefault => "ENCRYPT_DECRYPT",
            Self::EccNistP256 { .. } => "SIGN_VERIFY",
        }
    }

    /// AWS's name of the one algorithm that it is used with.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::SymmetricDefault => "SYMMETRIC_DEFAULT",
            Self::EccNistP256 { .. } => "ECDSA_SHA_256",
        }
    }
}

/// What a key's materials follow from, or its private number. It leaves the store for nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeySecret([u8; 32]);

impl KeySecret {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// To encrypt and decrypt with, nothing else.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret")
    }
}

/// One generation of a key; its number is its place in the key's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMaterial {
    pub made_at: Timestamp,
    pub cause: KeyMaterialCause,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyMaterialCause {
    Creation,
    Automatic,
    OnDemand,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDeletion {
    pub at: Timestamp,
    pub window_days: i64,
}

impl Key {
    pub fn arn(&self) -> String {
        self.scope.arn("kms", &format!("key/{}", self.id))
    }

    /// `Enabled`, `Disabled`, `PendingDeletion`
    pub fn state(&self) -> &'static str {
        match (&self.deletion, self.is_enabled) {
            (Some(_), _) => "PendingDeletion",
            (None, true) => "Enabled",
            (None, false) => "Disabled",
        }
    }

    /// Number of the material that encrypts.
    pub fn current_material(&self) -> u32 {
        u32::try_from(self.materials.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    pub scope: Scope,
    /// `alias/...`
    pub name: String,
    pub key_id: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Alias {
    pub fn arn(&self) -> String {
        self.scope.arn("kms", &self.name)
    }
}

/// Lets a principal use a key for some operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub scope: Scope,
    pub key_id: String,
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: Option<String>,
    pub grantee: String,
    pub retiring: Option<String>,
    pub operations: BTreeSet<String>,
    pub constraint: Option<GrantConstraint>,
    /// ARN of the account that made it.
    pub issuing_account: String,
    pub created_at: Timestamp,
}

/// What the encryption context of a call must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantConstraint {
    Equals(BTreeMap<String, String>),
    Holds(BTreeMap<String, String>),
}
