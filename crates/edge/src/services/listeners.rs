//! Listens at every door, on 80 and by TLS on 443, inside the namespace where the door is.
//!
//! Called by `process` after every change of interface endpoints. The node makes the namespaces, in its own time: a
//! door waits for its own, and moves when it is made anew. What must stay true: sockets and connections go with the
//! door, so that nothing here keeps a namespace alive; no packet of a client's leaves its namespace, as the way to
//! the API is a connection of the host's own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fogbank_types::{Arrival, RegionConfig, Snapshot};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::doors::{self, Door, Place};
use super::exchange::{self, Limits, Way};
use super::leaves::DoorLeaves;
use crate::clients::Clients;
use crate::namespace::{Folder, NamespaceError, Protocols, SocketMaker, Sockets, with_causes};

const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// Open connections of all doors; control takes twice as many.
const CONNECTIONS_MAX: usize = 1024;
/// Of them, those of one address at the public doors together, or at one endpoint's, where addresses are its VPC's
/// own; a NAT gateway's stands for many tasks.
const CONNECTIONS_OF_CLIENT_MAX: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
const RETRY_MIN: Duration = Duration::from_millis(4);
const RETRY_MAX: Duration = Duration::from_millis(200);
/// After `PATIENCE`.
const RETRY_LATE: Duration = Duration::from_secs(1);
/// After that a missing namespace is told to the operator, and looked for less often.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was done since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections: AtomicU64,
    /// Too many of one client.
    pub turned_away: AtomicU64,
    pub handshakes_failed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The doors that are open, or are waiting for their namespaces.
pub struct Listeners {
    config: RegionConfig,
    shared: Shared,
    maker: Arc<SocketMaker>,
    folder: Folder,
    open: HashMap<Place, Open>,
}

/// What all doors have in common.
#[derive(Clone)]
pub struct Shared {
    tls: TlsAcceptor,
    slots: Arc<Semaphore>,
    /// Of the public doors.
    clients: Clients,
    counters: Arc<Counters>,
}

struct Open {
    door: Door,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub fn new(leaves: DoorLeaves, counters: Arc<Counters>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(leaves));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            clients: Clients::new(CONNECTIONS_OF_CLIENT_MAX),
            counters,
        })
    }
}

impl Shared {
    fn clients_of(&self, door: &Door) -> Clients {
        match door {
            Door::Public | Door::Storage => self.clients.clone(),
            Door::Endpoint { .. } => Clients::new(CONNECTIONS_OF_CLIENT_MAX),
        }
    }

    #[cfg(test)]
    pub fn tls(&self) -> TlsAcceptor {
        self.tls.clone()
    }
}

impl Listeners {
    pub fn new(config: RegionConfig, shared: Shared) -> Result<Self, NamespaceError> {
        Ok(Self {
            config,
            shared,
            maker: Arc::new(SocketMaker::start("service-sockets")?),
            folder: Folder::watch(),
            open: HashMap::new(),
        })
    }

    /// Opens and closes doors so that they are those of the snapshot.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let wanted = doors::doors(&self.config, snapshot);
        self.open
            .retain(|place, open| wanted.get(place) == Some(&open.door));
        for (place, door) in wanted {
            if self.open.contains_key(&place) {
                continue;
            }
            let entrance = Entrance {
                place: place.clone(),
                way: Arc::new(Way {
                    door: door.clone(),
                    api: self.config.door_socket(),
                    limits: Limits::default(),
                }),
                shared: self.shared.clone(),
                maker: self.maker.clone(),
                folder: self.folder.clone(),
            };
            let task = tokio::spawn(entrance.run()).abort_handle();
            self.open.insert(place, Open { door, task });
        }
    }
}

/// A door's two ports.
struct Entrance {
    place: Place,
    way: Arc<Way>,
    shared: Shared,
    maker: Arc<SocketMaker>,
    folder: Folder,
}

impl Entrance {
    async fn run(self) {
        let path = &self.place.namespace;
        loop {
            let sockets = self.sockets().await;
            let identity = sockets.identity;
            let clients = self.shared.clients_of(&self.way.door);
            let mut serving = JoinSet::new();
            for (listener, is_tls) in sockets.tcp.into_iter().zip([false, true]) {
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let tls = is_tls.then(|| self.shared.tls.clone());
                        serving.spawn(accept(
                            listener,
                            self.way.clone(),
                            tls,
                            clients.clone(),
                            self.shared.clone(),
                        ));
                    }
                    Err(error) => {
                        tracing::warn!(%error, place = ?self.place, "a door cannot open");
                    }
                }
            }
            tracing::debug!(place = ?self.place, "a door is open");
            self.folder.moved(path, identity).await;
        }
    }

    /// Tries until the namespace and its address are there.
    async fn sockets(&self) -> Sockets {
        let addresses = [HTTP, HTTPS].map(|port| SocketAddr::new(self.place.address, port));
        let since = Instant::now();
        let mut told = false;
        let mut retry = RETRY_MIN;
        loop {
            let open = self
                .maker
                .open(&self.place.namespace, &addresses, Protocols::Tcp);
            match open.await {
                Ok(sockets) => return sockets,
                Err(error) if !told && since.elapsed() > PATIENCE => {
                    told = true;
                    let error = with_causes(&error);
                    tracing::info!(%error, place = ?self.place, "a door waits for its namespace");
                }
                Err(_) => {}
            }
            sleep(retry).await;
            retry = (retry * 2).min(if told { RETRY_LATE } else { RETRY_MAX });
        }
    }
}

/// Takes connections until it is dropped, and they end with it.
pub async fn accept(
    listener: TcpListener,
    way: Arc<Way>,
    tls: Option<TlsAcceptor>,
    clients: Clients,
    shared: Shared,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = shared.slots.clone().acquire_owned().await else {
            return;
        };
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give connections time to end.
                tracing::debug!(%error, "accepting");
                sleep(PAUSE).await;
                continue;
            }
        };
        count(&shared.counters.connections);
        let Some(place) = clients.admit(canonical(client)) else {
            count(&shared.counters.turned_away);
            continue;
        };
        let (way, tls, counters) = (way.clone(), tls.clone(), shared.counters.clone());
        connections.spawn(async move {
            // Whatever ends a connection, it is the client's business alone.
            if let Err(error) = connection(stream, client, &way, tls, &counters).await {
                tracing::debug!(%error, %client, "a connection ended");
            }
            drop((slot, place));
        });
    }
}

fn canonical(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    way: &Way,
    tls: Option<TlsAcceptor>,
    counters: &Counters,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let arrival = Arrival {
        client: SocketAddr::new(canonical(client), client.port()),
        is_tls: tls.is_some(),
        endpoint: way.door.endpoint().cloned(),
    };
    let Some(tls) = tls else {
        return exchange::serve(stream, &arrival, way).await;
    };
    let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    let stream = handshake
        .map_err(io::Error::from)
        .and_then(|result| result)
        .inspect_err(|_| count(&counters.handshakes_failed))?;
    exchange::serve(stream, &arrival, way).await
}
