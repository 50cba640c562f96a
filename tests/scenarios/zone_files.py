"""`fogbank zone import` and `export`: a zone file in BIND's format goes into a hosted zone, is answered, and comes out so that
an import of it into another zone gives the same records."""
import os, subprocess
from host import equal, wait

FILE = r"""
$TTL 1h
@    IN SOA ns.example.net. admin.example.net. ( 1 2H 15m 2w 1d )
     IN NS  ns.example.net.
www  1m IN  A 192.0.2.1
     1m     A 192.0.2.2
*    CNAME  www
mail MX     10 @
text TXT    ( "one two;"
              "say \"hi\"" )
"""


def listed(client, zone):
    sets = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return [s for s in sets if s["Type"] not in ("NS", "SOA")]


def scenario(host):
    with host.region("--speed", "20") as region:
        client, = region.clients("route53")
        one, two = (client.create_hosted_zone(Name="example.test", CallerReference=r)["HostedZone"]["Id"].split("/")[-1] for r in "ab")
        path = os.path.join(host.folder, "zone")
        with open(path, "w") as f:
            f.write(FILE)
        region.cli("zone", "import", one, path)
        equal("records", [(s["Name"], s["Type"], s["TTL"], [r["Value"] for r in s["ResourceRecords"]]) for s in listed(client, one)], [
            ("\\052.example.test.", "CNAME", 3600, ["www.example.test."]), ("mail.example.test.", "MX", 3600, ["10 example.test."]),
            ("text.example.test.", "TXT", 3600, ['"one two;" "say \\"hi\\""']), ("www.example.test.", "A", 60, ["192.0.2.1", "192.0.2.2"])])
        with open(path, "w") as f:
            f.write(region.cli("zone", "export", one))
        region.cli("zone", "import", two, path)
        equal("records of an export", listed(client, two), listed(client, one))
        client.change_resource_record_sets(HostedZoneId=two, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": {
            "Name": "w.example.test", "Type": "A", "TTL": 60, "SetIdentifier": "x", "Weight": 1, "ResourceRecords": [{"Value": "192.0.2.9"}]}}]})
        out = subprocess.run([host.fogbank, "zone", "export", two, "--instance", region.instance], capture_output=True, text=True, check=True)
        assert "; w.example.test. A SetIdentifier=x Weight=1" in out.stdout and "1 record sets are aliases" in out.stderr, out
        # What the host's own resolver would be told: public zones, or the domains one names.
        told = lambda *more: region.cli("dns", "install", "--print", *more).splitlines()[1:]
        client.create_hosted_zone(Name="below.example.test", CallerReference="c")
        client.create_hosted_zone(Name="other.test", CallerReference="d")
        equal("systemd-resolved", told("--to", "systemd-resolved"), ["[Resolve]", "DNS=127.0.0.1:4553", "Domains=~example.test ~other.test"])
        equal("dnsmasq", told("--to", "dnsmasq", "--domain", "A.test"), ["server=/a.test/127.0.0.1#4553"])
        with open(path, "w") as f:
            f.write("$INCLUDE /etc/passwd\n")
        for arguments, why in (((one, path), "is refused"), (("example.test", path), "2 hosted zones"), (("none.test", path), "no hosted zone")):
            out = subprocess.run([host.fogbank, "zone", "import", *arguments, "--instance", region.instance], capture_output=True, text=True)
            assert out.returncode != 0 and why in out.stderr, out
