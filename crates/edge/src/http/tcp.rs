//! A connection that is bytes: a proxy of Service Connect for a port without an `appProtocol`. Used by `entrance`.
//!
//! A target that takes no connection is left for another one; once one has it, it stays there.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::body::Body;
use super::buffer::Buffer;
use super::exchange::open;
use super::pump::Pump;
use super::route::Action;
use super::stream::{ClientStream, TargetStream};
use super::target::{Chosen, Group};
use super::timer::Timer;
use super::tls::Alpn;
use super::worker::{Entered, Routes};

/// Serves a client to its end.
pub async fn relay(
    entered: Entered,
    mut client: ClientStream,
    peer: SocketAddr,
    port: u16,
    retries: usize,
) {
    let routes = entered.worker.routes();
    let tether = entered.tether.clone();
    poll_fn(|cx| {
        tether.hold(cx.waker());
        Poll::Ready(())
    })
    .await;
    let found = match group_of(&routes, port) {
        Some(group) => reach(&entered, &routes, &group, retries).await,
        None => None,
    };
    let Some((target, stream)) = found else {
        // As if the target itself had refused.
        let _ = client.set_zero_linger();
        return;
    };
    let under_way = target.begin(&entered.tether);
    let moved_bytes = copy(&entered, &mut client, stream, routes.idle_timeout()).await;
    drop(under_way);
    entered.worker.counters.moved(moved_bytes, peer);
}

fn group_of(routes: &Routes, port: u16) -> Option<Arc<Group>> {
    match routes.listener(port)?.default_action() {
        Action::Forward(forward) => routes.groups.get(forward.next()?).cloned(),
        Action::Redirect(_) | Action::FixedResponse(_) => None,
    }
}

async fn reach(
    entered: &Entered,
    routes: &Routes,
    group: &Arc<Group>,
    retries: usize,
) -> Option<(Chosen, TargetStream)> {
    let worker = &entered.worker;
    let mut failed = Vec::new();
    group.count_request();
    while failed.len() <= retries {
        let target = group.choose_other(&worker.dice, &failed)?;
        let within = routes.connect_timeout();
        if let Ok(stream) = open(worker, group, &target, within, Alpn::Http1).await {
            worker.counters.new_target_connections.add(1);
            target.answered(200);
            return Some((target, stream));
        }
        failed.push(target.address());
    }
    None
}

/// Until both sides are done, one fails, both are silent too long, or the target leaves the table. Gives how much went to
/// either side.
async fn copy(
    entered: &Entered,
    client: &mut ClientStream,
    mut target: TargetStream,
    idle_timeout: Duration,
) -> u64 {
    let buffers = &entered.worker.buffers;
    let (mut inbox, mut outbox) = (Buffer::default(), Buffer::default());
    let up = Pump::start(Vec::new(), Body::UntilClose, false, &mut inbox);
    let down = Pump::start(Vec::new(), Body::UntilClose, false, &mut outbox);
    let (Ok(mut up), Ok(mut down)) = (up, down) else {
        return 0;
    };
    let mut timer = Timer::new(idle_timeout);
    let (mut up_done, mut down_done) = (false, false);
    let is_whole = poll_fn(|cx| {
        let mut progress = false;
        if entered.tether.is_cut() {
            return Poll::Ready(false);
        }
        if !up_done {
            let sides = (&mut *client, &mut target);
            match up.poll(cx, &mut inbox, buffers, sides, &mut progress) {
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) => {
                    up_done = true;
                    // Half-closed: the other half may still have something to say.
                    let _ = Pin::new(&mut target).poll_shutdown(cx);
                }
                Poll::Pending => {}
            }
        }
        if !down_done {
            let sides = (&mut target, &mut *client);
            match down.poll(cx, &mut outbox, buffers, sides, &mut progress) {
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) => {
                    down_done = true;
                    let _ = Pin::new(&mut *client).poll_shutdown(cx);
                }
                Poll::Pending => {}
            }
        }
        if up_done && down_done {
            return Poll::Ready(true);
        }
        if progress {
            timer.set(idle_timeout);
        }
        timer.poll_expired(cx).map(|()| true)
    })
    .await;
    if !is_whole {
        // The client must not take a torn stream for a whole one.
        let _ = client.set_zero_linger();
    }
    for mut buffer in [inbox, outbox] {
        buffer.consume(buffer.filled().len());
        buffer.release(buffers);
    }
    up.moved_bytes + down.moved_bytes
}
