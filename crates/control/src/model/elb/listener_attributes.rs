//! Attributes of listeners: headers that the load balancer adds, renames or removes.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ListenerAttribute.html>
//!
//! An HTTP listener has the response headers only; those of mutual TLS and TLS come with HTTPS listeners.

use super::attributes::{self, Attribute, Values};
use super::load_balancer_attributes::table;
use super::{Refusal, arns};
use crate::model::tx::Tx;
use fogbank_types::Scope;
use fogbank_types::elb::Listener;

const HEADERS: &str = "Adding response headers";

pub static TABLE: &[Attribute] = table! {
    "routing.http.response.server.enabled" = "true", Values::OnlyDefault("Removing the Server header");
    "routing.http.response.strict_transport_security.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_allow_origin.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_allow_methods.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_allow_headers.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_allow_credentials.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_expose_headers.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.access_control_max_age.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.content_security_policy.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.x_content_type_options.header_value" = "", Values::OnlyDefault(HEADERS);
    "routing.http.response.x_frame_options.header_value" = "", Values::OnlyDefault(HEADERS);
};

pub fn all(listener: &Listener) -> Vec<(String, String)> {
    attributes::all(TABLE, &listener.attributes)
}

/// All changes or none.
pub fn modify(
    tx: &mut Tx,
    scope: &Scope,
    arn: &str,
    changes: &[(String, String)],
) -> Result<Listener, Refusal> {
    let mut row = Listener::clone(arns::find_listener(tx.snapshot(), scope, arn)?);
    row.attributes = attributes::changed(TABLE, "listener", &row.attributes, changes)?;
    tx.put(row.clone());
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Region;
    use super::*;

    #[test]
    fn defaults_are_taken_and_headers_are_refused_honestly() {
        let mut region = Region::new();
        let lb = region.load_balancer("api");
        let arn = region.listener(&lb.arn, 80).arn;
        let scope = region.scope.clone();
        let set = |tx: &mut Tx, key: &str, value: &str| {
            modify(tx, &scope, &arn, &[(key.to_owned(), value.to_owned())])
        };
        let key = "routing.http.response.server.enabled";
        assert!(
            set(&mut region.tx, key, "true")
                .unwrap()
                .attributes
                .is_empty()
        );
        assert!(set(&mut region.tx, key, "false").is_err());
        let hsts = "routing.http.response.strict_transport_security.header_value";
        assert!(set(&mut region.tx, hsts, "max-age=1").is_err());
    }
}
