//! The node agent's end of a load balancer process: pushes tables, hears about health. Used by
//! `fogbank-node`; `control` is the other end.

use std::io;
use std::path::Path;

use thiserror::Error;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::control::{Command, Event, Frames, write};
use super::table::Table;

#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("connecting to the load balancer process at {path}")]
    Connect { path: String, source: io::Error },
    #[error("sending to the load balancer process")]
    Send { source: io::Error },
    #[error("receiving from the load balancer process")]
    Receive { source: io::Error },
    #[error("the load balancer process has left")]
    Left,
}

/// A connection to one load balancer process.
#[derive(Debug)]
pub struct Node {
    events: Frames<OwnedReadHalf>,
    commands: OwnedWriteHalf,
}

impl Node {
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
        })
    }

    /// The process answers with `Event::Applied` when it serves the table.
    pub async fn push(&mut self, table: &Table) -> Result<(), RemoteError> {
        let command = Command::Table(Box::new(table.clone()));
        write(&mut self.commands, &command)
            .await
            .map_err(|source| RemoteError::Send { source })
    }

    /// The process answers with `Event::Counts`.
    pub async fn ask_counts(&mut self) -> Result<(), RemoteError> {
        write(&mut self.commands, &Command::Count)
            .await
            .map_err(|source| RemoteError::Send { source })
    }

    /// The process answers with `Event::Report`.
    pub async fn ask_report(&mut self) -> Result<(), RemoteError> {
        write(&mut self.commands, &Command::Report)
            .await
            .map_err(|source| RemoteError::Send { source })
    }

    /// What the last `Event::Report` told is stored.
    pub async fn reported(&mut self) -> Result<(), RemoteError> {
        write(&mut self.commands, &Command::Reported)
            .await
            .map_err(|source| RemoteError::Send { source })
    }

    /// Safe to drop and call again (in `select!`).
    pub async fn next_event(&mut self) -> Result<Event, RemoteError> {
        let event = self
            .events
            .next()
            .await
            .map_err(|source| RemoteError::Receive { source })?;
        event.ok_or(RemoteError::Left)
    }
}
