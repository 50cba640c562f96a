//! One client's connection: each request's head is read and admitted, everything else is passed on as it came, both
//! ways, a buffer at a time.
//!
//! Called by `listeners`. What must stay true: a request that is not admitted never reaches the API, not even in
//! part; no client makes us hold more than a head and a buffer, or wait without an end; the API hears of a client
//! only when a whole head was admitted.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fogbank_types::Arrival;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::admission;
use super::doors::Door;
use super::refusal::Refusal;
use super::responses::Responses;
use crate::http::body::Body;
use crate::http::desync::may_pass_unchanged;
use crate::http::request::{HEAD_MAX_BYTES, read_request};

const READ_BYTES: usize = 16 * 1024;

/// How long things may take.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// A request's head, from the first wait for it on a new connection, from its first byte on an old one.
    pub head: Duration,
    /// Between bytes, in either direction.
    pub idle: Duration,
    /// Control may be starting again.
    pub connect: Duration,
    /// Reading on after a refusal, so that the client gets to see it.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            linger: Duration::from_secs(1),
        }
    }
}

/// Where a door leads, and how patient it is.
#[derive(Clone, Debug)]
pub struct Way {
    pub door: Door,
    /// The socket where control serves the API to doors.
    pub api: PathBuf,
    pub limits: Limits,
}

/// Serves one connection to its end. The API is told how it came before anything of it.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    arrival: &Arrival,
    way: &Way,
) -> io::Result<()> {
    let mut inbound = Inbound::default();
    let mut fresh = [0; 4096];
    let deadline = Instant::now() + way.limits.head;
    while !inbound.is_decided() {
        match timeout_at(deadline, client.read(&mut fresh)).await {
            Err(_) if inbound.is_empty() => return Ok(()),
            Err(_) => return refuse(client, Refusal::Malformed(408), way).await,
            Ok(read) => match read? {
                0 => return Ok(()),
                count => inbound.take(&fresh[..count], &way.door),
            },
        }
    }
    if inbound.cleared > 0 {
        match connect(arrival, way).await {
            Some(upstream) => return pass(client, upstream, inbound, way).await,
            None => inbound.refusal = Some(Refusal::Unavailable),
        }
    }
    match inbound.refusal {
        Some(refusal) => refuse(client, refusal, way).await,
        None => Ok(()),
    }
}

/// Tries again while nobody listens: that is how a restart of control looks.
async fn connect(arrival: &Arrival, way: &Way) -> Option<UnixStream> {
    let header = arrival.header();
    let announced = async || {
        let mut stream = UnixStream::connect(&way.api).await?;
        stream.write_all(&header).await?;
        io::Result::Ok(stream)
    };
    let attempts = async {
        loop {
            match announced().await {
                Ok(stream) => return stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(way.limits.connect, attempts).await.ok()
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    refusal: Refusal,
    way: &Way,
) -> io::Result<()> {
    tracing::debug!(?refusal, door = ?way.door, "a request is refused");
    let response = refusal.response(&way.door);
    let answer = async {
        client.write_all(&response).await?;
        client.flush().await?;
        client.shutdown().await
    };
    timeout(way.limits.idle, answer).await??;
    // Closing while bytes are unread would take the answer back (a reset).
    let mut rest = [0; 4096];
    let drain = async { while client.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(way.limits.linger, drain).await;
    Ok(())
}

/// What came from the client and is not passed on yet.
#[derive(Default)]
struct Inbound {
    buffer: Vec<u8>,
    /// So many bytes of the buffer may go to the API.
    cleared: usize,
    /// What is still to come of the last admitted request.
    body: Option<Body>,
    /// Heads admitted and not yet told: whether each was of a HEAD.
    admitted: Vec<bool>,
    /// The last admitted request ends the connection.
    last: bool,
    /// Nothing more is read: the client closed, said that it would, or is refused.
    ended: bool,
    refusal: Option<Refusal>,
}

impl Inbound {
    fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The first head is known to be good or bad.
    fn is_decided(&self) -> bool {
        self.cleared > 0 || self.refusal.is_some()
    }

    /// Part of a head is there.
    fn is_in_head(&self) -> bool {
        !self.ended && self.body.is_none() && self.buffer.len() > self.cleared
    }

    fn has_room(&self) -> bool {
        self.buffer.len() < HEAD_MAX_BYTES + READ_BYTES
    }

    /// Bytes that came, and what they mean at that door.
    fn take(&mut self, fresh: &[u8], door: &Door) {
        self.buffer.extend_from_slice(fresh);
        self.admit(door);
    }

    /// The API hung up; what it said before is still to be read.
    fn give_up(&mut self) {
        self.buffer.clear();
        self.cleared = 0;
        self.ended = true;
    }

    /// The first `count` bytes are with the API.
    fn passed(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.cleared -= count;
    }

    /// Looks at what came, as far as it goes.
    fn admit(&mut self, door: &Door) {
        loop {
            if self.last && self.body.is_none() {
                self.ended = true;
            }
            if self.ended || self.cleared == self.buffer.len() {
                return;
            }
            let fresh = &self.buffer[self.cleared..];
            if let Some(body) = &mut self.body {
                let decoded = match body {
                    // Counting alone leaves the bytes as they are.
                    Body::Length(_) => body.decode(&mut [], 0..fresh.len()),
                    _ => body.decode(&mut fresh.to_vec(), 0..fresh.len()),
                };
                match decoded {
                    Ok(decoded) => self.cleared += decoded.rest,
                    Err(_) => return self.refuse(Refusal::Malformed(400)),
                }
                if body.is_done() {
                    self.body = None;
                }
                continue;
            }
            let read = read_request(fresh, |request| {
                admission::admit(door, request).map(|()| request.facts.clone())
            });
            match read {
                Ok(None) => return,
                Err(refusal) => return self.refuse(Refusal::Malformed(refusal.status)),
                Ok(Some((_, Err(refusal)))) => return self.refuse(refusal),
                Ok(Some((_, Ok(facts)))) if !may_pass_unchanged(facts.noncompliance) => {
                    return self.refuse(Refusal::Malformed(400));
                }
                Ok(Some((length, Ok(facts)))) => {
                    self.cleared += length;
                    self.admitted.push(facts.is_head);
                    self.body = Some(facts.body).filter(|body| !body.is_done());
                    self.last = !facts.keep_alive;
                }
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
        self.ended = true;
    }
}

/// What came from the API and is not with the client yet.
struct Outbound {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    unflushed: bool,
}

enum Moved {
    /// From the API, to the start of the buffer; 0 is the end.
    Read(usize),
    Written,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            unflushed: false,
        }
    }
}

impl Outbound {
    fn is_empty(&self) -> bool {
        self.start == self.end && !self.unflushed
    }

    /// One read or one write; nothing is lost if it is given up before its end.
    async fn step<R, W>(&mut self, api: &mut R, client: &mut W) -> io::Result<Moved>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.start < self.end {
            self.start += client.write(&self.buffer[self.start..self.end]).await?;
            self.unflushed = true;
            return Ok(Moved::Written);
        }
        if self.unflushed {
            client.flush().await?;
            self.unflushed = false;
            return Ok(Moved::Written);
        }
        let count = api.read(&mut self.buffer).await?;
        (self.start, self.end) = (0, count);
        Ok(Moved::Read(count))
    }
}

async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    upstream: UnixStream,
    mut inbound: Inbound,
    way: &Way,
) -> io::Result<()> {
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut upstream_read, mut upstream_write) = upstream.into_split();
    let mut responses = Responses::default();
    let mut fresh = vec![0; READ_BYTES];
    let mut outbound = Outbound::default();
    let mut progress = Instant::now();
    let mut head_since = None;
    loop {
        for is_head in inbound.admitted.drain(..) {
            responses.expect(is_head);
        }
        let resting = outbound.is_empty() && inbound.cleared == 0;
        if resting && inbound.ended && responses.are_complete() {
            break;
        }
        head_since = inbound.is_in_head().then(|| head_since.unwrap_or(progress));
        let idle = progress + way.limits.idle;
        let deadline = head_since.map_or(idle, |since| idle.min(since + way.limits.head));
        tokio::select! {
            read = client_read.read(&mut fresh), if !inbound.ended && inbound.has_room() => {
                let count = read?;
                inbound.ended |= count == 0;
                inbound.take(&fresh[..count], &way.door);
            }
            written = upstream_write.write(&inbound.buffer[..inbound.cleared]), if inbound.cleared > 0 => {
                match written {
                    Ok(count) => inbound.passed(count),
                    Err(_) => inbound.give_up(),
                }
            }
            moved = outbound.step(&mut upstream_read, &mut client_write) => match moved? {
                Moved::Read(0) => {
                    inbound.refusal = None;
                    break;
                }
                Moved::Read(count) => responses.pass(&outbound.buffer[..count]),
                Moved::Written => {}
            },
            () = sleep_until(deadline) => return Ok(()),
        }
        progress = Instant::now();
    }
    let mut client = client_read.unsplit(client_write);
    match inbound.refusal {
        Some(refusal) => refuse(client, refusal, way).await,
        None => timeout(way.limits.idle, client.shutdown()).await?,
    }
}
