//! The processes that `fogbank up` and the node start. Hidden commands: each reads the region's configuration and runs
//! one room.

use crate::cli::host_dns::{self, DnsCommand};
use anyhow::{Context, Result};
use clap::Subcommand;
use fogbank_types::RegionConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long blocked work may go on when a process ends.
const GRACE: Duration = Duration::from_millis(200);

#[derive(Subcommand)]
pub enum Process {
    /// API, store and reconcilers
    #[command(hide = true)]
    Control {
        #[arg(long)]
        config: PathBuf,
    },
    /// This host's network, tasks and load balancers
    #[command(hide = true)]
    Node {
        #[arg(long)]
        config: PathBuf,
    },
    /// The host's own resolver: have it ask the region for its domains
    #[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
    Dns {
        /// Route 53's answers
        #[arg(long, hide = true)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: Option<DnsCommand>,
    },
    /// Doors to AWS's services inside the network
    #[command(hide = true)]
    Services {
        #[arg(long)]
        config: PathBuf,
    },
    /// A load balancer node
    #[command(hide = true)]
    Alb {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        eni: String,
    },
    /// The proxy of a task of Service Connect
    #[command(hide = true)]
    Connect {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        task: String,
    },
    /// Parent of a command in a container
    #[command(hide = true)]
    ExecSession {
        #[arg(long)]
        bundle: PathBuf,
    },
    /// Forks the shims of this host's tasks
    #[command(hide = true)]
    Shims {
        /// Room for what a shim is called
        room: Option<String>,
    },
    /// Parent of a task's containers
    #[command(hide = true)]
    Shim {
        #[arg(long)]
        bundle: PathBuf,
    },
}

/// Runs one until it is told to stop.
pub fn run(process: Process) -> Result<()> {
    match process {
        Process::Control { config } => {
            crate::logging::start("control");
            control(read_config(&config)?)
        }
        Process::Node { config } => {
            crate::logging::start("node");
            let config = read_config(&config)?;
            drive(async { fogbank_node::run(config).await.context("node") })
        }
        Process::Dns {
            command: Some(command),
            ..
        } => host_dns::run(&command),
        Process::Dns { config, .. } => {
            let config = config.context("--config is missing")?;
            crate::logging::start("dns");
            let config = read_config(&config)?;
            drive(async { fogbank_edge::dns::run(config).await.context("dns") })
        }
        Process::Services { config } => {
            crate::logging::start("services");
            let config = read_config(&config)?;
            drive(async {
                // One process for what has to do with the edge's namespace.
                let checks = fogbank_edge::checks::run(config.clone());
                tokio::select! {
                    ended = fogbank_edge::services::run(config) => ended.context("services"),
                    ended = checks => ended.context("health checks"),
                }
            })
        }
        Process::Alb { config, eni } => {
            crate::logging::start("alb");
            let config = read_config(&config)?;
            drive(async { fogbank_edge::http::run(config, &eni).await.context("alb") })
        }
        Process::Connect { config, task } => {
            crate::logging::start("connect");
            let config = read_config(&config)?;
            drive(async {
                fogbank_edge::connect::run(config, &task)
                    .await
                    .context("connect")
            })
        }
        Process::ExecSession { bundle } => {
            crate::logging::start("exec");
            fogbank_node::exec::main(&bundle).context("exec")
        }
        Process::Shims { room: _ } => {
            crate::logging::start("shims");
            fogbank_node::shim::fork_all().context("shims")
        }
        Process::Shim { bundle } => {
            crate::logging::start("shim");
            fogbank_node::shim::main(&bundle).context("shim")
        }
    }
}

fn control(config: RegionConfig) -> Result<()> {
    use fogbank_store::{Embedded, Memory, Store};
    drive(async {
        let store: Arc<dyn Store> = if config.ephemeral {
            Arc::new(Memory::new())
        } else {
            Arc::new(
                Embedded::open_sealed(&config.data_dir.join("store.redb"), &config.store_key())
                    .context("cannot open the store")?,
            )
        };
        fogbank_control::server::run(config, store)
            .await
            .context("control")
    })
}

/// Runs a process to its end: one thread drives it, what blocks goes to the blocking pool. Work that is still blocked
/// then is given up: it may be waiting for what no longer runs, and whatever it did not commit is done anew.
fn drive<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(GRACE);
    outcome
}

fn read_config(path: &Path) -> Result<RegionConfig> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a region's configuration", path.display()))
}
