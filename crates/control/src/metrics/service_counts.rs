//! How many tasks services want and have, for clusters with Container Insights: rows say it, so that no host is asked.

use super::alarms::scaled_s;
use super::series_name;
use crate::Engine;
use crate::model::ecs::services::counts;
use fogbank_store::series::{Observation, SeriesError};
use fogbank_types::ecs::{Cluster, DesiredStatus, ServiceStatus};
use fogbank_types::metric::StatisticSet;
use fogbank_types::{Snapshot, Timestamp};
use std::sync::Arc;

const PERIOD_S: i64 = 60;
const SOURCE: &str = "control/service-counts";

/// Keeps the counts of the minute that has just begun, once a minute. `done` is the minute that was kept last. Blocks.
pub fn observe(engine: &Engine, done: &mut i64) -> Result<(), SeriesError> {
    let (now, config) = (engine.now(), engine.config());
    let period_ms = scaled_s(PERIOD_S, config) * 1_000;
    let minute = now.0.div_euclid(period_ms) * period_ms;
    if minute == *done {
        return Ok(());
    }
    *done = minute;
    let fine = config.speed > 1.0;
    let observations = observations(&engine.snapshot(), Timestamp(minute), fine);
    if observations.is_empty() {
        return Ok(());
    }
    let mark = Some((SOURCE, minute));
    engine.metrics().add(&observations, mark, now.0).map(drop)
}

fn observations(snapshot: &Snapshot, at: Timestamp, fine: bool) -> Vec<Observation> {
    let mut all = Vec::new();
    let watched = |cluster: &&Arc<Cluster>| {
        let setting = cluster.settings.get("containerInsights");
        setting.is_some_and(|setting| matches!(setting.as_str(), "enabled" | "enhanced"))
            && cluster.status == "ACTIVE"
    };
    for cluster in snapshot.clusters.all().filter(watched) {
        let of_cluster = vec![("ClusterName".to_owned(), cluster.name.clone())];
        let mut put = |name: &str, dimensions: &[(String, String)], count: usize| {
            let scope = &cluster.scope;
            all.push(Observation {
                series: series_name(scope, "ECS/ContainerInsights", name, dimensions, "Count"),
                at_ms: at.0,
                values: StatisticSet::of(count as f64, 1.0),
                fine,
            });
        };
        let services: Vec<_> = snapshot
            .services
            .with_prefix(&cluster.scope, &format!("{}/", cluster.name))
            .filter(|service| service.status == ServiceStatus::Active)
            .collect();
        let tasks = snapshot
            .tasks
            .in_scope(&cluster.scope)
            .filter(|task| task.cluster == cluster.name && task.desired == DesiredStatus::Running);
        put("TaskCount", &of_cluster, tasks.count());
        put("ServiceCount", &of_cluster, services.len());
        for service in services {
            let mut dimensions = of_cluster.clone();
            dimensions.push(("ServiceName".to_owned(), service.name.clone()));
            let (running, pending) = counts(snapshot, service, None);
            for (name, count) in [
                ("DesiredTaskCount", service.desired_count as usize),
                ("RunningTaskCount", running),
                ("PendingTaskCount", pending),
                ("DeploymentCount", service.deployments.len()),
            ] {
                put(name, &dimensions, count);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{World, scope};

    #[test]
    fn only_clusters_with_insights_are_counted() {
        let mut world = World::new();
        world.create_service(3, false);
        world.settle();
        assert!(observations(world.tx().snapshot(), Timestamp(0), false).is_empty());
        world.tx().update::<Cluster>(&scope(), "main", |cluster| {
            let setting = ("containerInsights".to_owned(), "enabled".to_owned());
            cluster.settings.extend([setting]);
        });
        let all = observations(world.tx().snapshot(), Timestamp(0), false);
        let of = |name: &str| {
            let found = all.iter().find(|o| o.series.metric == name).unwrap();
            found.values.sum
        };
        assert_eq!((of("DesiredTaskCount"), of("RunningTaskCount")), (3.0, 3.0));
        assert_eq!((of("TaskCount"), of("ServiceCount")), (3.0, 1.0));
    }
}
