//! Permissions boundaries of roles and users.

use super::scope;
use crate::api::{ApiError, Context};
use crate::model::iam::identities;
use fogbank_types::iam::{Role, User};
use fogbank_wire::iam as wire;

pub fn show(boundary: Option<&String>) -> Option<wire::AttachedPermissionsBoundary> {
    boundary.map(|arn| wire::AttachedPermissionsBoundary {
        permissions_boundary_arn: Some(arn.clone()),
        permissions_boundary_type: Some("Policy".to_owned()),
    })
}

macro_rules! operations {
    ($module:ident: $row:ty, $name:ident; $put:ident => $put_done:ident, $delete:ident => $deleted:ident) => {
        pub mod $module {
            use super::*;

            pub fn put(
                context: &Context,
                request: wire::$put,
            ) -> Result<wire::$put_done, ApiError> {
                let (scope, name) = (scope(context), &request.$name);
                context.write(|tx| {
                    let boundary = Some(request.permissions_boundary.clone());
                    Ok(identities::set_boundary::<$row>(
                        tx, &scope, name, boundary,
                    )?)
                })?;
                Ok(wire::$put_done {})
            }

            pub fn delete(
                context: &Context,
                request: wire::$delete,
            ) -> Result<wire::$deleted, ApiError> {
                let (scope, name) = (scope(context), &request.$name);
                context
                    .write(|tx| Ok(identities::set_boundary::<$row>(tx, &scope, name, None)?))?;
                Ok(wire::$deleted {})
            }
        }
    };
}

operations! {
    role: Role, role_name;
    PutRolePermissionsBoundaryRequest => PutRolePermissionsBoundaryResponse,
    DeleteRolePermissionsBoundaryRequest => DeleteRolePermissionsBoundaryResponse
}
operations! {
    user: User, user_name;
    PutUserPermissionsBoundaryRequest => PutUserPermissionsBoundaryResponse,
    DeleteUserPermissionsBoundaryRequest => DeleteUserPermissionsBoundaryResponse
}
