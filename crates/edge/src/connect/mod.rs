//! Service Connect's proxy: one process a task, in the task's network namespace. Tables in, sockets out.
//!
//! The node agent starts `fogbank connect` before the containers of a task whose service has Service Connect, and pushes a
//! `Table` whenever somebody who answers for a name has come or gone. Names stand in the containers' hosts files with
//! addresses of 127.255.0.0/16, which the kernel turns to the proxy (`net::compile::eni`); each name and port is a
//! load balancer's `Worker` of its own (`http`), that tries again elsewhere and puts out who fails. Decision 0027.

mod compile;
mod process;
pub mod remote;
mod table;

pub use compile::Answerers;
pub use process::{ProcessError, run, socket_path, table_path};
pub use table::{Table, Way};
