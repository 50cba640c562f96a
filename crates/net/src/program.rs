//! What the kernel of this host shall hold: namespaces, links, addresses, routes, firewall tables.
//!
//! `compile` makes a `Program` from a snapshot, `plan` compares two, `apply` makes the kernel so,
//! `eval` sends one packet through it. Nothing here knows AWS; nothing here does I/O. The vocabulary
//! is only as large as the compiler needs, so that `eval` and `apply` can both be complete.
//!
//! What must stay true: a `Program` says everything about the namespaces that it names (an object
//! in such a namespace that it does not name shall not be there), except for the host's own
//! namespace, of which it says only what is ours.

use fogbank_types::{EniId, IpCidr, Ipv4Cidr, Ipv6Cidr, MacAddr, VpcId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The whole desired state of one host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Our things in the namespace that the node runs in.
    pub host: Namespace,
    /// By name, as under `/run/netns`.
    pub namespaces: BTreeMap<String, Namespace>,
    /// What could not be compiled and was left out on the narrow side.
    pub alarms: Vec<Alarm>,
}

/// Something that the operator must know: it was left out, so less is allowed than was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// The resource's id.
    pub resource: String,
    pub reason: String,
}

/// Whose namespace it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Host,
    Edge,
    Vpc(VpcId),
    Eni(EniId),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespace {
    pub role: Role,
    /// Files under `/proc/sys/net`, relative, and what is written to them before anything else.
    pub sysctls: BTreeMap<String, String>,
    /// By the name of the end that lies here; the other end is made with it.
    pub veths: BTreeMap<String, Veth>,
    pub addresses: BTreeSet<Address>,
    pub neighbours: BTreeMap<(String, IpAddr), MacAddr>,
    pub routes: BTreeMap<RouteKey, Route>,
    pub rules: BTreeSet<RoutingRule>,
    /// Firewall tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Addresses that have connections here, and whose they are. When an address goes or changes
    /// hands, its tracked connections are forgotten, so that the next owner inherits none.
    pub connections: BTreeMap<IpAddr, String>,
    /// Traffic of an address that is let through without tracking as AWS counts it (fact SG-11).
    /// Connections of what is here and no longer in the next program are judged anew at once, each
    /// packet of their first direction as if it opened one.
    pub untracked: BTreeSet<Untracked>,
    /// Whose connections are tracked whatever else is said of them (fact SG-12).
    pub tracked: BTreeSet<IpAddr>,
}

/// New connections of an interface's address that a rule for everyone allows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Untracked {
    pub address: IpAddr,
    /// In: towards the address.
    pub direction: Direction,
    /// 6 or 17.
    pub protocol: u8,
    /// Destination ports of the packet that opens the connection.
    pub ports: Range,
}

/// A pair of devices. Both ends are up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    pub mac: MacAddr,
    pub mtu: u32,
    pub peer: Peer,
    /// Answer ARP for whatever is routed elsewhere.
    pub proxy_arp: bool,
    /// Packets wait that long before they leave by either end; needs the kernel's netem.
    pub delay_ms: u32,
}

/// The other end of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None`: the host's namespace.
    pub namespace: Option<String>,
    pub device: String,
    pub mac: MacAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub device: String,
    pub address: IpAddr,
    pub length: u8,
}

/// `MAIN` and `LOCAL` are the kernel's own tables.
pub type TableId = u32;
pub const MAIN: TableId = 254;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    pub table: TableId,
    pub destination: IpCidr,
    /// Lower wins.
    pub metric: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Dropped without a word.
    Blackhole,
    /// The destination is on that link.
    Device(String),
    /// Through a neighbour, which need not lie in a connected network.
    Via {
        gateway: IpAddr,
        device: String,
        /// Source of packets made in this namespace.
        source: Option<IpAddr>,
    },
}

/// Policy routing; all conditions hold. Lower priorities first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoutingRule {
    pub family: Family,
    pub priority: u32,
    pub from: Option<IpCidr>,
    pub device: Option<String>,
    pub action: RuleAction,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    Lookup(TableId),
    Blackhole,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub fn of_block(block: IpCidr) -> Self {
        Self::of(block.base())
    }

    /// All of it.
    pub fn any(self) -> IpCidr {
        match self {
            Self::V4 => Ipv4Cidr::ANY.into(),
            Self::V6 => Ipv6Cidr::ANY.into(),
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// IANA's number of the family's ICMP.
    pub fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }
}

/// One nftables table. All addresses and blocks in it are of its family.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub family: Family,
    pub sets: BTreeMap<String, Set>,
    pub chains: BTreeMap<String, Chain>,
    /// Named by their content: the kernel cannot change one.
    pub timeouts: BTreeMap<String, Timeout>,
}

/// How long connections may be idle before they are forgotten.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Timeout {
    Tcp { established_s: u32 },
    Udp { unreplied_s: u32, replied_s: u32 },
}

impl Table {
    pub fn new(family: Family) -> Self {
        Self {
            family,
            sets: BTreeMap::new(),
            chains: BTreeMap::new(),
            timeouts: BTreeMap::new(),
        }
    }
}

/// A named set or map. Elements of the three range kinds never overlap (the kernel refuses that).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    Addresses(BTreeSet<IpAddr>),
    Devices(BTreeSet<String>),
    /// Which addresses belong to which device.
    Bindings(BTreeSet<(String, IpAddr)>),
    /// Peer block, protocol, destination ports.
    Ports(BTreeSet<(IpCidr, u8, Range)>),
    /// Peer block, ICMP type * 256 + code.
    Icmp(BTreeSet<(IpCidr, Range)>),
    /// Peer block, protocol numbers.
    Protocols(BTreeSet<(IpCidr, Range)>),
    Translations(BTreeMap<IpAddr, IpAddr>),
    Verdicts(BTreeMap<String, Verdict>),
}

/// Inclusive.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub from: u16,
    pub to: u16,
}

impl Range {
    pub const ALL: Self = Self {
        from: 0,
        to: u16::MAX,
    };

    pub fn contains(self, value: u16) -> bool {
        (self.from..=self.to).contains(&value)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// `None`: only reached by a jump.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

/// Where a chain hangs. Accepting ends only this chain: a later one at the same hook may still drop.
/// The policy is always to accept, and a chain that shall drop ends in a rule that does: the kernel
/// hangs up a new chain before its rules act, and a policy to drop would lose packets meanwhile.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub hook: Hook,
    pub nat: bool,
    pub priority: i32,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// All matches hold -> the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub matches: Vec<Match>,
    pub action: Action,
}

impl Rule {
    pub fn new(matches: impl Into<Vec<Match>>, action: Action) -> Self {
        Self {
            matches: matches.into(),
            action,
        }
    }
}

/// Which end of the packet.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    In,
    Out,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Part of a known connection or an error about one; of one that is judged anew (see
    /// `Namespace::untracked`) answers only.
    Established,
    /// Not attributable to any connection.
    Invalid,
    Device {
        direction: Direction,
        name: String,
        equal: bool,
    },
    DeviceIn {
        direction: Direction,
        set: String,
        member: bool,
    },
    AddressIn {
        end: End,
        set: String,
        member: bool,
    },
    /// In: device and source are in that `Bindings` set; out: device and destination.
    Bound {
        direction: Direction,
        set: String,
    },
    Block {
        end: End,
        block: IpCidr,
        inside: bool,
    },
    Protocol {
        number: u8,
        equal: bool,
    },
    /// Destination port of TCP or UDP; comes after a `Protocol`.
    Ports(Range),
    /// Type * 256 + code; comes after a `Protocol` (1 or, in a table of IPv6, 58).
    Icmp(Range),
    /// A `Ports`, `Icmp` or `Protocols` set, with the peer's address at that end.
    Traffic {
        end: End,
        set: String,
        kind: TrafficKind,
    },
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficKind {
    Ports,
    Icmp,
    Protocols,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Do(Verdict),
    /// The device's entry in a `Verdicts` map; no entry: go on.
    VerdictOf {
        direction: Direction,
        map: String,
    },
    /// Source by a `Translations` map; no entry: go on.
    SourceNat(String),
    DestinationNat(String),
    /// Source becomes this address, at an unpredictable port of 1024 to 65535.
    SourceNatTo(IpAddr),
    /// Destination becomes this address and port.
    DestinationNatTo(IpAddr, u16),
    /// Source becomes the address of the device it leaves by.
    Masquerade,
    /// Tell the flow logs (NFLOG, headers only), and go on to the next rule.
    Log {
        group: u16,
        prefix: String,
    },
    /// The packet's connection, if it is new and of the timeout's protocol, gets that one of the
    /// table's timeouts, and the next rule decides; the last to do so wins.
    SetTimeout(String),
    /// Drop and answer with a TCP reset.
    ResetTcp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
}
