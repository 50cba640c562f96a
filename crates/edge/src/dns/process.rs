//! `fogbank dns`: mirrors the store and answers, on the public address and in every VPC.
//!
//! Called by the binary. What must stay true: while the store is away the last tables go on serving.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fogbank_store::remote::Client;
use fogbank_store::{Follower, Store};
use fogbank_types::{RegionConfig, Revision};
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::forward::Forwarder;
use super::geography::Geography;
use super::guard::Guard;
use super::metrics;
use super::mirror::{Effect, Mirror};
use super::query_log::QueryLogger;
use super::report;
use super::resolvers::Resolvers;
use super::responder::{Counters, Responder};
use super::server;
use super::tables::{Tables, View};
use crate::namespace::NamespaceError;

/// Batches that are taken before the tables are made.
const MAX_BATCHES: usize = 256;

#[derive(Debug, Error)]
pub enum DnsError {
    #[error("listening on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("starting the thread of query logs")]
    Thread { source: io::Error },
    #[error("waiting for signals")]
    Signal { source: io::Error },
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(config: RegionConfig) -> Result<(), DnsError> {
    let listen = |kind| signal(kind).map_err(|source| DnsError::Signal { source });
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let store: Arc<dyn Store> = Arc::new(Client::connect(config.store_socket()));
    let counters = Arc::new(Counters::default());
    let logger = logger(&config, &counters)?;
    let ended = tokio::select! {
        result = serve_counted(config, store, counters.clone(), logger.clone()) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    logger.finish().await;
    tracing::info!(?counters, "the servers end");
    ended
}

/// Serves until it is dropped.
pub async fn serve(config: RegionConfig, store: Arc<dyn Store>) -> Result<(), DnsError> {
    let counters = Arc::default();
    let logger = logger(&config, &counters)?;
    serve_counted(config, store, counters, logger).await
}

fn logger(config: &RegionConfig, counters: &Arc<Counters>) -> Result<QueryLogger, DnsError> {
    QueryLogger::start(config.logs_dir(), counters.clone())
        .map_err(|source| DnsError::Thread { source })
}

async fn serve_counted(
    config: RegionConfig,
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    logger: QueryLogger,
) -> Result<(), DnsError> {
    let (publish, tables) = watch::channel(Arc::new(Tables::default()));
    let forwarder = Forwarder::of_region(&config);
    let responder = Responder::new(tables.clone(), View::Public, None, counters.clone())
        .guarded(Guard::new())
        .logged(logger);
    let mut tasks = JoinSet::new();
    let (udp, tcp) = sockets(config.dns).await?;
    tasks.spawn(server::serve_udp(udp, responder.clone(), None));
    tasks.spawn(server::serve_tcp(tcp, responder));
    let own = report::key(&config.host);
    let (applied, reports) = watch::channel(0);
    tasks.spawn(report::report(store.clone(), config.host.clone(), reports));
    let mirror = Mirror::new(config.clone()).with_geography(geography(&config));
    let counted = metrics::report(
        config.clone(),
        store.clone(),
        counters.clone(),
        mirror.counts(),
    );
    tasks.spawn(counted);
    let resolvers = Resolvers::new(config, tables, forwarder, counters)?;
    follow(store, own, mirror, publish, applied, resolvers).await
}

/// A file that went bad since `fogbank up` looked at it is no reason to answer nothing.
fn geography(config: &RegionConfig) -> Option<Arc<Geography>> {
    let path = config.geography.as_ref()?;
    Geography::open(path)
        .inspect_err(|error| tracing::error!(%error, path = %path.display(), "no places of askers"))
        .ok()
        .map(Arc::new)
}

async fn sockets(address: SocketAddr) -> Result<(UdpSocket, TcpListener), DnsError> {
    let failed = |source| DnsError::Listen { address, source };
    let udp = UdpSocket::bind(address).await.map_err(failed)?;
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    Ok((udp, tcp))
}

async fn follow(
    store: Arc<dyn Store>,
    own: String,
    mut mirror: Mirror,
    publish: watch::Sender<Arc<Tables>>,
    applied: watch::Sender<Revision>,
    mut resolvers: Resolvers,
) -> Result<(), DnsError> {
    let mut follower = Follower::with_prefixes(store, Mirror::prefixes(&own));
    let mut reported = None;
    loop {
        let mut effect = Effect::default();
        let mut report = None;
        let mut batch = Some(follower.next().await);
        for _ in 0..MAX_BATCHES {
            let Some(next) = batch.take() else { break };
            let one = mirror.apply(&next, &own);
            effect.tables |= one.tables;
            effect.forgotten = one.forgotten;
            // The first batch says that we are ready, whatever it holds.
            if one.report || reported.is_none() {
                reported = Some(next.revision);
                report = reported;
            }
            batch = tokio::select! {
                biased;
                batch = follower.next() => Some(batch),
                () = std::future::ready(()) => None,
            };
        }
        if effect.tables {
            publish.send_replace(Arc::new(mirror.tables()));
            resolvers.follow(mirror.snapshot());
        }
        if let Some(revision) = report.or(reported.filter(|_| effect.forgotten)) {
            applied.send_replace(revision);
        }
    }
}
