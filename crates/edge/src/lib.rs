//! Tables in, sockets out: the load balancer's data path and the DNS servers. Nothing here decides what
//! the region should look like; each part is given a table (or zones) and serves it until the next one
//! comes, also while nobody is there to send one. See docs/architecture.md.

pub mod dns;
pub mod http;
