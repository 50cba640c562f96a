//! What holds a connection from outside: asks it to close when idle, or cuts it off. Used by `worker`
//! (shutdown) and `target` (a target that leaves the table).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use super::lock;

/// One for each client connection.
#[derive(Debug, Default)]
pub struct Tether {
    closing: AtomicBool,
    cut: AtomicBool,
    last: AtomicBool,
    /// When it began to wait for a next request, in ms of the worker's life; 0: it does not wait.
    idle_since_ms: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Tether {
    /// The connection's task, which stays the same for the connection's life.
    pub fn hold(&self, waker: &Waker) {
        *lock(&self.waker) = Some(waker.clone());
    }

    pub fn set_idle_since(&self, ms: u64) {
        self.idle_since_ms.store(ms, Ordering::Relaxed);
    }

    /// None: a request is under way.
    pub fn idle_since(&self) -> Option<u64> {
        Some(self.idle_since_ms.load(Ordering::Relaxed)).filter(|&ms| ms > 0)
    }

    /// The next response says that it is the last.
    pub fn end_with_next(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    pub fn is_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// No further request.
    pub fn close_when_idle(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// The target of the request under way is gone.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// A new request begins, with a target of its own.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Relaxed);
    }

    pub fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// Values with a place of their own each, so that taking one out is cheap.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.places[place] = Some(value);
                place
            }
            None => {
                self.places.push(Some(value));
                self.places.len() - 1
            }
        }
    }

    pub fn remove(&mut self, place: usize) {
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}
