//! Conditions of policy documents: which IAM takes.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use serde_json::Value;

const OPERATORS: [&str; 27] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
];

/// An operator without what says how many values must match, and whether the key must be there.
fn plain(operator: &str) -> &str {
    let sets = ["ForAnyValue:", "ForAllValues:"];
    let operator = sets
        .iter()
        .find_map(|set| operator.strip_prefix(set))
        .unwrap_or(operator);
    operator.strip_suffix("IfExists").unwrap_or(operator)
}

/// Whether a `Condition` has no syntax errors.
pub fn is_good(condition: &Value) -> bool {
    let is_value = |value: &Value| !value.is_object() && !value.is_null();
    let is_one = |(operator, keys): (&String, &Value)| {
        keys.as_object().is_some_and(|keys| {
            let is_known = OPERATORS.contains(&plain(operator));
            keys.values().all(is_value) && (is_known || keys.is_empty())
        })
    };
    condition
        .as_object()
        .is_some_and(|operators| operators.iter().all(is_one))
}

/// Whether all that is compared with dates is one.
pub fn dates_are_good(condition: Option<&Value>) -> bool {
    let operators = condition.and_then(Value::as_object).into_iter().flatten();
    operators
        .filter(|(operator, _)| plain(operator).starts_with("Date"))
        .filter_map(|(_, keys)| keys.as_object())
        .flat_map(|keys| keys.values())
        .all(|value| match value {
            Value::Array(list) => list.iter().all(is_date),
            one => is_date(one),
        })
}

/// Seconds since the epoch, or ISO 8601.
fn is_date(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some_and(|seconds| seconds >= 0),
        Value::String(text) if text.contains(['t', 'T', '-']) => is_iso_8601(text),
        Value::String(text) => text.parse::<i64>().is_ok_and(|seconds| seconds >= 0),
        _ => false,
    }
}

fn is_iso_8601(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (date, time) = text.split_once('t').unwrap_or((&text, ""));
    let within = |part: &str, low: u32, high: u32| {
        part.bytes().all(|b| b.is_ascii_digit())
            && part.parse().is_ok_and(|n: u32| (low..=high).contains(&n))
    };
    let mut parts = date.strip_prefix('-').unwrap_or(date).split('-');
    let is_day = within(parts.next().unwrap_or_default(), 0, 292_278_993)
        && parts.next().is_none_or(|month| within(month, 1, 12))
        && parts.next().is_none_or(|day| within(day, 1, 31))
        && parts.next().is_none();
    if !is_day || time.is_empty() {
        return is_day;
    }
    let (clock, is_zone_good) = match time.find(['z', '+', '-']) {
        None => (time, true),
        Some(at) if time[at..].starts_with('z') => (&time[..at], time[at..].len() == 1),
        Some(at) => {
            let (hours, minutes) = time[at + 1..]
                .split_once(':')
                .unwrap_or((&time[at + 1..], "00"));
            let good = |part: &str, high| part.len() == 2 && within(part, 0, high);
            (&time[..at], good(hours, 23) && good(minutes, 59))
        }
    };
    let mut parts = clock.split(':');
    let seconds = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        within(whole, 0, 59) && within(fraction, 0, 999_999_999)
    };
    is_zone_good
        && within(parts.next().unwrap_or_default(), 0, 23)
        && parts.next().is_none_or(|minutes| within(minutes, 0, 59))
        && parts.next().is_none_or(seconds)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operators_are_known_ones_over_keys() {
        for good in [
            json!({}),
            json!({"StringLike": {"s3:prefix": ["a/*", "b"]}}),
            json!({"ForAnyValue:StringEqualsIfExists": {"a": "b"}}),
            json!({"Bool": {"aws:SecureTransport": false}}),
            json!({"NumericLessThan": {"s3:max-keys": 10}}),
            json!({"Unknown": {}}),
        ] {
            assert!(is_good(&good), "{good}");
        }
        for bad in [
            json!([]),
            json!({"StringLike": "b"}),
            json!({"StringLike": {"a": {}}}),
            json!({"ForAnyValue::StringEquals": {"a": "b"}}),
            json!({"x": {"a": "1"}}),
        ] {
            assert!(!is_good(&bad), "{bad}");
        }
    }

    #[test]
    fn dates_are_seconds_or_iso_8601() {
        for (date, good) in [
            ("1467331200", true),
            ("2016-07-01", true),
            ("2016-12-13t2:00:00z", true),
            ("2016-12-13T02:00:00.593194+01:00", true),
            ("2016", true),
            ("234-13", false),
            ("2016-12-13t2:00:00.593194+1", false),
            ("2016-12-13t2:00:00.1999999999+10:59", false),
            ("9223372036854775808", false),
            ("soon", false),
        ] {
            let condition = json!({"DateGreaterThan": {"aws:CurrentTime": date}});
            assert_eq!(dates_are_good(Some(&condition)), good, "{date}");
        }
    }
}
