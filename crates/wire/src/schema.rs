//! What the service models say, as static tables: services, operations, shapes, errors.
//!
//! `build.rs` writes the tables from `models/*.json`; the codecs, the validation and the routing
//! read them. Nothing here knows a protocol's bytes. A name on the wire stands ready-made in
//! [`Member`], so that the naming rules of the protocols are applied once, at build time.

use std::sync::OnceLock;

/// How a service's requests and replies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Ec2Query,
    AwsQuery,
    RestXml,
    AwsJson,
    RpcV2Cbor,
}

/// The services whose operations are modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Ec2,
    Elbv2,
    Ecs,
    Ecr,
    Route53,
    Iam,
    Sts,
    Logs,
    Acm,
    Cloudwatch,
    ApplicationAutoscaling,
    Servicediscovery,
    Ssm,
    Secretsmanager,
    Cloudtrail,
    Kms,
}

/// What a service's model says about it as a whole.
#[derive(Debug)]
pub struct ServiceSchema {
    pub service: Service,
    /// The one that its clients speak if they don't say otherwise.
    pub protocol: Protocol,
    /// What it speaks besides: CloudWatch has three.
    pub other_protocols: &'static [Protocol],
    /// The service's name in a credential scope.
    pub signing_name: &'static str,
    /// The first label or labels of its host name, `api.ecr` for ECR.
    pub endpoint_prefix: &'static str,
    pub api_version: &'static str,
    /// In front of the operation's name in `X-Amz-Target`; empty where there is none.
    pub target_prefix: &'static str,
    /// `1.0` or `1.1`; empty unless the protocol is JSON.
    pub json_version: &'static str,
    /// Of its XML replies; empty for JSON.
    pub xml_namespace: &'static str,
    /// Sorted by name.
    pub operations: &'static [Operation],
    /// Sorted by shape name.
    pub errors: &'static [ErrorSchema],
}

impl Service {
    pub const ALL: [Service; 16] = [
        Service::Ec2,
        Service::Elbv2,
        Service::Ecs,
        Service::Ecr,
        Service::Route53,
        Service::Iam,
        Service::Sts,
        Service::Logs,
        Service::Acm,
        Service::Cloudwatch,
        Service::ApplicationAutoscaling,
        Service::Servicediscovery,
        Service::Ssm,
        Service::Secretsmanager,
        Service::Cloudtrail,
        Service::Kms,
    ];

    pub fn schema(self) -> &'static ServiceSchema {
        match self {
            Service::Ec2 => &crate::ec2::SERVICE,
            Service::Elbv2 => &crate::elbv2::SERVICE,
            Service::Ecs => &crate::ecs::SERVICE,
            Service::Ecr => &crate::ecr::SERVICE,
            Service::Route53 => &crate::route53::SERVICE,
            Service::Iam => &crate::iam::SERVICE,
            Service::Sts => &crate::sts::SERVICE,
            Service::Logs => &crate::logs::SERVICE,
            Service::Acm => &crate::acm::SERVICE,
            Service::Cloudwatch => &crate::cloudwatch::SERVICE,
            Service::ApplicationAutoscaling => &crate::application_autoscaling::SERVICE,
            Service::Servicediscovery => &crate::servicediscovery::SERVICE,
            Service::Ssm => &crate::ssm::SERVICE,
            Service::Secretsmanager => &crate::secretsmanager::SERVICE,
            Service::Cloudtrail => &crate::cloudtrail::SERVICE,
            Service::Kms => &crate::kms::SERVICE,
        }
    }

    pub fn protocol(self) -> Protocol {
        self.schema().protocol
    }

    /// How a request that shows this form is read: as it shows if the service speaks so, else in the service's own.
    pub fn protocol_for(self, shown: Protocol) -> Protocol {
        let schema = self.schema();
        if schema.other_protocols.contains(&shown) {
            shown
        } else {
            schema.protocol
        }
    }

    /// botocore's name for it: the model file's, and the module's but for dashes.
    pub fn name(self) -> &'static str {
        match self {
            Service::Ec2 => "ec2",
            Service::Elbv2 => "elbv2",
            Service::Ecs => "ecs",
            Service::Ecr => "ecr",
            Service::Route53 => "route53",
            Service::Iam => "iam",
            Service::Sts => "sts",
            Service::Logs => "logs",
            Service::Acm => "acm",
            Service::Cloudwatch => "cloudwatch",
            Service::ApplicationAutoscaling => "application-autoscaling",
            Service::Servicediscovery => "servicediscovery",
            Service::Ssm => "ssm",
            Service::Secretsmanager => "secretsmanager",
            Service::Cloudtrail => "cloudtrail",
            Service::Kms => "kms",
        }
    }

    /// IAM and Route 53 are one for all regions and signed for us-east-1.
    pub fn is_global(self) -> bool {
        matches!(self, Service::Iam | Service::Route53)
    }

    pub fn operation(self, name: &str) -> Option<&'static Operation> {
        let operations = self.schema().operations;
        let found = operations.binary_search_by(|operation| operation.name.cmp(name));
        found.ok().map(|index| &operations[index])
    }

    /// By the model's shape name (`LoadBalancerNotFoundException`) or by the code on the wire
    /// (`LoadBalancerNotFound`).
    pub fn error(self, name: &str) -> Option<&'static ErrorSchema> {
        let errors = self.schema().errors;
        match errors.binary_search_by(|error| error.shape.cmp(name)) {
            Ok(index) => Some(&errors[index]),
            Err(_) => errors.iter().find(|error| error.code == name),
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One operation of a service. There is one static of each; compare by [`PartialEq`].
pub struct Operation {
    pub service: Service,
    pub name: &'static str,
    pub method: &'static str,
    /// With `{Label}`s; `/` unless the protocol is restXml.
    pub uri: &'static str,
    /// Of the reply to a call that succeeds.
    pub status: u16,
    /// An empty structure where the model names no input.
    pub input: &'static Schema,
    /// Absent where the model names no output.
    pub output: Option<&'static Schema>,
    /// The element around the output in awsQuery replies.
    pub result_wrapper: Option<&'static str>,
    pub errors: &'static [&'static ErrorSchema],
}

/// `ec2:CreateVpc`; its tables would fill a page.
impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.service, self.name)
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Operation) -> bool {
        self.service == other.service && self.name == other.name
    }
}

impl Eq for Operation {}

impl std::hash::Hash for Operation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.service, self.name).hash(state);
    }
}

/// An operation as a type, so that its input and output are known to the compiler. The types
/// stand in `<service>::operations`.
pub trait TypedOperation {
    type Input: crate::Shape;
    type Output: crate::Shape;
    fn operation() -> &'static Operation;
}

/// An error the model names.
#[derive(Debug)]
pub struct ErrorSchema {
    /// The model's name, `NoSuchEntityException`.
    pub shape: &'static str,
    /// What is sent, `NoSuchEntity`.
    pub code: &'static str,
    pub status: u16,
}

/// A shape: its kind and its constraints.
pub struct Schema {
    pub name: &'static str,
    pub kind: Kind,
    /// Of the length of strings, blobs, lists and maps; of the value of numbers.
    pub min: Option<i64>,
    pub max: Option<i64>,
}

#[derive(Debug)]
pub enum Kind {
    Structure(&'static [Member]),
    List {
        element: &'static Schema,
        /// The element's name in awsQuery and restXml, input and output.
        element_name: &'static str,
    },
    Map {
        key: &'static Schema,
        value: &'static Schema,
        key_name: &'static str,
        value_name: &'static str,
    },
    String {
        /// Empty unless the string is an enum.
        values: &'static [&'static str],
        pattern: Option<&'static Pattern>,
    },
    Boolean,
    Integer,
    Long,
    Double,
    Timestamp,
    Blob,
    /// Free JSON.
    Document,
}

/// Its name; the shapes it reaches would fill a book.
impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Schema {
    pub fn members(&self) -> &'static [Member] {
        match self.kind {
            Kind::Structure(members) => members,
            _ => &[],
        }
    }
}

/// A structure's member, in the order of the generated struct's fields.
#[derive(Debug)]
pub struct Member {
    /// The model's name.
    pub name: &'static str,
    /// On the wire in requests.
    pub input_name: &'static str,
    /// On the wire in replies.
    pub output_name: &'static str,
    pub location: Location,
    pub required: bool,
    pub schema: &'static Schema,
}

/// Where in an HTTP message a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body,
    Uri,
    Query,
    Header,
}

/// A model's regular expression, compiled when it is first needed.
#[derive(Debug)]
pub struct Pattern {
    /// As the model has it, for messages.
    pub source: &'static str,
    /// The same in the syntax of the regex crate, anchored at both ends.
    pub(crate) translated: &'static str,
    pub(crate) compiled: OnceLock<Option<regex::Regex>>,
}

impl Pattern {
    /// Whether the whole of `text` matches. A pattern that does not compile matches nothing:
    /// it fails closed (and a test sees to it that there is none).
    pub fn matches(&self, text: &str) -> bool {
        self.compiled
            .get_or_init(|| regex::Regex::new(self.translated).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }
}
