//! Pulls from registries on the internet, over the task's own network: name, login, manifest, configuration, layers.
//!
//! Called by the task agent for images that are not in this region's registry, if the region has internet. A pull runs on
//! a thread of its own inside the task's network namespace, so that the subnet's routes, gateways and security groups
//! carry it or stop it. What must stay true: a blob is kept only under the digest that its bytes have, and only as many
//! bytes are taken as its descriptor promises.

mod challenge;
mod connection;
mod name;
mod registry;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fogbank_store::blob::{BlobError, Digest};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;

use super::ImageCache;
use super::manifest::{ManifestError, Platform};
use connection::Way;
pub use name::{Parts, Reference, RemoteImage};
use registry::Registry;

/// Why a pull failed; the text ends up behind `CannotPullContainerError: `.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("failed to do request: dial {host}: {source}")]
    Unreachable { host: String, source: io::Error },
    #[error("not found")]
    NotFound,
    #[error(
        "pull access denied, repository does not exist or may require authorization: {message}"
    )]
    Denied { message: String },
    #[error("toomanyrequests: {message}")]
    TooManyRequests { message: String },
    #[error("unexpected status from {host}: {status}: {message}")]
    Status {
        host: String,
        status: u16,
        message: String,
    },
    #[error("the answer of {host} is malformed: {what}")]
    Malformed { host: String, what: &'static str },
    #[error("blob {digest} broke off: {reason}")]
    BrokenOff { digest: Digest, reason: String },
    #[error("blob {digest} is larger than the {size} bytes of its descriptor")]
    TooLarge { digest: Digest, size: u64 },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("entering the task's network: {0}")]
    Namespace(io::Error),
}

impl PullError {
    /// Whether a second try may go better.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::BrokenOff { .. } | Self::TooManyRequests { .. } => {
                true
            }
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// A user of a registry. The password is never shown.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Where a pull happens.
pub struct Place {
    /// The task's network namespace.
    pub netns: PathBuf,
    /// The region's own authority is trusted beside the system's.
    pub data_folder: PathBuf,
    pub cache: Arc<ImageCache>,
    pub platform: Platform,
}

/// How far a pull is, in bytes of configuration and layers.
#[derive(Debug, Default)]
pub struct Progress {
    pub done: AtomicU64,
    /// 0 until the manifest was read.
    pub total: AtomicU64,
}

impl Progress {
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Brings the image's manifest, configuration and layers for the platform into the cache and gives the
/// digest that the name stands for. The blobs stay as long as a [`super::cache::Use`] of the caller's does. Blobs that are here already are not fetched. Blocks.
pub fn pull(
    place: &Place,
    image: &RemoteImage,
    credentials: Option<&Credentials>,
    progress: &Arc<Progress>,
) -> Result<Digest, PullError> {
    // The caller's may end while this goes on.
    let _in_use = place.cache.begin();
    // The namespace is the thread's, so the thread is the pull's alone and ends with it.
    let pulled = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("fogbank-pull".to_owned())
            .spawn_scoped(scope, || pull_here(place, image, credentials, progress));
        thread.map(|thread| thread.join())
    });
    match pulled {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Err(PullError::Namespace(error)),
    }
}

fn pull_here(
    place: &Place,
    image: &RemoteImage,
    credentials: Option<&Credentials>,
    progress: &Arc<Progress>,
) -> Result<Digest, PullError> {
    let netns = File::open(&place.netns).map_err(PullError::Namespace)?;
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| PullError::Namespace(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PullError::Namespace)?;
    let way = Way::new(&place.data_folder);
    let registry = Rc::new(Registry::new(way, image, credentials.cloned()));
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, registry.pull(place, progress))
}
