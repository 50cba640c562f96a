//! `fogbank spot`: interrupts tasks on FARGATE_SPOT, so that one can see what a service makes of it.

use super::{RegionArguments, http, region, show};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Deserialize;

const INTERRUPT_EXAMPLES: &str = "\
The tasks get SIGTERM, which is AWS's two-minute warning, and are killed when their stopTimeout is over. They stop with
stopCode SpotInterruption; services replace them.

Examples:
  sudo fogbank spot interrupt 3f0c5a9e
  sudo fogbank spot interrupt my-cluster/my-service
  sudo fogbank spot interrupt --all";

#[derive(Subcommand)]
pub enum SpotCommand {
    /// Take Spot capacity away from tasks
    #[command(after_help = INTERRUPT_EXAMPLES)]
    Interrupt(InterruptArguments),
}

#[derive(Args)]
pub struct InterruptArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// A task's id, its start or its ARN, or a service as NAME or CLUSTER/NAME
    #[arg(
        value_name = "TASK|SERVICE",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    what: Option<String>,
    /// All tasks on FARGATE_SPOT
    #[arg(long)]
    all: bool,
}

#[derive(Deserialize)]
struct Interrupted {
    interrupted: Vec<String>,
}

pub fn run(command: &SpotCommand) -> Result<()> {
    let SpotCommand::Interrupt(arguments) = command;
    let config = region::config(&arguments.region)?;
    let body = serde_json::json!({ "what": arguments.what }).to_string();
    let headers = [("content-type", "application/json")];
    let path = "/_fogbank/spot";
    let answer = http::call(&config, "POST", path, &headers, body.as_bytes())?;
    let answer = answer.success("spot")?;
    let told: Interrupted =
        serde_json::from_slice(&answer.body).context("the region's answer is no list of tasks")?;
    if told.interrupted.is_empty() {
        return show("no task runs on FARGATE_SPOT\n");
    }
    let lines = told
        .interrupted
        .iter()
        .map(|id| format!("{id} is interrupted\n"));
    show(&lines.collect::<String>())
}
