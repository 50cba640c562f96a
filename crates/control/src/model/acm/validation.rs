//! Whether a domain's owner agrees: what Route 53 says.
//!
//! Answers come from the public zones of the region, of all accounts, as a resolver would find them: the zone with the
//! most labels decides, of two zones with one name the one made last (as the region's name servers do).
//! <https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html>
//! <https://docs.aws.amazon.com/acm/latest/userguide/setup-caa.html>

use super::domains;
use crate::model::route53::names;
use fogbank_types::Snapshot;
use fogbank_types::acm::DomainValidation;
use fogbank_types::route53::HostedZone;
use std::sync::Arc;

/// The issuers that a CAA record may name for ACM.
const ISSUERS: [&str; 4] = [
    "amazon.com",
    "amazontrust.com",
    "awstrust.com",
    "amazonaws.com",
];

/// The public zones, found once for many questions.
pub struct Zones<'a> {
    snapshot: &'a Snapshot,
    public: Vec<&'a Arc<HostedZone>>,
}

impl<'a> Zones<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let zones = snapshot.hosted_zones.all().filter(|zone| !zone.private);
        Self {
            snapshot,
            public: zones.collect(),
        }
    }

    /// The zone that answers for a name.
    fn zone(&self, name: &str) -> Option<&'a Arc<HostedZone>> {
        let within = self
            .public
            .iter()
            .filter(|zone| names::is_within(name, &zone.name));
        within
            .max_by_key(|zone| (zone.name.len(), zone.created_at, &zone.id))
            .copied()
    }

    /// The values of a name's records of a type.
    fn values(&self, name: &str, record_type: &str) -> Vec<&'a str> {
        let Some(zone) = self.zone(name) else {
            return Vec::new();
        };
        // All record sets of that name and type, simple or not.
        let prefix = format!("{}/{name}/{record_type}/", zone.id);
        let rows = self.snapshot.record_sets.with_prefix(&zone.scope, &prefix);
        rows.flat_map(|row| row.values.iter().map(String::as_str))
            .collect()
    }

    /// Whether the record that proves the name is there.
    pub fn proves(&self, validation: &DomainValidation) -> bool {
        let Ok(name) = names::canonical(&validation.record_name) else {
            return false;
        };
        let wanted = validation.record_value.trim_end_matches('.');
        self.values(&name, "CNAME")
            .iter()
            .any(|value| value.trim_end_matches('.').eq_ignore_ascii_case(wanted))
    }

    /// Whether CAA records let ACM issue for the name: those nearest to it count, upwards from itself (RFC 8659).
    pub fn permits(&self, name: &str) -> bool {
        let is_wildcard = name.starts_with("*.");
        let mut domain = domains::base(name);
        loop {
            let records = names::canonical(domain).map(|name| self.values(&name, "CAA"));
            let records: Vec<_> = records.unwrap_or_default();
            if !records.is_empty() {
                return permitted(&records, is_wildcard);
            }
            match domain.split_once('.') {
                Some((_, above)) => domain = above,
                None => return true,
            }
        }
    }
}

fn permitted(records: &[&str], is_wildcard: bool) -> bool {
    let of_tag = |wanted: &str| -> Vec<String> {
        let found = records.iter().filter_map(|record| {
            let mut parts = record.split_ascii_whitespace();
            let (_flags, tag) = (parts.next()?, parts.next()?);
            let value = parts.collect::<Vec<_>>().join(" ");
            let issuer = value.trim_matches('"').split(';').next()?.trim();
            tag.eq_ignore_ascii_case(wanted)
                .then(|| issuer.to_ascii_lowercase())
        });
        found.collect()
    };
    let mut issuers = if is_wildcard {
        of_tag("issuewild")
    } else {
        Vec::new()
    };
    if issuers.is_empty() {
        issuers = of_tag("issue");
    }
    // Records of other tags alone forbid nothing.
    issuers.is_empty()
        || issuers
            .iter()
            .any(|issuer| ISSUERS.contains(&issuer.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::route53::fixture;

    const ACCOUNT: &str = "000000000000";

    fn put(tx: &mut Tx, zone: &HostedZone, name: &str, kind: &str, value: &str) {
        let mut row = fixture::record(&zone.id, name, kind);
        row.scope = zone.scope.clone();
        row.values = vec![value.to_owned()];
        tx.put(row);
    }

    fn proven(tx: &Tx, name: &str) -> bool {
        Zones::of(tx.snapshot()).proves(&domains::by_dns(ACCOUNT, name))
    }

    #[test]
    fn a_record_with_the_right_value_proves_domain_and_wildcard() {
        let mut tx = Tx::for_test();
        let zone = fixture::zone(&mut tx, "example.com.");
        let (name, value) = domains::record(ACCOUNT, "example.com");
        put(
            &mut tx,
            &zone,
            &name,
            "CNAME",
            "_0.other.acm-validations.aws.",
        );
        assert!(!proven(&tx, "example.com"));
        put(
            &mut tx,
            &zone,
            &name,
            "CNAME",
            value.to_uppercase().trim_end_matches('.'),
        );
        assert!(proven(&tx, "example.com") && proven(&tx, "*.example.com"));
        assert!(!proven(&tx, "www.example.com"));
    }

    #[test]
    fn private_zones_prove_nothing() {
        let mut tx = Tx::for_test();
        let mut zone = fixture::zone(&mut tx, "example.com.");
        zone.private = true;
        tx.put(zone.clone());
        let (name, value) = domains::record(ACCOUNT, "example.com");
        put(&mut tx, &zone, &name, "CNAME", &value);
        assert!(!proven(&tx, "example.com"));
    }

    #[test]
    fn the_most_specific_zone_decides_and_of_equals_the_last() {
        let mut tx = Tx::for_test();
        let outer = fixture::zone(&mut tx, "example.com.");
        let (name, value) = domains::record(ACCOUNT, "www.example.com");
        put(&mut tx, &outer, &name, "CNAME", &value);
        assert!(proven(&tx, "www.example.com"));
        let inner = fixture::zone(&mut tx, "www.example.com.");
        assert!(!proven(&tx, "www.example.com"));
        put(&mut tx, &inner, &name, "CNAME", &value);
        assert!(proven(&tx, "www.example.com"));
        tx.advance_ms(1);
        fixture::zone(&mut tx, "www.example.com.");
        assert!(!proven(&tx, "www.example.com"));
    }

    #[test]
    fn a_zone_of_another_account_counts_too() {
        let mut tx = Tx::for_test();
        let mut zone = fixture::zone(&mut tx, "example.com.");
        tx.delete::<HostedZone>(&zone.scope, &zone.id);
        zone.scope.account = "111111111111".to_owned();
        tx.put(zone.clone());
        let (name, value) = domains::record(ACCOUNT, "example.com");
        put(&mut tx, &zone, &name, "CNAME", &value);
        assert!(proven(&tx, "example.com"));
    }

    #[test]
    fn caa_records_permit_and_forbid() {
        let mut tx = Tx::for_test();
        let zone = fixture::zone(&mut tx, "example.com.");
        let permits = |tx: &Tx, name: &str| Zones::of(tx.snapshot()).permits(name);
        assert!(permits(&tx, "example.com"));
        put(
            &mut tx,
            &zone,
            "example.com.",
            "CAA",
            "0 issue \"letsencrypt.org\"",
        );
        assert!(!permits(&tx, "example.com") && !permits(&tx, "a.b.example.com"));
        assert!(permits(&tx, "example.org"));
        put(
            &mut tx,
            &zone,
            "b.example.com.",
            "CAA",
            "0 issue \"Amazon.com; x=y\"",
        );
        assert!(permits(&tx, "a.b.example.com") && permits(&tx, "*.b.example.com"));
        put(&mut tx, &zone, "c.example.com.", "CAA", "0 issuewild \";\"");
        assert!(permits(&tx, "c.example.com") && !permits(&tx, "*.c.example.com"));
        put(
            &mut tx,
            &zone,
            "d.example.com.",
            "CAA",
            "0 iodef \"mailto:a@example.com\"",
        );
        assert!(permits(&tx, "d.example.com"));
    }
}
