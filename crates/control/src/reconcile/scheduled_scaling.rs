//! Scheduled actions run when they are due.

use crate::model::Tx;
use crate::model::scaling::scheduled_actions;
use fogbank_types::Timestamp;
use fogbank_types::scaling::ScheduledScaling;
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let mut due: Vec<Arc<ScheduledScaling>> = tx
        .snapshot()
        .scheduled_scalings
        .all()
        .filter(|action| action.next.is_some_and(|at| at <= now))
        .cloned()
        .collect();
    // Those of one target in the order of their times: the last one stands.
    due.sort_by_key(|action| action.next);
    for action in due {
        scheduled_actions::run(tx, &action);
    }
    let planned = tx.snapshot().scheduled_scalings.all();
    planned.filter_map(|action| action.next).min()
}
