//! The data plane of one host: what its kernel shall hold, and making it so.
//!
//! `compile` turns a snapshot into a `Program` (pure), `plan` finds what changed (pure), `apply`
//! speaks netlink, `observe` reads what is there, `eval` sends one packet through a program, and
//! `reference` says what AWS would do with it. The node calls `Compiler::update` and `Applier::apply`;
//! `fogbank up` asks `apply::probe`; `dns` and `node` find namespaces through `names`.

pub mod apply;
pub mod compile;
pub mod eval;
pub mod explain;
pub mod names;
mod observe;
pub mod packet;
pub mod patch;
pub mod plan;
pub mod program;
pub mod reference;

pub use apply::{Applier, ApplyError, Report};
pub use compile::{Change, Compiler, compile};
pub use names::{eni_namespace, vpc_namespace};
pub use program::{Alarm, Program};
