//! fogbank: a cloud region you can own.
//!
//! The binary only wires: it reads the command line, starts processes and lets the rooms work. No rule of AWS's lives
//! here. See docs/architecture.md.

mod cli;
mod logging;
mod processes;
mod up;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fogbank: {error:#}");
            ExitCode::FAILURE
        }
    }
}
