//! What an account sets for its registry as a whole, previews of lifecycle policies, and scans, of which there are none.

use super::images::{self, ImageName};
use super::{Refusal, lifecycle, policies, repositories};
use crate::model::Tx;
use fogbank_types::ecr::{Image, LifecyclePreview, Registry, Repository};
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Settings of an account, their values, the default first.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutAccountSetting.html>
const ACCOUNT_SETTINGS: [(&str, [&str; 2]); 3] = [
    ("BASIC_SCAN_TYPE_VERSION", ["AWS_NATIVE", "CLAIR"]),
    ("REGISTRY_POLICY_SCOPE", ["V2", "V1"]),
    ("BLOB_MOUNTING", ["DISABLED", "ENABLED"]),
];

const DAY_MS: u64 = 86_400_000;

/// The account's registry; one that nobody changed has no row.
pub fn registry(snapshot: &Snapshot, scope: &Scope) -> Registry {
    match snapshot.registries.get(scope, "this") {
        Some(row) => Registry::clone(row),
        None => Registry {
            scope: scope.clone(),
            policy: None,
            scan_type: "BASIC".to_owned(),
            scan_rules: Vec::new(),
            account_settings: BTreeMap::new(),
        },
    }
}

fn change(tx: &mut Tx, scope: &Scope, change: impl FnOnce(&mut Registry)) -> Registry {
    let mut row = registry(tx.snapshot(), scope);
    change(&mut row);
    tx.put(row.clone());
    row
}

pub fn set_policy(tx: &mut Tx, scope: &Scope, text: String) -> Result<(), Refusal> {
    if !policies::is_policy(&text) {
        return Err(policies::not_valid(
            "PolicyText",
            "Invalid registry policy provided",
        ));
    }
    change(tx, scope, |row| row.policy = Some(text));
    Ok(())
}

pub fn policy(snapshot: &Snapshot, scope: &Scope) -> Result<String, Refusal> {
    registry(snapshot, scope)
        .policy
        .ok_or_else(|| Refusal::RegistryPolicyNotFound {
            registry: scope.account.clone(),
        })
}

pub fn delete_policy(tx: &mut Tx, scope: &Scope) -> Result<String, Refusal> {
    let text = policy(tx.snapshot(), scope)?;
    change(tx, scope, |row| row.policy = None);
    Ok(text)
}

/// Rules of scanning are kept as given; nothing is scanned, and `scan_findings` says so.
pub fn set_scanning(
    tx: &mut Tx,
    scope: &Scope,
    scan_type: Option<String>,
    rules: Vec<(String, Vec<String>)>,
) -> Result<Registry, Refusal> {
    let scan_type = scan_type.unwrap_or_else(|| "BASIC".to_owned());
    if scan_type == "BASIC"
        && rules
            .iter()
            .any(|(frequency, _)| frequency == "CONTINUOUS_SCAN")
    {
        return Err(Refusal::InvalidParameter(
            "Invalid parameter at 'registryScanningRules' failed to satisfy constraint: 'Rule scan frequency CONTINUOUS_SCAN is not allowed with scan type BASIC'"
                .to_owned(),
        ));
    }
    Ok(change(tx, scope, |row| {
        row.scan_type = scan_type;
        row.scan_rules = rules;
    }))
}

/// How often a repository's images would be scanned, and by which filters of the registry. A repository that says
/// scan on push itself is scanned so; without any rule for it scans are manual.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html>
pub fn scanning_of(registry: &Registry, repository: &Repository) -> (String, Vec<String>) {
    let by_rules: Vec<(&String, &String)> = registry
        .scan_rules
        .iter()
        .flat_map(|(frequency, filters)| filters.iter().map(move |filter| (frequency, filter)))
        .filter(|(_, filter)| is_matched(filter, &repository.name))
        .collect();
    let filters = by_rules.iter().map(|(_, filter)| (*filter).clone());
    let named = |wanted: &str| by_rules.iter().any(|(frequency, _)| *frequency == wanted);
    let frequency = if named("CONTINUOUS_SCAN") {
        "CONTINUOUS_SCAN"
    } else if named("SCAN_ON_PUSH") || repository.scan_on_push {
        "SCAN_ON_PUSH"
    } else {
        "MANUAL"
    };
    (frequency.to_owned(), filters.collect())
}

/// "A filter with a wildcard matches ... any repository name where the wildcard replaces zero or more characters"; one
/// without is contained in the name.
fn is_matched(filter: &str, name: &str) -> bool {
    let Some((start, rest)) = filter.split_once('*') else {
        return name.contains(filter);
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

/// The value of a setting; its default if it was never put.
pub fn account_setting(snapshot: &Snapshot, scope: &Scope, name: &str) -> Result<String, Refusal> {
    let (_, values) = known_setting(name)?;
    let row = registry(snapshot, scope);
    Ok(row
        .account_settings
        .get(name)
        .cloned()
        .unwrap_or_else(|| values[0].to_owned()))
}

pub fn set_account_setting(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    value: &str,
) -> Result<(), Refusal> {
    let (_, values) = known_setting(name)?;
    if !values.contains(&value) {
        return Err(Refusal::Validation(format!(
            "Invalid value '{value}' for the account setting {name}; known are {}",
            values.join(", ")
        )));
    }
    change(tx, scope, |row| {
        row.account_settings
            .insert(name.to_owned(), value.to_owned());
    });
    Ok(())
}

fn known_setting(name: &str) -> Result<(&'static str, [&'static str; 2]), Refusal> {
    ACCOUNT_SETTINGS
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Refusal::Validation(format!("Unknown account setting '{name}'")))
}

/// Notes what a policy, the repository's own unless a text is given, would expire now.
pub fn start_preview(
    tx: &mut Tx,
    scope: &Scope,
    repository: &str,
    text: Option<String>,
) -> Result<LifecyclePreview, Refusal> {
    let row = repositories::find(tx.snapshot(), scope, repository)?;
    let policy = text.map_or_else(|| policies::lifecycle_text(row), Ok)?;
    let rules = policies::read_lifecycle(&policy)?;
    let all: Vec<Arc<Image>> = images::of(tx.snapshot(), scope, repository)
        .cloned()
        .collect();
    let day_ms = tx.config().scaled_ms(DAY_MS);
    let preview = LifecyclePreview {
        scope: scope.clone(),
        repository: repository.to_owned(),
        policy,
        expiring: lifecycle::expiring(&rules, &all, tx.now(), day_ms)
            .into_iter()
            .map(|one| (one.digest, one.rule_priority))
            .collect(),
    };
    tx.put(preview.clone());
    Ok(preview)
}

pub fn preview<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    repository: &str,
) -> Result<&'a Arc<LifecyclePreview>, Refusal> {
    repositories::find(snapshot, scope, repository)?;
    snapshot
        .lifecycle_previews
        .get(scope, repository)
        .ok_or_else(|| Refusal::LifecyclePreviewNotFound {
            name: repository.to_owned(),
            registry: scope.account.clone(),
        })
}

/// There is no scanner in this region, so no image was ever scanned.
pub fn scan_findings(
    snapshot: &Snapshot,
    scope: &Scope,
    repository: &str,
    name: &ImageName,
) -> Refusal {
    match images::find(snapshot, scope, repository, name) {
        Err(refusal) => refusal,
        Ok(_) => Refusal::ScanNotFound {
            image: name.to_string(),
            name: repository.to_owned(),
            registry: scope.account.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    #[test]
    fn a_filter_matches_what_its_wildcards_leave_open() {
        for (filter, name) in [
            ("api", "shop/api-v2"),
            ("*", "anything"),
            ("shop/*", "shop/api"),
            ("s*p/*i", "shop/api"),
            ("*api", "shop/api"),
        ] {
            assert!(is_matched(filter, name), "{filter} {name}");
        }
        for (filter, name) in [
            ("shop/*", "a-shop/api"),
            ("*-v2", "api-v3"),
            ("a*b*c", "acb"),
        ] {
            assert!(!is_matched(filter, name), "{filter} {name}");
        }
    }

    #[test]
    fn a_registry_has_a_policy_until_it_is_deleted() {
        let mut tx = Tx::for_test();
        let missing = delete_policy(&mut tx, &scope()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "Registry policy does not exist in the registry with id '000000000000'"
        );
        let text = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:ReplicateImage","Resource":"*"}]}"#;
        set_policy(&mut tx, &scope(), text.to_owned()).unwrap();
        assert_eq!(delete_policy(&mut tx, &scope()).unwrap(), text);
        assert!(set_policy(&mut tx, &scope(), "{}".to_owned()).is_err());
    }

    #[test]
    fn settings_have_defaults_and_known_values() {
        let mut tx = Tx::for_test();
        let name = "BLOB_MOUNTING";
        assert_eq!(
            account_setting(tx.snapshot(), &scope(), name).unwrap(),
            "DISABLED"
        );
        set_account_setting(&mut tx, &scope(), name, "ENABLED").unwrap();
        assert_eq!(
            account_setting(tx.snapshot(), &scope(), name).unwrap(),
            "ENABLED"
        );
        assert!(set_account_setting(&mut tx, &scope(), name, "MAYBE").is_err());
        assert!(account_setting(tx.snapshot(), &scope(), "COLOUR").is_err());
    }

    #[test]
    fn rules_of_scanning_fit_the_scan_type() {
        let mut tx = Tx::for_test();
        let rules = vec![("SCAN_ON_PUSH".to_owned(), vec!["*".to_owned()])];
        let row = set_scanning(&mut tx, &scope(), None, rules.clone()).unwrap();
        assert_eq!((row.scan_type.as_str(), row.scan_rules), ("BASIC", rules));
        let continuous = vec![("CONTINUOUS_SCAN".to_owned(), vec!["*".to_owned()])];
        assert!(set_scanning(&mut tx, &scope(), None, continuous.clone()).is_err());
        let enhanced = Some("ENHANCED".to_owned());
        assert!(set_scanning(&mut tx, &scope(), enhanced, continuous).is_ok());
    }
}
