//! Who asks, and whether a resource's policy means them.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>

use super::document::{Unreadable, scalars};
use fogbank_types::Tags;
use serde_json::{Map, Value};

/// Who asks, as policies name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Empty for a service.
    pub account: String,
    pub kind: PartyKind,
    /// `arn:aws:iam::..:user/..`, `arn:aws:sts::..:assumed-role/..`, the root's, or a service's name.
    pub arn: String,
    /// `AIDA...`, `AROA...:session`, or the account of its root.
    pub unique_id: String,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartyKind {
    Root,
    User {
        name: String,
    },
    Session {
        role: String,
        role_arn: String,
        /// JSON texts that it was made with, if any: it may do what one of them and its role allow.
        policies: Option<Vec<String>>,
    },
    /// `ecs-tasks.amazonaws.com`
    Service,
}

/// How a resource's policy means somebody: what it allows is limited accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// The whole account: in the same account that leaves the decision to identity policies.
    Account,
    /// The role of a session.
    Role,
    /// The user, the session, the service, or everybody.
    Themselves,
}

/// `Principal` or `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principals {
    negated: bool,
    /// `"*"`
    everybody: bool,
    aws: Vec<String>,
    services: Vec<String>,
}

impl Principals {
    pub fn parse(statement: &Map<String, Value>) -> Result<Option<Self>, Unreadable> {
        let (negated, value) = match (statement.get("Principal"), statement.get("NotPrincipal")) {
            (None, None) => return Ok(None),
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            (Some(_), Some(_)) => return Err(Unreadable::Form),
        };
        let mut principals = Self {
            negated,
            everybody: value.as_str() == Some("*"),
            aws: Vec::new(),
            services: Vec::new(),
        };
        match value {
            Value::Object(kinds) => {
                principals.aws = kinds.get("AWS").map(scalars).unwrap_or_default();
                principals.services = kinds.get("Service").map(scalars).unwrap_or_default();
            }
            Value::String(text) if text == "*" => {}
            _ => return Err(Unreadable::Form),
        }
        Ok(Some(principals))
    }

    /// How it means them, if it does.
    pub fn meaning(&self, party: &Party) -> Option<Meaning> {
        if self.negated {
            // Whoever is named is left out; an account or a role names none of those in it.
            let is_named = self.named(party) == Some(Meaning::Themselves);
            return (!is_named).then_some(Meaning::Themselves);
        }
        self.named(party)
    }

    fn named(&self, party: &Party) -> Option<Meaning> {
        if self.everybody {
            return Some(Meaning::Themselves);
        }
        if party.kind == PartyKind::Service {
            let is_named = self.services.contains(&party.arn);
            return is_named.then_some(Meaning::Themselves);
        }
        self.aws.iter().filter_map(|name| names(name, party)).max()
    }
}

fn names(name: &str, party: &Party) -> Option<Meaning> {
    if name == "*" || name == party.arn || name == party.unique_id && party.kind != PartyKind::Root
    {
        return Some(Meaning::Themselves);
    }
    if let PartyKind::Session { role_arn, .. } = &party.kind
        && (name == role_arn || party.unique_id.split(':').next() == Some(name) && !name.is_empty())
    {
        return Some(Meaning::Role);
    }
    let is_account = name == party.account
        || name
            .strip_suffix(":root")
            .is_some_and(|front| front.ends_with(&format!(":iam::{}", party.account)));
    let is_root = party.kind == PartyKind::Root;
    is_account.then_some(if is_root {
        Meaning::Themselves
    } else {
        Meaning::Account
    })
}

#[cfg(test)]
pub mod fixture {
    use super::*;

    pub const ACCOUNT: &str = "111122223333";

    pub fn root() -> Party {
        Party {
            account: ACCOUNT.into(),
            kind: PartyKind::Root,
            arn: format!("arn:aws:iam::{ACCOUNT}:root"),
            unique_id: ACCOUNT.into(),
            tags: Tags::new(),
        }
    }

    pub fn user(name: &str) -> Party {
        Party {
            kind: PartyKind::User { name: name.into() },
            arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            unique_id: format!("AIDA{name}"),
            ..root()
        }
    }

    pub fn session(role: &str, policies: Option<Vec<String>>) -> Party {
        Party {
            kind: PartyKind::Session {
                role: role.into(),
                role_arn: format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
                policies,
            },
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/s"),
            unique_id: format!("AROA{role}:s"),
            ..root()
        }
    }

    pub fn service(name: &str) -> Party {
        Party {
            account: String::new(),
            kind: PartyKind::Service,
            arn: name.into(),
            unique_id: String::new(),
            tags: Tags::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::*;
    use super::*;
    use serde_json::json;

    fn meaning(statement: Value, party: &Party) -> Option<Meaning> {
        let principals = Principals::parse(statement.as_object().unwrap()).unwrap();
        principals.unwrap().meaning(party)
    }

    #[test]
    fn accounts_roles_users_sessions_and_services_are_named() {
        let aws = |name: String| json!({"Principal": {"AWS": name}});
        let (user, session) = (user("ann"), session("ops", None));
        for account in [ACCOUNT.to_owned(), format!("arn:aws:iam::{ACCOUNT}:root")] {
            assert_eq!(meaning(aws(account.clone()), &user), Some(Meaning::Account));
            assert_eq!(meaning(aws(account), &root()), Some(Meaning::Themselves));
        }
        assert_eq!(
            meaning(aws(user.arn.clone()), &user),
            Some(Meaning::Themselves)
        );
        assert_eq!(
            meaning(aws("AIDAann".into()), &user),
            Some(Meaning::Themselves)
        );
        assert_eq!(
            meaning(aws(format!("arn:aws:iam::{ACCOUNT}:role/ops")), &session),
            Some(Meaning::Role)
        );
        assert_eq!(
            meaning(aws(session.arn.clone()), &session),
            Some(Meaning::Themselves)
        );
        assert_eq!(
            meaning(aws(format!("arn:aws:iam::{ACCOUNT}:user/an*")), &user),
            None,
            "no wildcards"
        );
        assert_eq!(meaning(aws("*".into()), &user), Some(Meaning::Themselves));
        assert_eq!(
            meaning(json!({"Principal": "*"}), &service("ecs.amazonaws.com")),
            Some(Meaning::Themselves)
        );
        let tasks = json!({"Principal": {"Service": ["ecs-tasks.amazonaws.com"]}});
        assert_eq!(
            meaning(tasks.clone(), &service("ecs-tasks.amazonaws.com")),
            Some(Meaning::Themselves)
        );
        assert_eq!(meaning(tasks.clone(), &service("ec2.amazonaws.com")), None);
        assert_eq!(meaning(tasks, &user), None);
    }

    #[test]
    fn not_principal_leaves_out_those_named_themselves() {
        let but = |names: &[&str]| json!({"NotPrincipal": {"AWS": names}});
        let root_arn = format!("arn:aws:iam::{ACCOUNT}:root");
        let ann = user("ann");
        assert_eq!(meaning(but(&[&ann.arn, &root_arn]), &ann), None);
        assert_eq!(meaning(but(&[&ann.arn, &root_arn]), &root()), None);
        assert_eq!(
            meaning(but(&[&ann.arn, &root_arn]), &user("bob")),
            Some(Meaning::Themselves)
        );
        assert_eq!(
            meaning(
                but(&[&format!("arn:aws:iam::{ACCOUNT}:role/ops")]),
                &session("ops", None)
            ),
            Some(Meaning::Themselves)
        );
    }
}
