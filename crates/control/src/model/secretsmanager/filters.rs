//! By what lists of secrets are narrowed. Values are beginnings; one with `!` before it excludes.
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_search-secret.html>

use super::{Refusal, invalid};
use fogbank_types::secret::Secret;

#[derive(Clone, Debug)]
pub struct Filter {
    pub key: String,
    pub values: Vec<String>,
}

pub fn check(filters: &[Filter]) -> Result<(), Refusal> {
    const FILTERS_MAX: usize = 10;
    if filters.len() > FILTERS_MAX {
        return Err(invalid(format!(
            "You can't have more than {FILTERS_MAX} filters."
        )));
    }
    match filters.iter().find(|filter| filter.values.is_empty()) {
        None => Ok(()),
        Some(filter) => Err(invalid(format!(
            "Invalid filter values for key: {}",
            filter.key
        ))),
    }
}

pub fn matches(row: &Secret, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        let (without, with): (Vec<&str>, Vec<&str>) = filter
            .values
            .iter()
            .map(String::as_str)
            .partition(|value| value.starts_with('!'));
        let excluded = without
            .iter()
            .any(|value| one(row, &filter.key, &value[1..]));
        !excluded && (with.is_empty() || with.iter().any(|value| one(row, &filter.key, value)))
    })
}

fn one(row: &Secret, key: &str, value: &str) -> bool {
    match key {
        "name" => row.name.starts_with(value),
        "description" => row
            .description
            .as_deref()
            .is_some_and(|text| has_words(text, value)),
        "tag-key" => row.tags.keys().any(|key| key.starts_with(value)),
        "tag-value" => row.tags.values().any(|tag| tag.starts_with(value)),
        "primary-region" => row.scope.region.starts_with(value),
        // None is another service's.
        "owning-service" => false,
        // Each word of the value, anywhere.
        "all" => words(value).all(|word| {
            let tags = row.tags.iter().flat_map(|(key, value)| [key, value]);
            tags.chain([&row.name])
                .chain(&row.description)
                .any(|text| has_words(text, word))
        }),
        _ => false,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let between = |letter: char| " /_+=.@-!:".contains(letter);
    text.split(between).filter(|word| !word.is_empty())
}

/// Whether each word of `value` begins a word of the text, in whatever case.
fn has_words(text: &str, value: &str) -> bool {
    let begins = |word: &str, start: &str| {
        word.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    words(value).all(|start| words(text).any(|word| begins(word, start)))
}
