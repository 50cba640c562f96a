use super::*;
use crate::api::ApiError;
use crate::model::ecr::repositories::{self, NewRepository};
use crate::model::tx::test_config;
use fogbank_store::Memory;
use fogbank_store::blob::Digest;
use http::StatusCode;
use http_body_util::{BodyExt, Full};

struct Registry {
    engine: Arc<Engine>,
    _data: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

async fn registry(mutability: &str) -> Registry {
    let data = tempfile::tempdir().unwrap();
    let mut config = test_config();
    config.data_dir = data.path().to_owned();
    let engine = Engine::start(Arc::new(Memory::new()), config)
        .await
        .unwrap();
    let (made, mutability) = (engine.clone(), mutability.to_owned());
    tokio::task::spawn_blocking(move || {
        for name in ["api", "other"] {
            let new = NewRepository {
                name: name.to_owned(),
                tag_mutability: Some(mutability.clone()),
                ..NewRepository::default()
            };
            let scope = Scope::new("000000000000", "us-east-1");
            made.write(|tx| Ok::<_, ApiError>(repositories::create(tx, &scope, new.clone())?))
                .unwrap();
        }
    })
    .await
    .unwrap();
    Registry {
        engine,
        _data: data,
    }
}

impl Registry {
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:4566");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let (parts, body) = handle(self.engine.clone(), Caller::Anyone, request)
            .await
            .into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    /// Pushes a blob in one piece.
    async fn push(&self, repository: &str, bytes: &[u8]) -> String {
        let begun = self
            .call(
                "POST",
                &format!("/v2/{repository}/blobs/uploads/"),
                &[],
                b"",
            )
            .await;
        assert_eq!(begun.status, 202);
        let digest = Digest::of(bytes).to_string();
        let place = format!(
            "{}?digest={}",
            begun.header("location"),
            digest.replace(':', "%3A")
        );
        assert_eq!(self.call("PUT", &place, &[], bytes).await.status, 201);
        digest
    }

    async fn manifest(&self, layer: &[u8]) -> Vec<u8> {
        let config = self.push("api", b"{}").await;
        let digest = self.push("api", layer).await;
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"digest":"{config}","size":2}},
                "layers":[{{"digest":"{digest}","size":{}}}]}}"#,
            layer.len()
        )
        .into_bytes()
    }
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn an_image_is_pushed_and_pulled() {
    let registry = registry("MUTABLE").await;
    assert_eq!(registry.call("GET", "/v2/", &[], b"").await.status, 200);
    let manifest = registry.manifest(b"layer").await;
    let put = registry
        .call(
            "PUT",
            "/v2/api/manifests/1",
            &[("content-type", OCI)],
            &manifest,
        )
        .await;
    assert_eq!(put.status, 201, "{:?}", String::from_utf8_lossy(&put.body));
    let digest = put.header("docker-content-digest").to_owned();
    for reference in ["1", digest.as_str()] {
        let got = registry
            .call("GET", &format!("/v2/api/manifests/{reference}"), &[], b"")
            .await;
        assert_eq!((got.status, got.body == manifest), (200, true));
        assert_eq!(got.header("content-type"), OCI);
        assert_eq!(got.header("docker-content-digest"), digest);
        let head = registry
            .call("HEAD", &format!("/v2/api/manifests/{reference}"), &[], b"")
            .await;
        assert_eq!(head.header("content-length"), manifest.len().to_string());
        assert!(head.body.is_empty());
    }
    let tags = registry.call("GET", "/v2/api/tags/list", &[], b"").await;
    assert_eq!(tags.body, br#"{"name":"api","tags":["1"]}"#);
    let blob = Digest::of(b"layer");
    let got = registry
        .call("GET", &format!("/v2/api/blobs/{blob}"), &[], b"")
        .await;
    assert_eq!(got.body, b"layer");
    let part = registry
        .call(
            "GET",
            &format!("/v2/api/blobs/{blob}"),
            &[("range", "bytes=1-2")],
            b"",
        )
        .await;
    assert_eq!(
        (
            part.status,
            part.body.as_slice(),
            part.header("content-range")
        ),
        (206, &b"ay"[..], "bytes 1-2/5")
    );
}

#[tokio::test]
async fn the_registry_is_named_by_the_host_or_by_the_path() {
    let registry = registry("MUTABLE").await;
    let host = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    let list = registry
        .call("GET", &format!("/v2/{host}/api/tags/list"), &[], b"")
        .await;
    assert_eq!(list.status, 200);
    let foreign = format!(
        "/v2/{}/api/tags/list",
        host.replace("us-east-1", "eu-west-1")
    );
    assert_eq!(
        registry.call("GET", &foreign, &[], b"").await.code(),
        "NAME_UNKNOWN"
    );
}

#[tokio::test]
async fn an_upload_goes_on_piece_by_piece() {
    let registry = registry("MUTABLE").await;
    let begun = registry
        .call("POST", "/v2/api/blobs/uploads/", &[], b"")
        .await;
    let place = begun.header("location").to_owned();
    let first = registry
        .call("PATCH", &place, &[("content-range", "0-3")], b"abcd")
        .await;
    assert_eq!((first.status, first.header("range")), (202, "0-3"));
    let gap = registry
        .call("PATCH", &place, &[("content-range", "9-9")], b"x")
        .await;
    assert_eq!((gap.status, gap.header("range")), (416, "0-3"));
    assert_eq!(
        registry.call("GET", &place, &[], b"").await.header("range"),
        "0-3"
    );
    assert_eq!(
        registry
            .call("PATCH", &place, &[("content-range", "4-5")], b"ef")
            .await
            .status,
        202
    );
    let digest = Digest::of(b"abcdefg");
    assert_eq!(
        registry
            .call("PUT", &format!("{place}?digest={digest}"), &[], b"g")
            .await
            .status,
        201
    );
    assert_eq!(
        registry.call("PATCH", &place, &[], b"x").await.code(),
        "BLOB_UPLOAD_UNKNOWN"
    );
}

#[tokio::test]
async fn a_lying_digest_leaves_nothing() {
    let registry = registry("MUTABLE").await;
    let digest = Digest::of(b"other");
    let lie = registry
        .call(
            "POST",
            &format!("/v2/api/blobs/uploads/?digest={digest}"),
            &[],
            b"bytes",
        )
        .await;
    assert_eq!((lie.status, lie.code().as_str()), (400, "DIGEST_INVALID"));
    assert_eq!(
        registry
            .call("HEAD", &format!("/v2/api/blobs/{digest}"), &[], b"")
            .await
            .status,
        404
    );
    let data = &registry.engine.config().data_dir;
    for folder in ["sha256", "partial"] {
        assert_eq!(
            std::fs::read_dir(data.join("blobs").join(folder))
                .unwrap()
                .count(),
            0,
            "{folder}"
        );
    }
    for text in ["x", "sha256:../../etc/passwd", "sha512:00"] {
        let place = format!("/v2/api/blobs/uploads/?digest={text}");
        assert_eq!(
            registry.call("POST", &place, &[], b"").await.code(),
            "DIGEST_INVALID"
        );
    }
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let registry = registry("MUTABLE").await;
    let digest = registry.push("other", b"shared").await;
    assert_eq!(
        registry
            .call("HEAD", &format!("/v2/api/blobs/{digest}"), &[], b"")
            .await
            .status,
        404
    );
    let place = format!("/v2/api/blobs/uploads/?mount={digest}&from=other");
    assert_eq!(registry.call("POST", &place, &[], b"").await.status, 201);
    assert_eq!(
        registry
            .call("HEAD", &format!("/v2/api/blobs/{digest}"), &[], b"")
            .await
            .status,
        200
    );
    let unknown = format!(
        "/v2/api/blobs/uploads/?mount={}&from=other",
        Digest::of(b"unknown")
    );
    assert_eq!(registry.call("POST", &unknown, &[], b"").await.status, 202);
}

#[tokio::test]
async fn refusals_have_ocis_form() {
    let registry = registry("IMMUTABLE").await;
    let nothing = registry
        .call("GET", "/v2/nothing/tags/list", &[], b"")
        .await;
    assert_eq!(
        (nothing.status, nothing.code().as_str()),
        (404, "NAME_UNKNOWN")
    );
    assert_eq!(
        registry
            .call("GET", "/v2/api/manifests/1", &[], b"")
            .await
            .code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        registry
            .call("PUT", "/v2/api/manifests/1", &[], b"{")
            .await
            .code(),
        "MANIFEST_INVALID"
    );
    let first = registry.manifest(b"one").await;
    assert_eq!(
        registry
            .call("PUT", "/v2/api/manifests/1", &[], &first)
            .await
            .status,
        201
    );
    let second = registry.manifest(b"two").await;
    let moved = registry
        .call("PUT", "/v2/api/manifests/1", &[], &second)
        .await;
    assert_eq!((moved.status, moved.code().as_str()), (400, "TAG_INVALID"));
    let missing = String::from_utf8(second)
        .unwrap()
        .replace("\"size\":3", "\"size\":4");
    let missing = registry
        .call("PUT", "/v2/api/manifests/2", &[], missing.as_bytes())
        .await;
    assert_eq!(missing.code(), "MANIFEST_BLOB_UNKNOWN");
    for path in [
        "/v2/../etc/passwd",
        "/v2/api/manifests/..",
        "/v2/API/tags/list",
        "/v2/api",
    ] {
        assert_eq!(
            registry.call("GET", path, &[], b"").await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{path}"
        );
    }
    let large = vec![b' '; crate::model::ecr::manifest::BYTES_MAX + 1];
    assert_eq!(
        registry
            .call("PUT", "/v2/api/manifests/3", &[], &large)
            .await
            .status,
        413
    );
}

#[tokio::test]
async fn many_pushes_at_once_all_arrive() {
    let registry = Arc::new(registry("MUTABLE").await);
    let pushes: Vec<_> = (0..16)
        .map(|n| {
            let registry = registry.clone();
            tokio::spawn(async move {
                registry
                    .push("api", format!("blob {}", n % 8).as_bytes())
                    .await
            })
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    assert_eq!(registry.engine.snapshot().layers.len(), 8);
}

#[tokio::test]
async fn blobs_that_no_row_names_go_and_those_of_uploads_under_way_stay() {
    let registry = registry("MUTABLE").await;
    let manifest = registry.manifest(b"layer").await;
    let headers = [("content-type", OCI)];
    let put = registry
        .call("PUT", "/v2/api/manifests/1", &headers, &manifest)
        .await;
    assert_eq!(put.status, 201);
    let begun = registry
        .call("POST", "/v2/api/blobs/uploads/", &[], b"")
        .await;
    let place = begun.header("location").to_owned();
    assert_eq!(
        registry.call("PATCH", &place, &[], b"half").await.status,
        202
    );
    let blobs = fogbank_store::blob::BlobStore::open(&registry.engine.config().data_dir).unwrap();
    let orphan = blobs.put(b"pulled by an older version").unwrap();
    let engine = registry.engine.clone();
    tokio::task::spawn_blocking(move || {
        collector::collect_all(engine.config(), || engine.snapshot())
    })
    .await
    .unwrap();
    assert_eq!(blobs.size(&orphan).unwrap(), None);
    for bytes in [b"{}", b"layer" as &[u8], &manifest] {
        assert!(blobs.size(&Digest::of(bytes)).unwrap().is_some());
    }
    let whole = Digest::of(b"half and half");
    let place = format!("{place}?digest={}", whole.to_string().replace(':', "%3A"));
    assert_eq!(
        registry.call("PUT", &place, &[], b" and half").await.status,
        201
    );
}
