//! What this host can and cannot guarantee, told at start: one line each, and why.

use fogbank_net::apply::probe;
use fogbank_types::{InternetAccess, RegionConfig};
use std::fmt;
use std::path::Path;

/// One line of `fogbank up`.
pub struct Guarantee {
    pub given: bool,
    /// Without it there can be no region.
    pub fatal: bool,
    pub text: String,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.given { "+" } else { "-" }, self.text)
    }
}

/// Looks at the host; changes nothing.
pub fn all(config: &RegionConfig) -> Vec<Guarantee> {
    let mut all: Vec<Guarantee> = probe()
        .into_iter()
        .map(|g| Guarantee {
            given: g.given,
            fatal: g.needed && !g.given,
            text: format!("{}: {}", g.name, g.detail),
        })
        .collect();
    all.push(cgroups());
    all.push(overlay());
    all.push(internet(config));
    all.push(Guarantee {
        given: true,
        fatal: false,
        text: "authentication: off; any credentials are root of the account in them, so the endpoint is on loopback only, and in VPCs where their network leads to AWS's services".to_owned(),
    });
    all
}

/// Limits on tasks: any of the three layouts of cgroups will do.
fn cgroups() -> Guarantee {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let v1 = ["cpu", "memory", "pids"]
        .iter()
        .all(|c| Path::new("/sys/fs/cgroup").join(c).exists());
    let (given, text) = match (v2, v1) {
        (true, _) => (true, "task limits: cgroup v2"),
        (false, true) => (true, "task limits: cgroup v1"),
        (false, false) => (
            false,
            "task limits: no cgroup controllers for cpu, memory and pids, so tasks cannot be held to their size",
        ),
    };
    Guarantee {
        given,
        fatal: !given,
        text: text.to_owned(),
    }
}

fn overlay() -> Guarantee {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let given = known
        .lines()
        .any(|line| line.trim() == "nodev\toverlay" || line.ends_with("overlay"));
    // A module that is not loaded yet is not listed; mounting loads it.
    let loadable = Path::new("/lib/modules").exists();
    match (given, loadable) {
        (true, _) => Guarantee {
            given: true,
            fatal: false,
            text: "image layers: overlayfs".to_owned(),
        },
        (false, true) => Guarantee {
            given: true,
            fatal: false,
            text: "image layers: overlayfs, loaded on first use".to_owned(),
        },
        (false, false) => Guarantee {
            given: false,
            fatal: true,
            text: "image layers: this kernel has no overlayfs".to_owned(),
        },
    }
}

fn internet(config: &RegionConfig) -> Guarantee {
    let text = match config.internet {
        InternetAccess::None => "internet: none; tasks reach public addresses of the region only (--internet host opens it)".to_owned(),
        InternetAccess::Host => "internet: through this host, masqueraded".to_owned(),
    };
    Guarantee {
        given: true,
        fatal: false,
        text,
    }
}
