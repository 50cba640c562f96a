//! Parameters one by one.

use super::caller;
use crate::api::{ApiError, Context};
use crate::model::secretsmanager::values;
use crate::model::ssm::filters::kind_text;
use crate::model::ssm::names::{self, Found};
use crate::model::ssm::parameters::{self as model, NewVersion};
use crate::model::ssm::{Refusal, invalid, labels};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Tags;
use fogbank_types::secret::SecretValue;
use fogbank_types::ssm::{Parameter, ParameterKind, ParameterVersion};
use fogbank_wire::ssm as wire;
use sha2::{Digest, Sha256};

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
    let version = context.write(|tx| Ok(model::put(tx, &scope, new.clone())?))?;
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

/// A SecureString's value is told only if asked for; otherwise something as opaque as what KMS would have made of it.
pub fn value(parameter: &Parameter, version: &ParameterVersion, decrypt: Option<bool>) -> String {
    if version.kind != ParameterKind::SecureString || decrypt == Some(true) {
        return version.value.clone();
    }
    // Digests of what is known anyhow, about as many bytes as KMS's would be: nothing of the value is in them.
    let seed = format!(
        "{}\n{}\n{}",
        parameter.arn(),
        version.version,
        version.modified_at.0
    );
    let length = 150 + version.value.len();
    let mut bytes = Vec::with_capacity(length + 32);
    for block in 0..length.div_ceil(32) {
        bytes.extend(Sha256::digest(format!("{seed}\n{block}")));
    }
    bytes.truncate(length);
    format!("AQICAH{}", STANDARD.encode(bytes))
}

pub fn show(found: &Found, decrypt: Option<bool>) -> wire::Parameter {
    let Found {
        parameter, version, ..
    } = found;
    wire::Parameter {
        arn: Some(parameter.arn()),
        data_type: Some(version.data_type.clone()),
        last_modified_date: Some(version.modified_at),
        name: Some(parameter.name.clone()),
        selector: found.selector.clone(),
        r#type: Some(kind_text(version.kind).to_owned()),
        value: Some(value(parameter, version, decrypt)),
        version: Some(version.version as i64),
        ..wire::Parameter::default()
    }
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
        return Ok(show(
            &names::select(&context.snapshot(), &context.scope(), name)?,
            decrypt,
        ));
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
    let SecretValue::Text(value) = read.version.value else {
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
            Err(error) if error.0.code == "ValidationException" => return Err(error),
            Err(_) => missing.push(name),
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
