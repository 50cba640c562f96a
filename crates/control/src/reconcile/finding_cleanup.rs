//! The Reachability Analyzer's findings go with their analyses, also one that a host wrote before it had seen that the
//! analysis was deleted.

use crate::model::Tx;
use crate::model::vpc::insights;
use fogbank_types::Timestamp;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    insights::forget_orphans(tx);
    None
}
