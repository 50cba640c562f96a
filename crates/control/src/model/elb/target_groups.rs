//! Target groups and their health checks (facts TGT-1 to TGT-3).

use super::load_balancers::check_plain_name;
use super::{Refusal, arns, invalid, limits, not_offered, tags, usage};
use crate::model::tx::Tx;
use fogbank_types::elb::{HealthCheck, TargetGroup};
use fogbank_types::{Scope, Tags, VpcId};
use std::ops::RangeInclusive;

/// What a caller wants; `None` = AWS's default.
#[derive(Clone, Debug, Default)]
pub struct NewTargetGroup {
    pub name: String,
    pub protocol: Option<String>,
    pub protocol_version: Option<String>,
    pub port: Option<u16>,
    pub vpc_id: Option<String>,
    pub target_type: Option<String>,
    pub ip_address_type: Option<String>,
    pub health_check: HealthCheckChange,
    pub tags: Tags,
}

/// Values of a health check that a caller names.
#[derive(Clone, Debug, Default)]
pub struct HealthCheckChange {
    pub enabled: Option<bool>,
    pub protocol: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub interval_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub healthy_threshold: Option<i32>,
    pub unhealthy_threshold: Option<i32>,
    pub http_codes: Option<String>,
    pub grpc_codes: Option<String>,
}

/// Creates it, or gives the one that is there if all settings are the same.
pub fn create(tx: &mut Tx, scope: &Scope, new: NewTargetGroup) -> Result<TargetGroup, Refusal> {
    check_plain_name(&new.name, "Target group")?;
    tags::check(&new.tags, &new.name)?;
    check_kind(&new)?;
    let vpc_id = find_vpc(tx, scope, new.vpc_id.as_deref())?;
    let port = new
        .port
        .ok_or_else(|| invalid("A port must be specified"))?;
    let version = version(new.protocol_version.as_deref());
    let health_check = changed(version, &default_health_check(version), &new.health_check)?;
    let ip_address_type = new.ip_address_type.unwrap_or_else(|| "ipv4".to_owned());
    check_addresses(tx, scope, &vpc_id, &ip_address_type)?;
    let tail = tx.hex(16);
    let row = TargetGroup {
        ip_address_type,
        scope: scope.clone(),
        arn: arns::target_group(scope, &new.name, &tail),
        name: new.name,
        tail,
        protocol: new.protocol.unwrap_or_else(|| "HTTP".to_owned()),
        protocol_version: version.to_owned(),
        port,
        vpc_id,
        target_type: new.target_type.unwrap_or_else(|| "instance".to_owned()),
        health_check,
        attributes: Default::default(),
        targets: Vec::new(),
        created_at: tx.now(),
        tags: new.tags,
    };
    let named = tx
        .snapshot()
        .target_groups
        .in_scope(scope)
        .find(|g| g.name == row.name);
    if let Some(existing) = named {
        return same_or_refused(existing, &row);
    }
    if tx.snapshot().target_groups.in_scope(scope).count()
        >= limits::Limits::of(tx.config()).target_groups
    {
        return Err(Refusal::TooManyTargetGroups);
    }
    tx.put(row.clone());
    Ok(row)
}

fn same_or_refused(existing: &TargetGroup, wanted: &TargetGroup) -> Result<TargetGroup, Refusal> {
    let same = existing.port == wanted.port
        && existing.protocol == wanted.protocol
        && existing.protocol_version == wanted.protocol_version
        && existing.ip_address_type == wanted.ip_address_type
        && existing.vpc_id == wanted.vpc_id
        && existing.target_type == wanted.target_type
        && existing.health_check == wanted.health_check;
    if same {
        Ok(existing.clone())
    } else {
        Err(Refusal::DuplicateTargetGroupName(wanted.name.clone()))
    }
}

/// `HTTP1` where none is named. AWS takes an empty one for none; Terraform's provider sends it where none was configured.
fn version(named: Option<&str>) -> &str {
    named
        .filter(|version| !version.is_empty())
        .unwrap_or("HTTP1")
}

/// Whether it is of a kind that this region has.
fn check_kind(new: &NewTargetGroup) -> Result<(), Refusal> {
    match new.target_type.as_deref() {
        None | Some("ip" | "instance") => {}
        Some(kind @ ("lambda" | "alb")) => {
            return Err(not_offered(&format!("Target type '{kind}'")));
        }
        Some(kind) => return Err(invalid(format!("Target type '{kind}' is not valid"))),
    }
    match new.protocol.as_deref() {
        Some("HTTP" | "HTTPS") => {}
        Some(other) => return Err(not_offered(&format!("Target group protocol '{other}'"))),
        None => return Err(invalid("A protocol must be specified")),
    }
    match version(new.protocol_version.as_deref()) {
        "HTTP1" | "HTTP2" | "GRPC" => Ok(()),
        version => Err(invalid(format!(
            "Protocol version '{version}' must be one of 'HTTP1', 'HTTP2', 'GRPC'"
        ))),
    }
}

/// IPv6 addresses need a VPC that has some.
fn check_addresses(tx: &Tx, scope: &Scope, vpc_id: &VpcId, kind: &str) -> Result<(), Refusal> {
    match kind {
        "ipv4" => Ok(()),
        "ipv6" => {
            let vpc = tx.snapshot().vpcs.get(scope, vpc_id);
            if vpc.is_some_and(|vpc| vpc.ipv6_blocks().next().is_some()) {
                Ok(())
            } else {
                Err(Refusal::InvalidConfigurationRequest(format!(
                    "The VPC '{vpc_id}' does not have an IPv6 CIDR block"
                )))
            }
        }
        other => Err(invalid(format!(
            "IP address type '{other}' must be one of 'ipv4', 'ipv6'"
        ))),
    }
}

fn find_vpc(tx: &Tx, scope: &Scope, id: Option<&str>) -> Result<VpcId, Refusal> {
    let id = id.ok_or_else(|| invalid("A VPC ID must be specified"))?;
    VpcId::parse(id)
        .ok()
        .filter(|vpc_id| tx.snapshot().vpcs.contains(scope, vpc_id))
        .ok_or_else(|| invalid(format!("The VPC ID '{id}' is not found")))
}

/// AWS's defaults (fact TGT-3).
fn default_health_check(version: &str) -> HealthCheck {
    let (path, matcher) = match version {
        "GRPC" => ("/AWS.ALB/healthcheck", "12"),
        _ => ("/", "200"),
    };
    HealthCheck {
        enabled: true,
        protocol: "HTTP".to_owned(),
        port: None,
        path: path.to_owned(),
        interval_seconds: 30,
        timeout_seconds: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: matcher.to_owned(),
    }
}

/// Changes the health check; all else is fixed for life (fact TGT-2).
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    change: &HealthCheckChange,
) -> Result<TargetGroup, Refusal> {
    let mut row = TargetGroup::clone(arns::find_target_group(tx.snapshot(), scope, arn)?);
    row.health_check = changed(&row.protocol_version, &row.health_check, change)?;
    tx.put(row.clone());
    Ok(row)
}

/// One that is not there is fine; one in use is not.
pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    match arns::find_target_group(tx.snapshot(), scope, arn) {
        Ok(_) => {}
        Err(Refusal::TargetGroupNotFound) => return Ok(()),
        Err(refusal) => return Err(refusal),
    }
    if usage::load_balancer_of(tx.snapshot(), scope, arn).is_some() {
        return Err(Refusal::ResourceInUse(format!(
            "Target group '{arn}' is currently in use by a listener or a rule"
        )));
    }
    tx.delete::<TargetGroup>(scope, arn);
    Ok(())
}

fn changed(
    version: &str,
    from: &HealthCheck,
    change: &HealthCheckChange,
) -> Result<HealthCheck, Refusal> {
    let mut check = from.clone();
    if let Some(enabled) = change.enabled {
        if !enabled {
            return Err(invalid(
                "Health check enabled must be true for target groups with target type 'instance' or 'ip'",
            ));
        }
        check.enabled = enabled;
    }
    match change.protocol.as_deref() {
        None => {}
        Some(protocol @ ("HTTP" | "HTTPS")) => check.protocol = protocol.to_owned(),
        Some(other) => {
            return Err(invalid(format!(
                "Health check protocol '{other}' must be one of 'HTTP', 'HTTPS'"
            )));
        }
    }
    if let Some(port) = &change.port {
        check.port = health_check_port(port)?;
    }
    if let Some(path) = &change.path {
        check_path(path)?;
        if version == "GRPC" && path.len() < 3 {
            return Err(invalid(format!(
                "Health check path '{path}' must have the format '/package.service/method' for protocol version 'GRPC'"
            )));
        }
        check.path = path.clone();
    }
    let set = |to: &mut u32, value: Option<i32>, name: &str, range: RangeInclusive<u32>| match value
        .map(|value| (value, u32::try_from(value)))
    {
        None => Ok(()),
        Some((_, Ok(good))) if range.contains(&good) => {
            *to = good;
            Ok(())
        }
        Some((bad, _)) => Err(invalid(format!(
            "{name} '{bad}' must be between '{}' and '{}' inclusive",
            range.start(),
            range.end()
        ))),
    };
    set(
        &mut check.interval_seconds,
        change.interval_seconds,
        "Health check interval",
        5..=300,
    )?;
    set(
        &mut check.timeout_seconds,
        change.timeout_seconds,
        "Health check timeout",
        2..=120,
    )?;
    set(
        &mut check.healthy_threshold,
        change.healthy_threshold,
        "Healthy threshold count",
        2..=10,
    )?;
    set(
        &mut check.unhealthy_threshold,
        change.unhealthy_threshold,
        "Unhealthy threshold count",
        2..=10,
    )?;
    if check.timeout_seconds >= check.interval_seconds {
        return Err(invalid(format!(
            "Health check timeout '{}' must be smaller than the interval '{}'",
            check.timeout_seconds, check.interval_seconds
        )));
    }
    let (codes, other) = match version {
        "GRPC" => (&change.grpc_codes, &change.http_codes),
        _ => (&change.http_codes, &change.grpc_codes),
    };
    if other.is_some() {
        return Err(invalid(format!(
            "The matcher must be {} for target groups with protocol version '{version}'",
            if version == "GRPC" {
                "a gRPC code"
            } else {
                "an HTTP code"
            }
        )));
    }
    if let Some(codes) = codes {
        check_matcher(version, codes)?;
        check.matcher = codes.clone();
    }
    Ok(check)
}

fn health_check_port(text: &str) -> Result<Option<u16>, Refusal> {
    if text == "traffic-port" {
        return Ok(None);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(port)),
        _ => Err(invalid(format!(
            "Health check port '{text}' must be 'traffic-port' or in the range 1-65535"
        ))),
    }
}

fn check_path(path: &str) -> Result<(), Refusal> {
    let plain = path.bytes().all(|b| b.is_ascii_graphic());
    if path.starts_with('/') && path.len() <= 1024 && plain {
        Ok(())
    } else {
        Err(invalid(format!(
            "Health check path '{path}' must begin with a '/' character, and can only contain printable ASCII characters, without spaces"
        )))
    }
}

/// `200`, `200,202`, `200-299`; HTTP codes of an Application Load Balancer go from 200 to 499, gRPC's from 0 to 99.
fn check_matcher(version: &str, text: &str) -> Result<(), Refusal> {
    let (kind, range, lengths) = match version {
        "GRPC" => ("gRPC", 0..=99, 1..=2),
        _ => ("HTTP", 200..=499, 3..=3),
    };
    let code = |text: &str| {
        let digits = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let code = text.parse::<u16>().ok().filter(|_| digits);
        code.filter(|code| range.contains(code))
    };
    let part = |part: &str| match part.split_once('-') {
        Some((low, high)) => matches!((code(low), code(high)), (Some(l), Some(h)) if l <= h),
        None => code(part).is_some(),
    };
    if text.split(',').all(part) {
        Ok(())
    } else {
        Err(invalid(format!(
            "Health check matcher {kind} code '{text}' must be within '{}-{}' inclusive",
            range.start(),
            range.end()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    fn new(region: &Region, name: &str) -> NewTargetGroup {
        NewTargetGroup {
            name: name.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(8080),
            vpc_id: Some(region.vpc_id.to_string()),
            target_type: Some("ip".to_owned()),
            ..NewTargetGroup::default()
        }
    }

    #[test]
    fn defaults_are_awss() {
        let mut region = Region::new();
        let (scope, wanted) = (region.scope.clone(), new(&region, "api"));
        let row = create(&mut region.tx, &scope, wanted).unwrap();
        assert_eq!(row.health_check, default_health_check("HTTP1"));
        assert_eq!(row.arn, arns::target_group(&scope, "api", &row.tail));
    }

    #[test]
    fn the_same_twice_is_one_and_another_of_that_name_is_refused() {
        let mut region = Region::new();
        let (scope, wanted) = (region.scope.clone(), new(&region, "api"));
        let first = create(&mut region.tx, &scope, wanted.clone()).unwrap();
        assert_eq!(
            create(&mut region.tx, &scope, wanted.clone()).unwrap(),
            first
        );
        let other = NewTargetGroup {
            port: Some(81),
            ..wanted
        };
        let refused = create(&mut region.tx, &scope, other).unwrap_err();
        assert_eq!(refused, Refusal::DuplicateTargetGroupName("api".to_owned()));
    }

    #[test]
    fn an_empty_protocol_version_is_none() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let empty = NewTargetGroup {
            protocol_version: Some(String::new()),
            ..new(&region, "api")
        };
        let row = create(&mut region.tx, &scope, empty).unwrap();
        assert_eq!(row.protocol_version, "HTTP1");
    }

    #[test]
    fn bad_groups_are_refused() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let good = new(&region, "api");
        let text = |t: &str| Some(t.to_owned());
        let bad = [
            NewTargetGroup {
                name: String::new(),
                ..good.clone()
            },
            NewTargetGroup {
                name: "-a".to_owned(),
                ..good.clone()
            },
            NewTargetGroup {
                name: "a_b".to_owned(),
                ..good.clone()
            },
            NewTargetGroup {
                name: "a".repeat(33),
                ..good.clone()
            },
            NewTargetGroup {
                protocol: None,
                ..good.clone()
            },
            NewTargetGroup {
                protocol: text("TCP"),
                ..good.clone()
            },
            NewTargetGroup {
                protocol_version: text("HTTP9"),
                ..good.clone()
            },
            NewTargetGroup {
                port: None,
                ..good.clone()
            },
            NewTargetGroup {
                vpc_id: None,
                ..good.clone()
            },
            NewTargetGroup {
                vpc_id: text("vpc-00000000"),
                ..good.clone()
            },
            NewTargetGroup {
                target_type: text("lambda"),
                ..good.clone()
            },
        ];
        for wanted in bad {
            let refused = create(&mut region.tx, &scope, wanted.clone());
            assert!(matches!(refused, Err(Refusal::Validation(_))), "{wanted:?}");
        }
        assert!(region.tx.snapshot().target_groups.is_empty());
    }

    #[test]
    fn health_checks_stay_in_their_ranges() {
        let text = |t: &str| Some(t.to_owned());
        let base = HealthCheckChange::default;
        let bad = [
            HealthCheckChange {
                enabled: Some(false),
                ..base()
            },
            HealthCheckChange {
                protocol: text("TCP"),
                ..base()
            },
            HealthCheckChange {
                port: text("0"),
                ..base()
            },
            HealthCheckChange {
                port: text("65536"),
                ..base()
            },
            HealthCheckChange {
                port: text("+80"),
                ..base()
            },
            HealthCheckChange {
                path: text("health"),
                ..base()
            },
            HealthCheckChange {
                path: text("/a b"),
                ..base()
            },
            HealthCheckChange {
                interval_seconds: Some(4),
                ..base()
            },
            HealthCheckChange {
                interval_seconds: Some(301),
                ..base()
            },
            HealthCheckChange {
                timeout_seconds: Some(1),
                ..base()
            },
            HealthCheckChange {
                timeout_seconds: Some(30),
                ..base()
            },
            HealthCheckChange {
                interval_seconds: Some(-1),
                ..base()
            },
            HealthCheckChange {
                healthy_threshold: Some(1),
                ..base()
            },
            HealthCheckChange {
                unhealthy_threshold: Some(11),
                ..base()
            },
            HealthCheckChange {
                http_codes: text("199"),
                ..base()
            },
            HealthCheckChange {
                http_codes: text("200-500"),
                ..base()
            },
            HealthCheckChange {
                http_codes: text("299-200"),
                ..base()
            },
            HealthCheckChange {
                http_codes: text("200,"),
                ..base()
            },
            HealthCheckChange {
                http_codes: text(""),
                ..base()
            },
            HealthCheckChange {
                grpc_codes: text("12"),
                ..base()
            },
        ];
        for change in bad {
            let refused = changed("HTTP1", &default_health_check("HTTP1"), &change);
            assert!(matches!(refused, Err(Refusal::Validation(_))), "{change:?}");
        }
        let good = HealthCheckChange {
            port: text("9000"),
            path: text("/health?x=1"),
            interval_seconds: Some(5),
            timeout_seconds: Some(2),
            http_codes: text("200-299,404"),
            ..base()
        };
        let check = changed("HTTP1", &default_health_check("HTTP1"), &good).unwrap();
        assert_eq!((check.port, check.interval_seconds), (Some(9000), 5));
        let back = HealthCheckChange {
            port: text("traffic-port"),
            ..base()
        };
        assert_eq!(changed("HTTP1", &check, &back).unwrap().port, None);
    }

    #[test]
    fn grpc_has_a_path_and_codes_of_its_own() {
        let mut region = Region::new();
        let row = region.target_group_with("grpc", |new| {
            new.protocol = Some("HTTPS".to_owned());
            new.protocol_version = Some("GRPC".to_owned());
            new.health_check.protocol = Some("HTTPS".to_owned());
        });
        let check = &row.health_check;
        assert_eq!(
            (row.protocol.as_str(), check.protocol.as_str()),
            ("HTTPS", "HTTPS")
        );
        assert_eq!(
            (check.path.as_str(), check.matcher.as_str()),
            ("/AWS.ALB/healthcheck", "12")
        );
        let codes = |grpc: Option<&str>, http: Option<&str>| {
            let change = HealthCheckChange {
                grpc_codes: grpc.map(str::to_owned),
                http_codes: http.map(str::to_owned),
                ..Default::default()
            };
            changed("GRPC", check, &change).map(|check| check.matcher)
        };
        assert_eq!(codes(Some("0-99"), None).unwrap(), "0-99");
        for bad in [Some("100"), Some("5-1"), Some("a")] {
            assert!(codes(bad, None).is_err(), "{bad:?}");
        }
        assert!(codes(None, Some("200")).is_err());
    }

    #[test]
    fn ipv6_needs_a_vpc_that_has_it() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let wanted = NewTargetGroup {
            ip_address_type: Some("ipv6".to_owned()),
            ..new(&region, "six")
        };
        let refused = create(&mut region.tx, &scope, wanted.clone());
        assert!(matches!(
            refused,
            Err(Refusal::InvalidConfigurationRequest(_))
        ));
        region.add_ipv6();
        assert_eq!(
            create(&mut region.tx, &scope, wanted)
                .unwrap()
                .ip_address_type,
            "ipv6"
        );
    }

    #[test]
    fn a_group_in_use_stays() {
        let mut region = Region::new();
        let scope = region.scope.clone();
        let lb = region.load_balancer("api");
        let group = region.target_group("api");
        let listener = region.listener_to(&lb.arn, 80, &group.arn);
        let refused = delete(&mut region.tx, &scope, &group.arn).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("is currently in use by a listener or a rule")
        );
        super::super::listeners::delete(&mut region.tx, &scope, &listener.arn).unwrap();
        delete(&mut region.tx, &scope, &group.arn).unwrap();
        delete(&mut region.tx, &scope, &group.arn).unwrap();
        assert!(delete(&mut region.tx, &scope, "x").is_err());
    }
}
