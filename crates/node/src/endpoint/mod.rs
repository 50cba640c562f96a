//! What a task finds at 169.254.170.2: its metadata and stats (version 4, and 3), the credentials of its role, and the
//! protection from scale-in. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>
//!
//! The agent calls [`Endpoint::update`] after each change; `listeners` keeps a door in every VPC's namespace of this host,
//! `answers` gives each request its answer. What must stay true: a task is known by its address alone, which the VPC's
//! router lets nobody else use (`net::compile::firewall`), so that it hears of itself and of nobody else; no packet
//! leaves the VPC's namespace; nothing here keeps a namespace alive; what is answered is of the rows and the kernel as
//! they are, so that a restart forgets nothing.

mod answers;
mod credentials;
mod listeners;
mod metadata;
mod protection;
mod stats;
mod storage;
mod throttle;

use std::sync::Arc;

use fogbank_pki::Sessions;
use fogbank_types::{RegionConfig, Snapshot};
use tokio::sync::watch;

use crate::sandbox::Hierarchies;

pub use credentials::{relative_uri, role, role_arns};

/// The address, in every VPC's namespace.
const ADDRESS: std::net::Ipv4Addr = fogbank_net::names::TASK_METADATA;

/// What containers are told about it, `index` being the container's in its definition.
pub fn environment(runtime_id: &str) -> [(&'static str, String); 3] {
    [
        (
            "ECS_CONTAINER_METADATA_URI_V4",
            format!("http://{ADDRESS}/v4/{runtime_id}"),
        ),
        (
            "ECS_CONTAINER_METADATA_URI",
            format!("http://{ADDRESS}/v3/{runtime_id}"),
        ),
        (
            "ECS_AGENT_URI",
            format!("http://{ADDRESS}/api/{runtime_id}"),
        ),
    ]
}

/// The doors of this host, and the socket for commands in its containers, which follows the same rows.
pub struct Endpoint {
    rows: watch::Sender<Snapshot>,
}

impl Endpoint {
    pub fn start(config: Arc<RegionConfig>, hierarchies: Hierarchies, sessions: Sessions) -> Self {
        let (rows, reader) = watch::channel(Snapshot::default());
        let answers = answers::Answers::new(Arc::clone(&config), reader, hierarchies, sessions);
        tokio::spawn(crate::exec::serve(Arc::clone(&config), rows.subscribe()));
        tokio::spawn(listeners::run(config, rows.subscribe(), Arc::new(answers)));
        Self { rows }
    }

    /// The rows as they are now.
    pub fn update(&self, snapshot: &Snapshot) {
        self.rows.send_replace(snapshot.clone());
    }
}
