//! Routing policies: rule by rule, and random zones against a naive evaluator that is written from AWS's prose on
//! plain rows. Shares are compared exactly: every throw of the dice is tried, with its probability.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use fogbank_types::Timestamp;
use fogbank_types::route53::*;
use fogbank_types::status::Health;
use proptest::prelude::*;

use super::fixture::*;
use crate::dns::{Answer, Asker, Kind, Subnet, Tables, View};

const BALANCER: &str = "web-1234.us-east-1.elb.amazonaws.com";

fn row(name: &str, id: &str, routing: Routing) -> RecordSet {
    RecordSet {
        scope: scope().global(),
        zone_id: "Z1".to_owned(),
        name: format!("{name}.example.test."),
        record_type: "A".to_owned(),
        set_identifier: Some(id.to_owned()),
        ttl: Some(60),
        values: vec![format!("192.0.2.{id}")],
        alias: None,
        routing,
        health_check_id: None,
    }
}

fn aliased(row: RecordSet, target: &str, evaluate: bool) -> RecordSet {
    RecordSet {
        ttl: None,
        values: Vec::new(),
        alias: Some(AliasTarget {
            hosted_zone_id: "Z1".to_owned(),
            dns_name: format!("{target}."),
            evaluate_target_health: evaluate,
        }),
        ..row
    }
}

fn checked(row: RecordSet, check: &str) -> RecordSet {
    RecordSet {
        health_check_id: Some(check.to_owned()),
        ..row
    }
}

fn check(region: &mut Region, id: &str, healthy: Option<bool>, inverted: bool) {
    region.put(HealthCheck {
        scope: scope().global(),
        id: id.to_owned(),
        caller_reference: id.to_owned(),
        version: 1,
        config: HealthCheckConfig {
            target: HealthCheckTarget::Calculated {
                children: Vec::new(),
                threshold: 0,
            },
            inverted,
            disabled: false,
        },
        created_at: Timestamp(0),
        tags: Default::default(),
    });
    if let Some(healthy) = healthy {
        region.put(HealthCheckStatus {
            scope: scope().global(),
            health_check_id: id.to_owned(),
            version: 1,
            healthy,
            observations: Vec::new(),
        });
    }
}

fn world(rows: Vec<RecordSet>, sick: &[&str]) -> Region {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    rows.into_iter().for_each(|row| region.put(row));
    for id in sick {
        check(&mut region, id, Some(false), false);
    }
    region
}

/// What is answered, and with which probability: all throws are tried.
fn shares(tables: &Tables, view: &View, subnet: Option<Subnet>) -> BTreeMap<Vec<String>, f64> {
    let mut all = BTreeMap::new();
    let mut path: Vec<(u64, u64)> = Vec::new();
    loop {
        let thrown = RefCell::new((0, std::mem::take(&mut path)));
        let dice = |below: u64| {
            let mut thrown = thrown.borrow_mut();
            let at = thrown.0;
            thrown.0 += 1;
            if thrown.1.len() <= at {
                thrown.1.push((0, below));
            }
            thrown.1[at].0
        };
        let asker = Asker::new(Some(HERE), subnet, &dice);
        let answer = tables.answer_to(&asker, view, &name("www.example.test"), Kind::A);
        path = thrown.into_inner().1;
        let chance: f64 = path.iter().map(|(_, below)| 1.0 / *below as f64).product();
        *all.entry(addresses(&answer)).or_default() += chance;
        while let Some((n, below)) = path.pop() {
            if n + 1 < below {
                path.push((n + 1, below));
                break;
            }
        }
        if path.is_empty() {
            return all;
        }
    }
}

#[track_caller]
fn is(region: &Region, expected: &[(&str, f64)]) {
    is_to(region, &View::Public, None, expected);
}

#[track_caller]
fn is_to(region: &Region, view: &View, subnet: Option<&str>, expected: &[(&str, f64)]) {
    let found = shares(&region.tables(), view, subnet.map(subnet_of));
    let expected: BTreeMap<Vec<String>, f64> = expected
        .iter()
        .map(|(last, share)| {
            let values = last.split_whitespace().map(|l| format!("192.0.2.{l}"));
            (values.collect(), *share)
        })
        .collect();
    assert!(same(&found, &expected), "{found:?}, not {expected:?}");
}

fn same<K: Ord>(a: &BTreeMap<K, f64>, b: &BTreeMap<K, f64>) -> bool {
    a.keys().eq(b.keys())
        && a.values()
            .zip(b.values())
            .all(|(a, b)| (a - b).abs() < 1e-9)
}

fn subnet_of(text: &str) -> Subnet {
    let (address, bits) = text.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    Subnet {
        family: if address.is_ipv4() { 1 } else { 2 },
        address,
        source: bits.parse().unwrap(),
    }
}

fn weighted(weight: u8) -> Routing {
    Routing::Weighted {
        weight,
        healthy: true,
    }
}

fn failover(role: FailoverRole) -> Routing {
    Routing::Failover { role }
}

fn latency(region: &str) -> Routing {
    let region = region.to_owned();
    Routing::Latency { region }
}

fn place(continent: &str, country: &str, subdivision: &str) -> Routing {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Routing::Geolocation(GeoLocation {
        continent: some(continent),
        country: some(country),
        subdivision: some(subdivision),
    })
}

#[test]
fn weights_are_shares_and_zero_is_the_last_resort() {
    let rows = || {
        vec![
            checked(row("www", "1", weighted(1)), "a"),
            checked(row("www", "2", weighted(3)), "b"),
            checked(row("www", "3", weighted(0)), "c"),
        ]
    };
    is(&world(rows(), &[]), &[("1", 0.25), ("2", 0.75)]);
    is(&world(rows(), &["b"]), &[("1", 1.0)]);
    is(&world(rows(), &["a", "b"]), &[("3", 1.0)]);
    is(
        &world(rows(), &["a", "b", "c"]),
        &[("1", 0.25), ("2", 0.75)],
    );
    let none = vec![row("www", "1", weighted(0)), row("www", "2", weighted(0))];
    is(&world(none, &[]), &[("1", 0.5), ("2", 0.5)]);
}

#[test]
fn the_secondary_answers_only_while_the_primary_alone_is_sick() {
    let rows = || {
        vec![
            checked(row("www", "1", failover(FailoverRole::Secondary)), "s"),
            checked(row("www", "2", failover(FailoverRole::Primary)), "p"),
        ]
    };
    is(&world(rows(), &[]), &[("2", 1.0)]);
    is(&world(rows(), &["p"]), &[("1", 1.0)]);
    is(&world(rows(), &["p", "s"]), &[("2", 1.0)]);
}

#[test]
fn the_nearest_healthy_region_answers() {
    let rows = || {
        vec![
            checked(row("www", "1", latency("ap-northeast-1")), "a"),
            checked(row("www", "2", latency("eu-west-1")), "b"),
            checked(row("www", "3", latency("us-west-2")), "c"),
        ]
    };
    // Of whom nothing is known counts as in us-east-1.
    is(&world(rows(), &[]), &[("3", 1.0)]);
    is(&world(rows(), &["c"]), &[("2", 1.0)]);
    is(&world(rows(), &["b", "c"]), &[("1", 1.0)]);
    is(&world(rows(), &["a", "b", "c"]), &[("3", 1.0)]);
}

#[test]
fn inside_a_vpc_the_place_is_its_regions() {
    let mut rows = vec![
        checked(row("www", "1", place("", "US", "VA")), "s"),
        row("www", "2", place("", "US", "")),
        row("www", "3", place("EU", "", "")),
        row("www", "4", place("", "*", "")),
    ];
    let view = inside(1);
    is_to(&world(rows.clone(), &[]), &view, None, &[("1", 1.0)]);
    is_to(&world(rows.clone(), &["s"]), &view, None, &[("2", 1.0)]);
    // Nobody knows where that one is.
    is(&world(rows.clone(), &[]), &[("4", 1.0)]);
    rows.pop();
    is(&world(rows, &[]), &[("", 1.0)]);
}

#[test]
fn a_bias_makes_a_place_near() {
    let proximity = |region: &str, bias| {
        let place = GeoPlace::Region(region.to_owned());
        Routing::Geoproximity(GeoProximity { place, bias })
    };
    let rows = |bias| {
        vec![
            row("www", "1", proximity("us-west-2", 0)),
            row("www", "2", proximity("eu-west-1", bias)),
        ]
    };
    is(&world(rows(0), &[]), &[("1", 1.0)]);
    is(&world(rows(50), &[]), &[("2", 1.0)]);
}

fn by_block() -> Region {
    let cidr = |location: &str| Routing::Cidr {
        collection_id: "c-1".to_owned(),
        location: location.to_owned(),
    };
    let rows = vec![
        checked(row("www", "1", cidr("small")), "s"),
        row("www", "2", cidr("large")),
        row("www", "3", cidr("*")),
    ];
    let mut region = world(rows, &[]);
    let blocks = |all: &[&str]| all.iter().map(|b| (*b).to_owned()).collect();
    region.put(CidrCollection {
        scope: scope().global(),
        id: "c-1".to_owned(),
        name: "c".to_owned(),
        caller_reference: "c".to_owned(),
        version: 1,
        locations: BTreeMap::from([
            ("small".to_owned(), blocks(&["203.0.113.0/24"])),
            (
                "large".to_owned(),
                blocks(&["203.0.0.0/16", "2001:db8::/32"]),
            ),
        ]),
    });
    region
}

#[test]
fn the_longest_block_answers_and_the_default_all_others() {
    let mut region = by_block();
    let view = View::Public;
    is_to(&region, &view, Some("203.0.113.7/32"), &[("1", 1.0)]);
    is_to(&region, &view, Some("203.0.9.0/24"), &[("2", 1.0)]);
    // Too little is told of it to be in the small block.
    is_to(&region, &view, Some("203.0.0.0/16"), &[("2", 1.0)]);
    is_to(&region, &view, Some("2001:db8:1::/48"), &[("2", 1.0)]);
    is_to(&region, &view, None, &[("3", 1.0)]);
    check(&mut region, "s", Some(false), false);
    is_to(&region, &view, Some("203.0.113.0/24"), &[("2", 1.0)]);
}

#[test]
fn many_values_are_those_of_healthy_records_or_all() {
    let rows = || {
        let routing = || Routing::Multivalue { healthy: true };
        vec![
            checked(row("www", "1", routing()), "a"),
            checked(row("www", "2", routing()), "b"),
        ]
    };
    is(&world(rows(), &[]), &[("1 2", 1.0)]);
    is(&world(rows(), &["a"]), &[("2", 1.0)]);
    is(&world(rows(), &["a", "b"]), &[("1 2", 1.0)]);
}

#[test]
fn a_check_without_word_is_healthy_or_inverted_sick() {
    let rows = || {
        vec![
            checked(row("www", "1", failover(FailoverRole::Primary)), "p"),
            row("www", "2", failover(FailoverRole::Secondary)),
        ]
    };
    let mut region = world(rows(), &[]);
    check(&mut region, "p", None, false);
    is(&region, &[("1", 1.0)]);
    check(&mut region, "p", None, true);
    is(&region, &[("2", 1.0)]);
}

#[test]
fn a_branch_without_a_healthy_record_is_backed_out_of() {
    let rows = |evaluate| {
        let branch =
            |id, region, target| aliased(row("www", id, latency(region)), target, evaluate);
        vec![
            branch("1", "us-east-1", "east.example.test"),
            branch("2", "eu-west-1", "west.example.test"),
            checked(row("east", "3", weighted(1)), "a"),
            checked(row("east", "4", weighted(1)), "b"),
            checked(row("west", "5", weighted(1)), "c"),
        ]
    };
    is(&world(rows(true), &[]), &[("3", 0.5), ("4", 0.5)]);
    is(&world(rows(true), &["a"]), &[("4", 1.0)]);
    is(&world(rows(true), &["a", "b"]), &[("5", 1.0)]);
    is(
        &world(rows(true), &["a", "b", "c"]),
        &[("3", 0.5), ("4", 0.5)],
    );
    // An alias that does not evaluate is as healthy as can be.
    is(&world(rows(false), &["a", "b"]), &[("3", 0.5), ("4", 0.5)]);
}

#[test]
fn aliases_in_a_circle_end() {
    let own = |id: &str| aliased(row("www", id, weighted(1)), "www.example.test", true);
    let all: Vec<_> = (0..30).map(|n| own(&n.to_string())).collect();
    is(&world(vec![own("1")], &[]), &[("", 1.0)]);
    let answer = world(all, &[]).ask(&View::Public, "www.example.test", Kind::A);
    assert!(answer.answers.is_empty());
}

#[test]
fn a_load_balancer_with_sick_targets_is_failed_over() {
    let primary = row("www", "1", failover(FailoverRole::Primary));
    let mut region = world(
        vec![
            aliased(primary, BALANCER, true),
            row("www", "2", failover(FailoverRole::Secondary)),
        ],
        &[],
    );
    region.eni(1, 1, "10.0.0.1", Some("198.18.0.20"));
    region.balancer(BALANCER, false, &[1]);
    region.target_group("g", BALANCER, "10.0.0.9");
    region.health("g", 1, "10.0.0.9", Health::Healthy);
    let ask = |region: &Region| {
        let answer: Answer = region.ask(&View::Public, "www.example.test", Kind::A);
        addresses(&answer)
    };
    assert_eq!(ask(&region), ["198.18.0.20"]);
    region.health("g", 1, "10.0.0.9", Health::Unhealthy);
    assert_eq!(ask(&region), ["192.0.2.2"]);
}

#[test]
fn only_answers_by_place_hold_for_a_subnet() {
    let mut region = by_block();
    region.record("Z1", "plain.example.test", "A", &["192.0.2.9"]);
    let tables = region.tables();
    let scope = |text: &str| {
        let asker = Asker::new(Some(HERE), Some(subnet_of("203.0.113.7/32")), &|_| 0);
        let answer = tables.answer_to(&asker, &View::Public, &name(text), Kind::A);
        answer.scope
    };
    assert_eq!(scope("www.example.test"), Some(24));
    assert_eq!(scope("plain.example.test"), Some(0));
}

#[test]
fn a_flip_of_health_reaches_tables_that_stand() {
    use crate::dns::mirror::Mirror;
    use fogbank_store::{Batch, Event, Op};

    let mut region = world(
        vec![
            checked(row("www", "1", failover(FailoverRole::Primary)), "p"),
            row("www", "2", failover(FailoverRole::Secondary)),
        ],
        &[],
    );
    check(&mut region, "p", Some(true), false);
    let mut mirror = Mirror::new(config());
    let mut apply = |region: &Region| {
        let events = region.ops().into_iter().map(|op| match op {
            Op::Put { key, value, .. } => Event {
                key,
                value: Some(value),
            },
            Op::Delete { key } => Event { key, value: None },
        });
        let events = events.collect();
        let effect = mirror.apply(
            &Batch {
                revision: 1,
                events,
            },
            "own",
        );
        effect.tables.then(|| mirror.tables())
    };
    let tables = Arc::new(apply(&region).unwrap());
    let ask = || addresses(&tables.answer(&View::Public, &name("www.example.test"), Kind::A));
    assert_eq!(ask(), ["192.0.2.1"]);
    let mut flip = Region::default();
    check(&mut flip, "p", Some(false), false);
    assert!(apply(&flip).is_none(), "no table is made anew");
    assert_eq!(ask(), ["192.0.2.2"]);
}

/// What AWS's page says, without thought of cost. Names are groups; a group is of one policy.
mod naive {
    use super::*;

    pub type Shares = BTreeMap<Vec<String>, f64>;

    pub struct World<'a> {
        pub rows: &'a [RecordSet],
        pub sick: &'a [bool],
    }

    impl World<'_> {
        fn group(&self, name: &str) -> Vec<&RecordSet> {
            self.rows.iter().filter(|row| row.name == name).collect()
        }

        fn healthy(&self, row: &RecordSet) -> bool {
            let own = match &row.health_check_id {
                Some(id) => !self.sick[id.parse::<usize>().unwrap()],
                None => true,
            };
            own && match &row.alias {
                Some(alias) if alias.evaluate_target_health => {
                    let group = self.group(&alias.dns_name);
                    group.iter().any(|row| self.healthy(row))
                }
                _ => true,
            }
        }

        pub fn answer(&self, name: &str) -> Shares {
            let group = self.group(name);
            let mut among: Vec<_> = group.iter().copied().filter(|r| self.healthy(r)).collect();
            if among.is_empty() {
                among = group;
            }
            let mut shares = Shares::new();
            for (row, share) in choose(&among) {
                let told = match &row.alias {
                    Some(alias) => self.answer(&alias.dns_name),
                    None => BTreeMap::from([(row.values.clone(), 1.0)]),
                };
                for (values, part) in told {
                    *shares.entry(values).or_default() += share * part;
                }
            }
            if among.is_empty() {
                shares.insert(Vec::new(), 1.0);
            }
            shares
        }
    }

    fn choose<'a>(among: &[&'a RecordSet]) -> Vec<(&'a RecordSet, f64)> {
        let weight = |row: &RecordSet| match row.routing {
            Routing::Weighted { weight, .. } => f64::from(weight),
            _ => 0.0,
        };
        let Some(first) = among.first() else {
            return Vec::new();
        };
        match first.routing {
            Routing::Weighted { .. } => {
                let sum: f64 = among.iter().map(|row| weight(row)).sum();
                let share = |row| match sum {
                    0.0 => 1.0 / among.len() as f64,
                    sum => weight(row) / sum,
                };
                let all = among.iter().map(|row| (*row, share(row)));
                all.filter(|(_, share)| *share > 0.0).collect()
            }
            Routing::Failover { .. } => {
                let primary = failover(FailoverRole::Primary);
                let found = among.iter().find(|row| row.routing == primary);
                vec![(found.unwrap_or(&among[0]), 1.0)]
            }
            // As from us-east-1.
            _ => {
                let order = ["us-east-2", "eu-west-1", "ap-northeast-1"];
                let found = order
                    .iter()
                    .find_map(|region| among.iter().find(|row| row.routing == latency(region)));
                vec![(found.unwrap(), 1.0)]
            }
        }
    }
}

/// A tree of three levels; a record of one may be an alias of a group of the next.
fn tree() -> impl Strategy<Value = Vec<RecordSet>> {
    let record = (0u8..4, any::<bool>(), any::<bool>(), 0usize..3, 0usize..8);
    let group = (0u8..3, prop::collection::vec(record, 1..4));
    prop::collection::vec(group, 7).prop_map(|groups| {
        const NAMES: [&str; 7] = ["www", "b0", "b1", "b2", "c0", "c1", "c2"];
        let mut rows = Vec::new();
        for (g, (policy, records)) in groups.into_iter().enumerate() {
            for (n, (weight, alias, evaluate, target, check)) in records.into_iter().enumerate() {
                let routing = match policy {
                    0 => weighted(weight),
                    1 if n == 0 => failover(FailoverRole::Primary),
                    1 if n == 1 => failover(FailoverRole::Secondary),
                    1 => continue,
                    _ => latency(["ap-northeast-1", "us-east-2", "eu-west-1"][n]),
                };
                let mut row = row(NAMES[g], &format!("{}", g * 10 + n), routing);
                if check < 4 {
                    row = checked(row, &check.to_string());
                }
                if alias && g < 4 {
                    let level = if g == 0 { 1 } else { 4 };
                    let target = format!("{}.example.test", NAMES[level + target]);
                    row = aliased(row, &target, evaluate);
                }
                rows.push(row);
            }
        }
        rows
    })
}

proptest! {
    #[test]
    fn trees_answer_as_awss_page_says(rows in tree(), sick in prop::array::uniform4(any::<bool>())) {
        let ids = ["0", "1", "2", "3"];
        let down: Vec<&str> = ids.iter().zip(sick).filter(|(_, s)| *s).map(|(id, _)| *id).collect();
        let expected = naive::World { rows: &rows, sick: &sick }.answer("www.example.test.");
        let found = shares(&world(rows.clone(), &down).tables(), &View::Public, None);
        prop_assert!(same(&found, &expected), "{found:?}, not {expected:?}");
    }
}
