//! `fogbank zone import` and `export`: a hosted zone's records from and to a zone file, through Route 53's own API.

use super::zone_file::{self, Kept, Set};
use super::{RegionArguments, http, region, show};
use anyhow::{Context, Result, bail};
use clap::Args;
use fogbank_types::RegionConfig;
use fogbank_types::route53::HostedZone;
use fogbank_wire::xml::{self, Element};
use std::path::PathBuf;

pub const IMPORT_HELP: &str = "\
A record set that is there already gets the file's values; what the file does not name stays. NS and SOA of the zone itself
are Route 53's and are passed over. $ORIGIN and $TTL are followed, $INCLUDE is refused. A file of more than 500 values or
16,000 characters goes in several batches, each made whole or not at all.

Examples:
  sudo fogbank zone import example.test db.example.test
  sudo fogbank zone import Z0123456789ABCDEFGHI db.example.test";

pub const EXPORT_HELP: &str = "\
Aliases and records with routing policies have no form in a zone file: they are written as comments, and counted on stderr.

Examples:
  sudo fogbank zone export example.test > db.example.test";

/// AWS's limits of a batch, in which UPSERT counts twice.
const VALUES_MAX: usize = 500;
const CHARACTERS_MAX: usize = 16_000;

#[derive(Args)]
pub struct ImportArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Id or name of the hosted zone
    #[arg(value_name = "ZONE")]
    zone: String,
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args)]
pub struct ExportArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Id or name of the hosted zone
    #[arg(value_name = "ZONE")]
    zone: String,
}

pub fn import(arguments: &ImportArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let zone = find(&config, &arguments.zone)?;
    let file = arguments.file.display();
    let text =
        std::fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {file}"))?;
    let read = zone_file::read(&text, &zone.name).with_context(|| file.to_string())?;
    for warning in &read.warnings {
        eprintln!("warning: {warning}");
    }
    let (mut done, total) = (0, read.sets.len());
    for batch in batches(&read.sets) {
        let body = change_batch(batch);
        let path = format!("/2013-04-01/hostedzone/{}/rrset/", zone.id);
        call(&config, &zone, "POST", &path, &body).with_context(|| {
            format!("{done} of {total} record sets were imported, then one batch was refused")
        })?;
        done += batch.len();
    }
    show(&format!(
        "{done} record sets imported into {} ({})\n",
        zone.name, zone.id
    ))
}

pub fn export(arguments: &ExportArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let zone = find(&config, &arguments.zone)?;
    let mut sets = Vec::new();
    let mut start = String::new();
    loop {
        let path = format!("/2013-04-01/hostedzone/{}/rrset{start}", zone.id);
        let answer = call(&config, &zone, "GET", &path, "")?;
        let listed = child(&answer, "ResourceRecordSets").context("the answer has no records")?;
        sets.extend(listed.children.iter().map(kept));
        if text(&answer, "IsTruncated") != "true" {
            break;
        }
        start = format!(
            "?name={}&type={}&identifier={}",
            encoded(text(&answer, "NextRecordName")),
            encoded(text(&answer, "NextRecordType")),
            encoded(text(&answer, "NextRecordIdentifier"))
        );
        if let Some(plain) = start.strip_suffix("&identifier=") {
            start = plain.to_owned();
        }
    }
    let (written, commented) = zone_file::write(&zone.name, &zone.id, &sets);
    if commented > 0 {
        eprintln!(
            "warning: {commented} record sets are aliases or have a routing policy; a zone file cannot say that, so they are \
             comments in it and an import passes over them"
        );
    }
    show(&written)
}

/// By id, or by a name that only one hosted zone has.
fn find(config: &RegionConfig, wanted: &str) -> Result<HostedZone> {
    let snapshot = region::snapshot(config)?;
    let id = wanted.strip_prefix("/hostedzone/").unwrap_or(wanted);
    let name = format!("{}.", wanted.trim_end_matches('.').to_ascii_lowercase());
    let zones = snapshot.hosted_zones.all();
    let found: Vec<_> = zones.filter(|z| z.id == id || z.name == name).collect();
    match found.as_slice() {
        [zone] => Ok(HostedZone::clone(zone)),
        [] => bail!("no hosted zone has the id or the name '{wanted}'; see `fogbank status`"),
        many => {
            let ids: Vec<&str> = many.iter().map(|zone| zone.id.as_str()).collect();
            bail!(
                "{} hosted zones are called '{wanted}'; give the id: {}",
                many.len(),
                ids.join(", ")
            )
        }
    }
}

/// As the zone's own account.
fn call(
    config: &RegionConfig,
    zone: &HostedZone,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Element> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/route53/aws4_request, SignedHeaders=host, Signature=none",
        zone.scope.account
    );
    let headers = [
        ("content-type", "application/xml"),
        ("authorization", authorization.as_str()),
    ];
    let answer = http::call(config, method, path, &headers, body.as_bytes())?;
    let said = xml::parse(&answer.body).context("the region's answer is not XML")?;
    if (200..300).contains(&answer.status) {
        return Ok(said);
    }
    let mut messages = Vec::new();
    collect(&said, "Message", &mut messages);
    bail!("the region refuses it:\n  {}", messages.join("\n  "))
}

fn collect(element: &Element, name: &str, found: &mut Vec<String>) {
    if element.name == name && element.children.is_empty() {
        found.push(element.text.clone());
    }
    for child in &element.children {
        collect(child, name, found);
    }
}

fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.children.iter().find(|child| child.name == name)
}

fn text<'a>(element: &'a Element, name: &str) -> &'a str {
    child(element, name).map_or("", |child| &child.text)
}

/// Whatever is no letter or digit, for a query string.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A listed record set: what every one has, and all else as it stands in the answer.
fn kept(element: &Element) -> Kept {
    const USUAL: [&str; 4] = ["Name", "Type", "TTL", "ResourceRecords"];
    let values = child(element, "ResourceRecords").map_or(&[][..], |list| &list.children);
    let others = element.children.iter();
    let others = others.filter(|child| !USUAL.contains(&child.name.as_str()));
    Kept {
        set: Set {
            name: text(element, "Name").to_owned(),
            kind: text(element, "Type").to_owned(),
            ttl_s: text(element, "TTL").parse().unwrap_or(0),
            values: values.iter().map(|v| text(v, "Value").to_owned()).collect(),
        },
        beyond: others.map(described).collect(),
    }
}

/// `Weight=1`, `AliasTarget(HostedZoneId=Z1 DNSName=a.)`.
fn described(element: &Element) -> String {
    if element.children.is_empty() {
        return format!("{}={}", element.name, element.text);
    }
    let members: Vec<String> = element.children.iter().map(described).collect();
    format!("{}({})", element.name, members.join(" "))
}

/// As many sets as AWS takes at once.
fn batches(sets: &[Set]) -> Vec<&[Set]> {
    let mut batches = Vec::new();
    let (mut start, mut values, mut characters) = (0, 0, 0);
    for (at, set) in sets.iter().enumerate() {
        let own: usize = set.values.iter().map(|value| value.chars().count()).sum();
        let full = values + set.values.len() > VALUES_MAX || characters + own > CHARACTERS_MAX;
        if full && at > start {
            batches.push(&sets[start..at]);
            (start, values, characters) = (at, 0, 0);
        }
        values += set.values.len();
        characters += own;
    }
    if start < sets.len() {
        batches.push(&sets[start..]);
    }
    batches
}

fn change_batch(sets: &[Set]) -> String {
    let mut out = String::from(
        "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>",
    );
    for set in sets {
        out.push_str("<Change><Action>UPSERT</Action><ResourceRecordSet>");
        xml::element("Name", &set.name, &mut out);
        xml::element("Type", &set.kind, &mut out);
        xml::element("TTL", &set.ttl_s.to_string(), &mut out);
        out.push_str("<ResourceRecords>");
        for value in &set.values {
            out.push_str("<ResourceRecord>");
            xml::element("Value", value, &mut out);
            out.push_str("</ResourceRecord>");
        }
        out.push_str("</ResourceRecords></ResourceRecordSet></Change>");
    }
    out.push_str("</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, values: usize, characters: usize) -> Set {
        Set {
            name: name.to_owned(),
            kind: "TXT".to_owned(),
            ttl_s: 60,
            values: vec!["x".repeat(characters); values],
        }
    }

    #[test]
    fn a_batch_is_within_awss_limits() {
        let sets = [
            set("a", 300, 1),
            set("b", 200, 1),
            set("c", 1, 1),
            set("d", 1, 15_999),
            set("e", 1, 2),
        ];
        let names: Vec<String> = batches(&sets)
            .iter()
            .map(|batch| batch.iter().map(|s| s.name.as_str()).collect())
            .collect();
        assert_eq!(names, ["ab", "cd", "e"]);
        assert!(batches(&[]).is_empty());
    }

    #[test]
    fn a_listed_set_is_read_with_its_policy() {
        let listed = br#"<ResourceRecordSet><Name>a.test.</Name><Type>A</Type><SetIdentifier>x</SetIdentifier>
            <GeoLocation><CountryCode>DE</CountryCode></GeoLocation><TTL>60</TTL>
            <ResourceRecords><ResourceRecord><Value>192.0.2.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>"#;
        let kept = kept(&xml::parse(listed).unwrap());
        assert_eq!(
            kept.beyond,
            ["SetIdentifier=x", "GeoLocation(CountryCode=DE)"]
        );
        assert_eq!((kept.set.ttl_s, kept.set.values.len()), (60, 1));
    }

    #[test]
    fn a_query_holds_any_name() {
        assert_eq!(encoded("\\052.a-b_c.test."), "%5C052.a-b_c.test.");
    }
}
