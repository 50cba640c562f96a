//! A container's terminal (`pseudoTerminal`): made by its first process in the container's own devpts, so that its name leads
//! to it there; the shim gets the other end over a socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::pty::OpenptFlags;

use super::Streams;

/// Makes the terminal, sends its master away and becomes its session's leader. The root is the container's already.
pub fn make(socket: &OwnedFd) -> Result<Streams, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    rustix::process::ioctl_tiocsctty(&terminal)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let sent = [master.as_fd()];
    message.push(SendAncillaryMessage::ScmRights(&sent));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(b"t")],
        &mut message,
        SendFlags::NOSIGNAL,
    )?;
    Ok(Streams {
        stdin: rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?,
        stdout: rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?,
        stderr: terminal,
        terminal: None,
    })
}

/// The master of a container that was started with a terminal.
pub fn received(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut message,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for received in message.drain() {
        if let RecvAncillaryMessage::ScmRights(mut files) = received
            && let Some(master) = files.next()
        {
            return Ok(master);
        }
    }
    Err(io::Error::other("the container sent no terminal"))
}
