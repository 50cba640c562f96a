//! An OpenID Connect provider for the tests: a TLS server with the endpoints that a load balancer asks, keys of its
//! own, and a name server that knows where it is. What it says can be bent.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fogbank_types::elb::{AuthenticateOidc, JwtValidation, OnUnauthenticated};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::bed::{Origin, Script, Seen, own_address};
use crate::pki::{Pair, own, own_rsa};

pub const HOST: &str = "idp.test";
pub const CLIENT: &str = "client-1";
pub const SECRET: &str = "s3cret/with:signs";
pub const SUBJECT: &str = "user-1";

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Rs256,
    Es256,
    /// With the client's secret.
    Hs256,
    /// With a key that is not published, by a published name.
    Foreign,
    /// `alg: none`, and no signature.
    Nothing,
}

/// What the provider says.
#[derive(Clone, Debug)]
pub struct Manners {
    pub sign: Sign,
    /// Put over the ID token's claims; null takes one away.
    pub id_claims: Value,
    pub user_info: Value,
    pub user_info_status: u16,
    /// Instead of tokens.
    pub token_answer: Option<(u16, String)>,
    pub expires_in: Value,
    pub refresh_token: Option<String>,
    /// Publishes a configuration and keys.
    pub publishes: bool,
    pub keys_answer: Option<(u16, String)>,
    /// Knows the client's secret from the form alone.
    pub wants_post: bool,
    /// Of the login under way.
    pub nonce: String,
}

pub struct Provider {
    pub origin: Origin,
    pub resolver: SocketAddr,
    pub manners: Arc<Mutex<Manners>>,
    signer: Arc<Signer>,
    certificate: String,
}

struct Signer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    foreign: RsaKeyPair,
}

fn rsa_key() -> RsaKeyPair {
    let pair = own_rsa(&["key"], |_| {});
    match pair.key_der() {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key"),
        _ => panic!("PKCS#8"),
    }
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self {
            rsa: rsa_key(),
            ec: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key"),
            foreign: rsa_key(),
        }
    }

    fn sign(&self, sign: Sign, claims: &Value) -> String {
        let (algorithm, id) = match sign {
            Sign::Rs256 | Sign::Foreign => ("RS256", "rsa-1"),
            Sign::Es256 => ("ES256", "ec-1"),
            Sign::Hs256 => ("HS256", "secret"),
            Sign::Nothing => ("none", "rsa-1"),
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": algorithm, "kid": id, "typ": "JWT"});
        let text = format!("{}.{}", part(&header), part(claims));
        let random = SystemRandom::new();
        let by_rsa = |key: &RsaKeyPair| {
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                .expect("signed");
            signature
        };
        let signature = match sign {
            Sign::Rs256 => by_rsa(&self.rsa),
            Sign::Foreign => by_rsa(&self.foreign),
            Sign::Es256 => {
                let signed = self.ec.sign(&random, text.as_bytes()).expect("signed");
                signed.as_ref().to_vec()
            }
            Sign::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
            }
            Sign::Nothing => Vec::new(),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn keys(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec-1", "use": "sig",
             "x": encode(&point[1..33]), "y": encode(&point[33..])},
            {"kty": "RSA", "kid": "rsa-1", "use": "sig", "alg": "RS256",
             "n": encode(&rsa.n),
             "e": encode(&rsa.e)},
        ]})
    }
}

pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn put_over(claims: &mut Value, over: &Value) {
    for (name, value) in over.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
}

fn answer(status: u16, body: &str) -> Script {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
    Script::Send(head.into_bytes())
}

impl Provider {
    pub async fn start() -> Self {
        let pair: Pair = own(&[HOST]);
        let manners = Arc::new(Mutex::new(Manners {
            sign: Sign::Rs256,
            id_claims: json!({}),
            user_info: json!({"sub": SUBJECT, "email": "a@b.test", "exp": 1}),
            user_info_status: 200,
            token_answer: None,
            expires_in: json!(3600),
            refresh_token: None,
            publishes: true,
            keys_answer: None,
            wants_post: false,
            nonce: String::new(),
        }));
        let signer = Arc::new(Signer::new());
        let (said, signs) = (manners.clone(), signer.clone());
        let origin = Origin::start_tls(pair.server(), move |seen| {
            let manners = said.lock().expect("no panic").clone();
            respond(&manners, &signs, seen)
        })
        .await;
        let resolver = name_server(origin.address).await;
        Self {
            origin,
            resolver,
            manners,
            signer,
            certificate: pair.certificate,
        }
    }

    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().expect("no panic"));
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.origin.address.port())
    }

    pub fn roots(&self) -> String {
        self.certificate.clone()
    }

    pub fn oidc(&self) -> AuthenticateOidc {
        AuthenticateOidc {
            issuer: self.url(""),
            authorization_endpoint: self.url("/authorize"),
            token_endpoint: self.url("/token"),
            user_info_endpoint: self.url("/userinfo"),
            client_id: CLIENT.into(),
            client_secret: SECRET.into(),
            session_cookie_name: "AWSELBAuthSessionCookie".into(),
            scope: "openid email".into(),
            session_timeout_s: 604_800,
            extra_params: [("display".to_owned(), "page".to_owned())].into(),
            on_unauthenticated: OnUnauthenticated::Authenticate,
        }
    }

    pub fn jwt(&self) -> JwtValidation {
        JwtValidation {
            jwks_endpoint: self.url("/jwks"),
            issuer: self.url(""),
            additional_claims: Vec::new(),
        }
    }

    /// A token for programs.
    pub fn token(&self, sign: Sign, over: &Value) -> String {
        let mut claims = json!({"iss": self.url(""), "exp": now_s() + 60, "scope": "read write"});
        put_over(&mut claims, over);
        self.signer.sign(sign, &claims)
    }

    /// Of an endpoint, so far.
    pub fn calls(&self, path: &str) -> Vec<Seen> {
        let seen = self.origin.seen().into_iter();
        seen.filter(|seen| seen.line().split(' ').nth(1) == Some(path))
            .collect()
    }
}

fn respond(manners: &Manners, signer: &Signer, seen: &Seen) -> Script {
    let issuer = format!("https://{}", seen.header("host").unwrap_or_default());
    match seen.line().split(' ').nth(1).unwrap_or_default() {
        "/token" => respond_token(manners, signer, seen, &issuer),
        "/userinfo" => {
            let is_known = seen.header("authorization") == Some("Bearer access-1");
            let status = if is_known {
                manners.user_info_status
            } else {
                401
            };
            answer(status, &manners.user_info.to_string())
        }
        "/jwks" => match &manners.keys_answer {
            Some((status, body)) => answer(*status, body),
            None => answer(200, &signer.keys().to_string()),
        },
        "/.well-known/openid-configuration" if manners.publishes => {
            let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")});
            answer(200, &document.to_string())
        }
        _ => answer(404, ""),
    }
}

fn respond_token(manners: &Manners, signer: &Signer, seen: &Seen, issuer: &str) -> Script {
    let form = String::from_utf8_lossy(&seen.body).into_owned();
    // Both halves are encoded before they are joined (RFC 6749, 2.3.1).
    let basic = STANDARD.encode(format!("{CLIENT}:s3cret%2Fwith%3Asigns"));
    let is_client = if manners.wants_post {
        form.contains("client_secret=s3cret%2Fwith%3Asigns")
    } else {
        seen.header("authorization") == Some(&format!("Basic {basic}"))
    };
    if !is_client {
        return answer(401, r#"{"error":"invalid_client"}"#);
    }
    if let Some((status, body)) = &manners.token_answer {
        return answer(*status, body);
    }
    let mut claims = json!({
        "iss": issuer, "aud": CLIENT, "sub": SUBJECT, "nonce": manners.nonce,
        "iat": now_s(), "exp": now_s() + 300,
    });
    put_over(&mut claims, &manners.id_claims);
    let mut tokens = json!({
        "access_token": "access-1",
        "token_type": "Bearer",
        "expires_in": manners.expires_in,
        "id_token": signer.sign(manners.sign, &claims),
    });
    if let Some(refresh) = &manners.refresh_token {
        tokens["refresh_token"] = json!(refresh);
    }
    answer(200, &tokens.to_string())
}

/// Knows one name.
async fn name_server(address: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind((own_address(), 0)).await.expect("a socket");
    let own = socket.local_addr().expect("an address");
    let IpAddr::V4(ip) = address.ip() else {
        panic!("an IPv4 address")
    };
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            // Name, then type and class.
            let name = packet[12..length].iter().position(|&byte| byte == 0);
            let end = 12 + name.expect("a name") + 5;
            let is_known = packet[12..end].starts_with(b"\x03idp\x04test\0\0\x01");
            let mut answer = packet[..end].to_vec();
            let flags: [u8; 2] = if is_known { [0x81, 0x80] } else { [0x81, 0x83] };
            answer[2..4].copy_from_slice(&flags);
            answer[6..12].copy_from_slice(&[0, u8::from(is_known), 0, 0, 0, 0]);
            if is_known {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(ip.octets());
            }
            socket.send_to(&answer, client).await.expect("sent");
        }
    });
    own
}
