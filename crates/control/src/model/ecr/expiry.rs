//! What repositories no longer keep: images that lifecycle policies expire, layers that no image needs.
//!
//! Called by the worker `image_expiry`. Only rows go here; the bytes are `registry::collector`'s.

use super::{images, lifecycle};
use crate::model::Tx;
use fogbank_types::ecr::{Image, Layer, Repository};
use fogbank_types::{RegionConfig, Snapshot, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// AWS evaluates policies within 24 hours (fact IMG-5); here it is each hour.
const EVALUATION_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * EVALUATION_MS;

/// When the next repository is to be looked at; `None`: nothing waits.
pub fn due_at(snapshot: &Snapshot, config: &RegionConfig) -> Option<Timestamp> {
    let policies = snapshot
        .repositories
        .all()
        .filter(|repository| repository.lifecycle_policy.is_some())
        .map(|repository| next(repository.lifecycle_evaluated_at, config));
    let layers = snapshot
        .layers
        .all()
        .filter(|layer| is_unused(snapshot, layer))
        .map(|layer| kept_until(layer, config));
    policies.chain(layers).min()
}

fn next(last: Option<Timestamp>, config: &RegionConfig) -> Timestamp {
    plus(last.unwrap_or_default(), config.scaled_ms(EVALUATION_MS))
}

fn plus(time: Timestamp, ms: u64) -> Timestamp {
    time.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX / 2))
}

/// A layer without an image may belong to one that is being pushed.
fn kept_until(layer: &Layer, config: &RegionConfig) -> Timestamp {
    plus(layer.pushed_at, config.scaled_ms(DAY_MS))
}

/// Whether no image of its repository has it. Images of an older fogbank don't say what they have.
fn is_unused(snapshot: &Snapshot, layer: &Layer) -> bool {
    images::of(snapshot, &layer.scope, &layer.repository).all(|image| {
        let is_known = !image.blobs.is_empty() || !image.manifests.is_empty();
        is_known && !image.blobs.contains(&layer.digest)
    })
}

/// Removes what is due. Gives the digests of what may be gone from the disk now.
pub fn expire(tx: &mut Tx) -> Vec<String> {
    let mut removed = expire_images(tx);
    removed.extend(expire_layers(tx));
    removed
}

fn expire_images(tx: &mut Tx) -> Vec<String> {
    let (now, config) = (tx.now(), tx.config().clone());
    let due: Vec<Arc<Repository>> = tx
        .snapshot()
        .repositories
        .all()
        .filter(|one| {
            one.lifecycle_policy.is_some() && next(one.lifecycle_evaluated_at, &config) <= now
        })
        .cloned()
        .collect();
    let mut removed = Vec::new();
    for repository in due {
        let text = repository.lifecycle_policy.as_deref().unwrap_or_default();
        let (scope, name) = (&repository.scope, &repository.name);
        // A text that an older fogbank took and this one cannot read expires nothing.
        let rules = lifecycle::read(text).unwrap_or_default();
        let all: Vec<Arc<Image>> = images::of(tx.snapshot(), scope, name).cloned().collect();
        for one in lifecycle::expiring(&rules, &all, now, config.scaled_ms(DAY_MS)) {
            tx.delete::<Image>(scope, format!("{name}@{}", one.digest));
            removed.push(one.digest);
        }
        tx.update::<Repository>(scope, name, |row| row.lifecycle_evaluated_at = Some(now));
    }
    removed
}

fn expire_layers(tx: &mut Tx) -> Vec<String> {
    let (now, config) = (tx.now(), tx.config().clone());
    let snapshot = tx.snapshot();
    let due: BTreeSet<(fogbank_types::Scope, String, String)> = snapshot
        .layers
        .all()
        .filter(|layer| kept_until(layer, &config) <= now && is_unused(snapshot, layer))
        .map(|layer| {
            (
                layer.scope.clone(),
                layer.repository.clone(),
                layer.digest.clone(),
            )
        })
        .collect();
    due.into_iter()
        .map(|(scope, repository, digest)| {
            tx.delete::<Layer>(&scope, format!("{repository}@{digest}"));
            digest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecr::images::{NewImage, put, put_layer};
    use crate::model::ecr::repositories::{self, NewRepository};
    use crate::model::ecr::{manifest, policies};
    use fogbank_types::Scope;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn region() -> Tx {
        let mut tx = Tx::for_test();
        let new = NewRepository {
            name: "api".to_owned(),
            ..NewRepository::default()
        };
        repositories::create(&mut tx, &scope(), new).unwrap();
        tx
    }

    /// An image with that digest, whose two blobs are `n + 1` and `n + 2`.
    fn push(tx: &mut Tx, n: u8) {
        for blob in [n + 1, n + 2] {
            put_layer(tx, &scope(), "api", &digest(blob), 1).unwrap();
        }
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":1}},"layers":[{{"digest":"{}","size":1}}]}}"#,
            digest(n + 1),
            digest(n + 2)
        );
        let new = NewImage {
            repository: "api".to_owned(),
            digest: digest(n),
            manifest_size: 1,
            manifest: manifest::read(text.as_bytes(), None).unwrap(),
            tag: None,
        };
        put(tx, &scope(), new).unwrap();
    }

    #[test]
    fn a_policy_acts_an_hour_after_it_was_put_and_the_layers_follow_after_a_day() {
        let mut tx = region();
        push(&mut tx, 10);
        tx.advance_ms(1);
        push(&mut tx, 20);
        let text = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},
            "action":{"type":"expire"}}]}"#;
        policies::set_lifecycle(&mut tx, &scope(), "api", text.to_owned()).unwrap();
        assert_eq!(expire(&mut tx), Vec::<String>::new(), "not yet");
        assert_eq!(
            due_at(tx.snapshot(), tx.config()),
            Some(plus(tx.now(), EVALUATION_MS))
        );
        tx.advance_ms(EVALUATION_MS as i64);
        assert_eq!(expire(&mut tx), [digest(10)]);
        tx.advance_ms(DAY_MS as i64);
        assert_eq!(
            expire(&mut tx),
            [digest(11), digest(12)],
            "the other image's blobs stay"
        );
        assert_eq!(tx.snapshot().images.len(), 1);
    }

    #[test]
    fn layers_of_a_push_that_was_given_up_go_after_a_day() {
        let mut tx = region();
        put_layer(&mut tx, &scope(), "api", &digest(1), 1).unwrap();
        tx.advance_ms(DAY_MS as i64 - 1);
        assert_eq!(expire(&mut tx), Vec::<String>::new());
        tx.advance_ms(1);
        assert_eq!(expire(&mut tx), [digest(1)]);
        assert_eq!(due_at(tx.snapshot(), tx.config()), None);
    }
}
