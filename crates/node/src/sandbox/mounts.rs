//! The container's file systems: its root from layers, and what every Linux program expects in it.
//!
//! Runs in the container's first process, in its own mount namespace. What must stay true: sources on the host are opened
//! before the root changes, targets are looked up after it, so that no link in an image can lead a mount elsewhere.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::identity::Identity;
use super::spec::{ContainerSpec, VolumeMount};
use super::{Place, seed};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Docker's default masked paths: kernel memory, keys, timings and hardware that are the host's business.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// One more of them, a folder that exists on some hosts.
const MASKED_POWER: &str = "/sys/devices/virtual/powercap";

/// Docker's default read-only paths.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

type Result<T> = std::result::Result<T, (String, io::Error)>;

fn at<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> (String, io::Error) {
    let what = what.into();
    move |error| (what, error.into())
}

/// Trees of the host, detached, waiting to be put into the container.
pub struct Prepared {
    devices: Vec<(&'static str, OwnedFd)>,
    files: Vec<(std::path::PathBuf, OwnedFd)>,
    volumes: Vec<(VolumeMount, OwnedFd)>,
}

/// What is to be mounted, and for whom.
pub struct Plan<'a> {
    pub spec: &'a ContainerSpec,
    pub place: &'a Place<'a>,
    /// v1 controllers that the container may see.
    pub shown_controllers: &'a [String],
}

impl Plan<'_> {
    /// The host's number for the container's id.
    fn host_id(&self, id: u32) -> u32 {
        self.place
            .identity
            .map_or(id, |identity| identity.host_id(id))
    }

    /// What was just made for the container is its root's.
    fn give(&self, path: &Path) -> Result<()> {
        match self.place.identity {
            Some(identity) => {
                let root = identity.host_id(0);
                lchown(path, Some(root), Some(root)).map_err(at(format!("own {}", path.display())))
            }
            None => Ok(()),
        }
    }

    /// Makes a folder and its parents where they are missing.
    fn make_folder(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_folder(parent)?;
        }
        match fs::create_dir(path) {
            Ok(()) => self.give(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err((format!("make {}", path.display()), error)),
        }
    }

    fn make_file(&self, path: &Path) -> Result<()> {
        fs::write(path, "").map_err(at(format!("make {}", path.display())))?;
        self.give(path)
    }

    fn mount_at(
        &self,
        source: &str,
        target: &str,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<()> {
        self.make_folder(Path::new(target))?;
        let options = CString::new(options).map_err(at(target))?;
        mount(source, target, kind, flags, options.as_c_str())
            .map_err(at(format!("mount {target}")))
    }

    /// A file system in memory that is the container's root's.
    fn memory_at(&self, name: &str, target: &str, flags: MountFlags, options: &str) -> Result<()> {
        let root = self.host_id(0);
        let options = format!("{options},uid={root},gid={root}");
        self.mount_at(name, target, "tmpfs", flags, &options)
    }
}

/// Mounts the root and everything in it, and makes it the process's root.
pub fn build(plan: &Plan<'_>) -> Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(at("make mounts private"))?;
    overlay(plan)?;
    let prepared = prepare(plan)?;
    enter(&plan.place.folder.join("root"))?;
    system_folders(plan)?;
    devices(plan, prepared.devices)?;
    for (volume, tree) in prepared.volumes {
        mount_volume(plan, &volume, &tree)?;
    }
    for (target, tree) in prepared.files {
        bind_file(plan, &target, &tree)?;
    }
    protect()?;
    if plan.spec.read_only_root {
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
        mount_remount("/", flags, "").map_err(at("make the root read-only"))?;
    }
    Ok(())
}

/// The layers have short names in `lower/` because the kernel takes one page of options, and 127 layers' paths are more.
/// With an identity they are looked at through mounts that show the container's ids, one for each folder of layers; copies
/// that a write makes of a file, and new files, lie in the writable layer with the host's numbers for them.
fn overlay(plan: &Plan<'_>) -> Result<()> {
    let folder = plan.place.folder;
    rustix::process::chdir(folder).map_err(at(format!("enter {}", folder.display())))?;
    let mut mapped: Vec<&Path> = Vec::new();
    let mut lower = Vec::new();
    for (number, layer) in plan.spec.layers.iter().enumerate() {
        let name = format!("lower/{number}");
        let target = match (plan.place.identity, layer.parent(), layer.file_name()) {
            (Some(identity), Some(parent), Some(layer)) => {
                let known = mapped.iter().position(|known| *known == parent);
                let number = match known {
                    Some(number) => number,
                    None => {
                        show_mapped(identity, parent, mapped.len())?;
                        mapped.push(parent);
                        mapped.len() - 1
                    }
                };
                Path::new("../mapped").join(number.to_string()).join(layer)
            }
            _ => layer.clone(),
        };
        match symlink(&target, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(at("link layer"))?,
        }
        // The container's owner gets "no such file" for a program; a missing layer is our own fault and says so.
        fs::metadata(&name).map_err(at(format!("find layer {}", layer.display())))?;
        lower.push(name);
    }
    plan.give(Path::new("upper"))?;
    lower.reverse();
    // What a `volatile` mount leaves so that nobody takes its upper folder for whole. A container that is started again takes
    // it as its last run left it, in the same life of the host.
    let _ = fs::remove_dir_all("work/work/incompat");
    let base = format!("lowerdir={},upperdir=upper,workdir=work", lower.join(":"));
    // `volatile`: nothing of a task's writable layer outlives it, so it is never synced to disk.
    for options in [format!("{base},volatile"), base] {
        let options = CString::new(options).map_err(at("name layers"))?;
        match mount(
            "overlay",
            "root",
            "overlay",
            MountFlags::NODEV,
            options.as_c_str(),
        ) {
            Err(Errno::INVAL) if options.as_bytes().ends_with(b",volatile") => {}
            other => return other.map_err(at("mount the root")),
        }
    }
    Ok(())
}

/// Puts a folder of layers at `mapped/<number>`.
fn show_mapped(identity: &Identity, folder: &Path, number: usize) -> Result<()> {
    let place = Path::new("mapped").join(number.to_string());
    fs::create_dir_all(&place).map_err(at(format!("make {}", place.display())))?;
    let tree = identity
        .mapped(folder)
        .map_err(at(format!("map the ids of {}", folder.display())))?;
    put(&tree, &place)
}

fn prepare(plan: &Plan<'_>) -> Result<Prepared> {
    let detached = |path: &Path| {
        open_tree(
            CWD,
            path,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )
        .map_err(at(format!("open {}", path.display())))
    };
    let devices = DEVICES
        .iter()
        .map(|name| Ok((*name, detached(&Path::new("/dev").join(name))?)));
    let files = plan.spec.files.iter().map(|file| {
        plan.give(&file.source)?;
        Ok((file.target.clone(), detached(&file.source)?))
    });
    let mut volumes = Vec::new();
    for volume in &plan.spec.volumes {
        let folder = plan.place.volumes.join(&volume.volume);
        volumes.push((volume.clone(), detached(&folder)?));
    }
    // One inside another comes after it.
    volumes.sort_by_key(|(volume, _)| volume.target.components().count());
    Ok(Prepared {
        volumes,
        devices: devices.collect::<Result<_>>()?,
        files: files.collect::<Result<_>>()?,
    })
}

/// pivot_root(".", ".") stacks the old root on the new one; detaching it leaves no way back.
pub fn enter(root: &Path) -> Result<()> {
    rustix::process::chdir(root).map_err(at("enter the root"))?;
    rustix::process::pivot_root(".", ".").map_err(at("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("detach the host's root"))?;
    rustix::process::chdir("/").map_err(at("enter the root"))
}

const CLOSED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

fn system_folders(plan: &Plan<'_>) -> Result<()> {
    plan.mount_at("proc", "/proc", "proc", CLOSED, "")?;
    plan.mount_at("sysfs", "/sys", "sysfs", CLOSED | MountFlags::RDONLY, "")?;
    // Programs read their limits here; a host that refuses it costs them only that.
    let _ = control_groups(plan);
    let open = MountFlags::NOSUID | MountFlags::NODEV;
    plan.memory_at("tmpfs", "/dev", open, "mode=755,size=65536k")?;
    let pseudo = MountFlags::NOSUID | MountFlags::NOEXEC;
    // 5 is the group `tty` of every distribution.
    let options = format!(
        "newinstance,ptmxmode=0666,mode=0620,gid={}",
        plan.host_id(5)
    );
    plan.mount_at("devpts", "/dev/pts", "devpts", pseudo, &options)?;
    plan.memory_at("shm", "/dev/shm", CLOSED, "mode=1777,size=65536k")?;
    plan.mount_at("mqueue", "/dev/mqueue", "mqueue", CLOSED, "")?;
    match plan.place.identity {
        Some(identity) => {
            let root = Some(identity.host_id(0));
            chown("/dev/mqueue", root, root).map_err(at("own /dev/mqueue"))
        }
        None => Ok(()),
    }
}

fn control_groups(plan: &Plan<'_>) -> Result<()> {
    let flags = CLOSED | MountFlags::RDONLY;
    if plan.shown_controllers.is_empty() {
        return plan.mount_at("cgroup", "/sys/fs/cgroup", "cgroup2", flags, "");
    }
    plan.mount_at(
        "tmpfs",
        "/sys/fs/cgroup",
        "tmpfs",
        CLOSED,
        "mode=755,size=1m",
    )?;
    for name in plan.shown_controllers {
        let target = format!("/sys/fs/cgroup/{name}");
        plan.mount_at("cgroup", &target, "cgroup", flags, name)?;
    }
    mount_remount("/sys/fs/cgroup", MountFlags::BIND | flags, "")
        .map_err(at("protect /sys/fs/cgroup"))
}

fn devices(plan: &Plan<'_>, trees: Vec<(&'static str, OwnedFd)>) -> Result<()> {
    for (name, tree) in trees {
        let target = format!("/dev/{name}");
        plan.make_file(Path::new(&target))?;
        put(&tree, Path::new(&target))?;
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/core", "/proc/kcore"),
    ] {
        symlink(target, link).map_err(at(format!("link {link}")))?;
        plan.give(Path::new(link))?;
    }
    Ok(())
}

fn put(tree: &OwnedFd, target: &Path) -> Result<()> {
    move_mount(
        tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(at(format!("bind {}", target.display())))
}

/// Makes the target if the image lacks it. One that is a link to nowhere (`/etc/resolv.conf` often is) is replaced.
fn bind_file(plan: &Plan<'_>, target: &Path, tree: &OwnedFd) -> Result<()> {
    if let Some(parent) = target.parent() {
        plan.make_folder(parent)?;
    }
    if !target.exists() {
        match fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err((format!("replace {}", target.display()), error));
            }
            _ => {}
        }
        plan.make_file(target)?;
    }
    put(tree, target)
}

/// What the image has at the place is copied before the volume hides it.
fn mount_volume(plan: &Plan<'_>, volume: &VolumeMount, tree: &OwnedFd) -> Result<()> {
    let target = Path::new("/").join(&volume.target);
    if target.parent().is_none() {
        let error = io::Error::other("invalid mount: destination can't be '/'");
        return Err(("mount a volume".to_owned(), error));
    }
    let what = format!("mount volume at {}", target.display());
    if volume.seeded && target.is_dir() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = rustix::fs::open(&target, flags, Mode::empty()).map_err(at(what.clone()))?;
        seed::fill(source.as_fd(), tree.as_fd())
            .map_err(at(format!("fill the volume at {}", target.display())))?;
    }
    plan.make_folder(&target)?;
    put(tree, &target)?;
    let mut flags = MountFlags::BIND | MountFlags::NODEV;
    if volume.read_only {
        flags |= MountFlags::RDONLY;
    }
    mount_remount(&target, flags, "").map_err(at(what))
}

fn protect() -> Result<()> {
    for path in READ_ONLY {
        match mount_bind(path, path) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(at(format!("bind {path}")))?,
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | CLOSED;
        mount_remount(path, flags, "").map_err(at(format!("protect {path}")))?;
    }
    for path in MASKED.into_iter().chain([MASKED_POWER]) {
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        if found.is_dir() {
            mount(
                "tmpfs",
                path,
                "tmpfs",
                CLOSED | MountFlags::RDONLY,
                c"size=0k",
            )
            .map_err(at(format!("mask {path}")))?;
        } else {
            mount_bind("/dev/null", path).map_err(at(format!("mask {path}")))?;
        }
    }
    Ok(())
}
