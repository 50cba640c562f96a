//! From what a shim says to what the store is told: pure, but for the clock.

use std::time::SystemTime;

use fogbank_store::blob::Digest;
use fogbank_types::Timestamp;
use fogbank_types::ecs::Task;
use fogbank_types::status::{ContainerStatus, TaskPhase, TaskStatus};

use crate::shim::{Cause, ContainerState, Phase, TaskState};

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

const FAILED_TO_START: &str = "TaskFailedToStart";
const ESSENTIAL_EXITED: &str = "EssentialContainerExited";
const ESSENTIAL_REASON: &str = "Essential container in task exited";
const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";

/// A task of which nothing has happened yet.
pub fn fresh(task: &Task, containers: &[&str]) -> TaskStatus {
    TaskStatus {
        scope: task.scope.clone(),
        id: task.id.clone(),
        phase: TaskPhase::Pending,
        stop_code: None,
        stopped_reason: None,
        connectivity_at: None,
        pull_started_at: None,
        pull_stopped_at: None,
        started_at: None,
        stopping_at: None,
        execution_stopped_at: None,
        containers: containers
            .iter()
            .enumerate()
            .map(|(index, name)| container(task, index, name))
            .collect(),
    }
}

fn container(task: &Task, index: usize, name: &str) -> ContainerStatus {
    ContainerStatus {
        name: name.to_owned(),
        runtime_id: runtime_id(&task.id, index),
        image_digest: None,
        phase: TaskPhase::Pending,
        exit_code: None,
        reason: None,
        started_at: None,
        finished_at: None,
        pid: None,
        health: None,
        restart_count: 0,
    }
}

/// `<task id>-<ten digits>`, as Fargate's.
pub(super) fn runtime_id(task: &str, index: usize) -> String {
    let hex = Digest::of(format!("{task}/{index}").as_bytes()).hex();
    let number = u64::from_str_radix(&hex[..15], 16).unwrap_or_default();
    format!("{task}-{:010}", number % 10_000_000_000)
}

/// It could not be started at all.
pub fn failed(status: &mut TaskStatus, reason: &str) {
    let time = now();
    stop(status, FAILED_TO_START, reason);
    status.phase = TaskPhase::Stopped;
    status.stopping_at.get_or_insert(time);
    status.execution_stopped_at.get_or_insert(time);
    for container in &mut status.containers {
        container.phase = TaskPhase::Stopped;
    }
    // ECS shows the reason at the container, too.
    if let [only] = status.containers.as_mut_slice() {
        only.reason = Some(reason.to_owned());
    }
}

/// Its processes are gone and nobody knows how they ended.
pub fn vanished(status: &mut TaskStatus, reason: &str) {
    let time = now();
    stop(status, ESSENTIAL_EXITED, reason);
    status.phase = TaskPhase::Stopped;
    status.stopping_at.get_or_insert(time);
    status.execution_stopped_at.get_or_insert(time);
    for container in &mut status.containers {
        if container.started_at.is_some() && container.exit_code.is_none() {
            container.exit_code = Some(137);
            container.reason = Some(reason.to_owned());
            container.finished_at = Some(time);
        }
        container.phase = TaskPhase::Stopped;
        container.pid = None;
    }
}

fn stop(status: &mut TaskStatus, code: &str, reason: &str) {
    status.stop_code.get_or_insert_with(|| code.to_owned());
    status
        .stopped_reason
        .get_or_insert_with(|| reason.to_owned());
}

fn phase(phase: Phase) -> TaskPhase {
    match phase {
        Phase::Pending => TaskPhase::Pending,
        Phase::Running => TaskPhase::Running,
        Phase::Stopping => TaskPhase::Stopping,
        Phase::Stopped => TaskPhase::Stopped,
    }
}

/// Takes over what the shim says.
pub fn merge(status: &mut TaskStatus, state: &TaskState) {
    status.phase = phase(state.phase);
    for (known, said) in status.containers.iter_mut().zip(&state.containers) {
        merge_container(known, said);
    }
    // Started when the last of its containers was (fact TASK-2); never, if one that it needs failed. Shims of earlier versions
    // do not say when that was.
    if let Some(at) = state.running_at_ms {
        status.started_at = Some(Timestamp(at));
    } else if state.phase >= Phase::Running
        && state
            .containers
            .iter()
            .all(|container| container.started_at_ms.is_some())
    {
        status.started_at = state
            .containers
            .iter()
            .filter_map(|container| container.started_at_ms)
            .max()
            .map(Timestamp);
    }
    status.stopping_at = status.stopping_at.or(state.stopping_at_ms.map(Timestamp));
    match state.cause {
        Some(Cause::StartFailed) => {
            let reason = state.error.as_deref().or_else(|| {
                let mut containers = state.containers.iter();
                containers.find_map(|container| container.error.as_deref())
            });
            stop(
                status,
                FAILED_TO_START,
                &start_error(reason.unwrap_or("unknown")),
            );
        }
        Some(Cause::EssentialExited | Cause::AllExited) => {
            stop(status, ESSENTIAL_EXITED, ESSENTIAL_REASON)
        }
        // The control plane asked and knows why.
        Some(Cause::Requested) | None => {}
    }
    if state.phase == Phase::Stopped {
        let last = state
            .containers
            .iter()
            .filter_map(|container| container.finished_at_ms)
            .max();
        status.execution_stopped_at = last.or(state.stopped_at_ms).map(Timestamp);
    }
}

fn start_error(reason: &str) -> String {
    // What it depends on did not come true: nothing was tried.
    if reason.starts_with("dependency graph: ") {
        return format!("CannotStartContainerError: {reason}");
    }
    format!(
        "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: \
         failed to create shim task: OCI runtime create failed: unable to start container process: {reason}"
    )
}

fn merge_container(known: &mut ContainerStatus, said: &ContainerState) {
    known.phase = phase(said.phase);
    known.pid = said.pid;
    known.exit_code = said.exit_code;
    known.started_at = said.started_at_ms.map(Timestamp);
    known.finished_at = said.finished_at_ms.map(Timestamp);
    known.health = said.health;
    known.restart_count = said.restarts;
    known.reason = match &said.error {
        Some(error) => Some(start_error(error)),
        None if said.out_of_memory => Some(OUT_OF_MEMORY.to_owned()),
        None => None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Scope;
    use fogbank_types::status::ContainerHealth;

    fn status() -> TaskStatus {
        let pending = |name: &str| ContainerStatus {
            name: name.into(),
            runtime_id: runtime_id("t", 0),
            image_digest: None,
            phase: TaskPhase::Pending,
            exit_code: None,
            reason: None,
            started_at: None,
            finished_at: None,
            pid: None,
            health: None,
            restart_count: 0,
        };
        TaskStatus {
            scope: Scope::new("000000000000", "us-east-1"),
            id: "t".into(),
            phase: TaskPhase::Pending,
            stop_code: None,
            stopped_reason: None,
            connectivity_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            containers: vec![pending("a"), pending("b")],
        }
    }

    fn said(phase: Phase, started: Option<i64>) -> ContainerState {
        ContainerState {
            name: "a".into(),
            phase,
            pid: None,
            started_at_ms: started,
            finished_at_ms: None,
            exit_code: None,
            out_of_memory: false,
            error: None,
            health: None,
            restarts: 0,
        }
    }

    fn state(phase: Phase, cause: Option<Cause>, containers: Vec<ContainerState>) -> TaskState {
        TaskState {
            shim_pid: 1,
            phase,
            cause,
            error: None,
            containers,
            running_at_ms: None,
            stopping_at_ms: None,
            stopped_at_ms: None,
        }
    }

    #[test]
    fn running_begins_with_the_last_start() {
        let mut status = status();
        merge(
            &mut status,
            &state(
                Phase::Running,
                None,
                vec![said(Phase::Running, Some(5)), said(Phase::Running, Some(9))],
            ),
        );
        assert_eq!(
            (status.phase, status.started_at),
            (TaskPhase::Running, Some(Timestamp(9)))
        );
    }

    #[test]
    fn what_shims_of_earlier_versions_wrote_is_read() {
        let text = r#"{"shim_pid":1,"phase":"running","cause":null,"stopping_at_ms":null,"stopped_at_ms":null,"containers":[
            {"name":"a","phase":"running","pid":2,"started_at_ms":5,"finished_at_ms":null,"exit_code":null,"out_of_memory":false,"error":null}]}"#;
        let said: TaskState = serde_json::from_str(text).unwrap();
        let mut status = status();
        merge(&mut status, &said);
        assert_eq!(
            (status.started_at, status.containers[0].health),
            (Some(Timestamp(5)), None)
        );
    }

    #[test]
    fn health_restarts_and_the_moment_of_running_are_taken_over() {
        let mut status = status();
        let mut one = said(Phase::Running, Some(50));
        (one.health, one.restarts) = (Some(ContainerHealth::Unhealthy), 2);
        let mut running = state(Phase::Running, None, vec![one, said(Phase::Stopped, None)]);
        running.running_at_ms = Some(9);
        merge(&mut status, &running);
        assert_eq!(status.started_at, Some(Timestamp(9)));
        let container = &status.containers[0];
        assert_eq!(
            (container.health, container.restart_count),
            (Some(ContainerHealth::Unhealthy), 2)
        );
    }

    #[test]
    fn the_reason_is_that_of_the_container_that_ended_the_start() {
        let mut status = status();
        let mut side = said(Phase::Stopped, None);
        side.error = Some("not important".into());
        let mut failed = state(Phase::Stopped, Some(Cause::StartFailed), vec![side]);
        failed.error = Some("dependency graph: x".into());
        merge(&mut status, &failed);
        assert_eq!(
            status.stopped_reason.as_deref(),
            Some("CannotStartContainerError: dependency graph: x")
        );
    }

    #[test]
    fn a_failed_start_never_ran() {
        let mut status = status();
        let mut failed = said(Phase::Stopped, None);
        failed.error = Some("exec: \"x\": permission denied".into());
        merge(
            &mut status,
            &state(
                Phase::Stopped,
                Some(Cause::StartFailed),
                vec![said(Phase::Stopped, Some(5)), failed],
            ),
        );
        assert_eq!(
            (status.started_at, status.stop_code.as_deref()),
            (None, Some("TaskFailedToStart"))
        );
        assert!(
            status
                .stopped_reason
                .unwrap()
                .ends_with("exec: \"x\": permission denied")
        );
    }

    #[test]
    fn memory_and_lost_processes_are_named() {
        let mut status = status();
        let mut killed = said(Phase::Stopped, Some(5));
        (
            killed.exit_code,
            killed.out_of_memory,
            killed.finished_at_ms,
        ) = (Some(137), true, Some(7));
        merge(
            &mut status,
            &state(
                Phase::Stopping,
                Some(Cause::EssentialExited),
                vec![killed, said(Phase::Stopping, Some(6))],
            ),
        );
        assert_eq!(status.containers[0].reason.as_deref(), Some(OUT_OF_MEMORY));
        vanished(&mut status, "gone");
        assert_eq!(
            (status.containers[1].exit_code, status.phase),
            (Some(137), TaskPhase::Stopped)
        );
        assert_eq!(
            status.stop_code.as_deref(),
            Some("EssentialContainerExited")
        );
    }

    #[test]
    fn runtime_ids_look_like_fargates() {
        let id = runtime_id("cd189a933e5849daa93386466019ab50", 0);
        assert_eq!(
            (
                id.len(),
                id == runtime_id("cd189a933e5849daa93386466019ab50", 1)
            ),
            (43, false)
        );
    }
}
