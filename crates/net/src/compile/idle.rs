//! Idle timeouts of security groups' connection tracking (fact SG-13).
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>
//!
//! The defaults are settings of the router's namespace. AWS tracks a connection at each of its
//! interfaces; here both share one entry, so the shorter of their timeouts acts, each of the three
//! by itself. What is beyond a link, and a NAT gateway, which has no groups, has no say.
//!
//! The chain is there only if an interface of the VPC has settings of its own. Then each new
//! connection is sent by its sender's settings to a chain that knows what they make with those of
//! every receiver; distinct settings are few.

use super::Region;
use super::firewall::{accept, base, device_in};
use super::index::is_local;
use crate::names;
use crate::program::{Action, Chain, Direction, Hook, Match, Rule, Set, Table, Timeout, Verdict};
use fogbank_types::RegionConfig;
use fogbank_types::ec2::{Eni, EniOwner};
use std::collections::{BTreeMap, BTreeSet};

/// Before every gate but that of dark zones: who drops the packet drops its connection with it.
const PRIORITY: i32 = -25;

/// Devices whose settings don't count.
const ELSEWHERE: &str = "elsewhere";
/// The sender's chain.
const IDLE_OF: &str = "idle_of";

/// An interface's timeouts.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    tcp_established_s: u32,
    udp_stream_s: u32,
    udp_s: u32,
}

const DEFAULT: Idle = Idle {
    tcp_established_s: 432_000,
    udp_stream_s: 180,
    udp_s: 30,
};

/// The kernel's settings of a router, in AWS's seconds.
pub(super) fn defaults() -> [(&'static str, u32); 6] {
    [
        ("tcp_timeout_established", DEFAULT.tcp_established_s),
        ("udp_timeout_stream", DEFAULT.udp_stream_s),
        ("udp_timeout", DEFAULT.udp_s),
        ("icmp_timeout", 600),
        ("icmpv6_timeout", 600),
        ("generic_timeout", 600),
    ]
}

/// Of the region's own clock, in the kernel's whole seconds.
pub(super) fn scaled_s(config: &RegionConfig, idle_s: u32) -> u32 {
    let scaled_s = config.scaled_ms(u64::from(idle_s) * 1000) / 1000;
    u32::try_from(scaled_s).unwrap_or(u32::MAX).max(1)
}

impl Idle {
    fn of(eni: &Eni) -> Self {
        let own = eni.connection_tracking;
        Self {
            tcp_established_s: own
                .tcp_established_timeout_s
                .unwrap_or(DEFAULT.tcp_established_s),
            udp_stream_s: own.udp_stream_timeout_s.unwrap_or(DEFAULT.udp_stream_s),
            udp_s: own.udp_timeout_s.unwrap_or(DEFAULT.udp_s),
        }
    }

    /// What both ends together make.
    fn with(self, other: Self) -> Self {
        Self {
            tcp_established_s: self.tcp_established_s.min(other.tcp_established_s),
            udp_stream_s: self.udp_stream_s.min(other.udp_stream_s),
            udp_s: self.udp_s.min(other.udp_s),
        }
    }

    /// Of the set of its devices, and of its chain.
    fn name(self) -> String {
        format!(
            "idle_{}_{}_{}",
            self.tcp_established_s, self.udp_stream_s, self.udp_s
        )
    }

    /// What of it differs from the router's own settings.
    fn timeouts(self, config: &RegionConfig) -> impl Iterator<Item = (u8, String, Timeout)> {
        let tcp = (self.tcp_established_s != DEFAULT.tcp_established_s).then(|| {
            let established_s = scaled_s(config, self.tcp_established_s);
            let timeout = Timeout::Tcp { established_s };
            (6, format!("tcp_{established_s}"), timeout)
        });
        let is_udp_default =
            (self.udp_stream_s, self.udp_s) == (DEFAULT.udp_stream_s, DEFAULT.udp_s);
        let udp = (!is_udp_default).then(|| {
            let [unreplied_s, replied_s] =
                [self.udp_s, self.udp_stream_s].map(|idle_s| scaled_s(config, idle_s));
            let timeout = Timeout::Udp {
                unreplied_s,
                replied_s,
            };
            (17, format!("udp_{unreplied_s}_{replied_s}"), timeout)
        });
        tcp.into_iter().chain(udp)
    }
}

/// How an interface takes part in what is made here; when that changes, all of it may.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It has no say.
    Without,
    With(Own),
}

/// Settings other than the defaults.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Own(Idle);

/// `None`: the defaults, or not here.
pub(super) fn part_of(eni: &Eni, config: &RegionConfig) -> Option<Part> {
    if !is_local(eni, config) {
        return None;
    }
    if matches!(eni.owner, EniOwner::NatGateway(_)) {
        return Some(Part::Without);
    }
    let idle = Idle::of(eni);
    (idle != DEFAULT).then_some(Part::With(Own(idle)))
}

pub(super) fn add(table: &mut Table, region: &Region<'_>) {
    let mut settings: BTreeMap<Idle, BTreeSet<String>> = BTreeMap::new();
    let mut elsewhere: BTreeSet<String> = region.link_devices(table.family).into_iter().collect();
    let mut chain_of = BTreeMap::new();
    for eni in &region.local {
        let device = names::eni_device(&eni.eni_id);
        match part_of(eni, region.config) {
            Some(Part::Without) => {
                elsewhere.insert(device);
            }
            Some(Part::With(Own(idle))) => {
                chain_of.insert(device.clone(), Verdict::Jump(idle.name()));
                settings.entry(idle).or_default().insert(device);
            }
            None => {}
        }
    }
    if settings.is_empty() {
        return;
    }
    let all: Vec<Idle> = settings.keys().copied().collect();
    let verdict = Action::VerdictOf {
        direction: Direction::In,
        map: IDLE_OF.to_owned(),
    };
    let mut rules = vec![
        Rule::new([Match::Established], accept()),
        Rule::new([], verdict),
    ];
    for idle in &all {
        let to = device_in(Direction::Out, &idle.name());
        let from = |member| in_elsewhere(Direction::In, member);
        set(table, region, &mut rules, &[from(true), to.clone()], *idle);
        let both = idle.with(DEFAULT);
        set(table, region, &mut rules, &[from(false), to], both);
    }
    let gate = base(Hook::Forward, PRIORITY, rules);
    table.chains.insert("idle".to_owned(), gate);
    for idle in &all {
        let chain = Chain {
            base: None,
            rules: from_one(table, region, *idle, &all),
        };
        table.chains.insert(idle.name(), chain);
    }
    for (idle, devices) in settings {
        table.sets.insert(idle.name(), Set::Devices(devices));
    }
    let elsewhere = Set::Devices(elsewhere);
    table.sets.insert(ELSEWHERE.to_owned(), elsewhere);
    let chain_of = Set::Verdicts(chain_of);
    table.sets.insert(IDLE_OF.to_owned(), chain_of);
}

fn in_elsewhere(direction: Direction, member: bool) -> Match {
    Match::DeviceIn {
        direction,
        set: ELSEWHERE.to_owned(),
        member,
    }
}

/// For senders with these settings. Of two that set a timeout the later wins: what a receiver with
/// the defaults makes stands first, and nothing after it would have to take it back.
fn from_one(table: &mut Table, region: &Region<'_>, idle: Idle, all: &[Idle]) -> Vec<Rule> {
    let mut rules = Vec::new();
    set(table, region, &mut rules, &[], idle.with(DEFAULT));
    let away = in_elsewhere(Direction::Out, true);
    set(table, region, &mut rules, &[away], idle);
    for other in all {
        let to = device_in(Direction::Out, &other.name());
        set(table, region, &mut rules, &[to], idle.with(*other));
    }
    rules.push(Rule::new([], accept()));
    rules
}

/// Gives connections for which the matches hold these timeouts.
fn set(
    table: &mut Table,
    region: &Region<'_>,
    rules: &mut Vec<Rule>,
    matches: &[Match],
    idle: Idle,
) {
    for (number, name, timeout) in idle.timeouts(region.config) {
        let mut matches = matches.to_vec();
        matches.push(Match::Protocol {
            number,
            equal: true,
        });
        rules.push(Rule::new(matches, Action::SetTimeout(name.clone())));
        table.timeouts.insert(name, timeout);
    }
}
