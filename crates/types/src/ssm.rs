//! Rows of Systems Manager's Parameter Store.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    pub scope: Scope,
    /// As given, with its slashes.
    pub name: String,
    /// Oldest first, at most a hundred; the last one is the parameter's value.
    pub versions: Vec<ParameterVersion>,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterVersion {
    /// From 1.
    pub version: u64,
    pub kind: ParameterKind,
    /// Empty where it is encrypted.
    pub value: String,
    /// A SecureString's value, encrypted with its key in the context `PARAMETER_ARN`.
    #[serde(default)]
    pub ciphertext: Vec<u8>,
    /// `text`, `aws:ec2:image`.
    pub data_type: String,
    /// `Standard`, `Advanced`.
    pub tier: String,
    pub description: Option<String>,
    pub allowed_pattern: Option<String>,
    /// Of a SecureString; `alias/aws/ssm` unless given.
    pub key_id: Option<String>,
    /// JSON text as given.
    pub policies: Option<String>,
    pub labels: BTreeSet<String>,
    pub modified_at: Timestamp,
    /// ARN of the caller.
    pub modified_by: String,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterKind {
    String,
    StringList,
    SecureString,
}

impl Parameter {
    /// `arn:aws:ssm:<region>:<account>:parameter/<name>`, whose slash the name may bring itself.
    pub fn arn(&self) -> String {
        let name = self.name.strip_prefix('/').unwrap_or(&self.name);
        self.scope.arn("ssm", &format!("parameter/{name}"))
    }

    /// What a SecureString is encrypted in.
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html>
    pub fn context(&self) -> BTreeMap<String, String> {
        [("PARAMETER_ARN".to_owned(), self.arn())].into()
    }

    pub fn latest(&self) -> Option<&ParameterVersion> {
        self.versions.last()
    }
}
