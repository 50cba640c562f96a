//! A log-bucketed histogram of times: sixteen buckets for each doubling, so that a percentile is within three
//! percent. Used by `counters`; the node agent makes CloudWatch's distributions of what it tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Buckets for each doubling, as a power of two.
const SUB_BITS: u32 = 4;
const SUB: u64 = 1 << SUB_BITS;
/// Up to 2^32 us, which is over an hour: the longest idle timeout.
const BUCKETS: usize = (SUB * (32 - SUB_BITS as u64 + 1)) as usize;

/// Counts times in microseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// The same at one moment: buckets that hold something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    pub sum_us: u64,
    pub buckets: BTreeMap<u16, u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub fn add(&self, time_us: u64) {
        self.buckets[bucket(time_us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(time_us, Ordering::Relaxed);
    }

    pub fn told(&self) -> Times {
        let filled = self.buckets.iter().zip(0..).filter_map(|(count, place)| {
            let count = count.load(Ordering::Relaxed);
            (count > 0).then_some((place, count))
        });
        Times {
            buckets: filled.collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// Exact below sixteen; above, the leading bit and the four after it.
fn bucket(time_us: u64) -> usize {
    let time_us = time_us.min(u64::from(u32::MAX));
    if time_us < SUB {
        return time_us as usize;
    }
    let shift = time_us.ilog2() - SUB_BITS;
    (u64::from(shift) * SUB + (time_us >> shift)) as usize
}

/// The least time of a bucket.
fn floor_us(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    (SUB + bucket % SUB) << shift
}

impl Times {
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// What came since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        let left = |(&bucket, &count): (&u16, &u64)| {
            let count = count.saturating_sub(earlier.buckets.get(&bucket).copied().unwrap_or(0));
            (count > 0).then_some((bucket, count))
        };
        Self {
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
            buckets: self.buckets.iter().filter_map(left).collect(),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.sum_us += other.sum_us;
        for (&bucket, &count) in &other.buckets {
            *self.buckets.entry(bucket).or_default() += count;
        }
    }

    /// The middle of each bucket in microseconds, and how often it was met.
    pub fn values_us(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.buckets.iter().map(|(&bucket, &count)| {
            let (from, to) = (floor_us(bucket), floor_us(bucket + 1));
            ((from + to - 1) as f64 / 2.0, count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_three_percent_of_what_it_holds() {
        for time_us in (0..5_000).chain((13..32).map(|bits| (1 << bits) + 12_345)) {
            let histogram = Histogram::default();
            histogram.add(time_us);
            let told = histogram.told();
            let (value, count) = told.values_us().next().expect("one");
            assert_eq!((count, told.sum_us, told.count()), (1, time_us, 1));
            let error = (value - time_us as f64).abs();
            assert!(error <= time_us as f64 * 0.032, "{time_us} {value}");
        }
        let histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.told().count(), 1, "longer than all buckets");
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket_number in 0..BUCKETS as u16 {
            assert_eq!(bucket(floor_us(bucket_number)), usize::from(bucket_number));
            if bucket_number > 0 {
                assert_eq!(
                    bucket(floor_us(bucket_number) - 1),
                    usize::from(bucket_number) - 1
                );
            }
        }
    }

    #[test]
    fn differences_and_sums_fit() {
        let histogram = Histogram::default();
        histogram.add(10);
        let before = histogram.told();
        histogram.add(10);
        histogram.add(1_000_000);
        let mut both = before.clone();
        both.add(&histogram.told().since(&before));
        assert_eq!(both, histogram.told());
    }
}
