//! Container instances and their attributes: on Fargate there are none, and that is what these calls say.

use super::{failure, invalid};
use crate::api::{ApiError, Context};
use crate::model::ecs::clusters;
use fogbank_wire::ecs as wire;

fn check_cluster(context: &Context, cluster: Option<&str>) -> Result<(), ApiError> {
    clusters::find(&context.snapshot(), &context.scope(), cluster)?;
    Ok(())
}

pub fn list(
    context: &Context,
    request: wire::ListContainerInstancesRequest,
) -> Result<wire::ListContainerInstancesResponse, ApiError> {
    check_cluster(context, request.cluster.as_deref())?;
    Ok(wire::ListContainerInstancesResponse {
        container_instance_arns: Some(Vec::new()),
        next_token: None,
    })
}

pub fn describe(
    context: &Context,
    request: wire::DescribeContainerInstancesRequest,
) -> Result<wire::DescribeContainerInstancesResponse, ApiError> {
    check_cluster(context, request.cluster.as_deref())?;
    if request.container_instances.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    let cluster = request.cluster.as_deref().unwrap_or("default");
    let cluster = cluster.rsplit('/').next().unwrap_or(cluster);
    let arn = |text: &String| match text.starts_with("arn:") {
        true => text.clone(),
        false => context
            .scope()
            .arn("ecs", &format!("container-instance/{cluster}/{text}")),
    };
    let missing = request
        .container_instances
        .iter()
        .map(|text| failure(&arn(text)));
    Ok(wire::DescribeContainerInstancesResponse {
        container_instances: Some(Vec::new()),
        failures: Some(missing.collect()),
    })
}

pub fn list_attributes(
    context: &Context,
    request: wire::ListAttributesRequest,
) -> Result<wire::ListAttributesResponse, ApiError> {
    check_cluster(context, request.cluster.as_deref())?;
    Ok(wire::ListAttributesResponse {
        attributes: Some(Vec::new()),
        next_token: None,
    })
}

/// Attributes belong to container instances.
fn no_target(attributes: &[wire::Attribute]) -> ApiError {
    let target = attributes
        .iter()
        .find_map(|attribute| attribute.target_id.clone());
    ApiError::new(
        "TargetNotFoundException",
        format!("Could not find the target {}.", target.unwrap_or_default()),
    )
}

pub fn put_attributes(
    context: &Context,
    request: wire::PutAttributesRequest,
) -> Result<wire::PutAttributesResponse, ApiError> {
    check_cluster(context, request.cluster.as_deref())?;
    Err(no_target(&request.attributes))
}

pub fn delete_attributes(
    context: &Context,
    request: wire::DeleteAttributesRequest,
) -> Result<wire::DeleteAttributesResponse, ApiError> {
    check_cluster(context, request.cluster.as_deref())?;
    Err(no_target(&request.attributes))
}
