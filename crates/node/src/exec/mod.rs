//! Commands in containers that run (ECS Exec): from control's request on a socket to a process with a terminal.
//!
//! Control connects to `<run>/exec.sock` and sends a line, a [`Request`]. The agent finds the container and starts a process,
//! `fogbank exec-session`, that gets the connection and is the command's parent ([`session`]); from then on the agent has no
//! part in it, so that its restart ends no session. Both sides speak [`fogbank_types::exec_frame`]s. What must stay true: only root opens the
//! socket; whoever may use it was checked by control.

mod server;
mod session;

use serde::{Deserialize, Serialize};

pub use server::serve;
pub use session::main;

/// The agent's socket in the run folder.
pub const SOCKET: &str = "exec.sock";

/// What control asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub task: String,
    pub container: String,
    pub command: Vec<String>,
}
