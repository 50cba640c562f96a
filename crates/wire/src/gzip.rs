//! Request bodies that are compressed: `Content-Encoding: gzip`, as SDKs send PutMetricData.
//!
//! What must stay true: what comes out is bounded, however small what goes in is.
//! <https://smithy.io/2.0/spec/behavior-traits.html#requestcompression-trait>

use std::borrow::Cow;
use std::io::Read;

use http::header::CONTENT_ENCODING;
use http::request::Parts;

use crate::Malformed;

/// As much as the endpoint takes of a body that is not compressed.
const MAX_BYTES: u64 = 16 << 20;

/// The body as it was before it was compressed.
pub fn content<'a>(parts: &Parts, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Malformed> {
    let encoding = parts
        .headers
        .get(CONTENT_ENCODING)
        .map_or(&b""[..], |value| value.as_bytes());
    // `aws-chunked` and the like are no compression.
    let compressed = encoding
        .split(|&b| b == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(b"gzip"));
    if !compressed {
        return Ok(body.into());
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(body)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut plain)
        .map_err(|_| Malformed::Syntax("the body is not gzip".to_owned()))?;
    if plain.len() as u64 > MAX_BYTES {
        return Err(Malformed::TooLarge("a body beyond any limit"));
    }
    Ok(plain.into())
}
