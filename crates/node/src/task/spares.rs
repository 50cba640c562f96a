//! Ephemeral storage for tasks to come, made before they ask: to attach and mount a file system takes several hand-overs to
//! threads of the kernel, each of which waits for its turn on a busy host.
//!
//! Only of the size that tasks have who ask for none. Who finds no spare makes its own.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::plan::STORAGE_GIB;
use crate::sandbox::storage::{self, StorageError};

/// A service's usual few tasks.
const SPARES: usize = 4;
/// Tasks that are just starting come first.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Ready {
    spares: Mutex<Vec<OwnedFd>>,
    taken: Condvar,
}

/// See the module.
pub struct Spares {
    folder: PathBuf,
    ready: Arc<Ready>,
}

impl Spares {
    /// `folder` holds the templates.
    pub fn start(folder: PathBuf) -> Self {
        let ready = Arc::new(Ready::default());
        let (weak, templates) = (Arc::downgrade(&ready), folder.clone());
        let maker = move || {
            while let Some(ready) = weak.upgrade() {
                let spares = ready.spares.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = ready
                    .taken
                    .wait_timeout_while(spares, PAUSE * 4, |spares| spares.len() >= SPARES)
                    .unwrap_or_else(PoisonError::into_inner);
                if waited.1.timed_out() {
                    continue;
                }
                drop(waited);
                std::thread::sleep(PAUSE);
                let made = storage::template(&templates, STORAGE_GIB)
                    .and_then(|template| storage::make(&template));
                match made {
                    Ok(spare) => {
                        let mut spares =
                            ready.spares.lock().unwrap_or_else(PoisonError::into_inner);
                        spares.push(spare);
                    }
                    // A task that needs one tells its own reason.
                    Err(error) => {
                        tracing::debug!(%error, "no spare storage");
                        std::thread::sleep(Duration::from_secs(5));
                    }
                }
            }
        };
        // Without the thread every task makes its own.
        let _ = std::thread::Builder::new()
            .name("spare storage".to_owned())
            .spawn(maker);
        Self { folder, ready }
    }

    /// The template of that size, and a file system made from it if one is ready. Blocks where the template has to be made.
    pub fn take(&self, gib: u32) -> Result<(PathBuf, Option<OwnedFd>), StorageError> {
        let template = storage::template(&self.folder, gib)?;
        if gib != STORAGE_GIB {
            return Ok((template, None));
        }
        let mut spares = self
            .ready
            .spares
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let spare = spares.pop();
        drop(spares);
        self.ready.taken.notify_one();
        Ok((template, spare))
    }
}
