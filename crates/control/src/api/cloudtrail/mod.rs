//! CloudTrail: the event history of an account and region.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>

use super::{ApiError, Context};
use crate::audit;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_store::log::{LogError, LogEvent, Query, Reader, Start, Token};
use fogbank_types::Timestamp;
use fogbank_wire::cloudtrail as wire;
use serde_json::Value;

super::handlers! {
    Cloudtrail:
    write LookupEvents => lookup,
}

/// Events of a page at most, and unless told otherwise.
const PAGE: usize = 50;
/// Events that one call looks through at most; its token goes on from there.
const LOOKED_AT_MAX: usize = 50_000;
/// Events that are read at once.
const READ: usize = 500;

fn lookup(
    context: &Context,
    request: wire::LookupEventsRequest,
) -> Result<wire::LookupEventsResponse, ApiError> {
    let attributes = request.lookup_attributes.unwrap_or_default();
    if attributes.len() > 1 {
        let text = "You can use only one lookup attribute at a time.";
        return Err(ApiError::new("InvalidLookupAttributesException", text));
    }
    if let (Some(start), Some(end)) = (request.start_time, request.end_time)
        && start > end
    {
        let text = "The start time must be before the end time.";
        return Err(ApiError::new("InvalidTimeRangeException", text));
    }
    // Insights are none of this region's.
    if request.event_category.is_some() {
        return Ok(wire::LookupEventsResponse::default());
    }
    let start = match &request.next_token {
        None => Start::Tail,
        Some(token) => Start::Token(read_token(token)?),
    };
    let query = Query {
        start,
        start_ms: request.start_time.map(|at| at.0),
        // Inclusive here, to the second.
        end_ms: request.end_time.map(|at| at.0.saturating_add(1000)),
        limit: READ,
        max_bytes: 4 << 20,
    };
    let count = request
        .max_results
        .map_or(PAGE, |n| usize::try_from(n).unwrap_or(PAGE));
    let caller = &context.caller;
    let folder = audit::folder(&context.config().data_dir, &caller.account, &caller.region);
    let (events, next) =
        search(&folder, query, attributes.first(), count).map_err(|error| broken(&error))?;
    Ok(wire::LookupEventsResponse {
        events: Some(events),
        next_token: next.map(|token| STANDARD.encode(token.to_string())),
    })
}

fn read_token(text: &str) -> Result<Token, ApiError> {
    let bytes = STANDARD.decode(text).ok();
    let token = bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
    token.ok_or_else(|| ApiError::new("InvalidNextTokenException", "The NextToken is not valid."))
}

fn broken(error: &LogError) -> ApiError {
    tracing::error!(%error, "the trail cannot be read");
    ApiError::new("InternalFailure", "The event history can't be read.").with_status(500)
}

/// The newest events first, and where the next page goes on.
fn search(
    folder: &std::path::Path,
    mut query: Query,
    wanted: Option<&wire::LookupAttribute>,
    count: usize,
) -> Result<(Vec<wire::Event>, Option<Token>), LogError> {
    let mut reader = Reader::open(folder)?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = reader.read(&query)?;
        if page.events.is_empty() {
            return Ok((found, None));
        }
        for (event, position) in page.events.iter().zip(&page.positions).rev() {
            looked_at += 1;
            found.extend(show(event, wanted));
            if found.len() == count || looked_at == LOOKED_AT_MAX {
                return Ok((found, Some(Token::Backward(*position))));
            }
        }
        query.start = Start::Token(page.backward);
    }
}

fn show(event: &LogEvent, wanted: Option<&wire::LookupAttribute>) -> Option<wire::Event> {
    let mut json: Value = serde_json::from_slice(&event.message).ok()?;
    let username = json.as_object_mut()?.remove("username");
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    let shown = wire::Event {
        event_id: text(&json["eventID"]),
        event_name: text(&json["eventName"]),
        event_source: text(&json["eventSource"]),
        read_only: text(&json["readOnly"]),
        access_key_id: text(&json["userIdentity"]["accessKeyId"]),
        username: username.as_ref().and_then(text),
        event_time: Some(Timestamp(event.timestamp_ms.div_euclid(1000) * 1000)),
        resources: Some(Vec::new()),
        cloud_trail_event: None,
    };
    let matches = wanted.is_none_or(|wanted| {
        let own = match wanted.attribute_key.as_str() {
            "EventId" => &shown.event_id,
            "EventName" => &shown.event_name,
            "EventSource" => &shown.event_source,
            "ReadOnly" => &shown.read_only,
            "AccessKeyId" => &shown.access_key_id,
            "Username" => &shown.username,
            "ResourceName" => return names(&json["requestParameters"], &wanted.attribute_value),
            _ => return false,
        };
        own.as_deref() == Some(wanted.attribute_value.as_str())
    });
    matches.then(|| wire::Event {
        cloud_trail_event: Some(json.to_string()),
        ..shown
    })
}

/// Whether a request names that.
fn names(parameters: &Value, name: &str) -> bool {
    match parameters {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        Value::Object(members) => members.values().any(|member| names(member, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_store::log::Writer;
    use serde_json::json;

    fn trail(count: i64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        for n in 0..count {
            let name = if n % 2 == 0 {
                "CreateVpc"
            } else {
                "DescribeVpcs"
            };
            let event = json!({"eventID": n.to_string(), "eventName": name, "readOnly": n % 2 == 1, "username": "ann",
                "requestParameters": {"a": [{"vpcId": format!("vpc-{n}")}]}, "userIdentity": {"accessKeyId": "AKIA"}});
            writer
                .append(n * 1000, n * 1000, event.to_string().as_bytes())
                .unwrap();
        }
        folder
    }

    fn all(folder: &std::path::Path, wanted: Option<(&str, &str)>, count: usize) -> Vec<String> {
        let wanted = wanted.map(|(key, value)| wire::LookupAttribute {
            attribute_key: key.to_owned(),
            attribute_value: value.to_owned(),
        });
        let mut query = Query::from(Start::Tail);
        query.limit = 7;
        let mut ids = Vec::new();
        loop {
            let (events, next) = search(folder, query, wanted.as_ref(), count).unwrap();
            ids.extend(events.into_iter().filter_map(|event| event.event_id));
            match next {
                Some(token) => query.start = Start::Token(token),
                None => return ids,
            }
        }
    }

    #[test]
    fn pages_of_any_size_give_every_event_once_the_newest_first() {
        let folder = trail(20);
        let expected: Vec<String> = (0..20).rev().map(|n| n.to_string()).collect();
        for count in [1, 3, 7, 50] {
            assert_eq!(all(folder.path(), None, count), expected, "{count}");
        }
        assert_eq!(
            all(&folder.path().join("none"), None, 5),
            Vec::<String>::new()
        );
    }

    #[test]
    fn events_are_found_by_one_attribute() {
        let folder = trail(6);
        let found = |key, value| all(folder.path(), Some((key, value)), 50);
        assert_eq!(found("EventName", "CreateVpc"), ["4", "2", "0"]);
        assert_eq!(found("ReadOnly", "true"), ["5", "3", "1"]);
        assert_eq!(found("EventId", "3"), ["3"]);
        assert_eq!(found("ResourceName", "vpc-2"), ["2"]);
        assert_eq!(found("Username", "ann").len(), 6);
        assert!(found("ResourceType", "AWS::EC2::VPC").is_empty());
    }

    #[test]
    fn an_event_is_shown_without_what_is_ours() {
        let folder = trail(1);
        let (events, _) = search(folder.path(), Query::from(Start::Tail), None, 1).unwrap();
        assert_eq!(events[0].username.as_deref(), Some("ann"));
        assert!(
            !events[0]
                .cloud_trail_event
                .as_ref()
                .unwrap()
                .contains("username")
        );
    }
}
