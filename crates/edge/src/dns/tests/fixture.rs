//! Rows for tests: as a snapshot, and as they would stand in the store.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use fogbank_store::Op;
use fogbank_types::ec2::{AddressAssociation, CidrState, ElasticIp, Eni, EniOwner, Vpc};
use fogbank_types::ec2::{ConnectionTracking, VpcCidrAssociation};
use fogbank_types::elb::{
    Action, ActionKind, HealthCheck, Listener, LoadBalancer, LoadBalancerState, LoadBalancerZone,
    Target, TargetGroup, WeightedGroup,
};
use fogbank_types::route53::{AliasTarget, HostedZone, RecordSet, ZoneVpc};
use fogbank_types::status::{Health, TargetHealth, TargetState};
use fogbank_types::*;

use crate::dns::{Answer, Kind, Name, Tables, View};

pub const ACCOUNT: &str = "000000000000";

pub const HERE: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Default)]
pub struct Region {
    pub snapshot: Snapshot,
    pub rows: BTreeMap<String, Vec<u8>>,
}

pub fn config() -> RegionConfig {
    super::wire::config(([127, 0, 0, 1], 0).into())
}

pub fn scope() -> Scope {
    Scope::new(ACCOUNT, "us-east-1")
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn vpc_id(n: u128) -> VpcId {
    VpcId::from_bits(n)
}

pub fn inside(vpc: u128) -> View {
    View::Vpc(scope(), vpc_id(vpc))
}

impl Region {
    pub fn put<T: Row>(&mut self, row: T) {
        self.rows
            .insert(row.key(), serde_json::to_vec(&row).unwrap());
        T::table_mut(&mut self.snapshot).insert(Arc::new(row), 1);
    }

    pub fn ops(&self) -> Vec<Op> {
        let put = |(key, value): (&String, &Vec<u8>)| Op::put(key.clone(), value.clone());
        self.rows.iter().map(put).collect()
    }

    pub fn tables(&self) -> Tables {
        Tables::compile(&self.snapshot, &config())
    }

    pub fn ask(&self, view: &View, text: &str, kind: Kind) -> Answer {
        self.tables().answer(view, &name(text), kind)
    }

    pub fn zone(&mut self, id: &str, origin: &str) {
        self.zone_at(id, origin, 0, false, &[]);
    }

    pub fn private_zone(&mut self, id: &str, origin: &str, vpcs: &[u128]) {
        self.zone_at(id, origin, 0, true, vpcs);
    }

    pub fn zone_at(&mut self, id: &str, origin: &str, ms: i64, private: bool, vpcs: &[u128]) {
        self.put(HostedZone {
            scope: scope().global(),
            id: id.to_owned(),
            name: format!("{origin}."),
            caller_reference: id.to_owned(),
            comment: None,
            private,
            vpcs: vpcs
                .iter()
                .map(|n| ZoneVpc {
                    region: "us-east-1".to_owned(),
                    vpc_id: vpc_id(*n),
                })
                .collect(),
            name_servers: vec!["ns-1.awsdns-01.com".into(), "ns-2.awsdns-02.net".into()],
            delegation_set_id: None,
            created_at: Timestamp(ms),
            tags: Tags::new(),
        });
    }

    pub fn record(&mut self, zone: &str, name: &str, kind: &str, values: &[&str]) {
        self.put(RecordSet {
            scope: scope().global(),
            zone_id: zone.to_owned(),
            name: format!("{name}."),
            record_type: kind.to_owned(),
            set_identifier: None,
            ttl: Some(300),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            alias: None,
            routing: Default::default(),
            health_check_id: None,
        });
    }

    pub fn alias(&mut self, zone: &str, name: &str, kind: &str, target: &str) {
        self.put(RecordSet {
            scope: scope().global(),
            zone_id: zone.to_owned(),
            name: format!("{name}."),
            record_type: kind.to_owned(),
            set_identifier: None,
            ttl: None,
            values: Vec::new(),
            alias: Some(AliasTarget {
                hosted_zone_id: "Z35SXDOTRQ7X7K".to_owned(),
                dns_name: format!("{target}."),
                evaluate_target_health: true,
            }),
            routing: Default::default(),
            health_check_id: None,
        });
    }

    pub fn vpc(&mut self, n: u128, cidr: &str) {
        self.vpc_with(n, cidr, true, true);
    }

    pub fn vpc_with(&mut self, n: u128, cidr: &str, support: bool, hostnames: bool) {
        let cidr_block: Ipv4Cidr = cidr.parse().unwrap();
        self.put(Vpc {
            scope: scope(),
            vpc_id: vpc_id(n),
            cidr_block,
            cidr_associations: vec![VpcCidrAssociation {
                association_id: VpcCidrAssociationId::from_bits(n),
                cidr_block,
                state: CidrState::Associated,
            }],
            ipv6_cidr_associations: Vec::new(),
            dhcp_options_id: None,
            instance_tenancy: "default".to_owned(),
            is_default: false,
            enable_dns_support: support,
            enable_dns_hostnames: hostnames,
            enable_network_address_usage_metrics: false,
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
    }

    pub fn eni(&mut self, n: u128, vpc: u128, private: &str, public: Option<&str>) {
        self.put(eni(n, vpc, private, public));
    }

    pub fn elastic_ip(&mut self, n: u128, public: &str, private: &str) {
        self.put(ElasticIp {
            scope: scope(),
            allocation_id: AllocationId::from_bits(n),
            public_ip: public.parse().unwrap(),
            association: Some(AddressAssociation {
                association_id: AddressAssociationId::from_bits(n),
                eni_id: EniId::from_bits(n),
                private_ip: private.parse().unwrap(),
            }),
            ptr_record: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
    }

    /// With a node in zone a, b... on each of the interfaces.
    pub fn balancer(&mut self, dns_name: &str, internal: bool, enis: &[u128]) {
        let zones = enis.iter().zip(b'a'..).map(|(n, letter)| LoadBalancerZone {
            zone: format!("us-east-1{}", char::from(letter)),
            subnet_id: SubnetId::from_bits(*n),
            eni_id: EniId::from_bits(*n),
        });
        self.put(LoadBalancer {
            cookie_secret: String::new(),
            scope: scope(),
            arn: format!("arn:{dns_name}"),
            name: "web".to_owned(),
            tail: "0123456789abcdef".to_owned(),
            dns_name: dns_name.to_owned(),
            canonical_hosted_zone_id: "Z35SXDOTRQ7X7K".to_owned(),
            internal,
            vpc_id: vpc_id(1),
            zones: zones.collect(),
            groups: Vec::new(),
            ip_address_type: "ipv4".to_owned(),
            state: LoadBalancerState::Active,
            attributes: BTreeMap::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
    }

    /// A target group that the load balancer forwards to, with one target.
    pub fn target_group(&mut self, arn: &str, dns_name: &str, target: &str) {
        self.put(TargetGroup {
            ip_address_type: "ipv4".to_owned(),
            scope: scope(),
            arn: arn.to_owned(),
            name: "g".to_owned(),
            tail: "0123456789abcdef".to_owned(),
            protocol: "HTTP".to_owned(),
            protocol_version: "HTTP1".to_owned(),
            port: 80,
            vpc_id: vpc_id(1),
            target_type: "ip".to_owned(),
            health_check: HealthCheck {
                enabled: true,
                protocol: "HTTP".to_owned(),
                port: None,
                path: "/".to_owned(),
                interval_seconds: 30,
                timeout_seconds: 5,
                healthy_threshold: 5,
                unhealthy_threshold: 2,
                matcher: "200".to_owned(),
            },
            attributes: BTreeMap::new(),
            targets: vec![Target {
                ip: target.parse().unwrap(),
                port: 80,
                zone: None,
                registered_at: Timestamp(0),
                draining_since: None,
            }],
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
        self.put(Listener {
            certificates: Vec::new(),
            mutual_authentication: None,
            ssl_policy: None,
            scope: scope(),
            arn: format!("listener:{arn}"),
            load_balancer_arn: format!("arn:{dns_name}"),
            port: 80,
            protocol: "HTTP".to_owned(),
            default_actions: vec![Action {
                order: None,
                kind: ActionKind::Forward {
                    stickiness_enabled: false,
                    groups: vec![WeightedGroup {
                        target_group_arn: arn.to_owned(),
                        weight: 1,
                    }],
                    stickiness_seconds: None,
                },
            }],
            attributes: BTreeMap::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        });
    }

    /// What the node on that interface thinks of a target group's target.
    pub fn health(&mut self, arn: &str, eni: u128, target: &str, health: Health) {
        self.put(TargetHealth {
            scope: scope(),
            target_group_arn: arn.to_owned(),
            eni_id: EniId::from_bits(eni),
            targets: vec![TargetState {
                ip: target.parse().unwrap(),
                port: 80,
                health,
                reason: None,
                description: None,
            }],
        });
    }
}

/// The values of an answer's A records, in order.
pub fn addresses(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> = answer
        .answers
        .iter()
        .filter(|record| record.kind == Kind::A)
        .map(|record| Ipv4Addr::from(*record.value.first_chunk::<4>().unwrap()).to_string())
        .collect();
    all.sort();
    all
}

pub fn eni(n: u128, vpc: u128, private: &str, public: Option<&str>) -> Eni {
    Eni {
        scope: scope(),
        eni_id: EniId::from_bits(n),
        vpc_id: vpc_id(vpc),
        subnet_id: SubnetId::from_bits(1),
        zone: "us-east-1a".to_owned(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        private_ip: private.parse().unwrap(),
        secondary_ips: Vec::new(),
        ipv6_addresses: Vec::new(),
        auto_public_ip: public.map(|ip| ip.parse().unwrap()),
        groups: Vec::new(),
        description: String::new(),
        source_dest_check: true,
        owner: EniOwner::Caller,
        host: Some("here".to_owned()),
        attachment_id: None,
        connection_tracking: ConnectionTracking::default(),
        service_connect: false,
        created_at: Timestamp(0),
        tags: Tags::new(),
    }
}
