//! Dashboards: JSON that is kept as it came, and a word about what is odd in it.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>

use super::{Refusal, alarms};
use crate::model::Tx;
use fogbank_types::alarm::Dashboard;
use fogbank_types::{Scope, Tags};
use serde_json::Value;

const WIDGETS_MAX: usize = 500;
const BODY_MAX: usize = 1 << 20;

/// What is odd in a body: where, and why. A dashboard is kept in spite of it.
pub type Findings = Vec<(String, String)>;

pub fn put(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    body: &str,
    tags: Tags,
) -> Result<Findings, Refusal> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 255 || !name.chars().all(named) {
        return Err(Refusal::Dashboard(format!(
            "The value {name} for field DashboardName contains invalid characters. It can only contain alphanumerics, dash (-) and underscore (_).\n"
        )));
    }
    let findings = check(body)?;
    alarms::check_tags(&tags)?;
    let tags = match tx.snapshot().dashboards.get(scope, name) {
        Some(before) => before.tags.clone(),
        None => tags,
    };
    let modified_at = tx.now();
    tx.put(Dashboard {
        scope: scope.clone(),
        name: name.to_owned(),
        body: body.to_owned(),
        modified_at,
        tags,
    });
    Ok(findings)
}

fn refused(why: &str) -> Refusal {
    Refusal::Dashboard(format!(
        "The field DashboardBody must be a valid JSON object: {why}"
    ))
}

fn check(body: &str) -> Result<Findings, Refusal> {
    if body.len() > BODY_MAX {
        return Err(refused("it is longer than 1 MiB"));
    }
    let body: Value = serde_json::from_str(body).map_err(|_| refused("it is no JSON"))?;
    let body = body.as_object().ok_or_else(|| refused("it is no object"))?;
    let Some(widgets) = body.get("widgets") else {
        return Err(refused("it has no widgets"));
    };
    let widgets = widgets
        .as_array()
        .ok_or_else(|| refused("widgets is no array"))?;
    if widgets.len() > WIDGETS_MAX {
        return Err(refused("it has more than 500 widgets"));
    }
    let mut findings = Findings::new();
    for (index, widget) in widgets.iter().enumerate() {
        let mut found = |member: &str, why: &str| {
            findings.push((format!("/widgets/{index}{member}"), why.to_owned()));
        };
        match widget.get("type").and_then(Value::as_str) {
            Some("metric" | "text" | "log" | "alarm" | "explorer" | "custom" | "trace") => {}
            Some(_) => found("/type", "Should match exactly one schema in oneOf"),
            None => found("", "Should have required property 'type'"),
        }
        if widget.get("properties").is_none_or(|p| !p.is_object()) {
            found("", "Should have required property 'properties'");
        }
    }
    Ok(findings)
}

/// Deletes all of them or, if one is not there, none.
pub fn delete(tx: &mut Tx, scope: &Scope, names: &[String]) -> Result<(), Refusal> {
    if names.is_empty() {
        return Err(Refusal::Value(
            "The parameter DashboardNames must not be empty.".to_owned(),
        ));
    }
    if let Some(name) = names
        .iter()
        .find(|name| !tx.snapshot().dashboards.contains(scope, name))
    {
        return Err(not_found(name));
    }
    for name in names {
        tx.delete::<Dashboard>(scope, name);
    }
    Ok(())
}

pub fn not_found(name: &str) -> Refusal {
    Refusal::NotFound(format!("Dashboard {name} does not exist"))
}
