//! Where the region enforces, IAM is asked for every call, and says no in the words of each protocol (fact IAM-10).

use super::*;
use crate::model::iam::{identities, users};
use crate::model::tx::test_config;
use fogbank_pki::Session;
use fogbank_store::Memory;
use fogbank_types::AuthMode;
use fogbank_types::iam::User;
use fogbank_wire::{Protocol, Shape, Value, cloudwatch, ec2, ecs, iam, route53, ssm, sts};
use serde_json::json;
use tempfile::TempDir;

const ACCOUNT: &str = "000000000000";

struct Bed {
    shared: Arc<Shared>,
    _folder: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = RegionConfig {
            auth: AuthMode::Enforce,
            data_dir: folder.path().to_owned(),
            ..test_config()
        };
        let sessions = Sessions::open(folder.path()).unwrap();
        let engine = Engine::start(Arc::new(Memory::new()), config.clone())
            .await
            .unwrap();
        let channels = exec::Channels::new(config, sessions.clone(), engine.now());
        let shared = Arc::new(Shared {
            handlers: Handlers::all(),
            connections: Arc::new(Semaphore::new(1)),
            channels: Arc::new(channels),
            trail: audit::Trail::start(folder.path()),
            engine,
            sessions,
            throttle: Some(Throttle::new(1.0)),
        });
        Self {
            shared,
            _folder: folder,
        }
    }

    /// Makes the user if there is none; the policy is theirs alone.
    async fn ann(&self, statement: serde_json::Value) -> Principal {
        let shared = self.shared.clone();
        let made = tokio::task::spawn_blocking(move || {
            let scope = Scope::new(ACCOUNT, "global");
            let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
            let written: Result<_, ApiError> = shared.engine.write(|tx| {
                if tx.snapshot().users.get(&scope, "ann").is_none() {
                    let new = users::NewUser {
                        name: "ann".into(),
                        ..users::NewUser::default()
                    };
                    users::create(tx, &scope, new)?;
                }
                identities::put_policy::<User>(tx, &scope, "ann", "p", text.clone())?;
                Ok(())
            });
            written.unwrap();
            let session = Session {
                account: ACCOUNT.into(),
                user_id: shared
                    .engine
                    .snapshot()
                    .users
                    .get(&scope, "ann")
                    .unwrap()
                    .user_id
                    .clone(),
                ..Session::default()
            };
            Principal::of_session(&shared.engine.snapshot(), "AKIA", &session).unwrap()
        });
        let made = made.await.unwrap();
        // By a key of their own.
        Principal {
            session: None,
            ..made
        }
    }

    /// Status and body of the answer.
    async fn call(
        &self,
        who: &Principal,
        (service, protocol, name): (Service, Protocol, &str),
        input: Value,
    ) -> (u16, String) {
        let call = Call {
            operation: service.operation(name).unwrap(),
            protocol,
            region: "us-east-1".into(),
            access_key: who.access_key.clone(),
            session_token: None,
            request_id: "id".into(),
            input,
        };
        let entry = Entry {
            call,
            principal: who.clone(),
            origin: Origin {
                address: Some(IpAddr::from([127, 0, 0, 1])),
                ..Origin::default()
            },
            enforces: true,
            host: String::new(),
        };
        let answer = execute(self.shared.clone(), entry).await;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        (answer.status().as_u16(), body)
    }
}

const DESCRIBE: (Service, Protocol, &str) = (Service::Ec2, Protocol::Ec2Query, "DescribeVpcs");

fn describe() -> Value {
    ec2::DescribeVpcsRequest::default().into_value()
}

#[tokio::test]
async fn each_protocol_refuses_in_its_own_words() {
    let bed = Bed::new().await;
    let ann = bed
        .ann(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
        .await;
    let clusters = ecs::ListClustersRequest::default().into_value();
    let zones = route53::ListHostedZonesRequest::default().into_value();
    let metrics = cloudwatch::ListMetricsInput::default().into_value();
    let users = iam::ListUsersRequest::default().into_value();
    for (what, input, status, code) in [
        (DESCRIBE, describe(), 403, "UnauthorizedOperation"),
        (
            (Service::Ecs, Protocol::AwsJson, "ListClusters"),
            clusters,
            400,
            "AccessDeniedException",
        ),
        (
            (Service::Route53, Protocol::RestXml, "ListHostedZones"),
            zones,
            403,
            "AccessDenied",
        ),
        (
            (Service::Cloudwatch, Protocol::RpcV2Cbor, "ListMetrics"),
            metrics,
            400,
            "AccessDenied",
        ),
        (
            (Service::Iam, Protocol::AwsQuery, "ListUsers"),
            users,
            403,
            "AccessDenied",
        ),
    ] {
        let (given, body) = bed.call(&ann, what, input).await;
        assert_eq!(given, status, "{what:?}: {body}");
        assert!(body.contains(code), "{what:?}: {body}");
        let words = "User: arn:aws:iam::000000000000:user/ann is not authorized to perform: ";
        assert!(body.contains(words), "{what:?}: {body}");
    }
}

/// Fact SIG-11.
#[tokio::test]
async fn who_calls_too_often_is_refused_in_the_words_of_the_protocol() {
    let bed = Bed::new().await;
    let root = Principal::root(ACCOUNT, "AKIA");
    let zones = || route53::ListHostedZonesRequest::default().into_value();
    let parameter = || ssm::GetParameterRequest::default().into_value();
    for (what, input, burst, status, code) in [
        (
            DESCRIBE,
            &describe as &dyn Fn() -> Value,
            100,
            503,
            "<Code>RequestLimitExceeded</Code>",
        ),
        (
            (Service::Route53, Protocol::RestXml, "ListHostedZones"),
            &zones,
            50,
            400,
            "<Code>Throttling</Code>",
        ),
        (
            (Service::Ssm, Protocol::AwsJson, "GetParameter"),
            &parameter,
            40,
            400,
            "ThrottlingException",
        ),
    ] {
        // The bucket fills while it is emptied: it takes a few more calls than it holds.
        let mut calls = 0;
        let (given, body) = loop {
            let answer = bed.call(&root, what, input()).await;
            if answer.1.contains(code) {
                break answer;
            }
            calls += 1;
            assert!(calls < 10_000, "{what:?}: never refused");
        };
        assert!(calls >= burst, "{what:?}: refused after {calls}");
        assert_eq!(given, status, "{what:?}: {body}");
    }
}

#[tokio::test]
async fn a_changed_policy_counts_for_the_next_call() {
    let bed = Bed::new().await;
    let statement =
        |effect: &str| json!({"Effect": effect, "Action": "ec2:DescribeVpcs", "Resource": "*"});
    for (effect, status) in [("Allow", 200), ("Deny", 403), ("Allow", 200)] {
        let ann = bed.ann(statement(effect)).await;
        let (given, body) = bed.call(&ann, DESCRIBE, describe()).await;
        assert_eq!(given, status, "{body}");
    }
}

#[tokio::test]
async fn what_ec2_seals_sts_decodes_for_those_who_may() {
    let bed = Bed::new().await;
    let decode =
        json!({"Effect": "Allow", "Action": "sts:DecodeAuthorizationMessage", "Resource": "*"});
    let ann = bed.ann(decode).await;
    let (_, body) = bed.call(&ann, DESCRIBE, describe()).await;
    let message = body.split("failure message: ").nth(1).unwrap();
    let message = message.split('<').next().unwrap();
    let ask = |message: &str| {
        sts::DecodeAuthorizationMessageRequest {
            encoded_message: message.to_owned(),
        }
        .into_value()
    };
    let what = (
        Service::Sts,
        Protocol::AwsQuery,
        "DecodeAuthorizationMessage",
    );
    let (status, told) = bed.call(&ann, what, ask(message)).await;
    assert_eq!(status, 200, "{told}");
    assert!(
        told.contains("ec2:DescribeVpcs") && told.contains("user/ann"),
        "{told}"
    );
    let (status, told) = bed.call(&ann, what, ask("AAAA")).await;
    assert_eq!(status, 400, "{told}");
    assert!(
        told.contains("InvalidAuthorizationMessageException"),
        "{told}"
    );
    let nobody = bed
        .ann(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
        .await;
    assert_eq!(bed.call(&nobody, what, ask(message)).await.0, 403);
}

#[tokio::test]
async fn the_root_may_all_but_assume_a_role() {
    let bed = Bed::new().await;
    let root = Principal::root(ACCOUNT, "AKIA");
    assert_eq!(bed.call(&root, DESCRIBE, describe()).await.0, 200);
    let role = sts::AssumeRoleRequest {
        role_arn: format!("arn:aws:iam::{ACCOUNT}:role/any"),
        role_session_name: "s".into(),
        ..sts::AssumeRoleRequest::default()
    };
    let what = (Service::Sts, Protocol::AwsQuery, "AssumeRole");
    let (status, body) = bed.call(&root, what, role.into_value()).await;
    assert_eq!(status, 403, "{body}");
}

#[tokio::test]
async fn a_session_of_ones_own_is_no_way_to_iam() {
    let bed = Bed::new().await;
    let ann = bed
        .ann(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}))
        .await;
    let users = || iam::ListUsersRequest::default().into_value();
    let what = (Service::Iam, Protocol::AwsQuery, "ListUsers");
    assert_eq!(bed.call(&ann, what, users()).await.0, 200);
    let session = Principal {
        session: Some(Session::default()),
        ..ann
    };
    let (status, body) = bed.call(&session, what, users()).await;
    assert!(
        status == 403 && body.contains("InvalidClientTokenId"),
        "{body}"
    );
    assert_eq!(bed.call(&session, DESCRIBE, describe()).await.0, 200);
}
