//! `fogbank dns install` and `uninstall`: the host's own resolver asks the region for the names of the region's zones.
//!
//! What must stay true: nothing is changed but a file of our own (or an entry of our own of resolvconf), and `uninstall`
//! takes that away again, also when no region runs.

use super::{RegionArguments, region, show};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use fogbank_types::Snapshot;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INSTALL_HELP: &str = "\
Without --domain: the names of the public hosted zones that are there now. Do it again when there are others. Names of load
balancers (elb.amazonaws.com) are the real AWS's too, so that they are asked of the region only with --domain.

systemd-resolved (246 or newer)  a file in /etc/systemd/resolved.conf.d. Its global servers are then the region alone: where
                                 there are others already, they and the region would be asked for each other's names, and
                                 this command refuses. Servers of links (DHCP) stay and are asked for all other names.
dnsmasq                          a file in /etc/dnsmasq.d.
resolvconf                       a private entry, which openresolv hands to a local dnsmasq, unbound or named. It knows no
                                 ports: the region must have been started with --dns and port 53.

Examples:
  sudo fogbank dns install
  sudo fogbank dns install --domain example.test --domain us-east-1.elb.amazonaws.com
  fogbank dns install --to dnsmasq --print
  sudo fogbank dns uninstall";

#[derive(Subcommand)]
pub enum DnsCommand {
    /// Have the host's resolver ask the region for its domains, and for no others
    #[command(after_help = INSTALL_HELP)]
    Install(InstallArguments),
    /// Undo it
    Uninstall(UninstallArguments),
}

#[derive(Args)]
pub struct InstallArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// A domain to ask the region for; may be repeated [default: its public hosted zones]
    #[arg(long = "domain", value_name = "DOMAIN", value_parser = domain)]
    domains: Vec<String>,
    /// The host's resolver [default: the one that is there]
    #[arg(long)]
    to: Option<Resolver>,
    /// Show what would be written, and change nothing
    #[arg(long)]
    print: bool,
}

#[derive(Args)]
pub struct UninstallArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// The host's resolver [default: the one that is there]
    #[arg(long)]
    to: Option<Resolver>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
enum Resolver {
    SystemdResolved,
    Dnsmasq,
    Resolvconf,
}

pub fn run(command: &DnsCommand) -> Result<()> {
    match command {
        DnsCommand::Install(arguments) => install(arguments),
        DnsCommand::Uninstall(arguments) => {
            let resolver = arguments.to.map_or_else(Resolver::found, Ok)?;
            resolver.remove(&arguments.region.instance)
        }
    }
}

fn install(arguments: &InstallArguments) -> Result<()> {
    let config = region::config(&arguments.region)?;
    let domains = match arguments.domains.is_empty() {
        true => zones(&region::snapshot(&config)?),
        false => outermost(arguments.domains.clone()),
    };
    ensure!(
        !domains.is_empty(),
        "the region has no public hosted zones yet; make one, or give --domain"
    );
    let resolver = arguments.to.map_or_else(Resolver::found, Ok)?;
    let text = resolver.text(config.dns, &domains)?;
    if arguments.print {
        return show(&text);
    }
    resolver.put(&config.instance, &text)?;
    show(&format!(
        "{} asks {} for {}\n",
        resolver.name(),
        config.dns,
        domains.join(", ")
    ))
}

/// A name of letters, digits, hyphens and underscores: it goes into files of others.
fn domain(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_good = |label: &str| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(good)
    };
    match name.len() <= 253 && name.split('.').all(is_good) {
        true => Ok(name),
        false => Err("a domain such as example.test".to_owned()),
    }
}

/// Of public hosted zones. One with an escape in its name is no host's domain.
fn zones(snapshot: &Snapshot) -> Vec<String> {
    let zones = snapshot.hosted_zones.all().filter(|zone| !zone.private);
    outermost(zones.filter_map(|zone| domain(&zone.name).ok()).collect())
}

/// In order, without those below another one.
fn outermost(mut domains: Vec<String>) -> Vec<String> {
    domains.sort();
    domains.dedup();
    let is_below = |name: &str, other: &String| {
        name.strip_suffix(other.as_str())
            .is_some_and(|rest| rest.ends_with('.'))
    };
    let all = domains.clone();
    domains.retain(|name| !all.iter().any(|other| is_below(name, other)));
    domains
}

impl Resolver {
    fn found() -> Result<Self> {
        if Path::new("/run/systemd/resolve").exists() {
            return Ok(Self::SystemdResolved);
        }
        if Path::new("/etc/dnsmasq.d").exists() {
            return Ok(Self::Dnsmasq);
        }
        if Path::new("/sbin/resolvconf").exists() || Path::new("/usr/sbin/resolvconf").exists() {
            return Ok(Self::Resolvconf);
        }
        bail!(
            "this host has neither systemd-resolved nor dnsmasq nor resolvconf, and /etc/resolv.conf alone cannot send some domains elsewhere; install one, or say which with --to"
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::SystemdResolved => "systemd-resolved",
            Self::Dnsmasq => "dnsmasq",
            Self::Resolvconf => "resolvconf",
        }
    }

    /// What it is to be told.
    fn text(self, server: SocketAddr, domains: &[String]) -> Result<String> {
        const NOTE: &str =
            "# Made by `fogbank dns install`; `fogbank dns uninstall` takes it away.\n";
        let (ip, port) = (server.ip(), server.port());
        Ok(match self {
            Self::SystemdResolved => {
                let domains: Vec<String> = domains.iter().map(|name| format!("~{name}")).collect();
                let domains = domains.join(" ");
                format!("{NOTE}[Resolve]\nDNS={server}\nDomains={domains}\n")
            }
            Self::Dnsmasq => {
                let line = |name: &String| format!("server=/{name}/{ip}#{port}\n");
                let lines: String = domains.iter().map(line).collect();
                format!("{NOTE}{lines}")
            }
            Self::Resolvconf => {
                ensure!(
                    port == 53,
                    "resolvconf knows no ports, and this region answers on {server}: start it with --dns 127.0.0.2:53"
                );
                format!("search {}\nnameserver {ip}\n", domains.join(" "))
            }
        })
    }

    /// The file of ours; resolvconf keeps its entries itself.
    fn file(self, instance: &str) -> Option<PathBuf> {
        let folder = match self {
            Self::SystemdResolved => "/etc/systemd/resolved.conf.d",
            Self::Dnsmasq => "/etc/dnsmasq.d",
            Self::Resolvconf => return None,
        };
        Some(Path::new(folder).join(format!("fogbank-{instance}.conf")))
    }

    fn put(self, instance: &str, text: &str) -> Result<()> {
        let Some(path) = self.file(instance) else {
            // -p: for its own domains only.
            return said("resolvconf", &["-p", "-a", &entry(instance)], text);
        };
        if self == Self::SystemdResolved
            && let Some(other) = global_servers(&path)?
        {
            bail!(
                "{} gives systemd-resolved global servers already, and it would ask them for the region's names; give those servers to a link instead (resolvectl dns), or use dnsmasq",
                other.display()
            );
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&path, text)
            .with_context(|| format!("cannot write {} (try sudo)", path.display()))?;
        self.restart()
    }

    fn remove(self, instance: &str) -> Result<()> {
        let Some(path) = self.file(instance) else {
            return said("resolvconf", &["-d", &entry(instance)], "");
        };
        match std::fs::remove_file(&path) {
            Ok(()) => self.restart(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot remove {} (try sudo)", path.display()))
            }
        }
    }

    fn restart(self) -> Result<()> {
        said("systemctl", &["try-restart", self.name()], "")
            .with_context(|| format!("the file is in place; restart {} yourself", self.name()))
    }
}

/// The file other than `own` by which systemd-resolved has global servers: it asks any one of them for any name.
/// <https://www.freedesktop.org/software/systemd/man/latest/resolved.conf.html>
fn global_servers(own: &Path) -> Result<Option<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/systemd/resolved.conf")];
    for place in ["/etc", "/run", "/usr/local/lib", "/usr/lib"] {
        let folder = Path::new(place).join("systemd/resolved.conf.d");
        // What is not there says nothing.
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|path| path != own && path.extension().is_some_and(|end| end == "conf"));
    for path in files {
        match std::fs::read_to_string(&path) {
            Ok(text) if has_servers(&text) => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(None)
}

/// Whether a configuration of systemd-resolved names servers.
fn has_servers(text: &str) -> bool {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "DNS").then_some(value.trim())
    });
    values.any(|value| !value.is_empty())
}

/// By which resolvconf knows it.
fn entry(instance: &str) -> String {
    format!("lo.fogbank-{instance}")
}

/// Runs a program with that input.
fn said(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("{program} takes no input"))?;
    }
    let status = child
        .wait()
        .with_context(|| format!("waiting for {program}"))?;
    ensure!(
        status.success(),
        "{program} {} failed: {status}",
        arguments.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn domains_are_names_of_hosts() {
        assert_eq!(domain("Example.TEST."), Ok("example.test".to_owned()));
        for bad in ["", ".", "a..b", "a b", "a/b", "\\052.test", "a\nb", "a#b"] {
            assert!(domain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_domain_below_another_is_said_with_it() {
        let names = owned(&["b.test", "x.a.test", "a.test", "ba.test", "a.test"]);
        assert_eq!(outermost(names), ["a.test", "b.test", "ba.test"]);
    }

    #[test]
    fn servers_of_others_are_seen() {
        assert!(has_servers("[Resolve]\nDNS = 192.0.2.1\n"));
        for none in [
            "[Resolve]\n#DNS=192.0.2.1\n",
            "DNS=\n",
            "DNSSEC=yes\nFallbackDNS=192.0.2.1\n",
        ] {
            assert!(!has_servers(none), "{none}");
        }
    }

    #[test]
    fn each_resolver_has_its_words() {
        let (server, domains) = (
            "127.0.0.1:4553".parse().unwrap(),
            owned(&["a.test", "b.test"]),
        );
        let text = |resolver: Resolver| resolver.text(server, &domains);
        let resolved = text(Resolver::SystemdResolved).unwrap();
        assert!(resolved.ends_with("[Resolve]\nDNS=127.0.0.1:4553\nDomains=~a.test ~b.test\n"));
        let dnsmasq = text(Resolver::Dnsmasq).unwrap();
        assert!(
            dnsmasq.ends_with("server=/a.test/127.0.0.1#4553\nserver=/b.test/127.0.0.1#4553\n")
        );
        assert!(text(Resolver::Resolvconf).is_err());
        let server = "127.0.0.2:53".parse().unwrap();
        assert_eq!(
            Resolver::Resolvconf.text(server, &domains).unwrap(),
            "search a.test b.test\nnameserver 127.0.0.2\n"
        );
    }
}
