//! What a task's roles must be allowed before it starts, where permissions count: ECS takes them on, and its execution role
//! gets secrets, logs in to the registry, pulls the images and makes the log streams.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>
//!
//! Called by `life` once the task's network was found to reach the services. The host does these things itself, so it asks
//! the control plane whether the role may (`fogbank_types::permission`). What must stay true: a task starts only with what
//! its roles allow.

use std::time::{Duration, Instant};

use fogbank_types::ecs::Task;
use fogbank_types::permission::{Answer, Demand, Inquiry};
use fogbank_types::{RegionConfig, Snapshot};

use super::plan::{self, Plan};
use super::{reference, secrets};
use crate::endpoint::role_arns;
use crate::operator;

/// The control plane may be starting again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What is done before the containers start, in AWS's order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Parameter,
    /// What the definition calls it.
    Secret(String),
    Login,
    /// The image's name, and what of it is got.
    Pull(String, &'static str),
    MakeGroup,
    MakeStream,
    /// Of the container of that number.
    Write(usize),
}

/// The containers whose output is lost, by number; the error is the reason that ECS would give.
pub async fn check(
    config: &RegionConfig,
    snapshot: &Snapshot,
    plan: &Plan,
) -> Result<Vec<usize>, String> {
    let (roles, execution) = roles(snapshot, &plan.task);
    let steps = steps(snapshot, plan);
    if roles.is_empty() && steps.is_empty() {
        return Ok(Vec::new());
    }
    let inquiry = Inquiry {
        task: plan.task.arn.clone(),
        roles,
        demands: match execution {
            Some(_) => steps.iter().map(|(_, demand)| demand.clone()).collect(),
            None => Vec::new(),
        },
        role: execution,
    };
    let answer = ask(config, &inquiry).await?;
    if let Some(role) = answer.untrusting {
        return Err(format!(
            "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
        ));
    }
    let nobody = "the task has no execution role".to_owned();
    let mut refusals = answer.refusals.into_iter();
    let mut lost = Vec::new();
    for (step, _) in &steps {
        let refusal = match &inquiry.role {
            Some(_) => refusals.next().flatten(),
            None => Some(nobody.clone()),
        };
        match (step, refusal) {
            (_, None) => {}
            // The stream is there, and stays empty.
            (Step::Write(container), Some(refusal)) => {
                tracing::warn!(task = plan.task.id, refusal, "a container's output is lost");
                lost.push(*container);
            }
            (step, Some(refusal)) => return Err(step.failure(&refusal)),
        }
    }
    Ok(lost)
}

/// The task's roles by ARN, and of them the one for its execution.
fn roles(snapshot: &Snapshot, task: &Task) -> (Vec<String>, Option<String>) {
    let Some(definition) = plan::definition(snapshot, task) else {
        return (Vec::new(), None);
    };
    let (own, execution) = role_arns(snapshot, task, definition);
    let mut roles: Vec<String> = execution.iter().cloned().chain(own).collect();
    roles.dedup();
    (roles, execution)
}

fn steps(snapshot: &Snapshot, plan: &Plan) -> Vec<(Step, Demand)> {
    let scope = &plan.task.scope;
    let mut steps = Vec::new();
    let mut add = |step: Step, action: &str, resource: &str| {
        let demand = Demand {
            action: action.to_owned(),
            resource: resource.to_owned(),
        };
        if !steps.contains(&(step.clone(), demand.clone())) {
            steps.push((step, demand));
        }
    };
    for container in &plan.containers {
        for from in container.definition.secrets.iter() {
            if !secrets::is_managed(from) {
                let arn = secrets::parameter_arn(scope, &from.value_from);
                add(Step::Parameter, "ssm:GetParameters", &arn);
            }
        }
    }
    for container in &plan.containers {
        let definition = &container.definition;
        let managed = definition
            .secrets
            .iter()
            .filter(|from| secrets::is_managed(from));
        let references = managed.map(|from| &from.value_from);
        for from in references.chain(&definition.repository_credentials) {
            let arn = secrets::managed_arn(snapshot, scope, from);
            add(
                Step::Secret(from.clone()),
                "secretsmanager:GetSecretValue",
                &arn,
            );
        }
    }
    for container in &plan.containers {
        for (from, key) in secrets::key_arns(snapshot, scope, &container.definition) {
            let step = match secrets::is_managed(&from) {
                true => Step::Secret(from.value_from),
                false => Step::Parameter,
            };
            add(step, "kms:Decrypt", &key);
        }
    }
    for container in &plan.containers {
        let name = &container.definition.image;
        if let Some(repository) = reference::repository_arn(name) {
            add(Step::Login, "ecr:GetAuthorizationToken", "*");
            for action in ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] {
                let what = if action.ends_with("Image") {
                    "manifests"
                } else {
                    "blobs"
                };
                add(Step::Pull(name.clone(), what), action, &repository);
            }
        }
    }
    for (number, container) in plan.containers.iter().enumerate() {
        let Some(log) = &container.log else { continue };
        let stream = &log.stream;
        let group = format!("log-group:{}:log-stream:", stream.group);
        let group = stream.scope.arn("logs", &group);
        let own = format!("{group}{}", stream.name);
        if log.creates_group() {
            add(Step::MakeGroup, "logs:CreateLogGroup", &group);
        }
        add(Step::MakeStream, "logs:CreateLogStream", &own);
        add(Step::Write(number), "logs:PutLogEvents", &own);
    }
    steps
}

impl Step {
    /// The reason that ECS gives.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>
    fn failure(&self, refusal: &str) -> String {
        let denied = format!("AccessDeniedException: {refusal} status code: 400");
        let logger = |what: &str| {
            format!(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log {what}: {denied} : exit status 1"
            )
        };
        match self {
            Self::Parameter => secrets::from_ssm(&denied),
            Self::Secret(from) => secrets::from_asm(from, &denied),
            Self::Login => secrets::from_registry(&denied),
            Self::Pull(name, what) => {
                let host = name.split('/').next().unwrap_or(name);
                format!(
                    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {name}: pulling from host {host} failed with status code [{what}]: 403 Forbidden: {refusal}"
                )
            }
            Self::MakeGroup => logger("group"),
            Self::MakeStream | Self::Write(_) => logger("stream"),
        }
    }
}

async fn ask(config: &RegionConfig, inquiry: &Inquiry) -> Result<Answer, String> {
    let failed = |why: String| format!("ResourceInitializationError: ask for permissions: {why}");
    let body = serde_json::to_value(inquiry).map_err(|error| failed(error.to_string()))?;
    let socket = config.operator_socket();
    let until = Instant::now() + PATIENCE;
    loop {
        match operator::post(&socket, "/_fogbank/permissions", "", &body).await {
            Ok((200, said)) => {
                return serde_json::from_value(said).map_err(|error| failed(error.to_string()));
            }
            Ok((status, said)) => return Err(failed(format!("{status} {said}"))),
            Err(error) if Instant::now() >= until => return Err(failed(error.to_string())),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
