//! See docs/architecture.md.

pub mod blob;
