//! What is refused.

use super::policies::{self, NewKind};
use super::targets::{self, Registration};
use super::{Refusal, Subject, invalid};
use crate::model::ecs::fixture::{World, scope};
use fogbank_types::scaling::{AdjustmentType, StepAdjustment, StepScaling};

fn subject(namespace: &str, resource_id: &str) -> Subject {
    Subject {
        namespace: namespace.to_owned(),
        resource_id: resource_id.to_owned(),
        dimension: "ecs:service:DesiredCount".to_owned(),
    }
}

fn bounds(min: i32, max: i32) -> Registration {
    Registration {
        min_capacity: Some(min),
        max_capacity: Some(max),
        ..Registration::default()
    }
}

#[test]
fn only_services_that_exist_are_scaled() {
    let mut world = World::new();
    world.create_service(1, false);
    let mut register =
        |subject: Subject, new| targets::register(world.tx(), &scope(), &subject, new);
    assert_eq!(
        register(subject("ecs", "service/main/gone"), bounds(1, 2)).unwrap_err(),
        invalid("ECS service doesn't exist: service/main/gone")
    );
    let unsupported = invalid("Unsupported service namespace, resource type or scalable dimension");
    for (namespace, id) in [
        ("dynamodb", "table/a"),
        ("ecs", "service/main"),
        ("rds", "service/main/api"),
    ] {
        assert_eq!(
            register(subject(namespace, id), bounds(1, 2)).unwrap_err(),
            unsupported,
            "{id}"
        );
    }
    let api = || subject("ecs", "service/main/api");
    assert!(register(api(), bounds(-1, 2)).is_err());
    assert!(register(api(), Registration::default()).is_err());
    let target = register(api(), bounds(1, 2)).unwrap();
    assert!(
        target
            .arn
            .starts_with("arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/")
    );
    assert_eq!(
        target.role_arn,
        "arn:aws:iam::000000000000:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"
    );
    // What is left out stays.
    let only_max = Registration {
        max_capacity: Some(5),
        ..Registration::default()
    };
    let again = register(api(), only_max).unwrap();
    assert_eq!(
        (again.min_capacity, again.max_capacity, again.arn),
        (1, 5, target.arn)
    );
}

#[test]
fn steps_leave_no_gap_and_do_not_overlap() {
    let mut world = World::new();
    world.create_service(1, false);
    let api = subject("ecs", "service/main/api");
    targets::register(world.tx(), &scope(), &api, bounds(1, 2)).unwrap();
    let mut put = |steps: &[(Option<f64>, Option<f64>)]| -> Result<(), Refusal> {
        let steps = steps.iter().map(|(lower, upper)| StepAdjustment {
            lower: *lower,
            upper: *upper,
            adjustment: 1,
        });
        let scaling = StepScaling {
            adjustment: AdjustmentType::ChangeInCapacity,
            steps: steps.collect(),
            min_adjustment_magnitude: None,
            cooldown_s: None,
            aggregation: None,
        };
        let new = NewKind::Step {
            scaling,
            cooldown_s: None,
        };
        policies::put(world.tx(), &scope(), &api, "steps", new).map(drop)
    };
    put(&[(Some(0.0), Some(10.0)), (Some(10.0), None)]).unwrap();
    put(&[(None, None)]).unwrap();
    for steps in [
        &[][..],
        &[(Some(0.0), Some(10.0)), (Some(9.0), None)],
        &[(Some(0.0), Some(10.0)), (Some(11.0), None)],
        &[(Some(10.0), Some(0.0))],
        &[(None, None), (Some(0.0), None)],
        &[(Some(0.0), None), (Some(5.0), None)],
    ] {
        assert!(put(steps).is_err(), "{steps:?}");
    }
}
