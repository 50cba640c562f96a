"""The reference architecture with programs as Debian ships them: nginx behind the load balancer, a Python API behind nginx, PostgreSQL
behind the API, each found by its name of Cloud Map and guarded by security groups. The database ends cleanly and is replaced."""
import concurrent.futures, json, os, socket, urllib.request
import debian
from host import Load, Tasks, docker_archive, equal, http_get, wait
from scenarios.paths import Vpc

USERS = b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\npostgres:x:105:105::/var/lib/postgresql:/bin/sh\napi:x:1000:1000::/srv:/bin/sh\n"
GROUPS = b"root:x:0:\nwww-data:x:33:\npostgres:x:105:\napi:x:1000:\n"
DATABASE = b"""#!/bin/sh
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /dev/shm/password
    initdb -D "$PGDATA" -U shop --pwfile=/dev/shm/password --auth=scram-sha-256 --encoding=UTF8 --no-locale
    rm /dev/shm/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories="$PGDATA"
"""
API = b"""
import os, socket
import flask, psycopg2

app = flask.Flask(__name__)


def rows(text, *values):
    connection = psycopg2.connect(host=os.environ["DATABASE_HOST"], user="shop", password=os.environ["DATABASE_PASSWORD"], dbname="postgres", connect_timeout=2)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@app.get("/health")
def health():
    return "ok"


@app.get("/orders")
def orders():
    rows("create table if not exists orders (id serial primary key, item text, seller text)")
    return flask.jsonify([list(row) for row in rows("select id, item, seller from orders order by id")])


@app.post("/orders")
def order():
    row = rows("insert into orders (item, seller) values (%s, %s) returning id", flask.request.json["item"], socket.gethostname())[0]
    return flask.jsonify(id=row[0]), 201
"""
WEB = b"""
daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr info;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    resolver 169.254.169.253 valid=1s ipv6=off;
    server {
        listen 80;
        location = /health { return 200 "ok\\n"; }
        location /api/ {
            set $api api.shop.internal;
            rewrite ^/api(/.*)$ $1 break;
            proxy_pass http://$api:8000;
        }
        location / { root /srv; }
    }
}
"""


class Shop:
    def __init__(self, host, region):
        self.host, self.region = host, region
        self.vpc = Vpc(region, "10.0.0.0/16")
        self.probes = Tasks(host, region, self.vpc.private, [self.vpc.group])
        self.ecs, self.logs, self.elb, self.names = region.clients("ecs", "logs", "elbv2", "servicediscovery")
        self.logs.create_log_group(logGroupName="/shop")
        self.ecs.create_cluster(clusterName="shop")
        self.names.create_private_dns_namespace(Name="shop.internal", Vpc=self.vpc.id)
        self.namespace = wait("the namespace", lambda: self.names.list_namespaces()["Namespaces"])[0]["Id"]
        self.password = region.client("secretsmanager").create_secret(Name="shop/database", SecretString=json.dumps({"password": "p\u00e4ss w0rd'"}))["ARN"]
        self.groups = {name: self.vpc.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc.id)["GroupId"] for name in ("front", "web", "api", "database")}
        self.allow("web", 80, "front")
        self.allow("api", 8000, "web")
        self.allow("database", 5432, "api")
        self.vpc.ec2.authorize_security_group_ingress(GroupId=self.groups["front"], IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])

    def allow(self, group, port, source):
        self.vpc.ec2.authorize_security_group_ingress(GroupId=self.groups[group], IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": [{"GroupId": self.groups[source]}]}])

    def load(self, name, layers, entries, **config):
        path = os.path.join(self.host.folder, f"{name}.tar")
        own = debian.files_layer([("etc/passwd", USERS, 0, 0o644), ("etc/group", GROUPS, 0, 0o644), *entries])
        docker_archive(path, f"{name}:1", [*layers, own], **{"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **config})
        self.region.cli("image", "load", path)

    def service(self, name, count, container, size=("256", "512"), named=True, **more):
        definition = self.ecs.register_task_definition(
            family=name, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu=size[0], memory=size[1], executionRoleArn="arn:aws:iam::000000000000:role/execution",
            volumes=[{"name": "data"}], containerDefinitions=[{
                "name": name, "image": f"{name}:1", "essential": True, "readonlyRootFilesystem": True, "stopTimeout": 60, "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "/shop", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "s"}}, **container}])["taskDefinition"]["taskDefinitionArn"]
        if named:
            registry = self.names.create_service(Name=name, NamespaceId=self.namespace, DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 1}]})["Service"]["Arn"]
            more["serviceRegistries"] = [{"registryArn": registry}]
        self.ecs.create_service(cluster="shop", serviceName=name, taskDefinition=definition, desiredCount=count, launchType="FARGATE", networkConfiguration={
            "awsvpcConfiguration": {"subnets": self.vpc.private, "securityGroups": [self.groups[name]]}}, **more)

    def tasks(self, name, status="RUNNING"):
        arns = self.ecs.list_tasks(cluster="shop", serviceName=name, desiredStatus=status)["taskArns"]
        return self.ecs.describe_tasks(cluster="shop", tasks=arns)["tasks"] if arns else []

    def said(self, name, task):
        stream = f"s/{name}/" + task["taskArn"].rsplit("/", 1)[1]
        return "\n".join(e["message"] for e in self.logs.get_log_events(logGroupName="/shop", logStreamName=stream, startFromHead=True)["events"])

    def healthy(self, name, count):
        """All are RUNNING and HEALTHY; says what a program said that ended."""
        def probe():
            dead = self.tasks(name, "STOPPED")
            assert not dead, (name, dead[0]["stoppedReason"], dead[0]["containers"], self.said(name, dead[0])[-3000:])
            found = self.tasks(name)
            return len(found) == count and all((t["lastStatus"], t["healthStatus"]) == ("RUNNING", "HEALTHY") for t in found) and found
        try:
            return wait(f"{name} is healthy", probe, 60)
        except AssertionError:
            print([(t["lastStatus"], t["healthStatus"], self.said(name, t)[-2000:]) for t in self.tasks(name)])
            raise

    def database(self):
        # The image's folder has the owner that the volume takes from it, as on Fargate.
        self.load("database", debian.image("postgres"), [("entry.sh", DATABASE, 0, 0o755), ("var/lib/postgresql/data", None, 105, 0o700), ("tmp", None, 0, 0o1777)],
                  Entrypoint=["/entry.sh"], User="postgres", Volumes={"/var/lib/postgresql/data": {}})
        self.service("database", 1, {
            "environment": [{"name": "PGDATA", "value": "/var/lib/postgresql/data"}], "secrets": [{"name": "POSTGRES_PASSWORD", "valueFrom": self.password + ":password::"}],
            "mountPoints": [{"sourceVolume": "data", "containerPath": "/var/lib/postgresql/data"}], "portMappings": [{"containerPort": 5432}],
            "ulimits": [{"name": "nofile", "softLimit": 4096, "hardLimit": 4096}],
            "healthCheck": {"command": ["CMD-SHELL", "/usr/lib/postgresql/*/bin/pg_isready -h 127.0.0.1 -U shop"], "interval": 5, "timeout": 20, "retries": 10, "startPeriod": 300}}, ("1024", "2048"))

    def api(self):
        self.load("api", debian.image("python"), [("srv/app.py", API, 0, 0o644), ("tmp", None, 0, 0o1777)],
                  Cmd=["gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2", "--worker-tmp-dir", "/dev/shm", "app:app"], WorkingDir="/srv")
        self.service("api", 2, {
            "user": "api", "environment": [{"name": "DATABASE_HOST", "value": "database.shop.internal"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
            "secrets": [{"name": "DATABASE_PASSWORD", "valueFrom": self.password + ":password::"}], "portMappings": [{"containerPort": 8000}],
            # Ten times as often as it says, while Python's start costs what it costs: only what is needed is imported.
            "healthCheck": {"command": ["CMD", "python3", "-ISc", "import socket; socket.create_connection(('127.0.0.1', 8000), 2)"],
                            "interval": 30, "timeout": 60, "retries": 10, "startPeriod": 300}}, ("1024", "2048"))

    def web(self):
        self.load("web", debian.image("nginx"), [("srv/index.html", b"<h1>shop</h1>\n", 0, 0o644), ("etc/nginx/nginx.conf", WEB, 0, 0o644), ("var/log/nginx", None, 33, 0o755),
                                                 ("tmp", None, 33, 0o1777)], Cmd=["nginx"], StopSignal="SIGQUIT", Volumes={"/tmp": {}})
        balancer = self.elb.create_load_balancer(Name="shop", Subnets=self.vpc.public, SecurityGroups=[self.groups["front"]])["LoadBalancers"][0]
        group = self.elb.create_target_group(Name="shop", Protocol="HTTP", Port=80, VpcId=self.vpc.id, TargetType="ip", HealthCheckPath="/health", HealthCheckIntervalSeconds=5,
                                             HealthCheckTimeoutSeconds=4, HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
        self.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}])
        self.elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
        self.service("web", 2, {
            "user": "www-data", "portMappings": [{"containerPort": 80}], "mountPoints": [{"sourceVolume": "data", "containerPath": "/tmp"}],
            "healthCheck": {"command": ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"], "interval": 5, "timeout": 20, "retries": 10, "startPeriod": 300}},
            named=False, loadBalancers=[{"targetGroupArn": group, "containerName": "web", "containerPort": 80}])
        self.healthy("web", 2)
        wait("both targets are healthy", lambda: [t["TargetHealth"]["State"] for t in self.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]] == ["healthy"] * 2, 30)
        self.addresses = wait("the load balancer's name", lambda: self.region.resolve(balancer["DNSName"])[1])

    def order(self, item):
        request = urllib.request.Request(f"http://{self.addresses[0]}/api/orders", json.dumps({"item": item}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["id"]

    def orders(self):
        status, body = http_get(self.addresses[0], "/api/orders", "shop.test")
        return json.loads(body[body.index("["):body.rindex("]") + 1]) if status == 200 else None


def ends_cleanly(shop):
    """SIGTERM is enough for the database; its successor is found by the same name at another address."""
    first = shop.tasks("database")[0]
    shop.ecs.stop_task(cluster="shop", task=first["taskArn"])
    ended = wait("the database ended", lambda: shop.tasks("database", "STOPPED"), 40)[0]
    ended = wait("the database is stopped", lambda: (t := shop.ecs.describe_tasks(cluster="shop", tasks=[ended["taskArn"]])["tasks"][0])["lastStatus"] == "STOPPED" and t, 40)
    text = shop.said("database", ended)
    equal("exit code of PostgreSQL, which said: " + text[-1500:], (ended["containers"][0].get("exitCode"), ended["stopCode"]), (0, "UserInitiated"))
    assert "received smart shutdown request" in text and "database system is shut down" in text, text[-2000:]
    wait("the API finds the new database", lambda: shop.orders() == [], 60)
    equal("the new database's first order", shop.order("again"), 1)


def scenario(host):
    if not all(debian.image(name) for name in ("postgres", "python", "nginx")):
        print(f"note: Debian's packages are not in {debian.CACHE} (tests/debian.py fetches them by apt): nginx, PostgreSQL and the Python API were not run")
        return
    with host.region("--speed", "10") as region:
        shop = Shop(host, region)
        shop.database()
        shop.api()
        shop.web()
        shop.healthy("database", 1)
        shop.healthy("api", 2)

        equal("a page of nginx", http_get(shop.addresses[0], "/", "shop.test"), (200, "<h1>shop</h1>"))
        wait("the API answers through nginx", lambda: shop.orders() == [], 30)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ids = sorted(pool.map(lambda n: shop.order(f"tea {n} \u2615"), range(40)))
        equal("numbers of the orders", ids, list(range(1, 41)))
        stored = shop.orders()
        equal("orders", (sorted(o[1] for o in stored), len({o[2] for o in stored})), (sorted(f"tea {n} \u2615" for n in range(40)), 2))

        # Each program is reached by whom the groups name, and by nobody else.
        knock = "echo | nc -w 1 database.shop.internal 5432"
        equal("the database from a task of the API's group", shop.probes.run(knock, groups=[shop.groups["api"]])[0], 0)
        equal("the database from a task of nginx's group", shop.probes.run(knock, groups=[shop.groups["web"]])[0], 1)

        with Load(shop.addresses, "/", "shop.test") as load:
            load.more()
            shop.ecs.update_service(cluster="shop", service="web", forceNewDeployment=True)
            service = lambda: shop.ecs.describe_services(cluster="shop", services=["web"])["services"][0]
            wait("nginx is deployed anew", lambda: (s := service()) and len(s["deployments"]) == 1 and s["deployments"][0]["rolloutState"] == "COMPLETED", 60)
            print(f"nginx deployed anew: {load.answers} answers, none failed")
        codes = {c.get("exitCode") for t in shop.tasks("web", "STOPPED") for c in t["containers"]}
        equal("exit codes of nginx", codes, {0})
        ends_cleanly(shop)
