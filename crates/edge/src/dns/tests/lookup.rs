//! Zone lookup against a naive evaluator that knows nothing of nodes: it looks at the list of records, in the
//! words of RFC 1034, section 4.3.2 and RFC 4592.

use proptest::prelude::*;

use super::fixture::*;
use crate::dns::{Code, Kind, View};

const ORIGIN: &str = "test";
/// Few, so that names meet.
const LABELS: &[&str] = &["a", "b", "c", "*"];
const KINDS: &[(&str, Kind)] = &[("A", Kind::A), ("TXT", Kind::TXT), ("NS", Kind::NS)];

/// Labels from the right, below the origin.
type Path = Vec<&'static str>;

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Records(Kind, Path),
    Empty,
    NoName,
    Referral(Path),
}

fn naive(records: &[(Path, Kind)], asked: &Path, kind: Kind) -> Said {
    let has = |path: &[&str], kind| records.iter().any(|(p, k)| p == path && *k == kind);
    // A name exists if it or anything below it has a record.
    let exists =
        |path: &[&str]| path.is_empty() || records.iter().any(|(p, _)| p.starts_with(path));
    for depth in 1..=asked.len() {
        let cut = &asked[..depth];
        if has(cut, Kind::NS) && cut[depth - 1] != "*" {
            return Said::Referral(cut.to_vec());
        }
    }
    let mut source = asked.clone();
    if !exists(asked) {
        let mut encloser = asked.clone();
        while !exists(&encloser) {
            encloser.pop();
        }
        encloser.push("*");
        if !records.iter().any(|(p, _)| *p == encloser) {
            return Said::NoName;
        }
        source = encloser;
    }
    if has(&source, kind) {
        Said::Records(kind, source)
    } else {
        Said::Empty
    }
}

fn text(path: &Path) -> String {
    let mut labels: Vec<&str> = path.iter().rev().copied().collect();
    labels.push(ORIGIN);
    labels.join(".")
}

/// The value of a TXT or NS record tells where it stands; an A record has its number.
fn value(path: &Path, kind: Kind, number: usize) -> String {
    match kind {
        Kind::A => format!("10.0.0.{number}"),
        Kind::TXT => format!("\"{}\"", text(path)),
        _ => format!("ns{number}.other"),
    }
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(prop::sample::select(LABELS), 0..4)
}

fn records() -> impl Strategy<Value = Vec<(Path, Kind)>> {
    // A path of its own: the apex has its servers already, which are no delegation.
    let record = (path(), prop::sample::select(KINDS)).prop_filter("apex", |(path, (_, kind))| {
        !(path.is_empty() && *kind == Kind::NS)
    });
    prop::collection::btree_map(record.prop_map(|(p, (_, k))| (p, k)), Just(()), 0..8)
        .prop_map(|map| map.into_keys().collect())
}

proptest! {
    #[test]
    fn a_zone_says_what_its_records_say(records in records(), asked in path(), kind in prop::sample::select(KINDS)) {
        let (kind_name, kind) = kind;
        prop_assume!(!(asked.is_empty() && kind == Kind::NS));
        let _ = kind_name;
        let mut region = Region::default();
        region.zone("Z1", ORIGIN);
        for (number, (path, kind)) in records.iter().enumerate() {
            let value = value(path, *kind, number);
            region.record("Z1", &text(path), &kind.to_string(), &[&value]);
        }
        let answer = region.ask(&View::Public, &text(&asked), kind);
        let expected = naive(&records, &asked, kind);
        match &expected {
            Said::Records(kind, source) => {
                let number = records.iter().position(|r| *r == (source.clone(), *kind)).unwrap();
                let value = crate::dns::rdata::encode(*kind, &value(source, *kind, number)).unwrap();
                prop_assert_eq!(answer.answers.len(), 1);
                prop_assert_eq!(&answer.answers[0].value[..], &value[..]);
                prop_assert_eq!(&answer.answers[0].name, &name(&text(&asked)));
            }
            Said::Empty | Said::NoName => {
                let code = if expected == Said::Empty { Code::NoError } else { Code::NxDomain };
                prop_assert_eq!(answer.code, code, "{:?}", answer);
                prop_assert!(answer.answers.is_empty());
                prop_assert_eq!(answer.authority[0].kind, Kind::SOA);
            }
            Said::Referral(cut) => {
                prop_assert!(!answer.authoritative && answer.answers.is_empty());
                prop_assert_eq!(&answer.authority[0].name, &name(&text(cut)));
                prop_assert_eq!(answer.authority[0].kind, Kind::NS);
            }
        }
    }
}
