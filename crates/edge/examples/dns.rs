//! A DNS server with a zone of its own, to look at with `dig` and to measure:
//! `cargo run --release -p fogbank-edge --example dns -- 127.0.0.1:4553 [names]`.
//! It answers `host-0.example.test` and so on, and, with a VPC's namespace `fog-dns-0000000000000000a` at hand, inside.

use std::sync::Arc;

use fogbank_store::{Memory, Op, Store, Txn};
use fogbank_types::ec2::Vpc;
use fogbank_types::route53::{HostedZone, RecordSet};
use fogbank_types::{InternetAccess, RegionConfig, Row, Scope, Tags, Timestamp, VpcId};

type Error = Box<dyn std::error::Error>;

fn op(row: &impl Row) -> Result<Op, Error> {
    Ok(Op::put(row.key(), serde_json::to_vec(row)?))
}

fn zone() -> HostedZone {
    HostedZone {
        scope: Scope::new("000000000000", "global"),
        id: "Z1".to_owned(),
        name: "example.test.".to_owned(),
        caller_reference: String::new(),
        comment: None,
        private: false,
        vpcs: Vec::new(),
        name_servers: vec!["ns-1.awsdns-01.com".to_owned()],
        delegation_set_id: None,
        created_at: Timestamp(0),
        tags: Tags::new(),
    }
}

fn record(name: &str, kind: &str, values: &[&str]) -> RecordSet {
    RecordSet {
        scope: zone().scope,
        zone_id: "Z1".to_owned(),
        name: format!("{name}.example.test."),
        record_type: kind.to_owned(),
        set_identifier: None,
        ttl: Some(60),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
        alias: None,
        routing: Default::default(),
        health_check_id: None,
    }
}

fn vpc() -> Result<Vpc, Error> {
    Ok(Vpc {
        scope: Scope::new("000000000000", "us-east-1"),
        vpc_id: VpcId::from_bits(10),
        cidr_block: "10.0.0.0/16".parse()?,
        cidr_associations: Vec::new(),
        ipv6_cidr_associations: Vec::new(),
        dhcp_options_id: None,
        instance_tenancy: "default".to_owned(),
        is_default: false,
        enable_dns_support: true,
        enable_dns_hostnames: true,
        enable_network_address_usage_metrics: false,
        created_at: Timestamp(0),
        tags: Tags::new(),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let dns = arguments.next().unwrap_or("127.0.0.1:4553".to_owned());
    let names: usize = arguments.next().map_or(Ok(1_000), |n| n.parse())?;
    let store = Arc::new(Memory::new());
    let mut ops = vec![op(&zone())?, op(&vpc()?)?];
    for (name, kind, values) in [
        ("two", "A", &["192.0.2.1", "192.0.2.2"][..]),
        ("www", "CNAME", &["two.example.test"]),
        ("text", "TXT", &["\"one\" \"two\""]),
        ("mail", "MX", &["10 two.example.test."]),
        ("srv", "SRV", &["1 2 80 two.example.test."]),
        ("caa", "CAA", &["0 issue \"ca.test\""]),
        (
            "web",
            "HTTPS",
            &["1 . alpn=\"h2,h3\" port=443 ipv4hint=192.0.2.1"],
        ),
        (
            "naptr",
            "NAPTR",
            &["1 2 \"U\" \"E2U+sip\" \"!^.*$!sip:a@b!\" ."],
        ),
        ("ds", "DS", &["1 13 2 abcdef"]),
        ("tlsa", "TLSA", &["3 1 1 00ff"]),
        ("sshfp", "SSHFP", &["4 2 00ff"]),
        ("spf", "SPF", &["\"v=spf1 -all\""]),
        ("six", "AAAA", &["2001:db8::1"]),
        ("sub", "NS", &["ns.sub.example.test"]),
        ("ns.sub", "A", &["192.0.2.53"]),
        ("\\052.wild", "A", &["192.0.2.9"]),
    ] {
        ops.push(op(&record(name, kind, values))?);
    }
    for n in 0..names {
        ops.push(op(&record(&format!("host-{n}"), "A", &["192.0.2.1"]))?);
    }
    for part in ops.chunks(1_000) {
        let _ = store.txn(Txn::of(part.to_vec())).await?;
    }
    let config = RegionConfig {
        instance: "dns".to_owned(),
        host: "here".to_owned(),
        data_dir: "/nonexistent".into(),
        run_dir: "/nonexistent".into(),
        endpoint: dns.parse()?,
        dns: dns.parse()?,
        account: "000000000000".to_owned(),
        public_cidr: "198.18.0.0/16".parse()?,
        public_cidr_v6: "2001:2::/48".parse()?,
        quotas: Default::default(),
        internet: InternetAccess::None,
        speed: 1.0,
        metrics: None,
        geography: None,
        tls_resolvers: Vec::new(),
        request_rates: false,
        auth: fogbank_types::AuthMode::Off,
        tls: None,
        ephemeral: true,
    };
    Ok(fogbank_edge::dns::serve(config, store).await?)
}
