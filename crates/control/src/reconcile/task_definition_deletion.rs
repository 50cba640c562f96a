//! Deleted task definition revisions go when nothing uses them any more.

use crate::model::Tx;
use crate::model::ecs::task_definitions;
use fogbank_types::Timestamp;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    task_definitions::finish_deletions(tx)
}
