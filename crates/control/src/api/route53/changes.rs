//! Changes.

use super::bare;
use crate::api::{ApiError, Context};
use crate::model::route53::changes;
use fogbank_types::route53::Change;
use fogbank_wire::route53::*;

pub fn get(context: &Context, input: GetChangeRequest) -> Result<GetChangeResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = changes::find(&snapshot, &scope, bare(&input.id))?;
    Ok(GetChangeResponse {
        change_info: render(&row),
    })
}

pub fn render(row: &Change) -> ChangeInfo {
    ChangeInfo {
        comment: row.comment.clone(),
        id: format!("/change/{}", row.id),
        status: if row.in_sync { "INSYNC" } else { "PENDING" }.to_owned(),
        submitted_at: row.submitted_at,
    }
}
