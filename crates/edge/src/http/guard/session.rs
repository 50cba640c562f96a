//! A user's session: what the cookie holds, and what targets are told of it. Used by `login` and `provider`; pure.
//!
//! "Authentication flow" and "User claims encoding and signature verification" of
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>.
//! The cookie is sealed by the load balancer's secret for its own name, issuer and client (decision 0018): no other
//! client of the same provider and no other load balancer reads it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fogbank_pki::SigningKey;
use serde_json::json;

use crate::http::clock::http_date;
use crate::http::request::Request;
use crate::http::seal::Sealer;
use crate::http::sticky::cookie;

/// "If the total size of the user claims and access token received from the IdP is greater than 11K in size, the load
/// balancer returns an error."
pub const CLAIMS_MAX_BYTES: usize = 11 * 1024;
/// With the refresh token: its cookies still fit into one header line of a request.
const SESSION_MAX_BYTES: usize = 11 * 1024 + 768;
/// "Because most browsers limit a cookie to 4K in size": with name and attributes.
const COOKIE_MAX_BYTES: usize = 4096;
const ATTRIBUTES_MAX_BYTES: usize = 96;
const SHARDS_MAX: usize = 16;
/// How long what a target is told counts, as on AWS.
const ASSERTION_LIFE_S: u64 = 120;
const VERSION: u8 = 1;

#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// When the user logged in.
    pub began_s: u64,
    /// When the access token ends; 0: nobody said.
    pub expires_s: u64,
    /// `sub`
    pub identity: String,
    pub access_token: String,
    /// Empty: none.
    pub refresh_token: String,
    /// What the user info endpoint said, a JSON object.
    pub claims: String,
}

/// Never the tokens.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("began_s", &self.began_s)
            .field("expires_s", &self.expires_s)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// It would fit into cookies.
    pub fn fits(&self) -> bool {
        self.claims.len() + self.access_token.len() <= CLAIMS_MAX_BYTES
            && self.bytes().len() <= SESSION_MAX_BYTES
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.began_s.to_be_bytes());
        bytes.extend(self.expires_s.to_be_bytes());
        let texts = [
            &self.identity,
            &self.access_token,
            &self.refresh_token,
            &self.claims,
        ];
        for text in texts {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first()?;
        let (began_s, bytes) = bytes.split_first_chunk()?;
        let (expires_s, mut rest) = bytes.split_first_chunk()?;
        let mut text = || {
            let (length, after) = rest.split_first_chunk()?;
            let length = u32::from_be_bytes(*length) as usize;
            let (text, after) = after.split_at_checked(length)?;
            rest = after;
            String::from_utf8(text.to_vec()).ok()
        };
        (*version == VERSION).then_some(())?;
        Some(Self {
            began_s: u64::from_be_bytes(*began_s),
            expires_s: u64::from_be_bytes(*expires_s),
            identity: text()?,
            access_token: text()?,
            refresh_token: text()?,
            claims: text()?,
        })
    }

    /// Header lines for the target, each with its end. None: they can't be signed.
    pub fn lines(&self, key: &SigningKey, told: &Told<'_>) -> Option<Vec<u8>> {
        let expires_s = told.now_s + ASSERTION_LIFE_S;
        let header = json!({
            "typ": "JWT",
            "kid": key.id(),
            "alg": "ES256",
            "iss": told.issuer,
            "client": told.client_id,
            "signer": told.signer,
            "exp": expires_s,
        });
        // "Standard libraries are not compatible with the padding that is included in the ALB authentication token."
        let mut token = URL_SAFE.encode(header.to_string());
        token.push('.');
        let inside = self.claims.strip_suffix('}').unwrap_or("{");
        let comma = if inside.trim_end().ends_with('{') {
            ""
        } else {
            ","
        };
        let own = json!({ "exp": expires_s, "iss": told.issuer }).to_string();
        let payload = format!("{inside}{comma}{}", own.trim_start_matches('{'));
        token.push_str(&URL_SAFE.encode(payload));
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE.encode(signature));
        let lines = format!(
            "X-Amzn-Oidc-Data: {token}\r\nX-Amzn-Oidc-Identity: {}\r\nX-Amzn-Oidc-Accesstoken: {}\r\n",
            self.identity, self.access_token
        );
        Some(lines.into_bytes())
    }
}

/// What the target is told beside the claims.
pub struct Told<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    /// The load balancer's ARN.
    pub signer: &'a str,
    pub now_s: u64,
}

/// What a request's cookies say.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    /// Not ours, changed on the way, or of another client.
    Invalid,
    Session(Session),
}

/// The cookies of one client's sessions.
pub struct Cookies<'a> {
    pub sealer: &'a Sealer,
    pub name: &'a str,
    pub issuer: &'a str,
    pub client_id: &'a str,
}

impl Cookies<'_> {
    fn purpose(&self) -> String {
        format!(
            "session\0{}\0{}\0{}",
            self.name, self.issuer, self.client_id
        )
    }

    pub fn read(&self, request: &Request<'_, '_>) -> Kept {
        let mut sealed = Vec::new();
        for shard in 0..SHARDS_MAX {
            match cookie(request, &format!("{}-{shard}", self.name)) {
                Some(value) if !value.is_empty() => sealed.extend_from_slice(value),
                _ => break,
            }
        }
        if sealed.is_empty() {
            return Kept::Nothing;
        }
        let opened = self.sealer.open(&self.purpose(), &sealed);
        match opened.and_then(|bytes| Session::read(&bytes)) {
            Some(session) => Kept::Session(session),
            None => Kept::Invalid,
        }
    }

    /// Values of Set-Cookie headers. Shards that the client has and that are not needed any more end.
    pub fn write(&self, session: &Session, request: &Request<'_, '_>, until_s: u64) -> Vec<String> {
        let sealed = self.sealer.seal(&self.purpose(), &session.bytes());
        let room = COOKIE_MAX_BYTES - ATTRIBUTES_MAX_BYTES - self.name.len() - 4;
        let expires = http_date(until_s);
        let expires = String::from_utf8_lossy(&expires);
        let mut cookies: Vec<String> = sealed
            .as_bytes()
            .chunks(room)
            .enumerate()
            .map(|(shard, piece)| {
                let piece = String::from_utf8_lossy(piece);
                self.line(shard, &piece, &expires)
            })
            .collect();
        let used = cookies.len();
        let has = |shard: &usize| cookie(request, &format!("{}-{shard}", self.name)).is_some();
        let old = (used..SHARDS_MAX).take_while(has);
        cookies.extend(old.map(|shard| self.line(shard, "", "Thu, 01 Jan 1970 00:00:00 GMT")));
        cookies
    }

    fn line(&self, shard: usize, value: &str, expires: &str) -> String {
        let name = self.name;
        format!("{name}-{shard}={value}; Expires={expires}; Path=/; Secure; HttpOnly")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::read_request;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn session(claims: &str) -> Session {
        Session {
            began_s: 1,
            expires_s: 2,
            identity: "user".into(),
            access_token: "access".into(),
            refresh_token: String::new(),
            claims: claims.into(),
        }
    }

    fn with<R>(cookie: &str, then: impl FnOnce(&Request<'_, '_>) -> R) -> R {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
        read_request(head.as_bytes(), then).unwrap().unwrap().1
    }

    fn cookies<'a>(sealer: &'a Sealer, client_id: &'a str) -> Cookies<'a> {
        Cookies {
            sealer,
            name: "AWSELBAuthSessionCookie",
            issuer: "https://idp",
            client_id,
        }
    }

    /// As a browser sends them back.
    fn sent(lines: &[String]) -> String {
        let pairs = lines.iter().filter_map(|line| line.split(';').next());
        pairs.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_large_session_comes_back_from_its_shards() {
        let sealer = Sealer::new(SECRET);
        let own = cookies(&sealer, "client");
        let large = session(&format!("{{\"a\":\"{}\"}}", "x".repeat(10_000)));
        assert!(large.fits());
        let lines = with("", |request| own.write(&large, request, 0));
        assert!(lines.len() > 3, "{}", lines.len());
        assert!(lines.iter().all(|line| line.len() <= COOKIE_MAX_BYTES));
        let read = with(&sent(&lines), |request| own.read(request));
        assert_eq!(read, Kept::Session(large));
        // What follows needs fewer: the rest ends.
        let small = with(&sent(&lines), |request| {
            own.write(&session("{}"), request, 0)
        });
        assert_eq!(small.len(), lines.len());
        assert!(small[1].contains("-1=; Expires=Thu, 01 Jan 1970"));
    }

    #[test]
    fn what_is_not_its_own_is_no_session() {
        let sealer = Sealer::new(SECRET);
        let lines = with("", |request| {
            cookies(&sealer, "client").write(&session("{}"), request, 0)
        });
        let sent = sent(&lines);
        let read = |cookie: &str, client| with(cookie, |r| cookies(&sealer, client).read(r));
        assert_eq!(read(&sent, "client"), Kept::Session(session("{}")));
        assert_eq!(read(&sent, "other"), Kept::Invalid);
        let last = sent.chars().last().unwrap();
        let changed = if last == 'A' { "B" } else { "A" };
        let tampered = format!("{}{changed}", &sent[..sent.len() - 1]);
        assert_eq!(read(&tampered, "client"), Kept::Invalid);
        assert_eq!(read("a=b", "client"), Kept::Nothing);
        assert_eq!(read("AWSELBAuthSessionCookie-0=", "client"), Kept::Nothing);
    }

    #[test]
    fn targets_are_told_in_the_form_that_aws_has() {
        let key = SigningKey::generate().unwrap();
        let told = Told {
            issuer: "https://idp",
            client_id: "client",
            signer: "arn",
            now_s: 1000,
        };
        for (claims, expected) in [
            ("{}", r#"{"exp":1120,"iss":"https://idp"}"#),
            (
                r#"{"sub":"u"}"#,
                r#"{"sub":"u","exp":1120,"iss":"https://idp"}"#,
            ),
        ] {
            let lines = session(claims).lines(&key, &told).unwrap();
            let lines = String::from_utf8(lines).unwrap();
            assert!(lines.contains("X-Amzn-Oidc-Identity: user\r\n"));
            assert!(lines.contains("X-Amzn-Oidc-Accesstoken: access\r\n"));
            let token = lines
                .lines()
                .next()
                .unwrap()
                .strip_prefix("X-Amzn-Oidc-Data: ")
                .unwrap();
            let parts: Vec<&str> = token.split('.').collect();
            let payload = URL_SAFE.decode(parts[1]).unwrap();
            assert_eq!(String::from_utf8(payload).unwrap(), expected);
            let header: serde_json::Value =
                serde_json::from_slice(&URL_SAFE.decode(parts[0]).unwrap()).unwrap();
            assert_eq!(header["kid"], key.id());
            assert_eq!(
                (&header["signer"], &header["exp"]),
                (&json!("arn"), &json!(1120))
            );
            assert_eq!(URL_SAFE.decode(parts[2]).unwrap().len(), 64);
        }
    }
}
