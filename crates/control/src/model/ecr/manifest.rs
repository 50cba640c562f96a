//! What a manifest says: pure reading of untrusted bytes.
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>,
//! <https://distribution.github.io/distribution/spec/manifest-v2-2/>

use serde::Deserialize;

/// The largest manifest that ECR takes.
pub const BYTES_MAX: usize = 4 << 20;

const IMAGES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
];

/// A manifest that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub media_type: String,
    /// Blobs: configuration and layers, without those that live elsewhere.
    pub blobs: Vec<Descriptor>,
    /// Manifests of an index.
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    pub digest: String,
    pub size: u64,
    #[serde(default, rename = "mediaType")]
    pub media_type: String,
    #[serde(default)]
    urls: Vec<String>,
}

/// Why it is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not valid JSON: {0}")]
    Json(String),
    #[error("the manifest has schema version {0}, only 2 is served")]
    Version(u64),
    #[error("the manifest's media type '{0}' is not served")]
    MediaType(String),
    #[error("the manifest says it is '{said}', the request says '{given}'")]
    Disagreement { said: String, given: String },
    #[error("the manifest has no {0}")]
    Missing(&'static str),
    #[error("'{0}' is not a sha256 digest")]
    Digest(String),
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    #[serde(default, rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest. `given` is the media type of the request, if it says any.
pub fn read(bytes: &[u8], given: Option<&str>) -> Result<Manifest, ManifestError> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| ManifestError::Json(e.to_string()))?;
    if document.schema_version != 2 {
        return Err(ManifestError::Version(document.schema_version));
    }
    // Generic types say nothing about the document.
    let given = given
        .map(|g| g.split(';').next().unwrap_or(g).trim())
        .filter(|g| g.starts_with("application/vnd."));
    let media_type = match (&document.media_type, given) {
        (Some(said), Some(given)) if said != given => {
            return Err(ManifestError::Disagreement {
                said: said.clone(),
                given: given.to_owned(),
            });
        }
        (Some(said), _) => said.clone(),
        (None, Some(given)) => given.to_owned(),
        (None, None) if document.manifests.is_some() => INDEXES[1].to_owned(),
        (None, None) => IMAGES[1].to_owned(),
    };
    let manifest = if IMAGES.contains(&media_type.as_str()) {
        let config = document.config.ok_or(ManifestError::Missing("config"))?;
        let layers = document.layers.ok_or(ManifestError::Missing("layers"))?;
        let blobs = std::iter::once(config)
            .chain(layers)
            .filter(|blob| blob.urls.is_empty())
            .collect();
        Manifest {
            media_type,
            blobs,
            manifests: Vec::new(),
        }
    } else if INDEXES.contains(&media_type.as_str()) {
        let manifests = document
            .manifests
            .ok_or(ManifestError::Missing("manifests"))?;
        Manifest {
            media_type,
            blobs: Vec::new(),
            manifests,
        }
    } else {
        return Err(ManifestError::MediaType(media_type));
    };
    match manifest
        .blobs
        .iter()
        .chain(&manifest.manifests)
        .find(|d| !is_digest(&d.digest))
    {
        Some(bad) => Err(ManifestError::Digest(
            bad.digest.chars().take(100).collect(),
        )),
        None => Ok(manifest),
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A tag: a letter, digit or underscore, then up to 127 of these, dots and hyphens.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && word(text.as_bytes()[0])
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn image(media_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"digest":"{}","size":1}},
                "layers":[{{"digest":"{}","size":2}},{{"digest":"{}","size":3,"urls":["https://x/"]}}]}}"#,
            digest(1),
            digest(2),
            digest(3)
        )
    }

    #[test]
    fn images_and_indexes_are_read() {
        for media_type in IMAGES {
            let read = read(image(media_type).as_bytes(), Some(media_type)).unwrap();
            assert_eq!(
                read.blobs.iter().map(|b| b.size).collect::<Vec<_>>(),
                [1, 2],
                "foreign layers stay out"
            );
        }
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}","size":9}}]}}"#,
            digest(4)
        );
        assert_eq!(read(index.as_bytes(), None).unwrap().media_type, INDEXES[1]);
    }

    #[test]
    fn what_lies_or_is_foreign_is_refused() {
        let refused = |text: &str, given| read(text.as_bytes(), given).unwrap_err();
        assert!(matches!(refused("{", None), ManifestError::Json(_)));
        assert_eq!(
            refused(r#"{"schemaVersion":1}"#, None),
            ManifestError::Version(1)
        );
        assert!(matches!(
            refused(&image(IMAGES[0]), Some(IMAGES[1])),
            ManifestError::Disagreement { .. }
        ));
        assert!(matches!(
            refused(&image("application/vnd.x"), None),
            ManifestError::MediaType(_)
        ));
        let bad = image(IMAGES[0]).replace(&digest(1), "sha256:../../etc/passwd");
        assert!(matches!(refused(&bad, None), ManifestError::Digest(_)));
        assert!(matches!(
            refused(r#"{"schemaVersion":2}"#, None),
            ManifestError::Missing("config")
        ));
    }

    #[test]
    fn tags_follow_the_pattern() {
        assert!(is_tag("1") && is_tag("_a.b-c") && is_tag(&"x".repeat(128)));
        assert!(
            !is_tag("")
                && !is_tag(".a")
                && !is_tag("a/b")
                && !is_tag(&"x".repeat(129))
                && !is_tag("ä")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, None);
        }
    }
}
