//! Policy documents as judged: read once, kept by their text.
//!
//! What must stay true: a document that cannot be read allows nothing and denies everything, see [`Document::read`]; a
//! document reads the same whoever asks.

use super::condition::Condition;
use super::context::View;
use super::party::Principals;
use super::pattern::{Pattern, Reach, Syntax};
use super::place::{Place, places};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// Why a document cannot be read. What IAM stores was checked, so this is a document of another origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no policy document")]
    Form,
    #[error("the operator {0} is not known")]
    Operator(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// See the module.
#[derive(Debug)]
pub struct Document {
    pub statements: Vec<Statement>,
}

#[derive(Debug)]
pub struct Statement {
    pub sid: Option<String>,
    pub effect: Effect,
    /// Where it stands in the text.
    pub place: Place,
    /// Of resources' policies.
    pub principals: Option<Principals>,
    actions: List,
    /// `None`: the resource is the one that has the policy.
    resources: Option<List>,
    pub conditions: Vec<Condition>,
}

/// One of a pair such as `Action` and `NotAction`.
#[derive(Debug)]
struct List {
    negated: bool,
    patterns: Vec<Pattern>,
}

impl Document {
    /// From its text. Those read lately are kept; what is kept is bounded.
    pub fn read(text: &str) -> Result<Arc<Self>, Unreadable> {
        static KEPT: LazyLock<RwLock<Kept>> = LazyLock::new(RwLock::default);
        let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.documents.get(text) {
            return known.clone();
        }
        drop(kept);
        let read = Self::parse(text).map(Arc::new);
        let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + text.len() > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        kept.bytes += text.len();
        kept.documents.insert(text.into(), read.clone());
        read
    }

    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let document: Value = serde_json::from_str(text).map_err(|_| Unreadable::Form)?;
        let variables = document.get("Version").and_then(Value::as_str) == Some("2012-10-17");
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err(Unreadable::Form),
        };
        let places = places(text);
        let statements = statements
            .iter()
            .enumerate()
            .map(|(number, statement)| {
                let statement = statement.as_object().ok_or(Unreadable::Form)?;
                let place = places.get(number).copied().unwrap_or_default();
                Statement::parse(statement, place, variables)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    /// The condition keys that it asks for, as it writes them, and those of variables.
    pub fn context_keys(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| {
            let resources = statement.resources.iter().flat_map(|list| &list.patterns);
            let conditions = statement.conditions.iter().flat_map(Condition::keys);
            resources.flat_map(Pattern::variables).chain(conditions)
        })
    }
}

/// Text of documents that are kept read, all together.
const KEPT_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
struct Kept {
    documents: HashMap<Box<str>, Result<Arc<Document>, Unreadable>>,
    bytes: usize,
}

impl Statement {
    fn parse(
        statement: &Map<String, Value>,
        place: Place,
        variables: bool,
    ) -> Result<Self, Unreadable> {
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(Unreadable::Form),
        };
        let action = Syntax {
            wildcards: true,
            variables: false,
        };
        let resource = Syntax {
            wildcards: true,
            variables,
        };
        let actions = list(statement, ["Action", "NotAction"], |text| {
            Pattern::new(&text.to_lowercase(), action)
        })?;
        let resources = list(statement, ["Resource", "NotResource"], |text| {
            Pattern::new(&whole(text), resource)
        })?;
        let mut conditions = Vec::new();
        if let Some(operators) = statement.get("Condition") {
            for (operator, keys) in operators.as_object().ok_or(Unreadable::Form)? {
                for (key, value) in keys.as_object().ok_or(Unreadable::Form)? {
                    conditions.push(Condition::parse(operator, key, value, variables)?);
                }
            }
        }
        Ok(Self {
            sid: statement
                .get("Sid")
                .and_then(Value::as_str)
                .filter(|sid| !sid.is_empty())
                .map(str::to_owned),
            effect,
            place,
            principals: Principals::parse(statement)?,
            actions: actions.ok_or(Unreadable::Form)?,
            resources,
            conditions,
        })
    }

    /// Whether it is about that action (in lower case) on that resource under those conditions. Who asks is not looked at.
    pub fn concerns(&self, action: &str, resource: &str, view: &View) -> bool {
        let acts = |pattern: &Pattern| pattern.matches_fixed(action);
        let is_for = |pattern: &Pattern| pattern.matches(resource, view, Reach::Resource);
        self.actions.has(acts)
            && self.resources.as_ref().is_none_or(|list| list.has(is_for))
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(view))
    }

    /// The conditions that keep it from concerning a request that it is about otherwise; `None`: it is about another.
    pub fn failed_conditions(
        &self,
        action: &str,
        resource: &str,
        view: &View,
    ) -> Option<Vec<&Condition>> {
        let acts = |pattern: &Pattern| pattern.matches_fixed(action);
        let is_for = |pattern: &Pattern| pattern.matches(resource, view, Reach::Resource);
        let is_about =
            self.actions.has(acts) && self.resources.as_ref().is_none_or(|list| list.has(is_for));
        is_about.then(|| {
            let all = self.conditions.iter();
            all.filter(|condition| !condition.holds(view)).collect()
        })
    }
}

impl List {
    fn has(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.negated
    }
}

fn list(
    statement: &Map<String, Value>,
    keys: [&str; 2],
    read: impl Fn(&str) -> Pattern,
) -> Result<Option<List>, Unreadable> {
    let given: Vec<(bool, &Value)> = keys
        .into_iter()
        .enumerate()
        .filter_map(|(place, key)| Some((place == 1, statement.get(key)?)))
        .collect();
    let [(negated, value)] = given.as_slice() else {
        return given.is_empty().then_some(None).ok_or(Unreadable::Form);
    };
    let texts = match value {
        Value::String(one) => vec![one.as_str()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => return Err(Unreadable::Form),
    };
    Ok(Some(List {
        negated: *negated,
        patterns: texts.into_iter().map(read).collect(),
    }))
}

/// An ARN whose last parts are left out is about all of them, as IAM shows it.
fn whole(resource: &str) -> String {
    let missing = 5usize.saturating_sub(resource.matches(':').count());
    if !resource.starts_with("arn:") {
        return resource.to_owned();
    }
    format!("{resource}{}", ":*".repeat(missing))
}

/// A text, number or truth value, or those of a list, as texts.
pub fn scalars(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(scalars).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(truth) => vec![truth.to_string()],
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Conditions;
    use super::*;
    use serde_json::json;

    fn concerns(statement: Value, action: &str, resource: &str) -> bool {
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let document = Document::read(&text).unwrap();
        let (base, own) = (Conditions::default(), Conditions::default());
        let view = View::new(&base, &own);
        document.statements[0].concerns(&action.to_lowercase(), resource, &view)
    }

    #[test]
    fn actions_have_no_case_and_resources_do() {
        let statement = json!({"Effect": "Allow", "Action": "EC2:describe*", "Resource": "arn:aws:ec2:*:*:vpc/A"});
        assert!(concerns(
            statement.clone(),
            "ec2:DescribeVpcs",
            "arn:aws:ec2:us-east-1:1:vpc/A"
        ));
        assert!(!concerns(
            statement.clone(),
            "ec2:DescribeVpcs",
            "arn:aws:ec2:us-east-1:1:vpc/a"
        ));
        assert!(!concerns(
            statement,
            "ec2:CreateVpc",
            "arn:aws:ec2:us-east-1:1:vpc/A"
        ));
    }

    #[test]
    fn not_action_and_not_resource_invert() {
        let statement = json!({"Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "NotResource": "arn:aws:s3:::a/*"});
        assert!(concerns(
            statement.clone(),
            "s3:GetObject",
            "arn:aws:s3:::b/x"
        ));
        assert!(!concerns(
            statement.clone(),
            "s3:GetObject",
            "arn:aws:s3:::a/x"
        ));
        assert!(!concerns(
            statement.clone(),
            "iam:GetRole",
            "arn:aws:s3:::b/x"
        ));
        assert!(concerns(statement, "ec2:DescribeVpcs", "*"));
    }

    #[test]
    fn an_arn_without_its_last_parts_is_about_all_of_them() {
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:ecs"});
        assert!(concerns(
            statement.clone(),
            "ecs:RunTask",
            "arn:aws:ecs:us-east-1:1:task-definition/a:1"
        ));
        assert!(!concerns(
            statement,
            "ecs:RunTask",
            "arn:aws:ecr:us-east-1:1:repository/a"
        ));
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_so() {
        for text in [
            "",
            "{}",
            r#"{"Statement":[1]}"#,
            r#"{"Statement":{"Effect":"Permit","Action":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Deny","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Deny","Action":"*","NotAction":"*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Odd":{"a":"b"}}}}"#,
        ] {
            assert!(Document::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_are_of_the_newer_version_only() {
        let statement =
            json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"});
        let text = json!({"Version": "2008-10-17", "Statement": statement}).to_string();
        let document = Document::read(&text).unwrap();
        let (mut base, own) = (Conditions::default(), Conditions::default());
        base.set("aws:username", "ann");
        let view = View::new(&base, &own);
        assert!(document.statements[0].concerns("s3:get", "arn:aws:s3:::${aws:username}", &view));
        assert!(!document.statements[0].concerns("s3:get", "arn:aws:s3:::ann", &view));
    }
}
