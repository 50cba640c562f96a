//! Dates as CloudWatch writes them into reasons and history.

/// Year, month, day, hour, minute, second and millisecond of a time in ms (Howard Hinnant's algorithm).
fn civil(ms: i64) -> [i64; 7] {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let seconds = rest / 1_000;
    [
        year,
        month,
        day,
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        rest % 1_000,
    ]
}

/// `23/11/26 01:02:00`
pub fn short(ms: i64) -> String {
    let [year, month, day, hour, minute, second, _] = civil(ms);
    format!(
        "{day:02}/{month:02}/{:02} {hour:02}:{minute:02}:{second:02}",
        year % 100
    )
}

/// `2026-11-23T01:02:03.004+0000`
pub fn long(ms: i64) -> String {
    let [year, month, day, hour, minute, second, ms] = civil(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+0000")
}

/// `Monday 23 November, 2026 01:02:03 UTC`
pub fn words(ms: i64) -> String {
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let [year, month, day, hour, minute, second, _] = civil(ms);
    let name = DAYS[ms.div_euclid(86_400_000).rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!("{name} {day:02} {month}, {year} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let ms = 1_795_395_723_004;
        assert_eq!(short(ms), "23/11/26 01:02:03");
        assert_eq!(long(ms), "2026-11-23T01:02:03.004+0000");
        assert_eq!(words(ms), "Monday 23 November, 2026 01:02:03 UTC");
    }
}
