use super::super::fixture::{Region, put_gateway, put_group, put_subnet, put_vpc};
use super::*;
use fogbank_types::ec2::InternetGateway;

fn create_from(region: &mut Region, new: NewLoadBalancer) -> Result<LoadBalancer, Refusal> {
    let scope = region.scope.clone();
    create(&mut region.tx, &scope, new)
}

#[test]
fn a_node_stands_in_each_zone() {
    let mut region = Region::new();
    let lb = region.load_balancer("Api");
    assert_eq!(lb.state, LoadBalancerState::Provisioning);
    assert_eq!(lb.canonical_hosted_zone_id, "Z35SXDOTRQ7X7K");
    assert!(lb.dns_name.starts_with("api-"));
    assert!(lb.dns_name.ends_with(".us-east-1.elb.amazonaws.com"));
    assert_eq!(lb.groups, [region.group.clone()], "the VPC's default group");
    let zones: Vec<_> = lb.zones.iter().map(|z| z.zone.as_str()).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    for zone in &lb.zones {
        let eni = region
            .tx
            .snapshot()
            .enis
            .get(&region.scope, &zone.eni_id)
            .unwrap();
        assert_eq!(eni.owner, EniOwner::LoadBalancer(lb.arn.clone()));
        assert_eq!(eni.description, format!("ELB app/Api/{}", lb.tail));
        assert_eq!(eni.host.as_deref(), Some("host-1"));
        assert!(eni.auto_public_ip.is_some());
    }
}

#[test]
fn an_internal_one_has_no_public_address_and_needs_no_gateway() {
    let mut region = Region::new();
    let gateways: Vec<InternetGateway> = region
        .tx
        .snapshot()
        .internet_gateways
        .all()
        .map(|g| InternetGateway::clone(g))
        .collect();
    for gateway in gateways {
        let scope = region.scope.clone();
        region
            .tx
            .delete::<InternetGateway>(&scope, &gateway.internet_gateway_id);
    }
    let mut new = region.new_load_balancer("api");
    let refused = create_from(&mut region, new.clone()).unwrap_err();
    assert!(matches!(refused, Refusal::InvalidSubnet(_)), "{refused}");
    new.internal = true;
    let lb = create_from(&mut region, new).unwrap();
    assert!(lb.dns_name.starts_with("internal-api-"));
    let eni = region
        .tx
        .snapshot()
        .enis
        .get(&region.scope, &lb.zones[0].eni_id)
        .unwrap();
    assert_eq!(eni.auto_public_ip, None);
}

#[test]
fn the_same_twice_is_one_and_another_of_that_name_is_refused() {
    let mut region = Region::new();
    let first = region.load_balancer("api");
    let again = region.new_load_balancer("api");
    assert_eq!(create_from(&mut region, again.clone()), Ok(first));
    let internal = NewLoadBalancer {
        internal: true,
        ..again
    };
    let refused = create_from(&mut region, internal);
    assert_eq!(
        refused,
        Err(Refusal::DuplicateLoadBalancerName("api".to_owned()))
    );
    assert_eq!(region.tx.snapshot().load_balancers.len(), 1);
}

#[test]
fn bad_names_are_refused() {
    let mut region = Region::new();
    for name in [
        "",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "internal-a",
        "ä",
        &"a".repeat(33),
    ] {
        let new = region.new_load_balancer(name);
        let refused = create_from(&mut region, new);
        assert!(matches!(refused, Err(Refusal::Validation(_))), "{name}");
    }
}

#[test]
fn bad_places_are_refused() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let other_vpc = put_vpc(&mut region.tx, &scope, "10.9.0.0/16");
    put_gateway(&mut region.tx, &scope, &other_vpc);
    let elsewhere = put_subnet(&mut region.tx, &scope, &other_vpc, "10.9.0.0/24", "b");
    let foreign_group = put_group(&mut region.tx, &scope, &other_vpc, "web");
    let vpc_id = region.vpc_id.clone();
    let same_zone = put_subnet(&mut region.tx, &scope, &vpc_id, "10.0.9.0/24", "a");
    let small = put_subnet(&mut region.tx, &scope, &vpc_id, "10.0.10.0/28", "b");
    let good = region.new_load_balancer("api");
    let a = good.subnets[0].clone();
    let with = |ids: &[&str]| NewLoadBalancer {
        subnets: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..good.clone()
    };
    let cases = [
        (with(&[]), "ValidationError"),
        (with(&[&a]), "ValidationError"),
        (with(&[&a, &a]), "ValidationError"),
        (with(&[&a, "subnet-00000000"]), "SubnetNotFound"),
        (with(&[&a, "nonsense"]), "SubnetNotFound"),
        (
            with(&[&a, same_zone.as_str()]),
            "InvalidConfigurationRequest",
        ),
        (
            with(&[&a, elsewhere.as_str()]),
            "InvalidConfigurationRequest",
        ),
        (with(&[&a, small.as_str()]), "InvalidSubnet"),
        (
            NewLoadBalancer {
                groups: vec![foreign_group.to_string()],
                ..good.clone()
            },
            "InvalidSecurityGroup",
        ),
        (
            NewLoadBalancer {
                groups: vec!["x".to_owned()],
                ..good.clone()
            },
            "InvalidSecurityGroup",
        ),
    ];
    for (new, code) in cases {
        use crate::model::Refused;
        let refused = create_from(&mut region, new.clone()).unwrap_err();
        assert_eq!(refused.code(), code, "{new:?}: {refused}");
        assert!(region.tx.snapshot().enis.is_empty());
    }
    let vpc_id = region.vpc_id.clone();
    let six: Vec<String> = (0..6)
        .map(|n| put_group(&mut region.tx, &scope, &vpc_id, &format!("g{n}")).to_string())
        .collect();
    let refused = create_from(
        &mut region,
        NewLoadBalancer {
            groups: six,
            ..good
        },
    );
    assert!(matches!(
        refused,
        Err(Refusal::InvalidConfigurationRequest(_))
    ));
}

#[test]
fn it_is_active_when_all_its_nodes_serve() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api");
    let state = |tx: &Tx| {
        tx.snapshot()
            .load_balancers
            .get(&scope, &lb.arn)
            .unwrap()
            .state
    };
    region.node_serves(&lb.zones[0].eni_id);
    activate_ready(&mut region.tx);
    assert_eq!(state(&region.tx), LoadBalancerState::Provisioning);
    region.node_serves(&lb.zones[1].eni_id);
    activate_ready(&mut region.tx);
    assert_eq!(state(&region.tx), LoadBalancerState::Active);
}

#[test]
fn set_subnets_keeps_the_nodes_that_stay() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api");
    let ids: Vec<_> = region.subnets[1..]
        .iter()
        .map(ToString::to_string)
        .collect();
    let after = set_subnets(&mut region.tx, &scope, &lb.arn, &ids, None).unwrap();
    assert_eq!(after.zones[0], lb.zones[1]);
    assert_eq!(after.zones[1].zone, "us-east-1c");
    assert!(
        !region
            .tx
            .snapshot()
            .enis
            .contains(&scope, &lb.zones[0].eni_id)
    );
    assert_eq!(region.tx.snapshot().enis.len(), 2);
    assert!(set_subnets(&mut region.tx, &scope, &lb.arn, &ids[..1], None).is_err());
}

#[test]
fn set_security_groups_reaches_the_interfaces() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api");
    let vpc_id = region.vpc_id.clone();
    let web = put_group(&mut region.tx, &scope, &vpc_id, "web");
    set_security_groups(&mut region.tx, &scope, &lb.arn, &[web.to_string()]).unwrap();
    for eni in region.tx.snapshot().enis.in_scope(&scope) {
        assert_eq!(eni.groups, std::slice::from_ref(&web));
    }
    assert!(set_security_groups(&mut region.tx, &scope, &lb.arn, &[]).is_err());
}

#[test]
fn delete_takes_all_but_the_target_groups() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let lb = region.load_balancer("api");
    let group = region.target_group("api");
    let listener = region.listener_to(&lb.arn, 80, &group.arn);
    region.rule(&listener.arn, 1);
    let key = "deletion_protection.enabled".to_owned();
    let protect = |tx: &mut Tx, on: &str| {
        let change = [(key.clone(), on.to_owned())];
        load_balancer_attributes::modify(tx, &scope, &lb.arn, &change).unwrap();
    };
    protect(&mut region.tx, "true");
    let refused = delete(&mut region.tx, &scope, &lb.arn);
    assert!(matches!(refused, Err(Refusal::OperationNotPermitted(_))));
    protect(&mut region.tx, "false");
    delete(&mut region.tx, &scope, &lb.arn).unwrap();
    let snapshot = region.tx.snapshot();
    assert!(snapshot.load_balancers.is_empty() && snapshot.listeners.is_empty());
    assert!(snapshot.listener_rules.is_empty() && snapshot.enis.is_empty());
    assert_eq!(snapshot.target_groups.len(), 1);
    delete(&mut region.tx, &scope, &lb.arn).unwrap();
    assert!(delete(&mut region.tx, &scope, "nonsense").is_err());
}

#[test]
fn dualstack_nodes_have_both_addresses_and_lose_them_again() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let dualstack = NewLoadBalancer {
        ip_address_type: AddressType::Dualstack,
        ..region.new_load_balancer("six")
    };
    let refused = create_from(&mut region, dualstack.clone());
    assert!(
        matches!(refused, Err(Refusal::Validation(_))),
        "no IPv6 in the subnets"
    );
    region.add_ipv6();
    let lb = create_from(&mut region, dualstack).unwrap();
    assert_eq!(lb.ip_address_type, "dualstack");
    let addresses = |region: &Region| {
        let eni = region
            .tx
            .snapshot()
            .enis
            .get(&scope, &lb.zones[0].eni_id)
            .unwrap();
        (eni.ipv6_addresses.len(), eni.auto_public_ip.is_some())
    };
    assert_eq!(addresses(&region), (1, true));
    for (kind, expected) in [
        (AddressType::DualstackWithoutPublicIpv4, (1, false)),
        (AddressType::Ipv4, (0, true)),
        (AddressType::Dualstack, (1, true)),
        (AddressType::Dualstack, (1, true)),
    ] {
        let row = set_ip_address_type(&mut region.tx, &scope, &lb.arn, kind).unwrap();
        assert_eq!(row.ip_address_type, kind.as_str());
        assert_eq!(addresses(&region), expected, "{kind:?}");
    }
    let group =
        region.target_group_with("six", |new| new.ip_address_type = Some("ipv6".to_owned()));
    region.listener_to(&lb.arn, 80, &group.arn);
    let refused = set_ip_address_type(&mut region.tx, &scope, &lb.arn, AddressType::Ipv4);
    assert!(matches!(
        refused,
        Err(Refusal::InvalidConfigurationRequest(_))
    ));
    let internal = NewLoadBalancer {
        internal: true,
        ip_address_type: AddressType::DualstackWithoutPublicIpv4,
        ..region.new_load_balancer("in")
    };
    assert!(create_from(&mut region, internal).is_err());
}
