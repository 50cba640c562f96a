//! A further process in a container that runs: a command on a terminal of the container's own (ECS Exec).
//!
//! Called by `exec::session`, a process of its own for each session. What must stay true: the command gets what the
//! container's own programs have and nothing more - namespaces, user namespace, control group, capabilities, limits and
//! filter - and lives no longer than the container, whose pid namespace it is in; nothing that the container wrote is
//! followed on the way there.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::process::Command;

use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal};
use rustix::pty::OpenptFlags;
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};

use super::account::Account;
use super::cgroup::Entry;
use super::filter::Filter;
use super::init::{execute, prepare_program, set_limit};
use super::spec::ContainerSpec;
use super::{Container, Group, SandboxError, capability, clone, filter, system};

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS: i64 = 0x1cd1;
const NAMESPACES: [(&str, LinkNameSpaceType); 5] = [
    ("cgroup", LinkNameSpaceType::ControlGroup),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    // Last: what is looked up after it is the container's.
    ("mnt", LinkNameSpaceType::Mount),
];

/// A command that was executed, and the master of its terminal.
pub struct Joined {
    pub process: Container,
    pub master: OwnedFd,
}

/// Executes `args` as root in the container whose process `pid` is and whose group `group` is. `spec` is the container's.
/// The calling process must be single-threaded, and has no other use: its children belong to the container from here on.
pub fn join(
    pid: i32,
    group: &Group,
    spec: &ContainerSpec,
    args: Vec<String>,
) -> Result<Joined, SandboxError> {
    let target = Pid::from_raw(pid).ok_or_else(gone)?;
    let pidfd = rustix::process::pidfd_open(target, PidfdFlags::empty())
        .map_err(system("find the container"))?;
    // From here on the number can't become another's unnoticed.
    if !group.processes().contains(&target) {
        return Err(gone());
    }
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(system(format!("open {path}")))
    };
    let mut namespaces = Vec::new();
    for (name, kind) in NAMESPACES {
        namespaces.push((open(name)?, kind));
    }
    let identity = UserNamespace::of(pid, &open)?;
    let (master, terminal) = terminal(pid, identity.as_ref())?;
    let kept = capability::kept(&spec.capabilities).map_err(SandboxError::Refused)?;
    let filter = filter::compile(kept)?;
    let entry = group.entry()?;
    let unified = group.processes_file()?;
    // The process that all of this was opened of is still there.
    rustix::process::pidfd_send_signal(&pidfd, Signal::CONT).map_err(|_| gone())?;
    move_into_link_name_space(open("pid")?.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .map_err(system("enter the pid namespace"))?;
    let (errors, errors_in) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(system("make pipe"))?;
    let setup = Setup {
        spec: ContainerSpec {
            args,
            ..spec.clone()
        },
        entry,
        unified,
        namespaces,
        terminal,
        identity,
        kept,
        filter,
    };
    let process = fork(|| {
        let failure = match setup.prepare() {
            Ok(program) => execute(program, &setup.spec.args[0]).to_string(),
            Err(failure) => failure,
        };
        // Nobody else can be told if the parent is gone.
        let _ = File::from(errors_in).write_all(failure.as_bytes());
        127
    })
    .map_err(system("fork the command's process"))?;
    let mut text = String::new();
    let read = io::Read::read_to_string(&mut File::from(errors), &mut text);
    match read {
        Ok(0) => Ok(Joined { process, master }),
        _ => Err(SandboxError::Refused(
            text.strip_prefix("refused\n").unwrap_or(&text).to_owned(),
        )),
    }
}

/// All that the command's process needs, opened by its parent.
struct Setup {
    spec: ContainerSpec,
    entry: Entry,
    unified: Option<File>,
    namespaces: Vec<(OwnedFd, LinkNameSpaceType)>,
    terminal: OwnedFd,
    identity: Option<UserNamespace>,
    kept: CapabilitySet,
    filter: Filter,
}

impl Setup {
    /// Up to the command's execution. The order is the one of a container's first process (`init`).
    fn prepare(&self) -> Result<Command, String> {
        clone::reset_signals();
        self.enter()
            .map_err(|error| format!("enter the container: {error}"))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for limit in &self.spec.ulimits {
            set_limit(limit).map_err(|failure| failure.to_string())?;
        }
        self.take_terminal().map_err(said("take the terminal"))?;
        // Others of the container could look into this process now, and through it at all that its parent has open.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(said("close the process to others"))?;
        if let Some(identity) = &self.identity {
            move_into_link_name_space(identity.file.as_fd(), Some(LinkNameSpaceType::User))
                .map_err(said("enter the user namespace"))?;
        }
        become_root().map_err(said("become root"))?;
        let account = Account {
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: "/root".to_owned(),
        };
        let program =
            prepare_program(&self.spec, &account).map_err(|failure| failure.to_string())?;
        self.drop_privileges().map(|()| program)
    }

    fn enter(&self) -> io::Result<()> {
        self.entry.enter()?;
        if let Some(mut file) = self.unified.as_ref() {
            file.write_all(b"0")?;
        }
        for (namespace, kind) in &self.namespaces {
            move_into_link_name_space(namespace.as_fd(), Some(*kind))?;
        }
        Ok(())
    }

    fn take_terminal(&self) -> Result<(), Errno> {
        rustix::process::setsid()?;
        rustix::process::ioctl_tiocsctty(&self.terminal)?;
        clone::place_streams(&place(&self.terminal)?)?;
        clone::close_on_exec()
    }

    fn drop_privileges(&self) -> Result<(), String> {
        capability::bound(self.kept).map_err(said("cut the bounding set"))?;
        if self.identity.is_none() {
            rustix::thread::set_no_new_privs(true).map_err(said("forbid new privileges"))?;
        }
        let applied = self.filter.apply();
        applied.map_err(|error| format!("apply the filter: {error}"))?;
        capability::cut(self.kept).map_err(said("cut capabilities"))?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(said("tie to the session"))
    }
}

fn said(what: &'static str) -> impl FnOnce(Errno) -> String {
    move |error| format!("{what}: {error}")
}

fn gone() -> SandboxError {
    SandboxError::Refused("the container is not running".to_owned())
}

/// The container's, if it has one of its own.
struct UserNamespace {
    file: OwnedFd,
    /// Its root, as the host knows it.
    root: u32,
}

impl UserNamespace {
    fn of(
        pid: i32,
        open: &impl Fn(&str) -> Result<OwnedFd, SandboxError>,
    ) -> Result<Option<Self>, SandboxError> {
        let failed = |operation: String| move |source| SandboxError::System { operation, source };
        let path = format!("/proc/{pid}/ns/user");
        let theirs = fs::read_link(&path).map_err(failed(format!("read {path}")))?;
        let own = fs::read_link("/proc/self/ns/user").map_err(failed("read own ns".to_owned()))?;
        if theirs == own {
            return Ok(None);
        }
        let path = format!("/proc/{pid}/uid_map");
        let map = fs::read_to_string(&path).map_err(failed(format!("read {path}")))?;
        let root = map.lines().find_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u32>);
            match (numbers.next(), numbers.next()) {
                (Some(Ok(0)), Some(Ok(host))) => Some(host),
                _ => None,
            }
        });
        let root = root.ok_or_else(gone)?;
        Ok(Some(Self {
            file: open("user")?,
            root,
        }))
    }
}

/// A new terminal of the container's devpts: its master, and the end that the command gets.
///
/// The container may have put anything at `/dev/pts/ptmx`: no link is followed, nothing but a devpts is taken, and the other
/// end is found by the master and not by a name.
fn terminal(
    pid: i32,
    identity: Option<&UserNamespace>,
) -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())
        .map_err(system("open the container's root"))?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Looked at before it is opened: opening a device may do something.
    let path = rustix::fs::openat2(
        &root,
        "dev/pts/ptmx",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .map_err(system("find the container's terminals"))?;
    let kind = rustix::fs::fstatfs(&path).map_err(system("look at the terminals"))?;
    let found = rustix::fs::fstat(&path).map_err(system("look at the terminals"))?;
    if kind.f_type != DEVPTS || found.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(SandboxError::Refused(
            "the container has no /dev/pts".to_owned(),
        ));
    }
    let master = rustix::fs::openat2(
        &root,
        "dev/pts/ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .map_err(system("open a terminal"))?;
    let kind = rustix::fs::fstatfs(&master).map_err(system("look at the terminal"))?;
    if kind.f_type != DEVPTS {
        return Err(SandboxError::Refused(
            "the container has no /dev/pts".to_owned(),
        ));
    }
    rustix::pty::unlockpt(&master).map_err(system("unlock the terminal"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags)
        .map_err(system("open the terminal's other end"))?;
    if let Some(identity) = identity {
        let (uid, gid) = (Uid::from_raw(identity.root), Gid::from_raw(identity.root));
        rustix::fs::fchown(&terminal, Some(uid), Some(gid)).map_err(system("own the terminal"))?;
    }
    Ok((master, terminal))
}

fn place(terminal: &OwnedFd) -> Result<super::Streams, Errno> {
    let copy = || rustix::io::fcntl_dupfd_cloexec(terminal, 3);
    Ok(super::Streams {
        stdin: copy()?,
        stdout: copy()?,
        stderr: copy()?,
        terminal: None,
    })
}

fn become_root() -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    rustix::thread::set_thread_groups(&[gid])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Forks the calling, single-threaded process; the child runs `body` and ends.
fn fork(body: impl FnOnce() -> u8) -> Result<Container, Errno> {
    // SAFETY: the process is single-threaded (this module's callers guarantee it), so no lock can be held by a thread that
    // the child lacks; the child leaves by exec or _exit.
    match unsafe { libc::fork() } {
        0 => {
            // A panic must not unwind into the caller's frames, which belong to the parent.
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(127);
            // SAFETY: _exit runs no destructors and no exit handlers, which are the parent's to run.
            unsafe { libc::_exit(i32::from(code)) }
        }
        number if number > 0 => {
            let pid = Pid::from_raw(number).expect("the kernel gives positive pids");
            // SAFETY: the child is ours and not reaped, so the number is its; the call takes no memory.
            let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
            let pidfd = i32::try_from(pidfd)
                .ok()
                .filter(|descriptor| *descriptor >= 0)
                .ok_or(Errno::IO)?;
            // SAFETY: the kernel has just made it, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Container { pid, pidfd })
        }
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
    }
}
