//! The I/O of a channel: WebSocket on one side, the session's socket on the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fogbank_types::Timestamp;
use fogbank_types::exec_frame::{self, Kind};
use fogbank_wire::agent_message::OpenDataChannel;
use fogbank_wire::websocket::{self, Decoder, Message, Side};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::channel::{Action, Channel};
use super::{Channels, PATH, Ticket};

/// For the token, and for each write to a client.
const PATIENCE: Duration = Duration::from_secs(30);
/// "Timed out due to inactivity": Session Manager's default of twenty minutes.
const IDLE_MS: u64 = 20 * 60_000;
const TICK: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 32 << 10;
/// The socket of `node::exec`.
const AGENT_SOCKET: &str = "exec.sock";

fn refusal(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

impl Channels {
    /// Answers a request for a channel; the channel itself goes on in a task of its own.
    pub fn open(self: &Arc<Self>, request: Request<Incoming>) -> Response<Bytes> {
        let headers = request.headers();
        let has = |name: header::HeaderName, wanted: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| {
                let mut words = value.split(',').map(str::trim);
                words.any(|word| word.eq_ignore_ascii_case(wanted))
            })
        };
        let is_websocket = has(header::UPGRADE, "websocket")
            && has(header::CONNECTION, "upgrade")
            && has(header::SEC_WEBSOCKET_VERSION, "13");
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .and_then(|key| key.to_str().ok());
        let (true, Some(key)) = (is_websocket, key) else {
            return refusal(StatusCode::BAD_REQUEST, "a WebSocket is asked for here\n");
        };
        let Ok(accept) = http::HeaderValue::from_str(&websocket::accept_key(key)) else {
            return refusal(StatusCode::BAD_REQUEST, "the key is malformed\n");
        };
        let session = request.uri().path().trim_start_matches(PATH).to_owned();
        let channels = Arc::clone(self);
        tokio::spawn(async move {
            let upgraded = match hyper::upgrade::on(request).await {
                Ok(upgraded) => upgraded,
                Err(error) => return tracing::debug!(%error, "no channel"),
            };
            if let Err(error) = channels.serve(&session, upgraded).await {
                tracing::debug!(%error, session, "a channel ended");
            }
        });
        let mut response = refusal(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
        headers.insert(
            header::CONNECTION,
            http::HeaderValue::from_static("Upgrade"),
        );
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    async fn serve(&self, session: &str, upgraded: Upgraded) -> io::Result<()> {
        let mut client = Client {
            stream: TokioIo::new(upgraded),
            decoder: Decoder::new(Side::Server),
            buffer: vec![0; READ_BYTES],
        };
        let first = timeout(PATIENCE, client.next()).await??;
        let opened = match first {
            Some(Message::Text(text)) => serde_json::from_slice::<OpenDataChannel>(&text).ok(),
            _ => None,
        };
        let ticket = opened
            .as_ref()
            .and_then(|opened| self.admit(session, &opened.token_value, now()));
        let Some(ticket) = ticket else {
            tracing::warn!(session, "a channel without a valid token is refused");
            return client.send(&Message::Close).await;
        };
        let version = opened.and_then(|opened| opened.client_version);
        let pump = Pump {
            channel: Channel::new(session, u128::from_be_bytes(random())),
            wants_exit_code: version.is_some_and(|version| version.starts_with("fogbank")),
            idle: Duration::from_millis(self.config.scaled_ms(IDLE_MS)),
            ticket,
        };
        let socket = self.config.run_dir.join(AGENT_SOCKET);
        pump.run(&mut client, &socket).await
    }
}

/// Ids of messages need to differ, not to be secret.
fn random() -> [u8; 16] {
    let hasher = || {
        let state = std::collections::hash_map::RandomState::new();
        std::hash::BuildHasher::hash_one(&state, now().0)
    };
    let number = u128::from(hasher()) << 64 | u128::from(hasher());
    number.to_be_bytes()
}

struct Client {
    stream: TokioIo<Upgraded>,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Client {
    /// The next message; `None` at the end. Nothing is lost if it is given up before its end.
    async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.decoder.take() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            match self.stream.read(&mut self.buffer).await? {
                0 => return Ok(None),
                count => self.decoder.feed(&self.buffer[..count]),
            }
        }
    }

    async fn send(&mut self, message: &Message) -> io::Result<()> {
        let write = async {
            self.stream
                .write_all(&websocket::encode(message, None))
                .await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, write).await?
    }
}

struct Agent {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Agent {
    async fn begin(ticket: &Ticket, socket: &std::path::Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        let request = serde_json::json!({
            "task": ticket.task, "container": ticket.container, "command": ticket.command,
        });
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The next frame; `None` at the end. Nothing is lost if it is given up before its end.
    async fn next(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        loop {
            let frame = exec_frame::take(&mut self.buffer);
            if let Some(frame) = frame.map_err(|_| io::ErrorKind::InvalidData)? {
                return Ok(Some(frame));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn send(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(exec_frame::BYTES_MAX) {
            let frame = exec_frame::encode(kind, chunk);
            timeout(PATIENCE, self.stream.write_all(&frame)).await??;
        }
        Ok(())
    }
}

struct Pump {
    channel: Channel,
    ticket: Ticket,
    wants_exit_code: bool,
    idle: Duration,
}

/// What came.
enum Event {
    Client(Option<Message>),
    Agent(Option<(Kind, Vec<u8>)>),
    Tick,
}

impl Pump {
    async fn run(mut self, client: &mut Client, socket: &std::path::Path) -> io::Result<()> {
        let begun = Instant::now();
        let now_ms = || u64::try_from(now().0).unwrap_or(0);
        let open = self.channel.open(now_ms());
        let mut agent: Option<Agent> = None;
        let mut size = None;
        let mut active = begun;
        let mut actions = vec![open];
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Send(bytes) => client.send(&Message::Binary(bytes)).await?,
                    Action::Begin => match Agent::begin(&self.ticket, socket).await {
                        Ok(new) => {
                            let new = agent.insert(new);
                            if let Some(size) = size {
                                new.send(Kind::Resize, &packed(size)).await?;
                            }
                        }
                        Err(error) => {
                            tracing::error!(%error, "the host's agent takes no commands");
                            return self
                                .finish(client, "The host's agent does not answer.")
                                .await;
                        }
                    },
                    Action::Input(bytes) => {
                        active = Instant::now();
                        if let Some(agent) = &mut agent {
                            agent.send(Kind::Input, &bytes).await?;
                        }
                    }
                    Action::Resize(new) => {
                        if size.replace(new) != Some(new)
                            && let Some(agent) = &mut agent
                        {
                            agent.send(Kind::Resize, &packed(new)).await?;
                        }
                    }
                    Action::End => {
                        if let Some(agent) = &mut agent {
                            let frame = exec_frame::encode(Kind::Terminate, b"");
                            let _ = agent.stream.write_all(&frame).await;
                        }
                        return self.finish(client, "").await;
                    }
                }
            }
            let room = self.channel.has_room();
            let event = tokio::select! {
                message = client.next() => Event::Client(message?),
                frame = next(&mut agent), if agent.is_some() && room => Event::Agent(frame?),
                () = tokio::time::sleep(TICK) => Event::Tick,
            };
            match event {
                Event::Client(None | Some(Message::Close)) => return Ok(()),
                Event::Client(Some(Message::Binary(bytes))) => {
                    actions = self.channel.heard(&bytes, now_ms());
                }
                Event::Client(Some(Message::Ping(bytes))) => {
                    client.send(&Message::Pong(bytes)).await?;
                }
                Event::Client(Some(Message::Pong(_) | Message::Text(_))) => {}
                Event::Agent(Some((Kind::Output, bytes))) => {
                    active = Instant::now();
                    actions = self.channel.output(&bytes, now_ms());
                }
                Event::Agent(Some((Kind::Exit, code))) => {
                    let code = <[u8; 4]>::try_from(code).map_or(255, i32::from_be_bytes);
                    if self.wants_exit_code
                        && let Action::Send(bytes) = self.channel.exit_code(code, now_ms())
                    {
                        client.send(&Message::Binary(bytes)).await?;
                    }
                    return self.finish(client, "").await;
                }
                Event::Agent(Some((Kind::Error, text))) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    return self.finish(client, &text).await;
                }
                // The container has ended, and its command with it, before it could say so.
                Event::Agent(None) => return self.finish(client, "").await,
                Event::Agent(Some(_)) => {}
                Event::Tick => actions = self.channel.due(now_ms()),
            }
            if active.elapsed() > self.idle {
                let text = "Session timed out: it was idle for 20 minutes.";
                return self.finish(client, text).await;
            }
        }
    }

    /// Tells the client that it is over and why, and gives it a moment to go by itself.
    async fn finish(&mut self, client: &mut Client, why: &str) -> io::Result<()> {
        let now_ms = u64::try_from(now().0).unwrap_or(0);
        if let Action::Send(bytes) = self.channel.close(why, now_ms) {
            client.send(&Message::Binary(bytes)).await?;
        }
        client.send(&Message::Close).await?;
        let rest = async { while let Ok(Some(_)) = client.next().await {} };
        let _ = timeout(PATIENCE, rest).await;
        client.stream.shutdown().await
    }
}

/// Of the agent, once there is one.
async fn next(agent: &mut Option<Agent>) -> io::Result<Option<(Kind, Vec<u8>)>> {
    match agent {
        Some(agent) => agent.next().await,
        None => std::future::pending().await,
    }
}

fn packed(size: fogbank_wire::agent_message::TerminalSize) -> [u8; 4] {
    let part = |number: u32| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    let ([a, b], [c, d]) = (part(size.cols), part(size.rows));
    [a, b, c, d]
}
