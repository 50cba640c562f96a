//! One hosted zone and what it says about a name (RFC 1034, section 4.3.2; wildcards as in RFC 4592).
//!
//! Built by `tables`. What must stay true: a lookup has no effect and no randomness, and it never answers
//! from below a delegation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fogbank_types::route53::{HostedZone, RecordSet, Routing};

use super::kind::Kind;
use super::name::{Name, NameError};
use super::rdata;

/// Fact DNS-2.
const APEX_NS_TTL: u32 = 172_800;
const APEX_SOA_TTL: u32 = 900;
const WILDCARD: &[u8] = b"\x01*";

/// A hosted zone, ready to answer.
#[derive(Debug)]
pub struct Zone {
    pub origin: Name,
    pub private: bool,
    /// Those and the names between them and the apex, which exist without records.
    nodes: HashMap<Name, Node>,
    soa: Soa,
}

/// The sets of one name.
#[derive(Debug, Default)]
struct Node {
    sets: Vec<Set>,
}

/// Records of one name and type.
#[derive(Clone, Debug)]
pub struct Set {
    pub kind: Kind,
    pub content: Content,
    /// How many of its values an answer has; `None` = all.
    pub at_most: Option<usize>,
}

/// Values in an answer of the multivalue routing policy.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-multivalue.html>
const MULTIVALUE_MAX: usize = 8;

#[derive(Clone, Debug)]
pub enum Content {
    Values { ttl: u32, values: Vec<Arc<[u8]>> },
    Alias { target: Name },
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
    ) -> Result<Self, NameError> {
        let origin = Name::parse(&row.name)?;
        let mut nodes = HashMap::new();
        nodes.insert(origin.clone(), Node::default());
        let records: Vec<_> = records.collect();
        let key = |record: &RecordSet| (record.name.clone(), record.record_type.clone());
        let healthy: HashSet<_> = records
            .iter()
            .filter(|record| is_healthy(record))
            .map(|record| key(record))
            .collect();
        for record in records {
            // If none is healthy, all are told.
            if !is_healthy(record) && healthy.contains(&key(record)) {
                continue;
            }
            if let Some((name, set)) = compile_set(record) {
                add(&mut nodes, &origin, name, set);
            }
        }
        let soa = apex(&mut nodes, &origin, row);
        Ok(Self {
            origin,
            private: row.private,
            nodes,
            soa,
        })
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
            .find(|suffix| self.nodes.contains_key(*suffix))?;
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

fn is_healthy(record: &RecordSet) -> bool {
    match record.routing {
        Routing::Multivalue { healthy } | Routing::Weighted { healthy, .. } => healthy,
        _ => true,
    }
}

/// What cannot be encoded is left out and told; the rest of the zone is served.
fn compile_set(record: &RecordSet) -> Option<(Name, Set)> {
    let skip = |problem: &dyn std::fmt::Display| {
        tracing::warn!(zone = %record.zone_id, name = %record.name, kind = %record.record_type, %problem,
            "a record is left out");
    };
    let name = Name::parse(&record.name).map_err(|e| skip(&e)).ok()?;
    let Some(kind) = Kind::parse(&record.record_type) else {
        skip(&"a type that is not served");
        return None;
    };
    let content = match &record.alias {
        Some(alias) => {
            let target = Name::parse(&alias.dns_name).map_err(|e| skip(&e)).ok()?;
            Content::Alias { target }
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
    let at_most = match record.routing {
        Routing::Multivalue { .. } => Some(MULTIVALUE_MAX),
        // Cloud Map, the only one who makes such records so far, gives all the same weight.
        Routing::Weighted { .. } => Some(1),
        _ => None,
    };
    let set = Set {
        kind,
        content,
        at_most,
    };
    Some((name, set))
}

fn add(nodes: &mut HashMap<Name, Node>, origin: &Name, name: Name, set: Set) {
    if !name.is_within(origin.wire()) {
        tracing::warn!(%name, %origin, "a record stands outside its zone and is left out");
        return;
    }
    let mut parent = name.parent();
    while let Some(between) = parent.filter(|parent| !nodes.contains_key(parent.wire())) {
        parent = between.parent();
        nodes.insert(between, Node::default());
    }
    let node = nodes.entry(name).or_default();
    match node.sets.iter_mut().find(|other| other.kind == set.kind) {
        None => node.sets.push(set),
        // Sets with identifiers: all their values.
        Some(other) => {
            if let (Content::Values { values, .. }, Content::Values { values: more, .. }) =
                (&mut other.content, set.content)
            {
                values.extend(more);
            }
        }
    }
}

/// Every zone has its SOA and its name servers, also before their rows have come.
fn apex(nodes: &mut HashMap<Name, Node>, origin: &Name, row: &HostedZone) -> Soa {
    let node = nodes.entry(origin.clone()).or_default();
    if node.set(Kind::NS).is_none() {
        let values: Vec<Arc<[u8]>> = row
            .name_servers
            .iter()
            .filter_map(|server| rdata::encode(Kind::NS, server).ok())
            .map(Arc::from)
            .collect();
        if !values.is_empty() {
            let ttl = APEX_NS_TTL;
            let content = Content::Values { ttl, values };
            node.sets.push(Set {
                kind: Kind::NS,
                content,
                at_most: None,
            });
        }
    }
    if let Some(Content::Values { ttl, values }) = node.set(Kind::SOA).map(|set| &set.content)
        && let Some(value) = values.first()
    {
        return Soa::of(*ttl, value.clone());
    }
    let server = row.name_servers.first().map_or(".", String::as_str);
    let soa = Soa::by(server, APEX_SOA_TTL, 86_400);
    node.sets.push(Set {
        kind: Kind::SOA,
        content: Content::Values {
            ttl: soa.ttl,
            values: vec![soa.value.clone()],
        },
        at_most: None,
    });
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
