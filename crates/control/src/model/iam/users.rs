//! Users and the groups that they are in.

use super::entities::find;
use super::identities::{self, check_bare, check_new, conflict};
use super::{Refusal, access_keys, merged, policies, unique_id};
use crate::model::Tx;
use fogbank_types::iam::{AccessKey, User};
use fogbank_types::{Scope, Tags};

#[derive(Debug, Clone, Default)]
pub struct NewUser {
    pub name: String,
    pub path: Option<String>,
    pub permissions_boundary: Option<String>,
    pub tags: Tags,
}

pub fn create(tx: &mut Tx, scope: &Scope, new: NewUser) -> Result<User, Refusal> {
    if let Some(boundary) = &new.permissions_boundary {
        policies::require_boundary(tx.snapshot(), scope, boundary)?;
    }
    let (path, arn) = check_new::<User>(tx, scope, &new.name, new.path)?;
    let user = User {
        scope: scope.clone(),
        name: new.name,
        arn,
        user_id: unique_id(tx, "AIDA"),
        path,
        inline_policies: Default::default(),
        attached_policies: Vec::new(),
        permissions_boundary: new.permissions_boundary,
        groups: Default::default(),
        created_at: tx.now(),
        tags: merged(&Tags::new(), new.tags, &[])?,
    };
    tx.put(user.clone());
    Ok(user)
}

/// Its access keys go with it.
pub fn rename(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    new_name: Option<String>,
    new_path: Option<String>,
) -> Result<(), Refusal> {
    let user: User = identities::rename(tx, scope, name, new_name, new_path)?;
    for key in access_keys::of(tx.snapshot(), scope, Some(name)) {
        tx.update::<AccessKey>(scope, &key.id, |key| key.user = Some(user.name.clone()));
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html>: what it has must be taken away before.
pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    let user = find::<User>(tx.snapshot(), scope, name)?;
    if !access_keys::of(tx.snapshot(), scope, Some(name)).is_empty() {
        return Err(conflict("delete access keys"));
    }
    check_bare(user.as_ref())?;
    if !user.groups.is_empty() {
        return Err(conflict("remove users from group"));
    }
    tx.delete::<User>(scope, name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{groups, policies};
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "global")
    }

    fn make(tx: &mut Tx, name: &str) -> User {
        let new = NewUser {
            name: name.to_owned(),
            ..NewUser::default()
        };
        create(tx, &scope(), new).unwrap()
    }

    #[test]
    fn a_user_has_an_arn_with_its_path() {
        let mut tx = Tx::for_test();
        let new = NewUser {
            name: "ann".to_owned(),
            path: Some("/team/".to_owned()),
            ..NewUser::default()
        };
        let user = create(&mut tx, &scope(), new).unwrap();
        assert_eq!(user.arn, "arn:aws:iam::000000000000:user/team/ann");
        assert_eq!((user.user_id.len(), &user.user_id[..4]), (21, "AIDA"));
    }

    #[test]
    fn a_boundary_must_be_there() {
        let mut tx = Tx::for_test();
        let new = |arn: &str| NewUser {
            name: "ann".to_owned(),
            permissions_boundary: Some(arn.to_owned()),
            ..NewUser::default()
        };
        let none = "arn:aws:iam::000000000000:policy/none";
        let refused = create(&mut tx, &scope(), new(none)).unwrap_err();
        assert!(matches!(refused, Refusal::NoSuchEntity(_)), "{refused}");
        let text = create(&mut tx, &scope(), new("arn:aws:iam::1:not_a_policy")).unwrap_err();
        assert!(matches!(text, Refusal::Validation(_)), "{text}");
        let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        create(&mut tx, &scope(), new(arn)).unwrap();
        assert_eq!(policies::boundaries(tx.snapshot(), &scope(), arn), 1);
        identities::set_boundary::<User>(&mut tx, &scope(), "ann", None).unwrap();
        assert_eq!(policies::boundaries(tx.snapshot(), &scope(), arn), 0);
    }

    #[test]
    fn a_renamed_user_keeps_its_id_keys_and_groups() {
        let mut tx = Tx::for_test();
        let before = make(&mut tx, "ann");
        make(&mut tx, "bob");
        let key = access_keys::create(&mut tx, &scope(), Some("ann"), "s".to_owned()).unwrap();
        groups::create(&mut tx, &scope(), "admins".to_owned(), None).unwrap();
        groups::add_user(&mut tx, &scope(), "admins", "ann").unwrap();
        let refused = rename(&mut tx, &scope(), "ann", Some("BOB".to_owned()), None);
        assert!(matches!(refused, Err(Refusal::EntityAlreadyExists(_))));
        let path = Some("/team/".to_owned());
        rename(&mut tx, &scope(), "ann", Some("Ann".to_owned()), path).unwrap();
        assert!(find::<User>(tx.snapshot(), &scope(), "ann").is_err());
        let after = find::<User>(tx.snapshot(), &scope(), "Ann").unwrap();
        assert_eq!(after.arn, "arn:aws:iam::000000000000:user/team/Ann");
        assert_eq!(after.user_id, before.user_id);
        assert_eq!(after.groups.len(), 1);
        let keys = access_keys::of(tx.snapshot(), &scope(), Some("Ann"));
        assert_eq!(keys[0].id, key.id);
        // Terraform sends the name again when only the path changes.
        let same = Some("Ann".to_owned());
        rename(&mut tx, &scope(), "Ann", same, Some("/".to_owned())).unwrap();
        assert!(find::<User>(tx.snapshot(), &scope(), "Ann").is_ok());
    }

    #[test]
    fn a_user_is_deleted_when_nothing_hangs_on_it() {
        let mut tx = Tx::for_test();
        make(&mut tx, "ann");
        let said = |tx: &mut Tx| match delete(tx, &scope(), "ann") {
            Err(Refusal::DeleteConflict(text)) => text,
            other => panic!("{other:?}"),
        };
        groups::create(&mut tx, &scope(), "admins".to_owned(), None).unwrap();
        groups::add_user(&mut tx, &scope(), "admins", "ann").unwrap();
        assert!(said(&mut tx).contains("remove users from group"));
        let key = access_keys::create(&mut tx, &scope(), Some("ann"), "s".to_owned()).unwrap();
        assert!(said(&mut tx).contains("delete access keys"));
        access_keys::delete(&mut tx, &scope(), Some("ann"), &key.id).unwrap();
        groups::remove_user(&mut tx, &scope(), "admins", "ann").unwrap();
        delete(&mut tx, &scope(), "ann").unwrap();
        let gone = delete(&mut tx, &scope(), "ann");
        assert!(matches!(gone, Err(Refusal::NoSuchEntity(_))));
    }
}
