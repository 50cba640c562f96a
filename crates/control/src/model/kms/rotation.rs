//! New materials of keys, by time and on demand.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>

use super::{Refusal, invalid, keys};
use crate::model::Tx;
use fogbank_types::kms::{Key, KeyMaterial, KeyMaterialCause};
use fogbank_types::{Scope, Timestamp};

const PERIOD_DAYS: std::ops::RangeInclusive<i64> = 90..=2560;
pub const PERIOD_DAYS_UNLESS_SAID: i64 = 365;
/// Quota "On-demand rotations" of a key.
const ON_DEMAND_MAX: usize = 25;

pub fn enable(tx: &mut Tx, scope: &Scope, id: &str, period: Option<i64>) -> Result<(), Refusal> {
    let mut key = keys::own(tx.snapshot(), scope, id, "kms:EnableKeyRotation")?;
    keys::symmetric(&key)?;
    keys::usable(&key)?;
    let days = period.unwrap_or(PERIOD_DAYS_UNLESS_SAID);
    if !PERIOD_DAYS.contains(&days) {
        return Err(invalid(
            "RotationPeriodInDays must be between 90 and 2560, inclusive.",
        ));
    }
    // A period that is changed counts from the day on which rotation was enabled or last happened.
    if key.rotation_period_days.is_none() {
        key.rotation_enabled_at = Some(tx.now());
    }
    key.rotation_period_days = Some(days);
    tx.put(key);
    Ok(())
}

pub fn disable(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    let mut key = keys::own(tx.snapshot(), scope, id, "kms:DisableKeyRotation")?;
    keys::symmetric(&key)?;
    keys::usable(&key)?;
    key.rotation_period_days = None;
    key.rotation_enabled_at = None;
    tx.put(key);
    Ok(())
}

/// When a key gets its next material by itself.
pub fn next(tx: &Tx, key: &Key) -> Option<Timestamp> {
    next_at(key, tx.config().speed)
}

/// See [`next`]; a region's days may be shorter.
pub fn next_at(key: &Key, speed: f64) -> Option<Timestamp> {
    let days = key.rotation_period_days?;
    let mut materials = key.materials.iter().rev();
    let rotated = materials.find(|material| material.cause == KeyMaterialCause::Automatic);
    let start = rotated
        .map(|material| material.made_at)
        .max(key.rotation_enabled_at)?;
    Some(start.plus_ms(((days * keys::DAY_MS) as f64 / speed) as i64))
}

pub fn rotate(tx: &mut Tx, key: &Key, cause: KeyMaterialCause) {
    let mut key = key.clone();
    key.materials.push(KeyMaterial {
        made_at: tx.now(),
        cause,
    });
    tx.put(key);
}

pub fn rotate_on_demand(tx: &mut Tx, scope: &Scope, id: &str) -> Result<Key, Refusal> {
    let key = keys::own(tx.snapshot(), scope, id, "kms:RotateKeyOnDemand")?;
    keys::symmetric(&key)?;
    keys::usable(&key)?;
    let so_far = key.materials.iter();
    let so_far = so_far.filter(|material| material.cause == KeyMaterialCause::OnDemand);
    if so_far.count() >= ON_DEMAND_MAX {
        return Err(Refusal::Limit(format!(
            "{} has been rotated on demand the maximum number of times.",
            key.arn()
        )));
    }
    rotate(tx, &key, KeyMaterialCause::OnDemand);
    Ok(key)
}
