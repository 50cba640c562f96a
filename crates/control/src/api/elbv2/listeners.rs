//! Listeners, and their certificates, of which an HTTP listener has none.

use super::target_groups::port;
use super::{actions, page};
use crate::api::{ApiError, Context};
use crate::model::elb::listeners::{self, NewListener};
use crate::model::elb::{Refusal, arns, invalid, not_offered, tags};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;

type Row = fogbank_types::elb::Listener;

pub fn create(
    context: &Context,
    input: CreateListenerInput,
) -> Result<CreateListenerOutput, ApiError> {
    // Before the rest: an HTTPS listener comes with certificates and a policy.
    let protocol = input
        .protocol
        .ok_or_else(|| invalid("A listener protocol must be specified"))?;
    refuse_tls(
        &protocol,
        input.certificates.as_deref(),
        input.ssl_policy.as_deref(),
        input.alpn_policy.as_deref(),
        input.mutual_authentication.as_ref(),
    )?;
    let pairs = input.tags.unwrap_or_default().into_iter();
    let new = NewListener {
        load_balancer_arn: input.load_balancer_arn,
        port: port(
            input
                .port
                .ok_or_else(|| invalid("A listener port must be specified"))?,
        )?,
        protocol,
        default_actions: actions::parse(input.default_actions)?,
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(listeners::create(tx, &scope, new.clone())?))?;
    Ok(CreateListenerOutput {
        listeners: Some(vec![render(&row)]),
    })
}

/// What only HTTPS listeners have.
fn refuse_tls(
    protocol: &str,
    certificates: Option<&[Certificate]>,
    ssl_policy: Option<&str>,
    alpn_policy: Option<&[String]>,
    mutual: Option<&MutualAuthenticationAttributes>,
) -> Result<(), Refusal> {
    if protocol != "HTTP" {
        // Left to the model, which knows what is offered.
        return Ok(());
    }
    let only_https = [
        ("Certificates", certificates.is_some_and(|c| !c.is_empty())),
        ("An SSL policy", ssl_policy.is_some_and(|p| !p.is_empty())),
        ("An ALPN policy", alpn_policy.is_some_and(|p| !p.is_empty())),
        (
            "Mutual authentication",
            mutual.is_some_and(|m| !matches!(m.mode.as_deref(), None | Some("off"))),
        ),
    ];
    match only_https.into_iter().find(|(_, there)| *there) {
        Some((what, _)) => Err(invalid(format!(
            "{what} cannot be specified for listeners with protocol 'HTTP'"
        ))),
        None => Ok(()),
    }
}

pub fn describe(
    context: &Context,
    input: DescribeListenersInput,
) -> Result<DescribeListenersOutput, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let rows = select(&snapshot, &scope, &input)?;
    let (rows, next_marker) = page::cut(
        rows,
        |row| &row.arn,
        input.marker.as_deref(),
        input.page_size,
    )?;
    let listeners = Some(rows.into_iter().map(render).collect());
    Ok(DescribeListenersOutput {
        listeners,
        next_marker,
    })
}

fn select<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    input: &DescribeListenersInput,
) -> Result<Vec<&'a Row>, Refusal> {
    let arns = input
        .listener_arns
        .as_deref()
        .filter(|arns| !arns.is_empty());
    match (&input.load_balancer_arn, arns) {
        (Some(load_balancer_arn), None) => {
            arns::find_load_balancer(snapshot, scope, load_balancer_arn)?;
            let prefix = arns::listeners_prefix(load_balancer_arn);
            Ok(snapshot
                .listeners
                .with_prefix(scope, &prefix)
                .map(|row| &**row)
                .collect())
        }
        (None, Some(arns)) => arns
            .iter()
            .map(|arn| arns::find_listener(snapshot, scope, arn).map(|row| &**row))
            .collect(),
        _ => Err(invalid(
            "You must specify either listener ARNs or a load balancer ARN",
        )),
    }
}

pub fn modify(
    context: &Context,
    input: ModifyListenerInput,
) -> Result<ModifyListenerOutput, ApiError> {
    refuse_tls(
        input.protocol.as_deref().unwrap_or("HTTP"),
        input.certificates.as_deref(),
        input.ssl_policy.as_deref(),
        input.alpn_policy.as_deref(),
        input.mutual_authentication.as_ref(),
    )?;
    let new_port = input.port.map(port).transpose()?;
    let default_actions = input.default_actions.map(actions::parse).transpose()?;
    let (scope, arn, protocol) = (context.scope(), input.listener_arn, input.protocol);
    let row = context.write(|tx| {
        let (protocol, actions) = (protocol.clone(), default_actions.clone());
        Ok(listeners::modify(
            tx, &scope, &arn, new_port, protocol, actions,
        )?)
    })?;
    Ok(ModifyListenerOutput {
        listeners: Some(vec![render(&row)]),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteListenerInput,
) -> Result<DeleteListenerOutput, ApiError> {
    let (scope, arn) = (context.scope(), input.listener_arn);
    context.write(|tx| Ok(listeners::delete(tx, &scope, &arn)?))?;
    Ok(DeleteListenerOutput {})
}

/// An HTTP listener has none.
pub fn describe_certificates(
    context: &Context,
    input: DescribeListenerCertificatesInput,
) -> Result<DescribeListenerCertificatesOutput, ApiError> {
    arns::find_listener(&context.snapshot(), &context.scope(), &input.listener_arn)?;
    Ok(DescribeListenerCertificatesOutput {
        certificates: Some(Vec::new()),
        next_marker: None,
    })
}

pub fn add_certificates(
    context: &Context,
    input: AddListenerCertificatesInput,
) -> Result<AddListenerCertificatesOutput, ApiError> {
    arns::find_listener(&context.snapshot(), &context.scope(), &input.listener_arn)?;
    Err(not_offered("A listener with certificates (protocol 'HTTPS')").into())
}

/// One that is not there is fine; on a listener without certificates none is.
pub fn remove_certificates(
    context: &Context,
    input: RemoveListenerCertificatesInput,
) -> Result<RemoveListenerCertificatesOutput, ApiError> {
    arns::find_listener(&context.snapshot(), &context.scope(), &input.listener_arn)?;
    Ok(RemoveListenerCertificatesOutput {})
}

fn render(row: &Row) -> Listener {
    Listener {
        default_actions: Some(actions::render(&row.default_actions)),
        listener_arn: Some(row.arn.clone()),
        load_balancer_arn: Some(row.load_balancer_arn.clone()),
        port: Some(i32::from(row.port)),
        protocol: Some(row.protocol.clone()),
        ..Default::default()
    }
}
