//! A security policy as rustls takes it. Used by `listener`; pure.

use std::sync::Arc;

use fogbank_types::tls_policy::{self, TlsVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion,
};

pub struct Offer {
    pub provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

/// None: nobody knows the policy, and nothing is offered for it.
pub fn offer(policy: &str) -> Option<Offer> {
    let policy = tls_policy::find(policy)?;
    // In AWS's order; the listener goes by it, not by the client's.
    let cipher_suites: Vec<SupportedCipherSuite> = policy
        .served_ciphers()
        .filter_map(|cipher| {
            ring::ALL_CIPHER_SUITES
                .iter()
                .find(|suite| u16::from(suite.suite()) == cipher.code)
                .copied()
        })
        .collect();
    let versions = policy
        .served_protocols()
        .filter_map(|version| match version {
            TlsVersion::Tls13 => Some(&rustls::version::TLS13),
            TlsVersion::Tls12 => Some(&rustls::version::TLS12),
            TlsVersion::Tls10 | TlsVersion::Tls11 => None,
        })
        .collect();
    let provider = Arc::new(CryptoProvider {
        cipher_suites,
        ..ring::default_provider()
    });
    Some(Offer { provider, versions })
}

/// OpenSSL's name.
pub fn cipher_name(suite: CipherSuite) -> &'static str {
    tls_policy::CIPHERS
        .iter()
        .find(|cipher| cipher.code == u16::from(suite))
        .map_or("-", |cipher| cipher.name)
}

pub fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => TlsVersion::Tls13.as_str(),
        ProtocolVersion::TLSv1_2 => TlsVersion::Tls12.as_str(),
        _ => "-",
    }
}

/// As AWS's connection log writes it.
pub fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(policy: &str) -> Vec<&'static str> {
        let offer = offer(policy).expect("a known policy");
        let suites = offer.provider.cipher_suites.iter();
        suites.map(|suite| cipher_name(suite.suite())).collect()
    }

    #[test]
    fn every_policy_offers_something() {
        for policy in tls_policy::POLICIES.iter() {
            let offer = offer(policy.name).expect("known");
            assert!(!offer.versions.is_empty(), "{}", policy.name);
            assert!(!offer.provider.cipher_suites.is_empty(), "{}", policy.name);
        }
        assert!(offer("ELBSecurityPolicy-Unknown").is_none());
    }

    #[test]
    fn a_policy_is_offered_in_its_order_and_no_more() {
        assert_eq!(
            names("ELBSecurityPolicy-TLS13-1-3-2021-06"),
            [
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "TLS_CHACHA20_POLY1305_SHA256"
            ]
        );
        assert_eq!(
            names("ELBSecurityPolicy-2016-08"),
            [
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384"
            ]
        );
        let offer = offer("ELBSecurityPolicy-2016-08").expect("known");
        assert_eq!(offer.versions.len(), 1, "TLS 1.3 is not in it");
    }
}
