//! Everything that can be answered, at one revision: zones, names of load balancers, names of interfaces.
//!
//! Pure: compiled from a snapshot, asked by the servers, replaced whole. Randomness (the order of values) is
//! not here but where answers are written.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use fogbank_types::route53::HostedZone;
use fogbank_types::{RegionConfig, Scope, Snapshot, VpcId, place};

use super::addresses::Addresses;
use super::balancer;
use super::hosts::{self, Hosts, Known};
use super::kind::Kind;
use super::name::Name;
use super::services::{self, Services};
use super::zone::{Content, Found, Set, Soa, Zone};

/// CNAMEs followed in one answer, and aliases in one record.
const MAX_CHAIN: usize = 16;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Anybody, of Route 53's public name servers.
    Public,
    /// Somebody inside a VPC, of its resolver.
    Vpc(Scope, VpcId),
}

/// RFC 1035, section 4.1.1.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Code {
    #[default]
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    /// Extended: needs EDNS.
    BadVers = 16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: Name,
    pub kind: Kind,
    pub ttl: u32,
    pub value: Arc<[u8]>,
}

/// What is to be said, before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    /// How many values of each set are told, drawn when the answer is written; `None` = all.
    pub at_most: Option<usize>,
    /// Nothing here knows that name: the world outside is to be asked, and its answer added.
    pub outside: Option<Name>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tables {
    public: HashMap<Name, Arc<Zone>>,
    private: HashMap<(String, VpcId), HashMap<Name, Arc<Zone>>>,
    balancers: HashMap<Name, Addresses>,
    services: Services,
    hosts: Hosts,
}

/// One link of a chain.
enum Step {
    End(Answer),
    Follow(Record, Name),
}

impl Tables {
    pub fn compile(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        Self::compile_with(snapshot, config, |row| Self::compile_zone(snapshot, row))
    }

    /// `None` for a zone that cannot be served.
    pub(super) fn compile_zone(snapshot: &Snapshot, row: &HostedZone) -> Option<Arc<Zone>> {
        let prefix = format!("{}/", row.id);
        let records = snapshot.record_sets.with_prefix(&row.scope, &prefix);
        Zone::compile(row, records)
            .map(Arc::new)
            .inspect_err(|error| {
                tracing::warn!(%error, zone = %row.id, "a hosted zone is not served");
            })
            .ok()
    }

    /// With zones that are made by `zone_of`, which may have kept them.
    pub(super) fn compile_with(
        snapshot: &Snapshot,
        config: &RegionConfig,
        mut zone_of: impl FnMut(&HostedZone) -> Option<Arc<Zone>>,
    ) -> Self {
        let mut tables = Self {
            balancers: balancer::compile(snapshot),
            services: Services::compile(snapshot, config),
            hosts: Hosts::compile(snapshot, config),
            ..Self::default()
        };
        // Private zones need both attributes of the VPC (fact PHZ-1).
        for vpc in snapshot.vpcs.all() {
            if vpc.enable_dns_support && vpc.enable_dns_hostnames {
                let key = (vpc.scope.region.clone(), vpc.vpc_id.clone());
                tables.private.insert(key, HashMap::new());
            }
        }
        // Two zones may have one name (fact DNS-1), on different servers. We are all servers at once: the
        // newest answers, as if the name had been delegated to it last.
        let mut rows: Vec<_> = snapshot.hosted_zones.all().collect();
        rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        for row in rows {
            let Some(zone) = zone_of(row) else { continue };
            if !row.private {
                tables.public.insert(zone.origin.clone(), zone);
                continue;
            }
            for vpc in &row.vpcs {
                let key = (vpc.region.clone(), vpc.vpc_id.clone());
                if let Some(zones) = tables.private.get_mut(&key) {
                    zones.insert(zone.origin.clone(), zone.clone());
                }
            }
        }
        tables
    }

    /// The answer to a question of class IN.
    pub fn answer(&self, view: &View, name: &Name, kind: Kind) -> Answer {
        let mut chain = Vec::new();
        let mut authoritative = None;
        let mut current = name.clone();
        while chain.len() < MAX_CHAIN {
            match self.step(view, &current, kind) {
                Step::Follow(record, target) => {
                    authoritative.get_or_insert(true);
                    if chain.iter().any(|seen: &Record| seen.name == target) {
                        chain.push(record);
                        break;
                    }
                    chain.push(record);
                    current = target;
                }
                Step::End(mut end) => {
                    if chain.is_empty() {
                        return end;
                    }
                    // The chain is what we know; where it leads outside, the asker goes on alone.
                    if end.code == Code::Refused {
                        end = Answer::default();
                    }
                    end.authoritative = authoritative == Some(true) && view == &View::Public;
                    end.answers.splice(0..0, chain);
                    return end;
                }
            }
        }
        // A loop, or close to one: a resolver gives up, an authority says what it has.
        Answer {
            code: match view {
                View::Public => Code::NoError,
                View::Vpc(..) => Code::ServFail,
            },
            authoritative: view == &View::Public,
            answers: chain,
            ..Answer::default()
        }
    }

    /// In a VPC: private zones, then internal names, then what is public (facts PHZ-2, PHZ-3).
    fn step(&self, view: &View, name: &Name, kind: Kind) -> Step {
        if let View::Vpc(scope, vpc) = view {
            let zones = self.private.get(&(scope.region.clone(), vpc.clone()));
            let zone = zones.and_then(|zones| most_specific(zones, name, kind));
            if let Some((origin, addresses)) = self.services.private(vpc, name)
                && zone.is_none_or(|zone| zone.origin.labels().count() <= origin.labels().count())
            {
                return Step::End(match addresses {
                    Some(addresses) => address_answer(addresses, name, kind, &origin, view),
                    None if origin == *name => negative(Code::NoError, &origin, &own_soa(), view),
                    None => negative(Code::NxDomain, &origin, &own_soa(), view),
                });
            }
            if let Some(zone) = zone {
                return self.in_zone(view, zone, name, kind);
            }
            if let Some(known) = self.hosts.private(vpc, name) {
                return Step::End(own(known, name, kind, view));
            }
            if let Some(end) = localhost(name, kind) {
                return Step::End(end);
            }
        }
        if let Some(addresses) = self.balancers.get(name.wire()) {
            let domain = balancer_domain(name).or_else(|| name.parent());
            let domain = domain.unwrap_or_else(Name::root);
            return Step::End(address_answer(addresses, name, kind, &domain, view));
        }
        if let Some(addresses) = self.services.public(name) {
            let domain = name.parent().unwrap_or_else(Name::root);
            return Step::End(address_answer(&addresses, name, kind, &domain, view));
        }
        if let Some(zone) = most_specific(&self.public, name, kind) {
            return self.in_zone(view, zone, name, kind);
        }
        if let Some(known) = self.hosts.public(name) {
            return Step::End(own(known, name, kind, view));
        }
        Step::End(match view {
            View::Vpc(..) if is_nowhere(name) => {
                negative(Code::NxDomain, &Name::root(), &root_soa(), view)
            }
            View::Vpc(..) => Answer {
                outside: Some(name.clone()),
                ..Answer::default()
            },
            View::Public => match balancer_domain(name) {
                Some(domain) => negative(Code::NxDomain, &domain, &own_soa(), view),
                None => Answer {
                    code: Code::Refused,
                    ..Answer::default()
                },
            },
        })
    }

    fn in_zone(&self, view: &View, zone: &Zone, name: &Name, kind: Kind) -> Step {
        let no_data = || Step::End(negative(Code::NoError, &zone.origin, zone.soa(), view));
        match zone.lookup(name, kind) {
            Found::NoData => no_data(),
            Found::NoName => Step::End(negative(Code::NxDomain, &zone.origin, zone.soa(), view)),
            Found::Set(set) => match self.records(zone, name, set) {
                // An alias whose target is gone has nothing to say (fact DNS-11).
                records if records.is_empty() => no_data(),
                answers => Step::End(Answer {
                    authoritative: view == &View::Public,
                    answers,
                    at_most: set.at_most,
                    ..Answer::default()
                }),
            },
            Found::Cname(set) => {
                let first = self.records(zone, name, set).into_iter().next();
                match first.and_then(|r| Some((Name::read(&r.value)?.0, r))) {
                    Some((target, record)) => Step::Follow(record, target),
                    None => no_data(),
                }
            }
            Found::Referral { cut, servers } => Step::End(match view {
                View::Public => self.referral(zone, cut, servers),
                View::Vpc(..) => Answer {
                    outside: Some(name.clone()),
                    ..Answer::default()
                },
            }),
        }
    }

    /// The records of a set under the name that was asked for (a wildcard's name is never told).
    fn records(&self, zone: &Zone, name: &Name, set: &Set) -> Vec<Record> {
        let (ttl, values) = self.resolve(zone, set, 0);
        let record = |value| Record {
            name: name.clone(),
            kind: set.kind,
            ttl,
            value,
        };
        values.into_iter().map(record).collect()
    }

    /// An alias takes its target's values and time to live (fact DNS-11).
    fn resolve(&self, zone: &Zone, set: &Set, depth: usize) -> (u32, Vec<Arc<[u8]>>) {
        let target = match &set.content {
            Content::Values { ttl, values } => return (*ttl, values.clone()),
            Content::Alias { target } => target,
        };
        if let Some(addresses) = self.balancers.get(target.wire()) {
            return (balancer::TTL, addresses.values(set.kind).1);
        }
        // Interface endpoints are targets of aliases as well.
        if let Some(addresses) = self.services.public(target) {
            return (services::TTL, addresses.values(set.kind).1);
        }
        if depth < MAX_CHAIN
            && target.is_within(zone.origin.wire())
            && let Found::Set(set) = zone.lookup(target, set.kind)
        {
            return self.resolve(zone, set, depth + 1);
        }
        (0, Vec::new())
    }

    /// The servers of a zone that is not here, and their addresses if only we can know them.
    fn referral(&self, zone: &Zone, cut: &Name, servers: &Set) -> Answer {
        let authority = self.records(zone, cut, servers);
        let mut additional = Vec::new();
        for server in &authority {
            let Some((name, _)) = Name::read(&server.value) else {
                continue;
            };
            if !name.is_within(zone.origin.wire()) {
                continue;
            }
            for kind in [Kind::A, Kind::AAAA] {
                if let Some(set) = zone.set(&name, kind) {
                    additional.extend(self.records(zone, &name, set));
                }
            }
        }
        Answer {
            authority,
            additional,
            ..Answer::default()
        }
    }
}

/// DS records of a zone stand in its parent.
fn most_specific<'a>(
    zones: &'a HashMap<Name, Arc<Zone>>,
    name: &Name,
    kind: Kind,
) -> Option<&'a Zone> {
    let mut found = name.suffixes().filter_map(|suffix| zones.get(suffix));
    let zone = found.next()?;
    if kind == Kind::DS && zone.origin == *name {
        return Some(found.next().unwrap_or(zone));
    }
    Some(zone)
}

fn negative(code: Code, origin: &Name, soa: &Soa, view: &View) -> Answer {
    Answer {
        code,
        authoritative: view == &View::Public,
        authority: vec![Record {
            name: origin.clone(),
            kind: Kind::SOA,
            ttl: soa.negative_ttl,
            value: soa.value.clone(),
        }],
        ..Answer::default()
    }
}

/// Of the domains that are AWS's.
fn own_soa() -> Soa {
    Soa::by("ns-1119.awsdns-11.org.", 60, 60)
}

fn positive(name: &Name, kind: Kind, ttl: u32, values: Vec<Arc<[u8]>>, view: &View) -> Answer {
    let record = |value| Record {
        name: name.clone(),
        kind,
        ttl,
        value,
    };
    Answer {
        authoritative: view == &View::Public,
        answers: values.into_iter().map(record).collect(),
        ..Answer::default()
    }
}

fn own(known: Known, name: &Name, kind: Kind, view: &View) -> Answer {
    let origin = || name.parent().unwrap_or_else(Name::root);
    let (own_kind, value): (_, Arc<[u8]>) = match &known {
        Known::Address(address) => (Kind::A, address.octets().as_slice().into()),
        Known::Name(target) => (Kind::PTR, target.wire().into()),
        Known::Nothing => return negative(Code::NxDomain, &origin(), &own_soa(), view),
    };
    match kind {
        Kind::ANY => positive(name, own_kind, hosts::TTL, vec![value], view),
        kind if kind == own_kind => positive(name, kind, hosts::TTL, vec![value], view),
        _ => negative(Code::NoError, &origin(), &own_soa(), view),
    }
}

/// `domain` is where the name's absence is told from.
fn address_answer(
    addresses: &Addresses,
    name: &Name,
    kind: Kind,
    domain: &Name,
    view: &View,
) -> Answer {
    let (kind, values) = addresses.values(kind);
    if values.is_empty() {
        return negative(Code::NoError, domain, &own_soa(), view);
    }
    positive(name, kind, services::TTL, values, view)
}

/// The domain of the load balancers of a region, if the name stands in one.
fn balancer_domain(name: &Name) -> Option<Name> {
    let aws = Name::parse("elb.amazonaws.com").ok()?;
    if !name.is_within(aws.wire()) {
        return None;
    }
    place::regions()
        .filter_map(|region| Name::child(region.as_bytes(), aws.wire()))
        .find(|domain| name.is_within(domain.wire()))
}

/// Names that the public DNS will never have, so that nobody need be asked: the root says NXDOMAIN to all of
/// them (RFC 6761, RFC 6762, RFC 7686, ICANN's `internal`). A lone label is a host's short name.
fn is_nowhere(name: &Name) -> bool {
    const TOP: [&[u8]; 6] = [
        b"test",
        b"invalid",
        b"example",
        b"local",
        b"internal",
        b"onion",
    ];
    let mut labels = name.labels();
    match (labels.next(), labels.last()) {
        (Some(_), Some(top)) => TOP.contains(&top),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn root_soa() -> Soa {
    Soa::by("a.root-servers.net.", 900, 900)
}

/// RFC 6761, section 6.3: never asked of anybody.
fn localhost(name: &Name, kind: Kind) -> Option<Answer> {
    if name.labels().last() != Some(b"localhost") {
        return None;
    }
    let value: Vec<Arc<[u8]>> = match kind {
        Kind::A | Kind::ANY => vec![Ipv4Addr::LOCALHOST.octets().as_slice().into()],
        Kind::AAAA => vec![std::net::Ipv6Addr::LOCALHOST.octets().as_slice().into()],
        _ => Vec::new(),
    };
    let kind = if kind == Kind::ANY { Kind::A } else { kind };
    Some(Answer {
        answers: value
            .into_iter()
            .map(|value| Record {
                name: name.clone(),
                kind,
                ttl: 0,
                value,
            })
            .collect(),
        ..Answer::default()
    })
}
