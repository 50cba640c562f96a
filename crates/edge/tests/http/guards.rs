//! Guards end to end: a browser that logs in with a provider, programs that bring tokens, and all that must not pass.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fogbank_edge::http::{
    Action, FixedResponse, Guard, Guards, Home, LogDestination, Logs, Outside, Worker,
};
use fogbank_types::elb::{AuthenticateOidc, JwtClaim, OnUnauthenticated};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::bed::{Answer, Bed, Origin, PORT, Script, ok, own_address};
use crate::logs::{fields, lines};
use crate::pki::{Caller, own, secure};
use crate::provider::{CLIENT, Manners, Provider, SUBJECT, Sign, now_s};

const APP: &str = "app.test";
const CALLBACK: &str = "/oauth2/idpresponse";

struct Guarded {
    bed: Bed,
    provider: Provider,
    origin: Origin,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn new() -> Self {
        Self::before(|_| ok("secret")).await
    }

    /// An HTTPS listener before this origin, without a guard yet.
    async fn before(script: impl Fn(&crate::bed::Seen) -> Script + Send + Sync + 'static) -> Self {
        let (provider, origin) = (Provider::start().await, Origin::start(script).await);
        let folder = tempfile::tempdir().expect("a folder");
        let mut bed = Bed::new(&[origin.address]);
        bed.address = (own_address(), PORT).into();
        let home = Home {
            data_folder: folder.path().to_owned(),
            eni: "eni-1".into(),
        };
        let guards = Guards::new(Outside {
            data_folder: Some(folder.path().to_owned()),
            resolver: provider.resolver,
            roots: provider.roots(),
        });
        bed.worker = Worker::with_guards(bed.address.ip(), 100, Logs::new(home), guards);
        bed.change(|table| {
            secure(table, &[("certificate", &own(&[APP]))]);
            table.cookie_secret = "ab".repeat(32);
            table.identity.account = "000000000000".into();
            table.identity.region = "us-east-1".into();
            table.attributes.access_log = Some(LogDestination {
                bucket: "logs".into(),
                prefix: None,
            });
        });
        Self {
            bed,
            provider,
            origin,
            folder,
        }
    }

    async fn with_login() -> Self {
        let mut guarded = Self::new().await;
        guarded.log_in_with(|_| {});
        guarded
    }

    fn log_in_with(&mut self, change: impl FnOnce(&mut AuthenticateOidc)) {
        let mut oidc = self.provider.oidc();
        change(&mut oidc);
        self.guard(Guard::AuthenticateOidc(oidc));
    }

    fn guard(&mut self, guard: Guard) {
        self.bed
            .change(|table| table.listeners[0].default_guard = Some(guard));
    }

    /// `error_reason` of the last request. The logs end with it.
    fn last_reason(&self) -> String {
        let lines = lines(&self.bed, self.folder.path(), "000000000000_elasticload");
        fields(lines.last().expect("a line"))[24].clone()
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        let mut client = Caller::new().call(&self.bed, APP).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {APP}\r\n{headers}\r\n");
        client.send(&head).await;
        client.answer().await
    }
}

/// Keeps cookies.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn get(&mut self, guarded: &Guarded, path: &str) -> Answer {
        let pairs = self.cookies.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = format!("Cookie: {}\r\n", pairs.join("; "));
        let answer = guarded.get(path, &cookies).await;
        for line in answer.head.lines() {
            if let Some(cookie) = line.strip_prefix("Set-Cookie: ") {
                assert!(cookie.contains("; Secure; HttpOnly"), "{cookie}");
                let pair = cookie.split(';').next().expect("a pair");
                let (name, value) = pair.split_once('=').expect("a value");
                if cookie.contains("Expires=Thu, 01 Jan 1970") {
                    self.cookies.remove(name);
                } else {
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        answer
    }

    /// Asks for a page, and tells the provider of the login; gives the address to come back to.
    async fn begin(&mut self, guarded: &Guarded, path: &str) -> String {
        let answer = self.get(guarded, path).await;
        assert_eq!(answer.status, 302, "{}", answer.head);
        let parameters = parameters(answer.header("location").expect("a place to go"));
        let nonce = parameters["nonce"].clone();
        guarded.provider.change(|manners| manners.nonce = nonce);
        format!("{CALLBACK}?code=code-1&state={}", parameters["state"])
    }

    async fn log_in(&mut self, guarded: &Guarded) -> Answer {
        let back = self.begin(guarded, "/orders?x=1&y=%2F").await;
        self.get(guarded, &back).await
    }
}

fn parameters(location: &str) -> BTreeMap<String, String> {
    let (_, query) = location.split_once('?').expect("a query");
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').expect("a value"));
    pairs
        .map(|(name, value)| {
            let value = value
                .replace("%3A", ":")
                .replace("%2F", "/")
                .replace("%20", " ");
            (name.to_owned(), value)
        })
        .collect()
}

#[tokio::test]
async fn a_user_logs_in_and_the_target_knows_who_it_is() {
    let guarded = Guarded::with_login().await;
    let mut browser = Browser::default();
    let answer = browser.get(&guarded, "/orders?x=1&y=%2F").await;
    assert_eq!(answer.status, 302);
    let location = answer.header("location").expect("a place to go");
    assert!(location.starts_with(&guarded.provider.url("/authorize?client_id=client-1&")));
    let asked = parameters(location);
    assert_eq!(asked["redirect_uri"], format!("https://{APP}{CALLBACK}"));
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["scope"], "openid email");
    assert_eq!(asked["display"], "page");
    let answer = browser.log_in(&guarded).await;
    assert_eq!(answer.status, 302);
    let back = answer.header("location").expect("a place to go");
    assert_eq!(back, format!("https://{APP}/orders?x=1&y=%2F"));
    let form = guarded.provider.calls("/token")[0].body.clone();
    let form = String::from_utf8(form).expect("a form");
    assert!(form.contains("grant_type=authorization_code&code=code-1&redirect_uri=https%3A%2F%2F"));

    // A client's own word for who it is does not count.
    let lie = "Cookie: X=1; ".to_owned()
        + &browser
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}; "))
            .collect::<String>()
        + "\r\nX-Amzn-Oidc-Identity: admin\r\nx_amzn_oidc_data: a.b.c\r\n";
    let answer = guarded.get("/orders?x=1&y=%2F", &lie).await;
    assert_eq!((answer.status, &answer.text()[..]), (200, "secret"));
    assert_eq!(answer.header("set-cookie"), None);
    let seen = guarded.origin.last();
    assert_eq!(seen.head.to_lowercase().matches("oidc-identity").count(), 1);
    assert!(!seen.head.contains("x_amzn_oidc"));
    assert_eq!(seen.header("x-amzn-oidc-identity"), Some(SUBJECT));
    assert_eq!(seen.header("x-amzn-oidc-accesstoken"), Some("access-1"));
    check_data(&guarded, seen.header("x-amzn-oidc-data").expect("claims"));
    let counts = guarded.bed.worker.counts().node;
    assert_eq!((counts.auth_successes, counts.auth_times.count()), (1, 1));
    assert_eq!((counts.auth_failures, counts.auth_errors), (0, 0));
    assert_eq!(guarded.last_reason(), "-");
}

fn check_data(guarded: &Guarded, data: &str) {
    let parts: Vec<&str> = data.split('.').collect();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE.decode(part).expect("base64")).expect("JSON")
    };
    let (header, claims) = (read(parts[0]), read(parts[1]));
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["client"], CLIENT);
    assert_eq!(header["iss"], guarded.provider.url(""));
    let signer = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/test/1";
    assert_eq!(header["signer"], signer);
    assert_eq!(
        (&claims["sub"], &claims["email"]),
        (&json!(SUBJECT), &json!("a@b.test"))
    );
    assert!(claims["exp"].as_u64().expect("a time") >= now_s());
    let key = fogbank_pki::SigningKey::open(guarded.folder.path()).expect("a key");
    assert_eq!(header["kid"], key.id());
    let spki = rustls::pki_types::pem::PemObject::from_pem_slice(key.public_pem().as_bytes());
    let spki: rustls::pki_types::SubjectPublicKeyInfoDer<'_> = spki.expect("PEM");
    let point = &spki.as_ref()[spki.as_ref().len() - 65..];
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = URL_SAFE.decode(parts[2]).expect("base64");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    assert!(key.verify(signed.as_bytes(), &signature).is_ok());
}

/// What a provider says, what the user gets for it, and what the log says.
type Refused = (&'static str, fn(&mut Manners), u16, &'static str);

const REFUSED: [Refused; 21] = [
    (
        "nonce",
        |m| m.id_claims = json!({"nonce": "other"}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "no nonce",
        |m| m.id_claims = json!({"nonce": null}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "issuer",
        |m| m.id_claims = json!({"iss": "https://b"}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "audience",
        |m| m.id_claims = json!({"aud": "other"}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "audiences",
        |m| m.id_claims = json!({"aud": [CLIENT, "b"]}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "party",
        |m| m.id_claims = json!({"azp": "other"}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "expired",
        |m| m.id_claims = json!({"exp": now_s()}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "no end",
        |m| m.id_claims = json!({"exp": null}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "future",
        |m| m.id_claims = json!({"iat": now_s() + 90}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "nobody",
        |m| m.id_claims = json!({"sub": null}),
        401,
        "AuthInvalidIdToken",
    ),
    (
        "bad signature",
        |m| m.sign = Sign::Foreign,
        401,
        "AuthInvalidIdToken",
    ),
    (
        "alg none",
        |m| m.sign = Sign::Nothing,
        401,
        "AuthInvalidIdToken",
    ),
    (
        "used code",
        |m| m.token_answer = Some((400, r#"{"error":"invalid_grant"}"#.into())),
        401,
        "AuthInvalidGrantError",
    ),
    (
        "broken",
        |m| m.token_answer = Some((503, String::new())),
        561,
        "AuthTokenEpRequestFailed",
    ),
    (
        "no JSON",
        |m| m.token_answer = Some((200, "x".into())),
        401,
        "AuthInvalidTokenResponse",
    ),
    (
        "no ID token",
        |m| m.token_answer = Some((200, r#"{"access_token":"a","token_type":"Bearer"}"#.into())),
        401,
        "AuthInvalidTokenResponse",
    ),
    (
        "no info",
        |m| m.user_info_status = 500,
        561,
        "AuthUserinfoEpRequestFailed",
    ),
    (
        "another",
        |m| m.user_info["sub"] = json!("b"),
        401,
        "AuthInvalidUserinfoResponse",
    ),
    (
        "no object",
        |m| m.user_info = json!([]),
        401,
        "AuthInvalidUserinfoResponse",
    ),
    (
        "oversized claims",
        |m| m.user_info["x"] = json!("x".repeat(11 * 1024)),
        401,
        "AuthUserinfoResponseSizeExceeded",
    ),
    (
        "far too large",
        |m| m.user_info["x"] = json!("x".repeat(80 * 1024)),
        401,
        "AuthUserinfoResponseSizeExceeded",
    ),
];

#[tokio::test]
async fn who_the_provider_does_not_vouch_for_is_kept_out() {
    let guarded = Guarded::with_login().await;
    let plain = guarded.provider.manners.lock().expect("no panic").clone();
    for (what, change, status, _) in REFUSED {
        guarded.provider.change(|manners| {
            *manners = plain.clone();
            change(manners);
        });
        let mut browser = Browser::default();
        let answer = browser.log_in(&guarded).await;
        assert_eq!(answer.status, status, "{what}");
        assert!(
            browser.cookies.keys().all(|name| !name.contains("Session")),
            "{what}"
        );
    }
    assert!(guarded.origin.seen().is_empty());
    let counts = guarded.bed.worker.counts().node;
    assert_eq!(counts.auth_claims_too_large, 2);
    assert_eq!((counts.auth_failures, counts.auth_errors), (17, 4));
    let lines = lines(
        &guarded.bed,
        guarded.folder.path(),
        "000000000000_elasticload",
    );
    let callbacks = lines.iter().filter(|line| line.contains(CALLBACK));
    let reasons: Vec<_> = callbacks.map(|line| fields(line)[24].clone()).collect();
    let expected: Vec<_> = REFUSED.iter().map(|refused| refused.3).collect();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_provider_may_sign_as_it_likes() {
    let guarded = Guarded::with_login().await;
    type Row = (&'static str, fn(&mut Manners));
    let table: [Row; 5] = [
        ("elliptic", |m| m.sign = Sign::Es256),
        ("with the secret", |m| m.sign = Sign::Hs256),
        ("one of two audiences", |m| {
            m.id_claims = json!({"aud": ["b", CLIENT], "azp": CLIENT});
        }),
        ("secret in the form", |m| m.wants_post = true),
        ("a time as text", |m| m.expires_in = json!("60")),
    ];
    for (what, change) in table {
        guarded.provider.change(change);
        let answer = Browser::default().log_in(&guarded).await;
        assert_eq!((what, answer.status), (what, 302));
    }
}

#[tokio::test]
async fn without_published_keys_the_endpoints_certificate_vouches() {
    let guarded = Guarded::with_login().await;
    guarded.provider.change(|manners| manners.publishes = false);
    let answer = Browser::default().log_in(&guarded).await;
    assert_eq!(answer.status, 302);
    // But nobody vouches for a token without a signature.
    guarded
        .provider
        .change(|manners| manners.sign = Sign::Nothing);
    let answer = Browser::default().log_in(&guarded).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_callback_that_nobody_asked_for_is_refused() {
    let guarded = Guarded::with_login().await;
    let mut browser = Browser::default();
    let back = browser.begin(&guarded, "/").await;
    let state = back.split("state=").nth(1).expect("a state").to_owned();
    let with = |query: &str| format!("{CALLBACK}?{query}");
    let mut changed = state.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    let table = [
        (with("code=a"), 400, "AuthMissingStateParam"),
        (with("code=a&state="), 400, "AuthMissingStateParam"),
        (with("code=a&state=x"), 400, "AuthInvalidStateParam"),
        (
            with(&format!("code=a&state={changed}")),
            400,
            "AuthInvalidStateParam",
        ),
        (with(&format!("state={state}")), 400, "AuthMissingCodeParam"),
        (
            with(&format!("state={state}&error=access_denied")),
            401,
            "AuthMissingCodeParam",
        ),
        (
            with(&format!("state={state}&error=server_error")),
            561,
            "AuthMissingCodeParam",
        ),
    ];
    for (path, status, _) in &table {
        assert_eq!(browser.get(&guarded, path).await.status, *status, "{path}");
    }
    // Another browser: a login that somebody else began.
    assert_eq!(Browser::default().get(&guarded, &back).await.status, 401);
    let mut other = Browser::default();
    other.begin(&guarded, "/").await;
    assert_eq!(other.get(&guarded, &back).await.status, 401);
    assert!(guarded.provider.calls("/token").is_empty());
    let lines = lines(
        &guarded.bed,
        guarded.folder.path(),
        "000000000000_elasticload",
    );
    let callbacks = lines.iter().filter(|line| line.contains(CALLBACK));
    let reasons: Vec<_> = callbacks.map(|line| fields(line)[24].clone()).collect();
    let mut expected: Vec<_> = table.iter().map(|row| row.2).collect();
    expected.extend(["AuthMissingAWSALBAuthNonce", "AuthInvalidAWSALBAuthNonce"]);
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_cookie_counts_for_its_own_client_and_as_it_was_given() {
    let mut guarded = Guarded::with_login().await;
    let mut browser = Browser::default();
    browser.log_in(&guarded).await;
    assert_eq!(browser.get(&guarded, "/").await.status, 200);
    let name = "AWSELBAuthSessionCookie-0";
    let own = browser.cookies[name].clone();
    browser
        .cookies
        .insert(name.into(), own.replacen(|_| true, "~", 1));
    assert_eq!(browser.get(&guarded, "/").await.status, 302);
    browser.cookies.insert(name.into(), own);
    assert_eq!(browser.get(&guarded, "/").await.status, 200);
    guarded.log_in_with(|oidc| oidc.client_id = "client-2".into());
    assert_eq!(browser.get(&guarded, "/").await.status, 302);
    assert_eq!(guarded.bed.worker.counts().node.auth_failures, 2);
    assert_eq!(guarded.last_reason(), "AuthInvalidCookie");
}

#[tokio::test]
async fn who_is_not_logged_in_is_treated_as_the_rule_says() {
    let mut guarded = Guarded::new().await;
    guarded.log_in_with(|oidc| oidc.on_unauthenticated = OnUnauthenticated::Deny);
    assert_eq!(guarded.get("/", "").await.status, 401);
    guarded.log_in_with(|oidc| oidc.on_unauthenticated = OnUnauthenticated::Allow);
    let answer = guarded.get("/", "X-Amzn-Oidc-Identity: admin\r\n").await;
    assert_eq!(answer.status, 200);
    assert!(!guarded.origin.last().head.to_lowercase().contains("oidc"));
    // "AuthMissingHostHeader": HTTP/1.0 without one.
    guarded.log_in_with(|_| {});
    let mut client = Caller::new().call(&guarded.bed, APP).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 401);
    assert_eq!(guarded.last_reason(), "AuthMissingHostHeader");
}

#[tokio::test]
async fn a_large_session_goes_in_several_cookies() {
    let guarded = Guarded::with_login().await;
    guarded
        .provider
        .change(|manners| manners.user_info["x"] = json!("x".repeat(10_500)));
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&guarded).await.status, 302);
    assert!(browser.cookies.contains_key("AWSELBAuthSessionCookie-3"));
    assert_eq!(browser.get(&guarded, "/").await.status, 200);
    let data = guarded.origin.last();
    let data = data.header("x-amzn-oidc-data").expect("claims");
    assert!(data.len() > 14_000);
}

#[tokio::test]
async fn a_session_is_renewed_with_its_refresh_token_until_that_fails() {
    let guarded = Guarded::with_login().await;
    guarded.provider.change(|manners| {
        manners.expires_in = json!(0);
        manners.refresh_token = Some("refresh-1".into());
    });
    let mut browser = Browser::default();
    browser.log_in(&guarded).await;
    guarded.provider.change(|manners| {
        manners.expires_in = json!(3600);
        manners.refresh_token = Some("refresh-2".into());
        manners.user_info["email"] = json!("new@b.test");
    });
    // A page is many requests; each refresh token is used once.
    let mut others = [
        Browser {
            cookies: browser.cookies.clone(),
        },
        Browser {
            cookies: browser.cookies.clone(),
        },
    ];
    let [second, third] = &mut others;
    let (a, b, c) = tokio::join!(
        browser.get(&guarded, "/"),
        second.get(&guarded, "/"),
        third.get(&guarded, "/")
    );
    assert_eq!([a.status, b.status, c.status], [200; 3]);
    assert!(a.head.contains("Set-Cookie: AWSELBAuthSessionCookie-0="));
    let calls = guarded.provider.calls("/token");
    assert_eq!(calls.len(), 2);
    let form = String::from_utf8_lossy(&calls[1].body).into_owned();
    assert_eq!(form, "grant_type=refresh_token&refresh_token=refresh-1");
    let answer = browser.get(&guarded, "/").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    assert_eq!(guarded.bed.worker.counts().node.auth_refreshes, 3);

    guarded.provider.change(|manners| {
        manners.expires_in = json!(0);
        manners.refresh_token = Some("refresh-3".into());
    });
    let mut gone = Browser::default();
    gone.log_in(&guarded).await;
    let denied = (400, r#"{"error":"invalid_grant"}"#.to_owned());
    guarded
        .provider
        .change(|manners| manners.token_answer = Some(denied));
    assert_eq!(gone.get(&guarded, "/").await.status, 302);
    assert_eq!(guarded.last_reason(), "AuthInvalidGrantError");
}

#[tokio::test]
async fn a_session_lasts_as_long_as_the_rule_says() {
    let mut guarded = Guarded::new().await;
    guarded.log_in_with(|oidc| oidc.session_timeout_s = 1);
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&guarded).await.status, 302);
    let began = now_s();
    while now_s() < began + 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(browser.get(&guarded, "/").await.status, 302);
}

#[tokio::test]
async fn a_provider_that_can_not_be_reached_is_an_error_of_ours() {
    let mut guarded = Guarded::new().await;
    guarded.log_in_with(|oidc| oidc.token_endpoint = "https://nobody.test/token".into());
    let answer = Browser::default().log_in(&guarded).await;
    assert_eq!(answer.status, 500);
    // Nobody vouches for its certificate.
    let stranger = Provider::start().await;
    guarded.log_in_with(|oidc| {
        let address = stranger.origin.address;
        oidc.token_endpoint = format!("https://{address}/token");
    });
    let answer = Browser::default().log_in(&guarded).await;
    assert_eq!(answer.status, 500);
    assert_eq!(guarded.bed.worker.counts().node.auth_errors, 2);
    assert_eq!(guarded.last_reason(), "AuthTokenEpRequestTimeout");
}

#[tokio::test]
async fn a_renewed_session_also_reaches_who_gets_a_fixed_response() {
    let mut guarded = Guarded::with_login().await;
    guarded.provider.change(|manners| {
        manners.expires_in = json!(0);
        manners.refresh_token = Some("refresh-1".into());
    });
    let mut browser = Browser::default();
    browser.log_in(&guarded).await;
    guarded.bed.change(|table| {
        table.listeners[0].default_action = Action::FixedResponse(FixedResponse {
            status_code: 200,
            content_type: None,
            message_body: "fixed".into(),
        });
    });
    let answer = browser.get(&guarded, "/").await;
    assert_eq!((answer.status, &answer.text()[..]), (200, "fixed"));
    assert!(
        answer
            .head
            .contains("Set-Cookie: AWSELBAuthSessionCookie-0=")
    );
}

#[tokio::test]
async fn a_body_waits_while_the_provider_is_asked() {
    let guarded = Guarded::with_login().await;
    guarded.provider.change(|manners| {
        manners.expires_in = json!(0);
        manners.refresh_token = Some("refresh-1".into());
    });
    let mut browser = Browser::default();
    browser.log_in(&guarded).await;
    let mut client = Caller::new().call(&guarded.bed, APP).await;
    let cookie = &browser.cookies["AWSELBAuthSessionCookie-0"];
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 5\r\nCookie: AWSELBAuthSessionCookie-0={cookie}\r\n\r\n"
    );
    // With another request behind it.
    let next = head.replace("POST /a", "POST /b");
    client.send(&format!("{head}hello{next}world")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 200);
    let seen = guarded.origin.seen();
    let told: Vec<_> = seen
        .iter()
        .map(|seen| (seen.line(), &seen.body[..]))
        .collect();
    let expected: [(&str, &[u8]); 2] = [
        ("POST /a HTTP/1.1", b"hello"),
        ("POST /b HTTP/1.1", b"world"),
    ];
    assert_eq!(told, expected);
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn claim(format: &str, name: &str, values: &[&str]) -> JwtClaim {
    JwtClaim {
        format: format.into(),
        name: name.into(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    }
}

#[tokio::test]
async fn programs_pass_with_a_token_that_is_right_in_all() {
    let mut guarded = Guarded::new().await;
    let mut jwt = guarded.provider.jwt();
    jwt.additional_claims = vec![claim("space-separated-values", "scope", &["read"])];
    guarded.guard(Guard::JwtValidation(jwt));
    let token = |sign, over| bearer(&guarded.provider.token(sign, &over));
    let good = token(Sign::Rs256, json!({}));
    let table = [
        (good.clone(), 200, "-"),
        (String::new(), 401, "JWTHeaderNotPresent"),
        (
            "Authorization: Basic YTpi\r\n".into(),
            401,
            "JWTRequestFormatInvalid",
        ),
        (bearer("a.b"), 401, "JWTRequestFormatInvalid"),
        (good.repeat(2), 401, "JWTRequestFormatInvalid"),
        (
            token(Sign::Foreign, json!({})),
            401,
            "JWTSignatureValidationError",
        ),
        (
            token(Sign::Nothing, json!({})),
            401,
            "JWTSignatureValidationError",
        ),
        // "Only the RS256 algorithm is supported."
        (
            token(Sign::Es256, json!({})),
            401,
            "JWTSignatureValidationError",
        ),
        (
            token(Sign::Hs256, json!({})),
            401,
            "JWTSignatureValidationError",
        ),
        (
            token(Sign::Rs256, json!({"exp": now_s()})),
            401,
            "JWTClaimValueInvalid",
        ),
        (
            token(Sign::Rs256, json!({"exp": null})),
            401,
            "JWTClaimNotPresent",
        ),
        (
            token(Sign::Rs256, json!({"iss": "https://b"})),
            401,
            "JWTClaimValueInvalid",
        ),
        (
            token(Sign::Rs256, json!({"nbf": now_s() + 90})),
            401,
            "JWTClaimValueInvalid",
        ),
        (
            token(Sign::Rs256, json!({"scope": "write"})),
            401,
            "JWTClaimValueInvalid",
        ),
        (
            token(Sign::Rs256, json!({"scope": ["read"]})),
            401,
            "JWTClaimFormatInvalid",
        ),
        (
            token(Sign::Rs256, json!({"scope": null})),
            401,
            "JWTClaimNotPresent",
        ),
    ];
    for (headers, status, reason) in &table {
        assert_eq!(guarded.get("/", headers).await.status, *status, "{reason}");
    }
    let seen = guarded.origin.seen();
    assert_eq!(seen.len(), 1);
    // The token goes on as it is.
    assert_eq!(
        seen[0]
            .header("authorization")
            .map(|value| bearer(value.trim_start_matches("Bearer "))),
        Some(good)
    );
    assert_eq!(guarded.provider.calls("/jwks").len(), 1, "keys are kept");
    let counts = guarded.bed.worker.counts().node;
    assert_eq!((counts.token_successes, counts.token_failures), (1, 15));
    let lines = lines(
        &guarded.bed,
        guarded.folder.path(),
        "000000000000_elasticload",
    );
    let reasons: Vec<_> = lines.iter().map(|line| fields(line)[24].clone()).collect();
    let expected: Vec<_> = table.iter().map(|row| row.2).collect();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_is_judged() {
    let mut guarded = Guarded::new().await;
    let jwt = guarded.provider.jwt();
    guarded.guard(Guard::JwtValidation(jwt));
    let token = bearer(&guarded.provider.token(Sign::Rs256, &json!({})));
    guarded
        .provider
        .change(|m| m.keys_answer = Some((500, String::new())));
    assert_eq!(guarded.get("/", &token).await.status, 500);
    // Asked once, however many come in the next second.
    assert_eq!(guarded.get("/", &token).await.status, 500);
    assert_eq!(guarded.provider.calls("/jwks").len(), 1);
    guarded.provider.change(|m| m.keys_answer = None);
    crate::bed::bounded(async {
        while guarded.get("/", &token).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(guarded.origin.seen().len() == 1);
}

/// The same browser on HTTP/2, its cookies in crumbs.
fn on_http2(browser: &Browser, path: &str) -> http::Request<()> {
    let mut request = http::Request::builder().uri(format!("https://{APP}{path}"));
    for (name, value) in &browser.cookies {
        request = request.header("cookie", format!("{name}={value}"));
    }
    request.body(()).expect("a request")
}

#[tokio::test]
async fn over_http2_it_is_the_same() {
    let guarded = Guarded::with_login().await;
    let mut browser = Browser::default();
    let back = browser.begin(&guarded, "/orders").await;
    let mut client = crate::h2::Client::connect(&guarded.bed).await;
    let answer = client.ask(on_http2(&browser, &back)).await;
    assert_eq!(answer.status(), 302);
    let place = format!("https://{APP}/orders");
    assert_eq!(answer.header("location"), Some(&place[..]));
    for cookie in answer.head.headers().get_all("set-cookie") {
        let cookie = cookie.to_str().expect("text");
        let pair = cookie.split(';').next().expect("a pair");
        let (name, value) = pair.split_once('=').expect("a value");
        browser.cookies.insert(name.into(), value.into());
    }
    let answer = client.ask(on_http2(&browser, "/orders")).await;
    assert_eq!((answer.status(), &answer.text()[..]), (200, "secret"));
    let seen = guarded.origin.last();
    assert_eq!(seen.header("x-amzn-oidc-identity"), Some(SUBJECT));
    let stranger = client.ask(on_http2(&Browser::default(), "/orders")).await;
    assert_eq!(stranger.status(), 302);
    assert_eq!(guarded.bed.worker.counts().node.requests, 4);
}
