//! What a flow log has gathered since it last told: flows by interface, in bounded memory.
//!
//! Pure. What must stay true: an interface that had more than fits has `skipped` set, never silently less; a window with
//! nothing in it is told as such, unless it was shorter than the flow log's interval.

use std::collections::HashMap;
use std::sync::Arc;

use fogbank_types::EniId;
use fogbank_types::diagnosis::{FlowLog, FlowLogTraffic};
use fogbank_types::ec2::Eni;

use super::attribution::Observation;
use super::record::{Body, Facts, Flow, Format, Services, Sums};

/// Flows in memory of one flow log, before they are told early: the interval is a maximum.
const MOST_FLOWS: usize = 65_536;
/// Records of one interface in one interval; what is more is skipped, so that no guest can fill the disk faster than
/// others do.
const MOST_RECORDS: usize = 262_144;

/// Of one interface.
#[derive(Debug, Default)]
pub struct Gathered {
    flows: HashMap<Flow, Sums>,
    skipped: bool,
    /// Records told early in this interval.
    told: usize,
    /// Its stream was not there when it should have been told; the next time is the last.
    held: bool,
}

/// One flow log.
#[derive(Debug)]
pub struct Window {
    pub log: Arc<FlowLog>,
    pub format: Format,
    pub started_ms: i64,
    pub due_ms: i64,
    /// Shorter than an interval.
    partial: bool,
    interfaces: HashMap<EniId, Gathered>,
    flows: usize,
}

impl Window {
    /// Its first window ends when the watch's next whole interval does, so that all flow logs of a VPC are due together.
    pub fn begin(log: Arc<FlowLog>, anchor_ms: i64, now_ms: i64, interval_ms: i64) -> Self {
        let since_ms = (now_ms - anchor_ms).max(0);
        let due_ms = anchor_ms + (since_ms / interval_ms + 1) * interval_ms;
        Self {
            format: Format::of(&log.fields),
            log,
            started_ms: now_ms,
            due_ms,
            partial: due_ms - now_ms < interval_ms,
            interfaces: HashMap::new(),
            flows: 0,
        }
    }

    /// Goes on from now.
    pub fn turn(&mut self, now_ms: i64, interval_ms: i64) {
        self.started_ms = now_ms;
        self.partial = false;
        while self.due_ms <= now_ms {
            self.due_ms += interval_ms;
        }
    }

    /// Whether it wants flows of that kind.
    fn wants(&self, flow: &Flow) -> bool {
        match self.log.traffic {
            FlowLogTraffic::All => true,
            FlowLogTraffic::Accept => !flow.rejected,
            FlowLogTraffic::Reject => flow.rejected,
        }
    }

    pub fn add(&mut self, eni_id: &EniId, observation: &Observation) {
        if !self.wants(&observation.flow) {
            return;
        }
        let gathered = gathered(&mut self.interfaces, eni_id);
        let is_full = gathered.flows.len() + gathered.told >= MOST_RECORDS;
        match gathered.flows.get_mut(&observation.flow) {
            Some(sums) => sums.add(&observation.sums),
            None if is_full => gathered.skipped = true,
            None => {
                gathered.flows.insert(observation.flow, observation.sums);
                self.flows += 1;
            }
        }
    }

    /// Something of that interface was lost.
    pub fn skip(&mut self, eni_id: &EniId) {
        gathered(&mut self.interfaces, eni_id).skipped = true;
    }

    /// So much was gathered that its flows are told now.
    pub fn is_full(&self) -> bool {
        self.flows >= MOST_FLOWS
    }

    /// The records of one interface, with their times in s. `early`: before the interval is over, flows only.
    pub fn records(
        &mut self,
        facts: &Facts<'_>,
        services: &impl Services,
        now_ms: i64,
        early: bool,
    ) -> Vec<(i64, String)> {
        let (start_s, end_s) = (self.started_ms.div_euclid(1000), now_ms.div_euclid(1000));
        let mut gathered = self
            .interfaces
            .remove(&facts.eni.eni_id)
            .unwrap_or_default();
        self.flows -= gathered.flows.len();
        let mut flows: Vec<(Flow, Sums)> = gathered.flows.drain().collect();
        flows.sort_unstable_by_key(|(flow, sums)| (sums.start_s, *flow));
        let line = |body| self.format.line(facts, services, body);
        let mut records: Vec<(i64, String)> = flows
            .iter()
            .map(|(flow, sums)| (sums.start_s, line(Body::Flow(flow, sums))))
            .collect();
        if early {
            gathered.told += records.len();
            self.interfaces.insert(facts.eni.eni_id.clone(), gathered);
            return records;
        }
        if gathered.skipped {
            records.push((start_s, line(Body::SkipData { start_s, end_s })));
        } else if records.is_empty() && gathered.told == 0 && !self.partial {
            records.push((start_s, line(Body::NoData { start_s, end_s })));
        }
        records
    }

    /// Whether to keep what it has for an interface whose stream is not there yet: once.
    pub fn hold(&mut self, eni: &Eni) -> bool {
        let gathered = gathered(&mut self.interfaces, &eni.eni_id);
        !std::mem::replace(&mut gathered.held, true)
    }

    pub fn forget(&mut self, eni: &Eni) {
        if let Some(gathered) = self.interfaces.remove(&eni.eni_id) {
            self.flows -= gathered.flows.len();
        }
    }
}

fn gathered<'a>(interfaces: &'a mut HashMap<EniId, Gathered>, eni_id: &EniId) -> &'a mut Gathered {
    if !interfaces.contains_key(eni_id) {
        interfaces.insert(eni_id.clone(), Gathered::default());
    }
    interfaces
        .get_mut(eni_id)
        .expect("it was put there just now")
}
