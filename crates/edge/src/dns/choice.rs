//! Which record of a name and type answers: routing policies, health, and trees of aliases.
//!
//! Asked by `tables` for every set that is found. What must stay true: choosing ends whatever the records say, and
//! a simple record costs nothing but its look-up. Rules, as AWS tells them:
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/health-checks-how-route-53-chooses-records.html>
//! A record is chosen by the policy among the healthy ones; a branch of aliases that has none is backed out of; if
//! none of all is healthy, all count as healthy.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use fogbank_types::route53::FailoverRole;

use super::addresses::Addresses;
use super::asker::Asker;
use super::kind::Kind;
use super::name::Name;
use super::place::{self, Place, Point};
use super::policy::Policy;
use super::tables::{MAX_CHAIN, Tables, View};
use super::zone::{Content, Found, Member, Set, Zone};

/// Values in an answer of the multivalue routing policy.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-multivalue.html>
const MULTIVALUE_MAX: usize = 8;
/// Members looked at for one answer. Aliases of aliases could otherwise grow to any number.
const MAX_LOOKS: u32 = 20_000;
/// Where an asker counts to be of whom nothing is known.
const SERVER_REGION: &str = "us-east-1";

/// The choosing of one answer.
pub struct Choice<'a> {
    tables: &'a Tables,
    zone: &'a Zone,
    view: &'a View,
    asker: &'a Asker<'a>,
    place: OnceCell<Option<Place>>,
    looks: Cell<u32>,
}

/// What was chosen.
pub enum Told<'a> {
    Values(u32, &'a [Arc<[u8]>]),
    /// Of AWS's own names.
    Addresses(u32, Cow<'a, Addresses>),
    /// Of the multivalue policy: those are to be drawn from.
    Several(u32, Vec<Arc<[u8]>>),
    Nothing,
}

impl Told<'_> {
    /// Time to live, values and how many of them are to be told.
    pub fn values(self, kind: Kind) -> (u32, Vec<Arc<[u8]>>, Option<usize>) {
        match self {
            Self::Values(ttl, values) => (ttl, values.to_vec(), None),
            Self::Addresses(ttl, addresses) => (ttl, addresses.values(kind).1, None),
            Self::Several(ttl, values) => (ttl, values, Some(MULTIVALUE_MAX)),
            Self::Nothing => (0, Vec::new(), None),
        }
    }
}

/// Whether only healthy records are to be chosen from.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Wanted {
    Healthy,
    Any,
}

impl<'a> Choice<'a> {
    pub fn new(tables: &'a Tables, zone: &'a Zone, view: &'a View, asker: &'a Asker<'a>) -> Self {
        Self {
            tables,
            zone,
            view,
            asker,
            place: OnceCell::new(),
            looks: Cell::new(MAX_LOOKS),
        }
    }

    pub fn told(&self, set: &'a Set) -> Told<'a> {
        self.told_at(set, 0)
    }

    fn told_at(&self, set: &'a Set, depth: usize) -> Told<'a> {
        match set.first.policy {
            Policy::Simple => self.content(&set.first, set.kind, depth),
            Policy::Multivalue => several(set),
            _ => {
                let member = self
                    .pick(set, Wanted::Healthy, depth)
                    .or_else(|| self.pick(set, Wanted::Any, depth));
                match member {
                    Some(member) => self.content(member, set.kind, depth),
                    None => Told::Nothing,
                }
            }
        }
    }

    /// An alias takes its target's values and time to live (fact DNS-11).
    fn content(&self, member: &'a Member, kind: Kind, depth: usize) -> Told<'a> {
        let target = match &member.content {
            Content::Values { ttl, values } => return Told::Values(*ttl, values),
            Content::Alias { target, .. } => target,
        };
        if let Some((ttl, addresses)) = self.tables.aws_target(target) {
            return Told::Addresses(ttl, addresses);
        }
        match self.alias(target, kind) {
            Some(set) if depth < MAX_CHAIN => self.told_at(set, depth + 1),
            _ => Told::Nothing,
        }
    }

    /// The records of the same zone that an alias stands for.
    fn alias(&self, target: &Name, kind: Kind) -> Option<&'a Set> {
        if !target.is_within(self.zone.origin.wire()) {
            return None;
        }
        match self.zone.lookup(target, kind) {
            Found::Set(set) => Some(set),
            _ => None,
        }
    }

    fn is_healthy(&self, member: &Member, kind: Kind, depth: usize) -> bool {
        let left = self.looks.get();
        if left == 0 || !member.is_well() {
            return false;
        }
        self.looks.set(left - 1);
        let Content::Alias {
            target,
            evaluate: true,
        } = &member.content
        else {
            return true;
        };
        if let Some(healthy) = self.tables.aws_target_health(target) {
            return healthy;
        }
        // A loop has no end where a healthy record would be.
        match self.alias(target, kind) {
            Some(set) if depth < MAX_CHAIN => self.pick(set, Wanted::Healthy, depth + 1).is_some(),
            _ => false,
        }
    }

    /// One record by the policy of its group.
    fn pick(&self, set: &'a Set, wanted: Wanted, depth: usize) -> Option<&'a Member> {
        let fits =
            |member: &Member| wanted == Wanted::Any || self.is_healthy(member, set.kind, depth);
        match &set.first.policy {
            Policy::Simple | Policy::Multivalue => set.members().find(|member| fits(member)),
            Policy::Weighted(_) => self.draw(set, wanted, &fits),
            Policy::Failover(_) => first(set, &fits, |policy| match policy {
                Policy::Failover(FailoverRole::Primary) => Some(0.0),
                Policy::Failover(FailoverRole::Secondary) => Some(1.0),
                _ => None,
            }),
            Policy::Latency(_) => {
                let here = self.point();
                first(set, &fits, |policy| match policy {
                    Policy::Latency(Some(there)) => Some(there.distance(here)),
                    Policy::Latency(None) => Some(f64::INFINITY),
                    _ => None,
                })
            }
            Policy::Geolocation(_) => {
                let place = self.place().unwrap_or_default();
                first(set, &fits, |policy| match policy {
                    Policy::Geolocation(area) => area.rank(&place).map(f64::from),
                    _ => None,
                })
            }
            Policy::Geoproximity { .. } => {
                let here = self.point();
                first(set, &fits, |policy| match policy {
                    Policy::Geoproximity { point, bias } => Some(match point {
                        Some(there) => place::biased(there.distance(here), *bias),
                        None => f64::INFINITY,
                    }),
                    _ => None,
                })
            }
            Policy::Cidr(_) => {
                let address = match self.view {
                    View::Public => self.asker.locate(),
                    View::Vpc(..) => None,
                };
                first(set, &fits, |policy| match policy {
                    Policy::Cidr(blocks) => blocks.rank(address).map(f64::from),
                    _ => None,
                })
            }
        }
    }

    /// By weight; those of weight 0 only if there is no other one (fact ROUTE-2). The first throw is for all, so that
    /// the health of one record alone is asked for as long as it is good: the shares are the same.
    fn draw(
        &self,
        set: &'a Set,
        wanted: Wanted,
        fits: &dyn Fn(&Member) -> bool,
    ) -> Option<&'a Member> {
        let any = self.throw(set, &|_| true)?;
        if wanted == Wanted::Any || fits(any) {
            return Some(any);
        }
        self.throw(set, fits)
    }

    fn throw(&self, set: &'a Set, fits: &dyn Fn(&Member) -> bool) -> Option<&'a Member> {
        let weight = |member: &Member| match member.policy {
            Policy::Weighted(weight) if weight > 0 && fits(member) => u64::from(weight),
            _ => 0,
        };
        let total: u64 = set.members().map(weight).sum();
        if total > 0 {
            let mut left = self.asker.throw(total);
            return set.members().find(|member| {
                let weight = weight(member);
                let is_it = left < weight;
                left = left.saturating_sub(weight);
                is_it
            });
        }
        let count = set.members().filter(|member| fits(member)).count();
        if count == 0 {
            return None;
        }
        let n = self.asker.throw(count as u64) as usize;
        set.members().filter(|member| fits(member)).nth(n)
    }

    /// Inside a VPC he is where its region is; elsewhere the table of the operator knows, or nobody.
    fn place(&self) -> Option<Place> {
        *self.place.get_or_init(|| match self.view {
            View::Vpc(scope, _) => place::of_region(&scope.region),
            View::Public => {
                let (address, _) = self.asker.locate()?;
                self.tables.geography()?.place(address)
            }
        })
    }

    fn point(&self) -> Point {
        self.place()
            .and_then(|place| place.nearest_known_point())
            .or_else(|| place::of_region(SERVER_REGION)?.point)
            .unwrap_or(Point::at(0.0, 0.0))
    }
}

/// The lowest in rank that fits. Ranks of equal height go by their order. `None` as a rank: not at all.
fn first<'a>(
    set: &'a Set,
    fits: &dyn Fn(&Member) -> bool,
    rank: impl Fn(&Policy) -> Option<f64>,
) -> Option<&'a Member> {
    let mut after: Option<(f64, usize)> = None;
    // Health is asked for in the order of ranks: usually of one record.
    loop {
        let mut best: Option<((f64, usize), &Member)> = None;
        for (n, member) in set.members().enumerate() {
            let Some(rank) = rank(&member.policy) else {
                continue;
            };
            let key = (rank, n);
            let is_left = after.is_none_or(|after| key > after);
            if is_left && best.is_none_or(|(other, _)| key < other) {
                best = Some((key, member));
            }
        }
        let (key, member) = best?;
        if fits(member) {
            return Some(member);
        }
        after = Some(key);
    }
}

/// All healthy ones, or simply all (fact ROUTE-5). One set has one time to live (RFC 2181, section 5.2).
fn several(set: &Set) -> Told<'_> {
    let any = set.members().any(Member::is_well);
    let mut all = Vec::new();
    let mut least = u32::MAX;
    for member in set.members() {
        if let Content::Values { ttl, values } = &member.content
            && (!any || member.is_well())
        {
            least = least.min(*ttl);
            all.extend(values.iter().cloned());
        }
    }
    if all.is_empty() {
        return Told::Nothing;
    }
    Told::Several(least, all)
}
