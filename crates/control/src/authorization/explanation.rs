//! Which statement decides: for `fogbank iam explain`. Asks the engine that judges calls, with what the region knows of the
//! resource.

use super::resource;
use crate::model::iam::Refusal;
use crate::model::iam::evaluation::context::View;
use crate::model::iam::evaluation::document::Effect;
use crate::model::iam::evaluation::{Conditions, Decision, Party, Policy, Resource, judge};
use crate::model::iam::simulation;
use fogbank_types::{Scope, Snapshot, Timestamp};
use fogbank_wire::iso8601;

/// See the module.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub party: Party,
    pub decision: Decision,
    pub near: Vec<Near>,
}

/// A statement about the action and the resource whose conditions do not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    pub policy: String,
    /// From 1.
    pub statement: usize,
    pub effect: Effect,
    /// `StringEquals aws:RequestedRegion`
    pub conditions: Vec<String>,
}

/// Who a text stands for: an ARN of a user, a role, a session or the root, `user/NAME`, `role/NAME`, `root` or a user's name.
pub fn principal(text: &str, account: &str) -> String {
    let of = |tail: &str| format!("arn:aws:iam::{account}:{tail}");
    match text.split_once('/') {
        _ if text.starts_with("arn:") => text.to_owned(),
        Some(_) => of(text),
        None if text == "root" => of("root"),
        None => of(&format!("user/{text}")),
    }
}

/// `context` is what the request says of itself; its time is now unless it says so.
pub fn explain(
    snapshot: &Snapshot,
    principal: &str,
    action: &str,
    arn: &str,
    region: &str,
    context: Conditions,
    now: Timestamp,
) -> Result<Explanation, Refusal> {
    let account = principal.split(':').nth(4).unwrap_or_default();
    let scope = Scope::new(account, region);
    let (grants, party) = simulation::caller_of(snapshot, &scope, principal)?;
    let mut conditions = party.conditions();
    conditions.set("aws:CurrentTime", iso8601(now));
    conditions.set("aws:EpochTime", now.0.div_euclid(1000).to_string());
    conditions.set("aws:RequestedRegion", region);
    conditions.extend(context);
    let resource = resource(snapshot, &scope, action, arn);
    let decision = judge(&grants, &party, action, &resource, &conditions);
    let optional = [&grants.boundary, &grants.session];
    let policies = grants
        .identity
        .iter()
        .chain(optional.into_iter().flatten().flatten());
    let view = View::new(&conditions, &resource.conditions);
    let near = policies.flat_map(|policy| nearly(policy, action, &resource, &view));
    Ok(Explanation {
        near: near.collect(),
        party,
        decision,
    })
}

fn nearly(policy: &Policy, action: &str, resource: &Resource, view: &View) -> Vec<Near> {
    let Ok(document) = &policy.document else {
        return Vec::new();
    };
    let action = action.to_lowercase();
    let all = document.statements.iter().enumerate();
    all.filter_map(|(number, statement)| {
        let failed = statement.failed_conditions(&action, &resource.arn, view)?;
        let words =
            |c: &&crate::model::iam::evaluation::Condition| format!("{} {}", c.operator, c.key);
        (!failed.is_empty()).then(|| Near {
            policy: policy.source.to_string(),
            statement: number + 1,
            effect: statement.effect,
            conditions: failed.iter().map(words).collect(),
        })
    })
    .collect()
}

impl Explanation {
    /// For people: the decision, then what each kind of policy says.
    pub fn text(&self) -> String {
        let Self {
            party,
            decision,
            near,
        } = self;
        let word = if decision.is_allowed() {
            "allowed"
        } else {
            "DENIED"
        };
        let mut lines = vec![format!(
            "{word}: {} {} on {}",
            party.arn, decision.action, decision.resource
        )];
        if decision.is_allowed() && decision.is_root {
            lines.push(
                "  it is the root of the account, whom identity-based policies do not limit"
                    .to_owned(),
            );
        }
        if !decision.is_allowed() {
            lines.push(format!("  {}", decision.refusal(&party.arn)));
        }
        for (kind, weight) in &decision.weights {
            let said = weight.denies.iter().chain(&weight.allows);
            let mut is_silent = true;
            for matched in said {
                is_silent = false;
                let verb = match matched.effect {
                    Effect::Allow => "allows",
                    Effect::Deny => "DENIES",
                };
                let which = match (&matched.statement, &matched.sid) {
                    (None, _) => "it cannot be read".to_owned(),
                    (Some(number), None) => format!("statement {}", number + 1),
                    (Some(number), Some(sid)) => format!("statement {} '{sid}'", number + 1),
                };
                lines.push(format!("  {verb}  {}: {which}", matched.source));
            }
            if is_silent {
                lines.push(format!(
                    "  -       no {} says anything about it",
                    kind.words()
                ));
            }
        }
        for near in near {
            let verb = match near.effect {
                Effect::Allow => "would allow",
                Effect::Deny => "would deny",
            };
            lines.push(format!(
                "  nearly  {}: statement {} {verb} but for {}",
                near.policy,
                near.statement,
                near.conditions.join(", ")
            ));
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::iam::{identities, users};
    use fogbank_types::iam::User;
    use serde_json::json;

    const ACCOUNT: &str = "111122223333";

    fn explained(context: &[(&str, &str)], action: &str) -> Explanation {
        let mut tx = Tx::for_test();
        let scope = Scope::new(ACCOUNT, "global");
        let new = users::NewUser {
            name: "ann".into(),
            ..users::NewUser::default()
        };
        users::create(&mut tx, &scope, new).unwrap();
        let text = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Home", "Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*",
             "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}},
            {"Effect": "Deny", "Action": "ec2:DescribeSubnets", "Resource": "*"}]});
        identities::put_policy::<User>(&mut tx, &scope, "ann", "p", text.to_string()).unwrap();
        let mut conditions = Conditions::default();
        for (key, value) in context {
            conditions.set(key, *value);
        }
        let who = principal("ann", ACCOUNT);
        explain(
            tx.snapshot(),
            &who,
            action,
            "*",
            "us-east-1",
            conditions,
            Timestamp(0),
        )
        .unwrap()
    }

    #[test]
    fn the_statement_that_decides_is_named() {
        let allowed = explained(&[("aws:SourceIp", "192.0.2.1")], "ec2:DescribeVpcs").text();
        assert!(
            allowed
                .starts_with("allowed: arn:aws:iam::111122223333:user/ann ec2:DescribeVpcs on *\n"),
            "{allowed}"
        );
        assert!(
            allowed.contains(
                "allows  identity-based policy user_ann_p (user/ann): statement 1 'Home'"
            ),
            "{allowed}"
        );
        let denied = explained(&[("aws:SourceIp", "192.0.2.1")], "ec2:DescribeSubnets").text();
        assert!(
            denied.starts_with("DENIED")
                && denied
                    .contains("DENIES  identity-based policy user_ann_p (user/ann): statement 2"),
            "{denied}"
        );
    }

    #[test]
    fn conditions_that_stand_in_the_way_are_named() {
        let text = explained(&[], "ec2:DescribeVpcs").text();
        assert!(
            text.contains("statement 1 would allow but for IpAddress aws:SourceIp"),
            "{text}"
        );
        assert!(
            text.contains("no identity-based policy says anything about it"),
            "{text}"
        );
    }

    #[test]
    fn principals_are_named_shortly_or_by_arn() {
        assert_eq!(principal("ann", "1"), "arn:aws:iam::1:user/ann");
        assert_eq!(
            principal("role/app/ops", "1"),
            "arn:aws:iam::1:role/app/ops"
        );
        assert_eq!(principal("root", "1"), "arn:aws:iam::1:root");
        assert_eq!(principal("arn:aws:iam::2:root", "1"), "arn:aws:iam::2:root");
    }
}
