//! ExecuteCommand: which container a command is for, and whether it may run there; and how its line becomes words.
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommand.html>

use std::sync::Arc;

use fogbank_types::ecs::{DesiredStatus, Task};
use fogbank_types::status::{ContainerStatus, TaskPhase};
use fogbank_types::{Scope, Snapshot};

use super::{Refusal, clusters, health, invalid, tasks};

const NOT_ENABLED: &str = "The execute command failed because execute command was not enabled when the task was run or the execute command agent isn't running. Wait and try again or run a new task with execute command enabled and try again.";
/// Of the whole line.
const COMMAND_CHARACTERS_MAX: usize = 64 << 10;

/// Where a command goes.
#[derive(Clone, Debug)]
pub struct Target {
    pub task: Arc<Task>,
    pub container: String,
    pub command: Vec<String>,
}

pub fn target(
    snapshot: &Snapshot,
    scope: &Scope,
    cluster: Option<&str>,
    task: &str,
    container: Option<&str>,
    command: &str,
    interactive: bool,
) -> Result<Target, Refusal> {
    let cluster = clusters::find(snapshot, scope, cluster)?;
    if !interactive {
        return Err(invalid("Interactive is the only mode supported currently."));
    }
    let command = words(command)?;
    let task = tasks::find(snapshot, cluster, task)
        .ok_or_else(|| invalid("The referenced task was not found."))?;
    let status = health::status(snapshot, task);
    let containers = status.map(|s| s.containers.as_slice()).unwrap_or_default();
    let found = match container.filter(|name| !name.is_empty()) {
        Some(name) => containers.iter().find(|c| c.name == name),
        None if containers.len() > 1 => {
            return Err(invalid(
                "The container name must be specified for a task with more than one container.",
            ));
        }
        None => containers.first(),
    };
    if !task.enable_execute_command || task.desired == DesiredStatus::Stopped {
        return Err(invalid(NOT_ENABLED));
    }
    match found {
        Some(found) if is_agent_running(task, found) => Ok(Target {
            task: Arc::clone(task),
            container: found.name.clone(),
            command,
        }),
        Some(_) => Err(Refusal::TargetNotConnected),
        None if containers.is_empty() => Err(Refusal::TargetNotConnected),
        None => Err(invalid("The referenced container was not found.")),
    }
}

/// What DescribeTasks says of ExecuteCommandAgent.
pub fn is_agent_running(task: &Task, container: &ContainerStatus) -> bool {
    task.enable_execute_command
        && matches!(container.phase, TaskPhase::Running | TaskPhase::Stopping)
        && container.pid.is_some()
}

/// As a shell takes words apart, and nothing else of what a shell does: the agent executes the first of them.
pub fn words(line: &str) -> Result<Vec<String>, Refusal> {
    if line.chars().count() > COMMAND_CHARACTERS_MAX {
        return Err(invalid("command is too long."));
    }
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err(invalid("command has a quote that does not end.")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some(other) => word.extend(['\\', other]),
                            None => word.push('\\'),
                        },
                        Some(other) => word.push(other),
                        None => return Err(invalid("command has a quote that does not end.")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err(invalid("command can not be empty."));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(invalid("command holds a character that no argument can."));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_as_a_shell_does() {
        for (line, expected) in [
            ("/bin/sh", &["/bin/sh"][..]),
            ("  sh -c  'a b' ", &["sh", "-c", "a b"]),
            (
                r#"sh -c "echo \"x\" $HOME \n""#,
                &["sh", "-c", r#"echo "x" $HOME \n"#],
            ),
            (r"a\ b ''", &["a b", ""]),
            ("a'b'\"c\"", &["abc"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        for bad in ["", "  ", "'a", "\"a", "''", "a\0"] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }
}
