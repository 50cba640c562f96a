"""tests/terraform: what people also write, and the data sources: applied, changed in all that can change, destroyed."""
from scenarios.terraform import life


def scenario(host):
    life(host, "tests/terraform")
