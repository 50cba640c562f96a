//! Functions of one row's values.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-operations-functions.html>

use super::expression::{Fields, finite};
use super::value::Value;
use std::net::IpAddr;

/// Longest text that a function makes.
const TEXT_BYTES_MAX: usize = 256 << 10;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal..=$most:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Function {
            $($variant,)*
        }

        impl Function {
            /// A function by its name, in any case, and how many arguments it takes.
            pub fn find(name: &str) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
                $(if name.eq_ignore_ascii_case($name) {
                    return Some((Self::$variant, $least..=$most));
                })*
                None
            }
        }
    };
}

functions! {
    Abs "abs" 1..=1,
    Ceil "ceil" 1..=1,
    Floor "floor" 1..=1,
    Greatest "greatest" 1..=50,
    Least "least" 1..=50,
    Log "log" 1..=1,
    Sqrt "sqrt" 1..=1,
    IsPresent "ispresent" 1..=1,
    Coalesce "coalesce" 1..=50,
    IsEmpty "isempty" 1..=1,
    IsBlank "isblank" 1..=1,
    Concat "concat" 1..=50,
    Ltrim "ltrim" 1..=2,
    Rtrim "rtrim" 1..=2,
    Trim "trim" 1..=2,
    Strlen "strlen" 1..=1,
    ToUpper "toupper" 1..=1,
    ToLower "tolower" 1..=1,
    Substr "substr" 2..=3,
    Replace "replace" 3..=3,
    StrContains "strcontains" 2..=2,
    Bin "bin" 1..=1,
    DateFloor "datefloor" 2..=2,
    DateCeil "dateceil" 2..=2,
    FromMillis "fromMillis" 1..=1,
    ToMillis "toMillis" 1..=1,
    IsValidIp "isValidIp" 1..=1,
    IsValidIpv4 "isValidIpv4" 1..=1,
    IsValidIpv6 "isValidIpv6" 1..=1,
    IsIpInSubnet "isIpInSubnet" 2..=2,
    IsIpv4InSubnet "isIpv4InSubnet" 2..=2,
    IsIpv6InSubnet "isIpv6InSubnet" 2..=2,
}

impl Function {
    /// The number of arguments was checked.
    pub fn call(self, values: &[Value], row: &dyn Fields) -> Value {
        let numeric =
            |apply: fn(f64) -> f64| number(values, 0).map_or(Value::Null, |n| finite(apply(n)));
        let best = |pick: fn(f64, f64) -> f64| {
            let numbers = values.iter().filter_map(Value::number);
            numbers.reduce(pick).map_or(Value::Null, finite)
        };
        match self {
            Self::Abs => numeric(f64::abs),
            Self::Ceil => numeric(f64::ceil),
            Self::Floor => numeric(f64::floor),
            Self::Log => numeric(f64::ln),
            Self::Sqrt => numeric(f64::sqrt),
            Self::Greatest => best(f64::max),
            Self::Least => best(f64::min),
            Self::IsPresent => Value::Bool(!values[0].is_null()),
            Self::Coalesce => values
                .iter()
                .find(|v| !v.is_null())
                .cloned()
                .unwrap_or(Value::Null),
            Self::Bin => floor(&row.field("@timestamp"), &values[0], false),
            Self::DateFloor => floor(&values[0], &values[1], false),
            Self::DateCeil => floor(&values[0], &values[1], true),
            Self::FromMillis => number(values, 0).map_or(Value::Null, |ms| Value::Time(ms as i64)),
            Self::ToMillis => numeric(|ms| ms),
            _ => self.call_on_text(values),
        }
    }

    fn call_on_text(self, values: &[Value]) -> Value {
        let text = |index: usize| values.get(index).and_then(Value::show);
        let Some(first) = text(0) else {
            return match self {
                Self::IsEmpty | Self::IsBlank => Value::Bool(true),
                Self::Concat => concat(values),
                Self::StrContains | Self::IsValidIp | Self::IsValidIpv4 | Self::IsValidIpv6 => {
                    Value::Bool(false)
                }
                _ => Value::Null,
            };
        };
        let second = text(1);
        let trimmed = |start: bool, end: bool| {
            let set = second.as_deref();
            let drop = |c: char| set.map_or(c.is_whitespace(), |set| set.contains(c));
            let rest = if start {
                first.trim_start_matches(drop)
            } else {
                &first
            };
            Value::text(if end {
                rest.trim_end_matches(drop)
            } else {
                rest
            })
        };
        let ip = first.parse::<IpAddr>().ok();
        let in_subnet = |family: fn(&IpAddr) -> bool| {
            Value::Bool(
                ip.filter(family)
                    .is_some_and(|ip| is_in(ip, second.as_deref().unwrap_or_default())),
            )
        };
        match self {
            Self::IsEmpty => Value::Bool(first.is_empty()),
            Self::IsBlank => Value::Bool(first.trim().is_empty()),
            Self::Concat => concat(values),
            Self::Ltrim => trimmed(true, false),
            Self::Rtrim => trimmed(false, true),
            Self::Trim => trimmed(true, true),
            Self::Strlen => Value::Number(first.chars().count() as f64),
            Self::ToUpper => Value::text(first.to_uppercase()),
            Self::ToLower => Value::text(first.to_lowercase()),
            Self::Substr => {
                let from = number(values, 1).unwrap_or(0.0).max(0.0) as usize;
                let length = number(values, 2).map_or(usize::MAX, |n| n.max(0.0) as usize);
                Value::text(first.chars().skip(from).take(length).collect::<String>())
            }
            Self::Replace => match (second, text(2)) {
                (Some(part), Some(by)) if !part.is_empty() => {
                    let grown = first.len() + first.matches(part.as_str()).count() * by.len();
                    match grown <= TEXT_BYTES_MAX * 2 {
                        true => Value::text(first.replace(&part, &by)),
                        false => Value::Null,
                    }
                }
                _ => Value::text(first),
            },
            Self::StrContains => Value::Bool(second.is_some_and(|part| first.contains(&part))),
            Self::IsValidIp => Value::Bool(ip.is_some()),
            Self::IsValidIpv4 => Value::Bool(ip.is_some_and(|ip| ip.is_ipv4())),
            Self::IsValidIpv6 => Value::Bool(ip.is_some_and(|ip| ip.is_ipv6())),
            Self::IsIpInSubnet => in_subnet(|_| true),
            Self::IsIpv4InSubnet => in_subnet(IpAddr::is_ipv4),
            Self::IsIpv6InSubnet => in_subnet(IpAddr::is_ipv6),
            _ => Value::Null,
        }
    }
}

fn number(values: &[Value], index: usize) -> Option<f64> {
    values.get(index).and_then(Value::number)
}

fn concat(values: &[Value]) -> Value {
    let mut whole = String::new();
    for part in values.iter().filter_map(Value::show) {
        if whole.len() + part.len() > TEXT_BYTES_MAX {
            return Value::Null;
        }
        whole.push_str(&part);
    }
    Value::text(whole)
}

/// The begin (or the end) of the period that a time is in.
fn floor(time: &Value, period: &Value, up: bool) -> Value {
    let (Some(time), Some(period)) = (time.number(), period.number()) else {
        return Value::Null;
    };
    let (time, period) = (time as i64, (period as i64).max(1));
    let begin = time.div_euclid(period) * period;
    Value::Time(match up && begin < time {
        true => begin.saturating_add(period),
        false => begin,
    })
}

fn is_in(ip: IpAddr, subnet: &str) -> bool {
    let Some((base, length)) = subnet.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) if length <= 32 => {
            (u32::from(ip) ^ u32::from(base))
                .checked_shr(32 - length)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) if length <= 128 => {
            (u128::from(ip) ^ u128::from(base))
                .checked_shr(128 - length)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}
