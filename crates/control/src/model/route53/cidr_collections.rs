//! CIDR collections: blocks of addresses by the names of locations, for IP-based routing (fact ROUTE-4).
//! <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeCidrCollection.html>

use super::{Refusal, changes, invalid};
use crate::model::tx::Tx;
use fogbank_types::route53::{Change, CidrCollection, Routing};
use fogbank_types::{IpCidr, Scope, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Quota "CIDR collections" of an account.
const COLLECTIONS_MAX: usize = 5;

/// Quota "CIDR blocks per CIDR collection".
const BLOCKS_MAX: usize = 1000;

const V4_LENGTH_MAX: u8 = 24;
const V6_LENGTH_MAX: u8 = 48;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Put,
    DeleteIfExists,
}

#[derive(Clone, Debug)]
pub struct BlockChange {
    pub action: Action,
    pub location: String,
    pub blocks: Vec<String>,
}

pub fn arn(row: &CidrCollection) -> String {
    format!("arn:aws:route53:::cidrcollection/{}", row.id)
}

/// The same call again gives the same collection.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    caller_reference: &str,
) -> Result<CidrCollection, Refusal> {
    let rows = || tx.snapshot().cidr_collections.in_scope(scope);
    if let Some(row) = rows().find(|row| row.name == name) {
        return match row.caller_reference == caller_reference {
            true => Ok(CidrCollection::clone(row)),
            false => Err(Refusal::CidrCollectionAlreadyExists),
        };
    }
    if rows().count() >= COLLECTIONS_MAX {
        return Err(Refusal::LimitsExceeded(format!(
            "Limits Exceeded: Cannot have more than {COLLECTIONS_MAX} CIDR collections"
        )));
    }
    let row = CidrCollection {
        scope: scope.clone(),
        id: tx.uuid(),
        name: name.to_owned(),
        caller_reference: caller_reference.to_owned(),
        version: 1,
        locations: Default::default(),
    };
    tx.put(row.clone());
    Ok(row)
}

pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<CidrCollection>, Refusal> {
    let row = snapshot.cidr_collections.get(scope, id);
    row.ok_or(Refusal::NoSuchCidrCollection)
}

/// All changes or none; one more version. `version` is the caller's, if it wants to be sure of it.
pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    id: &str,
    version: Option<i64>,
    wanted: &[BlockChange],
) -> Result<Change, Refusal> {
    let mut row = CidrCollection::clone(find(tx.snapshot(), scope, id)?);
    if version.is_some_and(|version| version != row.version) {
        return Err(Refusal::CidrCollectionVersionMismatch);
    }
    for change in wanted {
        let blocks = change.blocks.iter().map(|block| canonical(block));
        let blocks: Vec<String> = blocks.collect::<Result<_, Refusal>>()?;
        match change.action {
            Action::Put => put(&mut row, &change.location, blocks)?,
            Action::DeleteIfExists => {
                if let Some(known) = row.locations.get_mut(&change.location) {
                    known.retain(|block| !blocks.contains(block));
                }
            }
        }
    }
    row.locations.retain(|_, blocks| !blocks.is_empty());
    if row.locations.values().map(Vec::len).sum::<usize>() > BLOCKS_MAX {
        return Err(Refusal::LimitsExceeded(format!(
            "Limits Exceeded: Cannot have more than {BLOCKS_MAX} CIDR blocks in a CIDR collection"
        )));
    }
    let mut used = used_locations(tx.snapshot(), scope, id);
    used.retain(|location| location != "*" && !row.locations.contains_key(location));
    if let Some(location) = used.pop_first() {
        return Err(Refusal::CidrBlockInUse(format!(
            "The last CIDR block of the location {location} cannot be deleted: resource record sets refer to it."
        )));
    }
    row.version += 1;
    tx.put(row);
    Ok(changes::submit(tx, scope, None))
}

/// A block stands in one location of a collection.
fn put(row: &mut CidrCollection, location: &str, blocks: Vec<String>) -> Result<(), Refusal> {
    for block in blocks {
        let elsewhere =
            |(name, known): (&String, &Vec<String>)| name != location && known.contains(&block);
        if row.locations.iter().any(elsewhere) {
            return Err(Refusal::CidrBlockInUse(format!(
                "The CIDR block {block} is already in use in another location of this collection."
            )));
        }
        let known = row.locations.entry(location.to_owned()).or_default();
        if let Err(place) = known.binary_search(&block) {
            known.insert(place, block);
        }
    }
    Ok(())
}

fn canonical(text: &str) -> Result<String, Refusal> {
    let block: IpCidr = text
        .parse()
        .map_err(|_| invalid(format!("The CIDR block '{text}' is not valid")))?;
    let most = match block.is_ipv4() {
        true => V4_LENGTH_MAX,
        false => V6_LENGTH_MAX,
    };
    if block.length() > most {
        return Err(invalid(format!(
            "The CIDR block '{text}' must have a prefix length from 0 to {most}"
        )));
    }
    Ok(block.to_string())
}

/// Locations that records route by.
fn used_locations(snapshot: &Snapshot, scope: &Scope, id: &str) -> BTreeSet<String> {
    let of_this = |record: &Arc<fogbank_types::route53::RecordSet>| match &record.routing {
        Routing::Cidr {
            collection_id,
            location,
        } if collection_id == id => Some(location.clone()),
        _ => None,
    };
    let records = snapshot.record_sets.in_scope(scope);
    records.filter_map(of_this).collect()
}

/// Only an empty one, which no record refers to.
pub fn delete(tx: &mut Tx, scope: &Scope, id: &str) -> Result<(), Refusal> {
    let row = find(tx.snapshot(), scope, id)?;
    if !row.locations.is_empty() || !used_locations(tx.snapshot(), scope, id).is_empty() {
        return Err(Refusal::CidrCollectionInUse);
    }
    tx.delete::<CidrCollection>(scope, id);
    Ok(())
}

/// Location and block, of one location or all.
pub fn blocks(
    row: &CidrCollection,
    location: Option<&str>,
) -> Result<Vec<(String, String)>, Refusal> {
    if let Some(location) = location
        && !row.locations.contains_key(location)
    {
        return Err(Refusal::NoSuchCidrLocation);
    }
    let wanted = |name: &String| location.is_none_or(|location| location == name);
    let of = |(name, blocks): (&String, &Vec<String>)| {
        let pairs = blocks.iter().map(|block| (name.clone(), block.clone()));
        pairs.collect::<Vec<_>>()
    };
    let locations = row.locations.iter().filter(|(name, _)| wanted(name));
    Ok(locations.flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{record, scope, zone};
    use super::*;
    use fogbank_types::route53::RecordSet;

    fn put_blocks(location: &str, blocks: &[&str]) -> BlockChange {
        BlockChange {
            action: Action::Put,
            location: location.to_owned(),
            blocks: blocks.iter().map(|b| (*b).to_owned()).collect(),
        }
    }

    fn gone(location: &str, blocks: &[&str]) -> BlockChange {
        BlockChange {
            action: Action::DeleteIfExists,
            ..put_blocks(location, blocks)
        }
    }

    fn collection(tx: &mut Tx) -> String {
        create(tx, &scope(), "c", "r").unwrap().id
    }

    fn all(tx: &Tx, id: &str) -> Vec<String> {
        let row = find(tx.snapshot(), &scope(), id).unwrap();
        let pair = |(location, block)| format!("{location} {block}");
        blocks(row, None).unwrap().into_iter().map(pair).collect()
    }

    #[test]
    fn blocks_come_and_go_in_canonical_form() {
        let mut tx = Tx::for_test();
        let id = collection(&mut tx);
        let first = put_blocks(
            "office",
            &["192.0.2.77/24", "2001:DB8::/48", "192.0.2.0/24"],
        );
        change(&mut tx, &scope(), &id, Some(1), &[first]).unwrap();
        assert_eq!(
            all(&tx, &id),
            ["office 192.0.2.0/24", "office 2001:db8::/48"]
        );
        let stale = change(&mut tx, &scope(), &id, Some(1), &[gone("office", &[])]);
        assert_eq!(stale.unwrap_err(), Refusal::CidrCollectionVersionMismatch);
        let wanted = [
            gone("office", &["192.0.2.0/24"]),
            put_blocks("home", &["192.0.2.0/24"]),
        ];
        change(&mut tx, &scope(), &id, Some(2), &wanted).unwrap();
        assert_eq!(all(&tx, &id), ["home 192.0.2.0/24", "office 2001:db8::/48"]);
        let refused = delete(&mut tx, &scope(), &id);
        assert_eq!(refused, Err(Refusal::CidrCollectionInUse));
        let wanted = [
            gone("office", &["2001:db8::/48"]),
            gone("home", &["192.0.2.0/24"]),
            gone("x", &["10.0.0.0/8"]),
        ];
        change(&mut tx, &scope(), &id, None, &wanted).unwrap();
        delete(&mut tx, &scope(), &id).unwrap();
        assert!(find(tx.snapshot(), &scope(), &id).is_err());
    }

    #[test]
    fn blocks_that_are_refused() {
        let mut tx = Tx::for_test();
        let id = collection(&mut tx);
        change(
            &mut tx,
            &scope(),
            &id,
            None,
            &[put_blocks("a", &["10.0.0.0/8"])],
        )
        .unwrap();
        for block in [
            "10.0.0.0/25",
            "2001:db8::/49",
            "10.0.0.0",
            "x",
            "10.0.0.0/33",
        ] {
            let refused = change(&mut tx, &scope(), &id, None, &[put_blocks("a", &[block])]);
            assert!(matches!(refused, Err(Refusal::InvalidInput(_))), "{block}");
        }
        let refused = change(
            &mut tx,
            &scope(),
            &id,
            None,
            &[put_blocks("b", &["10.0.0.0/8"])],
        );
        assert!(matches!(refused, Err(Refusal::CidrBlockInUse(_))));
        let many: Vec<String> = (0..1000)
            .map(|n| format!("172.{}.{}.0/24", n / 256, n % 256))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let refused = change(&mut tx, &scope(), &id, None, &[put_blocks("b", &many)]);
        assert!(matches!(refused, Err(Refusal::LimitsExceeded(_))));
        assert_eq!(all(&tx, &id), ["a 10.0.0.0/8"]);
    }

    #[test]
    fn a_location_that_records_refer_to_stays() {
        let mut tx = Tx::for_test();
        let id = collection(&mut tx);
        change(
            &mut tx,
            &scope(),
            &id,
            None,
            &[put_blocks("a", &["10.0.0.0/8", "11.0.0.0/8"])],
        )
        .unwrap();
        let zone_id = zone(&mut tx, "example.test").id;
        tx.put(RecordSet {
            set_identifier: Some("x".to_owned()),
            routing: Routing::Cidr {
                collection_id: id.clone(),
                location: "a".to_owned(),
            },
            ..record(&zone_id, "a.example.test.", "A")
        });
        change(&mut tx, &scope(), &id, None, &[gone("a", &["11.0.0.0/8"])]).unwrap();
        let refused = change(&mut tx, &scope(), &id, None, &[gone("a", &["10.0.0.0/8"])]);
        assert!(matches!(refused, Err(Refusal::CidrBlockInUse(_))));
    }

    #[test]
    fn a_name_is_of_one_collection_and_there_are_five() {
        let mut tx = Tx::for_test();
        let id = collection(&mut tx);
        assert_eq!(collection(&mut tx), id);
        let refused = create(&mut tx, &scope(), "c", "other");
        assert_eq!(refused, Err(Refusal::CidrCollectionAlreadyExists));
        for n in 1..5 {
            create(&mut tx, &scope(), &n.to_string(), "r").unwrap();
        }
        let refused = create(&mut tx, &scope(), "6", "r");
        assert!(matches!(refused, Err(Refusal::LimitsExceeded(_))));
    }
}
