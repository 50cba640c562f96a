"""Two of AWS's own tutorials (a Fargate service, an Application Load Balancer) typed into the AWS CLI, with its waiters,
and every listing with filters, queries and pages."""
import json, os, shutil, subprocess, time
from host import busybox_layer, docker_archive, equal, http_get, wait

SERVE = "while true; do printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok' | nc -l -p 80 >/dev/null; done"
ASSUME = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]})


class Cli:
    """The `aws` command with this region's endpoint and no settings of the machine's."""

    def __init__(self, region, folder):
        self.calls, self.folder = 0, folder
        self.environment = {
            **os.environ, "AWS_ENDPOINT_URL": region.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": ""}

    def raw(self, *arguments):
        self.calls += 1
        return subprocess.run(["aws", *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, line, *more):
        """Runs the words of the line and then `more`; gives the JSON, or the text where the line asks for text."""
        done = self.raw(*line.split(), *more)
        assert done.returncode == 0, f"aws {line} {more}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        if "--output text" in line:
            return done.stdout.strip()
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, line, code):
        done = self.raw(*line.split())
        assert done.returncode in (254, 255) and code in done.stderr, f"aws {line}: exit {done.returncode}, {done.stderr}"

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(content)
        return "file://" + path


def network(aws):
    """The VPC tutorial: subnets in two zones, a gateway, a route, a group."""
    vpc = aws("ec2 create-vpc --cidr-block 10.40.0.0/16 --tag-specifications ResourceType=vpc,Tags=[{Key=Name,Value=tutorial}] --query Vpc.VpcId --output text")
    aws(f"ec2 wait vpc-available --vpc-ids {vpc}")
    aws(f"ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-hostnames")
    equal("enableDnsHostnames", aws(f"ec2 describe-vpc-attribute --vpc-id {vpc} --attribute enableDnsHostnames")["EnableDnsHostnames"], {"Value": True})
    zones = aws("ec2 describe-availability-zones --filters Name=state,Values=available --query AvailabilityZones[].ZoneName")
    subnets = [aws(f"ec2 create-subnet --vpc-id {vpc} --cidr-block 10.40.{n}.0/24 --availability-zone {zones[n]} --query Subnet.SubnetId --output text") for n in range(2)]
    aws(f"ec2 wait subnet-available --subnet-ids {' '.join(subnets)}")
    gateway = aws("ec2 create-internet-gateway --query InternetGateway.InternetGatewayId --output text")
    aws(f"ec2 wait internet-gateway-exists --internet-gateway-ids {gateway}")
    aws(f"ec2 attach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    table = aws(f"ec2 describe-route-tables --filters Name=vpc-id,Values={vpc} Name=association.main,Values=true --query RouteTables[0].RouteTableId --output text")
    equal("return", aws(f"ec2 create-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0 --gateway-id {gateway}"), {"Return": True})
    for subnet in subnets:
        aws(f"ec2 modify-subnet-attribute --subnet-id {subnet} --map-public-ip-on-launch")
    group = aws(f"ec2 create-security-group --group-name web --vpc-id {vpc} --query GroupId --output text --description", "HTTP from anywhere")
    aws(f"ec2 wait security-group-exists --group-ids {group}")
    rule = aws(f"ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port 80 --cidr 0.0.0.0/0")
    assert rule["Return"] and rule["SecurityGroupRules"][0]["SecurityGroupRuleId"].startswith("sgr-"), rule
    aws.refused(f"ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port 80 --cidr 0.0.0.0/0", "InvalidPermission.Duplicate")
    aws(f"ec2 authorize-security-group-ingress --group-id {group} --ip-permissions IpProtocol=tcp,FromPort=8443,ToPort=8443,UserIdGroupPairs=[{{GroupId={group}}}]")
    aws(f"ec2 revoke-security-group-ingress --group-id {group} --protocol tcp --port 8443 --source-group {group}")
    aws(f"ec2 create-tags --resources {gateway} {group} --tags Key=Name,Value=tutorial Key=Team,Value=shop")
    aws(f"ec2 delete-tags --resources {gateway} --tags Key=Team")
    return vpc, subnets, gateway, table, group


def fargate(aws, subnets, group):
    """Creating an Amazon ECS Linux task for Fargate with the CLI: up to the address of the task."""
    aws("ecs create-cluster --cluster-name tutorial")
    role = aws("iam create-role --role-name ecsTaskExecutionRole --assume-role-policy-document", aws.file("assume.json", ASSUME))["Role"]["Arn"]
    aws("iam wait role-exists --role-name ecsTaskExecutionRole")
    aws("iam attach-role-policy --role-name ecsTaskExecutionRole --policy-arn arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    aws("logs create-log-group --log-group-name /ecs/tutorial")
    definition = {
        "family": "sample-fargate", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512", "executionRoleArn": role,
        "containerDefinitions": [{
            "name": "fargate-app", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/web:1", "essential": True, "entryPoint": ["sh", "-c"],
            "command": ["echo started; " + SERVE], "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/tutorial", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "web"}}}]}
    made = aws("ecs register-task-definition --cli-input-json", aws.file("definition.json", json.dumps(definition)))["taskDefinition"]
    assert made["taskDefinitionArn"].endswith(":task-definition/sample-fargate:1") and made["status"] == "ACTIVE", made
    equal("definitions", aws("ecs list-task-definitions")["taskDefinitionArns"], [made["taskDefinitionArn"]])
    aws(f"ecs create-service --cluster tutorial --service-name fargate-service --task-definition sample-fargate --desired-count 1 --launch-type FARGATE --network-configuration",
        f"awsvpcConfiguration={{subnets=[{','.join(subnets)}],securityGroups=[{group}],assignPublicIp=ENABLED}}")
    equal("services", len(aws("ecs list-services --cluster tutorial")["serviceArns"]), 1)
    aws("ecs wait services-stable --cluster tutorial --services fargate-service")
    service = aws("ecs describe-services --cluster tutorial --services fargate-service")["services"][0]
    equal("running", (service["runningCount"], service["pendingCount"], len(service["deployments"])), (1, 0, 1))
    task = aws("ecs list-tasks --cluster tutorial --service-name fargate-service --query taskArns[0] --output text")
    aws(f"ecs wait tasks-running --cluster tutorial --tasks {task}")
    eni = aws(f"ecs describe-tasks --cluster tutorial --tasks {task} --output text --query", "tasks[0].attachments[0].details[?name=='networkInterfaceId'].value | [0]")
    address = aws(f"ec2 describe-network-interfaces --network-interface-ids {eni} --query NetworkInterfaces[0].Association.PublicIp --output text")
    equal("the task by its public address", wait("the task answers", lambda: (a := http_get(address))[0] == 200 and a, 20), (200, "ok"))
    equal("its log", aws("logs filter-log-events --log-group-name /ecs/tutorial --query events[].message"), ["started"])
    stream = aws("logs describe-log-streams --log-group-name /ecs/tutorial --query logStreams[0].logStreamName --output text")
    equal("its stream", aws(f"logs get-log-events --log-group-name /ecs/tutorial --log-stream-name {stream} --query events[].message"), ["started"])

    aws("ecs update-service --cluster tutorial --service fargate-service --desired-count 2")
    aws("ecs wait services-stable --cluster tutorial --services fargate-service")
    equal("tasks", len(aws("ecs list-tasks --cluster tutorial --desired-status RUNNING")["taskArns"]), 2)
    ran = aws("ecs run-task --cluster tutorial --task-definition sample-fargate:1 --launch-type FARGATE --network-configuration",
              f"awsvpcConfiguration={{subnets=[{subnets[0]}],securityGroups=[{group}],assignPublicIp=ENABLED}}",
              "--overrides", json.dumps({"containerOverrides": [{"name": "fargate-app", "command": ["exit 3"]}]}))["tasks"][0]["taskArn"]
    aws(f"ecs wait tasks-stopped --cluster tutorial --tasks {ran}")
    equal("exit code", aws(f"ecs describe-tasks --cluster tutorial --tasks {ran} --query tasks[0].containers[0].exitCode"), 3)


def balancer(aws, vpc, subnets, group):
    """Getting started with Application Load Balancers using the CLI, in front of the tasks' addresses."""
    arn = aws(f"elbv2 create-load-balancer --name my-load-balancer --subnets {' '.join(subnets)} --security-groups {group} --query LoadBalancers[0].LoadBalancerArn --output text")
    targets = aws(f"elbv2 create-target-group --name my-targets --protocol HTTP --port 80 --vpc-id {vpc} --target-type ip --health-check-interval-seconds 5 "
                  "--health-check-timeout-seconds 2 --healthy-threshold-count 2 --query TargetGroups[0].TargetGroupArn --output text")
    addresses = aws("ec2 describe-network-interfaces --filters Name=interface-type,Values=network_interface Name=description,Values=arn:aws:ecs:* --query NetworkInterfaces[].PrivateIpAddress")
    tasks = aws("ecs list-tasks --cluster tutorial --query taskArns")
    addresses = aws("ecs describe-tasks --cluster tutorial --tasks " + " ".join(tasks), "--query", "tasks[].attachments[].details[?name=='privateIPv4Address'].value[]")
    equal("addresses of two tasks", len(addresses), 2)
    aws(f"elbv2 register-targets --target-group-arn {targets} --targets " + " ".join(f"Id={a}" for a in addresses))
    aws(f"elbv2 wait load-balancer-available --load-balancer-arns {arn}")
    aws(f"elbv2 wait load-balancer-exists --names my-load-balancer")
    listener = aws(f"elbv2 create-listener --load-balancer-arn {arn} --protocol HTTP --port 80 --default-actions Type=forward,TargetGroupArn={targets} --query Listeners[0].ListenerArn --output text")
    aws(f"elbv2 wait target-in-service --target-group-arn {targets}")
    health = aws(f"elbv2 describe-target-health --target-group-arn {targets}")["TargetHealthDescriptions"]
    equal("health", sorted((h["Target"]["Id"], h["TargetHealth"]["State"], h["HealthCheckPort"]) for h in health), sorted((a, "healthy", "80") for a in addresses))

    fixed = aws(f"elbv2 create-rule --listener-arn {listener} --priority 10 --conditions Field=path-pattern,Values=/img/* --actions", json.dumps([{
        "Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": "no images"}}]))["Rules"][0]["RuleArn"]
    moved = aws(f"elbv2 create-rule --listener-arn {listener} --priority 5 --conditions Field=host-header,Values=old.test --actions", json.dumps([{
        "Type": "redirect", "RedirectConfig": {"Host": "new.test", "StatusCode": "HTTP_302"}}]))["Rules"][0]["RuleArn"]
    equal("priorities", aws(f"elbv2 describe-rules --listener-arn {listener} --query Rules[].Priority"), ["5", "10", "default"])
    aws(f"elbv2 set-rule-priorities --rule-priorities RuleArn={fixed},Priority=3 RuleArn={moved},Priority=4")
    equal("priorities", aws(f"elbv2 describe-rules --listener-arn {listener} --query Rules[].Priority"), ["3", "4", "default"])
    aws.refused(f"elbv2 set-rule-priorities --rule-priorities RuleArn={fixed},Priority=4", "PriorityInUse")
    aws(f"elbv2 modify-rule --rule-arn {fixed} --conditions Field=path-pattern,Values=/pictures/*")
    aws(f"elbv2 modify-load-balancer-attributes --load-balancer-arn {arn} --attributes Key=idle_timeout.timeout_seconds,Value=30")
    aws(f"elbv2 modify-target-group-attributes --target-group-arn {targets} --attributes Key=deregistration_delay.timeout_seconds,Value=5")
    aws(f"elbv2 add-tags --resource-arns {arn} {targets} --tags Key=Team,Value=shop")
    equal("tags", aws(f"elbv2 describe-tags --resource-arns {arn} --query TagDescriptions[0].Tags"), [{"Key": "Team", "Value": "shop"}])

    name = aws(f"elbv2 describe-load-balancers --load-balancer-arns {arn}")["LoadBalancers"][0]
    zone = aws("route53 create-hosted-zone --name tutorial.test --caller-reference 1")["HostedZone"]["Id"]
    change = aws(f"route53 change-resource-record-sets --hosted-zone-id {zone} --change-batch", aws.file("change.json", json.dumps({"Changes": [{
        "Action": "UPSERT", "ResourceRecordSet": {"Name": "www.tutorial.test", "Type": "A", "AliasTarget": {
            "HostedZoneId": name["CanonicalHostedZoneId"], "DNSName": name["DNSName"], "EvaluateTargetHealth": False}}}]})))["ChangeInfo"]["Id"]
    aws(f"route53 wait resource-record-sets-changed --id {change}")
    return arn, targets, listener, zone, fixed, moved, name


def answers(region):
    addresses = wait("the name answers", lambda: (a := region.resolve("www.tutorial.test")[1]) and len(a) == 2 and a)
    for address in addresses:
        equal("forward", wait("the load balancer answers", lambda: (a := http_get(address, host="www.tutorial.test"))[0] == 200 and a), (200, "ok"))
        equal("fixed response", http_get(address, "/pictures/cat", "www.tutorial.test"), (404, "no images"))
        equal("redirect", http_get(address, "/", "old.test")[0], 302)


def listings(aws, vpc, subnets, group, arn, targets, listener, zone):
    """Every listing: all of it, filtered, by pages of its own, cut off."""
    for line, key, least in (
        ("ec2 describe-vpcs", "Vpcs", 1), ("ec2 describe-subnets", "Subnets", 2), ("ec2 describe-security-groups", "SecurityGroups", 2),
        ("ec2 describe-security-group-rules", "SecurityGroupRules", 3), ("ec2 describe-internet-gateways", "InternetGateways", 1),
        ("ec2 describe-route-tables", "RouteTables", 1), ("ec2 describe-network-acls", "NetworkAcls", 1), ("ec2 describe-network-interfaces", "NetworkInterfaces", 4),
        ("ec2 describe-nat-gateways", "NatGateways", 0), ("ec2 describe-dhcp-options", "DhcpOptions", 0), ("ec2 describe-tags", "Tags", 4),
        ("elbv2 describe-load-balancers", "LoadBalancers", 1), ("elbv2 describe-target-groups", "TargetGroups", 1), (f"elbv2 describe-listeners --load-balancer-arn {arn}", "Listeners", 1),
        (f"elbv2 describe-rules --listener-arn {listener}", "Rules", 3), ("elbv2 describe-ssl-policies", "SslPolicies", 1), ("elbv2 describe-account-limits", "Limits", 1),
        ("ecs list-clusters", "clusterArns", 1), ("ecs list-services --cluster tutorial", "serviceArns", 1), ("ecs list-tasks --cluster tutorial", "taskArns", 2),
        ("ecs list-task-definitions", "taskDefinitionArns", 1), ("ecs list-task-definition-families", "families", 1), ("ecr describe-repositories", "repositories", 1),
        ("ecr describe-images --repository-name web", "imageDetails", 1), ("ecr list-images --repository-name web", "imageIds", 1), ("route53 list-hosted-zones", "HostedZones", 1),
        (f"route53 list-resource-record-sets --hosted-zone-id {zone}", "ResourceRecordSets", 3), ("iam list-roles", "Roles", 1), ("iam list-policies --scope AWS", "Policies", 1),
        ("logs describe-log-groups", "logGroups", 1), ("logs describe-log-streams --log-group-name /ecs/tutorial", "logStreams", 2),
    ):
        whole = aws(line)[key]
        assert len(whole) >= least, f"{line}: {len(whole)}"
        size = 5 if line.startswith("ec2") else 1
        if len(whole) > 1:
            sized = "" if line.startswith("elbv2") else f"--page-size {size}"  # the CLI takes it for a plain parameter there
            cut = aws(f"{line} {sized} --max-items 1")
            assert len(cut[key]) == 1 and cut.get("NextToken"), f"{line}: {cut}"
            rest = aws(f"{line} {sized} --starting-token {cut['NextToken']}")[key]
            equal(f"{line} resumed", len(rest), len(whole) - 1)
    for line, expected in (
        (f"ec2 describe-vpcs --filters Name=tag:Name,Values=tut* Name=cidr,Values=10.40.0.0/16 --query Vpcs[].VpcId", [vpc]),
        (f"ec2 describe-vpcs --filters Name=tag:Name,Values=nobody --query Vpcs[].VpcId", []),
        (f"ec2 describe-subnets --filters Name=vpc-id,Values={vpc} Name=availability-zone,Values=us-east-1a --query Subnets[].SubnetId", subnets[:1]),
        (f"ec2 describe-security-groups --filters Name=group-name,Values=web Name=ip-permission.from-port,Values=80 --query SecurityGroups[].GroupId", [group]),
        (f"ec2 describe-security-group-rules --filters Name=group-id,Values={group} --query SecurityGroupRules[?IsEgress==`false`].FromPort", [80]),
        (f"ec2 describe-network-interfaces --filters Name=group-id,Values={group} Name=description,Values=ELB* --query length(NetworkInterfaces)", 2),
        (f"ec2 describe-tags --filters Name=resource-id,Values={vpc} Name=key,Values=Name --query Tags[].Value", ["tutorial"]),
        (f"ec2 describe-regions --region-names us-east-1 --query Regions[].RegionName", ["us-east-1"]),
        (f"elbv2 describe-target-groups --load-balancer-arn {arn} --query TargetGroups[].TargetGroupArn", [targets]),
        ("route53 list-hosted-zones-by-name --dns-name tutorial.test --query HostedZones[].Name", ["tutorial.test."]),
        ("logs describe-log-groups --log-group-name-prefix /ecs/ --query logGroups[].logGroupName", ["/ecs/tutorial"]),
        ("ecs describe-clusters --clusters tutorial --include STATISTICS SETTINGS TAGS --query clusters[0].runningTasksCount", 2),
        ("sts get-caller-identity --query Account", "000000000000"),
    ):
        equal(line, aws(line), expected)
    aws.refused("ec2 describe-vpcs --vpc-ids vpc-0123456789abcdef0", "InvalidVpcID.NotFound")
    aws.refused("ec2 describe-vpcs --dry-run", "DryRunOperation")
    aws.refused("elbv2 describe-load-balancers --names nobody", "LoadBalancerNotFound")
    aws.refused("iam get-role --role-name nobody", "NoSuchEntity")
    aws.refused("ecs describe-services --cluster nobody --services x", "ClusterNotFoundException")
    aws.refused("route53 get-hosted-zone --id Z0NOBODY", "NoSuchHostedZone")
    assert aws("ecr get-login-password --output text")


def taken_down(aws, made, vpc, subnets, gateway, table, group):
    arn, targets, listener, zone, fixed, moved, name = made
    aws(f"elbv2 delete-rule --rule-arn {moved}")
    aws.refused(f"elbv2 delete-target-group --target-group-arn {targets}", "ResourceInUse")
    aws(f"elbv2 delete-listener --listener-arn {listener}")
    aws(f"elbv2 delete-load-balancer --load-balancer-arn {arn}")
    aws(f"elbv2 wait load-balancers-deleted --load-balancer-arns {arn}")
    aws(f"elbv2 delete-target-group --target-group-arn {targets}")
    aws(f"route53 change-resource-record-sets --hosted-zone-id {zone} --change-batch", json.dumps({"Changes": [{
        "Action": "DELETE", "ResourceRecordSet": {"Name": "www.tutorial.test", "Type": "A", "AliasTarget": {
            "HostedZoneId": name["CanonicalHostedZoneId"], "DNSName": name["DNSName"], "EvaluateTargetHealth": False}}}]}))
    aws(f"route53 delete-hosted-zone --id {zone}")
    aws("ecs delete-service --cluster tutorial --service fargate-service --force")
    aws("ecs wait services-inactive --cluster tutorial --services fargate-service")
    # A service is inactive when its last task stops; the cluster lets go of it when it has stopped.
    wait("the cluster can be deleted", lambda: aws.raw("ecs", "delete-cluster", "--cluster", "tutorial").returncode == 0)
    aws("ecs deregister-task-definition --task-definition sample-fargate:1")
    aws("ecr delete-repository --repository-name web --force")
    aws("iam detach-role-policy --role-name ecsTaskExecutionRole --policy-arn arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    aws("iam delete-role --role-name ecsTaskExecutionRole")
    aws("logs delete-log-group --log-group-name /ecs/tutorial")
    wait("the group is free", lambda: not aws(f"ec2 describe-network-interfaces --filters Name=group-id,Values={group}")["NetworkInterfaces"])
    aws(f"ec2 delete-security-group --group-id {group}")
    for subnet in subnets:
        aws(f"ec2 delete-subnet --subnet-id {subnet}")
    aws(f"ec2 delete-route --route-table-id {table} --destination-cidr-block 0.0.0.0/0")
    aws(f"ec2 detach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    aws(f"ec2 delete-internet-gateway --internet-gateway-id {gateway}")
    aws(f"ec2 delete-vpc --vpc-id {vpc}")


def private_network(aws):
    """A NAT gateway, an ACL, DHCP options and an interface, with the waiters that only they have."""
    vpc = aws("ec2 create-vpc --cidr-block 10.41.0.0/16 --query Vpc.VpcId --output text")
    subnet = aws(f"ec2 create-subnet --vpc-id {vpc} --cidr-block 10.41.0.0/24 --query Subnet.SubnetId --output text")
    gateway = aws("ec2 create-internet-gateway --query InternetGateway.InternetGatewayId --output text")
    aws(f"ec2 attach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    address = aws("ec2 allocate-address --domain vpc --query AllocationId --output text")
    nat = aws(f"ec2 create-nat-gateway --subnet-id {subnet} --allocation-id {address} --query NatGateway.NatGatewayId --output text")
    aws(f"ec2 wait nat-gateway-available --nat-gateway-ids {nat}")
    acl = aws(f"ec2 create-network-acl --vpc-id {vpc} --query NetworkAcl.NetworkAclId --output text")
    aws(f"ec2 create-network-acl-entry --network-acl-id {acl} --ingress --rule-number 100 --protocol tcp --port-range From=80,To=80 --cidr-block 0.0.0.0/0 --rule-action allow")
    aws(f"ec2 delete-network-acl-entry --network-acl-id {acl} --ingress --rule-number 100")
    options = aws("ec2 create-dhcp-options --dhcp-configurations Key=domain-name,Values=example.test --query DhcpOptions.DhcpOptionsId --output text")
    aws(f"ec2 associate-dhcp-options --dhcp-options-id {options} --vpc-id {vpc}")
    aws(f"ec2 associate-dhcp-options --dhcp-options-id default --vpc-id {vpc}")
    eni = aws(f"ec2 create-network-interface --subnet-id {subnet} --query NetworkInterface.NetworkInterfaceId --output text")
    aws(f"ec2 wait network-interface-available --network-interface-ids {eni}")
    aws.refused(f"ec2 delete-subnet --subnet-id {subnet}", "DependencyViolation")
    aws(f"ec2 delete-network-interface --network-interface-id {eni}")
    aws(f"ec2 delete-nat-gateway --nat-gateway-id {nat}")
    aws(f"ec2 wait nat-gateway-deleted --nat-gateway-ids {nat}")
    aws(f"ec2 release-address --allocation-id {address}")
    aws(f"ec2 delete-network-acl --network-acl-id {acl}")
    aws(f"ec2 delete-dhcp-options --dhcp-options-id {options}")
    aws(f"ec2 detach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc}")
    aws(f"ec2 delete-internet-gateway --internet-gateway-id {gateway}")
    aws(f"ec2 delete-subnet --subnet-id {subnet}")
    aws(f"ec2 delete-vpc --vpc-id {vpc}")


def scenario(host):
    if not shutil.which("aws"):
        print("note: the AWS CLI is not on this machine; nothing was tested")
        return
    with host.region("--speed", "20") as region:
        aws = Cli(region, host.folder)
        path = os.path.join(host.folder, "web.tar")
        docker_archive(path, "web:1", [busybox_layer()])
        region.cli("image", "load", path)
        private_network(aws)
        vpc, subnets, gateway, table, group = network(aws)
        fargate(aws, subnets, group)
        made = balancer(aws, vpc, subnets, group)
        arn, targets, listener, zone = made[:4]
        answers(region)
        listings(aws, vpc, subnets, group, arn, targets, listener, zone)
        taken_down(aws, made, vpc, subnets, gateway, table, group)
        status = region.status()
        assert status["empty"], status["resources"]
        print(f"{aws.calls} commands; unbuilt operations called: {status['unbuilt_operations_called']}")
