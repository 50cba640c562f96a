//! The image registry: the OCI distribution API, on the region's endpoint.

use crate::Engine;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use std::sync::Arc;

/// Answers a request whose path starts with `/v2`.
pub async fn handle(_engine: Arc<Engine>, _request: Request<Incoming>) -> Response<BoxBody<Bytes, std::io::Error>> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
