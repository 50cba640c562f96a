"""tests/terraform_route53: zones of both kinds, records of every policy, delegation sets, CIDR collections, query logging and
VPC associations of the provider: applied, changed, destroyed."""
from scenarios.terraform import life


def scenario(host):
    life(host, "tests/terraform_route53")
