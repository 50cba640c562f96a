//! Uploads that are under way: a writer each, kept between the requests of a client.
//!
//! Used by the registry and by ECR's native push. They end with the process: a client then begins again, as the
//! protocol has it. Uploads that nobody goes on with are dropped, and with them their bytes.

use fogbank_store::blob::{BlobError, BlobStore, BlobWriter};
use fogbank_types::Scope;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client that is silent for so long has gone.
pub const IDLE: Duration = Duration::from_secs(3600);
/// Open uploads; more are refused.
const OPEN_MAX: usize = 1000;
/// A layer is at most this large (ECR: 52,000 MiB).
pub const BYTES_MAX: u64 = 52_000 << 20;

/// Why an upload cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the upload '{0}' is unknown to this registry")]
    Unknown(String),
    #[error("another request is writing to this upload")]
    Busy,
    #[error("too many uploads are under way")]
    TooMany,
    #[error("a layer must not be larger than {BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Blob(#[from] BlobError),
}

struct Upload {
    scope: Scope,
    repository: String,
    /// `None` while a request is writing.
    writer: Option<BlobWriter>,
    written: u64,
    touched: Instant,
}

static UPLOADS: LazyLock<Mutex<HashMap<String, Upload>>> = LazyLock::new(Mutex::default);

fn all() -> MutexGuard<'static, HashMap<String, Upload>> {
    // Nothing panics while it is held half-way.
    UPLOADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins an upload to a repository. The id is the caller's, random.
pub fn begin(
    blobs: &BlobStore,
    scope: &Scope,
    repository: &str,
    id: &str,
) -> Result<(), UploadError> {
    let writer = blobs.writer()?;
    let mut uploads = all();
    uploads.retain(|_, upload| upload.writer.is_none() || upload.touched.elapsed() < IDLE);
    if uploads.len() >= OPEN_MAX {
        return Err(UploadError::TooMany);
    }
    let upload = Upload {
        scope: scope.clone(),
        repository: repository.to_owned(),
        writer: Some(writer),
        written: 0,
        touched: Instant::now(),
    };
    uploads.insert(id.to_owned(), upload);
    Ok(())
}

fn known<'a>(
    uploads: &'a mut HashMap<String, Upload>,
    scope: &Scope,
    repository: &str,
    id: &str,
) -> Result<&'a mut Upload, UploadError> {
    uploads
        .get_mut(id)
        .filter(|upload| upload.scope == *scope && upload.repository == repository)
        .ok_or_else(|| UploadError::Unknown(id.to_owned()))
}

/// How many bytes an upload has.
pub fn written(scope: &Scope, repository: &str, id: &str) -> Result<u64, UploadError> {
    Ok(known(&mut all(), scope, repository, id)?.written)
}

/// Takes the writer out; nobody else gets it until it is given back.
pub fn take(scope: &Scope, repository: &str, id: &str) -> Result<Taken, UploadError> {
    let mut uploads = all();
    let upload = known(&mut uploads, scope, repository, id)?;
    let writer = upload.writer.take().ok_or(UploadError::Busy)?;
    Ok(Taken {
        id: id.to_owned(),
        writer: Some(writer),
    })
}

/// Drops an upload and its bytes.
pub fn cancel(scope: &Scope, repository: &str, id: &str) -> Result<(), UploadError> {
    let mut uploads = all();
    known(&mut uploads, scope, repository, id)?;
    uploads.remove(id);
    Ok(())
}

/// An upload in one request's hands; dropped, it goes back with the bytes it has.
pub struct Taken {
    id: String,
    writer: Option<BlobWriter>,
}

impl Taken {
    fn writer(&mut self) -> &mut BlobWriter {
        self.writer
            .as_mut()
            .expect("only finish takes the writer, and it consumes this")
    }

    pub fn written(&mut self) -> u64 {
        self.writer().written()
    }

    /// Adds bytes at the end. Blocks on the disk.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if self.written() + bytes.len() as u64 > BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        Ok(self.writer().append(bytes)?)
    }

    /// Ends the upload: its bytes become a blob, if they are those that were promised.
    pub fn finish(mut self, expected: &fogbank_store::blob::Digest) -> Result<u64, UploadError> {
        let written = self.written();
        let writer = self.writer.take().expect("nothing took it before");
        all().remove(&self.id);
        writer.commit(Some(expected))?;
        Ok(written)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        if let Some(upload) = all().get_mut(&self.id) {
            upload.written = writer.written();
            upload.touched = Instant::now();
            upload.writer = Some(writer);
        }
    }
}
