//! `cargo xtask models`: trims botocore's service models to what fogbank serves.
//!
//! Reads `models/operations.txt` and the botocore package that `python3` can import; writes
//! `models/<service>.json` (the operations served and the shapes they reach: names, locations,
//! constraints, error codes; no documentation text) and `models/VERSION`. `crates/wire/build.rs`
//! turns those files into Rust. Running it twice gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// What a shape keeps. `exception` and `fault` tell errors from structures; the rest is wire form or constraint.
const SHAPE_KEYS: &[&str] = &[
    "box",
    "document",
    "enum",
    "error",
    "exception",
    "fault",
    "flattened",
    "key",
    "locationName",
    "max",
    "member",
    "members",
    "min",
    "pattern",
    "payload",
    "required",
    "timestampFormat",
    "type",
    "value",
    "wrapper",
    "xmlNamespace",
];

/// What a reference to a shape (a member, a list's element, an operation's input) keeps.
const REFERENCE_KEYS: &[&str] = &[
    "flattened",
    "hostLabel",
    "location",
    "locationName",
    "queryName",
    "resultWrapper",
    "shape",
    "timestampFormat",
    "xmlAttribute",
    "xmlNamespace",
];

const OPERATION_KEYS: &[&str] = &["endpoint", "errors", "http", "input", "name", "output"];

const METADATA_KEYS: &[&str] = &[
    "apiVersion",
    "endpointPrefix",
    "jsonVersion",
    "protocol",
    "serviceId",
    "signingName",
    "targetPrefix",
    "xmlNamespace",
];

/// Rewrites `models/` of the workspace that holds this crate.
pub fn run() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask stands in the workspace")?
        .join("models");
    let (data, version) = botocore()?;
    let wanted = operations(&folder.join("operations.txt"))?;
    for (service, names) in &wanted {
        let model = read_model(&data.join(service))
            .with_context(|| format!("reading botocore's model of {service}"))?;
        let trimmed = trim(&model, names).with_context(|| format!("trimming {service}"))?;
        let path = folder.join(format!("{service}.json"));
        let text = render(&trimmed)?;
        println!(
            "{}: {} operations, {} bytes",
            path.display(),
            names.len(),
            text.len()
        );
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    fs::write(folder.join("VERSION"), format!("botocore {version}\n"))
        .context("writing models/VERSION")
}

/// The data folder and version of the botocore that `python3` imports.
fn botocore() -> Result<(PathBuf, String)> {
    let script = "import botocore; print(botocore.__path__[0]); print(botocore.__version__)";
    let output = Command::new("python3")
        .args(["-c", script])
        .output()
        .context("running python3 to find botocore")?;
    ensure!(
        output.status.success(),
        "python3 cannot import botocore; `pip install botocore`"
    );
    let text = String::from_utf8(output.stdout).context("python3's answer")?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(path), Some(version)) => Ok((Path::new(path).join("data"), version.to_owned())),
        _ => bail!("python3 said nothing about botocore"),
    }
}

/// `<service>: Op Op Op` lines; a service may have several. `#` starts a comment line.
fn operations(path: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (service, names) = line
            .split_once(':')
            .with_context(|| format!("no `service:` in {line:?}"))?;
        let set = wanted.entry(service.trim().to_owned()).or_default();
        for name in names.split_whitespace() {
            ensure!(
                set.insert(name.to_owned()),
                "{service}: {name} stands there twice"
            );
        }
    }
    Ok(wanted)
}

/// The newest API version of a service, plain or gzipped.
fn read_model(folder: &Path) -> Result<Value> {
    let mut versions: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    versions.sort();
    let newest = versions.pop().context("no API version")?;
    let plain = newest.join("service-2.json");
    if plain.exists() {
        return Ok(serde_json::from_slice(&fs::read(plain)?)?);
    }
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(newest.join("service-2.json.gz"))?)
        .read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn trim(model: &Value, names: &BTreeSet<String>) -> Result<Value> {
    let all = model["operations"].as_object().context("operations")?;
    let mut operations = Map::new();
    let mut queue: Vec<String> = Vec::new();
    for name in names {
        let operation = all
            .get(name)
            .with_context(|| format!("no operation {name} in the model"))?;
        let mut kept = keep(operation, OPERATION_KEYS);
        for side in ["input", "output"] {
            if let Some(reference) = kept.get_mut(side) {
                *reference = Value::Object(keep(reference, REFERENCE_KEYS));
                queue.extend(target(reference));
            }
        }
        if let Some(errors) = kept.get_mut("errors").and_then(Value::as_array_mut) {
            for error in errors {
                *error = Value::Object(keep(error, REFERENCE_KEYS));
                queue.extend(target(error));
            }
        }
        operations.insert(name.clone(), Value::Object(kept));
    }
    let mut shapes = Map::new();
    while let Some(name) = queue.pop() {
        if shapes.contains_key(&name) {
            continue;
        }
        let shape = trim_shape(&model["shapes"][&name], &mut queue);
        ensure!(shape.contains_key("type"), "shape {name} has no type");
        shapes.insert(name, Value::Object(shape));
    }
    let mut metadata = keep(&model["metadata"], METADATA_KEYS);
    // A service that speaks several is asked in each of them.
    let protocols = &model["metadata"]["protocols"];
    if protocols.as_array().is_some_and(|list| list.len() > 1) {
        metadata.insert("protocols".to_owned(), protocols.clone());
    }
    Ok(serde_json::json!({ "metadata": metadata, "operations": operations, "shapes": shapes }))
}

/// The shape without its texts; the shapes it names join `queue`.
fn trim_shape(shape: &Value, queue: &mut Vec<String>) -> Map<String, Value> {
    let mut kept = keep(shape, SHAPE_KEYS);
    for side in ["key", "value", "member"] {
        if let Some(reference) = kept.get_mut(side) {
            *reference = Value::Object(keep(reference, REFERENCE_KEYS));
            queue.extend(target(reference));
        }
    }
    if let Some(members) = kept.get_mut("members").and_then(Value::as_object_mut) {
        for reference in members.values_mut() {
            *reference = Value::Object(keep(reference, REFERENCE_KEYS));
            queue.extend(target(reference));
        }
    }
    kept
}

fn keep(value: &Value, keys: &[&str]) -> Map<String, Value> {
    let mut kept = Map::new();
    for key in keys {
        if let Some(found) = value.get(key) {
            kept.insert((*key).to_owned(), found.clone());
        }
    }
    kept
}

fn target(reference: &Value) -> Option<String> {
    reference
        .get("shape")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// One operation or shape a line, so that a new botocore gives a readable diff.
fn render(model: &Value) -> Result<String> {
    let mut text = format!(
        "{{\n\"metadata\": {},\n",
        serde_json::to_string(&model["metadata"])?
    );
    for (section, end) in [("operations", ",\n"), ("shapes", "\n")] {
        let entries = model[section]
            .as_object()
            .context("a section is an object")?;
        let mut lines = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            lines.push(format!(
                "{}: {}",
                serde_json::to_string(name)?,
                serde_json::to_string(entry)?
            ));
        }
        text.push_str(&format!(
            "\"{section}\": {{\n{}\n}}{end}",
            lines.join(",\n")
        ));
    }
    text.push_str("}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn trimming_keeps_only_what_is_reached_and_no_texts() {
        let model = json!({
            "metadata": {"protocol": "ec2", "uid": "x"},
            "operations": {
                "A": {"name": "A", "documentation": "text", "input": {"shape": "In", "documentation": "text"}},
                "B": {"name": "B", "input": {"shape": "Other"}}
            },
            "shapes": {
                "In": {"type": "structure", "required": ["Id"], "documentation": "text",
                       "members": {"Id": {"shape": "Id", "locationName": "id", "documentation": "text"}}},
                "Id": {"type": "string", "max": 3},
                "Other": {"type": "structure", "members": {}}
            }
        });
        let trimmed = trim(&model, &BTreeSet::from(["A".to_owned()])).unwrap();
        assert_eq!(
            trimmed,
            json!({
                "metadata": {"protocol": "ec2"},
                "operations": {"A": {"name": "A", "input": {"shape": "In"}}},
                "shapes": {
                    "In": {"type": "structure", "required": ["Id"],
                           "members": {"Id": {"shape": "Id", "locationName": "id"}}},
                    "Id": {"type": "string", "max": 3}
                }
            })
        );
    }

    #[test]
    fn an_operation_the_model_does_not_have_is_refused() {
        let model = json!({"operations": {}, "shapes": {}, "metadata": {}});
        assert!(trim(&model, &BTreeSet::from(["A".to_owned()])).is_err());
    }
}
