//! Groups of users. A user's row says which groups it is in, by their ids: a group can be renamed and any size.

use super::entities::find;
use super::identities::{check_bare, check_new, conflict};
use super::{Refusal, unique_id};
use crate::model::Tx;
use fogbank_types::iam::{Group, User};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// Groups that one user may be in.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const PER_USER_MAX: usize = 10;

pub fn create(
    tx: &mut Tx,
    scope: &Scope,
    name: String,
    path: Option<String>,
) -> Result<Group, Refusal> {
    let (path, arn) = check_new::<Group>(tx, scope, &name, path)?;
    let group = Group {
        scope: scope.clone(),
        name,
        arn,
        group_id: unique_id(tx, "AGPA"),
        path,
        inline_policies: Default::default(),
        attached_policies: Vec::new(),
        created_at: tx.now(),
    };
    tx.put(group.clone());
    Ok(group)
}

/// Its users, by name.
pub fn members<'a>(
    snapshot: &'a Snapshot,
    group: &'a Group,
) -> impl Iterator<Item = &'a Arc<User>> {
    let users = snapshot.users.in_scope(&group.scope);
    users.filter(|user| user.groups.contains(&group.group_id))
}

/// The groups of a user, by name.
pub fn of<'a>(snapshot: &'a Snapshot, user: &'a User) -> impl Iterator<Item = &'a Arc<Group>> {
    let groups = snapshot.groups.in_scope(&user.scope);
    groups.filter(|group| user.groups.contains(&group.group_id))
}

pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<(), Refusal> {
    let group = find::<Group>(tx.snapshot(), scope, name)?;
    if members(tx.snapshot(), group).next().is_some() {
        return Err(conflict("remove users from group"));
    }
    check_bare(group.as_ref())?;
    tx.delete::<Group>(scope, name);
    Ok(())
}

/// One that is in it already stays.
pub fn add_user(tx: &mut Tx, scope: &Scope, name: &str, user: &str) -> Result<(), Refusal> {
    let mut row = User::clone(find(tx.snapshot(), scope, user)?);
    let group = find::<Group>(tx.snapshot(), scope, name)?;
    row.groups.insert(group.group_id.clone());
    if row.groups.len() > PER_USER_MAX {
        return Err(Refusal::LimitExceeded(format!(
            "Cannot exceed quota for GroupsPerUser: {PER_USER_MAX}"
        )));
    }
    tx.put(row);
    Ok(())
}

pub fn remove_user(tx: &mut Tx, scope: &Scope, name: &str, user: &str) -> Result<(), Refusal> {
    let id = find::<Group>(tx.snapshot(), scope, name)?.group_id.clone();
    let mut row = User::clone(find(tx.snapshot(), scope, user)?);
    if !row.groups.remove(&id) {
        return Err(Refusal::NoSuchEntity(format!(
            "User {user} not in group {name}"
        )));
    }
    tx.put(row);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::identities;
    use super::super::users::{self, NewUser};
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "global")
    }

    fn group(tx: &mut Tx, name: &str) -> Result<Group, Refusal> {
        create(tx, &scope(), name.to_owned(), None)
    }

    fn user(tx: &mut Tx, name: &str) {
        let new = NewUser {
            name: name.to_owned(),
            ..NewUser::default()
        };
        users::create(tx, &scope(), new).unwrap();
    }

    #[test]
    fn a_group_has_an_arn_and_a_name_of_its_own() {
        let mut tx = Tx::for_test();
        let made = group(&mut tx, "admins").unwrap();
        assert_eq!(made.arn, "arn:aws:iam::000000000000:group/admins");
        assert_eq!((made.group_id.len(), &made.group_id[..4]), (21, "AGPA"));
        let again = group(&mut tx, "ADMINS");
        assert!(matches!(again, Err(Refusal::EntityAlreadyExists(_))));
        assert!(group(&mut tx, &"x".repeat(128)).is_ok());
        assert!(group(&mut tx, &"y".repeat(129)).is_err());
    }

    #[test]
    fn members_stay_when_a_group_is_renamed() {
        let mut tx = Tx::for_test();
        group(&mut tx, "admins").unwrap();
        user(&mut tx, "ann");
        add_user(&mut tx, &scope(), "admins", "ann").unwrap();
        add_user(&mut tx, &scope(), "admins", "ann").unwrap();
        let name = Some("owners".to_owned());
        let renamed: Group = identities::rename(&mut tx, &scope(), "admins", name, None).unwrap();
        assert_eq!(renamed.arn, "arn:aws:iam::000000000000:group/owners");
        let names: Vec<_> = members(tx.snapshot(), &renamed).map(|u| &u.name).collect();
        assert_eq!(names, ["ann"]);
        let user = find::<User>(tx.snapshot(), &scope(), "ann").unwrap();
        let groups: Vec<_> = of(tx.snapshot(), user).map(|g| &g.name).collect();
        assert_eq!(groups, ["owners"]);
    }

    #[test]
    fn a_group_with_users_or_policies_is_not_deleted() {
        let mut tx = Tx::for_test();
        group(&mut tx, "admins").unwrap();
        user(&mut tx, "ann");
        add_user(&mut tx, &scope(), "admins", "ann").unwrap();
        let refused = |tx: &mut Tx| {
            matches!(
                delete(tx, &scope(), "admins"),
                Err(Refusal::DeleteConflict(_))
            )
        };
        assert!(refused(&mut tx));
        remove_user(&mut tx, &scope(), "admins", "ann").unwrap();
        let absent = remove_user(&mut tx, &scope(), "admins", "ann");
        assert!(matches!(absent, Err(Refusal::NoSuchEntity(_))));
        let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        identities::attach::<Group>(&mut tx, &scope(), "admins", arn).unwrap();
        assert!(refused(&mut tx));
        identities::detach::<Group>(&mut tx, &scope(), "admins", arn).unwrap();
        delete(&mut tx, &scope(), "admins").unwrap();
    }

    #[test]
    fn a_user_is_in_ten_groups_at_most() {
        let mut tx = Tx::for_test();
        user(&mut tx, "ann");
        for n in 0..11 {
            group(&mut tx, &format!("g{n}")).unwrap();
        }
        for n in 0..10 {
            add_user(&mut tx, &scope(), &format!("g{n}"), "ann").unwrap();
        }
        let eleventh = add_user(&mut tx, &scope(), "g10", "ann");
        assert!(matches!(eleventh, Err(Refusal::LimitExceeded(_))));
        add_user(&mut tx, &scope(), "g0", "ann").unwrap();
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut tx = Tx::for_test();
        let said = |result: Result<(), Refusal>| result.unwrap_err().to_string();
        let text = said(add_user(&mut tx, &scope(), "admins", "ann"));
        assert_eq!(text, "The user with name ann cannot be found.");
        user(&mut tx, "ann");
        let text = said(add_user(&mut tx, &scope(), "admins", "ann"));
        assert_eq!(text, "The group with name admins cannot be found.");
    }
}
