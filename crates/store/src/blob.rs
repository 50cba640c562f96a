//! Content-addressed blobs: image manifests, configurations and layers, one file a SHA-256 digest.
//!
//! The registry (control) and `fogbank image load` write here, the node reads here; both are processes of the same
//! host and share `<data>/blobs`. What must stay true: a file under `sha256/` has exactly the content its name says,
//! whole and on disk. So bytes go to `partial/` first, are hashed on the way, synced, and only then renamed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What can go wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The text is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("{text:?} is not a sha256 digest")]
    BadDigest { text: String },
    /// The bytes received are not the bytes promised.
    #[error("the content has digest {actual}, not {expected}")]
    Mismatch { expected: Digest, actual: Digest },
    /// The blob is larger than its reader allows.
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed here")]
    TooLarge {
        digest: Digest,
        size: u64,
        limit: u64,
    },
    /// The file system refused.
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Short for this module's results.
pub type Result<T> = std::result::Result<T, BlobError>;

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_path_buf();
    move |source| BlobError::Io {
        operation,
        path,
        source,
    }
}

/// A SHA-256 digest, written `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the 32 bytes of a finished hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = BlobError;

    /// Only the canonical form: other algorithms and upper case are refused, so that one content has one name.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || BlobError::BadDigest {
            text: text.chars().take(100).collect(),
        };
        let hex = text.strip_prefix("sha256:").ok_or_else(bad)?.as_bytes();
        if hex.len() != 64 {
            return Err(bad());
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0]).ok_or_else(bad)? << 4 | nibble(pair[1]).ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The folder of blobs. Cheap to clone; several processes may hold one on the same folder.
#[derive(Clone, Debug)]
pub struct BlobStore {
    root: PathBuf,
}

impl BlobStore {
    /// Opens, and makes if needed, the blob folder of a data folder: `<data>/blobs`.
    pub fn open(data: &Path) -> Result<Self> {
        let root = data.join("blobs");
        for folder in ["sha256", "partial"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(io_error("create folder", &path))?;
        }
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of this digest is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// The blob's size, or `None` if it isn't here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("look at blob", &path)(error)),
        }
    }

    /// The blob's size, or `None` if it isn't here; its time of change becomes now.
    pub fn touch(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some((file, size)) = self.file(digest)? else {
            return Ok(None);
        };
        let path = self.path(digest);
        file.set_modified(SystemTime::now())
            .map_err(io_error("touch blob", &path))?;
        Ok(Some(size))
    }

    /// The blob's size and when it was written or touched last, or `None` if it isn't here.
    pub fn touched(&self, digest: &Digest) -> Result<Option<(u64, SystemTime)>> {
        let path = self.path(digest);
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(io_error("look at blob", &path))?,
        };
        let time = found.modified().map_err(io_error("look at blob", &path))?;
        Ok(Some((found.len(), time)))
    }

    /// The open blob and its size, or `None` if it isn't here.
    pub fn file(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => {
                let size = file
                    .metadata()
                    .map_err(io_error("look at blob", &path))?
                    .len();
                Ok(Some((file, size)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open blob", &path)(error)),
        }
    }

    /// The whole blob if it is here and not larger than `limit` bytes (manifests and configurations).
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some((file, size)) = self.file(digest)? else {
            return Ok(None);
        };
        if size > limit {
            return Err(BlobError::TooLarge {
                digest: *digest,
                size,
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(io_error("read blob", &self.path(digest)))?;
        Ok(Some(bytes))
    }

    /// Begins a blob of yet unknown digest.
    pub fn writer(&self) -> Result<BlobWriter> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let started = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let path = self
            .root
            .join("partial")
            .join(format!("{}-{started}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(io_error("create blob", &path))?;
        Ok(BlobWriter {
            store: self.clone(),
            partial: Some(path),
            file,
            hash: Sha256::new(),
            written: 0,
        })
    }

    /// Stores these bytes under their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.writer()?;
        writer.append(bytes)?;
        writer.commit(None)
    }

    /// Forgets a blob; a missing one is fine. Readers that have it open keep it.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove blob", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every blob that is here, in no order.
    pub fn digests(&self) -> Result<Vec<Digest>> {
        let path = self.root.join("sha256");
        let mut found = Vec::new();
        for entry in fs::read_dir(&path).map_err(io_error("list blobs", &path))? {
            let name = entry.map_err(io_error("list blobs", &path))?.file_name();
            if let Ok(digest) = format!("sha256:{}", name.to_string_lossy()).parse() {
                found.push(digest);
            }
        }
        Ok(found)
    }

    /// Removes uploads that nobody has written to for `idle` (their writer crashed), and says how many.
    pub fn sweep(&self, idle: Duration) -> Result<usize> {
        let path = self.root.join("partial");
        let mut removed = 0;
        for entry in fs::read_dir(&path).map_err(io_error("list uploads", &path))? {
            let entry = entry.map_err(io_error("list uploads", &path))?;
            let age = entry
                .metadata()
                .and_then(|found| found.modified())
                .ok()
                .and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age >= idle) && fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// A blob on its way in. Dropped without [`BlobWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    partial: Option<PathBuf>,
    file: File,
    hash: Sha256,
    written: u64,
}

impl BlobWriter {
    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io_error(
            "write blob",
            self.partial.as_deref().unwrap_or(&self.store.root),
        ))?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes it has.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the blob durable under its digest. If `expected` is given and differs, nothing is kept.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<Digest> {
        let actual = Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(BlobError::Mismatch {
                expected: *expected,
                actual,
            });
        }
        let target = self.store.path(&actual);
        if target.exists() {
            return Ok(actual);
        }
        self.file
            .sync_all()
            .map_err(io_error("sync blob", &target))?;
        let partial = self
            .partial
            .as_deref()
            .expect("only commit and drop take the path");
        fs::rename(partial, &target).map_err(io_error("rename blob to", &target))?;
        self.partial = None;
        let folder = self.store.root.join("sha256");
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("sync folder", &folder))?;
        Ok(actual)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(partial) = self.partial.take() {
            // Nothing can be done about a failure here; `sweep` tries again later.
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let data = tempfile::tempdir().unwrap();
        let store = BlobStore::open(data.path()).unwrap();
        (data, store)
    }

    fn partials(data: &Path) -> usize {
        fs::read_dir(data.join("blobs/partial")).unwrap().count()
    }

    #[test]
    fn a_blob_comes_back_under_its_digest() {
        let (_data, store) = store();
        let digest = store.put(b"hello").unwrap();
        assert_eq!(
            digest.to_string(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(store.read(&digest, 100).unwrap().unwrap(), b"hello");
        assert_eq!(store.size(&digest).unwrap(), Some(5));
        assert_eq!(store.digests().unwrap(), [digest]);
    }

    #[test]
    fn a_lying_digest_is_refused_and_nothing_is_kept() {
        let (data, store) = store();
        let mut writer = store.writer().unwrap();
        writer.append(b"hello").unwrap();
        assert!(matches!(
            writer.commit(Some(&Digest::of(b"other"))),
            Err(BlobError::Mismatch { .. })
        ));
        assert_eq!(
            (store.digests().unwrap().len(), partials(data.path())),
            (0, 0)
        );
    }

    #[test]
    fn an_abandoned_upload_leaves_nothing() {
        let (data, store) = store();
        let mut writer = store.writer().unwrap();
        writer.append(b"half").unwrap();
        drop(writer);
        assert_eq!(partials(data.path()), 0);
    }

    #[test]
    fn the_uploads_of_a_crashed_process_are_swept() {
        let (data, store) = store();
        let mut writer = store.writer().unwrap();
        writer.append(b"half").unwrap();
        std::mem::forget(writer);
        assert_eq!(store.sweep(Duration::from_secs(60)).unwrap(), 0);
        assert_eq!(store.sweep(Duration::ZERO).unwrap(), 1);
        assert_eq!(partials(data.path()), 0);
    }

    #[test]
    fn only_canonical_digests_parse() {
        let good = Digest::of(b"x").to_string();
        assert_eq!(good.parse::<Digest>().unwrap(), Digest::of(b"x"));
        for bad in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "sha512:aa",
            &good.to_uppercase(),
            &good[..70],
            &format!("{good}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_large_blob_is_not_read_whole() {
        let (_data, store) = store();
        let digest = store.put(&[0; 100]).unwrap();
        assert!(matches!(
            store.read(&digest, 99),
            Err(BlobError::TooLarge { size: 100, .. })
        ));
        assert_eq!(store.read(&Digest::of(b"none"), 99).unwrap(), None);
    }

    #[test]
    fn a_touched_blob_is_as_young_as_its_touch() {
        let (_data, store) = store();
        let digest = store.put(b"x").unwrap();
        let file = File::open(store.path(&digest)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            store.touched(&digest).unwrap(),
            Some((1, SystemTime::UNIX_EPOCH))
        );
        let before = SystemTime::now();
        assert_eq!(store.touch(&digest).unwrap(), Some(1));
        assert!(store.touched(&digest).unwrap().unwrap().1 >= before);
        let none = Digest::of(b"none");
        assert_eq!(
            (store.touch(&none).unwrap(), store.touched(&none).unwrap()),
            (None, None)
        );
    }

    #[test]
    fn a_removed_blob_is_gone_and_removing_it_again_is_fine() {
        let (_data, store) = store();
        let digest = store.put(b"x").unwrap();
        store.remove(&digest).unwrap();
        store.remove(&digest).unwrap();
        assert_eq!(store.size(&digest).unwrap(), None);
    }
}
