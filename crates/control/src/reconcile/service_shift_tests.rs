//! Deployments that shift traffic, alarms, stops and pauses, in a region with a host that behaves.

use crate::model::Tx;
use crate::model::ecs::deployment_control::{self, Stop};
use crate::model::ecs::fixture::{World, scope};
use crate::model::ecs::services;
use crate::model::ecs::strategy::{NewHook, StrategyChange};
use fogbank_types::alarm::{
    Alarm, AlarmSource, AlarmState, AlarmWatch, Comparison, MetricStatistic, MetricWatch,
};
use fogbank_types::ecs::{AdvancedLoadBalancer, RolloutState, Service};
use fogbank_types::elb::ActionKind;
use fogbank_types::rollout::{DeploymentAlarms, HookAction, LifecycleStage};
use fogbank_types::status::Health;

const MINUTE_MS: i64 = 60_000;

/// A service with two groups and that strategy; its first deployment is complete.
fn shifting(change: StrategyChange) -> (World, String, String) {
    let mut world = World::new();
    let green = world.region.target_group("green").arn;
    let load_balancer = world.load_balancer_arn();
    let listener = world.listener_arn(&load_balancer);
    let advanced = AdvancedLoadBalancer {
        alternate_target_group_arn: green.clone(),
        production_listener_rule: crate::model::elb::arns::default_rule(&listener),
        test_listener_rule: None,
        role_arn: "arn:aws:iam::000000000000:role/ecs".to_owned(),
    };
    let mut new = world.new_service(2, true);
    new.load_balancers[0].advanced = Some(advanced);
    new.configuration.strategy = change;
    services::create(world.tx(), &scope(), new).unwrap();
    world.settle();
    world.tx().advance_ms(16 * MINUTE_MS);
    world.settle();
    assert_eq!(primary(&world).rollout_state, RolloutState::Completed);
    let blue = world.target_group.clone();
    (world, blue, green)
}

fn kind(text: &str) -> StrategyChange {
    StrategyChange {
        kind: Some(text.to_owned()),
        ..StrategyChange::default()
    }
}

fn primary(world: &World) -> fogbank_types::ecs::Deployment {
    world
        .service()
        .deployments
        .into_iter()
        .find(|d| d.primary)
        .unwrap()
}

fn stage(world: &World) -> LifecycleStage {
    primary(world).course.shift.unwrap().stage
}

/// Weights that the production rule gives to the two groups.
fn weights(world: &World, blue: &str, green: &str) -> (u32, u32) {
    let listener = world
        .region
        .tx
        .snapshot()
        .listeners
        .in_scope(&scope())
        .next()
        .unwrap()
        .clone();
    let ActionKind::Forward { groups, .. } = &listener.default_actions[0].kind else {
        panic!("the rule forwards");
    };
    let of = |arn: &str| {
        groups
            .iter()
            .find(|g| g.target_group_arn == arn)
            .map_or(0, |g| g.weight)
    };
    (of(blue), of(green))
}

fn deploy(world: &mut World) -> String {
    world.update(|update| update.force_new_deployment = true);
    primary(world).id
}

/// `cluster/service/digits` of a deployment.
fn tail(id: &str) -> String {
    format!("main/api/{}", id.rsplit('/').next().unwrap())
}

#[test]
fn blue_green_shifts_all_traffic_at_once_and_keeps_blue_until_it_is_baked() {
    let (mut world, blue, green) = shifting(kind("BLUE_GREEN"));
    deploy(&mut world);
    world.reconcile();
    assert_eq!(
        weights(&world, &blue, &green),
        (100, 0),
        "green is checked, not used"
    );
    assert_eq!(world.wanted().len(), 4, "both run");
    world.settle();
    assert_eq!(stage(&world), LifecycleStage::BakeTime);
    assert_eq!(weights(&world, &blue, &green), (0, 100));
    assert_eq!(world.wanted().len(), 4, "blue stays while it bakes");
    world.tx().advance_ms(16 * MINUTE_MS);
    world.settle();
    world.tx().advance_ms(10 * MINUTE_MS);
    world.settle();
    assert_eq!(world.wanted().len(), 2);
    assert_eq!(primary(&world).rollout_state, RolloutState::Completed);
    assert_eq!(world.service().deployments.len(), 1);
    // And back to the first group with the next one.
    deploy(&mut world);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (100, 0));
}

#[test]
fn green_gets_no_traffic_before_all_its_targets_are_healthy() {
    let (mut world, blue, green) = shifting(kind("BLUE_GREEN"));
    deploy(&mut world);
    for _ in 0..5 {
        world.host_acts();
        world.reconcile();
        world.nodes_see_group(&green, Health::Initial);
        assert_eq!(weights(&world, &blue, &green), (100, 0));
    }
    assert_eq!(stage(&world), LifecycleStage::ScaleUp);
}

#[test]
fn canary_and_linear_go_step_by_step() {
    let canary = StrategyChange {
        canary: Some((Some(10.0), Some(5))),
        ..kind("CANARY")
    };
    let (mut world, blue, green) = shifting(canary);
    deploy(&mut world);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (90, 10));
    world.tx().advance_ms(5 * MINUTE_MS);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (0, 100));

    let linear = StrategyChange {
        linear: Some((Some(40.0), Some(1))),
        ..kind("LINEAR")
    };
    let (mut world, blue, green) = shifting(linear);
    deploy(&mut world);
    for expected in [(60, 40), (20, 80), (0, 100)] {
        world.settle();
        assert_eq!(weights(&world, &blue, &green), expected);
        world.tx().advance_ms(MINUTE_MS);
    }
}

#[test]
fn stopping_turns_the_traffic_back_to_blue() {
    let (mut world, blue, green) = shifting(kind("BLUE_GREEN"));
    let before = primary(&world).id;
    let id = deploy(&mut world);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (0, 100));
    deployment_control::stop(world.tx(), &scope(), &tail(&id), Stop::Rollback).unwrap();
    assert_eq!(weights(&world, &blue, &green), (100, 0));
    assert_eq!(status(&world, &id), "ROLLBACK_IN_PROGRESS");
    world.settle();
    world.tx().advance_ms(10 * MINUTE_MS);
    world.settle();
    assert_eq!(primary(&world).id, before);
    assert_eq!(world.wanted().len(), 2);
    assert_eq!(status(&world, &id), "ROLLBACK_SUCCESSFUL");
    let again = deployment_control::stop(world.tx(), &scope(), &tail(&id), Stop::Rollback);
    assert!(again.is_err(), "it is over");
}

fn status(world: &World, id: &str) -> &'static str {
    let service: Service = world.service();
    let mut all = service.deployments.iter().chain(&service.past_deployments);
    services::deployment_status(&service, all.find(|d| d.id == id).unwrap())
}

#[test]
fn a_pause_waits_for_a_call_and_rolls_back_when_its_time_is_over() {
    let hooked = |timeout| StrategyChange {
        hooks: Some(vec![NewHook {
            target_type: Some("PAUSE".to_owned()),
            stages: vec!["POST_TEST_TRAFFIC_SHIFT".to_owned()],
            timeout,
        }]),
        ..kind("BLUE_GREEN")
    };
    let (mut world, blue, green) = paused(hooked(None));
    let hook = primary(&world)
        .course
        .shift
        .unwrap()
        .hooks
        .last()
        .unwrap()
        .id
        .clone();
    assert_eq!(weights(&world, &blue, &green), (100, 0), "it waits");
    let id = primary(&world).id;
    let proceed = |tx: &mut Tx, hook: &str| {
        deployment_control::proceed(tx, &scope(), &tail(&id), hook, HookAction::Continue)
    };
    assert!(proceed(world.tx(), "other").is_err());
    proceed(world.tx(), &hook).unwrap();
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (0, 100));

    let (mut world, blue, green) = paused(hooked(Some((Some(3), None))));
    let id = primary(&world).id;
    world.tx().advance_ms(3 * MINUTE_MS);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (100, 0));
    assert!(status(&world, &id).starts_with("ROLLBACK_"));
}

/// A shift that waits at its hook. The first deployment passes it.
fn paused(change: StrategyChange) -> (World, String, String) {
    let hooks = change.hooks.clone();
    let (mut world, blue, green) = shifting(kind("BLUE_GREEN"));
    world.update(|update| {
        update.configuration.strategy.hooks = hooks;
        update.force_new_deployment = true;
    });
    world.settle();
    assert_eq!(stage(&world), LifecycleStage::PostTestTrafficShift);
    (world, blue, green)
}

fn alarm(tx: &mut Tx, state: AlarmState) {
    let now = tx.now();
    tx.put(Alarm {
        scope: scope(),
        name: "errors".to_owned(),
        description: None,
        actions_enabled: false,
        ok_actions: Vec::new(),
        alarm_actions: Vec::new(),
        insufficient_data_actions: Vec::new(),
        watch: AlarmWatch::Metric(MetricWatch {
            source: AlarmSource::Metric(MetricStatistic {
                namespace: "Shop".to_owned(),
                name: "Errors".to_owned(),
                dimensions: Vec::new(),
                statistic: "Sum".to_owned(),
                period_s: 60,
                unit: None,
            }),
            evaluation_periods: 2,
            datapoints_to_alarm: None,
            threshold: 1.0,
            comparison: Comparison::GreaterThanThreshold,
            treat_missing: None,
            low_samples: None,
        }),
        configured_at: now,
        state,
        state_reason: String::new(),
        state_reason_data: None,
        state_updated_at: now,
        state_transitioned_at: now,
        judged: None,
        tags: Default::default(),
    });
}

fn alarmed(kind_text: &str) -> StrategyChange {
    StrategyChange {
        alarms: Some(DeploymentAlarms {
            names: vec!["errors".to_owned()],
            enabled: true,
            rollback: true,
        }),
        ..kind(kind_text)
    }
}

#[test]
fn an_alarm_fails_a_rolling_deployment_even_when_its_tasks_are_healthy() {
    let mut world = World::new();
    alarm(world.tx(), AlarmState::Ok);
    let mut new = world.new_service(1, true);
    new.configuration.strategy = alarmed("ROLLING");
    services::create(world.tx(), &scope(), new).unwrap();
    world.settle();
    assert_eq!(
        primary(&world).rollout_state,
        RolloutState::InProgress,
        "it is watched"
    );
    world.tx().advance_ms(2 * MINUTE_MS);
    world.settle();
    let good = primary(&world);
    assert_eq!(good.rollout_state, RolloutState::Completed);
    let id = deploy(&mut world);
    world.settle();
    alarm(world.tx(), AlarmState::Alarm);
    world.settle();
    assert_eq!(primary(&world).rollback_of, Some(id.clone()));
    assert_eq!(
        primary(&world).task_definition_arn,
        good.task_definition_arn
    );
    assert!(status(&world, &id).starts_with("ROLLBACK_"));
    assert!(world.told("deployment failed: alarm detected"));
}

#[test]
fn an_alarm_that_rings_already_does_not_keep_a_mend_from_being_deployed() {
    let mut world = World::new();
    alarm(world.tx(), AlarmState::Alarm);
    let mut new = world.new_service(1, false);
    new.configuration.strategy = alarmed("ROLLING");
    services::create(world.tx(), &scope(), new).unwrap();
    world.settle();
    world.tx().advance_ms(MINUTE_MS);
    world.settle();
    assert_eq!(primary(&world).rollout_state, RolloutState::Completed);
}

#[test]
fn an_alarm_during_the_bake_time_turns_the_traffic_back() {
    let (mut world, blue, green) = shifting(kind("BLUE_GREEN"));
    alarm(world.tx(), AlarmState::Ok);
    world.update(|update| {
        update.configuration.strategy.alarms = alarmed("BLUE_GREEN").alarms;
        update.force_new_deployment = true;
    });
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (0, 100));
    alarm(world.tx(), AlarmState::Alarm);
    world.settle();
    assert_eq!(weights(&world, &blue, &green), (100, 0));
    world.tx().advance_ms(10 * MINUTE_MS);
    world.settle();
    assert_eq!(world.wanted().len(), 2);
}
