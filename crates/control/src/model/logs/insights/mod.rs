//! CloudWatch Logs Insights: queries over log events.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html>
//!
//! A query is commands joined by `|`. `parser` reads it, `run` takes events in one by one and gives the result at the end.
//! What must stay true: memory and time are bounded whatever the query says; a query that is not understood is refused
//! with the place where it went wrong.
//!
//! Not offered, and refused by name: `pattern`, `diff`, `anomaly`, `unnest`, `lookup`, `join`, `unmask`, `filterIndex`,
//! `SOURCE`, `jsonParse` and `if`.

mod aggregate;
mod expression;
mod functions;
mod lexer;
mod parser;
mod run;
mod value;

use expression::Expression;
use regex::bytes::Regex;

pub use run::{Event, Overflow, Run};

/// Rows of a result, unless the query asks for fewer.
pub const ROWS_MAX: usize = 10_000;

/// Why a query is none, and which characters are to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    pub message: String,
    pub start: usize,
    /// Exclusive.
    pub end: usize,
}

/// A query that was understood.
#[derive(Debug, Clone)]
pub struct Query {
    commands: Vec<Command>,
}

/// An expression and the name of its column.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    expression: Expression,
}

#[derive(Debug, Clone)]
enum Command {
    Fields(Vec<Column>),
    Display(Vec<Column>),
    Filter(Expression),
    Parse {
        from: Expression,
        with: Extraction,
    },
    Stats {
        columns: Vec<Column>,
        by: Vec<Column>,
    },
    /// True: descending.
    Sort(Vec<(Expression, bool)>),
    Limit(usize),
    Dedup(Vec<Column>),
}

/// How `parse` takes a text apart.
#[derive(Debug, Clone)]
enum Extraction {
    /// Texts around the stars, and the stars' names.
    Glob(Vec<String>, Vec<String>),
    /// By named groups.
    Regex(Regex),
}

impl Query {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let commands = parser::parse(text)?;
        Ok(Self { commands })
    }
}

#[cfg(test)]
mod tests;
