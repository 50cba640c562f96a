//! One resolver per VPC, at its +2 address and at 169.254.169.253 (fact VPC-10), inside its namespace.
//!
//! Called by `process` after every change of the VPCs. The node makes the namespaces, in its own time: a
//! resolver waits for its own, and moves when it is made anew. What must stay true: sockets go with the VPC,
//! so that nothing here keeps a namespace alive.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fogbank_types::ec2::Vpc;
use fogbank_types::{RegionConfig, Snapshot, VpcId};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::forward::Forwarder;
use super::namespace::{Identity, NamespaceError, SocketMaker, Sockets};
use super::responder::{Counters, Responder};
use super::server::{self, PACKETS_PER_SECOND, RateLimit};
use super::tables::{Tables, View};

/// Beside the +2 address, in every VPC.
const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
const PORT: u16 = 53;
const RETRY_MIN: Duration = Duration::from_millis(4);
const RETRY_MAX: Duration = Duration::from_millis(200);
/// How often a resolver looks whether its namespace is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// After that a missing namespace is told to the operator.
const PATIENCE: Duration = Duration::from_secs(5);

/// The resolvers of all VPCs with DNS support.
pub struct Resolvers {
    config: RegionConfig,
    maker: Arc<SocketMaker>,
    tables: watch::Receiver<Arc<Tables>>,
    forwarder: Option<Forwarder>,
    counters: Arc<Counters>,
    running: HashMap<VpcId, Running>,
}

struct Running {
    resolver: Ipv4Addr,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Resolvers {
    pub fn new(
        config: RegionConfig,
        tables: watch::Receiver<Arc<Tables>>,
        forwarder: Option<Forwarder>,
        counters: Arc<Counters>,
    ) -> Result<Self, NamespaceError> {
        Ok(Self {
            config,
            maker: Arc::new(SocketMaker::start()?),
            tables,
            forwarder,
            counters,
            running: HashMap::new(),
        })
    }

    /// Starts and stops resolvers so that they are those of the snapshot.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let wanted: HashMap<&VpcId, &Arc<Vpc>> = snapshot
            .vpcs
            .all()
            .filter(|vpc| vpc.enable_dns_support)
            .map(|vpc| (&vpc.vpc_id, vpc))
            .collect();
        self.running.retain(|vpc_id, running| {
            wanted
                .get(vpc_id)
                .is_some_and(|vpc| vpc.resolver() == running.resolver)
        });
        for (vpc_id, vpc) in wanted {
            if !self.running.contains_key(vpc_id) {
                let running = self.start(vpc);
                self.running.insert(vpc_id.clone(), running);
            }
        }
    }

    fn start(&self, vpc: &Vpc) -> Running {
        let view = View::Vpc(vpc.scope.clone(), vpc.vpc_id.clone());
        let resolver = Resolver {
            // As the node names it: `net::names::vpc_namespace`.
            path: PathBuf::from("/run/netns").join(self.config.namespace(vpc.vpc_id.tail())),
            addresses: [vpc.resolver(), LINK_LOCAL],
            maker: self.maker.clone(),
            responder: Responder::new(
                self.tables.clone(),
                view,
                self.forwarder.clone(),
                self.counters.clone(),
            ),
        };
        Running {
            resolver: vpc.resolver(),
            task: tokio::spawn(resolver.run()).abort_handle(),
        }
    }
}

struct Resolver {
    path: PathBuf,
    addresses: [Ipv4Addr; 2],
    maker: Arc<SocketMaker>,
    responder: Responder,
}

impl Resolver {
    async fn run(self) {
        loop {
            let sockets = self.sockets().await;
            let identity = sockets.identity;
            let serving = match self.serve(sockets) {
                Ok(serving) => serving,
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "a resolver cannot serve");
                    sleep(RETRY_MAX).await;
                    continue;
                }
            };
            tracing::debug!(path = %self.path.display(), "a resolver serves");
            while Identity::at(&self.path) == Some(identity) {
                sleep(LOOK).await;
            }
            drop(serving);
        }
    }

    /// Tries until the namespace and its addresses are there.
    async fn sockets(&self) -> Sockets {
        let since = Instant::now();
        let mut told = false;
        let mut retry = RETRY_MIN;
        loop {
            match self.maker.open(&self.path, &self.addresses, PORT).await {
                Ok(sockets) => return sockets,
                Err(error) => {
                    if !told && since.elapsed() > PATIENCE {
                        told = true;
                        let error = with_causes(&error);
                        tracing::warn!(%error, "a VPC has no resolver yet");
                    }
                }
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Ends when the set is dropped.
    fn serve(&self, sockets: Sockets) -> io::Result<JoinSet<()>> {
        let mut serving = JoinSet::new();
        let limit = RateLimit::new(PACKETS_PER_SECOND, Instant::now());
        let limit = Arc::new(Mutex::new(limit));
        for socket in sockets.udp {
            let socket = UdpSocket::from_std(socket)?;
            let limit = Some(limit.clone());
            serving.spawn(server::serve_udp(socket, self.responder.clone(), limit));
        }
        for listener in sockets.tcp {
            let listener = TcpListener::from_std(listener)?;
            serving.spawn(server::serve_tcp(listener, self.responder.clone()));
        }
        Ok(serving)
    }
}

/// An error with what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}
