//! What a proxy serves. It must stay readable by the next version of this program, because a proxy that was killed begins
//! with the table it had.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::http;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The revision of the snapshot this was compiled from; those of the ways are 0.
    pub revision: u64,
    pub ways: Vec<Way>,
}

/// One name and port that the task's programs call, or one port where other tasks call it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The address that stands for the name; None: others come from outside to the listener's port.
    pub name_address: Option<Ipv4Addr>,
    /// With one listener and one target group.
    pub table: http::Table,
}

impl Way {
    pub fn port(&self) -> u16 {
        self.table.listeners.first().map_or(0, |only| only.port)
    }

    /// Names it among the ways of a table.
    pub fn place(&self) -> (Option<Ipv4Addr>, u16) {
        (self.name_address, self.port())
    }
}
