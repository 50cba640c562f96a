//! Whether a target is put out for a while because it failed again and again. Used by `target`, for proxies of Service
//! Connect; nothing is asked of targets, only what they do with requests counts.
//!
//! "Outlier detection" in
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts-deploy.html>

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lock;
use super::table::Outlier;

#[derive(Debug, Default)]
pub struct Outlying {
    /// Most groups put nobody out: they take no lock.
    follows: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    policy: Option<Outlier>,
    /// Failures one after the other, since when.
    streak: Option<(u32, Instant)>,
    /// How often it was put out, and until when the last time.
    ejections: u32,
    until: Option<Instant>,
}

impl Outlying {
    pub fn follow(&self, policy: Option<Outlier>) {
        lock(&self.state).policy = policy;
        self.follows.store(policy.is_some(), Ordering::Relaxed);
    }

    /// A request succeeded, or failed.
    pub fn heard(&self, failed: bool, now: Instant) {
        if self.follows.load(Ordering::Relaxed) {
            lock(&self.state).heard(failed, now);
        }
    }

    pub fn is_out(&self, now: Instant) -> bool {
        self.follows.load(Ordering::Relaxed)
            && lock(&self.state).until.is_some_and(|until| now < until)
    }
}

impl State {
    fn heard(&mut self, failed: bool, now: Instant) {
        let Some(policy) = self.policy else {
            return;
        };
        if !failed {
            self.streak = None;
            return;
        }
        let within = Duration::from_millis(policy.within_ms);
        let streak = self
            .streak
            .filter(|(_, since)| now.saturating_duration_since(*since) <= within);
        let (failures, since) = streak.unwrap_or((0, now));
        self.streak = Some((failures + 1, since));
        if failures + 1 < policy.failures {
            return;
        }
        self.streak = None;
        let most = Duration::from_millis(policy.ejection_max_ms);
        // Who did well for long is no old acquaintance.
        if self
            .until
            .is_some_and(|until| now.saturating_duration_since(until) > most)
        {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        let times = Duration::from_millis(policy.ejection_ms).saturating_mul(self.ejections);
        self.until = Some(now + times.min(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn outlying() -> (Outlying, Instant) {
        let outlying = Outlying::default();
        outlying.follow(Some(Outlier {
            failures: 5,
            within_ms: 30_000,
            ejection_ms: 30_000,
            ejection_max_ms: 300_000,
        }));
        (outlying, Instant::now())
    }

    fn fail(outlying: &Outlying, times: u32, now: Instant) {
        (0..times).for_each(|_| outlying.heard(true, now));
    }

    #[test]
    fn five_failures_in_a_row_put_a_target_out() {
        let (outlying, now) = outlying();
        fail(&outlying, 4, now);
        assert!(!outlying.is_out(now));
        outlying.heard(false, now);
        fail(&outlying, 4, now);
        assert!(!outlying.is_out(now), "a success begins anew");
        fail(&outlying, 1, now);
        assert!(outlying.is_out(now));
        assert!(!outlying.is_out(now + 31 * SECOND));
    }

    #[test]
    fn failures_that_are_far_apart_are_no_row() {
        let (outlying, now) = outlying();
        for second in (0..60).step_by(10) {
            outlying.heard(true, now + second * SECOND);
        }
        assert!(!outlying.is_out(now + 60 * SECOND));
    }

    #[test]
    fn who_fails_again_is_put_out_for_longer_but_not_for_ever() {
        let (outlying, mut now) = outlying();
        let mut longest = 0;
        for time in 1..=20 {
            fail(&outlying, 5, now);
            let out = (0..400).find(|&second| !outlying.is_out(now + second * SECOND));
            assert_eq!(out, Some((30 * time).min(300)));
            longest = out.unwrap();
            now += longest * SECOND;
        }
        assert_eq!(longest, 300);
        now += 301 * SECOND;
        fail(&outlying, 5, now);
        assert!(!outlying.is_out(now + 30 * SECOND), "long ago is forgotten");
    }

    #[test]
    fn without_a_policy_nobody_is_out() {
        let (outlying, now) = (Outlying::default(), Instant::now());
        fail(&outlying, 100, now);
        assert!(!outlying.is_out(now));
    }
}
