#!/usr/bin/env python3
"""Golden files: what real clients send, and whether they understand what we answer.

  make.py write   writes <service>/<Op>.json: a request serialised by botocore with every member
                  of the input once, and an output to be encoded. Then run
                  `FOGBANK_BLESS=1 cargo test -p fogbank-wire golden::answers`, which adds our bytes
                  ("response", "error"), and
  make.py check   has botocore parse those bytes and compares them with the output and the error.

The values come from the trimmed models in models/, so a file changes only when they do. The
botocore that made a file stands in GENERATOR. One key a line, for diffs.
"""
import base64
import datetime
import json
import pathlib
import re
import sys

import botocore
import botocore.awsrequest
import botocore.httpchecksum  # noqa: F401  (botocore's own import order)
import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
from botocore.compat import HTTPHeaders
from botocore.utils import percent_encode_sequence

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parents[3] / "models"
SERVICES = ["ec2", "elbv2", "ecs", "ecr", "route53", "iam", "sts", "logs", "acm", "cloudwatch",
            "application-autoscaling", "servicediscovery", "ssm", "secretsmanager",
            "cloudtrail", "kms"]
REQUEST_ID = "00000000-0000-4000-8000-000000000000"
SCOPE = "AKIAIOSFODNN7EXAMPLE/20260102/eu-west-1/{}/aws4_request"

# Texts for patterns that a plain word does not match.
CANDIDATES = [
    "word", "1", "404", "HTTP", "ipv4pool-coip-0a1b", "ipam-pool-0a1b", "d29yZA==",
    "sha256:0123456789abcdef", "123456789012", "01234567-89ab-cdef-0123-456789abcdef",
    "www.example.com", "192.0.2.44", "/", "/path/", "v1", "47.60", "arn:aws:iam::123456789012:role/word", "us-west-1",
    "arn:aws:application-autoscaling:us-west-1:123456789012:scalable-target/word",
    "Name", "4h", "cluster-word2word2w",
    "arn:aws:secretsmanager:us-west-1:123456789012:secret:ecr-pullthroughcache/word",
    "arn:aws:acm:us-west-1:123456789012:certificate/word", "arn:aws:acm-pca:us-west-1:123456789012:certificate-authority/word",
    "-----BEGIN CERTIFICATE-----\nd29yZA==\n-----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----\nd29yZA==\n-----END PRIVATE KEY-----\n",
]


class Samples:
    """Values for shapes, each a little different from the last."""

    def __init__(self, fraction_ms):
        self.count = 0
        self.fraction_ms = fraction_ms

    def of(self, shape, name="word"):
        self.count += 1
        kind = shape.type_name
        if getattr(shape, "is_document_type", False):
            return {"free": [1, True, None, "json"]}
        if kind == "structure":
            return {member: self.of(target, member) for member, target in sorted(shape.members.items())}
        if kind == "list":
            least = shape.metadata.get("min", 0)
            scalar = shape.member.type_name not in ("structure", "list", "map")
            return [self.of(shape.member, name) for _ in range(max(least, 2 if scalar else 1))]
        if kind == "map":
            return {self.text(shape.key, f"key{n}"): self.of(shape.value, name) for n in (1, 2)}
        if kind == "string":
            return self.text(shape, name)
        if kind in ("integer", "long"):
            least = shape.metadata.get("min", 0)
            most = shape.metadata.get("max", 2**31 - 1)
            wide = 2**40 if kind == "long" and most > 2**41 else 0
            return max(least, min(most, self.count + wide))
        if kind in ("double", "float"):
            return float(max(shape.metadata.get("min", 0), 0.5))
        if kind == "boolean":
            return self.count % 2 == 0
        if kind == "timestamp":
            return 1767323045000 + 1000 * self.count + self.fraction_ms
        if kind == "blob":
            return base64.b64encode(b"blob %d" % self.count).decode()
        raise SystemExit(f"no sample for {kind}")

    def text(self, shape, name):
        if shape.enum:
            return shape.enum[self.count % len(shape.enum)]
        least = shape.metadata.get("min", 0)
        most = shape.metadata.get("max", 1 << 20)
        pattern = shape.metadata.get("pattern")
        if shape.serialization.get("location") == "header":
            return f"https://example.com/{name}{self.count}"
        if pattern is None:
            text = f"{name} <&> é{self.count}"
            return (text + "." * least)[:max(most, 1)] if len(text) < least else text[:most]
        for text in [f"{name}{self.count}"] + CANDIDATES:
            text = text + text[-1] * max(0, least - len(text))
            if len(text) <= most and re.fullmatch(pythons(pattern), text):
                return text
        raise SystemExit(f"no sample matches {pattern}")


def pythons(pattern):
    """A model's pattern, which is Java's, as far as Python can say it."""
    for java, python in [
        (r"\p{Print}", "[ -~]"),
        (r"\p{ASCII}", "[ -~]"),
        (r"\p{L}\p{Z}\p{N}", r"\w "),
        (r"\u10000-\u10FFFF", ""),
        (r"\uD800\uDC00-\uDBFF\uDFFF", ""),
    ]:
        pattern = pattern.replace(java, python)
    return pattern


def native(shape, value):
    """A sample as botocore has it: times and bytes as Python's."""
    if getattr(shape, "is_document_type", False):
        return value
    kind = shape.type_name
    if kind == "structure":
        return {name: native(shape.members[name], item) for name, item in value.items()}
    if kind == "list":
        return [native(shape.member, item) for item in value]
    if kind == "map":
        return {key: native(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        return datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc)
    if kind == "blob":
        return base64.b64decode(value)
    return value


def write(path, content):
    lines = [
        json.dumps(key) + ": " + json.dumps(item, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        for key, item in sorted(content.items())
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def models():
    for name in SERVICES:
        model = json.loads((MODELS / f"{name}.json").read_text())
        yield name, model, botocore.model.ServiceModel(model, name)


def protocols(service):
    """Each protocol that a service speaks, and what its keys in a golden file end with."""
    if "protocols" not in service.metadata:
        return [(service.metadata["protocol"], "")]
    return [(name, "" if name == "query" else " " + name) for name in sorted(service.metadata["protocols"])]


def request(service, operation, value, protocol):
    serializer = botocore.serialize.create_serializer(protocol)
    made = serializer.serialize_to_request(value, operation)
    target = made["url_path"]
    if made["query_string"]:
        target += "?" + percent_encode_sequence(made["query_string"])
    headers = {name.lower(): text for name, text in made["headers"].items()}
    signing = service.metadata.get("signingName", service.metadata["endpointPrefix"])
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={SCOPE.format(signing)}, SignedHeaders=host;x-amz-date, Signature=00"
    )
    prepared = botocore.awsrequest.AWSRequest(
        method=made["method"], url="http://localhost" + target, headers=headers, data=made["body"]
    ).prepare()
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else body
    sent = {"method": made["method"], "target": target, "headers": headers}
    return {**sent, "body_base64": base64.b64encode(body).decode()} if "cbor" in protocol else {**sent, "body": body.decode()}


def first_error(operation):
    shapes = sorted(shape.name for shape in operation.error_shapes)
    return shapes[0] if shapes else "InvalidParameterValue"


def make():
    for name, _, service in models():
        (HERE / name).mkdir(exist_ok=True)
        for old in (HERE / name).glob("*.json"):
            old.unlink()
        for operation_name in service.operation_names:
            operation = service.operation_model(operation_name)
            content = {"error_shape": first_error(operation)}
            sides = (("input", operation.input_shape, 0), ("output", operation.output_shape, 678))
            for side, shape, fraction_ms in sides:
                content[side] = Samples(fraction_ms).of(shape) if shape else {}
            sent = native(operation.input_shape, content["input"]) if operation.input_shape else {}
            for protocol, suffix in protocols(service):
                content["request" + suffix] = request(service, operation, sent, protocol)
            write(HERE / name / f"{operation_name}.json", content)
    (HERE / "GENERATOR").write_text(f"make.py with botocore {botocore.__version__}\n")


def parse(operation, response, protocol):
    parser = botocore.parsers.create_parser(protocol)
    headers = HTTPHeaders.from_pairs(response["headers"].items())
    body = base64.b64decode(response["body_base64"]) if "body_base64" in response else response["body"].encode()
    message = {"status_code": response["status"], "headers": headers, "body": body}
    return parser.parse(message, operation.output_shape)


def check():
    wrong = 0
    for name, _, service in models():
        for operation_name in service.operation_names:
            content = json.loads((HERE / name / f"{operation_name}.json").read_text())
            operation = service.operation_model(operation_name)
            for protocol, suffix in protocols(service):
                read = parse(operation, content["response" + suffix], protocol)
                metadata = read.pop("ResponseMetadata")
                shape = operation.output_shape
                wanted = native(shape, content["output"]) if shape else {}
                if shape is None:
                    read = {}
                error = parse(operation, content["error" + suffix], protocol)
                said = error["Error"]
                code = content["error_shape"]
                for error_shape in operation.error_shapes:
                    if error_shape.name == code:
                        code = error_shape.error_code
                complaints = []
                if read != wanted:
                    complaints.append(f"output\n  wanted {wanted}\n  read   {read}")
                # botocore does not look at a CBOR reply that has no output.
                seen = "cbor" not in protocol or shape is not None
                if seen and metadata.get("RequestId") != REQUEST_ID or error["ResponseMetadata"].get("RequestId") != REQUEST_ID:
                    complaints.append("request id")
                if (said["Code"], said["Message"]) != (code, "a <message> & more"):
                    complaints.append(f"error {said}, wanted {code}")
                for complaint in complaints:
                    wrong += 1
                    print(f"{name} {operation_name}{suffix}: {complaint}")
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        make()
    elif sys.argv[1:] == ["check"]:
        sys.exit(check())
    else:
        sys.exit(__doc__)
