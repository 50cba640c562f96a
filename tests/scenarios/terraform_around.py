"""tests/terraform_around: parameters of Systems Manager, secrets of Secrets Manager and names of Cloud Map, applied, changed, destroyed
by Terraform; and what they hold after each, by boto3."""
import json
from host import equal
from scenarios.terraform import life


def look(region, changed):
    ssm, secrets, names = region.clients("ssm", "secretsmanager", "servicediscovery")
    secure = ssm.get_parameter(Name="/shop/api/password", WithDecryption=True)["Parameter"]
    equal("secure", (secure["Value"], secure["Version"], secure["Type"]), (("correct horse", 2) if changed else ("battery staple", 1)) + ("SecureString",))
    assert ssm.get_parameter(Name="/shop/api/password")["Parameter"]["Value"] != secure["Value"]
    paths = {p["Name"] for p in ssm.get_parameters_by_path(Path="/shop", Recursive=True)["Parameters"]}
    equal("by path", paths, {"/shop/api/level", "/shop/api/origins", "/shop/api/password", "/shop/new" if changed else "/shop/old"})
    value = secrets.get_secret_value(SecretId="shop/database")
    equal("secret", (json.loads(value["SecretString"])["password"], value["VersionStages"]), ("second" if changed else "first", ["AWSCURRENT"]))
    services = {s["Name"]: s["Id"] for s in names.list_services()["Services"]}
    equal("services", set(services), {"api", "outside", "call"})
    instance = names.get_instance(ServiceId=services["api"], InstanceId="one")["Instance"]
    equal("instance", (instance["Attributes"]["AWS_INSTANCE_IPV4"], instance["Attributes"]["colour"]), ("10.0.0.11", "green") if changed else ("10.0.0.10", "blue"))


def scenario(host):
    life(host, "tests/terraform_around", look=look)
