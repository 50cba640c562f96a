//! Rows of CloudWatch Logs; events are files under the data folder, by the stream's uid.

use crate::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogGroup {
    pub scope: Scope,
    pub name: String,
    pub retention_days: Option<u32>,
    pub kms_key_id: Option<String>,
    /// `STANDARD` or `INFREQUENT_ACCESS`.
    pub class: String,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl LogGroup {
    /// Without the trailing `:*`.
    pub fn arn(&self) -> String {
        self.scope.arn("logs", &format!("log-group:{}", self.name))
    }
}

/// Who of other services may write into the account's groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogResourcePolicy {
    pub scope: Scope,
    pub name: String,
    /// JSON text as given.
    pub document: String,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogStream {
    pub scope: Scope,
    pub group: String,
    pub name: String,
    /// Name of the folder with its events; never used again for another stream.
    pub uid: String,
    pub created_at: Timestamp,
}
