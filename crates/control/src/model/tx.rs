//! The working copy that model functions and reconcilers change.
//!
//! It starts as a snapshot (O(1) to copy) and remembers which rows were put or deleted, so that the engine can commit
//! them in one transaction, on the condition that nobody else changed those rows meanwhile. Time, random bits and the
//! configuration are passed in: the same snapshot, command, time and seed give the same changes.

use fogbank_types::snapshot::row_key;
use fogbank_types::{RegionConfig, Revision, Row, Scope, Snapshot, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
pub struct Tx {
    base: Snapshot,
    snapshot: Snapshot,
    changes: BTreeMap<String, Change>,
    now: Timestamp,
    random_state: u128,
    config: Arc<RegionConfig>,
}

struct Change {
    /// Revision and encoding of the row in the base.
    before: Option<(Revision, Vec<u8>)>,
    after: Option<Vec<u8>>,
}

/// One row that a transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub key: String,
    /// The revision that the change was computed from; `None` = the row must not exist yet.
    pub before: Option<Revision>,
    /// `None` = delete.
    pub after: Option<Vec<u8>>,
}

impl Tx {
    pub fn new(snapshot: Snapshot, now: Timestamp, seed: u128, config: Arc<RegionConfig>) -> Self {
        // An odd multiplier and increment keep the generator's period full; see `random`.
        Self {
            base: snapshot.clone(),
            snapshot,
            changes: BTreeMap::new(),
            now,
            random_state: seed | 1,
            config,
        }
    }

    /// The rows as they stand after the changes so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn config(&self) -> &RegionConfig {
        &self.config
    }

    /// Creates or replaces a row.
    pub fn put<T: Row>(&mut self, row: T) {
        let key = row.key();
        let after = serde_json::to_vec(&row).expect("rows are plain data and always encode");
        self.change::<T>(key, Some(after));
        let revision = self.snapshot.revision;
        T::table_mut(&mut self.snapshot).insert(Arc::new(row), revision);
    }

    /// Deletes a row; false if there was none.
    pub fn delete<T: Row>(&mut self, scope: &Scope, id: impl AsRef<str>) -> bool {
        let key = row_key::<T>(scope, id.as_ref());
        if !T::table_mut(&mut self.snapshot).remove(&key) {
            return false;
        }
        self.change::<T>(key, None);
        true
    }

    /// Changes a row in place; false if there is none. The row's id must stay what it was.
    pub fn update<T: Row + Clone>(
        &mut self,
        scope: &Scope,
        id: impl AsRef<str>,
        change: impl FnOnce(&mut T),
    ) -> bool {
        let Some(row) = T::table(&self.snapshot).get(scope, id) else {
            return false;
        };
        let mut row = T::clone(row);
        change(&mut row);
        self.put(row);
        true
    }

    fn change<T: Row>(&mut self, key: String, after: Option<Vec<u8>>) {
        if let Some(change) = self.changes.get_mut(&key) {
            change.after = after;
            return;
        }
        let before = T::table(&self.base).versioned(&key).map(|row| {
            (
                row.revision,
                serde_json::to_vec(&*row.value).expect("rows are plain data and always encode"),
            )
        });
        self.changes.insert(key, Change { before, after });
    }

    /// 128 pseudo-random bits from the seed (PCG-like: a linear step, then a mix). Ids need to be unpredictable only
    /// as far as the seed is, which the engine draws from the operating system.
    pub fn random(&mut self) -> u128 {
        self.random_state = self
            .random_state
            .wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
            .wrapping_add(0x5851_F42D_4C95_7F2D_1405_7B7E_F767_814F);
        let mut x = self.random_state;
        x ^= x >> 67;
        x = x.wrapping_mul(0xDA94_2042_E4DD_58B5_D6E8_FEB8_6659_FD93);
        x ^ (x >> 61)
    }

    /// Random lower-case hexadecimal digits, 32 at most.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = format!("{:032x}", self.random());
        text.truncate(digits);
        text
    }

    /// A random UUID, version 4.
    pub fn uuid(&mut self) -> String {
        let bits = (self.random() & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// What really differs from the base.
    pub fn into_changes(self) -> Vec<Changed> {
        self.changes
            .into_iter()
            .filter_map(|(key, change)| {
                let same = match (&change.before, &change.after) {
                    (Some((_, before)), Some(after)) => before == after,
                    (None, None) => true,
                    _ => false,
                };
                (!same).then(|| Changed {
                    key,
                    before: change.before.map(|(revision, _)| revision),
                    after: change.after,
                })
            })
            .collect()
    }
}

#[cfg(test)]
impl Tx {
    /// An empty region at 2026-01-01T00:00:00Z with a fixed seed.
    pub fn for_test() -> Self {
        Self::new(
            Snapshot::default(),
            Timestamp(1_767_225_600_000),
            42,
            Arc::new(test_config()),
        )
    }

    /// Time goes on.
    pub fn advance_ms(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }
}

/// Settings for tests of pure code: nothing of them is opened or made.
#[cfg(test)]
pub fn test_config() -> RegionConfig {
    RegionConfig {
        instance: "test".to_owned(),
        host: "host-1".to_owned(),
        data_dir: "/nonexistent/data".into(),
        run_dir: "/nonexistent/run".into(),
        endpoint: ([127, 0, 0, 1], 4566).into(),
        dns: ([127, 0, 0, 1], 4553).into(),
        account: "000000000000".to_owned(),
        public_cidr: "198.18.0.0/16".parse().expect("a constant"),
        public_cidr_v6: "2001:db8:1812::/48".parse().expect("a constant"),
        quotas: std::collections::BTreeMap::new(),
        internet: fogbank_types::InternetAccess::None,
        speed: 1.0,
        metrics: None,
        geography: None,
        tls_resolvers: Vec::new(),
        request_rates: false,
        auth: fogbank_types::AuthMode::Off,
        tls: None,
        ephemeral: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Tags;
    use fogbank_types::logs::LogGroup;

    fn group(name: &str) -> LogGroup {
        LogGroup {
            key_pairs: Vec::new(),
            scope: Scope::new("000000000000", "us-east-1"),
            name: name.to_owned(),
            retention_days: None,
            kms_key_id: None,
            class: "STANDARD".to_owned(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_new_row_must_be_absent_and_an_old_one_unchanged() {
        let mut tx = Tx::for_test();
        tx.put(group("a"));
        let changes = tx.into_changes();
        assert_eq!(changes[0].before, None);

        let mut snapshot = Snapshot::default();
        snapshot.log_groups.insert(Arc::new(group("a")), 7);
        let mut tx = Tx::new(snapshot, Timestamp(0), 1, Arc::new(test_config()));
        let scope = group("a").scope;
        assert!(tx.update::<LogGroup>(&scope, "a", |g| g.retention_days = Some(7)));
        assert_eq!(tx.into_changes()[0].before, Some(7));
    }

    #[test]
    fn what_is_put_back_as_it_was_is_no_change() {
        let mut snapshot = Snapshot::default();
        snapshot.log_groups.insert(Arc::new(group("a")), 7);
        let scope = group("a").scope;
        let mut tx = Tx::new(snapshot, Timestamp(0), 1, Arc::new(test_config()));
        tx.update::<LogGroup>(&scope, "a", |g| g.retention_days = Some(7));
        tx.update::<LogGroup>(&scope, "a", |g| g.retention_days = None);
        tx.put(group("b"));
        tx.delete::<LogGroup>(&scope, "b");
        assert!(tx.into_changes().is_empty());
    }

    #[test]
    fn random_bits_do_not_repeat() {
        let mut tx = Tx::for_test();
        let drawn: std::collections::BTreeSet<_> = (0..10_000).map(|_| tx.random() >> 60).collect();
        assert_eq!(drawn.len(), 10_000);
        let uuid = tx.uuid();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
    }
}
