//! HTTP/2: client connections that agreed on it by ALPN, and multiplexed connections to targets of protocol
//! version HTTP2 and GRPC. Used by `entrance` (clients), `exchange`'s sibling `relay` (targets) and `health`.
//!
//! Framing, HPACK and flow control are the h2 crate's. Here a connection is one task that reads and writes
//! frames, and each stream a task that polls both its sides itself: the client's half of the stream, and
//! the target's socket or stream. No body is kept: what a target takes is what its client may send more of,
//! and the other way round. A request is shown to the rules in the form HTTP/1.1 has, and what the node answers by
//! itself is written once, as HTTP/1.1, and translated (`head`).
//!
//! "Protocol versions" and "Listeners", ELB guide; facts HTTP-1, HTTP-3 and TGT-14. Extended CONNECT (RFC 8441) is
//! not offered: AWS upgrades to WebSocket over HTTP/1.1 only.

pub mod client;
mod cork;
mod download;
mod forward;
mod head;
mod meter;
mod relay;
mod session;
mod stream;
mod upload;
mod upstream;

pub use session::serve;
pub use upstream::Pool;
