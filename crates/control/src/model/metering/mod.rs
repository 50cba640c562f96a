//! What the region's resources used, and what that would have cost on AWS.
//!
//! `records` opens and closes a row a resource, called by `reconcile::usage_metering`; `bill` makes lines of rows, prices
//! and what the metrics say. Seconds are real ones, whatever the region's speed: a bill is about what was used.

pub mod bill;
pub mod records;

#[cfg(test)]
mod tests;
