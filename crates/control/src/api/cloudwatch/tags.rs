//! Tags of alarms and dashboards.

use super::{dashboards, tags_of};
use crate::api::{ApiError, Context};
use crate::model::Tx;
use crate::model::cloudwatch::{Refusal, alarms};
use fogbank_types::alarm::{Alarm, Dashboard};
use fogbank_types::{Scope, Snapshot, Tags};
use fogbank_wire::cloudwatch as wire;

/// What has tags.
enum Resource {
    Alarm(Scope, String),
    Dashboard(Scope, String),
}

fn resource(context: &Context, arn: &str) -> Result<Resource, Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "cloudwatch", _, account, rest] = parts.as_slice() else {
        return Err(Refusal::Value(format!(
            "The value {arn} for parameter ResourceARN is invalid."
        )));
    };
    if *account != context.caller.account {
        return Err(Refusal::NoSuchResource);
    }
    if let Some(name) = rest.strip_prefix("alarm:") {
        return Ok(Resource::Alarm(context.scope(), name.to_owned()));
    }
    match rest.strip_prefix("dashboard/") {
        Some(name) => Ok(Resource::Dashboard(
            dashboards::scope_of(context),
            name.to_owned(),
        )),
        None => Err(Refusal::NoSuchResource),
    }
}

fn tags(snapshot: &Snapshot, resource: &Resource) -> Result<Tags, Refusal> {
    let found = match resource {
        Resource::Alarm(scope, name) => snapshot.alarms.get(scope, name).map(|row| &row.tags),
        Resource::Dashboard(scope, name) => {
            snapshot.dashboards.get(scope, name).map(|row| &row.tags)
        }
    };
    found.cloned().ok_or(Refusal::NoSuchResource)
}

fn change(tx: &mut Tx, resource: &Resource, change: impl FnOnce(&mut Tags)) -> Result<(), Refusal> {
    let mut all = tags(tx.snapshot(), resource)?;
    change(&mut all);
    alarms::check_tags(&all)?;
    match resource {
        Resource::Alarm(scope, name) => tx.update::<Alarm>(scope, name, |row| row.tags = all),
        Resource::Dashboard(scope, name) => {
            tx.update::<Dashboard>(scope, name, |row| row.tags = all)
        }
    };
    Ok(())
}

pub fn tag(
    context: &Context,
    request: wire::TagResourceInput,
) -> Result<wire::TagResourceOutput, ApiError> {
    let resource = resource(context, &request.resource_arn)?;
    let new = tags_of(Some(request.tags));
    context.write(|tx| Ok(change(tx, &resource, |all| all.extend(new.clone()))?))?;
    Ok(wire::TagResourceOutput {})
}

pub fn untag(
    context: &Context,
    request: wire::UntagResourceInput,
) -> Result<wire::UntagResourceOutput, ApiError> {
    let resource = resource(context, &request.resource_arn)?;
    let keys = request.tag_keys;
    context.write(|tx| {
        Ok(change(tx, &resource, |all| {
            all.retain(|key, _| !keys.contains(key))
        })?)
    })?;
    Ok(wire::UntagResourceOutput {})
}

pub fn list(
    context: &Context,
    request: wire::ListTagsForResourceInput,
) -> Result<wire::ListTagsForResourceOutput, ApiError> {
    let resource = resource(context, &request.resource_arn)?;
    let all = tags(&context.snapshot(), &resource)?;
    let shape = |(key, value)| wire::Tag { key, value };
    Ok(wire::ListTagsForResourceOutput {
        tags: Some(all.into_iter().map(shape).collect()),
    })
}
