//! The list of certificates.

use super::shapes;
use crate::api::{ApiError, Context};
use crate::model::acm::listing::{self, Filter};
use crate::model::elb::usage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogbank_types::Snapshot;
use fogbank_types::acm::{Certificate, CertificateKind};
use fogbank_wire::acm as wire;
use std::sync::Arc;

const PAGE: usize = 1000;
/// Names in a summary.
const NAMES_MAX: usize = 100;

pub fn list(
    context: &Context,
    request: wire::ListCertificatesRequest,
) -> Result<wire::ListCertificatesResponse, ApiError> {
    let (snapshot, scope) = (context.snapshot(), context.scope());
    let includes = request.includes.unwrap_or_default();
    let filter = Filter {
        statuses: request.certificate_statuses.unwrap_or_default(),
        key_types: includes.key_types.unwrap_or_default(),
        key_usages: includes.key_usage.unwrap_or_default(),
        extended_key_usages: includes.extended_key_usage.unwrap_or_default(),
        export: includes.export_option,
        managed_by: includes.managed_by,
        sort_by: request.sort_by,
        sort_order: request.sort_order,
    };
    let rows = listing::list(&snapshot, &scope, &filter)?;
    let size = request.max_items.and_then(|max| usize::try_from(max).ok());
    let ascending = filter.sort_order.as_deref() == Some("ASCENDING");
    let (rows, next_token) = page(rows, request.next_token, size.unwrap_or(PAGE), ascending)?;
    let shown = rows.into_iter().map(|row| summary(&snapshot, row));
    Ok(wire::ListCertificatesResponse {
        certificate_summary_list: Some(shown.collect()),
        next_token,
    })
}

/// Where a list stood: what is made or deleted meanwhile moves nothing.
fn place(row: &Certificate) -> (i64, String) {
    (row.created_at.0, row.arn.clone())
}

fn page(
    rows: Vec<&Arc<Certificate>>,
    token: Option<String>,
    size: usize,
    ascending: bool,
) -> Result<(Vec<&Arc<Certificate>>, Option<String>), ApiError> {
    let after = token.map(|token| read_token(&token)).transpose()?;
    let mut rest = rows.into_iter().filter(|row| match &after {
        None => true,
        Some(after) if ascending => place(row) > *after,
        Some(after) => place(row) < *after,
    });
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let last = page.last().filter(|_| more).map(|row| {
        let (at, arn) = place(row);
        STANDARD.encode(format!("{at} {arn}"))
    });
    Ok((page, last))
}

fn read_token(token: &str) -> Result<(i64, String), ApiError> {
    let read = || {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let (at, arn) = text.split_once(' ')?;
        Some((at.parse().ok()?, arn.to_owned()))
    };
    read().ok_or_else(|| ApiError::new("ValidationException", "The NextToken is not valid."))
}

fn summary(snapshot: &Snapshot, row: &Certificate) -> wire::CertificateSummary {
    let (usages, extended) = listing::usages(row);
    let material = row.material.as_ref();
    let names = row.names.iter().take(NAMES_MAX);
    let is_used = !usage::of_certificate(snapshot, &row.scope, &row.arn).is_empty();
    wire::CertificateSummary {
        certificate_arn: Some(row.arn.clone()),
        created_at: Some(row.created_at),
        domain_name: Some(row.domain_name.clone()),
        export_option: row.export.clone(),
        exported: (row.kind == CertificateKind::AmazonIssued).then_some(row.exported_at.is_some()),
        extended_key_usages: material.map(|_| extended),
        has_additional_subject_alternative_names: Some(row.names.len() > NAMES_MAX),
        imported_at: row.imported_at,
        in_use: Some(is_used),
        issued_at: row.issued_at,
        key_algorithm: Some(shapes::algorithm_name(row)),
        key_usages: material.map(|_| usages),
        not_after: material.map(|material| material.not_after),
        not_before: material.map(|material| material.not_before),
        renewal_eligibility: Some(shapes::eligibility(snapshot, row)),
        status: Some(listing::status_name(row.status).to_owned()),
        subject_alternative_name_summaries: Some(names.cloned().collect()),
        r#type: Some(shapes::type_name(row.kind).to_owned()),
        ..wire::CertificateSummary::default()
    }
}
