//! A TLS connection over a socket: rustls's state machine with reads and writes as this proxy wants them.
//! Used by `stream`, `tls::listener` and `tls::target`.
//!
//! A read takes as much from the kernel as the caller has room for, a write makes one call for all its records.
//! What is left over (session tickets, a client's Finished) goes with the next write. The end of the stream
//! without close_notify is an error, so that a cut body is never taken for a whole one.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::{ConnectionCommon, ProtocolVersion, SideData};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What rustls takes at a time.
const TAKEN_BYTES: usize = 4096;
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where encrypted bytes lie between the kernel and the session; never longer than one call.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub struct Session<C> {
    tcp: TcpStream,
    tls: C,
    /// The kernel took less than there was: the rest goes before anything new.
    blocked: bool,
    /// What waits to be sent is not waited for by the other side.
    lazy: bool,
    closing: bool,
    /// Encrypted bytes that came when there was no room for more plain ones: rustls keeps 16 KiB of these and refuses
    /// more. Mostly empty.
    held: Vec<u8>,
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl<C> Session<C> {
    pub fn new(tcp: TcpStream, tls: C) -> Self {
        Self {
            tcp,
            tls,
            blocked: false,
            lazy: false,
            closing: false,
            held: Vec::new(),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn tls(&self) -> &C {
        &self.tls
    }
}

impl<C, S> Session<C>
where
    C: DerefMut<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// Until both sides may send data.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            ready!(self.poll_drain(cx))?;
            let mut socket = Socket::new(&mut self.tcp, cx);
            let read = self.tls.read_tls(&mut socket);
            if ready!(pending(read))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.process(cx)?;
        }
        // In TLS 1.3 whoever ends the handshake may go on at once; in TLS 1.2 the other side waits for the last
        // message.
        self.lazy = self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if !self.lazy {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn process(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Err(error) = self.tls.process_new_packets() {
            // An alert says why; nobody waits for it.
            let _ = self.poll_drain(cx);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut socket = Socket::new(&mut self.tcp, cx);
            let written = self.tls.write_tls(&mut socket);
            if ready!(pending(written))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        self.blocked = false;
        Poll::Ready(Ok(()))
    }

    /// Plain bytes that are there already; 0 when there are none, an error at the end of the stream.
    fn take(&mut self, room: &mut ReadBuf<'_>) -> io::Result<Option<usize>> {
        // Not by `read`: that needs all of the room filled with zeroes, and most often there is nothing yet.
        let mut reader = self.tls.reader();
        match reader.fill_buf() {
            Ok(chunk) => {
                let count = chunk.len().min(room.remaining());
                room.put_slice(&chunk[..count]);
                reader.consume(count);
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.feed(cx, &held, room)?;
        } else {
            if scratch.is_empty() {
                scratch.resize(SCRATCH_BYTES, 0);
            }
            let wanted = room.remaining().clamp(TAKEN_BYTES, scratch.len());
            let mut came = ReadBuf::new(&mut scratch[..wanted]);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut came))?;
            if came.filled().is_empty() {
                // The session notes the end.
                self.tls.read_tls(&mut io::empty())?;
            }
            self.feed(cx, came.filled(), room)?;
        }
        if self.tls.wants_write() && !self.lazy && !self.blocked {
            self.send(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts into the room; what comes when it is full waits for the next read.
    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        mut encrypted: &[u8],
        room: &mut ReadBuf<'_>,
    ) -> io::Result<()> {
        while !encrypted.is_empty() {
            if room.remaining() == 0 {
                self.held = encrypted.to_vec();
                break;
            }
            if self.tls.read_tls(&mut encrypted)? == 0 {
                // Nothing counts after close_notify.
                break;
            }
            self.process(cx)?;
            while room.remaining() > 0 && self.take(room)?.is_some_and(|count| count > 0) {}
        }
        Ok(())
    }

    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_drain(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => {
                self.blocked = true;
                Ok(())
            }
        }
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.blocked {
            ready!(self.poll_drain(cx))?;
        }
        let count = write(&mut self.tls.writer())?;
        self.lazy = false;
        self.send(cx)?;
        Poll::Ready(Ok(count))
    }
}

impl<C, S> AsyncRead for Session<C>
where
    C: DerefMut<Target = ConnectionCommon<S>> + Unpin,
    S: SideData,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = room.filled().len();
        while room.remaining() > 0 {
            if this.take(room)?.is_some() {
                break;
            }
            let filled = SCRATCH.with_borrow_mut(|scratch| this.poll_fill(cx, room, scratch));
            ready!(filled)?;
            if room.filled().len() > before {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<C, S> AsyncWrite for Session<C>
where
    C: DerefMut<Target = ConnectionCommon<S>> + Unpin,
    S: SideData,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |writer| writer.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |writer| writer.write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.tls.send_close_notify();
            this.closing = true;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

fn pending(done: io::Result<usize>) -> Poll<io::Result<usize>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

/// The socket as rustls wants it; a wait is `WouldBlock`.
pub struct Socket<'s, 'c, 'w> {
    tcp: &'s mut TcpStream,
    cx: &'c mut Context<'w>,
    /// Of what was read last.
    pub first_byte: Option<u8>,
}

impl<'s, 'c, 'w> Socket<'s, 'c, 'w> {
    pub fn new(tcp: &'s mut TcpStream, cx: &'c mut Context<'w>) -> Self {
        Self {
            tcp,
            cx,
            first_byte: None,
        }
    }
}

fn blocking<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Socket<'_, '_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        blocking(Pin::new(&mut *self.tcp).poll_read(self.cx, &mut room))?;
        self.first_byte = room.filled().first().copied();
        Ok(room.filled().len())
    }
}

impl Write for Socket<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use std::sync::{Arc, OnceLock};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Configurations of two sides that know each other.
    fn sides() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
        static SIDES: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
        SIDES.get_or_init(|| {
            let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
            let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes());
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let server = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key.unwrap())
                .unwrap();
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            (Arc::new(server), Arc::new(client))
        })
    }

    /// Writes of these lengths, read with rooms of those lengths in turn.
    async fn pass(writes: Vec<usize>, rooms: Vec<usize>) {
        let (server, client) = sides();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let sent: Vec<u8> = (0..writes.iter().sum::<usize>())
            .map(|at| at as u8)
            .collect();
        let expected = sent.clone();
        let writer = async move {
            let name = "a.test".try_into().unwrap();
            let tls = ClientConnection::new(client.clone(), name).unwrap();
            let mut session = Session::new(tcp, tls);
            std::future::poll_fn(|cx| session.poll_handshake(cx))
                .await
                .unwrap();
            let mut rest = &sent[..];
            for length in writes {
                // A record each, but for those that are longer than one may be.
                session.write_all(&rest[..length]).await.unwrap();
                rest = &rest[length..];
            }
            session.shutdown().await.unwrap();
        };
        let reader = async move {
            let tls = ServerConnection::new(server.clone()).unwrap();
            let mut session = Session::new(accepted, tls);
            std::future::poll_fn(|cx| session.poll_handshake(cx))
                .await
                .unwrap();
            let mut came = Vec::new();
            for length in rooms.into_iter().cycle() {
                let mut room = vec![0; length];
                let count = session.read(&mut room).await.unwrap();
                if count == 0 {
                    break;
                }
                came.extend_from_slice(&room[..count]);
            }
            came
        };
        let ((), came) = tokio::join!(writer, reader);
        assert!(
            came == expected,
            "{} of {} bytes",
            came.len(),
            expected.len()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

        /// Small rooms before large records and small ones: rustls takes no more than 16 KiB of plain bytes in advance.
        #[test]
        fn whatever_the_records_and_rooms_the_bytes_come(
            writes in prop::collection::vec(prop_oneof![1usize..300, 15_000usize..17_000, 1usize..40_000], 1..30),
            rooms in prop::collection::vec(prop_oneof![1usize..40, 3_000usize..9_000], 1..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(pass(writes, rooms));
        }
    }
}
