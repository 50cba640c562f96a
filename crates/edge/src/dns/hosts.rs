//! Names that EC2 gives to interfaces (fact VPC-13), forward and reverse.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>
//!
//! Compiled by `tables`. A VPC takes part only with both DNS attributes on.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use fogbank_types::{Snapshot, VpcId, place};

use super::name::Name;

/// Time to live of these names and of what is said about their absence.
pub const TTL: u32 = 60;

/// The interfaces with names.
#[derive(Debug, Default)]
pub struct Hosts {
    vpcs: HashMap<VpcId, VpcHosts>,
    /// Public address to region.
    public: HashMap<Ipv4Addr, String>,
}

#[derive(Debug)]
struct VpcHosts {
    region: String,
    addresses: HashSet<Ipv4Addr>,
    /// Public address to private.
    private_of: HashMap<Ipv4Addr, Ipv4Addr>,
}

/// What a name of EC2's own stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    Address(Ipv4Addr),
    Name(Name),
    /// In one of EC2's domains, but nothing has that name.
    Nothing,
}

impl Hosts {
    pub fn compile(snapshot: &Snapshot) -> Self {
        let mut hosts = Self::default();
        for vpc in snapshot.vpcs.all() {
            if vpc.enable_dns_support && vpc.enable_dns_hostnames {
                let entry = VpcHosts {
                    region: vpc.scope.region.clone(),
                    addresses: HashSet::new(),
                    private_of: HashMap::new(),
                };
                hosts.vpcs.insert(vpc.vpc_id.clone(), entry);
            }
        }
        let mut elastic: HashMap<_, Vec<_>> = HashMap::new();
        for address in snapshot.elastic_ips.all() {
            if let Some(a) = &address.association {
                let pair = (a.private_ip, address.public_ip);
                elastic.entry(&a.eni_id).or_default().push(pair);
            }
        }
        for eni in snapshot.enis.all() {
            let Some(vpc) = hosts.vpcs.get_mut(&eni.vpc_id) else {
                continue;
            };
            vpc.addresses.extend(eni.addresses());
            let mut pairs = elastic.remove(&eni.eni_id).unwrap_or_default();
            // An Elastic IP replaces the address that came with the interface (fact EIP-4).
            if let Some(public) = eni.auto_public_ip
                && !pairs.iter().any(|(private, _)| *private == eni.private_ip)
            {
                pairs.push((eni.private_ip, public));
            }
            for (private, public) in pairs {
                vpc.private_of.insert(public, private);
                hosts.public.insert(public, vpc.region.clone());
            }
        }
        hosts
    }

    /// What a VPC's resolver knows by itself: private names, addresses of its interfaces, and public names
    /// of its interfaces, which lead to the private address.
    pub fn private(&self, vpc: &VpcId, name: &Name) -> Option<Known> {
        let vpc = self.vpcs.get(vpc);
        if let Some(address) = reverse_address(name) {
            if let Some(vpc) = vpc.filter(|vpc| vpc.addresses.contains(&address)) {
                return name_of("ip", address, &private_domain(&vpc.region));
            }
            // Nobody outside knows them, and nobody outside shall be asked.
            return is_private(address).then_some(Known::Nothing);
        }
        if let Some((address, domain)) = address_in_label(name, "ip-") {
            let vpc = vpc.filter(|vpc| vpc.addresses.contains(&address));
            if vpc.is_some_and(|vpc| domain_is(&domain, &private_domain(&vpc.region))) {
                return Some(Known::Address(address));
            }
        }
        if in_domain(name, "ec2.internal") || in_domain(name, "compute.internal") {
            return Some(Known::Nothing);
        }
        let (public, domain) = address_in_label(name, "ec2-")?;
        let vpc = vpc?;
        let private = vpc.private_of.get(&public)?;
        domain_is(&domain, &public_domain(&vpc.region)).then_some(Known::Address(*private))
    }

    /// What everybody may ask: public names and public addresses.
    pub fn public(&self, name: &Name) -> Option<Known> {
        if let Some(address) = reverse_address(name) {
            let region = self.public.get(&address)?;
            return name_of("ec2", address, &public_domain(region));
        }
        let (address, domain) = address_in_label(name, "ec2-")?;
        let region = self.public.get(&address)?;
        domain_is(&domain, &public_domain(region)).then_some(Known::Address(address))
    }
}

fn private_domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        other => format!("{other}.compute.internal"),
    }
}

fn public_domain(region: &str) -> String {
    let suffix = if place::partition(region) == "aws-cn" {
        ".cn"
    } else {
        ""
    };
    match region {
        "us-east-1" => "compute-1.amazonaws.com".to_owned(),
        other => format!("{other}.compute.amazonaws.com{suffix}"),
    }
}

fn name_of(prefix: &str, address: Ipv4Addr, domain: &str) -> Option<Known> {
    let [a, b, c, d] = address.octets();
    Name::parse(&format!("{prefix}-{a}-{b}-{c}-{d}.{domain}"))
        .ok()
        .map(Known::Name)
}

fn domain_is(domain: &Name, text: &str) -> bool {
    Name::parse(text).is_ok_and(|name| name == *domain)
}

fn in_domain(name: &Name, domain: &str) -> bool {
    Name::parse(domain).is_ok_and(|domain| name.is_within(domain.wire()))
}

/// `ip-10-0-1-5.<domain>`
fn address_in_label(name: &Name, prefix: &str) -> Option<(Ipv4Addr, Name)> {
    let label = std::str::from_utf8(name.labels().next()?).ok()?;
    let address = dotted(label.strip_prefix(prefix)?.split('-'))?;
    Some((address, name.parent()?))
}

/// `5.1.0.10.in-addr.arpa`
fn reverse_address(name: &Name) -> Option<Ipv4Addr> {
    let labels: Vec<&str> = name
        .labels()
        .map(|label| std::str::from_utf8(label).ok())
        .collect::<Option<_>>()?;
    let octets = labels.strip_suffix(&["in-addr", "arpa"])?;
    dotted(octets.iter().rev().copied())
}

/// Four numbers, written without leading zeros or signs.
fn dotted<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = parts.collect();
    let [_, _, _, _] = parts[..] else {
        return None;
    };
    parts.join(".").parse().ok()
}

fn is_private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || address.is_link_local() || (a == 100 && (64..128).contains(&b))
}
