//! Rows of IAM. Their scope's region is `global`.

use crate::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `AROA...`
    pub role_id: String,
    pub path: String,
    /// JSON text as given.
    pub assume_role_policy: String,
    pub description: Option<String>,
    pub max_session_seconds: u32,
    /// Name to JSON text.
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached_policies: Vec<String>,
    pub permissions_boundary: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Role {
    /// Whether its trust policy lets that service of AWS's (`ecs-tasks.amazonaws.com`) assume it. Conditions are not
    /// evaluated yet.
    pub fn trusts_service(&self, service: &str) -> bool {
        let document: Value = serde_json::from_str(&self.assume_role_policy).unwrap_or_default();
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let concerned = statements.iter().filter(|statement| {
            let actions = texts(statement.get("Action"));
            let services = texts(
                statement
                    .get("Principal")
                    .and_then(|who| who.get("Service")),
            );
            let everybody = statement.get("Principal").and_then(Value::as_str) == Some("*");
            (everybody || services.contains(&service))
                && actions.iter().any(|action| {
                    matches!(
                        action.to_ascii_lowercase().as_str(),
                        "*" | "sts:*" | "sts:assume*" | "sts:assumerole"
                    )
                })
        });
        let mut trusted = false;
        for statement in concerned {
            if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
                return false;
            }
            trusted = true;
        }
        trusted
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub scope: Scope,
    pub arn: String,
    pub name: String,
    /// `ANPA...`
    pub policy_id: String,
    pub path: String,
    pub description: Option<String>,
    /// At most five, in order of creation.
    pub versions: Vec<PolicyVersion>,
    pub default_version: String,
    /// Number of the next version.
    pub next_version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// `v1`
    pub id: String,
    pub document: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceProfile {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    pub instance_profile_id: String,
    pub path: String,
    pub role: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// Somebody outside who vouches for users by OpenID Connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OidcProvider {
    pub scope: Scope,
    pub arn: String,
    /// Of the issuer, without `https://`.
    pub url: String,
    pub client_ids: Vec<String>,
    /// Of the issuer's certificates, SHA-1 in hexadecimal.
    pub thumbprints: Vec<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `AIDA...`; stays when the name changes.
    pub user_id: String,
    pub path: String,
    /// Name to JSON text.
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached_policies: Vec<String>,
    pub permissions_boundary: Option<String>,
    /// Ids of the groups (`AGPA...`) that the user is in: their names may change.
    pub groups: BTreeSet<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub scope: Scope,
    pub name: String,
    pub arn: String,
    /// `AGPA...`; stays when the name changes.
    pub group_id: String,
    pub path: String,
    /// Name to JSON text.
    pub inline_policies: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub attached_policies: Vec<String>,
    pub created_at: Timestamp,
}

/// A user's long-term credentials, or the root user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessKey {
    pub scope: Scope,
    /// `AKIA...`; says whose account it is, see [`AccessKey::account_of`].
    pub id: String,
    /// Name of its user; `None`: the account's root.
    pub user: Option<String>,
    pub secret: SecretAccessKey,
    pub is_active: bool,
    pub created_at: Timestamp,
}

/// What a client signs with. CreateAccessKey shows it once; no other operation does.
///
/// It is kept in full, as SigV4's check needs it, and as plain text: encryption at rest comes with the region's key file
/// (issue 7). Whoever reads the store or mirrors it (`node`, `dns`) can read it; all of them are this region's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretAccessKey(String);

impl SecretAccessKey {
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// For CreateAccessKey's answer and for checks of signatures.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretAccessKey {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretAccessKey(..)")
    }
}

impl AccessKey {
    const PREFIX: &str = "AKIA";
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    /// Of the 80 bits behind the prefix, how many follow the account's forty.
    const TAIL_BITS: u32 = 39;

    /// An id that holds the account's number as AWS's do: one bit of chance, forty bits of the account, the rest by
    /// chance. Clients work out accounts from ids that way (`sts get-access-key-info` answers the same).
    pub fn id_of(account: &str, random: u128) -> String {
        let number: u128 = account.parse().unwrap_or(0);
        let account_bits = 0xff_ffff_ffff << Self::TAIL_BITS;
        let bits = random & !account_bits | number << Self::TAIL_BITS & account_bits;
        (0..16)
            .rev()
            .fold(Self::PREFIX.to_owned(), |mut id, place| {
                id.push(char::from(
                    Self::LETTERS[(bits >> (place * 5)) as usize & 31],
                ));
                id
            })
    }

    /// The account in an id of that form, whether or not there is such a key.
    pub fn account_of(id: &str) -> Option<String> {
        let letters = id.strip_prefix(Self::PREFIX).filter(|l| l.len() == 16)?;
        let bits = letters.bytes().try_fold(0u128, |bits, letter| {
            let digit = Self::LETTERS.iter().position(|known| *known == letter)?;
            Some(bits << 5 | digit as u128)
        })?;
        let number = bits >> Self::TAIL_BITS & 0xff_ffff_ffff;
        (number < 1_000_000_000_000).then(|| format!("{number:012}"))
    }
}

/// An account's rules for passwords: one at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordPolicy {
    pub scope: Scope,
    pub minimum_length: i32,
    pub require_symbols: bool,
    pub require_numbers: bool,
    pub require_uppercase: bool,
    pub require_lowercase: bool,
    pub allow_users_to_change: bool,
    pub max_age_days: Option<i32>,
    /// So many old passwords may not come again.
    pub reuse_prevention: Option<i32>,
    pub hard_expiry: bool,
}

/// An account's other name: one at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountAlias {
    pub scope: Scope,
    pub alias: String,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(trust: &str) -> Role {
        Role {
            scope: Scope::new("000000000000", "global"),
            name: "orders".into(),
            arn: "arn:aws:iam::000000000000:role/orders".into(),
            role_id: "AROA".into(),
            path: "/".into(),
            assume_role_policy: trust.into(),
            description: None,
            max_session_seconds: 3600,
            inline_policies: BTreeMap::new(),
            attached_policies: Vec::new(),
            permissions_boundary: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_role_trusts_the_services_that_its_policy_names() {
        let trust = |statement: &str| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
            role(&text).trusts_service("ecs-tasks.amazonaws.com")
        };
        let allow = r#"{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","ecs-tasks.amazonaws.com"]},"Action":"sts:AssumeRole"}"#;
        assert!(trust(allow));
        assert!(trust(&format!("[{allow}]")));
        let deny = allow.replace("Allow", "Deny");
        assert!(!trust(&format!("[{allow},{deny}]")));
        assert!(!trust(&allow.replace("ecs-tasks", "lambda")));
        assert!(!trust(&allow.replace("sts:AssumeRole", "sts:TagSession")));
        assert!(!role("no policy").trusts_service("ecs-tasks.amazonaws.com"));
    }

    #[test]
    fn an_access_keys_id_says_its_account() {
        for (account, random) in [
            ("000000000000", 0),
            ("123456789012", u128::MAX),
            ("999999999999", 0x5555_5555_5555_5555_5555),
        ] {
            let id = AccessKey::id_of(account, random);
            assert_eq!((id.len(), &id[..4]), (20, "AKIA"));
            assert_eq!(AccessKey::account_of(&id).as_deref(), Some(account));
        }
        // The letters of a real id, and the account that it was of.
        assert_eq!(
            AccessKey::account_of("AKIAQNZGKIQY56JQ7WML").as_deref(),
            Some("029608264753")
        );
        for other in ["", "test", "AKIA", "AKIAIOSFODNN7EXAMPL1", "000000000000"] {
            assert_eq!(AccessKey::account_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_printed_of_a_key_is_not_its_secret() {
        let key = AccessKey {
            scope: Scope::new("000000000000", "global"),
            id: "AKIA".into(),
            user: Some("ann".into()),
            secret: SecretAccessKey::new("wJalrXUtnFEMI".into()),
            is_active: true,
            created_at: Timestamp(0),
        };
        assert!(!format!("{key:?}").contains("wJalr"));
        let row = serde_json::to_value(&key).unwrap();
        assert_eq!(row["secret"], "wJalrXUtnFEMI");
    }
}
