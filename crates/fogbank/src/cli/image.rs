//! `fogbank image`: loads archives into the region's registry by the registry's own API, and lists what is there.

use super::{ImageLoadArguments, StatusArguments, http, region, show};
use anyhow::{Context, Result, bail};
use fogbank_node::oci::archive;
use fogbank_node::oci::manifest::{Document, Platform};
use fogbank_store::blob::{BlobStore, Digest};
use fogbank_types::RegionConfig;

const MANIFEST_BYTES_MAX: u64 = 8 << 20;

/// Loads an archive: its blobs into a folder of our own first, where all is checked, then to the registry.
pub fn load(arguments: &ImageLoadArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let blobs = BlobStore::open(folder.path()).context("cannot make a temporary folder")?;
    let loaded = archive::load(&blobs, &arguments.file, &Platform::host())
        .with_context(|| format!("cannot load {}", arguments.file.display()))?;
    let push = Push {
        config: &config,
        blobs: &blobs,
        aws_region: &arguments.aws_region,
    };
    for image in &loaded {
        let names = match &arguments.name {
            Some(name) => vec![name.clone()],
            None => image.tags.clone(),
        };
        if names.is_empty() {
            bail!(
                "the archive gives the image {} no name; give one with --name REPOSITORY:TAG",
                image.manifest
            );
        }
        for name in names {
            let (repository, tag) = split_name(&name);
            push.ensure_repository(&repository)?;
            push.document(&repository, &image.manifest, &tag)?;
            println!(
                "{}.dkr.ecr.{}.amazonaws.com/{repository}:{tag}  {}  {:.1} MB",
                config.account,
                arguments.aws_region,
                image.manifest,
                image.size_bytes as f64 / 1e6
            );
        }
    }
    Ok(())
}

/// Repository and tag of a name; a registry's host in front is dropped, the tag defaults to `latest`.
fn split_name(name: &str) -> (String, String) {
    let path = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    };
    match path.rsplit_once(':') {
        Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
        None => (path.to_owned(), "latest".to_owned()),
    }
}

struct Push<'a> {
    config: &'a RegionConfig,
    blobs: &'a BlobStore,
    aws_region: &'a str,
}

impl Push<'_> {
    fn host(&self) -> String {
        format!(
            "{}.dkr.ecr.{}.amazonaws.com",
            self.config.account, self.aws_region
        )
    }

    fn ensure_repository(&self, repository: &str) -> Result<()> {
        // The host's root is whoever it says, and the default account is meant.
        let credential = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/{}/ecr/aws4_request, SignedHeaders=host, Signature={:064}",
            self.config.account, self.aws_region, 0
        );
        let body = serde_json::json!({ "repositoryName": repository }).to_string();
        let answer = http::call(
            self.config,
            "POST",
            "/",
            &[
                ("authorization", &credential),
                ("content-type", "application/x-amz-json-1.1"),
                (
                    "x-amz-target",
                    "AmazonEC2ContainerRegistry_V20150921.CreateRepository",
                ),
            ],
            body.as_bytes(),
        )?;
        if answer.status == 400
            && String::from_utf8_lossy(&answer.body).contains("RepositoryAlreadyExistsException")
        {
            return Ok(());
        }
        answer.success("making the repository").map(drop)
    }

    /// A manifest with all it names, or an index with all its manifests that the archive holds.
    fn document(&self, repository: &str, digest: &Digest, reference: &str) -> Result<()> {
        let bytes = self
            .blobs
            .read(digest, MANIFEST_BYTES_MAX)?
            .context("the manifest is missing")?;
        let media_type = match Document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                self.blob(repository, &manifest.config.digest)?;
                for layer in &manifest.layers {
                    self.blob(repository, &layer.digest)?;
                }
                or_default(
                    manifest.media_type,
                    "application/vnd.oci.image.manifest.v1+json",
                )
            }
            Document::Index(index) => {
                for entry in &index.manifests {
                    if self.blobs.size(&entry.digest)?.is_some() {
                        self.document(repository, &entry.digest, &entry.digest.to_string())?;
                    }
                }
                or_default(index.media_type, "application/vnd.oci.image.index.v1+json")
            }
        };
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.call("PUT", &path, &media_type, &bytes)?
            .success("storing the manifest")
            .map(drop)
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<()> {
        let known = self.call(
            "HEAD",
            &format!("/v2/{repository}/blobs/{digest}"),
            "application/octet-stream",
            b"",
        )?;
        if known.status == 200 {
            return Ok(());
        }
        let (mut file, size) = self
            .blobs
            .file(digest)?
            .with_context(|| format!("the archive lacks {digest}"))?;
        let start = self.call(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            "application/octet-stream",
            b"",
        )?;
        let start = start.success("starting an upload")?;
        let location = start
            .header("location")
            .context("the registry gives no place for the upload")?;
        let path = match location.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => location,
        };
        let joint = if path.contains('?') { '&' } else { '?' };
        let host = self.host();
        http::send(
            self.config,
            "PUT",
            &format!("{path}{joint}digest={digest}"),
            &[
                ("host", &host),
                ("content-type", "application/octet-stream"),
                ("authorization", "Basic QVdTOm5vbmU="),
            ],
            &mut file,
            size,
        )?
        .success("uploading a layer")
        .map(drop)
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<http::Answer> {
        let host = self.host();
        let headers = [
            ("host", host.as_str()),
            ("content-type", media_type),
            ("authorization", "Basic QVdTOm5vbmU="),
        ];
        http::call(self.config, method, path, &headers, body)
    }
}

fn or_default(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

/// Lists images by repository.
pub fn list(arguments: &StatusArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let snapshot = region::snapshot(&config)?;
    if arguments.json {
        let images: Vec<_> = snapshot.images.all().collect();
        return show(&format!("{}\n", serde_json::to_string_pretty(&images)?));
    }
    let mut text = String::new();
    for image in snapshot.images.all() {
        let tags = if image.image_tags.is_empty() {
            "<untagged>".to_owned()
        } else {
            image.image_tags.join(",")
        };
        text += &format!(
            "{}.dkr.ecr.{}.amazonaws.com/{}:{tags}  {}  {:.1} MB\n",
            image.scope.account,
            image.scope.region,
            image.repository,
            &image.digest,
            image.size as f64 / 1e6
        );
    }
    show(&text)
}

#[cfg(test)]
mod tests {
    use super::split_name;

    #[test]
    fn a_registry_in_front_is_dropped() {
        for (name, repository, tag) in [
            ("api:1", "api", "1"),
            ("api", "api", "latest"),
            ("team/api:2", "team/api", "2"),
            (
                "docker.io/library/busybox:latest",
                "library/busybox",
                "latest",
            ),
            ("localhost:5000/api", "api", "latest"),
        ] {
            assert_eq!(
                split_name(name),
                (repository.to_owned(), tag.to_owned()),
                "{name}"
            );
        }
    }
}
