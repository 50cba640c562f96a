//! The shim's loop: start, copy, wait, stop, report.

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

use super::ground::Ground;
use super::output::Output;
use super::server::Server;
use super::sink::Sink;
use super::state::{
    Cause, ContainerState, Order, Phase, TaskContainer, TaskSpec, TaskState, signal_number,
};
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
    /// When SIGKILL follows the stop signal.
    deadline: Option<Instant>,
    /// The other end of a standard input that stays open.
    _stdin: Option<OwnedFd>,
}

struct Supervisor {
    spec: TaskSpec,
    group: Group,
    /// Why nothing can start, or what everything stands on.
    ground: Result<Ground, String>,
    server: Server,
    state: TaskState,
    /// By the index of the spec's containers.
    running: Vec<Option<Running>>,
}

/// Runs the task to its end. The current folder is the bundle.
pub fn run(spec: TaskSpec, bundle: &Path) -> Result<(), ShimError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| ShimError::System("adopt orphans", error.into()))?;
    let group = Hierarchies::detect()?.group(&spec.cgroup);
    let pending = |container: &TaskContainer| ContainerState {
        name: container.spec.name.clone(),
        phase: Phase::Pending,
        pid: None,
        started_at_ms: None,
        finished_at_ms: None,
        exit_code: None,
        out_of_memory: false,
        error: None,
    };
    let state = TaskState {
        shim_pid: rustix::process::getpid().as_raw_pid(),
        phase: Phase::Pending,
        cause: None,
        containers: spec.containers.iter().map(pending).collect(),
        stopping_at_ms: None,
        stopped_at_ms: None,
    };
    let server = Server::bind(SOCKET).map_err(failed("listen at", &bundle.join(SOCKET)))?;
    let running = spec.containers.iter().map(|_| None).collect();
    let ground = group
        .create(&spec.limits)
        .map_err(describe)
        .and_then(|()| Ground::prepare(&spec, &group, bundle).map_err(describe));
    let mut supervisor = Supervisor {
        spec,
        group,
        ground,
        server,
        state,
        running,
    };
    supervisor.start();
    while supervisor.running.iter().any(Option::is_some) {
        supervisor.turn();
    }
    supervisor.finish()
}

impl Supervisor {
    fn start(&mut self) {
        for index in 0..self.spec.containers.len() {
            // An essential container that is already over ends the task before the next one starts.
            if self.state.phase == Phase::Stopping {
                break;
            }
            let started = match &self.ground {
                Ok(ground) => start(&self.spec.containers[index], &self.group, ground),
                Err(reason) => Err(reason.clone()),
            };
            let state = &mut self.state.containers[index];
            match started {
                Ok(running) => {
                    state.phase = Phase::Running;
                    state.pid = Some(running.container.pid.as_raw_pid());
                    state.started_at_ms = Some(now_ms());
                    self.running[index] = Some(running);
                }
                Err(reason) => {
                    state.phase = Phase::Stopped;
                    state.finished_at_ms = Some(now_ms());
                    state.error = Some(reason);
                    self.stop(Cause::StartFailed);
                }
            }
        }
        if self.state.phase == Phase::Pending {
            self.state.phase = Phase::Running;
        }
        self.publish();
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
            match order {
                Order::Stop => self.stop(Cause::Requested),
                Order::Kill => self.kill(),
            }
        }
        for index in 0..self.running.len() {
            self.reap(index);
        }
        self.reap_orphans();
        let now = Instant::now();
        for running in self.running.iter_mut().flatten() {
            if running.deadline.is_some_and(|deadline| deadline <= now) {
                running.deadline = None;
                let _ = running.container.signal(Signal::KILL);
            }
        }
    }

    fn wait(&self) {
        let mut descriptors: Vec<PollFd<'_>> = Vec::new();
        for running in self.running.iter().flatten() {
            descriptors.push(PollFd::from_borrowed_fd(
                running.container.pidfd.as_fd(),
                PollFlags::IN,
            ));
            // What can't be written yet is not read: the container waits.
            if running.log.as_ref().is_some_and(Sink::is_paused) {
                continue;
            }
            let pipes = running.outputs.iter().filter_map(Output::pipe);
            descriptors.extend(pipes.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        }
        let sockets = self.server.descriptors();
        descriptors.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        let deadline = self
            .running
            .iter()
            .flatten()
            .flat_map(|running| {
                let log = running.log.as_ref().and_then(Sink::wake_at);
                running.deadline.into_iter().chain(log)
            })
            .min();
        let timeout = deadline.map(|deadline| {
            let left =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        // An interrupted or failed wait only means a turn that finds nothing.
        let _ = poll(&mut descriptors, timeout.as_ref());
    }

    /// Records the container's exit if it has ended.
    fn reap(&mut self, index: usize) {
        let Some(running) = &mut self.running[index] else {
            return;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match rustix::process::waitid(
            WaitId::PidFd(running.container.pidfd.as_fd()),
            options,
        ) {
            Ok(Some(status)) => status,
            Ok(None) | Err(Errno::INTR) => return,
            // Cannot happen while the shim is the parent; if it does, an exit code is unknown, but the exit is a fact.
            Err(_) => return self.exited(index, 255),
        };
        let code = status
            .exit_status()
            .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        self.exited(index, code.unwrap_or(255));
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
        state.phase = Phase::Stopped;
        state.pid = None;
        state.finished_at_ms = Some(now_ms());
        state.exit_code = Some(code);
        state.out_of_memory = running.group.out_of_memory_kills() > 0;
        if self.spec.containers[index].essential {
            self.stop(Cause::EssentialExited);
        } else if self.running.iter().all(Option::is_none) {
            self.stop(Cause::AllExited);
        }
        self.publish();
    }

    /// Descendants that lost their parent end up here only if they left the container's pid namespace, which they can't;
    /// zombies of failed starts may.
    fn reap_orphans(&self) {
        if self.running.iter().all(Option::is_none) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, options) {}
        }
    }

    /// Begins the end: the stop signal for every container, SIGKILL when its time is over. The first cause counts.
    fn stop(&mut self, cause: Cause) {
        if self.state.phase >= Phase::Stopping {
            return;
        }
        self.state.phase = Phase::Stopping;
        self.state.cause = Some(cause);
        self.state.stopping_at_ms = Some(now_ms());
        for (index, running) in self.running.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            let container = &self.spec.containers[index];
            running.deadline =
                Some(Instant::now() + Duration::from_millis(container.stop_timeout_ms));
            self.state.containers[index].phase = Phase::Stopping;
            let number = signal_number(&container.stop_signal).unwrap_or(libc::SIGTERM);
            let _ = running.container.signal(sandbox::signal(number));
        }
        self.publish();
    }

    fn kill(&mut self) {
        // First of all: the stop signal would let them run on.
        for running in self.running.iter_mut().flatten() {
            let _ = running.container.signal(Signal::KILL);
        }
        self.stop(Cause::Requested);
    }

    /// Tells watchers and the disk. The disk may be full: watchers are told all the same.
    fn publish(&mut self) {
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
        self.publish();
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
        deadline: None,
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
