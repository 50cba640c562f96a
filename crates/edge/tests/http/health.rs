//! Health checks and what follows from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use fogbank_types::status::{Health, TargetState};

use crate::bed::{Bed, GROUP, Origin, Script, Seen, ok, own_address, target, until};

fn is_check(seen: &Seen) -> bool {
    seen.header("user-agent") == Some("ELB-HealthChecker/2.0")
}

/// Answers checks with a status that can be changed (0: not at all), requests with a name.
async fn origin(name: &'static str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let answered = status.clone();
    let origin =
        Origin::start(
            move |seen| match (is_check(seen), answered.load(Ordering::SeqCst)) {
                (false, _) => ok(name),
                (true, 0) => Script::Silence,
                (true, status) => Script::Send(
                    format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes(),
                ),
            },
        )
        .await;
    (origin, status)
}

fn checked(targets: &[&Origin]) -> Bed {
    let mut bed = Bed::new(&[]);
    bed.change(|table| {
        table.target_groups[0].health_check.enabled = true;
        table.target_groups[0].targets = targets
            .iter()
            .map(|origin| target(&origin.address))
            .collect();
    });
    bed
}

fn state(bed: &Bed, origin: &Origin) -> TargetState {
    let health = bed.worker.health();
    let group = health
        .iter()
        .find(|group| group.target_group == GROUP)
        .expect("the group");
    let found = group
        .targets
        .iter()
        .find(|state| state.port == origin.address.port());
    found.expect("the target").clone()
}

#[tokio::test]
async fn checks_are_sent_as_aws_sends_them() {
    let (origin, _) = origin("a").await;
    let bed = checked(&[&origin]);
    assert_eq!(
        state(&bed, &origin).reason.as_deref(),
        Some("Elb.InitialHealthChecking")
    );
    until(|| state(&bed, &origin).health == Health::Healthy).await;
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /health HTTP/1.1");
    assert!(is_check(&seen));
    assert_eq!(
        seen.header("host"),
        Some(origin.address.to_string().as_str())
    );
    assert_eq!(seen.header("connection"), Some("close"));
    assert_eq!(state(&bed, &origin).reason, None);
    until(|| origin.connection_count() >= 3).await;
    assert_eq!(
        origin.connection_count(),
        origin.seen().len(),
        "a connection each"
    );
}

#[tokio::test]
async fn unhealthy_targets_get_no_requests_until_they_are_back() {
    let ((first, status), (second, _)) = (origin("first").await, origin("second").await);
    let bed = checked(&[&first, &second]);
    until(|| {
        [&first, &second]
            .iter()
            .all(|each| state(&bed, each).health == Health::Healthy)
    })
    .await;
    status.store(502, Ordering::SeqCst);
    until(|| state(&bed, &first).health == Health::Unhealthy).await;
    let found = state(&bed, &first);
    assert_eq!(found.reason.as_deref(), Some("Target.ResponseCodeMismatch"));
    assert_eq!(
        found.description.as_deref(),
        Some("Health checks failed with these codes: [502]")
    );
    for _ in 0..4 {
        assert_eq!(bed.get("/").await.text(), "second");
    }
    status.store(200, Ordering::SeqCst);
    until(|| state(&bed, &first).health == Health::Healthy).await;
    let answers = [bed.get("/").await.text(), bed.get("/").await.text()];
    assert!(answers.contains(&"first".to_owned()), "{answers:?}");
}

#[tokio::test]
async fn reasons_in_the_words_of_aws() {
    let (silent, status) = origin("silent").await;
    status.store(0, Ordering::SeqCst);
    let refusing = (own_address(), 9).into();
    let mut bed = checked(&[&silent]);
    bed.change(|table| {
        table.target_groups[0].health_check.timeout_ms = 15;
        table.target_groups[0].targets.push(target(&refusing));
    });
    until(|| state(&bed, &silent).health == Health::Unhealthy).await;
    assert_eq!(
        state(&bed, &silent).reason.as_deref(),
        Some("Target.Timeout")
    );
    assert_eq!(
        state(&bed, &silent).description.as_deref(),
        Some("Request timed out")
    );
    let refused = || {
        bed.worker.health()[0]
            .targets
            .iter()
            .find(|state| state.port == 9)
            .cloned()
    };
    until(|| refused().is_some_and(|state| state.health == Health::Unhealthy)).await;
    let refused = refused().expect("the target");
    assert_eq!(refused.reason.as_deref(), Some("Target.FailedHealthChecks"));
    assert_eq!(refused.description.as_deref(), Some("Health checks failed"));
}

#[tokio::test]
async fn a_target_that_starts_late_need_not_wait_for_the_next_check() {
    let (origin, status) = origin("a").await;
    status.store(503, Ordering::SeqCst);
    let mut bed = Bed::new(&[]);
    bed.change(|table| {
        table.target_groups[0].health_check.enabled = true;
        table.target_groups[0].health_check.interval_ms = 3_600_000;
        table.target_groups[0].targets = vec![target(&origin.address)];
    });
    until(|| origin.seen().len() >= 3).await;
    assert_eq!(
        state(&bed, &origin).health,
        Health::Initial,
        "only the first look counts as a failure"
    );
    status.store(200, Ordering::SeqCst);
    until(|| state(&bed, &origin).health == Health::Healthy).await;
}

#[tokio::test]
async fn with_nobody_healthy_everybody_serves() {
    let ((first, one), (second, other)) = (origin("first").await, origin("second").await);
    one.store(500, Ordering::SeqCst);
    other.store(500, Ordering::SeqCst);
    let bed = checked(&[&first, &second]);
    until(|| {
        [&first, &second]
            .iter()
            .all(|each| state(&bed, each).health == Health::Unhealthy)
    })
    .await;
    let answers = [bed.get("/").await.text(), bed.get("/").await.text()];
    assert!(
        answers.contains(&"first".into()) && answers.contains(&"second".into()),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_changed_check_counts_at_once() {
    let (origin, status) = origin("a").await;
    let mut bed = checked(&[&origin]);
    bed.change(|table| table.target_groups[0].health_check.interval_ms = 3_600_000);
    until(|| state(&bed, &origin).health == Health::Healthy).await;
    status.store(202, Ordering::SeqCst);
    bed.change(|table| table.target_groups[0].health_check.interval_ms = 20);
    until(|| state(&bed, &origin).health == Health::Unhealthy).await;
    bed.change(|table| table.target_groups[0].health_check.matcher = "200-299".into());
    until(|| state(&bed, &origin).health == Health::Healthy).await;
    bed.change(|table| table.target_groups[0].health_check.enabled = false);
    until(|| state(&bed, &origin).health == Health::Unavailable).await;
    assert_eq!(
        state(&bed, &origin).reason.as_deref(),
        Some("Target.HealthCheckDisabled")
    );
}

#[tokio::test]
async fn a_group_that_no_rule_uses_is_not_checked() {
    let (used, _) = origin("used").await;
    let (unused, _) = origin("unused").await;
    let mut bed = checked(&[&used]);
    bed.change(|table| {
        let mut group = table.target_groups[0].clone();
        group.id = "unused".into();
        group.targets = vec![target(&unused.address)];
        table.target_groups.push(group);
    });
    until(|| used.seen().len() > 3).await;
    assert_eq!(unused.connection_count(), 0);
    assert_eq!(bed.worker.health().len(), 1);
}
