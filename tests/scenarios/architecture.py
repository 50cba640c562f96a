"""The reference architecture, five times in a row on the same region; afterwards region and kernel are empty."""
from host import equal


def scenario(host):
    with host.region() as region:
        for number in range(5):
            output = host.architecture(region)
            if output is None:
                break
            print("\n".join(line for line in output.splitlines() if line.startswith("time")))
            status = region.status()
            assert status["empty"], f"run {number}: {status['resources']}"
            equal("namespaces of VPCs and interfaces", [n for n in status.get("namespaces", [])], [])
