//! Packets that nobody should send: never a panic, never an answer that is larger than it may be.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::watch;

use super::fixture::*;
use crate::dns::message::{self, Heard, Query};
use crate::dns::responder::{Counters, Reply, Responder, Transport};
use crate::dns::{Answer, Kind, Name, Record, View};

fn responder() -> Responder {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    region.record("Z1", "\\052.example.test", "TXT", &["\"x\""]);
    let (_, tables) = watch::channel(Arc::new(region.tables()));
    Responder::new(tables, View::Public, None, Arc::new(Counters::default()))
}

fn question() -> Vec<u8> {
    message::write_question(1, &name("a.example.test"), Kind::TXT)
}

fn record() -> impl Strategy<Value = Record> {
    let names = vec!["a.b.test", "b.test", "c.a.b.test", "x.other", "test"];
    let name = prop::sample::select(names).prop_map(name);
    let values = vec![
        (Kind::A, "192.0.2.1"),
        (Kind::CNAME, "c.a.b.test"),
        (Kind::MX, "10 a.b.test"),
        (Kind::SRV, "1 2 3 a.b.test"),
        (Kind::SOA, "b.test x.b.test 1 2 3 4 5"),
        (Kind::TXT, "\"something\""),
        (Kind::NS, "."),
    ];
    (name, prop::sample::select(values)).prop_map(|(name, (kind, value))| Record {
        name,
        kind,
        ttl: 60,
        value: crate::dns::rdata::encode(kind, value).unwrap().into(),
    })
}

proptest! {
    #[test]
    fn garbage_is_survived(packet in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Reply::Now(response) = responder().reply(&packet, Transport::Udp, super::fixture::HERE) {
            prop_assert!(response.len() <= 1232);
            prop_assert!(response[2] & 0x80 != 0, "a response says that it is one");
        }
        message::read_response(&packet, 0, &Name::root(), Kind::A);
    }

    #[test]
    fn damaged_questions_are_survived(at in 0usize..40, byte: u8, cut in 0usize..60) {
        let mut packet = question();
        let at = at % packet.len();
        packet[at] = byte;
        packet.truncate(packet.len().saturating_sub(cut / 2));
        if let Reply::Now(response) = responder().reply(&packet, Transport::Udp, super::fixture::HERE) {
            prop_assert_eq!(&response[..2], &packet[..2]);
        }
    }

    #[test]
    fn what_is_written_is_read_again(
        answers in prop::collection::vec(record(), 0..12),
        authority in prop::collection::vec(record(), 0..4),
    ) {
        let asked = name("a.b.test");
        let packet = message::write_question(9, &asked, Kind::A);
        let query = Query::read(&packet).unwrap();
        let answer = Answer { answers, authority, ..Answer::default() };
        let written = message::write_answer(&query, &answer, true, message::MAX_TCP_BYTES);
        prop_assert_eq!(message::read_response(&written, 9, &asked, Kind::A), Some(Heard::Answer(answer)));
    }

    #[test]
    fn a_response_is_never_longer_than_its_limit(
        answers in prop::collection::vec(record(), 0..80),
        limit in 512usize..1300,
    ) {
        let packet = message::write_question(9, &name("a.b.test"), Kind::A);
        let query = Query::read(&packet).unwrap();
        let answer = Answer { answers, ..Answer::default() };
        let written = message::write_answer(&query, &answer, true, limit);
        prop_assert!(written.len() <= limit);
        let truncated = written[2] & 2 != 0;
        let whole = message::write_answer(&query, &answer, true, message::MAX_TCP_BYTES);
        prop_assert_eq!(truncated, whole.len() > limit);
    }
}
