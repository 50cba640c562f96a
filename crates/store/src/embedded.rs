//! The backend of a region that lasts: rows in memory, as with [`crate::Memory`], and redb under them as the log of truth.
//!
//! One thread commits. While it waits for the disk, the transactions that come in gather, and the next commit takes
//! all of them: many writers share one sync. What must stay true: an answered transaction survives `kill -9`; a
//! transaction that failed has changed neither the rows in memory nor, once the file can be written again, the file.
//! The file's rows are sealed ([`crate::seal`]). Why redb, and what a commit costs: `docs/decisions/0002-store-redb.md`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use crate::Store;
use crate::core::{Command, Core, HistoryLimits, Log, Row, Rows, Write};
use crate::error::{Result, StoreError};
use crate::row::{Entry, LeaseId, Revision, Txn, TxnOutcome};
use crate::seal::Seal;
use crate::watch::Watch;

/// key -> (revision of the last write, value)
const ROWS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("rows");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const FORMAT: u64 = 1;
/// Every revision given out so far is at most this. A later run starts here: leased rows use up revisions without a
/// write to the disk, and must not make them come back.
const CEILING_KEY: &str = "revision_ceiling";
const CEILING_STEP: u64 = 1 << 20;
/// Tells which key the rows are sealed with; a file without it holds them as they are.
const SEAL_KEY: &str = "seal";

/// Mode of the file: rows hold private keys.
const OWNERS_ONLY: u32 = 0o600;

/// The rows are all in memory: redb's own cache serves commits alone.
const CACHE_BYTES: usize = 2 << 20;
/// The most transactions that share a commit.
const GROUP: usize = 256;

/// Rows in memory and in a redb file.
pub struct Embedded {
    core: Arc<Core>,
    path: PathBuf,
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Pending>>,
    committer: Option<JoinHandle<()>>,
}

struct Pending {
    command: Command,
    answer: oneshot::Sender<Result<TxnOutcome>>,
}

impl Embedded {
    /// Opens the file, or makes it. Reads all of it. The rows are not sealed. Fails with `Locked` if another process has
    /// it open, with `Corrupt` if it is damaged or not ours.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_limited(path, HistoryLimits::default())
    }

    /// The same with rows that are sealed by the key in that file, which is made with the store. Rows of an older store
    /// are sealed first. Fails with `Key` if it is not the key that they are sealed with.
    pub fn open_sealed(path: &Path, key: &Path) -> Result<Self> {
        let mut seal = Seal::read(key)?;
        if path.exists() {
            protect(path)?;
            let sealed_with = sealed_with(path)?;
            match (&seal, sealed_with) {
                (None, Some(_)) => {
                    let text = "it is gone, and the region's rows cannot be read without it; put it back where it was";
                    return Err(StoreError::key(key, text));
                }
                (Some(seal), Some(check)) if seal.check() != check => {
                    let text = "it is not the one that the region's rows are sealed with";
                    return Err(StoreError::key(key, text));
                }
                (_, Some(_)) => {}
                (_, None) => {
                    let own = match seal.take() {
                        Some(own) => own,
                        None => Seal::make(key)?,
                    };
                    seal_all(path, &own)?;
                    seal = Some(own);
                }
            }
        } else {
            let own = match seal.take() {
                Some(own) => own,
                None => Seal::make(key)?,
            };
            create(path, Some(&own))?;
            seal = Some(own);
        }
        Self::start(path, Box::new(open_file), seal, HistoryLimits::default())
    }

    pub(crate) fn open_limited(path: &Path, limits: HistoryLimits) -> Result<Self> {
        if !path.exists() {
            create(path, None)?;
        }
        protect(path)?;
        Self::open_with(path, Box::new(open_file), limits)
    }

    pub(crate) fn open_with(path: &Path, open: Opener, limits: HistoryLimits) -> Result<Self> {
        Self::start(path, open, None, limits)
    }

    fn start(path: &Path, open: Opener, seal: Option<Seal>, limits: HistoryLimits) -> Result<Self> {
        let (log, rows) = RedbLog::open(path, open, seal)?;
        let revision = log.ceiling;
        let core = Core::new(path, Box::new(log), rows, revision, limits);
        let (queue, pending) = mpsc::channel();
        let committed = Arc::clone(&core);
        let committer = std::thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || commit_groups(&committed, &pending))
            .map_err(|source| StoreError::io("start a thread for", path, source))?;
        Ok(Self {
            core,
            path: path.to_owned(),
            queue: Some(queue),
            committer: Some(committer),
        })
    }

    async fn command(&self, command: Command) -> Result<TxnOutcome> {
        let (answer, answered) = oneshot::channel();
        let sent = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.send(Pending { command, answer }).is_ok());
        let gone = || StoreError::unavailable(&self.path, "its committer is gone");
        if !sent {
            return Err(gone());
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Embedded {
    /// Waits for commits under way, then lets the file go, so that it can be opened again right away.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
        self.core.close();
    }
}

fn commit_groups(core: &Core, pending: &mpsc::Receiver<Pending>) {
    while let Ok(first) = pending.recv() {
        let rest = pending.try_iter().take(GROUP - 1);
        let (commands, answers): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(rest)
            .map(|pending| (pending.command, pending.answer))
            .unzip();
        for (result, answer) in core.commit(commands).into_iter().zip(answers) {
            // Whoever asked may have gone; the transaction stands all the same.
            let _ = answer.send(result);
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.core.get(key)
    }

    async fn list(&self, prefix: &str) -> Result<(Vec<Entry>, Revision)> {
        self.core.list(prefix)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.command(Command::Txn(txn)).await
    }

    async fn watch(&self, after: Revision) -> Result<Watch> {
        self.core.watch(after)
    }

    async fn lease_grant(&self, ttl_ms: u64) -> Result<LeaseId> {
        self.core.lease_grant(ttl_ms)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.core.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.command(Command::Revoke(lease)).await.map(drop)
    }
}

/// How the log gets at its database; tests put faults in between.
pub(crate) type Opener = Box<dyn Fn(&Path) -> std::result::Result<Database, DatabaseError> + Send>;

fn open_file(path: &Path) -> std::result::Result<Database, DatabaseError> {
    builder().open(path)
}

/// The check on opening reads the file once, which loading the rows does anyway, and makes a damaged page an error
/// instead of a panic later on.
pub(crate) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}

/// One that an earlier version made may be open to others.
fn protect(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(OWNERS_ONLY))
        .map_err(|source| StoreError::io("protect", path, source))
}

/// What tells the key that the file's rows are sealed with.
fn sealed_with(path: &Path) -> Result<Option<u64>> {
    guarded(|| {
        let database = open_file(path)?;
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        Ok(meta.get(SEAL_KEY)?.map(|found| found.value()))
    })
    .map_err(|error| failure("open", path, error))
}

/// Writes all rows anew into another file, which then takes the place of the old one: freed pages of that would go on
/// holding what was in them.
fn seal_all(path: &Path, seal: &Seal) -> Result<()> {
    let staging = staging(path)?;
    let (database, rows, ceiling) = load(path, &(Box::new(open_file) as Opener), None)?;
    let written = initialise(&staging, Some(seal)).and_then(|()| {
        let fresh = builder().open(&staging)?;
        let writes = rows.iter().map(|(key, row)| Write {
            key,
            row: Some(row),
        });
        write(&fresh, Some(seal), writes, Some(ceiling))
    });
    written.map_err(|error| failure("seal", path, error))?;
    let renamed = std::fs::rename(&staging, path);
    renamed.map_err(|source| StoreError::io("seal", path, source))?;
    drop(database);
    tracing::info!(path = %path.display(), rows = rows.len(), "the store's rows are sealed from now on");
    sync_folder(path)
}

/// Where a file is made before it has its name.
fn staging(path: &Path) -> Result<PathBuf> {
    let staging = path.with_extension(format!("{}.new", std::process::id()));
    match std::fs::remove_file(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("create", path, error))
        }
        _ => Ok(staging),
    }
}

/// Made whole under another name first: a process killed meanwhile leaves no half file behind. The link fails if
/// somebody else was faster, and then theirs is the one.
fn create(path: &Path, seal: Option<&Seal>) -> Result<()> {
    let staging = staging(path)?;
    let io = |operation| move |source| StoreError::io(operation, path, source);
    let made = initialise(&staging, seal).map_err(|error| failure("create", path, error));
    let linked = made.and_then(|()| match std::fs::hard_link(&staging, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io("create")(error)),
        _ => Ok(()),
    });
    let _ = std::fs::remove_file(&staging);
    linked?;
    sync_folder(path)
}

/// The name itself must survive as well.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::io("sync the folder of", path, source))
}

fn initialise(path: &Path, seal: Option<&Seal>) -> std::result::Result<(), redb::Error> {
    // Its owner's alone from its first byte.
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNERS_ONLY)
        .open(path)
        .map_err(redb::StorageError::Io)?;
    let database = builder().create(path)?;
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT)?;
        meta.insert(CEILING_KEY, 0)?;
        if let Some(seal) = seal {
            meta.insert(SEAL_KEY, seal.check())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

struct RedbLog {
    path: PathBuf,
    open: Opener,
    seal: Option<Seal>,
    /// `None` after a failed commit: what of it has reached the file is unknown, and it is opened anew.
    database: Option<Database>,
    ceiling: Revision,
}

impl RedbLog {
    fn open(path: &Path, open: Opener, seal: Option<Seal>) -> Result<(Self, Rows)> {
        let (database, rows, ceiling) = load(path, &open, seal.as_ref())?;
        Ok((
            Self {
                path: path.to_owned(),
                open,
                seal,
                database: Some(database),
                ceiling,
            },
            rows,
        ))
    }

    /// Opens the file anew after a failure. Gives back what has to be undone there to make it what `rows` says.
    fn reopen(&mut self, rows: &Rows) -> Result<Vec<(String, Option<Row>)>> {
        let (database, found, ceiling) = load(&self.path, &self.open, self.seal.as_ref())?;
        self.ceiling = ceiling;
        self.database = Some(database);
        let mut undo: Vec<_> = found
            .keys()
            .filter(|key| !rows.contains_key(*key))
            .map(|key| (key.clone(), None))
            .collect();
        for (key, row) in rows {
            if found
                .get(key)
                .is_none_or(|found| found.revision != row.revision || found.value != row.value)
            {
                undo.push((key.clone(), Some(row.clone())));
            }
        }
        tracing::info!(path = %self.path.display(), undone = undo.len(), "opened the store anew after a failed commit");
        Ok(undo)
    }
}

impl Log for RedbLog {
    fn commit(
        &mut self,
        revision: Revision,
        writes: &[Write<'_>],
        rows: &dyn Fn() -> Rows,
    ) -> Result<()> {
        if writes.is_empty() && revision <= self.ceiling {
            return Ok(());
        }
        let undo = match self.database {
            Some(_) => Vec::new(),
            None => self.reopen(&rows())?,
        };
        let Some(database) = &self.database else {
            return Err(StoreError::corrupt(
                &self.path,
                "it could not be opened again",
            ));
        };
        let ceiling = if revision > self.ceiling {
            revision + CEILING_STEP
        } else {
            self.ceiling
        };
        let undo = undo.iter().map(|(key, row)| Write {
            key,
            row: row.as_ref(),
        });
        let writes = undo.chain(writes.iter().map(|write| Write {
            key: write.key,
            row: write.row,
        }));
        let raised = (ceiling != self.ceiling).then_some(ceiling);
        match guarded(|| write(database, self.seal.as_ref(), writes, raised)) {
            Ok(()) => {
                self.ceiling = ceiling;
                Ok(())
            }
            Err(error) => {
                let error = failure("commit to", &self.path, error);
                tracing::error!(%error, "a commit failed");
                let database = self.database.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
                Err(error)
            }
        }
    }
}

fn write<'a>(
    database: &Database,
    seal: Option<&Seal>,
    writes: impl Iterator<Item = Write<'a>>,
    ceiling: Option<Revision>,
) -> std::result::Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut rows = transaction.open_table(ROWS)?;
        for Write { key, row } in writes {
            match row {
                Some(row) => match seal {
                    Some(seal) => {
                        let sealed = seal.seal(key, &row.value).map_err(redb::StorageError::Io)?;
                        drop(rows.insert(key, (row.revision, &sealed[..]))?);
                    }
                    None => drop(rows.insert(key, (row.revision, &row.value[..]))?),
                },
                None => drop(rows.remove(key)?),
            }
        }
    }
    if let Some(ceiling) = ceiling {
        transaction.open_table(META)?.insert(CEILING_KEY, ceiling)?;
    }
    transaction.commit()?;
    Ok(())
}

fn load(path: &Path, open: &Opener, seal: Option<&Seal>) -> Result<(Database, Rows, Revision)> {
    guarded(|| {
        let database = open(path)?;
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let number = |key| -> std::result::Result<_, redb::Error> {
            Ok(meta.get(key)?.map(|found| found.value()))
        };
        let format = number(FORMAT_KEY)?;
        if number(SEAL_KEY)?.is_some() != seal.is_some() {
            let text = "its rows are sealed, or are not, other than was asked for";
            return Err(redb::Error::Corrupted(text.into()));
        }
        if format != Some(FORMAT) {
            return Err(redb::Error::Corrupted(format!(
                "its format is {format:?}, we know {FORMAT}"
            )));
        }
        let ceiling = number(CEILING_KEY)?
            .ok_or_else(|| redb::Error::Corrupted("no revision is kept".into()))?;
        let mut rows = Rows::new();
        for row in transaction.open_table(ROWS)?.iter()? {
            let (key, value) = row?;
            let (revision, value) = value.value();
            let value = match seal {
                Some(seal) => seal.unseal(key.value(), value).map(Arc::from),
                None => Some(Arc::from(value)),
            };
            let value = value
                .ok_or_else(|| redb::Error::Corrupted("a row is not what was sealed".into()))?;
            rows.insert(
                key.value().to_owned(),
                Row {
                    value,
                    revision,
                    lease: None,
                },
            );
        }
        drop((meta, transaction));
        Ok((database, rows, ceiling))
    })
    .map_err(|error| failure("open", path, error))
}

/// redb means to give errors, but a file that something else has written to may still make it panic.
fn guarded<T>(
    work: impl FnOnce() -> std::result::Result<T, redb::Error>,
) -> std::result::Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it made redb panic");
        Err(redb::Error::Corrupted(text.to_owned()))
    })
}

fn failure(operation: &'static str, path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::Locked {
                path: path.to_owned(),
            }
        }
        redb::Error::Io(source) => match source.kind() {
            // Not a redb file, or cut short.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::corrupt(path, source.to_string())
            }
            _ => StoreError::io(operation, path, source),
        },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::Backend(_) => {
            StoreError::io(operation, path, io::Error::other(error))
        }
        error => StoreError::corrupt(path, error.to_string()),
    }
}

#[cfg(test)]
mod tests;
