//! The policy simulator: what policies would decide, of somebody who is there or of texts alone. Answers from the engine
//! that judges calls.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>

use super::evaluation::document::Document;
use super::evaluation::{
    Conditions, Decision, Grants, Party, PartyKind, Policy, PolicyKind, Resource, judge,
};
use super::{Refusal, documents, entities};
use fogbank_types::iam::{Group, Role, User};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked beside whose policies are used.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub actions: Vec<String>,
    /// None is like `*`.
    pub resources: Vec<String>,
    /// Policies beside those of whom it is about.
    pub policies: Vec<String>,
    /// In place of theirs.
    pub boundary: Vec<String>,
    pub resource_policy: Option<String>,
    /// Account or ARN, for resources whose ARN does not say it.
    pub resource_owner: Option<String>,
    pub caller: Option<String>,
    pub context: Conditions,
}

/// About one action on one resource.
#[derive(Debug, Clone)]
pub struct Answer {
    pub decision: Decision,
    /// Condition keys that the policies ask for and nobody gave.
    pub missing: Vec<String>,
    /// Whether a boundary was looked at, and what it says.
    pub within_boundary: Option<bool>,
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::InvalidInput(text.into())
}

/// The name in an ARN such as `arn:aws:iam::000000000000:user/path/ann`, if it is of that kind.
fn name_in<'a>(arn: &'a str, kind: &str) -> Option<&'a str> {
    let resource = arn.split(':').nth(5)?;
    let path = resource.strip_prefix(kind)?.strip_prefix('/')?;
    path.rsplit('/').next()
}

/// Whose policies an ARN stands for, and who they are as a caller. A group calls as nobody.
pub fn subject(
    snapshot: &Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<(Grants, Option<Party>), Refusal> {
    let scope = Scope::new(account_of(arn).unwrap_or(&scope.account), "global");
    if let Some(name) = name_in(arn, "user") {
        let user = entities::find::<User>(snapshot, &scope, name)?;
        if user.arn == arn {
            return Ok((Grants::of_user(snapshot, user), Some(party_of_user(user))));
        }
    } else if let Some(name) = name_in(arn, "role") {
        let role = entities::find::<Role>(snapshot, &scope, name)?;
        if role.arn == arn {
            return Ok((Grants::of_role(snapshot, role), Some(party_of_role(role))));
        }
    } else if let Some(name) = name_in(arn, "group") {
        let group = entities::find::<Group>(snapshot, &scope, name)?;
        if group.arn == arn {
            return Ok((Grants::of_group(snapshot, group), None));
        }
    } else {
        return Err(bad(format!(
            "Invalid Entity Arn: {arn} does not clearly define entity type and name."
        )));
    }
    Err(Refusal::NoSuchEntity(format!("{arn} does not exist.")))
}

fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|part| !part.is_empty())
}

pub fn party_of_user(user: &User) -> Party {
    Party {
        account: user.scope.account.clone(),
        kind: PartyKind::User {
            name: user.name.clone(),
        },
        arn: user.arn.clone(),
        unique_id: user.user_id.clone(),
        tags: user.tags.clone(),
    }
}

/// A session of the role, of no name in particular.
pub fn party_of_role(role: &Role) -> Party {
    Party {
        account: role.scope.account.clone(),
        kind: PartyKind::Session {
            role: role.name.clone(),
            role_arn: role.arn.clone(),
            policies: None,
        },
        arn: format!(
            "arn:aws:sts::{}:assumed-role/{}/simulated",
            role.scope.account, role.name
        ),
        unique_id: format!("{}:simulated", role.role_id),
        tags: role.tags.clone(),
    }
}

/// Policies and name of whoever calls under an ARN: a user, a role (by its own ARN or a session's), or the root.
pub fn caller_of(
    snapshot: &Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<(Grants, Party), Refusal> {
    let tail = arn.split(':').nth(5).unwrap_or_default();
    if tail == "root" {
        let party = Party {
            account: scope.account.clone(),
            kind: PartyKind::Root,
            arn: arn.to_owned(),
            unique_id: scope.account.clone(),
            tags: Tags::new(),
        };
        return Ok((Grants::default(), party));
    }
    if let Some(session) = tail.strip_prefix("assumed-role/") {
        let (name, _) = session.split_once('/').unwrap_or((session, ""));
        let role = entities::find::<Role>(snapshot, &scope.global(), name)?;
        let party = Party {
            arn: arn.to_owned(),
            ..party_of_role(role)
        };
        return Ok((Grants::of_role(snapshot, role), party));
    }
    // A role's name is enough: its path is part of its ARN only.
    if let Some(name) = name_in(arn, "role")
        && let Some(role) = snapshot.roles.get(&scope.global(), name)
    {
        return Ok((Grants::of_role(snapshot, role), party_of_role(role)));
    }
    let (grants, party) = subject(snapshot, scope, arn)?;
    let party = party.ok_or_else(|| bad(format!("{arn} calls nobody: it is a group.")))?;
    Ok((grants, party))
}

/// Who asks in a simulation of texts alone: the user that `CallerArn` names, there or not.
fn caller(snapshot: &Snapshot, scope: &Scope, arn: Option<&str>) -> Result<Party, Refusal> {
    let Some(arn) = arn else {
        return Ok(Party {
            account: scope.account.clone(),
            kind: PartyKind::User {
                name: String::new(),
            },
            arn: format!("arn:aws:iam::{}:user/", scope.account),
            unique_id: String::new(),
            tags: Tags::new(),
        });
    };
    if let Ok((_, Some(party))) = subject(snapshot, scope, arn) {
        return Ok(party);
    }
    let (Some(account), Some(name)) = (account_of(arn), name_in(arn, "user")) else {
        return Err(bad(format!("CallerArn {arn} must be the ARN of a user.")));
    };
    Ok(Party {
        account: account.to_owned(),
        kind: PartyKind::User {
            name: name.to_owned(),
        },
        arn: arn.to_owned(),
        unique_id: String::new(),
        tags: Tags::new(),
    })
}

/// Of somebody's policies (`source`), or of the question's alone.
pub fn simulate(
    snapshot: &Snapshot,
    scope: &Scope,
    source: Option<&str>,
    question: &Question,
) -> Result<Vec<Answer>, Refusal> {
    let (mut grants, own) = match source {
        Some(arn) => subject(snapshot, scope, arn)?,
        None => (Grants::default(), None),
    };
    let party = match (&question.caller, own) {
        (None, Some(own)) => own,
        (caller_arn, _) => caller(snapshot, scope, caller_arn.as_deref())?,
    };
    let is_anybody = party.unique_id.is_empty() && question.caller.is_none();
    if question.resource_policy.is_some() && is_anybody {
        return Err(bad(
            "CallerArn is required when a ResourcePolicy is given and the PolicySourceArn is not the ARN of a user.",
        ));
    }
    add_inputs(&mut grants, question)?;
    let mut conditions = if is_anybody {
        Conditions::default()
    } else {
        party.conditions()
    };
    conditions.extend(question.context.clone());
    let everything = ["*".to_owned()];
    let arns = if question.resources.is_empty() {
        everything.as_slice()
    } else {
        &question.resources
    };
    let mut answers = Vec::new();
    for action in &question.actions {
        check_action(action)?;
        for arn in arns {
            let resource = resource(arn, question)?;
            let decision = judge(&grants, &party, action, &resource, &conditions);
            let boundary = decision.weight(PolicyKind::Boundary);
            answers.push(Answer {
                missing: missing(&grants, &resource, &conditions),
                within_boundary: boundary.map(|w| w.denies.is_empty() && !w.allows.is_empty()),
                decision,
            });
        }
    }
    Ok(answers)
}

fn check_action(action: &str) -> Result<(), Refusal> {
    let is_good = action.split_once(':').is_some_and(|(service, name)| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !service.is_empty() && !name.is_empty() && (service.bytes().chain(name.bytes())).all(good)
    });
    if is_good {
        return Ok(());
    }
    Err(bad(format!(
        "Action name '{action}' must be of the form service:operation and may not contain wildcards."
    )))
}

fn resource(arn: &str, question: &Question) -> Result<Resource, Refusal> {
    if arn != "*" && (!arn.starts_with("arn:") || arn.matches(':').count() < 5) {
        return Err(bad(format!("{arn} is not a valid resource ARN.")));
    }
    let mut resource = Resource::new(arn);
    if resource.account.is_none()
        && let Some(owner) = &question.resource_owner
    {
        let account = account_of(owner).unwrap_or(owner);
        resource.account = Some(account.to_owned());
    }
    if let Some(text) = &question.resource_policy {
        resource = resource.with_policy(text.as_str(), false);
    }
    Ok(resource)
}

fn add_inputs(grants: &mut Grants, question: &Question) -> Result<(), Refusal> {
    let read = |texts: &[String], kind, name: &str| {
        let one = |(number, text): (usize, &String)| {
            documents::check(text, documents::Kind::Identity)?;
            let id = format!("{name}.{}", number + 1);
            Ok(Policy::new(kind, id.as_str(), id.as_str(), text))
        };
        texts
            .iter()
            .enumerate()
            .map(one)
            .collect::<Result<Vec<_>, Refusal>>()
    };
    if let Some(text) = &question.resource_policy
        && Document::read(text).is_err()
    {
        return Err(bad("The ResourcePolicy is not a valid policy document."));
    }
    let policies = read(&question.policies, PolicyKind::Identity, "PolicyInputList")?;
    grants.identity.extend(policies);
    if !question.boundary.is_empty() {
        let name = "PermissionsBoundaryPolicyInputList";
        grants.boundary = Some(read(&question.boundary, PolicyKind::Boundary, name)?);
    }
    Ok(())
}

fn missing(grants: &Grants, resource: &Resource, conditions: &Conditions) -> Vec<String> {
    let own = resource
        .policy
        .as_ref()
        .map(|policy| Policy::new(PolicyKind::Resource, "", "", &policy.text));
    let optional = [&grants.boundary, &grants.session];
    let policies = grants
        .identity
        .iter()
        .chain(optional.into_iter().flatten().flatten())
        .chain(&own);
    let mut keys = keys_of(policies);
    keys.retain(|lower, _| conditions.get(lower).is_none());
    keys.into_values().collect()
}

/// Condition keys by their lower case, as first written.
fn keys_of<'a>(policies: impl Iterator<Item = &'a Policy>) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for document in policies.filter_map(|policy| policy.document.as_ref().ok()) {
        for key in document.context_keys() {
            keys.entry(key.to_lowercase())
                .or_insert_with(|| key.to_owned());
        }
    }
    keys
}

/// The condition keys that policies ask for: somebody's, and those given.
pub fn context_keys(
    snapshot: &Snapshot,
    scope: &Scope,
    source: Option<&str>,
    policies: Vec<String>,
) -> Result<BTreeSet<String>, Refusal> {
    let mut grants = match source {
        Some(arn) => subject(snapshot, scope, arn)?.0,
        None => Grants::default(),
    };
    let question = Question {
        policies,
        ..Question::default()
    };
    add_inputs(&mut grants, &question)?;
    Ok(keys_of(grants.identity.iter()).into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict;
    use super::*;
    use crate::model::Tx;
    use crate::model::iam::{groups, identities, users};
    use serde_json::json;

    fn scope() -> Scope {
        Scope::new("111122223333", "global")
    }

    fn text(effect: &str, action: &str) -> String {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Resource": "*"}]}).to_string()
    }

    fn tx_with_ann() -> Tx {
        let mut tx = Tx::for_test();
        let scope = scope();
        let new = users::NewUser {
            name: "ann".into(),
            ..users::NewUser::default()
        };
        users::create(&mut tx, &scope, new).unwrap();
        identities::put_policy::<User>(&mut tx, &scope, "ann", "read", text("Allow", "s3:Get*"))
            .unwrap();
        tx
    }

    const ANN: &str = "arn:aws:iam::111122223333:user/ann";

    fn question(actions: &[&str]) -> Question {
        Question {
            actions: actions.iter().map(|a| (*a).to_owned()).collect(),
            ..Question::default()
        }
    }

    #[test]
    fn a_users_own_policies_and_its_groups_and_those_given_count() {
        let mut tx = tx_with_ann();
        groups::create(&mut tx, &scope(), "ops".into(), None).unwrap();
        groups::add_user(&mut tx, &scope(), "ops", "ann").unwrap();
        identities::put_policy::<Group>(
            &mut tx,
            &scope(),
            "ops",
            "list",
            text("Allow", "s3:List*"),
        )
        .unwrap();
        let mut asked = question(&[
            "s3:GetObject",
            "s3:ListBucket",
            "s3:PutObject",
            "s3:DeleteObject",
        ]);
        asked.policies = vec![
            text("Allow", "s3:PutObject"),
            text("Deny", "s3:DeleteObject"),
        ];
        let answers = simulate(tx.snapshot(), &scope(), Some(ANN), &asked).unwrap();
        let ids: Vec<_> = answers
            .iter()
            .map(|answer| {
                answer
                    .decision
                    .matched()
                    .first()
                    .map(|m| m.source.id.clone())
            })
            .collect();
        let id = |text: &str| Some(text.to_owned());
        assert_eq!(
            ids,
            [
                id("user_ann_read"),
                id("group_ops_list"),
                id("PolicyInputList.1"),
                id("PolicyInputList.2")
            ]
        );
        assert_eq!(
            answers[3].decision.verdict,
            Verdict::ExplicitDeny(PolicyKind::Identity)
        );
    }

    #[test]
    fn a_boundary_given_takes_the_place_of_theirs() {
        let tx = tx_with_ann();
        let mut asked = question(&["s3:GetObject"]);
        asked.boundary = vec![text("Allow", "ec2:*")];
        let answers = simulate(tx.snapshot(), &scope(), Some(ANN), &asked).unwrap();
        assert_eq!(answers[0].within_boundary, Some(false));
        assert_eq!(
            answers[0].decision.verdict,
            Verdict::ImplicitDeny(PolicyKind::Boundary)
        );
    }

    #[test]
    fn keys_that_nobody_gave_are_told() {
        let tx = tx_with_ann();
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*",
            "Resource": "arn:aws:s3:::${aws:username}/${aws:PrincipalTag/team}",
            "Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01"}, "StringLike": {"s3:prefix": "${aws:userid}*"}}}]});
        let mut asked = question(&["s3:GetObject"]);
        asked.policies = vec![policy.to_string()];
        asked.context.set("S3:Prefix", "x");
        let answers = simulate(tx.snapshot(), &scope(), Some(ANN), &asked).unwrap();
        assert_eq!(
            answers[0].missing,
            ["aws:CurrentTime", "aws:principaltag/team"]
        );
        let keys = context_keys(tx.snapshot(), &scope(), None, asked.policies).unwrap();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let tx = tx_with_ann();
        let ask = |source: Option<&str>, asked: &Question| {
            simulate(tx.snapshot(), &scope(), source, asked).unwrap_err()
        };
        let good = question(&["s3:GetObject"]);
        assert!(matches!(
            ask(Some("arn:aws:iam::111122223333:user/bob"), &good),
            Refusal::NoSuchEntity(_)
        ));
        assert!(matches!(ask(Some("ann"), &good), Refusal::InvalidInput(_)));
        assert!(matches!(
            ask(None, &question(&["s3:*"])),
            Refusal::InvalidInput(_)
        ));
        let bucket = Question {
            resources: vec!["bucket".into()],
            ..good.clone()
        };
        assert!(matches!(ask(None, &bucket), Refusal::InvalidInput(_)));
        let with_policy = Question {
            resource_policy: Some(
                json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*"}})
                    .to_string(),
            ),
            ..good
        };
        assert!(matches!(ask(None, &with_policy), Refusal::InvalidInput(_)));
        let named = Question {
            caller: Some(ANN.into()),
            ..with_policy
        };
        assert!(
            simulate(tx.snapshot(), &scope(), None, &named).unwrap()[0]
                .decision
                .is_allowed()
        );
    }
}
