//! Images that were pulled, kept for the next task, and everything unpacked; both go when nothing needs them.
//!
//! Pulled blobs lie in `<data>/pulled`, apart from those of the region's own registry (`<data>/blobs`): each store has
//! one owner, so none ever removes what the other's rows name. Who prepares a task holds a [`Use`] from before it looks
//! for a blob until its bundle is written. What must stay true: nothing that somebody touched under a living [`Use`], or
//! names by it, is removed. A blob's time of change is when it was last needed; so that is known after a restart too.
//!
//! As the agent of ECS cleans up: images unused for an hour, looked for each half hour; and as Kubernetes' does: those
//! unused for longest sooner, when the disk is nearly full. Decision 0028.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/automated_image_cleanup.html>
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#containers-images>

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fogbank_store::blob::{BlobError, BlobStore, Digest};

use super::manifest::{Document, MANIFEST_LIMIT_BYTES};
use super::{Image, LayerError, LayerStore, Platform};

/// A file's time of change comes from the kernel's coarse clock, which is some milliseconds behind.
const CLOCK_MARGIN: Duration = Duration::from_secs(1);

/// See the module.
pub struct ImageCache {
    blobs: BlobStore,
    layers: LayerStore,
    uses: Mutex<Uses>,
}

#[derive(Default)]
struct Uses {
    next: u64,
    living: BTreeMap<u64, Held>,
}

struct Held {
    since: SystemTime,
    layers: HashSet<Digest>,
}

/// A preparation under way; what it needs stays until it is dropped.
pub struct Use {
    cache: Arc<ImageCache>,
    number: u64,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub blobs: usize,
    pub bytes: u64,
    pub layers: usize,
}

/// What is to go.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Blobs that nobody needed for so long go.
    pub idle: Duration,
    /// If so many bytes are wanted, even those that nobody needed for so short a time, the longest unused first.
    pub grace: Duration,
    pub wanted_bytes: u64,
}

/// A pulled blob, with the time when it was needed last.
#[derive(Clone, Debug)]
struct Found {
    digest: Digest,
    bytes: u64,
    touched: SystemTime,
}

/// The blobs that are to go by the rule, the longest unused first.
fn choose(mut found: Vec<Found>, rule: &Rule, now: SystemTime) -> Vec<Found> {
    let ago = |time: Duration| now.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
    let (idle_since, grace_since) = (ago(rule.idle), ago(rule.grace));
    found.sort_by_key(|one| (one.touched, one.digest));
    let mut bytes = 0;
    found.retain(|one| {
        let short = bytes < rule.wanted_bytes && one.touched < grace_since;
        let goes = one.touched < idle_since || short;
        bytes += if goes { one.bytes } else { 0 };
        goes
    });
    found
}

/// How many bytes are to be freed: none while 15 % of the disk are, else until 20 % are.
fn wanted_bytes(used_bytes: u64, available_bytes: u64) -> u64 {
    // As df reckons: what only root may fill is no part of the disk.
    let all_bytes = used_bytes.saturating_add(available_bytes);
    if available_bytes >= all_bytes / 100 * 15 {
        return 0;
    }
    (all_bytes / 5).saturating_sub(available_bytes)
}

/// Why nothing, or not everything, could be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl ImageCache {
    /// Opens, and makes if needed, the store of pulled blobs. Only for the host's one agent, at its start: what pulls of an
    /// earlier life left half-way goes.
    pub fn open(data: &Path, layers: LayerStore) -> Result<Self, BlobError> {
        let blobs = BlobStore::open(&data.join("pulled"))?;
        blobs.sweep(Duration::ZERO)?;
        Ok(Self {
            blobs,
            layers,
            uses: Mutex::default(),
        })
    }

    /// Pulled blobs. Who asks whether one is here to rely on it asks [`Self::touch`].
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    pub fn layers(&self) -> &LayerStore {
        &self.layers
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        // Nothing panics while it is held half-way.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a preparation.
    pub fn begin(self: &Arc<Self>) -> Use {
        let mut uses = self.uses();
        let number = uses.next;
        uses.next += 1;
        let held = Held {
            since: SystemTime::now(),
            layers: HashSet::new(),
        };
        uses.living.insert(number, held);
        Use {
            cache: Arc::clone(self),
            number,
        }
    }

    /// The blob's size if it is here; then it counts as needed now.
    pub fn touch(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let _alone = self.uses();
        self.blobs.touch(digest)
    }

    /// Reads a pulled image, all of which then counts as needed now.
    pub fn image(&self, digest: &Digest) -> Result<Image, super::ImageError> {
        self.touch(digest)?;
        let image = Image::open(&self.blobs, digest, &Platform::host())?;
        for blob in image.blobs() {
            self.touch(blob)?;
        }
        Ok(image)
    }

    /// How many bytes are wanted on the disk, by its filling.
    pub fn wanted_bytes(&self) -> u64 {
        let Ok(disk) = rustix::fs::statvfs(self.blobs.root()) else {
            return 0;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        wanted_bytes(
            bytes(disk.f_blocks.saturating_sub(disk.f_bfree)),
            bytes(disk.f_bavail),
        )
    }

    /// Removes pulled blobs by the rule, then layers that neither an image that stays, nor `named` (those of the registry's
    /// images), nor a bundle, nor a preparation has. `bundles` gives pulled images and layers of tasks that were begun; it
    /// is asked when no preparation can end meanwhile. Blocks.
    pub fn collect(
        &self,
        rule: &Rule,
        mut named: HashSet<Digest>,
        bundles: impl Fn() -> (Vec<Digest>, Vec<Digest>),
    ) -> Result<Collected, CollectError> {
        for manifest in bundles().0 {
            // An image of the region's registry is not among the pulled ones.
            let _ = self.image(&manifest);
        }
        let mut collected = self.collect_blobs(rule)?;
        for digest in self.blobs.digests()? {
            if self.is_manifest(&digest)?
                && let Ok(image) = Image::open(&self.blobs, &digest, &Platform::host())
            {
                named.extend(image.layers.iter().map(|layer| layer.diff_id));
            }
        }
        let removed = {
            let uses = self.uses();
            named.extend(bundles().1);
            for held in uses.living.values() {
                named.extend(&held.layers);
            }
            self.layers.set_aside(&named)?
        };
        collected.layers = removed.len();
        self.layers.remove(removed)?;
        Ok(collected)
    }

    fn collect_blobs(&self, rule: &Rule) -> Result<Collected, BlobError> {
        let mut found = Vec::new();
        for digest in self.blobs.digests()? {
            if let Some((bytes, touched)) = self.blobs.touched(&digest)? {
                found.push(Found {
                    digest,
                    bytes,
                    touched,
                });
            }
        }
        let mut collected = Collected::default();
        for one in choose(found, rule, SystemTime::now()) {
            // For each blob anew: whoever begins or touches meanwhile waits for one removal at most.
            let uses = self.uses();
            let oldest = uses.living.values().map(|held| held.since).min();
            let needed = oldest.is_some_and(|oldest| one.touched + CLOCK_MARGIN >= oldest);
            let newest = self.blobs.touched(&one.digest)?;
            if !needed && newest == Some((one.bytes, one.touched)) {
                self.blobs.remove(&one.digest)?;
                collected.blobs += 1;
                collected.bytes += one.bytes;
            }
        }
        Ok(collected)
    }

    fn is_manifest(&self, digest: &Digest) -> Result<bool, BlobError> {
        if self
            .blobs
            .size(digest)?
            .is_none_or(|size| size > MANIFEST_LIMIT_BYTES)
        {
            return Ok(false);
        }
        let bytes = self.blobs.read(digest, MANIFEST_LIMIT_BYTES)?;
        Ok(bytes.is_some_and(|bytes| matches!(Document::parse(&bytes), Ok(Document::Manifest(_)))))
    }
}

impl Use {
    /// The image's layers stay until this is dropped. To be said before they are looked for.
    pub fn hold(&self, image: &Image) {
        if let Some(held) = self.cache.uses().living.get_mut(&self.number) {
            held.layers
                .extend(image.layers.iter().map(|layer| layer.diff_id));
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.cache.uses().living.remove(&self.number);
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
