//! Text that is written for every request: numbers, addresses and times without the formatting machinery, which is
//! slow. Used by `rewrite`, `answer` and `log`; pure.

use std::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use super::clock::civil_date;

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// `0.` to `255.`, and how long they are.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut number = 0;
    while number < 256 {
        let digits = if number < 10 {
            1
        } else if number < 100 {
            2
        } else {
            3
        };
        let (mut rest, mut place) = (number, digits);
        while place > 0 {
            place -= 1;
            octets[number].0[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        octets[number].1 = digits as u8 + 1;
        number += 1;
    }
    octets
};

/// Joins parts. Inlined, because parts whose length is known when compiling are plain moves then.
#[inline(always)]
pub fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// In decimal.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    while number >= 100 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    let [tens, ones] = PAIRS[number as usize];
    start -= 1;
    text[start] = ones;
    if number >= 10 {
        start -= 1;
        text[start] = tens;
    }
    out.extend_from_slice(&text[start..]);
}

/// In decimal with this many digits; those in front that don't fit are lost.
#[inline(always)]
fn padded<const DIGITS: usize>(mut number: u32) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

/// Seconds with three places behind the point.
pub fn put_seconds(out: &mut Vec<u8>, time: std::time::Duration) {
    put_number(out, time.as_secs());
    put(out, &[b".", &padded::<3>(time.subsec_millis())]);
}

/// `2018-07-02T22:23:00.186641Z`
pub fn put_time(out: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        /// The last second that was asked for, which is most often the next one, too.
        static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
    }
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut known, mut text) = SECOND.get();
    if known != since.as_secs() {
        (known, text) = (since.as_secs(), second_text(since.as_secs()));
        SECOND.set((known, text));
    }
    put(out, &[&text, &padded::<6>(since.subsec_micros()), b"Z"]);
}

/// `2018-07-02T22:23:00.`
fn second_text(second: u64) -> [u8; 20] {
    let (days, second) = (second / 86_400, (second % 86_400) as u32);
    let (year, month, day) = civil_date(days);
    let mut text = *b"0000-00-00T00:00:00.";
    text[..4].copy_from_slice(&padded::<4>(year as u32));
    text[5..7].copy_from_slice(&padded::<2>(month as u32));
    text[8..10].copy_from_slice(&padded::<2>(day as u32));
    text[11..13].copy_from_slice(&padded::<2>(second / 3600));
    text[14..16].copy_from_slice(&padded::<2>(second / 60 % 60));
    text[17..19].copy_from_slice(&padded::<2>(second % 60));
    text
}

pub fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        // Writing to a Vec can't fail.
        return drop(write!(out, "{ip}"));
    };
    let mut text = [0; 16];
    let mut length = 0;
    for octet in ip.octets() {
        let (digits, count) = OCTETS[usize::from(octet)];
        text[length..length + 4].copy_from_slice(&digits);
        length += usize::from(count);
    }
    out.extend_from_slice(&text[..length - 1]);
}

/// With its port.
pub fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    let ip = address.ip();
    if ip.is_ipv6() {
        put(out, &[b"["]);
        put_ip(out, ip);
        put(out, &[b"]:"]);
    } else {
        put_ip(out, ip);
        put(out, &[b":"]);
    }
    put_number(out, address.port().into());
}

/// As many hexadecimal digits as there is room for, the last ones.
#[inline(always)]
pub fn fill_hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers_are_what_the_standard_library_writes() {
        for power in 0..64 {
            for number in [
                (1u64 << power) - 1,
                1 << power,
                10u64.pow(power.min(19)) - 1,
            ] {
                assert_eq!(written(|out| put_number(out, number)), number.to_string());
            }
        }
        assert_eq!(
            written(|out| put_number(out, u64::MAX)),
            u64::MAX.to_string()
        );
    }

    #[test]
    fn addresses_are_what_the_standard_library_writes() {
        for octet in 0..=255 {
            let ip = IpAddr::from([octet, 255 - octet, 7, octet / 3]);
            for address in [
                SocketAddr::new(ip, 65_535),
                ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 80).into(),
            ] {
                assert_eq!(
                    written(|out| put_address(out, address)),
                    address.to_string()
                );
            }
        }
    }

    #[test]
    fn times() {
        let moment = |s, us: u32| UNIX_EPOCH + Duration::new(s, us * 1000);
        for (time, text) in [
            (
                moment(1_530_570_180, 186_641),
                "2018-07-02T22:23:00.186641Z",
            ),
            (moment(1_530_570_180, 7), "2018-07-02T22:23:00.000007Z"),
            (moment(0, 0), "1970-01-01T00:00:00.000000Z"),
            (
                moment(1_709_210_096, 999_999),
                "2024-02-29T12:34:56.999999Z",
            ),
        ] {
            assert_eq!(written(|out| put_time(out, time)), text);
        }
        assert_eq!(
            written(|out| put_seconds(out, Duration::from_micros(12_034_999))),
            "12.034"
        );
    }
}
