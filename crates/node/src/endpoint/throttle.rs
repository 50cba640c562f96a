//! How often a task may ask: 40 times a second, in bursts of 60 ("Amazon ECS task metadata endpoint throttling").

use std::collections::HashMap;
use std::time::{Duration, Instant};

const PER_SECOND: f64 = 40.0;
const BURST: f64 = 60.0;
/// A bucket that is full again need not be remembered.
const FULL_AFTER: Duration = Duration::from_secs(2);
/// So many tasks are remembered before the quiet ones are forgotten.
const SWEEP_AT: usize = 1024;

/// A bucket a task.
#[derive(Default)]
pub struct Throttle {
    buckets: HashMap<String, Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Throttle {
    pub fn admits(&mut self, task: &str, now: Instant) -> bool {
        if self.buckets.len() >= SWEEP_AT && !self.buckets.contains_key(task) {
            self.buckets
                .retain(|_, bucket| now.duration_since(bucket.at) < FULL_AFTER);
        }
        let bucket = self.buckets.entry(task.to_owned()).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * PER_SECOND).min(BURST);
        bucket.at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_60_then_40_a_second_for_each_task() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let admitted = |throttle: &mut Throttle, task, at, count| {
            (0..count).filter(|_| throttle.admits(task, at)).count()
        };
        assert_eq!(admitted(&mut throttle, "a", start, 100), 60);
        assert_eq!(admitted(&mut throttle, "b", start, 100), 60);
        let later = start + Duration::from_secs(1);
        assert_eq!(admitted(&mut throttle, "a", later, 100), 40);
        let long_after = start + Duration::from_secs(100);
        assert_eq!(admitted(&mut throttle, "a", long_after, 100), 60);
    }
}
