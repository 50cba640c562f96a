"""tests/terraform_route53: zones of both kinds, records of every policy, delegation sets, CIDR collections, query logging and
VPC associations of the provider: applied, changed, destroyed."""
import importlib.util, pathlib


def scenario(host):
    # Scenarios are not modules of a package: the sister is loaded by its path.
    spec = importlib.util.spec_from_file_location("terraform_scenario", pathlib.Path(__file__).with_name("terraform.py"))
    sister = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sister)
    sister.life(host, "tests/terraform_route53")
