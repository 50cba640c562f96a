//! What is refused, and how: malformed requests of every protocol. `damage` sends requests broken at random.

use std::io::Write;

use http::Request;
use http::request::Parts;

use crate::schema::{Kind, Schema, Service};
use crate::{Call, Destination, Malformed, Reason, Refused, ServiceError, Value, ViolationKind};
use crate::{destination, encode_error, route};

const SIGNED: &str = "SignedHeaders=host;x-amz-date, Signature=00";

fn authorization(service: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=123456789012/20260102/{region}/{service}/aws4_request, {SIGNED}"
    )
}

pub fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

pub fn form(service: &str, body: &str) -> Result<Call, Refused> {
    let authorization = authorization(service, "eu-west-1");
    route(
        &head("POST", "/", &[("authorization", &authorization)]),
        body.as_bytes(),
    )
}

fn json(service: Service, operation: &str, body: &str) -> Result<Call, Refused> {
    let schema = service.schema();
    let authorization = authorization(schema.signing_name, "eu-west-1");
    let target = format!("{}.{operation}", schema.target_prefix);
    let parts = head(
        "POST",
        "/",
        &[("authorization", &authorization), ("x-amz-target", &target)],
    );
    route(&parts, body.as_bytes())
}

pub fn rest(method: &str, target: &str, body: &str) -> Result<Call, Refused> {
    let authorization = authorization("route53", "us-east-1");
    route(
        &head(method, target, &[("authorization", &authorization)]),
        body.as_bytes(),
    )
}

#[track_caller]
fn assert_refused(result: Result<Call, Refused>, code: &str, status: u16, message: &str) {
    let refused = result.unwrap_err();
    let error = refused.error();
    assert_eq!(
        (error.code.as_ref(), error.status),
        (code, status),
        "{error}"
    );
    assert!(error.message.contains(message), "{error}");
    assert_eq!(refused.response().status(), status);
}

fn body_of(refused: &Refused) -> String {
    String::from_utf8(refused.response().body().to_vec()).unwrap()
}

#[test]
fn ec2_says_which_parameter_is_missing() {
    assert_refused(
        form("ec2", "Action=DeleteVpc&Version=2016-11-15"),
        "MissingParameter",
        400,
        "The request must contain the parameter vpcId",
    );
    assert_refused(
        form("ec2", "Action=DeleteVpc&VpcId="),
        "InvalidParameterValue",
        400,
        "cannot be empty",
    );
}

#[test]
fn ec2_has_names_of_its_own_for_some_parameters() {
    for (body, text) in [
        ("Action=CreateTags&Tag.1.Key=a", "parameter resourceIdSet"),
        ("Action=CreateTags&ResourceId.1=vpc-1", "parameter tagSet"),
        (
            "Action=CreateSecurityGroup&GroupName=a&GroupDescription=",
            "parameter GroupDescription",
        ),
    ] {
        assert_refused(form("ec2", body), "MissingParameter", 400, text);
    }
}

#[test]
fn logs_does_not_repeat_an_identifier() {
    assert_refused(
        json(
            Service::Logs,
            "DescribeLogStreams",
            r#"{"logGroupIdentifier":"arn:aws:logs:us-east-1:1:log-group:a:*"}"#,
        ),
        "InvalidParameterException",
        400,
        "1 validation error detected: Value at 'logGroupIdentifier' failed to satisfy constraint",
    );
}

#[test]
fn ec2_refuses_malformed_numbers_and_booleans() {
    for value in ["", "1x", "1.0", "+1", " 1", "0x1", "99999999999", "1,2"] {
        let body = format!(
            "Action=DescribeVpcs&MaxResults={}",
            value.replace(' ', "%20").replace('+', "%2B")
        );
        assert_refused(
            form("ec2", &body),
            "InvalidParameterValue",
            400,
            "maxResults",
        );
    }
    for value in ["", "yes", "1", "true "] {
        let body = format!("Action=DescribeVpcs&DryRun={}", value.replace(' ', "+"));
        assert_refused(form("ec2", &body), "InvalidParameterValue", 400, "dryRun");
    }
}

#[test]
fn ec2_checks_ranges_and_enums() {
    assert_refused(
        form("ec2", "Action=DescribeVpcs&MaxResults=3"),
        "InvalidParameterValue",
        400,
        "Value ( 3 ) for parameter maxResults is invalid. Expecting a value greater than 5.",
    );
    assert_refused(
        form(
            "ec2",
            "Action=DescribeVpcAttribute&VpcId=vpc-1&Attribute=colour",
        ),
        "InvalidParameterValue",
        400,
        "Value (colour) for parameter attribute is invalid",
    );
}

#[test]
fn hostile_forms_are_refused() {
    let cases = [
        "Action=DescribeVpcs&Filter.999999999.Name=x",
        "Action=DescribeVpcs&Filter.99999999999999999999999.Name=x",
        "Action=DescribeVpcs&Filter.0.Name=x",
        "Action=DescribeVpcs&Filter.01.Name=x",
        "Action=DescribeVpcs&Filter.-1.Name=x",
        "Action=DescribeVpcs&Action=DeleteVpc",
        "Action=DescribeVpcs&Filter=x",
        "Action=DescribeVpcs&Filter.1=x",
        "Action=DescribeVpcs&Filter.1.Name.1=x",
        "Action=DescribeVpcs&Filter.1.Name=x&Filter.1.Name=y",
        "Action=DescribeVpcs&VpcId.1=x&VpcId.1=x",
        "Action=DescribeVpcs&VpcId.1=%FF",
        "Action=DescribeVpcs&VpcId.1=%2",
        "Action=DescribeVpcs&VpcId.1=%zz",
    ];
    for body in cases {
        let refused = form("ec2", body).expect_err(body);
        assert!(
            matches!(refused.reason, Reason::Malformed(_)),
            "{body}: {refused:?}"
        );
        assert_eq!(refused.error().status, 400);
    }
    let many = format!("Action=DescribeVpcs{}", "&a=b".repeat(20_001));
    assert!(matches!(
        form("ec2", &many).unwrap_err().reason,
        Reason::Malformed(Malformed::TooLarge(_))
    ));
}

#[test]
fn a_deep_key_costs_nothing() {
    let deep = format!("Action=DescribeVpcs&{}x=1", "Filter.1.".repeat(100_000));
    let call = form("ec2", &deep).unwrap();
    assert_eq!(call.operation.name, "DescribeVpcs");
}

#[test]
fn unknown_parameters_are_ignored() {
    let call = form(
        "ec2",
        "Action=DescribeVpcs&Colour=red&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1&Filter.1.Hue.1=x",
    );
    assert!(call.is_ok(), "{call:?}");
}

#[test]
fn query_services_name_each_broken_constraint() {
    assert_refused(
        form("iam", "Action=CreateRole&Version=2010-05-08&RoleName=a%20b"),
        "ValidationError",
        400,
        "2 validation errors detected: Value null at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be null; Value 'a b' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+",
    );
    assert_refused(
        form(
            "elasticloadbalancing",
            "Action=CreateListener&Version=2015-12-01&LoadBalancerArn=x&Port=0&Protocol=FTP",
        ),
        "ValidationError",
        400,
        "Value '0' at 'port' failed to satisfy constraint: Member must have value greater than or equal to 1",
    );
    assert_refused(
        form(
            "elasticloadbalancing",
            "Action=AddTags&Version=2015-12-01&ResourceArns.member.1=x&Tags.member.1.Value=v",
        ),
        "ValidationError",
        400,
        "Value null at 'tags.1.member.key'",
    );
}

#[test]
fn violations_tell_their_kind() {
    let refused = form("sts", "Action=AssumeRole&Version=2011-06-15&RoleArn=short").unwrap_err();
    let Reason::Invalid(violations) = refused.reason else {
        panic!("{refused:?}")
    };
    let kinds: Vec<_> = violations
        .iter()
        .map(|violation| (violation.path.as_str(), violation.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("roleArn", ViolationKind::TooShort(20)),
            ("roleSessionName", ViolationKind::Required)
        ]
    );
}

#[test]
fn an_empty_list_is_not_an_absent_one() {
    let call = form(
        "elasticloadbalancing",
        "Action=SetSubnets&Version=2015-12-01&LoadBalancerArn=x&Subnets=",
    )
    .unwrap();
    let Value::Structure(values) = call.input else {
        panic!("no structure")
    };
    let at = call
        .operation
        .input
        .members()
        .iter()
        .position(|member| member.name == "Subnets")
        .unwrap();
    assert_eq!(values[at], Value::List(Vec::new()));
}

#[test]
fn json_services_refuse_what_is_mistyped() {
    let cases = [
        ("{", "EOF"),
        ("[]", "START_ARRAY can not be converted to a structure"),
        ("null", "null"),
        ("{}{}", "trailing"),
        (
            r#"{"cluster": 1}"#,
            "NUMBER_VALUE can not be converted to a String",
        ),
        (
            r#"{"cluster": {}}"#,
            "START_OBJECT can not be converted to a String",
        ),
        (
            r#"{"desiredCount": "1"}"#,
            "STRING_VALUE can not be converted to an Integer",
        ),
        (
            r#"{"desiredCount": 1.5}"#,
            "NUMBER_VALUE can not be converted to an Integer",
        ),
        (
            r#"{"desiredCount": 4294967296}"#,
            "NUMBER_VALUE can not be converted to an Integer",
        ),
        (
            r#"{"enableECSManagedTags": "true"}"#,
            "STRING_VALUE can not be converted to a Boolean",
        ),
        (
            r#"{"loadBalancers": {}}"#,
            "START_OBJECT can not be converted to a list",
        ),
        (r#"{"loadBalancers": [null]}"#, "null in a list"),
        (
            r#"{"cluster": "a", "cluster": "b"}"#,
            "cluster stands twice",
        ),
        ("{\"cluster\": \"\u{1}\"}", "control character"),
    ];
    for (body, message) in cases {
        assert_refused(
            json(Service::Ecs, "CreateService", body),
            "SerializationException",
            400,
            message,
        );
    }
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert_refused(
        json(Service::Ecs, "CreateService", &deep),
        "SerializationException",
        400,
        "EOF",
    );
    let wide = format!(
        "{{\"containerDefinitions\":[{}{{}}]}}",
        "{},".repeat(40_000)
    );
    assert_refused(
        json(Service::Ecs, "RegisterTaskDefinition", &wide),
        "SerializationException",
        400,
        "more objects",
    );
}

#[test]
fn json_takes_nulls_unknown_members_and_no_body() {
    assert!(json(Service::Ecs, "ListClusters", "").is_ok());
    assert!(
        json(
            Service::Ecs,
            "ListClusters",
            r#"{"maxResults": null, "colour": [{"deep": 1}]}"#
        )
        .is_ok()
    );
    assert!(json(Service::Ecs, "ListClusters", r#"{"maxResults": 5.0}"#).is_ok());
}

#[test]
fn json_services_use_their_own_words() {
    assert_refused(
        json(
            Service::Logs,
            "CreateLogGroup",
            r#"{"logGroupName": "a b"}"#,
        ),
        "InvalidParameterException",
        400,
        "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
    );
    assert_refused(
        json(
            Service::Ecr,
            "CreateRepository",
            r#"{"repositoryName": "UPPER"}"#,
        ),
        "InvalidParameterException",
        400,
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '",
    );
    assert_refused(
        json(
            Service::Ecs,
            "RunTask",
            r#"{"taskDefinition": "t", "launchType": "MOON"}"#,
        ),
        "InvalidParameterException",
        400,
        "Value 'MOON' at 'launchType' failed to satisfy constraint: Member must satisfy enum value set: [EC2, FARGATE",
    );
}

#[test]
fn malformed_xml_is_refused() {
    let wrap = |inner: &str| {
        format!("<ChangeResourceRecordSetsRequest>{inner}</ChangeResourceRecordSetsRequest>")
    };
    let cases = [
        "garbage".to_owned(),
        "<a>".to_owned(),
        "<a></b>".to_owned(),
        "<a/><b/>".to_owned(),
        "<a>&evil;</a>".to_owned(),
        "<a>&#0;</a>".to_owned(),
        "<a b></a>".to_owned(),
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_owned(),
        "<a>".repeat(100_000),
        "<OtherRequest/>".to_owned(),
        wrap("<ChangeBatch><Changes><Other/></Changes></ChangeBatch>"),
        wrap("<ChangeBatch/><ChangeBatch/>"),
        wrap(
            "<ChangeBatch><Changes><Change><Action>CREATE</Action><ResourceRecordSet><Name>a.</Name><Type>A</Type><TTL>x</TTL></ResourceRecordSet></Change></Changes></ChangeBatch>",
        ),
    ];
    for body in cases {
        let result = rest("POST", "/2013-04-01/hostedzone/Z1/rrset/", &body);
        let refused = result.expect_err(&body);
        assert!(
            matches!(refused.reason, Reason::Malformed(_)),
            "{refused:?}"
        );
        assert_eq!(
            (refused.error().code.as_ref(), refused.error().status),
            ("InvalidInput", 400)
        );
    }
    assert_refused(
        rest("POST", "/2013-04-01/hostedzone/Z1/rrset/", ""),
        "InvalidInput",
        400,
        "Value null at 'changeBatch'",
    );
}

#[test]
fn xml_text_is_read_with_entities_comments_and_cdata() {
    let body = "<?xml version='1.0'?><!-- hi --><x:UpdateHostedZoneCommentRequest xmlns:x='y'>\n <Comment>a &lt;<!-- c --><![CDATA[<&>]]>&#xe9;</Comment></x:UpdateHostedZoneCommentRequest>";
    let call = rest("POST", "/2013-04-01/hostedzone/Z1", body).unwrap();
    let wanted = [
        Value::String("a <<&>é".to_owned()),
        Value::String("Z1".to_owned()),
    ];
    assert_eq!(call.input, Value::Structure(wanted.to_vec()));
}

#[test]
fn paths_are_matched_with_and_without_their_last_slash() {
    for (method, target, name) in [
        (
            "GET",
            "/2013-04-01/hostedzone/Z1/rrset",
            "ListResourceRecordSets",
        ),
        (
            "GET",
            "/2013-04-01/hostedzone/Z1/rrset/?name=a.",
            "ListResourceRecordSets",
        ),
        ("DELETE", "/2013-04-01/hostedzone/Z1", "DeleteHostedZone"),
        ("GET", "/2013-04-01/hostedzonecount", "GetHostedZoneCount"),
    ] {
        assert_eq!(rest(method, target, "").unwrap().operation.name, name);
    }
}

#[test]
fn unknown_operations_get_a_client_error_of_their_protocol() {
    assert_refused(
        form("ec2", "Action=Fly&Version=2016-11-15"),
        "InvalidAction",
        400,
        "The action Fly is not valid for this web service.",
    );
    assert_refused(
        form("iam", "Action=Fly&Version=2010-05-08"),
        "InvalidAction",
        400,
        "Could not find operation Fly for version 2010-05-08",
    );
    assert_refused(
        form(
            "elasticloadbalancing",
            "Action=CreateLoadBalancer&Version=2012-06-01",
        ),
        "InvalidAction",
        400,
        "CreateLoadBalancer",
    );
    assert_refused(
        json(Service::Ecs, "Fly", "{}"),
        "UnknownOperationException",
        400,
        "Fly",
    );
    assert_refused(
        rest("GET", "/2013-04-01/fly", ""),
        "UnknownOperationException",
        404,
        "fly",
    );
    assert_refused(
        form("dynamodb", "Action=Fly"),
        "InvalidAction",
        400,
        "dynamodb",
    );
    let refused = form("ec2", "Action=Fly").unwrap_err();
    assert_eq!(refused.reason, Reason::UnknownOperation("Fly".to_owned()));
    assert_eq!(refused.service, Some(Service::Ec2));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn compressed(body: &[u8]) -> Result<Call, Refused> {
    let authorization = authorization("monitoring", "eu-west-1");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-encoding", "gzip"),
    ];
    route(&head("POST", "/", &headers), body)
}

#[test]
fn a_compressed_body_is_read_within_bounds() {
    let form = b"Action=PutMetricData&Version=2010-08-01&Namespace=n";
    assert_eq!(
        compressed(&gzip(form)).unwrap().operation.name,
        "PutMetricData"
    );
    assert_refused(compressed(form), "MalformedInput", 400, "not gzip");
    assert_refused(
        compressed(&gzip(&vec![b'a'; 17 << 20])),
        "MalformedInput",
        400,
        "beyond any limit",
    );
}

#[test]
fn a_service_of_three_protocols_answers_in_the_one_it_was_asked_in() {
    let authorization = authorization("monitoring", "eu-west-1");
    let refused = |target: &str, header: (&str, &str), body: &[u8]| {
        let parts = head("POST", target, &[("authorization", &authorization), header]);
        route(&parts, body).unwrap_err().response()
    };
    let header = |response: &http::Response<bytes::Bytes>, name: &str| {
        let value = response.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let json = refused(
        "/",
        ("x-amz-target", "GraniteServiceVersion20100801.DeleteAlarms"),
        b"{}",
    );
    assert_eq!(header(&json, "content-type"), "application/x-amz-json-1.0");
    assert_eq!(
        header(&json, "x-amzn-query-error"),
        "ValidationError;Sender"
    );
    let path = "/service/GraniteServiceVersion20100801/operation/DeleteAlarms";
    let cbor = refused(path, ("smithy-protocol", "rpc-v2-cbor"), &[0xa0]);
    assert_eq!(header(&cbor, "content-type"), "application/cbor");
    assert_eq!(header(&cbor, "smithy-protocol"), "rpc-v2-cbor");
    assert_eq!(
        header(&cbor, "x-amzn-query-error"),
        "ValidationError;Sender"
    );
    let form = refused("/", ("accept", "*/*"), b"Action=DeleteAlarms");
    assert!(header(&form, "content-type").starts_with("text/xml"));
    let unknown = refused(
        "/service/GraniteServiceVersion20100801/operation/Nothing",
        ("smithy-protocol", "rpc-v2-cbor"),
        &[0xa0],
    );
    assert_eq!(unknown.status(), 400);
}

#[test]
fn a_target_of_another_service_than_the_scope_is_unknown() {
    let authorization = authorization("logs", "eu-west-1");
    let parts = head(
        "POST",
        "/",
        &[
            ("authorization", &authorization),
            (
                "x-amz-target",
                "AmazonEC2ContainerServiceV20141113.ListClusters",
            ),
        ],
    );
    assert_refused(
        route(&parts, b"{}"),
        "UnknownOperationException",
        400,
        "ListClusters",
    );
}

#[test]
fn unsigned_requests_are_refused_in_their_protocol() {
    let target = [(
        "x-amz-target",
        "AmazonEC2ContainerServiceV20141113.ListClusters",
    )];
    assert_refused(
        route(&head("POST", "/", &target), b"{}"),
        "MissingAuthenticationTokenException",
        400,
        "",
    );
    let ec2 = route(
        &head("POST", "/", &[]),
        b"Action=DescribeVpcs&Version=2016-11-15",
    );
    assert!(body_of(ec2.as_ref().unwrap_err()).contains("<Response><Errors>"));
    assert_refused(ec2, "MissingParameter", 400, "AWSAccessKeyId");
    let iam = route(
        &head("POST", "/", &[]),
        b"Action=ListRoles&Version=2010-05-08",
    );
    assert_refused(iam, "MissingAuthenticationToken", 403, "");
    let route53 = route(&head("GET", "/2013-04-01/hostedzone", &[]), b"");
    assert_refused(route53, "MissingAuthenticationToken", 403, "");
    assert_refused(
        route(&head("GET", "/", &[]), b""),
        "MissingAuthenticationToken",
        403,
        "",
    );
}

#[test]
fn malformed_signatures_are_incomplete() {
    for header in [
        "AWS4-HMAC-SHA256 Credential=a",
        "Basic abc",
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 x,y",
    ] {
        let parts = head("POST", "/", &[("authorization", header)]);
        assert_refused(
            route(&parts, b"Action=ListRoles&Version=2010-05-08"),
            "IncompleteSignature",
            400,
            "",
        );
    }
}

#[test]
fn a_presigned_call_is_read_from_its_query() {
    let target = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260102%2Feu-west-1%2Fsts%2Faws4_request&X-Amz-Date=20260102T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    let call = route(&head("GET", target, &[]), b"").unwrap();
    assert_eq!(
        (call.operation.name, call.access_key.as_str()),
        ("GetCallerIdentity", "AKIA")
    );
    assert_eq!(call.region, "eu-west-1");
}

#[test]
fn destinations_are_told_from_the_head() {
    let of = |target: &str, host: &str| destination(&head("GET", target, &[("host", host)]));
    assert_eq!(of("/v2/", "localhost"), Destination::Registry);
    assert_eq!(of("/v2", "localhost"), Destination::Registry);
    assert_eq!(
        of("/", "000000000000.dkr.ecr.us-east-1.amazonaws.com"),
        Destination::Registry
    );
    assert_eq!(of("/_fogbank/reset", "localhost"), Destination::Internal);
    assert_eq!(of("/_fogbankrupt", "localhost"), Destination::Api);
    assert_eq!(of("/v2x", "localhost"), Destination::Api);
    assert_eq!(of("/", "api.ecr.us-east-1.amazonaws.com"), Destination::Api);
}

#[test]
fn an_invalid_change_batch_is_a_document_of_its_own() {
    let error = ServiceError::invalid_change_batch(vec!["one <".to_owned(), "two".to_owned()]);
    let response = encode_error(Service::Route53, &error, "id");
    assert_eq!(
        std::str::from_utf8(response.body()).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InvalidChangeBatch xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>[one &lt;, two]</Message></Error><Messages><Message>one &lt;</Message><Message>two</Message></Messages><RequestId>id</RequestId></InvalidChangeBatch>"
    );
}

#[test]
fn errors_have_the_wire_code_and_status_of_the_model() {
    let of = |service, name| {
        let error = ServiceError::of(service, name, "");
        (error.code.into_owned(), error.status)
    };
    assert_eq!(
        of(Service::Elbv2, "LoadBalancerNotFoundException"),
        ("LoadBalancerNotFound".to_owned(), 400)
    );
    assert_eq!(
        of(Service::Iam, "NoSuchEntity"),
        ("NoSuchEntity".to_owned(), 404)
    );
    assert_eq!(
        of(Service::Iam, "EntityAlreadyExistsException"),
        ("EntityAlreadyExists".to_owned(), 409)
    );
    assert_eq!(
        of(Service::Route53, "NoSuchHostedZone"),
        ("NoSuchHostedZone".to_owned(), 404)
    );
    assert_eq!(
        of(Service::Ecs, "ClusterNotFoundException"),
        ("ClusterNotFoundException".to_owned(), 400)
    );
    assert_eq!(
        of(Service::Ec2, "InvalidVpcID.NotFound"),
        ("InvalidVpcID.NotFound".to_owned(), 400)
    );
}

fn each_schema(schema: &'static Schema, depth: usize, check: &mut impl FnMut(&'static Schema)) {
    assert!(depth < 30, "{} is recursive", schema.name);
    check(schema);
    match schema.kind {
        Kind::Structure(members) => {
            members
                .iter()
                .for_each(|member| each_schema(member.schema, depth + 1, check));
        }
        Kind::List { element, .. } => each_schema(element, depth + 1, check),
        Kind::Map { key, value, .. } => {
            each_schema(key, depth + 1, check);
            each_schema(value, depth + 1, check);
        }
        _ => {}
    }
}

#[test]
fn every_pattern_compiles_and_matches_the_whole_only() {
    let mut patterns = 0;
    let all = Service::ALL
        .into_iter()
        .flat_map(|service| service.schema().operations);
    for operation in all {
        each_schema(operation.input, 0, &mut |schema| {
            if let Kind::String {
                pattern: Some(pattern),
                ..
            } = schema.kind
            {
                patterns += 1;
                assert!(
                    regex::Regex::new(pattern.translated).is_ok(),
                    "{}",
                    pattern.source
                );
            }
        });
    }
    assert!(patterns > 100, "{patterns}");
    let digest = |text: &str| {
        json(
            Service::Ecr,
            "GetDownloadUrlForLayer",
            &format!(r#"{{"repositoryName":"ab","layerDigest":"{text}"}}"#),
        )
    };
    assert_eq!(digest("sha256:00ff").map(drop), Ok(()));
    assert!(digest("sha256:00ff ").is_err());
    assert!(digest("x sha256:00ff").is_err());
}
