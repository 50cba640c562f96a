//! Record values: from Route 53's text to the bytes of a record.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html>
//!
//! Used when tables are compiled. Names inside are written whole; `message` compresses those that may be.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::kind::Kind;
use super::name::{Name, NameError, unescape};

/// Why a value has no wire form.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    #[error("'{value}' lacks a {field}")]
    Missing { value: String, field: &'static str },
    #[error("'{token}' is no {field}")]
    Field { token: String, field: &'static str },
    #[error("'{value}' has more than it should")]
    Surplus { value: String },
    #[error("'{value}' has an unclosed quote or a broken escape")]
    Quoting { value: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("records of type {kind} are not served")]
    Kind { kind: Kind },
}

type Result<T> = std::result::Result<T, ValueError>;

/// The bytes of a value.
pub fn encode(kind: Kind, value: &str) -> Result<Vec<u8>> {
    let mut tokens = Tokens::of(value)?;
    let mut out = Vec::new();
    match kind {
        Kind::A => out.extend(tokens.parsed::<Ipv4Addr>("IPv4 address")?.octets()),
        Kind::AAAA => out.extend(tokens.parsed::<Ipv6Addr>("IPv6 address")?.octets()),
        Kind::CNAME | Kind::NS | Kind::PTR => tokens.name(&mut out)?,
        Kind::MX => {
            tokens.u16(&mut out, "preference")?;
            tokens.name(&mut out)?;
        }
        Kind::TXT | Kind::SPF => tokens.strings(&mut out)?,
        Kind::SRV => {
            for field in ["priority", "weight", "port"] {
                tokens.u16(&mut out, field)?;
            }
            tokens.name(&mut out)?;
        }
        Kind::SOA => {
            tokens.name(&mut out)?;
            tokens.name(&mut out)?;
            for field in ["serial", "refresh", "retry", "expire", "minimum"] {
                out.extend(tokens.parsed::<u32>(field)?.to_be_bytes());
            }
        }
        Kind::CAA => {
            tokens.u8(&mut out, "flags")?;
            tokens.string(&mut out, "tag")?;
            out.extend(tokens.next("value")?);
        }
        Kind::DS => {
            tokens.u16(&mut out, "key tag")?;
            tokens.u8(&mut out, "algorithm")?;
            tokens.u8(&mut out, "digest type")?;
            tokens.hex(&mut out)?;
        }
        Kind::SSHFP => {
            tokens.u8(&mut out, "algorithm")?;
            tokens.u8(&mut out, "fingerprint type")?;
            tokens.hex(&mut out)?;
        }
        Kind::TLSA => {
            for field in ["usage", "selector", "matching type"] {
                tokens.u8(&mut out, field)?;
            }
            tokens.hex(&mut out)?;
        }
        Kind::NAPTR => {
            tokens.u16(&mut out, "order")?;
            tokens.u16(&mut out, "preference")?;
            for field in ["flags", "service", "regular expression"] {
                tokens.string(&mut out, field)?;
            }
            tokens.name(&mut out)?;
        }
        Kind::SVCB | Kind::HTTPS => service_binding(&mut tokens, &mut out)?,
        kind => return Err(ValueError::Kind { kind }),
    }
    tokens.end()?;
    Ok(out)
}

/// Words and quoted strings of a value, escapes undone.
struct Tokens<'a> {
    value: &'a str,
    tokens: std::vec::IntoIter<Vec<u8>>,
}

impl<'a> Tokens<'a> {
    fn of(value: &'a str) -> Result<Self> {
        let tokens = split(value).ok_or_else(|| ValueError::Quoting {
            value: value.to_owned(),
        })?;
        Ok(Self {
            value,
            tokens: tokens.into_iter(),
        })
    }

    fn next(&mut self, field: &'static str) -> Result<Vec<u8>> {
        self.tokens.next().ok_or_else(|| ValueError::Missing {
            value: self.value.to_owned(),
            field,
        })
    }

    fn text(&mut self, field: &'static str) -> Result<String> {
        let token = self.next(field)?;
        String::from_utf8(token).map_err(|error| ValueError::Field {
            token: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            field,
        })
    }

    fn parsed<T: FromStr>(&mut self, field: &'static str) -> Result<T> {
        let token = self.text(field)?;
        token
            .parse()
            .map_err(|_| ValueError::Field { token, field })
    }

    fn u8(&mut self, out: &mut Vec<u8>, field: &'static str) -> Result<()> {
        out.push(self.parsed(field)?);
        Ok(())
    }

    fn u16(&mut self, out: &mut Vec<u8>, field: &'static str) -> Result<()> {
        out.extend(self.parsed::<u16>(field)?.to_be_bytes());
        Ok(())
    }

    fn name(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let text = self.text("domain name")?;
        out.extend(Name::parse(&text)?.wire());
        Ok(())
    }

    fn string(&mut self, out: &mut Vec<u8>, field: &'static str) -> Result<()> {
        let token = self.next(field)?;
        push_string(out, &token, field)
    }

    /// One or more, of at most 255 octets each.
    fn strings(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.string(out, "string")?;
        for token in self.tokens.by_ref() {
            push_string(out, &token, "string")?;
        }
        Ok(())
    }

    /// The rest: hexadecimal digits, blanks allowed between them.
    fn hex(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let mut digits = self.next("hexadecimal data")?;
        self.tokens.by_ref().for_each(|more| digits.extend(more));
        let token = String::from_utf8_lossy(&digits).into_owned();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match *pair {
                [high, low] => {
                    let digit = |byte| char::from(byte).to_digit(16);
                    Some((digit(high)? << 4 | digit(low)?) as u8)
                }
                _ => None,
            })
            .collect();
        out.extend(bytes.ok_or(ValueError::Field {
            token,
            field: "hexadecimal data",
        })?);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match self.tokens.next() {
            None => Ok(()),
            Some(_) => Err(ValueError::Surplus {
                value: self.value.to_owned(),
            }),
        }
    }
}

fn push_string(out: &mut Vec<u8>, token: &[u8], field: &'static str) -> Result<()> {
    let length = u8::try_from(token.len()).map_err(|_| ValueError::Field {
        token: String::from_utf8_lossy(token).into_owned(),
        field,
    })?;
    out.push(length);
    out.extend(token);
    Ok(())
}

/// A backslash outside quotes stays for names, which undo it themselves.
fn split(value: &str) -> Option<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    let mut bytes = value.bytes().peekable();
    while let Some(&first) = bytes.peek() {
        let mut token = Vec::new();
        if first.is_ascii_whitespace() {
            bytes.next();
            continue;
        }
        let mut quoted = false;
        while let Some(&byte) = bytes.peek() {
            if !quoted && byte.is_ascii_whitespace() {
                break;
            }
            bytes.next();
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => token.push(unescape(&mut bytes)?),
                other => token.push(other),
            }
            if byte == b'"' && !quoted {
                break;
            }
        }
        if quoted {
            return None;
        }
        tokens.push(token);
    }
    Some(tokens)
}

/// Priority, target, then `key=value` parameters in ascending order of their keys (RFC 9460, section 2).
fn service_binding(tokens: &mut Tokens<'_>, out: &mut Vec<u8>) -> Result<()> {
    tokens.u16(out, "priority")?;
    tokens.name(out)?;
    let mut parameters = std::collections::BTreeMap::new();
    for token in tokens.tokens.by_ref() {
        let text = String::from_utf8_lossy(&token).into_owned();
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        let bad = || ValueError::Field {
            token: text.clone(),
            field: "service parameter",
        };
        let number = parameter_key(key).ok_or_else(bad)?;
        let value = parameter_value(number, value).ok_or_else(bad)?;
        if parameters.insert(number, value).is_some() {
            return Err(bad());
        }
    }
    for (number, value) in parameters {
        let length = u16::try_from(value.len()).map_err(|_| ValueError::Field {
            token: number.to_string(),
            field: "service parameter",
        })?;
        out.extend(number.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(value);
    }
    Ok(())
}

fn parameter_key(key: &str) -> Option<u16> {
    Some(match key {
        "mandatory" => 0,
        "alpn" => 1,
        "no-default-alpn" => 2,
        "port" => 3,
        "ipv4hint" => 4,
        "ech" => 5,
        "ipv6hint" => 6,
        other => other.strip_prefix("key")?.parse().ok()?,
    })
}

fn parameter_value(number: u16, value: &str) -> Option<Vec<u8>> {
    let parts = || value.split(',');
    match number {
        0 => {
            let mut keys: Vec<u16> = parts().map(parameter_key).collect::<Option<_>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        1 => {
            let mut out = Vec::new();
            for part in parts() {
                push_string(&mut out, part.as_bytes(), "protocol").ok()?;
            }
            Some(out)
        }
        2 => value.is_empty().then(Vec::new),
        3 => Some(value.parse::<u16>().ok()?.to_be_bytes().into()),
        4 => parts()
            .map(|part| part.parse::<Ipv4Addr>().ok().map(|ip| ip.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat()),
        5 => None,
        6 => parts()
            .map(|part| part.parse::<Ipv6Addr>().ok().map(|ip| ip.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat()),
        _ => Some(value.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(kind: &str, value: &str) -> String {
        encode(Kind::parse(kind).unwrap(), value)
            .unwrap_or_else(|error| panic!("{kind} {value}: {error}"))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn every_type_of_route_53_has_a_wire_form() {
        let name = "0161016200";
        for (kind, value, wire) in [
            ("A", "192.0.2.1", "c0000201".to_owned()),
            (
                "AAAA",
                "2001:db8::1",
                format!("20010db8{}01", "0".repeat(22)),
            ),
            ("CNAME", "a.b.", name.to_owned()),
            ("NS", "a.b", name.to_owned()),
            ("PTR", "a.b.", name.to_owned()),
            ("MX", "10 a.b.", format!("000a{name}")),
            ("TXT", "\"hi\" \"you\"", "0268690379 6f75".replace(' ', "")),
            (
                "SPF",
                "\"v=spf1 -all\"",
                "0b763d73706631202d616c6c".to_owned(),
            ),
            ("SRV", "1 2 3 a.b.", format!("000100020003{name}")),
            (
                "SOA",
                "a.b. a.b. 1 2 3 4 5",
                format!("{name}{name}0000000100000002000000030000000400000005"),
            ),
            (
                "CAA",
                "0 issue \"ca.test\"",
                "0005697373756563612e74657374".to_owned(),
            ),
            ("DS", "1 13 2 ab CD", "00010d02abcd".to_owned()),
            ("SSHFP", "4 2 00ff", "040200ff".to_owned()),
            ("TLSA", "3 1 1 00ff", "03010100ff".to_owned()),
            (
                "NAPTR",
                "1 2 \"U\" \"E2U\" \"\" a.b.",
                format!("000100020155034532550 0{name}").replace(' ', ""),
            ),
            (
                "HTTPS",
                "1 . alpn=\"h2,h3\" port=443",
                "000100000100060268320268330003000201bb".to_owned(),
            ),
            ("SVCB", "0 a.b.", format!("0000{name}")),
        ] {
            assert_eq!(hex(kind, value), wire, "{kind} {value}");
        }
    }

    #[test]
    fn escapes_in_strings_are_octal() {
        assert_eq!(hex("TXT", r#""a\"b\\\052""#), "056122625c2a");
        assert_eq!(hex("TXT", "\"\""), "00");
    }

    #[test]
    fn what_has_no_wire_form_is_refused() {
        let long = format!("\"{}\"", "a".repeat(256));
        for (kind, value) in [
            ("A", "192.0.2"),
            ("A", ""),
            ("A", "192.0.2.1 192.0.2.2"),
            ("AAAA", "192.0.2.1"),
            ("MX", "a.b."),
            ("MX", "70000 a.b."),
            ("TXT", "\"open"),
            ("TXT", long.as_str()),
            ("SRV", "1 2 a.b."),
            ("DS", "1 1 1 abc"),
            ("DS", "1 1 1 zz"),
            ("HTTPS", "1 . port=443 port=443"),
            ("HTTPS", "1 . nonsense=1"),
            ("OPT", "x"),
        ] {
            assert!(
                encode(Kind::parse(kind).unwrap(), value).is_err(),
                "{kind} {value}"
            );
        }
    }
}
