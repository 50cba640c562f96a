//! Transforms, stickiness, algorithms and listener attributes, as clients and targets see them.

use std::collections::BTreeMap;

use fogbank_edge::http::{Action, Algorithm, Condition, FixedResponse, Stickiness, Table};
use fogbank_types::elb::{Rewrite, Transform};

use crate::bed::{Bed, GROUP, Origin, Script, forward, group, rule, target};

fn everything() -> Condition {
    Condition::PathPatternRegex {
        values: vec!["^/".into()],
    }
}

fn rewriting(table: &mut Table, transforms: Vec<Transform>) {
    let mut rule = rule(1, everything(), forward(&[(GROUP, 1)]));
    rule.transforms = transforms;
    table.listeners[0].rules = vec![rule];
}

fn rewrites(regex: &str, replace: &str) -> Vec<Rewrite> {
    vec![Rewrite {
        regex: regex.into(),
        replace: replace.into(),
    }]
}

async fn get_with(bed: &Bed, path: &str, header: &str) -> crate::bed::Answer {
    let mut client = bed.client().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{header}\r\n");
    client.send(&request).await;
    client.answer().await
}

/// The cookies an answer sets, as a client sends them back.
fn cookies(head: &str) -> BTreeMap<String, String> {
    head.lines()
        .filter_map(|line| line.strip_prefix("Set-Cookie: "))
        .filter_map(|cookie| cookie.split(';').next()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_target_gets_what_transforms_make_of_a_request() {
    let origin = Origin::of("here").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        let host = rewrites("^a\\.(.*)$", "inner.$1");
        let url = rewrites("^/api/(.*)$", "/v2/$1");
        rewriting(
            table,
            vec![
                Transform::HostHeaderRewrite { rewrites: host },
                Transform::UrlRewrite { rewrites: url },
            ],
        );
    });
    assert_eq!(bed.get("/api/x?y=1").await.status, 200);
    assert_eq!(origin.last().line(), "GET /v2/x?y=1 HTTP/1.1");
    assert_eq!(origin.last().header("host"), Some("inner.test"));
    assert_eq!(bed.get("/other").await.status, 200);
    assert_eq!(origin.last().line(), "GET /other HTTP/1.1");
}

#[tokio::test]
async fn a_transform_that_makes_no_request_is_answered_with_500() {
    let origin = Origin::of("here").await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        let url = rewrites("^/api/", "no slash ");
        rewriting(table, vec![Transform::UrlRewrite { rewrites: url }]);
    });
    assert_eq!(bed.get("/api/x").await.status, 500);
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_sticky_client_stays_until_its_target_leaves() {
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[one.address, two.address]);
    bed.change(|table| {
        table.cookie_secret = "ab".repeat(32);
        table.target_groups[0].stickiness = Some(Stickiness::LbCookie { duration_s: 60 });
    });
    let first = bed.get("/").await;
    let given = cookies(&first.head);
    assert_eq!(given.keys().collect::<Vec<_>>(), ["AWSALB", "AWSALBCORS"]);
    let cookie = format!("Cookie: a=b; AWSALB={}\r\n", given["AWSALB"]);
    for _ in 0..6 {
        let next = get_with(&bed, "/", &cookie).await;
        assert_eq!(next.body, first.body);
        assert!(
            next.head.contains("Set-Cookie: AWSALB="),
            "set in every answer"
        );
    }
    let stays = if first.body == b"one" { &two } else { &one };
    let address = stays.address;
    bed.change(|table| table.target_groups[0].targets = vec![target(&address)]);
    let moved = get_with(&bed, "/", &cookie).await;
    assert_eq!(moved.status, 200);
    assert_ne!(moved.body, first.body);
}

#[tokio::test]
async fn an_application_cookie_binds_a_client() {
    let script = |name: &'static str| {
        move |_: &crate::bed::Seen| {
            let set = "Set-Cookie: SID=1; Path=/\r\n";
            let length = name.len();
            Script::Send(
                format!("HTTP/1.1 200 OK\r\n{set}Content-Length: {length}\r\n\r\n{name}")
                    .into_bytes(),
            )
        }
    };
    let one = Origin::start(script("one")).await;
    let two = Origin::start(script("two")).await;
    let mut bed = Bed::new(&[one.address, two.address]);
    bed.change(|table| {
        table.target_groups[0].stickiness = Some(Stickiness::AppCookie {
            name: "SID".into(),
            duration_s: 60,
        });
    });
    let first = bed.get("/").await;
    let given = cookies(&first.head);
    let cookie = format!("Cookie: SID=1; AWSALBAPP-0={}\r\n", given["AWSALBAPP-0"]);
    for _ in 0..6 {
        assert_eq!(get_with(&bed, "/", &cookie).await.body, first.body);
    }
}

#[tokio::test]
async fn a_client_stays_with_its_target_group() {
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[one.address]);
    bed.change(|table| {
        table.target_groups.push(group("other", &[two.address]));
        let Action::Forward { target_groups, .. } = forward(&[(GROUP, 1), ("other", 1)]) else {
            unreachable!("it forwards");
        };
        table.listeners[0].default_action = Action::Forward {
            target_groups,
            stickiness_s: Some(60),
        };
    });
    let first = bed.get("/").await;
    let given = cookies(&first.head);
    assert_eq!(
        given.keys().collect::<Vec<_>>(),
        ["AWSALBTG", "AWSALBTGCORS"]
    );
    let cookie = format!("Cookie: AWSALBTGCORS={}\r\n", given["AWSALBTGCORS"]);
    for _ in 0..6 {
        assert_eq!(get_with(&bed, "/", &cookie).await.body, first.body);
    }
}

#[tokio::test]
async fn without_stickiness_no_cookie_is_set() {
    let origin = Origin::of("here").await;
    let bed = Bed::new(&[origin.address]);
    assert!(!bed.get("/").await.head.contains("Set-Cookie"));
}

#[tokio::test]
async fn attributes_of_a_listener_change_what_clients_get() {
    let origin = Origin::start(|_| {
        Script::Send(
            b"HTTP/1.1 200 OK\r\nServer: mine\r\nX-Frame-Options: ALLOW\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let mut bed = Bed::new(&[origin.address]);
    bed.change(|table| {
        let key = |key: &str| format!("routing.http.response.{key}");
        table.listeners[0].attributes = [
            (key("server.enabled"), "false".to_owned()),
            (key("x_frame_options.header_value"), "DENY".to_owned()),
        ]
        .into();
        let teapot = Action::FixedResponse(FixedResponse {
            status_code: 418,
            content_type: None,
            message_body: String::new(),
        });
        let own = Condition::PathPattern {
            values: vec!["/own".into()],
        };
        table.listeners[0].rules = vec![rule(1, own, teapot)];
    });
    for path in ["/", "/own"] {
        let head = bed.get(path).await.head;
        assert!(!head.contains("Server:"), "{head}");
        assert_eq!(head.matches("X-Frame-Options:").count(), 1, "{head}");
        assert!(head.contains("X-Frame-Options: DENY\r\n"), "{head}");
    }
}

#[tokio::test]
async fn round_robin_is_fair_under_weights() {
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[one.address, two.address]);
    bed.change(|table| table.target_groups[0].targets[0].weight = 3);
    for _ in 0..40 {
        assert_eq!(bed.get("/").await.status, 200);
    }
    assert_eq!((one.seen().len(), two.seen().len()), (30, 10));
}

#[tokio::test]
async fn a_target_that_joins_starts_slowly() {
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[one.address]);
    crate::bed::until(|| {
        bed.worker.health()[0].targets[0].reason.as_deref() == Some("Target.HealthCheckDisabled")
    })
    .await;
    bed.change(|table| {
        table.target_groups[0].slow_start_ms = 900_000;
        let mut joins = target(&two.address);
        joins.registered_at_ms = 1;
        table.target_groups[0].targets.push(joins);
    });
    crate::bed::until(|| {
        let health = bed.worker.health();
        health[0]
            .targets
            .iter()
            .all(|target| target.reason.as_deref() == Some("Target.HealthCheckDisabled"))
    })
    .await;
    for _ in 0..50 {
        assert_eq!(bed.get("/").await.status, 200);
    }
    assert!(two.seen().len() < 5, "{} of 50", two.seen().len());
}

#[tokio::test]
async fn targets_that_come_together_start_together() {
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[]);
    bed.change(|table| {
        table.target_groups = vec![group(GROUP, &[one.address, two.address])];
        table.target_groups[0].slow_start_ms = 900_000;
    });
    for _ in 0..20 {
        assert_eq!(bed.get("/").await.status, 200);
    }
    let (first, second) = (one.seen().len(), two.seen().len());
    assert!(first.abs_diff(second) <= 2, "{first} and {second}");
}

#[tokio::test]
async fn the_least_busy_target_is_chosen() {
    let busy = Origin::start(|_| Script::Silence).await;
    let free = Origin::of("free").await;
    let mut bed = Bed::new(&[busy.address, free.address]);
    bed.change(|table| table.target_groups[0].algorithm = Algorithm::LeastOutstandingRequests);
    let mut waiting = Vec::new();
    // One of two goes to the silent target, and stays there.
    while busy.seen().is_empty() {
        let mut client = bed.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        crate::bed::until(|| busy.seen().len() + free.seen().len() > waiting.len()).await;
        waiting.push(client);
    }
    for _ in 0..10 {
        assert_eq!(bed.get("/").await.body, b"free");
    }
}

#[tokio::test]
async fn an_anomalous_target_gets_less() {
    let bad =
        Origin::start(|_| Script::Send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec()))
            .await;
    let (one, two) = (Origin::of("one").await, Origin::of("two").await);
    let mut bed = Bed::new(&[bad.address, one.address, two.address]);
    bed.change(|table| {
        table.target_groups[0].algorithm = Algorithm::WeightedRandom;
        table.target_groups[0].anomaly_mitigation = true;
    });
    crate::bed::until(|| {
        let health = bed.worker.health();
        health[0]
            .targets
            .iter()
            .all(|target| target.reason.as_deref() == Some("Target.HealthCheckDisabled"))
    })
    .await;
    let mut client = bed.client().await;
    for round in 0..8 {
        for _ in 0..60 {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            client.answer().await;
        }
        bed.worker.tick();
        let counts = &bed.worker.counts().groups[GROUP];
        assert_eq!(
            (counts.anomalous_targets, counts.mitigated_targets),
            (1, 1),
            "round {round}"
        );
    }
    let before = bad.seen().len();
    for _ in 0..200 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.answer().await;
    }
    let after = bad.seen().len() - before;
    assert!(after < 20, "{after} of 200 still go to it");
}
