//! One HTTPS request to a registry, from the network namespace that the calling thread is in.
//!
//! What must stay true: nothing goes out but TLS with a certificate that the system's authorities (or the region's own)
//! vouch for, and no wait is without end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fogbank_edge::outside::{RESOLVER, addresses, client_config};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PullError;

/// As containerd's dialer has it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Of one address, when there are more.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);
/// Until the head of an answer, and between two pieces of its body.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How hosts are found and believed. Cheap to clone.
#[derive(Clone)]
pub struct Way {
    tls: TlsConnector,
}

impl Way {
    /// `data_folder`: where the region's own authority is. Reads files.
    pub fn new(data_folder: &Path) -> Self {
        Self {
            tls: TlsConnector::from(Arc::new(client_config(Some(data_folder), ""))),
        }
    }

    /// Sends a request to `host[:port]` over a connection of its own and waits for the head of the answer.
    pub async fn send(
        &self,
        authority: &str,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, PullError> {
        let failed = |source: std::io::Error| PullError::Unreachable {
            host: authority.to_owned(),
            source,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(443)),
            None => (authority, 443),
        };
        let stream = timeout(CONNECT_TIMEOUT, async {
            let tcp = self.connect(host, port).await?;
            let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
            self.tls.connect(name, tcp).await
        });
        let stream = stream
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        let broken = |error: hyper::Error| failed(std::io::Error::other(error));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with the response's body, or when that is dropped.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a registry's connection ended");
            }
        });
        match timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(broken),
            Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other(format!("lookup {host}: no such host"));
        for ip in addresses(RESOLVER, host).await {
            let connecting = TcpStream::connect(SocketAddr::new(ip, port));
            match timeout(ADDRESS_TIMEOUT, connecting).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = std::io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}
