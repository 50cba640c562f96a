//! The tree between bytes and structs, and the trait that the generated structs have.
//!
//! Codecs read bytes into a [`Value`] and write bytes from one, driven by a [`crate::Schema`];
//! a generated struct turns itself from and into one. So each protocol is written once, and each
//! struct costs two small methods. A structure's members stand in the order of its schema.

use std::collections::BTreeMap;

use bytes::Bytes;
use fogbank_types::Timestamp;

/// Whatever a shape can hold. `Null` is an absent member.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    String(String),
    Timestamp(Timestamp),
    Blob(Bytes),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// One value for each member of the schema, in its order.
    Structure(Vec<Value>),
    Document(serde_json::Value),
}

/// A value that is not of the shape it is read as: a codec and a struct that disagree about the
/// schema, or a required member that nobody validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct Mismatch {
    pub expected: &'static str,
    pub found: &'static str,
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Double(_) => "a double",
            Value::String(_) => "a string",
            Value::Timestamp(_) => "a timestamp",
            Value::Blob(_) => "a blob",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Structure(_) => "a structure",
            Value::Document(_) => "a document",
        }
    }

    fn mismatch(&self, expected: &'static str) -> Mismatch {
        Mismatch {
            expected,
            found: self.kind(),
        }
    }

    /// The members of a structure, to be taken one by one in the order of the schema.
    pub fn into_fields(self) -> Result<Fields, Mismatch> {
        match self {
            Value::Structure(members) => Ok(Fields {
                members: members.into_iter(),
                failed: None,
            }),
            other => Err(other.mismatch("a structure")),
        }
    }
}

/// A structure being taken apart by a generated struct.
#[derive(Debug)]
pub struct Fields {
    members: std::vec::IntoIter<Value>,
    failed: Option<Mismatch>,
}

impl Fields {
    /// The next member; its default if it does not fit, which `finish` then reports.
    pub fn take<T: Shape + Default>(&mut self) -> T {
        match T::from_value(self.members.next().unwrap_or_default()) {
            Ok(value) => value,
            Err(mismatch) => {
                self.failed.get_or_insert(mismatch);
                T::default()
            }
        }
    }

    pub fn finish<T>(self, value: T) -> Result<T, Mismatch> {
        match self.failed {
            None => Ok(value),
            Some(mismatch) => Err(mismatch),
        }
    }
}

/// A Rust type that stands for a shape of a model.
pub trait Shape: Sized {
    fn from_value(value: Value) -> Result<Self, Mismatch>;
    fn into_value(self) -> Value;
}

impl Shape for Value {
    fn from_value(value: Value) -> Result<Value, Mismatch> {
        Ok(value)
    }

    fn into_value(self) -> Value {
        self
    }
}

impl<T: Shape> Shape for Option<T> {
    fn from_value(value: Value) -> Result<Option<T>, Mismatch> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn from_value(value: Value) -> Result<Vec<T>, Mismatch> {
        match value {
            Value::List(items) => items.into_iter().map(T::from_value).collect(),
            other => Err(other.mismatch("a list")),
        }
    }

    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

impl<T: Shape> Shape for BTreeMap<String, T> {
    fn from_value(value: Value) -> Result<BTreeMap<String, T>, Mismatch> {
        match value {
            Value::Map(entries) => {
                let read = |(key, value)| T::from_value(value).map(|value| (key, value));
                entries.into_iter().map(read).collect()
            }
            other => Err(other.mismatch("a map")),
        }
    }

    fn into_value(self) -> Value {
        Value::Map(
            self.into_iter()
                .map(|(key, value)| (key, value.into_value()))
                .collect(),
        )
    }
}

macro_rules! scalar {
    ($type:ty, $variant:ident, $expected:literal) => {
        impl Shape for $type {
            fn from_value(value: Value) -> Result<$type, Mismatch> {
                match value {
                    Value::$variant(value) => Ok(value),
                    other => Err(other.mismatch($expected)),
                }
            }

            fn into_value(self) -> Value {
                Value::$variant(self)
            }
        }
    };
}

scalar!(bool, Boolean, "a boolean");
scalar!(i64, Integer, "an integer");
scalar!(f64, Double, "a double");
scalar!(String, String, "a string");
scalar!(Timestamp, Timestamp, "a timestamp");
scalar!(Bytes, Blob, "a blob");
scalar!(serde_json::Value, Document, "a document");

impl Shape for i32 {
    fn from_value(value: Value) -> Result<i32, Mismatch> {
        match value {
            Value::Integer(wide) => i32::try_from(wide).map_err(|_| Mismatch {
                expected: "an integer of 32 bits",
                found: "a wider one",
            }),
            other => Err(other.mismatch("an integer")),
        }
    }

    fn into_value(self) -> Value {
        Value::Integer(i64::from(self))
    }
}
