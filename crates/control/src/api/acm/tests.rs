//! The calls of a certificate's life, on an engine with a store in memory.

use super::{
    account_configuration, certificates, configure_account, exports, listing, shapes, tags,
};
use crate::Engine;
use crate::api::{ApiError, Caller, Context};
use crate::model::acm::fixture::{complete, listener, prove, sample};
use crate::model::acm::issuance;
use crate::model::tx::test_config;
use fogbank_store::Memory;
use fogbank_wire::acm::*;
use std::sync::Arc;

/// Runs blocking calls as the server does.
async fn on(calls: fn(&Context)) {
    let engine = Engine::start(Arc::new(Memory::new()), test_config())
        .await
        .unwrap();
    let caller = Caller {
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "test".to_owned(),
        request_id: "r".to_owned(),
        host: "localhost".to_owned(),
    };
    let context = Context::new(caller, engine);
    tokio::task::spawn_blocking(move || calls(&context))
        .await
        .unwrap();
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    result.unwrap_err().0.code.into_owned()
}

fn requested(context: &Context, change: impl FnOnce(&mut RequestCertificateRequest)) -> String {
    let mut request = RequestCertificateRequest {
        domain_name: "example.com".to_owned(),
        validation_method: Some("DNS".to_owned()),
        ..RequestCertificateRequest::default()
    };
    change(&mut request);
    let made = certificates::request(context, request).unwrap();
    made.certificate_arn.unwrap()
}

fn imported(context: &Context) -> String {
    let request = ImportCertificateRequest {
        certificate: sample("rsa_2048.crt").into(),
        private_key: sample("rsa_2048.pkcs8.key").into(),
        ..ImportCertificateRequest::default()
    };
    let made = certificates::import(context, request).unwrap();
    made.certificate_arn.unwrap()
}

/// As the reconciler and the issuer would.
fn issue(context: &Context, arn: &str) {
    context
        .write(|tx| {
            prove(tx, arn);
            let due = issuance::due(tx.snapshot());
            due.iter().for_each(|one| complete(tx, one));
            Ok(())
        })
        .unwrap();
}

fn detail(context: &Context, arn: &str) -> CertificateDetail {
    let request = DescribeCertificateRequest {
        certificate_arn: arn.to_owned(),
    };
    let answer = shapes::describe(context, request).unwrap();
    answer.certificate.unwrap()
}

#[tokio::test]
async fn a_request_shows_the_record_that_it_waits_for() {
    on(|context| {
        let arn = requested(context, |r| {
            r.subject_alternative_names = Some(vec!["*.example.com".to_owned()]);
        });
        let pending = detail(context, &arn);
        assert_eq!(pending.status.as_deref(), Some("PENDING_VALIDATION"));
        assert_eq!(pending.r#type.as_deref(), Some("AMAZON_ISSUED"));
        assert_eq!(pending.renewal_eligibility.as_deref(), Some("INELIGIBLE"));
        assert_eq!(pending.in_use_by, Some(Vec::new()));
        assert!(pending.not_after.is_none() && pending.serial.is_none());
        let options = pending.domain_validation_options.unwrap();
        assert_eq!(options.len(), 2);
        let record = options[0].resource_record.clone().unwrap();
        assert_eq!(record.r#type, "CNAME");
        assert!(record.name.ends_with(".example.com."), "{}", record.name);
        assert!(record.value.ends_with(".acm-validations.aws."));
        assert_eq!(options[1].resource_record.as_ref(), Some(&record));
        assert!(options[0].validation_emails.is_none());
        issue(context, &arn);
        let issued = detail(context, &arn);
        assert_eq!(issued.status.as_deref(), Some("ISSUED"));
        assert!(issued.issued_at.is_some() && issued.not_after.is_some());
        let statuses = issued.domain_validation_options.unwrap();
        assert!(
            statuses
                .iter()
                .all(|o| o.validation_status.as_deref() == Some("SUCCESS"))
        );
    })
    .await;
}

#[tokio::test]
async fn mail_names_its_addresses_and_no_record() {
    on(|context| {
        let arn = requested(context, |r| r.validation_method = None);
        let options = detail(context, &arn).domain_validation_options.unwrap();
        assert!(options[0].resource_record.is_none());
        let mails = options[0].validation_emails.clone().unwrap();
        assert!(mails.contains(&"admin@example.com".to_owned()));
        assert_eq!(options[0].validation_method.as_deref(), Some("EMAIL"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    on(|context| {
        let of = |change: fn(&mut RequestCertificateRequest)| {
            let mut request = RequestCertificateRequest {
                domain_name: "example.com".to_owned(),
                ..RequestCertificateRequest::default()
            };
            change(&mut request);
            code(certificates::request(context, request))
        };
        let private = of(|r| {
            r.certificate_authority_arn =
                Some("arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/x".to_owned());
        });
        assert_eq!(private, "ValidationException");
        let http = of(|r| r.validation_method = Some("HTTP".to_owned()));
        assert_eq!(http, "ValidationException");
    })
    .await;
}

#[tokio::test]
async fn an_imported_certificate_is_described_and_given_back_without_its_key() {
    on(|context| {
        let arn = imported(context);
        let shown = detail(context, &arn);
        assert_eq!(shown.status.as_deref(), Some("ISSUED"));
        assert_eq!(shown.r#type.as_deref(), Some("IMPORTED"));
        assert_eq!(shown.key_algorithm.as_deref(), Some("RSA-2048"));
        assert!(shown.domain_validation_options.is_none() && shown.issued_at.is_none());
        assert!(!format!("{shown:?}").contains("PRIVATE"));
        let request = GetCertificateRequest {
            certificate_arn: arn.clone(),
        };
        let got = exports::get(context, request).unwrap();
        assert_eq!(
            got.certificate.unwrap().into_bytes(),
            sample("rsa_2048.crt")
        );
        assert!(got.certificate_chain.is_none());
        let request = ExportCertificateRequest {
            certificate_arn: arn,
            passphrase: b"secret".to_vec().into(),
        };
        assert_eq!(
            code(exports::export(context, request)),
            "ValidationException"
        );
    })
    .await;
}

#[tokio::test]
async fn a_certificate_for_export_leaves_encrypted_and_may_be_renewed() {
    on(|context| {
        let arn = requested(context, |r| {
            r.options = Some(CertificateOptions {
                export: Some("ENABLED".to_owned()),
                ..CertificateOptions::default()
            });
        });
        let export = |passphrase: &[u8]| {
            let request = ExportCertificateRequest {
                certificate_arn: arn.clone(),
                passphrase: passphrase.to_vec().into(),
            };
            exports::export(context, request)
        };
        assert_eq!(code(export(b"secret")), "RequestInProgressException");
        issue(context, &arn);
        // The fixture's key is none, so that only its form fails here.
        assert_eq!(code(export(b"secret")), "InternalFailure");
        assert_eq!(code(export(b"se$cret")), "ValidationException");
        let renew = || {
            let request = RenewCertificateRequest {
                certificate_arn: arn.clone(),
            };
            certificates::renew(context, request)
        };
        renew().unwrap();
        assert_eq!(code(renew()), "RequestInProgressException");
        let summary = detail(context, &arn).renewal_summary.unwrap();
        assert_eq!(summary.renewal_status, "PENDING_AUTO_RENEWAL");
    })
    .await;
}

#[tokio::test]
async fn a_certificate_in_use_names_its_users_and_stays() {
    on(|context| {
        let arn = imported(context);
        context
            .write(|tx| {
                listener(tx, &arn);
                Ok(())
            })
            .unwrap();
        let users = detail(context, &arn).in_use_by.unwrap();
        assert_eq!(users.len(), 1);
        assert!(users[0].contains(":loadbalancer/app/a/"));
        let request = DeleteCertificateRequest {
            certificate_arn: arn,
        };
        let refused = code(certificates::delete(context, request));
        assert_eq!(refused, "ResourceInUseException");
    })
    .await;
}

#[tokio::test]
async fn lists_go_page_by_page_even_while_they_grow() {
    on(|context| {
        for n in 0..5 {
            requested(context, |r| r.domain_name = format!("{n}.example.com"));
        }
        let page = |token: Option<String>, order: &str| {
            let request = ListCertificatesRequest {
                max_items: Some(2),
                next_token: token,
                sort_by: Some("CREATED_AT".to_owned()),
                sort_order: Some(order.to_owned()),
                ..ListCertificatesRequest::default()
            };
            listing::list(context, request)
        };
        for order in ["ASCENDING", "DESCENDING"] {
            let (mut seen, mut token) = (Vec::new(), None);
            loop {
                let answer = page(token, order).unwrap();
                let rows = answer.certificate_summary_list.unwrap();
                seen.extend(rows.into_iter().map(|row| row.certificate_arn.unwrap()));
                token = answer.next_token;
                if token.is_none() {
                    break;
                }
                if order == "DESCENDING" {
                    // Of one instant, its name would decide.
                    let before = context.now();
                    while context.now() == before {
                        std::thread::yield_now();
                    }
                    requested(context, |r| r.domain_name = "new.example.com".to_owned());
                }
            }
            assert_eq!(seen.len(), 5, "{order}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 5, "{order}");
        }
        let bad = page(Some("garbage".to_owned()), "ASCENDING");
        assert_eq!(code(bad), "ValidationException");
    })
    .await;
}

#[tokio::test]
async fn tags_come_and_go() {
    on(|context| {
        let tag = |key: &str, value: Option<&str>| Tag {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        let arn = requested(context, |r| r.tags = Some(vec![tag("a", Some("1"))]));
        let request = AddTagsToCertificateRequest {
            certificate_arn: arn.clone(),
            tags: vec![tag("b", Some("2")), tag("c", None)],
        };
        tags::add(context, request).unwrap();
        let request = RemoveTagsFromCertificateRequest {
            certificate_arn: arn.clone(),
            tags: vec![tag("a", None), tag("b", Some("3"))],
        };
        tags::remove(context, request).unwrap();
        let request = ListTagsForCertificateRequest {
            certificate_arn: arn,
        };
        let left = tags::list(context, request).unwrap().tags.unwrap();
        assert_eq!(left, [tag("b", Some("2")), tag("c", Some(""))]);
        let unknown = ListTagsForCertificateRequest {
            certificate_arn: "arn:aws:acm:us-east-1:000000000000:certificate/x".to_owned(),
        };
        assert_eq!(
            code(tags::list(context, unknown)),
            "ResourceNotFoundException"
        );
    })
    .await;
}

#[tokio::test]
async fn an_account_chooses_when_it_hears_of_expiry() {
    on(|context| {
        let put = |days| {
            let request = PutAccountConfigurationRequest {
                expiry_events: Some(ExpiryEventsConfiguration {
                    days_before_expiry: Some(days),
                }),
                idempotency_token: "token".to_owned(),
            };
            configure_account(context, request)
        };
        put(30).unwrap();
        assert_eq!(code(put(90)), "ValidationException");
        let empty = PutAccountConfigurationRequest {
            expiry_events: None,
            idempotency_token: "token".to_owned(),
        };
        let refused = configure_account(context, empty);
        assert_eq!(code(refused), "ValidationException");
        let got = account_configuration(context, GetAccountConfigurationRequest {}).unwrap();
        assert_eq!(got.expiry_events.unwrap().days_before_expiry, Some(30));
    })
    .await;
}
