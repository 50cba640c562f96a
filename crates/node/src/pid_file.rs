//! Who runs: a pid and its start time, so that a pid that was used again is never taken for ours.
//!
//! Used by the supervisor for its children and by the agent for load balancer processes, which outlive it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a process cannot be written down or signalled.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    #[error("process {0} is gone")]
    Gone(i32),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot signal process {pid}")]
    Signal { pid: i32, source: io::Error },
}

type Result<T> = std::result::Result<T, PidFileError>;

/// `<run>/<name>.pid`
pub struct PidFile {
    path: PathBuf,
}

/// A process that was alive when it was looked up.
#[derive(Clone, Debug)]
pub struct Living {
    pub pid: i32,
    start_time: u64,
}

impl PidFile {
    pub fn new(run_dir: &Path, name: &str) -> Self {
        Self {
            path: run_dir.join(format!("{name}.pid")),
        }
    }

    /// Writes down a process that is running now. Who reads meanwhile finds the one before or this one, never half a line.
    pub fn write(&self, pid: i32) -> Result<()> {
        let start = start_time(pid).ok_or(PidFileError::Gone(pid))?;
        let staging = self.path.with_extension("pid-new");
        std::fs::write(&staging, format!("{pid} {start}\n"))
            .and_then(|()| std::fs::rename(&staging, &self.path))
            .map_err(|source| PidFileError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// The process, if that very one still runs.
    pub fn living(&self) -> Option<Living> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        let living = Living {
            pid: pid.parse().ok()?,
            start_time: start.parse().ok()?,
        };
        living.is_alive().then_some(living)
    }

    pub fn remove(&self) {
        // Absent is what we want.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Living {
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    pub fn terminate(&self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)
    }

    pub fn kill(&self) -> Result<()> {
        self.signal(rustix::process::Signal::KILL)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or(PidFileError::Gone(self.pid))?;
        rustix::process::kill_process(pid, signal).map_err(|errno| PidFileError::Signal {
            pid: self.pid,
            source: errno.into(),
        })
    }
}

/// Processes that were started with these arguments, in this order and from the first on: for those that died unwritten.
///
/// Containers' processes are not asked: a command line is read from the process's own memory, and one of a fork bomb that
/// has used up its task's keeps who asks waiting for minutes.
pub fn started_with(arguments: &[&str]) -> Vec<Living> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = pid_namespace("self");
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid: i32 = name.to_str()?.parse().ok()?;
            if pid_namespace(name.to_str()?) != own {
                return None;
            }
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0).skip(1);
            let same = arguments
                .iter()
                .all(|argument| words.next() == Some(argument.as_bytes()));
            let start_time = start_time(pid)?;
            same.then_some(Living { pid, start_time })
        })
        .collect()
}

fn pid_namespace(process: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/pid")).ok()
}

/// Clock ticks from boot to the start of a process; `None` if there is none or it is a zombie.
/// Field 22 of /proc/<pid>/stat, see proc(5); the name in parentheses may hold spaces.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_arguments() {
        let mut child = std::process::Command::new("sleep")
            .args(["61.7291", "0.1"])
            .spawn()
            .unwrap();
        let found = || {
            started_with(&["61.7291"])
                .iter()
                .map(|l| l.pid)
                .collect::<Vec<_>>()
        };
        while found().is_empty() {
            std::thread::yield_now(); // it has not executed its program yet
        }
        assert_eq!(found(), [child.id() as i32]);
        assert!(started_with(&["61.7291", "0.2"]).is_empty());
        started_with(&["61.7291"])[0].kill().unwrap();
        child.wait().unwrap();
        assert!(found().is_empty());
    }

    #[test]
    fn processes_of_containers_are_not_asked() {
        let mut outside = std::process::Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sleep", "61.8301"])
            .spawn()
            .unwrap();
        let inside = || {
            let children = format!("/proc/{0}/task/{0}/children", outside.id());
            let pid = std::fs::read_to_string(children).ok()?.trim().to_owned();
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            line.starts_with(b"sleep").then_some(())
        };
        while inside().is_none() {
            std::thread::yield_now();
        }
        assert!(started_with(&["61.8301"]).is_empty());
        outside.kill().unwrap();
        outside.wait().unwrap();
    }

    #[test]
    fn a_pid_with_another_start_time_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = PidFile::new(dir.path(), "x");
        assert!(file.living().is_none());
        let own = std::process::id() as i32;
        file.write(own).unwrap();
        assert_eq!(file.living().unwrap().pid, own);
        std::fs::write(dir.path().join("x.pid"), format!("{own} 1\n")).unwrap();
        assert!(file.living().is_none());
        std::fs::write(dir.path().join("x.pid"), "garbage").unwrap();
        assert!(file.living().is_none());
    }

    #[test]
    fn who_reads_while_it_is_written_finds_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = PidFile::new(dir.path(), "x");
        let own = i32::try_from(std::process::id()).unwrap();
        file.write(own).unwrap();
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| (0..2_000).for_each(|_| file.write(own).unwrap()));
            while !writes.is_finished() {
                assert!(file.living().is_some());
            }
        });
    }
}
