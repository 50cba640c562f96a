//! Target groups and targets as a node keeps them from table to table: health, kept-alive connections,
//! requests under way, and the choice of the next target. Used by `worker`, `health`, `exchange`.
//!
//! "Target groups for your Application Load Balancers", ELB guide; facts TGT-5 to TGT-11.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fogbank_types::status::Health;
use tokio::sync::Notify;

use super::anomaly::{self, Trend};
use super::clock::Dice;
use super::counters::{Counters, GroupCounters};
use super::h2::Pool;
use super::lock;
use super::outlier::Outlying;
use super::request::Facts;
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
    slow_start: Duration,
    anomaly_mitigation: bool,
    targets: Vec<Arc<Target>>,
    /// Those that get requests now.
    usable: Arc<[Arc<Target>]>,
    /// They don't all have the same share now.
    is_uneven: bool,
}

#[derive(Debug)]
pub struct Target {
    pub ip: IpAddr,
    pub port: u16,
    zone: Mutex<Option<String>>,
    weight: AtomicU32,
    /// Of its weight, of `anomaly::WHOLE`.
    share: AtomicU32,
    /// Its credit in the smooth round robin over uneven shares.
    credit: AtomicI64,
    /// Requests that it was chosen for and that are not over.
    outstanding: AtomicUsize,
    /// In this second: answers, connection errors included, and the bad ones of them.
    answers: AtomicU32,
    errors: AtomicU32,
    trend: Mutex<Trend>,
    registered_at_ms: AtomicI64,
    start: Mutex<Start>,
    draining: AtomicBool,
    gone: AtomicBool,
    /// For the health checker: the check changed, or the target is gone.
    pub changed: Notify,
    record: Mutex<Record>,
    idle: Mutex<Vec<Idle>>,
    /// Of protocol version HTTP2 and GRPC.
    pub http2: Pool,
    /// Of Service Connect.
    outlying: Outlying,
    under_way: Mutex<Slab<Arc<Tether>>>,
}

/// Slow start ("Slow start mode", ELB guide).
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    was_healthy: bool,
    has_been_healthy: bool,
    /// It is in slow start since then.
    slow_since: Option<Instant>,
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
            slow_start: Duration::ZERO,
            anomaly_mitigation: false,
            targets: Vec::new(),
            usable: Arc::new([]),
            is_uneven: false,
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
        // Not with the other algorithms (fact TGT-10).
        let may_start_slowly = table.algorithm == Algorithm::RoundRobin;
        state.slow_start = Duration::from_millis(if may_start_slowly {
            table.slow_start_ms
        } else {
            0
        });
        state.anomaly_mitigation =
            table.anomaly_mitigation && table.algorithm == Algorithm::WeightedRandom;
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
    pub fn choose(&self, dice: &Dice) -> Option<Chosen> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let usable = &state.usable;
        if usable.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let chosen = match state.algorithm {
            Algorithm::RoundRobin if state.is_uneven => {
                let now = Instant::now();
                let (chosen, is_uneven) = smooth(usable, state.slow_start, now);
                state.is_uneven = is_uneven;
                chosen
            }
            Algorithm::RoundRobin => turn % usable.len(),
            // Among equals the turn decides.
            Algorithm::LeastOutstandingRequests => (0..usable.len())
                .map(|step| (turn + step) % usable.len())
                .min_by_key(|&place| usable[place].outstanding.load(Ordering::Relaxed))
                .unwrap_or(0),
            Algorithm::WeightedRandom => weighted(usable, dice),
        };
        Some(Chosen::new(usable[chosen].clone()))
    }

    /// The same by what was seen of targets: who is put out, or failed this very request (`avoided`), is left out as long
    /// as there is somebody else.
    pub fn choose_other(&self, dice: &Dice, avoided: &[SocketAddr]) -> Option<Chosen> {
        let first = self.choose(dice)?;
        let now = Instant::now();
        let is_avoided = |target: &Target| avoided.contains(&target.address());
        if !first.outlying.is_out(now) && !is_avoided(&first) {
            return Some(first);
        }
        let usable = lock(&self.state).usable.clone();
        let place = usable.iter().position(|target| Arc::ptr_eq(target, &first));
        let (before, from) = usable.split_at(place.unwrap_or(0));
        let others = || {
            from.iter()
                .chain(before)
                .filter(|target| !is_avoided(target))
        };
        let well = others().find(|target| !target.outlying.is_out(now));
        let other = well.or_else(|| others().next());
        Some(other.map_or(first, |other| Chosen::new(other.clone())))
    }

    /// Who is put out for what, from now on; the targets need no checks.
    pub fn trust(&self, policy: Option<table::Outlier>) {
        for target in self.targets() {
            target.outlying.follow(policy);
            target.note(|record| record.health = Health::Unavailable);
        }
        self.refresh();
    }

    /// As [`Group::choose_other`], for a client that may be bound to a target.
    pub fn choose_for(
        &self,
        facts: &Facts,
        dice: &Dice,
        counters: &Counters,
        avoided: &[SocketAddr],
    ) -> Option<Chosen> {
        let Some(sticky) = facts.follow_up.as_ref().and_then(|up| up.sticky()) else {
            return self.choose_other(dice, avoided);
        };
        let bound = sticky.wanted().and_then(|wanted| {
            let usable = lock(&self.state).usable.clone();
            let bound = usable.iter().find(|target| target.address() == wanted);
            bound.cloned().map(Chosen::new)
        });
        let chosen = bound.or_else(|| self.choose(dice))?;
        sticky.chose(chosen.address(), counters);
        Some(chosen)
    }

    /// Once a second: looks for targets that are worse than the others, and sets shares.
    pub fn judge(&self) {
        let mut state = lock(&self.state);
        let healthy: Vec<_> = state
            .usable
            .iter()
            .filter(|target| target.is_healthy())
            .collect();
        let trends: Vec<Trend> = healthy.iter().map(|target| target.take_trend()).collect();
        let mut mitigated = 0;
        let verdicts = anomaly::anomalous(&trends);
        for (target, &is_anomalous) in healthy.iter().zip(&verdicts) {
            let share = match state.anomaly_mitigation {
                true => anomaly::next_share(target.share.load(Ordering::Relaxed), is_anomalous),
                false => anomaly::WHOLE,
            };
            target.share.store(share, Ordering::Relaxed);
            mitigated += u64::from(share < anomaly::WHOLE);
        }
        let anomalous = verdicts.iter().filter(|&&is| is).count();
        self.counters.anomalous_targets.set(anomalous as u64);
        self.counters.mitigated_targets.set(mitigated);
        state.look_at_shares();
    }
}

fn weighted(usable: &[Arc<Target>], dice: &Dice) -> usize {
    let total: u64 = usable.iter().map(|target| target.whole_weight()).sum();
    let mut point = dice.roll() % total.max(1);
    for (place, target) in usable.iter().enumerate() {
        match point.checked_sub(target.whole_weight()) {
            None => return place,
            Some(rest) => point = rest,
        }
    }
    0
}

/// Smooth weighted round robin, as nginx has it: each gets its share, and none of it in a row. Also says whether any
/// share still differs.
fn smooth(usable: &[Arc<Target>], slow_start: Duration, now: Instant) -> (usize, bool) {
    let weight = |target: &Target| {
        let whole = target.whole_weight() as f64;
        // Never nothing: a target with weight 0 alone would get no request otherwise.
        ((whole * target.start_share(slow_start, now)) as i64).max(1)
    };
    let (mut total, mut best, mut most) = (0, 0, i64::MIN);
    let mut is_uneven = false;
    let first = weight(&usable[0]);
    for (place, target) in usable.iter().enumerate() {
        let weight = weight(target);
        is_uneven |= weight != first;
        total += weight;
        let credit = target.credit.fetch_add(weight, Ordering::Relaxed) + weight;
        if credit > most {
            (best, most) = (place, credit);
        }
    }
    usable[best].credit.fetch_sub(total, Ordering::Relaxed);
    (best, is_uneven)
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
        let settled = healthy.iter().filter(|target| target.is_settled());
        let eldest = settled
            .map(|target| target.registered_at_ms.load(Ordering::Relaxed))
            .min()
            .filter(|_| !self.slow_start.is_zero());
        for target in &self.targets {
            let is_healthy = target.is_healthy() && !target.is_draining();
            target.start(is_healthy, eldest);
        }
        // Fail open: with too few healthy targets all registered ones are used (fact TGT-8).
        let fails_open = healthy.len() < self.minimum_healthy;
        self.usable = if fails_open {
            registered.cloned().collect()
        } else {
            healthy.into()
        };
        // A new round: who joins has no debt and no credit.
        let credits = self.usable.iter().map(|target| &target.credit);
        credits.for_each(|credit| credit.store(0, Ordering::Relaxed));
        self.look_at_shares();
        fails_open && !self.usable.is_empty()
    }

    fn look_at_shares(&mut self) {
        let (slow_start, now) = (self.slow_start, Instant::now());
        let share = |target: &Arc<Target>| (target.whole_weight(), target.is_slow(slow_start, now));
        let mut shares = self.usable.iter().map(share);
        let first = shares.next();
        self.is_uneven = first.is_some_and(|first| first.1 || shares.any(|share| share != first));
    }
}

impl Target {
    fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            ip,
            port,
            zone: Mutex::new(None),
            weight: AtomicU32::new(1),
            share: AtomicU32::new(anomaly::WHOLE),
            credit: AtomicI64::new(0),
            outstanding: AtomicUsize::new(0),
            answers: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            trend: Mutex::default(),
            registered_at_ms: AtomicI64::new(0),
            start: Mutex::default(),
            draining: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            changed: Notify::new(),
            record: Mutex::new(Record::initial()),
            idle: Mutex::new(Vec::new()),
            http2: Pool::default(),
            outlying: Outlying::default(),
            under_way: Mutex::new(Slab::default()),
        }
    }

    fn apply(&self, row: &table::Target, check_changed: bool) {
        lock(&self.zone).clone_from(&row.zone);
        self.weight.store(row.weight, Ordering::Relaxed);
        self.registered_at_ms
            .store(row.registered_at_ms, Ordering::Relaxed);
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

    /// Weight and share in one.
    fn whole_weight(&self) -> u64 {
        let share = self.share.load(Ordering::Relaxed);
        u64::from(self.weight.load(Ordering::Relaxed)) * u64::from(share)
    }

    /// Its health may have changed. It starts slowly if it was not healthy and others serve at full share already; the
    /// first time only if those were registered before it: targets of one registration start together.
    fn start(&self, is_healthy: bool, eldest_ms: Option<i64>) {
        let registered_at_ms = self.registered_at_ms.load(Ordering::Relaxed);
        let mut start = lock(&self.start);
        let has_elders =
            eldest_ms.is_some_and(|eldest| start.has_been_healthy || eldest < registered_at_ms);
        if !is_healthy || !has_elders {
            start.slow_since = None;
        } else if !start.was_healthy {
            start.slow_since = Some(Instant::now());
        }
        start.was_healthy = is_healthy;
        start.has_been_healthy |= is_healthy;
    }

    /// Healthy before now, and not in slow start.
    fn is_settled(&self) -> bool {
        let start = lock(&self.start);
        start.was_healthy && start.slow_since.is_none()
    }

    fn is_slow(&self, slow_start: Duration, now: Instant) -> bool {
        self.start_share(slow_start, now) < 1.0
    }

    /// "The load balancer linearly increases the number of requests", from next to none to all; then it is over.
    fn start_share(&self, slow_start: Duration, now: Instant) -> f64 {
        let mut start = lock(&self.start);
        let Some(since) = start.slow_since else {
            return 1.0;
        };
        let passed = now.saturating_duration_since(since);
        if passed >= slow_start {
            start.slow_since = None;
            return 1.0;
        }
        passed.as_secs_f64() / slow_start.as_secs_f64()
    }

    /// It answered a request.
    pub fn answered(&self, status: u16) {
        self.outlying.heard(status >= 500, Instant::now());
        self.answers.fetch_add(1, Ordering::Relaxed);
        if status >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It did not: no connection, no answer, or none that can be read.
    pub fn erred(&self) {
        self.answered(599);
    }

    fn take_trend(&self) -> Trend {
        let taken = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        let mut trend = lock(&self.trend);
        trend.take(taken(&self.answers), taken(&self.errors));
        *trend
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

/// A target that was chosen for a request; the request is outstanding while this lives.
#[derive(Debug)]
pub struct Chosen(Arc<Target>);

impl Chosen {
    fn new(target: Arc<Target>) -> Self {
        target.outstanding.fetch_add(1, Ordering::Relaxed);
        Self(target)
    }
}

impl Deref for Chosen {
    type Target = Arc<Target>;

    fn deref(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
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
