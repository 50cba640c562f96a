//! What every Describe call does: ids that must exist, filters, pages.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>

use super::filters::Filters;
use crate::api::{ApiError, Context};
use crate::model::vpc::Refusal;
use crate::model::vpc::ids::{self, ResourceId};
use fogbank_types::{Row, Scope, Snapshot, Tags};
use fogbank_wire::ec2::Filter;
use std::sync::Arc;

/// Items of a page if the caller names no number.
pub const PAGE: usize = 1000;

/// The parameters that Describe calls share.
pub struct Query {
    pub ids: Option<Vec<String>>,
    pub filters: Option<Vec<Filter>>,
    pub max_results: Option<i32>,
    pub next_token: Option<String>,
    pub dry_run: Option<bool>,
}

/// The parameters of a Describe request, whose members for ids and filters go by those names.
macro_rules! query {
    ($request:ident, $ids:ident, $filters:ident) => {
        $crate::api::ec2::query::Query {
            ids: $request.$ids,
            filters: $request.$filters,
            max_results: $request.max_results,
            next_token: $request.next_token,
            dry_run: $request.dry_run,
        }
    };
}
pub(super) use query;

/// Refuses what only asks whether it might.
pub fn dry_run(asked: Option<bool>) -> Result<(), Refusal> {
    if asked == Some(true) {
        Err(Refusal::DryRun)
    } else {
        Ok(())
    }
}

impl Query {
    pub fn check(&self) -> Result<(), Refusal> {
        let ids = self.ids.as_ref().is_some_and(|ids| !ids.is_empty());
        if ids && self.max_results.is_some() {
            let text = "The parameter maxResults cannot be used with a list of IDs.".to_owned();
            return Err(Refusal::Combination { text });
        }
        dry_run(self.dry_run)
    }
}

/// The rows of one kind that a call asks for, in the order of their ids, and the token of the next page.
/// `values` gives what a row has under a filter's name; `known` are those names.
pub fn rows<T: Row, I: ResourceId>(
    context: &Context,
    snapshot: &Snapshot,
    query: Query,
    known: &[&str],
    tags: impl Fn(&T) -> &Tags,
    values: impl Fn(&T, &str) -> Vec<String>,
) -> Result<(Vec<Arc<T>>, Option<String>), ApiError> {
    query.check()?;
    let filters = Filters::parse(query.filters, known)?;
    let mut rows = named::<T, I>(snapshot, &context.scope(), query.ids.as_deref())?;
    rows.retain(|row| filters.accept(tags(row), |name| values(row, name)));
    Ok(page(
        rows,
        |row| row.id(),
        query.max_results,
        query.next_token,
    )?)
}

/// The rows with these ids, all of which must exist; every row if none is named.
fn named<T: Row, I: ResourceId>(
    snapshot: &Snapshot,
    scope: &Scope,
    texts: Option<&[String]>,
) -> Result<Vec<Arc<T>>, Refusal> {
    let mut wanted: Vec<I> = ids::parse_all(texts)?;
    if wanted.is_empty() {
        return Ok(T::table(snapshot).in_scope(scope).cloned().collect());
    }
    wanted.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    wanted.dedup_by(|a, b| a.as_ref() == b.as_ref());
    let row = |id: &I| {
        let row = T::table(snapshot).get(scope, id).cloned();
        row.ok_or_else(|| Refusal::not_found(I::KIND, id))
    };
    wanted.iter().map(row).collect()
}

/// The page after the token. A token is the last id of the page before, so pages hold when rows come and go.
pub fn page<T>(
    items: Vec<T>,
    id: impl Fn(&T) -> String,
    max_results: Option<i32>,
    next_token: Option<String>,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let size = match max_results {
        None => PAGE,
        Some(size) => match usize::try_from(size) {
            Ok(size) if size > 0 => size,
            _ => return Err(Refusal::parameter("maxResults", size, "")),
        },
    };
    let after = next_token
        .as_deref()
        .filter(|token| !token.is_empty())
        .map(decode)
        .transpose()?;
    let mut items: Vec<T> = items
        .into_iter()
        .filter(|item| after.as_ref().is_none_or(|after| id(item) > *after))
        .collect();
    let more = items.len() > size;
    items.truncate(size);
    let token = items.last().filter(|_| more).map(|item| encode(&id(item)));
    Ok((items, token))
}

fn encode(id: &str) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(token: &str) -> Result<String, Refusal> {
    if !token.is_ascii() || !token.len().is_multiple_of(2) {
        return Err(Refusal::NextToken);
    }
    let byte =
        |at: usize| u8::from_str_radix(&token[at..at + 2], 16).map_err(|_| Refusal::NextToken);
    let bytes: Result<Vec<u8>, Refusal> = (0..token.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).map_err(|_| Refusal::NextToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_every_item_once() {
        let items: Vec<String> = (0..23).map(|n| format!("vpc-{n:017x}")).collect();
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let (page, next) = page(items.clone(), |id| id.clone(), Some(5), token).unwrap();
            assert!(page.len() == 5 || next.is_none());
            seen.extend(page);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn bad_tokens_and_sizes_are_refused() {
        for token in ["x", "zz", "é0", "ff"] {
            let refused = page(
                vec!["a".to_owned()],
                |id| id.clone(),
                None,
                Some(token.to_owned()),
            );
            assert_eq!(refused, Err(Refusal::NextToken), "{token}");
        }
        assert!(page(vec!["a".to_owned()], |id| id.clone(), Some(0), None).is_err());
    }
}
