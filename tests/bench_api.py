#!/usr/bin/env python3
"""Measures the API beside moto's server: signed requests a second and their times, in turns, medians of several rounds.

    bench_api.py --fogbank target/release/fogbank [--rounds 5] [--seconds 3]

What a decision of IAM costs with 100 policies is the difference of DescribeVpcs by the root, whom nobody asks, and by a user with ten
groups of ten policies each, of which the last allows it.

DescribeVpcs is a read, CreateTags a write: fogbank's is on the disk before its answer, moto's is in memory. Both get the same
requests, signed beforehand (a signature holds for five minutes), from wrk (Debian's) at 1 and 64 connections; each write differs from
the one before. fogbank runs with --auth enforce: it checks each signature and each permission. moto's server checks neither. It runs
where it is found: `moto_server` on the path, or the one of the peer's suite (MOTO_SUITE_CACHE).
"""
import argparse, glob, json, os, pathlib, re, shutil, socket, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
WRITES = 4000
# Requests lie in a file, one a line: authorization, date, token's place, body. Threads of wrk take turns by their number.
SCRIPT = """
local all, at, step = {}, 0, 1
local threads = 0
function setup(thread) thread:set("first", threads) threads = threads + 1 end
function init(args)
  for line in io.lines(args[1]) do
    local authorization, date, body = line:match("^(.-)\\t(.-)\\t(.*)$")
    all[#all + 1] = wrk.format("POST", "/", {["Host"] = args[2], ["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8",
      ["X-Amz-Date"] = date, ["Authorization"] = authorization}, body)
  end
  at = first
end
function request() at = at % #all + 1 return all[at] end
function done(summary, latency, requests)
  local wrong = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), wrong))
end
"""


def signed(bodies, host, key, secret):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    lines = []
    for body in bodies:
        request = AWSRequest("POST", f"http://{host}/", data=body, headers={"Host": host, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
        SigV4Auth(Credentials(key, secret), "ec2", "us-east-1").add_auth(request)
        lines.append("\t".join([request.headers["Authorization"], request.headers["X-Amz-Date"], body]))
    return lines


class Served:
    """One of the two: where it listens, with which key, and what the writes are about."""

    def __init__(self, name, endpoint, key, secret, folder):
        import boto3
        self.name, self.host, self.key, self.secret, self.folder = name, endpoint.split("//")[1], key, secret, folder
        self.script = os.path.join(folder, "requests.lua")
        pathlib.Path(self.script).write_text(SCRIPT)
        ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)
        for number in range(3):
            self.vpc = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
        assert len(ec2.describe_vpcs()["Vpcs"]) == 4

    def requests(self, what, round_number):
        if what == "DescribeVpcs":
            bodies = ["Action=DescribeVpcs&Version=2016-11-15"]
        else:
            bodies = [f"Action=CreateTags&Version=2016-11-15&ResourceId.1={self.vpc}&Tag.1.Key=n&Tag.1.Value={round_number}-{n}" for n in range(WRITES)]
        path = os.path.join(self.folder, f"{self.name}-{what}")
        pathlib.Path(path).write_text("\n".join(signed(bodies, self.host, self.key, self.secret)) + "\n")
        return path

    def load(self, path, connections, seconds):
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", self.script, f"http://{self.host}/", "--", path, self.host],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 60).stdout
        found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", out)
        assert found, out
        count, duration_us, p50_us, p99_us, wrong = map(int, found.groups())
        assert count and not wrong, f"{self.name}: {wrong} of {count} requests failed: {out}"
        return count / duration_us * 1e6, p50_us / 1e3, p99_us / 1e3


class ManyPolicies(Served):
    """The region again, asked by a user whom 100 policies are about."""

    def __init__(self, region, key, secret, folder):
        import boto3
        iam = boto3.client("iam", endpoint_url=region.endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)
        iam.create_user(UserName="many")
        for group in range(10):
            iam.create_group(GroupName=f"g{group}")
            iam.add_user_to_group(GroupName=f"g{group}", UserName="many")
            for number in range(10):
                actions = ["ec2:*"] if group == number == 9 else [f"s3:Get{number}*", "logs:Put*", "ecs:Describe*"]
                statements = [{"Effect": "Allow", "Action": actions, "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": ["us-east-1", f"eu-west-{number}"]}}},
                              {"Effect": "Deny", "Action": "ec2:Delete*", "Resource": f"arn:aws:ec2:*:*:vpc/vpc-{group}{number}*"}]
                policy = iam.create_policy(PolicyName=f"p{group}-{number}", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))["Policy"]["Arn"]
                iam.attach_group_policy(GroupName=f"g{group}", PolicyArn=policy)
        made = iam.create_access_key(UserName="many")["AccessKey"]
        self.name, self.host, self.folder = "many", region.endpoint.split("//")[1], folder
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        self.script = os.path.join(folder, "requests.lua")


def decision(root, many, rounds, seconds):
    """Microseconds that 100 policies add to a request, at one connection."""
    times = {one.name: [] for one in (root, many)}
    for number in range(rounds):
        for one in (root, many):
            rate, _, _ = one.load(one.requests("DescribeVpcs", f"decision-{number}"), 1, seconds)
            times[one.name].append(1e6 / rate)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"DescribeVpcs by the root {medians[root.name]:.1f} us, with 100 policies {medians[many.name]:.1f} us: a decision takes {medians[many.name] - medians[root.name]:.1f} us", flush=True)


def moto_server():
    cache = os.environ.get("MOTO_SUITE_CACHE", os.path.expanduser("~/.cache/moto-suite"))
    found = sorted(glob.glob(f"{cache}/*/venv/bin/moto_server"))
    return found[-1] if found else shutil.which("moto_server")


def await_port(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("moto's server does not listen")


def median(results):
    return [statistics.median(column) for column in zip(*results)]


def measure(host, rounds, seconds):
    from host import root_key
    folder = tempfile.mkdtemp(prefix="fogbank-bench-")
    moto = moto_server()
    process = None
    try:
        with host.region("--auth", "enforce", "--request-rates", "off", data=os.path.join(folder, "data")) as region:
            key, secret = root_key(region.lines)
            all_served = [Served("fogbank", region.endpoint, key, secret, folder)]
            decision(all_served[0], ManyPolicies(region, key, secret, folder), rounds, seconds)
            if moto:
                process = subprocess.Popen([moto, "-H", "127.0.0.1", "-p", "5999"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                await_port(5999, process)
                all_served.append(Served("moto", "http://127.0.0.1:5999", key, secret, folder))
            else:
                print("moto's server is not on this machine: fogbank alone")
            for what in ("DescribeVpcs", "CreateTags"):
                for connections in (1, 64):
                    results = {one.name: [] for one in all_served}
                    for number in range(rounds):
                        for one in all_served:
                            path = one.requests(what, f"{connections}-{number}")
                            results[one.name].append(one.load(path, connections, seconds))
                    medians = {name: median(rows) for name, rows in results.items()}
                    for name, (rate, p50, p99) in medians.items():
                        print(f"{what:13} {connections:3} connections  {name:8} {rate:9.0f} requests/s, p50 {p50:8.3f} ms, p99 {p99:8.3f} ms", flush=True)
                    if moto:
                        goal = "100x" if what == "DescribeVpcs" else "20x"
                        print(f"{what:13} {connections:3} connections  fogbank / moto: {medians['fogbank'][0] / medians['moto'][0]:.1f}x  goal {goal}", flush=True)
    finally:
        if process:
            process.terminate()
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fogbank", required=True)
    arguments.add_argument("--api")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if not args.inside:
        return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", sys.executable, __file__, *sys.argv[1:], "--inside"]).returncode
    sys.path.insert(0, str(HERE))
    sys.path.insert(0, str(HERE.parent / "examples/api"))
    import host
    host.prepare()
    measure(host.Host(os.path.abspath(args.fogbank), f"b{os.getpid() % 100000}", args.api), args.rounds, args.seconds)


if __name__ == "__main__":
    sys.exit(main())
