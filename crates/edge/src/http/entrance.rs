//! From an accepted socket to a connection that speaks HTTP: the TLS handshake, if the listener asks for one, and
//! who serves what was agreed on. Used by `worker`.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::answer::{self, Manner};
use super::clock::unix_time_s;
use super::connection;
use super::h2;
use super::log::{ConnectionRecord, Place};
use super::socket::Socket;
use super::stream::ClientStream;
use super::table::Mesh;
use super::tcp;
use super::tether::Tether;
use super::tls::{Door, Failure};
use super::worker::Entered;

/// How long a client is listened to after it was told that it speaks the wrong protocol.
const LINGER: Duration = Duration::from_secs(1);
/// How often is looked for the rest of a preface that came in part.
const PREFACE_LOOK: Duration = Duration::from_millis(2);

/// The socket must not block.
pub async fn enter(entered: Entered, tcp: StdTcpStream, peer: SocketAddr, port: u16) {
    let routes = entered.worker.routes();
    if let Some(mesh) = routes.attributes.mesh {
        drop(routes);
        return Box::pin(enter_mesh(entered, tcp, (peer, port), mesh)).await;
    }
    let door = routes.door(port);
    let terminator = match door {
        Door::Plain => {
            let stream = ClientStream::Plain(Socket::new(tcp));
            return connection::serve(entered, stream, None, peer, port).await;
        }
        Door::Tls(terminator) => terminator,
        Door::Shut => return,
    };
    let Ok(tcp) = TcpStream::from_std(tcp) else {
        return;
    };
    // For the whole of it, however its bytes trickle.
    let within = Duration::from_millis(routes.attributes.connect_timeout_ms.max(1));
    drop(routes);
    // In a box, so that plain connections need no room for it.
    let handshake = Box::pin(async {
        let accepted = async {
            // Who says nothing takes nobody's place.
            let _ = tcp.readable().await;
            let _permit = entered.worker.handshakes.acquire().await;
            terminator.accept(tcp).await
        };
        match timeout(within, accepted).await {
            Ok(done) => done,
            Err(_) => Err(Failure::timed_out(within)),
        }
    });
    let Some(done) = unless_closing(&entered.tether, handshake).await else {
        return;
    };
    match done {
        Ok((session, facts)) if facts.is_h2 => {
            // A connection's future is large: here it is in a box of its own.
            let facts = Some(Arc::new(facts));
            Box::pin(h2::serve(entered, session, facts, peer, port)).await;
        }
        Ok((session, facts)) => {
            let stream = ClientStream::Tls(Box::new(session));
            let facts = Some(Arc::new(facts));
            connection::serve(entered, stream, facts, peer, port).await;
        }
        Err(Failure::PlainHttp(tcp)) => refuse_plain(&entered, tcp).await,
        Err(Failure::Tls {
            facts,
            reason,
            verify_status,
        }) => {
            entered.worker.counters.client_tls_errors.add(1);
            let record = ConnectionRecord {
                failure: Some(verify_status.unwrap_or("UnmappedConnectionError")),
                ..facts.record()
            };
            let routes = entered.worker.routes();
            let place = Place {
                load_balancer: &routes.load_balancer,
                node: routes.identity.address,
                peer,
                listener_port: port,
                tls: Some(&facts),
                trace: entered.worker.dice.trace(),
            };
            entered.worker.logs.connection(&place, &record);
            tracing::debug!(%peer, port, reason, verify_status, ?facts, "TLS handshake failed");
        }
    }
}

/// A client of a proxy between tasks: bytes, HTTP/1.1, or HTTP/2 without TLS, which begins with words of its own.
async fn enter_mesh(
    entered: Entered,
    tcp: StdTcpStream,
    (peer, port): (SocketAddr, u16),
    mesh: Mesh,
) {
    if mesh.tcp {
        let client = ClientStream::Plain(Socket::new(tcp));
        return tcp::relay(entered, client, peer, port, mesh.retries as usize).await;
    }
    let Ok(tcp) = TcpStream::from_std(tcp) else {
        return;
    };
    let idle_timeout = entered.worker.routes().idle_timeout();
    let preface = Box::pin(timeout(idle_timeout, speaks_http2(&tcp)));
    match unless_closing(&entered.tether, preface).await {
        Some(Ok(Ok(true))) => h2::serve(entered, tcp, None, peer, port).await,
        Some(Ok(Ok(false))) => {
            if let Ok(tcp) = tcp.into_std() {
                let stream = ClientStream::Plain(Socket::new(tcp));
                connection::serve(entered, stream, None, peer, port).await;
            }
        }
        // It says nothing, or has left.
        Some(Ok(Err(_)) | Err(_)) | None => {}
    }
}

/// Looks at the first bytes and leaves them where they are. No method of HTTP/1.1 begins so (RFC 9113, 3.4).
async fn speaks_http2(tcp: &TcpStream) -> std::io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut start = [0; PREFACE.len()];
    loop {
        let count = tcp.peek(&mut start).await?;
        let seen = &start[..count];
        if count == 0 || count == PREFACE.len() || !PREFACE.starts_with(seen) {
            return Ok(seen == PREFACE);
        }
        // Readable already: nothing tells of the rest but another look.
        sleep(PREFACE_LOOK).await;
    }
}

/// None: the node drains, and has no further use for the connection.
async fn unless_closing<T>(tether: &Tether, what: impl Future<Output = T>) -> Option<T> {
    let mut what = pin!(what);
    poll_fn(|cx| {
        tether.hold(cx.waker());
        if tether.is_closing() {
            return Poll::Ready(None);
        }
        what.as_mut().poll(cx).map(Some)
    })
    .await
}

/// "The plain HTTP request was sent to HTTPS port" (fact HTTP-5).
async fn refuse_plain(entered: &Entered, mut tcp: TcpStream) {
    let manner = Manner {
        keep_alive: false,
        is_head: false,
        unix_time_s: unix_time_s(),
    };
    let mut page = Vec::new();
    answer::write_plain_to_https(&mut page, manner);
    entered.worker.counters.requests.add(1);
    entered.worker.counters.own_answer(400);
    let told = async {
        tcp.write_all(&page).await?;
        tcp.shutdown().await?;
        let mut bytes = [0; 4096];
        while tcp.read(&mut bytes).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever comes of it, the connection ends.
    let _ = timeout(LINGER, told).await;
}
