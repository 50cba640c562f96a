"""`fogbank reach` and the Reachability Analyzer say what real packets find, name what decides, and the call they advise opens it."""
import json, os, subprocess
from host import equal, wait


def scenario(host):
    with host.region("--speed", "10") as region:
        shop = host.shop(region)
        ec2, ecs = region.clients("ec2", "ecs")

        def ask(source, destination, *options):
            done = subprocess.run([host.fogbank, "reach", source, destination, *options, "--json", "--instance", region.instance],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert done.returncode in (0, 1), (done.returncode, done.stderr)
            answer = json.loads(done.stdout)
            equal("exit code", done.returncode, 0 if answer["reachable"] else 1)
            return answer

        def codes(answer):
            return [e["code"] for e in answer["explanations"]]

        def follow(answer):
            """Does what the answer advises, through the AWS CLI."""
            remedy = next(e["remedy"] for e in answer["explanations"] if e["remedy"])
            environment = {**os.environ, "AWS_ENDPOINT_URL": region.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                           "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
            done = subprocess.run(remedy, shell=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            equal(f"exit code of: {remedy}\n{done.stdout}", done.returncode, 0)

        arns = ecs.list_tasks(cluster="orders")["taskArns"]
        one, two = ecs.describe_tasks(cluster="orders", tasks=arns)["tasks"]
        eni = lambda task: next(d["value"] for d in task["attachments"][0]["details"] if d["name"] == "networkInterfaceId")
        short = one["taskArn"].rsplit("/", 1)[1]

        # The whole way that works: from the internet to the load balancer, from there to a task.
        answer = ask("internet", "orders:80")
        equal("internet to the load balancer", answer["reachable"], True)
        passed = [h["component"]["id"].split("-")[0] for h in answer["forward"]]
        assert {"igw", "acl", "sg", "eni"} <= set(passed), passed
        answer = ask("orders", f"{short}:8080")
        equal("the load balancer to a task", answer["reachable"], True)
        assert any(h["decided_by"] and "group_rule" in h["decided_by"] for h in answer["forward"]), answer["forward"]
        text = region.cli("reach", "orders", f"{short}:8080")
        assert ": reachable" in text and "ingress rule sgr-" in text, text

        # Groups: a task may not reach the other, until the advised call.
        answer = ask(short, f"{eni(two)}:8080")
        equal("task to task", (answer["reachable"], codes(answer)), (False, ["ENI_SG_RULES_MISMATCH"]))
        follow(answer)
        equal("after the advised call", ask(short, f"{eni(two)}:8080")["reachable"], True)

        # No way from outside to a task in a private subnet; the task gets out by NAT.
        equal("internet to a private task", ask("internet", f"{short}:8080")["reachable"], False)
        out = ask(short, "203.0.113.9:443")
        assert any(h["component"]["id"].startswith("nat-") for h in out["forward"]), out["forward"]
        equal("to AWS's services", ask(short, "ecr.api:443")["reachable"], True)

        # Network ACLs, both directions, and the reply's.
        acl = next(a for a in ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [shop.vpc]}])["NetworkAcls"] if a["IsDefault"])["NetworkAclId"]
        deny = dict(NetworkAclId=acl, RuleNumber=90, Egress=True)
        ec2.create_network_acl_entry(**deny, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0", PortRange={"From": 8080, "To": 8080})
        answer = ask("orders", f"{short}:8080")
        equal("an outbound deny", (answer["reachable"], codes(answer)), (False, ["SUBNET_ACL_RESTRICTION"]))
        follow(answer)
        equal("after the advised call", ask("orders", f"{short}:8080")["reachable"], True)
        ec2.delete_network_acl_entry(**deny)
        ec2.create_network_acl_entry(**deny, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0", PortRange={"From": 49152, "To": 65535})
        answer = ask("orders", f"{short}:8080")
        equal("a deny of the replies", (answer["reachable"], codes(answer)), (False, ["SUBNET_ACL_RESTRICTION"]))
        assert "reply" in answer["explanations"][0]["text"], answer["explanations"]
        ec2.delete_network_acl_entry(**deny)

        # Routes: none, and a dead one.
        table = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [shop.private[0]]}])["RouteTables"][0]["RouteTableId"]
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
        answer = ask(short, "203.0.113.9:443")
        equal("no route", (answer["reachable"], codes(answer)), (False, ["NO_ROUTE_TO_DESTINATION"]))
        follow(answer)
        equal("an address that nobody has", codes(ask(short, "10.20.10.250:80")), ["NO_POSSIBLE_DESTINATION"])

        # The analyzer tells the same.
        def analyse(source, destination, port):
            path = ec2.create_network_insights_path(Source=source, Destination=destination, Protocol="tcp", DestinationPort=port)["NetworkInsightsPath"]["NetworkInsightsPathId"]
            started = ec2.start_network_insights_analysis(NetworkInsightsPathId=path)["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]
            return wait("the analysis ends", lambda: (a := ec2.describe_network_insights_analyses(NetworkInsightsAnalysisIds=[started])["NetworkInsightsAnalyses"][0])["Status"] != "running" and a)
        found = analyse(eni(one), eni(two), 8080)
        equal("analysed", (found["Status"], found["NetworkPathFound"]), ("succeeded", True))
        assert any("SecurityGroupRule" in c for c in found["ForwardPathComponents"]) and found["ReturnPathComponents"], found
        found = analyse(eni(one), eni(two), 9090)
        equal("analysed, blocked", (found["Status"], found["NetworkPathFound"], [e["ExplanationCode"] for e in found["Explanations"]]), ("succeeded", False, ["ENI_SG_RULES_MISMATCH"]))

        # Bad questions are answered in words, with an exit code of their own.
        for arguments in (["nobody", "internet:80"], [short, "internet"], [short, "10.0.0.1:99999"], ["203.0.113.1", "orders:80"]):
            done = subprocess.run([host.fogbank, "reach", *arguments, "--instance", region.instance], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 2 and done.stderr.strip() and "panicked" not in done.stderr, (arguments, done.returncode, done.stderr)
