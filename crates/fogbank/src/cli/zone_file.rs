//! Zone files (RFC 1035, section 5) to record sets as Route 53 takes them, and back. Pure; called by `hosted_zone`.
//!
//! Read by NLnet Labs' `domain`. Route 53 writes escapes in octal and takes every name in a value for an absolute one,
//! with or without its last dot; a zone file writes them in decimal, and a name without its last dot is relative.

use anyhow::{Context, Result, anyhow, bail};
use domain::base::iana::Class;
use domain::base::name::{Name, ToName};
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::zonefile::inplace::{Entry, Zonefile};
use fogbank_control::model::route53::{names, values};
use std::collections::BTreeMap;

/// A record set as the API writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    pub kind: String,
    pub ttl_s: u32,
    pub values: Vec<String>,
}

/// A record set of a zone, and what a zone file cannot say of it: alias, policy, health check.
#[derive(Clone, Debug)]
pub struct Kept {
    pub set: Set,
    pub beyond: Vec<String>,
}

#[derive(Debug)]
pub struct Read {
    pub sets: Vec<Set>,
    pub warnings: Vec<String>,
}

/// Of records that have no TTL before any `$TTL`.
const TTL_S: u32 = 300;

pub fn read(text: &str, zone: &str) -> Result<Read> {
    let origin = Name::bytes_from_str(&values::decimal_escapes(zone))
        .with_context(|| format!("the zone's name {zone}"))?;
    let mut file = Zonefile::from(
        format!(
            "$TTL {TTL_S}\n{}\n",
            readable(text, &values::decimal_escapes(zone))
        )
        .as_str(),
    );
    file.set_origin(origin);
    file.set_default_class(Class::IN);
    let mut sets: BTreeMap<(String, String), Set> = BTreeMap::new();
    let (mut warnings, mut passed_over) = (Vec::new(), 0);
    loop {
        let entry = file
            .next_entry()
            .map_err(|error| anyhow!("{}", placed(&error.to_string())))?;
        let record = match entry {
            None => break,
            Some(Entry::Include { path, .. }) => {
                bail!("$INCLUDE {path} is refused: put the records into the file itself")
            }
            Some(Entry::Record(record)) => record,
        };
        let (name, kind) = (owner(record.owner()), record.rtype().to_string());
        if record.class() != Class::IN {
            bail!("{name} {kind}: class {} is not IN", record.class());
        }
        if !names::is_within(&name, zone) {
            bail!("{name} {kind} lies outside {zone}");
        }
        if name == zone && matches!(kind.as_str(), "NS" | "SOA") {
            passed_over += 1;
            continue;
        }
        let value = record
            .data()
            .display_zonefile(DisplayKind::Simple)
            .to_string();
        let ttl_s = record.ttl().as_secs();
        let key = (names::sort_key(&name), kind.clone());
        let set = sets.entry(key).or_insert_with(|| Set {
            name: name.clone(),
            kind: kind.clone(),
            ttl_s,
            values: Vec::new(),
        });
        // RFC 2181, section 5.2: the records of a set have one TTL.
        if set.ttl_s != ttl_s {
            set.ttl_s = set.ttl_s.min(ttl_s);
            warnings.push(format!(
                "{name} {kind} has several TTLs: {} s is taken",
                set.ttl_s
            ));
        }
        set.values.push(values::octal_escapes(&value));
    }
    if passed_over > 0 {
        let text = format!(
            "{passed_over} NS and SOA records of {zone} itself are passed over: they are Route 53's"
        );
        warnings.push(text);
    }
    let sets = sets.into_values().collect();
    Ok(Read { sets, warnings })
}

/// `line:column: text` of the reader, whose first line is ours, and who stands behind the end of a line that ends with
/// what is wrong.
fn placed(error: &str) -> String {
    let place = || {
        let (line, rest) = error.split_once(':')?;
        let (column, text) = rest.split_once(": ")?;
        let line = line.parse::<usize>().ok()?;
        let column = column.parse::<usize>().ok()?;
        Some(match column {
            0 | 1 => format!("line {}, at its end: {text}", line.saturating_sub(2)),
            _ => format!("line {}, column {column}: {text}", line.saturating_sub(1)),
        })
    };
    place().unwrap_or_else(|| error.to_owned())
}

/// What BIND takes and the reader does not, written as it does: times such as `1h30m` (after `$TTL`, before a record's
/// type, in an SOA) in seconds, and `@` as a name in a value, which is the origin.
fn readable(text: &str, zone: &str) -> String {
    let mut origin = zone.to_owned();
    let mut out = String::with_capacity(text.len());
    let mut place = Place::Owner;
    let (mut depth, mut rest) = (0usize, text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => 1,
            ';' => rest.find('\n').unwrap_or(rest.len()),
            '"' => quoted(rest),
            '(' | ')' => 1,
            c if c.is_whitespace() => c.len_utf8(),
            _ => plain(rest),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\n' if depth == 0 => place = Place::Owner,
            ';' | '\n' => {}
            c if c.is_whitespace() => {
                // A line that begins with a blank has no owner.
                if place == Place::Owner {
                    place = Place::Head;
                }
            }
            _ => {
                let (next, is_time) = place.after(token);
                if place == Place::Origin {
                    origin = match token.ends_with('.') {
                        true => token.to_owned(),
                        false => format!("{token}.{origin}"),
                    };
                }
                let is_name = token == "@" && matches!(place, Place::Data | Place::Times);
                place = next;
                let other = match seconds(token) {
                    Some(seconds) if is_time => Some(seconds.to_string()),
                    _ => is_name.then(|| origin.clone()),
                };
                if let Some(other) = other {
                    out.push_str(&other);
                    rest = after;
                    continue;
                }
            }
        }
        out.push_str(token);
        rest = after;
    }
    out
}

/// Where in an entry the next word stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Place {
    Owner,
    /// Between owner and type.
    Head,
    /// Of `$TTL` or an SOA.
    Times,
    /// What `$ORIGIN` is to be.
    Origin,
    Data,
    /// A value whose words are no names.
    Text,
}

impl Place {
    /// Where the word leads to, and whether it may be a time.
    fn after(self, word: &str) -> (Self, bool) {
        let upper = word.to_ascii_uppercase();
        match self {
            Self::Owner if upper == "$TTL" => (Self::Times, false),
            Self::Owner if upper == "$ORIGIN" => (Self::Origin, false),
            Self::Owner if word.starts_with('$') => (Self::Text, false),
            Self::Owner => (Self::Head, false),
            Self::Head if seconds(word).is_some() => (Self::Head, true),
            Self::Head if matches!(upper.as_str(), "IN" | "CH" | "HS") => (Self::Head, false),
            Self::Head if upper == "SOA" => (Self::Times, false),
            Self::Head if matches!(upper.as_str(), "TXT" | "SPF" | "CAA" | "HINFO") => {
                (Self::Text, false)
            }
            Self::Head => (Self::Data, false),
            Self::Times => (Self::Times, true),
            Self::Data => (Self::Data, false),
            Self::Origin | Self::Text => (Self::Text, false),
        }
    }
}

/// Bytes of a text in quotes, with them.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a word without quotes.
fn plain(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c.is_whitespace() || matches!(c, '(' | ')' | ';' | '"') => return at,
            _ => {}
        }
    }
    text.len()
}

/// `90`, `1h30m`; `None`: it is no time.
fn seconds(word: &str) -> Option<u64> {
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mut total, mut number) = (0u64, None::<u64>);
    for c in word.chars() {
        let unit_s = match c.to_ascii_lowercase() {
            '0'..='9' => {
                let digit = u64::from(c.to_digit(10)?);
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit_s)?)?;
    }
    total.checked_add(number.unwrap_or(0))
}

/// As Route 53 lists names.
fn owner(name: &impl ToName) -> String {
    let mut text = String::new();
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        for byte in label.as_slice() {
            match byte.to_ascii_lowercase() {
                plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') => text.push(char::from(plain)),
                other => text.push_str(&format!("\\{other:03o}")),
            }
        }
        text.push('.');
    }
    text
}

/// The file, and how many sets are only comments in it.
pub fn write(zone: &str, id: &str, sets: &[Kept]) -> (String, usize) {
    let mut text = format!(
        "; {zone} ({id}), exported by fogbank\n$ORIGIN {}\n",
        shown(zone)
    );
    let mut commented = 0;
    for Kept { set, beyond } in sets {
        let comment = if beyond.is_empty() { "" } else { "; " };
        if !beyond.is_empty() {
            commented += 1;
            text.push_str(&format!(
                "; {} {} {}\n",
                shown(&set.name),
                set.kind,
                beyond.join(" ")
            ));
        }
        for value in &set.values {
            text.push_str(&format!(
                "{comment}{} {} IN {} {}\n",
                shown(&set.name),
                set.ttl_s,
                set.kind,
                values::decimal_escapes(&absolute(&set.kind, value))
            ));
        }
    }
    (text, commented)
}

/// A name as zone files write it: an asterisk is one.
fn shown(name: &str) -> String {
    let labels = name.split('.').map(|label| match label {
        "\\052" => "*".to_owned(),
        other => values::decimal_escapes(other),
    });
    labels.collect::<Vec<_>>().join(".")
}

/// The names in a value with their last dot.
fn absolute(kind: &str, value: &str) -> String {
    let at: &[usize] = match kind {
        "CNAME" | "NS" | "PTR" => &[0],
        "SOA" => &[0, 1],
        "MX" | "SVCB" | "HTTPS" => &[1],
        "SRV" => &[3],
        "NAPTR" => return dotted(value),
        _ => return value.to_owned(),
    };
    let fields = value.split_ascii_whitespace().enumerate();
    let fields = fields.map(|(n, field)| match at.contains(&n) {
        true => dotted(field),
        false => field.to_owned(),
    });
    fields.collect::<Vec<_>>().join(" ")
}

fn dotted(text: &str) -> String {
    match text.ends_with('.') {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "example.test.";

    fn rows(text: &str) -> Vec<String> {
        let read = read(text, ZONE).unwrap();
        let row = |s: Set| format!("{} {} {} {}", s.name, s.ttl_s, s.kind, s.values.join(" | "));
        read.sets.into_iter().map(row).collect()
    }

    #[test]
    fn what_zone_files_can_say() {
        let text = r#"
; a comment
$TTL 1h
@        IN SOA ns.example.net. admin.example.net. ( 1 ; serial
             2H 15m 2w 1d )
         IN NS  ns.example.net.
1h       CNAME  1d
www 1m   IN A   192.0.2.1
    60      A   192.0.2.2
*        IN CNAME www
mail     IN MX  10 @
key._domainkey TXT ( "v=DKIM1; p=abc def"
                     "ghi;jkl" )
quote    TXT "say \"hi\"\001"
$ORIGIN sub.example.test.
a        AAAA 2001:DB8::1
b.example.test. CAA 0 issue "ca.example.net"
_sip._tcp SRV 1 2 5060 a
h        HTTPS 1 . alpn=h2
t        TLSA 3 1 1 ABCD
"#;
        assert_eq!(
            rows(text),
            [
                "\\052.example.test. 3600 CNAME www.example.test.",
                "key._domainkey.example.test. 3600 TXT \"v=DKIM1; p=abc def\" \"ghi;jkl\"",
                "b.example.test. 3600 CAA 0 issue \"ca.example.net\"",
                "mail.example.test. 3600 MX 10 example.test.",
                "quote.example.test. 3600 TXT \"say \\\"hi\\\"\\001\"",
                "_sip._tcp.sub.example.test. 3600 SRV 1 2 5060 a.sub.example.test.",
                "a.sub.example.test. 3600 AAAA 2001:db8::1",
                "h.sub.example.test. 3600 HTTPS 1 . alpn=h2",
                "t.sub.example.test. 3600 TLSA 3 1 1 ABCD",
                "1h.example.test. 3600 CNAME 1d.example.test.",
                "www.example.test. 60 A 192.0.2.1 | 192.0.2.2",
            ]
            .map(str::to_owned)
            .to_vec()
            .tap_sorted()
        );
    }

    trait Sorted {
        fn tap_sorted(self) -> Self;
    }

    impl Sorted for Vec<String> {
        /// As the API lists them: by labels from the right, then type.
        fn tap_sorted(mut self) -> Self {
            self.sort_by_key(|row| {
                let mut fields = row.split(' ');
                let name = names::sort_key(fields.next().unwrap());
                (name, fields.nth(1).unwrap().to_owned())
            });
            self
        }
    }

    #[test]
    fn times_are_told_from_names() {
        let told = |text: &str| readable(text, ZONE);
        assert_eq!(
            told("$TTL 1h30m ; 1h\n1h 1d IN A 1h\n"),
            "$TTL 5400 ; 1h\n1h 86400 IN A 1h\n"
        );
        assert_eq!(
            told(" IN 1W TXT \"1h\" ( \";\"\n 1h )\n"),
            " IN 604800 TXT \"1h\" ( \";\"\n 1h )\n"
        );
        assert_eq!(
            told("$ORIGIN sub\n@ MX 10 @\n@ TXT @\n$ORIGIN a.test.\n@ CNAME @\n"),
            "$ORIGIN sub\n@ MX 10 sub.example.test.\n@ TXT @\n$ORIGIN a.test.\n@ CNAME a.test.\n"
        );
        for (word, told) in [
            ("0", Some(0)),
            ("1h1", Some(3601)),
            ("h", None),
            ("1x", None),
            ("1hh", None),
            ("9999999999999999999w", None),
        ] {
            assert_eq!(seconds(word), told, "{word}");
        }
    }

    #[test]
    fn every_value_is_one_that_route_53_takes() {
        let text = "a A 192.0.2.1\nn NAPTR 100 50 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b.test!\" .\ns SSHFP 1 1 AB\nd DS 1 8 2 ABCD\n";
        for set in read(text, ZONE).unwrap().sets {
            for value in &set.values {
                assert_eq!(values::problem(&set.kind, value), None);
            }
        }
    }

    #[test]
    fn what_is_refused_and_what_is_warned_of() {
        for (text, why) in [
            ("$INCLUDE /etc/passwd\n", "$INCLUDE /etc/passwd is refused"),
            ("a.other.test. A 192.0.2.1\n", "lies outside"),
            ("a CH A 192.0.2.1\n", ""),
            ("ok A 192.0.2.1\na A nonsense\n", "line 2"),
            ("a TXT \"open\n", "line"),
        ] {
            let error = read(text, ZONE).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let read = read("a 60 A 192.0.2.1\na 30 A 192.0.2.2\n@ NS ns\n", ZONE).unwrap();
        assert_eq!((read.sets[0].ttl_s, read.warnings.len()), (30, 2));
    }

    #[test]
    fn an_export_is_imported_as_it_was() {
        let set = |name: &str, kind: &str, values: &[&str]| Set {
            name: name.to_owned(),
            kind: kind.to_owned(),
            ttl_s: 60,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        let sets = [
            set("\\052.example.test.", "A", &["192.0.2.1", "192.0.2.2"]),
            set("c.example.test.", "CNAME", &["other.example.net."]),
            set("m.example.test.", "MX", &["10 mail.example.net."]),
            set("t\\040x.example.test.", "TXT", &["\"a\\\"\\001;\" \"b\""]),
        ];
        let plain: Vec<Kept> = sets
            .iter()
            .map(|set| Kept {
                set: set.clone(),
                beyond: Vec::new(),
            })
            .collect();
        let (text, commented) = write(ZONE, "Z1", &plain);
        assert_eq!(
            (read(&text, ZONE).unwrap().sets, commented),
            (sets.to_vec(), 0)
        );
        // Route 53 takes a name without its last dot for an absolute one; a zone file does not.
        assert_eq!(absolute("CNAME", "other.example.net"), "other.example.net.");
        assert_eq!(absolute("SRV", "1 2 3 a.test"), "1 2 3 a.test.");
        let policy = Kept {
            set: sets[0].clone(),
            beyond: vec!["SetIdentifier=x".to_owned(), "Weight=1".to_owned()],
        };
        let (text, commented) = write(ZONE, "Z1", &[policy]);
        assert_eq!(
            (read(&text, ZONE).unwrap().sets, commented),
            (Vec::new(), 1)
        );
        assert!(text.contains("; *.example.test. A SetIdentifier=x Weight=1"));
    }
}
