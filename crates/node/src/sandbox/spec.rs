//! What a container is to be; written by the agent into the task's bundle, read by the shim.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    /// Folders of the unpacked layers, base first.
    pub layers: Vec<PathBuf>,
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Empty means `/`.
    pub cwd: String,
    /// `user`, `user:group`, names or numbers; empty means root.
    pub user: String,
    pub hostname: String,
    /// Path of an existing network namespace; `None` gives an empty one of its own.
    pub netns: Option<PathBuf>,
    pub read_only_root: bool,
    /// Files of the host that appear in the container.
    pub files: Vec<BoundFile>,
    pub ulimits: Vec<Ulimit>,
    /// Its first process only reaps and passes signals on (`initProcessEnabled`); the program is its child.
    #[serde(default)]
    pub init: bool,
    #[serde(default)]
    pub capabilities: Capabilities,
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// Kernel parameters of its namespaces, `net.core.somaxconn`, and their values.
    #[serde(default)]
    pub system_controls: Vec<(String, String)>,
    /// Its three streams are a terminal.
    #[serde(default)]
    pub terminal: bool,
}

/// A folder of the task's storage at a path of the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The folder's name, one component.
    pub volume: String,
    pub target: PathBuf,
    pub read_only: bool,
    /// Whether an empty one is filled with what the image has there.
    pub seeded: bool,
}

/// Changes to the default list, by names without `CAP_`, or `ALL`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}

/// A file of the host, writable, at a path of the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundFile {
    pub source: PathBuf,
    pub target: PathBuf,
}

/// A resource limit by its Linux name without `RLIMIT_`, in lower case; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}
