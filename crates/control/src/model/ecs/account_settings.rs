//! Account settings: what is stored is what was put; everything else has AWS's default.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html>

use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::ecs::AccountSetting;
use fogbank_types::{Scope, Snapshot};

/// Names, values that are taken, and the default.
const KNOWN: [(&str, &[&str], &str); 11] = [
    (
        "awsvpcTrunking",
        &["enabled", "disabled", "on", "off"],
        "disabled",
    ),
    (
        "containerInsights",
        &["enabled", "disabled", "enhanced", "on", "off"],
        "disabled",
    ),
    (
        "containerInstanceLongArnFormat",
        &["enabled", "disabled", "on", "off"],
        "enabled",
    ),
    (
        "defaultLogDriverMode",
        &["blocking", "non-blocking"],
        "non-blocking",
    ),
    ("fargateEventWindows", &["enabled", "disabled"], "disabled"),
    (
        "fargateFIPSMode",
        &["enabled", "disabled", "on", "off"],
        "disabled",
    ),
    ("fargateTaskRetirementWaitPeriod", &["0", "7", "14"], "7"),
    ("guardDutyActivate", &["on", "off"], "off"),
    (
        "serviceLongArnFormat",
        &["enabled", "disabled", "on", "off"],
        "enabled",
    ),
    ("tagResourceAuthorization", &["on", "off"], "on"),
    (
        "taskLongArnFormat",
        &["enabled", "disabled", "on", "off"],
        "enabled",
    ),
];

/// Set for the caller by AWS and not to be changed.
pub fn is_managed(name: &str) -> bool {
    name == "guardDutyActivate"
}

fn known(
    name: &str,
) -> Result<&'static (&'static str, &'static [&'static str], &'static str), Refusal> {
    KNOWN
        .iter()
        .find(|setting| setting.0 == name)
        .ok_or_else(|| invalid(format!("Invalid account setting name: {name}")))
}

/// The account's own; it stands for every principal without a setting of its own.
pub fn root(scope: &Scope) -> String {
    scope.global().arn("iam", "root")
}

/// PutAccountSetting and PutAccountSettingDefault..
pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    principal_arn: Option<&str>,
    value: &str,
) -> Result<AccountSetting, Refusal> {
    let (_, values, _) = known(name)?;
    if is_managed(name) {
        return Err(invalid(format!(
            "The account setting {name} cannot be changed."
        )));
    }
    if !values.contains(&value) {
        return Err(invalid(format!(
            "Invalid value for the account setting {name}: {value}"
        )));
    }
    if name.ends_with("LongArnFormat") && matches!(value, "disabled" | "off") {
        return Err(invalid(
            "You can no longer change this account setting: long ARN formats are always used.",
        ));
    }
    let setting = AccountSetting {
        scope: scope.clone(),
        name: name.to_owned(),
        principal_arn: principal_arn.map_or_else(|| root(scope), str::to_owned),
        value: value.to_owned(),
    };
    tx.put(setting.clone());
    Ok(setting)
}

/// The setting is the default again.
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    principal_arn: Option<&str>,
) -> Result<AccountSetting, Refusal> {
    let (_, _, default) = known(name)?;
    let principal_arn = principal_arn.map_or_else(|| root(scope), str::to_owned);
    tx.delete::<AccountSetting>(scope, format!("{name}/{principal_arn}"));
    Ok(AccountSetting {
        scope: scope.clone(),
        name: name.to_owned(),
        value: effective(tx.snapshot(), scope, name, &principal_arn)
            .unwrap_or_else(|| (*default).to_owned()),
        principal_arn,
    })
}

/// What counts for a principal: its own, the root user's, AWS's.
pub fn effective(
    snapshot: &Snapshot,
    scope: &Scope,
    name: &str,
    principal_arn: &str,
) -> Option<String> {
    let of = |principal: &str| {
        snapshot
            .ecs_account_settings
            .get(scope, format!("{name}/{principal}"))
    };
    of(principal_arn)
        .or_else(|| of(&root(scope)))
        .map(|setting| setting.value.clone())
        .or_else(|| known(name).ok().map(|setting| setting.2.to_owned()))
}

/// Those that were put for the principal, or all with their effective values.
pub fn list(
    snapshot: &Snapshot,
    scope: &Scope,
    name: Option<&str>,
    principal_arn: Option<&str>,
    all: bool,
) -> Result<Vec<AccountSetting>, Refusal> {
    if let Some(name) = name {
        known(name)?;
    }
    let principal = principal_arn.map_or_else(|| root(scope), str::to_owned);
    let found = KNOWN
        .iter()
        .filter(|setting| name.is_none_or(|name| name == setting.0));
    Ok(found
        .filter_map(|(name, _, _)| {
            let own = snapshot
                .ecs_account_settings
                .get(scope, format!("{name}/{principal}"));
            let value = match own {
                Some(own) => own.value.clone(),
                None if all => effective(snapshot, scope, name, &principal)?,
                None => return None,
            };
            Some(AccountSetting {
                scope: scope.clone(),
                name: (*name).to_owned(),
                principal_arn: principal.clone(),
                value,
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principals_setting_beats_the_roots_and_that_the_default() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "us-east-1"));
        let role = "arn:aws:iam::000000000000:role/app";
        let value = |tx: &Tx| effective(tx.snapshot(), &scope, "containerInsights", role).unwrap();
        assert_eq!(value(&tx), "disabled");
        put(&mut tx, &scope, "containerInsights", None, "enabled").unwrap();
        assert_eq!(value(&tx), "enabled");
        put(&mut tx, &scope, "containerInsights", Some(role), "enhanced").unwrap();
        assert_eq!(value(&tx), "enhanced");
        delete(&mut tx, &scope, "containerInsights", Some(role)).unwrap();
        assert_eq!(value(&tx), "enabled");
        let put_ones = list(tx.snapshot(), &scope, None, None, false).unwrap();
        assert_eq!(put_ones.len(), 1);
        assert_eq!(
            list(tx.snapshot(), &scope, None, Some(role), true)
                .unwrap()
                .len(),
            KNOWN.len()
        );
    }

    #[test]
    fn unknown_names_and_values_are_refused() {
        let (mut tx, scope) = (Tx::for_test(), Scope::new("000000000000", "us-east-1"));
        assert!(put(&mut tx, &scope, "x", None, "enabled").is_err());
        assert!(
            put(
                &mut tx,
                &scope,
                "fargateTaskRetirementWaitPeriod",
                None,
                "3"
            )
            .is_err()
        );
        assert!(put(&mut tx, &scope, "taskLongArnFormat", None, "disabled").is_err());
    }
}
