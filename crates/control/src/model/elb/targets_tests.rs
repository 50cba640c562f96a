use super::super::fixture::Region;
use super::*;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn named(address: &str, port: Option<u16>, zone: Option<&str>) -> NamedTarget {
    NamedTarget {
        ip: ip(address).into(),
        port,
        zone: zone.map(str::to_owned),
    }
}

fn row(region: &Region, arn: &str) -> TargetGroup {
    TargetGroup::clone(
        region
            .tx
            .snapshot()
            .target_groups
            .get(&region.scope, arn)
            .unwrap(),
    )
}

/// A load balancer in zones a and b that forwards to a group with one target in zone a.
fn serving() -> (Region, LoadBalancer, TargetGroup) {
    let mut region = Region::new();
    let lb = region.load_balancer("api");
    let group = region.target_group("api");
    region.listener_to(&lb.arn, 80, &group.arn);
    let scope = region.scope.clone();
    register(
        &mut region.tx,
        &scope,
        &group.arn,
        &[(ip("10.0.0.9"), 8080)],
    )
    .unwrap();
    let group = row(&region, &group.arn);
    (region, lb, group)
}

#[test]
fn zone_and_port_are_found_out() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let arn = region.target_group("api").arn;
    let targets = [
        named("10.0.0.9", None, None),
        named("10.0.1.9", Some(9000), Some("us-east-1b")),
        named("10.0.1.9", Some(9001), None),
        named("192.168.0.1", None, Some("all")),
    ];
    register_named(&mut region.tx, &scope, &arn, &targets).unwrap();
    let zones: Vec<_> = row(&region, &arn)
        .targets
        .iter()
        .map(|t| (t.port, t.zone.clone()))
        .collect();
    let zone = |letter: &str| Some(format!("us-east-1{letter}"));
    assert_eq!(
        zones,
        [
            (8080, zone("a")),
            (9000, zone("b")),
            (9001, zone("b")),
            (8080, None)
        ]
    );
}

#[test]
fn registering_twice_changes_nothing() {
    let (mut region, _, group) = serving();
    let scope = region.scope.clone();
    region.tx.advance_ms(5);
    register(
        &mut region.tx,
        &scope,
        &group.arn,
        &[(ip("10.0.0.9"), 8080)],
    )
    .unwrap();
    assert_eq!(row(&region, &group.arn), group);
}

#[test]
fn bad_addresses_are_refused_and_none_is_registered() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let group = region.target_group("api");
    for bad in [
        named("8.8.8.8", None, None),
        named("8.8.8.8", None, Some("all")),
        named("127.0.0.1", None, Some("all")),
        named("192.168.0.1", None, None),
        named("10.0.99.9", None, None),
        named("10.0.0.9", None, Some("us-east-1b")),
    ] {
        let targets = [named("10.0.0.8", None, None), bad.clone()];
        assert!(
            register_named(&mut region.tx, &scope, &group.arn, &targets).is_err(),
            "{bad:?}"
        );
        assert!(row(&region, &group.arn).targets.is_empty());
    }
    let gone = arns::target_group(&scope, "gone", "0123456789abcdef");
    let refused = register(&mut region.tx, &scope, &gone, &[(ip("10.0.0.9"), 1)]);
    assert_eq!(refused, Err(Refusal::TargetGroupNotFound));
    assert!(NamedTarget::parse(&group, "i-1", None, None).is_err());
    assert!(NamedTarget::parse(&group, "::1", None, None).is_err());
    let many: Vec<_> = (0..1001).map(|n| (ip("10.0.0.9"), 1 + n)).collect();
    let refused = register(&mut region.tx, &scope, &group.arn, &many);
    assert!(matches!(refused, Err(Refusal::TooManyTargets(_))));
}

#[test]
fn a_deregistered_target_drains_and_then_goes() {
    let (mut region, _, group) = serving();
    let scope = region.scope.clone();
    deregister(
        &mut region.tx,
        &scope,
        &group.arn,
        &[(ip("10.0.0.9"), 8080)],
    )
    .unwrap();
    let report = &health(region.tx.snapshot(), &row(&region, &group.arn))[0];
    assert_eq!(report.state, State::Draining);
    assert_eq!(
        report.reason.as_deref(),
        Some("Target.DeregistrationInProgress")
    );
    region.tx.advance_ms(299_999);
    let due = finish_draining(&mut region.tx).unwrap();
    assert_eq!(due, region.tx.now().plus_ms(1));
    assert_eq!(row(&region, &group.arn).targets.len(), 1);
    region.tx.advance_ms(1);
    assert_eq!(finish_draining(&mut region.tx), None);
    assert!(row(&region, &group.arn).targets.is_empty());
}

#[test]
fn a_draining_target_may_come_back() {
    let (mut region, _, group) = serving();
    let scope = region.scope.clone();
    let target = [(ip("10.0.0.9"), 8080)];
    deregister(&mut region.tx, &scope, &group.arn, &target).unwrap();
    region.tx.advance_ms(1000);
    register(&mut region.tx, &scope, &group.arn, &target).unwrap();
    region.tx.advance_ms(400_000);
    finish_draining(&mut region.tx);
    assert_eq!(row(&region, &group.arn).targets[0].draining_since, None);
}

#[test]
fn nothing_drains_where_nothing_can_come_from() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    let arn = region.target_group("api").arn;
    let target = [(ip("10.0.0.9"), 8080)];
    register(&mut region.tx, &scope, &arn, &target).unwrap();
    assert_eq!(
        health(region.tx.snapshot(), &row(&region, &arn))[0].state,
        State::Unused
    );
    deregister(&mut region.tx, &scope, &arn, &target).unwrap();
    assert!(row(&region, &arn).targets.is_empty());
    deregister(&mut region.tx, &scope, &arn, &target).unwrap();
}

#[test]
fn a_port_left_out_means_the_groups() {
    let (mut region, _, group) = serving();
    let scope = region.scope.clone();
    register(&mut region.tx, &scope, &group.arn, &[(ip("10.0.0.9"), 1)]).unwrap();
    let target = [named("10.0.0.9", None, None)];
    deregister_named(&mut region.tx, &scope, &group.arn, &target).unwrap();
    let draining = |t: &Target| (t.port, t.draining_since.is_some());
    let after: Vec<_> = row(&region, &group.arn)
        .targets
        .iter()
        .map(draining)
        .collect();
    assert_eq!(after, [(8080, true), (1, false)]);
}

#[test]
fn a_load_balancer_is_no_target() {
    let (mut region, lb, group) = serving();
    let scope = region.scope.clone();
    let eni = region
        .tx
        .snapshot()
        .enis
        .get(&scope, &lb.zones[0].eni_id)
        .unwrap();
    let own = [(eni.private_ip, 8080)];
    let refused = register(&mut region.tx, &scope, &group.arn, &own);
    assert!(matches!(refused, Err(Refusal::InvalidTarget(_))));
}

#[test]
fn healthy_needs_every_living_node() {
    let (mut region, lb, group) = serving();
    let (a, b) = (lb.zones[0].eni_id.clone(), lb.zones[1].eni_id.clone());
    let state = |region: &Region| health(region.tx.snapshot(), &group)[0].state;
    assert_eq!(state(&region), State::Initial);
    region.node_serves(&a);
    region.node_serves(&b);
    assert_eq!(state(&region), State::Initial);
    let target = |health| [(ip("10.0.0.9"), 8080, health)];
    region.node_sees(&a, &group.arn, &target(Health::Healthy));
    assert_eq!(
        state(&region),
        State::Initial,
        "b lives and has not checked"
    );
    region.node_sees(&b, &group.arn, &target(Health::Healthy));
    assert_eq!(state(&region), State::Healthy);
    region.node_sees(&b, &group.arn, &target(Health::Unhealthy));
    assert_eq!(state(&region), State::Unhealthy);
    assert_eq!(
        health(region.tx.snapshot(), &group)[0].reason.as_deref(),
        Some("Target.Timeout")
    );
    let scope = region.scope.clone();
    use fogbank_types::status::{LoadBalancerNodeStatus, TargetHealth};
    region.tx.delete::<LoadBalancerNodeStatus>(&scope, &b);
    region
        .tx
        .delete::<TargetHealth>(&scope, format!("{}/{b}", group.arn));
    assert_eq!(state(&region), State::Healthy, "b is gone and has no say");
}

#[test]
fn without_cross_zone_only_the_own_zone_decides() {
    let (mut region, lb, group) = serving();
    let scope = region.scope.clone();
    let change = [(
        "load_balancing.cross_zone.enabled".to_owned(),
        "false".to_owned(),
    )];
    let group =
        target_group_attributes::modify(&mut region.tx, &scope, &group.arn, &change).unwrap();
    let target = |health| [(ip("10.0.0.9"), 8080, health)];
    region.node_sees(&lb.zones[0].eni_id, &group.arn, &target(Health::Healthy));
    region.node_sees(&lb.zones[1].eni_id, &group.arn, &target(Health::Unhealthy));
    assert_eq!(
        health(region.tx.snapshot(), &group)[0].state,
        State::Healthy
    );
}

#[test]
fn a_target_in_a_zone_without_node_is_unused() {
    let (mut region, _, group) = serving();
    let scope = region.scope.clone();
    register(
        &mut region.tx,
        &scope,
        &group.arn,
        &[(ip("10.0.2.9"), 8080)],
    )
    .unwrap();
    let report = &health(region.tx.snapshot(), &row(&region, &group.arn))[1];
    assert_eq!(
        (report.state, report.reason.as_deref()),
        (State::Unused, Some("Target.NotInUse"))
    );
}

#[test]
fn a_group_of_ipv6_takes_addresses_of_its_vpc() {
    let mut region = Region::new();
    let scope = region.scope.clone();
    region.add_ipv6();
    let group =
        region.target_group_with("six", |new| new.ip_address_type = Some("ipv6".to_owned()));
    let parse = |id: &str| NamedTarget::parse(&group, id, None, None);
    assert!(parse("10.0.0.9").is_err());
    let inside = parse("2001:db8:1:1::9").unwrap();
    register_named(&mut region.tx, &scope, &group.arn, &[inside]).unwrap();
    assert_eq!(
        row(&region, &group.arn).targets[0].zone.as_deref(),
        Some("us-east-1b")
    );
    for outside in ["2001:db8:2::9", "fd00::1", "2001:db8:1:ff::1"] {
        let named = NamedTarget {
            zone: Some("all".to_owned()),
            ..parse(outside).unwrap()
        };
        assert!(
            register_named(&mut region.tx, &scope, &group.arn, &[named]).is_err(),
            "{outside}"
        );
    }
}
