//! `fogbank iam explain`: whether somebody may do something, and which statement decides.

use super::{RegionArguments, region, show};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use fogbank_control::authorization::explanation::{Explanation, explain, principal};
use fogbank_control::model::iam::evaluation::{Conditions, Verdict};
use fogbank_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

pub const EXAMPLES: &str = "\
Examples:
  sudo fogbank iam explain ann ec2:CreateVpc
  sudo fogbank iam explain role/app/orders-task secretsmanager:GetSecretValue arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf
  sudo fogbank iam explain ann iam:PassRole arn:aws:iam::000000000000:role/task --context iam:PassedToService=ecs-tasks.amazonaws.com
It answers from the engine that judges calls, with the policies, tags and trust as they are now; what a request would say of
itself (its source address, the tags that it gives) is said with --context.
Exit codes: 0 allowed, 1 denied, 2 the question cannot be asked.";

#[derive(Subcommand)]
pub enum IamCommand {
    /// Say whether somebody may do something, and which statement decides
    #[command(after_help = EXAMPLES)]
    Explain(ExplainArguments),
}

#[derive(Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// A user's name, user/NAME, role/NAME, root, or the ARN of one or of a session
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    /// service:Operation
    #[arg(value_name = "ACTION")]
    action: String,
    /// An ARN; * for actions that have no resource of their own
    #[arg(value_name = "RESOURCE", default_value = "*")]
    resource: String,
    /// A condition key and its value; several times for several, or for a key's several values
    #[arg(long, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// The account of a principal that is named without one
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// The region that would be called
    #[arg(long = "in", value_name = "REGION", default_value = "us-east-1")]
    called: String,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn run(command: &IamCommand) -> Result<()> {
    let IamCommand::Explain(arguments) = command;
    match ask(arguments) {
        Ok(true) => Ok(()),
        // The answer was given; it is no failure of this program.
        Ok(false) => std::process::exit(1),
        Err(error) => {
            eprintln!("fogbank: {error:#}");
            std::process::exit(2)
        }
    }
}

fn ask(arguments: &ExplainArguments) -> Result<bool> {
    let context = context(&arguments.context)?;
    let config = region::config(&arguments.region)?;
    let snapshot = region::snapshot(&config)?;
    let account = arguments.account.as_ref().unwrap_or(&config.account);
    let who = principal(&arguments.principal, account);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = Timestamp(i64::try_from(now)?);
    let (action, resource) = (&arguments.action, &arguments.resource);
    let told = explain(
        &snapshot,
        &who,
        action,
        resource,
        &arguments.called,
        context,
        now,
    )?;
    if arguments.json {
        show(&format!(
            "{}\n",
            serde_json::to_string_pretty(&json(&told))?
        ))?;
    } else {
        show(&told.text())?;
    }
    Ok(told.decision.is_allowed())
}

fn context(pairs: &[String]) -> Result<Conditions> {
    let mut keys: Vec<(&str, Vec<String>)> = Vec::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--context {pair}: KEY=VALUE"))?;
        let same = keys
            .iter_mut()
            .find(|(own, _)| own.eq_ignore_ascii_case(key));
        match same {
            Some((_, values)) => values.push(value.to_owned()),
            None => keys.push((key, vec![value.to_owned()])),
        }
    }
    let mut conditions = Conditions::default();
    for (key, values) in keys {
        conditions.set_list(key, values);
    }
    Ok(conditions)
}

fn json(told: &Explanation) -> serde_json::Value {
    let decision = &told.decision;
    let verdict = match decision.verdict {
        Verdict::Allowed => "allowed",
        Verdict::ExplicitDeny(_) => "explicitDeny",
        Verdict::ImplicitDeny(_) => "implicitDeny",
    };
    let matched: Vec<_> = decision
        .matched()
        .into_iter()
        .map(|matched| {
            serde_json::json!({
                "policy": matched.source.id,
                "of": matched.source.place,
                "kind": matched.source.kind.words(),
                "statement": matched.statement.map(|number| number + 1),
                "sid": matched.sid,
                "line": matched.place.start.line,
            })
        })
        .collect();
    serde_json::json!({
        "principal": told.party.arn,
        "action": decision.action,
        "resource": decision.resource,
        "decision": verdict,
        "refusal": (!decision.is_allowed()).then(|| decision.refusal(&told.party.arn)),
        "statements": matched,
        "nearly": told.near.iter().map(|near| serde_json::json!({
            "policy": near.policy, "statement": near.statement, "conditions": near.conditions,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_has_two_values() {
        let pairs = ["aws:TagKeys=a", "aws:tagkeys=b", "k=x=y"].map(str::to_owned);
        let conditions = context(&pairs).unwrap();
        assert_eq!(conditions.get("aws:tagkeys").unwrap(), ["a", "b"]);
        assert_eq!(conditions.get("k").unwrap(), ["x=y"]);
        assert!(context(&["k".to_owned()]).is_err());
    }
}
