//! What the world outside said, for as long as it said so: positive answers by their time to live, negative ones
//! by their SOA (RFC 2308, section 5).
//!
//! Used by `forward`, one for all VPCs of the region. What must stay true: its memory is bounded, whatever is asked;
//! nothing is told for longer than its owner allowed; and only what was heard outside comes in, never what a VPC's
//! private zones say, so that no VPC learns of another.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::kind::Kind;
use super::name::Name;
use super::tables::{Answer, Code, Record};

/// Of positive answers, as most resolvers have it (RFC 8767, section 4 allows a week).
const MAX_TTL_S: u32 = 86_400;
/// Of negative ones (RFC 2308, section 5 suggests one to three hours).
const MAX_NEGATIVE_TTL_S: u32 = 3_600;
/// What an entry and each of its records take beside their values.
const ENTRY_BYTES: usize = 256;
const RECORD_BYTES: usize = 96;

pub struct Cache {
    max_bytes: usize,
    bytes: usize,
    entries: HashMap<Key, Entry>,
    /// In the order they came, with their numbers: the oldest goes first.
    order: VecDeque<(Key, u64)>,
    next: u64,
}

type Key = (Name, Kind);

struct Entry {
    answer: Answer,
    since: Instant,
    ttl: Duration,
    number: u64,
    bytes: usize,
}

impl Cache {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            entries: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    /// With what is left of the times to live.
    pub fn get(&self, name: &Name, kind: Kind, now: Instant) -> Option<Answer> {
        let entry = self.entries.get(&(name.clone(), kind))?;
        let age = now.saturating_duration_since(entry.since);
        if age >= entry.ttl {
            return None;
        }
        let age_s = age.as_secs() as u32;
        let mut answer = entry.answer.clone();
        for record in answer.answers.iter_mut().chain(&mut answer.authority) {
            record.ttl = record.ttl.saturating_sub(age_s);
        }
        Some(answer)
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.max_bytes);
    }

    pub fn put(&mut self, name: &Name, kind: Kind, answer: &Answer, now: Instant) {
        let Some(ttl_s) = time_to_live_s(kind, answer).filter(|ttl_s| *ttl_s > 0) else {
            return;
        };
        let mut answer = answer.clone();
        // No record is told for longer than the answer it came with is kept: an SOA's own time may be longer than that
        // of the absence it stands for (RFC 2308, section 3).
        for record in answer.answers.iter_mut().chain(&mut answer.authority) {
            record.ttl = record.ttl.min(MAX_TTL_S);
            if record.kind == Kind::SOA && kind != Kind::SOA {
                record.ttl = record.ttl.min(ttl_s);
            }
        }
        let bytes = size(name, &answer);
        if bytes > self.max_bytes / 16 {
            return;
        }
        let key = (name.clone(), kind);
        let number = self.next;
        self.next += 1;
        let entry = Entry {
            answer,
            since: now,
            ttl: Duration::from_secs(ttl_s.into()),
            number,
            bytes,
        };
        self.bytes += bytes;
        if let Some(before) = self.entries.insert(key.clone(), entry) {
            self.bytes -= before.bytes;
        }
        self.order.push_back((key, number));
        self.shrink();
    }

    /// Places of entries that were replaced count as well: else one name asked for ever would grow the queue.
    fn shrink(&mut self) {
        while self.bytes > self.max_bytes || self.order.len() > 2 * self.entries.len() + 64 {
            let Some((key, number)) = self.order.pop_front() else {
                return;
            };
            if self
                .entries
                .get(&key)
                .is_none_or(|entry| entry.number != number)
            {
                continue;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

fn size(name: &Name, answer: &Answer) -> usize {
    let records = answer.answers.iter().chain(&answer.authority);
    let each = |record: &Record| RECORD_BYTES + record.name.wire().len() + record.value.len();
    ENTRY_BYTES + 2 * name.wire().len() + records.map(each).sum::<usize>()
}

/// `None` for what must not be kept: errors, and absence without an SOA.
fn time_to_live_s(kind: Kind, answer: &Answer) -> Option<u32> {
    let least = answer.answers.iter().map(seconds).min();
    let is_answer = |record: &Record| record.kind == kind || kind == Kind::ANY;
    match answer.code {
        Code::NoError if answer.answers.iter().any(is_answer) => {
            least.map(|least| least.min(MAX_TTL_S))
        }
        // Absence, at the end of a chain of CNAMEs or at once.
        Code::NoError | Code::NxDomain => {
            let negative = answer.authority.iter().find_map(negative_ttl_s)?;
            Some(
                negative
                    .min(least.unwrap_or(u32::MAX))
                    .min(MAX_NEGATIVE_TTL_S),
            )
        }
        _ => None,
    }
}

/// The topmost bit is no part of a time (RFC 2181, section 8).
fn seconds(record: &Record) -> u32 {
    i32::try_from(record.ttl).map_or(0, |_| record.ttl)
}

fn negative_ttl_s(record: &Record) -> Option<u32> {
    let minimum = record.value.last_chunk::<4>()?;
    (record.kind == Kind::SOA).then(|| seconds(record).min(u32::from_be_bytes(*minimum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(owner: &str, kind: Kind, ttl: u32, value: &str) -> Record {
        Record {
            name: name(owner),
            kind,
            ttl,
            value: rdata::encode(kind, value).unwrap().into(),
        }
    }

    fn address(ttl: u32) -> Answer {
        Answer {
            answers: vec![record("a.test", Kind::A, ttl, "192.0.2.1")],
            ..Answer::default()
        }
    }

    fn absence(code: Code, ttl: u32, minimum: u32) -> Answer {
        let soa = format!("ns.test x.test 1 2 3 4 {minimum}");
        Answer {
            code,
            authority: vec![record("test", Kind::SOA, ttl, &soa)],
            ..Answer::default()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_ages_and_ends() {
        let (mut cache, now) = (Cache::new(1 << 20), Instant::now());
        cache.put(&name("a.test"), Kind::A, &address(10), now);
        let get = |after| cache.get(&name("a.test"), Kind::A, now + after * SECOND);
        assert_eq!(get(4).unwrap().answers[0].ttl, 6);
        assert!(get(10).is_none());
        assert!(cache.get(&name("a.test"), Kind::AAAA, now).is_none());
    }

    #[test]
    fn absence_is_kept_by_the_lesser_of_the_soas_times() {
        for (ttl, minimum) in [(5, 900), (900, 5)] {
            for code in [Code::NxDomain, Code::NoError] {
                let (mut cache, now) = (Cache::new(1 << 20), Instant::now());
                let answer = absence(code, ttl, minimum);
                cache.put(&name("b.test"), Kind::A, &answer, now);
                let get = |after| cache.get(&name("b.test"), Kind::A, now + after * SECOND);
                let heard = get(4).unwrap();
                assert_eq!(heard.code, code);
                assert_eq!(heard.authority[0].ttl, 1);
                assert!(get(5).is_none());
            }
        }
    }

    #[test]
    fn errors_and_what_says_zero_are_not_kept() {
        let failed = Answer {
            code: Code::ServFail,
            ..Answer::default()
        };
        let alias = Answer {
            answers: vec![record("a.test", Kind::CNAME, 60, "b.test")],
            ..Answer::default()
        };
        let whole = [address(0), address(1 << 31), Answer::default()];
        for answer in whole.into_iter().chain([failed, alias]) {
            let (mut cache, now) = (Cache::new(1 << 20), Instant::now());
            cache.put(&name("a.test"), Kind::A, &answer, now);
            assert!(cache.get(&name("a.test"), Kind::A, now).is_none());
        }
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (mut cache, now) = (Cache::new(64 * 1024), Instant::now());
        for n in 0..10_000 {
            let asked = name(&format!("n{n}.test"));
            cache.put(&asked, Kind::A, &address(60), now);
        }
        assert!(cache.bytes <= 64 * 1024);
        assert!(cache.entries.len() > 50);
        assert!(cache.get(&name("n9999.test"), Kind::A, now).is_some());
        assert!(cache.get(&name("n0.test"), Kind::A, now).is_none());
    }

    #[test]
    fn one_name_kept_again_and_again_takes_the_place_of_one() {
        let (mut cache, now) = (Cache::new(64 * 1024), Instant::now());
        for _ in 0..10_000 {
            cache.put(&name("a.test"), Kind::A, &address(60), now);
        }
        assert!(cache.order.len() < 200);
        assert!(cache.get(&name("a.test"), Kind::A, now).is_some());
        assert_eq!(cache.bytes, size(&name("a.test"), &address(60)));
    }
}
