//! ExecuteCommand.

use fogbank_pki::Sessions;
use fogbank_wire::ecs as wire;

use crate::api::{ApiError, Context};
use crate::exec::{PATH, Ticket};
use crate::model::ecs::commands;

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
