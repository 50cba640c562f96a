//! The rows that answers come from, and the tables made of them. Fed by `process` with batches of the store.
//!
//! What must stay true: after a batch the tables are those of a snapshot compiled from nothing; zones whose
//! rows did not change are kept, as they may be large.

use std::collections::HashMap;
use std::sync::Arc;

use fogbank_store::Batch;
use fogbank_types::route53::{HostedZone, ZoneSigning};
use fogbank_types::snapshot::row_key;
use fogbank_types::{RegionConfig, Row, Snapshot};

use super::geography::Geography;
use super::name::Name;
use super::pulse::Pulses;
use super::signing::ZoneSigner;
use super::tables::Tables;
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
    /// By key of the row that says how a zone is signed. They keep signatures.
    signers: HashMap<String, Arc<ZoneSigner>>,
    pulses: Pulses,
    geography: Option<Arc<Geography>>,
}

impl Mirror {
    pub fn new(config: RegionConfig) -> Self {
        Self {
            config,
            snapshot: Snapshot::default(),
            zones: HashMap::new(),
            signers: HashMap::new(),
            pulses: Pulses::default(),
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
            effect.tables |= REPORTED.contains(&kind) || FOLLOWED.contains(&kind);
            if let Some(zone) = zone_key(kind, &event.key) {
                self.zones.remove(&zone);
            }
            let id = event.key.rsplit('/').next().unwrap_or("");
            if kind == COLLECTION {
                self.zones.retain(|_, zone| !zone.has_collection(id));
            }
            if kind == SIGNING {
                self.signers.remove(&event.key);
            }
            let value = event.value.as_deref();
            if let Err(error) = self.snapshot.apply(&event.key, value, batch.revision) {
                tracing::warn!(%error, "a row is left out");
            }
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

    pub fn tables(&mut self) -> Tables {
        let (snapshot, zones, pulses) = (&self.snapshot, &mut self.zones, &self.pulses);
        let signers = &mut self.signers;
        let geography = self.geography.clone();
        let zone_of = |row: &HostedZone| {
            let key = row.key();
            if let Some(zone) = zones.get(&key) {
                return Some(zone.clone());
            }
            let zone = Tables::compile_zone(snapshot, pulses, row)?;
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
        Tables::compile_with(snapshot, &self.config, zone_of, signer_of).with_geography(geography)
    }
}

/// The zone that a row belongs to.
fn zone_key(kind: &str, key: &str) -> Option<String> {
    match kind {
        "hosted-zone" => Some(key.to_owned()),
        "record-set" => {
            let mut parts = key.splitn(5, '/').skip(1);
            let (account, region, zone) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!("{}/{account}/{region}/{zone}", HostedZone::KIND))
        }
        _ => None,
    }
}
