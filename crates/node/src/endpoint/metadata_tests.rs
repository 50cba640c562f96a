use super::*;
use fogbank_types::ec2::{Eni, Subnet, Vpc};
use fogbank_types::{Row, Snapshot};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::Arc;

const ID: &str = "e9028f8d5d8e4f258373e7b93ce9a3c3";

fn id(kind: &str) -> String {
    format!("{kind}-{:017x}", 1)
}

fn row<T: DeserializeOwned>(mut value: Value) -> T {
    value["scope"] = json!({"account": "111122223333", "region": "us-west-2"});
    serde_json::from_value(value).unwrap()
}

fn put<T: Row>(snapshot: &mut Snapshot, value: Value) {
    T::table_mut(snapshot).insert(Arc::new(row(value)), 1);
}

/// The rows behind the example of AWS's documentation.
fn rows() -> (Snapshot, Task, TaskDefinition, TaskStatus) {
    let arn = format!("arn:aws:ecs:us-west-2:111122223333:task/default/{ID}");
    let definition_arn = "arn:aws:ecs:us-west-2:111122223333:task-definition/curltest:3";
    let image = "111122223333.dkr.ecr.us-west-2.amazonaws.com/curltest:latest";
    let definition = json!({
        "arn": definition_arn, "family": "curltest", "revision": 3, "active": true, "cpu": 256, "memory_mib": 512,
        "network_mode": "awsvpc", "requires_compatibilities": ["FARGATE"], "execution_role_arn": null, "task_role_arn": null,
        "ephemeral_storage_gib": null, "runtime_platform": null, "pid_mode": null, "volumes": [], "registered_at": 0,
        "deregistered_at": null, "registered_by": "", "tags": {},
        "containers": [{"name": "curl", "image": image, "cpu": 10, "memory_mib": 128, "essential": true, "log_configuration": {
            "driver": "awslogs", "options": {"awslogs-create-group": "true", "awslogs-group": "/ecs/containerlogs",
                "awslogs-region": "us-west-2", "awslogs-stream-prefix": "ecs"}}}],
    });
    let task = json!({
        "id": ID, "arn": arn, "cluster": "default", "task_definition_arn": definition_arn, "group": "service:MyService",
        "started_by": null, "launch_type": "FARGATE", "capacity_provider": null, "platform_version": "1.4.0", "cpu": 256,
        "memory_mib": 512, "overrides": {}, "zone": "us-west-2a", "subnet_id": id("subnet"), "eni_id": id("eni"),
        "attachment_id": "a", "host": "here", "desired": "RUNNING", "stop": null, "stop_containers": false, "stopped_at": null,
        "enable_execute_command": false, "created_at": 0, "tags": {"a": "b"},
    });
    let status = json!({
        "id": ID, "phase": "RUNNING", "stop_code": null, "stopped_reason": null, "connectivity_at": 0,
        // 2020-10-08T20:47:16.053Z and three seconds later.
        "pull_started_at": 1_602_190_036_053_i64, "pull_stopped_at": 1_602_190_039_592_i64, "started_at": 1_602_190_040_567_i64,
        "stopping_at": null, "execution_stopped_at": null,
        "containers": [{"name": "curl", "runtime_id": format!("{ID}-2495160603"), "image_digest": "sha256:25f3", "phase": "RUNNING",
            "exit_code": null, "reason": null, "started_at": 1_602_190_040_567_i64, "finished_at": null, "pid": 1}],
    });
    let mut snapshot = Snapshot::default();
    put::<Vpc>(
        &mut snapshot,
        json!({
            "vpc_id": id("vpc"), "cidr_block": "192.0.2.0/24", "cidr_associations": [], "dhcp_options_id": null,
            "instance_tenancy": "default", "is_default": false, "enable_dns_support": true, "enable_dns_hostnames": true,
            "enable_network_address_usage_metrics": false, "created_at": 0, "tags": {},
        }),
    );
    put::<Subnet>(
        &mut snapshot,
        json!({
            "subnet_id": id("subnet"), "vpc_id": id("vpc"), "cidr_block": "192.0.2.0/24", "zone": "us-west-2a", "default_for_az": false,
            "map_public_ip_on_launch": false, "enable_dns64": false, "private_dns_hostname_type": "ip-name",
            "enable_resource_name_dns_a_record": false, "enable_resource_name_dns_aaaa_record": false, "created_at": 0, "tags": {},
        }),
    );
    put::<Eni>(
        &mut snapshot,
        json!({
            "eni_id": id("eni"), "vpc_id": id("vpc"), "subnet_id": id("subnet"), "zone": "us-west-2a", "mac": "0a:de:f6:10:51:e5",
            "private_ip": "192.0.2.3", "secondary_ips": [], "auto_public_ip": null, "groups": [], "description": "",
            "source_dest_check": true, "owner": {"task": arn}, "host": "here", "attachment_id": null, "created_at": 0, "tags": {},
        }),
    );
    (snapshot, row(task), row(definition), row(status))
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_task_is_described_as_in_awss_example() {
    let (snapshot, task, definition, status) = rows();
    let known = Known {
        snapshot: &snapshot,
        task: &task,
        definition: &definition,
        status: Some(&status),
    };
    let found = known.task_document(Some(261));
    let expected = BTreeSet::from([
        "Cluster",
        "TaskARN",
        "Family",
        "ServiceName",
        "Revision",
        "DesiredStatus",
        "KnownStatus",
        "Limits",
        "PullStartedAt",
        "PullStoppedAt",
        "AvailabilityZone",
        "LaunchType",
        "Containers",
        "ClockDrift",
        "EphemeralStorageMetrics",
    ]);
    assert_eq!(names(&found), expected);
    assert_eq!(found["Limits"], json!({"CPU": 0.25, "Memory": 512}));
    assert_eq!(found["PullStartedAt"], "2020-10-08T20:47:16.053Z");
    let storage = json!({"Utilized": 261, "Reserved": 20_496});
    assert_eq!(found["EphemeralStorageMetrics"], storage);
    assert_eq!(known.task_with_tags(None)["TaskTags"], json!({"a": "b"}));
}

#[test]
fn a_container_is_described_as_in_awss_example() {
    let (snapshot, task, definition, status) = rows();
    let known = Known {
        snapshot: &snapshot,
        task: &task,
        definition: &definition,
        status: Some(&status),
    };
    let (container, found) = known.container(&format!("{ID}-2495160603")).unwrap();
    let mut document = known.container_document(container, found);
    let expected = BTreeSet::from([
        "DockerId",
        "Name",
        "DockerName",
        "Image",
        "ImageID",
        "Labels",
        "DesiredStatus",
        "KnownStatus",
        "Limits",
        "CreatedAt",
        "StartedAt",
        "Type",
        "LogDriver",
        "LogOptions",
        "ContainerARN",
        "Networks",
        "Snapshotter",
    ]);
    assert_eq!(names(&document), expected);
    assert_eq!(document["Limits"], json!({"CPU": 10, "Memory": 128}));
    let stream = format!("ecs/curl/{ID}");
    assert_eq!(document["LogOptions"]["awslogs-stream"], stream.as_str());
    let network = json!([{
        "NetworkMode": "awsvpc",
        "IPv4Addresses": ["192.0.2.3"],
        "AttachmentIndex": 0,
        "MACAddress": "0a:de:f6:10:51:e5",
        "IPv4SubnetCIDRBlock": "192.0.2.0/24",
        "DomainNameServers": ["192.0.2.2"],
        "DomainNameSearchList": ["us-west-2.compute.internal"],
        "PrivateDNSName": "ip-192-0-2-3.us-west-2.compute.internal",
        "SubnetGatewayIpv4Address": "192.0.2.1/24",
    }]);
    assert_eq!(document["Networks"], network);
    third_version(&mut document);
    let network = json!([{"NetworkMode": "awsvpc", "IPv4Addresses": ["192.0.2.3"]}]);
    assert_eq!(document["Networks"], network);
    assert!(document.get("ContainerARN").is_none());
}

#[test]
fn nobody_is_told_of_a_container_that_is_not_the_tasks() {
    let (snapshot, task, definition, status) = rows();
    let known = Known {
        snapshot: &snapshot,
        task: &task,
        definition: &definition,
        status: Some(&status),
    };
    assert!(known.container("other-1").is_none());
}
