//! Filters of Describe calls: all must hold, one value of each is enough, `*` and `?` are wildcards.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Filter.html>

use crate::model::vpc::Refusal;
use fogbank_types::Tags;
use fogbank_wire::ec2::Filter;

/// Limits of one call.
const FILTERS_MAX: usize = 50;
const VALUES_MAX: usize = 200;

pub struct Filters(Vec<(String, Vec<Pattern>)>);

impl Filters {
    /// Names outside `known`, `tag:<key>`, `tag-key` and `tag-value` are refused.
    pub fn parse(given: Option<Vec<Filter>>, known: &[&str]) -> Result<Self, Refusal> {
        let given = given.unwrap_or_default();
        if given.len() > FILTERS_MAX {
            return Err(Refusal::FilterLimit);
        }
        let mut filters = Vec::with_capacity(given.len());
        for filter in given {
            let name = filter.name.ok_or(Refusal::MissingParameter {
                name: "Filter.Name",
            })?;
            let of_tags =
                matches!(name.as_str(), "tag-key" | "tag-value") || name.starts_with("tag:");
            if !of_tags && !known.contains(&name.as_str()) {
                return Err(Refusal::UnknownFilter { name });
            }
            let values = filter.values.unwrap_or_default();
            if values.len() > VALUES_MAX {
                return Err(Refusal::FilterLimit);
            }
            filters.push((
                name,
                values.iter().map(|value| Pattern::parse(value)).collect(),
            ));
        }
        Ok(Self(filters))
    }

    /// Whether a resource with those tags passes; `values` gives what it has under a filter's name.
    pub fn accept(&self, tags: &Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, patterns)| {
            let any = |value: &str| patterns.iter().any(|pattern| pattern.matches(value));
            match name.strip_prefix("tag:") {
                Some(key) => tags.get(key).is_some_and(|value| any(value)),
                None if name == "tag-key" => tags.keys().any(|key| any(key)),
                None if name == "tag-value" => tags.values().any(|value| any(value)),
                None => values(name).iter().any(|value| any(value)),
            }
        })
    }

    /// The plain values of a filter, for calls that check them.
    pub fn values_of<'a>(
        given: Option<&'a [Filter]>,
        name: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        given
            .unwrap_or_default()
            .iter()
            .filter(move |filter| filter.name.as_deref() == Some(name))
            .flat_map(|filter| filter.values.iter().flatten().map(String::as_str))
    }
}

/// A filter's value, case-sensitive.
struct Pattern(Vec<Part>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    This(char),
}

impl Pattern {
    /// A backslash takes a wildcard's meaning away.
    fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match chars.next_if(|next| matches!(next, '*' | '?' | '\\')) {
                    Some(escaped) => Part::This(escaped),
                    None => Part::This('\\'),
                },
                c => Part::This(c),
            });
        }
        Self(parts)
    }

    /// In time proportional to pattern times text, whatever the pattern.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.0.get(p) {
                Some(Part::Any) => {
                    retry = Some((p, t));
                    p += 1;
                }
                Some(Part::One) => (p, t) = (p + 1, t + 1),
                Some(Part::This(c)) if *c == text[t] => (p, t) = (p + 1, t + 1),
                _ => match retry {
                    Some((star, from)) => {
                        retry = Some((star, from + 1));
                        (p, t) = (star + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.0[p..].iter().all(|part| *part == Part::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(name: &str, values: &[&str]) -> Filter {
        let values = values.iter().map(|value| value.to_string()).collect();
        Filter {
            name: Some(name.to_owned()),
            values: Some(values),
        }
    }

    #[test]
    fn wildcards_match_as_in_aws() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "Web", false),
            ("web", "webs", false),
            ("w*", "web", true),
            ("*", "", true),
            ("?", "", false),
            ("w?b", "web", true),
            ("*b*b", "abcb", true),
            ("*b*b", "abc", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\?", "a?", true),
            ("a\\b", "a\\b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = Pattern::parse(&"*a".repeat(500));
        assert!(!pattern.matches(&"a".repeat(499)));
        assert!(pattern.matches(&"a".repeat(5000)));
    }

    #[test]
    fn all_filters_must_hold_and_one_value_of_each() {
        let tags = Tags::from([("Name".to_owned(), "web-1".to_owned())]);
        let values = |name: &str| {
            if name == "state" {
                vec!["available".to_owned()]
            } else {
                Vec::new()
            }
        };
        for (given, expected) in [
            (vec![], true),
            (vec![filter("state", &["pending", "available"])], true),
            (vec![filter("state", &["pending"])], false),
            (vec![filter("state", &[])], false),
            (
                vec![
                    filter("tag:Name", &["web-*"]),
                    filter("state", &["available"]),
                ],
                true,
            ),
            (
                vec![
                    filter("tag:Name", &["db-*"]),
                    filter("state", &["available"]),
                ],
                false,
            ),
            (vec![filter("tag:name", &["*"])], false),
            (vec![filter("tag-key", &["Na*"])], true),
        ] {
            let filters = Filters::parse(Some(given.clone()), &["state"]).unwrap();
            assert_eq!(filters.accept(&tags, values), expected, "{given:?}");
        }
    }

    #[test]
    fn unknown_names_and_too_many_are_refused() {
        let refused = |given| {
            Filters::parse(Some(given), &["state"])
                .map(drop)
                .unwrap_err()
        };
        assert_eq!(
            refused(vec![filter("nope", &["x"])]),
            Refusal::UnknownFilter {
                name: "nope".to_owned()
            }
        );
        assert_eq!(
            refused(vec![filter("state", &["x"]); 51]),
            Refusal::FilterLimit
        );
        assert_eq!(
            refused(vec![filter("state", &["x"; 201])]),
            Refusal::FilterLimit
        );
        assert_eq!(
            refused(vec![Filter::default()]),
            Refusal::MissingParameter {
                name: "Filter.Name"
            }
        );
    }
}
