//! What a group of processes uses: read by the task metadata endpoint's stats.
//!
//! CPU time is in the unified hierarchy on v2 and hybrid hosts, whoever has the controller. Block I/O is the controller's
//! where the host gives us one, and what the processes that live did otherwise.

use std::fs;
use std::path::Path;

use super::cgroup::Group;

/// A moment's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_total_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    pub throttle_periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
    pub memory_bytes: u64,
    pub memory_max_bytes: u64,
    /// `None`: no limit of its own.
    pub memory_limit_bytes: Option<u64>,
    /// As the kernel names them.
    pub memory_stats: Vec<(String, u64)>,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

impl Group {
    /// What its processes use, and used before they ended.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (mount, folder) in self.folders() {
            if mount.is_unified() {
                cpu_unified(&folder, &mut usage);
            }
            if mount.has("cpu") {
                cpu_throttling(&folder, &mut usage);
            }
            if mount.has("memory") {
                memory(&folder, mount.is_unified(), &mut usage);
            }
            if mount.has("pids") {
                usage.pids = number(&folder.join("pids.current")).unwrap_or(0);
                usage.pids_limit = number(&folder.join("pids.max"));
            }
        }
        if usage.cpu_total_ns == 0 {
            for (_, folder) in self.folders() {
                cpu_v1(&folder, &mut usage);
            }
        }
        let by_controller = self.folders().any(|(mount, folder)| {
            mount.is_unified() && io_unified(&folder.join("io.stat"), &mut usage)
        });
        if !by_controller {
            for process in self.processes() {
                let path = format!("/proc/{}/io", process.as_raw_pid());
                let text = fs::read_to_string(path).unwrap_or_default();
                let value = |name| value(&text, name).unwrap_or(0);
                usage.read_bytes += value("read_bytes:");
                usage.write_bytes += value("write_bytes:");
                usage.reads += value("syscr:");
                usage.writes += value("syscw:");
            }
        }
        usage
    }
}

/// The number behind a name at a line's start.
fn value(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// A file's only number; `max` and v1's largest page count are none.
fn number(path: &Path) -> Option<u64> {
    let number = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (number < 1 << 62).then_some(number)
}

fn cpu_unified(folder: &Path, usage: &mut Usage) {
    let text = fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default();
    let value = |name| value(&text, name).unwrap_or(0) * 1000;
    usage.cpu_total_ns = value("usage_usec");
    usage.cpu_user_ns = value("user_usec");
    usage.cpu_system_ns = value("system_usec");
}

fn cpu_throttling(folder: &Path, usage: &mut Usage) {
    let text = fs::read_to_string(folder.join("cpu.stat")).unwrap_or_default();
    usage.throttle_periods = value(&text, "nr_periods").unwrap_or(0);
    usage.throttled_periods = value(&text, "nr_throttled").unwrap_or(0);
    usage.throttled_ns = value(&text, "throttled_time")
        .or_else(|| value(&text, "throttled_usec").map(|us| us * 1000))
        .unwrap_or(0);
}

/// On hosts without the unified hierarchy, where `cpuacct` is mounted with `cpu`.
fn cpu_v1(folder: &Path, usage: &mut Usage) {
    let Some(total) = number(&folder.join("cpuacct.usage")) else {
        return;
    };
    usage.cpu_total_ns = total;
    usage.cpu_user_ns = number(&folder.join("cpuacct.usage_user")).unwrap_or(0);
    usage.cpu_system_ns = number(&folder.join("cpuacct.usage_sys")).unwrap_or(0);
}

fn memory(folder: &Path, unified: bool, usage: &mut Usage) {
    let [current, peak, limit] = match unified {
        true => ["memory.current", "memory.peak", "memory.max"],
        false => [
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
        ],
    };
    usage.memory_bytes = number(&folder.join(current)).unwrap_or(0);
    usage.memory_max_bytes = number(&folder.join(peak)).unwrap_or(usage.memory_bytes);
    usage.memory_limit_bytes = number(&folder.join(limit));
    let text = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    usage.memory_stats = lines
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect();
}

/// Whether the controller is there.
fn io_unified(path: &Path, usage: &mut Usage) -> bool {
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    for pair in text.split_whitespace() {
        let Some((name, Ok(value))) = pair.split_once('=').map(|(n, v)| (n, v.parse::<u64>()))
        else {
            continue;
        };
        match name {
            "rbytes" => usage.read_bytes += value,
            "wbytes" => usage.write_bytes += value,
            "rios" => usage.reads += value,
            "wios" => usage.writes += value,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let text = "usage_usec 12\nuser_usec 7\n";
        assert_eq!(value(text, "user_usec"), Some(7));
        assert_eq!(value(text, "usage"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (text, expected) in [
            ("5\n", Some(5)),
            ("max\n", None),
            ("9223372036854771712\n", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(number(&path), expected, "{text}");
        }
    }

    #[test]
    fn devices_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("io.stat");
        fs::write(
            &path,
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=9\n8:16 rbytes=10 wbytes=0 rios=1 wios=0\n",
        )
        .unwrap();
        let mut usage = Usage::default();
        assert!(io_unified(&path, &mut usage));
        let found = (
            usage.read_bytes,
            usage.write_bytes,
            usage.reads,
            usage.writes,
        );
        assert_eq!(found, (11, 2, 4, 4));
    }
}
