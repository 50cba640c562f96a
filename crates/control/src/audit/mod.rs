//! The trail: every call, by whom, and what came of it, as CloudTrail's events on disk.
//!
//! The endpoint hands in one event for each call, allowed or not; LookupEvents (`api/cloudtrail`) reads them. A folder for
//! each account and region: `<data>/trail/<account>/<region>`. What must stay true: no secret is in an event (see
//! [`event`]); what is kept is bounded by age and by size; a call waits for the trail only while its queue is full.

mod event;

pub use event::{Seen, parameters};

use fogbank_store::log::{LogError, Writer, remove_before, summarise};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Events on their way to the disk.
const QUEUE: usize = 4096;
/// Events that are written in one go.
const BATCH: usize = 512;
/// Accounts and regions whose segments are open at the same time.
const WRITERS_MAX: usize = 32;
/// CloudTrail keeps its event history that long.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html>
const KEPT_MS: i64 = 90 * 86_400_000;
/// And an account and region have this much of the disk at most, and one segment.
const KEPT_BYTES: u64 = 64 << 20;
/// Events of one account and region between two looks at what may go.
const LOOK_EVERY: usize = 10_000;

/// One event for one folder.
#[derive(Debug)]
struct Entry {
    folder: PathBuf,
    at_ms: i64,
    text: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Trail {
    data_dir: PathBuf,
    queue: mpsc::Sender<Entry>,
}

/// Where the events of an account and region are.
pub fn folder(data_dir: &Path, account: &str, region: &str) -> PathBuf {
    // Regions come from requests: nothing but a name becomes a folder.
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let name = |text: &str| text.bytes().all(is_name) && !text.is_empty() && text.len() < 64;
    let part = |text: &str| {
        if name(text) {
            text.to_owned()
        } else {
            "other".to_owned()
        }
    };
    data_dir
        .join("trail")
        .join(part(account))
        .join(part(region))
}

impl Trail {
    /// Begins to write, on a thread of its own, until the last clone is gone.
    pub fn start(data_dir: &Path) -> Self {
        let (queue, mut entries) = mpsc::channel::<Entry>(QUEUE);
        tokio::task::spawn_blocking(move || {
            let mut pen = Pen::default();
            let mut batch = Vec::with_capacity(BATCH);
            while entries.blocking_recv_many(&mut batch, BATCH) > 0 {
                pen.write(std::mem::take(&mut batch));
            }
        });
        Self {
            data_dir: data_dir.to_owned(),
            queue,
        }
    }

    pub async fn record(&self, seen: Seen) {
        let entry = Entry {
            folder: folder(&self.data_dir, &seen.party.account, &seen.region),
            at_ms: seen.at.0,
            text: event::text(&seen),
        };
        if self.queue.send(entry).await.is_err() {
            tracing::error!("a call is missing in the trail: nobody writes it");
        }
    }
}

#[derive(Default)]
struct Pen {
    writers: HashMap<PathBuf, (Writer, usize)>,
}

impl Pen {
    fn write(&mut self, batch: Vec<Entry>) {
        let mut folders: HashMap<PathBuf, Vec<(i64, String)>> = HashMap::new();
        for entry in batch {
            let events = folders.entry(entry.folder).or_default();
            events.push((entry.at_ms, entry.text));
        }
        for (folder, events) in folders {
            if let Err(error) = self.write_folder(&folder, &events) {
                let count = events.len();
                tracing::error!(%error, count, "calls are missing in the trail");
                self.writers.remove(&folder);
            }
        }
    }

    fn write_folder(&mut self, folder: &Path, events: &[(i64, String)]) -> Result<(), LogError> {
        if !self.writers.contains_key(folder) {
            if self.writers.len() >= WRITERS_MAX {
                self.writers.clear();
            }
            let writer = Writer::open(folder)?;
            self.writers.insert(folder.to_owned(), (writer, LOOK_EVERY));
        }
        let Some((writer, count)) = self.writers.get_mut(folder) else {
            return Ok(());
        };
        let now_ms = events.iter().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
        let lines = events.iter().map(|(at_ms, text)| (*at_ms, text.as_bytes()));
        writer.append_all(now_ms, lines)?;
        *count += events.len();
        if *count >= LOOK_EVERY {
            *count = 0;
            shorten(folder, now_ms, KEPT_BYTES)?;
        }
        Ok(())
    }
}

/// Lets go of what is too old, and of the oldest quarter of what is too much.
fn shorten(folder: &Path, now_ms: i64, bytes_max: u64) -> Result<(), LogError> {
    remove_before(folder, now_ms - KEPT_MS)?;
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
    if sizes.sum::<u64>() > bytes_max {
        let summary = summarise(folder)?;
        if let (Some(first), Some(last)) = (summary.first_timestamp_ms, summary.last_timestamp_ms) {
            remove_before(folder, first + (last - first) / 4)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_trails_folder() {
        let data = Path::new("/data");
        assert_eq!(
            folder(data, "000000000000", "us-east-1"),
            data.join("trail/000000000000/us-east-1")
        );
        for odd in ["..", "a/b", "", "."] {
            assert_eq!(
                folder(data, "000000000000", odd),
                data.join("trail/000000000000/other"),
                "{odd}"
            );
        }
    }
}
