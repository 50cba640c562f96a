//! Listeners and their certificates.

use super::target_groups::port;
use super::{actions, page};
use crate::api::{ApiError, Context};
use crate::model::elb::listener_tls::{self, TlsSettings};
use crate::model::elb::listeners::{self, ListenerChange, NewListener};
use crate::model::elb::{Refusal, arns, invalid, tags};
use fogbank_types::elb::{MutualAuthentication, MutualAuthenticationMode};
use fogbank_types::{Scope, Snapshot};
use fogbank_wire::elbv2::*;

type Row = fogbank_types::elb::Listener;

pub fn create(
    context: &Context,
    input: CreateListenerInput,
) -> Result<CreateListenerOutput, ApiError> {
    let protocol = input
        .protocol
        .ok_or_else(|| invalid("A listener protocol must be specified"))?;
    let pairs = input.tags.unwrap_or_default().into_iter();
    let new = NewListener {
        load_balancer_arn: input.load_balancer_arn,
        port: port(
            input
                .port
                .ok_or_else(|| invalid("A listener port must be specified"))?,
        )?,
        protocol,
        tls: tls_settings(
            input.ssl_policy,
            input.certificates,
            input.alpn_policy,
            input.mutual_authentication,
        )?,
        default_actions: actions::parse(input.default_actions)?,
        tags: tags::collect(pairs.map(|tag| (tag.key, tag.value.unwrap_or_default())))?,
    };
    let scope = context.scope();
    let row = context.write(|tx| Ok(listeners::create(tx, &scope, new.clone())?))?;
    Ok(CreateListenerOutput {
        listeners: Some(vec![render(&row)]),
    })
}

fn tls_settings(
    ssl_policy: Option<String>,
    certificates: Option<Vec<Certificate>>,
    alpn_policy: Option<Vec<String>>,
    mutual: Option<MutualAuthenticationAttributes>,
) -> Result<TlsSettings, Refusal> {
    Ok(TlsSettings {
        ssl_policy: ssl_policy.filter(|policy| !policy.is_empty()),
        certificates: certificate_arns(certificates.unwrap_or_default())?,
        alpn_policy: alpn_policy.unwrap_or_default(),
        mutual_authentication: mutual.map(mutual_authentication).transpose()?,
    })
}

/// "Set CertificateArn to the certificate ARN but do not set IsDefault."
fn certificate_arns(certificates: Vec<Certificate>) -> Result<Vec<String>, Refusal> {
    let arn = |certificate: Certificate| {
        if certificate.is_default.is_some() {
            return Err(invalid("You cannot specify IsDefault for a certificate"));
        }
        certificate
            .certificate_arn
            .ok_or_else(|| invalid("A certificate ARN must be specified"))
    };
    certificates.into_iter().map(arn).collect()
}

fn mutual_authentication(
    shape: MutualAuthenticationAttributes,
) -> Result<MutualAuthentication, Refusal> {
    let mode = match shape.mode.as_deref() {
        None | Some("off") => MutualAuthenticationMode::Off,
        Some("passthrough") => MutualAuthenticationMode::Passthrough,
        Some("verify") => MutualAuthenticationMode::Verify,
        Some(other) => {
            return Err(invalid(format!(
                "Mutual authentication mode '{other}' must be one of 'off', 'passthrough', 'verify'"
            )));
        }
    };
    let advertise_ca_names = match shape.advertise_trust_store_ca_names.as_deref() {
        None | Some("off") => false,
        Some("on") => true,
        Some(other) => {
            return Err(invalid(format!(
                "AdvertiseTrustStoreCaNames '{other}' must be one of 'on', 'off'"
            )));
        }
    };
    Ok(MutualAuthentication {
        mode,
        trust_store_arn: shape.trust_store_arn.filter(|arn| !arn.is_empty()),
        ignore_client_certificate_expiry: shape.ignore_client_certificate_expiry == Some(true),
        advertise_ca_names,
    })
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
    let change = ListenerChange {
        port: input.port.map(port).transpose()?,
        protocol: input.protocol,
        tls: tls_settings(
            input.ssl_policy,
            input.certificates,
            input.alpn_policy,
            input.mutual_authentication,
        )?,
        default_actions: input.default_actions.map(actions::parse).transpose()?,
    };
    let (scope, arn) = (context.scope(), input.listener_arn);
    let row = context.write(|tx| Ok(listeners::modify(tx, &scope, &arn, change.clone())?))?;
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

/// The default first, then the list; a default that stands in the list too is told of twice.
pub fn describe_certificates(
    context: &Context,
    input: DescribeListenerCertificatesInput,
) -> Result<DescribeListenerCertificatesOutput, ApiError> {
    let snapshot = context.snapshot();
    let row = arns::find_listener(&snapshot, &context.scope(), &input.listener_arn)?;
    let keyed: Vec<(String, Certificate)> = row
        .certificates
        .iter()
        .enumerate()
        .map(|(at, arn)| {
            let key = if at == 0 {
                format!("default/{arn}")
            } else {
                arn.clone()
            };
            (key, certificate(arn, Some(at == 0)))
        })
        .collect();
    let (page, next_marker) = page::cut(
        keyed,
        |(key, _)| key,
        input.marker.as_deref(),
        input.page_size,
    )?;
    Ok(DescribeListenerCertificatesOutput {
        certificates: Some(page.into_iter().map(|(_, shape)| shape).collect()),
        next_marker,
    })
}

fn certificate(arn: &str, is_default: Option<bool>) -> Certificate {
    Certificate {
        certificate_arn: Some(arn.to_owned()),
        is_default,
    }
}

pub fn add_certificates(
    context: &Context,
    input: AddListenerCertificatesInput,
) -> Result<AddListenerCertificatesOutput, ApiError> {
    let arns = certificate_arns(input.certificates)?;
    let (scope, arn) = (context.scope(), input.listener_arn);
    let added = context.write(|tx| Ok(listener_tls::add_certificate(tx, &scope, &arn, &arns)?))?;
    Ok(AddListenerCertificatesOutput {
        certificates: Some(vec![certificate(&added, Some(false))]),
    })
}

pub fn remove_certificates(
    context: &Context,
    input: RemoveListenerCertificatesInput,
) -> Result<RemoveListenerCertificatesOutput, ApiError> {
    let arns = certificate_arns(input.certificates)?;
    let (scope, arn) = (context.scope(), input.listener_arn);
    context.write(|tx| Ok(listener_tls::remove_certificate(tx, &scope, &arn, &arns)?))?;
    Ok(RemoveListenerCertificatesOutput {})
}

fn render(row: &Row) -> Listener {
    Listener {
        default_actions: Some(actions::render(&row.default_actions)),
        listener_arn: Some(row.arn.clone()),
        load_balancer_arn: Some(row.load_balancer_arn.clone()),
        port: Some(i32::from(row.port)),
        protocol: Some(row.protocol.clone()),
        ssl_policy: row.ssl_policy.clone(),
        certificates: row
            .certificates
            .first()
            .map(|arn| vec![certificate(arn, None)]),
        mutual_authentication: (row.protocol == "HTTPS").then(|| render_mutual(row)),
        ..Default::default()
    }
}

fn render_mutual(row: &Row) -> MutualAuthenticationAttributes {
    let mode = |mode: &str| MutualAuthenticationAttributes {
        mode: Some(mode.to_owned()),
        ..Default::default()
    };
    let Some(mutual) = &row.mutual_authentication else {
        return mode("off");
    };
    match mutual.mode {
        MutualAuthenticationMode::Off => mode("off"),
        MutualAuthenticationMode::Passthrough => mode("passthrough"),
        MutualAuthenticationMode::Verify => {
            let advertise = if mutual.advertise_ca_names {
                "on"
            } else {
                "off"
            };
            MutualAuthenticationAttributes {
                trust_store_arn: mutual.trust_store_arn.clone(),
                ignore_client_certificate_expiry: Some(mutual.ignore_client_certificate_expiry),
                advertise_trust_store_ca_names: Some(advertise.to_owned()),
                ..mode("verify")
            }
        }
    }
}
