//! ECR: repositories, their images and the policies around them (facts IMG).
//!
//! Called by `api/ecr` and by the registry. Bytes are blobs on disk; rows say which of them a repository has.

pub mod expiry;
pub mod images;
pub mod lifecycle;
pub mod manifest;
pub mod policies;
pub mod registries;
pub mod repositories;
mod tag_pattern;

use super::Refused;

/// What ECR refuses, a variant per error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "The repository with name '{name}' does not exist in the registry with id '{registry}'"
    )]
    RepositoryNotFound { name: String, registry: String },
    #[error(
        "The repository with name '{name}' already exists in the registry with id '{registry}'"
    )]
    RepositoryAlreadyExists { name: String, registry: String },
    #[error(
        "The repository with name '{name}' in registry with id '{registry}' cannot be deleted because it still contains images"
    )]
    RepositoryNotEmpty { name: String, registry: String },
    #[error(
        "Lifecycle policy does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    LifecyclePolicyNotFound { name: String, registry: String },
    #[error(
        "Repository policy does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    RepositoryPolicyNotFound { name: String, registry: String },
    #[error(
        "The image with imageId {image} does not exist within the repository with name '{name}' in the registry with id '{registry}'"
    )]
    ImageNotFound {
        image: String,
        name: String,
        registry: String,
    },
    #[error(
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the repository is immutable."
    )]
    ImageTagAlreadyExists { tag: String, name: String },
    #[error(
        "Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}'"
    )]
    ImageAlreadyExists {
        digest: String,
        tag: String,
        name: String,
    },
    #[error(
        "The provided digest '{given}' does not match the digest '{actual}' of the image manifest"
    )]
    ImageDigestDoesNotMatch { given: String, actual: String },
    #[error(
        "Layers with digests '{digests}' required for pushing image into repository with name '{name}' do not exist"
    )]
    LayersNotFound { digests: String, name: String },
    #[error(
        "Images with digests '{digests}' required for pushing image into repository with name '{name}' do not exist"
    )]
    ReferencedImagesNotFound { digests: String, name: String },
    #[error(
        "Requested image referenced by manifest list: image {digest} goes only after the lists that name it"
    )]
    ImageReferencedByManifestList { digest: String },
    #[error("Registry policy does not exist in the registry with id '{registry}'")]
    RegistryPolicyNotFound { registry: String },
    #[error(
        "Lifecycle policy preview does not exist for the repository with name '{name}' in the registry with id '{registry}'"
    )]
    LifecyclePreviewNotFound { name: String, registry: String },
    #[error(
        "Image scan does not exist for the image with '{image}' in the repository with name '{name}' in the registry with id '{registry}'"
    )]
    ScanNotFound {
        image: String,
        name: String,
        registry: String,
    },
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    InvalidTagParameter(String),
    #[error("The repository '{0}' would have more than 50 tags")]
    TooManyTags(String),
}

impl Refused for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::RepositoryNotFound { .. } => "RepositoryNotFoundException",
            Self::RepositoryAlreadyExists { .. } => "RepositoryAlreadyExistsException",
            Self::RepositoryNotEmpty { .. } => "RepositoryNotEmptyException",
            Self::LifecyclePolicyNotFound { .. } => "LifecyclePolicyNotFoundException",
            Self::RepositoryPolicyNotFound { .. } => "RepositoryPolicyNotFoundException",
            Self::ImageNotFound { .. } => "ImageNotFoundException",
            Self::ImageTagAlreadyExists { .. } => "ImageTagAlreadyExistsException",
            Self::ImageAlreadyExists { .. } => "ImageAlreadyExistsException",
            Self::ImageDigestDoesNotMatch { .. } => "ImageDigestDoesNotMatchException",
            Self::LayersNotFound { .. } => "LayersNotFoundException",
            Self::ReferencedImagesNotFound { .. } => "ReferencedImagesNotFoundException",
            Self::ImageReferencedByManifestList { .. } => "ImageReferencedByManifestList",
            Self::RegistryPolicyNotFound { .. } => "RegistryPolicyNotFoundException",
            Self::LifecyclePreviewNotFound { .. } => "LifecyclePolicyPreviewNotFoundException",
            Self::ScanNotFound { .. } => "ScanNotFoundException",
            Self::Validation(_) => "ValidationException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::InvalidTagParameter(_) => "InvalidTagParameterException",
            Self::TooManyTags(_) => "TooManyTagsException",
        }
    }
}
