//! What a container's first process does before it becomes its program.
//!
//! Runs in the child after clone. Any failure travels as text through a close-on-exec pipe; when exec succeeds the pipe
//! closes by itself, and that silence is how the parent knows.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fogbank_types::ecs::is_namespaced_control;
use rustix::fs::{FileType, Gid, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType};

use super::account::{self, Account};
use super::cgroup::Entry;
use super::clone::Side;
use super::filter::Filter;
use super::identity::{IDS, Identity};
use super::spec::{ContainerSpec, Ulimit};
use super::{Place, SandboxError, Streams, capability, clone, mounts, terminal};

/// Docker's search path for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that the child needs, opened by its parent.
pub struct Setup<'a> {
    pub spec: &'a ContainerSpec,
    pub place: &'a Place<'a>,
    pub netns: Option<OwnedFd>,
    pub entry: &'a Entry,
    pub streams: Streams,
    pub filter: Filter,
    pub kept: CapabilitySet,
}

/// A failure on its way to the parent.
pub(super) enum Failure {
    /// The image's or the task definition's fault.
    Refused(String),
    Host(String, io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => write!(f, "refused\n{text}"),
            Self::Host(operation, error) => write!(
                f,
                "{}\n{operation}",
                error.raw_os_error().unwrap_or(libc::EIO)
            ),
        }
    }
}

fn host<E: Into<io::Error>>(operation: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let operation = operation.into();
    move |error| Failure::Host(operation, error.into())
}

/// Becomes the container's program, or its init, or writes why not and gives the exit code.
pub fn run(setup: Setup<'_>, errors: OwnedFd) -> u8 {
    match become_container(setup) {
        Ok(program) => {
            // The program's own copy says whether it was executed.
            drop(errors);
            clone::forward_and_reap(program)
        }
        Err(failure) => {
            // Nobody else can be told if the parent is gone.
            let _ = fs::File::from(errors).write_all(failure.to_string().as_bytes());
            127
        }
    }
}

/// What the parent makes of the text.
pub fn reported(text: &str) -> SandboxError {
    match text.split_once('\n') {
        Some(("refused", reason)) => SandboxError::Refused(reason.to_owned()),
        Some((errno, operation)) => SandboxError::System {
            operation: operation.to_owned(),
            source: io::Error::from_raw_os_error(errno.parse().unwrap_or(libc::EIO)),
        },
        None => SandboxError::System {
            operation: "start the container's process".to_owned(),
            source: io::Error::other("it ended without a word"),
        },
    }
}

/// Only comes back as an init, with the program's pid, or with a failure.
fn become_container(setup: Setup<'_>) -> Result<i32, Failure> {
    let spec = setup.spec;
    clone::reset_signals();
    setup.entry.enter().map_err(host("enter the cgroup"))?;
    clone::unshare_cgroup().map_err(host("unshare the cgroup namespace"))?;
    if let Some(netns) = &setup.netns {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(netns), Some(kind))
            .map_err(host("enter the network namespace"))?;
    }
    rustix::process::setsid().map_err(host("start a session"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    for (name, value) in &spec.system_controls {
        set_parameter(name, value)?;
    }
    let plan = mounts::Plan {
        spec,
        place: setup.place,
        shown_controllers: setup.entry.shown(),
    };
    mounts::build(&plan).map_err(|(what, error)| Failure::Host(what, error))?;
    rustix::system::sethostname(spec.hostname.as_bytes()).map_err(host("set the host name"))?;
    become_program(setup)
}

/// The last steps, inside: limits, streams, privileges, and the program. Only comes back as an init, with the program's pid, or
/// with a failure.
fn become_program(mut setup: Setup<'_>) -> Result<i32, Failure> {
    let spec = setup.spec;
    for limit in &spec.ulimits {
        set_limit(limit)?;
    }
    let account = find_account(&spec.user)?;
    if let Some(socket) = setup.streams.terminal.take() {
        let streams = terminal::make(&socket).map_err(host("make the terminal"))?;
        setup.streams = streams;
    }
    own_streams(&setup.streams, &account, setup.place.identity)?;
    clone::place_streams(&setup.streams).map_err(host("place the streams"))?;
    clone::close_on_exec().map_err(host("mark descriptors"))?;
    if let Some(identity) = setup.place.identity {
        become_root_of(identity)?;
    }
    // From here on as the container's own root: what is made or looked at is what it could make or look at itself.
    let program = prepare_program(spec, &account)?;
    drop_privileges(&setup, &account)?;
    if spec.init
        && let Side::Init(pid) = clone::fork_program().map_err(host("fork the program"))?
    {
        return Ok(pid);
    }
    Err(execute(program, &spec.args[0]))
}

/// What a program beside a container's own needs, opened by its parent.
pub struct Joining<'a> {
    pub container: BorrowedFd<'a>,
    pub setup: Setup<'a>,
}

/// Becomes a program beside the container's own, or writes why not and gives the exit code.
pub fn join(joining: Joining<'_>, errors: OwnedFd) -> u8 {
    let Err(failure) = become_neighbour(joining);
    let _ = fs::File::from(errors).write_all(failure.to_string().as_bytes());
    127
}

fn become_neighbour(joining: Joining<'_>) -> Result<std::convert::Infallible, Failure> {
    let setup = joining.setup;
    let spec = setup.spec;
    clone::reset_signals();
    // The container's own can see this process from its first moment on; see `become_root_of`.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(host("close the process to others"))?;
    setup.entry.enter().map_err(host("enter the cgroup"))?;
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    rustix::thread::move_into_thread_name_spaces(joining.container, all)
        .map_err(host("enter the container's namespaces"))?;
    rustix::process::setsid().map_err(host("start a session"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    become_program(setup)?;
    let program = spec.args.first().map_or("", String::as_str);
    Err(Failure::Refused(format!("exec: {program:?}: it came back")))
}

/// Programs open their output again by `/dev/stdout`, which asks the pipe's owner.
fn own_streams(
    streams: &Streams,
    account: &Account,
    identity: Option<&Identity>,
) -> Result<(), Failure> {
    let host_id = |id: u32| identity.map_or(id, |identity| identity.host_id(id));
    if identity.is_some() && (account.uid >= IDS || account.groups.iter().any(|id| *id >= IDS)) {
        return Err(Failure::Refused(format!(
            "user {}:{} is beyond the {IDS} ids that a task has",
            account.uid, account.gid
        )));
    }
    let (uid, gid) = (
        Uid::from_raw(host_id(account.uid)),
        Gid::from_raw(host_id(account.gid)),
    );
    for stream in [&streams.stdin, &streams.stdout, &streams.stderr] {
        let found = rustix::fs::fstat(stream).map_err(host("look at the streams"))?;
        // Not /dev/null, which is the host's.
        if FileType::from_raw_mode(found.st_mode) == FileType::Fifo
            || rustix::termios::isatty(stream)
        {
            rustix::fs::fchown(stream, Some(uid), Some(gid)).map_err(host("own the streams"))?;
        }
    }
    Ok(())
}

/// Enters the task's user namespace as its root, with every capability there and none outside.
fn become_root_of(identity: &Identity) -> Result<(), Failure> {
    // Others of the task could look into this process now, and through it at all that the shim has open. Exec gives back
    // what is taken here.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(host("close the process to others"))?;
    enter_as_root(identity).map_err(host("enter the user namespace"))
}

pub fn enter_as_root(identity: &Identity) -> Result<(), Errno> {
    let kind = rustix::thread::LinkNameSpaceType::User;
    rustix::thread::move_into_link_name_space(identity.namespace(), Some(kind))?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    rustix::thread::set_thread_groups(&[gid])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// The namespaces are the container's own by now.
fn set_parameter(name: &str, value: &str) -> Result<(), Failure> {
    let own = is_namespaced_control(name);
    let path = name.replace('.', "/");
    if !own || path.split('/').any(str::is_empty) {
        return Err(Failure::Refused(format!(
            "sysctl {name:?} is not in a separate kernel namespace"
        )));
    }
    fs::write(Path::new("/proc/sys").join(path), value)
        .map_err(|error| Failure::Refused(format!("unable to set sysctl {name}={value}: {error}")))
}

fn find_account(user: &str) -> Result<Account, Failure> {
    let read = |path: &str| match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::Host(format!("read {path}"), error)),
    };
    account::resolve(user, &read("/etc/passwd")?, &read("/etc/group")?).map_err(Failure::Refused)
}

/// Finds the program and sets up its surroundings, so that nothing but exec is left after the filter.
pub(super) fn prepare_program(spec: &ContainerSpec, account: &Account) -> Result<Command, Failure> {
    let name = spec
        .args
        .first()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Failure::Refused("no command specified".to_owned()))?;
    let mut environment: Vec<(&str, &str)> = spec
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .collect();
    for (name, value) in [
        ("PATH", DEFAULT_PATH),
        ("HOME", &account.home),
        ("HOSTNAME", &spec.hostname),
    ] {
        if !environment.iter().any(|(known, _)| *known == name) {
            environment.push((name, value));
        }
    }
    let search = environment
        .iter()
        .find(|(name, _)| *name == "PATH")
        .map_or("", |(_, value)| *value);
    let cwd = if spec.cwd.is_empty() { "/" } else { &spec.cwd };
    // Docker makes a missing working folder.
    match fs::create_dir_all(cwd) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failure::Refused(format!(
                "unable to create working directory {cwd:?}: {error}"
            )));
        }
        _ => {}
    }
    rustix::process::chdir(cwd).map_err(|error| {
        Failure::Refused(format!(
            "unable to enter working directory {cwd:?}: {error}"
        ))
    })?;
    let path = find_program(name, search)?;
    let mut command = Command::new(path);
    command
        .arg0(name)
        .args(&spec.args[1..])
        .env_clear()
        .envs(environment);
    Ok(command)
}

/// As a shell looks for it: a name with a slash is a path, any other is looked for in PATH.
fn find_program(name: &str, search: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let is_program = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    search
        .split(':')
        .map(|folder| Path::new(if folder.is_empty() { "." } else { folder }).join(name))
        .find(is_program)
        // An absolute path: a relative one would be searched again.
        .map(|path| {
            if path.is_absolute() {
                path
            } else {
                Path::new("./").join(path)
            }
        })
        .ok_or_else(|| {
            Failure::Refused(format!(
                "exec: {name:?}: executable file not found in $PATH"
            ))
        })
}

fn drop_privileges(setup: &Setup<'_>, account: &Account) -> Result<(), Failure> {
    capability::bound(setup.kept).map_err(host("cut the bounding set"))?;
    // Where root is the host's, nobody becomes root by a program's set-user-ID bit. Fargate knows no such rule, and where root
    // is the task's own there is none.
    if setup.place.identity.is_none() {
        rustix::thread::set_no_new_privs(true).map_err(host("forbid new privileges"))?;
    }
    // While there is CAP_SYS_ADMIN: what follows is on the filter's list.
    setup.filter.apply().map_err(host("apply the filter"))?;
    let groups: Vec<Gid> = account
        .groups
        .iter()
        .map(|group| Gid::from_raw(*group))
        .collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    rustix::thread::set_thread_groups(&groups).map_err(host("set groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(host("set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(host("set the user"))?;
    capability::cut(setup.kept).map_err(host("cut capabilities"))?;
    // A container without its shim has no log and no one to report to; the kernel ends it. After the last change of ids,
    // which would undo it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(host("tie to the shim"))
}

pub(super) fn execute(mut program: Command, name: &str) -> Failure {
    let error = program.exec();
    let reason = match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        Some(libc::EISDIR) => "is a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::Refused(format!("exec: {name:?}: {reason}"))
}

pub(super) fn set_limit(limit: &Ulimit) -> Result<(), Failure> {
    // They would let its processes go before all others of the host, past every limit of the CPU: real-time processes are
    // not held by a group's quota. On Fargate the host's own values count for all but `nofile` ("Ulimit", ECS API reference).
    if matches!(limit.name.as_str(), "nice" | "rtprio") {
        return Ok(());
    }
    let resource = match limit.name.as_str() {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        other => return Err(Failure::Refused(format!("unknown ulimit {other:?}"))),
    };
    let value = |limit: i64| u64::try_from(limit).ok();
    let new = Rlimit {
        current: value(limit.soft),
        maximum: value(limit.hard),
    };
    let have = rustix::process::getrlimit(resource);
    let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    // A host that holds us ourselves to less can only pass that on.
    let held = Rlimit {
        current: lower(new.current, have.maximum),
        maximum: lower(new.maximum, have.maximum),
    };
    let set = match rustix::process::setrlimit(resource, new) {
        Err(rustix::io::Errno::PERM) => rustix::process::setrlimit(resource, held),
        other => other,
    };
    set.map_err(|error| Failure::Refused(format!("unable to set ulimit {}: {error}", limit.name)))
}
