"""tests/terraform_iam: IAM's users, groups, policies, boundaries and access keys: applied, changed, destroyed by Terraform; and the
refusals and pages that it never meets, by boto3."""
import json
from host import equal, error_code
from scenarios.terraform import find_mirror, life

POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]})


def access_keys(region, iam):
    iam.create_user(UserName="dora", Path="/team/")
    key = iam.create_access_key(UserName="dora")["AccessKey"]
    equal("forms of a key", (key["AccessKeyId"][:4], len(key["AccessKeyId"]), len(key["SecretAccessKey"]), key["Status"]), ("AKIA", 20, 40, "Active"))
    own, sts = (region.client(service, key=key["AccessKeyId"]) for service in ("iam", "sts"))
    equal("the caller is the key's user", sts.get_caller_identity()["Arn"], own.get_user()["User"]["Arn"])
    equal("its ARN", own.get_user()["User"]["Arn"].split(":")[-1], "user/team/dora")
    equal("whose account a key is of", (sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"], error_code(sts.get_access_key_info, AccessKeyId="A" * 20)), ("000000000000", "ValidationError"))
    second = own.create_access_key()["AccessKey"]
    equal("whose the second is", second["UserName"], "dora")
    equal("a third", error_code(iam.create_access_key, UserName="dora"), "LimitExceeded")
    listed = iam.list_access_keys(UserName="dora")["AccessKeyMetadata"]
    equal("what a list shows", {name for item in listed for name in item}, {"UserName", "AccessKeyId", "Status", "CreateDate"})
    for reply in (listed, iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"]), iam.get_user(UserName="dora")):
        assert key["SecretAccessKey"] not in str(reply), reply
    equal("last used", iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"], {"ServiceName": "N/A", "Region": "N/A"})
    iam.update_access_key(UserName="dora", AccessKeyId=second["AccessKeyId"], Status="Inactive")
    statuses = {item["AccessKeyId"]: item["Status"] for item in iam.list_access_keys(UserName="dora")["AccessKeyMetadata"]}
    equal("statuses", (statuses[key["AccessKeyId"]], statuses[second["AccessKeyId"]]), ("Active", "Inactive"))
    equal("a user with keys", error_code(iam.delete_user, UserName="dora"), "DeleteConflict")
    iam.update_user(UserName="dora", NewUserName="dorothea")
    equal("its key after a new name", own.get_user()["User"]["UserName"], "dorothea")
    for made in (key, second):
        iam.delete_access_key(UserName="dorothea", AccessKeyId=made["AccessKeyId"])
    equal("a key that is gone", error_code(iam.update_access_key, UserName="dorothea", AccessKeyId=key["AccessKeyId"], Status="Active"), "NoSuchEntity")
    iam.delete_user(UserName="dorothea")
    # A key of another account works in that account.
    other = region.client("iam", key="111122223333")
    other.create_user(UserName="eve")
    key = other.create_access_key(UserName="eve")["AccessKey"]
    equal("whose account", region.client("sts", key=key["AccessKeyId"]).get_caller_identity()["Account"], "111122223333")
    other.delete_access_key(UserName="eve", AccessKeyId=key["AccessKeyId"])
    other.delete_user(UserName="eve")


def pages(iam):
    """Each list, page by page and whole."""
    for n in range(5):
        iam.create_user(UserName=f"u{n}", Path="/walk/", Tags=[{"Key": f"k{t}", "Value": "v"} for t in range(3)])
        iam.create_group(GroupName=f"g{n}", Path="/walk/")
        iam.add_user_to_group(GroupName=f"g{n}", UserName="u0")
        iam.add_user_to_group(GroupName="g0", UserName=f"u{n}")
        iam.put_user_policy(UserName="u0", PolicyName=f"inline{n}", PolicyDocument=POLICY)
        iam.put_group_policy(GroupName="g0", PolicyName=f"inline{n}", PolicyDocument=POLICY)
    arns = [iam.create_policy(PolicyName=f"p{n}", Path="/walk/", PolicyDocument=POLICY)["Policy"]["Arn"] for n in range(3)]
    for arn in arns:
        iam.attach_user_policy(UserName="u0", PolicyArn=arn)
        iam.attach_group_policy(GroupName="g0", PolicyArn=arn)
    for n in range(5):
        if n:
            iam.attach_user_policy(UserName=f"u{n}", PolicyArn=arns[0])
    for operation, items, expected, arguments in (
            ("list_users", "Users", 5, {"PathPrefix": "/walk/"}), ("list_groups", "Groups", 5, {"PathPrefix": "/walk/"}),
            ("list_groups_for_user", "Groups", 5, {"UserName": "u0"}), ("get_group", "Users", 5, {"GroupName": "g0"}),
            ("list_user_policies", "PolicyNames", 5, {"UserName": "u0"}), ("list_group_policies", "PolicyNames", 5, {"GroupName": "g0"}),
            ("list_attached_user_policies", "AttachedPolicies", 3, {"UserName": "u0", "PathPrefix": "/walk/"}),
            ("list_attached_group_policies", "AttachedPolicies", 3, {"GroupName": "g0"}), ("list_user_tags", "Tags", 3, {"UserName": "u0"}),
            ("list_entities_for_policy", "PolicyUsers", 5, {"PolicyArn": arns[0]}), ("list_entities_for_policy", "PolicyGroups", 1, {"PolicyArn": arns[0]})):
        paginator = iam.get_paginator(operation)
        for size in (1, 2, 100):
            found = [item for page in paginator.paginate(**arguments, PaginationConfig={"PageSize": size}) for item in page[items]]
            equal(f"{operation} by {size}", (len(found), len({str(item) for item in found})), (expected, expected))
    equal("only users", [len(iam.list_entities_for_policy(PolicyArn=arns[0], EntityFilter="User")[f"Policy{kind}"]) for kind in ("Users", "Groups", "Roles")], [5, 0, 0])
    return arns


def refusals(iam, arns):
    equal("a name in another case", error_code(iam.create_user, UserName="U0"), "EntityAlreadyExists")
    equal("a taken name", error_code(iam.update_user, UserName="u1", NewUserName="u2"), "EntityAlreadyExists")
    equal("nobody", error_code(iam.get_user, UserName="nobody"), "NoSuchEntity")
    equal("a group of nobody", error_code(iam.get_group, GroupName="nobody"), "NoSuchEntity")
    equal("a bad name", error_code(iam.create_user, UserName="a b"), "ValidationError")
    equal("a bad document", error_code(iam.put_user_policy, UserName="u0", PolicyName="x", PolicyDocument="{}"), "MalformedPolicyDocument")
    equal("a group with users", error_code(iam.delete_group, GroupName="g0"), "DeleteConflict")
    equal("a policy in use", error_code(iam.delete_policy, PolicyArn=arns[0]), "DeleteConflict")
    equal("an unknown policy", error_code(iam.attach_user_policy, UserName="u0", PolicyArn=arns[0] + "x"), "NoSuchEntity")
    equal("a boundary that is none", error_code(iam.put_user_permissions_boundary, UserName="u0", PermissionsBoundary="arn:aws:iam::1:not_a_policy"), "ValidationError")
    equal("an alias with hyphens", error_code(iam.create_account_alias, AccountAlias="a--b"), "ValidationError")
    equal("a reserved tag", error_code(iam.tag_user, UserName="u0", Tags=[{"Key": "aws:x", "Value": "v"}]), "InvalidInput")
    iam.create_account_alias(AccountAlias="a-b")
    equal("alias", iam.list_account_aliases()["AccountAliases"], ["a-b"])
    iam.delete_account_alias(AccountAlias="a-b")


def versions(iam, arn):
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=POLICY.replace("logs:*", "ecs:*"), SetAsDefault=False)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    equal("default version", iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"], "v2")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")


def emptied(iam, arns):
    for n in range(5):
        for arn in [policy["PolicyArn"] for policy in iam.list_attached_user_policies(UserName=f"u{n}")["AttachedPolicies"]]:
            iam.detach_user_policy(UserName=f"u{n}", PolicyArn=arn)
        for group in iam.list_groups_for_user(UserName=f"u{n}")["Groups"]:
            iam.remove_user_from_group(GroupName=group["GroupName"], UserName=f"u{n}")
        iam.delete_user_policy(UserName="u0", PolicyName=f"inline{n}")
        iam.delete_group_policy(GroupName="g0", PolicyName=f"inline{n}")
    for arn in arns:
        iam.detach_group_policy(GroupName="g0", PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)
    for n in range(5):
        iam.delete_user(UserName=f"u{n}")
        iam.delete_group(GroupName=f"g{n}")


def calls(terraform, region):
    """Before Terraform comes: what is made here is gone when it does."""
    iam, = region.clients("iam")
    access_keys(region, iam)
    arns = pages(iam)
    refusals(iam, arns)
    versions(iam, arns[0])
    emptied(iam, arns)
    assert region.status()["empty"], region.status()["resources"]


def scenario(host):
    if find_mirror():
        return life(host, "tests/terraform_iam", calls)
    with host.region() as region:
        calls(None, region)
