//! From a manifest's digest to a usable image: read, checked, and known to fit this host.

use fogbank_store::blob::{BlobError, BlobStore, Digest};

use super::config::{CONFIG_LIMIT_BYTES, ImageConfig};
use super::manifest::{
    Document, MANIFEST_LIMIT_BYTES, Manifest, ManifestError, Packing, Platform, packing,
};

/// Why an image can't be used. The text ends up behind `CannotPullContainerError: ` in a task's stopped reason.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("manifest {0} not found")]
    NoManifest(Digest),
    #[error("blob {0} not found")]
    NoBlob(Digest),
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error("blob {digest} has content of digest {actual}")]
    Corrupt { digest: Digest, actual: Digest },
    #[error("blob {digest} has {actual} bytes, its manifest says {expected}")]
    Size {
        digest: Digest,
        expected: u64,
        actual: u64,
    },
    #[error("the image configuration is malformed: {0}")]
    Config(#[source] serde_json::Error),
    #[error("image Manifest does not contain descriptor matching platform '{os}/{architecture}'")]
    Platform { os: String, architecture: String },
    #[error("the image has {layers} layers but {diff_ids} diff ids")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("an index inside an index is not supported")]
    NestedIndex,
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub blob: Digest,
    pub diff_id: Digest,
    pub packing: Packing,
}

/// An image whose manifest and configuration were read and checked; its layers' blobs are here, not yet unpacked.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of the manifest itself, after an index was followed.
    pub manifest: Digest,
    pub config_digest: Digest,
    pub config: ImageConfig,
    /// Base first.
    pub layers: Vec<Layer>,
    /// Sum of the blobs, as a registry counts an image's size.
    pub size_bytes: u64,
}

impl Image {
    /// Reads the image that a manifest or index digest names.
    pub fn open(blobs: &BlobStore, digest: &Digest, host: &Platform) -> Result<Self, ImageError> {
        let (digest, manifest) = find(blobs, digest, host)?;
        let config_bytes = verified(blobs, &manifest.config.digest, CONFIG_LIMIT_BYTES)?
            .ok_or(ImageError::NoBlob(manifest.config.digest))?;
        let config = ImageConfig::parse(&config_bytes).map_err(ImageError::Config)?;
        // An empty platform is what some hand-made images have; it can only mean "whatever runs".
        if (!config.os.is_empty() && config.os != host.os)
            || (!config.architecture.is_empty() && config.architecture != host.architecture)
        {
            return Err(ImageError::Platform {
                os: host.os.clone(),
                architecture: host.architecture.clone(),
            });
        }
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(ImageError::LayerCount { layers, diff_ids });
        }
        let mut size_bytes = manifest.config.size;
        let mut found = Vec::with_capacity(layers);
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let actual = blobs
                .size(&layer.digest)?
                .ok_or(ImageError::NoBlob(layer.digest))?;
            if actual != layer.size {
                return Err(ImageError::Size {
                    digest: layer.digest,
                    expected: layer.size,
                    actual,
                });
            }
            size_bytes += actual;
            let packing = packing(&layer.media_type)?;
            found.push(Layer {
                blob: layer.digest,
                diff_id: *diff_id,
                packing,
            });
        }
        Ok(Self {
            manifest: digest,
            config_digest: manifest.config.digest,
            config,
            layers: found,
            size_bytes,
        })
    }
}

impl Image {
    /// Manifest, configuration and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let own = [&self.manifest, &self.config_digest];
        own.into_iter()
            .chain(self.layers.iter().map(|layer| &layer.blob))
    }
}

fn find(
    blobs: &BlobStore,
    digest: &Digest,
    host: &Platform,
) -> Result<(Digest, Manifest), ImageError> {
    match document(blobs, digest)? {
        Document::Manifest(manifest) => Ok((*digest, manifest)),
        Document::Index(index) => {
            let chosen = index.choose(host)?.digest;
            match document(blobs, &chosen)? {
                Document::Manifest(manifest) => Ok((chosen, manifest)),
                Document::Index(_) => Err(ImageError::NestedIndex),
            }
        }
    }
}

fn document(blobs: &BlobStore, digest: &Digest) -> Result<Document, ImageError> {
    let bytes =
        verified(blobs, digest, MANIFEST_LIMIT_BYTES)?.ok_or(ImageError::NoManifest(*digest))?;
    Ok(Document::parse(&bytes)?)
}

/// Small blobs are hashed again when read: it costs microseconds, and a disk or a person may have changed them.
fn verified(blobs: &BlobStore, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
    let Some(bytes) = blobs.read(digest, limit)? else {
        return Ok(None);
    };
    let actual = Digest::of(&bytes);
    if actual != *digest {
        return Err(ImageError::Corrupt {
            digest: *digest,
            actual,
        });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::{Descriptor, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};

    fn host() -> Platform {
        Platform {
            architecture: "amd64".into(),
            os: "linux".into(),
            variant: None,
        }
    }

    fn image(blobs: &BlobStore, architecture: &str, diff_ids: usize, size: u64) -> Digest {
        let layer = blobs.put(b"layer").unwrap();
        let ids = vec![format!("\"{layer}\""); diff_ids].join(",");
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#
        );
        let config = Descriptor::new(
            OCI_CONFIG,
            blobs.put(config.as_bytes()).unwrap(),
            config.len() as u64,
        );
        let layers = vec![Descriptor::new(OCI_LAYER, layer, size)];
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config,
            layers,
        };
        blobs.put(&serde_json::to_vec(&manifest).unwrap()).unwrap()
    }

    #[test]
    fn a_whole_image_opens() {
        let data = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(data.path()).unwrap();
        let digest = image(&blobs, "amd64", 1, 5);
        let found = Image::open(&blobs, &digest, &host()).unwrap();
        assert_eq!((found.manifest, found.layers.len()), (digest, 1));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(data.path()).unwrap();
        let open = |digest| Image::open(&blobs, &digest, &host()).unwrap_err();
        assert!(matches!(
            open(image(&blobs, "arm64", 1, 5)),
            ImageError::Platform { .. }
        ));
        assert!(matches!(
            open(image(&blobs, "amd64", 2, 5)),
            ImageError::LayerCount {
                layers: 1,
                diff_ids: 2
            }
        ));
        assert!(matches!(
            open(image(&blobs, "amd64", 1, 6)),
            ImageError::Size {
                expected: 6,
                actual: 5,
                ..
            }
        ));
        assert!(matches!(
            open(Digest::of(b"none")),
            ImageError::NoManifest(_)
        ));
    }

    #[test]
    fn a_manifest_changed_on_disk_is_noticed() {
        let data = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(data.path()).unwrap();
        let digest = image(&blobs, "amd64", 1, 5);
        let text = std::fs::read_to_string(blobs.path(&digest)).unwrap();
        std::fs::write(
            blobs.path(&digest),
            text.replace("\"size\":5", "\"size\":4"),
        )
        .unwrap();
        assert!(matches!(
            Image::open(&blobs, &digest, &host()),
            Err(ImageError::Corrupt { .. })
        ));
    }
}
