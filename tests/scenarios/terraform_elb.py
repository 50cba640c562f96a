"""tests/terraform_elb: every load balancer resource of the provider: applied, changed, destroyed; its certificates are OpenSSL's."""
import json, pathlib, subprocess
from scenarios.terraform import life


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder, name):
    """An authority, and an empty list of what it revoked."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-keyout", f"{name}.ca.key", "-out", f"{name}.pem")
    (folder / "index.txt").touch()
    (folder / "crlnumber").write_text("01\n")
    (folder / "ca.cnf").write_text("[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\n"
                                   "crlnumber=crlnumber\ncrl_extensions=list\n[list]\nauthorityKeyIdentifier=keyid\n")
    openssl(folder, "ca", "-gencrl", "-config", "ca.cnf", "-cert", f"{name}.pem", "-keyfile", f"{name}.ca.key", "-out", "revoked.pem")


def buckets(region):
    """The folder of the region's buckets."""
    config = json.loads(pathlib.Path(f"/run/fogbank/{region.instance}/region.json").read_text())
    return pathlib.Path(config["data_dir"]) / "buckets"


def prepare(terraform, region):
    folder, bundles = pathlib.Path(terraform.folder), buckets(region) / "bundles"
    bundles.mkdir(parents=True)
    for name in ["one", "two", "three"]:
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}.example.com",
                "-addext", f"subjectAltName=DNS:{name}.example.com", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    for name in ["one", "two"]:
        authority(bundles, name)


def scenario(host):
    life(host, "tests/terraform_elb", prepare)
