//! What `stats` counts. Exact while there is room: values for percentiles and distinct values are held up to a budget
//! that the whole query shares; beyond it they are sampled and estimated, as AWS does.

use super::expression::{Expression, Fields, finite};
use super::value::Value;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Values that a query holds for percentiles, and for distinct values, of all groups together.
pub const HELD_MAX: usize = 1 << 20;
/// A group's own that it may have beyond the budget.
const HELD_MIN: usize = 64;
/// Distinct values that a group holds: more are estimated from so many.
const DISTINCT_MAX: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Count,
    CountDistinct,
    Sum,
    Average,
    Minimum,
    Maximum,
    Percentile(f64),
    Deviation,
    Earliest,
    Latest,
    First,
    Last,
}

#[derive(Debug, Clone)]
pub struct Aggregate {
    pub kind: Kind,
    /// None: `count(*)`.
    pub of: Option<Expression>,
    /// Among those of its command.
    pub number: usize,
}

/// How much of the budget is used.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    fn take(&mut self) -> bool {
        let may = self.0 < HELD_MAX;
        self.0 += usize::from(may);
        may
    }
}

/// One aggregate of one group so far.
#[derive(Debug, Clone)]
pub enum State {
    Count(u64),
    Sum { sum: f64, squares: f64, count: u64 },
    Best(Option<Value>),
    At(Option<(i64, Value)>),
    Values { held: Vec<f64>, seen: u64 },
    Distinct(BTreeSet<u64>),
}

impl State {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Count => Self::Count(0),
            Kind::CountDistinct => Self::Distinct(BTreeSet::new()),
            Kind::Sum | Kind::Average | Kind::Deviation => Self::Sum {
                sum: 0.0,
                squares: 0.0,
                count: 0,
            },
            Kind::Minimum | Kind::Maximum | Kind::First | Kind::Last => Self::Best(None),
            Kind::Earliest | Kind::Latest => Self::At(None),
            Kind::Percentile(_) => Self::Values {
                held: Vec::new(),
                seen: 0,
            },
        }
    }

    pub fn add(&mut self, aggregate: &Aggregate, row: &dyn Fields, budget: &mut Held) {
        let value = match &aggregate.of {
            Some(of) => of.evaluate(row),
            None => Value::Bool(true),
        };
        if value.is_null() {
            return;
        }
        let kind = aggregate.kind;
        match self {
            Self::Count(count) => *count += 1,
            Self::Sum {
                sum,
                squares,
                count,
            } => {
                if let Some(number) = value.number() {
                    *sum += number;
                    *squares += number * number;
                    *count += 1;
                }
            }
            Self::Best(best) => {
                let numeric = matches!(kind, Kind::Minimum | Kind::Maximum);
                if numeric && value.number().is_none() {
                    return;
                }
                let wanted = match kind {
                    Kind::Minimum | Kind::First => std::cmp::Ordering::Less,
                    _ => std::cmp::Ordering::Greater,
                };
                if best
                    .as_ref()
                    .is_none_or(|best| value.compare(best) == Some(wanted))
                {
                    *best = Some(value);
                }
            }
            Self::At(found) => {
                let Value::Time(at) = row.field("@timestamp") else {
                    return;
                };
                let better = |known: i64| match kind {
                    Kind::Earliest => at < known,
                    _ => at >= known,
                };
                if found.as_ref().is_none_or(|(known, _)| better(*known)) {
                    *found = Some((at, value));
                }
            }
            Self::Values { held, seen } => {
                let Some(number) = value.number() else {
                    return;
                };
                *seen += 1;
                if held.len() < HELD_MIN || budget.take() {
                    held.push(number);
                    return;
                }
                // Each value has the same chance to be among those held.
                let place = (scatter(*seen) % *seen) as usize;
                if let Some(place) = held.get_mut(place) {
                    *place = number;
                }
            }
            Self::Distinct(hashes) => {
                let hash = hash(&value);
                if hashes.contains(&hash) {
                    return;
                }
                let room =
                    hashes.len() < DISTINCT_MAX && (hashes.len() < HELD_MIN || budget.take());
                if room {
                    hashes.insert(hash);
                } else if hashes.last().is_some_and(|last| hash < *last) {
                    hashes.pop_last();
                    hashes.insert(hash);
                }
            }
        }
    }

    pub fn result(&self, kind: Kind) -> Value {
        match self {
            Self::Count(count) => Value::Number(*count as f64),
            Self::Sum { count: 0, .. } => Value::Null,
            Self::Sum {
                sum,
                squares,
                count,
            } => {
                let count = *count as f64;
                let mean = sum / count;
                match kind {
                    Kind::Sum => finite(*sum),
                    Kind::Average => finite(mean),
                    _ => finite((squares / count - mean * mean).max(0.0).sqrt()),
                }
            }
            Self::Best(best) => best.clone().unwrap_or(Value::Null),
            Self::At(found) => found
                .as_ref()
                .map_or(Value::Null, |(_, value)| value.clone()),
            Self::Values { held, .. } => match kind {
                Kind::Percentile(percent) => percentile(held, percent),
                _ => Value::Null,
            },
            Self::Distinct(hashes) => Value::Number(distinct(hashes)),
        }
    }
}

fn percentile(held: &[f64], percent: f64) -> Value {
    let mut sorted = held.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return Value::Null;
    };
    // The nearest rank.
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    finite(sorted[(rank - 1).min(last)])
}

/// All of them if they had room; or as many as the smallest hashes say: they lie evenly.
fn distinct(hashes: &BTreeSet<u64>) -> f64 {
    match hashes.last() {
        Some(last) if hashes.len() >= DISTINCT_MAX => {
            let part = *last as f64 / u64::MAX as f64;
            ((hashes.len() - 1) as f64 / part).round()
        }
        _ => hashes.len() as f64,
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.show().hash(&mut hasher);
    hasher.finish()
}

/// A number that looks random and is always the same.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}
