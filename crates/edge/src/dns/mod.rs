//! Route 53's answers: the public zones on the region's DNS address, and a resolver in every VPC.
//!
//! Packets go `server` -> `responder` -> `message` and `tables`; rows go `process` -> `mirror` -> `tables`.
//! Facts DNS-1 to DNS-12, PHZ-1 to PHZ-4, VPC-9 to VPC-13 and ALB-4 are kept in `tables`, `zone`, `hosts`
//! and `balancer`, facts ROUTE-1 to ROUTE-6 in `policy` and `choice`, all pure.

mod addresses;
mod amplification;
mod asker;
mod balancer;
mod cache;
mod choice;
mod cookies;
mod datagrams;
mod forward;
mod geography;
mod guard;
mod hosts;
mod kind;
mod message;
mod metrics;
mod mirror;
mod name;
mod nodes;
mod place;
mod policy;
mod process;
mod pulse;
mod query_log;
mod rdata;
mod report;
mod resolvers;
mod responder;
mod server;
mod services;
mod signing;
mod tables;
mod upstream;
mod zone;

pub use crate::namespace::NamespaceError;
pub use asker::{Asker, Subnet};
pub use forward::{ForwardError, Forwarder};
pub use geography::Geography;
pub use kind::Kind;
pub use name::{Name, NameError};
pub use process::{DnsError, run, serve};
pub use tables::{Answer, Code, Record, Tables, View};

#[cfg(test)]
pub(crate) mod tests;
