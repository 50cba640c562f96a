//! What the agent tells a shim and what the shim tells the agent; all of it JSON.

use std::path::PathBuf;

use fogbank_types::ecs::DependencyCondition;
use fogbank_types::status::ContainerHealth;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::sink::LogOptions;
use crate::sandbox::{ContainerSpec, Limits};

/// A task, as `task.json` in its bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub task: String,
    /// Path of the task's cgroup; each container has one below it, by its name.
    pub cgroup: String,
    pub limits: Limits,
    /// Its ids are a range of its own on the host; otherwise they are the host's.
    #[serde(default)]
    pub user_namespace: bool,
    /// A formatted file of the size of its ephemeral storage; without one it writes to the host's disk.
    #[serde(default)]
    pub storage_template: Option<PathBuf>,
    /// The shim's standard input is that storage, made already.
    #[serde(default)]
    pub storage_given: bool,
    /// Its containers are in one pid namespace.
    #[serde(default)]
    pub shared_pids: bool,
    /// In the order of their start.
    pub containers: Vec<TaskContainer>,
}

/// A container of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskContainer {
    pub spec: ContainerSpec,
    pub limits: Limits,
    /// When it ends, the task ends.
    pub essential: bool,
    /// `SIGTERM`, `TERM` or a number; empty means SIGTERM.
    pub stop_signal: String,
    /// From the stop signal to SIGKILL.
    pub stop_timeout_ms: u64,
    /// Its standard input stays open, though nothing ever comes (`interactive`); otherwise it is at its end.
    #[serde(default)]
    pub open_stdin: bool,
    /// Folder of the log stream that takes its output; `None` throws it away.
    pub log: Option<PathBuf>,
    #[serde(default)]
    pub log_options: LogOptions,
    /// The image's name, for reasons.
    #[serde(default)]
    pub image: String,
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// How long those that depend on it wait for it to end or to be healthy; `None`: for ever.
    #[serde(default)]
    pub start_timeout_ms: Option<u64>,
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub restart: Option<Restart>,
}

/// What must come true before a container starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub container: String,
    pub condition: DependencyCondition,
}

/// A program that finds out whether a container is well; exit code 0 says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub args: Vec<String>,
    /// From the container's start, or the last check's end, to the next.
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// That many failures in a row make it unhealthy.
    pub retries: u32,
    /// Failures of a container that was not well yet do not count before this time after its start.
    pub start_period_ms: u64,
}

/// A container that ends is started again, in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub ignored_exit_codes: Vec<i32>,
    /// Only if it ran at least this long.
    pub attempt_period_ms: u64,
}

/// How far a task or a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Pending,
    Running,
    Stopping,
    Stopped,
}

/// Why a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A container could not be started.
    StartFailed,
    EssentialExited,
    /// Every container ended, none of them essential.
    AllExited,
    /// The agent asked for it.
    Requested,
}

/// A task, as `state.json` in its bundle and as each line that the socket gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    pub shim_pid: i32,
    pub phase: Phase,
    pub cause: Option<Cause>,
    /// Why it did not start.
    #[serde(default)]
    pub error: Option<String>,
    pub containers: Vec<ContainerState>,
    /// When the last of its containers was started.
    #[serde(default)]
    pub running_at_ms: Option<i64>,
    pub stopping_at_ms: Option<i64>,
    pub stopped_at_ms: Option<i64>,
}

/// A container in [`TaskState`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    pub phase: Phase,
    /// While it runs.
    pub pid: Option<i32>,
    pub started_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
    /// 128 and the signal's number for one that was killed.
    pub exit_code: Option<i32>,
    /// The kernel killed a process of it for lack of memory.
    pub out_of_memory: bool,
    /// Why it did not start.
    pub error: Option<String>,
    /// What its checks say; `None`: it has none.
    #[serde(default)]
    pub health: Option<ContainerHealth>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
}

impl TaskState {
    /// Of a task of which nothing has happened yet.
    pub fn pending(spec: &TaskSpec, shim_pid: i32) -> Self {
        let container = |container: &TaskContainer| ContainerState {
            name: container.spec.name.clone(),
            phase: Phase::Pending,
            pid: None,
            started_at_ms: None,
            finished_at_ms: None,
            exit_code: None,
            out_of_memory: false,
            error: None,
            health: None,
            restarts: 0,
        };
        Self {
            shim_pid,
            phase: Phase::Pending,
            cause: None,
            error: None,
            containers: spec.containers.iter().map(container).collect(),
            running_at_ms: None,
            stopping_at_ms: None,
            stopped_at_ms: None,
        }
    }

    /// Takes over what the machine has decided; what follows from it first follows now.
    pub fn take_over(&mut self, machine: &Machine, now_ms: i64) {
        self.phase = machine.phase();
        self.cause = machine.cause().cloned();
        self.error = machine.error().map(str::to_owned);
        if self.phase == Phase::Running {
            self.running_at_ms.get_or_insert(now_ms);
        }
        if self.phase >= Phase::Stopping {
            self.stopping_at_ms.get_or_insert(now_ms);
        }
        for (index, container) in self.containers.iter_mut().enumerate() {
            let member = machine.member(index);
            container.phase = member.phase;
            container.exit_code = member.exit_code;
            container.out_of_memory = member.out_of_memory;
            container.error.clone_from(&member.error);
            container.health = member.health;
            container.restarts = member.restarts;
        }
    }
}

/// A line that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Stop signal, stop timeout, SIGKILL; each container by its own.
    Stop,
    /// SIGKILL for everything, now.
    Kill,
}

/// The number behind a signal's name.
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let names = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("ABRT", libc::SIGABRT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CONT", libc::SIGCONT),
        ("WINCH", libc::SIGWINCH),
        ("IO", libc::SIGIO),
        ("PWR", libc::SIGPWR),
    ];
    if let Some((_, number)) = names.iter().find(|(known, _)| *known == short) {
        return Some(*number);
    }
    // systemd images stop by SIGRTMIN+3.
    let offset: i32 = short
        .strip_prefix("RTMIN")?
        .strip_prefix('+')
        .unwrap_or("0")
        .parse()
        .ok()?;
    (0..=30).contains(&offset).then_some(34 + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("SIGINT", 2),
        ] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for bad in ["", "SIGNOPE", "0", "65", "-1", "RTMIN+99"] {
            assert_eq!(signal_number(bad), None, "{bad}");
        }
    }
}
