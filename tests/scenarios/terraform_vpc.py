"""tests/terraform_vpc: every VPC resource of the provider for the operations served, both families: applied, changed, destroyed."""
from scenarios.terraform import life


def scenario(host):
    life(host, "tests/terraform_vpc")
