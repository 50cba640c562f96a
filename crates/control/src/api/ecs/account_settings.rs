//! Account settings.

use super::page;
use crate::api::{ApiError, Context};
use crate::model::ecs::account_settings;
use fogbank_types::ecs::AccountSetting;
use fogbank_wire::ecs as wire;

fn show(setting: AccountSetting) -> wire::Setting {
    let managed = account_settings::is_managed(&setting.name);
    wire::Setting {
        name: Some(setting.name),
        principal_arn: Some(setting.principal_arn),
        r#type: Some(if managed { "aws_managed" } else { "user" }.to_owned()),
        value: Some(setting.value),
    }
}

pub fn put(
    context: &Context,
    request: wire::PutAccountSettingRequest,
) -> Result<wire::PutAccountSettingResponse, ApiError> {
    let scope = context.scope();
    let principal = request.principal_arn.as_deref();
    let setting = context.write(|tx| {
        Ok(account_settings::put(
            tx,
            &scope,
            &request.name,
            principal,
            &request.value,
        )?)
    })?;
    Ok(wire::PutAccountSettingResponse {
        setting: Some(show(setting)),
    })
}

pub fn put_default(
    context: &Context,
    request: wire::PutAccountSettingDefaultRequest,
) -> Result<wire::PutAccountSettingDefaultResponse, ApiError> {
    let scope = context.scope();
    let setting = context.write(|tx| {
        Ok(account_settings::put(
            tx,
            &scope,
            &request.name,
            None,
            &request.value,
        )?)
    })?;
    Ok(wire::PutAccountSettingDefaultResponse {
        setting: Some(show(setting)),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteAccountSettingRequest,
) -> Result<wire::DeleteAccountSettingResponse, ApiError> {
    let scope = context.scope();
    let principal = request.principal_arn.as_deref();
    let setting = context.write(|tx| {
        Ok(account_settings::delete(
            tx,
            &scope,
            &request.name,
            principal,
        )?)
    })?;
    Ok(wire::DeleteAccountSettingResponse {
        setting: Some(show(setting)),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListAccountSettingsRequest,
) -> Result<wire::ListAccountSettingsResponse, ApiError> {
    let found = account_settings::list(
        &context.snapshot(),
        &context.scope(),
        request.name.as_deref(),
        request.principal_arn.as_deref(),
        request.effective_settings == Some(true),
    )?;
    let wanted = |setting: &AccountSetting| {
        request
            .value
            .as_ref()
            .is_none_or(|value| *value == setting.value)
    };
    let found: Vec<AccountSetting> = found.into_iter().filter(wanted).collect();
    let (found, next_token) = page(
        found,
        |s| s.name.clone(),
        request.next_token,
        request.max_results,
    )?;
    Ok(wire::ListAccountSettingsResponse {
        next_token,
        settings: Some(found.into_iter().map(show).collect()),
    })
}
