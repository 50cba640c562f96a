//! Target groups and targets as a node keeps them from table to table: health, kept-alive connections,
//! requests under way, and the choice of the next target. Used by `worker`, `health`, `exchange`.
//!
//! "Target groups for your Application Load Balancers", ELB guide; facts TGT-5 to TGT-11.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fogbank_types::status::Health;
use tokio::sync::Notify;

use super::clock::Dice;
use super::counters::GroupCounters;
use super::h2::Pool;
use super::lock;
use super::stream::TargetStream;
use super::table::{self, Algorithm, HealthCheck, Version};
use super::tether::{Slab, Tether};

/// Kept-alive connections a target may have lying idle.
const IDLE_MAX: usize = 512;

#[derive(Debug)]
pub struct Group {
    pub id: String,
    state: Mutex<GroupState>,
    turn: AtomicU64,
    /// Its targets are spoken to by TLS.
    is_tls: AtomicBool,
    version: Mutex<Version>,
    /// Too few targets are healthy, and all are used.
    fails_open: AtomicBool,
    pub counters: GroupCounters,
}

#[derive(Debug)]
struct GroupState {
    algorithm: Algorithm,
    cross_zone: bool,
    zone: String,
    minimum_healthy: usize,
    check: Arc<HealthCheck>,
    targets: Vec<Arc<Target>>,
    /// Those that get requests now.
    usable: Arc<[Arc<Target>]>,
}

#[derive(Debug)]
pub struct Target {
    pub ip: IpAddr,
    pub port: u16,
    zone: Mutex<Option<String>>,
    weight: AtomicU32,
    draining: AtomicBool,
    gone: AtomicBool,
    /// For the health checker: the check changed, or the target is gone.
    pub changed: Notify,
    record: Mutex<Record>,
    idle: Mutex<Vec<Idle>>,
    /// Of protocol version HTTP2 and GRPC.
    pub http2: Pool,
    under_way: Mutex<Slab<Arc<Tether>>>,
}

/// What the checks found, and since how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub health: Health,
    pub successes: u32,
    pub failures: u32,
    pub reason: Option<String>,
    pub description: Option<String>,
}

#[derive(Debug)]
struct Idle {
    stream: TargetStream,
    since: Instant,
}

impl Group {
    pub fn new(id: &str) -> Self {
        let check = HealthCheck {
            enabled: false,
            protocol: table::Protocol::Http,
            path: "/".into(),
            port: None,
            interval_ms: 30_000,
            timeout_ms: 5_000,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        };
        let state = GroupState {
            algorithm: Algorithm::RoundRobin,
            cross_zone: true,
            zone: String::new(),
            minimum_healthy: 1,
            check: Arc::new(check),
            targets: Vec::new(),
            usable: Arc::new([]),
        };
        Self {
            id: id.to_owned(),
            state: Mutex::new(state),
            turn: AtomicU64::new(0),
            is_tls: AtomicBool::new(false),
            version: Mutex::new(Version::Http1),
            fails_open: AtomicBool::new(false),
            counters: GroupCounters::default(),
        }
    }

    /// Takes what a table says; gives the targets that are new. Those that are gone are cut off.
    pub fn apply(&self, table: &table::TargetGroup, zone: &str) -> Vec<Arc<Target>> {
        let is_tls = table.protocol == table::Protocol::Https;
        self.is_tls.store(is_tls, Ordering::Relaxed);
        *lock(&self.version) = table.version;
        let mut state = lock(&self.state);
        let check_changed = *state.check != table.health_check;
        state.algorithm = table.algorithm;
        state.cross_zone = table.cross_zone;
        state.zone = zone.to_owned();
        state.minimum_healthy = table.minimum_healthy_targets.max(1) as usize;
        state.check = Arc::new(table.health_check.clone());
        let mut before = std::mem::take(&mut state.targets);
        let mut added = Vec::new();
        for row in &table.targets {
            let known = before
                .iter()
                .position(|target| target.ip == row.ip && target.port == row.port);
            let target = match known {
                Some(place) => before.swap_remove(place),
                None => {
                    let target = Arc::new(Target::new(row.ip, row.port));
                    added.push(target.clone());
                    target
                }
            };
            // A new one is looked at at once anyway.
            target.apply(row, check_changed && known.is_some());
            state.targets.push(target);
        }
        for target in before {
            target.leave();
        }
        self.fails_open.store(state.refresh(), Ordering::Relaxed);
        added
    }

    /// No rule uses the group any more: no checks, no new requests. Those under way go on.
    pub fn retire(&self) {
        let mut state = lock(&self.state);
        for target in std::mem::take(&mut state.targets) {
            target.retire();
        }
        self.fails_open.store(state.refresh(), Ordering::Relaxed);
    }

    /// What its targets speak.
    pub fn version(&self) -> Version {
        *lock(&self.version)
    }

    pub fn is_tls(&self) -> bool {
        self.is_tls.load(Ordering::Relaxed)
    }

    pub fn check(&self) -> Arc<HealthCheck> {
        lock(&self.state).check.clone()
    }

    pub fn targets(&self) -> Vec<Arc<Target>> {
        lock(&self.state).targets.clone()
    }

    /// A target was chosen for a request.
    pub fn count_request(&self) {
        self.counters.requests.add(1);
        if self.fails_open.load(Ordering::Relaxed) {
            self.counters.unhealthy_routing_requests.add(1);
        }
    }

    /// Who gets requests is decided anew: somebody's health changed.
    pub fn refresh(&self) {
        self.fails_open
            .store(lock(&self.state).refresh(), Ordering::Relaxed);
    }

    /// The target for a request; None: 503.
    pub fn choose(&self, dice: &Dice) -> Option<Arc<Target>> {
        let state = lock(&self.state);
        let usable = &state.usable;
        if usable.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let chosen = match state.algorithm {
            Algorithm::RoundRobin => turn % usable.len(),
            // Among equals the turn decides.
            Algorithm::LeastOutstandingRequests => (0..usable.len())
                .map(|step| (turn + step) % usable.len())
                .min_by_key(|&place| usable[place].requests_under_way())
                .unwrap_or(0),
            Algorithm::WeightedRandom => weighted(usable, dice),
        };
        Some(usable[chosen].clone())
    }
}

fn weighted(usable: &[Arc<Target>], dice: &Dice) -> usize {
    let weight = |target: &Arc<Target>| u64::from(target.weight.load(Ordering::Relaxed));
    let total: u64 = usable.iter().map(weight).sum();
    let mut point = dice.roll() % total.max(1);
    for (place, target) in usable.iter().enumerate() {
        match point.checked_sub(weight(target)) {
            None => return place,
            Some(rest) => point = rest,
        }
    }
    0
}

impl GroupState {
    /// True if it fails open: too few are healthy.
    fn refresh(&mut self) -> bool {
        let registered = self.targets.iter().filter(|target| {
            let zone = lock(&target.zone);
            let reachable = self.cross_zone || zone.as_ref().is_none_or(|zone| *zone == self.zone);
            reachable && !target.draining.load(Ordering::Relaxed)
        });
        let healthy: Vec<_> = registered
            .clone()
            .filter(|target| target.is_healthy())
            .cloned()
            .collect();
        // Fail open: with too few healthy targets all registered ones are used (fact TGT-8).
        let fails_open = healthy.len() < self.minimum_healthy;
        self.usable = if fails_open {
            registered.cloned().collect()
        } else {
            healthy.into()
        };
        fails_open && !self.usable.is_empty()
    }
}

impl Target {
    fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            ip,
            port,
            zone: Mutex::new(None),
            weight: AtomicU32::new(1),
            draining: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            changed: Notify::new(),
            record: Mutex::new(Record::initial()),
            idle: Mutex::new(Vec::new()),
            http2: Pool::default(),
            under_way: Mutex::new(Slab::default()),
        }
    }

    fn apply(&self, row: &table::Target, check_changed: bool) {
        lock(&self.zone).clone_from(&row.zone);
        self.weight.store(row.weight, Ordering::Relaxed);
        let was_draining = self.draining.swap(row.draining, Ordering::Relaxed);
        if row.draining {
            lock(&self.idle).clear();
            self.http2.clear();
        } else if was_draining {
            // Registered again while it was draining: it starts anew (fact TGT-9).
            *lock(&self.record) = Record::initial();
        }
        if check_changed || was_draining != row.draining {
            self.changed.notify_one();
        }
    }

    fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.changed.notify_one();
        lock(&self.idle).clear();
        self.http2.clear();
    }

    /// Deregistered, and its delay is over.
    fn leave(&self) {
        self.retire();
        for tether in lock(&self.under_way).iter() {
            tether.cut();
        }
    }

    pub fn address(&self) -> SocketAddr {
        (self.ip, self.port).into()
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn record(&self) -> Record {
        lock(&self.record).clone()
    }

    /// Puts down what a check found; true if health or its reason changed.
    pub fn note(&self, change: impl FnOnce(&mut Record)) -> bool {
        let mut record = lock(&self.record);
        let before = (
            record.health,
            record.reason.clone(),
            record.description.clone(),
        );
        change(&mut record);
        before
            != (
                record.health,
                record.reason.clone(),
                record.description.clone(),
            )
    }

    fn is_healthy(&self) -> bool {
        matches!(
            lock(&self.record).health,
            Health::Healthy | Health::Unavailable
        )
    }

    fn requests_under_way(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// A kept-alive connection: the one used last, whose other end has most likely not closed yet. For a
    /// request that could not be repeated the kernel is asked, too.
    pub fn take_idle(&self, can_repeat: bool) -> Option<TargetStream> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { mut stream, .. }) = idle.pop() {
            if stream.is_quiet() && (can_repeat || stream.is_open()) {
                return Some(stream);
            }
        }
        None
    }

    pub fn give_back(&self, stream: TargetStream) {
        if self.is_gone() || self.is_draining() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(Idle {
                stream,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that lay idle too long, or that the target has closed.
    pub fn sweep(&self, idle_timeout: Duration) {
        self.http2.sweep(idle_timeout);
        lock(&self.idle)
            .retain_mut(|idle| idle.since.elapsed() < idle_timeout && idle.stream.is_quiet());
    }

    /// One of its connections turned out stale: the others most likely are.
    pub fn drop_idle(&self) {
        lock(&self.idle).clear();
    }

    /// A request begins; it can be cut off while the guard lives.
    pub fn begin(self: &Arc<Self>, tether: &Arc<Tether>) -> UnderWay {
        tether.mend();
        let place = lock(&self.under_way).insert(tether.clone());
        UnderWay {
            target: self.clone(),
            place,
        }
    }
}

impl Record {
    pub fn initial() -> Self {
        Self {
            health: Health::Initial,
            successes: 0,
            failures: 0,
            reason: Some("Elb.InitialHealthChecking".into()),
            description: Some("Initial health checks in progress".into()),
        }
    }
}

/// A request that a target works on.
#[derive(Debug)]
pub struct UnderWay {
    target: Arc<Target>,
    place: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.target.under_way).remove(self.place);
    }
}
