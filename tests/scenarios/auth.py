"""Users and programs before the load balancer: a rule that wants a login with an OpenID Connect provider, which runs in the VPC
under a name of Route 53 with a certificate of the region's authority, and one that wants tokens. The target checks what it is
told of a user with the key it fetches where AWS has it."""
import base64, json, os, socket, ssl, subprocess, sys, time, urllib.parse

from host import Tasks, equal, error_code, sh, wait

APP, IDP = "api.shop.test", "idp.shop.test"
CLIENT, SECRET, USER = "shop", "a secret", "user-1"

# Runs in the namespace of a task's interface: the provider on 443, and on 8080 a target that says what it was sent.
SERVERS = r"""
import base64, hashlib, http.server, json, ssl, subprocess, sys, threading, time, urllib.parse
certificate, key, host, client, secret, user = sys.argv[1:]
encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
modulus = subprocess.run(["openssl", "rsa", "-in", key, "-noout", "-modulus"], stdout=subprocess.PIPE, check=True).stdout
modulus = bytes.fromhex(modulus.decode().strip().split("=")[1])

def sign(claims):
    text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims))
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return text + "." + encode(signed.stdout)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Provider(Handler):
    nonces = {}
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        issuer, query = f"https://{host}", dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/authorize":
            # The user is always the same, and always agrees.
            self.nonces["code-" + query["nonce"]] = query["nonce"]
            self.say(200, {"code": "code-" + query["nonce"], **query})
        elif url.path == "/token-for-programs":
            self.say(200, sign({"iss": issuer, "exp": int(time.time()) + 60, **query}))
        elif url.path == "/userinfo":
            known = self.headers["Authorization"] == "Bearer access"
            self.say(200 if known else 401, {"sub": user, "email": "a@shop.test"})
        elif url.path == "/jwks":
            self.say(200, {"keys": [{"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": encode(modulus), "e": "AQAB"}]})
        elif url.path == "/.well-known/openid-configuration":
            self.say(200, {"issuer": issuer, "jwks_uri": issuer + "/jwks"})
        else:
            self.say(404, {})
    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        basic = base64.b64encode(f"{client}:{urllib.parse.quote(secret)}".encode()).decode()
        if self.headers["Authorization"] != "Basic " + basic:
            return self.say(401, {"error": "invalid_client"})
        nonce = self.nonces.pop(form["code"], None)
        if not nonce:
            return self.say(400, {"error": "invalid_grant"})
        now = int(time.time())
        token = sign({"iss": f"https://{host}", "aud": client, "sub": user, "nonce": nonce, "iat": now, "exp": now + 60})
        self.say(200, {"access_token": "access", "token_type": "Bearer", "expires_in": 3600, "id_token": token})

class Target(Handler):
    def do_GET(self):
        self.say(200, {name.lower(): value for name, value in self.headers.items()})

target = http.server.ThreadingHTTPServer(("", 8080), Target)
threading.Thread(target=target.serve_forever, daemon=True).start()
provider = http.server.ThreadingHTTPServer(("", 443), Provider)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
provider.socket = context.wrap_socket(provider.socket, server_side=True)
provider.serve_forever()
"""

# Another one there: what a program in the task would do.
FETCH = r"""
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
with opener.open(sys.argv[2], timeout=5) as answer:
    print(answer.read().decode(), end="")
"""


class Browser:
    """Requests to the load balancer with the cookies that it set."""

    def __init__(self, authority, address):
        self.context, self.address, self.cookies = ssl.create_default_context(cafile=authority), address, {}

    def get(self, path, headers=()):
        """(status, headers, body)"""
        lines = [f"GET {path} HTTP/1.1", f"Host: {APP}", "Connection: close", *headers]
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{n}={v}" for n, v in self.cookies.items()))
        with socket.create_connection((self.address, 443), 5) as plain, self.context.wrap_socket(plain, server_hostname=APP) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
        head, _, body = data.decode().partition("\r\n\r\n")
        found = [tuple(line.split(": ", 1)) for line in head.split("\r\n")[1:]]
        for name, value in found:
            if name.lower() == "set-cookie":
                cookie, _, _ = value.partition(";")
                self.cookies.update([cookie.split("=", 1)])
        return int(head.split()[1]), {n.lower(): v for n, v in found}, body


class Inside:
    """The namespace of a task's interface, where one has the task's address."""

    def __init__(self, host, region, tasks, arn):
        task = wait("the task runs", lambda: (t := tasks.describe(arn))["lastStatus"] == "RUNNING" and t, 40)
        details = {d["name"]: d["value"] for d in task["attachments"][0]["details"]}
        self.address = details["privateIPv4Address"]
        self.namespace = f"fog-{region.instance}-{details['networkInterfaceId'].removeprefix('eni-')}"
        self.resolv = os.path.join(host.folder, "resolv.conf")
        open(self.resolv, "w").write("nameserver 169.254.169.253\n")

    def command(self, script, *arguments):
        bound = f'busybox mount -o bind {self.resolv} /etc/resolv.conf && exec "$@"'
        return ["ip", "netns", "exec", self.namespace, "sh", "-c", bound, "sh", sys.executable, "-c", script, *arguments]


def certificate(shop, acm, zone, folder):
    """One for all names, from the region's authority: its ARN, and the files that the provider serves with."""
    arn = acm.request_certificate(DomainName="*.shop.test", ValidationMethod="DNS", Options={"Export": "ENABLED"})["CertificateArn"]
    option = wait("the record to make", lambda: next((o for o in acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"] if "ResourceRecord" in o), None))
    record(shop, zone, option["ResourceRecord"]["Name"], "CNAME", option["ResourceRecord"]["Value"])
    wait("the certificate is issued", lambda: acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "ISSUED", 30)
    exported = acm.export_certificate(CertificateArn=arn, Passphrase=b"pass")
    chain, key, sealed = (os.path.join(folder, f"idp.{kind}") for kind in ("crt", "key", "sealed"))
    open(chain, "w").write(exported["Certificate"] + "\n" + exported["CertificateChain"])
    open(sealed, "w").write(exported["PrivateKey"])
    sh("openssl", "pkey", "-in", sealed, "-passin", "pass:pass", "-out", key)
    return arn, chain, key


def record(shop, zone, name, kind, value):
    shop.r53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [
        {"Action": "UPSERT", "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": 1, "ResourceRecords": [{"Value": value}]}}]})


def verified(data, public_key, folder):
    """Claims of x-amzn-oidc-data, if the signature is right: by OpenSSL, which wants it in DER."""
    header, claims, signature = data.split(".")
    raw = base64.urlsafe_b64decode(signature)
    number = lambda part: b"\2" + bytes([len(p := (b"\0" if part.lstrip(b"\0")[0] > 127 else b"") + part.lstrip(b"\0"))]) + p
    body = number(raw[:32]) + number(raw[32:])
    files = {name: os.path.join(folder, name) for name in ("public.pem", "signature", "signed")}
    for name, content in (("public.pem", public_key.encode()), ("signature", b"\x30" + bytes([len(body)]) + body), ("signed", f"{header}.{claims}".encode())):
        open(files[name], "wb").write(content)
    told = sh("openssl", "dgst", "-sha256", "-verify", files["public.pem"], "-signature", files["signature"], files["signed"], check=False)
    assert "Verified OK" in told, told
    return json.loads(base64.urlsafe_b64decode(claims))


def kid(data):
    return json.loads(base64.urlsafe_b64decode(data.split(".")[0]))["kid"]


def scenario(host):
    with host.region("--speed", "20", data=os.path.join(host.folder, "data")) as region:
        shop = host.shop(region, 1)
        acm, elb = region.client("acm"), shop.elb
        authority = os.path.join(host.folder, "authority.pem")
        open(authority, "w").write(region.cli("ca"))
        zone = next(z["Id"] for z in shop.r53.list_hosted_zones()["HostedZones"] if z["Name"] == "shop.test.")
        arn, chain, key = certificate(shop, acm, zone, host.folder)
        allow = lambda group, port, **source: shop.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}])
        allow(shop.sg_alb, 443, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
        allow(shop.sg_api, 443, UserIdGroupPairs=[{"GroupId": shop.sg_alb}])
        tasks = Tasks(host, region, shop.private, [shop.sg_api])
        inside = Inside(host, region, tasks, tasks.start(["sleep", "600"]))
        record(shop, zone, IDP, "A", inside.address)
        servers = subprocess.Popen(inside.command(SERVERS, chain, key, IDP, CLIENT, SECRET, USER))
        try:
            run(host, region, shop, inside, arn, authority)
        finally:
            servers.kill()
            servers.wait()


def run(host, region, shop, inside, arn, authority):
    elb = shop.elb
    group = elb.create_target_group(Name="headers", Protocol="HTTP", Port=8080, VpcId=shop.vpc, TargetType="ip", HealthCheckIntervalSeconds=10, HealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": inside.address}])
    forward = {"Type": "forward", "TargetGroupArn": group, "Order": 2}
    login = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {
        "Issuer": f"https://{IDP}", "AuthorizationEndpoint": f"https://{IDP}/authorize", "TokenEndpoint": f"https://{IDP}/token",
        "UserInfoEndpoint": f"https://{IDP}/userinfo", "ClientId": CLIENT, "ClientSecret": SECRET, "Scope": "openid email"}}
    token = {"Type": "jwt-validation", "Order": 1, "JwtValidationConfig": {
        "JwksEndpoint": f"https://{IDP}/jwks", "Issuer": f"https://{IDP}",
        "AdditionalClaims": [{"Name": "scope", "Format": "space-separated-values", "Values": ["orders"]}]}}
    listener = elb.create_listener(LoadBalancerArn=shop.lb["LoadBalancerArn"], Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": arn}], DefaultActions=[login, forward])["Listeners"][0]["ListenerArn"]
    elb.create_rule(ListenerArn=listener, Priority=1, Conditions=[{"Field": "path-pattern", "Values": ["/api/*"]}], Actions=[token, forward])
    plain = next(l["ListenerArn"] for l in elb.describe_listeners(LoadBalancerArn=shop.lb["LoadBalancerArn"])["Listeners"] if l["Port"] == 80)
    equal("a login without TLS", error_code(elb.modify_listener, ListenerArn=plain, DefaultActions=[login, forward]), "InvalidLoadBalancerAction")
    wait("the target is healthy", lambda: elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"][0]["TargetHealth"]["State"] == "healthy", 30)

    browser = Browser(authority, shop.addresses[0])

    def redirected():
        try:
            return browser.get("/orders?day=1")
        except OSError:
            return None
    status, headers, _ = wait("the listener serves", redirected)
    equal("who is not logged in", status, 302)
    assert headers["location"].startswith(f"https://{IDP}/authorize?client_id={CLIENT}&redirect_uri=https%3A%2F%2F{APP}%2Foauth2%2Fidpresponse&"), headers
    fetch = lambda url: subprocess.run(inside.command(FETCH, authority, url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    agreed = json.loads(sh(*inside.command(FETCH, authority, headers["location"])))
    back = "/oauth2/idpresponse?" + urllib.parse.urlencode({"code": agreed["code"], "state": agreed["state"]})
    status, headers, body = browser.get(back)
    equal("back from the provider", (status, headers.get("location")), (302, f"https://{APP}/orders?day=1"))
    status, _, body = browser.get("/orders?day=1", ["x-amzn-oidc-identity: admin"])
    equal("logged in", status, 200)
    told = json.loads(body)
    equal("who it is", (told["x-amzn-oidc-identity"], told["x-amzn-oidc-accesstoken"]), (USER, "access"))
    data = told["x-amzn-oidc-data"]
    public_key = fetch(f"https://public-keys.auth.elb.us-east-1.amazonaws.com/{kid(data)}").stdout
    claims = verified(data, public_key, host.folder)
    equal("claims", (claims["sub"], claims["email"], claims["iss"]), (USER, "a@shop.test", f"https://{IDP}"))
    # The other node reads the same cookie; a code counts once.
    other = Browser(authority, shop.addresses[1])
    other.cookies = dict(browser.cookies)
    equal("at the other node", other.get("/")[0], 200)
    equal("a code that was used", browser.get(back)[0], 401)
    equal("a callback of nobody", browser.get("/oauth2/idpresponse?code=x")[0], 400)
    print("login done")

    ask = lambda scope: json.loads(sh(*inside.command(FETCH, authority, f"https://{IDP}/token-for-programs?scope={scope}")))
    program = Browser(authority, shop.addresses[0])
    equal("no token", program.get("/api/orders")[0], 401)
    status, _, body = program.get("/api/orders", [f"Authorization: Bearer {ask('orders+more')}"])
    equal("a token", status, 200)
    assert json.loads(body)["authorization"].startswith("Bearer "), body
    equal("a token for something else", program.get("/api/orders", [f"Authorization: Bearer {ask('more')}"])[0], 401)

    # The way to the provider goes through the load balancer's security group, as on AWS.
    shop.ec2.revoke_security_group_egress(GroupId=shop.sg_alb, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    shop.ec2.authorize_security_group_egress(GroupId=shop.sg_alb, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    newcomer = Browser(authority, shop.addresses[0])
    status, headers, _ = newcomer.get("/")
    agreed = json.loads(sh(*inside.command(FETCH, authority, headers["location"])))
    back = "/oauth2/idpresponse?" + urllib.parse.urlencode({"code": agreed["code"], "state": agreed["state"]})
    began = time.monotonic()
    equal("no way to the provider", newcomer.get(back)[0], 500)
    assert time.monotonic() - began < 8, "the wait is bounded"
    equal("who is logged in goes on", browser.get("/")[0], 200)
