//! `fogbank bill`: what the region's resources would have cost on AWS.

use super::{RegionArguments, http, region, show};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub const HELP: &str = "\
By AWS's rules: tasks by the second from the pull of their images to their end, a minute at least; load balancers and NAT
gateways by begun hours, with their capacity units and bytes; public IPv4 addresses. Seconds are real ones, whatever the
region's --speed. Data transfer, logs, storage of images and free tiers are not in it. Prices are those of the table that
comes with the program, or of --prices FILE in the same form (see crates/control/src/model/metering/prices.json).

Examples:
  sudo fogbank bill
  sudo fogbank bill --since 24h --by task
  sudo fogbank bill --since 2026-11-01 --json";

#[derive(Args)]
pub struct BillArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// From then on: a date (2026-11-01, UTC) or so long ago (90m, 24h, 30d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// What a line is about
    #[arg(long, value_enum, default_value = "service")]
    by: By,
    /// Another table of prices
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Service,
    Task,
    Resource,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Since {
    /// Milliseconds since 1970.
    At(i64),
    AgoMs(i64),
}

fn since(text: &str) -> Result<Since, String> {
    let wrong =
        || format!("'{text}' is neither a date (2026-11-01) nor a time such as 90m, 24h or 30d");
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let unit_ms = match unit {
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return date(text).map(Since::At).ok_or_else(wrong),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms >= 0);
    ms.map(Since::AgoMs).ok_or_else(wrong)
}

/// Midnight UTC of a day, by Howard Hinnant's algorithm.
fn date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400_000)
}

#[derive(Deserialize)]
struct Bill {
    currency: String,
    prices_date: String,
    prices_region: String,
    lines: Vec<Line>,
    total: f64,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    kind: String,
    resources: u64,
    usage: BTreeMap<String, f64>,
    cost: f64,
}

pub fn run(arguments: &BillArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let prices = match &arguments.prices {
        None => serde_json::Value::Null,
        Some(path) => {
            let text = std::fs::read(path)
                .with_context(|| format!("cannot read the prices in {}", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("{} is not JSON", path.display()))?
        }
    };
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let since = arguments.since.map(|since| match since {
        Since::At(ms) => ms,
        Since::AgoMs(ms) => now_ms - ms,
    });
    if since.is_some_and(|since| since > now_ms) {
        bail!("--since is in the future");
    }
    let by = match arguments.by {
        By::Service => "service",
        By::Task => "task",
        By::Resource => "resource",
    };
    let body = serde_json::json!({ "since": since, "by": by, "prices": prices }).to_string();
    let headers = [("content-type", "application/json")];
    let path = "/_fogbank/bill";
    let answer = http::call(&config, "POST", path, &headers, body.as_bytes())?;
    let text = String::from_utf8(answer.success("bill")?.body)
        .context("the region's answer is not text")?;
    if arguments.json {
        return show(&format!("{text}\n"));
    }
    let bill: Bill = serde_json::from_str(&text).context("the region's answer is no bill")?;
    show(&table(&bill))
}

fn table(bill: &Bill) -> String {
    let mut text = format!(
        "{:>12}  {:>5}  {:<14}  {}\n",
        bill.currency, "COUNT", "KIND", "NAME"
    );
    for line in &bill.lines {
        let usage: Vec<String> = line
            .usage
            .iter()
            .filter(|(_, quantity)| **quantity > 0.0)
            .map(|(item, quantity)| format!("{} {}", number(*quantity), short(item)))
            .collect();
        text.push_str(&format!(
            "{:>12.6}  {:>5}  {:<14}  {}  ({})\n",
            line.cost,
            line.resources,
            line.kind,
            line.name,
            usage.join(", ")
        ));
    }
    text.push_str(&format!(
        "{:>12.6}  total, at prices of {} as of {}\n",
        bill.total, bill.prices_region, bill.prices_date
    ));
    text
}

/// `vcpu-hour` of `fargate-x86-vcpu-hour`: the kind stands in the line already.
fn short(item: &str) -> &str {
    let starts = ["fargate-", "spot-", "x86-", "arm-"];
    starts
        .iter()
        .fold(item, |item, start| item.strip_prefix(start).unwrap_or(item))
}

fn number(quantity: f64) -> String {
    let text = format!("{quantity:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        assert_eq!(since("24h"), Ok(Since::AgoMs(86_400_000)));
        assert_eq!(since("30d"), Ok(Since::AgoMs(2_592_000_000)));
        assert_eq!(since("2026-11-23"), Ok(Since::At(1_795_392_000_000)));
        assert_eq!(since("1970-01-01"), Ok(Since::At(0)));
        for bad in ["", "h", "-1h", "yesterday", "2026-13-01", "2026-11", "9é"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_says_what_it_is_made_of() {
        let bill: Bill = serde_json::from_str(
            r#"{"currency": "USD", "prices_date": "2026-03-31", "prices_region": "us-east-1", "total": 0.5,
                "lines": [{"name": "service:main/api", "kind": "task", "resources": 2, "cost": 0.5,
                           "usage": {"fargate-spot-x86-vcpu-hour": 1.5, "fargate-spot-x86-gb-hour": 0.0}}]}"#,
        )
        .unwrap();
        let text = table(&bill);
        assert!(text.contains("service:main/api  (1.5 vcpu-hour)"), "{text}");
        assert!(text.contains("as of 2026-03-31"), "{text}");
    }
}
