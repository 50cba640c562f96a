//! When images and layers that nothing needs are collected, and what says that they are needed.
//!
//! Called by the agent at its start, before anything is adopted, and then by a worker of its own. What is removed, and
//! what never, is `oci::cache`'s.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_store::blob::Digest;
use fogbank_types::Snapshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Host, life};
use crate::oci::cache::Rule;
use crate::oci::{Image, Platform};

/// `ECS_IMAGE_CLEANUP_INTERVAL` and `ECS_IMAGE_MINIMUM_CLEANUP_AGE`, by their defaults.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html>
const INTERVAL_MS: u64 = 30 * 60_000;
const IDLE_MS: u64 = 60 * 60_000;
/// How often the disk is looked at, and how long an image that nobody needs stays at least if it is nearly full.
const LOW_DISK_INTERVAL: Duration = Duration::from_secs(60);
const LOW_DISK_GRACE: Duration = Duration::from_secs(60);
/// However fast the region's time is, the disk's is not.
const LEAST: Duration = Duration::from_secs(2);

/// The worker; it ends with this.
pub struct Collection {
    snapshots: watch::Sender<Option<Snapshot>>,
    worker: JoinHandle<()>,
}

impl Collection {
    pub fn start(host: Arc<Host>) -> Self {
        let (snapshots, newest) = watch::channel(None);
        Self {
            snapshots,
            worker: tokio::spawn(work(host, newest)),
        }
    }

    /// The rows as they are now.
    pub fn see(&self, snapshot: &Snapshot) {
        self.snapshots.send_replace(Some(snapshot.clone()));
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

async fn work(host: Arc<Host>, newest: watch::Receiver<Option<Snapshot>>) {
    let interval = Duration::from_millis(host.config.scaled_ms(INTERVAL_MS)).max(LEAST);
    let mut due = Instant::now() + interval;
    loop {
        tokio::time::sleep(interval.min(LOW_DISK_INTERVAL)).await;
        if Instant::now() < due && host.cache.wanted_bytes() == 0 {
            continue;
        }
        due = Instant::now() + interval;
        let snapshot = newest.borrow().clone();
        if let Some(snapshot) = snapshot {
            let host = Arc::clone(&host);
            // One that panics has said so; the next is tried all the same.
            let _ = tokio::task::spawn_blocking(move || collect(&host, &snapshot)).await;
        }
    }
}

/// Removes pulled images that no task needed lately, and unpacked layers of no image and no task. Blocks.
pub fn collect(host: &Host, snapshot: &Snapshot) {
    let platform = Platform::host();
    let digests = snapshot
        .images
        .all()
        .filter_map(|image| image.digest.parse().ok());
    let images = digests.filter_map(|digest| Image::open(&host.blobs, &digest, &platform).ok());
    let named: HashSet<Digest> = images
        .flat_map(|image| image.layers)
        .map(|layer| layer.diff_id)
        .collect();
    let idle = Duration::from_millis(host.config.scaled_ms(IDLE_MS)).max(LEAST);
    let rule = Rule {
        idle,
        grace: idle.min(LOW_DISK_GRACE),
        wanted_bytes: host.cache.wanted_bytes(),
    };
    match host.cache.collect(&rule, named, || begun(host)) {
        Ok(found) if found == Default::default() => {}
        Ok(found) => tracing::info!(
            blobs = found.blobs,
            bytes = found.bytes,
            layers = found.layers,
            "images that nothing needs are removed"
        ),
        Err(error) => tracing::warn!(error = life::chain(&error), "unused images are left"),
    }
}

/// Images and layers of the tasks in the ledger.
fn begun(host: &Host) -> (Vec<Digest>, Vec<Digest>) {
    let (mut images, mut layers) = (Vec::new(), Vec::new());
    for id in host.ledger.tasks().unwrap_or_default() {
        layers.extend(life::layers_in_use(&host.ledger.bundle(&id)));
        let Ok(Some(record)) = host.ledger.read(&id) else {
            continue;
        };
        let containers = record.status.containers.iter();
        images
            .extend(containers.filter_map(|one| one.image_digest.as_ref()?.parse::<Digest>().ok()));
    }
    images.sort_unstable();
    images.dedup();
    (images, layers)
}
