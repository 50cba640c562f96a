"""The region is taken down at once after a load balancer was made, while its processes start: nothing is left of them."""
from scenarios.paths import Vpc


def scenario(host):
    for number in range(6):
        with host.region("--speed", "10") as region:
            vpc = Vpc(region, "10.1.0.0/16")
            for name in range(number % 3 + 1):
                vpc.elb.create_load_balancer(Name=f"lb{name}", Subnets=vpc.public, SecurityGroups=[vpc.group])
