//! Arithmetic of observations: how sets of them become one, and what AWS's statistics say of a set.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>
//!
//! What must stay true: joining is associative and commutative, so that data may come in any order and from any number
//! of sources; a distribution is bounded.

use crate::metric::StatisticSet;

/// Pairs of a distribution before neighbours are joined.
pub const DISTRIBUTION_MAX: usize = 160;

/// What is asked of a set of observations.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// `p99.9`: the value that so many percent of the observations don't exceed.
    Percentile(f64),
    Trimmed(Trimmed, Bounds),
    /// `PR(:300)`: how many percent of the observations are within the bounds.
    PercentileRank(Bounds),
}

/// What is said of the observations within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trimmed {
    /// `TM`
    Mean,
    /// `WM`: those outside count as the bound they exceed.
    WinsorizedMean,
    /// `TC`
    Count,
    /// `TS`
    Sum,
}

/// Bounds of observations; the lower is exclusive, the upper inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds {
    /// Percent of the observations, in order.
    Percent(f64, f64),
    Value(f64, f64),
}

impl Statistic {
    /// Reads a statistic as CloudWatch spells it: `Average`, `p99`, `tm90`, `TM(10%:90%)`, `PR(:300)`, `IQM`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "SampleCount" => return Some(Self::SampleCount),
            "Average" => return Some(Self::Average),
            "Sum" => return Some(Self::Sum),
            "Minimum" => return Some(Self::Minimum),
            "Maximum" => return Some(Self::Maximum),
            _ => {}
        }
        if !text.is_ascii() {
            return None;
        }
        if text.eq_ignore_ascii_case("iqm") {
            let middle = Bounds::Percent(25.0, 75.0);
            return Some(Self::Trimmed(Trimmed::Mean, middle));
        }
        if let Some(rest) = text.strip_prefix('p') {
            return percent(rest).map(Self::Percentile);
        }
        let (name, rest) = text.split_at_checked(2)?;
        let kind = match name.to_ascii_lowercase().as_str() {
            "tm" => Some(Trimmed::Mean),
            "wm" => Some(Trimmed::WinsorizedMean),
            "tc" => Some(Trimmed::Count),
            "ts" => Some(Trimmed::Sum),
            "pr" => None,
            _ => return None,
        };
        let inner = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')'));
        match (kind, inner) {
            (Some(kind), None) => {
                let bounds = Bounds::Percent(0.0, percent(rest)?);
                Some(Self::Trimmed(kind, bounds))
            }
            (Some(kind), Some(inner)) => Some(Self::Trimmed(kind, bounds(inner)?)),
            (None, Some(inner)) => match bounds(inner)? {
                bounds @ Bounds::Value(..) => Some(Self::PercentileRank(bounds)),
                Bounds::Percent(..) => None,
            },
            (None, None) => None,
        }
    }

    /// One of the five that every set of observations has.
    pub fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::SampleCount | Self::Average | Self::Sum | Self::Minimum | Self::Maximum
        )
    }
}

/// `99`, `99.9`: 0 to 100, at most ten digits after the point.
fn percent(text: &str) -> Option<f64> {
    let digits = text.split_once('.').map_or("", |(_, digits)| digits).len();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain && digits <= 10)?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// `10%:90%`, `:90%`, `10%:`, `100:2000`, `:300`, `5:`.
fn bounds(text: &str) -> Option<Bounds> {
    let (low, high) = text.split_once(':')?;
    let (low, high) = (low.trim(), high.trim());
    if low.is_empty() && high.is_empty() {
        return None;
    }
    if low.ends_with('%') || high.ends_with('%') {
        let side = |text: &str, open: f64| match text {
            "" => Some(open),
            text => percent(text.strip_suffix('%')?),
        };
        let (low, high) = (side(low, 0.0)?, side(high, 100.0)?);
        return (low < high).then_some(Bounds::Percent(low, high));
    }
    let side = |text: &str, open: f64| match text {
        "" => Some(open),
        text => text.parse().ok().filter(|n: &f64| n.is_finite()),
    };
    let (low, high) = (side(low, f64::NEG_INFINITY)?, side(high, f64::INFINITY)?);
    (low < high).then_some(Bounds::Value(low, high))
}

impl StatisticSet {
    /// One value, observed so many times.
    pub fn of(value: f64, count: f64) -> Self {
        Self {
            count,
            sum: value * count,
            minimum: value,
            maximum: value,
            distribution: vec![(value, count)],
        }
    }

    /// Adds the observations of another set.
    pub fn join(&mut self, other: &Self) {
        if other.count <= 0.0 {
            return;
        }
        if self.count <= 0.0 {
            *self = other.clone();
            self.distribution = other.observed().unwrap_or_default();
            bound(&mut self.distribution);
            return;
        }
        self.distribution = match (self.observed(), other.observed()) {
            (Some(mut all), Some(more)) => {
                all.extend(more);
                all.sort_by(|a, b| a.0.total_cmp(&b.0));
                all.dedup_by(|next, kept| {
                    let same = next.0 == kept.0;
                    if same {
                        kept.1 += next.1;
                    }
                    same
                });
                bound(&mut all);
                all
            }
            // What is not known of a part is not known of the whole.
            _ => Vec::new(),
        };
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
    }

    /// The values and how often each was observed, sorted; none if only their sum is known.
    pub fn observed(&self) -> Option<Vec<(f64, f64)>> {
        if !self.distribution.is_empty() {
            let mut pairs = self.distribution.clone();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            return Some(pairs);
        }
        // AWS's rule: a set of equal values can only be one thing.
        (self.minimum == self.maximum).then(|| vec![(self.minimum, self.count)])
    }

    /// A statistic of the set; none if it has no observation, or needs to know the values and does not.
    pub fn value(&self, statistic: &Statistic) -> Option<f64> {
        if self.count <= 0.0 {
            return None;
        }
        match statistic {
            Statistic::SampleCount => Some(self.count),
            Statistic::Average => Some(self.sum / self.count),
            Statistic::Sum => Some(self.sum),
            Statistic::Minimum => Some(self.minimum),
            Statistic::Maximum => Some(self.maximum),
            Statistic::Percentile(percent) => Some(percentile(&self.observed()?, *percent)),
            Statistic::Trimmed(kind, bounds) => trimmed(&self.observed()?, *kind, *bounds),
            Statistic::PercentileRank(bounds) => {
                let pairs = self.observed()?;
                let total: f64 = pairs.iter().map(|pair| pair.1).sum();
                let inside: f64 = within(&pairs, *bounds).iter().map(|pair| pair.1).sum();
                Some(100.0 * inside / total)
            }
        }
    }
}

/// Joins neighbours until the pairs are few. Bins grow by a factor, as in the histograms that CloudWatch keeps, so that
/// the error is relative to the value.
fn bound(pairs: &mut Vec<(f64, f64)>) {
    let mut factor = 1.01f64;
    while pairs.len() > DISTRIBUTION_MAX {
        let bin = |value: f64| {
            let size = (value.abs().max(1e-9).ln() / factor.ln()).floor();
            if value < 0.0 { -size - 1e6 } else { size }
        };
        let mut joined: Vec<(f64, f64)> = Vec::with_capacity(pairs.len());
        for &(value, count) in pairs.iter() {
            match joined.last_mut() {
                Some(last) if bin(last.0) == bin(value) => {
                    last.0 = (last.0 * last.1 + value * count) / (last.1 + count);
                    last.1 += count;
                }
                _ => joined.push((value, count)),
            }
        }
        *pairs = joined;
        factor = factor.powi(2);
    }
}

fn percentile(pairs: &[(f64, f64)], percent: f64) -> f64 {
    let total: f64 = pairs.iter().map(|pair| pair.1).sum();
    let rank = percent / 100.0 * total;
    let mut seen = 0.0;
    for (value, count) in pairs {
        seen += count;
        // A billionth for what adding up rounds.
        if seen >= rank - total * 1e-9 {
            return *value;
        }
    }
    pairs.last().map_or(0.0, |pair| pair.0)
}

/// The part of the observations that is within bounds; a pair may be cut by a percentage.
fn within(pairs: &[(f64, f64)], bounds: Bounds) -> Vec<(f64, f64)> {
    match bounds {
        Bounds::Value(low, high) => {
            let inside = pairs.iter().filter(|(v, _)| *v > low && *v <= high);
            inside.copied().collect()
        }
        Bounds::Percent(low, high) => {
            let total: f64 = pairs.iter().map(|pair| pair.1).sum();
            let (low, high) = (low / 100.0 * total, high / 100.0 * total);
            let mut seen = 0.0;
            let mut inside = Vec::new();
            for (value, count) in pairs {
                let part = (seen + count).min(high) - seen.max(low);
                if part > total * 1e-12 {
                    inside.push((*value, part));
                }
                seen += count;
            }
            inside
        }
    }
}

fn trimmed(pairs: &[(f64, f64)], kind: Trimmed, bounds: Bounds) -> Option<f64> {
    let inside = within(pairs, bounds);
    let count: f64 = inside.iter().map(|pair| pair.1).sum();
    let sum: f64 = inside.iter().map(|(value, count)| value * count).sum();
    match kind {
        Trimmed::Count => Some(count),
        Trimmed::Sum => Some(sum),
        Trimmed::Mean => (count > 0.0).then(|| sum / count),
        Trimmed::WinsorizedMean => {
            let (low, high) = match bounds {
                Bounds::Value(low, high) => (low, high),
                Bounds::Percent(..) => (inside.first()?.0, inside.last()?.0),
            };
            let total: f64 = pairs.iter().map(|pair| pair.1).sum();
            let sum: f64 = pairs
                .iter()
                .map(|(value, count)| value.clamp(low, high) * count)
                .sum();
            Some(sum / total)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[f64]) -> StatisticSet {
        let mut all = StatisticSet::default();
        values
            .iter()
            .for_each(|v| all.join(&StatisticSet::of(*v, 1.0)));
        all
    }

    fn says(values: &[f64], statistic: &str) -> Option<f64> {
        set(values).value(&Statistic::parse(statistic).unwrap())
    }

    #[test]
    fn the_plain_ones() {
        let values = [3.0, -1.0, 4.0];
        for (statistic, wanted) in [
            ("SampleCount", 3.0),
            ("Sum", 6.0),
            ("Average", 2.0),
            ("Minimum", -1.0),
            ("Maximum", 4.0),
        ] {
            assert_eq!(says(&values, statistic), Some(wanted), "{statistic}");
        }
        assert_eq!(set(&[]).value(&Statistic::Sum), None);
    }

    #[test]
    fn those_that_look_at_each_value() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (statistic, wanted) in [
            ("p50", 50.0),
            ("p99", 99.0),
            ("p99.5", 100.0),
            ("p0", 1.0),
            ("p100", 100.0),
            ("tm90", 45.5),
            ("TM(10%:90%)", 50.5),
            ("TM(10:20)", 15.5),
            ("TC(10%:)", 90.0),
            ("TS(:10)", 55.0),
            ("PR(:30)", 30.0),
            ("PR(10:30)", 20.0),
            ("IQM", 50.5),
            ("WM(:50)", 37.75),
        ] {
            let found = says(&values, statistic).unwrap();
            assert!((found - wanted).abs() < 1e-9, "{statistic}: {found}");
        }
    }

    #[test]
    fn what_is_no_statistic() {
        for text in [
            "",
            "p",
            "90",
            "p101",
            "p-1",
            "pp9",
            "tm",
            "TM(90%:10%)",
            "TM(:)",
            "PR(10%:20%)",
            "PR90",
            "average",
            "p9e1",
            "é9",
            "TM(5%:10)",
        ] {
            assert_eq!(Statistic::parse(text), None, "{text}");
        }
    }

    #[test]
    fn order_of_joining_does_not_matter() {
        let (a, b, c) = (set(&[1.0, 2.0]), set(&[2.0]), set(&[0.5, 9.0]));
        let join = |sets: [&StatisticSet; 3]| {
            let mut all = StatisticSet::default();
            sets.iter().for_each(|set| all.join(set));
            all
        };
        assert_eq!(join([&a, &b, &c]), join([&c, &b, &a]));
    }

    #[test]
    fn a_sum_alone_has_no_percentiles_unless_all_values_are_equal() {
        let mut sums = StatisticSet {
            count: 2.0,
            sum: 3.0,
            minimum: 1.0,
            maximum: 2.0,
            distribution: Vec::new(),
        };
        assert_eq!(sums.value(&Statistic::Percentile(50.0)), None);
        sums.join(&StatisticSet::of(1.0, 1.0));
        assert_eq!(sums.value(&Statistic::Percentile(50.0)), None);
        assert_eq!(sums.value(&Statistic::Sum), Some(4.0));
        let equal = StatisticSet {
            count: 3.0,
            sum: 6.0,
            minimum: 2.0,
            maximum: 2.0,
            distribution: Vec::new(),
        };
        assert_eq!(equal.value(&Statistic::Percentile(50.0)), Some(2.0));
    }

    #[test]
    fn a_distribution_stays_small_and_near() {
        let values: Vec<f64> = (1..=20_000).map(f64::from).collect();
        let set = set(&values);
        assert!(set.distribution.len() <= DISTRIBUTION_MAX);
        let p90 = set.value(&Statistic::Percentile(90.0)).unwrap();
        assert!((p90 / 18_000.0 - 1.0).abs() < 0.1, "{p90}");
    }
}
