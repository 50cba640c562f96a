//! Versions: reading one, adding one.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>

use super::{Refusal, invalid, secrets, stages};
use crate::model::Tx;
use fogbank_types::secret::{CURRENT, Secret, SecretValue, SecretVersion};
use fogbank_types::{Scope, Timestamp};
use std::collections::BTreeSet;

/// Those without a label beyond this number go, the oldest first.
const VERSIONS_MAX: usize = 100;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What was read.
#[derive(Clone, Debug)]
pub struct Read {
    pub arn: String,
    pub name: String,
    pub version: SecretVersion,
}

/// The version of that id or stage, which must be of one; else the current one. The day is noted as the last access.
pub fn get(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    version_id: Option<&str>,
    stage: Option<&str>,
) -> Result<Read, Refusal> {
    let row = secrets::alive(tx.snapshot(), scope, id)?;
    let at = match (version_id, stage) {
        (Some(wanted), _) => row.versions.iter().position(|version| version.id == wanted),
        (None, stage) => {
            let stage = stage.unwrap_or(CURRENT);
            row.versions
                .iter()
                .position(|version| version.stages.contains(stage))
        }
    };
    let at = at.ok_or_else(|| {
        Refusal::ValueNotFound(match (version_id, stage) {
            (Some(wanted), _) => format!(
                "Secrets Manager can't find the specified secret value for VersionId: {wanted}"
            ),
            (None, stage) => format!(
                "Secrets Manager can't find the specified secret value for staging label: {}",
                stage.unwrap_or(CURRENT)
            ),
        })
    })?;
    if let (Some(_), Some(stage)) = (version_id, stage)
        && !row.versions[at].stages.contains(stage)
    {
        return Err(Refusal::Request(
            "You provided a VersionStage that is not associated to the provided VersionId."
                .to_owned(),
        ));
    }
    let version = row.versions[at].clone();
    // Dates of access are days: a row is written once a day at most.
    let today = Timestamp(tx.now().0.div_euclid(DAY_MS) * DAY_MS);
    if row.accessed_at != Some(today) || version.accessed_at != Some(today) {
        tx.update::<Secret>(scope, &row.arn, |row| {
            row.accessed_at = Some(today);
            row.versions[at].accessed_at = Some(today);
        });
    }
    Ok(Read {
        arn: row.arn,
        name: row.name,
        version,
    })
}

/// The id of a new version with these stages (AWSCURRENT if none are given), or of the one that is there already.
pub fn add(
    row: &mut Secret,
    now: Timestamp,
    token: String,
    value: SecretValue,
    wanted: &[String],
) -> Result<String, Refusal> {
    if let Some(old) = row.versions.iter().find(|version| version.id == token) {
        if old.value == value {
            return Ok(token);
        }
        return Err(Refusal::TokenInUse {
            token,
            arn: row.arn.clone(),
        });
    }
    let is_first = row.versions.iter().all(|version| version.stages.is_empty());
    row.versions.push(SecretVersion {
        id: token.clone(),
        value,
        stages: BTreeSet::new(),
        created_at: now,
        accessed_at: None,
    });
    if wanted.is_empty() || is_first {
        stages::attach(row, CURRENT, &token);
    }
    for stage in wanted {
        stages::attach(row, stage, &token);
    }
    while row.versions.len() > VERSIONS_MAX
        && let Some(at) = row
            .versions
            .iter()
            .position(|version| version.stages.is_empty())
    {
        row.versions.remove(at);
    }
    row.changed_at = now;
    Ok(token)
}

/// The secret, the version's id and its stages.
pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    token: Option<String>,
    value: Option<SecretValue>,
    wanted: &[String],
) -> Result<(Secret, String), Refusal> {
    let value =
        value.ok_or_else(|| invalid("You must provide either SecretString or SecretBinary."))?;
    let mut row = secrets::alive(tx.snapshot(), scope, id)?;
    let token = token.unwrap_or_else(|| tx.uuid());
    let version = add(&mut row, tx.now(), token, value, wanted)?;
    tx.put(row.clone());
    Ok((row, version))
}
