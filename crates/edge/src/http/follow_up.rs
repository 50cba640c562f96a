//! What the decision about a request asks of the rest of it: which target to prefer, and what to change in the response.
//! Made by `decision`, carried in `Facts`; used by `target`, `rewrite` and `h2`. There is none when neither stickiness
//! nor listener attributes nor a guard ask for one.

use std::sync::Arc;

use http::header::{HeaderName, HeaderValue, SET_COOKIE};

use super::answer;
use super::clock::unix_time_s;
use super::response::Response;
use super::response_headers::ResponseHeaders;
use super::sticky::{Sticky, is_of_cookie};

#[derive(Clone, Debug)]
pub struct FollowUp(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    headers: Option<Arc<ResponseHeaders>>,
    sticky: Option<Sticky>,
    /// Of the guard: values of Set-Cookie headers.
    cookies: Vec<String>,
}

impl FollowUp {
    pub fn new(
        headers: Option<Arc<ResponseHeaders>>,
        sticky: Option<Sticky>,
        cookies: Vec<String>,
    ) -> Option<Self> {
        let is_needed = headers.is_some() || sticky.is_some() || !cookies.is_empty();
        let parts = || Parts {
            headers,
            sticky,
            cookies,
        };
        is_needed.then(|| Self(Arc::new(parts())))
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
        let mut lines = answer::cookie_lines(&self.0.cookies);
        if let Some(sticky) = &self.0.sticky {
            let sets = |name: &str| {
                let headers = response.headers.iter();
                let mut set = headers.filter(|h| h.name.eq_ignore_ascii_case("set-cookie"));
                set.any(|header| is_of_cookie(header.value, name))
            };
            lines.extend(answer::cookie_lines(&sticky.cookies(sets, unix_time_s())));
        }
        if let Some(headers) = &self.0.headers {
            lines.extend_from_slice(headers.added());
        }
        lines
    }

    /// The same for a response that goes by HTTP/2.
    pub fn amend(&self, head: &mut http::Response<()>) {
        let headers = head.headers_mut();
        for cookie in &self.0.cookies {
            if let Ok(value) = HeaderValue::from_str(cookie) {
                headers.append(SET_COOKIE, value);
            }
        }
        if let Some(sticky) = &self.0.sticky {
            let set = headers.get_all(SET_COOKIE);
            let sets = |name: &str| set.iter().any(|value| is_of_cookie(value.as_bytes(), name));
            for cookie in sticky.cookies(sets, unix_time_s()) {
                if let Ok(value) = HeaderValue::try_from(cookie) {
                    headers.append(SET_COOKIE, value);
                }
            }
        }
        let Some(own) = &self.0.headers else {
            return;
        };
        for name in own.removed() {
            headers.remove(*name);
        }
        for (name, value) in own.fields() {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// The same one.
impl PartialEq for FollowUp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for FollowUp {}
