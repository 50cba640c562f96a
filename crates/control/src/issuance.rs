//! Makes the certificates that Certificate Manager owes: key pair, signature of the region's authority, one commit.
//!
//! Started once by the server. `model::acm::issuance` says what is due and takes the result in; nothing is decided here.
//! Keys are made outside any transaction, since an RSA key takes a good part of a second. A certificate whose row changed
//! meanwhile is thrown away.

use crate::engine::{CommitError, Engine};
use crate::model::acm::issuance::{self, Due};
use fogbank_pki::{Authority, AuthorityError, KeyAlgorithm, KeyError, KeyPair, Leaf};
use fogbank_types::acm::CertificateMaterial;
use fogbank_types::{RegionConfig, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failure: a full disk does not heal at once.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum IssuanceError {
    #[error("the region's certificate authority: {0}")]
    Authority(#[from] AuthorityError),
    #[error("a key pair: {0}")]
    Key(#[from] KeyError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Never returns while the engine lives.
pub async fn run(engine: Arc<Engine>) {
    let mut snapshots = engine.subscribe();
    loop {
        let due = issuance::due(&snapshots.borrow_and_update());
        if due.is_empty() {
            if snapshots.changed().await.is_err() {
                return;
            }
            continue;
        }
        let worker = engine.clone();
        // One that fails does not keep the others waiting.
        let issued = tokio::task::spawn_blocking(move || {
            let failed = due.iter().filter(|one| !is_issued(&worker, one));
            failed.count() == 0
        });
        let done = issued.await.unwrap_or_else(|error| {
            tracing::error!(%error, "issuing certificates panicked; trying again");
            false
        });
        if !done {
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn is_issued(engine: &Engine, due: &Due) -> bool {
    let issued = issue(engine, due).inspect_err(|error| {
        tracing::error!(arn = due.arn, %error, "a certificate could not be issued; trying again");
    });
    issued.is_ok()
}

fn issue(engine: &Engine, due: &Due) -> Result<(), IssuanceError> {
    let material = make(engine.config(), engine.now(), due)?;
    engine.write(|tx| {
        issuance::complete(tx, due, &material);
        Ok::<_, IssuanceError>(())
    })?;
    tracing::info!(arn = due.arn, "a certificate was issued");
    Ok(())
}

fn make(
    config: &RegionConfig,
    now: Timestamp,
    due: &Due,
) -> Result<CertificateMaterial, IssuanceError> {
    let authority = Authority::open(&config.data_dir)?;
    let key = KeyPair::generate(due.algorithm)?;
    let (not_before, not_after) = issuance::validity(config, now);
    let leaf = Leaf {
        names: &due.names,
        not_before_ms: not_before.0,
        not_after_ms: not_after.0,
        key_encipherment: due.algorithm == KeyAlgorithm::Rsa2048,
    };
    let certificate = authority.issue_certificate(&leaf, &key)?;
    let chain = authority.certificate().to_owned();
    Ok(issuance::material(&certificate, Some(chain), key.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiError;
    use crate::model::acm::fixture::{prove, request, scope};
    use crate::model::acm::requests;
    use crate::model::tx::test_config;
    use fogbank_pki::Certificate as X509;
    use fogbank_store::Memory;
    use fogbank_types::acm::CertificateStatus;

    #[tokio::test]
    async fn what_is_proved_is_issued_by_the_regions_authority() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = test_config();
        config.data_dir = folder.path().to_owned();
        let engine = Engine::start(Arc::new(Memory::new()), config)
            .await
            .unwrap();
        tokio::spawn(run(engine.clone()));
        let writer = engine.clone();
        let asked = tokio::task::spawn_blocking(move || {
            writer.write(|tx| {
                for (name, algorithm) in [
                    ("a.example.com", "RSA_2048"),
                    ("b.example.com", "EC_prime256v1"),
                    ("c.example.com", "EC_secp384r1"),
                ] {
                    let mut wanted = request(name);
                    wanted.key_algorithm = Some(algorithm.to_owned());
                    wanted.alternative_names = vec![format!("*.{name}")];
                    let row = requests::request(tx, &scope(), wanted)?;
                    prove(tx, &row.arn);
                }
                Ok::<_, ApiError>(())
            })
        });
        asked.await.unwrap().unwrap();
        let mut snapshots = engine.subscribe();
        let issued = snapshots.wait_for(|snapshot| {
            let mut rows = snapshot.certificates.all();
            rows.all(|row| row.status == CertificateStatus::Issued)
        });
        let snapshot = tokio::time::timeout(Duration::from_secs(120), issued).await;
        let snapshot = snapshot.expect("all are issued in time").unwrap().clone();
        let root = fogbank_pki::authority::certificate(folder.path()).unwrap();
        let root = X509::read(root.as_bytes()).unwrap().remove(0);
        for row in snapshot.certificates.all() {
            let material = row.material.as_ref().unwrap();
            let leaf = X509::read(material.certificate.as_bytes())
                .unwrap()
                .remove(0);
            assert!(leaf.is_issued_by(&root));
            assert_eq!(leaf.dns_names(), row.names);
            let algorithm = leaf.key_algorithm().unwrap().name();
            assert_eq!(algorithm, row.key_algorithm);
            let key = fogbank_pki::key::matching(material.private_key.as_bytes(), &leaf);
            assert!(key.is_ok(), "{algorithm}");
            assert!(!format!("{row:?}").contains("PRIVATE"));
        }
    }
}
