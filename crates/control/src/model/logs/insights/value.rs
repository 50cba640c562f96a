//! What a field is.

use crate::model::cloudwatch::dates;
use std::cmp::Ordering;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Number(f64),
    Text(Arc<str>),
    Bool(bool),
    /// Milliseconds since 1970.
    Time(i64),
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Texts that are numbers count as numbers.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Time(ms) => Some(*ms as f64),
            Self::Text(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            Self::Null | Self::Bool(_) => None,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// As it stands in a result; none: it does not.
    pub fn show(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Number(number) => show_number(*number),
            Self::Text(text) => text.to_string(),
            Self::Bool(true) => "1".to_owned(),
            Self::Bool(false) => "0".to_owned(),
            Self::Time(ms) => show_time(*ms),
        })
    }

    /// Both as numbers if they are, or as texts. None if one is not there.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if let (Some(one), Some(other)) = (self.number(), other.number()) {
            return Some(one.total_cmp(&other));
        }
        Some(self.show()?.cmp(&other.show()?))
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 16,
            _ => 16,
        }
    }
}

/// Four digits behind the point at most.
fn show_number(number: f64) -> String {
    let rounded = (number * 1e4).round() / 1e4;
    if !rounded.is_finite() {
        return number.to_string();
    }
    match rounded == 0.0 {
        true => "0".to_owned(),
        false => rounded.to_string(),
    }
}

/// `2026-11-23 22:44:07.000`
fn show_time(ms: i64) -> String {
    let text = dates::long(ms);
    text.trim_end_matches("+0000").replace('T', " ")
}
