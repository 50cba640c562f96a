//! When an alarm goes off: a pure function of its newest data points.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>

use fogbank_types::alarm::{AlarmState, Comparison, MetricWatch, TreatMissing};

/// How many data points are looked at beside those that decide, as AWS's own examples do: late or missing ones are made
/// up for by older ones.
pub const EXTRA_PERIODS: usize = 2;

/// What an evaluation says.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// None: the state stays as it is.
    pub state: Option<AlarmState>,
    /// The data points that decided, oldest first.
    pub decided: Vec<(i64, f64)>,
    /// How many missing ones were filled in.
    pub filled: usize,
}

/// The verdict on the data points of the evaluation range, oldest first; `None` is missing.
pub fn judge(watch: &MetricWatch, points: &[(i64, Option<f64>)]) -> Verdict {
    let periods = watch.evaluation_periods as usize;
    let needed = watch
        .datapoints_to_alarm
        .unwrap_or(watch.evaluation_periods) as usize;
    let breaches = |value: f64| watch.comparison.holds(value, watch.threshold);
    let existing: Vec<(i64, f64)> = points
        .iter()
        .filter_map(|(at, v)| Some((*at, (*v)?)))
        .collect();
    // The newest of those that are there, whatever is missing between them.
    let decided = existing[existing.len().saturating_sub(periods)..].to_vec();
    let filled = periods - decided.len();
    let breaching = decided.iter().filter(|(_, value)| breaches(*value)).count();
    let by_count = |breaching: usize| match breaching >= needed {
        true => Some(AlarmState::Alarm),
        false => Some(AlarmState::Ok),
    };
    let treat = watch.treat_missing.unwrap_or(TreatMissing::Missing);
    let state = match treat {
        _ if filled == 0 => by_count(breaching),
        TreatMissing::Breaching => by_count(breaching + filled),
        TreatMissing::NotBreaching => by_count(breaching),
        _ if breaching >= needed => Some(AlarmState::Alarm),
        _ if breaching < decided.len() => Some(AlarmState::Ok),
        TreatMissing::Ignore => None,
        TreatMissing::Missing if decided.is_empty() => Some(AlarmState::InsufficientData),
        // "Avoiding premature transitions to alarm state": one that breaches, long enough ago, and nothing since.
        TreatMissing::Missing => {
            let newest = &points[points.len().saturating_sub(periods)..];
            let age = newest
                .iter()
                .position(|(_, value)| value.is_some_and(breaches))
                .map_or(0, |place| newest.len() - place);
            (age >= needed).then_some(AlarmState::Alarm)
        }
    };
    Verdict {
        state,
        decided,
        filled,
    }
}

/// AWS's sentence for it.
pub fn reason(
    watch: &MetricWatch,
    verdict: &Verdict,
    state: AlarmState,
    from: AlarmState,
) -> String {
    let periods = watch.evaluation_periods as usize;
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let were = |n: usize| if n == 1 { "was" } else { "were" };
    if state == AlarmState::InsufficientData {
        return format!(
            "Insufficient Data: {} {} unknown.",
            count(periods, "datapoint"),
            were(periods)
        );
    }
    let treated = match watch.treat_missing {
        Some(TreatMissing::Breaching) => "Breaching",
        Some(TreatMissing::NotBreaching) => "NonBreaching",
        _ => "Missing",
    };
    let filled = verdict.filled;
    let fill = format!(
        "{} {} treated as [{treated}]",
        count(filled, "missing datapoint"),
        were(filled)
    );
    if verdict.decided.is_empty() {
        return format!(
            "Threshold Crossed: no datapoints were received for {} and {fill}.",
            count(filled, "period")
        );
    }
    let breaches = state == AlarmState::Alarm;
    let told: Vec<&(i64, f64)> = verdict
        .decided
        .iter()
        .rev()
        .filter(|(_, v)| watch.comparison.holds(*v, watch.threshold) == breaches)
        .collect();
    let list: Vec<String> = told
        .iter()
        .map(|(at, value)| format!("{value:?} ({})", super::dates::short(*at)))
        .collect();
    let needed = watch
        .datapoints_to_alarm
        .unwrap_or(watch.evaluation_periods) as usize;
    let least = if breaches {
        needed
    } else {
        periods + 1 - needed
    };
    let not = if breaches { "" } else { "not " };
    let and = if filled == 0 {
        String::new()
    } else {
        format!(" and {fill}")
    };
    format!(
        "Threshold Crossed: {} out of the last {} [{}] {} {not}{} the threshold ({:?}){and} (minimum {} for {} -> {} transition).",
        told.len(),
        count(periods, "datapoint"),
        list.join(", "),
        were(told.len()),
        words(watch.comparison),
        watch.threshold,
        count(least, "datapoint"),
        if from == state {
            if breaches { "OK" } else { "ALARM" }
        } else {
            from.as_str()
        },
        state.as_str(),
    )
}

fn words(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::GreaterThanOrEqualToThreshold => "greater than or equal to",
        Comparison::GreaterThanThreshold => "greater than",
        Comparison::LessThanThreshold => "less than",
        Comparison::LessThanOrEqualToThreshold => "less than or equal to",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::alarm::{AlarmSource, AlarmState::*};

    fn watch(needed: u32, periods: u32, treat: TreatMissing) -> MetricWatch {
        MetricWatch {
            source: AlarmSource::Queries(Vec::new()),
            evaluation_periods: periods,
            datapoints_to_alarm: Some(needed),
            threshold: 0.5,
            comparison: Comparison::GreaterThanThreshold,
            treat_missing: Some(treat),
            low_samples: None,
        }
    }

    /// `0` is within the threshold, `X` breaches it, `-` is missing; the newest is on the right, as in AWS's tables.
    fn points(text: &str) -> Vec<(i64, Option<f64>)> {
        let value = |c: char| match c {
            'X' => Some(1.0),
            '0' => Some(0.0),
            _ => None,
        };
        let characters = text.chars().filter(|c| *c != ' ');
        characters
            .enumerate()
            .map(|(at, c)| (at as i64 * 60_000, value(c)))
            .collect()
    }

    /// The tables of "How alarm state is evaluated when data is missing": missing, ignore, breaching, notBreaching.
    #[test]
    fn the_tables_of_aws() {
        const KEPT: Option<AlarmState> = None;
        let (ok, alarm, unknown) = (Some(Ok), Some(Alarm), Some(InsufficientData));
        for (needed, text, filled, states) in [
            (3, "0 - X - X", 0, [ok, ok, ok, ok]),
            (3, "0 - - - -", 2, [ok, ok, ok, ok]),
            (3, "- - - - -", 3, [unknown, KEPT, alarm, ok]),
            (3, "0 X X - X", 0, [alarm, alarm, alarm, alarm]),
            (3, "- - X - -", 2, [alarm, KEPT, alarm, ok]),
            (2, "0 - X - X", 0, [alarm, alarm, alarm, alarm]),
            (2, "0 0 X 0 X", 0, [alarm, alarm, alarm, alarm]),
            (2, "0 - X - -", 1, [ok, ok, alarm, ok]),
            (2, "- - - - 0", 2, [ok, ok, alarm, ok]),
            (2, "- - - X -", 2, [alarm, KEPT, alarm, ok]),
        ] {
            let treats = [
                TreatMissing::Missing,
                TreatMissing::Ignore,
                TreatMissing::Breaching,
                TreatMissing::NotBreaching,
            ];
            for (treat, state) in treats.into_iter().zip(states) {
                let verdict = judge(&watch(needed, 3, treat), &points(text));
                assert_eq!(
                    (verdict.state, verdict.filled),
                    (state, filled),
                    "{needed} of 3, {text}, {treat:?}"
                );
            }
        }
    }

    #[test]
    fn a_breach_that_is_too_young_decides_nothing() {
        let verdict = judge(&watch(2, 3, TreatMissing::Missing), &points("- - - - X"));
        assert_eq!(verdict.state, None);
    }

    #[test]
    fn whole_data_are_counted() {
        for (text, state) in [("0 0 X X X", Alarm), ("X X X 0 X", Ok), ("0 0 0 0 0", Ok)] {
            let verdict = judge(&watch(3, 3, TreatMissing::Missing), &points(text));
            assert_eq!(verdict.state, Some(state), "{text}");
        }
    }

    #[test]
    fn reasons_are_in_the_words_of_aws() {
        let one = watch(1, 1, TreatMissing::Missing);
        let says = |watch: &MetricWatch, text: &str, from: AlarmState| {
            let verdict = judge(watch, &points(text));
            reason(watch, &verdict, verdict.state.unwrap_or(from), from)
        };
        assert_eq!(
            says(&one, "- - X", Ok),
            "Threshold Crossed: 1 out of the last 1 datapoint [1.0 (01/01/70 00:02:00)] was greater than the threshold (0.5) (minimum 1 datapoint for OK -> ALARM transition)."
        );
        assert_eq!(
            says(&watch(2, 3, TreatMissing::Missing), "0 0 X 0 0", Alarm),
            "Threshold Crossed: 2 out of the last 3 datapoints [0.0 (01/01/70 00:04:00), 0.0 (01/01/70 00:03:00)] were not greater than the threshold (0.5) (minimum 2 datapoints for ALARM -> OK transition)."
        );
        assert_eq!(
            says(&one, "- - -", Ok),
            "Insufficient Data: 1 datapoint was unknown."
        );
        assert_eq!(
            says(&watch(2, 2, TreatMissing::Breaching), "- - - -", Ok),
            "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching]."
        );
    }
}
