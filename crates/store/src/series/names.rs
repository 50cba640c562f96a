//! Which series there are: the one thing of them that is in memory.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

/// What a series is of. The order of its parts is the order of listings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesName {
    pub account: String,
    pub region: String,
    pub namespace: String,
    pub metric: String,
    /// Sorted by name.
    pub dimensions: Vec<(String, String)>,
    pub unit: String,
}

/// A series that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    pub(super) number: u64,
    /// Its latest observation, to the minute.
    pub seen_ms: i64,
}

#[derive(Default)]
pub(super) struct Names {
    by_name: BTreeMap<SeriesName, Series>,
    next: u64,
}

impl Names {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn next_number(&self) -> u64 {
        self.next
    }

    pub fn get(&self, name: &SeriesName) -> Option<Series> {
        self.by_name.get(name).copied()
    }

    pub fn insert(&mut self, name: SeriesName, number: u64, seen_ms: i64) {
        self.next = self.next.max(number + 1);
        let series = self
            .by_name
            .entry(name)
            .or_insert(Series { number, seen_ms });
        series.seen_ms = series.seen_ms.max(seen_ms);
    }

    pub fn remove(&mut self, numbers: &[u64]) {
        let gone: HashSet<&u64> = numbers.iter().collect();
        self.by_name
            .retain(|_, series| !gone.contains(&series.number));
    }

    pub fn in_scope(&self, account: &str, region: &str) -> Vec<(SeriesName, Series)> {
        let start = SeriesName {
            account: account.to_owned(),
            region: region.to_owned(),
            namespace: String::new(),
            metric: String::new(),
            dimensions: Vec::new(),
            unit: String::new(),
        };
        self.by_name
            .range(start..)
            .take_while(|(name, _)| name.account == account && name.region == region)
            .map(|(name, series)| (name.clone(), *series))
            .collect()
    }

    pub fn units(&self, name: &SeriesName) -> Vec<SeriesName> {
        let start = SeriesName {
            unit: String::new(),
            ..name.clone()
        };
        self.by_name
            .range(start.clone()..)
            .map(|(name, _)| name)
            .take_while(|name| {
                (&name.account, &name.region, &name.namespace)
                    == (&start.account, &start.region, &start.namespace)
                    && (&name.metric, &name.dimensions) == (&start.metric, &start.dimensions)
            })
            .cloned()
            .collect()
    }
}
