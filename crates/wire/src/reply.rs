//! Replies: an operation's output and a service's error, in each protocol's form.
//!
//! Called by control for every answer. A reply always carries its request id; an absent member
//! is absent, an empty list that is there is an empty container.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};

use crate::schema::{Location, Operation, Protocol, Service, ServiceSchema};
use crate::value::{Shape, Value};
use crate::{TypedOperation, cbor, json, scalar, xml};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// An error as AWS words it. The code is the wire's, `LoadBalancerNotFound`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub struct ServiceError {
    pub code: Cow<'static, str>,
    pub message: String,
    pub status: u16,
    /// Members of the error besides its message.
    pub details: Vec<(Cow<'static, str>, Detail)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Text(String),
    List(Vec<String>),
    Number(i64),
    /// A structure of them.
    Members(Vec<(&'static str, Detail)>),
}

impl ServiceError {
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<String>,
    ) -> ServiceError {
        ServiceError {
            code: code.into(),
            message: message.into(),
            status,
            details: Vec::new(),
        }
    }

    /// An error by its name in the model or its code on the wire; the model gives code and
    /// status. A name that the service's model does not have (EC2's has none) is a 400 of that code.
    pub fn of(service: Service, name: &'static str, message: impl Into<String>) -> ServiceError {
        match service.error(name) {
            Some(error) => ServiceError::new(error.code, error.status, message),
            None => ServiceError::new(name, 400, message),
        }
    }

    /// Route 53's refusal of a batch: a message for each change that cannot be made.
    pub fn invalid_change_batch(messages: Vec<String>) -> ServiceError {
        let mut error = ServiceError::new(
            "InvalidChangeBatch",
            400,
            format!("[{}]", messages.join(", ")),
        );
        error
            .details
            .push(("Messages".into(), Detail::List(messages)));
        error
    }

    /// CloudWatch Logs' refusal of a query, with the characters that are to blame; `end` is exclusive.
    pub fn malformed_query(message: &str, start: usize, end: usize) -> ServiceError {
        let offset = |at: usize| Detail::Number(i64::try_from(at).unwrap_or(i64::MAX));
        let place = vec![
            ("startCharOffset", offset(start)),
            ("endCharOffset", offset(end)),
        ];
        let inner = vec![
            ("location", Detail::Members(place)),
            ("message", Detail::Text(message.to_owned())),
        ];
        let mut error = ServiceError::new("MalformedQueryException", 400, message);
        error
            .details
            .push(("queryCompileError".into(), Detail::Members(inner)));
        error
    }

    pub fn with_number(mut self, name: impl Into<Cow<'static, str>>, number: i64) -> ServiceError {
        self.details.push((name.into(), Detail::Number(number)));
        self
    }

    pub fn with(
        mut self,
        name: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) -> ServiceError {
        self.details.push((name.into(), Detail::Text(text.into())));
        self
    }
}

/// The reply to a call that succeeded.
pub fn encode<O: TypedOperation>(output: O::Output, request_id: &str) -> Response<Bytes> {
    encode_output(O::operation(), output.into_value(), request_id)
}

/// The same for a value that is already untyped.
pub fn encode_output(operation: &Operation, output: Value, request_id: &str) -> Response<Bytes> {
    encode_output_in(operation.service.protocol(), operation, output, request_id)
}

/// The same in the protocol that the request was in, which must be one of the service's.
pub fn encode_output_in(
    protocol: Protocol,
    operation: &Operation,
    output: Value,
    request_id: &str,
) -> Response<Bytes> {
    let service = operation.service.schema();
    match protocol {
        Protocol::RpcV2Cbor => {
            let body = operation.output.map(|schema| cbor::encode(schema, &output));
            cbor_response(operation.status, body.unwrap_or_default(), request_id)
        }
        Protocol::AwsJson => {
            let body = match operation.output {
                Some(schema) => json::encode(schema, &output),
                None => String::new(),
            };
            json_response(service.json_version, operation.status, body, request_id)
        }
        Protocol::Ec2Query => {
            let mut body = format!(
                "{XML_DECLARATION}<{}Response xmlns=\"{}\">",
                operation.name, service.xml_namespace
            );
            xml::element("requestId", request_id, &mut body);
            match operation.output {
                Some(schema) => xml::encode_members(schema, &output, &mut body),
                // What EC2 says where there is nothing to say.
                None => xml::element("return", "true", &mut body),
            }
            xml::close(&format!("{}Response", operation.name), &mut body);
            xml_response(operation.status, body, request_id)
        }
        Protocol::AwsQuery => {
            let name = operation.name;
            let mut body = format!(
                "{XML_DECLARATION}<{name}Response xmlns=\"{}\">",
                service.xml_namespace
            );
            if let (Some(schema), Some(wrapper)) = (operation.output, operation.result_wrapper) {
                xml::open(wrapper, &mut body);
                xml::encode_members(schema, &output, &mut body);
                xml::close(wrapper, &mut body);
            }
            xml::open("ResponseMetadata", &mut body);
            xml::element("RequestId", request_id, &mut body);
            xml::close("ResponseMetadata", &mut body);
            xml::close(&format!("{name}Response"), &mut body);
            xml_response(operation.status, body, request_id)
        }
        Protocol::RestXml => encode_rest(operation, &output, request_id),
    }
}

fn encode_rest(operation: &Operation, output: &Value, request_id: &str) -> Response<Bytes> {
    let Some(schema) = operation.output else {
        return xml_response(operation.status, String::new(), request_id);
    };
    let namespace = operation.service.schema().xml_namespace;
    let mut body = format!("{XML_DECLARATION}<{} xmlns=\"{namespace}\">", schema.name);
    xml::encode_members(schema, output, &mut body);
    xml::close(schema.name, &mut body);
    let mut response = xml_response(operation.status, body, request_id);
    if let Value::Structure(values) = output {
        for (member, value) in schema.members().iter().zip(values) {
            let text = (member.location == Location::Header)
                .then(|| scalar::format(value))
                .flatten();
            let header = text.and_then(|text| HeaderValue::try_from(text).ok());
            let name = HeaderName::from_bytes(member.output_name.as_bytes()).ok();
            if let (Some(name), Some(header)) = (name, header) {
                response.headers_mut().insert(name, header);
            }
        }
    }
    response
}

/// The reply to a call that failed, in the form of the service's protocol.
pub fn encode_error(service: Service, error: &ServiceError, request_id: &str) -> Response<Bytes> {
    encode_error_in(service.protocol(), service, error, request_id)
}

/// The same in the protocol that the request was in, which must be one of the service's.
pub fn encode_error_in(
    protocol: Protocol,
    service: Service,
    error: &ServiceError,
    request_id: &str,
) -> Response<Bytes> {
    encode_error_as(protocol, Some(service.schema()), error, request_id)
}

/// The same where the service is not known, only how it speaks.
pub(crate) fn encode_error_as(
    protocol: Protocol,
    schema: Option<&ServiceSchema>,
    error: &ServiceError,
    request_id: &str,
) -> Response<Bytes> {
    let namespace = schema.map_or("", |schema| schema.xml_namespace);
    match protocol {
        Protocol::AwsJson => {
            let version = schema.map_or("1.1", |schema| schema.json_version);
            let body = json_error(shape_name(schema, error), error);
            let mut response = json_response(version, error.status, body, request_id);
            add_query_error(schema, error, &mut response);
            response
        }
        Protocol::RpcV2Cbor => {
            let mut pairs = vec![
                ("__type", shape_name(schema, error)),
                ("message", &error.message),
            ];
            for (name, detail) in &error.details {
                // No error of a service that speaks CBOR has a list.
                if let Detail::Text(text) = detail {
                    pairs.push((name, text));
                }
            }
            let body = cbor::encode_texts(&pairs);
            let mut response = cbor_response(error.status, body, request_id);
            add_query_error(schema, error, &mut response);
            response
        }
        Protocol::Ec2Query => {
            let mut body = format!("{XML_DECLARATION}<Response><Errors><Error>");
            xml::element("Code", &error.code, &mut body);
            xml::element("Message", &error.message, &mut body);
            xml_details(error, &mut body);
            body.push_str("</Error></Errors>");
            xml::element("RequestID", request_id, &mut body);
            body.push_str("</Response>");
            xml_response(error.status, body, request_id)
        }
        Protocol::AwsQuery | Protocol::RestXml => {
            // Route 53 sends this one as a document of its own, with a list of messages. The
            // Error element is in it for clients that look for a code (botocore does).
            // https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
            let own = protocol == Protocol::RestXml && error.code == "InvalidChangeBatch";
            let root = if own {
                "InvalidChangeBatch"
            } else {
                "ErrorResponse"
            };
            let mut body = format!("{XML_DECLARATION}<{root} xmlns=\"{namespace}\">");
            xml::open("Error", &mut body);
            let fault = if error.status >= 500 {
                "Receiver"
            } else {
                "Sender"
            };
            xml::element("Type", fault, &mut body);
            xml::element("Code", &error.code, &mut body);
            xml::element("Message", &error.message, &mut body);
            if !own {
                xml_details(error, &mut body);
            }
            xml::close("Error", &mut body);
            if own {
                xml_details(error, &mut body);
            }
            xml::element("RequestId", request_id, &mut body);
            xml::close(root, &mut body);
            xml_response(error.status, body, request_id)
        }
    }
}

fn xml_details(error: &ServiceError, out: &mut String) {
    for (name, detail) in &error.details {
        match detail {
            Detail::Text(text) => xml::element(name, text, out),
            Detail::Number(number) => xml::element(name, &number.to_string(), out),
            Detail::List(items) => {
                xml::open(name, out);
                // `Messages` holds `Message`s, and so on.
                let item_name = name.strip_suffix('s').unwrap_or("member");
                for item in items {
                    xml::element(item_name, item, out);
                }
                xml::close(name, out);
            }
            // No error of a service that speaks XML has a structure.
            Detail::Members(_) => {}
        }
    }
}

/// What the error is called where its code is not: a service that once spoke awsQuery alone keeps its codes in a
/// header, and has the model's name in the body.
/// <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#awsquerycompatible-trait>
fn shape_name<'a>(schema: Option<&ServiceSchema>, error: &'a ServiceError) -> &'a str {
    match schema.filter(|schema| is_query_compatible(schema)) {
        Some(schema) => schema
            .service
            .error(&error.code)
            .map_or(&error.code, |known| known.shape),
        None => &error.code,
    }
}

fn is_query_compatible(schema: &ServiceSchema) -> bool {
    schema.protocol == Protocol::AwsQuery && !schema.other_protocols.is_empty()
}

fn add_query_error(
    schema: Option<&ServiceSchema>,
    error: &ServiceError,
    response: &mut Response<Bytes>,
) {
    if schema.is_some_and(is_query_compatible) {
        let fault = if error.status >= 500 {
            "Receiver"
        } else {
            "Sender"
        };
        if let Ok(text) = HeaderValue::try_from(format!("{};{fault}", error.code)) {
            response.headers_mut().insert(QUERY_ERROR, text);
        }
    }
}

fn json_error(name: &str, error: &ServiceError) -> String {
    let mut body = String::from("{\"__type\":");
    json::write_string(name, &mut body);
    body.push_str(",\"message\":");
    json::write_string(&error.message, &mut body);
    for (name, detail) in &error.details {
        body.push(',');
        json_member(name, detail, &mut body);
    }
    body.push('}');
    body
}

fn json_member(name: &str, detail: &Detail, body: &mut String) {
    json::write_string(name, body);
    body.push(':');
    match detail {
        Detail::Text(text) => json::write_string(text, body),
        Detail::Number(number) => body.push_str(&number.to_string()),
        Detail::List(items) => {
            body.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    body.push(',');
                }
                json::write_string(item, body);
            }
            body.push(']');
        }
        Detail::Members(members) => {
            body.push('{');
            for (index, (name, detail)) in members.iter().enumerate() {
                if index > 0 {
                    body.push(',');
                }
                json_member(name, detail, body);
            }
            body.push('}');
        }
    }
}

fn xml_response(status: u16, body: String, request_id: &str) -> Response<Bytes> {
    response(
        status,
        HeaderValue::from_static("text/xml;charset=UTF-8"),
        body,
        request_id,
    )
}

fn json_response(version: &str, status: u16, body: String, request_id: &str) -> Response<Bytes> {
    let content_type = match version {
        "1.0" => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    };
    response(
        status,
        HeaderValue::from_static(content_type),
        body,
        request_id,
    )
}

fn cbor_response(status: u16, body: Vec<u8>, request_id: &str) -> Response<Bytes> {
    let content_type = HeaderValue::from_static("application/cbor");
    let mut response = response(status, content_type, body, request_id);
    if response.body().is_empty() {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    let protocol = HeaderValue::from_static("rpc-v2-cbor");
    response.headers_mut().insert(SMITHY_PROTOCOL, protocol);
    response
}

fn response(
    status: u16,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
    request_id: &str,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
