//! Which questions are written down, over real sockets, and that the end of the servers loses none.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fogbank_store::log::{Query, Reader, Start};
use fogbank_types::route53::QueryLoggingConfig;
use tokio::sync::watch;

use super::fixture::*;
use crate::dns::query_log::QueryLogger;
use crate::dns::responder::{Counters, Responder, Transport};
use crate::dns::{Kind, View, message};

fn logged(region: &mut Region, zone: &str, stream_uid: Option<&str>) {
    region.put(QueryLoggingConfig {
        scope: scope().global(),
        id: format!("log-of-{zone}"),
        zone_id: zone.to_owned(),
        log_group_arn: "arn:aws:logs:us-east-1:000000000000:log-group:/dns".to_owned(),
        stream_uid: stream_uid.map(str::to_owned),
    });
}

/// What is in the stream after the questions: names, types and codes.
async fn told(region: &Region, view: View, questions: &[(&str, Kind)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let counters = Arc::new(Counters::default());
    let logger = QueryLogger::start(folder.path().to_owned(), counters.clone()).unwrap();
    let (_publish, tables) = watch::channel(Arc::new(region.tables()));
    let responder = Responder::new(tables, view, None, counters).logged(logger.clone());
    let source = IpAddr::from(Ipv4Addr::LOCALHOST);
    for (text, kind) in questions {
        let packet = message::write_question(1, &name(text), *kind);
        responder.reply(&packet, Transport::Udp, source);
    }
    logger.finish().await;
    let mut reader = Reader::open(&folder.path().join("uid")).unwrap();
    let page = reader.read(&Query::from(Start::Head)).unwrap();
    let lines = page
        .events
        .iter()
        .map(|e| String::from_utf8_lossy(&e.message));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[2..6].join(" ")
        })
        .collect()
}

fn region() -> Region {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    region.zone("Z1", "example.test");
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region.record("Z1", "c.example.test", "CNAME", &["b.sub.example.test"]);
    region.zone("Z2", "sub.example.test");
    region.record("Z2", "b.sub.example.test", "A", &["192.0.2.2"]);
    logged(&mut region, "Z1", Some("uid"));
    region
}

const QUESTIONS: [(&str, Kind); 5] = [
    ("a.example.test", Kind::A),
    ("none.example.test", Kind::AAAA),
    ("b.sub.example.test", Kind::A),
    ("c.example.test", Kind::A),
    ("elsewhere.test", Kind::A),
];

#[tokio::test]
async fn a_zone_tells_what_was_asked_of_it_and_not_of_zones_below() {
    assert_eq!(
        told(&region(), View::Public, &QUESTIONS).await,
        [
            "Z1 a.example.test A NOERROR",
            "Z1 none.example.test AAAA NXDOMAIN",
            "Z1 c.example.test A NOERROR",
        ]
    );
}

#[tokio::test]
async fn resolvers_of_vpcs_ask_no_public_server() {
    assert!(told(&region(), inside(1), &QUESTIONS).await.is_empty());
}

#[tokio::test]
async fn without_a_stream_nothing_is_written() {
    let mut region = region();
    logged(&mut region, "Z1", None);
    assert!(told(&region, View::Public, &QUESTIONS).await.is_empty());
}

#[tokio::test]
async fn of_two_zones_of_one_name_the_one_that_answers_is_meant() {
    let mut region = region();
    region.zone_at("Z3", "example.test", 1, false, &[]);
    assert!(told(&region, View::Public, &QUESTIONS).await.is_empty());
    logged(&mut region, "Z3", Some("uid"));
    let lines = told(&region, View::Public, &QUESTIONS[..1]).await;
    assert_eq!(lines, ["Z3 a.example.test A NXDOMAIN"]);
}
