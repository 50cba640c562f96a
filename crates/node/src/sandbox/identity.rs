//! Who a task's processes are to the host: a user namespace with a range of ids of the task's own.
//!
//! The shim claims one for its task and holds it; every container of the task enters it as its last step before it gives up
//! its capabilities. What must stay true:
//!
//! - No two living tasks of a machine have a range in common, whatever instance of fogbank they belong to.
//! - All namespaces but this one are the host's: no capability of a container reaches its mounts, host name or network.
//! - Files of layers lie on the disk with the image's own ids and are shared by all tasks; a mount of them that is made for
//!   the task shows them with the task's (docs/decisions/0021-isolation.md).

#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::{SandboxError, clone, system};

/// Ids of a task: all that an image can reasonably name.
pub const IDS: u32 = 65_536;
/// Within what systemd sets aside for containers (524,288 to 1,879,048,191) and above all that `useradd` gives to users in
/// `/etc/subuid` (up to 600,100,000). <https://systemd.io/UIDS-GIDS/>
const FIRST_ID: u32 = 0x6000_0000;
const RANGES: u32 = 4096;
/// A file for each range that was ever used on this machine; whoever locks it has the range. Its name is none of an instance.
const CLAIMS: &str = "/run/fogbank/.ids";

const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A range of ids and the namespace that they make up.
#[derive(Debug)]
pub struct Identity {
    namespace: OwnedFd,
    base: u32,
    /// The kernel lets go of it with the process, however that ends.
    _claim: File,
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

impl Identity {
    /// Takes a free range, beginning where the task's id says, and makes a namespace of it.
    pub fn claim(task: &str) -> Result<Self, SandboxError> {
        fs::create_dir_all(CLAIMS).map_err(|source| SandboxError::System {
            operation: format!("make {CLAIMS}"),
            source,
        })?;
        let first = first_range(task);
        for step in 0..RANGES {
            let number = (first + step) % RANGES;
            let path = Path::new(CLAIMS).join(number.to_string());
            let opened = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            let claim = opened.map_err(|source| SandboxError::System {
                operation: format!("open {}", path.display()),
                source,
            })?;
            match rustix::fs::flock(&claim, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let base = FIRST_ID + number * IDS;
                    return Ok(Self {
                        namespace: namespace(base)?,
                        base,
                        _claim: claim,
                    });
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => {
                    return Err(system(format!("lock {}", path.display()))(error));
                }
            }
        }
        Err(SandboxError::Refused(
            "no range of user ids is left on this host".to_owned(),
        ))
    }

    /// The host's number for an id of the task.
    pub fn host_id(&self, id: u32) -> u32 {
        self.base + id
    }

    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// A mount of a folder of the host, attached nowhere yet, that shows its files with the task's ids.
    pub fn mapped(&self, folder: &Path) -> Result<OwnedFd, Errno> {
        let tree = rustix::mount::open_tree(
            rustix::fs::CWD,
            folder,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?;
        set_attributes(tree.as_fd(), MOUNT_ATTR_IDMAP, Some(self.namespace.as_fd()))?;
        Ok(tree)
    }
}

/// Sets attributes of a mount that is attached nowhere yet.
fn set_attributes(
    tree: BorrowedFd<'_>,
    set: u64,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = MountAttributes {
        set,
        clear: 0,
        propagation: 0,
        user_namespace: user_namespace.map_or(0, |namespace| namespace.as_raw_fd() as u64),
    };
    // SAFETY: the path is an empty, terminated string; the attributes live and are of the size named; the descriptors are
    // open.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_mut(&mut attributes),
            size_of::<MountAttributes>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// A file by a mount of its own, attached nowhere, through which nobody can write it.
pub fn read_only(file: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, file, flags)?;
    set_attributes(tree.as_fd(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, None)?;
    Ok(tree)
}

/// Whether tasks of this host can have ids of their own, with their layers in this folder; the error says what is missing.
pub fn probe(layers: &Path) -> Result<(), String> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    if !overlays_take_mapped_layers(&release) {
        return Err(format!(
            "kernel {release} is older than 5.19, whose overlays take id-mapped layers"
        ));
    }
    let identity = Identity::claim("probe").map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    })?;
    match identity.mapped(layers) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the file system of {} has no id-mapped mounts: {error}",
            layers.display()
        )),
    }
}

fn overlays_take_mapped_layers(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 19)
}

/// FNV-1a of the task's id: the same task asks for the same range first.
fn first_range(task: &str) -> u32 {
    let hash = task.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % RANGES
}

/// A namespace is made by a process in it, which needs to live only until its maps are written and somebody holds it.
fn namespace(base: u32) -> Result<OwnedFd, SandboxError> {
    let holder = clone::user_namespace_holder().map_err(system("make a user namespace"))?;
    let made = map(holder.pid.as_raw_pid(), base);
    // It is ours and not yet reaped, so the descriptor is its; neither call can fail for another reason.
    let _ = rustix::process::pidfd_send_signal(&holder.pidfd, Signal::KILL);
    let _ = rustix::process::waitid(WaitId::PidFd(holder.pidfd.as_fd()), WaitIdOptions::EXITED);
    made
}

fn map(pid: i32, base: u32) -> Result<OwnedFd, SandboxError> {
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        // One write: the kernel takes a map whole or not at all.
        let written = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut open| open.write_all(format!("0 {base} {IDS}\n").as_bytes()));
        written.map_err(|source| SandboxError::System {
            operation: format!("write a user namespace's {file}"),
            source,
        })?;
    }
    let path = format!("/proc/{pid}/ns/user");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(system("open a user namespace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_living_tasks_never_share_a_range() {
        let name = format!("test-{}", std::process::id());
        let first = Identity::claim(&name).unwrap();
        let second = Identity::claim(&name).unwrap();
        assert_ne!(first.base, second.base);
        let base = first.base;
        drop(first);
        // What has ended gives its range back.
        assert_eq!(Identity::claim(&name).unwrap().base, base);
        for identity in [base, second.base] {
            assert!(identity >= FIRST_ID && (identity - FIRST_ID).is_multiple_of(IDS));
        }
    }

    #[test]
    fn ranges_stay_below_where_numbers_turn_negative() {
        let last = u64::from(FIRST_ID) + u64::from(RANGES) * u64::from(IDS) - 1;
        assert!(last <= 1_879_048_191);
    }

    #[test]
    fn kernels_are_told_apart() {
        for (release, able) in [
            ("6.18.44-fc", true),
            ("5.19", true),
            ("5.18.19", false),
            ("4.19.0-25-amd64", false),
            ("odd", false),
        ] {
            assert_eq!(overlays_take_mapped_layers(release), able, "{release}");
        }
    }
}
