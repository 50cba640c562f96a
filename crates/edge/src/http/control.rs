//! The control socket of a node process: takes tables, tells health and counts. Used by `process`; `remote`
//! is its other end.
//!
//! Frames are a big-endian u32 length and that much JSON.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use fogbank_types::status::TargetState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::counters::{GroupCounts, NodeCounts};
use super::lock;
use super::process::Keeper;
use super::table::Table;
use super::worker::Worker;

/// A thousand targets and a hundred rules are far below it.
const FRAME_MAX_BYTES: usize = 64 * 1024 * 1024;

/// From the node agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Table(Box<Table>),
    /// Asks for `Event::Counts`; a process that doesn't answer is stuck.
    Count,
    /// Asks for `Event::Report`.
    Report,
    /// What the last `Event::Report` told is stored: it is never told again.
    Reported,
}

/// To the node agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// This table is served, but for ports nobody can listen on at the moment (they are tried again).
    /// Also the first event of a connection, if the process has a table.
    Applied { revision: u64, unbound: Vec<u16> },
    /// Groups whose targets or their health changed; on connect all of them.
    Health(Vec<GroupHealth>),
    /// Since the process started.
    Counts(Box<Counts>),
    /// What no stored report holds yet.
    Report(Box<Counts>),
}

/// All targets of one group, as `fogbank_types::status::TargetHealth` wants them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupHealth {
    /// Its ARN.
    pub target_group: String,
    pub targets: Vec<TargetState>,
}

/// What the node has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub node: NodeCounts,
    /// By ARN.
    pub groups: BTreeMap<String, GroupCounts>,
}

impl Counts {
    /// What came since an earlier moment; gauges as they are now.
    pub fn since(&self, earlier: &Self) -> Self {
        let nothing = GroupCounts::default();
        let since = |(id, group): (&String, &GroupCounts)| {
            let earlier = earlier.groups.get(id).unwrap_or(&nothing);
            (id.clone(), group.since(earlier))
        };
        Self {
            node: self.node.since(&earlier.node),
            groups: self.groups.iter().map(since).collect(),
        }
    }

    /// Adds what somebody else counted.
    pub fn add(&mut self, other: &Self) {
        self.node.add(&other.node);
        for (id, group) in &other.groups {
            self.groups.entry(id.clone()).or_default().add(group);
        }
    }
}

/// Which counts are in a stored report already. One for the process: agents come and go.
#[derive(Debug, Default)]
pub struct Reporting(Mutex<Reported>);

#[derive(Debug, Default)]
struct Reported {
    /// In reports that are stored.
    stored: Counts,
    /// In the report under way.
    told: Counts,
    /// Of predecessors, in no report yet.
    inherited: Counts,
    /// The part of it that is in the report under way.
    inherited_told: bool,
}

impl Reporting {
    pub fn tell(&self, total: Counts) -> Counts {
        let mut reported = lock(&self.0);
        let mut unreported = total.since(&reported.stored);
        unreported.add(&reported.inherited);
        reported.told = total;
        reported.inherited_told = true;
        unreported
    }

    pub fn stored(&self) {
        let mut reported = lock(&self.0);
        reported.stored = std::mem::take(&mut reported.told);
        if std::mem::take(&mut reported.inherited_told) {
            reported.inherited = Counts::default();
        }
    }

    /// What a process that has ended could not report.
    pub fn inherit(&self, counts: &Counts) {
        let mut reported = lock(&self.0);
        reported.inherited.add(counts);
        reported.inherited_told = false;
    }

    /// All that is not stored, for a successor.
    pub fn rest(&self, total: &Counts) -> Counts {
        let reported = lock(&self.0);
        let mut rest = total.since(&reported.stored);
        rest.add(&reported.inherited);
        rest
    }
}

/// Serves one agent until it leaves.
pub async fn serve(worker: Arc<Worker>, keeper: Arc<Keeper>, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut frames = Frames::new(reader);
    let mut epoch = worker.health_epoch();
    let mut told: HashMap<String, Vec<TargetState>> = HashMap::new();
    if let Some(revision) = keeper.revision() {
        write(
            &mut writer,
            &Event::Applied {
                revision,
                unbound: worker.unbound(),
            },
        )
        .await?;
    }
    epoch.mark_changed();
    loop {
        tokio::select! {
            command = frames.next::<Command>() => match command? {
                None => return Ok(()),
                Some(Command::Table(table)) => {
                    worker.apply(&table);
                    keeper.keep(&table);
                    // All is told again: the agent may have dropped what it was told of an earlier table.
                    told.clear();
                    let applied = Event::Applied { revision: table.revision, unbound: worker.unbound() };
                    write(&mut writer, &applied).await?;
                }
                Some(Command::Count) => {
                    write(&mut writer, &Event::Counts(Box::new(worker.counts()))).await?;
                }
                Some(Command::Report) => {
                    // What CloudWatch knows, who reads the totals knows too: they come first, and are those of the report.
                    let total = worker.counts();
                    let unreported = worker.reporting.tell(total.clone());
                    write(&mut writer, &Event::Counts(Box::new(total))).await?;
                    write(&mut writer, &Event::Report(Box::new(unreported))).await?;
                }
                Some(Command::Reported) => worker.reporting.stored(),
            },
            _ = epoch.changed() => {
                epoch.mark_unchanged();
                let health = worker.health();
                told.retain(|group, _| health.iter().any(|now| now.target_group == *group));
                let changed: Vec<_> = health
                    .into_iter()
                    .filter(|now| told.get(&now.target_group) != Some(&now.targets))
                    .collect();
                for group in &changed {
                    told.insert(group.target_group.clone(), group.targets.clone());
                }
                if !changed.is_empty() {
                    write(&mut writer, &Event::Health(changed)).await?;
                }
            }
        }
    }
}

pub async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "frame too long",
        ));
    }
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    writer.write_all(&frame).await
}

/// Reads frames; `next` may be dropped and called again without losing anything.
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
        }
    }

    /// None: the other end has left.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((head, rest)) = self.bytes.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > FRAME_MAX_BYTES {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
                }
                if let Some(frame) = rest.get(..length) {
                    let message = serde_json::from_slice(frame)?;
                    self.bytes.drain(..4 + length);
                    return Ok(Some(message));
                }
            }
            if self.reader.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, of_group: u64) -> Counts {
        let mut counts = Counts::default();
        counts.node.requests = requests;
        counts.node.active_connections = 7;
        let group = GroupCounts {
            requests: of_group,
            ..GroupCounts::default()
        };
        counts.groups.insert("group".into(), group);
        counts
    }

    #[test]
    fn every_request_is_in_one_stored_report() {
        let reporting = Reporting::default();
        assert_eq!(reporting.tell(counts(5, 3)), counts(5, 3));
        // The store was away: all is told again.
        assert_eq!(reporting.tell(counts(6, 4)), counts(6, 4));
        reporting.stored();
        assert_eq!(reporting.tell(counts(6, 4)), counts(0, 0));
        assert_eq!(reporting.tell(counts(9, 5)), counts(3, 1));
        assert_eq!(reporting.rest(&counts(9, 5)), counts(3, 1));
    }

    #[test]
    fn a_successor_reports_what_was_left() {
        let reporting = Reporting::default();
        reporting.tell(counts(1, 1));
        reporting.inherit(&counts(10, 4));
        // Came between question and storing: it is in the next report.
        reporting.stored();
        assert_eq!(reporting.tell(counts(1, 1)), counts(10, 4));
        reporting.stored();
        assert_eq!(reporting.tell(counts(2, 1)), counts(1, 0));
    }

    #[test]
    fn a_group_that_begins_anew_counts_from_nothing() {
        let reporting = Reporting::default();
        reporting.tell(counts(5, 3));
        reporting.stored();
        assert_eq!(
            reporting.tell(counts(6, 1)).groups["group"].requests,
            0,
            "never negative"
        );
    }

    /// Prometheus is served from the totals and CloudWatch from the reports: the second is never ahead of the first.
    #[tokio::test]
    async fn a_report_brings_the_totals_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let worker = Worker::new(std::net::Ipv4Addr::LOCALHOST.into(), 1);
        let keeper = Arc::new(Keeper::new(folder.path().join("table")));
        worker.counters.requests.add(3);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving = tokio::spawn(serve(worker, keeper, theirs));
        let (reader, mut writer) = ours.into_split();
        let mut events = Frames::new(reader);
        write(&mut writer, &Command::Report).await.unwrap();
        let mut requests = Vec::new();
        while !requests.iter().any(|(event, _)| *event == "report") {
            match events.next::<Event>().await.unwrap().unwrap() {
                Event::Counts(total) => requests.push(("total", total.node.requests)),
                Event::Report(unreported) => requests.push(("report", unreported.node.requests)),
                _ => {}
            }
        }
        assert_eq!(requests, [("total", 3), ("report", 3)]);
        drop((events, writer));
        serving.await.unwrap().unwrap();
    }
}
