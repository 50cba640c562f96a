//! What a task's containers write, share and fill.

use fogbank_node::sandbox::VolumeMount;
use fogbank_node::sandbox::storage as disk;

use super::*;

pub const TESTS: &[Test] = &[
    ("a_full_disk_is_the_tasks_own", a_full_disk_is_the_tasks_own),
    (
        "containers_share_volumes_and_images_fill_them",
        containers_share_volumes_and_images_fill_them,
    ),
    ("volumes_can_be_nested", volumes_can_be_nested),
    (
        "containers_of_a_task_can_share_their_pids",
        containers_of_a_task_can_share_their_pids,
    ),
    ("a_terminal_is_one", a_terminal_is_one),
    (
        "kernel_parameters_are_the_containers_own",
        kernel_parameters_are_the_containers_own,
    ),
    (
        "storage_costs_little_of_a_start",
        storage_costs_little_of_a_start,
    ),
];

fn with_storage(f: &Fixture, containers: Vec<TaskContainer>) -> TaskSpec {
    let mut spec = f.spec(containers, Limits::default());
    spec.storage_template = Some(disk::template(&f.folder.path().join("templates"), 1).unwrap());
    spec
}

fn own_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn volume(name: &str, target: &str) -> VolumeMount {
    VolumeMount {
        volume: name.into(),
        target: target.into(),
        read_only: false,
        seeded: false,
    }
}

fn a_full_disk_is_the_tasks_own(f: &Fixture) {
    // A gigabyte from nothing: written as holes it would not be, and as zeroes it is.
    let hog = "dd if=/dev/zero of=/big bs=1M count=2000 2>/tmp-error; grep -o 'No space left on device' /tmp-error; \
        wc -c < /big > /dev/shm/size; test $(cat /dev/shm/size) -lt 1100000000 && echo bounded; \
        dd if=/dev/zero of=/data/fill bs=1M count=100 2>&1 | grep -q 'No space left' && echo full; rm /big; echo x > /data/more && echo again; echo done; sleep 100";
    let mut hog = f.container("hog", hog);
    hog.spec.volumes = vec![volume("task-data", "/data")];
    let mut other = f.container(
        "other",
        "while [ ! -e /data/more ]; do sleep 0.05; done; echo seen; sleep 100",
    );
    other.spec.volumes = vec![volume("task-data", "/data")];
    let shim = f.start(&own_program(), &with_storage(f, vec![hog, other]));
    await_line(f, "hog", "done");
    await_line(f, "other", "seen");
    for wanted in ["No space left on device", "bounded", "full", "again"] {
        assert!(
            f.log("hog").iter().any(|line| line == wanted),
            "{:?}",
            f.log("hog")
        );
    }
    shim.connect().order(Order::Kill).unwrap();
    shim.finish();
}

fn containers_share_volumes_and_images_fill_them(f: &Fixture) {
    let site = f.folder.path().join("layer/srv/site");
    std::fs::create_dir_all(site.join("deep/er")).unwrap();
    std::fs::write(site.join("index"), "from the image\n").unwrap();
    std::fs::write(site.join("deep/er/file"), "deep\n").unwrap();
    symlink("index", site.join("link")).unwrap();
    std::os::unix::fs::chown(site.join("index"), Some(1000), Some(33)).unwrap();
    std::os::unix::fs::chown(&site, Some(1000), Some(1001)).unwrap();
    let seeded = VolumeMount {
        seeded: true,
        ..volume("task-site", "/srv/site")
    };
    let mut first = f.container(
        "first",
        "cat /srv/site/index /srv/site/link /srv/site/deep/er/file; echo x > /shared/empty; ls -ln /srv/site/index | cut -d' ' -f 1-20; \
         ls -lnd /srv/site /shared; echo changed > /srv/site/index; sleep 100",
    );
    symlink("busybox", f.folder.path().join("layer/bin/cut")).unwrap();
    first.spec.volumes = vec![seeded.clone(), volume("task-empty", "/shared")];
    let mut second = f.container(
        "second",
        "while ! grep -q changed /seen/index; do sleep 0.05; done; cat /seen/index /shared/empty; \
         touch /seen/no 2>/dev/null || echo read-only; touch /shared/yes && echo writable",
    );
    second.spec.volumes = vec![
        VolumeMount {
            read_only: true,
            ..volume("task-site", "/seen")
        },
        volume("task-empty", "/shared"),
    ];
    let state = f
        .start(&own_program(), &with_storage(f, vec![first, second]))
        .finish();
    assert_eq!(code(&state, 1), Some(0), "{state:?}");
    assert_eq!(f.log("second"), ["changed", "x", "read-only", "writable"]);
    let lines = f.log("first");
    assert_eq!(lines[..3], ["from the image", "from the image", "deep"]);
    let owner = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}:{}", words[0], words[2], words[3])
    };
    assert_eq!(owner(&lines[3]), "-rw-r--r-- 1000:33");
    let folders = [owner(&lines[4]), owner(&lines[5])];
    assert!(
        folders.contains(&"drwxr-xr-x 1000:1001".to_owned()),
        "{folders:?}"
    );
    assert!(
        folders.contains(&"drwxr-xr-x 0:0".to_owned()),
        "{folders:?}"
    );
    let unchanged = std::fs::read_to_string(site.join("index")).unwrap();
    assert_eq!(unchanged, "from the image\n");
}

fn volumes_can_be_nested(f: &Fixture) {
    let mut container = f.container(
        "main",
        "touch /a/b/inner /a/outer; ls /a /a/b; touch /root-works 2>/dev/null || echo read-only",
    );
    container.spec.read_only_root = true;
    container.spec.volumes = vec![volume("in", "/a/b"), volume("out", "/a")];
    let state = f.run(container);
    assert_eq!(
        f.log("main"),
        ["/a:", "b", "outer", "/a/b:", "inner", "read-only"],
        "{state:?}"
    );
    let mut bad = f.container("bad", "true");
    bad.spec.volumes = vec![volume("all", "/")];
    assert_eq!(f.run(bad).cause, Some(Cause::StartFailed));
}

fn containers_of_a_task_can_share_their_pids(f: &Fixture) {
    let mut first = f.container("first", "(sleep 1000 &); echo $$; exec sleep 2000");
    first.essential = false;
    let mut second = f.container(
        "second",
        "until grep -l '[2]000' /proc/[0-9]*/cmdline >/dev/null 2>&1; do sleep 0.05; done; echo seen; \
         ls /proc/1/root /proc/1/cwd /proc/1/fd /proc/1/exe 2>/dev/null | grep -v : ; for l in exe root cwd; do readlink /proc/1/$l 2>/dev/null; done; \
         for p in /proc/[0-9]*; do grep -q '[2]000' $p/cmdline 2>/dev/null && kill ${p#/proc/}; done; \
         while grep -l '[2]000' /proc/[0-9]*/cmdline >/dev/null 2>&1; do sleep 0.05; done; echo gone; sleep 100",
    );
    second.spec.capabilities.add = vec!["SYS_PTRACE".into()];
    let mut spec = f.spec(vec![first, second], Limits::default());
    spec.shared_pids = true;
    for own_ids in [true, false] {
        spec.user_namespace = own_ids;
        let _ = std::fs::remove_dir_all(f.folder.path().join("logs"));
        let shim = f.start(&own_program(), &spec);
        let (mut client, state) = shim.wait(|state| state.containers[0].exit_code.is_some());
        assert_eq!(code(&state, 0), Some(143));
        await_line(f, "second", "gone");
        // Its orphan ended with it, and the process that keeps the namespace leads nowhere.
        let processes = f.group.child("first").processes();
        assert!(processes.is_empty(), "{processes:?}");
        let lines = f.log("second");
        let shown: Vec<_> = lines
            .iter()
            .filter(|line| !["seen", "gone", "/"].contains(&line.as_str()))
            // Where root is the host's, SYS_PTRACE shows which program keeps the namespace, and nothing else of it.
            .filter(|line| own_ids || !line.ends_with("exe") && !line.ends_with("bundle/fogbank"))
            .collect();
        assert!(shown.is_empty(), "{shown:?}");
        client.order(Order::Kill).unwrap();
        shim.finish();
    }
}

fn a_terminal_is_one(f: &Fixture) {
    symlink("busybox", f.folder.path().join("layer/bin/tty")).unwrap();
    let mut container = f.container(
        "main",
        "tty; test -w /dev/pts/0 && echo writable; ls -ln /dev/pts/0; echo err >&2; exit 3",
    );
    container.spec.terminal = true;
    container.spec.user = "app".into();
    let state = f.run(container);
    assert_eq!(code(&state, 0), Some(3), "{state:?}");
    let lines = f.log("main");
    assert_eq!(lines[..2], ["/dev/pts/0", "writable"]);
    let words: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("crw--w----", "1000"));
    assert_eq!(lines[3], "err");
}

fn kernel_parameters_are_the_containers_own(f: &Fixture) {
    let before = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let mut container = f.container(
        "main",
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni",
    );
    container.spec.system_controls = vec![
        ("net.core.somaxconn".into(), "1234".into()),
        ("kernel.shmmni".into(), "321".into()),
    ];
    f.run(container.clone());
    assert_eq!(f.log("main"), ["1234", "321"]);
    let after = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    assert_eq!(before, after);
    for bad in [
        "kernel.core_pattern",
        "vm.swappiness",
        "net..core",
        "net/../kernel.panic",
    ] {
        container.spec.system_controls = vec![(bad.into(), "1".into())];
        assert_eq!(
            f.run(container.clone()).cause,
            Some(Cause::StartFailed),
            "{bad}"
        );
    }
}

/// In turns, so that what else the machine does meanwhile tells on all alike.
fn storage_costs_little_of_a_start(f: &Fixture) {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..63 {
        let kind = round % 3;
        let containers = vec![f.container("main", "sleep 100")];
        let mut spec = match kind {
            0 => f.spec(containers, Limits::default()),
            _ => with_storage(f, containers),
        };
        let mut input = Stdio::null();
        if kind == 2 {
            let template = spec.storage_template.as_deref().unwrap();
            input = Stdio::from(disk::make(template).unwrap());
            spec.storage_given = true;
        }
        let start = Instant::now();
        let shim = f.start_with(&own_program(), &spec, input);
        let (mut client, _) = shim.running();
        times[kind].push(start.elapsed());
        client.order(Order::Kill).unwrap();
        shim.finish();
    }
    let what = [
        "on the host's disk",
        "with storage of its own",
        "with a spare one",
    ];
    for (what, times) in what.iter().zip(&mut times) {
        times.sort();
        let (half, most) = (times[10].as_secs_f64() * 1e3, times[18].as_secs_f64() * 1e3);
        println!("bundle to exec, {what}: p50 {half:.1} ms, p90 {most:.1} ms");
        assert!(times[10] < Duration::from_secs(1));
    }
}
