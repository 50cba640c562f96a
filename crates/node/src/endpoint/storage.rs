//! How much a task's containers have written to their disk.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A container that fills its disk with names must not keep the agent busy.
const FILES_MAX: usize = 50_000;

/// In bytes: what is used of a task's own storage, if that is a file system of at most `reserved`; `pid` is one of its
/// containers'. What a container sees as its root's size is that of what it writes to.
pub fn used_bytes(pid: i32, reserved: u64) -> Option<u64> {
    let found = rustix::fs::statvfs(format!("/proc/{pid}/root")).ok()?;
    let size = found.f_blocks.checked_mul(found.f_frsize)?;
    let used = (found.f_blocks - found.f_bfree).checked_mul(found.f_frsize)?;
    (size <= reserved.checked_add(reserved / 8)?).then_some(used)
}

/// In bytes: what is in the containers' writable layers of a bundle, as far as it is counted.
pub fn written_bytes(bundle: &Path) -> u64 {
    let containers = fs::read_dir(bundle.join("containers"));
    let mut folders: Vec<PathBuf> = containers
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("upper"))
        .collect();
    let (mut bytes, mut seen) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > FILES_MAX {
                return bytes;
            }
            // Of the link, never of what it leads to.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            bytes += found.blocks() * 512;
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_containers_count_and_links_do_not() {
        let bundle = tempfile::tempdir().unwrap();
        assert_eq!(written_bytes(bundle.path()), 0);
        for name in ["a", "b"] {
            let upper = bundle.path().join("containers").join(name).join("upper/x");
            fs::create_dir_all(&upper).unwrap();
            fs::write(upper.join("file"), vec![1; 1 << 20]).unwrap();
            std::os::unix::fs::symlink("/", upper.join("link")).unwrap();
        }
        let bytes = written_bytes(bundle.path());
        assert!((2 << 20..3 << 20).contains(&bytes), "{bytes}");
    }
}
