//! What an image's name means outside of ECR: which registry, which repository, which tag or digest.

use fogbank_store::blob::Digest;

/// Docker Hub's name in image names, and the host that serves it.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// An image of a registry on the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteImage {
    /// Host and perhaps port, as requests are sent to.
    pub host: String,
    pub repository: String,
    pub reference: Reference,
    /// The whole name, as containerd writes it: `docker.io/library/nginx:latest`.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Tag(String),
    Digest(Digest),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A name's parts, as they stand there.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    pub registry: Option<&'a str>,
    pub repository: &'a str,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `[registry/]repository[:tag][@digest]`: as in Docker, the first part is a registry if it looks like a host.
    pub fn of(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (Some(host), path)
            }
            _ => (None, name),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        Self {
            registry,
            repository,
            tag,
            digest,
        }
    }
}

impl RemoteImage {
    /// As Docker reads it: no registry is Docker Hub, where a name of one part is in `library/`. `None`: it is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let Parts {
            registry,
            repository,
            tag,
            digest,
        } = Parts::of(text);
        let registry = registry.unwrap_or(HUB);
        let digest = digest.map(str::parse::<Digest>).transpose().ok()?;
        let repository = if registry == HUB && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        let is_good =
            is_host(registry) && repository.split('/').all(is_part) && tag.is_none_or(is_tag);
        if !is_good {
            return None;
        }
        let reference = match (digest, tag) {
            (Some(digest), _) => Reference::Digest(digest),
            (None, tag) => Reference::Tag(tag.unwrap_or("latest").to_owned()),
        };
        let separator = match reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        Some(Self {
            host: match registry {
                HUB | "index.docker.io" => HUB_HOST.to_owned(),
                other => other.to_owned(),
            },
            name: format!("{registry}/{repository}{separator}{reference}"),
            repository,
            reference,
        })
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Part of a repository's name: lower-case letters, digits, and dots, underscores and hyphens between them.
fn is_part(part: &str) -> bool {
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes
            .iter()
            .all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && word(text.as_bytes()[0])
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_mean_what_docker_says() {
        let digest = Digest::of(b"x");
        let table = [
            (
                "nginx".to_owned(),
                HUB_HOST,
                "library/nginx",
                "docker.io/library/nginx:latest".to_owned(),
            ),
            (
                "bitnami/redis:7".to_owned(),
                HUB_HOST,
                "bitnami/redis",
                "docker.io/bitnami/redis:7".to_owned(),
            ),
            (
                "docker.io/nginx:1".to_owned(),
                HUB_HOST,
                "library/nginx",
                "docker.io/library/nginx:1".to_owned(),
            ),
            (
                "public.ecr.aws/nginx/nginx:1.27".to_owned(),
                "public.ecr.aws",
                "nginx/nginx",
                "public.ecr.aws/nginx/nginx:1.27".to_owned(),
            ),
            (
                "ghcr.io/a/b/c".to_owned(),
                "ghcr.io",
                "a/b/c",
                "ghcr.io/a/b/c:latest".to_owned(),
            ),
            (
                format!("r.example:5000/a:1@{digest}"),
                "r.example:5000",
                "a",
                format!("r.example:5000/a@{digest}"),
            ),
        ];
        for (text, host, repository, name) in table {
            let image = RemoteImage::parse(&text).unwrap();
            assert_eq!(
                (image.host.as_str(), image.repository.as_str(), image.name),
                (host, repository, name),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "Nginx",
            "a//b",
            "a:",
            "a:b c",
            "x.y/../z",
            "x y.z/a",
            "x.y:99999/a",
            "a@sha256:1",
            "-a",
            "a\r\nHost: b",
        ] {
            assert_eq!(RemoteImage::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = RemoteImage::parse(&text);
        }
    }
}
