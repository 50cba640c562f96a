//! What the tests of this area stand on.

use super::security_groups::NewSecurityGroup;
use super::subnets::NewSubnet;
use super::vpcs::NewVpc;
use super::{NewEni, enis, internet_gateways, security_groups, subnets, vpcs};
use crate::model::Tx;
use fogbank_types::ec2::*;
use fogbank_types::*;

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

pub fn new_vpc(block: &str) -> NewVpc {
    NewVpc {
        cidr_block: block.parse().unwrap(),
        tenancy: "default".to_owned(),
        ipv6: false,
        tags: Tags::new(),
    }
}

pub fn vpc(tx: &mut Tx, block: &str) -> Vpc {
    vpcs::create(tx, &scope(), new_vpc(block)).unwrap()
}

pub fn subnet(tx: &mut Tx, vpc: &Vpc, block: &str) -> Subnet {
    let new = NewSubnet {
        vpc_id: vpc.vpc_id.clone(),
        cidr_block: block.parse().unwrap(),
        ipv6_block: None,
        zone: Some("us-east-1a".to_owned()),
        tags: Tags::new(),
    };
    subnets::create(tx, &scope(), new).unwrap()
}

/// An internet gateway, attached.
pub fn gateway(tx: &mut Tx, vpc: &Vpc) -> InternetGateway {
    let gateway = internet_gateways::create(tx, &scope(), Tags::new()).unwrap();
    internet_gateways::attach(tx, &scope(), &gateway.internet_gateway_id, &vpc.vpc_id).unwrap();
    gateway
}

pub fn group(tx: &mut Tx, vpc: &Vpc, name: &str) -> SecurityGroup {
    let new = NewSecurityGroup {
        vpc_id: vpc.vpc_id.clone(),
        name: name.to_owned(),
        description: name.to_owned(),
        tags: Tags::new(),
    };
    security_groups::create(tx, &scope(), new).unwrap()
}

pub fn new_interface(subnet_id: &SubnetId) -> NewEni {
    NewEni {
        subnet_id: subnet_id.clone(),
        groups: Vec::new(),
        description: String::new(),
        owner: EniOwner::Caller,
        private_ip: None,
        assign_public_ip: false,
        source_dest_check: true,
        host: None,
    }
}

/// A caller's interface.
pub fn interface(tx: &mut Tx, subnet: &Subnet) -> Eni {
    enis::create(tx, &scope(), new_interface(&subnet.subnet_id)).unwrap()
}
