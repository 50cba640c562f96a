//! Ids of EC2 resources: `<prefix>-` and 17 lower-case hexadecimal digits (8 in old ones).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not an id of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id: \"{text}\" (expecting \"{prefix}-...\")")]
pub struct IdError {
    pub text: String,
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// Made from random bits; the caller brings the randomness.
            pub fn from_bits(bits: u128) -> Self {
                Self(format!("{}-{:017x}", $prefix, bits & ((1 << 68) - 1)))
            }

            pub fn parse(text: &str) -> Result<Self, IdError> {
                let hex = text.strip_prefix(concat!($prefix, "-")).unwrap_or("");
                let good = matches!(hex.len(), 8 | 17)
                    && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if good { Ok(Self(text.to_owned())) } else { Err(IdError { text: text.to_owned(), prefix: $prefix }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The part after the prefix.
            pub fn tail(&self) -> &str {
                &self.0[concat!($prefix, "-").len()..]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
    )*};
}

ids! {
    VpcId = "vpc";
    VpcCidrAssociationId = "vpc-cidr-assoc";
    SubnetId = "subnet";
    RouteTableId = "rtb";
    RouteTableAssociationId = "rtbassoc";
    InternetGatewayId = "igw";
    NatGatewayId = "nat";
    AllocationId = "eipalloc";
    AddressAssociationId = "eipassoc";
    EniId = "eni";
    EniAttachmentId = "eni-attach";
    SecurityGroupId = "sg";
    SecurityGroupRuleId = "sgr";
    NetworkAclId = "acl";
    NetworkAclAssociationId = "aclassoc";
    DhcpOptionsId = "dopt";
    SubnetCidrAssociationId = "subnet-cidr-assoc";
    SubnetCidrReservationId = "scr";
    EgressOnlyInternetGatewayId = "eigw";
    PrefixListId = "pl";
    VpcEndpointId = "vpce";
    VpcPeeringConnectionId = "pcx";
    FlowLogId = "fl";
    NetworkInsightsPathId = "nip";
    NetworkInsightsAnalysisId = "nia";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_parse() {
        let id = VpcId::from_bits(u128::MAX);
        assert_eq!(id.as_str().len(), "vpc-".len() + 17);
        assert_eq!(VpcId::parse(id.as_str()).unwrap(), id);
    }

    #[test]
    fn other_kinds_and_bad_digits_are_refused() {
        for text in [
            "",
            "vpc-",
            "vpc-123",
            "subnet-0123456789abcdef0",
            "vpc-0123456789ABCDEF0",
            "vpc-0123456789abcdef01",
            "vpc-cidr-assoc-12345678",
        ] {
            assert!(VpcId::parse(text).is_err(), "{text}");
        }
    }
}
