//! Health checks that run: started, awaited and ended without ever holding up the shim's loop.
//!
//! What must stay true: with a check's end all that it has started ends, whatever it was; what cannot be ended at once is
//! tried again by [`Checks::tidy`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::ground::Ground;
use super::state::HealthCheck;
use crate::sandbox::{self, Container, ContainerSpec, Group, Streams};

/// Below a container's group; no container's name has a point.
const GROUP: &str = "fogbank.check";
/// How long leftovers of a check are hunted; those that the container's first process does not bury stay, harmless, until
/// its end.
const HUNT: Duration = Duration::from_secs(2);
/// The pause between two tries.
pub const TIDY_PAUSE: Duration = Duration::from_millis(10);

struct Running {
    process: Container,
    group: Group,
    /// Nobody reads why a check was not executed: its exit code says enough.
    _errors: OwnedFd,
}

struct Leftover {
    group: Group,
    process: Option<Container>,
    until: Instant,
}

/// The checks of a task, at most one a container.
pub struct Checks {
    running: Vec<Option<Running>>,
    leftovers: Vec<Leftover>,
}

impl Checks {
    pub fn new(containers: usize) -> Self {
        Self {
            running: (0..containers).map(|_| None).collect(),
            leftovers: Vec::new(),
        }
    }

    pub fn start(
        &mut self,
        index: usize,
        check: &HealthCheck,
        spec: &ContainerSpec,
        container: &Container,
        group: &Group,
        ground: &Ground,
    ) -> Result<(), String> {
        let group = group.child(GROUP);
        let streams = null_streams().map_err(|error| error.to_string())?;
        let spec = ContainerSpec {
            args: check.args.clone(),
            terminal: false,
            ..spec.clone()
        };
        let started = ground
            .place(&spec.name, &group, |place| {
                sandbox::exec(&spec, container, place, streams)
            })
            .map_err(|error| error.to_string())?;
        self.running[index] = Some(Running {
            process: started.process,
            group,
            _errors: started.errors,
        });
        Ok(())
    }

    /// What to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.running.iter().flatten();
        running.map(|check| check.process.pidfd.as_fd())
    }

    /// The checks that have ended by themselves, and whether each found its container well.
    pub fn ended(&mut self) -> Vec<(usize, bool)> {
        let mut ended = Vec::new();
        for index in 0..self.running.len() {
            let passed = match &self.running[index] {
                Some(check) => exit_code(&check.process).map(|code| code == 0),
                None => None,
            };
            if let (Some(passed), Some(check)) =
                (passed, passed.and_then(|_| self.running[index].take()))
            {
                self.leave(check.group, None);
                ended.push((index, passed));
            }
        }
        ended
    }

    /// Ends a check with all that belongs to it.
    pub fn end(&mut self, index: usize) {
        if let Some(check) = self.running[index].take() {
            let _ = check.process.signal(Signal::KILL);
            self.leave(check.group, Some(check.process));
        }
    }

    fn leave(&mut self, group: Group, process: Option<Container>) {
        self.leftovers.push(Leftover {
            group,
            process,
            until: Instant::now() + HUNT,
        });
        self.tidy();
    }

    /// Hunts what is left of ended checks; true while there is any.
    pub fn tidy(&mut self) -> bool {
        // A check that was started since stands in the same group.
        let busy = |group: &Group, running: &[Option<Running>]| {
            running.iter().flatten().any(|check| check.group.is(group))
        };
        let running = &self.running;
        self.leftovers.retain_mut(|leftover| {
            if let Some(process) = &leftover.process
                && exit_code(process).is_some()
            {
                leftover.process = None;
            }
            if busy(&leftover.group, running) {
                return leftover.process.is_some();
            }
            let gone = leftover.group.kill(Duration::ZERO).is_ok();
            (!gone || leftover.process.is_some()) && Instant::now() < leftover.until
        });
        !self.leftovers.is_empty()
    }
}

/// `None` while it runs. It is reaped by this.
fn exit_code(process: &Container) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), options) {
        Ok(Some(status)) => Some(status.exit_status().unwrap_or(255)),
        Ok(None) | Err(rustix::io::Errno::INTR) => None,
        Err(_) => Some(255),
    }
}

fn null_streams() -> io::Result<Streams> {
    let read = OwnedFd::from(File::open("/dev/null")?);
    let write = OwnedFd::from(File::options().write(true).open("/dev/null")?);
    Ok(Streams {
        stdin: read,
        stdout: write.try_clone()?,
        stderr: write,
        terminal: None,
    })
}
