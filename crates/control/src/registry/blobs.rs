//! Blobs: pulled with ranges, pushed whole, in pieces, or mounted from another repository.

use super::download::FileBody;
use super::uploads::{self, Taken, UploadError};
use super::{Call, Reply, blocking, collector, reply};
use crate::model::ecr::images;
use bytes::Bytes;
use fogbank_store::blob::Digest;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use reply::Failure;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc;

/// A client that sends nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Pieces read ahead of the disk.
const PIECES_AHEAD: usize = 8;

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        let text = error.to_string();
        match error {
            UploadError::Unknown(_) => {
                Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", text)
            }
            UploadError::Busy => Self::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", text),
            UploadError::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", text)
            }
            UploadError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", text),
            UploadError::Blob(error) => error.into(),
        }
    }
}

/// GET and HEAD of a blob.
pub async fn serve(call: &Call, text: &str) -> Result<Reply, Failure> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Failure::unsupported());
    }
    let digest: Digest = text.parse()?;
    let unknown = || {
        Failure::new(
            StatusCode::NOT_FOUND,
            "BLOB_UNKNOWN",
            format!("The blob {digest} is unknown."),
        )
    };
    let (snapshot, id) = (
        call.engine.snapshot(),
        format!("{}@{digest}", call.repository),
    );
    if !snapshot.layers.contains(&call.scope, &id) && !snapshot.images.contains(&call.scope, &id) {
        return Err(unknown());
    }
    let blobs = call.blobs.clone();
    let (file, size) = blocking(move || Ok(blobs.file(&digest)?))
        .await?
        .ok_or_else(unknown)?;
    let (status, range) = match call.header(header::RANGE).map(|text| range_of(text, size)) {
        None | Some(Wanted::All) => (StatusCode::OK, 0..size),
        Some(Wanted::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Wanted::Nothing) => {
            let text = format!("The range is not within the {size} bytes of the blob.");
            return Err(Failure::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "RANGE_INVALID",
                text,
            ));
        }
    };
    let mut answer = reply::empty(status);
    reply::set(&mut answer, "content-type", "application/octet-stream");
    reply::set(
        &mut answer,
        "content-length",
        &(range.end - range.start).to_string(),
    );
    reply::set(&mut answer, "docker-content-digest", &digest.to_string());
    reply::set(&mut answer, "accept-ranges", "bytes");
    if status == StatusCode::PARTIAL_CONTENT {
        reply::set(
            &mut answer,
            "content-range",
            &format!("bytes {}-{}/{size}", range.start, range.end - 1),
        );
    }
    if call.method == Method::GET {
        *answer.body_mut() = FileBody::start(file, range).boxed();
    }
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// One range of bytes; a header that asks for anything else is answered whole, as RFC 9110 permits.
fn range_of(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|spec| spec.split_once('-'))
    else {
        return Wanted::All;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(tail)) if first.trim().is_empty() => size.saturating_sub(tail)..size,
        _ => return Wanted::All,
    };
    if range.start < range.end {
        Wanted::Part(range)
    } else {
        Wanted::Nothing
    }
}

/// POST: begins an upload, takes a whole blob, or mounts one of another repository.
pub async fn begin<B>(call: &Call, body: B) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    if call.method != Method::POST {
        return Err(Failure::unsupported());
    }
    if let (Some(digest), Some(from)) = (call.query("mount"), call.query("from"))
        && call.may_mount
        && let Some(answer) = mount(call, digest, from).await?
    {
        return Ok(answer);
    }
    // A digest that is none is refused before anything is stored.
    let digest = call.query("digest").map(str::parse::<Digest>).transpose()?;
    let id = call.write(|tx| Ok(tx.uuid())).await?;
    let (blobs, scope, repository, key) = (
        call.blobs.clone(),
        call.scope.clone(),
        call.repository.clone(),
        id.clone(),
    );
    blocking(move || Ok(uploads::begin(&blobs, &scope, &repository, &key)?)).await?;
    match digest {
        Some(digest) => complete(call, &id, digest, body).await,
        None => Ok(under_way(call, &id, 0, StatusCode::ACCEPTED)),
    }
}

async fn mount(call: &Call, digest: &str, from: &str) -> Result<Option<Reply>, Failure> {
    let digest: Digest = digest.parse()?;
    let snapshot = call.engine.snapshot();
    let Some(layer) = snapshot
        .layers
        .get(&call.scope, format!("{from}@{digest}"))
        .cloned()
    else {
        return Ok(None);
    };
    let (engine, blobs) = (call.engine.clone(), call.blobs.clone());
    let (scope, repository) = (call.scope.clone(), call.repository.clone());
    let mounted = blocking(move || {
        let _kept = collector::keep();
        if blobs.size(&digest)?.is_none() {
            return Ok(false);
        }
        engine.write(|tx| {
            images::put_layer(tx, &scope, &repository, &layer.digest, layer.size)
                .map_err(Failure::from)
        })?;
        Ok(true)
    })
    .await?;
    Ok(mounted.then(|| created(call, &digest)))
}

fn created(call: &Call, digest: &Digest) -> Reply {
    let mut answer = reply::empty(StatusCode::CREATED);
    reply::set(
        &mut answer,
        "location",
        &format!("/v2/{}/blobs/{digest}", call.called),
    );
    reply::set(&mut answer, "docker-content-digest", &digest.to_string());
    reply::set(&mut answer, "content-length", "0");
    answer
}

fn under_way(call: &Call, id: &str, written: u64, status: StatusCode) -> Reply {
    let mut answer = reply::empty(status);
    reply::set(
        &mut answer,
        "location",
        &format!("/v2/{}/blobs/uploads/{id}", call.called),
    );
    reply::set(
        &mut answer,
        "range",
        &format!("0-{}", written.saturating_sub(1)),
    );
    reply::set(&mut answer, "docker-upload-uuid", id);
    reply::set(&mut answer, "content-length", "0");
    answer
}

/// PATCH, PUT, GET and DELETE of an upload.
pub async fn go_on<B>(call: &Call, id: &str, body: B) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    match call.method {
        Method::GET => {
            let written = uploads::written(&call.scope, &call.repository, id)?;
            Ok(under_way(call, id, written, StatusCode::NO_CONTENT))
        }
        Method::DELETE => {
            uploads::cancel(&call.scope, &call.repository, id)?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        Method::PATCH => {
            let mut taken = receive(call, id, body).await?;
            let written = taken.written();
            drop(taken);
            Ok(under_way(call, id, written, StatusCode::ACCEPTED))
        }
        Method::PUT => {
            let text = call.query("digest").ok_or_else(|| {
                Failure::new(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    "The upload names no digest.",
                )
            })?;
            complete(call, id, text.parse()?, body).await
        }
        _ => Err(Failure::unsupported()),
    }
}

async fn complete<B>(call: &Call, id: &str, digest: Digest, body: B) -> Result<Reply, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let taken = receive(call, id, body).await?;
    let (engine, scope, repository) = (
        call.engine.clone(),
        call.scope.clone(),
        call.repository.clone(),
    );
    blocking(move || {
        let _kept = collector::keep();
        let size = taken.finish(&digest)?;
        engine.write(|tx| {
            images::put_layer(tx, &scope, &repository, &digest.to_string(), size)
                .map_err(Failure::from)
        })?;
        Ok(())
    })
    .await?;
    Ok(created(call, &digest))
}

/// Writes the request's body to the upload, piece by piece.
async fn receive<B>(call: &Call, id: &str, mut body: B) -> Result<Taken, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let mut taken = uploads::take(&call.scope, &call.repository, id)?;
    let written = taken.written();
    if let Some(range) = call.header(header::CONTENT_RANGE) {
        let first = range
            .trim_start_matches("bytes ")
            .split('-')
            .next()
            .and_then(|n| n.trim().parse::<u64>().ok());
        if first != Some(written) {
            let text = format!("The upload goes on at byte {written}.");
            let mut failure = Failure::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                text,
            );
            failure.range = Some(format!("0-{}", written.saturating_sub(1)));
            return Err(failure);
        }
    }
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            taken.append(&piece)?;
        }
        Ok::<_, UploadError>(taken)
    });
    let mut broken = None;
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                // A writer that failed says so when it is awaited.
                if let Ok(piece) = frame.into_data()
                    && sender.send(piece).await.is_err()
                {
                    break;
                }
            }
            Ok(Some(Err(error))) => {
                broken = Some(error.to_string());
                break;
            }
            Err(_) => {
                broken = Some("the client fell silent".to_owned());
                break;
            }
        }
    }
    drop(sender);
    let taken = writing.await.map_err(|error| Failure::internal(&error))??;
    match broken {
        None => Ok(taken),
        Some(why) => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "BLOB_UPLOAD_INVALID",
            why,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_blob() {
        assert_eq!(range_of("bytes=0-3", 10), Wanted::Part(0..4));
        assert_eq!(range_of("bytes=5-", 10), Wanted::Part(5..10));
        assert_eq!(range_of("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(range_of("bytes=5-99", 10), Wanted::Part(5..10));
        assert_eq!(range_of("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(
            range_of("bytes=0-18446744073709551615", 10),
            Wanted::Part(0..10)
        );
        for odd in [
            "bytes=3-1",
            "items=0-1",
            "bytes=",
            "bytes=a-b",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(range_of(odd, 10), Wanted::All, "{odd}");
        }
    }
}
