//! What can go wrong with the store, for all backends. Cloneable, since the transactions of one group commit share
//! its fate; kept whole over the socket as far as its meaning goes.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::row::{LeaseId, Revision};

pub type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The watcher must list again: what it has missed is no longer kept.
    #[error("the history after revision {after} is not kept (the oldest kept is {oldest})")]
    Compacted { after: Revision, oldest: Revision },
    /// The store cannot be reached. A transaction in flight may have been committed or not.
    #[error("the store at {path} cannot be reached: {reason}")]
    Unavailable { path: PathBuf, reason: String },
    #[error("lease {0} does not exist or has expired")]
    LeaseNotFound(LeaseId),
    #[error("a key must not be empty")]
    EmptyKey,
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        what: &'static str,
        size: usize,
        limit: usize,
    },
    #[error("{path} is in use by another process")]
    Locked { path: PathBuf },
    #[error("{path} is damaged: {detail}")]
    Corrupt { path: PathBuf, detail: String },
    /// Of the key that the rows are sealed with.
    #[error("the store's key {path}: {detail}")]
    Key { path: PathBuf, detail: String },
    #[error("{operation} {path}: {source}")]
    Io {
        operation: Cow<'static, str>,
        path: PathBuf,
        source: Arc<io::Error>,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation: Cow::Borrowed(operation),
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn unavailable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unavailable {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn key(path: &Path, detail: impl Into<String>) -> Self {
        Self::Key {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }

    pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            detail: detail.into(),
        }
    }
}
