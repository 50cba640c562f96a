//! Values of a container's secrets: pure, from the rows of Parameter Store and Secrets Manager (fact TASK-12).
//!
//! Called once, when a task is planned. What must stay true: a value is in no error, no log and no debug text.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html>

use std::collections::BTreeMap;
use std::fmt;

use fogbank_pki::ciphertext::{Head, decrypt};
use fogbank_types::ecs::{ContainerDefinition, SecretReference};
use fogbank_types::secret::{CURRENT, Secret, SecretValue, SecretVersion};
use fogbank_types::ssm::{Parameter, ParameterKind, ParameterVersion};
use fogbank_types::{Scope, Snapshot};

/// Names and values for a container's environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().cloned()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether a reference is to Secrets Manager; otherwise it is to Parameter Store.
pub fn is_managed(reference: &SecretReference) -> bool {
    reference.value_from.starts_with("arn:") && reference.value_from.contains(":secretsmanager:")
}

/// All of a container; the error is the reason that ECS would give.
pub fn of(
    snapshot: &Snapshot,
    scope: &Scope,
    container: &ContainerDefinition,
) -> Result<Secrets, String> {
    let values = container.secrets.iter().map(|reference| {
        let from = &reference.value_from;
        let value = if is_managed(reference) {
            secret(snapshot, from).map_err(|why| from_asm(from, &why))
        } else {
            parameter(snapshot, scope, from)
                .ok_or_else(|| from_ssm(&format!("invalid ssm parameters: {from}")))
        };
        Ok((reference.name.clone(), value?))
    });
    values.collect::<Result<_, String>>().map(Secrets)
}

const FAILED: &str = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed";

pub fn from_ssm(why: &str) -> String {
    format!(
        "{FAILED}: unable to retrieve secrets from ssm: service call has been retried 1 time(s): {why}"
    )
}

pub fn from_asm(arn: &str, why: &str) -> String {
    format!(
        "{FAILED}: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret {arn} from secrets manager: {why}"
    )
}

pub fn from_registry(why: &str) -> String {
    format!(
        "{FAILED}: unable to retrieve ecr registry auth: service call has been retried 1 time(s): {why}"
    )
}

/// What policies call the parameter that a reference is to.
pub fn parameter_arn(scope: &Scope, from: &str) -> String {
    let name = |text: &str| text.split(':').next().unwrap_or(text).to_owned();
    match from.split_once(":parameter/") {
        Some((front, rest)) if from.starts_with("arn:") => {
            format!("{front}:parameter/{}", name(rest))
        }
        _ => {
            let resource = format!("parameter/{}", name(from.trim_start_matches('/')));
            scope.arn("ssm", &resource)
        }
    }
}

/// What policies call the secret that a reference is to; one that is not there is called as in the reference.
pub fn managed_arn(snapshot: &Snapshot, scope: &Scope, from: &str) -> String {
    let parts: Vec<&str> = from.splitn(8, ':').collect();
    let (scope, name, arn) = match parts.as_slice() {
        ["arn", _, _, region, account, _, name, ..] => {
            let whole = parts[..7].join(":");
            (Scope::new(*account, *region), *name, whole)
        }
        _ => {
            let resource = format!("secret:{from}");
            (scope.clone(), from, scope.arn("secretsmanager", &resource))
        }
    };
    let found = find(snapshot, &scope, |secret| {
        secret.arn == arn || secret.name == name
    });
    found.map_or(arn.clone(), |secret| secret.arn.clone())
}

/// By name in the task's own region, or by ARN in any; a version or label may follow a colon.
fn chosen<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    from: &str,
) -> Option<(&'a Parameter, &'a ParameterVersion)> {
    let (scope, name) = match from.strip_prefix("arn:") {
        Some(rest) => {
            let mut parts = rest.splitn(5, ':');
            let (_, service) = (parts.next()?, parts.next()?);
            let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
            let name = resource
                .strip_prefix("parameter")
                .filter(|_| service == "ssm")?;
            (Scope::new(account, region), name)
        }
        None => (scope.clone(), from),
    };
    let (name, selector) = match name.split_once(':') {
        Some((name, selector)) => (name, Some(selector)),
        None => (name, None),
    };
    // At the root a name is the same with its slash and without it.
    let rows = &snapshot.parameters;
    let found = rows
        .get(&scope, name)
        .or_else(|| match name.strip_prefix('/') {
            Some(bare) if !bare.contains('/') => rows.get(&scope, bare),
            None if !name.contains('/') => rows.get(&scope, format!("/{name}")),
            _ => None,
        })?;
    let version = match selector {
        None => found.latest(),
        Some(selector) => found.versions.iter().find(|version| {
            version.version.to_string() == selector || version.labels.contains(selector)
        }),
    };
    Some((found, version?))
}

fn parameter(snapshot: &Snapshot, scope: &Scope, from: &str) -> Option<String> {
    let (found, version) = chosen(snapshot, scope, from)?;
    if version.kind != ParameterKind::SecureString || version.ciphertext.is_empty() {
        return Some(version.value.clone());
    }
    let opened = decrypted(snapshot, &found.context(), &version.ciphertext).ok()?;
    String::from_utf8(opened).ok()
}

/// The keys of the account's own that who reads what the references are to must be allowed to decrypt with; AWS's own keys
/// are for everybody who may use their service.
pub fn key_arns(
    snapshot: &Snapshot,
    scope: &Scope,
    container: &ContainerDefinition,
) -> Vec<(SecretReference, String)> {
    let key = |ciphertext: &[u8]| {
        let head = Head::of(ciphertext)?;
        let scope = Scope::new(head.account, head.region);
        let key = snapshot.kms_keys.get(&scope, &head.key_id)?;
        (!key.is_managed_by_aws).then(|| key.arn())
    };
    let ciphertext = |reference: &SecretReference| {
        let from = &reference.value_from;
        if !is_managed(reference) {
            return key(&chosen(snapshot, scope, from)?.1.ciphertext);
        }
        let arn = managed_arn(snapshot, scope, from);
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let owner = Scope::new(*parts.get(4)?, *parts.get(3)?);
        let secret = find(snapshot, &owner, |secret| secret.arn == arn).ok()?;
        match &version(secret, None, None).ok()?.value {
            SecretValue::Encrypted { ciphertext, .. } => key(ciphertext),
            _ => None,
        }
    };
    let needed = container.secrets.iter();
    needed
        .filter_map(|reference| Some((reference.clone(), ciphertext(reference)?)))
        .collect()
}

/// With the key of Key Management Service that the text itself names, while it is enabled.
fn decrypted(
    snapshot: &Snapshot,
    context: &BTreeMap<String, String>,
    ciphertext: &[u8],
) -> Result<Vec<u8>, String> {
    const FAILED: &str = "AccessDeniedException: Access to KMS is not allowed";
    let head = Head::of(ciphertext).ok_or(FAILED)?;
    let scope = Scope::new(head.account, head.region);
    let key = snapshot.kms_keys.get(&scope, &head.key_id);
    let key = key.filter(|key| key.state() == "Enabled").ok_or(FAILED)?;
    decrypt(key.secret.reveal(), context, ciphertext).ok_or_else(|| FAILED.to_owned())
}

/// The current value of a secret, which is named by its ARN or, in the task's own region, by its name.
pub fn managed(snapshot: &Snapshot, scope: &Scope, from: &str) -> Result<String, String> {
    if from.starts_with("arn:") {
        return secret(snapshot, from);
    }
    let found = find(snapshot, scope, |secret| secret.name == from)?;
    text(snapshot, found, version(found, None, None)?)
}

fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    is_meant: impl Fn(&Secret) -> bool,
) -> Result<&'a Secret, String> {
    let found = snapshot
        .secrets
        .in_scope(scope)
        .find(|secret| is_meant(secret))
        .ok_or("ResourceNotFoundException: Secrets Manager can't find the specified secret.")?;
    if found.deleted_at.is_some() {
        return Err("InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.".to_owned());
    }
    Ok(found)
}

fn text(snapshot: &Snapshot, secret: &Secret, version: &SecretVersion) -> Result<String, String> {
    const BINARY: &str = "the secret's value is binary, which an environment can not hold";
    match &version.value {
        SecretValue::Text(text) => Ok(text.clone()),
        SecretValue::Binary(_) | SecretValue::Encrypted { is_text: false, .. } => {
            Err(BINARY.to_owned())
        }
        SecretValue::Encrypted { ciphertext, .. } => {
            let context = SecretValue::context(&secret.arn, &version.id);
            let opened = decrypted(snapshot, &context, ciphertext)?;
            String::from_utf8(opened).map_err(|_| BINARY.to_owned())
        }
    }
}

/// `arn:aws:secretsmanager:<region>:<account>:secret:<name>[:json-key:version-stage:version-id]`
fn secret(snapshot: &Snapshot, from: &str) -> Result<String, String> {
    let parts: Vec<&str> = from.splitn(10, ':').collect();
    if parts.len() < 7 || parts[5] != "secret" {
        return Err("ValidationException: Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!".to_owned());
    }
    let given = |index: usize| parts.get(index).copied().filter(|part| !part.is_empty());
    let scope = Scope::new(parts[4], parts[3]);
    let arn = parts[..7].join(":");
    // Without the six random characters it is a partial ARN, which Secrets Manager finds, too.
    let found = find(snapshot, &scope, |secret| {
        secret.arn == arn || secret.name == parts[6]
    })?;
    let text = text(snapshot, found, version(found, given(8), given(9))?)?;
    let Some(key) = given(7) else {
        return Ok(text);
    };
    let values: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
        .map_err(|_| "retrieved secret from Secrets Manager is not a JSON object".to_owned())?;
    match values.get(key) {
        Some(serde_json::Value::String(value)) => Ok(value.clone()),
        Some(value) => Ok(value.to_string()),
        None => Err(format!(
            "retrieved secret from Secrets Manager did not contain json key {key}"
        )),
    }
}

fn version<'a>(
    secret: &'a Secret,
    stage: Option<&str>,
    id: Option<&str>,
) -> Result<&'a SecretVersion, String> {
    let missing = |what: String| {
        format!(
            "ResourceNotFoundException: Secrets Manager can't find the specified secret value for {what}"
        )
    };
    let Some(id) = id else {
        let stage = stage.unwrap_or(CURRENT);
        return secret
            .at_stage(stage)
            .ok_or_else(|| missing(format!("staging label: {stage}")));
    };
    secret
        .versions
        .iter()
        .find(|version| {
            version.id == id && stage.is_none_or(|stage| version.stages.contains(stage))
        })
        .ok_or_else(|| missing(format!("VersionId: {id}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_pki::ciphertext::encrypt;
    use fogbank_types::kms::{Key, KeySecret};
    use fogbank_types::{Tags, Timestamp};
    use std::sync::Arc;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf";

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn stored(version: u64, label: &str) -> ParameterVersion {
        ParameterVersion {
            version,
            kind: ParameterKind::SecureString,
            value: format!("v{version}"),
            ciphertext: Vec::new(),
            data_type: "text".into(),
            tier: "Standard".into(),
            description: None,
            allowed_pattern: None,
            key_id: None,
            policies: None,
            labels: [label.to_owned()].into(),
            modified_at: Timestamp(0),
            modified_by: String::new(),
        }
    }

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in ["/app/key", "plain"] {
            let row = Parameter {
                scope: scope(),
                name: name.into(),
                versions: vec![stored(1, "old"), stored(2, "new")],
                tags: Tags::new(),
            };
            snapshot.parameters.insert(Arc::new(row), 1);
        }
        let version = |id: &str, text: &str, stage: &str| SecretVersion {
            id: id.into(),
            value: SecretValue::Text(text.into()),
            stages: [stage.to_owned()].into(),
            created_at: Timestamp(0),
            accessed_at: None,
        };
        let row = Secret {
            scope: scope(),
            name: "db".into(),
            arn: ARN.into(),
            description: None,
            kms_key_id: None,
            versions: vec![
                version("id-1", "before", "AWSPREVIOUS"),
                version("id-2", r#"{"user":"me","port":5432}"#, CURRENT),
            ],
            policy: None,
            deleted_at: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
            accessed_at: None,
            tags: Tags::new(),
        };
        snapshot.secrets.insert(Arc::new(row), 1);
        snapshot
    }

    fn value(from: &str) -> Result<String, String> {
        let container = ContainerDefinition {
            secrets: vec![SecretReference {
                name: "A".into(),
                value_from: from.into(),
            }],
            ..ContainerDefinition::default()
        };
        let secrets = of(&snapshot(), &scope(), &container)?;
        assert_eq!(format!("{secrets:?}"), r#"["A"]"#);
        Ok(secrets.pairs().next().unwrap().1)
    }

    #[test]
    fn every_form_of_a_reference_is_read() {
        let whole = r#"{"user":"me","port":5432}"#;
        for (from, expected) in [
            ("/app/key".to_owned(), "v2"),
            ("plain".to_owned(), "v2"),
            ("/app/key:1".to_owned(), "v1"),
            ("plain:old".to_owned(), "v1"),
            (
                "arn:aws:ssm:us-east-1:000000000000:parameter/app/key".to_owned(),
                "v2",
            ),
            (
                "arn:aws:ssm:us-east-1:000000000000:parameter/plain".to_owned(),
                "v2",
            ),
            (ARN.to_owned(), whole),
            (format!("{ARN}:::"), whole),
            (format!("{ARN}:user::"), "me"),
            (format!("{ARN}:port::"), "5432"),
            (format!("{ARN}::AWSPREVIOUS:"), "before"),
            (format!("{ARN}:::id-1"), "before"),
            (ARN.trim_end_matches("-AbCdEf").to_owned(), whole),
        ] {
            assert_eq!(value(&from).as_deref(), Ok(expected), "{from}");
        }
    }

    #[test]
    fn policies_name_what_a_reference_is_to() {
        let parameter = "arn:aws:ssm:us-east-1:000000000000:parameter/app/key";
        for from in [
            "/app/key",
            "app/key:3",
            parameter,
            &format!("{parameter}:old"),
        ] {
            assert_eq!(parameter_arn(&scope(), from), parameter, "{from}");
        }
        let snapshot = snapshot();
        for from in [
            "db",
            ARN,
            &format!("{ARN}:user::"),
            ARN.trim_end_matches("-AbCdEf"),
        ] {
            assert_eq!(managed_arn(&snapshot, &scope(), from), ARN, "{from}");
        }
        let other = "arn:aws:secretsmanager:us-east-1:000000000000:secret:other";
        assert_eq!(
            managed_arn(&snapshot, &scope(), &format!("{other}:key::")),
            other
        );
    }

    #[test]
    fn what_is_missing_is_said_and_no_value_with_it() {
        for (from, why) in [
            ("nothing".to_owned(), "invalid ssm parameters: nothing"),
            ("plain:7".to_owned(), "invalid ssm parameters: plain:7"),
            (
                "arn:aws:ssm:eu-west-1:000000000000:parameter/plain".to_owned(),
                "invalid ssm parameters",
            ),
            (format!("{ARN}x"), "can't find the specified secret."),
            (
                format!("{ARN}:password::"),
                "did not contain json key password",
            ),
            (format!("{ARN}:user:AWSPREVIOUS:"), "is not a JSON object"),
            (format!("{ARN}::AWSPENDING:"), "staging label: AWSPENDING"),
            (format!("{ARN}::AWSPREVIOUS:id-2"), "VersionId: id-2"),
            ("arn:aws:secretsmanager:x".to_owned(), "ValidationException"),
        ] {
            let reason = value(&from).unwrap_err();
            assert!(reason.starts_with(
                "ResourceInitializationError: unable to pull secrets or registry auth: "
            ));
            assert!(
                reason.contains(why) && !reason.contains("before"),
                "{reason}"
            );
        }
    }

    const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn sealed(context: &BTreeMap<String, String>, text: &str) -> Vec<u8> {
        let head = Head {
            account: scope().account,
            region: scope().region,
            key_id: KEY.into(),
            material: 0,
        };
        encrypt(&[7; 32], &head, context, text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_key_encrypted_is_read_while_the_key_is_enabled() {
        let mut snapshot = snapshot();
        let mut parameter = Parameter::clone(snapshot.parameters.get(&scope(), "plain").unwrap());
        let context = parameter.context();
        for version in &mut parameter.versions {
            version.ciphertext = sealed(&context, "kept");
            version.value.clear();
        }
        snapshot.parameters.insert(Arc::new(parameter), 2);
        let mut secret = Secret::clone(snapshot.secrets.get(&scope(), ARN).unwrap());
        for version in &mut secret.versions {
            let context = SecretValue::context(ARN, &version.id);
            version.value = SecretValue::Encrypted {
                is_text: true,
                ciphertext: sealed(&context, r#"{"user":"hidden"}"#),
            };
        }
        snapshot.secrets.insert(Arc::new(secret), 2);
        let read = |snapshot: &Snapshot| {
            let user = super::secret(snapshot, &format!("{ARN}:user::"));
            (super::parameter(snapshot, &scope(), "plain"), user)
        };
        let denied = "AccessDeniedException: Access to KMS is not allowed".to_owned();
        assert_eq!(read(&snapshot), (None, Err(denied.clone())));
        let mut key = Key {
            scope: scope(),
            id: KEY.into(),
            spec: fogbank_types::kms::KeySpec::SymmetricDefault,
            description: String::new(),
            is_managed_by_aws: false,
            is_enabled: true,
            policy: String::new(),
            secret: KeySecret::new([7; 32]),
            materials: Vec::new(),
            rotation_period_days: None,
            rotation_enabled_at: None,
            deletion: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        snapshot.kms_keys.insert(Arc::new(key.clone()), 3);
        let whole = (Some("kept".to_owned()), Ok("hidden".to_owned()));
        assert_eq!(read(&snapshot), whole);
        key.is_enabled = false;
        snapshot.kms_keys.insert(Arc::new(key), 4);
        assert_eq!(read(&snapshot), (None, Err(denied)));
    }
}
