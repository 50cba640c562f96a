//! Who is meant: from what a person or an analysis names to the packet whose way is asked for.
//!
//! Called by `fogbank reach`, by the node for the Reachability Analyzer and before image pulls.

use crate::packet::{Origin, Packet};
use fogbank_types::aws_service::{self, AwsService};
use fogbank_types::ec2::{Eni, EniOwner, PeeringStatus, VpcEndpointKind, VpcEndpointState};
use fogbank_types::{RegionConfig, Snapshot, VpcId};
use std::net::IpAddr;
use std::sync::Arc;

/// The shortest part of a task's id that may stand for it.
const TASK_ID_PART: usize = 8;

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    #[error(
        "'{0}' is nothing of this region: give an interface (eni-...), a task, a load balancer, an address, a service of AWS or 'internet'"
    )]
    Unknown(String),
    #[error("'{text}' could be each of {candidates}: name one of them")]
    Ambiguous { text: String, candidates: String },
    #[error("{0} runs on no host, so nothing sends or receives packets there")]
    NotHere(String),
    #[error("an address of this region or 'internet' is needed as the source, not {0}")]
    NoSource(String),
    #[error("{from} and {to} have no addresses of one family to talk by")]
    NoAddress { from: String, to: String },
}

/// One end of the way.
#[derive(Clone, Debug)]
pub enum Party {
    Eni(Arc<Eni>),
    /// The world outside of the region.
    Internet,
    /// An address that is no interface's.
    Address(IpAddr),
    Service(&'static AwsService),
}

/// What is asked: this packet, sent from there.
#[derive(Clone, Debug)]
pub struct Question {
    pub origin: Origin,
    pub packet: Packet,
}

impl Party {
    /// From an id, an ARN, an address or a name.
    pub fn find(snapshot: &Snapshot, text: &str) -> Result<Self, Unclear> {
        let id = resource_of(text);
        if matches!(id, "internet" | "outside") || id.starts_with("igw-") {
            return Ok(Self::Internet);
        }
        if let Ok(address) = id.parse::<IpAddr>() {
            return by_address(snapshot, address);
        }
        if let Some(service) = service(snapshot, id) {
            return Ok(Self::Service(service));
        }
        let found = interfaces(snapshot, text, id);
        match found.as_slice() {
            [] => Err(Unclear::Unknown(text.to_owned())),
            [eni] if eni.host.is_none() => Err(Unclear::NotHere(eni.eni_id.to_string())),
            [eni, ..] => Ok(Self::Eni(Arc::clone(eni))),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Eni(eni) => eni.eni_id.to_string(),
            Self::Internet => "the internet".to_owned(),
            Self::Address(address) => address.to_string(),
            Self::Service(service) => service.endpoint.to_owned(),
        }
    }
}

/// The last part of an ARN; anything else as it is.
fn resource_of(text: &str) -> &str {
    match text.strip_prefix("arn:") {
        Some(rest) if !rest.contains(":loadbalancer/") => {
            rest.rsplit(['/', ':']).next().unwrap_or(rest)
        }
        _ => text,
    }
}

fn service(snapshot: &Snapshot, text: &str) -> Option<&'static AwsService> {
    let mut regions = snapshot.vpcs.all().map(|vpc| vpc.scope.region.as_str());
    aws_service::AWS_SERVICES
        .iter()
        .find(|service| service.endpoint == text)
        .or_else(|| {
            regions.find_map(|region| {
                aws_service::by_host(region, text)
                    .or_else(|| aws_service::by_service_name(region, text))
            })
        })
}

/// Whoever has the address now; a private one may be had in several VPCs.
fn by_address(snapshot: &Snapshot, address: IpAddr) -> Result<Party, Unclear> {
    let public = |eni: &Eni| {
        eni.addresses()
            .any(|private| snapshot.public_ip(eni, private).map(IpAddr::V4) == Some(address))
    };
    let owners: Vec<&Arc<Eni>> = snapshot
        .enis
        .all()
        .filter(|eni| eni.all_addresses().any(|a| a == address) || public(eni))
        .collect();
    match owners.as_slice() {
        [] => Ok(Party::Address(address)),
        [one] => Ok(Party::Eni(Arc::clone(one))),
        many => Err(Unclear::Ambiguous {
            text: address.to_string(),
            candidates: many
                .iter()
                .map(|eni| format!("{} in {}", eni.eni_id, eni.vpc_id))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

/// Interfaces by their id, or by what uses them: NAT gateway, endpoint, task, service, load balancer.
fn interfaces(snapshot: &Snapshot, text: &str, id: &str) -> Vec<Arc<Eni>> {
    let owned = |test: &dyn Fn(&Eni) -> bool| -> Vec<Arc<Eni>> {
        let enis = snapshot.enis.all().filter(|eni| test(eni));
        enis.cloned().collect()
    };
    if id.starts_with("eni-") {
        return owned(&|eni| eni.eni_id == *id);
    }
    if id.starts_with("nat-") {
        return owned(&|eni| matches!(&eni.owner, EniOwner::NatGateway(nat) if *nat == *id));
    }
    if id.starts_with("vpce-") {
        return owned(&|eni| matches!(&eni.owner, EniOwner::VpcEndpoint(vpce) if *vpce == *id));
    }
    let balancer = snapshot.load_balancers.all().find(|balancer| {
        balancer.name == text || balancer.arn == text || balancer.dns_name == text
    });
    if let Some(balancer) = balancer {
        let of =
            |eni: &Eni| matches!(&eni.owner, EniOwner::LoadBalancer(arn) if *arn == balancer.arn);
        return owned(&of);
    }
    let mut tasks = snapshot.tasks.all().filter(|task| {
        let by_id = id.len() >= TASK_ID_PART && task.id.starts_with(id);
        let service = task.group.strip_prefix("service:");
        let by_service = text
            .split_once('/')
            .is_some_and(|(cluster, name)| task.cluster == cluster && service == Some(name));
        task.stopped_at.is_none() && (by_id || by_service)
    });
    let eni = tasks.find_map(|task| snapshot.enis.get(&task.scope, &task.eni_id));
    eni.cloned().into_iter().collect()
}

impl Question {
    /// `protocol` and `detail` as in [`Packet`]. IPv4 is preferred where both ends have both families.
    pub fn new(
        snapshot: &Snapshot,
        config: &RegionConfig,
        from: &Party,
        to: &Party,
        protocol: u8,
        detail: u16,
    ) -> Result<Self, Unclear> {
        let origin = match from {
            Party::Eni(eni) => Origin::Eni(eni.eni_id.clone()),
            Party::Internet => Origin::Outside,
            other => return Err(Unclear::NoSource(other.name())),
        };
        let destinations = destinations(snapshot, config, from, to);
        let sources = sources(config, from);
        let pair = destinations.iter().find_map(|destination| {
            let same_family = |source: &&IpAddr| source.is_ipv4() == destination.is_ipv4();
            Some((*sources.iter().find(same_family)?, *destination))
        });
        let (source, destination) = pair.ok_or_else(|| Unclear::NoAddress {
            from: from.name(),
            to: to.name(),
        })?;
        // ICMP has two numbers.
        let protocol = match (protocol, destination) {
            (1, IpAddr::V6(_)) => 58,
            (other, _) => other,
        };
        Ok(Self {
            origin,
            packet: Packet {
                source,
                destination,
                protocol,
                detail,
            },
        })
    }
}

fn sources(config: &RegionConfig, from: &Party) -> Vec<IpAddr> {
    match from {
        Party::Eni(eni) => eni.all_addresses().collect(),
        _ => vec![
            crate::names::link_addresses(config).1.into(),
            crate::names::link_addresses_v6(config).1.into(),
        ],
    }
}

/// In the order of preference. From outside and from other VPCs an interface is reached by its public addresses.
fn destinations(
    snapshot: &Snapshot,
    config: &RegionConfig,
    from: &Party,
    to: &Party,
) -> Vec<IpAddr> {
    match to {
        Party::Address(address) => vec![*address],
        // Any address that is not of this region will do.
        Party::Internet => vec![
            IpAddr::from([192, 0, 2, 1]),
            IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1]),
        ],
        Party::Service(service) => {
            let mut all = match from {
                Party::Eni(eni) => endpoint_addresses(snapshot, eni, service),
                _ => Vec::new(),
            };
            if all.is_empty() {
                all.push(config.service_address(service).into());
                all.push(config.service_address_v6(service).into());
            }
            all
        }
        Party::Eni(target) => {
            let near = match from {
                Party::Eni(eni) => {
                    eni.vpc_id == target.vpc_id || are_peers(snapshot, eni, &target.vpc_id)
                }
                _ => false,
            };
            let public = snapshot
                .public_ip(target, target.private_ip)
                .map(IpAddr::V4);
            let v4 = if near {
                Some(target.private_ip.into())
            } else {
                public
            };
            let v6 = target.ipv6_addresses.iter().copied().map(IpAddr::V6);
            let mut all: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
            if all.is_empty() {
                // Then the answer says what is missing.
                all.push(target.private_ip.into());
            }
            all
        }
    }
}

fn are_peers(snapshot: &Snapshot, eni: &Eni, other: &VpcId) -> bool {
    snapshot.peerings.all().any(|peering| {
        peering.status == PeeringStatus::Active
            && peering
                .sides(&eni.scope, &eni.vpc_id)
                .is_some_and(|(_, far)| far.vpc_id == *other)
    })
}

/// Where the service's own name leads in the VPC of `eni`: an interface endpoint with private DNS.
pub fn endpoint_addresses(snapshot: &Snapshot, eni: &Eni, service: &AwsService) -> Vec<IpAddr> {
    let name = service.service_name(&eni.scope.region);
    let answers_by_name = snapshot
        .vpcs
        .get(&eni.scope, &eni.vpc_id)
        .is_some_and(|vpc| vpc.enable_dns_support && vpc.enable_dns_hostnames);
    let endpoints = snapshot.vpc_endpoints.in_scope(&eni.scope).filter(|e| {
        e.vpc_id == eni.vpc_id && e.service_name == name && e.state == VpcEndpointState::Available
    });
    endpoints
        .filter_map(|endpoint| match &endpoint.kind {
            VpcEndpointKind::Interface {
                eni_ids,
                private_dns_enabled: true,
                ..
            } if answers_by_name => Some(eni_ids),
            _ => None,
        })
        .flatten()
        .filter_map(|id| snapshot.enis.get(&eni.scope, id))
        .map(|eni| eni.private_ip.into())
        .collect()
}
