//! A client's plain socket. The runtime learns of it only when something has to be waited for: a client whose request
//! is there when it is accepted, and that is sent away after the answer, costs no `epoll_ctl`. Used by `stream`.
//!
//! What must stay true: only the first read goes past the runtime, so that its turns stay fair, and what came before
//! the runtime knew of the socket is told to it by the kernel when it does.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Parts of a message that are together no longer than this are copied to one place: `send` costs less than `writev`.
const JOINED_BYTES: usize = 2048;

#[derive(Debug)]
pub struct Socket(State);

#[derive(Debug)]
enum State {
    Fresh {
        tcp: StdTcpStream,
        was_read: bool,
    },
    Known(TcpStream),
    /// The runtime took it not.
    Lost,
}

impl Socket {
    /// It must not block.
    pub fn new(tcp: StdTcpStream) -> Self {
        Self(State::Fresh {
            tcp,
            was_read: false,
        })
    }

    /// As the runtime knows it.
    pub fn known(&mut self) -> io::Result<&mut TcpStream> {
        if let State::Fresh { .. } = self.0
            && let State::Fresh { tcp, .. } = std::mem::replace(&mut self.0, State::Lost)
        {
            self.0 = State::Known(TcpStream::from_std(tcp)?);
        }
        match &mut self.0 {
            State::Known(tcp) => Ok(tcp),
            State::Fresh { .. } | State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Closing resets the connection: what came is known to be torn.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        use rustix::net::sockopt::set_socket_linger;
        match &self.0 {
            State::Fresh { tcp, .. } => set_socket_linger(tcp, Some(Duration::ZERO))?,
            State::Known(tcp) => set_socket_linger(tcp, Some(Duration::ZERO))?,
            State::Lost => {}
        }
        Ok(())
    }
}

/// None: it has to be waited for.
fn at_once<T>(mut call: impl FnMut() -> io::Result<T>) -> Option<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            done => return Some(done),
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let State::Fresh { tcp, was_read } = &mut self.0
            && !std::mem::replace(was_read, true)
            && let Some(read) = at_once(|| tcp.read(room.initialize_unfilled()))
        {
            room.advance(read?);
            return Poll::Ready(Ok(()));
        }
        Pin::new(self.known()?).poll_read(cx, room)
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let State::Fresh { tcp, .. } = &mut self.0
            && let Some(written) = at_once(|| tcp.write(bytes))
        {
            return Poll::Ready(written);
        }
        Pin::new(self.known()?).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        if length <= JOINED_BYTES {
            let mut joined = [0; JOINED_BYTES];
            let mut end = 0;
            for part in parts {
                joined[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            return self.poll_write(cx, &joined[..length]);
        }
        if let State::Fresh { tcp, .. } = &mut self.0
            && let Some(written) = at_once(|| tcp.write_vectored(parts))
        {
            return Poll::Ready(written);
        }
        Pin::new(self.known()?).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Fresh { tcp, .. } => Poll::Ready(tcp.shutdown(Shutdown::Write)),
            _ => Pin::new(self.known()?).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pair() -> (StdTcpStream, Socket) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = StdTcpStream::connect(address).expect("a connection");
        let (tcp, _) = listener.accept().expect("a connection");
        tcp.set_nonblocking(true).expect("set");
        client.set_nodelay(true).expect("set");
        (client, Socket::new(tcp))
    }

    /// The kernel has it when the peer's acknowledgement is there, which on loopback is at once.
    #[tokio::test]
    async fn who_has_sent_already_is_read_and_answered_without_the_runtime() {
        let (mut client, mut socket) = pair();
        client.write_all(b"asked").expect("sent");
        let mut bytes = [0; 16];
        assert_eq!(socket.read(&mut bytes).await.expect("read"), 5);
        let parts = [IoSlice::new(b"ans"), IoSlice::new(b"wer")];
        assert_eq!(socket.write_vectored(&parts).await.expect("written"), 6);
        assert!(matches!(socket.0, State::Fresh { .. }));
        socket.shutdown().await.expect("shut");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn who_sends_later_is_waited_for() {
        let (mut client, mut socket) = pair();
        let sending = std::thread::spawn(move || {
            client.write_all(b"late").expect("sent");
            client
        });
        let mut bytes = [0; 16];
        assert_eq!(socket.read(&mut bytes).await.expect("read"), 4);
        let mut client = sending.join().expect("no panic");
        client.write_all(b"later").expect("sent");
        assert_eq!(socket.read(&mut bytes).await.expect("read"), 5);
        assert!(matches!(socket.0, State::Known(_)));
        drop(client);
        assert_eq!(socket.read(&mut bytes).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn what_the_peer_has_no_room_for_is_waited_for() {
        let (mut client, mut socket) = pair();
        let body = vec![7; 20_000_000];
        let reading = std::thread::spawn(move || {
            let mut read = Vec::new();
            client.read_to_end(&mut read).expect("read");
            read
        });
        socket.write_all(&body).await.expect("written");
        socket.shutdown().await.expect("shut");
        assert_eq!(reading.join().expect("no panic").len(), body.len());
    }
}
