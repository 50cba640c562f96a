//! Filter patterns over plain text: terms that must, may or must not occur.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForLogEvents.html>
//!
//! JSON and space-delimited patterns are refused by name; they come later.

use super::{Refusal, invalid};

/// A pattern that was understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern {
    all: Vec<String>,
    /// `?term`: one of them, if there are no others.
    any: Vec<String>,
    none: Vec<String>,
}

impl Pattern {
    /// An empty pattern matches everything.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        if text.starts_with('{') || text.starts_with('[') || text.starts_with('%') {
            return Err(invalid(
                "JSON, space-delimited and regular expression filter patterns are not offered by this region yet.",
            ));
        }
        let mut pattern = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (list, after): (&mut Vec<String>, &str) = match rest.as_bytes()[0] {
                b'?' => (&mut pattern.any, &rest[1..]),
                b'-' => (&mut pattern.none, &rest[1..]),
                _ => (&mut pattern.all, rest),
            };
            let (term, left) = term(after)?;
            list.push(term);
            rest = left.trim_start();
        }
        Ok(pattern)
    }

    pub fn matches(&self, message: &str) -> bool {
        let has = |term: &String| message.contains(term.as_str());
        // Next to plain terms the optional ones decide nothing.
        let any = self.any.is_empty() || !self.all.is_empty() || self.any.iter().any(has);
        any && self.all.iter().all(has) && !self.none.iter().any(has)
    }
}

/// A quoted or a plain term, and what follows it.
fn term(text: &str) -> Result<(String, &str), Refusal> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (term, rest) = text.split_at(end);
        if term.is_empty() || term.contains('"') {
            return Err(invalid("Invalid filter pattern"));
        }
        return Ok((term.to_owned(), rest));
    };
    let mut term = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((term, &quoted[index + 1..])),
            '\\' => term.extend(characters.next().map(|(_, escaped)| escaped)),
            other => term.push(other),
        }
    }
    Err(invalid("Invalid filter pattern: a quote is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, message: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(message)
    }

    #[test]
    fn terms_must_may_and_must_not_occur() {
        assert!(matches("", "anything"));
        assert!(matches("ERROR", "an ERROR here") && !matches("ERROR", "an error here"));
        assert!(matches("a b", "b then a") && !matches("a b", "b"));
        assert!(matches("?a ?b", "b") && !matches("?a ?b", "c"));
        assert!(matches("ERROR -known", "ERROR new") && !matches("ERROR -known", "ERROR known"));
        assert!(
            matches("\"two words\"", "has two words") && !matches("\"two words\"", "words two")
        );
        assert!(matches(r#""say \"hi\"""#, r#"say "hi""#));
    }

    #[test]
    fn what_is_not_built_or_broken_is_refused() {
        for pattern in ["{ $.a = 1 }", "[a, b]", "%x%", "\"open", "? a"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in ".{0,40}", message in ".{0,40}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.matches(&message);
            }
        }
    }
}
