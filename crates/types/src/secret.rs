//! Rows of Secrets Manager.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
}

impl Secret {
    /// The version that bears a stage; at most one does.
    pub fn at_stage(&self, stage: &str) -> Option<&SecretVersion> {
        self.versions
            .iter()
            .find(|version| version.stages.contains(stage))
    }
}
