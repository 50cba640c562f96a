//! Systems Manager's Parameter Store: shapes to commands, rows to shapes.

mod listing;
mod parameters;
mod tags;

use super::{ApiError, Context};
use crate::model::ssm::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

super::handlers! {
    Ssm:
    write PutParameter => parameters::put,
    write GetParameter => parameters::get,
    write GetParameters => parameters::get_many,
    write DeleteParameter => parameters::delete,
    write DeleteParameters => parameters::delete_many,
    read GetParametersByPath => listing::by_path,
    read DescribeParameters => listing::describe,
    read GetParameterHistory => listing::history,
    write LabelParameterVersion => parameters::label,
    write UnlabelParameterVersion => parameters::unlabel,
    write AddTagsToResource => tags::add,
    write RemoveTagsFromResource => tags::remove,
    read ListTagsForResource => tags::list,
}

/// One page of a list, and the token of the next.
fn page<T>(
    items: Vec<T>,
    token: Option<&str>,
    most: Option<i32>,
    most_unless_said: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let start = match token {
        None => 0,
        Some(token) => STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.strip_prefix("after ")?.parse::<usize>().ok())
            .filter(|start| *start <= items.len())
            .ok_or(Refusal::Token)?,
    };
    let most = most.map_or(most_unless_said, |most| usize::try_from(most).unwrap_or(1));
    let end = start.saturating_add(most.max(1));
    let next = (end < items.len()).then(|| STANDARD.encode(format!("after {end}")));
    Ok((items.into_iter().skip(start).take(most).collect(), next))
}

/// ARN of who calls.
fn caller(context: &Context) -> String {
    match context.session() {
        Some(session) if !session.role.is_empty() => session.arn(),
        _ => context.scope().global().arn("iam", "root"),
    }
}
