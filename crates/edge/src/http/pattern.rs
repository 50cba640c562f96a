//! Wildcard patterns of rule conditions, compiled once per table. Used by `route`; pure.
//!
//! `*` stands for any run of bytes, `?` for exactly one ("Condition types for listener rules", ELB guide).

/// One compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// What every text that fits begins with: most texts are refused by it.
    literal: Box<[u8]>,
    /// What follows the literal; none: the literal is all.
    tokens: Box<[Token]>,
    ignore_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Byte(u8),
    One,
    Any,
}

impl Pattern {
    /// Paths: upper and lower case differ.
    pub fn exact_case(text: &str) -> Self {
        Self::new(text, false, false)
    }

    /// Hosts and header values.
    pub fn any_case(text: &str) -> Self {
        Self::new(text, true, false)
    }

    /// Query strings, where `\*` and `\?` are the characters themselves.
    pub fn any_case_with_escapes(text: &str) -> Self {
        Self::new(text, true, true)
    }

    fn new(text: &str, ignore_case: bool, escapes: bool) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let token = match byte {
                b'\\' if escapes && matches!(bytes.peek(), Some(b'*' | b'?' | b'\\')) => {
                    Token::Byte(bytes.next().unwrap_or(byte))
                }
                b'*' => Token::Any,
                b'?' => Token::One,
                _ if ignore_case => Token::Byte(byte.to_ascii_lowercase()),
                _ => Token::Byte(byte),
            };
            if token != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(token);
            }
        }
        let literal: Box<[u8]> = tokens
            .iter()
            .map_while(|token| match token {
                Token::Byte(byte) => Some(*byte),
                Token::One | Token::Any => None,
            })
            .collect();
        Self {
            tokens: tokens.split_off(literal.len()).into(),
            literal,
            ignore_case,
        }
    }

    /// Whether the whole text fits. Time is at most pattern times text, and needs no memory.
    pub fn matches(&self, text: &[u8]) -> bool {
        if text.len() < self.literal.len() {
            return false;
        }
        let (start, rest) = text.split_at(self.literal.len());
        let begins = if self.ignore_case {
            start.eq_ignore_ascii_case(&self.literal)
        } else {
            *start == *self.literal
        };
        begins
            && match *self.tokens {
                [] => rest.is_empty(),
                [Token::Any] => true,
                _ => self.rest_matches(rest),
            }
    }

    fn rest_matches(&self, text: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Where to go on when the run taken by the last `*` has to grow by one byte.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match self.tokens.get(token) {
                None => at == text.len(),
                Some(Token::Any) => {
                    retry = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                Some(&expected) => match text.get(at) {
                    None => return false,
                    Some(&byte) => self.fits(expected, byte),
                },
            };
            if fits {
                if token == self.tokens.len() {
                    return true;
                }
                token += 1;
                at += 1;
                continue;
            }
            match &mut retry {
                Some((after, from)) if *from < text.len() => {
                    *from += 1;
                    (token, at) = (*after, *from);
                }
                _ => return false,
            }
        }
    }

    fn fits(&self, token: Token, byte: u8) -> bool {
        match token {
            Token::Byte(expected) if self.ignore_case => expected == byte.to_ascii_lowercase(),
            Token::Byte(expected) => expected == byte,
            Token::One | Token::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("/img", "/img", true),
            ("/img", "/img/", false),
            ("/img/*", "/img", false),
            ("/img/*", "/img/", true),
            ("/img/*/x", "/img/a/b/x", true),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("/A", "/a", false),
            ("*a*b*c", "xxaxxbxxcxxc", true),
            ("*a*b*c", "xxaxxbxxcxx", false),
        ] {
            assert_eq!(
                Pattern::exact_case(pattern).matches(text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_host_wildcard_does_not_take_the_bare_domain() {
        let pattern = Pattern::any_case("*.Example.com");
        assert!(pattern.matches(b"WWW.example.COM"));
        assert!(!pattern.matches(b"example.com"));
    }

    #[test]
    fn escapes_only_where_asked_for() {
        assert!(Pattern::any_case_with_escapes(r"a\*b").matches(b"A*B"));
        assert!(!Pattern::any_case_with_escapes(r"a\*b").matches(b"axb"));
        assert!(Pattern::any_case(r"a\*b").matches(br"a\xxb"));
    }

    /// The definition, by recursion.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), None) => naive(&pattern[1..], text),
            (Some(b'*'), Some(_)) => naive(&pattern[1..], text) || naive(pattern, &text[1..]),
            (Some(b'?'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) if a == b => naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::exact_case(&pattern).matches(text.as_bytes()),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
