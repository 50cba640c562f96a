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

#[cfg(test)]
mod tests {
    use super::super::fixture::{record, scope};
    use super::*;
    use crate::model::kms::{keys as kms, policies};
    use fogbank_types::kms::KeySecret;

    fn policy(actions: &[&str]) -> String {
        serde_json::json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": actions, "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
        }]})
        .to_string()
    }

    fn kms_key(tx: &mut Tx, spec: KeySpec, policy: String) -> Key {
        let new = kms::NewKey {
            secret: KeySecret::new([7; 32]),
            spec,
            description: String::new(),
            policy: Some(policy),
            is_managed_by_aws: false,
            tags: Tags::new(),
        };
        kms::create(tx, &Scope::new("000000000000", REGION), new).unwrap()
    }

    fn good(tx: &mut Tx) -> String {
        let point = KeySpec::EccNistP256 { point: vec![4; 65] };
        kms_key(tx, point, policy(&ACTIONS)).arn()
    }

    fn named(zone_id: &str, name: &str, kms_arn: String) -> NewKey {
        NewKey {
            zone_id: zone_id.to_owned(),
            name: name.to_owned(),
            caller_reference: name.to_owned(),
            kms_arn,
            status: "ACTIVE".to_owned(),
        }
    }

    fn make(tx: &mut Tx, new: &NewKey) -> Result<KeySigningKey, Refusal> {
        let tag = tx.snapshot().key_signing_keys.len() as u16;
        create(tx, &scope(), new, |_, _| {
            (Vec::new(), tag, format!("AB{tag}0"))
        })
    }

    fn zone_of(tx: &mut Tx, name: &str) -> HostedZone {
        super::super::fixture::zone(tx, name)
    }

    fn sign(tx: &mut Tx, zone_id: &str) {
        check_enable(tx, &scope(), zone_id).unwrap();
        tx.put(ZoneSigning {
            scope: scope(),
            zone_id: zone_id.to_owned(),
            secret: KeySecret::new([1; 32]),
            point: Vec::new(),
            dnskeys: Vec::new(),
            signatures: Vec::new(),
            signed_at: tx.now(),
        });
    }

    #[test]
    fn a_key_of_kms_must_be_such_that_the_service_can_sign() {
        let mut tx = Tx::for_test();
        let zone = zone_of(&mut tx, "example.test");
        let point = || KeySpec::EccNistP256 { point: vec![4; 65] };
        let symmetric = kms_key(&mut tx, KeySpec::SymmetricDefault, policy(&ACTIONS)).arn();
        let own = kms_key(&mut tx, point(), policies::default_of("000000000000")).arn();
        let unsigned = kms_key(&mut tx, point(), policy(&ACTIONS[..2])).arn();
        let arn = good(&mut tx);
        let elsewhere = arn.replace(REGION, "eu-west-1");
        for wrong in ["x".to_owned(), symmetric, own, unsigned, elsewhere] {
            let refused = make(&mut tx, &named(&zone.id, "key", wrong.clone()));
            assert!(matches!(refused, Err(Refusal::InvalidKmsArn(_))), "{wrong}");
        }
        make(&mut tx, &named(&zone.id, "key", arn.clone())).unwrap();
        let id = arn.rsplit('/').next().unwrap();
        kms::set_enabled(&mut tx, &Scope::new("000000000000", REGION), id, false).unwrap();
        assert!(usable(tx.snapshot(), &zone, &arn).is_err());
    }

    #[test]
    fn a_zone_has_two_keys_of_different_names_and_arns() {
        let mut tx = Tx::for_test();
        let id = zone_of(&mut tx, "example.test").id;
        let (first, second, third) = (good(&mut tx), good(&mut tx), good(&mut tx));
        for name in ["ab", "with-dash", "with.dot", &"a".repeat(129)] {
            let refused = make(&mut tx, &named(&id, name, first.clone()));
            assert_eq!(refused.unwrap_err(), Refusal::InvalidKeySigningKeyName);
        }
        make(&mut tx, &named(&id, "first", first.clone())).unwrap();
        for (name, arn) in [("first", &second), ("second", &first)] {
            let refused = make(&mut tx, &named(&id, name, arn.clone()));
            assert_eq!(refused.unwrap_err(), Refusal::KeySigningKeyAlreadyExists);
        }
        make(&mut tx, &named(&id, "second", second)).unwrap();
        let refused = make(&mut tx, &named(&id, "third", third));
        assert_eq!(refused.unwrap_err(), Refusal::TooManyKeySigningKeys);
        let refused = zones::delete(&mut tx, &scope(), &id);
        assert_eq!(refused.unwrap_err(), Refusal::SigningKeysLeft);
    }

    #[test]
    fn a_signed_zone_keeps_an_active_key() {
        let mut tx = Tx::for_test();
        let id = zone_of(&mut tx, "example.test").id;
        let refused = check_enable(&tx, &scope(), &id);
        assert_eq!(refused, Err(Refusal::ActiveKeySigningKeyNotFound));
        assert_eq!(
            disable(&mut tx, &scope(), &id),
            Err(Refusal::DnssecNotFound)
        );
        for name in ["first", "second"] {
            let arn = good(&mut tx);
            make(&mut tx, &named(&id, name, arn)).unwrap();
        }
        sign(&mut tx, &id);
        let refused = delete(&mut tx, &scope(), &id, "first");
        assert!(matches!(
            refused,
            Err(Refusal::InvalidKeySigningKeyStatus(_))
        ));
        set_active(&mut tx, &scope(), &id, "first", false).unwrap();
        let refused = set_active(&mut tx, &scope(), &id, "second", false);
        assert_eq!(refused.unwrap_err(), Refusal::KeySigningKeyInUse);
        delete(&mut tx, &scope(), &id, "first").unwrap();
        disable(&mut tx, &scope(), &id).unwrap();
        set_active(&mut tx, &scope(), &id, "second", false).unwrap();
        delete(&mut tx, &scope(), &id, "second").unwrap();
        zones::delete(&mut tx, &scope(), &id).unwrap();
    }

    #[test]
    fn what_the_parent_says_of_a_zone_is_kept_true() {
        let mut tx = Tx::for_test();
        let parent = zone_of(&mut tx, "test").id;
        let child = zone_of(&mut tx, "example.test");
        let keys = ["first", "second"].map(|name| {
            let arn = good(&mut tx);
            make(&mut tx, &named(&child.id, name, arn)).unwrap()
        });
        let at_cut = |kind: &str, values: Vec<String>| RecordSet {
            values,
            ..record(&parent, "example.test.", kind)
        };
        tx.put(at_cut("NS", child.name_servers[..3].to_vec()));
        let refused = check_enable(&tx, &scope(), &child.id);
        assert_eq!(refused, Err(Refusal::HostedZonePartiallyDelegated));
        tx.put(at_cut("NS", child.name_servers.clone()));
        sign(&mut tx, &child.id);
        let digest = keys[0].digest.to_lowercase();
        tx.put(at_cut(
            "DS",
            vec![format!("{} 13 2 {digest}", keys[0].key_tag)],
        ));
        let vouched_for = Refusal::KeySigningKeyInParentDsRecord;
        assert_eq!(
            disable(&mut tx, &scope(), &child.id),
            Err(vouched_for.clone())
        );
        let refused = set_active(&mut tx, &scope(), &child.id, "first", false);
        assert_eq!(refused.unwrap_err(), vouched_for);
        set_active(&mut tx, &scope(), &child.id, "second", false).unwrap();
    }
}
