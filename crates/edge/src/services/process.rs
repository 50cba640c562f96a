//! `fogbank services`: mirrors the store's interface endpoints and keeps their doors, and the public ones, open.
//!
//! Called by the binary. What must stay true: while the store is away the last doors stay open, and whoever knocks
//! while control starts again waits a moment.

use std::io;
use std::sync::Arc;

use fogbank_pki::Authority;
use fogbank_store::remote::Client;
use fogbank_store::{Follower, Store};
use fogbank_types::{RegionConfig, Snapshot};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use super::leaves::DoorLeaves;
use super::listeners::{Counters, Listeners, Shared};
use crate::namespace::NamespaceError;
use crate::rows;
use fogbank_pki::LeafError;

/// Kinds of rows that doors come from.
const FOLLOWED: [&str; 2] = ["vpc-endpoint", "eni"];

#[derive(Debug, Error)]
pub enum ServicesError {
    #[error("the region's certificates")]
    Leaves(#[from] LeafError),
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("waiting for signals")]
    Signal { source: io::Error },
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: RegionConfig) -> Result<(), ServicesError> {
    let listen = |kind| signal(kind).map_err(|source| ServicesError::Signal { source });
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let store: Arc<dyn Store> = Arc::new(Client::connect(config.store_socket()));
    let counters = Arc::new(Counters::default());
    let ended = tokio::select! {
        result = serve_counted(config, store, counters.clone()) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    tracing::info!(?counters, "the doors close");
    ended
}

/// Serves until it is dropped.
pub async fn serve(config: RegionConfig, store: Arc<dyn Store>) -> Result<(), ServicesError> {
    serve_counted(config, store, Arc::default()).await
}

async fn serve_counted(
    config: RegionConfig,
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
) -> Result<(), ServicesError> {
    let authority = Authority::open(&config.data_dir).map_err(LeafError::from)?;
    let shared = Shared::new(DoorLeaves::new(authority)?, counters)?;
    let mut listeners = Listeners::new(config, shared)?;
    let mut snapshot = Snapshot::default();
    // The public doors need no rows.
    listeners.follow(&snapshot);
    let prefixes = FOLLOWED.map(|kind| format!("{kind}/"));
    let mut follower = Follower::with_prefixes(store, prefixes.into());
    loop {
        let batch = follower.next().await;
        rows::apply(&mut snapshot, &batch);
        listeners.follow(&snapshot);
    }
}
