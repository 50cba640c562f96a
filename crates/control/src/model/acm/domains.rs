//! Names of certificates and the records that prove them.
//! <https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html>

use super::{Refusal, invalid};
use fogbank_types::acm::DomainValidation;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Of a common name (RFC 5280, appendix A).
const COMMON_NAME_MAX: usize = 64;

/// Where ACM's mails go. <https://docs.aws.amazon.com/acm/latest/userguide/email-validation.html>
const MAILBOXES: [&str; 5] = [
    "administrator",
    "hostmaster",
    "postmaster",
    "webmaster",
    "admin",
];

/// The names of a request in lower case, its domain first and each once.
pub fn names(domain_name: &str, alternatives: &[String]) -> Result<Vec<String>, Refusal> {
    let all = std::iter::once(domain_name).chain(alternatives.iter().map(String::as_str));
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in all {
        let name = name.to_ascii_lowercase();
        check(&name)?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    if names.iter().all(|name| name.len() > COMMON_NAME_MAX) {
        return Err(invalid(format!(
            "The first domain name can be no longer than {COMMON_NAME_MAX} characters."
        )));
    }
    Ok(names)
}

/// Labels that look like an encoded name and are none.
/// <https://docs.aws.amazon.com/acm/latest/userguide/acm-concepts.html#concept-dn>
fn check(name: &str) -> Result<(), Refusal> {
    let strange = |label: &str| label.get(2..4) == Some("--") && !label.starts_with("xn--");
    let base = base(name);
    if base.split('.').any(strange) {
        return Err(invalid(format!(
            "The domain name {name} has a label that is not valid Punycode."
        )));
    }
    let last = base.rsplit('.').next().unwrap_or_default();
    if !last.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return Err(invalid(format!("{name} is not a domain name.")));
    }
    Ok(())
}

/// The domain that a name is in: without a wildcard.
pub fn base(name: &str) -> &str {
    name.strip_prefix("*.").unwrap_or(name)
}

/// The record that proves a name; one for an account and a domain, whatever the certificate, and the same for the
/// domain's wildcard.
pub fn record(account: &str, name: &str) -> (String, String) {
    let domain = base(name);
    let digest = |part: &str| {
        let text = format!("fogbank acm {part} {account} {domain}");
        Sha256::digest(text.as_bytes())
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let (left, right) = (digest("name"), digest("value"));
    let letters: String = right[16..26]
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect();
    (
        format!("_{}.{domain}.", hex(&left[..16])),
        format!("_{}.{letters}.acm-validations.aws.", hex(&right[..16])),
    )
}

/// A name whose record is yet to be found.
pub fn by_dns(account: &str, name: &str) -> DomainValidation {
    let (record_name, record_value) = record(account, name);
    DomainValidation {
        domain_name: name.to_owned(),
        validation_domain: None,
        record_name,
        record_value,
        status: "PENDING_VALIDATION".to_owned(),
    }
}

/// A name whose owner is to be asked by mail.
pub fn by_email(name: &str, validation_domain: String) -> DomainValidation {
    DomainValidation {
        domain_name: name.to_owned(),
        validation_domain: Some(validation_domain),
        record_name: String::new(),
        record_value: String::new(),
        status: "PENDING_VALIDATION".to_owned(),
    }
}

/// Whom ACM would write to.
pub fn mail_addresses(validation_domain: &str) -> Vec<String> {
    MAILBOXES
        .iter()
        .map(|mailbox| format!("{mailbox}@{validation_domain}"))
        .collect()
}

/// Whether mails of that domain may answer for a name: it is the name's domain or one above it.
pub fn answers_for(validation_domain: &str, name: &str) -> bool {
    let domain = base(name);
    domain == validation_domain
        || domain
            .strip_suffix(validation_domain)
            .is_some_and(|front| front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(domain: &str, others: &[&str]) -> Result<Vec<String>, Refusal> {
        let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        names(domain, &others)
    }

    #[test]
    fn names_are_lower_case_and_once() {
        let all = of(
            "Example.com",
            &["www.example.com", "EXAMPLE.com", "*.example.com"],
        );
        assert_eq!(
            all.unwrap(),
            ["example.com", "www.example.com", "*.example.com"]
        );
        for bad in ["ab--c.example.com", "192.0.2.1"] {
            assert!(of(bad, &[]).is_err(), "{bad}");
            assert!(of("example.com", &[bad]).is_err(), "{bad}");
        }
        assert!(of("xn--bcher-kva.example", &[]).is_ok());
    }

    #[test]
    fn one_name_must_fit_a_common_name() {
        let long = format!("{}.example.com", "a".repeat(60));
        assert!(of(&long, &[]).is_err());
        assert!(of(&long, &["example.com"]).is_ok());
    }

    #[test]
    fn a_record_is_of_account_and_domain_alone() {
        let (name, value) = record("000000000000", "example.com");
        assert_eq!(
            record("000000000000", "*.example.com"),
            (name.clone(), value.clone())
        );
        assert_ne!(record("000000000001", "example.com").0, name);
        assert_ne!(record("000000000000", "www.example.com").1, value);
        let label = name.strip_suffix(".example.com.").unwrap();
        let is_hex = |text: &str| {
            text.len() == 33
                && text.starts_with('_')
                && text[1..]
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        assert!(is_hex(label), "{label}");
        let rest = value.strip_suffix(".acm-validations.aws.").unwrap();
        let (hex, letters) = rest.split_once('.').unwrap();
        assert!(is_hex(hex), "{hex}");
        assert!(letters.len() == 10 && letters.bytes().all(|b| b.is_ascii_lowercase()));
    }

    #[test]
    fn mails_go_to_the_domain_or_above() {
        assert!(answers_for("example.com", "www.example.com"));
        assert!(answers_for("example.com", "*.example.com"));
        assert!(!answers_for("ample.com", "example.com"));
        assert!(!answers_for("www.example.com", "example.com"));
    }
}
