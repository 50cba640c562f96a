use super::*;
use fogbank_types::route53::{CheckProtocol, HealthCheckConfig};
use fogbank_types::{Scope, Tags};
use std::net::{Ipv4Addr, Ipv6Addr};

const LONG: Duration = Duration::from_secs(3600);

pub fn check(version: i64, inverted: bool) -> HealthCheck {
    let endpoint = EndpointCheck {
        protocol: CheckProtocol::Http,
        address: Some(Ipv4Addr::new(198, 18, 0, 20).into()),
        domain_name: None,
        port: 80,
        path: None,
        search: None,
        interval_s: 10,
        threshold: 2,
        measures_latency: true,
        sends_sni: false,
        regions: Vec::new(),
    };
    HealthCheck {
        scope: Scope::new("000000000000", "global"),
        id: "c".to_owned(),
        caller_reference: "c".to_owned(),
        version,
        config: HealthCheckConfig {
            target: HealthCheckTarget::Endpoint(endpoint),
            inverted,
            disabled: false,
        },
        created_at: Timestamp(0),
        tags: Tags::new(),
    }
}

fn posts() -> Vec<Post> {
    let post = |n: u8| Post {
        region: "us-east-1",
        v4: Ipv4Addr::new(198, 18, 0, n),
        v6: Ipv6Addr::from_bits(n.into()),
    };
    (0..4).map(post).collect()
}

fn look(healthy: bool) -> Look {
    Look {
        from: Ipv4Addr::new(198, 18, 0, 1).into(),
        finding: Finding {
            healthy,
            status: if healthy { "Success" } else { "Failure" }.to_owned(),
        },
        times: Default::default(),
    }
}

/// Each checker looks once.
fn round(board: &Board, key: &str, version: i64, healthy: bool) {
    for number in 0..4 {
        board.note(key, version, number, Timestamp(0), &look(healthy));
    }
}

fn taken(board: &Board, least: Due) -> Vec<bool> {
    let rows = board.take(least, LONG);
    rows.into_iter().map(|(_, status)| status.healthy).collect()
}

#[test]
fn a_flip_is_written_at_once_and_little_news_later() {
    let (board, row) = (Board::default(), Arc::new(check(1, false)));
    let key = row.key();
    board.set(row, posts(), None);
    assert!(taken(&board, Due::Soon).is_empty(), "nobody has looked yet");
    round(&board, &key, 1, true);
    assert!(taken(&board, Due::Now).is_empty());
    assert_eq!(taken(&board, Due::Soon), [true]);
    round(&board, &key, 1, true);
    assert!(taken(&board, Due::Soon).is_empty(), "the same again");
    assert_eq!(
        board.take(Due::Soon, Duration::ZERO).len(),
        1,
        "once a minute all the same"
    );
    round(&board, &key, 1, false);
    assert!(taken(&board, Due::Now).is_empty(), "the threshold is two");
    round(&board, &key, 1, false);
    assert_eq!(taken(&board, Due::Now), [false]);
    // What could not be written is written later.
    board.failed(&key);
    assert_eq!(taken(&board, Due::Soon), [false]);
}

#[test]
fn an_inverted_check_says_the_opposite() {
    let (board, row) = (Board::default(), Arc::new(check(1, true)));
    let key = row.key();
    board.set(row, posts(), None);
    round(&board, &key, 1, true);
    assert_eq!(taken(&board, Due::Soon), [false]);
    round(&board, &key, 1, false);
    round(&board, &key, 1, false);
    assert_eq!(taken(&board, Due::Now), [true]);
}

#[test]
fn a_changed_check_keeps_its_health_and_says_it_anew() {
    let board = Board::default();
    let row = Arc::new(check(1, false));
    let key = row.key();
    board.set(row, posts(), None);
    round(&board, &key, 1, false);
    round(&board, &key, 1, false);
    assert_eq!(taken(&board, Due::Now), [false]);
    let stored = board.each(|entry| entry.status()).remove(0);
    board.set(Arc::new(check(2, true)), posts(), Some(&stored));
    assert_eq!(taken(&board, Due::Now), [true]);
    // A look of the old configuration counts for nothing.
    round(&board, &key, 1, true);
    round(&board, &key, 1, true);
    assert!(taken(&board, Due::Soon).is_empty());
}

#[test]
fn another_process_goes_on_where_the_first_was_ended() {
    let row = Arc::new(check(1, false));
    let key = row.key();
    let first = Board::default();
    first.set(row.clone(), posts(), None);
    for number in 0..4 {
        for _ in 0..2 {
            let mut look = look(false);
            look.from = posts()[number].v4.into();
            first.note(&key, 1, number, Timestamp(0), &look);
        }
    }
    let (_, stored) = first.take(Due::Now, LONG).remove(0);
    let second = Board::default();
    second.set(row, posts(), Some(&stored));
    assert!(taken(&second, Due::Refresh).is_empty(), "nothing new");
    assert_eq!(second.each(|entry| entry.status()), [stored]);
    // One failure more is no news; two successes are.
    round(&second, &key, 1, false);
    assert!(taken(&second, Due::Soon).is_empty());
    round(&second, &key, 1, true);
    round(&second, &key, 1, true);
    assert_eq!(taken(&second, Due::Now), [true]);
}
