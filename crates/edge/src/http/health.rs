//! Health checks: one task for each target, every node for itself. Started by `worker`.
//!
//! "Health checks for Application Load Balancer target groups", ELB guide; facts TGT-3 to TGT-7. A new target
//! needs one success; after that the thresholds count. The first check is made at once.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fogbank_types::status::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::connect;
use super::h2::client;
use super::log::HealthCheckRecord;
use super::request::Facts;
use super::response::{HEAD_MAX_BYTES, read_response};
use super::stream::TargetStream;
use super::table::{HealthCheck, Protocol, Version};
use super::target::{Group, Record, Target};
use super::tls::{Alpn, Connector};
use super::worker::Worker;

/// Between looks at a target that is starting.
const LOOK_OUT_MIN: Duration = Duration::from_millis(25);
const LOOK_OUT_MAX: Duration = Duration::from_millis(500);

/// More targets of a group than this are looked at one after the other at first, so far apart on average.
const CROWD: usize = 16;
const CROWD_PAUSE_MS: u64 = 1;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Success(u16),
    Mismatch(u16),
    Timeout,
    /// Refused, reset, or not HTTP.
    Failure,
}

/// Checks a target until it leaves the table.
pub async fn watch(worker: Arc<Worker>, group: Arc<Group>, target: Arc<Target>) {
    let watched = Watched {
        worker,
        group,
        target,
    };
    watched.wait_for_turn().await;
    while !watched.target.is_gone() {
        let started = Instant::now();
        let check = watched.group.check();
        if watched.target.is_draining() {
            // It gets no requests any more; whoever asks sees it draining.
        } else if check.enabled {
            watched.look_and_judge(&check, |_| true).await;
        } else {
            watched.note(set_unavailable);
        }
        let interval = Duration::from_millis(check.interval_ms.max(1));
        // Up to a tenth earlier, so that nodes and targets don't march in step.
        let share = watched.worker.dice.roll() as f64 / u64::MAX as f64;
        let next = started + interval - interval.mul_f64(share / 10.0);
        if check.enabled && watched.is_starting() {
            watched.look_out(&check, next).await;
        } else {
            watched.rest(next).await;
        }
    }
}

/// A target with what its check needs.
struct Watched {
    worker: Arc<Worker>,
    group: Arc<Group>,
    target: Arc<Target>,
}

impl Watched {
    /// A thousand targets that come at once are not all looked at in the same moment.
    async fn wait_for_turn(&self) {
        let crowd = self.group.targets().len();
        if crowd > CROWD {
            let pause = self.worker.dice.roll() % (crowd as u64 * CROWD_PAUSE_MS);
            self.rest(Instant::now() + Duration::from_millis(pause))
                .await;
        }
    }

    /// One check; what it found counts if `counts` says so, and if the target and its check are still the same.
    async fn look_and_judge(&self, check: &HealthCheck, counts: impl Fn(&Finding) -> bool) {
        let (started, began) = (SystemTime::now(), Instant::now());
        let version = self.group.version();
        let found = look(&self.worker.connector, &self.target, check, version).await;
        self.log(check, version, &found, started, began.elapsed());
        if counts(&found) && !self.target.is_gone() && *self.group.check() == *check {
            self.note(|record| judge(record, &found, check));
        }
    }

    /// A line of the health check log, if it is on.
    fn log(
        &self,
        check: &HealthCheck,
        version: Version,
        found: &Finding,
        started: SystemTime,
        took: Duration,
    ) {
        let routes = self.worker.routes();
        if routes.attributes.health_check_log.is_none() {
            return;
        }
        let (status_code, failure) = match *found {
            Finding::Success(status) => (Some(status), None),
            Finding::Mismatch(status @ 500..) => (Some(status), Some("TargetError")),
            Finding::Mismatch(status) => (Some(status), Some("ResponseCodeMismatch")),
            Finding::Timeout => (None, Some("TimedOut")),
            Finding::Failure => (None, Some("ConnectionReset")),
        };
        let line = HealthCheckRecord {
            kind: match (version, check.protocol) {
                (Version::Grpc, _) => "grpc",
                (Version::Http2, _) => "h2",
                (Version::Http1, Protocol::Http) => "http",
                (Version::Http1, Protocol::Https) => "https",
            },
            started,
            took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            target: SocketAddr::from((self.target.ip, check.port.unwrap_or(self.target.port))),
            target_group: &self.group.id,
            status_code,
            failure,
        };
        let node = routes.identity.address;
        self.worker
            .logs
            .health_check(&line, &routes.load_balancer, node);
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        if self.target.note(change) {
            let (group, target) = (&self.group.id, self.target.address());
            tracing::info!(group, %target, record = ?self.target.record(), "target health changed");
            self.group.refresh();
            self.worker.health_changed();
        }
    }

    fn is_starting(&self) -> bool {
        self.target.record().health == Health::Initial && !self.target.is_draining()
    }

    /// A target that has just been registered is most likely still starting: it is looked at more often until
    /// its next regular check, so that it need not wait for that. Failures of these looks don't count.
    async fn look_out(&self, check: &HealthCheck, next: Instant) {
        let mut pause = LOOK_OUT_MIN;
        while self.is_starting() && Instant::now() + pause < next {
            if self.rest(Instant::now() + pause).await {
                return;
            }
            self.look_and_judge(check, |found| matches!(found, Finding::Success(_)))
                .await;
            pause = (pause * 2).min(LOOK_OUT_MAX);
        }
        self.rest(next).await;
    }

    /// Waits; true if the target or its check has changed before the time was up.
    async fn rest(&self, until: Instant) -> bool {
        tokio::select! {
            () = sleep_until(until) => false,
            () = self.target.changed.notified() => true,
        }
    }
}

fn set_unavailable(record: &mut Record) {
    *record = Record {
        health: Health::Unavailable,
        successes: 0,
        failures: 0,
        reason: Some("Target.HealthCheckDisabled".into()),
        description: Some("Health checks are disabled".into()),
    };
}

/// Counts a finding and flips health when it is time.
fn judge(record: &mut Record, found: &Finding, check: &HealthCheck) {
    if record.health == Health::Unavailable {
        *record = Record::initial();
    }
    if matches!(found, Finding::Success(_)) {
        record.successes = record.successes.saturating_add(1);
        record.failures = 0;
        let needed = if record.health == Health::Initial {
            1
        } else {
            check.healthy_threshold
        };
        if record.successes >= needed {
            record.health = Health::Healthy;
            record.reason = None;
            record.description = None;
        }
        return;
    }
    record.failures = record.failures.saturating_add(1);
    record.successes = 0;
    if record.failures < check.unhealthy_threshold && record.health != Health::Unhealthy {
        return;
    }
    record.health = Health::Unhealthy;
    let (reason, description) = match found {
        Finding::Mismatch(status) => (
            "Target.ResponseCodeMismatch",
            format!("Health checks failed with these codes: [{status}]"),
        ),
        Finding::Timeout => ("Target.Timeout", "Request timed out".to_owned()),
        Finding::Failure | Finding::Success(_) => (
            "Target.FailedHealthChecks",
            "Health checks failed".to_owned(),
        ),
    };
    record.reason = Some(reason.to_owned());
    record.description = Some(description);
}

async fn look(
    connector: &Connector,
    target: &Target,
    check: &HealthCheck,
    version: Version,
) -> Finding {
    let address = SocketAddr::from((target.ip, check.port.unwrap_or(target.port)));
    let asked = pin!(ask(connector, address, check, version));
    match timeout(Duration::from_millis(check.timeout_ms.max(1)), asked).await {
        Err(_) => Finding::Timeout,
        Ok(Err(_)) => Finding::Failure,
        Ok(Ok(status)) if matches(&check.matcher, status) => Finding::Success(status),
        Ok(Ok(status)) => Finding::Mismatch(status),
    }
}

/// Asks as the group's protocols say, and gives the status: HTTP's, or that of a call. The connection is closed
/// after it, redirects are not followed, certificates are not looked at (fact LST-12).
async fn ask(
    connector: &Connector,
    address: SocketAddr,
    check: &HealthCheck,
    version: Version,
) -> io::Result<u16> {
    let tcp = connect(address).await?;
    let alpn = match version {
        Version::Http1 => Alpn::Http1,
        Version::Http2 | Version::Grpc => Alpn::Http2,
    };
    let (stream, scheme) = match check.protocol {
        Protocol::Http => (TargetStream::Plain(tcp), "http"),
        Protocol::Https => {
            let session = connector.connect(tcp, address, alpn).await?;
            (TargetStream::Tls(Box::new(session)), "https")
        }
    };
    let call = match version {
        Version::Http1 => return ask_http1(stream, address, &check.path).await,
        Version::Http2 => client::Ask::Get,
        Version::Grpc => client::Ask::Grpc,
    };
    let told = client::request(stream, scheme, &address.to_string(), &check.path, call)
        .await
        .map_err(io::Error::other)?;
    match (version, told.grpc_status) {
        (Version::Grpc, status) => status.ok_or_else(|| io::ErrorKind::InvalidData.into()),
        _ => Ok(told.status),
    }
}

async fn ask_http1(mut stream: TargetStream, address: SocketAddr, path: &str) -> io::Result<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let facts = Facts::of_get();
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let head = read_response(&bytes, &facts, |response| response.status);
        match head.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            // 100 Continue and its like are not the answer.
            Some((length, 100..200)) => drop(bytes.drain(..length)),
            Some((_, status)) => return Ok(status),
            None if bytes.len() > HEAD_MAX_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            None => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

/// `200`, `200-299`, `200,202`; what can't be read matches nothing.
pub fn matches(matcher: &str, status: u16) -> bool {
    matcher.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&status),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUCCESS: Finding = Finding::Success(200);

    fn check() -> HealthCheck {
        HealthCheck {
            protocol: Default::default(),
            enabled: true,
            path: "/".into(),
            port: None,
            interval_ms: 30_000,
            timeout_ms: 5_000,
            healthy_threshold: 3,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        }
    }

    fn after(findings: &[Finding]) -> Record {
        let mut record = Record::initial();
        findings
            .iter()
            .for_each(|found| judge(&mut record, found, &check()));
        record
    }

    #[test]
    fn matchers() {
        for (matcher, status, expected) in [
            ("200", 200, true),
            ("200", 201, false),
            ("200-299", 299, true),
            ("200-299", 300, false),
            ("200,202", 202, true),
            ("200,202", 201, false),
            ("200,300-399", 302, true),
            ("", 200, false),
            ("x-299", 200, false),
        ] {
            assert_eq!(matches(matcher, status), expected, "{matcher} {status}");
        }
    }

    #[test]
    fn one_success_makes_a_new_target_healthy() {
        assert_eq!(after(&[Finding::Failure]).health, Health::Initial);
        assert_eq!(after(&[Finding::Failure, SUCCESS]).health, Health::Healthy);
    }

    #[test]
    fn thresholds_count_consecutive_findings() {
        use Finding::{Mismatch, Timeout};
        assert_eq!(
            after(&[SUCCESS, Timeout, SUCCESS, Timeout]).health,
            Health::Healthy
        );
        let record = after(&[SUCCESS, Timeout, Mismatch(502)]);
        assert_eq!(record.health, Health::Unhealthy);
        assert_eq!(
            record.reason.as_deref(),
            Some("Target.ResponseCodeMismatch")
        );
        assert_eq!(
            record.description.as_deref(),
            Some("Health checks failed with these codes: [502]")
        );
        let back = [SUCCESS, Timeout, Timeout, SUCCESS, SUCCESS];
        assert_eq!(after(&back).health, Health::Unhealthy);
        assert_eq!(
            after(&[&back[..], &[SUCCESS]].concat()).health,
            Health::Healthy
        );
    }

    #[test]
    fn the_reason_follows_the_last_failure() {
        use Finding::{Failure, Timeout};
        assert_eq!(
            after(&[Failure, Timeout]).reason.as_deref(),
            Some("Target.Timeout")
        );
        assert_eq!(
            after(&[Timeout, Failure]).description.as_deref(),
            Some("Health checks failed")
        );
    }
}
