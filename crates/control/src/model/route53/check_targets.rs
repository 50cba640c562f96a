//! What a health check may look at: a caller's settings, checked and completed. Called by `health_checks`.
//!
//! What must stay true: an address is one that a checker on the internet can reach; what belongs to another type of
//! check is refused rather than dropped.

use super::{Refusal, invalid, not_offered};
use fogbank_types::alarm::{AlarmSource, AlarmWatch};
use fogbank_types::route53::{
    CHECKER_REGIONS, CheckProtocol, EndpointCheck, HealthCheckConfig, HealthCheckTarget,
    InsufficientData,
};
use fogbank_types::{RegionConfig, Scope, Snapshot};
use std::net::IpAddr;

/// Of a calculated check: the API's list holds 256, the guide says 255 (fact ROUTE-9).
const CHILDREN_MAX: usize = 255;
const REGIONS_MIN: usize = 3;
const TEXT_MAX: usize = 255;

/// As the API has them. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub kind: Option<String>,
    pub ip_address: Option<String>,
    pub domain_name: Option<String>,
    pub port: Option<i32>,
    pub path: Option<String>,
    pub search: Option<String>,
    pub interval_s: Option<i32>,
    pub failure_threshold: Option<i32>,
    pub measures_latency: Option<bool>,
    pub sends_sni: Option<bool>,
    pub regions: Option<Vec<String>>,
    pub children: Option<Vec<String>>,
    pub health_threshold: Option<i32>,
    /// Region and name.
    pub alarm: Option<(String, String)>,
    pub insufficient_data: Option<String>,
    pub routing_control: Option<String>,
    pub inverted: Option<bool>,
    pub disabled: Option<bool>,
}

/// The API's name of a type.
pub fn kind_of(config: &HealthCheckConfig) -> &'static str {
    match &config.target {
        HealthCheckTarget::Calculated { .. } => "CALCULATED",
        HealthCheckTarget::Alarm { .. } => "CLOUDWATCH_METRIC",
        HealthCheckTarget::Endpoint(check) => match (check.protocol, &check.search) {
            (CheckProtocol::Http, None) => "HTTP",
            (CheckProtocol::Http, Some(_)) => "HTTP_STR_MATCH",
            (CheckProtocol::Https, None) => "HTTPS",
            (CheckProtocol::Https, Some(_)) => "HTTPS_STR_MATCH",
            (CheckProtocol::Tcp, _) => "TCP",
        },
    }
}

pub fn insufficient_data_name(of: InsufficientData) -> &'static str {
    match of {
        InsufficientData::Healthy => "Healthy",
        InsufficientData::Unhealthy => "Unhealthy",
        InsufficientData::LastKnown => "LastKnownStatus",
    }
}

impl Settings {
    /// Those of a check that is there.
    pub fn of(config: &HealthCheckConfig) -> Self {
        let all = Self {
            kind: Some(kind_of(config).to_owned()),
            inverted: Some(config.inverted),
            disabled: Some(config.disabled),
            ..Self::default()
        };
        match &config.target {
            HealthCheckTarget::Endpoint(check) => {
                let is_http = check.protocol != CheckProtocol::Tcp;
                Self {
                    ip_address: check.address.map(|address| address.to_string()),
                    domain_name: check.domain_name.clone(),
                    port: Some(i32::from(check.port)),
                    path: check.path.clone(),
                    search: check.search.clone(),
                    interval_s: Some(check.interval_s as i32),
                    failure_threshold: Some(check.threshold as i32),
                    measures_latency: Some(check.measures_latency),
                    sends_sni: is_http.then_some(check.sends_sni),
                    regions: Some(check.regions.clone()).filter(|regions| !regions.is_empty()),
                    ..all
                }
            }
            HealthCheckTarget::Calculated {
                children,
                threshold,
            } => Self {
                children: Some(children.clone()),
                health_threshold: Some(*threshold as i32),
                ..all
            },
            HealthCheckTarget::Alarm {
                region,
                name,
                insufficient_data,
            } => Self {
                alarm: Some((region.clone(), name.clone())),
                insufficient_data: Some(insufficient_data_name(*insufficient_data).to_owned()),
                ..all
            },
        }
    }

    /// These, and for what they do not say the others.
    pub fn or(self, other: Self) -> Self {
        Self {
            kind: self.kind.or(other.kind),
            ip_address: self.ip_address.or(other.ip_address),
            domain_name: self.domain_name.or(other.domain_name),
            port: self.port.or(other.port),
            path: self.path.or(other.path),
            search: self.search.or(other.search),
            interval_s: self.interval_s.or(other.interval_s),
            failure_threshold: self.failure_threshold.or(other.failure_threshold),
            measures_latency: self.measures_latency.or(other.measures_latency),
            sends_sni: self.sends_sni.or(other.sends_sni),
            regions: self.regions.or(other.regions),
            children: self.children.or(other.children),
            health_threshold: self.health_threshold.or(other.health_threshold),
            alarm: self.alarm.or(other.alarm),
            insufficient_data: self.insufficient_data.or(other.insufficient_data),
            routing_control: self.routing_control.or(other.routing_control),
            inverted: self.inverted.or(other.inverted),
            disabled: self.disabled.or(other.disabled),
        }
    }

    pub fn reset(&mut self, element: &str) -> Result<(), Refusal> {
        match element {
            "FullyQualifiedDomainName" => (self.domain_name, self.sends_sni) = (None, None),
            "Regions" => self.regions = None,
            "ResourcePath" => self.path = None,
            "ChildHealthChecks" => self.children = None,
            other => return Err(invalid(format!("'{other}' cannot be reset"))),
        }
        Ok(())
    }

    /// The check that these settings make; `own` is its id if it is there already.
    pub fn check(
        &self,
        snapshot: &Snapshot,
        region: &RegionConfig,
        scope: &Scope,
        own: Option<&str>,
    ) -> Result<HealthCheckConfig, Refusal> {
        let kind = self.kind.as_deref().unwrap_or_default();
        let target = match kind {
            "HTTP" => self.endpoint(region, CheckProtocol::Http, false)?,
            "HTTP_STR_MATCH" => self.endpoint(region, CheckProtocol::Http, true)?,
            "HTTPS" => self.endpoint(region, CheckProtocol::Https, false)?,
            "HTTPS_STR_MATCH" => self.endpoint(region, CheckProtocol::Https, true)?,
            "TCP" => self.endpoint(region, CheckProtocol::Tcp, false)?,
            "CALCULATED" => self.calculated(snapshot, scope, own)?,
            "CLOUDWATCH_METRIC" => self.alarm(snapshot, scope)?,
            "RECOVERY_CONTROL" => {
                return Err(not_offered("A health check of type RECOVERY_CONTROL"));
            }
            other => return Err(invalid(format!("The type '{other}' is not valid"))),
        };
        if self.routing_control.is_some() {
            return Err(invalid(
                "Only health checks of type RECOVERY_CONTROL can have a routing control.",
            ));
        }
        Ok(HealthCheckConfig {
            target,
            inverted: self.inverted.unwrap_or(false),
            disabled: self.disabled.unwrap_or(false),
        })
    }

    fn endpoint(
        &self,
        region: &RegionConfig,
        protocol: CheckProtocol,
        searches: bool,
    ) -> Result<HealthCheckTarget, Refusal> {
        if self.alarm.is_some() || self.insufficient_data.is_some() {
            return Err(invalid(
                "Invalid parameter : Basic health checks must not have an metric region specified.",
            ));
        }
        let foreign = [
            ("child health checks", self.children.is_some()),
            ("a health threshold", self.health_threshold.is_some()),
        ];
        refuse("Basic health checks", &foreign)?;
        let address = self.ip_address.as_deref();
        let address = address.map(|text| endpoint_address(region, text));
        let address = address.transpose()?;
        let domain_name = self.domain_name.as_deref();
        let domain_name = domain_name.map(domain).transpose()?;
        let is_tcp = protocol == CheckProtocol::Tcp;
        if address.is_none() && domain_name.is_none() {
            return Err(invalid(
                "Basic health checks must have an IP address or a fully qualified domain name specified.",
            ));
        }
        if is_tcp && address.is_some() && domain_name.is_some() {
            return Err(invalid(
                "TCP health checks that have IP address must not have a fully qualified domain name specified.",
            ));
        }
        if is_tcp {
            let foreign = [
                ("a resource path", self.path.is_some()),
                ("SNI enabled", self.sends_sni == Some(true)),
            ];
            refuse("TCP health checks", &foreign)?;
        }
        let port = match (self.port, protocol) {
            (Some(port), _) => u16::try_from(port).ok().filter(|port| *port > 0),
            (None, CheckProtocol::Http) => Some(80),
            (None, CheckProtocol::Https) => Some(443),
            (None, CheckProtocol::Tcp) => {
                return Err(invalid("TCP health checks must have a port specified."));
            }
        };
        let is_https = protocol == CheckProtocol::Https;
        if self.sends_sni == Some(true) && domain_name.is_none() && is_https {
            return Err(invalid(
                "SNI enabled health checks must have a fully qualified domain name specified.",
            ));
        }
        Ok(HealthCheckTarget::Endpoint(EndpointCheck {
            protocol,
            address,
            sends_sni: self.sends_sni.unwrap_or(is_https && domain_name.is_some()),
            domain_name,
            port: port.ok_or_else(|| invalid("The port must be between 1 and 65535."))?,
            path: self.path()?,
            search: self.search(searches)?,
            interval_s: match self.interval_s {
                None | Some(30) => 30,
                Some(10) => 10,
                Some(other) => {
                    return Err(invalid(format!(
                        "Invalid parameter : the request interval must be 10 or 30 seconds, not {other}."
                    )));
                }
            },
            threshold: match self.failure_threshold {
                None => 3,
                Some(count @ 1..=10) => count.unsigned_abs(),
                Some(_) => return Err(invalid("The failure threshold must be between 1 and 10.")),
            },
            measures_latency: self.measures_latency.unwrap_or(false),
            regions: self.regions()?,
        }))
    }

    fn path(&self) -> Result<Option<String>, Refusal> {
        let Some(path) = self.path.clone().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        if path.len() > TEXT_MAX || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(invalid(format!("The resource path '{path}' is not valid")));
        }
        // Without its slash the checkers add one.
        Ok(Some(path))
    }

    fn search(&self, searches: bool) -> Result<Option<String>, Refusal> {
        match (searches, &self.search) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(invalid(
                "Only health checks with string matching can have a search string specified.",
            )),
            (true, Some(text)) if !text.is_empty() && text.len() <= TEXT_MAX => {
                Ok(Some(text.clone()))
            }
            (true, _) => Err(invalid(
                "Health checks with string matching must have a search string of 1 to 255 characters specified.",
            )),
        }
    }

    fn regions(&self) -> Result<Vec<String>, Refusal> {
        let regions = self.regions.clone().unwrap_or_default();
        if let Some(other) = regions
            .iter()
            .find(|name| !CHECKER_REGIONS.contains(&name.as_str()))
        {
            return Err(invalid(format!("The region '{other}' is not valid")));
        }
        let mut distinct = regions.clone();
        distinct.sort();
        distinct.dedup();
        if !regions.is_empty() && distinct.len() < REGIONS_MIN {
            return Err(invalid(format!(
                "At least {REGIONS_MIN} regions must be specified."
            )));
        }
        // In the caller's order, as AWS gives them back.
        let mut seen = std::collections::BTreeSet::new();
        let first = regions
            .into_iter()
            .filter(|region| seen.insert(region.clone()));
        Ok(first.collect())
    }

    fn refuse_endpoint(&self, kind: &str) -> Result<(), Refusal> {
        refuse(
            kind,
            &[
                ("an IP address", self.ip_address.is_some()),
                ("a fully qualified domain name", self.domain_name.is_some()),
                ("a port", self.port.is_some()),
                ("a resource path", self.path.is_some()),
                ("a search string", self.search.is_some()),
                ("a request interval", self.interval_s.is_some()),
                ("a failure threshold", self.failure_threshold.is_some()),
                ("latency measured", self.measures_latency == Some(true)),
                ("SNI enabled", self.sends_sni == Some(true)),
                (
                    "regions",
                    self.regions.as_ref().is_some_and(|r| !r.is_empty()),
                ),
            ],
        )
    }

    fn calculated(
        &self,
        snapshot: &Snapshot,
        scope: &Scope,
        own: Option<&str>,
    ) -> Result<HealthCheckTarget, Refusal> {
        self.refuse_endpoint("Calculated health checks")?;
        let foreign = [(
            "an alarm",
            self.alarm.is_some() || self.insufficient_data.is_some(),
        )];
        refuse("Calculated health checks", &foreign)?;
        let children = self.children.clone().unwrap_or_default();
        if children.len() > CHILDREN_MAX {
            return Err(invalid(format!(
                "Calculated health checks can have at most {CHILDREN_MAX} child health checks."
            )));
        }
        let mut seen = std::collections::BTreeSet::new();
        for id in &children {
            if !seen.insert(id) {
                return Err(invalid(format!(
                    "The child health check {id} is given twice."
                )));
            }
            let child = snapshot.health_checks.get(scope, id);
            // One that was deleted since may stay in the list of a check that is there.
            let Some(child) = child else {
                let is_known = own
                    .and_then(|own| snapshot.health_checks.get(scope, own))
                    .is_some_and(|row| matches!(&row.config.target, HealthCheckTarget::Calculated { children, .. } if children.contains(id)));
                if is_known {
                    continue;
                }
                return Err(invalid(format!("The health check {id} does not exist.")));
            };
            // So that no chain of them ever leads back.
            if matches!(child.config.target, HealthCheckTarget::Calculated { .. }) {
                return Err(invalid(format!(
                    "The health check {id} is a calculated health check, which can't be the child of another."
                )));
            }
        }
        let threshold = self.health_threshold;
        let threshold = match threshold {
            Some(count @ 0..=256) => count.unsigned_abs(),
            Some(_) => return Err(invalid("The health threshold must be between 0 and 256.")),
            None => {
                return Err(invalid(
                    "Calculated health checks must have a health threshold specified.",
                ));
            }
        };
        Ok(HealthCheckTarget::Calculated {
            children,
            threshold,
        })
    }

    fn alarm(&self, snapshot: &Snapshot, scope: &Scope) -> Result<HealthCheckTarget, Refusal> {
        self.refuse_endpoint("CloudWatch health checks")?;
        let foreign = [
            ("child health checks", self.children.is_some()),
            ("a health threshold", self.health_threshold.is_some()),
        ];
        refuse("CloudWatch health checks", &foreign)?;
        let Some((region, name)) = self.alarm.clone() else {
            return Err(invalid(
                "CloudWatch health checks must have an alarm identifier specified.",
            ));
        };
        let own = Scope::new(&scope.account, &region);
        let Some(alarm) = snapshot.alarms.get(&own, &name) else {
            return Err(invalid(format!(
                "Invalid parameter : The CloudWatch alarm {name} does not exist in {region}."
            )));
        };
        check_watch(&alarm.watch)?;
        let insufficient_data = match self.insufficient_data.as_deref() {
            Some("Healthy") => InsufficientData::Healthy,
            Some("Unhealthy") => InsufficientData::Unhealthy,
            // "the default status": nothing said keeps what was known.
            Some("LastKnownStatus") | None => InsufficientData::LastKnown,
            Some(other) => {
                return Err(invalid(format!(
                    "The insufficient data health status '{other}' is not valid"
                )));
            }
        };
        Ok(HealthCheckTarget::Alarm {
            region,
            name,
            insufficient_data,
        })
    }
}

/// "Route 53 supports CloudWatch alarms with the following features": standard resolution, five statistics; no metric
/// math, no M out of N.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_AlarmIdentifier.html>
fn check_watch(watch: &AlarmWatch) -> Result<(), Refusal> {
    const STATISTICS: [&str; 5] = ["Average", "Minimum", "Maximum", "Sum", "SampleCount"];
    let AlarmWatch::Metric(watch) = watch else {
        return Err(invalid("Composite alarms are not supported."));
    };
    let AlarmSource::Metric(metric) = &watch.source else {
        return Err(invalid("Alarms that use metric math are not supported."));
    };
    if metric.period_s < 60 {
        return Err(invalid("High-resolution metrics are not supported."));
    }
    if !STATISTICS.contains(&metric.statistic.as_str()) {
        return Err(invalid(format!(
            "The statistic {} is not supported.",
            metric.statistic
        )));
    }
    let partly = watch.datapoints_to_alarm;
    if partly.is_some_and(|count| count != watch.evaluation_periods) {
        return Err(invalid("\"M out of N\" alarms are not supported."));
    }
    Ok(())
}

fn refuse(kind: &str, foreign: &[(&str, bool)]) -> Result<(), Refusal> {
    match foreign.iter().find(|(_, there)| *there) {
        Some((what, _)) => Err(invalid(format!(
            "Invalid parameter : {kind} must not have {what} specified."
        ))),
        None => Ok(()),
    }
}

fn domain(name: &str) -> Result<String, Refusal> {
    let bad = || invalid(format!("Invalid fully qualified domain name: '{name}'"));
    if name.len() > TEXT_MAX || name.parse::<IpAddr>().is_ok() {
        return Err(bad());
    }
    match super::names::canonical(name) {
        Ok(canonical) if canonical != "." => Ok(name.to_owned()),
        _ => Err(bad()),
    }
}

/// "Route 53 can't check the health of endpoints for which the IP address is in local, private, non-routable, or
/// multicast ranges"; this region's own public pools are in such ranges and can be checked.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html>
fn endpoint_address(region: &RegionConfig, text: &str) -> Result<IpAddr, Refusal> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| invalid(format!("Invalid IP address: '{text}'")))?;
    if region.is_public(address) {
        return Ok(address);
    }
    Err(invalid(format!(
        "Invalid IP address: {address} is in a local, private, non-routable, or multicast range"
    )))
}
