//! The container's file systems: its root from layers, and what every Linux program expects in it.
//!
//! Runs in the container's first process, in its own mount namespace. What must stay true: sources on the host are opened
//! before the root changes, targets are looked up after it, so that no link in an image can lead a mount elsewhere.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::spec::ContainerSpec;

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
}

/// Mounts the root and everything in it, and makes it the process's root.
pub fn build(spec: &ContainerSpec, folder: &Path, shown_controllers: &[String]) -> Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(at("make mounts private"))?;
    overlay(spec, folder)?;
    let prepared = prepare(spec)?;
    enter(&folder.join("root"))?;
    system_folders(shown_controllers)?;
    devices(prepared.devices)?;
    for (target, tree) in prepared.files {
        bind_file(&target, &tree)?;
    }
    protect()?;
    if spec.read_only_root {
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
        mount_remount("/", flags, "").map_err(at("make the root read-only"))?;
    }
    Ok(())
}

/// The layers have short names in `lower/` because the kernel takes one page of options, and 127 layers' paths are more.
fn overlay(spec: &ContainerSpec, folder: &Path) -> Result<()> {
    rustix::process::chdir(folder).map_err(at(format!("enter {}", folder.display())))?;
    let mut lower = Vec::new();
    for (number, layer) in spec.layers.iter().enumerate() {
        let name = format!("lower/{number}");
        match symlink(layer, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(at("link layer"))?,
        }
        // The container's owner gets "no such file" for a program; a missing layer is our own fault and says so.
        fs::metadata(&name).map_err(at(format!("find layer {}", layer.display())))?;
        lower.push(name);
    }
    lower.reverse();
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

fn prepare(spec: &ContainerSpec) -> Result<Prepared> {
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
    let files = spec
        .files
        .iter()
        .map(|file| Ok((file.target.clone(), detached(&file.source)?)));
    Ok(Prepared {
        devices: devices.collect::<Result<_>>()?,
        files: files.collect::<Result<_>>()?,
    })
}

/// pivot_root(".", ".") stacks the old root on the new one; detaching it leaves no way back.
fn enter(root: &Path) -> Result<()> {
    rustix::process::chdir(root).map_err(at("enter the root"))?;
    rustix::process::pivot_root(".", ".").map_err(at("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(at("detach the host's root"))?;
    rustix::process::chdir("/").map_err(at("enter the root"))
}

fn mount_at(
    source: &str,
    target: &str,
    kind: &str,
    flags: MountFlags,
    options: &str,
) -> Result<()> {
    match fs::create_dir_all(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err((format!("make {target}"), error));
        }
        _ => {}
    }
    let options = CString::new(options).map_err(at(target))?;
    mount(source, target, kind, flags, options.as_c_str()).map_err(at(format!("mount {target}")))
}

const CLOSED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

fn system_folders(shown_controllers: &[String]) -> Result<()> {
    mount_at("proc", "/proc", "proc", CLOSED, "")?;
    mount_at("sysfs", "/sys", "sysfs", CLOSED | MountFlags::RDONLY, "")?;
    // Programs read their limits here; a host that refuses it costs them only that.
    let _ = control_groups(shown_controllers);
    mount_at(
        "tmpfs",
        "/dev",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        "mode=755,size=65536k",
    )?;
    let pseudo = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_at(
        "devpts",
        "/dev/pts",
        "devpts",
        pseudo,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    mount_at("shm", "/dev/shm", "tmpfs", CLOSED, "mode=1777,size=65536k")?;
    mount_at("mqueue", "/dev/mqueue", "mqueue", CLOSED, "")
}

fn control_groups(shown_controllers: &[String]) -> Result<()> {
    let flags = CLOSED | MountFlags::RDONLY;
    if shown_controllers.is_empty() {
        return mount_at("cgroup", "/sys/fs/cgroup", "cgroup2", flags, "");
    }
    mount_at(
        "tmpfs",
        "/sys/fs/cgroup",
        "tmpfs",
        CLOSED,
        "mode=755,size=1m",
    )?;
    for name in shown_controllers {
        mount_at(
            "cgroup",
            &format!("/sys/fs/cgroup/{name}"),
            "cgroup",
            flags,
            name,
        )?;
    }
    mount_remount("/sys/fs/cgroup", MountFlags::BIND | flags, "")
        .map_err(at("protect /sys/fs/cgroup"))
}

fn devices(trees: Vec<(&'static str, OwnedFd)>) -> Result<()> {
    for (name, tree) in trees {
        let target = format!("/dev/{name}");
        fs::write(&target, "").map_err(at(format!("make {target}")))?;
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
fn bind_file(target: &Path, tree: &OwnedFd) -> Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(at(format!("make {}", parent.display())))?;
    }
    if !target.exists() {
        match fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err((format!("replace {}", target.display()), error));
            }
            _ => {}
        }
        fs::write(target, "").map_err(at(format!("make {}", target.display())))?;
    }
    put(tree, target)
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
