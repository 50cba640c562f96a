"""tests/terraform_kms: keys, aliases, key policies, grants and what is encrypted with them: applied, changed, destroyed by Terraform."""
from host import equal
from scenarios.terraform import life


def look(region, changed):
    kms, ssm, secrets = region.clients("kms", "ssm", "secretsmanager")
    key = next(k["KeyId"] for k in kms.list_keys()["Keys"] if kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"]["Description"] == ("The shop's key" if changed else "A key"))
    equal("rotation", kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"], 180 if changed else 90)
    moved = kms.describe_key(KeyId="alias/shop")["KeyMetadata"]["KeyId"]
    equal("alias", moved != key, changed)
    equal("parameter", ssm.get_parameter(Name="/shop/secret", WithDecryption=True)["Parameter"]["Value"], "battery staple")
    equal("secret", secrets.get_secret_value(SecretId="shop/secret")["SecretString"], "battery staple")


def scenario(host):
    life(host, "tests/terraform_kms", look=look)
