//! One condition on a value: a comparison with a text, a number or a regular expression.

use crate::model::logs::{Refusal, invalid};
use regex::bytes::Regex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, Clone)]
pub enum Operand {
    /// A text in which `*` stands for any.
    Text(Wild),
    /// A number, and how it is written.
    Number(f64, Wild),
    Regex(Regex),
}

impl Operand {
    pub fn text(text: &str) -> Self {
        Self::Text(Wild::new(text))
    }

    /// Without quotes it may be a number.
    pub fn plain(text: &str) -> Self {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Self::Number(number, Wild::new(text)),
            _ => Self::text(text),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Condition {
    operator: Operator,
    operand: Operand,
}

impl Condition {
    /// Only numbers are less or more.
    pub fn compare(operator: Operator, operand: Operand) -> Result<Self, Refusal> {
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        match is_equality || matches!(operand, Operand::Number(..)) {
            true => Ok(Self { operator, operand }),
            false => Err(invalid(
                "Invalid filter pattern: only numbers can be compared with <, >, <= and >=",
            )),
        }
    }

    pub fn holds(&self, value: &str) -> bool {
        let number = || value.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let equal = || match &self.operand {
            Operand::Text(wild) => wild.matches(value),
            Operand::Number(wanted, wild) => wild.matches(value) || number() == Some(*wanted),
            Operand::Regex(regex) => regex.is_match(value.as_bytes()),
        };
        let compared = |test: fn(f64, f64) -> bool| match &self.operand {
            Operand::Number(wanted, _) => number().is_some_and(|found| test(found, *wanted)),
            Operand::Text(_) | Operand::Regex(_) => false,
        };
        match self.operator {
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::Less => compared(|found, wanted| found < wanted),
            Operator::AtMost => compared(|found, wanted| found <= wanted),
            Operator::More => compared(|found, wanted| found > wanted),
            Operator::AtLeast => compared(|found, wanted| found >= wanted),
        }
    }
}

/// A text in which `*` stands for any number of characters.
#[derive(Debug, Clone)]
pub struct Wild {
    /// Between the stars; one part: no star.
    parts: Vec<String>,
}

impl Wild {
    pub fn new(text: &str) -> Self {
        Self {
            parts: text.split('*').map(str::to_owned).collect(),
        }
    }

    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|whole| whole == text);
        };
        // The first place for each part is the best one for those after it.
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}
