use super::lookups::Query;
use super::namespaces::NewNamespace;
use super::services::NewService;
use super::*;
use crate::model::Refused;
use crate::model::route53::zones;
use fogbank_types::discovery::{
    DiscoveryService, NamespaceKind, ServiceDns, ServiceHealthCheck, ServiceRouting,
};
use fogbank_types::route53::{CheckProtocol, HealthCheckStatus, HealthCheckTarget, Routing};
use fogbank_types::{Scope, Tags};
use std::collections::BTreeMap;

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

fn namespace(tx: &mut Tx, kind: NamespaceKind) -> Result<String, Refusal> {
    let new = NewNamespace {
        name: "corp.test".to_owned(),
        kind,
        vpc: None,
        description: None,
        creator_request_id: None,
        soa_ttl: None,
        tags: Tags::new(),
    };
    namespaces::create(tx, &scope(), new)
}

fn service(tx: &mut Tx, records: &[&str]) -> DiscoveryService {
    namespace(tx, NamespaceKind::DnsPublic).unwrap();
    let namespace_id = tx.snapshot().namespaces.all().next().unwrap().id.clone();
    let new = NewService {
        name: "web".to_owned(),
        namespace_id,
        description: None,
        creator_request_id: None,
        dns: Some(ServiceDns {
            routing: ServiceRouting::Multivalue,
            records: records
                .iter()
                .map(|kind| ((*kind).to_owned(), 10))
                .collect(),
        }),
        custom_health: true,
        health_check: None,
        tags: Tags::new(),
    };
    services::create(tx, &scope(), new).unwrap()
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn register(tx: &mut Tx, service: &DiscoveryService, id: &str) -> Result<String, Refusal> {
    let attributes = attributes(&[
        ("AWS_INSTANCE_IPV4", "10.0.0.9"),
        ("AWS_INSTANCE_PORT", "80"),
    ]);
    instances::register(tx, &scope(), &service.id, id, attributes, None)
}

/// Name, type, value and routing of the records below `web`.
fn records(tx: &Tx) -> Vec<(String, String, String, Routing)> {
    let rows = tx
        .snapshot()
        .record_sets
        .all()
        .filter(|row| row.name.contains("web"));
    rows.map(|row| {
        let value = row.values[0].clone();
        (
            row.name.clone(),
            row.record_type.clone(),
            value,
            row.routing.clone(),
        )
    })
    .collect()
}

#[test]
fn a_namespace_owns_its_zone() {
    let mut tx = Tx::for_test();
    namespace(&mut tx, NamespaceKind::DnsPublic).unwrap();
    let again = namespace(&mut tx, NamespaceKind::DnsPublic).unwrap_err();
    assert_eq!(again.code(), "NamespaceAlreadyExists");
    let row = tx.snapshot().namespaces.all().next().unwrap().clone();
    let (zone_id, _) = row.zone.clone().unwrap();
    let refused = zones::delete(&mut tx, &scope().global(), &zone_id).unwrap_err();
    assert_eq!(refused.code(), "AccessDenied");
    namespaces::delete(&mut tx, &scope(), &row.arn()).unwrap();
    assert!(tx.snapshot().hosted_zones.is_empty() && tx.snapshot().record_sets.is_empty());
}

#[test]
fn a_zone_that_cannot_be_fails_the_operation() {
    let mut tx = Tx::for_test();
    let id = namespace(&mut tx, NamespaceKind::DnsPrivate).unwrap();
    let row = operations::find(tx.snapshot(), &scope(), &id).unwrap();
    assert_eq!(row.error.as_ref().unwrap().0, "CANNOT_CREATE_HOSTED_ZONE");
    assert!(tx.snapshot().namespaces.is_empty());
}

#[test]
fn instances_have_their_records() {
    let mut tx = Tx::for_test();
    let service = service(&mut tx, &["A", "SRV"]);
    register(&mut tx, &service, "i1").unwrap();
    register(&mut tx, &service, "i2").unwrap();
    let healthy = Routing::Multivalue { healthy: true };
    let all = records(&tx);
    assert_eq!(all.len(), 6);
    let srv = "1 1 80 i1.web.corp.test.".to_owned();
    let name = "web.corp.test.".to_owned();
    assert!(all.contains(&(name.clone(), "SRV".to_owned(), srv, healthy.clone())));
    assert!(all.contains(&(name, "A".to_owned(), "10.0.0.9".to_owned(), healthy)));
    let own = "i1.web.corp.test.".to_owned();
    assert!(all.contains(&(own, "A".to_owned(), "10.0.0.9".to_owned(), Routing::Simple)));
    instances::deregister(&mut tx, &scope(), &service.id, "i1").unwrap();
    assert_eq!(records(&tx).len(), 3);
    assert_eq!(
        services::delete(&mut tx, &scope(), &service.id)
            .unwrap_err()
            .code(),
        "ResourceInUse"
    );
    instances::deregister(&mut tx, &scope(), &service.id, "i2").unwrap();
    assert!(records(&tx).is_empty());
    services::delete(&mut tx, &scope(), &service.id).unwrap();
}

#[test]
fn health_is_in_the_records_and_in_what_is_discovered() {
    let mut tx = Tx::for_test();
    let service = service(&mut tx, &["A"]);
    register(&mut tx, &service, "i1").unwrap();
    register(&mut tx, &service, "i2").unwrap();
    let found = |tx: &Tx, health: Option<&str>| {
        let query = Query {
            health: health.map(str::to_owned),
            ..Query::default()
        };
        lookups::discover(tx.snapshot(), &service, &query).len()
    };
    instances::set_health(&mut tx, &scope(), &service.id, "i1", false).unwrap();
    assert!(
        records(&tx)
            .iter()
            .any(|row| row.3 == Routing::Multivalue { healthy: false })
    );
    assert_eq!(
        (found(&tx, Some("HEALTHY")), found(&tx, Some("UNHEALTHY"))),
        (1, 1)
    );
    assert_eq!((found(&tx, Some("ALL")), found(&tx, None)), (2, 1));
    instances::set_health(&mut tx, &scope(), &service.id, "i2", false).unwrap();
    assert_eq!(found(&tx, Some("HEALTHY_OR_ELSE_ALL")), 2);
}

#[test]
fn an_instance_needs_what_its_records_are_made_of() {
    let mut tx = Tx::for_test();
    let service = service(&mut tx, &["A", "SRV"]);
    let none = instances::register(&mut tx, &scope(), &service.id, "i", attributes(&[]), None);
    assert_eq!(none.unwrap_err().code(), "InvalidInput");
    let broken = attributes(&[("AWS_INSTANCE_IPV4", "x"), ("AWS_INSTANCE_PORT", "80")]);
    assert!(instances::register(&mut tx, &scope(), &service.id, "i", broken, None).is_err());
    let missing = instances::deregister(&mut tx, &scope(), &service.id, "i").unwrap_err();
    assert_eq!(missing.code(), "InstanceNotFound");
}

#[test]
fn new_records_of_a_service_are_its_instances_too() {
    let mut tx = Tx::for_test();
    let service = service(&mut tx, &["A"]);
    register(&mut tx, &service, "i1").unwrap();
    let srv = vec![("SRV".to_owned(), 60)];
    services::update(&mut tx, &scope(), &service.id, None, Some(srv), None).unwrap();
    let kinds: Vec<_> = records(&tx).into_iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&("web.corp.test.".to_owned(), "SRV".to_owned())));
}

fn checked(threshold: u32) -> ServiceHealthCheck {
    ServiceHealthCheck {
        protocol: CheckProtocol::Http,
        path: None,
        threshold,
    }
}

#[test]
fn an_instance_of_a_checked_service_has_a_health_check_as_long_as_it_lives() {
    let mut tx = Tx::for_test();
    let service = service(&mut tx, &["A"]);
    tx.update::<DiscoveryService>(&scope(), &service.id, |row| {
        row.custom_health = false;
        row.health_check = Some(checked(2));
    });
    register(&mut tx, &service, "i-1").unwrap();
    let check = tx.snapshot().health_checks.all().next().unwrap().clone();
    let HealthCheckTarget::Endpoint(target) = &check.config.target else {
        panic!("{check:?}");
    };
    assert_eq!((target.port, target.threshold), (80, 2));
    assert_eq!(target.path.as_deref(), Some("/"));
    let record = |tx: &Tx| {
        let mut all = tx.snapshot().record_sets.all();
        let found = all.find(|record| record.set_identifier.as_deref() == Some("i-1"));
        found.unwrap().clone()
    };
    assert_eq!(record(&tx).health_check_id.as_ref(), Some(&check.id));
    let known = |tx: &Tx| {
        let row = instances::find(tx.snapshot(), &scope(), &service.id, "i-1");
        health::known(tx.snapshot(), row.unwrap())
    };
    assert_eq!(known(&tx), None, "nobody has looked yet");
    tx.put(HealthCheckStatus {
        scope: check.scope.clone(),
        health_check_id: check.id.clone(),
        version: check.version,
        healthy: false,
        observations: Vec::new(),
    });
    assert_eq!(known(&tx), Some(false));
    let healthy = Query {
        health: Some("HEALTHY".to_owned()),
        ..Query::default()
    };
    let found = |tx: &Tx| {
        let row = services::find(tx.snapshot(), &scope(), &service.id).unwrap();
        lookups::discover(tx.snapshot(), row, &healthy).len()
    };
    assert_eq!(found(&tx), 0);
    // Changed with its service, and the same one when its instance is registered again.
    let change = |tx: &mut Tx, check| {
        services::update(tx, &scope(), &service.id, None, None, check).unwrap();
    };
    change(&mut tx, Some(checked(5)));
    register(&mut tx, &service, "i-1").unwrap();
    let changed = tx.snapshot().health_checks.all().next().unwrap().clone();
    assert_eq!((&changed.id, changed.version), (&check.id, 2));
    assert_eq!(tx.snapshot().health_checks.all().count(), 1);
    change(&mut tx, None);
    assert_eq!(tx.snapshot().health_checks.all().count(), 0);
    assert_eq!(record(&tx).health_check_id, None);
    assert_eq!(found(&tx), 1, "without a check, all are as good");
    change(&mut tx, Some(checked(1)));
    assert_eq!(tx.snapshot().health_checks.all().count(), 1);
    instances::deregister(&mut tx, &scope(), &service.id, "i-1").unwrap();
    assert_eq!(tx.snapshot().health_checks.all().count(), 0);
}

#[test]
fn what_has_no_health_check_of_route_53_is_refused() {
    let multivalue = |kind: &str| ServiceDns {
        routing: ServiceRouting::Multivalue,
        records: vec![(kind.to_owned(), 10)],
    };
    let refused = |kind, dns: Option<&ServiceDns>, custom, check: &ServiceHealthCheck| {
        health::check(kind, dns, custom, check).is_err()
    };
    let (a, cname) = (multivalue("A"), multivalue("CNAME"));
    assert!(!refused(
        NamespaceKind::DnsPublic,
        Some(&a),
        false,
        &checked(1)
    ));
    assert!(!refused(NamespaceKind::Http, None, false, &checked(10)));
    assert!(refused(
        NamespaceKind::DnsPrivate,
        Some(&a),
        false,
        &checked(1)
    ));
    assert!(refused(
        NamespaceKind::DnsPublic,
        Some(&cname),
        false,
        &checked(1)
    ));
    assert!(refused(
        NamespaceKind::DnsPublic,
        Some(&a),
        true,
        &checked(1)
    ));
    assert!(refused(
        NamespaceKind::DnsPublic,
        Some(&a),
        false,
        &checked(11)
    ));
    let tcp = ServiceHealthCheck {
        protocol: CheckProtocol::Tcp,
        path: Some("/".to_owned()),
        threshold: 1,
    };
    assert!(refused(NamespaceKind::DnsPublic, Some(&a), false, &tcp));
}
