//! The facts of IAM's evaluation one by one, and the engine against the naive evaluator.

use super::naive;
use super::party::fixture::{ACCOUNT, root, service, session, user};
use super::*;
use fogbank_types::Tags;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const OTHER: &str = "444455556666";
const BUCKET: &str = "arn:aws:s3:::b/x";

fn policy(kind: PolicyKind, statement: Value) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    Policy::new(kind, "p", "here", &text)
}

fn allow(action: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": "*"})
}

fn deny(action: &str) -> Value {
    json!({"Effect": "Deny", "Action": action, "Resource": "*"})
}

fn grants(identity: &[Value]) -> Grants {
    let all = identity.iter().cloned();
    Grants {
        identity: all.map(|s| policy(PolicyKind::Identity, s)).collect(),
        ..Grants::default()
    }
}

fn bounded(identity: Value, boundary: Value) -> Grants {
    Grants {
        boundary: Some(vec![policy(PolicyKind::Boundary, boundary)]),
        ..grants(&[identity])
    }
}

fn limited(identity: Value, session: Value) -> Grants {
    Grants {
        session: Some(vec![policy(PolicyKind::Session, session)]),
        ..grants(&[identity])
    }
}

fn open_to(principal: Value) -> Resource {
    let statement =
        json!({"Effect": "Allow", "Action": "s3:*", "Principal": principal, "Resource": "*"});
    let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    Resource::new(BUCKET).with_policy(text, false)
}

fn of_another(resource: Resource) -> Resource {
    Resource {
        account: Some(OTHER.into()),
        ..resource
    }
}

fn verdict_of(grants: &Grants, party: &Party, resource: &Resource) -> Verdict {
    decide_with(
        grants,
        party,
        "s3:GetObject",
        std::slice::from_ref(resource),
        &Conditions::default(),
    )
    .verdict
}

use PolicyKind::{Boundary, Endpoint, Identity, Resource as OfResource, Session};
use Verdict::{Allowed, ExplicitDeny, ImplicitDeny};

/// IAM-1
#[test]
fn nothing_is_allowed_by_default_and_an_explicit_deny_wins() {
    let bucket = Resource::new(BUCKET);
    let ann = user("ann");
    assert_eq!(
        verdict_of(&grants(&[]), &ann, &bucket),
        ImplicitDeny(Identity)
    );
    assert_eq!(
        verdict_of(&grants(&[allow("s3:Get*")]), &ann, &bucket),
        Allowed
    );
    assert_eq!(
        verdict_of(&grants(&[allow("s3:Put*")]), &ann, &bucket),
        ImplicitDeny(Identity)
    );
    let both = grants(&[allow("*"), deny("s3:getobject")]);
    assert_eq!(verdict_of(&both, &ann, &bucket), ExplicitDeny(Identity));
}

/// IAM-1
#[test]
fn boundary_and_session_policy_must_allow_too() {
    let (ann, bucket) = (user("ann"), Resource::new(BUCKET));
    assert_eq!(
        verdict_of(&bounded(allow("*"), allow("s3:*")), &ann, &bucket),
        Allowed
    );
    assert_eq!(
        verdict_of(&bounded(allow("*"), allow("ec2:*")), &ann, &bucket),
        ImplicitDeny(Boundary)
    );
    assert_eq!(
        verdict_of(&bounded(allow("ec2:*"), allow("*")), &ann, &bucket),
        ImplicitDeny(Identity)
    );
    assert_eq!(
        verdict_of(&bounded(allow("*"), deny("s3:*")), &ann, &bucket),
        ExplicitDeny(Boundary)
    );
    let ops = session("ops", None);
    assert_eq!(
        verdict_of(&limited(allow("*"), allow("s3:*")), &ops, &bucket),
        Allowed
    );
    assert_eq!(
        verdict_of(&limited(allow("*"), allow("ec2:*")), &ops, &bucket),
        ImplicitDeny(Session)
    );
    assert_eq!(
        verdict_of(
            &limited(allow("*"), json!([allow("*"), deny("s3:*")])),
            &ops,
            &bucket
        ),
        ExplicitDeny(Session)
    );
}

/// A boundary that is gone bounds to nothing.
#[test]
fn a_boundary_that_cannot_be_found_allows_nothing() {
    let grants = Grants {
        boundary: Some(Vec::new()),
        ..grants(&[allow("*")])
    };
    assert_eq!(
        verdict_of(&grants, &user("ann"), &Resource::new(BUCKET)),
        ImplicitDeny(Boundary)
    );
}

/// IAM-1, IAM-3
#[test]
fn in_one_account_a_resources_policy_allows_by_itself_whom_it_names() {
    let ann = user("ann");
    let named = open_to(json!({"AWS": ann.arn}));
    assert_eq!(verdict_of(&grants(&[]), &ann, &named), Allowed);
    assert_eq!(
        verdict_of(&bounded(allow("ec2:*"), allow("ec2:*")), &ann, &named),
        Allowed,
        "a boundary's silence does not limit it"
    );
    assert_eq!(
        verdict_of(&grants(&[deny("s3:*")]), &ann, &named),
        ExplicitDeny(Identity)
    );
    let account = open_to(json!({"AWS": ACCOUNT}));
    assert_eq!(
        verdict_of(&grants(&[]), &ann, &account),
        ImplicitDeny(Identity),
        "the account leaves it to IAM"
    );
    assert_eq!(
        verdict_of(&grants(&[allow("s3:*")]), &ann, &account),
        Allowed
    );
    assert_eq!(
        verdict_of(&grants(&[]), &ann, &open_to(json!("*"))),
        Allowed
    );
    assert_eq!(
        verdict_of(&grants(&[]), &user("bob"), &named),
        ImplicitDeny(Identity)
    );
}

/// IAM-3
#[test]
fn a_session_is_limited_where_its_role_is_named_and_not_where_it_is() {
    let ops = session("ops", None);
    let role = open_to(json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:role/ops")}));
    let itself = open_to(json!({"AWS": ops.arn}));
    assert_eq!(verdict_of(&grants(&[]), &ops, &role), Allowed);
    assert_eq!(
        verdict_of(&bounded(allow("*"), allow("ec2:*")), &ops, &role),
        ImplicitDeny(Boundary)
    );
    assert_eq!(
        verdict_of(&limited(allow("*"), allow("ec2:*")), &ops, &role),
        ImplicitDeny(Session)
    );
    assert_eq!(
        verdict_of(&bounded(allow("*"), allow("ec2:*")), &ops, &itself),
        Allowed
    );
    assert_eq!(
        verdict_of(&limited(allow("*"), allow("ec2:*")), &ops, &itself),
        Allowed
    );
}

/// IAM-2
#[test]
fn across_accounts_both_sides_must_allow() {
    let ann = user("ann");
    let (named, account) = (
        open_to(json!({"AWS": ann.arn})),
        open_to(json!({"AWS": ACCOUNT})),
    );
    for resource in [
        of_another(named),
        of_another(account),
        of_another(open_to(json!("*"))),
    ] {
        assert_eq!(
            verdict_of(&grants(&[allow("s3:*")]), &ann, &resource),
            Allowed
        );
        assert_eq!(
            verdict_of(&grants(&[]), &ann, &resource),
            ImplicitDeny(Identity)
        );
        assert_eq!(
            verdict_of(&bounded(allow("*"), allow("ec2:*")), &ann, &resource),
            ImplicitDeny(Boundary)
        );
    }
    let closed = of_another(open_to(json!({"AWS": OTHER})));
    assert_eq!(
        verdict_of(&grants(&[allow("*")]), &ann, &closed),
        ImplicitDeny(OfResource)
    );
    let without = of_another(Resource::new(BUCKET));
    assert_eq!(
        verdict_of(&grants(&[allow("*")]), &ann, &without),
        ImplicitDeny(OfResource)
    );
    assert_eq!(
        verdict_of(&grants(&[]), &root(), &without),
        ImplicitDeny(OfResource),
        "nor may the root of another account"
    );
}

/// IAM-2
#[test]
fn a_trust_policy_must_allow_explicitly() {
    let trust = |principal: Value| {
        let statement =
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal});
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        Resource::new(format!("arn:aws:iam::{ACCOUNT}:role/ops")).with_policy(text, true)
    };
    let ask = |grants: &Grants, party: &Party, role: &Resource| {
        let role = std::slice::from_ref(role);
        decide_with(
            grants,
            party,
            "sts:AssumeRole",
            role,
            &Conditions::default(),
        )
        .verdict
    };
    let ann = user("ann");
    let tasks = trust(json!({"Service": "ecs-tasks.amazonaws.com"}));
    assert_eq!(
        ask(&grants(&[allow("*")]), &ann, &tasks),
        ImplicitDeny(OfResource)
    );
    assert_eq!(ask(&grants(&[]), &root(), &tasks), ImplicitDeny(OfResource));
    assert_eq!(
        ask(&grants(&[]), &service("ecs-tasks.amazonaws.com"), &tasks),
        Allowed
    );
    assert_eq!(
        ask(&grants(&[]), &service("ec2.amazonaws.com"), &tasks),
        ImplicitDeny(OfResource)
    );
    let account = trust(json!({"AWS": ACCOUNT}));
    assert_eq!(ask(&grants(&[]), &ann, &account), ImplicitDeny(Identity));
    assert_eq!(ask(&grants(&[allow("sts:*")]), &ann, &account), Allowed);
    assert_eq!(
        ask(&grants(&[]), &ann, &trust(json!({"AWS": ann.arn}))),
        Allowed
    );
    assert_eq!(
        ask(
            &grants(&[deny("sts:*")]),
            &ann,
            &trust(json!({"AWS": ann.arn}))
        ),
        ExplicitDeny(Identity)
    );
}

/// IAM-2
#[test]
fn the_root_of_the_account_is_limited_by_resources_policies_only() {
    assert_eq!(
        verdict_of(&grants(&[]), &root(), &Resource::new(BUCKET)),
        Allowed
    );
    assert_eq!(
        verdict_of(
            &grants(&[]),
            &root(),
            &open_to(json!({"AWS": user("ann").arn}))
        ),
        Allowed
    );
    let statement = json!({"Effect": "Deny", "Action": "s3:*", "Principal": "*", "Resource": "*"});
    let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    let closed = Resource::new(BUCKET).with_policy(text, false);
    assert_eq!(
        verdict_of(&grants(&[]), &root(), &closed),
        ExplicitDeny(OfResource)
    );
}

#[test]
fn an_endpoints_policy_must_allow_what_comes_through_it() {
    let through = |statement: Value| Grants {
        endpoint: Some(vec![policy(Endpoint, statement)]),
        ..grants(&[allow("*")])
    };
    let (ann, bucket) = (user("ann"), Resource::new(BUCKET));
    let open = json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"});
    assert_eq!(verdict_of(&through(open.clone()), &ann, &bucket), Allowed);
    assert_eq!(verdict_of(&through(open), &root(), &bucket), Allowed);
    let narrow = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:Put*", "Resource": "*"});
    assert_eq!(
        verdict_of(&through(narrow.clone()), &ann, &bucket),
        ImplicitDeny(Endpoint)
    );
    assert_eq!(
        verdict_of(&through(narrow), &root(), &bucket),
        ImplicitDeny(Endpoint),
        "root or not"
    );
    let others = json!({"Effect": "Allow", "Principal": {"AWS": user("bob").arn}, "Action": "*", "Resource": "*"});
    assert_eq!(
        verdict_of(&through(others), &ann, &bucket),
        ImplicitDeny(Endpoint)
    );
}

#[test]
fn a_policy_that_cannot_be_read_denies() {
    let mut all = grants(&[allow("*")]);
    all.identity
        .push(Policy::new(Identity, "broken", "here", "{"));
    assert_eq!(
        verdict_of(&all, &user("ann"), &Resource::new(BUCKET)),
        ExplicitDeny(Identity)
    );
}

#[test]
fn every_resource_must_be_allowed() {
    let narrow = grants(&[
        json!({"Effect": "Allow", "Action": "ec2:CreateSubnet", "Resource": "arn:aws:ec2:*:*:vpc/*"}),
    ]);
    let all = |arns: &[&str]| {
        let resources: Vec<Resource> = arns.iter().map(|arn| Resource::new(*arn)).collect();
        decide_with(
            &narrow,
            &user("ann"),
            "ec2:CreateSubnet",
            &resources,
            &Conditions::default(),
        )
    };
    let (vpc, subnet) = (
        "arn:aws:ec2:us-east-1:111122223333:vpc/v",
        "arn:aws:ec2:us-east-1:111122223333:subnet/*",
    );
    assert!(all(&[vpc]).is_allowed());
    let refused = all(&[subnet, vpc]);
    assert_eq!(
        (refused.verdict, refused.resource.as_str()),
        (ImplicitDeny(Identity), subnet)
    );
}

/// IAM-4, with the caller's own keys.
#[test]
fn variables_stand_for_who_asks() {
    let home = json!({"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/${aws:username}"});
    let ask = |party: &Party, of: &str| {
        let resource = [Resource::new(format!("arn:aws:iam::{ACCOUNT}:user/{of}"))];
        decide_with(
            &grants(std::slice::from_ref(&home)),
            party,
            "iam:GetUser",
            &resource,
            &Conditions::default(),
        )
        .is_allowed()
    };
    assert!(ask(&user("ann"), "ann"));
    assert!(!ask(&user("ann"), "bob"));
    assert!(!ask(&user("*"), "bob"));
    assert!(
        !ask(&session("ann", None), "ann"),
        "a session has no user name"
    );
    let by_team = json!({"Effect": "Allow", "Action": "*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/Team": "${aws:PrincipalTag/team}"}}});
    let mut ann = user("ann");
    ann.tags = Tags::from([("Team".to_owned(), "blue".to_owned())]);
    let tagged = |value: &str| {
        let mut resource = Resource::new(BUCKET);
        resource.conditions.set("aws:ResourceTag/team", value);
        resource
    };
    let grants = grants(&[by_team]);
    assert_eq!(verdict_of(&grants, &ann, &tagged("blue")), Allowed);
    assert_eq!(
        verdict_of(&grants, &ann, &tagged("Blue")),
        ImplicitDeny(Identity)
    );
    assert_eq!(
        verdict_of(&grants, &user("bob"), &tagged("blue")),
        ImplicitDeny(Identity)
    );
}

/// IAM-9
#[test]
fn refusals_are_worded_as_awss() {
    let ann = user("ann");
    let say = |grants: &Grants, action: &str, resource: Resource| {
        decide_with(grants, &ann, action, &[resource], &Conditions::default()).refusal(&ann.arn)
    };
    let role = || Resource::new(format!("arn:aws:iam::{ACCOUNT}:role/ops"));
    assert_eq!(
        say(&grants(&[]), "iam:GetRole", role()),
        "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/ops because no identity-based policy allows the iam:GetRole action"
    );
    assert_eq!(
        say(&grants(&[allow("*"), deny("iam:*")]), "iam:GetRole", role()),
        "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/ops with an explicit deny in an identity-based policy"
    );
    assert!(
        say(&bounded(allow("*"), allow("s3:*")), "iam:GetRole", role())
            .ends_with("because no permissions boundary allows the iam:GetRole action")
    );
    assert!(
        say(&limited(allow("*"), deny("*")), "iam:GetRole", role())
            .ends_with("with an explicit deny in a session policy")
    );
    assert!(
        say(&grants(&[]), "ec2:DescribeVpcs", Resource::new("*"))
            .contains("ec2:DescribeVpcs because")
    );
}

const ACTIONS: [&str; 4] = [
    "s3:GetObject",
    "s3:PutObject",
    "ec2:DescribeVpcs",
    "iam:PassRole",
];
const ARNS: [&str; 4] = [
    "arn:aws:s3:::b/ann/x",
    "arn:aws:s3:us-east-1:111122223333:b:c",
    "arn:aws:iam::111122223333:role/path/ops",
    "*",
];
const KEYS: [&str; 5] = [
    "aws:username",
    "aws:RequestTag/Team",
    "aws:TagKeys",
    "k:number",
    "aws:SourceIp",
];

fn texts(all: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let one = proptest::sample::select(all).prop_map(Value::from);
    let some = proptest::sample::subsequence(all, 1..3).prop_map(|list| json!(list));
    prop_oneof![one, some]
}

fn condition() -> impl Strategy<Value = Value> {
    let operator = proptest::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "NumericEquals",
        "NumericNotEquals",
        "NumericLessThan",
        "NumericGreaterThanEquals",
        "Bool",
        "IpAddress",
        "NotIpAddress",
        "ArnLike",
        "ArnEquals",
        "ArnNotLike",
        "ArnNotEquals",
        "Null",
    ]);
    let set = proptest::sample::select(vec!["", "", "ForAnyValue:", "ForAllValues:"]);
    let key = proptest::sample::select(KEYS.to_vec());
    let values = texts(&[
        "ann",
        "Ann",
        "a*",
        "?nn",
        "${aws:username}",
        "${k:number, 'ann'}",
        "${*}",
        "true",
        "1",
        "2.0",
        "arn:aws:iam::*:role/*",
        "arn:aws:*:*:*:b:c",
        "*",
    ]);
    let networks = texts(&["10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "10.1.2.3/32"]);
    (set, operator, any::<bool>(), key, values, networks).prop_map(
        |(set, operator, lenient, key, values, networks)| {
            let is_network = operator.contains("Ip");
            let (set, lenient) = if operator == "Null" {
                ("", false)
            } else {
                (set, lenient)
            };
            let values = match operator {
                "Null" => json!(lenient || key.len() % 2 == 0),
                _ if is_network => networks,
                _ => values,
            };
            // Networks are compared with addresses only; the naive evaluator reads no others.
            let key = if is_network { "aws:SourceIp" } else { key };
            let operator = format!("{set}{operator}{}", if lenient { "IfExists" } else { "" });
            json!({operator: {key: values}})
        },
    )
}

fn statement(with_principal: bool) -> impl Strategy<Value = Value> {
    let actions = texts(&[
        "*",
        "s3:*",
        "S3:get*",
        "ec2:Describe?pcs",
        "iam:PassRole",
        "s3:PutObject",
    ]);
    let resources = texts(&[
        "*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/${aws:username}/?",
        "arn:aws:s3:*",
        "arn:aws:s3:*:b:c",
        "arn:aws:iam::*:role/*ops",
        "arn:aws:s*:c",
        "arn:aws:s3:::b/${k:none}/x",
        "arn:aws:s3:*:?11122223333:*",
    ]);
    let principals = texts(&[
        "*",
        ACCOUNT,
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:user/ann",
        "arn:aws:iam::111122223333:role/ops",
        "arn:aws:sts::111122223333:assumed-role/ops/s",
        OTHER,
    ]);
    let inverted = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.15));
    (
        proptest::bool::weighted(0.7),
        actions,
        resources,
        principals,
        inverted,
        proptest::option::of(condition()),
    )
        .prop_map(
            move |(
                allows,
                actions,
                resources,
                principals,
                (not_action, not_resource, not_principal),
                condition,
            )| {
                let name = |not: bool, key: &str| format!("{}{key}", if not { "Not" } else { "" });
                let mut statement = json!({"Effect": if allows { "Allow" } else { "Deny" }});
                statement[name(not_action && !allows, "Action")] = actions;
                statement[name(not_resource && !allows, "Resource")] = resources;
                if with_principal {
                    statement[name(not_principal, "Principal")] = json!({"AWS": principals});
                }
                if let Some(condition) = condition {
                    statement["Condition"] = condition;
                }
                statement
            },
        )
}

fn document(with_principal: bool) -> impl Strategy<Value = Value> {
    let version = proptest::sample::select(vec!["2012-10-17", "2012-10-17", "2008-10-17"]);
    (
        version,
        proptest::collection::vec(statement(with_principal), 1..4),
    )
        .prop_map(|(version, statements)| json!({"Version": version, "Statement": statements}))
}

fn request() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let text = proptest::sample::select(vec![
        "ann",
        "Ann",
        "bob",
        "1",
        "2",
        "true",
        "*",
        "arn:aws:iam::1:role/a",
    ]);
    let one = text.prop_map(|t| vec![t.to_owned()]);
    let values = prop_oneof![3 => one, 1 => proptest::sample::subsequence(vec!["ann", "bob", "1"], 0..3)
        .prop_map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())];
    let address = proptest::sample::select(vec!["10.1.2.3", "10.1.9.9", "10.2.0.1"]);
    let keys = proptest::sample::subsequence(&KEYS[1..4], 0..3);
    (
        keys,
        proptest::collection::vec(values, 3),
        proptest::option::of(address),
    )
        .prop_map(|(keys, values, address)| {
            let mut request: BTreeMap<_, _> = keys
                .into_iter()
                .map(str::to_lowercase)
                .zip(values)
                .collect();
            if let Some(address) = address {
                request.insert("aws:sourceip".into(), vec![address.to_owned()]);
            }
            request
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_the_naive_evaluator(
        identity in proptest::collection::vec(document(false), 0..3),
        boundary in proptest::option::weighted(0.3, document(false)),
        session_policy in proptest::option::weighted(0.5, document(false)),
        resource_policy in proptest::option::weighted(0.6, document(true)),
        is_required in any::<bool>(),
        is_cross in proptest::bool::weighted(0.3),
        who in 0..3,
        action in proptest::sample::select(ACTIONS.to_vec()),
        arn in proptest::sample::select(ARNS.to_vec()),
        request in request(),
    ) {
        let party = match who {
            0 => user("ann"),
            1 => session("ops", None),
            _ => root(),
        };
        let (is_user, is_session) = (who == 0, who == 1);
        let policies = naive::Policies {
            identity: if who == 2 { Vec::new() } else { identity },
            boundary: boundary.filter(|_| who != 2),
            session: session_policy.filter(|_| is_session),
            resource_is_required: is_required && resource_policy.is_some(),
            resource: resource_policy,
            resource_account: if is_cross { OTHER } else { ACCOUNT }.to_owned(),
        };
        let read = |kind, value: &Value| Policy::new(kind, "p", "here", &value.to_string());
        let grants = Grants {
            identity: policies.identity.iter().map(|p| read(Identity, p)).collect(),
            boundary: policies.boundary.as_ref().map(|p| vec![read(Boundary, p)]),
            session: policies.session.as_ref().map(|p| vec![read(Session, p)]),
            endpoint: None,
        };
        let mut resource = Resource { account: Some(policies.resource_account.clone()), ..Resource::new(arn) };
        if let Some(policy) = &policies.resource {
            resource = resource.with_policy(policy.to_string(), policies.resource_is_required);
        }
        let mut conditions = Conditions::default();
        for (key, values) in &request {
            conditions.set_list(key, values.iter().cloned());
        }
        let mut told = request.clone();
        if is_user {
            told.insert("aws:username".into(), vec!["ann".into()]);
        }
        let expected = naive::allows(&policies, &party, action, arn, &told);
        let decision = decide_with(&grants, &party, action, &[resource], &conditions);
        prop_assert_eq!(decision.is_allowed(), expected, "{:?}", decision);
    }
}
