//! Before a task is started: may ECS take on its roles, and may its execution role do what starting it takes? AWS's agent
//! finds out by making the calls; the host has no need to make them, so it asks.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>

use super::{Origin, common, known, resource};
use crate::identity::Principal;
use crate::model::iam::evaluation::{Grants, Party, PartyKind, judge};
use fogbank_pki::Session;
use fogbank_types::iam::Role;
use fogbank_types::permission::{Answer, Demand, Inquiry, TASKS};
use fogbank_types::{Scope, Snapshot, Tags, Timestamp};

/// `None`: the inquiry is of no task, or of a role that ECS may not take on.
pub fn answer(snapshot: &Snapshot, inquiry: &Inquiry, now: Timestamp) -> Option<Answer> {
    let parts: Vec<&str> = inquiry.task.splitn(6, ':').collect();
    let ["arn", _, "ecs", region, account, task] = parts.as_slice() else {
        return None;
    };
    let scope = Scope::new(*account, *region);
    let mut roles = inquiry.roles.iter();
    let untrusting = roles.find(|arn| {
        let role = role(snapshot, arn);
        !role.is_some_and(|role| may_be_taken_on(snapshot, role, &scope, &inquiry.task))
    });
    if untrusting.is_some() {
        return Some(Answer {
            untrusting: untrusting.cloned(),
            refusals: Vec::new(),
        });
    }
    let refusals = match &inquiry.role {
        None if inquiry.demands.is_empty() => Vec::new(),
        None => return None,
        Some(asking) if !inquiry.roles.contains(asking) => return None,
        Some(asking) => {
            let name = task.rsplit('/').next().unwrap_or(task);
            let party = party(snapshot, role(snapshot, asking)?, name, now)?;
            refusals(snapshot, &scope, &party, &inquiry.demands, now)
        }
    };
    Some(Answer {
        untrusting: None,
        refusals,
    })
}

fn role<'a>(snapshot: &'a Snapshot, arn: &str) -> Option<&'a Role> {
    let owner = Scope::new(arn.split(':').nth(4)?, "global");
    let name = arn.rsplit('/').next()?;
    let role = snapshot.roles.get(&owner, name)?;
    (role.arn == arn).then_some(&**role)
}

/// Whether the role's trust policy lets ECS have it for that task.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#create_task_iam_policy_and_role>
fn may_be_taken_on(snapshot: &Snapshot, role: &Role, scope: &Scope, task: &str) -> bool {
    let service = Party {
        account: String::new(),
        kind: PartyKind::Service,
        arn: TASKS.to_owned(),
        unique_id: String::new(),
        tags: Tags::new(),
    };
    let mut conditions = service.conditions();
    conditions.set("aws:SourceAccount", scope.account.as_str());
    conditions.set("aws:SourceArn", task);
    let role = resource(snapshot, scope, "sts:AssumeRole", &role.arn);
    judge(
        &Grants::default(),
        &service,
        "sts:AssumeRole",
        &role,
        &conditions,
    )
    .is_allowed()
}

/// A session of the role that has the task's name.
fn party(snapshot: &Snapshot, role: &Role, name: &str, now: Timestamp) -> Option<Party> {
    let session = Session {
        account: role.scope.account.clone(),
        role_id: role.role_id.clone(),
        role: role.name.clone(),
        name: name.to_owned(),
        issued_at_ms: now.0,
        expires_at_ms: now.0,
        ..Session::default()
    };
    Some(Principal::of_session(snapshot, "", &session)?.party)
}

fn refusals(
    snapshot: &Snapshot,
    scope: &Scope,
    party: &Party,
    demands: &[Demand],
    now: Timestamp,
) -> Vec<Option<String>> {
    let origin = Origin {
        is_tls: true,
        token_issued_at: Some(now),
        ..Origin::default()
    };
    let conditions = common(snapshot, party, &origin, &scope.region, now);
    let grants = Grants::of(snapshot, party);
    let refusal = |demand: &Demand| {
        let resource = known(snapshot, scope, &demand.resource);
        let decision = judge(&grants, party, &demand.action, &resource, &conditions);
        (!decision.is_allowed()).then(|| decision.refusal(&party.arn))
    };
    demands.iter().map(refusal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::iam::evaluation::party::fixture::ACCOUNT;
    use crate::model::iam::{identities, roles};
    use serde_json::{Value, json};

    fn add_role(tx: &mut Tx, name: &str, condition: Value, policy: Value) -> String {
        let global = Scope::new(ACCOUNT, "global");
        let document =
            |statement: Value| json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let mut trust =
            json!({"Effect": "Allow", "Principal": {"Service": TASKS}, "Action": "sts:AssumeRole"});
        if !condition.is_null() {
            trust["Condition"] = condition;
        }
        let new = roles::NewRole {
            name: name.into(),
            assume_role_policy: document(trust),
            ..roles::NewRole::default()
        };
        let role = roles::create(tx, &global, new).unwrap();
        identities::put_policy::<Role>(tx, &global, name, "p", document(policy)).unwrap();
        role.arn
    }

    fn inquiry(roles: &[&String], demands: &[(&str, &str)]) -> Inquiry {
        Inquiry {
            task: format!("arn:aws:ecs:us-east-1:{ACCOUNT}:task/prod/0123"),
            roles: roles.iter().map(|role| (*role).clone()).collect(),
            role: roles.first().map(|role| (*role).clone()),
            demands: demands
                .iter()
                .map(|(action, resource)| Demand {
                    action: (*action).into(),
                    resource: (*resource).into(),
                })
                .collect(),
        }
    }

    #[test]
    fn each_demand_is_answered_in_the_words_of_iam() {
        let mut tx = Tx::for_test();
        let allow = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
        let role = add_role(&mut tx, "execution", Value::Null, allow);
        let asked = inquiry(
            &[&role],
            &[
                ("ecr:GetAuthorizationToken", "*"),
                ("logs:CreateLogStream", "*"),
            ],
        );
        let answer = answer(tx.snapshot(), &asked, tx.now()).unwrap();
        assert_eq!(answer.untrusting, None);
        let refused = format!(
            "User: arn:aws:sts::{ACCOUNT}:assumed-role/execution/0123 is not authorized to perform: logs:CreateLogStream on resource: * because no identity-based policy allows the logs:CreateLogStream action"
        );
        assert_eq!(answer.refusals, [None, Some(refused)]);
    }

    #[test]
    fn roles_are_taken_on_as_far_as_they_trust() {
        let mut tx = Tx::for_test();
        let of_cluster = |name: &str| {
            let arn = format!("arn:aws:ecs:us-east-1:{ACCOUNT}:task/{name}/*");
            json!({"ArnLike": {"aws:SourceArn": arn}, "StringEquals": {"aws:SourceAccount": ACCOUNT}})
        };
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let own = add_role(&mut tx, "own", of_cluster("prod"), allow.clone());
        let others = add_role(&mut tx, "others", of_cluster("dev"), allow);
        let missing = format!("arn:aws:iam::{ACCOUNT}:role/missing");
        for (roles, untrusting) in [
            (vec![&own], None),
            (vec![&own, &others], Some(&others)),
            (vec![&missing, &own], Some(&missing)),
        ] {
            let answer = answer(tx.snapshot(), &inquiry(&roles, &[]), tx.now()).unwrap();
            assert_eq!(answer.untrusting.as_ref(), untrusting);
        }
    }

    #[test]
    fn nobody_asks_for_another_or_for_no_task() {
        let mut tx = Tx::for_test();
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let role = add_role(&mut tx, "own", Value::Null, allow);
        let good = inquiry(&[&role], &[("ecr:GetAuthorizationToken", "*")]);
        for bad in [
            Inquiry {
                role: None,
                ..good.clone()
            },
            Inquiry {
                role: Some("arn:aws:iam::1:role/other".into()),
                ..good.clone()
            },
            Inquiry {
                task: "task".into(),
                ..good
            },
        ] {
            assert_eq!(answer(tx.snapshot(), &bad, tx.now()), None, "{bad:?}");
        }
    }
}
