//! The rows that answers come from, and the tables made of them. Fed by `process` with batches of the store.
//!
//! What must stay true: after a batch the tables are those of a snapshot compiled from nothing. What did not change is
//! kept: the names of the network, zones, and, in a zone, the names whose records are as they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fogbank_store::Batch;
use fogbank_types::route53::{HostedZone, RecordSet, ZoneSigning};
use fogbank_types::snapshot::row_key;
use fogbank_types::{RegionConfig, Row, Snapshot};

use super::geography::Geography;
use super::metrics::ZoneCounts;
use super::name::Name;
use super::pulse::Pulses;
use super::signing::ZoneSigner;
use super::tables::{Network, Tables};
use super::zone::Zone;

/// Kinds whose changes are reported: what callers wait for.
const REPORTED: &[&str] = &[
    "hosted-zone",
    "record-set",
    "load-balancer",
    "eni",
    "elastic-ip",
    "vpc",
    "vpc-endpoint",
    "vpc-peering-connection",
    "zone-fault",
];
/// Kinds that change answers as well, but nobody waits.
const FOLLOWED: &[&str] = &[
    "target-group",
    "listener",
    "listener-rule",
    "status-target-health",
    "query-logging-config",
    COLLECTION,
    SIGNING,
];
/// Kinds of which a flag is all that answers have.
const PULSES: &[&str] = &["health-check", "status-health-check"];
const COLLECTION: &str = "cidr-collection";
const SIGNING: &str = "zone-signing";
/// Kinds that zones alone are made of.
const OF_ZONES: &[&str] = &[
    "hosted-zone",
    "record-set",
    "query-logging-config",
    COLLECTION,
    SIGNING,
];

/// Changes of Route 53. Each is in sync once its own revision is reported, also one that left all rows as they were.
const CHANGE: &str = "change";

/// What a batch asks for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The tables are to be made anew.
    pub tables: bool,
    /// The revision is to be reported.
    pub report: bool,
    /// Our own report is gone from the store.
    pub forgotten: bool,
}

/// See the module.
pub struct Mirror {
    config: RegionConfig,
    snapshot: Snapshot,
    /// By key of the zone's row.
    zones: HashMap<String, Arc<Zone>>,
    /// Names whose records changed since their zone was made, by the same key.
    changed: HashMap<String, BTreeSet<String>>,
    network: Option<Arc<Network>>,
    /// By key of the row that says how a zone is signed. They keep signatures.
    signers: HashMap<String, Arc<ZoneSigner>>,
    pulses: Pulses,
    counts: ZoneCounts,
    geography: Option<Arc<Geography>>,
}

impl Mirror {
    pub fn new(config: RegionConfig) -> Self {
        Self {
            config,
            snapshot: Snapshot::default(),
            zones: HashMap::new(),
            changed: HashMap::new(),
            network: None,
            signers: HashMap::new(),
            pulses: Pulses::default(),
            counts: ZoneCounts::default(),
            geography: None,
        }
    }

    pub fn with_geography(self, geography: Option<Arc<Geography>>) -> Self {
        Self { geography, ..self }
    }

    /// Prefixes of the keys to follow; `own` is the key of our report.
    pub fn prefixes(own: &str) -> Vec<String> {
        let kinds = REPORTED
            .iter()
            .chain(FOLLOWED)
            .chain(PULSES)
            .chain([&CHANGE]);
        let mut prefixes: Vec<String> = kinds.map(|kind| format!("{kind}/")).collect();
        prefixes.push(own.to_owned());
        prefixes
    }

    /// How often the zones are asked.
    pub fn counts(&self) -> ZoneCounts {
        self.counts.clone()
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn apply(&mut self, batch: &Batch, own: &str) -> Effect {
        let mut effect = Effect::default();
        for event in &batch.events {
            if event.key == own {
                effect.forgotten = event.value.is_none();
                continue;
            }
            let kind = event.key.split('/').next().unwrap_or("");
            effect.report |= REPORTED.contains(&kind);
            let answers = REPORTED.contains(&kind) || FOLLOWED.contains(&kind);
            effect.tables |= answers;
            if answers && !OF_ZONES.contains(&kind) {
                self.network = None;
            }
            if kind == HostedZone::KIND {
                self.forget(&event.key);
                if event.value.is_none() {
                    self.counts.forget(&event.key);
                }
            }
            let id = event.key.rsplit('/').next().unwrap_or("");
            if kind == COLLECTION {
                self.zones.retain(|_, zone| !zone.has_collection(id));
                self.changed.retain(|key, _| self.zones.contains_key(key));
            }
            if kind == SIGNING {
                self.signers.remove(&event.key);
            }
            self.mark(&event.key);
            let value = event.value.as_deref();
            if let Err(error) = self.snapshot.apply(&event.key, value, batch.revision) {
                tracing::warn!(%error, "a row is left out");
            }
            self.mark(&event.key);
            if PULSES.contains(&kind) {
                self.pulses.update(&self.snapshot, id);
            }
            let changes = &self.snapshot.changes;
            effect.report |= changes
                .versioned(&event.key)
                .is_some_and(|row| !row.value.in_sync);
        }
        self.snapshot.revision = batch.revision;
        effect
    }

    /// Notes the name of a record, if the key is one's. Before a row is applied for the one that goes, after it for the
    /// one that comes.
    fn mark(&mut self, key: &str) {
        let Some(record) = self.snapshot.record_sets.versioned(key) else {
            return;
        };
        let RecordSet {
            scope,
            zone_id,
            name,
            ..
        } = &*record.value;
        let zone = row_key::<HostedZone>(scope, zone_id);
        // A zone that is still to be made needs no list.
        if self.zones.contains_key(&zone) {
            self.changed.entry(zone).or_default().insert(name.clone());
        }
    }

    fn forget(&mut self, zone: &str) {
        self.zones.remove(zone);
        self.changed.remove(zone);
    }

    pub fn tables(&mut self) -> Tables {
        let (snapshot, zones) = (&self.snapshot, &mut self.zones);
        let (pulses, counts) = (&self.pulses, &self.counts);
        for (key, names) in std::mem::take(&mut self.changed) {
            let row = snapshot.hosted_zones.versioned(&key).map(|row| &row.value);
            if let (Some(row), Some(zone)) = (row, zones.get_mut(&key)) {
                let zone = Arc::make_mut(zone);
                for name in names {
                    Tables::update_zone(zone, snapshot, pulses, row, &name);
                }
            }
        }
        let network = self
            .network
            .get_or_insert_with(|| Arc::new(Network::compile(snapshot, &self.config)));
        let network = network.clone();
        let signers = &mut self.signers;
        let geography = self.geography.clone();
        let zone_of = |row: &HostedZone| {
            let key = row.key();
            if let Some(zone) = zones.get(&key) {
                return Some(zone.clone());
            }
            let zone = Tables::compile_zone(snapshot, pulses, counts, row)?;
            zones.insert(key, zone.clone());
            Some(zone)
        };
        let signer_of = |row: &HostedZone, origin: &Name| {
            let key = row_key::<ZoneSigning>(&row.scope, &row.id);
            if let Some(signer) = signers.get(&key) {
                return Some(signer.clone());
            }
            let signer = Tables::signer(snapshot, row, origin)?;
            signers.insert(key, signer.clone());
            Some(signer)
        };
        Tables::compile_with(snapshot, network, zone_of, signer_of).with_geography(geography)
    }
}
