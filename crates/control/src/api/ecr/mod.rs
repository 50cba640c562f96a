//! ECR: shapes to commands and rows to shapes. The bytes themselves go through `registry`.

mod images;
mod layers;
mod policies;
mod registries;
mod repositories;

use super::{ApiError, Context};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Scope;

super::handlers! {
    Ecr:
    write CreateRepository => repositories::create,
    read DescribeRepositories => repositories::describe,
    write DeleteRepository => repositories::delete,
    write PutImageTagMutability => repositories::put_tag_mutability,
    write PutImageScanningConfiguration => repositories::put_scanning,
    read GetAuthorizationToken => repositories::authorization_token,
    write TagResource => repositories::tag,
    write UntagResource => repositories::untag,
    read ListTagsForResource => repositories::list_tags,
    write SetRepositoryPolicy => policies::set,
    read GetRepositoryPolicy => policies::get,
    write DeleteRepositoryPolicy => policies::delete,
    write PutLifecyclePolicy => policies::put_lifecycle,
    read GetLifecyclePolicy => policies::get_lifecycle,
    write DeleteLifecyclePolicy => policies::delete_lifecycle,
    read ListImages => images::list,
    read DescribeImages => images::describe,
    write BatchGetImage => images::batch_get,
    write BatchDeleteImage => images::batch_delete,
    write PutImage => images::put,
    read BatchCheckLayerAvailability => layers::check_availability,
    read GetDownloadUrlForLayer => layers::download_url,
    write InitiateLayerUpload => layers::initiate,
    write UploadLayerPart => layers::upload_part,
    write CompleteLayerUpload => layers::complete,
    read DescribeRegistry => registries::describe,
    read PutReplicationConfiguration => registries::put_replication,
    read GetRegistryPolicy => registries::get_policy,
    write PutRegistryPolicy => registries::put_policy,
    write DeleteRegistryPolicy => registries::delete_policy,
    read GetRegistryScanningConfiguration => registries::get_scanning,
    read BatchGetRepositoryScanningConfiguration => registries::get_repositories_scanning,
    write PutRegistryScanningConfiguration => registries::put_scanning,
    read GetAccountSetting => registries::get_account_setting,
    write PutAccountSetting => registries::put_account_setting,
    write StartLifecyclePolicyPreview => registries::start_preview,
    read GetLifecyclePolicyPreview => registries::get_preview,
    read StartImageScan => registries::start_scan,
    read DescribeImageScanFindings => registries::scan_findings,
}

/// The registry that a request names: the caller's own if it names none.
fn registry(context: &Context, id: Option<&String>) -> Scope {
    match id {
        Some(account) => Scope::new(account, &context.caller.region),
        None => context.scope(),
    }
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", text)
}

/// One page of a list whose keys grow; the token names the next page's first key.
fn page<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    next_token: Option<String>,
    max_results: Option<i32>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    if let Some(token) = next_token {
        let start = STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let start = start.ok_or_else(|| invalid("Invalid parameter at 'nextToken'"))?;
        items.retain(|item| key(item) >= start);
    }
    let max = max_results.map_or(100, |max| max.max(1) as usize);
    let next = items.get(max).map(|item| STANDARD.encode(key(item)));
    items.truncate(max);
    Ok((items, next))
}
