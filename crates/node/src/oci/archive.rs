//! `fogbank image load FILE`: images out of a saved archive into the blob store.
//!
//! Two forms are read, plain or gzipped: what `docker save` writes (`manifest.json` beside layer archives) and OCI image
//! layouts (`index.json` beside `blobs/`), which newer Dockers, podman, skopeo and buildah write. Called by the CLI and by
//! whoever imports for it; naming the image in the registry is the caller's.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use fogbank_store::blob::{BlobError, BlobStore, Digest};
use serde::Deserialize;

use super::image::{Image, ImageError};
use super::manifest::{
    Descriptor, Document, Index, Manifest, ManifestError, OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP,
    OCI_MANIFEST, Platform,
};
use super::root::{self, RootError};
use super::tar::{Archive, Kind, TarError};

/// Why a file can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("read {0}")]
    Open(String, #[source] io::Error),
    #[error("the file is not a valid archive: {0}")]
    Archive(#[from] TarError),
    #[error("the archive is refused: {0}")]
    Path(#[from] RootError),
    #[error("the archive has more than {ENTRIES_LIMIT} entries")]
    TooManyEntries,
    #[error("{0} in the archive is too large")]
    TooLarge(String),
    #[error("the archive holds neither manifest.json (docker save) nor index.json (OCI layout)")]
    NoIndex,
    #[error("{name} in the archive is malformed")]
    Json {
        name: &'static str,
        source: serde_json::Error,
    },
    #[error("the archive's manifest names {0}, which it doesn't hold")]
    Missing(String),
    #[error("the archive holds no image")]
    Empty,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

type Result<T> = std::result::Result<T, ArchiveError>;

const ENTRIES_LIMIT: usize = 100_000;
const DOCUMENT_LIMIT_BYTES: u64 = 8 << 20;

/// One image that is in the blob store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Of the manifest that a name should point to; an index if the archive had one for several platforms.
    pub manifest: Digest,
    pub media_type: String,
    pub manifest_size: u64,
    pub config: Digest,
    pub size_bytes: u64,
    /// Names as the archive gives them (`api:1`, `docker.io/library/busybox:latest`); may be empty.
    pub tags: Vec<String>,
}

/// A file of the archive that went into the blob store.
#[derive(Clone, Debug)]
struct Stored {
    digest: Digest,
    size: u64,
    gzip: bool,
}

/// What a pass over the archive found.
#[derive(Default)]
struct Contents {
    documents: HashMap<&'static str, Vec<u8>>,
    stored: BTreeMap<PathBuf, Stored>,
    /// Older Dockers save a layer that occurs twice as a link to the first.
    links: BTreeMap<PathBuf, PathBuf>,
}

/// Loads every image of the archive. Blobs that were loaded before an error stay, harmless: nothing names them.
pub fn load(blobs: &BlobStore, file: &Path, host: &Platform) -> Result<Vec<Loaded>> {
    let open = |error| ArchiveError::Open(file.to_string_lossy().into_owned(), error);
    let mut source = BufReader::with_capacity(1 << 16, File::open(file).map_err(open)?);
    let gzip = is_gzip(source.fill_buf().map_err(open)?);
    let contents = if gzip {
        read(
            blobs,
            BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(source)),
        )?
    } else {
        read(blobs, source)?
    };
    let loaded = match (
        contents.documents.get("index.json"),
        contents.documents.get("manifest.json"),
    ) {
        (Some(index), saved) => from_layout(blobs, index, saved.map(Vec::as_slice), host)?,
        (None, Some(saved)) => from_docker(blobs, saved, &contents, host)?,
        (None, None) => return Err(ArchiveError::NoIndex),
    };
    if loaded.is_empty() {
        return Err(ArchiveError::Empty);
    }
    Ok(loaded)
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn read(blobs: &BlobStore, source: impl Read) -> Result<Contents> {
    let mut archive = Archive::new(source);
    let mut contents = Contents::default();
    let mut entries = 0;
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        if entries > ENTRIES_LIMIT {
            return Err(ArchiveError::TooManyEntries);
        }
        let path = root::clean(&entry.path)?;
        match entry.kind {
            Kind::File => contents.keep(blobs, path, entry.size, &mut archive.content())?,
            Kind::Symlink => {
                let target = relative(&path, &entry.link);
                contents.links.insert(path, target);
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// Where a link inside the archive leads; only used to look names up, so `..` past the top does no harm.
fn relative(from: &Path, link: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut target = from.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(std::ffi::OsStr::from_bytes(link)).components() {
        match part {
            std::path::Component::ParentDir => {
                target.pop();
            }
            std::path::Component::Normal(part) => target.push(part),
            _ => {}
        }
    }
    target
}

impl Contents {
    fn keep(
        &mut self,
        blobs: &BlobStore,
        path: PathBuf,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<()> {
        for name in ["index.json", "manifest.json"] {
            if path == Path::new(name) {
                if size > DOCUMENT_LIMIT_BYTES {
                    return Err(ArchiveError::TooLarge(name.to_owned()));
                }
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(TarError::Read)?;
                self.documents.insert(name, bytes);
                return Ok(());
            }
        }
        // In a layout a blob's name is its digest, and a lie about it is found here.
        let expected = path
            .strip_prefix("blobs/sha256")
            .ok()
            .and_then(Path::to_str)
            .map(|hex| format!("sha256:{hex}").parse::<Digest>())
            .transpose()?;
        let wanted = expected.is_some()
            || path
                .extension()
                .is_some_and(|extension| extension == "tar" || extension == "json");
        if !wanted {
            return Ok(());
        }
        let mut content = BufReader::with_capacity(1 << 16, content);
        let gzip = is_gzip(content.fill_buf().map_err(TarError::Read)?);
        let mut writer = blobs.writer()?;
        io::copy(&mut content, &mut writer).map_err(TarError::Read)?;
        let size = writer.written();
        let digest = writer.commit(expected.as_ref())?;
        self.stored.insert(path, Stored { digest, size, gzip });
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Stored> {
        let missing = || ArchiveError::Missing(name.chars().take(200).collect());
        let mut path = root::clean(name.as_bytes())?;
        for _ in 0..8 {
            if let Some(stored) = self.stored.get(&path) {
                return Ok(stored);
            }
            path = self.links.get(&path).ok_or_else(missing)?.clone();
        }
        Err(missing())
    }
}

/// An entry of docker save's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn saved(bytes: &[u8]) -> Result<Vec<Saved>> {
    serde_json::from_slice(bytes).map_err(|source| ArchiveError::Json {
        name: "manifest.json",
        source,
    })
}

/// Docker's archive has no registry manifest: we write the one that a push of these very layers would have.
fn from_docker(
    blobs: &BlobStore,
    bytes: &[u8],
    contents: &Contents,
    host: &Platform,
) -> Result<Vec<Loaded>> {
    saved(bytes)?
        .into_iter()
        .map(|image| {
            let config = contents.find(&image.config)?;
            let layers = image.layers.iter().map(|name| {
                let stored = contents.find(name)?;
                let media_type = if stored.gzip {
                    OCI_LAYER_GZIP
                } else {
                    OCI_LAYER
                };
                Ok(Descriptor::new(media_type, stored.digest, stored.size))
            });
            let manifest = Manifest {
                schema_version: 2,
                media_type: OCI_MANIFEST.to_owned(),
                config: Descriptor::new(OCI_CONFIG, config.digest, config.size),
                layers: layers.collect::<Result<_>>()?,
            };
            let text = serde_json::to_vec(&manifest).expect("a manifest has only string keys");
            let digest = blobs.put(&text)?;
            loaded(
                blobs,
                &digest,
                OCI_MANIFEST,
                text.len() as u64,
                image.repo_tags.unwrap_or_default(),
                host,
            )
        })
        .collect()
}

fn from_layout(
    blobs: &BlobStore,
    index: &[u8],
    docker: Option<&[u8]>,
    host: &Platform,
) -> Result<Vec<Loaded>> {
    let Document::Index(index) = Document::parse(index)? else {
        return Err(ArchiveError::Empty);
    };
    // Dockers since 25 write both documents; theirs has the names as people type them.
    let names: Vec<Saved> = docker.map(saved).transpose()?.unwrap_or_default();
    let mut found: Vec<Loaded> = Vec::new();
    for entry in images(&index, host) {
        let mut image = loaded(
            blobs,
            &entry.digest,
            &entry.media_type,
            entry.size,
            Vec::new(),
            host,
        )?;
        let config = format!("blobs/sha256/{}", image.config.hex());
        let typed = names
            .iter()
            .filter(|saved| saved.config == config)
            .filter_map(|saved| saved.repo_tags.clone());
        image.tags = typed.flatten().collect();
        if image.tags.is_empty() {
            image.tags.extend(annotated_name(entry));
        }
        match found
            .iter_mut()
            .find(|known| known.manifest == image.manifest)
        {
            Some(known) => {
                image.tags.retain(|tag| !known.tags.contains(tag));
                known.tags.append(&mut image.tags);
            }
            None => found.push(image),
        }
    }
    Ok(found)
}

/// The index's entries that this host can run; one for several platforms under one name is listed once each.
fn images<'a>(index: &'a Index, host: &Platform) -> Vec<&'a Descriptor> {
    index
        .manifests
        .iter()
        .filter(|entry| {
            entry
                .platform
                .as_ref()
                .is_none_or(|platform| platform.runs_on(host))
        })
        .collect()
}

fn annotated_name(entry: &Descriptor) -> Option<String> {
    [
        "io.containerd.image.name",
        "org.opencontainers.image.ref.name",
    ]
    .iter()
    .find_map(|key| entry.annotations.get(*key).cloned())
}

fn loaded(
    blobs: &BlobStore,
    digest: &Digest,
    media_type: &str,
    size: u64,
    tags: Vec<String>,
    host: &Platform,
) -> Result<Loaded> {
    let image = Image::open(blobs, digest, host)?;
    Ok(Loaded {
        manifest: *digest,
        media_type: if media_type.is_empty() {
            OCI_MANIFEST.to_owned()
        } else {
            media_type.to_owned()
        },
        manifest_size: size,
        config: image.config_digest,
        size_bytes: image.size_bytes,
        tags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::tar::build::{archive, file, symlink};
    use std::io::Write as _;

    fn host() -> Platform {
        Platform {
            architecture: "amd64".into(),
            os: "linux".into(),
            variant: None,
        }
    }

    fn load_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<Vec<Loaded>>) {
        let data = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(data.path()).unwrap();
        std::fs::write(data.path().join("image"), bytes).unwrap();
        let found = load(&blobs, &data.path().join("image"), &host());
        (data, found)
    }

    fn config(diff_ids: &[Digest]) -> Vec<u8> {
        let ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        serde_json::to_vec(&serde_json::json!({"architecture": "amd64", "os": "linux",
            "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": ids}}))
        .unwrap()
    }

    fn docker_archive() -> Vec<u8> {
        let layer = archive(&[file("hello", b"x")]);
        let id = Digest::of(&layer);
        let manifest =
            br#"[{"Config":"c.json","RepoTags":["api:1"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;
        archive(&[
            file("c.json", &config(&[id, id])),
            file("a/VERSION", b"1.0"),
            file("a/layer.tar", &layer),
            symlink("b/layer.tar", "../a/layer.tar"),
            file("manifest.json", manifest),
        ])
    }

    #[test]
    fn a_docker_archive_loads_plain_and_gzipped() {
        let plain = docker_archive();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        for bytes in [plain, encoder.finish().unwrap()] {
            let (data, found) = load_bytes(&bytes);
            let found = found.unwrap();
            assert_eq!(
                (found.len(), found[0].tags.as_slice()),
                (1, &["api:1".to_owned()][..])
            );
            let blobs = BlobStore::open(data.path()).unwrap();
            assert_eq!(
                Image::open(&blobs, &found[0].manifest, &host())
                    .unwrap()
                    .layers
                    .len(),
                2
            );
        }
    }

    fn layout(lie: bool) -> Vec<u8> {
        let layer = archive(&[file("hello", b"x")]);
        let (id, config) = (Digest::of(&layer), config(&[Digest::of(&layer)]));
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config: Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64),
            layers: vec![Descriptor::new(OCI_LAYER, id, layer.len() as u64)],
        })
        .unwrap();
        let mut entry = Descriptor::new(OCI_MANIFEST, Digest::of(&manifest), manifest.len() as u64);
        entry
            .annotations
            .insert("org.opencontainers.image.ref.name".into(), "web:2".into());
        let mut foreign = Descriptor::new(OCI_MANIFEST, Digest::of(b"absent"), 1);
        foreign.platform = Some(Platform {
            architecture: "s390x".into(),
            os: "linux".into(),
            variant: None,
        });
        let index = Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: vec![foreign, entry],
        };
        let blob = |bytes: &[u8]| file(&format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes);
        let layer = if lie {
            file(&format!("blobs/sha256/{}", id.hex()), b"other")
        } else {
            blob(&layer)
        };
        archive(&[
            file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            layer,
            blob(&config),
            blob(&manifest),
            file("index.json", &serde_json::to_vec(&index).unwrap()),
        ])
    }

    #[test]
    fn an_oci_layout_loads() {
        let (_data, found) = load_bytes(&layout(false));
        assert_eq!(found.unwrap()[0].tags, ["web:2"]);
    }

    #[test]
    fn broken_archives_are_refused() {
        assert!(matches!(
            load_bytes(&layout(true)).1,
            Err(ArchiveError::Blob(BlobError::Mismatch { .. }))
        ));
        assert!(matches!(
            load_bytes(&archive(&[file("x", b"")])).1,
            Err(ArchiveError::NoIndex)
        ));
        let missing = archive(&[file(
            "manifest.json",
            br#"[{"Config":"c.json","Layers":[]}]"#,
        )]);
        assert!(matches!(
            load_bytes(&missing).1,
            Err(ArchiveError::Missing(_))
        ));
        let escaping = archive(&[file(
            "manifest.json",
            br#"[{"Config":"../c.json","Layers":[]}]"#,
        )]);
        assert!(matches!(
            load_bytes(&escaping).1,
            Err(ArchiveError::Path(_))
        ));
        assert!(load_bytes(b"not an archive at all").1.is_err());
        assert!(matches!(
            load_bytes(&archive(&[file("manifest.json", b"[]")])).1,
            Err(ArchiveError::Empty)
        ));
    }
}
