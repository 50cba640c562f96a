//! Signatures of the keys of signed zones are made anew before they end. What cannot be, since a key of KMS was taken away,
//! waits until it can: GetDNSSEC says ACTION_NEEDED meanwhile.

use crate::model::Tx;
use crate::zone_signing::{self, RENEWED_MS};
use fogbank_types::Timestamp;

/// Between attempts.
const RETRY_MS: i64 = 60 * 1000;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let now = tx.now();
    let rows = tx.snapshot().zone_signings.all();
    let rows: Vec<_> = rows
        .map(|row| (row.scope.clone(), row.zone_id.clone(), row.signed_at))
        .collect();
    let mut next: Option<Timestamp> = None;
    for (scope, zone_id, signed_at) in rows {
        let mut at = signed_at.plus_ms(RENEWED_MS);
        if at <= now {
            at = match zone_signing::renew(tx, &scope, &zone_id) {
                Ok(()) => now.plus_ms(RENEWED_MS),
                Err(error) => {
                    tracing::warn!(%zone_id, ?error, "the keys of a zone cannot be signed");
                    now.plus_ms(RETRY_MS)
                }
            };
        }
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    next
}
