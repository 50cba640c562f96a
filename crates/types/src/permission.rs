//! What the host asks the control plane before it starts a task where permissions count: may ECS take on the task's roles, and
//! may its execution role do what starting it takes? Asked by `node` at the operator's socket, answered by `control` from
//! IAM's engine.

use serde::{Deserialize, Serialize};

/// The service that takes on roles of tasks.
pub const TASKS: &str = "ecs-tasks.amazonaws.com";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    /// The task's ARN. Its last part is the name of its roles' sessions.
    pub task: String,
    /// The roles that it is to have.
    pub roles: Vec<String>,
    /// Whoever does what is asked for; one of `roles`.
    pub role: Option<String>,
    pub demands: Vec<Demand>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// `ecr:BatchGetImage`
    pub action: String,
    /// `*` where the action has none.
    pub resource: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The first of the roles that ECS may not take on.
    pub untrusting: Option<String>,
    /// For each demand why it is refused, in IAM's words.
    pub refusals: Vec<Option<String>>,
}
