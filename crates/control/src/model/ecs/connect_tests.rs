use super::*;
use crate::model::ecs::fixture::{World, container, definition, scope};
use crate::model::ecs::services::{self, ServiceUpdate};
use crate::model::ecs::{clusters, task_definitions};

/// A cluster with a default namespace, and a task definition with ports `web` (HTTP), `rpc` (gRPC) and `raw` (none).
fn world() -> World {
    let mut world = World::new();
    let mut definition = definition("api");
    let port = |name: &str, number: u16, protocol: Option<&str>| PortMapping {
        container_port: number,
        host_port: number,
        protocol: "tcp".to_owned(),
        name: Some(name.to_owned()),
        app_protocol: protocol.map(str::to_owned),
    };
    definition.containers = vec![fogbank_types::ecs::ContainerDefinition {
        port_mappings: vec![
            port("web", 8080, Some("http")),
            port("rpc", 9090, Some("grpc")),
            port("raw", 5432, None),
        ],
        ..container("main")
    }];
    let tx = world.tx();
    task_definitions::register(tx, &scope(), definition).unwrap();
    clusters::update_settings(tx, &scope(), "main", Default::default(), Some("shop")).unwrap();
    world
}

fn of_port(name: &str) -> ServiceConnectService {
    ServiceConnectService {
        port_name: name.to_owned(),
        discovery_name: None,
        client_aliases: Vec::new(),
        ingress_port_override: None,
        timeouts: None,
    }
}

fn serving(services: Vec<ServiceConnectService>) -> ServiceConnect {
    ServiceConnect {
        enabled: true,
        namespace: None,
        services,
        log_configuration: None,
    }
}

fn create(world: &mut World, name: &str, connect: ServiceConnect) -> Result<Connected, Refusal> {
    let mut new = world.new_service(1, false);
    new.name = name.to_owned();
    new.service_connect = Some(connect);
    let service = services::create(world.tx(), &scope(), new)?;
    Ok(service.deployments[0].connected.clone().unwrap())
}

fn refusal(change: impl FnOnce(&mut ServiceConnectService)) -> String {
    let mut wanted = of_port("web");
    change(&mut wanted);
    let refusal = create(&mut world(), "a", serving(vec![wanted])).unwrap_err();
    refusal.to_string()
}

#[test]
fn a_clusters_default_namespace_is_made_once() {
    let mut world = world();
    let again = default_namespace(world.tx(), &scope(), "shop").unwrap();
    let all: Vec<_> = world.region.tx.snapshot().namespaces.all().collect();
    assert_eq!((all.len(), all[0].kind), (1, NamespaceKind::Http));
    assert_eq!(again, Some(all[0].arn()));
    let by_arn = default_namespace(&mut world.region.tx, &scope(), &again.unwrap());
    assert!(by_arn.unwrap().is_some());
    let unknown = scope().arn("servicediscovery", "namespace/ns-0000000000000000");
    let refusal = default_namespace(world.tx(), &scope(), &unknown).unwrap_err();
    assert!(matches!(refusal, Refusal::NamespaceNotFound));
    assert_eq!(default_namespace(world.tx(), &scope(), "").unwrap(), None);
}

#[test]
fn without_a_namespace_nothing_connects() {
    let mut world = world();
    let tx = world.tx();
    clusters::update_settings(tx, &scope(), "main", Default::default(), Some("")).unwrap();
    let refusal = create(&mut world, "a", serving(Vec::new())).unwrap_err();
    assert!(refusal.to_string().contains("names no namespace"));
    let mut connect = serving(Vec::new());
    connect.namespace = Some("elsewhere".to_owned());
    let refusal = create(&mut world, "a", connect).unwrap_err();
    assert!(matches!(refusal, Refusal::NamespaceNotFound));
}

#[test]
fn what_is_not_said_follows_from_port_and_namespace() {
    let mut world = world();
    let served = create(
        &mut world,
        "a",
        serving(vec![of_port("web"), of_port("raw")]),
    )
    .unwrap()
    .served;
    let web = &served[0];
    assert_eq!((web.dns_name.as_str(), web.port), ("web.shop", 8080));
    assert_eq!(web.protocol, Protocol::Http);
    assert_eq!(
        (web.idle_timeout_seconds, web.request_timeout_seconds),
        (300, 15)
    );
    let raw = &served[1];
    assert_eq!(raw.protocol, Protocol::Tcp);
    assert_eq!(
        (raw.idle_timeout_seconds, raw.request_timeout_seconds),
        (3600, 0)
    );
    let made = world.region.tx.snapshot().discovery_services.all();
    let names: HashSet<&str> = made.map(|row| row.name.as_str()).collect();
    assert_eq!(names, HashSet::from(["web", "raw"]));
}

#[test]
fn what_cannot_be_is_refused() {
    let unknown = refusal(|wanted| wanted.port_name = "nowhere".to_owned());
    assert!(unknown.contains("'nowhere'") && unknown.contains("was not found"));
    let two = refusal(|wanted| wanted.client_aliases = vec![(80, None), (81, None)]);
    assert!(two.contains("at most 1"));
    let taken = refusal(|wanted| wanted.ingress_port_override = Some(9090));
    assert!(taken.contains("9090 is already used"));
    let lines = "x\n10.0.0.1 bank.example";
    let name = refusal(|wanted| wanted.client_aliases = vec![(80, Some(lines.to_owned()))]);
    assert!(name.contains("not a valid DNS name"));
    let name = refusal(|wanted| wanted.discovery_name = Some("a b".to_owned()));
    assert!(name.contains("discoveryName"));
    let timeout = refusal(|wanted| {
        wanted.port_name = "raw".to_owned();
        wanted.timeouts = Some((None, Some(1)));
    });
    assert!(timeout.contains("perRequestTimeoutSeconds"));
}

#[test]
fn a_name_and_its_port_are_one_services() {
    let mut world = world();
    let alias = |name: &str, discovery: &str| ServiceConnectService {
        discovery_name: Some(discovery.to_owned()),
        client_aliases: vec![(80, Some(name.to_owned()))],
        ..of_port("web")
    };
    create(&mut world, "a", serving(vec![alias("orders", "one")])).unwrap();
    let same_alias = create(&mut world, "b", serving(vec![alias("Orders", "two")]));
    assert!(
        same_alias
            .unwrap_err()
            .to_string()
            .contains("already in use")
    );
    let same_name = create(&mut world, "b", serving(vec![alias("carts", "one")]));
    assert!(same_name.unwrap_err().to_string().contains("'one'"));
    create(&mut world, "b", serving(vec![alias("carts", "two")])).unwrap();
}

#[test]
fn a_deployment_knows_what_was_there_when_it_was_made() {
    let mut world = world();
    let names = |connected: &Connected| -> Vec<String> {
        let known = connected.known.iter();
        known
            .map(|endpoint| endpoint.discovery_name.clone())
            .collect()
    };
    let first = create(&mut world, "api", serving(vec![of_port("web")])).unwrap();
    let second = create(&mut world, "late", serving(vec![of_port("rpc")])).unwrap();
    assert_eq!(names(&first), ["web"]);
    assert_eq!(names(&second), ["rpc", "web"]);
    world.scale(3);
    let unchanged = world.service().deployments;
    assert_eq!(unchanged.len(), 1, "scaling is no deployment");
    let anew = ServiceUpdate {
        name: "api".to_owned(),
        cluster: Some("main".to_owned()),
        force_new_deployment: true,
        ..ServiceUpdate::default()
    };
    services::update(world.tx(), &scope(), anew).unwrap();
    let newest = world.service().deployments;
    let newest = newest.iter().find(|deployment| deployment.primary).unwrap();
    assert_eq!(names(newest.connected.as_ref().unwrap()), ["web", "rpc"]);
}

#[test]
fn tasks_of_a_connected_service_have_an_interface_for_it() {
    let mut world = world();
    create(&mut world, "api", serving(vec![of_port("web")])).unwrap();
    world.settle();
    let task = world.tasks()[0].clone();
    let enis = &world.region.tx.snapshot().enis;
    assert!(enis.get(&scope(), &task.eni_id).unwrap().service_connect);
}
