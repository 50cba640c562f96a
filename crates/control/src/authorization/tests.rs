//! From requests to demands, and to refusals in AWS's words.

use super::*;
use crate::model::Tx;
use crate::model::iam::evaluation::party::fixture::{ACCOUNT, root, session, user};
use crate::model::iam::{identities, roles, users};
use fogbank_types::ec2::{VpcEndpoint, VpcEndpointKind, VpcEndpointState};
use fogbank_types::iam::User;
use fogbank_wire::{Protocol, Shape, ec2, ecs, elbv2, iam, logs, secretsmanager, ssm, sts};
use serde_json::json;

const REGION: &str = "us-east-1";

fn global() -> Scope {
    Scope::new(ACCOUNT, "global")
}

fn tx_with_ann(policy: serde_json::Value) -> Tx {
    let mut tx = Tx::for_test();
    let new = users::NewUser {
        name: "ann".into(),
        ..users::NewUser::default()
    };
    users::create(&mut tx, &global(), new).unwrap();
    let text = json!({"Version": "2012-10-17", "Statement": policy}).to_string();
    identities::put_policy::<User>(&mut tx, &global(), "ann", "p", text).unwrap();
    tx
}

fn add_role(tx: &mut Tx, name: &str, trust: serde_json::Value) -> String {
    let new = roles::NewRole {
        name: name.into(),
        path: Some("/app/".into()),
        assume_role_policy: json!({"Version": "2012-10-17", "Statement": trust}).to_string(),
        ..roles::NewRole::default()
    };
    roles::create(tx, &global(), new).unwrap().arn
}

fn trusting(principal: serde_json::Value) -> serde_json::Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
}

fn ask(
    tx: &Tx,
    party: &Party,
    service: Service,
    name: &str,
    input: impl Shape,
) -> Option<Decision> {
    let input = input.into_value();
    let origin = Origin {
        address: Some("192.0.2.1".parse().unwrap()),
        ..Origin::default()
    };
    decide(
        tx.snapshot(),
        &question(party, &origin, service, name, &input),
    )
}

fn question<'a>(
    party: &'a Party,
    origin: &'a Origin,
    service: Service,
    name: &str,
    input: &'a Value,
) -> Question<'a> {
    Question {
        operation: service.operation(name).unwrap(),
        input,
        region: REGION,
        party,
        origin,
        now: Timestamp(1_709_208_000_000),
    }
}

/// Actions and their resources, without the ARNs' beginnings.
fn asked_for(tx: &Tx, service: Service, name: &str, input: impl Shape) -> Vec<String> {
    let (input, party, origin) = (input.into_value(), user("ann"), Origin::default());
    let demands = demands(
        tx.snapshot(),
        &question(&party, &origin, service, name, &input),
    )
    .unwrap();
    let start = [format!(":{ACCOUNT}:"), format!("{REGION}:")];
    demands
        .into_iter()
        .map(|demand| {
            let short = |arn: &String| match arn.strip_prefix("arn:aws:") {
                Some(rest) => rest.replace(&start[0], ":").replace(&start[1], ""),
                None => arn.clone(),
            };
            let all: Vec<String> = demand.resources.iter().map(short).collect();
            format!("{} {}", demand.action, all.join(" "))
        })
        .collect()
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn resources_are_those_that_the_request_names() {
    let tx = Tx::for_test();
    let subnet = ec2::CreateSubnetRequest {
        vpc_id: text("vpc-1"),
        ..ec2::CreateSubnetRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Ec2, "CreateSubnet", subnet),
        ["ec2:CreateSubnet ec2:subnet/* ec2:vpc/vpc-1"]
    );
    let vpcs = ec2::DescribeVpcsRequest::default();
    assert_eq!(
        asked_for(&tx, Service::Ec2, "DescribeVpcs", vpcs),
        ["ec2:DescribeVpcs *"]
    );
    let tags = ec2::CreateTagsRequest {
        resources: vec![text("vpc-1"), text("subnet-2")],
        ..ec2::CreateTagsRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Ec2, "CreateTags", tags),
        ["ec2:CreateTags ec2:vpc/vpc-1 ec2:subnet/subnet-2"]
    );
    let arn = format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/app/a/1");
    let delete = elbv2::DeleteLoadBalancerInput {
        load_balancer_arn: arn.clone(),
    };
    assert_eq!(
        asked_for(&tx, Service::Elbv2, "DeleteLoadBalancer", delete),
        ["elasticloadbalancing:DeleteLoadBalancer elasticloadbalancing:loadbalancer/app/a/1"]
    );
    let services = ecs::DescribeServicesRequest {
        cluster: Some(format!("arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/prod")),
        services: vec![
            text("a"),
            format!("arn:aws:ecs:{REGION}:{ACCOUNT}:service/prod/b"),
        ],
        include: None,
    };
    assert_eq!(
        asked_for(&tx, Service::Ecs, "DescribeServices", services),
        ["ecs:DescribeServices ecs:service/prod/a ecs:service/prod/b"]
    );
    let events = logs::PutLogEventsRequest {
        log_group_name: text("/ecs/a"),
        log_stream_name: text("s"),
        ..logs::PutLogEventsRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Logs, "PutLogEvents", events),
        ["logs:PutLogEvents logs:log-group:/ecs/a:log-stream:s"]
    );
    let parameters = ssm::GetParametersRequest {
        names: vec![text("/a/b:3"), text("c")],
        ..ssm::GetParametersRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Ssm, "GetParameters", parameters),
        ["ssm:GetParameters ssm:parameter/a/b ssm:parameter/c"]
    );
    let secret = secretsmanager::GetSecretValueRequest {
        secret_id: text("db"),
        ..secretsmanager::GetSecretValueRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Secretsmanager, "GetSecretValue", secret),
        ["secretsmanager:GetSecretValue secretsmanager:secret:db"]
    );
    let own = iam::GetUserRequest { user_name: None };
    assert_eq!(
        asked_for(&tx, Service::Iam, "GetUser", own),
        ["iam:GetUser iam::user/ann"]
    );
}

/// Handlers take an ARN's last part, where they were called.
#[test]
fn an_arn_of_elsewhere_is_judged_for_what_it_is_taken_for_too() {
    let tx = Tx::for_test();
    let arn =
        |region: &str, account: &str, tail: &str| format!("arn:aws:ecs:{region}:{account}:{tail}");
    let service = ecs::DeleteServiceRequest {
        cluster: Some(text("prod")),
        service: arn(REGION, ACCOUNT, "service/dev/x"),
        force: None,
    };
    assert_eq!(
        asked_for(&tx, Service::Ecs, "DeleteService", service),
        ["ecs:DeleteService ecs:service/dev/x ecs:service/prod/x"]
    );
    let tag = |arn: String| {
        let input = ecs::ListTagsForResourceRequest { resource_arn: arn };
        asked_for(&tx, Service::Ecs, "ListTagsForResource", input)
    };
    assert_eq!(
        tag(arn("eu-west-1", "999999999999", "cluster/x")),
        ["ecs:ListTagsForResource ecs:eu-west-1:999999999999:cluster/x ecs:cluster/x"]
    );
    assert_eq!(
        tag(arn(REGION, ACCOUNT, "cluster/x")),
        ["ecs:ListTagsForResource ecs:cluster/x"]
    );
    // A secret may be another account's.
    let theirs = format!("arn:aws:secretsmanager:{REGION}:999999999999:secret:a");
    let secret = secretsmanager::GetSecretValueRequest {
        secret_id: theirs,
        ..secretsmanager::GetSecretValueRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Secretsmanager, "GetSecretValue", secret),
        ["secretsmanager:GetSecretValue secretsmanager:999999999999:secret:a"]
    );
}

#[test]
fn an_endpoint_has_a_policy_and_is_asked_about() {
    let mut tx = tx_with_ann(json!({
        "Effect": "Allow", "Action": "ec2:*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceVpce": VpcEndpointId::from_bits(1).to_string()}}}));
    let endpoint = |policy: serde_json::Value| VpcEndpoint {
        scope: Scope::new(ACCOUNT, REGION),
        vpc_endpoint_id: VpcEndpointId::from_bits(1),
        vpc_id: fogbank_types::VpcId::from_bits(1),
        service_name: "com.amazonaws.us-east-1.ec2".to_owned(),
        kind: VpcEndpointKind::Gateway {
            route_table_ids: Vec::new(),
        },
        state: VpcEndpointState::Available,
        policy_document: json!({"Version": "2012-10-17", "Statement": policy}).to_string(),
        client_token: None,
        created_at: Timestamp(0),
        tags: fogbank_types::Tags::new(),
    };
    let verdict = |tx: &Tx, endpoint: Option<u128>| {
        let input = ec2::DescribeVpcsRequest::default().into_value();
        let origin = Origin {
            address: Some("10.0.0.7".parse().unwrap()),
            endpoint: endpoint.map(VpcEndpointId::from_bits),
            ..Origin::default()
        };
        let party = user("ann");
        let asked = question(&party, &origin, Service::Ec2, "DescribeVpcs", &input);
        decide(tx.snapshot(), &asked).unwrap().verdict
    };
    tx.put(endpoint(
        json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}),
    ));
    assert_eq!(verdict(&tx, Some(1)), Verdict::Allowed);
    assert_eq!(
        verdict(&tx, None),
        Verdict::ImplicitDeny(PolicyKind::Identity)
    );
    tx.put(endpoint(
        json!({"Effect": "Allow", "Principal": "*", "Action": "ecs:*", "Resource": "*"}),
    ));
    assert_eq!(
        verdict(&tx, Some(1)),
        Verdict::ImplicitDeny(PolicyKind::Endpoint)
    );
    assert!(
        !matches!(verdict(&tx, Some(2)), Verdict::Allowed),
        "one that is gone"
    );
}

#[test]
fn tags_given_with_what_is_made_are_asked_for_too() {
    let tx = Tx::for_test();
    let vpc = ec2::CreateVpcRequest {
        tag_specifications: Some(vec![ec2::TagSpecification {
            resource_type: Some(text("vpc")),
            tags: Some(vec![ec2::Tag {
                key: Some(text("team")),
                value: Some(text("blue")),
            }]),
        }]),
        ..ec2::CreateVpcRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Ec2, "CreateVpc", vpc),
        ["ec2:CreateVpc ec2:vpc/*", "ec2:CreateTags ec2:vpc/*"]
    );
    let cluster = ecs::CreateClusterRequest {
        cluster_name: Some(text("prod")),
        tags: Some(vec![ecs::Tag {
            key: Some(text("team")),
            value: Some(text("blue")),
        }]),
        ..ecs::CreateClusterRequest::default()
    };
    assert_eq!(
        asked_for(&tx, Service::Ecs, "CreateCluster", cluster),
        ["ecs:CreateCluster *", "ecs:TagResource ecs:cluster/prod"]
    );
}

/// IAM-6
#[test]
fn roles_that_are_handed_over_must_be_passed() {
    let allowed = json!([
        {"Effect": "Allow", "Action": "ecs:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/app/good",
         "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}},
    ]);
    let mut tx = tx_with_ann(allowed);
    let tasks = json!({"Service": "ecs-tasks.amazonaws.com"});
    let good = add_role(&mut tx, "good", trusting(tasks.clone()));
    let other = add_role(&mut tx, "other", trusting(tasks));
    let register = |task: &str, execution: Option<&str>| {
        let input = ecs::RegisterTaskDefinitionRequest {
            family: text("a"),
            task_role_arn: Some(text(task)),
            execution_role_arn: execution.map(text),
            ..ecs::RegisterTaskDefinitionRequest::default()
        };
        ask(
            &tx,
            &user("ann"),
            Service::Ecs,
            "RegisterTaskDefinition",
            input,
        )
        .unwrap()
    };
    assert!(register(&good, None).is_allowed());
    assert!(
        register("good", Some(&good)).is_allowed(),
        "a name is looked up"
    );
    let refused = register(&good, Some(&other));
    assert_eq!(
        (refused.action.as_str(), refused.resource.as_str()),
        ("iam:PassRole", other.as_str())
    );
    let flow_logs = ec2::CreateFlowLogsRequest {
        deliver_logs_permission_arn: Some(good),
        ..ec2::CreateFlowLogsRequest::default()
    };
    let refused = ask(&tx, &user("ann"), Service::Ec2, "CreateFlowLogs", flow_logs).unwrap();
    assert_eq!(refused.action, "ec2:CreateFlowLogs");
}

#[test]
fn a_role_is_assumed_by_those_it_trusts_only() {
    let mut tx =
        tx_with_ann(json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}));
    let open = add_role(&mut tx, "open", trusting(json!({"AWS": ACCOUNT})));
    let tasks = add_role(
        &mut tx,
        "tasks",
        trusting(json!({"Service": "ecs-tasks.amazonaws.com"})),
    );
    let mut outside = trusting(json!({"AWS": ACCOUNT}));
    outside["Condition"] = json!({"StringEquals": {"sts:ExternalId": "42"}});
    let outside = add_role(&mut tx, "outside", outside);
    let assume = |role: &str, external: Option<&str>| {
        let input = sts::AssumeRoleRequest {
            role_arn: text(role),
            role_session_name: text("s"),
            external_id: external.map(text),
            ..sts::AssumeRoleRequest::default()
        };
        ask(&tx, &user("ann"), Service::Sts, "AssumeRole", input).unwrap()
    };
    assert!(assume(&open, None).is_allowed());
    assert!(!assume(&tasks, None).is_allowed());
    assert!(!assume(&outside, None).is_allowed());
    assert!(assume(&outside, Some("42")).is_allowed());
    let missing = format!("arn:aws:iam::{ACCOUNT}:role/missing");
    let refused = assume(&missing, None).refusal("me");
    assert_eq!(
        refused,
        format!("User: me is not authorized to perform: sts:AssumeRole on resource: {missing}")
    );
}

#[test]
fn conditions_are_of_the_request_and_of_what_it_names() {
    let tx = tx_with_ann(json!([
        {"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": {
            "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
            "StringEquals": {"aws:RequestedRegion": REGION, "ec2:Region": REGION},
            "DateGreaterThan": {"aws:CurrentTime": "2024-01-01T00:00:00Z"},
        }},
        {"Effect": "Deny", "Action": "ec2:CreateVpc", "Resource": "*", "Condition": {
            "StringNotEquals": {"aws:RequestTag/Team": ["blue", "green"]}}},
    ]));
    let create = |team: &str| {
        let input = ec2::CreateVpcRequest {
            tag_specifications: Some(vec![ec2::TagSpecification {
                resource_type: Some(text("vpc")),
                tags: Some(vec![ec2::Tag {
                    key: Some(text("Team")),
                    value: Some(text(team)),
                }]),
            }]),
            ..ec2::CreateVpcRequest::default()
        };
        ask(&tx, &user("ann"), Service::Ec2, "CreateVpc", input)
            .unwrap()
            .verdict
    };
    assert_eq!(create("blue"), Verdict::Allowed);
    assert_eq!(create("red"), Verdict::ExplicitDeny(PolicyKind::Identity));
}

/// IAM-10
#[test]
fn refusals_are_in_the_words_and_codes_of_each_protocol() {
    let tx = tx_with_ann(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}));
    let ann = user("ann");
    let refused = ask(
        &tx,
        &ann,
        Service::Ec2,
        "DescribeVpcs",
        ec2::DescribeVpcsRequest::default(),
    )
    .unwrap();
    let error = refusal(
        Service::Ec2,
        Protocol::Ec2Query,
        &refused,
        &ann.arn,
        Some("abc"),
    );
    assert_eq!(
        (error.code.as_ref(), error.status),
        ("UnauthorizedOperation", 403)
    );
    assert_eq!(
        error.message,
        "You are not authorized to perform this operation. User: arn:aws:iam::111122223333:user/ann is not authorized to perform: ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action. Encoded authorization failure message: abc"
    );
    let error = refusal(Service::Ecs, Protocol::AwsJson, &refused, &ann.arn, None);
    assert_eq!(
        (error.code.as_ref(), error.status),
        ("AccessDeniedException", 400)
    );
    let error = refusal(Service::Iam, Protocol::AwsQuery, &refused, &ann.arn, None);
    assert_eq!((error.code.as_ref(), error.status), ("AccessDenied", 403));
}

#[test]
fn the_root_may_and_who_it_is_needs_no_permission() {
    let tx = Tx::for_test();
    let describe = ask(
        &tx,
        &root(),
        Service::Ec2,
        "DescribeVpcs",
        ec2::DescribeVpcsRequest::default(),
    );
    assert!(describe.unwrap().is_allowed());
    let whoami = ask(
        &tx,
        &session("gone", None),
        Service::Sts,
        "GetCallerIdentity",
        sts::GetCallerIdentityRequest {},
    );
    assert!(whoami.is_none());
    let gone = ask(
        &tx,
        &session("gone", None),
        Service::Ec2,
        "DescribeVpcs",
        ec2::DescribeVpcsRequest::default(),
    );
    assert!(
        !gone.unwrap().is_allowed(),
        "a role that is gone has no policies"
    );
}

/// `cargo test --release -p fogbank-control --lib decision_time -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn decision_time_with_a_hundred_policies() {
    use crate::model::iam::evaluation;
    use crate::model::iam::simulation;
    use fogbank_types::Tags;
    use fogbank_types::iam::{Policy, PolicyVersion};
    use std::hint::black_box;
    let (mut tx, scope) = (Tx::for_test(), Scope::new(ACCOUNT, "global"));
    let new = users::NewUser {
        name: "ann".into(),
        ..users::NewUser::default()
    };
    users::create(&mut tx, &scope, new).unwrap();
    for n in 0..100 {
        let statements: Vec<serde_json::Value> = (0..5)
            .map(|m| {
                json!({"Effect": "Allow", "Action": [format!("s3:Get{n}*"), "ec2:Describe*", "ecs:*"],
                    "Resource": [format!("arn:aws:s3:::bucket-{n}-{m}/${{aws:username}}/*"), "arn:aws:ecs:*:*:service/*"],
                    "Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})
            })
            .collect();
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        // Beyond the quota of ten: the row is written as it would be for groups of ten.
        let arn = scope.arn("iam", &format!("policy/p{n}"));
        tx.put(Policy {
            scope: scope.clone(),
            arn: arn.clone(),
            name: format!("p{n}"),
            policy_id: format!("ANPA{n}"),
            path: "/".into(),
            description: None,
            versions: vec![PolicyVersion {
                id: "v1".into(),
                document,
                created_at: tx.now(),
            }],
            default_version: "v1".into(),
            next_version: 2,
            created_at: tx.now(),
            updated_at: tx.now(),
            tags: Tags::new(),
        });
        tx.update::<User>(&scope, "ann", |user| user.attached_policies.push(arn));
    }
    let (_, party) = simulation::caller_of(tx.snapshot(), &scope, &user("ann").arn).unwrap();
    let mut conditions = Conditions::default();
    conditions.set("aws:SourceIp", "192.0.2.1");
    let service = [Resource::new(
        "arn:aws:ecs:us-east-1:111122223333:service/prod/api",
    )];
    let mut times: Vec<std::time::Duration> = (0..2_000)
        .map(|_| {
            let started = std::time::Instant::now();
            black_box(evaluation::decide(
                tx.snapshot(),
                &party,
                "ecs:UpdateService",
                &service,
                &conditions,
            ));
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "100 policies, 500 statements: p50 {:?}, p99 {:?}",
        times[1_000], times[1_980]
    );
}
