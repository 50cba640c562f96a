//! Names of AWS's own services, and of interface endpoints (fact PEER-2).
//!
//! Compiled by `tables`. A service's public name leads to the region's address for it, everywhere; inside a VPC that
//! has an interface endpoint with private DNS, to the endpoint's interfaces, as if a private hosted zone said so.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html>

use std::collections::HashMap;

use fogbank_types::aws_service::{self, AWS_SERVICES, AwsService};
use fogbank_types::ec2::{Eni, Vpc, VpcEndpoint, VpcEndpointKind, VpcEndpointState, ZoneFaultKind};
use fogbank_types::{RegionConfig, Snapshot, VpcId, place};

use super::addresses::Addresses;
use super::name::Name;

/// Of all these names.
pub const TTL: u32 = 60;

/// Services that are one for all regions, by the label before `amazonaws.com`.
const GLOBAL: [&str; 3] = ["iam", "route53", "sts"];

/// See the module.
#[derive(Debug, Default)]
pub struct Services {
    /// By the service's name in `AWS_SERVICES`: both families.
    public: HashMap<&'static str, Addresses>,
    /// The endpoints' own names, regional and zonal, known to everybody.
    own: HashMap<Name, Addresses>,
    /// By VPC and the domain that its endpoint takes over.
    private: HashMap<VpcId, HashMap<Name, Private>>,
}

#[derive(Debug)]
struct Private {
    reach: Reach,
    addresses: Addresses,
}

/// Which names of a domain an endpoint answers for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// The domain itself.
    Itself,
    /// Any one label under it.
    Under,
    /// The domain and all under it.
    All,
}

impl Services {
    pub fn compile(snapshot: &Snapshot, config: &RegionConfig) -> Self {
        let mut services = Self::default();
        for service in AWS_SERVICES {
            let addresses = Addresses {
                v4: vec![config.service_address(service)],
                v6: vec![config.service_address_v6(service)],
            };
            services.public.insert(service.endpoint, addresses);
        }
        for endpoint in snapshot.vpc_endpoints.all() {
            if endpoint.state == VpcEndpointState::Available {
                services.add(snapshot, endpoint);
            }
        }
        services
    }

    fn add(&mut self, snapshot: &Snapshot, endpoint: &VpcEndpoint) {
        let VpcEndpointKind::Interface {
            eni_ids,
            private_dns_enabled,
            ip_address_type,
            dns_suffix,
            ..
        } = &endpoint.kind
        else {
            return;
        };
        let region = &endpoint.scope.region;
        let Some(service) = aws_service::by_service_name(region, &endpoint.service_name) else {
            return;
        };
        let enis: Vec<&Eni> = eni_ids
            .iter()
            .filter_map(|id| snapshot.enis.get(&endpoint.scope, id))
            .map(|eni| &**eni)
            .collect();
        let parent = service.host.trim_start_matches("*.");
        let own = format!("{}-{dns_suffix}", endpoint.vpc_endpoint_id);
        let domain = format!("{parent}.{region}.vpce.amazonaws.com");
        for eni in &enis {
            let zonal = format!("{own}-{}.{domain}", eni.zone);
            self.add_own(&zonal, addresses([*eni], ip_address_type));
        }
        let living = living(snapshot, &enis);
        let all = addresses(living.iter().copied(), ip_address_type);
        self.add_own(&format!("{own}.{domain}"), all.clone());
        let vpc = snapshot.vpcs.get(&endpoint.scope, &endpoint.vpc_id);
        if *private_dns_enabled && vpc.is_some_and(|vpc| has_names(vpc)) {
            let Ok(origin) = Name::parse(&format!("{parent}.{region}.amazonaws.com")) else {
                return;
            };
            let reach = match service {
                _ if service.host.starts_with("*.") => Reach::Under,
                _ if service.endpoint == "s3" => Reach::All,
                _ => Reach::Itself,
            };
            let names = self.private.entry(endpoint.vpc_id.clone()).or_default();
            names.insert(
                origin,
                Private {
                    reach,
                    addresses: all,
                },
            );
        }
    }

    fn add_own(&mut self, name: &str, addresses: Addresses) {
        if let Ok(name) = Name::parse(name) {
            self.own.insert(name, addresses);
        }
    }

    /// The domain that an endpoint of the VPC takes over, with its addresses if the name is one of those it has.
    pub fn private(&self, vpc: &VpcId, name: &Name) -> Option<(Name, Option<&Addresses>)> {
        let domains = self.private.get(vpc)?;
        let (origin, private) = name
            .suffixes()
            .find_map(|suffix| domains.get_key_value(suffix))?;
        let below = name.labels().count() - origin.labels().count();
        let is_one = match private.reach {
            Reach::Itself => below == 0,
            Reach::Under => below == 1,
            Reach::All => true,
        };
        Some((origin.clone(), is_one.then_some(&private.addresses)))
    }

    /// What everybody may ask. Classic names are of IPv4 alone, those of `api.aws` and `dualstack` are of both.
    pub fn public(&self, name: &Name) -> Option<Addresses> {
        if let Some(addresses) = self.own.get(name) {
            return Some(addresses.clone());
        }
        let (service, is_dual) = service_of(name)?;
        let mut addresses = self.public.get(service.endpoint)?.clone();
        if !is_dual {
            addresses.v6.clear();
        }
        Some(addresses)
    }
}

fn has_names(vpc: &Vpc) -> bool {
    vpc.enable_dns_support && vpc.enable_dns_hostnames
}

/// Those whose zone has not failed; if none is left, all: there is nothing better to try.
fn living<'a>(snapshot: &Snapshot, enis: &[&'a Eni]) -> Vec<&'a Eni> {
    let living: Vec<_> = enis
        .iter()
        .copied()
        .filter(|eni| !is_dark(snapshot, &eni.zone))
        .collect();
    if living.is_empty() {
        enis.to_vec()
    } else {
        living
    }
}

/// Whether nothing in that zone can be reached.
pub fn is_dark(snapshot: &Snapshot, zone: &str) -> bool {
    snapshot.zone_faults.all().any(|fault| {
        fault.zone == zone && matches!(fault.kind, ZoneFaultKind::Failed | ZoneFaultKind::Isolated)
    })
}

fn addresses<'a>(enis: impl IntoIterator<Item = &'a Eni>, ip_address_type: &str) -> Addresses {
    let mut all = Addresses::default();
    for eni in enis {
        if ip_address_type != "ipv6" {
            all.v4.push(eni.private_ip);
        }
        if ip_address_type != "ipv4" {
            all.v6.extend(&eni.ipv6_addresses);
        }
    }
    all
}

/// The service that a public name stands for, and whether the name has both families.
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
fn service_of(name: &Name) -> Option<(&'static AwsService, bool)> {
    let labels: Vec<&str> = name
        .labels()
        .map(|label| std::str::from_utf8(label).ok())
        .collect::<Option<_>>()?;
    match labels.as_slice() {
        [front @ .., "amazonaws", "com"] => match front {
            [one] if GLOBAL.contains(one) => Some((by_endpoint("sts")?, false)),
            [.., "s3"] => Some((by_endpoint("s3")?, false)),
            [host @ .., region] if is_region(region) => match host {
                [.., "s3"] => Some((by_endpoint("s3")?, false)),
                // The keys that load balancers sign users' claims with.
                ["public-keys", "auth", "elb"] => {
                    Some((by_endpoint("elasticloadbalancing")?, false))
                }
                [.., "s3", "dualstack"] => Some((by_endpoint("s3")?, true)),
                _ => Some((aws_service::by_host(region, &labels.join("."))?, false)),
            },
            _ => None,
        },
        [host, region, "api", "aws"] if is_region(region) => {
            let host = if *host == "ecr" { "api.ecr" } else { host };
            let found = AWS_SERVICES.iter().find(|service| service.host == host)?;
            (found.endpoint != "s3").then_some((found, true))
        }
        _ => None,
    }
}

fn by_endpoint(endpoint: &str) -> Option<&'static AwsService> {
    AWS_SERVICES
        .iter()
        .find(|service| service.endpoint == endpoint)
}

fn is_region(label: &str) -> bool {
    place::regions().any(|region| region == label)
}
