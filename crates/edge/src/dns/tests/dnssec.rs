//! Answers of signed zones against a validator written apart, over random zones and questions (RFC 4035, section 5).

use std::collections::BTreeMap;

use fogbank_pki::{dnssec, ecdsa};
use fogbank_types::kms::KeySecret;
use fogbank_types::route53::ZoneSigning;
use fogbank_types::{Row, Timestamp};
use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::fixture::*;
use crate::dns::{Answer, Code, Kind, Name, Record, Tables, View};

/// Signs a zone of the region's; its zone-signing key is all that there is.
fn sign(region: &mut Region, zone_id: &str) -> Vec<u8> {
    let (secret, point) = ecdsa::generate().unwrap();
    region.put(ZoneSigning {
        scope: scope().global(),
        zone_id: zone_id.to_owned(),
        secret: KeySecret::new(secret),
        dnskeys: vec![dnssec::dnskey(dnssec::ZONE_KEY, &point)],
        point: point.clone(),
        signatures: Vec::new(),
        signed_at: Timestamp(0),
    });
    point
}

fn ask(tables: &Tables, text: &str, kind: Kind) -> Answer {
    let mut answer = tables.answer(&View::Public, &name(text), kind);
    tables.finish(&mut answer, &name(text), kind, true);
    answer
}

/// Sets of a section, and the values of the signatures of each.
type Sets = BTreeMap<(Name, Kind), (Vec<Record>, Vec<Vec<u8>>)>;

fn sets(section: &[Record]) -> Sets {
    let mut sets = Sets::new();
    for record in section {
        if record.kind == Kind::RRSIG {
            let covered = Kind(u16::from_be_bytes([record.value[0], record.value[1]]));
            let set = sets.entry((record.name.clone(), covered)).or_default();
            set.1.push(record.value.to_vec());
        } else {
            let set = sets.entry((record.name.clone(), record.kind)).or_default();
            set.0.push(record.clone());
        }
    }
    sets
}

/// Whether that is the key's signature of that set, as a resolver would see it.
fn is_valid(point: &[u8], origin: &Name, set: &[Record], signature: &[u8], now: u64) -> bool {
    let number = |at: usize| u32::from_be_bytes(signature[at..at + 4].try_into().unwrap());
    let (signer, length) = Name::read(&signature[18..]).unwrap();
    let (head, signed) = signature.split_at(18 + length);
    let owner = &set[0].name;
    let labels = owner.labels().filter(|label| *label != b"*").count();
    assert_eq!(signer, *origin);
    assert_eq!((signature[2], usize::from(signature[3])), (13, labels));
    assert_eq!(number(4), set[0].ttl);
    assert!(
        u64::from(number(8)) > now + u64::from(set[0].ttl),
        "it holds as long as it is kept"
    );
    assert!(u64::from(number(12)) < now);
    let mut values: Vec<_> = set.iter().map(|record| record.value.clone()).collect();
    values.sort();
    values.dedup();
    let mut message = head.to_vec();
    for value in values {
        message.extend(owner.wire());
        message.extend(set[0].kind.0.to_be_bytes());
        message.extend([0, 1]);
        message.extend(set[0].ttl.to_be_bytes());
        message.extend((value.len() as u16).to_be_bytes());
        message.extend(&*value);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(&message, signed)
        .is_ok()
}

/// The types of an NSEC record, and the name that it leads to.
fn read_nsec(value: &[u8]) -> (Name, Vec<Kind>) {
    let (next, mut at) = Name::read(value).unwrap();
    let mut kinds = Vec::new();
    while at < value.len() {
        let (window, length) = (u16::from(value[at]), usize::from(value[at + 1]));
        for (n, byte) in value[at + 2..at + 2 + length].iter().enumerate() {
            for bit in 0..8 {
                if byte & (0x80 >> bit) != 0 {
                    kinds.push(Kind(window << 8 | (n * 8 + bit) as u16));
                }
            }
        }
        at += 2 + length;
    }
    (next, kinds)
}

/// A resolver's judgement of an answer from one signed zone.
fn judge(point: &[u8], origin: &Name, asked: &Name, kind: Kind, answer: &Answer) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let is_referral = answer
        .authority
        .first()
        .is_some_and(|record| record.kind == Kind::NS);
    for section in [&answer.answers, &answer.authority] {
        for ((owner, own), (set, signatures)) in sets(section) {
            if is_referral && own == Kind::NS {
                assert!(signatures.is_empty(), "a delegation is not the parent's");
                continue;
            }
            assert!(!set.is_empty(), "a signature of nothing: {owner} {own}");
            assert_eq!(signatures.len(), 1, "{owner} {own}");
            assert!(
                is_valid(point, origin, &set, &signatures[0], now),
                "{owner} {own}"
            );
        }
    }
    assert_eq!(answer.code, Code::NoError);
    let mut last = asked.clone();
    let is_link =
        |record: &&Record, name: &Name| record.name == *name && record.kind == Kind::CNAME;
    for _ in 0..=answer.answers.len() {
        let link = answer.answers.iter().find(|record| is_link(record, &last));
        match link.filter(|_| kind != Kind::CNAME) {
            Some(record) => last = Name::read(&record.value).unwrap().0,
            None => break,
        }
    }
    // Found, elsewhere, or a chain without an end: nothing is denied.
    let is_told =
        |record: &Record| record.name == last && [kind, Kind::CNAME].contains(&record.kind);
    if answer.answers.iter().any(is_told) || !last.is_within(origin.wire()) {
        return;
    }
    let denial = answer
        .authority
        .iter()
        .find(|record| record.kind == Kind::NSEC);
    let Some(denial) = denial else {
        assert!(
            is_referral
                && answer
                    .authority
                    .iter()
                    .any(|record| record.kind == Kind::DS)
        );
        return;
    };
    let (next, kinds) = read_nsec(&denial.value);
    assert_eq!(next, Name::child(&[0], denial.name.wire()).unwrap());
    assert!(kinds.contains(&Kind::NSEC) && kinds.contains(&Kind::RRSIG));
    if is_referral {
        assert!(
            kinds.contains(&Kind::NS) && !kinds.contains(&Kind::DS) && !kinds.contains(&Kind::SOA)
        );
        assert!(last.is_within(denial.name.wire()));
    } else {
        assert_eq!(denial.name, last);
        assert!(!kinds.contains(&kind) && !kinds.contains(&Kind::CNAME));
    }
}

const NAMES: [&str; 9] = [
    "", "a.", "b.a.", "*.", "*.a.", "c.b.a.", "d.", "x.d.", "y.c.",
];
const SETS: [(&str, &str); 7] = [
    ("A", "192.0.2.1"),
    ("TXT", "\"t\""),
    ("MX", "1 m.z.test"),
    ("CNAME", "b.a.z.test"),
    ("NS", "ns.z.test"),
    ("DS", "1 13 2 AABB"),
    ("CAA", "0 issue \"x\""),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_answer_of_a_signed_zone_validates(
        records in proptest::collection::vec((0..NAMES.len(), 0..SETS.len()), 0..12),
        asked in 0..NAMES.len() + 2,
        kind in proptest::sample::select(vec![Kind::A, Kind::TXT, Kind::MX, Kind::CNAME, Kind::NS, Kind::DS, Kind::SOA, Kind(99)]),
    ) {
        let mut region = Region::default();
        region.zone("Z1", "z.test");
        let point = sign(&mut region, "Z1");
        let mut names_with: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (at, set) in records {
            let (own, value) = SETS[set];
            let others = names_with.entry(at).or_default();
            // As Route 53 takes them: a CNAME stands alone and not at the apex, whose servers are given.
            let is_alone = own == "CNAME" || others.contains(&"CNAME");
            if is_alone && (!others.is_empty() || at == 0) || at == 0 && matches!(own, "NS" | "DS") || others.contains(&own) {
                continue;
            }
            others.push(own);
            region.record("Z1", &format!("{}z.test", NAMES[at]), own, &[value]);
        }
        let tables = region.tables();
        let text = match NAMES.get(asked) {
            Some(front) => format!("{front}z.test"),
            None => format!("n{asked}.a.z.test"),
        };
        if text == "z.test" && kind == Kind::DS {
            return Ok(());
        }
        let answer = ask(&tables, &text, kind);
        judge(&point, &name("z.test"), &name(&text), kind, &answer);
        prop_assert_eq!(ask(&tables, &text, kind), answer, "kept signatures are the same");
    }
}

#[test]
fn zones_that_are_not_signed_and_askers_without_the_bit_get_no_signatures() {
    let mut region = Region::default();
    region.zone("Z1", "z.test");
    region.zone("Z2", "plain.test");
    region.record("Z1", "a.z.test", "A", &["192.0.2.1"]);
    region.record("Z2", "a.plain.test", "A", &["192.0.2.1"]);
    region.record("Z2", "to.plain.test", "CNAME", &["none.z.test"]);
    sign(&mut region, "Z1");
    let tables = region.tables();
    for text in ["a.plain.test", "none.plain.test"] {
        let plain = tables.answer(&View::Public, &name(text), Kind::A);
        assert_eq!(ask(&tables, text, Kind::A), plain);
        assert!(!tables.signs(&name(text), &plain));
        assert_eq!(tables.denial(&plain), plain.code);
    }
    let led = tables.answer(&View::Public, &name("to.plain.test"), Kind::A);
    assert!(
        tables.signs(&name("to.plain.test"), &led),
        "a chain leads there"
    );
    let mut answer = tables.answer(&View::Public, &name("none.z.test"), Kind::A);
    let before = answer.clone();
    assert_eq!(tables.denial(&answer), Code::NoError);
    tables.finish(&mut answer, &name("none.z.test"), Kind::A, false);
    assert_eq!(answer, before);
    assert_eq!(answer.code, Code::NxDomain);
}

#[test]
fn a_parent_denies_keys_of_a_zone_that_is_here_as_well() {
    let mut region = Region::default();
    region.zone("Z1", "z.test");
    region.zone("Z2", "a.z.test");
    region.record("Z1", "a.z.test", "NS", &["ns.a.z.test"]);
    let point = sign(&mut region, "Z1");
    sign(&mut region, "Z2");
    let answer = ask(&region.tables(), "a.z.test", Kind::DS);
    assert!(answer.answers.is_empty());
    judge(
        &point,
        &name("z.test"),
        &name("a.z.test"),
        Kind::DS,
        &answer,
    );
}

#[test]
fn the_mirror_follows_what_is_signed() {
    use crate::dns::mirror::Mirror;
    use fogbank_store::{Batch, Event};
    let mut region = Region::default();
    region.zone("Z1", "z.test");
    sign(&mut region, "Z1");
    let mut mirror = Mirror::new(config());
    let events = |rows: &BTreeMap<String, Vec<u8>>| {
        let event = |(key, value): (&String, &Vec<u8>)| Event {
            key: key.clone(),
            value: Some(value.clone().into()),
        };
        rows.iter().map(event).collect::<Vec<_>>()
    };
    let batch = |revision, events| Batch { revision, events };
    mirror.apply(&batch(1, events(&region.rows)), "own");
    let signs = |tables: Tables| tables.signs(&name("a.z.test"), &Answer::default());
    assert!(signs(mirror.tables()));
    let key = region.snapshot.zone_signings.all().next().unwrap().key();
    let gone = Event { key, value: None };
    let effect = mirror.apply(&batch(2, vec![gone]), "own");
    assert!(effect.tables && !signs(mirror.tables()));
}
