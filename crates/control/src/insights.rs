//! Queries of CloudWatch Logs Insights that are at work or have ended: who asks for results finds them here.
//!
//! Kept in memory: a restart forgets them. What must stay true: the number of queries and the size of their results are
//! bounded; the oldest are forgotten first.

use fogbank_types::{Scope, Timestamp};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Queries at work of an account in a region.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
pub const RUNNING_MAX: usize = 100;
const KEPT_MAX: usize = 1_000;
const RESULT_BYTES_MAX: usize = 256 << 20;

/// Columns and values of a row.
pub type ResultRow = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Running,
    Complete,
    Failed,
    Cancelled,
    Timeout,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Timeout => "Timeout",
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    pub groups: u64,
    pub events: u64,
    pub bytes: u64,
    pub matched: u64,
}

/// A query that was asked.
#[derive(Debug)]
pub struct Asked {
    pub id: String,
    pub scope: Scope,
    pub groups: Vec<String>,
    pub text: String,
    pub started_at: Timestamp,
    pub by: String,
    stopped: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// How far a query has come.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub status: Status,
    pub scanned: Scanned,
    pub rows: Arc<Vec<ResultRow>>,
    pub ended_at: Option<Timestamp>,
    bytes: usize,
}

impl Asked {
    pub fn new(
        id: String,
        scope: Scope,
        groups: Vec<String>,
        text: String,
        started_at: Timestamp,
        by: String,
    ) -> Self {
        Self {
            id,
            scope,
            groups,
            text,
            started_at,
            by,
            stopped: AtomicBool::new(false),
            outcome: Mutex::new(Outcome {
                status: Status::Running,
                scanned: Scanned::default(),
                rows: Arc::default(),
                ended_at: None,
                bytes: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn outcome(&self) -> Outcome {
        self.lock().clone()
    }

    pub fn progress(&self, scanned: Scanned) {
        self.lock().scanned = scanned;
    }

    /// Keeps the result, unless the query was stopped meanwhile.
    pub fn end(&self, status: Status, rows: Vec<ResultRow>, at: Timestamp) {
        let bytes = rows
            .iter()
            .flatten()
            .map(|(name, value)| name.len() + value.len() + 48);
        let bytes = bytes.sum();
        let mut outcome = self.lock();
        if outcome.status == Status::Running {
            (outcome.status, outcome.rows, outcome.bytes) = (status, Arc::new(rows), bytes);
            outcome.ended_at = Some(at);
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// False: it had ended.
    pub fn stop(&self, at: Timestamp) -> bool {
        self.stopped.store(true, Ordering::Relaxed);
        let running = self.lock().status == Status::Running;
        self.end(Status::Cancelled, Vec::new(), at);
        running
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queries(Mutex<VecDeque<Arc<Asked>>>);

impl Queries {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Asked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a query in; false: too many are at work.
    pub fn add(&self, asked: Arc<Asked>) -> bool {
        let mut all = self.lock();
        let running = all
            .iter()
            .filter(|other| other.scope == asked.scope && other.lock().status == Status::Running);
        if running.count() >= RUNNING_MAX {
            return false;
        }
        all.push_back(asked);
        let mut bytes: usize = all.iter().map(|asked| asked.lock().bytes).sum();
        while all.len() > KEPT_MAX || bytes > RESULT_BYTES_MAX {
            // One at work ends with nobody to ask for it.
            let Some(oldest) = all.pop_front() else { break };
            bytes -= oldest.lock().bytes;
        }
        true
    }

    pub fn get(&self, scope: &Scope, id: &str) -> Option<Arc<Asked>> {
        let all = self.lock();
        all.iter()
            .find(|asked| asked.scope == *scope && asked.id == id)
            .cloned()
    }

    /// Newest first.
    pub fn of(&self, scope: &Scope) -> Vec<Arc<Asked>> {
        let all = self.lock();
        all.iter()
            .rev()
            .filter(|asked| asked.scope == *scope)
            .cloned()
            .collect()
    }

    /// Stops and forgets all.
    pub fn clear(&self) {
        for asked in self.lock().drain(..) {
            asked.stop(asked.started_at);
        }
    }
}
