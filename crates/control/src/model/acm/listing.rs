//! Which certificates a list has, and in what order.
//! <https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html>

use super::Refusal;
use fogbank_types::acm::{Certificate, CertificateStatus};
use fogbank_types::{Scope, Snapshot};
use std::sync::Arc;

/// What is listed if no key types are asked for.
const KEY_TYPES: [&str; 2] = ["RSA_1024", "RSA_2048"];

/// Empty lists ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Vec<String>,
    pub key_types: Vec<String>,
    pub key_usages: Vec<String>,
    pub extended_key_usages: Vec<String>,
    pub export: Option<String>,
    pub managed_by: Option<String>,
    pub sort_by: Option<String>,
    pub sort_order: Option<String>,
}

pub fn status_name(status: CertificateStatus) -> &'static str {
    match status {
        CertificateStatus::PendingValidation => "PENDING_VALIDATION",
        CertificateStatus::Issued => "ISSUED",
        CertificateStatus::Expired => "EXPIRED",
        CertificateStatus::ValidationTimedOut => "VALIDATION_TIMED_OUT",
        CertificateStatus::Failed => "FAILED",
    }
}

/// The certificates of a scope that pass, by their time of creation; the newest first unless the caller says otherwise.
pub fn list<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    filter: &Filter,
) -> Result<Vec<&'a Arc<Certificate>>, Refusal> {
    if filter.sort_by.is_some() != filter.sort_order.is_some() {
        return Err(Refusal::InvalidArgs(
            "SortBy and SortOrder must be specified together.".to_owned(),
        ));
    }
    let all = snapshot.certificates.in_scope(scope);
    let mut rows: Vec<_> = all.filter(|row| passes(filter, row)).collect();
    rows.sort_by_key(|row| (row.created_at, &row.arn));
    if filter.sort_order.as_deref() != Some("ASCENDING") {
        rows.reverse();
    }
    Ok(rows)
}

fn passes(filter: &Filter, row: &Certificate) -> bool {
    let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
    let by_status = filter.statuses.is_empty() || has(&filter.statuses, status_name(row.status));
    let by_type = if filter.key_types.is_empty() {
        KEY_TYPES.contains(&row.key_algorithm.as_str())
    } else {
        has(&filter.key_types, &row.key_algorithm)
    };
    let (usages, extended) = usages(row);
    let any = |wanted: &[String], found: &[String]| {
        wanted.is_empty() || wanted.iter().any(|one| found.contains(one))
    };
    by_status
        && by_type
        && any(&filter.key_usages, &usages)
        && any(&filter.extended_key_usages, &extended)
        && filter
            .export
            .as_ref()
            .is_none_or(|export| Some(export) == row.export.as_ref())
        // Nothing here is managed by CloudFront.
        && filter.managed_by.is_none()
}

/// Key usages and extended key usages by ACM's names.
pub fn usages(row: &Certificate) -> (Vec<String>, Vec<String>) {
    let Some(material) = &row.material else {
        return (Vec::new(), Vec::new());
    };
    let extended = material.extended_key_usages.iter();
    (
        material.key_usages.clone(),
        extended.map(|usage| usage.name.clone()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tx;
    use crate::model::acm::fixture::{issued, requested, scope};

    fn names(tx: &Tx, filter: &Filter) -> Vec<String> {
        let rows = list(tx.snapshot(), &scope(), filter).unwrap();
        rows.iter().map(|row| row.domain_name.clone()).collect()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn lists_are_filtered_and_sorted() {
        let mut tx = Tx::for_test();
        requested(&mut tx, "a.test");
        tx.advance_ms(1);
        issued(&mut tx, "b.test");
        tx.advance_ms(1);
        let third = requested(&mut tx, "c.test").arn;
        tx.update::<Certificate>(&scope(), &third, |row| {
            row.key_algorithm = "EC_prime256v1".to_owned();
        });
        let all = Filter::default();
        assert_eq!(names(&tx, &all), ["b.test", "a.test"]);
        let of = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            names(&tx, &filter)
        };
        let elliptic = of(|f| f.key_types = texts(&["EC_prime256v1"]));
        assert_eq!(elliptic, ["c.test"]);
        let both = of(|f| {
            f.key_types = texts(&["EC_prime256v1", "RSA_2048"]);
            f.sort_by = Some("CREATED_AT".to_owned());
            f.sort_order = Some("ASCENDING".to_owned());
        });
        assert_eq!(both, ["a.test", "b.test", "c.test"]);
        assert_eq!(of(|f| f.statuses = texts(&["ISSUED"])), ["b.test"]);
        let signing = of(|f| f.key_usages = texts(&["CRL_SIGNING", "KEY_ENCIPHERMENT"]));
        assert_eq!(signing, ["b.test"]);
        let client = of(|f| f.extended_key_usages = texts(&["CODE_SIGNING"]));
        assert!(client.is_empty());
        assert_eq!(of(|f| f.export = Some("DISABLED".to_owned())).len(), 2);
        assert!(of(|f| f.managed_by = Some("CLOUDFRONT".to_owned())).is_empty());
    }

    #[test]
    fn an_order_needs_what_to_sort_by() {
        let tx = Tx::for_test();
        let filter = Filter {
            sort_by: Some("CREATED_AT".to_owned()),
            ..Filter::default()
        };
        let refused = list(tx.snapshot(), &scope(), &filter);
        assert!(matches!(refused, Err(Refusal::InvalidArgs(_))));
    }
}
