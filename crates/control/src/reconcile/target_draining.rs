use crate::model::Tx;
use fogbank_types::Timestamp;

pub fn reconcile(_tx: &mut Tx) -> Option<Timestamp> {
    None
}
