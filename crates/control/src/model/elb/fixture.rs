//! A region for tests: a VPC with two public subnets, a gateway and groups, and load balancers in it.

use super::listener_tls::TlsSettings;
use super::trust_material::tests::authority;
use super::{listeners, load_balancers, rules, target_groups, trust_stores};
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
            ip_address_type: Default::default(),
            cookie_secret: "5e".repeat(32),
            tags: Tags::new(),
        }
    }

    pub fn load_balancer(&mut self, name: &str) -> LoadBalancer {
        let new = self.new_load_balancer(name);
        load_balancers::create(&mut self.tx, &self.scope, new).unwrap()
    }

    /// An IPv6 block for the VPC and one for each subnet.
    pub fn add_ipv6(&mut self) {
        let scope = self.scope.clone();
        let block: Ipv6Cidr = "2001:db8:1::/56".parse().unwrap();
        let association_id = VpcCidrAssociationId::from_bits(self.tx.random());
        self.tx.update::<ec2::Vpc>(&scope, &self.vpc_id, |vpc| {
            vpc.ipv6_cidr_associations
                .push(ec2::VpcIpv6CidrAssociation {
                    association_id,
                    cidr_block: block,
                    state: ec2::CidrState::Associated,
                });
        });
        for (n, subnet_id) in self.subnets.iter().enumerate() {
            let association_id = SubnetCidrAssociationId::from_bits(self.tx.random());
            self.tx.update::<ec2::Subnet>(&scope, subnet_id, |subnet| {
                subnet
                    .ipv6_cidr_associations
                    .push(ec2::SubnetIpv6CidrAssociation {
                        association_id,
                        cidr_block: block.subnet(64, n as u128).unwrap(),
                        state: ec2::CidrState::Associated,
                    });
            });
        }
    }

    pub fn target_group(&mut self, name: &str) -> TargetGroup {
        self.target_group_with(name, |_| ())
    }

    pub fn target_group_with(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut target_groups::NewTargetGroup),
    ) -> TargetGroup {
        let mut new = target_groups::NewTargetGroup {
            name: name.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(8080),
            vpc_id: Some(self.vpc_id.to_string()),
            target_type: Some("ip".to_owned()),
            ..Default::default()
        };
        change(&mut new);
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
            tls: TlsSettings::default(),
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
            transforms: Vec::new(),
            tags: Tags::new(),
        };
        rules::create(&mut self.tx, &self.scope, new).unwrap()
    }

    pub fn https_listener(
        &mut self,
        load_balancer_arn: &str,
        port: u16,
        certificate: &str,
    ) -> Listener {
        let new = listeners::NewListener {
            load_balancer_arn: load_balancer_arn.to_owned(),
            port,
            protocol: "HTTPS".to_owned(),
            tls: TlsSettings {
                certificates: vec![certificate.to_owned()],
                ..TlsSettings::default()
            },
            default_actions: vec![fixed_response(200)],
            tags: Tags::new(),
        };
        listeners::create(&mut self.tx, &self.scope, new).unwrap()
    }

    /// The ARN of one that is issued; what its material is does not matter here.
    pub fn certificate(&mut self, name: &str) -> String {
        let arn = self.pending_certificate(name);
        let scope = self.scope.clone();
        self.tx.update::<acm::Certificate>(&scope, &arn, |row| {
            row.status = acm::CertificateStatus::Issued;
            row.material = Some(acm::CertificateMaterial {
                key_usages: Vec::new(),
                extended_key_usages: Vec::new(),
                certificate: String::new(),
                chain: None,
                private_key: String::new(),
                serial: "01".to_owned(),
                subject: String::new(),
                issuer: String::new(),
                signature_algorithm: "SHA256WITHRSA".to_owned(),
                not_before: row.created_at,
                not_after: row.created_at,
            });
        });
        arn
    }

    pub fn pending_certificate(&mut self, name: &str) -> String {
        let arn = self.scope.arn("acm", &format!("certificate/{name}"));
        let row = acm::Certificate {
            exported_at: None,
            renewal: None,
            scope: self.scope.clone(),
            arn: arn.clone(),
            domain_name: format!("{name}.example.com"),
            names: vec![format!("{name}.example.com")],
            kind: acm::CertificateKind::AmazonIssued,
            status: acm::CertificateStatus::PendingValidation,
            validation_method: Some("DNS".to_owned()),
            validations: Vec::new(),
            key_algorithm: "RSA_2048".to_owned(),
            transparency_logging: true,
            export: None,
            idempotency_token: None,
            failure_reason: None,
            material: None,
            created_at: self.tx.now(),
            issued_at: None,
            imported_at: None,
            tags: Tags::new(),
        };
        self.tx.put(row);
        arn
    }

    pub fn trust_store(&mut self, name: &str) -> TrustStore {
        let new = trust_stores::NewTrustStore {
            name: name.to_owned(),
            bundle: authority(0).0.into_bytes(),
            tags: Tags::new(),
        };
        trust_stores::create(&mut self.tx, &self.scope, new).unwrap()
    }

    pub fn verify_clients(&mut self, listener_arn: &str, trust_store_arn: &str) {
        let mutual = MutualAuthentication {
            mode: MutualAuthenticationMode::Verify,
            trust_store_arn: Some(trust_store_arn.to_owned()),
            ignore_client_certificate_expiry: false,
            advertise_ca_names: false,
        };
        let change = listeners::ListenerChange {
            tls: TlsSettings {
                mutual_authentication: Some(mutual),
                ..TlsSettings::default()
            },
            ..listeners::ListenerChange::default()
        };
        listeners::modify(&mut self.tx, &self.scope, listener_arn, change).unwrap();
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

pub fn oidc(issuer: &str) -> AuthenticateOidc {
    AuthenticateOidc {
        issuer: issuer.to_owned(),
        authorization_endpoint: "https://idp.example/authorize".to_owned(),
        token_endpoint: "https://idp.example/token".to_owned(),
        user_info_endpoint: "https://idp.example/userinfo".to_owned(),
        client_id: "client".to_owned(),
        client_secret: "secret".to_owned(),
        session_cookie_name: "AWSELBAuthSessionCookie".to_owned(),
        scope: "openid".to_owned(),
        session_timeout_s: 604_800,
        extra_params: Default::default(),
        on_unauthenticated: OnUnauthenticated::Authenticate,
    }
}

pub fn jwt(additional_claims: Vec<JwtClaim>) -> JwtValidation {
    JwtValidation {
        jwks_endpoint: "https://idp.example/keys".to_owned(),
        issuer: "https://idp.example/".to_owned(),
        additional_claims,
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
