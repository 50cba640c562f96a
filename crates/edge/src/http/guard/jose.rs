//! Tokens and keys: JSON Web Tokens (RFC 7519), signatures (RFC 7515, 7518) and keys (RFC 7517). Used by `bearer`
//! and `provider`; pure. ring verifies.
//!
//! A token is never believed by its own word: whoever verifies says which algorithms count, and a key only serves
//! algorithms of its type.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// "Maximum number of keys: 10 keys" (JWT validation limits).
pub const KEYS_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// None: unknown, or `none`.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        Some(match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
            _ => return None,
        })
    }

    pub fn is_symmetric(self) -> bool {
        self.hmac().is_some()
    }
}

/// A token that has been read and not yet believed.
#[derive(Debug)]
pub struct Token<'t> {
    /// None: one that nothing here verifies.
    pub algorithm: Option<Algorithm>,
    pub key_id: Option<String>,
    pub claims: Map<String, Value>,
    signed: &'t [u8],
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'t> Token<'t> {
    /// None: it is not header, claims and signature in the compact form.
    pub fn read(text: &'t str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&part(header)?).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&part(claims)?).ok()?;
        // What an unknown extension demands can't be met (RFC 7515, 4.1.11).
        let algorithm = header
            .crit
            .is_none()
            .then(|| Algorithm::parse(&header.alg))
            .flatten();
        Some(Self {
            algorithm,
            key_id: header.kid,
            claims,
            signed: signed.as_bytes(),
            signature: part(signature)?,
        })
    }

    /// Whether one of the keys made it; those of its name alone, if it names one.
    pub fn is_signed_by(&self, keys: &[Key]) -> bool {
        let Some(algorithm) = self.algorithm else {
            return false;
        };
        let named = keys
            .iter()
            .filter(|key| key.answers_to(self.key_id.as_deref()));
        named
            .filter(|key| key.serves(algorithm))
            .any(|key| key.verifies(algorithm, self.signed, &self.signature))
    }

    /// Whether whoever knows the secret made it.
    pub fn is_signed_with(&self, secret: &[u8]) -> bool {
        let Some(algorithm) = self.algorithm.and_then(Algorithm::hmac) else {
            return false;
        };
        let key = hmac::Key::new(algorithm, secret);
        hmac::verify(&key, self.signed, &self.signature).is_ok()
    }

    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }
}

/// Seconds since the epoch; a claim may have a fraction (RFC 7519, 2). None: no number.
pub fn time_s(claim: &Value) -> Option<u64> {
    let seconds = claim.as_f64()?;
    // A float is cut off at the ends of what the integer holds.
    (seconds >= 0.0).then_some(seconds as u64)
}

/// A public key of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    kind: KeyKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Points, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKeys {
    Invalid,
    TooMany,
}

/// A key set. Keys of kinds that nothing here verifies are left out.
pub fn read_keys(text: &[u8]) -> Result<Vec<Key>, BadKeys> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(text).map_err(|_| BadKeys::Invalid)?;
    if set.keys.len() > KEYS_MAX {
        return Err(BadKeys::TooMany);
    }
    let keys = set.keys.into_iter().filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        Key::of(&jwk)
    });
    Ok(keys.collect())
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        if jwk.r#use.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let number = |text: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?;
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let point = |length: usize| {
            let mut point = vec![4];
            for coordinate in [number(&jwk.x)?, number(&jwk.y)?] {
                point.resize(point.len() + length.checked_sub(coordinate.len())?, 0);
                point.extend(coordinate);
            }
            Some(point)
        };
        let kind = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => KeyKind::Rsa {
                n: number(&jwk.n)?,
                e: number(&jwk.e)?,
            },
            ("EC", Some("P-256")) => KeyKind::P256(point(32)?),
            ("EC", Some("P-384")) => KeyKind::P384(point(48)?),
            _ => return None,
        };
        let algorithm = match jwk.alg.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::parse(name)?),
        };
        Some(Self {
            id: jwk.kid.clone(),
            algorithm,
            kind,
        })
    }

    /// A token that names no key may be of any, and a key without a name may have made any token.
    pub fn answers_to(&self, id: Option<&str>) -> bool {
        match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        }
    }

    fn serves(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm)
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let with = |algorithm: &'static dyn VerificationAlgorithm, point: &[u8]| {
            let key = UnparsedPublicKey::new(algorithm, point);
            key.verify(message, signature).is_ok()
        };
        match (&self.kind, algorithm) {
            (KeyKind::Rsa { n, e }, algorithm) => algorithm.rsa().is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).is_ok()
            }),
            (KeyKind::P256(point), Algorithm::Es256) => {
                with(&signature::ECDSA_P256_SHA256_FIXED, point)
            }
            (KeyKind::P384(point), Algorithm::Es384) => {
                with(&signature::ECDSA_P384_SHA384_FIXED, point)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.2: RS256.
    const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const RSA_KEY: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
    /// RFC 7515, appendix A.3: ES256.
    const EC_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn keys(keys: &[&str]) -> Vec<Key> {
        let text = format!("{{\"keys\":[{}]}}", keys.join(","));
        read_keys(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_standards_own_examples_are_verified() {
        let token = Token::read(RSA_TOKEN).unwrap();
        assert_eq!(token.algorithm, Some(Algorithm::Rs256));
        assert_eq!(token.text("iss"), Some("joe"));
        assert_eq!(time_s(&token.claims["exp"]), Some(1_300_819_380));
        assert!(token.is_signed_by(&keys(&[EC_KEY, RSA_KEY])));
        assert!(!token.is_signed_by(&keys(&[EC_KEY])));
        let token = Token::read(EC_TOKEN).unwrap();
        assert!(token.is_signed_by(&keys(&[RSA_KEY, EC_KEY])));
        assert!(!token.is_signed_by(&keys(&[RSA_KEY])));
    }

    #[test]
    fn a_key_serves_its_name_its_use_and_its_algorithm_alone() {
        let token = Token::read(RSA_TOKEN).unwrap();
        let with = |member: &str| keys(&[&RSA_KEY.replacen('{', &format!("{{{member},"), 1)]);
        assert!(token.is_signed_by(&with(r#""kid":"a""#)));
        assert!(!token.is_signed_by(&with(r#""alg":"RS512""#)));
        assert!(!token.is_signed_by(&with(r#""use":"enc""#)));
        assert!(!with(r#""kid":"a""#)[0].answers_to(Some("b")));
    }

    #[test]
    fn nothing_is_signed_by_nothing() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let (none, claims) = (encode(r#"{"alg":"none"}"#), encode("{}"));
        let text = format!("{none}.{claims}.");
        let token = Token::read(&text).unwrap();
        assert_eq!(token.algorithm, None);
        assert!(!token.is_signed_by(&keys(&[RSA_KEY, EC_KEY])));
        assert!(!token.is_signed_with(b""));
        // A public key is no secret: who signs with it by HMAC is not believed.
        let header = encode(r#"{"alg":"HS256"}"#);
        let text = format!("{header}.{claims}.AAAA");
        assert!(!Token::read(&text).unwrap().is_signed_by(&keys(&[RSA_KEY])));
        let header = encode(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#);
        let text = format!("{header}.{claims}.AAAA");
        assert_eq!(Token::read(&text).unwrap().algorithm, None);
    }

    #[test]
    fn garbage_is_no_token() {
        for text in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.!", "e30.W10.AA"] {
            assert!(Token::read(text).is_none(), "{text}");
        }
        assert_eq!(read_keys(b"{}"), Err(BadKeys::Invalid));
        let many = [RSA_KEY; 11].join(",");
        let many = format!("{{\"keys\":[{many}]}}");
        assert_eq!(read_keys(many.as_bytes()), Err(BadKeys::TooMany));
        assert_eq!(keys(&[r#"{"kty":"oct","k":"AA"}"#, r#"{"kty":"EC"}"#]), []);
    }
}
