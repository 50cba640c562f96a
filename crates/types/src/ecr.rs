//! Rows of ECR; blobs are files under the data folder, by digest.

use crate::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repository {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `<account>.dkr.ecr.<region>.amazonaws.com/<name>`
    pub uri: String,
    /// `MUTABLE` or `IMMUTABLE`.
    pub tag_mutability: String,
    pub scan_on_push: bool,
    pub lifecycle_policy: Option<String>,
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
    pub pushed_at: Timestamp,
}

/// A blob that was pushed to a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub scope: Scope,
    pub repository: String,
    pub digest: String,
    pub size: u64,
}
