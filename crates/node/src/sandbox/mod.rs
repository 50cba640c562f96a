//! Containers: one process tree in its own namespaces, root, limits and filters.
//!
//! The shim calls [`start`] for each container of its task; nobody else does. What must stay true:
//!
//! - Every mount is made in the container's own mount namespace, so that none is left when its last process ends.
//! - The root file system is `nodev`: device nodes that a container makes or an image brings open nothing, on cgroup v1, v2
//!   and hybrid hosts alike. The six devices that programs expect are bound in one by one.
//! - Order at the end: the task's user namespace, the bounding set, the system call filter, the user, the capabilities, exec.
//!   A container without a user namespace gets no new privileges by exec either: its root is the host's.
//! - The caller is single-threaded: between clone and exec the child runs ordinary Rust code.
//!
//! Why this and not a runtime crate: docs/decisions/0004-containers.md.

mod account;
mod capability;
pub mod cgroup;
mod clone;
mod exec;
mod filter;
mod identity;
mod init;
mod join;
mod mounts;
mod pids;
mod seed;
mod spec;
pub mod storage;
mod syscalls;
mod terminal;
mod title;
mod usage;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

pub use cgroup::{CgroupError, Group, Hierarchies, Limits};
pub use clone::{bury_children, close_others, forked, signal, unshare_mounts};
pub use exec::{Neighbour, exec};
pub use identity::{Identity, probe as probe_identities, read_only};
pub use join::{Joined, join};
pub use pids::SharedPids;
pub use spec::{BoundFile, Capabilities, ContainerSpec, Ulimit, VolumeMount};
pub use terminal::{received as received_terminal, received_files, send_files};
pub use title::{ROOM as TITLE_ROOM, set_title};
pub use usage::Usage;

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The container's own fault: its program, user or folder. The text is for its owner.
    #[error("{0}")]
    Refused(String),
    /// The host's fault.
    #[error("{operation}")]
    System {
        operation: String,
        source: io::Error,
    },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

fn system(operation: impl Into<String>) -> impl FnOnce(Errno) -> SandboxError {
    let operation = operation.into();
    move |errno| SandboxError::System {
        operation,
        source: errno.into(),
    }
}

/// What a container reads and writes.
pub struct Streams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Takes the master's end of the terminal that the container gets instead of them ([`received_terminal`]).
    pub terminal: Option<OwnedFd>,
}

/// Where a container runs.
pub struct Place<'a> {
    /// Holds its writable layer.
    pub folder: &'a Path,
    /// Holds the task's volumes.
    pub volumes: &'a Path,
    /// Its limits.
    pub group: &'a Group,
    /// Its task's user namespace; `None`: its ids are the host's.
    pub identity: Option<&'a Identity>,
    /// The caller's children begin in the task's pid namespace.
    pub shared_pids: bool,
}

/// A container whose program has been executed.
#[derive(Debug)]
pub struct Container {
    pub pid: Pid,
    /// Becomes readable when it exits.
    pub pidfd: OwnedFd,
}

impl Container {
    /// Signals its first process; one that is gone is fine.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }
}

/// Starts a container, or starts one again that has ended. Returns when its program was executed. The calling process must
/// be single-threaded and reap the child.
pub fn start(
    spec: &ContainerSpec,
    place: &Place<'_>,
    streams: Streams,
) -> Result<Container, SandboxError> {
    let folder = place.folder;
    for name in ["upper", "work", "root", "lower"] {
        std::fs::create_dir_all(folder.join(name)).map_err(|source| SandboxError::System {
            operation: format!("make {}", folder.join(name).display()),
            source,
        })?;
    }
    for volume in &spec.volumes {
        make_volume(place, &volume.volume)?;
    }
    let netns = match &spec.netns {
        Some(path) => Some(
            rustix::fs::open(
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map_err(system(format!("open network namespace {}", path.display())))?,
        ),
        None => None,
    };
    let kept = capability::kept(&spec.capabilities).map_err(SandboxError::Refused)?;
    let filter = filter::compile(kept)?;
    let entry = place.group.entry()?;
    let (errors, errors_in) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(system("make pipe"))?;
    let setup = init::Setup {
        spec,
        place,
        netns,
        entry: &entry,
        streams,
        filter,
        kept,
    };
    let shared = clone::Shared {
        network: spec.netns.is_some(),
        pids: place.shared_pids,
    };
    let child = clone::container(entry.unified(), shared, || init::run(setup, errors_in))
        .map_err(system("clone the container's process"))?;
    let mut text = String::new();
    let read = File::from(errors).take(1 << 16).read_to_string(&mut text);
    if text.is_empty() && read.is_ok() {
        return Ok(Container {
            pid: child.pid,
            pidfd: child.pidfd,
        });
    }
    // It exits by itself after such a report; reaping it here keeps the caller's books simple.
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(child.pidfd.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
    Err(init::reported(&text))
}

/// A volume is its container's root's, 0755, until an image says otherwise.
fn make_volume(place: &Place<'_>, name: &str) -> Result<(), SandboxError> {
    let path = place.volumes.join(name);
    let made = std::fs::create_dir_all(place.volumes).and_then(|()| std::fs::create_dir(&path));
    let owned = match (made, place.identity) {
        (Err(error), _) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        (Ok(()), Some(identity)) => {
            let root = Some(identity.host_id(0));
            std::os::unix::fs::chown(&path, root, root)
        }
        (made, _) => made,
    };
    owned.map_err(|source| SandboxError::System {
        operation: format!("make volume {}", path.display()),
        source,
    })
}
