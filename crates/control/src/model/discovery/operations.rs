//! What became of a call. Everything is done within it: its operation is over when the call returns.

use super::{Refusal, letters};
use crate::model::Tx;
use fogbank_types::discovery::DiscoveryOperation;
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// How many an account keeps in a region.
const KEPT: usize = 500;

/// The id of an operation that is over.
pub fn record(
    tx: &mut Tx,
    scope: &Scope,
    kind: &str,
    targets: &[(&str, &str)],
    error: Option<(String, String)>,
) -> String {
    let id = format!("{}-{}", letters(tx, 32), letters(tx, 8));
    let row = DiscoveryOperation {
        scope: scope.clone(),
        id: id.clone(),
        kind: kind.to_owned(),
        targets: targets
            .iter()
            .map(|(kind, id)| ((*kind).to_owned(), (*id).to_owned()))
            .collect(),
        error,
        at: tx.now(),
    };
    let mut old: Vec<_> = tx
        .snapshot()
        .discovery_operations
        .in_scope(scope)
        .map(|row| (row.at, row.id.clone()))
        .collect();
    if old.len() >= KEPT {
        old.sort();
        for (_, id) in &old[..=old.len() - KEPT] {
            tx.delete::<DiscoveryOperation>(scope, id);
        }
    }
    tx.put(row);
    id
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<DiscoveryOperation>, Refusal> {
    let row = snapshot.discovery_operations.get(scope, id);
    row.ok_or_else(|| Refusal::OperationNotFound(id.to_owned()))
}
