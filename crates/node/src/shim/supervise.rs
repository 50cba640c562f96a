//! The shim's loop: it does what the machine says, copies output, waits, and tells the machine what happened.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::checks::{self, Checks};
use super::ground::Ground;
use super::machine::{Action, Event, Machine};
use super::output::Output;
use super::server::Server;
use super::sink::Sink;
use super::state::{Order, Phase, TaskContainer, TaskSpec, TaskState, signal_number};
use super::{SOCKET, STATE_FILE, ShimError, failed};
use crate::sandbox::{self, Container, Group, Hierarchies, SandboxError, Streams};

/// How long the kernel may take to end killed processes and let go of their groups.
const PATIENCE: Duration = Duration::from_secs(10);

/// The wall clock; the shim's states and log events are stamped with it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A container that is running.
struct Running {
    container: Container,
    group: Group,
    log: Option<Sink>,
    outputs: [Output; 2],
    /// Its group may have seen some before it was started again.
    out_of_memory_kills_before: u64,
    /// Told to by us; it may take its time.
    is_killed: bool,
    /// The other end of a standard input that stays open.
    _stdin: Option<OwnedFd>,
}

struct Supervisor {
    spec: TaskSpec,
    group: Group,
    /// Why nothing can start, or what everything stands on.
    ground: Result<Ground, String>,
    server: Server,
    machine: Machine,
    /// The machine's time counts from here.
    began: Instant,
    checks: Checks,
    state: TaskState,
    /// By the index of the spec's containers.
    running: Vec<Option<Running>>,
}

/// Runs the task to its end. The current folder is the bundle.
pub fn run(spec: TaskSpec, bundle: &Path) -> Result<(), ShimError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| ShimError::System("adopt orphans", error.into()))?;
    let group = Hierarchies::detect()?.group(&spec.cgroup);
    let server = Server::bind(SOCKET).map_err(failed("listen at", &bundle.join(SOCKET)))?;
    let ground = group
        .create(&spec.limits)
        .map_err(describe)
        .and_then(|()| Ground::prepare(&spec, &group, bundle).map_err(describe));
    let mut supervisor = Supervisor {
        machine: Machine::new(&spec.containers),
        began: Instant::now(),
        checks: Checks::new(spec.containers.len()),
        state: TaskState::pending(&spec, rustix::process::getpid().as_raw_pid()),
        running: spec.containers.iter().map(|_| None).collect(),
        spec,
        group,
        ground,
        server,
    };
    supervisor.tell(Event::Begun);
    while !supervisor.machine.is_over() {
        supervisor.turn();
    }
    supervisor.finish()
}

impl Supervisor {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Lets the machine know and does what it says, until it says nothing more.
    fn tell(&mut self, event: Event) {
        let mut queue = VecDeque::from(self.machine.handle(self.now_ms(), event));
        while let Some(action) = queue.pop_front() {
            if let Some(event) = self.act(action) {
                queue.extend(self.machine.handle(self.now_ms(), event));
            }
        }
        self.publish();
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start(index) => Some(self.start(index)),
            Action::Signal(index) => {
                let name = &self.spec.containers[index].stop_signal;
                let number = signal_number(name).unwrap_or(libc::SIGTERM);
                self.signal(index, sandbox::signal(number));
                None
            }
            Action::Kill(index) => {
                self.signal(index, Signal::KILL);
                if let Some(running) = &mut self.running[index] {
                    running.is_killed = true;
                }
                self.hasten_end();
                None
            }
            Action::Check(index) => self.check(index),
            Action::EndCheck(index) => {
                self.checks.end(index);
                None
            }
        }
    }

    fn start(&mut self, index: usize) -> Event {
        let started = match &self.ground {
            Ok(ground) => start(&self.spec.containers[index], &self.group, ground),
            Err(reason) => Err(reason.clone()),
        };
        let state = &mut self.state.containers[index];
        match started {
            Ok(running) => {
                state.pid = Some(running.container.pid.as_raw_pid());
                state.started_at_ms = Some(now_ms());
                state.finished_at_ms = None;
                self.running[index] = Some(running);
                Event::Started(index)
            }
            Err(reason) => {
                state.finished_at_ms = Some(now_ms());
                Event::Refused(index, reason)
            }
        }
    }

    fn signal(&self, index: usize, signal: Signal) {
        if let Some(running) = &self.running[index] {
            let _ = running.container.signal(signal);
        }
    }

    /// Where only killed ones are left, nothing is bounded any more but how many they are. Only a task that ends has
    /// anybody killed, so nothing begins again.
    fn hasten_end(&self) {
        let mut left = self.running.iter().flatten().peekable();
        if left.peek().is_some() && left.all(|running| running.is_killed) {
            self.group.hasten_end();
        }
    }

    /// A check that cannot be started has failed.
    fn check(&mut self, index: usize) -> Option<Event> {
        let container = &self.spec.containers[index];
        let (Some(running), Ok(ground), Some(check)) =
            (&self.running[index], &self.ground, &container.health_check)
        else {
            return Some(Event::Checked(index, false));
        };
        let started = self.checks.start(
            index,
            check,
            &container.spec,
            &running.container,
            &running.group,
            ground,
        );
        let reason = started.err()?;
        tracing::warn!(
            container = container.spec.name,
            reason,
            "a health check did not start"
        );
        Some(Event::Checked(index, false))
    }

    /// Waits for something and deals with all that happened.
    fn turn(&mut self) {
        self.wait();
        for running in self.running.iter_mut().flatten() {
            let Running { log, outputs, .. } = running;
            if let Some(log) = log {
                log.tick(now_ms());
                if log.is_paused() {
                    continue;
                }
            }
            for output in outputs {
                output.copy(log.as_mut());
            }
        }
        for order in self.server.serve(&self.state) {
            self.tell(match order {
                Order::Stop => Event::StopOrdered,
                Order::Kill => Event::KillOrdered,
            });
        }
        for (index, passed) in self.checks.ended() {
            self.tell(Event::Checked(index, passed));
        }
        for index in 0..self.running.len() {
            if let Some(code) = self.exit_code(index) {
                self.exited(index, code);
            }
        }
        self.reap_orphans();
        if self
            .machine
            .deadline_ms()
            .is_some_and(|at| at <= self.now_ms())
        {
            self.tell(Event::Elapsed);
        }
    }

    fn wait(&mut self) {
        let hunting = self.checks.tidy();
        let mut descriptors: Vec<PollFd<'_>> = Vec::new();
        let mut watch =
            |descriptor| descriptors.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        for running in self.running.iter().flatten() {
            watch(running.container.pidfd.as_fd());
            // What can't be written yet is not read: the container waits.
            if running.log.as_ref().is_some_and(Sink::is_paused) {
                continue;
            }
            running
                .outputs
                .iter()
                .filter_map(Output::pipe)
                .for_each(&mut watch);
        }
        self.checks.descriptors().for_each(&mut watch);
        self.server.descriptors().for_each(&mut watch);
        let until = self.machine.deadline_ms().map(|at| {
            // The machine counts whole milliseconds: one more, so that the deadline is over when this is.
            Duration::from_millis(at + 1).saturating_sub(self.began.elapsed())
        });
        let logs = self.running.iter().flatten();
        let logs = logs
            .filter_map(|running| running.log.as_ref()?.wake_at())
            .map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let pause = hunting.then_some(checks::TIDY_PAUSE);
        let timeout = until
            .into_iter()
            .chain(pause)
            .chain(logs)
            .min()
            .map(|left| Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            });
        // An interrupted or failed wait only means a turn that finds nothing.
        let _ = poll(&mut descriptors, timeout.as_ref());
    }

    /// `None` while it runs, or if it does not.
    fn exit_code(&self, index: usize) -> Option<i32> {
        let running = self.running[index].as_ref()?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let pidfd = WaitId::PidFd(running.container.pidfd.as_fd());
        match rustix::process::waitid(pidfd, options) {
            Ok(Some(status)) => {
                let killed = || status.terminating_signal().map(|signal| 128 + signal);
                Some(status.exit_status().or_else(killed).unwrap_or(255))
            }
            Ok(None) | Err(Errno::INTR) => None,
            // Cannot happen while the shim is the parent; if it does, an exit code is unknown, but the exit is a fact.
            Err(_) => Some(255),
        }
    }

    fn exited(&mut self, index: usize, code: i32) {
        let Some(mut running) = self.running[index].take() else {
            return;
        };
        // Otherwise they ended with the first of their pid namespace.
        if self.spec.shared_pids
            && let Err(error) = running.group.kill(PATIENCE)
        {
            tracing::error!(%error, "processes of a container are left");
        }
        for output in &mut running.outputs {
            output.finish(running.log.as_mut());
        }
        if let Some(log) = &mut running.log {
            log.finish(now_ms());
        }
        let state = &mut self.state.containers[index];
        state.pid = None;
        state.finished_at_ms = Some(now_ms());
        let kills = running.group.out_of_memory_kills();
        self.tell(Event::Exited {
            index,
            code,
            out_of_memory: kills > running.out_of_memory_kills_before,
        });
        self.hasten_end();
    }

    /// Descendants that lost their parent end up here only if they left the container's pid namespace, which they can't;
    /// zombies of failed starts may.
    fn reap_orphans(&self) {
        if self.running.iter().all(Option::is_none) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, options) {}
        }
    }

    /// Tells watchers and the disk what is new. The disk may be full: watchers are told all the same.
    fn publish(&mut self) {
        let before = self.state.clone();
        self.state.take_over(&self.machine, now_ms());
        if self.state == before {
            return;
        }
        if let Err(error) = write_state(&self.state) {
            tracing::error!(%error, "the task's state is not written");
        }
        self.server.tell(&self.state);
    }

    fn finish(mut self) -> Result<(), ShimError> {
        self.ground = Err("the task is over".to_owned());
        let cleaned = self
            .group
            .kill(PATIENCE)
            .and_then(|()| self.group.remove(PATIENCE));
        self.state.phase = Phase::Stopped;
        self.state.stopped_at_ms = Some(now_ms());
        if let Err(error) = write_state(&self.state) {
            tracing::error!(%error, "the task's last state is not written");
        }
        self.server.tell(&self.state);
        Ok(cleaned?)
    }
}

fn write_state(state: &TaskState) -> io::Result<()> {
    let text = serde_json::to_vec(state)?;
    fs::write("state.json.new", text)?;
    fs::rename("state.json.new", STATE_FILE)
}

fn start(container: &TaskContainer, task: &Group, ground: &Ground) -> Result<Running, String> {
    let group = task.child(group_name(&container.spec.name));
    group.create(&container.limits).map_err(describe)?;
    let out_of_memory_kills_before = group.out_of_memory_kills();
    let log = match &container.log {
        Some(folder) => Some(Sink::open(folder, &container.log_options).map_err(describe)?),
        None => None,
    };
    let (stdout, stdout_in) = Output::make().map_err(describe)?;
    let (stderr, stderr_in) = Output::make().map_err(describe)?;
    let (stdin, stdin_kept) = stdin(container.open_stdin).map_err(describe)?;
    let (terminal, terminal_in) = terminal(container.spec.terminal).map_err(describe)?;
    let streams = Streams {
        stdin,
        stdout: stdout_in,
        stderr: stderr_in,
        terminal: terminal_in,
    };
    let started = ground
        .place(&container.spec.name, &group, |place| {
            sandbox::start(&container.spec, place, streams)
        })
        .map_err(|error| match error {
            SandboxError::Refused(reason) => reason,
            other => describe(other),
        })?;
    let mut outputs = [stdout, stderr];
    if let Some(socket) = terminal {
        let master = sandbox::received_terminal(socket.as_fd()).map_err(describe)?;
        outputs[0] = Output::of(master).map_err(describe)?;
    }
    Ok(Running {
        container: started,
        group,
        log,
        outputs,
        out_of_memory_kills_before,
        is_killed: false,
        _stdin: stdin_kept,
    })
}

/// The container's standard input, and what keeps it open.
fn stdin(open: bool) -> Result<(OwnedFd, Option<OwnedFd>), Errno> {
    if open {
        let (theirs, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        return Ok((theirs, Some(ours)));
    }
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((null, None))
}

/// Where a container with a terminal sends it, and where it comes from.
fn terminal(wanted: bool) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Errno> {
    if !wanted {
        return Ok((None, None));
    }
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Some(ours), Some(theirs)))
}

/// A container may have the name of a file that every v1 group holds.
pub(crate) fn group_name(container: &str) -> &str {
    match container {
        "tasks" => "tasks-container",
        "notify_on_release" => "notify_on_release-container",
        "release_agent" => "release_agent-container",
        other => other,
    }
}

/// The whole chain of causes in one line, for a task's reason.
fn describe(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
