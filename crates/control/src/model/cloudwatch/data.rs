//! What PutMetricData takes.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>

use super::Refusal;
use fogbank_types::Timestamp;
use fogbank_types::metric::StatisticSet;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const DATA_MAX: usize = 1_000;
pub const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 150;
/// 2^360: larger sizes are refused.
const VALUE_MAX: f64 = 2.348_542_582_773_833_3e108;

/// One datum as the caller gave it.
#[derive(Clone, Debug, Default)]
pub struct NewDatum {
    /// `MetricData.member.1`, for messages.
    pub path: String,
    pub name: String,
    pub dimensions: Vec<(String, String)>,
    pub at: Option<Timestamp>,
    pub value: Option<f64>,
    pub values: Option<Vec<f64>>,
    pub counts: Option<Vec<f64>>,
    /// SampleCount, Sum, Minimum, Maximum.
    pub statistics: Option<[f64; 4]>,
    pub unit: Option<String>,
    pub resolution: Option<i32>,
}

/// One datum as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub name: String,
    /// Sorted.
    pub dimensions: Vec<(String, String)>,
    pub at: Timestamp,
    pub unit: String,
    pub values: StatisticSet,
    pub fine: bool,
}

/// All of a call's data, or why none of them is taken.
pub fn check(namespace: &str, data: Vec<NewDatum>, now: Timestamp) -> Result<Vec<Datum>, Refusal> {
    if namespace.starts_with("AWS/") {
        return Err(Refusal::Value(
            "The value AWS/ for parameter Namespace is invalid.".to_owned(),
        ));
    }
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "._-/#: ".contains(c));
    if namespace.contains(odd) || namespace.trim().is_empty() {
        return Err(invalid(namespace, "Namespace"));
    }
    if data.is_empty() {
        return Err(Refusal::Missing("MetricData".to_owned()));
    }
    if data.len() > DATA_MAX {
        return Err(Refusal::Value(format!(
            "The collection MetricData must not have a size greater than {DATA_MAX}."
        )));
    }
    data.into_iter()
        .map(|datum| check_datum(datum, now))
        .collect()
}

fn invalid(value: impl std::fmt::Display, parameter: &str) -> Refusal {
    Refusal::Value(format!(
        "The value {value} for parameter {parameter} is invalid."
    ))
}

fn check_datum(new: NewDatum, now: Timestamp) -> Result<Datum, Refusal> {
    let path = &new.path;
    if new.name.trim().is_empty() {
        return Err(Refusal::Missing(format!("{path}.MetricName")));
    }
    let dimensions = sorted_dimensions(new.dimensions.clone(), &format!("{path}.Dimensions"))?;
    let at = new.at.unwrap_or(now);
    if at < now.plus_ms(-14 * DAY_MS) || at > now.plus_ms(2 * HOUR_MS) {
        let when = if at > now { "future" } else { "past" };
        return Err(Refusal::Value(format!(
            "The parameter {path}.Timestamp must specify a time within the past two weeks and no more than two hours in the future; it is too far in the {when}."
        )));
    }
    if let Some(resolution) = new.resolution.filter(|r| !matches!(r, 1 | 60)) {
        return Err(invalid(resolution, &format!("{path}.StorageResolution")));
    }
    let values = check_values(&new)?;
    Ok(Datum {
        name: new.name,
        dimensions,
        at,
        unit: new.unit.unwrap_or_else(|| "None".to_owned()),
        values,
        fine: new.resolution == Some(1),
    })
}

/// Names and values of dimensions, checked and sorted by name.
pub fn sorted_dimensions(
    mut dimensions: Vec<(String, String)>,
    path: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(Refusal::Value(format!(
            "The collection {path} must not have a size greater than {DIMENSIONS_MAX}."
        )));
    }
    for (index, (name, value)) in dimensions.iter().enumerate() {
        let path = format!("{path}.member.{}", index + 1);
        let plain = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
        if name.trim().is_empty() || name.starts_with(':') || !plain(name) || name.len() > 255 {
            return Err(invalid(name, &format!("{path}.Name")));
        }
        if value.trim().is_empty() || !plain(value) || value.len() > 1_024 {
            return Err(invalid(value, &format!("{path}.Value")));
        }
    }
    dimensions.sort();
    if let Some(twice) = dimensions.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Refusal::Value(format!(
            "No two dimensions may have the same name; {} stands twice in {path}.",
            twice[0].0
        )));
    }
    Ok(dimensions)
}

fn in_range(value: f64, parameter: &str) -> Result<f64, Refusal> {
    if value.is_finite() && value.abs() <= VALUE_MAX {
        Ok(value)
    } else {
        Err(invalid(value, parameter))
    }
}

fn exclusive(path: &str, one: &str, other: &str) -> String {
    format!(
        "The parameters {path}.{one} and {path}.{other} are mutually exclusive and you have specified both."
    )
}

fn check_values(new: &NewDatum) -> Result<StatisticSet, Refusal> {
    let path = &new.path;
    match (&new.value, &new.values, &new.statistics) {
        (Some(_), _, Some(_)) => Err(Refusal::Combination(exclusive(
            path,
            "Value",
            "StatisticValues",
        ))),
        (Some(_), Some(_), None) => Err(Refusal::Value(exclusive(path, "Value", "Values"))),
        (None, Some(_), Some(_)) => Err(Refusal::Combination(exclusive(
            path,
            "Values",
            "StatisticValues",
        ))),
        (Some(value), None, None) => {
            let value = in_range(*value, &format!("{path}.Value"))?;
            Ok(StatisticSet::of(value, 1.0))
        }
        (None, Some(values), None) => check_list(values, new.counts.as_deref(), path),
        (None, None, Some(statistics)) => check_statistics(*statistics, path),
        (None, None, None) => Err(Refusal::Missing(format!("{path}.Value"))),
    }
}

fn check_list(values: &[f64], counts: Option<&[f64]>, path: &str) -> Result<StatisticSet, Refusal> {
    if values.is_empty() {
        return Err(Refusal::Missing(format!("{path}.Values")));
    }
    if values.len() > VALUES_MAX {
        return Err(Refusal::Value(format!(
            "The collection {path}.Values must not have a size greater than {VALUES_MAX}."
        )));
    }
    if counts.is_some_and(|counts| counts.len() != values.len()) {
        return Err(Refusal::Value(format!(
            "The parameters {path}.Values and {path}.Counts must be of the same size."
        )));
    }
    let mut all = StatisticSet::default();
    for (index, value) in values.iter().enumerate() {
        let number = index + 1;
        let value = in_range(*value, &format!("{path}.Values.member.{number}"))?;
        let count = counts.map_or(1.0, |counts| counts[index]);
        let name = format!("{path}.Counts.member.{number}");
        if in_range(count, &name)? <= 0.0 {
            return Err(invalid(count, &name));
        }
        all.join(&StatisticSet::of(value, count));
    }
    Ok(all)
}

fn check_statistics(statistics: [f64; 4], path: &str) -> Result<StatisticSet, Refusal> {
    let [count, sum, minimum, maximum] = statistics;
    for (value, name) in statistics
        .into_iter()
        .zip(["SampleCount", "Sum", "Minimum", "Maximum"])
    {
        in_range(value, &format!("{path}.StatisticValues.{name}"))?;
    }
    if count <= 0.0 {
        return Err(invalid(
            count,
            &format!("{path}.StatisticValues.SampleCount"),
        ));
    }
    if minimum > maximum {
        return Err(Refusal::Value(format!(
            "The parameter {path}.StatisticValues.Maximum must be greater than {path}.StatisticValues.Minimum."
        )));
    }
    Ok(StatisticSet {
        count,
        sum,
        minimum,
        maximum,
        distribution: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn datum(change: impl FnOnce(&mut NewDatum)) -> Result<StatisticSet, Refusal> {
        let mut new = NewDatum {
            path: "MetricData.member.1".to_owned(),
            name: "m".to_owned(),
            ..NewDatum::default()
        };
        change(&mut new);
        check("n", vec![new], NOW).map(|mut data| data.remove(0).values)
    }

    #[test]
    fn a_datum_is_a_value_values_or_statistics() {
        assert_eq!(
            datum(|d| d.value = Some(1.5)),
            Ok(StatisticSet::of(1.5, 1.0))
        );
        let values = datum(|d| {
            d.values = Some(vec![1.0, 3.0]);
            d.counts = Some(vec![2.0, 1.0]);
        });
        assert_eq!(values.map(|set| (set.count, set.sum)), Ok((3.0, 5.0)));
        assert!(datum(|d| d.statistics = Some([10.0, 10.0, 0.0, 10.0])).is_ok());
        assert!(matches!(datum(|_| {}), Err(Refusal::Missing(_))));
    }

    #[test]
    fn what_is_refused() {
        type Change = fn(&mut NewDatum);
        let cases: &[(Change, &str)] = &[
            (
                |d| d.value = Some(f64::NAN),
                "The value NaN for parameter MetricData.member.1.Value is invalid.",
            ),
            (|d| d.value = Some(1e109), "is invalid"),
            (
                |d| (d.value, d.values) = (Some(1.0), Some(vec![1.0])),
                "are mutually exclusive and you have specified both.",
            ),
            (
                |d| (d.value, d.statistics) = (Some(1.0), Some([1.0; 4])),
                "Value and MetricData.member.1.StatisticValues are mutually",
            ),
            (
                |d| (d.values, d.counts) = (Some(vec![1.0]), Some(vec![1.0; 2])),
                "must be of the same size.",
            ),
            (|d| d.values = Some(vec![1.0; 151]), "greater than 150"),
            (
                |d| d.statistics = Some([1.0, 1.0, 2.0, 1.0]),
                "must be greater than",
            ),
            (|d| d.statistics = Some([0.0; 4]), "SampleCount"),
            (
                |d| (d.value, d.at) = (Some(1.0), Some(NOW.plus_ms(-15 * DAY_MS))),
                "Timestamp",
            ),
            (
                |d| (d.value, d.at) = (Some(1.0), Some(NOW.plus_ms(3 * HOUR_MS))),
                "Timestamp",
            ),
            (
                |d| (d.value, d.resolution) = (Some(1.0), Some(5)),
                "StorageResolution",
            ),
            (
                |d| (d.value, d.dimensions) = (Some(1.0), vec![("a".into(), "".into())]),
                "Dimensions.member.1.Value",
            ),
            (
                |d| (d.value, d.dimensions) = (Some(1.0), vec![("a".into(), "b".into()); 2]),
                "same name",
            ),
            (
                |d| {
                    (d.value, d.dimensions) = (
                        Some(1.0),
                        (0..31).map(|n| (n.to_string(), "b".into())).collect(),
                    )
                },
                "greater than 30",
            ),
        ];
        for (change, text) in cases {
            let refusal = datum(change).unwrap_err().to_string();
            assert!(refusal.contains(text), "{refusal}");
        }
        assert!(check("AWS/EC2", vec![NewDatum::default()], NOW).is_err());
        assert!(check("n", Vec::new(), NOW).is_err());
        assert!(check("n", vec![NewDatum::default(); 1_001], NOW).is_err());
    }
}
