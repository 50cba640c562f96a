//! Rows of ECR; blobs are files under the data folder, by digest.

use crate::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `<account>.dkr.ecr.<region>.amazonaws.com/<name>`
    pub uri: String,
    /// `MUTABLE`, `IMMUTABLE`, or one of these with `_WITH_EXCLUSION`.
    pub tag_mutability: String,
    /// Patterns of tags for which the opposite holds.
    #[serde(default)]
    pub mutability_exclusions: Vec<String>,
    pub scan_on_push: bool,
    pub lifecycle_policy: Option<String>,
    /// When the lifecycle policy was last put or evaluated.
    #[serde(default)]
    pub lifecycle_evaluated_at: Option<Timestamp>,
    pub policy: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// A manifest in a repository; its bytes are a blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub scope: Scope,
    pub repository: String,
    /// `sha256:<hex>` of the manifest.
    pub digest: String,
    pub media_type: String,
    /// Manifest, config and layers, in bytes.
    pub size: u64,
    pub image_tags: Vec<String>,
    /// Digests of configuration and layers; of an index: none.
    #[serde(default)]
    pub blobs: Vec<String>,
    /// Digests of the images that an index names.
    #[serde(default)]
    pub manifests: Vec<String>,
    pub pushed_at: Timestamp,
}

/// A blob that was pushed to a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub scope: Scope,
    pub repository: String,
    pub digest: String,
    pub size: u64,
    /// When it was pushed; 0: by an older fogbank.
    #[serde(default)]
    pub pushed_at: Timestamp,
}

/// What an account set for its registry as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    pub scope: Scope,
    /// JSON text as given.
    pub policy: Option<String>,
    /// `BASIC`; nothing is scanned here.
    pub scan_type: String,
    /// How often (`SCAN_ON_PUSH`, `MANUAL`) and patterns of repositories.
    pub scan_rules: Vec<(String, Vec<String>)>,
    /// `BASIC_SCAN_TYPE_VERSION`, `REGISTRY_POLICY_SCOPE`, `BLOB_MOUNTING`.
    pub account_settings: BTreeMap<String, String>,
}

/// The last preview of a lifecycle policy of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifecyclePreview {
    pub scope: Scope,
    pub repository: String,
    pub policy: String,
    /// Digest of an image that would expire, and the priority of the rule that says so.
    pub expiring: Vec<(String, u64)>,
}
