use super::super::security_groups;
use super::super::testing::*;
use super::super::vpcs::VpcAttribute;
use super::*;
use crate::model::Refused;

const LOGS: &str = "com.amazonaws.us-east-1.logs";
const S3: &str = "com.amazonaws.us-east-1.s3";

struct Stage {
    tx: Tx,
    vpc: Vpc,
    /// In us-east-1a.
    subnet: Subnet,
}

fn stage() -> Stage {
    let mut tx = Tx::for_test();
    let vpc = vpc(&mut tx, "10.0.0.0/16");
    vpcs::modify(
        &mut tx,
        &scope(),
        &vpc.vpc_id,
        VpcAttribute::DnsHostnames(true),
    )
    .unwrap();
    let vpc = Vpc::clone(vpcs::get(tx.snapshot(), &scope(), &vpc.vpc_id).unwrap());
    let subnet = subnet(&mut tx, &vpc, "10.0.0.0/28");
    Stage { tx, vpc, subnet }
}

impl Stage {
    fn other_zone(&mut self) -> Subnet {
        let mut other = subnet(&mut self.tx, &self.vpc, "10.0.1.0/24");
        other.zone = "us-east-1b".to_owned();
        self.tx.put(other.clone());
        other
    }

    fn table(&mut self) -> RouteTableId {
        let table =
            route_tables::create(&mut self.tx, &scope(), &self.vpc.vpc_id, Tags::new(), None);
        table.unwrap().route_table_id
    }

    fn interface(&self, service: &str, subnets: &[&Subnet]) -> NewEndpoint {
        let subnets = subnets.iter().map(|subnet| EndpointSubnet {
            subnet_id: subnet.subnet_id.clone(),
            private_ip: None,
            ipv6: None,
        });
        self.endpoint(
            service,
            NewKind::Interface {
                subnets: subnets.collect(),
                group_ids: Vec::new(),
                private_dns: PrivateDns::default(),
                ip_address_type: None,
            },
        )
    }

    fn gateway(&self, service: &str, route_table_ids: Vec<RouteTableId>) -> NewEndpoint {
        self.endpoint(service, NewKind::Gateway { route_table_ids })
    }

    fn endpoint(&self, service: &str, kind: NewKind) -> NewEndpoint {
        NewEndpoint {
            vpc_id: self.vpc.vpc_id.clone(),
            service_name: service.to_owned(),
            kind,
            policy_document: None,
            client_token: None,
            tags: Tags::new(),
        }
    }

    fn create(&mut self, new: NewEndpoint) -> Result<VpcEndpoint, &'static str> {
        let before = self.tx.snapshot().keys();
        let made = create(&mut self.tx, &scope(), new).map_err(|refusal| refusal.code());
        if made.is_err() {
            assert_eq!(
                self.tx.snapshot().keys(),
                before,
                "a refusal changes nothing"
            );
        }
        made
    }

    fn modify(&mut self, id: &VpcEndpointId, change: EndpointChange) -> Result<(), &'static str> {
        modify(&mut self.tx, &scope(), id, change).map_err(|refusal| refusal.code())
    }

    fn row(&self, id: &VpcEndpointId) -> VpcEndpoint {
        VpcEndpoint::clone(get(self.tx.snapshot(), &scope(), id).unwrap())
    }
}

fn private_dns(
    new: &mut NewEndpoint,
    enabled: Option<bool>,
    only_for_inbound_resolver: Option<bool>,
) {
    if let NewKind::Interface { private_dns, .. } = &mut new.kind {
        *private_dns = PrivateDns {
            enabled,
            only_for_inbound_resolver,
        };
    }
}

/// Subnets, interfaces and groups.
fn parts(row: &VpcEndpoint) -> (Vec<SubnetId>, Vec<EniId>, Vec<SecurityGroupId>) {
    match &row.kind {
        VpcEndpointKind::Interface {
            subnet_ids,
            eni_ids,
            group_ids,
            ..
        } => (subnet_ids.clone(), eni_ids.clone(), group_ids.clone()),
        VpcEndpointKind::Gateway { .. } => panic!("it is an interface endpoint"),
    }
}

#[test]
fn an_interface_endpoint_has_a_managed_interface_in_each_subnet() {
    let mut stage = stage();
    let other = stage.other_zone();
    let new = stage.interface(LOGS, &[&stage.subnet, &other]);
    let row = stage.create(new).unwrap();
    assert_eq!(row.state, VpcEndpointState::Pending);
    let (subnets, enis, groups) = parts(&row);
    assert_eq!(
        subnets,
        [stage.subnet.subnet_id.clone(), other.subnet_id.clone()]
    );
    let default =
        security_groups::default_of(stage.tx.snapshot(), &scope(), &stage.vpc.vpc_id).unwrap();
    assert_eq!(groups, std::slice::from_ref(&default.group_id));
    for (eni_id, subnet) in enis.iter().zip(subnets) {
        let eni = enis::get(stage.tx.snapshot(), &scope(), eni_id).unwrap();
        assert_eq!(eni.subnet_id, subnet);
        assert_eq!(
            eni.description,
            format!("VPC Endpoint Interface {}", row.vpc_endpoint_id)
        );
        assert_eq!(
            eni.owner,
            EniOwner::VpcEndpoint(row.vpc_endpoint_id.clone())
        );
        assert_eq!(eni.host.as_deref(), Some("host-1"));
        assert!(eni.source_dest_check && eni.attachment_id.is_some() && eni.groups == groups);
    }
    delete(&mut stage.tx, &scope(), &row.vpc_endpoint_id).unwrap();
    assert!(stage.tx.snapshot().enis.is_empty());
    assert_eq!(
        stage.row(&row.vpc_endpoint_id).state,
        VpcEndpointState::Deleting
    );
    delete(&mut stage.tx, &scope(), &row.vpc_endpoint_id).unwrap();
}

#[test]
fn a_zone_has_one_subnet_of_an_endpoint() {
    let mut stage = stage();
    let same = subnet(&mut stage.tx, &stage.vpc, "10.0.2.0/24");
    let new = stage.interface(LOGS, &[&stage.subnet, &same]);
    assert_eq!(stage.create(new), Err("DuplicateSubnetsInSameZone"));
    let new = stage.interface(LOGS, &[&stage.subnet]);
    let id = stage.create(new).unwrap().vpc_endpoint_id;
    let add = vec![EndpointSubnet {
        subnet_id: same.subnet_id.clone(),
        private_ip: None,
        ipv6: None,
    }];
    let change = EndpointChange {
        add_subnets: add.clone(),
        ..EndpointChange::default()
    };
    assert_eq!(
        stage.modify(&id, change.clone()),
        Err("DuplicateSubnetsInSameZone")
    );
    let swap = EndpointChange {
        remove_subnets: vec![stage.subnet.subnet_id.clone()],
        ..change
    };
    stage.modify(&id, swap).unwrap();
    assert_eq!(parts(&stage.row(&id)).0, [same.subnet_id]);
    assert_eq!(stage.tx.snapshot().enis.len(), 1);
}

#[test]
fn the_service_and_its_kind_must_be_offered() {
    let mut stage = stage();
    for name in [
        "com.amazonaws.us-east-1.mars",
        "com.amazonaws.eu-west-1.logs",
        "",
    ] {
        let new = stage.interface(name, &[]);
        assert_eq!(stage.create(new), Err("InvalidServiceName"), "{name}");
    }
    let new = stage.gateway(LOGS, Vec::new());
    let refusal = create(&mut stage.tx, &scope(), new).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.to_string().as_str()),
        (
            "InvalidParameter",
            "Endpoint type (Gateway) does not match available service types ([Interface])."
        )
    );
    let new = stage.interface("com.amazonaws.us-east-1.dynamodb", &[]);
    assert_eq!(stage.create(new), Err("InvalidParameter"));
    let mut new = stage.gateway(S3, Vec::new());
    new.vpc_id = VpcId::from_bits(1);
    assert_eq!(stage.create(new), Err("InvalidVpcID.NotFound"));
}

#[test]
fn private_dns_needs_both_attributes_and_names_that_nobody_has() {
    let mut stage = stage();
    let new = stage.interface(LOGS, &[]);
    let first = stage.create(new.clone()).unwrap().vpc_endpoint_id;
    assert_eq!(
        stage.create(new.clone()),
        Err("InvalidParameter"),
        "the names are taken"
    );
    let mut without = new.clone();
    private_dns(&mut without, Some(false), None);
    let second = stage.create(without).unwrap().vpc_endpoint_id;
    let on = PrivateDns {
        enabled: Some(true),
        only_for_inbound_resolver: None,
    };
    let on = EndpointChange {
        private_dns: on,
        ..EndpointChange::default()
    };
    assert_eq!(stage.modify(&second, on.clone()), Err("InvalidParameter"));
    delete(&mut stage.tx, &scope(), &first).unwrap();
    stage.modify(&second, on).unwrap();
    let attribute = VpcAttribute::DnsHostnames(false);
    vpcs::modify(&mut stage.tx, &scope(), &stage.vpc.vpc_id, attribute).unwrap();
    let new = stage.interface("com.amazonaws.us-east-1.sts", &[]);
    assert_eq!(stage.create(new), Err("InvalidParameter"));
}

#[test]
fn private_names_of_s3_are_kept_for_the_gateway_unless_asked_for() {
    let mut stage = stage();
    let mut new = stage.interface(S3, &[]);
    let row = stage.create(new.clone()).unwrap();
    assert!(matches!(
        row.kind,
        VpcEndpointKind::Interface {
            private_dns_enabled: false,
            ..
        }
    ));
    private_dns(&mut new, Some(true), None);
    let refusal = create(&mut stage.tx, &scope(), new.clone()).unwrap_err();
    assert!(
        refusal.to_string().contains("must have a Gateway endpoint"),
        "{refusal}"
    );
    private_dns(&mut new, Some(true), Some(false));
    let row = stage.create(new).unwrap();
    assert!(matches!(
        row.kind,
        VpcEndpointKind::Interface {
            private_dns_enabled: true,
            ..
        }
    ));
}

#[test]
fn a_gateway_endpoint_writes_one_route_into_each_table() {
    let mut stage = stage();
    let (one, other) = (stage.table(), stage.table());
    let new = stage.gateway(S3, vec![one.clone(), one.clone()]);
    let row = stage.create(new.clone()).unwrap();
    assert_eq!(row.state, VpcEndpointState::Available);
    let routes = |stage: &Stage, id: &RouteTableId| {
        let table = route_tables::get(stage.tx.snapshot(), &scope(), id).unwrap();
        stage.tx.snapshot().routes_of(table).len()
    };
    assert_eq!((routes(&stage, &one), routes(&stage, &other)), (1, 0));
    assert_eq!(stage.create(new), Err("RouteAlreadyExists"));
    let id = row.vpc_endpoint_id;
    let swap = EndpointChange {
        add_route_tables: vec![other.clone()],
        remove_route_tables: vec![one.clone()],
        ..EndpointChange::default()
    };
    stage.modify(&id, swap.clone()).unwrap();
    assert_eq!((routes(&stage, &one), routes(&stage, &other)), (0, 1));
    assert_eq!(
        stage.modify(&id, swap),
        Err("InvalidParameter"),
        "it is not in that table"
    );
    delete(&mut stage.tx, &scope(), &id).unwrap();
    assert_eq!(routes(&stage, &other), 0);
    let refusal = delete(&mut stage.tx, &scope(), &id).unwrap_err();
    assert_eq!(refusal.code(), "InvalidVpcEndpointId.NotFound");
}

#[test]
fn tables_subnets_and_groups_are_the_vpcs() {
    let mut stage = stage();
    let foreign = vpcs::create(&mut stage.tx, &scope(), new_vpc("10.1.0.0/16")).unwrap();
    let foreign_subnet = subnet(&mut stage.tx, &foreign, "10.1.0.0/24");
    let foreign_group = group(&mut stage.tx, &foreign, "foreign").group_id;
    let table =
        route_tables::create(&mut stage.tx, &scope(), &foreign.vpc_id, Tags::new(), None).unwrap();
    let new = stage.gateway(S3, vec![table.route_table_id]);
    assert_eq!(stage.create(new), Err("InvalidParameter"));
    let new = stage.gateway(S3, vec![RouteTableId::from_bits(1)]);
    assert_eq!(stage.create(new), Err("InvalidRouteTableId.NotFound"));
    let new = stage.interface(LOGS, &[&foreign_subnet]);
    assert_eq!(stage.create(new), Err("InvalidParameter"));
    let mut unknown = stage.subnet.clone();
    unknown.subnet_id = SubnetId::from_bits(1);
    let new = stage.interface(LOGS, &[&unknown]);
    assert_eq!(stage.create(new), Err("InvalidSubnetId.NotFound"));
    let mut new = stage.interface(LOGS, &[]);
    if let NewKind::Interface { group_ids, .. } = &mut new.kind {
        group_ids.push(foreign_group);
    }
    assert_eq!(stage.create(new), Err("InvalidParameter"));
}

#[test]
fn dual_stack_needs_ipv6_in_every_subnet_and_can_be_changed() {
    let mut stage = stage();
    let new = |stage: &Stage, subnets: &[&Subnet], family: &str| {
        let mut new = stage.interface(LOGS, subnets);
        if let NewKind::Interface {
            ip_address_type, ..
        } = &mut new.kind
        {
            *ip_address_type = Some(family.to_owned());
        }
        new
    };
    let dual = new(&stage, &[&stage.subnet], "dualstack");
    assert_eq!(stage.create(dual.clone()), Err("InvalidParameter"));
    let mut with = stage.subnet.clone();
    with.ipv6_cidr_associations.push(SubnetIpv6CidrAssociation {
        association_id: SubnetCidrAssociationId::from_bits(1),
        cidr_block: "2001:2:0:100::/64".parse().unwrap(),
        state: CidrState::Associated,
    });
    stage.tx.put(with);
    let id = stage.create(dual).unwrap().vpc_endpoint_id;
    let addresses = |stage: &Stage| {
        let eni = parts(&stage.row(&id)).1.remove(0);
        let eni = enis::get(stage.tx.snapshot(), &scope(), &eni).unwrap();
        eni.ipv6_addresses.len()
    };
    assert_eq!(addresses(&stage), 1);
    for (family, count) in [("ipv4", 0), ("dualstack", 1)] {
        let change = EndpointChange {
            ip_address_type: Some(family.to_owned()),
            ..EndpointChange::default()
        };
        stage.modify(&id, change).unwrap();
        assert_eq!(addresses(&stage), count);
    }
    let only = new(&stage, &[&stage.subnet], "ipv6");
    assert_eq!(stage.create(only), Err("InvalidParameter"));
}

#[test]
fn a_full_subnet_leaves_no_half_made_endpoint() {
    let mut stage = stage();
    let other = stage.other_zone();
    for _ in 0..11 {
        interface(&mut stage.tx, &stage.subnet);
    }
    let new = stage.interface(LOGS, &[&other, &stage.subnet]);
    assert_eq!(stage.create(new), Err("InsufficientFreeAddressesInSubnet"));
}

#[test]
fn groups_change_on_every_interface_and_never_all_go() {
    let mut stage = stage();
    let new = stage.interface(LOGS, &[&stage.subnet]);
    let row = stage.create(new).unwrap();
    let (id, default) = (row.vpc_endpoint_id.clone(), parts(&row).2);
    let web = group(&mut stage.tx, &stage.vpc, "web").group_id;
    let none = EndpointChange {
        remove_groups: default.clone(),
        ..EndpointChange::default()
    };
    assert_eq!(stage.modify(&id, none.clone()), Err("InvalidParameter"));
    stage
        .modify(
            &id,
            EndpointChange {
                add_groups: vec![web.clone()],
                ..none
            },
        )
        .unwrap();
    let (_, enis, groups) = parts(&stage.row(&id));
    assert_eq!(groups, std::slice::from_ref(&web));
    assert_eq!(
        enis::get(stage.tx.snapshot(), &scope(), &enis[0])
            .unwrap()
            .groups,
        groups
    );
    assert!(uses_group(stage.tx.snapshot(), &scope(), &web));
    let foreign = EndpointChange {
        remove_groups: default,
        ..EndpointChange::default()
    };
    assert_eq!(
        stage.modify(&id, foreign),
        Err("InvalidParameter"),
        "it is not in that group"
    );
}

#[test]
fn a_policy_is_json_and_can_be_reset() {
    let mut stage = stage();
    for bad in [
        "nonsense",
        "[]",
        "{}",
        &format!("{{\"Statement\":\"{}\"}}", "x".repeat(20_480)),
    ] {
        let mut new = stage.gateway(S3, Vec::new());
        new.policy_document = Some((*bad).to_owned());
        assert_eq!(stage.create(new), Err("InvalidPolicyDocument"));
    }
    let own = "{\"Statement\":[]}".to_owned();
    let mut new = stage.gateway(S3, Vec::new());
    new.policy_document = Some(own.clone());
    let id = stage.create(new).unwrap().vpc_endpoint_id;
    assert_eq!(stage.row(&id).policy_document, own);
    stage
        .modify(
            &id,
            EndpointChange {
                reset_policy: true,
                ..EndpointChange::default()
            },
        )
        .unwrap();
    assert_eq!(stage.row(&id).policy_document, DEFAULT_GATEWAY_POLICY);
}

#[test]
fn each_kind_refuses_what_the_other_has() {
    let mut stage = stage();
    let new = stage.gateway(S3, Vec::new());
    let gateway = stage.create(new).unwrap().vpc_endpoint_id;
    let new = stage.interface(LOGS, &[]);
    let interface = stage.create(new).unwrap().vpc_endpoint_id;
    let table = stage.table();
    let tables = EndpointChange {
        add_route_tables: vec![table],
        ..EndpointChange::default()
    };
    let subnets = vec![stage.subnet.subnet_id.clone()];
    let subnets = EndpointChange {
        remove_subnets: subnets,
        ..EndpointChange::default()
    };
    assert_eq!(stage.modify(&interface, tables), Err("InvalidParameter"));
    assert_eq!(stage.modify(&gateway, subnets), Err("InvalidParameter"));
}

#[test]
fn quotas_hold() {
    let mut stage = stage();
    for _ in 0..20 {
        let new = stage.gateway(S3, Vec::new());
        stage.create(new).unwrap();
    }
    let new = stage.gateway(S3, Vec::new());
    assert_eq!(stage.create(new), Err("VpcEndpointLimitExceeded"));
    let mut new = stage.interface(LOGS, &[]);
    private_dns(&mut new, Some(false), None);
    for _ in 0..50 {
        stage.create(new.clone()).unwrap();
    }
    assert_eq!(stage.create(new), Err("VpcEndpointLimitExceeded"));
}

#[test]
fn a_client_token_names_one_endpoint() {
    let mut stage = stage();
    let mut new = stage.interface(LOGS, &[]);
    new.client_token = Some("t".to_owned());
    let first = stage.create(new.clone()).unwrap();
    assert_eq!(stage.create(new.clone()).unwrap(), first);
    new.service_name = S3.to_owned();
    assert_eq!(stage.create(new), Err("IdempotentParameterMismatch"));
}
