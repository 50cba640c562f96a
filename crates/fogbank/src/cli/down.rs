//! `fogbank down`: tells the running supervisor to stop and waits until it has.

use super::RegionArguments;
use crate::up::PidFile;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Tasks may take their stop timeout, two minutes at most.
const PATIENCE: Duration = Duration::from_secs(180);

pub fn run(arguments: &RegionArguments) -> Result<()> {
    let run_dir = arguments.run_dir();
    let Some(supervisor) = PidFile::new(&run_dir, "up").living() else {
        bail!(
            "no region '{}' is running on this host (looked in {})",
            arguments.instance,
            run_dir.display()
        );
    };
    supervisor.terminate()?;
    let start = Instant::now();
    let mut said = false;
    while supervisor.is_alive() {
        if start.elapsed() > PATIENCE {
            bail!(
                "the region did not stop within {} s; its supervisor is process {}",
                PATIENCE.as_secs(),
                supervisor.pid
            );
        }
        if !said && start.elapsed() > Duration::from_secs(2) {
            eprintln!("waiting for tasks to stop ...");
            said = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("region '{}' is down", arguments.instance);
    Ok(())
}
