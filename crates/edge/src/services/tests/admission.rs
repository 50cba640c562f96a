//! Who may go through which door.

use crate::http::request::read_request;
use crate::services::admission::admit;
use crate::services::doors::Door;
use crate::services::refusal::Refusal;

use super::bed::{endpoint_of, signed};

fn asked(door: &Door, head: &str) -> Result<(), Refusal> {
    let read = read_request(head.as_bytes(), |request| admit(door, request));
    read.unwrap().unwrap().1
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn the_regions_own_paths_are_for_the_host_alone() {
    for door in [Door::Public, Door::Storage, endpoint_of("ecs")] {
        for path in [
            "/_fogbank",
            "/_fogbank/reset",
            "http://x/_fogbank/reset",
            "/_fogbank/?a",
        ] {
            assert_eq!(
                asked(&door, &get(path, "ecs.us-east-1.amazonaws.com")),
                Err(Refusal::NotFound),
                "{path}"
            );
        }
    }
    assert_eq!(asked(&Door::Public, &get("/_fogbankrupt", "x")), Ok(()));
}

#[test]
fn an_endpoint_serves_its_own_service_and_region() {
    let door = endpoint_of("logs");
    let own = "logs.us-east-1.amazonaws.com";
    let vpce = "vpce-1-a.logs.us-east-1.vpce.amazonaws.com";
    for host in [own, vpce, "10.0.0.5", "LOGS.us-east-1.amazonaws.com:443"] {
        let head = signed("POST", "/", host, "us-east-1/logs", "");
        assert_eq!(asked(&door, &head), Ok(()), "{host}");
    }
    for (host, scope) in [
        (own, "us-east-1/ec2"),
        (own, "eu-west-1/logs"),
        ("ec2.us-east-1.amazonaws.com", "us-east-1/logs"),
        ("logs.eu-west-1.amazonaws.com", "us-east-1/logs"),
        (
            "vpce-1-a.ecs.us-east-1.vpce.amazonaws.com",
            "us-east-1/logs",
        ),
    ] {
        let head = signed("POST", "/", host, scope, "");
        assert_eq!(
            asked(&door, &head),
            Err(Refusal::OtherService),
            "{host} {scope}"
        );
    }
    assert_eq!(asked(&door, &get("/", own)), Err(Refusal::Unsigned));
    assert_eq!(asked(&door, &get("/v2/", own)), Err(Refusal::OtherService));
}

#[test]
fn every_scope_in_a_head_must_fit() {
    let door = endpoint_of("ec2");
    let own = "ec2.us-east-1.amazonaws.com";
    let query = "/?X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fec2%2Faws4_request";
    assert_eq!(asked(&door, &get(query, own)), Ok(()));
    let other = query.replace("ec2%2F", "ecs%2F");
    assert_eq!(asked(&door, &get(&other, own)), Err(Refusal::OtherService));
    let both = signed("GET", &other, own, "us-east-1/ec2", "");
    assert_eq!(asked(&door, &both), Err(Refusal::OtherService));
    let second = "Authorization: AWS4-HMAC-SHA256 Credential=A/1/us-east-1/ecs/aws4_request\r\n";
    let twice = signed("GET", "/", own, "us-east-1/ec2", second);
    assert_eq!(asked(&door, &twice), Err(Refusal::OtherService));
    let odd = signed("GET", "/", own, "us-east-1", "");
    assert_eq!(asked(&door, &odd), Err(Refusal::Malformed(400)));
}

#[test]
fn the_registry_is_known_by_its_path() {
    let door = endpoint_of("ecr.dkr");
    let host = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    assert_eq!(asked(&door, &get("/v2/", host)), Ok(()));
    assert_eq!(asked(&door, &get("/v2/api/manifests/1", host)), Ok(()));
    assert_eq!(asked(&door, &get("/", host)), Err(Refusal::NotFound));
    assert_eq!(asked(&door, &get("/v2x", host)), Err(Refusal::NotFound));
    let signed = signed("POST", "/", host, "us-east-1/ec2", "");
    assert_eq!(asked(&door, &signed), Err(Refusal::NotFound));
}

#[test]
fn tokens_instead_of_signatures_are_taken_by_sts() {
    let door = endpoint_of("sts");
    let head = get(
        "/?Action=AssumeRoleWithWebIdentity",
        "sts.us-east-1.amazonaws.com",
    );
    assert_eq!(asked(&door, &head), Ok(()));
    let nameless = get("/?Action=AssumeRoleWithWebIdentity", "10.0.0.1");
    assert_eq!(asked(&door, &nameless), Err(Refusal::Unsigned));
}

#[test]
fn there_are_no_buckets() {
    for door in [Door::Storage, endpoint_of("s3")] {
        let head = get("/key", "bucket.s3.us-east-1.amazonaws.com");
        assert_eq!(asked(&door, &head), Err(Refusal::NoBuckets));
        let text = Refusal::NoBuckets.response(&door);
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("<Error><Code>MethodNotAllowed</Code>"),
            "{text}"
        );
    }
}
