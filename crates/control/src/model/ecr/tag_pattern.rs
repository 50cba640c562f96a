//! Patterns of tags, as lifecycle policies and exclusions from mutability have them: `*` stands for any characters.

/// Whether the whole tag has the pattern's form.
pub fn matches(pattern: &str, tag: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == tag;
    };
    let Some(mut left) = tag.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        // The first place is always good enough: it leaves most for the parts behind it.
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let table = [
            ("prod", "prod", true),
            ("prod", "prod1", false),
            ("prod*", "prod", true),
            ("prod*", "prod-1", true),
            ("*prod", "my-prod", true),
            ("*prod", "prod-1", false),
            ("v*.*.0", "v1.2.0", true),
            ("v*.*.0", "v1.0", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
        ];
        for (pattern, tag, expected) in table {
            assert_eq!(matches(pattern, tag), expected, "{pattern} {tag}");
        }
    }
}
