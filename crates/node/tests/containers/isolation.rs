//! What a container can't do to the host and to other tasks, however it tries.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

/// Where ranges of ids for tasks begin.
const FIRST_ID: u32 = 0x6000_0000;
const IDS: u32 = 65_536;

pub const TESTS: &[Test] = &[
    (
        "root_in_a_container_is_nobody_on_the_host",
        root_in_a_container_is_nobody_on_the_host,
    ),
    (
        "files_have_the_images_owners_in_every_task",
        files_have_the_images_owners_in_every_task,
    ),
    (
        "a_container_writes_to_its_own_files_and_streams",
        a_container_writes_to_its_own_files_and_streams,
    ),
    (
        "nothing_of_the_host_can_be_written_or_entered",
        nothing_of_the_host_can_be_written_or_entered,
    ),
    (
        "other_tasks_files_are_out_of_reach",
        other_tasks_files_are_out_of_reach,
    ),
    (
        "a_fork_bomb_ends_with_its_task",
        a_fork_bomb_ends_with_its_task,
    ),
    (
        "users_beyond_the_tasks_ids_are_refused",
        users_beyond_the_tasks_ids_are_refused,
    ),
    ("capabilities_can_be_dropped", capabilities_can_be_dropped),
    (
        "without_user_namespaces_exec_gives_no_privileges",
        without_user_namespaces_exec_gives_no_privileges,
    ),
];

/// The four user ids of a process as the host sees them.
fn host_ids(pid: i32, kind: &str) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
    line.split_whitespace()
        .skip(1)
        .map(|id| id.parse().unwrap())
        .collect()
}

fn root_in_a_container_is_nobody_on_the_host(f: &Fixture) {
    let mut app = f.container("app", "sleep 100");
    app.spec.user = "app".into();
    let shim = f.shim(vec![
        f.container("root", "touch /made; id -u; sleep 100"),
        app,
    ]);
    await_line(f, "root", "0");
    let (mut client, state) = shim.running();
    let pids: Vec<i32> = state.containers.iter().filter_map(|c| c.pid).collect();
    let root = host_ids(pids[0], "Uid:")[0];
    assert!(root >= FIRST_ID && (root - FIRST_ID).is_multiple_of(IDS));
    for (pid, uid, gid) in [(pids[0], root, root), (pids[1], root + 1000, root + 1001)] {
        assert_eq!(host_ids(pid, "Uid:"), [uid; 4]);
        assert_eq!(host_ids(pid, "Gid:"), [gid; 4]);
    }
    let made = std::fs::metadata(format!("/proc/{}/root/made", pids[0])).unwrap();
    assert_eq!((made.uid(), made.gid()), (root, root));
    // Its capabilities count in the task's own user namespace, and both containers share that.
    let namespace = |kind: &str, pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    let users = pids.iter().map(|pid| namespace("user", &pid.to_string()));
    let users: Vec<_> = users.map(Result::unwrap).collect();
    assert_eq!(users[0], users[1]);
    assert_ne!(users[0], namespace("user", "self").unwrap());
    client.order(Order::Kill).unwrap();
    shim.finish();
}

fn files_have_the_images_owners_in_every_task(f: &Fixture) {
    let layer = f.folder.path().join("layer");
    std::fs::write(layer.join("etc/own"), "as it was\n").unwrap();
    std::os::unix::fs::chown(layer.join("etc/own"), Some(1000), Some(33)).unwrap();
    let script = "ls -ln /etc/own /bin/busybox | while read m n u g rest; do echo $u:$g; done; ls -lnd / /tmp /proc/self/status \
        /dev /dev/shm /dev/mqueue | while read m n u g rest; do echo $u; done";
    let mut container = f.container("main", script);
    container.spec.cwd = "/tmp".into();
    f.run(container);
    let expected = ["0:0", "1000:33", "0", "0", "0", "0", "0", "0"];
    let mut lines = f.log("main");
    lines[..2].sort();
    assert_eq!(lines, expected);
    // A task changes its copy, and the layer stays what it is for all others.
    f.run(f.container(
        "change",
        "chown 0:0 /etc/own && echo more >> /etc/own && chmod 4755 /etc/own && ls -ln /etc/own",
    ));
    let line = f.log("change").join("");
    assert!(line.starts_with("-rwsr-xr-x"), "{line}");
    let own = std::fs::metadata(layer.join("etc/own")).unwrap();
    assert_eq!(
        (own.uid(), own.mode() & 0o7777, own.len()),
        (1000, 0o644, 10)
    );
}

fn a_container_writes_to_its_own_files_and_streams(f: &Fixture) {
    let hosts = f.folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    for (name, user) in [("root", ""), ("app", "app")] {
        let mut container = f.container(
            name,
            "echo opened > /dev/stdout; echo too > /dev/stderr; echo x > /dev/shm/x && echo memory; \
             test -w /etc/hosts && echo hosts; true",
        );
        container.spec.user = user.into();
        container.spec.files = vec![BoundFile {
            source: hosts.clone(),
            target: "/etc/hosts".into(),
        }];
        let state = f.run(container);
        assert_eq!(code(&state, 0), Some(0), "{state:?}");
        let lines = f.log(name);
        for wanted in ["opened", "too", "memory"] {
            assert!(lines.iter().any(|line| line == wanted), "{name}: {lines:?}");
        }
        let hosts = lines.iter().any(|line| line == "hosts");
        assert_eq!(hosts, user.is_empty(), "{name}: {lines:?}");
    }
}

/// Each line is a way out that was one somewhere, some time; what succeeds says so.
const WAYS_OUT: &str = r#"
tried() { echo "tried $1"; }
for f in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/notify_on_release \
  /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs \
  /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max \
  /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/kernel/hostname \
  /proc/sys/fs/binfmt_misc/register /proc/sys/vm/panic_on_oom /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger \
  /proc/irq/default_smp_affinity /proc/bus/pci/00 /sys/kernel/uevent_helper /sys/power/state \
  /sys/kernel/mm/transparent_hugepage/enabled /sys/class/net/lo/mtu /sys/module/kernel/parameters/panic; do
  [ -e "$f" ] || continue
  (echo 1 > "$f") 2>/dev/null && echo "WROTE $f"
  chmod 666 "$f" 2>/dev/null && echo "CHMOD $f"
done
mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x 2>/dev/null && echo CGROUP
tried files
mkdir -p /m
mount -t tmpfs x /m 2>/dev/null && echo MOUNT
mount -t cgroup -o memory x /m 2>/dev/null && echo MOUNT-CGROUP
mount -t proc x /m 2>/dev/null && echo MOUNT-PROC
mount -o remount,rw /sys 2>/dev/null && echo REMOUNT
mount -o remount,rw,bind /proc/sys 2>/dev/null && echo REMOUNT-PROC
umount /proc/kcore 2>/dev/null && echo UMOUNT
mount --bind / /m 2>/dev/null && echo BIND
tried mounts
unshare -m true 2>/dev/null && echo UNSHARE-MOUNT
unshare -U true 2>/dev/null && echo UNSHARE-USER
unshare -n true 2>/dev/null && echo UNSHARE-NET
nsenter -t 1 -m true 2>/dev/null && echo SETNS
nsenter --net=/proc/1/ns/net true 2>/dev/null && echo SETNS-NET
tried namespaces
for d in "b 8 0" "b 254 0" "c 1 1" "c 1 11" "c 10 237"; do
  mknod /node $d 2>/dev/null && { dd if=/node of=/dev/null bs=1 count=1 2>/dev/null && echo "DEVICE $d"; rm -f /node; }
done
for f in /dev/mem /dev/kmem /dev/port /dev/kmsg /dev/sda /dev/vda /dev/loop-control /dev/fuse /dev/kvm; do
  [ -e "$f" ] && echo "THERE $f"
done
mknod /dev/x c 1 1 2>/dev/null && dd if=/dev/x of=/dev/null bs=1 count=1 2>/dev/null && echo DEV
tried devices
for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do
  [ "$(head -c 1 $f 2>/dev/null | wc -c)" = 0 ] || echo "READ $f"
done
dmesg >/dev/null 2>&1 && echo DMESG
hostname other 2>/dev/null && echo HOSTNAME
date -s 2001-01-01 2>&1 | grep -q "set date" || echo CLOCK
ip link set lo up 2>/dev/null && echo LINK
ip addr add 10.99.0.1/32 dev lo 2>/dev/null && echo ADDRESS
chroot /proc/1/root/../.. ls /run/fogbank 2>/dev/null && echo CHROOT
renice -n -5 -p $$ >/dev/null 2>&1 && echo NICE
kill -0 2 2>/dev/null && [ ! -d /proc/2 ] && echo KILL
tried rest
"#;

fn nothing_of_the_host_can_be_written_or_entered(f: &Fixture) {
    let bin = f.folder.path().join("layer/bin");
    for applet in ["nsenter", "umount", "chroot", "dmesg", "renice"] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    f.run(f.container("main", WAYS_OUT));
    assert_eq!(
        f.log("main"),
        ["files", "mounts", "namespaces", "devices", "rest"].map(|what| format!("tried {what}"))
    );
    let after = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert_eq!(before, after);
}

fn other_tasks_files_are_out_of_reach(f: &Fixture) {
    // The host's own paths lead nowhere, and a link to them neither.
    let secret = f.folder.path().join("secret");
    std::fs::write(&secret, "of another task\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o666)).unwrap();
    let layer = f.folder.path().join("layer");
    symlink(&secret, layer.join("link")).unwrap();
    let layers = f.folder.path().display();
    f.run(f.container(
        "main",
        &format!(
            "cat /link {} /proc/1/root{layers}/secret 2>/dev/null; ls -d {layers} /mapped /lower 2>/dev/null; \
             grep -c -E 'overlay|ext4' /proc/self/mountinfo; grep -E ' / / ' /proc/self/mountinfo | grep -c lowerdir",
            secret.display()
        ),
    ));
    let lines = f.log("main");
    assert_eq!(lines.last().unwrap(), "1", "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    // A file that the layer's owner alone may read is not another id's.
    std::fs::write(layer.join("private"), "x").unwrap();
    std::fs::set_permissions(
        layer.join("private"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let mut app = f.container("app", "cat /private 2>/dev/null || echo refused");
    app.spec.user = "app".into();
    f.run(app);
    assert_eq!(f.log("app"), ["refused"]);
}

fn a_fork_bomb_ends_with_its_task(f: &Fixture) {
    let mut container = f.container(
        "main",
        "echo ready; (while true; do sleep 100 & done) 2>/dev/null & exec sleep 100",
    );
    container.limits.pids = Some(64);
    let shim = f.shim(vec![container]);
    await_line(f, "main", "ready");
    let (mut client, _) = shim.running();
    let deadline = Instant::now() + PATIENCE;
    while f.group.processes().len() < 30 {
        assert!(Instant::now() < deadline, "no bomb");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(f.group.processes().len() <= 64);
    // The host still starts what it likes.
    assert!(
        Command::new("/bin/busybox")
            .arg("true")
            .status()
            .unwrap()
            .success()
    );
    client.order(Order::Kill).unwrap();
    shim.finish();
    assert!(f.group.processes().is_empty());
}

fn users_beyond_the_tasks_ids_are_refused(f: &Fixture) {
    for (user, refused) in [("65535:65535", false), ("65536", true), ("1:70000", true)] {
        let mut container = f.container("main", "id -u");
        container.spec.user = user.into();
        let state = f.run(container);
        assert_eq!(
            state.cause == Some(Cause::StartFailed),
            refused,
            "{state:?}"
        );
    }
}

fn capabilities_can_be_dropped(f: &Fixture) {
    let script =
        "grep -E '^Cap(Eff|Bnd)' /proc/self/status; chroot / true 2>/dev/null || echo no-chroot";
    symlink("busybox", f.folder.path().join("layer/bin/chroot")).unwrap();
    let mut container = f.container("all", script);
    container.spec.capabilities.drop = vec!["ALL".into()];
    container.spec.capabilities.add = vec!["SYS_PTRACE".into()];
    f.run(container);
    let only = "0000000000080000";
    let expected = [
        format!("CapEff:\t{only}"),
        format!("CapBnd:\t{only}"),
        "no-chroot".into(),
    ];
    let mut lines = f.log("all");
    lines.sort_by_key(|line| !line.starts_with("CapEff"));
    assert_eq!(lines[0], expected[0]);
    assert!(
        expected.iter().all(|line| lines.contains(line)),
        "{lines:?}"
    );
    let mut container = f.container("bad", script);
    container.spec.capabilities.add = vec!["SYS_ADMIN".into()];
    assert_eq!(f.run(container).cause, Some(Cause::StartFailed));
}

fn without_user_namespaces_exec_gives_no_privileges(f: &Fixture) {
    let container = f.container(
        "main",
        "grep -E '^(Uid|NoNewPrivs|Seccomp):' /proc/self/status; sleep 100",
    );
    let shim = f.shared_ids_shim(vec![container]);
    await_line(f, "main", "Seccomp:\t2");
    let (mut client, state) = shim.running();
    assert_eq!(host_ids(state.containers[0].pid.unwrap(), "Uid:"), [0; 4]);
    assert!(f.log("main").contains(&"NoNewPrivs:\t1".to_owned()));
    client.order(Order::Kill).unwrap();
    shim.finish();
}
