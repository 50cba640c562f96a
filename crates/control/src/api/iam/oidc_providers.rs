//! OpenID Connect providers.

use super::{read_tags, scope, show_tags};
use crate::api::{ApiError, Context};
use crate::model::iam::oidc_providers::{self, NewProvider};
use fogbank_wire::iam as wire;

pub fn create(
    context: &Context,
    request: wire::CreateOpenIDConnectProviderRequest,
) -> Result<wire::CreateOpenIDConnectProviderResponse, ApiError> {
    let (scope, tags) = (scope(context), read_tags(request.tags)?);
    let provider = context.write(|tx| {
        let new = NewProvider {
            url: request.url.clone(),
            client_ids: request.client_id_list.clone().unwrap_or_default(),
            thumbprints: request.thumbprint_list.clone().unwrap_or_default(),
            tags: tags.clone(),
        };
        Ok(oidc_providers::create(tx, &scope, new)?)
    })?;
    Ok(wire::CreateOpenIDConnectProviderResponse {
        tags: (!provider.tags.is_empty()).then(|| show_tags(&provider.tags)),
        open_id_connect_provider_arn: Some(provider.arn),
    })
}

pub fn get(
    context: &Context,
    request: wire::GetOpenIDConnectProviderRequest,
) -> Result<wire::GetOpenIDConnectProviderResponse, ApiError> {
    let snapshot = context.snapshot();
    let arn = &request.open_id_connect_provider_arn;
    let provider = oidc_providers::find(&snapshot, &scope(context), arn)?;
    Ok(wire::GetOpenIDConnectProviderResponse {
        url: Some(provider.url.clone()),
        client_id_list: Some(provider.client_ids.clone()),
        thumbprint_list: Some(provider.thumbprints.clone()),
        create_date: Some(provider.created_at),
        tags: (!provider.tags.is_empty()).then(|| show_tags(&provider.tags)),
    })
}

pub fn list(
    context: &Context,
    _: wire::ListOpenIDConnectProvidersRequest,
) -> Result<wire::ListOpenIDConnectProvidersResponse, ApiError> {
    let snapshot = context.snapshot();
    let providers = snapshot.oidc_providers.in_scope(&scope(context));
    let list = providers.map(|provider| wire::OpenIDConnectProviderListEntry {
        arn: Some(provider.arn.clone()),
    });
    Ok(wire::ListOpenIDConnectProvidersResponse {
        open_id_connect_provider_list: Some(list.collect()),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteOpenIDConnectProviderRequest,
) -> Result<wire::DeleteOpenIDConnectProviderResponse, ApiError> {
    let scope = scope(context);
    context.write(|tx| {
        oidc_providers::delete(tx, &scope, &request.open_id_connect_provider_arn);
        Ok(())
    })?;
    Ok(wire::DeleteOpenIDConnectProviderResponse {})
}

pub fn add_client_id(
    context: &Context,
    request: wire::AddClientIDToOpenIDConnectProviderRequest,
) -> Result<wire::AddClientIDToOpenIDConnectProviderResponse, ApiError> {
    let (scope, arn) = (scope(context), &request.open_id_connect_provider_arn);
    context.write(|tx| {
        let id = request.client_id.clone();
        Ok(oidc_providers::add_client_id(tx, &scope, arn, id)?)
    })?;
    Ok(wire::AddClientIDToOpenIDConnectProviderResponse {})
}

pub fn remove_client_id(
    context: &Context,
    request: wire::RemoveClientIDFromOpenIDConnectProviderRequest,
) -> Result<wire::RemoveClientIDFromOpenIDConnectProviderResponse, ApiError> {
    let (scope, arn) = (scope(context), &request.open_id_connect_provider_arn);
    context.write(|tx| {
        let id = &request.client_id;
        Ok(oidc_providers::remove_client_id(tx, &scope, arn, id)?)
    })?;
    Ok(wire::RemoveClientIDFromOpenIDConnectProviderResponse {})
}

pub fn update_thumbprints(
    context: &Context,
    request: wire::UpdateOpenIDConnectProviderThumbprintRequest,
) -> Result<wire::UpdateOpenIDConnectProviderThumbprintResponse, ApiError> {
    let (scope, arn) = (scope(context), &request.open_id_connect_provider_arn);
    context.write(|tx| {
        let thumbprints = request.thumbprint_list.clone();
        Ok(oidc_providers::update_thumbprints(
            tx,
            &scope,
            arn,
            thumbprints,
        )?)
    })?;
    Ok(wire::UpdateOpenIDConnectProviderThumbprintResponse {})
}
