//! Schedules: `at(..)`, `rate(..)` and AWS's cron with six fields, in a time zone.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html>
//!
//! Pure: the zones' rules are part of the program, so that every host answers alike.

use fogbank_types::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    At(DateTime),
    /// Milliseconds.
    Rate(i64),
    Cron(Cron),
}

/// `Minutes Hours Day-of-month Month Day-of-week Year`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: BTreeSet<i32>,
    hours: BTreeSet<i32>,
    days: Days,
    months: BTreeSet<i32>,
    years: BTreeSet<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    OfMonth(BTreeSet<i32>),
    LastOfMonth,
    /// The weekday nearest to that day.
    WeekdayNearest(i32),
    /// Sunday is 1.
    OfWeek(BTreeSet<i32>),
    /// The last such weekday of a month.
    LastWeekday(i32),
    /// The nth such weekday of a month.
    NthWeekday(i32, i32),
}

const YEARS: (i32, i32) = (1970, 2199);

/// Reads a schedule; none if it is none.
pub fn parse(text: &str) -> Option<Schedule> {
    let inner = |name: &str| {
        let rest = text.trim().strip_prefix(name)?;
        rest.strip_prefix('(')?.strip_suffix(')').map(str::trim)
    };
    if let Some(at) = inner("at") {
        return at.parse().ok().map(Schedule::At);
    }
    if let Some(rate) = inner("rate") {
        let (value, unit) = rate.split_once(' ')?;
        let value: i64 = value.parse().ok().filter(|value| *value > 0)?;
        let (one, minutes) = match unit.trim() {
            "minute" => (true, 1),
            "minutes" => (false, 1),
            "hour" => (true, 60),
            "hours" => (false, 60),
            "day" => (true, 1_440),
            "days" => (false, 1_440),
            _ => return None,
        };
        // "If the value is equal to 1, then the unit must be singular."
        return (one == (value == 1))
            .then(|| value.checked_mul(minutes * 60_000))
            .flatten()
            .map(Schedule::Rate);
    }
    cron(inner("cron")?).map(Schedule::Cron)
}

/// An IANA zone by its name; without one UTC.
pub fn zone(name: Option<&str>) -> Option<TimeZone> {
    match name {
        None => Some(TimeZone::UTC),
        Some(name) => jiff::tz::TimeZoneDatabase::bundled().get(name).ok(),
    }
}

/// The first time after `after`, for a schedule that counts from `since`. `rate_ms` is a rate's real length.
pub fn next(
    schedule: &Schedule,
    zone: &TimeZone,
    since: Timestamp,
    after: Timestamp,
    rate_ms: impl Fn(i64) -> i64,
) -> Option<Timestamp> {
    match schedule {
        Schedule::At(at) => instant(*at, zone).filter(|at| *at > after),
        Schedule::Rate(ms) => {
            let ms = rate_ms(*ms).max(1);
            let passed = (after.0 - since.0).div_euclid(ms).max(0);
            Some(since.plus_ms((passed + 1) * ms))
        }
        Schedule::Cron(cron) => cron.next(zone, after),
    }
}

fn instant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let zoned = at.to_zoned(zone.clone()).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}

fn cron(text: &str) -> Option<Cron> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, of_month, months, of_week, years] = fields[..] else {
        return None;
    };
    let days = match (of_month, of_week) {
        // One of the two says nothing; AWS wants a question mark there.
        (day, "?") => of_month_days(day)?,
        ("?", day) => of_week_days(day)?,
        _ => return None,
    };
    const MONTHS: &str = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC";
    Some(Cron {
        minutes: values(minutes, (0, 59), "", 0)?,
        hours: values(hours, (0, 23), "", 0)?,
        days,
        months: values(months, (1, 12), MONTHS, 1)?,
        years: values(years, YEARS, "", 0)?,
    })
}

fn of_month_days(text: &str) -> Option<Days> {
    if text == "L" {
        return Some(Days::LastOfMonth);
    }
    if let Some(day) = text.strip_suffix('W') {
        let day: i32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
        return Some(Days::WeekdayNearest(day));
    }
    values(text, (1, 31), "", 0).map(Days::OfMonth)
}

fn of_week_days(text: &str) -> Option<Days> {
    const DAYS: &str = "SUN MON TUE WED THU FRI SAT";
    let one = |text: &str| {
        let day = values(text, (1, 7), DAYS, 1)?;
        (day.len() == 1).then(|| day.first().copied()).flatten()
    };
    if text == "L" {
        return Some(Days::OfWeek(BTreeSet::from([7])));
    }
    if let Some(day) = text.strip_suffix('L') {
        return one(day).map(Days::LastWeekday);
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth: i32 = nth.parse().ok().filter(|nth| (1..=5).contains(nth))?;
        return Some(Days::NthWeekday(one(day)?, nth));
    }
    values(text, (1, 7), DAYS, 1).map(Days::OfWeek)
}

/// `*`, `5`, `1-5`, `*/15`, `10/5`, and lists of them.
fn values(text: &str, bounds: (i32, i32), names: &str, first: i32) -> Option<BTreeSet<i32>> {
    let number = |text: &str| {
        let named = names
            .split(' ')
            .position(|name| !name.is_empty() && name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(place) => place as i32 + first,
            None => text.parse().ok()?,
        };
        (bounds.0..=bounds.1).contains(&number).then_some(number)
    };
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                Some(step.parse().ok().filter(|step: &i32| *step > 0)?),
            ),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => bounds,
            Some((from, to)) => (number(from)?, number(to)?),
            None if step.is_some() => (number(range)?, bounds.1),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return None;
        }
        all.extend((from..=to).step_by(step.unwrap_or(1) as usize));
    }
    Some(all)
}

impl Cron {
    fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_millisecond(after.0).ok()?;
        let mut date = start.to_zoned(zone.clone()).date();
        while i32::from(date.year()) <= YEARS.1 {
            let (year, month) = (i32::from(date.year()), i32::from(date.month()));
            if !self.years.contains(&year) {
                let next = *self.years.range(year..).next()?;
                date = Date::new(i16::try_from(next).ok()?, 1, 1).ok()?;
                continue;
            }
            if !self.months.contains(&month) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            if self.days.holds(date)
                && let Some(at) = self.on(date, zone, after)
            {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The first time on that day that is later than `after`.
    fn on(&self, date: Date, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let times = self
            .hours
            .iter()
            .flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute)));
        times
            .filter_map(|(hour, minute)| instant(date.at(hour as i8, minute as i8, 0, 0), zone))
            .filter(|at| *at > after)
            // When clocks go forward, times that don't exist move behind ones that do.
            .min()
    }
}

fn week_number(date: Date) -> i32 {
    i32::from(date.weekday().to_sunday_one_offset())
}

impl Days {
    fn holds(&self, date: Date) -> bool {
        let (day, length) = (i32::from(date.day()), i32::from(date.days_in_month()));
        match self {
            Self::OfMonth(days) => days.contains(&day),
            Self::LastOfMonth => day == length,
            Self::WeekdayNearest(wanted) => nearest_weekday(date, (*wanted).min(length)) == day,
            Self::OfWeek(days) => days.contains(&week_number(date)),
            Self::LastWeekday(wanted) => week_number(date) == *wanted && day + 7 > length,
            Self::NthWeekday(wanted, nth) => {
                week_number(date) == *wanted && (day - 1) / 7 + 1 == *nth
            }
        }
    }
}

/// The day of the month, Monday to Friday, that is nearest to `day`, in the same month.
fn nearest_weekday(date: Date, day: i32) -> i32 {
    let length = i32::from(date.days_in_month());
    let weekday = date
        .first_of_month()
        .with()
        .day(day as i8)
        .build()
        .map(Date::weekday);
    match weekday {
        Ok(Weekday::Saturday) if day == 1 => 3,
        Ok(Weekday::Saturday) => day - 1,
        Ok(Weekday::Sunday) if day == length => day - 2,
        Ok(Weekday::Sunday) => day + 1,
        _ => day,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times after 2026-01-01T00:00:00Z.
    fn times(text: &str, zone_name: &str, count: usize) -> Vec<String> {
        let schedule = parse(text).unwrap();
        let zone = zone(Some(zone_name)).unwrap();
        let mut at = Timestamp(1_767_225_600_000);
        let since = at;
        let mut found = Vec::new();
        while found.len() < count {
            let Some(next) = next(&schedule, &zone, since, at, |ms| ms) else {
                break;
            };
            found.push(
                jiff::Timestamp::from_millisecond(next.0)
                    .unwrap()
                    .to_string(),
            );
            at = next;
        }
        found
    }

    #[test]
    fn schedules_are_read_as_aws_words_them() {
        for (text, zone, wanted) in [
            (
                "at(2026-03-01T10:00:00)",
                "UTC",
                vec!["2026-03-01T10:00:00Z"],
            ),
            (
                "at(2026-07-01T10:00:00)",
                "Europe/Berlin",
                vec!["2026-07-01T08:00:00Z"],
            ),
            ("at(2025-03-01T10:00:00)", "UTC", vec![]),
            (
                "rate(5 minutes)",
                "UTC",
                vec!["2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"],
            ),
            ("rate(1 day)", "UTC", vec!["2026-01-02T00:00:00Z"]),
            (
                "cron(0 8 * * ? *)",
                "UTC",
                vec!["2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"],
            ),
            (
                "cron(0/30 8-9 ? * MON-FRI *)",
                "UTC",
                vec![
                    "2026-01-01T08:00:00Z",
                    "2026-01-01T08:30:00Z",
                    "2026-01-01T09:00:00Z",
                    "2026-01-01T09:30:00Z",
                    "2026-01-02T08:00:00Z",
                    "2026-01-02T08:30:00Z",
                    "2026-01-02T09:00:00Z",
                    "2026-01-02T09:30:00Z",
                    "2026-01-05T08:00:00Z",
                ],
            ),
            (
                "cron(15 10 L * ? *)",
                "UTC",
                vec!["2026-01-31T10:15:00Z", "2026-02-28T10:15:00Z"],
            ),
            (
                "cron(0 0 ? * 6L *)",
                "UTC",
                vec!["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"],
            ),
            (
                "cron(0 0 ? * 2#1 2027)",
                "UTC",
                vec!["2027-01-04T00:00:00Z", "2027-02-01T00:00:00Z"],
            ),
            (
                "cron(0 0 1W * ? *)",
                "UTC",
                vec![
                    "2026-02-02T00:00:00Z",
                    "2026-03-02T00:00:00Z",
                    "2026-04-01T00:00:00Z",
                ],
            ),
            ("cron(0 12 29 FEB ? *)", "UTC", vec!["2028-02-29T12:00:00Z"]),
            (
                "cron(0 18 ? JUL FRI *)",
                "America/New_York",
                vec!["2026-07-03T22:00:00Z"],
            ),
            // The clock goes forward from 2 to 3 that night.
            (
                "cron(30 2 29 MAR ? 2026)",
                "Europe/Berlin",
                vec!["2026-03-29T01:30:00Z"],
            ),
            ("cron(0 0 1 1 ? 2020)", "UTC", vec![]),
        ] {
            let count = wanted.len().max(1);
            assert_eq!(times(text, zone, count), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "at()",
            "at(tomorrow)",
            "rate(0 minutes)",
            "rate(1 minutes)",
            "rate(2 minute)",
            "rate(5 weeks)",
            "cron(0 8 * * * *)",
            "cron(0 8 * * ?)",
            "cron(60 8 * * ? *)",
            "cron(0 24 * * ? *)",
            "cron(0 8 32 * ? *)",
            "cron(0 8 ? * 8 *)",
            "cron(0 8 ? * MON#6 *)",
            "cron(5-1 8 * * ? *)",
            "cron(*/0 8 * * ? *)",
            "0 8 * * ? *",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(zone(Some("Mars/Olympus")).is_none());
    }
}
