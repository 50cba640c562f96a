//! What all connections of a node share, and how a new table takes the place of the old one. Used by
//! `process` (which owns it) and by the tests; `connection` and `health` run on it.
//!
//! A request holds the `Routes` it began with until it ends. Target groups live on from table to table, with
//! health and connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fogbank_types::status::TargetState;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::buffer::Buffers;
use super::clock::Dice;
use super::control::{Counts, GroupHealth, Reporting};
use super::counters::Counters;
use super::guard::Guards;
use super::log::Logs;
use super::seal::Sealer;
use super::table::{Attributes, Identity, Stickiness, Table};
use super::target::Group;
use super::tether::{Slab, Tether};
use super::tls::{self, Connector, Door};
use super::{connect, entrance, h2, health, lock, route};

/// How long accepting rests when the process has no more file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(20);
/// At the limit of connections: how often is looked for one that is idle.
const ROOM_LOOK: Duration = Duration::from_millis(20);

/// Far more than a processor does in the time they may take.
const HANDSHAKES_MAX: usize = 2048;

/// A table as it is served.
#[derive(Debug)]
pub struct Routes {
    pub revision: u64,
    pub dns_name: String,
    /// `app/<name>/<id>`
    pub load_balancer: String,
    pub identity: Identity,
    /// Logs that can't be written are off here.
    pub attributes: Attributes,
    pub groups: Vec<Arc<Group>>,
    /// Of the groups.
    pub stickiness: Vec<Option<Stickiness>>,
    pub sealer: Arc<Sealer>,
    listeners: Vec<route::Listener>,
    doors: HashMap<u16, Door>,
}

impl Routes {
    pub fn listener(&self, port: u16) -> Option<&route::Listener> {
        self.listeners.iter().find(|listener| listener.port == port)
    }

    /// What clients of a port meet; shut when no listener has it.
    pub fn door(&self, port: u16) -> Door {
        self.doors.get(&port).cloned().unwrap_or(Door::Shut)
    }

    /// Of a proxy of Service Connect: tries after the first.
    pub fn retries(&self) -> usize {
        self.attributes.mesh.map_or(0, |mesh| mesh.retries as usize)
    }

    /// When a request that begins now has had its time, whatever moves.
    pub fn request_deadline(&self) -> Option<Instant> {
        let timeout_ms = self.attributes.mesh?.request_timeout_ms;
        (timeout_ms > 0).then(|| Instant::now() + Duration::from_millis(timeout_ms))
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.attributes.connect_timeout_ms.max(1))
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.attributes.idle_timeout_ms.max(1))
    }
}

#[derive(Debug)]
pub struct Worker {
    pub dice: Dice,
    pub buffers: Buffers,
    pub counters: Counters,
    pub logs: Logs,
    pub(super) guards: Guards,
    /// TLS to targets.
    pub connector: Connector,
    /// Handshakes with clients that may be under way at once: each holds memory for a stranger.
    pub handshakes: Semaphore,
    pub reporting: Reporting,
    /// None: clients are brought to it.
    address: Option<IpAddr>,
    began: Instant,
    routes: Mutex<Arc<Routes>>,
    groups: Mutex<HashMap<String, Arc<Group>>>,
    listeners: Mutex<HashMap<u16, Listening>>,
    /// What a predecessor left: sockets until they are used, and what it thought of its targets.
    inherited: Mutex<(HashMap<u16, StdTcpListener>, Vec<GroupHealth>)>,
    connections: Mutex<Slab<Arc<Tether>>>,
    /// Back-pressure: without a permit nothing is accepted, and clients wait in the kernel's queue.
    permits: Arc<Semaphore>,
    connection_left: Notify,
    health_epoch: watch::Sender<u64>,
}

impl Worker {
    /// Without logs.
    pub fn new(address: IpAddr, max_connections: usize) -> Arc<Self> {
        Self::with_logs(address, max_connections, Logs::default())
    }

    /// Listens on nothing: clients are brought to it by `bring`.
    pub fn unbound_one(max_connections: usize) -> Arc<Self> {
        Self::with_address(None, max_connections, Logs::default(), Guards::default())
    }

    pub fn with_logs(address: IpAddr, max_connections: usize, logs: Logs) -> Arc<Self> {
        Self::with_guards(address, max_connections, logs, Guards::default())
    }

    pub fn with_guards(
        address: IpAddr,
        max_connections: usize,
        logs: Logs,
        guards: Guards,
    ) -> Arc<Self> {
        Self::with_address(Some(address), max_connections, logs, guards)
    }

    fn with_address(
        address: Option<IpAddr>,
        max_connections: usize,
        logs: Logs,
        guards: Guards,
    ) -> Arc<Self> {
        let routes = Routes {
            revision: 0,
            dns_name: String::new(),
            load_balancer: String::new(),
            identity: Identity::default(),
            attributes: Attributes::default(),
            groups: Vec::new(),
            stickiness: Vec::new(),
            sealer: Arc::new(Sealer::new("")),
            listeners: Vec::new(),
            doors: HashMap::new(),
        };
        Arc::new(Self {
            dice: Dice::new(),
            buffers: Buffers::default(),
            counters: Counters::default(),
            logs,
            guards,
            connector: Connector::new(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            reporting: Reporting::default(),
            address,
            began: Instant::now(),
            routes: Mutex::new(Arc::new(routes)),
            groups: Mutex::default(),
            listeners: Mutex::default(),
            inherited: Mutex::default(),
            connections: Mutex::default(),
            permits: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            connection_left: Notify::new(),
            health_epoch: watch::Sender::new(0),
        })
    }

    pub fn routes(&self) -> Arc<Routes> {
        lock(&self.routes).clone()
    }

    /// Serves this table from now on. Ports that can't be listened on are tried again by `tick`.
    pub fn apply(self: &Arc<Self>, table: &Table) {
        let listeners = route::compile(table);
        let doors = tls::doors(table, &self.routes().doors);
        let mut used = vec![false; table.target_groups.len()];
        for place in route::used_groups(&listeners) {
            used[place] = true;
        }
        let mut groups = lock(&self.groups);
        let mut before = std::mem::take(&mut *groups);
        let mut ordered = Vec::new();
        for (row, used) in table.target_groups.iter().zip(used) {
            let group = before
                .remove(&row.id)
                .unwrap_or_else(|| Arc::new(Group::new(&row.id)));
            // A group that no rule uses is not checked (fact TGT-7).
            if used {
                let added = group.apply(row, &table.zone);
                match &table.attributes.mesh {
                    Some(mesh) => group.trust(mesh.outlier),
                    None => added.into_iter().for_each(|target| {
                        tokio::spawn(health::watch(self.clone(), group.clone(), target));
                    }),
                }
                groups.insert(row.id.clone(), group.clone());
            }
            ordered.push(group);
        }
        drop(groups);
        self.logs.configure(table);
        let mut attributes = table.attributes.clone();
        if !self.logs.has_home() {
            attributes.access_log = None;
            attributes.connection_log = None;
            attributes.health_check_log = None;
        }
        *lock(&self.routes) = Arc::new(Routes {
            revision: table.revision,
            dns_name: table.dns_name.clone(),
            load_balancer: table.load_balancer.clone(),
            identity: table.identity.clone(),
            attributes,
            groups: ordered,
            stickiness: table
                .target_groups
                .iter()
                .map(|group| group.stickiness.clone())
                .collect(),
            sealer: Arc::new(Sealer::new(&table.cookie_secret)),
            listeners,
            doors,
        });
        // Requests that the old table sent to these go on.
        before.values().for_each(|group| group.retire());
        self.listen();
        // Ports that are listened to no more go with their sockets.
        let (_, health) = std::mem::take(&mut *lock(&self.inherited));
        self.seed(&health);
        self.health_changed();
    }

    /// What a predecessor thought of targets holds until they are checked.
    fn seed(&self, health: &[GroupHealth]) {
        let groups = lock(&self.groups);
        for told in health {
            let Some(group) = groups.get(&told.target_group) else {
                continue;
            };
            for target in group.targets() {
                let is_same =
                    |state: &&TargetState| state.ip == target.ip && state.port == target.port;
                if let Some(state) = told.targets.iter().find(is_same) {
                    target.note(|record| {
                        record.health = state.health;
                        record.reason.clone_from(&state.reason);
                        record.description.clone_from(&state.description);
                    });
                }
            }
            group.refresh();
        }
    }

    /// Listens on the ports of the table and on no other; gives those that it can't have.
    fn listen(self: &Arc<Self>) -> Vec<u16> {
        let Some(address) = self.address else {
            return Vec::new();
        };
        let routes = self.routes();
        let mut listeners = lock(&self.listeners);
        listeners.retain(|&port, listening| {
            let wanted = routes.listener(port).is_some();
            if !wanted {
                listening.accepting.abort();
            }
            wanted
        });
        let mut unbound = Vec::new();
        for listener in &routes.listeners {
            let port = listener.port;
            if listeners.contains_key(&port) {
                continue;
            }
            let left = lock(&self.inherited).0.remove(&port);
            let socket = match left {
                Some(socket) => socket.set_nonblocking(true).map(|()| socket),
                None => {
                    connect::listen(SocketAddr::new(address, port)).and_then(TcpListener::into_std)
                }
            };
            match socket.and_then(watched) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let accepting = tokio::spawn(accept(self.clone(), socket.clone(), port));
                    let accepting = accepting.abort_handle();
                    listeners.insert(port, Listening { socket, accepting });
                }
                Err(error) => {
                    tracing::warn!(port, %error, "cannot listen");
                    unbound.push(port);
                }
            }
        }
        unbound
    }

    /// Ports of the table that nobody listens on.
    pub fn unbound(&self) -> Vec<u16> {
        if self.address.is_none() {
            return Vec::new();
        }
        let listeners = lock(&self.listeners);
        let ports = self.routes();
        let ports = ports.listeners.iter().map(|listener| listener.port);
        ports.filter(|port| !listeners.contains_key(port)).collect()
    }

    /// Every second or so: closes idle connections to targets, tries ports again, hands on lines of the logs.
    pub fn tick(self: &Arc<Self>) {
        self.logs.flush();
        let idle_timeout = self.routes().idle_timeout();
        for group in lock(&self.groups).values() {
            group.judge();
            for target in group.targets() {
                target.sweep(idle_timeout);
            }
        }
        if !self.permits.is_closed() && !self.unbound().is_empty() {
            self.listen();
        }
    }

    pub fn health_changed(&self) {
        self.health_epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Changes whenever the health of a target may have.
    pub fn health_epoch(&self) -> watch::Receiver<u64> {
        self.health_epoch.subscribe()
    }

    /// What the node thinks of every target that it checks, by group.
    pub fn health(&self) -> Vec<GroupHealth> {
        let told = |group: &Arc<Group>| {
            let mut targets: Vec<_> = group
                .targets()
                .iter()
                .map(|target| state_of(target))
                .collect();
            targets.sort_by_key(|target| (target.ip, target.port));
            GroupHealth {
                target_group: group.id.clone(),
                targets,
            }
        };
        let mut all: Vec<_> = lock(&self.groups).values().map(told).collect();
        all.sort_by(|a, b| a.target_group.cmp(&b.target_group));
        all
    }

    pub fn counts(&self) -> Counts {
        let groups = lock(&self.groups);
        let told = |group: &Arc<Group>| (group.id.clone(), group.counters.told());
        let mut node = self.counters.told();
        node.log_lines_dropped = self.logs.dropped();
        Counts {
            node,
            groups: groups.values().map(told).collect(),
        }
    }

    async fn is_empty(&self) {
        loop {
            let left = self.connection_left.notified();
            if lock(&self.connections).len() == 0 {
                return;
            }
            left.await;
        }
    }

    /// For a successor.
    pub fn sockets(&self) -> io::Result<Vec<(u16, OwnedFd)>> {
        let listeners = lock(&self.listeners);
        let socket = |(port, listening): (&u16, &Listening)| {
            Ok((
                *port,
                listening.socket.get_ref().as_fd().try_clone_to_owned()?,
            ))
        };
        listeners.iter().map(socket).collect()
    }

    /// What a predecessor had is used by the first table.
    pub fn inherit(&self, sockets: Vec<(u16, StdTcpListener)>, health: Vec<GroupHealth>) {
        *lock(&self.inherited) = (sockets.into_iter().collect(), health);
    }

    /// Accepts nothing more, and waits until the requests under way are done.
    pub async fn drain(&self) {
        self.drain_gently(Duration::ZERO).await;
    }

    /// The same, but clients that are idle are left only when `grace` is over; who sends in the meantime is
    /// answered, and told that it was the last time.
    pub async fn drain_gently(&self, grace: Duration) {
        self.permits.close();
        for (_, listening) in lock(&self.listeners).drain() {
            listening.accepting.abort();
        }
        lock(&self.connections)
            .iter()
            .for_each(|tether| tether.end_with_next());
        let _ = timeout(grace, self.is_empty()).await;
        loop {
            let left = self.connection_left.notified();
            {
                let connections = lock(&self.connections);
                if connections.len() == 0 {
                    return;
                }
                connections
                    .iter()
                    .for_each(|tether| tether.close_when_idle());
            }
            left.await;
        }
    }

    /// Serves a client that speaks HTTP/2 already, as after ALPN, on a listener's port.
    pub async fn serve_http2<S>(self: &Arc<Self>, stream: S, peer: SocketAddr, port: u16)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        h2::serve(self.enter(), stream, None, peer, port).await;
    }

    /// Serves a client that came to a listener's port, once there is room for it. Its socket must not block.
    pub async fn bring(self: &Arc<Self>, stream: StdTcpStream, peer: SocketAddr, port: u16) {
        let Some(permit) = self.room().await else {
            // The client must not wait for what won't come.
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
            return;
        };
        let entered = self.enter();
        // In a box: the runtime moves a task about until it is in its place, and this one is large.
        tokio::spawn(Box::pin(async move {
            entrance::enter(entered, stream, peer, port).await;
            drop(permit);
        }));
    }

    /// Since the worker began; never 0.
    pub fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Room for one more client. At the limit the one that has been idle longest makes it; with none idle the
    /// client waits, and those behind it in the kernel's queue. None: it waited too long.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        let permit = self.permits.clone().acquire_owned();
        let patience = Duration::from_millis(self.routes().attributes.connect_timeout_ms);
        let mut waiting = pin!(timeout(patience, permit));
        loop {
            self.close_longest_idle();
            // Nobody idle now may be so in a moment.
            match timeout(ROOM_LOOK, &mut waiting).await {
                Ok(Ok(Ok(permit))) => return Some(permit),
                Ok(_) => {
                    self.counters.rejected_connections.add(1);
                    return None;
                }
                Err(_) => {}
            }
        }
    }

    fn close_longest_idle(&self) {
        let connections = lock(&self.connections);
        let idle = connections.iter().filter(|tether| !tether.is_closing());
        let idle = idle.filter_map(|tether| Some((tether.idle_since()?, tether)));
        if let Some((_, tether)) = idle.min_by_key(|(since, _)| *since) {
            tether.close_when_idle();
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        let tether = Arc::new(Tether::default());
        let place = lock(&self.connections).insert(tether.clone());
        self.counters.new_connections.add(1);
        self.counters.active_connections.add(1);
        Entered {
            worker: self.clone(),
            tether,
            place,
        }
    }
}

fn state_of(target: &super::target::Target) -> TargetState {
    let record = target.record();
    TargetState {
        ip: target.ip,
        port: target.port,
        health: record.health,
        reason: record.reason,
        description: record.description,
    }
}

/// A client connection as the worker knows it.
#[derive(Debug)]
pub struct Entered {
    pub worker: Arc<Worker>,
    pub tether: Arc<Tether>,
    place: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The runtime catches it: one connection is gone, the others go on.
        if std::thread::panicking() {
            self.worker.counters.panics.add(1);
        }
        lock(&self.worker.connections).remove(self.place);
        self.worker.counters.active_connections.subtract(1);
        self.worker.connection_left.notify_one();
    }
}

/// A port of the node.
#[derive(Debug)]
struct Listening {
    socket: Arc<AsyncFd<StdTcpListener>>,
    accepting: AbortHandle,
}

/// The listener type owns its descriptor and gives always the same one, which is what `AsyncFd` has to rely on.
#[expect(
    deprecated,
    reason = "its successor is the same with `unsafe`, for types that don't"
)]
fn watched(socket: StdTcpListener) -> io::Result<AsyncFd<StdTcpListener>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Takes a client from the kernel's queue. The runtime learns of it when something has to be waited for.
fn take_client(listener: &StdTcpListener) -> io::Result<(StdTcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), peer))
}

async fn accept(worker: Arc<Worker>, listener: Arc<AsyncFd<StdTcpListener>>, port: u16) {
    while !worker.permits.is_closed() {
        let accepted = listener.async_io(Interest::READABLE, take_client).await;
        let (stream, peer) = match accepted {
            // An IPv4 client comes to an IPv6 socket with its address mapped.
            Ok((stream, peer)) => (
                stream,
                SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            ),
            Err(error) => {
                if !is_of_one_client(&error) {
                    tracing::warn!(port, %error, "cannot accept");
                    sleep(ACCEPT_REST).await;
                }
                continue;
            }
        };
        worker.bring(stream, peer, port).await;
    }
}

/// The client was gone before it was accepted.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
