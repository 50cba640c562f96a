//! What Key Management Service encrypts: AES-256 in Galois/Counter Mode, a key of its own for each text.
//!
//! A text's key is derived (NIST SP 800-108, counter mode, HMAC-SHA-256) from a material of a KMS key and 128 random bits,
//! as KMS does it, so that a KMS key encrypts any number of texts. The materials of a KMS key are derived from its secret
//! by their numbers. A blob says which key and material it is of, and this head and the encryption context are
//! authenticated with the text. What must stay true: no text decrypts with another key, material, context or head; no
//! bytes of a caller panic the reader.
//! <https://docs.aws.amazon.com/kms/latest/cryptographic-details/symmetric-key-operations.html>

use std::collections::BTreeMap;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Ahead of each blob: what made it, and in which form.
const MARK: &[u8; 4] = b"fgk\x01";
const SALT_BYTES: usize = 16;
const ID_BYTES: usize = 16;
const ACCOUNT_BYTES: usize = 12;

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// Bytes from the system's generator.
pub fn random_bytes(count: usize) -> Result<Vec<u8>, NoRandom> {
    let mut bytes = vec![0; count];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// A KMS key's secret.
pub fn random_secret() -> Result<[u8; 32], NoRandom> {
    let mut secret = [0; 32];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| NoRandom)?;
    Ok(secret)
}

/// Which key and which of its materials a blob is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Twelve digits.
    pub account: String,
    pub region: String,
    /// A UUID.
    pub key_id: String,
    pub material: u32,
}

impl Head {
    /// `None`: an id or a region that no key has.
    fn bytes(&self) -> Option<Vec<u8>> {
        let id = id_bytes(&self.key_id)?;
        let region = u8::try_from(self.region.len()).ok()?;
        let account = self.account.as_bytes();
        let mut bytes = MARK.to_vec();
        bytes.extend(<&[u8; ACCOUNT_BYTES]>::try_from(account).ok()?);
        bytes.push(region);
        bytes.extend(self.region.as_bytes());
        bytes.extend(id);
        bytes.extend(self.material.to_be_bytes());
        Some(bytes)
    }

    /// The head of a blob, and what follows it. `None`: no blob of ours.
    fn split(blob: &[u8]) -> Option<(Self, &[u8])> {
        let rest = blob.strip_prefix(MARK)?;
        let (account, rest) = rest.split_at_checked(ACCOUNT_BYTES)?;
        let (length, rest) = rest.split_first()?;
        let (region, rest) = rest.split_at_checked(usize::from(*length))?;
        let (id, rest) = rest.split_at_checked(ID_BYTES)?;
        let (material, rest) = rest.split_at_checked(4)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let head = Self {
            account: text(account)?,
            region: text(region)?,
            key_id: id_text(id),
            material: u32::from_be_bytes(material.try_into().ok()?),
        };
        Some((head, rest))
    }

    /// Which key a blob is of, as far as it says so itself. `None`: no blob of ours.
    pub fn of(blob: &[u8]) -> Option<Self> {
        Self::split(blob).map(|(head, _)| head)
    }
}

fn id_bytes(id: &str) -> Option<[u8; ID_BYTES]> {
    let digits = id.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 2 * ID_BYTES && id_text(&number.to_be_bytes()) == id)
        .then(|| number.to_be_bytes())
}

fn id_text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

/// 256 bits that follow from a key, for one purpose (SP 800-108, one round).
fn derive(key: &[u8], label: &[u8], context: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let message = [
        &1_u32.to_be_bytes(),
        label,
        &[0],
        context,
        &256_u32.to_be_bytes(),
    ]
    .concat();
    let mut derived = [0; 32];
    derived.copy_from_slice(hmac::sign(&key, &message).as_ref());
    derived
}

/// What a material is called: 64 hexadecimal digits that tell nothing of it.
pub fn material_id(secret: &[u8; 32], material: u32) -> String {
    let derived = derive(secret, b"fogbank kms material id", &material.to_be_bytes());
    derived.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pairs in the order of their keys, each part behind its length: no two contexts have the same bytes.
fn context_bytes(context: &BTreeMap<String, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in context.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn text_key(secret: &[u8; 32], material: u32, salt: &[u8]) -> LessSafeKey {
    let material = derive(secret, b"fogbank kms material", &material.to_be_bytes());
    let key = derive(&material, b"fogbank kms text", salt);
    let key = UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes are a key of AES-256");
    LessSafeKey::new(key)
}

/// A blob that holds the text. The head's key must be a UUID and its account twelve digits.
pub fn encrypt(
    secret: &[u8; 32],
    head: &Head,
    context: &BTreeMap<String, String>,
    text: &[u8],
) -> Result<Vec<u8>, NoRandom> {
    let mut blob = head.bytes().expect("a key's row has a UUID and an account");
    let authenticated = [blob.as_slice(), &context_bytes(context)].concat();
    let random = random_bytes(SALT_BYTES + NONCE_LEN)?;
    let (salt, nonce) = random.split_at(SALT_BYTES);
    let key = text_key(secret, head.material, salt);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NoRandom)?;
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(authenticated), &mut sealed)
        .map_err(|_| NoRandom)?;
    blob.extend(random);
    blob.extend(sealed);
    Ok(blob)
}

/// What was encrypted. `None`: not with this key, not in this context, or the blob was changed.
pub fn decrypt(
    secret: &[u8; 32],
    context: &BTreeMap<String, String>,
    blob: &[u8],
) -> Option<Vec<u8>> {
    let (head, rest) = Head::split(blob)?;
    let authenticated = [head.bytes()?.as_slice(), &context_bytes(context)].concat();
    let (salt, rest) = rest.split_at_checked(SALT_BYTES)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
    let key = text_key(secret, head.material, salt);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = sealed.to_vec();
    let length = key
        .open_in_place(nonce, Aad::from(authenticated), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn head() -> Head {
        Head {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            key_id: "1234abcd-12ab-34cd-56ef-1234567890ab".into(),
            material: 2,
        }
    }

    fn context(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        own.collect()
    }

    #[test]
    fn a_text_comes_back_with_its_key_and_context_alone() {
        let pairs = context(&[("a", "b")]);
        for text in [&b""[..], b"secret", &[0; 4096]] {
            let blob = encrypt(&SECRET, &head(), &pairs, text).unwrap();
            assert_eq!(Head::of(&blob), Some(head()));
            assert_eq!(decrypt(&SECRET, &pairs, &blob).as_deref(), Some(text));
            assert_eq!(decrypt(&[8; 32], &pairs, &blob), None);
            for other in [
                &[][..],
                &[("a", "c")],
                &[("a", "b"), ("c", "d")],
                &[("ab", "")],
            ] {
                assert_eq!(decrypt(&SECRET, &context(other), &blob), None, "{other:?}");
            }
            assert_ne!(blob, encrypt(&SECRET, &head(), &pairs, text).unwrap());
        }
    }

    #[test]
    fn a_blob_that_was_changed_anywhere_is_refused() {
        let none = BTreeMap::new();
        let blob = encrypt(&SECRET, &head(), &none, b"secret").unwrap();
        for at in 0..blob.len() {
            for bit in [1, 0x80] {
                let mut changed = blob.clone();
                changed[at] ^= bit;
                assert_eq!(decrypt(&SECRET, &none, &changed), None, "byte {at}");
            }
            assert_eq!(decrypt(&SECRET, &none, &blob[..at]), None);
        }
        assert_eq!(decrypt(&SECRET, &none, b"anything"), None);
        assert_eq!(Head::of(b""), None);
    }

    /// Blobs outlive releases, so the derivation may not change. By Python's hmac.
    #[test]
    fn materials_are_derived_as_they_always_were() {
        assert_eq!(
            material_id(&SECRET, 0),
            "c4e9bf3ced162687615ec99a03accb0b1921becc43eb6f98f6cf08a72ee468bf"
        );
        assert_ne!(material_id(&SECRET, 1), material_id(&SECRET, 0));
    }
}
