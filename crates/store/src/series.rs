//! Series of observations: what CloudWatch keeps of metrics, apart from the rows.
//!
//! Called by `control` alone. Each observation is added at once to a bucket of every tier: 60 s, 300 s and 3,600 s, and
//! 1 s for those of high resolution; a tier forgets after AWS's time. So there is no roll-up to run or to fall behind,
//! and reading a period reads the coarsest tier that fits into it.
//!
//! The buckets are in a redb file, whose tree bears a torn write and whose cache bounds the memory; the names of the
//! series alone are in memory. An `add` is seen by the next read and is on the disk after the next [`SeriesStore::sync`],
//! which its owner calls once a second. Why so: `docs/decisions/0019-metrics.md`.

mod names;
mod point;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use fogbank_types::metric::StatisticSet;
use redb::backends::InMemoryBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use names::Names;
pub use names::{Series, SeriesName};

/// A bucket's series, tier and start in seconds.
type Place = (u64, u8, u32);

const POINTS: TableDefinition<Place, &[u8]> = TableDefinition::new("points");
/// Series number -> (its name as JSON, when it was last observed in ms).
const SERIES: TableDefinition<u64, (&str, i64)> = TableDefinition::new("series");
/// Source -> the last report of it that was taken in.
const MARKS: TableDefinition<&str, i64> = TableDefinition::new("marks");

const CACHE_BYTES: usize = 32 << 20;
/// A region with more series is out of hand: their names are in memory.
pub const SERIES_MAX: usize = 200_000;

/// AWS's resolutions and how long each is kept.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    number: u8,
    pub seconds: i64,
    pub kept_s: i64,
}

pub const TIERS: [Tier; 4] = [
    Tier {
        number: 0,
        seconds: 1,
        kept_s: 3 * 3_600,
    },
    Tier {
        number: 1,
        seconds: 60,
        kept_s: 15 * 86_400,
    },
    Tier {
        number: 2,
        seconds: 300,
        kept_s: 63 * 86_400,
    },
    Tier {
        number: 3,
        seconds: 3_600,
        kept_s: 455 * 86_400,
    },
];

/// Why observations cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    #[error("cannot open the series at {path}: {source}")]
    Open {
        path: String,
        source: Box<redb::Error>,
    },
    #[error("the series cannot be written or read: {0}")]
    File(#[from] Box<redb::Error>),
    #[error("there are {SERIES_MAX} series already")]
    TooMany,
}

fn file(error: impl Into<redb::Error>) -> SeriesError {
    SeriesError::File(Box::new(error.into()))
}

/// Some observations of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub series: SeriesName,
    pub at_ms: i64,
    pub values: StatisticSet,
    /// High resolution: kept by the second for three hours.
    pub fine: bool,
}

/// See the module.
pub struct SeriesStore {
    database: Database,
    names: RwLock<Names>,
    /// Held from the look-up of names to their entry: a series gets one number.
    writer: Mutex<()>,
    dirty: AtomicBool,
}

impl SeriesStore {
    /// Opens the file, or makes it and its folder.
    pub fn open(path: &Path) -> Result<Self, SeriesError> {
        let failed = |source: redb::Error| SeriesError::Open {
            path: path.display().to_string(),
            source: Box::new(source),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(redb::Error::Io(e)))?;
        }
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|e| failed(e.into()))?;
        Self::start(database)
    }

    /// In memory, for a region that keeps nothing.
    pub fn in_memory() -> Result<Self, SeriesError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(InMemoryBackend::new())
            .map_err(file)?;
        Self::start(database)
    }

    fn start(database: Database) -> Result<Self, SeriesError> {
        let write = database.begin_write().map_err(file)?;
        write.open_table(POINTS).map_err(file)?;
        write.open_table(MARKS).map_err(file)?;
        let mut names = Names::default();
        for entry in write
            .open_table(SERIES)
            .map_err(file)?
            .iter()
            .map_err(file)?
        {
            let (number, value) = entry.map_err(file)?;
            let (name, seen_ms) = value.value();
            match serde_json::from_str(name) {
                Ok(name) => names.insert(name, number.value(), seen_ms),
                Err(error) => tracing::error!(%error, name, "a series' name cannot be read"),
            }
        }
        write.commit().map_err(file)?;
        Ok(Self {
            database,
            names: RwLock::new(names),
            writer: Mutex::new(()),
            dirty: AtomicBool::new(false),
        })
    }

    /// A source's last mark.
    pub fn mark(&self, source: &str) -> Result<Option<i64>, SeriesError> {
        let read = self.database.begin_read().map_err(file)?;
        match read.open_table(MARKS) {
            Ok(marks) => Ok(marks.get(source).map_err(file)?.map(|mark| mark.value())),
            // Nothing has been marked yet.
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(file(error)),
        }
    }

    /// Forgets the marks of the sources whose names begin so: they will not come back.
    pub fn forget_marks(&self, prefix: &str) -> Result<(), SeriesError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = self.database.begin_write().map_err(file)?;
        write.set_durability(Durability::None).map_err(file)?;
        {
            let mut marks = write.open_table(MARKS).map_err(file)?;
            let end = format!("{prefix}{}", char::MAX);
            marks
                .retain_in(prefix..end.as_str(), |_, _| false)
                .map_err(file)?;
        }
        write.commit().map_err(file)?;
        self.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Adds observations, all or none. With a mark (a source and the time of its report), only if that time is later
    /// than the source's last: what was reported twice counts once. False if it was not.
    pub fn add(
        &self,
        observations: &[Observation],
        mark: Option<(&str, i64)>,
        now_ms: i64,
    ) -> Result<bool, SeriesError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = self.database.begin_write().map_err(file)?;
        write.set_durability(Durability::None).map_err(file)?;
        let mut touched = Vec::new();
        {
            if let Some((source, at_ms)) = mark {
                let mut marks = write.open_table(MARKS).map_err(file)?;
                let before = marks.get(source).map_err(file)?.map(|mark| mark.value());
                if before.is_some_and(|before| before >= at_ms) {
                    return Ok(false);
                }
                marks.insert(source, at_ms).map_err(file)?;
            }
            let mut points = write.open_table(POINTS).map_err(file)?;
            let mut series = write.open_table(SERIES).map_err(file)?;
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            let mut next = names.next_number();
            let mut new: std::collections::HashMap<&SeriesName, u64> = Default::default();
            for observation in observations {
                let name = &observation.series;
                let known = names.get(name);
                let number = match known.map(|s| s.number).or(new.get(name).copied()) {
                    Some(number) => number,
                    None if names.len() + new.len() >= SERIES_MAX => {
                        return Err(SeriesError::TooMany);
                    }
                    None => {
                        new.insert(name, next);
                        next += 1;
                        next - 1
                    }
                };
                // Once a minute is enough to tell which series live.
                let seen = known.map_or(i64::MIN, |series| series.seen_ms);
                if observation.at_ms >= seen.saturating_add(60_000) {
                    let text = serde_json::to_string(name).expect("a name is plain data");
                    series
                        .insert(number, (text.as_str(), observation.at_ms))
                        .map_err(file)?;
                    touched.push((name.clone(), number, observation.at_ms));
                }
                for tier in TIERS {
                    let kept = observation.at_ms >= now_ms - tier.kept_s * 1_000;
                    if kept && (tier.seconds > 1 || observation.fine) {
                        let place = place(number, tier, observation.at_ms);
                        join(&mut points, place, &observation.values)?;
                    }
                }
            }
        }
        write.commit().map_err(file)?;
        self.dirty.store(true, Ordering::Release);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        for (name, number, seen_ms) in touched {
            names.insert(name, number, seen_ms);
        }
        Ok(true)
    }

    /// Puts on the disk what was added so far.
    pub fn sync(&self) -> Result<(), SeriesError> {
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let write = self.database.begin_write().map_err(file)?;
        write.commit().map_err(file)
    }

    /// The buckets of one series in a tier, from the one that holds `start_ms` to before `end_ms`, by time. The tier's
    /// retention is kept to by the buckets' age, not by when they were last cleared away.
    pub fn read(
        &self,
        name: &SeriesName,
        tier: Tier,
        (start_ms, end_ms): (i64, i64),
        now_ms: i64,
    ) -> Result<Vec<(i64, StatisticSet)>, SeriesError> {
        let number = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            match names.get(name) {
                Some(series) => series.number,
                None => return Ok(Vec::new()),
            }
        };
        let start_ms = start_ms.max(now_ms - tier.kept_s * 1_000).max(0);
        if end_ms <= start_ms {
            return Ok(Vec::new());
        }
        let first = place(number, tier, start_ms);
        let last = place(number, tier, end_ms - 1);
        let read = self.database.begin_read().map_err(file)?;
        let points = read.open_table(POINTS).map_err(file)?;
        let mut found = Vec::new();
        for entry in points.range(first..=last).map_err(file)? {
            let (place, bytes) = entry.map_err(file)?;
            match point::decode(bytes.value()) {
                Some(values) => found.push((i64::from(place.value().2) * 1_000, values)),
                None => tracing::error!(series = number, "a bucket cannot be read"),
            }
        }
        Ok(found)
    }

    /// The series of an account and region, in the order of their names.
    pub fn list(&self, account: &str, region: &str) -> Vec<(SeriesName, Series)> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.in_scope(account, region)
    }

    /// The series of a metric, one for each unit that it was observed in.
    pub fn units(&self, name: &SeriesName) -> Vec<SeriesName> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.units(name)
    }

    /// Forgets what is past its tier's time, and series without a bucket. Slow: for a quiet moment now and then.
    pub fn expire(&self, now_ms: i64) -> Result<(), SeriesError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let write = self.database.begin_write().map_err(file)?;
        let mut gone = Vec::new();
        {
            let mut points = write.open_table(POINTS).map_err(file)?;
            points
                .retain(|(_, number, start_s), _| {
                    let tier = TIERS.iter().find(|tier| tier.number == number);
                    tier.is_some_and(|tier| {
                        i64::from(start_s) + tier.seconds + tier.kept_s > now_ms / 1_000
                    })
                })
                .map_err(file)?;
            let mut series = write.open_table(SERIES).map_err(file)?;
            let numbers: Vec<u64> = series
                .iter()
                .map_err(file)?
                .filter_map(|entry| entry.ok().map(|(number, _)| number.value()))
                .collect();
            for number in numbers {
                let mut left = points
                    .range((number, 0, 0)..=(number, u8::MAX, u32::MAX))
                    .map_err(file)?;
                if left.next().is_none() {
                    series.remove(number).map_err(file)?;
                    gone.push(number);
                }
            }
        }
        write.commit().map_err(file)?;
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.remove(&gone);
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<(), SeriesError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let write = self.database.begin_write().map_err(file)?;
        write.delete_table(POINTS).map_err(file)?;
        write.delete_table(SERIES).map_err(file)?;
        write.delete_table(MARKS).map_err(file)?;
        write.open_table(POINTS).map_err(file)?;
        write.open_table(SERIES).map_err(file)?;
        write.open_table(MARKS).map_err(file)?;
        write.commit().map_err(file)?;
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Names::default();
        Ok(())
    }

    /// How many buckets there are, of all tiers.
    pub fn buckets(&self) -> Result<u64, SeriesError> {
        let read = self.database.begin_read().map_err(file)?;
        read.open_table(POINTS).map_err(file)?.len().map_err(file)
    }
}

fn place(number: u64, tier: Tier, at_ms: i64) -> Place {
    let start_s = at_ms.div_euclid(1_000 * tier.seconds) * tier.seconds;
    // From 1970 to 2106.
    let start_s = start_s.clamp(0, i64::from(u32::MAX)) as u32;
    (number, tier.number, start_s)
}

fn join(
    points: &mut redb::Table<'_, Place, &[u8]>,
    place: Place,
    values: &StatisticSet,
) -> Result<(), SeriesError> {
    let mut all = match points.get(place).map_err(file)? {
        Some(bytes) => point::decode(bytes.value()).unwrap_or_default(),
        None => StatisticSet::default(),
    };
    all.join(values);
    points
        .insert(place, point::encode(&all).as_slice())
        .map_err(file)?;
    Ok(())
}
