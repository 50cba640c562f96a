//! The image registry: the OCI distribution API v2, on the endpoint that serves everything else.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! `server` gives it every request whose path starts with `/v2/`. What must stay true: a row never names bytes that are
//! not on disk under their digest; nothing a client sends is held in memory but a manifest; a failed upload leaves
//! nothing. Repositories are made by ECR's CreateRepository, never by a push (fact IMG-2).

mod blobs;
mod caller;
pub mod collector;
mod download;
mod manifests;
mod name;
mod reply;
pub mod uploads;

use crate::engine::Engine;
use crate::model::Tx;
use bytes::Bytes;
pub use caller::{Caller, password};
use fogbank_store::blob::BlobStore;
use fogbank_types::Scope;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::Body;
use reply::Failure;
use std::sync::Arc;

/// What goes out: small answers from memory, blobs from disk.
pub type Reply = Response<BoxBody<Bytes, std::io::Error>>;

/// One request to a repository.
struct Call {
    engine: Arc<Engine>,
    blobs: BlobStore,
    scope: Scope,
    repository: String,
    /// The repository as the client called it, for `Location`.
    called: String,
    method: Method,
    headers: http::HeaderMap,
    query: Vec<(String, String)>,
    /// Whether the caller may have what the repository holds that a blob is to be taken over `from`.
    may_mount: bool,
}

impl Call {
    fn query(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Commits a change on a thread that may block.
    async fn write<R: Send + 'static>(
        &self,
        mut change: impl FnMut(&mut Tx) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let engine = self.engine.clone();
        blocking(move || engine.write(|tx| change(tx)).map(|(result, _)| result)).await
    }
}

/// Runs what touches the disk or the store on a thread that may block.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Failure> + Send + 'static,
) -> Result<R, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::internal(&error)),
    }
}

/// Answers a request of the registry. Never fails: whatever goes wrong is an answer.
pub async fn handle<B>(engine: Arc<Engine>, caller: Caller, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let head = request.method() == Method::HEAD;
    let answer = route(engine, caller, request).await;
    reply::finish(answer, head)
}

async fn route<B>(
    engine: Arc<Engine>,
    caller: Caller,
    request: Request<B>,
) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let path = name::decode(parts.uri.path());
    let host = parts
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let scope =
        name::scope(host).unwrap_or_else(|| Scope::new(&engine.config().account, "us-east-1"));
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return Ok(reply::json(http::StatusCode::OK, &serde_json::json!({}))),
        Some("/_catalog") => {
            caller.may(&engine.snapshot(), "ecr:DescribeRepositories", &scope, None)?;
            return Ok(catalog(&engine, &scope));
        }
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None => return Err(Failure::unsupported()),
    };
    let target = name::target(&rest).ok_or_else(Failure::unsupported)?;
    // A first element that is a registry's host says whose repository it is, whatever host was called.
    let (scope, repository) = match target.repository.split_once('/') {
        Some((first, repository)) => match name::scope(first) {
            Some(named) => (named, repository.to_owned()),
            None => (scope, target.repository.clone()),
        },
        None => (scope, target.repository.clone()),
    };
    let action = action(&parts.method, &target.what);
    caller.may(&engine.snapshot(), action, &scope, Some(&repository))?;
    let blobs =
        BlobStore::open(&engine.config().data_dir).map_err(|error| Failure::internal(&error))?;
    let query = name::query(parts.uri.query().unwrap_or_default());
    let from = query.iter().find(|(name, _)| name == "from");
    let may_mount = from.is_none_or(|(_, from)| {
        let (snapshot, action) = (engine.snapshot(), "ecr:GetDownloadUrlForLayer");
        caller.may(&snapshot, action, &scope, Some(from)).is_ok()
    });
    let call = Call {
        engine,
        blobs,
        scope,
        repository,
        called: target.repository,
        method: parts.method,
        headers: parts.headers,
        query,
        may_mount,
    };
    crate::model::ecr::repositories::find(&call.engine.snapshot(), &call.scope, &call.repository)?;
    match target.what {
        name::What::Tags => manifests::tags(&call),
        name::What::Manifest(reference) => manifests::serve(&call, &reference, body).await,
        name::What::Blob(digest) => blobs::serve(&call, &digest).await,
        name::What::Uploads => blobs::begin(&call, body).await,
        name::What::Upload(id) => blobs::go_on(&call, &id, body).await,
    }
}

/// The permission that a request takes.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>
fn action(method: &Method, what: &name::What) -> &'static str {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match what {
        name::What::Tags => "ecr:ListImages",
        name::What::Manifest(_) if reads => "ecr:BatchGetImage",
        name::What::Manifest(_) if *method == Method::DELETE => "ecr:BatchDeleteImage",
        name::What::Manifest(_) => "ecr:PutImage",
        name::What::Blob(_) if *method == Method::HEAD => "ecr:BatchCheckLayerAvailability",
        name::What::Blob(_) if reads => "ecr:GetDownloadUrlForLayer",
        name::What::Blob(_) => "ecr:BatchDeleteImage",
        name::What::Uploads => "ecr:InitiateLayerUpload",
        name::What::Upload(_) if *method == Method::PUT => "ecr:CompleteLayerUpload",
        name::What::Upload(_) => "ecr:UploadLayerPart",
    }
}

fn catalog(engine: &Engine, scope: &Scope) -> Reply {
    let snapshot = engine.snapshot();
    let names: Vec<&str> = snapshot
        .repositories
        .in_scope(scope)
        .map(|row| row.name.as_str())
        .collect();
    reply::json(
        http::StatusCode::OK,
        &serde_json::json!({ "repositories": names }),
    )
}

#[cfg(test)]
#[path = "tests.rs"]
mod test;
