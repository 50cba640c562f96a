//! Clusters: names for groups of tasks and services; on Fargate they hold no machines.

use super::{Refusal, client, connect, invalid, is_name, short};
use crate::model::Tx;
use fogbank_types::ecs::{
    CapacityProviderStrategyItem, Cluster, DesiredStatus, Service, ServiceStatus, Task,
};
use fogbank_types::status::TaskStatus;
use fogbank_types::{Scope, Snapshot, Tags};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The capacity providers that every account has.
pub const PROVIDERS: [&str; 2] = ["FARGATE", "FARGATE_SPOT"];

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html>
const STRATEGY_MAX: usize = 20;

#[derive(Debug, Clone, Default)]
pub struct NewCluster {
    pub name: Option<String>,
    pub settings: BTreeMap<String, String>,
    pub capacity_providers: Vec<String>,
    pub default_strategy: Vec<CapacityProviderStrategyItem>,
    /// Name or ARN of a namespace for Service Connect.
    pub service_connect_namespace: Option<String>,
    pub tags: Tags,
}

/// The cluster of that name or ARN; `default` if none is named.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    text: Option<&str>,
) -> Result<&'a Arc<Cluster>, Refusal> {
    let name = short(text.unwrap_or("default"));
    snapshot
        .clusters
        .get(scope, name)
        .ok_or(Refusal::ClusterNotFound)
}

/// Creates a cluster, or gives the one of that name.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewCluster) -> Result<Cluster, Refusal> {
    let name = new.name.unwrap_or_else(|| "default".to_owned());
    if !is_name(&name) {
        return Err(invalid(
            "The specified cluster name is invalid. Up to 255 letters, numbers, hyphens, and underscores are allowed.",
        ));
    }
    check_providers(&new.capacity_providers, &new.default_strategy)?;
    if let Some(found) = tx.snapshot().clusters.get(scope, &name) {
        return Ok(Cluster::clone(found));
    }
    let mut settings = new.settings;
    check_settings(&settings)?;
    settings
        .entry("containerInsights".to_owned())
        .or_insert_with(|| "disabled".to_owned());
    let service_connect_namespace = match &new.service_connect_namespace {
        Some(text) => connect::default_namespace(tx, scope, text)?,
        None => None,
    };
    let cluster = Cluster {
        service_connect_namespace,
        arn: scope.arn("ecs", &format!("cluster/{name}")),
        scope: scope.clone(),
        name,
        status: "ACTIVE".to_owned(),
        settings,
        capacity_providers: new.capacity_providers,
        default_strategy: new.default_strategy,
        created_at: tx.now(),
        tags: new.tags,
    };
    tx.put(cluster.clone());
    Ok(cluster)
}

fn check_settings(settings: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match settings.get("containerInsights").map(String::as_str) {
        None | Some("enabled" | "disabled" | "enhanced") => Ok(()),
        Some(other) => Err(invalid(format!(
            "Invalid value '{other}' for cluster setting containerInsights."
        ))),
    }
}

/// A strategy names only providers of the cluster, has at most one base and some weight (fact SVC-16).
pub fn check_providers(
    providers: &[String],
    strategy: &[CapacityProviderStrategyItem],
) -> Result<(), Refusal> {
    if let Some(unknown) = providers
        .iter()
        .find(|name| !PROVIDERS.contains(&name.as_str()))
    {
        return Err(invalid(format!(
            "The specified capacity provider '{unknown}' was not found. Specify a valid name or ARN and try again."
        )));
    }
    check_strategy(providers, strategy)
}

/// See [`check_providers`].
pub fn check_strategy(
    providers: &[String],
    strategy: &[CapacityProviderStrategyItem],
) -> Result<(), Refusal> {
    if strategy.is_empty() {
        return Ok(());
    }
    if strategy.len() > STRATEGY_MAX {
        return Err(invalid(format!(
            "The specified capacity provider strategy can contain a maximum of {STRATEGY_MAX} capacity providers."
        )));
    }
    if let Some(item) = strategy
        .iter()
        .find(|item| !providers.contains(&item.capacity_provider))
    {
        return Err(invalid(format!(
            "The specified capacity provider strategy contains a capacity provider that is not associated with the cluster: '{}'.",
            item.capacity_provider
        )));
    }
    if strategy.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid(
            "The specified capacity provider strategy can't contain more than one capacity provider with a non-zero base value.",
        ));
    }
    if strategy.iter().all(|item| item.weight == 0) {
        return Err(invalid(
            "The specified capacity provider strategy must contain at least one capacity provider with a weight greater than 0.",
        ));
    }
    Ok(())
}

/// UpdateCluster and UpdateClusterSettings. The namespace is as in [`connect::default_namespace`].
pub fn update_settings(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    settings: BTreeMap<String, String>,
    namespace: Option<&str>,
) -> Result<Cluster, Refusal> {
    check_settings(&settings)?;
    let mut cluster = Cluster::clone(find(tx.snapshot(), scope, Some(name))?);
    if let Some(text) = namespace {
        cluster.service_connect_namespace = connect::default_namespace(tx, scope, text)?;
    }
    cluster.settings.extend(settings);
    tx.put(cluster.clone());
    Ok(cluster)
}

/// Replaces the providers and the default strategy.
pub fn put_capacity_providers(
    tx: &mut Tx,
    scope: &Scope,
    name: &str,
    providers: Vec<String>,
    strategy: Vec<CapacityProviderStrategyItem>,
) -> Result<Cluster, Refusal> {
    let mut cluster = Cluster::clone(find(tx.snapshot(), scope, Some(name))?);
    check_providers(&providers, &strategy)?;
    cluster.capacity_providers = providers;
    cluster.default_strategy = strategy;
    tx.put(cluster.clone());
    Ok(cluster)
}

/// Deletes a cluster that has neither services nor tasks left, and what was kept of those that are over.
pub fn delete(tx: &mut Tx, scope: &Scope, name: &str) -> Result<Cluster, Refusal> {
    let mut cluster = Cluster::clone(find(tx.snapshot(), scope, Some(name))?);
    if services(tx.snapshot(), &cluster).any(|service| service.status == ServiceStatus::Active) {
        return Err(Refusal::ClusterContainsServices);
    }
    if tasks(tx.snapshot(), &cluster).any(|task| task.stopped_at.is_none()) {
        return Err(Refusal::ClusterContainsTasks);
    }
    let over: Vec<String> = tasks(tx.snapshot(), &cluster)
        .map(|task| task.id.clone())
        .collect();
    for id in over {
        tx.delete::<Task>(scope, &id);
        tx.delete::<TaskStatus>(scope, &id);
    }
    let gone: Vec<String> = services(tx.snapshot(), &cluster)
        .map(|s| format!("{}/{}", s.cluster, s.name))
        .collect();
    for id in gone {
        tx.delete::<Service>(scope, &id);
    }
    tx.delete::<Cluster>(scope, &cluster.name);
    cluster.status = "INACTIVE".to_owned();
    Ok(cluster)
}

/// Its services, whatever their status.
pub fn services<'a>(
    snapshot: &'a Snapshot,
    cluster: &Cluster,
) -> impl Iterator<Item = &'a Arc<Service>> + use<'a> {
    snapshot
        .services
        .with_prefix(&cluster.scope, &format!("{}/", cluster.name))
}

/// Its tasks, whatever their status.
pub fn tasks<'a>(
    snapshot: &'a Snapshot,
    cluster: &Cluster,
) -> impl Iterator<Item = &'a Arc<Task>> + use<'a> {
    let name = cluster.name.clone();
    snapshot
        .tasks
        .in_scope(&cluster.scope)
        .filter(move |task| task.cluster == name)
}

/// Running and pending tasks of a cluster.
pub fn task_counts(snapshot: &Snapshot, cluster: &Cluster) -> (usize, usize) {
    let mut counts = (0, 0);
    for task in tasks(snapshot, cluster) {
        if task.desired == DesiredStatus::Stopped {
            continue;
        }
        match super::health::phase(snapshot, task) {
            Some(fogbank_types::status::TaskPhase::Running) => counts.0 += 1,
            None | Some(fogbank_types::status::TaskPhase::Pending) => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

/// A cluster's name is fine and unused: refused otherwise. For callers that only have a text.
pub fn require_active(cluster: &Cluster) -> Result<(), Refusal> {
    if cluster.status == "ACTIVE" {
        Ok(())
    } else {
        Err(client("The referenced cluster was inactive."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope::new("000000000000", "us-east-1")
    }

    fn named(name: &str) -> NewCluster {
        NewCluster {
            name: Some(name.to_owned()),
            ..NewCluster::default()
        }
    }

    #[test]
    fn creating_it_twice_gives_the_same() {
        let mut tx = Tx::for_test();
        let first = create(&mut tx, &scope(), named("main")).unwrap();
        tx.advance_ms(1000);
        assert_eq!(create(&mut tx, &scope(), named("main")).unwrap(), first);
        assert_eq!(first.arn, "arn:aws:ecs:us-east-1:000000000000:cluster/main");
    }

    #[test]
    fn it_is_found_by_name_by_arn_and_by_default() {
        let mut tx = Tx::for_test();
        let made = create(&mut tx, &scope(), NewCluster::default()).unwrap();
        for text in [None, Some("default"), Some(made.arn.as_str())] {
            assert_eq!(find(tx.snapshot(), &scope(), text).unwrap().name, "default");
        }
        assert_eq!(
            find(tx.snapshot(), &scope(), Some("x")).unwrap_err(),
            Refusal::ClusterNotFound
        );
    }

    #[test]
    fn bad_names_and_strategies_are_refused() {
        let mut tx = Tx::for_test();
        for name in ["", "a b", "ä", &"x".repeat(256)] {
            assert!(create(&mut tx, &scope(), named(name)).is_err(), "{name}");
        }
        let item = |name: &str, base, weight| CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            base,
            weight,
        };
        let fargate = vec!["FARGATE".to_owned()];
        assert!(check_providers(&["EC2".to_owned()], &[]).is_err());
        assert!(check_providers(&fargate, &[item("FARGATE_SPOT", 0, 1)]).is_err());
        assert!(check_providers(&fargate, &[item("FARGATE", 0, 0)]).is_err());
        assert!(check_providers(&fargate, &[item("FARGATE", 1, 1)]).is_ok());
        assert!(check_providers(&fargate, &vec![item("FARGATE", 0, 1); 21]).is_err());
    }

    #[test]
    fn deleting_gives_it_back_inactive() {
        let mut tx = Tx::for_test();
        create(&mut tx, &scope(), named("main")).unwrap();
        assert_eq!(
            delete(&mut tx, &scope(), "main").unwrap().status,
            "INACTIVE"
        );
        assert!(tx.snapshot().clusters.is_empty());
        assert_eq!(
            delete(&mut tx, &scope(), "main").unwrap_err(),
            Refusal::ClusterNotFound
        );
    }
}
