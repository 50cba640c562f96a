//! Values of records in presentation format (fact DNS-5): which texts a type takes.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html>

use super::names;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The problem with a value, as AWS words it; `None` for a good one.
pub fn problem(record_type: &str, value: &str) -> Option<String> {
    let verdict = match record_type {
        "A" => a(value),
        "AAAA" => aaaa(value),
        "CNAME" | "NS" | "PTR" => domain(value),
        "TXT" | "SPF" => character_strings(value),
        "MX" => mx(value),
        "SRV" => srv(value),
        "SOA" => soa(value),
        "CAA" => caa(value),
        "DS" => hex_record(value, "DS", &[65_535, 255, 255]),
        "SSHFP" => hex_record(value, "SSHFP", &[255, 255]),
        "TLSA" => hex_record(value, "TLSA", &[255, 255, 255]),
        "NAPTR" => naptr(value),
        "SVCB" | "HTTPS" => service_binding(record_type, value),
        _ => Err(format!("{record_type} (Record type is not supported)")),
    };
    let fault = verdict.err()?;
    Some(format!(
        "Invalid Resource Record: 'FATAL problem: {fault} encountered with '{value}''"
    ))
}

/// Escapes as zone files write them (RFC 1035: `\\DDD` is decimal) as Route 53 writes them (three octal digits).
pub fn octal_escapes(text: &str) -> String {
    convert_escapes(text, 10, |byte| format!("\\{byte:03o}"))
}

/// The other way round.
pub fn decimal_escapes(text: &str) -> String {
    convert_escapes(text, 8, |byte| format!("\\{byte:03}"))
}

fn convert_escapes(text: &str, radix: u32, write: impl Fn(u8) -> String) -> String {
    let mut converted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        converted.push_str(before);
        let byte = escape
            .get(1..4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let byte = byte.and_then(|digits| u8::from_str_radix(digits, radix).ok());
        let length = match byte {
            Some(byte) => {
                converted.push_str(&write(byte));
                4
            }
            // A backslash and the character after it, of however many bytes.
            None => {
                let after = escape.chars().nth(1).map_or(0, char::len_utf8);
                converted.push_str(&escape[..1 + after]);
                1 + after
            }
        };
        rest = &escape[length..];
    }
    converted.push_str(rest);
    converted
}

type Verdict = Result<(), String>;

fn a(value: &str) -> Verdict {
    match value.parse::<Ipv4Addr>() {
        Ok(_) => Ok(()),
        Err(_) => Err("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)".to_owned()),
    }
}

fn aaaa(value: &str) -> Verdict {
    match value.parse::<Ipv6Addr>() {
        Ok(_) => Ok(()),
        Err(_) => {
            Err("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)".to_owned())
        }
    }
}

fn domain(value: &str) -> Verdict {
    if value.is_empty() {
        return Err("DomainLabelEmpty (Domain label is empty)".to_owned());
    }
    names::canonical(value)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn fields<'a>(value: &'a str, kind: &str, count: usize) -> Result<Vec<&'a str>, String> {
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    if fields.len() == count {
        Ok(fields)
    } else {
        Err(format!(
            "{kind}RRDATAIncorrectNumberOfFields ({kind} record doesn't have {count} fields)"
        ))
    }
}

fn number(text: &str, kind: &str, max: u32) -> Verdict {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(n) if digits && n <= max => Ok(()),
        _ => Err(format!(
            "{kind}RRDATAIllegalNumber (Value must be a number from 0 to {max})"
        )),
    }
}

fn mx(value: &str) -> Verdict {
    let parts = fields(value, "MX", 2)?;
    number(parts[0], "MX", 65_535)?;
    domain(parts[1])
}

fn srv(value: &str) -> Verdict {
    let parts = fields(value, "SRV", 4)?;
    parts[..3]
        .iter()
        .try_for_each(|part| number(part, "SRV", 65_535))?;
    domain(parts[3])
}

fn soa(value: &str) -> Verdict {
    let parts = fields(value, "SOA", 7)?;
    domain(parts[0])?;
    domain(parts[1])?;
    parts[2..]
        .iter()
        .try_for_each(|part| number(part, "SOA", u32::MAX))
}

fn hex_record(value: &str, kind: &str, numbers: &[u32]) -> Verdict {
    let parts = fields(value, kind, numbers.len() + 1)?;
    for (part, max) in parts.iter().zip(numbers) {
        number(part, kind, *max)?;
    }
    let digest = parts[numbers.len()];
    if digest.len() % 2 == 0 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(format!(
            "{kind}RRDATAIllegalDigest (Value must be hexadecimal)"
        ))
    }
}

fn caa(value: &str) -> Verdict {
    let bad = || "CAARRDATAIncorrectFormat (CAA record must be: flags tag \"value\")".to_owned();
    let (flags, rest) = value.split_once(' ').ok_or_else(bad)?;
    let (tag, text) = rest.split_once(' ').ok_or_else(bad)?;
    number(flags, "CAA", 255)?;
    if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(bad());
    }
    match strings(text) {
        Ok(strings) if strings.len() == 1 => Ok(()),
        _ => Err(bad()),
    }
}

fn naptr(value: &str) -> Verdict {
    let bad = || {
        "NAPTRRRDATAIncorrectFormat (NAPTR record must be: order preference \"flags\" \"service\" \"regexp\" replacement)".to_owned()
    };
    let mut heads = value.splitn(3, ' ');
    let (Some(order), Some(preference), Some(rest)) = (heads.next(), heads.next(), heads.next())
    else {
        return Err(bad());
    };
    number(order, "NAPTR", 65_535)?;
    number(preference, "NAPTR", 65_535)?;
    let (quoted, replacement) = rest.rsplit_once(' ').ok_or_else(bad)?;
    match strings(quoted) {
        Ok(strings) if strings.len() == 3 => domain(replacement),
        _ => Err(bad()),
    }
}

fn service_binding(kind: &str, value: &str) -> Verdict {
    let mut parts = value.split_ascii_whitespace();
    let (Some(priority), Some(target)) = (parts.next(), parts.next()) else {
        return Err(format!(
            "{kind}RRDATAIncorrectNumberOfFields ({kind} record must have a priority and a target)"
        ));
    };
    number(priority, kind, 65_535)?;
    domain(target)?;
    for parameter in parts {
        let key = parameter.split('=').next().unwrap_or("");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if key.is_empty() || !key.bytes().all(plain) {
            return Err(format!(
                "{kind}RRDATAIllegalParameter (Value holds a parameter that is not valid)"
            ));
        }
    }
    Ok(())
}

fn character_strings(value: &str) -> Verdict {
    let strings = strings(value)?;
    match strings.iter().any(|length| *length > 255) {
        true => Err("CharacterStringTooLong (Value is too long)".to_owned()),
        false => Ok(()),
    }
}

/// Lengths of the quoted strings that a text holds, with escapes counted as one character.
fn strings(text: &str) -> Result<Vec<usize>, String> {
    let unquoted =
        || "InvalidCharacterString (Value should be enclosed in quotation marks)".to_owned();
    let escape = || "InvalidCharacterString (Value holds an escape that is not valid)".to_owned();
    let mut lengths = Vec::new();
    let mut bytes = text.bytes().peekable();
    loop {
        while bytes.next_if(|b| matches!(b, b' ' | b'\t')).is_some() {}
        match bytes.next() {
            None if lengths.is_empty() => return Err(unquoted()),
            None => return Ok(lengths),
            Some(b'"') => {}
            Some(_) => return Err(unquoted()),
        }
        let mut length = 0;
        loop {
            match bytes.next().ok_or_else(unquoted)? {
                b'"' => break,
                b'\\' => match bytes.next().ok_or_else(escape)? {
                    b'0'..=b'3' => {
                        let octal = |b: Option<u8>| b.is_some_and(|b| matches!(b, b'0'..=b'7'));
                        if !(octal(bytes.next()) && octal(bytes.next())) {
                            return Err(escape());
                        }
                    }
                    b'4'..=b'9' => return Err(escape()),
                    _ => {}
                },
                0x20..=0x7e => {}
                _ => {
                    return Err(
                        "UnsupportedCharacter (Value contains unsupported characters)".to_owned(),
                    );
                }
            }
            length += 1;
        }
        lengths.push(length);
        // Strings may touch: people who know Terraform write long texts as "a""b".
        if bytes
            .peek()
            .is_some_and(|b| !matches!(b, b' ' | b'\t' | b'"'))
        {
            return Err(unquoted());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_values_of_each_type() {
        for (kind, value) in [
            ("A", "192.0.2.1"),
            ("AAAA", "2001:db8::1"),
            ("CNAME", "www.example.com"),
            ("NS", "ns-1.awsdns-00.com."),
            ("PTR", "host.example.com."),
            ("TXT", "\"v=spf1 -all\""),
            ("TXT", "\"a\" \"b\""),
            ("TXT", "\"a\"\"b\""),
            ("TXT", "\"\""),
            ("TXT", "\"say \\\"hi\\\" \\101\""),
            ("SPF", "\"v=spf1\""),
            ("MX", "10 mail.example.com."),
            ("SRV", "1 10 5269 xmpp.example.com."),
            (
                "SOA",
                "ns-1.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400",
            ),
            ("CAA", "0 issue \"ca.example.com\""),
            ("DS", "123 4 5 0123abCD"),
            ("SSHFP", "1 1 0123"),
            ("TLSA", "3 1 1 0123"),
            (
                "NAPTR",
                "100 50 \"u\" \"sip+E2U\" \"!^.*$!sip:info@example.com!\" .",
            ),
            ("HTTPS", "1 . alpn=h2"),
            ("SVCB", "0 svc.example.com."),
        ] {
            assert_eq!(problem(kind, value), None, "{kind} {value}");
        }
    }

    #[test]
    fn bad_values_of_each_type() {
        let long = format!("\"{}\"", "a".repeat(256));
        for (kind, value) in [
            ("A", "192.0.2.256"),
            ("A", "192.0.2"),
            ("A", "192.0.2.1 "),
            ("A", "::1"),
            ("A", ""),
            ("AAAA", "192.0.2.1"),
            ("AAAA", "fe80::1%eth0"),
            ("CNAME", ""),
            ("CNAME", "a..b"),
            ("NS", "a b"),
            ("PTR", "ä"),
            ("TXT", "plain"),
            ("TXT", "\"open"),
            ("TXT", "\"a\"b"),
            ("TXT", ""),
            ("TXT", "\"a\\\""),
            ("TXT", "\"\\9\""),
            ("TXT", "\"ä\""),
            ("TXT", &long),
            ("MX", "mail.example.com."),
            ("MX", "65536 a."),
            ("MX", "+1 a."),
            ("MX", "1 a. b."),
            ("SRV", "1 2 a."),
            ("SRV", "1 2 65536 a."),
            ("SOA", "a. b. 1 2 3 4"),
            ("CAA", "0 issue ca"),
            ("CAA", "256 issue \"a\""),
            ("CAA", "0 is-sue \"a\""),
            ("CAA", ""),
            ("DS", "1 2 3 xyz"),
            ("DS", "1 2 3 012"),
            ("SSHFP", "256 1 00"),
            ("TLSA", "1 1 00"),
            ("NAPTR", "1 2 \"u\" \"s\" ."),
            ("NAPTR", "x"),
            ("HTTPS", "1"),
            ("HTTPS", "x ."),
            ("SVCB", "1 . A=1"),
            ("WKS", "x"),
        ] {
            assert!(problem(kind, value).is_some(), "{kind} {value}");
        }
    }

    #[test]
    fn the_text_is_awss() {
        assert_eq!(
            problem("A", "x").unwrap(),
            "Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with 'x''"
        );
    }

    #[test]
    fn escapes_of_zone_files_and_of_route_53() {
        assert_eq!(octal_escapes("a\\032\\\\010\\.x"), "a\\040\\\\010\\.x");
        assert_eq!(decimal_escapes("\\052.a"), "\\042.a");
        assert_eq!(octal_escapes("\\"), "\\");
        assert_eq!(octal_escapes("\\999\\ä"), "\\999\\ä");
    }

    proptest! {
        #[test]
        fn escapes_go_there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let text: String = bytes.iter().map(|b| format!("\\{b:03}")).collect();
            prop_assert_eq!(decimal_escapes(&octal_escapes(&text)), text);
        }

        #[test]
        fn no_text_panics(kind in "A|AAAA|TXT|MX|SRV|SOA|CAA|DS|NAPTR|HTTPS|NS", value in "[\\x20-\\x7eä\\\\\"]{0,40}") {
            problem(&kind, &value);
        }
    }
}
