//! Counts the frames of a client connection as their bytes pass, so that one that sends nothing but work is
//! ended. Used by `cork`; pure but for the clock.
//!
//! The h2 crate bounds CONTINUATION frames, empty and tiny DATA frames, and streams that are reset before they are
//! looked at. It answers every PING and SETTINGS frame, and a stream that is reset a moment later
//! (CVE-2023-44487) has cost a request to a target already: these are bounded here. Honest peers send such
//! frames, too (cancelled requests, keep-alives, bandwidth probes), but in proportion to requests and answers.

use std::time::{Duration, Instant};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
/// PING, SETTINGS, PRIORITY and unknown frames that a connection may send with nothing else.
const CONTROL_MAX: u32 = 1_000;
/// Streams that may be reset with no others.
const RESETS_MAX: u32 = 400;
const REFILL: Duration = Duration::from_millis(100);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

#[derive(Debug)]
pub struct Meter {
    /// Bytes until the next frame's head.
    skip: usize,
    head: [u8; HEAD_BYTES],
    head_filled: usize,
    control_left: u32,
    /// Two for each reset, so that half of the streams may be.
    resets_left: u32,
    refilled: Instant,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            skip: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            head_filled: 0,
            control_left: CONTROL_MAX,
            resets_left: 2 * RESETS_MAX,
            refilled: Instant::now(),
        }
    }
}

impl Meter {
    /// Looks at what came; false when the peer has sent too much of what costs it nothing.
    pub fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut within = true;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let count = (HEAD_BYTES - self.head_filled).min(bytes.len());
            let (start, rest) = bytes.split_at(count);
            self.head[self.head_filled..self.head_filled + count].copy_from_slice(start);
            self.head_filled += count;
            bytes = rest;
            if self.head_filled == HEAD_BYTES {
                self.head_filled = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                within &= self.count(kind);
            }
        }
        within
    }

    /// Something was answered: as much control is in order.
    pub fn answered(&mut self) {
        self.control_left = (self.control_left + 1).min(CONTROL_MAX);
    }

    fn count(&mut self, kind: u8) -> bool {
        match kind {
            DATA => self.answered(),
            HEADERS => {
                self.answered();
                self.resets_left = (self.resets_left + 1).min(2 * RESETS_MAX);
            }
            WINDOW_UPDATE | CONTINUATION => {}
            RST_STREAM => return self.spend(|meter| &mut meter.resets_left, 2),
            _ => return self.spend(|meter| &mut meter.control_left, 1),
        }
        true
    }

    fn spend(&mut self, purse: fn(&mut Self) -> &mut u32, price: u32) -> bool {
        if *purse(self) < price {
            self.refill();
        }
        match purse(self).checked_sub(price) {
            Some(left) => {
                *purse(self) = left;
                true
            }
            None => false,
        }
    }

    /// One more frame each tenth of a second, looked at only when there are none left.
    fn refill(&mut self) {
        let ticks = self.refilled.elapsed().as_millis() / REFILL.as_millis();
        if ticks > 0 {
            self.refilled = Instant::now();
            let more = u32::try_from(ticks).unwrap_or(CONTROL_MAX).min(CONTROL_MAX);
            self.control_left = (self.control_left + more).min(CONTROL_MAX);
            self.resets_left = (self.resets_left + 2 * more).min(2 * RESETS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0, (payload >> 8) as u8, payload as u8, kind, 0, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + payload, 7);
        bytes
    }

    fn begun() -> Meter {
        let mut meter = Meter::default();
        assert!(meter.take(&[b'P'; PREFACE_BYTES]));
        meter
    }

    fn frames_until_full(meter: &mut Meter, one: &[u8]) -> usize {
        (0..100_000)
            .find(|_| !meter.take(one))
            .expect("there is a bound")
    }

    #[test]
    fn pings_alone_are_bounded() {
        let taken = frames_until_full(&mut begun(), &frame(PING, 8));
        assert!((1_000..1_100).contains(&taken), "{taken}");
    }

    #[test]
    fn streams_reset_as_soon_as_they_are_opened_are_bounded() {
        let rapid = [frame(HEADERS, 20), frame(RST_STREAM, 4)].concat();
        let taken = frames_until_full(&mut begun(), &rapid);
        assert!((400..1_000).contains(&taken), "{taken}");
    }

    #[test]
    fn a_client_may_cancel_every_second_request() {
        let mut meter = begun();
        let calm = [frame(HEADERS, 20), frame(HEADERS, 20), frame(RST_STREAM, 4)].concat();
        assert!((0..10_000).all(|_| meter.take(&calm)));
    }

    #[test]
    fn probes_beside_answers_are_in_order() {
        let mut meter = begun();
        assert!((0..10_000).all(|_| {
            meter.answered();
            meter.take(&frame(PING, 8))
        }));
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let bytes: Vec<u8> = (0..500)
            .flat_map(|n| [frame(DATA, n), frame(PING, 8)].concat())
            .collect();
        for size in [1, 2, 7, 9, 10, 4096] {
            let mut meter = begun();
            meter.control_left = 100;
            assert!(bytes.chunks(size).all(|piece| meter.take(piece)));
            assert_eq!((meter.skip, meter.head_filled), (0, 0), "pieces of {size}");
        }
    }
}
