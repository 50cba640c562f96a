//! What the NAT gateways of this host have processed, for the bill: every byte comes in through a gateway's interface once,
//! from its source or from its destination.

use std::collections::BTreeMap;

use fogbank_net::apply::in_namespace;
use fogbank_net::names::namespace_path;
use fogbank_types::ec2::EniOwner;
use fogbank_types::metric::{MetricDatum, StatisticSet};
use fogbank_types::{RegionConfig, Scope, Snapshot};

use super::tasks::parse_network;

/// Bytes that came in until now, by the gateway's scope and id.
pub type Received = BTreeMap<(Scope, String), u64>;

/// Looks into the gateways' namespaces; one that is not there yet is left out. Blocks.
pub fn received(config: &RegionConfig, snapshot: &Snapshot) -> Received {
    let mut all = Received::new();
    for gateway in snapshot.nat_gateways.all() {
        let id = &gateway.nat_gateway_id;
        let eni = gateway
            .eni_id
            .as_ref()
            .and_then(|eni| snapshot.enis.get(&gateway.scope, eni));
        let Some(eni) = eni.filter(|eni| {
            eni.host.as_deref() == Some(&config.host)
                && eni.owner == EniOwner::NatGateway(id.clone())
        }) else {
            continue;
        };
        let path = namespace_path(&config.namespace(eni.eni_id.tail()));
        let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
        if let Ok(Ok(text)) = in_namespace(&path, read) {
            let (bytes, _) = parse_network(&text);
            all.insert((gateway.scope.clone(), id.to_string()), bytes);
        }
    }
    all
}

/// What came since the last look. A gateway that was not seen before is counted from then on; `before` is none after a
/// restart of this process, when nothing is known of what came meanwhile.
pub fn data(before: Option<&Received>, latest: &Received) -> Vec<MetricDatum> {
    let Some(before) = before else {
        return Vec::new();
    };
    let since = |key| before.get(key).copied().unwrap_or(0);
    let moved = latest.iter().filter_map(|(key, bytes)| {
        // An interface that was made anew counts from zero.
        let bytes = bytes.checked_sub(since(key)).unwrap_or(*bytes);
        (bytes > 0).then_some((key, bytes))
    });
    moved
        .map(|((scope, id), bytes)| MetricDatum {
            scope: scope.clone(),
            namespace: "Fogbank/Metering".to_owned(),
            name: "NatGatewayBytes".to_owned(),
            dimensions: vec![("NatGatewayId".to_owned(), id.clone())],
            unit: "Bytes".to_owned(),
            values: StatisticSet::of(bytes as f64, 1.0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_the_last_look_counts() {
        let of = |bytes| {
            let key = (Scope::new("000000000000", "us-east-1"), "nat-1".to_owned());
            Received::from([(key, bytes)])
        };
        let sum = |before: Option<&Received>, latest: u64| -> f64 {
            data(before, &of(latest))
                .iter()
                .map(|datum| datum.values.sum)
                .sum()
        };
        assert_eq!(sum(None, 500), 0.0);
        assert_eq!(sum(Some(&Received::new()), 500), 500.0);
        assert_eq!(sum(Some(&of(500)), 800), 300.0);
        assert_eq!(sum(Some(&of(500)), 500), 0.0);
        assert_eq!(sum(Some(&of(500)), 20), 20.0);
    }
}
