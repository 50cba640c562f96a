//! Keys of signed zones, and their signatures (RFC 4034, RFC 6605: ECDSA over P-256 with SHA-256).
//!
//! Called by `control`, which signs a zone's keys with keys of KMS, and by `edge`, which signs the rest. Names come in wire
//! form and lower case. What must stay true: equal records in any order have one signed form.

use ring::digest;

use crate::ecdsa::{Form, Signer};
use crate::key::KeyError;

/// ECDSAP256SHA256.
pub const ALGORITHM: u8 = 13;
/// SHA-256, of DS records.
pub const DIGEST: u8 = 2;
/// Flags of a key that signs zones, and of one that signs keys.
pub const ZONE_KEY: u16 = 256;
pub const KEY_SIGNING_KEY: u16 = 257;
const PROTOCOL: u8 = 3;
const DNSKEY: u16 = 48;
const CLASS_IN: u16 = 1;

/// The value of a DNSKEY record. `point` as in `ecdsa`; the first octet is not told (RFC 6605, section 4).
pub fn dnskey(flags: u16, point: &[u8]) -> Vec<u8> {
    let mut value = flags.to_be_bytes().to_vec();
    value.extend([PROTOCOL, ALGORITHM]);
    value.extend(point.get(1..).unwrap_or_default());
    value
}

/// RFC 4034, appendix B.
pub fn key_tag(dnskey: &[u8]) -> u16 {
    let add = |sum: u32, (at, byte): (usize, &u8)| {
        sum.wrapping_add(u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 })
    };
    let sum = dnskey.iter().enumerate().fold(0, add);
    ((sum + (sum >> 16)) & 0xffff) as u16
}

/// The digest in a DS record of that key (RFC 4509).
pub fn ds_digest(owner: &[u8], dnskey: &[u8]) -> Vec<u8> {
    let whole = [owner, dnskey].concat();
    digest::digest(&digest::SHA256, &whole).as_ref().to_vec()
}

/// Records of one name and type, whose values are told in the order of [`Set::signed_form`].
#[derive(Debug)]
pub struct Set<'a> {
    pub owner: &'a [u8],
    pub kind: u16,
    pub ttl: u32,
    pub values: Vec<&'a [u8]>,
}

impl Set<'_> {
    /// RFC 4034, section 6.3, each record whole.
    pub fn signed_form(&self) -> Vec<u8> {
        let mut values = self.values.clone();
        values.sort_unstable();
        values.dedup();
        let mut form = Vec::with_capacity(values.len() * (self.owner.len() + 64));
        for value in values {
            form.extend(self.owner);
            form.extend(self.kind.to_be_bytes());
            form.extend(CLASS_IN.to_be_bytes());
            form.extend(self.ttl.to_be_bytes());
            form.extend((value.len() as u16).to_be_bytes());
            form.extend(value);
        }
        form
    }

    /// Without the root and a leading `*` (RFC 4034, section 3.1.3).
    fn labels(&self) -> u8 {
        let mut labels = 0;
        let mut rest = self.owner;
        while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
            labels += 1;
            rest = after.get(usize::from(*length)..).unwrap_or_default();
        }
        labels - u8::from(self.owner.starts_with(b"\x01*"))
    }
}

/// From when to when a signature holds, in seconds of Unix.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    pub inception: u32,
    pub expiration: u32,
}

/// A key of a zone.
#[derive(Debug)]
pub struct ZoneKey {
    signer: Signer,
    dnskey: Vec<u8>,
    tag: u16,
}

impl ZoneKey {
    pub fn new(flags: u16, secret: &[u8; 32], point: &[u8]) -> Result<Self, KeyError> {
        let dnskey = dnskey(flags, point);
        Ok(Self {
            signer: Signer::new(secret, point, Form::Fixed)?,
            tag: key_tag(&dnskey),
            dnskey,
        })
    }

    /// The value of its DNSKEY record.
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// The value of an RRSIG record of that set. `zone` is the name of the zone.
    pub fn sign(
        &self,
        zone: &[u8],
        set: &Set<'_>,
        validity: Validity,
    ) -> Result<Vec<u8>, KeyError> {
        let mut value = set.kind.to_be_bytes().to_vec();
        value.extend([ALGORITHM, set.labels()]);
        value.extend(set.ttl.to_be_bytes());
        value.extend(validity.expiration.to_be_bytes());
        value.extend(validity.inception.to_be_bytes());
        value.extend(self.tag.to_be_bytes());
        value.extend(zone);
        let signature = self
            .signer
            .sign(&[&value[..], &set.signed_form()].concat())?;
        value.extend(signature);
        Ok(value)
    }
}

/// The DNSKEY records of a zone, signed by its key-signing keys: the values of the records and of their signatures.
pub fn sign_keys(
    zone: &[u8],
    ttl: u32,
    keys: &[&[u8]],
    signers: &[ZoneKey],
    validity: Validity,
) -> Result<Vec<Vec<u8>>, KeyError> {
    let set = Set {
        owner: zone,
        kind: DNSKEY,
        ttl,
        values: keys.to_vec(),
    };
    signers
        .iter()
        .map(|signer| signer.sign(zone, &set, validity))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    /// RFC 6605, section 6.1.
    #[test]
    fn tag_and_digest_are_those_of_the_rfc() {
        let text = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        let public = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        let key = dnskey(KEY_SIGNING_KEY, &[&[4][..], &public].concat());
        assert_eq!(key_tag(&key), 55648);
        let digest = ds_digest(b"\x07example\x03net\x00", &key);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"
        );
    }

    #[test]
    fn order_and_repetition_of_values_do_not_count() {
        let form = |values: Vec<&'static [u8]>| {
            Set {
                owner: b"\x01a\x00",
                kind: 16,
                ttl: 60,
                values,
            }
            .signed_form()
        };
        assert_eq!(form(vec![b"b", b"a", b"b"]), form(vec![b"a", b"b"]));
        assert_ne!(form(vec![b"a"]), form(vec![b"a", b"b"]));
    }

    #[test]
    fn a_wildcard_is_no_label() {
        let labels = |owner: &'static [u8]| {
            Set {
                owner,
                kind: 1,
                ttl: 0,
                values: Vec::new(),
            }
            .labels()
        };
        assert_eq!(labels(b"\x00"), 0);
        assert_eq!(labels(b"\x01a\x01b\x00"), 2);
        assert_eq!(labels(b"\x01*\x01b\x00"), 1);
    }
}
