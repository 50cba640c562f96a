//! Regions for tests, row by row, without the control plane.
#![allow(dead_code, clippy::unwrap_used)]

pub mod change;
pub mod random;

use fogbank_types::ec2::*;
use fogbank_types::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub const HOST: &str = "here";

pub fn config(instance: &str) -> RegionConfig {
    RegionConfig {
        instance: instance.to_owned(),
        host: HOST.to_owned(),
        data_dir: "/nonexistent".into(),
        run_dir: "/nonexistent".into(),
        endpoint: "127.0.0.1:4566".parse().unwrap(),
        dns: "127.0.0.1:4553".parse().unwrap(),
        account: "000000000000".to_owned(),
        public_cidr: cidr("198.18.0.0/16"),
        public_cidr_v6: "2001:2::/48".parse().unwrap(),
        quotas: Default::default(),
        internet: InternetAccess::None,
        speed: 1.0,
        metrics: None,
        geography: None,
        tls_resolvers: Vec::new(),
        request_rates: false,
        auth: fogbank_types::AuthMode::Off,
        tls: None,
        ephemeral: true,
    }
}

pub fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn block(text: &str) -> IpCidr {
    text.parse().unwrap()
}

/// An address of either family.
pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

/// A snapshot under construction; ids count up.
#[derive(Clone, Default)]
pub struct Region {
    pub snapshot: Snapshot,
    next: u128,
}

impl Region {
    pub fn put<T: Row>(&mut self, row: T) {
        T::table_mut(&mut self.snapshot).insert(Arc::new(row), 1);
    }

    pub fn remove<T: Row>(&mut self, row: &T) {
        T::table_mut(&mut self.snapshot).remove(&row.key());
    }

    pub fn number(&mut self) -> u128 {
        self.next += 1;
        // Spread, so that tails differ in more than the last digit.
        self.next << 4 | 0xa
    }

    /// With its main route table, default network ACL, and nothing else.
    pub fn vpc(&mut self, block: &str) -> Vpc {
        let vpc = Vpc {
            scope: scope(),
            vpc_id: VpcId::from_bits(self.number()),
            cidr_block: cidr(block),
            cidr_associations: vec![VpcCidrAssociation {
                association_id: VpcCidrAssociationId::from_bits(self.number()),
                cidr_block: cidr(block),
                state: CidrState::Associated,
            }],
            ipv6_cidr_associations: Vec::new(),
            dhcp_options_id: None,
            instance_tenancy: "default".to_owned(),
            is_default: false,
            enable_dns_support: true,
            enable_dns_hostnames: true,
            enable_network_address_usage_metrics: false,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(vpc.clone());
        let mut table = self.route_table(&vpc);
        table.associations.push(RouteTableAssociation {
            association_id: RouteTableAssociationId::from_bits(self.number()),
            subnet_id: None,
        });
        self.put(table);
        let all = |number, egress, block| entry(number, egress, true, Traffic::All, block);
        let entries =
            [true, false].map(|egress| [all(100, egress, "0.0.0.0/0"), all(101, egress, "::/0")]);
        let mut acl = self.acl(&vpc, entries.concat());
        acl.is_default = true;
        self.put(acl);
        vpc
    }

    /// One more block of either family.
    pub fn add_block(&mut self, vpc: &mut Vpc, block: &str) {
        let association_id = VpcCidrAssociationId::from_bits(self.number());
        let state = CidrState::Associated;
        match block.parse().unwrap() {
            IpCidr::V4(cidr_block) => vpc.cidr_associations.push(VpcCidrAssociation {
                association_id,
                cidr_block,
                state,
            }),
            IpCidr::V6(cidr_block) => vpc.ipv6_cidr_associations.push(VpcIpv6CidrAssociation {
                association_id,
                cidr_block,
                state,
            }),
        }
        self.put(vpc.clone());
    }

    /// Gives the subnet an IPv6 block.
    pub fn add_v6(&mut self, subnet: &mut Subnet, block: &str) {
        subnet.ipv6_cidr_associations = vec![SubnetIpv6CidrAssociation {
            association_id: SubnetCidrAssociationId::from_bits(self.number()),
            cidr_block: block.parse().unwrap(),
            state: CidrState::Associated,
        }];
        self.put(subnet.clone());
    }

    pub fn subnet(&mut self, vpc: &Vpc, block: &str) -> Subnet {
        let subnet = Subnet {
            scope: scope(),
            subnet_id: SubnetId::from_bits(self.number()),
            vpc_id: vpc.vpc_id.clone(),
            cidr_block: cidr(block),
            ipv6_cidr_associations: Vec::new(),
            assign_ipv6_address_on_creation: false,
            zone: "us-east-1a".to_owned(),
            default_for_az: false,
            map_public_ip_on_launch: false,
            enable_dns64: false,
            private_dns_hostname_type: "ip-name".to_owned(),
            enable_resource_name_dns_a_record: false,
            enable_resource_name_dns_aaaa_record: false,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(subnet.clone());
        subnet
    }

    pub fn route_table(&mut self, vpc: &Vpc) -> RouteTable {
        let table = RouteTable {
            scope: scope(),
            route_table_id: RouteTableId::from_bits(self.number()),
            vpc_id: vpc.vpc_id.clone(),
            routes: Vec::new(),
            associations: Vec::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(table.clone());
        table
    }

    /// A table of its own for the subnet, with these routes.
    pub fn routes(
        &mut self,
        vpc: &Vpc,
        subnet: &Subnet,
        routes: &[(&str, RouteTarget)],
    ) -> RouteTable {
        let mut table = self.route_table(vpc);
        table.associations.push(RouteTableAssociation {
            association_id: RouteTableAssociationId::from_bits(self.number()),
            subnet_id: Some(subnet.subnet_id.clone()),
        });
        table.routes = routes
            .iter()
            .map(|(destination, target)| Route {
                destination: destination_of(destination),
                target: target.clone(),
            })
            .collect();
        self.put(table.clone());
        table
    }

    pub fn gateway(&mut self, vpc: &Vpc) -> InternetGatewayId {
        let id = InternetGatewayId::from_bits(self.number());
        self.put(InternetGateway {
            scope: scope(),
            internet_gateway_id: id.clone(),
            attached_vpc: Some(vpc.vpc_id.clone()),
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
        id
    }

    pub fn group(&mut self, vpc: &Vpc, rules: Vec<(bool, Traffic, RulePeer)>) -> SecurityGroup {
        let id = SecurityGroupId::from_bits(self.number());
        let mut group = SecurityGroup {
            scope: scope(),
            group_id: id.clone(),
            vpc_id: vpc.vpc_id.clone(),
            name: id.to_string(),
            description: String::new(),
            rules: Vec::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        group.rules = rules
            .into_iter()
            .map(|(egress, traffic, peer)| self.rule(egress, traffic, peer))
            .collect();
        self.put(group.clone());
        group
    }

    pub fn rule(&mut self, egress: bool, traffic: Traffic, peer: RulePeer) -> SecurityGroupRule {
        SecurityGroupRule {
            rule_id: SecurityGroupRuleId::from_bits(self.number()),
            egress,
            traffic,
            peer,
            description: None,
            tags: Tags::new(),
        }
    }

    pub fn acl(&mut self, vpc: &Vpc, entries: Vec<NetworkAclEntry>) -> NetworkAcl {
        let acl = NetworkAcl {
            scope: scope(),
            network_acl_id: NetworkAclId::from_bits(self.number()),
            vpc_id: vpc.vpc_id.clone(),
            is_default: false,
            entries,
            associations: Vec::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(acl.clone());
        acl
    }

    pub fn guard(&mut self, mut acl: NetworkAcl, subnet: &Subnet) -> NetworkAcl {
        acl.associations.push(NetworkAclAssociation {
            association_id: NetworkAclAssociationId::from_bits(self.number()),
            subnet_id: subnet.subnet_id.clone(),
        });
        self.put(acl.clone());
        acl
    }

    /// The interface with host number `n` of the subnet.
    pub fn eni(&mut self, subnet: &Subnet, n: u64, groups: &[&SecurityGroup]) -> Eni {
        let number = self.number();
        let low = (number as u32).to_be_bytes();
        let eni = Eni {
            scope: scope(),
            eni_id: EniId::from_bits(number),
            vpc_id: subnet.vpc_id.clone(),
            subnet_id: subnet.subnet_id.clone(),
            zone: subnet.zone.clone(),
            mac: MacAddr([0x0a, 0xff, low[0], low[1], low[2], low[3]]),
            private_ip: subnet.cidr_block.nth(n).unwrap(),
            secondary_ips: Vec::new(),
            ipv6_addresses: Vec::new(),
            auto_public_ip: None,
            groups: groups.iter().map(|g| g.group_id.clone()).collect(),
            description: String::new(),
            source_dest_check: true,
            owner: EniOwner::Task(format!("task-{number}")),
            host: Some(HOST.to_owned()),
            attachment_id: None,
            connection_tracking: ConnectionTracking::default(),
            service_connect: false,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(eni.clone());
        eni
    }

    /// Gives the interface the `n`th address of its subnet's IPv6 block too.
    pub fn address_v6(&mut self, eni: &mut Eni, subnet: &Subnet, n: u128) -> Ipv6Addr {
        let address = subnet.ipv6_block().unwrap().nth(n).unwrap();
        eni.ipv6_addresses.push(address);
        self.put(eni.clone());
        address
    }

    pub fn egress_only(&mut self, vpc: &Vpc) -> EgressOnlyInternetGatewayId {
        let id = EgressOnlyInternetGatewayId::from_bits(self.number());
        self.put(EgressOnlyInternetGateway {
            scope: scope(),
            egress_only_internet_gateway_id: id.clone(),
            vpc_id: vpc.vpc_id.clone(),
            client_token: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
        id
    }

    pub fn prefix_list(&mut self, blocks: &[&str]) -> PrefixList {
        let entry = |text: &&str| PrefixListEntry {
            cidr: block(text),
            description: None,
        };
        let id = PrefixListId::from_bits(self.number());
        let list = PrefixList {
            scope: scope(),
            prefix_list_id: id.clone(),
            name: id.to_string(),
            entries: blocks.iter().map(entry).collect(),
            max_entries: 10,
            ipv4: blocks.iter().all(|text| block(text).is_ipv4()),
            version: 1,
            state: Default::default(),
            history: Default::default(),
            client_token: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(list.clone());
        list
    }

    pub fn peering(&mut self, requester: &Vpc, accepter: &Vpc) -> VpcPeeringConnection {
        let side = |vpc: &Vpc| PeeredVpc {
            scope: vpc.scope.clone(),
            vpc_id: vpc.vpc_id.clone(),
            allow_dns_resolution: false,
        };
        let peering = VpcPeeringConnection {
            scope: requester.scope.clone(),
            peering_id: VpcPeeringConnectionId::from_bits(self.number()),
            requester: side(requester),
            accepter: side(accepter),
            status: PeeringStatus::Active,
            status_message: "Active".to_owned(),
            expires_at: None,
            ended_at: None,
            created_at: Timestamp(0),
            accepter_tags: Tags::new(),
            tags: Tags::new(),
        };
        self.put(peering.clone());
        peering
    }

    fn endpoint(&mut self, vpc: &Vpc, service: &str, kind: VpcEndpointKind) -> VpcEndpoint {
        let endpoint = VpcEndpoint {
            scope: scope(),
            vpc_endpoint_id: VpcEndpointId::from_bits(self.number()),
            vpc_id: vpc.vpc_id.clone(),
            service_name: format!("com.amazonaws.us-east-1.{service}"),
            kind,
            state: VpcEndpointState::Available,
            policy_document: String::new(),
            client_token: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(endpoint.clone());
        endpoint
    }

    /// A route to the service in each of the tables.
    pub fn gateway_endpoint(
        &mut self,
        vpc: &Vpc,
        service: &str,
        tables: &[&RouteTable],
    ) -> VpcEndpoint {
        let ids = tables.iter().map(|table| table.route_table_id.clone());
        let route_table_ids = ids.collect();
        self.endpoint(vpc, service, VpcEndpointKind::Gateway { route_table_ids })
    }

    /// An interface endpoint with one interface, at host number `n` of the subnet.
    pub fn interface_endpoint(
        &mut self,
        vpc: &Vpc,
        service: &str,
        (subnet, n): (&Subnet, u64),
        groups: &[&SecurityGroup],
    ) -> (VpcEndpoint, Eni) {
        let mut eni = self.eni(subnet, n, groups);
        let kind = VpcEndpointKind::Interface {
            subnet_ids: vec![subnet.subnet_id.clone()],
            eni_ids: vec![eni.eni_id.clone()],
            group_ids: eni.groups.clone(),
            private_dns_enabled: true,
            ip_address_type: "ipv4".to_owned(),
            dns_suffix: "test".to_owned(),
        };
        let endpoint = self.endpoint(vpc, service, kind);
        eni.owner = EniOwner::VpcEndpoint(endpoint.vpc_endpoint_id.clone());
        self.put(eni.clone());
        (endpoint, eni)
    }

    pub fn fault(&mut self, zone: &str, kind: ZoneFaultKind) -> ZoneFault {
        let fault = ZoneFault {
            zone: zone.to_owned(),
            kind,
            since: Timestamp(0),
        };
        self.put(fault.clone());
        fault
    }

    /// An Elastic IP on the interface's primary address.
    pub fn elastic(&mut self, eni: &Eni, public_ip: &str) -> ElasticIp {
        let address = ElasticIp {
            scope: scope(),
            allocation_id: AllocationId::from_bits(self.number()),
            public_ip: ip(public_ip),
            association: Some(AddressAssociation {
                association_id: AddressAssociationId::from_bits(self.number()),
                eni_id: eni.eni_id.clone(),
                private_ip: eni.private_ip,
            }),
            ptr_record: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        self.put(address.clone());
        address
    }

    pub fn nat(&mut self, subnet: &Subnet, n: u64, public_ip: &str) -> (NatGateway, Eni) {
        let (mut gateway, eni) = self.private_nat(subnet, n);
        let elastic = self.elastic(&eni, public_ip);
        gateway.allocation_id = Some(elastic.allocation_id);
        gateway.association_id = elastic.association.map(|a| a.association_id);
        gateway.public_ip = Some(ip(public_ip));
        gateway.private_connectivity = false;
        self.put(gateway.clone());
        (gateway, eni)
    }

    /// Without an Elastic IP.
    pub fn private_nat(&mut self, subnet: &Subnet, n: u64) -> (NatGateway, Eni) {
        let mut eni = self.eni(subnet, n, &[]);
        let id = NatGatewayId::from_bits(self.number());
        eni.owner = EniOwner::NatGateway(id.clone());
        eni.source_dest_check = false;
        self.put(eni.clone());
        let gateway = NatGateway {
            scope: scope(),
            nat_gateway_id: id,
            vpc_id: subnet.vpc_id.clone(),
            subnet_id: subnet.subnet_id.clone(),
            state: NatGatewayState::Available,
            allocation_id: None,
            association_id: None,
            eni_id: Some(eni.eni_id.clone()),
            private_ip: Some(eni.private_ip),
            public_ip: None,
            private_connectivity: true,
            failure: None,
            client_token: None,
            created_at: Timestamp(0),
            deleted_at: None,
            tags: Tags::new(),
        };
        self.put(gateway.clone());
        (gateway, eni)
    }
}

/// A block of either family, or a prefix list by its id.
pub fn destination_of(text: &str) -> RouteDestination {
    match PrefixListId::parse(text) {
        Ok(id) => RouteDestination::PrefixList(id),
        Err(_) => RouteDestination::Block(block(text)),
    }
}

pub fn entry(
    number: u16,
    egress: bool,
    allow: bool,
    traffic: Traffic,
    cidr_block: &str,
) -> NetworkAclEntry {
    NetworkAclEntry {
        number,
        egress,
        allow,
        traffic,
        cidr_block: block(cidr_block),
    }
}

pub fn tcp(from: u16, to: u16) -> Traffic {
    Traffic::Tcp(PortRange::new(from, to).unwrap())
}

pub fn udp(from: u16, to: u16) -> Traffic {
    Traffic::Udp(PortRange::new(from, to).unwrap())
}

pub fn anyone() -> RulePeer {
    RulePeer::Ipv4(Ipv4Cidr::ANY)
}

pub fn out_to_all() -> (bool, Traffic, RulePeer) {
    (true, Traffic::All, anyone())
}
