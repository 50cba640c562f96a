//! `/metrics` for Prometheus, on loopback: what all load balancer processes of this host have counted since they
//! started. Started by `meters` when the region asks for it.
//!
//! A responder of its own, small on purpose: one request a connection, few connections, little time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fogbank_edge::http::{Counts, Table};
use fogbank_types::status::{Health, TargetState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Meters;

const HEAD_MAX_BYTES: usize = 8 * 1024;
const CONNECTIONS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// Upper ends of the buckets in seconds; the processes' own are finer.
const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Serves until the runtime ends. An address that is taken is tried again and told once.
pub async fn serve(meters: Meters, address: SocketAddr) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(%address, %error, "no metrics for Prometheus: cannot listen");
                }
                sleep(RETRY).await;
            }
        }
    };
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        let meters = meters.clone();
        tokio::spawn(async move {
            // Whoever is slow or gone gets nothing; it will ask again.
            let _ = timeout(PATIENCE, answer(&meters, stream)).await;
            drop(permit);
        });
    }
}

async fn answer(meters: &Meters, mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_MAX_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = match head.split(|byte| *byte == b' ').take(2).collect::<Vec<_>>()[..] {
        [b"GET", b"/metrics"] => ("200 OK", text(meters)),
        [b"GET", _] => ("404 Not Found", "GET /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET /metrics\n".to_owned()),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn text(meters: &Meters) -> String {
    let mut families = Families::default();
    for (eni, reading) in meters.nodes().iter() {
        families.add_node(eni.as_str(), &reading.table, &reading.total);
        families.add_groups(
            eni.as_str(),
            &reading.table,
            &reading.total,
            &reading.health,
        );
    }
    families.text()
}

/// Samples by the name of their family.
#[derive(Default)]
struct Families(BTreeMap<(&'static str, &'static str), String>);

impl Families {
    fn put(
        &mut self,
        name: &'static str,
        kind: &'static str,
        labels: &str,
        value: impl std::fmt::Display,
    ) {
        let lines = self.0.entry((name, kind)).or_default();
        // Writing to a String can't fail.
        let _ = writeln!(lines, "{name}{{{labels}}} {value}");
    }

    fn add_node(&mut self, eni: &str, table: &Table, counts: &Counts) {
        let node = &counts.node;
        let labels = labels(eni, table, None);
        for (name, count) in [
            ("fogbank_alb_requests_received_total", node.requests),
            ("fogbank_alb_client_connections_total", node.new_connections),
            (
                "fogbank_alb_target_connections_total",
                node.new_target_connections,
            ),
            (
                "fogbank_alb_rejected_connections_total",
                node.rejected_connections,
            ),
            (
                "fogbank_alb_client_tls_errors_total",
                node.client_tls_errors,
            ),
            ("fogbank_alb_rule_evaluations_total", node.rule_evaluations),
            ("fogbank_alb_processed_bytes_total", node.processed_bytes),
            ("fogbank_alb_redirects_total", node.redirects),
            ("fogbank_alb_fixed_responses_total", node.fixed_responses),
            (
                "fogbank_alb_desync_noncompliant_requests_total",
                node.desync_noncompliant,
            ),
            (
                "fogbank_alb_log_lines_dropped_total",
                node.log_lines_dropped,
            ),
            ("fogbank_alb_panics_total", node.panics),
        ] {
            self.put(name, "counter", &labels, count);
        }
        for (class, count) in [
            ("3xx", node.elb_3xx),
            ("4xx", node.elb_4xx),
            ("5xx", node.elb_5xx),
        ] {
            let labels = format!("{labels},code=\"{class}\"");
            self.put("fogbank_alb_own_responses_total", "counter", &labels, count);
        }
        self.put(
            "fogbank_alb_active_connections",
            "gauge",
            &labels,
            node.active_connections,
        );
    }

    fn add_groups(
        &mut self,
        eni: &str,
        table: &Table,
        counts: &Counts,
        health: &BTreeMap<String, Vec<TargetState>>,
    ) {
        for (id, group) in &counts.groups {
            let labels = labels(eni, table, Some(id));
            self.put(
                "fogbank_alb_requests_total",
                "counter",
                &labels,
                group.requests,
            );
            for (class, count) in [
                ("2xx", group.target_2xx),
                ("3xx", group.target_3xx),
                ("4xx", group.target_4xx),
                ("5xx", group.target_5xx),
            ] {
                let labels = format!("{labels},code=\"{class}\"");
                self.put(
                    "fogbank_alb_target_responses_total",
                    "counter",
                    &labels,
                    count,
                );
            }
            let errors = group.target_connection_errors;
            self.put(
                "fogbank_alb_target_connection_errors_total",
                "counter",
                &labels,
                errors,
            );
            let errors = group.target_tls_errors;
            self.put(
                "fogbank_alb_target_tls_errors_total",
                "counter",
                &labels,
                errors,
            );
            self.add_times(&labels, group);
        }
        for (id, targets) in health {
            let labels = labels(eni, table, Some(id));
            for (state, wanted) in [
                ("healthy", Health::Healthy),
                ("unhealthy", Health::Unhealthy),
            ] {
                let count = targets
                    .iter()
                    .filter(|target| target.health == wanted)
                    .count();
                let labels = format!("{labels},health=\"{state}\"");
                self.put("fogbank_alb_targets", "gauge", &labels, count);
            }
        }
    }

    fn add_times(&mut self, labels: &str, group: &fogbank_edge::http::GroupCounts) {
        const NAME: (&str, &str) = ("fogbank_alb_target_response_seconds", "histogram");
        let times = &group.response_times;
        let lines = self.0.entry(NAME).or_default();
        let name = NAME.0;
        for bound in BOUNDS {
            let below = times.values_us().filter(|(us, _)| us / 1e6 <= bound);
            let count: u64 = below.map(|(_, count)| count).sum();
            let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let (count, sum) = (times.count(), times.sum_us as f64 / 1e6);
        let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(lines, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(lines, "{name}_count{{{labels}}} {count}");
    }

    fn text(self) -> String {
        let mut text = String::new();
        for ((name, kind), lines) in self.0 {
            let _ = write!(text, "# TYPE {name} {kind}\n{lines}");
        }
        text
    }
}

fn labels(eni: &str, table: &Table, group: Option<&str>) -> String {
    let group = group.map(|id| id.rsplit(':').next().unwrap_or(id));
    let mut labels = format!(
        "load_balancer=\"{}\",zone=\"{}\",node=\"{eni}\"",
        table.load_balancer, table.zone
    );
    if let Some(group) = group {
        let _ = write!(labels, ",target_group=\"{group}\"");
    }
    labels
}

#[cfg(test)]
mod tests;
