//! The policies that AWS makes, as far as this stack names them. Their documents are abridged to the statements that
//! concern services of this region; what attaches and reads them needs their names.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Name, path, description.
struct Known(&'static str, &'static str, &'static str);

const ALL: &[Known] = &[
    Known(
        "AmazonECSTaskExecutionRolePolicy",
        "/service-role/",
        "Provides access to other AWS service resources that are required to run Amazon ECS tasks",
    ),
    Known(
        "AmazonECSServiceRolePolicy",
        "/aws-service-role/",
        "Policy to enable Amazon ECS to manage your cluster.",
    ),
    Known(
        "AmazonEC2ContainerServiceRole",
        "/service-role/",
        "Default policy for Amazon ECS service role.",
    ),
    Known(
        "AmazonEC2ContainerServiceforEC2Role",
        "/service-role/",
        "Default policy for the Amazon EC2 Role for Amazon EC2 Container Service.",
    ),
    Known(
        "AmazonEC2ContainerServiceAutoscaleRole",
        "/service-role/",
        "Policy to enable Task Autoscaling for Amazon EC2 Container Service",
    ),
    Known(
        "AmazonECS_FullAccess",
        "/",
        "Provides administrative access to Amazon ECS resources.",
    ),
    Known(
        "AmazonEC2ContainerRegistryReadOnly",
        "/",
        "Provides read-only access to Amazon EC2 Container Registry repositories.",
    ),
    Known(
        "AmazonEC2ContainerRegistryPowerUser",
        "/",
        "Provides full access to Amazon EC2 Container Registry repositories, but does not allow repository deletion or policy changes.",
    ),
    Known(
        "AmazonEC2ContainerRegistryFullAccess",
        "/",
        "Provides administrative access to Amazon ECR resources",
    ),
    Known(
        "AmazonEC2ContainerRegistryPullOnly",
        "/",
        "Provides permissions required to pull images from Amazon ECR",
    ),
    Known(
        "ElasticLoadBalancingFullAccess",
        "/",
        "Provides full access to Amazon ElasticLoadBalancing.",
    ),
    Known(
        "ElasticLoadBalancingReadOnly",
        "/",
        "Provides read only access to Amazon ElasticLoadBalancing.",
    ),
    Known(
        "AmazonVPCFullAccess",
        "/",
        "Provides full access to Amazon VPC.",
    ),
    Known(
        "AmazonVPCReadOnlyAccess",
        "/",
        "Provides read only access to Amazon VPC.",
    ),
    Known(
        "AmazonEC2FullAccess",
        "/",
        "Provides full access to Amazon EC2.",
    ),
    Known(
        "AmazonEC2ReadOnlyAccess",
        "/",
        "Provides read only access to Amazon EC2.",
    ),
    Known(
        "AmazonRoute53FullAccess",
        "/",
        "Provides full access to all Amazon Route 53.",
    ),
    Known(
        "AmazonRoute53ReadOnlyAccess",
        "/",
        "Provides read only access to all Amazon Route 53.",
    ),
    Known(
        "CloudWatchFullAccess",
        "/",
        "Provides full access to CloudWatch.",
    ),
    Known(
        "CloudWatchFullAccessV2",
        "/",
        "Provides full access to CloudWatch.",
    ),
    Known(
        "CloudWatchReadOnlyAccess",
        "/",
        "Provides read only access to CloudWatch.",
    ),
    Known(
        "CloudWatchLogsFullAccess",
        "/",
        "Provides full access to CloudWatch Logs",
    ),
    Known(
        "CloudWatchLogsReadOnlyAccess",
        "/",
        "Provides read only access to CloudWatch Logs",
    ),
    Known(
        "CloudWatchAgentServerPolicy",
        "/",
        "Permissions required to use AmazonCloudWatchAgent on servers",
    ),
    Known(
        "AmazonSSMManagedInstanceCore",
        "/",
        "The policy for Amazon EC2 Role to enable AWS Systems Manager service core functionality.",
    ),
    Known(
        "AmazonSSMReadOnlyAccess",
        "/",
        "Provides read only access to Amazon SSM.",
    ),
    Known(
        "AmazonS3FullAccess",
        "/",
        "Provides full access to all buckets via the AWS Management Console.",
    ),
    Known(
        "AmazonS3ReadOnlyAccess",
        "/",
        "Provides read only access to all buckets via the AWS Management Console.",
    ),
    Known(
        "SecretsManagerReadWrite",
        "/",
        "Provides read/write access to AWS Secrets Manager via the AWS Management Console.",
    ),
    Known(
        "AWSXRayDaemonWriteAccess",
        "/",
        "Allow the AWS X-Ray Daemon to relay raw trace segments data to the service's API.",
    ),
    Known(
        "AmazonDynamoDBFullAccess",
        "/",
        "Provides full access to Amazon DynamoDB via the AWS Management Console.",
    ),
    Known(
        "AmazonSQSFullAccess",
        "/",
        "Provides full access to Amazon SQS via the AWS Management Console.",
    ),
    Known(
        "AdministratorAccess",
        "/",
        "Provides full access to AWS services and resources.",
    ),
    Known(
        "PowerUserAccess",
        "/",
        "Provides full access to AWS services and resources, but does not allow management of Users and groups.",
    ),
    Known(
        "ReadOnlyAccess",
        "/",
        "Provides read-only access to AWS services and resources.",
    ),
    Known(
        "ViewOnlyAccess",
        "/job-function/",
        "This policy grants permissions to view resources and basic metadata across all AWS services.",
    ),
    Known(
        "IAMFullAccess",
        "/",
        "Provides full access to IAM via the AWS Management Console.",
    ),
    Known(
        "IAMReadOnlyAccess",
        "/",
        "Provides read only access to IAM via the AWS Management Console.",
    ),
];

/// A policy of AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    pub arn: String,
    pub name: &'static str,
    pub path: &'static str,
    pub description: &'static str,
    pub policy_id: String,
    pub document: String,
}

fn show(known: &Known, statements: &Value) -> Managed {
    let Known(name, path, description) = *known;
    let document = serde_json::json!({ "Version": "2012-10-17", "Statement": statements });
    Managed {
        arn: format!("arn:aws:iam::aws:policy{path}{name}"),
        name,
        path,
        description,
        policy_id: policy_id(name),
        document: document.to_string(),
    }
}

/// `ANPA` and 17 letters that stay the same for a name.
fn policy_id(name: &str) -> String {
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..17).fold("ANPA".to_owned(), |mut id, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        id.push(char::from(b'A' + (state >> 59) as u8 % 26));
        id
    })
}

/// The documents, by name: AWS's own statements as far as they concern services of this region.
/// <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>
const DOCUMENTS: &str = include_str!("managed.json");

/// All that are known, made once.
static KNOWN: LazyLock<Vec<Managed>> = LazyLock::new(|| {
    let documents: BTreeMap<String, Value> =
        serde_json::from_str(DOCUMENTS).expect("managed.json is part of the program");
    ALL.iter()
        .map(|known| show(known, &documents[known.0]))
        .collect()
});

/// The policy of that ARN, in any partition.
pub fn find(arn: &str) -> Option<Managed> {
    let (partition, tail) = arn.strip_prefix("arn:")?.split_once(":iam::aws:policy/")?;
    let known = KNOWN.iter().find(|known| {
        known
            .path
            .strip_prefix('/')
            .is_some_and(|path| tail.strip_prefix(path) == Some(known.name))
    })?;
    let mut managed = known.clone();
    managed.arn = managed
        .arn
        .replacen("arn:aws:", &format!("arn:{partition}:"), 1);
    Some(managed)
}

/// All that are known, by name.
pub fn all() -> Vec<Managed> {
    let mut all = KNOWN.clone();
    all.sort_by_key(|managed| managed.name);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_this_stack_resolve() {
        let arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy";
        assert_eq!(find(arn).unwrap().arn, arn);
        assert_eq!(
            find(
                &arn.replace(":aws:", ":aws-cn:")
                    .replacen("::aws-cn:", "::aws:", 1)
            )
            .unwrap()
            .name,
            "AmazonECSTaskExecutionRolePolicy"
        );
        assert!(
            find("arn:aws:iam::aws:policy/AmazonECSTaskExecutionRolePolicy").is_none(),
            "the path belongs to it"
        );
        assert!(find("arn:aws:iam::aws:policy/Nothing").is_none());
    }

    #[test]
    fn their_documents_are_good_and_their_ids_unique() {
        let ids: std::collections::BTreeSet<_> = all().into_iter().map(|m| m.policy_id).collect();
        assert_eq!(ids.len(), ALL.len());
        for managed in all() {
            crate::model::iam::documents::check(
                &managed.document,
                crate::model::iam::documents::Kind::Identity,
            )
            .unwrap();
        }
    }
}
