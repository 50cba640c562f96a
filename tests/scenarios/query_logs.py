"""Route 53's query logs: what is asked of a public zone is in CloudWatch Logs, in AWS's words; not what is asked of other zones;
over UDP and TCP, with a client subnet; a killed name server goes on; without the group nothing is told, and with it again it is;
a configuration that goes leaves what it had told."""
import os, re, signal, socket, struct
from host import equal, error_code, wait

GROUP = "/aws/route53/example.test"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def question(name, kind=1, subnet=None):
    packet = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 1 if subnet else 0)
    packet += b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
    if subnet:
        option = struct.pack(">HBB", 1, 24, 0) + socket.inet_aton(subnet)[:3]
        packet += b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option) + 4) + struct.pack(">HH", 8, len(option)) + option
    return packet


def ask(region, packet):
    """The response code over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(packet, region.dns)
        return s.recv(4096)[3] & 15


def ask_tcp(region, packet):
    with socket.create_connection(region.dns, timeout=5) as s:
        s.sendall(struct.pack(">H", len(packet)) + packet)
        # Two octets of length come first.
        return s.makefile("rb").read(6)[5] & 15


def scenario(host):
    with host.region("--speed", "20") as region:
        route53, logs = region.clients("route53", "logs")
        zone, other = (route53.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"].split("/")[-1] for name in ("example.test", "other.test"))
        change = {"Action": "CREATE", "ResourceRecordSet": {"Name": "www.example.test", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})
        wait("the record is answered", lambda: region.resolve("www.example.test") == (0, ["192.0.2.1"]))

        arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
        create = lambda: route53.create_query_logging_config(HostedZoneId=zone, CloudWatchLogsLogGroupArn=arn)["QueryLoggingConfig"]["Id"]
        equal("without a group", error_code(create), "NoSuchCloudWatchLogsLogGroup")
        logs.create_log_group(logGroupName=GROUP)
        config = create()

        def lines():
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP)
            return [e["message"].split(" ") for page in pages for e in page["events"]]

        def asked(name):
            return [line for line in lines() if line[3] == name]

        def is_logged(name):
            """To be asked until it is told: a change of logging takes its time, as on AWS."""
            region.resolve(name)
            return asked(name)

        wait("logging begins", lambda: is_logged("begin.example.test"), 30)
        equal("streams", [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]], [f"{zone}/IAD12"])
        equal("codes", (ask(region, question("www.example.test")), ask(region, question("none.example.test", 28)), ask(region, question("www.example.test", 16, "192.0.2.77")),
                        ask(region, question("www.other.test")), ask_tcp(region, question("example.test", 6)), ask_tcp(region, question("last.example.test"))), (0, 3, 0, 3, 0, 3))
        wait("the last line", lambda: asked("last.example.test"))
        told = [line for line in lines() if line[3] != "begin.example.test"]
        for line in told:
            assert len(line) == 10 and TIME.fullmatch(line[1]), line
        equal("what was told", [line[:1] + line[2:] for line in told], [["1.0", zone, *rest] for rest in (
            ["www.example.test", "A", "NOERROR", "UDP", "IAD12", "127.0.0.1", "-"], ["none.example.test", "AAAA", "NXDOMAIN", "UDP", "IAD12", "127.0.0.1", "-"],
            ["www.example.test", "TXT", "NOERROR", "UDP", "IAD12", "127.0.0.1", "192.0.2.0/24"], ["example.test", "SOA", "NOERROR", "TCP", "IAD12", "127.0.0.1", "-"],
            ["last.example.test", "A", "NXDOMAIN", "TCP", "IAD12", "127.0.0.1", "-"])])

        # A killed server is started again and goes on in the same stream.
        os.kill(region.pid("dns"), signal.SIGKILL)
        wait("it goes on", lambda: is_logged("again.example.test"), 30)
        equal("one stream", len(logs.describe_log_streams(logGroupName=GROUP)["logStreams"]), 1)

        # Without the group nothing is told; a new one of its name is found.
        logs.delete_log_group(logGroupName=GROUP)
        equal("answers without the group", ask(region, question("www.example.test")), 0)
        logs.create_log_group(logGroupName=GROUP)
        wait("the new group", lambda: is_logged("new.example.test"), 30)
        equal("of the old one", asked("again.example.test"), [])

        # The configuration goes, and its lines stay.
        route53.delete_query_logging_config(Id=config)
        logs.create_log_group(logGroupName="/aws/route53/other.test")
        route53.create_query_logging_config(HostedZoneId=other, CloudWatchLogsLogGroupArn="arn:aws:logs:us-east-1:000000000000:log-group:/aws/route53/other.test")

        def others(name):
            region.resolve(name)
            return [e for e in logs.filter_log_events(logGroupName="/aws/route53/other.test")["events"] if name in e["message"]]
        wait("the other zone's log", lambda: others("first.other.test"), 30)
        # The rows of the two changes came in this order: the first zone is silent by now.
        equal("a question nobody wants to know", ask(region, question("silent.example.test")), 3)
        wait("a later line of the other zone", lambda: others("later.other.test"))
        equal("after the configuration went", asked("silent.example.test"), [])
        assert asked("new.example.test"), "its lines stay"
        equal("configurations", [c["HostedZoneId"] for c in route53.list_query_logging_configs()["QueryLoggingConfigs"]], [other])
