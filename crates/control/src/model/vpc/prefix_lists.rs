//! Customer-managed prefix lists, and how much a list weighs where it is used.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html>
//!
//! Called by `api/ec2/managed_prefix_lists`, and by routes and security group rules for their quotas. AWS's own lists
//! (`types::aws_service`) have no rows: everybody may read and use them, nobody may change them.

use super::permissions::check_rule_description;
use super::{Quotas, Refusal, ResourceKind, routes, security_group_rules};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries that one call may bring or take.
const ENTRIES_PER_CALL: usize = 100;

#[derive(Clone, Debug)]
pub struct NewPrefixList {
    pub name: String,
    pub ipv4: bool,
    pub max_entries: i32,
    pub entries: Vec<PrefixListEntry>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

#[derive(Clone, Debug, Default)]
pub struct PrefixListChange {
    pub current_version: Option<i64>,
    pub name: Option<String>,
    pub max_entries: Option<i32>,
    pub add: Vec<PrefixListEntry>,
    pub remove: Vec<IpCidr>,
}

/// How many rules or routes a list counts as, by family.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub ipv4: usize,
    pub ipv6: usize,
}

/// A customer's list counts as its greatest size (fact SG-4). AWS's own have weights of their own.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html>
pub fn weight(snapshot: &Snapshot, scope: &Scope, id: &PrefixListId) -> Weight {
    match snapshot.prefix_lists.get(scope, id) {
        Some(list) if list.ipv4 => Weight {
            ipv4: list.max_entries as usize,
            ipv6: 0,
        },
        Some(list) => Weight {
            ipv4: 0,
            ipv6: list.max_entries as usize,
        },
        None => Weight {
            ipv4: aws_service::prefix_list_weight(&scope.region, id),
            ipv6: 0,
        },
    }
}

pub fn get<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &PrefixListId,
) -> Result<&'a Arc<PrefixList>, Refusal> {
    snapshot
        .prefix_lists
        .get(scope, id)
        .ok_or_else(|| Refusal::not_found(ResourceKind::PrefixList, id))
}

/// A list that the caller may change.
fn own(tx: &Tx, scope: &Scope, id: &PrefixListId, verb: &str) -> Result<PrefixList, Refusal> {
    let aws = aws_service::managed_prefix_lists(&scope.region, tx.config());
    if aws.iter().any(|list| list.id == *id) {
        let text = format!("The prefix list {id} is owned by AWS and cannot be {verb}.");
        return Err(Refusal::OperationNotPermitted { text });
    }
    get(tx.snapshot(), scope, id).map(|list| PrefixList::clone(list))
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewPrefixList) -> Result<PrefixList, Refusal> {
    if let Some(earlier) = earlier(tx.snapshot(), scope, new.client_token.as_deref()) {
        let first = first_entries(earlier);
        let same = earlier.name == new.name && earlier.ipv4 == new.ipv4 && *first == new.entries;
        return if same {
            Ok(PrefixList::clone(earlier))
        } else {
            Err(Refusal::TokenReused)
        };
    }
    check_name(&new.name)?;
    let max_entries = checked_size(tx, new.max_entries)?;
    if new.entries.len() > ENTRIES_PER_CALL {
        return Err(too_many());
    }
    let quotas = Quotas::of(tx.config());
    if tx.snapshot().prefix_lists.in_scope(scope).count() >= quotas.prefix_lists {
        return Err(Refusal::PrefixListLimit);
    }
    let mut list = PrefixList {
        scope: scope.clone(),
        prefix_list_id: PrefixListId::from_bits(tx.random()),
        name: new.name,
        entries: Vec::new(),
        max_entries,
        ipv4: new.ipv4,
        version: 1,
        state: PrefixListState::CreateComplete,
        history: BTreeMap::new(),
        client_token: new.client_token,
        created_at: tx.now(),
        tags: new.tags,
    };
    add_entries(&mut list, new.entries)?;
    tx.put(list.clone());
    Ok(list)
}

fn earlier<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    token: Option<&str>,
) -> Option<&'a Arc<PrefixList>> {
    let token = token?;
    let mut lists = snapshot.prefix_lists.in_scope(scope);
    lists.find(|list| list.client_token.as_deref() == Some(token))
}

fn first_entries(list: &PrefixList) -> &Vec<PrefixListEntry> {
    list.history.get(&1).unwrap_or(&list.entries)
}

fn too_many() -> Refusal {
    Refusal::value(format!(
        "Request cannot contain more than {ENTRIES_PER_CALL} entry additions or removals"
    ))
}

/// AWS keeps names that could be taken for its own lists, the dot included.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.chars().count() > 255 {
        return Err(Refusal::value(
            "The prefix list name must be between 1 and 255 characters.",
        ));
    }
    let reserved = ["com.amazonaws.", "com.amazon.", "com.aws."];
    if reserved.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Refusal::value(
            "The prefix list name cannot begin with (com.amazonaws., com.amazon., com.aws.).",
        ));
    }
    Ok(())
}

fn checked_size(tx: &Tx, max_entries: i32) -> Result<u32, Refusal> {
    let limit = Quotas::of(tx.config()).entries_per_prefix_list;
    match u32::try_from(max_entries) {
        Ok(size) if size >= 1 && size as usize <= limit => Ok(size),
        _ => Err(Refusal::parameter(
            "MaxEntries",
            max_entries,
            &format!("It must be between 1 and {limit}."),
        )),
    }
}

fn add_entries(list: &mut PrefixList, entries: Vec<PrefixListEntry>) -> Result<(), Refusal> {
    for entry in entries {
        if entry.cidr.is_ipv4() != list.ipv4 {
            let family = if list.ipv4 { "IPv4" } else { "IPv6" };
            return Err(Refusal::value(format!(
                "The CIDR ({}) is not of the address family {family} of the prefix list.",
                entry.cidr
            )));
        }
        check_rule_description(entry.description.as_deref().unwrap_or_default())?;
        if list.entries.iter().any(|other| other.cidr == entry.cidr) {
            return Err(Refusal::value(format!(
                "The prefix list has or would have more than one entry for the CIDR ({}).",
                entry.cidr
            )));
        }
        list.entries.push(entry);
    }
    if list.entries.len() > list.max_entries as usize {
        return Err(Refusal::PrefixListSize {
            max_entries: list.max_entries,
        });
    }
    Ok(())
}

/// Entries change by a new version, the name and the size without one. All or nothing.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    id: &PrefixListId,
    change: PrefixListChange,
) -> Result<PrefixList, Refusal> {
    let mut list = own(tx, scope, id, "modified")?;
    let entries_change = !change.add.is_empty() || !change.remove.is_empty();
    if entries_change && change.max_entries.is_some() {
        let text = "You cannot modify the entries and the maximum entries for the prefix list in the same request.";
        return Err(Refusal::Combination {
            text: text.to_owned(),
        });
    }
    if entries_change && change.current_version.is_none() {
        return Err(Refusal::MissingParameter {
            name: "CurrentVersion",
        });
    }
    check_version(&list, change.current_version)?;
    if let Some(name) = change.name {
        check_name(&name)?;
        list.name = name;
    }
    if entries_change {
        change_entries(tx, &mut list, change.add, &change.remove)?;
    }
    list.state = PrefixListState::ModifyComplete;
    if let Some(size) = change.max_entries {
        resize(tx, &mut list, size)?;
    }
    tx.put(list.clone());
    Ok(list)
}

fn check_version(list: &PrefixList, current: Option<i64>) -> Result<(), Refusal> {
    match current {
        Some(version) if u64::try_from(version) != Ok(list.version) => {
            Err(Refusal::PrefixListVersionMismatch)
        }
        _ => Ok(()),
    }
}

/// Removals come first.
fn change_entries(
    tx: &Tx,
    list: &mut PrefixList,
    add: Vec<PrefixListEntry>,
    remove: &[IpCidr],
) -> Result<(), Refusal> {
    if add.len() > ENTRIES_PER_CALL || remove.len() > ENTRIES_PER_CALL {
        return Err(too_many());
    }
    if let Some(both) = add.iter().find(|entry| remove.contains(&entry.cidr)) {
        return Err(Refusal::value(format!(
            "Request cannot contain Cidr {} in both AddPrefixListEntries and RemovePrefixListEntries",
            both.cidr
        )));
    }
    let before = list.entries.clone();
    for cidr in remove {
        let at = list.entries.iter().position(|entry| entry.cidr == *cidr);
        let at = at.ok_or_else(|| Refusal::PrefixListModification {
            text: format!("The entry {cidr} does not exist."),
        })?;
        list.entries.remove(at);
    }
    if let Some(there) = add
        .iter()
        .find(|entry| list.entries.iter().any(|other| other.cidr == entry.cidr))
    {
        return Err(Refusal::PrefixListModification {
            text: format!("The entry {} already exists.", there.cidr),
        });
    }
    add_entries(list, add)?;
    next_version(tx, list, before);
    Ok(())
}

fn next_version(tx: &Tx, list: &mut PrefixList, before: Vec<PrefixListEntry>) {
    list.history.insert(list.version, before);
    list.version += 1;
    // The oldest versions go when there are too many.
    while list.history.len() >= Quotas::of(tx.config()).prefix_list_versions.max(1) {
        list.history.pop_first();
    }
}

/// Everything that refers to the list must have room for its new size.
fn resize(tx: &mut Tx, list: &mut PrefixList, size: i32) -> Result<(), Refusal> {
    list.max_entries = checked_size(tx, size)?;
    if list.entries.len() > list.max_entries as usize {
        return Err(Refusal::PrefixListSize {
            max_entries: list.max_entries,
        });
    }
    // On a copy: a refusal must leave the working copy as it was.
    let before = get(tx.snapshot(), &list.scope, &list.prefix_list_id)?.clone();
    tx.put(list.clone());
    let fits = check_users(tx, list);
    if fits.is_err() {
        tx.put(PrefixList::clone(&before));
    }
    fits
}

fn check_users(tx: &Tx, list: &PrefixList) -> Result<(), Refusal> {
    let snapshot = tx.snapshot();
    for table in snapshot.route_tables.in_scope(&list.scope) {
        if names_in_routes(table, &list.prefix_list_id) {
            routes::check_count(tx, table, &snapshot.routes_of(table))?;
        }
    }
    for group in snapshot.security_groups.in_scope(&list.scope) {
        if names_in_rules(group, &list.prefix_list_id) {
            for egress in [false, true] {
                security_group_rules::check_count(tx, group, egress)?;
            }
        }
    }
    Ok(())
}

fn names_in_routes(table: &RouteTable, id: &PrefixListId) -> bool {
    let destination = RouteDestination::PrefixList(id.clone());
    table
        .routes
        .iter()
        .any(|route| route.destination == destination)
}

fn names_in_rules(group: &SecurityGroup, id: &PrefixListId) -> bool {
    let peer = RulePeer::PrefixList(id.clone());
    group.rules.iter().any(|rule| rule.peer == peer)
}

/// Ids of the route tables and groups of a scope that refer to a list.
pub fn associations(snapshot: &Snapshot, scope: &Scope, id: &PrefixListId) -> Vec<String> {
    let tables = snapshot
        .route_tables
        .in_scope(scope)
        .filter(|table| {
            let destination = RouteDestination::PrefixList(id.clone());
            let routes = snapshot.routes_of(table);
            routes.iter().any(|route| route.destination == destination)
        })
        .map(|table| table.route_table_id.to_string());
    let groups = snapshot
        .security_groups
        .in_scope(scope)
        .filter(|group| names_in_rules(group, id))
        .map(|group| group.group_id.to_string());
    tables.chain(groups).collect()
}

/// While something refers to it the call succeeds and the deletion fails, which the list's state then tells; it can be
/// used and deleted as before. (Seen of AWS by Terraform's users: hashicorp/terraform-provider-aws issue 20991.)
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ManagedPrefixList.html>
pub fn delete(tx: &mut Tx, scope: &Scope, id: &PrefixListId) -> Result<PrefixList, Refusal> {
    let mut list = own(tx, scope, id, "deleted")?;
    if !associations(tx.snapshot(), scope, id).is_empty() {
        list.state = PrefixListState::DeleteFailed;
        tx.put(list.clone());
        return Ok(list);
    }
    tx.delete::<PrefixList>(scope, id);
    Ok(list)
}

/// An earlier version's entries become those of a new version.
pub fn restore(
    tx: &mut Tx,
    scope: &Scope,
    id: &PrefixListId,
    previous_version: i64,
    current_version: i64,
) -> Result<PrefixList, Refusal> {
    let mut list = own(tx, scope, id, "modified")?;
    check_version(&list, Some(current_version))?;
    let entries = entries_of(&list, Some(previous_version))?.clone();
    if entries.len() > list.max_entries as usize {
        return Err(Refusal::PrefixListSize {
            max_entries: list.max_entries,
        });
    }
    let before = std::mem::replace(&mut list.entries, entries);
    next_version(tx, &mut list, before);
    list.state = PrefixListState::RestoreComplete;
    tx.put(list.clone());
    Ok(list)
}

/// The entries of a version, the current one if none is named.
pub fn entries_of(
    list: &PrefixList,
    version: Option<i64>,
) -> Result<&Vec<PrefixListEntry>, Refusal> {
    let Some(version) = version else {
        return Ok(&list.entries);
    };
    match u64::try_from(version) {
        Ok(current) if current == list.version => Ok(&list.entries),
        Ok(earlier) if list.history.contains_key(&earlier) => Ok(&list.history[&earlier]),
        _ => Err(Refusal::PrefixListVersion { version }),
    }
}

#[cfg(test)]
#[path = "prefix_lists_tests.rs"]
mod tests;
