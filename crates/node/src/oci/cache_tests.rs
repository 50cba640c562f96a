//! What is collected, what never is, and a pull that is under way meanwhile.

use super::*;
use crate::oci::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::oci::{Limits, layer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const HOUR: Duration = Duration::from_secs(3600);
const RULE: Rule = Rule {
    idle: HOUR,
    grace: HOUR,
    wanted_bytes: 0,
};
const EVERYTHING: Rule = Rule {
    idle: Duration::ZERO,
    grace: Duration::ZERO,
    wanted_bytes: 0,
};

struct Fixture {
    data: tempfile::TempDir,
    cache: Arc<ImageCache>,
}

fn fixture() -> Fixture {
    let data = tempfile::tempdir().unwrap();
    let layers = LayerStore::open(data.path(), Limits::default()).unwrap();
    let cache = Arc::new(ImageCache::open(data.path(), layers).unwrap());
    Fixture { data, cache }
}

/// An empty archive, made another by its tail of zeros.
fn layer_bytes(number: usize) -> Vec<u8> {
    vec![0; 1024 + 512 * number]
}

impl Fixture {
    /// As a pull does it: what is here is touched, what isn't is brought.
    fn bring(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        if self.cache.touch(&digest).unwrap().is_none() {
            self.cache.blobs().put(bytes).unwrap();
            self.cache.touch(&digest).unwrap();
        }
        digest
    }

    fn pull(&self, number: usize) -> Digest {
        let bytes = layer_bytes(number);
        let layer = self.bring(&bytes);
        let Platform {
            architecture, os, ..
        } = Platform::host();
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"{os}","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config = Descriptor::new(
            OCI_CONFIG,
            self.bring(config.as_bytes()),
            config.len() as u64,
        );
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config,
            layers: vec![Descriptor::new(OCI_LAYER, layer, bytes.len() as u64)],
        };
        self.bring(&serde_json::to_vec(&manifest).unwrap())
    }

    fn unpack(&self, image: &Image) -> Result<std::path::PathBuf, layer::LayerError> {
        self.cache
            .layers()
            .ensure(self.cache.blobs(), &image.layers[0])
    }

    /// As if nobody had needed anything for so long.
    fn age(&self, by: Duration) {
        for digest in self.cache.blobs().digests().unwrap() {
            let file = std::fs::File::open(self.cache.blobs().path(&digest)).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }

    fn collect(&self, named: &[Digest], bundles: (Vec<Digest>, Vec<Digest>)) -> Collected {
        let named = named.iter().copied().collect();
        self.cache
            .collect(&RULE, named, || bundles.clone())
            .unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        let layers = std::fs::read_dir(self.data.path().join("layers")).unwrap();
        (self.cache.blobs().digests().unwrap().len(), layers.count())
    }
}

#[test]
fn an_image_goes_when_nobody_needed_it_for_an_hour() {
    let f = fixture();
    f.unpack(&f.cache.image(&f.pull(0)).unwrap()).unwrap();
    assert_eq!(f.collect(&[], Default::default()), Collected::default());
    assert_eq!(f.counts(), (3, 1));
    f.age(2 * HOUR);
    let collected = f.collect(&[], Default::default());
    assert_eq!((collected.blobs, collected.layers), (3, 1));
    assert!(collected.bytes > 1024);
    assert_eq!(f.counts(), (0, 0));
}

#[test]
fn the_image_of_a_begun_task_stays_and_so_does_its_next_hour() {
    let f = fixture();
    let image = f.cache.image(&f.pull(0)).unwrap();
    f.unpack(&image).unwrap();
    f.pull(1);
    f.age(2 * HOUR);
    let bundle = (vec![image.manifest], vec![image.layers[0].diff_id]);
    assert_eq!(f.collect(&[], bundle).blobs, 3, "the other image's");
    assert_eq!(f.collect(&[], Default::default()), Collected::default());
    assert!(f.cache.image(&image.manifest).is_ok());
}

#[test]
fn a_blob_that_two_images_share_goes_with_the_last() {
    let f = fixture();
    let (first, second) = (f.pull(0), f.pull(0));
    assert_eq!(first, second);
    let other = f.pull(1);
    f.age(2 * HOUR);
    f.cache.image(&other).unwrap();
    f.collect(&[], Default::default());
    assert!(f.cache.image(&other).is_ok());
    assert!(f.cache.image(&first).is_err());
}

#[test]
fn layers_of_the_registrys_images_stay() {
    let f = fixture();
    let image = f.cache.image(&f.pull(0)).unwrap();
    f.unpack(&image).unwrap();
    f.age(2 * HOUR);
    let collected = f.collect(&[image.layers[0].diff_id], Default::default());
    assert_eq!((collected.blobs, collected.layers), (3, 0));
    assert_eq!(f.counts(), (0, 1));
}

#[test]
fn what_a_preparation_touched_or_holds_stays_however_long_it_takes() {
    let f = fixture();
    let in_use = f.cache.begin();
    let image = f.cache.image(&f.pull(0)).unwrap();
    in_use.hold(&image);
    f.unpack(&image).unwrap();
    // An hour later: the layer is named by the preparation alone, the blobs are younger than it.
    f.cache
        .uses()
        .living
        .values_mut()
        .for_each(|held| held.since -= 3 * HOUR);
    f.age(2 * HOUR);
    assert_eq!(f.collect(&[], Default::default()), Collected::default());
    drop(in_use);
    let collected = f.collect(&[], Default::default());
    assert_eq!((collected.blobs, collected.layers), (3, 1));
}

#[test]
fn the_registrys_blobs_are_not_this_ones_to_remove() {
    let f = fixture();
    let registry = BlobStore::open(f.data.path()).unwrap();
    let digest = registry.put(b"of a row").unwrap();
    f.pull(0);
    f.age(2 * HOUR);
    f.collect(&[], Default::default());
    assert_eq!(registry.size(&digest).unwrap(), Some(8));
}

#[test]
fn what_a_pull_of_an_earlier_life_left_goes_at_the_start() {
    let f = fixture();
    let mut writer = f.cache.blobs().writer().unwrap();
    writer.append(b"half").unwrap();
    std::mem::forget(writer);
    let layers = f.cache.layers().clone();
    ImageCache::open(f.data.path(), layers).unwrap();
    let partial = f.data.path().join("pulled/blobs/partial");
    assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0);
}

#[test]
fn at_low_disk_the_longest_unused_image_goes_and_the_next_stays() {
    let f = fixture();
    let old = f.pull(0);
    f.age(HOUR / 2);
    let young = f.pull(1);
    let rule = Rule {
        grace: Duration::from_secs(60),
        wanted_bytes: 1024 + 1,
        ..RULE
    };
    f.cache
        .collect(&rule, HashSet::new(), Default::default)
        .unwrap();
    assert!(f.cache.image(&old).is_err());
    assert!(f.cache.image(&young).is_ok());
}

/// The agent may be killed between any two removals.
#[test]
fn a_collection_that_was_cut_off_is_made_good() {
    let f = fixture();
    let image = f.cache.image(&f.pull(0)).unwrap();
    f.unpack(&image).unwrap();
    for blob in [image.layers[0].blob, image.config_digest] {
        f.cache.blobs().remove(&blob).unwrap();
        assert!(f.cache.image(&image.manifest).is_err(), "not half an image");
        f.pull(0);
        assert!(f.cache.image(&image.manifest).is_ok());
    }
    f.cache.layers().set_aside(&HashSet::new()).unwrap();
    f.cache.layers().sweep().unwrap();
    assert_eq!(f.counts(), (3, 0));
    assert!(f.unpack(&image).unwrap().is_dir());
}

#[test]
fn bytes_are_wanted_below_fifteen_percent_and_until_twenty() {
    let gib = |count: u64| count << 30;
    assert_eq!(wanted_bytes(gib(85), gib(15)), 0);
    assert_eq!(wanted_bytes(gib(86), gib(14)), gib(6));
    assert_eq!(wanted_bytes(0, 0), 0);
}

proptest::proptest! {
    #[test]
    fn what_goes_is_old_enough_and_no_more_than_is_wanted(
        ages in proptest::collection::vec((0..200u64, 1..1000u64), 0..40),
        idle in 0..200u64,
        grace in 0..200u64,
        wanted_bytes in 0..10_000u64,
    ) {
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let rule = Rule {
            idle: Duration::from_secs(idle),
            grace: Duration::from_secs(grace.min(idle)),
            wanted_bytes,
        };
        let found: Vec<_> = ages
            .iter()
            .enumerate()
            .map(|(index, (age, bytes))| Found {
                digest: Digest::of(&index.to_le_bytes()),
                bytes: *bytes,
                touched: now - Duration::from_secs(*age),
            })
            .collect();
        let gone = choose(found.clone(), &rule, now);
        let is_gone = |one: &Found| gone.iter().any(|other| other.digest == one.digest);
        let age = |one: &Found| now.duration_since(one.touched).unwrap();
        for one in &found {
            if age(one) > rule.idle {
                proptest::prop_assert!(is_gone(one), "idle, but stays");
            } else if age(one) <= rule.grace {
                proptest::prop_assert!(!is_gone(one), "within its grace, but goes");
            }
        }
        let oldest_left = found.iter().filter(|one| !is_gone(one)).map(age).max();
        let youngest_gone = gone.iter().map(age).min();
        if let (Some(left), Some(gone)) = (oldest_left, youngest_gone) {
            proptest::prop_assert!(left <= gone, "not the longest unused first");
        }
        let bytes: u64 = gone.iter().map(|one| one.bytes).sum();
        let early = gone.last().filter(|one| age(one) <= rule.idle);
        if let Some(last) = early {
            proptest::prop_assert!(bytes - last.bytes < wanted_bytes, "more than is wanted");
        } else if bytes < wanted_bytes {
            let left = found.iter().filter(|one| !is_gone(one));
            proptest::prop_assert!(left.into_iter().all(|one| age(one) <= rule.grace));
        }
    }
}

/// Four tasks after another pull two images, while everything old enough goes again and again: no task misses anything.
#[test]
fn pulls_under_way_lose_nothing_to_a_collection() {
    let f = fixture();
    let (over, collections) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let pullers: Vec<_> = (0..4)
            .map(|puller: usize| {
                let f = &f;
                scope.spawn(move || {
                    for round in 0..100 {
                        let in_use = f.cache.begin();
                        let digest = f.pull((puller + round) % 2);
                        let image = f.cache.image(&digest).unwrap();
                        in_use.hold(&image);
                        let folder = f.unpack(&image).unwrap();
                        assert!(folder.is_dir());
                    }
                })
            })
            .collect();
        let (f, over, collections) = (&f, &over, &collections);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let found = f
                    .cache
                    .collect(&EVERYTHING, HashSet::new(), Default::default)
                    .unwrap();
                collections.fetch_add(usize::from(found.blobs > 0), Ordering::Relaxed);
            }
        });
        let results: Vec<_> = pullers.into_iter().map(|puller| puller.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    f.cache
        .collect(&EVERYTHING, HashSet::new(), Default::default)
        .unwrap();
    assert_eq!(f.counts(), (0, 0));
}
