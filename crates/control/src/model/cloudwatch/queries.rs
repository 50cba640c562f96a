//! Lists of metric queries, as GetMetricData and alarms have them: what they must be like.

use super::Refusal;
use super::{expression, insights};
use fogbank_types::alarm::{MetricQuery, MetricQueryInput};
use fogbank_types::statistic::Statistic;
use std::collections::BTreeSet;

const QUERIES_MAX: usize = 500;

/// A period that CloudWatch has: 1, 5, 10, 20, 30 seconds or minutes.
pub fn check_period(period_s: i64) -> Result<(), Refusal> {
    if matches!(period_s, 1 | 5 | 10 | 20 | 30) || (period_s > 0 && period_s % 60 == 0) {
        return Ok(());
    }
    Err(Refusal::Validation(
        "Period must be 1, 5, 10, 20, 30 or a multiple of 60".to_owned(),
    ))
}

pub fn check_statistic(text: &str) -> Result<Statistic, Refusal> {
    Statistic::parse(text).ok_or_else(|| {
        Refusal::Validation(format!(
            "The value {text} for parameter Stat is not supported."
        ))
    })
}

/// Ids are different names, statistics and expressions have a meaning, what is named is there, and nothing names itself.
pub fn check(queries: &[MetricQuery]) -> Result<(), Refusal> {
    if queries.is_empty() || queries.len() > QUERIES_MAX {
        return Err(Refusal::Validation(format!(
            "The collection MetricDataQueries must have a size of 1 to {QUERIES_MAX}."
        )));
    }
    let mut ids = BTreeSet::new();
    for query in queries {
        let mut characters = query.id.chars();
        let named = characters.next().is_some_and(|c| c.is_ascii_lowercase())
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named {
            return Err(Refusal::Validation(format!(
                "The value {} for parameter MetricDataQueries.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.",
                query.id
            )));
        }
        if !ids.insert(query.id.as_str()) {
            return Err(Refusal::Validation(format!(
                "The values for parameter id in parameter MetricDataQueries are not unique ({}).",
                query.id
            )));
        }
        match &query.input {
            MetricQueryInput::Metric(metric) => {
                check_period(i64::from(metric.period_s))?;
                check_statistic(&metric.statistic)?;
            }
            MetricQueryInput::Expression(_) => {
                if let Some(period_s) = query.period_s {
                    check_period(i64::from(period_s))?;
                }
            }
        }
    }
    order(queries).map(drop)
}

/// The queries' places in an order in which each comes after those that it names.
pub fn order(queries: &[MetricQuery]) -> Result<Vec<usize>, Refusal> {
    let mut needs: Vec<Vec<usize>> = Vec::new();
    for query in queries {
        let MetricQueryInput::Expression(text) = &query.input else {
            needs.push(Vec::new());
            continue;
        };
        let wrong =
            |why: String| Refusal::Validation(format!("Error in expression '{}': {why}", query.id));
        if insights::is_select(text) {
            insights::parse(text).map_err(wrong)?;
            needs.push(Vec::new());
            continue;
        }
        let expression = expression::parse(text).map_err(wrong)?;
        let mut places = Vec::new();
        for name in expression.names() {
            if matches!(name.as_str(), "METRICS" | "REPEAT" | "LINEAR") {
                continue;
            }
            let place = queries.iter().position(|other| other.id == name);
            places.push(place.ok_or_else(|| wrong(format!("Unknown identifier {name}")))?);
        }
        needs.push(places);
    }
    let mut order = Vec::new();
    while order.len() < queries.len() {
        let ready = |place: &usize| {
            !order.contains(place) && needs[*place].iter().all(|need| order.contains(need))
        };
        match (0..queries.len()).find(ready) {
            Some(place) => order.push(place),
            None => {
                return Err(Refusal::Validation(
                    "Circular reference in MetricDataQueries".to_owned(),
                ));
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(id: &str, expression: &str) -> MetricQuery {
        MetricQuery {
            id: id.to_owned(),
            label: None,
            return_data: None,
            account: None,
            period_s: None,
            input: MetricQueryInput::Expression(expression.to_owned()),
        }
    }

    #[test]
    fn queries_come_after_what_they_name() {
        let queries = [query("a", "b+c"), query("b", "c*2"), query("c", "1")];
        assert_eq!(order(&queries).unwrap(), [2, 1, 0]);
    }

    #[test]
    fn what_is_refused() {
        for queries in [
            vec![],
            vec![query("A", "1")],
            vec![query("a", "1"), query("a", "2")],
            vec![query("a", "x")],
            vec![query("a", "a")],
            vec![query("a", "b"), query("b", "a")],
            vec![query("a", "1 +")],
        ] {
            assert!(check(&queries).is_err(), "{queries:?}");
        }
    }
}
