//! Systems Manager's Parameter Store: shapes to commands, rows to shapes.

mod listing;
mod parameters;
mod tags;

use super::page::requested;
use super::{ApiError, Context};
use crate::model::ssm::Refusal;

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
    Ok(requested(items, token, most, most_unless_said).ok_or(Refusal::Token)?)
}

/// ARN of who calls.
fn caller(context: &Context) -> String {
    context.principal().party.arn.clone()
}
