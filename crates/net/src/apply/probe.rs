//! Which guarantees this host can give, tried out in a namespace of its own.
//!
//! `fogbank up` prints one line for each; none of it touches the host's own namespace.

use super::netlink::{Message, Socket};
use super::{namespace, nft, route};
use crate::names;
use crate::plan::NftOp;
use crate::program::{
    Action, Base, Direction, End, Family, Hook, Match, Peer, Rule, Set, Timeout, TrafficKind, Veth,
};
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

/// One line of `fogbank up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarantee {
    pub name: &'static str,
    pub given: bool,
    /// Without it there can be no region.
    pub needed: bool,
    /// What it rests on, or why it cannot be given.
    pub detail: String,
}

/// Tries namespaces, veth pairs, nftables and connection tracking. Takes a few milliseconds.
pub fn probe() -> Vec<Guarantee> {
    // Not joined: closing the sockets takes the kernel tens of milliseconds, and nobody needs that.
    let (answer, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut sockets = Vec::new();
        let _ = answer.send(try_out(&mut sockets));
    });
    let ended = |_| {
        let error = io::Error::other("the probe ended");
        vec![guarantee("network", "", Err(error))]
    };
    outcome.recv().unwrap_or_else(ended)
}

fn guarantee(name: &'static str, what: &str, outcome: io::Result<()>) -> Guarantee {
    let (given, detail) = match outcome {
        Ok(()) => (true, what.to_owned()),
        Err(error) => (false, format!("{what}: {error}")),
    };
    Guarantee {
        name,
        given,
        needed: true,
        detail,
    }
}

/// One that a region can do without; `else` says what it then lacks.
fn extra(name: &'static str, what: &str, outcome: io::Result<()>, without: &str) -> Guarantee {
    let lacks = match &outcome {
        Ok(()) => String::new(),
        Err(_) => format!("; {without}"),
    };
    let given = guarantee(name, what, outcome);
    Guarantee {
        needed: false,
        detail: given.detail + &lacks,
        ..given
    }
}

/// Whether this kernel can delay packets: what a slow zone needs. Asked once a process.
pub fn netem_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let tried = std::thread::spawn(|| {
            namespace::isolate()?;
            try_netem(&mut Vec::new())
        });
        tried.join().is_ok_and(|outcome| outcome.is_ok())
    })
}

/// Whether this kernel can give single connections idle timeouts of their own. Asked once a process.
pub fn idle_timeouts_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let tried = std::thread::spawn(|| {
            namespace::isolate()?;
            try_idle_timeouts(&mut Vec::new())
        });
        tried.join().is_ok_and(|outcome| outcome.is_ok())
    })
}

fn try_out(sockets: &mut Vec<Socket>) -> Vec<Guarantee> {
    let host_ipv6 = match namespace::get("ipv6/conf/all/disable_ipv6") {
        Ok(off) if off == "0" => Ok(()),
        Ok(_) => Err(io::Error::other("switched off on this host")),
        Err(_) => Err(io::Error::other("not in this kernel")),
    };
    let isolation = namespace::isolate();
    let reachable = isolation.is_ok();
    let mut all = vec![guarantee(
        "isolation",
        "network namespaces (needs root)",
        isolation,
    )];
    if !reachable {
        return all;
    }
    all.push(guarantee("interfaces", "veth pairs", try_veth(sockets)));
    all.push(guarantee(
        "firewall",
        "nftables with range sets, verdict maps and NAT",
        try_nftables(sockets),
    ));
    all.push(guarantee(
        "connections",
        "connection tracking",
        try_conntrack(sockets),
    ));
    all.push(extra(
        "ipv6",
        "IPv6 between the host and the region",
        host_ipv6,
        "public IPv6 addresses are not reached from this host",
    ));
    all.push(extra(
        "flow logs",
        "packets logged to a process (nfnetlink_log)",
        try_logging(sockets),
        "flow logs have no rejected traffic",
    ));
    all.push(extra(
        "idle timeouts",
        "timeouts of single connections (nf_conntrack_timeout)",
        try_idle_timeouts(sockets),
        "interfaces with timeouts of their own have the defaults",
    ));
    all.push(extra(
        "delays",
        "packets that wait (sch_netem)",
        try_netem(sockets),
        "no zone can be slow",
    ));
    all
}

/// A socket that outlives the answer.
fn open(sockets: &mut Vec<Socket>, protocol: i32) -> io::Result<&mut Socket> {
    sockets.push(Socket::open(protocol)?);
    Ok(sockets.last_mut().expect("it was put there just now"))
}

fn try_veth(sockets: &mut Vec<Socket>) -> io::Result<()> {
    let here = namespace::current()?;
    let socket = open(sockets, libc::NETLINK_ROUTE)?;
    let veth = Veth {
        mac: names::ROUTER_MAC,
        mtu: 9001,
        proxy_arp: true,
        delay_ms: 0,
        peer: Peer {
            namespace: None,
            device: "probe1".to_owned(),
            mac: names::EDGE_MAC,
        },
    };
    let made = socket.exchange(vec![route::add_veth("probe0", &veth, here.as_fd())])?;
    match made.into_iter().next() {
        Some(Ok(())) => namespace::set("ipv4/neigh/probe0/proxy_delay", "0"),
        Some(Err(refusal)) => Err(io::Error::from_raw_os_error(refusal.errno)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn try_nftables(sockets: &mut Vec<Socket>) -> io::Result<()> {
    let socket = open(sockets, libc::NETLINK_NETFILTER)?;
    let text = |name: &str| name.to_owned();
    let base = |hook, nat| {
        Some(Base {
            hook,
            nat,
            priority: 0,
        })
    };
    let add_set = |name: &str, shape| NftOp::AddSet {
        name: text(name),
        shape,
    };
    let rule = |chain: &str, matches: Vec<Match>, action| NftOp::AddRule {
        chain: text(chain),
        rule: Rule::new(matches, action),
    };
    let ports = Match::Traffic {
        end: End::Source,
        set: text("ports"),
        kind: TrafficKind::Ports,
    };
    let verdict_of = Action::VerdictOf {
        direction: Direction::In,
        map: text("verdicts"),
    };
    let operations = [
        NftOp::AddTable,
        NftOp::AddChain {
            name: text("forward"),
            base: base(Hook::Forward, false),
        },
        NftOp::AddChain {
            name: text("postrouting"),
            base: base(Hook::Postrouting, true),
        },
        add_set("ports", Set::Ports(Default::default())),
        add_set("verdicts", Set::Verdicts(Default::default())),
        add_set("addresses", Set::Translations(Default::default())),
        rule("forward", vec![Match::Established, ports], verdict_of),
        rule("postrouting", vec![], Action::SourceNat(text("addresses"))),
    ];
    nft::transact(socket, Family::V4, "probe", &operations).map_err(io::Error::other)
}

fn try_logging(sockets: &mut Vec<Socket>) -> io::Result<()> {
    let socket = open(sockets, libc::NETLINK_NETFILTER)?;
    let log = Action::Log {
        group: 1,
        prefix: "probe".to_owned(),
    };
    let operations = [
        NftOp::AddTable,
        NftOp::AddChain {
            name: "logged".to_owned(),
            base: None,
        },
        NftOp::AddRule {
            chain: "logged".to_owned(),
            rule: Rule::new([], log),
        },
    ];
    nft::transact(socket, Family::V6, "probe6", &operations).map_err(io::Error::other)
}

fn try_idle_timeouts(sockets: &mut Vec<Socket>) -> io::Result<()> {
    let socket = open(sockets, libc::NETLINK_NETFILTER)?;
    let operations = [
        NftOp::AddTable,
        NftOp::AddTimeout {
            name: "probe".to_owned(),
            timeout: Timeout::Tcp { established_s: 60 },
        },
    ];
    nft::transact(socket, Family::V4, "probe-idle", &operations).map_err(io::Error::other)
}

/// On the loopback, which every namespace has.
fn try_netem(sockets: &mut Vec<Socket>) -> io::Result<()> {
    const LOOPBACK: u32 = 1;
    let socket = open(sockets, libc::NETLINK_ROUTE)?;
    match socket
        .exchange(vec![route::delay_message(LOOPBACK, 1)])?
        .into_iter()
        .next()
    {
        Some(Ok(())) => Ok(()),
        Some(Err(refusal)) if refusal.errno == libc::ENOENT => {
            Err(io::Error::other("not in this kernel"))
        }
        Some(Err(refusal)) => Err(io::Error::from_raw_os_error(refusal.errno)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn try_conntrack(sockets: &mut Vec<Socket>) -> io::Result<()> {
    const LIST: u16 = 1 << 8 | 1;
    let socket = open(sockets, libc::NETLINK_NETFILTER)?;
    socket.dump(Message::new(LIST, 0, &[2, 0, 0, 0]))?;
    namespace::get("netfilter/nf_conntrack_tcp_timeout_established").map(|_| ())
}
