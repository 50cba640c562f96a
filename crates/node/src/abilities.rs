//! What this host can do to hold tasks apart, looked at once when the agent starts.
//!
//! What must stay true: a guarantee that can't be given is said in the log, with what stands in for it.

use std::path::Path;

use crate::sandbox::{self, Hierarchies};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Tasks get ids of their own: root in a container is nobody on the host.
    pub user_namespaces: bool,
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
        Self {
            user_namespaces: identities.is_ok(),
        }
    }
}
