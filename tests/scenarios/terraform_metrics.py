"""tests/terraform_metrics: alarms on metrics, percentiles and expressions, a composite alarm, a dashboard: applied, changed, destroyed."""
from scenarios.terraform import life


def scenario(host):
    life(host, "tests/terraform_metrics")
