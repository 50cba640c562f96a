//! A task's role, and its credentials at `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>

use std::sync::Arc;

use fogbank_pki::{Session, Sessions};
use fogbank_types::ecs::{Task, TaskDefinition};
use fogbank_types::iam::Role;
use fogbank_types::{RegionConfig, Scope, Snapshot, Timestamp};
use serde_json::{Value, json};

use super::metadata::instant;

/// Who must be trusted.
const SERVICE: &str = "ecs-tasks.amazonaws.com";
/// How long they are good for, and how often there are new ones: AWS's are good for six hours, and clients ask again in
/// the last of them at the latest.
const LIFE_MS: u64 = 6 * 3_600_000;
const ROTATION_MS: u64 = 3_600_000;
/// A region that runs fast still gives clients time to use what they have read.
const LIFE_MIN_MS: u64 = 120_000;

/// Where the task's containers find them.
pub fn relative_uri(sessions: &Sessions, task: &str) -> String {
    format!("/v2/credentials/{}", sessions.uuid(task))
}

/// The roles that a task asks for, its own and that of its execution, by ARN; one that is named only is looked up.
pub fn role_arns(
    snapshot: &Snapshot,
    task: &Task,
    definition: &TaskDefinition,
) -> (Option<String>, Option<String>) {
    let arn = |given: [&Option<String>; 2]| {
        let given = given
            .into_iter()
            .flatten()
            .find(|given| !given.is_empty())?;
        if given.starts_with("arn:") {
            return Some(given.clone());
        }
        let scope = task.scope.global();
        let name = given.rsplit('/').next().unwrap_or(given);
        let found = snapshot.roles.get(&scope, name);
        Some(found.map_or_else(
            || scope.arn("iam", &format!("role/{given}")),
            |role| role.arn.clone(),
        ))
    };
    let overrides = &task.overrides;
    (
        arn([&overrides.task_role_arn, &definition.task_role_arn]),
        arn([
            &overrides.execution_role_arn,
            &definition.execution_role_arn,
        ]),
    )
}

/// The role that a task runs with; `Ok(None)` if it asks for none. The error is the reason that ECS would give.
pub fn role(
    snapshot: &Snapshot,
    task: &Task,
    definition: &TaskDefinition,
) -> Result<Option<Arc<Role>>, String> {
    let given = task
        .overrides
        .task_role_arn
        .as_ref()
        .or(definition.task_role_arn.as_ref());
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    let account = match given.split(':').nth(4) {
        Some(account) if given.starts_with("arn:") => account,
        _ => task.scope.account.as_str(),
    };
    let name = given.rsplit('/').next().unwrap_or(given);
    snapshot
        .roles
        .get(&Scope::new(account, "global"), name)
        .filter(|role| !given.starts_with("arn:") || role.arn == *given)
        .filter(|role| role.trusts_service(SERVICE))
        .map(|role| Some(Arc::clone(role)))
        .ok_or_else(|| {
            format!(
                "ECS was unable to assume the role '{given}' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
            )
        })
}

/// What the endpoint answers. The same for a while, so that a task's containers agree.
pub fn document(
    sessions: &Sessions,
    config: &RegionConfig,
    task: &Task,
    role: &Role,
    now: Timestamp,
) -> Value {
    let rotation = i64::try_from(config.scaled_ms(ROTATION_MS).max(LIFE_MIN_MS / 6));
    let rotation = rotation.unwrap_or(i64::MAX).max(1);
    let life = i64::try_from(config.scaled_ms(LIFE_MS).max(LIFE_MIN_MS)).unwrap_or(i64::MAX);
    let age = now.0.saturating_sub(task.created_at.0).max(0);
    let issued = task.created_at.plus_ms(age - age % rotation);
    let session = Session {
        account: role.scope.account.clone(),
        role_id: role.role_id.clone(),
        role: role.name.clone(),
        name: task.id.clone(),
        issued_at_ms: issued.0,
        expires_at_ms: issued.plus_ms(life).0,
        ..Session::default()
    };
    let credentials = sessions.credentials(&session);
    json!({
        "RoleArn": role.arn,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.token,
        "Expiration": instant(Timestamp(session.expires_at_ms / 1000 * 1000)),
    })
}
