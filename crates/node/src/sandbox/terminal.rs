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
    send_files(socket.as_fd(), b"t", &[master.as_fd()])?;
    Ok(Streams {
        stdin: rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?,
        stdout: rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?,
        stderr: terminal,
        terminal: None,
    })
}

/// Sends one message and up to two files.
pub fn send_files(
    socket: BorrowedFd<'_>,
    text: &[u8],
    files: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(files));
    let text = [IoSlice::new(text)];
    rustix::net::sendmsg(socket, &text, &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The master of a container that was started with a terminal.
pub fn received(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (_, files) = received_files(socket, &mut [0])?;
    let mut files = files.into_iter();
    files
        .next()
        .ok_or_else(|| io::Error::other("the container sent no terminal"))
}

/// One message's length and the files that came with it, two at most.
pub fn received_files(
    socket: BorrowedFd<'_>,
    text: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(text)],
        &mut message,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let files = message.drain().filter_map(|received| match received {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let files = files.flatten().collect();
    Ok((got.bytes, files))
}
