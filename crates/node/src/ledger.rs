//! What this host has begun: one folder a task, `<data>/tasks/<task>/`, the task's bundle.
//!
//! The agent writes here before each step that can't be undone and reads it back when it is started again, so that it knows
//! of every process, cgroup and folder it has made. What must stay true: a task that left anything on this host has a
//! folder here; the folder goes last. The parent is root's alone (0700): a task's writable layer may hold setuid programs.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fogbank_types::status::TaskStatus;
use serde::{Deserialize, Serialize};

/// Why the ledger can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{0} is malformed")]
    Malformed(PathBuf, #[source] serde_json::Error),
}

type Result<T> = std::result::Result<T, LedgerError>;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_path_buf();
    move |source| LedgerError::Io {
        operation,
        path,
        source,
    }
}

const FILE: &str = "ledger.json";

/// What is written down of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// As it was last reported.
    pub status: TaskStatus,
    /// A shim was about to be started, or was.
    pub launched: bool,
}

/// The folder of bundles.
#[derive(Clone, Debug)]
pub struct Ledger {
    root: PathBuf,
}

impl Ledger {
    /// Opens, and makes if needed, `<data>/tasks`.
    pub fn open(data: &Path) -> Result<Self> {
        let root = data.join("tasks");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o700)))
            .map_err(failed("make folder", &root))?;
        Ok(Self { root })
    }

    /// The bundle of a task.
    pub fn bundle(&self, task: &str) -> PathBuf {
        self.root.join(task)
    }

    /// Ids of all tasks that have a folder.
    pub fn tasks(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let entry = entry.map_err(failed("list", &self.root))?;
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(found)
    }

    /// Writes down how far a task is; its folder is made if need be. The file is replaced whole.
    pub fn write(&self, task: &str, record: &Record) -> Result<()> {
        let bundle = self.bundle(task);
        fs::create_dir_all(&bundle).map_err(failed("make folder", &bundle))?;
        let text = serde_json::to_vec(record).expect("a record has only string keys");
        let (new, path) = (bundle.join("ledger.json.new"), bundle.join(FILE));
        fs::write(&new, text).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("rename to", &path))
    }

    /// What was written down, if anything.
    pub fn read(&self, task: &str) -> Result<Option<Record>> {
        let path = self.bundle(task).join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| LedgerError::Malformed(path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Removes the bundle: the very last step of a task.
    pub fn forget(&self, task: &str) -> Result<()> {
        let bundle = self.bundle(task);
        match fs::remove_dir_all(&bundle) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &bundle)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Scope;
    use fogbank_types::status::TaskPhase;

    pub(crate) fn status(id: &str) -> TaskStatus {
        TaskStatus {
            scope: Scope::new("000000000000", "us-east-1"),
            id: id.to_owned(),
            phase: TaskPhase::Pending,
            stop_code: None,
            stopped_reason: None,
            connectivity_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            containers: vec![],
        }
    }

    #[test]
    fn what_was_begun_is_known_until_it_is_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(data.path()).unwrap();
        assert_eq!(ledger.read("a").unwrap(), None);
        let record = Record {
            status: status("a"),
            launched: true,
        };
        ledger.write("a", &record).unwrap();
        let again = Ledger::open(data.path()).unwrap();
        assert_eq!(again.tasks().unwrap(), ["a"]);
        assert_eq!(again.read("a").unwrap(), Some(record));
        again.forget("a").unwrap();
        again.forget("a").unwrap();
        assert!(again.tasks().unwrap().is_empty());
        let mode = fs::metadata(data.path().join("tasks"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn damage_is_an_error_and_not_an_empty_ledger() {
        let data = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(data.path()).unwrap();
        ledger
            .write(
                "a",
                &Record {
                    status: status("a"),
                    launched: false,
                },
            )
            .unwrap();
        fs::write(data.path().join("tasks/a/ledger.json"), "{").unwrap();
        assert!(matches!(ledger.read("a"), Err(LedgerError::Malformed(..))));
    }
}
