//! What this host can do to hold tasks apart, looked at once when the agent starts.
//!
//! What must stay true: a guarantee that can't be given is said in the log, with what stands in for it.

use std::path::Path;

use crate::sandbox::{self, Hierarchies, storage};
use crate::task;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Tasks get ids of their own: root in a container is nobody on the host.
    pub user_namespaces: bool,
    /// Each task's writing is held to the storage that it asked for.
    pub storage_limits: bool,
}

impl Abilities {
    pub fn detect(data: &Path, hierarchies: &Hierarchies) -> Self {
        let missing = hierarchies.missing();
        if !missing.is_empty() {
            tracing::warn!(
                controllers = missing.join(", "),
                "control groups lack controllers: tasks are not held to those limits"
            );
        }
        let identities = sandbox::probe_identities(&data.join("layers"));
        if let Err(reason) = &identities {
            tracing::warn!(
                reason,
                "no user namespaces for tasks: root in a container is the host's, held by its capabilities, the system call \
                 filter and no_new_privs alone"
            );
        }
        let templates = task::storage_templates(data);
        let storage = storage::template(&templates, task::STORAGE_GIB)
            .and_then(|template| storage::make(&template));
        if let Err(error) = &storage {
            tracing::warn!(
                %error,
                cause = ?std::error::Error::source(error),
                "no ephemeral storage of their own for tasks: they write to the host's disk, without a limit"
            );
        }
        Self {
            storage_limits: storage.is_ok(),
            user_namespaces: identities.is_ok(),
        }
    }
}
