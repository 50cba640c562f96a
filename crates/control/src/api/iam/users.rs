//! Users, and the root user, who every caller without a user's key is until authentication is enforced.

use super::{boundaries, caller_name, groups, page, read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::users::{self, NewUser};
use crate::model::iam::{entities, groups as memberships};
use fogbank_types::Timestamp;
use fogbank_types::iam::User;
use fogbank_wire::iam as wire;

/// When the account was opened, as far as this region is concerned: 2020-01-01.
const ACCOUNT_SINCE: Timestamp = Timestamp(1_577_836_800_000);

/// A list shows neither boundary nor tags.
pub fn show(user: &User, whole: bool) -> wire::User {
    let boundary = user.permissions_boundary.as_ref().filter(|_| whole);
    wire::User {
        arn: user.arn.clone(),
        create_date: user.created_at,
        password_last_used: None,
        path: user.path.clone(),
        permissions_boundary: boundaries::show(boundary),
        tags: (whole && !user.tags.is_empty()).then(|| show_tags(&user.tags)),
        user_id: user.user_id.clone(),
        user_name: user.name.clone(),
    }
}

pub fn create(
    context: &Context,
    request: wire::CreateUserRequest,
) -> Result<wire::CreateUserResponse, ApiError> {
    let new = NewUser {
        name: request.user_name,
        path: request.path,
        permissions_boundary: request.permissions_boundary,
        tags: read_tags(request.tags)?,
    };
    let scope = scope(context);
    let user = context.write(|tx| Ok(users::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreateUserResponse {
        user: Some(show(&user, true)),
    })
}

/// Without a name, the caller.
pub fn get(
    context: &Context,
    request: wire::GetUserRequest,
) -> Result<wire::GetUserResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), scope(context));
    let user = match request.user_name.or_else(|| caller_name(context)) {
        Some(name) => show(entities::find::<User>(&snapshot, &scope, &name)?, true),
        None => wire::User {
            arn: scope.arn("iam", "root"),
            create_date: ACCOUNT_SINCE,
            path: "/".to_owned(),
            user_id: scope.account,
            user_name: "root".to_owned(),
            ..wire::User::default()
        },
    };
    Ok(wire::GetUserResponse { user })
}

pub fn list(
    context: &Context,
    request: wire::ListUsersRequest,
) -> Result<wire::ListUsersResponse, ApiError> {
    let snapshot = context.snapshot();
    let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
    let all = snapshot.users.in_scope(&scope(context));
    let found = all.filter(|user| user.path.starts_with(&prefix)).collect();
    let (found, is_truncated, marker) = page_of(found, request.marker, request.max_items);
    Ok(wire::ListUsersResponse {
        is_truncated,
        marker,
        users: found,
    })
}

/// A page of users by name.
pub fn page_of(
    users: Vec<&std::sync::Arc<User>>,
    marker: Option<String>,
    max_items: Option<i32>,
) -> (Vec<wire::User>, Option<bool>, Option<String>) {
    let (users, is_truncated, marker) = page(users, |user| user.name.clone(), marker, max_items);
    let users = users.into_iter().map(|user| show(user, false)).collect();
    (users, is_truncated, marker)
}

pub fn update(
    context: &Context,
    request: wire::UpdateUserRequest,
) -> Result<wire::UpdateUserResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        let (name, path) = (request.new_user_name.clone(), request.new_path.clone());
        Ok(users::rename(tx, &scope, &request.user_name, name, path)?)
    })?;
    Ok(wire::UpdateUserResponse {})
}

pub fn delete(
    context: &Context,
    request: wire::DeleteUserRequest,
) -> Result<wire::DeleteUserResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| Ok(users::delete(tx, &scope, &request.user_name)?))?;
    Ok(wire::DeleteUserResponse {})
}

pub fn list_groups(
    context: &Context,
    request: wire::ListGroupsForUserRequest,
) -> Result<wire::ListGroupsForUserResponse, ApiError> {
    let snapshot = context.snapshot();
    let user = entities::find::<User>(&snapshot, &scope(context), &request.user_name)?;
    let found = memberships::of(&snapshot, user).collect();
    let (groups, is_truncated, marker) = groups::page_of(found, request.marker, request.max_items);
    Ok(wire::ListGroupsForUserResponse {
        groups,
        is_truncated,
        marker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use fogbank_types::{Scope, Tags};

    #[test]
    fn a_list_shows_neither_boundary_nor_tags() {
        let mut tx = Tx::for_test();
        let new = |name: &str, boundary: Option<&str>, tags: Tags| NewUser {
            name: name.to_owned(),
            path: None,
            permissions_boundary: boundary.map(str::to_owned),
            tags,
        };
        let tags = Tags::from([("k".to_owned(), "v".to_owned())]);
        let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        let scope = Scope::new("000000000000", "global");
        let full = users::create(&mut tx, &scope, new("a", Some(arn), tags)).unwrap();
        let bare = users::create(&mut tx, &scope, new("b", None, Tags::new())).unwrap();
        let parts = |user: &User, whole| {
            let shown = show(user, whole);
            (shown.permissions_boundary.is_some(), shown.tags.is_some())
        };
        assert_eq!(parts(&full, true), (true, true));
        assert_eq!(parts(&full, false), (false, false));
        assert_eq!(parts(&bare, true), (false, false));
    }
}
