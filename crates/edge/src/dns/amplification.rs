//! Response rate limiting: nobody gets more of one answer over UDP than an honest resolver would ask for, so that
//! forged sources gain nothing by asking us. As in Knot, NSD and BIND: counted by network and answer; of what is too
//! much, every second response is a truncated one, by which an honest asker that shares the network comes by TCP.
//!
//! Used by `guard` on the public address. What must stay true: it takes the same memory whoever asks, and nothing else
//! than packets over UDP from other machines is counted.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

/// Responses of one kind to one network in a second, NSD's default.
const PER_SECOND: u16 = 200;
/// Every so many of those that are too much is truncated, the others are dropped.
const SLIP: u16 = 2;
const BUCKETS: usize = 1 << 14;
const HEADER_BYTES: usize = 12;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// The header and the question alone, with TC.
    Truncate,
    Drop,
}

pub struct ResponseLimit {
    hasher: RandomState,
    start: Instant,
    buckets: Box<[Bucket]>,
}

#[derive(Copy, Clone, Default)]
struct Bucket {
    tag: u32,
    second: u32,
    count: u16,
    slip: u16,
}

impl ResponseLimit {
    pub fn new(now: Instant) -> Self {
        Self {
            hasher: RandomState::new(),
            start: now,
            buckets: vec![Bucket::default(); BUCKETS].into(),
        }
    }

    pub fn judge(&mut self, source: IpAddr, response: &[u8], now: Instant) -> Verdict {
        let Some(network) = network(source) else {
            return Verdict::Send;
        };
        let hash = self.hasher.hash_one((network, answer_of(response)));
        let (tag, place) = ((hash >> 32) as u32, hash as usize % BUCKETS);
        let second = now.saturating_duration_since(self.start).as_secs() as u32;
        let bucket = &mut self.buckets[place];
        // Two that meet in one place take turns: a few more responses, never fewer.
        if bucket.tag != tag || bucket.second != second {
            *bucket = Bucket {
                tag,
                second,
                ..Bucket::default()
            };
        }
        bucket.count = bucket.count.saturating_add(1);
        if bucket.count <= PER_SECOND {
            return Verdict::Send;
        }
        bucket.slip = (bucket.slip + 1) % SLIP;
        match bucket.slip {
            0 => Verdict::Truncate,
            _ => Verdict::Drop,
        }
    }
}

/// The network that answers for an address: a /24 or a /56. `None` for this host's own.
fn network(source: IpAddr) -> Option<u128> {
    match source.to_canonical() {
        source if source.is_loopback() => None,
        IpAddr::V4(source) => Some(u128::from(source.to_bits() >> 8)),
        IpAddr::V6(source) => Some(source.to_bits() >> 72 | 1 << 127),
    }
}

/// What makes responses the same: the code, and the name and type asked for; errors and absence are all alike, or
/// random names would each count as another one.
fn answer_of(response: &[u8]) -> (u8, &[u8]) {
    let code = response.get(3).map_or(0, |flags| flags & 0xf);
    let has_answers = response.get(6..8).is_some_and(|count| count != [0, 0]);
    if code != 0 || !has_answers {
        return (code, &[]);
    }
    (code, question(response))
}

fn question(message: &[u8]) -> &[u8] {
    let mut at = HEADER_BYTES;
    while let Some(&length) = message.get(at) {
        at += usize::from(length) + 1;
        if length == 0 {
            return message.get(HEADER_BYTES..at + 4).unwrap_or_default();
        }
    }
    &[]
}

/// What is left of a response when it is truncated on purpose: so short that it amplifies nothing.
pub fn truncated(response: &[u8]) -> Vec<u8> {
    let question = question(response);
    let mut out = response[..HEADER_BYTES.min(response.len())].to_vec();
    if out.len() < HEADER_BYTES {
        return out;
    }
    out[2] |= 0x02;
    out[6..].fill(0);
    if question.is_empty() {
        out[4..6].fill(0);
    }
    out.extend(question);
    out
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    /// A response to a question for `label`, with that code and number of answers.
    fn response(label: &[u8], code: u8, answers: u8) -> Vec<u8> {
        let mut message = vec![0, 7, 0x84, code, 0, 1, 0, answers, 0, 0, 0, 1];
        message.push(label.len() as u8);
        message.extend(label);
        message.extend([0, 0, 1, 0, 1]);
        message.extend([0; 30]);
        message
    }

    fn sent(limit: &mut ResponseLimit, source: &str, message: &[u8], now: Instant) -> [usize; 3] {
        let source = source.parse().unwrap();
        let mut counts = [0; 3];
        for _ in 0..1_000 {
            let verdict = limit.judge(source, message, now);
            counts[verdict as usize] += 1;
        }
        counts
    }

    #[test]
    fn too_many_of_one_answer_are_dropped_or_truncated_until_the_next_second() {
        let start = Instant::now();
        let mut limit = ResponseLimit::new(start);
        let message = response(b"a", 0, 1);
        assert_eq!(
            sent(&mut limit, "192.0.2.1", &message, start),
            [200, 400, 400]
        );
        let later = start + Duration::from_secs(1);
        assert_eq!(
            sent(&mut limit, "192.0.2.99", &message, later),
            [200, 400, 400]
        );
    }

    #[test]
    fn other_networks_and_other_answers_have_their_own() {
        let start = Instant::now();
        let mut limit = ResponseLimit::new(start);
        sent(&mut limit, "192.0.2.1", &response(b"a", 0, 1), start);
        for (source, label) in [
            ("192.0.3.1", b"a"),
            ("192.0.2.1", b"b"),
            ("2001:db8::1", b"a"),
        ] {
            let source = source.parse().unwrap();
            let verdict = limit.judge(source, &response(label, 0, 1), start);
            assert_eq!(verdict, Verdict::Send, "{source}");
        }
    }

    #[test]
    fn random_names_that_do_not_exist_count_as_one() {
        let start = Instant::now();
        let mut limit = ResponseLimit::new(start);
        let source = "2001:db8::1".parse().unwrap();
        let verdicts = (0..400).map(|n: u32| {
            let message = response(n.to_string().as_bytes(), 3, 0);
            limit.judge(source, &message, start)
        });
        assert_eq!(verdicts.filter(|v| *v == Verdict::Send).count(), 200);
    }

    #[test]
    fn askers_on_this_host_are_never_limited() {
        let start = Instant::now();
        let mut limit = ResponseLimit::new(start);
        let message = response(b"a", 0, 1);
        for source in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(sent(&mut limit, source, &message, start), [1_000, 0, 0]);
        }
        assert!(network(Ipv4Addr::new(10, 0, 0, 1).into()).is_some());
    }

    #[test]
    fn a_truncated_response_is_the_question_alone() {
        let message = truncated(&response(b"a", 0, 3));
        assert_eq!(
            message,
            [
                0, 7, 0x86, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1
            ]
        );
        let header = [0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(truncated(&header).len(), 12);
    }
}
