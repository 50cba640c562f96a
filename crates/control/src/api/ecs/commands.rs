//! ExecuteCommand.

use fogbank_pki::Sessions;
use fogbank_types::ecs::Task;
use fogbank_types::permission::{Demand, Inquiry};
use fogbank_types::{Snapshot, Timestamp};
use fogbank_wire::ecs as wire;

use crate::api::{ApiError, Context};
use crate::authorization::answer_inquiry;
use crate::exec::{PATH, Ticket};
use crate::model::ecs::{Refusal, commands, task_definitions};

pub fn execute(
    context: &Context,
    request: wire::ExecuteCommandRequest,
) -> Result<wire::ExecuteCommandResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let target = commands::target(
        &snapshot,
        &scope,
        request.cluster.as_deref(),
        &request.task,
        request.container.as_deref(),
        &request.command,
        request.interactive,
    )?;
    if context.is_enforced() && !may_open_channels(&snapshot, &target.task, context.now()) {
        return Err(Refusal::TargetNotConnected.into());
    }
    let sessions = Sessions::open(&context.config().data_dir).map_err(|error| {
        tracing::error!(%error, "no commands can be executed");
        ApiError::new("ServerException", "The region's key can't be read.").with_status(500)
    })?;
    let random = context.write(|tx| Ok(tx.hex(17)))?;
    let ticket = Ticket {
        session: format!("ecs-execute-command-{random}"),
        task: target.task.id.clone(),
        container: target.container.clone(),
        command: target.command,
        issued_at: context.now(),
    };
    let host = match context.caller.host.as_str() {
        "" => context.config().endpoint.to_string(),
        host => host.to_owned(),
    };
    let scheme = if context.config().tls.is_some() {
        "wss"
    } else {
        "ws"
    };
    let url = format!(
        "{scheme}://{host}{PATH}{}?role=publish_subscribe",
        ticket.session
    );
    Ok(wire::ExecuteCommandResponse {
        cluster_arn: Some(scope.arn("ecs", &format!("cluster/{}", target.task.cluster))),
        container_arn: Some(target.task.container_arn(&target.container)),
        container_name: Some(target.container),
        interactive: Some(true),
        session: Some(wire::Session {
            session_id: Some(ticket.session.clone()),
            stream_url: Some(url),
            token_value: Some(ticket.seal(&sessions)),
        }),
        task_arn: Some(target.task.arn.clone()),
    })
}

/// The agent in the task speaks to Systems Manager as the task's role; without that it is not connected.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions>
fn may_open_channels(snapshot: &Snapshot, task: &Task, now: Timestamp) -> bool {
    const ACTIONS: [&str; 4] = [
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ];
    let definition = task_definitions::find(snapshot, &task.scope, &task.task_definition_arn);
    let given = task.overrides.task_role_arn.as_ref();
    let role = given.or(definition.and_then(|definition| definition.task_role_arn.as_ref()));
    let inquiry = Inquiry {
        task: task.arn.clone(),
        roles: role.cloned().into_iter().collect(),
        role: role.cloned(),
        demands: ACTIONS
            .map(|action| Demand {
                action: action.to_owned(),
                resource: "*".to_owned(),
            })
            .to_vec(),
    };
    answer_inquiry(snapshot, &inquiry, now).is_some_and(|answer| {
        answer.untrusting.is_none() && answer.refusals.iter().all(Option::is_none)
    })
}
