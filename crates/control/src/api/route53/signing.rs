//! DNSSEC signing: key-signing keys, and zones that are signed.

use super::{bare, changes};
use crate::api::{ApiError, Context};
use crate::model::Tx;
use crate::model::route53::changes as change_rules;
use crate::model::route53::signing::{self as rules, NewKey};
use crate::zone_signing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_pki::dnssec;
use fogbank_types::Snapshot;
use fogbank_types::route53::{Change, HostedZone, KeySigningKey as Row};
use fogbank_wire::route53::*;

/// A key whose key of KMS cannot be used needs its owner.
fn render(snapshot: &Snapshot, zone: &HostedZone, row: &Row) -> KeySigningKey {
    let problem = rules::usable(snapshot, zone, &row.kms_arn).err();
    let problem = problem.filter(|_| row.is_active);
    let status = match (&problem, row.is_active) {
        (Some(_), _) => "ACTION_NEEDED",
        (None, true) => "ACTIVE",
        (None, false) => "INACTIVE",
    };
    let public = STANDARD.encode(row.dnskey.get(4..).unwrap_or_default());
    let flag = i32::from(dnssec::KEY_SIGNING_KEY);
    let (algorithm, digest) = (i32::from(dnssec::ALGORITHM), i32::from(dnssec::DIGEST));
    KeySigningKey {
        created_date: Some(row.created_at),
        dnskey_record: Some(format!("{flag} 3 {algorithm} {public}")),
        ds_record: Some(format!(
            "{} {algorithm} {digest} {}",
            row.key_tag, row.digest
        )),
        digest_algorithm_mnemonic: Some("SHA-256".to_owned()),
        digest_algorithm_type: Some(digest),
        digest_value: Some(row.digest.clone()),
        flag: Some(flag),
        key_tag: Some(i32::from(row.key_tag)),
        kms_arn: Some(row.kms_arn.clone()),
        last_modified_date: Some(row.modified_at),
        name: Some(row.name.clone()),
        public_key: Some(public),
        signing_algorithm_mnemonic: Some("ECDSAP256SHA256".to_owned()),
        signing_algorithm_type: Some(algorithm),
        status: Some(status.to_owned()),
        status_message: problem.map(|problem| problem.to_string()),
    }
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_DNSSECStatus.html>
pub fn get(context: &Context, input: GetDNSSECRequest) -> Result<GetDNSSECResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let zone = rules::zone(&snapshot, &scope, bare(&input.hosted_zone_id))?;
    let keys = rules::keys(&snapshot, &scope, &zone.id);
    let keys: Vec<KeySigningKey> = keys.map(|row| render(&snapshot, zone, row)).collect();
    let problem = keys.iter().find_map(|key| key.status_message.clone());
    let (status, message) = match snapshot.zone_signings.contains(&scope, &zone.id) {
        false => ("NOT_SIGNING", None),
        true if problem.is_some() => ("ACTION_NEEDED", problem),
        true => ("SIGNING", None),
    };
    Ok(GetDNSSECResponse {
        key_signing_keys: keys,
        status: DNSSECStatus {
            serve_signature: Some(status.to_owned()),
            status_message: message,
        },
    })
}

/// A change of a zone's keys: its signatures follow in the same transaction.
fn change(
    context: &Context,
    zone_id: &str,
    run: impl Fn(&mut Tx) -> Result<(), ApiError>,
) -> Result<ChangeInfo, ApiError> {
    let scope = context.scope().global();
    let change: Change = context.write(|tx| {
        run(tx)?;
        zone_signing::renew(tx, &scope, zone_id)?;
        Ok(change_rules::submit(tx, &scope, None))
    })?;
    Ok(changes::render(&change))
}

pub fn create(
    context: &Context,
    input: CreateKeySigningKeyRequest,
) -> Result<CreateKeySigningKeyResponse, ApiError> {
    let scope = context.scope().global();
    let new = NewKey {
        zone_id: bare(&input.hosted_zone_id).to_owned(),
        name: input.name,
        caller_reference: input.caller_reference,
        kms_arn: input.key_management_service_arn,
        status: input.status,
    };
    let change_info = change(context, &new.zone_id, |tx| {
        rules::create(tx, &scope, &new, zone_signing::facts)?;
        Ok(())
    })?;
    let snapshot = context.snapshot();
    let zone = rules::zone(&snapshot, &scope, &new.zone_id)?;
    let row = rules::keys(&snapshot, &scope, &zone.id).find(|row| row.name == new.name);
    Ok(CreateKeySigningKeyResponse {
        change_info,
        key_signing_key: row
            .map(|row| render(&snapshot, zone, row))
            .unwrap_or_default(),
        location: format!(
            "https://route53.amazonaws.com/2013-04-01/keysigningkey/{}/{}",
            zone.id, new.name
        ),
    })
}

pub fn activate(
    context: &Context,
    input: ActivateKeySigningKeyRequest,
) -> Result<ActivateKeySigningKeyResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change_info = change(context, zone, |tx| {
        rules::set_active(tx, &scope, zone, &input.name, true)?;
        Ok(())
    })?;
    Ok(ActivateKeySigningKeyResponse { change_info })
}

pub fn deactivate(
    context: &Context,
    input: DeactivateKeySigningKeyRequest,
) -> Result<DeactivateKeySigningKeyResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change_info = change(context, zone, |tx| {
        rules::set_active(tx, &scope, zone, &input.name, false)?;
        Ok(())
    })?;
    Ok(DeactivateKeySigningKeyResponse { change_info })
}

pub fn delete(
    context: &Context,
    input: DeleteKeySigningKeyRequest,
) -> Result<DeleteKeySigningKeyResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change: Change = context.write(|tx| {
        rules::delete(tx, &scope, zone, &input.name)?;
        Ok(change_rules::submit(tx, &scope, None))
    })?;
    Ok(DeleteKeySigningKeyResponse {
        change_info: changes::render(&change),
    })
}

pub fn enable(
    context: &Context,
    input: EnableHostedZoneDNSSECRequest,
) -> Result<EnableHostedZoneDNSSECResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let key = zone_signing::new_key()?;
    let change: Change = context.write(|tx| {
        rules::check_enable(tx, &scope, zone)?;
        zone_signing::enable(tx, &scope, zone, &key)?;
        Ok(change_rules::submit(tx, &scope, None))
    })?;
    Ok(EnableHostedZoneDNSSECResponse {
        change_info: changes::render(&change),
    })
}

pub fn disable(
    context: &Context,
    input: DisableHostedZoneDNSSECRequest,
) -> Result<DisableHostedZoneDNSSECResponse, ApiError> {
    let (scope, zone) = (context.scope().global(), bare(&input.hosted_zone_id));
    let change: Change = context.write(|tx| {
        rules::disable(tx, &scope, zone)?;
        Ok(change_rules::submit(tx, &scope, None))
    })?;
    Ok(DisableHostedZoneDNSSECResponse {
        change_info: changes::render(&change),
    })
}
