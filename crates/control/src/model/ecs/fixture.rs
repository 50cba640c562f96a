//! A region for tests: a VPC in three zones, a load balancer, a cluster and a task definition; and a host that behaves.

use super::clusters::{self, NewCluster};
use super::services::{self, NewService, ServiceUpdate};
use super::task_definitions::{self, NewTaskDefinition};
use super::tasks::{Capacity, Placement, RunTask};
use crate::model::Tx;
use crate::model::elb::fixture::Region;
use crate::reconcile::{
    connect_registration, instance_registration, service_count, target_registration, task_lifecycle,
};
use fogbank_types::ecs::{
    ContainerDefinition, DesiredStatus, PortMapping, Service, ServiceLoadBalancer, Task,
};
use fogbank_types::status::{ContainerStatus, Health, TaskPhase, TaskStatus};
use fogbank_types::{EniId, Scope, Timestamp};

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

pub fn container(name: &str) -> ContainerDefinition {
    ContainerDefinition {
        name: name.to_owned(),
        image: "public.example/app:1".to_owned(),
        essential: true,
        port_mappings: vec![PortMapping {
            container_port: 8080,
            host_port: 8080,
            protocol: "tcp".to_owned(),
            name: None,
            app_protocol: None,
        }],
        ..ContainerDefinition::default()
    }
}

pub fn definition(family: &str) -> NewTaskDefinition {
    NewTaskDefinition {
        family: family.to_owned(),
        containers: vec![container("main")],
        cpu: Some("256".to_owned()),
        memory: Some("512".to_owned()),
        network_mode: Some("awsvpc".to_owned()),
        requires_compatibilities: vec!["FARGATE".to_owned()],
        execution_role_arn: Some("arn:aws:iam::000000000000:role/execution".to_owned()),
        ..NewTaskDefinition::default()
    }
}

/// See the module.
pub struct World {
    pub region: Region,
    pub target_group: String,
}

impl World {
    pub fn new() -> Self {
        let mut region = Region::new();
        let load_balancer = region.load_balancer("api");
        let group = region.target_group("api");
        region.listener_to(&load_balancer.arn, 80, &group.arn);
        let new = NewCluster {
            name: Some("main".to_owned()),
            ..NewCluster::default()
        };
        clusters::create(&mut region.tx, &scope(), new).unwrap();
        task_definitions::register(&mut region.tx, &scope(), definition("api")).unwrap();
        for zone in &load_balancer.zones {
            region.node_serves(&zone.eni_id);
        }
        Self {
            region,
            target_group: group.arn,
        }
    }

    pub fn tx(&mut self) -> &mut Tx {
        &mut self.region.tx
    }

    pub fn placement(&self) -> Placement {
        Placement {
            subnets: self.region.subnets[..2]
                .iter()
                .map(ToString::to_string)
                .collect(),
            groups: Vec::new(),
            assign_public_ip: false,
        }
    }

    pub fn run_task(&self) -> RunTask {
        RunTask {
            cluster: Some("main".to_owned()),
            task_definition: "api".to_owned(),
            placement: Some(self.placement()),
            capacity: fargate(),
            ..RunTask::default()
        }
    }

    pub fn new_service(&self, desired: i32, balanced: bool) -> NewService {
        NewService {
            name: "api".to_owned(),
            cluster: Some("main".to_owned()),
            task_definition: Some("api".to_owned()),
            desired_count: Some(desired),
            capacity: fargate(),
            placement: Some(self.placement()),
            load_balancers: if balanced {
                vec![self.load_balancer()]
            } else {
                Vec::new()
            },
            ..NewService::default()
        }
    }

    pub fn load_balancer(&self) -> ServiceLoadBalancer {
        ServiceLoadBalancer {
            target_group_arn: self.target_group.clone(),
            container_name: "main".to_owned(),
            container_port: 8080,
            advanced: None,
        }
    }

    pub fn service(&self) -> Service {
        Service::clone(
            self.region
                .tx
                .snapshot()
                .services
                .get(&scope(), "main/api")
                .unwrap(),
        )
    }

    pub fn create_service(&mut self, desired: i32, balanced: bool) {
        let new = self.new_service(desired, balanced);
        services::create(self.tx(), &scope(), new).unwrap();
    }

    pub fn update(&mut self, change: impl FnOnce(&mut ServiceUpdate)) {
        let mut update = ServiceUpdate {
            name: "api".to_owned(),
            cluster: Some("main".to_owned()),
            ..ServiceUpdate::default()
        };
        change(&mut update);
        services::update(self.tx(), &scope(), update).unwrap();
    }

    pub fn scale(&mut self, desired: i32) {
        self.update(|update| update.desired_count = Some(desired));
    }

    pub fn tasks(&self) -> Vec<Task> {
        self.region
            .tx
            .snapshot()
            .tasks
            .in_scope(&scope())
            .map(|task| Task::clone(task))
            .collect()
    }

    /// Tasks that nobody asked to stop.
    pub fn wanted(&self) -> Vec<Task> {
        self.tasks()
            .into_iter()
            .filter(|task| task.desired == DesiredStatus::Running)
            .collect()
    }

    pub fn report(&mut self, task: &Task, phase: TaskPhase) {
        let now = self.tx().now();
        let before = self
            .region
            .tx
            .snapshot()
            .task_statuses
            .get(&scope(), &task.id)
            .cloned();
        let started = before
            .and_then(|s| s.started_at)
            .or((phase == TaskPhase::Running).then_some(now));
        let status = TaskStatus {
            scope: scope(),
            id: task.id.clone(),
            phase,
            stop_code: (phase >= TaskPhase::Stopping)
                .then(|| "EssentialContainerExited".to_owned()),
            stopped_reason: (phase >= TaskPhase::Stopping)
                .then(|| "Essential container in task exited".to_owned()),
            connectivity_at: Some(now),
            pull_started_at: Some(now),
            pull_stopped_at: Some(now),
            started_at: started,
            stopping_at: None,
            execution_stopped_at: None,
            containers: vec![ContainerStatus {
                name: "main".to_owned(),
                runtime_id: format!("{}-0123456789", task.id),
                image_digest: None,
                phase,
                exit_code: (phase == TaskPhase::Stopped).then_some(1),
                reason: None,
                started_at: started,
                finished_at: None,
                pid: None,
                health: None,
                restart_count: 0,
            }],
        };
        self.tx().put(status);
    }

    /// The host runs what shall run and ends what shall end.
    pub fn host_acts(&mut self) {
        for task in self.tasks() {
            let known = self
                .region
                .tx
                .snapshot()
                .task_statuses
                .get(&scope(), &task.id)
                .map(|s| s.phase);
            if task.stopped_at.is_some() || known == Some(TaskPhase::Stopped) {
                continue;
            }
            if task.stop_containers || known == Some(TaskPhase::Stopping) {
                self.report(&task, TaskPhase::Stopped);
            } else if task.desired == DesiredStatus::Running && known.is_none() {
                self.report(&task, TaskPhase::Running);
            }
        }
    }

    /// Both load balancer nodes find all targets in that state.
    pub fn nodes_see(&mut self, health: Health) {
        let groups = self.region.tx.snapshot().target_groups.in_scope(&scope());
        let arns: Vec<String> = groups.map(|group| group.arn.clone()).collect();
        for arn in arns {
            self.nodes_see_group(&arn, health);
        }
    }

    /// The same for one group.
    pub fn nodes_see_group(&mut self, arn: &str, health: Health) {
        let snapshot = self.region.tx.snapshot();
        let group = snapshot.target_groups.get(&scope(), arn).unwrap().clone();
        let targets: Vec<_> = group
            .targets
            .iter()
            .map(|t| (t.ip, t.port, health))
            .collect();
        let nodes: Vec<EniId> = snapshot
            .load_balancer_nodes
            .all()
            .map(|node| node.eni_id.clone())
            .collect();
        for node in nodes {
            self.region.node_sees(&node, &group.arn, &targets);
        }
    }

    pub fn load_balancer_arn(&self) -> String {
        let mut all = self.region.tx.snapshot().load_balancers.in_scope(&scope());
        all.next().unwrap().arn.clone()
    }

    pub fn listener_arn(&self, load_balancer_arn: &str) -> String {
        let mut all = self.region.tx.snapshot().listeners.in_scope(&scope());
        let own = all.find(|listener| listener.load_balancer_arn == load_balancer_arn);
        own.unwrap().arn.clone()
    }

    /// One pass of the reconcilers; when they want to look again.
    pub fn reconcile(&mut self) -> Option<Timestamp> {
        let tx = self.tx();
        let at = [
            task_lifecycle::reconcile(tx),
            target_registration::reconcile(tx),
            instance_registration::reconcile(tx),
            connect_registration::reconcile(tx),
            crate::model::elb::targets::finish_draining(tx),
            service_count::reconcile(tx),
        ];
        at.into_iter().flatten().min()
    }

    /// Hosts, nodes and reconcilers, until all is calm.
    pub fn settle(&mut self) -> Option<Timestamp> {
        let mut wake = None;
        for _ in 0..20 {
            self.host_acts();
            wake = self.reconcile();
            self.nodes_see(Health::Healthy);
        }
        wake
    }

    pub fn told(&self, text: &str) -> bool {
        self.service()
            .events
            .iter()
            .any(|event| event.message.contains(text))
    }
}

fn fargate() -> Capacity {
    Capacity {
        launch_type: Some("FARGATE".to_owned()),
        ..Capacity::default()
    }
}
