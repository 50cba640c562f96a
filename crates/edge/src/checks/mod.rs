//! Route 53's health checkers: they look at the endpoints of health checks from the internet's side of the region.
//!
//! Called by the binary beside `services`, in one process. `process` follows the checks' rows, `watch` drives one check,
//! `probe` looks once, `checker` counts what was seen, `board` writes what is known. What must stay true: nothing but an
//! endpoint's own behaviour makes it unhealthy (without the edge's namespace, the store or a name server nothing is
//! counted or lost), and answers by health (`dns::pulse`) need only the rows that are written here.
//! docs/flows/health-check-to-answer.md

mod board;
mod checker;
mod metrics;
mod probe;
mod process;
#[cfg(test)]
mod tests;
mod watch;

pub use process::{ChecksError, run};
