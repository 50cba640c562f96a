//! Records of usage: opened when a resource begins to cost, closed when it ends, put together when they are many.

use super::bill::{items, kind_name};
use crate::model::Tx;
use crate::model::cloudwatch::dates;
use fogbank_types::ec2::{Eni, EniOwner, NatGateway, NatGatewayState};
use fogbank_types::ecs::Task;
use fogbank_types::metering::{UsageKind, UsageRecord, UsageTotal};
use fogbank_types::{Scope, Snapshot, Timestamp};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Records of what is over; the oldest are put together beyond that.
const ENDED_MAX: usize = 10_000;
/// So many at a time, so that a transaction stays small.
const FOLDED_AT_ONCE: usize = 500;

/// Opens records of what has begun and closes those of what has ended.
pub fn follow(tx: &mut Tx) {
    let current = current(tx.snapshot());
    let now = tx.now();
    let mut living: HashSet<(Scope, String)> = HashSet::new();
    for record in current {
        let known = tx.snapshot().usage_records.get(&record.scope, &record.id);
        living.insert((record.scope.clone(), record.id.clone()));
        let is_told = known.is_some_and(|known| {
            known.until == record.until && known.kind == record.kind && known.from == record.from
        });
        if !is_told {
            tx.put(record);
        }
    }
    let gone: Vec<Arc<UsageRecord>> = tx
        .snapshot()
        .usage_records
        .all()
        .filter(|record| record.until.is_none())
        .filter(|record| !living.contains(&(record.scope.clone(), record.id.clone())))
        .cloned()
        .collect();
    for record in gone {
        tx.update::<UsageRecord>(&record.scope, &record.id, |record| {
            record.until = Some(now);
        });
    }
    fold(tx);
}

/// A record of all that costs something now, and of tasks that are over and still visible.
fn current(snapshot: &Snapshot) -> Vec<UsageRecord> {
    let tasks = snapshot
        .tasks
        .all()
        .filter_map(|task| of_task(snapshot, task));
    let balancers = snapshot.load_balancers.all().map(|balancer| UsageRecord {
        scope: balancer.scope.clone(),
        id: balancer.arn.clone(),
        group: balancer.name.clone(),
        kind: UsageKind::LoadBalancer {
            dimension: format!("app/{}/{}", balancer.name, balancer.tail),
        },
        from: balancer.created_at,
        until: None,
    });
    let gateways = snapshot
        .nat_gateways
        .all()
        .filter_map(|gateway| of_gateway(gateway));
    let elastic = snapshot.elastic_ips.all().map(|address| UsageRecord {
        scope: address.scope.clone(),
        id: address.allocation_id.to_string(),
        group: "public addresses".to_owned(),
        kind: UsageKind::PublicAddress,
        from: address.created_at,
        until: None,
    });
    let automatic = snapshot
        .enis
        .all()
        .filter_map(|eni| of_interface(snapshot, eni));
    let all = tasks.chain(balancers).chain(gateways);
    all.chain(elastic).chain(automatic).collect()
}

/// "From the time you start to download your container image until the task terminates."
/// <https://aws.amazon.com/fargate/pricing/>
fn of_task(snapshot: &Snapshot, task: &Task) -> Option<UsageRecord> {
    let status = snapshot.task_statuses.get(&task.scope, &task.id);
    let known = snapshot.usage_records.get(&task.scope, &task.id);
    let from = status
        .and_then(|status| status.pull_started_at)
        .or(known.map(|known| known.from))?;
    if let Some(known) = known.filter(|known| known.until.is_some()) {
        return Some(UsageRecord::clone(known));
    }
    let name = task
        .task_definition_arn
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let (family, revision) = name.rsplit_once(':').unwrap_or((name, "0"));
    let revision: u32 = revision.parse().unwrap_or(0);
    let definitions = &snapshot.task_definitions;
    let definition = definitions.get(&task.scope, format!("{family}:{revision:08}"));
    let platform = definition.and_then(|definition| definition.runtime_platform.clone());
    let (architecture, _) = platform.unwrap_or_default();
    let storage_gib = definition.and_then(|definition| definition.ephemeral_storage_gib);
    let storage_gib = task.overrides.ephemeral_storage_gib.or(storage_gib);
    let group = match task.group.split_once(':') {
        Some((what, name)) => format!("{what}:{}/{name}", task.cluster),
        None => task.group.clone(),
    };
    Some(UsageRecord {
        scope: task.scope.clone(),
        id: task.id.clone(),
        group,
        kind: UsageKind::Task {
            cpu: task.cpu,
            memory_mib: task.memory_mib,
            storage_gib: storage_gib.unwrap_or(20),
            arm: architecture.as_deref() == Some("ARM64"),
            spot: task.capacity_provider.as_deref() == Some("FARGATE_SPOT"),
        },
        from,
        until: task.stopped_at,
    })
}

fn of_gateway(gateway: &NatGateway) -> Option<UsageRecord> {
    let works = matches!(
        gateway.state,
        NatGatewayState::Pending | NatGatewayState::Available
    );
    works.then(|| UsageRecord {
        scope: gateway.scope.clone(),
        id: gateway.nat_gateway_id.to_string(),
        group: "nat gateways".to_owned(),
        kind: UsageKind::NatGateway,
        from: gateway.created_at,
        until: None,
    })
}

/// Public addresses that came with an interface: tasks', and those of load balancer nodes.
fn of_interface(snapshot: &Snapshot, eni: &Eni) -> Option<UsageRecord> {
    eni.auto_public_ip?;
    let group = match &eni.owner {
        EniOwner::LoadBalancer(arn) => {
            let balancer = snapshot.load_balancers.get(&eni.scope, arn);
            balancer.map_or_else(|| arn.clone(), |balancer| balancer.name.clone())
        }
        _ => "public addresses".to_owned(),
    };
    Some(UsageRecord {
        scope: eni.scope.clone(),
        id: eni.eni_id.to_string(),
        group,
        kind: UsageKind::PublicAddress,
        from: eni.created_at,
        until: None,
    })
}

/// Puts the oldest records of what is over together by month. What metrics know of them (LCUs) is not told after that.
fn fold(tx: &mut Tx) {
    let records = tx.snapshot().usage_records.all();
    let mut ended: Vec<Arc<UsageRecord>> = records
        .filter(|record| record.until.is_some())
        .cloned()
        .collect();
    if ended.len() <= ENDED_MAX {
        return;
    }
    ended.sort_by_key(|record| record.until);
    // Tasks that are still visible would be opened anew.
    let visible =
        |record: &Arc<UsageRecord>| tx.snapshot().tasks.contains(&record.scope, &record.id);
    let old: Vec<Arc<UsageRecord>> = ended
        .into_iter()
        .filter(|record| !visible(record))
        .take(FOLDED_AT_ONCE)
        .collect();
    for record in old {
        let until = record.until.unwrap_or(record.from);
        add(tx, &record, until);
        tx.delete::<UsageRecord>(&record.scope, &record.id);
    }
}

fn add(tx: &mut Tx, record: &UsageRecord, until: Timestamp) {
    let month: String = dates::long(until.0).chars().take(7).collect();
    let kind = kind_name(&record.kind);
    let id = total_id(&month, kind, &record.group);
    let totals = &tx.snapshot().usage_totals;
    let known = totals
        .get(&record.scope, &id)
        .map(|total| UsageTotal::clone(total));
    let mut total = known.unwrap_or_else(|| UsageTotal {
        scope: record.scope.clone(),
        month,
        group: record.group.clone(),
        kind: kind.to_owned(),
        resources: 0,
        from: record.from,
        until,
        items: BTreeMap::new(),
    });
    total.resources += 1;
    total.from = total.from.min(record.from);
    total.until = total.until.max(until);
    for (item, quantity) in items(record, Timestamp(i64::MIN), until) {
        *total.items.entry(item).or_default() += quantity;
    }
    tx.put(total);
}

pub fn total_id(month: &str, kind: &str, group: &str) -> String {
    format!("{month}/{kind}/{group}")
}
