//! Metric filters: what in a group's events makes a metric, and which value.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutMetricFilter.html>

use super::pattern::Pattern;
use super::{Refusal, groups, invalid};
use crate::model::Tx;
use fogbank_types::logs::MetricFilter;
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// "The maximum number of metric filters that can be associated with a log group is 100."
const FILTERS_MAX: usize = 100;
/// Filters of a group with a regular expression.
const REGEX_FILTERS_MAX: usize = 5;
/// "Metrics extracted from log events ... up to three dimensions."
const DIMENSIONS_MAX: usize = 3;

/// A filter as the caller asks for it.
#[derive(Debug, Clone, Default)]
pub struct NewFilter {
    pub group: String,
    pub name: String,
    pub pattern: String,
    pub namespace: String,
    pub metric: String,
    pub value: String,
    pub default_value: Option<f64>,
    pub unit: Option<String>,
    pub dimensions: Vec<(String, String)>,
}

/// The filters of a group, by name.
pub fn of<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    group: &str,
) -> impl Iterator<Item = &'a Arc<MetricFilter>> + use<'a> {
    snapshot
        .log_metric_filters
        .with_prefix(scope, &format!("{group}:"))
}

/// Makes a filter, or puts another in the place of the one of that name.
pub fn put(tx: &mut Tx, scope: &Scope, new: NewFilter) -> Result<(), Refusal> {
    let class = &groups::find(tx.snapshot(), scope, &new.group)?.class;
    if class != groups::STANDARD {
        return Err(Refusal::InvalidOperation);
    }
    let pattern = Pattern::parse(&new.pattern)?;
    check(&new, &pattern)?;
    let (mut count, mut with_regex, mut created_at) = (0, 0, tx.now());
    for other in of(tx.snapshot(), scope, &new.group) {
        if other.name == new.name {
            created_at = other.created_at;
            continue;
        }
        count += 1;
        with_regex += usize::from(Pattern::parse(&other.pattern).is_ok_and(|p| p.has_regex()));
    }
    if count >= FILTERS_MAX || (pattern.has_regex() && with_regex >= REGEX_FILTERS_MAX) {
        return Err(Refusal::LimitExceeded);
    }
    tx.put(MetricFilter {
        scope: scope.clone(),
        group: new.group,
        name: new.name,
        pattern: new.pattern,
        namespace: new.namespace,
        metric: new.metric,
        value: new.value,
        default_value: new.default_value,
        unit: new.unit,
        dimensions: new.dimensions,
        created_at,
    });
    Ok(())
}

fn check(new: &NewFilter, pattern: &Pattern) -> Result<(), Refusal> {
    let transformation = |what: String| invalid(format!("Invalid metric transformation: {what}"));
    if new.namespace.starts_with("AWS/") {
        let text = "metric namespaces that begin with AWS/ are reserved.";
        return Err(transformation(text.to_owned()));
    }
    for (what, name) in [("name", &new.metric), ("namespace", &new.namespace)] {
        if name.trim().is_empty() {
            return Err(transformation(format!("the metric's {what} is empty.")));
        }
    }
    let is_number = new.value.parse::<f64>().is_ok_and(f64::is_finite);
    if !is_number && !pattern.offers(&new.value) {
        let text = format!(
            "the metric value '{}' is neither a number nor a field of the filter pattern.",
            new.value
        );
        return Err(transformation(text));
    }
    if new.default_value.is_some_and(|value| !value.is_finite()) {
        return Err(transformation("the default value is no number.".to_owned()));
    }
    if new.dimensions.is_empty() {
        return Ok(());
    }
    if new.default_value.is_some() {
        let text = "dimensions and default value are mutually exclusive properties.";
        return Err(transformation(text.to_owned()));
    }
    if new.dimensions.len() > DIMENSIONS_MAX {
        let text = format!("at most {DIMENSIONS_MAX} dimensions are allowed.");
        return Err(transformation(text));
    }
    let bad = |(name, value): &&(String, String)| {
        name.trim().is_empty()
            || name.len() > 255
            || !name.is_ascii()
            || name.starts_with(':')
            || !pattern.offers(value)
    };
    match new.dimensions.iter().find(bad) {
        Some((name, value)) => Err(transformation(format!(
            "the dimension '{name}' with '{value}' is invalid: its value is a field of the filter pattern."
        ))),
        None => Ok(()),
    }
}

pub fn delete(tx: &mut Tx, scope: &Scope, group: &str, name: &str) -> Result<(), Refusal> {
    groups::find(tx.snapshot(), scope, group)?;
    match tx.delete::<MetricFilter>(scope, format!("{group}:{name}")) {
        true => Ok(()),
        false => Err(Refusal::MetricFilterNotFound),
    }
}

/// What one event counts for.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    /// The pattern does not match.
    No,
    /// It does, but the value or a dimension cannot be read from it: it makes no metric.
    Unreadable,
    Yes {
        value: f64,
        dimensions: Vec<(String, String)>,
    },
}

/// What an event counts for in a filter; `pattern` is the filter's.
pub fn count(filter: &MetricFilter, pattern: &Pattern, message: &str) -> Counted {
    let Some(matched) = pattern.read(message) else {
        return Counted::No;
    };
    let value = match filter.value.parse::<f64>() {
        Ok(value) => Some(value),
        Err(_) => matched
            .get(&filter.value)
            .and_then(|text| text.trim().parse::<f64>().ok()),
    };
    let dimension = |(name, selector): &(String, String)| {
        let value = matched.get(selector)?;
        // As PutMetricData would take it.
        let fits = !value.trim().is_empty()
            && value.len() <= 1_024
            && value.bytes().all(|b| (b' '..=b'~').contains(&b));
        fits.then(|| (name.clone(), value.into_owned()))
    };
    let dimensions = filter.dimensions.iter().map(dimension).collect();
    match (value.filter(|value| value.is_finite()), dimensions) {
        (Some(value), Some(dimensions)) => Counted::Yes { value, dimensions },
        _ => Counted::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogbank_types::Tags;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn new(change: impl FnOnce(&mut NewFilter)) -> NewFilter {
        let mut new = NewFilter {
            group: "/api".to_owned(),
            name: "errors".to_owned(),
            pattern: "{ $.level = ERROR }".to_owned(),
            namespace: "shop".to_owned(),
            metric: "Errors".to_owned(),
            value: "1".to_owned(),
            ..NewFilter::default()
        };
        change(&mut new);
        new
    }

    fn tx() -> Tx {
        let mut tx = Tx::for_test();
        groups::create(&mut tx, &scope(), "/api", None, None, Tags::new()).unwrap();
        tx
    }

    fn counted(change: impl FnOnce(&mut NewFilter), message: &str) -> Counted {
        let mut tx = tx();
        put(&mut tx, &scope(), new(change)).unwrap();
        let filter = tx
            .snapshot()
            .log_metric_filters
            .get(&scope(), "/api:errors")
            .unwrap()
            .clone();
        count(&filter, &Pattern::parse(&filter.pattern).unwrap(), message)
    }

    fn one(value: f64) -> Counted {
        Counted::Yes {
            value,
            dimensions: vec![],
        }
    }

    #[test]
    fn events_count_for_a_number_or_a_field() {
        assert_eq!(counted(|_| {}, r#"{"level":"ERROR"}"#), one(1.0));
        assert_eq!(counted(|_| {}, r#"{"level":"INFO"}"#), Counted::No);
        let by = |f: &mut NewFilter| f.value = "$.took".to_owned();
        assert_eq!(counted(by, r#"{"level":"ERROR","took":"2.5"}"#), one(2.5));
        assert_eq!(
            counted(by, r#"{"level":"ERROR","took":"long"}"#),
            Counted::Unreadable
        );
        assert_eq!(counted(by, r#"{"level":"ERROR"}"#), Counted::Unreadable);
        let words = |f: &mut NewFilter| {
            f.pattern = "[ip, ..., size > 10]".to_owned();
            f.value = "$size".to_owned();
            f.dimensions = vec![("Ip".to_owned(), "$ip".to_owned())];
        };
        let expected = Counted::Yes {
            value: 70.0,
            dimensions: vec![("Ip".to_owned(), "::1".to_owned())],
        };
        assert_eq!(counted(words, "::1 x y 70"), expected);
    }

    #[test]
    fn what_makes_no_metric_is_refused() {
        let refused =
            |change: fn(&mut NewFilter)| put(&mut tx(), &scope(), new(change)).unwrap_err();
        let invalid = |change| assert!(matches!(refused(change), Refusal::InvalidParameter(_)));
        invalid(|f| f.namespace = "AWS/Logs".to_owned());
        invalid(|f| f.metric = " ".to_owned());
        invalid(|f| f.pattern = "{ $.a }".to_owned());
        invalid(|f| f.value = "much".to_owned());
        invalid(|f| f.value = "NaN".to_owned());
        invalid(|f| f.value = "$size".to_owned());
        invalid(|f| f.dimensions = vec![("A".to_owned(), "text".to_owned())]);
        invalid(|f| {
            f.dimensions = (0..4)
                .map(|n| (format!("d{n}"), "$.a".to_owned()))
                .collect()
        });
        invalid(|f| {
            f.dimensions = vec![("A".to_owned(), "$.a".to_owned())];
            f.default_value = Some(0.0);
        });
        assert_eq!(
            refused(|f| f.group = "/none".to_owned()),
            Refusal::GroupNotFound
        );
    }

    #[test]
    fn a_group_has_at_most_a_hundred_and_five_with_regular_expressions() {
        let mut tx = tx();
        let mut make = |name: String, pattern: &str| {
            let pattern = pattern.to_owned();
            put(
                &mut tx,
                &scope(),
                new(|f| (f.name, f.pattern) = (name, pattern)),
            )
        };
        for n in 0..5 {
            make(format!("r{n}"), "%a%").unwrap();
        }
        assert_eq!(
            make("r5".into(), "{ $.a = %a% }").unwrap_err(),
            Refusal::LimitExceeded
        );
        for n in 5..100 {
            make(format!("f{n}"), "a").unwrap();
        }
        assert_eq!(
            make("last".into(), "a").unwrap_err(),
            Refusal::LimitExceeded
        );
        make("f7".into(), "b").unwrap();
    }

    #[test]
    fn a_filter_goes_by_itself_or_with_its_group() {
        let mut tx = tx();
        put(&mut tx, &scope(), new(|_| {})).unwrap();
        delete(&mut tx, &scope(), "/api", "errors").unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), "/api", "errors").unwrap_err(),
            Refusal::MetricFilterNotFound
        );
        put(&mut tx, &scope(), new(|_| {})).unwrap();
        groups::delete(&mut tx, &scope(), "/api").unwrap();
        assert!(tx.snapshot().log_metric_filters.is_empty());
    }
}
