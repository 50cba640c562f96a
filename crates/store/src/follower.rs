//! A mirror's feed: list, then watch, and again from the start whenever the watch breaks. Used by every process that
//! derives something from the rows.
//!
//! What must stay true: applying every batch in order to an empty map gives the store's rows at the batch's revision,
//! however often the server went away in between.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::{Batch, Entry, Event, Revision};
use crate::watch::Watch;

const RETRY_MIN: Duration = Duration::from_millis(5);
/// Short, since a restarted server is to be found soon and a try costs next to nothing.
const RETRY_MAX: Duration = Duration::from_millis(200);

/// Yields every row first, then every change. Never fails: while the store is away, `next` waits and tries again, and
/// the caller keeps the state it has.
pub struct Follower {
    store: Arc<dyn Store>,
    prefixes: Vec<String>,
    known: HashMap<String, Known>,
    /// The newest revision yielded; `None` before the first batch.
    revision: Option<Revision>,
    watch: Option<Watch>,
    retry: Duration,
    away: bool,
}

/// What the caller has been told of a row. The hash is there for a store that keeps nothing: when it is started anew its
/// revisions begin again, and the same revision need not mean the same row.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    revision: Revision,
    hash: u64,
}

impl Known {
    fn of(revision: Revision, value: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self {
            revision,
            hash: hasher.finish(),
        }
    }
}

impl Follower {
    /// Follows all rows.
    pub fn start(store: Arc<dyn Store>) -> Self {
        Self::with_prefixes(store, Vec::new())
    }

    /// Follows the rows whose key starts with one of `prefixes` (with none: all rows).
    pub fn with_prefixes(store: Arc<dyn Store>, prefixes: Vec<String>) -> Self {
        let (known, retry) = (HashMap::new(), RETRY_MIN);
        Self {
            store,
            prefixes,
            known,
            revision: None,
            watch: None,
            retry,
            away: false,
        }
    }

    /// The next batch. The first one holds every row (it comes even if there are none); the ones after it are
    /// transactions, whole, or after a resync the difference to what was yielded before. Safe to cancel.
    pub async fn next(&mut self) -> Batch {
        loop {
            let Some(watch) = &mut self.watch else {
                match self.resync().await {
                    Ok(Some(batch)) => return batch,
                    Ok(None) => {}
                    Err(error) => self.wait(&error).await,
                }
                continue;
            };
            match watch.next().await {
                Ok(batch) => {
                    if let Some(batch) = self.take(batch) {
                        return batch;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a watch broke; listing again");
                    self.watch = None;
                }
            }
        }
    }

    /// Whether the last attempt to reach the store failed.
    pub fn is_away(&self) -> bool {
        self.away
    }

    fn follows(&self, key: &str) -> bool {
        self.prefixes.is_empty()
            || self
                .prefixes
                .iter()
                .any(|prefix| key.starts_with(prefix.as_str()))
    }

    fn take(&mut self, mut batch: Batch) -> Option<Batch> {
        batch.events.retain(|event| self.follows(&event.key));
        for event in &batch.events {
            match &event.value {
                Some(value) => self
                    .known
                    .insert(event.key.clone(), Known::of(batch.revision, value)),
                None => self.known.remove(&event.key),
            };
        }
        self.revision = Some(batch.revision);
        (!batch.events.is_empty()).then_some(batch)
    }

    /// Nothing of `self` changes before the last await, so that a cancelled resync is as if it had not begun.
    async fn resync(&mut self) -> Result<Option<Batch>> {
        let prefix = match &self.prefixes[..] {
            [prefix] => prefix,
            _ => "",
        };
        let (mut entries, revision) = self.store.list(prefix).await?;
        let watch = self.store.watch(revision).await?;
        entries.retain(|entry| self.follows(&entry.key));
        self.watch = Some(watch);
        self.retry = RETRY_MIN;
        self.away = false;
        let events = self.difference(entries);
        let news = !events.is_empty() || self.revision != Some(revision);
        self.revision = Some(revision);
        Ok(news.then_some(Batch { revision, events }))
    }

    /// Deletes come first: what replaces a row under another key must not meet the old one.
    fn difference(&mut self, entries: Vec<Entry>) -> Vec<Event> {
        let mut gone = std::mem::take(&mut self.known);
        let mut puts = Vec::new();
        for Entry {
            key,
            value,
            revision,
            ..
        } in entries
        {
            let known = Known::of(revision, &value);
            if gone.remove(&key) != Some(known) {
                puts.push(Event {
                    key: key.clone(),
                    value: Some(value),
                });
            }
            self.known.insert(key, known);
        }
        let mut events: Vec<Event> = gone
            .into_keys()
            .map(|key| Event { key, value: None })
            .collect();
        events.sort_by(|a, b| a.key.cmp(&b.key));
        events.extend(puts);
        events
    }

    async fn wait(&mut self, error: &StoreError) {
        // Compacted between list and watch: only a store with hardly any history does that. List again, soon.
        self.away |= !matches!(error, StoreError::Compacted { .. });
        let wait = self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
        // Once, and not for a server that is just starting.
        if wait < RETRY_MAX && self.retry == RETRY_MAX {
            tracing::warn!(%error, "the store is away; going on with the last known state");
        }
        tokio::time::sleep(wait).await;
    }
}
