//! Staging labels.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>

use super::{Refusal, invalid, secrets};
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::secret::{CURRENT, PREVIOUS, Secret};

/// Moves a label to that version. What was current becomes what was before.
pub(super) fn attach(row: &mut Secret, stage: &str, id: &str) {
    let before = row.at_stage(stage).map(|version| version.id.clone());
    if before.as_deref() == Some(id) {
        return;
    }
    for version in &mut row.versions {
        if version.id == id {
            version.stages.insert(stage.to_owned());
        } else {
            version.stages.remove(stage);
        }
    }
    if let Some(before) = before.filter(|_| stage == CURRENT) {
        for version in &mut row.versions {
            if version.id == before {
                version.stages.insert(PREVIOUS.to_owned());
            } else {
                version.stages.remove(PREVIOUS);
            }
        }
    }
}

pub fn update(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    stage: &str,
    remove_from: Option<&str>,
    move_to: Option<&str>,
) -> Result<Secret, Refusal> {
    let mut row = secrets::alive(tx.snapshot(), scope, id)?;
    for version in [remove_from, move_to].into_iter().flatten() {
        if !row.versions.iter().any(|v| v.id == version) {
            return Err(invalid(format!("Not a valid version: {version}")));
        }
    }
    let holder = row.at_stage(stage).map(|version| version.id.clone());
    if let Some(from) = remove_from
        && holder.as_deref() != Some(from)
    {
        return Err(invalid(format!(
            "Staging label {stage} not found in version {from}"
        )));
    }
    match (move_to, &holder) {
        (None, _) if remove_from.is_none() => {
            return Err(invalid(
                "You must specify RemoveFromVersionId, MoveToVersionId, or both.",
            ));
        }
        (None, _) if stage == CURRENT => {
            return Err(invalid(
                "You can only move staging label AWSCURRENT to a different secret version. It can’t be completely removed.",
            ));
        }
        (None, _) => {
            for version in &mut row.versions {
                version.stages.remove(stage);
            }
        }
        (Some(to), Some(holder)) if remove_from.is_none() && holder != to => {
            return Err(invalid(format!(
                "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
            )));
        }
        (Some(to), _) => attach(&mut row, stage, to),
    }
    row.changed_at = tx.now();
    tx.put(row.clone());
    Ok(row)
}
