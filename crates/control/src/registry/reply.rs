//! Answers of the registry, and its errors in OCI's JSON.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>

use super::Reply;
use crate::engine::CommitError;
use crate::model::ecr::Refusal;
use bytes::Bytes;
use fogbank_store::blob::BlobError;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

/// A refused request.
#[derive(Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// `Range` of an upload that goes on somewhere else.
    pub range: Option<String>,
}

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            range: None,
        }
    }

    /// The caller sees that the region is at fault, not what broke.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "the registry failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "The registry failed.",
        )
    }

    pub fn unsupported() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "The operation is unsupported.",
        )
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        Self::internal(&error)
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::BadDigest { .. } | BlobError::Mismatch { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
            }
            other => Self::internal(&other),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::RepositoryNotFound { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Refusal::ImageNotFound { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Refusal::ImageTagAlreadyExists { .. } => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
            Refusal::LayersNotFound { .. } | Refusal::ReferencedImagesNotFound { .. } => {
                (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")
            }
            _ => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        };
        Self::new(status, code, refusal.to_string())
    }
}

/// An empty answer.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(
        Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed(),
    );
    *reply.status_mut() = status;
    reply
}

pub fn bytes(status: StatusCode, content_type: &str, bytes: Bytes) -> Reply {
    let mut reply = empty(status);
    set(&mut reply, "content-type", content_type);
    set(&mut reply, "content-length", &bytes.len().to_string());
    *reply.body_mut() = Full::new(bytes).map_err(|never| match never {}).boxed();
    reply
}

pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    bytes(status, "application/json", Bytes::from(value.to_string()))
}

/// Sets a header; a value that cannot be one is left out.
pub fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// Gives refusals their form and every answer what all have. HEAD has no body.
pub fn finish(answer: Result<Reply, Failure>, head: bool) -> Reply {
    let mut reply = answer.unwrap_or_else(|failure| {
        let error = serde_json::json!({ "errors": [{ "code": failure.code, "message": failure.message, "detail": {} }] });
        let mut reply = json(failure.status, &error);
        if let Some(range) = failure.range {
            set(&mut reply, "range", &range);
        }
        reply
    });
    set(
        &mut reply,
        "docker-distribution-api-version",
        "registry/2.0",
    );
    if head {
        *reply.body_mut() = Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed();
    }
    reply
}
