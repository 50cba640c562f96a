//! What happens to the containers of a task: order, health, restarts, ends; and what containers try against it.

use fogbank_node::shim::{Dependency, HealthCheck, Restart};
use fogbank_types::ecs::DependencyCondition::{self, Healthy, Start, Success};
use fogbank_types::status::ContainerHealth;

use super::*;

pub const TESTS: &[Test] = &[
    (
        "containers_wait_for_what_they_need",
        containers_wait_for_what_they_need,
    ),
    (
        "a_dependency_that_fails_ends_the_start",
        a_dependency_that_fails_ends_the_start,
    ),
    (
        "ten_in_a_chain_start_and_end_in_order",
        ten_in_a_chain_start_and_end_in_order,
    ),
    (
        "a_check_sees_what_its_container_sees",
        a_check_sees_what_its_container_sees,
    ),
    (
        "a_check_that_hangs_and_forks_is_ended_whole",
        a_check_that_hangs_and_forks_is_ended_whole,
    ),
    (
        "a_container_can_not_hold_up_its_shim",
        a_container_can_not_hold_up_its_shim,
    ),
    (
        "a_flooded_log_holds_up_no_check",
        a_flooded_log_holds_up_no_check,
    ),
    ("a_check_beside_an_init_works", a_check_beside_an_init_works),
    (
        "a_container_is_started_again_where_it_was",
        a_container_is_started_again_where_it_was,
    ),
    (
        "memory_of_an_earlier_start_is_not_held_against_it",
        memory_of_an_earlier_start_is_not_held_against_it,
    ),
    (
        "kill_9_of_the_shim_takes_the_checks_along",
        kill_9_of_the_shim_takes_the_checks_along,
    ),
];

const RUNS: &str = "trap 'exit 0' TERM; while true; do sleep 0.02; done";

fn side(f: &Fixture, name: &str, script: &str) -> TaskContainer {
    TaskContainer {
        essential: false,
        ..f.container(name, script)
    }
}

fn needing(
    mut container: TaskContainer,
    name: &str,
    condition: DependencyCondition,
) -> TaskContainer {
    container.depends_on.push(Dependency {
        container: name.into(),
        condition,
    });
    container
}

fn checked(mut container: TaskContainer, script: &str) -> TaskContainer {
    container.health_check = Some(HealthCheck {
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        interval_ms: 30,
        timeout_ms: 5_000,
        retries: 1,
        start_period_ms: 0,
    });
    container
}

fn has_health(index: usize, health: ContainerHealth) -> impl Fn(&TaskState) -> bool {
    move |state| state.containers[index].health == Some(health)
}

fn containers_wait_for_what_they_need(f: &Fixture) {
    let db = checked(
        side(f, "db", &format!("sleep 0.2; touch /ready; {RUNS}")),
        "test -f /ready",
    );
    let app = needing(f.container("app", RUNS), "init", Success);
    let shim = f.shim(vec![
        needing(app, "db", Healthy),
        TaskContainer {
            // The first failures are nothing yet.
            health_check: db.health_check.clone().map(|check| HealthCheck {
                retries: 1000,
                ..check
            }),
            ..db
        },
        side(f, "init", "sleep 0.1; exit 0"),
    ]);
    let (mut client, state) = shim.running();
    let at = |index: usize| state.containers[index].started_at_ms.unwrap();
    assert!(at(0) >= at(1) + 200, "{state:?}");
    assert!(at(0) >= state.containers[2].finished_at_ms.unwrap());
    assert!(state.running_at_ms.unwrap() >= at(0));
    client.order(Order::Stop).unwrap();
    let state = shim.finish();
    assert!(state.containers[0].finished_at_ms <= state.containers[1].finished_at_ms);
}

fn a_dependency_that_fails_ends_the_start(f: &Fixture) {
    let state = f
        .shim(vec![
            needing(f.container("app", RUNS), "init", Success),
            side(f, "init", "exit 4"),
        ])
        .finish();
    assert_eq!(state.cause, Some(Cause::StartFailed));
    let error = state.error.as_deref().unwrap();
    assert!(
        error.contains("[init() (STOPPED->RUNNING) - Exit: 4] for target [app()"),
        "{error}"
    );
    assert_eq!((state.running_at_ms, code(&state, 1)), (None, Some(4)));
}

fn ten_in_a_chain_start_and_end_in_order(f: &Fixture) {
    let name = |number: usize| format!("c{number}");
    let containers = (0..10).map(|number| {
        let one = f.container(&name(number), RUNS);
        match number {
            9 => one,
            _ => needing(one, &name(number + 1), Start),
        }
    });
    let shim = f.shim(containers.collect());
    let (mut client, _) = shim.running();
    client.order(Order::Stop).unwrap();
    let state = shim.finish();
    for pair in state.containers.windows(2) {
        assert!(pair[0].started_at_ms >= pair[1].started_at_ms);
        assert!(pair[0].finished_at_ms <= pair[1].finished_at_ms);
    }
}

fn a_check_sees_what_its_container_sees(f: &Fixture) {
    let report = "(id -u; hostname; echo $GREETING; pwd; cat /mine; readlink /proc/1/exe; grep -c . /proc/1/cmdline; \
        grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; ulimit -n; readlink /proc/self/ns/net; \
        readlink /proc/self/ns/cgroup) > /tmp/report.new 2>&1; mv /tmp/report.new /tmp/report";
    let script = "while ! test -f /tmp/report; do sleep 0.02; done; cat /tmp/report; echo --; readlink /proc/self/ns/net; \
        readlink /proc/self/ns/cgroup; ulimit -n; grep CapEff /proc/self/status";
    std::fs::create_dir(f.folder.path().join("layer/tmp")).unwrap();
    std::os::unix::fs::chown(f.folder.path().join("layer/tmp"), Some(1000), Some(1001)).unwrap();
    let mut container = checked(f.container("main", script), report);
    std::fs::write(f.folder.path().join("layer/mine"), "own\n").unwrap();
    container.spec.user = "app".into();
    container.spec.cwd = "/tmp".into();
    f.run(container);
    let lines = f.log("main");
    let end = lines.iter().position(|line| line == "--").unwrap();
    let (seen, own) = (&lines[..end], &lines[end + 1..]);
    assert_eq!(
        seen[..5],
        [
            "1000",
            "ip-10-0-1-5.ec2.internal",
            "hello world",
            "/tmp",
            "own"
        ]
    );
    // Its pid namespace is the container's: the first process is the container's own.
    assert!(seen[5].ends_with("/busybox"), "{seen:?}");
    assert_eq!(seen[7], own[3]);
    assert_eq!(seen[8], "Seccomp:\t2");
    assert_eq!(seen[9], own[2]);
    assert_eq!(seen[10..], own[..2]);
}

fn a_check_that_hangs_and_forks_is_ended_whole(f: &Fixture) {
    let mut container = checked(
        f.container("main", RUNS),
        "for i in 1 2 3 4 5 6 7 8 9; do (setsid sleep 1000 &) ; sleep 1000 & done; wait",
    );
    let check = container.health_check.as_mut().unwrap();
    (check.timeout_ms, check.interval_ms) = (300, 400);
    let shim = f.shim(vec![container]);
    shim.wait(has_health(0, ContainerHealth::Unhealthy));
    let is_check = |pid: &Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_pid());
        std::fs::read_to_string(path).is_ok_and(|text| text.contains("1000"))
    };
    let deadline = Instant::now() + PATIENCE;
    while f.group.processes().iter().any(is_check) {
        assert!(Instant::now() < deadline, "children of the check are left");
        std::thread::sleep(Duration::from_millis(2));
    }
    shim.connect().order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(0));
}

/// Its shim looks into its passwd file for the check's user; opening this one takes for ever.
fn a_container_can_not_hold_up_its_shim(f: &Fixture) {
    let mut container = checked(
        f.container(
            "main",
            &format!("rm /etc/passwd; mkfifo /etc/passwd; echo done; {RUNS}"),
        ),
        "true",
    );
    let check = container.health_check.as_mut().unwrap();
    check.interval_ms = 400;
    check.timeout_ms = 300;
    let shim = f.shim(vec![container]);
    await_line(f, "main", "done");
    shim.wait(has_health(0, ContainerHealth::Unhealthy));
    let asked = Instant::now();
    shim.connect().order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

fn a_flooded_log_holds_up_no_check(f: &Fixture) {
    let flood = "while true; do echo flood flood flood flood flood flood flood flood; done";
    let shim = f.shim(vec![checked(f.container("main", flood), "true")]);
    shim.wait(has_health(0, ContainerHealth::Healthy));
    shim.connect().order(Order::Kill).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(137));
}

fn a_check_beside_an_init_works(f: &Fixture) {
    let mut container = checked(f.container("main", RUNS), "test -f /bin/busybox");
    container.spec.init = true;
    let shim = f.shim(vec![container]);
    shim.wait(has_health(0, ContainerHealth::Healthy));
    shim.connect().order(Order::Stop).unwrap();
    assert_eq!(code(&shim.finish(), 0), Some(0));
}

fn again(mut container: TaskContainer) -> TaskContainer {
    container.restart = Some(Restart {
        ignored_exit_codes: vec![9],
        attempt_period_ms: 50,
    });
    container
}

fn a_container_is_started_again_where_it_was(f: &Fixture) {
    // What it wrote is still there; the third time it ends by a code that is let be.
    let script = "echo x >> /count; sleep 0.1; n=$(wc -l < /count); echo run $n; [ $n -lt 3 ] || exit 9; exit 1";
    let shim = f.shim(vec![again(checked(f.container("main", script), "true"))]);
    let state = shim.finish();
    assert_eq!(f.log("main"), ["run 1", "run 2", "run 3"]);
    assert_eq!(
        (state.containers[0].restarts, code(&state, 0)),
        (2, Some(9))
    );
    assert_eq!(state.cause, Some(Cause::EssentialExited));
}

fn memory_of_an_earlier_start_is_not_held_against_it(f: &Fixture) {
    let script = "if [ -f /second ]; then sleep 0.1; exit 9; fi; touch /second; sleep 0.1; exec tail /dev/zero";
    let mut container = again(f.container("main", script));
    container.limits.memory_bytes = Some(32 << 20);
    let shim = f.shim(vec![container]);
    let (_, state) = shim.wait(|state| state.containers[0].restarts == 1);
    assert_eq!(state.phase, Phase::Running);
    let state = shim.finish();
    assert_eq!(
        (code(&state, 0), state.containers[0].out_of_memory),
        (Some(9), false)
    );
}

fn kill_9_of_the_shim_takes_the_checks_along(f: &Fixture) {
    let mut shim = f.shim(vec![checked(
        f.container("main", RUNS),
        "echo checking; exec sleep 1000",
    )]);
    let is_check = |pid: &Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_pid());
        std::fs::read_to_string(path).is_ok_and(|text| text.contains("1000"))
    };
    let deadline = Instant::now() + PATIENCE;
    while !f.group.processes().iter().any(is_check) {
        assert!(Instant::now() < deadline, "the check never began");
        std::thread::sleep(Duration::from_millis(2));
    }
    shim.process.kill().unwrap();
    shim.process.wait().unwrap();
    while !f.group.processes().is_empty() {
        assert!(Instant::now() < deadline, "something outlives the shim");
        std::thread::sleep(Duration::from_millis(2));
    }
    f.group.remove(PATIENCE).unwrap();
}
