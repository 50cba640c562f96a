//! Every zone whose queries are logged has its log stream, and its configuration tells the name servers which
//! (docs/flows/query-log.md). A stream that is no longer written to stays, with its events, as on AWS.

use crate::model::Tx;
use crate::model::route53::query_logging;
use fogbank_types::Timestamp;
use fogbank_types::route53::QueryLoggingConfig;
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    let configs = tx.snapshot().query_logging_configs.all();
    let all: Vec<Arc<QueryLoggingConfig>> = configs.cloned().collect();
    for config in all {
        query_logging::keep_stream(tx, &config);
    }
    None
}
