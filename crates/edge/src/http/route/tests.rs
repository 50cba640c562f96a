//! Rules against a matcher that was written apart: from the words of AWS, on the table itself, by recursion.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::http::request::read_request;
use crate::http::table::{
    Attributes, Condition, HealthCheck, Protocol, QueryPattern, Rule, TargetGroup, WeightedGroup,
};

fn fixed(status_code: u16) -> table::Action {
    table::Action::FixedResponse(FixedResponse {
        status_code,
        content_type: None,
        message_body: String::new(),
    })
}

fn table(rules: Vec<Vec<Condition>>) -> Table {
    let rule = |(place, conditions): (usize, Vec<Condition>)| Rule {
        guard: None,
        transforms: Vec::new(),
        id: place.to_string(),
        priority: place as u32 + 1,
        conditions,
        action: fixed(200 + place as u16),
    };
    Table {
        certificates: Vec::new(),
        cookie_secret: String::new(),
        identity: Default::default(),
        trust_stores: Vec::new(),
        revision: 1,
        load_balancer: String::new(),
        dns_name: String::new(),
        zone: String::new(),
        attributes: Attributes::default(),
        listeners: vec![table::Listener {
            attributes: Default::default(),
            default_guard: None,
            tls: None,
            id: String::new(),
            port: 80,
            protocol: Protocol::Http,
            rules: rules.into_iter().enumerate().map(rule).collect(),
            default_action: fixed(404),
        }],
        target_groups: Vec::new(),
    }
}

/// The priority of the rule that takes a request.
fn taken(table: &Table, head: &str, peer: [u8; 4]) -> Option<u32> {
    let listeners = compile(table);
    let peer = IpAddr::V4(Ipv4Addr::from(peer));
    let read = read_request(head.as_bytes(), |request| {
        listeners[0].matching(request, peer).priority
    });
    read.expect("a valid head").expect("a whole head").1
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

#[test]
fn each_condition_by_itself() {
    let head = "POST /img/a.PNG?Version=v1&flag HTTP/1.1\r\nHost: WWW.Example.com:8080\r\nUser-Agent: Mozilla/5\r\nX: one\r\nX: two\r\n\r\n";
    let query = |key: Option<&str>, value: &str| Condition::QueryString {
        values: vec![QueryPattern {
            key: key.map(str::to_owned),
            value: value.to_owned(),
        }],
    };
    let header = |name: &str, value: &str| Condition::HttpHeader {
        name: name.to_owned(),
        values: strings(&[value]),
    };
    let host = |value: &str| Condition::HostHeader {
        values: strings(&[value]),
    };
    let path = |value: &str| Condition::PathPattern {
        values: strings(&[value]),
    };
    let method = |value: &str| Condition::HttpRequestMethod {
        values: strings(&[value]),
    };
    let source = |block: &str| Condition::SourceIp {
        values: vec![block.parse().expect("a block")],
    };
    for (condition, expected) in [
        (host("www.example.com"), true),
        (host("*.EXAMPLE.com"), true),
        (host("example.com"), false),
        (host("www.example.com:8080"), false),
        (path("/img/*"), true),
        (path("/img"), false),
        (path("/img/a.png"), false),
        (path("/img/a.PNG?Version=v1"), false),
        (method("POST"), true),
        (method("post"), false),
        (header("user-agent", "*mozilla*"), true),
        (header("User-Agent", "Mozilla"), false),
        (header("x", "TWO"), true),
        (header("absent", "*"), false),
        (query(Some("version"), "V1"), true),
        (query(Some("version"), "v2"), false),
        (query(None, "v?"), true),
        (query(Some("flag"), ""), true),
        (query(Some("other"), "*"), false),
        (source("10.1.0.0/16"), true),
        (source("10.1.2.3/32"), true),
        (source("10.2.0.0/16"), false),
        (source("0.0.0.0/0"), true),
    ] {
        let told = format!("{condition:?}");
        assert_eq!(
            taken(&table(vec![vec![condition]]), head, [10, 1, 2, 3]).is_some(),
            expected,
            "{told}"
        );
    }
}

#[test]
fn regular_expressions() {
    let head =
        "GET /API/v2/users HTTP/1.1\r\nHost: WWW.Example.com:8080\r\nUser-Agent: Mozilla/5\r\n\r\n";
    let host = |value: &str| Condition::HostHeaderRegex {
        values: strings(&["never$^", value]),
    };
    let path = |value: &str| Condition::PathPatternRegex {
        values: strings(&[value]),
    };
    let header = |name: &str, value: &str| Condition::HttpHeaderRegex {
        name: name.to_owned(),
        values: strings(&[value]),
    };
    for (condition, expected) in [
        (host("^www\\.[a-z]+\\.com$"), true),
        (host("example"), true),
        (host("8080"), false),
        (path("^/API/v[0-9]+/"), true),
        (path("^/api/"), false),
        (path("users$"), true),
        (path("^/API/(v2"), false),
        (header("user-agent", "^mozilla/[0-9]"), true),
        (header("absent", ".*"), false),
    ] {
        let told = format!("{condition:?}");
        let is_taken = taken(&table(vec![vec![condition]]), head, [1; 4]).is_some();
        assert_eq!(is_taken, expected, "{told}");
    }
}

#[test]
fn source_addresses_of_version_6() {
    let block = |text: &str| Condition::SourceIp {
        values: vec![text.parse().expect("a block")],
    };
    let listeners = |text: &str| compile(&table(vec![vec![block(text)]]));
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (text, expected) in [
        ("fd00:1::/32", Some(1)),
        ("fd00:2::/32", None),
        ("::/0", Some(1)),
        ("0.0.0.0/0", None),
    ] {
        let peer: IpAddr = "fd00:1::5".parse().expect("an address");
        let read = read_request(head, |request| {
            listeners(text)[0].matching(request, peer).priority
        });
        assert_eq!(read.expect("valid").expect("whole").1, expected, "{text}");
    }
}

/// Not a limit but a look: `cargo test --release -- --ignored --nocapture cost_of_rules`.
#[test]
#[ignore = "a measurement"]
fn cost_of_rules() {
    for count in [1, 10, 100] {
        let rules = (0..count).map(|number| {
            let host = format!("host-{number}.example.com");
            let path = format!("/service-{number}/*");
            vec![
                Condition::HostHeader { values: vec![host] },
                Condition::PathPattern { values: vec![path] },
            ]
        });
        let listeners = compile(&table(rules.collect()));
        let head = format!(
            "GET /service-{0}/x HTTP/1.1\r\nHost: host-{0}.example.com\r\n\r\n",
            count - 1
        );
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let took = read_request(head.as_bytes(), |request| {
            let started = std::time::Instant::now();
            for _ in 0..100_000 {
                assert!(
                    std::hint::black_box(listeners[0].matching(request, peer))
                        .priority
                        .is_some()
                );
            }
            started.elapsed() / 100_000
        });
        println!(
            "{count} rules: {:?}",
            took.expect("valid").expect("whole").1
        );
    }
}

#[test]
fn a_query_condition_needs_a_query() {
    let any = Condition::QueryString {
        values: vec![QueryPattern {
            key: None,
            value: "*".into(),
        }],
    };
    let table = table(vec![vec![any]]);
    assert_eq!(
        taken(&table, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [1; 4]),
        None
    );
    assert_eq!(
        taken(&table, "GET /? HTTP/1.1\r\nHost: a\r\n\r\n", [1; 4]),
        Some(1)
    );
}

#[test]
fn weights_are_kept_exactly_and_mixed() {
    let forward = Forward::new(vec![(0, 90), (1, 10)], None);
    let turns: Vec<usize> = (0..100).filter_map(|_| forward.next()).collect();
    assert_eq!(turns.iter().filter(|&&place| place == 1).count(), 10);
    let longest = turns.split(|&place| place == 1).map(<[usize]>::len).max();
    assert!(longest < Some(20), "{turns:?}");
    let none = Forward::new(vec![(0, 0), (1, 0)], None);
    assert!(
        (0..10).filter_map(|_| none.next()).any(|place| place == 1),
        "all zero: all get some"
    );
    assert_eq!(Forward::new(Vec::new(), None).next(), None);
    assert!(
        Forward::new(vec![(0, u32::MAX), (1, u32::MAX)], None)
            .next()
            .is_some()
    );
}

#[test]
fn used_groups_are_those_that_a_rule_or_default_names() {
    let mut table = table(vec![vec![]]);
    let group = |id: &str| TargetGroup {
        protocol: Default::default(),
        version: Default::default(),
        anomaly_mitigation: false,
        slow_start_ms: 0,
        stickiness: None,
        id: id.into(),
        algorithm: table::Algorithm::RoundRobin,
        cross_zone: true,
        deregistration_delay_ms: 0,
        minimum_healthy_targets: 1,
        health_check: HealthCheck {
            protocol: Default::default(),
            enabled: true,
            path: "/".into(),
            port: None,
            interval_ms: 1,
            timeout_ms: 1,
            healthy_threshold: 1,
            unhealthy_threshold: 1,
            matcher: "200".into(),
        },
        targets: Vec::new(),
    };
    table.target_groups = vec![group("a"), group("b"), group("c")];
    let forward = |id: &str| table::Action::Forward {
        stickiness_s: None,
        target_groups: vec![WeightedGroup {
            target_group: id.into(),
            weight: 1,
        }],
    };
    table.listeners[0].rules[0].action = forward("c");
    table.listeners[0].default_action = forward("a");
    let listeners = compile(&table);
    let mut used: Vec<usize> = used_groups(&listeners).collect();
    used.sort_unstable();
    assert_eq!(used, [0, 2]);
}

// --- the matcher written apart ---

#[derive(Debug)]
struct Asked {
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    peer: [u8; 4],
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        [first, rest @ ..] => text.first() == Some(first) && like(rest, &text[1..]),
    }
}

fn like_text(pattern: &str, text: &str, any_case: bool) -> bool {
    let letters = |text: &str| -> Vec<char> {
        if any_case {
            text.to_lowercase().chars().collect()
        } else {
            text.chars().collect()
        }
    };
    like(&letters(pattern), &letters(text))
}

fn naive(table: &Table, asked: &Asked) -> Option<u32> {
    let holds = |condition: &Condition| match condition {
        Condition::HostHeader { values } => values
            .iter()
            .any(|value| like_text(value, &asked.host, true)),
        Condition::PathPattern { values } => values
            .iter()
            .any(|value| like_text(value, &asked.path, false)),
        Condition::HttpRequestMethod { values } => values.contains(&asked.method),
        Condition::HttpHeader { name, values } => asked.headers.iter().any(|(key, text)| {
            key.to_lowercase() == name.to_lowercase()
                && values.iter().any(|value| like_text(value, text, true))
        }),
        Condition::QueryString { values } => {
            let Some(query) = &asked.query else {
                return false;
            };
            let pairs: Vec<(&str, &str)> = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect();
            values.iter().any(|wanted| {
                pairs.iter().any(|(key, value)| {
                    wanted
                        .key
                        .as_ref()
                        .is_none_or(|wanted| like_text(wanted, key, true))
                        && like_text(&wanted.value, value, true)
                })
            })
        }
        Condition::SourceIp { values } => values.iter().any(|block| {
            let bits = |ip: [u8; 4]| {
                ip.iter()
                    .map(|byte| format!("{byte:08b}"))
                    .collect::<String>()
            };
            let length = usize::from(block.length());
            let IpCidr::V4(block) = block else {
                return false;
            };
            bits(block.base().octets())[..length] == bits(asked.peer)[..length]
        }),
        Condition::HostHeaderRegex { .. }
        | Condition::PathPatternRegex { .. }
        | Condition::HttpHeaderRegex { .. } => unreachable!("none is made"),
    };
    let mut rules: Vec<&Rule> = table.listeners[0].rules.iter().collect();
    rules.sort_by_key(|rule| rule.priority);
    rules
        .into_iter()
        .find(|rule| rule.conditions.iter().all(holds))
        .map(|rule| rule.priority)
}

fn pattern() -> impl Strategy<Value = String> {
    "[aA/b*?]{0,4}"
}

fn condition() -> impl Strategy<Value = Condition> {
    let patterns = || prop::collection::vec(pattern(), 1..3);
    prop_oneof![
        patterns().prop_map(|values| Condition::HostHeader { values }),
        patterns().prop_map(|values| Condition::PathPattern {
            values: values
                .into_iter()
                .map(|value| format!("/{value}"))
                .collect()
        }),
        ("[xXyY]", patterns()).prop_map(|(name, values)| Condition::HttpHeader { name, values }),
        prop::collection::vec("GET|PUT|get", 1..3)
            .prop_map(|values| Condition::HttpRequestMethod { values }),
        prop::collection::vec((prop::option::of(pattern()), pattern()), 1..3).prop_map(|pairs| {
            Condition::QueryString {
                values: pairs
                    .into_iter()
                    .map(|(key, value)| QueryPattern { key, value })
                    .collect(),
            }
        }),
        (any::<[u8; 4]>(), 0u8..=32).prop_map(|(ip, length)| {
            let mut ip = ip;
            ip[0] &= 1;
            Condition::SourceIp {
                values: fogbank_types::Ipv4Cidr::containing(Ipv4Addr::from(ip), length)
                    .into_iter()
                    .map(IpCidr::V4)
                    .collect(),
            }
        }),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let headers = prop::collection::vec(("[xXyY]", "[aAb]{0,3}"), 0..3);
    (
        "GET|PUT",
        "[aAb]{0,4}",
        "[aAb/]{0,4}",
        prop::option::of("[aAb=&]{0,6}"),
        headers,
        any::<[u8; 4]>(),
    )
        .prop_map(|(method, host, path, query, headers, mut peer)| {
            peer[0] &= 1;
            Asked {
                method,
                host,
                path: format!("/{path}"),
                query,
                headers,
                peer,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agrees_with_the_matcher_written_apart(
        rules in prop::collection::vec(prop::collection::vec(condition(), 0..3), 0..5),
        asked in asked(),
    ) {
        let table = table(rules);
        let query = asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let headers: String = asked.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{} {}{query} HTTP/1.1\r\nHost: {}:80\r\n{headers}\r\n", asked.method, asked.path, asked.host
        );
        prop_assert_eq!(taken(&table, &head, asked.peer), naive(&table, &asked));
    }
}
