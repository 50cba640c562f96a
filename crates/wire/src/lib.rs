//! Bytes to shapes and back, for every service fogbank serves.
//!
//! Called by `control` (shapes, dispatch) and `fogbank` (its HTTP endpoint). What must stay true:
//! no bytes panic a decoder, memory is bounded by the size of the request, and whatever is
//! malformed is refused with AWS's error, never widened or defaulted.

pub mod agent_message;
mod cbor;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;
mod gzip;
mod json;
mod malformed;
mod query;
#[cfg(test)]
mod refusals;
mod reply;
mod rest;
mod route;
mod scalar;
pub mod schema;
mod signature;
pub mod sigv4;
mod time;
mod validation;
mod value;
pub mod websocket;
pub mod xml;

pub use malformed::Malformed;
pub use reply::{
    Detail, ServiceError, encode, encode_error, encode_error_in, encode_output, encode_output_in,
};
pub use route::{
    Call, DEFAULT_REGION, Destination, Reason, Refused, destination, route, route_for,
    unknown_operation,
};
pub use schema::{ErrorSchema, Operation, Protocol, Schema, Service, TypedOperation};
pub use signature::{Authorization, Credential, Place};
pub use time::{iso8601, parse_iso8601};
pub use validation::{Violation, ViolationKind};
pub use value::{Fields, Mismatch, Shape, Value};

/// What the generated files import.
mod generated {
    pub use std::collections::BTreeMap;
    pub use std::sync::OnceLock;

    pub use bytes::Bytes;
    pub use fogbank_types::Timestamp;
    pub use serde_json::Value as Document;

    pub use crate::schema::{
        ErrorSchema, Kind, Location, Member, Operation, Pattern, Protocol, Schema, Service,
        ServiceSchema,
    };
    pub use crate::value::{Mismatch, Shape, Value};

    #[cfg(test)]
    pub type RoundTrip = fn(Value) -> Result<Value, Mismatch>;

    #[cfg(test)]
    pub fn round_trip<T: Shape>(value: Value) -> Result<Value, Mismatch> {
        T::from_value(value).map(T::into_value)
    }
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $(
            $(#[$doc])*
            #[allow(unused_imports, clippy::all)]
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        )*
    };
}

services! {
    /// Amazon EC2: the VPC operations.
    ec2,
    /// Elastic Load Balancing v2.
    elbv2,
    /// Amazon ECS.
    ecs,
    /// Amazon ECR.
    ecr,
    /// Amazon Route 53.
    route53,
    /// IAM.
    iam,
    /// AWS STS.
    sts,
    /// Amazon CloudWatch Logs.
    logs,
    /// AWS Certificate Manager.
    acm,
    /// Amazon CloudWatch: metrics and alarms.
    cloudwatch,
    /// Application Auto Scaling.
    application_autoscaling,
    /// AWS Cloud Map.
    servicediscovery,
    /// AWS Systems Manager: parameters.
    ssm,
    /// AWS Secrets Manager.
    secretsmanager,
    /// AWS CloudTrail: the events of the last days.
    cloudtrail,
    /// AWS Key Management Service.
    kms
}
