//! Labels: names for versions, of which each stands on one.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html>

use super::{Refusal, names};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::ssm::Parameter;

const LABELS_MAX: usize = 10;

fn is_valid(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    label.bytes().all(plain)
        && !label.starts_with(|first: char| first.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}

fn versioned(
    tx: &Tx,
    scope: &Scope,
    name: &str,
    version: Option<i64>,
) -> Result<(Parameter, usize, u64), Refusal> {
    let row = names::row(tx.snapshot(), scope, name);
    let row = Parameter::clone(row.ok_or_else(|| Refusal::NotFound(name.to_owned()))?);
    let wanted = match version {
        None => row.versions.len().checked_sub(1),
        Some(number) => row
            .versions
            .iter()
            .position(|version| i64::try_from(version.version) == Ok(number)),
    };
    let at = wanted.ok_or_else(|| Refusal::VersionNotFound {
        name: name.to_owned(),
        version: version.unwrap_or_default().to_string(),
    })?;
    let number = row.versions[at].version;
    Ok((row, at, number))
}

/// The version, and the labels that cannot be.
pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    version: Option<i64>,
    labels: &[String],
) -> Result<(u64, Vec<String>), Refusal> {
    let (mut row, at, number) = versioned(tx, scope, name, version)?;
    let (valid, refused): (Vec<_>, Vec<_>) =
        labels.iter().cloned().partition(|label| is_valid(label));
    for label in valid {
        for version in &mut row.versions {
            version.labels.remove(&label);
        }
        row.versions[at].labels.insert(label);
    }
    if row.versions[at].labels.len() > LABELS_MAX {
        return Err(Refusal::TooManyLabels);
    }
    tx.put(row);
    Ok((number, refused))
}

/// The labels that were taken away, and those that were not there.
pub fn remove(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    version: i64,
    labels: &[String],
) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let (mut row, at, _) = versioned(tx, scope, name, Some(version))?;
    let own = &mut row.versions[at].labels;
    let split = labels.iter().cloned().partition(|label| own.remove(label));
    tx.put(row);
    Ok(split)
}
