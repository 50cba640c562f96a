"""tests/terraform_scaling: a scalable service with policies of each kind, an alarm and scheduled actions: applied, changed, destroyed."""
from scenarios.terraform import life


def scenario(host):
    life(host, "tests/terraform_scaling")
