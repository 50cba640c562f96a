//! What all containers of a task stand on: the task's user namespace and the place of what they write.
//!
//! Made by the shim before the first container and held until the task's end.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::state::TaskSpec;
use crate::sandbox::{Group, Identity, Place, SandboxError, SharedPids, storage};

/// Why there is nothing to stand on.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    #[error("ResourceInitializationError: make the task's namespaces")]
    Namespaces(#[from] SandboxError),
    #[error("ResourceInitializationError: make the task's ephemeral storage")]
    Storage(#[from] storage::StorageError),
}

/// See the module.
pub struct Ground {
    pids: Option<SharedPids>,
    identity: Option<Identity>,
    folder: PathBuf,
}

impl Ground {
    pub fn prepare(spec: &TaskSpec, group: &Group, bundle: &Path) -> Result<Self, GroundError> {
        let identity = spec
            .user_namespace
            .then(|| Identity::claim(&spec.task))
            .transpose()?;
        let mut folder = bundle.to_path_buf();
        if let Some(template) = &spec.storage_template {
            folder.push("storage");
            if spec.storage_given {
                storage::put(std::io::stdin().as_fd(), &folder)?;
            } else {
                storage::put(storage::make(template)?.as_fd(), &folder)?;
            }
        }
        // Last, because what is cloned from here on is in that namespace.
        let pids = spec
            .shared_pids
            .then(|| SharedPids::make(group, &bundle.join("pause"), identity.as_ref()))
            .transpose()?;
        Ok(Self {
            pids,
            identity,
            folder,
        })
    }

    /// Calls with the place of a container.
    pub fn place<R>(&self, name: &str, group: &Group, call: impl FnOnce(&Place<'_>) -> R) -> R {
        call(&Place {
            folder: &self.folder.join("containers").join(name),
            volumes: &self.folder.join("volumes"),
            group,
            identity: self.identity.as_ref(),
            shared_pids: self.pids.is_some(),
        })
    }
}
