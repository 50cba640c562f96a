//! The supervisor: holds the data folder, starts control, node, dns and services, starts them again when they die, and takes all
//! down in order. It carries no traffic and knows no resource; load balancers and tasks outlive it.

mod children;
mod guarantees;

pub use fogbank_node::pid_file::PidFile;

use crate::cli::root_key::{self, RootKey};
use anyhow::{Context, Result, bail};
use children::Children;
use fogbank_store::remote::Client;
use fogbank_store::{Follower, Store};
use fogbank_types::iam::AccessKey;
use fogbank_types::{AuthMode, RegionConfig, Row, status};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Prints a line; nobody need be reading (`fogbank up | head -1`).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// What `fogbank up` was asked for.
#[derive(Debug)]
pub struct Settings {
    pub config: RegionConfig,
    /// Leave the data plane running on SIGTERM.
    pub keep_tasks: bool,
}

/// Sockets, pid files and tables of a region.
pub fn run_dir(instance: &str) -> PathBuf {
    Path::new("/run/fogbank").join(instance)
}

/// How long the processes may take to come up.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Starts the region and returns when it is down.
pub fn run(settings: Settings) -> Result<()> {
    crate::logging::start("up");
    let start = Instant::now();
    if !rustix::process::geteuid().is_root() {
        bail!(
            "a region needs root for namespaces, nftables and cgroups; start it with: sudo fogbank up"
        );
    }
    let config = &settings.config;
    for dir in [&config.data_dir, &config.run_dir] {
        make_dir(dir)?;
    }
    let _locks = (lock(&config.data_dir)?, lock(&config.run_dir)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(supervise(&settings, start));
    if config.ephemeral && !settings.keep_tasks {
        remove_ephemeral(config);
    }
    outcome
}

async fn supervise(settings: &Settings, start: Instant) -> Result<()> {
    let config = &settings.config;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;

    for guarantee in guarantees::all(config) {
        say!("{guarantee}");
        if guarantee.fatal {
            bail!("this host cannot carry a region: {}", guarantee.text);
        }
    }
    PidFile::new(&config.run_dir, "up").write(std::process::id() as i32)?;
    let config_path = config.run_dir.join("region.json");
    let text = serde_json::to_vec_pretty(config).context("the configuration does not encode")?;
    std::fs::write(&config_path, text)
        .with_context(|| format!("cannot write {}", config_path.display()))?;

    let mut children = Children::new(config, &config_path);
    children.stop_leftovers().await?;
    if let Err(error) = children.start_all() {
        take_down(settings, &mut children).await;
        return Err(error);
    }
    let ready = tokio::select! {
        ready = wait_until_ready(config, &mut children) => ready,
        _ = terminate.recv() => Err(anyhow::anyhow!("stopped while starting")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("stopped while starting")),
    };
    if let Err(error) = ready {
        take_down(settings, &mut children).await;
        return Err(error);
    }
    let root_key = match first_root_key(config).await {
        Ok(key) => key,
        Err(error) => {
            take_down(settings, &mut children).await;
            return Err(error);
        }
    };
    if let Some(key) = root_key {
        say!("root access key, shown this once (another: fogbank root-key)\n{key}");
    }
    say!(
        "ready in {} ms  endpoint {}  dns {}",
        start.elapsed().as_millis(),
        config.endpoint_url(),
        config.dns
    );

    let keep = tokio::select! {
        _ = terminate.recv() => settings.keep_tasks,
        _ = interrupt.recv() => false,
        () = children.supervise() => false,
    };
    if keep {
        children.stop_all().await;
        say!("down; tasks and load balancers go on");
    } else {
        say!("stopping ...");
        take_down(settings, &mut children).await;
        say!(
            "down{}",
            if config.ephemeral {
                ""
            } else {
                "; the state is kept"
            }
        );
    }
    PidFile::new(&config.run_dir, "up").remove();
    Ok(())
}

/// Where nobody comes in without a key, the account's root is given one, unless it has one.
async fn first_root_key(config: &RegionConfig) -> Result<Option<RootKey>> {
    if config.auth == AuthMode::Off {
        return Ok(None);
    }
    let store = Client::connect(config.store_socket());
    let prefix = format!("{}{}/", kind::<AccessKey>(), config.account);
    let (keys, _) = store
        .list(&prefix)
        .await
        .context("cannot read the access keys")?;
    for key in keys {
        let key: AccessKey =
            serde_json::from_slice(&key.value).context("cannot read an access key")?;
        if key.user.is_none() {
            return Ok(None);
        }
    }
    let config = config.clone();
    tokio::task::spawn_blocking(move || root_key::make(&config))
        .await
        .context("the root access key")?
        .map(Some)
}

/// Stops the processes, then removes everything of this region from the kernel.
async fn take_down(settings: &Settings, children: &mut Children) {
    // The node goes first, so that nothing is built anew while the rest is taken away.
    children.stop("node").await;
    if let Err(error) = fogbank_node::teardown(&settings.config).await {
        tracing::error!(%error, "something of the region is left on this host");
    }
    children.stop_all().await;
}

/// Returns when control answers and the host and the name servers have reported.
async fn wait_until_ready(config: &RegionConfig, children: &mut Children) -> Result<()> {
    let reported = async {
        let store: Arc<dyn Store> = Arc::new(Client::connect(config.store_socket()));
        let mut follower = Follower::with_prefixes(
            store,
            vec![kind::<status::HostStatus>(), kind::<status::DnsStatus>()],
        );
        let mut missing = vec![kind::<status::HostStatus>(), kind::<status::DnsStatus>()];
        while !missing.is_empty() {
            let batch = follower.next().await;
            missing.retain(|prefix| {
                !batch
                    .events
                    .iter()
                    .any(|e| e.key.starts_with(prefix) && e.value.is_some())
            });
        }
        while tokio::net::TcpStream::connect(config.endpoint)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        done = tokio::time::timeout(START_LIMIT, reported) => {
            done.with_context(|| format!("the region did not come up within {} s", START_LIMIT.as_secs()))
        }
        died = children.first_exit() => Err(died),
    }
}

fn kind<T: Row>() -> String {
    format!("{}/", T::KIND)
}

fn make_dir(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// A second region on the same folder is refused. The lock ends with this process, however it ends.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write to {}", dir.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| anyhow::anyhow!("another fogbank region is running on {}", dir.display()))?;
    Ok(file)
}

/// Nothing of an ephemeral region is left. A folder that was there with other things in it stays.
fn remove_ephemeral(config: &RegionConfig) {
    for name in [
        "blobs",
        "ca",
        "sessions.key",
        "layers",
        "logs",
        "tasks",
        "uploads",
        "store.redb",
        "lock",
    ] {
        let path = config.data_dir.join(name);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove");
        }
    }
    // Only if empty.
    let _ = std::fs::remove_dir(&config.data_dir);
    let _ = std::fs::remove_dir_all(&config.run_dir);
    let _ = std::fs::remove_dir(config.run_dir.parent().unwrap_or(&config.run_dir));
}
