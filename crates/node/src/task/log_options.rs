//! The awslogs driver's options in a task definition: what they mean for the shim.
//! <https://docs.docker.com/engine/logging/drivers/awslogs/>

use std::collections::BTreeMap;

use crate::shim::LogOptions;

/// The error is what the driver would say.
pub fn parse(options: &BTreeMap<String, String>) -> Result<LogOptions, String> {
    let option = |name: &str| options.get(name).map(String::as_str);
    let format = option("awslogs-datetime-format");
    let pattern = option("awslogs-multiline-pattern");
    let pattern = match (format, pattern) {
        (Some(_), Some(_)) => {
            return Err(
                "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' at the same time"
                    .to_owned(),
            );
        }
        (Some(format), None) => Some(("awslogs-datetime-format", format, from_format(format))),
        (None, Some(pattern)) => Some(("awslogs-multiline-pattern", pattern, pattern.to_owned())),
        (None, None) => None,
    };
    let pattern = match pattern {
        Some((name, given, pattern)) => {
            LogOptions::compile(&pattern)
                .map_err(|_| format!("awslogs could not parse {name} option '{given}'"))?;
            Some(pattern)
        }
        None => None,
    };
    let mut parsed = LogOptions {
        pattern,
        ..LogOptions::default()
    };
    match option("mode") {
        None | Some("non-blocking") => {}
        Some("blocking") => parsed.blocking = true,
        Some(other) => return Err(format!("logger: invalid mode: {other}")),
    }
    if let Some(size) = option("max-buffer-size") {
        if parsed.blocking {
            return Err(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
                    .to_owned(),
            );
        }
        parsed.max_buffer_bytes = bytes(size).ok_or_else(|| {
            format!("logger: error parsing 'max-buffer-size': invalid size: '{size}'")
        })?;
    }
    Ok(parsed)
}

/// `10m`, `1024k`, `1g`, a number of bytes.
fn bytes(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").unwrap_or(&text);
    let text = text.strip_suffix('b').unwrap_or(text);
    let (digits, unit) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: usize = digits.trim().parse().ok()?;
    number.checked_mul(unit)
}

/// What a date looks like: C's codes of strftime, everything else as in a pattern.
fn from_format(format: &str) -> String {
    let mut pattern = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            pattern.push(character);
            continue;
        }
        match characters.next() {
            Some('a') => pattern.push_str("(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
            Some('A') => pattern
                .push_str("(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"),
            Some('w') => pattern.push_str("[0-6]"),
            Some('d') => pattern.push_str("(?:0[1-9]|[12][0-9]|3[01])"),
            Some('b') => pattern.push_str("(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
            Some('B') => pattern.push_str(
                "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
            ),
            Some('m') => pattern.push_str("(?:0[1-9]|1[0-2])"),
            Some('Y') => pattern.push_str(r"\d{4}"),
            Some('y') => pattern.push_str(r"\d{2}"),
            Some('H') => pattern.push_str("(?:[01][0-9]|2[0-3])"),
            Some('I') => pattern.push_str("(?:0[0-9]|1[0-2])"),
            Some('p') => pattern.push_str("[AP]M"),
            Some('M' | 'S') => pattern.push_str(r"[0-5]\d"),
            Some('L') => pattern.push_str(r"\.\d{3}"),
            Some('f') => pattern.push_str(r"\d{6}"),
            Some('z') => pattern.push_str(r"[+-]\d{4}"),
            Some('Z') => pattern.push_str("[A-Z]{1,4}T"),
            Some('j') => pattern.push_str("(?:[0-2][0-9][0-9]|3[0-5][0-9]|36[0-6])"),
            Some(other) => pattern.extend(['%', other]),
            None => pattern.push('%'),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[(&str, &str)]) -> Result<LogOptions, String> {
        let text = |text: &&str| (*text).to_owned();
        parse(&given.iter().map(|(n, v)| (text(n), text(v))).collect())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(of(&[]), Ok(LogOptions::default()));
        let found = of(&[("mode", "non-blocking"), ("max-buffer-size", "25m")]).unwrap();
        assert_eq!((found.blocking, found.max_buffer_bytes), (false, 25 << 20));
        assert!(of(&[("mode", "blocking")]).unwrap().blocking);
        for bad in [
            &[("mode", "sometimes")][..],
            &[("max-buffer-size", "much")],
            &[("mode", "blocking"), ("max-buffer-size", "1m")],
            &[("awslogs-multiline-pattern", "(")],
            &[
                ("awslogs-multiline-pattern", "a"),
                ("awslogs-datetime-format", "%Y"),
            ],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_have_dockers_units() {
        for (text, expected) in [
            ("512", Some(512)),
            ("4k", Some(4096)),
            ("4kb", Some(4096)),
            ("1MiB", Some(1 << 20)),
            ("1g", Some(1 << 30)),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_dates_format_finds_dates() {
        // The example of Docker's documentation.
        let found = of(&[("awslogs-datetime-format", r"\[%b %d, %Y %H:%M:%S\]")]);
        let pattern = LogOptions::compile(&found.unwrap().pattern.unwrap()).unwrap();
        assert!(pattern.is_match(b"[May 01, 2017 19:00:01] A message was logged"));
        assert!(!pattern.is_match(b"Another multi-line message was logged"));
    }
}
