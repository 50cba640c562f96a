"""Every waiter and every paginator that boto3 has for what is served: pages of any size add up to the whole, resume
where they stopped, and waiters end, both ways."""
import hashlib, json, os
from botocore import xform_name
from botocore.exceptions import ClientError, WaiterError
from host import busybox_layer, docker_archive, error_code, wait

ASSUME = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}]})
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecs:*", "Resource": "*"}]})


class Walk:
    """Pages through operations and waits, and notes which. What goes wrong is collected: one run shows all of it."""

    def __init__(self):
        self.paged, self.waited, self.wrong = set(), set(), []

    def fault(self, text):
        print(f"wrong: {text}", flush=True)
        self.wrong.append(text)

    def equal(self, what, found, expected):
        if found != expected:
            self.fault(f"{what}: found {found!r}, expected {expected!r}")

    def items(self, client, operation, key, pages=None, **arguments):
        found = []
        for page in client.get_paginator(operation).paginate(**arguments):
            found += [json.dumps(item, default=str, sort_keys=True) for item in page.get(key, [])]
            if pages is not None:
                pages.append(len(page.get(key, [])))
        return found

    def page(self, client, operation, key, size=1, at_least=3, **arguments):
        """The pages together are the listing in one piece, and can be resumed anywhere."""
        name = f"{client.meta.service_model.service_name}.{operation}"
        self.paged.add(name)
        try:
            self.try_page(client, name, operation, key, size, at_least, arguments)
        except (AssertionError, ClientError) as e:
            self.fault(f"{name}: {e}")

    def try_page(self, client, name, operation, key, size, at_least, arguments):
        whole = self.items(client, operation, key, **arguments)
        assert len(whole) >= at_least, f"{name}: only {len(whole)} items"
        assert len(set(whole)) == len(whole), f"{name}: an item twice"
        sizes = []
        found = self.items(client, operation, key, sizes, **arguments, PaginationConfig={"PageSize": size})
        self.equal(f"{name} by pages of {size}", sorted(found), sorted(whole))
        assert max(sizes) <= size and len(sizes) >= len(whole) // size, f"{name}: pages of {sizes}"
        first = client.get_paginator(operation).paginate(**arguments, PaginationConfig={"PageSize": size, "MaxItems": 2}).build_full_result()
        assert first.get("NextToken"), f"{name}: no token after 2 of {len(whole)}"
        rest = client.get_paginator(operation).paginate(**arguments, PaginationConfig={"PageSize": size, "StartingToken": first["NextToken"]}).build_full_result()
        self.equal(f"{name} resumed", [json.dumps(i, default=str, sort_keys=True) for i in first[key] + rest[key]], found)

    def wait(self, client, waiter, good=True, attempts=100, **arguments):
        name = f"{client.meta.service_model.service_name}.{waiter}"
        self.waited.add(name)
        try:
            client.get_waiter(waiter).wait(**arguments, WaiterConfig={"Delay": 0.2, "MaxAttempts": attempts})
            ended = True
        except WaiterError as e:
            ended = False
            if good:
                self.fault(f"{name}: {e} {json.dumps(e.last_response, default=str)[:1500]}")
        if ended and not good:
            self.fault(f"{name}: ended well with {arguments}")


def network(walk, ec2):
    vpcs = [ec2.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"] for n in range(5)]
    vpc = vpcs[0]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone="us-east-1" + "ab"[n % 2])["Subnet"]["SubnetId"] for n in range(6)]
    groups = [ec2.create_security_group(GroupName=f"g{n}", Description="d", VpcId=vpc)["GroupId"] for n in range(6)]
    gateways = [ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"] for _ in range(5)]
    ec2.attach_internet_gateway(InternetGatewayId=gateways[0], VpcId=vpc)
    main = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}])["RouteTables"][0]["RouteTableId"]
    ec2.create_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateways[0])  # for the tasks, to their registry
    tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(6)]
    acls = [ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"] for _ in range(6)]
    options = [ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": [f"d{n}.test"]}])["DhcpOptions"]["DhcpOptionsId"] for n in range(6)]
    enis = [ec2.create_network_interface(SubnetId=subnets[0], Groups=[groups[0]])["NetworkInterface"]["NetworkInterfaceId"] for _ in range(6)]
    addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(3)]
    nats = [ec2.create_nat_gateway(SubnetId=subnets[n], AllocationId=addresses[n])["NatGateway"]["NatGatewayId"] for n in range(3)]
    nats += [ec2.create_nat_gateway(SubnetId=subnets[n], ConnectivityType="private")["NatGateway"]["NatGatewayId"] for n in range(3)]
    ec2.authorize_security_group_ingress(GroupId=groups[0], IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": p, "ToPort": p, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]} for p in range(80, 86)])
    ec2.create_tags(Resources=vpcs, Tags=[{"Key": "Name", "Value": "waiters"}])

    walk.wait(ec2, "vpc_available", VpcIds=vpcs)
    walk.wait(ec2, "vpc_exists", VpcIds=vpcs)
    walk.wait(ec2, "vpc_exists", good=False, attempts=2, VpcIds=["vpc-0123456789abcdef0"])
    walk.wait(ec2, "subnet_available", SubnetIds=subnets)
    walk.wait(ec2, "security_group_exists", GroupIds=groups)
    walk.wait(ec2, "internet_gateway_exists", InternetGatewayIds=gateways)
    walk.wait(ec2, "network_interface_available", NetworkInterfaceIds=enis)
    walk.wait(ec2, "network_interface_available", good=False, attempts=2, NetworkInterfaceIds=["eni-0123456789abcdef0"])
    walk.wait(ec2, "nat_gateway_available", NatGatewayIds=nats)
    walk.wait(ec2, "nat_gateway_available", good=False, attempts=2, NatGatewayIds=["nat-0123456789abcdef0"])

    walk.page(ec2, "describe_vpcs", "Vpcs", 5, 5)
    walk.page(ec2, "describe_subnets", "Subnets", 5, 6, Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    walk.page(ec2, "describe_security_groups", "SecurityGroups", 5, 11)
    walk.page(ec2, "describe_security_group_rules", "SecurityGroupRules", 5, 7, Filters=[{"Name": "group-id", "Values": [groups[0]]}])
    walk.page(ec2, "describe_internet_gateways", "InternetGateways", 5, 5)
    walk.page(ec2, "describe_route_tables", "RouteTables", 5, 11)
    walk.page(ec2, "describe_network_acls", "NetworkAcls", 5, 11)
    walk.page(ec2, "describe_dhcp_options", "DhcpOptions", 5, 6)
    walk.page(ec2, "describe_network_interfaces", "NetworkInterfaces", 5, 11)
    walk.page(ec2, "describe_nat_gateways", "NatGateways", 5, 6)
    walk.page(ec2, "describe_tags", "Tags", 5, 5)
    walk.page(ec2, "describe_addresses_attribute", "Addresses", 1, 0, Attribute="domain-name") if ec2.describe_addresses_attribute(
        Attribute="domain-name")["Addresses"] else walk.paged.add("ec2.describe_addresses_attribute")
    for call in (ec2.describe_vpcs, ec2.describe_nat_gateways, ec2.describe_tags):
        walk.equal("a token of nobody", error_code(call, NextToken="nonsense", MaxResults=5), "InvalidNextToken")

    for nat in nats:
        ec2.delete_nat_gateway(NatGatewayId=nat)
    walk.wait(ec2, "nat_gateway_deleted", NatGatewayIds=nats)
    walk.wait(ec2, "nat_gateway_available", good=False, attempts=2, NatGatewayIds=nats)

    def clean():
        for address in addresses:
            ec2.release_address(AllocationId=address)
        for eni in enis:
            ec2.delete_network_interface(NetworkInterfaceId=eni)
        for subnet in subnets:
            ec2.delete_subnet(SubnetId=subnet)
        for table in tables:
            ec2.delete_route_table(RouteTableId=table)
        for acl in acls:
            ec2.delete_network_acl(NetworkAclId=acl)
        for group in groups:
            ec2.delete_security_group(GroupId=group)
        ec2.detach_internet_gateway(InternetGatewayId=gateways[0], VpcId=vpc)
        for gateway in gateways:
            ec2.delete_internet_gateway(InternetGatewayId=gateway)
        for each in vpcs:
            ec2.delete_vpc(VpcId=each)
        for each in options:
            ec2.delete_dhcp_options(DhcpOptionsId=each)
    return vpc, subnets, groups, clean


def balancers(walk, elb, vpc, subnets, groups):
    """Three load balancers; gives the target group for a service, and what cleans up."""
    made = [elb.create_load_balancer(Name=f"lb{n}", Subnets=subnets[:2], SecurityGroups=[groups[1]])["LoadBalancers"][0]["LoadBalancerArn"] for n in range(3)]
    targets = [elb.create_target_group(Name=f"tg{n}", Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="ip", HealthCheckPath="/health",
                                       HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"] for n in range(3)]
    forward = [{"Type": "forward", "TargetGroupArn": targets[0]}]
    listeners = [elb.create_listener(LoadBalancerArn=made[0], Protocol="HTTP", Port=80 + n, DefaultActions=forward)["Listeners"][0]["ListenerArn"] for n in range(3)]
    for n in range(3):
        elb.create_rule(ListenerArn=listeners[0], Priority=n + 1, Conditions=[{"Field": "path-pattern", "Values": [f"/{n}"]}], Actions=forward)
    walk.wait(elb, "load_balancer_exists", LoadBalancerArns=made)
    walk.wait(elb, "load_balancer_exists", good=False, attempts=2, Names=["nobody"])
    walk.wait(elb, "load_balancer_available", LoadBalancerArns=made)
    walk.page(elb, "describe_load_balancers", "LoadBalancers")
    walk.page(elb, "describe_target_groups", "TargetGroups")
    walk.page(elb, "describe_listeners", "Listeners", LoadBalancerArn=made[0])
    walk.page(elb, "describe_rules", "Rules", ListenerArn=listeners[0])
    walk.page(elb, "describe_account_limits", "Limits", 5)
    walk.page(elb, "describe_ssl_policies", "SslPolicies", 5)
    walk.equal("a marker of nobody", error_code(elb.describe_load_balancers, Marker="nonsense"), "ValidationError")

    def clean():
        for each in made:
            elb.delete_load_balancer(LoadBalancerArn=each)
        walk.wait(elb, "load_balancers_deleted", LoadBalancerArns=made)
        for each in targets:
            elb.delete_target_group(TargetGroupArn=each)
    return targets[0], clean


def containers(walk, host, region, subnets, groups, target):
    ec2, ecs, elb, logs, ecr = region.clients("ec2", "ecs", "elbv2", "logs", "ecr")
    path = os.path.join(host.folder, "walk.tar")
    docker_archive(path, "walk:1", [busybox_layer()])
    region.cli("image", "load", path)
    ec2.authorize_security_group_ingress(GroupId=groups[2], IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}])
    for n in range(3):
        ecs.create_cluster(clusterName=f"c{n}")
    serve = "while true; do printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok' | nc -l -p 8080; done"
    definitions = [ecs.register_task_definition(
        family=f"f{n // 2}", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
        containerDefinitions=[{"name": "main", "image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/walk:1", "essential": True,
                               "command": ["sh", "-c", serve], "portMappings": [{"containerPort": 8080}]}],
        executionRoleArn="arn:aws:iam::000000000000:role/execution")["taskDefinition"]["taskDefinitionArn"] for n in range(6)]
    place = {"awsvpcConfiguration": {"subnets": subnets[:2], "securityGroups": [groups[2]], "assignPublicIp": "ENABLED"}}
    for n in range(3):
        ecs.create_service(cluster="c0", serviceName=f"s{n}", taskDefinition="f0", desiredCount=1 if n == 0 else 0, launchType="FARGATE", networkConfiguration=place,
                           **({"loadBalancers": [{"targetGroupArn": target, "containerName": "main", "containerPort": 8080}]} if n == 0 else {}))
    walk.wait(ecs, "services_stable", attempts=200, cluster="c0", services=["s0", "s1", "s2"])
    walk.wait(ecs, "services_stable", good=False, attempts=2, cluster="c0", services=["nobody"])
    walk.wait(elb, "target_in_service", attempts=200, TargetGroupArn=target)
    tasks = [t["taskArn"] for t in ecs.run_task(cluster="c0", taskDefinition="f1", count=3, launchType="FARGATE", networkConfiguration=place)["tasks"]]
    walk.wait(ecs, "tasks_running", attempts=200, cluster="c0", tasks=tasks)
    walk.wait(ecs, "tasks_running", good=False, attempts=2, cluster="c0", tasks=["0" * 32])
    walk.page(ecs, "list_clusters", "clusterArns")
    walk.page(ecs, "list_services", "serviceArns", cluster="c0")
    walk.page(ecs, "list_tasks", "taskArns", cluster="c0")
    walk.page(ecs, "list_task_definitions", "taskDefinitionArns")
    walk.page(ecs, "list_task_definition_families", "families")
    walk.equal("a token of nobody", error_code(ecs.list_clusters, nextToken="nonsense"), "InvalidParameterException")

    held = elb.describe_target_health(TargetGroupArn=target)["TargetHealthDescriptions"][0]["Target"]
    for task in tasks:
        ecs.stop_task(cluster="c0", task=task)
    walk.wait(ecs, "tasks_stopped", attempts=300, cluster="c0", tasks=tasks)
    walk.wait(ecs, "tasks_running", good=False, attempts=2, cluster="c0", tasks=tasks)
    for n in range(3):
        ecs.delete_service(cluster="c0", service=f"s{n}", force=True)
    walk.wait(ecs, "services_inactive", attempts=300, cluster="c0", services=["s0", "s1", "s2"])
    walk.wait(ecs, "services_stable", good=False, attempts=2, cluster="c0", services=["s0"])
    walk.wait(elb, "target_deregistered", attempts=300, TargetGroupArn=target, Targets=[{"Id": held["Id"], "Port": held["Port"]}])
    # A service is inactive when its last task stops; the cluster lets go of it when it has stopped.
    wait("the cluster can be deleted", lambda: error_code(ecs.delete_cluster, cluster="c0") is None)
    for n in range(1, 3):
        ecs.delete_cluster(cluster=f"c{n}")
    for definition in definitions:
        ecs.deregister_task_definition(taskDefinition=definition)


def images(walk, ecr):
    for n in range(3):
        ecr.create_repository(repositoryName=f"team/r{n}")
    def put(data):
        upload = ecr.initiate_layer_upload(repositoryName="team/r0")["uploadId"]
        ecr.upload_layer_part(repositoryName="team/r0", uploadId=upload, partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data)
        return ecr.complete_layer_upload(repositoryName="team/r0", uploadId=upload, layerDigests=["sha256:" + hashlib.sha256(data).hexdigest()])["layerDigest"]
    for n in range(3):
        config, data = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": [str(n)]}, "rootfs": {"type": "layers", "diff_ids": []}}).encode(), os.urandom(2000)
        ecr.put_image(repositoryName="team/r0", imageTag=f"t{n}", imageManifest=json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": put(config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": put(data), "size": len(data)}]}))
    walk.page(ecr, "describe_repositories", "repositories")
    walk.page(ecr, "list_images", "imageIds", repositoryName="team/r0")
    walk.page(ecr, "describe_images", "imageDetails", repositoryName="team/r0")
    walk.equal("a token of nobody", error_code(ecr.describe_repositories, nextToken="nonsense"), "InvalidParameterException")
    for repository in ecr.describe_repositories()["repositories"]:
        ecr.delete_repository(repositoryName=repository["repositoryName"], force=True)


def zones(walk, route53):
    made = [route53.create_hosted_zone(Name=f"z{n}.test", CallerReference=f"w{n}")["HostedZone"]["Id"] for n in range(3)]
    record = lambda action, n: {"Action": action, "ResourceRecordSet": {"Name": f"r{n}.z0.test", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": f"203.0.113.{n}"}]}}
    change = route53.change_resource_record_sets(HostedZoneId=made[0], ChangeBatch={"Changes": [record("CREATE", n) for n in range(1, 12)]})["ChangeInfo"]["Id"]
    walk.wait(route53, "resource_record_sets_changed", Id=change)
    walk.page(route53, "list_hosted_zones", "HostedZones")
    walk.page(route53, "list_resource_record_sets", "ResourceRecordSets", 2, 13, HostedZoneId=made[0])
    route53.change_resource_record_sets(HostedZoneId=made[0], ChangeBatch={"Changes": [record("DELETE", n) for n in range(1, 12)]})
    for each in made:
        route53.delete_hosted_zone(Id=each)


def identities(walk, iam):
    for n in range(3):
        iam.create_role(RoleName=f"r{n}", Path="/walk/", AssumeRolePolicyDocument=ASSUME, Tags=[{"Key": f"k{t}", "Value": "v"} for t in range(3)])
        iam.create_instance_profile(InstanceProfileName=f"p{n}", Path="/walk/")
        iam.add_role_to_instance_profile(InstanceProfileName=f"p{n}", RoleName="r0")
        iam.put_role_policy(RoleName="r0", PolicyName=f"inline{n}", PolicyDocument=POLICY)
    policies = [iam.create_policy(PolicyName=f"policy{n}", Path="/walk/", PolicyDocument=POLICY)["Policy"]["Arn"] for n in range(3)]
    for arn in policies:
        iam.attach_role_policy(RoleName="r0", PolicyArn=arn)
        iam.create_policy_version(PolicyArn=policies[0], PolicyDocument=POLICY, SetAsDefault=False)
    walk.wait(iam, "role_exists", RoleName="r0")
    walk.wait(iam, "role_exists", good=False, attempts=2, RoleName="nobody")
    walk.wait(iam, "policy_exists", PolicyArn=policies[0])
    walk.wait(iam, "policy_exists", good=False, attempts=2, PolicyArn=policies[0] + "x")
    walk.wait(iam, "instance_profile_exists", InstanceProfileName="p0")
    walk.wait(iam, "instance_profile_exists", good=False, attempts=2, InstanceProfileName="nobody")
    walk.wait(iam, "user_exists", good=False, attempts=2, UserName="nobody")
    walk.page(iam, "list_roles", "Roles", PathPrefix="/walk/")
    walk.page(iam, "list_instance_profiles", "InstanceProfiles", PathPrefix="/walk/")
    walk.page(iam, "list_instance_profiles_for_role", "InstanceProfiles", RoleName="r0")
    walk.page(iam, "list_role_policies", "PolicyNames", RoleName="r0")
    walk.page(iam, "list_attached_role_policies", "AttachedPolicies", RoleName="r0")
    walk.page(iam, "list_role_tags", "Tags", RoleName="r0")
    walk.page(iam, "list_policies", "Policies", Scope="Local")
    walk.page(iam, "list_policies", "Policies", Scope="All", PathPrefix="/walk/")
    walk.page(iam, "list_policy_versions", "Versions", PolicyArn=policies[0])
    for n in range(3):
        iam.remove_role_from_instance_profile(InstanceProfileName=f"p{n}", RoleName="r0")
        iam.delete_instance_profile(InstanceProfileName=f"p{n}")
        iam.delete_role_policy(RoleName="r0", PolicyName=f"inline{n}")
        iam.detach_role_policy(RoleName="r0", PolicyArn=policies[n])
    for arn in policies:
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=arn)
    for n in range(3):
        iam.delete_role(RoleName=f"r{n}")


def journals(walk, logs):
    import time
    for n in range(3):
        logs.create_log_group(logGroupName=f"/walk/{n}")
        logs.create_log_stream(logGroupName="/walk/0", logStreamName=f"s{n}")
    now = int(time.time() * 1000)
    for n in range(3):
        logs.put_log_events(logGroupName="/walk/0", logStreamName=f"s{n}", logEvents=[{"timestamp": now + i, "message": f"event {i} of {n}"} for i in range(5)])
    walk.page(logs, "describe_log_groups", "logGroups", logGroupNamePrefix="/walk/")
    walk.page(logs, "describe_log_streams", "logStreams", logGroupName="/walk/0")
    walk.page(logs, "describe_log_streams", "logStreams", logGroupName="/walk/0", orderBy="LastEventTime", descending=True)
    walk.page(logs, "filter_log_events", "events", 2, 15, logGroupName="/walk/0")
    walk.equal("filtered", len(walk.items(logs, "filter_log_events", "events", logGroupName="/walk/0", filterPattern='"event 3"')), 3)
    for n in range(3):
        logs.put_metric_filter(logGroupName="/walk/0", filterName=f"f{n}", filterPattern="event", metricTransformations=[
            {"metricNamespace": "walk", "metricName": f"m{n}", "metricValue": "1"}])
    walk.page(logs, "describe_metric_filters", "metricFilters", logGroupName="/walk/0")
    asked = [logs.start_query(logGroupName="/walk/0", startTime=now // 1000 - 60, endTime=now // 1000 + 60, queryString=f"limit {n + 1}")["queryId"] for n in range(3)]
    while any(logs.get_query_results(queryId=query)["status"] == "Running" for query in asked):
        pass
    walk.page(logs, "describe_queries", "queries", logGroupName="/walk/0")
    # GetLogEvents has no paginator: the token that comes back unchanged is the end.
    found, token = [], None
    while True:
        page = logs.get_log_events(logGroupName="/walk/0", logStreamName="s1", startFromHead=True, limit=2, **({"nextToken": token} if token else {}))
        found += [e["message"] for e in page["events"]]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    walk.equal("events by pages", found, [f"event {i} of 1" for i in range(5)])
    for n in range(3):
        logs.delete_log_group(logGroupName=f"/walk/{n}")


def left_out(walk, region):
    """Paginators and waiters of operations that are served and that this scenario did not try."""
    missed = []
    for client in region.clients():
        served = {}
        for waiter in client.waiter_names:
            config = client._get_waiter_config()["waiters"]
            served[waiter] = next(config[n]["operation"] for n in config if xform_name(n) == waiter)
        for operation in client.meta.service_model.operation_names:
            if client.can_paginate(xform_name(operation)):
                served[xform_name(operation)] = operation
        known = {name.split(".")[1] for name in walk.paged | walk.waited if name.startswith(client.meta.service_model.service_name + ".")}
        for name, operation in served.items():
            if name not in known and is_served(client, operation):
                missed.append(f"{client.meta.service_model.service_name}.{name}")
    return missed


def is_served(client, operation):
    """Whether the endpoint knows the operation. Asked with parameters that are empty, which a served one refuses or takes."""
    from botocore.awsrequest import AWSRequest
    import boto3
    model = client.meta.service_model
    if model.protocol_name == "rest-xml" if hasattr(model, "protocol_name") else model.metadata["protocol"] == "rest-xml":
        return False
    import urllib.error, urllib.request
    signed = f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{model.signing_name}/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
    if "targetPrefix" in model.metadata:
        request = urllib.request.Request(client.meta.endpoint_url, b"{}", {"Authorization": signed, "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{model.metadata['targetPrefix']}.{operation}"})
    else:
        request = urllib.request.Request(client.meta.endpoint_url, f"Action={operation}&Version={model.api_version}".encode(), {"Authorization": signed, "Content-Type": "application/x-www-form-urlencoded"})
    try:
        return bool(urllib.request.urlopen(request).read())
    except urllib.error.HTTPError as e:
        text = e.read().decode()
        return "InvalidAction" not in text and "UnknownOperation" not in text


def scenario(host):
    walk = Walk()
    with host.region("--speed", "20", "--quota", "vpcs=6", "--quota", "internet_gateways=6") as region:
        ec2, elb, ecr, route53, iam, logs = region.clients("ec2", "elbv2", "ecr", "route53", "iam", "logs")
        images(walk, ecr)
        zones(walk, route53)
        identities(walk, iam)
        journals(walk, logs)
        vpc, subnets, groups, clean_network = network(walk, ec2)
        target, clean_balancers = balancers(walk, elb, vpc, subnets, groups)
        containers(walk, host, region, subnets, groups, target)
        clean_balancers()
        clean_network()
        for repository in ecr.describe_repositories()["repositories"]:
            ecr.delete_repository(repositoryName=repository["repositoryName"], force=True)
        assert not walk.wrong, f"{len(walk.wrong)} things are wrong, see above"
        print(f"{len(walk.paged)} paginators, {len(walk.waited)} waiters; of what is served, not tried: {left_out(walk, region) or 'none'}")
        status = region.status()
        assert status["empty"], status["resources"]
