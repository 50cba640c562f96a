//! A volume's first content: what the image has at the place where it is mounted, as Docker's and Fargate's VOLUME does.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>
//!
//! Runs in the container's first process, which is the host's root still, while others of the task may use the volume: every
//! step goes by descriptors and follows no link.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

/// Deeper folders of an image stay behind.
const DEPTH: u32 = 200;
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Copies a folder's owner, mode and content into another, if that is empty.
pub fn fill(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let target = rustix::fs::openat(target, c".", FOLDER, Mode::empty())?;
    if !is_empty(&target)? {
        return Ok(());
    }
    copy_folder(source, target.as_fd(), DEPTH)?;
    own(target.as_fd(), &rustix::fs::fstat(source)?)
}

fn is_empty(folder: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(folder)? {
        if !is_self_or_parent(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_self_or_parent(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// The owner first: a change of owner takes the set-user-ID bits away.
fn own(made: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    rustix::fs::fchown(made, Some(uid), Some(gid))?;
    rustix::fs::fchmod(made, Mode::from_raw_mode(like.st_mode))
}

fn copy_folder(source: BorrowedFd<'_>, target: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_self_or_parent(name) {
            continue;
        }
        let found = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth > 0 => {
                rustix::fs::mkdirat(target, name, Mode::RWXU)?;
                let from = rustix::fs::openat(source, name, FOLDER, Mode::empty())?;
                let to = rustix::fs::openat(target, name, FOLDER, Mode::empty())?;
                copy_folder(from.as_fd(), to.as_fd(), depth - 1)?;
                own(to.as_fd(), &found)?;
            }
            FileType::RegularFile => copy_file(source, target, name, &found)?,
            FileType::Symlink => {
                let leads_to = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(leads_to.as_c_str(), target, name)?;
                rustix::fs::chownat(
                    target,
                    name,
                    Some(Uid::from_raw(found.st_uid)),
                    Some(Gid::from_raw(found.st_gid)),
                    AtFlags::SYMLINK_NOFOLLOW,
                )?;
            }
            // Devices open nothing in a container, and sockets and pipes are of programs that don't run.
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &CStr,
    found: &Stat,
) -> Result<(), Errno> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(source, name, read, Mode::empty())?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = rustix::fs::openat(target, name, write, Mode::RUSR | Mode::WUSR)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let got = rustix::io::read(&from, &mut buffer)?;
        if got == 0 {
            return own(to.as_fd(), found);
        }
        let mut written = 0;
        while written < got {
            written += rustix::io::write(&to, &buffer[written..got])?;
        }
    }
}
