//! `fogbank root-key`: a root access key of the region's account, or of another. Whoever is root of the host can make one at any time, so
//! nobody is locked out for good.

use super::{RegionArguments, http, region};
use anyhow::{Context, Result};
use clap::Args;
use fogbank_types::{RegionConfig, Scope};
use fogbank_wire::xml::{self, Element};

pub const HELP: &str = "\
With authentication enforced a region makes its first root key when it starts, and shows it then. An account has two at
most: --replace deletes those that there are.
Examples:
  sudo fogbank root-key
  sudo fogbank root-key --account 111122223333
  eval \"$(sudo fogbank root-key --replace)\"";

#[derive(Args)]
pub struct RootKeyArguments {
    #[command(flatten)]
    region: RegionArguments,
    /// The account, in twelve digits [default: the region's own]
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    account: Option<String>,
    /// Delete the root keys that the account has
    #[arg(long)]
    replace: bool,
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_account
        .then(|| text.to_owned())
        .ok_or_else(|| "an account has twelve digits".to_owned())
}

/// An access key that was just made.
pub struct RootKey {
    id: String,
    secret: String,
}

impl std::fmt::Display for RootKey {
    /// For a shell, secret and all.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "export AWS_ACCESS_KEY_ID={}", self.id)?;
        write!(f, "export AWS_SECRET_ACCESS_KEY={}", self.secret)
    }
}

pub fn run(arguments: &RootKeyArguments) -> Result<()> {
    let mut config = region::config(&arguments.region)?;
    if let Some(account) = &arguments.account {
        config.account = account.clone();
    }
    if arguments.replace {
        let snapshot = region::snapshot(&config)?;
        let scope = Scope::new(&config.account, "global");
        let keys = snapshot.access_keys.in_scope(&scope);
        for key in keys.filter(|key| key.user.is_none()) {
            let form = format!(
                "Action=DeleteAccessKey&Version=2010-05-08&AccessKeyId={}",
                key.id
            );
            call(&config, &form)?;
        }
    }
    super::show(&format!("{}\n", make(&config)?))
}

/// Makes one.
pub fn make(config: &RegionConfig) -> Result<RootKey> {
    let said = call(config, "Action=CreateAccessKey&Version=2010-05-08")?;
    let text = |name| find(&said, name).with_context(|| format!("the answer has no {name}"));
    Ok(RootKey {
        id: text("AccessKeyId")?,
        secret: text("SecretAccessKey")?,
    })
}

/// As the account's root.
fn call(config: &RegionConfig, form: &str) -> Result<Element> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none",
        config.account
    );
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", authorization.as_str()),
    ];
    let answer = http::call(config, "POST", "/", &headers, form.as_bytes())?;
    let answer = answer.success("a root access key")?;
    xml::parse(&answer.body).context("the region's answer is not XML")
}

fn find(element: &Element, name: &str) -> Option<String> {
    if element.name == name {
        return Some(element.text.clone());
    }
    element.children.iter().find_map(|child| find(child, name))
}
