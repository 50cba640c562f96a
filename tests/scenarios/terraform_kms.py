"""tests/terraform_kms: keys, aliases, key policies, grants and what is encrypted with them: applied, changed, destroyed by Terraform."""
import importlib.util, pathlib
from host import equal


class Held:
    """What the region holds, looked at after each plan that found nothing to do."""

    def prepare(self, terraform, region):
        self.region, whole = region, terraform.unchanged

        def unchanged(*arguments):
            whole(*arguments)
            self.look(bool(arguments))
        terraform.unchanged = unchanged

    def look(self, changed):
        kms, ssm, secrets = self.region.clients("kms", "ssm", "secretsmanager")
        key = next(k["KeyId"] for k in kms.list_keys()["Keys"] if kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"]["Description"] == ("The shop's key" if changed else "A key"))
        equal("rotation", kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"], 180 if changed else 90)
        moved = kms.describe_key(KeyId="alias/shop")["KeyMetadata"]["KeyId"]
        equal("alias", moved != key, changed)
        equal("parameter", ssm.get_parameter(Name="/shop/secret", WithDecryption=True)["Parameter"]["Value"], "battery staple")
        equal("secret", secrets.get_secret_value(SecretId="shop/secret")["SecretString"], "battery staple")


def scenario(host):
    # Scenarios are not modules of a package: the sister is loaded by its path.
    spec = importlib.util.spec_from_file_location("terraform_scenario", pathlib.Path(__file__).with_name("terraform.py"))
    sister = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sister)
    sister.life(host, "tests/terraform_kms", Held().prepare)
