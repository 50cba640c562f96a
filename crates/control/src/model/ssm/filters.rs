//! By what lists of parameters are narrowed.
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html>

use super::{Refusal, invalid, names};
use fogbank_types::ssm::{Parameter, ParameterKind};
use std::collections::BTreeSet;

/// As given.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub key: String,
    pub option: Option<String>,
    pub values: Vec<String>,
}

/// Which call's filters they are: not every call takes every key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Describe,
    ByPath,
}

impl Call {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Describe => &["Path", "Name", "Type", "KeyId", "Tier", "DataType"],
            Self::ByPath => &["Type", "KeyId", "Label"],
        }
    }
}

pub fn check(call: Call, filters: &[Filter]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for filter in filters {
        let key = filter.key.as_str();
        let is_tag = call == Call::Describe && key.starts_with("tag:");
        if !is_tag && !call.keys().contains(&key) {
            return Err(Refusal::FilterKey(format!(
                "The following filter key is not valid: {key}. Valid filter keys include: [{}].",
                call.keys().join(", ")
            )));
        }
        if !is_tag && filter.values.is_empty() {
            return Err(Refusal::FilterValue(format!(
                "The following filter values are missing : null for filter key {key}."
            )));
        }
        if !seen.insert(key) {
            return Err(Refusal::FilterKey(format!(
                "The following filter is duplicated in the request: {key}. A request can contain only one occurrence of a specific filter."
            )));
        }
        check_option(filter)?;
        check_values(filter)?;
    }
    Ok(())
}

fn check_option(filter: &Filter) -> Result<(), Refusal> {
    let options: &[&str] = match filter.key.as_str() {
        "Path" => &["Recursive", "OneLevel"],
        "Name" => &["BeginsWith", "Equals", "Contains"],
        key if key.starts_with("tag:") => &["Equals"],
        _ => &["Equals", "BeginsWith"],
    };
    match &filter.option {
        Some(option) if !options.contains(&option.as_str()) => Err(Refusal::FilterOption(format!(
            "The following filter option is not valid: {option}. Valid options include: [{}].",
            options.join(", ")
        ))),
        _ => Ok(()),
    }
}

fn check_values(filter: &Filter) -> Result<(), Refusal> {
    let known: &[&str] = match filter.key.as_str() {
        "Type" => &["String", "StringList", "SecureString"],
        "Tier" => &["Standard", "Advanced", "Intelligent-Tiering"],
        _ => &[],
    };
    for value in &filter.values {
        if !known.is_empty() && !known.contains(&value.as_str()) {
            return Err(Refusal::FilterOption(format!(
                "The following filter value is not valid: {value}. Valid values include: [{}]",
                known.join(", ")
            )));
        }
        let bare = value.trim_start_matches('/').to_ascii_lowercase();
        match filter.key.as_str() {
            "Path" if bare.starts_with("aws") || bare.starts_with("ssm") => {
                return Err(invalid(
                    "Filters for common parameters can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
                ));
            }
            "Path" => names::check_path(value)?,
            "Name" if value.contains("//") => return Err(invalid(names::PATH_FORM)),
            _ => {}
        }
    }
    Ok(())
}

pub fn matches(row: &Parameter, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| one(row, filter))
}

fn one(row: &Parameter, filter: &Filter) -> bool {
    let Some(latest) = row.latest() else {
        return false;
    };
    let any = |test: &dyn Fn(&str) -> bool| filter.values.iter().any(|value| test(value));
    let by_option = |text: &str| match filter.option.as_deref() {
        Some("BeginsWith") => any(&|value| text.starts_with(value)),
        Some("Contains") => any(&|value| text.contains(value)),
        _ => any(&|value| text == value),
    };
    match filter.key.as_str() {
        "Path" => {
            let recursive = filter.option.as_deref() == Some("Recursive");
            any(&|value| names::is_under(&row.name, value, recursive))
        }
        // A slash in front may be left out on either side.
        "Name" => match filter.option.as_deref() {
            Some("Contains") => by_option(&row.name),
            option => any(&|value| {
                let (value, name) = (
                    value.trim_start_matches('/'),
                    row.name.trim_start_matches('/'),
                );
                match option {
                    Some("BeginsWith") => name.starts_with(value),
                    _ => name == value,
                }
            }),
        },
        "Type" => by_option(kind_text(latest.kind)),
        "KeyId" => latest.key_id.as_deref().is_some_and(by_option),
        "Tier" => by_option(&latest.tier),
        "DataType" => by_option(&latest.data_type),
        "Label" => row
            .versions
            .iter()
            .any(|version| version.labels.iter().any(|label| by_option(label))),
        key => key.strip_prefix("tag:").is_some_and(|tag| {
            row.tags
                .get(tag)
                .is_some_and(|value| filter.values.is_empty() || by_option(value))
        }),
    }
}

pub fn kind_text(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::String => "String",
        ParameterKind::StringList => "StringList",
        ParameterKind::SecureString => "SecureString",
    }
}
