//! AWS's answers to those who are not let in, by service and protocol (facts SIG-3 to SIG-8).

use fogbank_wire::sigv4::Flaw;
use fogbank_wire::{Protocol, Service, ServiceError};

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No such key, or it is inactive, or its token is none.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    #[error("{0}")]
    Incomplete(String),
    /// Too old, or from the future.
    #[error("{0}")]
    Stale(String),
    /// The signature, or what it is for, is wrong.
    #[error("{0}")]
    Signature(String),
}

impl From<Flaw> for Denial {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Incomplete(text) => Self::Incomplete(text),
            Flaw::Stale(text) => Self::Stale(text),
            Flaw::Scope(_) | Flaw::Mismatch => Self::Signature(flaw.to_string()),
        }
    }
}

impl Denial {
    /// As that service says it.
    pub fn error(&self, service: Service, protocol: Protocol) -> ServiceError {
        let text = self.to_string();
        let is_json = matches!(protocol, Protocol::AwsJson | Protocol::RpcV2Cbor);
        let is_ec2 = service == Service::Ec2;
        // EC2 tells nobody what is wrong with a key or a signature.
        const UNTOLD: &str = "AWS was not able to validate the provided access credentials";
        let (code, status, text) = match self {
            Self::Incomplete(_) if is_json => ("IncompleteSignatureException", 400, text),
            Self::Incomplete(_) => ("IncompleteSignature", 400, text),
            Self::UnknownKey | Self::Signature(_) if is_ec2 => {
                ("AuthFailure", 401, UNTOLD.to_owned())
            }
            Self::ExpiredToken | Self::Stale(_) if is_ec2 => {
                ("RequestExpired", 400, "Request has expired.".to_owned())
            }
            Self::UnknownKey if is_json => ("UnrecognizedClientException", 400, text),
            Self::UnknownKey => ("InvalidClientTokenId", 403, text),
            Self::ExpiredToken if is_json => ("ExpiredTokenException", 400, text),
            Self::ExpiredToken => ("ExpiredToken", 403, text),
            Self::Stale(_) | Self::Signature(_) if is_json => {
                ("InvalidSignatureException", 400, text)
            }
            Self::Stale(_) | Self::Signature(_) => ("SignatureDoesNotMatch", 403, text),
        };
        ServiceError::new(code, status, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_own_words() {
        let said = |denial: &Denial, service, protocol| {
            let error = denial.error(service, protocol);
            (error.code.into_owned(), error.status)
        };
        let stale = Denial::Stale("Signature expired".into());
        let wrong = Denial::from(Flaw::Mismatch);
        for (denial, ec2, json, query) in [
            (
                &Denial::UnknownKey,
                ("AuthFailure", 401),
                ("UnrecognizedClientException", 400),
                ("InvalidClientTokenId", 403),
            ),
            (
                &Denial::ExpiredToken,
                ("RequestExpired", 400),
                ("ExpiredTokenException", 400),
                ("ExpiredToken", 403),
            ),
            (
                &stale,
                ("RequestExpired", 400),
                ("InvalidSignatureException", 400),
                ("SignatureDoesNotMatch", 403),
            ),
            (
                &wrong,
                ("AuthFailure", 401),
                ("InvalidSignatureException", 400),
                ("SignatureDoesNotMatch", 403),
            ),
        ] {
            for (service, protocol, (code, status)) in [
                (Service::Ec2, Protocol::Ec2Query, ec2),
                (Service::Ecs, Protocol::AwsJson, json),
                (Service::Cloudwatch, Protocol::RpcV2Cbor, json),
                (Service::Sts, Protocol::AwsQuery, query),
                (Service::Route53, Protocol::RestXml, query),
            ] {
                let expected = (code.to_owned(), status);
                assert_eq!(said(denial, service, protocol), expected, "{denial:?}");
            }
        }
    }
}
