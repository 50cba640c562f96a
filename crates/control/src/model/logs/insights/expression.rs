//! Expressions on one row's fields.

use super::aggregate::Aggregate;
use super::functions::Function;
use super::value::Value;
use regex::bytes::Regex;
use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub enum Expression {
    Constant(Value),
    Field(String),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Like(Box<Self>, Likeness),
    In(Box<Self>, Vec<Self>),
    Arithmetic(Operation, Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
    /// One of the group's aggregates, by number. In `stats` only.
    Aggregate(Box<Aggregate>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

#[derive(Debug, Clone)]
pub enum Likeness {
    Text(String),
    Regex(Regex),
}

/// Where fields come from.
pub trait Fields {
    fn field(&self, name: &str) -> Value;
    /// What an aggregate of the group has come to.
    fn aggregate(&self, _: &Aggregate) -> Value {
        Value::Null
    }
}

impl Expression {
    pub fn evaluate(&self, row: &dyn Fields) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Field(name) => row.field(name),
            Self::Not(inner) => Value::Bool(!inner.evaluate(row).is_true()),
            Self::And(one, other) => {
                Value::Bool(one.evaluate(row).is_true() && other.evaluate(row).is_true())
            }
            Self::Or(one, other) => {
                Value::Bool(one.evaluate(row).is_true() || other.evaluate(row).is_true())
            }
            Self::Compare(comparison, one, other) => {
                Value::Bool(comparison.holds(&one.evaluate(row), &other.evaluate(row)))
            }
            Self::Like(inner, likeness) => Value::Bool(
                inner
                    .evaluate(row)
                    .show()
                    .is_some_and(|text| likeness.holds(&text)),
            ),
            Self::In(inner, list) => {
                let value = inner.evaluate(row);
                let same = |item: &Self| Comparison::Equal.holds(&value, &item.evaluate(row));
                Value::Bool(list.iter().any(same))
            }
            Self::Arithmetic(operation, one, other) => {
                match (one.evaluate(row).number(), other.evaluate(row).number()) {
                    (Some(one), Some(other)) => finite(operation.apply(one, other)),
                    _ => Value::Null,
                }
            }
            Self::Call(function, arguments) => {
                let values: Vec<Value> = arguments.iter().map(|a| a.evaluate(row)).collect();
                function.call(&values, row)
            }
            Self::Aggregate(aggregate) => row.aggregate(aggregate),
        }
    }

    /// Visits the aggregates in it.
    pub fn aggregates<'a>(&'a self, visit: &mut impl FnMut(&'a Aggregate)) {
        match self {
            Self::Constant(_) | Self::Field(_) => {}
            Self::Not(inner) | Self::Like(inner, _) => inner.aggregates(visit),
            Self::And(one, other)
            | Self::Or(one, other)
            | Self::Compare(_, one, other)
            | Self::Arithmetic(_, one, other) => {
                one.aggregates(visit);
                other.aggregates(visit);
            }
            Self::In(inner, list) => {
                inner.aggregates(visit);
                for item in list {
                    item.aggregates(visit);
                }
            }
            Self::Call(_, arguments) => {
                for argument in arguments {
                    argument.aggregates(visit);
                }
            }
            Self::Aggregate(aggregate) => visit(aggregate),
        }
    }
}

/// What is no number is nothing.
pub fn finite(number: f64) -> Value {
    match number.is_finite() {
        true => Value::Number(number),
        false => Value::Null,
    }
}

impl Comparison {
    /// What is not there is unlike everything, and neither less nor more.
    fn holds(self, one: &Value, other: &Value) -> bool {
        let order = one.compare(other);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::More => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Operation {
    fn apply(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Add => one + other,
            Self::Subtract => one - other,
            Self::Multiply => one * other,
            Self::Divide => one / other,
            Self::Remainder => one % other,
            Self::Power => one.powf(other),
        }
    }
}

impl Likeness {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Text(part) => text.contains(part.as_str()),
            Self::Regex(regex) => regex.is_match(text.as_bytes()),
        }
    }
}
