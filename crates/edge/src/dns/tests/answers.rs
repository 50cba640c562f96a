//! What the tables say, rule by rule.

use fogbank_types::status::Health;

use super::fixture::*;
use crate::dns::{Answer, Code, Kind, Name, View};

const BALANCER: &str = "web-1234.us-east-1.elb.amazonaws.com";

fn example() -> Region {
    let mut region = Region::default();
    region.zone("Z1", "example.test");
    region
}

#[track_caller]
fn is_negative(answer: &Answer, code: Code, origin: &str) {
    assert_eq!(answer.code, code);
    assert!(answer.answers.is_empty(), "{answer:?}");
    assert_eq!(answer.authority.len(), 1);
    assert_eq!(answer.authority[0].kind, Kind::SOA);
    assert_eq!(answer.authority[0].name, name(origin));
}

#[test]
fn a_set_is_answered_with_all_values_and_its_ttl() {
    let mut region = example();
    region.record("Z1", "a.example.test", "A", &["192.0.2.1", "192.0.2.2"]);
    let answer = region.ask(&View::Public, "A.Example.Test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(answer.answers[0].ttl, 300);
    assert!(answer.authoritative);
    assert_eq!(answer.code, Code::NoError);
}

#[test]
fn an_unknown_name_is_nxdomain_and_a_missing_type_is_empty() {
    let mut region = example();
    region.record("Z1", "a.b.example.test", "A", &["192.0.2.1"]);
    let ask = |name, kind| region.ask(&View::Public, name, kind);
    is_negative(
        &ask("x.example.test", Kind::A),
        Code::NxDomain,
        "example.test",
    );
    is_negative(
        &ask("a.b.example.test", Kind::AAAA),
        Code::NoError,
        "example.test",
    );
    // Between the apex and a record a name exists without records.
    is_negative(
        &ask("b.example.test", Kind::A),
        Code::NoError,
        "example.test",
    );
    assert_eq!(ask("x.example.test", Kind::A).authority[0].ttl, 900);
}

#[test]
fn outside_every_zone_is_refused() {
    let answer = example().ask(&View::Public, "example.com", Kind::A);
    assert_eq!(answer.code, Code::Refused);
    assert!(!answer.authoritative);
}

#[test]
fn the_apex_has_its_servers_and_its_soa() {
    let mut region = example();
    let servers = region.ask(&View::Public, "example.test", Kind::NS);
    assert_eq!(servers.answers.len(), 2);
    assert_eq!(servers.answers[0].ttl, 172_800);
    region.record(
        "Z1",
        "example.test",
        "SOA",
        &["ns-1.awsdns-01.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 60"],
    );
    let soa = region.ask(&View::Public, "example.test", Kind::SOA);
    assert_eq!((soa.answers.len(), soa.answers[0].ttl), (1, 300));
    let negative = region.ask(&View::Public, "x.example.test", Kind::A);
    assert_eq!(
        negative.authority[0].ttl, 60,
        "the smaller of TTL and minimum"
    );
}

#[test]
fn a_delegation_is_referred_with_glue() {
    let mut region = example();
    region.record(
        "Z1",
        "sub.example.test",
        "NS",
        &["ns.sub.example.test.", "ns.other.test."],
    );
    region.record("Z1", "ns.sub.example.test", "A", &["192.0.2.53"]);
    for asked in [
        "sub.example.test",
        "x.y.sub.example.test",
        "ns.sub.example.test",
    ] {
        let answer = region.ask(&View::Public, asked, Kind::A);
        assert_eq!(answer.code, Code::NoError);
        assert!(
            !answer.authoritative && answer.answers.is_empty(),
            "{asked}"
        );
        assert_eq!(answer.authority.len(), 2);
        assert_eq!(answer.authority[0].name, name("sub.example.test"));
        assert_eq!(answer.additional.len(), 1);
        assert_eq!(answer.additional[0].name, name("ns.sub.example.test"));
    }
    let ds = region.ask(&View::Public, "sub.example.test", Kind::DS);
    is_negative(&ds, Code::NoError, "example.test");
    // A hosted zone of that name answers itself.
    region.zone("Z2", "sub.example.test");
    let answer = region.ask(&View::Public, "x.sub.example.test", Kind::A);
    is_negative(&answer, Code::NxDomain, "sub.example.test");
}

#[test]
fn a_wildcard_stands_for_what_does_not_exist() {
    let mut region = example();
    region.record("Z1", "\\052.example.test", "A", &["192.0.2.9"]);
    region.record("Z1", "a.example.test", "TXT", &["\"x\""]);
    let ask = |name, kind| region.ask(&View::Public, name, kind);
    let answer = ask("x.y.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.9"]);
    assert_eq!(answer.answers[0].name, name("x.y.example.test"));
    assert_eq!(addresses(&ask("*.example.test", Kind::A)), ["192.0.2.9"]);
    is_negative(
        &ask("x.example.test", Kind::MX),
        Code::NoError,
        "example.test",
    );
    // Something closer exists.
    is_negative(
        &ask("a.example.test", Kind::A),
        Code::NoError,
        "example.test",
    );
    is_negative(
        &ask("x.a.example.test", Kind::A),
        Code::NxDomain,
        "example.test",
    );
    assert!(addresses(&ask("example.test", Kind::A)).is_empty());
}

#[test]
fn an_asterisk_in_the_middle_is_no_wildcard() {
    let mut region = example();
    region.record("Z1", "a.\\052.example.test", "A", &["192.0.2.9"]);
    let answer = region.ask(&View::Public, "x.example.test", Kind::A);
    is_negative(&answer, Code::NxDomain, "example.test");
    let answer = region.ask(&View::Public, "a.*.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.9"]);
}

#[test]
fn a_cname_is_followed_where_we_know_more() {
    let mut region = example();
    region.zone("Z2", "other.test");
    region.record("Z1", "www.example.test", "CNAME", &["api.other.test."]);
    region.record("Z2", "api.other.test", "A", &["192.0.2.1"]);
    region.record("Z1", "out.example.test", "CNAME", &["elsewhere.invalid"]);
    region.record("Z1", "gone.example.test", "CNAME", &["nothing.other.test"]);
    let ask = |name, kind| region.ask(&View::Public, name, kind);
    let answer = ask("www.example.test", Kind::A);
    assert_eq!(answer.answers[0].kind, Kind::CNAME);
    assert_eq!(answer.answers[1].name, name("api.other.test"));
    assert!(answer.authoritative);
    assert_eq!(ask("www.example.test", Kind::CNAME).answers.len(), 1);
    let out = ask("out.example.test", Kind::A);
    assert_eq!((out.code, out.answers.len()), (Code::NoError, 1));
    let gone = ask("gone.example.test", Kind::A);
    assert_eq!((gone.code, gone.answers.len()), (Code::NxDomain, 1));
    assert_eq!(gone.authority.len(), 1);
}

#[test]
fn a_loop_of_cnames_ends() {
    let mut region = example();
    region.vpc(1, "10.0.0.0/16");
    region.record("Z1", "a.example.test", "CNAME", &["b.example.test"]);
    region.record("Z1", "b.example.test", "CNAME", &["a.example.test"]);
    let answer = region.ask(&View::Public, "a.example.test", Kind::A);
    assert_eq!((answer.code, answer.answers.len()), (Code::NoError, 2));
    let answer = region.ask(&inside(1), "a.example.test", Kind::A);
    assert_eq!(answer.code, Code::ServFail);
}

#[test]
fn an_alias_to_a_record_has_its_values_under_its_own_name() {
    let mut region = example();
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region.alias("Z1", "example.test", "A", "a.example.test");
    region.alias("Z1", "second.example.test", "A", "example.test");
    region.alias("Z1", "missing.example.test", "A", "b.example.test");
    region.alias("Z1", "loop.example.test", "A", "loop.example.test");
    let ask = |name, kind| region.ask(&View::Public, name, kind);
    for own in ["example.test", "second.example.test"] {
        let answer = ask(own, Kind::A);
        assert_eq!(addresses(&answer), ["192.0.2.1"]);
        assert_eq!(
            (&answer.answers[0].name, answer.answers[0].ttl),
            (&name(own), 300)
        );
    }
    for own in ["missing.example.test", "loop.example.test"] {
        is_negative(&ask(own, Kind::A), Code::NoError, "example.test");
    }
}

fn balanced() -> Region {
    let mut region = example();
    region.vpc(1, "10.0.0.0/16");
    region.eni(1, 1, "10.0.0.10", Some("198.18.0.20"));
    region.eni(2, 1, "10.0.1.10", Some("198.18.0.21"));
    region.balancer(BALANCER, false, &[1, 2]);
    region.alias(
        "Z1",
        "api.example.test",
        "A",
        &format!("dualstack.{BALANCER}"),
    );
    region
}

#[test]
fn an_alias_to_a_load_balancer_has_its_public_addresses() {
    let region = balanced();
    for view in [View::Public, inside(1)] {
        let answer = region.ask(&view, "api.example.test", Kind::A);
        assert_eq!(addresses(&answer), ["198.18.0.20", "198.18.0.21"]);
        assert_eq!(answer.answers[0].ttl, 60);
        assert_eq!(answer.answers[0].name, name("api.example.test"));
    }
    let empty = region.ask(&View::Public, "api.example.test", Kind::AAAA);
    is_negative(&empty, Code::NoError, "example.test");
}

#[test]
fn an_elastic_ip_is_the_address_of_its_node() {
    let mut region = balanced();
    region.elastic_ip(1, "198.18.0.99", "10.0.0.10");
    let answer = region.ask(&View::Public, "api.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["198.18.0.21", "198.18.0.99"]);
}

#[test]
fn a_load_balancers_name_resolves_though_no_zone_has_it() {
    let region = balanced();
    for asked in [
        BALANCER.to_owned(),
        format!("DualStack.{}", BALANCER.to_uppercase()),
    ] {
        let answer = region.ask(&View::Public, &asked, Kind::A);
        assert_eq!(addresses(&answer), ["198.18.0.20", "198.18.0.21"]);
        is_negative(
            &region.ask(&View::Public, &asked, Kind::AAAA),
            Code::NoError,
            "us-east-1.elb.amazonaws.com",
        );
    }
    let unknown = region.ask(&View::Public, "x-1.us-east-1.elb.amazonaws.com", Kind::A);
    is_negative(&unknown, Code::NxDomain, "us-east-1.elb.amazonaws.com");
}

#[test]
fn an_internal_load_balancer_has_private_addresses_everywhere() {
    let mut region = balanced();
    region.balancer("internal-x-1.us-east-1.elb.amazonaws.com", true, &[1, 2]);
    for view in [View::Public, inside(1)] {
        let answer = region.ask(&view, "internal-x-1.us-east-1.elb.amazonaws.com", Kind::A);
        assert_eq!(addresses(&answer), ["10.0.0.10", "10.0.1.10"]);
    }
}

#[test]
fn a_zone_without_a_healthy_target_is_withdrawn_unless_all_are() {
    let mut region = balanced();
    region.target_group("tg", BALANCER, "10.0.5.5");
    let ask = |region: &Region| addresses(&region.ask(&View::Public, BALANCER, Kind::A));
    let both = ["198.18.0.20", "198.18.0.21"];
    assert_eq!(ask(&region), both, "nothing is known");
    region.health("tg", 1, "10.0.5.5", Health::Initial);
    assert_eq!(ask(&region), both, "nothing is healthy");
    region.health("tg", 2, "10.0.5.5", Health::Healthy);
    assert_eq!(ask(&region), ["198.18.0.21"]);
    region.health("tg", 1, "10.0.5.5", Health::Healthy);
    assert_eq!(ask(&region), both);
    region.health("tg", 1, "10.0.5.5", Health::Unhealthy);
    region.health("tg", 2, "10.0.5.5", Health::Unhealthy);
    assert_eq!(ask(&region), both);
}

#[test]
fn a_target_that_is_not_registered_keeps_no_zone() {
    let mut region = balanced();
    region.target_group("tg", BALANCER, "10.0.5.5");
    region.health("tg", 1, "10.0.5.6", Health::Healthy);
    region.health("tg", 2, "10.0.5.5", Health::Healthy);
    let answer = region.ask(&View::Public, BALANCER, Kind::A);
    assert_eq!(addresses(&answer), ["198.18.0.21"]);
}

#[test]
fn a_private_zone_is_seen_in_its_vpcs_only() {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    region.vpc(2, "10.1.0.0/16");
    region.vpc_with(3, "10.2.0.0/16", true, false);
    region.private_zone("Z1", "corp.test", &[1, 3]);
    region.record("Z1", "db.corp.test", "A", &["10.0.9.9"]);
    let answer = region.ask(&inside(1), "db.corp.test", Kind::A);
    assert_eq!(addresses(&answer), ["10.0.9.9"]);
    assert!(!answer.authoritative, "a resolver is no authority");
    for view in [inside(2), inside(3)] {
        let answer = region.ask(&view, "db.corp.test", Kind::A);
        is_negative(&answer, Code::NxDomain, ".");
    }
    assert_eq!(
        region.ask(&View::Public, "db.corp.test", Kind::A).code,
        Code::Refused
    );
}

#[test]
fn a_private_zone_hides_the_public_one_of_its_name() {
    let mut region = example();
    region.vpc(1, "10.0.0.0/16");
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region.record("Z1", "b.example.test", "A", &["192.0.2.2"]);
    region.private_zone("Z2", "example.test", &[1]);
    region.record("Z2", "a.example.test", "A", &["10.0.0.1"]);
    region.private_zone("Z3", "deep.example.test", &[1]);
    region.record("Z3", "a.deep.example.test", "A", &["10.0.0.3"]);
    let ask = |name, view: &View| region.ask(view, name, Kind::A);
    assert_eq!(addresses(&ask("a.example.test", &inside(1))), ["10.0.0.1"]);
    assert_eq!(
        addresses(&ask("a.example.test", &View::Public)),
        ["192.0.2.1"]
    );
    is_negative(
        &ask("b.example.test", &inside(1)),
        Code::NxDomain,
        "example.test",
    );
    assert_eq!(
        addresses(&ask("a.deep.example.test", &inside(1))),
        ["10.0.0.3"]
    );
    is_negative(
        &ask("x.deep.example.test", &inside(1)),
        Code::NxDomain,
        "deep.example.test",
    );
}

#[test]
fn public_zones_are_seen_from_inside() {
    let mut region = balanced();
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    let answer = region.ask(&inside(1), "a.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.1"]);
    let answer = region.ask(&inside(1), BALANCER, Kind::A);
    assert_eq!(addresses(&answer), ["198.18.0.20", "198.18.0.21"]);
}

#[test]
fn a_delegation_is_followed_outside_by_a_resolver() {
    let mut region = balanced();
    region.record("Z1", "sub.example.test", "NS", &["ns.other.test."]);
    let answer = region.ask(&inside(1), "x.sub.example.test", Kind::A);
    assert_eq!(answer.outside, Some(name("x.sub.example.test")));
}

#[test]
fn a_cname_that_leads_outside_keeps_its_chain() {
    let mut region = balanced();
    region.record("Z1", "out.example.test", "CNAME", &["www.outside.com"]);
    let answer = region.ask(&inside(1), "out.example.test", Kind::A);
    assert_eq!(answer.outside, Some(name("www.outside.com")));
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn interfaces_have_private_names_in_their_own_vpc() {
    let mut region = balanced();
    region.vpc(2, "10.0.0.0/16");
    let ask = |view: &View, name, kind| region.ask(view, name, kind);
    let answer = ask(&inside(1), "ip-10-0-0-10.ec2.internal", Kind::A);
    assert_eq!(addresses(&answer), ["10.0.0.10"]);
    let other = ask(&inside(2), "ip-10-0-0-10.ec2.internal", Kind::A);
    is_negative(&other, Code::NxDomain, "ec2.internal");
    let unknown = ask(&inside(1), "ip-10-0-0-99.ec2.internal", Kind::A);
    assert_eq!(unknown.code, Code::NxDomain);
    let outside = ask(&View::Public, "ip-10-0-0-10.ec2.internal", Kind::A);
    assert_eq!(outside.code, Code::Refused);
    let reverse = ask(&inside(1), "10.0.0.10.in-addr.arpa", Kind::PTR);
    assert_eq!(
        Name::read(&reverse.answers[0].value).unwrap().0,
        name("ip-10-0-0-10.ec2.internal")
    );
    let nobody = ask(&inside(1), "99.0.0.10.in-addr.arpa", Kind::PTR);
    assert_eq!(nobody.code, Code::NxDomain);
}

#[test]
fn names_need_both_attributes_of_the_vpc() {
    let mut region = Region::default();
    region.vpc_with(1, "10.0.0.0/16", true, false);
    region.eni(1, 1, "10.0.0.10", Some("198.18.0.20"));
    let answer = region.ask(&inside(1), "ip-10-0-0-10.ec2.internal", Kind::A);
    assert_eq!(answer.code, Code::NxDomain);
    let public = "ec2-198-18-0-20.compute-1.amazonaws.com";
    assert_eq!(
        region.ask(&View::Public, public, Kind::A).code,
        Code::Refused
    );
}

#[test]
fn a_public_name_leads_inside_from_inside() {
    let mut region = balanced();
    region.vpc(2, "10.1.0.0/16");
    let public = "ec2-198-18-0-20.compute-1.amazonaws.com";
    let ask = |view: &View| addresses(&region.ask(view, public, Kind::A));
    assert_eq!(ask(&inside(1)), ["10.0.0.10"]);
    assert_eq!(ask(&inside(2)), ["198.18.0.20"]);
    assert_eq!(ask(&View::Public), ["198.18.0.20"]);
    let reverse = region.ask(&View::Public, "20.0.18.198.in-addr.arpa", Kind::PTR);
    assert_eq!(
        Name::read(&reverse.answers[0].value).unwrap().0,
        name(public)
    );
}

#[test]
fn of_two_zones_of_one_name_the_newest_answers() {
    let mut region = Region::default();
    region.zone_at("ZNEW", "example.test", 2, false, &[]);
    region.zone_at("ZOLD", "example.test", 1, false, &[]);
    region.record("ZNEW", "a.example.test", "A", &["192.0.2.2"]);
    region.record("ZOLD", "a.example.test", "A", &["192.0.2.1"]);
    let answer = region.ask(&View::Public, "a.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.2"]);
}

#[test]
fn what_cannot_be_encoded_is_left_out_alone() {
    let mut region = example();
    region.record("Z1", "a.example.test", "A", &["nonsense", "192.0.2.1"]);
    region.record("Z1", "b.example.test", "MX", &["nonsense"]);
    let answer = region.ask(&View::Public, "a.example.test", Kind::A);
    assert_eq!(addresses(&answer), ["192.0.2.1"]);
    let answer = region.ask(&View::Public, "b.example.test", Kind::MX);
    assert_eq!(answer.code, Code::NxDomain);
}

#[test]
fn any_is_answered_with_one_set() {
    let mut region = example();
    region.record("Z1", "a.example.test", "A", &["192.0.2.1"]);
    region.record("Z1", "a.example.test", "TXT", &["\"x\""]);
    let answer = region.ask(&View::Public, "a.example.test", Kind::ANY);
    assert_eq!(answer.answers.len(), 1);
}

#[test]
fn localhost_never_leaves_the_resolver() {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    let answer = region.ask(&inside(1), "x.localhost", Kind::A);
    assert_eq!(addresses(&answer), ["127.0.0.1"]);
}
