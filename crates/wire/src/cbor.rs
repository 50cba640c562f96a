//! CBOR (RFC 8949) to values and back, as far as smithy-rpc-v2-cbor uses it.
//!
//! Reading follows the schema, like JSON's: unknown members are skipped without being kept, a member that stands twice
//! is refused, depth and number of containers are bounded. Both lengths, definite and not, are read; definite ones are
//! written. <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use fogbank_types::Timestamp;

use crate::Malformed;
use crate::schema::{Kind, Schema};
use crate::value::Value;

/// As in JSON.
const MAX_CONTAINERS: usize = 40_000;
const MAX_DEPTH: usize = 64;

/// Reads a body as the input of an operation. No body at all is an empty structure.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Value, Malformed> {
    let mut reader = Reader {
        rest: if body.is_empty() { &[0xa0] } else { body },
        containers: MAX_CONTAINERS,
    };
    let value = reader.value(schema, "", 0)?;
    if !reader.rest.is_empty() {
        return Err(syntax("more than one item"));
    }
    if value.is_null() {
        return Err(syntax("null is no request"));
    }
    Ok(value)
}

fn syntax(what: &str) -> Malformed {
    Malformed::Syntax(what.to_owned())
}

struct Reader<'a> {
    rest: &'a [u8],
    containers: usize,
}

/// The first byte of an item and its argument; no argument where the length is indefinite.
struct Head {
    major: u8,
    minor: u8,
    argument: Option<u64>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| syntax("the body ends early"))?;
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| syntax("the body ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, Malformed> {
        let first = self.take(1)?[0];
        let (major, minor) = (first >> 5, first & 0x1f);
        let argument = match minor {
            0..=23 => Some(u64::from(minor)),
            24..=27 => {
                let bytes = self.take(1 << (minor - 24))?;
                Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
            }
            31 if matches!(major, 2..=5 | 7) => None,
            _ => return Err(syntax("a byte that starts no item")),
        };
        Ok(Head {
            major,
            minor,
            argument,
        })
    }

    /// Whether an indefinite item ends here.
    fn is_break(&mut self) -> bool {
        if self.rest.first() == Some(&0xff) {
            self.rest = &self.rest[1..];
            return true;
        }
        false
    }

    fn container(&mut self, depth: usize) -> Result<(), Malformed> {
        self.containers = self
            .containers
            .checked_sub(1)
            .filter(|_| depth < MAX_DEPTH)
            .ok_or(Malformed::TooLarge("more containers than any operation"))?;
        Ok(())
    }

    /// A byte or text string, in one piece or in several.
    fn string(&mut self, head: &Head) -> Result<Vec<u8>, Malformed> {
        if let Some(length) = head.argument {
            return Ok(self.take(length)?.to_vec());
        }
        let mut whole = Vec::new();
        while !self.is_break() {
            let piece = self.head()?;
            let length = piece
                .argument
                .filter(|_| piece.major == head.major)
                .ok_or_else(|| syntax("a string in a string of another kind"))?;
            whole.extend_from_slice(self.take(length)?);
        }
        Ok(whole)
    }

    fn text(&mut self, head: &Head) -> Result<String, Malformed> {
        String::from_utf8(self.string(head)?).map_err(|_| Malformed::Utf8)
    }

    /// Calls `item` once for each of a container's items.
    fn each(
        &mut self,
        length: Option<u64>,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        match length {
            // An item has a byte at least, so that no length costs more than the body.
            Some(length) => (0..length).try_for_each(|_| item(self)),
            None => {
                while !self.is_break() {
                    item(self)?;
                }
                Ok(())
            }
        }
    }

    fn value(&mut self, schema: &Schema, path: &str, depth: usize) -> Result<Value, Malformed> {
        let head = self.head()?;
        let wrong = |expected: &str| Malformed::not(path, "the item", expected);
        match (&schema.kind, head.major) {
            (_, 7) if matches!(head.minor, 22 | 23) => Ok(Value::Null),
            (Kind::Structure(_), 5) => self.structure(schema, head.argument, path, depth),
            (Kind::List { element, .. }, 4) => {
                self.container(depth)?;
                let mut items = Vec::new();
                self.each(head.argument, |reader| {
                    let path = format!("{path}.{}", items.len() + 1);
                    let item = reader.value(element, &path, depth + 1)?;
                    if item.is_null() {
                        return Err(Malformed::not(&path, "null", "an element"));
                    }
                    items.push(item);
                    Ok(())
                })?;
                Ok(Value::List(items))
            }
            (Kind::Map { value, .. }, 5) => {
                self.container(depth)?;
                let mut map = BTreeMap::new();
                self.each(head.argument, |reader| {
                    let key = reader.key()?;
                    let path = format!("{path}.{key}");
                    let item = reader.value(value, &path, depth + 1)?;
                    if !item.is_null() && map.insert(key, item).is_some() {
                        return Err(Malformed::Twice(path));
                    }
                    Ok(())
                })?;
                Ok(Value::Map(map))
            }
            (Kind::String { .. }, 3) => self.text(&head).map(Value::String),
            (Kind::Blob, 2) => Ok(Value::Blob(Bytes::from(self.string(&head)?))),
            (Kind::Boolean, 7) if matches!(head.minor, 20 | 21) => {
                Ok(Value::Boolean(head.minor == 21))
            }
            (Kind::Integer | Kind::Long, 0 | 1) => {
                let number = integer(&head).ok_or_else(|| wrong("an integer"))?;
                if matches!(schema.kind, Kind::Integer) && i32::try_from(number).is_err() {
                    return Err(wrong("an integer of 32 bits"));
                }
                Ok(Value::Integer(number))
            }
            (Kind::Double, 0 | 1 | 7) => number(&head)
                .map(Value::Double)
                .ok_or_else(|| wrong("a number")),
            // Epoch seconds under tag 1.
            (Kind::Timestamp, 6) if head.argument == Some(1) => {
                let head = self.head()?;
                let seconds = number(&head).filter(|seconds| seconds.abs() < 1e12);
                let seconds = seconds.ok_or_else(|| wrong("a timestamp"))?;
                Ok(Value::Timestamp(Timestamp((seconds * 1e3).round() as i64)))
            }
            (kind, _) => Err(wrong(expected(kind))),
        }
    }

    fn key(&mut self) -> Result<String, Malformed> {
        let head = self.head()?;
        if head.major != 3 {
            return Err(syntax("a key that is no text"));
        }
        self.text(&head)
    }

    fn structure(
        &mut self,
        schema: &Schema,
        length: Option<u64>,
        path: &str,
        depth: usize,
    ) -> Result<Value, Malformed> {
        self.container(depth)?;
        let members = schema.members();
        let mut values = vec![Value::Null; members.len()];
        self.each(length, |reader| {
            let key = reader.key()?;
            let Some(index) = members.iter().position(|member| member.input_name == key) else {
                return reader.skip(depth + 1);
            };
            let path = if path.is_empty() {
                key
            } else {
                format!("{path}.{key}")
            };
            let value = reader.value(members[index].schema, &path, depth + 1)?;
            if !values[index].is_null() {
                return Err(Malformed::Twice(path));
            }
            values[index] = value;
            Ok(())
        })?;
        Ok(Value::Structure(values))
    }

    /// Passes over one item.
    fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        let head = self.head()?;
        match head.major {
            0 | 1 => Ok(()),
            2 | 3 => self.string(&head).map(drop),
            4 | 5 => {
                self.container(depth)?;
                self.each(head.argument, |reader| {
                    if head.major == 5 {
                        reader.skip(depth + 1)?;
                    }
                    reader.skip(depth + 1)
                })
            }
            6 => {
                self.container(depth)?;
                self.skip(depth + 1)
            }
            _ if head.argument.is_none() => Err(syntax("an end of nothing")),
            _ => Ok(()),
        }
    }
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Structure(_) => "a structure",
        Kind::List { .. } => "a list",
        Kind::Map { .. } => "a map",
        Kind::String { .. } => "a string",
        Kind::Boolean => "a boolean",
        Kind::Integer | Kind::Long => "an integer",
        Kind::Double => "a number",
        Kind::Timestamp => "a timestamp",
        Kind::Blob => "a blob",
        // No operation in this protocol has one.
        Kind::Document => "nothing",
    }
}

fn integer(head: &Head) -> Option<i64> {
    let number = i64::try_from(head.argument?).ok()?;
    match head.major {
        0 => Some(number),
        1 => Some(-1 - number),
        _ => None,
    }
}

fn number(head: &Head) -> Option<f64> {
    match (head.major, head.minor, head.argument?) {
        (0 | 1, ..) => integer(head).map(|number| number as f64),
        (7, 25, bits) => Some(half(bits as u16)),
        (7, 26, bits) => Some(f64::from(f32::from_bits(bits as u32))),
        (7, 27, bits) => Some(f64::from_bits(bits)),
        _ => None,
    }
}

/// RFC 8949, appendix D.
fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

/// Writes a value. An absent member is left out.
pub fn encode(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(schema, value, &mut out);
    out
}

/// An error: its type, message and texts.
pub fn encode_texts(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(5, pairs.len() as u64, &mut out);
    for (name, text) in pairs {
        write_text(name, &mut out);
        write_text(text, &mut out);
    }
    out
}

fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    match u64::try_from(number) {
        Ok(number) => write_head(0, number, out),
        Err(_) => write_head(1, number.unsigned_abs() - 1, out),
    }
}

fn write_double(number: f64, out: &mut Vec<u8>) {
    out.push(0xfb);
    out.extend(number.to_bits().to_be_bytes());
}

fn write(schema: &Schema, value: &Value, out: &mut Vec<u8>) {
    match (&schema.kind, value) {
        (Kind::Structure(members), Value::Structure(values)) => {
            let present = || {
                let pairs = members.iter().zip(values);
                pairs.filter(|(_, value)| !value.is_null())
            };
            write_head(5, present().count() as u64, out);
            for (member, value) in present() {
                write_text(member.output_name, out);
                write(member.schema, value, out);
            }
        }
        (Kind::List { element, .. }, Value::List(items)) => {
            write_head(4, items.len() as u64, out);
            items.iter().for_each(|item| write(element, item, out));
        }
        (Kind::Map { value: schema, .. }, Value::Map(map)) => {
            write_head(5, map.len() as u64, out);
            for (key, item) in map {
                write_text(key, out);
                write(schema, item, out);
            }
        }
        (_, Value::Boolean(value)) => out.push(if *value { 0xf5 } else { 0xf4 }),
        (_, Value::Integer(value)) => write_integer(*value, out),
        (_, Value::Double(value)) => write_double(*value, out),
        (_, Value::String(text)) => write_text(text, out),
        (_, Value::Blob(bytes)) => {
            write_head(2, bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        (_, Value::Timestamp(time)) => {
            out.push(0xc1);
            if time.0 % 1_000 == 0 {
                write_integer(time.0 / 1_000, out);
            } else {
                write_double(time.0 as f64 / 1e3, out);
            }
        }
        // A value that is not of its schema; no struct gives one.
        _ => out.push(0xf6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Location, Member};
    use proptest::prelude::*;

    static NUMBER: Schema = Schema {
        name: "Number",
        kind: Kind::Double,
        min: None,
        max: None,
    };
    static TIME: Schema = Schema {
        name: "Time",
        kind: Kind::Timestamp,
        min: None,
        max: None,
    };
    static NAMES: Schema = Schema {
        name: "Names",
        kind: Kind::List {
            element: &Schema {
                name: "Name",
                kind: Kind::String {
                    values: &[],
                    pattern: None,
                },
                min: None,
                max: None,
            },
            element_name: "member",
        },
        min: None,
        max: None,
    };
    static SHAPE: Schema = Schema {
        name: "Shape",
        kind: Kind::Structure(&[
            member("N", &NUMBER),
            member("T", &TIME),
            member("L", &NAMES),
        ]),
        min: None,
        max: None,
    };

    const fn member(name: &'static str, schema: &'static Schema) -> Member {
        Member {
            name,
            input_name: name,
            output_name: name,
            location: Location::Body,
            required: false,
            schema,
        }
    }

    fn shape(n: Value, t: Value, l: Value) -> Value {
        Value::Structure(vec![n, t, l])
    }

    /// Appendix A of RFC 8949.
    #[test]
    fn numbers_are_read_in_every_width() {
        for (bytes, wanted) in [
            (&[0xa1, 0x61, b'N', 0x0a][..], 10.0),
            (&[0xa1, 0x61, b'N', 0x39, 0x03, 0xe7], -1000.0),
            (&[0xa1, 0x61, b'N', 0xf9, 0x3e, 0x00], 1.5),
            (&[0xa1, 0x61, b'N', 0xf9, 0xc4, 0x00], -4.0),
            (
                &[0xa1, 0x61, b'N', 0xf9, 0x00, 0x01],
                5.960_464_477_539_063e-8,
            ),
            (&[0xa1, 0x61, b'N', 0xfa, 0x47, 0xc3, 0x50, 0x00], 100_000.0),
            (
                &[
                    0xa1, 0x61, b'N', 0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a,
                ],
                1.1,
            ),
        ] {
            let read = decode(&SHAPE, bytes).unwrap();
            assert_eq!(read, shape(Value::Double(wanted), Value::Null, Value::Null));
        }
    }

    #[test]
    fn indefinite_lengths_and_unknown_members_are_read() {
        // {_ "X": [_ 1, {_ }], "L": [_ (_ "a", "b"), "c"]}
        let bytes = [
            0xbf, 0x61, b'X', 0x9f, 0x01, 0xbf, 0xff, 0xff, 0x61, b'L', 0x9f, 0x7f, 0x61, b'a',
            0x61, b'b', 0xff, 0x61, b'c', 0xff, 0xff,
        ];
        let names = vec![
            Value::String("ab".to_owned()),
            Value::String("c".to_owned()),
        ];
        assert_eq!(
            decode(&SHAPE, &bytes).unwrap(),
            shape(Value::Null, Value::Null, Value::List(names))
        );
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for bytes in [
            &[0xa2, 0x61, b'N', 0x01, 0x61, b'N', 0x01][..],
            &[0xa1, 0x61, b'N', 0x61, b'1'],
            &[0xa1, 0x61, b'N'],
            &[0xa1, 0x61, b'T', 0x01],
            &[0xa1, 0x01, 0x01],
            &[0xf6],
            &[0xff],
            &[0xa0, 0xa0],
            &[0x1c],
            &[
                0xa1, 0x61, b'X', 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ],
        ] {
            assert!(decode(&SHAPE, bytes).is_err(), "{bytes:x?}");
        }
        let mut deep = vec![0xa1, 0x61, b'X'];
        deep.extend([0x81; 100_000]);
        assert!(decode(&SHAPE, &deep).is_err());
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(n in any::<f64>().prop_filter("a number", |n| !n.is_nan()), ms in -100_000_000_000_000i64..100_000_000_000_000, names in prop::collection::vec("\\PC{0,30}", 0..5)) {
            let value = shape(
                Value::Double(n),
                Value::Timestamp(Timestamp(ms)),
                Value::List(names.into_iter().map(Value::String).collect()),
            );
            prop_assert_eq!(decode(&SHAPE, &encode(&SHAPE, &value)).unwrap(), value);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&SHAPE, &bytes);
        }
    }
}
