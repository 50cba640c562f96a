//! Tables in, sockets out: the load balancer's data path, the DNS servers, the doors to AWS's services, and Route 53's
//! health checkers. Nothing here decides what
//! the region should look like; each part is given a table (or zones) and serves it until the next one
//! comes, also while nobody is there to send one. See docs/architecture.md.

pub mod checks;
mod clients;
pub mod connect;
pub mod dns;
pub mod http;
mod metric_report;
pub mod namespace;
pub mod outside;
mod rows;
pub mod services;
