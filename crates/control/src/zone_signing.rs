//! Signatures of the keys of signed zones, made with keys of KMS as Route 53 makes them.
//!
//! Called by `api::route53` for changes and by `reconcile::zone_signatures` when they get old. What must stay true: the
//! secrets of key-signing keys are used here and nowhere else; name servers get the zone-signing key and signatures alone.

use crate::api::ApiError;
use crate::model::Tx;
use crate::model::route53::{Refusal, names, signing};
use fogbank_pki::dnssec::{self, Validity, ZoneKey};
use fogbank_pki::ecdsa;
use fogbank_types::kms::KeySecret;
use fogbank_types::route53::{HostedZone, ZoneSigning};
use fogbank_types::{Scope, Timestamp};

/// How long a signature of the keys holds.
const VALID_MS: i64 = 14 * 24 * 3600 * 1000;
/// When it is made anew.
pub const RENEWED_MS: i64 = 5 * 24 * 3600 * 1000;
/// Clocks of resolvers may be late.
const BEFORE_MS: i64 = 3600 * 1000;

/// Value of the DNSKEY record, key tag and digest of a key-signing key.
pub fn facts(zone: &HostedZone, point: &[u8]) -> (Vec<u8>, u16, String) {
    let dnskey = dnssec::dnskey(dnssec::KEY_SIGNING_KEY, point);
    let digest = dnssec::ds_digest(&names::wire(&zone.name), &dnskey);
    let digest = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    (dnskey.clone(), dnssec::key_tag(&dnskey), digest)
}

fn failed(error: fogbank_pki::KeyError) -> ApiError {
    tracing::error!(%error, "a zone cannot be signed");
    ApiError::new("InternalFailure", "The region failed to sign the zone.").with_status(500)
}

/// A new zone-signing key: secret and public point.
pub fn new_key() -> Result<(KeySecret, Vec<u8>), ApiError> {
    let (secret, point) = ecdsa::generate().map_err(failed)?;
    Ok((KeySecret::new(secret), point))
}

/// Signs a zone from now on, if it is not yet.
pub fn enable(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    (secret, point): &(KeySecret, Vec<u8>),
) -> Result<(), ApiError> {
    if tx.snapshot().zone_signings.contains(scope, zone_id) {
        return Ok(());
    }
    tx.put(ZoneSigning {
        scope: scope.clone(),
        zone_id: zone_id.to_owned(),
        secret: secret.clone(),
        point: point.clone(),
        dnskeys: Vec::new(),
        signatures: Vec::new(),
        signed_at: tx.now(),
    });
    renew(tx, scope, zone_id)
}

/// Signs the keys of a zone with those of its key-signing keys that can be used, if it is signed at all.
pub fn renew(tx: &mut Tx, scope: &Scope, zone_id: &str) -> Result<(), ApiError> {
    let snapshot = tx.snapshot();
    let Some(row) = snapshot.zone_signings.get(scope, zone_id) else {
        return Ok(());
    };
    let mut row = ZoneSigning::clone(row);
    let zone = signing::zone(snapshot, scope, zone_id)?;
    let mut dnskeys = vec![dnssec::dnskey(dnssec::ZONE_KEY, &row.point)];
    let (mut signers, mut refusal) = (Vec::new(), Refusal::ActiveKeySigningKeyNotFound);
    for key in signing::keys(snapshot, scope, zone_id).filter(|key| key.is_active) {
        dnskeys.push(key.dnskey.clone());
        match signing::usable(snapshot, zone, &key.kms_arn) {
            Ok((kms, point)) => {
                let secret = kms.secret.reveal();
                let signer = ZoneKey::new(dnssec::KEY_SIGNING_KEY, secret, point);
                signers.push(signer.map_err(failed)?);
            }
            Err(why) => refusal = why,
        }
    }
    if signers.is_empty() {
        return Err(refusal.into());
    }
    let now = tx.now();
    let values: Vec<&[u8]> = dnskeys.iter().map(Vec::as_slice).collect();
    let validity = Validity {
        inception: seconds(now.plus_ms(-BEFORE_MS)),
        expiration: seconds(now.plus_ms(VALID_MS)),
    };
    let (name, ttl) = (names::wire(&zone.name), ZoneSigning::DNSKEY_TTL);
    let signatures = dnssec::sign_keys(&name, ttl, &values, &signers, validity);
    row.signatures = signatures.map_err(failed)?;
    row.dnskeys = dnskeys;
    row.signed_at = now;
    tx.put(row);
    Ok(())
}

/// As RRSIG records count them: they wrap in 2106.
fn seconds(at: Timestamp) -> u32 {
    (at.0 / 1000) as u32
}
