//! Manifests and indexes: which blobs an image consists of.
//!
//! Both families are read: OCI's (image-spec "Image Manifest", "Image Index") and Docker's schema 2, which differ only in
//! media types. Docker's schema 1 is refused. Read by [`super::image`] and [`super::archive`].

use fogbank_store::blob::Digest;
use serde::{Deserialize, Serialize};

/// A manifest may not be larger than this (the distribution specification's recommendation for registries).
pub const MANIFEST_LIMIT_BYTES: u64 = 4 << 20;
/// More layers than overlayfs stacks (127 with the limit of its option page) are refused.
pub const LAYERS_LIMIT: usize = 127;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Why a manifest is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON of its kind")]
    Malformed(#[source] serde_json::Error),
    #[error("manifest schema version {0} is not supported")]
    SchemaVersion(u32),
    #[error("media type {0:?} is not supported")]
    MediaType(String),
    #[error("the image has {0} layers, more than {LAYERS_LIMIT}")]
    TooManyLayers(usize),
    #[error("no matching manifest for {os}/{architecture} in the manifest list entries")]
    NoPlatform { os: String, architecture: String },
}

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl Descriptor {
    /// A plain reference.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: Default::default(),
        }
    }
}

/// What an image runs on, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What this host runs.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: None,
        }
    }

    /// Whether an image for `self` runs on `host`; the variant is not compared.
    pub fn runs_on(&self, host: &Platform) -> bool {
        self.os == host.os && self.architecture == host.architecture
    }
}

/// One image: its configuration and its layers, base first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// Images of several platforms under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

/// Either document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// How a layer's blob is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Document {
    /// Reads a manifest or an index and checks what it claims about itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            schema_version: u32,
            #[serde(default)]
            media_type: String,
            // Present or not decides what the document is if it carries no media type: OCI made that optional.
            manifests: Option<serde::de::IgnoredAny>,
        }
        let kind: Kind = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
        if kind.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(kind.schema_version));
        }
        match kind.media_type.as_str() {
            OCI_INDEX | DOCKER_INDEX => Self::index(bytes),
            OCI_MANIFEST | DOCKER_MANIFEST => Self::manifest(bytes),
            "" if kind.manifests.is_some() => Self::index(bytes),
            "" => Self::manifest(bytes),
            other => Err(ManifestError::MediaType(other.chars().take(200).collect())),
        }
    }

    fn index(bytes: &[u8]) -> Result<Self, ManifestError> {
        serde_json::from_slice(bytes)
            .map(Self::Index)
            .map_err(ManifestError::Malformed)
    }

    fn manifest(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Malformed)?;
        if !matches!(
            manifest.config.media_type.as_str(),
            OCI_CONFIG | DOCKER_CONFIG
        ) {
            return Err(ManifestError::MediaType(manifest.config.media_type));
        }
        if manifest.layers.len() > LAYERS_LIMIT {
            return Err(ManifestError::TooManyLayers(manifest.layers.len()));
        }
        for layer in &manifest.layers {
            packing(&layer.media_type)?;
        }
        Ok(Self::Manifest(manifest))
    }
}

impl Index {
    /// The manifest for a host. An entry without a platform is taken if it is the only one.
    pub fn choose(&self, host: &Platform) -> Result<&Descriptor, ManifestError> {
        let fits = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_some_and(|platform| platform.runs_on(host))
        };
        let alone = || match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        };
        self.manifests
            .iter()
            .find(fits)
            .or_else(alone)
            .ok_or_else(|| ManifestError::NoPlatform {
                os: host.os.clone(),
                architecture: host.architecture.clone(),
            })
    }
}

/// How a layer of this media type is packed; foreign (not distributable) layers are refused.
pub fn packing(media_type: &str) -> Result<Packing, ManifestError> {
    match media_type {
        OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Ok(Packing::Gzip),
        OCI_LAYER_ZSTD => Ok(Packing::Zstd),
        OCI_LAYER | DOCKER_LAYER => Ok(Packing::Plain),
        other => Err(ManifestError::MediaType(other.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    fn manifest(kind: &str, config: &str, layer: &str) -> String {
        let d = digest();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{config}","digest":"{d}","size":1}},
               "layers":[{{"mediaType":"{layer}","digest":"{d}","size":1}}]}}"#
        )
    }

    #[test]
    fn both_families_are_read() {
        for (kind, config, layer) in [
            (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP),
            (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP),
            ("", OCI_CONFIG, OCI_LAYER),
        ] {
            let found = Document::parse(manifest(kind, config, layer).as_bytes()).unwrap();
            assert!(matches!(found, Document::Manifest(m) if m.layers.len() == 1));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let xz = manifest(
            OCI_MANIFEST,
            OCI_CONFIG,
            "application/vnd.oci.image.layer.v1.tar+xz",
        );
        assert!(matches!(
            Document::parse(xz.as_bytes()),
            Err(ManifestError::MediaType(_))
        ));
        let artifact = manifest(
            OCI_MANIFEST,
            "application/vnd.cncf.helm.config.v1+json",
            OCI_LAYER,
        );
        assert!(matches!(
            Document::parse(artifact.as_bytes()),
            Err(ManifestError::MediaType(_))
        ));
        assert!(matches!(
            Document::parse(br#"{"schemaVersion":1}"#),
            Err(ManifestError::SchemaVersion(1))
        ));
        let lying = manifest(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER).replace("sha256:", "sha256:../");
        assert!(matches!(
            Document::parse(lying.as_bytes()),
            Err(ManifestError::Malformed(_))
        ));
        assert!(Document::parse(b"[]").is_err());
    }

    #[test]
    fn an_index_gives_the_hosts_manifest() {
        let entry = |architecture: &str, byte: &[u8]| {
            let mut found = Descriptor::new(OCI_MANIFEST, Digest::of(byte), 1);
            found.platform = Some(Platform {
                architecture: architecture.into(),
                os: "linux".into(),
                variant: None,
            });
            found
        };
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.into(),
            manifests: vec![entry("s390x", b"a"), entry("amd64", b"b")],
        };
        let host = |architecture: &str| Platform {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: None,
        };
        assert_eq!(
            index.choose(&host("amd64")).unwrap().digest,
            Digest::of(b"b")
        );
        assert!(matches!(
            index.choose(&host("arm64")),
            Err(ManifestError::NoPlatform { .. })
        ));
        let text = serde_json::to_vec(&index).unwrap();
        assert_eq!(Document::parse(&text).unwrap(), Document::Index(index));
    }
}
