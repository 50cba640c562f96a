//! The four processes of the region: start, watch, start again, stop.

use super::PidFile;
use anyhow::{Context, Result, anyhow};
use fogbank_node::pid_file::PidFileError;
use fogbank_types::RegionConfig;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// In the order in which they start; they stop in reverse.
const NAMES: [&str; 4] = ["control", "node", "dns", "services"];

/// Pause before a process that died young is started again; doubles up to the longest.
const BACKOFF: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// One that lived this long starts again without a pause.
const STEADY: Duration = Duration::from_secs(10);
/// Time to end after SIGTERM, then SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Children {
    config_path: PathBuf,
    run_dir: PathBuf,
    all: Vec<One>,
}

struct One {
    name: &'static str,
    child: Option<Child>,
    started: Instant,
    backoff: Duration,
}

/// It may be gone by now, which is what we want; its pid is ours until it is waited for.
fn terminate(child: &Child) {
    let pid = child
        .id()
        .and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

impl Children {
    pub fn new(config: &RegionConfig, config_path: &Path) -> Self {
        let one = |name| One {
            name,
            child: None,
            started: Instant::now(),
            backoff: BACKOFF,
        };
        Self {
            config_path: config_path.to_owned(),
            run_dir: config.run_dir.clone(),
            all: NAMES.map(one).into(),
        }
    }

    /// Ends processes of a supervisor that was killed: they hold the store and the sockets. Tasks and load balancers
    /// stay; the new node adopts them.
    pub async fn stop_leftovers(&self) -> Result<()> {
        for name in NAMES.iter().rev() {
            let Some(living) = PidFile::new(&self.run_dir, name).living() else {
                continue;
            };
            tracing::warn!(
                name,
                pid = living.pid,
                "ending a process that an earlier region left"
            );
            living.terminate()?;
            let start = Instant::now();
            while living.is_alive() {
                if start.elapsed() > STOP_LIMIT {
                    living.kill()?;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }

    pub fn start_all(&mut self) -> Result<()> {
        for index in 0..self.all.len() {
            self.start(index)?;
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let one = &mut self.all[index];
        // Not by its path: that file may have been replaced, and all processes of a region are of one build.
        let child = Command::new("/proc/self/exe")
            .arg0("fogbank")
            .arg(one.name)
            .arg("--config")
            .arg(&self.config_path)
            .stdin(std::process::Stdio::null())
            // A Ctrl-C on the terminal goes to the supervisor, which takes all down in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", one.name))?;
        if let Some(pid) = child.id() {
            match PidFile::new(&self.run_dir, one.name).write(pid as i32) {
                // It ended at once: whoever waits for it hears so.
                Ok(()) | Err(PidFileError::Gone(_)) => {}
                Err(error) => {
                    one.child = Some(child);
                    return Err(error.into());
                }
            }
        }
        one.child = Some(child);
        one.started = Instant::now();
        Ok(())
    }

    /// Waits until one ends; says which.
    async fn next_exit(&mut self) -> (usize, std::io::Result<ExitStatus>) {
        let mut waits: Vec<_> = self
            .all
            .iter_mut()
            .enumerate()
            .filter_map(|(index, one)| {
                one.child
                    .as_mut()
                    .map(|child| (index, Box::pin(child.wait())))
            })
            .collect();
        std::future::poll_fn(|context| {
            for (index, wait) in &mut waits {
                if let std::task::Poll::Ready(status) = wait.as_mut().poll(context) {
                    return std::task::Poll::Ready((*index, status));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// The error to report if one ends while the region starts.
    pub async fn first_exit(&mut self) -> anyhow::Error {
        let (index, status) = self.next_exit().await;
        let name = self.all[index].name;
        match status {
            Ok(status) => anyhow!(
                "{name} ended while the region started ({status}); its message stands above"
            ),
            Err(error) => anyhow!("cannot wait for {name}: {error}"),
        }
    }

    /// Starts again whatever ends. A host that is out of memory or processes for a moment is no reason to take the
    /// data plane down, so it tries until that works. Never returns.
    pub async fn supervise(&mut self) {
        loop {
            let (index, status) = self.next_exit().await;
            let one = &mut self.all[index];
            one.child = None;
            if one.started.elapsed() > STEADY {
                one.backoff = BACKOFF;
            }
            tracing::warn!(name = one.name, status = ?status, "a process ended; starting it again");
            while self.all[index].child.is_none() {
                let one = &mut self.all[index];
                tokio::time::sleep(one.backoff).await;
                one.backoff = (one.backoff * 2).min(BACKOFF_MAX);
                if let Err(error) = self.start(index) {
                    tracing::error!(%error, "cannot start it; trying again");
                }
            }
        }
    }

    /// SIGTERM, then SIGKILL if it takes too long.
    pub async fn stop(&mut self, name: &str) {
        let Some(one) = self.all.iter_mut().find(|one| one.name == name) else {
            return;
        };
        if let Some(mut child) = one.child.take() {
            terminate(&child);
            if tokio::time::timeout(STOP_LIMIT, child.wait())
                .await
                .is_err()
            {
                tracing::warn!(name, "did not stop; killing it");
                let _ = child.kill().await;
            }
        }
        PidFile::new(&self.run_dir, name).remove();
    }

    pub async fn stop_all(&mut self) {
        for name in NAMES.iter().rev() {
            self.stop(name).await;
        }
    }
}
