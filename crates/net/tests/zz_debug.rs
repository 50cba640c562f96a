#![allow(clippy::unwrap_used)]
mod region;
use fogbank_net::packet::{Origin, Packet};
use fogbank_net::{compile, eval};
use fogbank_types::*;
use region::random::*;
use region::*;
#[test]
fn zz() {
    let seed: u64 = std::env::var("S").unwrap().parse().unwrap();
    let region = any_region(seed);
    let mut config = config("test");
    if std::env::var("H").is_ok() { config.internet = InternetAccess::Host; }
    let program = compile(&region.snapshot, &config);
    let origin = Origin::Eni(EniId::parse(&std::env::var("E").unwrap()).unwrap());
    let g = |n: &str| std::env::var(n).unwrap();
    let packet = Packet { source: g("A").parse().unwrap(), destination: g("B").parse().unwrap(), protocol: g("P").parse().unwrap(), detail: g("D").parse().unwrap() };
    let there = eval::walk(&program, &config, &origin, packet, false);
    for s in &there.steps { println!("{:?} {:?} {}->{}", s.place, s.event, s.packet.source, s.packet.destination); }
    println!("{:?}", there.fate);
    if let Some(back) = eval::walk_back(&program, &there, 40000) {
        println!("BACK");
        for s in &back.steps { println!("{:?} {:?} {}->{}", s.place, s.event, s.packet.source, s.packet.destination); }
        println!("{:?}", back.fate);
    }
}
