//! Log groups.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::logs::{LogGroup, LogKeyPair, LogStream, MetricFilter};
use fogbank_types::{Scope, Snapshot, Tags};
use std::sync::Arc;

/// The days that a retention may have.
pub const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// The class of groups unless told otherwise.
pub const STANDARD: &str = "STANDARD";

const TAGS_MAX: usize = 50;

/// Up to 512 letters, digits and `_-/.#`.
pub fn is_name(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b'.' | b'#'))
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    name: &str,
) -> Result<&'a Arc<LogGroup>, Refusal> {
    snapshot
        .log_groups
        .get(scope, name)
        .ok_or(Refusal::GroupNotFound)
}

/// The name in a name or an ARN of a group, with or without the trailing `:*`.
pub fn name_of<'a>(scope: &Scope, identifier: &'a str) -> Result<&'a str, Refusal> {
    if !identifier.starts_with("arn:") {
        return Ok(identifier);
    }
    let name = identifier
        .strip_prefix(&scope.arn("logs", "log-group:"))
        .ok_or(Refusal::ResourceNotFound)?;
    Ok(name.strip_suffix(":*").unwrap_or(name))
}

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    class: Option<String>,
    pair: Option<LogKeyPair>,
    tags: Tags,
) -> Result<LogGroup, Refusal> {
    if !is_name(name) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
        )));
    }
    check_tags(&tags)?;
    if tx.snapshot().log_groups.contains(scope, name) {
        return Err(Refusal::GroupAlreadyExists);
    }
    let group = LogGroup {
        scope: scope.clone(),
        name: name.to_owned(),
        retention_days: None,
        kms_key_id: pair.as_ref().map(|pair| pair.kms_key.clone()),
        key_pairs: pair.into_iter().collect(),
        class: class.unwrap_or_else(|| STANDARD.to_owned()),
        created_at: tx.now(),
        tags,
    };
    tx.put(group.clone());
    Ok(group)
}

/// New events of the group are sealed with this pair, or with none. What is there stays as it is.
pub fn set_key(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    pair: Option<LogKeyPair>,
) -> Result<(), Refusal> {
    let set = |group: &mut LogGroup| {
        group.kms_key_id = pair.as_ref().map(|pair| pair.kms_key.clone());
        group.key_pairs.extend(pair);
    };
    match tx.update::<LogGroup>(scope, name, set) {
        true => Ok(()),
        false => Err(Refusal::GroupNotFound),
    }
}

fn check_tags(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags);
    }
    match tags
        .keys()
        .find(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        Some(_) => Err(invalid(
            "aws: prefixed tag key names are not allowed for external use.",
        )),
        None => Ok(()),
    }
}

/// Deletes a group with its streams; gives the uids of the streams, whose events are to be removed.
pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<Vec<String>, Refusal> {
    find(tx.snapshot(), scope, name)?;
    let streams: Vec<Arc<LogStream>> = super::streams::of(tx.snapshot(), scope, name)
        .cloned()
        .collect();
    for stream in &streams {
        tx.delete::<LogStream>(scope, format!("{name}:{}", stream.name));
    }
    let filters: Vec<_> = super::metric_filters::of(tx.snapshot(), scope, name)
        .map(|filter| filter.name.clone())
        .collect();
    for filter in filters {
        tx.delete::<MetricFilter>(scope, format!("{name}:{filter}"));
    }
    tx.delete::<LogGroup>(scope, name);
    Ok(streams.iter().map(|stream| stream.uid.clone()).collect())
}

/// `None` keeps events for ever.
pub fn set_retention(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    days: Option<i32>,
) -> Result<(), Refusal> {
    let days = match days {
        None => None,
        Some(days) => Some(u32::try_from(days).ok().filter(|d| RETENTION_DAYS.contains(d)).ok_or_else(|| {
            invalid(format!(
                "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: {RETENTION_DAYS:?}"
            ))
        })?),
    };
    if tx.update::<LogGroup>(scope, name, |group| group.retention_days = days) {
        Ok(())
    } else {
        Err(Refusal::GroupNotFound)
    }
}

/// By ARN; older clients add `:*`.
pub fn tags(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Tags, Refusal> {
    let name = name_of(scope, arn)?;
    snapshot
        .log_groups
        .get(scope, name)
        .map(|group| group.tags.clone())
        .ok_or(Refusal::ResourceNotFound)
}

/// Adds and removes tags.
pub fn change_tags(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    let mut all = tags(tx.snapshot(), scope, arn)?;
    check_tags(&add)?;
    all.extend(add);
    all.retain(|key, _| !remove.contains(key));
    check_tags(&all)?;
    tx.update::<LogGroup>(scope, name_of(scope, arn)?, |group| group.tags = all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn make(tx: &mut Tx, name: &str) -> Result<LogGroup, Refusal> {
        create(tx, &scope(), name, None, None, Tags::new())
    }

    #[test]
    fn a_group_is_made_once() {
        let mut tx = Tx::for_test();
        make(&mut tx, "/api").unwrap();
        assert_eq!(
            make(&mut tx, "/api").unwrap_err(),
            Refusal::GroupAlreadyExists
        );
        for name in ["", "a b", "a:b", "a*", &"x".repeat(513)] {
            assert!(make(&mut tx, name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_group_takes_its_streams_along_but_no_others() {
        let mut tx = Tx::for_test();
        for group in ["/api", "/api2"] {
            make(&mut tx, group).unwrap();
            crate::model::logs::streams::create(&mut tx, &scope(), group, "a").unwrap();
        }
        assert_eq!(delete(&mut tx, &scope(), "/api").unwrap().len(), 1);
        assert_eq!(tx.snapshot().log_streams.len(), 1);
        assert_eq!(
            delete(&mut tx, &scope(), "/api").unwrap_err(),
            Refusal::GroupNotFound
        );
    }

    #[test]
    fn only_the_known_retentions_pass() {
        let mut tx = Tx::for_test();
        make(&mut tx, "/api").unwrap();
        set_retention(&mut tx, &scope(), "/api", Some(14)).unwrap();
        for days in [0, 2, -1, 3654] {
            assert!(set_retention(&mut tx, &scope(), "/api", Some(days)).is_err());
        }
        set_retention(&mut tx, &scope(), "/api", None).unwrap();
        assert_eq!(
            set_retention(&mut tx, &scope(), "/x", Some(1)).unwrap_err(),
            Refusal::GroupNotFound
        );
    }

    #[test]
    fn an_arn_names_a_group_with_and_without_the_star() {
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/api";
        assert_eq!(name_of(&scope(), arn).unwrap(), "/api");
        assert_eq!(name_of(&scope(), &format!("{arn}:*")).unwrap(), "/api");
        assert!(name_of(&scope(), "arn:aws:logs:us-east-1:1:log-group:/api").is_err());
    }
}
