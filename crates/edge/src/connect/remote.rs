//! What agent and proxy say to each other, and the agent's end of it. `process` is the other end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::http::Counts;
use crate::http::remote::Remote;
pub use crate::http::remote::RemoteError;

/// From the node agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Table(Box<Table>),
    /// Asks for `Event::Counts`; a proxy that doesn't answer is stuck.
    Count,
}

/// To the node agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The table of that revision is served, but for ports nobody can listen on at the moment (they are tried again).
    Applied { revision: u64, unbound: Vec<u16> },
    /// Since the proxy started, by discovery name: what the task's programs asked of others.
    Counts(BTreeMap<String, Counts>),
}

/// A connection to one proxy.
pub type Proxy = Remote<Command, Event>;

impl Proxy {
    /// The proxy answers with `Event::Applied` when it serves the table.
    pub async fn push(&mut self, table: &Table) -> Result<(), RemoteError> {
        self.send(&Command::Table(Box::new(table.clone()))).await
    }

    /// The proxy answers with `Event::Counts`.
    pub async fn ask_counts(&mut self) -> Result<(), RemoteError> {
        self.send(&Command::Count).await
    }
}
