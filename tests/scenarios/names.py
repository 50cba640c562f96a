"""Tasks find each other: by names of Cloud Map with A and SRV records, by the host names of the VPC's own domain with and without
the search domain, by address; after a task is replaced, nobody is told the old address."""
import re
from host import Tasks, equal, wait
from scenarios.paths import Vpc

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/probe:1"
SERVER = ["sh", "-c", "mkdir /tmp/www; hostname > /tmp/www/index.html; exec busybox httpd -f -p 8080 -h /tmp/www"]


class Names:
    def __init__(self, host, region):
        self.vpc = Vpc(region, "10.0.0.0/16")
        self.tasks = Tasks(host, region, self.vpc.private, [self.vpc.group])
        self.ecs, self.map = region.clients("ecs", "servicediscovery")
        self.map.create_private_dns_namespace(Name="shop.local", Vpc=self.vpc.id)
        self.namespace = wait("the namespace", lambda: self.map.list_namespaces()["Namespaces"])[0]["Id"]

    def service(self, name, record, count):
        registry = self.map.create_service(Name=name, NamespaceId=self.namespace, DnsConfig={"DnsRecords": [{"Type": record, "TTL": 5}]})["Service"]
        definition = self.ecs.register_task_definition(
            family=name, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512", executionRoleArn="arn:aws:iam::000000000000:role/execution",
            containerDefinitions=[{"name": "main", "image": IMAGE, "essential": True, "stopTimeout": 2, "command": SERVER, "portMappings": [{"containerPort": 8080}]}])
        more = {"containerName": "main", "containerPort": 8080} if record == "SRV" else {}
        self.ecs.create_service(cluster="probes", serviceName=name, taskDefinition=definition["taskDefinition"]["taskDefinitionArn"], desiredCount=count, launchType="FARGATE",
                                networkConfiguration={"awsvpcConfiguration": {"subnets": self.vpc.private, "securityGroups": [self.vpc.group]}},
                                serviceRegistries=[{"registryArn": registry["Arn"], **more}])

    def addresses(self, service):
        """Addresses of the tasks that run, by their ARN."""
        arns = self.ecs.list_tasks(cluster="probes", serviceName=service)["taskArns"]
        found = self.ecs.describe_tasks(cluster="probes", tasks=arns)["tasks"] if arns else []
        return {t["taskArn"]: d["value"] for t in found if t["lastStatus"] == "RUNNING" for d in t["attachments"][0]["details"] if d["name"] == "privateIPv4Address"}

    def running(self, service, count):
        return wait(f"{count} tasks of {service}", lambda: (a := self.addresses(service)) and len(a) == count and a, 40)

    def asked(self, name, kind="a"):
        """What a task is told for a name."""
        _, text = self.tasks.run(f"nslookup -type={kind} {name}")
        if kind == "srv":
            return sorted(tuple(m) for m in re.findall(r"service = (\d+) (\d+) (\d+) (\S+?)\.?$", text, re.M))
        # The server's own address stands there with its port.
        return sorted(re.findall(r"^Address:\s+(\d+\.\d+\.\d+\.\d+)$", text, re.M))

    def fetched(self, place):
        """What the server at a name or an address says to a task, once it listens."""
        code, text = self.tasks.run(f"for n in $(busybox seq 50); do wget -q -O - http://{place}:8080/ 2>/tmp/why && exit 0; sleep 0.1; done; cat /tmp/why; exit 1")
        equal(f"fetching from {place}: {text}", code, 0)
        return text.strip()


def own_name(address):
    return f"ip-{address.replace('.', '-')}.ec2.internal"


def scenario(host):
    with host.region("--speed", "10") as region:
        it = Names(host, region)
        it.service("api", "A", 2)
        it.service("jobs", "SRV", 1)
        api, (job,) = it.running("api", 2), it.running("jobs", 1).values()

        wait("both addresses by the name", lambda: it.asked("api.shop.local") == sorted(api.values()))
        said = it.fetched("api.shop.local")
        assert said in map(own_name, api.values()), (said, api)
        records = wait("the SRV record", lambda: it.asked("jobs.shop.local", "srv"))
        equal("priority, weight and port", [r[:3] for r in records], [("1", "1", "8080")])
        equal("the address of the SRV record's target", it.asked(records[0][3]), [job])
        equal("by the SRV record's target", it.fetched(records[0][3]), own_name(job))

        first = sorted(api.values())[0]
        equal("by address", it.fetched(first), own_name(first))
        equal("by the VPC's own name", it.fetched(own_name(first)), own_name(first))
        equal("by the search domain", it.fetched(own_name(first).partition(".")[0]), own_name(first))

        # Replaced: the old address is told to nobody, the new one to everybody.
        victim, gone = next(iter(api.items()))
        it.ecs.stop_task(cluster="probes", task=victim)
        new = wait("the replacement runs", lambda: (a := it.addresses("api")) and victim not in a and len(a) == 2 and a, 40)
        assert gone not in new.values(), f"{gone} was given away at once"
        wait("the name leads to those that run", lambda: it.asked("api.shop.local") == sorted(new.values()))
        instances = it.map.list_instances(ServiceId=next(s["Id"] for s in it.map.list_services()["Services"] if s["Name"] == "api"))["Instances"]
        equal("instances of Cloud Map", sorted(i["Attributes"]["AWS_INSTANCE_IPV4"] for i in instances), sorted(new.values()))
        for service in ("api", "jobs"):
            it.ecs.delete_service(cluster="probes", service=service, force=True)
        wait("nobody is named any more", lambda: it.asked("api.shop.local") == [])
