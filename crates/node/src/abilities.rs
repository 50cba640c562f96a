//! What this host can do to hold tasks apart, looked at once when the agent starts.
//!
//! What must stay true: a guarantee that can't be given is said in the log, with what stands in for it.

use std::fs;
use std::path::Path;

use crate::sandbox::{self, Group, Hierarchies, Limits, storage};
use crate::task;

/// What all tasks together leave to the host, but for hosts so small that this is more than a quarter.
const MEMORY_LEFT_BYTES: u64 = 1 << 30;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Tasks get ids of their own: root in a container is nobody on the host.
    pub user_namespaces: bool,
    /// Each task's writing is held to the storage that it asked for.
    pub storage_limits: bool,
}

impl Abilities {
    pub fn detect(data: &Path, hierarchies: &Hierarchies) -> Self {
        let missing = hierarchies.missing();
        if !missing.is_empty() {
            tracing::warn!(
                controllers = missing.join(", "),
                "control groups lack controllers: tasks are not held to those limits"
            );
        }
        let identities = sandbox::probe_identities(&data.join("layers"));
        if let Err(reason) = &identities {
            tracing::warn!(
                reason,
                "no user namespaces for tasks: root in a container is the host's, held by its capabilities, the system call \
                 filter and no_new_privs alone"
            );
        }
        let templates = task::storage_templates(data);
        let storage = storage::template(&templates, task::STORAGE_GIB)
            .and_then(|template| storage::make(&template));
        if let Err(error) = &storage {
            tracing::warn!(
                %error,
                cause = ?std::error::Error::source(error),
                "no ephemeral storage of their own for tasks: they write to the host's disk, without a limit"
            );
        }
        Self {
            storage_limits: storage.is_ok(),
            user_namespaces: identities.is_ok(),
        }
    }
}

/// Holds all tasks of an instance, below that group, to what the host can spare: each has its own bounds, but the host promises
/// more than it has, and then a task must fail and not the host.
pub fn bound_all(tasks: &Group) {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        Some(kib.parse::<u64>().ok()? << 10)
    });
    let pids = number("/proc/sys/kernel/pid_max")
        .into_iter()
        .chain(number("/proc/sys/kernel/threads-max"))
        .min();
    if let Err(error) = tasks.create(&spared(total, pids)) {
        tracing::warn!(%error, "all tasks together are not held to what the host can spare");
    }
}

fn spared(memory_bytes: Option<u64>, pids: Option<u64>) -> Limits {
    Limits {
        memory_bytes: memory_bytes.map(|total| total - MEMORY_LEFT_BYTES.min(total / 4)),
        pids: pids.map(|most| u32::try_from(most / 4 * 3).unwrap_or(u32::MAX)),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_keeps_a_part_for_itself() {
        let large = spared(Some(24 << 30), Some(32_768));
        assert_eq!(
            (large.memory_bytes, large.pids),
            (Some(23 << 30), Some(24_576))
        );
        assert_eq!(spared(Some(1 << 30), None).memory_bytes, Some(768 << 20));
        assert_eq!(spared(None, None), Limits::default());
    }
}
