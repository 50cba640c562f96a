//! Callers' ids and blocks to typed ones, and ids that follow from a client token.

use super::{Refusal, ResourceKind};
use fogbank_types::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A typed id of a resource that a caller can name.
pub trait ResourceId: Sized + AsRef<str> {
    const KIND: ResourceKind;
    const ID_PREFIX: &'static str;
    fn read(text: &str) -> Result<Self, IdError>;
    fn made_from(bits: u128) -> Self;
}

macro_rules! resource_ids {
    ($($id:ident = $kind:ident,)*) => {$(
        impl ResourceId for $id {
            const KIND: ResourceKind = ResourceKind::$kind;
            const ID_PREFIX: &'static str = $id::PREFIX;
            fn read(text: &str) -> Result<Self, IdError> {
                $id::parse(text)
            }
            fn made_from(bits: u128) -> Self {
                $id::from_bits(bits)
            }
        }
    )*};
}

resource_ids! {
    VpcId = Vpc,
    SubnetId = Subnet,
    RouteTableId = RouteTable,
    RouteTableAssociationId = RouteTableAssociation,
    InternetGatewayId = InternetGateway,
    NatGatewayId = NatGateway,
    AllocationId = Allocation,
    AddressAssociationId = AddressAssociation,
    EniId = NetworkInterface,
    SecurityGroupId = SecurityGroup,
    SecurityGroupRuleId = SecurityGroupRule,
    NetworkAclId = NetworkAcl,
    NetworkAclAssociationId = NetworkAclAssociation,
    DhcpOptionsId = DhcpOptions,
    VpcCidrAssociationId = VpcCidrAssociation,
    SubnetCidrAssociationId = SubnetCidrAssociation,
    SubnetCidrReservationId = SubnetCidrReservation,
    EniAttachmentId = NetworkInterfaceAttachment,
    VpcEndpointId = VpcEndpoint,
    FlowLogId = FlowLog,
    NetworkInsightsPathId = NetworkInsightsPath,
    NetworkInsightsAnalysisId = NetworkInsightsAnalysis,
    EgressOnlyInternetGatewayId = EgressOnlyInternetGateway,
    PrefixListId = PrefixList,
    VpcPeeringConnectionId = VpcPeeringConnection,
}

/// A caller's id. One with the right prefix that cannot be an id of ours names nothing, as in AWS
/// (`vpc-1234` is InvalidVpcID.NotFound); anything else is malformed.
pub fn parse<I: ResourceId>(text: &str) -> Result<I, Refusal> {
    I::read(text).map_err(|_| {
        let tail = text
            .strip_prefix(I::ID_PREFIX)
            .and_then(|rest| rest.strip_prefix('-'));
        if tail.is_some_and(|tail| !tail.is_empty()) {
            Refusal::not_found(I::KIND, text)
        } else {
            Refusal::Malformed {
                kind: I::KIND,
                id: text.to_owned(),
                prefix: I::ID_PREFIX,
            }
        }
    })
}

/// All of a caller's ids.
pub fn parse_all<I: ResourceId>(texts: Option<&[String]>) -> Result<Vec<I>, Refusal> {
    texts
        .unwrap_or_default()
        .iter()
        .map(|text| parse(text))
        .collect()
}

/// A caller's block; host bits are cleared, as AWS does.
pub fn block(parameter: &str, text: &str) -> Result<Ipv4Cidr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::parameter(parameter, text, "This is not a valid CIDR block."))
}

/// A caller's IPv6 block; host bits are cleared.
pub fn block_v6(parameter: &str, text: &str) -> Result<Ipv6Cidr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::parameter(parameter, text, "This is not a valid IPv6 CIDR block."))
}

/// A caller's IPv6 address.
pub fn address_v6(parameter: &str, text: &str) -> Result<Ipv6Addr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::parameter(parameter, text, "Invalid IPv6 address."))
}

/// A caller's address.
pub fn address(parameter: &str, text: &str) -> Result<Ipv4Addr, Refusal> {
    text.parse()
        .map_err(|_| Refusal::parameter(parameter, text, "Invalid IPv4 address."))
}

/// An id that follows from the parts: the same in every process and after every restart. Rows of operations with a
/// client token get theirs from it, so that a repeated call finds the row of the first.
pub fn derived<I: ResourceId>(scope: &Scope, parts: &[&str]) -> I {
    // FNV-1a, 128 bits: stable, and no secret depends on it.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in [scope.account.as_str(), scope.region.as_str()]
        .iter()
        .chain(parts)
    {
        for byte in part.bytes().chain([0xff]) {
            hash =
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    // The low bits of FNV follow the last bytes too closely; fold the high ones in.
    I::made_from(hash ^ (hash >> 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Refused;

    #[test]
    fn unknown_and_malformed_ids_have_codes_of_their_own() {
        for (text, code) in [
            ("vpc-1234", "InvalidVpcID.NotFound"),
            ("vpc-0123456789abcdefff", "InvalidVpcID.NotFound"),
            ("vpc-unknown", "InvalidVpcID.NotFound"),
            ("vpc-", "InvalidVpcID.Malformed"),
            ("vpc-does_not_exist", "InvalidVpcID.NotFound"),
            ("subnet-12345678", "InvalidVpcID.Malformed"),
            ("", "InvalidVpcID.Malformed"),
        ] {
            assert_eq!(parse::<VpcId>(text).unwrap_err().code(), code, "{text}");
        }
        assert_eq!(
            parse::<SecurityGroupId>("default").unwrap_err().code(),
            "InvalidGroupId.Malformed"
        );
        assert!(parse::<VpcId>("vpc-12345678").is_ok());
    }

    #[test]
    fn bad_blocks_are_refused_and_host_bits_cleared() {
        for text in [
            "300.0.0.0/8",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/0",
            "10.0.0.0/-1",
            "0/0",
            " 10.0.0.0/8",
        ] {
            assert_eq!(
                block("cidrBlock", text).unwrap_err().code(),
                "InvalidParameterValue",
                "{text}"
            );
        }
        assert_eq!(
            block("cidrBlock", "100.68.0.18/18").unwrap().to_string(),
            "100.68.0.0/18"
        );
    }

    #[test]
    fn derived_ids_are_stable_and_differ() {
        let make = |account: &str, region: &str, parts: &[&str]| -> DhcpOptionsId {
            derived(&Scope::new(account, region), parts)
        };
        let id = make("000000000000", "us-east-1", &["default"]);
        assert_eq!(id, make("000000000000", "us-east-1", &["default"]));
        assert_ne!(id, make("000000000000", "us-east-2", &["default"]));
        assert_ne!(id, make("000000000001", "us-east-1", &["default"]));
        assert_ne!(id, make("000000000000", "us-east-1", &["defaul", "t"]));
    }
}
