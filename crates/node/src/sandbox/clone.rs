//! The one system call that makes a container's first process.

#![allow(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// Beyond the 32 bits that the libc crate's type has for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The new process as its parent sees it.
pub struct Child {
    pub pid: Pid,
    pub pidfd: OwnedFd,
}

/// Which namespaces a container shares with others instead of having its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// A network namespace is joined later.
    pub network: bool,
    /// The pid namespace that this process's children are in already.
    pub pids: bool,
}

/// Clones into new mount, pid, ipc and uts namespaces (and a network namespace), into the given group of the unified cgroup
/// hierarchy if there is one, and runs `body` there. The child never returns from here.
pub fn container(
    unified: Option<BorrowedFd<'_>>,
    shared: Shared,
    body: impl FnOnce() -> u8,
) -> Result<Child, Errno> {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if !shared.network {
        flags |= libc::CLONE_NEWNET;
    }
    if !shared.pids {
        flags |= libc::CLONE_NEWPID;
    }
    cloned(flags, unified, body)
}

/// The first process of a pid namespace that a task's containers share, in mount, network, ipc and uts namespaces of its own.
/// Containers follow it there by [`enter_pids`].
pub fn pid_namespace_holder(
    unified: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> u8,
) -> Result<Child, Errno> {
    container(unified, Shared::default(), body)
}

/// Lets the children of the calling process begin in the pid namespace of that process.
pub fn enter_pids(holder: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no pointers; the caller itself stays where it is.
    match unsafe { libc::setns(holder.as_raw_fd(), libc::CLONE_NEWPID) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Buries the orphans of a pid namespace as its first process, for ever, with nothing open.
pub fn reap_forever() -> u8 {
    // SAFETY: no descriptor is used after this; the process ends by a signal, so nothing closes them again. The set is
    // initialised before use, and SIGCHLD is blocked before the first look, so that none is missed.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) != 0 {
            return 126;
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        loop {
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
            libc::sigwaitinfo(&set, std::ptr::null_mut());
        }
    }
}

/// Clones into the pid namespace of the container with that first process, into the given group of the unified hierarchy if
/// there is one, and runs `body` there. The child never returns from here.
pub fn beside(
    container: BorrowedFd<'_>,
    unified: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> u8,
) -> Result<Child, Errno> {
    use rustix::thread::ThreadNameSpaceType;
    // A process never leaves its own pid namespace; this says where its children begin, and afterwards it says what it said.
    let before = rustix::fs::open(
        "/proc/self/ns/pid_for_children",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let pids = ThreadNameSpaceType::PROCESS_ID;
    rustix::thread::move_into_thread_name_spaces(container, pids)?;
    let made = cloned(0, unified, body);
    let kind = rustix::thread::LinkNameSpaceType::ProcessID;
    rustix::thread::move_into_link_name_space(before.as_fd(), Some(kind))?;
    made
}

/// A process in a new user namespace that does nothing until it is killed. Callable from a process with threads.
pub fn user_namespace_holder() -> Result<Child, Errno> {
    cloned(libc::CLONE_NEWUSER, None, || {
        // SAFETY: neither call has pointers or locks: they are all that the child does beside its parent's threads' memory.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    })
}

/// Closes all but the standard descriptors. For a process that uses none of the others any more and leaves by _exit.
pub fn close_others() -> Result<(), Errno> {
    // SAFETY: the caller says that no descriptor from 3 on is used after this, and nothing closes them again.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    match closed {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Forks the calling, single-threaded process and runs `body` in the child, which never returns from here. The child's
/// children are its own to bury, whatever the parent does with its.
pub fn forked(body: impl FnOnce() -> u8) -> Result<Child, Errno> {
    cloned(0, None, || {
        // SAFETY: a valid disposition of an existing signal.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        body()
    })
}

/// The kernel buries children of the calling process; nobody waits for them.
pub fn bury_children() {
    // SAFETY: a valid disposition of an existing signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn cloned(
    flags: libc::c_int,
    unified: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> u8,
) -> Result<Child, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain old data for which all zeroes are the kernel's defaults.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (flags | libc::CLONE_PIDFD) as u64;
    arguments.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = unified {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM and no stack given, so this is a fork: the child has its own copy of all memory and goes on
    // right here. `arguments` and `pidfd` are alive and of the sizes named. The process is single-threaded (this
    // module's callers guarantee it), so no lock can be held by a thread that the child lacks; the one body that is used
    // from others takes none.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut arguments),
            size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => {
            // A panic must not unwind into the caller's frames, which belong to the parent.
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(127);
            // SAFETY: _exit runs no destructors and no exit handlers, which are the parent's to run.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid if pid > 0 => {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .expect("the kernel gives positive pids");
            // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor there, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid, pidfd })
        }
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Installs a system call filter for good. Unlike the crate's own way it leaves no_new_privs alone; the caller then needs
/// CAP_SYS_ADMIN in its user namespace.
pub fn install_filter(program: seccompiler::BpfProgramRef<'_>) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: both types have the kernel's layout; the kernel only reads, and copies, what the pointers lead to.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&program),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Unshares the cgroup namespace, so that the group the caller is in looks like the root.
pub fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: unlike CLONE_FILES, a cgroup namespace has no influence on the validity of descriptors or memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
}

/// Gives the calling, single-threaded process a mount namespace of its own.
pub fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: a mount namespace has no influence on the validity of descriptors or memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// The signal of this number; one that doesn't exist becomes SIGTERM.
pub fn signal(number: i32) -> Signal {
    if !(1..=64).contains(&number) {
        return Signal::TERM;
    }
    // SAFETY: the number is in the kernel's range. Real-time signals that libc reserves for itself are only ever sent from
    // here to programs of containers, never to this process.
    unsafe { Signal::from_raw_unchecked(number) }
}

/// Sets every signal back to its default: ignored ones would stay ignored through exec (Rust ignores SIGPIPE), and an
/// empty mask.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition; refusals (SIGKILL, SIGSTOP, glibc's own) are of no interest.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: `set` is initialised by sigemptyset before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Marks every descriptor from 3 on close-on-exec, whoever opened it.
pub fn close_on_exec() -> Result<(), Errno> {
    // SAFETY: the flag only marks descriptors; none is closed before exec.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Which side of [`fork_program`] one is on.
pub enum Side {
    Program,
    /// The program's pid in this namespace.
    Init(i32),
}

/// Forks the calling, single-threaded process; signals are blocked in the one that becomes init, and not in the other.
///
/// Neither can be looked into from before there are two: the program may run while init is still held up, with all that
/// the shim had open. Exec gives the program back what it loses by that.
pub fn fork_program() -> Result<Side, Errno> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // SAFETY: `all` and `none` are initialised before use. The process is single-threaded, so fork copies no held lock.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        match libc::fork() {
            0 => {
                libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
                Ok(Side::Program)
            }
            pid if pid > 0 => Ok(Side::Init(pid)),
            _ => {
                Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN))
            }
        }
    }
}

/// Init's work: passes every signal on to the program and reaps orphans, until the program ends; gives its exit code.
///
/// It has no exec that would close what the shim had open, and it is the one process of a container that must not keep
/// any of it: a descriptor of a host folder is a way out (CVE-2024-21626).
pub fn forward_and_reap(program: i32) -> u8 {
    if close_others().is_err() {
        return 126;
    }
    loop {
        // SAFETY: `all` is initialised by sigfillset. Signals are blocked since before the fork, so none is lost, and those
        // that the kernel would not deliver to a namespace's init are queued all the same.
        let signal = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigwaitinfo(&all, std::ptr::null_mut())
        };
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: no memory is involved; the program is our child and not yet reaped, so the pid is its.
            unsafe { libc::kill(program, signal) };
        }
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            let ended = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if ended <= 0 {
                break;
            }
            if ended == program {
                let code = if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
                return u8::try_from(code).unwrap_or(u8::MAX);
            }
        }
    }
}

/// Puts the three streams in their places, which also clears their close-on-exec.
pub fn place_streams(streams: &super::Streams) -> Result<(), Errno> {
    for (stream, place) in [
        (&streams.stdin, 0),
        (&streams.stdout, 1),
        (&streams.stderr, 2),
    ] {
        // SAFETY: the source is open; the target is one of the standard descriptors, which Rust never owns as OwnedFd.
        let done = unsafe { libc::dup2(stream.as_raw_fd(), place) };
        if done < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code of a forked process.
    fn exit_code(pid: i32) -> i32 {
        let mut status = 0;
        // SAFETY: `status` outlives the call; the child is ours and not yet reaped.
        let got = unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(got == pid && libc::WIFEXITED(status), "{status:#x}");
        libc::WEXITSTATUS(status)
    }

    /// Whether the calling process can be looked into; no allocation, for it runs between fork and exit.
    fn dumpable() -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
    }

    #[test]
    fn nobody_looks_into_an_init_that_has_not_closed_its_descriptors() {
        // SAFETY: the children make plain system calls only and leave by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = match fork_program() {
                Ok(Side::Program) => 0,
                // As it is in the first moment after the fork.
                Ok(Side::Init(_)) => 10 + dumpable(),
                Err(_) => 3,
            };
            // SAFETY: runs no destructors and no exit handlers.
            unsafe { libc::_exit(code) }
        }
        assert_eq!(exit_code(child), 10);
    }
}
