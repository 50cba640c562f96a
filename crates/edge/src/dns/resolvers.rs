//! One resolver per VPC, at its +2 address, at 169.254.169.253 and, if the VPC has IPv6, at fd00:ec2::253 (fact
//! VPC-10), inside its namespace.
//!
//! Called by `process` after every change of the VPCs. The node makes the namespaces, in its own time and only
//! of VPCs that have an interface here: a resolver waits for its own, and moves when it is made anew. What must stay true: sockets go with the VPC,
//! so that nothing here keeps a namespace alive.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
use super::responder::{Counters, Responder};
use super::server::{self, PACKETS_PER_SECOND, RateLimit};
use super::tables::{Tables, View};
use crate::namespace::{
    Folder, NAMESPACES_DIR, NamespaceError, Protocols, SocketMaker, Sockets, with_causes,
};

/// Beside the +2 address, in every VPC.
const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// In VPCs with IPv6.
const UNIQUE_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253);
const PORT: u16 = 53;
const RETRY_MIN: Duration = Duration::from_millis(4);
/// The interface that is the namespace's reason is being made: its task is about to ask.
const RETRY_SOON: Duration = Duration::from_millis(20);
/// After `PATIENCE`.
const RETRY_MAX: Duration = Duration::from_millis(200);
/// After that a missing namespace is told to the operator.
const PATIENCE: Duration = Duration::from_secs(5);

/// The resolvers of all VPCs with DNS support.
pub struct Resolvers {
    config: RegionConfig,
    maker: Arc<SocketMaker>,
    folder: Folder,
    tables: watch::Receiver<Arc<Tables>>,
    forwarder: Option<Forwarder>,
    counters: Arc<Counters>,
    running: HashMap<(VpcId, Family), Running>,
}

/// Each has sockets of its own, as a VPC may get and lose IPv6 at any time.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

struct Running {
    addresses: Vec<IpAddr>,
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
            maker: Arc::new(SocketMaker::start("dns-sockets")?),
            folder: Folder::watch(),
            tables,
            forwarder,
            counters,
            running: HashMap::new(),
        })
    }

    /// Starts and stops resolvers so that they are those of the snapshot.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let host = &self.config.host;
        let here: HashSet<&VpcId> = snapshot
            .enis
            .all()
            .filter(|eni| eni.host.as_ref() == Some(host))
            .map(|eni| &eni.vpc_id)
            .collect();
        let mut wanted = HashMap::new();
        for vpc in snapshot.vpcs.all() {
            if vpc.enable_dns_support && here.contains(&vpc.vpc_id) {
                let v4: Vec<IpAddr> = vec![vpc.resolver().into(), LINK_LOCAL.into()];
                wanted.insert((vpc.vpc_id.clone(), Family::V4), (vpc, v4));
                if vpc.ipv6_blocks().next().is_some() {
                    let v6 = vec![UNIQUE_LOCAL.into()];
                    wanted.insert((vpc.vpc_id.clone(), Family::V6), (vpc, v6));
                }
            }
        }
        self.running.retain(|key, running| {
            wanted
                .get(key)
                .is_some_and(|(_, addresses)| *addresses == running.addresses)
        });
        for (key, (vpc, addresses)) in wanted {
            if !self.running.contains_key(&key) {
                let running = self.start(vpc, addresses);
                self.running.insert(key, running);
            }
        }
    }

    fn start(&self, vpc: &Vpc, addresses: Vec<IpAddr>) -> Running {
        let view = View::Vpc(vpc.scope.clone(), vpc.vpc_id.clone());
        let resolver = Resolver {
            // As the node names it: `net::names::vpc_namespace`.
            path: PathBuf::from(NAMESPACES_DIR).join(self.config.namespace(vpc.vpc_id.tail())),
            addresses: addresses
                .iter()
                .map(|address| SocketAddr::new(*address, PORT))
                .collect(),
            maker: self.maker.clone(),
            folder: self.folder.clone(),
            responder: Responder::new(
                self.tables.clone(),
                view,
                self.forwarder.clone(),
                self.counters.clone(),
            ),
        };
        Running {
            addresses,
            task: tokio::spawn(resolver.run()).abort_handle(),
        }
    }
}

struct Resolver {
    path: PathBuf,
    addresses: Vec<SocketAddr>,
    maker: Arc<SocketMaker>,
    folder: Folder,
    responder: Responder,
}

impl Resolver {
    async fn run(self) {
        loop {
            let sockets = self.sockets().await;
            let identity = sockets.identity;
            let serving = match self.serve(sockets, Instant::now()) {
                Ok(serving) => serving,
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "a resolver cannot serve");
                    sleep(RETRY_MAX).await;
                    continue;
                }
            };
            tracing::debug!(path = %self.path.display(), "a resolver serves");
            self.folder.moved(&self.path, identity).await;
            drop(serving);
        }
    }

    /// Tries until the namespace and its addresses are there.
    async fn sockets(&self) -> Sockets {
        let since = Instant::now();
        let mut told = false;
        let mut retry = RETRY_MIN;
        loop {
            let open = self
                .maker
                .open(&self.path, &self.addresses, Protocols::UdpAndTcp);
            match open.await {
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
            retry = (retry * 2).min(if told { RETRY_MAX } else { RETRY_SOON });
        }
    }

    /// Ends when the set is dropped. Packets are counted from `now` on.
    fn serve(&self, sockets: Sockets, now: Instant) -> io::Result<JoinSet<()>> {
        let mut serving = JoinSet::new();
        let limit = RateLimit::new(PACKETS_PER_SECOND, now);
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use tokio::time::timeout;

    use super::*;
    use crate::dns::Kind;
    use crate::dns::message::write_question;
    use crate::dns::tests::fixture::{Region, inside, name};
    use crate::namespace::Identity;

    const SECOND: Duration = Duration::from_secs(1);

    async fn asker(own: [u8; 4], server: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::from(own), 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        socket
    }

    async fn hear(socket: &UdpSocket) {
        let mut buffer = [0; 512];
        let heard = timeout(20 * SECOND, socket.recv(&mut buffer)).await;
        heard.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_interface_has_its_packets_and_the_next_one_is_dropped() {
        let (_keep, tables) = watch::channel(Arc::new(Region::default().tables()));
        let counters = Arc::new(Counters::default());
        let resolver = Resolver {
            path: PathBuf::new(),
            addresses: Vec::new(),
            maker: Arc::new(SocketMaker::start("test-sockets").unwrap()),
            folder: Folder::watch(),
            responder: Responder::new(tables, inside(1), None, counters.clone()),
        };
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let server = socket.local_addr().unwrap();
        let sockets = Sockets {
            udp: vec![socket],
            tcp: Vec::new(),
            identity: Identity::at(Path::new("/proc/self/ns/net")).unwrap(),
        };
        // The second begins in an hour only: however slow the machine is, there is no other one.
        let _serving = resolver
            .serve(sockets, Instant::now() + 3_600 * SECOND)
            .unwrap();
        let busy = asker([127, 0, 0, 2], server).await;
        let other = asker([127, 0, 0, 3], server).await;
        let question = write_question(7, &name("localhost"), Kind::A);
        for _ in 0..1_024 {
            busy.send(&question).await.unwrap();
            hear(&busy).await;
        }
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 0);
        busy.send(&question).await.unwrap();
        // A socket's packets are taken in their order: with this answer the one before has been looked at.
        other.send(&question).await.unwrap();
        hear(&other).await;
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(counters.queries.load(Ordering::Relaxed), 1_025);
    }
}
