//! Conditions on the words of an event: `[ip, user, ..., status = 4*, bytes > 1000]`. What stands in `[]` or in quotes is
//! one word.

use super::condition::Condition;
use super::scan::{Expression, Scanner};
use crate::model::logs::{Refusal, invalid};

#[derive(Debug, Clone)]
pub struct Words {
    before: Vec<Word>,
    /// Behind `...`, which stands for any number of words; none: there is no `...`.
    after: Option<Vec<Word>>,
}

#[derive(Debug, Clone)]
struct Word {
    name: String,
    condition: Option<Expression<Condition>>,
}

impl Words {
    pub fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        let mut words = Self {
            before: Vec::new(),
            after: None,
        };
        scanner.expect("[")?;
        loop {
            if scanner.eat("...") {
                if words.after.replace(Vec::new()).is_some() {
                    return Err(invalid("Invalid filter pattern: ... can stand once only"));
                }
            } else {
                let word = Word::parse(scanner)?;
                words.after.as_mut().unwrap_or(&mut words.before).push(word);
            }
            if !scanner.eat(",") {
                scanner.expect("]")?;
                return Ok(words);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Word> {
        self.before.iter().chain(self.after.iter().flatten())
    }

    pub fn offers(&self, selector: &str) -> bool {
        let name = selector.strip_prefix('$').unwrap_or_default();
        self.all().any(|word| word.name == name)
    }

    /// The event's words by name, if it matches. Words that stand at `...` go by their number, from one.
    pub fn read<'a>(&self, message: &'a str) -> Option<Vec<(String, &'a str)>> {
        let found = split(message);
        let after = self.after.as_deref().unwrap_or_default();
        let named = self.before.len() + after.len();
        let fits = match self.after {
            Some(_) => found.len() >= named,
            None => found.len() == named,
        };
        if !fits {
            return None;
        }
        let skipped = found.len() - named;
        let word = |index: usize| match index.checked_sub(self.before.len()) {
            None => self.before.get(index),
            Some(behind) => after.get(behind.checked_sub(skipped)?),
        };
        let mut read = Vec::with_capacity(found.len());
        for (index, text) in found.into_iter().enumerate() {
            match word(index) {
                Some(word) if !word.holds(text) => return None,
                Some(word) if !word.name.is_empty() => read.push((format!("${}", word.name), text)),
                _ => read.push((format!("${}", index + 1), text)),
            }
        }
        Some(read)
    }
}

impl Word {
    /// A name; a name and conditions on it, `status = 404 || status = 410`; or nothing, a word without a name.
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        let name = |scanner: &mut Scanner<'_>| {
            scanner.is_at_end();
            scanner
                .take_while(|c| c.is_alphanumeric() || c == '_' || c == '-')
                .to_owned()
        };
        let parsed =
            scanner.expression(&|scanner| Ok((name(scanner), scanner.comparison()?)), 0)?;
        let mut names = Vec::new();
        parsed.each(&mut |(name, condition)| names.push((name.clone(), condition.is_some())));
        let first = names
            .first()
            .map(|(name, _)| name.clone())
            .unwrap_or_default();
        if let [(_, false)] = names.as_slice() {
            return Ok(Self {
                name: first,
                condition: None,
            });
        }
        if names
            .iter()
            .any(|(name, compared)| *name != first || name.is_empty() || !compared)
        {
            return Err(invalid(
                "Invalid filter pattern: the conditions of a field have its name each",
            ));
        }
        Ok(Self {
            name: first,
            condition: conditions(parsed),
        })
    }

    fn holds(&self, text: &str) -> bool {
        self.condition
            .as_ref()
            .is_none_or(|all| all.holds(&|one| one.holds(text)))
    }
}

fn conditions(parsed: Expression<(String, Option<Condition>)>) -> Option<Expression<Condition>> {
    let all = |parts: Vec<_>| {
        parts
            .into_iter()
            .map(conditions)
            .collect::<Option<Vec<_>>>()
    };
    Some(match parsed {
        Expression::All(parts) => Expression::All(all(parts)?),
        Expression::Any(parts) => Expression::Any(all(parts)?),
        Expression::One((_, condition)) => Expression::One(condition?),
    })
}

/// The words between spaces; quotes and brackets hold one together, and are not part of it.
fn split(message: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = message.trim_start();
    while !rest.is_empty() {
        let closing = match rest.as_bytes()[0] {
            b'"' => Some('"'),
            b'[' => Some(']'),
            _ => None,
        };
        let held = closing.and_then(|closing| {
            let inner = &rest[1..];
            let end = inner.find(closing)?;
            let after = &inner[end + 1..];
            // `"a"b` is a word like any other.
            let ends = after.is_empty() || after.starts_with(char::is_whitespace);
            ends.then(|| (&inner[..end], after))
        });
        let (word, after) = held
            .unwrap_or_else(|| rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())));
        words.push(word);
        rest = after.trim_start();
    }
    words
}
