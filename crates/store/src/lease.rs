//! Leases: who holds which rows, and the thread that ends the ones whose time is over. Used by the core alone.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::error::{Result, StoreError};
use crate::row::LeaseId;

struct Lease {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Leases {
    leases: HashMap<LeaseId, Lease>,
    /// Seeded anew in each run: an id from before a restart must not name somebody else's lease.
    ids: RandomState,
    granted: u64,
}

impl Leases {
    pub fn grant(&mut self, ttl: Duration, now: Instant) -> (LeaseId, Instant) {
        let id = loop {
            self.granted += 1;
            let id = LeaseId(self.ids.hash_one(self.granted));
            if id.0 != 0 && !self.leases.contains_key(&id) {
                break id;
            }
        };
        let deadline = deadline(now, ttl);
        self.leases.insert(
            id,
            Lease {
                ttl,
                deadline,
                keys: BTreeSet::new(),
            },
        );
        (id, deadline)
    }

    /// A lease whose time is over is dead, even while its rows are still to be cleared away.
    pub fn is_alive(&self, id: LeaseId, now: Instant) -> bool {
        self.leases
            .get(&id)
            .is_some_and(|lease| lease.deadline > now)
    }

    pub fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<()> {
        match self.leases.get_mut(&id) {
            Some(lease) if lease.deadline > now => {
                lease.deadline = deadline(now, lease.ttl);
                Ok(())
            }
            _ => Err(StoreError::LeaseNotFound(id)),
        }
    }

    pub fn keys(&self, id: LeaseId) -> Result<BTreeSet<String>> {
        self.leases
            .get(&id)
            .map(|lease| lease.keys.clone())
            .ok_or(StoreError::LeaseNotFound(id))
    }

    pub fn attach(&mut self, id: LeaseId, key: &str) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.to_owned());
        }
    }

    pub fn detach(&mut self, id: LeaseId, key: &str) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    pub fn remove(&mut self, id: LeaseId) {
        self.leases.remove(&id);
    }

    pub fn due(&self, now: Instant) -> Vec<LeaseId> {
        self.leases
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.deadline).min()
    }
}

/// A lease so long that the clock cannot hold it is as good as one of a year.
fn deadline(now: Instant, ttl: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + ttl.min(YEAR)
}

/// Wakes the core when a lease is due: one thread, started with the first lease, gone with the core.
#[derive(Default)]
pub(crate) struct Timer {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    running: bool,
    stopped: bool,
    next: Option<Instant>,
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, TimerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake_at(self: &Arc<Self>, deadline: Instant, core: &Arc<Core>) {
        let mut state = self.lock();
        if state.next.is_none_or(|next| deadline < next) {
            state.next = Some(deadline);
            self.changed.notify_one();
        }
        if !state.running {
            let (timer, core) = (Arc::clone(self), Arc::downgrade(core));
            let spawned = std::thread::Builder::new()
                .name("store-leases".into())
                .stack_size(128 << 10)
                .spawn(move || timer.run(&core));
            match spawned {
                Ok(_) => state.running = true,
                Err(error) => tracing::error!(%error, "no thread for leases: they will not expire"),
            }
        }
    }

    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    fn run(&self, core: &Weak<Core>) {
        let mut state = self.lock();
        while !state.stopped {
            let now = Instant::now();
            match state.next {
                Some(next) if next <= now => {
                    state.next = None;
                    drop(state);
                    // The core may be dropped right here, on this thread: the lock must not be held.
                    let next = core.upgrade().and_then(|core| core.expire(now));
                    state = self.lock();
                    state.next = [state.next, next].into_iter().flatten().min();
                }
                Some(next) => {
                    let waited = self.changed.wait_timeout(state, next - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }
}
