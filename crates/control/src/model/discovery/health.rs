//! Health of instances: what callers said, or what Route 53's health checks see, one of which each instance of a service
//! with HealthCheckConfig has. What must stay true: such a check lives exactly as long as its instance has one.
//! <https://docs.aws.amazon.com/cloud-map/latest/api/API_HealthCheckConfig.html>

use super::instances::{IPV4, IPV6, PORT};
use super::{Refusal, invalid};
use crate::model::Tx;
use fogbank_types::discovery::{
    DiscoveryService, Instance, NamespaceKind, ServiceDns, ServiceHealthCheck,
};
use fogbank_types::route53::{
    CheckProtocol, EndpointCheck, HealthCheck, HealthCheckConfig, HealthCheckStatus,
    HealthCheckTarget,
};
use fogbank_types::{Snapshot, Tags};
use std::net::IpAddr;

/// "You can't update" it: each 30 seconds.
const INTERVAL_S: u32 = 30;
const PATH_MAX: usize = 255;

/// Whether a service can have it.
pub(super) fn check(
    namespace: NamespaceKind,
    dns: Option<&ServiceDns>,
    custom: bool,
    check: &ServiceHealthCheck,
) -> Result<(), Refusal> {
    if namespace == NamespaceKind::DnsPrivate {
        return Err(invalid(
            "HealthCheckConfig can't be specified for a service in a private DNS namespace.",
        ));
    }
    if custom {
        return Err(invalid(
            "HealthCheckConfig and HealthCheckCustomConfig can't both be specified.",
        ));
    }
    let is_cname = |dns: &ServiceDns| dns.records.iter().any(|(kind, _)| kind == "CNAME");
    if dns.is_some_and(is_cname) {
        return Err(invalid(
            "HealthCheckConfig can't be specified for a service with a CNAME record.",
        ));
    }
    if !(1..=10).contains(&check.threshold) {
        return Err(invalid("FailureThreshold must be between 1 and 10."));
    }
    match &check.path {
        Some(_) if check.protocol == CheckProtocol::Tcp => Err(invalid(
            "ResourcePath can't be specified for a health check of type TCP.",
        )),
        Some(path) if path.len() > PATH_MAX => Err(invalid("ResourcePath is too long.")),
        _ => Ok(()),
    }
}

/// What Route 53 is to look at.
fn config(check: &ServiceHealthCheck, row: &Instance) -> Result<HealthCheckConfig, Refusal> {
    let value = |key: &str| row.attributes.get(key).map(String::as_str);
    let address: Option<IpAddr> = [IPV4, IPV6]
        .into_iter()
        .find_map(|key| value(key)?.parse().ok());
    let missing = |name: &str| {
        invalid(format!(
            "The attribute {name} is required: the service has a HealthCheckConfig."
        ))
    };
    let port = value(PORT).ok_or_else(|| missing(PORT))?;
    let path = match check.protocol {
        CheckProtocol::Tcp => None,
        _ => Some(check.path.clone().unwrap_or_else(|| "/".to_owned())),
    };
    Ok(HealthCheckConfig {
        target: HealthCheckTarget::Endpoint(EndpointCheck {
            protocol: check.protocol,
            address: Some(address.ok_or_else(|| missing(IPV4))?),
            domain_name: None,
            port: port.parse().map_err(|_| missing(PORT))?,
            path,
            search: None,
            interval_s: INTERVAL_S,
            threshold: check.threshold,
            measures_latency: false,
            sends_sni: check.protocol == CheckProtocol::Https,
            regions: Vec::new(),
        }),
        inverted: false,
        disabled: false,
    })
}

/// Makes, changes or removes the instance's check so that it is the service's, and says which it is in the row.
pub(super) fn bind(
    tx: &mut Tx,
    service: &DiscoveryService,
    row: &mut Instance,
) -> Result<(), Refusal> {
    let Some(check) = &service.health_check else {
        unbind(tx, row);
        row.health_check_id = None;
        return Ok(());
    };
    let (scope, config) = (service.scope.global(), config(check, row)?);
    let own = row.health_check_id.as_ref();
    let mut bound = match own.and_then(|id| tx.snapshot().health_checks.get(&scope, id)) {
        Some(old) if old.config == config => return Ok(()),
        Some(old) => HealthCheck::clone(old),
        None => {
            let id = tx.uuid();
            HealthCheck {
                scope,
                caller_reference: format!("cloud-map-{id}"),
                id,
                version: 0,
                config: config.clone(),
                created_at: tx.now(),
                tags: Tags::new(),
            }
        }
    };
    (bound.version, bound.config) = (bound.version + 1, config);
    row.health_check_id = Some(bound.id.clone());
    tx.put(bound);
    Ok(())
}

/// Removes the instance's check.
pub(super) fn unbind(tx: &mut Tx, row: &Instance) {
    if let Some(id) = &row.health_check_id {
        tx.delete::<HealthCheck>(&row.scope.global(), id);
        tx.delete::<HealthCheckStatus>(&row.scope.global(), id);
    }
}

/// `None`: nobody looks, or nobody has looked yet.
pub fn known(snapshot: &Snapshot, row: &Instance) -> Option<bool> {
    let Some(id) = &row.health_check_id else {
        return row.healthy;
    };
    let status = snapshot
        .health_check_statuses
        .get(&row.scope.global(), id)?;
    Some(status.healthy)
}
