//! `fogbank exec-session --bundle <dir>`: the parent of one command in a container.
//!
//! Its standard input is the connection to control. It carries bytes between that and the command's terminal until either
//! is gone. What must stay true: it is single-threaded, as it forks; it holds no more than a few buffers, whoever doesn't
//! read; when control's end is gone the command ends, and when the container ends so does this.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};

use crate::sandbox::{self, Hierarchies, Joined, SandboxError};
use crate::shim::{self, SEALED, SPEC_FILE, ShimError, TaskSpec};
use fogbank_types::exec_frame::{self, Kind};

/// Carries an [`Order`].
pub const VARIABLE: &str = "FOGBANK_EXEC";
const BUFFER_BYTES: usize = 32 << 10;
/// From the hang-up to SIGKILL.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what a command has left behind on its terminal is waited for.
const REST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(30);

/// What the agent has found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub cgroup: String,
    pub container: String,
    pub pid: i32,
    pub command: Vec<String>,
}

/// The program, which executes itself again from a read-only mount as a shim does: for a moment it is a process of the
/// container.
pub fn main(bundle: &Path) -> Result<(), ShimError> {
    let bundle = &bundle
        .canonicalize()
        .map_err(|error| ShimError::System("find the bundle", error))?;
    if std::env::var_os(SEALED).is_none() {
        let arguments = ["exec-session", "--bundle"];
        return Err(shim::seal(&arguments, Some(bundle), &[VARIABLE]));
    }
    // Fails harmlessly for a process group's leader, which is detached already.
    let _ = rustix::process::setsid();
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)
        .map_err(|error| ShimError::System("take the connection", error.into()))?;
    match begin(bundle) {
        Ok(joined) => {
            let ended = Session::new(joined, socket).and_then(Session::run);
            ended.map_err(|error| ShimError::System("carry a session", error))
        }
        Err(reason) => {
            let frame = exec_frame::encode(Kind::Error, reason.as_bytes());
            let written = rustix::io::write(&socket, &frame);
            written
                .map(|_| ())
                .map_err(|error| ShimError::System("say why not", error.into()))
        }
    }
}

fn begin(bundle: &Path) -> Result<Joined, String> {
    let broken = |error: &dyn std::fmt::Display| format!("the session can't begin: {error}");
    let order = std::env::var(VARIABLE).map_err(|error| broken(&error))?;
    let order: Order = serde_json::from_str(&order).map_err(|error| broken(&error))?;
    let text = fs::read(bundle.join(SPEC_FILE)).map_err(|error| broken(&error))?;
    let spec: TaskSpec = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    let mut containers = spec.containers.into_iter();
    let container = containers.find(|container| container.spec.name == order.container);
    let mut container = container.ok_or("the container is not running")?.spec;
    // As the agent of Session Manager sets them.
    for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")] {
        let prefix = format!("{name}=");
        if !container.env.iter().any(|pair| pair.starts_with(&prefix)) {
            container.env.push(format!("{prefix}{value}"));
        }
    }
    let group = Hierarchies::detect()
        .map_err(|error| broken(&error))?
        .group(&order.cgroup);
    sandbox::join(order.pid, &group, &container, order.command).map_err(|error| match error {
        SandboxError::Refused(reason) => reason,
        SandboxError::System { operation, source } => broken(&format!("{operation}: {source}")),
        other => broken(&other),
    })
}

struct Session {
    joined: Joined,
    /// `None` once it was hung up.
    socket: OwnedFd,
    /// From control, not yet taken apart.
    frames: Vec<u8>,
    /// For the terminal.
    input: Vec<u8>,
    /// For control.
    output: Vec<u8>,
    is_read: bool,
    exit_code: Option<i32>,
    deadline: Option<Instant>,
    exited_at: Option<Instant>,
}

impl Session {
    fn new(joined: Joined, socket: OwnedFd) -> io::Result<Self> {
        for descriptor in [&socket, &joined.master] {
            let flags = rustix::fs::fcntl_getfl(descriptor)?;
            rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Self {
            joined,
            socket,
            frames: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            is_read: true,
            exit_code: None,
            deadline: None,
            exited_at: None,
        })
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.read_socket()?;
            self.write_terminal();
            let drained = self.read_terminal();
            self.reap();
            if self.write_socket().is_err() {
                self.hang_up();
            }
            if let Some(code) = self.exit_code
                && (drained || self.is_abandoned())
            {
                return self.finish(code);
            }
            if self.exit_code.is_none() && self.is_over() {
                self.deadline = None;
                let _ = self.joined.process.signal(Signal::KILL);
            }
        }
    }

    /// What the command left behind goes on talking.
    fn is_abandoned(&self) -> bool {
        self.exited_at.is_some_and(|at| at.elapsed() > REST_MAX)
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn wait(&self) -> io::Result<()> {
        let mut descriptors = Vec::new();
        let socket_wants = match (
            self.is_read && self.input.is_empty(),
            self.output.is_empty(),
        ) {
            (true, true) => PollFlags::IN,
            (true, false) => PollFlags::IN | PollFlags::OUT,
            (false, false) => PollFlags::OUT,
            (false, true) => PollFlags::empty(),
        };
        descriptors.push(PollFd::new(&self.socket, socket_wants));
        let mut terminal_wants = PollFlags::empty();
        if !self.input.is_empty() {
            terminal_wants |= PollFlags::OUT;
        }
        if self.output.len() < BUFFER_BYTES {
            terminal_wants |= PollFlags::IN;
        }
        // A terminal that everybody has left is always ready.
        if !terminal_wants.is_empty() && self.exit_code.is_none() {
            descriptors.push(PollFd::new(&self.joined.master, terminal_wants));
        }
        if self.exit_code.is_none() {
            descriptors.push(PollFd::new(&self.joined.process.pidfd, PollFlags::IN));
        }
        let timeout = self.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.min(Duration::from_millis(20)) + Duration::from_millis(1);
            Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_socket(&mut self) -> io::Result<()> {
        if !self.is_read || !self.input.is_empty() {
            return Ok(());
        }
        match read(self.socket.as_fd()) {
            Read::Bytes(bytes) => self.frames.extend(bytes),
            Read::Nothing => {}
            Read::End => self.hang_up(),
        }
        loop {
            match exec_frame::take(&mut self.frames) {
                Ok(Some((Kind::Input, bytes))) => self.input.extend(bytes),
                Ok(Some((Kind::Resize, bytes))) => self.resize(&bytes),
                Ok(Some((Kind::Terminate, _))) | Err(_) => self.hang_up(),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
            }
            if !self.is_read {
                return Ok(());
            }
        }
    }

    fn resize(&self, bytes: &[u8]) {
        let [a, b, c, d] = *bytes else { return };
        let size = Winsize {
            ws_col: u16::from_be_bytes([a, b]),
            ws_row: u16::from_be_bytes([c, d]),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // The kernel tells the foreground process by SIGWINCH.
        let _ = rustix::termios::tcsetwinsize(&self.joined.master, size);
    }

    fn write_terminal(&mut self) {
        if self.input.is_empty() {
            return;
        }
        match rustix::io::write(&self.joined.master, &self.input) {
            Ok(count) => drop(self.input.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody will read it.
            Err(_) => self.input.clear(),
        }
    }

    /// Whether nothing more is there.
    fn read_terminal(&mut self) -> bool {
        if self.output.len() >= BUFFER_BYTES {
            return false;
        }
        match read(self.joined.master.as_fd()) {
            Read::Bytes(bytes) => {
                if self.is_read {
                    self.output.extend(exec_frame::encode(Kind::Output, &bytes));
                }
                false
            }
            // The kernel hands over what was written a moment later.
            Read::Nothing => self.exit_code.is_some() && self.is_over(),
            Read::End => true,
        }
    }

    fn write_socket(&mut self) -> Result<(), Errno> {
        if self.output.is_empty() {
            return Ok(());
        }
        match rustix::net::send(&self.socket, &self.output, rustix::net::SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.output.drain(..count);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self) {
        if self.exit_code.is_some() {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let pidfd = self.joined.process.pidfd.as_fd();
        if let Ok(Some(status)) = rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            let code = status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            self.exit_code = Some(code.unwrap_or(255));
            self.deadline = Some(Instant::now() + REST);
            self.exited_at = Some(Instant::now());
        }
    }

    /// Control is gone or wants the end: the terminal says so to its processes as a line that is cut does.
    fn hang_up(&mut self) {
        if !std::mem::replace(&mut self.is_read, false) {
            return;
        }
        self.output.clear();
        self.input.clear();
        if self.exit_code.is_none() {
            // The whole session of the command; its leader's number is its group's.
            let _ = rustix::process::kill_process_group(self.joined.process.pid, Signal::HUP);
            let _ = rustix::process::kill_process_group(self.joined.process.pid, Signal::CONT);
            self.deadline = Some(Instant::now() + PATIENCE);
        }
    }

    /// Everything that is still to be said, if somebody listens.
    fn finish(mut self, code: i32) -> io::Result<()> {
        if !self.is_read {
            return Ok(());
        }
        self.output
            .extend(exec_frame::encode(Kind::Exit, &code.to_be_bytes()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.output.is_empty() && Instant::now() < deadline {
            if self.write_socket().is_err() {
                break;
            }
            let mut descriptors = [PollFd::new(&self.socket, PollFlags::OUT)];
            let second = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let _ = poll(&mut descriptors, Some(&second));
        }
        Ok(())
    }
}

enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

fn read(descriptor: BorrowedFd<'_>) -> Read {
    let mut buffer = vec![0; BUFFER_BYTES];
    match rustix::io::read(descriptor, &mut buffer) {
        Ok(0) => Read::End,
        Ok(count) => {
            buffer.truncate(count);
            Read::Bytes(buffer)
        }
        Err(Errno::AGAIN | Errno::INTR) => Read::Nothing,
        // A terminal whose other end is closed, a connection that was reset.
        Err(_) => Read::End,
    }
}
