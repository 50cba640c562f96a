//! A client's or a target's connection, plain or TLS. Used by `connection`, `exchange`, `target`, `health`.
//!
//! The plain side is the socket itself: a match, and nothing else. What is written to the TLS side may wait in
//! the session until it is flushed, so whoever writes flushes before waiting for the other side.
//! Both directions are polled by one task: a stream is never split.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::socket::Socket;
use super::tls::Session;
use rustls::{ClientConnection, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// From a client to the node.
#[derive(Debug)]
pub enum ClientStream {
    Plain(Socket),
    Tls(Box<Session<ServerConnection>>),
}

/// From the node to a target.
#[derive(Debug)]
pub enum TargetStream {
    Plain(TcpStream),
    Tls(Box<Session<ClientConnection>>),
}

macro_rules! stream {
    ($name:ident) => {
        impl $name {
            /// Nothing that is read or written has to be seen.
            pub fn is_plain(&self) -> bool {
                matches!(self, Self::Plain(_))
            }
        }

        impl AsyncRead for $name {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                room: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(stream) => Pin::new(stream).poll_read(cx, room),
                    Self::Tls(stream) => Pin::new(stream).poll_read(cx, room),
                }
            }
        }

        impl AsyncWrite for $name {
            #[inline]
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
                    Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
                }
            }

            #[inline]
            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
                    Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
                }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            #[inline]
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(_) => Poll::Ready(Ok(())),
                    Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

stream!(ClientStream);
stream!(TargetStream);

impl ClientStream {
    /// Closing resets the connection: what came is known to be torn.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.set_zero_linger(),
            Self::Tls(stream) => stream.tcp().set_zero_linger(),
        }
    }
}

impl TargetStream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.tcp(),
        }
    }

    /// Nothing to read and not closed, as far as is known without asking the kernel. Session tickets that came
    /// after the last answer are taken up.
    pub fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(stream) => {
                let mut byte = [0];
                let mut room = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut room).is_pending()
            }
        }
    }

    /// The same by the kernel's word of this moment.
    pub fn is_open(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let looked = recv(
            self.tcp(),
            &mut [0; 1],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        matches!(looked, Err(rustix::io::Errno::AGAIN))
    }
}
