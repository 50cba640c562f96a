//! A call as CloudTrail tells it.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
//!
//! What must stay true: what a client keeps secret is never in an event. Members are hidden by name (`HIDDEN`), bytes
//! always, and answers are not told at all.

use crate::authorization::Origin;
use crate::identity::Principal;
use crate::model::iam::evaluation::{Party, PartyKind};
use fogbank_types::Timestamp;
use fogbank_wire::schema::Kind;
use fogbank_wire::{Call, Operation, Schema, ServiceError, Value, iso8601};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

/// What AWS writes in place of a secret.
const SECRET: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
/// Members whose values are nobody's business, whatever is in them.
const HIDDEN: [&str; 14] = [
    "secretstring",
    "secretbinary",
    "secretaccesskey",
    "sessiontoken",
    "privatekey",
    "passphrase",
    "password",
    "plaintext",
    "clientsecret",
    "webidentitytoken",
    "samlassertion",
    "encodedmessage",
    "logevents",
    "tokencode",
];
/// What no management event is made of.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html>
const DATA_EVENTS: [&str; 8] = [
    "PutMetricData",
    "GetMetricData",
    "GetMetricStatistics",
    "GetMetricWidgetImage",
    "PutLogEvents",
    "GetLogEvents",
    "FilterLogEvents",
    "DiscoverInstances",
];
/// Parameters longer than this are left out, as CloudTrail does with 100 KB.
const PARAMETERS_BYTES_MAX: usize = 100 << 10;

/// A call that was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    pub operation: &'static Operation,
    /// See [`parameters`].
    pub parameters: Json,
    pub region: String,
    pub party: Party,
    pub access_key: String,
    pub origin: Origin,
    pub request_id: String,
    pub at: Timestamp,
    /// What was refused, and why.
    pub error: Option<ServiceError>,
}

impl Seen {
    /// A call that is answered now. `None`: CloudTrail counts it among data events, which its history doesn't have.
    pub fn of(call: &Call, principal: &Principal, origin: &Origin, at: Timestamp) -> Option<Self> {
        let operation = call.operation;
        if DATA_EVENTS.contains(&operation.name) {
            return None;
        }
        Some(Self {
            operation,
            parameters: parameters(operation, &call.input),
            region: call.region.clone(),
            party: principal.party.clone(),
            access_key: principal.access_key.clone(),
            origin: origin.clone(),
            request_id: call.request_id.clone(),
            at,
            error: None,
        })
    }

    /// With what it was refused by, if it was.
    pub fn with_error(self, error: Option<ServiceError>) -> Self {
        Self { error, ..self }
    }
}

/// What a request asks, without what is secret.
pub fn parameters(operation: &Operation, input: &Value) -> Json {
    let told = tell(operation.input, input, operation.name);
    match &told {
        Json::Object(members) if members.is_empty() => Json::Null,
        _ => told,
    }
}

fn tell(schema: &Schema, value: &Value, within: &str) -> Json {
    match (value, &schema.kind) {
        (Value::Structure(values), _) => {
            let members = schema.members().iter().zip(values);
            let told = members.filter(|(_, value)| !value.is_null());
            let told = told.map(|(member, value)| {
                let json = if is_secret(member.name, within) {
                    Json::from(SECRET)
                } else {
                    tell(member.schema, value, member.name)
                };
                (lower_first(member.name), json)
            });
            Json::Object(told.collect())
        }
        (Value::List(items), Kind::List { element, .. }) => items
            .iter()
            .map(|item| tell(element, item, within))
            .collect(),
        (Value::Map(entries), Kind::Map { value: schema, .. }) => {
            let told = entries.iter();
            let told = told.map(|(key, value)| (key.clone(), tell(schema, value, within)));
            Json::Object(told.collect())
        }
        (Value::Boolean(truth), _) => Json::from(*truth),
        (Value::Integer(number), _) => Json::from(*number),
        (Value::Double(number), _) => Json::from(*number),
        (Value::String(text), _) => Json::from(text.as_str()),
        (Value::Timestamp(at), _) => Json::from(iso8601(*at)),
        (Value::Document(json), _) => json.clone(),
        (Value::Blob(_), _) => Json::from(SECRET),
        _ => Json::Null,
    }
}

/// Whether a member's value is hidden: by its name, or as the value of a parameter or of a container's environment.
fn is_secret(name: &str, within: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    HIDDEN.contains(&lower.as_str())
        || lower == "value" && matches!(within, "PutParameter" | "environment")
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// Whether an operation changes nothing.
fn is_read_only(name: &str) -> bool {
    const READS: [&str; 20] = [
        "Describe",
        "Get",
        "List",
        "Lookup",
        "BatchGet",
        "BatchCheck",
        "Filter",
        "Test",
        "Simulate",
        "Discover",
        "Decode",
        "Validate",
        "Search",
        "Check",
        "AssumeRole",
        "StartNetworkInsights",
        "Decrypt",
        "Encrypt",
        "ReEncrypt",
        "Generate",
    ];
    READS.iter().any(|start| name.starts_with(start))
}

/// The name that LookupEvents finds a caller by.
fn username(party: &Party) -> &str {
    match &party.kind {
        PartyKind::Root => "root",
        PartyKind::User { name } => name,
        PartyKind::Session { .. } => party.arn.rsplit('/').next().unwrap_or(&party.arn),
        PartyKind::Service => &party.arn,
    }
}

fn identity(seen: &Seen) -> Json {
    let Seen {
        party, access_key, ..
    } = seen;
    let mut identity = Map::new();
    let kind = match &party.kind {
        PartyKind::Root => "Root",
        PartyKind::User { .. } => "IAMUser",
        PartyKind::Session { .. } => "AssumedRole",
        PartyKind::Service => "AWSService",
    };
    identity.insert("type".into(), kind.into());
    identity.insert("principalId".into(), party.unique_id.as_str().into());
    identity.insert("arn".into(), party.arn.as_str().into());
    identity.insert("accountId".into(), party.account.as_str().into());
    identity.insert("accessKeyId".into(), access_key.as_str().into());
    match &party.kind {
        PartyKind::User { name } => {
            identity.insert("userName".into(), name.as_str().into());
        }
        PartyKind::Session { role, role_arn, .. } => {
            let role_id = party.unique_id.split(':').next().unwrap_or_default();
            let created = seen.origin.token_issued_at.map(to_the_second);
            identity.insert(
                "sessionContext".into(),
                json!({
                    "sessionIssuer": {"type": "Role", "principalId": role_id, "arn": role_arn, "accountId": party.account, "userName": role},
                    "attributes": {"creationDate": created, "mfaAuthenticated": "false"},
                }),
            );
        }
        PartyKind::Root | PartyKind::Service => {}
    }
    Json::Object(identity)
}

/// CloudTrail tells no fractions.
fn to_the_second(at: Timestamp) -> String {
    iso8601(Timestamp(at.0.div_euclid(1000) * 1000)).replace(".000Z", "Z")
}

/// An id of the event's own, which the request's gives.
fn event_id(request_id: &str) -> String {
    let hash = Sha256::digest(format!("event {request_id}"));
    let hex: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "{}-{}-4{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

pub fn text(seen: &Seen) -> String {
    let schema = seen.operation.service.schema();
    let mut event = json!({
        "eventVersion": "1.11",
        "userIdentity": identity(seen),
        "eventTime": to_the_second(seen.at),
        "eventSource": format!("{}.amazonaws.com", schema.signing_name),
        "eventName": seen.operation.name,
        "awsRegion": seen.region,
        "sourceIPAddress": seen.origin.address.map_or_else(|| "127.0.0.1".to_owned(), |a| a.to_string()),
        "userAgent": seen.origin.user_agent,
        "requestParameters": seen.parameters,
        "responseElements": null,
        "requestID": seen.request_id,
        "eventID": event_id(&seen.request_id),
        "readOnly": is_read_only(seen.operation.name),
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": seen.party.account,
        "eventCategory": "Management",
    });
    if let Some(error) = &seen.error {
        event["errorCode"] = error.code.as_ref().into();
        event["errorMessage"] = error.message.as_str().into();
    }
    if let Some(endpoint) = &seen.origin.endpoint {
        event["vpcEndpointId"] = endpoint.to_string().into();
    }
    // For LookupEvents; the event that it shows does not have it.
    event["username"] = username(&seen.party).into();
    let text = event.to_string();
    if text.len() <= PARAMETERS_BYTES_MAX {
        return text;
    }
    event["requestParameters"] = json!({"omitted": true, "reason": "requestParameters too large"});
    if let Some(message) = event["errorMessage"].as_str() {
        let short: String = message.chars().take(1024).collect();
        event["errorMessage"] = short.into();
    }
    event["userAgent"] = Json::Null;
    event.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::iam::evaluation::party::fixture::{session, user};
    use fogbank_wire::{Service, Shape, ecs, secretsmanager, ssm};

    fn seen(service: Service, name: &str, input: impl Shape, party: Party) -> Seen {
        let operation = service.operation(name).unwrap();
        Seen {
            operation,
            parameters: parameters(operation, &input.into_value()),
            region: "us-east-1".into(),
            party,
            access_key: "AKIA".into(),
            origin: Origin::default(),
            request_id: "r-1".into(),
            at: Timestamp(1_709_208_000_250),
            error: None,
        }
    }

    #[test]
    fn secrets_are_hidden_and_names_are_not() {
        let secret = secretsmanager::CreateSecretRequest {
            name: "db".into(),
            secret_string: Some("hunter2".into()),
            ..secretsmanager::CreateSecretRequest::default()
        };
        let parameter = ssm::PutParameterRequest {
            name: "/db".into(),
            value: "hunter2".into(),
            ..ssm::PutParameterRequest::default()
        };
        let definition = ecs::RegisterTaskDefinitionRequest {
            family: "api".into(),
            container_definitions: vec![ecs::ContainerDefinition {
                name: Some("api".into()),
                environment: Some(vec![ecs::KeyValuePair {
                    name: Some("DB".into()),
                    value: Some("hunter2".into()),
                }]),
                ..ecs::ContainerDefinition::default()
            }],
            ..ecs::RegisterTaskDefinitionRequest::default()
        };
        let ann = || user("ann");
        for (seen, name) in [
            (
                seen(Service::Secretsmanager, "CreateSecret", secret, ann()),
                "db",
            ),
            (seen(Service::Ssm, "PutParameter", parameter, ann()), "/db"),
            (
                seen(Service::Ecs, "RegisterTaskDefinition", definition, ann()),
                "DB",
            ),
        ] {
            let text = text(&seen);
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains(SECRET) && text.contains(name), "{text}");
        }
    }

    #[test]
    fn an_event_says_who_what_and_what_came_of_it() {
        let list = ecs::ListClustersRequest::default();
        let mut one = seen(Service::Ecs, "ListClusters", list, session("ops", None));
        one.error = Some(ServiceError::new("AccessDeniedException", 400, "no"));
        let event: Json = serde_json::from_str(&text(&one)).unwrap();
        assert_eq!(event["eventSource"], "ecs.amazonaws.com");
        assert_eq!(event["eventTime"], "2024-02-29T12:00:00Z");
        assert_eq!(event["userIdentity"]["type"], "AssumedRole");
        assert_eq!(
            event["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"],
            "ops"
        );
        assert_eq!(event["errorCode"], "AccessDeniedException");
        assert_eq!(event["readOnly"], true);
        assert_eq!(event["requestParameters"], Json::Null);
        assert_eq!(event["username"], "s");
        assert_eq!(event["eventID"].as_str().unwrap().len(), 36);
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let parameter = ssm::DescribeParametersRequest {
            next_token: Some("x".repeat(200_000)),
            ..ssm::DescribeParametersRequest::default()
        };
        let one = seen(Service::Ssm, "DescribeParameters", parameter, user("ann"));
        assert!(text(&one).len() < 4_000);
    }
}
