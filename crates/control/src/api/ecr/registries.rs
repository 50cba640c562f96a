//! The registry as a whole, previews of lifecycle policies, scans.

use super::images::{read_name, show_name, wanted};
use super::{invalid, page, registry};
use crate::api::{ApiError, Context};
use crate::model::ecr::images::{self, ImageName};
use crate::model::ecr::{registries, repositories};
use fogbank_types::ecr::{Image, LifecyclePreview, Registry};
use fogbank_wire::ecr as wire;

pub fn describe(
    context: &Context,
    _: wire::DescribeRegistryRequest,
) -> Result<wire::DescribeRegistryResponse, ApiError> {
    Ok(wire::DescribeRegistryResponse {
        registry_id: Some(context.scope().account),
        replication_configuration: Some(wire::ReplicationConfiguration { rules: Vec::new() }),
    })
}

/// One region on one host has nowhere to replicate to; no rules are what there is.
pub fn put_replication(
    _: &Context,
    request: wire::PutReplicationConfigurationRequest,
) -> Result<wire::PutReplicationConfigurationResponse, ApiError> {
    if !request.replication_configuration.rules.is_empty() {
        return Err(invalid(
            "Replication of images is not offered by this region yet.",
        ));
    }
    Ok(wire::PutReplicationConfigurationResponse {
        replication_configuration: Some(request.replication_configuration),
    })
}

pub fn get_policy(
    context: &Context,
    _: wire::GetRegistryPolicyRequest,
) -> Result<wire::GetRegistryPolicyResponse, ApiError> {
    let scope = context.scope();
    Ok(wire::GetRegistryPolicyResponse {
        policy_text: Some(registries::policy(&context.snapshot(), &scope)?),
        registry_id: Some(scope.account),
    })
}

pub fn put_policy(
    context: &Context,
    request: wire::PutRegistryPolicyRequest,
) -> Result<wire::PutRegistryPolicyResponse, ApiError> {
    let (scope, text) = (context.scope(), request.policy_text);
    context.write(|tx| Ok(registries::set_policy(tx, &scope, text.clone())?))?;
    Ok(wire::PutRegistryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(scope.account),
    })
}

pub fn delete_policy(
    context: &Context,
    _: wire::DeleteRegistryPolicyRequest,
) -> Result<wire::DeleteRegistryPolicyResponse, ApiError> {
    let scope = context.scope();
    let text = context.write(|tx| Ok(registries::delete_policy(tx, &scope)?))?;
    Ok(wire::DeleteRegistryPolicyResponse {
        policy_text: Some(text),
        registry_id: Some(scope.account),
    })
}

fn show_scanning(row: Registry) -> wire::RegistryScanningConfiguration {
    let filter = |filter: String| wire::ScanningRepositoryFilter {
        filter,
        filter_type: "WILDCARD".to_owned(),
    };
    let rules = row.scan_rules.into_iter();
    let rules = rules.map(|(scan_frequency, filters)| wire::RegistryScanningRule {
        repository_filters: filters.into_iter().map(filter).collect(),
        scan_frequency,
    });
    wire::RegistryScanningConfiguration {
        rules: Some(rules.collect()),
        scan_type: Some(row.scan_type),
    }
}

pub fn get_scanning(
    context: &Context,
    _: wire::GetRegistryScanningConfigurationRequest,
) -> Result<wire::GetRegistryScanningConfigurationResponse, ApiError> {
    let scope = context.scope();
    let row = registries::registry(&context.snapshot(), &scope);
    Ok(wire::GetRegistryScanningConfigurationResponse {
        registry_id: Some(scope.account),
        scanning_configuration: Some(show_scanning(row)),
    })
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetRepositoryScanningConfiguration.html>
pub fn get_repositories_scanning(
    context: &Context,
    request: wire::BatchGetRepositoryScanningConfigurationRequest,
) -> Result<wire::BatchGetRepositoryScanningConfigurationResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let row = registries::registry(&snapshot, &scope);
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in request.repository_names {
        let Ok(repository) = repositories::find(&snapshot, &scope, &name) else {
            failures.push(wire::RepositoryScanningConfigurationFailure {
                failure_code: Some("REPOSITORY_NOT_FOUND".to_owned()),
                failure_reason: Some("REPOSITORY_NOT_FOUND".to_owned()),
                repository_name: Some(name),
            });
            continue;
        };
        let (frequency, filters) = registries::scanning_of(&row, repository);
        let filters = filters
            .into_iter()
            .map(|filter| wire::ScanningRepositoryFilter {
                filter,
                filter_type: "WILDCARD".to_owned(),
            });
        found.push(wire::RepositoryScanningConfiguration {
            applied_scan_filters: Some(filters.collect()),
            repository_arn: Some(repository.arn.clone()),
            repository_name: Some(name),
            scan_frequency: Some(frequency),
            scan_on_push: Some(repository.scan_on_push),
        });
    }
    Ok(wire::BatchGetRepositoryScanningConfigurationResponse {
        failures: Some(failures),
        scanning_configurations: Some(found),
    })
}

pub fn put_scanning(
    context: &Context,
    request: wire::PutRegistryScanningConfigurationRequest,
) -> Result<wire::PutRegistryScanningConfigurationResponse, ApiError> {
    let scope = context.scope();
    let rules: Vec<(String, Vec<String>)> = request
        .rules
        .unwrap_or_default()
        .into_iter()
        .map(|rule| {
            let filters = rule.repository_filters.into_iter().map(|one| one.filter);
            (rule.scan_frequency, filters.collect())
        })
        .collect();
    let row = context.write(|tx| {
        Ok(registries::set_scanning(
            tx,
            &scope,
            request.scan_type.clone(),
            rules.clone(),
        )?)
    })?;
    Ok(wire::PutRegistryScanningConfigurationResponse {
        registry_scanning_configuration: Some(show_scanning(row)),
    })
}

pub fn get_account_setting(
    context: &Context,
    request: wire::GetAccountSettingRequest,
) -> Result<wire::GetAccountSettingResponse, ApiError> {
    let value = registries::account_setting(&context.snapshot(), &context.scope(), &request.name)?;
    Ok(wire::GetAccountSettingResponse {
        name: Some(request.name),
        value: Some(value),
    })
}

pub fn put_account_setting(
    context: &Context,
    request: wire::PutAccountSettingRequest,
) -> Result<wire::PutAccountSettingResponse, ApiError> {
    let scope = context.scope();
    context.write(|tx| {
        Ok(registries::set_account_setting(
            tx,
            &scope,
            &request.name,
            &request.value,
        )?)
    })?;
    Ok(wire::PutAccountSettingResponse {
        name: Some(request.name),
        value: Some(request.value),
    })
}

pub fn start_preview(
    context: &Context,
    request: wire::StartLifecyclePolicyPreviewRequest,
) -> Result<wire::StartLifecyclePolicyPreviewResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let preview = context.write(|tx| {
        Ok(registries::start_preview(
            tx,
            &scope,
            &request.repository_name,
            request.lifecycle_policy_text.clone(),
        )?)
    })?;
    Ok(wire::StartLifecyclePolicyPreviewResponse {
        lifecycle_policy_text: Some(preview.policy),
        registry_id: Some(scope.account),
        repository_name: Some(preview.repository),
        status: Some("IN_PROGRESS".to_owned()),
    })
}

pub fn get_preview(
    context: &Context,
    request: wire::GetLifecyclePolicyPreviewRequest,
) -> Result<wire::GetLifecyclePolicyPreviewResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let preview = registries::preview(&snapshot, &scope, &request.repository_name)?;
    let asked: Vec<ImageName> = request
        .image_ids
        .unwrap_or_default()
        .into_iter()
        .map(read_name)
        .collect();
    let status = request.filter.unwrap_or_default().tag_status;
    let is_asked_for = |image: &Image| {
        let by_name = |name: &ImageName| {
            name.digest.as_ref().is_none_or(|one| *one == image.digest)
                && name
                    .tag
                    .as_ref()
                    .is_none_or(|tag| image.image_tags.contains(tag))
        };
        (asked.is_empty() || asked.iter().any(by_name)) && wanted(image, status.as_deref())
    };
    let images = images::of(&snapshot, &scope, &preview.repository);
    let results = images
        .filter(|image| is_asked_for(image))
        .filter_map(|image| {
            let (_, rule) = preview
                .expiring
                .iter()
                .find(|(digest, _)| *digest == image.digest)?;
            Some(show_result(image, *rule))
        });
    let (results, next_token) = page(
        results.collect(),
        |result| result.image_digest.clone().unwrap_or_default(),
        request.next_token,
        request.max_results,
    )?;
    Ok(show_preview(preview, results, next_token))
}

fn show_result(image: &Image, rule: u64) -> wire::LifecyclePolicyPreviewResult {
    wire::LifecyclePolicyPreviewResult {
        action: Some(wire::LifecyclePolicyRuleAction {
            r#type: Some("EXPIRE".to_owned()),
            ..wire::LifecyclePolicyRuleAction::default()
        }),
        applied_rule_priority: Some(i32::try_from(rule).unwrap_or(i32::MAX)),
        image_digest: Some(image.digest.clone()),
        image_pushed_at: Some(image.pushed_at),
        image_tags: (!image.image_tags.is_empty()).then(|| image.image_tags.clone()),
        storage_class: None,
    }
}

fn show_preview(
    preview: &LifecyclePreview,
    results: Vec<wire::LifecyclePolicyPreviewResult>,
    next_token: Option<String>,
) -> wire::GetLifecyclePolicyPreviewResponse {
    let total = i32::try_from(preview.expiring.len()).unwrap_or(i32::MAX);
    wire::GetLifecyclePolicyPreviewResponse {
        lifecycle_policy_text: Some(preview.policy.clone()),
        next_token,
        preview_results: Some(results),
        registry_id: Some(preview.scope.account.clone()),
        repository_name: Some(preview.repository.clone()),
        status: Some("COMPLETE".to_owned()),
        summary: Some(wire::LifecyclePolicyPreviewSummary {
            expiring_image_total_count: Some(total),
            ..wire::LifecyclePolicyPreviewSummary::default()
        }),
    }
}

/// Answered, so that clients that scan after each push go on, and honestly: the scan failed, as there is no scanner.
pub fn start_scan(
    context: &Context,
    request: wire::StartImageScanRequest,
) -> Result<wire::StartImageScanResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let name = read_name(request.image_id);
    let image = images::find(&snapshot, &scope, &request.repository_name, &name)?;
    Ok(wire::StartImageScanResponse {
        image_id: Some(show_name(ImageName {
            digest: Some(image.digest.clone()),
            tag: name.tag,
        })),
        image_scan_status: Some(wire::ImageScanStatus {
            description: Some("Scanning of images is not available in this region.".to_owned()),
            status: Some("FAILED".to_owned()),
        }),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
    })
}

pub fn scan_findings(
    context: &Context,
    request: wire::DescribeImageScanFindingsRequest,
) -> Result<wire::DescribeImageScanFindingsResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let name = read_name(request.image_id);
    Err(registries::scan_findings(&snapshot, &scope, &request.repository_name, &name).into())
}
