//! Stickiness: cookies by which a client's requests go to the same target, or to the same target group of an action.
//! Used by `decision` (reads them), `target` (the choice) and `follow_up` (sets them); pure but for the choice noted.
//!
//! "Sticky sessions for your Application Load Balancer", ELB guide; facts TGT-12 and LST-8. The cookies are opaque,
//! and every node of the load balancer reads them. Nothing here runs while stickiness is off.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::clock::http_date;
use super::counters::Counters;
use super::lock;
use super::request::Request;
use super::seal::Sealer;
use super::table::Stickiness;

/// "The load balancer sets Expires to seven days": clients keep the cookie that long, and its content says when it
/// is stale.
const EXPIRES_S: u64 = 7 * 86_400;
/// Clocks of two nodes may differ by so much.
const SKEW_S: u64 = 60;
const TARGET_COOKIE: &str = "AWSALB";
const TARGET_COOKIE_CORS: &str = "AWSALBCORS";
const APP_COOKIE: &str = "AWSALBAPP-0";
/// AWS keeps four for one long content; ours fits into the first.
const APP_COOKIES_REMOVED: [&str; 3] = ["AWSALBAPP-1", "AWSALBAPP-2", "AWSALBAPP-3"];
const GROUP_COOKIE: &str = "AWSALBTG";
const GROUP_COOKIE_CORS: &str = "AWSALBTGCORS";
const TOKEN_VERSION: u8 = 1;
const TOKEN_BYTES: usize = 1 + 8 + 8 + 16 + 2;
/// Longer than any cookie of ours.
const COOKIE_MAX_BYTES: usize = 256;

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    /// Of the target group.
    mark: u64,
    issued_s: u64,
    /// Of a group's cookie: all zero.
    target: SocketAddr,
}

/// Names a target group in cookies. The same on all nodes and in all versions.
pub fn mark_of(target_group: &str) -> u64 {
    // FNV-1a: no secret, no attacker, only short.
    target_group
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Of one forwarded request.
#[derive(Debug)]
pub struct Sticky {
    sealer: Arc<Sealer>,
    mark: u64,
    /// Of the target group.
    kind: Option<Stickiness>,
    /// The action's groups are sticky.
    groups: bool,
    is_tls: bool,
    /// The target that the client's cookie names.
    wanted: Option<SocketAddr>,
    /// The client has the application's cookie and one of ours.
    has_app_cookies: bool,
    chosen: Mutex<Option<SocketAddr>>,
}

/// What is known when a target group is chosen.
pub struct Reading<'a, 'h, 'b> {
    pub sealer: &'a Arc<Sealer>,
    pub request: &'a Request<'h, 'b>,
    pub now_s: u64,
}

impl Reading<'_, '_, '_> {
    /// The mark of the target group that the client is bound to.
    pub fn group(&self, duration_s: u64) -> Option<u64> {
        let token = self.token(GROUP_COOKIE, GROUP_COOKIE, duration_s);
        let token = token.or_else(|| self.token(GROUP_COOKIE_CORS, GROUP_COOKIE, duration_s));
        token.map(|token| token.mark)
    }

    pub fn sticky(
        &self,
        mark: u64,
        kind: Option<&Stickiness>,
        groups: bool,
        is_tls: bool,
    ) -> Sticky {
        let of_group = |token: &Token| token.mark == mark;
        let mut has_app_cookies = false;
        let token = match kind {
            None => None,
            Some(Stickiness::LbCookie { duration_s }) => self
                .token(TARGET_COOKIE, TARGET_COOKIE, *duration_s)
                .filter(of_group)
                .or_else(|| self.token(TARGET_COOKIE_CORS, TARGET_COOKIE, *duration_s)),
            Some(Stickiness::AppCookie { name, duration_s }) => {
                let has_app_cookie = cookie(self.request, name).is_some();
                has_app_cookies = has_app_cookie && cookie(self.request, APP_COOKIE).is_some();
                // Without the application's cookie the session is over.
                self.token(APP_COOKIE, APP_COOKIE, *duration_s)
                    .filter(|_| has_app_cookie)
            }
        };
        Sticky {
            sealer: self.sealer.clone(),
            mark,
            kind: kind.cloned(),
            groups,
            is_tls,
            wanted: token.filter(of_group).map(|token| token.target),
            has_app_cookies,
            chosen: Mutex::new(None),
        }
    }

    fn token(&self, name: &str, purpose: &str, duration_s: u64) -> Option<Token> {
        let sealed = cookie(self.request, name).filter(|value| value.len() <= COOKIE_MAX_BYTES)?;
        let token = Token::read(&self.sealer.open(purpose, sealed)?)?;
        let is_fresh = self.now_s < token.issued_s.saturating_add(duration_s);
        (is_fresh && token.issued_s <= self.now_s + SKEW_S).then_some(token)
    }
}

impl Sticky {
    pub fn wanted(&self) -> Option<SocketAddr> {
        self.wanted
    }

    /// This target was chosen.
    pub fn chose(&self, target: SocketAddr, counters: &Counters) {
        let before = lock(&self.chosen).replace(target);
        if before.is_some() || self.wanted == Some(target) {
            return;
        }
        match &self.kind {
            None => {}
            Some(Stickiness::LbCookie { .. }) => counters.non_sticky_requests.add(1),
            Some(Stickiness::AppCookie { .. }) => counters.app_cookie_non_sticky_requests.add(1),
        }
    }

    /// Values of the Set-Cookie headers that a response of the chosen target gets.
    /// `sets` says whether the target sets a cookie.
    pub fn cookies(&self, sets: impl Fn(&str) -> bool, now_s: u64) -> Vec<String> {
        let mut cookies = Vec::new();
        let expires = http_date(now_s + EXPIRES_S);
        let expires = String::from_utf8_lossy(&expires);
        let mut set = |name: &str, value: &str, is_cors: bool| {
            let cors = match (is_cors, self.is_tls) {
                (false, _) => "",
                (true, false) => "; SameSite=None",
                (true, true) => "; SameSite=None; Secure",
            };
            cookies.push(format!("{name}={value}; Expires={expires}; Path=/{cors}"));
        };
        let nobody = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let token = |target| Token {
            mark: self.mark,
            issued_s: now_s,
            target,
        };
        let chosen = *lock(&self.chosen);
        match (&self.kind, chosen) {
            (Some(Stickiness::LbCookie { .. }), Some(target)) => {
                let value = self.sealer.seal(TARGET_COOKIE, &token(target).bytes());
                set(TARGET_COOKIE, &value, false);
                set(TARGET_COOKIE_CORS, &value, true);
            }
            (Some(Stickiness::AppCookie { name, .. }), Some(target))
                if self.has_app_cookies || sets(name) =>
            {
                let value = self.sealer.seal(APP_COOKIE, &token(target).bytes());
                set(APP_COOKIE, &value, false);
                for name in APP_COOKIES_REMOVED {
                    set(name, "_remove_", false);
                }
            }
            _ => {}
        }
        if self.groups {
            let value = self.sealer.seal(GROUP_COOKIE, &token(nobody).bytes());
            set(GROUP_COOKIE, &value, false);
            set(GROUP_COOKIE_CORS, &value, true);
        }
        cookies
    }
}

impl Token {
    fn bytes(&self) -> [u8; TOKEN_BYTES] {
        let ip = match self.target.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [TOKEN_VERSION; TOKEN_BYTES];
        bytes[1..9].copy_from_slice(&self.mark.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.issued_s.to_be_bytes());
        bytes[17..33].copy_from_slice(&ip.octets());
        bytes[33..].copy_from_slice(&self.target.port().to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TOKEN_BYTES] = bytes.try_into().ok()?;
        let number = |start: usize| -> Option<u64> {
            Some(u64::from_be_bytes(bytes[start..start + 8].try_into().ok()?))
        };
        let ip: [u8; 16] = bytes[17..33].try_into().ok()?;
        let ip = Ipv6Addr::from(ip);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        let port = u16::from_be_bytes([bytes[33], bytes[34]]);
        (bytes[0] == TOKEN_VERSION).then_some(Self {
            mark: number(1)?,
            issued_s: number(9)?,
            target: (ip, port).into(),
        })
    }
}

/// The value of a request's cookie.
pub fn cookie<'b>(request: &Request<'_, 'b>, name: &str) -> Option<&'b [u8]> {
    let headers = request.headers.iter();
    let cookies = headers.filter(|header| header.name.eq_ignore_ascii_case("cookie"));
    cookies
        .flat_map(|header| header.value.split(|&byte| byte == b';'))
        .find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(
                value
                    .strip_prefix(b"\"")
                    .and_then(|v| v.strip_suffix(b"\""))
                    .unwrap_or(value),
            )
        })
}

/// Whether a Set-Cookie header is about this cookie.
pub fn is_of_cookie(header: &[u8], name: &str) -> bool {
    header
        .strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
}

#[cfg(test)]
mod tests;
