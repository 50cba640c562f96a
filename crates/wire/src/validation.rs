//! The models' constraints: required members, lengths, ranges, patterns, enums.
//!
//! Called by the routing on every input; control sees what failed as [`Violation`]s. The messages
//! are those of AWS's own framework ("1 validation error detected: ..."), EC2 and ECR have their own.

use crate::malformed::shorten;
use crate::schema::{Kind, Protocol, Schema, Service};
use crate::value::Value;

/// AWS reports all; a request with more than this many is no honest mistake.
const MOST: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    Required,
    /// EC2's: a required string that is empty.
    Empty,
    TooShort(i64),
    TooLong(i64),
    TooSmall(i64),
    TooLarge(i64),
    Pattern(&'static str),
    Enum(&'static [&'static str]),
}

/// One constraint that one value breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// As AWS writes it: `tags.1.member.key`; EC2's `Tag.1.Key`.
    pub path: String,
    pub kind: ViolationKind,
    /// As text, shortened.
    pub value: String,
}

/// What the model forbids in an input. Empty: nothing.
pub fn validate(service: Service, schema: &'static Schema, value: &Value) -> Vec<Violation> {
    let mut checker = Checker {
        ec2: service.protocol() == Protocol::Ec2Query,
        violations: Vec::new(),
    };
    checker.check(schema, value, "");
    checker.violations
}

struct Checker {
    ec2: bool,
    violations: Vec<Violation>,
}

impl Checker {
    fn report(&mut self, path: &str, kind: ViolationKind, value: &str) {
        if self.violations.len() < MOST {
            let value = shorten(value).into_owned();
            self.violations.push(Violation {
                path: path.to_owned(),
                kind,
                value,
            });
        }
    }

    fn check(&mut self, schema: &'static Schema, value: &Value, path: &str) {
        match (&schema.kind, value) {
            (Kind::Structure(members), Value::Structure(values)) => {
                for (member, value) in members.iter().zip(values) {
                    let name = if self.ec2 {
                        member.input_name
                    } else {
                        member.name
                    };
                    let name = if self.ec2 {
                        name.to_owned()
                    } else {
                        lower_first(name)
                    };
                    let path = if path.is_empty() {
                        name
                    } else {
                        format!("{path}.{name}")
                    };
                    match value {
                        Value::Null if member.required => {
                            self.report(&path, ViolationKind::Required, "")
                        }
                        Value::Null => {}
                        Value::String(text) if self.ec2 && member.required && text.is_empty() => {
                            self.report(&path, ViolationKind::Empty, "");
                        }
                        value => self.check(member.schema, value, &path),
                    }
                }
            }
            (Kind::List { element, .. }, Value::List(items)) => {
                self.check_length(schema, items.len(), path, "[...]");
                for (index, item) in items.iter().enumerate() {
                    let member = if self.ec2 { "" } else { ".member" };
                    self.check(element, item, &format!("{path}.{}{member}", index + 1));
                }
            }
            (
                Kind::Map {
                    key,
                    value: schema_of_value,
                    ..
                },
                Value::Map(map),
            ) => {
                self.check_length(schema, map.len(), path, "{...}");
                for (name, item) in map {
                    let path = format!("{path}.{}.member", shorten(name));
                    self.check_text(key, name, &path);
                    self.check(schema_of_value, item, &path);
                }
            }
            (Kind::String { .. }, Value::String(text)) => self.check_text(schema, text, path),
            (Kind::Blob, Value::Blob(bytes)) => {
                self.check_length(schema, bytes.len(), path, "blob")
            }
            (Kind::Integer | Kind::Long, Value::Integer(number)) => {
                self.check_range(schema, *number as f64, &number.to_string(), path);
            }
            (Kind::Double, Value::Double(number)) => {
                self.check_range(schema, *number, &number.to_string(), path);
            }
            _ => {}
        }
    }

    fn check_text(&mut self, schema: &'static Schema, text: &str, path: &str) {
        if schema.min.is_some() || schema.max.is_some() {
            // Java's length: UTF-16 units.
            self.check_length(schema, text.encode_utf16().count(), path, text);
        }
        let Kind::String { values, pattern } = &schema.kind else {
            return;
        };
        if !values.is_empty() && !values.contains(&text) {
            self.report(path, ViolationKind::Enum(values), text);
        }
        if let Some(pattern) = pattern.filter(|pattern| !pattern.matches(text)) {
            self.report(path, ViolationKind::Pattern(pattern.source), text);
        }
    }

    fn check_length(&mut self, schema: &Schema, length: usize, path: &str, text: &str) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(min) = schema.min.filter(|min| length < *min) {
            self.report(path, ViolationKind::TooShort(min), text);
        }
        if let Some(max) = schema.max.filter(|max| length > *max) {
            self.report(path, ViolationKind::TooLong(max), text);
        }
    }

    fn check_range(&mut self, schema: &Schema, number: f64, text: &str, path: &str) {
        if let Some(min) = schema.min.filter(|min| number < *min as f64) {
            self.report(path, ViolationKind::TooSmall(min), text);
        }
        if let Some(max) = schema.max.filter(|max| number > *max as f64) {
            self.report(path, ViolationKind::TooLarge(max), text);
        }
    }
}

/// `VpcId` -> `vpcId`, as AWS writes parameters in messages.
pub(crate) fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => first.to_lowercase().chain(chars).collect(),
    }
}

/// An empty description of a security group is none (observed on AWS).
fn is_missing(violation: &Violation) -> bool {
    violation.kind == ViolationKind::Required
        || (violation.kind == ViolationKind::Empty && violation.path == "GroupDescription")
}

/// AWS's code for an input that its model forbids.
pub fn code(service: Service, violations: &[Violation]) -> &'static str {
    match service.protocol() {
        Protocol::Ec2Query => match violations.first() {
            Some(violation) if is_missing(violation) => "MissingParameter",
            _ => "InvalidParameterValue",
        },
        Protocol::AwsQuery => "ValidationError",
        Protocol::RestXml => "InvalidInput",
        Protocol::AwsJson => match service {
            Service::Acm
            | Service::Kms
            | Service::ApplicationAutoscaling
            | Service::Ssm
            | Service::Secretsmanager => "ValidationException",
            Service::Servicediscovery => "InvalidInput",
            Service::Cloudtrail => "InvalidParameterCombinationException",
            _ => "InvalidParameterException",
        },
        Protocol::RpcV2Cbor => "InvalidParameterException",
    }
}

/// AWS's words for it.
pub fn message(service: Service, violations: &[Violation]) -> String {
    match (service, violations) {
        (Service::Ec2, [first, ..]) => ec2_message(first),
        (Service::Ecr, [first, ..]) => ecr_message(first),
        // Members whose values AWS does not repeat.
        (Service::Kms, [one]) if one.path == "plaintext" => format!(
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: {}",
            constraint(one.kind)
        ),
        (Service::Logs, [one]) if one.path == "logGroupIdentifier" => format!(
            "1 validation error detected: Value at '{}' failed to satisfy constraint: {}",
            one.path,
            constraint(one.kind)
        ),
        _ => {
            let count = violations.len();
            let plural = if count == 1 { "" } else { "s" };
            let list: Vec<String> = violations.iter().map(framework_message).collect();
            format!(
                "{count} validation error{plural} detected: {}",
                list.join("; ")
            )
        }
    }
}

fn framework_message(violation: &Violation) -> String {
    let value = match violation.kind {
        ViolationKind::Required => "null".to_owned(),
        _ => format!("'{}'", violation.value),
    };
    format!(
        "Value {value} at '{}' failed to satisfy constraint: {}",
        violation.path,
        constraint(violation.kind)
    )
}

fn constraint(kind: ViolationKind) -> String {
    match kind {
        ViolationKind::Required => "Member must not be null".to_owned(),
        ViolationKind::Empty => "Member must not be empty".to_owned(),
        ViolationKind::TooShort(min) => {
            format!("Member must have length greater than or equal to {min}")
        }
        ViolationKind::TooLong(max) => {
            format!("Member must have length less than or equal to {max}")
        }
        ViolationKind::TooSmall(min) => {
            format!("Member must have value greater than or equal to {min}")
        }
        ViolationKind::TooLarge(max) => {
            format!("Member must have value less than or equal to {max}")
        }
        ViolationKind::Pattern(source) => {
            format!("Member must satisfy regular expression pattern: {source}")
        }
        ViolationKind::Enum(values) => {
            format!(
                "Member must satisfy enum value set: [{}]",
                values.join(", ")
            )
        }
    }
}

fn ec2_message(violation: &Violation) -> String {
    let Violation { path, kind, value } = violation;
    // Tagging has names of its own for what it needs.
    let name = match path.as_str() {
        "ResourceId" => "resourceIdSet".to_owned(),
        "Tag" => "tagSet".to_owned(),
        "GroupDescription" => path.clone(),
        _ => lower_first(path),
    };
    match kind {
        _ if is_missing(violation) => format!("The request must contain the parameter {name}"),
        ViolationKind::Empty => {
            format!("Value () for parameter {name} is invalid. The value cannot be empty")
        }
        ViolationKind::TooSmall(min) => {
            format!(
                "Value ( {value} ) for parameter {name} is invalid. Expecting a value greater than {min}."
            )
        }
        ViolationKind::TooLarge(max) => {
            format!(
                "Value ( {value} ) for parameter {name} is invalid. Expecting a value less than {max}."
            )
        }
        ViolationKind::Enum(values) => {
            format!(
                "Value ({value}) for parameter {name} is invalid. Valid values are: {}",
                values.join(", ")
            )
        }
        other => format!(
            "Value ({value}) for parameter {name} is invalid. {}",
            constraint(*other)
        ),
    }
}

fn ecr_message(violation: &Violation) -> String {
    let constraint = match violation.kind {
        ViolationKind::Pattern(source) => format!("must satisfy regular expression '{source}'"),
        other => constraint(other),
    };
    format!(
        "Invalid parameter at '{}' failed to satisfy constraint: '{constraint}'",
        violation.path
    )
}
