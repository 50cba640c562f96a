//! What proxies of Service Connect count, as CloudWatch's AWS/ECS names it. Pure; used by `tasks` once a period.
//!
//! AWS counts inward at the proxy of the task that is called, and outward at the caller's; here all is counted at the
//! caller's, and told under the names of both sides. What did not happen is left out.
//! "Service Connect metrics",
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html>

use std::collections::BTreeMap;

use fogbank_edge::http::Counts;
use fogbank_types::ecs::Task;
use fogbank_types::metric::StatisticSet;
use fogbank_types::{Snapshot, connect};

use super::fold::times_in;
use super::tasks::Fold;

type Dimensions = Vec<(String, String)>;

/// What the programs of a task asked of each discovery name, in a period.
pub fn add(fold: &mut Fold, snapshot: &Snapshot, caller: &Task, asked: &BTreeMap<String, Counts>) {
    for (discovery_name, counts) in asked {
        let own = caller.group.strip_prefix("service:").unwrap_or_default();
        let of_caller = dimensions("TargetDiscoveryName", discovery_name, &caller.cluster, own);
        add_targets(fold, caller, of_caller, counts);
        if let Some((cluster, service)) = called(snapshot, caller, discovery_name) {
            let of_called = dimensions("DiscoveryName", discovery_name, cluster, service);
            add_inward(fold, caller, of_called, counts);
        }
    }
}

/// Alone, and with a service.
fn dimensions(name: &str, value: &str, cluster: &str, service: &str) -> [Dimensions; 2] {
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let alone = vec![named(name, value)];
    let mut full = vec![
        named(name, value),
        named("ClusterName", cluster),
        named("ServiceName", service),
    ];
    full.sort();
    [alone, full]
}

/// Cluster and name of the ECS service that serves it.
fn called<'a>(
    snapshot: &'a Snapshot,
    caller: &Task,
    discovery_name: &str,
) -> Option<(&'a str, &'a str)> {
    let known = &connect::of_task(snapshot, caller)?.known;
    let endpoint = known.iter().find(|e| e.discovery_name == discovery_name)?;
    let row = snapshot
        .discovery_services
        .get(&caller.scope, &endpoint.discovery_id)?;
    // ECS made it for a service, whose ARN it keeps: `...:service/<cluster>/<name>`.
    let (_, path) = row.creator_request_id.as_ref()?.split_once(":service/")?;
    path.split_once('/')
}

fn add_targets(fold: &mut Fold, caller: &Task, all: [Dimensions; 2], counts: &Counts) {
    for (name, count) in of_groups(counts, |group| {
        [
            ("HTTPCode_Target_2XX_Count", group.target_2xx),
            ("HTTPCode_Target_3XX_Count", group.target_3xx),
            ("HTTPCode_Target_4XX_Count", group.target_4xx),
            ("HTTPCode_Target_5XX_Count", group.target_5xx),
        ]
    }) {
        add_count(fold, caller, (name, "Count"), &all, count);
    }
    let bytes = counts.node.processed_bytes;
    add_count(fold, caller, ("TargetProcessedBytes", "Bytes"), &all, bytes);
    for group in counts.groups.values() {
        let times = times_in(&group.response_times, 1e3);
        if times.count > 0.0 {
            for dimensions in &all {
                let name = ("AWS/ECS", "TargetResponseTime", dimensions.clone());
                fold.join(&caller.scope, name, "Milliseconds", &times);
            }
        }
    }
}

fn add_inward(fold: &mut Fold, caller: &Task, all: [Dimensions; 2], counts: &Counts) {
    for (name, count) in of_groups(counts, |group| {
        [
            ("RequestCount", group.requests),
            ("GrpcRequestCount", group.grpc_requests),
        ]
    }) {
        add_count(fold, caller, (name, "Count"), &all, count);
    }
    let node = &counts.node;
    let opened = node.new_target_connections;
    add_count(fold, caller, ("NewConnectionCount", "Count"), &all, opened);
    let bytes = node.processed_bytes;
    add_count(fold, caller, ("ProcessedBytes", "Bytes"), &all, bytes);
}

/// A proxy has one group for a name and port; a name may have several ports.
fn of_groups<const N: usize>(
    counts: &Counts,
    read: impl Fn(&fogbank_edge::http::GroupCounts) -> [(&'static str, u64); N],
) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in counts.groups.values().flat_map(read) {
        *sums.entry(name).or_default() += count;
    }
    sums
}

fn add_count(
    fold: &mut Fold,
    caller: &Task,
    (name, unit): (&'static str, &'static str),
    all: &[Dimensions; 2],
    count: u64,
) {
    if count == 0 {
        return;
    }
    let values = StatisticSet::of(count as f64, 1.0);
    for dimensions in all {
        let name = ("AWS/ECS", name, dimensions.clone());
        fold.join(&caller.scope, name, unit, &values);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::tests::{scope, task};
    use super::*;

    #[test]
    fn callers_tell_of_their_targets() {
        let mut counts = Counts::default();
        counts.node.processed_bytes = 1000;
        let mut group = fogbank_edge::http::GroupCounts::default();
        (group.target_2xx, group.target_5xx) = (7, 1);
        counts.groups.insert("web".to_owned(), group);
        let asked = BTreeMap::from([("web".to_owned(), counts)]);
        let mut fold = Fold::default();
        let caller = task("1", "service:front");
        add(&mut fold, &Snapshot::default(), &caller, &asked);
        let data = fold.data();
        let found = |name: &str, dimensions: usize| {
            let mut all = data.iter();
            let one = all.find(|d| d.name == name && d.dimensions.len() == dimensions)?;
            assert_eq!((&one.scope, one.namespace.as_str()), (&scope(), "AWS/ECS"));
            Some(one.values.sum)
        };
        assert_eq!(found("HTTPCode_Target_2XX_Count", 1), Some(7.0));
        assert_eq!(found("HTTPCode_Target_5XX_Count", 3), Some(1.0));
        assert_eq!(found("TargetProcessedBytes", 3), Some(1000.0));
        assert_eq!(found("HTTPCode_Target_4XX_Count", 1), None, "none came");
        assert_eq!(found("RequestCount", 1), None, "nobody serves it");
    }
}
