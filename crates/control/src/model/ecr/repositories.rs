//! Repositories. One must exist before anything is pushed to it (fact IMG-2).

use super::{Refusal, tag_pattern};
use crate::model::Tx;
use fogbank_types::ecr::{Image, Layer, Repository};
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

const TAGS_MAX: usize = 50;
const EXCLUSIONS_MAX: usize = 5;

#[derive(Debug, Clone, Default)]
pub struct NewRepository {
    pub name: String,
    pub tag_mutability: Option<String>,
    pub mutability_exclusions: Vec<String>,
    pub scan_on_push: bool,
    pub tags: Tags,
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, joined by slashes, 2 to 256 characters.
pub fn is_name(text: &str) -> bool {
    (2..=256).contains(&text.len()) && text.split('/').all(is_name_part)
}

fn is_name_part(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !word(*first)
        || !word(*last)
        || !bytes
            .iter()
            .all(|b| word(*b) || matches!(b, b'.' | b'_' | b'-'))
    {
        return false;
    }
    // Between words: one dot, one or two underscores, or any number of hyphens.
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<Repository>, Refusal> {
    snapshot
        .repositories
        .get(scope, name)
        .ok_or_else(|| Refusal::RepositoryNotFound {
            name: name.to_owned(),
            registry: scope.account.clone(),
        })
}

/// The host part of image names in this registry.
pub fn host(scope: &Scope) -> String {
    format!("{}.dkr.ecr.{}.amazonaws.com", scope.account, scope.region)
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewRepository) -> Result<Repository, Refusal> {
    if !is_name(&new.name) {
        return Err(Refusal::InvalidParameter(format!(
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''; got '{}'",
            new.name
        )));
    }
    check_tags(&new.name, &new.tags)?;
    if tx.snapshot().repositories.contains(scope, &new.name) {
        return Err(Refusal::RepositoryAlreadyExists {
            name: new.name,
            registry: scope.account.clone(),
        });
    }
    let (tag_mutability, mutability_exclusions) =
        checked_mutability(new.tag_mutability.as_deref(), new.mutability_exclusions)?;
    let repository = Repository {
        scope: scope.clone(),
        arn: scope.arn("ecr", &format!("repository/{}", new.name)),
        uri: format!("{}/{}", host(scope), new.name),
        name: new.name,
        tag_mutability,
        mutability_exclusions,
        scan_on_push: new.scan_on_push,
        lifecycle_policy: None,
        lifecycle_evaluated_at: None,
        policy: None,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(repository.clone());
    Ok(repository)
}

/// The setting (`MUTABLE` if nothing is given) and the patterns of tags for which its opposite holds.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>
pub fn checked_mutability(
    given: Option<&str>,
    exclusions: Vec<String>,
) -> Result<(String, Vec<String>), Refusal> {
    let setting = given.unwrap_or("MUTABLE");
    let refused = |why: &str| {
        Refusal::InvalidParameter(format!(
            "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: '{why}'"
        ))
    };
    match (setting.ends_with("_WITH_EXCLUSION"), exclusions.len()) {
        (true, 0) => Err(refused(&format!(
            "must be given with the image tag mutability {setting}"
        ))),
        (true, count) if count > EXCLUSIONS_MAX => Err(refused(&format!(
            "member must have length less than or equal to {EXCLUSIONS_MAX}"
        ))),
        (false, count) if count > 0 => Err(refused(&format!(
            "must not be given with the image tag mutability {setting}"
        ))),
        _ => Ok((setting.to_owned(), exclusions)),
    }
}

/// Whether a tag, once put, stays with its image (fact IMG-3).
pub fn is_immutable(repository: &Repository, tag: &str) -> bool {
    let excluded = repository
        .mutability_exclusions
        .iter()
        .any(|one| tag_pattern::matches(one, tag));
    repository.tag_mutability.starts_with("IMMUTABLE") != excluded
}

fn check_tags(name: &str, tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags(name.to_owned()));
    }
    match tags
        .keys()
        .find(|key| key.is_empty() || key.to_ascii_lowercase().starts_with("aws:"))
    {
        Some(key) => Err(Refusal::InvalidTagParameter(format!(
            "Tag key '{key}' is not allowed"
        ))),
        None => Ok(()),
    }
}

/// Changes a repository's row.
pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    change: impl FnOnce(&mut Repository),
) -> Result<Repository, Refusal> {
    let mut repository = Repository::clone(find(tx.snapshot(), scope, name)?);
    change(&mut repository);
    tx.put(repository.clone());
    Ok(repository)
}

/// Deletes it and what it says it has; the bytes are collected when nobody else has them.
pub fn delete(tx: &mut Tx, scope: &Scope, name: &str, force: bool) -> Result<Repository, Refusal> {
    let repository = Repository::clone(find(tx.snapshot(), scope, name)?);
    let images: Vec<String> = super::images::of(tx.snapshot(), scope, name)
        .map(|image| image.digest.clone())
        .collect();
    if !images.is_empty() && !force {
        return Err(Refusal::RepositoryNotEmpty {
            name: name.to_owned(),
            registry: scope.account.clone(),
        });
    }
    for digest in images {
        tx.delete::<Image>(scope, format!("{name}@{digest}"));
    }
    let layers: Vec<String> = tx
        .snapshot()
        .layers
        .with_prefix(scope, &format!("{name}@"))
        .map(|layer| layer.digest.clone())
        .collect();
    for digest in layers {
        tx.delete::<Layer>(scope, format!("{name}@{digest}"));
    }
    tx.delete::<Repository>(scope, name);
    Ok(repository)
}

/// The repository that an ARN names.
pub fn by_arn<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a Arc<Repository>, Refusal> {
    let name = arn
        .strip_prefix(&scope.arn("ecr", "repository/"))
        .ok_or_else(|| {
            Refusal::InvalidParameter(
                "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'"
                    .to_owned(),
            )
        })?;
    find(snapshot, scope, name)
}

/// Adds and removes tags.
pub fn change_tags(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut repository = Repository::clone(by_arn(tx.snapshot(), scope, arn)?);
    check_tags(&repository.name, &add)?;
    repository.tags.extend(add);
    repository.tags.retain(|key, _| !remove.contains(key));
    check_tags(&repository.name, &repository.tags)?;
    tx.put(repository);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    #[test]
    fn its_uri_names_account_and_region() {
        let mut tx = Tx::for_test();
        let made = create(
            &mut tx,
            &scope(),
            NewRepository {
                name: "team/api".into(),
                ..Default::default()
            },
        )
        .unwrap();
        assert_eq!(
            made.uri,
            "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/api"
        );
        let again = create(
            &mut tx,
            &scope(),
            NewRepository {
                name: "team/api".into(),
                ..Default::default()
            },
        );
        assert!(matches!(
            again,
            Err(Refusal::RepositoryAlreadyExists { .. })
        ));
        assert_eq!(
            by_arn(tx.snapshot(), &scope(), &made.arn).unwrap().name,
            "team/api"
        );
    }

    #[test]
    fn names_follow_the_pattern() {
        for name in ["ab", "a/b", "a.b", "a__b", "a---b", "0/1_2"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "a", "A/b", "a..b", "a___b", "a._b", "-ab", "ab-", "a//b", "/ab", "../ab", "a b",
            "ä1",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn exclusions_go_with_a_setting_that_has_some() {
        let list = || vec!["latest*".to_owned()];
        assert!(checked_mutability(Some("IMMUTABLE_WITH_EXCLUSION"), Vec::new()).is_err());
        assert!(checked_mutability(Some("IMMUTABLE_WITH_EXCLUSION"), list()).is_ok());
        assert!(checked_mutability(Some("MUTABLE"), list()).is_err());
        assert!(
            checked_mutability(Some("MUTABLE_WITH_EXCLUSION"), vec![String::new(); 6]).is_err()
        );
        assert_eq!(checked_mutability(None, Vec::new()).unwrap().0, "MUTABLE");
    }

    #[test]
    fn an_excluded_tag_has_the_opposite_setting() {
        let mut tx = Tx::for_test();
        let mut is_immutable = |name: &str, setting: &str, tag: &str| {
            let new = NewRepository {
                name: name.to_owned(),
                tag_mutability: Some(setting.to_owned()),
                mutability_exclusions: vec!["dev-*".to_owned()],
                ..NewRepository::default()
            };
            super::is_immutable(&create(&mut tx, &scope(), new).unwrap(), tag)
        };
        assert!(!is_immutable("a1", "IMMUTABLE_WITH_EXCLUSION", "dev-1"));
        assert!(is_immutable("a2", "IMMUTABLE_WITH_EXCLUSION", "1"));
        assert!(is_immutable("b1", "MUTABLE_WITH_EXCLUSION", "dev-1"));
        assert!(!is_immutable("b2", "MUTABLE_WITH_EXCLUSION", "1"));
    }
}
