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
        "all" => all_words(value, |word| {
            let tags = row.tags.iter().flat_map(|(key, value)| [key, value]);
            tags.chain([&row.name])
                .chain(&row.description)
                .any(|text| has_words(text, word))
        }),
        _ => false,
    }
}

/// Parts between signs, and of those the parts that a new capital begins: `COMPANYThings` is `COMPANY` and `Things`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let between = |letter: char| " /_+=.@-!:".contains(letter);
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts.flat_map(|part| Humps { rest: part })
}

struct Humps<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Humps<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let letters: Vec<(usize, char)> = self.rest.char_indices().collect();
        let begins = |at: usize| {
            let is_upper = |at: usize| letters.get(at).is_some_and(|(_, c)| c.is_uppercase());
            let is_lower = |at: usize| letters.get(at).is_some_and(|(_, c)| c.is_lowercase());
            is_upper(at) && (!is_upper(at - 1) || is_lower(at + 1))
        };
        let end = (1..letters.len()).find(|at| begins(*at));
        let end = end.map_or(self.rest.len(), |at| letters[at].0);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Whether each word of `value` begins a word of the text, in whatever case.
fn has_words(text: &str, value: &str) -> bool {
    let begins = |word: &str, start: &str| {
        word.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    all_words(value, |start| words(text).any(|word| begins(word, start)))
}

/// Signs alone are nothing to look for.
fn all_words(value: &str, is_found: impl Fn(&str) -> bool) -> bool {
    let mut wanted = words(value).peekable();
    wanted.peek().is_some() && wanted.all(is_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As moto's authors found on AWS.
    #[test]
    fn words_begin_at_signs_and_capitals() {
        for (text, expected) in [
            ("prod/AppBeta+3f_x", vec!["prod", "App", "Beta", "3f", "x"]),
            ("SecretFTag", vec!["Secret", "F", "Tag"]),
            ("uat/COMPANY", vec!["uat", "COMPANY"]),
            ("COMPANYthings", vec!["COMPAN", "Ythings"]),
            ("Überwald", vec!["Überwald"]),
            ("+", vec![]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
