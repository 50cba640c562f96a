//! `fogbank shim --bundle <dir>`: the parent of one task's containers.
//!
//! The agent writes `task.json` into the bundle and starts a shim, detached; the shim starts the containers, copies their
//! output to the log, waits for them and says what happened: live on `shim.sock`, for good in `state.json`. What must stay
//! true:
//!
//! - It outlives the agent and everything else, and needs none of it.
//! - `state.json` is replaced whole, and its last form is written before the shim ends.
//! - When it ends by itself, no process and no cgroup of the task is left.
//! - It is single-threaded: containers are cloned from it. It uses poll, not an async runtime, and stays small.

mod checks;
mod client;
mod forks;
mod ground;
mod machine;
mod output;
mod server;
mod sink;
mod state;
mod supervise;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

pub use client::{Client, ClientError, connect, order_line, read_state};
pub use forks::{Shims, fork_all};
pub use sink::LogOptions;
pub use state::{
    Cause, ContainerState, Dependency, HealthCheck, Order, Phase, Restart, TaskContainer, TaskSpec,
    TaskState,
};

pub(crate) use supervise::group_name;

use crate::sandbox::{self, CgroupError};

/// File in the bundle: what to run.
pub const SPEC_FILE: &str = "task.json";
/// File in the bundle: what came of it.
pub const STATE_FILE: &str = "state.json";
/// Socket in the bundle.
pub const SOCKET: &str = "shim.sock";

/// Why a shim can't do its work at all.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{0} is not a task description")]
    Spec(PathBuf, #[source] serde_json::Error),
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShimError {
    let path = path.to_path_buf();
    move |source| ShimError::Io {
        operation,
        path,
        source,
    }
}

/// Set for the second half of [`main`].
pub(crate) const SEALED: &str = "FOGBANK_SHIM_SEALED";

/// The program as a process of its own, which executes itself again as `<itself> shim --bundle <bundle>`. The agent's are
/// forked ([`Shims`]).
pub fn main(bundle: &Path) -> Result<(), ShimError> {
    let bundle = &bundle.canonicalize().map_err(failed("find", bundle))?;
    if std::env::var_os(SEALED).is_none() {
        return Err(seal(&["shim", "--bundle"], Some(bundle), &[]));
    }
    run(bundle)
}

/// Detaches the calling, sealed and single-threaded process from everything above it, and runs the bundle's task to its end.
fn run(bundle: &Path) -> Result<(), ShimError> {
    // Fails harmlessly for a process group's leader, which is detached already.
    let _ = rustix::process::setsid();
    sandbox::unshare_mounts()
        .and_then(|()| {
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private)
        })
        .map_err(|error| ShimError::System("unshare the mounts", error.into()))?;
    rustix::process::chdir(bundle).map_err(|error| failed("enter", bundle)(error.into()))?;
    let text = fs::read(SPEC_FILE).map_err(failed("read", Path::new(SPEC_FILE)))?;
    let spec: TaskSpec = serde_json::from_slice(&text)
        .map_err(|error| ShimError::Spec(bundle.join(SPEC_FILE), error))?;
    supervise::run(spec, bundle)
}

/// Executes itself again, from a mount through which it can't be written. A container's first process is this program until
/// it executes the image's, and for that moment `/proc/self/exe` in the container leads to this file: it must not be
/// writable there (the lesson of CVE-2019-5736). Only comes back with an error.
///
/// `environment` names what it gets of ours besides the log's settings.
pub(crate) fn seal(arguments: &[&str], last: Option<&Path>, environment: &[&str]) -> ShimError {
    let sealed = match sealed_program() {
        Ok(sealed) => sealed,
        Err(source) => return ShimError::System("seal the shim's program", source),
    };
    let mut again = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()));
    again
        .arg0("fogbank")
        .args(arguments)
        .args(last)
        .env_clear()
        .env(SEALED, "1");
    for name in ["FOGBANK_LOG", "RUST_BACKTRACE"].iter().chain(environment) {
        if let Some(value) = std::env::var_os(name) {
            again.env(name, value);
        }
    }
    ShimError::System("execute the sealed shim", again.exec())
}

fn sealed_program() -> io::Result<OwnedFd> {
    match sandbox::read_only(Path::new("/proc/self/exe")) {
        // The program's file was replaced while the region runs, and the kernel mounts nothing that has no name.
        Err(Errno::NOENT | Errno::INVAL) => {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let mut copy = fs::File::from(rustix::fs::memfd_create("fogbank", flags)?);
            io::copy(&mut fs::File::open("/proc/self/exe")?, &mut copy)?;
            let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
            rustix::fs::fcntl_add_seals(&copy, all)?;
            Ok(copy.into())
        }
        other => Ok(other?),
    }
}
