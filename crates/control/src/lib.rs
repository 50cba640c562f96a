//! The brain: API front door, AWS's rules, reconcilers and scheduler.
//!
//! A call goes server -> wire (route, decode) -> api (shape to command) -> model (rules, pure) -> engine (one
//! transaction in the store). The reconcilers close the difference between what shall be and what is; they take no
//! input but a snapshot. Nothing here touches the network, processes or containers: `node` and `dns` follow the store.

pub mod api;
pub mod audit;
pub mod authorization;
pub mod buckets;
mod encryption;
pub mod engine;
mod exec;
pub mod identity;
mod image_expiry;
pub mod insights;
mod issuance;
pub mod log_keys;
pub mod metrics;
pub mod model;
mod operator;
mod public_keys;
pub mod reconcile;
pub mod registry;
pub mod schedule;
pub mod server;
mod throttle;
mod tls;
mod zone_signing;
mod zones;

pub use engine::Engine;
