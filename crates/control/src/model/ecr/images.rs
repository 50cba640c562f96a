//! Images: manifests in a repository, with their tags (facts IMG-3, IMG-4).

use super::manifest::{self, Manifest, is_digest, is_tag};
use super::{Refusal, repositories};
use crate::model::Tx;
use fogbank_types::ecr::{Image, Layer};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// How a caller names an image: by digest, by tag, or by both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageName {
    pub digest: Option<String>,
    pub tag: Option<String>,
}

impl std::fmt::Display for ImageName {
    /// As AWS writes it in texts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".to_owned());
        write!(
            f,
            "{{imageDigest:'{}', imageTag:'{}'}}",
            text(&self.digest),
            text(&self.tag)
        )
    }
}

#[derive(Debug, Clone)]
pub struct NewImage {
    pub repository: String,
    pub digest: String,
    /// Bytes of the manifest itself.
    pub manifest_size: u64,
    pub manifest: Manifest,
    pub tag: Option<String>,
}

/// The images of a repository, ordered by digest.
pub fn of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    repository: &str,
) -> impl Iterator<Item = &'a Arc<Image>> + use<'a> {
    // No name holds an `@`, so the prefix is one repository's.
    snapshot
        .images
        .with_prefix(scope, &format!("{repository}@"))
}

/// The image of that tag or digest; both must agree if both are given.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    repository: &str,
    name: &ImageName,
) -> Result<&'a Arc<Image>, Refusal> {
    repositories::find(snapshot, scope, repository)?;
    let found = of(snapshot, scope, repository).find(|image| {
        (name.digest.is_some() || name.tag.is_some())
            && name
                .digest
                .as_ref()
                .is_none_or(|digest| *digest == image.digest)
            && name
                .tag
                .as_ref()
                .is_none_or(|tag| image.image_tags.contains(tag))
    });
    found.ok_or_else(|| Refusal::ImageNotFound {
        image: name.to_string(),
        name: repository.to_owned(),
        registry: scope.account.clone(),
    })
}

/// Notes that a repository has a blob.
pub fn put_layer(
    tx: &mut Tx,
    scope: &Scope,
    repository: &str,
    digest: &str,
    size: u64,
) -> Result<(), Refusal> {
    repositories::find(tx.snapshot(), scope, repository)?;
    if !tx
        .snapshot()
        .layers
        .contains(scope, format!("{repository}@{digest}"))
    {
        tx.put(Layer {
            scope: scope.clone(),
            repository: repository.to_owned(),
            digest: digest.to_owned(),
            size,
            pushed_at: tx.now(),
        });
    }
    Ok(())
}

/// Puts a manifest, whose blobs the repository must have, and moves the tag to it.
pub fn put(tx: &mut Tx, scope: &Scope, new: NewImage) -> Result<Image, Refusal> {
    let repository = repositories::find(tx.snapshot(), scope, &new.repository)?.clone();
    if !is_digest(&new.digest) {
        return Err(Refusal::InvalidParameter(format!(
            "Invalid image digest '{}'",
            new.digest
        )));
    }
    if let Some(tag) = new.tag.as_deref().filter(|tag| !is_tag(tag)) {
        return Err(Refusal::InvalidParameter(format!(
            "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}}''; got '{tag}'"
        )));
    }
    check_references(tx.snapshot(), scope, &new)?;
    let holder = new.tag.as_ref().and_then(|tag| {
        of(tx.snapshot(), scope, &new.repository)
            .find(|image| image.image_tags.contains(tag))
            .cloned()
    });
    if let (Some(holder), Some(tag)) = (&holder, &new.tag)
        && holder.digest != new.digest
    {
        if repositories::is_immutable(&repository, tag) {
            return Err(Refusal::ImageTagAlreadyExists {
                tag: tag.clone(),
                name: new.repository,
            });
        }
        let mut old = Image::clone(holder);
        old.image_tags.retain(|known| known != tag);
        tx.put(old);
    }
    let known = tx
        .snapshot()
        .images
        .get(scope, format!("{}@{}", new.repository, new.digest))
        .cloned();
    let mut image = known.map_or_else(
        || Image {
            scope: scope.clone(),
            repository: new.repository.clone(),
            digest: new.digest.clone(),
            media_type: new.manifest.media_type.clone(),
            size: new.manifest_size + new.manifest.blobs.iter().map(|blob| blob.size).sum::<u64>(),
            image_tags: Vec::new(),
            blobs: digests(&new.manifest.blobs),
            manifests: digests(&new.manifest.manifests),
            pushed_at: tx.now(),
        },
        |known| Image::clone(&known),
    );
    if let Some(tag) = new.tag
        && !image.image_tags.contains(&tag)
    {
        image.image_tags.push(tag);
        image.image_tags.sort();
    }
    tx.put(image.clone());
    Ok(image)
}

fn digests(list: &[manifest::Descriptor]) -> Vec<String> {
    list.iter().map(|one| one.digest.clone()).collect()
}

fn check_references(snapshot: &Snapshot, scope: &Scope, new: &NewImage) -> Result<(), Refusal> {
    let missing: Vec<&str> = new
        .manifest
        .blobs
        .iter()
        .filter(|blob| {
            snapshot
                .layers
                .get(scope, format!("{}@{}", new.repository, blob.digest))
                .is_none_or(|layer| layer.size != blob.size)
        })
        .map(|blob| blob.digest.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::LayersNotFound {
            digests: missing.join(", "),
            name: new.repository.clone(),
        });
    }
    let missing: Vec<&str> = new
        .manifest
        .manifests
        .iter()
        .filter(|m| {
            !snapshot
                .images
                .contains(scope, format!("{}@{}", new.repository, m.digest))
        })
        .map(|m| m.digest.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::ReferencedImagesNotFound {
            digests: missing.join(", "),
            name: new.repository.clone(),
        });
    }
    Ok(())
}

/// Whether an index of the repository has the image among its own.
fn is_named_by_an_index(
    snapshot: &Snapshot,
    scope: &Scope,
    repository: &str,
    digest: &str,
) -> bool {
    of(snapshot, scope, repository).any(|image| image.manifests.iter().any(|named| named == digest))
}

/// Removes a tag, or the image if it is named by its digest alone. Gives what was removed.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    repository: &str,
    name: &ImageName,
) -> Result<Vec<ImageName>, Refusal> {
    let mut image = Image::clone(find(tx.snapshot(), scope, repository, name)?);
    let digest = image.digest.clone();
    let goes = name.tag.is_none() || image.image_tags.len() == 1;
    if goes && is_named_by_an_index(tx.snapshot(), scope, repository, &digest) {
        return Err(Refusal::ImageReferencedByManifestList { digest });
    }
    match &name.tag {
        Some(tag) => {
            image.image_tags.retain(|known| known != tag);
            let removed = ImageName {
                digest: Some(digest.clone()),
                tag: Some(tag.clone()),
            };
            // The last tag takes the image along.
            if image.image_tags.is_empty() {
                tx.delete::<Image>(scope, format!("{repository}@{digest}"));
            } else {
                tx.put(image);
            }
            Ok(vec![removed])
        }
        None => {
            tx.delete::<Image>(scope, format!("{repository}@{digest}"));
            let name = |tag: Option<String>| ImageName {
                digest: Some(digest.clone()),
                tag,
            };
            Ok(if image.image_tags.is_empty() {
                vec![name(None)]
            } else {
                image
                    .image_tags
                    .into_iter()
                    .map(|tag| name(Some(tag)))
                    .collect()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecr::manifest;
    use crate::model::ecr::repositories::NewRepository;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn region(mutability: &str) -> Tx {
        let mut tx = Tx::for_test();
        let new = NewRepository {
            name: "api".to_owned(),
            tag_mutability: Some(mutability.to_owned()),
            ..NewRepository::default()
        };
        repositories::create(&mut tx, &scope(), new).unwrap();
        for n in 1..=2 {
            put_layer(&mut tx, &scope(), "api", &digest(n), u64::from(n)).unwrap();
        }
        tx
    }

    fn new_image(n: u8, tag: Option<&str>) -> NewImage {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":1}},"layers":[{{"digest":"{}","size":2}}]}}"#,
            digest(1),
            digest(2)
        );
        NewImage {
            repository: "api".to_owned(),
            digest: digest(n),
            manifest_size: 10,
            manifest: manifest::read(text.as_bytes(), None).unwrap(),
            tag: tag.map(str::to_owned),
        }
    }

    fn by_tag(tag: &str) -> ImageName {
        ImageName {
            tag: Some(tag.to_owned()),
            digest: None,
        }
    }

    #[test]
    fn a_moved_tag_leaves_the_old_image_untagged() {
        let mut tx = region("MUTABLE");
        assert_eq!(
            put(&mut tx, &scope(), new_image(10, Some("1")))
                .unwrap()
                .size,
            13
        );
        put(&mut tx, &scope(), new_image(11, Some("1"))).unwrap();
        assert_eq!(
            find(tx.snapshot(), &scope(), "api", &by_tag("1"))
                .unwrap()
                .digest,
            digest(11)
        );
        let old = ImageName {
            digest: Some(digest(10)),
            tag: None,
        };
        assert!(
            find(tx.snapshot(), &scope(), "api", &old)
                .unwrap()
                .image_tags
                .is_empty()
        );
    }

    #[test]
    fn an_immutable_tag_stays_where_it_is() {
        let mut tx = region("IMMUTABLE");
        put(&mut tx, &scope(), new_image(10, Some("1"))).unwrap();
        let moved = put(&mut tx, &scope(), new_image(11, Some("1")));
        assert!(matches!(moved, Err(Refusal::ImageTagAlreadyExists { .. })));
        assert!(
            put(&mut tx, &scope(), new_image(10, Some("1"))).is_ok(),
            "the same image is fine"
        );
        assert!(put(&mut tx, &scope(), new_image(11, Some("2"))).is_ok());
    }

    #[test]
    fn a_manifest_whose_blobs_are_missing_or_of_another_size_is_refused() {
        let mut tx = region("MUTABLE");
        let mut new = new_image(10, None);
        new.manifest.blobs[1].size = 3;
        assert!(matches!(
            put(&mut tx, &scope(), new),
            Err(Refusal::LayersNotFound { .. })
        ));
        let mut new = new_image(10, None);
        new.manifest.manifests = vec![new.manifest.blobs[0].clone()];
        assert!(matches!(
            put(&mut tx, &scope(), new),
            Err(Refusal::ReferencedImagesNotFound { .. })
        ));
    }

    #[test]
    fn deleting_by_tag_takes_the_image_with_the_last_tag() {
        let mut tx = region("MUTABLE");
        put(&mut tx, &scope(), new_image(10, Some("1"))).unwrap();
        put(&mut tx, &scope(), new_image(10, Some("2"))).unwrap();
        delete(&mut tx, &scope(), "api", &by_tag("1")).unwrap();
        assert_eq!(tx.snapshot().images.len(), 1);
        delete(&mut tx, &scope(), "api", &by_tag("2")).unwrap();
        assert!(tx.snapshot().images.is_empty());
        let refused = find(tx.snapshot(), &scope(), "api", &by_tag("2"))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("{imageDigest:'null', imageTag:'2'}"),
            "{refused}"
        );
    }

    #[test]
    fn a_repository_with_images_is_deleted_by_force_only() {
        let mut tx = region("MUTABLE");
        put(&mut tx, &scope(), new_image(10, None)).unwrap();
        assert!(matches!(
            repositories::delete(&mut tx, &scope(), "api", false),
            Err(Refusal::RepositoryNotEmpty { .. })
        ));
        repositories::delete(&mut tx, &scope(), "api", true).unwrap();
        assert!(tx.snapshot().images.is_empty() && tx.snapshot().layers.is_empty());
    }
}
