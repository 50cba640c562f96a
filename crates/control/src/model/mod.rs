//! AWS's rules, pure: `(&mut Tx, &Scope, command) -> row | Refusal`. No clock, randomness, store or wire here.

pub mod acm;
pub mod cloudwatch;
pub mod discovery;
pub mod ecr;
pub mod ecs;
pub mod elb;
pub mod iam;
pub mod kms;
pub mod logs;
pub mod metering;
pub mod route53;
pub mod scaling;
pub mod secretsmanager;
pub mod ssm;
pub mod tx;
pub mod vpc;

pub use tx::Tx;

/// A refusal in AWS's words. Every area has one enum with a variant per error code; `Display` is the text for the caller.
pub trait Refused: std::error::Error {
    /// The code on the wire, such as `InvalidSubnet.Conflict`.
    fn code(&self) -> &'static str;

    /// HTTP status.
    fn status(&self) -> u16 {
        400
    }
}
