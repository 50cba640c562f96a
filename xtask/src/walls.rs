//! The walls between the rooms: who may import what. See docs/architecture.md.
//!
//! Two kinds. Between crates, by their manifests. Inside `control` and `net`, by words that a module's text must not
//! hold: the pure parts know no clock, no randomness, no I/O, and `reference` and `compile` never see each other.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A crate and the rooms that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("wire", &["types"]),
    ("store", &["types"]),
    ("pki", &[]),
    ("control", &["types", "wire", "store", "pki"]),
    ("net", &["types"]),
    ("edge", &["types", "store", "pki"]),
    ("node", &["types", "store", "pki", "net", "edge"]),
    (
        "fogbank",
        &[
            "types", "wire", "store", "pki", "control", "net", "edge", "node",
        ],
    ),
];

/// Crates of others that a room must not use, since they would bring in what it must not know.
const FOREIGN: &[(&str, &[&str])] = &[
    ("types", &["tokio", "hyper", "rustix", "libc"]),
    ("wire", &["tokio", "hyper", "redb"]),
];

/// A part of the tree and the words that it must not hold.
const WORDS: &[(&str, &[&str])] = &[
    (
        "crates/types/src",
        &[
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "SystemTime",
            "std::time::Instant",
            "std::thread",
        ],
    ),
    (
        "crates/control/src/model",
        &[
            "fogbank_wire",
            "fogbank_store",
            "tokio::",
            "SystemTime",
            "std::time::Instant",
            "async fn",
            "crate::api",
            "crate::engine",
            "std::fs",
        ],
    ),
    (
        "crates/control/src/schedule",
        &[
            "fogbank_wire",
            "fogbank_store",
            "tokio::",
            "SystemTime",
            "std::time::Instant",
            "async fn",
            "crate::api",
            "crate::engine",
            "std::fs",
        ],
    ),
    (
        "crates/control/src/reconcile",
        &["fogbank_wire", "SystemTime", "std::fs"],
    ),
    (
        "crates/control/src/api/ec2",
        &[
            "api::elbv2",
            "api::ecs",
            "api::ecr",
            "api::route53",
            "api::iam",
            "api::logs",
            "api::sts",
        ],
    ),
    (
        "crates/control/src/api/elbv2",
        &[
            "api::ec2",
            "api::ecs",
            "api::ecr",
            "api::route53",
            "api::iam",
            "api::logs",
            "api::sts",
        ],
    ),
    (
        "crates/control/src/api/ecs",
        &[
            "api::ec2",
            "api::elbv2",
            "api::ecr",
            "api::route53",
            "api::iam",
            "api::logs",
            "api::sts",
        ],
    ),
    (
        "crates/control/src/api/route53",
        &[
            "api::ec2",
            "api::elbv2",
            "api::ecs",
            "api::ecr",
            "api::iam",
            "api::logs",
            "api::sts",
        ],
    ),
    (
        "crates/net/src/compile",
        &[
            "std::fs",
            "SystemTime",
            "std::time::Instant",
            "crate::reference",
            "crate::apply",
        ],
    ),
    (
        "crates/net/src/reference.rs",
        &[
            "std::fs",
            "SystemTime",
            "std::time::Instant",
            "crate::compile",
            "crate::apply",
        ],
    ),
];

/// Every wall that is crossed, in words; also walls around something that is no longer there.
pub fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, allowed) in CRATES {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path)
            .with_context(|| format!("a wall stands around {}, which is gone", path.display()))?;
        found.extend(crossed_by_manifest(name, &manifest, allowed));
    }
    for (place, words) in WORDS {
        let path = root.join(place);
        anyhow::ensure!(path.exists(), "a wall stands around {place}, which is gone");
        for (file, text) in sources(&path)? {
            found.extend(crossed_by_words(&file.display().to_string(), &text, words));
        }
    }
    Ok(found)
}

fn crossed_by_manifest(name: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or("");
    let dependencies = dependencies.split("\n[").next().unwrap_or("");
    let foreign = FOREIGN
        .iter()
        .find(|(room, _)| *room == name)
        .map_or(&[][..], |(_, words)| words);
    dependencies
        .lines()
        .filter_map(|line| {
            let dependency = line.split(['.', ' ', '=']).next()?.trim();
            let crossed = match dependency.strip_prefix("fogbank-") {
                Some(room) => !allowed.contains(&room),
                None => foreign.contains(&dependency),
            };
            crossed.then(|| format!("crates/{name} must not depend on {dependency}"))
        })
        .collect()
}

fn crossed_by_words(file: &str, text: &str, words: &[&str]) -> Vec<String> {
    // Tests may do what they need; comments may say what they like.
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = code
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|(number, line)| {
            let hit = words.iter().filter(move |word| line.contains(**word));
            hit.map(move |word| format!("{file}:{} must not know '{word}'", number + 1))
        })
        .collect()
}

/// All Rust files below a folder (or the file itself), with their text; nothing that was generated or built.
pub fn sources(path: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if name == "target" || name == ".git" {
                continue;
            }
            for entry in std::fs::read_dir(&path).with_context(|| path.display().to_string())? {
                todo.push(entry?.path());
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            found.push((path, text));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wall_is_crossed() {
        assert_eq!(
            violations(&crate::shell::root()).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_dependency_through_a_wall_is_seen() {
        let manifest = "[package]\nname = \"fogbank-net\"\n\n[dependencies]\nfogbank-types.workspace = true\nfogbank-control = { path = \"../control\" }\n\n[dev-dependencies]\nfogbank-node.workspace = true\n";
        assert_eq!(
            crossed_by_manifest("net", manifest, &["types"]),
            ["crates/net must not depend on fogbank-control"]
        );
    }

    #[test]
    fn a_foreign_crate_through_a_wall_is_seen() {
        assert_eq!(
            crossed_by_manifest("types", "[dependencies]\ntokio.workspace = true\n", &[]).len(),
            1
        );
    }

    #[test]
    fn a_forbidden_word_is_seen_but_not_in_comments_or_tests() {
        let text = "use a;\n// SystemTime\nlet now = SystemTime::now();\n#[cfg(test)]\nmod tests { SystemTime }\n";
        assert_eq!(
            crossed_by_words("x.rs", text, &["SystemTime"]),
            ["x.rs:3 must not know 'SystemTime'"]
        );
    }
}
