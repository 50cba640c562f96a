#!/usr/bin/env python3
"""Runs every scenario of tests/scenarios against the given program, each in namespaces of its own.

    run.py --fogbank target/release/fogbank --api target/x86_64-unknown-linux-gnu/release/orders-api [NAME ...]

A scenario is a Python file with a function `scenario(host)`; see host.py for what a host is. Each runs in its own
network and mount namespace, so scenarios cannot meet each other or the machine; two at a time. Prints each scenario's
output when it ends; the last line is 'N passed, N failed'.
"""
import argparse, concurrent.futures, os, pathlib, subprocess, sys, time
import debian

HERE = pathlib.Path(__file__).resolve().parent
#: What takes all that a machine has, or measures what is left of it, runs after the others.
ALONE = {"hogs"}


def run(name, fogbank, api, number, limit):
    started = time.monotonic()
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, str(HERE / "host.py"),
               "--fogbank", fogbank, "--api", api, "--instance", f"t{os.getpid() % 10000}x{number:x}"[:8], str(HERE / "scenarios" / f"{name}.py")]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, text=True, errors="replace")
        output, good = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as e:
        output, good = (e.stdout or b"").decode(errors="replace") + f"\nnot done after {limit} s", False
    return name, good, output, time.monotonic() - started


def finished(jobs, names, run_one):
    """Results as they come."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for each in concurrent.futures.as_completed([pool.submit(run_one, name) for name in names]):
            yield each.result()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--api", required=True, help="the static orders-api program")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--limit", type=float, default=600, help="seconds for one scenario")
    arguments.add_argument("names", nargs="*")
    args = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("scenarios need root")
    names = args.names or sorted(p.stem for p in (HERE / "scenarios").glob("*.py"))
    fogbank = os.path.abspath(args.fogbank)
    # Scenarios have no way to the internet.
    if "packages" in names and (wrong := debian.fetch()):
        print(f"note: {wrong}\nscenario packages goes without Debian's packages", flush=True)
    failed = []
    numbers = {name: number for number, name in enumerate(names)}
    for jobs, part in ((args.jobs, [n for n in names if n not in ALONE]), (1, [n for n in names if n in ALONE])):
        for name, good, output, seconds in finished(jobs, part, lambda n: run(n, fogbank, os.path.abspath(args.api), numbers[n], args.limit)):
            print(f"--- {name}: {'passed' if good else 'FAILED'} in {seconds:.1f} s", flush=True)
            lines = output.splitlines()
            print("\n".join("    " + line for line in (lines if not good else lines[-4:])), flush=True)
            if not good:
                failed.append(name)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
