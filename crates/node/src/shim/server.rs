//! The shim's socket: whoever connects gets the task's state, a line now and one at each change, and may send orders.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use super::state::{Order, TaskState};

/// An order line is a word; a client that sends more without a line's end is cut off.
const LINE_LIMIT_BYTES: usize = 256;

pub struct Server {
    listener: UnixListener,
    clients: Vec<Connected>,
}

struct Connected {
    stream: UnixStream,
    partial: Vec<u8>,
}

impl Server {
    /// Listens at a name in the current folder, whose full path may be longer than a socket's address takes.
    pub fn bind(name: &str) -> io::Result<Self> {
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(name)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            clients: Vec::new(),
        })
    }

    /// What to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd())
            .chain(self.clients.iter().map(|client| client.stream.as_fd()))
    }

    /// Accepts, reads and gives the orders that came.
    pub fn serve(&mut self, state: &TaskState) -> Vec<Order> {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                let mut client = Connected {
                    stream,
                    partial: Vec::new(),
                };
                // One that has sent its order and hung up can't be told; its order counts all the same.
                client.tell(&line(state));
                self.clients.push(client);
            }
        }
        let mut orders = Vec::new();
        self.clients.retain_mut(|client| client.read(&mut orders));
        orders
    }

    /// Tells everyone. A client that doesn't read is dropped: it can connect again and gets the state as it is then.
    pub fn tell(&mut self, state: &TaskState) {
        let line = line(state);
        self.clients.retain_mut(|client| client.tell(&line));
    }
}

fn line(state: &TaskState) -> Vec<u8> {
    let mut line = serde_json::to_vec(state).expect("the state has only string keys");
    line.push(b'\n');
    line
}

impl Connected {
    fn tell(&mut self, line: &[u8]) -> bool {
        self.stream
            .write(line)
            .is_ok_and(|written| written == line.len())
    }

    /// False when the client is gone or talks nonsense.
    fn read(&mut self, orders: &mut Vec<Order>) -> bool {
        let mut buffer = [0; LINE_LIMIT_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(got) => self.partial.extend_from_slice(&buffer[..got]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(order) => orders.push(order),
                    Err(_) => return false,
                }
            }
            if self.partial.len() > LINE_LIMIT_BYTES {
                return false;
            }
        }
        true
    }
}
