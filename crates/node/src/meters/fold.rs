//! Counts of load balancer nodes to CloudWatch's data: names, dimensions, units and statistics of namespace
//! AWS/ApplicationELB. Pure; used by `meters`.
//!
//! "CloudWatch metrics for your Application Load Balancer", ELB guide (fact HTTP-16). Numbers of one load
//! balancer's nodes on this host come together in one datum; what did not happen is left out, except where the
//! guide says that it is always told.

use std::collections::BTreeMap;
use std::time::Duration;

use fogbank_edge::http::{Counts, GroupCounts, Table, TargetGroup, Times};
use fogbank_types::Scope;
use fogbank_types::metric::{MetricDatum, StatisticSet};
use fogbank_types::status::{Health, TargetState};

/// One node in one period.
pub struct Sample<'a> {
    pub scope: &'a Scope,
    pub table: &'a Table,
    pub counts: &'a Counts,
    /// By the group's ARN.
    pub health: &'a BTreeMap<String, Vec<TargetState>>,
}

/// How several nodes' numbers become one.
#[derive(Clone, Debug)]
enum Value {
    /// So many observations of 1.
    Ones(f64),
    /// One observation, to which all add.
    Total(f64),
    /// One observation each.
    Each(StatisticSet),
    /// In seconds.
    Times(Times),
    TimesMs(Times),
}

type Key = (Scope, &'static str, Vec<(String, String)>);

#[derive(Default)]
struct Folder {
    data: BTreeMap<Key, (&'static str, Value)>,
}

/// What all nodes measured in a period of this length.
pub fn fold(samples: &[Sample<'_>], period: Duration) -> Vec<MetricDatum> {
    let mut folder = Folder::default();
    for sample in samples {
        folder.add_node(sample);
        for group in &sample.table.target_groups {
            folder.add_group(sample, group);
        }
    }
    folder.add_capacity(samples, period);
    let datum = |((scope, name, dimensions), (unit, value)): (Key, (&str, Value))| MetricDatum {
        scope,
        namespace: "AWS/ApplicationELB".to_owned(),
        name: name.to_owned(),
        dimensions,
        unit: unit.to_owned(),
        values: statistics(value),
    };
    folder.data.into_iter().map(datum).collect()
}

/// Where a number is to be found.
#[derive(Clone, Copy)]
struct Place<'a> {
    scope: &'a Scope,
    load_balancer: &'a str,
    zone: &'a str,
    /// `targetgroup/<name>/<id>`
    group: Option<&'a str>,
}

impl Place<'_> {
    fn dimensions(&self, load_balancer: bool, zone: bool, group: bool) -> Vec<(String, String)> {
        let parts = [
            ("AvailabilityZone", Some(self.zone).filter(|_| zone)),
            (
                "LoadBalancer",
                Some(self.load_balancer).filter(|_| load_balancer),
            ),
            ("TargetGroup", self.group.filter(|_| group)),
        ];
        let named = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        named.collect()
    }
}

fn place<'a>(sample: &Sample<'a>, group: Option<&'a TargetGroup>) -> Place<'a> {
    Place {
        scope: sample.scope,
        load_balancer: &sample.table.load_balancer,
        zone: &sample.table.zone,
        group: group.map(|group| group.id.rsplit(':').next().unwrap_or(&group.id)),
    }
}

impl Folder {
    fn put(
        &mut self,
        place: Place<'_>,
        name: &'static str,
        unit: &'static str,
        dimensions: Vec<(String, String)>,
        value: Value,
    ) {
        let key = (place.scope.clone(), name, dimensions);
        match self.data.get_mut(&key) {
            Some((_, known)) => known.merge(value),
            None => drop(self.data.insert(key, (unit, value))),
        }
    }

    /// By load balancer, and by load balancer and zone.
    fn of_balancer(
        &mut self,
        place: Place<'_>,
        name: &'static str,
        unit: &'static str,
        value: &Value,
    ) {
        for zone in [false, true] {
            self.put(
                place,
                name,
                unit,
                place.dimensions(true, zone, false),
                value.clone(),
            );
        }
    }

    /// By load balancer and group, with and without zone.
    fn of_group(
        &mut self,
        place: Place<'_>,
        name: &'static str,
        unit: &'static str,
        value: &Value,
    ) {
        for zone in [false, true] {
            self.put(
                place,
                name,
                unit,
                place.dimensions(true, zone, true),
                value.clone(),
            );
        }
    }

    fn add_node(&mut self, sample: &Sample<'_>) {
        let place = place(sample, None);
        let node = &sample.counts.node;
        let ones = [
            ("ClientTLSNegotiationErrorCount", node.client_tls_errors),
            (
                "DesyncMitigationMode_NonCompliant_Request_Count",
                node.desync_noncompliant,
            ),
            ("HTTP_Fixed_Response_Count", node.fixed_responses),
            ("HTTP_Redirect_Count", node.redirects),
            ("HTTPCode_ELB_3XX_Count", node.elb_3xx),
            ("HTTPCode_ELB_4XX_Count", node.elb_4xx),
            ("HTTPCode_ELB_5XX_Count", node.elb_5xx),
            ("HTTPCode_ELB_500_Count", node.elb_500),
            ("HTTPCode_ELB_502_Count", node.elb_502),
            ("HTTPCode_ELB_503_Count", node.elb_503),
            ("HTTPCode_ELB_504_Count", node.elb_504),
            ("IPv6RequestCount", node.ipv6_requests),
            (
                "NewConnectionCount",
                node.new_connections + node.new_target_connections,
            ),
            ("NonStickyRequestCount", node.non_sticky_requests),
            (
                "AppCookieNonStickinessCount",
                node.app_cookie_non_sticky_requests,
            ),
            ("RejectedConnectionCount", node.rejected_connections),
            (
                "DroppedInvalidHeaderRequestCount",
                node.invalid_headers_dropped,
            ),
            (
                "ForwardedInvalidHeaderRequestCount",
                node.invalid_headers_forwarded,
            ),
            ("ELBAuthError", node.auth_errors),
            ("ELBAuthFailure", node.auth_failures),
            ("ELBAuthRefreshTokenSuccess", node.auth_refreshes),
            ("ELBAuthSuccess", node.auth_successes),
            ("ELBAuthUserClaimsSizeExceeded", node.auth_claims_too_large),
            ("JWTValidationFailureCount", node.token_failures),
            ("JWTValidationSuccessCount", node.token_successes),
        ];
        for (name, count) in ones {
            if count > 0 {
                self.of_balancer(place, name, "Count", &Value::Ones(count as f64));
            }
        }
        if node.auth_times.count() > 0 {
            let value = Value::TimesMs(node.auth_times.clone());
            self.of_balancer(place, "ELBAuthLatency", "Milliseconds", &value);
        }
        let totals = [
            ("ActiveConnectionCount", "Count", node.active_connections),
            ("IPv6ProcessedBytes", "Bytes", node.ipv6_processed_bytes),
            ("ProcessedBytes", "Bytes", node.processed_bytes),
        ];
        for (name, unit, count) in totals {
            if count > 0 {
                self.of_balancer(place, name, unit, &Value::Total(count as f64));
            }
        }
        if node.rule_evaluations > 0 {
            let value = Value::Total(node.rule_evaluations as f64);
            self.put(
                place,
                "RuleEvaluations",
                "Count",
                place.dimensions(true, false, false),
                value,
            );
        }
    }

    fn add_group(&mut self, sample: &Sample<'_>, group: &TargetGroup) {
        let place = place(sample, Some(group));
        let nothing = GroupCounts::default();
        let counts = sample.counts.groups.get(&group.id).unwrap_or(&nothing);
        let everywhere = [
            ("HTTPCode_Target_2XX_Count", counts.target_2xx),
            ("HTTPCode_Target_3XX_Count", counts.target_3xx),
            ("HTTPCode_Target_4XX_Count", counts.target_4xx),
            ("HTTPCode_Target_5XX_Count", counts.target_5xx),
            (
                "TargetConnectionErrorCount",
                counts.target_connection_errors,
            ),
            ("TargetTLSNegotiationErrorCount", counts.target_tls_errors),
        ];
        for (name, count) in everywhere {
            if count > 0 {
                let value = Value::Ones(count as f64);
                self.of_balancer(place, name, "Count", &value);
                self.of_group(place, name, "Count", &value);
            }
        }
        if counts.response_times.count() > 0 {
            let value = Value::Times(counts.response_times.clone());
            self.of_balancer(place, "TargetResponseTime", "Seconds", &value);
            self.of_group(place, "TargetResponseTime", "Seconds", &value);
        }
        if counts.grpc_requests > 0 {
            let value = Value::Ones(counts.grpc_requests as f64);
            for (load_balancer, zone) in
                [(true, false), (true, true), (false, false), (false, true)]
            {
                self.put(
                    place,
                    "GrpcRequestCount",
                    "Count",
                    place.dimensions(load_balancer, zone, true),
                    value.clone(),
                );
            }
        }
        if counts.unhealthy_routing_requests > 0 {
            let value = Value::Ones(counts.unhealthy_routing_requests as f64);
            self.of_group(place, "UnhealthyRoutingRequestCount", "Count", &value);
        }
        self.add_health(sample, group, place, counts);
    }

    /// "Reported if there are registered targets."
    fn add_health(
        &mut self,
        sample: &Sample<'_>,
        group: &TargetGroup,
        place: Place<'_>,
        counts: &GroupCounts,
    ) {
        let reaches = |target: &&fogbank_edge::http::Target| {
            let zone = target.zone.as_ref();
            !target.draining
                && (group.cross_zone || zone.is_none_or(|zone| *zone == sample.table.zone))
        };
        let registered: Vec<_> = group.targets.iter().filter(reaches).collect();
        if registered.is_empty() {
            return;
        }
        let requests = Value::Ones(counts.requests as f64);
        self.of_balancer(place, "RequestCount", "Count", &requests);
        self.of_group(place, "RequestCount", "Count", &requests);
        let found = sample.health.get(&group.id).map_or(&[][..], Vec::as_slice);
        let of_health = |wanted: &[Health]| {
            let is = |state: &TargetState| {
                registered
                    .iter()
                    .any(|target| target.ip == state.ip && target.port == state.port)
                    && wanted.contains(&state.health)
            };
            found.iter().filter(|state| is(state)).count()
        };
        let healthy = of_health(&[Health::Healthy, Health::Unavailable]);
        let unhealthy = of_health(&[Health::Unhealthy]);
        let among = if healthy > 0 {
            healthy
        } else {
            registered.len()
        };
        let per_target = Value::Total(counts.requests as f64 / among as f64);
        for (load_balancer, zone) in [(false, false), (false, true), (true, false), (true, true)] {
            let dimensions = place.dimensions(load_balancer, zone, true);
            self.put(
                place,
                "RequestCountPerTarget",
                "Count",
                dimensions,
                per_target.clone(),
            );
        }
        self.of_group(place, "HealthyHostCount", "Count", &once(healthy as f64));
        self.of_group(
            place,
            "UnHealthyHostCount",
            "Count",
            &once(unhealthy as f64),
        );
        // Zones of which it is true.
        let routes = healthy >= group.minimum_healthy_targets.max(1) as usize;
        let resolves = healthy >= 1;
        for (name, is_true) in [
            ("HealthyStateDNS", resolves),
            ("HealthyStateRouting", routes),
            ("UnhealthyStateDNS", !resolves),
            ("UnhealthyStateRouting", !routes),
        ] {
            self.of_group(
                place,
                name,
                "Count",
                &Value::Total(if is_true { 1.0 } else { 0.0 }),
            );
        }
        self.of_group(
            place,
            "AnomalousHostCount",
            "Count",
            &once(counts.anomalous_targets as f64),
        );
        self.of_group(
            place,
            "MitigatedHostCount",
            "Count",
            &once(counts.mitigated_targets as f64),
        );
    }

    /// Load balancer capacity units: the largest of four ("Elastic Load Balancing pricing").
    fn add_capacity(&mut self, samples: &[Sample<'_>], period: Duration) {
        let mut used: BTreeMap<(&Scope, &str), [f64; 4]> = BTreeMap::new();
        let seconds = period.as_secs_f64().max(0.001);
        for sample in samples {
            let node = &sample.counts.node;
            let dimensions = [
                // 25 new connections per second.
                node.new_connections as f64 / seconds / 25.0,
                // 3,000 active connections per minute.
                node.active_connections as f64 / 3000.0,
                // 1 GB per hour.
                node.processed_bytes as f64 / seconds * 3600.0 / 1e9,
                // 1,000 rule evaluations per second.
                node.charged_rule_evaluations as f64 / seconds / 1000.0,
            ];
            let sum = used
                .entry((sample.scope, &sample.table.load_balancer))
                .or_default();
            sum.iter_mut()
                .zip(dimensions)
                .for_each(|(sum, part)| *sum += part);
        }
        for ((scope, load_balancer), dimensions) in used {
            let place = Place {
                scope,
                load_balancer,
                zone: "",
                group: None,
            };
            let units = dimensions.into_iter().fold(0.0, f64::max);
            let dimensions = || place.dimensions(true, false, false);
            // A sum over an hour is what the hour costs.
            let consumed = Value::Total(units * seconds / 3600.0);
            self.put(place, "ConsumedLCUs", "None", dimensions(), consumed);
            self.put(place, "PeakLCUs", "None", dimensions(), Value::Total(units));
        }
    }
}

/// An observation of one node.
fn once(value: f64) -> Value {
    Value::Each(StatisticSet {
        count: 1.0,
        sum: value,
        minimum: value,
        maximum: value,
        distribution: Vec::new(),
    })
}

impl Value {
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Ones(sum), Self::Ones(more)) | (Self::Total(sum), Self::Total(more)) => {
                *sum += more
            }
            (Self::Times(times), Self::Times(more))
            | (Self::TimesMs(times), Self::TimesMs(more)) => times.add(&more),
            (Self::Each(all), Self::Each(more)) => {
                all.count += more.count;
                all.sum += more.sum;
                all.minimum = all.minimum.min(more.minimum);
                all.maximum = all.maximum.max(more.maximum);
            }
            // One name has one kind of value.
            _ => {}
        }
    }
}

fn statistics(value: Value) -> StatisticSet {
    let one = |value: f64, count: f64, sum: f64| StatisticSet {
        count,
        sum,
        minimum: value,
        maximum: value,
        distribution: Vec::new(),
    };
    match value {
        Value::Ones(0.0) => one(0.0, 1.0, 0.0),
        // "Minimum, Maximum and Average all return 1."
        Value::Ones(count) => one(1.0, count, count),
        Value::Total(sum) => one(sum, 1.0, sum),
        Value::Each(set) => set,
        Value::Times(times) => times_in(&times, 1e6),
        Value::TimesMs(times) => times_in(&times, 1e3),
    }
}

pub(super) fn times_in(times: &Times, unit_us: f64) -> StatisticSet {
    let distribution: Vec<(f64, f64)> = times
        .values_us()
        .map(|(us, count)| (us / unit_us, count as f64))
        .collect();
    StatisticSet {
        count: times.count() as f64,
        sum: times.sum_us as f64 / unit_us,
        minimum: distribution.first().map_or(0.0, |(value, _)| *value),
        maximum: distribution.last().map_or(0.0, |(value, _)| *value),
        distribution,
    }
}

#[cfg(test)]
pub mod tests;
