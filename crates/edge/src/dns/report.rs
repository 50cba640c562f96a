//! Tells the store by which revision answers are given: a row under a lease, so that it says that we live.
//! Runs beside the mirror, so that answers never wait for a store that is away.

use std::sync::Arc;
use std::time::Duration;

use fogbank_store::{LeaseId, Op, Store, StoreError, Txn};
use fogbank_types::status::DnsStatus;
use fogbank_types::{Revision, Row};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a report outlives its writer.
const LEASE_TTL_MS: u64 = 3_000;
const RETRY: Duration = Duration::from_millis(50);

/// The key of a host's report.
pub fn key(host: &str) -> String {
    status(host, 0).key()
}

fn status(host: &str, applied: Revision) -> DnsStatus {
    DnsStatus {
        host: host.to_owned(),
        applied,
    }
}

/// Reports each revision that comes, or the newest of them, until the sender is gone.
pub async fn report(store: Arc<dyn Store>, host: String, mut applied: watch::Receiver<Revision>) {
    let mut lease = None;
    while applied.changed().await.is_ok() {
        loop {
            let revision = *applied.borrow_and_update();
            match write(&store, &mut lease, &status(&host, revision)).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "the report is tried again");
                    // A store that was started anew does not know the lease.
                    lease = None;
                    sleep(RETRY).await;
                }
            }
        }
    }
}

async fn write(
    store: &Arc<dyn Store>,
    lease: &mut Option<LeaseId>,
    status: &DnsStatus,
) -> Result<(), StoreError> {
    let lease = match *lease {
        Some(lease) => lease,
        None => *lease.insert(store.lease_grant(LEASE_TTL_MS).await?),
    };
    let value = serde_json::to_vec(status).expect("a status has only text and numbers");
    let put = Op::put_leased(status.key(), value, lease);
    // Without conditions there is no conflict.
    store.txn(Txn::of(vec![put])).await.map(|_| ())
}
