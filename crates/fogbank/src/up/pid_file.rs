//! Who runs: a pid and its start time, so that a pid that was used again is never taken for ours.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

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

    /// Writes down a process that is running now.
    pub fn write(&self, pid: i32) -> Result<()> {
        let start = start_time(pid).with_context(|| format!("process {pid} is gone"))?;
        std::fs::write(&self.path, format!("{pid} {start}\n"))
            .with_context(|| format!("cannot write {}", self.path.display()))
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
        let pid = rustix::process::Pid::from_raw(self.pid).context("pid 0")?;
        rustix::process::kill_process(pid, signal)
            .with_context(|| format!("cannot signal process {}", self.pid))
    }
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
}
