//! Rows of Secrets Manager.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The stage that a reader gets unless he names another.
pub const CURRENT: &str = "AWSCURRENT";
/// The stage of what was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    pub scope: Scope,
    pub name: String,
    /// Ends in a dash and six random characters.
    pub arn: String,
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    /// Oldest first; those without a stage are deprecated.
    pub versions: Vec<SecretVersion>,
    /// JSON text as given.
    pub policy: Option<String>,
    /// When DeleteSecret was called, and when the secret goes.
    pub deleted_at: Option<(Timestamp, Timestamp)>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    pub accessed_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// The ClientRequestToken of the call that made it.
    pub id: String,
    pub value: SecretValue,
    pub stages: BTreeSet<String>,
    pub created_at: Timestamp,
    pub accessed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SecretValue {
    Text(String),
    Binary(Vec<u8>),
    /// Encrypted with the secret's key in the context that [`SecretValue::context`] says.
    Encrypted {
        is_text: bool,
        ciphertext: Vec<u8>,
    },
}

impl SecretValue {
    /// What a value is encrypted in.
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html>
    pub fn context(arn: &str, version_id: &str) -> BTreeMap<String, String> {
        let pairs = [("SecretARN", arn), ("SecretVersionId", version_id)];
        let own = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        own.into()
    }
}

impl Secret {
    /// The version that bears a stage; at most one does.
    pub fn at_stage(&self, stage: &str) -> Option<&SecretVersion> {
        self.versions
            .iter()
            .find(|version| version.stages.contains(stage))
    }
}
