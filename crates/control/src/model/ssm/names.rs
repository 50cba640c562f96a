//! Names of parameters, and how a caller names one: by name or ARN, with a version or label behind a colon.
//! <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>

use super::{Refusal, invalid};
use fogbank_types::ssm::{Parameter, ParameterVersion};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// Parts of a name between slashes.
const LEVELS_MAX: usize = 15;
/// Of a name with the ARN's part before it.
const CHARACTERS_MAX: usize = 1011;

const FORM: &str = "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_";
/// What is said of a path that is searched under.
pub const PATH_FORM: &str = "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: /get/parameters2-/by1./path0_.";

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
}

/// Whether a new parameter may have that name.
pub fn check(name: &str) -> Result<(), Refusal> {
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    if bare.starts_with("aws") || bare.starts_with("ssm") {
        let is_path = name.matches('/').count() > 1;
        if is_path && name.to_ascii_lowercase().starts_with("/aws") {
            return Err(Refusal::Reserved(name.to_owned()));
        }
        return Err(invalid(if is_path {
            FORM
        } else {
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)."
        }));
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(invalid("Parameter name must be a fully qualified name."));
    }
    if name.is_empty() || !is_plain(name) || name.contains("//") || name.ends_with('/') {
        return Err(invalid(FORM));
    }
    if name.len() > CHARACTERS_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: Member must have length less than or equal to {CHARACTERS_MAX}"
        )));
    }
    if name.matches('/').count() > LEVELS_MAX {
        return Err(Refusal::TooManyLevels);
    }
    Ok(())
}

/// Whether parameters may be asked for under that path.
pub fn check_path(path: &str) -> Result<(), Refusal> {
    let bare = path.trim_start_matches('/').to_ascii_lowercase();
    let public = path.starts_with("/aws/");
    let reserved = bare.starts_with("aws") || bare.starts_with("ssm");
    if !path.starts_with('/') || path.contains("//") || !is_plain(path) || (reserved && !public) {
        return Err(invalid(PATH_FORM));
    }
    if path.matches('/').count() > LEVELS_MAX + 1 {
        return Err(Refusal::TooManyLevels);
    }
    Ok(())
}

/// Whether `name` stands under `path`, directly unless `recursive`.
pub fn is_under(name: &str, path: &str, recursive: bool) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    // `x` without slashes stands at the root, as `/x` does.
    let rest = match name.strip_prefix('/') {
        None if path.is_empty() => Some(name),
        None => None,
        Some(_) => name
            .strip_prefix(path)
            .and_then(|rest| rest.strip_prefix('/')),
    };
    rest.is_some_and(|rest| !rest.is_empty() && (recursive || !rest.contains('/')))
}

/// What a caller reads.
#[derive(Clone, Debug)]
pub struct Found {
    pub parameter: Arc<Parameter>,
    pub version: ParameterVersion,
    /// `:3` or `:label`, as asked for.
    pub selector: Option<String>,
}

/// At the root a name is the same with its slash and without it.
fn twin<'a>(snapshot: &'a Snapshot, scope: &Scope, name: &str) -> Option<&'a Arc<Parameter>> {
    let rows = &snapshot.parameters;
    match name.strip_prefix('/') {
        Some(bare) if !bare.contains('/') => rows.get(scope, bare),
        None if !name.contains('/') => rows.get(scope, format!("/{name}")),
        _ => None,
    }
}

/// The row that a name or an ARN means; of an ARN's both readings the path comes first.
pub fn row<'a>(snapshot: &'a Snapshot, scope: &Scope, name: &str) -> Option<&'a Arc<Parameter>> {
    let rows = &snapshot.parameters;
    let Some(rest) = name.strip_prefix("arn:") else {
        return rows
            .get(scope, name)
            .or_else(|| twin(snapshot, scope, name));
    };
    let own = format!("aws:ssm:{}:{}:parameter/", scope.region, scope.account);
    let tail = rest.strip_prefix(&own)?;
    let as_path = rows.get(scope, format!("/{tail}"));
    as_path.or_else(|| rows.get(scope, tail))
}

/// `name`, `name:3`, `name:label` or an ARN with such an end.
pub fn select(snapshot: &Snapshot, scope: &Scope, given: &str) -> Result<Found, Refusal> {
    let (head, text) = match given.strip_prefix("arn:") {
        None => ("", given),
        Some(_) => match given.find(":parameter/") {
            Some(at) => given.split_at(at + ":parameter".len()),
            None => return Err(Refusal::NotFound(given.to_owned())),
        },
    };
    let mut parts = text.split(':');
    let name = format!("{head}{}", parts.next().unwrap_or_default());
    let selector = parts.next();
    if parts.next().is_some() {
        return Err(invalid(
            "Invalid parameter name. Please use correct syntax for referencing a version/label <name>:<version/label>",
        ));
    }
    let missing = || Refusal::NotFound(name.clone());
    let parameter = row(snapshot, scope, &name).ok_or_else(missing)?.clone();
    let Some(selector) = selector else {
        let version = parameter.latest().ok_or_else(missing)?.clone();
        return Ok(Found {
            parameter,
            version,
            selector: None,
        });
    };
    let wanted = |version: &&ParameterVersion| match selector.parse::<u64>() {
        Ok(number) => version.version == number,
        Err(_) => version.labels.contains(selector),
    };
    let version = parameter.versions.iter().find(wanted).cloned();
    let version = version.ok_or_else(|| Refusal::VersionNotFound {
        name: parameter.name.clone(),
        version: selector.to_owned(),
    })?;
    Ok(Found {
        parameter,
        version,
        selector: Some(format!(":{selector}")),
    })
}
