"""examples/terraform, applied, changed and destroyed by Terraform itself; a plan after each finds nothing to do."""
import base64, os, pathlib, re, shutil, socket, ssl, subprocess, sys, time
from host import ROOT, equal, http_get, wait

MIRRORS = [os.environ.get("FOGBANK_TERRAFORM_MIRROR", ""), "/opt/tf-plugins"]


class Terraform:
    """Terraform in a copy of a folder, with providers from a folder on this machine only."""

    def __init__(self, host, region, mirror, source="examples/terraform"):
        self.folder = os.path.join(host.folder, "terraform")
        shutil.copytree(ROOT / source, self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        if not os.path.exists(os.path.join(self.folder, "versions.tf")):
            shutil.copy(ROOT / "tests/versions.tf", self.folder)
        settings = os.path.join(host.folder, "terraform.rc")
        with open(settings, "w") as f:
            f.write(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\ndisable_checkpoint = true\n')
        self.environment = {
            **os.environ, "TF_CLI_CONFIG_FILE": settings, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "AWS_ENDPOINT_URL": region.endpoint,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}

    def run(self, command, *arguments, expected=(0,)):
        started = time.monotonic()
        done = subprocess.run(["terraform", command, "-no-color", *arguments], cwd=self.folder, env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode in expected, f"terraform {command} {arguments}: exit {done.returncode}\n{done.stdout[-6000:]}"
        summary = re.findall(r"^(?:Apply complete|Destroy complete|No changes|Plan:).*", done.stdout, re.M)
        print(f"terraform {command} {' '.join(arguments)}: {time.monotonic() - started:.1f} s {' '.join(summary)}", flush=True)
        return done.stdout

    def apply(self, *arguments):
        return self.run("apply", "-auto-approve", "-input=false", "-parallelism=20", *arguments)

    def unchanged(self, *arguments):
        output = self.run("plan", "-detailed-exitcode", "-input=false", *arguments, expected=(0, 2))
        assert "No changes" in output, output[-8000:]


def push(host, region, uri):
    sys.path.insert(0, str(ROOT / "examples/api"))
    import deploy
    ecr, = region.clients("ecr")
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert base64.b64decode(token).startswith(b"AWS:")
    deploy.push(region.endpoint, token, uri, "1", host.api)


def serves(region, expected):
    """Requests by the name that Route 53 gives, from outside."""
    for address in wait("the alias record answers", lambda: (a := region.resolve("api.shop.test")[1]) and len(a) == 3 and a):
        wait("the service answers", lambda: http_get(address, "/health", "api.shop.test")[0] == 200, 30)
        equal("a fixed response", http_get(address, "/maintenance", "api.shop.test"), (503, expected))
        equal("a redirect", http_get(address, "/x", "old.shop.test")[0], 301)
    equal("wildcard", region.resolve("a.preview.shop.test")[1], ["203.0.113.9"])
    context = ssl.create_default_context(cadata=region.cli("ca"))
    with context.wrap_socket(socket.create_connection((address, 443), 10), server_hostname="api.shop.test") as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: api.shop.test\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200"), "HTTPS"


def find_mirror():
    """The folder with the provider; None, and a word about it, where this machine cannot run Terraform."""
    mirror = next((m for m in MIRRORS if m and pathlib.Path(m, "registry.terraform.io/hashicorp/aws").is_dir()), None)
    if shutil.which("terraform") and mirror:
        return mirror
    print("note: terraform or its AWS provider's mirror is not on this machine; nothing was tested")


def life(host, folder, prepare=lambda terraform, region: None, look=lambda region, changed: None):
    """Applies a folder, changes all in it that can change (its variable `changed`), and destroys it. `prepare` may add files first; `look`
    at what the region holds after each plan that found nothing to do."""
    if not (mirror := find_mirror()):
        return
    with host.region("--speed", "20") as region:
        terraform = Terraform(host, region, mirror, folder)
        prepare(terraform, region)
        terraform.run("init", "-input=false")
        terraform.apply()
        terraform.unchanged()
        look(region, False)
        terraform.apply("-var=changed=true")
        terraform.unchanged("-var=changed=true")
        look(region, True)
        terraform.run("destroy", "-auto-approve", "-input=false", "-parallelism=20")
        status = region.status()
        print("unbuilt operations that Terraform called:", status["unbuilt_operations_called"])
        assert status["empty"], status["resources"]


def scenario(host):
    if not (mirror := find_mirror()):
        return
    with host.region("--speed", "20") as region:
        terraform = Terraform(host, region, mirror)
        terraform.run("init", "-input=false")
        terraform.run("validate")
        terraform.apply("-target=aws_ecr_repository.api")
        push(host, region, terraform.run("output", "-raw", "repository_url").strip())
        terraform.apply()
        serves(region, "back soon")
        terraform.unchanged()

        change = ["-var=maintenance=closed", "-var=tasks=1", "-var=office_cidr=198.51.100.0/24", "-var=log_days=14",
                  "-var=record_ttl_seconds=60", "-var=health_path=/orders", "-var=release=2", "-var=images_kept=3", "-var=database_password=correct horse",
                  "-var=log_level=debug", "-var=discovery_ttl_seconds=5", "-var=stock_tasks_max=6", "-var=processor_target_percent=50", "-var=errors_max=3"]
        output = terraform.apply(*change)
        # The provider makes these two anew; everything else changes where it is.
        replaced = sorted(re.findall(r"^(\S+): Destroying", output, re.M))
        equal("replaced", replaced, ["aws_ecr_lifecycle_policy.api", "aws_secretsmanager_secret_version.database"])
        serves(region, "closed")
        ecs, logs = region.clients("ecs", "logs")
        equal("tasks", ecs.describe_services(cluster="orders", services=["api"])["services"][0]["desiredCount"], 1)
        equal("retention", logs.describe_log_groups(logGroupNamePrefix="/ecs/orders")["logGroups"][0]["retentionInDays"], 14)
        terraform.unchanged(*change)

        terraform.run("destroy", "-auto-approve", "-input=false", "-parallelism=20")
        status = region.status()
        assert status["empty"], status["resources"]
        unbuilt = status["unbuilt_operations_called"]
        print("unbuilt operations that Terraform called:", unbuilt)
