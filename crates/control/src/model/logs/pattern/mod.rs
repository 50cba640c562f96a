//! Filter patterns: which log events a caller means, and what values are in them.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>
//!
//! A pattern is one of four: terms that must, may or must not occur; one regular expression; conditions on the fields of
//! a JSON event (`{ $.status >= 500 }`); conditions on the words of an event (`[ip, ..., status = 4*]`).
//!
//! What must stay true: a pattern costs time in proportion to the event, and a bounded amount of memory, whoever wrote
//! it. An event that is not of the pattern's form (no JSON, another number of words) does not match.

mod condition;
mod json;
mod scan;
mod words;

use super::{Refusal, invalid};
use json::Json;
use regex::bytes::Regex;
use scan::Scanner;
use std::borrow::Cow;
use std::collections::BTreeMap;
use words::Words;

/// Longest pattern.
pub const LENGTH_MAX: usize = 1024;

/// A pattern that was understood.
#[derive(Debug, Clone)]
pub struct Pattern {
    kind: Kind,
    regexes: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    Terms(Terms),
    Regex(Regex),
    Json(Json),
    Words(Words),
}

/// An event that a pattern has matched.
#[derive(Debug)]
pub enum Matched<'a> {
    Plain,
    Json(serde_json::Value),
    /// The words by the names that the pattern gives them, `$status`, or by number, `$3`.
    Words(Vec<(String, &'a str)>),
}

impl Matched<'_> {
    /// The value at `$.field` or `$name`; none if the event has none, or one that is not a plain value.
    pub fn get(&self, selector: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Plain => None,
            Self::Json(event) => json::Selector::parse(selector).ok()?.text(event),
            Self::Words(words) => {
                let word = words.iter().find(|(name, _)| name == selector)?;
                Some(Cow::Borrowed(word.1))
            }
        }
    }
}

impl Pattern {
    /// An empty pattern matches everything.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.chars().count() > LENGTH_MAX {
            return Err(invalid(
                "1 validation error detected: Value at 'filterPattern' failed to satisfy constraint: Member must have length less than or equal to 1024",
            ));
        }
        let text = text.trim();
        let mut scanner = Scanner::new(text);
        let kind = match text.as_bytes().first() {
            Some(b'{') => Kind::Json(Json::parse(&mut scanner)?),
            Some(b'[') => Kind::Words(Words::parse(&mut scanner)?),
            Some(b'%') => Kind::Regex(scanner.regex()?),
            _ => Kind::Terms(Terms::parse(&mut scanner)?),
        };
        scanner.end()?;
        Ok(Self {
            kind,
            regexes: scanner.regexes(),
        })
    }

    /// Whether a regular expression is in it: a log group takes five such filters.
    pub fn has_regex(&self) -> bool {
        self.regexes > 0
    }

    pub fn matches(&self, message: &str) -> bool {
        match &self.kind {
            Kind::Terms(terms) => terms.match_in(message),
            Kind::Regex(regex) => regex.is_match(message.as_bytes()),
            Kind::Json(_) | Kind::Words(_) => self.read(message).is_some(),
        }
    }

    /// Matches, and keeps what values are to be read from. A pattern of terms matches an event of JSON all the same,
    /// and its fields can be read.
    pub fn read<'a>(&self, message: &'a str) -> Option<Matched<'a>> {
        match &self.kind {
            Kind::Terms(_) | Kind::Regex(_) => self
                .matches(message)
                .then(|| json::object(message).map_or(Matched::Plain, Matched::Json)),
            Kind::Json(json) => {
                let event = json::object(message)?;
                json.holds(&event).then_some(Matched::Json(event))
            }
            Kind::Words(words) => words.read(message).map(Matched::Words),
        }
    }

    /// What TestMetricFilter shows of an event: the words, or the fields that the pattern names. None: no match.
    pub fn extract(&self, message: &str) -> Option<BTreeMap<String, String>> {
        let matched = self.read(message)?;
        Some(match (&self.kind, &matched) {
            (Kind::Json(json), Matched::Json(event)) => json.values(event),
            (_, Matched::Words(words)) => words
                .iter()
                .map(|(name, word)| (name.clone(), (*word).to_owned()))
                .collect(),
            _ => BTreeMap::new(),
        })
    }

    /// Whether a metric's value or dimension can be read at this selector: `$.field` for JSON, one of its words' names
    /// for a pattern of words.
    pub fn offers(&self, selector: &str) -> bool {
        match &self.kind {
            Kind::Words(words) => words.offers(selector),
            Kind::Terms(_) | Kind::Regex(_) | Kind::Json(_) => {
                json::Selector::parse(selector).is_ok()
            }
        }
    }
}

/// Terms over plain text.
#[derive(Debug, Clone, Default)]
struct Terms {
    all: Vec<String>,
    /// `?term`: one of them, if there are no others.
    any: Vec<String>,
    none: Vec<String>,
}

impl Terms {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        let mut terms = Self::default();
        while !scanner.is_at_end() {
            let (mark, list) = match scanner.peek() {
                Some('?') => ("?", &mut terms.any),
                Some('-') => ("-", &mut terms.none),
                _ => ("", &mut terms.all),
            };
            scanner.eat(mark);
            list.push(scanner.term()?);
        }
        Ok(terms)
    }

    fn match_in(&self, message: &str) -> bool {
        let has = |term: &String| message.contains(term.as_str());
        // Next to plain terms the optional ones decide nothing.
        let any = self.any.is_empty() || !self.all.is_empty() || self.any.iter().any(has);
        any && self.all.iter().all(has) && !self.none.iter().any(has)
    }
}

#[cfg(test)]
mod tests;
