//! Query logs: what was asked of public zones whose owner wants to know, as lines in CloudWatch Logs.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/query-logs.html>
//!
//! `tables` says which zones, `responder` hands over what it answered, a thread of its own writes. What must stay true: an
//! answer never waits for a log. What comes faster than it is written is dropped and counted; a full disk costs lines, and
//! nothing else.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use fogbank_store::log::Writer;
use fogbank_types::route53::EDGE_LOCATION;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::asker::Subnet;
use super::kind::Kind;
use super::name::Name;
use super::responder::{Counters, Transport};
use super::tables::Code;
use crate::http::clock::civil_date;

/// Of the lines, not of their layout.
const VERSION: &str = "1.0";
/// Queries that wait for the writer: as many as come in one [`PAUSE`] at 160,000 a second.
const QUEUE: usize = 8_192;
/// The writer gathers for so long. Its sleep also means that not every query has to wake it up.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the end of the process waits for the last lines.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// Where a zone's queries are written.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct QueryLog {
    pub zone_id: String,
    /// Of the log stream: the name of its folder.
    pub stream_uid: String,
}

/// A question and what became of it.
#[derive(Debug)]
pub struct Entry {
    pub log: Arc<QueryLog>,
    pub time_ms: i64,
    pub name: Name,
    pub kind: Kind,
    pub code: Code,
    pub transport: Transport,
    pub resolver: IpAddr,
    pub subnet: Option<Subnet>,
}

/// The line, in AWS's order of fields.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_string();
        let name = match name.as_str() {
            "." => ".",
            other => other.trim_end_matches('.'),
        };
        let code = match self.code {
            Code::NoError => "NOERROR",
            Code::FormErr => "FORMERR",
            Code::ServFail => "SERVFAIL",
            Code::NxDomain => "NXDOMAIN",
            Code::NotImp => "NOTIMP",
            Code::Refused => "REFUSED",
            Code::BadVers => "BADVERS",
        };
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        };
        let (time, zone) = (Iso8601(self.time_ms), &self.log.zone_id);
        let (kind, resolver) = (self.kind, self.resolver.to_canonical());
        write!(
            f,
            "{VERSION} {time} {zone} {name} {kind} {code} {transport} {EDGE_LOCATION} {resolver} "
        )?;
        match self.subnet {
            Some(subnet) => write!(f, "{}/{}", subnet.address, subnet.source),
            None => f.write_str("-"),
        }
    }
}

/// `2017-12-13T08:16:02.130Z`.
struct Iso8601(i64);

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0).unwrap_or(0);
        let (year, month, day) = civil_date(ms / 86_400_000);
        let (hour, minute) = (ms / 3_600_000 % 24, ms / 60_000 % 60);
        let (second, ms) = (ms / 1_000 % 60, ms % 1_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

enum Job {
    Tell(Box<Entry>),
    Finish(oneshot::Sender<()>),
}

/// The servers' handle.
#[derive(Clone)]
pub struct QueryLogger {
    jobs: SyncSender<Job>,
    counters: Arc<Counters>,
}

impl QueryLogger {
    /// `logs` is the folder of all streams.
    pub fn start(logs: PathBuf, counters: Arc<Counters>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let counted = Arc::clone(&counters);
        std::thread::Builder::new()
            .name("query-logs".to_owned())
            .spawn(move || write(&logs, &queue, &counted))?;
        Ok(Self { jobs, counters })
    }

    /// Never waits.
    pub fn tell(&self, entry: Entry) {
        if self.jobs.try_send(Job::Tell(Box::new(entry))).is_err() {
            Counters::count(&self.counters.unlogged);
        }
    }

    /// Returns when everything that was told before is written, or after a few seconds.
    pub async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        let end = async {
            let mut job = Job::Finish(done);
            while let Err(TrySendError::Full(back)) = self.jobs.try_send(job) {
                job = back;
                sleep(PAUSE).await;
            }
            let _ = finished.await;
        };
        if timeout(FINISH_WAIT, end).await.is_err() {
            tracing::warn!("query logs are still being written");
        }
    }
}

/// Until the last handle is gone.
fn write(logs: &Path, queue: &Receiver<Job>, counters: &Counters) {
    let mut told = 0;
    while let Ok(first) = queue.recv() {
        if matches!(first, Job::Tell(_)) {
            std::thread::sleep(PAUSE);
        }
        let mut lines: HashMap<Arc<QueryLog>, Vec<(i64, String)>> = HashMap::new();
        let mut finished = Vec::new();
        // Not more than waited at this moment: the rest is next.
        for job in std::iter::once(first).chain(queue.try_iter().take(QUEUE)) {
            match job {
                Job::Tell(entry) => {
                    let line = (entry.time_ms, entry.to_string());
                    lines.entry(entry.log).or_default().push(line);
                }
                Job::Finish(done) => finished.push(done),
            }
        }
        for (log, lines) in lines {
            append(logs, &log.stream_uid, &lines, counters);
        }
        let lost = counters.unlogged.load(Ordering::Relaxed);
        if lost > told {
            tracing::warn!(lines = lost - told, "query logs have gaps");
            told = lost;
        }
        for done in finished {
            // Who waited may have gone.
            let _ = done.send(());
        }
    }
}

fn append(logs: &Path, uid: &str, lines: &[(i64, String)], counters: &Counters) {
    let events = lines.iter().map(|(ms, line)| (*ms, line.as_bytes()));
    let appended =
        Writer::open(&logs.join(uid)).and_then(|mut writer| writer.append_all(now_ms(), events));
    if let Err(error) = appended {
        tracing::warn!(%error, "a query log cannot be written");
        let lost = lines.len() as u64;
        counters.unlogged.fetch_add(lost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_store::log::{Query, Reader, Start};

    fn entry(name: &str) -> Entry {
        Entry {
            log: Arc::new(QueryLog {
                zone_id: "Z123412341234".to_owned(),
                stream_uid: "uid".to_owned(),
            }),
            time_ms: 1_513_152_962_130,
            name: Name::parse(name).unwrap(),
            kind: Kind::A,
            code: Code::NoError,
            transport: Transport::Udp,
            resolver: "192.168.1.1".parse().unwrap(),
            subnet: None,
        }
    }

    #[test]
    fn lines_are_those_of_the_documentation() {
        assert_eq!(
            entry("example.com").to_string(),
            "1.0 2017-12-13T08:16:02.130Z Z123412341234 example.com A NOERROR UDP IAD12 192.168.1.1 -"
        );
        let other = Entry {
            kind: Kind::ANY,
            code: Code::NxDomain,
            transport: Transport::Tcp,
            resolver: "2001:db8::1234".parse().unwrap(),
            subnet: Subnet::read(&[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0xab, 0xcd]),
            ..entry("bad.example.com")
        };
        assert_eq!(
            other.to_string(),
            "1.0 2017-12-13T08:16:02.130Z Z123412341234 bad.example.com ANY NXDOMAIN TCP IAD12 2001:db8::1234 2001:db8:abcd::/48"
        );
    }

    #[tokio::test]
    async fn what_was_told_is_in_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let logger = QueryLogger::start(folder.path().to_owned(), counters.clone()).unwrap();
        logger.tell(entry("a.example.com"));
        logger.tell(entry("b.example.com"));
        logger.finish().await;
        let mut reader = Reader::open(&folder.path().join("uid")).unwrap();
        let page = reader.read(&Query::from(Start::Head)).unwrap();
        let lines: Vec<String> = page
            .events
            .iter()
            .map(|event| String::from_utf8(event.message.clone()).unwrap())
            .collect();
        assert_eq!(
            lines,
            ["a.example.com", "b.example.com"].map(|name| entry(name).to_string())
        );
        assert_eq!(page.events[0].timestamp_ms, 1_513_152_962_130);
        assert_eq!(counters.unlogged.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_comes_too_fast_is_counted_and_nobody_waits() {
        let (jobs, _queue) = sync_channel(1);
        let counters = Arc::new(Counters::default());
        let logger = QueryLogger {
            jobs,
            counters: counters.clone(),
        };
        for _ in 0..3 {
            logger.tell(entry("example.com"));
        }
        assert_eq!(counters.unlogged.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_lines_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let counters = Arc::new(Counters::default());
        let logger = QueryLogger::start(file.path().to_owned(), counters.clone()).unwrap();
        logger.tell(entry("example.com"));
        logger.finish().await;
        assert_eq!(counters.unlogged.load(Ordering::Relaxed), 1);
    }
}
