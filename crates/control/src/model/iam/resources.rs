//! Resources of policy documents: which ARNs IAM takes.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>

const PARTITIONS: [&str; 8] = [
    "aws",
    "aws-cn",
    "aws-us-gov",
    "aws-iso",
    "aws-iso-b",
    "aws-iso-e",
    "aws-iso-f",
    "aws-eusc",
];
/// Resources of IAM that a policy may be about.
const IAM_PATHS: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];
/// Resources of S3 that live in a region.
const S3_REGIONAL: [&str; 5] = [
    "accesspoint/",
    "access-grants/",
    "async-request/",
    "job/",
    "storage-lens",
];

/// What IAM says of a resource that names nothing.
pub fn error(resource: &str) -> Option<String> {
    if resource == "*" {
        return None;
    }
    let Some((_, rest)) = resource.split_once(':') else {
        return Some(format!(
            "Resource {resource} must be in ARN format or \"*\"."
        ));
    };
    let (partition, rest) = rest
        .split_once(':')
        .map_or((rest, None), |(partition, rest)| (partition, Some(rest)));
    if partition != "*" && !PARTITIONS.contains(&partition) {
        return Some(format!(
            "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{}\".",
            filled(rest.unwrap_or_default())
        ));
    }
    let Some(rest) = rest else {
        let text = "Resource vendor must be fully qualified and cannot contain regexes.";
        return Some(text.to_owned());
    };
    let mut parts = rest.splitn(4, ':');
    let [service, region, _, id] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_regional = !region.is_empty() && !region.starts_with('*');
    let starts = |with: &[&str]| with.iter().any(|start| id.starts_with(start));
    match service {
        "iam" if is_regional => Some(format!(
            "IAM resource {resource} cannot contain region information."
        )),
        "iam" if id != "*" && !starts(&IAM_PATHS) => Some(format!(
            "IAM resource path must either be \"*\" or start with {}.",
            IAM_PATHS.join(", ")
        )),
        "s3" if is_regional && !starts(&S3_REGIONAL) => Some(format!(
            "Resource {resource} can not contain region information."
        )),
        _ => None,
    }
}

/// What follows an ARN's partition, with stars for what is missing.
fn filled(rest: &str) -> String {
    let mut parts: Vec<&str> = rest.splitn(4, ':').collect();
    if parts == [""] {
        parts.clear();
    }
    parts.resize(4, "*");
    parts.join(":")
}

/// Whether the form of one without an error stands IAM's older parser: no part is empty where parts are missing, and
/// the service is not.
pub fn is_parsed(resource: &str) -> bool {
    if resource == "*" {
        return true;
    }
    let is_whole = resource.matches(':').count() >= 5 || !resource.contains("::");
    is_whole && resource.split(':').nth(2).is_some_and(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_real_policies_pass() {
        for resource in [
            "*",
            "arn:aws:s3:::bucket/*",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/a",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "arn:aws:ecr:us-east-1:123456789012:repository/api",
            "arn:*:logs:*:*:*",
            "arn:aws:fdsasf",
        ] {
            assert_eq!(error(resource), None, "{resource}");
            assert!(is_parsed(resource), "{resource}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_resource_is_said() {
        let says = |resource: &str, part: &str| {
            let text = error(resource).unwrap();
            assert!(text.contains(part), "{resource}: {text}");
        };
        says("bucket", "ARN format");
        says("arn:aws", "fully qualified");
        says("aws:s3:::b", "\"arn:s3:::b:*\"");
        says("a:b", "\"arn:b:*:*:*:*\"");
        says("a:b:c:d:e:f:g:h", "\"arn:b:c:d:e:f:g:h\"");
        says("arn:aws:s3:us-east-1::b", "can not contain region");
        says("arn:aws:iam:us-east-1::role/a", "cannot contain region");
        says("arn:aws:iam:::bucket", "must either be");
        assert!(!is_parsed("arn:aws:s3::b"));
        assert!(!is_parsed("arn:aws::::b"));
    }
}
