//! A folder that paths from untrusted archives cannot leave.
//!
//! Every lookup goes through `openat2` with RESOLVE_IN_ROOT, so that the kernel itself treats the folder as the root:
//! `..`, absolute names and symbolic links all end inside, whatever else happens to the tree meanwhile.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Most components a path may have; deeper ones are refused.
const DEPTH_LIMIT: usize = 255;

/// Why a path is refused.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("path {0:?} leaves the layer")]
    Escape(String),
    #[error("path {0:?} is malformed")]
    Malformed(String),
    #[error("{operation} {path:?}")]
    System {
        operation: &'static str,
        path: String,
        source: Errno,
    },
}

pub type Result<T> = std::result::Result<T, RootError>;

/// The folder. Remembers the last parent it opened: archives list a folder's members together.
pub struct Root {
    folder: OwnedFd,
    last: Option<(PathBuf, OwnedFd)>,
}

/// What an archive's name says, cleaned: no empty, `.` or `..` components.
pub fn clean(name: &[u8]) -> Result<PathBuf> {
    let shown = || {
        String::from_utf8_lossy(name)
            .chars()
            .take(200)
            .collect::<String>()
    };
    if name.contains(&0) {
        return Err(RootError::Malformed(shown()));
    }
    let mut path = PathBuf::new();
    for (depth, part) in name
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .enumerate()
    {
        if part == b".." {
            return Err(RootError::Escape(shown()));
        }
        if depth >= DEPTH_LIMIT || part.len() > 255 {
            return Err(RootError::Malformed(shown()));
        }
        path.push(OsStr::from_bytes(part));
    }
    Ok(path)
}

fn system(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> RootError {
    let path = path.to_string_lossy().into_owned();
    move |source| RootError::System {
        operation,
        path,
        source,
    }
}

impl Root {
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(system("open", path))?;
        Ok(Self { folder, last: None })
    }

    /// Opens what the path names, following symbolic links inside the root only.
    pub fn resolve(&self, path: &Path, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            // The kernel gives EAGAIN when a rename races with a lookup; asking again is the documented answer.
            match rustix::fs::openat2(
                &self.folder,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// Forgets the remembered parent; needed after something was removed or replaced.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The folder that holds the path's last component, made if missing, and that component.
    pub fn parent<'a>(&mut self, path: &'a Path) -> Result<(BorrowedFd<'_>, &'a OsStr)> {
        let name = path
            .file_name()
            .ok_or_else(|| RootError::Malformed(path.to_string_lossy().into_owned()))?;
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            let opened = self.folder(parent)?;
            self.last = Some((parent.to_path_buf(), opened));
        }
        let (_, folder) = self.last.as_ref().expect("set above");
        Ok((folder.as_fd(), name))
    }

    /// Opens a folder, making it and its parents (0755, root's) where they are missing.
    pub fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.resolve(path, flags) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(system("open folder", path)),
        }
        let mut walked = PathBuf::new();
        let mut here = self
            .resolve(&walked, flags)
            .map_err(system("open folder", path))?;
        for part in path.components() {
            walked.push(part);
            here = match self.resolve(&walked, flags) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&here, part.as_os_str(), Mode::from_raw_mode(0o755))
                        .map_err(system("make folder", &walked))?;
                    self.resolve(&walked, flags)
                        .map_err(system("open folder", &walked))?
                }
                other => other.map_err(system("open folder", &walked))?,
            };
        }
        Ok(here)
    }
}

/// What stands at a name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Folder,
    Whiteout,
    Other,
}

/// Looks without following a link.
pub fn look(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Found> {
    let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        other => other.map_err(system("look at", Path::new(name)))?,
    };
    Ok(match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Found::Folder,
        rustix::fs::FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    })
}

/// Removes what stands at a name, whole trees included, never following a link.
pub fn remove(folder: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other.map_err(system("remove", Path::new(name))),
    }
    // `remove_dir_all` itself walks by descriptors and doesn't follow links; the prefix names the folder we hold open.
    let mut path = OsString::from(format!("/proc/self/fd/{}/", folder.as_raw_fd()));
    path.push(name);
    std::fs::remove_dir_all(&path).map_err(|error| RootError::System {
        operation: "remove folder",
        path: name.to_string_lossy().into_owned(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        assert_eq!(clean(b"./a//b/.").unwrap(), Path::new("a/b"));
        assert_eq!(clean(b"/etc/passwd").unwrap(), Path::new("etc/passwd"));
        assert_eq!(clean(b"./").unwrap(), Path::new(""));
        for bad in [&b"../x"[..], b"a/../../x", b"a/..", b".."] {
            assert!(matches!(clean(bad), Err(RootError::Escape(_))));
        }
        assert!(matches!(clean(b"a\0b"), Err(RootError::Malformed(_))));
        assert!(matches!(
            clean("a/".repeat(300).as_bytes()),
            Err(RootError::Malformed(_))
        ));
    }

    #[test]
    fn links_stay_inside() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outer.path().join("root/etc")).unwrap();
        std::fs::create_dir(outer.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc", outer.path().join("root/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../etc", outer.path().join("root/relative")).unwrap();
        let mut root = Root::open(&outer.path().join("root")).unwrap();
        for link in ["absolute", "relative"] {
            let path = Path::new(link).join("made");
            let (folder, name) = root.parent(&path).unwrap();
            rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o700)).unwrap();
            assert!(outer.path().join("root/etc/made").is_dir());
            std::fs::remove_dir(outer.path().join("root/etc/made")).unwrap();
        }
        assert!(!outer.path().join("etc/made").exists());
    }
}
