//! Route 53's answers: the public zones on the region's DNS address, and a resolver in every VPC.
//!
//! Packets go `server` -> `responder` -> `message` and `tables`; rows go `process` -> `mirror` -> `tables`.
//! Facts DNS-1 to DNS-12, PHZ-1 to PHZ-3, VPC-9 to VPC-13 and ALB-4 are kept in `tables`, `zone`, `hosts`
//! and `balancer`, all pure.

mod addresses;
mod balancer;
mod forward;
mod hosts;
mod kind;
mod message;
mod mirror;
mod name;
mod process;
mod rdata;
mod report;
mod resolvers;
mod responder;
mod server;
mod services;
mod tables;
mod zone;

pub use crate::namespace::NamespaceError;
pub use forward::{ForwardError, Forwarder};
pub use kind::Kind;
pub use name::{Name, NameError};
pub use process::{DnsError, run, serve};
pub use tables::{Answer, Code, Record, Tables, View};

#[cfg(test)]
pub(crate) mod tests;
