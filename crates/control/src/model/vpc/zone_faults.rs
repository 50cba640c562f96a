//! Zones that the operator lets fail, to see what everything else makes of it (fact REG-6).
//!
//! Called by the server for `POST /_fogbank/zones/<zone>`. The row is all that control does: hosts stop what runs in a
//! failed zone and let no packet in or out, the scheduler passes the zone over, and reconcilers replace what is lost.

use crate::model::Tx;
use fogbank_types::ec2::{ZoneFault, ZoneFaultKind};
use fogbank_types::{Row, Scope, Snapshot, place};
use std::sync::Arc;

/// The longest delay that can be set, in each direction.
pub const DELAY_MS_MAX: u32 = 60_000;

/// Why a zone cannot be made to fail. For the operator, not for clients of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no zone '{0}'; a zone is a region and a letter, such as us-east-1a")]
    UnknownZone(String),
    #[error("a delay is from 1 to {DELAY_MS_MAX} ms, not {0}")]
    Delay(u32),
}

/// Zones belong to no account.
fn scope() -> Scope {
    Scope::new("-", "-")
}

/// All faults, by zone.
pub fn all(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<ZoneFault>> {
    snapshot.zone_faults.all()
}

/// Nothing runs there.
pub fn is_failed(snapshot: &Snapshot, zone: &str) -> bool {
    snapshot.zone_fault(zone) == Some(ZoneFaultKind::Failed)
}

/// Gives a zone a fault, or takes it away. The same fault again keeps its time.
pub fn set(tx: &mut Tx, zone: &str, kind: Option<ZoneFaultKind>) -> Result<(), Refusal> {
    check(zone)?;
    match kind {
        None => {
            tx.delete::<ZoneFault>(&scope(), zone);
        }
        Some(ZoneFaultKind::Slow { delay_ms }) if !(1..=DELAY_MS_MAX).contains(&delay_ms) => {
            return Err(Refusal::Delay(delay_ms));
        }
        Some(kind) if tx.snapshot().zone_fault(zone) == Some(kind) => {}
        Some(kind) => {
            let row = ZoneFault {
                zone: zone.to_owned(),
                kind,
                since: tx.now(),
            };
            debug_assert_eq!(row.scope(), scope());
            tx.put(row);
        }
    }
    Ok(())
}

/// Whether there is such a zone, in any region: one endpoint serves all.
pub fn check(zone: &str) -> Result<(), Refusal> {
    let region = zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    if place::zones(region).iter().any(|known| known.name == zone) {
        Ok(())
    } else {
        Err(Refusal::UnknownZone(zone.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_set_changed_and_taken_away() {
        let mut tx = Tx::for_test();
        set(&mut tx, "us-east-1a", Some(ZoneFaultKind::Failed)).unwrap();
        let since = all(tx.snapshot()).next().unwrap().since;
        tx.advance_ms(5);
        set(&mut tx, "us-east-1a", Some(ZoneFaultKind::Failed)).unwrap();
        assert_eq!(all(tx.snapshot()).next().unwrap().since, since);
        assert!(is_failed(tx.snapshot(), "us-east-1a") && !is_failed(tx.snapshot(), "us-east-1b"));
        set(
            &mut tx,
            "us-east-1a",
            Some(ZoneFaultKind::Slow { delay_ms: 20 }),
        )
        .unwrap();
        assert!(!is_failed(tx.snapshot(), "us-east-1a"));
        set(&mut tx, "us-east-1a", None).unwrap();
        set(&mut tx, "us-east-1a", None).unwrap();
        assert_eq!(all(tx.snapshot()).count(), 0);
    }

    #[test]
    fn only_zones_that_there_are_fail() {
        let mut tx = Tx::for_test();
        for zone in [
            "",
            "us-east-1",
            "us-east-1z",
            "mars-1a",
            "us-east-1aa",
            "use1-az1",
        ] {
            let refused = set(&mut tx, zone, Some(ZoneFaultKind::Isolated));
            assert_eq!(refused, Err(Refusal::UnknownZone(zone.to_owned())));
        }
        for delay_ms in [0, DELAY_MS_MAX + 1] {
            let slow = Some(ZoneFaultKind::Slow { delay_ms });
            assert_eq!(
                set(&mut tx, "us-east-1a", slow),
                Err(Refusal::Delay(delay_ms))
            );
        }
    }
}
