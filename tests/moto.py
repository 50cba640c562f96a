"""A peer's own test suite (moto's) against a region of its own: `cargo xtask moto` runs this and compares the failures with tests/moto-differences.md.

MOTO_SUITE is the program, MOTO_OUT where its result goes (JSON), MOTO_ARGUMENTS what else it is told, a JSON list. With `--mended` among them what
the tests prepare against AWS's rules is set right first (moto_fixtures.py)."""
import json, os, pathlib, shutil, subprocess

PLUGIN = pathlib.Path(__file__).with_name("moto_fixtures.py")


def mended():
    """The environment in which pytest finds the plugin: it runs in the folder that the suite keeps moto's tests in."""
    cache = pathlib.Path(os.environ.get("MOTO_SUITE_CACHE", pathlib.Path.home() / ".cache/moto-suite"))
    folders = [ready.parent for ready in cache.glob("*/ready")]
    if not folders:
        raise RuntimeError(f"nothing in {cache}: run `cargo xtask moto` once without --mended, which sets the suite up")
    for folder in folders:
        copy = folder / PLUGIN.name
        copy.unlink(missing_ok=True)
        shutil.copy(PLUGIN, copy)
    return dict(os.environ, PYTEST_PLUGINS=PLUGIN.stem)


def scenario(host):
    suite, out = os.environ["MOTO_SUITE"], os.environ["MOTO_OUT"]
    arguments = json.loads(os.environ.get("MOTO_ARGUMENTS", "[]"))
    environment = dict(os.environ)
    if "--mended" in arguments:
        arguments.remove("--mended")
        environment = mended()
    # The suite's tests name their account.
    with host.region("--account", "123456789012") as region:
        command = [suite, "--endpoint", region.endpoint, "--reset", "POST /_fogbank/reset", "--scope", "core", "--out", out]
        # It is an answer, and no failure of this program, when some of its tests fail.
        subprocess.run(command + arguments, env=environment, timeout=1800)
        called = region.status().get("unbuilt_operations_called")
        if called:
            print("operations called that are not built:", called)
