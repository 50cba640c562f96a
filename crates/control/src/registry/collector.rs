//! Bytes that no row names any more are removed; and none while a row that names them is being written.

use fogbank_store::blob::{BlobStore, Digest};
use fogbank_types::{RegionConfig, Snapshot};
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

static COLLECTING: RwLock<()> = RwLock::new(());

/// Held from before a blob is made durable until its row is committed. Blocks while garbage is collected.
pub fn keep() -> RwLockReadGuard<'static, ()> {
    COLLECTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every blob that no row names, and what uploads of an earlier life left: a crash between a row's end and its
/// bytes' leaves them, and older versions kept pulled images here. Blocks.
pub fn collect_all(config: &RegionConfig, newest: impl FnOnce() -> Snapshot) {
    let Ok(blobs) = BlobStore::open(&config.data_dir) else {
        return;
    };
    let swept = blobs.sweep(super::uploads::IDLE);
    let candidates: Vec<String> = match (swept, blobs.digests()) {
        (Ok(_), Ok(digests)) => digests.iter().map(ToString::to_string).collect(),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "blobs cannot be looked through");
            return;
        }
    };
    collect(config, newest, &candidates);
}

/// Removes those of these blobs that no repository has in the newest snapshot. Blocks.
pub fn collect(config: &RegionConfig, newest: impl FnOnce() -> Snapshot, candidates: &[String]) {
    let _alone = COLLECTING.write().unwrap_or_else(PoisonError::into_inner);
    let snapshot = newest();
    let named: BTreeSet<&str> = snapshot
        .layers
        .all()
        .map(|layer| layer.digest.as_str())
        .chain(snapshot.images.all().map(|image| image.digest.as_str()))
        .collect();
    let Ok(blobs) = BlobStore::open(&config.data_dir) else {
        return;
    };
    for digest in candidates
        .iter()
        .filter(|digest| !named.contains(digest.as_str()))
    {
        let removed = digest
            .parse::<Digest>()
            .and_then(|digest| blobs.remove(&digest));
        if let Err(error) = removed {
            tracing::warn!(digest, %error, "a blob that nobody needs stays");
        }
    }
}
