//! Keys of Key Management Service get a new material when their rotation is due, and go at the end of their waiting
//! period with their aliases and grants.

use crate::model::Tx;
use crate::model::kms::{keys, rotation};
use fogbank_types::Timestamp;
use fogbank_types::kms::{Key, KeyMaterialCause};
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let mut next: Option<Timestamp> = None;
    let all: Vec<Arc<Key>> = tx.snapshot().kms_keys.all().cloned().collect();
    for key in all {
        let at = match &key.deletion {
            Some(deletion) if deletion.at <= now => {
                keys::remove(tx, &key);
                continue;
            }
            // It rotates no more.
            Some(deletion) => Some(deletion.at),
            None => rotation::next(tx, &key),
        };
        let Some(mut at) = at else { continue };
        if at <= now {
            // A disabled key is late, and catches up with one rotation once it is enabled.
            if !key.is_enabled {
                continue;
            }
            rotation::rotate(tx, &key, KeyMaterialCause::Automatic);
            let rotated = tx.snapshot().kms_keys.get(&key.scope, &key.id).cloned();
            let Some(later) = rotated.and_then(|key| rotation::next(tx, &key)) else {
                continue;
            };
            at = later;
        }
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    next
}
