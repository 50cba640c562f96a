//! Whether a request was signed by whoever has the secret: Signature Version 4.
//!
//! Pure: the caller has the secret and the clock. Called by `control` for every request where the region enforces. What
//! must stay true: what is signed is what the other decoders read (the path and the query are taken apart once and put
//! together again here); the signature is compared in constant time; nothing of the secret is in an error.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{LazyLock, PoisonError, RwLock};

use fogbank_types::Timestamp;
use http::request::Parts;
use ring::{digest, hmac};

use crate::signature::{ALGORITHM, Authorization, Place, SignatureError, presigned, single};
use crate::{parse_iso8601, query};

/// How far a request's time may be from ours (fact SIG-2; only S3 has 15 minutes).
pub const WINDOW_MS: i64 = 5 * 60_000;
/// Seconds that a presigned request may be good for at most (fact SIG-6).
pub const EXPIRES_MAX_S: i64 = 604_800;

/// Why a signature doesn't hold. The texts are AWS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It can't be checked.
    #[error("{0}")]
    Incomplete(String),
    /// The scope is for something else.
    #[error("{0}")]
    Scope(String),
    /// Too old, or from the future.
    #[error("{0}")]
    Stale(String),
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

fn incomplete(text: impl Into<String>) -> Flaw {
    Flaw::Incomplete(text.into())
}

impl From<SignatureError> for Flaw {
    fn from(error: SignatureError) -> Self {
        incomplete(error.to_string())
    }
}

/// Checks time and signature.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    authorization: &Authorization,
    secret: &str,
    now: Timestamp,
) -> Result<(), Flaw> {
    let parameters = query::parse_form(parts.uri.query().unwrap_or("").as_bytes())
        .map_err(|_| incomplete("the query string cannot be read"))?;
    let stamp = stamp(parts, authorization, &parameters)?;
    let date = &authorization.credential.date;
    if !stamp.starts_with(date.as_str()) {
        return Err(Flaw::Scope(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != '{}', from '{stamp}'.",
            &stamp[..8]
        )));
    }
    check_time(&stamp, authorization, &parameters, now)?;
    check_headers(parts, authorization)?;
    let canonical = canonical_request(parts, body, authorization).ok_or(Flaw::Mismatch)?;
    let text = string_to_sign(&stamp, authorization, &canonical);
    let signature = from_hex(&authorization.signature).ok_or(Flaw::Mismatch)?;
    let name = key_name(secret, authorization);
    let known = KEYS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = known.get(&name) {
        return check(key, &text, &signature);
    }
    drop(known);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &signing_key(secret, authorization));
    check(&key, &text, &signature)?;
    let mut known = KEYS.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= KEYS_MAX {
        known.clear();
    }
    known.insert(name, key);
    Ok(())
}

/// In constant time.
fn check(key: &hmac::Key, text: &str, signature: &[u8]) -> Result<(), Flaw> {
    hmac::verify(key, text.as_bytes(), signature).map_err(|_| Flaw::Mismatch)
}

/// Keys that good signatures were made with lately: one serves a client for a day.
static KEYS: LazyLock<RwLock<HashMap<String, hmac::Key>>> = LazyLock::new(RwLock::default);
const KEYS_MAX: usize = 4096;

fn key_name(secret: &str, authorization: &Authorization) -> String {
    let credential = &authorization.credential;
    let parts = [
        secret,
        &credential.date,
        &credential.region,
        &credential.service,
    ];
    parts.join("\n")
}

/// When the request says that it was signed: `20260101T000000Z`.
fn stamp(
    parts: &Parts,
    authorization: &Authorization,
    parameters: &[(String, String)],
) -> Result<String, Flaw> {
    let given = match authorization.place {
        Place::Query => presigned(parameters, "X-Amz-Date")?,
        Place::Header => match single(parts, "x-amz-date")? {
            Some(given) => Some(given),
            None => single(parts, http::header::DATE.as_str())?,
        },
    };
    let given = given.ok_or_else(|| {
        incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )
    })?;
    if read_stamp(given).is_some() {
        return Ok(given.to_owned());
    }
    from_http_date(given).ok_or_else(|| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{given}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })
}

/// Of `20260101T000000Z`.
fn read_stamp(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    parse_iso8601(&format!(
        "{}-{}-{}:{}:{}",
        &text[..4],
        &text[4..6],
        &text[6..11],
        &text[11..13],
        &text[13..]
    ))
}

/// `20260101T000000Z`
pub fn write_stamp(time: Timestamp) -> String {
    let text = crate::iso8601(Timestamp(time.0.div_euclid(1000) * 1000));
    let whole = text.split('.').next().unwrap_or_default();
    let mut stamp: String = whole.chars().filter(|c| !"-:".contains(*c)).collect();
    stamp.push('Z');
    stamp
}

/// Of `Mon, 23 Nov 2026 14:47:33 GMT` (RFC 9110, 5.6.7).
fn from_http_date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts.as_slice() else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    let stamp = format!("{year}{month:02}{day}T{}Z", time.replace(':', ""));
    read_stamp(&stamp).map(|_| stamp)
}

fn check_time(
    stamp: &str,
    authorization: &Authorization,
    parameters: &[(String, String)],
    now: Timestamp,
) -> Result<(), Flaw> {
    let signed = read_stamp(stamp).ok_or_else(|| incomplete("the date cannot be read"))?;
    let mut life_ms = WINDOW_MS;
    if authorization.place == Place::Query
        && let Some(text) = presigned(parameters, "X-Amz-Expires")?
    {
        let seconds = text
            .parse::<i64>()
            .ok()
            .filter(|n| (1..=EXPIRES_MAX_S).contains(n));
        let seconds = seconds.ok_or_else(|| {
            incomplete(format!(
                "X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX_S}"
            ))
        })?;
        life_ms = seconds * 1000;
    }
    let (oldest, newest) = (now.plus_ms(-life_ms), now.plus_ms(WINDOW_MS));
    let at = write_stamp(now);
    // A second is what a stamp can tell.
    if signed.0 + 999 < oldest.0 {
        return Err(Flaw::Stale(format!(
            "Signature expired: {stamp} is now earlier than {} ({at} - {})",
            write_stamp(oldest),
            span(life_ms)
        )));
    }
    if signed > newest {
        return Err(Flaw::Stale(format!(
            "Signature not yet current: {stamp} is still later than {} ({at} + {})",
            write_stamp(newest),
            span(WINDOW_MS)
        )));
    }
    Ok(())
}

fn span(ms: i64) -> String {
    match ms % 60_000 {
        0 => format!("{} min.", ms / 60_000),
        _ => format!("{} s", ms / 1000),
    }
}

/// The host and whatever AWS acts by must be signed (fact SIG-9).
fn check_headers(parts: &Parts, authorization: &Authorization) -> Result<(), Flaw> {
    let signed = &authorization.signed_headers;
    if !signed.iter().any(|name| name == "host") {
        let text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(Flaw::Scope(text.to_owned()));
    }
    let unsigned = parts.headers.keys().find(|name| {
        name.as_str().starts_with("x-amz-") && !signed.iter().any(|one| one == name.as_str())
    });
    match unsigned {
        Some(name) => Err(Flaw::Scope(format!(
            "'{name}' must be a 'SignedHeader' in the AWS Authorization."
        ))),
        None => Ok(()),
    }
}

/// `None`: the request cannot be what was signed.
fn canonical_request(parts: &Parts, body: &[u8], authorization: &Authorization) -> Option<String> {
    let mut text = format!("{}\n", parts.method);
    canonical_path(parts.uri.path(), &mut text);
    text.push('\n');
    canonical_query(
        parts.uri.query().unwrap_or(""),
        authorization.place,
        &mut text,
    );
    text.push('\n');
    let names = &authorization.signed_headers;
    if !names.windows(2).all(|pair| pair[0] < pair[1]) {
        return None;
    }
    for name in names {
        text.push_str(name);
        text.push(':');
        let mut values = parts.headers.get_all(name.as_str()).iter().peekable();
        values.peek()?;
        for (number, value) in values.enumerate() {
            if number > 0 {
                text.push(',');
            }
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            for (number, word) in value.split_ascii_whitespace().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&names.join(";"));
    text.push('\n');
    let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
    // No service here takes a payload that is not signed, or one in signed chunks: those are S3's.
    let mut claimed = parts.headers.get_all("x-amz-content-sha256").iter();
    if claimed.any(|claimed| claimed.as_bytes() != hash.as_bytes()) {
        return None;
    }
    text.push_str(&hash);
    Some(text)
}

/// Without dots and empty segments, then encoded once more (every service but S3).
fn canonical_path(path: &str, text: &mut String) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        text.push('/');
        encode(segment.as_bytes(), text);
    }
    if segments.is_empty() || path.ends_with('/') {
        text.push('/');
    }
}

fn canonical_query(query: &str, place: Place, text: &mut String) {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |part: &str| {
                let mut encoded = String::with_capacity(part.len());
                encode(&decode(part), &mut encoded);
                encoded
            };
            (again(name), again(value))
        })
        .filter(|(name, _)| place == Place::Header || name != "X-Amz-Signature")
        .collect();
    pairs.sort();
    for (number, (name, value)) in pairs.iter().enumerate() {
        let joint = if number == 0 { "" } else { "&" };
        let _ = write!(text, "{joint}{name}={value}");
    }
}

/// As the other decoders read it: a plus is a space.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

fn encode(bytes: &[u8], text: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn string_to_sign(stamp: &str, authorization: &Authorization, canonical: &str) -> String {
    let credential = &authorization.credential;
    format!(
        "{ALGORITHM}\n{stamp}\n{}/{}/{}/aws4_request\n{}",
        credential.date,
        credential.region,
        credential.service,
        hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    )
}

fn signing_key(secret: &str, authorization: &Authorization) -> [u8; 32] {
    let credential = &authorization.credential;
    let first = format!("AWS4{secret}");
    let words = [
        credential.date.as_str(),
        &credential.region,
        &credential.service,
        "aws4_request",
    ];
    let mut key = mac(first.as_bytes(), words[0]);
    for word in &words[1..] {
        key = mac(&key, word);
    }
    key
}

fn mac(key: &[u8], message: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lower case alone, so that there is one way to write a signature.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
