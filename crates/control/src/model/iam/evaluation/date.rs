//! Dates of policies and requests: seconds since the epoch, or ISO 8601 in full or in part.

/// Milliseconds since the epoch; `None`: it is no date.
pub fn date_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() > 4 {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (date, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let mut parts = date.split('-').map(|part| number(part, 9));
    let year = parts.next()??;
    let month = parts.next().unwrap_or(Some(1))?;
    let day = parts.next().unwrap_or(Some(1))?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_epoch(year, month, day);
    Some(days * 86_400_000 + time_ms(time)?)
}

/// Of the day, in UTC.
fn time_ms(time: &str) -> Option<i64> {
    if time.is_empty() {
        return Some(0);
    }
    let (clock, offset_ms) = match time.find(['Z', 'z', '+', '-']) {
        None => (time, 0),
        Some(at) if time[at..].eq_ignore_ascii_case("z") => (&time[..at], 0),
        Some(at) => {
            let (hours, minutes) = time[at + 1..]
                .split_once(':')
                .unwrap_or((&time[at + 1..], "0"));
            let ms = (number(hours, 2)? * 60 + number(minutes, 2)?) * 60_000;
            (
                &time[..at],
                if time[at..].starts_with('-') { -ms } else { ms },
            )
        }
    };
    let mut parts = clock.split(':');
    let hours = number(parts.next()?, 2)?;
    let minutes = parts.next().map_or(Some(0), |part| number(part, 2))?;
    let seconds = parts.next().unwrap_or("0");
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let whole = number(whole, 2)?;
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let good = parts.next().is_none() && hours < 24 && minutes < 60 && whole <= 60;
    good.then_some(((hours * 60 + minutes) * 60 + whole) * 1000 + number(&fraction, 3)? - offset_ms)
}

fn number(text: &str, digits_max: usize) -> Option<i64> {
    let good = (1..=digits_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok())?
}

/// Days from 1970-01-01 in the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::date_ms;

    #[test]
    fn dates_in_full_and_in_part_are_read() {
        let day = 86_400_000;
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-02", Some(day)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2024-02-29T12:00:00.250Z", Some(1_709_208_000_250)),
            ("2024-02-29t13:00:00+01:00", Some(1_709_208_000_000)),
            ("2024", Some(1_704_067_200_000)),
            ("2024-02", Some(1_706_745_600_000)),
            ("1709208000", Some(1_709_208_000_000)),
            ("2024-13-01", None),
            ("2024-02-29T25:00:00Z", None),
            ("soon", None),
            ("", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(date_ms(text), expected, "{text}");
        }
    }
}
