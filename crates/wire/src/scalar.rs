//! Scalars as text: what forms, XML and HTTP labels hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::schema::{Kind, Schema};
use crate::time;
use crate::value::Value;

/// Where the text stands: XML may have white space around a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    Form,
    Xml,
}

/// Reads a scalar of a schema; what was expected, if the text is none. Nothing is rounded,
/// widened or defaulted.
pub fn parse(schema: &Schema, text: &str, from: Text) -> Result<Value, &'static str> {
    let trimmed = if from == Text::Xml { text.trim() } else { text };
    match schema.kind {
        Kind::String { .. } => Ok(Value::String(text.to_owned())),
        Kind::Boolean => match trimmed {
            "true" | "True" | "TRUE" => Ok(Value::Boolean(true)),
            "false" | "False" | "FALSE" => Ok(Value::Boolean(false)),
            _ => Err("a boolean"),
        },
        Kind::Integer => match whole(trimmed) {
            Some(number) if i32::try_from(number).is_ok() => Ok(Value::Integer(number)),
            _ => Err("an integer"),
        },
        Kind::Long => whole(trimmed).map(Value::Integer).ok_or("an integer"),
        Kind::Double => double(trimmed).map(Value::Double).ok_or("a number"),
        Kind::Timestamp => time::parse_iso8601(trimmed)
            .map(Value::Timestamp)
            .ok_or("a timestamp"),
        Kind::Blob => match STANDARD.decode(trimmed) {
            Ok(bytes) => Ok(Value::Blob(bytes.into())),
            Err(_) => Err("base64"),
        },
        Kind::Structure(_) | Kind::List { .. } | Kind::Map { .. } | Kind::Document => {
            Err("a structured value")
        }
    }
}

fn whole(text: &str) -> Option<i64> {
    // `parse` takes a plus sign, AWS does not.
    if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => {
            let plain = text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            text.parse()
                .ok()
                .filter(|number: &f64| plain && number.is_finite())
        }
    }
}

/// A scalar as text; nothing for a container.
pub fn format(value: &Value) -> Option<String> {
    match value {
        Value::Boolean(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Double(value) => Some(format_double(*value)),
        Value::String(value) => Some(value.clone()),
        Value::Timestamp(value) => Some(time::iso8601(*value)),
        Value::Blob(value) => Some(STANDARD.encode(value)),
        _ => None,
    }
}

pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        // Always with a fraction or an exponent, so that it reads as a double.
        format!("{value:?}")
    }
}
