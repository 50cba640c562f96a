//! A simulated region by seed: deployments, crashes, images that fail, sick targets and containers, zones lost, calls in
//! any order, over a clock that only the simulation moves. One seed gives one run.
//!
//! `FOGBANK_SIM_SEED=7 FOGBANK_SIM_STEPS=100000 cargo test -p fogbank-control simulation` (or `cargo xtask sim`) runs one
//! seed for long; without them some seeds run for a short while. What must hold after every step: no two tasks have one
//! address, reconcilers never go below the minimum or above the maximum by themselves, and a rollback ends at a revision
//! that completed. When the faults stop, all services reach what they shall be.

use super::deployment_control::{self, Stop};
use super::fixture::{World, definition, scope};
use super::services::{self, ServiceUpdate};
use super::strategy::StrategyChange;
use super::{health, protection, task_definitions, tasks};
use crate::model::vpc::zone_faults;
use fogbank_types::ec2::ZoneFaultKind;
use fogbank_types::ecs::{AdvancedLoadBalancer, Deployment, RolloutState, Service, Task};
use fogbank_types::rollout::StrategyKind;
use fogbank_types::status::{ContainerHealth, Health, TaskPhase, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};

/// Deterministic bits: xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }
}

struct Simulation {
    world: World,
    dice: Dice,
    /// Task definitions whose image cannot be pulled.
    broken: BTreeSet<String>,
    /// Deployments that were complete at some time.
    completed: BTreeSet<String>,
    trace: Vec<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let green = world.region.target_group("green").arn;
        let load_balancer = world.load_balancer_arn();
        let listener = world.listener_arn(&load_balancer);
        let mut new = world.new_service(3, true);
        new.configuration.circuit_breaker = Some((true, true));
        new.load_balancers[0].advanced = Some(AdvancedLoadBalancer {
            alternate_target_group_arn: green,
            production_listener_rule: crate::model::elb::arns::default_rule(&listener),
            test_listener_rule: None,
            role_arn: "arn:aws:iam::000000000000:role/ecs".to_owned(),
        });
        services::create(world.tx(), &scope(), new).unwrap();
        Self {
            world,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            broken: BTreeSet::new(),
            completed: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    fn step(&mut self) {
        let what = self.dice.roll(24);
        let number = self.dice.roll(1000);
        self.trace.push(format!("{what}/{number}"));
        match what {
            0 => self.update(|update| update.force_new_deployment = true),
            1 => self.new_definition(number),
            2 => self.update(|update| update.desired_count = Some((number % 6) as i32)),
            3 => {
                let kind = StrategyKind::ALL[number % 4].as_str().to_owned();
                self.update(|update| {
                    update.configuration.strategy = StrategyChange {
                        kind: Some(kind),
                        bake_time_minutes: Some((number % 3) as i32),
                        ..StrategyChange::default()
                    };
                });
            }
            4 => {
                let minimum = (number % 101) as i32;
                let maximum = 101 + (number % 150) as i32;
                self.update(|update| {
                    update.configuration.minimum_healthy_percent = Some(minimum);
                    update.configuration.maximum_percent = Some(maximum);
                });
            }
            5 => {
                if let Some(task) = self.pick(number) {
                    let _ = tasks::stop(self.world.tx(), &scope(), Some("main"), &task.id, None);
                }
            }
            6 => {
                if let Some(task) = self.pick(number) {
                    let on = number.is_multiple_of(3);
                    let ids = [task.id];
                    let _ = protection::update(
                        self.world.tx(),
                        &scope(),
                        Some("main"),
                        &ids,
                        on,
                        Some(5),
                    );
                }
            }
            7 => self.stop_deployment(number),
            8 => self.fail_zone(number),
            9 => self.crash(number),
            10 => self
                .world
                .nodes_see([Health::Initial, Health::Unhealthy][number % 2]),
            11 => self.sicken(number),
            12..=14 => self.world.tx().advance_ms((number as i64 % 120) * 1000),
            15..=17 => self.world.nodes_see(Health::Healthy),
            18..=20 => self.host(),
            _ => {}
        }
        self.reconcile();
    }

    fn update(&mut self, change: impl FnOnce(&mut ServiceUpdate)) {
        let mut update = ServiceUpdate {
            name: "api".to_owned(),
            cluster: Some("main".to_owned()),
            ..ServiceUpdate::default()
        };
        change(&mut update);
        // A refusal is an answer like any other.
        let _ = services::update(self.world.tx(), &scope(), update);
    }

    fn new_definition(&mut self, number: usize) {
        let made =
            task_definitions::register(self.world.tx(), &scope(), definition("api")).unwrap();
        if number.is_multiple_of(2) {
            self.broken.insert(made.arn.clone());
        }
        self.update(|update| update.task_definition = Some(made.arn));
    }

    fn stop_deployment(&mut self, number: usize) {
        let service = self.world.service();
        if let Some(primary) = service.deployments.iter().find(|d| d.primary) {
            let tail = format!("main/api/{}", primary.id.rsplit('/').next().unwrap());
            let how = [Stop::Rollback, Stop::Abort][number % 2];
            let _ = deployment_control::stop(self.world.tx(), &scope(), &tail, how);
        }
    }

    fn fail_zone(&mut self, number: usize) {
        let zone = format!("us-east-1{}", ["a", "b"][number % 2]);
        zone_fault(&mut self.world, &zone, number.is_multiple_of(4));
    }

    fn pick(&mut self, number: usize) -> Option<Task> {
        let all = self.world.wanted();
        (!all.is_empty()).then(|| all[number % all.len()].clone())
    }

    fn crash(&mut self, number: usize) {
        if let Some(task) = self.pick(number) {
            self.world.report(&task, TaskPhase::Stopped);
        }
    }

    fn sicken(&mut self, number: usize) {
        let Some(task) = self.pick(number) else {
            return;
        };
        let status = health::status(self.world.region.tx.snapshot(), &task).cloned();
        if let Some(status) = status {
            let mut status = TaskStatus::clone(&status);
            for container in &mut status.containers {
                container.health = Some(ContainerHealth::Unhealthy);
            }
            self.world.tx().put(status);
        }
    }

    /// The host acts; what cannot be pulled fails before it runs.
    fn host(&mut self) {
        for task in self.world.wanted() {
            let known = health::phase(self.world.region.tx.snapshot(), &task);
            if known.is_none() && self.broken.contains(&task.task_definition_arn) {
                self.world.report(&task, TaskPhase::Stopped);
            }
        }
        self.world.host_acts();
    }

    fn reconcile(&mut self) {
        let before = self.world.service();
        let (healthy, alive) = self.counts(&before);
        self.world.reconcile();
        let after = self.world.service();
        self.check(&before, healthy, alive, &after);
    }

    /// Healthy tasks by deployment, and how many run or will.
    fn counts(&self, service: &Service) -> (BTreeMap<String, usize>, usize) {
        let tx = &self.world.region.tx;
        let (snapshot, now) = (tx.snapshot(), tx.now());
        let targets = health::Targets::of(snapshot, service);
        let (mut healthy, mut count) = (BTreeMap::new(), 0);
        for task in services::tasks_of(snapshot, service).filter(|t| health::is_alive(snapshot, t))
        {
            count += 1;
            let of = |d: &&Deployment| Some(&d.id) == task.started_by.as_ref();
            let deployment = service.deployments.iter().find(of);
            let verdict = health::of_task(snapshot, task, deployment, &targets, now, |ms| ms);
            if verdict == health::Health::Healthy {
                *healthy.entry(task.started_by.clone().unwrap()).or_insert(0) += 1;
            }
        }
        (healthy, count)
    }

    fn check(
        &mut self,
        before: &Service,
        healthy: BTreeMap<String, usize>,
        alive: usize,
        after: &Service,
    ) {
        let trace = || self.trace.join(" ");
        let snapshot = self.world.region.tx.snapshot();
        let mut addresses = BTreeSet::new();
        for eni in snapshot.enis.all() {
            for address in eni.addresses() {
                assert!(
                    addresses.insert((eni.vpc_id.clone(), address)),
                    "{address} twice: {}",
                    trace()
                );
            }
        }
        let desired = before.desired_count as usize;
        let shifts = |s: &Service| s.deployments.iter().any(|d| d.course.shift.is_some());
        let upper = if shifts(before) || shifts(after) {
            // Each of the two revisions has room to replace its tasks.
            desired * 4
        } else {
            desired * before.maximum_percent as usize / 100
        };
        let lower = (desired * before.minimum_healthy_percent as usize)
            .div_ceil(100)
            .min(desired);
        let (now_healthy, now_alive) = self.counts(after);
        assert!(
            now_alive <= alive.max(upper),
            "above the maximum: {}",
            trace()
        );
        // A shift may stop healthy tasks that have no traffic; those that have it are kept.
        let of = |counts: &BTreeMap<String, usize>| match shifts(before) || shifts(after) {
            true => counts.get(&serving(before)).copied().unwrap_or(0),
            false => counts.values().sum(),
        };
        let moved = (shifts(before) || shifts(after)) && serving(before) != serving(after);
        let kept = of(&now_healthy) >= of(&healthy).min(lower);
        assert!(moved || kept, "below the minimum: {}", trace());
        for deployment in after.deployments.iter().chain(&after.past_deployments) {
            if deployment.rollout_state == RolloutState::Completed {
                self.completed.insert(deployment.id.clone());
            }
        }
    }

    /// Faults stop: all that was asked for must come true.
    fn calm_down(&mut self) {
        for zone in ["us-east-1a", "us-east-1b"] {
            zone_fault(&mut self.world, zone, false);
        }
        self.broken.clear();
        self.update(|update| {
            update.force_new_deployment = true;
            update.configuration.minimum_healthy_percent = Some(50);
            update.configuration.maximum_percent = Some(200);
        });
        for _ in 0..80 {
            self.host();
            self.reconcile();
            self.world.nodes_see(Health::Healthy);
            self.world.tx().advance_ms(60_000);
            self.reconcile();
        }
        let service = self.world.service();
        let trace = self.trace.join(" ");
        assert_eq!(
            service.deployments.len(),
            1,
            "{:#?} {trace}",
            service.deployments
        );
        assert_eq!(
            service.deployments[0].rollout_state,
            RolloutState::Completed,
            "{trace}"
        );
        assert_eq!(
            self.world.wanted().len(),
            service.desired_count as usize,
            "{trace}"
        );
        for deployment in &service.past_deployments {
            if let Some(rollback) = &deployment.course.rollback {
                assert!(rollback.finished_at.is_some(), "{trace}");
            }
        }
        let zones: Vec<usize> = ["a", "b"]
            .iter()
            .map(|z| {
                self.world
                    .wanted()
                    .iter()
                    .filter(|t| t.zone.ends_with(z))
                    .count()
            })
            .collect();
        let even = zones[0].abs_diff(zones[1]) <= 1;
        assert!(
            even || service.availability_zone_rebalancing == "DISABLED",
            "{zones:?} {trace}"
        );
    }
}

/// The deployment that has the production traffic.
fn serving(service: &Service) -> String {
    let primary = service.deployments.iter().find(|d| d.primary).unwrap();
    let shift = primary
        .course
        .shift
        .iter()
        .find(|shift| shift.production_percent < 100.0);
    shift
        .and_then(|shift| shift.source.clone())
        .unwrap_or_else(|| primary.id.clone())
}

/// Sets a zone's fault, or takes it away.
fn zone_fault(world: &mut World, zone: &str, failed: bool) {
    let kind = failed.then_some(ZoneFaultKind::Failed);
    zone_faults::set(world.tx(), zone, kind).unwrap();
}

fn run(seed: u64, steps: usize) {
    let mut simulation = Simulation::new(seed);
    for step in 0..steps {
        simulation.step();
        // Long runs are many short ones in a row: the trace of a failure stays readable.
        if step % 200 == 199 {
            simulation.calm_down();
            simulation.trace.clear();
        }
    }
    simulation.calm_down();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_region_keeps_its_promises_whatever_happens() {
    let steps = number("FOGBANK_SIM_STEPS").unwrap_or(150) as usize;
    match number("FOGBANK_SIM_SEED") {
        Some(seed) => {
            run(seed, steps);
            println!("seed {seed}: {steps} steps");
        }
        None => (1..=12).for_each(|seed| run(seed, steps)),
    }
}
