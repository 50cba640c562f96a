//! Writes the shapes of the trimmed models in `models/` as Rust: one file a service in OUT_DIR.
//!
//! For each service: a struct for each structure (fields in the model's order), the static
//! tables of `src/schema.rs`, and a type for each operation. All naming rules of the protocols
//! are applied here. A trait of a model that the codecs do not know stops the build.

// A build script says what is wrong by panicking; there is nobody else to tell.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use serde_json::{Map, Value};

const SERVICES: &[(&str, &str)] = &[
    ("ec2", "Ec2"),
    ("elbv2", "Elbv2"),
    ("ecs", "Ecs"),
    ("ecr", "Ecr"),
    ("route53", "Route53"),
    ("iam", "Iam"),
    ("sts", "Sts"),
    ("logs", "Logs"),
    ("acm", "Acm"),
    ("cloudwatch", "Cloudwatch"),
    ("application-autoscaling", "ApplicationAutoscaling"),
    ("servicediscovery", "Servicediscovery"),
    ("ssm", "Ssm"),
    ("secretsmanager", "Secretsmanager"),
    ("cloudtrail", "Cloudtrail"),
    ("kms", "Kms"),
];

/// Names of the prelude that the generated code or of ours that the generated code uses plainly.
const PRELUDE: &[&str] = &[
    "BTreeMap",
    "Bytes",
    "Document",
    "Mismatch",
    "Shape",
    "Timestamp",
    "Value",
    "Option",
    "Vec",
    "String",
    "Box",
    "Result",
    "Default",
    "Clone",
    "Some",
    "None",
    "Ok",
    "Err",
];

const KEYWORDS: &[&str] = &[
    "type", "ref", "match", "static", "loop", "move", "use", "where", "async", "enum", "in",
    "return", "self", "for", "if", "else", "final", "override", "virtual", "yield", "box", "try",
    "as", "do",
];

fn main() {
    let models = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../models");
    let out = env::var("OUT_DIR").unwrap();
    println!("cargo::rerun-if-changed=build.rs");
    for (name, variant) in SERVICES {
        let path = models.join(format!("{name}.json"));
        println!("cargo::rerun-if-changed={}", path.display());
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let model: Value = serde_json::from_str(&text).unwrap();
        let writer = Writer::new(&model, variant);
        let module = name.replace('-', "_");
        fs::write(Path::new(&out).join(format!("{module}.rs")), writer.write()).unwrap();
    }
}

struct Writer<'a> {
    variant: &'a str,
    metadata: &'a Map<String, Value>,
    operations: &'a Map<String, Value>,
    shapes: &'a Map<String, Value>,
    protocol: &'a str,
    /// Reached from an input or an output; the rest are errors.
    reached: BTreeSet<&'a str>,
    out: String,
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

impl<'a> Writer<'a> {
    fn new(model: &'a Value, variant: &'a str) -> Writer<'a> {
        let section = |key: &str| model[key].as_object().unwrap();
        let mut writer = Writer {
            variant,
            metadata: section("metadata"),
            operations: section("operations"),
            shapes: section("shapes"),
            protocol: primary_protocol(&model["metadata"]),
            reached: BTreeSet::new(),
            out: String::new(),
        };
        let mut queue: Vec<&str> = Vec::new();
        for operation in writer.operations.values() {
            queue.extend(
                ["input", "output"]
                    .iter()
                    .filter_map(|side| text(&operation[*side], "shape")),
            );
        }
        while let Some(name) = queue.pop() {
            if writer.reached.insert(name) {
                let shape = &writer.shapes[name];
                queue.extend(
                    ["member", "key", "value"]
                        .iter()
                        .filter_map(|side| text(&shape[*side], "shape")),
                );
                queue.extend(
                    writer
                        .members(name)
                        .filter_map(|(_, reference)| text(reference, "shape")),
                );
            }
        }
        writer
    }

    fn members(&self, shape: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        let members = self.shapes[shape].get("members").and_then(Value::as_object);
        members.into_iter().flatten()
    }

    fn kind(&self, shape: &str) -> &'a str {
        text(&self.shapes[shape], "type").unwrap()
    }

    fn is_structure(&self, shape: &str) -> bool {
        self.kind(shape) == "structure" && self.shapes[shape].get("document").is_none()
    }

    fn write(mut self) -> String {
        self.out.push_str("use super::generated::{BTreeMap, Bytes, Document, Mismatch, Shape, Timestamp, Value};\n");
        for name in self.reached.clone() {
            self.refuse_unknown_traits(name);
            if self.is_structure(name) {
                self.structure(name);
            }
        }
        self.missing_shapes();
        self.schemas();
        // In a module of their own: shapes have names such as `Service`.
        self.out.push_str("pub use tables::{ERRORS, OPERATIONS, SERVICE};\nmod tables {\nuse super::super::generated::*;\nuse super::schema;\n");
        self.errors();
        self.operation_tables();
        self.service();
        self.out.push_str("}\n");
        self.operation_types();
        self.out
    }

    /// Traits that no shape has today and no codec handles.
    fn refuse_unknown_traits(&self, name: &str) {
        let shape = &self.shapes[name];
        for key in [
            "flattened",
            "timestampFormat",
            "payload",
            "wrapper",
            "xmlNamespace",
            "locationName",
        ] {
            assert!(
                shape.get(key).is_none(),
                "{name}: the codecs do not know {key} on a shape"
            );
        }
        for (member, reference) in self.members(name) {
            for key in [
                "timestampFormat",
                "xmlAttribute",
                "xmlNamespace",
                "flattened",
                "hostLabel",
            ] {
                assert!(
                    reference.get(key).is_none(),
                    "{name}.{member}: the codecs do not know {key} on a member"
                );
            }
            let location = text(reference, "location");
            assert!(
                location.is_none() || self.protocol == "rest-xml",
                "{name}.{member}: a location outside restXml"
            );
        }
    }

    fn required(&self, shape: &str) -> BTreeSet<&'a str> {
        let list = self.shapes[shape].get("required").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    fn rust_type(&self, shape: &str) -> String {
        let body = &self.shapes[shape];
        let inner = |side: &str| self.rust_type(text(&body[side], "shape").unwrap());
        match self.kind(shape) {
            "structure" if body.get("document").is_some() => "Document".to_owned(),
            "structure" => shape.to_owned(),
            "list" => format!("Vec<{}>", inner("member")),
            "map" => format!("BTreeMap<String, {}>", inner("value")),
            "string" | "character" => "String".to_owned(),
            "integer" => "i32".to_owned(),
            "long" => "i64".to_owned(),
            "double" | "float" => "f64".to_owned(),
            "boolean" => "bool".to_owned(),
            "timestamp" => "Timestamp".to_owned(),
            "blob" => "Bytes".to_owned(),
            other => panic!("{shape}: the codecs do not know the type {other}"),
        }
    }

    /// Whether `to` holds `from` by structure members alone, so that it needs a box.
    fn holds(&self, to: &str, from: &str, seen: &mut BTreeSet<String>) -> bool {
        if to == from {
            return true;
        }
        if !self.is_structure(to) || !seen.insert(to.to_owned()) {
            return false;
        }
        let mut members = self.members(to);
        members.any(|(_, reference)| self.holds(text(reference, "shape").unwrap(), from, seen))
    }

    fn structure(&mut self, name: &str) {
        assert!(
            !PRELUDE.contains(&name),
            "{name} hides a name of the prelude"
        );
        let required = self.required(name);
        let mut fields = String::new();
        let mut takes = String::new();
        let mut gives = String::new();
        for (member, reference) in self.members(name) {
            let target = text(reference, "shape").unwrap();
            assert!(
                !self.holds(target, name, &mut BTreeSet::new()),
                "{name}.{member}: recursive shapes need a box"
            );
            let mut rust = self.rust_type(target);
            if !required.contains(member.as_str()) {
                rust = format!("Option<{rust}>");
            }
            let field = field_name(member);
            writeln!(fields, "    pub {field}: {rust},").unwrap();
            writeln!(takes, "            {field}: f.take(),").unwrap();
            writeln!(gives, "            self.{field}.into_value(),").unwrap();
        }
        self.write_structure(name, &fields, &takes, &gives);
    }

    fn write_structure(&mut self, name: &str, fields: &str, takes: &str, gives: &str) {
        let mutable = if takes.is_empty() { "" } else { "mut " };
        write!(
            self.out,
            "#[derive(Clone, Debug, Default, PartialEq)]
pub struct {name} {{
{fields}}}
impl Shape for {name} {{
    fn from_value(value: Value) -> Result<Self, Mismatch> {{
        let {mutable}f = value.into_fields()?;
        let read = Self {{
{takes}        }};
        f.finish(read)
    }}
    fn into_value(self) -> Value {{
        Value::Structure(vec![
{gives}        ])
    }}
}}
"
        )
        .unwrap();
    }

    fn side(&self, operation: &str, side: &str, suffix: &str) -> String {
        match text(&self.operations[operation][side], "shape") {
            Some(shape) => shape.to_owned(),
            None => format!("{operation}{suffix}"),
        }
    }

    /// Empty structs for the sides of operations that the model leaves out.
    fn missing_shapes(&mut self) {
        let mut names = BTreeSet::new();
        for operation in self.operations.keys() {
            names.insert(self.side(operation, "input", "Request"));
            names.insert(self.side(operation, "output", "Response"));
        }
        for name in names {
            if !self.shapes.contains_key(&name) {
                self.write_structure(&name, "", "", "");
            }
        }
    }

    /// A member's name on the wire in requests and in replies.
    fn wire_names(&self, member: &str, reference: &Value) -> (String, String) {
        let output = text(reference, "locationName").unwrap_or(member).to_owned();
        if self.protocol != "ec2" {
            return (output.clone(), output);
        }
        // The ec2 protocol's rule: queryName, else locationName with a capital, else the name.
        // https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html
        let input = match (
            text(reference, "queryName"),
            text(reference, "locationName"),
        ) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) => name[..1].to_uppercase() + &name[1..],
            (None, None) => member.to_owned(),
        };
        (input, output)
    }

    fn schemas(&mut self) {
        let mut out = String::from(
            "#[allow(non_upper_case_globals)]\npub mod schema {\nuse super::super::generated::*;\n",
        );
        writeln!(out, "pub static EMPTY: Schema = Schema {{ name: \"Empty\", kind: Kind::Structure(&[]), min: None, max: None }};").unwrap();
        for name in &self.reached {
            let shape = &self.shapes[*name];
            let kind = self.schema_kind(name);
            let bound = |key: &str| match shape.get(key) {
                None => "None".to_owned(),
                Some(value) => {
                    let number = value.as_f64().unwrap();
                    // A bound of a fraction is no bound of ours; today's models have whole ones.
                    assert!(number.fract() == 0.0, "{name}: a bound that is no integer");
                    let whole = value.as_i64().unwrap_or(number as i64);
                    format!("Some({whole})")
                }
            };
            writeln!(
                out,
                "pub static {name}: Schema = Schema {{ name: {name:?}, kind: {kind}, min: {}, max: {} }};",
                bound("min"),
                bound("max")
            )
            .unwrap();
        }
        out.push_str("}\n");
        self.out.push_str(&out);
    }

    fn schema_kind(&self, name: &str) -> String {
        let shape = &self.shapes[name];
        let target = |side: &str| text(&shape[side], "shape").unwrap();
        let location = |side: &str| text(&shape[side], "locationName");
        match self.kind(name) {
            "structure" if shape.get("document").is_some() => "Kind::Document".to_owned(),
            "structure" => self.structure_kind(name),
            "list" => {
                let fallback = if self.protocol == "ec2" {
                    "item"
                } else {
                    "member"
                };
                format!(
                    "Kind::List {{ element: &{}, element_name: {:?}}}",
                    target("member"),
                    location("member").unwrap_or(fallback)
                )
            }
            "map" => format!(
                "Kind::Map {{ key: &{}, value: &{}, key_name: {:?}, value_name: {:?}}}",
                target("key"),
                target("value"),
                location("key").unwrap_or("key"),
                location("value").unwrap_or("value"),
            ),
            "string" | "character" => {
                let values = shape
                    .get("enum")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                let pattern = match text(shape, "pattern") {
                    None => "None".to_owned(),
                    Some(source) => format!(
                        "Some({{ static P: Pattern = Pattern {{ source: {source:?}, translated: {:?}, compiled: OnceLock::new() }}; &P }})",
                        translate_pattern(source)
                    ),
                };
                let list = values
                    .iter()
                    .map(Value::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("Kind::String {{ values: &[{list}], pattern: {pattern} }}")
            }
            "integer" => "Kind::Integer".to_owned(),
            "long" => "Kind::Long".to_owned(),
            "double" | "float" => "Kind::Double".to_owned(),
            "boolean" => "Kind::Boolean".to_owned(),
            "timestamp" => "Kind::Timestamp".to_owned(),
            "blob" => "Kind::Blob".to_owned(),
            other => panic!("{name}: the codecs do not know the type {other}"),
        }
    }

    fn structure_kind(&self, name: &str) -> String {
        let required = self.required(name);
        let mut out = String::from("Kind::Structure(&[");
        for (member, reference) in self.members(name) {
            let (input, output) = self.wire_names(member, reference);
            let location = match text(reference, "location") {
                None => "Body",
                Some("uri") => "Uri",
                Some("querystring") => "Query",
                Some("header") => "Header",
                Some(other) => {
                    panic!("{name}.{member}: the codecs do not know the location {other}")
                }
            };
            write!(
                out,
                "\n    Member {{ name: {member:?}, input_name: {input:?}, output_name: {output:?}, location: Location::{location}, required: {}, schema: &{} }},",
                required.contains(member.as_str()),
                text(reference, "shape").unwrap()
            )
            .unwrap();
        }
        out.push_str("])");
        out
    }

    /// Sorted by shape, as the model's map is.
    fn error_shapes(&self) -> Vec<&'a str> {
        let mut names = BTreeSet::new();
        for operation in self.operations.values() {
            let errors = operation.get("errors").and_then(Value::as_array);
            names.extend(
                errors
                    .into_iter()
                    .flatten()
                    .filter_map(|error| text(error, "shape")),
            );
        }
        names.into_iter().collect()
    }

    fn errors(&mut self) {
        let names = self.error_shapes();
        let mut out = format!("pub static ERRORS: [ErrorSchema; {}] = [\n", names.len());
        for name in names {
            let shape = &self.shapes[name];
            // The query protocols and restXml give code and status; JSON sends the shape's name
            // and 400, or 500 where the fault is the server's.
            let code = text(&shape["error"], "code").unwrap_or(name);
            let fault = shape.get("fault").and_then(Value::as_bool).unwrap_or(false);
            let fallback = if fault { 500 } else { 400 };
            let status = shape["error"]
                .get("httpStatusCode")
                .and_then(Value::as_u64)
                .unwrap_or(fallback);
            writeln!(
                out,
                "    ErrorSchema {{ shape: {name:?}, code: {code:?}, status: {status} }},"
            )
            .unwrap();
        }
        out.push_str("];\n");
        self.out.push_str(&out);
    }

    fn operation_tables(&mut self) {
        let errors: BTreeMap<&str, usize> = self
            .error_shapes()
            .into_iter()
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        let mut out = format!(
            "pub static OPERATIONS: [Operation; {}] = [\n",
            self.operations.len()
        );
        for (name, operation) in self.operations {
            let input = text(&operation["input"], "shape").unwrap_or("EMPTY");
            let output = match text(&operation["output"], "shape") {
                None => "None".to_owned(),
                Some(shape) => format!("Some(&schema::{shape})"),
            };
            let list = operation.get("errors").and_then(Value::as_array);
            let thrown = list
                .into_iter()
                .flatten()
                .filter_map(|error| text(error, "shape"))
                .map(|shape| format!("&ERRORS[{}]", errors[shape]))
                .collect::<Vec<_>>()
                .join(", ");
            let root = text(&operation["input"], "locationName");
            assert!(
                root.is_none_or(|root| root == input),
                "{name}: the codecs take the input's name for its root element"
            );
            let http = &operation["http"];
            writeln!(
                out,
                "    Operation {{ service: Service::{}, name: {name:?}, method: {:?}, uri: {:?}, status: {}, input: &schema::{input}, output: {output}, result_wrapper: {:?}, errors: &[{thrown}] }},",
                self.variant,
                text(http, "method").unwrap(),
                text(http, "requestUri").unwrap(),
                http.get("responseCode").and_then(Value::as_u64).unwrap_or(200),
                text(&operation["output"], "resultWrapper"),
            )
            .unwrap();
        }
        out.push_str("];\n");
        self.out.push_str(&out);
    }

    /// `operations::<Op>`, and for the tests a way through each operation's structs and back.
    fn operation_types(&mut self) {
        let mut types = String::from(
            "/// One type an operation, for typed dispatch.\npub mod operations {\nuse crate::schema as model;\n",
        );
        let mut trips = String::from(
            "#[cfg(test)]\npub(crate) static ROUND_TRIPS: &[(&str, super::generated::RoundTrip, super::generated::RoundTrip)] = &[\n",
        );
        for (index, name) in self.operations.keys().enumerate() {
            let input = self.side(name, "input", "Request");
            let output = self.side(name, "output", "Response");
            write!(
                types,
                "#[derive(Clone, Copy, Debug)]
pub struct {name};
impl model::TypedOperation for {name} {{
    type Input = super::{input};
    type Output = super::{output};
    fn operation() -> &'static model::Operation {{
        &super::OPERATIONS[{index}]
    }}
}}
"
            )
            .unwrap();
            writeln!(trips, "    ({name:?}, super::generated::round_trip::<{input}>, super::generated::round_trip::<{output}>),").unwrap();
        }
        types.push_str("}\n");
        trips.push_str("];\n");
        self.out.push_str(&types);
        self.out.push_str(&trips);
    }

    fn service(&mut self) {
        let of = |key: &str| self.metadata.get(key).and_then(Value::as_str);
        let protocol = codec(self.protocol);
        let others = self.metadata.get("protocols").and_then(Value::as_array);
        let others: Vec<String> = others
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| *name != self.protocol)
            .map(|name| format!("Protocol::{}", codec(name)))
            .collect();
        let others = others.join(", ");
        let namespace = match self.protocol {
            // AWS's replies have the slash, the model doesn't.
            "ec2" => format!("{}/", of("xmlNamespace").unwrap().trim_end_matches('/')),
            // The namespace stands at the operations' inputs; it is the service's.
            "rest-xml" => self
                .operations
                .values()
                .find_map(|operation| text(&operation["input"]["xmlNamespace"], "uri"))
                .unwrap()
                .to_owned(),
            _ => of("xmlNamespace").unwrap_or("").to_owned(),
        };
        let prefix = of("endpointPrefix").unwrap();
        write!(
            self.out,
            "pub static SERVICE: ServiceSchema = ServiceSchema {{
    service: Service::{},
    protocol: Protocol::{protocol},
    other_protocols: &[{others}],
    signing_name: {:?},
    endpoint_prefix: {prefix:?},
    api_version: {:?},
    target_prefix: {:?},
    json_version: {:?},
    xml_namespace: {namespace:?},
    operations: &OPERATIONS,
    errors: &ERRORS,
}};
",
            self.variant,
            of("signingName").unwrap_or(prefix),
            of("apiVersion").unwrap(),
            of("targetPrefix").unwrap_or(""),
            of("jsonVersion").unwrap_or(""),
        )
        .unwrap();
    }
}

/// The one that refusals are written in before a request shows how it speaks. Of a service that speaks several,
/// awsQuery: its clients are the oldest, and the others mark their requests.
fn primary_protocol(metadata: &Value) -> &str {
    let several = metadata.get("protocols").and_then(Value::as_array);
    if several.is_some_and(|list| list.iter().any(|name| name == "query")) {
        return "query";
    }
    text(metadata, "protocol").unwrap()
}

fn codec(protocol: &str) -> &'static str {
    match protocol {
        "ec2" => "Ec2Query",
        "query" => "AwsQuery",
        "rest-xml" => "RestXml",
        "json" => "AwsJson",
        "smithy-rpc-v2-cbor" => "RpcV2Cbor",
        other => panic!("no codec for the protocol {other}"),
    }
}

fn field_name(member: &str) -> String {
    let snake = snake_case(member);
    if KEYWORDS.contains(&snake.as_str()) {
        format!("r#{snake}")
    } else {
        snake
    }
}

/// `VpcId` -> `vpc_id`, `IPAddress` -> `ip_address`, `VPCs` -> `vpcs`, `S3Bucket` -> `s3_bucket`.
fn snake_case(name: &str) -> String {
    let mut name = name.to_owned();
    for (odd, word) in [
        ("IPv4", "Ipv4"),
        ("IPv6", "Ipv6"),
        ("GiB", "Gib"),
        ("MiB", "Mib"),
        ("VCpu", "Vcpu"),
    ] {
        name = name.replace(odd, word);
    }
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(index + 1).copied();
        // A plural's s belongs to the capitals in front of it: VPCs, ARNs.
        let plural = after == Some('s') && chars.get(index + 2).is_none_or(|c| c.is_uppercase());
        let word_starts = c.is_uppercase()
            && before.is_some_and(|b| {
                b != '_'
                    && (!b.is_uppercase() || (after.is_some_and(char::is_lowercase) && !plural))
            });
        if word_starts && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// A model's pattern is Java's and has to match the whole: `\u` and four digits get Rust's braces, and
/// `\w`, `\d`, `\s`, `\S` their ASCII forms, as Java has them.
fn translate_pattern(source: &str) -> String {
    let mut out = String::from(r"\A(?:");
    // The regex crate has no look-ahead; ACM's domain labels use it to say "starts with no hyphen".
    let source = source
        .replace(
            "(?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9]",
            "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
        )
        .replace(
            "(?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9]",
            "[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]",
        )
        // And Application Auto Scaling's names, to say "no space at either end, none of these within".
        .replace(
            r"(?!((^[ ]+.*)|(.*([\u0000-\u001f]|[\u007f-\u009f]|[:/|])+.*)|(.*[ ]+$))).+",
            r"[^\x00-\x1f\x7f-\x9f:/| ](?:[^\x00-\x1f\x7f-\x9f:/|]*[^\x00-\x1f\x7f-\x9f:/| ])?",
        )
        // And Cloud Map's identifiers, to say "no ARN".
        .replace("(?!arn:)[!-~]{1,1024}", &no_arn(1024))
        .replace("(?!arn:)[!-~]{1,253}", &no_arn(253))
        // And its names of services, to bound their length: its model has to, `servicediscovery` in control.
        .replace("(?=^.{1,127}$)", "")
        // And IAM's aliases of accounts, to say "no two hyphens in a row"; their length is bounded beside.
        .replace(
            "^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$",
            "[a-z0-9]+(?:-[a-z0-9]+)*",
        )
        .replace(r"\p{Print}", r"[\x20-\x7E]")
        .replace(r"\p{ASCII}", r"[\x00-\x7F]")
        // Java's regular expressions read a range of surrogate pairs as one of code points.
        .replace(r"\uD800\uDC00-\uDBFF\uDFFF", "\u{10000}-\u{10FFFF}");
    let mut in_class = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                let class = |inner: &str| {
                    if in_class {
                        inner.to_owned()
                    } else {
                        format!("[{inner}]")
                    }
                };
                match escaped {
                    'u' => {
                        let hex: String = chars.by_ref().take(4).collect();
                        match u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32) {
                            Some(_) => write!(out, "\\u{{{hex}}}").unwrap(),
                            None => panic!("{source}: \\u{hex} is no character"),
                        }
                    }
                    'w' => out.push_str(&class("A-Za-z0-9_")),
                    'd' => out.push_str(&class("0-9")),
                    's' => out.push_str(&class(r"\t\n\x0B\f\r ")),
                    'S' if !in_class => out.push_str(r"[^\t\n\x0B\f\r ]"),
                    '/' | '_' | '@' | '#' | '"' | '\'' | ' ' | ',' | ':' | '=' | '%' => {
                        out.push(escaped)
                    }
                    other => {
                        out.push('\\');
                        out.push(other);
                    }
                }
            }
            '[' if in_class => out.push_str(r"\["),
            '[' => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            // Two of them in a class are set operators of the regex crate; alone they mean themselves.
            '-' if in_class && class_dash_is_literal(&out, chars.peek().copied()) => {
                out.push_str(r"\-")
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out.push_str(r")\z");
    out
}

/// Up to `most` visible characters that do not begin with `arn:`.
fn no_arn(most: usize) -> String {
    let [one, two, three, four] = [most - 1, most - 2, most - 3, most - 4];
    format!(
        "(?:[!-`b-~][!-~]{{0,{one}}}|a(?:[!-qs-~][!-~]{{0,{two}}})?|ar(?:[!-mo-~][!-~]{{0,{three}}})?|arn(?:[!-9;-~][!-~]{{0,{four}}})?)"
    )
}

/// A dash at the start or end of a class, or just after a range, is no range.
fn class_dash_is_literal(out: &str, next: Option<char>) -> bool {
    let class = out.rsplit_once('[').map_or("", |(_, class)| class);
    let mut tail = class.chars().rev();
    let after_range =
        tail.next().is_some() && tail.next() == Some('-') && tail.next().is_some_and(|c| c != '\\');
    class.is_empty() || class == "^" || next == Some(']') || after_range
}
