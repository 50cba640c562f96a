//! awsJson 1.0 and 1.1: objects to values and back.
//!
//! Reading follows the schema while the bytes are parsed: an unknown member is skipped without
//! being kept, a member that stands twice is refused. Depth is bounded by serde_json (128).
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::Malformed;
use crate::scalar;
use crate::schema::{Kind, Schema};
use crate::value::Value;

/// PutMetricData takes 1,000 metrics of 30 dimensions each, the most of any operation.
const MAX_CONTAINERS: usize = 40_000;

/// Reads a body as the input of an operation. No body at all is an empty object.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Value, Malformed> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let left = Cell::new(MAX_CONTAINERS);
    let value = Seed {
        schema,
        left: &left,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value))
    .map_err(|error| Malformed::Syntax(error.to_string()))?;
    if value.is_null() {
        return Err(Malformed::Syntax("null is no request".to_owned()));
    }
    Ok(value)
}

/// Reads one value of a schema; `null` is an absent one.
struct Seed<'s> {
    schema: &'s Schema,
    /// How many containers the request may still have.
    left: &'s Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if matches!(self.schema.kind, Kind::Document) {
            return serde_json::Value::deserialize(reader).map(Value::Document);
        }
        reader.deserialize_any(Reader(self.schema, self.left))
    }
}

struct Reader<'s>(&'s Schema, &'s Cell<usize>);

/// `{}` is two bytes and a structure of fifty members two kilobytes: their number is bounded.
fn take_container<E: Error>(left: &Cell<usize>) -> Result<(), E> {
    match left.get().checked_sub(1) {
        Some(fewer) => {
            left.set(fewer);
            Ok(())
        }
        None => Err(E::custom("more objects and arrays than any request has")),
    }
}

/// What AWS's JSON services say of a value in the wrong place.
fn misplaced<E: Error>(found: &str, schema: &Schema) -> E {
    let wanted = match schema.kind {
        Kind::Structure(_) => "a structure",
        Kind::List { .. } => "a list",
        Kind::Map { .. } => "a map",
        Kind::String { .. } => "a String",
        Kind::Boolean => "a Boolean",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Double => "a Double",
        Kind::Timestamp => "a Timestamp",
        Kind::Blob => "a Blob",
        Kind::Document => "a document",
    };
    E::custom(format_args!("{found} can not be converted to {wanted}"))
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.0.kind {
            Kind::Boolean => Ok(Value::Boolean(value)),
            _ if value => Err(misplaced("TRUE_VALUE", self.0)),
            _ => Err(misplaced("FALSE_VALUE", self.0)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        match self.0.kind {
            Kind::Integer if i32::try_from(value).is_ok() => Ok(Value::Integer(value)),
            Kind::Long => Ok(Value::Integer(value)),
            Kind::Double => Ok(Value::Double(value as f64)),
            Kind::Timestamp => match value.checked_mul(1_000) {
                Some(ms) => Ok(Value::Timestamp(Timestamp(ms))),
                None => Err(misplaced("NUMBER_VALUE", self.0)),
            },
            _ => Err(misplaced("NUMBER_VALUE", self.0)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // Whole numbers may come as 5.0; past 2^53 a double is no longer exact.
        let exact = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        match self.0.kind {
            Kind::Double => Ok(Value::Double(value)),
            Kind::Timestamp if value.abs() < 9_000_000_000_000.0 => Ok(Value::Timestamp(
                Timestamp((value * 1_000.0).round() as i64),
            )),
            Kind::Integer | Kind::Long if exact => self.visit_i64(value as i64),
            _ => Err(misplaced("NUMBER_VALUE", self.0)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        match self.0.kind {
            Kind::String { .. } => Ok(Value::String(value.to_owned())),
            Kind::Blob => match STANDARD.decode(value) {
                Ok(bytes) => Ok(Value::Blob(bytes.into())),
                Err(_) => Err(E::custom("a blob that is not base64")),
            },
            Kind::Double => match value {
                "NaN" => Ok(Value::Double(f64::NAN)),
                "Infinity" => Ok(Value::Double(f64::INFINITY)),
                "-Infinity" => Ok(Value::Double(f64::NEG_INFINITY)),
                _ => Err(misplaced("STRING_VALUE", self.0)),
            },
            _ => Err(misplaced("STRING_VALUE", self.0)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let Kind::List { element, .. } = self.0.kind else {
            return Err(misplaced("START_ARRAY", self.0));
        };
        take_container(self.1)?;
        let seed = || Seed {
            schema: element,
            left: self.1,
        };
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(seed())? {
            if item.is_null() {
                return Err(A::Error::custom("null in a list"));
            }
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        take_container(self.1)?;
        let seed = |schema| Seed {
            schema,
            left: self.1,
        };
        match self.0.kind {
            Kind::Structure(members) => {
                let mut values = vec![Value::Null; members.len()];
                let mut seen = vec![false; members.len()];
                while let Some(key) = object.next_key::<Key<'de>>()? {
                    let Some(at) = members.iter().position(|member| member.input_name == key.0)
                    else {
                        object.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if std::mem::replace(&mut seen[at], true) {
                        return Err(A::Error::custom(format_args!("{} stands twice", key.0)));
                    }
                    values[at] = object.next_value_seed(seed(members[at].schema))?;
                }
                Ok(Value::Structure(values))
            }
            Kind::Map { value, .. } => {
                let mut map = BTreeMap::new();
                while let Some(key) = object.next_key::<String>()? {
                    let item = object.next_value_seed(seed(value))?;
                    if item.is_null() {
                        return Err(A::Error::custom("null in a map"));
                    }
                    if map.insert(key, item).is_some() {
                        return Err(A::Error::custom("a key stands twice in a map"));
                    }
                }
                Ok(Value::Map(map))
            }
            _ => Err(misplaced("START_OBJECT", self.0)),
        }
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Key<'de>, D::Error> {
        struct KeyReader;
        impl<'de> Visitor<'de> for KeyReader {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        reader.deserialize_str(KeyReader)
    }
}

/// Writes a value as JSON. An absent member is left out.
pub fn encode(schema: &Schema, value: &Value) -> String {
    let mut out = String::new();
    write(schema, value, &mut out);
    out
}

fn write(schema: &Schema, value: &Value, out: &mut String) {
    match (&schema.kind, value) {
        (Kind::Structure(members), Value::Structure(values)) => {
            out.push('{');
            let mut first = true;
            for (member, value) in members
                .iter()
                .zip(values)
                .filter(|(_, value)| !value.is_null())
            {
                if !std::mem::replace(&mut first, false) {
                    out.push(',');
                }
                write_string(member.output_name, out);
                out.push(':');
                write(member.schema, value, out);
            }
            out.push('}');
        }
        (Kind::List { element, .. }, Value::List(items)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(element, item, out);
            }
            out.push(']');
        }
        (Kind::Map { value: schema, .. }, Value::Map(map)) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(schema, item, out);
            }
            out.push('}');
        }
        (_, Value::Document(document)) => out.push_str(&document.to_string()),
        (_, Value::Boolean(value)) => out.push_str(if *value { "true" } else { "false" }),
        (_, Value::Integer(value)) => out.push_str(&value.to_string()),
        (_, Value::Double(value)) if value.is_finite() => {
            out.push_str(&scalar::format_double(*value))
        }
        (_, Value::Timestamp(time)) => out.push_str(&epoch_seconds(*time)),
        (_, other) => match scalar::format(other) {
            Some(text) => write_string(&text, out),
            None => out.push_str("null"),
        },
    }
}

/// Seconds since the epoch, with a fraction only where there is one.
fn epoch_seconds(time: Timestamp) -> String {
    let sign = if time.0 < 0 { "-" } else { "" };
    let ms = time.0.unsigned_abs();
    if ms.is_multiple_of(1_000) {
        format!("{sign}{}", ms / 1_000)
    } else {
        format!("{sign}{}.{:03}", ms / 1_000, ms % 1_000)
    }
}

pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
