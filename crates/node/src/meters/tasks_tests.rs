use super::*;
use fogbank_types::ecs::Cluster;

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

/// A task of a quarter vCPU and 512 MiB, from what the API would store.
pub fn task(id: &str, group: &str) -> Task {
    let row = serde_json::json!({
        "scope": scope(), "id": id, "arn": id, "cluster": "main",
        "task_definition_arn": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:3",
        "group": group, "started_by": null, "launch_type": "FARGATE", "capacity_provider": null,
        "platform_version": "1.4.0", "cpu": 256, "memory_mib": 512, "overrides": {}, "zone": "us-east-1a",
        "subnet_id": "subnet-00000000000000001", "eni_id": "eni-00000000000000001", "attachment_id": "a",
        "host": "host-1", "desired": "RUNNING", "stop": null, "stop_containers": false, "stopped_at": null,
        "enable_execute_command": false, "created_at": 0, "tags": {},
    });
    serde_json::from_value(row).unwrap()
}

fn snapshot(insights: bool) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (id, group) in [
        ("1", "service:api"),
        ("2", "service:api"),
        ("3", "family:web"),
    ] {
        snapshot.tasks.insert(Arc::new(task(id, group)), 1);
    }
    let settings = [("containerInsights".to_owned(), "enabled".to_owned())];
    let cluster = Cluster {
        scope: scope(),
        name: "main".to_owned(),
        arn: "main".to_owned(),
        status: "ACTIVE".to_owned(),
        settings: settings.into_iter().filter(|_| insights).collect(),
        capacity_providers: Vec::new(),
        service_connect_namespace: None,
        default_strategy: Vec::new(),
        created_at: Timestamp(0),
        tags: Default::default(),
    };
    snapshot.clusters.insert(Arc::new(cluster), 1);
    snapshot
}

/// A minute in which the tasks used 10 %, 50 % and all of a quarter vCPU, and 64 MiB each.
fn folded(insights: bool) -> Vec<MetricDatum> {
    let snapshot = snapshot(insights);
    let of = |at: i64, share: f64| Counters {
        at: Timestamp(at),
        cpu_ns: (60e9 / 4.0 * share) as u64,
        memory_bytes: 64 << 20,
        received_bytes: at as u64,
        ..Counters::default()
    };
    let key = |id: &str| task(id, "").key();
    let ids = [("1", 0.1), ("2", 0.5), ("3", 1.0)];
    let before = ids.iter().map(|(id, _)| (key(id), of(0, 0.0))).collect();
    let after = ids
        .iter()
        .map(|(id, share)| (key(id), of(60_000, *share)))
        .collect();
    fold(&snapshot, &before, &after)
}

fn find<'a>(data: &'a [MetricDatum], name: &str, dimension: &str) -> &'a StatisticSet {
    let is = |datum: &&MetricDatum| {
        datum.name == name
            && datum
                .dimensions
                .last()
                .is_some_and(|(name, _)| name == dimension)
    };
    &data.iter().find(is).unwrap().values
}

#[test]
fn a_service_is_the_average_of_its_tasks() {
    let data = folded(false);
    assert_eq!(data.len(), 2, "{data:?}");
    let cpu = find(&data, "CPUUtilization", "ServiceName");
    assert_eq!(
        (cpu.count, cpu.minimum.round(), cpu.maximum.round()),
        (2.0, 10.0, 50.0)
    );
    assert!((cpu.sum / cpu.count - 30.0).abs() < 1e-6);
    let memory = find(&data, "MemoryUtilization", "ServiceName");
    assert_eq!(memory.sum / memory.count, 12.5);
}

#[test]
fn insights_tell_of_the_cluster_the_service_and_the_family() {
    let data = folded(true);
    let of = |dimension| find(&data, "CpuUtilized", dimension).clone();
    let whole = of("ClusterName");
    assert_eq!(whole.count, 3.0);
    assert!((whole.sum - 256.0 * 1.6).abs() < 1e-3);
    assert_eq!(of("ServiceName").count, 2.0);
    assert_eq!(of("TaskDefinitionFamily").count, 3.0);
    assert_eq!(
        find(&data, "NetworkRxBytes", "ClusterName").maximum,
        1_000.0
    );
}

#[test]
fn every_interface_but_the_loopback_counts() {
    let text = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n  eth0: 2000 20 0 0 0 0 0 0 3000 30 0 0 0 0 0 0\n";
    assert_eq!(parse_network(text), (2_000, 3_000));
}
