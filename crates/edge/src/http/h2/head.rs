//! Heads between HTTP/2 and the common form of a request or a response, which is the one HTTP/1.1 has
//! (RFC 9113, section 8). Used by `stream`, `forward` and `relay`; pure.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::{EMPTY_HEADER, Header};

use super::super::body::Body;
use super::super::request::{Fields, HEAD_MAX_BYTES, Refusal, Request, Role, bad};
use super::super::response::{BadResponse, Response, is_own_hop};

const INLINE_HEADERS: usize = 40;

/// What of a request only HTTP/2 knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    pub is_grpc: bool,
    pub is_post: bool,
    pub takes_trailers: bool,
}

/// Shows a request as if it had come by HTTP/1.1. `ends`: it has no body.
pub fn read_request<R>(
    parts: &http::request::Parts,
    ends: bool,
    then: impl FnOnce(&Request<'_, '_>, Manner) -> R,
) -> Result<R, Refusal> {
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let cookie = joined_cookie(&parts.headers);
    let mut inline = [EMPTY_HEADER; INLINE_HEADERS];
    let mut inline_roles = [Role::Pass; INLINE_HEADERS];
    let (mut many, mut many_roles);
    // One more: the authority is shown as the Host header it stands for.
    let most = parts.headers.len() + 1;
    let (headers, roles) = if most <= INLINE_HEADERS {
        (&mut inline[..], &mut inline_roles[..])
    } else {
        many = vec![EMPTY_HEADER; most];
        many_roles = vec![Role::Pass; most];
        (&mut many[..], &mut many_roles[..])
    };
    let count = list_headers(&parts.headers, authority, cookie.as_deref(), headers);
    let (headers, roles) = (&headers[..count], &mut roles[..count]);
    let size = headers
        .iter()
        .map(|header| header.name.len() + header.value.len() + 4);
    if size.sum::<usize>() + target.len() > HEAD_MAX_BYTES {
        return Err(bad("request header too long"));
    }
    let mut fields = Fields::default();
    for (header, role) in headers.iter().zip(roles.iter_mut()) {
        *role = fields.take(header)?;
    }
    fields.frame_by_stream(ends);
    let request = fields.request(parts.method.as_str(), target, false, headers, roles)?;
    let manner = Manner {
        is_grpc: is_grpc(&parts.headers),
        is_post: parts.method == http::Method::POST,
        takes_trailers: parts.headers.contains_key(TE),
    };
    Ok(then(&request, manner))
}

fn list_headers<'b>(
    map: &'b HeaderMap,
    authority: Option<&'b str>,
    cookie: Option<&'b [u8]>,
    headers: &mut [Header<'b>],
) -> usize {
    let mut count = 0;
    let mut push = |name: &'b str, value: &'b [u8]| {
        headers[count] = Header { name, value };
        count += 1;
    };
    if let Some(authority) = authority {
        push("host", authority.as_bytes());
    }
    let mut cookie = cookie;
    for (name, value) in map {
        // A Host beside the authority that says the same is left out, and another one is a second host.
        let is_same_host = *name == HOST
            && authority.is_some_and(|own| value.as_bytes().eq_ignore_ascii_case(own.as_bytes()));
        if is_same_host {
            continue;
        }
        if *name != COOKIE {
            push(name.as_str(), value.as_bytes());
        } else if map.get_all(COOKIE).iter().nth(1).is_none() {
            push("cookie", value.as_bytes());
        } else if let Some(joined) = cookie.take() {
            push("cookie", joined);
        }
    }
    count
}

/// Crumbs are put together again (RFC 9113, 8.2.3).
fn joined_cookie(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (first, second) = (crumbs.next()?, crumbs.next()?);
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    Some(joined)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A response as HTTP/2 sends it: names in lower case, nothing that is for one hop.
pub fn write_response(response: &Response<'_, '_>) -> Result<http::Response<()>, BadResponse> {
    let status = StatusCode::from_u16(response.status).map_err(|_| BadResponse("status"))?;
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    let headers = head.headers_mut();
    headers.reserve(response.headers.len() + 1);
    // One memory for all values.
    let size = response
        .headers
        .iter()
        .map(|header| header.value.len())
        .sum();
    let mut values = bytes::BytesMut::with_capacity(size);
    for header in response.headers {
        if is_own_hop(header.name) {
            continue;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| BadResponse("header name"))?;
        values.extend_from_slice(header.value);
        let value = HeaderValue::from_maybe_shared(values.split().freeze())
            .map_err(|_| BadResponse("header value"))?;
        headers.append(name, value);
    }
    if let Some(length) = response
        .content_length
        .filter(|_| response.status != 204 && !matches!(response.body, Body::Chunked(_)))
    {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    Ok(head)
}

/// The head that `rewrite::write_request` wrote for a target, as HTTP/2 sends it.
pub fn for_target(head: &[u8], scheme: &str, takes_trailers: bool) -> Option<http::Request<()>> {
    let shared = Bytes::copy_from_slice(head);
    let mut inline = [EMPTY_HEADER; INLINE_HEADERS];
    let mut many;
    let mut request = httparse::Request::new(&mut inline);
    let mut read = request.parse(&shared);
    if read == Err(httparse::Error::TooManyHeaders) {
        let lines = head.iter().filter(|&&byte| byte == b'\n').count();
        many = vec![EMPTY_HEADER; lines + 1];
        request = httparse::Request::new(&mut many);
        read = request.parse(&shared);
    }
    read.ok().filter(|read| read.is_complete())?;
    let (method, path) = (request.method?, request.path?);
    let host = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("host"))?;
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(host.value)
        .path_and_query(path)
        .build()
        .ok()?;
    let mut built = http::Request::new(());
    *built.method_mut() = method.parse().ok()?;
    *built.uri_mut() = uri;
    *built.version_mut() = http::Version::HTTP_2;
    let headers = built.headers_mut();
    headers.reserve(request.headers.len());
    for header in request.headers.iter() {
        let is_length = header.name.eq_ignore_ascii_case("content-length");
        if header.name.eq_ignore_ascii_case("host") || (is_own_hop(header.name) && !is_length) {
            continue;
        }
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(shared.slice_ref(header.value)).ok()?;
        headers.append(name, value);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(built)
}
