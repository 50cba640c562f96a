"""The reference architecture over HTTPS: a certificate of the region's authority, proved by a Route 53 record, on the load
balancer; HTTP/1.1 and HTTP/2 clients; stickiness; what is logged and counted; and while clients send requests over TLS,
certificates, rules and all tasks change without one failed request."""
import glob, gzip, json, os, socket, ssl, subprocess, threading, time, urllib.parse

from host import equal, error_code, http_get, sh, wait

NAME, OTHER = "api.shop.test", "www.shop.test"


class Client:
    """Requests over one kept TLS connection after the other."""

    def __init__(self, authority, name=NAME, alpn=("http/1.1",)):
        self.context = ssl.create_default_context(cafile=authority)
        self.context.set_alpn_protocols(alpn)
        self.name, self.connection = name, None

    def connect(self, address):
        self.connection = self.context.wrap_socket(socket.create_connection((address, 443), 5), server_hostname=self.name)
        return self.connection

    def get(self, path, headers=""):
        """(status, headers, body) on the connection that is open."""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.name}\r\n{headers}\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.connection.recv(65536)
            if not chunk:
                raise OSError(f"closed after {data!r}")
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        found = [tuple(line.split(": ", 1)) for line in lines[1:]]
        length = int(next(value for name, value in found if name.lower() == "content-length"))
        while len(body) < length:
            body += self.connection.recv(65536)
        return int(lines[0].split()[1]), found, body.decode()

    def issuer(self):
        return dict(pair[0] for pair in self.connection.getpeercert()["issuer"])


class TlsLoad:
    """Twenty requests on each connection, then a new one; not one may fail."""

    def __init__(self, authority, addresses):
        self.authority, self.addresses, self.answers, self.failures, self.ending = authority, addresses, 0, [], False

    def work(self, number):
        while not self.ending:
            client = Client(self.authority)
            try:
                client.connect(self.addresses[number % len(self.addresses)])
                number += 1
                for _ in range(20):
                    status, headers, _ = client.get("/health")
                    if status != 200:
                        self.failures.append(status)
                    self.answers += status == 200
                    if ("connection", "close") in [(n.lower(), v.lower()) for n, v in headers] or self.ending:
                        break
                client.connection.close()
            except OSError as e:
                self.failures.append(repr(e))

    def __enter__(self):
        self.threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(3)]
        [t.start() for t in self.threads]
        return self

    def __exit__(self, *_):
        self.ending = True
        [t.join(10) for t in self.threads]
        assert not self.failures, f"{len(self.failures)} of {self.answers} failed: {self.failures[:5]}"

    def more(self, count=60):
        goal = self.answers + count
        wait(f"{count} more answers", lambda: self.answers >= goal or self.failures)


def own_certificate(folder, name, *key):
    """A self-signed one from OpenSSL: (certificate, key) in PEM."""
    files = [os.path.join(folder, f"{name}.{kind}") for kind in ("crt", "key")]
    sh("openssl", "req", "-x509", *key, "-nodes", "-days", "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-out", files[0], "-keyout", files[1])
    return [open(f, "rb").read() for f in files]


def requested(shop, acm, zone):
    """A certificate whose names a record of Route 53 proves."""
    arn = acm.request_certificate(DomainName=NAME, SubjectAlternativeNames=["*.shop.test"], ValidationMethod="DNS", KeyAlgorithm="EC_prime256v1")["CertificateArn"]
    options = wait("the records to make", lambda: (o := acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]) and all("ResourceRecord" in e for e in o) and o)
    equal("status before the records", acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"], "PENDING_VALIDATION")
    records = {(r["ResourceRecord"]["Name"], r["ResourceRecord"]["Value"]) for r in options}
    shop.r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": "UPSERT", "ResourceRecordSet": {"Name": name, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": value}]}} for name, value in records]})
    wait("the certificate is issued", lambda: acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "ISSUED", 30)
    return arn


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--speed", "20", "--metrics", "127.0.0.1:9464", data=data) as region:
        shop = host.shop(region)
        acm, cloudwatch = region.client("acm"), region.client("cloudwatch")
        elb, addresses = shop.elb, shop.addresses
        authority = os.path.join(host.folder, "authority.pem")
        open(authority, "w").write(region.cli("ca"))
        zone = next(z["Id"] for z in shop.r53.list_hosted_zones()["HostedZones"] if z["Name"] == "shop.test.")
        certificate = requested(shop, acm, zone)
        print("certificate issued")

        # HTTPS beside HTTP; HTTP goes over to it.
        shop.ec2.authorize_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        forward = [{"Type": "forward", "TargetGroupArn": shop.group}]
        listener = elb.create_listener(LoadBalancerArn=shop.lb["LoadBalancerArn"], Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": certificate}],
                                       SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06", DefaultActions=forward)["Listeners"][0]["ListenerArn"]
        equal("deleting a certificate in use", error_code(acm.delete_certificate, CertificateArn=certificate), "ResourceInUseException")
        plain = elb.describe_listeners(LoadBalancerArn=shop.lb["LoadBalancerArn"])["Listeners"]
        plain = next(l["ListenerArn"] for l in plain if l["Port"] == 80)
        client = Client(authority)

        def serves():
            try:
                client.connect(addresses[0])
                return True
            except OSError:
                return False
        wait("HTTPS is served", serves)
        status, headers, body = client.get("/whoami")
        equal("status over TLS", status, 200)
        assert json.loads(body)["trace"].startswith("Root=1-"), body
        equal("TLS version", client.connection.version(), "TLSv1.3")
        elb.modify_listener(ListenerArn=plain, DefaultActions=[{"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}])
        wait("HTTP redirects", lambda: http_get(addresses[0], "/health", NAME)[0] == 301)

        # HTTP/2.
        told = sh("curl", "-sS", "--http2", "--cacert", authority, "--resolve", f"{NAME}:443:{addresses[0]}", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", f"https://{NAME}/health")
        equal("curl's HTTP/2", told.strip(), "2 200")

        # Everything changes under load.
        with TlsLoad(authority, addresses) as load:
            load.more()
            imported = own_certificate(host.folder, "other.test", "-newkey", "rsa:2048")
            extra = acm.import_certificate(Certificate=imported[0], PrivateKey=imported[1])["CertificateArn"]
            elb.add_listener_certificates(ListenerArn=listener, Certificates=[{"CertificateArn": extra}])
            load.more()
            elb.modify_listener(ListenerArn=listener, SslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06")
            rule = elb.create_rule(ListenerArn=listener, Priority=5, Conditions=[{"Field": "path-pattern", "Values": ["/teapot"]}],
                                   Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": "tea"}}])["Rules"][0]["RuleArn"]
            load.more()
            before = host.pids("orders-api")
            shop.ecs.update_service(cluster="orders", service="orders", forceNewDeployment=True)
            wait("all tasks are new", lambda: (now := host.pids("orders-api")) and not now & before and len(now) == 2, 90)
            elb.delete_rule(RuleArn=rule)
            load.more()
            print(f"certificate added, policy and rules changed, service deployed anew: {load.answers} answers over TLS, none failed")
        # SNI chooses; unknown names get the default certificate.
        probe = ssl._create_unverified_context()
        seen = {}
        for name in ("other.test", NAME, "unknown.test"):
            with probe.wrap_socket(socket.create_connection((addresses[0], 443), 5), server_hostname=name) as tls:
                pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))
                seen[name] = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True).stdout.strip()
        assert "other.test" in seen["other.test"] and NAME in seen[NAME] and NAME in seen["unknown.test"], seen

        # Stickiness.
        elb.modify_target_group_attributes(TargetGroupArn=shop.group, Attributes=[{"Key": "stickiness.enabled", "Value": "true"}, {"Key": "stickiness.type", "Value": "lb_cookie"}])

        def cookie():
            client.connect(addresses[0])
            _, headers, body = client.get("/whoami")
            return next(((v.split(";")[0], json.loads(body)["task"]) for n, v in headers if n.lower() == "set-cookie" and v.startswith("AWSALB=")), None)
        sealed, task = wait("a cookie is set", cookie)
        for address in addresses * 3:
            client.connect(address)
            equal("the task behind the cookie", json.loads(client.get("/whoami", f"Cookie: {sealed}\r\n")[2])["task"], task)

        # What is logged and counted.
        elb.modify_load_balancer_attributes(LoadBalancerArn=shop.lb["LoadBalancerArn"], Attributes=[
            {"Key": "access_logs.s3.enabled", "Value": "true"}, {"Key": "access_logs.s3.bucket", "Value": "shop-logs"}, {"Key": "access_logs.s3.prefix", "Value": "alb"}])
        agent = f"scenario-{os.getpid()}"

        def logged():
            client.connect(addresses[0])
            client.get("/orders?x=%22", f"User-Agent: {agent}\r\n")
            files = glob.glob(f"{data}/buckets/shop-logs/alb/AWSLogs/000000000000/elasticloadbalancing/us-east-1/**/*.log.gz", recursive=True)
            lines = [line for f in files for line in gzip.open(f, "rt")]
            return next((line for line in lines if agent in line), None)
        line = wait("the request stands in the access log", logged, 40)
        fields = line.split(" ")
        equal("type and load balancer", (fields[0], fields[2]), ("https", shop.lb["LoadBalancerArn"].split("loadbalancer/")[1]))
        assert "TLSv1.3" in line and certificate in line and f'"GET https://{NAME}:443/orders?x=%22 HTTP/1.1"' in line, line
        tail = shop.lb["LoadBalancerArn"].split("loadbalancer/")[1]

        def counted():
            data = cloudwatch.get_metric_statistics(Namespace="AWS/ApplicationELB", MetricName="RequestCount", Dimensions=[{"Name": "LoadBalancer", "Value": tail}],
                                                    StartTime=time.time() - 3600, EndTime=time.time() + 60, Period=60, Statistics=["Sum"])["Datapoints"]
            return sum(p["Sum"] for p in data)
        count = wait("requests are counted", counted, 30)
        names = {m["MetricName"] for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace="AWS/ApplicationELB") for m in page["Metrics"]}
        assert {"RequestCount", "TargetResponseTime", "HTTPCode_Target_2XX_Count", "HealthyHostCount", "NewConnectionCount", "ProcessedBytes"} <= names, names
        status, text = http_get("127.0.0.1", "/metrics", port=9464)
        equal("status of /metrics", status, 200)
        mine = [line for line in text.splitlines() if line.startswith("fogbank_alb_requests_received_total{") and tail in line]
        assert len(mine) == 2 and sum(float(line.split()[-1]) for line in mine) >= count, (count, mine)
        print(f"access log written, {count:.0f} requests counted, {len(names)} metrics")

        # Without its listener the certificate may go.
        elb.delete_listener(ListenerArn=listener)
        acm.delete_certificate(CertificateArn=certificate)
        equal("a deleted certificate", error_code(acm.describe_certificate, CertificateArn=certificate), "ResourceNotFoundException")
