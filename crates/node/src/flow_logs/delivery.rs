//! Records on their way into CloudWatch Logs: appended to the stream's folder, as tasks' output is.

use std::path::Path;

use fogbank_store::log::Writer;
use fogbank_types::Snapshot;
use fogbank_types::diagnosis::{FlowLog, FlowLogTraffic};
use fogbank_types::ec2::Eni;

/// Name of the stream of an interface.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-cwl.html>
pub fn stream_name(log: &FlowLog, eni: &Eni) -> String {
    let traffic = match log.traffic {
        FlowLogTraffic::All => "all",
        FlowLogTraffic::Accept => "accept",
        FlowLogTraffic::Reject => "reject",
    };
    format!("{}-{traffic}", eni.eni_id)
}

/// Folder name of the stream's events; `None` while there is no such stream.
pub fn stream_uid<'a>(snapshot: &'a Snapshot, log: &FlowLog, eni: &Eni) -> Option<&'a str> {
    let id = format!("{}:{}", log.log_group, stream_name(log, eni));
    snapshot
        .log_streams
        .get(&log.scope, id)
        .map(|stream| stream.uid.as_str())
}

/// Appends records, each with its time in s. A full disk costs them, and nothing else.
pub fn append(logs: &Path, uid: &str, now_ms: i64, records: &[(i64, String)]) {
    let events = records
        .iter()
        .map(|(time_s, line)| (time_s * 1000, line.as_bytes()));
    let appended =
        Writer::open(&logs.join(uid)).and_then(|mut writer| writer.append_all(now_ms, events));
    if let Err(error) = appended {
        tracing::warn!(%error, records = records.len(), "flow log records lost");
    }
}
