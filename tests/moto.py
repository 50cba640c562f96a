"""A peer's own test suite (moto's) against a region of its own: `cargo xtask moto` runs this and compares the failures with tests/moto-differences.md.

MOTO_SUITE is the program, MOTO_OUT where its result goes (JSON), MOTO_ARGUMENTS what else it is told, a JSON list."""
import json, os, subprocess


def scenario(host):
    suite, out = os.environ["MOTO_SUITE"], os.environ["MOTO_OUT"]
    arguments = json.loads(os.environ.get("MOTO_ARGUMENTS", "[]"))
    # The suite's tests name their account.
    with host.region("--account", "123456789012") as region:
        command = [suite, "--endpoint", region.endpoint, "--reset", "POST /_fogbank/reset", "--scope", "core", "--out", out]
        # It is an answer, and no failure of this program, when some of its tests fail.
        subprocess.run(command + arguments, timeout=1800)
        called = region.status().get("unbuilt_operations_called")
        if called:
            print("operations called that are not built:", called)
