//! The command line. Each command is a file; this one is their list.

mod bill;
mod ca;
mod down;
mod exec;
pub mod host_dns;
mod hosted_zone;
mod http;
mod iam;
mod image;
mod logs;
mod reach;
mod region;
pub mod root_key;
mod spot;
mod status;
mod zone;
mod zone_file;

use crate::{processes, up};
use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use fogbank_control::model::elb::limits::Limits;
use fogbank_control::model::vpc::Quotas;
use fogbank_types::{AuthMode, EndpointTls, InternetAccess, Ipv4Cidr, TlsResolver};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sudo fogbank up                          start a region on this host
  sudo fogbank up --ephemeral --speed 10   for tests: no state kept, AWS's waits ten times shorter
  export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  aws ec2 describe-vpcs                    any AWS client works against it
  sudo fogbank image load api.tar          an image from `docker save` or an OCI archive
  sudo fogbank status                      what is there, as a tree
  sudo fogbank down                        stop the region, keep its state";

/// A cloud region you can own: AWS's API with a real data plane.
#[derive(Parser)]
#[command(name = "fogbank", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the region and stay in the foreground until Ctrl-C
    Up(UpArguments),
    /// Stop a running region; its state is kept
    Down(RegionArguments),
    /// Show what the region holds
    Status(StatusArguments),
    /// Say whether a packet gets through, what lets it or what stops it, and the call that would open it
    #[command(after_help = REACH_EXAMPLES)]
    Reach(ReachArguments),
    /// Execute a command in a container that runs
    Exec(exec::ExecArguments),
    /// Show what tasks said, and go on with what they say
    Logs(logs::LogsArguments),
    /// Container images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Availability zones: let them fail, heal them; hosted zones: import and export their records
    #[command(subcommand)]
    Zone(zone::ZoneCommand),
    /// Who may do what, and why
    #[command(subcommand)]
    Iam(iam::IamCommand),
    /// Take Spot capacity away
    #[command(subcommand)]
    Spot(spot::SpotCommand),
    /// What the region's resources would have cost on AWS
    #[command(after_help = bill::HELP)]
    Bill(bill::BillArguments),
    /// Make a root access key of the region's account, and show it once
    #[command(after_help = root_key::HELP)]
    RootKey(root_key::RootKeyArguments),
    /// Print the certificate of the region's own authority, to be trusted by whoever talks TLS to its services
    #[command(after_help = CA_HELP)]
    Ca(RegionArguments),
    /// Print the completion script of a shell
    Completions { shell: clap_complete::Shell },
    #[command(flatten)]
    Process(processes::Process),
}

const UP_EXAMPLES: &str = "\
Examples:
  sudo fogbank up
  sudo fogbank up --ephemeral --speed 10 --data /tmp/region
  sudo fogbank up --quota vpcs=20 --quota L-0263D0A3=50
  sudo fogbank up --endpoint 0.0.0.0:4566 --tls
  sudo fogbank up --internet host --dns-over-tls 1.1.1.1#one.one.one.one
  sudo fogbank up --instance two --endpoint 127.0.0.1:4577 --dns 127.0.0.1:4554 --public-cidr 198.19.0.0/16";

fn up_help() -> String {
    let names: Vec<_> = quota_names()
        .filter(|name| !name.starts_with("L-"))
        .collect();
    format!(
        "{UP_EXAMPLES}\n\nQuotas, also by AWS's codes (L-F678F1CE is vpcs); those not set are a new AWS account's:\n  {}",
        names.join("\n  ")
    )
}

#[derive(Args)]
#[command(after_help = up_help())]
pub struct UpArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Folder of the durable state [default: /var/lib/fogbank/<instance>]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of the API endpoint
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    endpoint: SocketAddr,
    /// enforce: callers sign with keys of the region, and IAM decides what they may do; off: any credentials are root of
    /// the account in them, on loopback only [default: off on loopback, else enforce]
    #[arg(long, value_name = "off|enforce", value_parser = auth)]
    auth: Option<AuthMode>,
    /// Serve the endpoint with TLS, by a certificate of the region's own authority (fogbank ca prints it)
    #[arg(long)]
    tls: bool,
    /// The same by this certificate, in PEM with its chain; it is read anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Address where public hosted zones are answered, UDP and TCP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4553")]
    dns: SocketAddr,
    /// Where askers are, for records by geolocation, geoproximity and latency: a City or Country file in MaxMind's format
    #[arg(long, value_name = "FILE.mmdb")]
    geo: Option<PathBuf>,
    /// Serve what load balancers count at http://ADDRESS/metrics for Prometheus; loopback only, off unless given
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Account of callers whose access key is not twelve digits
    #[arg(long, value_name = "ID", default_value = "000000000000", value_parser = account)]
    account: String,
    /// Public addresses are taken from this block; the host can reach it, nobody else
    #[arg(long, value_name = "CIDR", default_value = "198.18.0.0/16", value_parser = public_cidr)]
    public_cidr: Ipv4Cidr,
    /// Whether tasks reach the world outside through this host
    #[arg(long, value_name = "none|host", default_value = "none", value_parser = internet)]
    internet: InternetAccess,
    /// With --internet host: ask this resolver by TLS, and not the host's; may be repeated. The port is 853 unless given
    #[arg(long, value_name = "ADDRESS#NAME")]
    dns_over_tls: Vec<TlsResolver>,
    /// Divide AWS's durations (health intervals, draining, cooldowns) by this
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: f64,
    /// Set a service quota, by AWS's code or our name, for every account; may be repeated (see below)
    #[arg(long = "quota", value_name = "NAME=N", value_parser = quota)]
    quotas: Vec<(String, u32)>,
    /// Refuse what an account asks more often than AWS lets it (RequestLimitExceeded, Throttling); on with --auth enforce
    #[arg(long, value_name = "on|off", value_parser = on_off, action = clap::ArgAction::Set)]
    request_rates: Option<bool>,
    /// Keep no state; POST /_fogbank/reset empties the region
    #[arg(long)]
    ephemeral: bool,
    /// On SIGTERM leave tasks and load balancers running, for an upgrade in place
    #[arg(long)]
    keep_tasks: bool,
}

#[derive(Args, Clone)]
pub struct RegionArguments {
    /// Name of the region on this host, part of every kernel object's name
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = instance)]
    instance: String,
}

impl RegionArguments {
    fn run_dir(&self) -> PathBuf {
        up::run_dir(&self.instance)
    }
}

const CA_HELP: &str = "\
Inside the network, AWS's services answer at their own names on ports 80 and 443 (through an internet gateway, NAT or
an interface endpoint). Their certificates are signed by this region's authority alone, so clients must be told:
  sudo fogbank ca > fogbank-ca.pem
  in an image     COPY fogbank-ca.pem /etc/ssl/fogbank-ca.pem
                  ENV AWS_CA_BUNDLE=/etc/ssl/fogbank-ca.pem   (AWS CLI, boto3 and most SDKs)
                  ENV NODE_EXTRA_CA_CERTS=/etc/ssl/fogbank-ca.pem   (JavaScript)
  or for all      COPY fogbank-ca.pem /usr/local/share/ca-certificates/fogbank.crt
                  RUN update-ca-certificates
  without TLS     AWS_ENDPOINT_URL_LOGS=http://logs.us-east-1.amazonaws.com
The authority is made with the region's state and lasts as long; its key stays in <data>/ca, readable by root alone.";

const REACH_EXAMPLES: &str = "\
Examples:
  sudo fogbank reach internet my-balancer:80           from outside to a load balancer, by its name
  sudo fogbank reach my-balancer 3f0c5a9e:8080         from its node to a task, by the start of the task's id
  sudo fogbank reach my-cluster/my-service ecr.dkr:443 from a service's task to a service of AWS
  sudo fogbank reach eni-0123456789abcdef0 10.0.2.7 --protocol icmp
Exit codes: 0 reachable, 1 not reachable, 2 the question cannot be asked.";

#[derive(Args)]
pub struct ReachArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Interface, task, cluster/service, load balancer, NAT gateway, endpoint (id, ARN or name), address, or internet
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The same, or an AWS service such as logs or ecr.dkr; with a port for TCP and UDP
    #[arg(value_name = "DESTINATION[:PORT]")]
    destination: String,
    /// tcp, udp, icmp, icmpv6 or a protocol number
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    protocol: String,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct StatusArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// For machines
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum ImageCommand {
    /// Load an image archive (docker save, OCI) into the region's registry
    #[command(
        after_help = "Examples:\n  docker save api:1 -o api.tar && sudo fogbank image load api.tar\n  sudo fogbank image load image.tar --name api:2"
    )]
    Load(ImageLoadArguments),
    /// List the images of the region's registry
    Ls(StatusArguments),
}

#[derive(Args)]
pub struct ImageLoadArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// Repository and tag, if the archive names none or another is wanted
    #[arg(long, value_name = "REPOSITORY:TAG")]
    name: Option<String>,
    /// Region whose registry takes it
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    aws_region: String,
    file: PathBuf,
}

/// Carries out a command.
pub fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Up(arguments) => up::run(arguments.into_settings()?),
        Command::Down(arguments) => down::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Exec(arguments) => exec::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Reach(arguments) => reach::run(&arguments),
        Command::Image(ImageCommand::Load(arguments)) => image::load(&arguments),
        Command::Image(ImageCommand::Ls(arguments)) => image::list(&arguments),
        Command::Ca(arguments) => ca::run(&arguments),
        Command::RootKey(arguments) => root_key::run(&arguments),
        Command::Zone(command) => zone::run(&command),
        Command::Iam(command) => iam::run(&command),
        Command::Spot(command) => spot::run(&command),
        Command::Bill(arguments) => bill::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "fogbank", &mut script);
            show(&String::from_utf8_lossy(&script))
        }
        Command::Process(process) => processes::run(process),
    }
}

/// Prints an answer; a reader that has seen enough (`fogbank status | head`) is no error.
fn show(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot print the answer")
        }
        _ => Ok(()),
    }
}

impl UpArguments {
    fn into_settings(self) -> Result<up::Settings> {
        let ip = self.endpoint.ip();
        let auth = self.auth.unwrap_or(match ip.is_loopback() {
            true => AuthMode::Off,
            false => AuthMode::Enforce,
        });
        anyhow::ensure!(
            auth == AuthMode::Enforce || ip.is_loopback(),
            "--auth off with --endpoint {ip}: that is not a loopback address, so whoever reaches it would be root of every account; leave --auth out, or listen on 127.0.0.1"
        );
        let tls = tls(self.tls, self.tls_certificate, self.tls_key)?;
        if let Some(metrics) = self.metrics {
            anyhow::ensure!(
                metrics.ip().is_loopback(),
                "--metrics {metrics} is not a loopback address: whoever asks is answered"
            );
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("cannot read this host's name")?;
        let data = match (self.data, self.ephemeral) {
            (Some(data), _) => data,
            (None, true) => up::run_dir(&self.region.instance).join("data"),
            (None, false) => PathBuf::from("/var/lib/fogbank").join(&self.region.instance),
        };
        if self.internet == InternetAccess::None && !self.dns_over_tls.is_empty() {
            anyhow::bail!(
                "--dns-over-tls is for regions with --internet host: the others ask nobody"
            );
        }
        let geography = self.geo.as_ref().map(|path| {
            fogbank_edge::dns::Geography::open(path)
                .with_context(|| format!("--geo {}", path.display()))?;
            std::path::absolute(path).with_context(|| format!("--geo {}", path.display()))
        });
        let geography = geography.transpose()?;
        Ok(up::Settings {
            config: fogbank_types::RegionConfig {
                run_dir: self.region.run_dir(),
                instance: self.region.instance,
                host: host.trim().to_owned(),
                data_dir: std::path::absolute(&data)
                    .with_context(|| format!("--data {}", data.display()))?,
                endpoint: self.endpoint,
                auth,
                tls,
                dns: self.dns,
                account: self.account,
                public_cidr: self.public_cidr,
                public_cidr_v6: fogbank_types::config::public_cidr_v6_beside(self.public_cidr),
                quotas: self.quotas.into_iter().collect(),
                internet: self.internet,
                speed: self.speed,
                metrics: self.metrics,
                geography,
                tls_resolvers: self.dns_over_tls,
                request_rates: self.request_rates.unwrap_or(auth == AuthMode::Enforce),
                ephemeral: self.ephemeral,
            },
            keep_tasks: self.keep_tasks,
        })
    }
}

/// With what the endpoint speaks TLS, if it does. Files that cannot be read are told now.
fn tls(
    own: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<EndpointTls>> {
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(own.then_some(EndpointTls::Authority));
    };
    let absolute = |path: PathBuf| {
        std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        std::path::absolute(&path).with_context(|| path.display().to_string())
    };
    Ok(Some(EndpointTls::Files {
        certificate: absolute(certificate)?,
        key: absolute(key)?,
    }))
}

fn auth(text: &str) -> Result<AuthMode, String> {
    match text {
        "off" => Ok(AuthMode::Off),
        "enforce" => Ok(AuthMode::Enforce),
        _ => Err("off or enforce".to_owned()),
    }
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

fn account(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if good {
        Ok(text.to_owned())
    } else {
        Err("an account id has twelve digits".to_owned())
    }
}

fn instance(text: &str) -> Result<String, String> {
    let good = (1..=8).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    if good {
        Ok(text.to_owned())
    } else {
        Err("1 to 8 characters of a-z and 0-9".to_owned())
    }
}

fn public_cidr(text: &str) -> Result<Ipv4Cidr, String> {
    let cidr: Ipv4Cidr = text.parse().map_err(|e| format!("{e}"))?;
    if !(8..=24).contains(&cidr.length()) {
        return Err("the block must be from /8 to /24".to_owned());
    }
    let base = cidr.base();
    if base.is_loopback() || base.is_link_local() || base.is_multicast() || base.is_unspecified() {
        return Err(format!("{cidr} is not a range for public addresses"));
    }
    Ok(cidr)
}

fn internet(text: &str) -> Result<InternetAccess, String> {
    match text {
        "none" => Ok(InternetAccess::None),
        "host" => Ok(InternetAccess::Host),
        _ => Err("none or host".to_owned()),
    }
}

/// Of Certificate Manager (names of a certificate, certificates, those imported) and Route 53 (health checks, records of
/// a hosted zone): read by their codes where they count.
const OTHER_QUOTAS: [&str; 5] = [
    "L-FB94F0B0",
    "L-F141DD1D",
    "L-D2CB7DE9",
    "L-ACB674F3",
    "L-E209CC9F",
];

/// Those of VPCs, of load balancers, and the others.
fn quota_names() -> impl Iterator<Item = &'static str> {
    let others = OTHER_QUOTAS.iter();
    Quotas::NAMES
        .iter()
        .chain(Limits::NAMES)
        .chain(others)
        .copied()
}

fn quota(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text.split_once('=').ok_or("NAME=N is asked for")?;
    if !quota_names().any(|known| known == name) {
        return Err(format!("no quota is called '{name}'"));
    }
    let number = number
        .parse()
        .map_err(|_| format!("'{number}' is not a number from 0 to {}", u32::MAX))?;
    Ok((name.to_owned(), number))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (0.001..=10_000.0).contains(&n) => Ok(n),
        _ => Err("a number from 0.001 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_has_a_known_name_and_a_number() {
        assert!(quota("L-E209CC9F=200000").is_ok());
        assert_eq!(quota("vpcs=9"), Ok(("vpcs".to_owned(), 9)));
        assert!(quota("L-F678F1CE=9").is_ok());
        for bad in ["vpcs", "vpcs=", "vpcs=-1", "nothing=1", "=1"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn up(arguments: &[&str]) -> Result<up::Settings> {
        let all = ["fogbank", "up"].iter().chain(arguments);
        match Arguments::try_parse_from(all)?.command {
            Command::Up(arguments) => arguments.into_settings(),
            _ => unreachable!("the command is up"),
        }
    }

    #[test]
    fn only_on_loopback_is_nothing_enforced() {
        for (arguments, expected) in [
            (&[][..], AuthMode::Off),
            (&["--endpoint", "[::1]:4566"], AuthMode::Off),
            (&["--auth", "enforce"], AuthMode::Enforce),
            (&["--endpoint", "0.0.0.0:4566"], AuthMode::Enforce),
            (&["--endpoint", "192.0.2.1:4566"], AuthMode::Enforce),
        ] {
            assert_eq!(
                up(arguments).unwrap().config.auth,
                expected,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        for bad in [
            &["--endpoint", "0.0.0.0:4566", "--auth", "off"][..],
            &["--endpoint", "[::]:4566", "--auth", "off"],
            &["--auth", "maybe"],
            &["--tls-certificate", "/dev/null"],
            &["--tls-certificate", "/no/such", "--tls-key", "/no/such"],
            &["--endpoint", "nowhere"],
            &["--account", "123"],
            &["--public-cidr", "10.0.0.0/33"],
            &["--public-cidr", "127.0.0.0/8"],
            &["--public-cidr", "198.18.0.0/30"],
            &["--internet", "maybe"],
            &["--request-rates", "maybe"],
            &["--dns-over-tls", "192.0.2.1#dns.example.com"],
            &["--internet", "host", "--dns-over-tls", "192.0.2.1"],
            &["--speed", "0"],
            &["--speed", "NaN"],
            &["--instance", "Upper"],
            &["--instance", "ninechars"],
        ] {
            assert!(up(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_ephemeral_region_keeps_its_data_with_its_sockets() {
        let settings = up(&["--ephemeral", "--instance", "t1"]).unwrap();
        assert_eq!(
            settings.config.data_dir,
            PathBuf::from("/run/fogbank/t1/data")
        );
        assert_eq!(
            up(&[]).unwrap().config.data_dir,
            PathBuf::from("/var/lib/fogbank/main")
        );
    }
}
