//! What the decision about a request asks of the rest of it: which target to prefer, and what to change in the response.
//! Made by `decision`, carried in `Facts`; used by `target`, `rewrite` and `h2`. There is none when neither stickiness
//! nor listener attributes ask for one.

use std::sync::Arc;

use super::clock::unix_time_s;
use super::response::Response;
use super::response_headers::ResponseHeaders;
use super::sticky::Sticky;

#[derive(Clone, Debug)]
pub struct FollowUp(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    headers: Option<Arc<ResponseHeaders>>,
    sticky: Option<Sticky>,
}

impl FollowUp {
    pub fn new(headers: Option<Arc<ResponseHeaders>>, sticky: Option<Sticky>) -> Option<Self> {
        let is_needed = headers.is_some() || sticky.is_some();
        is_needed.then(|| Self(Arc::new(Parts { headers, sticky })))
    }

    pub fn sticky(&self) -> Option<&Sticky> {
        self.0.sticky.as_ref()
    }

    /// A header of the target's response that does not go on.
    pub fn removes(&self, name: &str) -> bool {
        let headers = self.0.headers.as_ref();
        headers.is_some_and(|headers| headers.removes(name))
    }

    /// Header lines, each with its end, that the response gets besides.
    pub fn lines(&self, response: &Response<'_, '_>) -> Vec<u8> {
        let mut lines = Vec::new();
        if let Some(sticky) = &self.0.sticky {
            for cookie in sticky.cookies(response, unix_time_s()) {
                lines.extend_from_slice(b"Set-Cookie: ");
                lines.extend_from_slice(cookie.as_bytes());
                lines.extend_from_slice(b"\r\n");
            }
        }
        if let Some(headers) = &self.0.headers {
            lines.extend_from_slice(headers.added());
        }
        lines
    }
}

/// The same one.
impl PartialEq for FollowUp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for FollowUp {}
