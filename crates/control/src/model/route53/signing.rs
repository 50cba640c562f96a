//! DNSSEC signing of public zones: key-signing keys, and whether a zone is signed.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-configuring-dnssec.html>
//!
//! Called by `api::route53` and by `zone_signing`, which makes the signatures. What must stay true: a signed zone has an
//! active key-signing key, and none that its parent vouches for goes away.

use super::{Refusal, zones};
use crate::model::iam::evaluation::{Grants, Party, PartyKind, Resource, judge};
use crate::model::tx::Tx;
use fogbank_types::kms::{Key, KeySpec};
use fogbank_types::route53::{HostedZone, KeySigningKey, RecordSet, ZoneSigning};
use fogbank_types::{Row, Scope, Snapshot, Tags};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where the keys of KMS have to be.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-configuring-dnssec-cmk-requirements.html>
const REGION: &str = "us-east-1";
/// Who uses them.
const SERVICE: &str = "dnssec-route53.amazonaws.com";
const ACTIONS: [&str; 4] = [
    "kms:DescribeKey",
    "kms:GetPublicKey",
    "kms:Sign",
    "kms:CreateGrant",
];
/// Quota "Key signing keys (KSKs) per hosted zone".
const KEYS_MAX: usize = 2;

/// A public zone.
pub fn zone<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<HostedZone>, Refusal> {
    let zone = zones::find(snapshot, scope, id)?;
    if zone.private {
        let text = "Operation is unsupported for private hosted zones";
        return Err(Refusal::InvalidArgument(text.to_owned()));
    }
    Ok(zone)
}

pub fn keys<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    zone_id: &str,
) -> impl Iterator<Item = &'a Arc<KeySigningKey>> + use<'a> {
    let table = &snapshot.key_signing_keys;
    table.with_prefix(scope, &format!("{zone_id}/"))
}

fn find(
    snapshot: &Snapshot,
    scope: &Scope,
    id: &str,
    name: &str,
) -> Result<KeySigningKey, Refusal> {
    let row = (snapshot.key_signing_keys).get(scope, format!("{id}/{name}"));
    row.map(|row| KeySigningKey::clone(row))
        .ok_or_else(|| Refusal::NoSuchKeySigningKey(name.to_owned()))
}

/// The key of KMS's, and its public point, if Route 53 may sign with it now.
pub fn usable<'a>(
    snapshot: &'a Snapshot,
    zone: &HostedZone,
    arn: &str,
) -> Result<(&'a Key, &'a [u8]), Refusal> {
    let wrong = |text: String| Refusal::InvalidKmsArn(text);
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", "aws", "kms", REGION, account, local] = parts.as_slice() else {
        return Err(wrong(format!(
            "'{arn}' is not the ARN of a customer managed key in {REGION}."
        )));
    };
    let key = (local.strip_prefix("key/"))
        .and_then(|id| snapshot.kms_keys.get(&Scope::new(*account, REGION), id))
        .filter(|key| !key.is_managed_by_aws)
        .ok_or_else(|| wrong(format!("There is no customer managed key '{arn}'.")))?;
    if key.state() != "Enabled" {
        return Err(wrong(format!(
            "The customer managed key '{arn}' is not enabled."
        )));
    }
    let KeySpec::EccNistP256 { point } = &key.spec else {
        return Err(wrong(format!(
            "The customer managed key '{arn}' must have the key spec ECC_NIST_P256 and the key usage SIGN_VERIFY."
        )));
    };
    let service = Party {
        account: String::new(),
        kind: PartyKind::Service,
        arn: SERVICE.to_owned(),
        unique_id: String::new(),
        tags: Tags::new(),
    };
    let mut conditions = service.conditions();
    conditions.set("aws:SourceAccount", zone.scope.account.as_str());
    let source = format!("arn:aws:route53:::hostedzone/{}", zone.id);
    conditions.set("aws:SourceArn", source);
    conditions.set("kms:GrantIsForAWSResource", "true");
    let resource = Resource::new(arn).with_policy(&key.policy, true);
    let refused = ACTIONS.into_iter().find(|action| {
        let nobody = Grants::default();
        !judge(&nobody, &service, action, &resource, &conditions).is_allowed()
    });
    match refused {
        None => Ok((key, point)),
        Some(action) => Err(wrong(format!(
            "The policy of the customer managed key '{arn}' must allow {action} to {SERVICE}."
        ))),
    }
}

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub zone_id: String,
    pub name: String,
    pub caller_reference: String,
    pub kms_arn: String,
    /// `ACTIVE` or `INACTIVE`.
    pub status: String,
}

/// `facts` gives DNSKEY value, key tag and digest of a public point, for the zone's name.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    new: &NewKey,
    facts: impl FnOnce(&HostedZone, &[u8]) -> (Vec<u8>, u16, String),
) -> Result<KeySigningKey, Refusal> {
    let zone = zone(tx.snapshot(), scope, &new.zone_id)?.clone();
    let is_active = match new.status.as_str() {
        "ACTIVE" => true,
        "INACTIVE" => false,
        other => return Err(Refusal::InvalidSigningStatus(other.to_owned())),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !(3..=128).contains(&new.name.len()) || !new.name.bytes().all(fits) {
        return Err(Refusal::InvalidKeySigningKeyName);
    }
    let same = |key: &Arc<KeySigningKey>| key.name == new.name || key.kms_arn == new.kms_arn;
    if keys(tx.snapshot(), scope, &zone.id).any(same) {
        return Err(Refusal::KeySigningKeyAlreadyExists);
    }
    if keys(tx.snapshot(), scope, &zone.id).count() >= KEYS_MAX {
        return Err(Refusal::TooManyKeySigningKeys);
    }
    let (_, point) = usable(tx.snapshot(), &zone, &new.kms_arn)?;
    let (dnskey, key_tag, digest) = facts(&zone, point);
    let row = KeySigningKey {
        scope: scope.clone(),
        zone_id: zone.id.clone(),
        name: new.name.clone(),
        caller_reference: new.caller_reference.clone(),
        kms_arn: new.kms_arn.clone(),
        dnskey,
        key_tag,
        digest,
        is_active,
        created_at: tx.now(),
        modified_at: tx.now(),
    };
    tx.put(row.clone());
    Ok(row)
}

/// The other active ones of a zone.
fn others(snapshot: &Snapshot, key: &KeySigningKey) -> usize {
    keys(snapshot, &key.scope, &key.zone_id)
        .filter(|other| other.is_active && other.name != key.name)
        .count()
}

pub fn set_active(
    tx: &mut Tx,
    scope: &Scope,
    zone_id: &str,
    name: &str,
    is_active: bool,
) -> Result<KeySigningKey, Refusal> {
    zone(tx.snapshot(), scope, zone_id)
        .map_err(|_| Refusal::NoSuchKeySigningKey(name.to_owned()))?;
    let zone = zones::find(tx.snapshot(), scope, zone_id)?.clone();
    let mut key = find(tx.snapshot(), scope, zone_id, name)?;
    if key.is_active == is_active {
        return Ok(key);
    }
    if is_active {
        usable(tx.snapshot(), &zone, &key.kms_arn)?;
    } else if tx.snapshot().zone_signings.contains(scope, zone_id) {
        if others(tx.snapshot(), &key) == 0 {
            return Err(Refusal::KeySigningKeyInUse);
        }
        if is_vouched_for(tx.snapshot(), &zone, &key) {
            return Err(Refusal::KeySigningKeyInParentDsRecord);
        }
    }
    key.is_active = is_active;
    key.modified_at = tx.now();
    tx.put(key.clone());
    Ok(key)
}

/// Only an inactive one.
pub fn delete(tx: &mut Tx, scope: &Scope, zone_id: &str, name: &str) -> Result<(), Refusal> {
    let key = find(tx.snapshot(), scope, zone_id, name)?;
    if key.is_active {
        return Err(Refusal::InvalidKeySigningKeyStatus(format!(
            "The key-signing key (KSK) {name} is ACTIVE. Deactivate it before you delete it."
        )));
    }
    tx.delete::<KeySigningKey>(scope, key.id());
    Ok(())
}

/// Whether the zone may be signed. Enabling twice changes nothing.
pub fn check_enable(tx: &Tx, scope: &Scope, zone_id: &str) -> Result<(), Refusal> {
    let snapshot = tx.snapshot();
    let zone = zone(snapshot, scope, zone_id)?;
    let mut active = keys(snapshot, scope, zone_id)
        .filter(|key| key.is_active)
        .peekable();
    if active.peek().is_none() {
        return Err(Refusal::ActiveKeySigningKeyNotFound);
    }
    for key in active {
        usable(snapshot, zone, &key.kms_arn)?;
    }
    if let Some(servers) = in_parent(snapshot, zone, "NS").first() {
        let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let theirs: BTreeSet<String> = servers.values.iter().map(|name| bare(name)).collect();
        let ours: BTreeSet<String> = zone.name_servers.iter().map(|name| bare(name)).collect();
        if theirs != ours {
            return Err(Refusal::HostedZonePartiallyDelegated);
        }
    }
    Ok(())
}

/// Not while the parent says that the zone is signed.
pub fn disable(tx: &mut Tx, scope: &Scope, zone_id: &str) -> Result<(), Refusal> {
    let zone = zone(tx.snapshot(), scope, zone_id)?.clone();
    if !tx.snapshot().zone_signings.contains(scope, zone_id) {
        return Err(Refusal::DnssecNotFound);
    }
    let snapshot = tx.snapshot();
    if keys(snapshot, scope, zone_id).any(|key| is_vouched_for(snapshot, &zone, key)) {
        return Err(Refusal::KeySigningKeyInParentDsRecord);
    }
    tx.delete::<ZoneSigning>(scope, zone_id);
    Ok(())
}

/// Records of the zone's name in the zones above it that this region answers for: the closest one.
fn in_parent<'a>(snapshot: &'a Snapshot, zone: &HostedZone, kind: &str) -> Vec<&'a RecordSet> {
    let above = snapshot.hosted_zones.all().filter(|other| {
        !other.private
            && other.name != zone.name
            && zone.name.ends_with(&format!(".{}", other.name))
    });
    // Of two with one name the newest answers.
    let Some(parent) = above.max_by_key(|other| (other.name.len(), other.created_at)) else {
        return Vec::new();
    };
    let start = format!("{}/{}/{kind}/", parent.id, zone.name);
    let records = snapshot.record_sets.with_prefix(&parent.scope, &start);
    records.map(|record| &**record).collect()
}

/// Whether a DS record of the parent is of that key.
fn is_vouched_for(snapshot: &Snapshot, zone: &HostedZone, key: &KeySigningKey) -> bool {
    let records = in_parent(snapshot, zone, "DS");
    let mut values = records.iter().flat_map(|record| &record.values);
    values.any(|value| {
        let mut words = value.split_whitespace();
        let tag = words.next().and_then(|tag| tag.parse().ok());
        let digest: String = words.skip(2).collect();
        tag == Some(key.key_tag) && digest.eq_ignore_ascii_case(&key.digest)
    })
}
