//! Callers' words for traffic and peers, to typed ones. Nothing is guessed: what is unclear is refused, never widened.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html> (facts SG-7, SG-8, ACL-5)

use super::Refusal;
use fogbank_types::ec2::RulePeer;
use fogbank_types::*;

/// The traffic of a security group rule. For ICMP `from` is the type and `to` the code, -1 meaning any.
pub fn traffic(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<Traffic, Refusal> {
    match protocol_number(protocol)? {
        None => Ok(Traffic::All),
        Some(number @ (6 | 17)) => {
            let (Some(from), Some(to)) = (from, to) else {
                return Err(both_ports("TCP/UDP"));
            };
            Ok(with_ports(number, port_range(from, to)?))
        }
        Some(1) => match (from, to) {
            (Some(kind), Some(code)) => Ok(Traffic::Icmp(icmp(kind, code)?)),
            _ => Err(both_ports("ICMP")),
        },
        // Its type and code may be left out, unlike those of ICMP.
        Some(58) => match (from, to) {
            (None, None) => Ok(Traffic::Icmpv6(None)),
            (Some(kind), code) => Ok(Traffic::Icmpv6(icmp(kind, code.unwrap_or(-1))?)),
            (None, Some(_)) => Err(both_ports("ICMPv6")),
        },
        // Other protocols carry no ports; AWS ignores them there.
        Some(number) => Ok(Traffic::Protocol(number)),
    }
}

/// The traffic of an ACL entry, which has ports and ICMP types in members of their own. ICMPv6 has types only in an
/// entry for an IPv6 block. <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html>
pub fn entry_traffic(
    protocol: &str,
    block: IpCidr,
    port_range_given: Option<(Option<i32>, Option<i32>)>,
    icmp_given: Option<(Option<i32>, Option<i32>)>,
) -> Result<Traffic, Refusal> {
    match protocol_number(protocol)? {
        None => Ok(Traffic::All),
        Some(number @ (6 | 17)) => match port_range_given {
            Some((Some(from), Some(to))) => Ok(with_ports(number, port_range(from, to)?)),
            _ => Err(Refusal::MissingParameter { name: "portRange" }),
        },
        Some(58) if block.is_ipv4() => Ok(Traffic::Icmpv6(None)),
        Some(number @ (1 | 58)) => match icmp_given {
            Some((Some(kind), Some(code))) if number == 1 => Ok(Traffic::Icmp(icmp(kind, code)?)),
            Some((Some(kind), Some(code))) => Ok(Traffic::Icmpv6(icmp(kind, code)?)),
            _ => Err(Refusal::MissingParameter {
                name: "icmpTypeCode",
            }),
        },
        Some(number) => Ok(Traffic::Protocol(number)),
    }
}

/// `None` = all protocols.
fn protocol_number(text: &str) -> Result<Option<u8>, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(None),
        "tcp" => Ok(Some(6)),
        "udp" => Ok(Some(17)),
        "icmp" => Ok(Some(1)),
        "icmpv6" => Ok(Some(58)),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| unknown_protocol(text))
        }
        _ => Err(unknown_protocol(text)),
    }
}

fn unknown_protocol(text: &str) -> Refusal {
    Refusal::value(format!(
        "Invalid value '{text}' for IP protocol. Unknown protocol."
    ))
}

fn both_ports(protocol: &str) -> Refusal {
    Refusal::value(format!(
        "Invalid value for portRange. Must specify both from and to ports with {protocol}."
    ))
}

fn ports(text: impl std::fmt::Display) -> Refusal {
    Refusal::value(format!("Invalid value '{text}' for portRange."))
}

fn port_range(from: i32, to: i32) -> Result<PortRange, Refusal> {
    let port = |value: i32| {
        u16::try_from(value)
            .map_err(|_| ports(format!("{from}-{to}: TCP/UDP port ({value}) out of range")))
    };
    PortRange::new(port(from)?, port(to)?)
        .ok_or_else(|| ports(format!("Invalid TCP/UDP port range ({from}:{to})")))
}

fn with_ports(protocol: u8, range: PortRange) -> Traffic {
    if protocol == 6 {
        Traffic::Tcp(range)
    } else {
        Traffic::Udp(range)
    }
}

/// Type and code; -1 is any. A code without a type cannot be said.
fn icmp(kind: i32, code: i32) -> Result<Option<(u8, Option<u8>)>, Refusal> {
    let bad = || Refusal::value(format!("ICMP type and code ({kind}:{code}) are invalid"));
    match (kind, code) {
        (-1, -1) => Ok(None),
        (-1, _) => Err(bad()),
        (kind, -1) => Ok(Some((u8::try_from(kind).map_err(|_| bad())?, None))),
        (kind, code) => Ok(Some((
            u8::try_from(kind).map_err(|_| bad())?,
            Some(u8::try_from(code).map_err(|_| bad())?),
        ))),
    }
}

/// A block as a rule's peer; host bits are cleared, as AWS does.
pub fn block_peer(text: &str) -> Result<RulePeer, Refusal> {
    text.parse()
        .map(RulePeer::Ipv4)
        .map_err(|_| Refusal::value(format!("CIDR block {text} is malformed")))
}

/// The same of IPv6.
pub fn block_peer_v6(text: &str) -> Result<RulePeer, Refusal> {
    text.parse()
        .map(RulePeer::Ipv6)
        .map_err(|_| Refusal::value(format!("CIDR block {text} is malformed")))
}

/// `fromPort` and `toPort` of a rule in replies; absent where AWS has none.
pub fn port_members(traffic: Traffic) -> (Option<i32>, Option<i32>) {
    match traffic {
        Traffic::Tcp(range) | Traffic::Udp(range) => {
            (Some(range.from().into()), Some(range.to().into()))
        }
        Traffic::Icmp(None) | Traffic::Icmpv6(None) => (Some(-1), Some(-1)),
        Traffic::Icmp(Some((kind, code))) | Traffic::Icmpv6(Some((kind, code))) => {
            (Some(kind.into()), Some(code.map_or(-1, i32::from)))
        }
        Traffic::All | Traffic::Protocol(_) => (None, None),
    }
}

/// Characters of a rule's description.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>
pub fn check_rule_description(text: &str) -> Result<(), Refusal> {
    const SET: &str = " ._-:/()#,@[]+=&;{}!$*";
    let good = |c: char| c.is_ascii_alphanumeric() || SET.contains(c);
    if text.len() > 255 || !text.chars().all(good) {
        return Err(Refusal::value(format!(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following \
             set: a-zA-Z0-9.{SET}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u16, to: u16) -> PortRange {
        PortRange::new(from, to).unwrap()
    }

    #[test]
    fn protocols_are_normalised() {
        for (protocol, from, to, expected) in [
            ("tcp", Some(80), Some(443), Traffic::Tcp(range(80, 443))),
            ("TCP", Some(0), Some(65535), Traffic::Tcp(PortRange::ALL)),
            ("6", Some(1), Some(1), Traffic::Tcp(range(1, 1))),
            ("17", Some(53), Some(53), Traffic::Udp(range(53, 53))),
            ("-1", None, None, Traffic::All),
            ("-1", Some(80), Some(80), Traffic::All),
            ("icmp", Some(-1), Some(-1), Traffic::Icmp(None)),
            ("1", Some(8), Some(-1), Traffic::Icmp(Some((8, None)))),
            ("icmp", Some(3), Some(4), Traffic::Icmp(Some((3, Some(4))))),
            ("50", None, None, Traffic::Protocol(50)),
            ("58", Some(-1), Some(-1), Traffic::Icmpv6(None)),
            ("icmpv6", None, None, Traffic::Icmpv6(None)),
            (
                "icmpv6",
                Some(128),
                Some(0),
                Traffic::Icmpv6(Some((128, Some(0)))),
            ),
        ] {
            assert_eq!(
                traffic(protocol, from, to),
                Ok(expected),
                "{protocol} {from:?} {to:?}"
            );
        }
    }

    #[test]
    fn bad_protocols_and_ports_are_refused() {
        for (protocol, from, to) in [
            ("tcpx", Some(1), Some(1)),
            ("", None, None),
            ("256", None, None),
            ("-2", None, None),
            ("+6", Some(1), Some(1)),
            (" tcp", Some(1), Some(1)),
            ("tcp", None, None),
            ("tcp", Some(80), None),
            ("tcp", None, Some(80)),
            ("udp", None, None),
            ("tcp", Some(443), Some(80)),
            ("tcp", Some(0), Some(65536)),
            ("tcp", Some(65536), Some(65536)),
            ("tcp", Some(-1), Some(-1)),
            ("tcp", Some(-1), Some(80)),
            ("tcp", Some(i32::MIN), Some(i32::MAX)),
            ("icmp", None, None),
            ("icmp", Some(8), None),
            ("icmp", Some(-1), Some(0)),
            ("icmp", Some(256), Some(-1)),
            ("icmp", Some(8), Some(256)),
            ("icmp", Some(-2), Some(-1)),
            ("icmpv6", Some(256), Some(0)),
            ("icmpv6", None, Some(0)),
        ] {
            assert!(
                traffic(protocol, from, to).is_err(),
                "{protocol} {from:?} {to:?}"
            );
        }
    }

    #[test]
    fn acl_entries_need_their_own_members() {
        let ports = Some((Some(80), Some(80)));
        let [v4, v6]: [IpCidr; 2] = ["10.0.0.0/8", "::/0"].map(|text| text.parse().unwrap());
        assert_eq!(
            entry_traffic("6", v4, ports, None),
            Ok(Traffic::Tcp(range(80, 80)))
        );
        assert_eq!(
            entry_traffic("1", v4, None, Some((Some(-1), Some(-1)))),
            Ok(Traffic::Icmp(None))
        );
        assert_eq!(entry_traffic("-1", v4, None, None), Ok(Traffic::All));
        for (protocol, ports, icmp) in [
            ("6", None, None),
            ("6", Some((Some(80), None)), None),
            ("17", None, ports),
            ("1", ports, None),
            ("6", Some((Some(2), Some(1))), None),
            ("x", None, None),
        ] {
            assert!(
                entry_traffic(protocol, v4, ports, icmp).is_err(),
                "{protocol}"
            );
        }
        let echo = Some((Some(128), Some(-1)));
        assert_eq!(
            entry_traffic("58", v6, None, echo),
            Ok(Traffic::Icmpv6(Some((128, None))))
        );
        assert_eq!(
            entry_traffic("58", v4, None, echo),
            Ok(Traffic::Icmpv6(None))
        );
        assert!(entry_traffic("58", v6, None, None).is_err());
    }

    #[test]
    fn blocks_are_canonical_or_refused() {
        assert_eq!(
            block_peer("10.0.0.1/16"),
            Ok(RulePeer::Ipv4("10.0.0.0/16".parse().unwrap()))
        );
        for text in [
            "300.0.0.0/8",
            "10.0.0.1",
            "10.0.0.0/33",
            "::/0",
            "",
            "10.0.0.0/8,0.0.0.0/0",
        ] {
            assert!(block_peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_shown_as_they_were_given() {
        for (protocol, from, to) in [
            ("tcp", Some(80), Some(443)),
            ("icmp", Some(8), Some(-1)),
            ("icmp", Some(-1), Some(-1)),
            ("-1", None, None),
        ] {
            assert_eq!(
                port_members(traffic(protocol, from, to).unwrap()),
                (from, to)
            );
        }
    }

    #[test]
    fn descriptions_keep_to_their_characters() {
        assert!(check_rule_description("from the load balancer (80/443)").is_ok());
        for text in ["a<b", "ä", "tab\t", &"x".repeat(256)] {
            assert!(check_rule_description(text).is_err(), "{text}");
        }
    }
}
