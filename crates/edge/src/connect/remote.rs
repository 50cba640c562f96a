//! What agent and proxy say to each other, and the agent's end of it. `process` is the other end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::table::Table;
use crate::http::GroupCounts;
use crate::http::control::{Frames, write};

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
    Counts(BTreeMap<String, GroupCounts>),
}

#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("connecting to the proxy at {path}")]
    Connect { path: String, source: io::Error },
    #[error("sending to the proxy")]
    Send { source: io::Error },
    #[error("receiving from the proxy")]
    Receive { source: io::Error },
    #[error("the proxy has left")]
    Left,
}

/// A connection to one proxy.
#[derive(Debug)]
pub struct Proxy {
    events: Frames<OwnedReadHalf>,
    commands: OwnedWriteHalf,
}

impl Proxy {
    pub async fn connect(path: &Path) -> Result<Self, RemoteError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|source| RemoteError::Connect {
            path: path.display().to_string(),
            source,
        })?;
        let (reader, commands) = stream.into_split();
        Ok(Self {
            events: Frames::new(reader),
            commands,
        })
    }

    /// The proxy answers with `Event::Applied` when it serves the table.
    pub async fn push(&mut self, table: &Table) -> Result<(), RemoteError> {
        self.send(&Command::Table(Box::new(table.clone()))).await
    }

    /// The proxy answers with `Event::Counts`.
    pub async fn ask_counts(&mut self) -> Result<(), RemoteError> {
        self.send(&Command::Count).await
    }

    async fn send(&mut self, command: &Command) -> Result<(), RemoteError> {
        let sent = write(&mut self.commands, command).await;
        sent.map_err(|source| RemoteError::Send { source })
    }

    /// Safe to drop and call again (in `select!`).
    pub async fn next_event(&mut self) -> Result<Event, RemoteError> {
        let event = self.events.next().await;
        event
            .map_err(|source| RemoteError::Receive { source })?
            .ok_or(RemoteError::Left)
    }
}
