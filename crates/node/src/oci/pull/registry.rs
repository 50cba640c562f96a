//! The distribution protocol as a client that only reads:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull>.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_store::blob::{BlobWriter, Digest};
use http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, RANGE, USER_AGENT, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::challenge::Challenge;
use super::connection::{ANSWER_TIMEOUT, Way};
use super::{Credentials, Place, Progress, PullError, Reference, RemoteImage};
use crate::oci::ImageCache;
use crate::oci::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, MANIFEST_LIMIT_BYTES, Manifest, OCI_INDEX,
    OCI_MANIFEST,
};

/// Layers under way at a time, as containerd's and Docker's default.
const LAYERS_AT_ONCE: usize = 3;
/// How often a blob that broke off is gone on with.
const BLOB_TRIES: u32 = 5;
const BLOB_PAUSE: Duration = Duration::from_millis(500);
const REDIRECTS_MAX: usize = 5;
/// A login's token and an error's text are small.
const TEXT_LIMIT_BYTES: u64 = 1 << 20;
const MESSAGE_CHARS: usize = 300;

/// A registry's repository, as one pull sees it.
pub struct Registry {
    way: Way,
    image: RemoteImage,
    credentials: Option<Credentials>,
    /// Value of the Authorization header, once the registry has said what it wants.
    login: Mutex<Option<String>>,
}

type Answer = Response<Incoming>;

impl Registry {
    pub fn new(way: Way, image: &RemoteImage, credentials: Option<Credentials>) -> Self {
        Self {
            way,
            image: image.clone(),
            credentials,
            login: Mutex::new(None),
        }
    }

    /// See [`super::pull`].
    pub async fn pull(
        self: &Rc<Self>,
        place: &Place,
        progress: &Arc<Progress>,
    ) -> Result<Digest, PullError> {
        let (top, document) = self.document(place, &self.image.reference).await?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                let chosen = index.choose(&place.platform)?.digest;
                match self.document(place, &Reference::Digest(chosen)).await? {
                    (_, Document::Manifest(manifest)) => manifest,
                    _ => return Err(self.malformed("an index names an index")),
                }
            }
        };
        self.blobs(place, &manifest, progress).await?;
        Ok(top)
    }

    /// A manifest or an index, checked, read, and kept.
    async fn document(
        &self,
        place: &Place,
        reference: &Reference,
    ) -> Result<(Digest, Document), PullError> {
        if let Reference::Digest(digest) = reference
            && place.cache.touch(digest)?.is_some()
            && let Some(bytes) = place.cache.blobs().read(digest, MANIFEST_LIMIT_BYTES)?
            && Digest::of(&bytes) == *digest
        {
            return Ok((*digest, Document::parse(&bytes)?));
        }
        let answer = self.get("manifests", &reference.to_string(), None).await?;
        let bytes = self.small(answer, MANIFEST_LIMIT_BYTES).await?;
        let digest = Digest::of(&bytes);
        if matches!(reference, Reference::Digest(asked) if *asked != digest) {
            return Err(self.malformed("the manifest has another digest"));
        }
        let document = Document::parse(&bytes)?;
        place.cache.blobs().put(&bytes)?;
        place.cache.touch(&digest)?;
        Ok((digest, document))
    }

    async fn blobs(
        self: &Rc<Self>,
        place: &Place,
        manifest: &Manifest,
        progress: &Arc<Progress>,
    ) -> Result<(), PullError> {
        let all = || manifest.layers.iter().chain([&manifest.config]);
        let total = all().map(|blob| blob.size).sum();
        progress.total.store(total, Ordering::Relaxed);
        let slots = Rc::new(Semaphore::new(LAYERS_AT_ONCE));
        let mut fetches = JoinSet::new();
        for blob in all() {
            let (registry, slots, blob) = (Rc::clone(self), Rc::clone(&slots), blob.clone());
            let (cache, progress) = (Arc::clone(&place.cache), Arc::clone(progress));
            fetches.spawn_local(async move {
                let _slot = slots.acquire().await;
                registry.blob(&cache, &blob, &progress).await
            });
        }
        // The first that fails ends the rest.
        while let Some(fetched) = fetches.join_next().await {
            match fetched {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }

    /// One blob, gone on with where it broke off.
    async fn blob(
        &self,
        cache: &ImageCache,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<(), PullError> {
        if cache.touch(&blob.digest)? == Some(blob.size) {
            progress.add(blob.size);
            return Ok(());
        }
        let mut writer = cache.blobs().writer()?;
        let mut tries = 0;
        while let Err(error) = self.rest_of(blob, &mut writer, progress).await {
            tries += 1;
            if tries > BLOB_TRIES || !error.may_pass() {
                return Err(error);
            }
            tracing::info!(image = self.image.name, %error, "a blob broke off; going on with it");
            tokio::time::sleep(BLOB_PAUSE * tries).await;
        }
        writer.commit(Some(&blob.digest))?;
        // Another pull may have brought it before, and then the writer has left it as it was.
        cache.touch(&blob.digest)?;
        Ok(())
    }

    async fn rest_of(
        &self,
        blob: &Descriptor,
        writer: &mut BlobWriter,
        progress: &Progress,
    ) -> Result<(), PullError> {
        let from = writer.written();
        let range = (from > 0).then(|| format!("bytes={from}-"));
        let answer = self
            .get("blobs", &blob.digest.to_string(), range.as_deref())
            .await?;
        // Who does not know ranges sends the whole again: what is here already is passed over.
        let mut skip = if answer.status() == StatusCode::PARTIAL_CONTENT {
            0
        } else {
            from
        };
        let mut body = answer.into_body();
        let broken = |reason: String| PullError::BrokenOff {
            digest: blob.digest,
            reason,
        };
        loop {
            let frame = match timeout(ANSWER_TIMEOUT, body.frame()).await {
                Err(_) => return Err(broken("no data in time".to_owned())),
                Ok(None) if writer.written() < blob.size => {
                    return Err(broken(format!("{} bytes came", writer.written())));
                }
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => frame.map_err(|error| broken(error.to_string()))?,
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let passed = usize::try_from(skip).map_or(data.len(), |skip| skip.min(data.len()));
            skip -= passed as u64;
            let fresh = &data[passed..];
            if writer.written() + fresh.len() as u64 > blob.size {
                return Err(PullError::TooLarge {
                    digest: blob.digest,
                    size: blob.size,
                });
            }
            writer.append(fresh)?;
            progress.add(fresh.len() as u64);
        }
    }

    /// `GET /v2/<repository>/<kind>/<name>`, with a login if the registry asks for one, redirects followed.
    async fn get(&self, kind: &str, name: &str, range: Option<&str>) -> Result<Answer, PullError> {
        let path = format!("/v2/{}/{kind}/{name}", self.image.repository);
        let mut login = self.login.lock().await.clone();
        for _ in 0..2 {
            let answer = self
                .follow(&self.image.host, &path, login.as_deref(), range)
                .await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return self.checked(&self.image.host, answer).await;
            }
            let header = answer.headers().get(WWW_AUTHENTICATE);
            let challenge = header
                .and_then(|value| Challenge::parse(value.to_str().ok()?))
                .ok_or_else(|| self.malformed("no challenge that is known"))?;
            let fresh = self.log_in(&challenge).await?;
            if login.as_deref() == Some(fresh.as_str()) {
                break;
            }
            *self.login.lock().await = Some(fresh.clone());
            login = Some(fresh);
        }
        Err(PullError::Denied {
            message: "authorization failed".to_owned(),
        })
    }

    async fn log_in(&self, challenge: &Challenge) -> Result<String, PullError> {
        let basic = self.credentials.as_ref().map(|user| {
            let pair = format!("{}:{}", user.username, user.password);
            format!("Basic {}", STANDARD.encode(pair))
        });
        let (realm, service, scope) = match challenge {
            Challenge::Basic => {
                return basic.ok_or_else(|| PullError::Denied {
                    message: "no basic auth credentials".to_owned(),
                });
            }
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => (realm, service, scope),
        };
        let bad = || self.malformed("its token service has no https address");
        let uri: Uri = realm.parse().map_err(|_| bad())?;
        let host = match (uri.scheme_str(), uri.authority()) {
            (Some("https"), Some(authority)) => authority.to_string(),
            _ => return Err(bad()),
        };
        let own = format!("repository:{}:pull", self.image.repository);
        let mut path = uri.path().to_owned();
        path.push('?');
        if let Some(query) = uri.query() {
            path.push_str(query);
            path.push('&');
        }
        if let Some(service) = service {
            path.push_str(&format!("service={}&", encoded(service)));
        }
        path.push_str(&format!(
            "scope={}",
            encoded(scope.as_ref().unwrap_or(&own))
        ));
        let answer = self.follow(&host, &path, basic.as_deref(), None).await?;
        let answer = self.checked(&host, answer).await?;
        let bytes = self.small(answer, TEXT_LIMIT_BYTES).await?;
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| self.malformed("its token service gives no token"))?;
        Ok(format!("Bearer {token}"))
    }

    /// Follows redirects; a login goes to the first host only.
    async fn follow(
        &self,
        host: &str,
        path: &str,
        login: Option<&str>,
        range: Option<&str>,
    ) -> Result<Answer, PullError> {
        let mut hop = Hop {
            host: host.to_owned(),
            path: path.to_owned(),
            login,
        };
        for _ in 0..=REDIRECTS_MAX {
            let request = self.request(&hop.host, &hop.path, hop.login, range)?;
            let answer = self.way.send(&hop.host, request).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            hop = hop
                .next(location.unwrap_or_default())
                .map_err(|what| self.malformed(what))?;
        }
        Err(self.malformed("too many redirects"))
    }

    fn request(
        &self,
        host: &str,
        path: &str,
        login: Option<&str>,
        range: Option<&str>,
    ) -> Result<Request<Empty<Bytes>>, PullError> {
        let accept = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
        let mut request = Request::get(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("fogbank/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, format!("{accept}, */*"));
        if let Some(login) = login {
            request = request.header(AUTHORIZATION, login);
        }
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        request
            .body(Empty::new())
            .map_err(|_| self.malformed("an address that no request can be sent to"))
    }

    /// An answer that is none of what was asked for, as the error it is.
    async fn checked(&self, host: &str, answer: Answer) -> Result<Answer, PullError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.small(answer, TEXT_LIMIT_BYTES).await;
        let message = message(&text.unwrap_or_default());
        Err(match status {
            StatusCode::NOT_FOUND => PullError::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PullError::Denied { message },
            StatusCode::TOO_MANY_REQUESTS => PullError::TooManyRequests { message },
            _ => PullError::Status {
                host: host.to_owned(),
                status: status.as_u16(),
                message,
            },
        })
    }

    /// The whole body, if it is no larger than that.
    async fn small(&self, answer: Answer, limit: u64) -> Result<Vec<u8>, PullError> {
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        let failed = |source| PullError::Unreachable {
            host: self.image.host.clone(),
            source,
        };
        loop {
            match timeout(ANSWER_TIMEOUT, body.frame()).await {
                Err(_) => return Err(failed(std::io::ErrorKind::TimedOut.into())),
                Ok(None) => return Ok(bytes),
                Ok(Some(Err(error))) => return Err(failed(std::io::Error::other(error))),
                Ok(Some(Ok(frame))) => {
                    bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                }
            }
            if bytes.len() as u64 > limit {
                return Err(self.malformed("it is too large"));
            }
        }
    }

    fn malformed(&self, what: &'static str) -> PullError {
        PullError::Malformed {
            host: self.image.host.clone(),
            what,
        }
    }
}

/// Where a request goes, and with what login.
#[derive(Debug, PartialEq, Eq)]
struct Hop<'a> {
    host: String,
    path: String,
    login: Option<&'a str>,
}

impl<'a> Hop<'a> {
    /// Where a `Location` leads from here: never away from https, and to another host without the login.
    fn next(self, location: &str) -> Result<Self, &'static str> {
        let uri: Uri = location.parse().map_err(|_| "a redirect to nowhere")?;
        let path = uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        let Some(authority) = uri.authority() else {
            return Ok(Self { path, ..self });
        };
        if uri.scheme_str() != Some("https") {
            return Err("a redirect away from https");
        }
        Ok(Self {
            login: self.login.filter(|_| authority.as_str() == self.host),
            host: authority.to_string(),
            path,
        })
    }
}

/// For a query: letters, digits and `-._~` stay.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// What a registry's error says: `{"errors":[{"code":"DENIED","message":"..."}]}`.
fn message(bytes: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let first = document.as_ref().and_then(|json| json.pointer("/errors/0"));
    let text = |name: &str| first?.get(name)?.as_str();
    let full = match (text("code"), text("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    full.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_in_the_registrys_words_and_bounded() {
        let json = br#"{"errors":[{"code":"DENIED","message":"requested access is denied","detail":null}]}"#;
        assert_eq!(message(json), "DENIED: requested access is denied");
        assert_eq!(message(b"<html>\n\x1b[2J"), "<html>[2J");
        assert_eq!(message(&[b'x'; 5_000]).len(), MESSAGE_CHARS);
    }

    #[test]
    fn a_login_goes_to_no_other_host_and_nothing_leaves_https() {
        let from = || Hop {
            host: "r.example:5000".to_owned(),
            path: "/v2/a/blobs/x".to_owned(),
            login: Some("Bearer token"),
        };
        let to = |host: &str, path: &str, login| {
            Ok(Hop {
                host: host.to_owned(),
                path: path.to_owned(),
                login,
            })
        };
        let login = Some("Bearer token");
        let table = [
            ("/other?x=1", to("r.example:5000", "/other?x=1", login)),
            (
                "https://r.example:5000/b",
                to("r.example:5000", "/b", login),
            ),
            (
                "https://cdn.example/b?sig=1",
                to("cdn.example", "/b?sig=1", None),
            ),
            ("https://r.example/b", to("r.example", "/b", None)),
            ("http://r.example:5000/b", Err("a redirect away from https")),
            ("", Err("a redirect to nowhere")),
            ("https://", Err("a redirect to nowhere")),
        ];
        for (location, expected) in table {
            assert_eq!(from().next(location), expected, "{location}");
        }
    }

    #[test]
    fn a_query_holds_no_character_with_a_meaning() {
        assert_eq!(encoded("a:b/c d&e"), "a%3Ab%2Fc%20d%26e");
    }
}
