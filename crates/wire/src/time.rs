//! Times as text: ISO 8601 with milliseconds, as XML replies have them.

use fogbank_types::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Days since 1970-01-01 of a civil date (Howard Hinnant's algorithm; years 0000 to 9999).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_index = (month + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `2026-11-22T18:00:50.123Z`.
pub fn iso8601(time: Timestamp) -> String {
    let (year, month, day) = civil_from_days(time.0.div_euclid(DAY_MS));
    let ms = time.0.rem_euclid(DAY_MS);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1_000 % 60,
        ms % 1_000
    )
}

/// Reads `YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm)`; digits past milliseconds are cut.
pub fn parse_iso8601(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes.len() > 40 {
        return None;
    }
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators
        .iter()
        .any(|&(at, separator)| bytes[at] != separator)
    {
        return None;
    }
    let year = digits(&text[0..4], 0, 9999)?;
    let month = digits(&text[5..7], 1, 12)?;
    let day = digits(&text[8..10], 1, 31)?;
    let hour = digits(&text[11..13], 0, 23)?;
    let minute = digits(&text[14..16], 0, 59)?;
    let second = digits(&text[17..19], 0, 59)?;
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let rest = &text[19..];
    let (fraction_ms, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (fraction, zone) = rest.split_at(end);
            let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
            (
                if fraction.is_empty() {
                    return None;
                } else {
                    digits(&padded, 0, 999)?
                },
                zone,
            )
        }
    };
    let offset_minutes = zone_minutes(zone)?;
    let seconds = ((hour * 60 + minute - offset_minutes) * 60) + second;
    Some(Timestamp(days * DAY_MS + seconds * 1_000 + fraction_ms))
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if zone.len() != 6 || zone.as_bytes()[3] != b':' {
        return None;
    }
    Some(sign * (digits(&zone[1..3], 0, 23)? * 60 + digits(&zone[4..6], 0, 59)?))
}

fn digits(text: &str, low: i64, high: i64) -> Option<i64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse()
        .ok()
        .filter(|number| (low..=high).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_utc_with_milliseconds() {
        assert_eq!(
            iso8601(Timestamp(1_795_370_450_123)),
            "2026-11-22T18:00:50.123Z"
        );
        assert_eq!(iso8601(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(Timestamp(-1)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn reads_zones_and_fractions() {
        assert_eq!(
            parse_iso8601("1970-01-01T01:00:00+01:00"),
            Some(Timestamp(0))
        );
        assert_eq!(
            parse_iso8601("1970-01-01T00:00:00.5Z"),
            Some(Timestamp(500))
        );
        assert_eq!(
            parse_iso8601("1970-01-01T00:00:00.123456Z"),
            Some(Timestamp(123))
        );
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "1970-02-30T00:00:00Z",
            "1970-01-01",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "+970-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(ms in -62_167_219_200_000i64..253_402_300_799_999) {
            prop_assert_eq!(parse_iso8601(&iso8601(Timestamp(ms))), Some(Timestamp(ms)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse_iso8601(&text);
        }
    }
}
