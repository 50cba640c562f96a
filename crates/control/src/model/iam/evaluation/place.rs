//! Where statements stand in a policy's text, as the policy simulator tells it: by the line and column that follow a
//! statement's first and last brace.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Position.html>

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub start: Position,
    pub end: Position,
}

/// Of the statements of a document, in order. The text must be JSON.
pub fn places(text: &str) -> Vec<Place> {
    let mut walk = Walk::default();
    for char in text.chars() {
        walk.step(char);
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    line: u32,
    column: u32,
    /// Open braces and brackets.
    open: Vec<char>,
    /// The text within quotes, while they are open.
    quoted: Option<String>,
    escaped: bool,
    /// The last text of the outermost object: a key when a value follows.
    last: String,
    start: Option<Position>,
    found: Vec<Place>,
}

impl Walk {
    fn step(&mut self, char: char) {
        if char == '\n' {
            self.line += 1;
            self.column = 0;
        } else {
            self.column += 1;
        }
        if let Some(quoted) = &mut self.quoted {
            if self.escaped || char == '\\' {
                self.escaped = !self.escaped;
            } else if char == '"' {
                let text = self.quoted.take().unwrap_or_default();
                if self.open.len() == 1 {
                    self.last = text;
                }
            } else if self.open.len() == 1 {
                quoted.push(char);
            }
            return;
        }
        match char {
            '"' => self.quoted = Some(String::new()),
            '{' | '[' => {
                if char == '{' && self.is_at_statement() {
                    self.start = Some(self.after());
                }
                self.open.push(char);
            }
            '}' | ']' => {
                self.open.pop();
                if char == '}'
                    && self.is_at_statement()
                    && let Some(start) = self.start.take()
                {
                    let end = self.after();
                    self.found.push(Place { start, end });
                }
            }
            _ => {}
        }
    }

    fn is_at_statement(&self) -> bool {
        self.last == "Statement" && matches!(self.open.as_slice(), ['{'] | ['{', '['])
    }

    fn after(&self) -> Position {
        Position {
            line: self.line + 1,
            column: self.column + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Vec<[u32; 4]> {
        let numbers = |p: Place| [p.start.line, p.start.column, p.end.line, p.end.column];
        places(text).into_iter().map(numbers).collect()
    }

    /// The sample of <https://docs.aws.amazon.com/cli/latest/reference/iam/simulate-custom-policy.html>.
    #[test]
    fn a_statement_is_where_aws_says_it_is() {
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2015-08-16T12:00:00Z"}}}}"#;
        assert_eq!(at(text), [[1, 38, 1, 167]]);
    }

    #[test]
    fn lists_lines_and_braces_in_texts_are_followed() {
        let text = "{\n \"Statement\": [\n  {\"Sid\": \"a}\\\"{\"},\n  {\"Condition\": {\"x\": {}}}\n ],\n \"Id\": \"Statement\"\n}";
        assert_eq!(at(text), [[3, 4, 3, 19], [4, 4, 4, 27]]);
    }
}
