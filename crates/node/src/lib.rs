//! This host: it turns the store's rows into network, tasks and load balancer nodes, and reports what is true.
//!
//! Run as `fogbank node` (the agent) and `fogbank shim` (a task's parent). What must stay true: everything here is derived
//! from the store and can be rebuilt from it; tasks outlive the agent and are adopted, not restarted.

mod abilities;
mod agent;
pub mod balancers;
mod delivery;
mod endpoint;
pub mod exec;
mod flow_logs;
pub mod ledger;
mod meters;
pub mod oci;
mod operator;
pub mod pid_file;
mod proxies;
mod reach;
mod report;
pub mod sandbox;
pub mod shim;
mod task;

pub use agent::{NodeError, run, teardown};
