//! How the command line looks into a running region: its configuration and, through the store's socket, its rows.

use super::RegionArguments;
use anyhow::{Context, Result};
use fogbank_store::Store;
use fogbank_store::remote::Client;
use fogbank_types::{RegionConfig, Snapshot};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// The configuration of the region that runs under this name.
pub fn config(arguments: &RegionArguments) -> Result<RegionConfig> {
    let path = arguments.run_dir().join("region.json");
    let text = std::fs::read(&path).with_context(|| {
        format!("no region '{}' is running on this host (or it is not yours to see: try sudo); looked for {}", arguments.instance, path.display())
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// All rows as they stand now.
pub fn snapshot(config: &RegionConfig) -> Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (entries, revision) = runtime
        .block_on(async {
            let store = Client::connect(config.store_socket());
            tokio::time::timeout(PATIENCE, store.list("")).await
        })
        .context("the region's control process does not answer")?
        .context("cannot read the region's state")?;
    let mut snapshot = Snapshot {
        revision,
        ..Snapshot::default()
    };
    for entry in entries {
        snapshot.apply(&entry.key, Some(&entry.value), entry.revision)?;
    }
    Ok(snapshot)
}
