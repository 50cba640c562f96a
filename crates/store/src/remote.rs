//! The store over a unix socket: [`serve`] in `control`, [`Client`] in `node` and `dns`.
//!
//! The socket has mode 0600 and is the only way in, so a peer is trusted with the data but not with our memory: frames
//! have a size limit, and a bad one closes its own connection only. Calls share one connection and are answered as
//! they get ready; every watch has a connection of its own, so that a slow watcher fills its own socket and nothing
//! else.

mod client;
mod codec;
mod server;

pub use client::Client;
pub use server::{Server, serve};

#[cfg(test)]
mod tests;
