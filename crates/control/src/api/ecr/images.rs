//! Images of a repository.

use super::{invalid, page, registry};
use crate::api::{ApiError, Context};
use crate::model::Refused as _;
use crate::model::ecr::images::{self, ImageName, NewImage};
use crate::model::ecr::manifest::{self, BYTES_MAX, is_digest, is_tag};
use crate::model::ecr::{Refusal, repositories};
use crate::registry::collector;
use fogbank_store::blob::{BlobError, BlobStore, Digest};
use fogbank_types::Scope;
use fogbank_types::ecr::Image;
use fogbank_wire::ecr as wire;

pub fn read_name(id: wire::ImageIdentifier) -> ImageName {
    ImageName {
        digest: id.image_digest,
        tag: id.image_tag,
    }
}

pub fn show_name(name: ImageName) -> wire::ImageIdentifier {
    wire::ImageIdentifier {
        image_digest: name.digest,
        image_tag: name.tag,
    }
}

/// Whether an image passes `filter.tagStatus`.
pub fn wanted(image: &Image, status: Option<&str>) -> bool {
    match status {
        Some("TAGGED") => !image.image_tags.is_empty(),
        Some("UNTAGGED") => image.image_tags.is_empty(),
        _ => true,
    }
}

/// No image is archived here, so a filter for those finds none.
fn is_status_of_ours(status: Option<&str>) -> bool {
    matches!(status, None | Some("ACTIVE" | "ANY"))
}

pub fn list(
    context: &Context,
    request: wire::ListImagesRequest,
) -> Result<wire::ListImagesResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    repositories::find(&snapshot, &scope, &request.repository_name)?;
    let filter = request.filter.unwrap_or_default();
    let mut names = Vec::new();
    for image in images::of(&snapshot, &scope, &request.repository_name) {
        if !wanted(image, filter.tag_status.as_deref())
            || !is_status_of_ours(filter.image_status.as_deref())
        {
            continue;
        }
        let name = |tag: Option<String>| ImageName {
            digest: Some(image.digest.clone()),
            tag,
        };
        if image.image_tags.is_empty() {
            names.push(name(None));
        }
        names.extend(image.image_tags.iter().map(|tag| name(Some(tag.clone()))));
    }
    let key = |name: &ImageName| {
        format!(
            "{}@{}",
            name.digest.as_deref().unwrap_or_default(),
            name.tag.as_deref().unwrap_or_default()
        )
    };
    let (names, next_token) = page(names, key, request.next_token, request.max_results)?;
    Ok(wire::ListImagesResponse {
        image_ids: Some(names.into_iter().map(show_name).collect()),
        next_token,
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeImagesRequest,
) -> Result<wire::DescribeImagesResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let repository = &request.repository_name;
    repositories::find(&snapshot, &scope, repository)?;
    let filter = request.filter.unwrap_or_default();
    let mut found: Vec<&std::sync::Arc<Image>> =
        match request.image_ids.filter(|ids| !ids.is_empty()) {
            Some(ids) => ids
                .into_iter()
                .map(|id| images::find(&snapshot, &scope, repository, &read_name(id)))
                .collect::<Result<_, _>>()?,
            None => images::of(&snapshot, &scope, repository).collect(),
        };
    found.retain(|image| {
        wanted(image, filter.tag_status.as_deref())
            && is_status_of_ours(filter.image_status.as_deref())
    });
    found.sort_by(|a, b| a.digest.cmp(&b.digest));
    found.dedup_by(|a, b| a.digest == b.digest);
    let (found, next_token) = page(
        found,
        |image| image.digest.clone(),
        request.next_token,
        request.max_results,
    )?;
    let show = |image: &Image| wire::ImageDetail {
        artifact_media_type: None,
        image_digest: Some(image.digest.clone()),
        image_manifest_media_type: Some(image.media_type.clone()),
        image_pushed_at: Some(image.pushed_at),
        image_size_in_bytes: Some(image.size as i64),
        image_status: Some("ACTIVE".to_owned()),
        image_tags: (!image.image_tags.is_empty()).then(|| image.image_tags.clone()),
        registry_id: Some(scope.account.clone()),
        repository_name: Some(image.repository.clone()),
        ..wire::ImageDetail::default()
    };
    let details = found.into_iter().map(|image| show(image)).collect();
    Ok(wire::DescribeImagesResponse {
        image_details: Some(details),
        next_token,
    })
}

fn failure(name: &ImageName, code: &str, reason: &str) -> wire::ImageFailure {
    wire::ImageFailure {
        failure_code: Some(code.to_owned()),
        failure_reason: Some(reason.to_owned()),
        image_id: Some(show_name(name.clone())),
    }
}

/// Why an image that was asked for cannot be one.
fn malformed(name: &ImageName) -> Option<wire::ImageFailure> {
    if name
        .digest
        .as_deref()
        .is_some_and(|digest| !is_digest(digest))
    {
        return Some(failure(
            name,
            "InvalidImageDigest",
            "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
        ));
    }
    if name.tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
        return Some(failure(
            name,
            "InvalidImageTag",
            "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'",
        ));
    }
    if name.digest.is_none() && name.tag.is_none() {
        return Some(failure(
            name,
            "MissingDigestAndTag",
            "Invalid request parameters: both tag and digest cannot be null",
        ));
    }
    None
}

fn blobs(context: &Context) -> Result<BlobStore, ApiError> {
    BlobStore::open(&context.config().data_dir).map_err(|error| broken(&error))
}

/// The caller sees that the region is at fault, not what broke.
pub fn broken(error: &BlobError) -> ApiError {
    tracing::error!(%error, "the registry failed");
    ApiError::new("ServerException", "The registry failed.").with_status(500)
}

fn show(
    context: &Context,
    scope: &Scope,
    image: &Image,
    tag: Option<String>,
) -> Result<wire::Image, ApiError> {
    let digest: Digest = image
        .digest
        .parse()
        .map_err(|error: BlobError| broken(&error))?;
    let bytes = blobs(context)?
        .read(&digest, BYTES_MAX as u64)
        .map_err(|error| broken(&error))?;
    Ok(wire::Image {
        image_id: Some(wire::ImageIdentifier {
            image_digest: Some(image.digest.clone()),
            image_tag: tag,
        }),
        image_manifest: bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        image_manifest_media_type: Some(image.media_type.clone()),
        registry_id: Some(scope.account.clone()),
        repository_name: Some(image.repository.clone()),
    })
}

pub fn batch_get(
    context: &Context,
    request: wire::BatchGetImageRequest,
) -> Result<wire::BatchGetImageResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    repositories::find(&snapshot, &scope, &request.repository_name)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in request.image_ids.into_iter().map(read_name) {
        if let Some(failure) = malformed(&name) {
            failures.push(failure);
            continue;
        }
        match images::find(&snapshot, &scope, &request.repository_name, &name) {
            Ok(image) => found.push(show(context, &scope, image, name.tag)?),
            Err(_) => failures.push(failure(&name, "ImageNotFound", "Requested image not found")),
        }
    }
    Ok(wire::BatchGetImageResponse {
        failures: Some(failures),
        images: Some(found),
    })
}

pub fn batch_delete(
    context: &Context,
    request: wire::BatchDeleteImageRequest,
) -> Result<wire::BatchDeleteImageResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let names: Vec<ImageName> = request.image_ids.into_iter().map(read_name).collect();
    let (gone, failures) = context.write(|tx| {
        repositories::find(tx.snapshot(), &scope, &request.repository_name)?;
        let (mut gone, mut failures) = (Vec::new(), Vec::new());
        for name in &names {
            if let Some(failure) = malformed(name) {
                failures.push(failure);
                continue;
            }
            match images::delete(tx, &scope, &request.repository_name, name) {
                Ok(removed) => gone.extend(removed),
                Err(refusal @ Refusal::ImageReferencedByManifestList { .. }) => {
                    failures.push(failure(name, refusal.code(), &refusal.to_string()));
                }
                Err(_) => {
                    failures.push(failure(name, "ImageNotFound", "Requested image not found"))
                }
            }
        }
        Ok((gone, failures))
    })?;
    let digests: Vec<String> = gone.iter().filter_map(|name| name.digest.clone()).collect();
    collector::collect(context.config(), || context.snapshot(), &digests);
    Ok(wire::BatchDeleteImageResponse {
        failures: Some(failures),
        image_ids: Some(gone.into_iter().map(show_name).collect()),
    })
}

pub fn put(
    context: &Context,
    request: wire::PutImageRequest,
) -> Result<wire::PutImageResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let bytes = request.image_manifest.into_bytes();
    let digest = Digest::of(&bytes);
    if let Some(given) = request
        .image_digest
        .filter(|given| *given != digest.to_string())
    {
        return Err(Refusal::ImageDigestDoesNotMatch {
            given,
            actual: digest.to_string(),
        }
        .into());
    }
    let manifest =
        manifest::read(&bytes, request.image_manifest_media_type.as_deref()).map_err(|error| {
            invalid(format!(
                "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{error}'"
            ))
        })?;
    let new = NewImage {
        repository: request.repository_name,
        digest: digest.to_string(),
        manifest_size: bytes.len() as u64,
        manifest,
        tag: request.image_tag,
    };
    let known = ImageName {
        digest: Some(new.digest.clone()),
        tag: new.tag.clone(),
    };
    let _kept = collector::keep();
    blobs(context)?
        .put(&bytes)
        .map_err(|error| broken(&error))?;
    let image = context.write(|tx| {
        if images::find(tx.snapshot(), &scope, &new.repository, &known).is_ok() {
            let tag = new.tag.clone().unwrap_or_else(|| "null".to_owned());
            let name = new.repository.clone();
            return Err(Refusal::ImageAlreadyExists {
                digest: new.digest.clone(),
                tag,
                name,
            }
            .into());
        }
        Ok(images::put(tx, &scope, new.clone())?)
    })?;
    Ok(wire::PutImageResponse {
        image: Some(show(context, &scope, &image, new.tag)?),
    })
}
