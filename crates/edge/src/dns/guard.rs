//! What an address that anybody can reach needs: response rate limiting, and cookies for who is not to be limited.
//!
//! Used by `responder`. What must stay true: all sockets of one address share one guard, so that none is a way around it.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use super::amplification::{ResponseLimit, Verdict};
use super::cookies::{Cookie, Cookies};

pub struct Guard {
    limit: Mutex<ResponseLimit>,
    cookies: Cookies,
}

impl Guard {
    /// With a secret of its own: cookies of an earlier process are replaced by the first response.
    pub fn new() -> Self {
        let mut secret = [0; 16];
        SystemRandom::new()
            .fill(&mut secret)
            .expect("the kernel has random numbers");
        Self {
            limit: Mutex::new(ResponseLimit::new(Instant::now())),
            cookies: Cookies::new(secret),
        }
    }

    pub fn judge(&self, source: IpAddr, response: &[u8]) -> Verdict {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.judge(source, response, Instant::now())
    }

    pub fn believes(&self, cookie: &Cookie, source: IpAddr) -> bool {
        self.cookies.believes(cookie, source, now_s())
    }

    /// What the asker gets for its cookie.
    pub fn cookie(&self, asked: &Cookie, source: IpAddr) -> Cookie {
        self.cookies.make(asked.client, source, now_s())
    }
}

/// Cookies hold 32 bits of it, which wrap around (RFC 9018, section 4.3).
fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as u32)
}
