//! The arithmetic of a rolling deployment: which tasks to start and stop now. Pure (facts SVC-1, SVC-2, SVC-4, SVC-13).
//!
//! Called by `reconcile::service_count`, again after every change. What must stay true: a plan never takes healthy
//! tasks below the minimum, running and pending ones never above the maximum, and if tasks behave it ends with exactly
//! the desired number of healthy tasks of the primary deployment.

use fogbank_types::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How many tasks there shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub desired: usize,
    /// Tasks on top of that, within the maximum, while zones are evened.
    pub surplus: usize,
    pub minimum_percent: u32,
    pub maximum_percent: u32,
}

impl Bounds {
    /// How many tasks there shall be at the end.
    fn goal(&self) -> usize {
        self.desired + self.surplus
    }

    /// Healthy tasks are not stopped below this. More than the desired count cannot be asked for: at the end there
    /// are no more than that.
    pub fn lower(&self) -> usize {
        (self.desired * self.minimum_percent as usize)
            .div_ceil(100)
            .min(self.desired)
    }

    /// Running and pending tasks are not started above this.
    pub fn upper(&self) -> usize {
        self.desired * self.maximum_percent as usize / 100
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    Unhealthy,
    Unknown,
}

/// A task that runs or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    pub id: String,
    pub zone: String,
    pub created_at: Timestamp,
    /// Of the newest deployment.
    pub primary: bool,
    pub running: bool,
    pub verdict: Verdict,
    /// Neither scale-in nor a deployment stops it (fact SVC-17).
    pub protected: bool,
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub starts: usize,
    /// Ids of tasks that are too many or of an older deployment.
    pub scaled_in: Vec<String>,
    /// Ids of unhealthy tasks that make room for, or have, their replacement.
    pub unhealthy: Vec<String>,
    /// The bounds leave no room for any step.
    pub stalled: bool,
}

/// See the module. `may_start` is false while starts are throttled or the deployment has failed.
pub fn plan(bounds: Bounds, tasks: &[TaskView], may_start: bool) -> Plan {
    let (primary, old): (Vec<&TaskView>, Vec<&TaskView>) =
        tasks.iter().partition(|task| task.primary);
    let good = primary
        .iter()
        .filter(|task| task.verdict != Verdict::Unhealthy)
        .count();
    let wanted = bounds.goal().saturating_sub(good);
    let room = bounds.upper().saturating_sub(tasks.len());
    let starts = if may_start { wanted.min(room) } else { 0 };
    let blocked = if may_start { wanted - starts } else { 0 };

    let mut plan = Plan {
        starts,
        ..Plan::default()
    };
    stop_old(&bounds, tasks, &old, blocked > 0, &mut plan);
    stop_unhealthy(&bounds, &primary, blocked, &mut plan);
    stop_excess(&bounds, &primary, &mut plan);
    let waiting = tasks.iter().any(|task| task.verdict == Verdict::Unknown);
    plan.stalled = blocked > 0
        && starts == 0
        && !waiting
        && plan.scaled_in.is_empty()
        && plan.unhealthy.is_empty();
    plan
}

/// Old tasks go as new ones get healthy; without room for new ones, down to the minimum.
fn stop_old(
    bounds: &Bounds,
    tasks: &[TaskView],
    old: &[&TaskView],
    blocked: bool,
    plan: &mut Plan,
) {
    let floor = if blocked {
        bounds.lower()
    } else {
        bounds.desired
    };
    let mut healthy = tasks
        .iter()
        .filter(|task| task.verdict == Verdict::Healthy)
        .count();
    let mut order: Vec<_> = old.iter().filter(|task| !task.protected).copied().collect();
    order.sort_by_key(|task| (rank(task), task.created_at, task.id.clone()));
    for task in order {
        // One that runs but is not known to be healthy may well serve: it is kept like a healthy one.
        let serves = task.running && task.verdict != Verdict::Unhealthy;
        let is_healthy = usize::from(task.verdict == Verdict::Healthy);
        if !serves || healthy >= floor + is_healthy {
            healthy -= is_healthy;
            plan.scaled_in.push(task.id.clone());
        }
    }
}

/// Replacements start first where the maximum permits; otherwise unhealthy tasks make room for them.
fn stop_unhealthy(bounds: &Bounds, primary: &[&TaskView], blocked: usize, plan: &mut Plan) {
    let mut unhealthy: Vec<_> = primary
        .iter()
        .filter(|task| task.verdict == Verdict::Unhealthy)
        .collect();
    unhealthy.sort_by_key(|task| (task.created_at, task.id.clone()));
    let healthy = primary
        .iter()
        .filter(|task| task.verdict == Verdict::Healthy)
        .count();
    let count = if healthy >= bounds.desired {
        unhealthy.len()
    } else {
        blocked
            .saturating_sub(plan.scaled_in.len())
            .min(unhealthy.len())
    };
    plan.unhealthy.extend(
        unhealthy
            .into_iter()
            .take(count)
            .map(|task| task.id.clone()),
    );
}

/// Scale-in: what does not serve yet first, then from the fullest zone.
fn stop_excess(bounds: &Bounds, primary: &[&TaskView], plan: &mut Plan) {
    let mut kept: BTreeMap<&str, &TaskView> = primary
        .iter()
        .filter(|task| task.verdict != Verdict::Unhealthy)
        .map(|task| (task.id.as_str(), *task))
        .collect();
    let mut stopped = BTreeSet::new();
    while kept.len() > bounds.goal() {
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for task in kept.values() {
            *zones.entry(&task.zone).or_default() += 1;
        }
        let key = |task: &&TaskView| {
            (
                rank(task),
                Reverse(zones[task.zone.as_str()]),
                Reverse(task.created_at),
            )
        };
        let open = kept.values().copied().filter(|task| !task.protected);
        let Some(victim) = open.min_by_key(key) else {
            break;
        };
        let healthy = kept
            .values()
            .filter(|task| task.verdict == Verdict::Healthy)
            .count();
        // Protected tasks that are not healthy stand for none that is.
        if victim.verdict == Verdict::Healthy && healthy <= bounds.lower() {
            break;
        }
        kept.remove(victim.id.as_str());
        stopped.insert(victim.id.clone());
    }
    plan.scaled_in.extend(stopped);
}

/// How many tasks must move for the zones to be even; 0 if they are. `zones` are those with room for more.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing.html>
pub fn uneven(tasks: &[TaskView], zones: &BTreeSet<String>) -> usize {
    let count = |zone: &String| tasks.iter().filter(|task| task.zone == *zone).count();
    let mut all = zones.clone();
    all.extend(tasks.iter().map(|task| task.zone.clone()));
    let most = all.iter().map(count).max().unwrap_or(0);
    let least = zones.iter().map(count).min().unwrap_or(most);
    if zones.is_empty() || most <= least + 1 {
        return 0;
    }
    let share = tasks.len() / all.len();
    zones
        .iter()
        .map(|zone| share.saturating_sub(count(zone)))
        .sum::<usize>()
        .max(1)
}

/// What is missed least comes first.
fn rank(task: &TaskView) -> u8 {
    match task.verdict {
        Verdict::Unhealthy => 0,
        _ if !task.running => 1,
        Verdict::Unknown => 2,
        Verdict::Healthy => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(desired: usize, minimum_percent: u32, maximum_percent: u32) -> Bounds {
        Bounds {
            desired,
            surplus: 0,
            minimum_percent,
            maximum_percent,
        }
    }

    fn task(id: usize, primary: bool, verdict: Verdict) -> TaskView {
        TaskView {
            id: format!("{id:03}"),
            zone: ["a", "b", "c"][id % 3].to_owned(),
            created_at: Timestamp(id as i64),
            primary,
            running: true,
            verdict,
            protected: false,
        }
    }

    #[test]
    fn new_tasks_start_before_old_ones_stop() {
        let old: Vec<_> = (0..2).map(|id| task(id, false, Verdict::Healthy)).collect();
        let first = plan(bounds(2, 100, 200), &old, true);
        assert_eq!((first.starts, first.scaled_in.len()), (2, 0));
        let mut both = old.clone();
        both.push(task(3, true, Verdict::Healthy));
        both.push(task(4, true, Verdict::Unknown));
        assert_eq!(plan(bounds(2, 100, 200), &both, true).scaled_in, ["000"]);
    }

    #[test]
    fn without_room_old_ones_go_first_down_to_the_minimum() {
        let old: Vec<_> = (0..4).map(|id| task(id, false, Verdict::Healthy)).collect();
        let plan = plan(bounds(4, 50, 100), &old, true);
        assert_eq!((plan.starts, plan.scaled_in.len()), (0, 2));
    }

    #[test]
    fn bounds_without_room_stall() {
        let old = [task(0, false, Verdict::Healthy)];
        assert!(plan(bounds(1, 100, 100), &old, true).stalled);
        assert!(!plan(bounds(1, 0, 100), &old, true).stalled);
    }

    #[test]
    fn an_unhealthy_task_is_replaced_first_and_stopped_then() {
        let sick = [task(0, true, Verdict::Unhealthy)];
        let first = plan(bounds(1, 100, 200), &sick, true);
        assert_eq!((first.starts, first.unhealthy.len()), (1, 0));
        let both = [
            task(0, true, Verdict::Unhealthy),
            task(1, true, Verdict::Healthy),
        ];
        assert_eq!(plan(bounds(1, 100, 200), &both, true).unhealthy, ["000"]);
        let no_room = plan(bounds(1, 100, 100), &sick, true);
        assert_eq!((no_room.starts, no_room.unhealthy.len()), (0, 1));
    }

    #[test]
    fn scale_in_takes_from_the_fullest_zone() {
        let mut all: Vec<_> = (0..4).map(|id| task(id, true, Verdict::Healthy)).collect();
        for (task, zone) in all.iter_mut().zip(["a", "b", "b", "b"]) {
            task.zone = zone.to_owned();
        }
        assert_eq!(
            plan(bounds(2, 100, 200), &all, true).scaled_in,
            ["002", "003"]
        );
    }

    #[test]
    fn nothing_is_desired_nothing_stays() {
        let all = [
            task(0, true, Verdict::Healthy),
            task(1, false, Verdict::Unknown),
        ];
        assert_eq!(plan(bounds(0, 100, 200), &all, true).scaled_in.len(), 2);
    }

    #[test]
    fn protected_tasks_stay() {
        let mut all: Vec<_> = (0..3)
            .map(|id| task(id, id > 0, Verdict::Healthy))
            .collect();
        for task in &mut all {
            task.protected = true;
        }
        assert!(plan(bounds(0, 100, 200), &all, true).scaled_in.is_empty());
        all[1].protected = false;
        assert_eq!(plan(bounds(0, 100, 200), &all, true).scaled_in, ["001"]);
    }

    #[test]
    fn uneven_zones_are_seen() {
        let zones = |names: &[&str]| {
            names
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<BTreeSet<_>>()
        };
        let mut all: Vec<_> = (0..6).map(|id| task(id, true, Verdict::Healthy)).collect();
        assert_eq!(uneven(&all, &zones(&["a", "b", "c"])), 0);
        for task in &mut all {
            task.zone = "a".to_owned();
        }
        assert_eq!(uneven(&all, &zones(&["a", "b", "c"])), 4);
        assert_eq!(uneven(&all, &zones(&["a"])), 0, "there is no other zone");
        assert_eq!(uneven(&all[..1], &zones(&["a", "b"])), 0);
    }

    /// A world of tasks that the plan is applied to.
    struct World {
        tasks: Vec<TaskView>,
        next: usize,
    }

    impl World {
        fn apply(&mut self, plan: &Plan) {
            self.tasks
                .retain(|t| !plan.scaled_in.contains(&t.id) && !plan.unhealthy.contains(&t.id));
            for _ in 0..plan.starts {
                let mut new = task(self.next, true, Verdict::Unknown);
                new.running = false;
                self.tasks.push(new);
                self.next += 1;
            }
        }

        fn healthy(&self) -> usize {
            self.tasks
                .iter()
                .filter(|t| t.verdict == Verdict::Healthy)
                .count()
        }
    }

    proptest! {
        /// Whatever happens to tasks, no step leaves the bounds; when they behave again, all is as it shall be.
        #[test]
        fn a_deployment_stays_within_bounds_and_converges(
            desired in 0usize..8, minimum in 0u32..101, maximum in 100u32..301,
            fates in proptest::collection::vec((0u8..7, 0usize..32), 0..60),
        ) {
            let bounds = bounds(desired, minimum, maximum);
            let mut world = World { tasks: Vec::new(), next: 0 };
            let step = |world: &mut World| -> Result<(), TestCaseError> {
                let (healthy, count) = (world.healthy(), world.tasks.len());
                let plan = plan(bounds, &world.tasks, true);
                let named: BTreeSet<_> = plan.scaled_in.iter().chain(&plan.unhealthy).collect();
                prop_assert_eq!(named.len(), plan.scaled_in.len() + plan.unhealthy.len(), "a task is stopped once");
                world.apply(&plan);
                prop_assert!(world.healthy() >= healthy.min(bounds.lower()), "below the minimum");
                prop_assert!(world.tasks.len() <= count.max(bounds.upper()), "above the maximum");
                Ok(())
            };
            for (fate, which) in fates {
                step(&mut world)?;
                let count = world.tasks.len();
                if fate == 0 {
                    for task in &mut world.tasks {
                        task.primary = false;
                    }
                } else if count > 0 {
                    let index = which % count;
                    let task = &mut world.tasks[index];
                    match fate {
                        1 => task.running = true,
                        2 => { task.running = true; task.verdict = Verdict::Healthy; }
                        3 if task.running => task.verdict = Verdict::Unhealthy,
                        4 if task.running => task.verdict = Verdict::Unknown,
                        5 => { world.tasks.remove(index); }
                        6 => task.protected = !task.protected,
                        _ => {}
                    }
                }
            }
            for task in &mut world.tasks {
                task.protected = false;
            }
            for _ in 0..64 {
                for task in world.tasks.iter_mut().filter(|t| t.verdict != Verdict::Unhealthy) {
                    task.running = true;
                    task.verdict = Verdict::Healthy;
                }
                step(&mut world)?;
            }
            let stuck = plan(bounds, &world.tasks, true).stalled;
            let done = world.tasks.len() == desired && world.tasks.iter().all(|t| t.primary);
            prop_assert!(done || stuck, "{:?}", world.tasks);
            // Only bounds without any room may stall.
            prop_assert!(!stuck || (bounds.lower() == desired && bounds.upper() == desired));
        }
    }
}
