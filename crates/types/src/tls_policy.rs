//! The predefined security policies of HTTPS listeners, and what of them this region serves (fact LST-12).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>
//!
//! One table for both sides: control lists it (DescribeSSLPolicies) and checks names with it, the load balancer
//! node makes its TLS configuration of it. Not served are TLS 1.0 and 1.1, ciphers with CBC and key exchange by
//! RSA: rustls has none of them. A policy that holds them works with what is left of it; none is left empty.

/// Oldest first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

use TlsVersion::{Tls10, Tls11, Tls12, Tls13};

impl TlsVersion {
    const ALL: [Self; 4] = [Tls10, Tls11, Tls12, Tls13];

    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Tls10 => "TLSv1",
            Tls11 => "TLSv1.1",
            Tls12 => "TLSv1.2",
            Tls13 => "TLSv1.3",
        }
    }

    pub fn is_served(self) -> bool {
        self >= Tls12
    }
}

/// A cipher suite.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct TlsCipher {
    /// OpenSSL's name, which AWS uses.
    pub name: &'static str,
    /// IANA's number.
    pub code: u16,
}

impl TlsCipher {
    pub fn version(&self) -> TlsVersion {
        if self.name.starts_with("TLS_") {
            Tls13
        } else {
            Tls12
        }
    }

    fn is_forward_secret(&self) -> bool {
        self.name.starts_with("ECDHE-")
    }

    fn is_gcm(&self) -> bool {
        self.name.contains("-GCM-")
    }

    pub fn is_served(&self) -> bool {
        self.version() == Tls13 || (self.is_forward_secret() && self.is_gcm())
    }
}

const fn cipher(name: &'static str, code: u16) -> TlsCipher {
    TlsCipher { name, code }
}

/// In AWS's order of preference.
pub static CIPHERS: [TlsCipher; 21] = [
    cipher("TLS_AES_128_GCM_SHA256", 0x1301),
    cipher("TLS_AES_256_GCM_SHA384", 0x1302),
    cipher("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    cipher("ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b),
    cipher("ECDHE-RSA-AES128-GCM-SHA256", 0xc02f),
    cipher("ECDHE-ECDSA-AES128-SHA256", 0xc023),
    cipher("ECDHE-RSA-AES128-SHA256", 0xc027),
    cipher("ECDHE-ECDSA-AES128-SHA", 0xc009),
    cipher("ECDHE-RSA-AES128-SHA", 0xc013),
    cipher("ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c),
    cipher("ECDHE-RSA-AES256-GCM-SHA384", 0xc030),
    cipher("ECDHE-ECDSA-AES256-SHA384", 0xc024),
    cipher("ECDHE-RSA-AES256-SHA384", 0xc028),
    cipher("ECDHE-ECDSA-AES256-SHA", 0xc00a),
    cipher("ECDHE-RSA-AES256-SHA", 0xc014),
    cipher("AES128-GCM-SHA256", 0x009c),
    cipher("AES128-SHA256", 0x003c),
    cipher("AES128-SHA", 0x002f),
    cipher("AES256-GCM-SHA384", 0x009d),
    cipher("AES256-SHA256", 0x003d),
    cipher("AES256-SHA", 0x0035),
];

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Modern {
    No,
    All,
    /// Without ChaCha20.
    Fips,
}

/// Which ciphers of TLS 1.2 and older.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Ciphers {
    None,
    /// ECDHE with GCM.
    ForwardGcm,
    /// ECDHE with SHA-2.
    ForwardSha2,
    /// All ECDHE.
    Forward,
    /// SHA-2, with or without ECDHE.
    Sha2,
    All,
}

/// A policy: its protocols and its ciphers.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    pub name: &'static str,
    oldest: TlsVersion,
    newest: TlsVersion,
    modern: Modern,
    ciphers: Ciphers,
}

macro_rules! policies {
    ($($name:expr, $oldest:ident, $newest:ident, $modern:ident, $ciphers:ident;)*) => {
        &[$(TlsPolicy {
            name: $name,
            oldest: $oldest,
            newest: $newest,
            modern: Modern::$modern,
            ciphers: Ciphers::$ciphers,
        }),*]
    };
}

/// The policy of a listener that names none.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

pub static POLICIES: &[TlsPolicy] = policies! {
    DEFAULT, Tls10, Tls12, No, All;
    "ELBSecurityPolicy-TLS13-1-2-2021-06", Tls12, Tls13, All, ForwardSha2;
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", Tls12, Tls13, All, ForwardGcm;
    "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", Tls12, Tls13, All, Sha2;
    "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", Tls12, Tls13, All, All;
    "ELBSecurityPolicy-TLS13-1-1-2021-06", Tls11, Tls13, All, All;
    "ELBSecurityPolicy-TLS13-1-0-2021-06", Tls10, Tls13, All, All;
    "ELBSecurityPolicy-TLS13-1-3-2021-06", Tls13, Tls13, All, None;
    "ELBSecurityPolicy-TLS-1-2-2017-01", Tls12, Tls12, No, Sha2;
    "ELBSecurityPolicy-TLS-1-1-2017-01", Tls11, Tls12, No, All;
    "ELBSecurityPolicy-TLS-1-2-Ext-2018-06", Tls12, Tls12, No, All;
    "ELBSecurityPolicy-FS-2018-06", Tls10, Tls12, No, Forward;
    "ELBSecurityPolicy-FS-1-2-Res-2019-08", Tls12, Tls12, No, ForwardSha2;
    "ELBSecurityPolicy-FS-1-1-2019-08", Tls11, Tls12, No, Forward;
    "ELBSecurityPolicy-FS-1-2-2019-08", Tls12, Tls12, No, Forward;
    "ELBSecurityPolicy-FS-1-2-Res-2020-10", Tls12, Tls12, No, ForwardGcm;
    "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", Tls13, Tls13, Fips, None;
    "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", Tls12, Tls13, Fips, ForwardSha2;
    "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04", Tls12, Tls13, Fips, ForwardGcm;
    "ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04", Tls12, Tls13, Fips, Forward;
    "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04", Tls12, Tls13, Fips, Sha2;
    "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", Tls12, Tls13, Fips, All;
    "ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04", Tls11, Tls13, Fips, All;
    "ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", Tls10, Tls13, Fips, All;
    "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", Tls13, Tls13, All, None;
    "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", Tls12, Tls13, All, ForwardSha2;
    "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", Tls12, Tls13, All, ForwardGcm;
    "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", Tls12, Tls13, All, Sha2;
    "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", Tls12, Tls13, All, All;
    "ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", Tls10, Tls13, All, All;
    "ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09", Tls13, Tls13, Fips, None;
    "ELBSecurityPolicy-TLS13-1-2-FIPS-PQ-2025-09", Tls12, Tls13, Fips, ForwardSha2;
    "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-PQ-2025-09", Tls12, Tls13, Fips, ForwardGcm;
    "ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-PQ-2025-09", Tls12, Tls13, Fips, Forward;
    "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-PQ-2025-09", Tls12, Tls13, Fips, Sha2;
    "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-PQ-2025-09", Tls12, Tls13, Fips, All;
};

pub fn find(name: &str) -> Option<&'static TlsPolicy> {
    POLICIES.iter().find(|policy| policy.name == name)
}

impl TlsPolicy {
    /// Newest first, as AWS lists them.
    pub fn protocols(&self) -> impl Iterator<Item = TlsVersion> + use<> {
        let (oldest, newest) = (self.oldest, self.newest);
        let all = TlsVersion::ALL.into_iter().rev();
        all.filter(move |version| (oldest..=newest).contains(version))
    }

    /// In order of preference.
    pub fn ciphers(&self) -> impl Iterator<Item = &'static TlsCipher> + use<> {
        let (modern, old) = (self.modern, self.ciphers);
        CIPHERS.iter().filter(move |cipher| match cipher.version() {
            Tls13 => match modern {
                Modern::No => false,
                Modern::All => true,
                Modern::Fips => !cipher.name.contains("CHACHA20"),
            },
            _ => old.holds(cipher),
        })
    }

    /// What a node offers of it.
    pub fn served_protocols(&self) -> impl Iterator<Item = TlsVersion> + use<> {
        self.protocols().filter(|version| version.is_served())
    }

    /// What a node offers of it.
    pub fn served_ciphers(&self) -> impl Iterator<Item = &'static TlsCipher> + use<> {
        self.ciphers().filter(|cipher| cipher.is_served())
    }

    /// Whether it asks for hybrid key exchange with ML-KEM.
    pub fn is_post_quantum(&self) -> bool {
        self.name.contains("-PQ-")
    }
}

impl Ciphers {
    fn holds(self, cipher: &TlsCipher) -> bool {
        let forward = cipher.is_forward_secret();
        let sha2 = !cipher.name.ends_with("-SHA");
        match self {
            Self::None => false,
            Self::ForwardGcm => forward && cipher.is_gcm(),
            Self::ForwardSha2 => forward && sha2,
            Self::Forward => forward,
            Self::Sha2 => sha2,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tail: &str) -> &'static TlsPolicy {
        find(&format!("ELBSecurityPolicy-{tail}")).unwrap()
    }

    #[test]
    fn policies_hold_what_the_guide_says() {
        let old = named("2016-08");
        assert_eq!(old.ciphers().count(), 18);
        let protocols: Vec<_> = old.protocols().map(TlsVersion::as_str).collect();
        assert_eq!(protocols, ["TLSv1.2", "TLSv1.1", "TLSv1"]);
        assert_eq!(named("TLS13-1-3-2021-06").ciphers().count(), 3);
        assert_eq!(named("FS-1-2-Res-2020-10").ciphers().count(), 4);
        assert_eq!(named("TLS13-1-2-2021-06").ciphers().count(), 3 + 8);
        assert_eq!(named("TLS13-1-2-Res-FIPS-2023-04").ciphers().count(), 2 + 4);
    }

    #[test]
    fn every_policy_leaves_something_to_serve() {
        for policy in POLICIES {
            assert!(policy.served_protocols().count() > 0, "{}", policy.name);
            for version in policy.served_protocols() {
                let mut ciphers = policy.served_ciphers();
                assert!(ciphers.any(|c| c.version() == version), "{}", policy.name);
            }
        }
    }

    #[test]
    fn names_and_numbers_are_unique() {
        for (at, policy) in POLICIES.iter().enumerate() {
            assert!(POLICIES[..at].iter().all(|other| other.name != policy.name));
        }
        for (at, cipher) in CIPHERS.iter().enumerate() {
            assert!(CIPHERS[..at].iter().all(|other| other.code != cipher.code));
        }
    }
}
