//! How a process passes its listening sockets to its successor, so that no connection is lost on an upgrade:
//! docs/decisions/0017-handover.md. Used by `process`, at both ends.
//!
//! Over a socket of its own: the old process sends the sockets with a frame that names their ports and what it
//! knows of its targets' health; the new one answers with one byte when it accepts connections; when the old one
//! has drained it sends the counts that no report holds. Frames are a big-endian u32 length and that much JSON.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::control::{Counts, GroupHealth};

/// Fifty listeners are AWS's limit; the kernel's is 253 a message.
const SOCKETS_MAX: usize = 128;
const FRAME_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How long the other end may take for its part.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a process waits for its successor.
pub fn path(run_folder: &Path, eni: &str) -> PathBuf {
    run_folder.join("alb").join(format!("{eni}.handover"))
}

/// What goes with the sockets.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    /// Of the sockets, in their order.
    ports: Vec<u16>,
    health: Vec<GroupHealth>,
}

/// What a process gets from its predecessor.
#[derive(Debug)]
pub struct Inheritance {
    pub listeners: Vec<(u16, TcpListener)>,
    pub health: Vec<GroupHealth>,
    stream: UnixStream,
}

/// The predecessor's part: passes the sockets. When it returns well the successor accepts connections. Blocks.
pub fn give(
    stream: &mut UnixStream,
    listeners: &[(u16, OwnedFd)],
    health: Vec<GroupHealth>,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let listeners = &listeners[..listeners.len().min(SOCKETS_MAX)];
    let manifest = Manifest {
        ports: listeners.iter().map(|(port, _)| *port).collect(),
        health,
    };
    let frame = serde_json::to_vec(&manifest)?;
    let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let sockets: Vec<_> = listeners.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        &*stream,
        &[IoSlice::new(&length.to_be_bytes())],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    if sent != 4 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    stream.write_all(&frame)?;
    stream.read_exact(&mut [0])
}

/// The predecessor's last word: what it counted and could not report.
pub fn give_counts(stream: &mut UnixStream, counts: &Counts) -> io::Result<()> {
    let frame = serde_json::to_vec(counts)?;
    let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&frame)
}

/// The successor's part. None: there is no predecessor. Blocks, but not for long.
pub fn take(path: &Path) -> io::Result<Option<Inheritance>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; 4];
    let received = recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut length)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )?;
    if received.bytes != 4 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    let frame = read_frame(&mut stream, length)?;
    let manifest: Manifest = serde_json::from_slice(&frame)?;
    if manifest.ports.len() != sockets.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a socket is missing",
        ));
    }
    let listeners = manifest.ports.into_iter().zip(sockets);
    Ok(Some(Inheritance {
        listeners: listeners
            .map(|(port, socket)| (port, socket.into()))
            .collect(),
        health: manifest.health,
        stream,
    }))
}

impl Inheritance {
    /// From now on the predecessor accepts nothing.
    pub fn accepted(&mut self) -> io::Result<()> {
        self.stream.write_all(&[1])
    }

    /// Waits, however long it drains, for what the predecessor could not report. Blocks.
    pub fn counts(mut self) -> io::Result<Counts> {
        self.stream.set_read_timeout(None)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let frame = read_frame(&mut self.stream, length)?;
        Ok(serde_json::from_slice(&frame)?)
    }
}

fn read_frame(stream: &mut UnixStream, length: [u8; 4]) -> io::Result<Vec<u8>> {
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_health_and_counts_go_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("handover");
        assert!(
            take(&path).expect("no trouble").is_none(),
            "nobody is there"
        );
        let waiting = UnixListener::bind(&path).expect("bound");
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("bound");
        let counts = Counts::default();
        let giver = std::thread::spawn(move || {
            let (mut stream, _) = waiting.accept().expect("a successor");
            let listeners = [(80, OwnedFd::from(socket))];
            give(&mut stream, &listeners, Vec::new()).expect("given");
            drop(listeners);
            give_counts(&mut stream, &Counts::default()).expect("told");
        });
        let mut inherited = take(&path).expect("no trouble").expect("a predecessor");
        let client = std::net::TcpStream::connect(address).expect("it is listened to");
        inherited.accepted().expect("said");
        let [(80, listener)] = &inherited.listeners[..] else {
            panic!("{inherited:?}");
        };
        listener.accept().expect("the client waits here");
        drop(client);
        assert_eq!(inherited.counts().expect("told"), counts);
        giver.join().expect("no panic");
    }

    #[test]
    fn a_successor_that_dies_takes_nothing() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        drop(theirs);
        assert!(give(&mut ours, &[], Vec::new()).is_err());
    }
}
