//! Rules of composite alarms: `ALARM("a") AND (OK(b) OR NOT INSUFFICIENT_DATA(c))`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>

use fogbank_types::alarm::AlarmState;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    Constant(bool),
    /// An alarm, by name or ARN, in a state.
    State(AlarmState, String),
    Not(Box<Rule>),
    And(Box<Rule>, Box<Rule>),
    Or(Box<Rule>, Box<Rule>),
}

const DEPTH_MAX: usize = 100;
const CHILDREN_MAX: usize = 100;

/// Reads a rule; what is wrong with it, if it is none.
pub fn parse(text: &str) -> Result<Rule, String> {
    let mut parser = Parser {
        rest: text.trim(),
        depth: 0,
    };
    let rule = parser.any()?;
    if !parser.rest.is_empty() {
        return Err(format!(
            "unexpected '{}'",
            parser.rest.chars().take(20).collect::<String>()
        ));
    }
    if rule.children().len() > CHILDREN_MAX {
        return Err(format!("more than {CHILDREN_MAX} alarms"));
    }
    Ok(rule)
}

impl Rule {
    /// The alarms that it names, as it names them.
    pub fn children(&self) -> Vec<&str> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::State(_, name) => vec![name],
            Self::Not(inner) => inner.children(),
            Self::And(left, right) | Self::Or(left, right) => {
                let mut all = left.children();
                for name in right.children() {
                    if !all.contains(&name) {
                        all.push(name);
                    }
                }
                all
            }
        }
    }

    /// Whether it holds; an alarm that is gone is in no state.
    pub fn holds(&self, state: &impl Fn(&str) -> Option<AlarmState>) -> bool {
        match self {
            Self::Constant(holds) => *holds,
            Self::State(wanted, name) => state(name) == Some(*wanted),
            Self::Not(inner) => !inner.holds(state),
            Self::And(left, right) => left.holds(state) && right.holds(state),
            Self::Or(left, right) => left.holds(state) || right.holds(state),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The next word, if it is that one and no longer.
    fn word(&mut self, word: &str) -> bool {
        let Some((head, rest)) = self.rest.split_at_checked(word.len()) else {
            return false;
        };
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let found = head.eq_ignore_ascii_case(word) && ends;
        if found {
            self.rest = rest.trim_start();
        }
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<Rule, String> {
        let mut left = self.all()?;
        while self.word("OR") {
            left = Rule::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Rule, String> {
        let mut left = self.one()?;
        while self.word("AND") {
            left = Rule::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Rule, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply".to_owned());
        }
        let rule = self.part();
        self.depth -= 1;
        rule
    }

    fn part(&mut self) -> Result<Rule, String> {
        if self.word("NOT") {
            return Ok(Rule::Not(Box::new(self.one()?)));
        }
        if self.sign('(') {
            let inner = self.any()?;
            return match self.sign(')') {
                true => Ok(inner),
                false => Err("a parenthesis is not closed".to_owned()),
            };
        }
        for (word, state) in [
            ("ALARM", AlarmState::Alarm),
            ("OK", AlarmState::Ok),
            ("INSUFFICIENT_DATA", AlarmState::InsufficientData),
        ] {
            if self.word(word) {
                return Ok(Rule::State(state, self.name()?));
            }
        }
        match (self.word("TRUE"), self.word("FALSE")) {
            (true, _) => Ok(Rule::Constant(true)),
            (_, true) => Ok(Rule::Constant(false)),
            _ => Err(
                "expected ALARM(..), OK(..), INSUFFICIENT_DATA(..), NOT, TRUE or FALSE".to_owned(),
            ),
        }
    }

    /// `(name)`, `("name")` or `('name')`.
    fn name(&mut self) -> Result<String, String> {
        if !self.sign('(') {
            return Err("an alarm's name is missing".to_owned());
        }
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (name, rest): (&'a str, &'a str) = match quote {
            Some(quote) => self.rest[1..]
                .split_once(quote)
                .ok_or("a name is not closed")?,
            None => {
                let end = self.rest.find(')').ok_or("a parenthesis is not closed")?;
                self.rest.split_at(end)
            }
        };
        self.rest = rest.trim_start();
        let name = name.trim().to_owned();
        if name.is_empty() || !self.sign(')') {
            return Err("an alarm's name is missing".to_owned());
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(text: &str) -> bool {
        let state = |name: &str| match name {
            "up" => Some(AlarmState::Ok),
            "down" | "arn:aws:x" | "a b (c)" => Some(AlarmState::Alarm),
            _ => None,
        };
        parse(text).unwrap().holds(&state)
    }

    #[test]
    fn rules_are_read_as_written() {
        for (text, wanted) in [
            ("ALARM(down)", true),
            ("ALARM(\"down\") AND OK('up')", true),
            ("ALARM(up) OR ALARM(arn:aws:x)", true),
            ("ALARM(\"a b (c)\")", true),
            ("NOT ALARM(down)", false),
            ("NOT ALARM(up) AND ALARM(up)", false),
            ("TRUE OR FALSE AND FALSE", true),
            ("(TRUE OR FALSE) AND FALSE", false),
            ("ALARM(gone) OR OK(gone)", false),
            ("not (alarm(up))", true),
        ] {
            assert_eq!(holds(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule() {
        for text in [
            "",
            "ALARM",
            "ALARM()",
            "ALARM(a",
            "ALARM(a) OK(b)",
            "x",
            "ALARM(a) AND",
            "(TRUE",
            "TRUE)",
            "ALARMS(a)",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"NOT ".repeat(10_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(ALARM|OK|NOT|AND|TRUE|[()a\"'é ]){0,30}") {
            let _ = parse(&text);
        }
    }
}
