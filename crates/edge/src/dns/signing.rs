//! Answers of signed zones: signatures over every set, made when they are asked for, and denials that cover one name.
//!
//! Called by `responder` for answers of the public servers, when values have been chosen. Absence is told by one NSEC record
//! of the name itself, as Route 53 does, so that a name that does not exist exists without records (RFC 9824). What must
//! stay true: every set of a signed zone that an asker with the DO bit gets has its signature; zones that are not signed
//! cost a look into an empty table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fogbank_pki::KeyError;
use fogbank_pki::dnssec::{self, Set, Validity, ZoneKey};
use fogbank_types::route53::ZoneSigning;

use super::kind::Kind;
use super::name::Name;
use super::tables::{Answer, Code, Record};
use super::zone::Zone;

/// Route 53 limits times to live of signed zones to a week.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-configuring-dnssec.html>
const MAX_TTL: u32 = 7 * 24 * 3600;
/// How long a signature holds, and from when on another one is made: what a resolver keeps for a week must hold as long.
const VALID_SECONDS: u64 = 14 * 24 * 3600;
const RENEWED_SECONDS: u64 = 5 * 24 * 3600;
/// Clocks of resolvers may be late.
const BEFORE_SECONDS: u64 = 3600;
/// Octets of signatures and what they sign that are kept, of each zone: twice as many at most.
const CACHE_BYTES: usize = 8 << 20;
/// The type that only names without existence have (RFC 9824, section 2).
const NXNAME: Kind = Kind(128);

/// Signs for one zone.
#[derive(Debug)]
pub struct ZoneSigner {
    origin: Name,
    key: ZoneKey,
    dnskeys: Vec<Arc<[u8]>>,
    key_signatures: Vec<Arc<[u8]>>,
    cache: Mutex<Cache>,
}

/// Signatures by what they sign, so that no change of a zone makes one wrong. In two generations: what was not asked for
/// since the last one is forgotten.
#[derive(Debug, Default)]
struct Cache {
    young: HashMap<Vec<u8>, Signed>,
    young_bytes: usize,
    old: HashMap<Vec<u8>, Signed>,
}

#[derive(Clone, Debug)]
struct Signed {
    value: Arc<[u8]>,
    renewed_at: u64,
}

impl Cache {
    fn get(&mut self, form: &[u8], now: u64) -> Option<Arc<[u8]>> {
        let is_fresh = |signed: &&Signed| signed.renewed_at > now;
        if let Some(signed) = self.young.get(form).filter(is_fresh) {
            return Some(signed.value.clone());
        }
        let (form, signed) = self.old.remove_entry(form)?;
        let value = signed.value.clone();
        if signed.renewed_at <= now {
            return None;
        }
        self.put(form, signed);
        Some(value)
    }

    fn put(&mut self, form: Vec<u8>, signed: Signed) {
        self.young_bytes += form.len() + signed.value.len();
        self.young.insert(form, signed);
        if self.young_bytes > CACHE_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

impl ZoneSigner {
    pub fn new(origin: Name, row: &ZoneSigning) -> Result<Self, KeyError> {
        let values = |values: &[Vec<u8>]| values.iter().map(|v| v.as_slice().into()).collect();
        Ok(Self {
            origin,
            key: ZoneKey::new(dnssec::ZONE_KEY, row.secret.reveal(), &row.point)?,
            dnskeys: values(&row.dnskeys),
            key_signatures: values(&row.signatures),
            cache: Mutex::default(),
        })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of the zone.
    pub fn dnskeys(&self) -> Vec<Record> {
        self.key_records(Kind::DNSKEY, &self.dnskeys)
    }

    fn key_records(&self, kind: Kind, values: &[Arc<[u8]>]) -> Vec<Record> {
        let record = |value: &Arc<[u8]>| Record {
            name: self.origin.clone(),
            kind,
            ttl: ZoneSigning::DNSKEY_TTL,
            value: value.clone(),
        };
        values.iter().map(record).collect()
    }

    /// The signatures of a set, which is not empty and of one name, type and time to live. `now` in seconds of Unix.
    fn signatures(&self, set: &[Record], now: u64) -> Vec<Record> {
        let Some(first) = set.first() else {
            return Vec::new();
        };
        if first.kind == Kind::DNSKEY && first.name == self.origin {
            return self.key_records(Kind::RRSIG, &self.key_signatures);
        }
        let content = Set {
            owner: first.name.wire(),
            kind: first.kind.0,
            ttl: first.ttl,
            values: set.iter().map(|record| &*record.value).collect(),
        };
        let form = content.signed_form();
        let known = self.cache().get(&form, now);
        let value = known.or_else(|| {
            let validity = Validity {
                inception: (now - BEFORE_SECONDS.min(now)) as u32,
                expiration: (now + VALID_SECONDS) as u32,
            };
            let value = self.key.sign(self.origin.wire(), &content, validity);
            let value: Arc<[u8]> = value
                .inspect_err(|error| tracing::error!(%error, origin = %self.origin, "an answer is not signed"))
                .ok()?
                .into();
            let signed = Signed {
                value: value.clone(),
                renewed_at: now + RENEWED_SECONDS,
            };
            self.cache().put(form, signed);
            Some(value)
        });
        let record = |value| Record {
            name: first.name.clone(),
            kind: Kind::RRSIG,
            ttl: first.ttl,
            value,
        };
        value.map(record).into_iter().collect()
    }
}

/// What signs an answer: the zone that a name and type are answered from, if it is signed.
pub trait Signers {
    fn signer(&self, name: &Name, kind: Kind) -> Option<(&ZoneSigner, &Zone)>;
}

/// Finishes an answer to `name` and `kind` whose values have been chosen: times to live as signed zones have them, and, if
/// the asker wants them (`dnssec_ok`), signatures and denials.
pub fn finish(
    answer: &mut Answer,
    signers: &impl Signers,
    name: &Name,
    kind: Kind,
    dnssec_ok: bool,
    now: u64,
) {
    // What a parent says of a zone's keys is signed by the parent, who may not be the only one here.
    let is_referral = answer
        .authority
        .first()
        .is_some_and(|record| record.kind == Kind::NS);
    let denied_above = kind == Kind::DS || is_referral;
    if dnssec_ok {
        deny(answer, signers, name, kind);
    }
    for section in [&mut answer.answers, &mut answer.authority] {
        sign(section, signers, denied_above, dnssec_ok, now);
    }
    // Addresses of servers are hints: their signatures would take the room of what was asked for (RFC 4035, section 3.1.1).
    sign(&mut answer.additional, signers, denied_above, false, now);
}

fn sign(
    section: &mut Vec<Record>,
    signers: &impl Signers,
    denied_above: bool,
    dnssec_ok: bool,
    now: u64,
) {
    let same = |a: &Record, b: &Record| a.kind == b.kind && a.name == b.name;
    let mut signed = Vec::with_capacity(section.len() * 2);
    for set in section.chunk_by_mut(same) {
        let (name, kind) = (set[0].name.clone(), set[0].kind);
        let place = match kind {
            Kind::NSEC if denied_above => Kind::DS,
            kind => kind,
        };
        let Some((signer, zone)) = signers.signer(&name, place) else {
            signed.extend_from_slice(set);
            continue;
        };
        set.iter_mut()
            .for_each(|record| record.ttl = record.ttl.min(MAX_TTL));
        signed.extend_from_slice(set);
        // Servers of another zone and their addresses are that zone's to sign (RFC 4035, section 2.2).
        if dnssec_ok && kind != Kind::RRSIG && !zone.is_foreign(&name, kind) {
            signed.extend(signer.signatures(set, now));
        }
    }
    *section = signed;
}

/// Adds what says that there is no such record, or no keys of a zone below.
fn deny(answer: &mut Answer, signers: &impl Signers, name: &Name, kind: Kind) {
    let Some(first) = answer.authority.first() else {
        return;
    };
    // Also at the end of a chain, which is ours.
    if first.kind == Kind::NS {
        let cut = first.name.clone();
        // DS records stand above the cut.
        let Some((_, zone)) = signers.signer(&cut, Kind::DS) else {
            return;
        };
        let denial = zone.simple_values(&cut, Kind::DS).map_or_else(
            || vec![nsec(zone, &cut, Kind::DS, zone.soa().negative_ttl)],
            |(ttl, values)| {
                let record = |value: &Arc<[u8]>| Record {
                    name: cut.clone(),
                    kind: Kind::DS,
                    ttl,
                    value: value.clone(),
                };
                values.iter().map(record).collect()
            },
        );
        answer.authority.extend(denial);
        return;
    }
    if first.kind != Kind::SOA {
        return;
    }
    // Where a chain of CNAMEs leads.
    let last = answer.answers.last();
    let target = last.and_then(|record| Some(Name::read(&record.value)?.0));
    let name = target.unwrap_or_else(|| name.clone());
    let Some((_, zone)) = signers.signer(&name, kind) else {
        return;
    };
    if zone.origin != first.name {
        return;
    }
    let denial = nsec(zone, &name, kind, first.ttl);
    answer.code = Code::NoError;
    if kind == Kind::NSEC {
        answer.authority.clear();
        answer.answers.push(denial);
    } else {
        answer.authority.push(denial);
    }
}

/// Says which types a name has, without that one. The next name is the least one after it, so that it covers no other.
fn nsec(zone: &Zone, name: &Name, kind: Kind, ttl: u32) -> Record {
    // One that is too long for a child: its zone's end is next to it.
    let next = Name::child(&[0], name.wire()).unwrap_or_else(|| zone.origin.clone());
    let mut kinds = match zone.kinds(name) {
        Some(kinds) => kinds,
        None => vec![NXNAME],
    };
    kinds.extend([Kind::RRSIG, Kind::NSEC]);
    if *name == zone.origin {
        kinds.push(Kind::DNSKEY);
    }
    // A record that is there but was not told (an alias whose target is gone, a policy that has none for the asker)
    // does not exist for him, nor may a CNAME that he was not sent on by.
    kinds.retain(|own| *own == Kind::NSEC || *own != kind && *own != Kind::CNAME);
    let mut value = next.wire().to_vec();
    bitmap(kinds, &mut value);
    Record {
        name: name.clone(),
        kind: Kind::NSEC,
        ttl,
        value: value.into(),
    }
}

/// RFC 4034, section 4.1.2.
fn bitmap(mut kinds: Vec<Kind>, out: &mut Vec<u8>) {
    kinds.sort_unstable();
    kinds.dedup();
    for window in kinds.chunk_by(|a, b| a.0 >> 8 == b.0 >> 8) {
        let mut bits = Vec::with_capacity(32);
        for Kind(number) in window {
            let at = usize::from(number & 0xff);
            bits.resize(at / 8 + 1, 0u8);
            bits[at / 8] |= 0x80 >> (at % 8);
        }
        out.push((window[0].0 >> 8) as u8);
        out.push(bits.len() as u8);
        out.extend(bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_is_that_of_the_rfc() {
        let mut out = Vec::new();
        let kinds = [Kind(1234), Kind::NSEC, Kind::A, Kind::RRSIG, Kind::MX];
        bitmap(kinds.to_vec(), &mut out);
        let mut expected = vec![0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 0x1b];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(out, expected, "RFC 4034, section 4.3");
    }

    #[test]
    fn what_is_asked_for_is_kept_and_the_rest_forgotten() {
        let signed = |n: u8| Signed {
            value: vec![n; 1000].into(),
            renewed_at: 100,
        };
        let mut cache = Cache::default();
        cache.put(b"wanted".to_vec(), signed(0));
        for n in 0..40_000u32 {
            cache.put(n.to_be_bytes().to_vec(), signed(1));
            assert!(cache.get(b"wanted", 50).is_some());
        }
        assert!(cache.get(&0u32.to_be_bytes(), 50).is_none());
        assert!(cache.young.len() + cache.old.len() < 20_000);
        assert!(cache.get(b"wanted", 100).is_none(), "too old");
    }
}
