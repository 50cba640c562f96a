//! Tags of certificates.
//! <https://docs.aws.amazon.com/acm/latest/userguide/tags-restrictions.html>

use super::{Refusal, find};
use crate::model::Tx;
use fogbank_types::acm::Certificate;
use fogbank_types::{Scope, Tags};

const TAGS_MAX: usize = 50;

/// Refuses what no caller may set.
pub fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags);
    }
    match tags
        .keys()
        .find(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        Some(key) => Err(Refusal::InvalidTag(format!(
            "AWS internal tags cannot be changed with this API: {key}"
        ))),
        None => Ok(()),
    }
}

pub fn add(tx: &mut Tx, scope: &Scope, arn: &str, tags: &Tags) -> Result<(), Refusal> {
    let mut all = find(tx.snapshot(), scope, arn)?.tags.clone();
    check(tags)?;
    all.extend(tags.clone());
    check(&all)?;
    tx.update::<Certificate>(scope, arn, |row| row.tags = all);
    Ok(())
}

/// A tag that names a value goes only if it has that value.
pub fn remove(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    tags: &[(String, Option<String>)],
) -> Result<(), Refusal> {
    find(tx.snapshot(), scope, arn)?;
    tx.update::<Certificate>(scope, arn, |row| {
        for (key, value) in tags {
            if value.is_none() || row.tags.get(key) == value.as_ref() {
                row.tags.remove(key);
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acm::fixture::{requested, scope};

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn of(tx: &Tx, arn: &str) -> Tags {
        find(tx.snapshot(), &scope(), arn).unwrap().tags.clone()
    }

    #[test]
    fn a_tag_is_removed_by_key_or_by_key_and_value() {
        let mut tx = Tx::for_test();
        let arn = requested(&mut tx, "example.com").arn;
        let three = tags(&[("a", "1"), ("b", "2"), ("c", "3")]);
        add(&mut tx, &scope(), &arn, &three).unwrap();
        let gone = [
            ("a".to_owned(), None),
            ("b".to_owned(), Some("2".to_owned())),
            ("c".to_owned(), Some("4".to_owned())),
            ("d".to_owned(), None),
        ];
        remove(&mut tx, &scope(), &arn, &gone).unwrap();
        assert_eq!(of(&tx, &arn), tags(&[("c", "3")]));
    }

    #[test]
    fn fifty_tags_are_the_most_and_awss_own_are_not_ours() {
        let mut tx = Tx::for_test();
        let arn = requested(&mut tx, "example.com").arn;
        let fifty: Tags = (0..50).map(|n| (format!("{n}"), String::new())).collect();
        add(&mut tx, &scope(), &arn, &fifty).unwrap();
        let more = add(&mut tx, &scope(), &arn, &tags(&[("50", "")]));
        assert_eq!(more, Err(Refusal::TooManyTags));
        add(&mut tx, &scope(), &arn, &tags(&[("7", "x")])).unwrap();
        let own = add(&mut tx, &scope(), &arn, &tags(&[("AWS:x", "")]));
        assert!(matches!(own, Err(Refusal::InvalidTag(_))));
        let none = add(&mut tx, &scope(), "arn:x", &tags(&[("a", "")]));
        assert!(matches!(none, Err(Refusal::NotFound(_))));
    }
}
