//! Closing the difference between what shall be and what is. Each reconciler reads a snapshot and changes rows; it
//! takes no other input, so that a restart, a lost host or a failed zone needs no code of its own.

pub mod driver;

pub mod certificate_state;
pub mod change_sync;
pub mod composite_alarm_state;
pub mod connect_registration;
pub mod finding_cleanup;
pub mod flow_log_streams;
pub mod health_check_status;
pub mod instance_registration;
pub mod key_state;
pub mod load_balancer_state;
pub mod nat_gateway_state;
pub mod parameter_expiry;
pub mod peering_expiry;
pub mod query_log_streams;
pub mod scheduled_scaling;
pub mod service_count;
pub mod service_scaling;
pub mod target_draining;
pub mod target_registration;
pub mod task_definition_deletion;
pub mod task_lifecycle;
pub mod usage_metering;
pub mod vpc_endpoint_state;
#[cfg(test)]
mod zone_failure_tests;
pub mod zone_signatures;

use crate::model::Tx;
use fogbank_types::Timestamp;

/// A goal and the function that works towards it. It answers when to look again even if nothing changes.
pub struct Reconciler {
    pub name: &'static str,
    pub run: fn(&mut Tx) -> Option<Timestamp>,
}

/// All of them, in the order in which one pass runs them.
pub const RECONCILERS: &[Reconciler] = &[
    Reconciler {
        name: "nat_gateway_state",
        run: nat_gateway_state::reconcile,
    },
    Reconciler {
        name: "vpc_endpoint_state",
        run: vpc_endpoint_state::reconcile,
    },
    Reconciler {
        name: "parameter_expiry",
        run: parameter_expiry::reconcile,
    },
    Reconciler {
        name: "key_state",
        run: key_state::reconcile,
    },
    Reconciler {
        name: "peering_expiry",
        run: peering_expiry::reconcile,
    },
    Reconciler {
        name: "load_balancer_state",
        run: load_balancer_state::reconcile,
    },
    Reconciler {
        name: "task_lifecycle",
        run: task_lifecycle::reconcile,
    },
    Reconciler {
        name: "target_registration",
        run: target_registration::reconcile,
    },
    Reconciler {
        name: "instance_registration",
        run: instance_registration::reconcile,
    },
    Reconciler {
        name: "connect_registration",
        run: connect_registration::reconcile,
    },
    Reconciler {
        name: "target_draining",
        run: target_draining::reconcile,
    },
    Reconciler {
        name: "service_count",
        run: service_count::reconcile,
    },
    Reconciler {
        name: "task_definition_deletion",
        run: task_definition_deletion::reconcile,
    },
    Reconciler {
        name: "certificate_state",
        run: certificate_state::reconcile,
    },
    Reconciler {
        name: "change_sync",
        run: change_sync::reconcile,
    },
    Reconciler {
        name: "flow_log_streams",
        run: flow_log_streams::reconcile,
    },
    Reconciler {
        name: "zone_signatures",
        run: zone_signatures::reconcile,
    },
    Reconciler {
        name: "query_log_streams",
        run: query_log_streams::reconcile,
    },
    Reconciler {
        name: "composite_alarm_state",
        run: composite_alarm_state::reconcile,
    },
    Reconciler {
        name: "health_check_status",
        run: health_check_status::reconcile,
    },
    Reconciler {
        name: "scheduled_scaling",
        run: scheduled_scaling::reconcile,
    },
    Reconciler {
        name: "service_scaling",
        run: service_scaling::reconcile,
    },
    Reconciler {
        name: "usage_metering",
        run: usage_metering::reconcile,
    },
    Reconciler {
        name: "finding_cleanup",
        run: finding_cleanup::reconcile,
    },
];
