"""Two regions on one host at once; a port or pool that is taken is said so; a reset empties a region at once."""
import os, socket, subprocess, time
from host import Region, Tasks, equal, http_get, wait


def refused(host, *options, environment=None):
    done = subprocess.run([host.fogbank, "up", "--ephemeral", "--instance", "x" + host.instance[:7], *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    equal(f"exit code with {options}", done.returncode, 1)
    return done.stdout


def scenario(host):
    with host.region("--speed", "10") as first:
        host.shop(first)
        before = host.kernel()
        second = Region(host, ["--endpoint", "127.0.0.1:4577", "--dns", "127.0.0.1:4554", "--public-cidr", "198.19.0.0/16"], instance="y" + host.instance[:7])
        host.regions.append(second)
        second.endpoint, second.dns = "http://127.0.0.1:4577", ("127.0.0.1", 4554)
        second.start()
        shop = host.shop(second)
        assert all(a.startswith("198.19.") for a in shop.addresses), shop.addresses
        for region in (first, second):
            address = region.resolve("api.shop.test")[1][0]
            equal(f"an answer from {address}", http_get(address, "/health", "api.shop.test")[0], 200)
        second.stop()
        host.same_kernel(before)
        equal("the first goes on", http_get(first.resolve("api.shop.test")[1][0], "/health", "x")[0], 200)

        # What is taken is said so, and nothing is left.
        assert "4566" in (text := refused(host, "--dns", "127.0.0.1:4554", "--public-cidr", "198.19.0.0/16")), text
        assert "4553" in (text := refused(host, "--endpoint", "127.0.0.1:4577", "--public-cidr", "198.19.0.0/16")), text
        assert "198.18." in (text := refused(host, "--endpoint", "127.0.0.1:4577", "--dns", "127.0.0.1:4554")), text
        host.same_kernel(before)

        # A reset takes everything down, tasks that ignore SIGTERM too, and the next test starts at once.
        started = time.monotonic()
        import urllib.request
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:4566/_fogbank/reset", b"", method="POST")).read()
        print(f"reset of the whole architecture: {(time.monotonic() - started) * 1e3:.0f} ms")
        equal("resources after a reset", first.status()["resources"], {})
        wait("processes of tasks are gone", lambda: not host.pids("orders-api"), 5)
        host.shop(first)
