//! Conditions on the fields of a JSON event: `{ $.a.b[0] = "x*" && ($.n >= 3 || $.c IS NULL || $.d NOT EXISTS) }`.

use super::condition::Condition;
use super::scan::{Expression, Scanner};
use crate::model::logs::{Refusal, invalid};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
pub struct Json(Expression<Test>);

#[derive(Debug, Clone)]
struct Test {
    selector: Selector,
    check: Check,
}

#[derive(Debug, Clone)]
enum Check {
    Compare(Condition),
    IsNull,
    Is(bool),
    NotExists,
}

/// `$.a.b[0]`; `[*]` is any element.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
    Each,
}

/// The event, if it is an object.
pub fn object(message: &str) -> Option<Value> {
    // Most events are no JSON: not worth a parser's error.
    if !message.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(message).ok()
}

impl Json {
    pub fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        scanner.expect("{")?;
        let expression = scanner.expression(&Test::parse, 0)?;
        scanner.expect("}")?;
        Ok(Self(expression))
    }

    pub fn holds(&self, event: &Value) -> bool {
        self.0.holds(&|test| test.holds(event))
    }

    /// The fields that the pattern names, as far as the event has them.
    pub fn values(&self, event: &Value) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        self.0.each(&mut |test| {
            if let Some(text) = test.selector.text(event) {
                values.insert(test.selector.text.clone(), text.into_owned());
            }
        });
        values
    }
}

impl Test {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        let selector = Selector::scan(scanner)?;
        let check = if scanner.keyword("IS") {
            match () {
                () if scanner.keyword("NULL") => Check::IsNull,
                () if scanner.keyword("TRUE") => Check::Is(true),
                () if scanner.keyword("FALSE") => Check::Is(false),
                () => {
                    return Err(invalid(
                        "Invalid filter pattern: IS wants NULL, TRUE or FALSE",
                    ));
                }
            }
        } else if scanner.keyword("NOT") {
            if !scanner.keyword("EXISTS") {
                return Err(invalid("Invalid filter pattern: NOT wants EXISTS"));
            }
            Check::NotExists
        } else {
            let condition = scanner.comparison()?;
            Check::Compare(condition.ok_or_else(|| {
                invalid(format!(
                    "Invalid filter pattern: {} is compared with nothing",
                    selector.text
                ))
            })?)
        };
        Ok(Self { selector, check })
    }

    fn holds(&self, event: &Value) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| self.selector.any(event, test);
        match &self.check {
            Check::Compare(condition) => {
                any(&|value| plain(value).is_some_and(|text| condition.holds(&text)))
            }
            Check::IsNull => any(&Value::is_null),
            Check::Is(wanted) => any(&|value| value.as_bool() == Some(*wanted)),
            Check::NotExists => !any(&|_| true),
        }
    }
}

impl Selector {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let mut scanner = Scanner::new(text);
        let selector = Self::scan(&mut scanner)?;
        scanner.end()?;
        Ok(selector)
    }

    fn scan(scanner: &mut Scanner<'_>) -> Result<Self, Refusal> {
        let bad = || {
            invalid(
                "Invalid filter pattern: a field of a JSON event is written $.name, $.name.name or $.name[0]",
            )
        };
        if !scanner.eat("$") {
            return Err(bad());
        }
        let mut selector = Self {
            text: "$".to_owned(),
            steps: Vec::new(),
        };
        loop {
            let (text, step) = match scanner.peek() {
                Some('.') => {
                    scanner.expect(".")?;
                    let key = scanner.take_while(|c| c.is_alphanumeric() || c == '_' || c == '-');
                    if key.is_empty() {
                        return Err(bad());
                    }
                    (format!(".{key}"), Step::Key(key.to_owned()))
                }
                Some('[') => {
                    scanner.expect("[")?;
                    let index = scanner.take_while(|c| c.is_ascii_digit() || c == '*');
                    scanner.expect("]")?;
                    let step = match index {
                        "*" => Step::Each,
                        digits => Step::Index(digits.parse().map_err(|_| bad())?),
                    };
                    (format!("[{index}]"), step)
                }
                _ => break,
            };
            selector.text.push_str(&text);
            selector.steps.push(step);
        }
        match selector.steps.is_empty() {
            true => Err(bad()),
            false => Ok(selector),
        }
    }

    fn any(&self, event: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
        self.first(event, &|value| test(value).then_some(()))
            .is_some()
    }

    /// The text of the first plain value there.
    pub fn text<'a>(&self, event: &'a Value) -> Option<Cow<'a, str>> {
        self.first(event, &|value| plain(value))
    }

    fn first<'a, R>(&self, event: &'a Value, pick: &dyn Fn(&'a Value) -> Option<R>) -> Option<R> {
        walk(&self.steps, event, pick)
    }
}

fn walk<'a, R>(
    steps: &[Step],
    value: &'a Value,
    pick: &dyn Fn(&'a Value) -> Option<R>,
) -> Option<R> {
    let Some((step, rest)) = steps.split_first() else {
        return pick(value);
    };
    match step {
        Step::Key(key) => walk(rest, value.get(key)?, pick),
        Step::Index(index) => walk(rest, value.get(index)?, pick),
        Step::Each => value
            .as_array()?
            .iter()
            .find_map(|element| walk(rest, element, pick)),
    }
}

/// Texts, numbers and truth values can be compared; lists, objects and null cannot.
fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
