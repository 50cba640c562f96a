//! The parts of a service that are the same in CreateService, UpdateService and its descriptions: load balancers,
//! deployment configuration, registries and Service Connect.

use super::container_definitions::{read_log, show_log};
use super::{absent, invalid, not_offered, port};
use crate::api::ApiError;
use crate::model::ecs::services::DeploymentConfiguration;
use crate::model::ecs::strategy::{self, NewHook, StrategyChange};
use fogbank_types::Scope;
use fogbank_types::connect::{Connected, Endpoint};
use fogbank_types::ecs::{
    AdvancedLoadBalancer, Service, ServiceConnect, ServiceConnectService, ServiceLoadBalancer,
    ServiceRegistry,
};
use fogbank_types::rollout::{DeploymentAlarms, DeploymentStrategy, HookAction, StrategyKind};
use fogbank_wire::ecs as wire;

pub fn read_load_balancers(
    list: Option<Vec<wire::LoadBalancer>>,
) -> Result<Vec<ServiceLoadBalancer>, ApiError> {
    let read = |item: wire::LoadBalancer| {
        absent(
            &item.load_balancer_name,
            "loadBalancers.loadBalancerName (a Classic Load Balancer)",
        )?;
        Ok(ServiceLoadBalancer {
            target_group_arn: item
                .target_group_arn
                .ok_or_else(|| invalid("targetGroupArn can not be blank."))?,
            container_name: item
                .container_name
                .ok_or_else(|| invalid("Container name can not be blank."))?,
            container_port: port(item.container_port, "containerPort")?,
            advanced: item.advanced_configuration.map(read_advanced).transpose()?,
        })
    };
    list.unwrap_or_default().into_iter().map(read).collect()
}

fn read_advanced(item: wire::AdvancedConfiguration) -> Result<AdvancedLoadBalancer, ApiError> {
    let need = |value: Option<String>, what: &str| {
        value
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(format!("{what} can not be blank in advancedConfiguration.")))
    };
    Ok(AdvancedLoadBalancer {
        alternate_target_group_arn: need(
            item.alternate_target_group_arn,
            "alternateTargetGroupArn",
        )?,
        production_listener_rule: need(item.production_listener_rule, "productionListenerRule")?,
        test_listener_rule: item.test_listener_rule.filter(|text| !text.is_empty()),
        role_arn: need(item.role_arn, "roleArn")?,
    })
}

pub fn show_load_balancers(list: &[ServiceLoadBalancer]) -> Vec<wire::LoadBalancer> {
    let show = |item: &ServiceLoadBalancer| wire::LoadBalancer {
        container_name: Some(item.container_name.clone()),
        container_port: Some(i32::from(item.container_port)),
        target_group_arn: Some(item.target_group_arn.clone()),
        advanced_configuration: item.advanced.as_ref().map(|advanced| {
            wire::AdvancedConfiguration {
                alternate_target_group_arn: Some(advanced.alternate_target_group_arn.clone()),
                production_listener_rule: Some(advanced.production_listener_rule.clone()),
                role_arn: Some(advanced.role_arn.clone()),
                test_listener_rule: advanced.test_listener_rule.clone(),
            }
        }),
        ..wire::LoadBalancer::default()
    };
    list.iter().map(show).collect()
}

pub fn read_configuration(
    configuration: Option<wire::DeploymentConfiguration>,
) -> Result<DeploymentConfiguration, ApiError> {
    let Some(configuration) = configuration else {
        return Ok(DeploymentConfiguration::default());
    };
    let hook = |hook: wire::DeploymentLifecycleHook| NewHook {
        // Only hooks with a function existed before there was a type.
        target_type: hook.target_type,
        stages: hook.lifecycle_stages.unwrap_or_default(),
        timeout: hook
            .timeout_configuration
            .map(|t| (t.timeout_in_minutes, t.action)),
    };
    Ok(DeploymentConfiguration {
        minimum_healthy_percent: configuration.minimum_healthy_percent,
        maximum_percent: configuration.maximum_percent,
        circuit_breaker: configuration
            .deployment_circuit_breaker
            .map(|breaker| (breaker.enable, breaker.rollback)),
        strategy: StrategyChange {
            kind: configuration.strategy,
            bake_time_minutes: configuration.bake_time_in_minutes,
            canary: configuration
                .canary_configuration
                .map(|c| (c.canary_percent, c.canary_bake_time_in_minutes)),
            linear: configuration
                .linear_configuration
                .map(|c| (c.step_percent, c.step_bake_time_in_minutes)),
            alarms: configuration.alarms.map(|alarms| DeploymentAlarms {
                names: alarms.alarm_names,
                enabled: alarms.enable,
                rollback: alarms.rollback,
            }),
            hooks: configuration
                .lifecycle_hooks
                .map(|hooks| hooks.into_iter().map(hook).collect()),
        },
    })
}

pub fn show_configuration(
    service: &Service,
    of: &DeploymentStrategy,
) -> wire::DeploymentConfiguration {
    let (enable, rollback) = service.circuit_breaker.unwrap_or((false, false));
    let hooks = of.hooks.iter().map(|hook| wire::DeploymentLifecycleHook {
        lifecycle_stages: Some(hook.stages.clone()),
        target_type: Some("PAUSE".to_owned()),
        timeout_configuration: hook.timeout.map(|(minutes, action)| {
            wire::DeploymentLifecycleHookTimeoutConfiguration {
                action: Some(action_word(action).to_owned()),
                timeout_in_minutes: Some(minutes as i32),
            }
        }),
        ..wire::DeploymentLifecycleHook::default()
    });
    let shifts = of.kind != StrategyKind::Rolling;
    wire::DeploymentConfiguration {
        alarms: of.alarms.as_ref().map(|alarms| wire::DeploymentAlarms {
            alarm_names: alarms.names.clone(),
            enable: alarms.enabled,
            rollback: alarms.rollback,
        }),
        bake_time_in_minutes: Some(strategy::bake_minutes(of) as i32),
        canary_configuration: (of.kind == StrategyKind::Canary).then(|| {
            let (percent, minutes) = of.canary.unwrap_or(strategy::CANARY);
            wire::CanaryConfiguration {
                canary_bake_time_in_minutes: Some(minutes as i32),
                canary_percent: Some(percent),
            }
        }),
        deployment_circuit_breaker: Some(wire::DeploymentCircuitBreaker { enable, rollback }),
        lifecycle_hooks: shifts.then(|| hooks.collect()),
        linear_configuration: (of.kind == StrategyKind::Linear).then(|| {
            let (percent, minutes) = of.linear.unwrap_or(strategy::LINEAR);
            wire::LinearConfiguration {
                step_bake_time_in_minutes: Some(minutes as i32),
                step_percent: Some(percent),
            }
        }),
        maximum_percent: Some(service.maximum_percent as i32),
        minimum_healthy_percent: Some(service.minimum_healthy_percent as i32),
        strategy: Some(of.kind.as_str().to_owned()),
    }
}

pub fn action_word(action: HookAction) -> &'static str {
    match action {
        HookAction::Continue => "CONTINUE",
        HookAction::Rollback => "ROLLBACK",
    }
}

pub fn read_registries(
    list: Option<Vec<wire::ServiceRegistry>>,
) -> Result<Vec<ServiceRegistry>, ApiError> {
    let list = list.unwrap_or_default();
    if list.len() > 1 {
        return Err(invalid("service registries can have at most 1 items."));
    }
    let number = |value: Option<i32>, what: &str| value.map(|_| port(value, what)).transpose();
    let read = |item: wire::ServiceRegistry| {
        Ok(ServiceRegistry {
            registry_arn: item
                .registry_arn
                .ok_or_else(|| invalid("registryArn can not be blank."))?,
            port: number(item.port, "port")?,
            container_name: item.container_name,
            container_port: number(item.container_port, "containerPort")?,
        })
    };
    list.into_iter().map(read).collect()
}

pub fn show_registries(list: &[ServiceRegistry]) -> Vec<wire::ServiceRegistry> {
    let show = |item: &ServiceRegistry| wire::ServiceRegistry {
        container_name: item.container_name.clone(),
        container_port: item.container_port.map(i32::from),
        port: item.port.map(i32::from),
        registry_arn: Some(item.registry_arn.clone()),
    };
    list.iter().map(show).collect()
}

pub fn read_connect(
    configuration: wire::ServiceConnectConfiguration,
) -> Result<ServiceConnect, ApiError> {
    absent(
        &configuration.access_log_configuration,
        "serviceConnectConfiguration.accessLogConfiguration",
    )?;
    let services = configuration.services.unwrap_or_default();
    Ok(ServiceConnect {
        enabled: configuration.enabled,
        namespace: configuration.namespace,
        services: services
            .into_iter()
            .map(read_connect_service)
            .collect::<Result<_, _>>()?,
        log_configuration: configuration.log_configuration.map(read_log).transpose()?,
    })
}

fn read_connect_service(
    service: wire::ServiceConnectService,
) -> Result<ServiceConnectService, ApiError> {
    absent(&service.tls, "serviceConnectConfiguration.services.tls")?;
    let mut aliases = Vec::new();
    for alias in service.client_aliases.unwrap_or_default() {
        if alias.test_traffic_rules.is_some() {
            return Err(not_offered(
                "serviceConnectConfiguration.services.clientAliases.testTrafficRules",
            ));
        }
        aliases.push((
            port(Some(alias.port), "clientAliases.port")?,
            alias.dns_name,
        ));
    }
    let seconds = |value: Option<i32>| super::unsigned(value, "timeout");
    let timeouts = match service.timeout {
        Some(t) => Some((
            seconds(t.idle_timeout_seconds)?,
            seconds(t.per_request_timeout_seconds)?,
        )),
        None => None,
    };
    let over = service.ingress_port_override;
    Ok(ServiceConnectService {
        port_name: service.port_name,
        discovery_name: service.discovery_name,
        client_aliases: aliases,
        ingress_port_override: over
            .map(|_| port(over, "ingressPortOverride"))
            .transpose()?,
        timeouts,
    })
}

pub fn show_connect(connect: &ServiceConnect) -> wire::ServiceConnectConfiguration {
    let seconds = |value: Option<u32>| value.map(|seconds| seconds as i32);
    let show = |service: &ServiceConnectService| wire::ServiceConnectService {
        client_aliases: (!service.client_aliases.is_empty()).then(|| {
            let show = |(port, name): &(u16, Option<String>)| wire::ServiceConnectClientAlias {
                dns_name: name.clone(),
                port: i32::from(*port),
                ..wire::ServiceConnectClientAlias::default()
            };
            service.client_aliases.iter().map(show).collect()
        }),
        discovery_name: service.discovery_name.clone(),
        ingress_port_override: service.ingress_port_override.map(i32::from),
        port_name: service.port_name.clone(),
        timeout: service
            .timeouts
            .map(|(idle, request)| wire::TimeoutConfiguration {
                idle_timeout_seconds: seconds(idle),
                per_request_timeout_seconds: seconds(request),
            }),
        ..wire::ServiceConnectService::default()
    };
    wire::ServiceConnectConfiguration {
        enabled: connect.enabled,
        log_configuration: connect.log_configuration.as_ref().map(show_log),
        namespace: connect.namespace.clone(),
        services: (!connect.services.is_empty())
            .then(|| connect.services.iter().map(show).collect()),
        ..wire::ServiceConnectConfiguration::default()
    }
}

/// The Cloud Map services that a deployment's tasks are instances of.
pub fn show_resources(
    scope: &Scope,
    connected: &Connected,
) -> Vec<wire::ServiceConnectServiceResource> {
    let show = |endpoint: &Endpoint| wire::ServiceConnectServiceResource {
        discovery_arn: Some(scope.arn(
            "servicediscovery",
            &format!("service/{}", endpoint.discovery_id),
        )),
        discovery_name: Some(endpoint.discovery_name.clone()),
    };
    connected.served.iter().map(show).collect()
}
