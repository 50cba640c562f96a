//! The pieces that all patterns are made of: quoted texts, regular expressions, names, and expressions of conditions.

use super::condition::{Condition, Operand, Operator};
use crate::model::logs::{Refusal, invalid};
use regex::bytes::{Regex, RegexBuilder};

/// Regular expressions of a pattern. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>
const REGEXES_MAX: usize = 2;
/// Of a compiled regular expression; a caller chooses it.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Parentheses in parentheses.
const DEPTH_MAX: usize = 32;

/// Conditions joined by `&&`, which binds closer, and `||`.
#[derive(Debug, Clone)]
pub enum Expression<C> {
    All(Vec<Self>),
    Any(Vec<Self>),
    One(C),
}

impl<C> Expression<C> {
    pub fn holds(&self, test: &impl Fn(&C) -> bool) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
            Self::One(condition) => test(condition),
        }
    }

    pub fn each<'a>(&'a self, visit: &mut impl FnMut(&'a C)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(visit)),
            Self::One(condition) => visit(condition),
        }
    }
}

/// Reads a pattern from its start; white space before a piece is passed over.
pub struct Scanner<'a> {
    rest: &'a str,
    regexes: usize,
}

fn broken(what: &str) -> Refusal {
    invalid(format!("Invalid filter pattern: {what}"))
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            regexes: 0,
        }
    }

    /// How many regular expressions were read.
    pub fn regexes(&self) -> usize {
        self.regexes
    }

    pub fn is_at_end(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.is_empty()
    }

    pub fn end(&mut self) -> Result<(), Refusal> {
        match self.is_at_end() {
            true => Ok(()),
            false => Err(broken(&format!("unexpected '{}'", self.rest))),
        }
    }

    pub fn eat(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub fn expect(&mut self, text: &str) -> Result<(), Refusal> {
        match self.eat(text) {
            true => Ok(()),
            false => Err(broken(&format!(
                "'{text}' is missing before '{}'",
                self.rest
            ))),
        }
    }

    /// A word in any case, and nothing of a longer one.
    pub fn keyword(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        let found = self
            .rest
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word));
        let after = self.rest.get(word.len()..).unwrap_or_default();
        let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if found && ends {
            self.rest = after;
        }
        found && ends
    }

    pub fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// What comes next, white space included.
    pub fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Something in quotes, or letters, digits and underscores.
    pub fn term(&mut self) -> Result<String, Refusal> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let term = self.take_while(|c| !c.is_whitespace());
        match !term.is_empty() && term.chars().all(|c| c.is_alphanumeric() || c == '_') {
            true => Ok(term.to_owned()),
            false => Err(invalid(format!("Invalid character(s) in term '{term}'"))),
        }
    }

    fn quoted(&mut self) -> Result<String, Refusal> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                other => text.push(other),
            }
        }
        Err(broken("a quote is not closed"))
    }

    /// `%...%`
    pub fn regex(&mut self) -> Result<Regex, Refusal> {
        self.expect("%")?;
        let end = self
            .rest
            .find('%')
            .ok_or_else(|| broken("a regular expression is not closed"))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(invalid(
                "A filter pattern can have at most 2 regular expressions.",
            ));
        }
        regex(text)
    }

    /// `part && part || part`, with parentheses.
    pub fn expression<C>(
        &mut self,
        one: &impl Fn(&mut Self) -> Result<C, Refusal>,
        depth: usize,
    ) -> Result<Expression<C>, Refusal> {
        if depth > DEPTH_MAX {
            return Err(broken("too many parentheses"));
        }
        let mut any = Vec::new();
        loop {
            let mut all = Vec::new();
            loop {
                all.push(match self.eat("(") {
                    true => {
                        let inner = self.expression(one, depth + 1)?;
                        self.expect(")")?;
                        inner
                    }
                    false => Expression::One(one(self)?),
                });
                if !self.eat("&&") {
                    break;
                }
            }
            any.push(joined(all, Expression::All));
            if !self.eat("||") {
                return Ok(joined(any, Expression::Any));
            }
        }
    }

    fn operator(&mut self) -> Option<Operator> {
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        operators
            .into_iter()
            .find_map(|(text, operator)| self.eat(text).then_some(operator))
    }

    /// `= value`, with any of the operators; none if no operator comes.
    pub fn comparison(&mut self) -> Result<Option<Condition>, Refusal> {
        let Some(operator) = self.operator() else {
            return Ok(None);
        };
        self.rest = self.rest.trim_start();
        let operand = match self.peek() {
            Some('%') => Operand::Regex(self.regex()?),
            Some('"') => Operand::text(&self.quoted()?),
            _ => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_-+.*".contains(c);
                match self.take_while(plain) {
                    "" => {
                        return Err(broken(&format!(
                            "a value is missing before '{}'",
                            self.rest
                        )));
                    }
                    value => Operand::plain(value),
                }
            }
        };
        Condition::compare(operator, operand).map(Some)
    }
}

fn joined<C>(
    mut parts: Vec<Expression<C>>,
    join: impl Fn(Vec<Expression<C>>) -> Expression<C>,
) -> Expression<C> {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

/// The part of regular expressions that patterns have: no groups, ASCII, few symbols.
fn regex(text: &str) -> Result<Regex, Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|\\*+.".contains(c);
    if let Some(other) = text.chars().find(|c| !allowed(*c)) {
        return Err(invalid(format!(
            "Invalid character(s) in regular expression: '{other}' is not supported."
        )));
    }
    if text.is_empty() {
        return Err(invalid("Invalid regular expression: it is empty."));
    }
    // By bytes: what lies in an event beyond ASCII is matched by '.', and classes are ASCII's.
    let mut builder = RegexBuilder::new(text);
    let built = builder.unicode(false).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|_| invalid(format!("Invalid regular expression: '{text}'.")))
}
