//! Names of AWS's services, of endpoints, across peerings, and in zones that failed.

use fogbank_types::ec2::{
    EniOwner, PeeredVpc, PeeringStatus, VpcEndpoint, VpcEndpointKind, VpcEndpointState,
    VpcPeeringConnection, ZoneFault, ZoneFaultKind,
};
use fogbank_types::*;

use super::fixture::*;
use crate::dns::{Code, Kind, View};

const LOGS: &str = "logs.us-east-1.amazonaws.com";
const SERVICE: &str = "198.18.0.8";

/// A VPC with an endpoint of that service, with an interface in zone a and one in zone b.
fn endpoint(service: &str, kind: &str, private: bool) -> Region {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    region.vpc(2, "10.1.0.0/16");
    for (n, zone) in [(1, "us-east-1a"), (2, "us-east-1b")] {
        let mut eni = eni(n, 1, &format!("10.0.{n}.5"), None);
        eni.zone = zone.to_owned();
        eni.owner = EniOwner::VpcEndpoint(VpcEndpointId::from_bits(1));
        eni.ipv6_addresses = vec![format!("2001:2:0:1::{n}").parse().unwrap()];
        region.put(eni);
    }
    region.put(VpcEndpoint {
        scope: scope(),
        vpc_endpoint_id: VpcEndpointId::from_bits(1),
        vpc_id: vpc_id(1),
        service_name: format!("com.amazonaws.us-east-1.{service}"),
        kind: VpcEndpointKind::Interface {
            subnet_ids: Vec::new(),
            eni_ids: [1, 2].map(EniId::from_bits).to_vec(),
            group_ids: Vec::new(),
            private_dns_enabled: private,
            ip_address_type: kind.to_owned(),
            dns_suffix: "abcdefgh".to_owned(),
        },
        state: VpcEndpointState::Available,
        policy_document: String::new(),
        client_token: None,
        created_at: Timestamp(0),
        tags: Tags::new(),
    });
    region
}

fn fault(zone: &str, kind: ZoneFaultKind) -> ZoneFault {
    ZoneFault {
        zone: zone.to_owned(),
        kind,
        since: Timestamp(0),
    }
}

fn asked(region: &Region, view: &View, name: &str) -> Vec<String> {
    addresses(&region.ask(view, name, Kind::A))
}

#[test]
fn a_services_name_leads_to_the_regions_address_for_it_everywhere() {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/16");
    for view in [View::Public, inside(1)] {
        for (name, address) in [
            (LOGS, SERVICE),
            ("api.ecr.eu-west-1.amazonaws.com", SERVICE),
            ("000000000000.dkr.ecr.us-east-1.amazonaws.com", SERVICE),
            ("sts.amazonaws.com", SERVICE),
            ("public-keys.auth.elb.us-east-1.amazonaws.com", SERVICE),
            ("iam.amazonaws.com", SERVICE),
            ("s3.us-east-1.amazonaws.com", "198.18.0.9"),
            ("a.bucket.s3.us-east-1.amazonaws.com", "198.18.0.9"),
            ("dynamodb.us-east-1.amazonaws.com", "198.18.0.10"),
        ] {
            assert_eq!(asked(&region, &view, name), [address], "{name}");
            let v6 = region.ask(&view, name, Kind::AAAA);
            assert!(v6.answers.is_empty() && v6.code == Code::NoError, "{name}");
        }
        let dual = region.ask(&view, "logs.us-east-1.api.aws", Kind::AAAA);
        assert_eq!(dual.answers.len(), 1);
        assert_eq!(asked(&region, &view, "logs.us-east-1.api.aws"), [SERVICE]);
    }
}

#[test]
fn names_of_nobody_are_not_made_up() {
    let region = Region::default();
    for name in [
        "logs.mars-1.amazonaws.com",
        "dkr.ecr.us-east-1.amazonaws.com",
        "x.logs.us-east-1.amazonaws.com",
        "us-east-1.amazonaws.com",
        "amazonaws.com",
        "s3.us-east-1.api.aws",
    ] {
        assert!(asked(&region, &View::Public, name).is_empty(), "{name}");
    }
}

#[test]
fn private_dns_leads_to_the_endpoint_in_its_vpc_alone() {
    let region = endpoint("logs", "ipv4", true);
    let both = ["10.0.1.5", "10.0.2.5"];
    assert_eq!(asked(&region, &inside(1), LOGS), both);
    assert_eq!(asked(&region, &inside(2), LOGS), [SERVICE]);
    assert_eq!(asked(&region, &View::Public, LOGS), [SERVICE]);
    let v6 = region.ask(&inside(1), LOGS, Kind::AAAA);
    assert!(v6.answers.is_empty() && v6.code == Code::NoError);
    let under = region.ask(&inside(1), "x.logs.us-east-1.amazonaws.com", Kind::A);
    assert_eq!(under.code, Code::NxDomain);
    assert_eq!(
        asked(&region, &inside(1), "ecs.us-east-1.amazonaws.com"),
        [SERVICE]
    );
}

#[test]
fn without_private_dns_or_names_in_the_vpc_the_public_address_is_told() {
    let region = endpoint("logs", "ipv4", false);
    assert_eq!(asked(&region, &inside(1), LOGS), [SERVICE]);
    let mut region = endpoint("logs", "ipv4", true);
    region.vpc_with(1, "10.0.0.0/16", true, false);
    assert_eq!(asked(&region, &inside(1), LOGS), [SERVICE]);
}

#[test]
fn a_registrys_names_are_the_labels_under_its_domain() {
    let region = endpoint("ecr.dkr", "ipv4", true);
    let of = |name: &str| asked(&region, &inside(1), name);
    let name = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    assert_eq!(of(name), ["10.0.1.5", "10.0.2.5"]);
    assert!(of("dkr.ecr.us-east-1.amazonaws.com").is_empty());
    assert_eq!(of("api.ecr.us-east-1.amazonaws.com"), [SERVICE]);
}

#[test]
fn a_dual_stack_endpoint_has_both_families() {
    let region = endpoint("logs", "dualstack", true);
    let v6 = region.ask(&inside(1), LOGS, Kind::AAAA);
    assert_eq!(v6.answers.len(), 2);
    assert_eq!(asked(&region, &inside(1), LOGS).len(), 2);
    let region = endpoint("logs", "ipv6", true);
    assert!(asked(&region, &inside(1), LOGS).is_empty());
}

#[test]
fn an_endpoints_own_names_are_known_to_everybody() {
    let region = endpoint("logs", "ipv4", false);
    let own = format!("{}-abcdefgh", VpcEndpointId::from_bits(1));
    let domain = "logs.us-east-1.vpce.amazonaws.com";
    let of = |name: String| asked(&region, &View::Public, &name);
    assert_eq!(of(format!("{own}.{domain}")), ["10.0.1.5", "10.0.2.5"]);
    assert_eq!(of(format!("{own}-us-east-1b.{domain}")), ["10.0.2.5"]);
    assert!(of(format!("{own}-us-east-1c.{domain}")).is_empty());
}

#[test]
fn an_endpoint_in_a_failed_zone_is_not_told() {
    let mut region = endpoint("logs", "ipv4", true);
    region.put(fault("us-east-1a", ZoneFaultKind::Isolated));
    assert_eq!(asked(&region, &inside(1), LOGS), ["10.0.2.5"]);
    region.put(fault("us-east-1a", ZoneFaultKind::Slow { delay_ms: 5 }));
    assert_eq!(asked(&region, &inside(1), LOGS).len(), 2);
}

#[test]
fn a_hosted_zone_closer_to_the_name_wins_over_private_dns() {
    let mut region = endpoint("ecr.dkr", "ipv4", true);
    let name = "1.dkr.ecr.us-east-1.amazonaws.com";
    region.private_zone("Z1", "amazonaws.com", &[1]);
    assert_eq!(asked(&region, &inside(1), name).len(), 2);
    region.private_zone("Z2", name, &[1]);
    region.record("Z2", name, "A", &["192.0.2.1"]);
    assert_eq!(asked(&region, &inside(1), name), ["192.0.2.1"]);
}

#[test]
fn a_balancers_nodes_in_a_failed_zone_are_withdrawn() {
    let mut region = Region::default();
    let name = "web-1.us-east-1.elb.amazonaws.com";
    for n in [1, 2] {
        let public = format!("198.18.1.{n}");
        region.eni(n, 1, &format!("10.0.{n}.5"), Some(&public));
    }
    region.balancer(name, false, &[1, 2]);
    assert_eq!(asked(&region, &View::Public, name).len(), 2);
    region.put(fault("us-east-1a", ZoneFaultKind::Failed));
    assert_eq!(asked(&region, &View::Public, name), ["198.18.1.2"]);
    // Nothing better is left.
    region.put(fault("us-east-1b", ZoneFaultKind::Failed));
    assert_eq!(asked(&region, &View::Public, name).len(), 2);
}

fn peering(status: PeeringStatus, accepter_tells: bool) -> VpcPeeringConnection {
    let side = |n, allow_dns_resolution| PeeredVpc {
        scope: scope(),
        vpc_id: vpc_id(n),
        allow_dns_resolution,
    };
    VpcPeeringConnection {
        scope: scope(),
        peering_id: VpcPeeringConnectionId::from_bits(1),
        requester: side(1, false),
        accepter: side(2, accepter_tells),
        status,
        status_message: String::new(),
        expires_at: None,
        ended_at: None,
        created_at: Timestamp(0),
        accepter_tags: Tags::new(),
        tags: Tags::new(),
    }
}

#[test]
fn a_peers_public_names_lead_to_private_addresses_if_it_lets_them() {
    let mut region = Region::default();
    for (n, block) in [(1, "10.0.0.0/16"), (2, "10.1.0.0/16")] {
        region.vpc(n, block);
    }
    region.eni(1, 1, "10.0.0.5", Some("198.18.1.1"));
    region.eni(2, 2, "10.1.0.5", Some("198.18.1.2"));
    let [one, two] = [1, 2].map(|n| format!("ec2-198-18-1-{n}.compute-1.amazonaws.com"));
    assert_eq!(asked(&region, &inside(1), &two), ["198.18.1.2"]);
    region.put(peering(PeeringStatus::Active, true));
    assert_eq!(asked(&region, &inside(1), &two), ["10.1.0.5"]);
    // The requester's side did not allow it.
    assert_eq!(asked(&region, &inside(2), &one), ["198.18.1.1"]);
    region.put(peering(PeeringStatus::Deleted, true));
    assert_eq!(asked(&region, &inside(1), &two), ["198.18.1.2"]);
}

#[test]
fn an_ipv6_address_leads_back_to_its_interface() {
    let region = endpoint("logs", "ipv4", false);
    let digits = |address: &str| {
        let bits = address.parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        let all = (0..32).map(|n| format!("{:x}.", bits >> (4 * n) & 15));
        all.collect::<String>() + "ip6.arpa"
    };
    let pointer = |name: &str| region.ask(&inside(1), name, Kind::PTR);
    let answer = pointer(&digits("2001:2:0:1::1"));
    let expected = name("ip-10-0-1-5.ec2.internal");
    assert_eq!(*answer.answers[0].value, *expected.wire());
    // Nobody's, but nobody outside is asked about the region's own block.
    let answer = pointer(&digits("2001:2:0:1::99"));
    assert_eq!((answer.code, answer.outside), (Code::NxDomain, None));
    for bad in ["1.ip6.arpa", "g.ip6.arpa", "ip6.arpa", "12.3.ip6.arpa"] {
        assert!(pointer(bad).answers.is_empty(), "{bad}");
    }
}

#[test]
fn an_elastic_ip_answers_by_the_name_it_was_given() {
    let mut region = Region::default();
    region.elastic_ip(1, "198.18.1.1", "10.0.0.5");
    let mut row = ElasticRow::clone(region.snapshot.elastic_ips.all().next().unwrap());
    row.ptr_record = Some("mail.example.test.".to_owned());
    region.put(row);
    let answer = region.ask(&View::Public, "1.1.18.198.in-addr.arpa", Kind::PTR);
    assert_eq!(*answer.answers[0].value, *name("mail.example.test").wire());
}

type ElasticRow = fogbank_types::ec2::ElasticIp;

/// Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_compiling_many_interfaces() {
    let mut region = Region::default();
    region.vpc(1, "10.0.0.0/8");
    for n in 0..10_000u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0004 + n);
        region.eni(u128::from(n), 1, &address.to_string(), None);
    }
    let start = std::time::Instant::now();
    for _ in 0..10 {
        std::hint::black_box(region.tables());
    }
    eprintln!("10,000 interfaces: {:?} a compile", start.elapsed() / 10);
}
