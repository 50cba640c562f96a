"""A zone fails, is cut off and comes back: the other zones go on, by the ordinary path."""
from host import Load, equal, http_get, wait


def scenario(host):
    with host.region("--speed", "10") as region:
        shop = host.shop(region)
        ec2, ecs, elb = region.clients("ec2", "ecs", "elbv2")
        name = "orders"
        first, second = (s["AvailabilityZone"] for s in sorted(ec2.describe_subnets(SubnetIds=shop.private)["Subnets"], key=lambda s: s["AvailabilityZone"]))
        # A NAT gateway lives in one zone (fact NAT-4): each zone needs its own, or its tasks lose their registry with the other.
        address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = ec2.create_nat_gateway(SubnetId=shop.public[1], AllocationId=address)["NatGateway"]["NatGatewayId"]
        ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
        table = ec2.create_route_table(VpcId=shop.vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
        old = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [shop.private[1]]}])["RouteTables"][0]["Associations"]
        ec2.replace_route_table_association(RouteTableId=table, AssociationId=next(a["RouteTableAssociationId"] for a in old if a.get("SubnetId") == shop.private[1]))

        def tasks(status="RUNNING"):
            arns = ecs.list_tasks(cluster=name, desiredStatus=status)["taskArns"]
            return ecs.describe_tasks(cluster=name, tasks=arns)["tasks"] if arns else []

        def running_in():
            return sorted(t["availabilityZone"] for t in tasks() if t["lastStatus"] == "RUNNING")

        addresses = lambda: sorted(region.resolve("api.shop.test")[1])
        both = addresses()
        equal("one task in each zone", running_in(), [first, second])

        # Power goes: its node leaves DNS, its task is replaced next door, the other node goes on serving.
        region.cli("zone", "fail", first)
        assert first in region.cli("zone", "list"), region.cli("zone", "list")
        left = wait("the zone's node leaves DNS", lambda: len(a := addresses()) == 1 and a, 30)
        wait("two tasks in the other zone", lambda: running_in() == [second, second], 60)
        gone = (set(both) - set(left)).pop()
        equal("the dark node", http_get(gone, "/health", "api.shop.test", timeout=1)[0], 0)
        with Load(left) as load:
            load.more()
        lost = [t for t in tasks("STOPPED") if t["availabilityZone"] == first]
        assert lost and all("Availability Zone" in t["stoppedReason"] for t in lost), lost

        # It comes back: the node answers again; nothing that runs is disturbed.
        with Load(left) as load:
            region.cli("zone", "restore", first)
            wait("both nodes are in DNS", lambda: addresses() == both, 30)
            load.more()
        wait("the node serves", lambda: http_get(gone, "/health", "api.shop.test")[0] == 200)

        # Cut off: what runs there runs on, unheard.
        ecs.update_service(cluster=name, service=name, desiredCount=4)
        wait("two tasks in each zone", lambda: running_in() == [first, first, second, second], 60)
        region.cli("zone", "isolate", first)
        equal("the isolated node", http_get(gone, "/health", "api.shop.test", timeout=1)[0], 0)
        wait("the isolated node leaves DNS", lambda: addresses() == left, 60)
        healthy = lambda: {t["Target"]["Id"].rsplit(".", 1)[0] for t in elb.describe_target_health(TargetGroupArn=shop.group)["TargetHealthDescriptions"] if t["TargetHealth"]["State"] == "healthy"}
        wait("the other node has found out", lambda: healthy() == {"10.20.11"}, 60)
        with Load(left) as load:
            load.more()
        region.cli("zone", "restore", first)
        wait("it is back", lambda: addresses() == both and http_get(gone, "/health", "api.shop.test")[0] == 200, 60)

        # A zone that is none.
        assert "mars" in region.cli("zone", "fail", "mars-1a", check=False)
