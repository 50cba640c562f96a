//! What a task and its containers are told about themselves: pure, from the rows.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html>

use fogbank_types::ecs::{ContainerDefinition, DesiredStatus, Task, TaskDefinition};
use fogbank_types::status::{ContainerStatus, TaskPhase, TaskStatus};
use fogbank_types::{Snapshot, Timestamp};
use serde_json::{Map, Value, json};

/// What Fargate keeps for itself on top of a task's storage (its documentation's example).
const STORAGE_RESERVE_MIB: u64 = 16;

/// A task's rows.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub snapshot: &'a Snapshot,
    pub task: &'a Task,
    pub definition: &'a TaskDefinition,
    pub status: Option<&'a TaskStatus>,
}

/// `2020-10-02T00:43:06.202Z`
pub fn instant(time: Timestamp) -> String {
    let (seconds, ms) = (time.0.div_euclid(1000), time.0.rem_euclid(1000));
    let whole = instant_s(Timestamp(seconds * 1000));
    if ms == 0 {
        return whole;
    }
    format!("{}.{ms:03}Z", whole.trim_end_matches('Z'))
}

/// Without a fraction.
pub fn instant_s(time: Timestamp) -> String {
    let seconds = time.0.div_euclid(1000);
    let days = u64::try_from(seconds.div_euclid(86_400)).unwrap_or(0);
    let (year, month, day) = fogbank_edge::http::civil_date(days);
    let second = seconds.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

impl<'a> Known<'a> {
    /// The container of that Docker id.
    pub fn container(
        &self,
        docker_id: &str,
    ) -> Option<(&'a ContainerDefinition, &'a ContainerStatus)> {
        let status = self.status?;
        let found = status
            .containers
            .iter()
            .find(|c| c.runtime_id == docker_id)?;
        let definition = self.definition.containers.iter();
        Some((definition.clone().find(|c| c.name == found.name)?, found))
    }

    pub fn storage_mib(&self) -> u64 {
        let gib = self.definition.ephemeral_storage_gib(&self.task.overrides);
        u64::from(gib) * 1024
    }

    fn desired(&self) -> &'static str {
        match self.task.desired {
            DesiredStatus::Running => "RUNNING",
            DesiredStatus::Stopped => "STOPPED",
        }
    }

    fn cluster_arn(&self) -> String {
        let cluster = format!("cluster/{}", self.task.cluster);
        self.task.scope.arn("ecs", &cluster)
    }

    /// `/task`
    pub fn task_document(&self, storage_used_mib: Option<u64>) -> Value {
        let Self {
            task, definition, ..
        } = *self;
        let mut document = Map::new();
        let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
        put("Cluster", self.cluster_arn().into());
        put("TaskARN", task.arn.as_str().into());
        put("Family", definition.family.as_str().into());
        put("Revision", definition.revision.to_string().into());
        if let Some(service) = task.group.strip_prefix("service:") {
            put("ServiceName", service.into());
        }
        put("DesiredStatus", self.desired().into());
        put("KnownStatus", self.known().into());
        let limits = json!({"CPU": f64::from(task.cpu) / 1024.0, "Memory": task.memory_mib});
        put("Limits", limits);
        let status = self.status;
        for (name, time) in [
            ("PullStartedAt", status.and_then(|s| s.pull_started_at)),
            ("PullStoppedAt", status.and_then(|s| s.pull_stopped_at)),
            (
                "ExecutionStoppedAt",
                status.and_then(|s| s.execution_stopped_at),
            ),
        ] {
            if let Some(time) = time {
                put(name, instant(time).into());
            }
        }
        put("AvailabilityZone", task.zone.as_str().into());
        put("LaunchType", task.launch_type.as_str().into());
        let containers = status.map(|s| s.containers.as_slice()).unwrap_or_default();
        let containers = containers
            .iter()
            .filter_map(|found| self.container(&found.runtime_id))
            .map(|(definition, found)| self.container_document(definition, found));
        put("Containers", containers.collect());
        put("ClockDrift", clock());
        if let Some(used) = storage_used_mib {
            let storage =
                json!({"Utilized": used, "Reserved": self.storage_mib() + STORAGE_RESERVE_MIB});
            put("EphemeralStorageMetrics", storage);
        }
        if task.capacity_provider.as_deref() == Some("FARGATE_SPOT") {
            put("CapacityProvider", "FARGATE_SPOT".into());
        }
        document.into()
    }

    /// `/taskWithTags`
    pub fn task_with_tags(&self, storage_used_mib: Option<u64>) -> Value {
        let mut document = self.task_document(storage_used_mib);
        if !self.task.tags.is_empty() {
            document["TaskTags"] = json!(self.task.tags);
        }
        document
    }

    fn known(&self) -> &'static str {
        match self.status.map(|status| status.phase) {
            None | Some(TaskPhase::Pending) => "PENDING",
            Some(TaskPhase::Running) => "RUNNING",
            Some(TaskPhase::Stopping) => "RUNNING",
            Some(TaskPhase::Stopped) => "STOPPED",
        }
    }

    /// What stands at the container's own path.
    pub fn container_document(
        &self,
        container: &ContainerDefinition,
        found: &ContainerStatus,
    ) -> Value {
        let Self {
            task, definition, ..
        } = *self;
        let mut document = Map::new();
        let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
        put("DockerId", found.runtime_id.as_str().into());
        put("Name", container.name.as_str().into());
        put("DockerName", container.name.as_str().into());
        put("Image", container.image.as_str().into());
        put(
            "ImageID",
            found.image_digest.clone().unwrap_or_default().into(),
        );
        if !container.port_mappings.is_empty() {
            let ports = container.port_mappings.iter().map(|port| {
                json!({"ContainerPort": port.container_port, "Protocol": port.protocol, "HostPort": port.host_port})
            });
            put("Ports", ports.collect());
        }
        let mut labels: Map<String, Value> = container
            .docker_labels
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        for (name, value) in [
            ("cluster", self.cluster_arn()),
            ("container-name", container.name.clone()),
            ("task-arn", task.arn.clone()),
            ("task-definition-family", definition.family.clone()),
            ("task-definition-version", definition.revision.to_string()),
        ] {
            labels.insert(format!("com.amazonaws.ecs.{name}"), value.into());
        }
        put("Labels", labels.into());
        put("DesiredStatus", self.desired().into());
        put("KnownStatus", phase(found.phase).into());
        if let Some(code) = found.exit_code {
            put("ExitCode", code.into());
        }
        put("Limits", self.limits(container));
        let times = [
            ("CreatedAt", found.started_at),
            ("StartedAt", found.started_at),
            ("FinishedAt", found.finished_at),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                put(name, instant(time).into());
            }
        }
        put("Type", "NORMAL".into());
        if let Some(health) = found.health {
            put("Health", json!({"status": health}));
        }
        if found.restart_count > 0 {
            put("RestartCount", found.restart_count.into());
        }
        if let Some(log) = &container.log_configuration {
            put("LogDriver", log.driver.as_str().into());
            let mut options = json!(log.options);
            if let Some(prefix) = log.options.get("awslogs-stream-prefix") {
                let stream = format!("{prefix}/{}/{}", container.name, task.id);
                options["awslogs-stream"] = stream.into();
            }
            put("LogOptions", options);
        }
        put("ContainerARN", task.container_arn(&container.name).into());
        put("Networks", self.networks());
        put("Snapshotter", "overlayfs".into());
        document.into()
    }

    fn limits(&self, container: &ContainerDefinition) -> Value {
        let changed = self.task.overrides.containers.iter();
        let changed = changed.clone().find(|o| o.name == container.name);
        let cpu = changed.and_then(|o| o.cpu).unwrap_or(container.cpu);
        let memory = changed.and_then(|o| o.memory_mib).or(container.memory_mib);
        let mut limits = json!({"CPU": if cpu == 0 { 2 } else { cpu }});
        if let Some(memory) = memory {
            limits["Memory"] = memory.into();
        }
        limits
    }

    /// The task's interface; none once it is released.
    fn networks(&self) -> Value {
        let Self { snapshot, task, .. } = *self;
        let Some(eni) = snapshot.enis.get(&task.scope, &task.eni_id) else {
            return json!([]);
        };
        let mut network = json!({
            "NetworkMode": "awsvpc",
            "IPv4Addresses": [eni.private_ip],
            "AttachmentIndex": 0,
            "MACAddress": eni.mac.to_string(),
        });
        if !eni.ipv6_addresses.is_empty() {
            network["IPv6Addresses"] = json!(eni.ipv6_addresses);
        }
        let region = &task.scope.region;
        let domain = if region == "us-east-1" {
            "ec2.internal".to_owned()
        } else {
            format!("{region}.compute.internal")
        };
        if let Some(subnet) = snapshot.subnets.get(&task.scope, &eni.subnet_id) {
            network["IPv4SubnetCIDRBlock"] = subnet.cidr_block.to_string().into();
            if let Some(block) = subnet.ipv6_block() {
                network["IPv6SubnetCIDRBlock"] = block.to_string().into();
            }
            let gateway = format!("{}/{}", subnet.router(), subnet.cidr_block.length());
            network["SubnetGatewayIpv4Address"] = gateway.into();
        }
        if let Some(vpc) = snapshot.vpcs.get(&task.scope, &eni.vpc_id) {
            network["DomainNameServers"] = json!([vpc.resolver()]);
            network["DomainNameSearchList"] = json!([domain]);
        }
        let name = eni.private_ip.to_string().replace('.', "-");
        network["PrivateDNSName"] = format!("ip-{name}.{domain}").into();
        json!([network])
    }
}

fn phase(phase: TaskPhase) -> &'static str {
    match phase {
        TaskPhase::Pending => "PENDING",
        TaskPhase::Running | TaskPhase::Stopping => "RUNNING",
        TaskPhase::Stopped => "STOPPED",
    }
}

/// Tasks share the host's clock, which is the region's own.
fn clock() -> Value {
    json!({
        "ClockErrorBound": 0.0,
        "ReferenceTimestamp": instant_s(crate::task::now()),
        "ClockSynchronizationStatus": "SYNCHRONIZED",
    })
}

/// Of version 4's answers, what version 3 has.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v3-fargate.html>
pub fn third_version(document: &mut Value) {
    let Some(map) = document.as_object_mut() else {
        return;
    };
    for newer in [
        "AvailabilityZone",
        "CapacityProvider",
        "ClockDrift",
        "ContainerARN",
        "EphemeralStorageMetrics",
        "LaunchType",
        "LogDriver",
        "LogOptions",
        "RestartCount",
        "ServiceName",
        "Snapshotter",
    ] {
        map.remove(newer);
    }
    let networks = map.get_mut("Networks").and_then(Value::as_array_mut);
    for network in networks.into_iter().flatten() {
        if let Some(network) = network.as_object_mut() {
            network.retain(|name, _| {
                matches!(
                    name.as_str(),
                    "NetworkMode" | "IPv4Addresses" | "IPv6Addresses"
                )
            });
        }
    }
    let containers = map.get_mut("Containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        third_version(container);
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
