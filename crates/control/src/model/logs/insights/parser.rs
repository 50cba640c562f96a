//! From a query's text to its commands.

use super::aggregate::{Aggregate, Kind};
use super::expression::{Comparison, Expression, Likeness, Operation};
use super::functions::Function;
use super::lexer::{Lexer, Token};
use super::value::Value;
use super::{Column, Command, Extraction, Malformed, ROWS_MAX};

/// Parentheses, functions and `not` in each other.
const DEPTH_MAX: usize = 40;
/// Commands of a query.
const COMMANDS_MAX: usize = 100;
/// "You can use up to two stats commands in a query."
const STATS_MAX: usize = 2;

const NOT_OFFERED: [&str; 9] = [
    "pattern",
    "diff",
    "anomaly",
    "unnest",
    "lookup",
    "join",
    "unmask",
    "filterindex",
    "source",
];

struct Parser<'a> {
    lexer: Lexer<'a>,
    depth: usize,
    /// In `stats`: how many aggregates it has so far.
    aggregates: Option<usize>,
}

pub fn parse(text: &str) -> Result<Vec<Command>, Malformed> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        depth: 0,
        aggregates: None,
    };
    let (mut commands, mut stats) = (Vec::new(), 0);
    if parser.peek()? == Token::End {
        return Err(parser
            .lexer
            .malformed(0, "Query must have at least one command"));
    }
    loop {
        let from = parser.begin();
        commands.push(parser.command()?);
        stats += usize::from(matches!(commands.last(), Some(Command::Stats { .. })));
        if stats > STATS_MAX || commands.len() > COMMANDS_MAX {
            return Err(parser.lexer.malformed(from, "Query has too many commands"));
        }
        let from = parser.begin();
        match parser.lexer.next()? {
            Token::End => return Ok(commands),
            Token::Sign("|") => {}
            other => return Err(parser.unexpected(from, &other)),
        }
    }
}

impl Parser<'_> {
    /// Where the next token begins.
    fn begin(&mut self) -> usize {
        self.lexer.skip();
        self.lexer.at()
    }

    fn peek(&mut self) -> Result<Token, Malformed> {
        let at = self.lexer.at();
        let token = self.lexer.next();
        self.lexer.back_to(at);
        token
    }

    fn eat(&mut self, sign: &str) -> Result<bool, Malformed> {
        let found = matches!(self.peek()?, Token::Sign(found) if found == sign);
        if found {
            self.lexer.next()?;
        }
        Ok(found)
    }

    fn keyword(&mut self, word: &str) -> Result<bool, Malformed> {
        let found =
            matches!(self.peek()?, Token::Word(found, false) if found.eq_ignore_ascii_case(word));
        if found {
            self.lexer.next()?;
        }
        Ok(found)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Malformed> {
        let from = self.begin();
        match self.lexer.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            other => Err(self.unexpected(from, &other)),
        }
    }

    fn unexpected(&self, from: usize, token: &Token) -> Malformed {
        let what = match token {
            Token::End => "end of query".to_owned(),
            _ => self.lexer.since(from).to_owned(),
        };
        self.lexer
            .malformed(from, format!("unexpected symbol found {what}"))
    }

    fn command(&mut self) -> Result<Command, Malformed> {
        let from = self.begin();
        let token = self.lexer.next()?;
        let Token::Word(word, false) = &token else {
            return Err(self.unexpected(from, &token));
        };
        match word.to_ascii_lowercase().as_str() {
            "fields" => Ok(Command::Fields(self.columns()?)),
            "display" => Ok(Command::Display(self.columns()?)),
            "filter" | "where" => Ok(Command::Filter(self.expression()?)),
            "parse" => self.parse_command(),
            "stats" => self.stats(),
            "sort" | "order" => self.sort(),
            "limit" | "head" => self.limit(),
            "tail" => Err(self.lexer.malformed(
                from,
                "the command tail is not offered by this region; sort @timestamp asc is",
            )),
            "dedup" => Ok(Command::Dedup(self.columns()?)),
            other if NOT_OFFERED.contains(&other) => Err(self.lexer.malformed(
                from,
                format!("the command {word} is not offered by this region yet"),
            )),
            _ => Err(self.unexpected(from, &token)),
        }
    }

    fn columns(&mut self) -> Result<Vec<Column>, Malformed> {
        let mut columns = vec![self.column()?];
        // Commas may be left out between plain fields.
        while self.eat(",")?
            || matches!(self.peek()?, Token::Word(ref word, _) if !word.eq_ignore_ascii_case("by"))
        {
            columns.push(self.column()?);
        }
        Ok(columns)
    }

    /// `expression as name`; without a name it has its own text for one.
    fn column(&mut self) -> Result<Column, Malformed> {
        let from = self.begin();
        let expression = self.expression()?;
        let mut name = match &expression {
            Expression::Field(name) => name.clone(),
            _ => self.lexer.since(from).to_owned(),
        };
        if self.keyword("as")? {
            name = self.name()?;
        }
        Ok(Column { name, expression })
    }

    fn name(&mut self) -> Result<String, Malformed> {
        let from = self.begin();
        match self.lexer.next()? {
            Token::Word(name, _) => Ok(name),
            other => Err(self.unexpected(from, &other)),
        }
    }

    fn parse_command(&mut self) -> Result<Command, Malformed> {
        let from = match self.lexer.is_regex() || matches!(self.peek()?, Token::Text(_)) {
            true => Expression::Field("@message".to_owned()),
            false => self.primary()?,
        };
        if self.lexer.is_regex() {
            let at = self.begin();
            let regex = self.lexer.regex()?;
            if regex.capture_names().flatten().next().is_none() {
                return Err(self
                    .lexer
                    .malformed(at, "a regular expression of parse has named groups"));
            }
            return Ok(Command::Parse {
                from,
                with: Extraction::Regex(regex),
            });
        }
        let at = self.begin();
        let glob = match self.lexer.next()? {
            Token::Text(glob) => glob,
            other => return Err(self.unexpected(at, &other)),
        };
        let parts: Vec<String> = glob.split('*').map(str::to_owned).collect();
        let mut names = Vec::new();
        if self.keyword("as")? {
            names.push(self.name()?);
            while self.eat(",")? {
                names.push(self.name()?);
            }
        }
        if names.len() + 1 != parts.len() || names.is_empty() {
            let text = "the number of wildcards and of names of parse differ";
            return Err(self.lexer.malformed(at, text));
        }
        Ok(Command::Parse {
            from,
            with: Extraction::Glob(parts, names),
        })
    }

    fn stats(&mut self) -> Result<Command, Malformed> {
        self.aggregates = Some(0);
        let from = self.begin();
        let columns = self.columns()?;
        self.aggregates = None;
        for column in &columns {
            let mut has = false;
            column.expression.aggregates(&mut |_| has = true);
            if !has {
                return Err(self
                    .lexer
                    .malformed(from, format!("{} is no aggregation", column.name)));
            }
        }
        let by = match self.keyword("by")? {
            true => self.columns()?,
            false => Vec::new(),
        };
        Ok(Command::Stats { columns, by })
    }

    fn sort(&mut self) -> Result<Command, Malformed> {
        self.keyword("by")?;
        let mut keys = Vec::new();
        loop {
            let key = self.expression()?;
            let descending = self.keyword("desc")?;
            if !descending {
                self.keyword("asc")?;
            }
            keys.push((key, descending));
            if !self.eat(",")? {
                return Ok(Command::Sort(keys));
            }
        }
    }

    fn limit(&mut self) -> Result<Command, Malformed> {
        let from = self.begin();
        match self.lexer.next()? {
            Token::Number(n) if n.fract() == 0.0 && (1.0..=ROWS_MAX as f64).contains(&n) => {
                Ok(Command::Limit(n as usize))
            }
            _ => Err(self
                .lexer
                .malformed(from, format!("limit is a number from 1 to {ROWS_MAX}"))),
        }
    }

    fn expression(&mut self) -> Result<Expression, Malformed> {
        let from = self.begin();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.lexer.malformed(from, "the expression is too deep"));
        }
        let mut left = self.conjunction()?;
        while self.keyword("or")? {
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.negation()?;
        while self.keyword("and")? {
            left = Expression::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression, Malformed> {
        let mut negated = false;
        while self.keyword("not")? {
            negated = !negated;
        }
        let inner = self.comparison()?;
        Ok(match negated {
            true => Expression::Not(Box::new(inner)),
            false => inner,
        })
    }

    fn comparison(&mut self) -> Result<Expression, Malformed> {
        let left = self.sum()?;
        let comparison = match self.peek()? {
            Token::Sign("=") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::AtMost,
            Token::Sign(">") => Comparison::More,
            Token::Sign(">=") => Comparison::AtLeast,
            _ => return self.likeness(left),
        };
        self.lexer.next()?;
        let right = self.sum()?;
        Ok(Expression::Compare(
            comparison,
            Box::new(left),
            Box::new(right),
        ))
    }

    /// `like`, `=~`, `in`, and their negations.
    fn likeness(&mut self, left: Expression) -> Result<Expression, Malformed> {
        let before = self.lexer.at();
        let negated = self.keyword("not")?;
        let inner = if self.eat("=~")? || self.keyword("like")? {
            Expression::Like(Box::new(left), self.likened()?)
        } else if self.keyword("in")? {
            self.expect("[")?;
            let mut list = Vec::new();
            while !self.eat("]")? {
                if !list.is_empty() {
                    self.expect(",")?;
                }
                list.push(self.sum()?);
            }
            Expression::In(Box::new(left), list)
        } else {
            self.lexer.back_to(before);
            return Ok(left);
        };
        Ok(match negated {
            true => Expression::Not(Box::new(inner)),
            false => inner,
        })
    }

    fn likened(&mut self) -> Result<Likeness, Malformed> {
        if self.lexer.is_regex() {
            return Ok(Likeness::Regex(self.lexer.regex()?));
        }
        let from = self.begin();
        match self.lexer.next()? {
            Token::Text(text) => Ok(Likeness::Text(text)),
            other => Err(self.unexpected(from, &other)),
        }
    }

    fn sum(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.product()?;
        loop {
            let operation = match self.peek()? {
                Token::Sign("+") => Operation::Add,
                Token::Sign("-") => Operation::Subtract,
                _ => return Ok(left),
            };
            self.lexer.next()?;
            left = Expression::Arithmetic(operation, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expression, Malformed> {
        let mut left = self.power()?;
        loop {
            let operation = match self.peek()? {
                Token::Sign("*") => Operation::Multiply,
                Token::Sign("/") => Operation::Divide,
                Token::Sign("%") => Operation::Remainder,
                _ => return Ok(left),
            };
            self.lexer.next()?;
            left = Expression::Arithmetic(operation, Box::new(left), Box::new(self.power()?));
        }
    }

    fn power(&mut self) -> Result<Expression, Malformed> {
        let base = match self.eat("-")? {
            true => {
                let zero = Expression::Constant(Value::Number(0.0));
                Expression::Arithmetic(
                    Operation::Subtract,
                    Box::new(zero),
                    Box::new(self.primary()?),
                )
            }
            false => self.primary()?,
        };
        match self.eat("^")? {
            true => Ok(Expression::Arithmetic(
                Operation::Power,
                Box::new(base),
                Box::new(self.primary()?),
            )),
            false => Ok(base),
        }
    }

    fn primary(&mut self) -> Result<Expression, Malformed> {
        let from = self.begin();
        match self.lexer.next()? {
            Token::Number(number) => Ok(Expression::Constant(Value::Number(number))),
            Token::Duration(ms) => Ok(Expression::Constant(Value::Number(ms as f64))),
            Token::Text(text) => Ok(Expression::Constant(Value::text(text))),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Word(word, false) if matches!(self.peek()?, Token::Sign("(")) => {
                self.call(from, &word)
            }
            Token::Word(word, quoted) => {
                let reserved = ["by", "as", "and", "or", "not", "in", "like", "asc", "desc"];
                match !quoted && reserved.contains(&word.to_ascii_lowercase().as_str()) {
                    true => Err(self.unexpected(from, &Token::Word(word, quoted))),
                    false => Ok(Expression::Field(word)),
                }
            }
            other => Err(self.unexpected(from, &other)),
        }
    }

    fn call(&mut self, from: usize, name: &str) -> Result<Expression, Malformed> {
        self.expect("(")?;
        if let Some(kind) = kind(name) {
            return self.aggregate(from, kind);
        }
        let Some((function, counts)) = Function::find(name) else {
            return Err(self
                .lexer
                .malformed(from, format!("Function {name} is not defined")));
        };
        let mut arguments = Vec::new();
        while !self.eat(")")? {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            arguments.push(self.expression()?);
        }
        match counts.contains(&arguments.len()) {
            true => Ok(Expression::Call(function, arguments)),
            false => Err(self
                .lexer
                .malformed(from, format!("Invalid number of arguments for {name}"))),
        }
    }

    fn aggregate(&mut self, from: usize, kind: Kind) -> Result<Expression, Malformed> {
        let Some(number) = self.aggregates.take() else {
            return Err(self
                .lexer
                .malformed(from, "aggregations stand in stats, and not in each other"));
        };
        let mut kind = kind;
        let may_be_empty = kind == Kind::Count;
        let of = match may_be_empty && (self.eat("*")? || self.peek()? == Token::Sign(")")) {
            true => None,
            false => Some(self.expression()?),
        };
        if let Kind::Percentile(percent) = &mut kind
            && percent.is_nan()
        {
            self.expect(",")?;
            let at = self.begin();
            *percent = match self.lexer.next()? {
                Token::Number(n) if (0.0..=100.0).contains(&n) => n,
                _ => {
                    return Err(self
                        .lexer
                        .malformed(at, "a percentile is a number from 0 to 100"));
                }
            };
        }
        self.expect(")")?;
        self.aggregates = Some(number + 1);
        Ok(Expression::Aggregate(Box::new(Aggregate {
            kind,
            of,
            number,
        })))
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name.to_ascii_lowercase().as_str() {
        "count" => Kind::Count,
        "count_distinct" => Kind::CountDistinct,
        "sum" => Kind::Sum,
        "avg" => Kind::Average,
        "min" => Kind::Minimum,
        "max" => Kind::Maximum,
        "pct" | "percentile" => Kind::Percentile(f64::NAN),
        "median" => Kind::Percentile(50.0),
        "stddev" => Kind::Deviation,
        "earliest" => Kind::Earliest,
        "latest" => Kind::Latest,
        "sortsfirst" => Kind::First,
        "sortslast" => Kind::Last,
        _ => return None,
    })
}
