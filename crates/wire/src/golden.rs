//! The golden files under `tests/golden`: what botocore sends is read as it meant it, and what we
//! answer has the bytes that botocore was seen to understand. See `tests/golden/make.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fogbank_types::Timestamp;
use http::{Request, Response};
use serde_json::{Value as Json, json};

use crate::generated::RoundTrip;
use crate::schema::{Kind, Operation, Protocol, Schema, Service};
use crate::{Call, ServiceError, Value, encode_error_in, encode_output_in, route};

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

fn folder(service: Service) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(service.name())
}

fn read(path: &Path) -> BTreeMap<String, Json> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn each_operation(mut check: impl FnMut(&'static Operation, BTreeMap<String, Json>)) {
    for service in Service::ALL {
        for operation in service.schema().operations {
            check(
                operation,
                read(&folder(service).join(format!("{}.json", operation.name))),
            );
        }
    }
}

/// A value as the golden files have it: by the model's names, times in milliseconds.
fn to_json(schema: &Schema, value: &Value) -> Json {
    match (&schema.kind, value) {
        (Kind::Structure(members), Value::Structure(values)) => {
            let present = members
                .iter()
                .zip(values)
                .filter(|(_, value)| !value.is_null());
            let named = present
                .map(|(member, value)| (member.name.to_owned(), to_json(member.schema, value)));
            Json::Object(named.collect())
        }
        (Kind::List { element, .. }, Value::List(items)) => {
            items.iter().map(|item| to_json(element, item)).collect()
        }
        (Kind::Map { value: schema, .. }, Value::Map(map)) => Json::Object(
            map.iter()
                .map(|(key, item)| (key.clone(), to_json(schema, item)))
                .collect(),
        ),
        (_, Value::Boolean(value)) => json!(value),
        (_, Value::Integer(value)) => json!(value),
        (_, Value::Double(value)) => json!(value),
        (_, Value::String(value)) => json!(value),
        (_, Value::Timestamp(value)) => json!(value.0),
        (_, Value::Blob(value)) => json!(STANDARD.encode(value)),
        (_, Value::Document(value)) => value.clone(),
        (kind, value) => panic!("{} is no {kind:?}", value.kind()),
    }
}

fn from_json(schema: &Schema, json: &Json) -> Value {
    match (&schema.kind, json) {
        (Kind::Document, json) => Value::Document(json.clone()),
        (Kind::Structure(members), Json::Object(map)) => {
            let of = |name| map.get(name).unwrap_or(&Json::Null);
            Value::Structure(
                members
                    .iter()
                    .map(|member| from_json(member.schema, of(member.name)))
                    .collect(),
            )
        }
        (_, Json::Null) => Value::Null,
        (Kind::List { element, .. }, Json::Array(items)) => {
            Value::List(items.iter().map(|item| from_json(element, item)).collect())
        }
        (Kind::Map { value, .. }, Json::Object(map)) => Value::Map(
            map.iter()
                .map(|(key, item)| (key.clone(), from_json(value, item)))
                .collect(),
        ),
        (Kind::String { .. }, Json::String(text)) => Value::String(text.clone()),
        (Kind::Blob, Json::String(text)) => {
            Value::Blob(Bytes::from(STANDARD.decode(text).unwrap()))
        }
        (Kind::Boolean, Json::Bool(value)) => Value::Boolean(*value),
        (Kind::Timestamp, json) => Value::Timestamp(Timestamp(json.as_i64().unwrap())),
        (Kind::Integer | Kind::Long, json) => Value::Integer(json.as_i64().unwrap()),
        (Kind::Double, json) => Value::Double(json.as_f64().unwrap()),
        (kind, json) => panic!("{json} is no {kind:?}"),
    }
}

fn round_trips(operation: &Operation) -> (RoundTrip, RoundTrip) {
    let table = match operation.service {
        Service::Ec2 => crate::ec2::ROUND_TRIPS,
        Service::Elbv2 => crate::elbv2::ROUND_TRIPS,
        Service::Ecs => crate::ecs::ROUND_TRIPS,
        Service::Ecr => crate::ecr::ROUND_TRIPS,
        Service::Route53 => crate::route53::ROUND_TRIPS,
        Service::Iam => crate::iam::ROUND_TRIPS,
        Service::Sts => crate::sts::ROUND_TRIPS,
        Service::Logs => crate::logs::ROUND_TRIPS,
        Service::Acm => crate::acm::ROUND_TRIPS,
        Service::Cloudwatch => crate::cloudwatch::ROUND_TRIPS,
        Service::ApplicationAutoscaling => crate::application_autoscaling::ROUND_TRIPS,
        Service::Servicediscovery => crate::servicediscovery::ROUND_TRIPS,
        Service::Ssm => crate::ssm::ROUND_TRIPS,
        Service::Secretsmanager => crate::secretsmanager::ROUND_TRIPS,
        Service::Cloudtrail => crate::cloudtrail::ROUND_TRIPS,
        Service::Kms => crate::kms::ROUND_TRIPS,
    };
    let (_, input, output) = table
        .iter()
        .find(|(name, _, _)| *name == operation.name)
        .unwrap();
    (*input, *output)
}

fn send(request: &Json) -> Call {
    let text = |key: &str| request[key].as_str().unwrap();
    let mut builder = Request::builder()
        .method(text("method"))
        .uri(text("target"));
    for (name, value) in request["headers"].as_object().unwrap() {
        builder = builder.header(name, value.as_str().unwrap());
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let body = match request["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => text("body").as_bytes().to_vec(),
    };
    route(&parts, &body).unwrap_or_else(|refused| panic!("{request}: {refused:?}"))
}

fn response_json(response: &Response<Bytes>) -> Json {
    let headers: BTreeMap<&str, &str> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let mut json = json!({"status": response.status().as_u16(), "headers": headers});
    if headers.contains_key("smithy-protocol") {
        json["body_base64"] = json!(STANDARD.encode(response.body()));
    } else {
        json["body"] = json!(std::str::from_utf8(response.body()).unwrap());
    }
    json
}

fn output(operation: &Operation, content: &BTreeMap<String, Json>) -> Value {
    operation
        .output
        .map_or(Value::Structure(Vec::new()), |schema| {
            from_json(schema, &content["output"])
        })
}

/// What the keys of a protocol end with: nothing for a service's first.
fn protocols(service: Service) -> Vec<(Protocol, &'static str)> {
    let suffix = |protocol| match protocol {
        Protocol::RpcV2Cbor => " smithy-rpc-v2-cbor",
        _ => " json",
    };
    let others = service.schema().other_protocols.iter();
    std::iter::once((service.protocol(), ""))
        .chain(others.map(|other| (*other, suffix(*other))))
        .collect()
}

fn answers(operation: &Operation, content: &BTreeMap<String, Json>) -> Vec<(String, Json)> {
    let shape = content["error_shape"].as_str().unwrap().to_owned();
    let error = ServiceError::of(operation.service, shape.leak(), "a <message> & more");
    let mut answers = Vec::new();
    for (protocol, suffix) in protocols(operation.service) {
        let output = output(operation, content);
        let response = encode_output_in(protocol, operation, output, REQUEST_ID);
        let refusal = encode_error_in(protocol, operation.service, &error, REQUEST_ID);
        answers.push((format!("response{suffix}"), response_json(&response)));
        answers.push((format!("error{suffix}"), response_json(&refusal)));
    }
    answers
}

#[test]
fn requests_are_read_as_their_client_meant_them() {
    each_operation(|operation, content| {
        for (protocol, suffix) in protocols(operation.service) {
            let call = send(&content[&format!("request{suffix}")]);
            assert_eq!(call.operation, operation);
            assert_eq!(call.protocol, protocol);
            assert_eq!(call.access_key, "AKIAIOSFODNN7EXAMPLE");
            let global = operation.service.is_global();
            assert_eq!(call.region, if global { "us-east-1" } else { "eu-west-1" });
            assert_eq!(
                to_json(operation.input, &call.input),
                content["input"],
                "{operation:?}{suffix}"
            );
        }
    });
}

#[test]
fn every_struct_holds_all_its_shape_does() {
    each_operation(|operation, content| {
        let (through_input, through_output) = round_trips(operation);
        let input = send(&content["request"]).input;
        assert_eq!(
            through_input(input.clone()).unwrap(),
            input,
            "{}",
            operation.name
        );
        let output = output(operation, &content);
        assert_eq!(
            through_output(output.clone()).unwrap(),
            output,
            "{}",
            operation.name
        );
    });
}

#[test]
fn answers_have_the_bytes_that_their_client_understood() {
    let bless = std::env::var_os("FOGBANK_BLESS").is_some();
    each_operation(|operation, mut content| {
        for (key, answer) in answers(operation, &content) {
            if bless {
                content.insert(key, answer);
            } else {
                assert_eq!(
                    answer, content[&key],
                    "{} {} {key}",
                    operation.service, operation.name
                );
            }
        }
        if bless {
            let lines: Vec<String> = content
                .iter()
                .map(|(key, value)| format!("{}: {value}", json!(key)))
                .collect();
            let path = folder(operation.service).join(format!("{}.json", operation.name));
            fs::write(path, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
        }
    });
}

#[test]
fn there_is_a_file_for_each_operation_and_no_other() {
    for service in Service::ALL {
        let files: BTreeSet<String> = fs::read_dir(folder(service))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let operations: BTreeSet<String> = service
            .schema()
            .operations
            .iter()
            .map(|operation| format!("{}.json", operation.name))
            .collect();
        assert_eq!(files, operations, "{service}");
    }
}

#[test]
fn operations_of_models_are_sorted_for_their_search() {
    for service in Service::ALL {
        for operation in service.schema().operations {
            assert_eq!(service.operation(operation.name), Some(operation));
        }
        for error in service.schema().errors {
            assert_eq!(service.error(error.shape).unwrap().shape, error.shape);
        }
    }
}
