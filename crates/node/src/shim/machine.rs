//! What happens to the containers of a task, decided: pure, without clock, processes or files.
//!
//! The shim's loop ([`super::supervise`]) tells what happened ([`Event`]) and when, does what comes back ([`Action`]), and
//! asks when to look again. What must stay true (the property tests say the same):
//!
//! - A container starts only when all that it depends on came true, and never once the end has begun.
//! - At the end a container is signalled only when all that depend on it are over, unless everything is killed.
//! - Whoever ignores his stop signal is killed when his own stop timeout is over, so that every end comes to an end.
//! - One check of a container's health runs at a time, and none outlives its timeout or its container.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html> and the facts ECS-9 to ECS-12.

use fogbank_types::ecs::DependencyCondition;
use fogbank_types::status::ContainerHealth;

use super::state::{Cause, Phase, TaskContainer};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The task is to run.
    Begun,
    /// The program of this container was executed.
    Started(usize),
    /// It could not be, for this reason.
    Refused(usize, String),
    Exited {
        index: usize,
        code: i32,
        out_of_memory: bool,
    },
    /// A check ended by itself; whether it found the container well.
    Checked(usize, bool),
    StopOrdered,
    KillOrdered,
    /// Nothing but time has passed.
    Elapsed,
}

/// Something to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answered by `Started` or `Refused`.
    Start(usize),
    /// The container's own stop signal.
    Signal(usize),
    Kill(usize),
    /// Answered by `Checked`, unless it is ended before.
    Check(usize),
    EndCheck(usize),
}

/// A container as it stands.
#[derive(Clone, Debug)]
pub struct Member {
    pub phase: Phase,
    pub exit_code: Option<i32>,
    pub out_of_memory: bool,
    /// Why it did not start.
    pub error: Option<String>,
    pub health: Option<ContainerHealth>,
    pub restarts: u32,
    /// Of its last start.
    started_at_ms: Option<u64>,
    /// Its start was asked for and is not answered.
    starting: bool,
    /// When its stop signal was sent, and so that it is sent once.
    signalled_at_ms: Option<u64>,
    killed: bool,
    check: Check,
}

/// Where the checks of a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// There are none, or none any more.
    Off,
    /// The next one comes then.
    Due(u64),
    /// One runs, until then at the latest.
    Running(u64),
}

/// See the module.
pub struct Machine {
    containers: Vec<TaskContainer>,
    /// For each container the indexes of those that it depends on, with the condition.
    needs: Vec<Vec<(usize, DependencyCondition)>>,
    members: Vec<Member>,
    /// Consecutive failed checks that count.
    failures: Vec<u32>,
    phase: Phase,
    cause: Option<Cause>,
    error: Option<String>,
    killing: bool,
}

impl Machine {
    pub fn new(containers: &[TaskContainer]) -> Self {
        let index_of = |name: &str| containers.iter().position(|c| c.spec.name == name);
        let needs = containers.iter().map(|container| {
            let found = container
                .depends_on
                .iter()
                .filter_map(|d| Some((index_of(&d.container)?, d.condition)));
            found.collect()
        });
        let member = |container: &TaskContainer| Member {
            phase: Phase::Pending,
            exit_code: None,
            out_of_memory: false,
            error: None,
            health: container
                .health_check
                .as_ref()
                .map(|_| ContainerHealth::Unknown),
            restarts: 0,
            started_at_ms: None,
            starting: false,
            signalled_at_ms: None,
            killed: false,
            check: Check::Off,
        };
        Self {
            needs: needs.collect(),
            members: containers.iter().map(member).collect(),
            failures: vec![0; containers.len()],
            containers: containers.to_vec(),
            phase: Phase::Pending,
            cause: None,
            error: None,
            killing: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Why the task did not start, if it did not.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// Whether no container runs and none will.
    pub fn is_over(&self) -> bool {
        self.phase >= Phase::Stopping
            && self
                .members
                .iter()
                .all(|member| member.phase == Phase::Stopped)
    }

    /// Takes in what happened at that moment.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begun | Event::Elapsed => {}
            Event::Started(index) => self.started(now_ms, index),
            Event::Refused(index, reason) => self.refused(index, reason),
            Event::Exited {
                index,
                code,
                out_of_memory,
            } => self.exited(now_ms, index, code, out_of_memory, &mut actions),
            Event::Checked(index, passed) => self.checked(now_ms, index, passed),
            Event::StopOrdered => self.stop(Cause::Requested),
            Event::KillOrdered => {
                self.killing = true;
                self.stop(Cause::Requested);
            }
        }
        self.settle(now_ms, &mut actions);
        actions
    }

    /// When [`Event::Elapsed`] is worth something; `None`: never, by itself.
    pub fn deadline_ms(&self) -> Option<u64> {
        let stops = (0..self.members.len()).filter_map(|index| self.kill_at_ms(index));
        let checks = self.members.iter().filter_map(|member| match member.check {
            Check::Due(at) if self.phase < Phase::Stopping => Some(at),
            Check::Running(at) => Some(at),
            _ => None,
        });
        let waits = (0..self.members.len())
            .filter(|index| self.is_waiting(*index) && self.members[*index].restarts == 0)
            .flat_map(|index| &self.needs[index])
            // What came true has no deadline: it would lie in the past, and the shim would never rest.
            .filter(|(need, condition)| !self.came_true(*need, *condition))
            .filter_map(|(need, condition)| self.gives_up_at_ms(*need, *condition));
        stops.chain(checks).chain(waits).min()
    }

    fn is_waiting(&self, index: usize) -> bool {
        self.phase < Phase::Stopping && self.members[index].phase == Phase::Pending
    }

    fn is_alive(&self, index: usize) -> bool {
        matches!(self.members[index].phase, Phase::Running | Phase::Stopping)
    }

    fn started(&mut self, now_ms: u64, index: usize) {
        self.failures[index] = 0;
        let checked = self.containers[index].health_check.as_ref();
        let member = &mut self.members[index];
        member.starting = false;
        member.phase = if self.phase >= Phase::Stopping {
            Phase::Stopping
        } else {
            Phase::Running
        };
        member.started_at_ms = Some(now_ms);
        member.exit_code = None;
        member.out_of_memory = false;
        if let Some(check) = checked {
            member.health = Some(ContainerHealth::Unknown);
            member.check = Check::Due(now_ms + check.interval_ms);
        }
    }

    /// As an essential container's end; AWS lets a task begin without one that is not essential.
    fn refused(&mut self, index: usize, reason: String) {
        let member = &mut self.members[index];
        let again = member.restarts > 0;
        member.starting = false;
        member.phase = Phase::Stopped;
        member.error = Some(reason.clone());
        if !self.containers[index].essential {
            return;
        }
        if again {
            self.stop(Cause::EssentialExited);
        } else {
            self.error.get_or_insert(reason);
            self.stop(Cause::StartFailed);
        }
    }

    fn exited(
        &mut self,
        now_ms: u64,
        index: usize,
        code: i32,
        out_of_memory: bool,
        actions: &mut Vec<Action>,
    ) {
        let restarts = self.restarts(now_ms, index, code);
        let member = &mut self.members[index];
        if matches!(member.check, Check::Running(_)) {
            actions.push(Action::EndCheck(index));
        }
        member.check = Check::Off;
        member.exit_code = Some(code);
        member.out_of_memory = out_of_memory;
        if restarts {
            member.restarts += 1;
            member.health = member.health.map(|_| ContainerHealth::Unknown);
            member.phase = Phase::Pending;
            return;
        }
        member.phase = Phase::Stopped;
        if self.containers[index].essential {
            self.stop(Cause::EssentialExited);
        }
    }

    /// "If a container isn't able to run for this time period and exits early, it will not be restarted."
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html>
    fn restarts(&self, now_ms: u64, index: usize, code: i32) -> bool {
        let Some(policy) = &self.containers[index].restart else {
            return false;
        };
        let member = &self.members[index];
        let ran_ms = member.started_at_ms.map_or(0, |at| now_ms - at.min(now_ms));
        self.phase < Phase::Stopping
            && member.signalled_at_ms.is_none()
            && ran_ms >= policy.attempt_period_ms
            && !policy.ignored_exit_codes.contains(&code)
    }

    fn checked(&mut self, now_ms: u64, index: usize, passed: bool) {
        let (Some(check), Check::Running(_)) = (
            self.containers[index].health_check.as_ref(),
            self.members[index].check,
        ) else {
            return;
        };
        let member = &mut self.members[index];
        member.check = Check::Due(now_ms + check.interval_ms);
        if passed {
            self.failures[index] = 0;
            member.health = Some(ContainerHealth::Healthy);
            return;
        }
        // A failure before the start period is over counts only if the container was well already.
        let starts_until = member
            .started_at_ms
            .map_or(0, |at| at + check.start_period_ms);
        if now_ms < starts_until && member.health == Some(ContainerHealth::Unknown) {
            return;
        }
        self.failures[index] += 1;
        if self.failures[index] >= check.retries {
            member.health = Some(ContainerHealth::Unhealthy);
        }
    }

    /// The end begins; the first cause counts.
    fn stop(&mut self, cause: Cause) {
        if self.phase < Phase::Stopping {
            self.phase = Phase::Stopping;
            self.cause = Some(cause);
        }
    }

    /// All that follows from how things stand.
    fn settle(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if self.phase < Phase::Stopping {
            self.start_ready(now_ms, actions);
        }
        if self.phase < Phase::Stopping {
            self.run_checks(now_ms, actions);
            let started = self.members.iter().all(|m| m.phase != Phase::Pending);
            if self.members.iter().all(|m| m.phase == Phase::Stopped) {
                self.stop(Cause::AllExited);
            } else if started && self.phase == Phase::Pending {
                self.phase = Phase::Running;
            }
        }
        if self.phase >= Phase::Stopping {
            self.end_checks(now_ms, actions);
            self.end_members(now_ms, actions);
        }
    }

    /// Gives up what will never start, and then starts one container: the next one follows its answer.
    fn start_ready(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let all = 0..self.members.len();
        while self.phase < Phase::Stopping {
            let lost = all
                .clone()
                .find_map(|index| Some((index, self.never(now_ms, index)?)));
            let Some((index, reason)) = lost else { break };
            self.refused(index, reason);
        }
        if self.phase >= Phase::Stopping || self.members.iter().any(|member| member.starting) {
            return;
        }
        if let Some(index) = all.clone().find(|index| self.is_ready(*index)) {
            self.members[index].starting = true;
            actions.push(Action::Start(index));
        }
    }

    /// A container that is started again needs nothing that its first start did not have.
    fn is_ready(&self, index: usize) -> bool {
        let mut needs = self.needs[index].iter();
        self.is_waiting(index)
            && (self.members[index].restarts > 0
                || needs.all(|(need, condition)| self.came_true(*need, *condition)))
    }

    fn came_true(&self, need: usize, condition: DependencyCondition) -> bool {
        let member = &self.members[need];
        let over = member.phase == Phase::Stopped;
        match condition {
            DependencyCondition::Start => member.started_at_ms.is_some(),
            DependencyCondition::Complete => over && member.exit_code.is_some(),
            DependencyCondition::Success => over && member.exit_code == Some(0),
            DependencyCondition::Healthy => member.health == Some(ContainerHealth::Healthy),
        }
    }

    /// Why a container will never start, in the words of the ECS agent; `None`: it still may.
    fn never(&self, now_ms: u64, index: usize) -> Option<String> {
        if !self.is_waiting(index) || self.members[index].restarts > 0 {
            return None;
        }
        let (need, why) = self.needs[index].iter().find_map(|(need, condition)| {
            let member = &self.members[*need];
            let over = member.phase == Phase::Stopped;
            if self.came_true(*need, *condition) {
                return None;
            }
            let why = if over && member.started_at_ms.is_none() {
                "because dependency will never start"
            } else if over && *condition == DependencyCondition::Success {
                "as dependency did not exit successfully."
            } else if over {
                "as dependency stopped before it was healthy."
            } else if self
                .gives_up_at_ms(*need, *condition)
                .is_some_and(|at| at <= now_ms)
            {
                "has timed out."
            } else {
                return None;
            };
            Some((*need, why))
        })?;
        let (dependency, target) = (self.label(need), self.label(index));
        Some(match why {
            "has timed out." => format!(
                "dependency graph: container ordering dependency [{dependency}] for target [{target}] {why}"
            ),
            _ => format!(
                "dependency graph: failed to resolve container ordering dependency [{dependency}] for target [{target}] {why}"
            ),
        })
    }

    /// A container as the agent writes it into reasons.
    fn label(&self, index: usize) -> String {
        let (container, member) = (&self.containers[index], &self.members[index]);
        let known = match member.phase {
            Phase::Pending => "NONE",
            Phase::Running | Phase::Stopping => "RUNNING",
            Phase::Stopped => "STOPPED",
        };
        let exit = member
            .exit_code
            .map_or(String::new(), |code| format!(" - Exit: {code}"));
        format!(
            "{}({}) ({known}->RUNNING){exit}",
            container.spec.name, container.image
        )
    }

    /// A container's start timeout bounds how long others wait until it is over or healthy, counted from its start.
    fn gives_up_at_ms(&self, need: usize, condition: DependencyCondition) -> Option<u64> {
        if condition == DependencyCondition::Start || !self.is_alive(need) {
            return None;
        }
        let timeout = self.containers[need].start_timeout_ms?;
        Some(self.members[need].started_at_ms? + timeout)
    }

    fn run_checks(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for index in 0..self.members.len() {
            let Some(check) = &self.containers[index].health_check else {
                continue;
            };
            let timeout_ms = check.timeout_ms;
            match self.members[index].check {
                Check::Due(at) if at <= now_ms && self.members[index].phase == Phase::Running => {
                    self.members[index].check = Check::Running(now_ms + timeout_ms);
                    actions.push(Action::Check(index));
                }
                Check::Running(until) if until <= now_ms => {
                    actions.push(Action::EndCheck(index));
                    self.checked(now_ms, index, false);
                }
                _ => {}
            }
        }
    }

    /// No check begins any more. One that runs goes on until its timeout or its container's end, as Docker's does: killed, it
    /// would leave killed children to the container's first process, and PostgreSQL takes such a one for a server process that
    /// crashed.
    fn end_checks(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for (index, member) in self.members.iter_mut().enumerate() {
            match member.check {
                Check::Running(until) if until > now_ms => continue,
                Check::Running(_) => actions.push(Action::EndCheck(index)),
                Check::Due(_) | Check::Off => {}
            }
            member.check = Check::Off;
        }
    }

    /// In reverse order of the start (fact ECS-9): whoever needs a container goes before it.
    fn end_members(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for index in 0..self.members.len() {
            if self.members[index].phase == Phase::Pending {
                self.members[index].phase = Phase::Stopped;
            }
        }
        for index in 0..self.members.len() {
            if !self.is_alive(index) {
                continue;
            }
            let needed = (0..self.members.len()).any(|other| {
                self.is_alive(other) && self.needs[other].iter().any(|(need, _)| *need == index)
            });
            let overdue = self.kill_at_ms(index).is_some_and(|at| at <= now_ms);
            let member = &mut self.members[index];
            member.phase = Phase::Stopping;
            if (self.killing || overdue) && !member.killed {
                member.killed = true;
                member.signalled_at_ms.get_or_insert(now_ms);
                actions.push(Action::Kill(index));
            } else if !needed && member.signalled_at_ms.is_none() {
                member.signalled_at_ms = Some(now_ms);
                actions.push(Action::Signal(index));
            }
        }
    }

    fn kill_at_ms(&self, index: usize) -> Option<u64> {
        let member = &self.members[index];
        if !self.is_alive(index) || member.killed {
            return None;
        }
        Some(member.signalled_at_ms? + self.containers[index].stop_timeout_ms)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
