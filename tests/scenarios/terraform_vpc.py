"""tests/terraform_vpc: every VPC resource of the provider for the operations served, both families: applied, changed, destroyed."""
import importlib.util, pathlib


def scenario(host):
    # Scenarios are not modules of a package: the sister is loaded by its path.
    spec = importlib.util.spec_from_file_location("terraform_scenario", pathlib.Path(__file__).with_name("terraform.py"))
    sister = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sister)
    if not (mirror := sister.find_mirror()):
        return
    with host.region("--speed", "20") as region:
        terraform = sister.Terraform(host, region, mirror, "tests/terraform_vpc")
        terraform.run("init", "-input=false")
        terraform.apply()
        terraform.unchanged()
        terraform.apply("-var=changed=true")
        terraform.unchanged("-var=changed=true")
        terraform.run("destroy", "-auto-approve", "-input=false", "-parallelism=20")
        status = region.status()
        print("unbuilt operations that Terraform called:", status["unbuilt_operations_called"])
        assert status["empty"], status["resources"]
