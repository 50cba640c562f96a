//! Keys, certificates, the region's own certificate authority and its roles' sessions.
//!
//! Called by `edge` (the certificates that the doors to AWS's services show), by `control` (Certificate Manager, Key
//! Management Service, the endpoint's TLS), by `node` (secrets of containers) and by `fogbank ca`. What must stay true: a
//! private key is never logged and never in an error's text; no bytes that a caller sends panic a reader; the authority's
//! key never leaves `<data>/ca`. `authority`, `session` and `signing` alone touch files.

pub mod authority;
pub mod certificate;
pub mod ciphertext;
mod confidence;
pub mod dnssec;
pub mod ecdsa;
pub mod key;
pub mod leaves;
#[cfg(test)]
mod samples;
pub mod session;
pub mod signing;

pub use authority::{Authority, AuthorityError, Leaf};
pub use certificate::{Certificate, CertificateError};
pub use key::{KeyAlgorithm, KeyError, KeyPair};
pub use leaves::{LeafError, Leaves};
pub use session::{Credentials, Session, SessionError, Sessions, Token, secret_access_key};
pub use signing::SigningKey;
