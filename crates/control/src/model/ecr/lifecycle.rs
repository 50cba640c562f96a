//! Lifecycle policies: what a text says, and which images it expires now. Pure.
//!
//! Called by `policies` when a policy is put, by the preview operations and by the worker `image_expiry`.
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>,
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html> (evaluation rules)

use super::tag_pattern;
use fogbank_types::Timestamp;
use fogbank_types::ecr::Image;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most wildcards in one pattern.
const WILDCARDS_MAX: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub priority: u64,
    tags: TagSelection,
    count: Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TagSelection {
    Any,
    Untagged,
    /// Each of the patterns is matched by one of the image's tags.
    Patterns(Vec<String>),
    Prefixes(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    MoreThan(usize),
    DaysSincePush(u64),
}

/// An image and the rule that expires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    pub digest: String,
    pub rule_priority: u64,
}

/// Reads a policy; the error is AWS's text behind "Lifecycle policy validation failure: ".
pub fn read(text: &str) -> Result<Vec<Rule>, String> {
    let document = match serde_json::from_str(text) {
        Ok(Value::Object(document)) => document,
        _ => return Err("Could not map policyString into LifecyclePolicy.".to_owned()),
    };
    let Some(Value::Array(list)) = document.get("rules") else {
        return Err(missing(&["rules"]));
    };
    if list.is_empty() {
        return Err(
            "array is too short: must have at least 1 elements but instance has 0 elements"
                .to_owned(),
        );
    }
    let mut rules = list
        .iter()
        .map(read_rule)
        .collect::<Result<Vec<_>, String>>()?;
    check_together(&rules)?;
    rules.sort_by_key(|rule| rule.priority);
    Ok(rules)
}

fn missing(names: &[&str]) -> String {
    format!(
        "object has missing required properties ({})",
        Value::from(names)
    )
}

/// An object that has all of `required` and nothing besides but `optional`. Both are sorted.
fn object<'a>(
    value: &'a Value,
    required: &[&str],
    optional: &[&str],
) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(object) = value else {
        let kind = match value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "integer",
            Value::Bool(_) => "boolean",
            _ => "null",
        };
        return Err(format!(
            "instance type ({kind}) does not match any allowed primitive type (allowed: [\"object\"])"
        ));
    };
    let absent: Vec<&str> = required
        .iter()
        .copied()
        .filter(|name| !object.contains_key(*name))
        .collect();
    if !absent.is_empty() {
        return Err(missing(&absent));
    }
    match object
        .keys()
        .find(|key| !required.contains(&key.as_str()) && !optional.contains(&key.as_str()))
    {
        Some(key) => Err(format!(
            "object instance has properties which are not allowed by the schema: ([\"{key}\"])"
        )),
        None => Ok(object),
    }
}

/// A text that is one of these.
fn one_of<'a>(value: &'a Value, known: &[&str]) -> Result<&'a str, String> {
    match value.as_str() {
        Some(text) if known.contains(&text) => Ok(text),
        _ => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            Err(format!(
                "instance value ({text}) not found in enum :(possible values: {})",
                Value::from(known)
            ))
        }
    }
}

fn positive(value: &Value) -> Result<u64, String> {
    match value.as_u64() {
        Some(number) if number > 0 => Ok(number),
        _ if value.is_i64() => Err(format!(
            "numeric instance is lower than the required minimum (minimum: 1, found: {value})"
        )),
        _ => Err(
            "instance type (string) does not match any allowed primitive type (allowed: [\"integer\"])"
                .to_owned(),
        ),
    }
}

fn read_rule(value: &Value) -> Result<Rule, String> {
    let rule = object(
        value,
        &["action", "rulePriority", "selection"],
        &["description"],
    )?;
    let action = object(&rule["action"], &["type"], &["targetStorageClass"])?;
    if action["type"] == "transition" {
        return Err(not_offered("The action transition"));
    }
    one_of(&action["type"], &["expire"])?;
    let selection = object(
        &rule["selection"],
        &["countNumber", "countType", "tagStatus"],
        &[
            "countUnit",
            "storageClass",
            "tagPatternList",
            "tagPrefixList",
        ],
    )?;
    if selection
        .get("storageClass")
        .is_some_and(|class| class != "standard")
    {
        return Err(not_offered("The storage class archive"));
    }
    Ok(Rule {
        priority: positive(&rule["rulePriority"])?,
        tags: read_tags(selection)?,
        count: read_count(selection)?,
    })
}

fn not_offered(what: &str) -> String {
    format!("{what} is not offered by this region yet")
}

fn read_tags(selection: &Map<String, Value>) -> Result<TagSelection, String> {
    let status = one_of(&selection["tagStatus"], &["any", "tagged", "untagged"])?;
    let list = |key: &str| -> Result<Vec<String>, String> {
        let texts = match selection.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)),
            Some(_) => return Err(format!("{key} must be a list of strings")),
        };
        let texts: Option<Vec<String>> = texts.collect();
        texts
            .filter(|texts| texts.iter().all(|text| !text.is_empty()))
            .ok_or_else(|| format!("{key} must be a list of strings"))
    };
    let (patterns, prefixes) = (list("tagPatternList")?, list("tagPrefixList")?);
    if let Some(pattern) = patterns
        .iter()
        .find(|pattern| pattern.matches('*').count() > WILDCARDS_MAX)
    {
        return Err(format!(
            "tagPatternList value '{pattern}' has more than {WILDCARDS_MAX} wildcards"
        ));
    }
    match (status, patterns.is_empty(), prefixes.is_empty()) {
        ("tagged", false, true) => Ok(TagSelection::Patterns(patterns)),
        ("tagged", true, false) => Ok(TagSelection::Prefixes(prefixes)),
        ("untagged", true, true) => Ok(TagSelection::Untagged),
        ("any", true, true) => Ok(TagSelection::Any),
        ("tagged", false, false) => {
            Err("only one of tagPatternList and tagPrefixList can be specified".to_owned())
        }
        _ => Err(
            "tagPrefixList or tagPatternList is required if and only if tagStatus is tagged"
                .to_owned(),
        ),
    }
}

fn read_count(selection: &Map<String, Value>) -> Result<Count, String> {
    let kind = &selection["countType"];
    if kind == "sinceImagePulled" || kind == "sinceImageTransitioned" {
        return Err(not_offered("The count type"));
    }
    let kind = match kind.as_str() {
        Some(kind @ ("imageCountMoreThan" | "sinceImagePushed")) => kind,
        _ => {
            return Err(
                "instance failed to match exactly one schema (matched 0 out of 2)".to_owned(),
            );
        }
    };
    let unit = selection.get("countUnit");
    if let Some(unit) = unit {
        one_of(unit, &["days"])?;
    }
    let number = positive(&selection["countNumber"])?;
    match (kind, unit) {
        ("sinceImagePushed", Some(_)) => Ok(Count::DaysSincePush(number)),
        ("sinceImagePushed", None) => Err(missing(&["countUnit"])),
        (_, Some(_)) => Err("countUnit is only allowed with countType sinceImagePushed".to_owned()),
        (_, None) => Ok(Count::MoreThan(
            usize::try_from(number).unwrap_or(usize::MAX),
        )),
    }
}

fn check_together(rules: &[Rule]) -> Result<(), String> {
    let mut priorities = BTreeSet::new();
    if let Some(rule) = rules.iter().find(|rule| !priorities.insert(rule.priority)) {
        return Err(format!("Duplicate rule priority {}", rule.priority));
    }
    let of = |kind: &TagSelection| rules.iter().filter(|rule| rule.tags == *kind).count();
    if of(&TagSelection::Any) > 1 || of(&TagSelection::Untagged) > 1 {
        return Err("There can be only one rule for untagged and one for any images".to_owned());
    }
    let last = rules.iter().map(|rule| rule.priority).max();
    match rules.iter().find(|rule| rule.tags == TagSelection::Any) {
        Some(any) if Some(any.priority) != last => {
            Err("The rule with tagStatus any must have the highest rulePriority".to_owned())
        }
        _ => Ok(()),
    }
}

impl Rule {
    fn selects(&self, image: &Image) -> bool {
        let tags = &image.image_tags;
        match &self.tags {
            TagSelection::Any => true,
            TagSelection::Untagged => tags.is_empty(),
            TagSelection::Patterns(all) => all
                .iter()
                .all(|one| tags.iter().any(|tag| tag_pattern::matches(one, tag))),
            TagSelection::Prefixes(all) => all
                .iter()
                .all(|one| tags.iter().any(|tag| tag.starts_with(one.as_str()))),
        }
    }
}

/// The images that a policy expires: each by at most one rule, never by one of lower priority than another that selects
/// it, and none that an index still names. A rule counts images that a rule before it expires as if they were there.
/// `day_ms` is a day's length.
pub fn expiring(
    rules: &[Rule],
    images: &[Arc<Image>],
    now: Timestamp,
    day_ms: u64,
) -> Vec<Expiring> {
    let named: BTreeSet<&str> = images
        .iter()
        .flat_map(|image| image.manifests.iter().map(String::as_str))
        .collect();
    let mut taken: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for rule in rules {
        let mut selected: Vec<&Arc<Image>> =
            images.iter().filter(|image| rule.selects(image)).collect();
        // The newest first; images of one instant by digest, so that each evaluation says the same.
        selected.sort_by(|a, b| (b.pushed_at, &b.digest).cmp(&(a.pushed_at, &a.digest)));
        for (index, image) in selected.into_iter().enumerate() {
            let over = match rule.count {
                Count::MoreThan(most) => index >= most,
                Count::DaysSincePush(days) => {
                    let age_ms = u64::try_from(now.0 - image.pushed_at.0).unwrap_or(0);
                    age_ms >= days.saturating_mul(day_ms)
                }
            };
            taken.entry(&image.digest).or_insert(
                (over && !named.contains(image.digest.as_str())).then_some(rule.priority),
            );
        }
    }
    let expired = taken.into_iter().filter_map(|(digest, priority)| {
        Some(Expiring {
            digest: digest.to_owned(),
            rule_priority: priority?,
        })
    });
    expired.collect()
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
