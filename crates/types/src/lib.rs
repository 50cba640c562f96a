//! The nouns: typed ids, CIDRs, resource rows and the snapshot that holds them.
//!
//! Everybody imports this crate; it imports no room. No I/O, no clock, no randomness:
//! ids and times are passed in. A row is one resource as it stands in the store (JSON);
//! one row has one writer (see `status` for the rows that hosts write).

pub mod acm;
pub mod alarm;
pub mod arrival;
pub mod aws_service;
pub mod cidr;
pub mod config;
pub mod connect;
pub mod diagnosis;
pub mod discovery;
pub mod ec2;
pub mod ecr;
pub mod ecs;
pub mod elb;
pub mod exec_frame;
pub mod iam;
pub mod id;
pub mod kms;
pub mod logs;
pub mod metering;
pub mod metric;
pub mod permission;
pub mod place;
pub mod rollout;
pub mod route53;
pub mod scaling;
pub mod secret;
pub mod snapshot;
pub mod ssm;
pub mod statistic;
pub mod status;
pub mod time;
pub mod tls_policy;
pub mod traffic;

pub use arrival::Arrival;
pub use cidr::{IpCidr, Ipv4Cidr, Ipv6Cidr, MacAddr};
pub use config::{AuthMode, EndpointTls, InternetAccess, RegionConfig, TlsResolver};
pub use id::*;
pub use place::{Scope, Zone};
pub use snapshot::{Row, Snapshot, Table, Versioned};
pub use time::Timestamp;
pub use traffic::{PortRange, Traffic};

/// The store's revision: grows by one with every transaction.
pub type Revision = u64;

/// Tags of a resource, by key.
pub type Tags = std::collections::BTreeMap<String, String>;
