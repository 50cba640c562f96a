//! Health checks, what the checkers saw, and where they speak from.

use crate::api::{ApiError, Context};
use crate::model::route53::check_targets::{insufficient_data_name, kind_of};
use crate::model::route53::health_checks::{self, Settings, Update};
use crate::model::route53::listing;
use fogbank_types::alarm::{AlarmSource, AlarmWatch};
use fogbank_types::route53::{CheckObservation, HealthCheckTarget};
use fogbank_types::{Scope, Snapshot, Timestamp};
use fogbank_wire::route53::*;

type Row = fogbank_types::route53::HealthCheck;

pub fn create(
    context: &Context,
    input: CreateHealthCheckRequest,
) -> Result<CreateHealthCheckResponse, ApiError> {
    let scope = context.scope().global();
    let config = input.health_check_config;
    let settings = Settings {
        kind: Some(config.r#type),
        ip_address: filled(config.ip_address),
        domain_name: filled(config.fully_qualified_domain_name),
        port: config.port,
        path: filled(config.resource_path),
        search: filled(config.search_string),
        interval_s: config.request_interval,
        failure_threshold: config.failure_threshold,
        measures_latency: config.measure_latency,
        sends_sni: config.enable_sni,
        regions: config.regions,
        children: config.child_health_checks,
        health_threshold: config.health_threshold,
        alarm: config
            .alarm_identifier
            .map(|alarm| (alarm.region, alarm.name)),
        insufficient_data: config.insufficient_data_health_status,
        routing_control: config.routing_control_arn,
        inverted: config.inverted,
        disabled: config.disabled,
    };
    let reference = input.caller_reference;
    let row = context.write(|tx| {
        Ok(health_checks::create(
            tx,
            &scope,
            reference.clone(),
            &settings,
        )?)
    })?;
    Ok(CreateHealthCheckResponse {
        health_check: render(&context.snapshot(), &row),
        location: format!(
            "https://route53.amazonaws.com/2013-04-01/healthcheck/{}",
            row.id
        ),
    })
}

/// An empty text says nothing.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

pub fn get(
    context: &Context,
    input: GetHealthCheckRequest,
) -> Result<GetHealthCheckResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = health_checks::find(&snapshot, &scope, &input.health_check_id)?;
    Ok(GetHealthCheckResponse {
        health_check: render(&snapshot, row),
    })
}

pub fn update(
    context: &Context,
    input: UpdateHealthCheckRequest,
) -> Result<UpdateHealthCheckResponse, ApiError> {
    let scope = context.scope().global();
    let update = Update {
        id: input.health_check_id,
        version: input.health_check_version,
        settings: Settings {
            ip_address: filled(input.ip_address),
            domain_name: filled(input.fully_qualified_domain_name),
            port: input.port,
            path: filled(input.resource_path),
            search: filled(input.search_string),
            failure_threshold: input.failure_threshold,
            sends_sni: input.enable_sni,
            regions: input.regions,
            children: input.child_health_checks,
            health_threshold: input.health_threshold,
            alarm: input
                .alarm_identifier
                .map(|alarm| (alarm.region, alarm.name)),
            insufficient_data: input.insufficient_data_health_status,
            inverted: input.inverted,
            disabled: input.disabled,
            ..Settings::default()
        },
        reset: input.reset_elements.unwrap_or_default(),
    };
    let row = context.write(|tx| Ok(health_checks::update(tx, &scope, &update)?))?;
    Ok(UpdateHealthCheckResponse {
        health_check: render(&context.snapshot(), &row),
    })
}

pub fn delete(
    context: &Context,
    input: DeleteHealthCheckRequest,
) -> Result<DeleteHealthCheckResponse, ApiError> {
    let scope = context.scope().global();
    context.write(|tx| Ok(health_checks::delete(tx, &scope, &input.health_check_id)?))?;
    Ok(DeleteHealthCheckResponse {})
}

pub fn list(
    context: &Context,
    input: ListHealthChecksRequest,
) -> Result<ListHealthChecksResponse, ApiError> {
    let size = listing::page_size(input.max_items.as_deref(), health_checks::PAGE_MAX)?;
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let marker = filled(input.marker);
    let (rows, next_marker) = health_checks::list(&snapshot, &scope, marker.as_deref(), size)?;
    Ok(ListHealthChecksResponse {
        health_checks: rows.iter().map(|row| render(&snapshot, row)).collect(),
        is_truncated: next_marker.is_some(),
        marker: marker.unwrap_or_default(),
        max_items: size.to_string(),
        next_marker,
    })
}

pub fn count(
    context: &Context,
    _: GetHealthCheckCountRequest,
) -> Result<GetHealthCheckCountResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let health_check_count = snapshot.health_checks.in_scope(&scope).count() as i64;
    Ok(GetHealthCheckCountResponse { health_check_count })
}

pub fn status(
    context: &Context,
    input: GetHealthCheckStatusRequest,
) -> Result<GetHealthCheckStatusResponse, ApiError> {
    let last = |seen: &CheckObservation| Some((seen.at, seen.status.clone()));
    Ok(GetHealthCheckStatusResponse {
        health_check_observations: observations(context, &input.health_check_id, last)?,
    })
}

pub fn last_failure(
    context: &Context,
    input: GetHealthCheckLastFailureReasonRequest,
) -> Result<GetHealthCheckLastFailureReasonResponse, ApiError> {
    let failure = |seen: &CheckObservation| seen.failure.clone();
    Ok(GetHealthCheckLastFailureReasonResponse {
        health_check_observations: observations(context, &input.health_check_id, failure)?,
    })
}

fn observations(
    context: &Context,
    id: &str,
    said: impl Fn(&CheckObservation) -> Option<(Timestamp, String)>,
) -> Result<Vec<HealthCheckObservation>, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope().global());
    let row = health_checks::find(&snapshot, &scope, id)?;
    if matches!(row.config.target, HealthCheckTarget::Calculated { .. }) {
        // "You can't use GetHealthCheckStatus to get the status of a calculated health check."
        return Err(crate::model::route53::invalid(
            "The status of a calculated health check can't be retrieved.",
        )
        .into());
    }
    let status = snapshot.health_check_statuses.get(&scope, id);
    let seen = status.iter().flat_map(|status| &status.observations);
    let all = seen.filter_map(|seen| {
        let (at, status) = said(seen)?;
        Some(HealthCheckObservation {
            ip_address: Some(seen.address.to_string()),
            region: Some(seen.region.clone()),
            status_report: Some(StatusReport {
                checked_time: Some(at),
                status: Some(status),
            }),
        })
    });
    Ok(all.collect())
}

/// The addresses that the checkers of this region really have, so that security groups can let them in.
pub fn ranges(
    context: &Context,
    _: GetCheckerIpRangesRequest,
) -> Result<GetCheckerIpRangesResponse, ApiError> {
    let config = context.config();
    let v4 = config.checker_blocks().map(|block| block.to_string());
    let all = v4
        .into_iter()
        .chain([config.checker_block_v6().to_string()]);
    Ok(GetCheckerIpRangesResponse {
        checker_ip_ranges: all.collect(),
    })
}

fn render(snapshot: &Snapshot, row: &Row) -> HealthCheck {
    HealthCheck {
        caller_reference: row.caller_reference.clone(),
        cloud_watch_alarm_configuration: alarm(snapshot, row),
        health_check_config: config(row),
        health_check_version: row.version,
        id: row.id.clone(),
        linked_service: None,
    }
}

fn config(row: &Row) -> HealthCheckConfig {
    let base = HealthCheckConfig {
        r#type: kind_of(&row.config).to_owned(),
        inverted: Some(row.config.inverted),
        disabled: Some(row.config.disabled),
        ..Default::default()
    };
    match &row.config.target {
        HealthCheckTarget::Endpoint(check) => HealthCheckConfig {
            ip_address: check.address.map(|address| address.to_string()),
            fully_qualified_domain_name: check.domain_name.clone(),
            port: Some(i32::from(check.port)),
            resource_path: check.path.clone(),
            search_string: check.search.clone(),
            request_interval: Some(check.interval_s as i32),
            failure_threshold: Some(check.threshold as i32),
            measure_latency: Some(check.measures_latency),
            enable_sni: Some(check.sends_sni),
            regions: Some(check.regions.clone()).filter(|regions| !regions.is_empty()),
            ..base
        },
        HealthCheckTarget::Calculated {
            children,
            threshold,
        } => HealthCheckConfig {
            child_health_checks: Some(children.clone()),
            health_threshold: Some(*threshold as i32),
            ..base
        },
        HealthCheckTarget::Alarm {
            region,
            name,
            insufficient_data,
        } => HealthCheckConfig {
            alarm_identifier: Some(AlarmIdentifier {
                name: name.clone(),
                region: region.clone(),
            }),
            insufficient_data_health_status: Some(
                insufficient_data_name(*insufficient_data).to_owned(),
            ),
            ..base
        },
    }
}

/// What the alarm of a check looks at; nothing once it was deleted.
fn alarm(snapshot: &Snapshot, row: &Row) -> Option<CloudWatchAlarmConfiguration> {
    let HealthCheckTarget::Alarm { region, name, .. } = &row.config.target else {
        return None;
    };
    let scope = Scope::new(&row.scope.account, region);
    let alarm = snapshot.alarms.get(&scope, name)?;
    let AlarmWatch::Metric(watch) = &alarm.watch else {
        return None;
    };
    let AlarmSource::Metric(metric) = &watch.source else {
        return None;
    };
    let dimension = |(name, value): &(String, String)| Dimension {
        name: name.clone(),
        value: value.clone(),
    };
    Some(CloudWatchAlarmConfiguration {
        comparison_operator: watch.comparison.as_str().to_owned(),
        dimensions: Some(metric.dimensions.iter().map(dimension).collect()),
        evaluation_periods: watch.evaluation_periods as i32,
        metric_name: metric.name.clone(),
        namespace: metric.namespace.clone(),
        period: metric.period_s as i32,
        statistic: metric.statistic.clone(),
        threshold: watch.threshold,
    })
}
