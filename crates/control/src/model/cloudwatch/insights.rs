//! Metrics Insights: `SELECT AVG(CPU) FROM SCHEMA("shop", Service) WHERE Zone != 'a' GROUP BY Service ORDER BY MAX() DESC LIMIT 5`.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html>

use fogbank_types::statistic::Statistic;

/// A query of series by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub statistic: Statistic,
    pub metric: String,
    pub namespace: String,
    /// SCHEMA: the dimensions that a series has, and no other.
    pub schema: Option<Vec<String>>,
    /// All of them: dimension, whether it is that value or is not, value.
    pub conditions: Vec<(String, bool, String)>,
    pub group_by: Vec<String>,
    /// By a statistic of a series' values, and whether the largest come first.
    pub order_by: Option<(Statistic, bool)>,
    pub limit: usize,
}

/// As many series as AWS gives.
const SERIES_MAX: usize = 500;

pub fn is_select(text: &str) -> bool {
    let head = text.trim_start().get(..7).unwrap_or("");
    head.trim_end().eq_ignore_ascii_case("SELECT") && head.len() == 7
}

/// Reads a query; what is wrong with it, if it is none.
pub fn parse(text: &str) -> Result<Select, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens };
    let select = parser.select()?;
    match parser.tokens.first() {
        None => Ok(select),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

impl Select {
    /// Whether a series is meant.
    pub fn takes(&self, namespace: &str, metric: &str, dimensions: &[(String, String)]) -> bool {
        let value = |name: &str| {
            dimensions
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let fits = self.schema.as_ref().is_none_or(|names| {
            names.len() == dimensions.len() && names.iter().all(|name| value(name).is_some())
        });
        let holds =
            |(name, is, wanted): &(String, bool, String)| (value(name) == Some(wanted)) == *is;
        namespace == self.namespace
            && metric == self.metric
            && fits
            && self.conditions.iter().all(holds)
            && self.group_by.iter().all(|name| value(name).is_some())
    }

    /// The group that a series belongs to: its values of the dimensions that are grouped by.
    pub fn group(&self, dimensions: &[(String, String)]) -> String {
        let value = |name: &String| dimensions.iter().find(|(key, _)| key == name);
        let values = self
            .group_by
            .iter()
            .filter_map(value)
            .map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(" ")
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word, or one in double quotes.
    Word(String),
    /// In single quotes.
    Text(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if matches!(first, '"' | '\'') {
            let end = rest[1..].find(first).ok_or("a text without an end")?;
            let inner = rest[1..=end].to_owned();
            tokens.push(if first == '"' {
                Token::Word(inner)
            } else {
                Token::Text(inner)
            });
            end + 2
        } else if let Some(sign) = ["!=", "=", "(", ")", ","]
            .iter()
            .find(|sign| rest.starts_with(**sign))
        {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let plain =
                |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '#' | ':');
            let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("unexpected {first}"));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn take(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Sign(next)) if *next == sign);
        if found {
            self.take();
        }
        found
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(keyword));
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, keyword: &str) -> Result<(), String> {
        match self.keyword(keyword) {
            true => Ok(()),
            false => Err(format!("{keyword} is missing")),
        }
    }

    fn close(&mut self, sign: &str) -> Result<(), String> {
        match self.sign(sign) {
            true => Ok(()),
            false => Err(format!("{sign} is missing")),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.take() {
            Some(Token::Word(word)) => Ok(word.clone()),
            _ => Err("a name is missing".to_owned()),
        }
    }

    fn function(&mut self) -> Result<Statistic, String> {
        let name = self.word()?;
        let statistic = match name.to_ascii_uppercase().as_str() {
            "AVG" => Statistic::Average,
            "COUNT" => Statistic::SampleCount,
            "MAX" => Statistic::Maximum,
            "MIN" => Statistic::Minimum,
            "SUM" => Statistic::Sum,
            _ => return Err(format!("{name} is no function")),
        };
        self.close("(")?;
        Ok(statistic)
    }

    fn select(&mut self) -> Result<Select, String> {
        self.expect("SELECT")?;
        let statistic = self.function()?;
        let metric = self.word()?;
        self.close(")")?;
        self.expect("FROM")?;
        let mut select = Select {
            statistic,
            metric,
            namespace: String::new(),
            schema: None,
            conditions: Vec::new(),
            group_by: Vec::new(),
            order_by: None,
            limit: SERIES_MAX,
        };
        if self.keyword("SCHEMA") {
            self.close("(")?;
            select.namespace = self.word()?;
            let mut names = Vec::new();
            while self.sign(",") {
                names.push(self.word()?);
            }
            self.close(")")?;
            select.schema = Some(names);
        } else {
            select.namespace = self.word()?;
        }
        if self.keyword("WHERE") {
            select.conditions.push(self.condition()?);
            while self.keyword("AND") {
                select.conditions.push(self.condition()?);
            }
        }
        if self.keyword("GROUP") {
            self.expect("BY")?;
            select.group_by.push(self.word()?);
            while self.sign(",") {
                select.group_by.push(self.word()?);
            }
        }
        self.order(&mut select)?;
        Ok(select)
    }

    fn order(&mut self, select: &mut Select) -> Result<(), String> {
        if self.keyword("ORDER") {
            self.expect("BY")?;
            let statistic = self.function()?;
            self.close(")")?;
            let descending = self.keyword("DESC");
            let _ascending = !descending && self.keyword("ASC");
            select.order_by = Some((statistic, descending));
        }
        if self.keyword("LIMIT") {
            let limit: Option<usize> = self.word()?.parse().ok();
            let limit = limit.filter(|limit| (1..=SERIES_MAX).contains(limit));
            select.limit = limit.ok_or("LIMIT is 1 to 500")?;
        }
        Ok(())
    }

    fn condition(&mut self) -> Result<(String, bool, String), String> {
        let name = self.word()?;
        let is = self.sign("=");
        if !is {
            self.close("!=")?;
        }
        match self.take() {
            Some(Token::Text(value) | Token::Word(value)) => Ok((name, is, value.clone())),
            _ => Err("a value is missing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dimensions(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn series_are_chosen_and_grouped() {
        let select = parse(
            "SELECT SUM(ApiResponse) FROM \"Test/Name\" WHERE Path = '/my/path' GROUP BY Audience",
        )
        .unwrap();
        let mine = dimensions(&[("Audience", "mine"), ("Path", "/my/path")]);
        assert!(select.takes("Test/Name", "ApiResponse", &mine));
        assert_eq!(select.group(&mine), "mine");
        assert!(!select.takes(
            "Test/Name",
            "ApiResponse",
            &dimensions(&[("Path", "/my/path")])
        ));
        assert!(!select.takes(
            "Test/Name",
            "ApiResponse",
            &dimensions(&[("Audience", "mine"), ("Path", "/")])
        ));
        let exact =
            parse("select max(a) from schema(n, x) where x != 'y' order by avg() desc limit 3")
                .unwrap();
        assert!(exact.takes("n", "a", &dimensions(&[("x", "z")])));
        assert!(!exact.takes("n", "a", &dimensions(&[("x", "y")])));
        assert!(!exact.takes("n", "a", &dimensions(&[("w", "z"), ("x", "z")])));
        assert_eq!(
            (exact.limit, exact.order_by),
            (3, Some((Statistic::Average, true)))
        );
    }

    #[test]
    fn what_is_no_query() {
        for text in [
            "",
            "SELECT",
            "SELECT a FROM n",
            "SELECT P99(a) FROM n",
            "SELECT SUM(a)",
            "SELECT SUM(a) FROM n LIMIT 0",
            "SELECT SUM(a) FROM n x",
            "SELECT SUM(a) FROM n WHERE b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(!is_select("SELECTED"));
        assert!(!is_select("é"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SELECT|SUM|FROM|[()a\"'é, =])(SELECT|SUM|FROM|WHERE|[()a\"'é, =!]){0,30}") {
            let _ = (is_select(&text), parse(&text));
        }
    }
}
