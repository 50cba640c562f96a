//! TLS: to clients (`listener`), to targets (`target`), and what both are made of. Used by `worker`, `stream`,
//! `exchange` and `health`.
//!
//! docs/decisions/0015-tls.md says which choices are ours and which AWS's.

mod certificate;
mod client;
mod listener;
mod session;
mod suite;
mod target;

pub use listener::{Door, Failure, doors};
pub use session::Session;
pub use target::{Alpn, Connector, Unverified};

use client::ClientCertificate;

use super::log::{self, ConnectionRecord};

/// What a handshake with a client came to, for headers and logs. One for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// As AWS writes it in logs and headers: `TLSv1.2`, `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name, which AWS uses: `ECDHE-RSA-AES128-GCM-SHA256`, `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// As the connection log has it.
    pub key_exchange: &'static str,
    /// HTTP/2 was agreed on.
    pub is_h2: bool,
    /// The name the client asked for, in small letters.
    pub server_name: Option<String>,
    /// The ARN of the certificate that was shown.
    pub certificate: String,
    pub resumed: bool,
    pub handshake_us: u64,
    /// With mutual TLS, if the client showed one.
    pub client: Option<ClientCertificate>,
    /// Lines that tell the target about TLS and the client's certificate, each with its end.
    pub headers: Vec<u8>,
    /// Headers that are the node's own on this listener: a client's go no further.
    pub own_names: Vec<String>,
}

impl TlsFacts {
    /// For the connection log.
    pub fn record(&self) -> ConnectionRecord {
        let certificate = |client: &ClientCertificate| log::ClientCertificate {
            subject: client.subject.clone(),
            validity: client.validity(),
            serial_number: client.serial.clone(),
        };
        ConnectionRecord {
            key_exchange: Some(self.key_exchange).filter(|name| !name.is_empty()),
            client_certificate: self.client.as_ref().map(certificate),
            failure: None,
        }
    }

    pub fn is_own(&self, name: &str) -> bool {
        self.own_names
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name))
    }
}
