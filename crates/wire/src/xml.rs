//! XML: a small reader for restXml's requests, and the writer of all XML replies.
//!
//! The reader knows elements, text, CDATA, comments and the five named entities. It refuses
//! document types (and with them every entity trick), more than 32 levels and more elements than
//! any request has. Namespaces are not looked at: a prefix is cut off.

use crate::Malformed;
use crate::scalar::{self, Text};
use crate::schema::{Kind, Location, Schema};
use crate::value::Value;

const MAX_DEPTH: usize = 32;
const MAX_ELEMENTS: usize = 100_000;

/// An element as it was read.
#[derive(Debug, Default, PartialEq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

/// Reads a document and gives its root.
pub fn parse(bytes: &[u8]) -> Result<Element, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        elements: 0,
    };
    reader.read_document()
}

fn syntax(what: &str) -> Malformed {
    Malformed::Syntax(what.to_owned())
}

struct Reader<'a> {
    rest: &'a str,
    elements: usize,
}

impl<'a> Reader<'a> {
    fn read_document(&mut self) -> Result<Element, Malformed> {
        // The elements that are open, outermost first.
        let mut open: Vec<Element> = Vec::new();
        loop {
            if let Some(parent) = open.last_mut() {
                let end = self
                    .rest
                    .find('<')
                    .ok_or_else(|| syntax("the document is cut off"))?;
                let (text, rest) = self.rest.split_at(end);
                unescape(text, &mut parent.text)?;
                self.rest = rest;
            } else {
                self.rest = self.rest.trim_start();
            }
            if let Some(rest) = self.rest.strip_prefix("<!--") {
                self.rest = after(rest, "-->")?;
            } else if let Some(rest) = self.rest.strip_prefix("<?") {
                self.rest = after(rest, "?>")?;
            } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                let parent = open
                    .last_mut()
                    .ok_or_else(|| syntax("text outside the root"))?;
                let end = rest
                    .find("]]>")
                    .ok_or_else(|| syntax("the document is cut off"))?;
                parent.text.push_str(&rest[..end]);
                self.rest = &rest[end + 3..];
            } else if let Some(rest) = self.rest.strip_prefix("</") {
                let done = self.close(rest, open.pop())?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return self.finish(done),
                }
            } else {
                let (element, empty) = self.open_tag()?;
                if !empty {
                    if open.len() == MAX_DEPTH {
                        return Err(Malformed::TooLarge("elements nested too deeply"));
                    }
                    open.push(element);
                } else if let Some(parent) = open.last_mut() {
                    parent.children.push(element);
                } else {
                    return self.finish(element);
                }
            }
        }
    }

    /// After the root there may only be comments and white space.
    fn finish(&mut self, root: Element) -> Result<Element, Malformed> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix("<!--") {
                Some(rest) => self.rest = after(rest, "-->")?,
                None if self.rest.is_empty() => return Ok(root),
                None => return Err(syntax("something follows the root element")),
            }
        }
    }

    fn close(&mut self, rest: &'a str, open: Option<Element>) -> Result<Element, Malformed> {
        let end = rest
            .find('>')
            .ok_or_else(|| syntax("the document is cut off"))?;
        let name = local_name(rest[..end].trim_end())?;
        self.rest = &rest[end + 1..];
        match open {
            Some(element) if element.name == name => Ok(element),
            _ => Err(syntax("an end tag without its start")),
        }
    }

    /// `<name a="b">` or `<name/>`; whether it was the latter.
    fn open_tag(&mut self) -> Result<(Element, bool), Malformed> {
        let rest = self
            .rest
            .strip_prefix('<')
            .ok_or_else(|| syntax("content is not allowed in prolog"))?;
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Malformed::TooLarge("more elements than any request has"));
        }
        let end = rest
            .find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')
            .ok_or_else(|| syntax("the document is cut off"))?;
        let name = local_name(&rest[..end])?.to_owned();
        let mut rest = &rest[end..];
        loop {
            rest = rest.trim_start();
            if let Some(tail) = rest.strip_prefix("/>") {
                self.rest = tail;
                return Ok((
                    Element {
                        name,
                        ..Element::default()
                    },
                    true,
                ));
            }
            if let Some(tail) = rest.strip_prefix('>') {
                self.rest = tail;
                return Ok((
                    Element {
                        name,
                        ..Element::default()
                    },
                    false,
                ));
            }
            rest = skip_attribute(rest)?;
        }
    }
}

fn after<'a>(text: &'a str, end: &str) -> Result<&'a str, Malformed> {
    let at = text
        .find(end)
        .ok_or_else(|| syntax("the document is cut off"))?;
    Ok(&text[at + end.len()..])
}

fn skip_attribute(text: &str) -> Result<&str, Malformed> {
    let (name, rest) = text
        .split_once('=')
        .ok_or_else(|| syntax("a malformed attribute"))?;
    local_name(name.trim())?;
    let rest = rest.trim_start();
    let quote = rest.chars().next().filter(|c| *c == '"' || *c == '\'');
    let quote = quote.ok_or_else(|| syntax("a malformed attribute"))?;
    let end = rest[1..]
        .find(quote)
        .ok_or_else(|| syntax("the document is cut off"))?;
    if rest[1..=end].contains('<') {
        return Err(syntax("a malformed attribute"));
    }
    Ok(&rest[end + 2..])
}

/// A name without its prefix. Anything but a plain name is refused, `!DOCTYPE` among it.
fn local_name(name: &str) -> Result<&str, Malformed> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if name.is_empty() || name.len() > 256 || !name.chars().all(plain) {
        return Err(syntax("a malformed element name"));
    }
    Ok(name.rsplit_once(':').map_or(name, |(_, local)| local))
}

fn unescape(text: &str, out: &mut String) -> Result<(), Malformed> {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (entity, tail) = rest[at + 1..]
            .split_once(';')
            .ok_or_else(|| syntax("an entity without its end"))?;
        rest = tail;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => character_reference(entity).ok_or_else(|| syntax("an unknown entity"))?,
        });
    }
    out.push_str(rest);
    Ok(())
}

fn character_reference(entity: &str) -> Option<char> {
    let number = entity.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    if digits.is_empty() || digits.len() > 7 || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| is_xml_character(*c))
}

fn is_xml_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Reads an element as a value of a schema.
pub fn decode(schema: &Schema, element: &Element, path: &str) -> Result<Value, Malformed> {
    match &schema.kind {
        Kind::Structure(members) => {
            let mut values = vec![Value::Null; members.len()];
            for child in &element.children {
                let at = members.iter().position(|member| {
                    member.location == Location::Body && member.input_name == child.name
                });
                let Some(at) = at else { continue };
                let path = join(path, members[at].name);
                if !values[at].is_null() {
                    return Err(Malformed::Twice(path));
                }
                values[at] = decode(members[at].schema, child, &path)?;
            }
            Ok(Value::Structure(values))
        }
        Kind::List {
            element: schema,
            element_name,
        } => {
            let mut items = Vec::new();
            for (index, child) in element.children.iter().enumerate() {
                let path = format!("{path}.{}", index + 1);
                if child.name != *element_name {
                    return Err(Malformed::not(&path, &child.name, element_name));
                }
                items.push(decode(schema, child, &path)?);
            }
            Ok(Value::List(items))
        }
        // No request of ours has one.
        Kind::Map { .. } | Kind::Document => Err(Malformed::not(path, &element.name, "no map")),
        _ if !element.children.is_empty() => {
            Err(Malformed::not(path, &element.name, "a single value"))
        }
        _ => scalar::parse(schema, &element.text, Text::Xml)
            .map_err(|expected| Malformed::not(path, &element.text, expected)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Writes the members of a structure that stand in the body. An absent member is left out, an
/// empty list is an empty element.
pub fn encode_members(schema: &Schema, value: &Value, out: &mut String) {
    let Value::Structure(values) = value else {
        return;
    };
    for (member, value) in schema.members().iter().zip(values) {
        if !value.is_null() && member.location == Location::Body {
            encode(member.schema, member.output_name, value, out);
        }
    }
}

fn encode(schema: &Schema, name: &str, value: &Value, out: &mut String) {
    match (&schema.kind, value) {
        (_, Value::Null) => {}
        (Kind::Structure(_), _) => {
            open(name, out);
            encode_members(schema, value, out);
            close(name, out);
        }
        (
            Kind::List {
                element,
                element_name,
            },
            Value::List(items),
        ) => {
            if items.is_empty() {
                out.push_str(&format!("<{name}/>"));
                return;
            }
            open(name, out);
            for item in items {
                encode(element, element_name, item, out);
            }
            close(name, out);
        }
        (
            Kind::Map {
                key,
                value: schema,
                key_name,
                value_name,
            },
            Value::Map(map),
        ) => {
            open(name, out);
            for (text, item) in map {
                open("entry", out);
                encode(key, key_name, &Value::String(text.clone()), out);
                encode(schema, value_name, item, out);
                close("entry", out);
            }
            close(name, out);
        }
        (_, scalar) => element(name, &scalar::format(scalar).unwrap_or_default(), out),
    }
}

pub fn open(name: &str, out: &mut String) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

pub fn close(name: &str, out: &mut String) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// `<name>text</name>`, the text escaped.
pub fn element(name: &str, text: &str, out: &mut String) {
    open(name, out);
    escape(text, out);
    close(name, out);
}

pub fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A reader would turn it into a line feed.
            '\r' => out.push_str("&#xD;"),
            c if is_xml_character(c) => out.push(c),
            // XML has no way to hold it.
            _ => out.push('\u{fffd}'),
        }
    }
}
