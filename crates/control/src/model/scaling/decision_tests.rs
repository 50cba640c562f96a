use super::*;
use proptest::prelude::*;

fn situation(current: u32) -> Situation {
    Situation {
        current,
        min: 1,
        max: 10,
        suspended: SuspendedState::default(),
        cooldown: None,
        is_deploying: false,
        tracking_agrees: true,
        now: Timestamp(1_000),
    }
}

fn new(rule: Rule) -> Invocation {
    Invocation { rule, is_new: true }
}

fn out(value: f64) -> Invocation {
    let target = 50.0;
    new(Rule::TrackingOut { value, target })
}

fn inward(value: f64) -> Invocation {
    let target = 50.0;
    new(Rule::TrackingIn { value, target })
}

fn step(
    adjustment: AdjustmentType,
    steps: &[(Option<f64>, Option<f64>, i32)],
    distance: f64,
) -> Invocation {
    let steps = steps
        .iter()
        .map(|(lower, upper, adjustment)| StepAdjustment {
            lower: *lower,
            upper: *upper,
            adjustment: *adjustment,
        });
    new(Rule::Step {
        steps: StepScaling {
            adjustment,
            steps: steps.collect(),
            min_adjustment_magnitude: None,
            cooldown_s: None,
            aggregation: None,
        },
        distance,
    })
}

/// The new capacity, or none.
fn capacity(situation: &Situation, invocations: &[Invocation]) -> Option<u32> {
    match decide(situation, invocations) {
        Decision::Scale { capacity, .. } => Some(capacity),
        _ => None,
    }
}

#[test]
fn tracking_follows_the_ratio() {
    for (current, invocation, wanted) in [
        (4, out(60.0), Some(5)),
        (4, out(75.0), Some(6)),
        (4, out(100.0), Some(8)),
        // A ratio that is a whole number up to rounding is that number.
        (3, out(50.0 * 5.0 / 3.0), Some(5)),
        (4, out(50.1), Some(5)),
        (9, out(100.0), Some(10)),
        (10, out(100.0), None),
        (0, out(100.0), Some(2)),
        (10, inward(45.0), None),
        (10, inward(40.0), Some(9)),
        (10, inward(9.0), Some(2)),
        (10, inward(0.0), Some(1)),
        (1, inward(0.0), None),
        // Two tasks at 40 % would be one at 80 %.
        (2, inward(40.0), None),
    ] {
        assert_eq!(
            capacity(&situation(current), std::slice::from_ref(&invocation)),
            wanted,
            "{current} {invocation:?}"
        );
    }
}

#[test]
fn steps_are_relative_to_the_threshold() {
    use AdjustmentType::*;
    let ladder = [
        (Some(0.0), Some(10.0), 1),
        (Some(10.0), Some(20.0), 3),
        (Some(20.0), None, 5),
    ];
    let down = [(Some(-20.0), Some(0.0), -1), (None, Some(-20.0), -2)];
    for (adjustment, steps, distance, current, wanted) in [
        (ChangeInCapacity, &ladder[..], 0.0, 2, Some(3)),
        (ChangeInCapacity, &ladder[..], 9.9, 2, Some(3)),
        (ChangeInCapacity, &ladder[..], 10.0, 2, Some(5)),
        (ChangeInCapacity, &ladder[..], 500.0, 2, Some(7)),
        (ChangeInCapacity, &ladder[..], -1.0, 2, None),
        (ChangeInCapacity, &down[..], 0.0, 5, Some(4)),
        (ChangeInCapacity, &down[..], -19.0, 5, Some(4)),
        (ChangeInCapacity, &down[..], -20.0, 5, Some(3)),
        (ChangeInCapacity, &down[..], -21.0, 5, Some(3)),
        (ExactCapacity, &[(Some(0.0), None, 7)][..], 1.0, 2, Some(7)),
        (
            ExactCapacity,
            &[(Some(0.0), None, 70)][..],
            1.0,
            2,
            Some(10),
        ),
        (
            PercentChangeInCapacity,
            &[(Some(0.0), None, 50)][..],
            1.0,
            5,
            Some(7),
        ),
        (
            PercentChangeInCapacity,
            &[(Some(0.0), None, 10)][..],
            1.0,
            5,
            Some(6),
        ),
        (
            PercentChangeInCapacity,
            &[(None, Some(0.0), -10)][..],
            -1.0,
            5,
            Some(4),
        ),
        (
            PercentChangeInCapacity,
            &[(None, Some(0.0), -50)][..],
            -1.0,
            5,
            Some(3),
        ),
    ] {
        let invocation = step(adjustment, steps, distance);
        assert_eq!(
            capacity(&situation(current), &[invocation]),
            wanted,
            "{adjustment:?} {distance} {current}"
        );
    }
}

#[test]
fn a_percentage_moves_at_least_the_minimum() {
    let mut invocation = step(
        AdjustmentType::PercentChangeInCapacity,
        &[(Some(0.0), None, 10)],
        1.0,
    );
    if let Rule::Step { steps, .. } = &mut invocation.rule {
        steps.min_adjustment_magnitude = Some(3);
    }
    assert_eq!(capacity(&situation(5), &[invocation]), Some(8));
}

#[test]
fn the_largest_need_wins_and_more_beats_less() {
    assert_eq!(capacity(&situation(4), &[out(60.0), out(100.0)]), Some(8));
    assert_eq!(capacity(&situation(4), &[inward(5.0), out(60.0)]), Some(5));
    assert_eq!(
        capacity(&situation(8), &[inward(5.0), inward(30.0)]),
        Some(6)
    );
    // One that asked before and still does keeps others from taking away.
    let mut asked = out(60.0);
    asked.is_new = false;
    assert_eq!(capacity(&situation(4), &[inward(5.0), asked]), None);
}

#[test]
fn tracking_scales_in_only_if_all_agree() {
    let mut divided = situation(8);
    divided.tracking_agrees = false;
    assert_eq!(capacity(&divided, &[inward(5.0)]), None);
    // A step policy needs nobody's agreement.
    let down = step(
        AdjustmentType::ChangeInCapacity,
        &[(None, Some(0.0), -1)],
        -1.0,
    );
    assert_eq!(capacity(&divided, &[inward(5.0), down]), Some(7));
}

#[test]
fn cooldowns_let_only_a_larger_need_through() {
    let mut cooling = situation(4);
    cooling.cooldown = Some(Cooldown {
        direction: Direction::Out,
        until: Timestamp(2_000),
        from_capacity: 2,
    });
    // Two tasks at 80 % needed four: the same again is no larger need.
    assert_eq!(capacity(&cooling, &[out(80.0)]), None);
    assert_eq!(capacity(&cooling, &[out(120.0)]), Some(5));
    let plus_three = step(
        AdjustmentType::ChangeInCapacity,
        &[(Some(0.0), None, 3)],
        1.0,
    );
    assert_eq!(capacity(&cooling, &[plus_three]), Some(5));
    assert_eq!(capacity(&cooling, &[inward(5.0)]), None);
    cooling.cooldown = Some(Cooldown {
        direction: Direction::In,
        until: Timestamp(2_000),
        from_capacity: 6,
    });
    assert_eq!(capacity(&cooling, &[inward(5.0)]), None);
    assert_eq!(capacity(&cooling, &[out(80.0)]), Some(7));
    cooling.now = Timestamp(2_000);
    assert_eq!(capacity(&cooling, &[inward(5.0)]), Some(1));
}

#[test]
fn deployments_and_suspensions_hold_back() {
    let mut deploying = situation(4);
    deploying.is_deploying = true;
    assert_eq!(capacity(&deploying, &[inward(5.0)]), None);
    assert_eq!(capacity(&deploying, &[out(100.0)]), Some(8));
    let mut suspended = situation(4);
    suspended.suspended.scale_out = true;
    assert_eq!(capacity(&suspended, &[out(100.0)]), None);
    assert_eq!(capacity(&suspended, &[inward(5.0)]), Some(1));
    suspended.suspended = SuspendedState {
        scale_in: true,
        ..SuspendedState::default()
    };
    assert_eq!(capacity(&suspended, &[inward(5.0)]), None);
}

#[test]
fn counts_set_by_hand_out_of_bounds_come_back_with_the_next_activity() {
    let bounds = |current| Situation {
        min: 4,
        max: 6,
        ..situation(current)
    };
    assert_eq!(capacity(&bounds(1), &[out(60.0)]), Some(5));
    assert_eq!(capacity(&bounds(1), &[inward(5.0)]), None);
    assert_eq!(capacity(&bounds(9), &[inward(40.0)]), Some(6));
    assert_eq!(capacity(&bounds(9), &[out(100.0)]), None);
}

#[test]
fn what_changes_nothing_says_why() {
    let why = |situation: &Situation, invocation| match decide(situation, &[invocation]) {
        Decision::NotScaled { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why(&situation(10), out(100.0)),
        NotScaled::AlreadyAtMaxCapacity(10)
    );
    assert_eq!(
        why(&situation(1), inward(1.0)),
        NotScaled::AlreadyAtMinCapacity(1)
    );
    assert_eq!(
        why(&situation(2), inward(40.0)),
        NotScaled::AlreadyAtDesiredCapacity(2)
    );
}

fn rules() -> impl Strategy<Value = Rule> {
    let value = 0.0..200.0f64;
    let target = 1.0..100.0f64;
    let kinds = prop::sample::select(vec![
        AdjustmentType::ChangeInCapacity,
        AdjustmentType::ExactCapacity,
        AdjustmentType::PercentChangeInCapacity,
    ]);
    prop_oneof![
        (1.0..10.0f64, target.clone()).prop_map(|(times, target)| Rule::TrackingOut {
            value: target * times + 0.001,
            target
        }),
        (0.0..0.9f64, target).prop_map(|(share, target)| Rule::TrackingIn {
            value: target * share,
            target
        }),
        (kinds, -300..300i32, -300..300i32, value).prop_map(|(kind, below, above, value)| {
            let steps = [(None, Some(0.0), below), (Some(0.0), None, above)];
            step(kind, &steps, value - 100.0).rule
        }),
    ]
}

prop_compose! {
    fn situations()(
        current in 0..60u32,
        min in 0..20u32,
        room in 0..30u32,
        flags in prop::array::uniform4(any::<bool>()),
        cooldown in prop::option::of((any::<bool>(), 0..4_000i64, 0..60u32)),
    ) -> Situation {
        let [is_deploying, tracking_agrees, scale_in, scale_out] = flags;
        Situation {
            current,
            min,
            max: min + room,
            suspended: SuspendedState { scale_in, scale_out, scheduled: false },
            cooldown: cooldown.map(|(out, until, from_capacity)| Cooldown {
                direction: if out { Direction::Out } else { Direction::In },
                until: Timestamp(until),
                from_capacity: from_capacity.min(current),
            }),
            is_deploying,
            tracking_agrees,
            now: Timestamp(2_000),
        }
    }
}

proptest! {
    #[test]
    fn decisions_keep_their_promises(
        situation in situations(),
        invocations in prop::collection::vec((rules(), any::<bool>()), 0..5),
    ) {
        let invocations: Vec<Invocation> = invocations
            .into_iter()
            .map(|(rule, is_new)| Invocation { rule, is_new })
            .collect();
        let asks_out = invocations.iter().any(|i| matches!(i.rule, Rule::TrackingOut { .. }));
        let agreed = situation.tracking_agrees;
        match decide(&situation, &invocations) {
            Decision::Scale { capacity, direction, by } => {
                prop_assert!((situation.min..=situation.max).contains(&capacity));
                let tracked = matches!(invocations[by].rule, Rule::TrackingIn { .. });
                prop_assert!(invocations[by].is_new || tracked);
                match direction {
                    Direction::Out => {
                        prop_assert!(capacity > situation.current && !situation.suspended.scale_out);
                    }
                    Direction::In => {
                        prop_assert!(capacity < situation.current && !asks_out);
                        prop_assert!(!situation.suspended.scale_in && !situation.is_deploying);
                        prop_assert!(situation.cooldown.is_none_or(|c| c.until <= situation.now));
                        prop_assert!(agreed || !tracked);
                    }
                }
            }
            Decision::NotScaled { .. } | Decision::Nothing => {}
        }
    }

    /// What tracking leaves is enough: the metric stays at or below the target.
    #[test]
    fn tracking_in_never_crosses_the_target(current in 1..500u32, share in 0.0..0.9f64, target in 1.0..100.0f64) {
        let situation = Situation { min: 1, max: 1_000, ..situation(current) };
        let rule = Rule::TrackingIn { value: target * share, target };
        if let Some(capacity) = capacity(&situation, &[new(rule)]) {
            let after = target * share * f64::from(current) / f64::from(capacity);
            prop_assert!(after <= target);
        }
    }
}
