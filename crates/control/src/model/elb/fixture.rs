//! A region for tests: a VPC with two public subnets, a gateway and groups, and load balancers in it.

use super::{listeners, load_balancers, rules, target_groups};
use crate::model::tx::Tx;
use fogbank_types::elb::*;
use fogbank_types::status::{Health, LoadBalancerNodeStatus, TargetHealth, TargetState};
use fogbank_types::*;

pub struct Region {
    pub tx: Tx,
    pub scope: Scope,
    pub vpc_id: VpcId,
    /// In zones a, b and c.
    pub subnets: Vec<SubnetId>,
    pub group: SecurityGroupId,
}

impl Region {
    pub fn new() -> Self {
        let mut tx = Tx::for_test();
        let scope = Scope::new("000000000000", "us-east-1");
        let vpc_id = put_vpc(&mut tx, &scope, "10.0.0.0/16");
        let subnets = [("a", 0), ("b", 1), ("c", 2)]
            .map(|(zone, n)| put_subnet(&mut tx, &scope, &vpc_id, &format!("10.0.{n}.0/24"), zone))
            .to_vec();
        put_gateway(&mut tx, &scope, &vpc_id);
        let group = put_group(&mut tx, &scope, &vpc_id, "default");
        Self {
            tx,
            scope,
            vpc_id,
            subnets,
            group,
        }
    }

    pub fn new_load_balancer(&self, name: &str) -> load_balancers::NewLoadBalancer {
        load_balancers::NewLoadBalancer {
            name: name.to_owned(),
            subnets: self.subnets[..2].iter().map(ToString::to_string).collect(),
            groups: Vec::new(),
            internal: false,
            tags: Tags::new(),
        }
    }

    pub fn load_balancer(&mut self, name: &str) -> LoadBalancer {
        let new = self.new_load_balancer(name);
        load_balancers::create(&mut self.tx, &self.scope, new).unwrap()
    }

    pub fn target_group(&mut self, name: &str) -> TargetGroup {
        let new = target_groups::NewTargetGroup {
            name: name.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(8080),
            vpc_id: Some(self.vpc_id.to_string()),
            target_type: Some("ip".to_owned()),
            ..Default::default()
        };
        target_groups::create(&mut self.tx, &self.scope, new).unwrap()
    }

    pub fn listener(&mut self, load_balancer_arn: &str, port: u16) -> Listener {
        self.listener_with(load_balancer_arn, port, fixed_response(404))
    }

    pub fn listener_to(&mut self, load_balancer_arn: &str, port: u16, group_arn: &str) -> Listener {
        self.listener_with(load_balancer_arn, port, forward(&[(group_arn, 1)]))
    }

    fn listener_with(&mut self, arn: &str, port: u16, action: Action) -> Listener {
        let new = listeners::NewListener {
            load_balancer_arn: arn.to_owned(),
            port,
            protocol: "HTTP".to_owned(),
            default_actions: vec![action],
            tags: Tags::new(),
        };
        listeners::create(&mut self.tx, &self.scope, new).unwrap()
    }

    pub fn rule(&mut self, listener_arn: &str, priority: u32) -> ListenerRule {
        let new = rules::NewRule {
            listener_arn: listener_arn.to_owned(),
            priority,
            conditions: vec![Condition::PathPattern(vec!["/a".to_owned()])],
            actions: vec![fixed_response(200)],
            tags: Tags::new(),
        };
        rules::create(&mut self.tx, &self.scope, new).unwrap()
    }

    /// The node's host says that it serves.
    pub fn node_serves(&mut self, eni_id: &EniId) {
        let row = LoadBalancerNodeStatus {
            scope: self.scope.clone(),
            eni_id: eni_id.clone(),
            applied: 1,
        };
        self.tx.put(row);
    }

    /// The node's host says how the targets are.
    pub fn node_sees(
        &mut self,
        eni_id: &EniId,
        group_arn: &str,
        targets: &[(impl Into<std::net::IpAddr> + Copy, u16, Health)],
    ) {
        let state = |&(ip, port, health): &(_, u16, Health)| TargetState {
            ip: Into::into(ip),
            port,
            health,
            reason: (health != Health::Healthy).then(|| "Target.Timeout".to_owned()),
            description: None,
        };
        let row = TargetHealth {
            scope: self.scope.clone(),
            target_group_arn: group_arn.to_owned(),
            eni_id: eni_id.clone(),
            targets: targets.iter().map(state).collect(),
        };
        self.tx.put(row);
    }
}

pub fn fixed_response(status: u16) -> Action {
    Action {
        order: None,
        kind: ActionKind::FixedResponse {
            status,
            content_type: None,
            body: None,
        },
    }
}

pub fn forward(groups: &[(&str, u32)]) -> Action {
    let weighted = |(arn, weight): &(&str, u32)| WeightedGroup {
        target_group_arn: (*arn).to_owned(),
        weight: *weight,
    };
    let groups = groups.iter().map(weighted).collect();
    Action {
        order: None,
        kind: ActionKind::Forward {
            stickiness_enabled: false,
            groups,
            stickiness_seconds: None,
        },
    }
}

pub fn put_vpc(tx: &mut Tx, scope: &Scope, block: &str) -> VpcId {
    let vpc_id = VpcId::from_bits(tx.random());
    let cidr_block: Ipv4Cidr = block.parse().unwrap();
    let association = ec2::VpcCidrAssociation {
        association_id: VpcCidrAssociationId::from_bits(tx.random()),
        cidr_block,
        state: ec2::CidrState::Associated,
    };
    tx.put(ec2::Vpc {
        scope: scope.clone(),
        vpc_id: vpc_id.clone(),
        cidr_block,
        cidr_associations: vec![association],
        ipv6_cidr_associations: Vec::new(),
        dhcp_options_id: None,
        instance_tenancy: "default".to_owned(),
        is_default: false,
        enable_dns_support: true,
        enable_dns_hostnames: true,
        enable_network_address_usage_metrics: false,
        created_at: tx.now(),
        tags: Tags::new(),
    });
    vpc_id
}

pub fn put_subnet(tx: &mut Tx, scope: &Scope, vpc_id: &VpcId, block: &str, zone: &str) -> SubnetId {
    let subnet_id = SubnetId::from_bits(tx.random());
    tx.put(ec2::Subnet {
        scope: scope.clone(),
        subnet_id: subnet_id.clone(),
        vpc_id: vpc_id.clone(),
        cidr_block: block.parse().unwrap(),
        ipv6_cidr_associations: Vec::new(),
        assign_ipv6_address_on_creation: false,
        zone: format!("us-east-1{zone}"),
        default_for_az: false,
        map_public_ip_on_launch: false,
        enable_dns64: false,
        private_dns_hostname_type: "ip-name".to_owned(),
        enable_resource_name_dns_a_record: false,
        enable_resource_name_dns_aaaa_record: false,
        created_at: tx.now(),
        tags: Tags::new(),
    });
    subnet_id
}

pub fn put_gateway(tx: &mut Tx, scope: &Scope, vpc_id: &VpcId) {
    let row = ec2::InternetGateway {
        scope: scope.clone(),
        internet_gateway_id: InternetGatewayId::from_bits(tx.random()),
        attached_vpc: Some(vpc_id.clone()),
        created_at: tx.now(),
        tags: Tags::new(),
    };
    tx.put(row);
}

pub fn put_group(tx: &mut Tx, scope: &Scope, vpc_id: &VpcId, name: &str) -> SecurityGroupId {
    let group_id = SecurityGroupId::from_bits(tx.random());
    tx.put(ec2::SecurityGroup {
        scope: scope.clone(),
        group_id: group_id.clone(),
        vpc_id: vpc_id.clone(),
        name: name.to_owned(),
        description: name.to_owned(),
        rules: Vec::new(),
        created_at: tx.now(),
        tags: Tags::new(),
    });
    group_id
}
