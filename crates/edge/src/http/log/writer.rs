//! The thread that makes files of lines: gzip, one file for each log and period, renamed into its bucket when
//! the period is over. Started by `ring`.
//!
//! A file grows in a folder of its process (`<data>/log-delivery/<interface>.<pid>`) member by member, so that
//! what a killed process leaves is whole but for its last second; the next process of the interface delivers it.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::gzip;
use super::ring::{Chunk, Home, Stream};
use crate::http::clock::civil_date;
use crate::http::table::Table;

/// Lines wait for each other this long or until there are so many, to be compressed together.
const BATCH_TIME: Duration = Duration::from_secs(1);
const BATCH_BYTES: usize = 512 * 1024;
/// "The load balancer can deliver multiple logs for the same period."
const FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Trouble with the disk is told this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Where the lines of one log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    bucket: String,
    prefix: Option<String>,
    account: String,
    region: String,
    /// `app/<name>/<id>`
    load_balancer: String,
    address: Option<IpAddr>,
    period_ms: u64,
}

impl Destination {
    /// None: the log is off, or its place could lead out of the buckets.
    pub fn of(table: &Table, stream: Stream, home: &Home) -> Option<Self> {
        let attributes = &table.attributes;
        let log = match stream {
            Stream::Access => &attributes.access_log,
            Stream::Connection => &attributes.connection_log,
            Stream::HealthCheck => &attributes.health_check_log,
        };
        let log = log.as_ref()?;
        let destination = Self {
            bucket: log.bucket.clone(),
            prefix: log.prefix.clone(),
            account: table.identity.account.clone(),
            region: table.identity.region.clone(),
            load_balancer: table.load_balancer.clone(),
            address: table.identity.address,
            period_ms: table.identity.log_period_ms.max(1),
        };
        let inside = is_inside(Path::new(&destination.bucket))
            && is_inside(&destination.key(stream, 0, "x"));
        if !inside {
            tracing::warn!(
                bucket = log.bucket,
                eni = home.eni,
                "a log has no proper place and is not written"
            );
        }
        inside.then_some(destination)
    }

    /// `<bucket>/[<prefix>/]AWSLogs/<account>`
    fn root(&self) -> PathBuf {
        let mut root = PathBuf::from(&self.bucket);
        root.extend(
            self.prefix
                .as_deref()
                .map(|prefix| prefix.trim_end_matches('/')),
        );
        root.extend(["AWSLogs", &self.account]);
        root
    }

    /// "Access log files": the name of the file whose period ends at this time.
    fn key(&self, stream: Stream, end_s: u64, random: &str) -> PathBuf {
        let (year, month, day) = civil_date(end_s / 86_400);
        let (hour, minute) = (end_s / 3600 % 24, end_s / 60 % 60);
        let kind = match stream {
            Stream::Access => "",
            Stream::Connection => "conn_log_",
            Stream::HealthCheck => "health_check_log_",
        };
        let (account, region) = (&self.account, &self.region);
        let load_balancer = self.load_balancer.replace('/', ".");
        let address = self.address.map_or("-".to_owned(), |ip| ip.to_string());
        self.root().join(format!(
            "elasticloadbalancing/{region}/{year:04}/{month:02}/{day:02}/{kind}{account}_elasticloadbalancing_\
             {region}_{load_balancer}_{year:04}{month:02}{day:02}T{hour:02}{minute:02}Z_{address}_{random}.log.gz"
        ))
    }

    /// When the period of this moment is over, in ms.
    fn period_end_ms(&self, now_ms: u64) -> u64 {
        (now_ms / self.period_ms + 1) * self.period_ms
    }
}

/// Below the folder it is joined to, whatever it is made of.
fn is_inside(key: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(name) if !name.as_encoded_bytes().contains(&0));
    key.components().all(plain) && key.components().count() > 0
}

/// Writes until the senders are gone, and delivers all then.
pub fn run(home: &Home, chunks: &Receiver<Chunk>, used: &SyncSender<Vec<u8>>, dropped: &AtomicU64) {
    let mut writer = Writer {
        buckets: home.data_folder.join("buckets"),
        parts: home.data_folder.join("log-delivery").join(format!(
            "{}.{}",
            home.eni,
            std::process::id()
        )),
        held: None,
        files: [const { None }; 3],
        dropped,
        told_at: None,
        told: 0,
    };
    writer.hold();
    writer.deliver_remains(&home.eni);
    loop {
        let next = match chunks.recv_timeout(BATCH_TIME / 2) {
            Ok(mut chunk) => {
                writer.take(&chunk);
                chunk.bytes.clear();
                // Nobody needs more of them.
                let _ = used.try_send(std::mem::take(&mut chunk.bytes));
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        writer.turn(!next);
        if !next {
            break;
        }
    }
    let _ = fs::remove_file(writer.parts.join("lock"));
    // What is still there could not be delivered before; if it can't be now the next process tries again.
    let _ = deliver_tree(&writer.parts, &writer.parts, &writer.buckets);
}

struct Writer<'d> {
    buckets: PathBuf,
    parts: PathBuf,
    /// The lock of our folder.
    held: Option<File>,
    files: [Option<Growing>; 3],
    dropped: &'d AtomicU64,
    told_at: Option<Instant>,
    told: u64,
}

/// A file before its delivery.
struct Growing {
    stream: Stream,
    destination: Arc<Destination>,
    end_ms: u64,
    /// Below the folder of parts now and below the buckets later.
    key: PathBuf,
    file: Option<File>,
    length: u64,
    batch: Vec<u8>,
    batch_lines: u64,
    batch_since: Instant,
}

impl Writer<'_> {
    /// Makes our folder, and keeps others from taking what is in it.
    fn hold(&mut self) {
        let held = fs::create_dir_all(&self.parts)
            .and_then(|()| File::create(self.parts.join("lock")))
            .and_then(|file| {
                Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file)?)
            });
        match held {
            Ok(file) => self.held = Some(file),
            Err(error) => {
                tracing::warn!(%error, path = %self.parts.display(), "no folder for log files")
            }
        }
    }

    fn take(&mut self, chunk: &Chunk) {
        let place = chunk.stream as usize;
        let known = self.files[place].as_ref();
        if known.is_none_or(|growing| *growing.destination != *chunk.destination) {
            self.deliver(place);
            self.announce(chunk.stream, &chunk.destination);
            self.files[place] = Some(Growing::new(chunk.stream, chunk.destination.clone()));
        }
        let Some(growing) = &mut self.files[place] else {
            return;
        };
        if growing.batch.is_empty() {
            growing.batch_since = Instant::now();
        }
        growing.batch.extend_from_slice(&chunk.bytes);
        growing.batch_lines += chunk.lines;
    }

    /// Compresses what waited long enough, delivers what is due.
    fn turn(&mut self, is_last: bool) {
        let now_ms = unix_ms(SystemTime::now());
        for place in 0..self.files.len() {
            let Some(growing) = &mut self.files[place] else {
                continue;
            };
            let due = is_last || now_ms >= growing.end_ms;
            let waited =
                growing.batch_since.elapsed() >= BATCH_TIME || growing.batch.len() >= BATCH_BYTES;
            if !growing.batch.is_empty() && (due || waited) {
                let lines = std::mem::take(&mut growing.batch_lines);
                if let Err(error) = growing.compress(&self.parts) {
                    self.dropped.fetch_add(lines, Ordering::Relaxed);
                    tracing::debug!(%error, "a log file cannot be written");
                }
            }
            let full = self.files[place]
                .as_ref()
                .is_some_and(|growing| growing.length > FILE_MAX_BYTES);
            if due || full {
                self.deliver(place);
            }
        }
        self.tell();
    }

    /// Moves a file to its bucket and begins the next.
    fn deliver(&mut self, place: usize) {
        let Some(growing) = self.files[place].take() else {
            return;
        };
        if !growing.batch.is_empty() {
            // Its destination has changed before its batch was full.
            let mut growing = growing;
            let lines = std::mem::take(&mut growing.batch_lines);
            if growing.compress(&self.parts).is_err() {
                self.dropped.fetch_add(lines, Ordering::Relaxed);
                growing.batch.clear();
            }
            self.files[place] = Some(growing);
            return self.deliver(place);
        }
        let next = Growing::new(growing.stream, growing.destination.clone());
        if let Some(file) = growing.file {
            let from = self.parts.join(&growing.key);
            let moved = file
                .sync_data()
                .and_then(|()| deliver(&from, &self.buckets.join(&growing.key)));
            if let Err(error) = moved {
                tracing::warn!(%error, key = %growing.key.display(), "a log file cannot be delivered; it is kept");
            }
        }
        self.files[place] = Some(next);
    }

    /// "Elastic Load Balancing creates a test file": whoever looks knows that the place is right.
    fn announce(&self, stream: Stream, destination: &Destination) {
        let name = match stream {
            Stream::Access => "ELBAccessLogTestFile",
            Stream::Connection => "ELBConnectionLogTestFile",
            Stream::HealthCheck => "ELBHealthCheckLogTestFile",
        };
        let root = self.buckets.join(destination.root());
        let path = root.join(name);
        let text = format!(
            "Enable {stream:?}Log for ELB: {}\n",
            destination.load_balancer
        );
        if !path.exists()
            && let Err(error) = fs::create_dir_all(&root).and_then(|()| fs::write(&path, text))
        {
            tracing::warn!(%error, path = %path.display(), "a log's test file cannot be written");
        }
    }

    /// What processes that are gone left.
    fn deliver_remains(&self, eni: &str) {
        let Some(folder) = self.parts.parent() else {
            return;
        };
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        let of_ours = |path: &PathBuf| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.rsplit_once('.').is_some_and(|(id, _)| id == eni) && *path != self.parts
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(of_ours) {
            let lock = File::open(path.join("lock"));
            let is_free = lock
                .as_ref()
                .is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok());
            if is_free {
                let _ = fs::remove_file(path.join("lock"));
                if let Err(error) = deliver_tree(&path, &path, &self.buckets) {
                    tracing::warn!(%error, path = %path.display(), "log files of an earlier process are left");
                }
            }
        }
    }

    /// Lost lines are told, but not one by one.
    fn tell(&mut self) {
        let lost = self.dropped.load(Ordering::Relaxed);
        let is_time = self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if lost > self.told && is_time {
            tracing::warn!(
                lines = lost - self.told,
                "log lines were dropped: the disk is full or too slow"
            );
            self.told = lost;
            self.told_at = Some(Instant::now());
        }
    }
}

impl Growing {
    fn new(stream: Stream, destination: Arc<Destination>) -> Self {
        let end_ms = destination.period_end_ms(unix_ms(SystemTime::now()));
        let key = destination.key(stream, end_ms / 1000, &random_string());
        Self {
            stream,
            destination,
            end_ms,
            key,
            file: None,
            length: 0,
            batch: Vec::new(),
            batch_lines: 0,
            batch_since: Instant::now(),
        }
    }

    /// Adds the batch as one gzip member. What could not be written whole is not there at all.
    fn compress(&mut self, parts: &Path) -> io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let mut member = Vec::with_capacity(batch.len() / 3);
        gzip::compress(&batch, &mut member);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = parts.join(&self.key);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                self.file
                    .insert(File::options().create_new(true).append(true).open(path)?)
            }
        };
        if let Err(error) = file.write_all(&member) {
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += member.len() as u64;
        // The memory is used again.
        self.batch = batch;
        self.batch.clear();
        Ok(())
    }
}

fn deliver(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(from, to)
}

/// Delivers all files below a folder and removes the folders.
fn deliver_tree(folder: &Path, root: &Path, buckets: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            deliver_tree(&path, root, buckets)?;
        } else if let Ok(key) = path.strip_prefix(root)
            && is_inside(key)
        {
            deliver(&path, &buckets.join(key))?;
        }
    }
    fs::remove_dir(folder)
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Eight letters and digits.
fn random_string() -> String {
    let mut number = RandomState::new().hash_one(std::process::id());
    let mut digit = || {
        let digit = (number % 36) as u8;
        number /= 36;
        char::from(if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        })
    };
    (0..8).map(|_| digit()).collect()
}

#[cfg(test)]
mod tests;
