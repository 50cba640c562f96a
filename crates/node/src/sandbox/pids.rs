//! The pid namespace that a task's containers share (`pidMode: task`), and the process that keeps it.
//!
//! That process is the namespace's first and buries orphans. It is never executed anew, so it must have nothing that a
//! container could reach through it: no descriptor, an empty root, the task's ids, and no way to look into it.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions};
use rustix::thread::CapabilitySet;

use super::filter::{self, Filter};
use super::{Group, Identity, SandboxError, capability, clone, init, mounts, system};

/// The group of the process; no container has a name with a point.
const GROUP: &str = "fogbank.pause";

/// Ends the namespace, with all that is in it, when it is dropped.
pub struct SharedPids {
    holder: clone::Child,
}

impl SharedPids {
    /// Makes the namespace; every child that the calling process has from here on begins in it. `folder` is an empty root's
    /// place.
    pub fn make(
        task: &Group,
        folder: &Path,
        identity: Option<&Identity>,
    ) -> Result<Self, SandboxError> {
        fs::create_dir_all(folder).map_err(|source| SandboxError::System {
            operation: format!("make {}", folder.display()),
            source,
        })?;
        let group = task.child(GROUP);
        group.create(&super::Limits::default())?;
        let entry = group.entry()?;
        let filter = filter::compile(CapabilitySet::empty())?;
        let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(system("make pipe"))?;
        let holder = clone::pid_namespace_holder(entry.unified(), || {
            match enter(&entry, folder, identity, &filter) {
                Ok(()) if rustix::io::write(&tell, b"1").is_ok() => clone::reap_forever(),
                _ => 1,
            }
        })
        .map_err(system("clone the pid namespace's first process"))?;
        drop(tell);
        let made = Self { holder };
        let mut byte = [0];
        if rustix::io::read(&ready, &mut byte).unwrap_or(0) != 1 {
            return Err(system("set up the pid namespace's first process")(
                Errno::IO,
            ));
        }
        clone::enter_pids(made.holder.pidfd.as_fd()).map_err(system("enter the pid namespace"))?;
        Ok(made)
    }
}

impl Drop for SharedPids {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.holder.pidfd, Signal::KILL);
        let pidfd = WaitId::PidFd(self.holder.pidfd.as_fd());
        let _ = rustix::process::waitid(pidfd, WaitIdOptions::EXITED);
    }
}

fn enter(
    entry: &super::cgroup::Entry,
    folder: &Path,
    identity: Option<&Identity>,
    filter: &Filter,
) -> Result<(), Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    entry.enter().map_err(io)?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", folder, "tmpfs", flags, c"size=0,mode=0")?;
    mounts::enter(folder).map_err(|(_, error)| io(error))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if let Some(identity) = identity {
        init::enter_as_root(identity)?;
    }
    capability::bound(CapabilitySet::empty())?;
    rustix::thread::set_no_new_privs(true)?;
    filter.apply()?;
    capability::cut(CapabilitySet::empty())?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}
