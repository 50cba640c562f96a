//! One request to a target on a connection of its own: what a health check asks over HTTP/2. Called by `health`.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, Version};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::response::HEAD_MAX_BYTES;

/// No message, not compressed ("Length-Prefixed-Message", gRPC over HTTP/2).
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Get,
    /// A call of the method that the path names.
    Grpc,
}

/// What the target said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    /// Of a call: from the trailers, or from the head of an answer without a message.
    pub grpc_status: Option<u16>,
}

#[derive(Debug, Error)]
pub enum AskError {
    #[error("not an authority and a path")]
    Target(#[from] http::Error),
    #[error("HTTP/2 with the target")]
    Protocol(#[from] h2::Error),
    #[error("the target closed the connection")]
    Closed,
}

/// Asks, and closes the connection. Whoever calls bounds the time it may take.
pub async fn request<S>(
    stream: S,
    scheme: &str,
    authority: &str,
    path: &str,
    ask: Ask,
) -> Result<Told, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = head(scheme, authority, path, ask)?;
    let (send, mut connection) = Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD_MAX_BYTES as u32)
        .handshake::<_, Bytes>(stream)
        .await?;
    let mut exchange = std::pin::pin!(exchange(send, asked, ask));
    std::future::poll_fn(|cx| {
        // The exchange last: what the connection read for it is seen at once.
        let ended = Pin::new(&mut connection).poll(cx);
        if let Poll::Ready(told) = exchange.as_mut().poll(cx) {
            return Poll::Ready(told);
        }
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready(Err(AskError::Closed)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn head(scheme: &str, authority: &str, path: &str, ask: Ask) -> Result<Request<()>, http::Error> {
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()?;
    let mut asked = Request::builder()
        .version(Version::HTTP_2)
        .uri(uri)
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .body(())?;
    if ask == Ask::Grpc {
        *asked.method_mut() = Method::POST;
        let headers = asked.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(asked)
}

async fn exchange(
    send: SendRequest<Bytes>,
    asked: Request<()>,
    ask: Ask,
) -> Result<Told, AskError> {
    let mut send = send.ready().await?;
    let (response, mut sink) = send.send_request(asked, ask == Ask::Get)?;
    if ask == Ask::Grpc {
        sink.send_data(Bytes::from_static(&EMPTY_MESSAGE), true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    let status = head.status.as_u16();
    let mut grpc_status = grpc_status(&head.headers);
    if ask == Ask::Grpc && grpc_status.is_none() {
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece?.len())?;
        }
        let trailers = body.trailers().await?;
        grpc_status = trailers.as_ref().and_then(self::grpc_status);
    }
    Ok(Told {
        status,
        grpc_status,
    })
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
