//! Tags of any ECS resource, by its ARN.

use super::{Refusal, client, invalid, task_definitions};
use crate::model::Tx;
use fogbank_types::ecs::{Cluster, Service, Task, TaskDefinition};
use fogbank_types::{Row, Scope, Snapshot, Tags};

const TAGS_MAX: usize = 50;

enum Resource {
    Cluster(String),
    Service(String),
    Task(String),
    TaskDefinition(String),
}

fn resource(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Resource, Refusal> {
    let not_found = |what: &str| {
        Refusal::ResourceNotFound(format!("The specified {what} was not found: {arn}"))
    };
    let tail = arn
        .strip_prefix(&scope.arn("ecs", ""))
        .ok_or_else(|| invalid("The specified resource ARN is not valid."))?;
    let (kind, name) = tail
        .split_once('/')
        .ok_or_else(|| invalid("The specified resource ARN is not valid."))?;
    match kind {
        "cluster" if snapshot.clusters.contains(scope, name) => {
            Ok(Resource::Cluster(name.to_owned()))
        }
        "cluster" => Err(Refusal::ClusterNotFound),
        "service" if snapshot.services.contains(scope, name) => {
            Ok(Resource::Service(name.to_owned()))
        }
        "service" => Err(Refusal::ServiceNotFound),
        "task" => {
            let id = name.rsplit('/').next().unwrap_or(name);
            if snapshot.tasks.contains(scope, id) {
                Ok(Resource::Task(id.to_owned()))
            } else {
                Err(not_found("task"))
            }
        }
        "task-definition" => match task_definitions::find(snapshot, scope, arn) {
            Some(found) => Ok(Resource::TaskDefinition(found.id())),
            None => Err(client("The specified task definition was not found.")),
        },
        _ => Err(invalid("The specified resource ARN is not valid.")),
    }
}

/// Refuses what no caller may set.
pub fn check(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(
            "The maximum number of tags that can be applied to a resource is 50.",
        ));
    }
    // <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Tag.html>
    for (key, value) in tags {
        if !(1..=128).contains(&key.chars().count()) {
            return Err(invalid("A tag key must have 1 to 128 characters."));
        }
        if value.chars().count() > 256 {
            return Err(invalid("A tag value can have at most 256 characters."));
        }
    }
    match tags
        .keys()
        .find(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        Some(key) => Err(invalid(format!(
            "Tag key '{key}' must not start with 'aws:'."
        ))),
        None => Ok(()),
    }
}

pub fn list(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<Tags, Refusal> {
    let tags = match resource(snapshot, scope, arn)? {
        Resource::Cluster(id) => snapshot.clusters.get(scope, id).map(|r| r.tags.clone()),
        Resource::Service(id) => snapshot.services.get(scope, id).map(|r| r.tags.clone()),
        Resource::Task(id) => snapshot.tasks.get(scope, id).map(|r| r.tags.clone()),
        Resource::TaskDefinition(id) => snapshot
            .task_definitions
            .get(scope, id)
            .map(|r| r.tags.clone()),
    };
    Ok(tags.unwrap_or_default())
}

/// Adds and removes tags.
pub fn change(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    add: Tags,
    remove: &[String],
) -> Result<(), Refusal> {
    check(&add)?;
    let found = resource(tx.snapshot(), scope, arn)?;
    let mut tags = list(tx.snapshot(), scope, arn)?;
    tags.extend(add);
    tags.retain(|key, _| !remove.contains(key));
    check(&tags)?;
    match found {
        Resource::Cluster(id) => tx.update::<Cluster>(scope, id, |r| r.tags = tags),
        Resource::Service(id) => tx.update::<Service>(scope, id, |r| r.tags = tags),
        Resource::Task(id) => tx.update::<Task>(scope, id, |r| r.tags = tags),
        Resource::TaskDefinition(id) => tx.update::<TaskDefinition>(scope, id, |r| r.tags = tags),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ecs::fixture::{definition, scope};

    #[test]
    fn tags_of_a_definition_come_and_go() {
        let mut tx = Tx::for_test();
        let arn = task_definitions::register(&mut tx, &scope(), definition("api"))
            .unwrap()
            .arn;
        change(
            &mut tx,
            &scope(),
            &arn,
            [("a".to_owned(), "1".to_owned())].into(),
            &[],
        )
        .unwrap();
        assert_eq!(list(tx.snapshot(), &scope(), &arn).unwrap()["a"], "1");
        change(&mut tx, &scope(), &arn, Tags::new(), &["a".to_owned()]).unwrap();
        assert!(list(tx.snapshot(), &scope(), &arn).unwrap().is_empty());
    }

    #[test]
    fn strangers_and_reserved_keys_are_refused() {
        let mut tx = Tx::for_test();
        assert!(list(tx.snapshot(), &scope(), "arn:aws:ecs:us-east-1:1:cluster/x").is_err());
        assert!(list(tx.snapshot(), &scope(), "cluster").is_err());
        let tags: Tags = [("aws:x".to_owned(), "1".to_owned())].into();
        assert!(change(&mut tx, &scope(), "arn", tags, &[]).is_err());
    }
}
