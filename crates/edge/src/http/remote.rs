//! The node agent's end of a process that serves tables: pushes them, hears what it tells. `Node` is that of a load balancer,
//! with `control` at the other end; Service Connect's proxies have theirs in `connect::remote`. Used by `fogbank-node`.

use std::io;
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::control::{Command, Event, Frames, write};
use super::table::Table;

#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("connecting to the process at {path}")]
    Connect { path: String, source: io::Error },
    #[error("sending to the process")]
    Send { source: io::Error },
    #[error("receiving from the process")]
    Receive { source: io::Error },
    #[error("the process has left")]
    Left,
}

/// A connection to one process that takes commands `C` and tells events `E`.
#[derive(Debug)]
pub struct Remote<C, E> {
    events: Frames<OwnedReadHalf>,
    commands: OwnedWriteHalf,
    speaks: PhantomData<fn(C) -> E>,
}

/// A connection to one load balancer process.
pub type Node = Remote<Command, Event>;

impl<C: Serialize, E: DeserializeOwned> Remote<C, E> {
    pub async fn connect(path: &Path) -> Result<Self, RemoteError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| RemoteError::Connect {
                path: path.display().to_string(),
                source,
            })?;
        let (reader, commands) = stream.into_split();
        Ok(Self {
            events: Frames::new(reader),
            commands,
            speaks: PhantomData,
        })
    }

    pub(crate) async fn send(&mut self, command: &C) -> Result<(), RemoteError> {
        let sent = write(&mut self.commands, command).await;
        sent.map_err(|source| RemoteError::Send { source })
    }

    /// Safe to drop and call again (in `select!`).
    pub async fn next_event(&mut self) -> Result<E, RemoteError> {
        let event = self.events.next().await;
        event
            .map_err(|source| RemoteError::Receive { source })?
            .ok_or(RemoteError::Left)
    }
}

impl Node {
    /// The process answers with `Event::Applied` when it serves the table.
    pub async fn push(&mut self, table: &Table) -> Result<(), RemoteError> {
        self.send(&Command::Table(Box::new(table.clone()))).await
    }

    /// The process answers with `Event::Counts`.
    pub async fn ask_counts(&mut self) -> Result<(), RemoteError> {
        self.send(&Command::Count).await
    }

    /// The process answers with `Event::Counts` and `Event::Report`.
    pub async fn ask_report(&mut self) -> Result<(), RemoteError> {
        self.send(&Command::Report).await
    }

    /// What the last `Event::Report` told is stored.
    pub async fn reported(&mut self) -> Result<(), RemoteError> {
        self.send(&Command::Reported).await
    }
}
