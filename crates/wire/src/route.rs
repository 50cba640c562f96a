//! From an HTTP request to a call: which service, which operation, what input, signed by whom.
//!
//! Called by the endpoint for every request. Services are told apart as AWS's clients address
//! them: by the credential scope, else by `X-Amz-Target`, path, host or the form's version.
//! A request that is refused carries all that is needed for its answer: see [`Refused::response`].

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use crate::malformed::shorten;
use crate::reply::{ServiceError, encode_error_as};
use crate::rest;
use crate::schema::{Operation, Protocol, Service};
use crate::signature::{self, Authorization, SignatureError};
use crate::validation::{self, Violation};
use crate::value::{Mismatch, Shape, Value};
use crate::{Malformed, cbor, gzip, json, query};

pub const DEFAULT_REGION: &str = "us-east-1";

/// Who in the process serves a request; told from its head alone, so that a registry's uploads
/// can be streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The API of a service: read the body, then [`route`].
    Api,
    /// The image registry, `/v2/...`.
    Registry,
    /// fogbank's own, `/_fogbank/...`.
    Internal,
}

pub fn destination(parts: &Parts) -> Destination {
    let path = parts.uri.path();
    if path == "/_fogbank" || path.starts_with("/_fogbank/") {
        Destination::Internal
    } else if path == "/v2" || path.starts_with("/v2/") || is_registry_host(host(parts)) {
        Destination::Registry
    } else {
        Destination::Api
    }
}

fn host(parts: &Parts) -> &str {
    let header = parts
        .headers
        .get(http::header::HOST)
        .and_then(|value| value.to_str().ok());
    header
        .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("")
}

/// `<account>.dkr.ecr.<region>.amazonaws.com`
fn is_registry_host(host: &str) -> bool {
    let mut labels = host.split('.');
    let account = labels
        .next()
        .is_some_and(|label| label.len() == 12 && label.bytes().all(|b| b.is_ascii_digit()));
    account && labels.next() == Some("dkr") && labels.next() == Some("ecr")
}

/// A request to an operation, its input valid as far as the model goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub operation: &'static Operation,
    /// How the answer is written.
    pub protocol: Protocol,
    /// The scope's; us-east-1 for the services that are one for all regions.
    pub region: String,
    pub access_key: String,
    pub session_token: Option<String>,
    pub request_id: String,
    pub input: Value,
}

impl Call {
    /// The input as its struct. It fails only if the struct is another operation's.
    pub fn take_input<T: Shape>(&mut self) -> Result<T, Mismatch> {
        T::from_value(std::mem::take(&mut self.input))
    }
}

/// A request that is no call.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("refused ({}): {reason}", .service.map_or("no service", Service::name))]
pub struct Refused {
    pub service: Option<Service>,
    /// How the answer is written; the service's, where it is known.
    pub protocol: Protocol,
    pub operation: Option<&'static Operation>,
    pub request_id: String,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    #[error("not signed")]
    MissingAuthentication,
    #[error("incomplete signature: {0}")]
    IncompleteSignature(String),
    #[error("the service {0} is not served")]
    UnknownService(String),
    /// For the counters of `fogbank status`.
    #[error("the operation {0} is not served")]
    UnknownOperation(String),
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("{} of the model's constraints are broken", .0.len())]
    Invalid(Vec<Violation>),
    /// By whoever was asked who calls.
    #[error("{0}")]
    Unauthentic(ServiceError),
}

impl Refused {
    /// AWS's error for it.
    pub fn error(&self) -> ServiceError {
        use Protocol::{AwsJson, AwsQuery, Ec2Query, RestXml, RpcV2Cbor};
        match (&self.reason, self.protocol) {
            (Reason::MissingAuthentication, AwsJson | RpcV2Cbor) => ServiceError::new(
                "MissingAuthenticationTokenException",
                400,
                "Missing Authentication Token",
            ),
            (Reason::MissingAuthentication, Ec2Query) => ServiceError::new(
                "MissingParameter",
                400,
                "The request must contain the parameter AWSAccessKeyId",
            ),
            (Reason::MissingAuthentication, AwsQuery | RestXml) => ServiceError::new(
                "MissingAuthenticationToken",
                403,
                "Request is missing Authentication Token",
            ),
            (Reason::IncompleteSignature(message), AwsJson | RpcV2Cbor) => {
                ServiceError::new("IncompleteSignatureException", 400, message.as_str())
            }
            (Reason::IncompleteSignature(message), _) => {
                ServiceError::new("IncompleteSignature", 400, message.as_str())
            }
            (Reason::UnknownService(name) | Reason::UnknownOperation(name), _) => {
                self.unknown(name)
            }
            (Reason::Malformed(malformed), protocol) => {
                ServiceError::new(malformed.code(protocol), 400, malformed.message(protocol))
            }
            (Reason::Invalid(violations), _) => {
                let service = self.service.unwrap_or(Service::Sts);
                let message = validation::message(service, violations);
                ServiceError::new(validation::code(service, violations), 400, message)
            }
            (Reason::Unauthentic(error), _) => error.clone(),
        }
    }

    fn unknown(&self, name: &str) -> ServiceError {
        unknown_operation(self.service, self.protocol, name)
    }

    /// The answer, ready to be sent.
    pub fn response(&self) -> Response<Bytes> {
        let schema = self.service.map(Service::schema);
        encode_error_as(self.protocol, schema, &self.error(), &self.request_id)
    }
}

/// AWS's error for an action it does not know; also for one that is modelled but not built.
/// Always a 4xx: clients retry a 5xx for minutes.
pub fn unknown_operation(service: Option<Service>, protocol: Protocol, name: &str) -> ServiceError {
    let name = shorten(name);
    match protocol {
        Protocol::AwsJson | Protocol::RpcV2Cbor => ServiceError::new(
            "UnknownOperationException",
            400,
            format!("The operation {name} is not known"),
        ),
        Protocol::RestXml => ServiceError::new(
            "UnknownOperationException",
            404,
            format!("The operation {name} is not known"),
        ),
        Protocol::Ec2Query => ServiceError::new(
            "InvalidAction",
            400,
            format!("The action {name} is not valid for this web service."),
        ),
        Protocol::AwsQuery => {
            let version = service.map_or("", |service| service.schema().api_version);
            ServiceError::new(
                "InvalidAction",
                400,
                format!("Could not find operation {name} for version {version}"),
            )
        }
    }
}

/// Reads a request whose destination is [`Destination::Api`].
pub fn route(parts: &Parts, body: &[u8]) -> Result<Call, Refused> {
    let (call, ()) = route_for(parts, body, |_, _, _| Ok(()))?;
    Ok(call)
}

/// The same, with an answer to the question who calls. It is asked before anything else of the request is looked at
/// (fact SIG-1), whose body it finds as it was sent.
pub fn route_for<T>(
    parts: &Parts,
    body: &[u8],
    identify: impl FnOnce(&Authorization, Service, Protocol) -> Result<T, ServiceError>,
) -> Result<(Call, T), Refused> {
    let mut refused = Refused {
        service: None,
        protocol: spoken(parts),
        operation: None,
        request_id: request_id(),
        reason: Reason::MissingAuthentication,
    };
    read(parts, body, &mut refused, identify).map_err(|reason| Refused { reason, ..refused })
}

/// How a request speaks, by its form alone.
fn spoken(parts: &Parts) -> Protocol {
    let path = parts.uri.path();
    if parts.headers.contains_key("smithy-protocol") || rpc_operation(parts).is_some() {
        Protocol::RpcV2Cbor
    } else if parts.headers.contains_key("x-amz-target") {
        Protocol::AwsJson
    } else if path.starts_with("/2013-04-01/") || (path != "/" && !path.is_empty()) {
        Protocol::RestXml
    } else {
        Protocol::AwsQuery
    }
}

/// Service and operation of `/service/GraniteServiceVersion20100801/operation/PutMetricData`.
/// <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>
fn rpc_operation(parts: &Parts) -> Option<(&str, &str)> {
    let mut rest = parts.uri.path().rsplit('/');
    let (operation, word) = (rest.next()?, rest.next()?);
    let (service, first) = (rest.next()?, rest.next()?);
    (word == "operation" && first == "service").then_some((service, operation))
}

/// The call. What becomes known on the way is left in `refused`, so that the refusal fits.
fn read<T>(
    parts: &Parts,
    body: &[u8],
    refused: &mut Refused,
    identify: impl FnOnce(&Authorization, Service, Protocol) -> Result<T, ServiceError>,
) -> Result<(Call, T), Reason> {
    let query = query::parse_form(parts.uri.query().unwrap_or("").as_bytes())?;
    let authorization = signature::authorization(parts, &query);
    let signed_for = authorization
        .as_ref()
        .ok()
        .map(|authorization| authorization.credential.service.clone());
    let service = match &signed_for {
        Some(name) => by_signing_name(name),
        None => by_address(parts, &query, body),
    };
    if let Some(service) = service {
        refused.service = Some(service);
        refused.protocol = service.protocol_for(refused.protocol);
    }
    let authorization = authorization.map_err(|error| match error {
        SignatureError::Missing => Reason::MissingAuthentication,
        SignatureError::Incomplete(message) => Reason::IncompleteSignature(message),
    })?;
    let Some(service) = service else {
        return Err(Reason::UnknownService(authorization.credential.service));
    };
    let identity =
        identify(&authorization, service, refused.protocol).map_err(Reason::Unauthentic)?;
    let credential = authorization.credential;
    let body = &gzip::content(parts, body)?;
    let request = Request {
        parts,
        query: &query,
        body,
        service,
        protocol: refused.protocol,
    };
    let (operation, source) = request.operation()?;
    refused.operation = Some(operation);
    let input = request.input(operation, source)?;
    let violations = validation::validate(service, operation.input, &input);
    if !violations.is_empty() {
        return Err(Reason::Invalid(violations));
    }
    let call = Call {
        operation,
        protocol: refused.protocol,
        region: region(service, credential.region),
        access_key: credential.access_key,
        session_token: credential.session_token,
        request_id: refused.request_id.clone(),
        input,
    };
    Ok((call, identity))
}

fn region(service: Service, scope: String) -> String {
    // botocore names the one endpoint of a global service so when asked for no region.
    if service.is_global() || scope == "aws-global" {
        DEFAULT_REGION.to_owned()
    } else {
        scope
    }
}

fn by_signing_name(name: &str) -> Option<Service> {
    Service::ALL
        .into_iter()
        .find(|service| service.schema().signing_name == name)
}

/// The service of a request that is not signed: only to refuse it in the right form.
fn by_address(parts: &Parts, query: &[(String, String)], body: &[u8]) -> Option<Service> {
    if let Some(target) = parts
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
    {
        let (prefix, _) = target.rsplit_once('.')?;
        return Service::ALL
            .into_iter()
            .find(|service| service.schema().target_prefix == prefix);
    }
    if let Some((name, _)) = rpc_operation(parts) {
        return Service::ALL
            .into_iter()
            .find(|service| service.schema().target_prefix == name);
    }
    if parts.uri.path().starts_with("/2013-04-01/") {
        return Some(Service::Route53);
    }
    let host = host(parts);
    let by_host = Service::ALL.into_iter().find(|service| {
        let rest = host.strip_prefix(service.schema().endpoint_prefix);
        rest.is_some_and(|rest| rest.starts_with('.'))
    });
    by_host.or_else(|| {
        let form = query::parse_form(body).ok()?;
        let version = query::find(query, "Version").or_else(|| query::find(&form, "Version"))?;
        Service::ALL.into_iter().find(|service| {
            let forms = matches!(service.protocol(), Protocol::Ec2Query | Protocol::AwsQuery);
            forms && service.schema().api_version == version
        })
    })
}

/// What of a request holds its input, besides its body.
enum Source {
    Body,
    Form(Vec<(String, String)>),
    Labels(Vec<String>),
}

struct Request<'a> {
    parts: &'a Parts,
    query: &'a [(String, String)],
    body: &'a [u8],
    service: Service,
    protocol: Protocol,
}

impl Request<'_> {
    fn operation(&self) -> Result<(&'static Operation, Source), Reason> {
        let unknown = |name: &str| Reason::UnknownOperation(shorten(name).into_owned());
        match self.protocol {
            Protocol::RpcV2Cbor => {
                let (prefix, name) = rpc_operation(self.parts).unwrap_or_default();
                let known = prefix == self.service.schema().target_prefix
                    && self.parts.method == Method::POST;
                let operation = self.service.operation(name).filter(|_| known);
                operation
                    .map(|operation| (operation, Source::Body))
                    .ok_or_else(|| unknown(name))
            }
            Protocol::AwsJson => {
                let target = self.parts.headers.get("x-amz-target");
                let target = target.and_then(|value| value.to_str().ok()).unwrap_or("");
                let (prefix, name) = target.rsplit_once('.').unwrap_or(("", target));
                let known = prefix == self.service.schema().target_prefix
                    && self.parts.method == Method::POST;
                let operation = self.service.operation(name).filter(|_| known);
                operation
                    .map(|operation| (operation, Source::Body))
                    .ok_or_else(|| unknown(name))
            }
            Protocol::Ec2Query | Protocol::AwsQuery => {
                let mut form = self.query.to_vec();
                if self.parts.method == Method::POST {
                    form.extend(query::parse_form(self.body)?);
                }
                if form.iter().filter(|(key, _)| key == "Action").count() > 1 {
                    return Err(Malformed::Twice("Action".to_owned()).into());
                }
                let name = query::find(&form, "Action").unwrap_or("").to_owned();
                let version = query::find(&form, "Version");
                // Classic load balancing has the same signing name and another version.
                let known = version.is_none_or(|version| self.version_is_ours(version));
                let operation = self.service.operation(&name).filter(|_| known);
                operation
                    .map(|operation| (operation, Source::Form(form)))
                    .ok_or_else(|| unknown(&name))
            }
            Protocol::RestXml => {
                let path = self.parts.uri.path();
                let found = rest::find(self.service, self.parts.method.as_str(), path)?;
                found
                    .map(|(operation, labels)| (operation, Source::Labels(labels)))
                    .ok_or_else(|| unknown(&format!("{} {path}", self.parts.method)))
            }
        }
    }

    /// EC2 takes its older versions too; their requests are the same as far as they are modelled.
    fn version_is_ours(&self, version: &str) -> bool {
        self.service == Service::Ec2 || self.service.schema().api_version == version
    }

    fn input(&self, operation: &'static Operation, source: Source) -> Result<Value, Malformed> {
        match source {
            Source::Body if self.protocol == Protocol::RpcV2Cbor => {
                cbor::decode(operation.input, self.body)
            }
            Source::Body => json::decode(operation.input, self.body),
            Source::Form(form) => query::decode(self.protocol, operation.input, &form),
            Source::Labels(labels) => rest::decode(
                operation,
                &labels,
                self.query,
                &self.parts.headers,
                self.body,
            ),
        }
    }
}

/// A UUID of version 4's form. Ids of requests are for people and logs: they need to differ, not
/// to be unguessable, so the standard library's random keys do.
fn request_id() -> String {
    let word = || RandomState::new().build_hasher().finish();
    let (high, low) = (word(), word());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}
