//! `fogbank zone`: lets a zone fail, cuts it off, slows it down, and heals it, so that one can see what everything else
//! makes of it. Import and export of hosted zones, which are called zones too, stand in `hosted_zone`.

use super::{RegionArguments, hosted_zone, http, region, show};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use fogbank_types::RegionConfig;
use serde::Deserialize;

const FAIL_EXAMPLES: &str = "\
Tasks and load balancer nodes of the zone stop as if the power went; the scheduler replaces them in other zones.

Examples:
  sudo fogbank zone fail us-east-1a
  sudo fogbank zone restore us-east-1a";

const ISOLATE_EXAMPLES: &str = "\
What runs in the zone goes on, but no packet enters or leaves it.

Examples:
  sudo fogbank zone isolate us-east-1b
  sudo fogbank zone restore us-east-1b";

const SLOW_EXAMPLES: &str = "\
Every packet that enters or leaves the zone waits that long. Needs netem in the kernel (sch_netem).

Examples:
  sudo fogbank zone slow us-east-1a 80
  sudo fogbank zone restore us-east-1a";

const RESTORE_EXAMPLES: &str = "\
Examples:
  sudo fogbank zone restore us-east-1a";

const LIST_EXAMPLES: &str = "\
Examples:
  sudo fogbank zone list
  sudo fogbank zone list --json";

#[derive(Subcommand)]
pub enum ZoneCommand {
    /// Let a zone fail: nothing in it runs, no packet passes
    #[command(after_help = FAIL_EXAMPLES)]
    Fail(ZoneArguments),
    /// Cut a zone off the network; what runs in it goes on
    #[command(after_help = ISOLATE_EXAMPLES)]
    Isolate(ZoneArguments),
    /// Hold up every packet of a zone
    #[command(after_help = SLOW_EXAMPLES)]
    Slow(SlowArguments),
    /// Heal a zone
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(ZoneArguments),
    /// List the zones that have a fault
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Put the records of a zone file (BIND's format) into a hosted zone
    #[command(after_help = hosted_zone::IMPORT_HELP)]
    Import(hosted_zone::ImportArguments),
    /// Print the records of a hosted zone as a zone file (BIND's format)
    #[command(after_help = hosted_zone::EXPORT_HELP)]
    Export(hosted_zone::ExportArguments),
}

#[derive(Args)]
pub struct ZoneArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Name of the zone, such as us-east-1a
    #[arg(value_name = "ZONE")]
    zone: String,
}

#[derive(Args)]
pub struct SlowArguments {
    #[command(flatten)]
    zone: ZoneArguments,
    /// Delay in each direction
    #[arg(value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    delay_ms: u32,
}

#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn run(command: &ZoneCommand) -> Result<()> {
    match command {
        ZoneCommand::Fail(arguments) => set(arguments, serde_json::json!("fail"), "has failed"),
        ZoneCommand::Isolate(arguments) => {
            set(arguments, serde_json::json!("isolate"), "is cut off")
        }
        ZoneCommand::Restore(arguments) => set(arguments, serde_json::Value::Null, "is restored"),
        ZoneCommand::Slow(arguments) => slow(arguments),
        ZoneCommand::List(arguments) => list(arguments),
        ZoneCommand::Import(arguments) => hosted_zone::import(arguments),
        ZoneCommand::Export(arguments) => hosted_zone::export(arguments),
    }
}

fn slow(arguments: &SlowArguments) -> Result<()> {
    if !fogbank_net::apply::netem_available() {
        bail!(
            "this kernel has no netem (module sch_netem) or it is not yours to use (try sudo), so packets cannot be held up; \
             {} stays as it was. `fogbank zone isolate` and `fogbank zone fail` work here.",
            arguments.zone.zone
        );
    }
    let delay_ms = arguments.delay_ms;
    let fault = serde_json::json!({ "slow_ms": delay_ms });
    set(
        &arguments.zone,
        fault,
        &format!("is slowed by {delay_ms} ms each way"),
    )
}

/// The zone goes into the path, so it must not be able to be more than a name there.
fn path(zone: &str) -> Result<String> {
    let good = !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !good {
        bail!(
            "'{zone}' is not the name of a zone; one is a region and a letter, such as us-east-1a"
        );
    }
    Ok(format!("/_fogbank/zones/{zone}"))
}

fn set(arguments: &ZoneArguments, fault: serde_json::Value, done: &str) -> Result<()> {
    let path = path(&arguments.zone)?;
    let config = region::config(&arguments.region)?;
    let body = serde_json::json!({ "fault": fault }).to_string();
    let headers = [("content-type", "application/json")];
    http::call(&config, "POST", &path, &headers, body.as_bytes())?.success("zone")?;
    show(&format!("{} {done}\n", arguments.zone))
}

#[derive(Deserialize)]
struct Faults {
    zones: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    zone: String,
    fault: serde_json::Value,
    /// Milliseconds since 1970.
    since: Option<i64>,
}

fn list(arguments: &ListArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let body = faults(&config)?;
    if arguments.json {
        return show(&format!("{body}\n"));
    }
    let faults: Faults =
        serde_json::from_str(&body).context("the region's answer is not a list of faults")?;
    show(&table(&faults.zones, now_ms()))
}

fn faults(config: &RegionConfig) -> Result<String> {
    let answer = http::call(config, "GET", "/_fogbank/zones", &[], b"")?.success("zone")?;
    String::from_utf8(answer.body).context("the region's answer is not text")
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

fn table(faults: &[Fault], now_ms: i64) -> String {
    if faults.is_empty() {
        return "all zones are well\n".to_owned();
    }
    let mut text = String::new();
    for fault in faults {
        let state = match fault.fault.as_str() {
            Some("fail") => "failed".to_owned(),
            Some("isolate") => "isolated".to_owned(),
            Some(other) => other.to_owned(),
            None => match fault.fault["slow_ms"].as_u64() {
                Some(delay_ms) => format!("slow by {delay_ms} ms"),
                None => fault.fault.to_string(),
            },
        };
        let seconds = fault
            .since
            .map_or(0, |since| (now_ms - since).max(0) / 1000);
        text.push_str(&format!("{:<16} {state:<16} for {seconds} s\n", fault.zone));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_what_each_zone_has() {
        let faults: Faults = serde_json::from_str(
            r#"{"zones": [
                {"zone": "us-east-1a", "fault": "fail", "since": 1000},
                {"zone": "us-east-1b", "fault": {"slow_ms": 80}, "since": 2000}
            ]}"#,
        )
        .unwrap();
        let text = table(&faults.zones, 61_000);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["us-east-1a", "failed", "for", "60", "s"]
        );
        assert!(lines[1].contains("slow by 80 ms"));
        assert_eq!(table(&[], 0), "all zones are well\n");
    }

    #[test]
    fn only_a_name_gets_into_the_path() {
        assert_eq!(path("us-east-1a").unwrap(), "/_fogbank/zones/us-east-1a");
        for bad in ["", "../reset", "a b", "a\r\nx: y", "a/b", "a?b"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
