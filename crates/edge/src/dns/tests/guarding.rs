//! What the public address gives to askers that may not be who they say.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::fixture::*;
use crate::dns::guard::Guard;
use crate::dns::responder::{Counters, Reply, Responder, Transport};
use crate::dns::{Kind, View, message};

const CLIENT: [u8; 8] = *b"a client";

fn responder() -> Responder {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    let (_, tables) = watch::channel(Arc::new(region.tables()));
    let counters = Arc::new(Counters::default());
    Responder::new(tables, View::Public, None, counters).guarded(Guard::new())
}

fn far() -> IpAddr {
    "203.0.113.9".parse().unwrap()
}

/// A question with a cookie option of that value.
fn question(cookie: &[u8]) -> Vec<u8> {
    let mut packet = message::write_question(1, &name("a.example.test"), Kind::A);
    let at = packet.len() - 2;
    packet[at..].copy_from_slice(&(cookie.len() as u16 + 4).to_be_bytes());
    packet.extend([0, 10, 0, cookie.len() as u8]);
    packet.extend(cookie);
    packet
}

fn reply(responder: &Responder, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match responder.reply(packet, transport, far()) {
        Reply::Now(response) => Some(response),
        Reply::Silence => None,
        Reply::Later(_) => panic!("nothing is asked outside"),
    }
}

/// The cookie at the end of a response.
fn cookie(response: &[u8]) -> Vec<u8> {
    let (head, value) = response.split_at(response.len() - 24);
    assert!(head.ends_with(&[0, 28, 0, 10, 0, 24]), "{response:?}");
    value.to_vec()
}

#[test]
fn an_asker_gets_its_cookie_back_with_ours() {
    let responder = responder();
    let given = cookie(&reply(&responder, &question(&CLIENT), Transport::Udp).unwrap());
    assert_eq!(given[..8], CLIENT);
    // A cookie of somebody else is no error: the right one comes back.
    let forged = [&CLIENT[..], &[7; 16]].concat();
    let response = reply(&responder, &question(&forged), Transport::Udp).unwrap();
    assert_eq!(response[3] & 0xf, 0);
    assert_ne!(cookie(&response), forged);
    for malformed in [&[1; 7][..], &[1; 12], &[1; 41]] {
        let response = reply(&responder, &question(malformed), Transport::Udp).unwrap();
        assert_eq!(response[3] & 0xf, 1, "FORMERR");
    }
}

#[test]
fn a_flood_is_limited_but_not_for_whom_we_know() {
    let responder = responder();
    let given = cookie(&reply(&responder, &question(&CLIENT), Transport::Udp).unwrap());
    let forged = question(&[&CLIENT[..], &[7; 16]].concat());
    // More than one second's share for each second that this may take is sent.
    let mut truncated = 0;
    for _ in 0..100_000 {
        if truncated > 0 && responder.counters().limited.load(Ordering::Relaxed) > 0 {
            break;
        }
        let response = reply(&responder, &forged, Transport::Udp);
        let is_truncated = |response: &Vec<u8>| response[2] & 2 != 0;
        if let Some(response) = response.filter(is_truncated) {
            assert!(response.len() <= forged.len(), "nothing is amplified");
            truncated += 1;
        }
    }
    assert!(truncated > 0);
    for _ in 0..1_000 {
        let known = reply(&responder, &question(&given), Transport::Udp).unwrap();
        assert_eq!(known[2] & 2, 0);
        let tcp = reply(&responder, &forged, Transport::Tcp).unwrap();
        assert_eq!(tcp[2] & 2, 0);
    }
}
