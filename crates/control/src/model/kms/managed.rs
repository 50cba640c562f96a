//! AWS's own keys: one a service, made in an account and region on first use, under `alias/aws/...`.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#aws-managed-cmk>

use super::Refusal;
use super::keys::{self, NewKey};
use super::rotation::PERIOD_DAYS_UNLESS_SAID;
use crate::model::Tx;
use fogbank_types::Scope;
use fogbank_types::kms::{Alias, Key, KeySecret, KeySpec};
use serde_json::json;

/// The services that this region has or that its clients ask about, and what they call themselves.
pub const SERVICES: &[(&str, &str)] = &[
    ("acm", "ACM"),
    ("ebs", "EBS"),
    ("ecr", "ECR"),
    ("elasticfilesystem", "EFS"),
    ("rds", "RDS"),
    ("s3", "S3"),
    ("secretsmanager", "AWS Secrets Manager"),
    ("sns", "SNS"),
    ("sqs", "SQS"),
    ("ssm", "AWS Parameter Store"),
];

/// The service that an alias is of: `alias/aws/ssm`, or its ARN in the same account and region.
pub fn service(scope: &Scope, alias: &str) -> Option<&'static str> {
    let name = alias
        .strip_prefix("alias/aws/")
        .or_else(|| alias.strip_prefix(&scope.arn("kms", "alias/aws/")))?;
    let known = SERVICES.iter().find(|(service, _)| *service == name);
    known.map(|(service, _)| *service)
}

/// The service's key, made now if there is none. The secret is drawn from the system's generator.
pub fn ensure(
    tx: &mut Tx,
    scope: &Scope,
    service: &'static str,
    secret: &KeySecret,
) -> Result<Key, Refusal> {
    let name = format!("alias/aws/{service}");
    if let Some(alias) = tx.snapshot().kms_aliases.get(scope, &name)
        && let Some(key) = tx.snapshot().kms_keys.get(scope, &alias.key_id)
    {
        return Ok(Key::clone(key));
    }
    let known = SERVICES.iter().find(|(own, _)| *own == service);
    let title = known.map_or(service, |(_, title)| *title);
    let new = NewKey {
        secret: secret.clone(),
        spec: KeySpec::SymmetricDefault,
        description: match service {
            "ssm" => "Default key that protects my SSM parameters when no other key is defined",
            "secretsmanager" => {
                "Default key that protects my Secrets Manager data when no other key is defined"
            }
            "acm" => "Default key that protects my ACM private keys when no other key is defined",
            _ => "Default key that protects my data when no other key is defined",
        }
        .to_owned(),
        policy: Some(policy(scope, service, title)),
        is_managed_by_aws: true,
        tags: fogbank_types::Tags::new(),
    };
    let now = tx.now();
    let key = Key {
        rotation_period_days: Some(PERIOD_DAYS_UNLESS_SAID),
        rotation_enabled_at: Some(now),
        ..keys::create(tx, scope, new)?
    };
    tx.put(key.clone());
    tx.put(Alias {
        scope: scope.clone(),
        name,
        key_id: key.id.clone(),
        created_at: now,
        updated_at: now,
    });
    Ok(key)
}

/// Everybody in the account who may use the service may use the key, through the service alone.
fn policy(scope: &Scope, service: &str, title: &str) -> String {
    let (account, region) = (&scope.account, &scope.region);
    let policy = json!({
        "Version": "2012-10-17",
        "Id": format!("auto-{service}-1"),
        "Statement": [
            {
                "Sid": format!("Allow access through {title} for all principals in the account that are authorized to use {title}"),
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"],
                "Resource": "*",
                "Condition": {"StringEquals": {
                    "kms:ViaService": format!("{service}.{region}.amazonaws.com"),
                    "kms:CallerAccount": account,
                }},
            },
            {
                "Sid": "Allow direct access to key metadata to the account",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
                "Resource": "*",
            },
        ],
    });
    serde_json::to_string_pretty(&policy).expect("texts and lists are JSON")
}
