//! Anomaly detection of automatic target weights: who answers with more errors than the others, and how much less it
//! gets until that is over. Used by `target` once a second; pure.
//!
//! "Automatic Target Weights" in "Target groups for your Application Load Balancers", ELB guide: 5XX answers and
//! connection errors count, three healthy targets are needed, an anomalous target's traffic is reduced step by step
//! to a negligible level, and is raised slowly when its errors cease. AWS tells no numbers: these are ours.

/// "Anomaly detection is automatically enabled on groups with at least three healthy targets."
const TARGETS_MIN: usize = 3;
/// Fewer answers of a target than this say nothing about it.
const ANSWERS_MIN: f64 = 5.0;
const ERRORS_MIN: f64 = 3.0;
/// An anomalous target fails so many times as often as the others together,
const RATIO: f64 = 3.0;
/// and at least this often.
const ERROR_SHARE_MIN: f64 = 0.1;
/// What a second leaves of what was seen before: half of it is gone after 7 s.
const KEPT: f64 = 0.9;

/// A whole share of traffic.
pub const WHOLE: u32 = 1024;
/// "A negligible level": enough to see that it has recovered.
const SHARE_MIN: u32 = 16;

/// What was seen of one target, older things counting less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trend {
    answers: f64,
    errors: f64,
}

impl Trend {
    /// Another second is over.
    pub fn take(&mut self, answers: u32, errors: u32) {
        self.answers = self.answers * KEPT + f64::from(answers);
        self.errors = self.errors * KEPT + f64::from(errors);
    }
}

/// Which of a group's healthy targets are anomalous.
pub fn anomalous(trends: &[Trend]) -> Vec<bool> {
    if trends.len() < TARGETS_MIN {
        return vec![false; trends.len()];
    }
    let (answers, errors) = trends.iter().fold((0.0, 0.0), |sum, each| {
        (sum.0 + each.answers, sum.1 + each.errors)
    });
    let judge = |each: &Trend| {
        let (other_answers, other_errors) = (answers - each.answers, errors - each.errors);
        let share = each.errors / each.answers.max(1.0);
        let others = other_errors / other_answers.max(1.0);
        each.answers >= ANSWERS_MIN
            && each.errors >= ERRORS_MIN
            && share >= ERROR_SHARE_MIN
            && share >= RATIO * others
    };
    trends.iter().map(judge).collect()
}

/// A target's share for the next second.
pub fn next_share(share: u32, is_anomalous: bool) -> u32 {
    if is_anomalous {
        (share / 2).max(SHARE_MIN)
    } else {
        (share + share / 4).clamp(SHARE_MIN, WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trends(seen: &[(u32, u32)]) -> Vec<Trend> {
        seen.iter()
            .map(|&(answers, errors)| {
                let mut trend = Trend::default();
                trend.take(answers, errors);
                trend
            })
            .collect()
    }

    #[test]
    fn who_is_worse_than_the_others() {
        for (seen, expected) in [
            (
                vec![(100, 50), (100, 0), (100, 0)],
                vec![true, false, false],
            ),
            (vec![(100, 50), (100, 50), (100, 50)], vec![false; 3]),
            (vec![(100, 50), (100, 0)], vec![false; 2]),
            (vec![(4, 4), (100, 0), (100, 0)], vec![false; 3]),
            (vec![(100, 5), (100, 0), (100, 0)], vec![false; 3]),
            (
                vec![(100, 40), (100, 12), (100, 12)],
                vec![true, false, false],
            ),
            (vec![(100, 30), (100, 12), (100, 12)], vec![false; 3]),
        ] {
            assert_eq!(anomalous(&trends(&seen)), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_share_falls_fast_and_rises_slowly() {
        let mut share = WHOLE;
        let steps = (1..).find(|_| {
            share = next_share(share, true);
            share == SHARE_MIN
        });
        assert_eq!(steps, Some(6));
        let steps = (1..).find(|_| {
            share = next_share(share, false);
            share == WHOLE
        });
        assert!(
            steps.is_some_and(|steps| (15..30).contains(&steps)),
            "{steps:?}"
        );
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut trends = trends(&[(100, 50), (100, 0), (100, 0)]);
        assert!(anomalous(&trends)[0]);
        let quiet = (1..60).find(|_| {
            trends.iter_mut().for_each(|trend| trend.take(100, 0));
            !anomalous(&trends)[0]
        });
        assert!(quiet.is_some());
    }
}
