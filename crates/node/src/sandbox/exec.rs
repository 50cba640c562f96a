//! A program beside a container's own: in all its namespaces, in a group of its own below the container's, with its user,
//! limits and privileges.
//!
//! The shim runs health checks by it. What must stay true: the caller is never held up by what the container has done to its
//! own files, so nothing here waits for the program to be executed.

use std::os::fd::{AsFd as _, OwnedFd};

use super::{
    Container, ContainerSpec, Place, SandboxError, Streams, capability, clone, filter, init, system,
};

/// A program that was started.
pub struct Neighbour {
    /// Of the program; its exit code is 127 if it could not be executed.
    pub process: Container,
    /// At its end once the program was executed; holds the reason if it was not.
    pub errors: OwnedFd,
}

/// Starts the program that `spec.args` say beside the one of `container`, whose place this is but for the group: that is made
/// below the container's. The caller must be single-threaded and reap the child.
pub fn exec(
    spec: &ContainerSpec,
    container: &Container,
    place: &Place<'_>,
    streams: Streams,
) -> Result<Neighbour, SandboxError> {
    place.group.create_within()?;
    let kept = capability::kept(&spec.capabilities).map_err(SandboxError::Refused)?;
    let filter = filter::compile(kept)?;
    let entry = place.group.entry()?;
    let (errors, errors_in) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(system("make pipe"))?;
    // Its first process would only be in the way: whoever watches a neighbour watches the program itself.
    let spec = ContainerSpec {
        init: false,
        ..spec.clone()
    };
    let joining = init::Joining {
        container: container.pidfd.as_fd(),
        setup: init::Setup {
            spec: &spec,
            place,
            netns: None,
            entry: &entry,
            streams,
            filter,
            kept,
        },
    };
    let body = || init::join(joining, errors_in);
    let child = clone::beside(container.pidfd.as_fd(), entry.unified(), body)
        .map_err(system("clone a process beside the container's"))?;
    Ok(Neighbour {
        process: Container {
            pid: child.pid,
            pidfd: child.pidfd,
        },
        errors,
    })
}
