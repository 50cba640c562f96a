"""Route 53 health checks that really look: from the region's edge at a load balancer, through its security group; failover
records answer by them; inverted, calculated and string-matching ones; what is left when the checkers are killed."""
import os, signal, socket, time

from host import equal, error_code, http_get, wait

PRIMARY, SECONDARY = "failover.shop.test", "192.0.2.99"


class Checks:
    def __init__(self, r53):
        self.r53, self.made = r53, 0

    def make(self, **config):
        self.made += 1
        return self.r53.create_health_check(CallerReference=str(self.made), HealthCheckConfig=config)["HealthCheck"]["Id"]

    def said(self, check):
        seen = self.r53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
        return [o["StatusReport"]["Status"] for o in seen]

    def all_say(self, check, text, count=16):
        try:
            wait(f"{count} checkers say {text}", lambda: len(s := self.said(check)) == count and all(text in line for line in s), 30)
        except AssertionError as e:
            raise AssertionError(f"{e}; they say {self.said(check)}") from None


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--speed", "20", data=data) as region:
        shop = host.shop(region)
        r53, ec2, ecs, cloudwatch = region.clients("route53", "ec2", "ecs", "cloudwatch")
        address, checks = shop.addresses[0], Checks(r53)
        zone = next(z["Id"] for z in r53.list_hosted_zones()["HostedZones"] if z["Name"] == "shop.test.")
        http = {"Type": "HTTP", "IPAddress": address, "Port": 80, "ResourcePath": "/health", "RequestInterval": 10, "FailureThreshold": 3}
        plain = checks.make(**http, MeasureLatency=True)
        named = checks.make(Type="HTTP", FullyQualifiedDomainName=shop.lb["DNSName"], Port=80, ResourcePath="/health", RequestInterval=10, FailureThreshold=3,
                            Regions=["us-east-1", "eu-west-1", "sa-east-1"])
        tcp = checks.make(Type="TCP", IPAddress=address, Port=80, RequestInterval=10, FailureThreshold=3)
        inverted = checks.make(**http, Inverted=True)
        matching = checks.make(**{**http, "Type": "HTTP_STR_MATCH", "ResourcePath": "/orders"}, SearchString="[")
        missing = checks.make(**{**http, "Type": "HTTP_STR_MATCH"}, SearchString="no such text")
        both = checks.make(Type="CALCULATED", ChildHealthChecks=[plain, tcp, missing], HealthThreshold=2)
        # The host listens at its end of the region's link; it is nobody's endpoint.
        own = socket.create_server(("198.18.255.254", 0))
        host_check = checks.make(Type="TCP", IPAddress="198.18.255.254", Port=own.getsockname()[1], RequestInterval=10, FailureThreshold=3)
        equal("a private endpoint", error_code(checks.make, **{**http, "IPAddress": "10.0.0.1"}), "InvalidInput")

        # Records that answer by them.
        def record(name, role, value, check=None):
            extra = {"HealthCheckId": check} if check else {}
            return {"Action": "UPSERT", "ResourceRecordSet": {"Name": name, "Type": "A", "TTL": 1, "SetIdentifier": role, "Failover": role, "ResourceRecords": [{"Value": value}], **extra}}

        by = {"plain": plain, "calculated": both, "inverted": inverted, "missing": missing}
        r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
            change for label, check in by.items() for change in (record(f"{label}.shop.test", "PRIMARY", address, check), record(f"{label}.shop.test", "SECONDARY", SECONDARY))]})
        answer = lambda label: region.resolve(f"{label}.shop.test")[1]
        becomes = lambda label, value: wait(f"{label} leads to {value}", lambda: answer(label) == [value], 30)
        for check, text in ((plain, "Success: HTTP Status Code 200, OK"), (tcp, "Success"), (matching, "Success: HTTP Status Code 200, OK"),
                            (missing, "Failure: HTTP Status Code 200, OK"), (host_check, "Failure")):
            checks.all_say(check, text)
        own.close()
        checks.all_say(named, "Success: HTTP Status Code 200, OK. Resolved IP: ", 6)
        becomes("plain", address), becomes("calculated", address), becomes("inverted", SECONDARY), becomes("missing", SECONDARY)
        equal("who was seen", {o["IPAddress"].rsplit(".", 2)[0] for o in r53.get_health_check_status(HealthCheckId=plain)["HealthCheckObservations"]}, {"198.18"})

        # The load balancer's security group decides who may look.
        world = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        ec2.revoke_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=world)
        becomes("plain", SECONDARY), becomes("calculated", SECONDARY), becomes("inverted", address)
        checks.all_say(tcp, "Failure: Connection timed out")
        ranges = [r for r in r53.get_checker_ip_ranges()["CheckerIpRanges"] if ":" not in r]
        checkers = [{**world[0], "IpRanges": [{"CidrIp": r} for r in ranges]}]
        ec2.authorize_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=checkers)
        becomes("plain", address), becomes("calculated", address)
        equal("anybody else", http_get(address, "/health", "api.shop.test", timeout=1)[0], 0)
        ec2.authorize_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=world)

        # The targets die: how long until the answer changes?
        checks.all_say(plain, "Success")
        ecs.update_service(cluster="orders", service="orders", desiredCount=0)
        wait("nobody serves", lambda: http_get(address, "/health", "api.shop.test")[0] == 503, 60)
        died = time.monotonic()
        becomes("plain", SECONDARY)
        took = time.monotonic() - died
        print(f"targets dead to failover: {took:.2f} s; interval x threshold is {10 / 20 * 3:.2f} s")
        why = {o["StatusReport"]["Status"] for o in r53.get_health_check_last_failure_reason(HealthCheckId=plain)["HealthCheckObservations"]}
        assert "Failure: HTTP Status Code 503, Service Unavailable" in why, why

        # Without checkers the last word stands, and they go on where they were.
        os.kill(region.pid("services"), signal.SIGKILL)
        checks.all_say(plain, "Failure")
        equal("after the checkers' end", answer("plain"), [SECONDARY])
        ecs.update_service(cluster="orders", service="orders", desiredCount=2)
        becomes("plain", address)

        # A disabled check looks at nothing and is healthy; an update is seen at once.
        r53.update_health_check(HealthCheckId=missing, Disabled=True)
        becomes("missing", address)
        r53.update_health_check(HealthCheckId=inverted, Inverted=False)
        becomes("inverted", address)

        def counted(metric, **more):
            found = cloudwatch.get_metric_statistics(Namespace="AWS/Route53", MetricName=metric, Dimensions=[{"Name": n, "Value": v} for n, v in more.items()],
                                                     StartTime=time.time() - 3600, EndTime=time.time() + 60, Period=60, Statistics=["Minimum", "Maximum"])["Datapoints"]
            return found and (min(p["Minimum"] for p in found), max(p["Maximum"] for p in found))
        # What it was between two reports is nobody's to see.
        wait("its status is known", lambda: (c := counted("HealthCheckStatus", HealthCheckId=plain)) and c[1] == 1, 30)
        wait("its latency was measured", lambda: counted("ConnectionTime", HealthCheckId=plain, Region="us-east-1"), 30)
        wait("children are counted", lambda: counted("ChildHealthCheckHealthyCount", HealthCheckId=both), 30)

        # Deleted while records name it: they count as healthy (fact ROUTE-6).
        r53.delete_health_check(HealthCheckId=missing)
        equal("a check that is gone", error_code(r53.get_health_check, HealthCheckId=missing), "NoSuchHealthCheck")
        equal("its records", answer("missing"), [address])
