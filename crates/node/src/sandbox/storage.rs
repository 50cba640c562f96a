//! A task's ephemeral storage: a file system of its own and of the size that it asked for.
//!
//! All that a task's containers write lies in one file without a name, mounted by a loop device in the shim's mount namespace:
//! a full one is full for the task and for nobody else, and nothing is left when the shim and its containers have ended. The
//! file is sparse and a copy of a formatted template, so that a task waits for neither `mke2fs` nor blocks.
//! Why not quotas of the host's file system: docs/decisions/0021-isolation.md.

#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
/// The device lets go of its file with its last user.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Without a journal: what a crash of the host leaves of a task's storage is never looked at again.
const FEATURES: &str = "^has_journal,^resize_inode,sparse_super2,extra_isize,dir_index";
const EXTENDED: &str = "lazy_itable_init=1,nodiscard,num_backup_sb=0,root_owner=0:0";
/// `discard` gives the host back what a task deletes; barriers have nothing to protect.
const OPTIONS: [&str; 4] = ["nobarrier", "noinit_itable", "discard", "errors=remount-ro"];

/// The kernel's `struct loop_config` with its `struct loop_info64` laid out.
#[repr(C)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names: [[u8; 64]; 2],
    key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Why a task gets no storage of its own.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}")]
pub struct StorageError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> StorageError {
    let path = path.to_path_buf();
    move |source| StorageError {
        operation,
        path,
        source: source.into(),
    }
}

/// The formatted, empty file of that size in the folder, made if it isn't there yet. Needs `mke2fs`; blocks.
pub fn template(folder: &Path, gib: u32) -> Result<PathBuf, StorageError> {
    let path = folder.join(format!("{gib}-gib.ext4"));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    // Of this thread alone, should two tasks ask at once.
    let own = folder.join(format!(
        "{gib}-gib.{}.new",
        rustix::thread::gettid().as_raw_pid()
    ));
    let made = File::create(&own).and_then(|file| file.set_len(u64::from(gib) << 30));
    made.map_err(failed("make", &own))?;
    let output = Command::new("mke2fs")
        .args([
            "-q", "-F", "-t", "ext4", "-m", "0", "-O", FEATURES, "-E", EXTENDED,
        ])
        .arg(&own)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .map_err(failed("run mke2fs for", &own))?;
    if !output.status.success() {
        let _ = fs::remove_file(&own);
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed("run mke2fs for", &own)(io::Error::other(said)));
    }
    fs::rename(&own, &path).map_err(failed("rename to", &path))?;
    Ok(path)
}

/// An empty file system from the template, attached nowhere yet. Its file, which lies in the template's folder, has no name:
/// it goes with the last who holds the mount.
pub fn make(template: &Path) -> Result<OwnedFd, StorageError> {
    let folder = template.parent().unwrap_or(Path::new("/"));
    let source = File::open(template).map_err(failed("open", template))?;
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let image = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(failed("make a file in", folder))?;
    copy_sparse(&source, &image).map_err(failed("copy", template))?;
    let (device, name) = attach(&image).map_err(failed("attach a loop device for", template))?;
    let mounted = detached(&name).map_err(failed("mount", &name))?;
    // The mount holds it from here on.
    drop(device);
    Ok(mounted)
}

fn detached(device: &Path) -> Result<OwnedFd, Errno> {
    let context = mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    mount::fsconfig_set_string(context.as_fd(), "source", device)?;
    for option in OPTIONS {
        match option.split_once('=') {
            Some((name, value)) => mount::fsconfig_set_string(context.as_fd(), name, value)?,
            None => mount::fsconfig_set_flag(context.as_fd(), option)?,
        }
    }
    mount::fsconfig_create(context.as_fd())?;
    mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME,
    )
}

/// Puts a file system at its place in the calling process's mount namespace.
pub fn put(storage: BorrowedFd<'_>, place: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(place).map_err(failed("make", place))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    mount::move_mount(storage, "", CWD, place, flags).map_err(failed("mount", place))
}

/// Copies what is not a hole: some hundred kilobytes of twenty gigabytes.
fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    target.set_len(source.metadata()?.len())?;
    let mut at = 0;
    loop {
        let begin = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            // Nothing but a hole is left.
            Err(Errno::NXIO) => return Ok(()),
            other => other?,
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(begin))?;
        let (mut from, mut to) = (begin, begin);
        while from < end {
            let length = usize::try_from(end - from).unwrap_or(usize::MAX);
            let copied = rustix::fs::copy_file_range(
                source,
                Some(&mut from),
                target,
                Some(&mut to),
                length,
            )?;
            if copied == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        at = end;
    }
}

/// A free loop device on the file. Others look for one at the same time: who comes second takes the next.
fn attach(file: &File) -> io::Result<(File, PathBuf)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    loop {
        // SAFETY: the request has no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let name = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&name)?;
        // SAFETY: numbers and arrays of them, for all of which zero is a value.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.file = file.as_raw_fd().cast_unsigned();
        config.flags = LO_FLAGS_AUTOCLEAR;
        // SAFETY: `config` lives and has the layout and size that the request demands; the kernel takes its own reference
        // to the file.
        let done = unsafe {
            libc::ioctl(
                device.as_raw_fd(),
                LOOP_CONFIGURE,
                std::ptr::from_ref(&config),
            )
        };
        if done == 0 {
            return Ok((device, name));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_structure_is_met() {
        assert_eq!(size_of::<LoopConfig>(), 8 + 232 + 64);
    }

    #[test]
    fn a_sparse_copy_has_the_same_content_and_the_same_holes() {
        use std::os::unix::fs::{FileExt as _, MetadataExt as _};
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(folder.path().join(name))
                .unwrap()
        };
        let (source, target) = (open("source"), open("target"));
        source.set_len(1 << 30).unwrap();
        source.write_all_at(b"begin", 0).unwrap();
        source.write_all_at(b"middle", 300 << 20).unwrap();
        copy_sparse(&source, &target).unwrap();
        let found = target.metadata().unwrap();
        assert_eq!(found.len(), 1 << 30);
        assert!(found.blocks() * 512 < 1 << 20);
        let mut text = [0; 6];
        target.read_exact_at(&mut text, 300 << 20).unwrap();
        assert_eq!(&text, b"middle");
    }
}
