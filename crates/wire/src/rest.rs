//! restXml's requests: a path with labels, a query, headers and an XML body.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html>

use http::HeaderMap;

use crate::Malformed;
use crate::malformed::shorten;
use crate::query;
use crate::scalar::{self, Text};
use crate::schema::{Location, Member, Operation, Service};
use crate::value::Value;
use crate::xml;

/// The operation that a method and a path name, and its labels' values in the path's order.
/// A slash at the end makes no difference, as AWS's clients disagree about it.
pub fn find(
    service: Service,
    method: &str,
    path: &str,
) -> Result<Option<(&'static Operation, Vec<String>)>, Malformed> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    for operation in service.schema().operations {
        let template: Vec<&str> = operation.uri.trim_end_matches('/').split('/').collect();
        if operation.method != method || template.len() != segments.len() {
            continue;
        }
        let fits = |(part, segment): (&&str, &&str)| {
            label(part).is_some() && !segment.is_empty() || part == segment
        };
        if template.iter().zip(&segments).all(fits) {
            let labels = template
                .iter()
                .zip(&segments)
                .filter(|(part, _)| label(part).is_some());
            let values =
                labels.map(|(_, segment)| query::percent_decode(segment.as_bytes(), false));
            return Ok(Some((operation, values.collect::<Result<_, _>>()?)));
        }
    }
    Ok(None)
}

fn label(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// Reads a request as the input of its operation.
pub fn decode(
    operation: &Operation,
    labels: &[String],
    query: &[(String, String)],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, Malformed> {
    let members = operation.input.members();
    let in_body = members
        .iter()
        .any(|member| member.location == Location::Body);
    let mut input = if in_body && !body.trim_ascii().is_empty() {
        let root = xml::parse(body)?;
        if root.name != operation.input.name {
            return Err(Malformed::Syntax(format!(
                "the root element is {}, not {}",
                shorten(&root.name),
                operation.input.name
            )));
        }
        xml::decode(operation.input, &root, "")?
    } else {
        Value::Structure(vec![Value::Null; members.len()])
    };
    let Value::Structure(values) = &mut input else {
        return Err(Malformed::Syntax("the input is not a structure".to_owned()));
    };
    let names: Vec<&str> = operation.uri.split('/').filter_map(label).collect();
    for (member, value) in members.iter().zip(values) {
        let name = member.input_name;
        let text = match member.location {
            Location::Body => None,
            Location::Uri => {
                let at = names.iter().position(|label| *label == name);
                at.and_then(|at| labels.get(at)).map(String::as_str)
            }
            Location::Query => find_once(query, name)?,
            Location::Header => headers.get(name).and_then(|value| value.to_str().ok()),
        };
        if let Some(text) = text {
            *value = parse(member, text)?;
        }
    }
    Ok(input)
}

fn parse(member: &Member, text: &str) -> Result<Value, Malformed> {
    scalar::parse(member.schema, text, Text::Form)
        .map_err(|expected| Malformed::not(member.name, text, expected))
}

fn find_once<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Malformed> {
    let mut found = query
        .iter()
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.as_str());
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        _ => Err(Malformed::Twice(name.to_owned())),
    }
}
