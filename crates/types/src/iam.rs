//! Rows of IAM. Their scope's region is `global`.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `AROA...`
    pub role_id: String,
    pub path: String,
    /// JSON text as given.
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub max_session_seconds: u32,
    /// Name to JSON text.
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached_policies: Vec<String>,
    pub permissions_boundary: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    /// `ANPA...`
    pub policy_id: String,
    pub path: String,
    pub description: Option<String>,
    /// At most five, in order of creation.
    pub versions: Vec<PolicyVersion>,
    pub default_version: String,
    /// Number of the next version.
    pub next_version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// `v1`
    pub id: String,
    pub document: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    pub instance_profile_id: String,
    pub path: String,
    pub role: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}
