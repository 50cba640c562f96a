//! Real containers under a real shim: this program is the test driver and, as `<exe> shim --bundle <dir>`, the shim.
//!
//! It has its own `main` because a shim is a process of its own and single-threaded. Needs root and a static busybox. All
//! it touches has its own names: mounts live in the shims' mount namespaces, cgroups are `fogbank-test-<pid>-<test>`.

#![expect(clippy::unwrap_used, reason = "a test program with a main of its own")]

use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fogbank_node::sandbox::{BoundFile, ContainerSpec, Group, Hierarchies, Limits, Ulimit};
use fogbank_node::shim::{Cause, Client, Order, Phase, TaskContainer, TaskSpec, TaskState};
use fogbank_store::log::{Query, Reader, Start};
use rustix::process::{Pid, Signal};

#[path = "containers/isolation.rs"]
mod isolation;
#[path = "containers/life.rs"]
mod life;
#[path = "containers/storage.rs"]
mod storage;

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, flag, bundle] = arguments.as_slice()
        && command == "shim"
        && flag == "--bundle"
    {
        return match fogbank_node::shim::main(Path::new(bundle)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("shim: {error}: {:?}", std::error::Error::source(&error));
                ExitCode::FAILURE
            }
        };
    }
    let tests: &[Test] = &[
        (
            "exit_code_and_output_are_kept",
            exit_code_and_output_are_kept,
        ),
        (
            "the_inside_looks_as_on_fargate",
            the_inside_looks_as_on_fargate,
        ),
        ("root_in_a_container_is_held", root_in_a_container_is_held),
        (
            "users_are_looked_up_in_the_image",
            users_are_looked_up_in_the_image,
        ),
        ("a_stop_signal_is_heard", a_stop_signal_is_heard),
        (
            "a_deaf_container_is_killed_after_its_timeout",
            a_deaf_container_is_killed_after_its_timeout,
        ),
        (
            "the_stop_signal_can_be_chosen",
            the_stop_signal_can_be_chosen,
        ),
        ("kill_does_not_wait", kill_does_not_wait),
        (
            "an_essential_exit_stops_the_others",
            an_essential_exit_stops_the_others,
        ),
        (
            "a_non_essential_exit_stops_nobody",
            a_non_essential_exit_stops_nobody,
        ),
        (
            "containers_start_in_order_and_share_the_network",
            containers_start_in_order_and_share_the_network,
        ),
        (
            "a_missing_program_is_a_failed_start",
            a_missing_program_is_a_failed_start,
        ),
        (
            "a_failed_start_stops_those_before_it",
            a_failed_start_stops_those_before_it,
        ),
        (
            "too_much_memory_is_137_and_said_so",
            too_much_memory_is_137_and_said_so,
        ),
        (
            "too_many_processes_are_refused",
            too_many_processes_are_refused,
        ),
        ("cpu_is_limited", cpu_is_limited),
        (
            "nobody_goes_before_the_rest_of_the_host",
            nobody_goes_before_the_rest_of_the_host,
        ),
        ("kill_9_of_the_process_is_137", kill_9_of_the_process_is_137),
        (
            "kill_9_of_the_shim_leaves_nothing_running",
            kill_9_of_the_shim_leaves_nothing_running,
        ),
        (
            "a_given_network_namespace_is_joined",
            a_given_network_namespace_is_joined,
        ),
        (
            "layers_stack_and_whiteouts_hide",
            layers_stack_and_whiteouts_hide,
        ),
        (
            "a_read_only_root_is_read_only",
            a_read_only_root_is_read_only,
        ),
        ("many_layers_mount", many_layers_mount),
        (
            "an_init_passes_signals_on_and_reaps",
            an_init_passes_signals_on_and_reaps,
        ),
        (
            "standard_input_ends_unless_it_is_kept_open",
            standard_input_ends_unless_it_is_kept_open,
        ),
        (
            "a_replaced_program_still_starts_tasks",
            a_replaced_program_still_starts_tasks,
        ),
        ("start_is_fast", start_is_fast),
    ];
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen: Vec<_> = tests
        .iter()
        .chain(isolation::TESTS)
        .chain(storage::TESTS)
        .chain(life::TESTS)
        .filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted)))
        .collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, test)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let fixture = Fixture::new(name);
                    let passed = catch_unwind(AssertUnwindSafe(|| test(&fixture))).is_ok();
                    let clean =
                        catch_unwind(AssertUnwindSafe(|| fixture.assert_nothing_left())).is_ok();
                    let ok = passed && clean;
                    failed.fetch_add(usize::from(!ok), Ordering::SeqCst);
                    println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "\ntest result: {}. {} passed; {failed} failed\n",
        if failed == 0 { "ok" } else { "FAILED" },
        chosen.len() - failed
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

type Test = (&'static str, fn(&Fixture));

struct Fixture {
    folder: tempfile::TempDir,
    group: Group,
    cgroup: String,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.group.kill(PATIENCE);
        let _ = self.group.remove(PATIENCE);
    }
}

struct Shim {
    process: Child,
    bundle: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("layer/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(folder.path().join("layer/etc")).unwrap();
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in [
            "sh", "echo", "cat", "sleep", "id", "hostname", "ls", "mount", "unshare", "mknod",
            "dd", "tail", "touch", "readlink", "grep", "ip", "nc", "env", "kill", "true", "chmod",
            "head", "pwd", "date", "wc", "timeout", "mkfifo", "rm", "mv", "mkdir", "setsid",
            "test", "[",
        ] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        std::fs::write(
            folder.path().join("layer/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("layer/etc/group"),
            "root:x:0:\nweb:x:33:app\n",
        )
        .unwrap();
        symlink(
            "../run/nowhere/resolv.conf",
            folder.path().join("layer/etc/resolv.conf"),
        )
        .unwrap();
        let cgroup = format!("fogbank-test-{}-{name}", std::process::id());
        let group = Hierarchies::detect().unwrap().group(&cgroup);
        Self {
            folder,
            group,
            cgroup,
        }
    }

    fn container(&self, name: &str, script: &str) -> TaskContainer {
        let spec = ContainerSpec {
            name: name.into(),
            layers: vec![self.folder.path().join("layer")],
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".into(), "GREETING=hello world".into()],
            cwd: String::new(),
            user: String::new(),
            hostname: "ip-10-0-1-5.ec2.internal".into(),
            netns: None,
            read_only_root: false,
            files: vec![],
            init: false,
            capabilities: Default::default(),
            volumes: vec![],
            system_controls: vec![],
            terminal: false,
            ulimits: vec![Ulimit {
                name: "nofile".into(),
                soft: 65535,
                hard: 65535,
            }],
        };
        TaskContainer {
            spec,
            limits: Limits::default(),
            essential: true,
            stop_signal: String::new(),
            stop_timeout_ms: 10_000,
            open_stdin: false,
            log: Some(self.folder.path().join("logs").join(name)),
            ..TaskContainer::default()
        }
    }

    fn shim(&self, containers: Vec<TaskContainer>) -> Shim {
        self.limited_shim(containers, Limits::default())
    }

    fn limited_shim(&self, containers: Vec<TaskContainer>, limits: Limits) -> Shim {
        self.shim_of(&std::env::current_exe().unwrap(), containers, limits)
    }

    /// As on a host that can't give tasks ids of their own.
    fn shared_ids_shim(&self, containers: Vec<TaskContainer>) -> Shim {
        let mut spec = self.spec(containers, Limits::default());
        spec.user_namespace = false;
        self.start(&std::env::current_exe().unwrap(), &spec)
    }

    fn shim_of(&self, program: &Path, containers: Vec<TaskContainer>, limits: Limits) -> Shim {
        self.start(program, &self.spec(containers, limits))
    }

    fn spec(&self, containers: Vec<TaskContainer>, limits: Limits) -> TaskSpec {
        TaskSpec {
            task: self.cgroup.clone(),
            cgroup: self.cgroup.clone(),
            limits,
            user_namespace: true,
            storage_template: None,
            storage_given: false,
            shared_pids: false,
            containers,
        }
    }

    fn start(&self, program: &Path, spec: &TaskSpec) -> Shim {
        self.start_with(program, spec, Stdio::null())
    }

    fn start_with(&self, program: &Path, spec: &TaskSpec, input: Stdio) -> Shim {
        let bundle = self.folder.path().join("bundle");
        let _ = std::fs::remove_dir_all(&bundle);
        std::fs::create_dir(&bundle).unwrap();
        std::fs::write(bundle.join("task.json"), serde_json::to_vec(spec).unwrap()).unwrap();
        let process = Command::new(program)
            .args(["shim", "--bundle"])
            .arg(&bundle)
            .stdin(input)
            .spawn()
            .unwrap();
        Shim { process, bundle }
    }

    /// Runs one container to its end.
    fn run(&self, container: TaskContainer) -> TaskState {
        self.shim(vec![container]).finish()
    }

    fn log(&self, name: &str) -> Vec<String> {
        let mut reader = Reader::open(&self.folder.path().join("logs").join(name)).unwrap();
        let page = reader.read(&Query::from(Start::Head)).unwrap();
        page.events
            .into_iter()
            .map(|event| String::from_utf8_lossy(&event.message).into_owned())
            .collect()
    }

    fn assert_nothing_left(&self) {
        assert!(!self.group.exists(), "cgroup {} is left", self.cgroup);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.folder.path().to_str().unwrap()),
            "a mount is left"
        );
    }
}

impl Shim {
    fn connect(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(&self.bundle) {
                Ok(client) => return client,
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("no shim: {error}"),
            }
        }
    }

    /// Waits until a state is as wanted.
    fn wait(&self, wanted: impl Fn(&TaskState) -> bool) -> (Client, TaskState) {
        let mut client = self.connect();
        loop {
            let state = client.next(Some(PATIENCE)).unwrap();
            if wanted(&state) {
                return (client, state);
            }
        }
    }

    fn running(&self) -> (Client, TaskState) {
        self.wait(|state| state.phase == Phase::Running)
    }

    /// Waits for its end and gives what it wrote last.
    fn finish(mut self) -> TaskState {
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.process.kill().unwrap();
                panic!("the shim does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let state: TaskState =
            serde_json::from_slice(&std::fs::read(self.bundle.join("state.json")).unwrap())
                .unwrap();
        assert_eq!(state.phase, Phase::Stopped);
        state
    }
}

fn code(state: &TaskState, index: usize) -> Option<i32> {
    state.containers[index].exit_code
}

/// Waits for a line in a container's log.
fn await_line(f: &Fixture, name: &str, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !f.folder.path().join("logs").join(name).exists()
        || !f.log(name).iter().any(|have| have == line)
    {
        assert!(Instant::now() < deadline, "{line:?} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn exit_code_and_output_are_kept(f: &Fixture) {
    let state = f.run(f.container("main", "echo out; echo err >&2; echo last; exit 7"));
    assert_eq!(
        (code(&state, 0), state.cause),
        (Some(7), Some(Cause::EssentialExited))
    );
    let mut lines = f.log("main");
    lines.sort();
    assert_eq!(lines, ["err", "last", "out"]);
    let c = &state.containers[0];
    assert!(
        c.started_at_ms.unwrap() <= c.finished_at_ms.unwrap()
            && !c.out_of_memory
            && c.error.is_none()
    );
}

fn the_inside_looks_as_on_fargate(f: &Fixture) {
    std::fs::write(f.folder.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    std::fs::write(f.folder.path().join("resolv"), "nameserver 10.0.0.2\n").unwrap();
    let mut container = f.container(
        "main",
        "hostname; echo $$; echo $GREETING; echo $HOME; echo $HOSTNAME; pwd; cat /etc/hosts /etc/resolv.conf; ulimit -n; \
         ls /dev | grep -c -E '^(null|zero|full|random|urandom|tty|shm|pts|mqueue|fd|stdin|stdout|stderr|ptmx|core)$'; \
         echo x > /dev/null && head -c 3 /dev/zero | wc -c; touch /tmp-works /dev/shm/x && echo writable; \
         ls /proc | grep -c -E '^[0-9]+$'; cat /proc/self/cgroup | grep -c -v ':/$'",
    );
    container.spec.cwd = "/made/up".into();
    container.spec.files = ["hosts", "resolv"]
        .map(|name| BoundFile {
            source: f.folder.path().join(name),
            target: Path::new("/etc").join(if name == "resolv" {
                "resolv.conf"
            } else {
                name
            }),
        })
        .to_vec();
    f.run(container);
    let lines = f.log("main");
    // Where this test itself is held to less, so are its containers.
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let nofile = own.unwrap_or(65535).min(65535).to_string();
    let expected = [
        "ip-10-0-1-5.ec2.internal",
        "1",
        "hello world",
        "/root",
        "ip-10-0-1-5.ec2.internal",
        "/made/up",
        "127.0.0.1 localhost",
        "nameserver 10.0.0.2",
        &nofile,
        "15",
        "3",
        "writable",
    ];
    assert_eq!(lines[..expected.len()], expected);
    let processes: usize = lines[expected.len()].parse().unwrap();
    assert!(processes <= 4, "other processes are visible");
    assert_eq!(
        lines.last().unwrap(),
        "0",
        "the cgroup namespace shows the host's path"
    );
    assert!(
        !f.folder.path().join("layer/made").exists(),
        "the layer was written to"
    );
}

fn root_in_a_container_is_held(f: &Fixture) {
    f.run(f.container(
        "main",
        "grep -E '^(NoNewPrivs|Seccomp|CapBnd|CapEff|CapPrm|CapInh|CapAmb):' /proc/self/status; \
         mount -t tmpfs x /mnt 2>/dev/null || echo no-mount; unshare -m true 2>/dev/null || echo no-unshare; \
         mknod /sda b 8 0 && cat /sda 2>/dev/null || echo no-device; head -c 1 /proc/kcore | wc -c; \
         echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no-sysctl; touch /sys/x 2>/dev/null || echo no-sys; \
         hostname other 2>/dev/null || echo no-hostname; ls /proc/1/root/.. | grep -c fog; \
         touch /proc/self/exe 2>/dev/null; ls -d /sys/firmware/* 2>/dev/null | wc -l",
    ));
    let lines = f.log("main");
    let status = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // Docker's default list as a mask.
    const DEFAULT: &str = "00000000a80425fb";
    for (name, value) in [
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", DEFAULT),
        ("CapEff:", DEFAULT),
        ("CapBnd:", DEFAULT),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "0"),
        ("Seccomp:", "2"),
    ] {
        assert_eq!(status(name), value, "{name}");
    }
    for wanted in [
        "no-mount",
        "no-unshare",
        "no-device",
        "no-sysctl",
        "no-sys",
        "no-hostname",
    ] {
        assert!(
            lines.iter().any(|line| line == wanted),
            "{wanted} in {lines:?}"
        );
    }
    assert_eq!(
        lines.iter().filter(|line| *line == "0").count(),
        3,
        "{lines:?}"
    );
}

fn users_are_looked_up_in_the_image(f: &Fixture) {
    let id = |user: &str, name: &str| {
        let mut container = f.container(
            name,
            "echo $(id -u):$(id -g):$(id -G):$HOME; grep CapEff /proc/self/status",
        );
        container.spec.user = user.into();
        (f.run(container), name.to_owned())
    };
    for (name, user, expected) in [
        ("a", "app", "1000:1001:1001 33:/home/app"),
        ("b", "4242:4343", "4242:4343:4343:/"),
    ] {
        id(user, name);
        assert_eq!(f.log(name), [expected, "CapEff:\t0000000000000000"]);
    }
    let (state, _) = id("nobody", "c");
    let error = state.containers[0].error.as_deref().unwrap();
    assert_eq!(
        error,
        "unable to find user nobody: no matching entries in passwd file"
    );
}

const DEAF: &str = "trap '' TERM; echo ready; while true; do sleep 0.05; done";
const POLITE: &str = "trap 'echo bye; exit 3' TERM; echo ready; while true; do sleep 0.05; done";

fn a_stop_signal_is_heard(f: &Fixture) {
    let shim = f.shim(vec![f.container("main", POLITE)]);
    await_line(f, "main", "ready");
    shim.connect().order(Order::Stop).unwrap();
    let state = shim.finish();
    assert_eq!(
        (code(&state, 0), state.cause),
        (Some(3), Some(Cause::Requested))
    );
    assert_eq!(f.log("main"), ["ready", "bye"]);
}

fn a_deaf_container_is_killed_after_its_timeout(f: &Fixture) {
    let mut container = f.container("main", DEAF);
    container.stop_timeout_ms = 150;
    let shim = f.shim(vec![container]);
    await_line(f, "main", "ready");
    shim.connect().order(Order::Stop).unwrap();
    let state = shim.finish();
    assert_eq!(code(&state, 0), Some(137));
    let took = state.containers[0].finished_at_ms.unwrap() - state.stopping_at_ms.unwrap();
    assert!((150..3000).contains(&took), "{took} ms");
}

fn the_stop_signal_can_be_chosen(f: &Fixture) {
    let mut container = f.container(
        "main",
        "trap 'exit 4' QUIT; trap '' TERM; echo ready; while true; do sleep 0.05; done",
    );
    container.stop_signal = "SIGQUIT".into();
    let shim = f.shim(vec![container]);
    await_line(f, "main", "ready");
    shim.connect().order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(4));
}

fn kill_does_not_wait(f: &Fixture) {
    let shim = f.shim(vec![f.container("a", DEAF), f.container("b", POLITE)]);
    await_line(f, "a", "ready");
    let start = Instant::now();
    shim.connect().order(Order::Kill).unwrap();
    let state = shim.finish();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!((code(&state, 0), code(&state, 1)), (Some(137), Some(137)));
}

fn an_essential_exit_stops_the_others(f: &Fixture) {
    let mut side = f.container("side", DEAF);
    side.essential = false;
    side.stop_timeout_ms = 100;
    let state = f
        .shim(vec![
            side,
            f.container("other", POLITE),
            f.container("main", "sleep 0.2; exit 5"),
        ])
        .finish();
    assert_eq!(
        (code(&state, 0), code(&state, 1), code(&state, 2)),
        (Some(137), Some(3), Some(5))
    );
    assert_eq!(state.cause, Some(Cause::EssentialExited));
}

fn a_non_essential_exit_stops_nobody(f: &Fixture) {
    let mut side = f.container("side", "exit 0");
    side.essential = false;
    let shim = f.shim(vec![side, f.container("main", POLITE)]);
    let (mut client, state) = shim.wait(|state| state.containers[0].exit_code.is_some());
    assert_eq!(
        (state.phase, state.containers[1].phase),
        (Phase::Running, Phase::Running)
    );
    await_line(f, "main", "ready");
    client.order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 1), Some(3));
}

fn containers_start_in_order_and_share_the_network(f: &Fixture) {
    let netns = own_netns();
    let mut first = f.container("first", "echo ready; nc -l -p 8080; sleep 5");
    let mut second = f.container(
        "second",
        "while ! echo hi | nc 127.0.0.1 8080; do sleep 0.05; done; readlink /proc/self/ns/net; sleep 0.5",
    );
    for container in [&mut first, &mut second] {
        container.spec.netns = Some(netns.path.clone());
    }
    let state = f.shim(vec![first, second]).finish();
    assert_eq!(code(&state, 1), Some(0));
    assert!(state.containers[0].started_at_ms <= state.containers[1].started_at_ms);
    assert_eq!(f.log("second"), [netns.name.as_str()]);
    assert!(f.log("first").contains(&"hi".to_owned()));
}

fn a_missing_program_is_a_failed_start(f: &Fixture) {
    let mut container = f.container("main", "");
    for (name, error) in [
        (
            "nothere",
            "exec: \"nothere\": executable file not found in $PATH",
        ),
        ("/no/such", "exec: \"/no/such\": no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("", "no command specified"),
    ] {
        container.spec.args = vec![name.into()];
        let state = f.run(container.clone());
        assert_eq!(state.cause, Some(Cause::StartFailed));
        assert_eq!(state.containers[0].error.as_deref(), Some(error));
        assert_eq!(
            (code(&state, 0), state.containers[0].started_at_ms),
            (None, None)
        );
    }
}

fn a_failed_start_stops_those_before_it(f: &Fixture) {
    let mut broken = f.container("broken", "");
    broken.spec.netns = Some("/no/such/netns".into());
    let state = f
        .shim(vec![
            f.container("main", "sleep 100"),
            broken,
            f.container("never", "exit 0"),
        ])
        .finish();
    assert!(
        state.containers[1]
            .error
            .as_deref()
            .unwrap()
            .contains("/no/such/netns")
    );
    // sleep is pid 1 without a handler, so SIGTERM does nothing and SIGKILL ends it: as in Docker. Its shell execs it.
    assert_eq!(
        (code(&state, 0), code(&state, 2), state.cause),
        (Some(137), None, Some(Cause::StartFailed))
    );
}

fn too_much_memory_is_137_and_said_so(f: &Fixture) {
    let mut container = f.container("main", "tail /dev/zero");
    container.spec.args = ["tail", "/dev/zero"].map(str::to_owned).to_vec();
    container.limits.memory_bytes = Some(32 << 20);
    let state = f.run(container.clone());
    assert_eq!(
        (code(&state, 0), state.containers[0].out_of_memory),
        (Some(137), true)
    );
    // The task's own limit holds its containers too.
    container.limits.memory_bytes = None;
    let limits = Limits {
        memory_bytes: Some(32 << 20),
        ..Limits::default()
    };
    let state = f.limited_shim(vec![container], limits).finish();
    assert_eq!(
        (code(&state, 0), state.containers[0].out_of_memory),
        (Some(137), true)
    );
}

fn too_many_processes_are_refused(f: &Fixture) {
    let mut container = f.container(
        "main",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo survived",
    );
    container.limits.pids = Some(6);
    let state = f.run(container);
    assert_ne!(code(&state, 0), None);
    assert!(
        !f.log("main").contains(&"survived".to_owned()),
        "{:?}",
        f.log("main")
    );
}

fn cpu_is_limited(f: &Fixture) {
    // The kernel counts throttled periods: asking it is exact where measuring time on a busy machine is not.
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; \
        cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled";
    let mut container = f.container("main", script);
    container.limits.cpu_units = Some(64);
    f.run(container);
    let lines = f.log("main");
    let throttled: u64 = lines
        .last()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(throttled > 0, "{lines:?}");
}

fn nobody_goes_before_the_rest_of_the_host(f: &Fixture) {
    let mut container = f.container(
        "main",
        "grep -E '^Max (nice|realtime) priority' /proc/self/limits | tr -s ' '",
    );
    for name in ["rtprio", "nice"] {
        container.spec.ulimits.push(Ulimit {
            name: name.to_owned(),
            soft: 40,
            hard: 40,
        });
    }
    f.run(container);
    assert_eq!(
        f.log("main"),
        ["Max nice priority 0 0 ", "Max realtime priority 0 0 "]
    );
}

fn kill_9_of_the_process_is_137(f: &Fixture) {
    let shim = f.shim(vec![f.container("main", POLITE)]);
    let (_client, state) = shim.running();
    let pid = Pid::from_raw(state.containers[0].pid.unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let state = shim.finish();
    assert_eq!(
        (code(&state, 0), state.containers[0].out_of_memory),
        (Some(137), false)
    );
}

fn kill_9_of_the_shim_leaves_nothing_running(f: &Fixture) {
    let mut shim = f.shim(vec![
        f.container("main", DEAF),
        f.container("other", "sleep 100 & sleep 100"),
    ]);
    let (mut client, _) = shim.running();
    shim.process.kill().unwrap();
    shim.process.wait().unwrap();
    while client.next(Some(PATIENCE)).is_ok() {}
    f.group.kill(PATIENCE).unwrap();
    f.group.remove(PATIENCE).unwrap();
    assert!(Client::connect(&shim.bundle).is_err());
}

/// A network namespace held by a thread.
struct Netns {
    path: PathBuf,
    name: String,
    _hold: std::sync::mpsc::Sender<()>,
}

fn own_netns() -> Netns {
    let (tell, told) = std::sync::mpsc::channel();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let path = PathBuf::from(format!(
            "/proc/{}/task/{}/ns/net",
            std::process::id(),
            rustix::thread::gettid().as_raw_pid()
        ));
        // `ip` in a child sets the loopback up in the namespace that the child inherits from this thread.
        #[expect(
            deprecated,
            reason = "the safe form; a network namespace concerns this thread alone"
        )]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
        assert!(
            Command::new("/bin/busybox")
                .args(["ip", "link", "set", "lo", "up"])
                .status()
                .unwrap()
                .success()
        );
        let name = std::fs::read_link("/proc/thread-self/ns/net")
            .unwrap()
            .to_string_lossy()
            .into_owned();
        tell.send((path, name)).unwrap();
        let _ = held.recv();
    });
    let (path, name) = told.recv().unwrap();
    Netns {
        path,
        name,
        _hold: hold,
    }
}

fn a_given_network_namespace_is_joined(f: &Fixture) {
    let netns = own_netns();
    let mut container = f.container("main", "readlink /proc/self/ns/net; ls /sys/class/net");
    container.spec.netns = Some(netns.path.clone());
    f.run(container);
    assert_eq!(f.log("main"), [netns.name.as_str(), "lo"]);
}

fn layers_stack_and_whiteouts_hide(f: &Fixture) {
    let upper = f.folder.path().join("second");
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    std::fs::write(upper.join("etc/passwd"), "from the second layer\n").unwrap();
    let device = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        upper.join("etc/group"),
        device,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    let mut container = f.container(
        "main",
        "cat /etc/passwd; ls /etc/group 2>/dev/null || echo hidden",
    );
    container.spec.layers.push(upper);
    f.run(container);
    assert_eq!(f.log("main"), ["from the second layer", "hidden"]);
}

fn a_read_only_root_is_read_only(f: &Fixture) {
    let mut container = f.container("main", "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo shm; touch /run/x 2>/dev/null || echo too");
    container.spec.read_only_root = true;
    f.run(container);
    assert_eq!(f.log("main"), ["refused", "shm", "too"]);
}

fn many_layers_mount(f: &Fixture) {
    let mut container = f.container("main", "ls / | grep -c layer-");
    for number in 0..100 {
        let layer = f.folder.path().join(format!(
            "a-rather-long-name-for-a-layer-of-an-image-as-digests-are-{number}"
        ));
        std::fs::create_dir_all(layer.join(format!("layer-{number}"))).unwrap();
        container.spec.layers.push(layer);
    }
    let state = f.run(container);
    assert_eq!(f.log("main"), ["100"], "{state:?}");
}

fn an_init_passes_signals_on_and_reaps(f: &Fixture) {
    let with_init = |script: &str| {
        let mut container = f.container("main", script);
        container.spec.init = true;
        container
    };
    assert_eq!(code(&f.run(with_init("exit 9")), 0), Some(9));
    // An orphan that ended is not left as a zombie, and nobody looks into the init.
    f.run(with_init(
        "echo pid $$; (sh -c 'exit 0' &) ; sleep 0.3; ls /proc/1/fd 2>/dev/null | wc -l; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
    ));
    let lines = f.log("main");
    assert!(
        lines[0].starts_with("pid ") && lines[0] != "pid 1",
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["0", "0"]);
    // sleep has no handler: as pid 1 it would not hear SIGTERM.
    let mut container = with_init("");
    container.spec.args = ["sleep", "100"].map(str::to_owned).to_vec();
    let shim = f.shim(vec![container.clone()]);
    let (mut client, state) = shim.running();
    // Nothing but its three streams stays open in the init.
    let open = format!("/proc/{}/fd", state.containers[0].pid.unwrap());
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_dir(&open).unwrap().count() != 3 {
        assert!(
            Instant::now() < deadline,
            "the init holds more than it needs"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    client.order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(143));
    container.spec.args = vec!["nothere".into()];
    let state = f.run(container);
    assert_eq!(state.cause, Some(Cause::StartFailed));
}

fn standard_input_ends_unless_it_is_kept_open(f: &Fixture) {
    for (name, open, expected) in [("closed", false, "code 0"), ("open", true, "code 143")] {
        let mut container = f.container(name, "timeout 0.2 cat; echo code $?");
        container.open_stdin = open;
        f.run(container);
        assert!(
            f.log(name).iter().any(|line| line == expected),
            "{:?}",
            f.log(name)
        );
    }
}

/// In turns, so that what else the machine does meanwhile tells on both alike.
fn start_is_fast(f: &Fixture) {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..42 {
        let own_ids = round % 2;
        let start = Instant::now();
        let containers = vec![f.container("main", "sleep 100")];
        let shim = match own_ids {
            1 => f.shim(containers),
            _ => f.shared_ids_shim(containers),
        };
        let (mut client, _) = shim.running();
        times[own_ids].push(start.elapsed());
        let start = Instant::now();
        client.order(Order::Kill).unwrap();
        shim.finish();
        times[2 + own_ids].push(start.elapsed());
    }
    let what = [
        "bundle to exec, the host's ids",
        "bundle to exec",
        "kill to nothing left, the host's ids",
        "kill to nothing left",
    ];
    for (what, times) in what.iter().zip(&mut times) {
        times.sort();
        let (half, most) = (times[10].as_secs_f64() * 1e3, times[18].as_secs_f64() * 1e3);
        println!("{what}: p50 {half:.1} ms, p90 {most:.1} ms");
        assert!(times[10] < Duration::from_secs(1));
    }
}

/// The file behind the running program is gone: somebody has installed another version.
fn a_replaced_program_still_starts_tasks(f: &Fixture) {
    use std::os::fd::AsRawFd as _;
    let copy = f.folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let open = std::fs::File::open(&copy).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let gone = PathBuf::from(format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        open.as_raw_fd()
    ));
    let container = f.container("main", "echo started");
    let state = f
        .shim_of(&gone, vec![container], Limits::default())
        .finish();
    assert_eq!(code(&state, 0), Some(0), "{state:?}");
    assert_eq!(f.log("main"), ["started"]);
}
