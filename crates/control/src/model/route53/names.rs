//! Domain names as Route 53 stores, lists and sorts them (fact DNS-4).
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html>

/// Why a text is not a domain name, in AWS's words for a record's problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("DomainLabelEmpty (Domain label is empty)")]
    EmptyLabel,
    #[error("DomainLabelTooLong (Domain label is too long)")]
    LabelTooLong,
    #[error("DomainTooLong (Domain name is too long)")]
    TooLong,
    #[error("UnsupportedCharacter (Value contains unsupported characters)")]
    Character,
    #[error("InvalidEscape (Value contains an escape sequence that is not valid)")]
    Escape,
}

/// Lower case, escaped, with a trailing dot. `*` is a character like any other and becomes `\052`.
pub fn canonical(text: &str) -> Result<String, NameError> {
    let labels = labels(text)?;
    // RFC 1035: a byte of length before each label, and the root's.
    let octets: usize = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    if octets > 255 {
        return Err(NameError::TooLong);
    }
    let mut name = String::with_capacity(octets);
    for label in &labels {
        label.iter().for_each(|byte| escape(*byte, &mut name));
        name.push('.');
    }
    if name.is_empty() {
        name.push('.');
    }
    Ok(name)
}

/// As the protocol carries it, of a canonical name.
pub fn wire(canonical: &str) -> Vec<u8> {
    let labels = labels(canonical.trim_end_matches('.')).unwrap_or_default();
    let mut wire = Vec::with_capacity(canonical.len() + 1);
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
    wire
}

fn labels(text: &str) -> Result<Vec<Vec<u8>>, NameError> {
    let text = text
        .strip_suffix('.')
        .filter(|rest| !rest.ends_with('\\'))
        .unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut labels = vec![Vec::new()];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let last = labels.len() - 1;
        match byte {
            b'.' => labels.push(Vec::new()),
            b'\\' => labels[last].push(octal(&mut bytes)?.to_ascii_lowercase()),
            0x21..=0x7e => labels[last].push(byte.to_ascii_lowercase()),
            _ => return Err(NameError::Character),
        }
    }
    if labels.iter().any(Vec::is_empty) {
        return Err(NameError::EmptyLabel);
    }
    if labels.iter().any(|label| label.len() > 63) {
        return Err(NameError::LabelTooLong);
    }
    Ok(labels)
}

/// Three octal digits after a backslash.
fn octal(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, NameError> {
    let mut value = 0u16;
    for _ in 0..3 {
        match bytes.next() {
            Some(digit @ b'0'..=b'7') => value = value * 8 + u16::from(digit - b'0'),
            _ => return Err(NameError::Escape),
        }
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

fn escape(byte: u8, name: &mut String) {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
        _ => {
            name.push('\\');
            for shift in [6, 3, 0] {
                name.push(char::from(b'0' + ((byte >> shift) & 7)));
            }
        }
    }
}

/// What names are sorted by: the labels reversed, with a dot after each, so that a character before `.` in ASCII
/// counts. <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html>
pub fn sort_key(canonical: &str) -> String {
    let mut key = String::with_capacity(canonical.len());
    for label in canonical.trim_end_matches('.').rsplit('.') {
        key.push_str(label);
        key.push('.');
    }
    key
}

/// Whether a name is the zone's own or below it. Both are canonical.
pub fn is_within(name: &str, zone: &str) -> bool {
    name == zone
        || zone == "."
        || name
            .strip_suffix(zone)
            .is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_stored_as_aws_lists_them() {
        for (given, stored) in [
            ("WWW.Example.com", "www.example.com."),
            ("*.example.com.", "\\052.example.com."),
            ("\\052.example.com", "\\052.example.com."),
            ("_dmarc.example.com", "_dmarc.example.com."),
            ("a\\056b.example.com", "a\\056b.example.com."),
            ("a!b.example.com", "a\\041b.example.com."),
            ("\\101.example.com", "a.example.com."),
            (".", "."),
            ("", "."),
        ] {
            assert_eq!(canonical(given).unwrap(), stored, "{given}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long_label = format!("{}.com", "a".repeat(64));
        let long_name = format!("{}com", "abcdefg.".repeat(32));
        for (given, error) in [
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..", NameError::EmptyLabel),
            ("a b.com", NameError::Character),
            ("ä.com", NameError::Character),
            ("a\\05", NameError::Escape),
            ("a\\", NameError::Escape),
            ("a\\.", NameError::Escape),
            ("a\\777", NameError::Escape),
            ("a\\09", NameError::Escape),
            (&long_label, NameError::LabelTooLong),
            (&long_name, NameError::TooLong),
        ] {
            assert_eq!(canonical(given), Err(error), "{given}");
        }
    }

    #[test]
    fn a_trailing_dot_counts_in_the_order() {
        assert!(sort_key("foo-bar.example.com.") < sort_key("foo.example.com."));
        assert!(sort_key("foo.example.com.") < sort_key("a.foo.example.com."));
        assert!(sort_key("example.com.") < sort_key("a.example.com."));
        assert_eq!(sort_key("www.example.com."), "com.example.www.");
    }

    #[test]
    fn a_zone_holds_itself_and_what_is_below() {
        assert!(is_within("example.com.", "example.com."));
        assert!(is_within("a.example.com.", "example.com."));
        assert!(!is_within("badexample.com.", "example.com."));
        assert!(!is_within("com.", "example.com."));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_made_canonical_once(text in "[a-zA-Z0-9.*\\\\ -~]{0,40}") {
            if let Ok(name) = canonical(&text) {
                prop_assert_eq!(canonical(&name).unwrap(), name);
            }
        }
    }
}
