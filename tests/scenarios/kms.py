"""Key Management Service: every operation well and badly; keys encrypt for whom a policy or a grant lets, and for nobody once they
are disabled or gone; parameters and secrets are encrypted with them."""
import base64, json, os, pathlib, subprocess, tempfile, time

import boto3
from botocore.config import Config

from host import equal, error_code, root_key

ONCE = Config(parameter_validation=False, retries={"max_attempts": 0, "total_max_attempts": 1}, read_timeout=60)
ROOT = "arn:aws:iam::000000000000:root"
NO_KEY = "00000000-0000-0000-0000-000000000000"


def keys(kms):
    """Keys and their states, tags, lists."""
    made = kms.create_key(Description="first", Tags=[{"TagKey": "a", "TagValue": "1"}])["KeyMetadata"]
    key, arn = made["KeyId"], made["Arn"]
    equal("a new key", {n: made[n] for n in ("AWSAccountId", "Arn", "Enabled", "KeyState", "KeyUsage", "KeySpec", "KeyManager", "Origin", "MultiRegion", "EncryptionAlgorithms", "CustomerMasterKeySpec")},
          {"AWSAccountId": "000000000000", "Arn": f"arn:aws:kms:us-east-1:000000000000:key/{key}", "Enabled": True, "KeyState": "Enabled", "KeyUsage": "ENCRYPT_DECRYPT",
           "KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeyManager": "CUSTOMER", "Origin": "AWS_KMS", "MultiRegion": False, "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"]})
    equal("by its ARN", kms.describe_key(KeyId=arn)["KeyMetadata"], made)
    equal("of another usage", (error_code(kms.create_key, KeyUsage="SIGN_VERIFY"), error_code(kms.create_key, KeySpec="ECC_NIST_P256")), ("ValidationException",) * 2)
    for kind in ({"KeySpec": "RSA_2048"}, {"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}, {"Origin": "EXTERNAL"}, {"MultiRegion": True}, {"CustomKeyStoreId": "cks-1"}):
        equal(kind, error_code(kms.create_key, **kind), "UnsupportedOperationException")
    equal("both specs", error_code(kms.create_key, KeySpec="SYMMETRIC_DEFAULT", CustomerMasterKeySpec="SYMMETRIC_DEFAULT"), "ValidationException")
    others = [kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(4)]
    pages = kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})
    equal("all keys", sorted(k["KeyId"] for page in pages for k in page["Keys"]), sorted([key, *others]))
    equal("a marker of nobody", error_code(kms.list_keys, Marker="x"), "InvalidMarkerException")
    for call in (kms.describe_key, kms.enable_key, kms.disable_key, kms.schedule_key_deletion, kms.cancel_key_deletion, kms.get_key_policy, kms.list_key_policies, kms.list_resource_tags,
                 kms.get_key_rotation_status, kms.enable_key_rotation, kms.disable_key_rotation, kms.rotate_key_on_demand, kms.list_key_rotations, kms.list_grants):
        equal(call.__name__, (error_code(call, KeyId=NO_KEY), error_code(call, KeyId="nothing"), error_code(call, KeyId=arn.replace("us-east-1", "eu-west-1"))), ("NotFoundException",) * 3)
    kms.update_key_description(KeyId=key, Description="second")
    equal("described", kms.describe_key(KeyId=key)["KeyMetadata"]["Description"], "second")
    equal("described by nobody", error_code(kms.update_key_description, KeyId=NO_KEY, Description=""), "NotFoundException")
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "b", "TagValue": "2"}, {"TagKey": "a", "TagValue": "3"}])
    kms.untag_resource(KeyId=arn, TagKeys=["b", "none"])
    equal("tags", kms.list_resource_tags(KeyId=key)["Tags"], [{"TagKey": "a", "TagValue": "3"}])
    equal("AWS's tag", error_code(kms.tag_resource, KeyId=key, Tags=[{"TagKey": "aws:x", "TagValue": ""}]), "TagException")
    equal("too many tags", error_code(kms.tag_resource, KeyId=key, Tags=[{"TagKey": f"t{n}", "TagValue": ""} for n in range(50)]), "LimitExceededException")
    equal("untagged", error_code(kms.untag_resource, KeyId=NO_KEY, TagKeys=["a"]), "NotFoundException")
    return key, others[0]


def aliases(kms, key, other):
    kms.create_alias(AliasName="alias/app", TargetKeyId=key)
    arn = "arn:aws:kms:us-east-1:000000000000:alias/app"
    for name in ("alias/app", arn):
        equal(name, kms.describe_key(KeyId=name)["KeyMetadata"]["KeyId"], key)
    equal("of the key", [(a["AliasName"], a["AliasArn"], a["TargetKeyId"]) for a in kms.list_aliases(KeyId=key)["Aliases"]], [("alias/app", arn, key)])
    listed = [a for page in kms.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 3}) for a in page["Aliases"]]
    names = {a["AliasName"]: a.get("TargetKeyId") for a in listed}
    assert names["alias/app"] == key and names["alias/aws/ebs"] is None and len(names) == len(listed), listed
    for name, target, code in (("alias/app", key, "AlreadyExistsException"), ("app", key, "ValidationException"), ("alias/aws/mine", key, "NotAuthorizedException"),
                               ("alias/a:b", key, "ValidationException"), ("alias/b", "alias/app", "ValidationException"), ("alias/b", NO_KEY, "NotFoundException")):
        equal((name, target), error_code(kms.create_alias, AliasName=name, TargetKeyId=target), code)
    kms.update_alias(AliasName="alias/app", TargetKeyId=other)
    equal("moved", kms.describe_key(KeyId="alias/app")["KeyMetadata"]["KeyId"], other)
    equal("no alias to move", error_code(kms.update_alias, AliasName="alias/no", TargetKeyId=key), "NotFoundException")
    kms.update_alias(AliasName="alias/app", TargetKeyId=key)
    kms.create_alias(AliasName="alias/gone", TargetKeyId=key)
    kms.delete_alias(AliasName="alias/gone")
    equal("no alias", (error_code(kms.delete_alias, AliasName="alias/gone"), error_code(kms.describe_key, KeyId="alias/gone")), ("NotFoundException", "NotFoundException"))
    equal("a key is meant, not an alias", error_code(kms.get_key_policy, KeyId="alias/app"), "NotFoundException")


def cryptography(kms, key, other):
    context = {"tenant": "a", "purpose": "test"}
    sealed = kms.encrypt(KeyId="alias/app", Plaintext=b"hello", EncryptionContext=context)
    blob = sealed["CiphertextBlob"]
    assert sealed["KeyId"].endswith(key) and sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT" and b"hello" not in blob, sealed
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(reversed(context.items())))
    equal("decrypted", (opened["Plaintext"], opened["KeyId"]), (b"hello", sealed["KeyId"]))
    equal("with the key named", kms.decrypt(CiphertextBlob=blob, EncryptionContext=context, KeyId="alias/app")["Plaintext"], b"hello")
    broken = blob[:-1] + bytes([blob[-1] ^ 1])
    for what, code, arguments in (
            ("another context", "InvalidCiphertextException", {"EncryptionContext": {"tenant": "b"}}), ("no context", "InvalidCiphertextException", {}),
            ("another key", "IncorrectKeyException", {"EncryptionContext": context, "KeyId": other}), ("no key", "NotFoundException", {"EncryptionContext": context, "KeyId": NO_KEY}),
            ("a changed blob", "InvalidCiphertextException", {"EncryptionContext": context, "CiphertextBlob": broken}), ("no blob", "InvalidCiphertextException", {"CiphertextBlob": b"x"}),
            ("another algorithm", "InvalidKeyUsageException", {"EncryptionContext": context, "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}),
            ("dry", "DryRunOperationException", {"EncryptionContext": context, "DryRun": True})):
        equal(what, error_code(kms.decrypt, **{"CiphertextBlob": blob, **arguments}), code)
    equal("nothing", error_code(kms.encrypt, KeyId=key, Plaintext=b""), "ValidationException")
    equal("too much", error_code(kms.encrypt, KeyId=key, Plaintext=b"x" * 4097), "ValidationException")
    most = bytes(range(256)) * 16
    equal("the most", kms.decrypt(CiphertextBlob=kms.encrypt(KeyId=key, Plaintext=most)["CiphertextBlob"])["Plaintext"], most)
    again = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=other, DestinationEncryptionContext={"new": "one"})
    assert again["KeyId"].endswith(other) and again["SourceKeyId"].endswith(key), again
    equal("encrypted again", kms.decrypt(CiphertextBlob=again["CiphertextBlob"], EncryptionContext={"new": "one"})["Plaintext"], b"hello")
    equal("from the wrong key", error_code(kms.re_encrypt, CiphertextBlob=blob, SourceEncryptionContext=context, SourceKeyId=other, DestinationKeyId=other), "IncorrectKeyException")
    for asked, size in (({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1024}, 1024)):
        data = kms.generate_data_key(KeyId=key, EncryptionContext=context, **asked)
        equal(asked, (len(data["Plaintext"]), kms.decrypt(CiphertextBlob=data["CiphertextBlob"], EncryptionContext=context)["Plaintext"]), (size, data["Plaintext"]))
        blind = kms.generate_data_key_without_plaintext(KeyId=key, **asked)
        assert "Plaintext" not in blind, blind
        equal("blind", len(kms.decrypt(CiphertextBlob=blind["CiphertextBlob"])["Plaintext"]), size)
    for call in (kms.generate_data_key, kms.generate_data_key_without_plaintext):
        equal("neither", (error_code(call, KeyId=key), error_code(call, KeyId=key, KeySpec="AES_256", NumberOfBytes=32), error_code(call, KeyId=NO_KEY, KeySpec="AES_256")),
              ("ValidationException", "ValidationException", "NotFoundException"))
    drawn = {kms.generate_random(NumberOfBytes=64)["Plaintext"] for _ in range(5)}
    equal("random", ({len(d) for d in drawn}, len(drawn)), ({64}, 5))
    equal("no number", (error_code(kms.generate_random), error_code(kms.generate_random, NumberOfBytes=1025)), ("ValidationException", "ValidationException"))
    return blob, context


def states(kms, key, blob, context):
    kms.disable_key(KeyId=key)
    equal("disabled", (kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"], kms.describe_key(KeyId=key)["KeyMetadata"]["Enabled"]), ("Disabled", False))
    uses = ((kms.encrypt, {"KeyId": key, "Plaintext": b"x"}), (kms.decrypt, {"CiphertextBlob": blob, "EncryptionContext": context}), (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
            (kms.create_grant, {"KeyId": key, "GranteePrincipal": ROOT, "Operations": ["Decrypt"]}), (kms.enable_key_rotation, {"KeyId": key}), (kms.rotate_key_on_demand, {"KeyId": key}))
    for call, arguments in uses:
        equal(f"{call.__name__} while disabled", error_code(call, **arguments), "DisabledException")
    equal("nothing to cancel", error_code(kms.cancel_key_deletion, KeyId=key), "KMSInvalidStateException")
    kms.enable_key(KeyId=key)
    equal("a short window", error_code(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=6), "ValidationException")
    gone = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    equal("on its way out", (gone["KeyState"], gone["PendingWindowInDays"], kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"]), ("PendingDeletion", 7, gone["DeletionDate"]))
    for call, arguments in (*uses, (kms.enable_key, {"KeyId": key}), (kms.disable_key, {"KeyId": key}), (kms.schedule_key_deletion, {"KeyId": key}), (kms.create_alias, {"AliasName": "alias/x", "TargetKeyId": key}),
                            (kms.tag_resource, {"KeyId": key, "Tags": [{"TagKey": "x", "TagValue": ""}]}), (kms.update_key_description, {"KeyId": key, "Description": ""})):
        equal(f"{call.__name__} on the way out", error_code(call, **arguments), "KMSInvalidStateException")
    kms.cancel_key_deletion(KeyId=key)
    equal("kept", kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"], "Disabled")
    kms.enable_key(KeyId=key)
    equal("used again", kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"], b"hello")


def rotation(kms, key, blob, context):
    equal("off", kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"], False)
    for days in (89, 2561):
        equal(days, error_code(kms.enable_key_rotation, KeyId=key, RotationPeriodInDays=days), "ValidationException")
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    on = kms.get_key_rotation_status(KeyId=key)
    equal("on", (on["KeyRotationEnabled"], on["RotationPeriodInDays"]), (True, 90))
    assert on["NextRotationDate"].timestamp() > time.time() + 89 * 86400, on
    kms.enable_key_rotation(KeyId=key)
    equal("unless said", kms.get_key_rotation_status(KeyId=key)["RotationPeriodInDays"], 365)
    kms.disable_key_rotation(KeyId=key)
    equal("off again", "NextRotationDate" in kms.get_key_rotation_status(KeyId=key), False)
    first = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    kms.rotate_key_on_demand(KeyId=key)
    second = kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert first != second
    equal("rotations", [(r["RotationType"], r["KeyMaterialId"]) for r in kms.list_key_rotations(KeyId=key)["Rotations"]], [("ON_DEMAND", second)])
    old = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
    new = kms.decrypt(CiphertextBlob=kms.encrypt(KeyId=key, Plaintext=b"new")["CiphertextBlob"])
    equal("what was encrypted before", (old["Plaintext"], old["KeyMaterialId"], new["KeyMaterialId"]), (b"hello", first, second))


def statement(principal, *actions, **more):
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*", **more}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def permissions(connect, root, key):
    """What a key's policy and its grants let a user do, who has no policy of his own."""
    kms, iam = connect(root, "kms"), connect(root, "iam")
    ann_arn = iam.create_user(UserName="ann")["User"]["Arn"]
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = connect((made["AccessKeyId"], made["SecretAccessKey"]), "kms")
    equal("the default policy", json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"][0]["Principal"], {"AWS": ROOT})
    equal("its name", kms.list_key_policies(KeyId=key)["PolicyNames"], ["default"])
    equal("no other name", error_code(kms.get_key_policy, KeyId=key, PolicyName="other"), "NotFoundException")
    use = {"KeyId": key, "Plaintext": b"x"}
    equal("nobody lets her", error_code(ann.encrypt, **use), "AccessDeniedException")
    for text in ("no policy", "{}", policy({"Effect": "Allow", "Action": "kms:*", "Resource": "*"})):
        equal(text, error_code(kms.put_key_policy, KeyId=key, Policy=text), "MalformedPolicyDocumentException")
    locked = policy(statement(ann_arn, "kms:Encrypt"))
    equal("locked out", (error_code(kms.put_key_policy, KeyId=key, Policy=locked), error_code(kms.create_key, Policy=locked)), ("MalformedPolicyDocumentException",) * 2)
    wide = policy(statement(ROOT, "kms:*"), statement(ann_arn, "kms:Encrypt"))
    kms.put_key_policy(KeyId=key, Policy=wide)
    equal("as given", kms.get_key_policy(KeyId=key)["Policy"], wide)
    sealed = ann.encrypt(**use)["CiphertextBlob"]
    equal("encrypt alone", error_code(ann.decrypt, CiphertextBlob=sealed), "AccessDeniedException")
    # With the account's say in the policy, IAM's policies count.
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]}]}))
    equal("by her own policy", ann.decrypt(CiphertextBlob=sealed)["Plaintext"], b"x")
    iam.delete_user_policy(UserName="ann", PolicyName="p")
    # A policy that asks for a context.
    kms.put_key_policy(KeyId=key, Policy=policy(statement(ROOT, "kms:*"), statement(ann_arn, "kms:Encrypt", Condition={"StringEquals": {"kms:EncryptionContext:tenant": "a"}})))
    equal("without the context", error_code(ann.encrypt, **use), "AccessDeniedException")
    ann.encrypt(**use, EncryptionContext={"tenant": "a"})
    kms.put_key_policy(KeyId=key, Policy=policy(statement(ROOT, "kms:*")))
    grants(kms, ann, ann_arn, key, sealed, use)


def grants(kms, ann, ann_arn, key, sealed, use):
    new = {"KeyId": key, "GranteePrincipal": ann_arn, "Operations": ["Encrypt", "Decrypt"], "Name": "ann"}
    equal("before", error_code(ann.encrypt, **use), "AccessDeniedException")
    first = kms.create_grant(**new, RetiringPrincipal=ann_arn)
    equal("once", kms.create_grant(**new, RetiringPrincipal=ann_arn)["GrantId"], first["GrantId"])
    equal("by the grant", ann.decrypt(CiphertextBlob=ann.encrypt(**use)["CiphertextBlob"])["Plaintext"], b"x")
    equal("no more than that", error_code(ann.generate_data_key, KeyId=key, KeySpec="AES_256"), "AccessDeniedException")
    listed = kms.list_grants(KeyId=key)["Grants"]
    equal("listed", [(g["GrantId"], g["GranteePrincipal"], sorted(g["Operations"]), g["Name"], g["RetiringPrincipal"]) for g in listed],
          [(first["GrantId"], ann_arn, ["Decrypt", "Encrypt"], "ann", ann_arn)])
    equal("by filter", (len(kms.list_grants(KeyId=key, GrantId=first["GrantId"])["Grants"]), kms.list_grants(KeyId=key, GranteePrincipal=ROOT)["Grants"]), (1, []))
    equal("retirable", [g["GrantId"] for g in kms.list_retirable_grants(RetiringPrincipal=ann_arn)["Grants"]], [first["GrantId"]])
    for change, code in (({"GranteePrincipal": "ann"}, "InvalidArnException"), ({"Operations": ["Sign"]}, "ValidationException"), ({"KeyId": NO_KEY}, "NotFoundException"), ({"DryRun": True, "Name": "dry"}, "DryRunOperationException"),
                         ({"Constraints": {"EncryptionContextEquals": {"a": "b"}, "EncryptionContextSubset": {"a": "b"}}}, "ValidationException")):
        equal(change, error_code(kms.create_grant, **{**new, **change}), code)
    ann.retire_grant(GrantToken=first["GrantToken"])
    equal("retired", error_code(ann.encrypt, **use), "AccessDeniedException")
    equal("retired already", error_code(ann.retire_grant, GrantToken=first["GrantToken"]), "InvalidGrantTokenException")
    equal("neither token nor id", error_code(kms.retire_grant), "ValidationException")
    bound = kms.create_grant(**new, Constraints={"EncryptionContextSubset": {"tenant": "a"}})
    equal("not of this grant", error_code(ann.retire_grant, KeyId=key, GrantId=bound["GrantId"]), "AccessDeniedException")
    equal("outside its context", error_code(ann.encrypt, **use), "AccessDeniedException")
    ann.encrypt(**use, EncryptionContext={"tenant": "a", "more": "b"})
    kms.revoke_grant(KeyId=key, GrantId=bound["GrantId"])
    equal("revoked", error_code(ann.encrypt, **use, EncryptionContext={"tenant": "a"}), "AccessDeniedException")
    equal("revoked already", error_code(kms.revoke_grant, KeyId=key, GrantId=bound["GrantId"]), "NotFoundException")


def services(connect, root, key):
    """Parameters and secrets are encrypted with the keys that they name, and with AWS's own unless they name one."""
    kms, ssm, secrets = (connect(root, service) for service in ("kms", "ssm", "secretsmanager"))
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    ssm.put_parameter(Name="/own", Value="hush", Type="SecureString", KeyId="alias/app")
    ssm.put_parameter(Name="/default", Value="hush", Type="SecureString")
    opaque = {name: ssm.get_parameter(Name=name)["Parameter"] for name in ("/own", "/default")}
    sealed = lambda name: {"CiphertextBlob": base64.b64decode(opaque[name]["Value"]), "EncryptionContext": {"PARAMETER_ARN": opaque[name]["ARN"]}}
    opened = kms.decrypt(**sealed("/own"))
    equal("with an own key", (opened["Plaintext"], opened["KeyId"]), (b"hush", arn))
    # AWS's own key is for what comes through its service alone.
    equal("with AWS's own key", error_code(kms.decrypt, **sealed("/default")), "AccessDeniedException")
    for name in opaque:
        equal(name, ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"], "hush")
    equal("a key that is none", error_code(ssm.put_parameter, Name="/none", Value="v", Type="SecureString", KeyId="alias/none"), "InvalidKeyId")
    token = "0" * 32
    for name, more in (("own", {"KmsKeyId": key}), ("default", {})):
        for _ in range(2):
            secrets.create_secret(Name=name, SecretString="hush", ClientRequestToken=token, **more)
        equal("another value of one token", error_code(secrets.put_secret_value, SecretId=name, SecretString="other", ClientRequestToken=token), "ResourceExistsException")
        secrets.put_secret_value(SecretId=name, SecretBinary=b"\0hush2")
        got = [secrets.get_secret_value(SecretId=name, VersionStage=stage) for stage in ("AWSPREVIOUS", "AWSCURRENT")]
        equal(name, (got[0]["SecretString"], got[1]["SecretBinary"]), ("hush", b"\0hush2"))
    equal("a key that is none", error_code(secrets.create_secret, Name="none", SecretString="v", KmsKeyId=NO_KEY), "EncryptionFailure")
    managed = kms.describe_key(KeyId="alias/aws/secretsmanager")["KeyMetadata"]
    equal("AWS's own", (managed["KeyManager"], managed["KeyState"]), ("AWS", "Enabled"))
    for call, more in ((kms.disable_key, {}), (kms.schedule_key_deletion, {}), (kms.disable_key_rotation, {}), (kms.put_key_policy, {"Policy": policy(statement(ROOT, "kms:*"))})):
        equal(f"AWS's own: {call.__name__}", error_code(call, KeyId=managed["KeyId"], **more), "AccessDeniedException")
    # Who may read the secret but not use its key, reads nothing.
    iam = connect(root, "iam")
    iam.put_user_policy(UserName="ann", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["secretsmanager:Get*", "ssm:Get*"], "Resource": "*"}]}))
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    credentials = (made["AccessKeyId"], made["SecretAccessKey"])
    her_ssm, hers = connect(credentials, "ssm"), connect(credentials, "secretsmanager")
    equal("with AWS's key", (her_ssm.get_parameter(Name="/default", WithDecryption=True)["Parameter"]["Value"], "SecretBinary" in hers.get_secret_value(SecretId="default")), ("hush", True))
    reads = ((her_ssm.get_parameter, {"Name": "/own", "WithDecryption": True}), (her_ssm.get_parameters_by_path, {"Path": "/", "WithDecryption": True}), (hers.get_secret_value, {"SecretId": "own"}))
    for call, arguments in reads:
        equal(call.__name__, error_code(call, **arguments), "AccessDeniedException")
    grant = kms.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::000000000000:user/ann", Operations=["Decrypt"])["GrantId"]
    for call, arguments in reads:
        call(**arguments)
    kms.revoke_grant(KeyId=key, GrantId=grant)
    # Nobody reads what a disabled key encrypted.
    kms.disable_key(KeyId=key)
    equal("disabled", (error_code(ssm.get_parameter, Name="/own", WithDecryption=True), error_code(secrets.get_secret_value, SecretId="own"),
                       error_code(secrets.put_secret_value, SecretId="own", SecretString="v")), ("InvalidKeyId", "DecryptionFailure", "EncryptionFailure"))
    equal("opaque all the same", "Value" in ssm.get_parameter(Name="/own")["Parameter"], True)
    kms.enable_key(KeyId=key)
    equal("enabled", secrets.get_secret_value(SecretId="own")["SecretBinary"], b"\0hush2")
    # Another key: what has a label is encrypted again.
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    secrets.update_secret(SecretId="own", KmsKeyId=other)
    kms.disable_key(KeyId=key)
    equal("with the other key", [secrets.get_secret_value(SecretId="own", VersionStage=stage)["ResponseMetadata"]["HTTPStatusCode"] for stage in ("AWSPREVIOUS", "AWSCURRENT")], [200, 200])
    kms.enable_key(KeyId=key)


def signatures(kms, symmetric):
    """Asymmetric keys sign and verify; openssl agrees."""
    made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    key, arn, algorithm = made["KeyId"], made["Arn"], {"SigningAlgorithm": "ECDSA_SHA_256"}
    equal("a signing key", (made["KeySpec"], made["KeyUsage"], made["SigningAlgorithms"], made.get("EncryptionAlgorithms")), ("ECC_NIST_P256", "SIGN_VERIFY", ["ECDSA_SHA_256"], None))
    signed = kms.sign(KeyId=arn, Message=b"hello", **algorithm)
    equal("by whom", (signed["KeyId"], signed["SigningAlgorithm"]), (arn, "ECDSA_SHA_256"))
    signature = {"Signature": signed["Signature"], **algorithm}
    equal("verified", kms.verify(KeyId=key, Message=b"hello", **signature)["SignatureValid"], True)
    equal("another message", error_code(kms.verify, KeyId=key, Message=b"hallo", **signature), "KMSInvalidSignatureException")
    equal("garbage", error_code(kms.verify, KeyId=key, Message=b"hello", Signature=b"x", **algorithm), "KMSInvalidSignatureException")
    public = kms.get_public_key(KeyId=key)
    equal("its public half", (public["KeyId"], public["KeySpec"], public["KeyUsage"], public["SigningAlgorithms"]), (arn, "ECC_NIST_P256", "SIGN_VERIFY", ["ECDSA_SHA_256"]))
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("key", public["PublicKey"]), ("signature", signed["Signature"]), ("message", b"hello")):
            pathlib.Path(folder, name).write_bytes(content)
        subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", "key", "-signature", "signature", "message"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    message = {"Message": b"hello", **algorithm}
    for what, code, call, arguments in (
            ("a key that encrypts", "InvalidKeyUsageException", kms.sign, {"KeyId": symmetric, **message}), ("it verifies nothing", "InvalidKeyUsageException", kms.verify, {"KeyId": symmetric, **message, **signature}),
            ("it has no public half", "UnsupportedOperationException", kms.get_public_key, {"KeyId": symmetric}), ("another algorithm", "InvalidKeyUsageException", kms.sign, {"KeyId": key, **message, "SigningAlgorithm": "RSASSA_PSS_SHA_256"}),
            ("a digest", "UnsupportedOperationException", kms.sign, {"KeyId": key, **algorithm, "Message": bytes(32), "MessageType": "DIGEST"}), ("encrypting", "InvalidKeyUsageException", kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
            ("a data key", "InvalidKeyUsageException", kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}), ("rotating", "UnsupportedOperationException", kms.enable_key_rotation, {"KeyId": key}),
            ("a dry run", "DryRunOperationException", kms.sign, {"KeyId": key, **message, "DryRun": True}), ("nobody's", "NotFoundException", kms.sign, {"KeyId": NO_KEY, **message}),
            ("a grant to encrypt", "ValidationException", kms.create_grant, {"KeyId": key, "GranteePrincipal": ROOT, "Operations": ["Encrypt"]})):
        equal(what, error_code(call, **arguments), code)
    kms.create_grant(KeyId=key, GranteePrincipal=ROOT, Operations=["Sign", "Verify", "GetPublicKey"])
    kms.disable_key(KeyId=key)
    equal("disabled", [error_code(call, **arguments) for call, arguments in ((kms.sign, {"KeyId": key, **message}), (kms.verify, {"KeyId": key, "Message": b"hello", **signature}), (kms.get_public_key, {"KeyId": key}))], ["DisabledException"] * 3)


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--auth", "enforce", "--request-rates", "off", data=data) as region:
        root = root_key(region.lines)

        def connect(credentials, service, at="us-east-1"):
            return boto3.Session(*credentials, region_name=at).client(service, endpoint_url=region.endpoint, config=ONCE)
        kms = connect(root, "kms")
        key, other = keys(kms)
        aliases(kms, key, other)
        blob, context = cryptography(kms, key, other)
        signatures(kms, other)
        states(kms, key, blob, context)
        rotation(kms, key, blob, context)
        permissions(connect, root, key)
        services(connect, root, key)
        elsewhere = connect(root, "kms", "eu-west-1")
        equal("another region", (error_code(elsewhere.decrypt, CiphertextBlob=blob), elsewhere.list_keys()["Keys"]), ("AccessDeniedException", []))
    with host.region("--auth", "enforce", "--request-rates", "off", data=data) as region:
        equal("after a restart", connect(root, "kms").decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"], b"hello")
