//! Whatever is asked in whatever order: nothing panics, and what the module promises stays true.

use super::fixture::{Region, fixed_response, forward};
use super::*;
use crate::model::tx::{Tx, test_config};
use fogbank_types::elb::*;
use fogbank_types::{Snapshot, Tags};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Numbers pick among what is there, so that most commands meet something.
#[derive(Clone, Debug)]
enum Command {
    CreateBalancer(u8, bool),
    DeleteBalancer(usize),
    SetSubnets(usize, usize),
    CreateGroup(u8),
    DeleteGroup(usize),
    CreateListener(usize, u16, Option<usize>),
    ModifyListener(usize, Option<u16>, Option<usize>),
    DeleteListener(usize),
    CreateRule(usize, u32, Option<usize>),
    SetPriorities(usize, usize, u32, u32),
    DeleteRule(usize),
    Register(usize, u8, u16),
    Deregister(usize, u8, u16),
    Wait(i64),
}

fn command() -> impl Strategy<Value = Command> {
    use Command::*;
    let at = 0usize..4;
    let maybe = || proptest::option::of(0usize..4);
    prop_oneof![
        (0u8..3, any::<bool>()).prop_map(|(name, internal)| CreateBalancer(name, internal)),
        at.clone().prop_map(DeleteBalancer),
        (at.clone(), 0usize..3).prop_map(|(at, skip)| SetSubnets(at, skip)),
        (0u8..3).prop_map(CreateGroup),
        at.clone().prop_map(DeleteGroup),
        (at.clone(), 80u16..83, maybe()).prop_map(|(at, port, to)| CreateListener(at, port, to)),
        (at.clone(), proptest::option::of(80u16..83), maybe())
            .prop_map(|(at, port, to)| ModifyListener(at, port, to)),
        at.clone().prop_map(DeleteListener),
        (at.clone(), 0u32..4, maybe()).prop_map(|(at, priority, to)| CreateRule(at, priority, to)),
        (at.clone(), at.clone(), 1u32..4, 1u32..4)
            .prop_map(|(a, b, first, second)| SetPriorities(a, b, first, second)),
        at.clone().prop_map(DeleteRule),
        (at.clone(), 0u8..4, 1u16..3).prop_map(|(at, host, port)| Register(at, host, port)),
        (at, 0u8..4, 1u16..3).prop_map(|(at, host, port)| Deregister(at, host, port)),
        (0i64..400_000).prop_map(Wait),
    ]
}

fn pick<T: fogbank_types::Row>(snapshot: &Snapshot, at: usize, arn: fn(&T) -> &str) -> String {
    let rows: Vec<_> = T::table(snapshot).all().collect();
    let row = rows.get(at % rows.len().max(1));
    row.map_or_else(|| "nothing".to_owned(), |row| arn(row).to_owned())
}

fn run(tx: &mut Tx, region: &Region, command: &Command) -> Result<(), Refusal> {
    let scope = &region.scope;
    let now = tx.snapshot().clone();
    let balancer = |at| pick::<LoadBalancer>(&now, at, |row| &row.arn);
    let group = |at| pick::<TargetGroup>(&now, at, |row| &row.arn);
    let listener = |at| pick::<Listener>(&now, at, |row| &row.arn);
    let rule = |at| pick::<ListenerRule>(&now, at, |row| &row.arn);
    let action = |to: Option<usize>| match to {
        Some(at) => forward(&[(&group(at), 1)]),
        None => fixed_response(200),
    };
    let target = |host: u8, port: u16| [(Ipv4Addr::new(10, 0, host, 9), port)];
    match command.clone() {
        Command::CreateBalancer(name, internal) => {
            let new = region.new_load_balancer(&format!("lb{name}"));
            load_balancers::create(
                tx,
                scope,
                load_balancers::NewLoadBalancer { internal, ..new },
            )
            .map(drop)
        }
        Command::DeleteBalancer(at) => load_balancers::delete(tx, scope, &balancer(at)),
        Command::SetSubnets(at, skip) => {
            let mut ids: Vec<String> = region.subnets.iter().map(ToString::to_string).collect();
            ids.remove(skip);
            load_balancers::set_subnets(tx, scope, &balancer(at), &ids, None).map(drop)
        }
        Command::CreateGroup(name) => {
            let new = target_groups::NewTargetGroup {
                name: format!("g{name}"),
                protocol: Some("HTTP".to_owned()),
                port: Some(80),
                vpc_id: Some(region.vpc_id.to_string()),
                target_type: Some("ip".to_owned()),
                ..Default::default()
            };
            target_groups::create(tx, scope, new).map(drop)
        }
        Command::DeleteGroup(at) => target_groups::delete(tx, scope, &group(at)),
        Command::CreateListener(at, port, to) => {
            let new = listeners::NewListener {
                load_balancer_arn: balancer(at),
                port,
                protocol: "HTTP".to_owned(),
                tls: Default::default(),
                default_actions: vec![action(to)],
                tags: Tags::new(),
            };
            listeners::create(tx, scope, new).map(drop)
        }
        Command::ModifyListener(at, port, to) => {
            let change = listeners::ListenerChange {
                port,
                default_actions: to.map(|to| vec![action(Some(to))]),
                ..Default::default()
            };
            listeners::modify(tx, scope, &listener(at), change).map(drop)
        }
        Command::DeleteListener(at) => listeners::delete(tx, scope, &listener(at)),
        Command::CreateRule(at, priority, to) => {
            let new = rules::NewRule {
                listener_arn: listener(at),
                priority,
                conditions: vec![Condition::PathPattern(vec!["/a".to_owned()])],
                actions: vec![action(to)],
                transforms: Vec::new(),
                tags: Tags::new(),
            };
            rules::create(tx, scope, new).map(drop)
        }
        Command::SetPriorities(a, b, first, second) => {
            rules::set_priorities(tx, scope, &[(rule(a), first), (rule(b), second)]).map(drop)
        }
        Command::DeleteRule(at) => rules::delete(tx, scope, &rule(at)),
        Command::Register(at, host, port) => {
            targets::register(tx, scope, &group(at), &target(host, port))
        }
        Command::Deregister(at, host, port) => {
            targets::deregister(tx, scope, &group(at), &target(host, port))
        }
        Command::Wait(ms) => {
            tx.advance_ms(ms);
            targets::finish_draining(tx);
            Ok(())
        }
    }
}

fn check(snapshot: &Snapshot, region: &Region) {
    let zones: usize = snapshot.load_balancers.all().map(|lb| lb.zones.len()).sum();
    assert_eq!(
        snapshot.enis.len(),
        zones,
        "an interface for each zone and no other"
    );
    for zone in snapshot.load_balancers.all().flat_map(|lb| &lb.zones) {
        assert!(snapshot.enis.contains(&region.scope, &zone.eni_id));
    }
    for (group, users) in usage::index(snapshot, &region.scope) {
        assert!(users.len() <= 1, "one load balancer a group");
        assert!(
            snapshot.target_groups.contains(&region.scope, group),
            "groups in use are there"
        );
    }
    for listener in snapshot.listeners.all() {
        assert!(
            snapshot
                .load_balancers
                .contains(&region.scope, &listener.load_balancer_arn)
        );
        let rules = rules::of_listener(snapshot, &region.scope, &listener.arn);
        assert!(
            rules
                .windows(2)
                .all(|pair| pair[0].priority < pair[1].priority)
        );
    }
    for rule in snapshot.listener_rules.all() {
        assert!(
            snapshot
                .listeners
                .contains(&region.scope, &rule.listener_arn)
        );
    }
    for group in snapshot.target_groups.all() {
        assert_eq!(targets::health(snapshot, group).len(), group.targets.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_commands_in_any_order(commands in proptest::collection::vec(command(), 1..40)) {
        let mut region = Region::new();
        let mut snapshot = region.tx.snapshot().clone();
        for (seed, command) in commands.iter().enumerate() {
            let now = region.tx.now();
            let mut tx = Tx::new(snapshot.clone(), now, seed as u128 * 977 + 3, Arc::new(test_config()));
            // The engine, too, throws away the working copy of a refused command.
            if run(&mut tx, &region, command).is_ok() {
                snapshot = tx.snapshot().clone();
            }
            if let Command::Wait(ms) = command {
                region.tx.advance_ms(*ms);
            }
            check(&snapshot, &region);
        }
    }
}
