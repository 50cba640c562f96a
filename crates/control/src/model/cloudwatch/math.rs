//! Metric math: what an expression gives over series of values. Pure.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax>
//!
//! Between two series an operator acts where both have a value; between a series and a number at each value. Functions
//! of one series give a number, of several give a series.

use super::expression::{Expression, Operator};
use std::collections::{BTreeMap, BTreeSet};

/// Values by the start of their period in ms.
pub type Points = BTreeMap<i64, f64>;

/// A series of values, one a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeSeries {
    pub label: String,
    pub period_s: i64,
    pub points: Points,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Number(f64),
    Series(TimeSeries),
    /// Several series, as METRICS() and lists give.
    Array(Vec<TimeSeries>),
}

/// What an expression is about.
pub struct Surroundings<'a> {
    /// The outcomes of other queries, by id.
    pub named: &'a BTreeMap<String, Outcome>,
    /// The metrics of the call, for METRICS(): id and series.
    pub metrics: &'a [(String, TimeSeries)],
    /// What is asked for, in ms, aligned to the period; the end is not part of it.
    pub range: (i64, i64),
    pub period_s: i64,
}

type Result<T> = std::result::Result<T, String>;

pub fn evaluate(expression: &Expression, about: &Surroundings<'_>) -> Result<Outcome> {
    match expression {
        Expression::Number(number) => Ok(Outcome::Number(*number)),
        Expression::Text(_) => Err("A text is no value".to_owned()),
        Expression::Name(name) => about
            .named
            .get(name)
            .cloned()
            .ok_or_else(|| format!("Unknown identifier {name}")),
        Expression::List(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(evaluate(part, about)?.into_array(about));
            }
            Ok(Outcome::Array(all))
        }
        Expression::Negative(inner) => Ok(evaluate(inner, about)?.map(|value| -value)),
        Expression::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, about)?, evaluate(right, about)?);
            binary(left, right, |a, b| apply(*operator, a, b))
        }
        Expression::Call(function, arguments) => call(function, arguments, about),
    }
}

impl Outcome {
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        let each = |mut series: TimeSeries| {
            series
                .points
                .values_mut()
                .for_each(|value| *value = change(*value));
            series.points.retain(|_, value| value.is_finite());
            series
        };
        match self {
            Self::Number(number) => Self::Number(change(number)),
            Self::Series(series) => Self::Series(each(series)),
            Self::Array(all) => Self::Array(all.into_iter().map(each).collect()),
        }
    }

    fn map_series(
        self,
        about: &Surroundings<'_>,
        change: impl Fn(TimeSeries) -> TimeSeries,
    ) -> Self {
        match self {
            Self::Array(all) => Self::Array(all.into_iter().map(change).collect()),
            other => Self::Series(change(other.into_series(about))),
        }
    }

    fn into_array(self, about: &Surroundings<'_>) -> Vec<TimeSeries> {
        match self {
            Self::Array(all) => all,
            other => vec![other.into_series(about)],
        }
    }

    /// A number is a series of that value in every period.
    pub fn into_series(self, about: &Surroundings<'_>) -> TimeSeries {
        match self {
            Self::Series(series) => series,
            Self::Array(mut all) if all.len() == 1 => all.remove(0),
            Self::Array(_) => TimeSeries::default(),
            Self::Number(number) => TimeSeries {
                label: String::new(),
                period_s: about.period_s,
                points: about.periods().map(|at| (at, number)).collect(),
            },
        }
    }
}

impl Surroundings<'_> {
    fn periods(&self) -> impl Iterator<Item = i64> + use<> {
        let step = usize::try_from(self.period_s.max(1) * 1_000).unwrap_or(usize::MAX);
        (self.range.0..self.range.1).step_by(step)
    }
}

fn apply(operator: Operator, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Power => a.powf(b),
        Operator::Equal => truth(a == b),
        Operator::Unequal => truth(a != b),
        Operator::Less => truth(a < b),
        Operator::LessOrEqual => truth(a <= b),
        Operator::Greater => truth(a > b),
        Operator::GreaterOrEqual => truth(a >= b),
        Operator::And => truth(a != 0.0 && b != 0.0),
        Operator::Or => truth(a != 0.0 || b != 0.0),
    }
}

/// What cannot be computed (a division by zero) has no value.
fn binary(
    left: Outcome,
    right: Outcome,
    apply: impl Fn(f64, f64) -> f64 + Copy,
) -> Result<Outcome> {
    let both = |left: &TimeSeries, right: &TimeSeries| TimeSeries {
        label: left.label.clone(),
        period_s: left.period_s.max(right.period_s),
        points: left
            .points
            .iter()
            .filter_map(|(at, a)| Some((*at, apply(*a, *right.points.get(at)?))))
            .filter(|(_, value)| value.is_finite())
            .collect(),
    };
    Ok(match (left, right) {
        (Outcome::Number(a), Outcome::Number(b)) => Outcome::Number(apply(a, b)),
        (left, Outcome::Number(b)) => left.map(|a| apply(a, b)),
        (Outcome::Number(a), right) => right.map(|b| apply(a, b)),
        (Outcome::Series(a), Outcome::Series(b)) => Outcome::Series(both(&a, &b)),
        (Outcome::Series(a), Outcome::Array(all)) => {
            Outcome::Array(all.iter().map(|b| both(&a, b)).collect())
        }
        (Outcome::Array(all), Outcome::Series(b)) => {
            Outcome::Array(all.iter().map(|a| both(a, &b)).collect())
        }
        (Outcome::Array(_), Outcome::Array(_)) => {
            return Err("An operator cannot be applied to two arrays of time series".to_owned());
        }
    })
}

fn call(function: &str, arguments: &[Expression], about: &Surroundings<'_>) -> Result<Outcome> {
    let argument = |index: usize| match arguments.get(index) {
        Some(argument) => evaluate(argument, about),
        None => Err(format!("{function} needs more arguments")),
    };
    let exactly = |count: usize| match arguments.len() == count {
        true => Ok(()),
        false => Err(format!(
            "{function} takes {count} arguments, not {}",
            arguments.len()
        )),
    };
    match function {
        "METRICS" => return metrics(arguments, about),
        "IF" => return condition(arguments, about),
        "FILL" => {
            exactly(2)?;
            return fill(argument(0)?, &arguments[1], about);
        }
        _ => exactly(1)?,
    }
    let value = argument(0)?;
    match function {
        "ABS" => Ok(value.map(f64::abs)),
        "CEIL" => Ok(value.map(f64::ceil)),
        "FLOOR" => Ok(value.map(f64::floor)),
        "LOG" => Ok(value.map(f64::ln)),
        "LOG10" => Ok(value.map(f64::log10)),
        "SUM" => Ok(fold(value, |values| values.iter().sum())),
        "AVG" => Ok(fold(value, |values| {
            values.iter().sum::<f64>() / values.len() as f64
        })),
        "MIN" => Ok(fold(value, |values| {
            values.iter().copied().fold(f64::INFINITY, f64::min)
        })),
        "MAX" => Ok(fold(value, |values| {
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        })),
        "STDDEV" => Ok(fold(value, deviation)),
        "DATAPOINT_COUNT" => Ok(fold(value, |values| values.len() as f64)),
        "FIRST" | "LAST" => match value {
            Outcome::Array(mut all) if !all.is_empty() => {
                let index = if function == "FIRST" {
                    0
                } else {
                    all.len() - 1
                };
                Ok(Outcome::Series(all.swap_remove(index)))
            }
            _ => Err(format!("{function} takes an array of time series")),
        },
        "PERIOD" => Ok(Outcome::Number(value.into_series(about).period_s as f64)),
        "TIME_SERIES" => Ok(Outcome::Series(value.into_series(about))),
        "RATE" => Ok(value.map_series(about, |s| neighbours(s, |d, ms| d / (ms / 1e3)))),
        "DIFF" => Ok(value.map_series(about, |s| neighbours(s, |d, _| d))),
        "DIFF_TIME" => Ok(value.map_series(about, |s| neighbours(s, |_, ms| ms / 1e3))),
        "RUNNING_SUM" => Ok(value.map_series(about, |mut series| {
            let mut sum = 0.0;
            series.points.values_mut().for_each(|value| {
                sum += *value;
                *value = sum;
            });
            series
        })),
        "EPOCH" => Ok(value.map_series(about, |mut series| {
            series
                .points
                .iter_mut()
                .for_each(|(at, value)| *value = *at as f64 / 1e3);
            series
        })),
        "MINUTE" => Ok(clock(value, about, |s| s / 60 % 60)),
        "HOUR" => Ok(clock(value, about, |s| s / 3_600 % 24)),
        // 1 = Monday; 1970 began on a Thursday.
        "DAY" => Ok(clock(value, about, |s| (s / 86_400 + 3) % 7 + 1)),
        "REMOVE_EMPTY" => Ok(Outcome::Array(
            value
                .into_array(about)
                .into_iter()
                .filter(|s| !s.points.is_empty())
                .collect(),
        )),
        _ => Err(format!("The function {function} is not supported")),
    }
}

fn clock(value: Outcome, about: &Surroundings<'_>, of: impl Fn(i64) -> i64) -> Outcome {
    value.map_series(about, |mut series| {
        let each = |(at, value): (&i64, &mut f64)| *value = of(at.div_euclid(1_000)) as f64;
        series.points.iter_mut().for_each(each);
        series
    })
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (square / values.len() as f64).sqrt()
}

/// One number of one series, one series of several: what there is at each time.
fn fold(value: Outcome, of: impl Fn(&[f64]) -> f64) -> Outcome {
    match value {
        Outcome::Number(number) => Outcome::Number(of(&[number])),
        Outcome::Series(series) => {
            let values: Vec<f64> = series.points.into_values().collect();
            Outcome::Number(if values.is_empty() { 0.0 } else { of(&values) })
        }
        Outcome::Array(all) => {
            let times: BTreeSet<i64> = all.iter().flat_map(|s| s.points.keys().copied()).collect();
            let at = |at: i64| {
                let values: Vec<f64> = all
                    .iter()
                    .filter_map(|s| s.points.get(&at).copied())
                    .collect();
                (at, of(&values))
            };
            Outcome::Series(TimeSeries {
                label: String::new(),
                period_s: all.iter().map(|s| s.period_s).max().unwrap_or(60),
                points: times.into_iter().map(at).collect(),
            })
        }
    }
}

/// What a value and the one before it give: their difference, and the time between them in ms.
fn neighbours(series: TimeSeries, of: impl Fn(f64, f64) -> f64) -> TimeSeries {
    let pairs: Vec<(i64, f64)> = series.points.into_iter().collect();
    let points = pairs
        .windows(2)
        .map(|pair| {
            (
                pair[1].0,
                of(pair[1].1 - pair[0].1, (pair[1].0 - pair[0].0) as f64),
            )
        })
        .collect();
    TimeSeries { points, ..series }
}

fn metrics(arguments: &[Expression], about: &Surroundings<'_>) -> Result<Outcome> {
    let part = match arguments {
        [] => "",
        [Expression::Text(part)] => part.as_str(),
        _ => return Err("METRICS takes nothing or a text".to_owned()),
    };
    let chosen = about.metrics.iter().filter(|(id, _)| id.contains(part));
    Ok(Outcome::Array(
        chosen.map(|(_, series)| series.clone()).collect(),
    ))
}

/// `IF(condition, then, else)`, or `IF(condition, then)` for only those values.
fn condition(arguments: &[Expression], about: &Surroundings<'_>) -> Result<Outcome> {
    let [condition, then, rest @ ..] = arguments else {
        return Err("IF takes two or three arguments".to_owned());
    };
    let condition = evaluate(condition, about)?;
    let then = evaluate(then, about)?;
    let otherwise = match rest {
        [] => None,
        [otherwise] => Some(evaluate(otherwise, about)?),
        _ => return Err("IF takes two or three arguments".to_owned()),
    };
    let condition = match condition {
        Outcome::Number(number) if number != 0.0 => return Ok(then),
        Outcome::Number(_) => return otherwise.ok_or("IF has no other value".to_owned()),
        Outcome::Series(series) => series,
        Outcome::Array(_) => return Err("IF takes one time series as its condition".to_owned()),
    };
    let at = |outcome: &Outcome, at: i64| match outcome {
        Outcome::Number(number) => Some(*number),
        Outcome::Series(series) => series.points.get(&at).copied(),
        Outcome::Array(_) => None,
    };
    let points = condition.points.iter().filter_map(|(time, holds)| {
        let chosen = if *holds != 0.0 {
            Some(&then)
        } else {
            otherwise.as_ref()
        };
        Some((*time, at(chosen?, *time)?))
    });
    Ok(Outcome::Series(TimeSeries {
        points: points.collect(),
        ..condition.clone()
    }))
}

/// Gives each period of the range a value: a number, the last one before (REPEAT), or one between (LINEAR).
fn fill(value: Outcome, with: &Expression, about: &Surroundings<'_>) -> Result<Outcome> {
    let with_value = match with {
        Expression::Name(name) if matches!(name.as_str(), "REPEAT" | "LINEAR") => None,
        other => Some(evaluate(other, about)?),
    };
    let linear = matches!(with, Expression::Name(name) if name == "LINEAR");
    let complete = |series: TimeSeries| {
        let mut points = series.points.clone();
        for at in about.periods() {
            if points.contains_key(&at) {
                continue;
            }
            let before = series.points.range(..at).next_back();
            let after = series.points.range(at..).next();
            let value = match (&with_value, before, after) {
                (Some(Outcome::Number(number)), ..) => Some(*number),
                (Some(Outcome::Series(other)), ..) => other.points.get(&at).copied(),
                (Some(Outcome::Array(_)), ..) => None,
                (None, Some((t0, v0)), Some((t1, v1))) if linear => {
                    Some(v0 + (v1 - v0) * (at - t0) as f64 / (t1 - t0) as f64)
                }
                (None, Some((_, value)), _) if !linear => Some(*value),
                _ => None,
            };
            if let Some(value) = value {
                points.insert(at, value);
            }
        }
        TimeSeries { points, ..series }
    };
    Ok(value.map_series(about, complete))
}

#[cfg(test)]
mod tests {
    use super::super::expression::parse;
    use super::*;

    fn series(points: &[(i64, f64)]) -> TimeSeries {
        TimeSeries {
            label: String::new(),
            period_s: 60,
            points: points
                .iter()
                .map(|(minute, v)| (minute * 60_000, *v))
                .collect(),
        }
    }

    /// m1 = 1, 2, -, 4; m2 = 10, -, 30, 0 in the minutes 0 to 3.
    fn gives(text: &str) -> Result<Outcome> {
        let m1 = series(&[(0, 1.0), (1, 2.0), (3, 4.0)]);
        let m2 = series(&[(0, 10.0), (2, 30.0), (3, 0.0)]);
        let metrics = [("m1".to_owned(), m1), ("m2".to_owned(), m2)];
        let named = metrics
            .iter()
            .map(|(id, series)| (id.clone(), Outcome::Series(series.clone())))
            .collect();
        let about = Surroundings {
            named: &named,
            metrics: &metrics,
            range: (0, 240_000),
            period_s: 60,
        };
        evaluate(&parse(text)?, &about)
    }

    #[track_caller]
    fn is_series(text: &str, points: &[(i64, f64)]) {
        match gives(text) {
            Ok(Outcome::Series(found)) => assert_eq!(found.points, series(points).points, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn arithmetic_acts_where_both_have_a_value() {
        is_series("m1+m2", &[(0, 11.0), (3, 4.0)]);
        is_series("m1*2-1", &[(0, 1.0), (1, 3.0), (3, 7.0)]);
        is_series("m1/m2", &[(0, 0.1)]);
        is_series("100*(m1/(m1+m2))", &[(0, 100.0 / 11.0), (3, 100.0)]);
        is_series("-m1", &[(0, -1.0), (1, -2.0), (3, -4.0)]);
        is_series("m1 >= 2", &[(0, 0.0), (1, 1.0), (3, 1.0)]);
        assert_eq!(gives("2^3"), Ok(Outcome::Number(8.0)));
    }

    #[test]
    fn functions_of_one_series_give_a_number_and_of_several_a_series() {
        assert_eq!(gives("SUM(m1)"), Ok(Outcome::Number(7.0)));
        assert_eq!(gives("MAX(m1)"), Ok(Outcome::Number(4.0)));
        assert_eq!(gives("PERIOD(m1)"), Ok(Outcome::Number(60.0)));
        is_series(
            "SUM(METRICS())",
            &[(0, 11.0), (1, 2.0), (2, 30.0), (3, 4.0)],
        );
        is_series("AVG([m1, m2])", &[(0, 5.5), (1, 2.0), (2, 30.0), (3, 2.0)]);
        is_series("MIN(METRICS(\"2\"))", &[(0, 10.0), (2, 30.0), (3, 0.0)]);
        is_series("m1/PERIOD(m1)*60", &[(0, 1.0), (1, 2.0), (3, 4.0)]);
    }

    #[test]
    fn gaps_are_filled() {
        is_series("FILL(m1, 0)", &[(0, 1.0), (1, 2.0), (2, 0.0), (3, 4.0)]);
        is_series(
            "FILL(m1, REPEAT)",
            &[(0, 1.0), (1, 2.0), (2, 2.0), (3, 4.0)],
        );
        is_series(
            "FILL(m1, LINEAR)",
            &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)],
        );
        is_series("FILL(m1, m2)", &[(0, 1.0), (1, 2.0), (2, 30.0), (3, 4.0)]);
    }

    #[test]
    fn conditions_choose_by_time() {
        is_series("IF(m1 > 1, m1, 0)", &[(0, 0.0), (1, 2.0), (3, 4.0)]);
        is_series("IF(m1 > 1, 1)", &[(1, 1.0), (3, 1.0)]);
        assert_eq!(gives("IF(1, 2, 3)"), Ok(Outcome::Number(2.0)));
    }

    #[test]
    fn changes_between_neighbours() {
        is_series("DIFF(m1)", &[(1, 1.0), (3, 2.0)]);
        is_series("RATE(m1)*60", &[(1, 1.0), (3, 1.0)]);
        is_series("DIFF_TIME(m1)", &[(1, 60.0), (3, 120.0)]);
        is_series("RUNNING_SUM(m1)", &[(0, 1.0), (1, 3.0), (3, 7.0)]);
        is_series("MINUTE(m1)", &[(0, 0.0), (1, 1.0), (3, 3.0)]);
        is_series("DAY(m1)", &[(0, 4.0), (1, 4.0), (3, 4.0)]);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for text in [
            "x+1",
            "NOTHING(m1)",
            "SUM()",
            "SUM(m1, m2)",
            "IF(m1)",
            "METRICS()+METRICS()",
            "\"a\"",
        ] {
            assert!(gives(text).is_err(), "{text}");
        }
    }
}
