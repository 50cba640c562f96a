//! Text that a caller carries and cannot read: what an encoded authorization message says.
//!
//! AES-256 in Galois/Counter mode, with a key of its own for each purpose, from the region's.

use super::session::Sessions;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

impl Sessions {
    /// Text that only this region can read. `None`: the system gives no random numbers.
    pub fn hide(&self, purpose: &str, content: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut bytes = content.to_vec();
        let given = Nonce::assume_unique_for_key(nonce);
        let key = self.key_for(purpose);
        key.seal_in_place_append_tag(given, Aad::empty(), &mut bytes)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &bytes].concat()))
    }

    /// What hidden text says; `None` if it is not this region's, or for another purpose.
    pub fn reveal(&self, purpose: &str, hidden: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(hidden).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let key = self.key_for(purpose);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(content.to_vec())
    }

    fn key_for(&self, purpose: &str) -> LessSafeKey {
        let key = self.sign("hiding", purpose.as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, &key);
        LessSafeKey::new(key.expect("the key has the cipher's 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_region_reads_what_it_hid_and_only_for_its_purpose() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sessions = Sessions::open(one.path()).unwrap();
        let hidden = sessions.hide("message", b"secret").unwrap();
        assert_eq!(sessions.reveal("message", &hidden).unwrap(), b"secret");
        assert_ne!(sessions.hide("message", b"secret").unwrap(), hidden);
        assert_eq!(sessions.reveal("other", &hidden), None);
        let other = Sessions::open(two.path()).unwrap();
        assert_eq!(other.reveal("message", &hidden), None);
        for bad in ["", "AAAA", "!", &hidden[..hidden.len() - 2]] {
            assert_eq!(sessions.reveal("message", bad), None, "{bad}");
        }
    }
}
