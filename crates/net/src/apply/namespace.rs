//! Network namespaces of the kernel: make, name, enter, forget; and their settings under `/proc/sys/net`.
//!
//! Called by the applier's thread alone: `unshare` and `setns` move the calling thread.
//! A name is a file under `/run/netns` with the namespace mounted on it, as `ip netns` does it.

#![allow(unsafe_code)]

use crate::names::{NAMESPACES_DIR, namespace_path};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const OWN: &str = "/proc/thread-self/ns/net";

/// The namespace that the calling thread is in.
pub fn current() -> io::Result<File> {
    File::open(OWN)
}

/// Opens a named namespace; `NotFound` also when the file is there but nothing is mounted on it.
pub fn open(name: &str) -> io::Result<File> {
    let file = File::open(namespace_path(name))?;
    // SAFETY: an all-zero statfs is a valid out-parameter and the descriptor is open.
    let kind = unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(file.as_raw_fd(), &raw mut stat) != 0 {
            return Err(io::Error::last_os_error());
        }
        stat.f_type
    };
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    if kind as i64 == NSFS_MAGIC {
        Ok(file)
    } else {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Moves the calling thread.
pub fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; only this thread's view of the network changes.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a namespace, or takes one that has no name yet, names it and leaves the calling thread in it.
pub fn create(name: &str, spare: Option<&File>) -> io::Result<File> {
    std::fs::create_dir_all(NAMESPACES_DIR)?;
    let path = namespace_path(name);
    File::create(&path)?;
    if let Err(error) = spare.map_or_else(isolate, enter) {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    if let Err(error) = bind_mount(Path::new(OWN), &path) {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    current()
}

fn bind_mount(source: &Path, target: &Path) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: both strings are zero-terminated and live; the others may be null for a bind mount.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Unmounts and removes the name. The namespace itself goes when its last process does; its
/// devices go with it, without the 16 ms that deleting each by hand would take.
pub fn forget(name: &str) -> io::Result<()> {
    let path = namespace_path(name);
    let target = CString::new(path.as_os_str().as_bytes())?;
    // More than one mount can lie on a name after a crash between two runs.
    loop {
        // SAFETY: the string is zero-terminated and live.
        if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } != 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENOENT) => break,
                _ => return Err(error),
            }
        }
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names that begin with `prefix`, mounted or not.
pub fn names(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(NAMESPACES_DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with(prefix)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Writes a setting of the namespace that the calling thread is in. `path` is relative to `/proc/sys/net`.
pub fn set(path: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/net/{path}"), value)
}

/// A folder of settings of the namespace that the calling thread is in; it stays that namespace's.
///
/// The kernel keeps a name cache for all namespaces together: to find a namespace's own `ipv4` in
/// it takes the longer the more namespaces there are, 1 ms among a thousand.
pub fn settings_dir(name: &str) -> io::Result<File> {
    File::open(format!("/proc/sys/net/{name}"))
}

/// Writes a setting under such a folder.
pub fn set_in(dir: &File, path: &str, value: &str) -> io::Result<()> {
    open_in(dir, path, libc::O_WRONLY)?.write_all(value.as_bytes())
}

/// Reads a setting under such a folder.
pub fn get_in(dir: &File, path: &str) -> io::Result<String> {
    let mut text = String::new();
    open_in(dir, path, libc::O_RDONLY)?.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn open_in(dir: &File, path: &str, mode: i32) -> io::Result<File> {
    let path = CString::new(path)?;
    // SAFETY: the string is zero-terminated and live; a fresh descriptor is owned by us alone.
    unsafe {
        let fd = libc::openat(dir.as_raw_fd(), path.as_ptr(), mode | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(fd))
    }
}

/// Reads a setting of the namespace that the calling thread is in.
pub fn get(path: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/sys/net/{path}"))?
        .trim()
        .to_owned())
}

/// The name of a device of the namespace that the calling thread is in.
pub fn device_name(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call demands, and lives.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::ENXIO | libc::ENODEV) => io::ErrorKind::NotFound.into(),
            _ => error,
        });
    }
    let bytes: Vec<u8> = name
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| *byte as u8)
        .collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Moves the calling thread into a fresh namespace without a name.
pub fn isolate() -> io::Result<()> {
    // SAFETY: no pointers; only this thread moves.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
