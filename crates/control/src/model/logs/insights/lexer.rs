//! Words, numbers, quoted texts and signs of a query. What follows `/` depends on what is wanted there, so pieces are read
//! when they are asked for.

use super::Malformed;
use regex::bytes::{Regex, RegexBuilder};

/// Of a compiled regular expression; a caller chooses it.
const REGEX_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A name or a keyword; true: in backticks, so no keyword.
    Word(String, bool),
    Text(String),
    Number(f64),
    /// Milliseconds: `5m`.
    Duration(i64),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 17] = [
    "=~", "!=", "<=", ">=", "(", ")", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/", "|",
];
const MORE_SIGNS: [&str; 2] = ["%", "^"];

pub struct Lexer<'a> {
    text: &'a str,
    /// Where the next token begins, in bytes.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What was read since then, without white space around it.
    pub fn since(&self, at: usize) -> &'a str {
        self.text[at..self.at].trim()
    }

    pub fn malformed(&self, from: usize, message: impl Into<String>) -> Malformed {
        let count = |bytes: usize| self.text[..bytes].chars().count();
        Malformed {
            message: message.into(),
            start: count(from),
            end: count(self.at.max(from)),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// White space, and comments to the end of their line.
    pub fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    pub fn next(&mut self) -> Result<Token, Malformed> {
        self.skip();
        let (from, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == '"' || first == '\'' || first == '`' {
            let text = self.quoted(first)?;
            return Ok(match first {
                '`' => Token::Word(text, true),
                _ => Token::Text(text),
            });
        }
        if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            return self.number();
        }
        if first.is_alphabetic() || first == '_' || first == '@' {
            let word = self.take_while(|c| c.is_alphanumeric() || "_@.:".contains(c));
            return Ok(Token::Word(word.to_owned(), false));
        }
        let sign = SIGNS
            .iter()
            .chain(&MORE_SIGNS)
            .find(|sign| rest.starts_with(**sign));
        match sign {
            Some(sign) => {
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
            None => {
                self.at += first.len_utf8();
                Err(self.malformed(from, format!("unexpected symbol found {first}")))
            }
        }
    }

    fn number(&mut self) -> Result<Token, Malformed> {
        let from = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
        let number = digits.parse::<f64>();
        let unit = self.take_while(|c| c.is_alphanumeric() || c == '_');
        let number = number.ok().filter(|_| unit.len() < 8);
        let unit_ms = match unit {
            "" => {
                return number
                    .map(Token::Number)
                    .ok_or_else(|| self.malformed(from, "a number is malformed"));
            }
            "ms" | "msec" => 1,
            "s" | "sec" | "second" | "seconds" => 1_000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 7 * 86_400_000,
            _ => {
                return Err(self.malformed(from, format!("unexpected symbol found {digits}{unit}")));
            }
        };
        let ms = number
            .map(|number| number * f64::from(unit_ms))
            .filter(|ms| *ms >= 1.0 && *ms < 1e14);
        ms.map(|ms| Token::Duration(ms as i64))
            .ok_or_else(|| self.malformed(from, "a period of time is malformed"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, Malformed> {
        let from = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                c if c == quote => {
                    self.at += index + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, escaped)) => text.push(escaped),
                    None => {}
                },
                other => text.push(other),
            }
        }
        self.at = self.text.len();
        Err(self.malformed(from, "a quote is not closed"))
    }

    pub fn is_regex(&mut self) -> bool {
        self.skip();
        self.rest().starts_with('/')
    }

    /// `/.../`, in which `\/` is a slash.
    pub fn regex(&mut self) -> Result<Regex, Malformed> {
        self.skip();
        let (from, mut text, mut escaped, mut end) = (self.at, String::new(), false, None);
        for (index, character) in self.rest().char_indices().skip(1) {
            match character {
                '/' if !escaped => {
                    end = Some(index + 1);
                    break;
                }
                '/' => text.push('/'),
                other if escaped => text.extend(['\\', other]),
                '\\' => {}
                other => text.push(other),
            }
            escaped = character == '\\' && !escaped;
        }
        self.at += end.unwrap_or(self.rest().len());
        if end.is_none() {
            return Err(self.malformed(from, "a regular expression is not closed"));
        }
        compile(&text).ok_or_else(|| self.malformed(from, "invalid regular expression"))
    }
}

pub fn compile(text: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(text);
    builder
        .unicode(false)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .ok()
}
