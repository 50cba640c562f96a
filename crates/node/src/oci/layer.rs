//! Layers unpacked once each, for overlayfs to stack: `<data>/layers/<diff id>/`.
//!
//! Called by the task agent before a container's root is made. What must stay true: a folder under its final name is
//! whole and has exactly the content its diff id says; unpacking never touches anything outside its own folder; two
//! tasks that need the same layer at once unpack it once. The store's folder is root's alone (0700): layers hold setuid
//! programs that the host's users must not reach.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fogbank_store::blob::{BlobError, BlobStore, Digest};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::image::Layer;
use super::manifest::Packing;
use super::root::{self, Found, Root, RootError};
use super::tar::{Archive, Entry, Kind, TarError};
use super::zstd;

/// Why a layer is refused or could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("the layer is not a valid archive: {0}")]
    Archive(#[from] TarError),
    #[error("the layer's archive is refused: {0}")]
    Path(#[from] RootError),
    #[error("the layer holds device node {0:?}")]
    Device(String),
    #[error("the layer holds malformed whiteout {0:?}")]
    Whiteout(String),
    #[error("the layer unpacks to more than {limit} bytes")]
    TooManyBytes { limit: u64 },
    #[error("the layer has more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("the layer's content has digest {actual}, not {expected}")]
    DiffId { expected: Digest, actual: Digest },
    #[error("blob {0} not found")]
    NoBlob(Digest),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{operation} {path}")]
    Io {
        operation: &'static str,
        path: String,
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, LayerError>;

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> LayerError {
    let path = path.to_string_lossy().into_owned();
    move |source| LayerError::Io {
        operation,
        path,
        source: source.into(),
    }
}

/// What one layer may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: u64,
    pub entries: u64,
}

impl Default for Limits {
    /// Fargate's 20 GiB of ephemeral storage include the image's layers ("Fargate task ephemeral storage").
    fn default() -> Self {
        Self {
            bytes: 20 << 30,
            entries: 2_000_000,
        }
    }
}

/// What unpacking met that isn't an error but is worth a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub bytes: u64,
    pub entries: u64,
    pub whiteouts: u64,
    /// Extended attributes that were left out (anything but `user.*` and file capabilities).
    pub dropped_xattrs: u64,
}

/// The folder of unpacked layers. Clones share their locks.
#[derive(Clone)]
pub struct LayerStore {
    root: PathBuf,
    limits: Limits,
    busy: Arc<Mutex<HashMap<Digest, Arc<Mutex<()>>>>>,
}

impl LayerStore {
    /// Opens, and makes if needed, `<data>/layers`.
    pub fn open(data: &Path, limits: Limits) -> Result<Self> {
        let root = data.join("layers");
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root);
        made.and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o700)))
            .map_err(failed("make folder", &root))?;
        Ok(Self {
            root,
            limits,
            busy: Arc::default(),
        })
    }

    /// Where the layer of this diff id is, or would be.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join(diff_id.hex())
    }

    /// Removes what unpacking and removing left when the process was killed. Only for the store's one owner, at its start.
    pub fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let entry = entry.map_err(failed("list", &self.root))?;
            let name = entry.file_name();
            let name = name.as_bytes();
            if name.starts_with(b".partial-") || name.starts_with(b".removed-") {
                fs::remove_dir_all(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// The folder of the layer, unpacked if it wasn't yet. Blocks; concurrent callers for one layer wait for the first.
    pub fn ensure(&self, blobs: &BlobStore, layer: &Layer) -> Result<PathBuf> {
        let target = self.path(&layer.diff_id);
        if target.is_dir() {
            return Ok(target);
        }
        let gate = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(busy.entry(layer.diff_id).or_default())
        };
        let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let done = if target.is_dir() {
            Ok(())
        } else {
            self.unpack_to(&target, blobs, layer)
        };
        drop(held);
        self.busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&layer.diff_id);
        done.map(|()| target)
    }

    fn unpack_to(&self, target: &Path, blobs: &BlobStore, layer: &Layer) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (file, _) = blobs
            .file(&layer.blob)?
            .ok_or(LayerError::NoBlob(layer.blob))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let partial = self.root.join(format!(
            ".partial-{}-{}-{number}",
            layer.diff_id.hex(),
            std::process::id()
        ));
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&partial)
            .map_err(failed("make folder", &partial))?;
        let result = unpack(file, layer.packing, &layer.diff_id, &partial, self.limits).and_then(|unpacked| {
            sync(&partial)?;
            match fs::rename(&partial, target) {
                // Another process of this host was faster; its copy is as good.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(&partial)
                    .map_err(failed("remove", &partial)),
                other => other.map_err(failed("rename layer to", target)),
            }?;
            tracing::info!(diff_id = %layer.diff_id, bytes = unpacked.bytes, entries = unpacked.entries,
                whiteouts = unpacked.whiteouts, dropped_xattrs = unpacked.dropped_xattrs, "layer unpacked");
            Ok(())
        });
        if let Err(error) = &result {
            tracing::warn!(diff_id = %layer.diff_id, %error, "layer refused");
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }

    /// Takes every layer but these out of the store, at once; they go with [`Self::remove`]. Only while nobody begins to
    /// use a layer that isn't among these.
    pub fn set_aside(&self, kept: &HashSet<Digest>) -> Result<Vec<PathBuf>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut aside = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))? {
            let entry = entry.map_err(failed("list", &self.root))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let digest = format!("sha256:{name}").parse::<Digest>();
            if digest.is_ok_and(|digest| !kept.contains(&digest)) {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let target = self.root.join(format!(".removed-{name}-{number}"));
                fs::rename(entry.path(), &target).map_err(failed("rename", &entry.path()))?;
                aside.push(target);
            }
        }
        Ok(aside)
    }

    /// Removes what was set aside.
    pub fn remove(&self, aside: Vec<PathBuf>) -> Result<()> {
        for path in aside {
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }
}

/// One sync of the file system instead of one a file: a layer has thousands of them.
fn sync(path: &Path) -> Result<()> {
    let folder = File::open(path).map_err(failed("open", path))?;
    rustix::fs::syncfs(&folder).map_err(failed("sync", path))
}

/// Unpacks one layer into an existing, empty folder.
fn unpack(
    file: File,
    packing: Packing,
    diff_id: &Digest,
    into: &Path,
    limits: Limits,
) -> Result<Unpacked> {
    match packing {
        Packing::Plain => unpack_tar(file, diff_id, into, limits),
        Packing::Gzip => {
            let buffered = io::BufReader::with_capacity(1 << 16, file);
            unpack_tar(
                flate2::bufread::MultiGzDecoder::new(buffered),
                diff_id,
                into,
                limits,
            )
        }
        Packing::Zstd => {
            let buffered = io::BufReader::with_capacity(1 << 16, file);
            unpack_tar(zstd::Frames::new(buffered), diff_id, into, limits)
        }
    }
}

/// Hashes and counts what passes through it.
struct Measured<R> {
    source: R,
    hash: Sha256,
    bytes: u64,
    limit: u64,
}

/// Marks the one error of [`Measured`] among the I/O errors.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct OverLimit;

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read(buffer)?;
        self.hash.update(&buffer[..got]);
        self.bytes += got as u64;
        if self.bytes > self.limit {
            return Err(io::Error::other(OverLimit));
        }
        Ok(got)
    }
}

fn unpack_tar(
    source: impl Read,
    diff_id: &Digest,
    into: &Path,
    limits: Limits,
) -> Result<Unpacked> {
    let source = Measured {
        source,
        hash: Sha256::new(),
        bytes: 0,
        limit: limits.bytes,
    };
    // Archives are made of 512-byte blocks: one read of the decoder should bring many.
    let mut archive = Archive::new(io::BufReader::with_capacity(1 << 16, source));
    let mut writer = Writer {
        root: Root::open(into)?,
        folder_times: Vec::new(),
        folder_times_bytes: 0,
        unpacked: Unpacked::default(),
    };
    let over_limit = |error: TarError| match error {
        TarError::Read(source)
            if source
                .get_ref()
                .is_some_and(|inner| inner.is::<OverLimit>()) =>
        {
            LayerError::TooManyBytes {
                limit: limits.bytes,
            }
        }
        other => LayerError::Archive(other),
    };
    while let Some(entry) = archive.next_entry().map_err(over_limit)? {
        writer.unpacked.entries += 1;
        if writer.unpacked.entries > limits.entries {
            return Err(LayerError::TooManyEntries {
                limit: limits.entries,
            });
        }
        writer
            .apply(&entry, &mut archive.content())
            .map_err(|error| match error {
                LayerError::Io { source, .. }
                    if source
                        .get_ref()
                        .is_some_and(|inner| inner.is::<OverLimit>()) =>
                {
                    LayerError::TooManyBytes {
                        limit: limits.bytes,
                    }
                }
                other => other,
            })?;
    }
    // The digest is over the whole stream, what follows the end mark included.
    let mut source = archive.into_source();
    io::copy(&mut source, &mut io::sink()).map_err(|error| over_limit(TarError::Read(error)))?;
    let source = source.into_inner();
    let actual = Digest::from_bytes(source.hash.finalize().into());
    if actual != *diff_id {
        return Err(LayerError::DiffId {
            expected: *diff_id,
            actual,
        });
    }
    writer.finish();
    Ok(Unpacked {
        bytes: source.bytes,
        ..writer.unpacked
    })
}

/// Puts entries into the layer's folder.
struct Writer {
    root: Root,
    /// Set last: making members changes their folder's time.
    folder_times: Vec<(PathBuf, i64)>,
    /// Of the paths in it.
    folder_times_bytes: usize,
    unpacked: Unpacked,
}

/// What a layer's folders may take of our memory while it is unpacked.
const FOLDER_TIMES_MAX_BYTES: usize = 32 << 20;
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";
const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";

impl Writer {
    fn apply(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        if matches!(entry.kind, Kind::CharacterDevice | Kind::BlockDevice) {
            return Err(LayerError::Device(
                String::from_utf8_lossy(&entry.path)
                    .chars()
                    .take(200)
                    .collect(),
            ));
        }
        let path = root::clean(&entry.path)?;
        let Some(name) = path.file_name() else {
            return self.root_folder(entry);
        };
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(&path, name);
        }
        match entry.kind {
            Kind::Folder => self.folder(entry, &path),
            Kind::File => self.file(entry, &path, content),
            Kind::HardLink => self.hard_link(entry, &path),
            Kind::Symlink => {
                let (folder, name) = self.cleared(&path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), folder, name)
                    .map_err(failed("make link", &path))?;
                own_and_date(folder, name, entry).map_err(failed("own link", &path))
            }
            Kind::Fifo => {
                let (folder, name) = self.cleared(&path)?;
                rustix::fs::mknodat(
                    folder,
                    name,
                    FileType::Fifo,
                    Mode::from_raw_mode(entry.mode),
                    0,
                )
                .map_err(failed("make fifo", &path))?;
                own_and_date(folder, name, entry).map_err(failed("own fifo", &path))?;
                rustix::fs::chmodat(
                    folder,
                    name,
                    Mode::from_raw_mode(entry.mode),
                    AtFlags::empty(),
                )
                .map_err(failed("set mode of", &path))
            }
            Kind::CharacterDevice | Kind::BlockDevice => unreachable!("refused above"),
        }
    }

    /// The entry `./` sets the mode and owner of the image's root.
    fn root_folder(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Folder {
            return Err(
                RootError::Malformed(String::from_utf8_lossy(&entry.path).into_owned()).into(),
            );
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self
            .root
            .resolve(Path::new(""), flags)
            .map_err(failed("open", Path::new("/")))?;
        dress(folder.as_fd(), entry).map_err(failed("set mode of", Path::new("/")))
    }

    /// The parent and name of a path at which nothing stands any more. Later entries replace earlier ones.
    fn cleared<'a>(&mut self, path: &'a Path) -> Result<(BorrowedFd<'_>, &'a OsStr)> {
        let (folder, name) = self.root.parent(path)?;
        let found = root::look(folder, name)?;
        if found != Found::Nothing {
            root::remove(folder, name)?;
            self.root.forget();
        }
        Ok(self.root.parent(path)?)
    }

    fn folder(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let (folder, name) = self.root.parent(path)?;
        let found = root::look(folder, name)?;
        if found != Found::Folder {
            if found != Found::Nothing {
                root::remove(folder, name)?;
                self.root.forget();
            }
            let (folder, name) = self.root.parent(path)?;
            rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o700))
                .map_err(failed("make folder", path))?;
        }
        let (folder, name) = self.root.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(folder, name, flags, Mode::empty())
            .map_err(failed("open folder", path))?;
        dress(made.as_fd(), entry).map_err(failed("set mode of", path))?;
        // A whiteout and a folder of one name in one layer: the layer below must not shine through.
        if found == Found::Whiteout {
            opaque(made.as_fd()).map_err(failed("mark opaque", path))?;
        }
        self.xattrs(made.as_fd(), entry, path)?;
        self.remember_time(path, entry.modified_s);
        Ok(())
    }

    /// Two million folders with long names are gigabytes: past a bound they keep the time they have.
    fn remember_time(&mut self, path: &Path, modified_s: i64) {
        let bytes = path.as_os_str().len() + size_of::<(PathBuf, i64)>();
        if self.folder_times_bytes + bytes <= FOLDER_TIMES_MAX_BYTES {
            self.folder_times_bytes += bytes;
            self.folder_times.push((path.to_path_buf(), modified_s));
        }
    }

    fn file(&mut self, entry: &Entry, path: &Path, content: &mut dyn Read) -> Result<()> {
        let (folder, name) = self.cleared(path)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))
            .map_err(failed("make file", path))?;
        let mut file = File::from(made);
        io::copy(content, &mut file).map_err(failed("write file", path))?;
        dress(file.as_fd(), entry).map_err(failed("set mode of", path))?;
        self.xattrs(file.as_fd(), entry, path)?;
        rustix::fs::futimens(&file, &times(entry.modified_s)).map_err(failed("set time of", path))
    }

    /// Hard links lead to what the same layer already has; a target reached through a link outside it isn't found.
    fn hard_link(&mut self, entry: &Entry, path: &Path) -> Result<()> {
        let target = root::clean(&entry.link)?;
        let opened = self
            .root
            .resolve(&target, OFlags::PATH | OFlags::NOFOLLOW)
            .map_err(failed("find hard link target", &target))?;
        let stat = rustix::fs::fstat(&opened).map_err(failed("look at", &target))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(RootError::Malformed(target.to_string_lossy().into_owned()).into());
        }
        if target == path {
            return Ok(());
        }
        let (folder, name) = self.cleared(path)?;
        rustix::fs::linkat(&opened, "", folder, name, AtFlags::EMPTY_PATH)
            .map_err(failed("make hard link", path))
    }

    /// Image-spec "Whiteouts", turned into overlayfs's own form.
    fn whiteout(&mut self, path: &Path, name: &OsStr) -> Result<()> {
        self.unpacked.whiteouts += 1;
        let bytes = name.as_bytes();
        if bytes == OPAQUE {
            let parent = path.parent().unwrap_or(Path::new(""));
            self.root.folder(parent)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder = self
                .root
                .resolve(parent, flags)
                .map_err(failed("open folder", parent))?;
            return opaque(folder.as_fd()).map_err(failed("mark opaque", parent));
        }
        let hidden = OsStr::from_bytes(&bytes[WHITEOUT.len()..]);
        if hidden.as_bytes().starts_with(WHITEOUT) {
            // AUFS's own files (.wh..wh.plnk and such) mean nothing here.
            return Ok(());
        }
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(LayerError::Whiteout(path.to_string_lossy().into_owned()));
        }
        let target = path.with_file_name(hidden);
        let (folder, name) = self.root.parent(&target)?;
        match root::look(folder, name)? {
            Found::Nothing => {
                rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(failed("make whiteout", &target))
            }
            Found::Folder => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(folder, name, flags, Mode::empty());
                made.and_then(|made| opaque(made.as_fd()))
                    .map_err(failed("mark opaque", &target))
            }
            // A whiteout hides what lower layers have; this layer's own file covers that already.
            Found::Whiteout | Found::Other => Ok(()),
        }
    }

    /// Keeps file capabilities and users' own attributes. All others are dropped: `trusted.overlay.*` above all, with
    /// which a layer could redirect overlayfs.
    fn xattrs(&mut self, file: BorrowedFd<'_>, entry: &Entry, path: &Path) -> Result<()> {
        for (name, value) in &entry.xattrs {
            let kept = name == b"security.capability"
                || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."));
            if !kept || name.contains(&0) {
                self.unpacked.dropped_xattrs += 1;
                continue;
            }
            match rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP | Errno::PERM) => self.unpacked.dropped_xattrs += 1,
                other => other.map_err(failed("set attribute of", path))?,
            }
        }
        Ok(())
    }

    /// Folder times are cosmetic: one that was replaced meanwhile is passed over.
    fn finish(&mut self) {
        for (path, modified_s) in self.folder_times.drain(..).rev() {
            if let Ok(folder) = self
                .root
                .resolve(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            {
                let _ = rustix::fs::futimens(&folder, &times(modified_s));
            }
        }
    }
}

fn opaque(folder: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    rustix::fs::fsetxattr(folder, OVERLAY_OPAQUE, b"y", XattrFlags::empty())
}

fn times(modified_s: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: modified_s,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Owner before mode: changing the owner clears setuid and setgid.
fn dress(file: BorrowedFd<'_>, entry: &Entry) -> std::result::Result<(), Errno> {
    rustix::fs::fchown(
        file,
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
}

fn own_and_date(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
) -> std::result::Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(
        folder,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    rustix::fs::utimensat(
        folder,
        name,
        &times(entry.modified_s),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
