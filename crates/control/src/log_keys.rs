//! Log groups with a key of KMS: a key pair each, whose private half is encrypted with the KMS key and whose public half lies
//! in the folders of the group's streams (docs/decisions/0033-logs.md).
//!
//! What must stay true: a private half is decrypted only while its KMS key is enabled; a stream of such a group, whoever
//! made it, has the public half.

use crate::Engine;
use crate::api::ApiError;
use crate::encryption::{self, EncryptionContext};
use crate::model::kms::keys::{self, Named};
use crate::model::logs::{Refusal, invalid, streams};
use fogbank_store::log::{KeyPair, LogError, LogKeys, seal_no_more, seal_with};
use fogbank_types::logs::{LogGroup, LogKeyPair};
use fogbank_types::{RegionConfig, Row, Scope, Snapshot, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Groups whose keys are remembered.
const GROUPS_MAX: usize = 1_024;

/// What a private half is encrypted in.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html>
fn around(group_arn: &str) -> EncryptionContext {
    EncryptionContext::from([("aws:logs:arn".to_owned(), group_arn.to_owned())])
}

/// A new pair for a group. "If you attempt to associate a KMS key with the log group but the KMS key does not exist or the
/// KMS key is disabled, you receive an InvalidParameterException error." Takes some tenths of a second.
pub fn new_pair(
    snapshot: &Snapshot,
    scope: &Scope,
    group: &str,
    kms_key: &str,
    now: Timestamp,
) -> Result<LogKeyPair, ApiError> {
    let unusable = || {
        invalid(format!(
            "The specified KMS key does not exist or is not allowed to be used with LogGroup '{group}'"
        ))
    };
    if !kms_key.starts_with("arn:") {
        return Err(invalid("kmsKeyId must be the ARN of a KMS key.").into());
    }
    let key = keys::find(snapshot, scope, kms_key, Named::ByAlias).map_err(|_| unusable())?;
    keys::usable(&key).map_err(|_| unusable())?;
    let pair = KeyPair::generate().map_err(|error| {
        tracing::error!(%error, "no key pair for a log group");
        ApiError::new(
            "ServiceUnavailableException",
            "The service cannot complete the request.",
        )
        .with_status(500)
    })?;
    let group_arn = scope.arn("logs", &format!("log-group:{group}"));
    let private = encryption::encrypt(&key, &around(&group_arn), &pair.private)?;
    Ok(LogKeyPair {
        id: format!("{}-{}", key.id, now.0),
        kms_key: key.arn(),
        public: pair.public,
        private,
    })
}

/// Private halves that were decrypted.
#[derive(Debug, Default)]
pub struct Keyring(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    /// The pairs whose KMS keys could be used.
    usable: Vec<String>,
    keys: Arc<LogKeys>,
}

impl Keyring {
    /// What opens the events of a group now: the pairs whose KMS keys are enabled. None: the group never had a key.
    pub fn of(&self, snapshot: &Snapshot, group: &LogGroup) -> Option<Arc<LogKeys>> {
        if group.key_pairs.is_empty() {
            return None;
        }
        let pairs = group.key_pairs.iter();
        let pairs: Vec<&LogKeyPair> = pairs.filter(|pair| is_usable(snapshot, pair)).collect();
        let usable: Vec<String> = pairs.iter().map(|pair| pair.id.clone()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{} {}", group.key(), group.created_at.0);
        if let Some(found) = known.get(&name).filter(|found| found.usable == usable) {
            return Some(found.keys.clone());
        }
        let mut keys = LogKeys::default();
        let context = around(&group.arn());
        for pair in pairs {
            let region = &group.scope.region;
            match encryption::decrypt(snapshot, region, None, &context, &pair.private) {
                Ok(private) if keys.add(&pair.id, &private.text) => {}
                Ok(_) => tracing::error!(group = group.name, "a log group's key is none"),
                Err(error) => {
                    tracing::warn!(group = group.name, %error, "a log group's key cannot be decrypted")
                }
            }
        }
        let keys = Arc::new(keys);
        if known.len() >= GROUPS_MAX {
            known.clear();
        }
        let found = keys.clone();
        known.insert(name, Known { usable, keys });
        Some(found)
    }
}

fn is_usable(snapshot: &Snapshot, pair: &LogKeyPair) -> bool {
    let parts: Vec<&str> = pair.kms_key.splitn(6, ':').collect();
    let [_, _, _, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let id = resource.strip_prefix("key/").unwrap_or(resource);
    let key = snapshot.kms_keys.get(&Scope::new(*account, *region), id);
    key.is_some_and(|key| keys::usable(key).is_ok())
}

/// Events of one stream are sealed from now on, or no more, as its group has it.
pub fn seal(config: &RegionConfig, group: &LogGroup, uid: &str) -> Result<(), LogError> {
    let folder = config.logs_dir().join(uid);
    match group.current_pair() {
        Some(pair) => seal_with(&folder, &pair.id, &pair.public),
        None => seal_no_more(&folder),
    }
}

/// The same for all streams of a group.
pub fn seal_all(engine: &Engine, scope: &Scope, name: &str) -> Result<(), ApiError> {
    let snapshot = engine.snapshot();
    let Some(group) = snapshot.log_groups.get(scope, name) else {
        return Err(Refusal::GroupNotFound.into());
    };
    for stream in streams::of(&snapshot, scope, name) {
        seal(engine.config(), group, &stream.uid).map_err(|error| {
            tracing::error!(%error, "a log stream cannot be sealed");
            ApiError::new(
                "ServiceUnavailableException",
                "The service cannot complete the request.",
            )
            .with_status(500)
        })?;
    }
    Ok(())
}

/// Sees to streams that others than the API made, until the process ends.
pub async fn run(engine: Arc<Engine>) {
    let mut snapshots = engine.subscribe();
    let mut sealed = HashSet::new();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let done = tokio::task::spawn_blocking({
            let engine = engine.clone();
            move || {
                keep_sealed(&engine, &snapshot, &mut sealed);
                sealed
            }
        });
        sealed = done.await.unwrap_or_default();
        if snapshots.changed().await.is_err() {
            return;
        }
        // Changes come in bursts.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `sealed`: the streams that were seen to already, and with which pair.
fn keep_sealed(engine: &Engine, snapshot: &Snapshot, sealed: &mut HashSet<(String, String)>) {
    let mut now = HashSet::new();
    for group in snapshot.log_groups.all() {
        let Some(pair) = group.current_pair() else {
            continue;
        };
        for stream in streams::of(snapshot, &group.scope, &group.name) {
            let done = (stream.uid.clone(), pair.id.clone());
            if !sealed.contains(&done)
                && let Err(error) = seal(engine.config(), group, &stream.uid)
            {
                tracing::error!(%error, stream = stream.name, "a log stream cannot be sealed");
                continue;
            }
            now.insert(done);
        }
    }
    *sealed = now;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::kms::managed;
    use crate::model::logs::groups;
    use fogbank_store::log::{Query, Reader, Start, Writer};
    use fogbank_types::Tags;
    use fogbank_types::kms::{Key, KeySecret};

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn key(tx: &mut Tx) -> Key {
        let secret = KeySecret::new([7; 32]);
        managed::ensure(tx, &scope(), "ssm", &secret).unwrap()
    }

    #[test]
    fn a_group_s_events_open_while_its_kms_key_is_enabled() {
        let folder = tempfile::tempdir().unwrap();
        let mut tx = Tx::for_test();
        let key = key(&mut tx);
        let now = tx.now();
        let pair = new_pair(tx.snapshot(), &scope(), "/api", &key.arn(), now).unwrap();
        groups::create(
            &mut tx,
            &scope(),
            "/api",
            None,
            Some(pair.clone()),
            Tags::new(),
        )
        .unwrap();
        seal_with(folder.path(), &pair.id, &pair.public).unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        writer.append(1, 1, b"a secret").unwrap();
        drop(writer);
        let ring = Keyring::default();
        let read = |snapshot: &Snapshot| {
            let group = snapshot.log_groups.get(&scope(), "/api").unwrap();
            let reader = Reader::open(folder.path()).unwrap();
            let mut reader = reader.with_keys(ring.of(snapshot, group));
            reader
                .read(&Query::from(Start::Head))
                .map(|page| page.events.len())
        };
        assert_eq!(read(tx.snapshot()).unwrap(), 1);
        tx.update::<Key>(&scope(), &key.id, |key| key.is_enabled = false);
        assert!(matches!(read(tx.snapshot()), Err(LogError::Sealed { .. })));
        assert!(new_pair(tx.snapshot(), &scope(), "/api", &key.arn(), now).is_err());
        tx.update::<Key>(&scope(), &key.id, |key| key.is_enabled = true);
        // Without a key for what is new, what is old still opens.
        groups::set_key(&mut tx, &scope(), "/api", None).unwrap();
        assert_eq!(read(tx.snapshot()).unwrap(), 1);
        let group = tx.snapshot().log_groups.get(&scope(), "/api").unwrap();
        assert_eq!((group.current_pair(), group.key_pairs.len()), (None, 1));
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let tx = Tx::for_test();
        for id in [
            "alias/aws/ssm",
            "none",
            "arn:aws:kms:us-east-1:000000000000:key/none",
        ] {
            let refused = new_pair(tx.snapshot(), &scope(), "/api", id, tx.now()).unwrap_err();
            assert_eq!(refused.0.code, "InvalidParameterException");
        }
    }
}
