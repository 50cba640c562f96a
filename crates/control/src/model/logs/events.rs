//! What a batch of log events must be like.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use super::{Refusal, invalid};
use fogbank_types::Timestamp;

const BATCH_EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;
const EVENT_BYTES_MAX: usize = 256 << 10;
const DAY_MS: i64 = 24 * 3600 * 1000;
const TOO_OLD_MS: i64 = 14 * DAY_MS;
const TOO_NEW_MS: i64 = 2 * 3600 * 1000;

/// Which events of a batch are taken: those outside are told to the caller by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub first: usize,
    /// Exclusive.
    pub end: usize,
    /// All events before this one are older than 14 days.
    pub too_old_end: Option<usize>,
    /// All events before this one are older than the group's retention.
    pub expired_end: Option<usize>,
    /// All events from this one on are more than two hours in the future.
    pub too_new_start: Option<usize>,
}

/// Checks a batch: timestamp and length of each message, in the order given.
pub fn check(
    events: &[(i64, usize)],
    now: Timestamp,
    retention_days: Option<u32>,
) -> Result<Accepted, Refusal> {
    if events.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value '[]' at 'logEvents' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    if events.len() > BATCH_EVENTS_MAX {
        return Err(invalid(
            "1 validation error detected: Value at 'logEvents' failed to satisfy constraint: Member must have length less than or equal to 10000",
        ));
    }
    if events.iter().any(|(timestamp, _)| *timestamp < 0) {
        return Err(invalid(
            "1 validation error detected: Value at 'logEvents.timestamp' failed to satisfy constraint: Member must have value greater than or equal to 0",
        ));
    }
    if events.iter().any(|(_, length)| *length == 0) {
        return Err(invalid(
            "1 validation error detected: Value at 'logEvents.message' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    if let Some((_, length)) = events
        .iter()
        .find(|(_, length)| length + EVENT_OVERHEAD_BYTES > EVENT_BYTES_MAX)
    {
        return Err(invalid(format!(
            "Log event too large: {} bytes exceeds limit of {EVENT_BYTES_MAX}",
            length + EVENT_OVERHEAD_BYTES
        )));
    }
    let bytes: usize = events
        .iter()
        .map(|(_, length)| length + EVENT_OVERHEAD_BYTES)
        .sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}"
        )));
    }
    if events.windows(2).any(|pair| pair[0].0 > pair[1].0) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    if events[events.len() - 1].0 - events[0].0 > DAY_MS {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let older_than = |ms: i64| {
        events
            .iter()
            .take_while(|(timestamp, _)| *timestamp < now.0.saturating_sub(ms))
            .count()
    };
    let too_old = older_than(TOO_OLD_MS);
    let expired = retention_days.map_or(0, |days| older_than(i64::from(days) * DAY_MS));
    let end = events
        .iter()
        .take_while(|(timestamp, _)| *timestamp <= now.0 + TOO_NEW_MS)
        .count();
    Ok(Accepted {
        first: too_old.max(expired).min(end),
        end,
        too_old_end: (too_old > 0).then_some(too_old),
        expired_end: (expired > 0).then_some(expired),
        too_new_start: (end < events.len()).then_some(end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(100 * DAY_MS);

    #[test]
    fn bad_batches_are_refused() {
        let refused = |events: &[(i64, usize)]| check(events, NOW, None).unwrap_err().to_string();
        assert!(refused(&[]).contains("logEvents"));
        assert!(refused(&[(2, 1), (1, 1)]).contains("chronological"));
        assert!(refused(&[(NOW.0 - DAY_MS - 1, 1), (NOW.0, 1)]).contains("24 hours"));
        assert!(refused(&[(NOW.0, EVENT_BYTES_MAX)]).contains("too large"));
        assert!(refused(&[(NOW.0, 200_000); 6]).contains("Upload too large"));
        assert!(refused(&[(-1, 1)]).contains("timestamp"));
        assert!(refused(&[(1, 0)]).contains("message"));
    }

    #[test]
    fn too_old_and_too_new_events_are_left_out() {
        let old = NOW.0 - TOO_OLD_MS;
        let accepted = check(&[(old - 1, 1), (old, 1)], NOW, None).unwrap();
        assert_eq!(
            (accepted.first, accepted.end, accepted.too_old_end),
            (1, 2, Some(1))
        );
        let accepted = check(&[(NOW.0, 1), (NOW.0 + TOO_NEW_MS + 1, 1)], NOW, None).unwrap();
        assert_eq!(
            (accepted.first, accepted.end, accepted.too_new_start),
            (0, 1, Some(1))
        );
        let accepted = check(&[(NOW.0 - DAY_MS - 1, 1)], NOW, Some(1)).unwrap();
        assert_eq!(
            (accepted.first, accepted.end, accepted.expired_end),
            (1, 1, Some(1))
        );
    }
}
