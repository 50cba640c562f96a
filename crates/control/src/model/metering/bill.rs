//! Lines of a bill: quantities by AWS's rule (fact TASK-15), times a table of prices that says of when it is.

use fogbank_types::metering::{UsageKind, UsageRecord, UsageTotal};
use fogbank_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const DEFAULT_PRICES: &str = include_str!("prices.json");
/// Included in a task's price.
const STORAGE_FREE_GIB: u32 = 20;
/// "A minimum charge of one minute."
const SECONDS_MIN: f64 = 60.0;

/// A file of prices: the one that comes with the program, or the operator's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When they were looked up.
    pub date: String,
    pub region: String,
    pub currency: String,
    #[serde(default)]
    pub source: String,
    /// By item, for instance `fargate-x86-vcpu-hour`.
    pub prices: BTreeMap<String, f64>,
}

/// Why a file of prices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    #[error("the table of prices cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the price of {0} is not a number from 0 on")]
    NotAPrice(String),
    #[error("the table of prices has no {0}")]
    Missing(String),
}

impl Default for Prices {
    fn default() -> Self {
        serde_json::from_str(DEFAULT_PRICES).expect("the file is part of the program and tested")
    }
}

impl Prices {
    /// Every item must have its price: a bill that leaves something out is wrong.
    pub fn parse(text: &str) -> Result<Self, PricesError> {
        let prices: Self = serde_json::from_str(text)?;
        for item in Self::default().prices.into_keys() {
            match prices.prices.get(&item) {
                Some(price) if price.is_finite() && *price >= 0.0 => {}
                Some(_) => return Err(PricesError::NotAPrice(item)),
                None => return Err(PricesError::Missing(item)),
            }
        }
        Ok(prices)
    }

    fn of(&self, item: &str) -> f64 {
        self.prices.get(item).copied().unwrap_or(0.0)
    }
}

pub fn kind_name(kind: &UsageKind) -> &'static str {
    match kind {
        UsageKind::Task { .. } => "task",
        UsageKind::LoadBalancer { .. } => "load-balancer",
        UsageKind::NatGateway => "nat-gateway",
        UsageKind::PublicAddress => "public-ipv4",
    }
}

/// What a record used between two moments, by the names that prices have.
pub fn items(record: &UsageRecord, since: Timestamp, now: Timestamp) -> Vec<(String, f64)> {
    let until = record.until.unwrap_or(now).min(now);
    let from = record.from.max(since);
    let span_s = |from: Timestamp| ((until.0 - from.0).max(0) as f64 / 1_000.0).ceil();
    if until <= since {
        return Vec::new();
    }
    match &record.kind {
        UsageKind::Task {
            cpu,
            memory_mib,
            storage_gib,
            arm,
            spot,
        } => {
            // The least that is paid belongs to the time in which it began.
            let seconds = match record.from >= since {
                true => span_s(from).max(SECONDS_MIN),
                false => span_s(from),
            };
            let hours = seconds / 3_600.0;
            let kind = format!(
                "fargate-{}{}",
                if *spot { "spot-" } else { "" },
                if *arm { "arm" } else { "x86" }
            );
            let mut items = vec![
                (
                    format!("{kind}-vcpu-hour"),
                    f64::from(*cpu) / 1_024.0 * hours,
                ),
                (
                    format!("{kind}-gb-hour"),
                    f64::from(*memory_mib) / 1_024.0 * hours,
                ),
            ];
            let storage = storage_gib.saturating_sub(STORAGE_FREE_GIB);
            if storage > 0 {
                let used = f64::from(storage) * hours;
                items.push(("fargate-storage-gb-hour".to_owned(), used));
            }
            items
        }
        // "Each hour or partial hour."
        UsageKind::LoadBalancer { .. } => vec![("alb-hour".to_owned(), begun_hours(span_s(from)))],
        UsageKind::NatGateway => vec![("nat-gateway-hour".to_owned(), begun_hours(span_s(from)))],
        UsageKind::PublicAddress => {
            vec![("public-ipv4-hour".to_owned(), span_s(from) / 3_600.0)]
        }
    }
}

fn begun_hours(seconds: f64) -> f64 {
    (seconds / 3_600.0).ceil()
}

/// What lines are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A line a service, a family of tasks that run alone, a load balancer.
    #[default]
    Service,
    /// A line a task; nothing else.
    Task,
    /// A line a resource of any kind.
    Resource,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub account: String,
    pub region: String,
    pub name: String,
    pub kind: String,
    /// How many resources it is about.
    pub resources: u64,
    /// Quantities by item.
    pub usage: BTreeMap<String, f64>,
    pub cost: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    pub since: Option<Timestamp>,
    pub until: Timestamp,
    pub currency: String,
    pub prices_date: String,
    pub prices_region: String,
    /// Dearest first.
    pub lines: Vec<Line>,
    pub total: f64,
}

/// What a bill is made of.
pub struct Asked<'a> {
    pub since: Option<Timestamp>,
    pub now: Timestamp,
    pub by: By,
    pub prices: &'a Prices,
}

/// `metered` gives what only metrics know of a record (LCUs, bytes), by item, for the bill's time.
pub fn bill<'a>(
    asked: &Asked<'_>,
    records: impl Iterator<Item = &'a UsageRecord>,
    totals: impl Iterator<Item = &'a UsageTotal>,
    metered: impl Fn(&UsageRecord) -> Vec<(String, f64)>,
) -> Bill {
    let since = asked.since.unwrap_or(Timestamp(i64::MIN));
    let mut lines: BTreeMap<(Scope, String, String), Line> = BTreeMap::new();
    let mut add =
        |scope: &Scope, name: &str, kind: &str, resources: u64, usage: Vec<(String, f64)>| {
            let key = (scope.clone(), kind.to_owned(), name.to_owned());
            let line = lines.entry(key).or_insert_with(|| Line {
                account: scope.account.clone(),
                region: scope.region.clone(),
                name: name.to_owned(),
                kind: kind.to_owned(),
                resources: 0,
                usage: BTreeMap::new(),
                cost: 0.0,
            });
            line.resources += resources;
            for (item, quantity) in usage {
                line.cost += quantity * asked.prices.of(&item);
                *line.usage.entry(item).or_default() += quantity;
            }
        };
    for record in records {
        let mut usage = items(record, since, asked.now);
        if usage.is_empty() || (asked.by == By::Task && kind_name(&record.kind) != "task") {
            continue;
        }
        usage.extend(metered(record));
        let name = match asked.by {
            By::Service => &record.group,
            By::Task | By::Resource => &record.id,
        };
        add(&record.scope, name, kind_name(&record.kind), 1, usage);
    }
    // Months are told whole: what was put together is not taken apart again.
    for total in totals.filter(|total| total.until > since) {
        if asked.by == By::Task && total.kind != "task" {
            continue;
        }
        let name = match asked.by {
            By::Service => total.group.clone(),
            By::Task | By::Resource => format!("{} in {}", total.group, total.month),
        };
        let usage = total.items.clone().into_iter().collect();
        add(&total.scope, &name, &total.kind, total.resources, usage);
    }
    let mut lines: Vec<Line> = lines.into_values().collect();
    lines.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    Bill {
        since: asked.since,
        until: asked.now,
        currency: asked.prices.currency.clone(),
        prices_date: asked.prices.date.clone(),
        prices_region: asked.prices.region.clone(),
        total: lines.iter().map(|line| line.cost).sum(),
        lines,
    }
}
