//! Hands what was measured to the control plane: a row under a lease, which the next report replaces.

use std::sync::Arc;
use std::time::Duration;

use fogbank_store::{LeaseId, Op, Store, StoreError, Txn};
use fogbank_types::Row;
use fogbank_types::metric::MetricReport;
use tokio::time::sleep;

const LEASE_TTL_MS: u64 = 10_000;
const RETRY: Duration = Duration::from_millis(100);
const TRIES: usize = 50;

pub struct Reporter {
    store: Arc<dyn Store>,
    lease: Option<LeaseId>,
}

impl Reporter {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, lease: None }
    }

    /// An empty report is none. A store that stays away takes the period's data with it.
    pub async fn put(&mut self, report: &MetricReport) {
        if report.data.is_empty() {
            return;
        }
        for _ in 0..TRIES {
            match self.put_once(report).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "a report of metrics is tried again");
                    self.lease = None;
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn put_once(&mut self, report: &MetricReport) -> Result<(), StoreError> {
        let lease = match self.lease {
            Some(lease) => lease,
            None => *self
                .lease
                .insert(self.store.lease_grant(LEASE_TTL_MS).await?),
        };
        let value = serde_json::to_vec(report).expect("a report has only text and numbers");
        let put = Op::put_leased(report.key(), value, lease);
        self.store.txn(Txn::of(vec![put])).await.map(|_| ())
    }
}
