//! Every interface that a flow log covers has its log stream, so that the host's writer finds where to append
//! (docs/flows/flow-logs.md). Streams of interfaces and flow logs that are gone stay, with their events, as on AWS.

use crate::model::Tx;
use crate::model::vpc::flow_logs;
use fogbank_types::Timestamp;
use fogbank_types::diagnosis::FlowLog;
use std::sync::Arc;

pub fn reconcile(tx: &mut Tx) -> Option<Timestamp> {
    if tx.snapshot().flow_logs.is_empty() {
        return None;
    }
    let all: Vec<Arc<FlowLog>> = tx.snapshot().flow_logs.all().cloned().collect();
    for flow_log in all {
        flow_logs::keep_streams(tx, &flow_log);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::vpc::flow_logs::NewFlowLogs;
    use crate::model::vpc::testing::{interface, scope, subnet, vpc};
    use fogbank_types::Tags;
    use fogbank_types::diagnosis::{FlowLogResource, FlowLogTraffic};
    use fogbank_types::logs::LogStream;

    #[test]
    fn every_covered_interface_has_its_stream_once() {
        let mut tx = Tx::for_test();
        let vpc = vpc(&mut tx, "10.0.0.0/16");
        let (one, other) = (
            subnet(&mut tx, &vpc, "10.0.0.0/24"),
            subnet(&mut tx, &vpc, "10.0.1.0/24"),
        );
        let covered = interface(&mut tx, &one).eni_id;
        interface(&mut tx, &other);
        let new = NewFlowLogs {
            resources: vec![FlowLogResource::Subnet(one.subnet_id.clone())],
            traffic: FlowLogTraffic::Reject,
            log_group: "/flows".to_owned(),
            deliver_role_arn: "arn:aws:iam::000000000000:role/flows".to_owned(),
            log_format: None,
            max_aggregation_interval_s: Some(60),
            client_token: None,
            tags: Tags::new(),
        };
        flow_logs::create(&mut tx, &scope(), new).unwrap();
        reconcile(&mut tx);
        let streams =
            |tx: &Tx| -> Vec<Arc<LogStream>> { tx.snapshot().log_streams.all().cloned().collect() };
        let first = streams(&tx);
        assert_eq!(first.len(), 1);
        assert_eq!(
            (first[0].group.as_str(), first[0].name.clone()),
            ("/flows", format!("{covered}-reject"))
        );
        reconcile(&mut tx);
        assert_eq!(streams(&tx), first, "it converges");
        interface(&mut tx, &one);
        reconcile(&mut tx);
        assert_eq!(streams(&tx).len(), 2);
    }
}
