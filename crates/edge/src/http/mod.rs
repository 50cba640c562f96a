//! The Application Load Balancer node: one process, one ENI, one zone. Tables in, sockets out.
//!
//! The node agent starts `fogbank alb` inside the ENI's network namespace, compiles a `Table` from each
//! snapshot and pushes it through `remote::Node`; the process serves it, tells which targets are healthy, and
//! goes on with the last table when nobody is there. A request runs through fixed phases: admit, match rule,
//! guard, act, choose target, connect, stream both ways, log. The table it began with is held until it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod anomaly;
mod answer;
pub(crate) mod body;
mod buffer;
pub(crate) mod clock;
mod compile;
mod connect;
mod connection;
pub(crate) mod control;
mod counters;
mod decision;
pub(crate) mod desync;
mod entrance;
mod exchange;
mod follow_up;
#[cfg(test)]
mod fuzz;
mod guard;
mod h2;
mod handover;
mod health;
mod histogram;
pub mod log;
mod outlier;
mod pattern;
pub(crate) mod process;
mod pump;
pub mod remote;
pub(crate) mod request;
mod response;
mod response_headers;
mod rewrite;
mod route;
mod seal;
mod socket;
mod splice;
mod sticky;
mod stream;
mod table;
mod target;
mod tcp;
mod tether;
mod text;
mod timer;
mod tls;
mod transform;
mod worker;

pub use clock::civil_date;
pub use compile::compile;
pub use control::{Counts, Event, GroupHealth};
pub use counters::{GroupCounts, NodeCounts};
pub use guard::{Guards, Outside};
pub use histogram::Times;
pub use log::{Home, Logs};
pub use process::{Config, ProcessError, run, serve, socket_path, table_path};
pub use table::*;
pub use tls::TlsFacts;
pub(crate) use tls::Unverified;
pub use worker::Worker;

/// A panic while a lock was held leaves plain data behind that is still whole: the node goes on serving.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
