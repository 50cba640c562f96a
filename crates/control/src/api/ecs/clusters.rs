//! Clusters.

use super::{
    absent, failure, included, invalid, page, read_strategy, read_tags, show_strategy, show_tags,
};
use crate::api::{ApiError, Context};
use crate::model::ecs::clusters::{self, NewCluster};
use crate::model::ecs::tags;
use fogbank_types::Snapshot;
use fogbank_types::ecs::{Cluster, ServiceStatus};
use fogbank_wire::ecs as wire;
use std::collections::BTreeMap;

fn read_settings(
    settings: Option<Vec<wire::ClusterSetting>>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut read = BTreeMap::new();
    for setting in settings.unwrap_or_default() {
        let (Some(name), Some(value)) = (setting.name, setting.value) else {
            return Err(invalid("A cluster setting needs a name and a value."));
        };
        read.insert(name, value);
    }
    Ok(read)
}

pub fn create(
    context: &Context,
    request: wire::CreateClusterRequest,
) -> Result<wire::CreateClusterResponse, ApiError> {
    absent(&request.configuration, "configuration")?;
    let new = NewCluster {
        name: request.cluster_name,
        settings: read_settings(request.settings)?,
        capacity_providers: request.capacity_providers.unwrap_or_default(),
        default_strategy: read_strategy(request.default_capacity_provider_strategy),
        service_connect_namespace: request.service_connect_defaults.map(|d| d.namespace),
        tags: read_tags(request.tags)?,
    };
    tags::check(&new.tags)?;
    let scope = context.scope();
    let cluster = context.write(|tx| Ok(clusters::create(tx, &scope, new.clone())?))?;
    let cluster = show(&context.snapshot(), &cluster, true, true);
    Ok(wire::CreateClusterResponse {
        cluster: Some(cluster),
    })
}

pub fn show(
    snapshot: &Snapshot,
    cluster: &Cluster,
    with_tags: bool,
    with_settings: bool,
) -> wire::Cluster {
    let (running, pending) = clusters::task_counts(snapshot, cluster);
    let services = clusters::services(snapshot, cluster)
        .filter(|service| service.status == ServiceStatus::Active)
        .count();
    let settings = cluster
        .settings
        .iter()
        .map(|(name, value)| wire::ClusterSetting {
            name: Some(name.clone()),
            value: Some(value.clone()),
        })
        .collect();
    wire::Cluster {
        active_services_count: Some(services as i32),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        cluster_arn: Some(cluster.arn.clone()),
        cluster_name: Some(cluster.name.clone()),
        default_capacity_provider_strategy: Some(show_strategy(&cluster.default_strategy)),
        pending_tasks_count: Some(pending as i32),
        registered_container_instances_count: Some(0),
        running_tasks_count: Some(running as i32),
        service_connect_defaults: cluster.service_connect_namespace.as_ref().map(|arn| {
            wire::ClusterServiceConnectDefaults {
                namespace: Some(arn.clone()),
            }
        }),
        settings: Some(if with_settings { settings } else { Vec::new() }),
        statistics: Some(Vec::new()),
        status: Some(cluster.status.clone()),
        tags: Some(if with_tags {
            show_tags(&cluster.tags)
        } else {
            Vec::new()
        }),
        ..wire::Cluster::default()
    }
}

pub fn describe(
    context: &Context,
    request: wire::DescribeClustersRequest,
) -> Result<wire::DescribeClustersResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let (with_tags, with_settings) = (
        included(&request.include, "TAGS"),
        included(&request.include, "SETTINGS"),
    );
    let mut names = request.clusters.unwrap_or_default();
    if names.is_empty() {
        names.push("default".to_owned());
    }
    if names.len() > 100 {
        return Err(invalid("clusters can have at most 100 items."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match clusters::find(&snapshot, &scope, Some(&name)) {
            Ok(cluster) => found.push(show(&snapshot, cluster, with_tags, with_settings)),
            Err(_) if name.starts_with("arn:") => failures.push(failure(&name)),
            Err(_) => failures.push(failure(&scope.arn("ecs", &format!("cluster/{name}")))),
        }
    }
    Ok(wire::DescribeClustersResponse {
        clusters: Some(found),
        failures: Some(failures),
    })
}

pub fn list(
    context: &Context,
    request: wire::ListClustersRequest,
) -> Result<wire::ListClustersResponse, ApiError> {
    let snapshot = context.snapshot();
    let arns = snapshot
        .clusters
        .in_scope(&context.scope())
        .map(|cluster| cluster.arn.clone())
        .collect();
    let (arns, next_token) = page(arns, String::clone, request.next_token, request.max_results)?;
    Ok(wire::ListClustersResponse {
        cluster_arns: Some(arns),
        next_token,
    })
}

pub fn update(
    context: &Context,
    request: wire::UpdateClusterRequest,
) -> Result<wire::UpdateClusterResponse, ApiError> {
    absent(&request.configuration, "configuration")?;
    let namespace = request.service_connect_defaults.map(|d| d.namespace);
    let cluster = change_settings(context, &request.cluster, request.settings, namespace)?;
    Ok(wire::UpdateClusterResponse {
        cluster: Some(cluster),
    })
}

pub fn update_settings(
    context: &Context,
    request: wire::UpdateClusterSettingsRequest,
) -> Result<wire::UpdateClusterSettingsResponse, ApiError> {
    let cluster = change_settings(context, &request.cluster, Some(request.settings), None)?;
    Ok(wire::UpdateClusterSettingsResponse {
        cluster: Some(cluster),
    })
}

fn change_settings(
    context: &Context,
    name: &str,
    settings: Option<Vec<wire::ClusterSetting>>,
    namespace: Option<String>,
) -> Result<wire::Cluster, ApiError> {
    let (scope, settings) = (context.scope(), read_settings(settings)?);
    let cluster = context.write(|tx| {
        Ok(clusters::update_settings(
            tx,
            &scope,
            name,
            settings.clone(),
            namespace.as_deref(),
        )?)
    })?;
    Ok(show(&context.snapshot(), &cluster, true, true))
}

pub fn put_capacity_providers(
    context: &Context,
    request: wire::PutClusterCapacityProvidersRequest,
) -> Result<wire::PutClusterCapacityProvidersResponse, ApiError> {
    let scope = context.scope();
    let strategy = read_strategy(Some(request.default_capacity_provider_strategy));
    let cluster = context.write(|tx| {
        let (providers, strategy) = (request.capacity_providers.clone(), strategy.clone());
        Ok(clusters::put_capacity_providers(
            tx,
            &scope,
            &request.cluster,
            providers,
            strategy,
        )?)
    })?;
    let cluster = show(&context.snapshot(), &cluster, true, true);
    Ok(wire::PutClusterCapacityProvidersResponse {
        cluster: Some(cluster),
    })
}

pub fn delete(
    context: &Context,
    request: wire::DeleteClusterRequest,
) -> Result<wire::DeleteClusterResponse, ApiError> {
    let scope = context.scope();
    let cluster = context.write(|tx| Ok(clusters::delete(tx, &scope, &request.cluster)?))?;
    let cluster = show(&context.snapshot(), &cluster, true, true);
    Ok(wire::DeleteClusterResponse {
        cluster: Some(cluster),
    })
}
