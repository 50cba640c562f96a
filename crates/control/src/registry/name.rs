//! Who and what a request is about: the account in the host's name, the repository and the rest of the path.

use crate::model::ecr::manifest::{is_digest, is_tag};
use crate::model::ecr::repositories::is_name;
use fogbank_types::Scope;

/// The registry of `<account>.dkr.ecr.<region>.amazonaws.com`, with or without `.localhost` and a port.
pub fn scope(host: &str) -> Option<Scope> {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let name = name.strip_suffix(".localhost").unwrap_or(name);
    let (account, rest) = name.split_once(".dkr.ecr.")?;
    let region = rest
        .strip_suffix(".amazonaws.com")
        .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let is_region = !region.is_empty()
        && region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_account && is_region).then(|| Scope::new(account, region))
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub repository: String,
    pub what: What,
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Tags,
    /// A tag or a digest.
    Manifest(String),
    Blob(String),
    Uploads,
    Upload(String),
}

/// Reads the path after `/v2/`.
pub fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.split('/').collect();
    let (name, what) = match parts.as_slice() {
        [name @ .., "tags", "list"] => (name, What::Tags),
        [name @ .., "blobs", "uploads", "" | "_"] | [name @ .., "blobs", "uploads"] => {
            (name, What::Uploads)
        }
        [name @ .., "blobs", "uploads", id] => (name, What::Upload((*id).to_owned())),
        [name @ .., "blobs", digest] => (name, What::Blob((*digest).to_owned())),
        [name @ .., "manifests", reference] if is_digest(reference) || is_tag(reference) => {
            (name, What::Manifest((*reference).to_owned()))
        }
        _ => return None,
    };
    let repository = name.join("/");
    is_name(&repository).then_some(Target { repository, what })
}

/// Undoes percent-encoding; what is not valid stays as it is and then names nothing.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = |b: u8| char::from(b).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The parameters of a query.
pub fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_host_names_account_and_region() {
        let expected = Some(Scope::new("123456789012", "eu-west-1"));
        for host in [
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:4566",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.localhost:4566",
        ] {
            assert_eq!(scope(host), expected, "{host}");
        }
        for host in [
            "127.0.0.1:4566",
            "localhost",
            "12.dkr.ecr.eu-west-1.amazonaws.com",
            "",
            "a.dkr.ecr.",
        ] {
            assert_eq!(scope(host), None, "{host}");
        }
    }

    #[test]
    fn paths_are_told_apart() {
        let what = |path: &str| target(path).map(|t| (t.repository, t.what));
        assert_eq!(what("a/b/tags/list"), Some(("a/b".to_owned(), What::Tags)));
        assert_eq!(
            what("api/blobs/uploads/"),
            Some(("api".to_owned(), What::Uploads))
        );
        assert_eq!(
            what("api/blobs/uploads/x"),
            Some(("api".to_owned(), What::Upload("x".to_owned())))
        );
        assert_eq!(
            what("api/manifests/1"),
            Some(("api".to_owned(), What::Manifest("1".to_owned())))
        );
        for path in [
            "",
            "api",
            "../etc/tags/list",
            "api/manifests/..",
            "API/tags/list",
            "tags/list",
        ] {
            assert_eq!(what(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(text in ".{0,80}") {
            let _ = target(&decode(&text));
            let _ = query(&text);
            let _ = scope(&text);
        }
    }
}
