//! A container's resources in the form of Docker's `GET /containers/{id}/stats`: this moment and the one before it.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use fogbank_types::Timestamp;
use serde_json::{Value, json};

use super::metadata::instant;
use crate::sandbox::{Group, Usage};

/// Between the two moments: Docker's own.
const BETWEEN: Duration = Duration::from_secs(1);
/// A moment that is longer ago says nothing about now.
const STALE: Duration = Duration::from_secs(60);
/// As Linux has counted for user space since the beginning (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Counters at a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at: Instant,
    time: Timestamp,
    usage: Usage,
    /// Of the whole host, in ns.
    system_cpu_ns: u64,
    cpus: u64,
    networks: Vec<(String, [u64; 8])>,
}

impl Sample {
    /// Of a group now; `pid` is one of its processes. Reads a few files.
    pub fn take(group: &Group, pid: Option<i32>) -> Self {
        let (system_cpu_ns, cpus) = system(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let network = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok());
        Self {
            at: Instant::now(),
            time: crate::task::now(),
            usage: group.usage(),
            system_cpu_ns,
            cpus,
            networks: networks(&network.unwrap_or_default()),
        }
    }
}

/// The moments that were looked at last, by container.
#[derive(Default)]
pub struct Samples {
    known: HashMap<String, [Option<Sample>; 2]>,
}

impl Samples {
    /// Keeps a new one; gives the one before it, at least a second older, if there is one.
    pub fn keep(&mut self, container: &str, new: &Sample) -> Option<Sample> {
        self.known.retain(|_, [last, _]| {
            last.as_ref()
                .is_some_and(|last| new.at.duration_since(last.at) < STALE)
        });
        let [last, before] = self.known.entry(container.to_owned()).or_default();
        let is_older = |sample: &Sample| new.at.saturating_duration_since(sample.at) >= BETWEEN;
        if last.as_ref().is_none_or(is_older) {
            *before = last.replace(new.clone());
            return before.clone();
        }
        before.clone()
    }
}

/// Of all processors together and how many there are.
fn system(stat: &str) -> (u64, u64) {
    let mut lines = stat.lines().filter(|line| line.starts_with("cpu"));
    let total: u64 = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        // user, nice, system, idle, iowait, irq, softirq, steal: guests are in user already.
        .skip(1)
        .take(8)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    (
        total * (1_000_000_000 / TICKS_PER_SECOND),
        lines.count() as u64,
    )
}

/// Per device: received bytes, packets, errors, dropped; the same sent.
fn networks(text: &str) -> Vec<(String, [u64; 8])> {
    let device = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let [rb, rp, re, rd, _, _, _, _, tb, tp, te, td, ..] = counters.as_slice() else {
            return None;
        };
        let name = name.trim();
        (name != "lo").then(|| (name.to_owned(), [*rb, *rp, *re, *rd, *tb, *tp, *te, *td]))
    };
    text.lines().filter_map(device).collect()
}

fn cpu(sample: Option<&Sample>) -> Value {
    let Some(Sample {
        usage,
        system_cpu_ns,
        cpus,
        ..
    }) = sample
    else {
        return json!({
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        });
    };
    json!({
        "cpu_usage": {
            "total_usage": usage.cpu_total_ns,
            "usage_in_kernelmode": usage.cpu_system_ns,
            "usage_in_usermode": usage.cpu_user_ns,
        },
        "system_cpu_usage": system_cpu_ns,
        "online_cpus": cpus,
        "throttling_data": {
            "periods": usage.throttle_periods,
            "throttled_periods": usage.throttled_periods,
            "throttled_time": usage.throttled_ns,
        },
    })
}

/// As Docker tells it. `memory_limit` stands in for a container without one of its own.
pub fn document(
    id: &str,
    name: &str,
    now: &Sample,
    before: Option<&Sample>,
    memory_limit: u64,
) -> Value {
    let usage = &now.usage;
    let operations = |reads: u64, writes: u64| -> Value {
        [("Read", reads), ("Write", writes)]
            .map(|(op, value)| json!({"major": 0, "minor": 0, "op": op, "value": value}))
            .to_vec()
            .into()
    };
    let networks: serde_json::Map<String, Value> = now
        .networks
        .iter()
        .map(|(device, [rb, rp, re, rd, tb, tp, te, td])| {
            let counters = json!({
                "rx_bytes": rb, "rx_packets": rp, "rx_errors": re, "rx_dropped": rd,
                "tx_bytes": tb, "tx_packets": tp, "tx_errors": te, "tx_dropped": td,
            });
            (device.clone(), counters)
        })
        .collect();
    let mut document = json!({
        "read": instant(now.time),
        "preread": before.map_or("0001-01-01T00:00:00Z".to_owned(), |before| instant(before.time)),
        "pids_stats": {"current": usage.pids, "limit": usage.pids_limit},
        "blkio_stats": {
            "io_service_bytes_recursive": operations(usage.read_bytes, usage.write_bytes),
            "io_serviced_recursive": operations(usage.reads, usage.writes),
            "io_queue_recursive": [], "io_service_time_recursive": [], "io_wait_time_recursive": [],
            "io_merged_recursive": [], "io_time_recursive": [], "sectors_recursive": [],
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(Some(now)),
        "precpu_stats": cpu(before),
        "memory_stats": {
            "usage": usage.memory_bytes,
            "max_usage": usage.memory_max_bytes,
            "stats": usage.memory_stats.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "limit": usage.memory_limit_bytes.unwrap_or(memory_limit),
        },
        "name": name,
        "id": id,
        "networks": networks,
    });
    if let Some(before) = before {
        document["network_rate_stats"] = rates(now, before);
    }
    document
}

/// "Network rate data", per second.
fn rates(now: &Sample, before: &Sample) -> Value {
    let seconds = now
        .at
        .saturating_duration_since(before.at)
        .as_secs_f64()
        .max(0.001);
    let sum = |sample: &Sample, field: usize| -> u64 {
        sample
            .networks
            .iter()
            .map(|(_, counters)| counters[field])
            .sum()
    };
    let rate = |field| sum(now, field).saturating_sub(sum(before, field)) as f64 / seconds;
    json!({"rx_bytes_per_sec": rate(0), "tx_bytes_per_sec": rate(4)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant) -> Sample {
        Sample {
            at,
            time: Timestamp(0),
            usage: Usage::default(),
            system_cpu_ns: 0,
            cpus: 2,
            networks: vec![("eth0".into(), [1000, 2, 0, 0, 500, 1, 0, 0])],
        }
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\ncpu1 1\nintr 5\n";
        assert_eq!(system(stat), (36 * 10_000_000, 2));
        let dev = "Inter-| Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        assert_eq!(
            networks(dev),
            [("eth0".to_owned(), [10, 2, 3, 4, 50, 6, 7, 8])]
        );
    }

    #[test]
    fn the_moment_before_is_at_least_a_second_older() {
        let mut samples = Samples::default();
        let start = Instant::now();
        let at = |ms| sample(start + Duration::from_millis(ms));
        assert!(samples.keep("a", &at(0)).is_none());
        assert!(samples.keep("a", &at(500)).is_none());
        let before = samples.keep("a", &at(1200)).unwrap();
        assert_eq!(before.at, start);
        let before = samples.keep("a", &at(1300)).unwrap();
        assert_eq!(before.at, start);
        assert!(samples.keep("b", &at(1300)).is_none());
    }

    #[test]
    fn the_document_has_what_dockers_clients_read() {
        let start = Instant::now();
        let (mut before, mut now) = (sample(start), sample(start + Duration::from_secs(2)));
        (before.usage.cpu_total_ns, now.usage.cpu_total_ns) = (100, 300);
        now.networks[0].1[0] = 5000;
        let document = document("id", "web", &now, Some(&before), 512);
        assert_eq!(document["cpu_stats"]["cpu_usage"]["total_usage"], 300);
        assert_eq!(document["precpu_stats"]["cpu_usage"]["total_usage"], 100);
        assert_eq!(document["memory_stats"]["limit"], 512);
        assert_eq!(document["networks"]["eth0"]["tx_bytes"], 500);
        assert_eq!(document["network_rate_stats"]["rx_bytes_per_sec"], 2000.0);
    }
}
