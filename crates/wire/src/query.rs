//! Forms to values: the requests of ec2Query and awsQuery.
//!
//! A form's keys spell paths (`Filter.1.Value.2`). They are read by descending the schema, so an
//! unknown name costs nothing and memory is bounded by the form. What must stay true: an index is
//! small, nothing stands twice, a scalar is never read from a structure's place.
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use std::collections::BTreeMap;

use crate::Malformed;
use crate::scalar::{self, Text};
use crate::schema::{Kind, Protocol, Schema};
use crate::value::Value;

/// More pairs than any real request has: the widest describe has some thousands.
const MAX_PAIRS: usize = 20_000;
/// Of one list. AWS's own limits on lists are all below it.
const MAX_INDEX: usize = 10_000;

/// Splits `a=b&c=d` and decodes it. Empty pairs are skipped.
pub fn parse_form(bytes: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut pairs = Vec::new();
    for part in bytes.split(|&b| b == b'&').filter(|part| !part.is_empty()) {
        if pairs.len() == MAX_PAIRS {
            return Err(Malformed::TooLarge(
                "more parameters than any operation takes",
            ));
        }
        let (key, value) = match part.iter().position(|&b| b == b'=') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &[][..]),
        };
        pairs.push((percent_decode(key, true)?, percent_decode(value, true)?));
    }
    Ok(pairs)
}

/// Strict: an escape that is none is refused, as is what is not UTF-8.
pub fn percent_decode(bytes: &[u8], plus_is_space: bool) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let [high, low, tail @ ..] = rest else {
                    return Err(Malformed::Syntax(
                        "a percent sign without two hex digits".to_owned(),
                    ));
                };
                let digit = |b: u8| char::from(b).to_digit(16);
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                    return Err(Malformed::Syntax(
                        "a percent sign without two hex digits".to_owned(),
                    ));
                };
                out.push((high * 16 + low) as u8);
                rest = tail;
            }
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(*other),
        }
    }
    String::from_utf8(out).map_err(|_| Malformed::Utf8)
}

/// The first value of a key, if it is there.
pub fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// Reads a form as the input of an operation.
pub fn decode(
    protocol: Protocol,
    schema: &Schema,
    form: &[(String, String)],
) -> Result<Value, Malformed> {
    let pairs = form
        .iter()
        .map(|(key, value)| Pair { rest: key, value })
        .collect();
    Decoder {
        lists_are_flat: protocol == Protocol::Ec2Query,
    }
    .read(schema, pairs, "")
}

/// A parameter, and what of its key is still to be read.
#[derive(Clone, Copy)]
struct Pair<'a> {
    rest: &'a str,
    value: &'a str,
}

struct Decoder {
    lists_are_flat: bool,
}

impl Decoder {
    fn read(&self, schema: &Schema, pairs: Vec<Pair<'_>>, path: &str) -> Result<Value, Malformed> {
        match &schema.kind {
            Kind::Structure(_) => self.read_structure(schema, &pairs, path),
            Kind::List {
                element,
                element_name,
            } => {
                if is_empty_container(&pairs) {
                    return Ok(Value::List(Vec::new()));
                }
                let prefix = if self.lists_are_flat {
                    None
                } else {
                    Some(*element_name)
                };
                let mut items = Vec::new();
                for (index, bucket) in buckets(prefix, &pairs, path)? {
                    items.push(self.read(element, bucket, &format!("{path}.{index}"))?);
                }
                Ok(Value::List(items))
            }
            Kind::Map {
                value,
                key_name,
                value_name,
                ..
            } => self.read_map(value, key_name, value_name, &pairs, path),
            _ => match pairs.as_slice() {
                [Pair { rest: "", value }] => scalar::parse(schema, value, Text::Form)
                    .map_err(|expected| Malformed::not(path, value, expected)),
                [Pair { rest: "", .. }, ..] => Err(Malformed::Twice(path.to_owned())),
                _ => Err(Malformed::not(path, "", "a single value")),
            },
        }
    }

    fn read_structure(
        &self,
        schema: &Schema,
        pairs: &[Pair<'_>],
        path: &str,
    ) -> Result<Value, Malformed> {
        let members = schema.members();
        let mut buckets: Vec<Vec<Pair<'_>>> = vec![Vec::new(); members.len()];
        for pair in pairs {
            let (head, rest) = pair.rest.split_once('.').unwrap_or((pair.rest, ""));
            if head.is_empty() && !path.is_empty() && !is_empty_container(&[*pair]) {
                return Err(Malformed::not(path, pair.value, "a structure"));
            }
            if let Some(index) = members.iter().position(|member| member.input_name == head) {
                buckets[index].push(Pair {
                    rest,
                    value: pair.value,
                });
            }
        }
        let mut values = Vec::with_capacity(members.len());
        for (member, bucket) in members.iter().zip(buckets) {
            if bucket.is_empty() {
                values.push(Value::Null);
                continue;
            }
            let name = member.input_name;
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            values.push(self.read(member.schema, bucket, &path)?);
        }
        Ok(Value::Structure(values))
    }

    fn read_map(
        &self,
        schema: &Schema,
        key_name: &str,
        value_name: &str,
        pairs: &[Pair<'_>],
        path: &str,
    ) -> Result<Value, Malformed> {
        let mut map = BTreeMap::new();
        if is_empty_container(pairs) {
            return Ok(Value::Map(map));
        }
        for (index, bucket) in buckets(Some("entry"), pairs, path)? {
            let path = format!("{path}.entry.{index}");
            let mut key = None;
            let mut rest = Vec::new();
            for pair in bucket {
                let (head, tail) = pair.rest.split_once('.').unwrap_or((pair.rest, ""));
                if head == key_name && tail.is_empty() {
                    if key.replace(pair.value.to_owned()).is_some() {
                        return Err(Malformed::Twice(path));
                    }
                } else if head == value_name {
                    rest.push(Pair {
                        rest: tail,
                        value: pair.value,
                    });
                }
            }
            let key = key.ok_or_else(|| Malformed::not(&path, "", "an entry with a key"))?;
            if map.insert(key, self.read(schema, rest, &path)?).is_some() {
                return Err(Malformed::Twice(path));
            }
        }
        Ok(Value::Map(map))
    }
}

/// `Subnets=` is how awsQuery clients send an empty list.
fn is_empty_container(pairs: &[Pair<'_>]) -> bool {
    matches!(
        pairs,
        [Pair {
            rest: "",
            value: ""
        }]
    )
}

/// Groups `member.1.x`, `member.2.y` (or `1.x` without a prefix) by index, in its order.
fn buckets<'a>(
    prefix: Option<&str>,
    pairs: &[Pair<'a>],
    path: &str,
) -> Result<BTreeMap<usize, Vec<Pair<'a>>>, Malformed> {
    let mut buckets: BTreeMap<usize, Vec<Pair<'a>>> = BTreeMap::new();
    for pair in pairs {
        let not_a_list = || Malformed::not(path, pair.value, "a list");
        let indexed = match prefix {
            None => pair.rest,
            Some(prefix) => pair
                .rest
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.'))
                .ok_or_else(not_a_list)?,
        };
        let (index, rest) = indexed.split_once('.').unwrap_or((indexed, ""));
        if index.is_empty() || index.starts_with('0') || !index.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(not_a_list());
        }
        match index.parse::<usize>() {
            Ok(index) if index <= MAX_INDEX => {
                buckets.entry(index).or_default().push(Pair {
                    rest,
                    value: pair.value,
                });
            }
            _ => return Err(Malformed::TooLarge("a list index beyond any limit")),
        }
    }
    Ok(buckets)
}
