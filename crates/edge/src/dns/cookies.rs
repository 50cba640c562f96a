//! DNS cookies (RFC 7873) in the interoperable form (RFC 9018): who sends back what we gave to its address asks from
//! that address, so its responses need no limit.
//!
//! Used by `responder` on the public address. What must stay true: nothing is kept about an asker, and nobody without
//! the secret can make a cookie that is believed.

use std::hash::Hasher;
#[expect(
    deprecated,
    reason = "RFC 9018 wants SipHash-2-4; std has it under this name"
)]
use std::hash::SipHasher;
use std::net::IpAddr;

/// The EDNS option.
pub const OPTION: u16 = 10;
/// Version 1 and three reserved octets, the time, the hash.
const SERVER_BYTES: usize = 16;
const CLIENT_BYTES: usize = 8;
/// An option with both cookies.
pub const VALUE_BYTES: usize = CLIENT_BYTES + SERVER_BYTES;
const VERSION: [u8; 4] = [1, 0, 0, 0];
/// How old a cookie may be, and how much newer than our clock (RFC 9018, section 4.3).
const MAX_AGE_S: u32 = 3_600;
const MAX_AHEAD_S: u32 = 300;

/// What an asker sent, or what it gets.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub client: [u8; CLIENT_BYTES],
    /// `None` if there is none, or one that cannot be ours.
    pub server: Option<[u8; SERVER_BYTES]>,
}

impl Cookie {
    /// `None` if it is malformed (RFC 7873, section 5.2.2).
    pub fn read(value: &[u8]) -> Option<Self> {
        let (client, server) = value.split_first_chunk()?;
        (matches!(server.len(), 0 | 8..=32)).then_some(Self {
            client: *client,
            server: server.try_into().ok(),
        })
    }
}

pub struct Cookies {
    secret: (u64, u64),
}

impl Cookies {
    pub fn new(secret: [u8; 16]) -> Self {
        let secret = u128::from_le_bytes(secret);
        Self {
            secret: (secret as u64, (secret >> 64) as u64),
        }
    }

    pub fn make(&self, client: [u8; CLIENT_BYTES], source: IpAddr, now_s: u32) -> Cookie {
        let mut server = [0; SERVER_BYTES];
        server[..4].copy_from_slice(&VERSION);
        server[4..8].copy_from_slice(&now_s.to_be_bytes());
        let hash = self.hash(client, &server[..8], source);
        server[8..].copy_from_slice(&hash);
        Cookie {
            client,
            server: Some(server),
        }
    }

    /// Whether we gave it to that address not long ago.
    pub fn believes(&self, cookie: &Cookie, source: IpAddr, now_s: u32) -> bool {
        let Some(server) = cookie.server else {
            return false;
        };
        let made_s = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        // Serial arithmetic, as the time wraps around.
        let age_s = now_s.wrapping_sub(made_s);
        let fresh = age_s <= MAX_AGE_S || age_s.wrapping_neg() <= MAX_AHEAD_S;
        let hash = self.hash(cookie.client, &server[..8], source);
        // Every octet is looked at, so that the time it takes tells nothing.
        let differs = (server[8..].iter().zip(hash)).fold(0, |all, (a, b)| all | (a ^ b));
        server[..4] == VERSION && fresh && differs == 0
    }

    fn hash(&self, client: [u8; CLIENT_BYTES], head: &[u8], source: IpAddr) -> [u8; 8] {
        let (first, second) = self.secret;
        #[expect(deprecated, reason = "see the import")]
        let mut hasher = SipHasher::new_with_keys(first, second);
        hasher.write(&client);
        hasher.write(head);
        match source.to_canonical() {
            IpAddr::V4(source) => hasher.write(&source.octets()),
            IpAddr::V6(source) => hasher.write(&source.octets()),
        }
        hasher.finish().to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A.1.
    const SECRET: u128 = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf;
    const CLIENT: [u8; 8] = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
    const SERVER: u128 = 0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480;
    const MADE_S: u32 = 1_559_731_985;

    fn source() -> IpAddr {
        "198.51.100.100".parse().unwrap()
    }

    #[test]
    fn the_cookie_is_that_of_rfc_9018() {
        let cookies = Cookies::new(SECRET.to_be_bytes());
        let cookie = cookies.make(CLIENT, source(), MADE_S);
        assert_eq!(cookie.server, Some(SERVER.to_be_bytes()));
    }

    #[test]
    fn a_cookie_is_believed_from_its_address_for_an_hour() {
        let cookies = Cookies::new(SECRET.to_be_bytes());
        let cookie = cookies.make(CLIENT, source(), MADE_S);
        for (now_s, believed) in [
            (MADE_S, true),
            (MADE_S + 3_600, true),
            (MADE_S + 3_601, false),
            (MADE_S - 300, true),
            (MADE_S - 301, false),
        ] {
            assert_eq!(
                cookies.believes(&cookie, source(), now_s),
                believed,
                "{now_s}"
            );
        }
        let other = "198.51.100.101".parse().unwrap();
        assert!(!cookies.believes(&cookie, other, MADE_S));
        assert!(!Cookies::new([7; 16]).believes(&cookie, source(), MADE_S));
    }

    #[test]
    fn lengths_are_those_of_rfc_7873() {
        for length in 0..50 {
            let read = Cookie::read(&vec![1; length]);
            assert_eq!(read.is_some(), matches!(length, 8 | 16..=40), "{length}");
            assert_eq!(read.and_then(|read| read.server).is_some(), length == 24);
        }
    }
}
