//! ECS: shapes to commands and rows to shapes.
//!
//! What a request asks for and this region does not carry out yet is refused by name, never accepted and ignored.

mod account_settings;
mod capacity_providers;
mod clusters;
mod commands;
mod container_definitions;
mod container_instances;
mod deployments;
mod protection;
mod service_settings;
mod services;
mod tags;
mod task_definitions;
mod tasks;

use super::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Tags;
use fogbank_types::ecs::{CapacityProviderStrategyItem, NetworkConfiguration};
use fogbank_wire::ecs as wire;

super::handlers! {
    Ecs:
    write CreateCluster => clusters::create,
    read DescribeClusters => clusters::describe,
    read ListClusters => clusters::list,
    write UpdateCluster => clusters::update,
    write UpdateClusterSettings => clusters::update_settings,
    write PutClusterCapacityProviders => clusters::put_capacity_providers,
    write DeleteCluster => clusters::delete,
    read DescribeCapacityProviders => capacity_providers::describe,
    write RegisterTaskDefinition => task_definitions::register,
    read DescribeTaskDefinition => task_definitions::describe,
    write DeregisterTaskDefinition => task_definitions::deregister,
    write DeleteTaskDefinitions => task_definitions::delete,
    read ListTaskDefinitions => task_definitions::list,
    read ListTaskDefinitionFamilies => task_definitions::list_families,
    write RunTask => tasks::run,
    write StopTask => tasks::stop,
    read DescribeTasks => tasks::describe,
    read ListTasks => tasks::list,
    write ExecuteCommand => commands::execute,
    write CreateService => services::create,
    write UpdateService => services::update,
    write DeleteService => services::delete,
    read DescribeServices => services::describe,
    read ListServices => services::list,
    read ListServiceDeployments => deployments::list,
    read DescribeServiceDeployments => deployments::describe,
    read DescribeServiceRevisions => deployments::describe_revisions,
    write StopServiceDeployment => deployments::stop,
    write ContinueServiceDeployment => deployments::proceed,
    read ListServicesByNamespace => services::list_by_namespace,
    write UpdateTaskProtection => protection::update,
    read GetTaskProtection => protection::get,
    write PutAccountSetting => account_settings::put,
    write PutAccountSettingDefault => account_settings::put_default,
    write DeleteAccountSetting => account_settings::delete,
    read ListAccountSettings => account_settings::list,
    read ListContainerInstances => container_instances::list,
    read DescribeContainerInstances => container_instances::describe,
    read ListAttributes => container_instances::list_attributes,
    write PutAttributes => container_instances::put_attributes,
    write DeleteAttributes => container_instances::delete_attributes,
    write TagResource => tags::tag,
    write UntagResource => tags::untag,
    read ListTagsForResource => tags::list,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", text)
}

fn client(text: impl Into<String>) -> ApiError {
    ApiError::new("ClientException", text)
}

/// Refuses what would otherwise be accepted and ignored.
fn not_offered(what: &str) -> ApiError {
    client(format!("{what} is not offered by this region yet."))
}

fn absent<T>(value: &Option<T>, what: &str) -> Result<(), ApiError> {
    if value.is_some() {
        Err(not_offered(what))
    } else {
        Ok(())
    }
}

fn empty<T>(value: &Option<Vec<T>>, what: &str) -> Result<(), ApiError> {
    if value.as_ref().is_some_and(|list| !list.is_empty()) {
        Err(not_offered(what))
    } else {
        Ok(())
    }
}

fn not_true(value: Option<bool>, what: &str) -> Result<(), ApiError> {
    if value == Some(true) {
        Err(not_offered(what))
    } else {
        Ok(())
    }
}

/// A count or a size, which AWS writes as a signed number.
fn unsigned(value: Option<i32>, what: &str) -> Result<Option<u32>, ApiError> {
    value
        .map(|number| {
            u32::try_from(number).map_err(|_| {
                ApiError::new(
                    "ClientException",
                    format!("Invalid '{what}' setting: {number}"),
                )
            })
        })
        .transpose()
}

fn port(value: Option<i32>, what: &str) -> Result<u16, ApiError> {
    value
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            ApiError::new(
                "ClientException",
                format!("Invalid '{what}' setting: it must be 1 to 65535."),
            )
        })
}

fn read_tags(tags: Option<Vec<wire::Tag>>) -> Result<Tags, ApiError> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let key = tag
            .key
            .filter(|key| !key.is_empty())
            .ok_or_else(|| invalid("Tag key can not be empty."))?;
        if read
            .insert(key.clone(), tag.value.unwrap_or_default())
            .is_some()
        {
            return Err(invalid(format!("Duplicate tag key: {key}")));
        }
    }
    Ok(read)
}

fn show_tags(tags: &Tags) -> Vec<wire::Tag> {
    tags.iter()
        .map(|(key, value)| wire::Tag {
            key: Some(key.clone()),
            value: Some(value.clone()),
        })
        .collect()
}

fn pair(name: &str, value: impl Into<String>) -> wire::KeyValuePair {
    wire::KeyValuePair {
        name: Some(name.to_owned()),
        value: Some(value.into()),
    }
}

fn failure(arn: &str) -> wire::Failure {
    wire::Failure {
        arn: Some(arn.to_owned()),
        detail: None,
        reason: Some("MISSING".to_owned()),
    }
}

/// Whether the request wants that part of a description.
fn included(include: &Option<Vec<String>>, part: &str) -> bool {
    include
        .as_ref()
        .is_some_and(|parts| parts.iter().any(|p| p == part))
}

fn read_strategy(
    items: Option<Vec<wire::CapacityProviderStrategyItem>>,
) -> Vec<CapacityProviderStrategyItem> {
    let read = |item: wire::CapacityProviderStrategyItem| CapacityProviderStrategyItem {
        capacity_provider: item.capacity_provider,
        weight: item.weight.unwrap_or(0),
        base: item.base.unwrap_or(0),
    };
    items.unwrap_or_default().into_iter().map(read).collect()
}

fn show_strategy(
    items: &[CapacityProviderStrategyItem],
) -> Vec<wire::CapacityProviderStrategyItem> {
    let show = |item: &CapacityProviderStrategyItem| wire::CapacityProviderStrategyItem {
        capacity_provider: item.capacity_provider.clone(),
        weight: Some(item.weight),
        base: Some(item.base),
    };
    items.iter().map(show).collect()
}

fn show_network(network: &NetworkConfiguration) -> wire::NetworkConfiguration {
    wire::NetworkConfiguration {
        awsvpc_configuration: Some(wire::AwsVpcConfiguration {
            assign_public_ip: Some(
                if network.assign_public_ip {
                    "ENABLED"
                } else {
                    "DISABLED"
                }
                .to_owned(),
            ),
            security_groups: Some(if network.groups_by_default {
                Vec::new()
            } else {
                network.groups.iter().map(ToString::to_string).collect()
            }),
            subnets: network.subnets.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// One page of a list that is ordered by `key`. The token names the next page's first key, so that a list that
/// changes meanwhile neither repeats nor skips what stays.
fn page<T>(
    mut items: Vec<T>,
    key: impl Fn(&T) -> String,
    next_token: Option<String>,
    max_results: Option<i32>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let max = match max_results {
        None => 100,
        Some(number @ 1..=100) => number as usize,
        Some(_) => return Err(invalid("maxResults must be between 1 and 100.")),
    };
    if let Some(token) = next_token {
        let start = STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let start =
            start.ok_or_else(|| invalid("Invalid token provided for the nextToken parameter."))?;
        let first = items
            .iter()
            .position(|item| key(item) == start)
            .unwrap_or_else(|| {
                items
                    .iter()
                    .position(|item| key(item) > start)
                    .unwrap_or(items.len())
            });
        items.drain(..first);
    }
    let next = items.get(max).map(|item| STANDARD.encode(key(item)));
    items.truncate(max);
    Ok((items, next))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn pages_follow_each_other_even_if_the_list_changes() {
        let all: Vec<String> = (0..250).map(|n| format!("{n:03}")).collect();
        let (first, next) = page(all.clone(), String::clone, None, None).unwrap();
        assert_eq!((first.len(), next.is_some()), (100, true));
        let without: Vec<String> = all.iter().filter(|n| *n != "100").cloned().collect();
        let (second, _) = page(without, String::clone, next, Some(10)).unwrap();
        assert_eq!(second[0], "101");
        assert!(page(all.clone(), String::clone, Some("?".to_owned()), None).is_err());
        assert!(page(all, String::clone, None, Some(0)).is_err());
    }
}
