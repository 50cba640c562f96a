//! Trust stores: the authorities that client certificates are verified with, and what those revoked (fact LST-13).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html>
//!
//! A store keeps copies of what the caller's bucket held: a change there shows here with the next call, as on AWS.

use super::limits::Limits;
use super::{Refusal, arns, invalid, tags, trust_material, usage};
use crate::model::tx::Tx;
use fogbank_types::elb::{Revocation, TrustStore};
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::BTreeSet;

/// What a caller wants.
#[derive(Clone, Debug)]
pub struct NewTrustStore {
    pub name: String,
    /// The file.
    pub bundle: Vec<u8>,
    pub tags: Tags,
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewTrustStore) -> Result<TrustStore, Refusal> {
    check_name(&new.name)?;
    tags::check(&new.tags, &new.name)?;
    let limits = Limits::of(tx.config());
    let named = |tx: &Tx| {
        let mut all = tx.snapshot().trust_stores.in_scope(scope);
        all.any(|store| store.name == new.name)
    };
    if named(tx) {
        return Err(Refusal::DuplicateTrustStoreName(new.name));
    }
    if tx.snapshot().trust_stores.in_scope(scope).count() >= limits.trust_stores {
        return Err(Refusal::TooManyTrustStores);
    }
    let (ca_bundle, _) = trust_material::bundle(&new.bundle, limits.certificates_per_trust_store)?;
    let tail = tx.hex(16);
    let row = TrustStore {
        scope: scope.clone(),
        arn: arns::trust_store(scope, &new.name, &tail),
        name: new.name,
        tail,
        ca_bundle,
        revocations: Vec::new(),
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(row.clone());
    Ok(row)
}

/// Letters and digits with single hyphens between them.
fn check_name(name: &str) -> Result<(), Refusal> {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if name.len() <= 32 && name.split('-').all(part) {
        Ok(())
    } else {
        Err(invalid(format!("Trust store name '{name}' is not valid")))
    }
}

/// Replaces the authorities.
pub fn modify(tx: &mut Tx, scope: &Scope, arn: &str, bundle: &[u8]) -> Result<TrustStore, Refusal> {
    let mut row = TrustStore::clone(arns::find_trust_store(tx.snapshot(), scope, arn)?);
    let limits = Limits::of(tx.config());
    (row.ca_bundle, _) = trust_material::bundle(bundle, limits.certificates_per_trust_store)?;
    tx.put(row.clone());
    Ok(row)
}

pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    arns::find_trust_store(tx.snapshot(), scope, arn)?;
    if !usage::of_trust_store(tx.snapshot(), scope, arn).is_empty() {
        return Err(Refusal::TrustStoreInUse(arn.to_owned()));
    }
    tx.delete::<TrustStore>(scope, arn);
    Ok(())
}

/// Adds the lists, all or none; answers them with their ids.
pub fn add_revocations(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    files: &[Vec<u8>],
) -> Result<Vec<Revocation>, Refusal> {
    let mut row = TrustStore::clone(arns::find_trust_store(tx.snapshot(), scope, arn)?);
    if files.is_empty() {
        return Err(invalid("At least one revocation file must be specified"));
    }
    let first = row.revocations.iter().map(|r| r.id).max().unwrap_or(0) + 1;
    let mut added = Vec::new();
    for (id, file) in (first..).zip(files) {
        let (list, revoked) = trust_material::revocation_list(file)?;
        added.push(Revocation {
            id,
            list,
            revoked_entries: i64::try_from(revoked).unwrap_or(i64::MAX),
        });
    }
    row.revocations.extend(added.iter().cloned());
    let limits = Limits::of(tx.config());
    let entries = usize::try_from(revoked_entries(&row)).unwrap_or(usize::MAX);
    if row.revocations.len() > limits.lists_per_trust_store
        || entries > limits.revoked_per_trust_store
    {
        return Err(Refusal::TooManyTrustStoreRevocationEntries(row.arn));
    }
    tx.put(row);
    Ok(added)
}

/// Removes the lists, all or none.
pub fn remove_revocations(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    ids: &[i64],
) -> Result<(), Refusal> {
    let mut row = TrustStore::clone(arns::find_trust_store(tx.snapshot(), scope, arn)?);
    if ids.is_empty() {
        return Err(invalid("At least one revocation ID must be specified"));
    }
    for id in ids {
        find_revocation(&row, *id)?;
    }
    row.revocations.retain(|own| !ids.contains(&own.id));
    tx.put(row);
    Ok(())
}

pub fn find_revocation(row: &TrustStore, id: i64) -> Result<&Revocation, Refusal> {
    let mut all = row.revocations.iter();
    all.find(|own| own.id == id)
        .ok_or(Refusal::RevocationIdNotFound(id))
}

/// Over all its lists.
pub fn revoked_entries(row: &TrustStore) -> i64 {
    row.revocations.iter().map(|own| own.revoked_entries).sum()
}

/// The load balancers whose listeners verify clients with it.
pub fn associations(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Vec<String>, Refusal> {
    arns::find_trust_store(snapshot, scope, arn)?;
    let listeners = usage::of_trust_store(snapshot, scope, arn);
    let balancers: BTreeSet<String> = listeners
        .iter()
        .filter_map(|listener| snapshot.listeners.get(scope, listener))
        .map(|listener| listener.load_balancer_arn.clone())
        .collect();
    Ok(balancers.into_iter().collect())
}

/// Ends another account's use of a shared store. Stores can't be shared here, so there never is one to end.
pub fn delete_shared_association(
    snapshot: &Snapshot,
    scope: &Scope,
    arn: &str,
    resource_arn: &str,
) -> Result<(), Refusal> {
    let own = associations(snapshot, scope, arn)?;
    if own.iter().any(|resource| resource == resource_arn) {
        return Err(Refusal::DeleteAssociationSameAccount(arn.to_owned()));
    }
    Err(Refusal::AssociationNotFound(arn.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::super::trust_material::tests::authority;
    use super::*;

    fn new(name: &str, bundle: &str) -> NewTrustStore {
        NewTrustStore {
            name: name.to_owned(),
            bundle: bundle.as_bytes().to_vec(),
            tags: Tags::new(),
        }
    }

    #[test]
    fn names_are_unique_and_plain() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let (bundle, _) = authority(0);
        create(&mut region.tx, &scope, new("a-b1", &bundle)).unwrap();
        let again = create(&mut region.tx, &scope, new("a-b1", &bundle));
        assert!(matches!(again, Err(Refusal::DuplicateTrustStoreName(_))));
        for bad in ["", "-a", "a-", "a--b", "a_b", &"a".repeat(33)] {
            assert!(
                create(&mut region.tx, &scope, new(bad, &bundle)).is_err(),
                "{bad}"
            );
        }
        for n in 0..19 {
            create(&mut region.tx, &scope, new(&format!("s{n}"), &bundle)).unwrap();
        }
        let more = create(&mut region.tx, &scope, new("more", &bundle));
        assert_eq!(more, Err(Refusal::TooManyTrustStores));
    }

    #[test]
    fn lists_come_with_ids_and_go_by_them() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let (bundle, list) = authority(2);
        let arn = create(&mut region.tx, &scope, new("clients", &bundle))
            .unwrap()
            .arn;
        let file = list.into_bytes();
        let add = |tx: &mut Tx, files: &[Vec<u8>]| add_revocations(tx, &scope, &arn, files);
        let ids: Vec<_> = add(&mut region.tx, &[file.clone(), file.clone()])
            .unwrap()
            .iter()
            .map(|r| (r.id, r.revoked_entries))
            .collect();
        assert_eq!(ids, [(1, 2), (2, 2)]);
        assert!(add(&mut region.tx, &[file.clone(), b"nonsense".to_vec()]).is_err());
        remove_revocations(&mut region.tx, &scope, &arn, &[1]).unwrap();
        let gone = remove_revocations(&mut region.tx, &scope, &arn, &[2, 1]);
        assert_eq!(gone, Err(Refusal::RevocationIdNotFound(1)));
        assert_eq!(add(&mut region.tx, &[file]).unwrap()[0].id, 3);
        let row = region.tx.snapshot().trust_stores.get(&scope, &arn).unwrap();
        assert_eq!((row.revocations.len(), revoked_entries(row)), (2, 4));
    }

    #[test]
    fn one_in_use_stays() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let arn = region.trust_store("clients").arn;
        let lb = region.load_balancer("api");
        let certificate = region.certificate("a");
        let listener = region.https_listener(&lb.arn, 443, &certificate);
        region.verify_clients(&listener.arn, &arn);
        assert_eq!(
            delete(&mut region.tx, &scope, &arn),
            Err(Refusal::TrustStoreInUse(arn.clone()))
        );
        let users = associations(region.tx.snapshot(), &scope, &arn).unwrap();
        assert_eq!(users, [lb.arn.as_str()]);
        let shared = |resource: &str| {
            delete_shared_association(region.tx.snapshot(), &scope, &arn, resource).unwrap_err()
        };
        assert_eq!(
            shared(&lb.arn),
            Refusal::DeleteAssociationSameAccount(arn.clone())
        );
        assert_eq!(shared("other"), Refusal::AssociationNotFound(arn.clone()));
        super::super::load_balancers::delete(&mut region.tx, &scope, &lb.arn).unwrap();
        delete(&mut region.tx, &scope, &arn).unwrap();
    }
}
