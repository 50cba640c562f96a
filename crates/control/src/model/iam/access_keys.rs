//! Access keys of users and of the root user: long-term credentials, two at most each.
//!
//! What must stay true: a key's user is there (`users::delete` refuses while there are keys); its secret is shown when it
//! is made and never again.

use super::Refusal;
use super::entities::find;
use crate::model::Tx;
use fogbank_types::iam::{AccessKey, SecretAccessKey, User};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const PER_USER_MAX: usize = 2;

fn no_such(id: &str) -> Refusal {
    Refusal::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
}

/// The keys of a user, or of the root user; oldest first.
pub fn of(snapshot: &Snapshot, scope: &Scope, user: Option<&str>) -> Vec<Arc<AccessKey>> {
    let all = snapshot.access_keys.in_scope(scope);
    let mut keys: Vec<_> = all
        .filter(|key| key.user.as_deref() == user)
        .cloned()
        .collect();
    keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    keys
}

/// `secret` is the system's own chance, which the model has none of.
pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    user: Option<&str>,
    secret: String,
) -> Result<AccessKey, Refusal> {
    if let Some(user) = user {
        find::<User>(tx.snapshot(), scope, user)?;
    }
    if of(tx.snapshot(), scope, user).len() >= PER_USER_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for AccessKeysPerUser: {PER_USER_MAX}"
        )));
    }
    let id = loop {
        let id = AccessKey::id_of(&scope.account, tx.random());
        if !tx.snapshot().access_keys.contains(scope, &id) {
            break id;
        }
    };
    let key = AccessKey {
        scope: scope.clone(),
        id,
        user: user.map(str::to_owned),
        secret: SecretAccessKey::new(secret),
        is_active: true,
        created_at: tx.now(),
    };
    tx.put(key.clone());
    Ok(key)
}

/// A key of the account, whoever's it is.
pub fn any<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    id: &str,
) -> Result<&'a Arc<AccessKey>, Refusal> {
    let key = snapshot.access_keys.get(scope, id);
    key.ok_or_else(|| no_such(id))
}

/// A key of that user. Without a user, one of the account: the root user manages all of them.
fn one(tx: &Tx, scope: &Scope, user: Option<&str>, id: &str) -> Result<AccessKey, Refusal> {
    if let Some(user) = user {
        find::<User>(tx.snapshot(), scope, user)?;
    }
    let key = any(tx.snapshot(), scope, id)?;
    if user.is_some() && key.user.as_deref() != user {
        return Err(no_such(id));
    }
    Ok(AccessKey::clone(key))
}

pub fn set_status(
    tx: &mut Tx,
    scope: &Scope,
    user: Option<&str>,
    id: &str,
    status: &str,
) -> Result<(), Refusal> {
    let mut key = one(tx, scope, user, id)?;
    key.is_active = match status {
        "Active" => true,
        "Inactive" => false,
        // A key expires by itself or not at all.
        other => {
            return Err(Refusal::InvalidInput(format!(
                "An access key cannot be set to {other}."
            )));
        }
    };
    tx.put(key);
    Ok(())
}

pub fn delete(tx: &mut Tx, scope: &Scope, user: Option<&str>, id: &str) -> Result<(), Refusal> {
    one(tx, scope, user, id)?;
    tx.delete::<AccessKey>(scope, id);
    Ok(())
}

/// The user whose active key that is.
pub fn holder<'a>(snapshot: &'a Snapshot, scope: &Scope, id: &str) -> Option<&'a Arc<User>> {
    let key = snapshot.access_keys.get(scope, id)?;
    let user = key.user.as_ref().filter(|_| key.is_active)?;
    snapshot.users.get(scope, user)
}

#[cfg(test)]
mod tests {
    use super::super::users::{self, NewUser};
    use super::*;

    fn scope() -> Scope {
        Scope::new("123456789012", "global")
    }

    fn with_user() -> Tx {
        let mut tx = Tx::for_test();
        let new = NewUser {
            name: "ann".to_owned(),
            ..NewUser::default()
        };
        users::create(&mut tx, &scope(), new).unwrap();
        tx
    }

    fn key(tx: &mut Tx, user: Option<&str>) -> Result<AccessKey, Refusal> {
        create(tx, &scope(), user, "secret".to_owned())
    }

    #[test]
    fn a_user_has_two_keys_at_most() {
        let mut tx = with_user();
        let first = key(&mut tx, Some("ann")).unwrap();
        let account = AccessKey::account_of(&first.id);
        assert_eq!(account.as_deref(), Some("123456789012"));
        key(&mut tx, Some("ann")).unwrap();
        let third = key(&mut tx, Some("ann")).unwrap_err();
        assert_eq!(
            third.to_string(),
            "Cannot exceed quota for AccessKeysPerUser: 2"
        );
        // The root user's are counted apart.
        key(&mut tx, None).unwrap();
        delete(&mut tx, &scope(), Some("ann"), &first.id).unwrap();
        key(&mut tx, Some("ann")).unwrap();
        let none = key(&mut tx, Some("bob"));
        assert!(matches!(none, Err(Refusal::NoSuchEntity(_))));
    }

    #[test]
    fn a_key_is_its_users() {
        let mut tx = with_user();
        let (anns, roots) = (
            key(&mut tx, Some("ann")).unwrap(),
            key(&mut tx, None).unwrap(),
        );
        let other = delete(&mut tx, &scope(), Some("ann"), &roots.id);
        assert!(matches!(other, Err(Refusal::NoSuchEntity(_))));
        let holder_of =
            |tx: &Tx, id: &str| holder(tx.snapshot(), &scope(), id).map(|u| u.name.clone());
        assert_eq!(holder_of(&tx, &anns.id).as_deref(), Some("ann"));
        assert_eq!(holder_of(&tx, &roots.id), None);
        set_status(&mut tx, &scope(), None, &anns.id, "Inactive").unwrap();
        assert_eq!(holder_of(&tx, &anns.id), None);
        let expired = set_status(&mut tx, &scope(), Some("ann"), &anns.id, "Expired");
        assert!(matches!(expired, Err(Refusal::InvalidInput(_))));
        delete(&mut tx, &scope(), None, &anns.id).unwrap();
        assert!(of(tx.snapshot(), &scope(), Some("ann")).is_empty());
    }
}
