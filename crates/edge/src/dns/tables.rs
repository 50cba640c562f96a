//! Everything that can be answered, at one revision: zones, names of load balancers, names of interfaces.
//!
//! Pure: compiled from a snapshot, asked by the servers, replaced whole; only health checks' last word comes beside
//! them (`pulse`). Randomness is the asker's (`asker`), and where answers are written (the order of values).

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use fogbank_types::route53::HostedZone;
use fogbank_types::{RegionConfig, Scope, Snapshot, VpcId, place};
use rustc_hash::FxBuildHasher;

use super::addresses::Addresses;
use super::asker::Asker;
use super::balancer::{self, Balancer};
use super::choice::Choice;
use super::geography::Geography;
use super::hosts::{self, Hosts, Known};
use super::kind::Kind;
use super::metrics::ZoneCounts;
use super::name::Name;
use super::pulse::Pulses;
use super::query_log::QueryLog;
use super::services::{self, Services};
use super::signing::{self, Signers, ZoneSigner};
use super::zone::{Found, Set, Soa, Zone};

/// CNAMEs followed in one answer, and aliases in one record.
pub(super) const MAX_CHAIN: usize = 16;

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
    /// For how long a prefix of the question's client subnet it holds, if there was one (RFC 7871).
    pub scope: Option<u8>,
    /// Nothing here knows that name: the world outside is to be asked, and its answer added.
    pub outside: Option<Name>,
}

/// By origin. As in a zone, only who owns a name gets it in here (see `nodes`).
type Zones = HashMap<Name, Arc<Zone>, FxBuildHasher>;

/// See the module.
#[derive(Debug, Default)]
pub struct Tables {
    public: Zones,
    private: HashMap<(String, VpcId), Zones>,
    /// Of public zones whose queries are logged, by their origin.
    logged: HashMap<Name, Arc<QueryLog>>,
    /// Of public zones that are signed, by their origin.
    signers: HashMap<Name, Arc<ZoneSigner>, FxBuildHasher>,
    network: Arc<Network>,
    geography: Option<Arc<Geography>>,
}

/// What has a name without a zone. Not made anew when only zones change.
#[derive(Debug, Default)]
pub(super) struct Network {
    balancers: HashMap<Name, Balancer, FxBuildHasher>,
    services: Services,
    hosts: Hosts,
}

impl Network {
    pub fn compile(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        Self {
            balancers: balancer::compile(snapshot),
            services: Services::compile(snapshot, config),
            hosts: Hosts::compile(snapshot, config),
        }
    }
}

/// One link of a chain.
enum Step {
    End(Answer),
    Follow(Record, Name),
}

impl Tables {
    pub fn compile(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        let (pulses, counts) = (Pulses::default(), ZoneCounts::default());
        let network = Arc::new(Network::compile(snapshot, config));
        let zone_of = |row: &HostedZone| Self::compile_zone(snapshot, &pulses, &counts, row);
        let signer_of = |row: &HostedZone, origin: &Name| Self::signer(snapshot, row, origin);
        Self::compile_with(snapshot, network, zone_of, signer_of)
    }

    /// `None` for a zone that cannot be served.
    pub(super) fn compile_zone(
        snapshot: &Snapshot,
        pulses: &Pulses,
        counts: &ZoneCounts,
        row: &HostedZone,
    ) -> Option<Arc<Zone>> {
        let prefix = format!("{}/", row.id);
        let records = snapshot.record_sets.with_prefix(&row.scope, &prefix);
        Zone::compile(row, records, snapshot, pulses)
            .map(|zone| Arc::new(zone.counted(counts.of(row))))
            .inspect_err(|error| {
                tracing::warn!(%error, zone = %row.id, "a hosted zone is not served");
            })
            .ok()
    }

    /// Gives one name of a zone the records that the snapshot has for it.
    pub(super) fn update_zone(
        zone: &mut Zone,
        snapshot: &Snapshot,
        pulses: &Pulses,
        row: &HostedZone,
        name: &str,
    ) {
        let prefix = format!("{}/{name}/", row.id);
        let records = snapshot
            .record_sets
            .with_prefix(&row.scope, &prefix)
            .filter(|record| record.name == name);
        zone.update(row, name, records, snapshot, pulses);
    }

    /// Of a zone that is signed.
    pub(super) fn signer(
        snapshot: &Snapshot,
        row: &HostedZone,
        origin: &Name,
    ) -> Option<Arc<ZoneSigner>> {
        let signing = snapshot.zone_signings.get(&row.scope, &row.id)?;
        ZoneSigner::new(origin.clone(), signing)
            .map(Arc::new)
            .inspect_err(|error| tracing::error!(%error, zone = %row.id, "a zone is not signed"))
            .ok()
    }

    /// With zones and signers that are made by `zone_of` and `signer_of`, which may have kept them.
    pub(super) fn compile_with(
        snapshot: &Snapshot,
        network: Arc<Network>,
        mut zone_of: impl FnMut(&HostedZone) -> Option<Arc<Zone>>,
        mut signer_of: impl FnMut(&HostedZone, &Name) -> Option<Arc<ZoneSigner>>,
    ) -> Self {
        let mut tables = Self {
            network,
            ..Self::default()
        };
        // Private zones need both attributes of the VPC (fact PHZ-1).
        for vpc in snapshot.vpcs.all() {
            if vpc.enable_dns_support && vpc.enable_dns_hostnames {
                let key = (vpc.scope.region.clone(), vpc.vpc_id.clone());
                tables.private.insert(key, Zones::default());
            }
        }
        // Two zones may have one name (fact DNS-1), on different servers. We are all servers at once: the
        // newest answers, as if the name had been delegated to it last.
        let logs = query_logs(snapshot);
        let mut rows: Vec<_> = snapshot.hosted_zones.all().collect();
        rows.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        for row in rows {
            let Some(zone) = zone_of(row) else { continue };
            if !row.private {
                match logs.get(row.id.as_str()) {
                    Some(log) => tables.logged.insert(zone.origin.clone(), log.clone()),
                    None => tables.logged.remove(&zone.origin),
                };
                match signer_of(row, &zone.origin) {
                    Some(signer) => tables.signers.insert(zone.origin.clone(), signer),
                    None => tables.signers.remove(&zone.origin),
                };
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

    pub(super) fn with_geography(self, geography: Option<Arc<Geography>>) -> Self {
        Self { geography, ..self }
    }

    /// The answer to nobody in particular.
    pub fn answer(&self, view: &View, name: &Name, kind: Kind) -> Answer {
        self.answer_to(&Asker::default(), view, name, kind)
    }

    /// The answer to a question of class IN.
    pub fn answer_to(&self, asker: &Asker<'_>, view: &View, name: &Name, kind: Kind) -> Answer {
        let mut answer = match self.signers.get(name) {
            Some(signer) if kind == Kind::DNSKEY && view == &View::Public => Answer {
                authoritative: true,
                answers: signer.dnskeys(),
                ..Answer::default()
            },
            _ => self.chain(asker, view, name, kind),
        };
        if view == &View::Public {
            answer.scope = asker.scope();
        }
        answer
    }

    fn chain(&self, asker: &Asker<'_>, view: &View, name: &Name, kind: Kind) -> Answer {
        let mut chain = Vec::new();
        let mut authoritative = None;
        let mut current = name.clone();
        if view == &View::Public
            && let Some(zone) = most_specific(&self.public, name, kind)
        {
            zone.count_query();
        }
        while chain.len() < MAX_CHAIN {
            match self.step(asker, view, &current, kind) {
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
    fn step(&self, asker: &Asker<'_>, view: &View, name: &Name, kind: Kind) -> Step {
        if let View::Vpc(scope, vpc) = view {
            let zones = self.private.get(&(scope.region.clone(), vpc.clone()));
            let zone = zones.and_then(|zones| most_specific(zones, name, kind));
            if let Some((origin, addresses)) = self.network.services.private(vpc, name)
                && zone.is_none_or(|zone| zone.origin.labels().count() <= origin.labels().count())
            {
                return Step::End(match addresses {
                    Some(addresses) => address_answer(addresses, name, kind, &origin, view),
                    None if origin == *name => negative(Code::NoError, &origin, &own_soa(), view),
                    None => negative(Code::NxDomain, &origin, &own_soa(), view),
                });
            }
            if let Some(zone) = zone {
                return self.in_zone(asker, view, zone, name, kind);
            }
            if let Some(known) = self.network.hosts.private(vpc, name) {
                return Step::End(own(known, name, kind, view));
            }
            if let Some(end) = localhost(name, kind) {
                return Step::End(end);
            }
        }
        if let Some(Balancer { addresses, .. }) = self.network.balancers.get(name.wire()) {
            let domain = balancer_domain(name).or_else(|| name.parent());
            let domain = domain.unwrap_or_else(Name::root);
            return Step::End(address_answer(addresses, name, kind, &domain, view));
        }
        if let Some(addresses) = self.network.services.public(name) {
            let domain = name.parent().unwrap_or_else(Name::root);
            return Step::End(address_answer(&addresses, name, kind, &domain, view));
        }
        if let Some(zone) = most_specific(&self.public, name, kind) {
            return self.in_zone(asker, view, zone, name, kind);
        }
        if let Some(known) = self.network.hosts.public(name) {
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

    fn in_zone(
        &self,
        asker: &Asker<'_>,
        view: &View,
        zone: &Zone,
        name: &Name,
        kind: Kind,
    ) -> Step {
        let no_data = || Step::End(negative(Code::NoError, &zone.origin, zone.soa(), view));
        let choice = Choice::new(self, zone, view, asker);
        match zone.lookup(name, kind) {
            Found::NoData => no_data(),
            Found::NoName => Step::End(negative(Code::NxDomain, &zone.origin, zone.soa(), view)),
            Found::Set(set) => match records(&choice, name, set) {
                // An alias whose target is gone has nothing to say (fact DNS-11), nor has a policy for an asker
                // whom no record is for (fact ROUTE-4).
                (answers, _) if answers.is_empty() => no_data(),
                (answers, at_most) => Step::End(Answer {
                    authoritative: view == &View::Public,
                    answers,
                    at_most,
                    ..Answer::default()
                }),
            },
            Found::Cname(set) => {
                let first = records(&choice, name, set).0.into_iter().next();
                match first.and_then(|r| Some((Name::read(&r.value)?.0, r))) {
                    Some((target, record)) => Step::Follow(record, target),
                    None => no_data(),
                }
            }
            Found::Referral { cut, servers } => Step::End(match view {
                View::Public => referral(&choice, zone, cut, servers),
                View::Vpc(..) => Answer {
                    outside: Some(name.clone()),
                    ..Answer::default()
                },
            }),
        }
    }

    /// Whether an answer of the public servers to that name comes, in part, of a signed zone.
    pub(super) fn signs(&self, name: &Name, answer: &Answer) -> bool {
        if self.signers.is_empty() {
            return false;
        }
        let is_signed = |name: &Name| {
            let mut suffixes = name.suffixes();
            suffixes.any(|suffix| self.signers.contains_key(suffix))
        };
        // A chain of CNAMEs may lead into one.
        let mut records = answer.answers.iter().chain(&answer.authority);
        is_signed(name) || records.any(|record| record.name != *name && is_signed(&record.name))
    }

    /// The code under which a name's absence is told to an asker who takes signatures.
    pub(super) fn denial(&self, answer: &Answer) -> Code {
        let mut authority = answer.authority.iter();
        match authority.any(|record| self.signers.contains_key(&record.name)) {
            true => Code::NoError,
            false => answer.code,
        }
    }

    /// Signs an answer of the public servers, as far as it comes of signed zones: see `signing`.
    pub(super) fn finish(&self, answer: &mut Answer, name: &Name, kind: Kind, dnssec_ok: bool) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        signing::finish(answer, self, name, kind, dnssec_ok, now);
    }

    /// Where a question to the public servers is written down: as the most specific zone wants it.
    pub(super) fn query_log(&self, name: &Name, kind: Kind) -> Option<&Arc<QueryLog>> {
        if self.logged.is_empty() {
            return None;
        }
        let zone = most_specific(&self.public, name, kind)?;
        self.logged.get(&zone.origin)
    }

    /// Where an alias leads that names something of AWS's: time to live and addresses. Interface endpoints are
    /// targets of aliases as well.
    pub(super) fn aws_target(&self, target: &Name) -> Option<(u32, Cow<'_, Addresses>)> {
        if let Some(balancer) = self.network.balancers.get(target.wire()) {
            return Some((balancer::TTL, Cow::Borrowed(&balancer.addresses)));
        }
        let addresses = self.network.services.public(target)?;
        Some((services::TTL, Cow::Owned(addresses)))
    }

    /// Whether it is healthy in the eyes of an alias that evaluates it (fact DNS-12); endpoints always are.
    /// `None` if it is nothing of AWS's.
    pub(super) fn aws_target_health(&self, target: &Name) -> Option<bool> {
        match self.network.balancers.get(target.wire()) {
            Some(balancer) => Some(balancer.is_healthy),
            None => self.network.services.public(target).map(|_| true),
        }
    }

    pub(super) fn geography(&self) -> Option<&Geography> {
        self.geography.as_deref()
    }
}

impl Signers for Tables {
    fn signer(&self, name: &Name, kind: Kind) -> Option<(&ZoneSigner, &Zone)> {
        // AWS's own names are in no zone (see `step`).
        if self.network.balancers.contains_key(name.wire())
            || self.network.services.public(name).is_some()
        {
            return None;
        }
        let zone = most_specific(&self.public, name, kind)?;
        Some((self.signers.get(&zone.origin)?, zone))
    }
}

/// By zone. A configuration without a stream has lost its log group.
fn query_logs(snapshot: &Snapshot) -> HashMap<&str, Arc<QueryLog>> {
    let configs = snapshot.query_logging_configs.all();
    configs
        .filter_map(|config| {
            let log = QueryLog {
                zone_id: config.zone_id.clone(),
                stream_uid: config.stream_uid.clone()?,
            };
            Some((config.zone_id.as_str(), Arc::new(log)))
        })
        .collect()
}

/// The records of a set under the name that was asked for (a wildcard's name is never told), and how many of them
/// are to be told.
fn records<'a>(choice: &Choice<'a>, name: &Name, set: &'a Set) -> (Vec<Record>, Option<usize>) {
    let (ttl, values, at_most) = choice.told(set).values(set.kind);
    let record = |value| Record {
        name: name.clone(),
        kind: set.kind,
        ttl,
        value,
    };
    (values.into_iter().map(record).collect(), at_most)
}

/// The servers of a zone that is not here, and their addresses if only we can know them.
fn referral<'a>(choice: &Choice<'a>, zone: &'a Zone, cut: &Name, servers: &'a Set) -> Answer {
    let authority = records(choice, cut, servers).0;
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
                additional.extend(records(choice, &name, set).0);
            }
        }
    }
    Answer {
        authority,
        additional,
        ..Answer::default()
    }
}

/// DS records of a zone stand in its parent.
fn most_specific<'a>(zones: &'a Zones, name: &Name, kind: Kind) -> Option<&'a Zone> {
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
