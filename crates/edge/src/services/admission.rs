//! Whether a request may go through a door. Pure; asked by `exchange` for every request's head.
//!
//! What must stay true: fogbank's own paths are for the host alone, and an interface endpoint lets nobody
//! reach another service or region than its own.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html>

use fogbank_types::aws_service::{self, AwsService};

use super::doors::Door;
use super::refusal::Refusal;
use crate::http::request::Request;

/// Where the region's own commands are served (`wire::destination`).
const INTERNAL: &str = "/_fogbank";
/// Where the image registry is.
const REGISTRY: &str = "/v2";

pub fn admit(door: &Door, request: &Request<'_, '_>) -> Result<(), Refusal> {
    if is_under(request.path, INTERNAL) {
        return Err(Refusal::NotFound);
    }
    match door {
        Door::Public => Ok(()),
        Door::Storage => Err(Refusal::NoBuckets),
        Door::Endpoint {
            service, region, ..
        } => admit_one(service, region, request),
    }
}

fn admit_one(service: &AwsService, region: &str, request: &Request<'_, '_>) -> Result<(), Refusal> {
    let host = request.host_name().to_ascii_lowercase();
    let meant = host_means(service, region, &host);
    if meant == Some(false) {
        return Err(Refusal::OtherService);
    }
    let is_registry = is_under(request.path, REGISTRY);
    match service.endpoint {
        "s3" => return Err(Refusal::NoBuckets),
        // The registry knows its callers by a password, not by a signature.
        "ecr.dkr" if is_registry => return Ok(()),
        "ecr.dkr" => return Err(Refusal::NotFound),
        _ if is_registry => return Err(Refusal::OtherService),
        _ => {}
    }
    let scopes = scopes(request)?;
    if scopes.is_empty() {
        // AssumeRoleWithWebIdentity and its like carry a token instead.
        let by_token = service.endpoint == "sts" && meant == Some(true);
        return by_token.then_some(()).ok_or(Refusal::Unsigned);
    }
    let own = |scope: &Scope| scope.service == signing_name(service) && scope.region == region;
    if scopes.iter().all(own) {
        Ok(())
    } else {
        Err(Refusal::OtherService)
    }
}

/// The service's name in signatures.
fn signing_name(service: &AwsService) -> &'static str {
    match service.endpoint {
        "ecr.api" => "ecr",
        "data-servicediscovery" => "servicediscovery",
        other => other,
    }
}

/// Whether a host stands for the service; `None` for a name or an address that is nobody's.
fn host_means(service: &AwsService, region: &str, host: &str) -> Option<bool> {
    let parent = service.host.trim_start_matches("*.");
    let own = format!(".{parent}.{region}.vpce.amazonaws.com");
    if host.ends_with(".vpce.amazonaws.com") {
        return Some(host.ends_with(&own));
    }
    if !(host.ends_with(".amazonaws.com") || host.ends_with(".api.aws")) {
        return None;
    }
    // A bucket may stand in front of S3's name.
    let bucket = format!(".s3.{region}.amazonaws.com");
    let dual_stack = format!("{parent}.{region}.api.aws");
    let is = aws_service::by_host(region, host) == Some(service)
        || (service.endpoint == "s3" && host.ends_with(&bucket))
        || host == dual_stack;
    Some(is)
}

fn is_under(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Of a signature: `<key>/<date>/<region>/<service>/aws4_request`.
struct Scope {
    region: String,
    service: String,
}

/// Every scope that anybody could read out of the request's head.
fn scopes(request: &Request<'_, '_>) -> Result<Vec<Scope>, Refusal> {
    const NAME: &str = "Credential=";
    let mut scopes = Vec::new();
    for header in request.headers {
        if !header.name.eq_ignore_ascii_case("authorization") {
            continue;
        }
        let value = std::str::from_utf8(header.value).map_err(|_| Refusal::Malformed(400))?;
        for (at, _) in value.match_indices(NAME) {
            let rest = &value[at + NAME.len()..];
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            scopes.push(scope(&rest[..end])?);
        }
    }
    for pair in request.query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(name).eq_ignore_ascii_case("X-Amz-Credential") {
            scopes.push(scope(&decoded(value))?);
        }
    }
    Ok(scopes)
}

fn scope(text: &str) -> Result<Scope, Refusal> {
    let parts: Vec<&str> = text.trim().split('/').collect();
    match parts[..] {
        [_, _, region, service, _] => Ok(Scope {
            region: region.to_owned(),
            service: service.to_ascii_lowercase(),
        }),
        _ => Err(Refusal::Malformed(400)),
    }
}

/// Percent-encoding taken off; what is none stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
