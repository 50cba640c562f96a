//! The agent's side of a shim's socket.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::state::{Order, TaskState};
use super::{SOCKET, STATE_FILE};

/// Why a shim can't be talked to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("talk to the shim")]
    Io(#[source] io::Error),
    #[error("the shim's state is malformed")]
    Malformed(#[source] serde_json::Error),
    #[error("the shim is gone")]
    Gone,
}

/// A connection to a living shim.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the shim of a bundle; an error means that there is none alive.
    pub fn connect(bundle: &Path) -> Result<Self, ClientError> {
        Ok(Self {
            stream: BufReader::new(connect(bundle).map_err(ClientError::Io)?),
        })
    }

    /// The next state; the first comes at once. Blocks, at most as long as `patience` if given.
    pub fn next(&mut self, patience: Option<Duration>) -> Result<TaskState, ClientError> {
        self.stream
            .get_ref()
            .set_read_timeout(patience)
            .map_err(ClientError::Io)?;
        let mut line = String::new();
        match self.stream.read_line(&mut line).map_err(ClientError::Io)? {
            0 => Err(ClientError::Gone),
            _ => serde_json::from_str(&line).map_err(ClientError::Malformed),
        }
    }

    /// Sends an order.
    pub fn order(&mut self, order: Order) -> Result<(), ClientError> {
        self.stream
            .get_ref()
            .write_all(&order_line(order))
            .map_err(ClientError::Io)
    }
}

/// An order as it goes over the socket.
pub fn order_line(order: Order) -> Vec<u8> {
    let mut line = serde_json::to_vec(&order).expect("an order is a word");
    line.push(b'\n');
    line
}

/// Connects by a path that fits into a socket's address however long the bundle's own is.
pub fn connect(bundle: &Path) -> io::Result<UnixStream> {
    let folder = File::open(bundle)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

/// What a shim wrote last; `None` if it never wrote anything.
pub fn read_state(bundle: &Path) -> Result<Option<TaskState>, ClientError> {
    match std::fs::read(bundle.join(STATE_FILE)) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(ClientError::Malformed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ClientError::Io(error)),
    }
}
