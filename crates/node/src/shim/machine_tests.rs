use super::*;
use crate::sandbox::ContainerSpec;
use crate::shim::state::{Dependency, HealthCheck, Restart};
use DependencyCondition::{Complete, Healthy, Start, Success};
use proptest::prelude::*;

fn container(name: &str) -> TaskContainer {
    TaskContainer {
        spec: ContainerSpec {
            name: name.to_owned(),
            ..ContainerSpec::default()
        },
        essential: true,
        stop_timeout_ms: 30_000,
        image: "app:1".to_owned(),
        ..TaskContainer::default()
    }
}

fn side(name: &str) -> TaskContainer {
    TaskContainer {
        essential: false,
        ..container(name)
    }
}

fn after(
    mut container: TaskContainer,
    name: &str,
    condition: DependencyCondition,
) -> TaskContainer {
    container.depends_on.push(Dependency {
        container: name.to_owned(),
        condition,
    });
    container
}

fn checked(mut container: TaskContainer) -> TaskContainer {
    container.health_check = Some(HealthCheck {
        args: vec!["true".to_owned()],
        interval_ms: 30_000,
        timeout_ms: 5_000,
        retries: 3,
        start_period_ms: 0,
    });
    container
}

fn restarted(mut container: TaskContainer) -> TaskContainer {
    container.restart = Some(Restart {
        ignored_exit_codes: vec![7],
        attempt_period_ms: 60_000,
    });
    container
}

fn exited(index: usize, code: i32) -> Event {
    Event::Exited {
        index,
        code,
        out_of_memory: false,
    }
}

/// A machine whose starts are all answered by success.
struct Bench {
    machine: Machine,
    now_ms: u64,
}

impl Bench {
    fn new(containers: &[TaskContainer]) -> (Self, Vec<Action>) {
        let mut bench = Self {
            machine: Machine::new(containers),
            now_ms: 0,
        };
        let begun = bench.tell(Event::Begun);
        (bench, begun)
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut queue = self.machine.handle(self.now_ms, event);
        let mut done = 0;
        while done < queue.len() {
            if let Action::Start(index) = queue[done] {
                queue.extend(self.machine.handle(self.now_ms, Event::Started(index)));
            }
            done += 1;
        }
        queue
    }

    fn at(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        self.now_ms = now_ms;
        self.tell(event)
    }

    fn health(&self, index: usize) -> Option<ContainerHealth> {
        self.machine.member(index).health
    }
}

#[test]
fn containers_start_in_the_order_of_what_they_need() {
    let (mut bench, begun) = Bench::new(&[
        after(after(container("app"), "init", Success), "db", Healthy),
        side("init"),
        checked(side("db")),
        after(container("late"), "app", Start),
    ]);
    assert_eq!(begun, [Action::Start(1), Action::Start(2)]);
    assert_eq!(bench.at(10, exited(1, 0)), []);
    assert_eq!(bench.machine.phase(), Phase::Pending);
    assert_eq!(bench.at(30_000, Event::Elapsed), [Action::Check(2)]);
    assert_eq!(
        bench.at(30_100, Event::Checked(2, true)),
        [Action::Start(0), Action::Start(3)]
    );
    assert_eq!(bench.machine.phase(), Phase::Running);
}

#[test]
fn what_can_never_come_true_ends_the_start() {
    for (condition, code, ends) in [
        (Success, 1, "as dependency did not exit successfully."),
        (Healthy, 0, "as dependency stopped before it was healthy."),
    ] {
        let (mut bench, _) = Bench::new(&[
            after(container("app"), "init", condition),
            checked(side("init")),
        ]);
        bench.at(5, exited(1, code));
        assert_eq!(bench.machine.cause(), Some(&Cause::StartFailed));
        assert!(bench.machine.is_over());
        let error = bench.machine.member(0).error.as_deref().unwrap();
        assert_eq!(
            error,
            format!(
                "dependency graph: failed to resolve container ordering dependency [init(app:1) (STOPPED->RUNNING) - Exit: {code}] for target [app(app:1) (NONE->RUNNING)] {ends}"
            )
        );
    }
    // A container that failed to start takes those with it that need it.
    let mut machine = Machine::new(&[
        after(container("app"), "b", Start),
        after(side("b"), "a", Start),
        side("a"),
    ]);
    assert_eq!(machine.handle(0, Event::Begun), [Action::Start(2)]);
    machine.handle(0, Event::Refused(2, "no".to_owned()));
    assert!(machine.is_over());
    assert!(
        machine
            .member(0)
            .error
            .as_deref()
            .unwrap()
            .ends_with("because dependency will never start")
    );
}

#[test]
fn a_task_goes_on_without_what_is_not_essential() {
    let mut machine = Machine::new(&[
        container("app"),
        after(side("extra"), "init", Success),
        side("init"),
    ]);
    machine.handle(0, Event::Begun);
    machine.handle(0, Event::Started(0));
    machine.handle(0, Event::Started(2));
    machine.handle(9, exited(2, 3));
    assert_eq!(
        (machine.phase(), machine.member(1).phase),
        (Phase::Running, Phase::Stopped)
    );
    assert!(machine.member(1).error.is_some());
}

/// Killed with children, it would leave killed children to the first process, which PostgreSQL takes for a crash of its own.
#[test]
fn a_check_that_runs_is_not_killed_by_the_stop() {
    let (mut bench, _) = Bench::new(&[checked(container("db"))]);
    assert_eq!(bench.at(30_000, Event::Elapsed), [Action::Check(0)]);
    assert_eq!(bench.at(31_000, Event::StopOrdered), [Action::Signal(0)]);
    assert_eq!(bench.machine.deadline_ms(), Some(35_000));
    assert_eq!(bench.at(35_000, Event::Elapsed), [Action::EndCheck(0)]);
    assert_eq!(bench.machine.deadline_ms(), Some(61_000));
    assert_eq!(bench.at(40_000, exited(0, 0)), []);
    assert_eq!(bench.machine.deadline_ms(), None);
}

#[test]
fn a_start_timeout_is_counted_from_the_dependencys_start() {
    let mut slow = side("init");
    slow.start_timeout_ms = Some(10_000);
    let (mut bench, _) = Bench::new(&[after(container("app"), "init", Complete), slow]);
    assert_eq!(bench.machine.deadline_ms(), Some(10_000));
    assert_eq!(bench.at(9_999, Event::Elapsed), []);
    assert_eq!(bench.at(10_000, Event::Elapsed), [Action::Signal(1)]);
    let error = bench.machine.member(0).error.as_deref().unwrap();
    assert!(error.starts_with(
        "dependency graph: container ordering dependency [init(app:1) (RUNNING->RUNNING)]"
    ));
    assert!(error.ends_with("has timed out."));
}

#[test]
fn the_end_goes_backwards_and_each_has_its_own_time() {
    let mut db = container("db");
    db.stop_timeout_ms = 1_000;
    let (mut bench, _) = Bench::new(&[db, after(container("app"), "db", Start), container("log")]);
    assert_eq!(
        bench.at(100, Event::StopOrdered),
        [Action::Signal(1), Action::Signal(2)]
    );
    assert_eq!(bench.machine.deadline_ms(), Some(30_100));
    assert_eq!(bench.at(200, exited(2, 0)), []);
    assert_eq!(bench.at(30_100, Event::Elapsed), [Action::Kill(1)]);
    assert_eq!(bench.at(30_110, exited(1, 137)), [Action::Signal(0)]);
    assert_eq!(bench.at(31_110, Event::Elapsed), [Action::Kill(0)]);
    assert!(!bench.machine.is_over());
    assert_eq!(bench.at(31_120, exited(0, 137)), []);
    assert!(bench.machine.is_over());
    assert_eq!(bench.machine.cause(), Some(&Cause::Requested));
}

#[test]
fn an_essential_exit_ends_all_and_a_kill_waits_for_nobody() {
    let (mut bench, _) =
        Bench::new(&[container("a"), after(container("b"), "a", Start), side("c")]);
    assert_eq!(bench.at(1, exited(2, 0)), []);
    assert_eq!(bench.at(2, exited(1, 0)), [Action::Signal(0)]);
    assert_eq!(bench.machine.cause(), Some(&Cause::EssentialExited));
    assert_eq!(bench.at(3, Event::KillOrdered), [Action::Kill(0)]);
    assert_eq!(bench.at(4, Event::KillOrdered), []);
    let (mut bench, _) = Bench::new(&[container("a"), after(container("b"), "a", Start)]);
    assert_eq!(
        bench.at(3, Event::KillOrdered),
        [Action::Kill(0), Action::Kill(1)]
    );
}

#[test]
fn restarts_need_time_and_an_exit_code_that_is_not_ignored() {
    let (mut bench, _) = Bench::new(&[checked(restarted(container("app")))]);
    bench.at(30_000, Event::Elapsed);
    bench.tell(Event::Checked(0, true));
    assert_eq!(bench.health(0), Some(ContainerHealth::Healthy));
    assert_eq!(bench.at(60_000, exited(0, 0)), [Action::Start(0)]);
    assert_eq!(
        (
            bench.health(0),
            bench.machine.member(0).restarts,
            bench.machine.phase()
        ),
        (Some(ContainerHealth::Unknown), 1, Phase::Running)
    );
    // Counted from the last start.
    assert_eq!(bench.at(119_999, exited(0, 0)), []);
    assert_eq!(bench.machine.cause(), Some(&Cause::EssentialExited));
    let (mut bench, _) = Bench::new(&[restarted(container("app"))]);
    assert_eq!(bench.at(70_000, exited(0, 7)), []);
    assert!(bench.machine.is_over());
    // Nobody is started again once the end has begun.
    let (mut bench, _) = Bench::new(&[restarted(container("app")), container("other")]);
    bench.at(70_000, exited(1, 0));
    assert_eq!(bench.at(70_001, exited(0, 0)), []);
    assert!(bench.machine.is_over());
}

#[test]
fn an_exit_that_is_followed_by_a_restart_completes_nothing() {
    let (mut bench, _) = Bench::new(&[
        after(container("app"), "job", Complete),
        restarted(side("job")),
    ]);
    assert_eq!(bench.at(60_000, exited(1, 1)), [Action::Start(1)]);
    assert_eq!(bench.machine.phase(), Phase::Pending);
    assert_eq!(bench.at(60_010, exited(1, 1)), [Action::Start(0)]);
}

#[test]
fn health_is_what_the_checks_say() {
    use ContainerHealth::{Healthy, Unhealthy, Unknown};
    let mut app = checked(container("app"));
    app.health_check.as_mut().unwrap().start_period_ms = 100_000;
    let (mut bench, _) = Bench::new(&[app]);
    let check = |bench: &mut Bench, passed| {
        let at = bench.machine.deadline_ms().unwrap();
        assert_eq!(bench.at(at, Event::Elapsed), [Action::Check(0)]);
        bench.at(at + 10, Event::Checked(0, passed));
        bench.health(0).unwrap()
    };
    // Three failures in the start period do not count: 30, 60 and 90 seconds.
    for _ in 0..3 {
        assert_eq!(check(&mut bench, false), Unknown);
    }
    for expected in [Unknown, Unknown, Unhealthy] {
        assert_eq!(check(&mut bench, false), expected);
    }
    for (passed, expected) in [
        (true, Healthy),
        (false, Healthy),
        (false, Healthy),
        (true, Healthy),
    ] {
        assert_eq!(check(&mut bench, passed), expected);
    }
    // One that hangs is ended and has failed; its late answer does not count.
    let at = bench.machine.deadline_ms().unwrap();
    bench.at(at, Event::Elapsed);
    assert_eq!(bench.at(at + 5_000, Event::Elapsed), [Action::EndCheck(0)]);
    assert_eq!(bench.tell(Event::Checked(0, true)), []);
    assert_eq!(bench.machine.deadline_ms(), Some(at + 35_000));
    // The container's end is its check's end.
    bench.at(at + 35_000, Event::Elapsed);
    assert_eq!(bench.at(at + 35_001, exited(0, 0)), [Action::EndCheck(0)]);
}

#[test]
fn a_failure_counts_within_the_start_period_once_it_was_well() {
    let mut app = checked(container("app"));
    app.health_check.as_mut().unwrap().start_period_ms = 300_000;
    let (mut bench, _) = Bench::new(&[app]);
    for passed in [true, false, false, false] {
        let at = bench.machine.deadline_ms().unwrap();
        bench.at(at, Event::Elapsed);
        bench.tell(Event::Checked(0, passed));
    }
    assert_eq!(bench.health(0), Some(ContainerHealth::Unhealthy));
}

#[test]
fn a_dependency_that_came_true_is_no_deadline_while_another_is_waited_for() {
    let mut slow = checked(container("slow"));
    slow.start_timeout_ms = Some(60_000);
    let job = container("job");
    let app = after(after(container("app"), "slow", Healthy), "job", Complete);
    let (mut bench, _) = Bench::new(&[slow, job, app]);
    let at = bench.machine.deadline_ms().unwrap();
    bench.at(at, Event::Elapsed);
    bench.tell(Event::Checked(0, true));
    // Only its next check is due, now and when the start timeout is over.
    bench.at(60_001, Event::Elapsed);
    bench.tell(Event::Checked(0, true));
    assert!(bench.machine.deadline_ms().unwrap() > 60_001);
}

/// How a container of a random task behaves.
#[derive(Clone, Debug)]
struct Manner {
    refuses: bool,
    /// How long it runs by itself; `None`: until it is ended.
    runs_ms: Option<u64>,
    code: i32,
    /// How long it takes to heed its stop signal; `None`: it does not.
    heeds_ms: Option<u64>,
    /// How long its checks take and whether they pass; `None`: they hang.
    checks: Option<(u64, bool)>,
}

fn manner() -> impl Strategy<Value = Manner> {
    (
        prop::bool::weighted(0.1),
        prop::option::of(1u64..90_000),
        prop_oneof![Just(0), Just(1), Just(7)],
        prop::option::of(1u64..40_000),
        prop::option::of((1u64..6_000, any::<bool>())),
    )
        .prop_map(|(refuses, runs_ms, code, heeds_ms, checks)| Manner {
            refuses,
            runs_ms,
            code,
            heeds_ms,
            checks,
        })
}

/// Up to six containers; each may need earlier ones, and they are listed backwards.
fn task() -> impl Strategy<Value = Vec<(TaskContainer, Manner)>> {
    let condition = prop_oneof![Just(Start), Just(Complete), Just(Success), Just(Healthy)];
    let needs = prop::collection::vec((any::<prop::sample::Index>(), condition), 0..3);
    let traits = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(2_000u64..60_000),
    );
    prop::collection::vec((needs, traits, manner()), 1..6).prop_map(|drawn| {
        let mut made: Vec<(TaskContainer, Manner)> = Vec::new();
        for (number, (needs, (essential, has_check, restarts, timeout), manner)) in
            drawn.into_iter().enumerate()
        {
            let mut one = container(&format!("c{number}"));
            one.essential = essential;
            one.start_timeout_ms = timeout;
            one.stop_timeout_ms = 20_000;
            if has_check {
                one = checked(one);
            }
            if restarts {
                one = restarted(one);
            }
            for (other, condition) in needs.iter().filter(|_| number > 0) {
                one = after(one, &format!("c{}", other.index(number)), *condition);
            }
            made.push((one, manner));
        }
        made.reverse();
        made
    })
}

/// A world of processes that keep to their manners, on a clock of its own.
struct World {
    containers: Vec<TaskContainer>,
    manners: Vec<Manner>,
    machine: Machine,
    now_ms: u64,
    /// When a container ends, and with what.
    ends: Vec<Option<(u64, i32)>>,
    checks: Vec<Option<u64>>,
    started_at_ms: Vec<Option<u64>>,
    signalled_at_ms: Vec<Option<u64>>,
    killing: bool,
}

impl World {
    fn index(&self, name: &str) -> usize {
        self.containers
            .iter()
            .position(|c| c.spec.name == name)
            .unwrap()
    }

    fn tell(&mut self, event: Event) {
        let mut queue = self.machine.handle(self.now_ms, event);
        while !queue.is_empty() {
            let action = queue.remove(0);
            if let Some(event) = self.act(action) {
                queue.extend(self.machine.handle(self.now_ms, event));
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        let now_ms = self.now_ms;
        match action {
            Action::Start(index) => return Some(self.start(index)),
            Action::Signal(index) => {
                assert!(self.ends[index].is_some() && self.signalled_at_ms[index].is_none());
                for (other, container) in self.containers.iter().enumerate() {
                    let needs = container
                        .depends_on
                        .iter()
                        .any(|d| self.index(&d.container) == index);
                    assert!(
                        !needs || self.ends[other].is_none(),
                        "{other} still needs {index}"
                    );
                }
                self.signalled_at_ms[index] = Some(now_ms);
                if let Some(heeds_ms) = self.manners[index].heeds_ms {
                    let end = self.ends[index].as_mut().unwrap();
                    *end = (end.0.min(now_ms + heeds_ms), 143);
                }
            }
            Action::Kill(index) => {
                let due = self.signalled_at_ms[index].is_some_and(|at| at + 20_000 <= now_ms);
                assert!(self.killing || due, "killed {index} before its time");
                self.ends[index] = Some((now_ms + 1, 137));
            }
            Action::Check(index) => {
                assert!(self.checks[index].is_none() && self.ends[index].is_some());
                let took = self.manners[index]
                    .checks
                    .map_or(u64::MAX / 2, |(ms, _)| ms);
                self.checks[index] = Some(now_ms + took);
            }
            Action::EndCheck(index) => assert!(self.checks[index].take().is_some()),
        }
        None
    }

    fn start(&mut self, index: usize) -> Event {
        assert!(self.machine.phase() < Phase::Stopping, "started at the end");
        assert!(self.ends[index].is_none(), "started twice");
        let again = self.started_at_ms[index];
        if let Some(before) = again {
            let policy = self.containers[index]
                .restart
                .as_ref()
                .expect("restarted without a policy");
            assert!(self.now_ms - before >= policy.attempt_period_ms);
        } else {
            for need in &self.containers[index].depends_on {
                let other = self.index(&need.container);
                let (running, member) = (self.ends[other].is_some(), self.machine.member(other));
                assert!(match need.condition {
                    Start => self.started_at_ms[other].is_some(),
                    Complete => !running && member.exit_code.is_some(),
                    Success => !running && member.exit_code == Some(0),
                    Healthy => member.health == Some(ContainerHealth::Healthy),
                });
            }
        }
        if self.manners[index].refuses {
            return Event::Refused(index, "it will not".to_owned());
        }
        self.started_at_ms[index] = Some(self.now_ms);
        let runs_ms = self.manners[index].runs_ms.unwrap_or(u64::MAX / 2);
        self.ends[index] = Some((self.now_ms + runs_ms, self.manners[index].code));
        Event::Started(index)
    }

    /// Goes to the next moment at which anything happens; false if there is none before `until_ms`.
    fn step(&mut self, until_ms: u64) -> bool {
        let ends = self.ends.iter().flatten().map(|(at, _)| *at);
        let checks = self.checks.iter().flatten().copied();
        let next = ends.chain(checks).chain(self.machine.deadline_ms()).min();
        let Some(next) = next.filter(|at| *at <= until_ms) else {
            return false;
        };
        self.now_ms = self.now_ms.max(next);
        for index in 0..self.containers.len() {
            if let Some((_, code)) = self.ends[index].filter(|(at, _)| *at <= self.now_ms) {
                self.ends[index] = None;
                self.tell(exited(index, code));
                assert!(
                    self.checks[index].is_none() || self.ends[index].is_some(),
                    "a check outlived its container"
                );
            }
            if self.checks[index].is_some_and(|at| at <= self.now_ms) {
                self.checks[index] = None;
                let passed = self.manners[index].checks.is_some_and(|(_, passed)| passed);
                self.tell(Event::Checked(index, passed));
            }
        }
        self.tell(Event::Elapsed);
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_containers_do_the_rules_hold_and_every_end_comes(
        drawn in task(),
        stop_at_ms in 0u64..200_000,
        kill_after_ms in prop::option::of(0u64..30_000),
    ) {
        let (containers, manners): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let count = containers.len();
        let mut world = World {
            machine: Machine::new(&containers),
            containers,
            manners,
            now_ms: 0,
            ends: vec![None; count],
            checks: vec![None; count],
            started_at_ms: vec![None; count],
            signalled_at_ms: vec![None; count],
            killing: false,
        };
        world.tell(Event::Begun);
        let mut steps = 0;
        while !world.machine.is_over() && world.step(stop_at_ms) {
            steps += 1;
            prop_assert!(steps < 10_000, "the machine does not rest");
        }
        world.now_ms = world.now_ms.max(stop_at_ms);
        if !world.machine.is_over() {
            world.tell(Event::StopOrdered);
            let kill_at_ms = kill_after_ms.map(|ms| world.now_ms + ms);
            // Each is killed at the latest when its own time is over, one after the other in the longest chain.
            let until_ms = world.now_ms + (count as u64) * 20_002;
            if let Some(at) = kill_at_ms {
                while !world.machine.is_over() && world.step(at.min(until_ms)) {}
                if !world.machine.is_over() {
                    world.now_ms = world.now_ms.max(at);
                    world.killing = true;
                    world.tell(Event::KillOrdered);
                }
            }
            while !world.machine.is_over() {
                prop_assert!(world.step(until_ms), "the end does not come");
            }
        }
        prop_assert!(world.ends.iter().all(Option::is_none), "something still runs");
        prop_assert!(world.checks.iter().all(Option::is_none), "a check still runs");
        prop_assert_eq!(world.machine.deadline_ms(), None);
        prop_assert!(world.machine.cause().is_some());
    }
}
