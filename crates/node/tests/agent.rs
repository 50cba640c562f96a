//! The agent as a process, against a store over its socket, in namespaces of its own: rows in, processes and rows out.
//!
//! This program is the driver, `<exe> node --config <file>` is the agent and `<exe> shims` forks the shims. The driver
//! first leaves the machine's network and mount namespaces, so that nothing it does is seen outside but cgroups of an
//! instance named after its pid. Needs root and a static busybox.

#![expect(clippy::unwrap_used, reason = "a test program with a main of its own")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogbank_node::oci::load;
use fogbank_node::oci::manifest::Platform;
use fogbank_node::sandbox::Hierarchies;
use fogbank_store::blob::{BlobStore, Digest};
use fogbank_store::log::{Query, Reader, Start};
use fogbank_store::{Memory, Op, Store, Txn, TxnOutcome};
use fogbank_types::status::{HostStatus, TaskPhase, TaskStatus};
use fogbank_types::{RegionConfig, Row, Scope, ecr, ecs, logs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["shims", ..] => exit(fogbank_node::shim::fork_all()),
        ["node", "--config", config] => {
            let config = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
            exit(runtime().block_on(fogbank_node::run(config)))
        }
        _ => {
            isolate();
            runtime().block_on(drive());
            println!("test result: ok");
            ExitCode::SUCCESS
        }
    }
}

fn exit<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}: {:?}", error.source());
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn isolate() {
    #[expect(
        deprecated,
        reason = "the safe form; there is one thread yet and nothing is held open"
    )]
    rustix::thread::unshare(
        rustix::thread::UnshareFlags::NEWNET | rustix::thread::UnshareFlags::NEWNS,
    )
    .unwrap();
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .unwrap();
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), c"mode=755").unwrap();
    assert!(
        Command::new("/bin/busybox")
            .args(["ip", "link", "set", "lo", "up"])
            .status()
            .unwrap()
            .success()
    );
}

struct World {
    folder: tempfile::TempDir,
    config: RegionConfig,
    store: Arc<dyn Store>,
    scope: Scope,
    node: Option<Child>,
    next: u32,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let _ = node.kill();
            let _ = node.wait();
        }
        let group = Hierarchies::detect()
            .unwrap()
            .group(&format!("fogbank/{}", self.config.instance));
        let _ = group.kill(PATIENCE);
        let _ = group.remove(PATIENCE);
    }
}

fn tail(number: u32) -> String {
    format!("{number:017x}")
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, run) = (folder.path().join("data"), folder.path().join("run"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&run).unwrap();
        let config: RegionConfig = serde_json::from_value(json!({
            // No control plane is there to be asked what a role may.
            "auth": "off",
            "instance": format!("t{}", std::process::id() % 10_000_000), "host": "here", "data_dir": data, "run_dir": run,
            "endpoint": "127.0.0.1:4566", "dns": "127.0.0.1:4553", "account": "000000000000",
            "public_cidr": "198.18.0.0/16", "internet": "none", "speed": 1.0, "ephemeral": true,
        }))
        .unwrap();
        std::fs::write(
            run.join("region.json"),
            serde_json::to_vec(&config).unwrap(),
        )
        .unwrap();
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let (socket, served) = (config.store_socket(), Arc::clone(&store));
        tokio::spawn(async move { fogbank_store::remote::serve(&socket, served).await.unwrap() });
        let scope = Scope::new("000000000000", "us-east-1");
        let mut world = Self {
            folder,
            config,
            store,
            scope,
            node: None,
            next: 1,
        };
        world.image().await;
        world.network().await;
        world.start_node();
        world
    }

    fn start_node(&mut self) {
        let node = Command::new(std::env::current_exe().unwrap())
            .args(["node", "--config"])
            .arg(self.config.run_dir.join("region.json"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.node = Some(node);
    }

    async fn put(&self, rows: Vec<(String, Vec<u8>)>) -> u64 {
        let ops = rows
            .into_iter()
            .map(|(key, value)| Op::put(key, value))
            .collect();
        match self.store.txn(Txn::of(ops)).await.unwrap() {
            TxnOutcome::Committed(revision) => revision,
            TxnOutcome::Conflict { key } => panic!("{key}"),
        }
    }

    fn row<T: Row>(&self, mut value: Value) -> (String, Vec<u8>) {
        value["scope"] = serde_json::to_value(&self.scope).unwrap();
        let row: T = serde_json::from_value(value).unwrap();
        (row.key(), serde_json::to_vec(&row).unwrap())
    }

    /// busybox, loaded as `docker save` would give it.
    async fn image(&self) {
        let layers = self.folder.path().join("tree");
        std::fs::create_dir_all(layers.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", layers.join("bin/busybox")).unwrap();
        for applet in ["sh", "sleep", "echo", "ip", "hostname", "cat", "grep"] {
            std::os::unix::fs::symlink("busybox", layers.join("bin").join(applet)).unwrap();
        }
        let tar = |folder: &Path, names: &[&str]| {
            let output = Command::new("/bin/busybox")
                .args(["tar", "-c", "-C"])
                .arg(folder)
                .args(names)
                .output()
                .unwrap();
            assert!(output.status.success());
            output.stdout
        };
        let saved = self.folder.path().join("saved");
        std::fs::create_dir_all(&saved).unwrap();
        let layer = tar(&layers, &["bin"]);
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
        std::fs::write(saved.join("layer.tar"), layer).unwrap();
        std::fs::write(saved.join("config.json"), config.to_string()).unwrap();
        let manifest =
            json!([{"Config": "config.json", "RepoTags": ["busybox:1"], "Layers": ["layer.tar"]}]);
        std::fs::write(saved.join("manifest.json"), manifest.to_string()).unwrap();
        let archive = self.folder.path().join("image.tar");
        let bytes = tar(&saved, &["layer.tar", "config.json", "manifest.json"]);
        std::fs::File::create(&archive)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        let host = Platform {
            architecture: "amd64".into(),
            os: "linux".into(),
            variant: None,
        };
        let loaded = load(
            &BlobStore::open(&self.config.data_dir).unwrap(),
            &archive,
            &host,
        )
        .unwrap();
        let image = json!({"repository": "busybox", "digest": loaded[0].manifest, "media_type": "", "size": 1,
            "image_tags": ["1"], "pushed_at": 0});
        self.put(vec![self.row::<ecr::Image>(image)]).await;
    }

    async fn network(&self) {
        use fogbank_types::ec2::{
            InternetGateway, NetworkAcl, RouteTable, SecurityGroup, Subnet, Vpc,
        };
        let (vpc, subnet) = (format!("vpc-{}", tail(1)), format!("subnet-{}", tail(1)));
        let vpc_row = json!({"vpc_id": vpc, "cidr_block": "10.0.0.0/16", "cidr_associations": [{
            "association_id": format!("vpc-cidr-assoc-{}", tail(1)), "cidr_block": "10.0.0.0/16", "state": "associated"}],
            "dhcp_options_id": null, "instance_tenancy": "default", "is_default": false, "enable_dns_support": true,
            "enable_dns_hostnames": true, "enable_network_address_usage_metrics": false, "created_at": 0, "tags": {}});
        let subnet_row = json!({"subnet_id": subnet, "vpc_id": vpc, "cidr_block": "10.0.1.0/24", "zone": "us-east-1a",
            "default_for_az": false, "map_public_ip_on_launch": false, "enable_dns64": false,
            "private_dns_hostname_type": "ip-name", "enable_resource_name_dns_a_record": false,
            "enable_resource_name_dns_aaaa_record": false, "created_at": 0, "tags": {}});
        // Tasks need a way to their registry, as on AWS: a public address and an internet gateway.
        let gateway = format!("igw-{}", tail(1));
        let gateway_row = json!({"internet_gateway_id": gateway, "attached_vpc": vpc, "created_at": 0, "tags": {}});
        let out = json!([{"destination": "0.0.0.0/0", "target": {"internet_gateway": gateway}}]);
        let to_all = json!([{"rule_id": format!("sgr-{}", tail(1)), "egress": true, "traffic": "all",
            "peer": {"ipv4": "0.0.0.0/0"}, "description": null, "tags": {}}]);
        let pass = |egress| json!({"number": 100, "egress": egress, "allow": true, "traffic": "all", "cidr_block": "0.0.0.0/0"});
        let table = json!({"route_table_id": format!("rtb-{}", tail(1)), "vpc_id": vpc, "routes": out, "associations": [
            {"association_id": format!("rtbassoc-{}", tail(1)), "subnet_id": null}], "created_at": 0, "tags": {}});
        let group = json!({"group_id": format!("sg-{}", tail(1)), "vpc_id": vpc, "name": "default", "description": "d",
            "rules": to_all, "created_at": 0, "tags": {}});
        let acl = json!({"network_acl_id": format!("acl-{}", tail(1)), "vpc_id": vpc, "is_default": true, "entries": [pass(true), pass(false)],
            "associations": [], "created_at": 0, "tags": {}});
        let log_group = json!({"name": "/app", "retention_days": null, "kms_key_id": null, "class": "STANDARD",
            "created_at": 0, "tags": {}});
        self.put(vec![
            self.row::<Vpc>(vpc_row),
            self.row::<Subnet>(subnet_row),
            self.row::<InternetGateway>(gateway_row),
            self.row::<RouteTable>(table),
            self.row::<SecurityGroup>(group),
            self.row::<NetworkAcl>(acl),
            self.row::<logs::LogGroup>(log_group),
        ])
        .await;
    }

    fn task_rows(
        &mut self,
        image: &str,
        script: &str,
    ) -> (String, ecs::Task, Vec<(String, Vec<u8>)>) {
        let number = self.next;
        self.next += 1;
        let (id, family) = (format!("{number:032x}"), format!("f{number}"));
        let arn = format!("arn:aws:ecs:us-east-1:000000000000:task/main/{id}");
        let definition_arn =
            format!("arn:aws:ecs:us-east-1:000000000000:task-definition/{family}:1");
        let definition = json!({"arn": definition_arn, "family": family, "revision": 1, "active": true, "containers": [{
                "name": "main", "image": image, "essential": true, "command": ["sh", "-c", script], "stop_timeout_seconds": 2,
                "log_configuration": {"driver": "awslogs", "options": {
                    "awslogs-group": "/app", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}}],
            "cpu": 256, "memory_mib": 512, "network_mode": "awsvpc", "requires_compatibilities": ["FARGATE"],
            "execution_role_arn": null, "task_role_arn": null, "ephemeral_storage_gib": null, "runtime_platform": null,
            "pid_mode": null, "volumes": [], "registered_at": 0, "deregistered_at": null, "registered_by": "", "tags": {}});
        let eni = json!({"eni_id": format!("eni-{}", tail(0xe000 + number)), "vpc_id": format!("vpc-{}", tail(1)),
            "subnet_id": format!("subnet-{}", tail(1)), "zone": "us-east-1a", "mac": format!("02:00:00:00:00:{number:02x}"),
            "private_ip": format!("10.0.1.{}", number + 10), "secondary_ips": [], "auto_public_ip": format!("198.18.0.{}", number + 20),
            "groups": [format!("sg-{}", tail(1))], "description": "", "source_dest_check": true, "owner": {"task": arn},
            "host": "here", "attachment_id": null, "created_at": 0, "tags": {}});
        let task = json!({"id": id, "arn": arn, "cluster": "main", "task_definition_arn": definition_arn, "group": "g",
            "started_by": null, "launch_type": "FARGATE", "capacity_provider": null, "platform_version": "1.4.0", "cpu": 256,
            "memory_mib": 512, "overrides": {}, "zone": "us-east-1a", "subnet_id": format!("subnet-{}", tail(1)),
            "eni_id": format!("eni-{}", tail(0xe000 + number)), "attachment_id": "a", "host": "here", "desired": "RUNNING", "stop": null,
            "stop_containers": false, "stopped_at": null, "enable_execute_command": false, "client_token": null,
            "created_at": 0, "tags": {}});
        let rows = vec![
            self.row::<ecs::TaskDefinition>(definition),
            self.row::<fogbank_types::ec2::Eni>(eni),
            self.row::<ecs::Task>(task),
        ];
        let task = serde_json::from_slice(&rows[2].1).unwrap();
        (id, task, rows)
    }

    async fn run(&mut self, script: &str) -> ecs::Task {
        let (_, task, rows) = self.task_rows("busybox:1", script);
        self.put(rows).await;
        task
    }

    async fn stop(&self, task: &ecs::Task) {
        let task = ecs::Task {
            desired: ecs::DesiredStatus::Stopped,
            stop_containers: true,
            ..task.clone()
        };
        self.put(vec![(task.key(), serde_json::to_vec(&task).unwrap())])
            .await;
    }

    async fn status(&self, task: &ecs::Task, wanted: TaskPhase) -> TaskStatus {
        let key = format!(
            "{}/{}/{}/{}",
            TaskStatus::KIND,
            self.scope.account,
            self.scope.region,
            task.id
        );
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(entry) = self.store.get(&key).await.unwrap() {
                let status: TaskStatus = serde_json::from_slice(&entry.value).unwrap();
                if status.phase == wanted {
                    return status;
                }
                last = Some(status);
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        panic!("never {wanted:?}: {last:#?}");
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn bundle(&self, task: &ecs::Task) -> PathBuf {
        self.config.data_dir.join("tasks").join(&task.id)
    }

    fn cgroup_exists(&self, task: &ecs::Task) -> bool {
        Hierarchies::detect()
            .unwrap()
            .group(&format!("fogbank/{}/{}", self.config.instance, task.id))
            .exists()
    }

    fn kill_node(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }
}

/// Whether it runs; one that is dead and not yet reaped by whoever adopted it does not, and neither does one that the kernel
/// is taking apart: it executes nothing any more, and its control group has let go of it.
fn alive(pid: i32) -> bool {
    const PF_EXITING: u64 = 0x4;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // Behind the program's name, which may hold anything: state, five numbers, flags (proc_pid_stat(5)).
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    let fields: Vec<&str> = rest.split(' ').collect();
    let flags: u64 = fields[6].parse().expect("flags");
    fields[0] != "Z" && flags & PF_EXITING == 0
}

async fn drive() {
    let mut world = World::new().await;
    a_task_runs_to_its_end(&mut world).await;
    a_task_that_cannot_start_says_why(&mut world).await;
    tasks_survive_the_agent_and_are_adopted(&mut world).await;
    what_was_written_down_and_not_told_is_told_by_the_next_agent(&mut world).await;
    an_end_without_the_agent_is_noticed(&mut world).await;
    a_killed_shim_is_a_task_exit(&mut world).await;
    what_the_host_lost_is_reported(&mut world).await;
    vanished_rows_end_tasks_at_once(&mut world).await;
    starts_are_fast(&mut world).await;
    teardown_leaves_nothing(&mut world).await;
}

async fn a_task_runs_to_its_end(world: &mut World) {
    let task = world.run("hostname -i; ip addr show eth0 | grep -o 'inet [0-9./]*'; cat /etc/resolv.conf; exit 3").await;
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert_eq!(status.containers[0].exit_code, Some(3));
    assert_eq!(
        status.stop_code.as_deref(),
        Some("EssentialContainerExited")
    );
    let times = [
        status.connectivity_at,
        status.pull_started_at,
        status.pull_stopped_at,
        status.started_at,
        status.stopping_at,
        status.execution_stopped_at,
    ];
    assert!(times.iter().all(Option::is_some), "{status:#?}");
    assert!(times[..4].is_sorted(), "{times:?}");
    let stream = logs::LogStream {
        scope: world.scope.clone(),
        group: "/app".into(),
        name: format!("p/main/{}", task.id),
        uid: String::new(),
        created_at: fogbank_types::Timestamp(0),
    };
    let row = world
        .store
        .get(&stream.key())
        .await
        .unwrap()
        .expect("the stream was created");
    let uid = serde_json::from_slice::<logs::LogStream>(&row.value)
        .unwrap()
        .uid;
    let mut reader = Reader::open(&world.config.logs_dir().join(uid)).unwrap();
    let lines: Vec<String> = reader
        .read(&Query::from(Start::Head))
        .unwrap()
        .events
        .into_iter()
        .map(|event| String::from_utf8(event.message).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "10.0.1.11",
            "inet 10.0.1.11/24",
            "search ec2.internal",
            "nameserver 10.0.0.2"
        ]
    );
    let bundle = world.bundle(&task);
    world.until("the bundle goes", || !bundle.exists()).await;
    assert!(!world.cgroup_exists(&task));
}

async fn a_task_that_cannot_start_says_why(world: &mut World) {
    let (_, task, rows) = world.task_rows("nowhere:1", "true");
    world.put(rows).await;
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert_eq!(status.stop_code.as_deref(), Some("TaskFailedToStart"));
    assert!(
        status
            .stopped_reason
            .unwrap()
            .starts_with("CannotPullContainerError: ")
    );
    let (_, task, mut rows) = world.task_rows("busybox:1", "true");
    rows[0].1 = String::from_utf8(rows[0].1.clone())
        .unwrap()
        .replace("\"sh\"", "\"nosuch\"")
        .into_bytes();
    world.put(rows).await;
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert_eq!(
        (status.stop_code.as_deref(), status.started_at),
        (Some("TaskFailedToStart"), None)
    );
    let reason = status.stopped_reason.unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError") && reason.contains("\"nosuch\""),
        "{reason}"
    );
}

const POLITE: &str = "trap 'exit 4' TERM; while true; do sleep 0.05; done";

async fn tasks_survive_the_agent_and_are_adopted(world: &mut World) {
    let task = world.run(POLITE).await;
    let pid = world.status(&task, TaskPhase::Running).await.containers[0]
        .pid
        .unwrap();
    world.kill_node();
    assert!(alive(pid));
    world.start_node();
    world.stop(&task).await;
    let status = world.status(&task, TaskPhase::Stopped).await;
    // Only the very process that was adopted can have heard the signal.
    assert_eq!(status.containers[0].exit_code, Some(4));
    assert_eq!((status.stop_code, alive(pid)), (None, false));
}

/// An agent that is killed while the store is away takes with it what it had to say.
async fn what_was_written_down_and_not_told_is_told_by_the_next_agent(world: &mut World) {
    let task = world.run(POLITE).await;
    let mut status = world.status(&task, TaskPhase::Running).await;
    world.kill_node();
    status.phase = TaskPhase::Pending;
    let row = (status.key(), serde_json::to_vec(&status).unwrap());
    world.put(vec![row]).await;
    world.start_node();
    world.status(&task, TaskPhase::Running).await;
    world.stop(&task).await;
    world.status(&task, TaskPhase::Stopped).await;
}

async fn an_end_without_the_agent_is_noticed(world: &mut World) {
    let task = world.run(POLITE).await;
    let pid = world.status(&task, TaskPhase::Running).await.containers[0]
        .pid
        .unwrap();
    world.kill_node();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    world.until("it ends", || !alive(pid)).await;
    world.start_node();
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert_eq!(status.containers[0].exit_code, Some(137));
    assert_eq!(
        status.stop_code.as_deref(),
        Some("EssentialContainerExited")
    );
}

async fn a_killed_shim_is_a_task_exit(world: &mut World) {
    let task = world.run(POLITE).await;
    let pid = world.status(&task, TaskPhase::Running).await.containers[0]
        .pid
        .unwrap();
    let state: Value =
        serde_json::from_slice(&std::fs::read(world.bundle(&task).join("state.json")).unwrap())
            .unwrap();
    let shim = i32::try_from(state["shim_pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert_eq!(status.containers[0].exit_code, Some(137));
    assert!(status.stopped_reason.unwrap().contains("supervisor"));
    assert!(!alive(pid), "it runs");
    assert!(!world.cgroup_exists(&task), "its cgroup is left");
}

async fn what_the_host_lost_is_reported(world: &mut World) {
    let task = world.run(POLITE).await;
    world.status(&task, TaskPhase::Running).await;
    world.kill_node();
    fogbank_node::teardown(&world.config).await.unwrap();
    assert!(!world.cgroup_exists(&task) && !world.bundle(&task).exists());
    world.start_node();
    let status = world.status(&task, TaskPhase::Stopped).await;
    assert!(status.stopped_reason.unwrap().contains("restarted"));
}

async fn vanished_rows_end_tasks_at_once(world: &mut World) {
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(
            world
                .run("trap '' TERM; while true; do sleep 0.05; done")
                .await,
        );
    }
    let mut pids = Vec::new();
    for task in &tasks {
        pids.push(
            world.status(task, TaskPhase::Running).await.containers[0]
                .pid
                .unwrap(),
        );
    }
    let ops: Vec<Op> = tasks
        .iter()
        .map(|task| Op::delete(task.key()))
        .chain(
            tasks
                .iter()
                .map(|task| Op::delete(format!("eni/000000000000/us-east-1/{}", task.eni_id))),
        )
        .collect();
    let start = Instant::now();
    let TxnOutcome::Committed(revision) = world.store.txn(Txn::of(ops)).await.unwrap() else {
        panic!("conflict")
    };
    let key = HostStatus {
        host: "here".into(),
        applied: 0,
        alarms: vec![],
    }
    .key();
    loop {
        let entry = world.store.get(&key).await.unwrap();
        let applied = entry.map_or(0, |entry| {
            serde_json::from_slice::<HostStatus>(&entry.value)
                .unwrap()
                .applied
        });
        if applied >= revision {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "three tasks' rows gone to nothing left: {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    for (task, pid) in tasks.iter().zip(pids) {
        assert!(!alive(pid) && !world.cgroup_exists(task) && !world.bundle(task).exists());
    }
}

async fn starts_are_fast(world: &mut World) {
    let mut times = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        let task = world.run(POLITE).await;
        world.status(&task, TaskPhase::Running).await;
        times.push(start.elapsed());
        world.stop(&task).await;
        world.status(&task, TaskPhase::Stopped).await;
    }
    times.sort();
    println!(
        "task row to RUNNING row: p50 {:.1} ms, worst {:.1} ms",
        times[7].as_secs_f64() * 1e3,
        times[14].as_secs_f64() * 1e3
    );
}

async fn teardown_leaves_nothing(world: &mut World) {
    let task = world
        .run("trap '' TERM; while true; do sleep 0.05; done")
        .await;
    let pid = world.status(&task, TaskPhase::Running).await.containers[0]
        .pid
        .unwrap();
    let node = world.node.as_mut().unwrap();
    kill_process(
        Pid::from_raw(node.id().cast_signed()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    assert!(node.wait().unwrap().success());
    world.node = None;
    assert!(
        alive(pid),
        "the data plane stays when the agent is told to end"
    );
    fogbank_node::teardown(&world.config).await.unwrap();
    assert!(!alive(pid));
    let group = Hierarchies::detect()
        .unwrap()
        .group(&format!("fogbank/{}", world.config.instance));
    assert!(!group.exists());
    assert_eq!(std::fs::read_dir("/run/netns").unwrap().count(), 0);
    assert_eq!(
        std::fs::read_dir(world.config.data_dir.join("tasks"))
            .unwrap()
            .count(),
        0
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.folder.path().to_str().unwrap()));
}
