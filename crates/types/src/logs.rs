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
    /// Of the KMS keys that the group has, or had: what was sealed with one stays so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_pairs: Vec<LogKeyPair>,
}

/// What events are sealed with, and opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogKeyPair {
    pub id: String,
    /// ARN of the key that the private half is encrypted with.
    pub kms_key: String,
    pub public: Vec<u8>,
    /// Encrypted.
    pub private: Vec<u8>,
}

impl LogGroup {
    /// What new events are sealed with; None: they are not.
    pub fn current_pair(&self) -> Option<&LogKeyPair> {
        self.kms_key_id.as_ref().and(self.key_pairs.last())
    }

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

/// Events of a group that are made a metric of, from its making on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricFilter {
    pub scope: Scope,
    pub group: String,
    pub name: String,
    /// As given; it was understood.
    pub pattern: String,
    pub namespace: String,
    pub metric: String,
    /// A number, or where in the event it stands: `$.field` or `$word`.
    pub value: String,
    /// Of a minute in which events came and none matched.
    pub default_value: Option<f64>,
    pub unit: Option<String>,
    /// Name, and where in the event the value stands.
    pub dimensions: Vec<(String, String)>,
    pub created_at: Timestamp,
}
