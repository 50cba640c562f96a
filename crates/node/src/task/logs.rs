//! The awslogs driver's part: which stream takes a container's output, and that it exists.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html>. As on AWS it is the host that creates the
//! stream (and the group, if the definition says so) before the container starts.

use std::sync::Arc;
use std::time::Duration;

use fogbank_store::log::seal_with;
use fogbank_store::{Compare, Op, Store, StoreError, Txn};
use fogbank_types::RegionConfig;
use fogbank_types::ecs::{ContainerDefinition, Task};
use fogbank_types::logs::{LogGroup, LogKeyPair, LogStream};
use fogbank_types::{Row, Scope, Snapshot, Tags};

use super::status::now;
use crate::shim::LogOptions;

/// Where a container's output goes.
#[derive(Clone, Debug)]
pub struct LogPlan {
    pub stream: LogStream,
    create_group: bool,
    stream_exists: bool,
    /// Of a group with a key: what its events are sealed with.
    pair: Option<LogKeyPair>,
    pub options: LogOptions,
}

impl LogPlan {
    /// Of a container; `None` if it has no log configuration. The error is the reason that ECS would give.
    pub fn of(
        snapshot: &Snapshot,
        task: &Task,
        index: usize,
        container: &ContainerDefinition,
    ) -> Result<Option<Self>, String> {
        let Some(log) = &container.log_configuration else {
            return Ok(None);
        };
        let option = |name: &str| log.options.get(name).map(String::as_str);
        let options = super::log_options::parse(&log.options).map_err(|said| {
            format!("ResourceInitializationError: failed to validate logger args: {said} : exit status 1")
        })?;
        let group = option("awslogs-group").unwrap_or_default();
        let prefix = option("awslogs-stream-prefix").unwrap_or_default();
        let region = option("awslogs-region").unwrap_or(&task.scope.region);
        let scope = Scope::new(task.scope.account.clone(), region);
        let name = format!("{prefix}/{}/{}", container.name, task.id);
        let may_create = option("awslogs-create-group") == Some("true");
        let group_exists = snapshot.log_groups.contains(&scope, group);
        if !group_exists && !may_create {
            return Err("ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: \
                failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1"
                .to_owned());
        }
        let known = snapshot.log_streams.get(&scope, format!("{group}:{name}"));
        let stream = match known {
            Some(known) => LogStream::clone(known),
            // Task ids are never used again, so this names a folder once and for all.
            None => LogStream {
                scope,
                group: group.to_owned(),
                name,
                uid: format!("{}-{index}", task.id),
                created_at: now(),
            },
        };
        let row = snapshot.log_groups.get(&stream.scope, group);
        let pair = row.and_then(|row| row.current_pair()).cloned();
        Ok(Some(Self {
            stream,
            create_group: !group_exists,
            stream_exists: known.is_some(),
            pair,
            options,
        }))
    }

    /// Whether the group is made, too.
    pub fn creates_group(&self) -> bool {
        self.create_group
    }

    /// Before anything is written. A folder that takes no key takes no events either.
    pub fn seal(&self, config: &RegionConfig) {
        let Some(pair) = &self.pair else {
            return;
        };
        let folder = config.logs_dir().join(&self.stream.uid);
        if let Err(error) = seal_with(&folder, &pair.id, &pair.public) {
            tracing::error!(%error, stream = self.stream.name, "a log stream cannot be sealed");
        }
    }

    /// Creates what is missing. A store that is away holds up the container no longer than `patience`.
    pub async fn ensure(&self, store: &Arc<dyn Store>, patience: Duration) {
        if self.stream_exists {
            return;
        }
        if self.create_group {
            let group = LogGroup {
                key_pairs: Vec::new(),
                scope: self.stream.scope.clone(),
                name: self.stream.group.clone(),
                retention_days: None,
                kms_key_id: None,
                class: "STANDARD".to_owned(),
                created_at: self.stream.created_at,
                tags: Tags::new(),
            };
            create(store, &group, patience).await;
        }
        create(store, &self.stream, patience).await;
    }
}

/// Puts a row unless there is one.
async fn create<T: Row>(store: &Arc<dyn Store>, row: &T, patience: Duration) {
    let text = serde_json::to_vec(row).expect("rows have string keys only");
    let txn = Txn {
        compare: vec![Compare::Absent { key: row.key() }],
        ops: vec![Op::put(row.key(), text)],
    };
    let attempts = async {
        while let Err(error) = store.txn(txn.clone()).await {
            if !matches!(error, StoreError::Unavailable { .. }) {
                tracing::error!(%error, key = row.key(), "cannot create a log stream");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(patience, attempts).await.is_err() {
        tracing::error!(
            key = row.key(),
            "the store is away; the log stream is not created"
        );
    }
}
