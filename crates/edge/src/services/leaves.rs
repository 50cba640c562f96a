//! The certificates that the doors show: of the region's own authority (`fogbank_pki`), for names of AWS's.

use std::sync::Arc;

use fogbank_pki::{Authority, LeafError, Leaves};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Shown to clients that name nobody, or somebody who is none of AWS's.
const DEFAULT_NAME: &str = "ec2.us-east-1.amazonaws.com";
/// Only names under these are vouched for.
const DOMAINS: [&str; 3] = ["amazonaws.com", "api.aws", "on.aws"];

/// See the module.
#[derive(Debug)]
pub struct DoorLeaves(Leaves);

impl DoorLeaves {
    pub fn new(authority: Authority) -> Result<Self, LeafError> {
        Leaves::new(authority).map(Self)
    }
}

impl ResolvesServerCert for DoorLeaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .leaf(names(hello.server_name()))
            .inspect_err(|error| tracing::warn!(%error, "no certificate can be shown"))
            .ok()
    }
}

/// The alternative names of the certificate for a server name: all of its domain, as AWS's are, so that there are
/// few certificates.
fn names(server_name: Option<&str>) -> Vec<String> {
    let name = server_name.map(str::to_ascii_lowercase);
    let vouched = name.filter(|name| {
        DOMAINS.iter().any(|domain| {
            name.strip_suffix(domain)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty())
        })
    });
    let name = vouched.unwrap_or_else(|| DEFAULT_NAME.to_owned());
    match name.split_once('.') {
        // Not for all of `amazonaws.com`: clients take no wildcard so wide.
        Some((_, parent)) if !DOMAINS.contains(&parent) => {
            vec![format!("*.{parent}"), parent.to_owned()]
        }
        _ => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_aws_are_vouched_for() {
        let of = |name| names(Some(name)).join(" ");
        assert_eq!(
            of("EC2.us-east-1.amazonaws.com"),
            "*.us-east-1.amazonaws.com us-east-1.amazonaws.com"
        );
        assert_eq!(
            of("1.dkr.ecr.us-east-1.amazonaws.com"),
            "*.dkr.ecr.us-east-1.amazonaws.com dkr.ecr.us-east-1.amazonaws.com"
        );
        assert_eq!(of("sts.amazonaws.com"), "sts.amazonaws.com");
        let default = names(None);
        for name in [
            "example.com",
            "amazonaws.com",
            "evilamazonaws.com",
            ".amazonaws.com",
            "x",
        ] {
            assert_eq!(names(Some(name)), default, "{name}");
        }
    }
}
