//! Templates of the table of actions: from fields of a request to ARNs. See the head of `actions.txt`.

use super::input::Input;
use crate::model::ecs::task_definitions;
use crate::model::kms::keys::{self, Named};
use crate::model::secretsmanager::secrets;
use crate::model::ssm::names;
use crate::model::vpc::tags;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_pki::ciphertext::Head;
use fogbank_types::place::partition;
use fogbank_types::{Scope, Snapshot};
use std::collections::BTreeSet;

/// Where the ARNs of a service's resources are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Regional,
    /// Without a region.
    Global,
    /// Without an account, too.
    Nowhere,
}

/// What a template is filled from.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub snapshot: &'a Snapshot,
    /// The caller's account and the region called.
    pub scope: &'a Scope,
    pub input: Input<'a>,
    /// The caller, if it is a user.
    pub user: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field {
        /// The first that the request has counts.
        paths: Vec<String>,
        missing: Missing,
        kind: Option<Kind>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Missing {
    Star,
    Text(String),
    Drop,
}

/// How a value is looked up or rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    User,
    Group,
    InstanceProfile,
    /// `family:revision` of a task definition that is named by its family.
    Revision,
    /// The roles of a task definition.
    Roles,
    /// Without a leading slash and a selector.
    Parameter,
    /// The secret's ARN.
    Secret,
    /// The name, from an ARN too.
    LogGroup,
    /// Behind the last slash.
    Tail,
    /// In lower case, without the last dot.
    RecordName,
    /// An EC2 id's ARN.
    Tagged,
    VpcOfCidr,
    SubnetOfCidr,
    RouteTableOf,
    AddressOf,
    InterfaceOf,
    UserOfKey,
    ScalableTarget,
    /// The key's ARN, from whatever a request calls it, or from what was encrypted with it.
    KmsKey,
    /// Without `alias/`.
    Alias,
    /// The account's own keys that encrypt it; none for AWS's, which everybody may use through the service.
    KeyOfSecret,
    KeyOfParameter,
    KeysUnderPath,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "role" => Self::Role,
            "user" => Self::User,
            "group" => Self::Group,
            "instance-profile" => Self::InstanceProfile,
            "revision" => Self::Revision,
            "roles" => Self::Roles,
            "parameter" => Self::Parameter,
            "secret" => Self::Secret,
            "log-group" => Self::LogGroup,
            "tail" => Self::Tail,
            "record-name" => Self::RecordName,
            "tagged" => Self::Tagged,
            "vpc-of-cidr" => Self::VpcOfCidr,
            "subnet-of-cidr" => Self::SubnetOfCidr,
            "route-table-of" => Self::RouteTableOf,
            "address-of" => Self::AddressOf,
            "interface-of" => Self::InterfaceOf,
            "user-of-key" => Self::UserOfKey,
            "scalable-target" => Self::ScalableTarget,
            "kms-key" => Self::KmsKey,
            "alias" => Self::Alias,
            "key-of-secret" => Self::KeyOfSecret,
            "key-of-parameter" => Self::KeyOfParameter,
            "keys-under-path" => Self::KeysUnderPath,
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    prefix: String,
    location: Location,
}

impl Template {
    /// `None`: it is not well formed.
    pub fn parse(text: &str, prefix: &str, location: Location) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (inner, behind) = after.split_once('}')?;
            pieces.push(field(inner)?);
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Some(Self {
            pieces,
            prefix: prefix.to_owned(),
            location,
        })
    }

    /// The paths of its fields, for checks against the model.
    #[cfg(test)]
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Text(_) => Vec::new(),
            Piece::Field { paths, .. } => paths.iter().map(String::as_str).collect(),
        })
    }

    /// The ARNs that it stands for: one for each value of a list.
    pub fn fill(&self, asked: &Asked) -> Vec<String> {
        if let [Piece::Text(text)] = self.pieces.as_slice()
            && text == "*"
        {
            return vec![text.clone()];
        }
        let is_single = matches!(self.pieces.as_slice(), [Piece::Field { .. }]);
        let mut filled: Vec<Result<String, String>> = vec![Ok(String::new())];
        for (place, piece) in self.pieces.iter().enumerate() {
            let is_last = place + 1 == self.pieces.len();
            let values = match piece {
                Piece::Text(text) => vec![text.clone()],
                Piece::Field { .. } => match piece.values(asked) {
                    Some(values) => values,
                    None => return Vec::new(),
                },
            };
            filled = filled
                .iter()
                .flat_map(|start| {
                    values
                        .iter()
                        .flat_map(move |value| joined(start, value, is_last))
                })
                .collect();
        }
        let mut whole = Vec::with_capacity(filled.len());
        for one in filled {
            let arn = match one {
                // An ARN of its own.
                Err(arn) => arn,
                Ok(text) if is_single || text.starts_with("arn:") => text,
                Ok(text) => self.arn(&text, asked),
            };
            let meant = self.meant(&arn, asked);
            for arn in [Some(arn), meant].into_iter().flatten() {
                if !whole.contains(&arn) {
                    whole.push(arn);
                }
            }
        }
        whole
    }

    /// What an ARN of another region, or of another account where none can be meant, is taken for: handlers look it up
    /// where they were called.
    fn meant(&self, arn: &str, asked: &Asked) -> Option<String> {
        const ACROSS_ACCOUNTS: [&str; 3] = ["secretsmanager", "ecr", "kms"];
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, tail] = parts.as_slice() else {
            return None;
        };
        if self.location != Location::Regional || *service != self.prefix || region.is_empty() {
            return None;
        }
        let own = &asked.scope.account;
        let account = if ACROSS_ACCOUNTS.contains(service) {
            account
        } else {
            own.as_str()
        };
        let region = &asked.scope.region;
        let meant = format!("arn:{partition}:{service}:{region}:{account}:{tail}");
        (meant != arn).then_some(meant)
    }

    fn arn(&self, text: &str, asked: &Asked) -> String {
        // ECR's registries are accounts.
        let owner = asked.input.texts("registryId").into_iter().next();
        let account = owner.as_ref().unwrap_or(&asked.scope.account);
        let (region, account) = match self.location {
            Location::Regional => (asked.scope.region.as_str(), account.as_str()),
            Location::Global => ("", account.as_str()),
            Location::Nowhere => ("", ""),
        };
        let partition = partition(region);
        format!("arn:{partition}:{}:{region}:{account}:{text}", self.prefix)
    }
}

/// A value behind what there is. One that is an ARN gives its last part; at the end it stands for itself too: a handler may
/// read the whole of it, or only that part.
fn joined(
    start: &Result<String, String>,
    value: &str,
    is_last: bool,
) -> Vec<Result<String, String>> {
    let start = match start {
        Ok(start) => start,
        Err(arn) => return vec![Err(arn.clone())],
    };
    if !value.starts_with("arn:") || start.is_empty() {
        return vec![Ok(format!("{start}{value}"))];
    }
    let named = Ok(format!("{start}{}", tail(value)));
    if is_last {
        vec![Err(value.to_owned()), named]
    } else {
        vec![named]
    }
}

fn tail(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

fn field(inner: &str) -> Option<Piece> {
    let (inner, missing) = if let Some(inner) = inner.strip_suffix('?') {
        (inner, Missing::Drop)
    } else if let Some((inner, default)) = inner.split_once('|') {
        (inner, Missing::Text(default.to_owned()))
    } else {
        (inner, Missing::Star)
    };
    let (paths, kind) = match inner.split_once('@') {
        Some((paths, kind)) => (paths, Some(Kind::parse(kind)?)),
        None => (inner, None),
    };
    // A slash parts alternatives; no member's name has one.
    let paths = paths.split('/').map(str::to_owned).collect();
    Some(Piece::Field {
        paths,
        missing,
        kind,
    })
}

impl Piece {
    /// `None`: the resource is dropped.
    fn values(&self, asked: &Asked) -> Option<Vec<String>> {
        let Self::Field {
            paths,
            missing,
            kind,
        } = self
        else {
            return Some(Vec::new());
        };
        if let [path] = paths.as_slice()
            && matches!(path.as_str(), "account" | "region")
        {
            let scope = asked.scope;
            let own = if path == "account" {
                &scope.account
            } else {
                &scope.region
            };
            return Some(vec![own.clone()]);
        }
        let mut given: Vec<String> = paths
            .iter()
            .map(|path| asked.input.texts(path))
            .find(|values| !values.is_empty())
            .unwrap_or_default();
        if given.is_empty()
            && *kind == Some(Kind::User)
            && let Some(user) = asked.user
        {
            given.push(user.to_owned());
        }
        if given.is_empty() {
            return match missing {
                Missing::Star => Some(vec!["*".to_owned()]),
                Missing::Text(text) => Some(vec![text.clone()]),
                Missing::Drop => None,
            };
        }
        let Some(kind) = kind else {
            return Some(given);
        };
        let found = given
            .iter()
            .flat_map(|value| looked_up(*kind, value, asked));
        Some(found.collect())
    }
}

fn looked_up(kind: Kind, value: &str, asked: &Asked) -> Vec<String> {
    let (snapshot, scope) = (asked.snapshot, asked.scope);
    let global = scope.global();
    // Behind the path's slash: `path/name`.
    let pathed = |path: Option<&String>| match path {
        Some(path) => format!("{}{value}", path.trim_start_matches('/')),
        None => value.to_owned(),
    };
    let one = match kind {
        _ if value.starts_with("arn:") && kind.takes_arns() => value.to_owned(),
        Kind::Role => pathed(snapshot.roles.get(&global, value).map(|r| &r.path)),
        Kind::User => pathed(snapshot.users.get(&global, value).map(|u| &u.path)),
        Kind::Group => pathed(snapshot.groups.get(&global, value).map(|g| &g.path)),
        Kind::InstanceProfile => pathed(
            snapshot
                .instance_profiles
                .get(&global, value)
                .map(|p| &p.path),
        ),
        Kind::UserOfKey => {
            let key = snapshot.access_keys.get(&global, value);
            let user = key.and_then(|key| key.user.as_ref());
            let row = user.and_then(|name| snapshot.users.get(&global, name));
            row.map_or_else(|| "*".to_owned(), |user| after_slash(&user.arn))
        }
        Kind::Revision => match task_definitions::find(snapshot, scope, value) {
            Some(found) => found.arn.clone(),
            None if value.contains(':') => value.to_owned(),
            None => format!("{value}:*"),
        },
        Kind::Roles => return roles(value, asked),
        Kind::Parameter => {
            let name = value
                .split_once(":parameter")
                .map_or(value, |(_, name)| name);
            let name = name.split(':').next().unwrap_or(name);
            name.trim_start_matches('/').to_owned()
        }
        Kind::Secret => match secrets::find(snapshot, scope, value) {
            Ok(secret) => secret.arn.clone(),
            Err(_) if value.starts_with("arn:") => value.to_owned(),
            Err(_) => scope.arn("secretsmanager", &format!("secret:{value}")),
        },
        Kind::LogGroup => {
            let name = value
                .split_once(":log-group:")
                .map_or(value, |(_, name)| name);
            name.trim_end_matches(":*").to_owned()
        }
        Kind::Tail => tail(value).to_owned(),
        Kind::RecordName => value.trim_end_matches('.').to_lowercase(),
        Kind::Tagged => {
            let name = tags::type_of(value).unwrap_or("*");
            scope.arn("ec2", &format!("{name}/{value}"))
        }
        Kind::ScalableTarget => {
            let target = snapshot.scalable_targets.get(scope, value);
            target.map_or_else(|| "*".to_owned(), |target| target.arn.clone())
        }
        Kind::KmsKey => kms_key(value, asked),
        Kind::Alias => value.strip_prefix("alias/").unwrap_or(value).to_owned(),
        Kind::KeyOfSecret | Kind::KeyOfParameter | Kind::KeysUnderPath => {
            return keys_of(kind, value, asked);
        }
        Kind::VpcOfCidr
        | Kind::SubnetOfCidr
        | Kind::RouteTableOf
        | Kind::AddressOf
        | Kind::InterfaceOf => associated(kind, value, asked).unwrap_or_else(|| "*".to_owned()),
    };
    vec![one]
}

impl Kind {
    /// Whether an ARN stays as it is.
    fn takes_arns(self) -> bool {
        matches!(
            self,
            Self::Role | Self::User | Self::Group | Self::InstanceProfile
        )
    }
}

fn after_slash(arn: &str) -> String {
    arn.split_once('/').map_or("*", |(_, rest)| rest).to_owned()
}

/// What an association is of.
fn associated(kind: Kind, id: &str, asked: &Asked) -> Option<String> {
    let (snapshot, scope) = (asked.snapshot, asked.scope);
    match kind {
        Kind::VpcOfCidr => snapshot
            .vpcs
            .in_scope(scope)
            .find(|vpc| {
                let v4 = vpc
                    .cidr_associations
                    .iter()
                    .any(|a| a.association_id == *id);
                v4 || vpc
                    .ipv6_cidr_associations
                    .iter()
                    .any(|a| a.association_id == *id)
            })
            .map(|vpc| vpc.vpc_id.to_string()),
        Kind::SubnetOfCidr => snapshot
            .subnets
            .in_scope(scope)
            .find(|subnet| {
                subnet
                    .ipv6_cidr_associations
                    .iter()
                    .any(|a| a.association_id == *id)
            })
            .map(|subnet| subnet.subnet_id.to_string()),
        Kind::RouteTableOf => snapshot
            .route_tables
            .in_scope(scope)
            .find(|table| table.associations.iter().any(|a| a.association_id == *id))
            .map(|table| table.route_table_id.to_string()),
        Kind::AddressOf => snapshot
            .elastic_ips
            .in_scope(scope)
            .find(|ip| {
                ip.association
                    .as_ref()
                    .is_some_and(|a| a.association_id == *id)
            })
            .map(|ip| ip.allocation_id.to_string()),
        Kind::InterfaceOf => snapshot
            .enis
            .in_scope(scope)
            .find(|eni| eni.attachment_id.as_ref().is_some_and(|own| *own == *id))
            .map(|eni| eni.eni_id.to_string()),
        _ => None,
    }
}

/// The roles that a task of the definition would have but for those that the request replaces.
fn roles(definition: &str, asked: &Asked) -> Vec<String> {
    let Some(found) = task_definitions::find(asked.snapshot, asked.scope, definition) else {
        return Vec::new();
    };
    let unless =
        |path: &str, role: &Option<String>| role.clone().filter(|_| !asked.input.has(path));
    let task = unless("overrides.taskRoleArn", &found.task_role_arn);
    let execution = unless("overrides.executionRoleArn", &found.execution_role_arn);
    task.into_iter().chain(execution).collect()
}

/// Of a key that is not there, what it would be called.
fn kms_key(value: &str, asked: &Asked) -> String {
    let (snapshot, scope) = (asked.snapshot, asked.scope);
    if let Ok(key) = keys::find(snapshot, scope, value, Named::ByAlias) {
        return key.arn();
    }
    let blob = STANDARD.decode(value).ok();
    if let Some(head) = blob.and_then(|blob| Head::of(&blob)) {
        let owner = Scope::new(head.account, head.region);
        return owner.arn("kms", &format!("key/{}", head.key_id));
    }
    if value.starts_with("arn:") {
        return value.to_owned();
    }
    scope.arn("kms", &format!("key/{value}"))
}

fn keys_of(kind: Kind, value: &str, asked: &Asked) -> Vec<String> {
    let (snapshot, scope) = (asked.snapshot, asked.scope);
    let ids: Vec<&String> = match kind {
        Kind::KeyOfSecret => {
            let secret = secrets::find(snapshot, scope, value).ok();
            secret
                .and_then(|row| row.kms_key_id.as_ref())
                .into_iter()
                .collect()
        }
        Kind::KeyOfParameter => {
            let name = value
                .split_once(":parameter")
                .map_or(value, |(_, name)| name);
            let name = name.split(':').next().unwrap_or(name);
            let mut names = [name, name.trim_start_matches('/')].into_iter();
            let row = names.find_map(|name| snapshot.parameters.get(scope, name));
            let versions = row.iter().flat_map(|row| &row.versions);
            versions
                .filter_map(|version| version.key_id.as_ref())
                .collect()
        }
        _ => {
            let rows = snapshot.parameters.in_scope(scope);
            let under = rows.filter(|row| names::is_under(&row.name, value, true));
            let latest = under.filter_map(|row| row.latest());
            latest
                .filter_map(|version| version.key_id.as_ref())
                .collect()
        }
    };
    let found = ids
        .into_iter()
        .filter_map(|id| keys::find(snapshot, scope, id, Named::ByAlias).ok())
        .filter(|key| !key.is_managed_by_aws);
    let arns: BTreeSet<String> = found.map(|key| key.arn()).collect();
    arns.into_iter().collect()
}

/// The ARN of a role that is named by its ARN or its name.
pub fn role_arn(role: &str, asked: &Asked) -> String {
    if role.starts_with("arn:") {
        return role.to_owned();
    }
    let path = looked_up(Kind::Role, role, asked).remove(0);
    format!("arn:aws:iam::{}:role/{path}", asked.scope.account)
}
