//! A deregistered target is removed when its group's deregistration delay has passed.

use crate::model::{Tx, elb};
use fogbank_types::Timestamp;

/// Answers when the next delay is over.
pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    elb::targets::finish_draining(tx)
}
