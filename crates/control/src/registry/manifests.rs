//! Manifests: what an image consists of, by tag and by digest.

use super::{Call, Reply, blocking, collector, reply};
use crate::model::ecr::images::{self, ImageName, NewImage};
use crate::model::ecr::manifest::{self, BYTES_MAX, ManifestError, is_digest};
use bytes::Bytes;
use fogbank_store::blob::Digest;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use reply::Failure;
use std::time::Duration;

/// A manifest must be here within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
            error.to_string(),
        )
    }
}

fn named(reference: &str) -> ImageName {
    if is_digest(reference) {
        ImageName {
            digest: Some(reference.to_owned()),
            tag: None,
        }
    } else {
        ImageName {
            digest: None,
            tag: Some(reference.to_owned()),
        }
    }
}

pub async fn serve<B>(call: &Call, reference: &str, body: B) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    match call.method {
        Method::GET | Method::HEAD => get(call, reference).await,
        Method::PUT => put(call, reference, body).await,
        Method::DELETE => {
            let (scope, repository, name) = (
                call.scope.clone(),
                call.repository.clone(),
                named(reference),
            );
            call.write(move |tx| Ok(images::delete(tx, &scope, &repository, &name)?))
                .await?;
            Ok(reply::empty(StatusCode::ACCEPTED))
        }
        _ => Err(Failure::unsupported()),
    }
}

async fn get(call: &Call, reference: &str) -> Result<Reply, Failure> {
    let snapshot = call.engine.snapshot();
    let image = images::find(&snapshot, &call.scope, &call.repository, &named(reference))?.clone();
    let digest: Digest = image.digest.parse()?;
    let blobs = call.blobs.clone();
    let bytes = blocking(move || Ok(blobs.read(&digest, BYTES_MAX as u64)?)).await?;
    let bytes = bytes
        .ok_or_else(|| Failure::internal(&format!("the bytes of manifest {digest} are gone")))?;
    let mut answer = reply::bytes(StatusCode::OK, &image.media_type, bytes.into());
    reply::set(&mut answer, "docker-content-digest", &image.digest);
    Ok(answer)
}

async fn put<B>(call: &Call, reference: &str, body: B) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let bytes = receive(body).await?;
    let digest = Digest::of(&bytes);
    if is_digest(reference) && reference != digest.to_string() {
        let text = format!("The manifest has digest {digest}, not {reference}.");
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            text,
        ));
    }
    let new = NewImage {
        repository: call.repository.clone(),
        digest: digest.to_string(),
        manifest_size: bytes.len() as u64,
        manifest: manifest::read(&bytes, call.header(header::CONTENT_TYPE))?,
        tag: (!is_digest(reference)).then(|| reference.to_owned()),
    };
    let (engine, blobs, scope) = (call.engine.clone(), call.blobs.clone(), call.scope.clone());
    blocking(move || {
        let _kept = collector::keep();
        blobs.put(&bytes)?;
        engine.write(|tx| images::put(tx, &scope, new.clone()).map_err(Failure::from))?;
        Ok(())
    })
    .await?;
    let mut answer = reply::empty(StatusCode::CREATED);
    reply::set(
        &mut answer,
        "location",
        &format!("/v2/{}/manifests/{digest}", call.called),
    );
    reply::set(&mut answer, "docker-content-digest", &digest.to_string());
    reply::set(&mut answer, "content-length", "0");
    Ok(answer)
}

async fn receive<B>(body: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let body = body.map_err(|error| std::io::Error::other(error.to_string()));
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BYTES_MAX).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("A manifest must not be larger than {BYTES_MAX} bytes.");
            Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                text,
            ))
        }
        Ok(Err(error)) => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
            error.to_string(),
        )),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "MANIFEST_INVALID",
            "The manifest did not come.",
        )),
    }
}

/// The tags in order, a page of them if the client asks for one.
pub fn tags(call: &Call) -> Result<Reply, Failure> {
    if call.method != Method::GET {
        return Err(Failure::unsupported());
    }
    let snapshot = call.engine.snapshot();
    let mut all: Vec<String> = images::of(&snapshot, &call.scope, &call.repository)
        .flat_map(|image| image.image_tags.iter().cloned())
        .filter(|tag| call.query("last").is_none_or(|last| tag.as_str() > last))
        .collect();
    all.sort();
    let wanted = call.query("n").and_then(|n| n.parse::<usize>().ok());
    let more = wanted.is_some_and(|n| n > 0 && all.len() > n);
    all.truncate(wanted.unwrap_or(usize::MAX));
    let list = serde_json::json!({ "name": call.repository, "tags": all });
    let mut answer = reply::json(StatusCode::OK, &list);
    if more && let (Some(last), Some(n)) = (all.last(), wanted) {
        let link = format!(
            "</v2/{}/tags/list?n={n}&last={last}>; rel=\"next\"",
            call.called
        );
        reply::set(&mut answer, "link", &link);
    }
    Ok(answer)
}
