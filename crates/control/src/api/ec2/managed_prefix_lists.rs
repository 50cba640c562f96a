//! Managed prefix lists: the customer's, and AWS's own, which everybody sees.
//!
//! AWS makes, changes and deletes them in the background; here the change is done when the call answers, so that
//! states are told as reached.

use super::filters::Filters;
use super::query::{dry_run, page, query};
use super::{tags, write};
use crate::api::{ApiError, Context};
use crate::model::vpc::prefix_lists::{self, NewPrefixList, PrefixListChange};
use crate::model::vpc::{Refusal, ResourceKind, ids};
use fogbank_types::aws_service::{self, AwsPrefixList};
use fogbank_types::ec2::{PrefixList as Row, PrefixListEntry as EntryRow, PrefixListState};
use fogbank_types::place::partition;
use fogbank_types::{IpCidr, PrefixListId, Scope, Tags};
use fogbank_wire::ec2::*;
use std::sync::Arc;

/// Who owns AWS's own lists.
const AWS: &str = "AWS";

/// A list of either owner.
enum Known {
    Customers(Arc<Row>),
    Awss(AwsPrefixList),
}

impl Known {
    fn id(&self) -> &PrefixListId {
        match self {
            Self::Customers(row) => &row.prefix_list_id,
            Self::Awss(list) => &list.id,
        }
    }

    fn shown(&self, scope: &Scope) -> ManagedPrefixList {
        match self {
            Self::Customers(row) => render(row, state(row)),
            Self::Awss(list) => ManagedPrefixList {
                address_family: Some("IPv4".to_owned()),
                owner_id: Some(AWS.to_owned()),
                prefix_list_arn: Some(format!(
                    "arn:{}:ec2:{}:aws:prefix-list/{}",
                    partition(&scope.region),
                    scope.region,
                    list.id
                )),
                prefix_list_id: Some(list.id.to_string()),
                prefix_list_name: Some(list.name.clone()),
                state: Some("create-complete".to_owned()),
                tags: Some(Vec::new()),
                ..ManagedPrefixList::default()
            },
        }
    }
}

/// All lists that a caller sees, in the order of their ids.
fn known(context: &Context) -> Vec<Known> {
    let scope = context.scope();
    let snapshot = context.snapshot();
    let own = snapshot.prefix_lists.in_scope(&scope).cloned();
    let awss = aws_service::managed_prefix_lists(&scope.region, context.config());
    let mut all: Vec<Known> = own.map(Known::Customers).collect();
    all.extend(awss.into_iter().map(Known::Awss));
    all.sort_by(|a, b| a.id().cmp(b.id()));
    all
}

fn find(context: &Context, id: &str) -> Result<Known, Refusal> {
    let id: PrefixListId = ids::parse(id)?;
    let found = known(context).into_iter().find(|list| *list.id() == id);
    found.ok_or_else(|| Refusal::not_found(ResourceKind::PrefixList, id))
}

fn state(row: &Row) -> &'static str {
    match row.state {
        PrefixListState::CreateComplete => "create-complete",
        PrefixListState::ModifyComplete => "modify-complete",
        PrefixListState::RestoreComplete => "restore-complete",
        PrefixListState::DeleteFailed => "delete-failed",
    }
}

fn render(row: &Row, state: &str) -> ManagedPrefixList {
    let arn = |row: &Row| {
        row.scope
            .arn("ec2", &format!("prefix-list/{}", row.prefix_list_id))
    };
    ManagedPrefixList {
        address_family: Some(if row.ipv4 { "IPv4" } else { "IPv6" }.to_owned()),
        max_entries: i32::try_from(row.max_entries).ok(),
        owner_id: Some(row.scope.account.clone()),
        prefix_list_arn: Some(arn(row)),
        prefix_list_id: Some(row.prefix_list_id.to_string()),
        prefix_list_name: Some(row.name.clone()),
        state: Some(state.to_owned()),
        state_message: (state == "delete-failed")
            .then(|| "The prefix list is in use by other resources.".to_owned()),
        tags: tags::render(&row.tags),
        version: i64::try_from(row.version).ok(),
        ..ManagedPrefixList::default()
    }
}

fn entries(given: Option<Vec<AddPrefixListEntry>>) -> Result<Vec<EntryRow>, Refusal> {
    let entry = |entry: AddPrefixListEntry| {
        Ok(EntryRow {
            cidr: cidr(&entry.cidr)?,
            description: entry.description.filter(|text| !text.is_empty()),
        })
    };
    given.unwrap_or_default().into_iter().map(entry).collect()
}

fn cidr(text: &str) -> Result<IpCidr, Refusal> {
    let why = "This is not a valid CIDR block.";
    text.parse()
        .map_err(|_| Refusal::parameter("Cidr", text, why))
}

pub fn create(
    context: &Context,
    request: CreateManagedPrefixListRequest,
) -> Result<CreateManagedPrefixListResult, ApiError> {
    let ipv4 = match request.address_family.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        other => return Err(Refusal::parameter("AddressFamily", other, "").into()),
    };
    let new = NewPrefixList {
        name: request.prefix_list_name,
        ipv4,
        max_entries: request.max_entries,
        entries: entries(request.entries)?,
        client_token: request.client_token,
        tags: tags::specified(request.tag_specifications, "prefix-list")?,
    };
    let row = write(context, request.dry_run, |tx| {
        prefix_lists::create(tx, &context.scope(), new.clone())
    })?;
    Ok(CreateManagedPrefixListResult {
        prefix_list: Some(render(&row, state(&row))),
    })
}

const FILTERS: &[&str] = &["owner-id", "prefix-list-id", "prefix-list-name"];

pub fn describe(
    context: &Context,
    request: DescribeManagedPrefixListsRequest,
) -> Result<DescribeManagedPrefixListsResult, ApiError> {
    let query = query!(request, prefix_list_ids, filters);
    query.check()?;
    let filters = Filters::parse(query.filters, FILTERS)?;
    let mut wanted = Vec::new();
    for id in query.ids.iter().flatten() {
        wanted.push(find(context, id)?.id().clone());
    }
    let scope = context.scope();
    let none = Tags::new();
    let is_wanted = |list: &Known| {
        let (owner, name, tags) = match list {
            Known::Customers(row) => (&row.scope.account[..], &row.name, &row.tags),
            Known::Awss(list) => (AWS, &list.name, &none),
        };
        (wanted.is_empty() || wanted.contains(list.id()))
            && filters.accept(tags, |filter| match filter {
                "owner-id" => vec![owner.to_owned()],
                "prefix-list-id" => vec![list.id().to_string()],
                _ => vec![name.clone()],
            })
    };
    let mut found = known(context);
    found.retain(is_wanted);
    let id = |list: &Known| list.id().to_string();
    let (found, next_token) = page(found, id, query.max_results, query.next_token)?;
    Ok(DescribeManagedPrefixListsResult {
        prefix_lists: Some(found.iter().map(|list| list.shown(&scope)).collect()),
        next_token,
    })
}

pub fn entries_of(
    context: &Context,
    request: GetManagedPrefixListEntriesRequest,
) -> Result<GetManagedPrefixListEntriesResult, ApiError> {
    dry_run(request.dry_run)?;
    let entries = match find(context, &request.prefix_list_id)? {
        Known::Customers(row) => prefix_lists::entries_of(&row, request.target_version)?.clone(),
        Known::Awss(list) => {
            let entry = |cidr| EntryRow {
                cidr,
                description: None,
            };
            let blocks = list.blocks.into_iter();
            blocks.filter(|block| block.is_ipv4()).map(entry).collect()
        }
    };
    let numbered: Vec<_> = entries.into_iter().enumerate().collect();
    let place = |(at, _): &(usize, EntryRow)| format!("{at:08}");
    let (found, next_token) = page(numbered, place, request.max_results, request.next_token)?;
    let shown = |(_, entry): (usize, EntryRow)| PrefixListEntry {
        cidr: Some(entry.cidr.to_string()),
        description: entry.description,
    };
    Ok(GetManagedPrefixListEntriesResult {
        entries: Some(found.into_iter().map(shown).collect()),
        next_token,
    })
}

pub fn modify(
    context: &Context,
    request: ModifyManagedPrefixListRequest,
) -> Result<ModifyManagedPrefixListResult, ApiError> {
    let id = ids::parse(&request.prefix_list_id)?;
    let removed = request.remove_entries.unwrap_or_default();
    let remove: Result<Vec<IpCidr>, Refusal> =
        removed.iter().map(|entry| cidr(&entry.cidr)).collect();
    let change = PrefixListChange {
        current_version: request.current_version,
        name: request.prefix_list_name,
        max_entries: request.max_entries,
        add: entries(request.add_entries)?,
        remove: remove?,
    };
    let row = write(context, request.dry_run, |tx| {
        prefix_lists::modify(tx, &context.scope(), &id, change.clone())
    })?;
    Ok(ModifyManagedPrefixListResult {
        prefix_list: Some(render(&row, state(&row))),
    })
}

fn still_there(context: &Context, row: &Row) -> bool {
    let lists = context.snapshot().prefix_lists;
    lists.contains(&context.scope(), &row.prefix_list_id)
}

pub fn delete(
    context: &Context,
    request: DeleteManagedPrefixListRequest,
) -> Result<DeleteManagedPrefixListResult, ApiError> {
    let id = ids::parse(&request.prefix_list_id)?;
    let row = write(context, request.dry_run, |tx| {
        prefix_lists::delete(tx, &context.scope(), &id)
    })?;
    let state = match row.state {
        PrefixListState::DeleteFailed if still_there(context, &row) => "delete-in-progress",
        _ => "delete-complete",
    };
    Ok(DeleteManagedPrefixListResult {
        prefix_list: Some(render(&row, state)),
    })
}

pub fn restore(
    context: &Context,
    request: RestoreManagedPrefixListVersionRequest,
) -> Result<RestoreManagedPrefixListVersionResult, ApiError> {
    let id = ids::parse(&request.prefix_list_id)?;
    let (previous, current) = (request.previous_version, request.current_version);
    let row = write(context, request.dry_run, |tx| {
        prefix_lists::restore(tx, &context.scope(), &id, previous, current)
    })?;
    Ok(RestoreManagedPrefixListVersionResult {
        prefix_list: Some(render(&row, state(&row))),
    })
}

pub fn associations(
    context: &Context,
    request: GetManagedPrefixListAssociationsRequest,
) -> Result<GetManagedPrefixListAssociationsResult, ApiError> {
    dry_run(request.dry_run)?;
    let list = find(context, &request.prefix_list_id)?;
    let scope = context.scope();
    let mut users = prefix_lists::associations(&context.snapshot(), &scope, list.id());
    users.sort();
    let (users, next_token) = page(users, Clone::clone, request.max_results, request.next_token)?;
    let shown = |id| PrefixListAssociation {
        resource_id: Some(id),
        resource_owner: Some(scope.account.clone()),
    };
    Ok(GetManagedPrefixListAssociationsResult {
        prefix_list_associations: Some(users.into_iter().map(shown).collect()),
        next_token,
    })
}
