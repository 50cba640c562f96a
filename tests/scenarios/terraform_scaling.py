"""tests/terraform_scaling: a scalable service with policies of each kind, an alarm and scheduled actions: applied, changed, destroyed."""
import importlib.util, pathlib


def scenario(host):
    # Scenarios are not modules of a package: the sister is loaded by its path.
    spec = importlib.util.spec_from_file_location("terraform_scenario", pathlib.Path(__file__).with_name("terraform.py"))
    sister = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sister)
    sister.life(host, "tests/terraform_scaling")
