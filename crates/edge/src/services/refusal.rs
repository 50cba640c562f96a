//! What a door itself says to a request that does not go through: AWS's error shapes, as far as the door knows
//! which service was meant. Pure; used by `exchange`.

use super::doors::Door;

/// Why a request goes no further.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It could not be read, with the status that says so.
    Malformed(u16),
    /// Nothing of AWS's is there.
    NotFound,
    /// An interface endpoint answers for its own service and region only.
    OtherService,
    /// An interface endpoint cannot tell for whom an unsigned request is.
    Unsigned,
    /// The region has no buckets.
    NoBuckets,
    /// The API does not answer.
    Unavailable,
}

/// How a service writes its errors.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Ec2,
    Query,
    Storage,
    Registry,
}

impl Refusal {
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed(status) => (
                status,
                "MalformedHttpRequest",
                "The HTTP request is malformed.",
            ),
            Self::NotFound => (404, "UnknownOperationException", "Unknown operation."),
            Self::OtherService => (
                400,
                "UnknownOperationException",
                "This endpoint serves another service or region than the request is for.",
            ),
            Self::Unsigned => (
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
            Self::NoBuckets => (
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ),
            Self::Unavailable => (
                503,
                "ServiceUnavailable",
                "The service is unavailable. Please try again shortly.",
            ),
        }
    }

    /// The whole response; the connection closes after it.
    pub fn response(self, door: &Door) -> Vec<u8> {
        let (status, code, message) = self.facts();
        let (kind, body) = match form(door) {
            Form::Json => (
                "application/x-amz-json-1.1",
                format!(r#"{{"__type":"{code}","message":"{message}"}}"#),
            ),
            Form::Registry => (
                "application/json",
                format!(r#"{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}"#),
            ),
            Form::Ec2 => (
                "text/xml;charset=UTF-8",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
                ),
            ),
            Form::Query => (
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
                ),
            ),
            Form::Storage => (
                "application/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
                ),
            ),
        };
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            phrase(status)
        )
        .into_bytes()
    }
}

fn form(door: &Door) -> Form {
    match door {
        Door::Storage => Form::Storage,
        Door::Public => Form::Query,
        Door::Endpoint { service, .. } => match service.endpoint {
            "ec2" => Form::Ec2,
            "s3" => Form::Storage,
            "ecr.dkr" => Form::Registry,
            "acm"
            | "application-autoscaling"
            | "data-servicediscovery"
            | "ecr.api"
            | "ecs"
            | "logs"
            | "secretsmanager"
            | "servicediscovery"
            | "ssm" => Form::Json,
            _ => Form::Query,
        },
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
