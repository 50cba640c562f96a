//! What this host can and cannot guarantee, told at start: one line each, and why.

use fogbank_net::apply::probe;
use fogbank_types::{AuthMode, EndpointTls, InternetAccess, RegionConfig};
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
    all.push(geography(config));
    if config.internet == InternetAccess::Host {
        all.push(internet_v6());
    }
    all.push(authentication(config));
    all.push(encryption(config));
    all
}

fn authentication(config: &RegionConfig) -> Guarantee {
    let (given, text) = match config.auth {
        // Refused on the command line; a configuration may be written by hand.
        AuthMode::Off if !config.endpoint.ip().is_loopback() => (
            false,
            "authentication: off, on an address that is not loopback",
        ),
        AuthMode::Off => (
            true,
            "authentication: off; any credentials are root of the account in them, so the endpoint is on loopback only, and in VPCs where their network leads to AWS's services",
        ),
        AuthMode::Enforce => (
            true,
            "authentication: enforced; every request is signed with a key of the region, and IAM decides",
        ),
    };
    Guarantee {
        given,
        fatal: !given,
        text: text.to_owned(),
    }
}

fn encryption(config: &RegionConfig) -> Guarantee {
    let (given, text) = match &config.tls {
        Some(EndpointTls::Authority) => (
            true,
            "endpoint: TLS, by the region's own authority (fogbank ca)".to_owned(),
        ),
        Some(EndpointTls::Files { certificate, .. }) => {
            (true, format!("endpoint: TLS, by {}", certificate.display()))
        }
        None if config.endpoint.ip().is_loopback() => {
            (true, "endpoint: without TLS, on loopback".to_owned())
        }
        None => (
            false,
            "endpoint: without TLS, so requests and answers, secrets among them, can be read on the network (--tls)".to_owned(),
        ),
    };
    Guarantee {
        given,
        fatal: false,
        text,
    }
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

/// A record by place has nobody's place to go by without a table.
fn geography(config: &RegionConfig) -> Guarantee {
    Guarantee {
        given: config.geography.is_some(),
        fatal: false,
        text: match &config.geography {
            Some(path) => format!("places of DNS clients: by {}", path.display()),
            None => "places of DNS clients: unknown outside VPCs, so geolocation answers by its default record, latency and geoproximity as from us-east-1 (--geo FILE.mmdb tells them)".to_owned(),
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

/// IPv6 leaves by a host that is a router of it already. It is not made one: with forwarding on, Linux no longer
/// takes its own default route from its router's advice, and the host would lose its own IPv6.
fn internet_v6() -> Guarantee {
    let forwards = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding");
    let routes = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let lacks = match forwards.as_deref().map(str::trim) {
        Ok("0") => Some("this host does not forward IPv6 (net.ipv6.conf.all.forwarding is 0)"),
        Ok(_) if !has_default_v6(&routes) => Some("this host has no default route of IPv6"),
        Ok(_) => None,
        Err(_) => Some("this kernel has no IPv6"),
    };
    Guarantee {
        given: lacks.is_none(),
        fatal: false,
        text: match lacks {
            None => "internet over IPv6: through this host, masqueraded".to_owned(),
            Some(why) => format!("internet over IPv6: none; {why}"),
        },
    }
}

/// Whether a table of routes, as the kernel prints it, leads somewhere by default.
fn has_default_v6(routes: &str) -> bool {
    const REJECT: u32 = 0x200;
    routes.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [to, length, .., flags, device] = fields.as_slice() else {
            return false;
        };
        let rejects = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & REJECT != 0);
        *length == "00" && to.bytes().all(|digit| digit == b'0') && *device != "lo" && !rejects
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_of_ipv6_is_told_from_the_kernels_own() {
        let zeros = "0".repeat(32);
        let line = |length: &str, flags: &str, device: &str| {
            format!(
                "{zeros} {length} {zeros} 00 {zeros} 00000400 00000001 00000000 {flags} {device}"
            )
        };
        assert!(!has_default_v6(&line("00", "00200200", "lo")));
        assert!(!has_default_v6(&line("03", "00000003", "eth0")));
        let both = [line("00", "00200200", "lo"), line("00", "00000003", "eth0")];
        assert!(has_default_v6(&both.join("\n")));
    }
}
