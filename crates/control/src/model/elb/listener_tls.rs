//! What only HTTPS listeners have: a security policy, certificates, mutual authentication (facts LST-1, LST-11 to LST-13).
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/create-https-listener.html>
//!
//! A listener's row holds its default certificate first and its certificate list after it. The default may stand in
//! the list too, as on AWS. Called by `listeners`, and by `api::elbv2` for the list.

use super::{Refusal, arns, invalid, limits, not_offered};
use crate::model::tx::Tx;
use fogbank_types::elb::{Listener, MutualAuthentication, MutualAuthenticationMode};
use fogbank_types::{Scope, Snapshot, tls_policy};

/// What a caller names; `None` = as it is, or AWS's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    pub ssl_policy: Option<String>,
    /// The default certificate: one, if any.
    pub certificates: Vec<String>,
    pub alpn_policy: Vec<String>,
    pub mutual_authentication: Option<MutualAuthentication>,
}

/// Puts the settings into the row, whose protocol and load balancer are set already. What an HTTP listener has no use
/// for is dropped, as AWS does when the protocol changes.
pub fn apply(
    tx: &Tx,
    scope: &Scope,
    row: &mut Listener,
    settings: TlsSettings,
) -> Result<(), Refusal> {
    if row.protocol == "HTTP" {
        refuse_any(&settings)?;
        row.ssl_policy = None;
        row.certificates.clear();
        row.mutual_authentication = None;
        return Ok(());
    }
    if !settings.alpn_policy.is_empty() {
        return Err(invalid(
            "An ALPN policy can only be specified for listeners with protocol 'TLS'",
        ));
    }
    match settings.ssl_policy {
        Some(name) => {
            tls_policy::find(&name).ok_or_else(|| Refusal::SslPolicyNotFound(name.clone()))?;
            row.ssl_policy = Some(name);
        }
        None => {
            let default = || tls_policy::DEFAULT.to_owned();
            row.ssl_policy.get_or_insert_with(default);
        }
    }
    match settings.certificates.as_slice() {
        [] if row.certificates.is_empty() => {
            return Err(invalid(
                "A certificate must be specified for listeners with protocol 'HTTPS'",
            ));
        }
        [] => {}
        [arn] => {
            check_certificate(tx.snapshot(), scope, arn)?;
            row.certificates
                .splice(..row.certificates.len().min(1), [arn.clone()]);
        }
        _ => {
            return Err(invalid(
                "You must specify exactly one certificate as the default certificate of a listener",
            ));
        }
    }
    if let Some(mutual) = settings.mutual_authentication {
        check_mutual(tx, scope, row, &mutual)?;
        row.mutual_authentication =
            Some(mutual).filter(|m| m.mode != MutualAuthenticationMode::Off);
    }
    Ok(())
}

fn refuse_any(settings: &TlsSettings) -> Result<(), Refusal> {
    let mutual = settings.mutual_authentication.as_ref();
    let given = [
        ("Certificates", !settings.certificates.is_empty()),
        ("An SSL policy", settings.ssl_policy.is_some()),
        ("An ALPN policy", !settings.alpn_policy.is_empty()),
        (
            "Mutual authentication",
            mutual.is_some_and(|m| m.mode != MutualAuthenticationMode::Off),
        ),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(invalid(format!(
            "{what} cannot be specified for listeners with protocol 'HTTP'"
        ))),
        None => Ok(()),
    }
}

/// A certificate of this account and region that is issued or imported, with a key that a node can sign with.
pub fn check_certificate(snapshot: &Snapshot, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    let certificate = snapshot
        .certificates
        .get(scope, arn)
        .ok_or_else(|| Refusal::CertificateNotFound(arn.to_owned()))?;
    if certificate.material.is_none() || certificate.key_algorithm == "RSA_1024" {
        return Err(Refusal::UnsupportedCertificate(arn.to_owned()));
    }
    // AWS takes P-521; the TLS library of our nodes can't sign with it.
    if certificate.key_algorithm == "EC_secp521r1" {
        return Err(not_offered("A listener certificate with a P-521 key"));
    }
    Ok(())
}

fn check_mutual(
    tx: &Tx,
    scope: &Scope,
    row: &Listener,
    mutual: &MutualAuthentication,
) -> Result<(), Refusal> {
    if mutual.mode != MutualAuthenticationMode::Verify {
        let only_verify = mutual.trust_store_arn.is_some()
            || mutual.ignore_client_certificate_expiry
            || mutual.advertise_ca_names;
        if only_verify {
            return Err(invalid(
                "A trust store and its options can only be specified for mutual authentication mode 'verify'",
            ));
        }
        return Ok(());
    }
    let arn = mutual.trust_store_arn.as_deref().ok_or_else(|| {
        invalid("A trust store ARN must be specified for mutual authentication mode 'verify'")
    })?;
    arns::find_trust_store(tx.snapshot(), scope, arn)?;
    let verifies = |other: &&std::sync::Arc<Listener>| {
        other.arn != row.arn
            && other
                .mutual_authentication
                .as_ref()
                .is_some_and(|m| m.mode == MutualAuthenticationMode::Verify)
    };
    let prefix = arns::listeners_prefix(&row.load_balancer_arn);
    let others = tx.snapshot().listeners.with_prefix(scope, &prefix);
    if others.filter(verifies).count() >= limits::VERIFYING_LISTENERS_PER_LOAD_BALANCER {
        return Err(Refusal::InvalidConfigurationRequest(format!(
            "A load balancer can have at most '{}' listeners with mutual authentication mode 'verify'",
            limits::VERIFYING_LISTENERS_PER_LOAD_BALANCER
        )));
    }
    Ok(())
}

/// Adds one certificate to the listener's list; one that is there already stays.
pub fn add_certificate(
    tx: &mut Tx,
    scope: &Scope,
    listener_arn: &str,
    arns: &[String],
) -> Result<String, Refusal> {
    let mut row = https_listener(tx, scope, listener_arn)?;
    let arn = only(arns)?;
    check_certificate(tx.snapshot(), scope, arn)?;
    if row.certificates.iter().skip(1).any(|own| own == arn) {
        return Ok(arn.clone());
    }
    let prefix = arns::listeners_prefix(&row.load_balancer_arn);
    let listed: usize = tx
        .snapshot()
        .listeners
        .with_prefix(scope, &prefix)
        .map(|listener| listener.certificates.len().saturating_sub(1))
        .sum();
    if listed >= limits::Limits::of(tx.config()).certificates_per_load_balancer {
        return Err(Refusal::TooManyCertificates(row.load_balancer_arn));
    }
    row.certificates.push(arn.clone());
    tx.put(row);
    Ok(arn.clone())
}

/// Takes one certificate off the listener's list; one that is not there is fine, the default is not.
pub fn remove_certificate(
    tx: &mut Tx,
    scope: &Scope,
    listener_arn: &str,
    arns: &[String],
) -> Result<(), Refusal> {
    let row = arns::find_listener(tx.snapshot(), scope, listener_arn)?;
    let mut row = Listener::clone(row);
    let arn = only(arns)?;
    match row.certificates.iter().skip(1).position(|own| own == arn) {
        Some(at) => {
            row.certificates.remove(at + 1);
            tx.put(row);
            Ok(())
        }
        None if row.certificates.first() == Some(arn) => Err(Refusal::OperationNotPermitted(
            format!("Default certificate '{arn}' cannot be removed from listener '{listener_arn}'"),
        )),
        None => Ok(()),
    }
}

/// "You can include one certificate per call": AddListenerCertificates.
fn only(arns: &[String]) -> Result<&String, Refusal> {
    match arns {
        [arn] => Ok(arn),
        _ => Err(invalid("You must specify exactly one certificate")),
    }
}

fn https_listener(tx: &Tx, scope: &Scope, arn: &str) -> Result<Listener, Refusal> {
    let row = arns::find_listener(tx.snapshot(), scope, arn)?;
    if row.protocol == "HTTPS" {
        Ok(Listener::clone(row))
    } else {
        Err(invalid(
            "Certificates cannot be specified for listeners with protocol 'HTTP'",
        ))
    }
}

#[cfg(test)]
#[path = "listener_tls_tests.rs"]
mod tests;
