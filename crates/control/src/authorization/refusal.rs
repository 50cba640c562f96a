//! AWS's answer to a call that may not be made, per protocol (fact IAM-10).

use crate::model::iam::evaluation::Decision;
use fogbank_wire::{Protocol, Service, ServiceError};

/// `encoded`: what DecodeAuthorizationMessage reads, which EC2 adds.
pub fn refusal(
    service: Service,
    protocol: Protocol,
    decision: &Decision,
    arn: &str,
    encoded: Option<&str>,
) -> ServiceError {
    let text = decision.refusal(arn);
    match (service, protocol) {
        (Service::Ec2, _) => {
            let mut text = format!("You are not authorized to perform this operation. {text}");
            if let Some(encoded) = encoded {
                text.push_str(". Encoded authorization failure message: ");
                text.push_str(encoded);
            }
            ServiceError::new("UnauthorizedOperation", 403, text)
        }
        (_, Protocol::AwsJson | Protocol::RpcV2Cbor) => {
            ServiceError::new("AccessDeniedException", 400, text)
        }
        _ => ServiceError::new("AccessDenied", 403, text),
    }
}
