//! Texts with wildcards and policy variables, split once when a policy is read.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
//!
//! What must stay true: what a variable stands for is taken literally, so that a user called `*` is not everybody; a
//! variable that has no value matches nothing; no pattern takes more time than its length times the text's.

use super::context::View;

/// How far wildcards go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Over everything: actions, `StringLike`, one part of an ARN.
    Text,
    /// Within the parts between colons, but for a `*` that ends a part: `Resource`.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
    Resource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Token(Token),
    Variable {
        /// In lower case.
        key: String,
        default: Option<String>,
    },
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// The same where no variable has to be filled in.
    fixed: Option<Glob>,
}

/// A pattern whose variables are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    /// Up to the first wildcard.
    prefix: String,
    rest: Vec<Token>,
}

/// What a pattern is made with.
#[derive(Debug, Clone, Copy)]
pub struct Syntax {
    /// `*` and `?` stand for other texts.
    pub wildcards: bool,
    /// `${...}` stands for a value of the request: in policies of version 2012-10-17 only.
    pub variables: bool,
}

impl Pattern {
    pub fn new(text: &str, syntax: Syntax) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if syntax.variables
                && let Some((part, length)) = variable(rest)
            {
                parts.push(part);
                rest = &rest[length..];
                continue;
            }
            parts.push(Part::Token(match first {
                '*' if syntax.wildcards => Token::Many,
                '?' if syntax.wildcards => Token::One,
                other => Token::Char(other),
            }));
            rest = &rest[first.len_utf8()..];
        }
        let tokens: Option<Vec<Token>> = parts
            .iter()
            .map(|part| match part {
                Part::Token(token) => Some(*token),
                Part::Variable { .. } => None,
            })
            .collect();
        Self {
            fixed: tokens.map(|tokens| Glob::new(&tokens)),
            parts,
        }
    }

    /// The keys of its variables, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Token(_) => None,
            Part::Variable { key, .. } => Some(key.as_str()),
        })
    }

    pub fn matches(&self, text: &str, view: &View, reach: Reach) -> bool {
        match &self.fixed {
            Some(glob) => glob.matches(text, reach),
            None => self
                .tokens(view)
                .is_some_and(|tokens| Glob::new(&tokens).matches(text, reach)),
        }
    }

    /// For patterns without variables.
    pub fn matches_fixed(&self, text: &str) -> bool {
        self.fixed
            .as_ref()
            .is_some_and(|glob| glob.matches(text, Reach::Text))
    }

    /// Whether an ARN matches part by part, of six (`ArnLike`).
    pub fn matches_arn(&self, arn: &str, view: &View) -> bool {
        let Some(tokens) = self.tokens(view) else {
            return false;
        };
        if tokens == [Token::Many] {
            return true;
        }
        let colon = |token: &Token| *token == Token::Char(':');
        let patterns: Vec<&[Token]> = tokens.splitn(6, colon).collect();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        parts.len() == 6
            && patterns.len() == 6
            && patterns
                .into_iter()
                .zip(parts)
                .all(|(pattern, part)| Glob::new(pattern).matches(part, Reach::Text))
    }

    /// Whether it is the same text but for case.
    pub fn equals_ignoring_case(&self, text: &str, view: &View) -> bool {
        self.tokens(view).is_some_and(|tokens| {
            let own: String = tokens.iter().map(Token::literal).collect();
            own.to_lowercase() == text.to_lowercase()
        })
    }

    /// With its variables filled in; `None` if one has no value, or several.
    fn tokens(&self, view: &View) -> Option<Vec<Token>> {
        let mut tokens = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Token(token) => tokens.push(*token),
                Part::Variable { key, default } => {
                    let value = match view.get(key) {
                        Some([one]) => one,
                        Some(_) => return None,
                        None => default.as_ref()?,
                    };
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
        }
        Some(tokens)
    }
}

impl Token {
    fn literal(&self) -> char {
        match self {
            Self::Char(char) => *char,
            Self::One => '?',
            Self::Many => '*',
        }
    }
}

/// The variable at the start of a text, and its length. `${*}`, `${?}` and `${$}` are those characters themselves.
fn variable(text: &str) -> Option<(Part, usize)> {
    let inner = text.strip_prefix("${")?;
    // A default may hold a brace between its quotes.
    let mut quoted = false;
    let end = inner.char_indices().find_map(|(at, char)| {
        quoted ^= char == '\'';
        (char == '}' && !quoted).then_some(at)
    })?;
    let (inner, length) = (&inner[..end], end + 3);
    if let "*" | "?" | "$" = inner {
        let char = inner.chars().next()?;
        return Some((Part::Token(Token::Char(char)), length));
    }
    let (key, default) = match inner.split_once(',') {
        Some((key, rest)) => {
            let default = rest.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key.trim(), Some(default.to_owned()))
        }
        None => (inner.trim(), None),
    };
    let key = key.to_lowercase();
    Some((Part::Variable { key, default }, length))
}

impl Glob {
    fn new(tokens: &[Token]) -> Self {
        let is_char = |token: &Token| matches!(token, Token::Char(_));
        let literal = tokens.iter().take_while(|token| is_char(token)).count();
        Self {
            prefix: tokens[..literal].iter().map(Token::literal).collect(),
            rest: tokens[literal..].to_vec(),
        }
    }

    fn matches(&self, text: &str, reach: Reach) -> bool {
        let Some(tail) = text.strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        match self.rest.as_slice() {
            [] => tail.is_empty(),
            [Token::Many] => true,
            rest => simulate(rest, tail, reach),
        }
    }
}

/// All places in the pattern that the text so far can have led to, character by character.
fn simulate(tokens: &[Token], text: &str, reach: Reach) -> bool {
    let is_narrow = reach == Reach::Resource;
    let ends_part = |place: usize| matches!(tokens.get(place + 1), None | Some(Token::Char(':')));
    let mut places = vec![false; tokens.len() + 1];
    places[0] = true;
    skip_stars(tokens, &mut places);
    for char in text.chars() {
        let is_wall = is_narrow && char == ':';
        let mut next = vec![false; tokens.len() + 1];
        for (place, token) in tokens
            .iter()
            .enumerate()
            .filter(|(place, _)| places[*place])
        {
            match token {
                Token::Char(own) => next[place + 1] |= *own == char,
                Token::One => next[place + 1] |= !is_wall,
                Token::Many => next[place] |= !is_wall || ends_part(place),
            }
        }
        skip_stars(tokens, &mut next);
        places = next;
        if !places.contains(&true) {
            return false;
        }
    }
    places[tokens.len()]
}

fn skip_stars(tokens: &[Token], places: &mut [bool]) {
    for place in 0..tokens.len() {
        if places[place] && tokens[place] == Token::Many {
            places[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Conditions;
    use super::*;

    const WILD: Syntax = Syntax {
        wildcards: true,
        variables: true,
    };

    fn matches(pattern: &str, text: &str, reach: Reach, values: &[(&str, &str)]) -> bool {
        let mut conditions = Conditions::default();
        for (key, value) in values {
            conditions.set(key, *value);
        }
        let own = Conditions::default();
        Pattern::new(pattern, WILD).matches(text, &View::new(&conditions, &own), reach)
    }

    #[test]
    fn wildcards_go_over_slashes_and_stay_between_colons_unless_they_end_a_part() {
        let resource = |pattern, text| matches(pattern, text, Reach::Resource, &[]);
        let role = "arn:aws:iam::111122223333:role/path/orders-task";
        assert!(resource("*", role));
        assert!(resource("arn:aws:iam::*:role/*-task", role));
        assert!(resource("arn:aws:iam::111122223333:role/*", role));
        assert!(resource("arn:aws:iam::11112222????:role/path/*", role));
        assert!(resource("arn:aws:iam:*", role), "the star ends a part");
        assert!(!resource("arn:aws:i*m", role));
        assert!(!resource("arn:a*k", role), "no star in a part leaves it");
        assert!(!resource(
            "arn:aws:iam::111122223333:role?path/orders-task",
            "arn:aws:iam::111122223333:role:path/orders-task"
        ));
        assert!(
            !resource("arn:aws:iam::111122223333:ROLE/*", role),
            "case counts"
        );
    }

    #[test]
    fn variables_are_literal_and_match_nothing_without_a_value() {
        let text =
            |pattern, text, values: &[(&str, &str)]| matches(pattern, text, Reach::Text, values);
        let ann = [("aws:username", "ann")];
        assert!(text("home/${aws:username}/*", "home/ann/a", &ann));
        assert!(text("home/${AWS:UserName}/*", "home/ann/a", &ann));
        assert!(!text(
            "home/${aws:username}/*",
            "home/bob/a",
            &[("aws:username", "*")]
        ));
        assert!(!text("home/${aws:username}/*", "home//a", &[]));
        assert!(!text("${aws:username}", "", &[]));
        assert!(text("${aws:username, 'nobody'}", "nobody", &[]));
        assert!(text("${aws:username,'a}b'}", "a}b", &[]));
        assert!(!text("${aws:username, 'nobody'}", "nobody", &ann));
        assert!(text("a${*}b${?}${$}", "a*b?$", &[]));
        assert!(!text("a${*}b", "axb", &[]));
        assert!(text("${aws:username", "${aws:username", &ann), "not closed");
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!matches(&pattern, &"a".repeat(2000), Reach::Text, &[]));
    }

    #[test]
    fn arns_match_part_by_part() {
        let (base, own) = (Conditions::default(), Conditions::default());
        let view = View::new(&base, &own);
        let arn = |pattern: &str, text| Pattern::new(pattern, WILD).matches_arn(text, &view);
        assert!(arn("arn:aws:sns:*:1:*", "arn:aws:sns:us-east-1:1:a:b"));
        assert!(!arn("arn:aws:sns:*", "arn:aws:sns:us-east-1:1:a"));
        assert!(!arn("arn:aws:*:a", "arn:aws:sns:us-east-1:1:a"));
        assert!(arn("*", "arn:aws:sns:us-east-1:1:a"));
        assert!(!arn("arn:aws:sns:*:1:*", "text"));
    }
}
