//! `public-keys.auth.elb.<region>.amazonaws.com/<key id>`: where targets fetch the key that load balancers sign users'
//! claims with (`x-amzn-oidc-data`). Called by `server` for requests to that host; also on the region's own endpoint, for
//! programs on the host that name it in their Host header.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html>

use std::path::Path;

use bytes::Bytes;
use fogbank_pki::SigningKey;
use http::{HeaderValue, Method, Response, StatusCode, header};

/// Whether a request is for the keys.
pub fn is_host(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let region = name
        .strip_prefix("public-keys.auth.elb.")
        .and_then(|rest| rest.strip_suffix(".amazonaws.com"));
    region.is_some_and(|region| !region.is_empty() && !region.contains('.'))
}

/// Reads a file.
pub fn answer(data_dir: &Path, method: &Method, path: &str) -> Response<Bytes> {
    let refuse = |status| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        response
    };
    if method != Method::GET && method != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    let key = match SigningKey::open(data_dir) {
        Ok(key) => key,
        Err(error) => {
            tracing::error!(%error, "the key for users' claims cannot be read");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    if path.strip_prefix('/') != Some(key.id()) {
        return refuse(StatusCode::NOT_FOUND);
    }
    let mut response = Response::new(Bytes::copy_from_slice(key.public_pem().as_bytes()));
    let kind = HeaderValue::from_static("binary/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_key_is_where_aws_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::open(folder.path()).unwrap();
        let get = |path: &str| answer(folder.path(), &Method::GET, path);
        let found = get(&format!("/{}", key.id()));
        assert_eq!(found.status(), StatusCode::OK);
        assert!(found.body().starts_with(b"-----BEGIN PUBLIC KEY-----"));
        assert_eq!(get("/other").status(), StatusCode::NOT_FOUND);
        let put = answer(folder.path(), &Method::PUT, "/");
        assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn no_other_host_has_keys() {
        assert!(is_host("public-keys.auth.elb.us-east-1.amazonaws.com"));
        assert!(is_host("Public-Keys.auth.elb.eu-west-1.amazonaws.com:4566"));
        for other in [
            "127.0.0.1:4566",
            "public-keys.auth.elb..amazonaws.com",
            "elb.us-east-1.amazonaws.com",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }
}
