#!/usr/bin/env python3
"""The load balancer node beside Debian's haproxy and nginx, in one run, each on one processor.

    bench_load_balancer.py --fogbank target/release/fogbank --xtask target/release/xtask [--rounds N] [--seconds S] [--only WORDS]

A client, the proxy and a target have a namespace each, joined by veth pairs. The proxy has processor 0 for itself; the
client and the target share processor 1. Every round measures all three one after the other, in turned order; figures are
medians, ratios are to the better of haproxy and nginx. fogbank's node is the program that serves a region, with all it does
there: rules, time-outs, health checks, metrics, access and connection log. haproxy and nginx add the same headers and check
or keep their targets, but write no log, unless the row says so.
"""
import argparse, contextlib, json, os, pathlib, re, resource, statistics, subprocess, sys, tempfile, time

CLIENT, PROXY, TARGET = "lb-client", "lb-proxy", "lb-target"
PROXY_IP, TARGET_IP = "192.0.2.2", "192.0.2.6"
PORTS = {"haproxy": (8001, 8401), "nginx": (8002, 8402), "fogbank": (8003, 8403)}
WEB, ECHO = 9000, 9001
NAMES = list(PORTS)
IDLE = 10000
RULES = {0: 8003, 10: 8013, 100: 8103}


def sh(*command, **more):
    return subprocess.run(list(map(str, command)), check=True, **more)


def pin(cpu):
    count = os.cpu_count()
    return lambda: os.sched_setaffinity(0, {cpu % count})


def inside(namespace, *command):
    return ["ip", "netns", "exec", namespace, *map(str, command)]


class Bed:
    """The namespaces, the target and the three proxies."""

    def __init__(self, folder, fogbank, xtask):
        self.folder, self.fogbank, self.xtask, self.processes = folder, fogbank, xtask, {}

    def start(self):
        self.links()
        self.certificate()
        self.target()
        self.haproxy()
        self.nginx()
        self.alb()
        for name in NAMES:
            for port in PORTS[name]:
                self.wait(name, port)
        for port in RULES.values():
            self.wait("fogbank", port)

    def links(self):
        for name in (CLIENT, PROXY, TARGET):
            sh("ip", "netns", "add", name)
            sh(*inside(name, "ip", "link", "set", "lo", "up"))
        for a, b, left, right, one, two in ((CLIENT, PROXY, "192.0.2.1", PROXY_IP, "eth0", "eth0"), (PROXY, TARGET, "192.0.2.5", TARGET_IP, "eth1", "eth0")):
            sh("ip", "link", "add", one, "netns", a, "type", "veth", "peer", "name", two, "netns", b)
            for namespace, device, address in ((a, one, left), (b, two, right)):
                sh(*inside(namespace, "ip", "address", "add", address + "/30", "dev", device))
                sh(*inside(namespace, "ip", "link", "set", device, "up"))
        for namespace in (CLIENT, PROXY):
            sh(*inside(namespace, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1"))

    def certificate(self):
        pem = lambda name: str(self.folder / name)
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=bench.test",
           "-addext", "subjectAltName=DNS:bench.test", "-keyout", pem("key.pem"), "-out", pem("cert.pem"), stderr=subprocess.DEVNULL)
        (self.folder / "both.pem").write_text((self.folder / "cert.pem").read_text() + (self.folder / "key.pem").read_text())

    def spawn(self, name, namespace, cpu, *command, env=None):
        log = open(self.folder / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(inside(namespace, *command), stdout=log, stderr=log, preexec_fn=pin(cpu), env=env)

    def target(self):
        (self.folder / "www").mkdir()
        (self.folder / "www/1k").write_bytes(b"x" * 1024)
        (self.folder / "www/1m").write_bytes(b"x" * (1 << 20))
        (self.folder / "target.conf").write_text(f"""
daemon off; pid {self.folder}/target.pid; error_log /dev/null; user root; worker_processes 1;
events {{ worker_connections {2 * IDLE}; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; sendfile on; tcp_nodelay on; open_file_cache max=10;
  server {{ listen {WEB} backlog=4096; root {self.folder}/www; }} }}""")
        self.spawn("target", TARGET, 1, "nginx", "-c", self.folder / "target.conf")
        self.spawn("echo", TARGET, 1, self.xtask, "traffic", "web-socket-echo", f"{TARGET_IP}:{ECHO}")

    def haproxy(self):
        plain, tls = PORTS["haproxy"]
        headers = "\n".join(f"  http-request set-header {line}" for line in
                            ("X-Forwarded-Proto http", f"X-Forwarded-Port {plain}", "X-Amzn-Trace-Id Root=1-%[date,hex]-%[rand,hex]%[rand,hex]%[rand,hex]"))
        rules = "".join(f"  use_backend other if {{ hdr(host) -i rule{n}.example.com }} {{ path_beg /rule{n}/ }}\n" for n in range(100))
        few = "".join(f"  use_backend other if {{ hdr(host) -i rule{n}.example.com }} {{ path_beg /rule{n}/ }}\n" for n in range(10))
        (self.folder / "haproxy.conf").write_text(f"""
global
  nbthread 1
  maxconn {IDLE + 100}
  maxpipes 64
  log stderr len 2048 local0
defaults
  mode http
  option forwardfor
  option splice-auto
  http-reuse always
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
frontend plain
  bind {PROXY_IP}:{plain} backlog 4096
{headers}
  use_backend echo if {{ path /socket }}
  default_backend web
frontend tls
  bind {PROXY_IP}:{tls} ssl crt {self.folder}/both.pem alpn h2,http/1.1 no-tls-tickets backlog 4096
{headers}
  default_backend web
frontend rules10
  bind {PROXY_IP}:8011
{headers}
{few}  default_backend web
frontend rules100
  bind {PROXY_IP}:8101
{headers}
{rules}  default_backend web
backend web
  option httpchk GET /1k
  server t {TARGET_IP}:{WEB} check inter 5s pool-max-conn 10000
backend other
  server t {TARGET_IP}:{WEB}
backend echo
  server t {TARGET_IP}:{ECHO}
""")
        self.spawn("haproxy", PROXY, 0, "haproxy", "-db", "-f", self.folder / "haproxy.conf")

    def nginx(self):
        plain, tls = PORTS["nginx"]
        locations = lambda count: "\n".join(f"    location /rule{n}/ {{ if ($host = rule{n}.example.com) {{ return 404; }} proxy_pass http://web; }}" for n in range(count))
        headers = """proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Amzn-Trace-Id Root=1-$msec-$request_id;"""
        (self.folder / "nginx.conf").write_text(f"""
daemon off; pid {self.folder}/nginx.pid; error_log /dev/null; user root; worker_processes 1; 
events {{ worker_connections {2 * IDLE}; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; tcp_nodelay on;
  proxy_buffers 8 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0; client_header_buffer_size 16k;
  ssl_certificate {self.folder}/cert.pem; ssl_certificate_key {self.folder}/key.pem; ssl_session_tickets off; ssl_session_cache off; http2_max_requests 1000000000;
  upstream web {{ server {TARGET_IP}:{WEB}; keepalive 1024; keepalive_requests 1000000000; }}
  upstream echo {{ server {TARGET_IP}:{ECHO}; }}
  {headers}
  server {{ listen {PROXY_IP}:{plain} backlog=4096; location / {{ proxy_pass http://web; }}
    location /socket {{ proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}
  server {{ listen {PROXY_IP}:{tls} ssl http2 backlog=4096; location / {{ proxy_pass http://web; }} }}
  server {{ listen {PROXY_IP}:8012; {locations(10)}
    location / {{ proxy_pass http://web; }} }}
  server {{ listen {PROXY_IP}:8102; {locations(100)}
    location / {{ proxy_pass http://web; }} }} }}""")
        self.spawn("nginx", PROXY, 0, "nginx", "-c", self.folder / "nginx.conf")

    def alb(self):
        """The program that a region's host runs for each node, with a table as the agent would give it."""
        run, data = self.folder / "run", self.folder / "data"
        (run / "alb").mkdir(parents=True, mode=0o700)
        data.mkdir()
        plain, tls = PORTS["fogbank"]
        group = lambda name, port: {
            "id": f"arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/{name}/0123456789abcdef", "cross_zone": True, "deregistration_delay_ms": 1000,
            "health_check": {"enabled": name == "web", "protocol": "HTTP", "path": "/1k", "port": None, "interval_ms": 5000, "timeout_ms": 2000,
                             "healthy_threshold": 5, "unhealthy_threshold": 2, "matcher": "200"},
            "targets": [{"ip": TARGET_IP, "port": port, "zone": "us-east-1a"}]}
        groups = [group("web", WEB), group("echo", ECHO)]
        forward = lambda number: {"type": "forward", "target_groups": [{"target_group": groups[number]["id"], "weight": 1}]}
        socket_rule = {"id": "rule-socket", "priority": 1, "conditions": [{"field": "path-pattern", "values": ["/socket"]}], "action": forward(1)}
        rules = lambda count: [{"id": f"rule-{n}", "priority": n + 1, "action": forward(1), "conditions":
                                [{"field": "host-header", "values": [f"rule{n}.example.com"]}, {"field": "path-pattern", "values": [f"/rule{n}/*"]}]} for n in range(count)]
        listener = lambda port, rules, **more: {"id": f"listener-{port}", "port": port, "protocol": "HTTP", "rules": rules, "default_action": forward(0), **more}
        log = {"bucket": "logs", "prefix": None}
        table = {
            "revision": 1, "load_balancer": "app/bench/0123456789abcdef", "dns_name": "bench.elb.amazonaws.com", "zone": "us-east-1a",
            "attributes": {"access_log": log, "connection_log": log},
            "listeners": [listener(plain, [socket_rule]), listener(8013, rules(10)), listener(8103, rules(100)),
                          listener(tls, [], protocol="HTTPS", tls={"policy": "ELBSecurityPolicy-TLS13-1-2-2021-06", "certificates": ["certificate"]})],
            "target_groups": groups, "cookie_secret": "00" * 32,
            "certificates": [{"id": "certificate", "chain": (self.folder / "cert.pem").read_text(), "private_key": (self.folder / "key.pem").read_text()}]}
        (run / "alb/eni-0123456789abcdef0.table.json").write_text(json.dumps(table))
        config = {"instance": "bench", "host": "bench", "data_dir": str(data), "run_dir": str(run), "endpoint": "127.0.0.1:4566", "dns": "127.0.0.1:4553",
                  "account": "000000000000", "public_cidr": "198.18.0.0/16", "internet": "none", "speed": 1.0, "ephemeral": True}
        (run / "region.json").write_text(json.dumps(config))
        self.spawn("fogbank", PROXY, 0, self.fogbank, "alb", "--config", run / "region.json", "--eni", "eni-0123456789abcdef0")

    def wait(self, name, port):
        until = time.monotonic() + 10
        probe = inside(CLIENT, sys.executable, "-c", f"import socket; socket.create_connection(('{PROXY_IP}', {port}), 1)")
        while subprocess.run(probe, stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > until or self.processes[name].poll() is not None:
                sys.exit(f"{name} does not listen on {port}:\n{(self.folder / f'{name}.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def client(self, *command, **more):
        return subprocess.run(inside(CLIENT, *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=pin(1), timeout=120, **more).stdout

    def pids(self, name):
        """The process and its children: nginx has a worker."""
        found, todo = [], [self.processes[name].pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += map(int, open(f"/proc/{pid}/task/{pid}/children").read().split())
        return found

    def cpu_s(self, name):
        total = 0
        for pid in self.pids(name):
            for thread in os.listdir(f"/proc/{pid}/task"):
                total += int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0])
        return total / 1e9

    def pss_kib(self, name):
        return sum(int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1)) for pid in self.pids(name))

    def close(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for name in (CLIENT, PROXY, TARGET):
            subprocess.run(["ip", "netns", "delete", name])


def row(what, found, unit, goal=None, less_is_better=True):
    """One line: the three medians, and fogbank's ratio to the better of the others, with that of single rounds."""
    medians = {name: statistics.median(found[name]) for name in NAMES}
    best = (min if less_is_better else max)(medians["haproxy"], medians["nginx"])
    better = "haproxy" if best == medians["haproxy"] else "nginx"
    each = sorted(mine / theirs for mine, theirs in zip(found["fogbank"], found[better]))
    ratio = medians["fogbank"] / best if best else float("nan")
    verdict = "" if goal is None else f"goal {'<=' if less_is_better else '>='} {goal}: " + ("met" if (ratio <= goal if less_is_better else ratio >= goal) else "MISSED")
    text = " ".join(f"{name} {medians[name]:9.2f}" for name in NAMES)
    print(f"{what:46} {text} {unit:10} ratio {ratio:5.2f} [{each[0]:.2f}-{each[-1]:.2f}] {verdict}", flush=True)


class Bench:
    def __init__(self, bed, rounds, seconds):
        self.bed, self.rounds, self.seconds = bed, rounds, seconds

    def in_turns(self, measure):
        found = {name: [] for name in NAMES}
        for number in range(self.rounds):
            for name in NAMES if number % 2 == 0 else NAMES[::-1]:
                found[name].append(measure(name))
        return found

    def columns(self, measure):
        """From a measure of several figures to several tables of one."""
        found = self.in_turns(measure)
        return [{name: [each[column] for each in found[name]] for name in NAMES} for column in range(len(found["fogbank"][0]))]

    def wrk(self, name, url, connections, *more):
        before = self.bed.cpu_s(name)
        text = self.bed.client("wrk", "-t1", f"-c{connections}", f"-d{self.seconds}s", "--timeout", "5s", *more, url)
        cpu = self.bed.cpu_s(name) - before
        requests = int(re.search(r"(\d+) requests in", text).group(1))
        if re.search(r"Non-2xx|Socket errors: .*(read|write|timeout) [1-9]", text) and "Connection: close" not in more:
            print(f"  {name}: {text.strip()}", file=sys.stderr)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        return cpu / max(requests, 1) * 1e6, rate

    def h2load(self, name, *arguments):
        before = self.bed.cpu_s(name)
        text = self.bed.client("h2load", *arguments)
        cpu = self.bed.cpu_s(name) - before
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text)
        if done is None or int(done.group(2)) + int(done.group(3)) > 0:
            print(f"  {name}: {text[-600:]}", file=sys.stderr)
        succeeded = int(done.group(1)) if done else 0
        rate = float(re.search(r"([\d.]+) req/s", text).group(1)) if done else 0.0
        return cpu / max(succeeded, 1) * 1e6, rate

    def keep_alive(self):
        for connections in (64, 512):
            cost, rate = self.columns(lambda name: self.wrk(name, f"http://{PROXY_IP}:{PORTS[name][0]}/1k", connections))
            row(f"HTTP/1.1 keep-alive, {connections} connections, 1 kB", cost, "us/request", 0.85)
            row("  requests", rate, "1/s", less_is_better=False)
            self.latency(connections, min(statistics.median(rate[name]) for name in NAMES) / 2)

    def latency(self, connections, rate):
        """At the same fixed rate for all, half of what the slowest can do."""
        each = max(1, int(rate / connections))
        threads, log = 1, self.bed.folder / "h2load.log"

        def measure(name):
            log.unlink(missing_ok=True)
            self.bed.client("h2load", "--h1", f"-c{connections}", f"-t{threads}", f"--rps={each}", f"-D{self.seconds}", "--warm-up-time=1", f"--log-file={log}",
                            f"http://{PROXY_IP}:{PORTS[name][0]}/1k")
            times = sorted(int(line.split("\t")[2]) / 1e3 for line in open(log))
            return [times[int((len(times) - 1) * part)] for part in (0.5, 0.99, 0.999)]
        for part, found, goal in zip(("p50", "p99", "p99.9"), self.columns(measure), (None, 1.0, None)):
            row(f"  {part} at {each * connections}/s", found, "ms", goal)

    def new_connections(self):
        cost, rate = self.columns(lambda name: self.wrk(name, f"http://{PROXY_IP}:{PORTS[name][0]}/1k", 64, "-H", "Connection: close"))
        row("HTTP/1.1, a connection each, 64 at once", cost, "us/request", 0.85)
        row("  requests", rate, "1/s", less_is_better=False)

    def tls(self):
        cost, rate = self.columns(lambda name: self.wrk(name, f"https://{PROXY_IP}:{PORTS[name][1]}/1k", 64, "-H", "Host: bench.test"))
        row("TLS keep-alive, 64 connections, 1 kB", cost, "us/request", 0.85)
        row("  requests", rate, "1/s", less_is_better=False)
        cost, rate = self.columns(lambda name: self.wrk(name, f"https://{PROXY_IP}:{PORTS[name][1]}/1k", 64, "-H", "Host: bench.test", "-H", "Connection: close"))
        row("TLS, a full handshake and a request each", cost, "us/each", 0.85)
        row("  handshakes (the client's processor is full)", rate, "1/s", less_is_better=False)

    def http2(self):
        count = 20000 * self.seconds
        cost, rate = self.columns(lambda name: self.h2load(name, "-c8", "-m32", f"-n{count}", "-t1", f"https://{PROXY_IP}:{PORTS[name][1]}/1k"))
        row("HTTP/2 over TLS, 8 connections, 32 streams", cost, "us/request", 0.9)
        row("  requests", rate, "1/s", less_is_better=False)

    def bodies(self):
        cost, rate = self.columns(lambda name: self.wrk(name, f"http://{PROXY_IP}:{PORTS[name][0]}/1m", 16))
        per_gib = {name: [us * 1024 / 1e6 for us in cost[name]] for name in NAMES}
        row("1 MB bodies, 16 connections", per_gib, "s/GiB", 0.6)
        row("  bodies", rate, "MiB/s", less_is_better=False)

    def web_sockets(self):
        def measure(name):
            before = self.bed.cpu_s(name)
            answer = json.loads(self.bed.client(self.bed.xtask, "traffic", "web-socket", f"{PROXY_IP}:{PORTS[name][0]}", 32, self.seconds * 1000).splitlines()[-1])
            cpu = self.bed.cpu_s(name) - before
            return cpu / answer["messages"] * 1e6, answer["messages"] / self.seconds, answer["p99_us"]
        for what, found, unit, less in zip(("WebSocket echo, 32 connections, 70 bytes", "  messages", "  p99"), self.columns(measure), ("us/message", "1/s", "us"), (True, False, True)):
            row(what, found, unit, less_is_better=less)

    def rules(self):
        base = {"haproxy": (8001, 8011, 8101), "nginx": (8002, 8012, 8102), "fogbank": (8003, 8013, 8103)}
        columns = {}
        for at, count in enumerate((0, 10, 100)):
            cost, _ = self.columns(lambda name: self.wrk(name, f"http://{PROXY_IP}:{base[name][at]}/1k", 64))
            columns[count] = cost
        for count in (10, 100):
            row(f"{count} rules of host and path, none meets", columns[count], "us/request", 0.85)
            print("  more than without: " + ", ".join(f"{name} {statistics.median(columns[count][name]) - statistics.median(columns[0][name]):+.2f} us" for name in NAMES))

    def idle(self):
        """Memory with many clients that have asked once and say nothing now."""
        found = {}
        for name in NAMES:
            before = self.bed.pss_kib(name)
            held = subprocess.Popen(inside(CLIENT, self.bed.xtask, "traffic", "idle", f"{PROXY_IP}:{PORTS[name][0]}", IDLE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            answer = held.stdout.readline()
            assert answer == "held\n", (name, answer, held.poll())
            found[name] = [(self.bed.pss_kib(name) - before) / IDLE * 1024, self.bed.pss_kib(name) / 1024]
            held.stdin.close(), held.wait()
        row(f"memory per idle connection, of {IDLE}", {name: [found[name][0]] for name in NAMES}, "bytes")
        row("  whole process then (PSS)", {name: [found[name][1]] for name in NAMES}, "MiB")


# Memory first: a process that has once been busy keeps what it took.
PARTS = ["idle", "keep_alive", "new_connections", "tls", "http2", "bodies", "web_sockets", "rules"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fogbank", required=True)
    parser.add_argument("--xtask", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    if "FOGBANK_BENCH_INSIDE" not in os.environ:
        # Names of namespaces live in a mount: with one of our own nothing of this is seen outside, and all of it ends with us.
        os.execvpe("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv], {**os.environ, "FOGBANK_BENCH_INSIDE": "1"})
    os.makedirs("/run/netns", exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    global IDLE
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, 65536),) * 2)
        most = max(most, 65536)
    # A proxy counts with two descriptors for each client.
    IDLE = min(IDLE, (most - 1500) // 2)
    with tempfile.TemporaryDirectory(prefix="fogbank-bench-") as folder:
        os.chmod(folder, 0o755)
        bed = Bed(pathlib.Path(folder), os.path.abspath(options.fogbank), os.path.abspath(options.xtask))
        try:
            bed.start()
            bench = Bench(bed, options.rounds, options.seconds)
            for part in options.only:
                getattr(bench, part)()
        finally:
            bed.close()


main()
