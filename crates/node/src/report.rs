//! What this host tells: status rows on their way to the store.
//!
//! Tasks and the agent hand rows over without waiting; one writer sends them in order, many in a transaction when they come
//! faster than the store takes them. What must stay true: of rows with one key the newest counts; nothing is lost while
//! the store is away; a row under the host's lease is put again when the lease was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fogbank_store::{LeaseId, Op, Store, StoreError, Txn};
use fogbank_types::Row;
use fogbank_types::status::HostStatus;
use tokio::sync::{mpsc, oneshot};

/// A host that is silent this long is not alive.
const LEASE_TTL_MS: u64 = 10_000;
const RETRY: Duration = Duration::from_millis(50);
/// Rows of one transaction at most; the store's limit is in bytes and far above it.
const BATCH_ROWS: usize = 200;

enum Said {
    /// A row's key and its bytes, and who wants to know when it is stored.
    Row(String, Arc<[u8]>, Option<oneshot::Sender<()>>),
    Host(HostStatus),
    /// The same as `Row`, under the host's lease.
    Leased(String, Arc<[u8]>, oneshot::Sender<()>),
}

/// The handle that everyone shares.
#[derive(Clone)]
pub struct Reporter {
    queue: mpsc::UnboundedSender<Said>,
}

impl Reporter {
    /// Starts the writer in the current runtime. It ends with the last handle.
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (queue, said) = mpsc::unbounded_channel();
        tokio::spawn(write(store, said));
        Self { queue }
    }

    /// Puts a row.
    pub fn put<T: Row>(&self, row: &T) {
        let _ = self.queue.send(Said::Row(row.key(), encode(row), None));
    }

    /// Puts a row and waits until it is durable, however long that takes.
    pub async fn put_durably<T: Row>(&self, row: &T) {
        let (stored, heard) = oneshot::channel();
        let _ = self
            .queue
            .send(Said::Row(row.key(), encode(row), Some(stored)));
        let _ = heard.await;
    }

    /// Puts a row that is gone when the host is; waits until it is stored.
    pub async fn put_leased<T: Row>(&self, row: &T) {
        let (stored, heard) = oneshot::channel();
        let _ = self
            .queue
            .send(Said::Leased(row.key(), encode(row), stored));
        let _ = heard.await;
    }

    /// Puts the host's own row, under its lease: also an unchanged one, which may have died with an earlier lease.
    pub fn host(&self, status: HostStatus) {
        let _ = self.queue.send(Said::Host(status));
    }
}

fn encode<T: Row>(row: &T) -> Arc<[u8]> {
    serde_json::to_vec(row)
        .expect("rows have string keys only")
        .into()
}

async fn write(store: Arc<dyn Store>, mut said: mpsc::UnboundedReceiver<Said>) {
    let mut lease = None;
    let mut host: Option<HostStatus> = None;
    while let Some(first) = said.recv().await {
        let mut rows: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        let mut leased: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        let mut waiting = Vec::new();
        let mut host_changed = false;
        let mut next = Some(first);
        while let Some(one) = next {
            match one {
                Said::Row(key, value, stored) => {
                    rows.insert(key, value);
                    waiting.extend(stored);
                }
                Said::Leased(key, value, stored) => {
                    leased.insert(key, value);
                    waiting.push(stored);
                }
                Said::Host(status) => {
                    host_changed = true;
                    host = Some(status);
                }
            }
            next = (rows.len() < BATCH_ROWS)
                .then(|| said.try_recv().ok())
                .flatten();
        }
        let mut ops: Vec<Op> = rows
            .into_iter()
            .map(|(key, value)| Op::put(key, value))
            .collect();
        if !leased.is_empty() {
            let lease = held(&store, &mut lease).await;
            let leased = leased.into_iter();
            ops.extend(leased.map(|(key, value)| Op::put_leased(key, value, lease)));
        }
        if let Some(status) = host.as_ref().filter(|_| host_changed) {
            let lease = held(&store, &mut lease).await;
            ops.push(Op::put_leased(status.key(), encode(status), lease));
        }
        if !ops.is_empty() {
            commit(&store, ops, &mut lease).await;
        }
        for stored in waiting {
            let _ = stored.send(());
        }
    }
}

/// The host's lease; granted when there is none.
async fn held(store: &Arc<dyn Store>, lease: &mut Option<LeaseId>) -> LeaseId {
    loop {
        if let Some(lease) = lease {
            return *lease;
        }
        match store.lease_grant(LEASE_TTL_MS).await {
            Ok(granted) => *lease = Some(granted),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn commit(store: &Arc<dyn Store>, mut ops: Vec<Op>, lease: &mut Option<LeaseId>) {
    loop {
        match store.txn(Txn::of(ops.clone())).await {
            Ok(_) => return,
            // The store was started anew or did not hear from us for long: under a new lease, then.
            Err(StoreError::LeaseNotFound(lost)) => {
                *lease = None;
                let new = held(store, lease).await;
                for op in &mut ops {
                    if let Op::Put {
                        lease: Some(under), ..
                    } = op
                        && *under == lost
                    {
                        *under = new;
                    }
                }
            }
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                // A full disk on the store's side may pass; a row that can never be stored must not block the others.
                tracing::error!(%error, rows = ops.len(), "status rows are refused");
                if matches!(error, StoreError::TooLarge { .. } | StoreError::EmptyKey) {
                    return;
                }
                tokio::time::sleep(RETRY * 10).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_store::Memory;

    fn status(applied: u64) -> HostStatus {
        HostStatus {
            host: "h".into(),
            applied,
            alarms: vec![],
        }
    }

    #[tokio::test]
    async fn rows_are_stored_and_the_host_is_leased() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let reporter = Reporter::start(Arc::clone(&store));
        reporter.host(status(1));
        reporter.host(status(2));
        // Any row will do as one without a lease.
        reporter.put_durably(&status(3)).await;
        let entry = store.get(&status(0).key()).await.unwrap().unwrap();
        assert!(entry.lease.is_some() || entry.value.windows(3).any(|w| w == b":3,"));
    }

    #[tokio::test]
    async fn a_lost_lease_is_replaced() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let reporter = Reporter::start(Arc::clone(&store));
        reporter.host(status(1));
        let entry = loop {
            if let Some(entry) = store.get(&status(0).key()).await.unwrap() {
                break entry;
            }
            tokio::task::yield_now().await;
        };
        store.revoke(entry.lease.unwrap()).await.unwrap();
        assert!(store.get(&status(0).key()).await.unwrap().is_none());
        reporter.host(status(2));
        let again = loop {
            if let Some(entry) = store.get(&status(0).key()).await.unwrap() {
                break entry;
            }
            tokio::task::yield_now().await;
        };
        assert_ne!(again.lease, entry.lease);
    }
}
