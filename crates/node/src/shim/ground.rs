//! What all containers of a task stand on: the task's user namespace and the place of what they write.
//!
//! Made by the shim before the first container and held until the task's end.

use std::path::{Path, PathBuf};

use super::state::TaskSpec;
use crate::sandbox::{Identity, SandboxError};

/// See the module.
pub struct Ground {
    identity: Option<Identity>,
    folder: PathBuf,
}

impl Ground {
    pub fn prepare(spec: &TaskSpec, bundle: &Path) -> Result<Self, SandboxError> {
        let identity = spec
            .user_namespace
            .then(|| Identity::claim(&spec.task))
            .transpose()?;
        Ok(Self {
            identity,
            folder: bundle.to_path_buf(),
        })
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Where a container's writable layer lies.
    pub fn container(&self, name: &str) -> PathBuf {
        self.folder.join("containers").join(name)
    }
}
