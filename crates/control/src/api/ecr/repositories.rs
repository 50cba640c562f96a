//! Repositories, their tags, and the token that clients log in with.

use super::{page, registry};
use crate::api::{ApiError, Context};
use crate::model::ecr::images;
use crate::model::ecr::repositories::{self, NewRepository};
use crate::registry::{collector, password as registry_password};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_pki::Sessions;
use fogbank_types::Tags;
use fogbank_types::ecr::Repository;
use fogbank_wire::ecr as wire;

/// How long a token works (fact IMG-1).
const TOKEN_MS: i64 = 12 * 3600 * 1000;

fn not_offered(what: &str) -> ApiError {
    super::invalid(format!("{what} is not offered by this region yet."))
}

fn read_tags(tags: Vec<wire::Tag>) -> Tags {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// `WILDCARD` is the only type of filter.
fn read_exclusions(filters: Option<Vec<wire::ImageTagMutabilityExclusionFilter>>) -> Vec<String> {
    let filters = filters.unwrap_or_default();
    filters.into_iter().map(|filter| filter.filter).collect()
}

fn show_exclusions(
    repository: &Repository,
) -> Option<Vec<wire::ImageTagMutabilityExclusionFilter>> {
    let show = |filter: &String| wire::ImageTagMutabilityExclusionFilter {
        filter: filter.clone(),
        filter_type: "WILDCARD".to_owned(),
    };
    let list = &repository.mutability_exclusions;
    (!list.is_empty()).then(|| list.iter().map(show).collect())
}

pub fn create(
    context: &Context,
    request: wire::CreateRepositoryRequest,
) -> Result<wire::CreateRepositoryResponse, ApiError> {
    if request
        .encryption_configuration
        .is_some_and(|c| c.encryption_type != "AES256")
    {
        return Err(not_offered("An encryption type other than AES256"));
    }
    let scope = registry(context, request.registry_id.as_ref());
    let new = NewRepository {
        name: request.repository_name,
        tag_mutability: request.image_tag_mutability,
        mutability_exclusions: read_exclusions(request.image_tag_mutability_exclusion_filters),
        scan_on_push: request
            .image_scanning_configuration
            .and_then(|c| c.scan_on_push)
            == Some(true),
        tags: read_tags(request.tags.unwrap_or_default()),
    };
    let repository = context.write(|tx| Ok(repositories::create(tx, &scope, new.clone())?))?;
    Ok(wire::CreateRepositoryResponse {
        repository: Some(show(&repository)),
    })
}

fn show(repository: &Repository) -> wire::Repository {
    wire::Repository {
        created_at: Some(repository.created_at),
        encryption_configuration: Some(wire::EncryptionConfiguration {
            encryption_type: "AES256".to_owned(),
            kms_key: None,
        }),
        image_scanning_configuration: Some(wire::ImageScanningConfiguration {
            scan_on_push: Some(repository.scan_on_push),
        }),
        image_tag_mutability: Some(repository.tag_mutability.clone()),
        image_tag_mutability_exclusion_filters: show_exclusions(repository),
        registry_id: Some(repository.scope.account.clone()),
        repository_arn: Some(repository.arn.clone()),
        repository_name: Some(repository.name.clone()),
        repository_uri: Some(repository.uri.clone()),
    }
}

pub fn describe(
    context: &Context,
    request: wire::DescribeRepositoriesRequest,
) -> Result<wire::DescribeRepositoriesResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let found = match request.repository_names.filter(|names| !names.is_empty()) {
        Some(names) => names
            .iter()
            .map(|name| repositories::find(&snapshot, &scope, name))
            .collect::<Result<Vec<_>, _>>()?,
        None => snapshot.repositories.in_scope(&scope).collect(),
    };
    let (found, next_token) = page(
        found,
        |row| row.name.clone(),
        request.next_token,
        request.max_results,
    )?;
    let repositories = Some(found.into_iter().map(|row| show(row)).collect());
    Ok(wire::DescribeRepositoriesResponse {
        next_token,
        repositories,
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteRepositoryRequest,
) -> Result<wire::DeleteRepositoryResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let (name, force) = (request.repository_name, request.force == Some(true));
    let snapshot = context.snapshot();
    let images = images::of(&snapshot, &scope, &name).map(|image| image.digest.clone());
    let layers = snapshot
        .layers
        .with_prefix(&scope, &format!("{name}@"))
        .map(|layer| layer.digest.clone());
    let held: Vec<String> = images.chain(layers).collect();
    let repository = context.write(|tx| Ok(repositories::delete(tx, &scope, &name, force)?))?;
    collector::collect(context.config(), || context.snapshot(), &held);
    Ok(wire::DeleteRepositoryResponse {
        repository: Some(show(&repository)),
    })
}

pub fn put_tag_mutability(
    context: &Context,
    request: wire::PutImageTagMutabilityRequest,
) -> Result<wire::PutImageTagMutabilityResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let (mutability, exclusions) = repositories::checked_mutability(
        Some(&request.image_tag_mutability),
        read_exclusions(request.image_tag_mutability_exclusion_filters),
    )?;
    let row = context.write(|tx| {
        Ok(repositories::update(
            tx,
            &scope,
            &request.repository_name,
            |row| {
                row.tag_mutability = mutability.clone();
                row.mutability_exclusions = exclusions.clone();
            },
        )?)
    })?;
    Ok(wire::PutImageTagMutabilityResponse {
        image_tag_mutability_exclusion_filters: show_exclusions(&row),
        image_tag_mutability: Some(row.tag_mutability),
        registry_id: Some(scope.account),
        repository_name: Some(row.name),
    })
}

pub fn put_scanning(
    context: &Context,
    request: wire::PutImageScanningConfigurationRequest,
) -> Result<wire::PutImageScanningConfigurationResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let scan_on_push = request.image_scanning_configuration.scan_on_push == Some(true);
    let row = context.write(|tx| {
        Ok(repositories::update(
            tx,
            &scope,
            &request.repository_name,
            |row| row.scan_on_push = scan_on_push,
        )?)
    })?;
    Ok(wire::PutImageScanningConfigurationResponse {
        image_scanning_configuration: Some(wire::ImageScanningConfiguration {
            scan_on_push: Some(scan_on_push),
        }),
        registry_id: Some(scope.account),
        repository_name: Some(row.name),
    })
}

/// The password says whose credentials it is got with; a registry that enforces nothing takes any.
pub fn authorization_token(
    context: &Context,
    request: wire::GetAuthorizationTokenRequest,
) -> Result<wire::GetAuthorizationTokenResponse, ApiError> {
    let own = context.scope();
    let registries = request
        .registry_ids
        .filter(|ids| !ids.is_empty())
        .unwrap_or_else(|| vec![own.account.clone()]);
    let expires_at = context.now().plus_ms(TOKEN_MS);
    let sessions = Sessions::open(&context.config().data_dir).map_err(|error| {
        tracing::error!(%error, "no password can be given");
        ApiError::new("ServerException", "The region's key can't be read.").with_status(500)
    })?;
    let token = context.principal().session_token.as_deref();
    let data = registries.iter().map(|account| {
        let scope = fogbank_types::Scope::new(account, &own.region);
        let key = &context.caller.access_key;
        let password = registry_password(&sessions, key, token, expires_at);
        wire::AuthorizationData {
            authorization_token: Some(STANDARD.encode(format!("AWS:{password}"))),
            expires_at: Some(expires_at),
            proxy_endpoint: Some(format!("https://{}", repositories::host(&scope))),
        }
    });
    Ok(wire::GetAuthorizationTokenResponse {
        authorization_data: Some(data.collect()),
    })
}

pub fn tag(
    context: &Context,
    request: wire::TagResourceRequest,
) -> Result<wire::TagResourceResponse, ApiError> {
    let (scope, add) = (context.scope(), read_tags(request.tags));
    context.write(|tx| {
        Ok(repositories::change_tags(
            tx,
            &scope,
            &request.resource_arn,
            add.clone(),
            &[],
        )?)
    })?;
    Ok(wire::TagResourceResponse {})
}

pub fn untag(
    context: &Context,
    request: wire::UntagResourceRequest,
) -> Result<wire::UntagResourceResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(repositories::change_tags(
            tx,
            &scope,
            &request.resource_arn,
            Tags::new(),
            &request.tag_keys,
        )?)
    })?;
    Ok(wire::UntagResourceResponse {})
}

pub fn list_tags(
    context: &Context,
    request: wire::ListTagsForResourceRequest,
) -> Result<wire::ListTagsForResourceResponse, ApiError> {
    let snapshot = context.snapshot();
    let repository = repositories::by_arn(&snapshot, &context.scope(), &request.resource_arn)?;
    let show = |(key, value): (&String, &String)| wire::Tag {
        key: key.clone(),
        value: value.clone(),
    };
    Ok(wire::ListTagsForResourceResponse {
        tags: Some(repository.tags.iter().map(show).collect()),
    })
}
