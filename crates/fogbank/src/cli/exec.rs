//! `fogbank exec`: a command in a container, by the same call and the same protocol that AWS's CLI and its session manager
//! plugin use (ECS Exec), without them.

use super::{RegionArguments, http, region};
use anyhow::{Context, Result, bail};
use clap::Args;
use fogbank_types::ecs::{DesiredStatus, Task};
use fogbank_types::{RegionConfig, Snapshot};
use fogbank_wire::agent_message::{
    AgentMessage, CHANNEL_CLOSED, INPUT, OUTPUT, PayloadType, TERMINATE, handshake_response, uuid,
};
use fogbank_wire::websocket::{self, Decoder, Message, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// How often the terminal's size is looked at.
const LOOK_MS: i64 = 250;
/// What the server knows us by: it tells us the exit code.
const VERSION: &str = concat!("fogbank-", env!("CARGO_PKG_VERSION"));

const EXAMPLES: &str = "\
The task must have been started with --enable-execute-command.

Examples:
  sudo fogbank exec my-service -- sh           in any task of the service
  sudo fogbank exec 3f0c5a9e -c web -- cat /etc/hosts
Ends with the command's exit code.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ExecArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// A task by the start of its id or its ARN, or a service by its name
    #[arg(value_name = "TASK|SERVICE")]
    task: String,
    /// Container, if the task has several
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Ends the process with the command's exit code.
pub fn run(arguments: &ExecArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let snapshot = region::snapshot(&config)?;
    let task = find(&snapshot, &arguments.task)?;
    let session = ask(&config, &task, arguments)?;
    let mut connection = Connection::open(&config, &session)?;
    let raw = Raw::enter();
    let ended = connection.carry();
    drop(raw);
    match ended? {
        End::Code(code) => std::process::exit(code),
        End::Closed(said) if said.is_empty() => bail!("the session has ended"),
        End::Closed(said) => bail!("{said}"),
    }
}

/// The newest running task that the text names.
pub fn find(snapshot: &Snapshot, text: &str) -> Result<Arc<Task>> {
    let service = format!("service:{}", text.rsplit('/').next().unwrap_or(text));
    let id = text.rsplit('/').next().unwrap_or(text);
    let is_id = id.len() >= 4 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut found: Vec<&Arc<Task>> = snapshot
        .tasks
        .all()
        .filter(|task| task.desired == DesiredStatus::Running)
        .filter(|task| task.group == service || is_id && task.id.starts_with(id))
        .collect();
    let tasks = found.iter().filter(|task| task.group != service).count();
    if tasks > 1 {
        bail!("'{text}' is the start of {tasks} tasks' ids; give more of it");
    }
    found.sort_by_key(|task| task.created_at);
    let newest = found.pop().with_context(|| {
        format!("no running task and no service with one is called '{text}'; see `fogbank status`")
    })?;
    Ok(Arc::clone(newest))
}

struct Session {
    path: String,
    token: String,
}

/// ExecuteCommand.
fn ask(config: &RegionConfig, task: &Task, arguments: &ExecArguments) -> Result<Session> {
    let words = arguments.command.iter().map(|word| quoted(word));
    let mut body = json!({
        "cluster": task.cluster,
        "task": task.arn,
        "command": words.collect::<Vec<_>>().join(" "),
        "interactive": true,
    });
    if let Some(container) = &arguments.container {
        body["container"] = container.as_str().into();
    }
    let scope = &task.scope;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/{}/ecs/aws4_request, SignedHeaders=host, Signature=none",
        scope.account, scope.region
    );
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        (
            "x-amz-target",
            "AmazonEC2ContainerServiceV20141113.ExecuteCommand",
        ),
        ("authorization", &authorization),
    ];
    let body = body.to_string();
    let answer = http::call(config, "POST", "/", &headers, body.as_bytes())?;
    let said: Value = serde_json::from_slice(&answer.body).context("the answer is not JSON")?;
    if answer.status != 200 {
        let text = said["message"].as_str().or(said["Message"].as_str());
        bail!("{}", text.unwrap_or("the region refuses the command"));
    }
    let text = |name: &str| {
        said["session"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let url = text("streamUrl");
    let path = url
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()))
        .context("the answer names no stream")?;
    Ok(Session {
        path,
        token: text("tokenValue"),
    })
}

/// A word that is taken apart to itself again.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The terminal without lines, echo and signals of its own, until this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(std::io::stdin(), now, before);
        }
    }
}

enum End {
    Code(i32),
    /// With what the region said.
    Closed(String),
}

struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    /// Next of each direction.
    input: i64,
    output: i64,
    early: BTreeMap<i64, AgentMessage>,
    /// Of ids and masks, which need to differ only.
    count: u128,
    is_ready: bool,
    code: Option<i32>,
}

impl Connection {
    fn open(config: &RegionConfig, session: &Session) -> Result<Self> {
        let mut stream = http::connect(config)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let key = "Zm9nYmFuay1leGVjLWNsaQ==";
        write!(
            stream,
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            session.path, config.endpoint
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream
                .read_exact(&mut byte)
                .context("the region closed the connection")?;
            head.push(byte[0]);
            anyhow::ensure!(head.len() < 16 << 10, "the region's answer is not HTTP");
        }
        let head = String::from_utf8_lossy(&head);
        let accepted = head.contains(&websocket::accept_key(key));
        anyhow::ensure!(
            head.starts_with("HTTP/1.1 101") && accepted,
            "the region opens no channel: {}",
            head.lines().next().unwrap_or_default()
        );
        let mut connection = Self {
            stream,
            decoder: Decoder::new(Side::Client),
            input: 0,
            output: 0,
            early: BTreeMap::new(),
            count: 0,
            is_ready: false,
            code: None,
        };
        let open = json!({
            "MessageSchemaVersion": "1.0",
            "RequestId": uuid(1),
            "TokenValue": session.token,
            "ClientId": uuid(2),
            "ClientVersion": VERSION,
        });
        connection.send(&Message::Text(open.to_string().into_bytes()))?;
        Ok(connection)
    }

    fn next_id(&mut self) -> u128 {
        self.count += 1;
        u128::from(std::process::id()) << 64 | self.count
    }

    fn send(&mut self, message: &Message) -> Result<()> {
        // Masks are against proxies that take frames for requests; there is none on loopback.
        let mask = (self.next_id() as u32).to_be_bytes();
        let frame = websocket::encode(message, Some(mask));
        self.stream
            .write_all(&frame)
            .context("the region closed the connection")
    }

    fn input(&mut self, kind: PayloadType, payload: Vec<u8>) -> Result<()> {
        let id = self.next_id();
        let message = AgentMessage::stream(INPUT, kind, self.input, id, payload);
        self.input += 1;
        self.send(&Message::Binary(message.encode(now_ms())))
    }

    /// Carries bytes between the terminal and the command until one of them ends.
    fn carry(&mut self) -> Result<End> {
        let stdin = std::io::stdin();
        let mut size = None;
        let mut is_open = true;
        loop {
            let mut descriptors = vec![PollFd::new(&self.stream, PollFlags::IN)];
            if is_open && self.is_ready {
                descriptors.push(PollFd::new(&stdin, PollFlags::IN));
            }
            let look = Timespec {
                tv_sec: 0,
                tv_nsec: LOOK_MS * 1_000_000,
            };
            // A resize interrupts it, which is as good as its end.
            let _ = poll(&mut descriptors, Some(&look));
            let ready: Vec<bool> = descriptors
                .iter()
                .map(|descriptor| !descriptor.revents().is_empty())
                .collect();
            if ready[0]
                && let Some(end) = self.receive()?
            {
                return Ok(end);
            }
            if !self.is_ready {
                continue;
            }
            if let Ok(found) = rustix::termios::tcgetwinsize(&stdin)
                && size != Some((found.ws_col, found.ws_row))
            {
                size = Some((found.ws_col, found.ws_row));
                let text = json!({"cols": found.ws_col, "rows": found.ws_row}).to_string();
                self.input(PayloadType::Size, text.into_bytes())?;
            }
            if ready.get(1) == Some(&true) {
                let mut buffer = [0; 1024];
                match rustix::io::read(&stdin, &mut buffer) {
                    Ok(0) => {
                        is_open = false;
                        // What a terminal says at the end of its input.
                        self.input(PayloadType::Output, vec![4])?;
                    }
                    Ok(count) => self.input(PayloadType::Output, buffer[..count].to_vec())?,
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    Err(_) => {
                        is_open = false;
                        self.input(PayloadType::Flag, TERMINATE.to_be_bytes().to_vec())?;
                    }
                }
            }
        }
    }

    fn receive(&mut self) -> Result<Option<End>> {
        let mut buffer = [0; 32 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Ok(Some(self.end(String::new()))),
            Ok(count) => self.decoder.feed(&buffer[..count]),
            Err(error) => return Err(error).context("the region closed the connection"),
        }
        while let Some(message) = self.decoder.take()? {
            match message {
                Message::Binary(bytes) => {
                    if let Some(end) = self.heard(&bytes)? {
                        return Ok(Some(end));
                    }
                }
                Message::Ping(bytes) => self.send(&Message::Pong(bytes))?,
                Message::Close => return Ok(Some(self.end(String::new()))),
                Message::Pong(_) | Message::Text(_) => {}
            }
        }
        Ok(None)
    }

    fn end(&self, said: String) -> End {
        match self.code {
            Some(code) if said.is_empty() => End::Code(code),
            _ => End::Closed(said),
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> Result<Option<End>> {
        let message = AgentMessage::decode(bytes)?;
        match message.message_type.as_str() {
            CHANNEL_CLOSED => {
                let content: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                let said = content["Output"].as_str().unwrap_or_default().to_owned();
                return Ok(Some(self.end(said)));
            }
            OUTPUT => {}
            _ => return Ok(None),
        }
        let id = self.next_id();
        let acknowledgement = AgentMessage::acknowledgement(&message, id);
        self.send(&Message::Binary(acknowledgement.encode(now_ms())))?;
        if message.sequence >= self.output {
            self.early.insert(message.sequence, message);
        }
        while let Some(message) = self.early.remove(&self.output) {
            self.output += 1;
            self.take(&message)?;
        }
        Ok(None)
    }

    fn take(&mut self, message: &AgentMessage) -> Result<()> {
        if message.is(PayloadType::HandshakeRequest) {
            let response = handshake_response(VERSION).to_string();
            self.input(PayloadType::HandshakeResponse, response.into_bytes())?;
        } else if message.is(PayloadType::HandshakeComplete) {
            self.is_ready = true;
        } else if message.is(PayloadType::Output) {
            let mut stdout = std::io::stdout().lock();
            stdout
                .write_all(&message.payload)
                .and_then(|()| stdout.flush())
                .context("cannot print what the command says")?;
        } else if message.is(PayloadType::ExitCode) {
            self.code = std::str::from_utf8(&message.payload)
                .ok()
                .and_then(|code| code.parse().ok());
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
