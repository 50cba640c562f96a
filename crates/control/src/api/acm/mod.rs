//! Certificate Manager: shapes to commands, rows to shapes.

mod certificates;
mod exports;
mod listing;
mod shapes;
mod tags;
#[cfg(test)]
mod tests;

use super::{ApiError, Context};
use crate::model::acm::accounts;
use fogbank_wire::acm as wire;

super::handlers! {
    Acm:
    write RequestCertificate => certificates::request,
    write ImportCertificate => certificates::import,
    read DescribeCertificate => shapes::describe,
    read GetCertificate => exports::get,
    write ExportCertificate => exports::export,
    read ListCertificates => listing::list,
    write DeleteCertificate => certificates::delete,
    write UpdateCertificateOptions => certificates::update_options,
    write RenewCertificate => certificates::renew,
    write ResendValidationEmail => certificates::resend_email,
    write AddTagsToCertificate => tags::add,
    write RemoveTagsFromCertificate => tags::remove,
    read ListTagsForCertificate => tags::list,
    read GetAccountConfiguration => account_configuration,
    write PutAccountConfiguration => configure_account,
}

fn account_configuration(
    context: &Context,
    _: wire::GetAccountConfigurationRequest,
) -> Result<wire::GetAccountConfigurationResponse, ApiError> {
    let days = accounts::days_before_expiry(&context.snapshot(), &context.scope());
    Ok(wire::GetAccountConfigurationResponse {
        expiry_events: Some(wire::ExpiryEventsConfiguration {
            days_before_expiry: Some(days),
        }),
    })
}

fn configure_account(
    context: &Context,
    request: wire::PutAccountConfigurationRequest,
) -> Result<wire::PutAccountConfigurationResponse, ApiError> {
    let scope = context.scope();
    let days = request.expiry_events.and_then(|e| e.days_before_expiry);
    context.write(|tx| Ok(accounts::configure(tx, &scope, days)?))?;
    Ok(wire::PutAccountConfigurationResponse {})
}
