//! A load balancer is active once each of its nodes serves.

use crate::model::{Tx, elb};
use fogbank_types::Timestamp;

/// Nothing to wait for but the nodes' status rows.
pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    elb::load_balancers::activate_ready(tx);
    None
}
