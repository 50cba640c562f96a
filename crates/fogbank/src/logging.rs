//! Logs: for people on a terminal, JSON otherwise. `FOGBANK_LOG` takes a filter such as `info` or `fogbank_node=debug`.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; once a process.
pub fn start(process: &'static str) {
    let filter = EnvFilter::try_from_env("FOGBANK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    }
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(process, panic = %info, "a thread panicked");
    }));
}
