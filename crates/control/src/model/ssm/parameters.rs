//! Parameters and their versions.

use super::{Refusal, invalid, names, policies, tags};
use crate::model::Tx;
use fogbank_types::ssm::{Parameter, ParameterKind, ParameterVersion};
use fogbank_types::{Scope, Tags};
use std::collections::BTreeSet;

const STANDARD_BYTES_MAX: usize = 4096;
const ADVANCED_BYTES_MAX: usize = 8192;
const VERSIONS_MAX: usize = 100;
/// Quota "Total number of parameters": standard ones.
const STANDARD_MAX: usize = 10_000;
/// The AWS managed key of the service.
pub const DEFAULT_KEY: &str = "alias/aws/ssm";

/// What PutParameter says; `None` keeps what was there.
#[derive(Clone, Debug, Default)]
pub struct NewVersion {
    pub name: String,
    pub value: String,
    pub kind: Option<ParameterKind>,
    pub description: Option<String>,
    pub key_id: Option<String>,
    pub overwrite: bool,
    pub allowed_pattern: Option<String>,
    pub tier: Option<String>,
    pub policies: Option<String>,
    pub data_type: Option<String>,
    pub tags: Tags,
    /// ARN of the caller.
    pub caller: String,
}

pub fn put(tx: &mut Tx, scope: &Scope, new: NewVersion) -> Result<ParameterVersion, Refusal> {
    names::check(&new.name)?;
    if new.overwrite && !new.tags.is_empty() {
        return Err(invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    let old = names::row(tx.snapshot(), scope, &new.name).cloned();
    if old.is_some() && !new.overwrite {
        return Err(Refusal::AlreadyExists);
    }
    let version = next_version(tx, scope, &new, old.as_deref())?;
    let mut row = match old {
        Some(old) => Parameter::clone(&old),
        None => {
            tags::check(&new.tags)?;
            Parameter {
                scope: scope.clone(),
                name: new.name.clone(),
                versions: Vec::new(),
                tags: new.tags,
            }
        }
    };
    if row.versions.len() >= VERSIONS_MAX {
        let oldest = row.versions.remove(0);
        if !oldest.labels.is_empty() {
            return Err(Refusal::MaxVersions {
                name: row.name,
                version: oldest.version,
            });
        }
    }
    row.versions.push(version.clone());
    tx.put(row);
    Ok(version)
}

/// The version that follows `old`'s last, with everything that `new` does not say taken over.
fn next_version(
    tx: &Tx,
    scope: &Scope,
    new: &NewVersion,
    old: Option<&Parameter>,
) -> Result<ParameterVersion, Refusal> {
    let last = old.and_then(Parameter::latest);
    let kind = match (new.kind, last) {
        (Some(kind), Some(last)) if kind != last.kind => return Err(Refusal::TypeMismatch),
        (Some(kind), _) => kind,
        (None, Some(last)) => last.kind,
        (None, None) => {
            return Err(invalid(
                "A parameter type is required when you create a parameter.",
            ));
        }
    };
    check_value(new, kind)?;
    let kept = |new: &Option<String>, of: fn(&ParameterVersion) -> &Option<String>| {
        new.clone()
            .or_else(|| last.and_then(|last| of(last).clone()))
    };
    let allowed_pattern = kept(&new.allowed_pattern, |last| &last.allowed_pattern);
    if let Some(pattern) = &allowed_pattern {
        check_pattern(pattern, &new.value)?;
    }
    let policies = match new.policies.as_deref() {
        // An empty list takes them away.
        Some(text) => policies::parse(text)?.then(|| text.to_owned()),
        None => last.and_then(|last| last.policies.clone()),
    };
    let tier = tier(new, last, policies.is_some())?;
    if old.is_none() && tier == "Standard" {
        let standard = |row: &&std::sync::Arc<Parameter>| {
            row.latest().is_some_and(|latest| latest.tier == "Standard")
        };
        let rows = tx.snapshot().parameters.in_scope(scope);
        if rows.filter(standard).count() >= STANDARD_MAX {
            return Err(Refusal::TooManyParameters);
        }
    }
    let key_id = match kind {
        ParameterKind::SecureString => {
            Some(kept(&new.key_id, |last| &last.key_id).unwrap_or_else(|| DEFAULT_KEY.to_owned()))
        }
        _ => None,
    };
    Ok(ParameterVersion {
        version: last.map_or(1, |last| last.version + 1),
        kind,
        value: new.value.clone(),
        ciphertext: Vec::new(),
        data_type: new
            .data_type
            .clone()
            .or_else(|| last.map(|last| last.data_type.clone()))
            .unwrap_or_else(|| "text".to_owned()),
        tier,
        description: kept(&new.description, |last| &last.description),
        allowed_pattern,
        key_id,
        policies,
        labels: BTreeSet::new(),
        modified_at: tx.now(),
        modified_by: new.caller.clone(),
    })
}

fn check_value(new: &NewVersion, kind: ParameterKind) -> Result<(), Refusal> {
    if new.value.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.",
        ));
    }
    if new.key_id.is_some() && kind != ParameterKind::SecureString {
        return Err(invalid(
            "KeyId is required for SecureString type parameter only.",
        ));
    }
    if let Some(data_type) = &new.data_type
        && !matches!(
            data_type.as_str(),
            "text" | "aws:ec2:image" | "aws:ssm:integration"
        )
    {
        return Err(invalid(format!(
            "The following data type is not supported: {data_type} (Data type names are all lowercase.)"
        )));
    }
    if new.data_type.as_deref() == Some("aws:ec2:image") && kind != ParameterKind::String {
        return Err(invalid(
            "The parameter type must be String when you specify the aws:ec2:image data type.",
        ));
    }
    Ok(())
}

fn check_pattern(pattern: &str, value: &str) -> Result<(), Refusal> {
    // Only the whole value counts, as of Java's `matches`.
    let whole = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| Refusal::InvalidPattern)?;
    if whole.is_match(value) {
        return Ok(());
    }
    Err(Refusal::PatternMismatch(pattern.to_owned()))
}

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>
fn tier(
    new: &NewVersion,
    last: Option<&ParameterVersion>,
    has_policies: bool,
) -> Result<String, Refusal> {
    let bytes = new.value.len();
    let was_advanced = last.is_some_and(|last| last.tier == "Advanced");
    let needs_advanced = bytes > STANDARD_BYTES_MAX || has_policies;
    let tier = match new.tier.as_deref() {
        Some("Intelligent-Tiering") if needs_advanced || was_advanced => "Advanced",
        Some("Intelligent-Tiering") => "Standard",
        Some("Standard") if was_advanced => {
            return Err(invalid(
                "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a standard parameter.",
            ));
        }
        Some("Advanced") => "Advanced",
        None if was_advanced => "Advanced",
        _ => "Standard",
    };
    if tier == "Standard" && bytes > STANDARD_BYTES_MAX {
        return Err(invalid(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html",
        ));
    }
    if bytes > ADVANCED_BYTES_MAX {
        return Err(invalid(
            "Advanced tier parameters support a maximum parameter value of 8192 characters.",
        ));
    }
    if tier == "Standard" && has_policies {
        return Err(invalid(
            "Parameter policies are supported only for parameters of the advanced-parameter tier.",
        ));
    }
    Ok(tier.to_owned())
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    let missing = || Refusal::NotFound(name.to_owned());
    let own = names::row(tx.snapshot(), scope, name).ok_or_else(missing)?;
    let own = own.name.clone();
    tx.delete::<Parameter>(scope, own);
    Ok(())
}
