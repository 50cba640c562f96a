//! The predefined security policies that DescribeSSLPolicies lists (fact LST-12).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>

/// A policy: its protocols, and its ciphers in order of preference.
pub struct SslPolicy {
    pub name: &'static str,
    oldest: usize,
    newest: usize,
    tls13: Tls13,
    ciphers: Ciphers,
}

/// Oldest first.
const PROTOCOLS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

#[derive(Copy, Clone, PartialEq)]
enum Tls13 {
    No,
    All,
    /// Without ChaCha20.
    Fips,
}

/// Which ciphers of TLS 1.2 and older.
#[derive(Copy, Clone, PartialEq)]
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

const TLS13: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// In AWS's order of preference.
const TLS12: [&str; 18] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA256",
    "AES256-SHA",
];

const fn policy(
    name: &'static str,
    oldest: usize,
    newest: usize,
    tls13: Tls13,
    ciphers: Ciphers,
) -> SslPolicy {
    SslPolicy {
        name,
        oldest,
        newest,
        tls13,
        ciphers,
    }
}

/// The policy that a listener gets that names none.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

pub static POLICIES: &[SslPolicy] = &[
    policy(DEFAULT, 0, 2, Tls13::No, Ciphers::All),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
        2,
        3,
        Tls13::All,
        Ciphers::ForwardSha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        2,
        3,
        Tls13::All,
        Ciphers::ForwardGcm,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06",
        2,
        3,
        Tls13::All,
        Ciphers::Sha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
        2,
        3,
        Tls13::All,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-1-2021-06",
        1,
        3,
        Tls13::All,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-0-2021-06",
        0,
        3,
        Tls13::All,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-3-2021-06",
        3,
        3,
        Tls13::All,
        Ciphers::None,
    ),
    policy(
        "ELBSecurityPolicy-TLS-1-2-2017-01",
        2,
        2,
        Tls13::No,
        Ciphers::Sha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS-1-1-2017-01",
        1,
        2,
        Tls13::No,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
        2,
        2,
        Tls13::No,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-FS-2018-06",
        0,
        2,
        Tls13::No,
        Ciphers::Forward,
    ),
    policy(
        "ELBSecurityPolicy-FS-1-2-Res-2019-08",
        2,
        2,
        Tls13::No,
        Ciphers::ForwardSha2,
    ),
    policy(
        "ELBSecurityPolicy-FS-1-1-2019-08",
        1,
        2,
        Tls13::No,
        Ciphers::Forward,
    ),
    policy(
        "ELBSecurityPolicy-FS-1-2-2019-08",
        2,
        2,
        Tls13::No,
        Ciphers::Forward,
    ),
    policy(
        "ELBSecurityPolicy-FS-1-2-Res-2020-10",
        2,
        2,
        Tls13::No,
        Ciphers::ForwardGcm,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04",
        3,
        3,
        Tls13::Fips,
        Ciphers::None,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04",
        2,
        3,
        Tls13::Fips,
        Ciphers::ForwardSha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04",
        2,
        3,
        Tls13::Fips,
        Ciphers::ForwardGcm,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04",
        2,
        3,
        Tls13::Fips,
        Ciphers::Forward,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04",
        2,
        3,
        Tls13::Fips,
        Ciphers::Sha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04",
        2,
        3,
        Tls13::Fips,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04",
        1,
        3,
        Tls13::Fips,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04",
        0,
        3,
        Tls13::Fips,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09",
        3,
        3,
        Tls13::All,
        Ciphers::None,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09",
        2,
        3,
        Tls13::All,
        Ciphers::ForwardSha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        2,
        3,
        Tls13::All,
        Ciphers::ForwardGcm,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09",
        2,
        3,
        Tls13::All,
        Ciphers::Sha2,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09",
        2,
        3,
        Tls13::All,
        Ciphers::All,
    ),
    policy(
        "ELBSecurityPolicy-TLS13-1-0-PQ-2025-09",
        0,
        3,
        Tls13::All,
        Ciphers::All,
    ),
];

impl SslPolicy {
    /// Newest first, as AWS lists them.
    pub fn protocols(&self) -> impl Iterator<Item = &'static str> {
        PROTOCOLS[self.oldest..=self.newest].iter().rev().copied()
    }

    pub fn ciphers(&self) -> impl Iterator<Item = &'static str> {
        let (tls13, kind) = (self.tls13, self.ciphers);
        let new = TLS13.into_iter().filter(move |name| match tls13 {
            Tls13::No => false,
            Tls13::All => true,
            Tls13::Fips => !name.contains("CHACHA20"),
        });
        new.chain(TLS12.into_iter().filter(move |name| holds(kind, name)))
    }
}

fn holds(kind: Ciphers, name: &str) -> bool {
    let forward = name.starts_with("ECDHE-");
    let sha2 = !name.ends_with("-SHA");
    match kind {
        Ciphers::None => false,
        Ciphers::ForwardGcm => forward && name.contains("-GCM-"),
        Ciphers::ForwardSha2 => forward && sha2,
        Ciphers::Forward => forward,
        Ciphers::Sha2 => sha2,
        Ciphers::All => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_hold_what_the_guide_says() {
        let find = |name: &str| POLICIES.iter().find(|p| p.name.ends_with(name)).unwrap();
        let old = find("-2016-08");
        assert_eq!(old.ciphers().count(), 18);
        assert_eq!(
            old.protocols().collect::<Vec<_>>(),
            ["TLSv1.2", "TLSv1.1", "TLSv1"]
        );
        assert_eq!(find("TLS13-1-3-2021-06").ciphers().count(), 3);
        assert_eq!(find("FS-1-2-Res-2020-10").ciphers().count(), 4);
        assert_eq!(find("TLS13-1-2-2021-06").ciphers().count(), 3 + 8);
    }
}
