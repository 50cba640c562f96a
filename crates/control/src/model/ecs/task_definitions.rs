//! Task definitions: what a task consists of. Revisions count up per family and never change (fact ECS-4).

use super::{Refusal, client, compatibility, container_definitions, invalid, is_name};
use crate::model::Tx;
use fogbank_types::ecs::{
    ContainerDefinition, Service, ServiceStatus, Task, TaskDefinition, Volume,
};
use fogbank_types::{Row as _, Scope, Snapshot, Tags, Timestamp};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub struct NewTaskDefinition {
    pub family: String,
    pub containers: Vec<ContainerDefinition>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub network_mode: Option<String>,
    pub requires_compatibilities: Vec<String>,
    pub execution_role_arn: Option<String>,
    pub task_role_arn: Option<String>,
    pub ephemeral_storage_gib: Option<i32>,
    pub runtime_platform: Option<(Option<String>, Option<String>)>,
    pub pid_mode: Option<String>,
    pub ipc_mode: Option<String>,
    /// Type and expression.
    pub placement_constraints: Vec<(String, Option<String>)>,
    pub volumes: Vec<Volume>,
    pub tags: Tags,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>
pub fn register(
    tx: &mut Tx,
    scope: &Scope,
    new: NewTaskDefinition,
) -> Result<TaskDefinition, Refusal> {
    if !is_name(&new.family) {
        return Err(client(
            "Family should match the pattern [a-zA-Z0-9_-]{1,255}.",
        ));
    }
    container_definitions::check_named(&new.containers)?;
    compatibility::check_named(&new.requires_compatibilities)?;
    let on_fargate = compatibility::with_fargate(&new);
    let fits_fargate = on_fargate.is_ok();
    let (cpu, memory_mib) = match on_fargate {
        Err(refusal) if compatibility::asks_for_fargate(&new) => return Err(refusal),
        Err(_) => compatibility::with_instances(&new)?,
        Ok(size) => size,
    };
    let revision = last_revision(tx.snapshot(), scope, &new.family) + 1;
    let definition = TaskDefinition {
        arn: scope.arn("ecs", &format!("task-definition/{}:{revision}", new.family)),
        scope: scope.clone(),
        family: new.family,
        revision,
        active: true,
        containers: new.containers,
        cpu,
        memory_mib,
        network_mode: new
            .network_mode
            .unwrap_or_else(|| compatibility::NETWORK_MODE.to_owned()),
        requires_compatibilities: new.requires_compatibilities,
        fits_fargate,
        placement_constraints: new.placement_constraints,
        ipc_mode: new.ipc_mode,
        execution_role_arn: new.execution_role_arn,
        task_role_arn: new.task_role_arn,
        ephemeral_storage_gib: new.ephemeral_storage_gib.map(|gib| gib as u32),
        runtime_platform: new.runtime_platform,
        pid_mode: new.pid_mode,
        volumes: new.volumes,
        enable_fault_injection: None,
        registered_at: tx.now(),
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: root_arn(scope),
        tags: new.tags,
    };
    tx.put(definition.clone());
    Ok(definition)
}

/// The root user of the account; every caller is that until authentication is enforced.
pub fn root_arn(scope: &Scope) -> String {
    scope.global().arn("iam", "root")
}

/// The revisions of a family in order.
pub fn family<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    family: &str,
) -> impl DoubleEndedIterator<Item = &'a Arc<TaskDefinition>> + use<'a> {
    // A family's keys share the prefix `family:`, and no family name holds a colon.
    let all: Vec<_> = snapshot
        .task_definitions
        .with_prefix(scope, &format!("{family}:"))
        .collect();
    all.into_iter()
}

fn last_revision(snapshot: &Snapshot, scope: &Scope, name: &str) -> u32 {
    family(snapshot, scope, name)
        .next_back()
        .map_or(0, |definition| definition.revision)
}

/// By ARN, `family:revision`, or `family` (its newest active revision).
pub fn find<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    text: &str,
) -> Option<&'a Arc<TaskDefinition>> {
    let name = if text.starts_with("arn:") {
        let (start, name) = text.split_once(":task-definition/")?;
        if start != scope.arn("ecs", "").trim_end_matches(':') {
            return None;
        }
        name
    } else {
        text
    };
    match name.split_once(':') {
        Some((family, revision)) => {
            let revision: u32 = revision.parse().ok()?;
            snapshot
                .task_definitions
                .get(scope, format!("{family}:{revision:08}"))
                .filter(|definition| !is_tombstone(definition))
        }
        None => family(snapshot, scope, name).rfind(|definition| definition.active),
    }
}

/// The definition that a new task or service names: it must be there and active.
pub fn find_active(
    snapshot: &Snapshot,
    scope: &Scope,
    text: &str,
) -> Result<Arc<TaskDefinition>, Refusal> {
    let found = find(snapshot, scope, text).ok_or_else(|| client("TaskDefinition not found."))?;
    if !found.active {
        return Err(client("TaskDefinition is inactive"));
    }
    Ok(found.clone())
}

/// Running services go on; nothing new may use it.
pub fn deregister(tx: &mut Tx, scope: &Scope, text: &str) -> Result<TaskDefinition, Refusal> {
    let name = text.rsplit('/').next().unwrap_or(text);
    let Some((_, revision)) = name.split_once(':') else {
        return Err(client("Revision is missing."));
    };
    if revision.parse::<u32>().is_err() {
        return Err(client(format!(
            "Invalid revision number. Number: {revision}"
        )));
    }
    let found = find(tx.snapshot(), scope, text)
        .ok_or_else(|| client("Unable to describe task definition."))?;
    let mut definition = TaskDefinition::clone(found);
    if definition.active {
        definition.active = false;
        definition.deregistered_at = Some(tx.now());
        tx.put(definition.clone());
    }
    Ok(definition)
}

/// How long a deleted revision can still be seen. AWS does not say; it deletes when nothing uses it any more.
const DELETION_MS: u64 = 60_000;

/// The newest revision of a family leaves a row without containers when it is deleted, which nobody sees: its number is
/// never given again.
pub fn is_tombstone(definition: &TaskDefinition) -> bool {
    definition.containers.is_empty()
}

/// Why one of several revisions is not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeleted {
    pub arn: String,
    pub reason: &'static str,
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteTaskDefinitions.html>
pub fn delete(
    tx: &mut Tx,
    scope: &Scope,
    texts: &[String],
) -> Result<(Vec<TaskDefinition>, Vec<Undeleted>), Refusal> {
    if texts.is_empty() {
        return Err(invalid("TaskDefinitions cannot be empty."));
    }
    if texts.len() > 10 {
        return Err(invalid("You can specify up to 10 task definitions."));
    }
    let (mut deleted, mut undeleted) = (Vec::new(), Vec::new());
    for text in texts {
        let mut refuse = |reason| {
            undeleted.push(Undeleted {
                arn: text.clone(),
                reason,
            });
        };
        let name = text.rsplit('/').next().unwrap_or(text);
        let found = name
            .contains(':')
            .then(|| find(tx.snapshot(), scope, text))
            .flatten();
        let Some(found) = found else {
            let revision = name.split_once(':').map(|(_, revision)| revision);
            refuse(match revision.map(str::parse::<u32>) {
                Some(Ok(_)) => {
                    "The specified task definition does not exist. Specify a valid account, family, revision and try again."
                }
                _ => {
                    "The specified task definition identifier is invalid. Specify a valid name or ARN and try again."
                }
            });
            continue;
        };
        if found.active {
            refuse(
                "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
            );
            continue;
        }
        let mut definition = TaskDefinition::clone(found);
        if definition.delete_requested_at.is_none() {
            definition.delete_requested_at = Some(tx.now());
            tx.put(definition.clone());
        }
        deleted.push(definition);
    }
    Ok((deleted, undeleted))
}

/// Removes deleted revisions that no task and no service needs; says when to look again.
pub fn finish_deletions(tx: &mut Tx) -> Option<Timestamp> {
    let doomed: Vec<Arc<TaskDefinition>> = tx
        .snapshot()
        .task_definitions
        .all()
        .filter(|row| row.delete_requested_at.is_some() && !is_tombstone(row))
        .cloned()
        .collect();
    let mut wake = None;
    for definition in doomed {
        let requested = definition.delete_requested_at.unwrap_or(tx.now());
        let at = requested.plus_ms(tx.config().scaled_ms(DELETION_MS) as i64);
        if tx.now() < at {
            wake = [wake, Some(at)].into_iter().flatten().min();
        } else if !is_used(tx.snapshot(), &definition) {
            remove(tx, &definition);
        }
    }
    wake
}

fn is_used(snapshot: &Snapshot, definition: &TaskDefinition) -> bool {
    let scope = &definition.scope;
    let by_task = |task: &Arc<Task>| task.task_definition_arn == definition.arn;
    let by_service = |service: &Arc<Service>| {
        let deployed = service.deployments.iter().map(|d| &d.task_definition_arn);
        service.status != ServiceStatus::Inactive
            && deployed
                .chain([&service.task_definition_arn])
                .any(|arn| *arn == definition.arn)
    };
    snapshot.tasks.in_scope(scope).any(by_task) || snapshot.services.in_scope(scope).any(by_service)
}

fn remove(tx: &mut Tx, definition: &TaskDefinition) {
    let scope = &definition.scope;
    if last_revision(tx.snapshot(), scope, &definition.family) == definition.revision {
        tx.put(TaskDefinition {
            containers: Vec::new(),
            volumes: Vec::new(),
            tags: Tags::new(),
            ..definition.clone()
        });
    } else {
        tx.delete::<TaskDefinition>(scope, definition.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{World, definition, scope};

    fn refused(change: impl FnOnce(&mut NewTaskDefinition)) -> String {
        let mut new = definition("api");
        change(&mut new);
        register(&mut Tx::for_test(), &scope(), new)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn revisions_count_up_and_are_never_used_again() {
        let mut tx = Tx::for_test();
        for revision in 1..=12 {
            assert_eq!(
                register(&mut tx, &scope(), definition("api"))
                    .unwrap()
                    .revision,
                revision
            );
        }
        assert_eq!(
            register(&mut tx, &scope(), definition("api-2"))
                .unwrap()
                .revision,
            1
        );
        deregister(&mut tx, &scope(), "api:12").unwrap();
        assert_eq!(
            register(&mut tx, &scope(), definition("api"))
                .unwrap()
                .revision,
            13
        );
    }

    #[test]
    fn a_family_alone_means_its_newest_active_revision() {
        let mut tx = Tx::for_test();
        for _ in 0..11 {
            register(&mut tx, &scope(), definition("api")).unwrap();
        }
        deregister(&mut tx, &scope(), "api:11").unwrap();
        assert_eq!(find(tx.snapshot(), &scope(), "api").unwrap().revision, 10);
        let arn = "arn:aws:ecs:us-east-1:000000000000:task-definition/api:11";
        assert_eq!(find(tx.snapshot(), &scope(), arn).unwrap().revision, 11);
        assert_eq!(
            find_active(tx.snapshot(), &scope(), arn)
                .unwrap_err()
                .to_string(),
            "TaskDefinition is inactive"
        );
        for text in [
            "nothing",
            "api:12",
            "api:x",
            "arn:x",
            "arn:aws:ecs:eu-west-1:000000000000:task-definition/api:1",
        ] {
            assert!(find(tx.snapshot(), &scope(), text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_revision_is_said() {
        let mut tx = Tx::for_test();
        for (text, why) in [
            ("api", "Revision is missing."),
            ("api:x", "Invalid revision number. Number: x"),
            ("api:1", "Unable to describe task definition."),
        ] {
            let refused = deregister(&mut tx, &scope(), text).unwrap_err();
            assert_eq!(refused.to_string(), why);
        }
    }

    #[test]
    fn a_container_without_a_name_is_said_before_the_task_without_a_size() {
        let text = refused(|d| {
            d.cpu = None;
            d.containers[0].name.clear();
        });
        assert_eq!(text, "Container.name should not be null or empty.");
    }

    #[test]
    fn what_fargate_does_not_offer_is_refused() {
        assert_eq!(
            refused(|d| d.memory = Some("8192".into())),
            "No Fargate configuration exists for given values."
        );
        assert!(refused(|d| d.cpu = None).contains("'cpu'"));
        assert!(refused(|d| d.network_mode = Some("bridge".into())).contains("awsvpc"));
        assert!(refused(|d| d.requires_compatibilities.push("MARS".into())).contains("MARS"));
        assert!(refused(|d| d.ephemeral_storage_gib = Some(20)).contains("21"));
        assert!(refused(|d| d.pid_mode = Some("host".into())).contains("pidMode"));
        assert!(refused(|d| d.family = "a b".into()).contains("Family"));
    }

    #[test]
    fn a_deleted_revision_goes_when_nothing_uses_it_and_its_number_stays() {
        let mut world = World::new();
        let command = world.run_task();
        let (tasks, _) = crate::model::ecs::tasks::run(world.tx(), &scope(), command).unwrap();
        let texts = ["api:1".to_owned(), "api:7".to_owned(), "api".to_owned()];
        let (deleted, refused) = delete(world.tx(), &scope(), &texts).unwrap();
        assert_eq!((deleted.len(), refused.len()), (0, 3));
        assert!(refused[0].reason.contains("still in ACTIVE status"));
        deregister(world.tx(), &scope(), "api:1").unwrap();
        delete(world.tx(), &scope(), &texts[..1]).unwrap();
        assert!(finish_deletions(world.tx()).is_some());
        world.tx().advance_ms(DELETION_MS as i64);
        finish_deletions(world.tx());
        assert!(find(world.tx().snapshot(), &scope(), "api:1").is_some());
        world.tx().delete::<Task>(&scope(), &tasks[0].id);
        finish_deletions(world.tx());
        assert!(find(world.tx().snapshot(), &scope(), "api:1").is_none());
        let next = register(world.tx(), &scope(), definition("api")).unwrap();
        assert_eq!(next.revision, 2);
    }
}
