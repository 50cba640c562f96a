//! What the agent tells a shim and what the shim tells the agent; all of it JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    pub containers: Vec<ContainerState>,
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
