//! ECR's native push: layers in parts. Container tools use the registry's HTTP API instead.

use super::images::broken;
use super::registry;
use crate::api::{ApiError, Context};
use crate::model::ecr::{images, repositories};
use crate::registry::{collector, uploads};
use fogbank_store::blob::{BlobStore, Digest};
use fogbank_wire::ecr as wire;
use uploads::UploadError;

/// Parts that ECR suggests; fewer bytes are taken as well.
const PART_BYTES: i64 = 10 << 20;

fn refused(error: UploadError) -> ApiError {
    let text = error.to_string();
    match error {
        UploadError::Unknown(_) => ApiError::new("UploadNotFoundException", text),
        UploadError::Busy => ApiError::new("InvalidLayerPartException", text),
        UploadError::TooMany => ApiError::new("LimitExceededException", text),
        UploadError::TooLarge => ApiError::new("InvalidLayerException", text),
        UploadError::Blob(fogbank_store::blob::BlobError::Mismatch { .. }) => {
            ApiError::new("InvalidLayerException", text)
        }
        UploadError::Blob(error) => broken(&error),
    }
}

pub fn check_availability(
    context: &Context,
    request: wire::BatchCheckLayerAvailabilityRequest,
) -> Result<wire::BatchCheckLayerAvailabilityResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    repositories::find(&snapshot, &scope, &request.repository_name)?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for digest in request.layer_digests {
        if digest.parse::<Digest>().is_err() {
            failures.push(wire::LayerFailure {
                failure_code: Some("InvalidLayerDigest".to_owned()),
                failure_reason: Some(
                    "Invalid request parameters: layer digest is not valid".to_owned(),
                ),
                layer_digest: Some(digest),
            });
            continue;
        }
        let found = snapshot
            .layers
            .get(&scope, format!("{}@{digest}", request.repository_name));
        layers.push(wire::Layer {
            layer_availability: Some(
                if found.is_some() {
                    "AVAILABLE"
                } else {
                    "UNAVAILABLE"
                }
                .to_owned(),
            ),
            layer_digest: Some(digest),
            layer_size: found.map(|layer| layer.size as i64),
            media_type: None,
        });
    }
    Ok(wire::BatchCheckLayerAvailabilityResponse {
        failures: Some(failures),
        layers: Some(layers),
    })
}

pub fn download_url(
    context: &Context,
    request: wire::GetDownloadUrlForLayerRequest,
) -> Result<wire::GetDownloadUrlForLayerResponse, ApiError> {
    let (snapshot, scope) = (
        context.snapshot(),
        registry(context, request.registry_id.as_ref()),
    );
    let (name, digest) = (&request.repository_name, &request.layer_digest);
    repositories::find(&snapshot, &scope, name)?;
    if !snapshot.layers.contains(&scope, format!("{name}@{digest}")) {
        let text = format!(
            "The layer with digest '{digest}' does not exist in the repository with name '{name}' in the registry with id '{}'",
            scope.account
        );
        return Err(ApiError::new("LayersNotFoundException", text));
    }
    // The registry's own name is part of the path, so that the URL works on whatever host this endpoint was called by.
    let host = &context.caller.host;
    Ok(wire::GetDownloadUrlForLayerResponse {
        download_url: Some(format!(
            "http://{host}/v2/{}/{name}/blobs/{digest}",
            repositories::host(&scope)
        )),
        layer_digest: Some(digest.clone()),
    })
}

pub fn initiate(
    context: &Context,
    request: wire::InitiateLayerUploadRequest,
) -> Result<wire::InitiateLayerUploadResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let id = context.write(|tx| {
        repositories::find(tx.snapshot(), &scope, &request.repository_name)?;
        Ok(tx.uuid())
    })?;
    let blobs = BlobStore::open(&context.config().data_dir).map_err(|error| broken(&error))?;
    uploads::begin(&blobs, &scope, &request.repository_name, &id).map_err(refused)?;
    Ok(wire::InitiateLayerUploadResponse {
        part_size: Some(PART_BYTES),
        upload_id: Some(id),
    })
}

pub fn upload_part(
    context: &Context,
    request: wire::UploadLayerPartRequest,
) -> Result<wire::UploadLayerPartResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let mut taken =
        uploads::take(&scope, &request.repository_name, &request.upload_id).map_err(refused)?;
    let (first, length) = (taken.written() as i64, request.layer_part_blob.len() as i64);
    if request.part_first_byte != first || request.part_last_byte != first + length - 1 {
        let text = format!(
            "The next part of the upload begins at byte {first} and has as many bytes as it says."
        );
        let error = ApiError::new("InvalidLayerPartException", text).0;
        // The members that the reference gives the exception; a client goes on behind the last byte.
        let error = error
            .with("registryId", scope.account)
            .with("repositoryName", request.repository_name)
            .with("uploadId", request.upload_id)
            .with_number("lastValidByteReceived", first - 1);
        return Err(ApiError(error));
    }
    taken.append(&request.layer_part_blob).map_err(refused)?;
    Ok(wire::UploadLayerPartResponse {
        last_byte_received: Some(request.part_last_byte),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
        upload_id: Some(request.upload_id),
    })
}

pub fn complete(
    context: &Context,
    request: wire::CompleteLayerUploadRequest,
) -> Result<wire::CompleteLayerUploadResponse, ApiError> {
    let scope = registry(context, request.registry_id.as_ref());
    let name = &request.repository_name;
    let digests: Vec<Digest> = request
        .layer_digests
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let [digest] = digests.as_slice() else {
        return Err(super::invalid(
            "Invalid parameter at 'layerDigests': one sha256 digest is needed",
        ));
    };
    let snapshot = context.snapshot();
    if snapshot.layers.contains(&scope, format!("{name}@{digest}")) {
        let text = format!(
            "Layer with digest '{digest}' already exists in the repository with name '{name}'"
        );
        return Err(ApiError::new("LayerAlreadyExistsException", text));
    }
    let mut taken = uploads::take(&scope, name, &request.upload_id).map_err(refused)?;
    if taken.written() == 0 {
        return Err(ApiError::new(
            "EmptyUploadException",
            "The upload has no parts.",
        ));
    }
    let _kept = collector::keep();
    let size = taken.finish(digest).map_err(refused)?;
    context.write(|tx| {
        Ok(images::put_layer(
            tx,
            &scope,
            name,
            &digest.to_string(),
            size,
        )?)
    })?;
    Ok(wire::CompleteLayerUploadResponse {
        layer_digest: Some(digest.to_string()),
        registry_id: Some(scope.account),
        repository_name: Some(request.repository_name),
        upload_id: Some(request.upload_id),
    })
}
