"""Tasks that take all they can get: each floods its log, forks without end, fills its disk, eats its memory or burns its
processor, and all but one ignore SIGTERM. Neighbours go on answering, a new task starts, the host keeps memory, disk and pids,
and each hog ends in its stopTimeout, with AWS's codes and reasons, to the last process."""
import glob, os, shutil, threading, time
from host import Tasks, equal, http_get, wait
from scenarios.paths import Vpc

STOP_TIMEOUT = 2
# What ends with SIGKILL has that long to vanish, on two busy cores: thousands of processes die one after the other.
DYING = 15
IGNORING = "trap '' TERM; "
HOGS = {
    "flood": IGNORING + "while true; do yes 'a line of the flood, as long as such lines are when they have something to say'; done",
    "forks": IGNORING + "bomb() { bomb | bomb & }; bomb 2>/dev/null; while true; do :; done",
    "sleepers": IGNORING + "(while true; do sleep 1000 & done) 2>/dev/null; while true; do :; done",
    # Reserved and not written, so that the host does not write 20 GiB; what is written after that finds nothing free.
    "disk": IGNORING + "n=0; while fallocate -l 64m /tmp/part$n 2>/dev/null; do n=$((n + 1)); done; dd if=/dev/zero of=/tmp/rest bs=1M 2>&1 | grep -i 'no space'; "
            "dd if=/dev/zero of=/dev/shm/all bs=1M 2>/dev/null; echo full; while true; do :; done",
    # Without trap: what the shell gets is SIGKILL, by the kernel.
    "memory": "exec tail /dev/zero",
}
APPLETS = "dd fallocate grep tail yes".split()


class Neighbours:
    """Asks each neighbour again and again until the block ends: all must answer."""

    def __init__(self, addresses):
        self.addresses, self.ending, self.wrong, self.took = addresses, False, [], []

    def work(self, address):
        while not self.ending:
            began = time.monotonic()
            status, said = http_get(address, "/cgi-bin/who", port=8080, timeout=10)
            self.took.append(time.monotonic() - began)
            if status != 200:
                self.wrong.append((address, status, said, f"{self.took[-1]:.2f} s"))

    def __enter__(self):
        self.threads = [threading.Thread(target=self.work, args=[a], daemon=True) for a in self.addresses]
        [t.start() for t in self.threads]
        return self

    def __exit__(self, *_):
        self.ending = True
        [t.join(30) for t in self.threads]
        equal("neighbours that did not answer", self.wrong[:3], [])
        ordered = sorted(self.took)
        print(f"neighbours: {len(ordered)} answers, p50 {ordered[len(ordered) // 2] * 1e3:.0f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.0f}, longest {ordered[-1] * 1e3:.0f}")


def groups(host, arn):
    return glob.glob(f"/sys/fs/cgroup/**/fogbank/{host.instance}/{arn.rsplit('/', 1)[1]}", recursive=True)


def counted(host, arn, file):
    """What a file of the task's group says, on either version of control groups; 0 where there is none."""
    for folder in groups(host, arn):
        try:
            return int(open(os.path.join(folder, file)).read())
        except (OSError, ValueError):
            pass
    return 0


def host_memory():
    return next(int(line.split()[1]) << 10 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))


def host_pids():
    # "running/all threads" of the whole machine.
    return int(open("/proc/loadavg").read().split()[3].partition("/")[2])


def define(tasks, name):
    return tasks.ecs.register_task_definition(
        family=name, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        executionRoleArn="arn:aws:iam::000000000000:role/execution", containerDefinitions=[
            {"name": "main", "image": "hog:1", "essential": True, "command": ["sh", "-c", HOGS[name]], "stopTimeout": STOP_TIMEOUT,
             "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/probes", "awslogs-region": "us-east-1", "awslogs-stream-prefix": name}}}],
    )["taskDefinition"]["taskDefinitionArn"]


def stop_each(host, tasks, hogs):
    """Told to stop all at once; gives how long each took to have no process and no group."""
    told = time.monotonic()
    for name, arn in hogs.items():
        tasks.ecs.stop_task(cluster="probes", task=arn, reason=f"{name} is a hog")
    left, gone = dict(hogs), {}

    def none_left():
        for name, arn in list(left.items()):
            if not groups(host, arn) and tasks.describe(arn)["lastStatus"] == "STOPPED":
                gone[name] = time.monotonic() - told
                del left[name]
        return not left or time.sleep(0.05)
    wait(f"the hogs are gone: {left}", none_left, STOP_TIMEOUT + DYING)
    for name, arn in hogs.items():
        task = tasks.describe(arn)
        equal(f"end of {name}", (task["stopCode"], task["stoppedReason"], task["containers"][0]["exitCode"]), ("UserInitiated", f"{name} is a hog", 137))
        ran_on = (task["executionStoppedAt"] - task["stoppingAt"]).total_seconds()
        assert STOP_TIMEOUT <= ran_on + 0.1, (name, ran_on)
    print("gone after " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in gone.items()), flush=True)


def scenario(host):
    from host import busybox_layer, docker_archive
    with host.region() as region:
        vpc = Vpc(region, "10.0.0.0/16")
        tasks = Tasks(host, region, vpc.public[:1], [vpc.group], public=True)
        path = os.path.join(host.folder, "hog.tar")
        docker_archive(path, "hog:1", [busybox_layer([(f"bin/{a}", ("symlink", "busybox")) for a in APPLETS])])
        region.cli("image", "load", path)
        served = tasks.define(stopTimeout=STOP_TIMEOUT)
        addresses = [vpc.run(served, vpc.public[:1], "ENABLED")[1] for _ in range(2)]
        wait("the neighbours serve", lambda: all(http_get(a, "/cgi-bin/who", port=8080)[0] == 200 for a in addresses))
        memory, disk, pids = host_memory(), shutil.disk_usage(host.folder).free, host_pids()
        with Neighbours(addresses):
            began = time.monotonic()
            hogs = {name: tasks.start(None, define(tasks, name)) for name in HOGS}

            # Lack of memory ends a task by itself, and ECS says so.
            eater = tasks.ended(hogs.pop("memory"), 60)
            main = eater["containers"][0]
            equal("end of the one that eats memory", (eater["stopCode"], eater["stoppedReason"], main["exitCode"], main.get("reason")),
                  ("EssentialContainerExited", "Essential container in task exited", 137, "OutOfMemoryError: Container killed due to memory usage"))
            equal("what is left of it", groups(host, eater["taskArn"]), [])
            print(f"memory: ended after {time.monotonic() - began:.1f} s", flush=True)

            # The others are in the middle of it.
            said = lambda name: [e["message"] for e in tasks.logs.get_log_events(
                logGroupName="/probes", logStreamName=f"{name}/main/" + hogs[name].rsplit("/", 1)[1], startFromHead=True, limit=10)["events"]]
            wait("the disk is full", lambda: tasks.describe(hogs["disk"])["lastStatus"] == "RUNNING" and said("disk")[-1:] == ["full"], 60)
            assert "no space" in said("disk")[0].lower(), said("disk")
            for name in ("forks", "sleepers"):
                wait(f"{name} has a thousand processes", lambda: counted(host, hogs[name], "pids.current") > 1000, 60)
            wait("the flood is in the log", lambda: len(said("flood")) == 10)
            print(f"all at it after {time.monotonic() - began:.1f} s: " + ", ".join(f"{n} {counted(host, hogs[n], 'pids.current')} pids" for n in ("forks", "sleepers")), flush=True)

            # A new task starts and ends beside them.
            equal("a new task", tasks.run("echo hello"), (0, "hello"))

            # The host keeps what it had, but for what the hogs' own bounds allow.
            taken = {"memory": (memory - host_memory()) >> 20, "disk": (disk - shutil.disk_usage(host.folder).free) >> 20, "pids": host_pids() - pids}
            print(f"taken of the host: {taken['memory']} MiB, {taken['disk']} MiB of disk, {taken['pids']} pids; after {time.monotonic() - began:.1f} s", flush=True)
            for name, arn in hogs.items():
                assert counted(host, arn, "pids.current") <= 4096 + 8, name
            # Four of 512 MiB, and what others on this machine do meanwhile.
            assert taken["memory"] < 4 * 512 + 2048, taken
            assert taken["pids"] < 2 * 4096 + 2000, taken
            # What a task wrote beyond what it reserved, and the flood: 10 MiB/s of CloudWatch Logs' and a burst; others of this machine write, too.
            assert taken["disk"] < 64 + 32 + 12 * (time.monotonic() - began) + 2048, taken

            stop_each(host, tasks, hogs)

            # And a region goes down although one is at it (its end has a limit of its own).
            last = tasks.start(None, define(tasks, "forks"))
            wait("the last has a thousand processes", lambda: counted(host, last, "pids.current") > 1000, 60)
