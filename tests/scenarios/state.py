"""State survives a restart; folders are held by one region; an upgrade leaves the data plane running; what a crashed
region left is cleaned."""
import os, signal, subprocess
from host import Load, Region, equal, sh, wait


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--speed", "10", data=data) as region:
        shop = host.shop(region)
        before = region.status()["resources"]

        # A second region on the same folder, or under the same name, is refused and harms nothing.
        for folder, name in ((data, "other"), (os.path.join(host.folder, "elsewhere"), host.instance)):
            second = subprocess.run([host.fogbank, "up", "--data", folder, "--instance", name, "--endpoint", "127.0.0.1:4999"],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
            equal("exit code of a second region", second.returncode, 1)
            assert "running" in second.stderr, second.stderr

        # Down and up again: rows are kept, and the service comes back by its usual path.
        equal("exit code", region.stop(), 0)
        assert "fog-" not in sh("ip", "netns", "list"), "namespaces are gone while the region is down"
        region.start()
        wait("the service serves again", lambda: shop.wait(2, 30) and len(region.resolve("api.shop.test")[1]) == 2, 40)
        shop.addresses = region.resolve("api.shop.test")[1]
        after = region.status()["resources"]
        for kind in ("vpc", "subnet", "route-table", "security-group", "load-balancer", "service", "record-set"):
            equal(f"rows of kind {kind}", after[kind], before[kind])

        # An upgrade in place: the region leaves, requests go on, the next one adopts.
        equal("exit code", region.stop(), 0)
        region.command.append("--keep-tasks")
        region.start()
        shop.wait(2, 30)
        shop.addresses = wait("both zones serve", lambda: (a := region.resolve("api.shop.test")[1]) and len(a) == 2 and a)
        pids = host.pids("orders-api")
        with Load(shop.addresses) as load:
            load.more()
            equal("exit code", region.stop(), 0)
            load.more()
            region.start()
            load.more()
        equal("pids of the tasks", host.pids("orders-api"), pids)
        region.stop(signal.SIGKILL)

        # What a crashed region left is found by name and taken over; a region that starts empty cleans it away.
        region.command.remove("--keep-tasks")
        region.command[region.command.index(data)] = os.path.join(host.folder, "empty")
        region.start()
        wait("leftovers are cleaned", lambda: not host.pids("orders-api") and sh("ip", "netns", "list").count("fog-") == 1, 20)
        equal("resources of an empty region", region.status()["resources"], {})

    # Bad folders are a clear error, at once.
    blocked = os.path.join(host.folder, "file")
    open(blocked, "w").close()
    refused = subprocess.run([host.fogbank, "up", "--data", blocked, "--instance", host.instance], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
    equal("exit code", refused.returncode, 1)
    assert blocked in refused.stderr, refused.stderr
