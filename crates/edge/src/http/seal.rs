//! Secrets of the load balancer's own that clients carry for it: cookies and login states, encrypted and
//! authenticated with the secret that all its nodes share (`Table::cookie_secret`). Used by `sticky` and `oidc`.
//!
//! What must stay true: a sealed text says nothing to whoever hasn't the secret, can't be changed, and can't be
//! taken for one with another purpose.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

#[derive(Debug)]
pub struct Sealer {
    key: LessSafeKey,
    /// Where this sealer's nonces begin: random, so that no two sealers of one secret meet.
    start: [u8; NONCE_LEN],
    sealed: AtomicU64,
}

impl Sealer {
    /// With 32 bytes in hexadecimal. A secret that can't be read is replaced by one of the moment: what it seals
    /// is read by this table alone.
    pub fn new(secret: &str) -> Self {
        let random = SystemRandom::new();
        let mut bytes = [0; 32];
        if !read_hex(secret, &mut bytes) {
            random
                .fill(&mut bytes)
                .expect("the kernel has random numbers");
        }
        let mut start = [0; NONCE_LEN];
        random
            .fill(&mut start)
            .expect("the kernel has random numbers");
        // The secret itself is never the key of a cipher.
        let derived = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            b"fogbank cookies 1",
        );
        let key =
            UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("HMAC-SHA256 gives 32 bytes");
        Self {
            key: LessSafeKey::new(key),
            start,
            sealed: AtomicU64::new(0),
        }
    }

    /// Text for a cookie or a URL: letters, digits, `-` and `_`.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> String {
        let mut nonce = self.start;
        let count = self.sealed.fetch_add(1, Ordering::Relaxed);
        let (_, low) = nonce.split_at_mut(NONCE_LEN - 8);
        let mut number = [0; 8];
        number.copy_from_slice(low);
        low.copy_from_slice(&u64::from_be_bytes(number).wrapping_add(count).to_be_bytes());
        let mut text = content.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut text,
            )
            .expect("shorter than the cipher's limit");
        let mut whole = nonce.to_vec();
        whole.extend_from_slice(&text);
        URL_SAFE_NO_PAD.encode(whole)
    }

    /// None: not sealed with this secret for this purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let whole = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = whole.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let content = self
            .key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text)
            .ok()?;
        Some(content.to_vec())
    }
}

fn read_hex(text: &str, bytes: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    digits.len() == bytes.len() * 2
        && bytes.iter_mut().zip(digits.chunks(2)).all(|(byte, pair)| {
            let read = std::str::from_utf8(pair).ok();
            let read = read.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            read.map(|read| *byte = read).is_some()
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn another_node_opens_it_and_another_purpose_does_not() {
        let sealed = Sealer::new(SECRET).seal("AWSALB", b"content");
        let other = Sealer::new(SECRET);
        assert_eq!(
            other.open("AWSALB", sealed.as_bytes()).as_deref(),
            Some(&b"content"[..])
        );
        assert_eq!(other.open("AWSALBTG", sealed.as_bytes()), None);
        assert_eq!(Sealer::new("").open("AWSALB", sealed.as_bytes()), None);
    }

    #[test]
    fn the_same_content_never_looks_the_same() {
        let sealer = Sealer::new(SECRET);
        assert_ne!(sealer.seal("a", b"x"), sealer.seal("a", b"x"));
        assert_ne!(sealer.seal("a", b"x"), Sealer::new(SECRET).seal("a", b"x"));
    }

    proptest! {
        #[test]
        fn garbage_and_forgeries_are_refused(
            content in prop::collection::vec(any::<u8>(), 0..64),
            garbage in prop::collection::vec(any::<u8>(), 0..128),
            place in any::<prop::sample::Index>(),
            change in 1u8..64,
        ) {
            let sealer = Sealer::new(SECRET);
            let sealed = sealer.seal("AWSALB", &content);
            prop_assert_eq!(sealer.open("AWSALB", sealed.as_bytes()), Some(content));
            prop_assert_eq!(sealer.open("AWSALB", &garbage), None);
            let mut forged = sealed.into_bytes();
            let place = place.index(forged.len());
            const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let old = LETTERS.iter().position(|&l| l == forged[place]).expect("a letter");
            forged[place] = LETTERS[(old + usize::from(change)) % 64];
            prop_assert_eq!(sealer.open("AWSALB", &forged), None);
        }
    }
}
