//! What is done with a certificate that is there: deleting it, handing it out.

use super::{Refusal, find, invalid};
use crate::model::Tx;
use crate::model::elb::usage;
use fogbank_types::acm::{Certificate, CertificateKind, CertificateMaterial, CertificateStatus};
use fogbank_types::{Scope, Snapshot};

/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_DeleteCertificate.html>
pub fn delete(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<(), Refusal> {
    find(tx.snapshot(), scope, arn)?;
    if !usage::of_certificate(tx.snapshot(), scope, arn).is_empty() {
        return Err(Refusal::InUse {
            arn: arn.to_owned(),
            account: scope.account.clone(),
        });
    }
    tx.delete::<Certificate>(scope, arn);
    Ok(())
}

/// The certificate and its chain, once there is one.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_GetCertificate.html>
pub fn material<'a>(
    snapshot: &'a Snapshot,
    scope: &Scope,
    arn: &str,
) -> Result<&'a CertificateMaterial, Refusal> {
    let certificate = find(snapshot, scope, arn)?;
    match (&certificate.material, certificate.status) {
        (Some(material), _) => Ok(material),
        (None, CertificateStatus::PendingValidation) => {
            Err(Refusal::RequestInProgress(arn.to_owned()))
        }
        (None, _) => Err(Refusal::NotFound(arn.to_owned())),
    }
}

/// The same, with leave to take the private key along; it is noted, since it makes the certificate worth renewing.
/// <https://docs.aws.amazon.com/acm/latest/userguide/export-public-certificate.html>
pub fn export(tx: &mut Tx, scope: &Scope, arn: &str) -> Result<CertificateMaterial, Refusal> {
    let certificate = find(tx.snapshot(), scope, arn)?;
    if certificate.kind == CertificateKind::Imported
        || certificate.export.as_deref() != Some("ENABLED")
    {
        return Err(invalid(format!(
            "Certificate ARN: {arn} is not a private certificate and its Export option is not ENABLED."
        )));
    }
    if certificate.status == CertificateStatus::Expired {
        return Err(invalid(format!("Certificate ARN: {arn} has expired.")));
    }
    let material = material(tx.snapshot(), scope, arn)?.clone();
    let now = tx.now();
    tx.update::<Certificate>(scope, arn, |row| row.exported_at = Some(now));
    Ok(material)
}

/// ACM takes printable ASCII but for three characters.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_ExportCertificate.html>
pub fn check_passphrase(passphrase: &[u8]) -> Result<(), Refusal> {
    let allowed = |byte: &u8| (0x20..0x7f).contains(byte) && !b"#$%".contains(byte);
    if passphrase.iter().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        "The passphrase must consist of printable ASCII characters other than #, $ and %.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::acm::fixture::{issued, listener, requested, scope};

    #[test]
    fn a_certificate_in_use_stays() {
        let mut tx = Tx::for_test();
        let arn = requested(&mut tx, "example.com").arn;
        listener(&mut tx, &arn);
        let refused = delete(&mut tx, &scope(), &arn).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("Certificate {arn} in account 000000000000 is in use.")
        );
        let listeners: Vec<_> = tx.snapshot().listeners.all().cloned().collect();
        tx.delete::<fogbank_types::elb::Listener>(&scope(), &listeners[0].arn);
        delete(&mut tx, &scope(), &arn).unwrap();
        assert_eq!(delete(&mut tx, &scope(), &arn), Err(Refusal::NotFound(arn)));
    }

    #[test]
    fn there_is_nothing_to_get_before_it_is_issued() {
        let mut tx = Tx::for_test();
        let arn = requested(&mut tx, "example.com").arn;
        let early = material(tx.snapshot(), &scope(), &arn).unwrap_err();
        assert_eq!(early, Refusal::RequestInProgress(arn.clone()));
        tx.update::<Certificate>(&scope(), &arn, |row| {
            row.status = CertificateStatus::ValidationTimedOut;
        });
        let never = material(tx.snapshot(), &scope(), &arn).unwrap_err();
        assert_eq!(never, Refusal::NotFound(arn));
    }

    #[test]
    fn only_what_was_requested_for_export_leaves_with_its_key() {
        let mut tx = Tx::for_test();
        let arn = issued(&mut tx, "example.com").arn;
        assert!(export(&mut tx, &scope(), &arn).is_err());
        tx.update::<Certificate>(&scope(), &arn, |row| {
            row.export = Some("ENABLED".to_owned())
        });
        assert!(export(&mut tx, &scope(), &arn).is_ok());
        let row = find(tx.snapshot(), &scope(), &arn).unwrap();
        assert_eq!(row.exported_at, Some(tx.now()));
        let back = super::super::requests::update_options(
            &mut tx,
            &scope(),
            &arn,
            None,
            Some("DISABLED".to_owned()),
        );
        assert!(matches!(back, Err(Refusal::InvalidState(_))));
    }

    #[test]
    fn passphrases_are_printable() {
        assert!(check_passphrase(b"correct horse").is_ok());
        for bad in ["ab#d", "a$cd", "%bcd", "abc\u{7f}", "ab\ncd", "pässe"] {
            assert!(check_passphrase(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
