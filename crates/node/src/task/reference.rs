//! Which image a container definition means.

use std::sync::Arc;

use fogbank_store::blob::Digest;
use fogbank_types::ecr::Image;
use fogbank_types::{InternetAccess, Scope, Snapshot};

use crate::oci::pull::{Parts, RemoteImage};

/// Account and region of an ECR registry's name (fact IMG-1).
fn ecr_scope(registry: &str) -> Option<Scope> {
    let (account, rest) = registry.split_once('.')?;
    let region = rest
        .strip_prefix("dkr.ecr.")
        .and_then(|rest| {
            rest.split(".amazonaws.com")
                .next()
                .filter(|region| *region != rest)
        })
        .or_else(|| {
            rest.strip_prefix("dkr-ecr.")
                .and_then(|rest| rest.strip_suffix(".on.aws"))
        })?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !region.is_empty()).then(|| Scope::new(account, region))
}

/// Whether the reference names a private repository of ECR.
pub fn is_private(text: &str) -> bool {
    Parts::of(text).registry.and_then(ecr_scope).is_some()
}

/// What policies call the repository that the reference names, if it is a private one of ECR.
pub fn repository_arn(text: &str) -> Option<String> {
    let parts = Parts::of(text);
    let scope = parts.registry.and_then(ecr_scope)?;
    Some(scope.arn("ecr", &format!("repository/{}", parts.repository)))
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its blobs are here. The digest of its manifest or index.
    Here(Digest),
    Remote(RemoteImage),
}

/// What the reference names, or the reason that ECS gives. Names of other registries are looked for among the images that
/// were loaded or pushed here under the name without the registry, then on the internet if the region has it (decision
/// 6).
pub fn resolve(
    snapshot: &Snapshot,
    scope: &Scope,
    text: &str,
    internet: InternetAccess,
) -> Result<Source, String> {
    let missing = match find_here(snapshot, scope, text) {
        Ok(digest) => return Ok(Source::Here(digest)),
        Err(missing) => missing,
    };
    match RemoteImage::parse(text) {
        Some(image) if internet == InternetAccess::Host && !is_private(text) => {
            Ok(Source::Remote(image))
        }
        _ => Err(missing),
    }
}

fn find_here(snapshot: &Snapshot, scope: &Scope, text: &str) -> Result<Digest, String> {
    let reference = Parts::of(text);
    let scope = reference
        .registry
        .and_then(ecr_scope)
        .unwrap_or_else(|| scope.clone());
    let library = reference.repository.strip_prefix("library/");
    let found = std::iter::once(reference.repository)
        .chain(library)
        .find_map(|repository| find(snapshot, &scope, repository, &reference));
    let found = found.ok_or_else(|| {
        let shown = match (reference.tag, reference.digest) {
            (None, None) => format!("{text}:latest"),
            _ => text.to_owned(),
        };
        format!("CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {shown}: {shown}: not found")
    })?;
    found
        .digest
        .parse()
        .map_err(|error| format!("CannotPullContainerError: {error}"))
}

fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    repository: &str,
    reference: &Parts<'_>,
) -> Option<&'a Arc<Image>> {
    let tag = reference.tag.unwrap_or("latest");
    snapshot
        .images
        .with_prefix(scope, &format!("{repository}@"))
        .find(|image| match reference.digest {
            Some(digest) => image.digest == digest,
            None => image.image_tags.iter().any(|have| have == tag),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Timestamp;

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (repository, tag) in [("team/api", "1"), ("nginx", "latest")] {
            let image = Image {
                scope: Scope::new("000000000000", "us-east-1"),
                repository: repository.into(),
                digest: Digest::of(repository.as_bytes()).to_string(),
                media_type: String::new(),
                size: 1,
                image_tags: vec![tag.into()],
                blobs: Vec::new(),
                manifests: Vec::new(),
                pushed_at: Timestamp(0),
            };
            snapshot.images.insert(Arc::new(image), 1);
        }
        snapshot
    }

    #[test]
    fn names_tags_and_digests_resolve() {
        let scope = Scope::new("000000000000", "us-east-1");
        let (api, nginx) = (Digest::of(b"team/api"), Digest::of(b"nginx"));
        for (text, expected) in [
            (
                "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/api:1".to_owned(),
                Some(api),
            ),
            (
                format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/team/api@{api}"),
                Some(api),
            ),
            (
                "000000000000.dkr-ecr.us-east-1.on.aws/team/api:1".to_owned(),
                Some(api),
            ),
            ("127.0.0.1:4566/team/api:1".to_owned(), Some(api)),
            ("team/api:1".to_owned(), Some(api)),
            ("nginx".to_owned(), Some(nginx)),
            ("docker.io/library/nginx:latest".to_owned(), Some(nginx)),
            ("team/api".to_owned(), None),
            (
                "111111111111.dkr.ecr.us-east-1.amazonaws.com/team/api:1".to_owned(),
                None,
            ),
            (
                "000000000000.dkr.ecr.eu-west-1.amazonaws.com/team/api:1".to_owned(),
                None,
            ),
            ("team/api:2".to_owned(), None),
            (String::new(), None),
        ] {
            let found = resolve(&snapshot(), &scope, &text, InternetAccess::None);
            assert_eq!(found.ok(), expected.map(Source::Here), "{text}");
        }
        let error = resolve(&snapshot(), &scope, "busybox", InternetAccess::None).unwrap_err();
        assert!(
            error.starts_with("CannotPullContainerError: ")
                && error.contains("busybox:latest: not found")
        );
    }

    #[test]
    fn with_internet_what_is_not_here_is_pulled_unless_it_is_a_private_repositorys() {
        let scope = Scope::new("000000000000", "us-east-1");
        let resolve = |text: &str| resolve(&snapshot(), &scope, text, InternetAccess::Host);
        let here = Ok(Source::Here(Digest::of(b"nginx")));
        assert_eq!(resolve("nginx"), here, "what was loaded here comes first");
        let Ok(Source::Remote(image)) = resolve("busybox") else {
            panic!("not pulled");
        };
        assert_eq!(image.name, "docker.io/library/busybox:latest");
        let private = "000000000000.dkr.ecr.us-east-1.amazonaws.com/none:1";
        assert!(resolve(private).is_err() && resolve("Not A Name").is_err());
    }
}
