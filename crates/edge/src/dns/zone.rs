//! One hosted zone and what it says about a name (RFC 1034, section 4.3.2; wildcards as in RFC 4592).
//!
//! Built by `tables`. What must stay true: a lookup has no effect and no randomness, and it never answers
//! from below a delegation.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fogbank_types::Snapshot;
use fogbank_types::route53::{HostedZone, RecordSet, Routing};

use super::kind::Kind;
use super::name::{Name, NameError};
use super::nodes::{Node, Nodes};
use super::policy::Policy;
use super::pulse::{Pulse, Pulses};
use super::rdata;

/// Fact DNS-2.
const APEX_NS_TTL: u32 = 172_800;
const APEX_SOA_TTL: u32 = 900;
const WILDCARD: &[u8] = b"\x01*";

/// A hosted zone, ready to answer.
#[derive(Clone, Debug)]
pub struct Zone {
    pub origin: Name,
    pub private: bool,
    nodes: Nodes,
    soa: Soa,
    /// The CIDR collections that are compiled into its records.
    collections: HashSet<String>,
    queries: Arc<AtomicU64>,
}

/// Records of one name and type: one, or several that share a routing policy.
#[derive(Clone, Debug)]
pub struct Set {
    pub kind: Kind,
    pub first: Member,
    others: Vec<Member>,
}

/// One record.
#[derive(Clone, Debug)]
pub struct Member {
    pub policy: Policy,
    pub content: Content,
    /// Of its health check.
    pulse: Option<Pulse>,
    /// What Cloud Map knows of the instance behind it.
    instance_healthy: bool,
}

#[derive(Clone, Debug)]
pub enum Content {
    Values { ttl: u32, values: Vec<Arc<[u8]>> },
    Alias { target: Name, evaluate: bool },
}

impl Set {
    pub fn simple(kind: Kind, ttl: u32, values: Vec<Arc<[u8]>>) -> Self {
        Self {
            kind,
            first: Member {
                policy: Policy::Simple,
                content: Content::Values { ttl, values },
                pulse: None,
                instance_healthy: true,
            },
            others: Vec::new(),
        }
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        iter::once(&self.first).chain(&self.others)
    }
}

impl Member {
    /// By all that is known of the record itself; an alias may have a sick target nevertheless.
    pub fn is_well(&self) -> bool {
        self.instance_healthy && self.pulse.as_ref().is_none_or(Pulse::is_healthy)
    }
}

/// Goes with negative answers.
#[derive(Clone, Debug)]
pub struct Soa {
    /// Of the record itself, when it is asked for.
    pub ttl: u32,
    pub value: Arc<[u8]>,
    /// Of the record in a negative answer: RFC 2308, section 5; fact DNS-2.
    pub negative_ttl: u32,
}

/// What a zone says about a name and a type.
#[derive(Debug)]
pub enum Found<'a> {
    Set(&'a Set),
    /// The name has a CNAME and something else was asked for.
    Cname(&'a Set),
    /// The name exists without that type.
    NoData,
    NoName,
    /// Another zone's servers know, from that name down.
    Referral {
        cut: &'a Name,
        servers: &'a Set,
    },
}

impl Zone {
    pub fn compile<'a>(
        row: &HostedZone,
        records: impl Iterator<Item = &'a Arc<RecordSet>>,
        snapshot: &Snapshot,
        pulses: &Pulses,
    ) -> Result<Self, NameError> {
        let origin = Name::parse(&row.name)?;
        let mut names: HashMap<Name, Vec<Set>> = HashMap::new();
        let mut collections = HashSet::new();
        for record in records {
            collections.extend(collection_of(record).cloned());
            if let Some((name, kind, member)) = compile_member(&origin, record, snapshot, pulses) {
                add(names.entry(name).or_default(), kind, member);
            }
        }
        let mut at_apex = names.remove(&origin).unwrap_or_default();
        let soa = complete_apex(&mut at_apex, row);
        let mut nodes = Nodes::new(origin.clone(), names.len());
        nodes.set(origin.clone(), at_apex);
        for (name, sets) in names {
            nodes.set(name, sets);
        }
        Ok(Self {
            origin,
            private: row.private,
            nodes,
            soa,
            collections,
            queries: Arc::default(),
        })
    }

    /// Counts its questions there.
    pub fn counted(self, queries: Arc<AtomicU64>) -> Self {
        Self { queries, ..self }
    }

    pub fn count_query(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes over the records of one name as they are now.
    pub fn update<'a>(
        &mut self,
        row: &HostedZone,
        name: &str,
        records: impl Iterator<Item = &'a Arc<RecordSet>>,
        snapshot: &Snapshot,
        pulses: &Pulses,
    ) {
        let Ok(name) = Name::parse(name) else { return };
        if !name.is_within(self.origin.wire()) {
            return;
        }
        let mut sets = Vec::new();
        for record in records {
            self.collections.extend(collection_of(record).cloned());
            if let Some((_, kind, member)) = compile_member(&self.origin, record, snapshot, pulses)
            {
                add(&mut sets, kind, member);
            }
        }
        if name == self.origin {
            self.soa = complete_apex(&mut sets, row);
        }
        self.nodes.set(name, sets);
    }

    /// Whether it is to be compiled anew when that CIDR collection changes.
    pub fn has_collection(&self, id: &str) -> bool {
        self.collections.contains(id)
    }

    pub fn soa(&self) -> &Soa {
        &self.soa
    }

    /// `name` must be the origin or stand below it. [`Kind::ANY`] finds any one set (RFC 8482, section 4.1).
    pub fn lookup(&self, name: &Name, kind: Kind) -> Found<'_> {
        if !self.private
            && let Some((cut, servers)) = self.delegation(name, kind)
        {
            return Found::Referral { cut, servers };
        }
        match self.nodes.get(name.wire()) {
            Some(node) => node.find(kind),
            None => match self.wildcard(name) {
                Some(node) => node.find(kind),
                None => Found::NoName,
            },
        }
    }

    /// The set of exactly that name and type, also below a delegation (for glue).
    pub fn set(&self, name: &Name, kind: Kind) -> Option<&Set> {
        self.nodes.get(name.wire())?.set(kind)
    }

    /// The types of a name that the zone answers for; `None` if it does not exist. A wildcard's are those of the names it
    /// stands for, and where another zone begins there are its servers and keys alone.
    pub fn kinds(&self, name: &Name) -> Option<Vec<Kind>> {
        let node = self
            .nodes
            .get(name.wire())
            .or_else(|| self.wildcard(name))?;
        let is_cut = *name != self.origin && node.set(Kind::NS).is_some();
        let kinds = node.sets.iter().map(|set| set.kind);
        Some(
            kinds
                .filter(|kind| !is_cut || matches!(*kind, Kind::NS | Kind::DS))
                .collect(),
        )
    }

    /// Whether a record of that name is another zone's to sign: below a delegation, or the delegation itself.
    pub fn is_foreign(&self, name: &Name, kind: Kind) -> bool {
        let is_told = |kind| matches!(kind, Kind::DS | Kind::NSEC);
        match self.delegation(name, kind) {
            Some((cut, _)) => !(cut == name && is_told(kind)),
            None => false,
        }
    }

    /// Time to live and values of a set without a policy.
    pub fn simple_values(&self, name: &Name, kind: Kind) -> Option<(u32, &[Arc<[u8]>])> {
        match &self.set(name, kind)?.first.content {
            Content::Values { ttl, values } => Some((*ttl, values)),
            Content::Alias { .. } => None,
        }
    }

    /// The highest name server set between the apex and the name. The parent itself answers for DS.
    fn delegation(&self, name: &Name, kind: Kind) -> Option<(&Name, &Set)> {
        let mut highest = None;
        for suffix in name.suffixes() {
            if suffix == self.origin.wire() {
                break;
            }
            if kind == Kind::DS && suffix.len() == name.wire().len() {
                continue;
            }
            if let Some((cut, node)) = self.nodes.get_key_value(suffix)
                && let Some(servers) = node.set(Kind::NS)
                && !cut.wire().starts_with(WILDCARD)
            {
                highest = Some((cut, servers));
            }
        }
        highest
    }

    /// The source of synthesis: `*` right below the closest name that exists (fact DNS-4).
    fn wildcard(&self, name: &Name) -> Option<&Node> {
        let encloser = name
            .suffixes()
            .skip(1)
            .find(|suffix| self.nodes.contains(suffix))?;
        let source = Name::child(b"*", encloser)?;
        let node = self.nodes.get(source.wire())?;
        // `a.*.example.com` makes `*.example.com` exist, but no wildcard of it.
        (!node.sets.is_empty()).then_some(node)
    }
}

impl Node {
    fn set(&self, kind: Kind) -> Option<&Set> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    fn find(&self, kind: Kind) -> Found<'_> {
        let set = match kind {
            Kind::ANY => self.sets.first(),
            kind => self.set(kind),
        };
        match set {
            Some(set) => Found::Set(set),
            None => match self.set(Kind::CNAME) {
                Some(set) => Found::Cname(set),
                None => Found::NoData,
            },
        }
    }
}

/// What cannot be encoded is left out and told; the rest of the zone is served.
fn compile_member(
    origin: &Name,
    record: &RecordSet,
    snapshot: &Snapshot,
    pulses: &Pulses,
) -> Option<(Name, Kind, Member)> {
    let skip = |problem: &dyn std::fmt::Display| {
        tracing::warn!(zone = %record.zone_id, name = %record.name, kind = %record.record_type, %problem,
            "a record is left out");
    };
    let name = Name::parse(&record.name).map_err(|e| skip(&e)).ok()?;
    if !name.is_within(origin.wire()) {
        skip(&"a name outside its zone");
        return None;
    }
    let Some(kind) = Kind::parse(&record.record_type) else {
        skip(&"a type that is not served");
        return None;
    };
    let content = match &record.alias {
        Some(alias) => {
            let target = Name::parse(&alias.dns_name).map_err(|e| skip(&e)).ok()?;
            let evaluate = alias.evaluate_target_health;
            Content::Alias { target, evaluate }
        }
        None => {
            let values: Vec<_> = record
                .values
                .iter()
                .filter_map(|value| rdata::encode(kind, value).map_err(|e| skip(&e)).ok())
                .map(Arc::from)
                .collect();
            if values.is_empty() {
                return None;
            }
            Content::Values {
                ttl: record.ttl.unwrap_or(0).min(i32::MAX as u32),
                values,
            }
        }
    };
    let check = record.health_check_id.as_deref();
    let member = Member {
        policy: Policy::compile(record, snapshot),
        content,
        pulse: check.map(|id| pulses.of(snapshot, id)),
        instance_healthy: match record.routing {
            Routing::Multivalue { healthy } | Routing::Weighted { healthy, .. } => healthy,
            _ => true,
        },
    };
    Some((name, kind, member))
}

fn collection_of(record: &RecordSet) -> Option<&String> {
    match &record.routing {
        Routing::Cidr { collection_id, .. } => Some(collection_id),
        _ => None,
    }
}

fn add(sets: &mut Vec<Set>, kind: Kind, member: Member) {
    match sets.iter_mut().find(|set| set.kind == kind) {
        None => sets.push(Set {
            kind,
            first: member,
            others: Vec::new(),
        }),
        // Sets with identifiers. They share a policy (fact ROUTE-1): what does not is never chosen.
        Some(set) => set.others.push(member),
    }
}

/// Every zone has its SOA and its name servers, also before their rows have come.
fn complete_apex(sets: &mut Vec<Set>, row: &HostedZone) -> Soa {
    if sets.iter().all(|set| set.kind != Kind::NS) {
        let values: Vec<Arc<[u8]>> = row
            .name_servers
            .iter()
            .filter_map(|server| rdata::encode(Kind::NS, server).ok())
            .map(Arc::from)
            .collect();
        if !values.is_empty() {
            sets.push(Set::simple(Kind::NS, APEX_NS_TTL, values));
        }
    }
    let own = sets.iter().find(|set| set.kind == Kind::SOA);
    if let Some(Content::Values { ttl, values }) = own.map(|set| &set.first.content)
        && let Some(value) = values.first()
    {
        return Soa::of(*ttl, value.clone());
    }
    let server = row.name_servers.first().map_or(".", String::as_str);
    let soa = Soa::by(server, APEX_SOA_TTL, 86_400);
    sets.push(Set::simple(Kind::SOA, soa.ttl, vec![soa.value.clone()]));
    soa
}

impl Soa {
    fn of(ttl: u32, value: Arc<[u8]>) -> Self {
        let minimum = value
            .last_chunk::<4>()
            .map_or(ttl, |bytes| u32::from_be_bytes(*bytes));
        Self {
            ttl,
            value,
            negative_ttl: ttl.min(minimum),
        }
    }

    /// AWS's usual one (fact DNS-2).
    pub fn by(server: &str, ttl: u32, minimum: u32) -> Self {
        let text =
            |server| format!("{server} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 {minimum}");
        let value = rdata::encode(Kind::SOA, &text(server))
            .or_else(|_| rdata::encode(Kind::SOA, &text(".")))
            .unwrap_or_default();
        Self::of(ttl, value.into())
    }
}
