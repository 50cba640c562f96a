//! A batch of the store, taken into the rows that a part here follows. Used by `services` and `checks`; `dns::mirror` looks at
//! each event besides.

use fogbank_store::Batch;
use fogbank_types::Snapshot;

/// A row that cannot be read is left out, and told.
pub fn apply(snapshot: &mut Snapshot, batch: &Batch) {
    for event in &batch.events {
        let value = event.value.as_deref();
        if let Err(error) = snapshot.apply(&event.key, value, batch.revision) {
            tracing::warn!(%error, "a row is left out");
        }
    }
    snapshot.revision = batch.revision;
}
