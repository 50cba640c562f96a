//! An image's configuration: what to run unless the task definition says otherwise (OCI image-spec "Image Configuration").

use std::collections::BTreeMap;

use fogbank_store::blob::Digest;
use serde::{Deserialize, Deserializer, Serialize};

/// A configuration may not be larger than this.
pub const CONFIG_LIMIT_BYTES: u64 = 8 << 20;

/// The parts of an image's configuration that running it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Process,
    pub rootfs: RootFs,
}

/// Defaults of the process. Docker writes `null` for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "null_is_default")]
    pub stop_signal: String,
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
}

/// The layers' content, base first: digests of the *uncompressed* archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    pub diff_ids: Vec<Digest>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Option::deserialize(d).map(Option::unwrap_or_default)
}

impl ImageConfig {
    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The command line under a task definition's `entryPoint` and `command`. As in Docker, an entry point given there
    /// also drops the image's command.
    pub fn command_line(
        &self,
        entry_point: Option<&[String]>,
        command: Option<&[String]>,
    ) -> Vec<String> {
        let entry_point = entry_point.filter(|given| !given.is_empty());
        let command = command.filter(|given| !given.is_empty());
        let (head, rest) = match (entry_point, command) {
            (Some(entry_point), command) => (entry_point, command.unwrap_or(&[])),
            (None, Some(command)) => (self.config.entrypoint.as_slice(), command),
            (None, None) => (
                self.config.entrypoint.as_slice(),
                self.config.cmd.as_slice(),
            ),
        };
        head.iter().chain(rest).cloned().collect()
    }

    /// The image's environment with the task definition's laid over it: the last setting of a name wins.
    pub fn environment(&self, given: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let image = self
            .config
            .env
            .iter()
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => (pair.clone(), String::new()),
            });
        for (name, value) in image.chain(given) {
            if values.insert(name.clone(), value).is_none() {
                names.push(name);
            }
        }
        names
            .iter()
            .map(|name| format!("{name}={}", values[name]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ImageConfig {
        ImageConfig::parse(
            br#"{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin","A=image"],"Cmd":["c"],"Entrypoint":["e"],
            "User":"nobody","StopSignal":"SIGINT","Volumes":null,"ExposedPorts":{"80/tcp":{}}},
            "rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#,
        )
        .unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_follows_docker() {
        let config = config();
        assert_eq!(config.command_line(None, None), words("e c"));
        assert_eq!(config.command_line(None, Some(&words("x"))), words("e x"));
        assert_eq!(config.command_line(Some(&words("y")), None), words("y"));
        assert_eq!(
            config.command_line(Some(&words("y")), Some(&words("x"))),
            words("y x")
        );
        assert_eq!(config.command_line(Some(&[]), Some(&[])), words("e c"));
    }

    #[test]
    fn the_task_definitions_environment_wins() {
        let given = [
            ("A".to_owned(), "task".to_owned()),
            ("B".to_owned(), "1".to_owned()),
        ];
        assert_eq!(config().environment(given), ["PATH=/bin", "A=task", "B=1"]);
    }

    #[test]
    fn missing_and_null_members_are_empty() {
        let bare =
            ImageConfig::parse(br#"{"config":null,"rootfs":{"type":"layers","diff_ids":[]}}"#)
                .unwrap();
        assert_eq!(bare.config, Process::default());
        assert!(ImageConfig::parse(b"{}").is_err());
    }
}
