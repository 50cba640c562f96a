//! Calls of identity providers by HTTPS, from the node's own network namespace: names through the VPC's resolver,
//! certificates verified with the system's authorities and the region's own. Used by `provider` and `keys`.
//!
//! What must stay true: a call takes five seconds at most ("the token endpoint is not responding within 5 seconds") and
//! as much memory as it was given; redirects are not followed; nothing of a call is logged but its host.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Outside;
use super::url::Url;
use crate::http::body::Body;
use crate::http::connect::connect;
use crate::http::request::Facts;
use crate::http::response::read_response;
use crate::outside::{addresses, client_config};

/// "...or the token endpoint is not responding within 5 seconds": error reason codes.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one address; the next one is tried then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// More wait, as long as a call may take.
const CALLS_MAX: usize = 256;
#[derive(Debug, Error)]
pub enum FetchError {
    #[error("no answer in time")]
    Timeout,
    #[error("{host} has no address")]
    Unknown { host: String },
    #[error("no connection with {host}")]
    Unreachable {
        host: String,
        source: std::io::Error,
    },
    #[error("the answer is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("the answer is no HTTP: {0}")]
    Invalid(&'static str),
}

/// What is asked.
#[derive(Debug)]
pub struct Call<'a> {
    pub url: &'a Url,
    /// Value of the Authorization header.
    pub authorization: Option<String>,
    /// A form to be posted; None: GET.
    pub form: Option<String>,
    pub max_bytes: usize,
}

#[derive(Debug)]
pub struct Fetched {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Fetched {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

#[derive(Debug)]
pub struct Fetcher {
    outside: Outside,
    /// Read when they are first needed: most load balancers never call anybody.
    tls: OnceLock<Arc<ClientConfig>>,
    calls: Semaphore,
}

impl Fetcher {
    pub fn new(outside: Outside) -> Self {
        Self {
            outside,
            tls: OnceLock::new(),
            calls: Semaphore::new(CALLS_MAX),
        }
    }

    pub async fn fetch(&self, call: Call<'_>) -> Result<Fetched, FetchError> {
        let host = &call.url.host;
        let fetched = async {
            let _permit = self.calls.acquire().await;
            self.call(&call).await
        };
        let fetched = timeout(CALL_TIMEOUT, fetched).await;
        fetched
            .unwrap_or(Err(FetchError::Timeout))
            .inspect_err(|error| tracing::warn!(host, %error, "an identity provider's call failed"))
    }

    async fn call(&self, call: &Call<'_>) -> Result<Fetched, FetchError> {
        let host = &call.url.host;
        let failed = |source| FetchError::Unreachable {
            host: host.clone(),
            source,
        };
        let tcp = self.connect(call.url).await?;
        let name = ServerName::try_from(host.clone())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let tls = TlsConnector::from(self.tls().await);
        let mut stream = tls.connect(name, tcp).await.map_err(failed)?;
        stream
            .write_all(write_call(call).as_bytes())
            .await
            .map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut bytes = Vec::new();
        let mut message = Message::default();
        loop {
            let ended = match stream.read_buf(&mut bytes).await {
                Ok(count) => count == 0,
                // Servers that close without a word end a message whose length is known all the same.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => true,
                Err(error) => return Err(failed(error)),
            };
            if let Some(fetched) = message.take(&mut bytes, ended, call.max_bytes)? {
                return Ok(fetched);
            }
        }
    }

    async fn connect(&self, url: &Url) -> Result<tokio::net::TcpStream, FetchError> {
        let mut last = FetchError::Unknown {
            host: url.host.clone(),
        };
        for ip in addresses(self.outside.resolver, &url.host).await {
            let address = SocketAddr::new(ip, url.port);
            match timeout(CONNECT_TIMEOUT, connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(source)) => {
                    last = FetchError::Unreachable {
                        host: url.host.clone(),
                        source,
                    };
                }
                Err(_) => last = FetchError::Timeout,
            }
        }
        Err(last)
    }

    async fn tls(&self) -> Arc<ClientConfig> {
        if let Some(config) = self.tls.get() {
            return config.clone();
        }
        let outside = self.outside.clone();
        // Reading some hundred certificates takes a while.
        let made = tokio::task::spawn_blocking(move || trusting(&outside)).await;
        match made {
            Ok(config) => self.tls.get_or_init(|| config).clone(),
            Err(error) => {
                tracing::error!(%error, "authorities can't be read");
                trusting(&Outside::default())
            }
        }
    }
}

/// "The IdP endpoints certificates should be issued by a trusted public certificate authority."
fn trusting(outside: &Outside) -> Arc<ClientConfig> {
    Arc::new(client_config(
        outside.data_folder.as_deref(),
        &outside.roots,
    ))
}

fn write_call(call: &Call<'_>) -> String {
    let method = if call.form.is_some() { "POST" } else { "GET" };
    let mut text = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nUser-Agent: awselb/2.0\r\nConnection: close\r\n",
        call.url.target,
        call.url.authority(),
    );
    if let Some(authorization) = &call.authorization {
        text.push_str(&format!("Authorization: {authorization}\r\n"));
    }
    if let Some(form) = &call.form {
        text.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        ));
    }
    text.push_str("\r\n");
    text.push_str(call.form.as_deref().unwrap_or_default());
    text
}

/// An answer as it comes in.
#[derive(Debug, Default)]
struct Message {
    head: Option<(u16, Body)>,
    body: Vec<u8>,
}

impl Message {
    /// Takes what has come; `ended`: nothing more does.
    fn take(
        &mut self,
        bytes: &mut Vec<u8>,
        ended: bool,
        max_bytes: usize,
    ) -> Result<Option<Fetched>, FetchError> {
        while self.head.is_none() {
            let read = read_response(bytes, &Facts::of_get(), |response| {
                (response.status, response.body.clone())
            });
            match read {
                Err(bad) => return Err(FetchError::Invalid(bad.0)),
                Ok(None) if ended => return Err(FetchError::Invalid("it broke off")),
                Ok(None) => return Ok(None),
                Ok(Some((length, (status, body)))) => {
                    bytes.drain(..length);
                    if status >= 200 {
                        self.head = Some((status, body));
                    }
                }
            }
        }
        let Some((status, body)) = &mut self.head else {
            return Ok(None);
        };
        while !bytes.is_empty() && !body.is_done() {
            let length = bytes.len();
            let decoded = body
                .decode(bytes, 0..length)
                .map_err(|_| FetchError::Invalid("chunks"))?;
            self.body.extend_from_slice(&bytes[decoded.payload]);
            bytes.drain(..decoded.rest);
            if self.body.len() > max_bytes {
                return Err(FetchError::TooLarge { max_bytes });
            }
        }
        let is_whole = body.is_done() || (ended && *body == Body::UntilClose);
        if is_whole {
            let (status, body) = (*status, std::mem::take(&mut self.body));
            return Ok(Some(Fetched { status, body }));
        }
        if ended {
            return Err(FetchError::Invalid("it broke off"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str], max_bytes: usize) -> Result<Option<Fetched>, FetchError> {
        let (mut message, mut bytes) = (Message::default(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece.as_bytes());
            if let Some(fetched) = message.take(&mut bytes, piece.is_empty(), max_bytes)? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }

    #[test]
    fn answers_of_all_framings_are_read() {
        for pieces in [
            &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "llo"][..],
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3",
                "\r\nllo\r\n0\r\n\r\n",
            ],
            &[
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhello",
                "",
            ],
        ] {
            let fetched = read(pieces, 100).unwrap().unwrap();
            assert_eq!((fetched.status, &fetched.body[..]), (200, &b"hello"[..]));
        }
    }

    #[test]
    fn what_is_cut_or_too_large_is_no_answer() {
        let cut = ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", ""];
        assert!(matches!(read(&cut, 100), Err(FetchError::Invalid(_))));
        let large = ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"];
        assert!(matches!(read(&large, 4), Err(FetchError::TooLarge { .. })));
        assert!(matches!(read(&["HTP\r\n"], 4), Err(FetchError::Invalid(_))));
    }
}
