//! Names that EC2 gives to interfaces (fact VPC-13), forward and reverse.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html>
//!
//! Compiled by `tables`. A VPC takes part only with both DNS attributes on.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fogbank_types::ec2::PeeringStatus;
use fogbank_types::{Ipv6Cidr, RegionConfig, Snapshot, VpcId, place};

use super::name::Name;

/// Time to live of these names and of what is said about their absence.
pub const TTL: u32 = 60;

/// The interfaces with names.
#[derive(Debug, Default)]
pub struct Hosts {
    vpcs: HashMap<VpcId, VpcHosts>,
    /// Peers whose public names lead to private addresses, by the VPC that asks.
    peers: HashMap<VpcId, Vec<VpcId>>,
    /// Public address to region.
    public: HashMap<Ipv4Addr, String>,
    /// Elastic IPs whose owner gave them a name.
    named: HashMap<Ipv4Addr, Name>,
    /// Where the region's IPv6 addresses are from.
    pool_v6: Option<Ipv6Cidr>,
}

#[derive(Debug)]
struct VpcHosts {
    region: String,
    addresses: HashSet<Ipv4Addr>,
    /// IPv6 address to the interface's primary one, which names it.
    primary_of: HashMap<Ipv6Addr, Ipv4Addr>,
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
    pub fn compile(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        let mut hosts = Self {
            pool_v6: Some(config.public_cidr_v6),
            ..Self::default()
        };
        for vpc in snapshot.vpcs.all() {
            if vpc.enable_dns_support && vpc.enable_dns_hostnames {
                let entry = VpcHosts {
                    region: vpc.scope.region.clone(),
                    addresses: HashSet::new(),
                    primary_of: HashMap::new(),
                    private_of: HashMap::new(),
                };
                hosts.vpcs.insert(vpc.vpc_id.clone(), entry);
            }
        }
        let mut elastic: HashMap<_, Vec<_>> = HashMap::new();
        for address in snapshot.elastic_ips.all() {
            let named = address.ptr_record.as_deref().map(Name::parse);
            if let Some(Ok(name)) = named {
                hosts.named.insert(address.public_ip, name);
            }
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
            let v6 = eni.ipv6_addresses.iter();
            vpc.primary_of.extend(v6.map(|v6| (*v6, eni.private_ip)));
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
        hosts.add_peers(snapshot);
        hosts
    }

    /// <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-dns.html>
    fn add_peers(&mut self, snapshot: &Snapshot) {
        for peering in snapshot.peerings.all() {
            if peering.status != PeeringStatus::Active {
                continue;
            }
            let (a, b) = (&peering.requester, &peering.accepter);
            for (asking, asked) in [(a, b), (b, a)] {
                if asked.allow_dns_resolution {
                    let peers = self.peers.entry(asking.vpc_id.clone()).or_default();
                    peers.push(asked.vpc_id.clone());
                }
            }
        }
    }

    /// The private address behind a public one, of the VPC itself or of a peer that lets it know.
    fn private_of(&self, vpc: &VpcId, public: Ipv4Addr) -> Option<(Ipv4Addr, &str)> {
        // The asking VPC must have names as well.
        self.vpcs.get(vpc)?;
        let peers = self.peers.get(vpc).into_iter().flatten();
        std::iter::once(vpc).chain(peers).find_map(|id| {
            let hosts = self.vpcs.get(id)?;
            let private = hosts.private_of.get(&public)?;
            Some((*private, hosts.region.as_str()))
        })
    }

    /// What a VPC's resolver knows by itself: private names, addresses of its interfaces, and public names
    /// of its interfaces, which lead to the private address.
    pub fn private(&self, vpc_id: &VpcId, name: &Name) -> Option<Known> {
        let vpc = self.vpcs.get(vpc_id);
        if let Some(address) = reverse_address(name) {
            let named = vpc.and_then(|vpc| Some((vpc.named_by(address)?, vpc)));
            if let Some((primary, vpc)) = named {
                return name_of("ip", primary, &private_domain(&vpc.region));
            }
            // Nobody outside knows them, and nobody outside shall be asked.
            let is_ours = self.is_pooled(address) || is_private(address);
            return is_ours.then_some(Known::Nothing);
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
        let (private, region) = self.private_of(vpc_id, public)?;
        domain_is(&domain, &public_domain(region)).then_some(Known::Address(private))
    }

    fn is_pooled(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => self.pool_v6.is_some_and(|pool| pool.contains(address)),
        }
    }

    /// What everybody may ask: public names and public addresses.
    pub fn public(&self, name: &Name) -> Option<Known> {
        if let Some(IpAddr::V4(address)) = reverse_address(name) {
            if let Some(name) = self.named.get(&address) {
                return Some(Known::Name(name.clone()));
            }
            let region = self.public.get(&address)?;
            return name_of("ec2", address, &public_domain(region));
        }
        let (address, domain) = address_in_label(name, "ec2-")?;
        let region = self.public.get(&address)?;
        domain_is(&domain, &public_domain(region)).then_some(Known::Address(address))
    }
}

impl VpcHosts {
    /// The address in the name of the interface with this one.
    fn named_by(&self, address: IpAddr) -> Option<Ipv4Addr> {
        match address {
            IpAddr::V4(address) => self.addresses.contains(&address).then_some(address),
            IpAddr::V6(address) => self.primary_of.get(&address).copied(),
        }
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

/// `5.1.0.10.in-addr.arpa`, or the 32 digits of an IPv6 address under `ip6.arpa`.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let labels: Vec<&str> = name
        .labels()
        .map(|label| std::str::from_utf8(label).ok())
        .collect::<Option<_>>()?;
    if let Some(octets) = labels.strip_suffix(&["in-addr", "arpa"]) {
        return dotted(octets.iter().rev().copied()).map(IpAddr::V4);
    }
    let digits = labels.strip_suffix(&["ip6", "arpa"])?;
    if digits.len() != 32 {
        return None;
    }
    let bits = digits.iter().rev().try_fold(0u128, |bits, label| {
        let digit = match label.as_bytes() {
            [digit] => char::from(*digit).to_digit(16)?,
            _ => return None,
        };
        Some(bits << 4 | u128::from(digit))
    })?;
    Some(Ipv6Addr::from_bits(bits).into())
}

/// Four numbers, written without leading zeros or signs.
fn dotted<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = parts.collect();
    let [_, _, _, _] = parts[..] else {
        return None;
    };
    parts.join(".").parse().ok()
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private() || address.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}
