//! Parameters one by one.

use super::caller;
use crate::api::{ApiError, Context};
use crate::encryption;
use crate::model::kms::keys::usable;
use crate::model::secretsmanager::values;
use crate::model::ssm::filters::kind_text;
use crate::model::ssm::names::{self, Found};
use crate::model::ssm::parameters::{self as model, NewVersion};
use crate::model::ssm::{Refusal, invalid, labels};
use crate::model::{Tx, kms};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::kms::KeySecret;
use fogbank_types::secret::SecretValue;
use fogbank_types::ssm::{Parameter, ParameterKind, ParameterVersion};
use fogbank_types::{Scope, Snapshot, Tags};
use fogbank_wire::ssm as wire;

pub fn put(
    context: &Context,
    input: wire::PutParameterRequest,
) -> Result<wire::PutParameterResult, ApiError> {
    let kind = input.r#type.as_deref().map(kind).transpose()?;
    let tags: Tags = input
        .tags
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag.key, tag.value))
        .collect();
    let new = NewVersion {
        name: input.name,
        value: input.value,
        kind,
        description: input.description,
        key_id: input.key_id,
        overwrite: input.overwrite == Some(true),
        allowed_pattern: input.allowed_pattern.filter(|pattern| !pattern.is_empty()),
        tier: input.tier,
        policies: input.policies,
        data_type: input.data_type,
        tags,
        caller: caller(context),
    };
    let scope = context.scope();
    let secret = encryption::new_secret()?;
    let version = context.write(|tx| {
        let version = model::put(tx, &scope, new.clone())?;
        if version.kind == ParameterKind::SecureString {
            seal(tx, &scope, &new.name, &version, &secret)?;
        }
        Ok(version)
    })?;
    Ok(wire::PutParameterResult {
        tier: Some(version.tier),
        version: Some(version.version as i64),
    })
}

fn kind(text: &str) -> Result<ParameterKind, Refusal> {
    match text {
        "String" => Ok(ParameterKind::String),
        "StringList" => Ok(ParameterKind::StringList),
        "SecureString" => Ok(ParameterKind::SecureString),
        _ => Err(invalid(format!(
            "The parameter type {text} is not supported."
        ))),
    }
}

/// Encrypts the version that was just made. `secret` is for AWS's own key, if this is its first use.
fn seal(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    version: &ParameterVersion,
    secret: &KeySecret,
) -> Result<(), ApiError> {
    let id = version.key_id.as_deref().unwrap_or(model::DEFAULT_KEY);
    let bad_key = |refusal: kms::Refusal| Refusal::KeyId(refusal.to_string());
    let key = encryption::key_in(tx, id, scope, secret).map_err(bad_key)?;
    usable(&key).map_err(bad_key)?;
    let Some(row) = tx.snapshot().parameters.get(scope, name).cloned() else {
        return Ok(());
    };
    let ciphertext = encryption::encrypt(&key, &row.context(), version.value.as_bytes())?;
    tx.update::<Parameter>(scope, name, |row| {
        if let Some(latest) = row.versions.last_mut() {
            latest.value.clear();
            latest.ciphertext = ciphertext;
        }
    });
    Ok(())
}

/// A SecureString's value is told only if asked for; otherwise it is told as KMS encrypted it.
pub fn value(
    snapshot: &Snapshot,
    parameter: &Parameter,
    version: &ParameterVersion,
    decrypt: Option<bool>,
) -> Result<String, Refusal> {
    if version.kind != ParameterKind::SecureString {
        return Ok(version.value.clone());
    }
    if decrypt != Some(true) {
        return Ok(STANDARD.encode(&version.ciphertext));
    }
    // Written before this region had keys.
    if version.ciphertext.is_empty() {
        return Ok(version.value.clone());
    }
    let region = &parameter.scope.region;
    let ciphertext = &version.ciphertext;
    let opened = encryption::decrypt(snapshot, region, None, &parameter.context(), ciphertext);
    let opened = opened.map_err(|refusal| Refusal::KeyId(refusal.to_string()))?;
    String::from_utf8(opened.text).map_err(|_| Refusal::KeyId("The value is no text.".to_owned()))
}

pub fn show(
    snapshot: &Snapshot,
    found: &Found,
    decrypt: Option<bool>,
) -> Result<wire::Parameter, Refusal> {
    let Found {
        parameter, version, ..
    } = found;
    Ok(wire::Parameter {
        arn: Some(parameter.arn()),
        data_type: Some(version.data_type.clone()),
        last_modified_date: Some(version.modified_at),
        name: Some(parameter.name.clone()),
        selector: found.selector.clone(),
        r#type: Some(kind_text(version.kind).to_owned()),
        value: Some(value(snapshot, parameter, version, decrypt)?),
        version: Some(version.version as i64),
        ..wire::Parameter::default()
    })
}

/// Names under which Secrets Manager's secrets are parameters.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/integration-ps-secretsmanager.html>
const SECRETS: &str = "/aws/reference/secretsmanager/";

/// A secret's name, and the version that stands behind its colon: an id or a stage.
fn chosen(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let Some((secret, version)) = reference.rsplit_once(':') else {
        return (reference, None, None);
    };
    let digits = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    if version.len() >= 32 && version.bytes().all(digits) {
        (secret, Some(version), None)
    } else {
        (secret, None, Some(version))
    }
}

/// What a name, an ARN, or a reference to a secret stands for.
fn read(context: &Context, name: &str, decrypt: Option<bool>) -> Result<wire::Parameter, ApiError> {
    let Some(secret) = name.strip_prefix(SECRETS) else {
        let snapshot = context.snapshot();
        let found = names::select(&snapshot, &context.scope(), name)?;
        return Ok(show(&snapshot, &found, decrypt)?);
    };
    if decrypt != Some(true) {
        return Err(invalid(
            "WithDecryption flag must be True for retrieving a Secret Manager secret.",
        )
        .into());
    }
    let scope = context.scope();
    let not_found = || Refusal::NotFound(name.to_owned());
    let (secret, version_id, stage) = chosen(secret);
    let read = context
        .write(|tx| Ok(values::get(tx, &scope, secret, version_id, stage)?))
        .map_err(|_| not_found())?;
    let opened = encryption::open_secret(&context.snapshot(), &read.arn, &read.version);
    let SecretValue::Text(value) = opened? else {
        return Err(not_found().into());
    };
    Ok(wire::Parameter {
        arn: Some(scope.arn("ssm", &format!("parameter{name}"))),
        data_type: Some("text".to_owned()),
        last_modified_date: Some(read.version.created_at),
        name: Some(name.to_owned()),
        source_result: Some(
            serde_json::json!({
                "ARN": read.arn, "name": read.name, "versionId": read.version.id,
                "versionStages": read.version.stages, "createdDate": read.version.created_at.0,
            })
            .to_string(),
        ),
        r#type: Some("SecureString".to_owned()),
        value: Some(value),
        version: Some(0),
        ..wire::Parameter::default()
    })
}

pub fn get(
    context: &Context,
    input: wire::GetParameterRequest,
) -> Result<wire::GetParameterResult, ApiError> {
    Ok(wire::GetParameterResult {
        parameter: Some(read(context, &input.name, input.with_decryption)?),
    })
}

pub fn get_many(
    context: &Context,
    input: wire::GetParametersRequest,
) -> Result<wire::GetParametersResult, ApiError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut names = input.names;
    names.sort();
    names.dedup();
    for name in names {
        match read(context, &name, input.with_decryption) {
            Ok(parameter) => found.push(parameter),
            Err(error)
                if error.0.code == "ParameterNotFound"
                    || error.0.code == "ParameterVersionNotFound" =>
            {
                missing.push(name)
            }
            Err(error) => return Err(error),
        }
    }
    Ok(wire::GetParametersResult {
        invalid_parameters: Some(missing),
        parameters: Some(found),
    })
}

pub fn delete(
    context: &Context,
    input: wire::DeleteParameterRequest,
) -> Result<wire::DeleteParameterResult, ApiError> {
    let scope = context.scope();
    context.write(|tx| Ok(model::delete(tx, &scope, &input.name)?))?;
    Ok(wire::DeleteParameterResult {})
}

pub fn delete_many(
    context: &Context,
    input: wire::DeleteParametersRequest,
) -> Result<wire::DeleteParametersResult, ApiError> {
    let scope = context.scope();
    let (gone, missing) = context.write(|tx| {
        let names = input.names.iter().cloned();
        Ok(names.partition::<Vec<_>, _>(|name| model::delete(tx, &scope, name).is_ok()))
    })?;
    Ok(wire::DeleteParametersResult {
        deleted_parameters: Some(gone),
        invalid_parameters: Some(missing),
    })
}

pub fn label(
    context: &Context,
    input: wire::LabelParameterVersionRequest,
) -> Result<wire::LabelParameterVersionResult, ApiError> {
    let scope = context.scope();
    let (version, refused) = context.write(|tx| {
        let (name, labels) = (&input.name, &input.labels);
        Ok(labels::put(
            tx,
            &scope,
            name,
            input.parameter_version,
            labels,
        )?)
    })?;
    Ok(wire::LabelParameterVersionResult {
        invalid_labels: Some(refused),
        parameter_version: Some(version as i64),
    })
}

pub fn unlabel(
    context: &Context,
    input: wire::UnlabelParameterVersionRequest,
) -> Result<wire::UnlabelParameterVersionResult, ApiError> {
    let scope = context.scope();
    let (removed, missing) = context.write(|tx| {
        let (name, labels) = (&input.name, &input.labels);
        Ok(labels::remove(
            tx,
            &scope,
            name,
            input.parameter_version,
            labels,
        )?)
    })?;
    Ok(wire::UnlabelParameterVersionResult {
        invalid_labels: Some(missing),
        removed_labels: Some(removed),
    })
}
