//! Metric math as a tree.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>
//!
//! What must stay true: no text panics, depth is bounded.

/// An expression. Names are of other queries; functions are by their upper-case names.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Number(f64),
    Text(String),
    Name(String),
    List(Vec<Expression>),
    Negative(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(String, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

const DEPTH_MAX: usize = 40;

/// Reads an expression; what is wrong with it, if it is none.
pub fn parse(text: &str) -> Result<Expression, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    let expression = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(format!("Unexpected {}", token.show())),
    }
}

impl Expression {
    /// The queries that it names, each once; `METRICS` stands for all.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.walk(&mut |part| {
            let name = match part {
                Expression::Name(name) => name,
                Expression::Call(function, _) if function == "METRICS" => function,
                _ => return,
            };
            if !names.contains(name) {
                names.push(name.clone());
            }
        });
        names
    }

    fn walk(&self, visit: &mut impl FnMut(&Expression)) {
        visit(self);
        match self {
            Self::List(parts) | Self::Call(_, parts) => {
                parts.iter().for_each(|part| part.walk(visit));
            }
            Self::Negative(inner) => inner.walk(visit),
            Self::Binary(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Self::Number(_) | Self::Text(_) | Self::Name(_) => {}
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Word(String),
    Sign(&'static str),
}

impl Token {
    fn show(&self) -> String {
        match self {
            Token::Number(number) => number.to_string(),
            Token::Text(text) => format!("\"{text}\""),
            Token::Word(word) => word.clone(),
            Token::Sign(sign) => (*sign).to_owned(),
        }
    }
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ",",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_digit() || first == '.' {
            let end = number_end(rest);
            let number = rest[..end]
                .parse()
                .map_err(|_| format!("{} is no number", &rest[..end]))?;
            tokens.push(Token::Number(number));
            end
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        } else if first == '"' || first == '\'' {
            let end = rest[1..].find(first).ok_or("A text without an end")?;
            tokens.push(Token::Text(rest[1..=end].to_owned()));
            end + 2
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("Unexpected {first}"))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() && (bytes[end].is_ascii_digit() || bytes[end] == b'.') {
        end += 1;
    }
    // 1e6, but not the name that follows a number by mistake.
    if end < bytes.len() && matches!(bytes[end], b'e' | b'E') {
        let mut past = end + 1;
        if past < bytes.len() && matches!(bytes[past], b'+' | b'-') {
            past += 1;
        }
        let digits = bytes[past..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits > 0 {
            end = past + digits;
        }
    }
    end
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.take_sign(sign) {
            return Ok(());
        }
        let found = self.peek().map_or("the end".to_owned(), Token::show);
        Err(format!("Expected {sign}, found {found}"))
    }

    /// The operator that comes next, with how tightly it binds.
    fn operator(&self) -> Option<(Operator, u8)> {
        use Operator::*;
        Some(match self.peek()? {
            Token::Sign("||") => (Or, 1),
            Token::Word(word) if word.eq_ignore_ascii_case("or") => (Or, 1),
            Token::Sign("&&") => (And, 2),
            Token::Word(word) if word.eq_ignore_ascii_case("and") => (And, 2),
            Token::Sign("==") => (Equal, 3),
            Token::Sign("!=") => (Unequal, 3),
            Token::Sign("<") => (Less, 4),
            Token::Sign("<=") => (LessOrEqual, 4),
            Token::Sign(">") => (Greater, 4),
            Token::Sign(">=") => (GreaterOrEqual, 4),
            Token::Sign("+") => (Add, 5),
            Token::Sign("-") => (Subtract, 5),
            Token::Sign("*") => (Multiply, 6),
            Token::Sign("/") => (Divide, 6),
            Token::Sign("^") => (Power, 8),
            _ => return None,
        })
    }

    fn expression(&mut self, least: u8) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("The expression is nested too deeply".to_owned());
        }
        let mut left = self.part()?;
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds > least) {
            self.at += 1;
            let right = self.expression(binds)?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn part(&mut self) -> Result<Expression, String> {
        if self.take_sign("-") {
            return Ok(Expression::Negative(Box::new(self.expression(7)?)));
        }
        if self.take_sign("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.take_sign("[") {
            return Ok(Expression::List(self.list("]")?));
        }
        let token = self.peek().cloned().ok_or("The expression ends early")?;
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Expression::Number(number)),
            Token::Text(text) => Ok(Expression::Text(text)),
            Token::Word(word) if self.take_sign("(") => {
                Ok(Expression::Call(word.to_ascii_uppercase(), self.list(")")?))
            }
            Token::Word(word) => Ok(Expression::Name(word)),
            Token::Sign(sign) => Err(format!("Unexpected {sign}")),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expression>, String> {
        let mut parts = Vec::new();
        if self.take_sign(end) {
            return Ok(parts);
        }
        loop {
            parts.push(self.expression(0)?);
            if !self.take_sign(",") {
                self.expect(end)?;
                return Ok(parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operators_bind_as_in_arithmetic() {
        assert_eq!(parse("1+2*3"), parse("1+(2*3)"));
        assert_eq!(parse("1-2-3"), parse("(1-2)-3"));
        assert_eq!(parse("-m1^2"), parse("-(m1^2)"));
        assert_eq!(
            parse("a>1 AND b<2 OR c==3"),
            parse("((a>1) && (b<2)) || (c==3)")
        );
        assert_ne!(parse("a-b"), parse("b-a"));
    }

    #[test]
    fn names_are_found_once() {
        let expression = parse("IF(m1 > 5, SUM([m1, m2]), FILL(m3, 0)) / SUM(METRICS())").unwrap();
        assert_eq!(expression.names(), ["m1", "m2", "m3", "METRICS"]);
    }

    #[test]
    fn what_is_no_expression() {
        for text in [
            "", "1+", "(1", "1)", "m1 m2", "SUM(", "SUM(m1,)", "\"a", "1..2", "m1 ; m2", "é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"(".repeat(100_000)).is_err());
        assert!(parse(&"-".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(m1|SUM|[-+*/()\\[\\],.0-9e<>=\" ]){0,30}") {
            let _ = parse(&text);
        }
    }
}
