//! Which doors there are: pure, from the snapshot. Called by `listeners`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use fogbank_types::aws_service::{self, AwsService};
use fogbank_types::ec2::{VpcEndpoint, VpcEndpointKind};
use fogbank_types::{RegionConfig, Snapshot, VpcEndpointId};

use crate::namespace::NAMESPACES_DIR;

/// What is behind a door.
#[derive(Clone, Debug, PartialEq)]
pub enum Door {
    /// AWS's public endpoints: every service but those with an address of their own.
    Public,
    /// S3's public endpoint.
    Storage,
    /// An interface endpoint: one service of one region.
    Endpoint {
        id: VpcEndpointId,
        service: &'static AwsService,
        region: String,
    },
}

impl Door {
    /// The interface endpoint that it is of.
    pub fn endpoint(&self) -> Option<&VpcEndpointId> {
        match self {
            Self::Endpoint { id, .. } => Some(id),
            Self::Public | Self::Storage => None,
        }
    }
}

/// Where a door is: a namespace and an address in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub namespace: PathBuf,
    pub address: IpAddr,
}

/// All doors of this host.
pub fn doors(config: &RegionConfig, snapshot: &Snapshot) -> HashMap<Place, Door> {
    let mut doors = public(config);
    for endpoint in snapshot.vpc_endpoints.all() {
        let Some((door, enis)) = behind(endpoint) else {
            continue;
        };
        for eni_id in enis {
            let Some(eni) = snapshot.enis.get(&endpoint.scope, eni_id) else {
                continue;
            };
            if eni.host.as_ref() != Some(&config.host) {
                continue;
            }
            for address in eni.all_addresses() {
                let namespace = namespace(config, eni_id.tail());
                doors.insert(Place { namespace, address }, door.clone());
            }
        }
    }
    doors
}

fn behind(endpoint: &VpcEndpoint) -> Option<(Door, &[fogbank_types::EniId])> {
    let VpcEndpointKind::Interface { eni_ids, .. } = &endpoint.kind else {
        return None;
    };
    let region = endpoint.scope.region.clone();
    let service = aws_service::by_service_name(&region, &endpoint.service_name)?;
    let id = endpoint.vpc_endpoint_id.clone();
    let door = Door::Endpoint {
        id,
        service,
        region,
    };
    Some((door, eni_ids))
}

/// In the edge's namespace. Nobody is behind DynamoDB's address: connections to it are refused.
fn public(config: &RegionConfig) -> HashMap<Place, Door> {
    let mut doors = HashMap::new();
    for service in aws_service::AWS_SERVICES {
        let door = match service.endpoint {
            "dynamodb" => continue,
            "s3" => Door::Storage,
            _ => Door::Public,
        };
        let addresses: [IpAddr; 2] = [
            config.service_address(service).into(),
            config.service_address_v6(service).into(),
        ];
        for address in addresses {
            let namespace = namespace(config, "edge");
            doors.insert(Place { namespace, address }, door.clone());
        }
    }
    doors
}

/// As the node names them: `net::names`.
fn namespace(config: &RegionConfig, tail: &str) -> PathBuf {
    Path::new(NAMESPACES_DIR).join(config.namespace(tail))
}
