//! Against requests that AWS's own signer for Python has signed (`botocore.txt`; the first one is AWS's published example
//! `get-vanilla`), and against whatever one bit makes of them.

use super::*;
use crate::signature::authorization;
use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn now() -> Timestamp {
    read_stamp("20150830T123600Z").unwrap()
}

/// A request as it is sent. Its last line is its body.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    uri: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn samples() -> Vec<Sent> {
    let text = include_str!("botocore.txt");
    let read = |text: &str| {
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.as_bytes().to_vec())
        });
        Sent {
            method: method.to_owned(),
            uri: uri.to_owned(),
            headers: headers.collect(),
            body: body.trim_end().as_bytes().to_vec(),
        }
    };
    text.split("\n----\n").map(read).collect()
}

impl Sent {
    /// `None`: it is no request at all.
    fn verify(&self, secret: &str, now: Timestamp) -> Option<Result<(), Flaw>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(self.uri.as_str());
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request = request.header(name, HeaderValue::from_bytes(value).ok()?);
        }
        let (parts, ()) = request.body(()).ok()?.into_parts();
        let query = query::parse_form(parts.uri.query().unwrap_or("").as_bytes()).ok()?;
        let authorization = authorization(&parts, &query).ok()?;
        Some(verify(&parts, &self.body, &authorization, secret, now))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }
}

#[test]
fn what_awss_signer_signs_is_good() {
    let samples = samples();
    assert!(samples.len() >= 10);
    for sample in samples {
        assert_eq!(sample.verify(SECRET, now()), Some(Ok(())), "{sample:?}");
        let other = sample.verify("another", now());
        assert_eq!(other, Some(Err(Flaw::Mismatch)), "{sample:?}");
    }
}

#[test]
fn a_request_is_good_for_five_minutes_and_a_presigned_one_as_long_as_it_says() {
    let is_stale = |sample: &Sent, ms: i64| {
        let verified = sample.verify(SECRET, now().plus_ms(ms)).unwrap();
        matches!(verified, Err(Flaw::Stale(_)))
    };
    let samples = samples();
    let (header, presigned) = (&samples[0], samples.last().unwrap());
    for (sample, from, to) in [
        (header, -WINDOW_MS, WINDOW_MS),
        (presigned, -WINDOW_MS, 60_000),
    ] {
        assert!(!is_stale(sample, from) && !is_stale(sample, to));
        assert!(is_stale(sample, from - 1000) && is_stale(sample, to + 1000));
    }
    let late = header
        .verify(SECRET, now().plus_ms(WINDOW_MS + 1000))
        .unwrap();
    assert_eq!(
        late.unwrap_err().to_string(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
    );
}

#[test]
fn a_presigned_request_lasts_a_week_at_most() {
    let presigned = samples().pop().unwrap();
    for bad in ["0", "604801", "-1", "x", ""] {
        let uri = presigned
            .uri
            .replace("Expires=60", &format!("Expires={bad}"));
        let changed = Sent {
            uri,
            ..presigned.clone()
        };
        let verified = changed.verify(SECRET, now()).unwrap();
        assert!(matches!(verified, Err(Flaw::Incomplete(_))), "{bad}");
    }
}

#[test]
fn nothing_that_aws_acts_by_is_left_unsigned() {
    let sample = samples().remove(0);
    let added = sample.clone().with("x-amz-target", "Any.Thing");
    let refused = added.verify(SECRET, now()).unwrap().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."
    );
    let hostless = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=x-amz-date, Signature=00";
    let refused = sample.clone().with("authorization", hostless);
    let refused = refused.verify(SECRET, now()).unwrap().unwrap_err();
    assert!(refused.to_string().starts_with("'Host'"), "{refused}");
    // What is not AWS's may be added on the way.
    let passed = sample.with("x-forwarded-for", "192.0.2.1");
    assert_eq!(passed.verify(SECRET, now()), Some(Ok(())));
}

#[test]
fn a_payload_must_be_what_the_request_says_of_it() {
    let text = String::from_utf8(samples()[0].headers[2].1.clone()).unwrap();
    let signed = text.replace("host;", "host;x-amz-content-sha256;");
    for claimed in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""] {
        let sample = samples().remove(0).with("x-amz-content-sha256", claimed);
        let sample = sample.with("authorization", &signed);
        let verified = sample.verify(SECRET, now()).unwrap();
        assert_eq!(verified, Err(Flaw::Mismatch), "{claimed}");
    }
}

#[test]
fn the_date_of_the_scope_is_that_of_the_request() {
    let sample = samples().remove(0);
    let text = String::from_utf8(sample.headers[2].1.clone()).unwrap();
    let other = sample.with("authorization", &text.replace("20150830/", "20150829/"));
    let refused = other.verify(SECRET, now()).unwrap().unwrap_err();
    assert!(refused.to_string().starts_with("Date in Credential scope"));
}

#[test]
fn dates_of_http_are_read() {
    assert_eq!(
        from_http_date("Sun, 30 Aug 2015 12:36:00 GMT").as_deref(),
        Some("20150830T123600Z")
    );
    for bad in ["", "Sun, 30 Aug 2015", "Sun, 30 Aux 2015 12:36:00 GMT"] {
        assert_eq!(from_http_date(bad), None);
    }
    assert_eq!(write_stamp(now()), "20150830T123600Z");
}

/// A path's segments, parameters, headers' values and the body.
type Meaning = (Vec<String>, Vec<(String, String)>, Vec<String>, Vec<u8>);

/// What a request says, however it is written: a path without dots and empty segments, a query without escapes, blanks of
/// headers squeezed. Whose key it is says only which secret is to be taken.
fn meaning(sent: &Sent) -> Meaning {
    let uri: http::Uri = sent.uri.parse().unwrap();
    let (path, query) = (uri.path(), uri.query().unwrap_or(""));
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.to_owned()),
        }
    }
    segments.push((segments.is_empty() || path.ends_with('/')).to_string());
    let mut pairs = query::parse_form(query.as_bytes()).unwrap();
    pairs.sort();
    let headers = sent.headers.iter().map(|(_, value)| {
        let text = String::from_utf8_lossy(value).into_owned();
        let squeezed = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        match (squeezed.find("Credential="), squeezed.find('/')) {
            (Some(start), Some(end)) if start < end => {
                squeezed[..start].to_owned() + &squeezed[end..]
            }
            _ => squeezed,
        }
    });
    (segments, pairs, headers.collect(), sent.body.clone())
}

proptest! {
    /// Whatever bit is flipped of what was signed, the request is refused.
    #[test]
    fn one_bit_makes_it_another_request(
        sample in prop::sample::select(samples()), place in any::<prop::sample::Index>(), bit in 0..7u8,
    ) {
        let mut changed = sample.clone();
        let mut uri = changed.uri.clone().into_bytes();
        let mut spots: Vec<&mut u8> = uri.iter_mut().chain(changed.body.iter_mut()).collect();
        for (_, value) in &mut changed.headers {
            spots.extend(value.iter_mut());
        }
        let at = place.index(spots.len());
        *spots[at] ^= 1 << bit;
        drop(spots);
        // Text that is none is no request.
        let Ok(uri) = String::from_utf8(uri) else { return Ok(()) };
        changed.uri = uri;
        if changed.verify(SECRET, now()) == Some(Ok(())) {
            prop_assert_eq!(meaning(&changed), meaning(&sample));
        }
    }

    /// No request makes the check fail in another way.
    #[test]
    fn any_request_is_checked(uri in "/[ -~]{0,40}", value in "[ -~]{0,60}") {
        let mut sample = samples().remove(0);
        sample.uri = uri;
        let _ = sample.with("authorization", &value).verify(SECRET, now());
    }
}
